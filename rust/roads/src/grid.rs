//! The nearest lane: a uniform grid of points of the driving lanes.

use std::collections::BTreeMap;

use crate::bake::Baked;
use crate::lane::{LaneIndex, LaneKind, LanePoint};
use crate::map::RoadMap;

/// Side of a cell, doubled until the map fits.
const CELL_M: f32 = 4.0;
const MAX_CELLS: f32 = 4_000_000.0;
/// Distance between two key points of a lane.
const KEY_STEP_M: f32 = 2.0;
/// A lane may be nearer than its nearest key point by this much: half a step and some bend.
const KEY_SLACK_M: f32 = 1.25;
/// And nearer or farther than the circle through that key point by this much: where curvature
/// changes between two keys.
const CIRCLE_SLACK_M: f32 = 0.3;
/// Within this distance a lane of the right heading wins over a nearer one of the wrong one.
const HEADING_REACH_M: f32 = 10.0;
/// A lane reaches this far from its centre at most, near enough.
const WIDE_HALF_LANE_M: f32 = 4.0;
/// Lanes that compete for one place; a point has rarely more than a few beside it.
const MAX_CANDIDATES: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Key {
    x: f32,
    y: f32,
    z: f32,
    cos: f32,
    sin: f32,
    s: f32,
    curvature: f32,
    lane: LaneIndex,
    /// The lane begins or ends here.
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Inner,
    Last,
}

/// A part of a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    pub lane: LaneIndex,
    pub from_m: f32,
    pub to_m: f32,
}

/// Key points sorted by cell, with the start of each cell.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    origin: [f32; 2],
    cell: f32,
    columns: i32,
    rows: i32,
    starts: Vec<u32>,
    keys: Vec<Key>,
}

/// A lane with its nearest key so far.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    distance: f32,
    /// Position of the key in the grid.
    key: u32,
    lane: LaneIndex,
}

/// The best key of each lane met so far.
struct Candidates {
    entries: [Candidate; MAX_CANDIDATES],
    count: usize,
    nearest: f32,
    /// A lane whose nearest key is farther can't be the nearest lane; squared.
    reach_squared: f32,
}

impl Candidates {
    fn new() -> Self {
        Self {
            entries: [Candidate {
                distance: 0.0,
                key: 0,
                lane: 0,
            }; MAX_CANDIDATES],
            count: 0,
            nearest: f32::INFINITY,
            reach_squared: f32::INFINITY,
        }
    }

    /// Keeps the smaller distance of a lane; a full list forgets its farthest lane.
    fn offer(&mut self, squared: f32, key: u32, lane: LaneIndex) {
        if squared > self.reach_squared {
            return;
        }
        let distance = squared.sqrt();
        if distance < self.nearest {
            self.nearest = distance;
            self.reach_squared = (distance + KEY_SLACK_M) * (distance + KEY_SLACK_M);
        }
        let candidate = Candidate {
            distance,
            key,
            lane,
        };
        let entries = &mut self.entries[..self.count];
        if let Some(entry) = entries.iter_mut().find(|entry| entry.lane == lane) {
            if distance < entry.distance {
                *entry = candidate;
            }
        } else if self.count < MAX_CANDIDATES {
            self.entries[self.count] = candidate;
            self.count += 1;
        } else if let Some(farthest) = entries
            .iter_mut()
            .max_by(|a, b| a.distance.total_cmp(&b.distance))
            && distance < farthest.distance
        {
            *farthest = candidate;
        }
    }
}

impl Grid {
    pub fn new(baked: &Baked) -> Self {
        let keys = keys(baked);
        let bound = |pick: fn(&Key) -> f32, start: f32, fold: fn(f32, f32) -> f32| {
            keys.iter().map(pick).fold(start, fold)
        };
        let low = [
            bound(|key| key.x, f32::INFINITY, f32::min),
            bound(|key| key.y, f32::INFINITY, f32::min),
        ];
        let high = [
            bound(|key| key.x, f32::NEG_INFINITY, f32::max),
            bound(|key| key.y, f32::NEG_INFINITY, f32::max),
        ];
        let mut cell = CELL_M;
        let count = |cell: f32, axis: usize| ((high[axis] - low[axis]) / cell).floor() + 1.0;
        while count(cell, 0) * count(cell, 1) > MAX_CELLS {
            cell *= 2.0;
        }
        let mut grid = Grid {
            origin: low,
            cell,
            columns: count(cell, 0) as i32,
            rows: count(cell, 1) as i32,
            starts: Vec::new(),
            keys: Vec::new(),
        };
        grid.fill(keys);
        grid
    }

    fn fill(&mut self, mut keys: Vec<Key>) {
        let cells = self.columns as usize * self.rows as usize;
        keys.sort_by_key(|key| self.index(self.cell_of(key.x, key.y)));
        self.starts = vec![0; cells + 1];
        for key in &keys {
            let index = self.index(self.cell_of(key.x, key.y));
            self.starts[index + 1] += 1;
        }
        for index in 0..cells {
            self.starts[index + 1] += self.starts[index];
        }
        self.keys = keys;
    }

    fn cell_of(&self, x: f32, y: f32) -> (i32, i32) {
        let along = |value: f32, origin: f32, count: i32| {
            (((value - origin) / self.cell).floor().max(0.0) as i32).min(count - 1)
        };
        (
            along(x, self.origin[0], self.columns),
            along(y, self.origin[1], self.rows),
        )
    }

    fn index(&self, (column, row): (i32, i32)) -> usize {
        row as usize * self.columns as usize + column as usize
    }

    /// See [`RoadMap::locate`]. Square rings of cells are searched outwards until no unseen key
    /// can belong to a nearer lane.
    pub fn locate(&self, map: &RoadMap, point: [f32; 3], yaw: Option<f32>) -> Option<LanePoint> {
        if !point.iter().all(|value| value.is_finite()) {
            return None;
        }
        let direction = yaw
            .filter(|yaw| yaw.is_finite())
            .map(|yaw| (libm::cosf(yaw), libm::sinf(yaw)));
        let home = self.cell_of(point[0], point[1]);
        let mut candidates = Candidates::new();
        let reach = HEADING_REACH_M + KEY_SLACK_M;
        let mut is_headed_met = false;
        for ring in 0..=self.columns.max(self.rows) {
            self.visit_ring(home, ring, |at, key| {
                let squared = key.squared_distance(point);
                let is_headed = key.is_headed(direction);
                if is_headed && !is_headed_met && squared < reach * reach {
                    is_headed_met = true;
                    candidates = Candidates::new();
                }
                if is_headed || !is_headed_met {
                    candidates.offer(squared, at, key.lane);
                }
            });
            let seen_m = ring as f32 * self.cell;
            let is_settled = is_headed_met || direction.is_none() || seen_m > reach;
            if is_settled && candidates.nearest + KEY_SLACK_M <= seen_m {
                break;
            }
        }
        self.best(map, point, &candidates)
    }

    /// The parts of driving lanes that may come within a radius of a place, ascending by lane.
    pub fn near(&self, x: f32, y: f32, radius: f32) -> Vec<Stretch> {
        let reach = radius + KEY_STEP_M + WIDE_HALF_LANE_M;
        let (left, top) = self.cell_of(x - reach, y - reach);
        let (right, bottom) = self.cell_of(x + reach, y + reach);
        let mut stretches: BTreeMap<LaneIndex, Stretch> = BTreeMap::new();
        for row in top..=bottom {
            self.visit_row(row, left, right, &mut |_, key: &Key| {
                let (dx, dy) = (key.x - x, key.y - y);
                if dx * dx + dy * dy <= reach * reach {
                    let (from_m, to_m) = (key.s - KEY_STEP_M, key.s + KEY_STEP_M);
                    let lane = key.lane;
                    let stretch = stretches
                        .entry(lane)
                        .or_insert(Stretch { lane, from_m, to_m });
                    stretch.from_m = stretch.from_m.min(from_m);
                    stretch.to_m = stretch.to_m.max(to_m);
                }
            });
        }
        stretches.into_values().collect()
    }

    /// Calls for each key whose cell is `ring` cells away from `home`; ring 0 covers ring 1 too,
    /// because a point beside a road always needs both and whole rows are contiguous.
    fn visit_ring(&self, home: (i32, i32), ring: i32, mut visit: impl FnMut(u32, &Key)) {
        let reach = ring.max(1);
        if ring == 1 {
            return;
        }
        let (left, right) = (home.0 - reach, home.0 + reach);
        for row in (home.1 - reach).max(0)..=(home.1 + reach).min(self.rows - 1) {
            if ring == 0 || (row - home.1).abs() == reach {
                self.visit_row(row, left, right, &mut visit);
            } else {
                self.visit_row(row, left, left, &mut visit);
                self.visit_row(row, right, right, &mut visit);
            }
        }
    }

    /// Projects onto every lane that may be the nearest, and takes the nearest.
    ///
    /// Lanes that start together, as before the turns of a junction, have keys at one distance;
    /// the circle through the key tells most of them apart without a projection.
    fn best(&self, map: &RoadMap, point: [f32; 3], candidates: &Candidates) -> Option<LanePoint> {
        let reach = candidates.nearest + KEY_SLACK_M;
        let near = candidates.entries[..candidates.count]
            .iter()
            .filter(|candidate| candidate.distance <= reach);
        let mut least = f32::INFINITY;
        let mut estimates = [0.0; MAX_CANDIDATES];
        for (candidate, estimate) in near.clone().zip(&mut estimates) {
            *estimate = self.keys[candidate.key as usize].circle_distance(point);
            least = least.min(*estimate);
        }
        let mut best: Option<(f32, LanePoint)> = None;
        for (candidate, estimate) in near.zip(estimates) {
            if estimate > least + 2.0 * CIRCLE_SLACK_M {
                continue;
            }
            let (lane, s) = (candidate.lane, self.keys[candidate.key as usize].s);
            let place = map.project(lane, point[0], point[1], s);
            let pose = map.sample(lane, place.s_m).pose;
            let (dx, dy, dz) = (point[0] - pose.x, point[1] - pose.y, point[2] - pose.z);
            let squared = dx * dx + dy * dy + dz * dz;
            let is_nearer = best.is_none_or(|(least, chosen)| {
                squared < least || (squared == least && lane < chosen.lane)
            });
            if is_nearer {
                best = Some((squared, place));
            }
        }
        best.map(|(_, place)| place)
    }

    fn visit_row(&self, row: i32, from: i32, to: i32, visit: &mut impl FnMut(u32, &Key)) {
        let (from, to) = (from.max(0), to.min(self.columns - 1));
        if from <= to {
            let start = self.starts[self.index((from, row))] as usize;
            let end = self.starts[self.index((to, row)) + 1] as usize;
            for (at, key) in (start as u32..).zip(&self.keys[start..end]) {
                visit(at, key);
            }
        }
    }
}

impl Key {
    fn squared_distance(&self, point: [f32; 3]) -> f32 {
        let (dx, dy, dz) = (point[0] - self.x, point[1] - self.y, point[2] - self.z);
        dx * dx + dy * dy + dz * dz
    }

    /// Distance to the circle (or line) that the lane follows at this key; behind a lane's end,
    /// to the end.
    fn circle_distance(&self, point: [f32; 3]) -> f32 {
        let (dx, dy, dz) = (point[0] - self.x, point[1] - self.y, point[2] - self.z);
        let ahead = dx * self.cos + dy * self.sin;
        let is_beyond =
            (self.end == End::First && ahead < 0.0) || (self.end == End::Last && ahead > 0.0);
        let squared = dx * dx + dy * dy;
        if is_beyond {
            return (squared + dz * dz).sqrt();
        }
        let right = dy * self.cos - dx * self.sin;
        // The exact signed distance, in a form that holds for a line too.
        let k = self.curvature;
        let root = (1.0 - 2.0 * k * right + k * k * squared).max(0.0).sqrt();
        let aside = (2.0 * right - k * squared) / (1.0 + root);
        (aside * aside + dz * dz).sqrt()
    }

    fn is_headed(&self, direction: Option<(f32, f32)>) -> bool {
        direction.is_none_or(|(cos, sin)| self.cos * cos + self.sin * sin > 0.0)
    }
}

fn keys(baked: &Baked) -> Vec<Key> {
    let mut keys = Vec::new();
    for (lane, track) in (0..).zip(&baked.tracks) {
        if baked.lanes[lane as usize].kind != LaneKind::Driving {
            continue;
        }
        let samples = &baked.samples[track.first as usize..][..=track.steps as usize];
        let mut next_s = f32::NEG_INFINITY;
        for (at, sample) in samples.iter().enumerate() {
            // The last sample that isn't too far from the last key, and the lane's end.
            if samples.get(at + 1).is_some_and(|after| after.s <= next_s) {
                continue;
            }
            next_s = sample.s + KEY_STEP_M;
            keys.push(Key {
                x: sample.x,
                y: sample.y,
                z: sample.z,
                cos: sample.cos,
                sin: sample.sin,
                s: sample.s,
                curvature: sample.curvature,
                lane,
                end: match at {
                    0 => End::First,
                    _ if at + 1 == samples.len() => End::Last,
                    _ => End::Inner,
                },
            });
        }
    }
    keys
}
