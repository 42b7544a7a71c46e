//! Where the ego is, with its route in mind.
//!
//! In a junction several lanes lie over one another, so the nearest one says little. Whoever follows a
//! planned route is looked for on the route's own lanes first, around the station where it was last, and
//! on the whole map only if it isn't there. Neither depends on how the ego got there, so the same pose gives
//! the same place whoever asks.

use carla_online_roads::{LanePoint, RoadMap};

use crate::geometry::wrap_angle;
use crate::route::Route;
use crate::track::track;

/// How far behind and ahead of the last station the ego is looked for, metres.
const WINDOW_M: (f32, f32) = (15.0, 40.0);
/// Beyond the end of a piece its lane goes on by this much, as far as the search is concerned, metres.
const OVERSHOOT_M: f32 = 0.5;

/// A pose to be found: x, y, z and heading.
#[derive(Debug, Clone, Copy)]
pub struct Whereabouts {
    /// Metres.
    pub x: f32,
    /// Metres.
    pub y: f32,
    /// Metres.
    pub z: f32,
    /// Radians.
    pub yaw_rad: f32,
}

/// The lane and the place on it. `None` only if no driving lane is near.
pub fn place(
    map: &RoadMap,
    route: &Route,
    station_m: f32,
    hint: Option<LanePoint>,
    pose: &Whereabouts,
) -> Option<LanePoint> {
    let Whereabouts { x, y, z, yaw_rad } = *pose;
    if !route.is_planned() {
        return track(map, hint, x, y, z, yaw_rad);
    }
    on_route(map, route, station_m, pose).or_else(|| map.locate(x, y, z, Some(yaw_rad)))
}

/// The place on the lanes of the route near a station, nearest to their centre.
fn on_route(map: &RoadMap, route: &Route, station_m: f32, pose: &Whereabouts) -> Option<LanePoint> {
    let (_, near) = route.between(station_m - WINDOW_M.0, station_m + WINDOW_M.1);
    let mut best: Option<LanePoint> = None;
    for piece in near {
        let length_m = map.lanes()[piece.lane as usize].length_m;
        let guess_m = (piece.from_s_m + station_m - piece.station_m).clamp(0.0, length_m);
        let mut at = map.project(piece.lane, pose.x, pose.y, guess_m);
        let mut sample = map.sample(at.lane, at.s_m);
        // In the lane beside it? One look is enough: the next lane but one is found by the whole search.
        if at.lateral_m.abs() > 0.5 * sample.width_m {
            let here = &map.lanes()[at.lane as usize];
            let beside = if at.lateral_m > 0.0 {
                here.right
            } else {
                here.left
            };
            let Some(beside) = beside else { continue };
            at = map.project(beside, pose.x, pose.y, map.abreast(at.lane, at.s_m, beside));
            sample = map.sample(at.lane, at.s_m);
        }
        let lane = &map.lanes()[at.lane as usize];
        let (sin, cos) = libm::sincosf(sample.pose.yaw_rad);
        let beyond_m = ((pose.x - sample.pose.x) * cos + (pose.y - sample.pose.y) * sin).abs();
        let is_inside = at.lateral_m.abs() <= 0.5 * sample.width_m
            && (at.s_m > 0.0 || beyond_m < OVERSHOOT_M)
            && (at.s_m < lane.length_m || beyond_m < OVERSHOOT_M)
            && (pose.z - sample.pose.z).abs() < 3.0
            && wrap_angle(pose.yaw_rad - sample.pose.yaw_rad).abs() < std::f32::consts::FRAC_PI_2;
        if is_inside && best.is_none_or(|known| at.lateral_m.abs() < known.lateral_m.abs() - 1e-3) {
            best = Some(at);
        }
    }
    best
}
