//! Estimates along time over windows of T rows (time) and N columns (environments), row after row in memory.
//!
//! A column's recursion runs from the last row to the first in f64; columns know nothing of each other. Flags are bytes,
//! any but 0 is true.

mod gae;
mod n_step;
mod reward_to_go;
mod v_trace;

#[cfg(test)]
mod tests;

pub use gae::{GaeInputs, GaeOutputs, NextValues, gae};
pub use n_step::{NStepInputs, n_step};
pub use reward_to_go::{Bootstrap, RewardToGoInputs, reward_to_go};
pub use v_trace::{VTraceInputs, VTraceLimits, v_trace};

use crate::error::{Error, Result};
use crate::real::require_length;

/// Rows of a window; refuses arrays that aren't whole rows.
fn rows_of(elements: usize, columns: usize) -> Result<usize> {
    if columns == 0 {
        require_length("rewards", elements, 0)?;
        return Ok(0);
    }
    let rows = elements / columns;
    require_length("rewards", elements, rows * columns)?;
    Ok(rows)
}

/// Finite inputs gave something that isn't.
fn overflow() -> Error {
    Error::Overflow {
        what: "a discounted sum",
    }
}
