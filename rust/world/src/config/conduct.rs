//! How the traffic behaves beyond car following: changing lanes for gain, and breaking rules.

use serde::{Deserialize, Serialize};

use super::Check;

/// Lane changes for gain, by the MOBIL rule.
///
/// Source: Kesting, Treiber, Helbing, "General lane-changing model MOBIL for car-following models",
/// Transportation Research Record 1999, 2007.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MobilConfig {
    /// Share of the vehicles that change lanes for gain, in [0, 1].
    pub share: f64,
    /// How much a loss of the vehicle behind counts against an own gain.
    pub politeness: f64,
    /// Gain that makes a change worth it, m/s2.
    pub gain_mps2: f64,
    /// Braking that is expected of the vehicle behind at most, m/s2.
    pub safe_mps2: f64,
}

impl Default for MobilConfig {
    fn default() -> Self {
        Self {
            share: 0.0,
            politeness: 0.3,
            gain_mps2: 0.2,
            safe_mps2: 3.0,
        }
    }
}

/// Shares of those who make it hard for the ego, each in [0, 1]; who they are is drawn with the episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct AdversaryConfig {
    /// Vehicles that change into the ego's lane closely ahead of it.
    pub cut_in_share: f64,
    /// Vehicles that drive on at a red light when nobody is in their way.
    pub red_light_share: f64,
    /// People who cross beside the crosswalk, before vehicles that then have to brake.
    pub jaywalk_share: f64,
    /// People who aren't seen before they step onto the road, as if something stood in front of them.
    pub hidden_share: f64,
}

impl MobilConfig {
    pub(super) fn check(&self, check: &mut Check) {
        check.value("traffic.mobil.share", self.share, 0.0, 1.0);
        check.value("traffic.mobil.politeness", self.politeness, 0.0, 5.0);
        check.value("traffic.mobil.gain_mps2", self.gain_mps2, 0.0, 5.0);
        check.value("traffic.mobil.safe_mps2", self.safe_mps2, 0.5, 8.0);
    }
}

impl AdversaryConfig {
    pub(super) fn check(&self, check: &mut Check) {
        for (key, share) in [
            ("traffic.adversaries.cut_in_share", self.cut_in_share),
            ("traffic.adversaries.red_light_share", self.red_light_share),
            ("traffic.adversaries.jaywalk_share", self.jaywalk_share),
            ("traffic.adversaries.hidden_share", self.hidden_share),
        ] {
            check.value(key, share, 0.0, 1.0);
        }
    }
}
