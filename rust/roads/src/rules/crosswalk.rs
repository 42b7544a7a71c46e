//! Crosswalks as polygons, and where they cut lanes.

use super::rows::Rows;
use crate::Error;
use crate::bake::{Baked, Sample};
use crate::grid::{Grid, Stretch};
use crate::lane::LaneIndex;
use crate::reader::{CrosswalkModel, MapModel, RoadModel, too_large};

/// Step along a lane between two looks whether it is inside a polygon.
const STEP_M: f32 = 0.25;
/// The lane's band that is looked at, in half widths to either side.
const BAND: [f32; 3] = [-0.9, 0.0, 0.9];
/// A bridge over a crosswalk isn't cut by it.
const LEAST_HEADROOM_M: f32 = 3.0;
/// Looks at all crosswalks together; Town04 of CARLA needs 30 thousand.
const MAX_LOOKS: usize = 50_000_000;

/// Index of a crosswalk in [`RoadMap::crosswalks`](crate::RoadMap::crosswalks).
pub type CrosswalkIndex = u32;

/// A crosswalk as it is painted, CARLA coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Crosswalk {
    /// OpenDRIVE object id; may be empty.
    pub id: Box<str>,
    /// Road that it belongs to.
    pub road_id: u32,
    /// Corners in the order of the file, three at least, not closed.
    pub polygon: Vec<[f32; 3]>,
    /// The line that people walk: from one kerb to the other.
    pub walk: [[f32; 3]; 2],
}

/// A stretch of a lane that a crosswalk covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// The crosswalk.
    pub crosswalk: CrosswalkIndex,
    /// Where it begins, metres along the lane.
    pub from_m: f32,
    /// Where it ends.
    pub to_m: f32,
}

/// All crosswalks in the order of the file, and by lane the crossings in driving order.
pub(super) fn bake(
    model: &MapModel,
    baked: &Baked,
    grid: &Grid,
) -> Result<(Vec<Crosswalk>, Rows<Crossing>), Error> {
    let mut crosswalks = Vec::new();
    let mut crossings: Vec<(LaneIndex, Crossing)> = Vec::new();
    let mut looks = 0;
    for road in &model.roads {
        for crosswalk in &road.crosswalks {
            let index = crosswalks.len() as CrosswalkIndex;
            let placed = place(road, crosswalk);
            cut(baked, grid, index, &placed, &mut looks, &mut crossings)?;
            crosswalks.push(placed);
        }
    }
    crossings.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.from_m.total_cmp(&b.1.from_m)));
    Ok((crosswalks, Rows::new(baked.lanes.len(), crossings)))
}

fn place(road: &RoadModel, crosswalk: &CrosswalkModel) -> Crosswalk {
    let frame = road.plan.at(crosswalk.station);
    let (sin, cos) = libm::sincos(frame.heading);
    // From the centre lane, as libcarla has it; the standard measures from the reference line.
    let lateral = crosswalk.lateral + road.lane_offset.at(crosswalk.station).value;
    let x = frame.x - sin * lateral;
    let y = frame.y + cos * lateral;
    let z = road.elevation.at(crosswalk.station).value + crosswalk.height;
    let (turn_sin, turn_cos) = libm::sincos(frame.heading + crosswalk.heading);
    let point = |[u, v, w]: [f64; 3]| {
        [
            (x + turn_cos * u - turn_sin * v) as f32,
            -(y + turn_sin * u + turn_cos * v) as f32,
            (z + w) as f32,
        ]
    };
    let corners = &crosswalk.corners;
    let bound = |axis: usize| {
        let values = || corners.iter().map(|corner| corner[axis]);
        let low = values().fold(f64::INFINITY, f64::min);
        (low, values().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((low_u, high_u), (low_v, high_v)) = (bound(0), bound(1));
    let level = corners.iter().map(|corner| corner[2]).sum::<f64>() / corners.len() as f64;
    // People walk across the road, whichever axis of the outline that is.
    let walk = if libm::fabs(libm::sin(crosswalk.heading)) > 0.7 {
        let middle = 0.5 * (low_v + high_v);
        [[low_u, middle, level], [high_u, middle, level]]
    } else {
        let middle = 0.5 * (low_u + high_u);
        [[middle, low_v, level], [middle, high_v, level]]
    };
    Crosswalk {
        id: crosswalk.id.clone(),
        road_id: road.id,
        polygon: corners.iter().map(|corner| point(*corner)).collect(),
        walk: walk.map(point),
    }
}

fn cut(
    baked: &Baked,
    grid: &Grid,
    index: CrosswalkIndex,
    crosswalk: &Crosswalk,
    looks: &mut usize,
    crossings: &mut Vec<(LaneIndex, Crossing)>,
) -> Result<(), Error> {
    let [x, y, z] = centre(&crosswalk.polygon);
    let squared = crosswalk.polygon.iter().map(|corner| {
        let (dx, dy) = (corner[0] - x, corner[1] - y);
        dx * dx + dy * dy
    });
    let radius = squared.fold(0.0, f32::max).sqrt();
    for Stretch { lane, from_m, to_m } in grid.near(x, y, radius) {
        let samples = baked.samples(lane);
        let length = baked.lanes[lane as usize].length_m;
        let first = samples.partition_point(|sample| sample.s < from_m).max(1);
        let mut open: Option<(f32, f32)> = None;
        for pair in samples[first - 1..].windows(2) {
            if pair[0].s > to_m {
                break;
            }
            let steps = ((pair[1].s - pair[0].s) / STEP_M).ceil().max(1.0) as usize;
            *looks += steps;
            if *looks > MAX_LOOKS {
                return Err(too_large("looks at crosswalks", *looks, MAX_LOOKS));
            }
            let half = 0.5 * (pair[1].s - pair[0].s) / steps as f32;
            for step in 0..=steps {
                let part = step as f32 / steps as f32;
                let s = pair[0].s + part * (pair[1].s - pair[0].s);
                // The edge lies somewhere in the step before, or behind: taken to be its middle.
                let (before, after) = ((s - half).max(0.0), (s + half).min(length));
                if is_covered(&pair[0], &pair[1], part, &crosswalk.polygon, z) {
                    open = Some(open.map_or((before, after), |(from, _)| (from, after)));
                } else if let Some((from_m, to_m)) = open.take() {
                    crossings.push((
                        lane,
                        Crossing {
                            crosswalk: index,
                            from_m,
                            to_m,
                        },
                    ));
                }
            }
        }
        crossings.extend(open.map(|(from_m, to_m)| {
            (
                lane,
                Crossing {
                    crosswalk: index,
                    from_m,
                    to_m,
                },
            )
        }));
    }
    Ok(())
}

fn centre(polygon: &[[f32; 3]]) -> [f32; 3] {
    let count = polygon.len() as f32;
    [0, 1, 2].map(|axis| polygon.iter().map(|corner| corner[axis]).sum::<f32>() / count)
}

/// Whether the lane's band between two samples touches the polygon.
fn is_covered(from: &Sample, to: &Sample, part: f32, polygon: &[[f32; 3]], level: f32) -> bool {
    let mix = |from: f32, to: f32| from + part * (to - from);
    if (mix(from.z, to.z) - level).abs() > LEAST_HEADROOM_M {
        return false;
    }
    let (x, y) = (mix(from.x, to.x), mix(from.y, to.y));
    let (cos, sin) = (mix(from.cos, to.cos), mix(from.sin, to.sin));
    let half = 0.5 * mix(from.width, to.width);
    BAND.iter()
        .any(|side| is_inside(x - side * half * sin, y + side * half * cos, polygon))
}

/// Even-odd rule.
fn is_inside(x: f32, y: f32, polygon: &[[f32; 3]]) -> bool {
    let mut inside = false;
    let mut last = polygon[polygon.len() - 1];
    for corner in polygon {
        if (corner[1] > y) != (last[1] > y) {
            let part = (y - corner[1]) / (last[1] - corner[1]);
            inside ^= x < corner[0] + part * (last[0] - corner[0]);
        }
        last = *corner;
    }
    inside
}
