//! Signals, junctions, crosswalks, routes and spawn points as Python sees them.

use carla_online_roads as roads;
use pyo3::prelude::*;
use roads::{LaneIndex, RoadMap};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Signal>()?;
    module.add_class::<LightGroup>()?;
    module.add_class::<StopLine>()?;
    module.add_class::<Junction>()?;
    module.add_class::<Conflict>()?;
    module.add_class::<Crosswalk>()?;
    module.add_class::<Crossing>()?;
    module.add_class::<RoutePiece>()?;
    module.add_class::<RoutePoint>()?;
    module.add_class::<Route>()?;
    module.add_class::<SpawnPoint>()?;
    module.add_class::<MapFinding>()
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct Signal {
    id: String,
    name: String,
    code: String,
    kind: &'static str,
    road_id: u32,
    station_m: f32,
    x: f32,
    y: f32,
    z: f32,
    yaw_rad: f32,
    speed_limit_mps: Option<f32>,
    governs: bool,
    group: Option<u32>,
    phase: u16,
}

impl From<&roads::Signal> for Signal {
    fn from(signal: &roads::Signal) -> Self {
        Self {
            id: signal.id.to_string(),
            name: signal.name.to_string(),
            code: signal.code.to_string(),
            kind: signal.kind.name(),
            road_id: signal.road_id,
            station_m: signal.station_m,
            x: signal.pose.x,
            y: signal.pose.y,
            z: signal.pose.z,
            yaw_rad: signal.pose.yaw_rad,
            speed_limit_mps: signal.speed_limit_mps,
            governs: signal.governs,
            group: signal.group,
            phase: signal.phase,
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct LightGroup {
    junction: Option<u32>,
    controllers: Vec<String>,
    phases: Vec<Vec<u32>>,
}

impl From<&roads::LightGroup> for LightGroup {
    fn from(group: &roads::LightGroup) -> Self {
        let phases = group.phases.iter();
        Self {
            junction: group.junction,
            controllers: phases
                .clone()
                .map(|phase| phase.controller.to_string())
                .collect(),
            phases: phases.map(|phase| phase.lights.clone()).collect(),
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct StopLine {
    s_m: f32,
    onto: Option<LaneIndex>,
    rule: &'static str,
    signal: Option<u32>,
    group: Option<u32>,
    phase: Option<u16>,
    turn: &'static str,
}

impl From<&roads::StopLine> for StopLine {
    fn from(line: &roads::StopLine) -> Self {
        Self {
            s_m: line.s_m,
            onto: line.onto,
            rule: line.rule.name(),
            signal: line.light.map(|light| light.signal),
            group: line.light.map(|light| light.group),
            phase: line.light.map(|light| light.phase),
            turn: line.turn.name(),
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct Junction {
    id: u32,
    centre: (f32, f32, f32),
    radius_m: f32,
    lanes: Vec<LaneIndex>,
    approaches: Vec<LaneIndex>,
}

impl Junction {
    pub fn all(map: &RoadMap) -> Vec<Self> {
        let numbered = (0..).zip(map.junctions());
        numbered
            .map(|(index, junction)| Self {
                id: junction.id,
                centre: junction.centre.into(),
                radius_m: junction.radius_m,
                lanes: map.junction_lanes(index).to_vec(),
                approaches: map.approaches(index).to_vec(),
            })
            .collect()
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct Conflict {
    other: LaneIndex,
    kind: &'static str,
    own_m: (f32, f32),
    other_m: (f32, f32),
}

impl From<&roads::Conflict> for Conflict {
    fn from(conflict: &roads::Conflict) -> Self {
        Self {
            other: conflict.other,
            kind: match conflict.kind {
                roads::ConflictKind::Cross => "cross",
                roads::ConflictKind::Merge => "merge",
                roads::ConflictKind::Diverge => "diverge",
            },
            own_m: conflict.own_m,
            other_m: conflict.other_m,
        }
    }
}

type Point = (f32, f32, f32);

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct Crosswalk {
    id: String,
    road_id: u32,
    polygon: Vec<Point>,
    walk: (Point, Point),
}

impl From<&roads::Crosswalk> for Crosswalk {
    fn from(crosswalk: &roads::Crosswalk) -> Self {
        let [from, to] = crosswalk.walk;
        Self {
            id: crosswalk.id.to_string(),
            road_id: crosswalk.road_id,
            polygon: crosswalk
                .polygon
                .iter()
                .map(|corner| (*corner).into())
                .collect(),
            walk: (from.into(), to.into()),
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct Crossing {
    crosswalk: u32,
    from_m: f32,
    to_m: f32,
}

impl From<&roads::Crossing> for Crossing {
    fn from(crossing: &roads::Crossing) -> Self {
        Self {
            crosswalk: crossing.crosswalk,
            from_m: crossing.from_m,
            to_m: crossing.to_m,
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct RoutePiece {
    lane: LaneIndex,
    from_m: f32,
    to_m: f32,
    station_m: f32,
    option: &'static str,
    left_lane: Option<LaneIndex>,
}

impl From<&roads::RoutePiece> for RoutePiece {
    fn from(piece: &roads::RoutePiece) -> Self {
        Self {
            lane: piece.lane,
            from_m: piece.from_m,
            to_m: piece.to_m,
            station_m: piece.station_m,
            option: piece.option.name(),
            left_lane: piece.left_lane,
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct RoutePoint {
    lane: LaneIndex,
    s_m: f32,
    station_m: f32,
    x: f32,
    y: f32,
    z: f32,
    yaw_rad: f32,
    option: &'static str,
}

impl From<&roads::RoutePoint> for RoutePoint {
    fn from(point: &roads::RoutePoint) -> Self {
        Self {
            lane: point.lane,
            s_m: point.s_m,
            station_m: point.station_m,
            x: point.pose.x,
            y: point.pose.y,
            z: point.pose.z,
            yaw_rad: point.pose.yaw_rad,
            option: point.option.name(),
        }
    }
}

#[pyclass(frozen, module = "carla_online._native")]
pub struct Route {
    pub route: roads::PlannedRoute,
    /// The hash of the map that planned it: its lanes mean nothing to another.
    pub map_hash: u64,
}

#[pymethods]
impl Route {
    #[getter]
    fn length_m(&self) -> f32 {
        self.route.length_m
    }

    #[getter]
    fn pieces(&self) -> Vec<RoutePiece> {
        self.route.pieces.iter().map(Into::into).collect()
    }

    fn __repr__(&self) -> String {
        format!(
            "Route({:.2} m, {} pieces)",
            self.route.length_m,
            self.route.pieces.len()
        )
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct SpawnPoint {
    lane: LaneIndex,
    s_m: f32,
    x: f32,
    y: f32,
    z: f32,
    yaw_rad: f32,
}

impl From<&roads::SpawnPoint> for SpawnPoint {
    fn from(point: &roads::SpawnPoint) -> Self {
        Self {
            lane: point.lane,
            s_m: point.s_m,
            x: point.pose.x,
            y: point.pose.y,
            z: point.pose.z,
            yaw_rad: point.pose.yaw_rad,
        }
    }
}

#[pyclass(frozen, get_all, module = "carla_online._native")]
pub struct MapFinding {
    rule: &'static str,
    severity: &'static str,
    count: usize,
    place: String,
    message: String,
    cure: &'static str,
}

impl From<roads::Finding> for MapFinding {
    fn from(finding: roads::Finding) -> Self {
        Self {
            rule: finding.rule,
            severity: finding.severity.name(),
            count: finding.count,
            place: finding.place,
            message: finding.message,
            cure: finding.cure,
        }
    }
}
