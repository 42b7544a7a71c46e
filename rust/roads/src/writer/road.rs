//! One road from a chain of segments.

use std::fmt::Write;

use super::document::{HEADER, at_most, bad, mark, within, write_lane};
use crate::Error;
use crate::geometry::{Frame, Geometry, Shape, Spiral};

const MAX_SEGMENTS: usize = 10_000;
const MAX_KNOTS: usize = 10_000;
const MAX_LANES: u8 = 32;
const MAX_TOTAL_LENGTH_M: f64 = 100_000.0;
/// A spiral whose ends would move by less than this if it were an arc is written as one.
const NEGLIGIBLE_SPIRAL_RAD: f64 = 1e-9;

/// A piece of a road's reference line. Positive curvature bends right, as everywhere outside
/// the OpenDRIVE text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Segment {
    /// Straight on.
    Line {
        /// Length of the piece.
        length_m: f64,
    },
    /// A circular arc.
    Arc {
        /// Length of the piece.
        length_m: f64,
        /// Change of yaw per metre.
        curvature_per_m: f64,
    },
    /// A clothoid: the curvature changes linearly. One whose curvature doesn't change is
    /// written as an arc or a line, because CARLA reads such a spiral as NaN.
    Spiral {
        /// Length of the piece.
        length_m: f64,
        /// Change of yaw per metre at the start.
        curvature_start_per_m: f64,
        /// Change of yaw per metre at the end.
        curvature_end_per_m: f64,
    },
}

impl Segment {
    fn parts(self) -> (f64, f64, f64) {
        match self {
            Self::Line { length_m } => (length_m, 0.0, 0.0),
            Self::Arc {
                length_m,
                curvature_per_m,
            } => (length_m, curvature_per_m, curvature_per_m),
            Self::Spiral {
                length_m,
                curvature_start_per_m,
                curvature_end_per_m,
            } => (length_m, curvature_start_per_m, curvature_end_per_m),
        }
    }
}

/// Height and grade of the road at one station; between two knots the height is the cubic that
/// meets both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElevationKnot {
    /// Distance along the reference line.
    pub s_m: f64,
    /// Height.
    pub z_m: f64,
    /// Rise per metre.
    pub grade: f64,
}

/// One road: lanes in one direction or both, along a chain of segments.
///
/// All values are in CARLA coordinates. Lanes run beside the reference line: the forward lanes
/// on its right, the backward lanes on its left. The outermost forward and backward lanes are
/// followed by a shoulder, unless its width is zero.
///
/// CARLA's `next_until_lane_end(d)` raises an error where the length of a lane is an exact
/// multiple of `d`. Choose total lengths that aren't round (100.37 m instead of 100 m) where
/// such code shall drive; the writer keeps the lengths it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct RoadSpec {
    /// Lanes driven along the reference line, on its right.
    pub lanes_forward: u8,
    /// Lanes driven against the reference line, on its left.
    pub lanes_backward: u8,
    /// Width of each driving lane.
    pub lane_width_m: f64,
    /// Speed limit of the road.
    pub speed_limit_mps: f64,
    /// Width of the shoulder beside the outermost lanes; 0 for none.
    pub shoulder_width_m: f64,
    /// Start of the reference line: x (metres), y (metres, to the right), heading (radians,
    /// clockwise).
    pub start: (f64, f64, f64),
    /// The reference line.
    pub segments: Vec<Segment>,
    /// Heights in ascending order of stations; before the first and behind the last knot the
    /// grade is kept. Empty for a level road at height zero.
    pub elevation: Vec<ElevationKnot>,
}

impl Default for RoadSpec {
    /// One forward lane of 3.5 m, 50 km/h, no shoulder, level, starting at the origin along x,
    /// without segments (so not yet writable).
    fn default() -> Self {
        Self {
            lanes_forward: 1,
            lanes_backward: 0,
            lane_width_m: 3.5,
            speed_limit_mps: 50.0 / 3.6,
            shoulder_width_m: 0.0,
            start: (0.0, 0.0, 0.0),
            segments: Vec::new(),
            elevation: Vec::new(),
        }
    }
}

impl RoadSpec {
    /// Writes the road as OpenDRIVE 1.4, with road marks, their `laneChange`, and a geographic
    /// reference, so that CARLA neither warns nor guesses.
    ///
    /// # Errors
    ///
    /// [`Error::BadValue`] for a value that isn't finite or lies outside its range, and
    /// [`Error::TooLarge`] for too many segments or knots.
    pub fn to_xodr(&self) -> Result<String, Error> {
        self.check()?;
        let length: f64 = self.segments.iter().map(|segment| segment.parts().0).sum();
        within(
            "total length",
            length,
            0.1,
            MAX_TOTAL_LENGTH_M,
            "from 0.1 to 100000",
        )?;
        let mut out = String::from(HEADER);
        // Writing to a String can't fail, so the results of write! carry nothing.
        let _ = write!(
            out,
            "<road name=\"road\" length=\"{length}\" id=\"0\" junction=\"-1\"><link/>\
             <type s=\"0\" type=\"town\"><speed max=\"{}\" unit=\"m/s\"/></type>\n<planView>",
            self.speed_limit_mps
        );
        self.write_plan(&mut out);
        out.push_str("</planView>\n<elevationProfile>");
        self.write_elevation(&mut out);
        out.push_str("</elevationProfile><lateralProfile/>\n<lanes><laneSection s=\"0\">\n");
        self.write_lanes(&mut out);
        out.push_str("</laneSection></lanes></road></OpenDRIVE>\n");
        Ok(out)
    }

    fn check(&self) -> Result<(), Error> {
        let lanes = f64::from(self.lanes_forward) + f64::from(self.lanes_backward);
        within(
            "number of lanes",
            lanes,
            1.0,
            MAX_LANES.into(),
            "from 1 to 32",
        )?;
        within(
            "lane_width_m",
            self.lane_width_m,
            0.5,
            20.0,
            "from 0.5 to 20",
        )?;
        within(
            "speed_limit_mps",
            self.speed_limit_mps,
            0.1,
            150.0,
            "from 0.1 to 150",
        )?;
        within(
            "shoulder_width_m",
            self.shoulder_width_m,
            0.0,
            20.0,
            "from 0 to 20",
        )?;
        within("start x", self.start.0, -1e5, 1e5, "from -100000 to 100000")?;
        within("start y", self.start.1, -1e5, 1e5, "from -100000 to 100000")?;
        within(
            "start heading",
            self.start.2,
            -100.0,
            100.0,
            "from -100 to 100",
        )?;
        at_most("segments", self.segments.len(), MAX_SEGMENTS)?;
        at_most("elevation knots", self.elevation.len(), MAX_KNOTS)?;
        for segment in &self.segments {
            self.check_segment(*segment)?;
        }
        let mut last = -1.0;
        for knot in &self.elevation {
            within(
                "elevation s_m",
                knot.s_m,
                0.0,
                MAX_TOTAL_LENGTH_M,
                "from 0 to 100000",
            )?;
            within("elevation z_m", knot.z_m, -1e4, 1e4, "from -10000 to 10000")?;
            within("elevation grade", knot.grade, -1.0, 1.0, "from -1 to 1")?;
            if knot.s_m <= last {
                return Err(bad("elevation s_m", knot.s_m, "beyond the knot before"));
            }
            last = knot.s_m;
        }
        Ok(())
    }

    fn check_segment(&self, segment: Segment) -> Result<(), Error> {
        let (length, from, to) = segment.parts();
        within(
            "segment length_m",
            length,
            1e-3,
            MAX_TOTAL_LENGTH_M,
            "from 0.001 to 100000",
        )?;
        for curvature in [from, to] {
            within("segment curvature", curvature, -1.0, 1.0, "from -1 to 1")?;
            // Lanes inside the bend would fold over themselves.
            let lanes = if curvature > 0.0 {
                self.lanes_forward
            } else {
                self.lanes_backward
            };
            let inside = f64::from(lanes) * self.lane_width_m + self.shoulder_width_m;
            if curvature.abs() * inside >= 0.95 {
                return Err(bad(
                    "segment curvature",
                    curvature,
                    "wider than the lanes inside it",
                ));
            }
            if curvature.abs() * length > 900.0 {
                return Err(bad(
                    "segment curvature",
                    curvature,
                    "at most 900 rad of turning",
                ));
            }
        }
        Ok(())
    }

    fn write_plan(&self, out: &mut String) {
        let mut station = 0.0;
        let mut at = Frame {
            x: self.start.0,
            y: -self.start.1,
            heading: -self.start.2,
        };
        for segment in &self.segments {
            let (length, from, to) = segment.parts();
            let (from, to) = (-from, -to);
            let _ = write!(
                out,
                "<geometry s=\"{station}\" x=\"{}\" y=\"{}\" hdg=\"{}\" length=\"{length}\">",
                at.x, at.y, at.heading
            );
            let shape = if (to - from).abs() * length > NEGLIGIBLE_SPIRAL_RAD {
                let _ = write!(out, "<spiral curvStart=\"{from}\" curvEnd=\"{to}\"/>");
                Shape::Spiral(Spiral::new(from, to, length))
            } else {
                let curvature = 0.5 * (from + to);
                if curvature == 0.0 {
                    out.push_str("<line/>");
                } else {
                    let _ = write!(out, "<arc curvature=\"{curvature}\"/>");
                }
                Shape::Arc { curvature }
            };
            out.push_str("</geometry>");
            let piece = Geometry {
                station,
                start: at,
                shape,
            };
            at = piece.at(length);
            station += length;
        }
    }

    fn write_elevation(&self, out: &mut String) {
        let mut record = |s: f64, a: f64, b: f64, c: f64, d: f64| {
            let _ = write!(
                out,
                "<elevation s=\"{s}\" a=\"{a}\" b=\"{b}\" c=\"{c}\" d=\"{d}\"/>"
            );
        };
        match self.elevation.first() {
            None => record(0.0, 0.0, 0.0, 0.0, 0.0),
            Some(first) if first.s_m > 0.0 => {
                record(
                    0.0,
                    first.z_m - first.grade * first.s_m,
                    first.grade,
                    0.0,
                    0.0,
                );
            }
            Some(_) => {}
        }
        for (i, knot) in self.elevation.iter().enumerate() {
            let (c, d) = self.elevation.get(i + 1).map_or((0.0, 0.0), |next| {
                let span = next.s_m - knot.s_m;
                let chord = (next.z_m - knot.z_m) / span;
                (
                    (3.0 * chord - 2.0 * knot.grade - next.grade) / span,
                    (knot.grade + next.grade - 2.0 * chord) / (span * span),
                )
            });
            record(knot.s_m, knot.z_m, knot.grade, c, d);
        }
    }

    fn write_lanes(&self, out: &mut String) {
        if self.lanes_backward > 0 {
            out.push_str("<left>\n");
            self.write_shoulder(out, i32::from(self.lanes_backward) + 1);
            for number in (1..=self.lanes_backward).rev() {
                self.write_lane(out, i32::from(number), number < self.lanes_backward);
            }
            out.push_str("</left>\n");
        } else if self.shoulder_width_m > 0.0 {
            out.push_str("<left>\n");
            self.write_shoulder(out, 1);
            out.push_str("</left>\n");
        }
        let color = if self.lanes_backward > 0 && self.lanes_forward > 0 {
            "yellow"
        } else {
            "white"
        };
        let _ = writeln!(
            out,
            "<center><lane id=\"0\" type=\"none\" level=\"false\">{}</lane></center>",
            mark("solid", color, "none")
        );
        if self.lanes_forward > 0 || self.shoulder_width_m > 0.0 {
            out.push_str("<right>\n");
            for number in 1..=self.lanes_forward {
                self.write_lane(out, -i32::from(number), number < self.lanes_forward);
            }
            self.write_shoulder(out, -i32::from(self.lanes_forward) - 1);
            out.push_str("</right>\n");
        }
    }

    fn write_lane(&self, out: &mut String, id: i32, has_outer_neighbour: bool) {
        let mark = if has_outer_neighbour {
            mark("broken", "white", "both")
        } else {
            mark("solid", "white", "none")
        };
        write_lane(out, id, "driving", self.lane_width_m, "", &mark);
    }

    fn write_shoulder(&self, out: &mut String, id: i32) {
        if self.shoulder_width_m > 0.0 {
            let mark = mark("none", "white", "none");
            write_lane(out, id, "shoulder", self.shoulder_width_m, "", &mark);
        }
    }
}
