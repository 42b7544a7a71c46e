//! Discounted reward-to-go.

use super::{overflow, rows_of};
use crate::error::Result;
use crate::lanes::for_widest_registers;
use crate::real::{Real, counts, require_finite, require_length};

/// What comes after the rewards.
#[derive(Clone, Copy, Debug)]
pub enum Bootstrap<'a, T> {
    /// Nothing.
    None,
    /// Values behind the last row, one for each column; nothing at ends.
    Last(&'a [T]),
    /// Values behind each row, used at ends and behind the last row.
    Rows(&'a [T]),
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct RewardToGoInputs<'a, T> {
    /// T rows.
    pub rewards: &'a [T],
    /// Last steps of episodes, T rows.
    pub ends: &'a [u8],
    /// What comes after.
    pub bootstrap: Bootstrap<'a, T>,
    /// Rows that count; others are passed over and become 0.
    pub mask: Option<&'a [u8]>,
    /// N.
    pub columns: usize,
    /// Discount.
    pub gamma: f64,
}

/// Writes the discounted sums, T rows.
///
/// # Errors
///
/// Lengths that don't fit; the first element that counts and isn't finite. The output's contents are unspecified then.
pub fn reward_to_go<T: Real>(inputs: RewardToGoInputs<'_, T>, out: &mut [T]) -> Result<()> {
    let elements = inputs.rewards.len();
    rows_of(elements, inputs.columns)?;
    require_length("ends", inputs.ends.len(), elements)?;
    require_length("out", out.len(), elements)?;
    if let Some(mask) = inputs.mask {
        require_length("mask", mask.len(), elements)?;
    }
    match inputs.bootstrap {
        Bootstrap::None => {}
        Bootstrap::Last(last) => {
            require_length("bootstrap", last.len(), inputs.columns)?;
            require_finite("bootstrap", last, None)?;
        }
        Bootstrap::Rows(rows) => {
            require_length("bootstrap", rows.len(), elements)?;
            require_finite("bootstrap", rows, None)?;
        }
    }
    require_finite("rewards", inputs.rewards, inputs.mask)?;
    if elements == 0 || recurse(&inputs, out) {
        return Ok(());
    }
    Err(overflow())
}

for_widest_registers! {
    /// Returns whether all sums are finite.
    fn recurse<T>(inputs: &RewardToGoInputs<'_, T>, out: &mut [T]) -> bool = recurse_inlined
}

#[inline(always)]
fn recurse_inlined<T: Real>(inputs: &RewardToGoInputs<'_, T>, out: &mut [T]) -> bool {
    let columns = inputs.columns;
    let mut carried: Vec<f64> = match inputs.bootstrap {
        Bootstrap::None => vec![0.0; columns],
        Bootstrap::Last(last) => last.iter().map(|value| value.to_f64()).collect(),
        Bootstrap::Rows(rows) => rows[rows.len() - columns..]
            .iter()
            .map(|value| value.to_f64())
            .collect(),
    };
    let mut is_finite = true;
    for start in (0..out.len()).step_by(columns).rev() {
        for column in 0..columns {
            let index = start + column;
            if !counts(inputs.mask, index) {
                out[index] = T::default();
                continue;
            }
            let behind = match inputs.bootstrap {
                _ if inputs.ends[index] == 0 => carried[column],
                Bootstrap::Rows(rows) => rows[index].to_f64(),
                _ => 0.0,
            };
            carried[column] = inputs.rewards[index].to_f64() + inputs.gamma * behind;
            is_finite &= carried[column].is_finite();
            out[index] = T::from_f64(carried[column]);
        }
    }
    is_finite
}
