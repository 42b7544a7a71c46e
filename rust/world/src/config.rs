//! Scenario parameters as data: what is drawn from an episode's seed, and between which bounds.
//!
//! Unknown keys are errors, and [`WorldConfig::validate`] reports every value that is out of range
//! at once, with its key and its range. The defaults are the overtaking task on which the learning
//! settings of this project were found: three lanes, two thirds of the roads curved, ten slow
//! vehicles ahead and two faster ones behind.

use serde::{Deserialize, Serialize};

use crate::dynamics::GRIP_MPS2;

mod check;
mod conduct;
pub(crate) use check::Check;
pub use conduct::{AdversaryConfig, MobilConfig};
mod map;
mod read;
mod weather;
pub use map::{JunctionRule, LightTurns, MapConfig, MapKind};
pub use weather::{WEATHER_PARAMETERS, WeatherConfig};

/// Most vehicles in one world, the ego not counted.
pub const MAX_VEHICLES: usize = 64;
/// Most people on foot in one world.
pub const MAX_WALKERS: usize = 64;
/// Room along the lane that one vehicle takes at the start, metres.
pub const SPAWN_CELL_M: f64 = 14.0;
/// Nobody starts nearer than this to the ego in a lane, centre to centre, metres.
pub const SPAWN_CLEARANCE_M: f64 = 20.0;

/// Everything that defines a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldConfig {
    /// The road.
    pub map: MapConfig,
    /// The other vehicles.
    pub traffic: TrafficConfig,
    /// The ego.
    pub ego: EgoConfig,
    /// The weather.
    pub weather: WeatherConfig,
    /// Names of infractions that end the episode at once; see [`INFRACTIONS`](crate::INFRACTIONS).
    pub terminate_on: Vec<String>,
    /// One step of the simulation, seconds.
    pub simulation_step_s: f64,
    /// Simulation steps for which one action is held: decisions come at 10 Hz by default.
    pub decision_steps: u32,
    /// Time limit as a multiple of the route's reference time.
    pub time_limit_factor: f64,
    /// Standing this long ends the episode, seconds.
    pub blocked_after_s: f64,
    /// How far the ego's centre may leave the drivable surface, metres.
    pub off_road_margin_m: f64,
    /// How far the ego may turn away from its lane's direction, degrees.
    pub off_road_heading_deg: f64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            map: MapConfig::default(),
            traffic: TrafficConfig::default(),
            ego: EgoConfig::default(),
            weather: WeatherConfig::default(),
            terminate_on: Vec::new(),
            simulation_step_s: 0.05,
            decision_steps: 2,
            time_limit_factor: 3.0,
            blocked_after_s: 90.0,
            off_road_margin_m: 0.0,
            off_road_heading_deg: 75.0,
        }
    }
}

/// The other vehicles and how they drive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficConfig {
    /// Slow vehicles ahead of the ego, one of them always in its lane.
    pub slow_vehicles: u32,
    /// Their desired speed, m/s, uniform between the two.
    pub slow_speed_mps: [f64; 2],
    /// Length of road ahead over which they are spread, metres.
    pub spread_m: f64,
    /// Faster vehicles that start behind the ego.
    pub fast_vehicles: u32,
    /// Their desired speed, m/s, uniform between the two.
    pub fast_speed_mps: [f64; 2],
    /// How often a vehicle wants to change lanes in 100 s, on average.
    pub lane_changes_per_100s: f64,
    /// How long a lane change takes, seconds.
    pub lane_change_s: f64,
    /// Share of the slow vehicles that brake hard for no visible reason now and then, in [0, 1].
    pub hard_brake_share: f64,
    /// Mean time between two such brakings of one vehicle, seconds.
    pub hard_brake_every_s: f64,
    /// Deceleration of such a braking, m/s2; it lasts 1.5 s.
    pub hard_brake_mps2: f64,
    /// Factor on the numbers of vehicles and of people, uniform between the two.
    pub density: [f64; 2],
    /// People on foot, each at a crosswalk; only street networks have any.
    pub walkers: u32,
    /// How fast they walk, m/s, uniform between the two.
    pub walker_speed_mps: [f64; 2],
    /// Mean time between two crossings of one of them, seconds.
    pub walker_pause_s: f64,
    /// Car following.
    pub idm: IdmConfig,
    /// Lane changes for gain.
    pub mobil: MobilConfig,
    /// Those who break rules.
    pub adversaries: AdversaryConfig,
}

impl Default for TrafficConfig {
    fn default() -> Self {
        Self {
            slow_vehicles: 10,
            slow_speed_mps: [5.0, 10.0],
            spread_m: 380.0,
            fast_vehicles: 2,
            fast_speed_mps: [11.0, 14.0],
            lane_changes_per_100s: 1.0,
            lane_change_s: 3.5,
            hard_brake_share: 0.0,
            hard_brake_every_s: 40.0,
            hard_brake_mps2: 5.0,
            density: [1.0, 1.0],
            walkers: 0,
            walker_speed_mps: [1.0, 1.8],
            walker_pause_s: 20.0,
            idm: IdmConfig::default(),
            mobil: MobilConfig::default(),
            adversaries: AdversaryConfig::default(),
        }
    }
}

/// Parameters of the intelligent driver model.
///
/// Source: Treiber, Hennecke, Helbing, Phys. Rev. E 62, 2000.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdmConfig {
    /// Largest acceleration, m/s2.
    pub acceleration_mps2: f64,
    /// Comfortable deceleration, m/s2.
    pub deceleration_mps2: f64,
    /// Desired time gap, seconds.
    pub headway_s: f64,
    /// Gap at standstill, metres.
    pub standstill_gap_m: f64,
    /// Hardest braking, m/s2.
    pub emergency_mps2: f64,
}

impl Default for IdmConfig {
    fn default() -> Self {
        Self {
            acceleration_mps2: 1.5,
            deceleration_mps2: 2.0,
            headway_s: 1.2,
            standstill_gap_m: 2.0,
            emergency_mps2: 8.0,
        }
    }
}

/// How the ego moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dynamics {
    /// Engine, gears and tyres of CARLA's Lincoln MKZ 2017.
    Powertrain,
    /// A plain bicycle that obeys at once.
    Kinematic,
}

/// The ego.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgoConfig {
    /// Speed at the start, m/s, uniform between the two.
    pub start_speed_mps: [f64; 2],
    /// How it moves.
    pub dynamics: Dynamics,
    /// Lag of the throttle, seconds, uniform between the two.
    pub throttle_lag_s: [f64; 2],
    /// Full brake on a dry road, m/s2, uniform between the two.
    pub full_brake_mps2: [f64; 2],
    /// Factor on what the steer does, uniform between the two.
    pub steer_gain: [f64; 2],
    /// Radius of the friction circle of the `powertrain` on a dry road, m/s2. CARLA's tyres carry about 20.
    pub grip_mps2: f64,
}

impl Default for EgoConfig {
    fn default() -> Self {
        Self {
            start_speed_mps: [8.0, 10.0],
            dynamics: Dynamics::Powertrain,
            throttle_lag_s: [0.2, 0.2],
            full_brake_mps2: [11.0, 11.0],
            steer_gain: [1.0, 1.0],
            grip_mps2: f64::from(GRIP_MPS2),
        }
    }
}
