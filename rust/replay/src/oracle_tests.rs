//! The ring against a `VecDeque` oracle: several interleaved streams, wrap-around, gaps, n-step windows.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use crate::gather::{Filter, Horizon, Position};
use crate::stream::Stream;
use crate::test_ring::{HeapRing, Sampled, TestRow, append, read, ring};

const BLOCK_ROWS: u32 = 4;
const STREAMS: u32 = 4;

/// What a stream does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Go,
    Terminate,
    Truncate,
    /// The environment was reset without telling: the next row doesn't continue the last.
    Gap,
    /// The episode ends without a row: the last one is marked instead.
    End,
    /// The process ends in an orderly way, and another stream of the same number goes on.
    Restart,
}

/// Everything ever appended by one stream, in order; the oracle of its windows.
#[derive(Default)]
struct History {
    rows: Vec<TestRow>,
    /// Whether row i + 1 continues row i.
    continues: Vec<bool>,
}

struct Harness {
    ring: HeapRing,
    streams: Vec<Stream>,
    histories: Vec<History>,
    obs: Vec<u64>,
    episodes: Vec<u64>,
    /// The `step_id`s still stored, oldest first: a block is evicted as a whole.
    stored: VecDeque<u64>,
    next_number: u64,
}

impl Harness {
    fn new(blocks: u64) -> Self {
        Self {
            ring: ring(blocks, BLOCK_ROWS),
            streams: (0..STREAMS).map(|id| Stream::new(id, 1)).collect(),
            histories: (0..STREAMS).map(|_| History::default()).collect(),
            obs: (0..STREAMS)
                .map(|id| 1_000_000 * u64::from(id + 1))
                .collect(),
            episodes: (0..STREAMS).map(u64::from).collect(),
            stored: VecDeque::new(),
            next_number: 0,
        }
    }

    fn step(&mut self, stream: usize, step: Step) {
        if matches!(step, Step::Restart) {
            self.restart(stream);
            return;
        }
        if matches!(step, Step::End) {
            self.end(stream);
            return;
        }
        if matches!(step, Step::Gap) {
            self.obs[stream] += 1000;
            if let Some(last) = self.histories[stream].continues.last_mut() {
                *last = false;
            }
        }
        let row = TestRow {
            obs: self.obs[stream],
            next_obs: self.obs[stream] + 1,
            reward: (self.next_number % 17) as f32,
            terminated: matches!(step, Step::Terminate),
            truncated: matches!(step, Step::Truncate),
            episode_id: self.episodes[stream],
            step_id: self.next_number,
        };
        self.append(stream, &row);
        self.next_number += 1;
        self.obs[stream] += 1;
        let history = &mut self.histories[stream];
        history.rows.push(row);
        history.continues.push(!(row.terminated || row.truncated));
        if row.terminated || row.truncated {
            self.begin_another(stream);
        }
        self.stored.push_back(row.step_id);
    }

    fn append(&mut self, stream: usize, row: &TestRow) {
        append(&self.ring, &mut self.streams[stream], row);
    }

    fn begin_another(&mut self, stream: usize) {
        self.episodes[stream] += u64::from(STREAMS);
        self.obs[stream] += 500;
    }

    fn end(&mut self, stream: usize) {
        let has_ended = self.streams[stream]
            .end_episode(&self.ring)
            .expect("its own");
        let History { rows, continues } = &mut self.histories[stream];
        let open = rows
            .last_mut()
            .filter(|row| !(row.terminated || row.truncated));
        assert_eq!(has_ended, open.is_some());
        if let (Some(row), Some(goes_on)) = (open, continues.last_mut()) {
            row.truncated = true;
            *goes_on = false;
            self.begin_another(stream);
        }
    }

    fn restart(&mut self, stream: usize) {
        let place = self.streams[stream].place();
        self.streams[stream].release(&self.ring);
        self.streams[stream] = Stream::new(stream as u32, 1);
        if let Some(place) = place {
            let word = self.ring.word(place.block);
            self.streams[stream].adopt(&self.ring, place.block, word);
            assert_eq!(
                self.streams[stream].place(),
                Some(place),
                "a restarted stream goes on in place"
            );
        }
    }

    /// Every stored row, by place.
    fn read_all(&self, horizon: Horizon, watermark: u64) -> Vec<Sampled> {
        let filter = Filter {
            watermark,
            only_sampleable: true,
        };
        (0..self.ring.claimed_blocks())
            .flat_map(|block| (0..BLOCK_ROWS).map(move |place| Position { block, place }))
            .filter_map(|at| read(&self.ring, at, horizon, filter))
            .collect()
    }
}

/// The return of row `start` if `reach` rows of it are used.
fn expected(rows: &[TestRow], reach: usize, gamma: f64) -> (f32, f32, u64) {
    let reward: f64 = (0..reach)
        .map(|k| gamma.powi(k as i32) * f64::from(rows[k].reward))
        .sum();
    let last = rows[reach - 1];
    let discount = if last.terminated {
        0.0
    } else {
        gamma.powi(reach as i32)
    };
    (reward as f32, discount as f32, last.next_obs)
}

/// The longest return that the episode allows.
fn longest(history: &History, start: usize, steps: usize, watermark: u64) -> usize {
    let mut reach = 1;
    while reach < steps && history.continues[start + reach - 1] {
        match history.rows.get(start + reach) {
            Some(row) if row.step_id <= watermark => reach += 1,
            _ => break,
        }
    }
    reach
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        20 => Just(Step::Go),
        2 => Just(Step::Terminate),
        2 => Just(Step::Truncate),
        1 => Just(Step::Gap),
        1 => Just(Step::End),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec((0..STREAMS as usize, step), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_row_read_is_the_row_appended_and_no_return_leaves_its_episode(
        steps in steps(), blocks in 9_u64..20, n_step in 1_u32..12, watermark in prop_oneof![Just(u64::MAX), 0_u64..400],
    ) {
        let mut harness = Harness::new(blocks);
        for (stream, step) in steps {
            harness.step(stream, step);
        }
        let gamma = 0.5;
        let places: HashMap<u64, (usize, usize)> = harness.histories.iter().enumerate()
            .flat_map(|(stream, history)| history.rows.iter().enumerate().map(move |(index, row)| (row.step_id, (stream, index))))
            .collect();
        let found = harness.read_all(Horizon { steps: n_step, gamma }, watermark);
        let stored: std::collections::HashSet<u64> = found.iter().map(|sampled| sampled.row.step_id).collect();
        prop_assert_eq!(stored.len(), found.len(), "a row was read twice");
        if watermark == u64::MAX {
            prop_assert_eq!(found.len() as u64, harness.ring.size(), "a row was refused though nobody writes");
        }
        for sampled in &found {
            let &(stream, start) = places.get(&sampled.row.step_id).expect("a row nobody appended");
            let history = &harness.histories[stream];
            prop_assert!(sampled.row.step_id <= watermark);
            let row = history.rows[start];
            let same_row = TestRow { next_obs: row.next_obs, ..sampled.row };
            prop_assert_eq!(same_row, row);
            // A return may be shorter than the episode allows only where its next row is no longer stored.
            let mut reach = longest(history, start, n_step as usize, watermark);
            if let Some(missing) = (1..reach).find(|k| !stored.contains(&history.rows[start + k].step_id)) {
                reach = missing;
            }
            let (reward, discount, next_obs) = expected(&history.rows[start..], reach, gamma);
            prop_assert_eq!((sampled.n_step_reward, sampled.discount, sampled.row.next_obs), (reward, discount, next_obs));
        }
    }

    #[test]
    fn the_newest_rows_are_always_stored_and_the_books_count_every_row(steps in steps(), blocks in 9_u64..20) {
        let mut harness = Harness::new(blocks);
        for (stream, step) in steps {
            harness.step(stream, step);
            prop_assert_eq!(harness.ring.total_appended(), harness.next_number);
        }
        let found = harness.read_all(Horizon { steps: 1, gamma: 1.0 }, u64::MAX);
        prop_assert_eq!(found.len() as u64, harness.ring.size());
        let stored: std::collections::HashSet<u64> = found.iter().map(|sampled| sampled.row.step_id).collect();
        // Each claim evicts one block; the blocks of other streams can be the only newer ones. What a stream wrote into
        // its current block is there in any case.
        for (stream, history) in harness.streams.iter().zip(&harness.histories) {
            let kept = stream.place().map_or(0, |place| usize::from(place.place));
            let newest = history.rows.iter().rev().take(kept.min(1));
            prop_assert!(newest.into_iter().all(|row| stored.contains(&row.step_id)));
        }
        // As long as nothing had to be evicted, nothing is missing.
        if harness.stored.len() + BLOCK_ROWS as usize * STREAMS as usize <= blocks as usize {
            prop_assert_eq!(stored.len(), harness.stored.len());
        }
    }
}
