//! Reads and checks a configuration.

use super::Check;
use super::{MAX_VEHICLES, MAX_WALKERS, SPAWN_CELL_M, SPAWN_CLEARANCE_M, WorldConfig};
use crate::error::Error;
use crate::score::INFRACTIONS;

impl WorldConfig {
    /// Reads and validates a configuration; keys left out take their defaults.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`] for text that isn't such a configuration, [`Error::Config`] with every
    /// value out of range.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let syntax = |key: String, source| Error::ConfigSyntax { key, source };
        let mut reader = serde_json::Deserializer::from_str(text);
        let value: serde_json::Value = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| syntax(error.path().to_string(), error.into_inner()))?;
        reader.end().map_err(|source| syntax(".".into(), source))?;
        require_objects(&value, "").map_err(|(key, source)| syntax(key, source))?;
        let config: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| syntax(error.path().to_string(), error.into_inner()))?;
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
        self.map.check(&mut check);
        self.check_cells(&mut check);
        self.check_traffic(&mut check);
        self.check_rest(&mut check);
        self.weather.check(&mut check);
        check.names("terminate_on", &self.terminate_on, &INFRACTIONS);
        check.finish()
    }

    /// Numbers of vehicles, and the room that they start in.
    fn check_cells(&self, check: &mut Check) {
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
        check.range("traffic.density", traffic.density, 0.0, 10.0);
        let most = |count: u32| (f64::from(count) * traffic.density[1]).round() as u32;
        let behind = self.map.run_in_m - SPAWN_CLEARANCE_M;
        // A network has as many vehicles as it has room for.
        if !self.map.is_network() {
            check.count(
                "traffic.slow_vehicles x traffic.density",
                most(traffic.slow_vehicles),
                0,
                cells(traffic.spread_m.min(ahead)),
            );
            check.count(
                "traffic.fast_vehicles x traffic.density",
                most(traffic.fast_vehicles),
                0,
                cells(behind),
            );
        }
        let is_at_home = self.map.is_network() || traffic.walkers == 0;
        let wrong = "needs a street network with crosswalks; set map.kind, or 0";
        check.holds("traffic.walkers", is_at_home, wrong);
        check.count(
            "traffic.walkers x traffic.density",
            most(traffic.walkers),
            0,
            MAX_WALKERS as u32,
        );
        let together = most(traffic.slow_vehicles).saturating_add(most(traffic.fast_vehicles));
        check.count(
            "(traffic.slow_vehicles + traffic.fast_vehicles) x traffic.density",
            together,
            0,
            MAX_VEHICLES as u32,
        );
    }

    fn check_traffic(&self, check: &mut Check) {
        let traffic = &self.traffic;
        check.range(
            "traffic.walker_speed_mps",
            traffic.walker_speed_mps,
            0.3,
            4.0,
        );
        check.value("traffic.walker_pause_s", traffic.walker_pause_s, 1.0, 1e4);
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
        traffic.mobil.check(check);
        traffic.adversaries.check(check);
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
        let ego = &self.ego;
        check.range("ego.throttle_lag_s", ego.throttle_lag_s, 0.02, 1.0);
        check.range("ego.full_brake_mps2", ego.full_brake_mps2, 2.0, 20.0);
        check.range("ego.steer_gain", ego.steer_gain, 0.5, 1.5);
        check.value("ego.grip_mps2", ego.grip_mps2, 2.0, 40.0);
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

/// Serde would read an array as the fields of a struct in order; a file that says so is a mistake.
fn require_objects(
    value: &serde_json::Value,
    path: &str,
) -> Result<(), (String, serde_json::Error)> {
    let Some(object) = value.as_object() else {
        let key = if path.is_empty() { "." } else { path };
        let reason = <serde_json::Error as serde::de::Error>::custom("must be an object");
        return Err((key.to_owned(), reason));
    };
    let sections: &[(&str, &str)] = match path {
        "" => &[
            ("map", "map"),
            ("traffic", "traffic"),
            ("ego", "ego"),
            ("weather", "weather"),
        ],
        "traffic" => &[
            ("idm", "traffic.idm"),
            ("mobil", "traffic.mobil"),
            ("adversaries", "traffic.adversaries"),
        ],
        _ => &[],
    };
    for (name, path) in sections {
        if let Some(section) = object.get(*name) {
            require_objects(section, path)?;
        }
    }
    Ok(())
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
