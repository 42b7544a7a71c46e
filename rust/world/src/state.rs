//! The whole state of an episode: what a snapshot keeps.

use carla_online_roads::LanePoint;

use crate::dynamics::CarState;
use crate::network::{NOWHERE, Walker, Way};
use crate::score::Counts;
use crate::traffic::Vehicle;

/// The ego: its motion and where it is on the road.
#[derive(Debug, Clone, PartialEq)]
pub struct Ego {
    /// Motion.
    pub car: CarState,
    /// Height of the road under it, metres.
    pub z: f32,
    /// The lane it is in, or beside if it left the road.
    pub lane: u32,
    /// Place along that lane, metres.
    pub s_m: f32,
    /// Offset from its centre, metres, positive to the right.
    pub lateral_m: f32,
    /// Heading relative to the lane's, radians.
    pub heading_error_rad: f32,
    /// Station along the route, metres; never falls behind a wrong look-up.
    pub station_m: f32,
    /// The last executed action.
    pub action: [f32; 2],
}

impl Ego {
    /// Its place on the lane graph.
    pub const fn place(&self) -> LanePoint {
        LanePoint {
            lane: self.lane,
            s_m: self.s_m,
            lateral_m: self.lateral_m,
        }
    }
}

/// What soft reward factors remember: how long something still counts, or has lasted, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SoftMemory {
    /// A time to collision below the limit still counts for so long.
    pub ttc_left_s: f32,
    /// Discomfort still counts for so long: forward, backward, sideways.
    pub discomfort_left_s: [f32; 3],
    /// Off the lane's centre for so long.
    pub off_centre_s: f32,
}

/// Times to collision beyond this aren't told, seconds.
pub const LONGEST_TTC_S: f32 = 100.0;

/// How close and how rough the driving was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ease {
    /// Least time to collision with whoever was ahead so far, seconds, [`LONGEST_TTC_S`] at most.
    pub least_ttc_s: f32,
    /// How often the time to collision fell below 1 s.
    pub short_ttcs: i32,
    /// How often an acceleration became uncomfortable: forward, backward, sideways.
    pub discomforts: [i32; 3],
    /// The time to collision is below 1 s now.
    pub is_ttc_short: bool,
    /// These are uncomfortable now, one bit each.
    pub uncomfortable: u8,
}

impl Default for Ease {
    fn default() -> Self {
        Self {
            least_ttc_s: LONGEST_TTC_S,
            short_ttcs: 0,
            discomforts: [0; 3],
            is_ttc_short: false,
            uncomfortable: 0,
        }
    }
}

impl Ease {
    /// Takes in one step: the time to collision, whether it is short, and the excesses over comfort.
    pub fn note(&mut self, ttc_s: f32, is_ttc_short: bool, discomforts: &[f32; 3]) {
        self.least_ttc_s = self.least_ttc_s.min(ttc_s);
        self.short_ttcs += i32::from(is_ttc_short && !self.is_ttc_short);
        self.is_ttc_short = is_ttc_short;
        for (axis, excess) in discomforts.iter().enumerate() {
            let bit = 1 << axis;
            let was = self.uncomfortable & bit != 0;
            let is = *excess > 0.0;
            self.discomforts[axis] += i32::from(is && !was);
            self.uncomfortable = (self.uncomfortable & !bit) | if is { bit } else { 0 };
        }
    }
}

/// What the rules of a network remember.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// People who overlap the ego now, one bit each.
    pub walker_contacts: u64,
    /// The light under which the ego is entering a junction: its group, [`NOWHERE`] if none.
    pub light_group: u32,
    /// Its phase in the group.
    pub light_phase: u32,
    /// How far the rear still has to the junction's edge, metres.
    pub light_left_m: f32,
    /// The ego has stopped at the sign that it stands at.
    pub has_stopped: bool,
    /// The ego is outside of the lanes that lead along the route.
    pub is_outside: bool,
    /// The ego's last step led along a lane outside of junctions, or to the lane beside it: lines count.
    pub was_abreast: bool,
    /// Distance driven outside of them, metres.
    pub outside_m: f64,
    /// Distance driven well off the route, but not yet too far, metres.
    pub astray_m: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            walker_contacts: 0,
            light_group: NOWHERE,
            light_phase: 0,
            light_left_m: 0.0,
            has_stopped: false,
            is_outside: false,
            was_abreast: false,
            outside_m: 0.0,
            astray_m: 0.0,
        }
    }
}

/// What has been counted and summed since the start of the episode.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// Infractions.
    pub counts: Counts,
    /// Lane changes: the centre crossed a line.
    pub lane_changes: i32,
    /// Vehicles that overlap the ego now, one bit each.
    pub contacts: u64,
    /// The rank of the lane that each of the ego's corners lies in.
    pub corners: [i8; 4],
    /// The ego is faster than the limit allows.
    pub is_speeding: bool,
    /// The ego drives against its lane.
    pub is_wrong_way: bool,
    /// The ego's lane doesn't belong to the route.
    pub is_off_route: bool,
    /// How long the ego has been standing, seconds.
    pub standing_s: f32,
    /// What soft reward factors remember.
    pub soft: SoftMemory,
    /// How close and how rough it was.
    pub ease: Ease,
    /// What the rules of a network remember.
    pub rules: Rules,
    /// Distance travelled, metres.
    pub distance_m: f64,
    /// Simulation steps with traffic near.
    pub near_steps: u32,
    /// Sum of the own speed over those steps, m/s.
    pub own_speed_sum: f64,
    /// Sum of the traffic's mean speed over those steps, m/s.
    pub traffic_speed_sum: f64,
}

impl Tally {
    /// Own mean speed over the traffic's, both while traffic was near.
    pub fn min_speed_share(&self) -> Option<f64> {
        (self.near_steps > 0 && self.traffic_speed_sum > 0.0)
            .then(|| (self.own_speed_sum / self.traffic_speed_sum).min(1.0))
    }
}

/// How an episode stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// The route was driven to its end.
    pub finished: bool,
    /// A collision happened.
    pub collision: bool,
    /// The road was left.
    pub off_road: bool,
    /// The ego stood too long.
    pub blocked: bool,
    /// The time limit was reached.
    pub timed_out: bool,
    /// The route was left too far, or for too long.
    pub deviated: bool,
    /// An infraction happened on which the configuration ends an episode.
    pub infraction: bool,
}

impl Ending {
    /// The driving itself ended.
    pub const fn is_terminated(&self) -> bool {
        self.finished
            || self.collision
            || self.off_road
            || self.blocked
            || self.deviated
            || self.infraction
    }

    /// Only the time was over.
    pub const fn is_truncated(&self) -> bool {
        self.timed_out && !self.is_terminated()
    }
}

impl State {
    /// Becomes a copy of another state; what was allocated is used again.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self {
            seed,
            stream,
            frame,
            ego,
            vehicles,
            ways,
            walkers,
            tally,
            ending,
        } = self;
        (*seed, *stream, *frame) = (other.seed, other.stream, other.frame);
        ego.clone_from(&other.ego);
        vehicles.clone_from(&other.vehicles);
        ways.clone_from(&other.ways);
        walkers.clone_from(&other.walkers);
        tally.clone_from(&other.tally);
        *ending = other.ending;
    }
}

/// The state of an episode.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The episode's seed.
    pub seed: u64,
    /// The seed of what is still to be drawn: the episode's own, until a branch gets another.
    pub stream: u64,
    /// Simulation steps since the start.
    pub frame: u32,
    /// The ego.
    pub ego: Ego,
    /// The traffic.
    pub vehicles: Vec<Vehicle>,
    /// Its ways over a network, one for each vehicle; none on a chain.
    pub ways: Vec<Way>,
    /// People on foot.
    pub walkers: Vec<Walker>,
    /// Counters.
    pub tally: Tally,
    /// How it stands.
    pub ending: Ending,
}
