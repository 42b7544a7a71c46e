//! Bindings of `carla-online-world`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use carla_online_world as world;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use world::{
    BIRDSEYE_PLANES, BirdseyeKind, DRAWS, Error, INFO, INFRACTIONS, OBSERVATION_DIM, REWARD_TERMS,
    StepOutputs, WEATHER_CLASSES,
};

use crate::convert::{Arguments, Flag, Input, Output};
use crate::error::{ErrorClass, Fault};

/// Points of drawn lines lie this far apart at most, metres.
const DRAWING_STEP_M: f32 = 5.0;
/// Stop lines farther from the ego aren't told, metres.
const STOPS_WITHIN_M: f32 = 150.0;

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<HeldWorlds>()?;
    module.add_class::<WorldBatch>()
}

/// The exception that an error of the world becomes.
pub fn to_exception(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::ConfigSyntax { .. }
        | Error::Config(_)
        | Error::Count { .. }
        | Error::MapFile { .. } => Fault::new(ErrorClass::Config, message).into(),
        Error::Map { seed, .. } | Error::Lanes { seed, .. } | Error::Route { seed, .. } => {
            Fault::new(ErrorClass::Map, message)
                .with("seed", seed)
                .into()
        }
        Error::NotReset { env } | Error::Ended { env } => {
            Fault::new(ErrorClass::EpisodeEnded, message)
                .with("env", env)
                .into()
        }
        Error::Snapshot(_) => Fault::new(ErrorClass::Checkpoint, message).into(),
        Error::Thread => Fault::new(ErrorClass::Simulator, message).into(),
        Error::RasterSize { .. } | Error::MapText { .. } | Error::Course { .. } => {
            Fault::new(ErrorClass::Map, message).into()
        }
        Error::EnvIndex { .. } => PyIndexError::new_err(message),
        Error::Action { .. } | Error::Length { .. } | Error::Foreign => {
            PyValueError::new_err(message)
        }
    }
}

fn flags(values: &[Flag]) -> Vec<bool> {
    values.iter().map(|flag| flag.is_set()).collect()
}

fn write_flags(values: &[bool], out: &mut [Flag]) {
    for (flag, &value) in out.iter_mut().zip(values) {
        *flag = value.into();
    }
}

/// The episodes of a batch at one moment.
#[pyclass(frozen, module = "carla_online._native")]
struct HeldWorlds {
    worlds: Mutex<Vec<Option<world::World>>>,
}

#[pymethods]
impl HeldWorlds {
    #[new]
    fn new() -> Self {
        Self {
            worlds: Mutex::new(Vec::new()),
        }
    }
}

impl HeldWorlds {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<world::World>>> {
        self.worlds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pyclass(frozen, module = "carla_online._native")]
struct WorldBatch {
    batch: Mutex<world::WorldBatch>,
    num_envs: usize,
    threads: usize,
}

impl WorldBatch {
    /// The batch. A call that panicked has left it in a state that only `reset` mends, and the
    /// environments say so themselves; so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, world::WorldBatch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the batch without the interpreter.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut world::WorldBatch) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| work(&mut self.lock())).map_err(to_exception)
    }

    fn mask(
        &self,
        arguments: &mut Arguments,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Vec<bool>>> {
        let Some(mask) = mask else {
            return Ok(None);
        };
        let mask: Input<Flag> = arguments.input("mask", mask, &[self.num_envs])?;
        Ok(Some(flags(mask.as_slice())))
    }
}

#[pymethods]
impl WorldBatch {
    #[new]
    #[pyo3(signature = (*, num_envs, config, threads=1))]
    fn new(num_envs: usize, config: &str, threads: usize) -> PyResult<Self> {
        let config = world::WorldConfig::from_json(config).map_err(to_exception)?;
        let batch = world::WorldBatch::new(config, num_envs, threads).map_err(to_exception)?;
        Ok(Self {
            batch: Mutex::new(batch),
            num_envs,
            threads,
        })
    }

    #[staticmethod]
    fn layout() -> Vec<(String, usize, usize, f32, &'static str)> {
        world::layout()
            .into_iter()
            .map(|field| (field.name, field.start, field.size, field.scale, field.unit))
            .collect()
    }

    #[staticmethod]
    fn reward_term_names() -> Vec<&'static str> {
        REWARD_TERMS.to_vec()
    }

    #[staticmethod]
    fn infraction_names() -> Vec<&'static str> {
        INFRACTIONS.to_vec()
    }

    #[staticmethod]
    fn info_names() -> Vec<&'static str> {
        INFO.to_vec()
    }

    #[staticmethod]
    fn draw_names() -> Vec<&'static str> {
        DRAWS.to_vec()
    }

    #[staticmethod]
    fn weather_classes() -> Vec<&'static str> {
        WEATHER_CLASSES.to_vec()
    }

    #[staticmethod]
    fn birdseye_planes() -> Vec<&'static str> {
        BIRDSEYE_PLANES.to_vec()
    }

    #[staticmethod]
    fn birdseye_size(kind: &str) -> PyResult<usize> {
        Ok(birdseye_kind(kind)?.size_px())
    }

    #[staticmethod]
    fn default_config() -> String {
        world::WorldConfig::default().to_json()
    }

    #[classattr]
    fn obs_dim() -> usize {
        OBSERVATION_DIM
    }

    #[getter]
    fn num_envs(&self) -> usize {
        self.num_envs
    }

    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    #[getter]
    fn config(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |batch| Ok(batch.config().to_json()))
    }

    #[pyo3(signature = (seeds, mask, obs, info))]
    fn reset(
        &self,
        py: Python<'_>,
        seeds: &Bound<'_, PyAny>,
        mask: Option<&Bound<'_, PyAny>>,
        obs: &Bound<'_, PyAny>,
        info: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mut arguments = Arguments::new();
        let count = self.num_envs;
        let seeds: Input<u64> = arguments.input("seeds", seeds, &[count])?;
        let mask = self.mask(&mut arguments, mask)?;
        let mut obs: Output<f32> = arguments.output("obs", obs, &[count, OBSERVATION_DIM])?;
        let mut info: Output<f64> = arguments.output("info", info, &[count, INFO.len()])?;
        let (seeds, obs, info) = (seeds.as_slice(), obs.as_mut_slice(), info.as_mut_slice());
        self.with(py, |batch| batch.reset(seeds, mask.as_deref(), obs, info))
    }

    #[pyo3(signature = (actions, obs, reward_terms, terminated, truncated, info, infractions, mask=None))]
    #[allow(clippy::too_many_arguments)] // the arrays of a step; a struct would only rename them
    fn step(
        &self,
        py: Python<'_>,
        actions: &Bound<'_, PyAny>,
        obs: &Bound<'_, PyAny>,
        reward_terms: &Bound<'_, PyAny>,
        terminated: &Bound<'_, PyAny>,
        truncated: &Bound<'_, PyAny>,
        info: &Bound<'_, PyAny>,
        infractions: &Bound<'_, PyAny>,
        mask: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let mut arguments = Arguments::new();
        let count = self.num_envs;
        let actions: Input<f32> = arguments.input("actions", actions, &[count, 2])?;
        let mut obs: Output<f32> = arguments.output("obs", obs, &[count, OBSERVATION_DIM])?;
        let mut reward_terms: Output<f32> =
            arguments.output("reward_terms", reward_terms, &[count, REWARD_TERMS.len()])?;
        let mut terminated: Output<Flag> = arguments.output("terminated", terminated, &[count])?;
        let mut truncated: Output<Flag> = arguments.output("truncated", truncated, &[count])?;
        let mut info: Output<f64> = arguments.output("info", info, &[count, INFO.len()])?;
        let mut infractions: Output<i32> =
            arguments.output("infractions", infractions, &[count, INFRACTIONS.len()])?;
        let mask = self.mask(&mut arguments, mask)?;
        let (mut ended, mut cut) = (
            flags(terminated.as_mut_slice()),
            flags(truncated.as_mut_slice()),
        );
        let out = StepOutputs {
            observations: obs.as_mut_slice(),
            reward_terms: reward_terms.as_mut_slice(),
            terminated: &mut ended,
            truncated: &mut cut,
            info: info.as_mut_slice(),
            infractions: infractions.as_mut_slice(),
        };
        let actions = actions.as_slice();
        self.with(py, |batch| batch.step(actions, mask.as_deref(), out))?;
        write_flags(&ended, terminated.as_mut_slice());
        write_flags(&cut, truncated.as_mut_slice());
        Ok(())
    }

    fn obs(&self, py: Python<'_>, env: usize, obs: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut obs: Output<f32> = Arguments::new().output("obs", obs, &[OBSERVATION_DIM])?;
        let row = obs.as_mut_slice();
        self.with(py, |batch| {
            let mut observation = [0.0; OBSERVATION_DIM];
            batch.world(env)?.observe(&mut Vec::new(), &mut observation);
            row.copy_from_slice(&observation);
            Ok(())
        })
    }

    #[pyo3(signature = (kind, mask, out))]
    fn birdseye(
        &self,
        py: Python<'_>,
        kind: &str,
        mask: Option<&Bound<'_, PyAny>>,
        out: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let kind = birdseye_kind(kind)?;
        let mut arguments = Arguments::new();
        let mask = self.mask(&mut arguments, mask)?;
        let shape = [self.num_envs, kind.size_px(), kind.size_px()];
        let mut out: Output<u8> = arguments.output("out", out, &shape)?;
        let out = out.as_mut_slice();
        self.with(py, |batch| batch.birdseye(kind, mask.as_deref(), out))
    }

    #[pyo3(signature = (mask, out))]
    fn draws(
        &self,
        py: Python<'_>,
        mask: Option<&Bound<'_, PyAny>>,
        out: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mut arguments = Arguments::new();
        let mask = self.mask(&mut arguments, mask)?;
        let mut out: Output<f64> = arguments.output("out", out, &[self.num_envs, DRAWS.len()])?;
        let out = out.as_mut_slice();
        self.with(py, |batch| batch.draws(mask.as_deref(), out))
    }

    fn snapshot<'py>(&self, py: Python<'py>, env: usize) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.with(py, |batch| Ok(batch.world(env)?.snapshot()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn restore(&self, py: Python<'_>, env: usize, snapshot: PyBackedBytes) -> PyResult<()> {
        self.with(py, |batch| batch.restore(env, &snapshot))
    }

    #[pyo3(signature = (source, targets, *, forked=false))]
    fn branch(
        &self,
        py: Python<'_>,
        source: usize,
        targets: Vec<usize>,
        forked: bool,
    ) -> PyResult<()> {
        self.with(py, |batch| batch.branch(source, &targets, forked))
    }

    #[pyo3(signature = (targets, snapshot, *, forked=false))]
    fn restore_many(
        &self,
        py: Python<'_>,
        targets: Vec<usize>,
        snapshot: PyBackedBytes,
        forked: bool,
    ) -> PyResult<()> {
        self.with(py, |batch| batch.restore_many(&targets, &snapshot, forked))
    }

    fn hold(&self, py: Python<'_>, held: &Bound<'_, HeldWorlds>) -> PyResult<()> {
        let held = held.get();
        self.with(py, |batch| {
            batch.hold(&mut held.lock());
            Ok(())
        })
    }

    fn go_back(&self, py: Python<'_>, held: &Bound<'_, HeldWorlds>) -> PyResult<()> {
        let held = held.get();
        self.with(py, |batch| batch.go_back(&held.lock()))
    }

    fn state_hash(&self, py: Python<'_>, env: usize) -> PyResult<u64> {
        self.with(py, |batch| Ok(batch.world(env)?.state_hash()))
    }

    fn xodr(&self, py: Python<'_>, env: usize) -> PyResult<String> {
        self.with(py, |batch| {
            Ok(batch.world(env)?.course().map.xodr().to_owned())
        })
    }

    fn scene<'py>(&self, py: Python<'py>, env: usize) -> PyResult<Bound<'py, PyDict>> {
        let (ego, actors) = self.with(py, |batch| Ok(batch.world(env)?.scene()))?;
        let scene = PyDict::new(py);
        scene.set_item("ego", columns(py, &[ego])?)?;
        scene.set_item("actors", columns(py, &actors)?)?;
        Ok(scene)
    }

    fn stops(&self, py: Python<'_>, env: usize) -> PyResult<Vec<Stop>> {
        self.with(py, |batch| Ok(stops(batch.world(env)?)))
    }

    fn road<'py>(
        &self,
        py: Python<'py>,
        env: usize,
    ) -> PyResult<Vec<(&'static str, Bound<'py, PyBytes>)>> {
        let lines = self.with(py, |batch| Ok(drawing(batch.world(env)?)))?;
        Ok(line_bytes(py, &lines))
    }

    fn __repr__(&self) -> String {
        format!(
            "WorldBatch(num_envs={}, threads={})",
            self.num_envs, self.threads
        )
    }
}

/// Ends (x, y, x, y) and state of a stop line.
pub type Stop = ([f32; 4], &'static str);

/// The stop lines near the ego of a world.
pub fn stops(world: &world::World) -> Vec<Stop> {
    let near = world.stops(STOPS_WITHIN_M).into_iter();
    near.map(|stop| {
        let [[ax, ay], [bx, by]] = stop.ends;
        ([ax, ay, bx, by], stop.state)
    })
    .collect()
}

/// The lines of a world's road.
pub fn drawing(world: &world::World) -> Vec<world::SceneLine> {
    world.drawing(DRAWING_STEP_M)
}

/// Lines as kind and points, float32 `[P, 2]`.
pub fn line_bytes<'py>(
    py: Python<'py>,
    lines: &[world::SceneLine],
) -> Vec<(&'static str, Bound<'py, PyBytes>)> {
    let to_bytes = |points: &[[f32; 2]]| {
        let bytes: Vec<u8> = points
            .as_flattened()
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect();
        PyBytes::new(py, &bytes)
    };
    let tell = |line: &world::SceneLine| (line.kind, to_bytes(&line.points));
    lines.iter().map(tell).collect()
}

/// The kind of view of this name.
pub fn birdseye_kind(name: &str) -> PyResult<BirdseyeKind> {
    BirdseyeKind::from_name(name).ok_or_else(|| {
        let message = format!("unknown bird's-eye view {name:?}; use 'small' or 'carl'");
        Fault::new(ErrorClass::Config, message).into()
    })
}

/// Boxes as one list a quantity.
pub fn columns<'py>(py: Python<'py>, boxes: &[world::SceneBox]) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    let column = |read: fn(&world::SceneBox) -> f32| boxes.iter().map(read).collect::<Vec<f32>>();
    columns.set_item("x", column(|actor| actor.x))?;
    columns.set_item("y", column(|actor| actor.y))?;
    columns.set_item("yaw", column(|actor| actor.yaw_rad))?;
    columns.set_item("half_length", column(|actor| actor.half_extents_m.0))?;
    columns.set_item("half_width", column(|actor| actor.half_extents_m.1))?;
    columns.set_item("speed", column(|actor| actor.speed_mps))?;
    Ok(columns)
}
