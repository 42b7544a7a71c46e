//! The protocol under the model checker: every interleaving and every allowed reordering of a small ring.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p carla-online-replay --release --lib loom_tests`

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::thread;

use crate::gather::{Filter, Horizon, Position};
use crate::sampler::{Mode, Part, Sampler};
use crate::stream::Stream;
use crate::test_ring::{self, HeapRing, Immortal, TestRow, filled, read, ring};
use crate::word::BlockWord;

const FILTER: Filter = Filter {
    watermark: u64::MAX,
    only_sampleable: true,
};

const ONE_STEP: Horizon = Horizon {
    steps: 1,
    gamma: 1.0,
};

/// Row n of the tests: all its numbers follow from n.
fn row(number: u64) -> TestRow {
    TestRow {
        obs: number,
        next_obs: number + 1,
        reward: number as f32,
        terminated: false,
        truncated: false,
        episode_id: 0,
        step_id: number,
    }
}

fn append(ring: &HeapRing, stream: &mut Stream, number: u64) {
    test_ring::append(ring, stream, &row(number));
}

fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(body);
}

/// Reads a full ring of the rows 10 to 13 while row 14 is appended, which claims the first block again.
fn beside_reuse(preemptions: usize, reading: impl Fn(&HeapRing) + Send + Sync + 'static) {
    let reading = std::sync::Arc::new(reading);
    model(preemptions, move || {
        let ring = Arc::new(ring(2, 2));
        let mut stream = Stream::new(0, 1);
        for number in 10..14 {
            append(&ring, &mut stream, number);
        }
        let reader = {
            let (ring, reading) = (Arc::clone(&ring), std::sync::Arc::clone(&reading));
            thread::spawn(move || reading(&ring))
        };
        append(&ring, &mut stream, 14);
        reader.join().expect("the reader saw a torn row");
    });
}

/// A reader that copies while the block is being claimed again either fails or has the old row whole.
#[test]
fn a_row_read_during_reuse_is_whole_or_refused() {
    beside_reuse(3, |ring| {
        let at = Position { block: 0, place: 0 };
        if let Some(sampled) = read(ring, at, ONE_STEP, FILTER) {
            assert_eq!(sampled.row, row(sampled.row.step_id));
        }
    });
}

/// A batch that is drawn while a block is being claimed again has whole rows only: the sampler copies them by chunks,
/// and looks afterwards which ones moved.
#[test]
fn a_batch_sampled_during_reuse_is_whole() {
    // Whether any interleaving drew the row that went, and the one that came in its place: told outside the model.
    let seen = [10, 14].map(|number| (number, std::sync::Arc::new(AtomicBool::new(false))));
    let told = seen.clone();
    // A refused row is drawn anew, so two preemptions take minutes; one finds a missing check, and a missing fence.
    beside_reuse(1, move |ring| {
        let mut sampler = Sampler::new(0, ONE_STEP, Mode::Uniform, None, false).expect("sound");
        let (sampled, drawn) = filled(ring, 2, |columns| {
            sampler.sample(ring, Part::whole(2), None, columns)
        });
        drawn.expect("there are rows");
        for sampled in sampled {
            for (number, is_drawn) in &told {
                is_drawn.fetch_or(sampled.row.step_id == *number, Ordering::Relaxed);
            }
            let expected = row(sampled.row.step_id);
            assert_eq!(sampled.row, expected);
            let returned = (sampled.n_step_reward, sampled.discount);
            assert_eq!(returned, (expected.reward, 1.0));
        }
    });
    for (number, is_drawn) in seen {
        let is_drawn = is_drawn.load(Ordering::Relaxed);
        assert!(is_drawn, "row {number} was never drawn");
    }
}

/// A reader that follows the writer sees only whole rows, and a two-step return that ends or goes on, never mixes.
#[test]
fn a_return_read_during_appends_is_one_of_the_two_possible() {
    model(2, || {
        let ring = Arc::new(ring(3, 2));
        let mut stream = Stream::new(0, 1);
        append(&ring, &mut stream, 10);
        append(&ring, &mut stream, 11);
        let reader = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let at = Position { block: 0, place: 1 };
                let sampled = read(
                    &ring,
                    at,
                    Horizon {
                        steps: 2,
                        gamma: 0.5,
                    },
                    FILTER,
                )
                .expect("nothing evicts it");
                let seen = (
                    sampled.n_step_reward,
                    sampled.discount,
                    sampled.row.next_obs,
                );
                assert!(
                    seen == (11.0, 0.5, 12) || seen == (17.0, 0.25, 13),
                    "{seen:?}"
                );
            })
        };
        append(&ring, &mut stream, 12);
        reader.join().expect("the reader saw a wrong return");
    });
}

/// Two claimants never own the same block.
#[test]
fn two_claimants_get_different_blocks() {
    model(3, || {
        let ring = Arc::new(ring(3, 2));
        let claim = |owner: u16| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.claim(owner, 0, &Immortal)
                    .expect("three blocks for two")
            })
        };
        let (first, second) = (claim(1), claim(2));
        let (first, second) = (
            first.join().expect("claims"),
            second.join().expect("claims"),
        );
        assert_ne!(first.block, second.block);
        for (link, owner) in [(first, 1), (second, 2)] {
            let expected = BlockWord {
                generation: link.generation,
                owner,
                finals: 0,
                count: 0,
            };
            assert_eq!(ring.word(link.block), expected);
        }
    });
}
