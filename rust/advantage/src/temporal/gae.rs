//! Generalised advantage estimation.
//!
//! A cut multiplies the carried sum by 0 instead of leaving it out. For finite numbers that is the same; NaN and infinity
//! survive it, so whatever isn't finite anywhere in a column shows in the column's carried sum at the end, and no element
//! has to be checked on the way.

use std::thread;

use super::{overflow, rows_of};
use crate::error::{Error, Result};
use crate::lanes::for_widest_registers;
use crate::real::{Real, counts, require_finite, require_length};
use crate::threads::choose;

/// Columns handled together: four registers of four f64.
const CHUNK: usize = 16;

/// Fewer columns than this aren't worth a thread of their own.
const COLUMNS_A_THREAD: usize = 256;

/// Values of the states that steps led to.
#[derive(Clone, Copy, Debug)]
pub enum NextValues<'a, T> {
    /// One for each step, T rows.
    Rows(&'a [T]),
    /// One for each column, of the state behind the last row; before it, the next row's `values`.
    Last(&'a [T]),
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct GaeInputs<'a, T> {
    /// T rows.
    pub rewards: &'a [T],
    /// Values of the states that steps were taken from, T rows.
    pub values: &'a [T],
    /// Values of the states that they led to.
    pub next_values: NextValues<'a, T>,
    /// Ends with nothing behind them, T rows.
    pub terminated: &'a [u8],
    /// Ends that something would have followed, T rows.
    pub truncated: &'a [u8],
    /// Rows that count; others are passed over and become 0.
    pub mask: Option<&'a [u8]>,
    /// N.
    pub columns: usize,
    /// Discount.
    pub gamma: f64,
    /// Lambda.
    pub gae_lambda: f64,
}

/// What is written, T rows each.
#[derive(Debug)]
pub struct GaeOutputs<'a, T> {
    /// Advantages.
    pub advantages: &'a mut [T],
    /// Advantage + value.
    pub returns: &'a mut [T],
}

/// Writes advantages and returns.
///
/// # Errors
///
/// Lengths that don't fit; the first element that counts and isn't finite; a truncation within the window where
/// [`NextValues::Last`] has no value for its next state. The outputs' contents are unspecified then.
pub fn gae<T: Real>(
    inputs: GaeInputs<'_, T>,
    outputs: &mut GaeOutputs<'_, T>,
    threads: Option<usize>,
) -> Result<()> {
    let rows = check(&inputs, outputs)?;
    let columns = inputs.columns;
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let threads = choose(threads, rows * columns, columns.div_ceil(COLUMNS_A_THREAD));
    let is_finite = if threads == 1 {
        let advantages = outputs.advantages.chunks_exact_mut(columns);
        let returns = outputs.returns.chunks_exact_mut(columns);
        strip(
            &inputs,
            0,
            columns,
            &mut advantages.zip(returns).collect::<Vec<_>>(),
        )
    } else {
        threaded(&inputs, outputs, threads)?
    };
    if is_finite {
        return Ok(());
    }
    require_finite("rewards", inputs.rewards, inputs.mask)?;
    require_finite("values", inputs.values, inputs.mask)?;
    match inputs.next_values {
        NextValues::Rows(next) => require_finite("next_values", next, inputs.mask)?,
        NextValues::Last(last) => {
            require_finite("next_values", last, None)?;
            // The row behind one that counts is read even if it doesn't count itself.
            require_finite("values", inputs.values, None)?;
        }
    }
    Err(overflow())
}

fn check<T: Real>(inputs: &GaeInputs<'_, T>, outputs: &GaeOutputs<'_, T>) -> Result<usize> {
    let (columns, elements) = (inputs.columns, inputs.rewards.len());
    let rows = rows_of(elements, columns)?;
    require_length("values", inputs.values.len(), elements)?;
    require_length("terminated", inputs.terminated.len(), elements)?;
    require_length("truncated", inputs.truncated.len(), elements)?;
    require_length("advantages", outputs.advantages.len(), elements)?;
    require_length("returns", outputs.returns.len(), elements)?;
    if let Some(mask) = inputs.mask {
        require_length("mask", mask.len(), elements)?;
    }
    match inputs.next_values {
        NextValues::Rows(next) => require_length("next_values", next.len(), elements)?,
        NextValues::Last(last) => {
            require_length("next_values", last.len(), columns)?;
            check_no_cut_within(inputs, rows)?;
        }
    }
    Ok(rows)
}

fn check_no_cut_within<T>(inputs: &GaeInputs<'_, T>, rows: usize) -> Result<()> {
    let columns = inputs.columns;
    let before_last = rows.saturating_sub(1) * columns;
    let is_cut = |&index: &usize| {
        inputs.truncated[index] != 0
            && inputs.terminated[index] == 0
            && counts(inputs.mask, index)
            && counts(inputs.mask, index + columns)
    };
    (0..before_last).find(is_cut).map_or(Ok(()), |index| {
        Err(Error::CutWithin {
            row: index / columns,
            column: index % columns,
        })
    })
}

/// A row of both outputs, cut to some columns.
type OutputRow<'a, T> = (&'a mut [T], &'a mut [T]);

fn threaded<T: Real>(
    inputs: &GaeInputs<'_, T>,
    outputs: &mut GaeOutputs<'_, T>,
    threads: usize,
) -> Result<bool> {
    let columns = inputs.columns;
    let share = columns.div_ceil(threads).next_multiple_of(CHUNK);
    let mut strips: Vec<Vec<OutputRow<'_, T>>> = Vec::new();
    strips.resize_with(columns.div_ceil(share), Vec::new);
    let advantages = outputs.advantages.chunks_exact_mut(columns);
    let returns = outputs.returns.chunks_exact_mut(columns);
    for (advantage_row, return_row) in advantages.zip(returns) {
        let parts = advantage_row
            .chunks_mut(share)
            .zip(return_row.chunks_mut(share));
        for (strip, part) in strips.iter_mut().zip(parts) {
            strip.push(part);
        }
    }
    thread::scope(|scope| {
        let handles: Vec<_> = strips
            .into_iter()
            .enumerate()
            .map(|(index, mut rows)| {
                let begin = index * share;
                let end = columns.min(begin + share);
                scope.spawn(move || strip(inputs, begin, end, &mut rows))
            })
            .collect();
        let mut is_finite = true;
        for handle in handles {
            is_finite &= handle.join().map_err(|_| Error::Thread)?;
        }
        Ok(is_finite)
    })
}

for_widest_registers! {
    /// Columns `begin` to `end` of all rows; returns whether all of it was finite.
    fn strip<T>(inputs: &GaeInputs<'_, T>, begin: usize, end: usize, outputs: &mut [OutputRow<'_, T>]) -> bool
        = strip_inlined
}

#[inline(always)]
fn strip_inlined<T: Real>(
    inputs: &GaeInputs<'_, T>,
    begin: usize,
    end: usize,
    outputs: &mut [OutputRow<'_, T>],
) -> bool {
    let columns = inputs.columns;
    let mut carried = vec![0.0; end - begin];
    for (row, (advantages, returns)) in outputs.iter_mut().enumerate().rev() {
        let place = row * columns + begin..row * columns + end;
        let next = match inputs.next_values {
            NextValues::Rows(next) => &next[place.clone()],
            NextValues::Last(last) if (row + 1) * columns == inputs.rewards.len() => {
                &last[begin..end]
            }
            NextValues::Last(_) => &inputs.values[place.start + columns..place.end + columns],
        };
        let step = Step {
            rewards: &inputs.rewards[place.clone()],
            values: &inputs.values[place.clone()],
            next,
            terminated: &inputs.terminated[place.clone()],
            truncated: &inputs.truncated[place.clone()],
            gamma: inputs.gamma,
            trace: inputs.gamma * inputs.gae_lambda,
        };
        match inputs.mask {
            None => step.all_columns(&mut carried, advantages, returns),
            Some(mask) => step.valid_columns(&mask[place], &mut carried, advantages, returns),
        }
    }
    carried.iter().all(|sum| sum.is_finite())
}

/// One row.
struct Step<'a, T> {
    rewards: &'a [T],
    values: &'a [T],
    next: &'a [T],
    terminated: &'a [u8],
    truncated: &'a [u8],
    gamma: f64,
    trace: f64,
}

impl<T: Real> Step<'_, T> {
    #[inline(always)]
    fn all_columns(&self, carried: &mut [f64], advantages: &mut [T], returns: &mut [T]) {
        let whole = carried.len() / CHUNK * CHUNK;
        for start in (0..whole).step_by(CHUNK) {
            let end = start + CHUNK;
            self.columns::<CHUNK>(
                start,
                &mut carried[start..end],
                &mut advantages[start..end],
                &mut returns[start..end],
            );
        }
        for start in whole..carried.len() {
            let end = start + 1;
            self.columns::<1>(
                start,
                &mut carried[start..end],
                &mut advantages[start..end],
                &mut returns[start..end],
            );
        }
    }

    #[inline(always)]
    fn columns<const C: usize>(
        &self,
        start: usize,
        carried: &mut [f64],
        advantages: &mut [T],
        returns: &mut [T],
    ) {
        let end = start + C;
        let (rewards, values, next) = (
            &self.rewards[start..end],
            &self.values[start..end],
            &self.next[start..end],
        );
        let (terminated, truncated) = (&self.terminated[start..end], &self.truncated[start..end]);
        let (mut sums, mut totals) = ([0.0; C], [0.0; C]);
        for lane in 0..C {
            let discount = if terminated[lane] == 0 {
                self.gamma
            } else {
                0.0
            };
            let is_end = terminated[lane] | truncated[lane] != 0;
            let trace = if is_end { 0.0 } else { self.trace };
            let value = values[lane].to_f64();
            let delta = rewards[lane].to_f64() + discount * next[lane].to_f64() - value;
            sums[lane] = delta + trace * carried[lane];
            totals[lane] = sums[lane] + value;
        }
        carried[..C].copy_from_slice(&sums);
        for lane in 0..C {
            advantages[lane] = T::from_f64(sums[lane]);
            returns[lane] = T::from_f64(totals[lane]);
        }
    }

    #[inline(always)]
    fn valid_columns(
        &self,
        mask: &[u8],
        carried: &mut [f64],
        advantages: &mut [T],
        returns: &mut [T],
    ) {
        for column in 0..carried.len() {
            if mask[column] == 0 {
                advantages[column] = T::default();
                returns[column] = T::default();
                continue;
            }
            let place = column..=column;
            self.columns::<1>(
                column,
                &mut carried[place.clone()],
                &mut advantages[place.clone()],
                &mut returns[place],
            );
        }
    }
}
