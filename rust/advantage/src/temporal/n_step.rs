//! Returns of a bounded number of rewards.

use super::{overflow, rows_of};
use crate::error::Result;
use crate::lanes::for_widest_registers;
use crate::real::{Real, require_finite, require_length};

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct NStepInputs<'a, T> {
    /// T rows.
    pub rewards: &'a [T],
    /// Values of the states that steps led to, T rows.
    pub next_values: &'a [T],
    /// Ends with nothing behind them, T rows.
    pub terminated: &'a [u8],
    /// Ends that something would have followed, T rows.
    pub truncated: &'a [u8],
    /// N.
    pub columns: usize,
    /// Most rewards of a return; 0 counts as 1.
    pub steps: usize,
    /// Discount.
    pub gamma: f64,
}

/// Writes the returns, T rows.
///
/// # Errors
///
/// Lengths that don't fit; the first element that isn't finite. The output's contents are unspecified then.
pub fn n_step<T: Real>(inputs: NStepInputs<'_, T>, out: &mut [T]) -> Result<()> {
    let elements = inputs.rewards.len();
    rows_of(elements, inputs.columns)?;
    require_length("next_values", inputs.next_values.len(), elements)?;
    require_length("terminated", inputs.terminated.len(), elements)?;
    require_length("truncated", inputs.truncated.len(), elements)?;
    require_length("out", out.len(), elements)?;
    require_finite("rewards", inputs.rewards, None)?;
    require_finite("next_values", inputs.next_values, None)?;
    if elements == 0 || sums(&inputs, out) {
        return Ok(());
    }
    Err(overflow())
}

for_widest_registers! {
    /// Returns whether all sums are finite.
    fn sums<T>(inputs: &NStepInputs<'_, T>, out: &mut [T]) -> bool = sums_inlined
}

#[inline(always)]
fn sums_inlined<T: Real>(inputs: &NStepInputs<'_, T>, out: &mut [T]) -> bool {
    let columns = inputs.columns;
    let rows = out.len() / columns;
    let mut totals = vec![0.0; columns];
    let mut is_finite = true;
    for row in 0..rows {
        let last = rows.min(row.saturating_add(inputs.steps.max(1))) - 1;
        for step in (row..=last).rev() {
            let place = step * columns..(step + 1) * columns;
            let (rewards, next) = (
                &inputs.rewards[place.clone()],
                &inputs.next_values[place.clone()],
            );
            let (terminated, truncated) =
                (&inputs.terminated[place.clone()], &inputs.truncated[place]);
            for (column, total) in totals.iter_mut().enumerate() {
                let is_end = terminated[column] | truncated[column] != 0 || step == last;
                let ahead = if terminated[column] == 0 {
                    next[column].to_f64()
                } else {
                    0.0
                };
                let behind = if is_end { ahead } else { *total };
                *total = rewards[column].to_f64() + inputs.gamma * behind;
            }
        }
        for (written, total) in out[row * columns..][..columns].iter_mut().zip(&totals) {
            is_finite &= total.is_finite();
            *written = T::from_f64(*total);
        }
    }
    is_finite
}
