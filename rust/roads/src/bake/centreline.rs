//! The centre line of one lane: offset from the reference line, arc length, samples.
//!
//! With reference curvature `k` and offset `t` (positive left), the point moves by
//! `(1 - k t, t')` in the reference frame per metre of station. Its speed is the length of that
//! vector, its heading leans by the vector's angle, and its curvature is the change of heading
//! over the speed.

use super::{END_MARGIN_M, Sample};
use crate::Error;
use crate::geometry::integrate;
use crate::lane::LaneKind;
use crate::polynomial::{Jet, Piecewise};
use crate::reader::{LaneModel, RoadModel, SectionModel};

/// Coarsest interval of the arc-length table.
const TABLE_STEP_M: f64 = 0.5;
/// Two joints closer than this count as one: `f32` distances must tell samples apart.
const MIN_PIECE_M: f64 = 0.02;
/// Slower than this the centre line stands still: the inner side of a curve tighter than the
/// lane's offset.
const MIN_SPEED: f64 = 1e-6;
/// Farthest sample from the origin.
const MAX_COORDINATE_M: f64 = 2_000_000.0;

/// The centre line of a lane as a function of the road station.
pub(super) struct Centreline<'a> {
    road: &'a RoadModel,
    section: &'a SectionModel,
    lane: &'a LaneModel,
    /// Widths of the lanes between the centre line and this lane.
    inner: Vec<&'a Piecewise>,
    /// Widths of the same-surface lanes farther from the road's centre, and nearer to it.
    outward: Vec<&'a Piecewise>,
    inward: Vec<&'a Piecewise>,
    /// +1 on the left of the centre, -1 on the right.
    side: f64,
}

/// Arc length against station.
pub(super) struct Table {
    /// Station and arc length from the section's start, both ascending.
    rows: Vec<(f64, f64)>,
    /// Arc lengths where curvature or lean may jump, with both ends: samples must lie there.
    joints: Vec<f64>,
    pub length: f64,
    /// The greatest second derivative by arc length of anything that is interpolated linearly.
    pub sharpest: f64,
}

impl Table {
    /// Arc length at a station, interpolated: exact enough for where a mark begins.
    pub fn distance(&self, station: f64) -> f64 {
        let after = self.rows.partition_point(|row| row.0 <= station);
        let index = after.clamp(1, self.rows.len() - 1);
        let (from, to) = (self.rows[index - 1], self.rows[index]);
        let part = ((station - from.0) / (to.0 - from.0)).clamp(0.0, 1.0);
        from.1 + part * (to.1 - from.1)
    }
}

impl Table {
    /// Drops joints that lie too close together; the ends stay.
    fn thin_joints(&mut self) {
        let length = self.length;
        let mut last = 0.0;
        self.joints.retain(|joint| {
            let is_end = *joint == 0.0 || *joint == length;
            let is_kept = is_end || (joint - last >= MIN_PIECE_M && length - joint >= MIN_PIECE_M);
            if is_kept {
                last = *joint;
            }
            is_kept
        });
        self.joints.dedup();
    }

    /// Distances of the samples: every joint, and between two joints equal steps.
    pub fn distances(&self, step: f64) -> impl Iterator<Item = f64> + '_ {
        let pieces = self.joints.windows(2).flat_map(move |pair| {
            let steps = ((pair[1] - pair[0]) / step).ceil().max(1.0);
            let width = (pair[1] - pair[0]) / steps;
            (0..steps as usize).map(move |i| pair[0] + i as f64 * width)
        });
        pieces.chain([self.length])
    }
}

/// Motion of the centre line per metre of station.
struct Motion {
    speed: f64,
    lean: f64,
    curvature: f64,
    /// Second derivative of the station by arc length: how wrong a linear station is.
    slip: f64,
}

impl<'a> Centreline<'a> {
    pub fn new(road: &'a RoadModel, section: &'a SectionModel, position: usize) -> Self {
        let lane = &section.lanes[position];
        let lanes = &section.lanes;
        // Lanes from the one beside the centre outwards, this lane's side only.
        let side: Vec<&LaneModel> = if lane.id > 0 {
            lanes.iter().rev().filter(|other| other.id > 0).collect()
        } else {
            lanes.iter().filter(|other| other.id < 0).collect()
        };
        let own = side
            .iter()
            .position(|other| other.id == lane.id)
            .unwrap_or(0);
        let is_surface =
            |other: &&&LaneModel| other.kind == LaneKind::Driving && lane.kind == LaneKind::Driving;
        let widths = |lanes: &mut dyn Iterator<Item = &&'a LaneModel>| {
            lanes.map(|other| &other.width).collect::<Vec<_>>()
        };
        Self {
            road,
            section,
            lane,
            inner: widths(&mut side[..own].iter()),
            outward: widths(&mut side[own + 1..].iter().take_while(is_surface)),
            inward: widths(&mut side[..own].iter().rev().take_while(is_surface)),
            side: f64::from(lane.id.signum()),
        }
    }

    fn clamp(&self, station: f64) -> f64 {
        station.clamp(self.section.start, self.section.end - END_MARGIN_M)
    }

    fn offset(&self, station: f64) -> Jet {
        let within = station - self.section.start;
        let mut offset = self.road.lane_offset.at(station);
        for width in &self.inner {
            offset = offset.plus_scaled(width.at(within), self.side);
        }
        offset.plus_scaled(self.lane.width.at(within), 0.5 * self.side)
    }

    fn motion(&self, station: f64, offset: Jet) -> Motion {
        let bend = self.road.plan.bend(station);
        let forward = 1.0 - bend.curvature * offset.value;
        let sideways = offset.slope;
        let speed = libm::hypot(forward, sideways).max(MIN_SPEED);
        let forward_rate = -bend.rate * offset.value - bend.curvature * sideways;
        let square = speed * speed;
        let lean_rate = (offset.second * forward - sideways * forward_rate) / square;
        Motion {
            speed,
            lean: libm::atan2(sideways, forward),
            curvature: (bend.curvature + lean_rate) / speed,
            slip: -(forward * forward_rate + sideways * offset.second) / (square * square),
        }
    }

    fn speed(&self, station: f64) -> f64 {
        self.motion(station, self.offset(station)).speed
    }

    /// Integrates the arc length between the stations where some record starts.
    pub fn measure(&self, room: usize) -> Result<Table, Error> {
        let stations = self.breakpoints();
        let mut table = Table {
            rows: vec![(self.section.start, 0.0)],
            joints: vec![0.0],
            length: 0.0,
            sharpest: 0.0,
        };
        for pair in stations.windows(2) {
            let intervals = ((pair[1] - pair[0]) / TABLE_STEP_M).ceil().max(1.0) as usize;
            if table.rows.len() + intervals > room {
                return Err(super::runaway_lane(room));
            }
            let width = (pair[1] - pair[0]) / intervals as f64;
            for i in 0..intervals {
                let from = pair[0] + i as f64 * width;
                let to = if i + 1 == intervals {
                    pair[1]
                } else {
                    from + width
                };
                table.length += integrate(from, to, |station| self.speed(station));
                table.rows.push((to, table.length));
                let middle = 0.5 * (from + to);
                let motion = self.motion(middle, self.offset(middle));
                // Linear headings shall be right to a quarter of what, in metres, positions are.
                let twist = 4.0 * self.road.plan.bend(middle).rate.abs();
                let sharp = motion.curvature.abs().max(motion.slip.abs()).max(twist);
                table.sharpest = table.sharpest.max(sharp);
            }
            table.joints.push(table.length);
        }
        table.thin_joints();
        Ok(table)
    }

    fn breakpoints(&self) -> Vec<f64> {
        let (start, end) = (self.section.start, self.section.end);
        let widths = self.inner.iter().copied().chain([&self.lane.width]);
        let mut stations: Vec<f64> = widths
            .flat_map(Piecewise::starts)
            .map(|offset| start + offset)
            .chain(self.road.plan.starts())
            .chain(self.road.lane_offset.starts())
            .filter(|station| *station > start + END_MARGIN_M && *station < end - END_MARGIN_M)
            .chain([start, end])
            .collect();
        stations.sort_by(f64::total_cmp);
        stations.dedup_by(|later, earlier| *later - *earlier < END_MARGIN_M);
        stations
    }

    /// Appends the samples at ascending distances, in the road's direction.
    pub fn sample(
        &self,
        table: &Table,
        distances: &[f64],
        samples: &mut Vec<Sample>,
    ) -> Result<(), Error> {
        let mut row = 1;
        let mut last_yaw = None;
        for distance in distances {
            while row + 1 < table.rows.len() && table.rows[row].1 < *distance {
                row += 1;
            }
            let station = self.station_of(*distance, table.rows[row - 1], table.rows[row]);
            let mut sample = self.at(station, last_yaw)?;
            last_yaw = Some(sample.yaw);
            if self.lane.id > 0 {
                sample.s = (table.length - distance) as f32;
                sample.curvature = -sample.curvature;
            } else {
                sample.s = *distance as f32;
            }
            samples.push(sample);
        }
        Ok(())
    }

    /// Newton's method for the station at a distance, inside one row of the table.
    fn station_of(&self, distance: f64, from: (f64, f64), to: (f64, f64)) -> f64 {
        let share = (distance - from.1) / (to.1 - from.1).max(f64::MIN_POSITIVE);
        let mut station = from.0 + share.clamp(0.0, 1.0) * (to.0 - from.0);
        for _ in 0..2 {
            let walked = from.1 + integrate(from.0, station, |at| self.speed(at));
            let step = (distance - walked) / self.speed(station);
            station = (station + step).clamp(from.0, to.0);
        }
        station
    }

    /// The sample at a station, curvature as seen along the road's direction.
    fn at(&self, station: f64, last_yaw: Option<f32>) -> Result<Sample, Error> {
        let station = self.clamp(station);
        let within = station - self.section.start;
        let frame = self.road.plan.at(station);
        let offset = self.offset(station);
        let motion = self.motion(station, offset);
        let (sin, cos) = libm::sincos(frame.heading);
        let x = frame.x - sin * offset.value;
        let y = frame.y + cos * offset.value;
        let z = self.road.elevation.at(station).value;
        let coordinates = -MAX_COORDINATE_M..=MAX_COORDINATE_M;
        if ![x, y, z].iter().all(|value| coordinates.contains(value)) {
            return Err(Error::BadValue {
                context: format!(
                    "road {} lane {} at s = {station}",
                    self.road.id, self.lane.id
                ),
                name: "position",
                value: format!("({x}, {y}, {z})"),
                expected: "within 2000000 m of the origin",
            });
        }
        let turn = if self.lane.id > 0 {
            std::f64::consts::PI
        } else {
            0.0
        };
        let yaw = unwrap(-(frame.heading + motion.lean) + turn, last_yaw);
        let (yaw_sin, yaw_cos) = libm::sincos(yaw);
        let width = self.lane.width.at(within).value.max(0.0);
        let sum = |widths: &[&Piecewise]| -> f64 {
            widths
                .iter()
                .map(|other| other.at(within).value.max(0.0))
                .sum()
        };
        Ok(Sample {
            x: x as f32,
            y: -y as f32,
            z: z as f32,
            yaw: yaw as f32,
            cos: yaw_cos as f32,
            sin: yaw_sin as f32,
            curvature: -motion.curvature as f32,
            width: width as f32,
            s: 0.0,
            station: within as f32,
            left_edge: (0.5 * width + sum(&self.inward)) as f32,
            right_edge: (0.5 * width + sum(&self.outward)) as f32,
        })
    }
}

/// Shifts an angle by whole turns: the first into [-pi, pi], others next to their predecessor.
fn unwrap(angle: f64, last: Option<f32>) -> f64 {
    let around = last.map_or(0.0, f64::from);
    let turns = libm::round((angle - around) / std::f64::consts::TAU);
    angle - turns * std::f64::consts::TAU
}
