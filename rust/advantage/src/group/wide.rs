//! Eight groups of f32 at a time in AVX2's registers: `tile.rs` written out, for sizes of whole registers.
//!
//! Compilers turn rows into columns element by element, and take the roots and quotients of a tile one by one; together
//! that is half of the time. The operations, their order and so their results are those of `tile.rs`.

use std::arch::x86_64::{_mm256_max_ps, _mm256_min_ps, _mm256_set1_ps, _mm256_setzero_ps};

use super::registers::{Doubles, load, store, transposed};
use super::tile::{LaneSums, TILE};
use super::{Divisor, Outputs, Settings};
use crate::lanes::LANES;

/// Computes the first `tiles` tiles of groups of `OCTETS` times eight rewards each.
#[target_feature(enable = "avx2")]
pub(super) fn run<const OCTETS: usize>(
    tiles: usize,
    rewards: &[f32],
    outputs: &mut Outputs<'_, f32>,
    settings: &Settings,
    divisor: Divisor,
) -> LaneSums {
    let members = OCTETS * LANES * TILE;
    let (mut squares, mut bound) = (Doubles::all(0.0), Doubles::all(0.0));
    let mut degenerate_groups = 0;
    let advantages = outputs.advantages.chunks_exact_mut(members);
    let groups = outputs
        .degenerate
        .chunks_exact_mut(TILE)
        .zip(outputs.group_std.chunks_exact_mut(TILE));
    let inputs = rewards.chunks_exact(members).take(tiles);
    for ((rewards, advantages), (degenerate, group_std)) in inputs.zip(advantages).zip(groups) {
        let seen = tile::<OCTETS>(rewards, advantages, settings, divisor);
        squares = squares.plus(seen.is_degenerate.hides(seen.squares));
        bound = bound.plus(seen.bound.times(Doubles::all(0.0)));
        let bits = seen.is_degenerate.bits();
        degenerate_groups += bits.count_ones() as usize;
        store(seen.is_degenerate.hides(seen.std).narrowed(), group_std);
        for (group, byte) in degenerate.iter_mut().enumerate() {
            *byte = bits >> group & 1;
        }
    }
    LaneSums {
        squares: squares.stored(),
        bound: bound.stored(),
        degenerate_groups,
    }
}

/// What eight groups were like.
struct Seen {
    squares: Doubles,
    std: Doubles,
    is_degenerate: Doubles,
    bound: Doubles,
}

#[target_feature(enable = "avx2")]
#[inline]
fn tile<const OCTETS: usize>(
    rewards: &[f32],
    advantages: &mut [f32],
    settings: &Settings,
    divisor: Divisor,
) -> Seen {
    let size = OCTETS * LANES;
    let (rewards, advantages) = (&rewards[..size * TILE], &mut advantages[..size * TILE]);
    let mut table = [[_mm256_setzero_ps(); LANES]; OCTETS];
    for (octet, columns) in table.iter_mut().enumerate() {
        let mut rows = *columns;
        for (group, row) in rows.iter_mut().enumerate() {
            *row = load(&rewards[group * size + octet * LANES..]);
        }
        *columns = transposed(rows);
    }

    let (mut low, mut high) = (table[0][0], table[0][0]);
    for column in table.as_flattened() {
        low = _mm256_min_ps(*column, low);
        high = _mm256_max_ps(*column, high);
    }
    let first = Doubles::widened(table[0][0]);
    let mut parts = [Doubles::all(-0.0); LANES];
    for columns in &table {
        for (part, column) in parts.iter_mut().zip(columns) {
            *part = part.plus(Doubles::widened(*column).minus(first));
        }
    }
    let count = size as f64;
    let mean = fold(&parts).over(Doubles::all(count));
    let mut parts = [Doubles::all(-0.0); LANES];
    for columns in &table {
        for (part, column) in parts.iter_mut().zip(columns) {
            let deviation = Doubles::widened(*column).minus(first).minus(mean);
            *part = part.plus(deviation.times(deviation));
        }
    }
    let squares = fold(&parts);

    let std = squares
        .over(Doubles::all(count - settings.ddof as f64))
        .root();
    let (low, high) = (Doubles::widened(low), Doubles::widened(high));
    let range = high.minus(low);
    let largest = low.magnitude().larger(high.magnitude());
    let threshold = Doubles::all(settings.degenerate_absolute)
        .plus(Doubles::all(settings.degenerate_relative).times(largest));
    let is_degenerate = range.is_at_most(threshold);
    let factor = is_degenerate.hides(factor(divisor, std, count));
    let reach = Doubles::widened(range.times(factor).narrowed());

    let clip = settings.clip as f32;
    let (least, most) = (_mm256_set1_ps(-clip), _mm256_set1_ps(clip));
    for (octet, columns) in table.iter().enumerate() {
        let mut scaled = *columns;
        for column in &mut scaled {
            let deviation = Doubles::widened(*column).minus(first).minus(mean);
            // Adding 0 turns the -0 of a degenerate group into 0.
            let advantage = deviation.times(factor).plus(Doubles::all(0.0)).narrowed();
            *column = _mm256_min_ps(most, _mm256_max_ps(least, advantage));
        }
        for (group, row) in transposed(scaled).into_iter().enumerate() {
            store(row, &mut advantages[group * size + octet * LANES..]);
        }
    }
    Seen {
        squares,
        std,
        is_degenerate,
        bound: squares.plus(reach),
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn factor(divisor: Divisor, std: Doubles, count: f64) -> Doubles {
    match divisor {
        Divisor::Group { floor, epsilon } => {
            let floored = Doubles::all(floor).larger(std);
            Doubles::all(1.0).over(floored.plus(Doubles::all(epsilon)))
        }
        Divisor::Fixed { .. } | Divisor::LeaveOneOut => Doubles::all(divisor.factor(0.0, count)),
    }
}

/// [`fold`](crate::lanes::fold) for every group.
#[target_feature(enable = "avx2")]
#[inline]
fn fold(lanes: &[Doubles; LANES]) -> Doubles {
    let [a, b, c, d, e, f, g, h] = *lanes;
    let halves = [a.plus(e), b.plus(f), c.plus(g), d.plus(h)];
    (halves[0].plus(halves[2])).plus(halves[1].plus(halves[3]))
}
