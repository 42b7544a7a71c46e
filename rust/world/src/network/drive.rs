//! One step of the traffic on a network.
//!
//! Everybody decides from the state before the step; grants, lane changes and entries are given one after the
//! other, so that no two take the same place.

use carla_online_roads::{LaneIndex, RoadMap};

use super::Network;
use super::junction::{Approach, Court};
use super::pace::eased_mps;
use super::users::{MOST_USERS, User, Users};
use super::walkers::{self, Walker};
use super::way::{NOWHERE, Way};
use crate::lights::Clock;
use crate::observe::LightState;
use crate::rng::{Purpose, Stream};
use crate::traffic::{InLane, Slot, Tuning, Vehicle, calm_until_s, plan, wanted_lane};

/// A vehicle stops with its front so far before a line, metres.
const BEFORE_LINE_M: f32 = 0.5;
/// Harder braking than this isn't done for somebody about to cross, m/s2.
const CROSSWALK_MPS2: f32 = 6.0;
/// What lies ahead is looked at up to here, metres.
const LOOK_M: f32 = 60.0;
/// No lane changes nearer than this to a junction, and so soon behind one, metres.
const CHANGE_ROOM_M: (f32, f32) = (35.0, 10.0);
/// Room that a vehicle needs to come in from outside, metres.
const ENTRY_ROOM_M: f32 = 20.0;

/// What a step of the traffic is made from.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The network.
    pub network: &'a Network,
    /// Parameters.
    pub tuning: &'a Tuning,
    /// What the lights show.
    pub clock: Clock<'a>,
    /// The episode's seed: who behaves how.
    pub seed: u64,
    /// The seed of what is still to be drawn.
    pub stream: u64,
    /// Time, seconds.
    pub now_s: f32,
    /// Length of the step, seconds.
    pub step_s: f32,
    /// Mean time between two crossings of one walker, seconds.
    pub walker_pause_s: f64,
}

/// Moves all vehicles and everybody on foot by one step.
pub fn advance(
    step: &Step,
    users: &mut Users,
    vehicles: &mut [Vehicle],
    ways: &mut [Way],
    walkers: &mut [Walker],
) {
    let map = &*step.network.map;
    let mut approaches = [Approach::NONE; MOST_USERS];
    for (approach, user) in approaches.iter_mut().zip(users.all()) {
        if user.is_present {
            *approach = Approach::of(map, user);
        }
    }
    let court = Court {
        map,
        clock: step.clock,
        approaches: &approaches,
        adversaries: &step.tuning.adversaries,
        seed: step.seed,
        now_s: step.now_s,
    };
    court.decide(users, ways);
    for (who, vehicle) in vehicles.iter_mut().enumerate() {
        if !vehicle.is_gone {
            vehicle.acceleration_mps2 =
                step.acceleration(users, who, vehicle, &approaches[who], walkers);
            plan(vehicle, who, step.tuning, step.stream, step.now_s);
        }
    }
    walkers::advance(step, users, walkers);
    for (who, (vehicle, way)) in vehicles.iter_mut().zip(ways.iter_mut()).enumerate() {
        if vehicle.is_gone {
            step.come_in(users, who, vehicle, way);
            continue;
        }
        let had_wish = vehicle.wish != 0;
        let cuts_in = step.choose_lane(users, who, vehicle, &approaches[who]);
        if vehicle.wish != 0 {
            let is_changed = step.change_lane(users, who, vehicle, way, &approaches[who], cuts_in);
            if is_changed && (cuts_in || !had_wish) {
                vehicle.calm_until_s = calm_until_s(step.now_s);
            }
        }
    }
    for (who, (vehicle, way)) in vehicles.iter_mut().zip(ways).enumerate() {
        if !vehicle.is_gone {
            step.roll(who, vehicle, way);
        }
    }
}

impl Step<'_> {
    fn acceleration(
        &self,
        users: &Users,
        who: usize,
        vehicle: &Vehicle,
        approach: &Approach,
        walkers: &[Walker],
    ) -> f32 {
        let (map, idm) = (&*self.network.map, &self.tuning.idm);
        let user = &users.all()[who];
        let speed_mps = vehicle.speed_mps;
        let desired_mps = self.desired_mps(user, vehicle.desired_mps);
        let mut acceleration = match users.leader(map, who) {
            Some(leader) => {
                idm.acceleration(speed_mps, desired_mps, leader.gap_m, leader.speed_mps)
            }
            None => idm.free_acceleration(speed_mps, desired_mps),
        };
        // A line is a standing vehicle that one comes up to more closely.
        let mut stop = |distance_m: f32| {
            let gap_m = distance_m + idm.standstill_gap_m() - BEFORE_LINE_M;
            acceleration = acceleration.min(idm.acceleration(speed_mps, desired_mps, gap_m, 0.0));
        };
        let has_grant = approach.is_inside || user.way.granted == approach.junction;
        if !has_grant {
            stop(approach.stop_m());
        }
        for (lane, from_m) in user.path(map).take_while(|(_, from_m)| *from_m < LOOK_M) {
            let front_m = from_m - user.half_m.0;
            let can_stop = |distance_m: f32, hardest_mps2: f32| {
                distance_m > -BEFORE_LINE_M
                    && speed_mps * speed_mps <= 2.0 * hardest_mps2 * distance_m.max(0.1)
            };
            for line in map
                .stop_lines(lane)
                .iter()
                .filter(|line| line.onto.is_none())
            {
                let is_closed = line
                    .light
                    .is_some_and(|light| self.clock.shows(&light) != LightState::Green);
                if is_closed && can_stop(front_m + line.s_m, CROSSWALK_MPS2) {
                    stop(front_m + line.s_m);
                }
            }
            for crossing in map.crossings(lane) {
                for walker in walkers
                    .iter()
                    .filter(|walker| walker.is_crossing(crossing.crosswalk))
                {
                    let shift_m = walker.along_lane_m(map, lane, crossing.from_m);
                    let before_m = front_m + crossing.from_m - 1.0 + shift_m;
                    if can_stop(before_m, CROSSWALK_MPS2) {
                        stop(before_m);
                    }
                }
            }
        }
        acceleration
    }

    /// The speed that bends and limits on the way allow.
    fn desired_mps(&self, user: &User, own_mps: f32) -> f32 {
        let pace = &self.network.pace;
        let mut desired_mps = own_mps.min(pace.speed_mps(user.lane, user.s_m));
        for (lane, from_m) in user.path(&self.network.map).skip(1) {
            if from_m > LOOK_M {
                break;
            }
            desired_mps = desired_mps.min(eased_mps(pace.speed_mps(lane, 0.0), from_m));
        }
        desired_mps
    }

    /// Whether a vehicle is free to change lanes, and far enough from junctions and the lane's ends.
    pub(super) fn has_room_to_change(&self, vehicle: &Vehicle, approach: &Approach) -> bool {
        let length_m = self.network.map.lanes()[vehicle.lane as usize].length_m;
        vehicle.change_done >= 1.0
            && self.now_s >= vehicle.brake_until_s
            && approach.edge_m >= CHANGE_ROOM_M.0
            && !approach.is_inside
            && vehicle.s_m >= CHANGE_ROOM_M.1
            && length_m - vehicle.s_m >= CHANGE_ROOM_M.0
    }

    /// Changes lanes as wished, if there is room; whether it did. Whoever cuts in on the ego doesn't mind it.
    fn change_lane(
        &self,
        users: &mut Users,
        who: usize,
        vehicle: &mut Vehicle,
        way: &mut Way,
        approach: &Approach,
        cuts_in: bool,
    ) -> bool {
        let map = &*self.network.map;
        if !self.has_room_to_change(vehicle, approach) {
            return false;
        }
        let Some((target, side)) = wanted_lane(map, vehicle.lane, vehicle.wish) else {
            vehicle.wish = 0;
            return false;
        };
        let marks = map.markings(vehicle.lane, vehicle.s_m);
        let is_permitted = if side < 0 {
            marks.left_permits_change
        } else {
            marks.right_permits_change
        };
        let there_m = map.abreast(vehicle.lane, vehicle.s_m, target);
        if !is_permitted || !self.accepts(users, who, target, there_m, cuts_in) {
            return false;
        }
        let apart_m = 0.5 * (vehicle.lane_width_m + map.sample(target, there_m).width_m);
        vehicle.change_from_m = vehicle.lateral_m - f32::from(side) * apart_m;
        vehicle.lateral_m = vehicle.change_from_m;
        vehicle.change_done = 0.0;
        (vehicle.lane, vehicle.s_m, vehicle.wish) = (target, there_m, 0);
        way.forget();
        way.extend(map, target, there_m, self.stream, who);
        users.enter(who, target, there_m);
        true
    }

    /// Whether nobody on the lane, or about to come onto it, would have to brake hard.
    fn accepts(&self, users: &Users, who: usize, lane: LaneIndex, s_m: f32, cuts_in: bool) -> bool {
        let map = &*self.network.map;
        let slot = |user: &User, station_m: f32| {
            let place = InLane {
                rank: 0,
                lateral_m: 0.0,
                width_m: 3.5,
                curvature_per_m: 0.0,
            };
            Slot::new(station_m, user.speed_mps, user.half_m, place)
        };
        let own = slot(&users.all()[who], s_m);
        let fits = |other: usize, place_m: f32| {
            if cuts_in && users.ego() == Some(other) {
                return true;
            }
            let other = slot(&users.all()[other], place_m);
            self.tuning.idm.accepts_gap(&own, &other)
        };
        let [mut ahead, mut behind] = users.around(who, lane, s_m);
        let here = &map.lanes()[lane as usize];
        if ahead.is_none() {
            let next = here.successors.iter();
            let first = next.filter_map(|next| users.around(who, *next, f32::NEG_INFINITY)[0]);
            let nearest = first.min_by(|a, b| a.1.total_cmp(&b.1));
            ahead = nearest.map(|(other, place_m)| (other, here.length_m + place_m));
        }
        if behind.is_none() {
            let from_m = |lane: LaneIndex| -map.lanes()[lane as usize].length_m;
            let last = here.predecessors.iter().filter_map(|before| {
                let (other, place_m) = users.around(who, *before, f32::INFINITY)[1]?;
                Some((other, from_m(*before) + place_m))
            });
            behind = last.max_by(|a, b| a.1.total_cmp(&b.1));
        }
        let is_free = |other: Option<(usize, f32)>| other.is_none_or(|(who, at_m)| fits(who, at_m));
        is_free(ahead) && is_free(behind)
    }

    fn roll(&self, who: usize, vehicle: &mut Vehicle, way: &mut Way) {
        let map = &*self.network.map;
        let before_mps = vehicle.speed_mps;
        vehicle.speed_mps = (before_mps + vehicle.acceleration_mps2 * self.step_s).max(0.0);
        let lateral_rate_mps = vehicle.slide(self.tuning, self.step_s);
        vehicle.s_m += 0.5 * (before_mps + vehicle.speed_mps) * self.step_s;
        loop {
            let length_m = map.lanes()[vehicle.lane as usize].length_m;
            if vehicle.s_m <= length_m {
                break;
            }
            let Some(next) = way.next(vehicle.lane) else {
                vehicle.is_gone = true;
                way.forget();
                return;
            };
            vehicle.s_m -= length_m;
            vehicle.lane = next;
            if map.junction_of(next).is_some() {
                way.has_stopped = false;
            }
        }
        way.extend(map, vehicle.lane, vehicle.s_m, self.stream, who);
        vehicle.settle(map, lateral_rate_mps);
    }

    /// Brings a vehicle that has left the map back at one of its entries, as soon as there is room.
    fn come_in(&self, users: &mut Users, who: usize, vehicle: &mut Vehicle, way: &mut Way) {
        let network = self.network;
        let mut stream = Stream::new(self.stream, Purpose::Way, who as u64, u64::from(way.turns));
        let Some(&lane) = network
            .entries
            .get(stream.below(network.entries.len() as u32) as usize)
        else {
            return;
        };
        way.turns = way.turns.wrapping_add(1);
        let s_m = vehicle.half_extents_m().0;
        let [ahead, behind] = users.around(who, lane, s_m);
        let room_m = ahead.map_or(f32::INFINITY, |(_, at_m)| at_m - s_m);
        if room_m < ENTRY_ROOM_M || behind.is_some() {
            return;
        }
        (vehicle.lane, vehicle.s_m, vehicle.is_gone) = (lane, s_m, false);
        (vehicle.lateral_m, vehicle.change_done) = (0.0, 1.0);
        (vehicle.wish, vehicle.acceleration_mps2) = (0, 0.0);
        let pace_mps = network.pace.speed_mps(lane, s_m);
        vehicle.speed_mps = vehicle
            .desired_mps
            .min(pace_mps)
            .min(eased_mps(0.0, room_m - ENTRY_ROOM_M));
        let turns = way.turns;
        *way = Way {
            turns,
            ..Way::default()
        };
        way.extend(&network.map, lane, s_m, self.stream, who);
        vehicle.settle(&network.map, 0.0);
        users.enter(who, lane, s_m);
    }
}

/// The ego as a road user: its way is its route, as far as it goes.
pub fn ego_way(map: &RoadMap, route: &crate::route::Route, lane: LaneIndex, station_m: f32) -> Way {
    let mut way = Way::default();
    let before = map.lanes()[lane as usize].predecessors.iter().copied();
    let near = route.between(station_m - 40.0, station_m).1;
    way.last = before
        .clone()
        .find(|before| near.iter().any(|piece| piece.lane == *before))
        .or_else(|| before.clone().next())
        .unwrap_or(NOWHERE);
    let mut end = lane;
    while usize::from(way.count) < way.ahead.len() {
        let next = route
            .takes(map, end, station_m)
            .or_else(|| crate::track::first_driving(map, &map.lanes()[end as usize].successors));
        let Some(next) = next else { break };
        way.ahead[usize::from(way.count)] = next;
        way.count += 1;
        end = next;
    }
    way
}

/// A vehicle with a random way, where it starts.
pub fn first_way(network: &Network, lane: LaneIndex, s_m: f32, seed: u64, vehicle: usize) -> Way {
    let mut way = Way::default();
    way.extend(&network.map, lane, s_m, seed, vehicle);
    way
}
