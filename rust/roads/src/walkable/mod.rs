//! Where people walk: convex polygons that share their edges.
//!
//! A lane section with a sidewalk is cut into stretches along the road; each gives one polygon for the sidewalk of
//! either side and, where both have one, one for the carriageway between them, which is a crosswalk where the map
//! has one. Sidewalks that meet end to end are joined; at corners for which the map draws none, a polygon is laid
//! from the end of one sidewalk to the next.

mod joints;
mod street;

use crate::lane::LaneKind;
use crate::map::RoadMap;

use street::Street;

/// What people walk on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalkGround {
    /// A sidewalk.
    Sidewalk,
    /// A carriageway where people may cross.
    Crosswalk,
    /// A carriageway elsewhere.
    Carriageway,
}

/// A convex polygon that people walk on. CARLA coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct WalkPolygon {
    /// Three to six corners, in the order (0, 0), (0, 1), (1, 1), (1, 0).
    pub corners: Vec<[f32; 3]>,
    /// The polygon beyond each edge; edge `i` begins at corner `i`.
    pub neighbours: Vec<Option<u32>>,
    /// What it is.
    pub ground: WalkGround,
}

/// Polygons smaller than this are left out, m2.
const LEAST_AREA_M2: f32 = 0.02;

impl RoadMap {
    /// Whether people can walk anywhere: the map has a sidewalk.
    pub fn has_sidewalks(&self) -> bool {
        self.lanes()
            .iter()
            .any(|lane| lane.kind == LaneKind::Sidewalk)
    }

    /// The polygons that people walk on, in the order of the roads; none for a map without sidewalks.
    ///
    /// On a map that names no crosswalk people cross at the ends of the roads that lead into junctions.
    pub fn walk_polygons(&self) -> Vec<WalkPolygon> {
        let mut streets = street::find(self);
        let mut ends = joints::ends(&streets);
        let joined = joints::join(&mut streets, &mut ends);
        let mut drafts = Vec::new();
        let bases: Vec<u32> = streets
            .iter()
            .map(|street| {
                let base = drafts.len() as u32;
                lay(street, base, &mut drafts);
                base
            })
            .collect();
        joints::link(&streets, &bases, &ends, &joined, &mut drafts);
        joints::round_corners(self, &streets, &bases, &ends, &mut drafts);
        finish(drafts)
    }
}

/// A polygon in the making: an edge may lead to two others.
#[derive(Debug, Clone)]
struct Draft {
    corners: [[f32; 3]; 4],
    neighbours: [Vec<u32>; 4],
    ground: WalkGround,
}

impl Draft {
    fn new(corners: [[f32; 3]; 4], ground: WalkGround) -> Self {
        Self {
            corners,
            neighbours: Default::default(),
            ground,
        }
    }

    /// Convex, in the right order and not too small.
    fn is_sound(&self) -> bool {
        let mut area = 0.0;
        for i in 0..4 {
            let [a, b, c] = [0, 1, 2].map(|step| self.corners[(i + step) % 4]);
            let turn = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]);
            if turn > 1e-3 {
                return false;
            }
            area -= 0.5 * (a[0] * b[1] - b[0] * a[1]);
        }
        area >= LEAST_AREA_M2
    }
}

/// The polygons of one street, linked among each other. `base` is the number of the first.
fn lay(street: &Street, base: u32, drafts: &mut Vec<Draft>) {
    let bands = street.bands();
    let width = bands.len() as u32;
    let intervals = street.rows.len() as u32 - 1;
    for (interval, pair) in (0..intervals).zip(street.rows.windows(2)) {
        for (position, &column) in (0..width).zip(bands) {
            let ground = match column {
                1 if pair[0].begins_crosswalk => WalkGround::Crosswalk,
                1 => WalkGround::Carriageway,
                _ => WalkGround::Sidewalk,
            };
            let (near, far) = (&pair[0].points, &pair[1].points);
            let corners = [near[column], near[column + 1], far[column + 1], far[column]];
            let mut draft = Draft::new(corners, ground);
            let number = base + interval * width + position;
            if interval > 0 {
                draft.neighbours[0].push(number - width);
            }
            if position + 1 < width {
                draft.neighbours[1].push(number + 1);
            }
            if interval + 1 < intervals {
                draft.neighbours[2].push(number + width);
            }
            if position > 0 {
                draft.neighbours[3].push(number - 1);
            }
            drafts.push(draft);
        }
    }
}

/// Leaves out what can't be walked on, and halves edges that lead to two polygons.
fn finish(drafts: Vec<Draft>) -> Vec<WalkPolygon> {
    let mut next = 0;
    let numbers: Vec<Option<u32>> = drafts
        .iter()
        .map(|draft| {
            draft.is_sound().then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let sound = drafts.iter().zip(&numbers).filter(|(_, n)| n.is_some());
    sound
        .map(|(draft, _)| {
            let mut polygon = WalkPolygon {
                corners: Vec::new(),
                neighbours: Vec::new(),
                ground: draft.ground,
            };
            for edge in 0..4 {
                let (from, to) = (draft.corners[edge], draft.corners[(edge + 1) % 4]);
                let beyond: Vec<u32> = draft.neighbours[edge]
                    .iter()
                    .filter_map(|other| numbers[*other as usize])
                    .collect();
                polygon.corners.push(from);
                polygon.neighbours.push(beyond.first().copied());
                if let Some(second) = beyond.get(1) {
                    let middle = std::array::from_fn(|i| 0.5 * (from[i] + to[i]));
                    polygon.corners.push(middle);
                    polygon.neighbours.push(Some(*second));
                }
            }
            polygon
        })
        .collect()
}

#[cfg(test)]
mod tests;
