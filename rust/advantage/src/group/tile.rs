//! Eight groups of one size at a time, one in each lane.
//!
//! Within a group the operations and their order are those of `one.rs`: element j goes into the group's partial sum j mod
//! 8, and the same tree adds them. Here the eight lanes of a register hold eight groups instead of eight elements, so that
//! small groups fill registers, and the square roots and quotients of eight groups are taken at once.

#[cfg(target_arch = "x86_64")]
use super::wide;
use super::{Divisor, Outputs, Settings};
use crate::lanes::{LANES, fold};
use crate::real::Real;

/// Groups in a tile.
pub(super) const TILE: usize = LANES;
/// Largest groups that are tiled; larger ones fill registers by themselves.
pub(super) const MAX_SIZE: usize = 32;

/// One number for each group of a tile.
type Across = [f64; TILE];

/// Sums over tiles, lane by lane.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneSums {
    /// Squared deviations of the groups that aren't degenerate.
    pub squares: Across,
    /// Not finite if a reward isn't, or if something overflowed.
    pub bound: Across,
    pub degenerate_groups: usize,
}

/// Computes the first `tiles` tiles of groups of one size.
#[inline(always)]
pub(super) fn run_of_tiles<T: Real>(
    size: usize,
    tiles: usize,
    rewards: &[T],
    outputs: &mut Outputs<'_, T>,
    settings: &Settings,
    divisor: Divisor,
) -> LaneSums {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2")
        && let Some((rewards, outputs)) = T::as_f32(rewards, outputs)
    {
        // SAFETY: the processor has AVX2, the only thing that the wide tiles ask for.
        let sums = unsafe {
            match size {
                8 => Some(wide::run::<1>(tiles, rewards, outputs, settings, divisor)),
                16 => Some(wide::run::<2>(tiles, rewards, outputs, settings, divisor)),
                _ => None,
            }
        };
        if let Some(sums) = sums {
            return sums;
        }
    }
    // A constant size lets the compiler unroll; 4, 8 and 16 are the sizes in use.
    match size {
        4 => plain(4, tiles, rewards, outputs, settings, divisor),
        8 => plain(8, tiles, rewards, outputs, settings, divisor),
        16 => plain(16, tiles, rewards, outputs, settings, divisor),
        _ => plain(size, tiles, rewards, outputs, settings, divisor),
    }
}

#[inline(always)]
fn plain<T: Real>(
    size: usize,
    tiles: usize,
    rewards: &[T],
    outputs: &mut Outputs<'_, T>,
    settings: &Settings,
    divisor: Divisor,
) -> LaneSums {
    let mut sums = LaneSums::default();
    for index in 0..tiles {
        let (members, groups) = (index * TILE * size, index * TILE..(index + 1) * TILE);
        tile(
            size,
            &rewards[members..],
            Outputs {
                advantages: &mut outputs.advantages[members..],
                degenerate: &mut outputs.degenerate[groups.clone()],
                group_std: &mut outputs.group_std[groups],
            },
            settings,
            divisor,
            &mut sums,
        );
    }
    sums
}

#[inline(always)]
fn fold_across(parts: &[Across; LANES]) -> Across {
    let mut sums = [0.0; TILE];
    for group in 0..TILE {
        let mut lanes = [0.0; LANES];
        for lane in 0..LANES {
            lanes[lane] = parts[lane][group];
        }
        sums[group] = fold(lanes);
    }
    sums
}

/// Writes the advantages of eight groups of `size` rewards each; `size` is a constant where this is inlined.
#[inline(always)]
fn tile<T: Real>(
    size: usize,
    rewards: &[T],
    outputs: Outputs<'_, T>,
    settings: &Settings,
    divisor: Divisor,
    sums: &mut LaneSums,
) {
    let rewards = &rewards[..size * TILE];
    let advantages = &mut outputs.advantages[..size * TILE];
    let mut values = [[0.0_f64; TILE]; MAX_SIZE];
    let values = &mut values[..size];
    for (element, row) in values.iter_mut().enumerate() {
        for group in 0..TILE {
            row[group] = rewards[group * size + element].to_f64();
        }
    }
    let first = values[0];
    let (mut low, mut high) = (first, first);
    let mut parts = [[-0.0; TILE]; LANES];
    for (element, row) in values.iter_mut().enumerate() {
        for group in 0..TILE {
            let value = row[group];
            low[group] = if value < low[group] {
                value
            } else {
                low[group]
            };
            high[group] = if value > high[group] {
                value
            } else {
                high[group]
            };
            row[group] = value - first[group];
            parts[element % LANES][group] += row[group];
        }
    }
    let count = size as f64;
    let mean = fold_across(&parts).map(|sum| sum / count);
    let mut parts = [[-0.0; TILE]; LANES];
    for (element, row) in values.iter_mut().enumerate() {
        for group in 0..TILE {
            row[group] -= mean[group];
            parts[element % LANES][group] += row[group] * row[group];
        }
    }
    let squares = fold_across(&parts);

    let freedom = count - settings.ddof as f64;
    let mut factors = [0.0; TILE];
    for group in 0..TILE {
        let largest = high[group].abs().max(low[group].abs());
        let range = high[group] - low[group];
        let threshold = settings.degenerate_absolute + settings.degenerate_relative * largest;
        let is_degenerate = range <= threshold;
        let std = (squares[group] / freedom).sqrt();
        let factor = divisor.factor(std, count);
        factors[group] = if is_degenerate { 0.0 } else { factor };
        outputs.degenerate[group] = u8::from(is_degenerate);
        outputs.group_std[group] = T::from_f64(if is_degenerate { 0.0 } else { std });
        sums.degenerate_groups += usize::from(is_degenerate);
        sums.squares[group] += if is_degenerate { 0.0 } else { squares[group] };
        let reach = if is_degenerate { 0.0 } else { range * factor };
        sums.bound[group] += (squares[group] + T::from_f64(reach).to_f64()) * 0.0;
    }
    for (element, row) in values.iter().enumerate() {
        for group in 0..TILE {
            // Adding 0 turns the -0 of a degenerate group into 0.
            let advantage = row[group] * factors[group] + 0.0;
            let clipped = advantage.clamp(-settings.clip, settings.clip);
            advantages[group * size + element] = T::from_f64(clipped);
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::group::Estimator;

    /// Bits of everything that is written and summed; `None` if something wasn't finite.
    fn bits_of(
        rewards: &[f32],
        run: impl FnOnce(&[f32], &mut Outputs<'_, f32>) -> LaneSums,
    ) -> Option<(Vec<u32>, Vec<u8>, Vec<u64>)> {
        let groups = 2 * TILE;
        let (mut advantages, mut group_std) = (vec![0.0; rewards.len()], vec![0.0; groups]);
        let mut degenerate = vec![7; groups];
        let mut outputs = Outputs {
            advantages: &mut advantages,
            degenerate: &mut degenerate,
            group_std: &mut group_std,
        };
        let sums = run(rewards, &mut outputs);
        assert_eq!(
            sums.degenerate_groups,
            degenerate
                .iter()
                .map(|&byte| usize::from(byte))
                .sum::<usize>()
        );
        let written = advantages
            .iter()
            .chain(&group_std)
            .map(|value| value.to_bits());
        let summed = sums.squares.iter().map(|value| value.to_bits());
        let is_finite = sums.bound.iter().all(|bound| bound.is_finite());
        is_finite.then(|| (written.collect(), degenerate, summed.collect()))
    }

    proptest! {
        /// Equal rewards, huge ones and those that aren't finite are among them.
        #[test]
        fn wide_registers_change_no_bit(
            octets in 1_usize..3,
            drawn in proptest::collection::vec(any::<(f32, u8)>(), 256),
            kind in 0_u8..5,
            clip in prop_oneof![Just(f64::INFINITY), 0.1..3.0],
            floor in prop_oneof![Just(0.0), 0.0..2.0],
        ) {
            let size = octets * LANES;
            let rewards: Vec<f32> = drawn[..size * 2 * TILE]
                .iter()
                .map(|&(any, small)| match kind {
                    0 => any,
                    1 => f32::from(small % 2),
                    2 => 1000.1,
                    3 => f32::from(small) * 1e36,
                    _ => f32::from(small) * 0.01 - 1.0,
                })
                .collect();
            let settings = Settings { clip, ..Settings::new(Estimator::Grpo) };
            for divisor in [
                Divisor::Group { floor, epsilon: 1e-6 },
                Divisor::Fixed { factor: 0.7 },
                Divisor::LeaveOneOut,
            ] {
                let by_any = bits_of(&rewards, |rewards, outputs| {
                    plain(size, 2, rewards, outputs, &settings, divisor)
                });
                let by_widest = bits_of(&rewards, |rewards, outputs| {
                    run_of_tiles(size, 2, rewards, outputs, &settings, divisor)
                });
                prop_assert_eq!(by_any, by_widest);
            }
        }
    }
}
