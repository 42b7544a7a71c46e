//! The safety layer: between the proposed and the executed action.
//!
//! From an observation, which every backend gives, it derives linear constraints on (steer, pedal) and replaces the
//! proposed action by the nearest one that keeps them. In falling order of importance:
//!
//! 1. *Distance.* RSS's minimum distance `d` to whoever is ahead in a lane that the ego fills or is about to fill,
//!    as a control barrier: `d/dt (gap - d) >= -rate (gap - d)`. It bounds the pedal from above. Below a time to
//!    collision the brake is pressed fully and stays pressed for a moment.
//! 2. *Lines.* The road's edge and the line to a lane without room ahead and behind mustn't be crossed: a barrier of
//!    second order on the lateral offset, one on the heading, which bound the steer from both sides.
//! 3. *Grip.* What the tyres can't give sideways isn't asked for, and less of it while braking; bends ahead are met
//!    at a speed that they can be driven at.
//! 4. *Rates.* Executed steer and pedal change only so fast.
//!
//! Source: RSS, <https://arxiv.org/abs/1708.06374>, definition 1; control barrier functions,
//! <https://arxiv.org/abs/1903.11199>; the projection is [`project`]'s.

use crate::dynamics::{FULL_BRAKE_MPS2, GRIP_MPS2, HALF_EXTENTS_M, curvature_per_steer};
use crate::observe::Observation;

mod config;
mod projection;
mod sight;
pub use config::SafetyConfig;
pub use projection::{HalfPlane, project};
pub use sight::{LaneView, Neighbour, Sight};

/// Why an action was changed, one bit each, in this order.
pub const SAFETY_CAUSES: [&str; 7] = [
    "bounds",
    "rate",
    "distance",
    "time_to_collision",
    "lane_change",
    "road_edge",
    "grip",
];

/// Bits of [`SAFETY_CAUSES`].
pub mod cause {
    /// Outside [-1, 1].
    pub const BOUNDS: u8 = 1;
    /// Too fast a change.
    pub const RATE: u8 = 1 << 1;
    /// Too close to whoever is ahead.
    pub const DISTANCE: u8 = 1 << 2;
    /// A collision would be imminent; full brake.
    pub const TIME_TO_COLLISION: u8 = 1 << 3;
    /// Towards a lane without room.
    pub const LANE_CHANGE: u8 = 1 << 4;
    /// Towards the road's edge, or too far off the lane's direction.
    pub const ROAD_EDGE: u8 = 1 << 5;
    /// More than the tyres give, now or in the bend ahead.
    pub const GRIP: u8 = 1 << 6;
}

/// A change smaller than this is rounding, not an intervention.
const SMALLEST_CHANGE: f64 = 1e-6;
/// Steer and yaw rate need about this long to act, seconds.
const STEER_LAG_S: f64 = 0.15;
/// Whoever drives in a lane that the ego will reach within this time counts as ahead, seconds.
const ENTER_WITHIN_S: f64 = 0.8;
/// Acceleration of full throttle, m/s2, for turning an allowed acceleration into a pedal.
const FULL_THROTTLE_MPS2: f64 = 5.0;
/// Below this speed the steer moves nothing to the side, m/s.
const STANDING_MPS: f64 = 0.3;
/// Barriers have room for this many constraints.
const MOST: usize = 24;

/// What the layer remembers of one environment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SafetyMemory {
    /// The last executed action.
    pub last: [f32; 2],
    /// For how much longer the brake stays pressed, seconds.
    pub latch_s: f32,
}

/// What the layer decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// The action to execute.
    pub executed: [f32; 2],
    /// Bits of [`cause`]; 0 where the proposed action stands.
    pub causes: u8,
}

struct Constraints {
    all: [(HalfPlane, u8); MOST],
    count: usize,
}

impl Constraints {
    const fn new() -> Self {
        let empty = HalfPlane {
            gradient: [0.0; 2],
            bound: 0.0,
        };
        Self {
            all: [(empty, 0); MOST],
            count: 0,
        }
    }

    fn push(&mut self, one: HalfPlane, cause: u8) {
        if self.count < MOST && one.bound.is_finite() {
            self.all[self.count] = (one, cause);
            self.count += 1;
        }
    }

    fn steer(&mut self, sign: f64, limit: f64, cause: u8) {
        // A bound beyond full lock on the right side says nothing; on the wrong side it says full lock.
        self.push(HalfPlane::limit(0, sign, limit.clamp(-1.0, 1.0)), cause);
    }

    fn pedal_at_most(&mut self, limit: f64, cause: u8) {
        self.push(HalfPlane::limit(1, 1.0, limit.clamp(-1.0, 1.0)), cause);
    }
}

/// Decides for one environment. `proposed` must be finite.
pub fn decide(
    config: &SafetyConfig,
    observation: &Observation,
    proposed: [f32; 2],
    memory: &mut SafetyMemory,
) -> Decision {
    let wanted = proposed.map(f64::from);
    let sight = Sight::read(observation);
    let mut constraints = Constraints::new();
    keep_distance(config, &sight, memory, &mut constraints);
    keep_lines(config, &sight, &mut constraints);
    keep_grip(config, &sight, &mut constraints);
    for axis in [0, 1] {
        constraints.push(HalfPlane::limit(axis, 1.0, 1.0), cause::BOUNDS);
        constraints.push(HalfPlane::limit(axis, -1.0, -1.0), cause::BOUNDS);
    }
    let last = memory.last.map(f64::from);
    let [turn, press] =
        [config.steer_change_per_s, config.pedal_change_per_s].map(|rate| rate * config.decision_s);
    constraints.push(HalfPlane::limit(0, 1.0, last[0] + turn), cause::RATE);
    constraints.push(HalfPlane::limit(0, -1.0, last[0] - turn), cause::RATE);
    constraints.push(HalfPlane::limit(1, 1.0, last[1] + press), cause::RATE);

    let listed = &constraints.all[..constraints.count];
    let mut planes = [HalfPlane::limit(0, 1.0, 1.0); MOST];
    let mut causes = 0;
    for (plane, (one, why)) in planes.iter_mut().zip(listed) {
        *plane = *one;
        if one.excess(wanted) > SMALLEST_CHANGE {
            causes |= why;
        }
    }
    let executed = if causes == 0 {
        wanted
    } else {
        project(wanted, &planes[..constraints.count])
    };
    let executed = executed.map(|value| value.clamp(-1.0, 1.0) as f32);
    memory.last = executed;
    // Less than half a decision is over: tenths of a second don't add up to exactly nothing.
    let left_s = memory.latch_s - config.decision_s as f32;
    memory.latch_s = if left_s < 0.5 * config.decision_s as f32 {
        0.0
    } else {
        left_s
    };
    Decision { executed, causes }
}

/// RSS's minimum distance between a follower and a leader in one lane, metres.
///
/// Source: Shalev-Shwartz, Shammah, Shashua, <https://arxiv.org/abs/1708.06374>, definition 1.
pub fn rss_distance_m(config: &SafetyConfig, own_mps: f64, leader_mps: f64) -> f64 {
    let reached_mps = own_mps + config.response_s * config.acceleration_mps2;
    let reaction_m = own_mps * config.response_s
        + 0.5 * config.acceleration_mps2 * config.response_s * config.response_s;
    let stopping_m = reached_mps * reached_mps / (2.0 * config.braking_mps2);
    let leader_m = leader_mps * leader_mps / (2.0 * config.leader_braking_mps2);
    (reaction_m + stopping_m - leader_m).max(0.0)
}

fn pedal_of(acceleration_mps2: f64, friction: f64) -> f64 {
    if acceleration_mps2 < 0.0 {
        acceleration_mps2 / (f64::from(FULL_BRAKE_MPS2) * friction)
    } else {
        acceleration_mps2 / FULL_THROTTLE_MPS2
    }
}

fn keep_distance(
    config: &SafetyConfig,
    sight: &Sight,
    memory: &mut SafetyMemory,
    constraints: &mut Constraints,
) {
    let drift_mps = sight.speed_mps * libm::sin(sight.heading_rad);
    let reaches = |side: f64| {
        let half_width_m = f64::from(HALF_EXTENTS_M.1);
        let offset_m = side * sight.lateral_m + (side * drift_mps * ENTER_WITHIN_S).max(0.0);
        offset_m + half_width_m > 0.5 * sight.width_m
    };
    let mut allowed_mps2 = f64::INFINITY;
    for (number, lane) in sight.lanes.iter().enumerate() {
        let side = number as f64 - 1.0;
        let Some(ahead) = lane
            .ahead
            .filter(|_| lane.is_open && (number == 1 || reaches(side)))
        else {
            continue;
        };
        let (own_mps, gap_m) = (sight.speed_mps, ahead.gap_m - config.standstill_gap_m);
        let closing_mps = own_mps - ahead.speed_mps;
        // Somebody alongside in the next lane has no gap ahead; the line keeps the ego away from them.
        if number != 1 && ahead.gap_m <= 0.0 {
            continue;
        }
        if closing_mps > 0.5 && ahead.gap_m < config.brake_ttc_s * closing_mps {
            memory.latch_s = memory.latch_s.max(config.brake_latch_s as f32);
        }
        let spare_m = gap_m - rss_distance_m(config, own_mps, ahead.speed_mps);
        let reached_mps = own_mps + config.response_s * config.acceleration_mps2;
        let per_mps = config.response_s + reached_mps / config.braking_mps2;
        let allowed = (config.distance_rate_per_s * spare_m - closing_mps) / per_mps;
        allowed_mps2 = allowed_mps2.min(allowed);
    }
    if memory.latch_s > 0.0 {
        constraints.pedal_at_most(-1.0, cause::TIME_TO_COLLISION);
    }
    if allowed_mps2 < f64::INFINITY {
        constraints.pedal_at_most(pedal_of(allowed_mps2, sight.friction), cause::DISTANCE);
    }
}

/// Whether a lane has room for the ego, ahead and behind.
fn has_room(config: &SafetyConfig, sight: &Sight, lane: &LaneView) -> bool {
    let enough = |neighbour: Option<Neighbour>, horizon_s: f64, sign: f64| {
        neighbour.is_none_or(|other| {
            let closing_mps = (sign * (sight.speed_mps - other.speed_mps)).max(0.0);
            other.gap_m >= config.standstill_gap_m + 1.0 + horizon_s * closing_mps
        })
    };
    lane.is_open
        && enough(lane.ahead, config.front_gap_s, 1.0)
        && enough(lane.behind, config.rear_gap_s, -1.0)
}

fn keep_lines(config: &SafetyConfig, sight: &Sight, constraints: &mut Constraints) {
    let speed_mps = sight.speed_mps;
    if speed_mps < STANDING_MPS {
        return;
    }
    let gain_per_m = f64::from(curvature_per_steer(speed_mps as f32));
    let bend_per_m = sight.curvatures[0].1;
    // Where the ego will be when the steer acts.
    let turn_radps = sight.yaw_rate_radps - speed_mps * bend_per_m;
    let heading_rad = sight.heading_rad + turn_radps * STEER_LAG_S;
    let mean_heading_rad = sight.heading_rad + 0.5 * turn_radps * STEER_LAG_S;
    let lateral_m = sight.lateral_m + speed_mps * libm::sin(mean_heading_rad) * STEER_LAG_S;
    let drift_mps = speed_mps * libm::sin(heading_rad);
    let rate = config.lateral_rate_per_s;
    for side in [1.0, -1.0] {
        let lane = &sight.lanes[if side > 0.0 { 2 } else { 0 }];
        let is_free = has_room(config, sight, lane);
        let own_m = 0.5 * sight.width_m - f64::from(HALF_EXTENTS_M.1) - config.line_margin_m;
        let limit_m = if is_free {
            own_m + sight.width_m
        } else {
            own_m
        };
        let why = if lane.is_open {
            cause::LANE_CHANGE
        } else {
            cause::ROAD_EDGE
        };
        // h = limit - offset; h'' + 2 rate h' + rate^2 h >= 0, and h'' is what the steer adds.
        let spare_m = limit_m - side * lateral_m;
        let outward_mps2 = rate * (rate * spare_m - 2.0 * side * drift_mps);
        let outward_per_m = outward_mps2 / (speed_mps * speed_mps);
        constraints.steer(side, (side * outward_per_m + bend_per_m) / gain_per_m, why);
        // The heading's barrier is of first order: heading' <= rate (limit - heading).
        let room_rad = config.heading_rad - side * heading_rad;
        let turn_per_m = 2.0 * rate * room_rad / speed_mps;
        constraints.steer(
            side,
            (side * turn_per_m + bend_per_m) / gain_per_m,
            cause::ROAD_EDGE,
        );
    }
}

fn keep_grip(config: &SafetyConfig, sight: &Sight, constraints: &mut Constraints) {
    let (speed_mps, grip_mps2) = (sight.speed_mps, f64::from(GRIP_MPS2) * sight.friction);
    let sideways_mps2 = config.grip_share * grip_mps2;
    if speed_mps >= STANDING_MPS {
        let per_steer_mps2 =
            speed_mps * speed_mps * f64::from(curvature_per_steer(speed_mps as f32));
        let limit = sideways_mps2 / per_steer_mps2;
        let braked = f64::from(FULL_BRAKE_MPS2) * sight.friction / grip_mps2;
        for side in [1.0, -1.0] {
            constraints.steer(side, side * limit, cause::GRIP);
            // Outside of the friction circle, touching it where both shares are equal.
            let gradient = [side * per_steer_mps2 / grip_mps2, -braked];
            let corner = HalfPlane {
                gradient,
                bound: std::f64::consts::SQRT_2,
            };
            constraints.push(corner, cause::GRIP);
        }
    }
    let mut allowed_mps2 = f64::INFINITY;
    for (distance_m, curvature_per_m) in sight.curvatures {
        let bend_mps2 = sideways_mps2 / curvature_per_m.abs().max(1e-4);
        let braking_mps2 = 0.5 * config.braking_mps2 * sight.friction;
        let bend_mps = (bend_mps2 + 2.0 * braking_mps2 * distance_m).sqrt();
        allowed_mps2 = allowed_mps2.min(4.0 * (bend_mps - speed_mps));
    }
    constraints.pedal_at_most(pedal_of(allowed_mps2, sight.friction), cause::GRIP);
}

#[cfg(test)]
mod tests;
