//! Writing maps.

use carla_online_roads as roads;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use roads::{ElevationKnot, JunctionControl, LightPlan, MapKind, MapSpec, RoadSpec, Segment};

use crate::error::Fault;

#[pyfunction]
#[pyo3(signature = (
    kind,
    *,
    seed = 0,
    length_m = None,
    lanes = None,
    lane_width_m = None,
    speed_limit_mps = None,
    control = None,
    light_plan = None,
    crosswalks = None,
    columns = None,
    rows = None,
    block_m = None,
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(super) fn write_map(
    kind: &str,
    seed: u64,
    length_m: Option<f64>,
    lanes: Option<u8>,
    lane_width_m: Option<f64>,
    speed_limit_mps: Option<f64>,
    control: Option<&str>,
    light_plan: Option<&str>,
    crosswalks: Option<bool>,
    columns: Option<u8>,
    rows: Option<u8>,
    block_m: Option<f64>,
) -> PyResult<String> {
    let kinds = MapKind::ALL.map(MapKind::name).join(", ");
    let spec = MapSpec {
        kind: named("kind", kind, MapKind::from_name(kind), &kinds)?,
        seed,
        length_m,
        lanes,
        lane_width_m,
        speed_limit_mps,
        control: control
            .map(|name| {
                let known = "uncontrolled, lights, stop, yield, mixed";
                named("control", name, JunctionControl::from_name(name), known)
            })
            .transpose()?,
        light_plan: light_plan
            .map(|name| {
                let known = "opposite, approach";
                named("light_plan", name, LightPlan::from_name(name), known)
            })
            .transpose()?,
        has_crosswalks: crosswalks,
        columns,
        rows,
        block_m,
    };
    Ok(spec.to_xodr().map_err(Fault::from)?)
}

/// What a name stands for, or an error that lists the known names.
fn named<T>(what: &str, name: &str, found: Option<T>, known: &str) -> PyResult<T> {
    found.ok_or_else(|| {
        PyValueError::new_err(format!("{what} {name:?} is unknown; use one of: {known}"))
    })
}

#[pyfunction]
#[pyo3(signature = (
    segments,
    *,
    lanes_forward = 1,
    lanes_backward = 0,
    lane_width_m = 3.5,
    speed_limit_mps = 50.0 / 3.6,
    shoulder_width_m = 0.0,
    start = (0.0, 0.0, 0.0),
    elevation = Vec::new(),
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(super) fn write_road(
    segments: Vec<Vec<f64>>,
    lanes_forward: u8,
    lanes_backward: u8,
    lane_width_m: f64,
    speed_limit_mps: f64,
    shoulder_width_m: f64,
    start: (f64, f64, f64),
    elevation: Vec<(f64, f64, f64)>,
) -> PyResult<String> {
    let spec = RoadSpec {
        lanes_forward,
        lanes_backward,
        lane_width_m,
        speed_limit_mps,
        shoulder_width_m,
        start,
        segments: segments
            .iter()
            .map(|parts| segment(parts))
            .collect::<PyResult<_>>()?,
        elevation: elevation
            .into_iter()
            .map(|(s_m, z_m, grade)| ElevationKnot { s_m, z_m, grade })
            .collect(),
    };
    Ok(spec.to_xodr().map_err(Fault::from)?)
}

/// (length), (length, curvature) or (length, curvature at the start, curvature at the end).
fn segment(parts: &[f64]) -> PyResult<Segment> {
    match *parts {
        [length_m] => Ok(Segment::Line { length_m }),
        [length_m, curvature_per_m] => Ok(Segment::Arc {
            length_m,
            curvature_per_m,
        }),
        [length_m, curvature_start_per_m, curvature_end_per_m] => Ok(Segment::Spiral {
            length_m,
            curvature_start_per_m,
            curvature_end_per_m,
        }),
        _ => Err(PyValueError::new_err(format!(
            "a segment has {} numbers; pass (length,), (length, curvature) or \
             (length, curvature_start, curvature_end)",
            parts.len()
        ))),
    }
}
