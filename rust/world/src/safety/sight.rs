//! What the safety layer reads from an observation, in units.

use crate::observe::Observation;
use crate::observe::layout::{
    CURVATURE_AT_M, CURVATURE_PER_M, EGO, GAP_AHEAD_M, GAP_BEHIND_M, HEADING_RAD, LANE_GAPS,
    LATERAL_M, RELATIVE_CAP, RELATIVE_MPS, SPEED_MPS, WIDTH_M, YAW_RATE_RADPS,
};

/// Somebody ahead or behind in a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Bumper to bumper, metres; 0 for somebody alongside.
    pub gap_m: f64,
    /// Speed, m/s.
    pub speed_mps: f64,
}

/// A lane beside the ego's, or its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneView {
    /// It is there and may be changed to.
    pub is_open: bool,
    /// Nearest vehicle ahead within sight.
    pub ahead: Option<Neighbour>,
    /// Nearest vehicle behind within sight.
    pub behind: Option<Neighbour>,
}

/// The part of an observation that safety depends on. Right is positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sight {
    /// Own speed, m/s.
    pub speed_mps: f64,
    /// Offset from the lane's centre, metres.
    pub lateral_m: f64,
    /// Heading relative to the lane's, radians.
    pub heading_rad: f64,
    /// Own yaw rate, rad/s.
    pub yaw_rate_radps: f64,
    /// Width of the lane, metres.
    pub width_m: f64,
    /// Tyre friction, 1 is dry.
    pub friction: f64,
    /// Distances ahead, metres, and the lane's curvature there, 1/m.
    pub curvatures: [(f64, f64); CURVATURE_AT_M.len()],
    /// Left, own and right lane.
    pub lanes: [LaneView; 3],
}

impl Sight {
    /// Reads an observation.
    pub fn read(observation: &Observation) -> Self {
        let value = |index: usize, scale: f32| f64::from(observation[index] * scale);
        let speed_mps = value(EGO, SPEED_MPS);
        let neighbour = |start: usize, scale_m: f32| {
            let is_seen = observation[start] < RELATIVE_CAP;
            is_seen.then(|| Neighbour {
                gap_m: value(start, scale_m),
                speed_mps: (speed_mps + value(start + 1, RELATIVE_MPS)).max(0.0),
            })
        };
        let lane = |number: usize, is_open: bool| {
            let start = LANE_GAPS + 4 * number;
            LaneView {
                is_open,
                ahead: neighbour(start, GAP_AHEAD_M),
                behind: neighbour(start + 2, GAP_BEHIND_M),
            }
        };
        let mut curvatures = [(0.0, 0.0); CURVATURE_AT_M.len()];
        for (index, (entry, distance_m)) in curvatures.iter_mut().zip(CURVATURE_AT_M).enumerate() {
            *entry = (
                f64::from(distance_m),
                value(EGO + 18 + index, CURVATURE_PER_M),
            );
        }
        Self {
            speed_mps,
            lateral_m: value(EGO + 2, LATERAL_M),
            heading_rad: value(EGO + 3, HEADING_RAD),
            yaw_rate_radps: value(EGO + 4, YAW_RATE_RADPS),
            width_m: value(EGO + 17, WIDTH_M).max(2.0),
            friction: value(EGO + 22, 1.0).clamp(0.1, 1.0),
            curvatures,
            lanes: [
                lane(0, observation[EGO + 13] > 0.5),
                lane(1, true),
                lane(2, observation[EGO + 14] > 0.5),
            ],
        }
    }
}
