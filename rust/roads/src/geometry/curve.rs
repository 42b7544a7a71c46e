//! Parametric cubic curves (`poly3` and `paramPoly3`), walked by arc length.

use super::{Bend, Frame, integrate};
use crate::polynomial::Cubic;

/// Parameter intervals of the arc-length table: about one a metre, within these bounds.
const MIN_INTERVALS: f64 = 16.0;
const MAX_INTERVALS: f64 = 8192.0;

/// A curve (u(p), v(p)) in the frame of its record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    u: Cubic,
    v: Cubic,
    interval: f64,
    /// Arc length at the start of each interval, and at the end of the last.
    lengths: Vec<f64>,
}

impl Curve {
    /// `parameter_end` and `length` are finite and positive.
    pub fn new(u: Cubic, v: Cubic, parameter_end: f64, length: f64) -> Self {
        let intervals = length.ceil().clamp(MIN_INTERVALS, MAX_INTERVALS);
        let mut curve = Self {
            u,
            v,
            interval: parameter_end / intervals,
            lengths: Vec::with_capacity(intervals as usize + 1),
        };
        let mut walked = 0.0;
        curve.lengths.push(walked);
        for i in 0..intervals as usize {
            let from = i as f64 * curve.interval;
            walked += integrate(from, from + curve.interval, |p| curve.speed(p));
            curve.lengths.push(walked);
        }
        curve
    }

    fn speed(&self, p: f64) -> f64 {
        libm::hypot(self.u.slope(p), self.v.slope(p))
    }

    /// The parameter at an arc length, by Newton's method inside one interval of the table.
    fn parameter(&self, distance: f64) -> f64 {
        let after = self.lengths.partition_point(|length| *length <= distance);
        let index = after.clamp(1, self.lengths.len() - 1) - 1;
        let from = index as f64 * self.interval;
        let missing = distance - self.lengths[index];
        let mut p = from;
        for _ in 0..4 {
            let speed = self.speed(p);
            if speed <= 1e-9 {
                break;
            }
            let walked = integrate(from, p, |q| self.speed(q));
            p = (p + (missing - walked) / speed).clamp(from, from + self.interval);
        }
        p
    }

    /// The frame at an arc length from the start.
    pub fn at(&self, distance: f64) -> Frame {
        let p = self.parameter(distance);
        Frame {
            x: self.u.value(p),
            y: self.v.value(p),
            heading: libm::atan2(self.v.slope(p), self.u.slope(p)),
        }
    }

    /// The curvature at an arc length. Its rate is left at zero: it only matters to the
    /// curvature of a lane that changes its offset within a cubic record.
    pub fn bend(&self, distance: f64) -> Bend {
        let p = self.parameter(distance);
        let (du, dv) = (self.u.slope(p), self.v.slope(p));
        let cross = du * self.v.second(p) - dv * self.u.second(p);
        let speed = libm::hypot(du, dv).max(1e-9);
        Bend {
            curvature: cross / (speed * speed * speed),
            rate: 0.0,
        }
    }
}
