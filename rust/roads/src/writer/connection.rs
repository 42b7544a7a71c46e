//! Ways through a junction: one one-way road of one lane for each lane and direction, as CARLA
//! wants them.

use std::f64::consts::{FRAC_PI_6, TAU};

use super::network::{Network, Node, turned, write_geometry};
use crate::geometry::{Frame, Geometry, Shape};

/// Turns below this are straight on.
const STRAIGHT_RAD: f64 = 1e-6;
/// Pieces shorter than this are rounding.
const LEAST_PIECE_M: f64 = 1e-6;

/// A line or arc.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub start: Frame,
    pub length: f64,
    pub curvature: f64,
}

/// A way for one lane from one arm to another.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub from: usize,
    pub to: usize,
    /// 1 beside the middle of the street; the same on both arms.
    pub lane: i32,
    pub pieces: Vec<Piece>,
}

/// All ways through a junction: straight from every lane, left from the innermost, right from
/// the outermost, and left (else right) from a lane that would have no way at all.
pub(super) fn turns(network: &Network, node: &Node) -> Vec<Turn> {
    let lanes = i32::from(network.style.lanes);
    let mut turns = Vec::new();
    for from in 0..node.arms.len() {
        let targets: Vec<(usize, f64)> = (0..node.arms.len())
            .filter(|to| *to != from)
            .map(|to| (to, bearing(node, from, to)))
            .collect();
        for lane in 1..=lanes {
            let mut ways: Vec<usize> = Vec::new();
            for (to, angle) in &targets {
                let is_open = angle.abs() < FRAC_PI_6
                    || (*angle > 0.0 && lane == 1)
                    || (*angle < 0.0 && lane == lanes);
                ways.extend(is_open.then_some(*to));
            }
            if ways.is_empty() {
                let leftmost = targets.iter().max_by(|a, b| a.1.total_cmp(&b.1));
                ways.extend(leftmost.map(|target| target.0));
            }
            turns.extend(
                ways.into_iter()
                    .map(|to| turn(network, node, from, to, lane)),
            );
        }
    }
    turns
}

/// How far one turns to the left from one arm to another.
fn bearing(node: &Node, from: usize, to: usize) -> f64 {
    let angle = node.arms[to].heading - turned_heading(node.arms[from].heading);
    angle - TAU * libm::round(angle / TAU)
}

fn turned_heading(heading: f64) -> f64 {
    turned(Frame {
        heading,
        ..Frame::default()
    })
    .heading
}

fn turn(network: &Network, node: &Node, from: usize, to: usize, lane: i32) -> Turn {
    // The reference line is the left edge of the lane.
    let edge = f64::from(lane - 1) * network.style.lane_width_m;
    let start = aside(turned(network.arm_end(node, &node.arms[from])), edge);
    let end = aside(network.arm_end(node, &node.arms[to]), edge);
    Turn {
        from,
        to,
        lane,
        pieces: path(start, end),
    }
}

/// A place to the right of another.
fn aside(frame: Frame, right: f64) -> Frame {
    let (sin, cos) = libm::sincos(frame.heading);
    Frame {
        x: frame.x + right * sin,
        y: frame.y - right * cos,
        ..frame
    }
}

/// From one directed place to another whose tangents meet ahead of the first and behind the
/// second: a line, or an arc with a line before or behind it.
pub(super) fn path(start: Frame, end: Frame) -> Vec<Piece> {
    let angle = end.heading - start.heading;
    let angle = angle - TAU * libm::round(angle / TAU);
    let (dx, dy) = (end.x - start.x, end.y - start.y);
    if angle.abs() < STRAIGHT_RAD {
        let length = libm::hypot(dx, dy);
        return vec![Piece {
            start,
            length,
            curvature: 0.0,
        }];
    }
    let (sin, cos) = libm::sincos(start.heading);
    let (ahead, left) = (cos * dx + sin * dy, cos * dy - sin * dx);
    // Distances from the start to the corner, and from the corner to the end.
    let behind = left / libm::sin(angle);
    let before = ahead - behind * libm::cos(angle);
    let tangent = before.min(behind);
    let radius = tangent / libm::tan(0.5 * angle.abs());
    let mut pieces = Vec::new();
    let mut at = start;
    let arc = (radius * angle.abs(), angle.signum() / radius);
    for (length, curvature) in [(before - tangent, 0.0), arc, (behind - tangent, 0.0)] {
        if length > LEAST_PIECE_M {
            let piece = Piece {
                start: at,
                length,
                curvature,
            };
            pieces.push(piece);
            let shape = Shape::Arc { curvature };
            at = Geometry {
                station: 0.0,
                start: at,
                shape,
            }
            .at(length);
        }
    }
    pieces
}

/// Writes the pieces as the plan view of a level road.
pub(super) fn write_plan(out: &mut String, pieces: &[Piece]) {
    out.push_str("<planView>");
    let mut station = 0.0;
    for piece in pieces {
        write_geometry(out, station, piece.start, piece.length, piece.curvature);
        station += piece.length;
    }
    out.push_str("</planView><elevationProfile/><lateralProfile/>\n");
}
