//! The reference line of a road: a chain of lines, arcs, spirals and cubic curves.
//!
//! Everything here is in OpenDRIVE's right-handed frame: positive curvature bends left.

mod curve;
mod spiral;

pub(crate) use curve::Curve;
pub(crate) use spiral::Spiral;

/// Nodes and weights of five-point Gauss-Legendre integration on [-1, 1].
/// Source: Abramowitz and Stegun, table 25.4.
const GAUSS: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];

/// Integrates `f` over [from, to] with one five-point panel.
pub(crate) fn integrate(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let half = 0.5 * (to - from);
    let middle = 0.5 * (to + from);
    let sum: f64 = GAUSS
        .iter()
        .map(|(node, weight)| weight * f(middle + half * node))
        .sum();
    half * sum
}

/// A directed point of the reference line.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Frame {
    pub x: f64,
    pub y: f64,
    pub heading: f64,
}

/// Curvature and its derivative along the reference line.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Bend {
    pub curvature: f64,
    pub rate: f64,
}

/// The form of one geometry record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// An arc; a line is one of curvature zero.
    Arc {
        curvature: f64,
    },
    Spiral(Spiral),
    Curve(Curve),
}

/// One geometry record: a shape placed in the plane.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Geometry {
    pub station: f64,
    pub start: Frame,
    pub shape: Shape,
}

impl Geometry {
    fn local(&self, distance: f64) -> Frame {
        match &self.shape {
            Shape::Arc { curvature } => arc(*curvature, distance),
            Shape::Spiral(spiral) => spiral.at(distance),
            Shape::Curve(curve) => curve.at(distance),
        }
    }

    /// The frame at a distance from the record's start.
    pub fn at(&self, distance: f64) -> Frame {
        let local = self.local(distance);
        let (sin, cos) = libm::sincos(self.start.heading);
        Frame {
            x: self.start.x + cos * local.x - sin * local.y,
            y: self.start.y + sin * local.x + cos * local.y,
            heading: self.start.heading + local.heading,
        }
    }

    fn bend(&self, distance: f64) -> Bend {
        match &self.shape {
            Shape::Arc { curvature } => Bend {
                curvature: *curvature,
                rate: 0.0,
            },
            Shape::Spiral(spiral) => spiral.bend(distance),
            Shape::Curve(curve) => curve.bend(distance),
        }
    }
}

/// An arc that starts at the origin along x. The chord form stays exact as curvature goes to 0.
fn arc(curvature: f64, distance: f64) -> Frame {
    let half_turn = 0.5 * curvature * distance;
    let (sin, cos) = libm::sincos(half_turn);
    let ratio = if half_turn.abs() < 1e-4 {
        // Two terms of the series of sin(x) / x; the next is below 1e-18.
        1.0 - half_turn * half_turn / 6.0
    } else {
        sin / half_turn
    };
    let chord = distance * ratio;
    Frame {
        x: chord * cos,
        y: chord * sin,
        heading: 2.0 * half_turn,
    }
}

/// The whole reference line.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PlanView {
    pieces: Vec<Geometry>,
}

impl PlanView {
    /// Takes at least one record, in ascending order of stations.
    pub fn new(pieces: Vec<Geometry>) -> Self {
        debug_assert!(!pieces.is_empty());
        Self { pieces }
    }

    fn piece(&self, station: f64) -> Option<&Geometry> {
        let behind = self
            .pieces
            .partition_point(|piece| piece.station <= station);
        self.pieces.get(behind.saturating_sub(1))
    }

    /// The frame at a road station; the last record is continued beyond its end.
    pub fn at(&self, station: f64) -> Frame {
        self.piece(station)
            .map_or_else(Frame::default, |piece| piece.at(station - piece.station))
    }

    /// The curvature at a road station.
    pub fn bend(&self, station: f64) -> Bend {
        self.piece(station)
            .map_or_else(Bend::default, |piece| piece.bend(station - piece.station))
    }

    /// Stations where a record starts.
    pub fn starts(&self) -> impl Iterator<Item = f64> + '_ {
        self.pieces.iter().map(|piece| piece.station)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::polynomial::Cubic;

    /// Integrates the heading in tiny steps: slow, and unlike any of the code under test.
    fn by_small_steps(k0: f64, k1: f64, length: f64) -> (f64, f64) {
        let steps = 200_000;
        let h = length / f64::from(steps);
        let (mut x, mut y) = (0.0, 0.0);
        for i in 0..steps {
            let u = (f64::from(i) + 0.5) * h;
            let heading = k0 * u + 0.5 * (k1 - k0) / length * u * u;
            x += h * heading.cos();
            y += h * heading.sin();
        }
        (x, y)
    }

    #[test]
    fn arcs_and_spirals_follow_their_integral() {
        for (k0, k1, length) in [
            (0.0, 0.0, 73.0),
            (1e-7, 1e-7, 200.0),
            (0.1, 0.1, 40.0),
            (0.0, 0.05, 60.0),
            (-0.2, 0.2, 50.0),
            (0.02, -0.3, 31.0),
        ] {
            let shape = if k0 == k1 {
                Shape::Arc { curvature: k0 }
            } else {
                Shape::Spiral(Spiral::new(k0, k1, length))
            };
            let piece = Geometry {
                station: 0.0,
                start: Frame::default(),
                shape,
            };
            let end = piece.at(length);
            let (x, y) = by_small_steps(k0, k1, length);
            assert!((end.x - x).hypot(end.y - y) < 1e-6, "{k0} {k1} {length}");
            assert!((end.heading - 0.5 * (k0 + k1) * length).abs() < 1e-12);
            assert!((piece.bend(length).curvature - k1).abs() < 1e-12);
        }
    }

    #[test]
    fn a_cubic_curve_is_walked_by_arc_length() {
        let u = Cubic {
            b: 40.0,
            c: 3.0,
            ..Cubic::default()
        };
        let v = Cubic {
            c: 25.0,
            d: -12.0,
            ..Cubic::default()
        };
        let curve = Curve::new(u, v, 1.0, 45.0);
        let mut walked = 0.0;
        let mut last = curve.at(0.0);
        for i in 1..=4000 {
            let here = curve.at(f64::from(i) * 0.01);
            walked += (here.x - last.x).hypot(here.y - last.y);
            last = here;
        }
        assert!((walked - 40.0).abs() < 1e-5, "walked {walked}");
        let numeric = (curve.at(20.001).heading - curve.at(19.999).heading) / 0.002;
        assert!((curve.bend(20.0).curvature - numeric).abs() < 1e-6);
    }
}
