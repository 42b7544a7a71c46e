//! Where vehicles may be put.

use carla_online_roads::{LaneKind, RoadMap};
use carla_online_world::stage::pose::{Rotation, Transform};

/// Distance between two points on one lane: the longest vehicle of the library fits in between.
const SPACING_M: f32 = 12.5;
/// Kept free at both ends of a lane, where lanes meet.
const MARGIN_M: f32 = 7.0;
/// Narrower lanes are left out.
const NARROWEST_M: f32 = 2.9;
/// Points of a map, about.
const ENOUGH: f32 = 250.0;
/// Height above the road, as CARLA's towns have it.
const HEIGHT_M: f32 = 0.5;

/// Points along every driving lane outside junctions, in the order of the lanes.
pub fn find(roads: &RoadMap) -> Vec<Transform> {
    let lanes: Vec<u32> = roads
        .driving_lanes()
        .filter(|&lane| {
            let lane = &roads.lanes()[lane as usize];
            lane.junction.is_none() && lane.kind == LaneKind::Driving && lane.length_m > 2.0 * MARGIN_M
        })
        .collect();
    let usable = |lane: u32| roads.lanes()[lane as usize].length_m - 2.0 * MARGIN_M;
    let total_m: f32 = lanes.iter().map(|&lane| usable(lane)).sum();
    let spacing_m = SPACING_M.max(total_m / ENOUGH);
    let mut points = Vec::new();
    for lane in lanes {
        let count = (usable(lane) / spacing_m) as u32 + 1;
        for index in 0..count {
            let sample = roads.sample(lane, MARGIN_M + spacing_m * index as f32);
            if sample.width_m >= NARROWEST_M {
                let pose = sample.pose;
                points.push(Transform {
                    location: [pose.x, pose.y, pose.z + HEIGHT_M],
                    rotation: Rotation::level(pose.yaw_rad.to_degrees()),
                });
            }
        }
    }
    points
}
