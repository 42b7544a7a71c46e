//! Binding of the driving scores, for a backend that counts its infractions itself.

use carla_online_world::score::{
    Counts, driving_score, infraction_score, outside_factor, timed_driving_score,
};
use pyo3::prelude::*;

/// Adds this file's function to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(score_route, module)?)
}

#[pyfunction]
fn score_route(
    infractions: Counts,
    min_speed_share: f64,
    outside_lanes_share: f64,
    route_completion: f64,
    reference_time_s: f64,
    time_s: f64,
) -> (f64, f64, f64) {
    let penalty = infraction_score(&infractions, Some(min_speed_share))
        * outside_factor(outside_lanes_share, 1.0);
    let score = driving_score(route_completion, penalty);
    let timed = timed_driving_score(score, route_completion, reference_time_s, time_s);
    (penalty, score, timed)
}
