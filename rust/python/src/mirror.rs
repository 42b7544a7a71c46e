//! Bindings of the world's judgement of a drive that happens elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carla_online_world as world;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use world::mirror::{EgoSighting, Felt, Mirror, Obstacle, Sighting};
use world::{ActorKind, DRAWS, Error, INFO, INFRACTIONS, OBSERVATION_DIM, REWARD_TERMS};

use crate::convert::{Arguments, Output};
use crate::error::{ErrorClass, Fault};
use crate::world::{birdseye_kind, columns, drawing, to_exception};

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<WorldMirror>()
}

/// `(x, y, z, yaw_deg, vx, vy, gear)`.
type StartTuple = (f32, f32, f32, f32, f32, f32, u8);
/// `(x, y, z, yaw_deg, vx, vy, yaw_rate_degps, gear)`.
type EgoTuple = (f32, f32, f32, f32, f32, f32, f32, i32);
/// `(id, kind, x, y, z, yaw_deg, vx, vy, half_length, half_width)`.
type OtherTuple = (u32, String, f32, f32, f32, f32, f32, f32, f32, f32);
/// `(model, x, y, z, yaw_deg, speed, is_gone)`.
type ScriptedTuple = (u8, f32, f32, f32, f32, f32, bool);
/// `(x, y, z, yaw_deg, speed)`.
type WalkerTuple = (f32, f32, f32, f32, f32);

const fn colour(state: world::LightState) -> &'static str {
    match state {
        world::LightState::Green => "green",
        world::LightState::Yellow => "yellow",
        world::LightState::Red => "red",
    }
}

fn state(name: &str) -> PyResult<world::LightState> {
    match name {
        "green" => Ok(world::LightState::Green),
        "yellow" => Ok(world::LightState::Yellow),
        "red" => Ok(world::LightState::Red),
        _ => Err(unknown("light", name, "'green', 'yellow' or 'red'")),
    }
}

fn ego_sighting(ego: EgoTuple) -> EgoSighting {
    let (x, y, z, yaw_deg, vx, vy, yaw_rate_degps, gear) = ego;
    EgoSighting {
        x,
        y,
        z,
        yaw_rad: yaw_deg.to_radians(),
        velocity_mps: (vx, vy),
        yaw_rate_radps: yaw_rate_degps.to_radians(),
        gear,
    }
}

fn unknown(what: &str, name: &str, known: &str) -> PyErr {
    let message = format!("unknown {what} {name:?}; use {known}");
    Fault::new(ErrorClass::Config, message).into()
}

fn sightings(others: Vec<OtherTuple>) -> PyResult<Vec<Sighting>> {
    let read = |other: OtherTuple| {
        let (id, kind, x, y, z, yaw_deg, vx, vy, half_length, half_width) = other;
        let kind = match kind.as_str() {
            "vehicle" => ActorKind::Vehicle,
            "walker" => ActorKind::Walker,
            _ => return Err(unknown("kind of actor", &kind, "'vehicle' or 'walker'")),
        };
        Ok(Sighting {
            id,
            kind,
            x,
            y,
            z,
            yaw_rad: world::wrap_angle(yaw_deg.to_radians()),
            velocity_mps: (vx, vy),
            half_extents_m: (half_length, half_width),
        })
    };
    others.into_iter().map(read).collect()
}

fn contacts(felt: Vec<(u32, String)>) -> PyResult<Vec<Felt>> {
    let read = |(id, kind): (u32, String)| match kind.as_str() {
        "vehicle" => Ok((id, Obstacle::Vehicle)),
        "layout" => Ok((id, Obstacle::Layout)),
        "walker" => Ok((id, Obstacle::Walker)),
        _ => Err(unknown(
            "kind of obstacle",
            &kind,
            "'vehicle', 'layout' or 'walker'",
        )),
    };
    felt.into_iter().map(read).collect()
}

#[pyclass(frozen, module = "carla_online._native")]
struct WorldMirror {
    setup: Arc<world::Setup>,
    mirror: Mutex<Option<Mirror>>,
}

impl WorldMirror {
    /// A call that panicked leaves an episode that the next reset replaces, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Option<Mirror>> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the episode without the interpreter.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Mirror) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| match self.lock().as_mut() {
            Some(mirror) => work(mirror),
            None => Err(Error::NotReset { env: 0 }),
        })
        .map_err(to_exception)
    }
}

#[pymethods]
impl WorldMirror {
    #[new]
    #[pyo3(signature = (config))]
    fn new(config: &str) -> PyResult<Self> {
        let config = world::WorldConfig::from_json(config).map_err(to_exception)?;
        let setup = world::Setup::new(config).map_err(to_exception)?;
        Ok(Self {
            setup: Arc::new(setup),
            mirror: Mutex::new(None),
        })
    }

    fn reset(&self, py: Python<'_>, seed: u64) -> PyResult<StartTuple> {
        py.detach(|| {
            let mirror = Mirror::reset(Arc::clone(&self.setup), seed)?;
            let (car, z) = (mirror.ego().car, mirror.ego().z);
            let (vx, vy) = mirror.start_velocity_mps();
            *self.lock() = Some(mirror);
            Ok((car.x, car.y, z, car.yaw_rad.to_degrees(), vx, vy, car.gear))
        })
        .map_err(to_exception)
    }

    fn enter(&self, py: Python<'_>, seed: u64, places: Vec<(f32, f32, f32, f32)>) -> PyResult<()> {
        py.detach(|| {
            let places: Vec<[f32; 4]> = places
                .into_iter()
                .map(|(x, y, z, yaw_deg)| [x, y, z, world::wrap_angle(yaw_deg.to_radians())])
                .collect();
            let mirror = Mirror::enter(Arc::clone(&self.setup), seed, &places)?;
            *self.lock() = Some(mirror);
            Ok(())
        })
        .map_err(to_exception)
    }

    fn place(&self, py: Python<'_>, ego: EgoTuple) -> PyResult<()> {
        let ego = ego_sighting(ego);
        self.with(py, |mirror| {
            mirror.place(&ego);
            Ok(())
        })
    }

    fn show_lights(&self, py: Python<'_>, lights: Vec<(String, String)>) -> PyResult<()> {
        let lights: PyResult<Vec<_>> = lights
            .into_iter()
            .map(|(id, name)| Ok((id, state(&name)?)))
            .collect();
        let lights = lights?;
        self.with(py, |mirror| {
            mirror.show_lights(&lights);
            Ok(())
        })
    }

    fn xodr(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |mirror| {
            Ok(mirror.world().course().map.xodr().to_owned())
        })
    }

    fn scripted(&self, py: Python<'_>) -> PyResult<Vec<ScriptedTuple>> {
        self.with(py, |mirror| {
            let tell = |vehicle: &world::traffic::Vehicle| {
                (
                    vehicle.model,
                    vehicle.x,
                    vehicle.y,
                    vehicle.z,
                    vehicle.yaw_rad.to_degrees(),
                    vehicle.speed_mps,
                    vehicle.is_gone,
                )
            };
            Ok(mirror.scripted().iter().map(tell).collect())
        })
    }

    fn scripted_walkers(&self, py: Python<'_>) -> PyResult<Vec<WalkerTuple>> {
        self.with(py, |mirror| {
            let tell = |walker: &world::network::Walker| {
                let yaw_deg = walker.yaw_rad.to_degrees();
                (walker.x, walker.y, walker.z, yaw_deg, walker.speed_mps)
            };
            Ok(mirror.scripted_walkers().iter().map(tell).collect())
        })
    }

    fn lights(&self, py: Python<'_>) -> PyResult<Vec<(String, &'static str)>> {
        self.with(py, |mirror| {
            let tell = |(id, state): (&str, world::LightState)| (id.to_owned(), colour(state));
            Ok(mirror.lights().into_iter().map(tell).collect())
        })
    }

    fn lights_ahead(&self, py: Python<'_>, reach_m: f32) -> PyResult<Vec<String>> {
        self.with(py, |mirror| {
            let ids = mirror.lights_ahead(reach_m).into_iter();
            Ok(ids.map(str::to_owned).collect())
        })
    }

    fn name_scripted(&self, py: Python<'_>, ids: Vec<u32>, walker_ids: Vec<u32>) -> PyResult<()> {
        self.with(py, |mirror| mirror.name_scripted(ids, walker_ids))
    }

    fn release_scripted(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |mirror| {
            mirror.release_scripted();
            Ok(())
        })
    }

    fn meet(&self, py: Python<'_>, others: Vec<OtherTuple>) -> PyResult<()> {
        let others = sightings(others)?;
        self.with(py, |mirror| {
            mirror.meet(&others);
            Ok(())
        })
    }

    fn decide(&self, py: Python<'_>, steer: f32, pedal: f32) -> PyResult<()> {
        self.with(py, |mirror| {
            mirror.decide([steer, pedal]);
            Ok(())
        })
    }

    fn plan(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |mirror| {
            mirror.plan();
            Ok(())
        })
    }

    fn is_close(
        &self,
        py: Python<'_>,
        ego: EgoTuple,
        others: Vec<OtherTuple>,
        margin_m: f32,
    ) -> PyResult<bool> {
        let (ego, others) = (ego_sighting(ego), sightings(others)?);
        self.with(py, |mirror| Ok(mirror.is_close(&ego, &others, margin_m)))
    }

    fn look(
        &self,
        py: Python<'_>,
        ego: EgoTuple,
        others: Vec<OtherTuple>,
        felt: Vec<(u32, String)>,
    ) -> PyResult<bool> {
        let (ego, others, felt) = (ego_sighting(ego), sightings(others)?, contacts(felt)?);
        self.with(py, |mirror| {
            mirror.look(&ego, &others, &felt);
            Ok(mirror.world().has_ended())
        })
    }

    fn conclude(
        &self,
        py: Python<'_>,
        reward_terms: &Bound<'_, PyAny>,
        infractions: &Bound<'_, PyAny>,
    ) -> PyResult<(bool, bool)> {
        let mut arguments = Arguments::new();
        let mut reward_terms: Output<f32> =
            arguments.output("reward_terms", reward_terms, &[REWARD_TERMS.len()])?;
        let mut infractions: Output<i32> =
            arguments.output("infractions", infractions, &[INFRACTIONS.len()])?;
        let (terms, counts) = (reward_terms.as_mut_slice(), infractions.as_mut_slice());
        self.with(py, |mirror| {
            let outcome = mirror.conclude().ok_or(Error::NotReset { env: 0 })?;
            terms.copy_from_slice(&outcome.reward_terms);
            counts.copy_from_slice(&outcome.infractions);
            Ok((outcome.terminated, outcome.truncated))
        })
    }

    fn observe(
        &self,
        py: Python<'_>,
        obs: &Bound<'_, PyAny>,
        info: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mut arguments = Arguments::new();
        let mut obs: Output<f32> = arguments.output("obs", obs, &[OBSERVATION_DIM])?;
        let mut info: Output<f64> = arguments.output("info", info, &[INFO.len()])?;
        let (row, told) = (obs.as_mut_slice(), info.as_mut_slice());
        self.with(py, |mirror| {
            let mut observation = [0.0; OBSERVATION_DIM];
            mirror.observe(&mut observation);
            row.copy_from_slice(&observation);
            told.copy_from_slice(&mirror.info());
            Ok(())
        })
    }

    fn draws(&self, py: Python<'_>, out: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut out: Output<f64> = Arguments::new().output("out", out, &[DRAWS.len()])?;
        let row = out.as_mut_slice();
        self.with(py, |mirror| {
            row.copy_from_slice(&mirror.world().conditions().row());
            Ok(())
        })
    }

    fn birdseye(&self, py: Python<'_>, kind: &str, out: &Bound<'_, PyAny>) -> PyResult<()> {
        let kind = birdseye_kind(kind)?;
        let shape = [kind.size_px(), kind.size_px()];
        let mut out: Output<u8> = Arguments::new().output("out", out, &shape)?;
        let out = out.as_mut_slice();
        self.with(py, |mirror| mirror.birdseye(kind, out))
    }

    fn scene<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (ego, actors) = self.with(py, |mirror| Ok(mirror.scene()))?;
        let scene = PyDict::new(py);
        scene.set_item("ego", columns(py, &[ego])?)?;
        scene.set_item("actors", columns(py, &actors)?)?;
        Ok(scene)
    }

    fn stops(&self, py: Python<'_>) -> PyResult<Vec<crate::world::Stop>> {
        self.with(py, |mirror| Ok(crate::world::stops(mirror.world())))
    }

    fn road<'py>(&self, py: Python<'py>) -> PyResult<Vec<(&'static str, Bound<'py, PyBytes>)>> {
        let lines = self.with(py, |mirror| Ok(drawing(mirror.world())))?;
        Ok(crate::world::line_bytes(py, &lines))
    }

    fn __repr__(&self) -> String {
        let state = if self.lock().is_some() {
            "driving"
        } else {
            "not reset"
        };
        format!("WorldMirror({state})")
    }
}
