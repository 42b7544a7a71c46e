//! Bindings of `carla-online-roads`.

mod lanes;
mod rules;
mod write;

use carla_online_roads as roads;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use roads::LaneIndex;

use crate::error::{ErrorClass, Fault};
use lanes::{Lane, LanePoint, LaneSample, Markings, Polyline};
use rules::{
    Conflict, Crossing, Crosswalk, Junction, LightGroup, MapFinding, Route, RoutePoint, Signal,
    SpawnPoint, StopLine,
};

impl From<roads::Error> for Fault {
    fn from(error: roads::Error) -> Self {
        let fault = Fault::new(ErrorClass::Map, error.to_string());
        match error {
            roads::Error::TooLarge { what, count, limit } => fault
                .with("what", what.to_owned())
                .with("count", count)
                .with("limit", limit),
            roads::Error::BadValue { name, value, .. } => {
                fault.with("name", name.to_owned()).with("value", value)
            }
            roads::Error::MissingElement { element: name, .. }
            | roads::Error::MissingAttribute {
                attribute: name, ..
            } => fault.with("name", name.to_owned()),
            _ => fault,
        }
    }
}

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RoadMap>()?;
    module.add_class::<Lane>()?;
    module.add_class::<LaneSample>()?;
    module.add_class::<LanePoint>()?;
    module.add_class::<Markings>()?;
    module.add_class::<Polyline>()?;
    rules::register(module)?;
    module.add_function(wrap_pyfunction!(examine_map, module)?)?;
    module.add_function(wrap_pyfunction!(write::write_map, module)?)?;
    module.add_function(wrap_pyfunction!(write::write_road, module)?)
}

#[pyclass(frozen, module = "carla_online._native")]
struct RoadMap(roads::RoadMap);

impl RoadMap {
    fn check(&self, lane: LaneIndex) -> PyResult<LaneIndex> {
        let count = self.0.lanes().len();
        if (lane as usize) < count {
            return Ok(lane);
        }
        Err(PyIndexError::new_err(format!(
            "lane index {lane} is out of range; the map has {count} lanes"
        )))
    }
}

#[pymethods]
impl RoadMap {
    #[staticmethod]
    fn from_xodr(py: Python<'_>, text: &str) -> PyResult<Self> {
        let map = py.detach(|| roads::RoadMap::parse(text));
        Ok(Self(map.map_err(Fault::from)?))
    }

    #[staticmethod]
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
    fn from_kind(
        py: Python<'_>,
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
    ) -> PyResult<Self> {
        let text = write::write_map(
            kind,
            seed,
            length_m,
            lanes,
            lane_width_m,
            speed_limit_mps,
            control,
            light_plan,
            crosswalks,
            columns,
            rows,
            block_m,
        )?;
        Self::from_xodr(py, &text)
    }

    #[getter]
    fn xodr(&self) -> &str {
        self.0.xodr()
    }

    #[getter]
    fn content_hash(&self) -> u64 {
        self.0.content_hash()
    }

    fn lanes(&self) -> Vec<Lane> {
        self.0.lanes().iter().cloned().map(Lane).collect()
    }

    fn driving_lanes(&self) -> Vec<LaneIndex> {
        self.0.driving_lanes().collect()
    }

    fn sample(&self, lane: LaneIndex, s_m: f32) -> PyResult<LaneSample> {
        Ok(LaneSample(self.0.sample(self.check(lane)?, s_m)))
    }

    #[pyo3(signature = (x, y, z, *, yaw_rad=None))]
    fn locate(&self, x: f32, y: f32, z: f32, yaw_rad: Option<f32>) -> Option<LanePoint> {
        self.0.locate(x, y, z, yaw_rad).map(LanePoint)
    }

    #[pyo3(signature = (lane, x, y, *, near_s_m))]
    fn project(&self, lane: LaneIndex, x: f32, y: f32, near_s_m: f32) -> PyResult<LanePoint> {
        let place = self.0.project(self.check(lane)?, x, y, near_s_m);
        Ok(LanePoint(place))
    }

    fn abreast(&self, lane: LaneIndex, s_m: f32, other: LaneIndex) -> PyResult<f32> {
        Ok(self.0.abreast(self.check(lane)?, s_m, self.check(other)?))
    }

    fn station(&self, lane: LaneIndex, s_m: f32) -> PyResult<f32> {
        Ok(self.0.station(self.check(lane)?, s_m))
    }

    fn at_station(&self, lane: LaneIndex, station_m: f32) -> PyResult<f32> {
        Ok(self.0.at_station(self.check(lane)?, station_m))
    }

    fn advance(&self, lane: LaneIndex, s_m: f32, distance_m: f32) -> PyResult<Option<LanePoint>> {
        let place = self.0.advance(self.check(lane)?, s_m, distance_m);
        Ok(place.map(LanePoint))
    }

    fn half_width_to_edge(&self, lane: LaneIndex, s_m: f32) -> PyResult<(f32, f32)> {
        Ok(self.0.half_width_to_edge(self.check(lane)?, s_m))
    }

    fn markings(&self, lane: LaneIndex, s_m: f32) -> PyResult<Markings> {
        Ok(Markings(self.0.markings(self.check(lane)?, s_m)))
    }

    fn polylines(&self, py: Python<'_>, step_m: f32) -> Vec<Polyline> {
        let lines = py.detach(|| self.0.polylines(step_m));
        lines.into_iter().map(Polyline).collect()
    }

    fn speed_limit_mps(&self, lane: LaneIndex, s_m: f32) -> PyResult<f32> {
        Ok(self.0.speed_limit_mps(self.check(lane)?, s_m))
    }

    fn signals(&self) -> Vec<Signal> {
        self.0.signals().iter().map(Into::into).collect()
    }

    fn light_groups(&self) -> Vec<LightGroup> {
        self.0.light_groups().iter().map(Into::into).collect()
    }

    fn junctions(&self) -> Vec<Junction> {
        Junction::all(&self.0)
    }

    fn junction_of(&self, lane: LaneIndex) -> PyResult<Option<u32>> {
        Ok(self.0.junction_of(self.check(lane)?))
    }

    fn conflicts(&self, lane: LaneIndex) -> PyResult<Vec<Conflict>> {
        let conflicts = self.0.conflicts(self.check(lane)?);
        Ok(conflicts.iter().map(Into::into).collect())
    }

    fn stop_lines(&self, lane: LaneIndex) -> PyResult<Vec<StopLine>> {
        let lines = self.0.stop_lines(self.check(lane)?);
        Ok(lines.iter().map(Into::into).collect())
    }

    fn crosswalks(&self) -> Vec<Crosswalk> {
        self.0.crosswalks().iter().map(Into::into).collect()
    }

    fn crossings(&self, lane: LaneIndex) -> PyResult<Vec<Crossing>> {
        let crossings = self.0.crossings(self.check(lane)?);
        Ok(crossings.iter().map(Into::into).collect())
    }

    fn plan_route(
        &self,
        py: Python<'_>,
        origin: (LaneIndex, f32),
        destination: (LaneIndex, f32),
    ) -> PyResult<Option<Route>> {
        self.check(origin.0)?;
        self.check(destination.0)?;
        let map_hash = self.0.content_hash();
        let route = py.detach(|| self.0.plan_route(origin, destination));
        Ok(route.map(|route| Route { route, map_hash }))
    }

    fn route_points(&self, route: &Route, step_m: f32) -> PyResult<Vec<RoutePoint>> {
        if route.map_hash != self.0.content_hash() {
            return Err(PyValueError::new_err(
                "the route was planned on another map; plan it on this one",
            ));
        }
        let points = self.0.route_points(&route.route, step_m);
        Ok(points.iter().map(Into::into).collect())
    }

    fn entry_spawn_points(&self) -> Vec<SpawnPoint> {
        self.0.entry_spawn_points().iter().map(Into::into).collect()
    }

    fn spawn_points(&self, spacing_m: f32) -> Vec<SpawnPoint> {
        self.0
            .spawn_points(spacing_m)
            .iter()
            .map(Into::into)
            .collect()
    }

    fn __repr__(&self) -> String {
        let driving = self.0.driving_lanes().count();
        let (lanes, hash) = (self.0.lanes().len(), self.0.content_hash());
        format!("RoadMap({lanes} lanes, {driving} driving, hash {hash:016x})")
    }
}

#[pyfunction]
fn examine_map(py: Python<'_>, text: &str) -> Vec<MapFinding> {
    let findings = py.detach(|| roads::examine(text));
    findings.into_iter().map(Into::into).collect()
}
