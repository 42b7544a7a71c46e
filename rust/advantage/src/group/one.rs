//! One group of any size, with a mask and weights if there are any.

use super::{Divisor, Settings};
use crate::lanes::{LANES, fold};
use crate::real::Real;

/// What a group adds to its block's sums.
pub(super) struct OneGroup {
    pub elements: usize,
    /// Sum of squared deviations.
    pub squares: f64,
    pub std: f64,
    pub is_degenerate: bool,
    /// Not finite if a reward isn't, or if something overflowed.
    pub bound: f64,
    /// A weight is negative, or all are 0.
    pub has_bad_weights: bool,
}

/// The rewards of one group.
#[derive(Clone, Copy)]
pub(super) struct Members<'a, T> {
    pub rewards: &'a [T],
    pub mask: Option<&'a [u8]>,
    pub lengths: Option<&'a [T]>,
}

/// Eight neighbouring elements; those that don't count hold `pad`.
struct Eight {
    values: [f64; LANES],
    valid: [bool; LANES],
}

impl<T: Real> Members<'_, T> {
    #[inline(always)]
    fn eight(&self, start: usize, pad: f64) -> Eight {
        let mut eight = Eight {
            values: [pad; LANES],
            valid: [false; LANES],
        };
        let end = self.rewards.len().min(start + LANES);
        match self.mask {
            None if end - start == LANES => {
                for (value, reward) in eight.values.iter_mut().zip(&self.rewards[start..end]) {
                    *value = reward.to_f64();
                }
                eight.valid = [true; LANES];
            }
            None => {
                for (lane, reward) in self.rewards[start..end].iter().enumerate() {
                    eight.values[lane] = reward.to_f64();
                    eight.valid[lane] = true;
                }
            }
            Some(mask) => {
                for (lane, reward) in self.rewards[start..end].iter().enumerate() {
                    if mask[start + lane] != 0 {
                        eight.values[lane] = reward.to_f64();
                        eight.valid[lane] = true;
                    }
                }
            }
        }
        eight
    }

    #[inline(always)]
    fn first(&self) -> Option<f64> {
        let place = match self.mask {
            None => 0,
            Some(mask) => mask.iter().position(|&byte| byte != 0)?,
        };
        self.rewards.get(place).map(|reward| reward.to_f64())
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.mask.map_or(self.rewards.len(), |mask| {
            mask.iter().filter(|&&byte| byte != 0).count()
        })
    }

    /// Mean relative to `first`, weighted by the lengths; also whether the weights have one.
    #[inline(always)]
    fn weighted_mean(&self, lengths: &[T], first: f64) -> (f64, bool) {
        let (mut sums, mut weights) = ([-0.0; LANES], [-0.0; LANES]);
        let mut is_negative = false;
        for start in (0..self.rewards.len()).step_by(LANES) {
            let eight = self.eight(start, first);
            for lane in 0..LANES {
                let weight = if eight.valid[lane] {
                    lengths[start + lane].to_f64()
                } else {
                    0.0
                };
                is_negative |= weight < 0.0;
                weights[lane] += weight;
                sums[lane] += weight * (eight.values[lane] - first);
            }
        }
        let total = fold(weights);
        (fold(sums) / total, is_negative || total == 0.0)
    }
}

/// Writes one group's advantages.
#[inline(always)]
pub(super) fn one<T: Real>(
    members: Members<'_, T>,
    advantages: &mut [T],
    settings: &Settings,
    divisor: Divisor,
) -> OneGroup {
    let size = members.rewards.len();
    let Some(first) = members.first() else {
        advantages.fill(T::default());
        return OneGroup {
            elements: 0,
            squares: 0.0,
            std: 0.0,
            is_degenerate: true,
            bound: 0.0,
            has_bad_weights: false,
        };
    };
    let count = members.count();
    let (mut sums, mut low, mut high) = ([-0.0; LANES], [first; LANES], [first; LANES]);
    for start in (0..size).step_by(LANES) {
        let eight = members.eight(start, first);
        for lane in 0..LANES {
            let value = eight.values[lane];
            sums[lane] += value - first;
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] {
                value
            } else {
                high[lane]
            };
        }
    }
    let mean = fold(sums) / count as f64;
    let low = low.into_iter().fold(first, f64::min);
    let high = high.into_iter().fold(first, f64::max);
    let range = high - low;

    let mut sums = [-0.0; LANES];
    for start in (0..size).step_by(LANES) {
        let eight = members.eight(start, first);
        for lane in 0..LANES {
            let deviation = (eight.values[lane] - first) - mean;
            sums[lane] += if eight.valid[lane] {
                deviation * deviation
            } else {
                0.0
            };
        }
    }
    let squares = fold(sums);
    let threshold =
        settings.degenerate_absolute + settings.degenerate_relative * high.abs().max(low.abs());
    let is_degenerate = range <= threshold;
    if is_degenerate {
        advantages.fill(T::default());
        return OneGroup {
            elements: count,
            squares: 0.0,
            std: 0.0,
            is_degenerate,
            bound: squares,
            has_bad_weights: false,
        };
    }
    let std = (squares / (count - settings.ddof) as f64).sqrt();
    let factor = divisor.factor(std, count as f64);
    let (baseline, has_bad_weights) = match members.lengths {
        None => (mean, false),
        Some(lengths) => members.weighted_mean(lengths, first),
    };
    for start in (0..size).step_by(LANES) {
        let eight = members.eight(start, first);
        let mut block = [T::default(); LANES];
        for lane in 0..LANES {
            let advantage = ((eight.values[lane] - first) - baseline) * factor;
            let clipped = advantage.clamp(-settings.clip, settings.clip);
            block[lane] = T::from_f64(if eight.valid[lane] { clipped } else { 0.0 });
        }
        let end = size.min(start + LANES);
        advantages[start..end].copy_from_slice(&block[..end - start]);
    }
    OneGroup {
        elements: count,
        squares,
        std,
        is_degenerate,
        bound: squares + T::from_f64(range * factor).to_f64(),
        has_bad_weights,
    }
}
