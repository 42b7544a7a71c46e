//! Scenario parameters as data: what is drawn from an episode's seed, and between which bounds.
//!
//! Unknown keys are errors, and [`WorldConfig::validate`] reports every value that is out of range
//! at once, with its key and its range. The defaults are the overtaking task on which the learning
//! settings of this project were found: three lanes, two thirds of the roads curved, ten slow
//! vehicles ahead and two faster ones behind.

use serde::{Deserialize, Serialize};

use crate::error::Error;

mod check;
use check::Check;

/// Most vehicles in one world, the ego not counted.
pub const MAX_VEHICLES: usize = 64;
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
            simulation_step_s: 0.05,
            decision_steps: 2,
            time_limit_factor: 3.0,
            blocked_after_s: 90.0,
            off_road_margin_m: 0.0,
            off_road_heading_deg: 75.0,
        }
    }
}

/// The road that is drawn for an episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapConfig {
    /// Lanes, all in one direction.
    pub lanes: u8,
    /// Width of each lane, metres.
    pub lane_width_m: f64,
    /// Length of the route, metres, uniform between the two.
    pub length_m: [f64; 2],
    /// Share of roads with bends, in [0, 1].
    pub curved_share: f64,
    /// Radius of the bends, metres, uniform in curvature between the two.
    pub curve_radius_m: [f64; 2],
    /// Speed limit, m/s.
    pub speed_limit_mps: f64,
    /// Road before the start of the route, metres; the faster vehicles start there.
    pub run_in_m: f64,
    /// Road behind the finish, metres, so that the finish looks like any other place.
    pub run_out_m: f64,
    /// How many different roads there are. Each is baked once and kept (about 0.3 MB); 0 draws a new one
    /// for every seed, which costs some milliseconds an episode.
    pub map_variants: u32,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self {
            lanes: 3,
            lane_width_m: 3.5,
            length_m: [600.0, 1000.0],
            curved_share: 2.0 / 3.0,
            curve_radius_m: [130.0, 400.0],
            speed_limit_mps: 15.0,
            run_in_m: 80.0,
            run_out_m: 150.0,
            map_variants: 128,
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
    /// Car following.
    pub idm: IdmConfig,
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
            idm: IdmConfig::default(),
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
}

impl Default for EgoConfig {
    fn default() -> Self {
        Self {
            start_speed_mps: [8.0, 10.0],
            dynamics: Dynamics::Powertrain,
        }
    }
}

impl WorldConfig {
    /// Reads and validates a configuration; keys left out take their defaults.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`] for text that isn't such a configuration, [`Error::Config`] with every
    /// value out of range.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let config: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let key = error.path().to_string();
            Error::ConfigSyntax {
                key,
                source: error.into_inner(),
            }
        })?;
        let at_end = reader.end();
        at_end.map_err(|source| Error::ConfigSyntax {
            key: ".".into(),
            source,
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as JSON, every key written out, in a fixed order.
    pub fn to_json(&self) -> String {
        // Serialising plain numbers and enums to a string has no failing case.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Seconds between two decisions.
    pub fn decision_s(&self) -> f64 {
        self.simulation_step_s * f64::from(self.decision_steps)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] with one sentence for each value out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let mut check = Check::default();
        self.check_map(&mut check);
        self.check_traffic(&mut check);
        self.check_rest(&mut check);
        check.finish()
    }

    fn check_map(&self, check: &mut Check) {
        let map = &self.map;
        check.count("map.lanes", u32::from(map.lanes), 1, 6);
        check.value("map.lane_width_m", map.lane_width_m, 2.5, 5.0);
        check.range("map.length_m", map.length_m, 50.0, 5000.0);
        check.value("map.curved_share", map.curved_share, 0.0, 1.0);
        // The inside of a bend must stay wider than a turning circle.
        let tightest = 20.0 + f64::from(map.lanes) * map.lane_width_m;
        check.range("map.curve_radius_m", map.curve_radius_m, tightest, 10_000.0);
        check.value("map.speed_limit_mps", map.speed_limit_mps, 1.0, 60.0);
        check.value("map.run_in_m", map.run_in_m, 10.0, 500.0);
        check.value("map.run_out_m", map.run_out_m, 90.0, 500.0);
        check.count("map.map_variants", map.map_variants, 0, 4096);
    }

    fn check_traffic(&self, check: &mut Check) {
        let traffic = &self.traffic;
        let cells = |length: f64| {
            let lanes = f64::from(self.map.lanes);
            (lanes * (length / SPAWN_CELL_M).floor()).clamp(0.0, MAX_VEHICLES as f64) as u32
        };
        check.value(
            "traffic.spread_m",
            traffic.spread_m,
            2.0 * SPAWN_CELL_M,
            1000.0,
        );
        let ahead = self.map.length_m[0] + self.map.run_out_m - SPAWN_CLEARANCE_M;
        check.count(
            "traffic.slow_vehicles",
            traffic.slow_vehicles,
            0,
            cells(traffic.spread_m.min(ahead)),
        );
        let behind = self.map.run_in_m - SPAWN_CLEARANCE_M;
        check.count(
            "traffic.fast_vehicles",
            traffic.fast_vehicles,
            0,
            cells(behind),
        );
        let together = traffic.slow_vehicles.saturating_add(traffic.fast_vehicles);
        check.count(
            "traffic.slow_vehicles + traffic.fast_vehicles",
            together,
            0,
            MAX_VEHICLES as u32,
        );
        check.range("traffic.slow_speed_mps", traffic.slow_speed_mps, 0.5, 60.0);
        check.range("traffic.fast_speed_mps", traffic.fast_speed_mps, 0.5, 60.0);
        check.value(
            "traffic.lane_changes_per_100s",
            traffic.lane_changes_per_100s,
            0.0,
            100.0,
        );
        check.value("traffic.lane_change_s", traffic.lane_change_s, 1.0, 10.0);
        check.value(
            "traffic.hard_brake_share",
            traffic.hard_brake_share,
            0.0,
            1.0,
        );
        check.value(
            "traffic.hard_brake_every_s",
            traffic.hard_brake_every_s,
            2.0,
            1e4,
        );
        check.value(
            "traffic.hard_brake_mps2",
            traffic.hard_brake_mps2,
            0.5,
            10.0,
        );
        let idm = &traffic.idm;
        check.value(
            "traffic.idm.acceleration_mps2",
            idm.acceleration_mps2,
            0.1,
            5.0,
        );
        check.value(
            "traffic.idm.deceleration_mps2",
            idm.deceleration_mps2,
            0.1,
            8.0,
        );
        check.value("traffic.idm.headway_s", idm.headway_s, 0.3, 5.0);
        check.value(
            "traffic.idm.standstill_gap_m",
            idm.standstill_gap_m,
            0.5,
            10.0,
        );
        check.value(
            "traffic.idm.emergency_mps2",
            idm.emergency_mps2,
            idm.deceleration_mps2,
            12.0,
        );
    }

    fn check_rest(&self, check: &mut Check) {
        check.range("ego.start_speed_mps", self.ego.start_speed_mps, 0.0, 40.0);
        check.value("simulation_step_s", self.simulation_step_s, 0.005, 0.1);
        check.count("decision_steps", self.decision_steps, 1, 100);
        check.value("time_limit_factor", self.time_limit_factor, 1.0, 100.0);
        check.value("blocked_after_s", self.blocked_after_s, 1.0, 1e4);
        check.value("off_road_margin_m", self.off_road_margin_m, 0.0, 2.0);
        check.value(
            "off_road_heading_deg",
            self.off_road_heading_deg,
            10.0,
            180.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let config = WorldConfig::default();
        config.validate().unwrap();
        assert_eq!(WorldConfig::from_json(&config.to_json()).unwrap(), config);
        assert_eq!(WorldConfig::from_json("{}").unwrap(), config);
        assert_eq!(config.decision_s(), 0.1);
    }

    #[test]
    fn every_value_out_of_range_is_named_with_its_range() {
        let text = r#"{"map": {"lanes": 9, "length_m": [700, 600]}, "simulation_step_s": 0}"#;
        let message = WorldConfig::from_json(text).unwrap_err().to_string();
        for part in [
            "map.lanes is 9",
            "1..=6",
            "map.length_m",
            "simulation_step_s is 0",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn unknown_keys_and_numbers_that_are_none_are_refused() {
        for text in [
            r#"{"maps": {}}"#,
            r#"{"map": {"lane": 3}}"#,
            r#"{"map": {"lane_width_m": null}}"#,
            "[",
            "3",
        ] {
            assert!(
                matches!(
                    WorldConfig::from_json(text),
                    Err(Error::ConfigSyntax { .. })
                ),
                "{text}"
            );
        }
        let mut config = WorldConfig::default();
        config.traffic.spread_m = f64::NAN;
        assert!(matches!(config.validate(), Err(Error::Config(_))));
    }
}
