//! Group advantages.

use carla_online_advantage::{
    Estimator, Groups, Inputs, Outputs, Settings, group_advantages as compute,
};
use pyo3::prelude::*;

use super::{Call, Float, detached, for_its_float, raised};
use crate::convert::{Element, Flag, Input, RawArray};
use crate::error::{ErrorClass, Fault};

/// Adds this file's functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(group_advantages, module)?)
}

/// Everything but the rewards, as it came.
struct Others<'a, 'py> {
    mask: Option<&'a Bound<'py, PyAny>>,
    lengths: Option<&'a Bound<'py, PyAny>>,
    offsets: Option<&'a Bound<'py, PyAny>>,
    advantages: &'a Bound<'py, PyAny>,
    degenerate: &'a Bound<'py, PyAny>,
    group_std: &'a Bound<'py, PyAny>,
    groups: usize,
    group_size: usize,
    settings: Settings,
    threads: Option<usize>,
}

#[pyfunction]
#[pyo3(signature = (
    rewards, mask, lengths, offsets, advantages, degenerate, group_std, *, groups, group_size, estimator, ddof,
    epsilon, std_floor, scale, clip, degenerate_absolute, degenerate_relative, threads
))]
#[allow(clippy::too_many_arguments)]
fn group_advantages<'py>(
    py: Python<'py>,
    rewards: &Bound<'py, PyAny>,
    mask: Option<&Bound<'py, PyAny>>,
    lengths: Option<&Bound<'py, PyAny>>,
    offsets: Option<&Bound<'py, PyAny>>,
    advantages: &Bound<'py, PyAny>,
    degenerate: &Bound<'py, PyAny>,
    group_std: &Bound<'py, PyAny>,
    groups: usize,
    group_size: usize,
    estimator: &str,
    ddof: usize,
    epsilon: f64,
    std_floor: f64,
    scale: Option<f64>,
    clip: Option<f64>,
    degenerate_absolute: f64,
    degenerate_relative: f64,
    threads: Option<usize>,
) -> PyResult<(usize, usize, f64)> {
    let others = Others {
        mask,
        lengths,
        offsets,
        advantages,
        degenerate,
        group_std,
        groups,
        group_size,
        settings: Settings {
            estimator: estimator_named(estimator, scale)?,
            ddof,
            epsilon,
            std_floor,
            clip: clip.unwrap_or(f64::INFINITY),
            degenerate_absolute,
            degenerate_relative,
        },
        threads,
    };
    for_its_float!("rewards", rewards, run(py, &others))
}

fn estimator_named(name: &str, scale: Option<f64>) -> PyResult<Estimator> {
    match (name, scale) {
        ("grpo", None) => Ok(Estimator::Grpo),
        ("dr_grpo", None) => Ok(Estimator::DrGrpo),
        ("batch", None) => Ok(Estimator::Batch),
        ("ema", Some(scale)) => Ok(Estimator::Ema { scale }),
        ("rloo", None) => Ok(Estimator::Rloo),
        ("opo", None) => Ok(Estimator::Opo),
        _ => {
            let message = format!(
                "estimator {name:?} with scale {scale:?}; choose grpo, dr_grpo, batch, rloo, opo, or ema with a scale"
            );
            Err(Fault::new(ErrorClass::Advantage, message).into())
        }
    }
}

fn run<T: Float>(
    mut call: Call,
    rewards: Input<T>,
    py: Python<'_>,
    others: &Others<'_, '_>,
) -> PyResult<(usize, usize, f64)> {
    let mask = call.optional_flags("mask", others.mask)?;
    let lengths = others
        .lengths
        .map(|lengths| call.input::<T>("lengths", lengths))
        .transpose()?;
    let offsets = others
        .offsets
        .map(|offsets| {
            call.arguments
                .input::<i64>("offsets", offsets, &[others.groups.saturating_add(1)])
        })
        .transpose()?;
    let mut advantages = call.output::<T>("advantages", others.advantages)?;
    let mut degenerate = call.arguments.raw(
        "degenerate",
        others.degenerate,
        Flag::KIND,
        &[others.groups],
        true,
    )?;
    let mut group_std =
        call.arguments
            .output::<T>("group_std", others.group_std, &[others.groups])?;

    let inputs = Inputs {
        rewards: rewards.as_slice(),
        mask: mask.as_ref().map(RawArray::as_bytes),
        lengths: lengths.as_ref().map(Input::as_slice),
    };
    let groups = offsets.as_ref().map_or(
        Groups::Rows {
            groups: others.groups,
            size: others.group_size,
        },
        |offsets| Groups::Offsets(offsets.as_slice()),
    );
    let mut outputs = Outputs {
        advantages: advantages.as_mut_slice(),
        degenerate: degenerate.as_bytes_mut(),
        group_std: group_std.as_mut_slice(),
    };
    let (settings, threads) = (&others.settings, others.threads);
    detached(py, size_of_val(inputs.rewards), move || {
        compute(inputs, groups, &mut outputs, settings, threads)
    })
    .map(|summary| {
        (
            summary.elements,
            summary.degenerate_groups,
            summary.pooled_std,
        )
    })
    .map_err(|error| raised(error, &call.shape, None))
}
