//! Bindings of the safety layer's arithmetic.

use carla_online_world::safety::{HalfPlane, decide, project};
use carla_online_world::{OBSERVATION_DIM, Observation, SAFETY_CAUSES, SafetyConfig, SafetyMemory};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::{Arguments, Input, Output};
use crate::world::to_exception;

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SafetyFilter>()?;
    module.add_function(wrap_pyfunction!(project_actions, module)?)
}

/// Refuses numbers that aren't finite; `columns` values a row.
fn require_finite(name: &str, values: &[f32], columns: usize) -> PyResult<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(PyValueError::new_err(format!(
            "{name}[{}, {}] is {}; send finite values",
            at / columns,
            at % columns,
            values[at]
        ))),
    }
}

#[pyclass(frozen, module = "carla_online._native")]
struct SafetyFilter {
    config: SafetyConfig,
}

#[pymethods]
impl SafetyFilter {
    #[new]
    #[pyo3(signature = (config))]
    fn new(config: &str) -> PyResult<Self> {
        let config = SafetyConfig::from_json(config).map_err(to_exception)?;
        Ok(Self { config })
    }

    #[staticmethod]
    fn default_config() -> String {
        SafetyConfig::default().to_json()
    }

    #[staticmethod]
    fn cause_names() -> Vec<&'static str> {
        SAFETY_CAUSES.to_vec()
    }

    #[getter]
    fn config(&self) -> String {
        self.config.to_json()
    }

    #[pyo3(signature = (obs, proposed, last, latch_s, executed, causes))]
    #[allow(clippy::too_many_arguments)] // the arrays of a decision; a struct would only rename them
    fn decide(
        &self,
        py: Python<'_>,
        obs: &Bound<'_, PyAny>,
        proposed: &Bound<'_, PyAny>,
        last: &Bound<'_, PyAny>,
        latch_s: &Bound<'_, PyAny>,
        executed: &Bound<'_, PyAny>,
        causes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let count = proposed.len()?;
        let mut arguments = Arguments::new();
        let obs: Input<f32> = arguments.input("obs", obs, &[count, OBSERVATION_DIM])?;
        let proposed: Input<f32> = arguments.input("proposed", proposed, &[count, 2])?;
        let mut last: Output<f32> = arguments.output("last", last, &[count, 2])?;
        let mut latch_s: Output<f32> = arguments.output("latch_s", latch_s, &[count])?;
        let mut executed: Output<f32> = arguments.output("executed", executed, &[count, 2])?;
        let mut causes: Output<u8> = arguments.output("causes", causes, &[count])?;
        require_finite("proposed", proposed.as_slice(), 2)?;
        require_finite("obs", obs.as_slice(), OBSERVATION_DIM)?;
        let (seen, _): (&[Observation], _) = obs.as_slice().as_chunks();
        let (wanted, _) = proposed.as_slice().as_chunks::<2>();
        let (last, latch_s) = (last.as_mut_slice(), latch_s.as_mut_slice());
        let (executed, causes) = (executed.as_mut_slice(), causes.as_mut_slice());
        py.detach(|| {
            for row in 0..count {
                let held = &mut last[2 * row..2 * row + 2];
                let mut memory = SafetyMemory {
                    last: [held[0], held[1]],
                    latch_s: latch_s[row],
                };
                let decision = decide(&self.config, &seen[row], wanted[row], &mut memory);
                held.copy_from_slice(&memory.last);
                latch_s[row] = memory.latch_s;
                executed[2 * row..2 * row + 2].copy_from_slice(&decision.executed);
                causes[row] = decision.causes;
            }
        });
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("SafetyFilter(decision_s={})", self.config.decision_s)
    }
}

#[pyfunction]
#[pyo3(signature = (actions, gradients, bounds, out))]
fn project_actions(
    py: Python<'_>,
    actions: &Bound<'_, PyAny>,
    gradients: &Bound<'_, PyAny>,
    bounds: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let count = actions.len()?;
    let most = if count == 0 {
        0
    } else {
        bounds.get_item(0)?.len()?
    };
    let mut arguments = Arguments::new();
    let actions: Input<f64> = arguments.input("actions", actions, &[count, 2])?;
    let gradients: Input<f64> = arguments.input("gradients", gradients, &[count, most, 2])?;
    let bounds: Input<f64> = arguments.input("bounds", bounds, &[count, most])?;
    let mut out: Output<f64> = arguments.output("out", out, &[count, 2])?;
    let (actions, bounds) = (actions.as_slice(), bounds.as_slice());
    let (gradients, out) = (gradients.as_slice(), out.as_mut_slice());
    py.detach(|| {
        let mut planes = Vec::with_capacity(most);
        for row in 0..count {
            planes.clear();
            planes.extend((row * most..(row + 1) * most).map(|at| HalfPlane {
                gradient: [gradients[2 * at], gradients[2 * at + 1]],
                bound: bounds[at],
            }));
            let nearest = project([actions[2 * row], actions[2 * row + 1]], &planes);
            out[2 * row..2 * row + 2].copy_from_slice(&nearest);
        }
    });
    Ok(())
}
