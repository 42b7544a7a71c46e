//! The driving world: an ego, traffic, events, scores and observations on roads drawn from seeds.
//!
//! [`WorldBatch`] steps many environments of one [`WorldConfig`]; a [`World`] is one of them. Everything
//! an episode does is a function of configuration, seed and actions, bit for bit, at any number of
//! threads and however environments are split over batches: random numbers are functions of a counter
//! ([`rng`]), transcendentals come from `libm`, nothing is global, nothing is hashed in memory order.
//!
//! The way of one decision: [`traffic`] decides and moves, the [`dynamics`] move the ego, [`events`]
//! looks at what happened, [`reward`] and [`score`] put numbers on it, [`observe`](observe()) tells the
//! policy. The observation builder knows transforms, boxes and the map only, so that it serves other
//! simulators as well.
//!
//! ```
//! use carla_online_world::{WorldBatch, WorldConfig, INFO, OBSERVATION_DIM};
//!
//! let mut batch = WorldBatch::new(WorldConfig::default(), 2, 1)?;
//! let mut observations = vec![0.0; 2 * OBSERVATION_DIM];
//! let mut info = vec![0.0; 2 * INFO.len()];
//! batch.reset(&[7, 8], None, &mut observations, &mut info)?;
//! let saved = batch.world(0)?.snapshot();
//! batch.restore(1, &saved)?;
//! assert_eq!(batch.world(0)?.state_hash(), batch.world(1)?.state_hash());
//! # Ok::<(), carla_online_world::Error>(())
//! ```
#![forbid(unsafe_code)]

mod batch;
mod config;
mod course;
pub mod dynamics;
mod error;
pub mod events;
mod geometry;
mod hash;
mod info;
pub mod ledger;
pub mod lights;
pub mod mirror;
pub mod network;
mod observe;
mod place;
pub mod raster;
mod report;
pub mod reward;
pub mod rng;
mod route;
mod rules;
pub mod safety;
mod scene;
pub mod score;
pub mod signals;
mod snapshot;
mod spawn;
pub mod stage;
mod start;
mod state;
mod track;
pub mod traffic;
pub mod weather;
mod world;

pub use batch::{MAX_ENVS, MAX_THREADS, StepOutputs, WorldBatch};
pub use config::{
    AdversaryConfig, Dynamics, EgoConfig, IdmConfig, JunctionRule, LightTurns, MAX_VEHICLES,
    MAX_WALKERS, MapConfig, MapKind, MobilConfig, TrafficConfig, WeatherConfig, WorldConfig,
};
pub use course::{Course, CourseBook};
pub use error::{Error, SnapshotError};
pub use geometry::{OrientedBox, wrap_angle};
pub use info::{INFO, Info};
pub use observe::{
    ActorKind, ActorPose, ActorView, CLIP, EgoPose, Field, GROUPS, LightState, OBSERVATION_DIM,
    Observation, SIGHT_M, Signals, Weather, layout, observe,
};
pub use raster::{BIRDSEYE_PLANES, Birdseye, BirdseyeKind, RasterMap};
pub use reward::REWARD_TERMS;
pub use route::{RoadOption, Route, RouteSegment};
pub use safety::{SAFETY_CAUSES, SafetyConfig, SafetyMemory};
pub use scene::{SceneBox, SceneLine, SceneStop};
pub use score::INFRACTIONS;
pub use snapshot::{SNAPSHOT_VERSION, build_id};
pub use state::{Ease, Ego, Ending, Rules, SoftMemory, State, Tally};
pub use track::track;
pub use weather::{Conditions, DRAWS, WEATHER_CLASSES, WEATHER_PARAMETERS};
pub use world::{Outcome, Setup, World};
