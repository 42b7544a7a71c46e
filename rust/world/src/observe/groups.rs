//! The groups of an observation, but for the lane gaps.

use carla_online_roads::{LanePoint, RoadMap};

use super::layout::{
    ACCELERATION_MPS2, ACTOR_VX_MPS, ACTOR_VY_MPS, ACTOR_X_M, ACTOR_Y_M, CURVATURE_AT_M,
    CURVATURE_PER_M, DISTANCE_M, EGO, GEAR, HALF_LENGTH_M, HEADING_RAD, LATERAL_M, LIGHTS,
    POINT_X_M, POINT_Y_M, RELATIVE_CAP, REMAINING_M, ROUTE, ROUTE_POINTS_AT_M, SPEED_MPS,
    VEHICLE_SLOTS, VEHICLES, WALKER_MPS, WALKER_SLOTS, WALKER_X_M, WALKER_Y_M, WALKERS, WEATHER,
    WIDTH_M, YAW_RATE_RADPS,
};
use super::{
    ActorKind, ActorPose, ActorView, LightState, Observation, Place, SIGHT_M, ahead, straight_on,
};
use crate::geometry::wrap_angle;
use crate::route::{RoadOption, Route};

fn flag(value: bool) -> f32 {
    f32::from(u8::from(value))
}

pub(super) fn ego(view: &ActorView, place: &Place, out: &mut Observation) {
    let (ego, at) = (&view.ego, &place.at);
    let lane = &view.map.lanes()[at.lane as usize];
    let limit_mps = view.map.speed_limit_mps(at.lane, at.s_m);
    let (to_left_m, to_right_m) = view.map.half_width_to_edge(at.lane, at.s_m);
    let across = 2.0 * (at.lateral_m + to_left_m) / (to_left_m + to_right_m).max(0.1) - 1.0;
    let values = [
        ego.speed_mps / SPEED_MPS,
        (limit_mps - ego.speed_mps) / SPEED_MPS,
        at.lateral_m / LATERAL_M,
        wrap_angle(ego.yaw_rad - place.lane_yaw_rad) / HEADING_RAD,
        ego.yaw_rate_radps / YAW_RATE_RADPS,
        ego.forward_mps2 / ACCELERATION_MPS2,
        ego.lateral_mps2 / ACCELERATION_MPS2,
        ego.throttle,
        ego.brake,
        ego.steer,
        ego.gear as f32 / GEAR,
        flag(lane.left.is_some()),
        flag(lane.right.is_some()),
        flag(lane.left.is_some() && lane.may_change_left),
        flag(lane.right.is_some() && lane.may_change_right),
        across,
        limit_mps / SPEED_MPS,
        place.width_m / WIDTH_M,
    ];
    out[EGO..EGO + values.len()].copy_from_slice(&values);
    let curvatures = &mut out[EGO + values.len()..];
    for (value, distance_m) in curvatures.iter_mut().zip(CURVATURE_AT_M) {
        let there = ahead(view, (at.lane, at.s_m), distance_m);
        *value = there.map_or(0.0, |there| {
            view.map.sample(there.lane, there.s_m).curvature_per_m / CURVATURE_PER_M
        });
    }
    out[EGO + 22] = view.weather.friction;
    let station_m = place
        .on_route
        .map_or(view.station_hint_m, |(station_m, _)| station_m);
    out[EGO + 23] = ((view.route.length_m() - station_m) / REMAINING_M).clamp(0.0, 1.0);
}

pub(super) fn route(view: &ActorView, place: &Place, out: &mut Observation) {
    let station = place.on_route;
    let (station_m, segment) = station.unwrap_or_else(|| {
        let hint_m = view.station_hint_m;
        (hint_m, view.route.between(hint_m, hint_m).0)
    });
    let manoeuvre = view.route.next_manoeuvre(station_m, segment);
    let here = view.route.segments().get(segment);
    let option = match (here.map(|piece| piece.option), manoeuvre) {
        // A turn is announced on the approach, as CARLA's agents tell it; a lane change isn't.
        (Some(RoadOption::LaneFollow), Some((distance_m, turn))) if distance_m < DISTANCE_M => {
            match turn {
                RoadOption::Left | RoadOption::Right | RoadOption::Straight => turn,
                _ => RoadOption::LaneFollow,
            }
        }
        (Some(option), _) => option,
        (None, _) => RoadOption::LaneFollow,
    };
    out[ROUTE + option as usize] = 1.0;
    out[ROUTE + 6] = manoeuvre.map_or(RELATIVE_CAP, |(distance_m, _)| {
        (distance_m / DISTANCE_M).min(RELATIVE_CAP)
    });
    out[ROUTE + 7] = match manoeuvre {
        Some((_, RoadOption::ChangeLeft)) => -1.0,
        Some((_, RoadOption::ChangeRight)) => 1.0,
        _ => 0.0,
    };
    // The route may be followed in the ego's own lane until the next manoeuvre.
    let own_lane_until_m = match (station, manoeuvre) {
        (None, _) => -1.0,
        (Some(_), None) => f32::MAX,
        (Some(_), Some((distance_m, _))) => distance_m,
    };
    let mut point = (0.0, 0.0);
    for (index, distance_m) in ROUTE_POINTS_AT_M.into_iter().enumerate() {
        let there = if distance_m < own_lane_until_m {
            ahead(view, (place.at.lane, place.at.s_m), distance_m)
        } else {
            on_route(view.map, view.route, station_m + distance_m)
        };
        // Beyond the end of the road the last point stays.
        if let Some(there) = there {
            let pose = view.map.sample(there.lane, there.s_m).pose;
            point = place.to_ego(pose.x - view.ego.x, pose.y - view.ego.y);
        }
        out[ROUTE + 8 + 2 * index] = point.0 / POINT_X_M;
        out[ROUTE + 9 + 2 * index] = point.1 / POINT_Y_M;
    }
}

/// The place at a station of the route, going on along the lane behind its end.
pub(crate) fn on_route(map: &RoadMap, route: &Route, station_m: f32) -> Option<LanePoint> {
    let segments = route.segments();
    let index = segments
        .partition_point(|piece| piece.station_m <= station_m)
        .max(1)
        - 1;
    let piece = segments.get(index)?;
    straight_on(
        map,
        piece.lane,
        piece.from_s_m,
        (station_m - piece.station_m).max(0.0),
    )
}

pub(super) fn lights(view: &ActorView, place: &Place, out: &mut Observation) {
    let capped = |distance_m: f32| (distance_m / DISTANCE_M).clamp(0.0, RELATIVE_CAP);
    let (state, distance) = match view.signals.light {
        None => (0, RELATIVE_CAP),
        Some((LightState::Red, distance_m)) => (1, capped(distance_m)),
        Some((LightState::Yellow, distance_m)) => (2, capped(distance_m)),
        Some((LightState::Green, distance_m)) => (3, capped(distance_m)),
    };
    out[LIGHTS + state] = 1.0;
    out[LIGHTS + 4] = distance;
    out[LIGHTS + 5] = flag(view.signals.stop_sign_m.is_some());
    out[LIGHTS + 6] = view.signals.stop_sign_m.map_or(RELATIVE_CAP, capped);
    out[LIGHTS + 7] = flag(view.map.lanes()[place.at.lane as usize].junction.is_some());
}

pub(super) fn actors(view: &ActorView, place: &Place, out: &mut Observation) {
    for (slot, actor) in nearest::<VEHICLE_SLOTS>(view, ActorKind::Vehicle)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let (dx, dy) = place.to_ego(actor.x - view.ego.x, actor.y - view.ego.y);
        let (vx, vy) = (
            actor.velocity_mps.0 - view.ego.velocity_mps.0,
            actor.velocity_mps.1 - view.ego.velocity_mps.1,
        );
        let (vx, vy) = place.to_ego(vx, vy);
        let values = [
            1.0,
            dx / ACTOR_X_M,
            dy / ACTOR_Y_M,
            vx / ACTOR_VX_MPS,
            vy / ACTOR_VY_MPS,
            wrap_angle(actor.yaw_rad - view.ego.yaw_rad) / std::f32::consts::PI,
            actor.half_extents_m.0 / HALF_LENGTH_M,
        ];
        out[VEHICLES + slot * values.len()..][..values.len()].copy_from_slice(&values);
    }
    for (slot, actor) in nearest::<WALKER_SLOTS>(view, ActorKind::Walker)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let (dx, dy) = place.to_ego(actor.x - view.ego.x, actor.y - view.ego.y);
        let (vx, vy) = place.to_ego(actor.velocity_mps.0, actor.velocity_mps.1);
        let values = [
            1.0,
            dx / WALKER_X_M,
            dy / WALKER_Y_M,
            vx / WALKER_MPS,
            vy / WALKER_MPS,
        ];
        out[WALKERS + slot * values.len()..][..values.len()].copy_from_slice(&values);
    }
}

/// The `N` nearest actors of a kind within sight, nearest first; equal distances in the given order.
fn nearest<'a, const N: usize>(
    view: &ActorView<'a>,
    kind: ActorKind,
) -> [Option<&'a ActorPose>; N] {
    let mut found: [Option<&ActorPose>; N] = [None; N];
    let mut distances = [f32::INFINITY; N];
    for actor in view.actors.iter().filter(|actor| actor.kind == kind) {
        let (dx, dy) = (actor.x - view.ego.x, actor.y - view.ego.y);
        let distance = dx * dx + dy * dy;
        // Written so that NaN is left out.
        if !(distance <= SIGHT_M * SIGHT_M && distance < distances[N - 1]) {
            continue;
        }
        let mut slot = N - 1;
        while slot > 0 && distance < distances[slot - 1] {
            distances[slot] = distances[slot - 1];
            found[slot] = found[slot - 1];
            slot -= 1;
        }
        distances[slot] = distance;
        found[slot] = Some(actor);
    }
    found
}

pub(super) fn weather(view: &ActorView, out: &mut Observation) {
    out[WEATHER] = view.weather.haze;
    out[WEATHER + 1] = view.weather.wetness;
}
