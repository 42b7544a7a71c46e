//! From the file's model to lanes sampled along their own centre lines.

mod centreline;

use centreline::Centreline;

use crate::Error;
use crate::lane::{Lane, LaneIndex, LaneKind, Markings};
use crate::reader::{LaneModel, MapModel, Mark, RoadModel, SectionModel, in_force};

/// Coarsest step between samples.
const MAX_STEP_M: f64 = 0.5;
/// Finest step, however tight the curve.
const MIN_STEP_M: f64 = 0.05;
/// A chord between two samples may leave the curve, and a station interpolated between them the
/// true one, by this much.
const MAX_SAGITTA_M: f64 = 0.001;
/// Samples of a whole map: about 4,000 km of lanes, 400 MB.
const MAX_SAMPLES: usize = 8_000_000;
/// Samples of one lane per metre of its section. A sane lane needs 1 / `MIN_STEP_M` at most, and
/// some more on the outside of a bend; one whose offset runs away needs millions.
const MAX_SAMPLES_PER_M: f64 = 80.0;
/// Limit where the map gives none: 50 km/h, as in a town.
const DEFAULT_SPEED_LIMIT_MPS: f32 = 13.9;

/// One sample of a lane's centre line, in CARLA coordinates along the driving direction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sample {
    pub x: f32,
    pub y: f32,
    pub z: f32,
    /// Continuous along the lane, so not normalised.
    pub yaw: f32,
    pub cos: f32,
    pub sin: f32,
    pub curvature: f32,
    pub width: f32,
    /// Distance from the lane's driving start; the first is 0, the last the lane's length.
    pub s: f32,
    /// Metres of the road's reference line from the section's start.
    pub station: f32,
    /// From the lane's centre to the edge of the same-direction driving surface.
    pub left_edge: f32,
    pub right_edge: f32,
}

/// Where a lane's samples lie, and how to find one by distance without a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Track {
    pub first: u32,
    /// Steps, one fewer than samples; at least 1.
    pub steps: u32,
    pub length: f32,
    /// Buckets of equal length, as many as steps: each names the step that its start lies in.
    pub buckets_per_m: f32,
}

/// All lanes of a map with their samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Baked {
    pub lanes: Vec<Lane>,
    pub tracks: Vec<Track>,
    pub samples: Vec<Sample>,
    /// Parallel to `samples`: the step, counted in its lane, at the start of a bucket.
    pub buckets: Vec<u32>,
    /// By lane: marks by distance along the driving direction, the first at zero.
    pub markings: Vec<Vec<(f32, Markings)>>,
    /// Position of a section's first lane, by road position and section.
    pub section_lanes: Vec<Vec<LaneIndex>>,
}

impl Baked {
    /// The lane of an OpenDRIVE id in a section of the road at a position of the file.
    pub fn lane_at(
        &self,
        model: &MapModel,
        position: usize,
        section: usize,
        lane_id: i32,
    ) -> Option<LaneIndex> {
        let lanes = &model.roads[position].sections[section];
        let place = lanes.position(lane_id).filter(|_| lane_id != 0)?;
        // Lane 0 is in the model but isn't baked; it stands before the negative lanes, if at all.
        let skipped = usize::from(lane_id < 0 && lanes.position(0).is_some());
        Some(self.section_lanes[position][section] + (place - skipped) as LaneIndex)
    }

    /// The samples of a lane, two at least.
    pub fn samples(&self, lane: LaneIndex) -> &[Sample] {
        let track = &self.tracks[lane as usize];
        &self.samples[track.first as usize..][..=track.steps as usize]
    }

    /// Whether traffic drives on a lane.
    pub fn is_driving(&self, lane: LaneIndex) -> bool {
        self.lanes[lane as usize].kind == LaneKind::Driving
    }
}

/// Bakes every lane; links between lanes are made by [`crate::links`].
pub(crate) fn bake(model: &MapModel) -> Result<Baked, Error> {
    check_size(model)?;
    let mut baked = Baked::default();
    for road in &model.roads {
        let mut firsts = Vec::with_capacity(road.sections.len());
        for (number, section) in road.sections.iter().enumerate() {
            firsts.push(baked.lanes.len() as LaneIndex);
            for position in (0..section.lanes.len()).filter(|i| section.lanes[*i].id != 0) {
                bake_lane(&mut baked, road, number, position)?;
            }
        }
        baked.section_lanes.push(firsts);
    }
    Ok(baked)
}

/// Refuses at once what would be refused after a long time of baking.
fn check_size(model: &MapModel) -> Result<(), Error> {
    let sections = model.roads.iter().flat_map(|road| &road.sections);
    let metres: f64 = sections
        .map(|section| (section.end - section.start) * section.lanes.len() as f64)
        .sum();
    // Lanes inside of bends are shorter than their sections.
    if metres / MAX_STEP_M > 1.5 * MAX_SAMPLES as f64 {
        return Err(too_many_samples());
    }
    Ok(())
}

fn bake_lane(
    baked: &mut Baked,
    road: &RoadModel,
    number: usize,
    position: usize,
) -> Result<(), Error> {
    let section = &road.sections[number];
    let lane = &section.lanes[position];
    let centreline = Centreline::new(road, section, position);
    let room = (MAX_SAMPLES_PER_M * (section.end - section.start) + 1000.0) as usize;
    let table = centreline.measure(room)?;
    let step = step_for(table.sharpest);
    // The quotient first: collecting a runaway lane's distances would take too long.
    if table.length / step > room as f64 {
        return Err(runaway_lane(room));
    }
    let distances: Vec<f64> = table.distances(step).take(room + 1).collect();
    if distances.len() > room {
        return Err(runaway_lane(room));
    }
    if baked.samples.len() + distances.len() > MAX_SAMPLES {
        return Err(too_many_samples());
    }
    let first = baked.samples.len();
    centreline.sample(&table, &distances, &mut baked.samples)?;
    if lane.id > 0 {
        baked.samples[first..].reverse();
    }
    push_track(baked, first);
    let markings = markings(section, position, |station| {
        let along = table.distance(station);
        if lane.id > 0 {
            table.length - along
        } else {
            along
        }
    });
    baked.lanes.push(describe(
        road,
        number,
        position,
        table.length,
        markings[0].1,
    ));
    baked.markings.push(markings);
    Ok(())
}

/// Indexes the samples from `first` on as one lane.
fn push_track(baked: &mut Baked, first: usize) {
    let samples = &baked.samples[first..];
    let steps = samples.len() - 1;
    let length = samples[steps].s;
    let buckets_per_m = steps as f32 / length;
    let mut step = 0;
    for bucket in 0..=steps {
        // A sample may fall on a bucket's start by rounding; the query walks forward from there.
        let start = bucket as f32 / buckets_per_m;
        while step + 1 < steps && samples[step + 1].s <= start {
            step += 1;
        }
        baked.buckets.push(step as u32);
    }
    baked.tracks.push(Track {
        first: first as u32,
        steps: steps as u32,
        length,
        buckets_per_m,
    });
}

/// A lane that is far longer than its section, or has records without number.
fn runaway_lane(limit: usize) -> Error {
    crate::reader::too_large("samples in one lane", limit + 1, limit)
}

fn too_many_samples() -> Error {
    crate::reader::too_large("lane samples", MAX_SAMPLES + 1, MAX_SAMPLES)
}

fn step_for(sharpest_per_m: f64) -> f64 {
    if sharpest_per_m <= 0.0 {
        return MAX_STEP_M;
    }
    libm::sqrt(8.0 * MAX_SAGITTA_M / sharpest_per_m).clamp(MIN_STEP_M, MAX_STEP_M)
}

fn describe(
    road: &RoadModel,
    number: usize,
    position: usize,
    length: f64,
    marks: Markings,
) -> Lane {
    let section = &road.sections[number];
    let lane = &section.lanes[position];
    let driving_start = if lane.id < 0 {
        section.start
    } else {
        section.end - END_MARGIN_M
    };
    Lane {
        road_id: road.id,
        section: number as u16,
        lane_id: lane.id,
        kind: lane.kind,
        speed_limit_mps: speed_limit(road, section, lane, driving_start),
        junction: road.junction,
        length_m: length as f32,
        left: None,
        right: None,
        may_change_left: false,
        may_change_right: false,
        left_mark: marks.left,
        right_mark: marks.right,
        successors: Vec::new(),
        predecessors: Vec::new(),
        section_start_m: section.start as f32,
        section_end_m: section.end as f32,
    }
}

/// The limit of the lane, else of the road, else of a town.
pub(crate) fn speed_limit(
    road: &RoadModel,
    section: &SectionModel,
    lane: &LaneModel,
    station: f64,
) -> f32 {
    in_force(&lane.speeds, station - section.start)
        .or_else(|| in_force(&road.speeds, station))
        .unwrap_or(DEFAULT_SPEED_LIMIT_MPS)
}

/// Records that start at a section's end belong to the next section.
pub(crate) const END_MARGIN_M: f64 = 1e-9;

/// The marks of both sides, wherever one of them changes, along the driving direction.
fn markings(
    section: &SectionModel,
    position: usize,
    distance: impl Fn(f64) -> f64,
) -> Vec<(f32, Markings)> {
    let lane = &section.lanes[position];
    let inner = if lane.id < 0 {
        position.checked_sub(1)
    } else {
        Some(position + 1)
    };
    let inner = inner.and_then(|i| section.lanes.get(i));
    let length = section.end - section.start;
    let mut offsets: Vec<f64> = [Some(lane), inner]
        .into_iter()
        .flatten()
        .flat_map(|lane| lane.marks.iter().map(|mark| mark.0))
        .filter(|offset| *offset > 0.0 && *offset < length)
        .chain([0.0])
        .collect();
    offsets.sort_by(f64::total_cmp);
    offsets.dedup();
    let ends = offsets.iter().skip(1).copied().chain([length]);
    let mut marks: Vec<(f32, Markings)> = offsets
        .iter()
        .zip(ends)
        .map(|(offset, end)| {
            let begin = if lane.id < 0 { *offset } else { end };
            let along = distance(section.start + begin).max(0.0) as f32;
            (along, markings_at(lane, inner, *offset))
        })
        .collect();
    if lane.id > 0 {
        marks.reverse();
    }
    marks
}

fn markings_at(lane: &LaneModel, inner: Option<&LaneModel>, offset: f64) -> Markings {
    let outer_mark: Mark = in_force(&lane.marks, offset).unwrap_or_default();
    let inner_mark: Mark = inner
        .and_then(|inner| in_force(&inner.marks, offset))
        .unwrap_or_default();
    // Outwards means towards lower ids on the right side of the road, higher ids on the left.
    let (left_permits_change, right_permits_change) = if lane.id < 0 {
        (inner_mark.permits_increase, outer_mark.permits_decrease)
    } else {
        (inner_mark.permits_decrease, outer_mark.permits_increase)
    };
    Markings {
        left: inner_mark.kind,
        right: outer_mark.kind,
        left_permits_change,
        right_permits_change,
    }
}

/// Whether two neighbours of a section form one driving surface of one direction.
pub(crate) fn is_same_surface(left: &LaneModel, right: &LaneModel) -> bool {
    left.kind == LaneKind::Driving
        && right.kind == LaneKind::Driving
        && left.id.signum() == right.id.signum()
}
