//! Room ahead and behind in the left, the own and the right lane.
//!
//! Without these a small network hardly learns to overtake: the nearest vehicles alone say where
//! others are, not where room is.

use carla_online_roads::{LaneIndex, LanePoint};

use super::layout::{GAP_AHEAD_M, GAP_BEHIND_M, LANE_GAPS, RELATIVE_CAP, RELATIVE_MPS};
use super::{ActorKind, ActorPose, ActorView, Observation, Place, SIGHT_M};
use crate::track::first_driving;

/// A box that reaches further than this over a line counts in the lane behind it too, metres.
const OVER_LINE_M: f32 = 0.1;
/// Lanes followed ahead and behind.
const CHAIN: usize = 6;

/// Lanes one behind the other, each with its distance from the ego at its own start.
#[derive(Default)]
struct Chain {
    lanes: [(LaneIndex, f32); 2 * CHAIN + 1],
    count: usize,
}

impl Chain {
    /// The lanes within sight ahead of and behind a place: those of the route where it goes on there.
    fn around(view: &ActorView, lane: LaneIndex, s_m: f32) -> Self {
        let map = view.map;
        let mut chain = Self::default();
        chain.push(lane, -s_m);
        let (mut next, mut from_m) = (lane, -s_m);
        for _ in 0..CHAIN {
            from_m += map.lanes()[next as usize].length_m;
            let next_lanes = &map.lanes()[next as usize].successors;
            let taken = view.route.takes(map, next, view.station_hint_m);
            let successor = taken
                .or_else(|| first_driving(map, next_lanes))
                .filter(|_| from_m < SIGHT_M);
            let Some(successor) = successor else {
                break;
            };
            chain.push(successor, from_m);
            next = successor;
        }
        let (mut last, mut from_m) = (lane, -s_m);
        for _ in 0..CHAIN {
            let last_lanes = &map.lanes()[last as usize].predecessors;
            let before = first_driving(map, last_lanes).filter(|_| from_m > -SIGHT_M);
            let Some(before) = before else {
                break;
            };
            from_m -= map.lanes()[before as usize].length_m;
            chain.push(before, from_m);
            last = before;
        }
        chain
    }

    fn push(&mut self, lane: LaneIndex, from_m: f32) {
        self.lanes[self.count] = (lane, from_m);
        self.count += 1;
    }

    /// Distance along the road from the ego to a place; `None` if the place isn't on these lanes.
    fn distance_m(&self, at: &LanePoint) -> Option<f32> {
        self.lanes[..self.count]
            .iter()
            .find(|(lane, _)| *lane == at.lane)
            .map(|(_, from_m)| from_m + at.s_m)
    }
}

/// Nearest vehicle in one direction: gap and speed relative to the ego.
#[derive(Clone, Copy)]
struct Nearest {
    gap_m: f32,
    relative_mps: f32,
}

const NOBODY: Nearest = Nearest {
    gap_m: f32::INFINITY,
    relative_mps: 0.0,
};

pub(super) fn lane_gaps(view: &ActorView, place: &Place, out: &mut Observation) {
    let own = &view.map.lanes()[place.at.lane as usize];
    let chains = [own.left, Some(place.at.lane), own.right].map(|lane| {
        let lane = lane?;
        let s_m = if lane == place.at.lane {
            place.at.s_m
        } else {
            view.map.abreast(place.at.lane, place.at.s_m, lane)
        };
        Some(Chain::around(view, lane, s_m))
    });
    let mut found = [[NOBODY; 2]; 3];
    for actor in view
        .actors
        .iter()
        .filter(|actor| actor.kind == ActorKind::Vehicle)
    {
        let (dx, dy) = (actor.x - view.ego.x, actor.y - view.ego.y);
        if dx * dx + dy * dy <= SIGHT_M * SIGHT_M {
            enter(view, actor, &chains, &mut found);
        }
    }
    for (lane, chain) in chains.iter().enumerate() {
        if chain.is_some() {
            let start = LANE_GAPS + 4 * lane;
            write(found[lane][0], GAP_AHEAD_M, &mut out[start..start + 2]);
            write(found[lane][1], GAP_BEHIND_M, &mut out[start + 2..start + 4]);
        }
    }
}

/// Enters an actor into every lane that its box reaches into.
fn enter(
    view: &ActorView,
    actor: &ActorPose,
    chains: &[Option<Chain>; 3],
    found: &mut [[Nearest; 2]; 3],
) {
    let map = view.map;
    let Some(at) = crate::track::track(
        map,
        actor.lane_hint,
        actor.x,
        actor.y,
        actor.z,
        actor.yaw_rad,
    ) else {
        return;
    };
    if map.junction_of(at.lane).is_some() {
        enter_in_junction(view, actor, chains, found);
        return;
    }
    let room_m = 0.5 * map.sample(at.lane, at.s_m).width_m - actor.half_extents_m.1 + OVER_LINE_M;
    let lane = &map.lanes()[at.lane as usize];
    let beside = if at.lateral_m > room_m {
        lane.right
    } else if at.lateral_m < -room_m {
        lane.left
    } else {
        None
    };
    let second = beside.map(|lane| LanePoint {
        lane,
        s_m: map.abreast(at.lane, at.s_m, lane),
        lateral_m: 0.0,
    });
    let speed_mps = (actor.velocity_mps.0 * actor.velocity_mps.0
        + actor.velocity_mps.1 * actor.velocity_mps.1)
        .sqrt();
    for (chain, lane_found) in chains.iter().zip(found) {
        let distance_m = chain.as_ref().and_then(|chain| {
            chain
                .distance_m(&at)
                .or_else(|| second.as_ref().and_then(|place| chain.distance_m(place)))
        });
        if let Some(distance_m) = distance_m {
            let reach_m = (actor.half_extents_m.0, view.ego.half_extents_m.0);
            meet(
                lane_found,
                distance_m,
                reach_m,
                speed_mps - view.ego.speed_mps,
            );
        }
    }
}

fn meet(found: &mut [Nearest; 2], distance_m: f32, reach_m: (f32, f32), relative_mps: f32) {
    let gap_m = distance_m.abs() - reach_m.0 - reach_m.1;
    let nearest = &mut found[usize::from(distance_m < 0.0)];
    if gap_m < nearest.gap_m {
        *nearest = Nearest {
            gap_m,
            relative_mps,
        };
    }
}

/// In a junction lanes lie over one another, so it counts whose box reaches into a lane, not which lane it follows;
/// whoever crosses comes nearer with the speed along the lane only.
fn enter_in_junction(
    view: &ActorView,
    actor: &ActorPose,
    chains: &[Option<Chain>; 3],
    found: &mut [[Nearest; 2]; 3],
) {
    let map = view.map;
    for (chain, lane_found) in chains.iter().zip(found) {
        let Some(chain) = chain else { continue };
        for &(lane, from_m) in &chain.lanes[..chain.count] {
            let length_m = map.lanes()[lane as usize].length_m;
            let first = map.sample(lane, 0.5 * length_m).pose;
            let (dx, dy) = (actor.x - first.x, actor.y - first.y);
            if map.junction_of(lane).is_none() || dx * dx + dy * dy > length_m * length_m {
                continue;
            }
            let at = map.project(lane, actor.x, actor.y, 0.5 * length_m);
            let sample = map.sample(lane, at.s_m);
            let turned_rad = actor.yaw_rad - sample.pose.yaw_rad;
            let (sin, cos) = libm::sincosf(turned_rad);
            let (half_m, half_width_m) = actor.half_extents_m;
            let across_m = half_m * sin.abs() + half_width_m * cos.abs();
            if at.lateral_m.abs() > 0.5 * sample.width_m + across_m - OVER_LINE_M
                || at.s_m <= 0.0
                || at.s_m >= length_m
            {
                continue;
            }
            let along_m = half_m * cos.abs() + half_width_m * sin.abs();
            let (lane_sin, lane_cos) = libm::sincosf(sample.pose.yaw_rad);
            let (vx, vy) = actor.velocity_mps;
            let speed_mps = vx * lane_cos + vy * lane_sin;
            let reach_m = (along_m, view.ego.half_extents_m.0);
            meet(
                lane_found,
                from_m + at.s_m,
                reach_m,
                speed_mps - view.ego.speed_mps,
            );
        }
    }
}

/// A gap beyond the cap counts as nobody; somebody alongside leaves no gap.
fn write(nearest: Nearest, scale_m: f32, out: &mut [f32]) {
    let gap = nearest.gap_m / scale_m;
    if gap < RELATIVE_CAP {
        out[0] = gap.max(0.0);
        out[1] = nearest.relative_mps / RELATIVE_MPS;
    } else {
        out[0] = RELATIVE_CAP;
        out[1] = 0.0;
    }
}
