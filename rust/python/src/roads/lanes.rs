//! Lanes, and what is found on them.

use carla_online_roads as roads;
use pyo3::prelude::*;
use roads::LaneIndex;

#[pyclass(frozen, module = "carla_online._native")]
pub(super) struct Lane(pub(super) roads::Lane);

#[pymethods]
impl Lane {
    #[getter]
    fn road_id(&self) -> u32 {
        self.0.road_id
    }

    #[getter]
    fn section(&self) -> u16 {
        self.0.section
    }

    #[getter]
    fn lane_id(&self) -> i32 {
        self.0.lane_id
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    #[getter]
    fn speed_limit_mps(&self) -> f32 {
        self.0.speed_limit_mps
    }

    #[getter]
    fn junction(&self) -> Option<u32> {
        self.0.junction
    }

    #[getter]
    fn length_m(&self) -> f32 {
        self.0.length_m
    }

    #[getter]
    fn left(&self) -> Option<LaneIndex> {
        self.0.left
    }

    #[getter]
    fn right(&self) -> Option<LaneIndex> {
        self.0.right
    }

    #[getter]
    fn may_change_left(&self) -> bool {
        self.0.may_change_left
    }

    #[getter]
    fn may_change_right(&self) -> bool {
        self.0.may_change_right
    }

    #[getter]
    fn left_mark(&self) -> &'static str {
        self.0.left_mark.name()
    }

    #[getter]
    fn right_mark(&self) -> &'static str {
        self.0.right_mark.name()
    }

    #[getter]
    fn successors(&self) -> Vec<LaneIndex> {
        self.0.successors.clone()
    }

    #[getter]
    fn predecessors(&self) -> Vec<LaneIndex> {
        self.0.predecessors.clone()
    }

    #[getter]
    fn section_start_m(&self) -> f32 {
        self.0.section_start_m
    }

    #[getter]
    fn section_end_m(&self) -> f32 {
        self.0.section_end_m
    }

    fn __repr__(&self) -> String {
        format!(
            "Lane(road {}, section {}, lane {}, {}, {:.2} m)",
            self.0.road_id,
            self.0.section,
            self.0.lane_id,
            self.0.kind.name(),
            self.0.length_m
        )
    }
}

#[pyclass(frozen, module = "carla_online._native")]
pub(super) struct LaneSample(pub(super) roads::LaneSample);

#[pymethods]
impl LaneSample {
    #[getter]
    fn x(&self) -> f32 {
        self.0.pose.x
    }

    #[getter]
    fn y(&self) -> f32 {
        self.0.pose.y
    }

    #[getter]
    fn z(&self) -> f32 {
        self.0.pose.z
    }

    #[getter]
    fn yaw_rad(&self) -> f32 {
        self.0.pose.yaw_rad
    }

    #[getter]
    fn curvature_per_m(&self) -> f32 {
        self.0.curvature_per_m
    }

    #[getter]
    fn width_m(&self) -> f32 {
        self.0.width_m
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[pyclass(frozen, module = "carla_online._native")]
pub(super) struct LanePoint(pub(super) roads::LanePoint);

#[pymethods]
impl LanePoint {
    #[getter]
    fn lane(&self) -> LaneIndex {
        self.0.lane
    }

    #[getter]
    fn s_m(&self) -> f32 {
        self.0.s_m
    }

    #[getter]
    fn lateral_m(&self) -> f32 {
        self.0.lateral_m
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[pyclass(frozen, module = "carla_online._native")]
pub(super) struct Markings(pub(super) roads::Markings);

#[pymethods]
impl Markings {
    #[getter]
    fn left(&self) -> &'static str {
        self.0.left.name()
    }

    #[getter]
    fn right(&self) -> &'static str {
        self.0.right.name()
    }

    #[getter]
    fn left_permits_change(&self) -> bool {
        self.0.left_permits_change
    }

    #[getter]
    fn right_permits_change(&self) -> bool {
        self.0.right_permits_change
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[pyclass(frozen, module = "carla_online._native")]
pub(super) struct Polyline(pub(super) roads::Polyline);

#[pymethods]
impl Polyline {
    #[getter]
    fn lane(&self) -> LaneIndex {
        self.0.lane
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.kind {
            roads::PolylineKind::Centre => "centre",
            roads::PolylineKind::LeftEdge => "left edge",
            roads::PolylineKind::RightEdge => "right edge",
        }
    }

    #[getter]
    fn mark(&self) -> &'static str {
        self.0.mark.name()
    }

    #[getter]
    fn points(&self) -> Vec<(f32, f32, f32)> {
        self.0.points.iter().map(|[x, y, z]| (*x, *y, *z)).collect()
    }

    fn __repr__(&self) -> String {
        format!(
            "Polyline(lane {}, {}, {}, {} points)",
            self.0.lane,
            self.kind(),
            self.mark(),
            self.0.points.len()
        )
    }
}
