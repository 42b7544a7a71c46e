//! Where vehicles may be put.

use carla_online_roads::{LanePoint, RoadMap, SpawnPoint};
use carla_online_world::stage::pose::{Rotation, Transform};
use carla_online_world::stage::tilt;

/// Distance between two points on one lane: the longest vehicle of the library fits in between.
const SPACING_M: f32 = 12.5;
/// Points of a map, about.
const ENOUGH: f32 = 250.0;

/// As a vehicle stands there: on a slope, not level.
fn transform(roads: &RoadMap, point: &SpawnPoint) -> Transform {
    let pose = point.pose;
    let place = LanePoint {
        lane: point.lane,
        s_m: point.s_m,
        lateral_m: 0.0,
    };
    Transform {
        location: [pose.x, pose.y, pose.z],
        rotation: tilt(roads, &place, &Rotation::level(pose.yaw_rad.to_degrees())),
    }
}

/// Points along every driving lane outside junctions. A map that a client sent begins with those that CARLA makes
/// for it, one for each entry of a road.
pub fn find(roads: &RoadMap, has_entries: bool) -> Vec<Transform> {
    let total_m: f32 = roads
        .driving_lanes()
        .map(|lane| roads.lanes()[lane as usize].length_m)
        .sum();
    let mut points: Vec<Transform> = Vec::new();
    if has_entries {
        points.extend(
            roads
                .entry_spawn_points()
                .iter()
                .map(|point| transform(roads, point)),
        );
    }
    let entries = points.len();
    for point in roads
        .spawn_points(SPACING_M.max(total_m / ENOUGH))
        .iter()
        .map(|point| transform(roads, point))
    {
        let is_free = points[..entries].iter().all(|entry| {
            let [dx, dy] = [0, 1].map(|i| entry.location[i] - point.location[i]);
            dx * dx + dy * dy >= SPACING_M * SPACING_M
        });
        if is_free {
            points.push(point);
        }
    }
    points
}
