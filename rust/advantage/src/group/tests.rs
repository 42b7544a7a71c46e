//! Against plain loops, and what only Rust can see: every path gives the same bits.

use super::{Estimator, Groups, Inputs, Outputs, Settings, group_advantages};
use crate::error::Error;

/// Numbers that look random: a linear congruential generator's high bits, in quarters, so that some are equal.
fn rewards(count: usize) -> Vec<f64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            f64::from((state >> 58) as u32) / 4.0 + 1000.1
        })
        .collect()
}

struct Seen {
    advantages: Vec<f64>,
    degenerate: Vec<u8>,
    pooled_std: f64,
}

fn run(
    rewards: &[f64],
    groups: Groups<'_>,
    count: usize,
    settings: &Settings,
    threads: usize,
) -> Seen {
    let (mut advantages, mut degenerate, mut group_std) = (
        vec![f64::NAN; rewards.len()],
        vec![9; count],
        vec![f64::NAN; count],
    );
    let summary = group_advantages(
        Inputs {
            rewards,
            mask: None,
            lengths: None,
        },
        groups,
        &mut Outputs {
            advantages: &mut advantages,
            degenerate: &mut degenerate,
            group_std: &mut group_std,
        },
        settings,
        Some(threads),
    )
    .expect("finite rewards");
    Seen {
        advantages,
        degenerate,
        pooled_std: summary.pooled_std,
    }
}

#[test]
fn tiles_single_groups_and_threads_give_the_same_bits() {
    for size in [1, 2, 3, 4, 7, 8, 9, 16, 31, 32, 33] {
        let count = 523;
        let rewards = rewards(count * size);
        let offsets: Vec<i64> = (0..=count).map(|group| (group * size) as i64).collect();
        for estimator in [
            Estimator::Grpo,
            Estimator::DrGrpo,
            Estimator::Batch,
            Estimator::Rloo,
        ] {
            let settings = Settings::new(estimator);
            let tiled = run(
                &rewards,
                Groups::Rows {
                    groups: count,
                    size,
                },
                count,
                &settings,
                1,
            );
            let single = run(&rewards, Groups::Offsets(&offsets), count, &settings, 1);
            let threaded = run(
                &rewards,
                Groups::Rows {
                    groups: count,
                    size,
                },
                count,
                &settings,
                3,
            );
            let bits = |seen: &Seen| -> Vec<u64> {
                seen.advantages
                    .iter()
                    .map(|value| value.to_bits())
                    .collect()
            };
            assert_eq!(
                bits(&tiled),
                bits(&threaded),
                "{estimator:?}, groups of {size}"
            );
            assert_eq!(tiled.pooled_std.to_bits(), threaded.pooled_std.to_bits());
            assert_eq!(tiled.degenerate, single.degenerate);
            if estimator == Estimator::Batch {
                // The pooled sum takes tiles in another order than single groups.
                assert!((tiled.pooled_std / single.pooled_std - 1.0).abs() < 1e-14 || size == 1);
            } else {
                assert_eq!(
                    bits(&tiled),
                    bits(&single),
                    "{estimator:?}, groups of {size}"
                );
            }
        }
    }
}

#[test]
fn a_centred_group_is_what_a_plain_loop_gives() {
    let size = 8;
    let rewards = rewards(40 * size);
    let seen = run(
        &rewards,
        Groups::Rows { groups: 40, size },
        40,
        &Settings::new(Estimator::DrGrpo),
        1,
    );
    for (group, advantages) in rewards.chunks(size).zip(seen.advantages.chunks(size)) {
        let mean = group.iter().sum::<f64>() / size as f64;
        for (reward, advantage) in group.iter().zip(advantages) {
            assert!((reward - mean - advantage).abs() < 1e-11);
        }
    }
}

#[test]
fn offsets_that_do_not_rise_to_the_end_are_refused() {
    let rewards = [0.0; 4];
    for (offsets, index) in [
        (vec![], 0),
        (vec![1, 4], 0),
        (vec![0, 3, 2, 4], 2),
        (vec![0, 5], 1),
        (vec![0, i64::MAX, 4], 2),
        (vec![0, i64::MIN, 4], 1),
    ] {
        let count = offsets.len().saturating_sub(1);
        let (mut degenerate, mut group_std) = (vec![0; count], vec![0.0; count]);
        let fault = group_advantages(
            Inputs {
                rewards: &rewards,
                mask: None,
                lengths: None,
            },
            Groups::Offsets(&offsets),
            &mut Outputs {
                advantages: &mut [0.0; 4],
                degenerate: &mut degenerate,
                group_std: &mut group_std,
            },
            &Settings::new(Estimator::DrGrpo),
            None,
        )
        .unwrap_err();
        assert!(
            matches!(fault, Error::Offsets { index: seen, .. } if seen == index),
            "{fault}"
        );
    }
}
