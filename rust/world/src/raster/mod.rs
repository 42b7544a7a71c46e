//! A bird's-eye view as bit planes: one byte a pixel, one bit a plane.
//!
//! [`Birdseye::draw`] takes the map, transforms, boxes, stop lines and the route, wherever they came from: this world
//! today, a CARLA server later. The map is painted once into tiles ([`RasterMap`]); a view turns and copies its part
//! of them, and paints route and actors over it. The ego looks upwards in the picture.

use carla_online_roads::RoadMap;

use crate::geometry::OrientedBox;
use crate::observe::{ActorKind, ActorPose, EgoPose, LightState, on_route};
use crate::route::Route;

mod polygon;
mod tiles;
pub use tiles::RasterMap;

/// Pixels a metre, in tiles and in every view.
pub const PIXELS_PER_M: f32 = 2.0;
/// What each bit means, from the lowest.
pub const BIRDSEYE_PLANES: [&str; 8] = [
    "road",
    "solid_line",
    "broken_line",
    "route",
    "vehicle",
    "vehicle_in_1s",
    "walker",
    "stop",
];
/// Bits of [`BIRDSEYE_PLANES`].
pub mod plane {
    /// Lanes for driving.
    pub const ROAD: u8 = 1;
    /// Lines that mustn't be crossed, and the road's edge.
    pub const SOLID_LINE: u8 = 1 << 1;
    /// Lines that may be crossed.
    pub const BROKEN_LINE: u8 = 1 << 2;
    /// The lanes of the route ahead.
    pub const ROUTE: u8 = 1 << 3;
    /// Other vehicles.
    pub const VEHICLE: u8 = 1 << 4;
    /// Where they will be in a second at the same velocity.
    pub const VEHICLE_SOON: u8 = 1 << 5;
    /// Walkers.
    pub const WALKER: u8 = 1 << 6;
    /// Stop lines that hold: red and yellow lights, stop signs.
    pub const STOP: u8 = 1 << 7;
}
/// Length of the pieces in which a route is painted, metres.
const ROUTE_STEP_M: f32 = 4.0;
/// Thickness of a stop line, metres.
const STOP_LINE_M: f32 = 1.0;
/// A walker's box is drawn at least this large (half), metres.
const LEAST_HALF_M: f32 = 0.5;

/// The views there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BirdseyeKind {
    /// 256 pixels: 128 m, of which 96 m ahead.
    Carl,
    /// 96 pixels: 48 m, of which 36 m ahead.
    Small,
}

impl BirdseyeKind {
    /// The kind of a name, `carl` or `small`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "carl" => Some(Self::Carl),
            "small" => Some(Self::Small),
            _ => None,
        }
    }

    /// Pixels along each side.
    pub const fn size_px(self) -> usize {
        match self {
            Self::Carl => 256,
            Self::Small => 96,
        }
    }

    /// Bytes of a view.
    pub const fn bytes(self) -> usize {
        self.size_px() * self.size_px()
    }

    /// Rows below the ego's centre.
    const fn rows_behind(self) -> usize {
        self.size_px() / 4
    }
}

/// A line across a lane at which one may have to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopLine {
    /// Both ends, metres, CARLA's frame.
    pub ends: [[f32; 2]; 2],
    /// Green holds nobody; a stop sign counts as red.
    pub state: LightState,
}

/// Everything a view is made of.
#[derive(Debug, Clone, Copy)]
pub struct Birdseye<'a> {
    /// Which view.
    pub kind: BirdseyeKind,
    /// The map, painted.
    pub raster: &'a RasterMap,
    /// The map.
    pub map: &'a RoadMap,
    /// The ego's route.
    pub route: &'a Route,
    /// Station on the route where the ego is, metres.
    pub station_m: f32,
    /// The ego.
    pub ego: &'a EgoPose,
    /// Everybody else, in any order.
    pub actors: &'a [ActorPose],
    /// Stop lines near.
    pub stops: &'a [StopLine],
}

/// World to picture: pixels, x to the right and y downwards.
#[derive(Debug, Clone, Copy)]
struct Frame {
    x: f32,
    y: f32,
    heading: (f32, f32),
    size_px: usize,
    ego_row: f32,
}

impl Frame {
    fn new(kind: BirdseyeKind, ego: &EgoPose) -> Self {
        Self {
            x: ego.x,
            y: ego.y,
            heading: (libm::cosf(ego.yaw_rad), libm::sinf(ego.yaw_rad)),
            size_px: kind.size_px(),
            ego_row: (kind.size_px() - kind.rows_behind()) as f32,
        }
    }

    fn pixel(&self, point: [f32; 2]) -> [f32; 2] {
        let (dx, dy) = (point[0] - self.x, point[1] - self.y);
        let forward_m = dx * self.heading.0 + dy * self.heading.1;
        let right_m = dy * self.heading.0 - dx * self.heading.1;
        [
            0.5 * self.size_px as f32 + right_m * PIXELS_PER_M,
            self.ego_row - forward_m * PIXELS_PER_M,
        ]
    }

    /// The place of a pixel's centre.
    fn place(&self, column: f32, row: f32) -> [f32; 2] {
        let right_m = (column + 0.5 - 0.5 * self.size_px as f32) / PIXELS_PER_M;
        let forward_m = (self.ego_row - row - 0.5) / PIXELS_PER_M;
        [
            self.x + forward_m * self.heading.0 - right_m * self.heading.1,
            self.y + forward_m * self.heading.1 + right_m * self.heading.0,
        ]
    }

    fn paint(&self, corners: [[f32; 2]; 4], bits: u8, out: &mut [u8]) {
        let size = self.size_px;
        let corners = corners.map(|corner| self.pixel(corner));
        polygon::fill(&corners, [size, size], |row, from, to| {
            for pixel in &mut out[row * size + from..row * size + to] {
                *pixel |= bits;
            }
        });
    }
}

impl Birdseye<'_> {
    /// Draws the view into `out`, row-major from the far left; `out` holds `kind.bytes()` bytes.
    ///
    /// Nothing is drawn into a buffer of another length.
    pub fn draw(&self, out: &mut [u8]) {
        out.fill(0);
        if out.len() != self.kind.bytes() {
            return;
        }
        let frame = Frame::new(self.kind, self.ego);
        let size = self.kind.size_px();
        let step = [-frame.heading.1, frame.heading.0];
        for (row, line) in out.chunks_exact_mut(size).enumerate() {
            self.raster
                .copy_line(frame.place(0.0, row as f32), step, line);
        }
        self.paint_route(&frame, out);
        self.paint_actors(&frame, out);
        for stop in self
            .stops
            .iter()
            .filter(|stop| stop.state != LightState::Green)
        {
            let [[x, y], [to_x, to_y]] = stop.ends;
            let (dx, dy) = (to_x - x, to_y - y);
            let length_m = (dx * dx + dy * dy).sqrt().max(1e-3);
            let (wide_x, wide_y) = (
                0.5 * STOP_LINE_M * -dy / length_m,
                0.5 * STOP_LINE_M * dx / length_m,
            );
            let corners = [
                [x - wide_x, y - wide_y],
                [to_x - wide_x, to_y - wide_y],
                [to_x + wide_x, to_y + wide_y],
                [x + wide_x, y + wide_y],
            ];
            frame.paint(corners, plane::STOP, out);
        }
    }

    fn paint_route(&self, frame: &Frame, out: &mut [u8]) {
        let (ahead_m, behind_m) = (
            frame.ego_row / PIXELS_PER_M,
            (frame.size_px as f32 - frame.ego_row) / PIXELS_PER_M,
        );
        let from_m = (self.station_m - behind_m).max(0.0);
        let to_m = (self.station_m + ahead_m).min(self.route.length_m());
        let mut last: Option<[[f32; 2]; 2]> = None;
        let mut station_m = from_m;
        while station_m <= to_m {
            let section = on_route(self.map, self.route, station_m).map(|at| {
                let sample = self.map.sample(at.lane, at.s_m);
                let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
                let half_m = 0.5 * sample.width_m;
                let (x, y) = (sample.pose.x, sample.pose.y);
                [
                    [x + half_m * sin, y - half_m * cos],
                    [x - half_m * sin, y + half_m * cos],
                ]
            });
            if let (Some([left, right]), Some([next_left, next_right])) = (last, section) {
                frame.paint([left, next_left, next_right, right], plane::ROUTE, out);
            }
            last = section;
            if station_m >= to_m {
                break;
            }
            station_m = (station_m + ROUTE_STEP_M).min(to_m);
        }
    }

    fn paint_actors(&self, frame: &Frame, out: &mut [u8]) {
        for actor in self.actors {
            let (length_m, width_m) = actor.half_extents_m;
            let outline = |x: f32, y: f32| {
                OrientedBox::new(
                    x,
                    y,
                    actor.yaw_rad,
                    length_m.max(LEAST_HALF_M),
                    width_m.max(LEAST_HALF_M),
                )
                .corners()
            };
            if actor.kind == ActorKind::Walker {
                frame.paint(outline(actor.x, actor.y), plane::WALKER, out);
            } else {
                let (vx, vy) = actor.velocity_mps;
                frame.paint(
                    outline(actor.x + vx, actor.y + vy),
                    plane::VEHICLE_SOON,
                    out,
                );
                frame.paint(outline(actor.x, actor.y), plane::VEHICLE, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
