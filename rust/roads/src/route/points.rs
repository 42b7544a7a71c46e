//! A route as a line of points.

use super::{PlannedRoute, RoadOption, RoutePiece};
use crate::lane::{LaneIndex, Pose};
use crate::map::{RoadMap, normalise};

/// Points of one route at most, so that a tiny step can't fill the memory.
const MAX_POINTS: f32 = 4_000_000.0;

/// One point of a route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutePoint {
    /// The lane; during a lane change the one changed to.
    pub lane: LaneIndex,
    /// Metres along the lane.
    pub s_m: f32,
    /// Metres along the route.
    pub station_m: f32,
    /// Where to drive: the lane's centre, and during a lane change the straight blend from the
    /// old lane's centre to the new one's. The heading is that of the way.
    pub pose: Pose,
    /// What the stretch asks for.
    pub option: RoadOption,
}

impl RoadMap {
    /// Points of a route of this map at multiples of `step_m` (at least 0.1 m), and its end.
    pub fn route_points(&self, route: &PlannedRoute, step_m: f32) -> Vec<RoutePoint> {
        // NaN becomes the least step too.
        let step_m = step_m.max(0.1).max(route.length_m / MAX_POINTS);
        let mut points = Vec::new();
        let mut count = 0_u32;
        for (i, piece) in route.pieces.iter().enumerate() {
            let end_m = piece.station_m + (piece.to_m - piece.from_m);
            loop {
                let station_m = count as f32 * step_m;
                if station_m >= end_m {
                    break;
                }
                points.push(self.route_point(piece, station_m));
                count += 1;
            }
            if i + 1 == route.pieces.len() {
                points.push(self.route_point(piece, end_m));
            }
        }
        points
    }

    fn route_point(&self, piece: &RoutePiece, station_m: f32) -> RoutePoint {
        let s_m = (piece.from_m + (station_m - piece.station_m)).clamp(piece.from_m, piece.to_m);
        let mut pose = self.sample(piece.lane, s_m).pose;
        if let Some(left_lane) = piece.left_lane {
            let old = self
                .sample(left_lane, self.abreast(piece.lane, s_m, left_lane))
                .pose;
            let length = (piece.to_m - piece.from_m).max(f32::MIN_POSITIVE);
            let rest = 1.0 - (s_m - piece.from_m) / length;
            let (dx, dy, dz) = (old.x - pose.x, old.y - pose.y, old.z - pose.z);
            let (sin, cos) = libm::sincosf(pose.yaw_rad);
            // How far the old lane lies to the right: the way leans to the other side.
            let aside = dy * cos - dx * sin;
            pose.yaw_rad = normalise(pose.yaw_rad - libm::atan2f(aside, length));
            pose.x += rest * dx;
            pose.y += rest * dy;
            pose.z += rest * dz;
        }
        RoutePoint {
            lane: piece.lane,
            s_m,
            station_m,
            pose,
            option: piece.option,
        }
    }
}
