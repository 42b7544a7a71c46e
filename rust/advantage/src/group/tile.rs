//! Eight groups of one size at a time, one in each lane.
//!
//! Within a group the operations and their order are those of `one.rs`: element j goes into the group's partial sum j mod
//! 8, and the same tree adds them. Here the eight lanes of a register hold eight groups instead of eight elements, so that
//! small groups fill registers, and the square roots and quotients of eight groups are taken at once.

use super::{Divisor, Settings};
use crate::lanes::{LANES, fold};
use crate::real::Real;

/// Groups in a tile.
pub(super) const TILE: usize = LANES;
/// Largest groups that are tiled; larger ones fill registers by themselves.
pub(super) const MAX_SIZE: usize = 32;

/// One number for each group of a tile.
type Across = [f64; TILE];

/// What eight groups were like.
pub(super) struct TileResult<T> {
    /// Sums of squared deviations, 0 for degenerate groups.
    pub squares: Across,
    pub std: [T; TILE],
    pub degenerate: [u8; TILE],
    /// Not finite if a reward isn't, or if something overflowed.
    pub bound: Across,
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
pub(super) fn tile<T: Real>(
    size: usize,
    rewards: &[T],
    advantages: &mut [T],
    settings: &Settings,
    divisor: Divisor,
) -> TileResult<T> {
    let rewards = &rewards[..size * TILE];
    let advantages = &mut advantages[..size * TILE];
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
    let mut result = TileResult {
        squares,
        std: [T::default(); TILE],
        degenerate: [0; TILE],
        bound: [0.0; TILE],
    };
    let mut factors = [0.0; TILE];
    for group in 0..TILE {
        let largest = high[group].abs().max(low[group].abs());
        let range = high[group] - low[group];
        let threshold = settings.degenerate_absolute + settings.degenerate_relative * largest;
        let is_degenerate = range <= threshold;
        let std = (squares[group] / freedom).sqrt();
        let factor = divisor.factor(std, count);
        factors[group] = if is_degenerate { 0.0 } else { factor };
        result.degenerate[group] = u8::from(is_degenerate);
        result.std[group] = T::from_f64(if is_degenerate { 0.0 } else { std });
        result.squares[group] = if is_degenerate { 0.0 } else { squares[group] };
        let reach = if is_degenerate { 0.0 } else { range * factor };
        result.bound[group] = squares[group] + T::from_f64(reach).to_f64();
    }
    for (element, row) in values.iter().enumerate() {
        for group in 0..TILE {
            // Adding 0 turns the -0 of a degenerate group into 0.
            let advantage = row[group] * factors[group] + 0.0;
            let clipped = advantage.clamp(-settings.clip, settings.clip);
            advantages[group * size + element] = T::from_f64(clipped);
        }
    }
    result
}
