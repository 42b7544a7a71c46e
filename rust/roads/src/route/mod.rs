//! Routes over the lane graph, labelled as CARLA's `GlobalRoutePlanner` labels them.

mod points;
mod search;

pub use points::RoutePoint;

use crate::lane::LaneIndex;
use crate::map::RoadMap;
use crate::rules::turn_to;
use search::{Entry, Step};

/// Metres along the road that a lane change takes: CARLA's five waypoints at 2 m.
pub(crate) const CHANGE_LENGTH_M: f32 = 10.0;

/// What a stretch of a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoadOption {
    /// Stay on the lane.
    LaneFollow,
    /// Turn left at a junction.
    Left,
    /// Turn right at a junction.
    Right,
    /// Go straight over a junction.
    Straight,
    /// Change to the lane on the left.
    ChangeLaneLeft,
    /// Change to the lane on the right.
    ChangeLaneRight,
}

impl RoadOption {
    /// CARLA's name of the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::LaneFollow => "LANEFOLLOW",
            Self::Left => "LEFT",
            Self::Right => "RIGHT",
            Self::Straight => "STRAIGHT",
            Self::ChangeLaneLeft => "CHANGELANELEFT",
            Self::ChangeLaneRight => "CHANGELANERIGHT",
        }
    }

    /// The number of the option in CARLA's `RoadOption`.
    pub fn carla_number(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Right => 2,
            Self::Straight => 3,
            Self::LaneFollow => 4,
            Self::ChangeLaneLeft => 5,
            Self::ChangeLaneRight => 6,
        }
    }
}

/// A stretch of one lane with one option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutePiece {
    /// The lane; of a lane change the one changed to.
    pub lane: LaneIndex,
    /// Where the stretch begins, metres along the lane.
    pub from_m: f32,
    /// Where it ends.
    pub to_m: f32,
    /// Metres along the route to its beginning.
    pub station_m: f32,
    /// What it asks for.
    pub option: RoadOption,
    /// The lane that a lane change leaves.
    pub left_lane: Option<LaneIndex>,
}

/// A route from one place to another.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRoute {
    /// In driving order, at least one.
    pub pieces: Vec<RoutePiece>,
    /// Length, metres.
    pub length_m: f32,
}

impl RoadMap {
    /// The shortest route between two places `(lane, s)` on driving lanes.
    ///
    /// A* by length over successors and permitted lane changes outside of junctions. A change
    /// counts as 10 m more, so that a route doesn't change lanes for the shorter side of a bend,
    /// and happens at once, as CARLA's planner has it: at the first place where the marks
    /// permit it, over 10 m, or over what is left before a nearer goal. Of two routes of one length the same one is always chosen.
    ///
    /// Options follow CARLA's planner: a junction is `Straight` where it is left within 35
    /// degrees of the approach's heading, else `Left` or `Right`; a route that begins inside a
    /// junction follows its lane there. None where no route leads there, where a place lies on
    /// no driving lane of this map, and for distances that aren't finite.
    pub fn plan_route(&self, from: (LaneIndex, f32), to: (LaneIndex, f32)) -> Option<PlannedRoute> {
        let is_place = |(lane, s_m): (LaneIndex, f32)| {
            (lane as usize) < self.lanes().len() && self.baked.is_driving(lane) && s_m.is_finite()
        };
        if !is_place(from) || !is_place(to) {
            return None;
        }
        let clamp = |(lane, s_m): (LaneIndex, f32)| {
            (lane, s_m.clamp(0.0, self.lanes()[lane as usize].length_m))
        };
        let (from, to) = (clamp(from), clamp(to));
        let steps = search::shortest(self, from, to)?;
        let pieces = pieces(self, &steps, to.1);
        let length_m = pieces.iter().map(|piece| piece.to_m - piece.from_m).sum();
        Some(PlannedRoute { pieces, length_m })
    }
}

/// Cuts the lanes of a path into stretches of one option each.
fn pieces(map: &RoadMap, steps: &[Step], goal_m: f32) -> Vec<RoutePiece> {
    let options = junction_options(map, steps);
    let mut pieces: Vec<RoutePiece> = Vec::new();
    let mut station_m = 0.0;
    let mut push = |lane, from_m: f32, to_m: f32, option, left_lane| {
        if to_m > from_m {
            pieces.push(RoutePiece {
                lane,
                from_m,
                to_m,
                station_m,
                option,
                left_lane,
            });
            station_m += to_m - from_m;
        }
    };
    for (i, step) in steps.iter().enumerate() {
        let exit_m = match steps.get(i + 1) {
            None => goal_m,
            Some(Step {
                entry: Entry::Change { left_at_m, .. },
                ..
            }) => *left_at_m,
            Some(_) => map.lanes()[step.lane as usize].length_m,
        };
        let mut from_m = step.from_m;
        if let Entry::Change { to_left, .. } = step.entry {
            let option = if to_left {
                RoadOption::ChangeLaneLeft
            } else {
                RoadOption::ChangeLaneRight
            };
            let changed_m = (from_m + CHANGE_LENGTH_M).min(exit_m);
            push(
                step.lane,
                from_m,
                changed_m,
                option,
                Some(steps[i - 1].lane),
            );
            from_m = changed_m;
        }
        push(step.lane, from_m, exit_m, options[i], None);
    }
    if pieces.is_empty() {
        // Origin and goal are one place.
        pieces.push(RoutePiece {
            lane: steps[0].lane,
            from_m: goal_m,
            to_m: goal_m,
            station_m: 0.0,
            option: RoadOption::LaneFollow,
            left_lane: None,
        });
    }
    pieces
}

/// The option of each lane of a path: that of the turn for every run of junction lanes.
fn junction_options(map: &RoadMap, steps: &[Step]) -> Vec<RoadOption> {
    let in_junction = |step: &Step| map.lanes()[step.lane as usize].junction.is_some();
    let mut options = vec![RoadOption::LaneFollow; steps.len()];
    let mut i = 0;
    while i < steps.len() {
        if !in_junction(&steps[i]) {
            i += 1;
            continue;
        }
        let run = steps[i..]
            .iter()
            .take_while(|step| in_junction(step))
            .count();
        if i > 0 {
            let tail = steps[i + run - 1].lane;
            let turn = turn_to(&map.baked, steps[i - 1].lane, steps[i].lane, tail);
            options[i..i + run].fill(turn);
        }
        i += run;
    }
    options
}
