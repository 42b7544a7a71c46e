//! Plain loops of the advantage estimators: scalar, two-pass, accumulated in f64 as the package's own kernels are.

use std::ops::{Add, Mul, Sub};

use pyo3::prelude::*;

use crate::bound::{Array, Loop, require};

/// (reward - mean) / (standard deviation + epsilon) within groups of equal size, f32 in and out.
#[pyfunction]
#[pyo3(signature = (rewards, out, *, groups, group_size, epsilon))]
pub fn group_advantages(
    rewards: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    groups: usize,
    group_size: usize,
    epsilon: f64,
) -> PyResult<Loop> {
    require(group_size >= 2, "a group needs two members")?;
    let count = groups * group_size;
    let (rewards, out) = (
        Array::of::<f32>(rewards, count)?,
        Array::of::<f32>(out, count)?,
    );
    Ok(Loop::new(move || {
        // SAFETY: both arrays were checked to hold `count` elements; they are different arrays by the caller's word.
        let (rewards, out) = unsafe {
            (
                std::slice::from_raw_parts(rewards.elements::<f32>().cast_const(), count),
                std::slice::from_raw_parts_mut(out.elements::<f32>(), count),
            )
        };
        for (group, out) in rewards
            .chunks_exact(group_size)
            .zip(out.chunks_exact_mut(group_size))
        {
            let mean = group.iter().map(|&value| f64::from(value)).sum::<f64>() / group_size as f64;
            let squares: f64 = group
                .iter()
                .map(|&value| (f64::from(value) - mean).powi(2))
                .sum();
            let scale = 1.0 / ((squares / (group_size - 1) as f64).sqrt() + epsilon);
            for (value, out) in group.iter().zip(out) {
                *out = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
    }))
}

/// Generalised advantage estimation over `[steps, environments]` f32 arrays, with the returns (advantage + value).
///
/// Termination cuts the value and the recursion, truncation only the recursion. `inputs` are rewards, values, next
/// values; `flags` are terminated, truncated; `outputs` are advantages, returns. With `double` the arithmetic is f64, as
/// the package's own is; without, f32, which loses digits over long windows and is as fast as a plain loop gets.
#[pyfunction]
#[pyo3(signature = (inputs, flags, outputs, *, steps, environments, gamma, gae_lambda, double))]
#[expect(
    clippy::too_many_arguments,
    reason = "the arrays and settings of the estimator"
)]
pub fn gae(
    inputs: [Bound<'_, PyAny>; 3],
    flags: [Bound<'_, PyAny>; 2],
    outputs: [Bound<'_, PyAny>; 2],
    steps: usize,
    environments: usize,
    gamma: f32,
    gae_lambda: f32,
    double: bool,
) -> PyResult<Loop> {
    let count = steps * environments;
    let numbers = inputs
        .iter()
        .chain(&outputs)
        .map(|array| Array::of::<f32>(array, count))
        .collect::<PyResult<Vec<_>>>()?;
    let flags = flags
        .iter()
        .map(|array| Array::of::<u8>(array, count))
        .collect::<PyResult<Vec<_>>>()?;
    let window = Window {
        numbers,
        flags,
        count,
        environments,
    };
    Ok(if double {
        let mut carried = vec![0.0_f64; environments];
        let (gamma, gae_lambda) = (f64::from(gamma), f64::from(gae_lambda));
        Loop::new(move || window.estimate(&mut carried, gamma, gae_lambda, |value| value as f32))
    } else {
        let mut carried = vec![0.0_f32; environments];
        Loop::new(move || window.estimate(&mut carried, gamma, gae_lambda, |value| value))
    })
}

/// The arrays of a window of rollouts: rewards, values, next values, advantages, returns; terminated, truncated.
struct Window {
    numbers: Vec<Array>,
    flags: Vec<Array>,
    count: usize,
    environments: usize,
}

impl Window {
    fn estimate<T>(&self, carried: &mut [T], gamma: T, gae_lambda: T, narrow: impl Fn(T) -> f32)
    where
        T: Copy + From<f32> + Add<Output = T> + Sub<Output = T> + Mul<Output = T>,
    {
        let count = self.count;
        let number = |at: usize| self.numbers[at].elements::<f32>();
        let flag = |at: usize| self.flags[at].elements::<u8>().cast_const();
        // SAFETY: every array was checked to hold `count` elements; the outputs are none of the others by the caller's
        // word.
        let ([rewards, values, next_values], [terminated, truncated], [advantages, returns]) = unsafe {
            (
                [0, 1, 2].map(|at| std::slice::from_raw_parts(number(at).cast_const(), count)),
                [0, 1].map(|at| std::slice::from_raw_parts(flag(at), count)),
                [3, 4].map(|at| std::slice::from_raw_parts_mut(number(at), count)),
            )
        };
        carried.fill(T::from(0.0));
        for start in (0..count).step_by(self.environments).rev() {
            let row = start..start + self.environments;
            let [rewards, values, next_values] =
                [rewards, values, next_values].map(|column| &column[row.clone()]);
            let [terminated, truncated] =
                [terminated, truncated].map(|column| &column[row.clone()]);
            let (advantages, returns) = (&mut advantages[row.clone()], &mut returns[row.clone()]);
            for index in 0..carried.len() {
                let lives = f32::from(u8::from(terminated[index] == 0));
                let goes_on = lives * f32::from(u8::from(truncated[index] == 0));
                let value = T::from(values[index]);
                let delta = T::from(rewards[index])
                    + gamma * T::from(lives) * T::from(next_values[index])
                    - value;
                carried[index] = delta + gamma * gae_lambda * T::from(goes_on) * carried[index];
                advantages[index] = narrow(carried[index]);
                returns[index] = narrow(carried[index] + value);
            }
        }
    }
}
