//! Settings of the safety layer.

use serde::{Deserialize, Serialize};

use crate::config::Check;
use crate::error::Error;

/// How cautious the safety layer is. The defaults interfere late: a policy that overtakes keeps doing so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SafetyConfig {
    /// Seconds between two decisions.
    pub decision_s: f64,
    /// How fast the executed steer may change, 1/s; full lock to full lock is 2.
    pub steer_change_per_s: f64,
    /// How fast the executed pedal may rise, 1/s; it may fall at once, since that is how one brakes.
    pub pedal_change_per_s: f64,
    /// Time that passes before the ego reacts (RSS's rho), seconds.
    pub response_s: f64,
    /// Largest acceleration of the ego until it reacts (RSS's a max), m/s2.
    pub acceleration_mps2: f64,
    /// Braking that the ego can rely on (RSS's b min), m/s2.
    pub braking_mps2: f64,
    /// Hardest braking expected of the vehicle ahead (RSS's b max), m/s2.
    pub leader_braking_mps2: f64,
    /// Gap that must remain at standstill, metres.
    pub standstill_gap_m: f64,
    /// How soon a shortfall in distance is made up for, 1/s.
    pub distance_rate_per_s: f64,
    /// Below this time to collision the brake is pressed fully, seconds.
    pub brake_ttc_s: f64,
    /// For how long, seconds.
    pub brake_latch_s: f64,
    /// Front gap that a lane change needs beyond the standstill gap, seconds times closing speed.
    pub front_gap_s: f64,
    /// Rear gap that a lane change needs beyond the standstill gap, seconds times closing speed.
    pub rear_gap_s: f64,
    /// Keep the whole box this far from a line that mustn't be crossed now, metres; negative lets it reach over.
    pub line_margin_m: f64,
    /// How soon an offset is made up for, 1/s.
    pub lateral_rate_per_s: f64,
    /// Largest angle to the lane's direction, radians.
    pub heading_rad: f64,
    /// Share of the tyres' grip that may be asked for sideways, (0, 1].
    pub grip_share: f64,
}

impl Default for SafetyConfig {
    fn default() -> Self {
        Self {
            decision_s: 0.1,
            steer_change_per_s: 5.0,
            pedal_change_per_s: 20.0,
            response_s: 0.3,
            acceleration_mps2: 1.0,
            braking_mps2: 8.0,
            leader_braking_mps2: 8.0,
            standstill_gap_m: 1.0,
            distance_rate_per_s: 1.5,
            brake_ttc_s: 1.0,
            brake_latch_s: 0.5,
            front_gap_s: 1.2,
            rear_gap_s: 1.5,
            line_margin_m: 0.0,
            lateral_rate_per_s: 2.0,
            heading_rad: 0.5,
            grip_share: 0.7,
        }
    }
}

impl SafetyConfig {
    /// Reads and validates settings; keys left out take their defaults.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`] for text that isn't such settings, [`Error::Config`] with every value out of range.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let config: Self =
            serde_path_to_error::deserialize(&mut reader).map_err(|error| Error::ConfigSyntax {
                key: error.path().to_string(),
                source: error.into_inner(),
            })?;
        reader.end().map_err(|source| Error::ConfigSyntax {
            key: ".".into(),
            source,
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The settings as JSON, every key written out, in a fixed order.
    pub fn to_json(&self) -> String {
        // Serialising plain numbers to a string has no failing case.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] with one sentence for each value out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let mut check = Check::default();
        for (key, value, low, high) in [
            ("decision_s", self.decision_s, 0.005, 10.0),
            ("steer_change_per_s", self.steer_change_per_s, 0.1, 1e4),
            ("pedal_change_per_s", self.pedal_change_per_s, 0.1, 1e4),
            ("response_s", self.response_s, 0.05, 5.0),
            ("acceleration_mps2", self.acceleration_mps2, 0.0, 10.0),
            ("braking_mps2", self.braking_mps2, 0.5, 15.0),
            ("leader_braking_mps2", self.leader_braking_mps2, 0.5, 15.0),
            ("standstill_gap_m", self.standstill_gap_m, 0.0, 20.0),
            ("distance_rate_per_s", self.distance_rate_per_s, 0.1, 20.0),
            ("brake_ttc_s", self.brake_ttc_s, 0.0, 10.0),
            ("brake_latch_s", self.brake_latch_s, 0.0, 10.0),
            ("front_gap_s", self.front_gap_s, 0.0, 20.0),
            ("rear_gap_s", self.rear_gap_s, 0.0, 20.0),
            ("line_margin_m", self.line_margin_m, -1.0, 1.0),
            ("lateral_rate_per_s", self.lateral_rate_per_s, 0.1, 20.0),
            ("heading_rad", self.heading_rad, 0.05, 1.5),
            ("grip_share", self.grip_share, 0.05, 1.0),
        ] {
            check.value(&format!("safety.{key}"), value, low, high);
        }
        check.finish()
    }
}
