//! V-trace (Espeholt et al., "IMPALA", arXiv 1802.01561).

use super::{overflow, rows_of};
use crate::error::Result;
use crate::real::{Real, require_finite, require_length};

/// Log-ratios are limited to plus and minus this, so that no ratio overflows.
const LOG_RATIO_LIMIT: f64 = 20.0;

/// What is read, T rows each.
#[derive(Clone, Copy, Debug)]
pub struct VTraceInputs<'a, T> {
    /// Rewards.
    pub rewards: &'a [T],
    /// Values of the states that steps were taken from.
    pub values: &'a [T],
    /// Values of the states that they led to.
    pub next_values: &'a [T],
    /// Log probabilities now minus then.
    pub log_ratio: &'a [T],
    /// Ends with nothing behind them.
    pub terminated: &'a [u8],
    /// Ends that something would have followed.
    pub truncated: &'a [u8],
    /// N.
    pub columns: usize,
}

/// Discount and limits.
#[derive(Clone, Copy, Debug)]
pub struct VTraceLimits {
    /// Discount.
    pub gamma: f64,
    /// Largest weight of a temporal difference.
    pub rho_bar: f64,
    /// Largest weight of what is carried back.
    pub c_bar: f64,
}

/// Writes the targets and the advantages of the policy gradient, T rows each.
///
/// # Errors
///
/// Lengths that don't fit; the first element that isn't finite. The outputs' contents are unspecified then.
pub fn v_trace<T: Real>(
    inputs: VTraceInputs<'_, T>,
    limits: VTraceLimits,
    targets: &mut [T],
    advantages: &mut [T],
) -> Result<()> {
    let elements = inputs.rewards.len();
    let rows = rows_of(elements, inputs.columns)?;
    for (name, array) in [
        ("rewards", inputs.rewards),
        ("values", inputs.values),
        ("next_values", inputs.next_values),
        ("log_ratio", inputs.log_ratio),
    ] {
        require_length(name, array.len(), elements)?;
        require_finite(name, array, None)?;
    }
    require_length("terminated", inputs.terminated.len(), elements)?;
    require_length("truncated", inputs.truncated.len(), elements)?;
    require_length("targets", targets.len(), elements)?;
    require_length("advantages", advantages.len(), elements)?;
    let columns = inputs.columns;
    // Per column: v - V of the row behind, and v of the row behind.
    let mut carried = vec![(0.0_f64, 0.0_f64); columns];
    let mut is_finite = true;
    for row in (0..rows).rev() {
        for (column, (correction, target)) in carried.iter_mut().enumerate() {
            let index = row * columns + column;
            let is_terminated = inputs.terminated[index] != 0;
            let is_last = is_terminated || inputs.truncated[index] != 0 || row + 1 == rows;
            let reward = inputs.rewards[index].to_f64();
            let value = inputs.values[index].to_f64();
            let log_ratio = inputs.log_ratio[index].to_f64();
            let ratio = libm::exp(log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT));
            let (rho, c) = (ratio.min(limits.rho_bar), ratio.min(limits.c_bar));
            let ahead = if is_terminated {
                0.0
            } else {
                inputs.next_values[index].to_f64()
            };
            let (behind, target_behind) = if is_last {
                (0.0, ahead)
            } else {
                (*correction, *target)
            };
            let delta = rho * (reward + limits.gamma * ahead - value);
            let advantage = rho * (reward + limits.gamma * target_behind - value);
            *correction = delta + limits.gamma * c * behind;
            *target = value + *correction;
            is_finite &= target.is_finite() && advantage.is_finite();
            targets[index] = T::from_f64(*target);
            advantages[index] = T::from_f64(advantage);
        }
    }
    if is_finite { Ok(()) } else { Err(overflow()) }
}
