//! What happened to the ego in a simulation step.
//!
//! - *Collision*: the boxes overlap; counted once until the two have parted.
//! - *Off road*: the centre is beyond the outer edge of the drivable surface, or the heading is too
//!   far off the lane's. Both end the episode.
//! - *Lane invasion*: libcarla's corner rule. Each of the four corners of the box is watched, and a
//!   step in which at least one of them passes a line is one invasion. A plain lane change therefore
//!   counts several, once for each time its corners cross. A *lane change* is counted when the centre
//!   crosses.
//! - *Wrong way*: heading against the lane while moving. On roads of one direction the heading rule of
//!   *off road* comes first, unless it is set to 180 degrees.
//! - *Speeding*: more than 1 m/s over the limit, counted again after falling back to the limit.
//! - *Blocked*: slower than 0.1 m/s for as long as the configuration allows.

use crate::config::WorldConfig;
use crate::course::Course;
use crate::dynamics::HALF_EXTENTS_M;
use crate::geometry::OrientedBox;
use crate::reward::{
    Gathered, SHORT_TTC_DEFICIT, SoftStep, discomforts, soft_factors, speed_error,
    time_to_collision_s, ttc_deficit,
};
use crate::rules;
use crate::score::{INFRACTIONS, infraction};
use crate::state::{LONGEST_TTC_S, State};
use crate::traffic::Slot;

/// Excess over the limit that counts as speeding, m/s.
const SPEEDING_MARGIN_MPS: f32 = 1.0;
/// Slower than this is standing, m/s.
pub(crate) const STANDING_MPS: f32 = 0.1;
/// Traffic within this distance along the road is compared with, metres.
const NEAR_TRAFFIC_M: f32 = 60.0;

/// Lanes don't cover all of a junction's surface: off the road begins so much later there, metres.
const JUNCTION_MARGIN_M: f32 = 1.5;
const MOST_ABREAST: usize = 64;

/// The limits that a configuration sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    step_s: f32,
    blocked_after_s: f32,
    off_road_margin_m: f32,
    off_road_heading_rad: f32,
    terminates: [bool; INFRACTIONS.len()],
}

impl Limits {
    /// From a validated configuration.
    pub fn new(config: &WorldConfig) -> Self {
        Self {
            step_s: config.simulation_step_s as f32,
            blocked_after_s: config.blocked_after_s as f32,
            off_road_margin_m: config.off_road_margin_m as f32,
            off_road_heading_rad: (config.off_road_heading_deg as f32).to_radians(),
            terminates: INFRACTIONS.map(|name| config.terminate_on.iter().any(|end| end == name)),
        }
    }
}

/// Looks at the state after a step, counts what happened, and gathers the reward's ingredients.
pub fn judge(state: &mut State, course: &Course, limits: &Limits, gathered: &mut Gathered) {
    collisions(state, course.network.is_some(), gathered);
    judge_driving(state, course, limits, gathered);
}

/// [`judge`] for a state whose collisions were counted by [`count_collisions`] already.
pub fn judge_driving(state: &mut State, course: &Course, limits: &Limits, gathered: &mut Gathered) {
    gathered.steps += 1;
    let limit_mps = course.map.speed_limit_mps(state.ego.lane, state.ego.s_m);
    let sample = course.map.sample(state.ego.lane, state.ego.s_m);
    position(state, course, limits, sample.width_m, gathered);
    let is_lined = course.network.is_none() || state.tally.rules.was_abreast;
    lines(state, course, is_lined, sample.width_m, gathered);
    motion(state, course.network.is_some(), limits, limit_mps, gathered);
    soften(state, limits, limit_mps, gathered);
    let counts = &state.tally.counts;
    state.ending.infraction |= (0..counts.len()).any(|at| limits.terminates[at] && counts[at] > 0);
    if state.ego.station_m >= course.route.length_m() {
        state.ending.finished = true;
        gathered.finished = true;
    }
}

fn collisions(state: &mut State, is_network: bool, gathered: &mut Gathered) {
    let car = &state.ego.car;
    let mut own: Option<OrientedBox> = None;
    let mut contacts = 0_u64;
    for (index, vehicle) in state.vehicles.iter().enumerate() {
        let (half_length_m, half_width_m) = vehicle.half_extents_m();
        let reach_m = half_length_m + half_width_m + HALF_EXTENTS_M.0 + HALF_EXTENTS_M.1;
        let (dx, dy) = (vehicle.x - car.x, vehicle.y - car.y);
        if vehicle.is_gone || dx * dx + dy * dy > reach_m * reach_m {
            continue;
        }
        let own = own.get_or_insert_with(|| {
            OrientedBox::new(
                car.x,
                car.y,
                car.yaw_rad,
                HALF_EXTENTS_M.0,
                HALF_EXTENTS_M.1,
            )
        });
        let (x, y, yaw_rad) = (vehicle.x, vehicle.y, vehicle.yaw_rad);
        if own.overlaps(&OrientedBox::new(
            x,
            y,
            yaw_rad,
            half_length_m,
            half_width_m,
        )) {
            contacts |= 1 << index;
        }
    }
    let mut begun = (contacts & !state.tally.contacts).count_ones();
    state.tally.contacts = contacts;
    // On a network others may run into a standing ego, which ScenarioRunner doesn't charge either.
    if is_network && state.ego.car.speed_mps < STANDING_MPS {
        begun = 0;
    }
    count_collisions(state, infraction::COLLISION_VEHICLE, begun, gathered);
}

/// Counts `begun` collisions of a kind: the number of an infraction.
pub fn count_collisions(state: &mut State, kind: usize, begun: u32, gathered: &mut Gathered) {
    state.tally.counts[kind] += begun as i32;
    gathered.collisions += begun;
    state.ending.collision |= begun > 0;
}

fn position(
    state: &mut State,
    course: &Course,
    limits: &Limits,
    width_m: f32,
    gathered: &mut Gathered,
) {
    let is_off = if course.network.is_some() {
        outside(state, course, limits)
    } else {
        let ego = &state.ego;
        let (left_m, right_m) = course.map.half_width_to_edge(ego.lane, ego.s_m);
        let beyond_m = (ego.lateral_m - right_m).max(-ego.lateral_m - left_m);
        beyond_m > limits.off_road_margin_m
            || ego.heading_error_rad.abs() > limits.off_road_heading_rad
    };
    if is_off && !state.ending.off_road {
        state.ending.off_road = true;
        state.tally.counts[infraction::OFF_ROAD] += 1;
        gathered.off_road = true;
    }
    let ego = &state.ego;
    gathered.off_centre += (2.0 * ego.lateral_m.abs() / width_m.max(0.1)).min(1.0);
    gathered.lateral_offset += ego.lateral_m.abs();
    gathered.heading_error += ego.heading_error_rad.abs();
}

/// Looks whether the ego is outside of the lanes of a network; whether it has left the road.
fn outside(state: &mut State, course: &Course, limits: &Limits) -> bool {
    let (beyond_m, is_against) = rules::off_lanes(state, &course.map);
    let in_junction = course.map.junction_of(state.ego.lane).is_some();
    let margin_m = limits.off_road_margin_m + if in_junction { JUNCTION_MARGIN_M } else { 0.0 };
    let is_outside = beyond_m > margin_m || is_against;
    let tally = &mut state.tally;
    tally.counts[infraction::OUTSIDE_LANES] += i32::from(is_outside && !tally.rules.is_outside);
    tally.counts[infraction::WRONG_WAY] += i32::from(is_against && !tally.is_wrong_way);
    tally.is_wrong_way = is_against;
    tally.rules.is_outside = is_outside;
    if is_outside {
        let driven_m = state.ego.car.speed_mps * limits.step_s;
        tally.rules.outside_m += f64::from(driven_m);
    }
    beyond_m > margin_m
}

/// The rank of the lane a point lies in, reckoned from a lane beside it; beyond the road's edge too.
fn rank_of(rank: usize, lateral_m: f32, width_m: f32) -> i8 {
    let side = if lateral_m > 0.5 * width_m {
        1
    } else if lateral_m < -0.5 * width_m {
        -1
    } else {
        0
    };
    rank as i8 + side
}

/// The ranks of the lanes that the four corners lie in. Over the length of a car the lane counts as straight.
pub fn corner_ranks(rank: usize, lateral_m: f32, heading_error_rad: f32, width_m: f32) -> [i8; 4] {
    let (sin, cos) = (libm::sinf(heading_error_rad), libm::cosf(heading_error_rad));
    let (along, across) = (HALF_EXTENTS_M.0 * sin, HALF_EXTENTS_M.1 * cos);
    [
        along + across,
        along - across,
        across - along,
        -along - across,
    ]
    .map(|offset_m| rank_of(rank, lateral_m + offset_m, width_m))
}

/// The place of a lane among those abreast of its direction, 0 for the leftmost.
pub fn rank(course: &Course, lane: u32) -> usize {
    if course.network.is_none() {
        return course.rank(lane).unwrap_or_default();
    }
    let lanes = course.map.lanes();
    let mut left = lanes[lane as usize].left;
    let mut rank = 0;
    // No road has more lanes abreast; a ring of neighbours mustn't hold the step.
    while let Some(lane) = left.filter(|_| rank < MOST_ABREAST) {
        left = lanes[lane as usize].left;
        rank += 1;
    }
    rank
}

/// Counts a step in which a corner passes a line. Where a network's lane begins or lies in a junction there is
/// no line to pass, however the ranks change.
fn lines(
    state: &mut State,
    course: &Course,
    is_lined: bool,
    width_m: f32,
    gathered: &mut Gathered,
) {
    let ego = &state.ego;
    let rank = rank(course, ego.lane);
    let corners = corner_ranks(rank, ego.lateral_m, ego.heading_error_rad, width_m);
    if corners != state.tally.corners {
        state.tally.corners = corners;
        if !is_lined {
            return;
        }
        state.tally.counts[infraction::LANE_INVASION] += 1;
        gathered.lane_invasions += 1;
    }
}

fn motion(
    state: &mut State,
    is_network: bool,
    limits: &Limits,
    limit_mps: f32,
    gathered: &mut Gathered,
) {
    let (car, tally) = (&state.ego.car, &mut state.tally);
    let speed_mps = car.speed_mps;
    gathered.overspeed += (speed_mps / limit_mps - 1.0).max(0.0);
    gathered.discomforts = discomforts(car.acceleration_mps2, car.lateral_acceleration_mps2());
    gathered.comfort += gathered.discomforts.iter().sum::<f32>();
    if speed_mps > limit_mps + SPEEDING_MARGIN_MPS && !tally.is_speeding {
        tally.is_speeding = true;
        tally.counts[infraction::SPEEDING] += 1;
    } else if speed_mps <= limit_mps {
        tally.is_speeding = false;
    }
    let is_against = if is_network {
        tally.is_wrong_way
    } else {
        state.ego.heading_error_rad.abs() > std::f32::consts::FRAC_PI_2 && speed_mps > STANDING_MPS
    };
    tally.counts[infraction::WRONG_WAY] += i32::from(is_against && !tally.is_wrong_way);
    tally.is_wrong_way = is_against;
    gathered.wrong_way += f32::from(u8::from(is_against));
    tally.standing_s = if speed_mps < STANDING_MPS {
        tally.standing_s + limits.step_s
    } else {
        0.0
    };
    if tally.standing_s >= limits.blocked_after_s && !state.ending.blocked {
        state.ending.blocked = true;
        tally.counts[infraction::BLOCKED] += 1;
        gathered.blocked = true;
    }
}

/// The soft factors after this step.
fn soften(state: &mut State, limits: &Limits, limit_mps: f32, gathered: &mut Gathered) {
    let step = SoftStep {
        step_s: limits.step_s,
        over_limit_mps: state.ego.car.speed_mps - limit_mps,
        is_ttc_short: gathered.is_ttc_short,
        discomforts: gathered.discomforts,
        lateral_m: state.ego.lateral_m,
        is_off_route: state.tally.is_off_route || state.tally.is_wrong_way,
    };
    gathered.factors = soft_factors(&mut state.tally.soft, &step);
    let ttc_s = gathered.ttc_s.unwrap_or(LONGEST_TTC_S);
    let ease = &mut state.tally.ease;
    ease.note(ttc_s, gathered.is_ttc_short, &gathered.discomforts);
}

/// Compares the ego with the traffic around it: time to collision, hazards, and the traffic's speed.
pub fn compare_with_traffic(
    state: &mut State,
    ego: &Slot,
    vehicles: &[Slot],
    limit_mps: f32,
    gathered: &mut Gathered,
) {
    let mut hazard_m = f32::INFINITY;
    gathered.is_ttc_short = false;
    gathered.ttc_s = None;
    if let Some(leader) = ego.leader(vehicles.iter()) {
        hazard_m = ego.gap_to(leader);
        let closing_mps = ego.speed_mps - leader.speed_mps;
        let deficit = ttc_deficit(hazard_m, closing_mps);
        gathered.ttc_s = Some(time_to_collision_s(hazard_m, closing_mps));
        gathered.ttc_deficit += deficit;
        gathered.is_ttc_short = deficit > SHORT_TTC_DEFICIT;
    }
    gathered.speed_error += speed_error(ego.speed_mps, limit_mps, hazard_m);
    let (mut count, mut sum) = (0_u32, 0.0_f64);
    for vehicle in vehicles {
        if ego.distance_to(vehicle) <= NEAR_TRAFFIC_M {
            count += 1;
            sum += f64::from(vehicle.speed_mps);
        }
    }
    if count > 0 {
        state.tally.near_steps += 1;
        state.tally.own_speed_sum += f64::from(ego.speed_mps);
        state.tally.traffic_speed_sum += sum / f64::from(count);
    }
}
