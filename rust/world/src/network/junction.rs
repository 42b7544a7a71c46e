//! Who may drive into a junction.
//!
//! A vehicle asks when it would have to start braking for the line, and goes on only with a grant. A grant is
//! given when nobody who is in the junction, or has a grant for it, has still to clear a stretch that the two
//! ways share; when nobody of higher rank would arrive before the way is clear again; and when there is room behind
//! the junction. Nobody waits inside, so vehicles can't lock each other. A grant is taken back only by a light, as long
//! as the vehicle can stop.
//!
//! Rank: lights and uncontrolled ways before give-way before stop signs; of equal ranks a left turn after the
//! others, then whoever has asked first. Who has waited long no longer yields, and stops newcomers.

use carla_online_roads::{ConflictKind, LaneIndex, Light, RightOfWay, RoadMap, RoadOption};

use super::users::{MOST_USERS, User, Users};
use super::way::{NOWHERE, Way};
use crate::lights::Clock;
use crate::observe::LightState;
use crate::signals::governing;
use crate::traffic::{Adversaries, NEVER_S};

/// Junctions farther than this don't matter yet, metres.
const HORIZON_M: f32 = 75.0;
/// A vehicle that needn't brake harder than this for a light stops, m/s2.
const STOP_MPS2: f32 = 3.5;
/// Deceleration with which the point to ask is reckoned, m/s2.
const ASK_MPS2: f32 = 2.0;
/// An ego that would have to brake harder than this is expected to come, m/s2.
const COMING_MPS2: f32 = 3.0;
/// Deceleration that is expected of the vehicle behind the junction, m/s2.
const ROOM_MPS2: f32 = 4.0;
/// Time between two vehicles in one place, seconds.
const MARGIN_S: f32 = 1.5;
/// Who has waited longer no longer yields to equals, seconds.
const PATIENCE_S: f32 = 20.0;
/// Vehicles in a junction are reckoned to drive this fast at least, m/s.
const CROSSING_MPS: f32 = 4.0;

/// How a user stands with the first junction on its way, or the one it is in.
#[derive(Debug, Clone, Copy)]
pub struct Approach {
    /// The junction; [`NOWHERE`] if none is near.
    pub junction: u32,
    /// It is in the junction.
    pub is_inside: bool,
    /// From the front to the line where it has to stop, metres; negative beyond it.
    pub line_m: f32,
    /// From the front to the junction's edge, metres.
    pub edge_m: f32,
    /// From the centre to the junction's end, metres.
    pub exit_m: f32,
    /// What it has to obey.
    pub rule: RightOfWay,
    /// The light, where the rule is one.
    pub light: Option<Light>,
    /// It turns left.
    pub turns_left: bool,
}

impl Approach {
    /// No junction near.
    pub const NONE: Self = Self {
        junction: NOWHERE,
        is_inside: false,
        line_m: f32::INFINITY,
        edge_m: f32::INFINITY,
        exit_m: f32::INFINITY,
        rule: RightOfWay::Uncontrolled,
        light: None,
        turns_left: false,
    };

    /// Looks along the way of a user.
    pub fn of(map: &RoadMap, user: &User) -> Self {
        let mut approach = Self::NONE;
        let mut before: Option<(LaneIndex, f32)> = None;
        for (lane, from_m) in user.path(map) {
            let junction = map.junction_of(lane).unwrap_or(NOWHERE);
            if approach.junction == NOWHERE && junction != NOWHERE {
                approach.junction = junction;
                approach.is_inside = before.is_none();
                approach.edge_m = from_m - user.half_m.0;
                approach.line_m = approach.edge_m;
                if let Some((last, last_from_m)) = before
                    && let Some(line) = governing(map, last, Some(lane))
                {
                    approach.line_m = last_from_m + line.s_m - user.half_m.0;
                    approach.rule = line.rule;
                    approach.light = line.light;
                    approach.turns_left = line.turn == RoadOption::Left;
                }
            }
            if approach.junction != NOWHERE {
                if junction != approach.junction {
                    approach.exit_m = from_m;
                    return approach;
                }
            } else if from_m > HORIZON_M {
                break;
            }
            approach.exit_m = from_m + map.lanes()[lane as usize].length_m;
            before = Some((lane, from_m));
        }
        approach
    }

    /// Where a vehicle without a grant stops: at the line, or at the edge if it is past the line.
    pub fn stop_m(&self) -> f32 {
        if self.line_m > -0.5 {
            self.line_m
        } else {
            self.edge_m
        }
    }

    fn rank(&self) -> u8 {
        match self.rule {
            RightOfWay::Uncontrolled | RightOfWay::Light => 0,
            RightOfWay::Yield => 1,
            RightOfWay::Stop => 2,
        }
    }
}

/// What the decisions of a step are made from.
pub struct Court<'a> {
    /// The map.
    pub map: &'a RoadMap,
    /// The lights.
    pub clock: Clock<'a>,
    /// Everybody's approach, in the order of the users.
    pub approaches: &'a [Approach],
    /// Who runs red lights.
    pub adversaries: &'a Adversaries,
    /// The episode's seed.
    pub seed: u64,
    /// Time, seconds.
    pub now_s: f32,
}

impl Court<'_> {
    /// Gives and takes grants. `ways` are those of the vehicles; the ego asks nobody.
    pub fn decide(&self, users: &mut Users, ways: &mut [Way]) {
        let mut asking = [0_u8; MOST_USERS];
        let mut count = 0;
        for (who, way) in ways.iter_mut().enumerate() {
            let user = users.all()[who];
            if user.is_present && self.prepare(&user, who, way) {
                asking[count] = who as u8;
                count += 1;
            }
            users.set_way(who, way);
        }
        let asking = &mut asking[..count];
        asking.sort_unstable_by(|&a, &b| {
            let since = |who: u8| ways[usize::from(who)].asked_s;
            since(a).total_cmp(&since(b)).then(a.cmp(&b))
        });
        for &who in asking.iter() {
            let who = usize::from(who);
            if self.may_go(users, who) {
                let way = &mut ways[who];
                (way.granted, way.asked_s) = (self.approaches[who].junction, NEVER_S);
                users.set_way(who, way);
            }
        }
    }

    /// Brings a vehicle's standing up to date; whether it asks now.
    fn prepare(&self, user: &User, who: usize, way: &mut Way) -> bool {
        let approach = &self.approaches[who];
        if approach.junction == NOWHERE || approach.is_inside {
            way.asked_s = NEVER_S;
            if approach.junction != way.granted {
                way.granted = NOWHERE;
            }
            return false;
        }
        let (speed_mps, stop_m) = (user.speed_mps, approach.stop_m());
        if approach.rule == RightOfWay::Stop && speed_mps < 0.3 && stop_m < 3.0 {
            way.has_stopped = true;
        }
        if way.granted == approach.junction {
            let can_stop =
                stop_m > 0.2 && speed_mps * speed_mps <= 2.0 * STOP_MPS2 * (stop_m - 0.2);
            if can_stop && !self.is_open(who) {
                way.granted = NOWHERE;
            }
            return false;
        }
        way.granted = NOWHERE;
        let ask_m = speed_mps * speed_mps / (2.0 * ASK_MPS2) + 0.5 * speed_mps + 4.0;
        if approach.stop_m() > ask_m {
            way.asked_s = NEVER_S;
            return false;
        }
        way.asked_s = way.asked_s.min(self.now_s);
        true
    }

    fn is_green(&self, approach: &Approach) -> bool {
        let light = approach
            .light
            .filter(|_| approach.rule == RightOfWay::Light);
        light.is_none_or(|light| self.clock.shows(&light) == LightState::Green)
    }

    /// Whether a user takes the way in for open: the light is green, or it doesn't care.
    fn is_open(&self, who: usize) -> bool {
        self.is_green(&self.approaches[who]) || self.adversaries.runs_lights(self.seed, who)
    }

    /// Rules and room of its own: what doesn't depend on the others' ways.
    fn is_ready(&self, users: &Users, who: usize) -> bool {
        let (user, approach) = (&users.all()[who], &self.approaches[who]);
        self.is_open(who)
            && (approach.rule != RightOfWay::Stop || user.way.has_stopped)
            && has_room(self.map, users, who, approach.exit_m)
    }

    fn may_go(&self, users: &Users, who: usize) -> bool {
        if !self.is_ready(users, who) {
            return false;
        }
        let own = self.approaches[who];
        let user = &users.all()[who];
        let waited = |user: &User| (self.now_s - user.way.asked_s).max(0.0) > PATIENCE_S;
        let is_impatient = waited(user);
        let clear_s = own.exit_m / user.speed_mps.max(CROSSING_MPS) + MARGIN_S;
        for (number, other) in users.all().iter().enumerate() {
            if number == who || !other.is_present {
                continue;
            }
            let theirs = &self.approaches[number];
            let is_ego = users.ego() == Some(number);
            if self.is_in_the_way(user, &own, other, theirs, is_ego) {
                return false;
            }
            if theirs.junction != own.junction
                || theirs.is_inside
                || other.way.granted == own.junction
                || !self.is_green(theirs)
                || (theirs.rule == RightOfWay::Stop && !other.way.has_stopped)
                || !self.ways_meet(user, other, own.junction)
            {
                continue;
            }
            let goes_first = theirs.rank() < own.rank()
                || (theirs.rank() == own.rank() && own.turns_left && !theirs.turns_left);
            let arrives_s = theirs.edge_m.max(0.0) / other.speed_mps.max(0.1);
            if goes_first && !is_impatient && arrives_s < clear_s {
                return false;
            }
            let is_overdue = waited(other) && other.way.asked_s < user.way.asked_s;
            if is_overdue && !is_ego && self.is_ready(users, number) {
                return false;
            }
        }
        true
    }

    /// Whether another user is in the junction, or sure to be, and has still to clear a stretch of the way.
    fn is_in_the_way(
        &self,
        user: &User,
        own: &Approach,
        other: &User,
        theirs: &Approach,
        is_ego: bool,
    ) -> bool {
        let junction = own.junction;
        let map = self.map;
        let in_it = |lane: LaneIndex| lane != NOWHERE && map.junction_of(lane) == Some(junction);
        if in_it(other.way.last) && other.s_m < other.half_m.0 {
            let at_m = map.lanes()[other.way.last as usize].length_m + other.s_m;
            if self.meets(user, junction, other.way.last, at_m - other.half_m.0) {
                return true;
            }
        }
        if theirs.junction != junction {
            return false;
        }
        let is_coming = is_ego
            && other.speed_mps * other.speed_mps > 2.0 * COMING_MPS2 * theirs.line_m.max(0.0);
        if !theirs.is_inside && other.way.granted != junction && !is_coming {
            return false;
        }
        other
            .path(map)
            .filter(|(lane, _)| in_it(*lane))
            .any(|(lane, from_m)| self.meets(user, junction, lane, -from_m - other.half_m.0))
    }

    /// Whether a rear at a place of a junction lane has still to clear a stretch shared with the user's way.
    fn meets(&self, user: &User, junction: u32, lane: LaneIndex, rear_m: f32) -> bool {
        let own = user.path(self.map);
        own.filter(|(own, _)| self.map.junction_of(*own) == Some(junction))
            .any(|(own, _)| {
                self.map.conflicts(own).iter().any(|conflict| {
                    conflict.other == lane
                        && conflict.kind != ConflictKind::Diverge
                        && rear_m < conflict.other_m.1
                })
            })
    }

    fn ways_meet(&self, user: &User, other: &User, junction: u32) -> bool {
        other
            .path(self.map)
            .filter(|(lane, _)| self.map.junction_of(*lane) == Some(junction))
            .any(|(lane, _)| self.meets(user, junction, lane, f32::NEG_INFINITY))
    }
}

/// Whether the vehicle would find room behind the junction even if the one ahead braked now.
fn has_room(map: &RoadMap, users: &Users, who: usize, exit_m: f32) -> bool {
    let user = &users.all()[who];
    users.leader(map, who).is_none_or(|leader| {
        let stops_m = leader.speed_mps * leader.speed_mps / (2.0 * ROOM_MPS2);
        user.half_m.0 + leader.gap_m + stops_m > exit_m + 2.0 * user.half_m.0 + 1.0
    })
}
