//! Clothoids: curvature changes linearly with length.

use super::{Bend, Frame, integrate};

/// The heading may turn by this much within one integration panel; five nodes are then exact
/// to rounding.
const PANEL_TURN_RAD: f64 = 0.25;
/// More panels than any spiral of a sane map needs.
const MAX_PANELS: f64 = 4096.0;

/// A clothoid that starts at the origin along x, with the positions of its panels' starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spiral {
    curvature_start: f64,
    rate: f64,
    panel_length: f64,
    panel_starts: Vec<(f64, f64)>,
}

impl Spiral {
    /// Both curvatures finite, `length` positive.
    pub fn new(curvature_start: f64, curvature_end: f64, length: f64) -> Self {
        let turn = curvature_start.abs().max(curvature_end.abs()) * length;
        let panels = (turn / PANEL_TURN_RAD).ceil().clamp(1.0, MAX_PANELS);
        let mut spiral = Self {
            curvature_start,
            rate: (curvature_end - curvature_start) / length,
            panel_length: length / panels,
            panel_starts: Vec::with_capacity(panels as usize),
        };
        let (mut x, mut y) = (0.0, 0.0);
        for panel in 0..panels as usize {
            spiral.panel_starts.push((x, y));
            let from = panel as f64 * spiral.panel_length;
            let (dx, dy) = spiral.displacement(from, from + spiral.panel_length);
            x += dx;
            y += dy;
        }
        spiral
    }

    fn heading(&self, distance: f64) -> f64 {
        distance * (self.curvature_start + 0.5 * self.rate * distance)
    }

    fn displacement(&self, from: f64, to: f64) -> (f64, f64) {
        (
            integrate(from, to, |u| libm::cos(self.heading(u))),
            integrate(from, to, |u| libm::sin(self.heading(u))),
        )
    }

    /// The frame at a distance from the start.
    pub fn at(&self, distance: f64) -> Frame {
        let last = self.panel_starts.len() - 1;
        let panel = ((distance / self.panel_length).max(0.0) as usize).min(last);
        let (x, y) = self.panel_starts[panel];
        let (dx, dy) = self.displacement(panel as f64 * self.panel_length, distance);
        Frame {
            x: x + dx,
            y: y + dy,
            heading: self.heading(distance),
        }
    }

    /// The curvature at a distance from the start.
    pub fn bend(&self, distance: f64) -> Bend {
        Bend {
            curvature: self.curvature_start + self.rate * distance,
            rate: self.rate,
        }
    }
}
