//! Lines for drawing a map.

use crate::lane::{LaneIndex, LaneKind, MarkKind};
use crate::map::RoadMap;

/// What a polyline shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolylineKind {
    /// The centre of a driving lane.
    Centre,
    /// The left edge of a lane, as the driver sees it.
    LeftEdge,
    /// The right edge of a lane.
    RightEdge,
}

/// A line along a lane, in the driving direction, CARLA coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Polyline {
    /// The lane that the line belongs to.
    pub lane: LaneIndex,
    /// Which of its lines.
    pub kind: PolylineKind,
    /// The mark on an edge; nothing on a centre.
    pub mark: MarkKind,
    /// At least two points, metres.
    pub points: Vec<[f32; 3]>,
}

/// See [`RoadMap::polylines`].
pub(crate) fn build(map: &RoadMap, step_m: f32) -> Vec<Polyline> {
    let step_m = if step_m.is_nan() {
        1.0
    } else {
        step_m.clamp(0.1, 1000.0)
    };
    let mut lines = Vec::new();
    for (index, lane) in (0..).zip(map.lanes()) {
        if lane.kind == LaneKind::Driving {
            let points = points(map, index, (0.0, lane.length_m), step_m, 0.0);
            lines.push(Polyline {
                lane: index,
                kind: PolylineKind::Centre,
                mark: MarkKind::None,
                points,
            });
        }
        push_edge(map, index, step_m, PolylineKind::RightEdge, &mut lines);
        if is_centre_owner(map, index) {
            push_edge(map, index, step_m, PolylineKind::LeftEdge, &mut lines);
        }
    }
    lines
}

/// The first lane on the right draws the road's centre line; without one, the first on the left.
fn is_centre_owner(map: &RoadMap, index: LaneIndex) -> bool {
    let lane = &map.lanes()[index as usize];
    let neighbour = |offset: i64| {
        usize::try_from(i64::from(index) + offset)
            .ok()
            .and_then(|at| map.lanes().get(at))
            .filter(|other| other.road_id == lane.road_id && other.section == lane.section)
    };
    if lane.lane_id < 0 {
        neighbour(-1).is_none_or(|other| other.lane_id > 0)
    } else {
        neighbour(1).is_none()
    }
}

/// Adds an edge, cut where its mark changes.
fn push_edge(
    map: &RoadMap,
    lane: LaneIndex,
    step_m: f32,
    kind: PolylineKind,
    lines: &mut Vec<Polyline>,
) {
    let entries = &map.baked.markings[lane as usize];
    let length = map.lanes()[lane as usize].length_m;
    let mark_of = |at: usize| {
        let marks = entries[at].1;
        if kind == PolylineKind::LeftEdge {
            marks.left
        } else {
            marks.right
        }
    };
    let side = if kind == PolylineKind::LeftEdge {
        -0.5
    } else {
        0.5
    };
    let mut at = 0;
    while at < entries.len() {
        let mark = mark_of(at);
        let from = entries[at].0;
        while at < entries.len() && mark_of(at) == mark {
            at += 1;
        }
        let to = entries.get(at).map_or(length, |entry| entry.0);
        if to > from {
            let points = points(map, lane, (from, to), step_m, side);
            lines.push(Polyline {
                lane,
                kind,
                mark,
                points,
            });
        }
    }
}

/// Points along a lane, `side` widths to the right of its centre.
fn points(
    map: &RoadMap,
    lane: LaneIndex,
    (from, to): (f32, f32),
    step_m: f32,
    side: f32,
) -> Vec<[f32; 3]> {
    let steps = ((to - from) / step_m).ceil().max(1.0) as usize;
    (0..=steps)
        .map(|i| {
            let s_m = from + (to - from) * (i as f32 / steps as f32);
            let sample = map.sample(lane, s_m);
            let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
            let right = side * sample.width_m;
            [
                sample.pose.x - right * sin,
                sample.pose.y + right * cos,
                sample.pose.z,
            ]
        })
        .collect()
}
