//! The rules of a network: lights, stop signs, the route's lanes, people on foot.
//!
//! - *Red light*: `ScenarioRunner`'s rule. The rear of the ego (0.8 of its half length behind the centre) passes
//!   the junction's edge while the light of its way in is red.
//! - *Stop sign*: the ego enters the junction without having stood (below 0.1 m/s) within 4 m before the line or
//!   beyond it.
//! - *Outside of the route's lanes*: the centre is on no lane, or on one that runs against the ego's heading by
//!   more than 120 degrees, outside of junctions; counted once until it is over, the distance is summed. Driving
//!   on the other direction's lane is also *wrong way*.
//! - *Route deviation*: farther than 30 m from the route, or more than 30 % of its length between 15 m and 30 m.
//!   Ends the episode.
//! - *Collision with a walker*: the boxes overlap; counted once until the two have parted. A standing ego hits
//!   nobody, here as in `ScenarioRunner`.

use carla_online_roads::{RightOfWay, RoadMap};

use crate::course::Course;
use crate::dynamics::HALF_EXTENTS_M;
use crate::events::STANDING_MPS;
use crate::geometry::{OrientedBox, wrap_angle};
use crate::lights::Clock;
use crate::network::NOWHERE;
use crate::network::users::Users;
use crate::network::walkers::WALKER_HALF_M;
use crate::observe::{LightState, Signals, on_route};
use crate::reward::{Gathered, SHORT_TTC_DEFICIT, speed_error, time_to_collision_s, ttc_deficit};
use crate::score::infraction;
use crate::signals::governing;
use crate::state::State;
use crate::world::Moved;

/// The place on the ego that passes a junction's edge, in half lengths behind the centre.
const REAR_SHARE: f32 = 0.8;
/// One stops within this distance before a stop line, metres.
const STOP_ZONE_M: f32 = 4.0;
/// Beyond this heading against a lane one drives against it, radians.
const AGAINST_RAD: f32 = 120.0 * std::f32::consts::PI / 180.0;
/// Distance from the route that ends the episode, and that at which it counts, metres.
const DEVIATION_M: (f32, f32) = (30.0, 15.0);
/// Share of the route's length that may be driven between the two.
const ASTRAY_SHARE: f64 = 0.3;
/// The route is compared with the ego this far around its last station, metres.
const SEARCH_M: f32 = 40.0;
const SEARCH_STEP_M: f32 = 5.0;
/// Traffic within this distance is compared with, metres.
const NEAR_TRAFFIC_M: f32 = 60.0;

/// Looks at the state after a step by the rules of a network; people on foot apart.
pub(crate) fn judge(
    state: &mut State,
    course: &Course,
    clock: &Clock,
    moved: Moved,
    gathered: &mut Gathered,
) {
    let Moved { before, driven_m } = moved;
    let lane = state.ego.lane;
    let here = &course.map.lanes()[before as usize];
    let is_abreast = before == lane || here.left == Some(lane) || here.right == Some(lane);
    state.tally.rules.was_abreast = is_abreast && course.map.junction_of(lane).is_none();
    lines(state, &course.map, clock, before, driven_m, gathered);
    stand(state, &course.map);
    deviate(state, course, driven_m);
}

/// Lights and stop signs at the edge of a junction.
fn lines(
    state: &mut State,
    map: &RoadMap,
    clock: &Clock,
    before: u32,
    driven_m: f32,
    gathered: &mut Gathered,
) {
    let (ego, tally) = (&state.ego, &mut state.tally);
    let junction = map.junction_of(ego.lane);
    if junction.is_some() && map.junction_of(before) != junction {
        let line = governing(map, before, Some(ego.lane));
        if let Some(light) = line.and_then(|line| line.light) {
            let rules = &mut tally.rules;
            rules.light_group = light.group;
            rules.light_phase = u32::from(light.phase);
            rules.light_left_m = REAR_SHARE * HALF_EXTENTS_M.0 - ego.s_m;
        }
        let is_stop = line.is_some_and(|line| line.rule == RightOfWay::Stop);
        if is_stop && !tally.rules.has_stopped {
            tally.counts[infraction::STOP_SIGN] += 1;
            gathered.stop_signs += 1;
        }
        tally.rules.has_stopped = false;
    } else if tally.rules.light_group != NOWHERE {
        tally.rules.light_left_m -= driven_m;
    }
    if tally.rules.light_group != NOWHERE && tally.rules.light_left_m <= 0.0 {
        let phase = tally.rules.light_phase as u16;
        if clock.colour(tally.rules.light_group, phase) == LightState::Red {
            tally.counts[infraction::RED_LIGHT] += 1;
            gathered.red_lights += 1;
        }
        tally.rules.light_group = NOWHERE;
    }
}

/// Whether the ego has stopped at a sign.
fn stand(state: &mut State, map: &RoadMap) {
    let ego = &state.ego;
    if ego.car.speed_mps >= STANDING_MPS || map.junction_of(ego.lane).is_some() {
        return;
    }
    let front_m = ego.s_m + HALF_EXTENTS_M.0;
    let lines = map.stop_lines(ego.lane).iter();
    let is_there = lines
        .filter(|line| line.rule == RightOfWay::Stop)
        .any(|line| line.s_m - front_m <= STOP_ZONE_M);
    state.tally.rules.has_stopped |= is_there;
}

fn deviate(state: &mut State, course: &Course, driven_m: f32) {
    if !state.tally.is_off_route {
        return;
    }
    let (ego, rules) = (&state.ego, &mut state.tally.rules);
    let mut least = f32::INFINITY;
    let mut offset_m = -SEARCH_M;
    while offset_m <= SEARCH_M {
        let station_m = (ego.station_m + offset_m).clamp(0.0, course.route.length_m());
        if let Some(at) = on_route(&course.map, &course.route, station_m) {
            let pose = course.map.sample(at.lane, at.s_m).pose;
            let (dx, dy) = (pose.x - ego.car.x, pose.y - ego.car.y);
            least = least.min(dx * dx + dy * dy);
        }
        offset_m += SEARCH_STEP_M;
    }
    if least > DEVIATION_M.1 * DEVIATION_M.1 {
        rules.astray_m += f64::from(driven_m);
    }
    let is_long = rules.astray_m > ASTRAY_SHARE * f64::from(course.route.length_m());
    if (least > DEVIATION_M.0 * DEVIATION_M.0 || is_long) && !state.ending.deviated {
        state.ending.deviated = true;
        state.tally.counts[infraction::ROUTE_DEVIATION] += 1;
    }
}

/// Counts the ego's contacts with people on foot.
pub fn meet_walkers(state: &mut State, gathered: &mut Gathered) {
    let car = &state.ego.car;
    let reach_m = HALF_EXTENTS_M.0 + HALF_EXTENTS_M.1 + 1.0;
    let mut contacts = 0_u64;
    for (index, walker) in state.walkers.iter().enumerate() {
        let (dx, dy) = (walker.x - car.x, walker.y - car.y);
        if dx * dx + dy * dy > reach_m * reach_m {
            continue;
        }
        let (length_m, width_m) = HALF_EXTENTS_M;
        let own = OrientedBox::new(car.x, car.y, car.yaw_rad, length_m, width_m);
        let (length_m, width_m) = WALKER_HALF_M;
        let theirs = OrientedBox::new(walker.x, walker.y, walker.yaw_rad, length_m, width_m);
        if own.overlaps(&theirs) {
            contacts |= 1 << index;
        }
    }
    let rules = &mut state.tally.rules;
    let begun = (contacts & !rules.walker_contacts).count_ones();
    rules.walker_contacts = contacts;
    if begun > 0 && car.speed_mps >= STANDING_MPS {
        state.tally.counts[infraction::COLLISION_WALKER] += begun as i32;
        gathered.collisions += begun;
        state.ending.collision = true;
    }
}

/// How far the ego is beyond the edge of the nearest lane of any direction, metres, and whether that lane runs
/// against it.
pub fn off_lanes(state: &State, map: &RoadMap) -> (f32, bool) {
    let ego = &state.ego;
    let width_m = map.sample(ego.lane, ego.s_m).width_m;
    if ego.lateral_m.abs() <= 0.5 * width_m
        && ego.heading_error_rad.abs() < std::f32::consts::FRAC_PI_2
    {
        return (0.0, false);
    }
    let Some(nearest) = map.locate(ego.car.x, ego.car.y, ego.z, None) else {
        return (f32::INFINITY, false);
    };
    let sample = map.sample(nearest.lane, nearest.s_m);
    let (dx, dy) = (ego.car.x - sample.pose.x, ego.car.y - sample.pose.y);
    // Beyond a lane's end the lateral offset says nothing: the distance to it does.
    let beyond_m = (dx * dx + dy * dy).sqrt() - 0.5 * sample.width_m;
    let turned_rad = wrap_angle(ego.car.yaw_rad - sample.pose.yaw_rad).abs();
    let is_against =
        beyond_m <= 0.0 && turned_rad > AGAINST_RAD && map.junction_of(nearest.lane).is_none();
    (beyond_m.max(0.0), is_against)
}

/// Compares the ego with the traffic around it, as on a chain; a red light and a sign are hazards too.
pub fn compare_with_traffic(
    state: &mut State,
    map: &RoadMap,
    users: &Users,
    signals: &Signals,
    gathered: &mut Gathered,
) {
    let Some((number, ego)) = users.ego().map(|number| (number, users.all()[number])) else {
        return;
    };
    let limit_mps = map.speed_limit_mps(ego.lane, ego.s_m);
    let mut hazard_m = match signals.light {
        Some((LightState::Red | LightState::Yellow, distance_m)) => distance_m,
        _ => f32::INFINITY,
    };
    hazard_m = hazard_m.min(signals.stop_sign_m.unwrap_or(f32::INFINITY));
    gathered.is_ttc_short = false;
    gathered.ttc_s = None;
    if let Some(leader) = users.leader(map, number) {
        hazard_m = hazard_m.min(leader.gap_m);
        let closing_mps = ego.speed_mps - leader.speed_mps;
        let deficit = ttc_deficit(leader.gap_m, closing_mps);
        gathered.ttc_s = Some(time_to_collision_s(leader.gap_m, closing_mps));
        gathered.ttc_deficit += deficit;
        gathered.is_ttc_short = deficit > SHORT_TTC_DEFICIT;
    }
    gathered.speed_error += speed_error(ego.speed_mps, limit_mps, hazard_m);
    let (mut count, mut sum) = (0_u32, 0.0_f64);
    for user in users.all()[..number].iter().filter(|user| user.is_present) {
        let (dx, dy) = (user.pose[0] - ego.pose[0], user.pose[1] - ego.pose[1]);
        let turned_rad = wrap_angle(user.pose[2] - ego.pose[2]).abs();
        let is_near = dx * dx + dy * dy <= NEAR_TRAFFIC_M * NEAR_TRAFFIC_M;
        if is_near && turned_rad < std::f32::consts::FRAC_PI_4 {
            count += 1;
            sum += f64::from(user.speed_mps);
        }
    }
    if count > 0 {
        let tally = &mut state.tally;
        tally.near_steps += 1;
        tally.own_speed_sum += f64::from(ego.speed_mps);
        tally.traffic_speed_sum += sum / f64::from(count);
    }
}
