//! The other vehicles: car following by the intelligent driver model, now and then a lane change
//! into a safe gap, now and then (if asked for) a hard braking.
//!
//! Vehicles move on rails: a place along a lane and a lateral offset. Everybody decides from the
//! state before the step; only lane changes are granted one after the other, so that two vehicles
//! can't take the same gap.

use carla_online_roads::{LaneIndex, RoadMap};

use crate::config::TrafficConfig;
use crate::course::Course;
use crate::rng::{Purpose, Stream};

mod conduct;
mod idm;
mod slot;
pub use conduct::{Adversaries, Manner, Mobil, Prospect, calm_until_s, is_chosen};
pub use idm::Idm;
pub use slot::{InLane, Slot};

/// Half length and half width in metres of the vehicles there are: Lincoln MKZ 2017 and 2020, Tesla
/// Model 3, Nissan Patrol, as CARLA gives them.
pub const VEHICLE_MODELS: [(f32, f32); 4] = [
    (2.451, 1.064),
    (2.446, 0.918),
    (2.396, 1.082),
    (2.302, 0.966),
];
/// A time that never comes, seconds.
pub const NEVER_S: f32 = 1e9;
/// How long a vehicle goes on looking for a gap before it forgets that it wanted to change lanes.
const PATIENCE_S: f32 = 8.0;
const HARD_BRAKE_S: f32 = 1.5;
/// Comfortable sideways acceleration in bends, m/s2.
const BEND_MPS2: f32 = 2.5;

/// One vehicle of the traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vehicle {
    /// Its lane; while it changes lanes, already the new one.
    pub lane: LaneIndex,
    /// Place along the lane, metres.
    pub s_m: f32,
    /// Offset from the lane's centre, metres, positive to the right.
    pub lateral_m: f32,
    /// The offset at which the lane change under way began.
    pub change_from_m: f32,
    /// Progress of the lane change under way, 1 when there is none.
    pub change_done: f32,
    /// Speed along the lane, m/s.
    pub speed_mps: f32,
    /// Its acceleration in the last step, m/s2.
    pub acceleration_mps2: f32,
    /// The speed it would drive on a free road, m/s.
    pub desired_mps: f32,
    /// Index into [`VEHICLE_MODELS`].
    pub model: u8,
    /// -1 wants to the left, 1 to the right, 0 stays.
    pub wish: i8,
    /// When it gives up the wish, seconds.
    pub wish_until_s: f32,
    /// When it will next want to change lanes, seconds.
    pub next_change_s: f32,
    /// When it will next brake hard, seconds.
    pub next_brake_s: f32,
    /// Until when it brakes hard, seconds.
    pub brake_until_s: f32,
    /// Until when it stays in its lane after a change of its own choice, seconds.
    pub calm_until_s: f32,
    /// Random numbers used up so far.
    pub draws: u32,
    /// It has left the map over the end of the road.
    pub is_gone: bool,
    /// Centre in the plane, metres.
    pub x: f32,
    /// Centre in the plane, metres.
    pub y: f32,
    /// Height of the road under it, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Station along the road, metres.
    pub station_m: f32,
    /// Width of its lane there, metres.
    pub lane_width_m: f32,
    /// Curvature of its lane there, 1/m, positive to the right.
    pub lane_curvature_per_m: f32,
}

impl Vehicle {
    /// A vehicle that drives at the speed it likes in the middle of a lane; its pose isn't settled yet.
    pub const fn new(lane: LaneIndex, s_m: f32, desired_mps: f32, model: u8) -> Self {
        Self {
            lane,
            s_m,
            lateral_m: 0.0,
            change_from_m: 0.0,
            change_done: 1.0,
            speed_mps: desired_mps,
            acceleration_mps2: 0.0,
            desired_mps,
            model,
            wish: 0,
            wish_until_s: 0.0,
            next_change_s: NEVER_S,
            next_brake_s: NEVER_S,
            brake_until_s: 0.0,
            calm_until_s: 0.0,
            draws: 0,
            is_gone: false,
            x: 0.0,
            y: 0.0,
            z: 0.0,
            yaw_rad: 0.0,
            station_m: 0.0,
            lane_width_m: 0.0,
            lane_curvature_per_m: 0.0,
        }
    }

    /// Half the length and half the width, metres.
    pub fn half_extents_m(&self) -> (f32, f32) {
        VEHICLE_MODELS[usize::from(self.model) % VEHICLE_MODELS.len()]
    }

    /// Brings pose and station up to date with place and offset.
    pub fn settle(&mut self, map: &RoadMap, lateral_rate_mps: f32) {
        let sample = map.sample(self.lane, self.s_m);
        let (sin, cos) = (
            libm::sinf(sample.pose.yaw_rad),
            libm::cosf(sample.pose.yaw_rad),
        );
        self.x = sample.pose.x - sin * self.lateral_m;
        self.y = sample.pose.y + cos * self.lateral_m;
        self.z = sample.pose.z;
        let drift_rad = if lateral_rate_mps == 0.0 {
            0.0
        } else {
            libm::atan2f(lateral_rate_mps, self.speed_mps.max(1.0))
        };
        self.yaw_rad = crate::geometry::wrap_angle(sample.pose.yaw_rad + drift_rad);
        self.station_m = map.station(self.lane, self.s_m);
        self.lane_width_m = sample.width_m;
        self.lane_curvature_per_m = sample.curvature_per_m;
    }

    /// Goes on with the lane change under way; returns the speed to the side, m/s.
    pub(crate) fn slide(&mut self, tuning: &Tuning, step_s: f32) -> f32 {
        if self.change_done >= 1.0 {
            return 0.0;
        }
        // A standing vehicle doesn't slide sideways.
        let share = step_s / tuning.lane_change_s * (0.5 * self.speed_mps).min(1.0);
        let done = (self.change_done + share).min(1.0);
        let lateral_m = self.change_from_m * (1.0 - done * done * (3.0 - 2.0 * done));
        let rate_mps = (lateral_m - self.lateral_m) / step_s;
        self.change_done = done;
        self.lateral_m = lateral_m;
        rate_mps
    }
}

/// The traffic's parameters as used in stepping.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Car following.
    pub idm: Idm,
    /// Lane changes for gain.
    pub mobil: Mobil,
    /// Those who break rules.
    pub adversaries: Adversaries,
    lane_change_s: f32,
    change_every_s: f64,
    brake_every_s: f64,
    hard_brake_mps2: f32,
}

impl Tuning {
    /// From a validated configuration.
    pub fn new(config: &TrafficConfig) -> Self {
        Self {
            idm: Idm::new(&config.idm),
            mobil: Mobil::new(&config.mobil),
            adversaries: Adversaries::new(&config.adversaries),
            lane_change_s: config.lane_change_s as f32,
            change_every_s: 100.0 / config.lane_changes_per_100s.max(1e-12),
            brake_every_s: config.hard_brake_every_s,
            hard_brake_mps2: config.hard_brake_mps2 as f32,
        }
    }

    /// When a vehicle next wants to change lanes.
    pub fn next_change_s(&self, seed: u64, vehicle: usize, draws: &mut u32, now_s: f32) -> f32 {
        draw_time(
            seed,
            Purpose::LaneChange,
            vehicle,
            draws,
            now_s,
            self.change_every_s,
        )
    }

    /// When a vehicle next brakes hard.
    pub fn next_brake_s(&self, seed: u64, vehicle: usize, draws: &mut u32, now_s: f32) -> f32 {
        draw_time(
            seed,
            Purpose::HardBrake,
            vehicle,
            draws,
            now_s,
            self.brake_every_s,
        )
    }
}

fn draw_time(
    seed: u64,
    purpose: Purpose,
    vehicle: usize,
    draws: &mut u32,
    now_s: f32,
    mean_s: f64,
) -> f32 {
    let wait_s = Stream::new(seed, purpose, vehicle as u64, u64::from(*draws)).exponential(mean_s);
    *draws = draws.wrapping_add(1);
    (f64::from(now_s) + wait_s).min(f64::from(NEVER_S)) as f32
}

/// Moves all vehicles by one step.
///
/// `slots` has one slot for each vehicle, in order, and the ego's as the last; it is scratch space
/// afterwards. Slots of vehicles that are gone lie at minus infinity's side of everything.
pub fn advance(
    vehicles: &mut [Vehicle],
    slots: &mut [Slot],
    course: &Course,
    tuning: &Tuning,
    seeds: Seeds,
    now_s: f32,
    step_s: f32,
) {
    for (index, vehicle) in vehicles.iter_mut().enumerate() {
        if !vehicle.is_gone {
            vehicle.acceleration_mps2 = follow(vehicle, slots, index, tuning);
            plan(vehicle, index, tuning, seeds.stream, now_s);
        }
    }
    for (index, vehicle) in vehicles.iter_mut().enumerate() {
        if vehicle.is_gone {
            continue;
        }
        let chosen = choose_lane(
            vehicle,
            slots,
            index,
            course,
            tuning,
            seeds.episode,
            now_s,
            step_s,
        );
        if vehicle.wish != 0 {
            let is_changed = try_lane_change(vehicle, slots, index, course, tuning, now_s, chosen);
            if is_changed && chosen != Choice::Drawn {
                vehicle.calm_until_s = calm_until_s(now_s);
            }
        }
    }
    for vehicle in vehicles.iter_mut().filter(|vehicle| !vehicle.is_gone) {
        roll(vehicle, course, tuning, step_s);
    }
}

/// The seeds of an episode's traffic.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// Of the episode: who behaves how.
    pub episode: u64,
    /// Of what is still to be drawn.
    pub stream: u64,
}

/// Why a vehicle wants to change lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Because its time had come.
    Drawn,
    /// Because it gains.
    Gain,
    /// To get closely before the ego.
    CutIn,
}

/// Sets a wish for a lane change that pays, or that cuts in on the ego, who has the last slot.
#[allow(clippy::too_many_arguments)] // a step's ingredients; a struct would only rename them
fn choose_lane(
    vehicle: &mut Vehicle,
    slots: &[Slot],
    index: usize,
    course: &Course,
    tuning: &Tuning,
    seed: u64,
    now_s: f32,
    step_s: f32,
) -> Choice {
    let (mobil, adversaries) = (&tuning.mobil, &tuning.adversaries);
    let here = &course.map.lanes()[vehicle.lane as usize];
    let has = [
        here.left.is_some() && here.may_change_left,
        here.right.is_some() && here.may_change_right,
    ];
    let own = slots[index];
    if adversaries.any_cut_in()
        && let Some(ego) = slots.last()
    {
        let side = (ego.ranks.0 as i8 - own.ranks.0 as i8).signum();
        let is_beside = own.ranks.0.abs_diff(ego.ranks.0) == 1 && ego.ranks.0 == ego.ranks.1;
        let is_open = has[usize::from(side > 0)] && own.station_m > ego.station_m;
        let ahead_m = own.gap_to(ego);
        if is_beside
            && is_open
            && adversaries.cuts_in(seed, index, vehicle, now_s, ahead_m, ego.speed_mps)
        {
            (vehicle.wish, vehicle.wish_until_s) = (side, now_s + step_s);
            return Choice::CutIn;
        }
    }
    if mobil.is_due(seed, index, vehicle, now_s, step_s) {
        let side = mobil.side(&own, slots, index, vehicle, &tuning.idm, has);
        if side != 0 {
            (vehicle.wish, vehicle.wish_until_s) = (side, now_s + step_s);
            return Choice::Gain;
        }
    }
    Choice::Drawn
}

fn follow(vehicle: &Vehicle, slots: &[Slot], index: usize, tuning: &Tuning) -> f32 {
    let own = &slots[index];
    let curvature = vehicle.lane_curvature_per_m.abs();
    let bend_mps = (BEND_MPS2 / curvature.max(1e-6)).sqrt();
    let desired_mps = vehicle.desired_mps.min(bend_mps);
    match own.leader(slots.iter()) {
        Some(leader) => tuning.idm.acceleration(
            own.speed_mps,
            desired_mps,
            own.gap_to(leader),
            leader.speed_mps,
        ),
        None => tuning.idm.free_acceleration(own.speed_mps, desired_mps),
    }
}

/// Wishes and hard brakings whose time has come.
pub(crate) fn plan(vehicle: &mut Vehicle, index: usize, tuning: &Tuning, seed: u64, now_s: f32) {
    if now_s >= vehicle.next_brake_s {
        vehicle.brake_until_s = now_s + HARD_BRAKE_S;
        let earliest_s = vehicle.brake_until_s;
        vehicle.next_brake_s = tuning.next_brake_s(seed, index, &mut vehicle.draws, earliest_s);
    }
    if now_s < vehicle.brake_until_s {
        vehicle.acceleration_mps2 = vehicle.acceleration_mps2.min(-tuning.hard_brake_mps2);
    }
    if now_s >= vehicle.next_change_s {
        let mut coin = Stream::new(
            seed,
            Purpose::LaneChange,
            index as u64,
            u64::from(vehicle.draws),
        );
        vehicle.draws = vehicle.draws.wrapping_add(1);
        vehicle.wish = if coin.below(2) == 0 { -1 } else { 1 };
        vehicle.wish_until_s = now_s + PATIENCE_S;
        vehicle.next_change_s = tuning.next_change_s(seed, index, &mut vehicle.draws, now_s);
    }
    if now_s > vehicle.wish_until_s {
        vehicle.wish = 0;
    }
}

/// The neighbour a wish leads to; at the edge of the road the other side.
pub(crate) fn wanted_lane(map: &RoadMap, lane: LaneIndex, wish: i8) -> Option<(LaneIndex, i8)> {
    let here = &map.lanes()[lane as usize];
    let left = here
        .left
        .filter(|_| here.may_change_left)
        .map(|lane| (lane, -1));
    let right = here
        .right
        .filter(|_| here.may_change_right)
        .map(|lane| (lane, 1));
    if wish < 0 {
        left.or(right)
    } else {
        right.or(left)
    }
}

fn try_lane_change(
    vehicle: &mut Vehicle,
    slots: &mut [Slot],
    index: usize,
    course: &Course,
    tuning: &Tuning,
    now_s: f32,
    choice: Choice,
) -> bool {
    if vehicle.change_done < 1.0 || now_s < vehicle.brake_until_s {
        return false;
    }
    let Some((target, side)) = wanted_lane(&course.map, vehicle.lane, vehicle.wish) else {
        vehicle.wish = 0;
        return false;
    };
    let Some(rank) = course.rank(target).map(|rank| rank as u8) else {
        return false;
    };
    let own = slots[index];
    // Whoever cuts in doesn't mind the ego, whose slot is the last.
    let ignored = (choice == Choice::CutIn).then(|| slots.len() - 1);
    let is_free = slots.iter().enumerate().all(|(other, slot)| {
        other == index
            || Some(other) == ignored
            || rank < slot.ranks.0
            || rank > slot.ranks.1
            || tuning.idm.accepts_gap(&own, slot)
    });
    if !is_free {
        return false;
    }
    let there_m = course.map.abreast(vehicle.lane, vehicle.s_m, target);
    let width_m = course.map.sample(target, there_m).width_m;
    let apart_m = 0.5 * (vehicle.lane_width_m + width_m);
    vehicle.change_from_m = vehicle.lateral_m - f32::from(side) * apart_m;
    vehicle.lateral_m = vehicle.change_from_m;
    vehicle.change_done = 0.0;
    vehicle.lane = target;
    vehicle.s_m = there_m;
    vehicle.wish = 0;
    slots[index].ranks = (own.ranks.0.min(rank), own.ranks.1.max(rank));
    true
}

fn roll(vehicle: &mut Vehicle, course: &Course, tuning: &Tuning, step_s: f32) {
    let before_mps = vehicle.speed_mps;
    vehicle.speed_mps = (before_mps + vehicle.acceleration_mps2 * step_s).max(0.0);
    let ahead_m = 0.5 * (before_mps + vehicle.speed_mps) * step_s;
    let lateral_rate_mps = vehicle.slide(tuning, step_s);
    if vehicle.s_m + ahead_m <= course.map.lanes()[vehicle.lane as usize].length_m {
        vehicle.s_m += ahead_m;
    } else if let Some(place) = course.map.advance(vehicle.lane, vehicle.s_m, ahead_m) {
        vehicle.lane = place.lane;
        vehicle.s_m = place.s_m;
    } else {
        vehicle.is_gone = true;
        return;
    }
    vehicle.settle(&course.map, lateral_rate_mps);
}
