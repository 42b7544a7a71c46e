//! Estimates along time: windows [T, N] and branches [S, G, H].

use carla_online_advantage as advantage;
use carla_online_advantage::{
    Bootstrap, BranchInputs, BranchShape, BranchValues, GaeInputs, GaeOutputs, NStepInputs,
    NextValues, RewardToGoInputs, VTraceInputs, VTraceLimits,
};
use pyo3::prelude::*;

use super::{Call, Float, detached, for_its_float, raised};
use crate::convert::{Input, RawArray};
use crate::error::{ErrorClass, Fault};

type Object<'py> = Bound<'py, PyAny>;

/// Adds this file's functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(gae, module)?)?;
    module.add_function(wrap_pyfunction!(reward_to_go, module)?)?;
    module.add_function(wrap_pyfunction!(n_step, module)?)?;
    module.add_function(wrap_pyfunction!(v_trace, module)?)?;
    module.add_function(wrap_pyfunction!(branch_reward_to_go, module)?)?;
    module.add_function(wrap_pyfunction!(branch_gae, module)?)
}

fn dimensions<const D: usize>(shape: &[usize]) -> PyResult<[usize; D]> {
    shape.try_into().map_err(|_| {
        let message = format!("rewards have shape {shape:?}; {D} dimensions are needed");
        Fault::new(ErrorClass::Advantage, message).into()
    })
}

/// Values of the states behind: one for each column, or one for each step.
struct Behind<T> {
    values: Input<T>,
    is_last_only: bool,
}

impl<T> Behind<T> {
    fn shape(&self, call: &Call) -> Vec<usize> {
        call.shape[usize::from(self.is_last_only)..].to_vec()
    }
}

fn behind<T: Float>(
    call: &mut Call,
    name: &str,
    object: &Object<'_>,
    columns: usize,
) -> PyResult<Behind<T>> {
    let dimensions: usize = object
        .getattr(pyo3::intern!(object.py(), "ndim"))?
        .extract()?;
    let is_last_only = dimensions == 1;
    let values = if is_last_only {
        call.shaped(name, object, &[columns])?
    } else {
        call.input(name, object)?
    };
    Ok(Behind {
        values,
        is_last_only,
    })
}

#[pyfunction]
#[pyo3(signature = (
    rewards, values, next_values, terminated, truncated, mask, advantages, returns, *, gamma, gae_lambda, threads
))]
#[allow(clippy::too_many_arguments)]
fn gae<'py>(
    py: Python<'py>,
    rewards: &Object<'py>,
    values: &Object<'py>,
    next_values: &Object<'py>,
    terminated: &Object<'py>,
    truncated: &Object<'py>,
    mask: Option<&Object<'py>>,
    advantages: &Object<'py>,
    returns: &Object<'py>,
    gamma: f64,
    gae_lambda: f64,
    threads: Option<usize>,
) -> PyResult<()> {
    let arrays = [
        values,
        next_values,
        terminated,
        truncated,
        advantages,
        returns,
    ];
    for_its_float!(
        "rewards",
        rewards,
        run_gae(py, arrays, mask, (gamma, gae_lambda), threads)
    )
}

fn run_gae<T: Float>(
    mut call: Call,
    rewards: Input<T>,
    py: Python<'_>,
    [
        values,
        next_values,
        terminated,
        truncated,
        advantages,
        returns,
    ]: [&Object<'_>; 6],
    mask: Option<&Object<'_>>,
    (gamma, gae_lambda): (f64, f64),
    threads: Option<usize>,
) -> PyResult<()> {
    let [_, columns] = dimensions(&call.shape)?;
    let values = call.input::<T>("values", values)?;
    let next = behind::<T>(&mut call, "next_values", next_values, columns)?;
    let terminated = call.flags("terminated", terminated)?;
    let truncated = call.flags("truncated", truncated)?;
    let mask = call.optional_flags("mask", mask)?;
    let mut advantages = call.output::<T>("advantages", advantages)?;
    let mut returns = call.output::<T>("returns", returns)?;
    let inputs = GaeInputs {
        rewards: rewards.as_slice(),
        values: values.as_slice(),
        next_values: if next.is_last_only {
            NextValues::Last(next.values.as_slice())
        } else {
            NextValues::Rows(next.values.as_slice())
        },
        terminated: terminated.as_bytes(),
        truncated: truncated.as_bytes(),
        mask: mask.as_ref().map(RawArray::as_bytes),
        columns,
        gamma,
        gae_lambda,
    };
    let mut outputs = GaeOutputs {
        advantages: advantages.as_mut_slice(),
        returns: returns.as_mut_slice(),
    };
    detached(py, size_of_val(inputs.rewards), move || {
        advantage::gae(inputs, &mut outputs, threads)
    })
    .map_err(|error| {
        raised(
            error,
            &call.shape,
            Some(("next_values", &next.shape(&call))),
        )
    })
}

#[pyfunction]
#[pyo3(signature = (rewards, ends, bootstrap, mask, out, *, gamma))]
fn reward_to_go<'py>(
    py: Python<'py>,
    rewards: &Object<'py>,
    ends: &Object<'py>,
    bootstrap: Option<&Object<'py>>,
    mask: Option<&Object<'py>>,
    out: &Object<'py>,
    gamma: f64,
) -> PyResult<()> {
    for_its_float!(
        "rewards",
        rewards,
        run_reward_to_go(py, ends, bootstrap, mask, out, gamma)
    )
}

#[allow(clippy::too_many_arguments)] // the arrays of the call; a struct would only rename them
fn run_reward_to_go<T: Float>(
    mut call: Call,
    rewards: Input<T>,
    py: Python<'_>,
    ends: &Object<'_>,
    bootstrap: Option<&Object<'_>>,
    mask: Option<&Object<'_>>,
    out: &Object<'_>,
    gamma: f64,
) -> PyResult<()> {
    let [_, columns] = dimensions(&call.shape)?;
    let ends = call.flags("ends", ends)?;
    let bootstrap = bootstrap
        .map(|bootstrap| behind::<T>(&mut call, "bootstrap", bootstrap, columns))
        .transpose()?;
    let mask = call.optional_flags("mask", mask)?;
    let mut out = call.output::<T>("out", out)?;
    let inputs = RewardToGoInputs {
        rewards: rewards.as_slice(),
        ends: ends.as_bytes(),
        bootstrap: match &bootstrap {
            None => Bootstrap::None,
            Some(given) if given.is_last_only => Bootstrap::Last(given.values.as_slice()),
            Some(given) => Bootstrap::Rows(given.values.as_slice()),
        },
        mask: mask.as_ref().map(RawArray::as_bytes),
        columns,
        gamma,
    };
    let written = out.as_mut_slice();
    detached(py, size_of_val(inputs.rewards), move || {
        advantage::reward_to_go(inputs, written)
    })
    .map_err(|error| {
        let shape = bootstrap
            .as_ref()
            .map(|given| given.shape(&call))
            .unwrap_or_default();
        raised(error, &call.shape, Some(("bootstrap", &shape)))
    })
}

#[pyfunction]
#[pyo3(signature = (rewards, next_values, terminated, truncated, out, *, steps, gamma))]
#[allow(clippy::too_many_arguments)]
fn n_step<'py>(
    py: Python<'py>,
    rewards: &Object<'py>,
    next_values: &Object<'py>,
    terminated: &Object<'py>,
    truncated: &Object<'py>,
    out: &Object<'py>,
    steps: usize,
    gamma: f64,
) -> PyResult<()> {
    let arrays = [next_values, terminated, truncated, out];
    for_its_float!("rewards", rewards, run_n_step(py, arrays, steps, gamma))
}

fn run_n_step<T: Float>(
    mut call: Call,
    rewards: Input<T>,
    py: Python<'_>,
    [next_values, terminated, truncated, out]: [&Object<'_>; 4],
    steps: usize,
    gamma: f64,
) -> PyResult<()> {
    let [_, columns] = dimensions(&call.shape)?;
    let next_values = call.input::<T>("next_values", next_values)?;
    let terminated = call.flags("terminated", terminated)?;
    let truncated = call.flags("truncated", truncated)?;
    let mut out = call.output::<T>("out", out)?;
    let inputs = NStepInputs {
        rewards: rewards.as_slice(),
        next_values: next_values.as_slice(),
        terminated: terminated.as_bytes(),
        truncated: truncated.as_bytes(),
        columns,
        steps,
        gamma,
    };
    let written = out.as_mut_slice();
    detached(py, size_of_val(inputs.rewards), move || {
        advantage::n_step(inputs, written)
    })
    .map_err(|error| raised(error, &call.shape, None))
}

#[pyfunction]
#[pyo3(signature = (
    rewards, values, next_values, log_ratio, terminated, truncated, targets, advantages, *, gamma, rho_bar, c_bar
))]
#[allow(clippy::too_many_arguments)]
fn v_trace<'py>(
    py: Python<'py>,
    rewards: &Object<'py>,
    values: &Object<'py>,
    next_values: &Object<'py>,
    log_ratio: &Object<'py>,
    terminated: &Object<'py>,
    truncated: &Object<'py>,
    targets: &Object<'py>,
    advantages: &Object<'py>,
    gamma: f64,
    rho_bar: f64,
    c_bar: f64,
) -> PyResult<()> {
    let arrays = [
        values,
        next_values,
        log_ratio,
        terminated,
        truncated,
        targets,
        advantages,
    ];
    let limits = VTraceLimits {
        gamma,
        rho_bar,
        c_bar,
    };
    for_its_float!("rewards", rewards, run_v_trace(py, arrays, limits))
}

fn run_v_trace<T: Float>(
    mut call: Call,
    rewards: Input<T>,
    py: Python<'_>,
    [
        values,
        next_values,
        log_ratio,
        terminated,
        truncated,
        targets,
        advantages,
    ]: [&Object<'_>; 7],
    limits: VTraceLimits,
) -> PyResult<()> {
    let [_, columns] = dimensions(&call.shape)?;
    let values = call.input::<T>("values", values)?;
    let next_values = call.input::<T>("next_values", next_values)?;
    let log_ratio = call.input::<T>("log_ratio", log_ratio)?;
    let terminated = call.flags("terminated", terminated)?;
    let truncated = call.flags("truncated", truncated)?;
    let mut targets = call.output::<T>("targets", targets)?;
    let mut advantages = call.output::<T>("advantages", advantages)?;
    let inputs = VTraceInputs {
        rewards: rewards.as_slice(),
        values: values.as_slice(),
        next_values: next_values.as_slice(),
        log_ratio: log_ratio.as_slice(),
        terminated: terminated.as_bytes(),
        truncated: truncated.as_bytes(),
        columns,
    };
    let (first, second) = (targets.as_mut_slice(), advantages.as_mut_slice());
    detached(py, size_of_val(inputs.rewards), move || {
        advantage::v_trace(inputs, limits, first, second)
    })
    .map_err(|error| raised(error, &call.shape, None))
}

#[pyfunction]
#[pyo3(signature = (rewards, alive, bootstrap, out, *, gamma, centre))]
fn branch_reward_to_go<'py>(
    py: Python<'py>,
    rewards: &Object<'py>,
    alive: &Object<'py>,
    bootstrap: &Object<'py>,
    out: &Object<'py>,
    gamma: f64,
    centre: bool,
) -> PyResult<()> {
    let arrays = [alive, bootstrap, out];
    for_its_float!(
        "rewards",
        rewards,
        run_branches(py, arrays, None, gamma, centre)
    )
}

#[pyfunction]
#[pyo3(signature = (rewards, values, bootstrap, alive, terminated, out, *, gamma, gae_lambda, centre))]
#[allow(clippy::too_many_arguments)]
fn branch_gae<'py>(
    py: Python<'py>,
    rewards: &Object<'py>,
    values: &Object<'py>,
    bootstrap: &Object<'py>,
    alive: &Object<'py>,
    terminated: &Object<'py>,
    out: &Object<'py>,
    gamma: f64,
    gae_lambda: f64,
    centre: bool,
) -> PyResult<()> {
    let arrays = [alive, bootstrap, out];
    let critic = Some((values, terminated, gae_lambda));
    for_its_float!(
        "rewards",
        rewards,
        run_branches(py, arrays, critic, gamma, centre)
    )
}

fn run_branches<T: Float>(
    mut call: Call,
    rewards: Input<T>,
    py: Python<'_>,
    [alive, bootstrap, out]: [&Object<'_>; 3],
    critic: Option<(&Object<'_>, &Object<'_>, f64)>,
    gamma: f64,
    centre: bool,
) -> PyResult<()> {
    let [states, branches, steps] = dimensions(&call.shape)?;
    let alive = call.flags("alive", alive)?;
    let bootstrap = call.shaped::<T>("bootstrap", bootstrap, &[states, branches])?;
    let critic = critic
        .map(|(values, terminated, gae_lambda)| {
            let values = call.input::<T>("values", values)?;
            let terminated = call.shaped_flags("terminated", terminated, &[states, branches])?;
            PyResult::Ok((values, terminated, gae_lambda))
        })
        .transpose()?;
    let mut out = call.output::<T>("out", out)?;
    let inputs = BranchInputs {
        rewards: rewards.as_slice(),
        alive: alive.as_bytes(),
        bootstrap: bootstrap.as_slice(),
        shape: BranchShape {
            states,
            branches,
            steps,
        },
    };
    let values = critic
        .as_ref()
        .map(|(values, terminated, gae_lambda)| BranchValues {
            values: values.as_slice(),
            terminated: terminated.as_bytes(),
            gae_lambda: *gae_lambda,
        });
    let written = out.as_mut_slice();
    detached(py, size_of_val(inputs.rewards), move || match values {
        None => advantage::branch_reward_to_go(inputs, gamma, centre, written),
        Some(values) => advantage::branch_gae(inputs, values, gamma, centre, written),
    })
    .map_err(|error| raised(error, &call.shape, Some(("bootstrap", &call.shape[..2]))))
}
