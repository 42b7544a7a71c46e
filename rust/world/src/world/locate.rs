//! Where the ego is after a step.

use crate::course::Course;
use crate::geometry::wrap_angle;
use crate::place::{Whereabouts, place};
use crate::state::State;

/// Between two steps nobody gets on by more than this along a route, metres.
const LONGEST_JUMP_M: f32 = 30.0;

/// Finds the ego on the road after it has moved.
pub(super) fn locate_ego(state: &mut State, course: &Course) {
    let ego = &mut state.ego;
    let car = &ego.car;
    let pose = Whereabouts {
        x: car.x,
        y: car.y,
        z: ego.z,
        yaw_rad: car.yaw_rad,
    };
    let (map, route) = (&*course.map, &course.route);
    let Some(at) = place(map, route, ego.station_m, Some(ego.place()), &pose) else {
        return;
    };
    if at.lane != ego.lane && is_beside(course, ego.lane, at.lane) {
        state.tally.lane_changes += 1;
    }
    let sample = map.sample(at.lane, at.s_m);
    ego.lane = at.lane;
    ego.s_m = at.s_m;
    ego.lateral_m = at.lateral_m;
    ego.z = sample.pose.z;
    ego.heading_error_rad = wrap_angle(car.yaw_rad - sample.pose.yaw_rad);
    // On a network the route may come by again farther on: that isn't progress.
    let on_route = route
        .station(map, &at, ego.station_m)
        .filter(|(station_m, _)| {
            !route.is_planned() || (station_m - ego.station_m).abs() <= LONGEST_JUMP_M
        });
    if let Some((station_m, _)) = on_route {
        ego.station_m = station_m;
    }
    state.tally.is_off_route = on_route.is_none();
}

/// Whether the way from one lane to another is a lane change, and not the way ahead.
fn is_beside(course: &Course, from: u32, to: u32) -> bool {
    let lane = &course.map.lanes()[from as usize];
    course.network.is_none() || lane.left == Some(to) || lane.right == Some(to)
}
