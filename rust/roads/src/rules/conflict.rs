//! Where the lanes of a junction get in each other's way.

use std::collections::BTreeSet;

use super::rows::Rows;
use crate::Error;
use crate::bake::{Baked, Sample};
use crate::lane::LaneIndex;
use crate::reader::too_large;

/// Two centre lines conflict where they are nearer than this part of the sum of their widths:
/// lanes side by side (0.5) don't, cars on them would still have most of a metre between them.
const CLEARANCE_PART: f32 = 0.4;
/// Two cars abreast touch below this, however narrow the lanes.
const LEAST_CLEARANCE_M: f32 = 2.0;
/// One passes over the other.
const LEAST_HEADROOM_M: f32 = 3.0;
/// Ends of lanes that lie so near to each other lead to the same place.
const SAME_END_M: f32 = 0.75;
/// Comparisons of two samples, about two seconds; Town04 of CARLA needs 2 million.
const MAX_COMPARISONS: u64 = 400_000_000;

/// How two lanes meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// They cross, or one follows the other for a while against it.
    Cross,
    /// They end in the same place.
    Merge,
    /// They begin in the same place.
    Diverge,
}

/// One contiguous stretch on which two junction lanes are too near to each other for two cars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conflict {
    /// The other lane.
    pub other: LaneIndex,
    /// How they meet.
    pub kind: ConflictKind,
    /// The stretch on this lane: from, to (metres along it).
    pub own_m: (f32, f32),
    /// The stretch on the other lane.
    pub other_m: (f32, f32),
}

/// The conflicts of every lane, mirrored: each pair is found from both of its lanes.
pub(super) fn bake(baked: &Baked, junctions: &[Vec<LaneIndex>]) -> Result<Rows<Conflict>, Error> {
    let mut conflicts: Vec<(u32, Conflict)> = Vec::new();
    let mut comparisons = 0;
    for lanes in junctions {
        let bounds: Vec<Bounds> = lanes.iter().map(|lane| Bounds::of(baked, *lane)).collect();
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        order.sort_by(|a, b| bounds[*a].low[0].total_cmp(&bounds[*b].low[0]));
        for (place, one) in order.iter().enumerate() {
            for other in &order[place + 1..] {
                if bounds[*other].low[0] > bounds[*one].high[0] {
                    break;
                }
                comparisons += 1;
                if bounds[*one].touches(&bounds[*other]) {
                    let (a, b) = (
                        lanes[*one].min(lanes[*other]),
                        lanes[*one].max(lanes[*other]),
                    );
                    comparisons += compare(baked, a, b, &mut conflicts);
                }
                if comparisons > MAX_COMPARISONS {
                    let what = "comparisons between lanes of junctions";
                    return Err(too_large(
                        what,
                        comparisons as usize,
                        MAX_COMPARISONS as usize,
                    ));
                }
            }
        }
    }
    // By the other lane within a row, then along the own lane.
    conflicts.sort_by(|a, b| {
        let key = |conflict: &(u32, Conflict)| (conflict.0, conflict.1.other);
        key(a)
            .cmp(&key(b))
            .then(a.1.own_m.0.total_cmp(&b.1.own_m.0))
    });
    Ok(Rows::new(baked.lanes.len(), conflicts))
}

/// A box around a lane with its own width.
struct Bounds {
    low: [f32; 2],
    high: [f32; 2],
}

impl Bounds {
    fn of(baked: &Baked, lane: LaneIndex) -> Self {
        let mut bounds = Self {
            low: [f32::INFINITY; 2],
            high: [f32::NEG_INFINITY; 2],
        };
        for sample in baked.samples(lane) {
            let margin = sample.width.max(LEAST_CLEARANCE_M);
            for (axis, value) in [sample.x, sample.y].into_iter().enumerate() {
                bounds.low[axis] = bounds.low[axis].min(value - margin);
                bounds.high[axis] = bounds.high[axis].max(value + margin);
            }
        }
        bounds
    }

    fn touches(&self, other: &Self) -> bool {
        (0..2).all(|axis| self.low[axis] <= other.high[axis] && other.low[axis] <= self.high[axis])
    }
}

/// A stretch of one lane that is too near to another lane.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: f32,
    to: f32,
    /// Where on the other lane the nearest point of all lies.
    nearest_on_other: f32,
}

/// Finds the conflicts of two lanes and returns how many samples were compared.
fn compare(
    baked: &Baked,
    one: LaneIndex,
    other: LaneIndex,
    conflicts: &mut Vec<(u32, Conflict)>,
) -> u64 {
    let (a, b) = (baked.samples(one), baked.samples(other));
    let comparisons = 2 * a.len() as u64 * b.len() as u64;
    let on_one = runs(a, b);
    if on_one.is_empty() {
        return comparisons;
    }
    let on_other = runs(b, a);
    let pick = |runs: &[Run], at: f32| {
        let gap = |run: &Run| (run.from - at).max(at - run.to).max(0.0);
        (0..runs.len()).min_by(|x, y| gap(&runs[*x]).total_cmp(&gap(&runs[*y])))
    };
    let mut pairs: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (i, run) in on_one.iter().enumerate() {
        pairs.extend(pick(&on_other, run.nearest_on_other).map(|j| (i, j)));
    }
    for (j, run) in on_other.iter().enumerate() {
        pairs.extend(pick(&on_one, run.nearest_on_other).map(|i| (i, j)));
    }
    for (i, j) in pairs {
        let (own, theirs) = (on_one[i], on_other[j]);
        let kind = kind(baked, one, other, own, theirs);
        let (own_m, other_m) = ((own.from, own.to), (theirs.from, theirs.to));
        let forth = Conflict {
            other,
            kind,
            own_m,
            other_m,
        };
        let back = Conflict {
            other: one,
            kind,
            own_m: other_m,
            other_m: own_m,
        };
        conflicts.extend([(one, forth), (other, back)]);
    }
    comparisons
}

fn kind(baked: &Baked, one: LaneIndex, other: LaneIndex, own: Run, theirs: Run) -> ConflictKind {
    let (a, b) = (baked.samples(one), baked.samples(other));
    let near = |p: &Sample, q: &Sample| {
        let (dx, dy) = (p.x - q.x, p.y - q.y);
        dx * dx + dy * dy < SAME_END_M * SAME_END_M && p.cos * q.cos + p.sin * q.sin > 0.0
    };
    let (last_a, last_b) = (&a[a.len() - 1], &b[b.len() - 1]);
    if own.to >= last_a.s && theirs.to >= last_b.s && near(last_a, last_b) {
        ConflictKind::Merge
    } else if own.from <= 0.0 && theirs.from <= 0.0 && near(&a[0], &b[0]) {
        ConflictKind::Diverge
    } else {
        ConflictKind::Cross
    }
}

/// Stretches of `own` within the clearance of `other`, their ends interpolated.
fn runs(own: &[Sample], other: &[Sample]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: Option<(Run, f32)> = None;
    let mut before: Option<(f32, f32)> = None;
    for sample in own {
        let (excess, at) = nearest(sample, other);
        let crossing = before.map_or(sample.s, |(s, last)| {
            let span = last - excess;
            let part = if span.is_finite() && span != 0.0 {
                last / span
            } else {
                0.5
            };
            s + part.clamp(0.0, 1.0) * (sample.s - s)
        });
        open = match (open, excess < 0.0) {
            (None, true) => {
                let run = Run {
                    from: crossing,
                    to: sample.s,
                    nearest_on_other: at,
                };
                Some((run, excess))
            }
            (Some((mut run, least)), true) => {
                run.to = sample.s;
                if excess < least {
                    run.nearest_on_other = at;
                }
                Some((run, least.min(excess)))
            }
            (Some((mut run, _)), false) => {
                run.to = crossing;
                runs.push(run);
                None
            }
            (None, false) => None,
        };
        before = Some((sample.s, excess));
    }
    runs.extend(open.map(|(run, _)| run));
    runs
}

/// By how much the nearest point of a lane is farther than the clearance, and where it lies.
fn nearest(point: &Sample, lane: &[Sample]) -> (f32, f32) {
    let (mut least, mut best) = (f32::INFINITY, (f32::INFINITY, 0.0));
    for pair in lane.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let (px, py) = (point.x - from.x, point.y - from.y);
        let length = dx * dx + dy * dy;
        let part = if length > 0.0 {
            ((px * dx + py * dy) / length).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let (ox, oy) = (px - part * dx, py - part * dy);
        let squared = ox * ox + oy * oy;
        let height = from.z + part * (to.z - from.z) - point.z;
        if squared < least && height.abs() < LEAST_HEADROOM_M {
            least = squared;
            let clearance = (CLEARANCE_PART * (point.width + from.width)).max(LEAST_CLEARANCE_M);
            best = (squared.sqrt() - clearance, from.s + part * (to.s - from.s));
        }
    }
    best
}
