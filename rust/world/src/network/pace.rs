//! How fast bends and limits allow to drive, as a table along every lane.

use carla_online_roads::{LaneIndex, RoadMap};

/// Length of one entry of the table, metres.
const STEP_M: f32 = 4.0;
/// Comfortable sideways acceleration in bends, m/s2.
const BEND_MPS2: f32 = 2.5;
/// Deceleration with which vehicles reckon before a bend, m/s2.
pub const EASE_MPS2: f32 = 1.5;

/// A table of speeds from which easing off still meets every bend and limit of the lane ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    first: Vec<u32>,
    speeds_mps: Vec<f32>,
}

impl Pace {
    /// The table of a map.
    pub fn new(map: &RoadMap) -> Self {
        let mut pace = Self {
            first: Vec::with_capacity(map.lanes().len() + 1),
            speeds_mps: Vec::new(),
        };
        for (lane, here) in (0..).zip(map.lanes()) {
            let start = pace.speeds_mps.len();
            pace.first.push(start as u32);
            let count = (here.length_m / STEP_M).ceil().max(1.0) as u32;
            for entry in 0..count {
                let from_m = entry as f32 * STEP_M;
                let speeds = [0.0, 0.25, 0.5, 0.75, 1.0]
                    .map(|part| speed_at(map, lane, (from_m + part * STEP_M).min(here.length_m)));
                pace.speeds_mps
                    .push(speeds.into_iter().fold(f32::INFINITY, f32::min));
            }
            for entry in (start + 1..pace.speeds_mps.len()).rev() {
                let behind = eased_mps(pace.speeds_mps[entry], STEP_M);
                pace.speeds_mps[entry - 1] = pace.speeds_mps[entry - 1].min(behind);
            }
        }
        pace.first.push(pace.speeds_mps.len() as u32);
        pace
    }

    /// The speed at a place, m/s; beyond the lane's ends that at the end.
    pub fn speed_mps(&self, lane: LaneIndex, s_m: f32) -> f32 {
        let first = self.first[lane as usize] as usize;
        let last = self.first[lane as usize + 1] as usize - 1;
        // Casting saturates, and takes NaN to 0.
        self.speeds_mps[(first + (s_m / STEP_M) as usize).min(last)]
    }
}

/// The speed from which easing off over a distance leads to another one, m/s.
pub fn eased_mps(speed_mps: f32, distance_m: f32) -> f32 {
    (speed_mps * speed_mps + 2.0 * EASE_MPS2 * distance_m.max(0.0)).sqrt()
}

fn speed_at(map: &RoadMap, lane: LaneIndex, s_m: f32) -> f32 {
    let curvature = map.sample(lane, s_m).curvature_per_m.abs();
    let bend_mps = (BEND_MPS2 / curvature.max(1e-6)).sqrt();
    map.speed_limit_mps(lane, s_m).min(bend_mps)
}
