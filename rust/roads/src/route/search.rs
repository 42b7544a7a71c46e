//! A* over lanes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::CHANGE_LENGTH_M;
use crate::lane::LaneIndex;
use crate::map::RoadMap;

/// What a lane change costs beside the way.
const CHANGE_COST_M: f64 = 10.0;
/// A lane change needs at least this much of its lane.
const LEAST_ROOM_M: f32 = 5.0;
/// Two costs nearer than this are one.
const COST_GRAIN_M: f64 = 1e-6;
const NONE: u32 = u32::MAX;

/// How a lane was entered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Entry {
    /// The route starts here.
    Origin,
    /// At its start.
    Successor,
    /// From beside, leaving the other lane at `left_at_m`.
    Change { to_left: bool, left_at_m: f32 },
}

/// One lane of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub lane: LaneIndex,
    pub from_m: f32,
    pub entry: Entry,
}

/// A lane is two nodes: entered at its start (even), or somewhere along it (odd).
#[derive(Debug, Clone, Copy)]
struct Node {
    step: Step,
    /// Cost to the place of entry.
    cost: f64,
    parent: u32,
}

#[derive(Debug, PartialEq)]
struct Queued {
    /// Cost so far and the least that is still to come.
    estimate: f64,
    cost: f64,
    node: u32,
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    /// The heap gives its greatest first: the smallest estimate, then the lowest node.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_estimate = other.estimate.total_cmp(&self.estimate);
        by_estimate.then(other.node.cmp(&self.node))
    }
}

struct Search<'a> {
    map: &'a RoadMap,
    goal: (LaneIndex, f32),
    goal_xy: (f64, f64),
    nodes: Vec<Option<Node>>,
    queue: BinaryHeap<Queued>,
}

/// The lanes of the shortest path, in driving order.
pub(super) fn shortest(
    map: &RoadMap,
    origin: (LaneIndex, f32),
    goal: (LaneIndex, f32),
) -> Option<Vec<Step>> {
    let pose = map.sample(goal.0, goal.1).pose;
    // One node more than two for each lane: the goal.
    let goal_node = 2 * map.lanes().len() as u32;
    let mut search = Search {
        map,
        goal,
        goal_xy: (pose.x.into(), pose.y.into()),
        nodes: vec![None; goal_node as usize + 1],
        queue: BinaryHeap::new(),
    };
    let first = Step {
        lane: origin.0,
        from_m: origin.1,
        entry: Entry::Origin,
    };
    search.offer(2 * origin.0 + 1, first, 0.0, NONE);
    while let Some(Queued { cost, node, .. }) = search.queue.pop() {
        if node == goal_node {
            return Some(search.path(goal_node));
        }
        match search.nodes[node as usize] {
            // A better way to this node was found after it had been queued.
            Some(known) if known.cost < cost => {}
            Some(known) => search.expand(node, known, goal_node),
            None => {}
        }
    }
    None
}

impl Search<'_> {
    fn offer(&mut self, node: u32, step: Step, cost: f64, parent: u32) {
        // Entered later along the lane, one is farther: costs are compared as if at its start.
        let at_start = |cost: f64, step: &Step| cost - f64::from(step.from_m);
        if let Some(known) = &self.nodes[node as usize]
            && at_start(cost, &step) >= at_start(known.cost, &known.step) - COST_GRAIN_M
        {
            return;
        }
        self.nodes[node as usize] = Some(Node { step, cost, parent });
        let pose = self.map.sample(step.lane, step.from_m).pose;
        let (dx, dy) = (
            f64::from(pose.x) - self.goal_xy.0,
            f64::from(pose.y) - self.goal_xy.1,
        );
        self.queue.push(Queued {
            estimate: cost + (dx * dx + dy * dy).sqrt(),
            cost,
            node,
        });
    }

    fn expand(&mut self, index: u32, node: Node, goal_node: u32) {
        let map = self.map;
        let Step {
            lane,
            from_m,
            entry,
        } = node.step;
        let here = &map.lanes()[lane as usize];
        let cost_at = |s_m: f32| node.cost + f64::from(s_m - from_m);
        if lane == self.goal.0 && from_m <= self.goal.1 {
            let step = Step {
                lane,
                from_m: self.goal.1,
                entry,
            };
            self.offer(goal_node, step, cost_at(self.goal.1), index);
        }
        for next in here
            .successors
            .iter()
            .filter(|next| map.baked.is_driving(**next))
        {
            let step = Step {
                lane: *next,
                from_m: 0.0,
                entry: Entry::Successor,
            };
            self.offer(2 * next, step, cost_at(here.length_m), index);
        }
        if here.junction.is_some() {
            return;
        }
        let free_m = match entry {
            Entry::Change { .. } => from_m + CHANGE_LENGTH_M,
            _ => from_m,
        };
        for (to_left, beside) in [(true, here.left), (false, here.right)] {
            let Some(beside) = beside else { continue };
            let Some(left_at_m) = self.permitted(lane, free_m, to_left) else {
                continue;
            };
            let step = Step {
                lane: beside,
                from_m: map.abreast(lane, left_at_m, beside),
                entry: Entry::Change { to_left, left_at_m },
            };
            self.offer(
                2 * beside + 1,
                step,
                cost_at(left_at_m) + CHANGE_COST_M,
                index,
            );
        }
    }

    /// The first place from `from_m` on where the marks permit a change, with room left for it.
    fn permitted(&self, lane: LaneIndex, from_m: f32, to_left: bool) -> Option<f32> {
        let marks = &self.map.baked.markings[lane as usize];
        let last_m = self.map.lanes()[lane as usize].length_m - LEAST_ROOM_M;
        let behind = marks.partition_point(|entry| entry.0 <= from_m);
        marks[behind.saturating_sub(1)..]
            .iter()
            .find(|(_, mark)| {
                if to_left {
                    mark.left_permits_change
                } else {
                    mark.right_permits_change
                }
            })
            .map(|(start_m, _)| start_m.max(from_m))
            .filter(|at_m| *at_m <= last_m)
    }

    fn path(&self, goal_node: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = self.nodes[goal_node as usize].map_or(NONE, |node| node.parent);
        while let Some(node) = self.nodes.get(at as usize).copied().flatten() {
            steps.push(node.step);
            at = node.parent;
        }
        steps.reverse();
        steps
    }
}
