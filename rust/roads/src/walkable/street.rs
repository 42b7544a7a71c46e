//! Lane sections with sidewalks, cut into stretches.

use crate::lane::{Lane, LaneIndex, LaneKind};
use crate::map::RoadMap;

/// Stretches are no longer than this, metres.
const LONGEST_M: f32 = 20.0;
/// Nor shorter than this when they are halved for the road's bend.
const SHORTEST_M: f32 = 1.0;
/// A side of a stretch leaves the edge of its lane by no more than this, metres.
const TOLERANCE_M: f32 = 0.08;
/// Cuts nearer to each other than this are one, metres.
const LEAST_CUT_M: f32 = 0.3;
/// Where people cross before a junction if the map doesn't say: from and to, metres from the road's end.
const UNNAMED_CROSSWALK_M: (f32, f32) = (0.5, 3.5);
/// Shorter roads have no such place, metres.
const LEAST_ROAD_M: f32 = 8.0;
/// Sections times crosswalks that are compared at most: no real map comes near.
const MOST_LOOKS: usize = 5_000_000;

/// The edges of both sidewalks at one station: left outer, left inner, right inner, right outer as the road runs.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Road station, metres.
    pub station_m: f32,
    /// Points; those of a side without sidewalk mean nothing.
    pub points: [[f32; 3]; 4],
    /// The carriageway from here to the next row is a crosswalk.
    pub begins_crosswalk: bool,
}

/// A lane section with a sidewalk on one side or both.
#[derive(Debug, Clone)]
pub struct Street {
    /// Two at least, along the road.
    pub rows: Vec<Row>,
    left: Option<LaneIndex>,
    right: Option<LaneIndex>,
}

impl Street {
    /// The columns of [`Row::points`] at which a band of polygons begins, from left to right.
    pub fn bands(&self) -> &'static [usize] {
        match (self.left, self.right) {
            (Some(_), Some(_)) => &[0, 1, 2],
            (Some(_), None) => &[0],
            (None, _) => &[2],
        }
    }

    fn row(&self, map: &RoadMap, station_m: f32) -> Row {
        let mut points = [[0.0; 3]; 4];
        for (column, lane) in [(0, self.left), (2, self.right)] {
            if let Some(lane) = lane {
                [points[column], points[column + 1]] = edges(map, lane, station_m);
            }
        }
        Row {
            station_m,
            points,
            begins_crosswalk: false,
        }
    }

    /// Rows between two, so near to each other that straight lines will do.
    fn fill(&self, map: &RoadMap, near: Row, far: Row, rows: &mut Vec<Row>) {
        let length_m = far.station_m - near.station_m;
        let middle = self.row(map, 0.5 * (near.station_m + far.station_m));
        let is_split =
            length_m > LONGEST_M || (length_m > 2.0 * SHORTEST_M && deviates(&near, &middle, &far));
        if is_split {
            self.fill(map, near, middle, rows);
            self.fill(map, middle, far, rows);
        } else {
            rows.push(near);
        }
    }
}

/// Whether the middle of two rows is too far from the row between them.
fn deviates(near: &Row, middle: &Row, far: &Row) -> bool {
    let off = |column: usize| {
        let squared = (0..3).map(|i| {
            let mean = 0.5 * (near.points[column][i] + far.points[column][i]);
            (middle.points[column][i] - mean).powi(2)
        });
        squared.sum::<f32>() > TOLERANCE_M * TOLERANCE_M
    };
    (0..4).any(off)
}

/// The left and the right edge of a lane at a station, as the road runs.
fn edges(map: &RoadMap, lane: LaneIndex, station_m: f32) -> [[f32; 3]; 2] {
    let sample = map.sample(lane, map.at_station(lane, station_m));
    let half_m = if map.lanes()[lane as usize].runs_with_road() {
        0.5 * sample.width_m
    } else {
        -0.5 * sample.width_m
    };
    let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
    let at = |across_m: f32| {
        [
            sample.pose.x - across_m * sin,
            sample.pose.y + across_m * cos,
            sample.pose.z,
        ]
    };
    [at(-half_m), at(half_m)]
}

/// All streets, in the order of the lanes.
pub fn find(map: &RoadMap) -> Vec<Street> {
    let lanes = map.lanes();
    let is_one = |one: &Lane, two: &Lane| (one.road_id, one.section) == (two.road_id, two.section);
    let sections: Vec<&[Lane]> = lanes.chunk_by(is_one).collect();
    let can_look = sections.len().saturating_mul(map.crosswalks().len()) <= MOST_LOOKS;
    let mut streets = Vec::new();
    let mut first = 0;
    for section in sections {
        streets.extend(street(map, section, first, can_look));
        first += section.len() as LaneIndex;
    }
    streets
}

fn street(map: &RoadMap, section: &[Lane], first: LaneIndex, can_look: bool) -> Option<Street> {
    // The innermost of each side: others lie behind it, and nothing joins them.
    let sidewalks = || {
        let all = (first..).zip(section);
        all.filter(|(_, lane)| lane.kind == LaneKind::Sidewalk && lane.length_m > SHORTEST_M)
    };
    let left = sidewalks().filter(|(_, lane)| lane.lane_id > 0);
    let right = sidewalks().filter(|(_, lane)| lane.lane_id < 0);
    let mut street = Street {
        rows: Vec::new(),
        left: left.min_by_key(|(_, lane)| lane.lane_id).map(|(i, _)| i),
        right: right.max_by_key(|(_, lane)| lane.lane_id).map(|(i, _)| i),
    };
    street.left.or(street.right)?;
    let (start_m, end_m) = (section[0].section_start_m, section[0].section_end_m);
    let crossings = crossings(map, &street, section, (start_m, end_m), can_look);
    let mut cuts = vec![start_m];
    let mut ordered: Vec<f32> = crossings.iter().flat_map(|&(a, b)| [a, b]).collect();
    ordered.sort_by(f32::total_cmp);
    for cut in ordered {
        let is_apart = cuts.last().is_none_or(|last| cut - last > LEAST_CUT_M);
        if is_apart && end_m - cut > LEAST_CUT_M {
            cuts.push(cut);
        }
    }
    cuts.push(end_m);
    let mut rows = Vec::new();
    for pair in cuts.windows(2) {
        let begin = rows.len();
        street.fill(
            map,
            street.row(map, pair[0]),
            street.row(map, pair[1]),
            &mut rows,
        );
        let middle_m = 0.5 * (pair[0] + pair[1]);
        let is_crossed = crossings
            .iter()
            .any(|&(from_m, to_m)| from_m < middle_m && middle_m < to_m);
        rows[begin..]
            .iter_mut()
            .for_each(|row| row.begins_crosswalk = is_crossed);
    }
    rows.push(street.row(map, end_m));
    street.rows = rows;
    Some(street)
}

/// Where people cross from one sidewalk to the other, as stations.
fn crossings(
    map: &RoadMap,
    street: &Street,
    section: &[Lane],
    (start_m, end_m): (f32, f32),
    can_look: bool,
) -> Vec<(f32, f32)> {
    let (Some(lane), Some(_)) = (street.left, street.right) else {
        return Vec::new();
    };
    if !map.crosswalks().is_empty() {
        let own = map
            .crosswalks()
            .iter()
            .filter(|crosswalk| can_look && crosswalk.road_id == section[0].road_id);
        return own
            .filter_map(|crosswalk| {
                covered(map, lane, &crosswalk.polygon)
                    .map(|(from_m, to_m)| (from_m.max(start_m), to_m.min(end_m)))
                    .filter(|(from_m, to_m)| to_m - from_m > 2.0 * LEAST_CUT_M)
            })
            .collect();
    }
    if section[0].junction.is_some() || end_m - start_m < LEAST_ROAD_M {
        return Vec::new();
    }
    let leads_to_junction = |is_end: bool| {
        let driving = section.iter().filter(|lane| lane.kind == LaneKind::Driving);
        driving
            .flat_map(|lane| {
                if lane.runs_with_road() == is_end {
                    &lane.successors
                } else {
                    &lane.predecessors
                }
            })
            .any(|other| map.lanes()[*other as usize].junction.is_some())
    };
    let (near_m, far_m) = UNNAMED_CROSSWALK_M;
    let at_start = (start_m + near_m, start_m + far_m);
    let at_end = (end_m - far_m, end_m - near_m);
    [(false, at_start), (true, at_end)]
        .into_iter()
        .filter(|(is_end, _)| leads_to_junction(*is_end))
        .map(|(_, crossing)| crossing)
        .collect()
}

/// The stations that a polygon covers, seen from a lane beside it.
fn covered(map: &RoadMap, lane: LaneIndex, polygon: &[[f32; 3]]) -> Option<(f32, f32)> {
    let length_m = map.lanes()[lane as usize].length_m;
    let count = polygon.len().max(1) as f32;
    let middle: [f32; 2] =
        std::array::from_fn(|i| polygon.iter().map(|corner| corner[i]).sum::<f32>() / count);
    // Downhill from the nearest of some places all along the lane.
    let steps = (length_m / 4.0).ceil().clamp(1.0, 1000.0);
    let guess_m = (0..=steps as u32)
        .map(|step| length_m * step as f32 / steps)
        .min_by(|one, two| {
            let squared = |s_m: f32| {
                let pose = map.sample(lane, s_m).pose;
                (pose.x - middle[0]).powi(2) + (pose.y - middle[1]).powi(2)
            };
            squared(*one).total_cmp(&squared(*two))
        })?;
    let (mut from_m, mut to_m) = (f32::INFINITY, f32::NEG_INFINITY);
    for corner in polygon {
        let place = map.project(lane, corner[0], corner[1], guess_m);
        let station_m = map.station(lane, place.s_m);
        (from_m, to_m) = (from_m.min(station_m), to_m.max(station_m));
    }
    (from_m < to_m).then_some((from_m, to_m))
}
