//! Speed limits along lanes.

use super::rows::Rows;
use super::signal::{Signal, SignalKind};
use super::stop_line::lanes_of;
use crate::bake::{Baked, END_MARGIN_M, Sample, speed_limit};
use crate::lane::LaneIndex;
use crate::reader::{MapModel, RoadModel};

/// By lane the limits from the driving start on: records of the lane, else of the road, and
/// signs (type 274), each of which holds until the next one or the end of its road.
pub(super) fn bake(model: &MapModel, baked: &mut Baked, signals: &[Signal]) -> Rows<(f32, f32)> {
    let mut entries: Vec<(LaneIndex, (f32, f32))> = Vec::new();
    let mut first_signal = 0;
    for (position, road) in model.roads.iter().enumerate() {
        let own = &signals[first_signal..][..road.signals.len()];
        first_signal += road.signals.len();
        let signs = signs(road, own);
        for number in 0..road.sections.len() {
            push_section(model, baked, position, number, &signs, &mut entries);
        }
    }
    for (lane, (from, limit)) in &entries {
        if *from <= 0.0 {
            baked.lanes[*lane as usize].speed_limit_mps = *limit;
        }
    }
    Rows::new(baked.lanes.len(), entries)
}

/// A speed sign: its station, its limit, and whether it is meant for lanes with and against the road.
struct Sign {
    station: f64,
    limit: f32,
    forward: bool,
    backward: bool,
}

fn signs(road: &RoadModel, signals: &[Signal]) -> Vec<Sign> {
    let mut signs = Vec::new();
    // The scopes of a road begin with those of its own signals.
    for (signal, scope) in signals.iter().zip(&road.scopes) {
        let Some(limit) = signal
            .speed_limit_mps
            .filter(|_| signal.kind == SignalKind::SpeedLimit)
        else {
            continue;
        };
        let lanes = lanes_of(road, road.section_at(scope.station), scope);
        signs.push(Sign {
            station: scope.station,
            limit,
            forward: lanes.iter().any(|lane| *lane < 0),
            backward: lanes.iter().any(|lane| *lane > 0),
        });
    }
    signs
}

fn push_section(
    model: &MapModel,
    baked: &Baked,
    position: usize,
    number: usize,
    signs: &[Sign],
    entries: &mut Vec<(LaneIndex, (f32, f32))>,
) {
    let road = &model.roads[position];
    let section = &road.sections[number];
    for lane in section.lanes.iter().filter(|lane| lane.id != 0) {
        let Some(index) = baked.lane_at(model, position, number, lane.id) else {
            continue;
        };
        let with_road = lane.id < 0;
        let is_meant = |sign: &&Sign| {
            if with_road {
                sign.forward
            } else {
                sign.backward
            }
        };
        // The sign last passed, if any.
        let sign_at = |station: f64| {
            let passed = signs.iter().filter(is_meant).filter(|sign| {
                if with_road {
                    sign.station <= station
                } else {
                    sign.station >= station
                }
            });
            let last = passed.max_by(|a, b| {
                let order = a.station.total_cmp(&b.station);
                if with_road { order } else { order.reverse() }
            });
            last.map(|sign| sign.limit)
        };
        let records = lane.speeds.iter().map(|step| section.start + step.0);
        let mut stations: Vec<f64> = records
            .chain(road.speeds.iter().map(|step| step.0))
            .chain(signs.iter().filter(is_meant).map(|sign| sign.station))
            .filter(|station| *station > section.start && *station < section.end)
            .chain([section.start, section.end])
            .collect();
        stations.sort_by(f64::total_cmp);
        stations.dedup();
        let mut steps: Vec<(f32, f32)> = Vec::new();
        let mut push = |station: f64, inside: f64| {
            let limit = sign_at(inside).unwrap_or_else(|| speed_limit(road, section, lane, inside));
            if steps.last().is_none_or(|last| last.1 != limit) {
                let from = distance(baked.samples(index), (station - section.start) as f32);
                steps.push((if steps.is_empty() { 0.0 } else { from }, limit));
            }
        };
        if with_road {
            stations[..stations.len() - 1]
                .iter()
                .for_each(|at| push(*at, *at));
        } else {
            let ends = stations.iter().skip(1).rev();
            ends.for_each(|at| push(*at, *at - END_MARGIN_M));
        }
        entries.extend(steps.into_iter().map(|step| (index, step)));
    }
}

/// Distance along a lane at a station from the section's start.
pub(super) fn distance(samples: &[Sample], station: f32) -> f32 {
    let rises = samples[0].station <= samples[samples.len() - 1].station;
    let after = samples.partition_point(|sample| {
        if rises {
            sample.station <= station
        } else {
            sample.station >= station
        }
    });
    let index = after.clamp(1, samples.len() - 1);
    let (from, to) = (&samples[index - 1], &samples[index]);
    let span = to.station - from.station;
    let part = if span == 0.0 {
        0.0
    } else {
        (station - from.station) / span
    };
    from.s + part.clamp(0.0, 1.0) * (to.s - from.s)
}
