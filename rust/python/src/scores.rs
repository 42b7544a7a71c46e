//! Bindings of rewards and of a scenario's account, for a backend that judges its drives itself.

use std::sync::{Mutex, PoisonError};

use carla_online_world::ledger::{Findings, Judged, Ledger, Story};
use carla_online_world::reward::weigh;
use carla_online_world::score::Counts;
use carla_online_world::{INFO, INFRACTIONS, REWARD_TERMS};
use pyo3::prelude::*;

use crate::convert::{Arguments, Input, Output};
use crate::error::{ErrorClass, Fault};

/// Adds this file's class and function to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScenarioLedger>()?;
    module.add_function(wrap_pyfunction!(weigh_terms, module)?)
}

#[pyfunction]
fn weigh_terms(
    terms: &Bound<'_, PyAny>,
    weights: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let mut arguments = Arguments::new();
    let rows = terms.len()?;
    let terms: Input<f32> = arguments.input("terms", terms, &[rows, REWARD_TERMS.len()])?;
    let weights: Input<f64> = arguments.input("weights", weights, &[REWARD_TERMS.len()])?;
    let mut out: Output<f64> = arguments.output("out", out, &[rows])?;
    let mut row = [0.0; REWARD_TERMS.len()];
    row.copy_from_slice(weights.as_slice());
    weigh(terms.as_slice(), &row, out.as_mut_slice());
    Ok(())
}

fn story(name: &str) -> PyResult<Story> {
    match name {
        "running" => Ok(Story::Running),
        "succeeded" => Ok(Story::Succeeded),
        "failed" => Ok(Story::Failed),
        "timed_out" => Ok(Story::TimedOut),
        "ego_gone" => Ok(Story::EgoGone),
        _ => {
            let known = "'running', 'succeeded', 'failed', 'timed_out' or 'ego_gone'";
            let message = format!("unknown state {name:?}; use {known}");
            Err(Fault::new(ErrorClass::Config, message).into())
        }
    }
}

/// A row as an array; its length was checked with its shape.
fn whole<T, const N: usize>(row: &mut [T]) -> PyResult<&mut [T; N]> {
    let length = row.len();
    row.try_into().map_err(|_| {
        let message = format!("a row has {length} values; it must have {N}");
        Fault::new(ErrorClass::Config, message).into()
    })
}

#[pyclass(frozen, module = "carla_online._native")]
struct ScenarioLedger {
    ledger: Mutex<Ledger>,
}

#[pymethods]
impl ScenarioLedger {
    #[new]
    #[pyo3(signature = (reference_time_s=None))]
    fn new(reference_time_s: Option<f64>) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(reference_time_s)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call for each decision")]
    fn enter(
        &self,
        infractions: &Bound<'_, PyAny>,
        reward_terms: &Bound<'_, PyAny>,
        info: &Bound<'_, PyAny>,
        ended: (bool, bool),
        found: Counts,
        watched: [bool; INFRACTIONS.len()],
        shares: (Option<f64>, Option<f64>),
        state: &str,
    ) -> PyResult<(bool, bool)> {
        let mut arguments = Arguments::new();
        let mut infractions: Output<i32> =
            arguments.output("infractions", infractions, &[INFRACTIONS.len()])?;
        let mut terms: Output<f32> =
            arguments.output("reward_terms", reward_terms, &[REWARD_TERMS.len()])?;
        let mut info: Output<f64> = arguments.output("info", info, &[INFO.len()])?;
        let findings = Findings {
            counts: found,
            watched,
            route_completion: shares.0,
            outside_lanes_share: shares.1,
        };
        let mut judged = Judged {
            counts: whole(infractions.as_mut_slice())?,
            terms: whole(terms.as_mut_slice())?,
            info: whole(info.as_mut_slice())?,
            terminated: ended.0,
            truncated: ended.1,
        };
        let story = story(state)?;
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.enter(&mut judged, &findings, story);
        Ok((judged.terminated, judged.truncated))
    }
}
