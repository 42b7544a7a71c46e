//! Sidewalks that go on in one another, and corners between those that don't.

use std::collections::BTreeMap;

use super::street::Street;
use super::{Draft, WalkGround};
use crate::map::RoadMap;

/// Ends of sidewalks nearer than this to each other, middle to middle, are one place, metres.
const JOINED_M: f32 = 0.8;
/// A corner is laid between ends that are no further apart, metres.
const CORNER_M: f32 = 32.0;
/// Two floors of a bridge aren't joined, metres.
const FLOOR_M: f32 = 1.5;
/// An end leads to so many others at most.
const MOST_JOINED: usize = 2;
/// Pairs of ends that are looked at: no real map comes near.
const MOST_PAIRS: usize = 2_000_000;

/// Where a sidewalk ends.
#[derive(Debug, Clone, Copy)]
pub struct End {
    street: usize,
    column: usize,
    /// At the last row of the street, not at the first.
    is_last: bool,
    joined: usize,
}

impl End {
    fn row(&self, streets: &[Street]) -> usize {
        if self.is_last {
            streets[self.street].rows.len() - 1
        } else {
            0
        }
    }

    fn points(&self, streets: &[Street]) -> [[f32; 3]; 2] {
        let points = &streets[self.street].rows[self.row(streets)].points;
        [points[self.column], points[self.column + 1]]
    }

    fn middle(&self, streets: &[Street]) -> [f32; 3] {
        let [one, two] = self.points(streets);
        std::array::from_fn(|i| 0.5 * (one[i] + two[i]))
    }

    /// Away from the street, not of unit length.
    fn outwards(&self, streets: &[Street]) -> [f32; 2] {
        let rows = &streets[self.street].rows;
        let before = if self.is_last { rows.len() - 2 } else { 1 };
        let inner = rows[before].points[self.column];
        let outer = rows[self.row(streets)].points[self.column];
        [outer[0] - inner[0], outer[1] - inner[1]]
    }

    /// The polygon there and its edge.
    fn edge(&self, streets: &[Street], bases: &[u32]) -> (u32, usize) {
        let street = &streets[self.street];
        let bands = street.bands();
        let position = bands.iter().position(|column| *column == self.column);
        let interval = if self.is_last {
            street.rows.len() - 2
        } else {
            0
        };
        let number = interval * bands.len() + position.unwrap_or(0);
        (
            bases[self.street] + number as u32,
            if self.is_last { 2 } else { 0 },
        )
    }
}

/// All ends, by street, from left to right.
pub fn ends(streets: &[Street]) -> Vec<End> {
    let mut ends = Vec::new();
    for (street, data) in streets.iter().enumerate() {
        for &column in data.bands().iter().filter(|column| **column != 1) {
            ends.extend([false, true].map(|is_last| End {
                street,
                column,
                is_last,
                joined: 0,
            }));
        }
    }
    ends
}

fn distance(one: [f32; 3], two: [f32; 3]) -> f32 {
    (0..2)
        .map(|i| (one[i] - two[i]).powi(2))
        .sum::<f32>()
        .sqrt()
}

/// Pairs of ends of different streets within `reach_m`, nearest first.
fn pairs(streets: &[Street], ends: &[End], reach_m: f32) -> Vec<(usize, usize)> {
    let mut cells: BTreeMap<(i32, i32), Vec<usize>> = BTreeMap::new();
    let cell = |place: [f32; 3]| [0, 1].map(|i| (place[i] / reach_m).floor() as i32);
    let middles: Vec<[f32; 3]> = ends.iter().map(|end| end.middle(streets)).collect();
    let mut found = Vec::new();
    for (second, &place) in middles.iter().enumerate() {
        let [column, row] = cell(place);
        for near in (column - 1..=column + 1)
            .flat_map(|column| (row - 1..=row + 1).map(move |row| (column, row)))
        {
            for &first in cells.get(&near).map_or(&[][..], Vec::as_slice) {
                let apart_m = distance(middles[first], place);
                let is_level = (middles[first][2] - place[2]).abs() < FLOOR_M;
                if ends[first].street != ends[second].street && apart_m < reach_m && is_level {
                    found.push((apart_m, first, second));
                }
            }
        }
        if found.len() > MOST_PAIRS {
            break;
        }
        cells.entry((column, row)).or_default().push(second);
    }
    found.sort_by(|one, two| {
        one.0
            .total_cmp(&two.0)
            .then((one.1, one.2).cmp(&(two.1, two.2)))
    });
    found.into_iter().map(|(_, one, two)| (one, two)).collect()
}

/// Finds the ends that are one place, and gives them one edge.
pub fn join(streets: &mut [Street], ends: &mut [End]) -> Vec<(usize, usize)> {
    let mut joined = Vec::new();
    for (first, second) in pairs(streets, ends, JOINED_M) {
        if ends[first].joined >= MOST_JOINED || ends[second].joined >= MOST_JOINED {
            continue;
        }
        // Who is joined already stays where it is.
        let (kept, moved) = if ends[second].joined > 0 {
            (second, first)
        } else {
            (first, second)
        };
        if ends[moved].joined == 0 {
            let [one, two] = ends[kept].points(streets);
            let [own, _] = ends[moved].points(streets);
            let points = if distance(own, one) <= distance(own, two) {
                [one, two]
            } else {
                [two, one]
            };
            let (row, column) = (ends[moved].row(streets), ends[moved].column);
            let row = &mut streets[ends[moved].street].rows[row];
            [row.points[column], row.points[column + 1]] = points;
        }
        ends[first].joined += 1;
        ends[second].joined += 1;
        joined.push((first, second));
    }
    joined
}

/// Links the polygons at joined ends.
pub fn link(
    streets: &[Street],
    bases: &[u32],
    ends: &[End],
    joined: &[(usize, usize)],
    drafts: &mut [Draft],
) {
    for &(first, second) in joined {
        let [one, two] = [first, second].map(|end| ends[end].edge(streets, bases));
        drafts[one.0 as usize].neighbours[one.1].push(two.0);
        drafts[two.0 as usize].neighbours[two.1].push(one.0);
    }
}

/// Lays a polygon between ends that lead nowhere, as at the corners of a junction whose sidewalks aren't drawn.
pub fn round_corners(
    map: &RoadMap,
    streets: &[Street],
    bases: &[u32],
    ends: &[End],
    drafts: &mut Vec<Draft>,
) {
    let mut free: Vec<End> = ends.iter().filter(|end| end.joined == 0).copied().collect();
    for (first, second) in pairs(streets, &free, CORNER_M) {
        if free[first].joined > 0 || free[second].joined > 0 {
            continue;
        }
        let (one, two) = (free[first], free[second]);
        let Some((draft, far)) = corner(streets, &one, &two) else {
            continue;
        };
        if !draft.is_sound() || crosses_road(map, one.middle(streets), two.middle(streets)) {
            continue;
        }
        let number = drafts.len() as u32;
        drafts.push(draft);
        for (end, edge) in [(one, 0), (two, far)] {
            let (beyond, beyond_edge) = end.edge(streets, bases);
            drafts[number as usize].neighbours[edge].push(beyond);
            drafts[beyond as usize].neighbours[beyond_edge].push(number);
        }
        (free[first].joined, free[second].joined) = (1, 1);
    }
}

/// A polygon from one end to another, its first edge at the first; and the number of the edge at the second.
fn corner(streets: &[Street], one: &End, two: &End) -> Option<(Draft, usize)> {
    let way: [f32; 2] = {
        let (from, to) = (one.middle(streets), two.middle(streets));
        [to[0] - from[0], to[1] - from[1]]
    };
    let ahead = |end: &End, sign: f32| {
        let [x, y] = end.outwards(streets);
        sign * (x * way[0] + y * way[1]) >= 0.0
    };
    if !ahead(one, 1.0) || !ahead(two, -1.0) {
        return None;
    }
    let ([a, b], [c, d]) = (one.points(streets), two.points(streets));
    // Sides that don't cross are the shorter ones.
    let is_straight = distance(b, c) + distance(d, a) <= distance(b, d) + distance(c, a);
    let (c, d) = if is_straight { (c, d) } else { (d, c) };
    let draft = Draft::new([a, b, c, d], WalkGround::Sidewalk);
    if draft.is_sound() {
        return Some((draft, 2));
    }
    Some((Draft::new([b, a, d, c], WalkGround::Sidewalk), 2))
}

/// Whether a straight line leads over a driving lane.
fn crosses_road(map: &RoadMap, from: [f32; 3], to: [f32; 3]) -> bool {
    let steps = distance(from, to).ceil().max(2.0) as u32;
    (1..steps).any(|step| {
        let part = step as f32 / steps as f32;
        let [x, y, z] = std::array::from_fn(|i| from[i] + part * (to[i] - from[i]));
        map.locate(x, y, z, None).is_some_and(|place| {
            let length_m = map.lanes()[place.lane as usize].length_m;
            let half_m = 0.5 * map.sample(place.lane, place.s_m).width_m;
            place.s_m > 0.0 && place.s_m < length_m && place.lateral_m.abs() < half_m - 0.1
        })
    })
}
