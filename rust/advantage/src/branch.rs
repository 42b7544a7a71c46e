//! Advantages of branches: G rollouts of at most H steps from each of S states, compared at each step among those still
//! alive.
//!
//! Arrays are [S, G, H], or [S, G] for what belongs to a branch; flags are bytes, any but 0 is true.

use crate::error::{Error, Result};
use crate::real::{Real, require_finite, require_length};

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct BranchShape {
    /// S.
    pub states: usize,
    /// G.
    pub branches: usize,
    /// H.
    pub steps: usize,
}

impl BranchShape {
    fn elements(self) -> usize {
        self.states
            .saturating_mul(self.branches)
            .saturating_mul(self.steps)
    }
}

/// What branches were like.
#[derive(Clone, Copy, Debug)]
pub struct BranchInputs<'a, T> {
    /// Rewards.
    pub rewards: &'a [T],
    /// Whether a step was taken; once false it stays false.
    pub alive: &'a [u8],
    /// Value of the state behind each branch's last step.
    pub bootstrap: &'a [T],
    /// The arrays' shape.
    pub shape: BranchShape,
}

/// What generalised advantage estimation needs beside.
#[derive(Clone, Copy, Debug)]
pub struct BranchValues<'a, T> {
    /// Values of the states that steps were taken from.
    pub values: &'a [T],
    /// Whether a branch's last step ended the driving.
    pub terminated: &'a [u8],
    /// Lambda.
    pub gae_lambda: f64,
}

/// Writes the reward-to-go of each branch's steps, less the mean over the branches alive if `is_centred`.
///
/// # Errors
///
/// Lengths that don't fit; the first element that counts and isn't finite; a branch that comes alive again. The output's
/// contents are unspecified then.
pub fn branch_reward_to_go<T: Real>(
    inputs: BranchInputs<'_, T>,
    gamma: f64,
    is_centred: bool,
    out: &mut [T],
) -> Result<()> {
    check(&inputs, out)?;
    estimate(&inputs, is_centred, out, |branch, place, estimates| {
        let mut carried = inputs.bootstrap[branch].to_f64();
        for (estimate, reward) in estimates.iter_mut().zip(&inputs.rewards[place]).rev() {
            carried = reward.to_f64() + gamma * carried;
            *estimate = carried;
        }
    })
}

/// Writes the generalised advantage estimates of each branch's steps, less the mean over the branches alive if
/// `is_centred`.
///
/// # Errors
///
/// As [`branch_reward_to_go`].
pub fn branch_gae<T: Real>(
    inputs: BranchInputs<'_, T>,
    values: BranchValues<'_, T>,
    gamma: f64,
    is_centred: bool,
    out: &mut [T],
) -> Result<()> {
    check(&inputs, out)?;
    require_length("values", values.values.len(), inputs.rewards.len())?;
    require_length(
        "terminated",
        values.terminated.len(),
        inputs.bootstrap.len(),
    )?;
    require_finite("values", values.values, Some(inputs.alive))?;
    let trace = gamma * values.gae_lambda;
    estimate(&inputs, is_centred, out, |branch, place, estimates| {
        let mut behind = if values.terminated[branch] == 0 {
            inputs.bootstrap[branch].to_f64()
        } else {
            0.0
        };
        let mut carried = 0.0;
        let steps = inputs.rewards[place.clone()]
            .iter()
            .zip(&values.values[place]);
        for (estimate, (reward, value)) in estimates.iter_mut().zip(steps).rev() {
            let value = value.to_f64();
            carried = (reward.to_f64() + gamma * behind - value) + trace * carried;
            behind = value;
            *estimate = carried;
        }
    })
}

fn check<T: Real>(inputs: &BranchInputs<'_, T>, out: &[T]) -> Result<()> {
    let shape = inputs.shape;
    let elements = shape.elements();
    require_length("rewards", inputs.rewards.len(), elements)?;
    require_length("alive", inputs.alive.len(), elements)?;
    require_length("out", out.len(), elements)?;
    let branches = shape.states.saturating_mul(shape.branches);
    require_length("bootstrap", inputs.bootstrap.len(), branches)?;
    require_finite("bootstrap", inputs.bootstrap, None)?;
    for branch in 0..if shape.steps == 0 { 0 } else { branches } {
        let alive = &inputs.alive[branch * shape.steps..][..shape.steps];
        if let Some(before) = alive
            .windows(2)
            .position(|pair| pair[0] == 0 && pair[1] != 0)
        {
            return Err(Error::AliveAgain {
                state: branch / shape.branches,
                branch: branch % shape.branches,
                step: before + 1,
            });
        }
    }
    require_finite("rewards", inputs.rewards, Some(inputs.alive))
}

/// Fills each branch's steps by `recurse(branch, place of its steps, estimates)`, then centres and writes them.
fn estimate<T: Real>(
    inputs: &BranchInputs<'_, T>,
    is_centred: bool,
    out: &mut [T],
    recurse: impl Fn(usize, std::ops::Range<usize>, &mut [f64]),
) -> Result<()> {
    let BranchShape {
        states,
        branches,
        steps,
    } = inputs.shape;
    let mut estimates = vec![0.0; branches * steps];
    let mut is_finite = true;
    for state in 0..if branches * steps == 0 { 0 } else { states } {
        let start = state * branches * steps;
        let alive = &inputs.alive[start..start + branches * steps];
        for branch in 0..branches {
            let first = branch * steps;
            let taken = alive[first..first + steps]
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(steps);
            recurse(
                state * branches + branch,
                start + first..start + first + taken,
                &mut estimates[first..first + taken],
            );
        }
        if is_centred {
            for step in 0..steps {
                centre(&mut estimates, alive, step, steps);
            }
        }
        for (index, written) in out[start..start + branches * steps].iter_mut().enumerate() {
            let value = if alive[index] == 0 {
                0.0
            } else {
                estimates[index]
            };
            is_finite &= value.is_finite();
            *written = T::from_f64(value);
        }
    }
    if is_finite {
        return Ok(());
    }
    Err(Error::Overflow {
        what: "a discounted sum",
    })
}

/// Takes the mean over the branches alive at `step` off; relative to the first of them, so that equal estimates give 0.
fn centre(estimates: &mut [f64], alive: &[u8], step: usize, steps: usize) {
    let places = || {
        (step..alive.len())
            .step_by(steps)
            .filter(|&index| alive[index] != 0)
    };
    let Some(first) = places().next().map(|index| estimates[index]) else {
        return;
    };
    let mean =
        places().map(|index| estimates[index] - first).sum::<f64>() / places().count() as f64;
    for index in places() {
        estimates[index] = (estimates[index] - first) - mean;
    }
}
