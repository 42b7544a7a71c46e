//! Who is on which lane: road users sorted by lane and place, so that neighbours are found by two searches
//! and not by looking at everybody.

use carla_online_roads::{ConflictKind, LaneIndex, RoadMap};

use super::way::{AHEAD, NOWHERE, Way};
use crate::config::MAX_VEHICLES;
use crate::traffic::Vehicle;

/// A box that reaches further than this over a line counts in the lane behind it too, metres.
const OVER_LINE_M: f32 = 0.1;
/// Leaders farther than this don't matter, metres.
const LOOK_AHEAD_M: f32 = 100.0;
/// Vehicles on other lanes of a junction matter up to here, metres.
const JUNCTION_LOOK_M: f32 = 45.0;
/// The ego is looked for beside its own lane within this distance, metres.
const EGO_LOOK_M: f32 = 30.0;
/// Everybody, the ego included.
pub const MOST_USERS: usize = MAX_VEHICLES + 1;
const MOST_MARKS: usize = 4 * MOST_USERS;

/// One road user on wheels.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// It is there at all.
    pub is_present: bool,
    /// Its lane.
    pub lane: LaneIndex,
    /// Place along the lane, metres.
    pub s_m: f32,
    /// Offset from the centre, metres, positive to the right.
    pub lateral_m: f32,
    /// Width of the lane there, metres.
    pub width_m: f32,
    /// Speed, m/s.
    pub speed_mps: f32,
    /// Half length and half width, metres.
    pub half_m: (f32, f32),
    /// Centre and heading.
    pub pose: [f32; 3],
    /// Its way.
    pub way: Way,
}

impl User {
    const ABSENT: Self = Self {
        is_present: false,
        lane: 0,
        s_m: 0.0,
        lateral_m: 0.0,
        width_m: 3.5,
        speed_mps: 0.0,
        half_m: (0.0, 0.0),
        pose: [0.0; 3],
        way: Way {
            last: NOWHERE,
            ahead: [NOWHERE; AHEAD],
            count: 0,
            granted: NOWHERE,
            asked_s: 0.0,
            has_stopped: false,
            turns: 0,
        },
    };

    /// A vehicle of the traffic with its way.
    pub fn of_vehicle(vehicle: &Vehicle, way: &Way) -> Self {
        Self {
            is_present: !vehicle.is_gone,
            lane: vehicle.lane,
            s_m: vehicle.s_m,
            lateral_m: vehicle.lateral_m,
            width_m: vehicle.lane_width_m,
            speed_mps: vehicle.speed_mps,
            half_m: vehicle.half_extents_m(),
            pose: [vehicle.x, vehicle.y, vehicle.yaw_rad],
            way: *way,
        }
    }

    /// The lane beside its own that its box reaches into, as in the first part of a lane change.
    fn reaches_into(&self, map: &RoadMap) -> Option<LaneIndex> {
        let room_m = 0.5 * self.width_m - self.half_m.1 + OVER_LINE_M;
        let here = &map.lanes()[self.lane as usize];
        if self.lateral_m > room_m {
            here.right
        } else if self.lateral_m < -room_m {
            here.left
        } else {
            None
        }
    }

    /// Lanes from the current one on, each with the distance from the centre to its start.
    pub fn path<'a>(&'a self, map: &'a RoadMap) -> impl Iterator<Item = (LaneIndex, f32)> + 'a {
        let mut from_m = -self.s_m;
        let lanes = std::iter::once(&self.lane).chain(self.way.lanes());
        lanes.map(move |&lane| {
            let here = (lane, from_m);
            from_m += map.lanes()[lane as usize].length_m;
            here
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    lane: LaneIndex,
    s_m: f32,
    who: u8,
}

/// Whoever is ahead.
#[derive(Debug, Clone, Copy)]
pub struct Leader {
    /// Bumper to bumper, metres.
    pub gap_m: f32,
    /// Its speed along the way, m/s.
    pub speed_mps: f32,
}

/// All users of a step. The ego, if there is one, comes last.
#[derive(Debug)]
pub struct Users {
    known: [User; MOST_USERS],
    count: usize,
    ego: Option<usize>,
    marks: [Mark; MOST_MARKS],
    marked: usize,
}

impl Users {
    /// Everybody who is on the road. `foreign` are others than the traffic, who go their own ways.
    pub fn new(
        map: &RoadMap,
        vehicles: &[Vehicle],
        ways: &[Way],
        foreign: &[User],
        ego: Option<User>,
    ) -> Self {
        let nothing = Mark {
            lane: 0,
            s_m: 0.0,
            who: 0,
        };
        let mut users = Self {
            known: [User::ABSENT; MOST_USERS],
            count: 0,
            ego: None,
            marks: [nothing; MOST_MARKS],
            marked: 0,
        };
        let traffic = vehicles.iter().zip(ways);
        let traffic = traffic.map(|(vehicle, way)| User::of_vehicle(vehicle, way));
        for user in traffic.chain(foreign.iter().copied()).take(MAX_VEHICLES) {
            users.known[users.count] = user;
            users.count += 1;
        }
        if let Some(ego) = ego {
            users.known[users.count] = ego;
            users.ego = Some(users.count);
            users.count += 1;
        }
        for who in 0..users.count {
            users.mark(map, who);
        }
        users.marks[..users.marked].sort_unstable_by_key(|mark| (mark.lane, mark.who));
        users.marks[..users.marked]
            .sort_by(|a, b| a.lane.cmp(&b.lane).then(a.s_m.total_cmp(&b.s_m)));
        users
    }

    /// All of them.
    pub fn all(&self) -> &[User] {
        &self.known[..self.count]
    }

    /// The ego's number.
    pub const fn ego(&self) -> Option<usize> {
        self.ego
    }

    /// Lets a junction's decision be seen by those who ask after it.
    pub fn set_way(&mut self, who: usize, way: &Way) {
        self.known[who].way = *way;
    }

    fn push(&mut self, lane: LaneIndex, s_m: f32, who: usize) {
        if self.marked < MOST_MARKS {
            self.marks[self.marked] = Mark {
                lane,
                s_m,
                who: who as u8,
            };
            self.marked += 1;
        }
    }

    /// Marks a user in every lane that its box reaches into.
    fn mark(&mut self, map: &RoadMap, who: usize) {
        let user = self.known[who];
        if !user.is_present {
            return;
        }
        self.push(user.lane, user.s_m, who);
        if let Some(beside) = user.reaches_into(map) {
            self.push(beside, map.abreast(user.lane, user.s_m, beside), who);
        }
        if user.s_m < user.half_m.0 && user.way.last != NOWHERE {
            let length_m = map.lanes()[user.way.last as usize].length_m;
            self.push(user.way.last, length_m + user.s_m, who);
        }
    }

    /// Puts a user who has just come onto a lane in its place there.
    pub fn enter(&mut self, who: usize, lane: LaneIndex, s_m: f32) {
        let at =
            self.marks[..self.marked].partition_point(|mark| (mark.lane, mark.s_m) < (lane, s_m));
        let before = self.marked;
        self.push(lane, s_m, who);
        if self.marked > before {
            self.marks[at..self.marked].rotate_right(1);
        }
        let user = &mut self.known[who];
        (user.lane, user.s_m, user.is_present) = (lane, s_m, true);
    }

    fn on(&self, lane: LaneIndex) -> &[Mark] {
        let marks = &self.marks[..self.marked];
        let first = marks.partition_point(|mark| mark.lane < lane);
        let count = marks[first..].partition_point(|mark| mark.lane == lane);
        &marks[first..first + count]
    }

    /// The nearest before and behind a place on a lane, others than `who`: number and place.
    pub fn around(&self, who: usize, lane: LaneIndex, s_m: f32) -> [Option<(usize, f32)>; 2] {
        let others = || {
            self.on(lane)
                .iter()
                .filter(|mark| usize::from(mark.who) != who)
        };
        let told = |mark: &Mark| (usize::from(mark.who), mark.s_m);
        [
            others().find(|mark| mark.s_m > s_m).map(told),
            others().rev().find(|mark| mark.s_m <= s_m).map(told),
        ]
    }

    /// The nearest ahead of a user along its way.
    pub fn leader(&self, map: &RoadMap, who: usize) -> Option<Leader> {
        let own = &self.known[who];
        let mut best: Option<Leader> = None;
        let mut offer = |leader: Leader| {
            if best.is_none_or(|known| leader.gap_m < known.gap_m) {
                best = Some(leader);
            }
        };
        self.on_the_lane_it_leaves(map, who, &mut offer);
        for (step, (lane, from_m)) in own.path(map).enumerate() {
            if from_m > LOOK_AHEAD_M {
                break;
            }
            let least_m = if step == 0 {
                own.s_m
            } else {
                f32::NEG_INFINITY
            };
            let direct = self
                .on(lane)
                .iter()
                .find(|mark| usize::from(mark.who) != who && mark.s_m > least_m);
            if let Some(mark) = direct {
                offer(self.led_by(own, mark.who, from_m + mark.s_m));
            }
            if from_m < JUNCTION_LOOK_M && map.junction_of(lane).is_some() {
                self.beside_in_junction(map, who, (lane, from_m), &mut offer);
            }
            if step < 3 {
                self.ego_across(map, who, (lane, from_m), &mut offer);
            }
            if direct.is_some() {
                break;
            }
        }
        best
    }

    /// Whoever is ahead on a lane that the user's box still reaches into, as long as the two boxes are in line.
    fn on_the_lane_it_leaves(&self, map: &RoadMap, who: usize, offer: &mut impl FnMut(Leader)) {
        let own = &self.known[who];
        let Some(lane) = own.reaches_into(map) else {
            return;
        };
        let at_m = map.abreast(own.lane, own.s_m, lane);
        let apart_m = 0.5 * (own.width_m + map.sample(lane, at_m).width_m);
        let ahead = self.on(lane).iter().find(|mark| {
            let other = &self.known[usize::from(mark.who)];
            let across_m = apart_m.copysign(own.lateral_m) + other.lateral_m - own.lateral_m;
            usize::from(mark.who) != who
                && mark.s_m > at_m
                && other.lane == lane
                && across_m.abs() < own.half_m.1 + other.half_m.1 + OVER_LINE_M
        });
        if let Some(mark) = ahead {
            offer(self.led_by(own, mark.who, mark.s_m - at_m));
        }
    }

    fn led_by(&self, own: &User, who: u8, distance_m: f32) -> Leader {
        let other = &self.known[usize::from(who)];
        Leader {
            gap_m: distance_m - own.half_m.0 - other.half_m.0,
            speed_mps: other.speed_mps,
        }
    }

    /// Those who have just parted from the way, and those who are about to join it.
    fn beside_in_junction(
        &self,
        map: &RoadMap,
        who: usize,
        (lane, from_m): (LaneIndex, f32),
        offer: &mut impl FnMut(Leader),
    ) {
        let own = &self.known[who];
        for conflict in map.conflicts(lane) {
            if conflict.kind == ConflictKind::Cross {
                continue;
            }
            for mark in self.on(conflict.other) {
                let other = &self.known[usize::from(mark.who)];
                if usize::from(mark.who) == who || own.lane == conflict.other {
                    continue;
                }
                let (is_there, place_m) = if conflict.kind == ConflictKind::Diverge {
                    let is_there = mark.s_m - other.half_m.0 < conflict.other_m.1;
                    (is_there, conflict.own_m.0 + mark.s_m - conflict.other_m.0)
                } else {
                    let is_there = mark.s_m + other.half_m.0 > conflict.other_m.0;
                    (is_there, conflict.own_m.1 + mark.s_m - conflict.other_m.1)
                };
                if is_there && from_m + place_m > 0.0 {
                    offer(self.led_by(own, mark.who, from_m + place_m));
                }
            }
        }
    }

    /// The ego may stand or drive where no lane leads: whoever finds its box in the way brakes for it.
    fn ego_across(
        &self,
        map: &RoadMap,
        who: usize,
        (lane, from_m): (LaneIndex, f32),
        offer: &mut impl FnMut(Leader),
    ) {
        let Some(number) = self.ego.filter(|&ego| ego != who) else {
            return;
        };
        let (own, ego) = (&self.known[who], &self.known[number]);
        let (dx, dy) = (ego.pose[0] - own.pose[0], ego.pose[1] - own.pose[1]);
        if dx * dx + dy * dy > EGO_LOOK_M * EGO_LOOK_M {
            return;
        }
        let guess_m = (-from_m).max(0.0);
        let at = map.project(lane, ego.pose[0], ego.pose[1], guess_m);
        let sample = map.sample(lane, at.s_m);
        let (sin, cos) = libm::sincosf(ego.pose[2] - sample.pose.yaw_rad);
        let across_m = ego.half_m.0 * sin.abs() + ego.half_m.1 * cos.abs();
        let along_m = ego.half_m.0 * cos.abs() + ego.half_m.1 * sin.abs();
        let is_inside = at.s_m > 0.0 && at.s_m < map.lanes()[lane as usize].length_m;
        let distance_m = from_m + at.s_m;
        if is_inside && distance_m > 0.0 && at.lateral_m.abs() < across_m + own.half_m.1 + 0.2 {
            offer(Leader {
                gap_m: distance_m - own.half_m.0 - along_m,
                speed_mps: (ego.speed_mps * cos).max(0.0),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carla_online_roads::{MapKind, MapSpec};

    /// Both stand on neighbouring lanes, the other one 6 m ahead; how far apart their bumpers are, if one leads.
    fn gap_m(lateral_m: f32) -> Option<f32> {
        let text = MapSpec::new(MapKind::Highway, 0).to_xodr().unwrap();
        let map = RoadMap::parse(&text).unwrap();
        let lanes = map.lanes();
        let lane = (0..lanes.len())
            .find(|lane| lanes[*lane].left.is_some() && lanes[*lane].length_m > 150.0)
            .unwrap();
        let beside = lanes[lane].left.unwrap();
        let own = User {
            is_present: true,
            lane: lane as LaneIndex,
            s_m: 100.0,
            lateral_m,
            width_m: map.sample(lane as LaneIndex, 100.0).width_m,
            half_m: (2.45, 0.92),
            ..User::ABSENT
        };
        let other = User {
            lane: beside,
            s_m: map.abreast(own.lane, 106.0, beside),
            lateral_m: 0.0,
            ..own
        };
        let users = Users::new(&map, &[], &[], &[own, other], None);
        users.leader(&map, 0).map(|leader| leader.gap_m)
    }

    #[test]
    fn who_changes_lanes_follows_on_the_old_one_until_it_is_clear_of_it() {
        for lateral_m in [-2.9, -2.0] {
            assert!((gap_m(lateral_m).unwrap() - 1.1).abs() < 0.1);
        }
        // Over the line still, but past the other's side; and in the middle of the new lane.
        for lateral_m in [-1.3, 0.0] {
            assert_eq!(gap_m(lateral_m), None);
        }
    }
}
