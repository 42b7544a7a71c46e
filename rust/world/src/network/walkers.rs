//! People on foot: they stroll along the kerb beside a crosswalk, and now and then cross the road on it.
//!
//! They step onto the road when everybody who comes can still stop gently, and when the ego, of whom they expect
//! nothing, would arrive only after they are across. Vehicles stop for whoever is on the crosswalk.
//!
//! A jaywalker crosses where the stroll has led to, away from the junction, and steps out before vehicles, the ego
//! too, that have to brake for it.

use carla_online_roads::{LaneIndex, RoadMap};

use super::Network;
use super::drive::Step;
use super::users::Users;
use crate::rng::{Purpose, Stream};

/// Half the length and half the width of a walker in CARLA, metres.
pub const WALKER_HALF_M: (f32, f32) = (0.188, 0.188);
/// People wait and stroll this far from the kerb, metres.
const OFF_KERB_M: f32 = 1.0;
/// They stroll up to here along the road, metres.
const STROLL_M: f64 = 10.0;
/// A vehicle that needs no more than this stops for somebody who steps onto the road, m/s2.
const GENTLE_MPS2: f32 = 1.5;
/// A jaywalker steps out before vehicles that can still stop with this, m/s2.
const JAYWALK_MPS2: f32 = 4.0;
/// Jaywalkers cross at least so far from the crosswalk and from the ends of lanes, metres.
const JAYWALK_OFF_M: f32 = 2.0;
/// Time between the ego and somebody on the road, seconds.
const MARGIN_S: f32 = 1.5;

/// What somebody is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// Walking along the road.
    Stroll = 0,
    /// Waiting at the kerb.
    Wait = 1,
    /// Walking across the road.
    Cross = 2,
}

/// One person on foot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Walker {
    /// The crosswalk.
    pub crosswalk: u32,
    /// What is being done, as a number of [`Doing`].
    pub doing: u8,
    /// On the side where the crosswalk's line ends, or walking towards it.
    pub is_far: bool,
    /// Place along the crosswalk's line, metres.
    pub along_m: f32,
    /// Place along the road, metres from the line.
    pub aside_m: f32,
    /// Where the stroll leads, metres from the line.
    pub target_m: f32,
    /// Speed when walking, m/s.
    pub pace_mps: f32,
    /// Until when the stroll goes on, seconds.
    pub until_s: f32,
    /// Random numbers used up so far.
    pub draws: u32,
    /// Place in the plane, metres.
    pub x: f32,
    /// Place in the plane, metres.
    pub y: f32,
    /// Height, metres.
    pub z: f32,
    /// Heading, radians.
    pub yaw_rad: f32,
    /// Speed now, m/s.
    pub speed_mps: f32,
}

impl Walker {
    /// Somebody at a crosswalk, where the episode's seed has put them.
    pub fn start(
        map: &RoadMap,
        crosswalk: u32,
        speed_mps: [f64; 2],
        pause_s: f64,
        seed: u64,
        index: usize,
    ) -> Self {
        let mut stream = Stream::new(seed, Purpose::Walker, index as u64, 0);
        let is_far = stream.below(2) == 1;
        let mut walker = Self {
            crosswalk,
            doing: Doing::Stroll as u8,
            is_far,
            along_m: 0.0,
            aside_m: stream.between([-STROLL_M, STROLL_M]) as f32,
            target_m: stream.between([-STROLL_M, STROLL_M]) as f32,
            pace_mps: stream.between(speed_mps) as f32,
            until_s: stream.exponential(pause_s) as f32,
            draws: 0,
            x: 0.0,
            y: 0.0,
            z: 0.0,
            yaw_rad: 0.0,
            speed_mps: 0.0,
        };
        walker.draws = stream.counter() as u32;
        walker.along_m = walker.kerb_m(&Line::new(map, crosswalk));
        walker.settle(map, 0.0, 0.0);
        walker
    }

    /// Whether they are on the road of a crosswalk.
    pub fn is_crossing(&self, crosswalk: u32) -> bool {
        self.crosswalk == crosswalk && self.doing == Doing::Cross as u8
    }

    /// How far along a lane, from where the crosswalk cuts it at `s_m`, they cross: 0 on the crosswalk, metres.
    pub fn along_lane_m(&self, map: &RoadMap, lane: LaneIndex, s_m: f32) -> f32 {
        if self.aside_m == 0.0 {
            return 0.0;
        }
        let [dx, dy] = Line::new(map, self.crosswalk).direction;
        let (sin, cos) = libm::sincosf(map.sample(lane, s_m).pose.yaw_rad);
        self.aside_m * (dx * sin - dy * cos)
    }

    /// Whether a crossing from here stays clear of the crosswalk, of junctions and of the ends of lanes.
    fn may_jaywalk(&self, network: &Network) -> bool {
        let map = &*network.map;
        self.aside_m.abs() >= JAYWALK_OFF_M
            && network.cuts_of(self.crosswalk).iter().all(|cut| {
                let s_m =
                    0.5 * (cut.from_m + cut.to_m) + self.along_lane_m(map, cut.lane, cut.from_m);
                let length_m = map.lanes()[cut.lane as usize].length_m;
                map.junction_of(cut.lane).is_none()
                    && s_m > JAYWALK_OFF_M
                    && s_m < length_m - JAYWALK_OFF_M
            })
    }

    fn kerb_m(&self, line: &Line) -> f32 {
        if self.is_far {
            line.length_m + OFF_KERB_M
        } else {
            -OFF_KERB_M
        }
    }

    /// Brings the pose up to date; the arguments are the speeds along the line and along the road, m/s.
    fn settle(&mut self, map: &RoadMap, along_mps: f32, aside_mps: f32) {
        let line = Line::new(map, self.crosswalk);
        let [dx, dy] = line.direction;
        self.x = line.start[0] + self.along_m * dx - self.aside_m * dy;
        self.y = line.start[1] + self.along_m * dy + self.aside_m * dx;
        self.z = line.start[2];
        let (vx, vy) = (
            along_mps * dx - aside_mps * dy,
            along_mps * dy + aside_mps * dx,
        );
        self.speed_mps = (vx * vx + vy * vy).sqrt();
        if self.speed_mps > 0.0 {
            self.yaw_rad = libm::atan2f(vy, vx);
        }
    }
}

/// A crosswalk's line: start, direction and length.
struct Line {
    start: [f32; 3],
    direction: [f32; 2],
    length_m: f32,
}

impl Line {
    fn new(map: &RoadMap, crosswalk: u32) -> Self {
        let [start, end] = map.crosswalks()[crosswalk as usize].walk;
        let (dx, dy) = (end[0] - start[0], end[1] - start[1]);
        let length_m = (dx * dx + dy * dy).sqrt().max(0.1);
        Self {
            start,
            direction: [dx / length_m, dy / length_m],
            length_m,
        }
    }
}

/// Moves everybody on foot by one step; `users` are those on wheels before it.
pub fn advance(step: &Step, users: &Users, walkers: &mut [Walker]) {
    let map = &*step.network.map;
    for (index, walker) in walkers.iter_mut().enumerate() {
        let reach_m = walker.pace_mps * step.step_s;
        let (mut along_mps, mut aside_mps) = (0.0, 0.0);
        if walker.doing == Doing::Stroll as u8 {
            let left_m = walker.target_m - walker.aside_m;
            if left_m.abs() > reach_m {
                aside_mps = walker.pace_mps.copysign(left_m);
                walker.aside_m += aside_mps * step.step_s;
            } else {
                walker.aside_m = walker.target_m;
                turn(step, walker, index);
            }
        } else if walker.doing == Doing::Wait as u8 {
            if may_cross(step, users, walker, index) {
                walker.doing = Doing::Cross as u8;
                walker.is_far = !walker.is_far;
            }
        } else {
            let left_m = walker.kerb_m(&Line::new(map, walker.crosswalk)) - walker.along_m;
            if left_m.abs() > reach_m {
                along_mps = walker.pace_mps.copysign(left_m);
                walker.along_m += along_mps * step.step_s;
            } else {
                walker.along_m += left_m;
                walker.doing = Doing::Stroll as u8;
                let mut stream = stream_of(step, walker, index);
                walker.target_m = stream.between([-STROLL_M, STROLL_M]) as f32;
                let pause_s = stream.exponential(step.walker_pause_s) as f32;
                walker.until_s = (step.now_s + pause_s).min(crate::traffic::NEVER_S);
                walker.draws = stream.counter() as u32;
            }
        }
        walker.settle(map, along_mps, aside_mps);
    }
}

fn stream_of(step: &Step, walker: &Walker, index: usize) -> Stream {
    let counter = u64::from(walker.draws);
    Stream::new(step.stream, Purpose::Walker, index as u64, counter)
}

/// At the end of a stroll: on to the next one, back to the crosswalk, or to its kerb.
fn turn(step: &Step, walker: &mut Walker, index: usize) {
    if step.now_s < walker.until_s {
        let mut stream = stream_of(step, walker, index);
        walker.target_m = stream.between([-STROLL_M, STROLL_M]) as f32;
        walker.draws = stream.counter() as u32;
    } else if walker.target_m == 0.0
        || (step.tuning.adversaries.jaywalks(step.seed, index) && walker.may_jaywalk(step.network))
    {
        walker.doing = Doing::Wait as u8;
    } else {
        walker.target_m = 0.0;
    }
}

fn may_cross(step: &Step, users: &Users, walker: &Walker, index: usize) -> bool {
    let network = step.network;
    let map = &*network.map;
    let length_m = Line::new(map, walker.crosswalk).length_m + 2.0 * OFF_KERB_M;
    let across_s = length_m / walker.pace_mps.max(0.1) + MARGIN_S;
    let cuts = network.cuts_of(walker.crosswalk);
    let jaywalks = walker.aside_m != 0.0 && step.tuning.adversaries.jaywalks(step.seed, index);
    users.all().iter().enumerate().all(|(number, user)| {
        let is_ego = users.ego() == Some(number);
        !user.is_present
            || user.path(map).all(|(lane, from_m)| {
                cuts.iter().filter(|cut| cut.lane == lane).all(|cut| {
                    let shift_m = walker.along_lane_m(map, lane, cut.from_m);
                    let front_m = from_m + cut.from_m + shift_m - user.half_m.0 - 1.0;
                    let rear_m = from_m + cut.to_m + shift_m + user.half_m.0;
                    let speed_mps = user.speed_mps;
                    let lets = if jaywalks {
                        front_m > -1.0 && front_m >= speed_mps * speed_mps / (2.0 * JAYWALK_MPS2)
                    } else if is_ego && speed_mps > 0.5 {
                        front_m > speed_mps * across_s
                    } else {
                        front_m > -1.0 && front_m >= speed_mps * speed_mps / (2.0 * GENTLE_MPS2)
                    };
                    rear_m < 0.0 || lets
                })
            })
    })
}
