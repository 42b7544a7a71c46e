//! What the streets of a written town have in common.

use super::document::within;
use crate::Error;

/// Who goes first at a junction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JunctionControl {
    /// Nothing: the rules of the road.
    Uncontrolled,
    /// Traffic lights.
    Lights,
    /// Stop signs: on all arms of a four-way junction, on the stem of a T.
    Stop,
    /// Give-way signs: on the second street of a four-way junction, on the stem of a T.
    Yield,
    /// Lights or stop signs, drawn for each junction.
    Mixed,
}

impl JunctionControl {
    /// Reads the name of a control.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "uncontrolled" => Self::Uncontrolled,
            "lights" => Self::Lights,
            "stop" => Self::Stop,
            "yield" => Self::Yield,
            "mixed" => Self::Mixed,
            _ => return None,
        })
    }
}

/// Which approaches have green at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LightPlan {
    /// The two arms of a street: left turns give way to oncoming traffic.
    Opposite,
    /// One arm after the other, as in CARLA's towns: no turn meets oncoming traffic.
    Approach,
}

impl LightPlan {
    /// Reads the name of a plan.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "opposite" => Self::Opposite,
            "approach" => Self::Approach,
            _ => return None,
        })
    }
}

/// Cross-section, speed and rules of all streets of a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreetStyle {
    /// Driving lanes in each direction, 1 to 3.
    pub lanes: u8,
    /// Width of a driving lane, 2.5 to 5 m.
    pub lane_width_m: f64,
    /// Width of the sidewalks, 0 (none) to 5 m.
    pub sidewalk_width_m: f64,
    /// Speed limit.
    pub speed_limit_mps: f64,
    /// Who goes first.
    pub control: JunctionControl,
    /// Which lights are green together.
    pub light_plan: LightPlan,
    /// Whether junctions have crosswalks on all arms.
    pub has_crosswalks: bool,
}

impl Default for StreetStyle {
    /// One lane of 3.5 m each way, sidewalks of 2 m, 50 km/h, lights, crosswalks.
    fn default() -> Self {
        Self {
            lanes: 1,
            lane_width_m: 3.5,
            sidewalk_width_m: 2.0,
            speed_limit_mps: 50.0 / 3.6,
            control: JunctionControl::Lights,
            light_plan: LightPlan::Opposite,
            has_crosswalks: true,
        }
    }
}

impl StreetStyle {
    pub(super) fn check(&self) -> Result<(), Error> {
        within("lanes", self.lanes.into(), 1.0, 3.0, "from 1 to 3")?;
        within("lane_width_m", self.lane_width_m, 2.5, 5.0, "from 2.5 to 5")?;
        let expected = "from 0 to 5";
        within(
            "sidewalk_width_m",
            self.sidewalk_width_m,
            0.0,
            5.0,
            expected,
        )?;
        let expected = "from 0.1 to 150";
        within(
            "speed_limit_mps",
            self.speed_limit_mps,
            0.1,
            150.0,
            expected,
        )
    }

    /// From the middle of a street to the edge of its driving lanes.
    pub(super) fn half_width_m(&self) -> f64 {
        f64::from(self.lanes) * self.lane_width_m
    }

    /// From the middle of a junction to the ends of its arms: the outermost lane turns right
    /// with 4 m at least to its inner edge. An odd fraction keeps lengths off round numbers.
    pub(super) fn junction_radius_m(&self) -> f64 {
        8.137 + 1.6 * self.half_width_m()
    }
}
