//! The baked map and its queries.

use crate::Error;
use crate::bake::{self, Baked, Sample};
use crate::grid::Grid;
use crate::lane::{Lane, LaneIndex, LaneKind, LanePoint, LaneSample, Markings, Pose};
use crate::links;
use crate::polyline::{self, Polyline};
use crate::reader;
use crate::rules::{self, Rules};

/// Lanes that [`RoadMap::advance`] crosses at most, so that a ring of tiny lanes can't hold it.
const MAX_HOPS: u32 = 100_000;

/// An immutable, baked road map: `Send + Sync`, meant to be shared by `Arc`.
///
/// Queries take a [`LaneIndex`] that came from the same map and panic on one beyond
/// [`RoadMap::lanes`]. They allocate nothing, except [`RoadMap::polylines`].
#[derive(Debug, Clone)]
pub struct RoadMap {
    text: Box<str>,
    hash: u64,
    pub(crate) baked: Baked,
    grid: Grid,
    pub(crate) rules: Rules,
}

impl RoadMap {
    /// Reads and bakes OpenDRIVE text.
    ///
    /// Every lane is sampled at steps of 0.5 m at most, finer where it curves so much that a
    /// chord would leave it by more than 1 mm, and wherever its curvature may jump. Superelevation
    /// doesn't take part; traffic drives on the right (lanes with negative ids run with their road),
    /// which are libcarla's rules too.
    ///
    /// # Errors
    ///
    /// Any fault of the text: not XML, a document type definition, numbers missing or out of
    /// range, references that lead nowhere, more than the limits of [`Error::TooLarge`], or no
    /// driving lane.
    pub fn parse(xodr: &str) -> Result<RoadMap, Error> {
        let model = reader::read(xodr)?;
        let mut baked = bake::bake(&model)?;
        links::connect(&model, &mut baked)?;
        if baked
            .lanes
            .iter()
            .all(|lane| lane.kind != LaneKind::Driving)
        {
            return Err(Error::NoDrivingLane);
        }
        let grid = Grid::new(&baked);
        let rules = rules::bake(&model, &mut baked, &grid)?;
        Ok(RoadMap {
            text: xodr.into(),
            hash: fnv1a(xodr.as_bytes()),
            baked,
            grid,
            rules,
        })
    }

    /// All lanes of all kinds: by road, section, then from left to right as the road runs.
    pub fn lanes(&self) -> &[Lane] {
        &self.baked.lanes
    }

    /// Indices of the lanes of kind [`LaneKind::Driving`], ascending.
    pub fn driving_lanes(&self) -> impl Iterator<Item = LaneIndex> + '_ {
        (0..)
            .zip(&self.baked.lanes)
            .filter_map(|(index, lane)| (lane.kind == LaneKind::Driving).then_some(index))
    }

    /// The text that the map was read from.
    pub fn xodr(&self) -> &str {
        &self.text
    }

    /// A hash of the text (64-bit FNV-1a), the same on every machine and in every version.
    pub fn content_hash(&self) -> u64 {
        self.hash
    }

    /// The lane's centre at a distance from its start, clamped to `[0, length]`.
    pub fn sample(&self, lane: LaneIndex, s_m: f32) -> LaneSample {
        let (from, to, part) = self.at(lane, s_m);
        let (x, y) = position(from, to, part);
        LaneSample {
            pose: Pose {
                x,
                y,
                z: mix(from.z, to.z, part),
                yaw_rad: normalise(mix(from.yaw, to.yaw, part)),
            },
            curvature_per_m: mix(from.curvature, to.curvature, part),
            width_m: mix(from.width, to.width, part),
        }
    }

    /// The nearest driving lane, at any distance; none only for coordinates that aren't finite.
    ///
    /// The distance is taken in three dimensions, so a bridge and the road under it are told
    /// apart. With a yaw, lanes whose heading differs by less than 90 degrees win over others
    /// as long as one of them passes within 10 m.
    pub fn locate(&self, x: f32, y: f32, z: f32, yaw_rad: Option<f32>) -> Option<LanePoint> {
        self.grid.locate(self, [x, y, z], yaw_rad)
    }

    /// The place on one lane beside a point, searched from `near_s_m` downhill: the place is the
    /// one whose cross-section passes through the point. Beyond the lane's ends `s_m` stays at
    /// the end and `lateral_m` is measured from the end's tangent.
    pub fn project(&self, lane: LaneIndex, x: f32, y: f32, near_s_m: f32) -> LanePoint {
        let samples = self.samples(lane);
        let (index, part) = foot(samples, self.step_at(lane, near_s_m), x, y);
        let (from, to) = (&samples[index], &samples[index + 1]);
        let (centre_x, centre_y) = position(from, to, part);
        let (cos, sin) = (mix(from.cos, to.cos, part), mix(from.sin, to.sin, part));
        let across = (y - centre_y) * cos - (x - centre_x) * sin;
        LanePoint {
            lane,
            s_m: mix(from.s, to.s, part),
            // The interpolated direction is a chord of the unit circle.
            lateral_m: across / (cos * cos + sin * sin).sqrt(),
        }
    }

    /// The place on another lane of the same section that lies at the same road station.
    ///
    /// For a lane of another section there is no common station; the nearest place is given.
    pub fn abreast(&self, lane: LaneIndex, s_m: f32, other: LaneIndex) -> f32 {
        let (from, to) = (
            &self.baked.lanes[lane as usize],
            &self.baked.lanes[other as usize],
        );
        if from.road_id != to.road_id || from.section != to.section {
            return self.nearest_on(other, self.sample(lane, s_m).pose);
        }
        self.within_section(other, self.section_offset(lane, s_m))
    }

    /// The place on a lane nearest to a pose, wherever along the lane that is.
    fn nearest_on(&self, lane: LaneIndex, pose: Pose) -> f32 {
        let squared = |sample: &&Sample| {
            let (dx, dy) = (pose.x - sample.x, pose.y - sample.y);
            dx * dx + dy * dy
        };
        let samples = self.samples(lane).iter();
        let near = samples.min_by(|one, two| squared(one).total_cmp(&squared(two)));
        self.project(lane, pose.x, pose.y, near.map_or(0.0, |sample| sample.s))
            .s_m
    }

    /// The road station (metres along the road's reference line) beside a place on a lane.
    pub fn station(&self, lane: LaneIndex, s_m: f32) -> f32 {
        self.baked.lanes[lane as usize].section_start_m + self.section_offset(lane, s_m)
    }

    /// The place on a lane beside a road station, clamped to the lane: the inverse of
    /// [`RoadMap::station`].
    pub fn at_station(&self, lane: LaneIndex, station_m: f32) -> f32 {
        let start = self.baked.lanes[lane as usize].section_start_m;
        self.within_section(lane, station_m - start)
    }

    fn section_offset(&self, lane: LaneIndex, s_m: f32) -> f32 {
        let (from, to, part) = self.at(lane, s_m);
        mix(from.station, to.station, part)
    }

    /// Distance along a lane at which the station from the section's start is reached.
    fn within_section(&self, lane: LaneIndex, station: f32) -> f32 {
        let samples = self.samples(lane);
        let rises = self.baked.lanes[lane as usize].runs_with_road();
        let after = samples.partition_point(|sample| {
            if rises {
                sample.station <= station
            } else {
                sample.station >= station
            }
        });
        let index = after.clamp(1, samples.len() - 1) - 1;
        let (from, to) = (&samples[index], &samples[index + 1]);
        let span = to.station - from.station;
        let part = if span == 0.0 {
            0.0
        } else {
            (station - from.station) / span
        };
        mix(from.s, to.s, part.clamp(0.0, 1.0))
    }

    /// The place a distance further along, through the first driving successor of each lane.
    ///
    /// A negative distance goes backwards through the first driving predecessors. None past the
    /// end of the road, and for a distance that isn't finite.
    pub fn advance(&self, lane: LaneIndex, s_m: f32, distance_m: f32) -> Option<LanePoint> {
        let mut lane = lane;
        // In f64: a long way over many lanes must not lose centimetres.
        let mut s = f64::from(s_m) + f64::from(distance_m);
        if !s.is_finite() {
            return None;
        }
        for _ in 0..MAX_HOPS {
            let here = &self.baked.lanes[lane as usize];
            let length = f64::from(here.length_m);
            if s > length {
                s -= length;
                lane = self.first_driving(&here.successors)?;
            } else if s < 0.0 {
                lane = self.first_driving(&here.predecessors)?;
                s += f64::from(self.baked.lanes[lane as usize].length_m);
            } else {
                return Some(LanePoint {
                    lane,
                    s_m: s as f32,
                    lateral_m: 0.0,
                });
            }
        }
        None
    }

    fn first_driving(&self, lanes: &[LaneIndex]) -> Option<LaneIndex> {
        let is_driving =
            |lane: &&LaneIndex| self.baked.lanes[**lane as usize].kind == LaneKind::Driving;
        lanes.iter().find(is_driving).copied()
    }

    /// Distance from the lane's centre to the left and right edge of the driving surface of its
    /// direction: this lane and the driving lanes of the same direction beside it. Shoulders
    /// and oncoming lanes don't belong to it.
    pub fn half_width_to_edge(&self, lane: LaneIndex, s_m: f32) -> (f32, f32) {
        let (from, to, part) = self.at(lane, s_m);
        (
            mix(from.left_edge, to.left_edge, part),
            mix(from.right_edge, to.right_edge, part),
        )
    }

    /// The marks on both edges of a lane at a distance from its start.
    pub fn markings(&self, lane: LaneIndex, s_m: f32) -> Markings {
        let markings = &self.baked.markings[lane as usize];
        let behind = markings.partition_point(|entry| entry.0 <= s_m);
        markings[behind.saturating_sub(1)].1
    }

    /// Lane edges with their marks and centres of driving lanes, for drawing.
    ///
    /// Points lie `step_m` apart at most (clamped to `[0.1, 1000]`). Each edge comes once: a
    /// lane gives its outer edge, and the centre line of the road comes from the lane beside it.
    pub fn polylines(&self, step_m: f32) -> Vec<Polyline> {
        polyline::build(self, step_m)
    }

    fn samples(&self, lane: LaneIndex) -> &[Sample] {
        self.baked.samples(lane)
    }

    /// The step that contains a distance; clamped to the lane, NaN gives the start.
    fn step_at(&self, lane: LaneIndex, s_m: f32) -> usize {
        let track = &self.baked.tracks[lane as usize];
        let samples = self.samples(lane);
        // Casting saturates, and takes NaN to 0.
        let bucket = ((s_m * track.buckets_per_m) as u32).min(track.steps);
        let mut step = self.baked.buckets[(track.first + bucket) as usize] as usize;
        // Rounding may have put a sample at a bucket's start into the bucket before.
        while step > 0 && samples[step].s > s_m {
            step -= 1;
        }
        while step + 2 < samples.len() && samples[step + 1].s <= s_m {
            step += 1;
        }
        step
    }

    /// The samples around a distance, and the part of the step between them.
    fn at(&self, lane: LaneIndex, s_m: f32) -> (&Sample, &Sample, f32) {
        let step = self.step_at(lane, s_m);
        let pair = &self.samples(lane)[step..step + 2];
        let part = (s_m - pair[0].s) / (pair[1].s - pair[0].s);
        let part = if part.is_nan() { 0.0 } else { part };
        (&pair[0], &pair[1], part.clamp(0.0, 1.0))
    }
}

/// Step and part of a step whose cross-section contains the point.
///
/// `ahead` is how far the point lies ahead of a sample's cross-section. It falls from
/// positive to negative along the lane, so walking downhill brackets the sign change.
fn foot(samples: &[Sample], start: usize, x: f32, y: f32) -> (usize, f32) {
    let last = samples.len() - 2;
    let ahead = |at: usize| {
        let sample = &samples[at];
        (x - sample.x) * sample.cos + (y - sample.y) * sample.sin
    };
    let mut index = start;
    let mut behind = ahead(index);
    while behind < 0.0 {
        if index == 0 {
            return (0, 0.0);
        }
        index -= 1;
        behind = ahead(index);
    }
    let mut beyond = ahead(index + 1);
    while beyond >= 0.0 {
        if index == last {
            return (last, 1.0);
        }
        index += 1;
        behind = beyond;
        beyond = ahead(index + 1);
    }
    (
        index,
        root(&samples[index], &samples[index + 1], x, y, behind, beyond),
    )
}

/// Where between two samples the interpolated cross-section passes through the point: the root
/// of a quadratic, by the secant and one step of Newton's method.
fn root(from: &Sample, to: &Sample, x: f32, y: f32, behind: f32, beyond: f32) -> f32 {
    let secant = behind / (behind - beyond);
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let (turn_cos, turn_sin) = (to.cos - from.cos, to.sin - from.sin);
    let (cos, sin) = (from.cos + secant * turn_cos, from.sin + secant * turn_sin);
    let (to_x, to_y) = (x - from.x - secant * dx, y - from.y - secant * dy);
    let value = to_x * cos + to_y * sin;
    let slope = to_x * turn_cos + to_y * turn_sin - dx * cos - dy * sin;
    let part = if slope < 0.0 {
        secant - value / slope
    } else {
        secant
    };
    part.clamp(0.0, 1.0)
}

/// Cubic Hermite interpolation of the position with the samples' directions.
fn position(from: &Sample, to: &Sample, part: f32) -> (f32, f32) {
    let step = to.s - from.s;
    let rest = 1.0 - part;
    let far = part * part * (3.0 - 2.0 * part);
    let leave = step * part * rest * rest;
    let arrive = -step * part * part * rest;
    (
        from.x + far * (to.x - from.x) + leave * from.cos + arrive * to.cos,
        from.y + far * (to.y - from.y) + leave * from.sin + arrive * to.sin,
    )
}

fn mix(from: f32, to: f32, part: f32) -> f32 {
    from + part * (to - from)
}

/// Into (-pi, pi].
pub(crate) fn normalise(angle: f32) -> f32 {
    use std::f32::consts::{PI, TAU};
    if angle > -PI && angle <= PI {
        return angle;
    }
    let turned = angle - TAU * libm::roundf(angle / TAU);
    if turned <= -PI { PI } else { turned.min(PI) }
}

/// 64-bit FNV-1a. Source: Fowler, Noll and Vo, draft-eastlake-fnv.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
