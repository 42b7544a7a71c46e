//! Finds a moving thing on the lane graph, starting from where it was last seen.

use carla_online_roads::{LaneIndex, LaneKind, LanePoint, RoadMap};

/// Lane changes followed in one call; more than a vehicle can make between two looks.
const MOST_HOPS: usize = 4;
/// Beyond this many half widths from a lane without a neighbour there, the whole map is searched.
const FAR_OFF: f32 = 6.0;

/// Where a thing at (x, y, z) with heading `yaw_rad` is, looking around `hint` first.
///
/// Without a hint, or when the hint turns out to be far off, the whole map is searched. `None` only if
/// there is no driving lane near. A thing beside the road keeps the nearest lane and has a lateral
/// distance beyond that lane's edge.
pub fn track(
    map: &RoadMap,
    hint: Option<LanePoint>,
    x: f32,
    y: f32,
    z: f32,
    yaw_rad: f32,
) -> Option<LanePoint> {
    let Some(hint) = hint else {
        return map.locate(x, y, z, Some(yaw_rad));
    };
    let mut at = map.project(hint.lane, x, y, hint.s_m);
    for _ in 0..MOST_HOPS {
        let half_width_m = 0.5 * map.sample(at.lane, at.s_m).width_m;
        let Some((lane, near_s_m)) = next_lane(map, &at, half_width_m) else {
            // Far from every edge this lane could have: the hint was of no use.
            if at.lateral_m.abs() > FAR_OFF * half_width_m {
                return map.locate(x, y, z, Some(yaw_rad)).or(Some(at));
            }
            break;
        };
        let there = map.project(lane, x, y, near_s_m);
        // On the very line rounding may put a thing outside of both lanes: it stays where it was.
        if there.lane == hint.lane && there.lateral_m.abs() >= at.lateral_m.abs() {
            break;
        }
        at = there;
    }
    Some(at)
}

/// The lane to look at next if the thing isn't inside this one.
fn next_lane(map: &RoadMap, at: &LanePoint, half_width_m: f32) -> Option<(LaneIndex, f32)> {
    let lane = &map.lanes()[at.lane as usize];
    let beside = if at.lateral_m > half_width_m {
        lane.right
    } else if at.lateral_m < -half_width_m {
        lane.left
    } else {
        None
    };
    if let Some(neighbour) = beside {
        return Some((neighbour, map.abreast(at.lane, at.s_m, neighbour)));
    }
    if at.s_m >= lane.length_m {
        first_driving(map, &lane.successors).map(|next| (next, 0.0))
    } else if at.s_m <= 0.0 {
        let last = first_driving(map, &lane.predecessors)?;
        Some((last, map.lanes()[last as usize].length_m))
    } else {
        None
    }
}

/// The first lane of a list that is for driving.
pub fn first_driving(map: &RoadMap, lanes: &[LaneIndex]) -> Option<LaneIndex> {
    lanes
        .iter()
        .copied()
        .find(|&lane| map.lanes()[lane as usize].kind == LaneKind::Driving)
}
