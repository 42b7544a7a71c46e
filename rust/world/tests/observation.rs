//! The observation builder: hand-computed values, and the same state told in two ways.

use carla_online_roads::{LanePoint, RoadMap, RoadSpec, Segment};
use carla_online_world::{
    ActorKind, ActorPose, ActorView, EgoPose, LightState, OBSERVATION_DIM, RoadOption, Route,
    Signals, Weather, World, WorldConfig, layout, observe,
};
use std::sync::Arc;

/// Three lanes along the x axis; lane centres at y = 1.75, 5.25 and 8.75 m.
fn straight() -> RoadMap {
    let spec = RoadSpec {
        lanes_forward: 3,
        lane_width_m: 3.5,
        speed_limit_mps: 15.0,
        segments: vec![Segment::Line { length_m: 300.3 }],
        ..RoadSpec::default()
    };
    RoadMap::parse(&spec.to_xodr().unwrap()).unwrap()
}

fn ego(x: f32, y: f32, yaw_rad: f32, speed_mps: f32) -> EgoPose {
    EgoPose {
        x,
        y,
        z: 0.0,
        yaw_rad,
        velocity_mps: (speed_mps * yaw_rad.cos(), speed_mps * yaw_rad.sin()),
        speed_mps,
        yaw_rate_radps: 0.1,
        forward_mps2: -1.0,
        lateral_mps2: 2.0,
        throttle: 0.25,
        brake: 0.5,
        steer: -0.75,
        gear: 3,
        half_extents_m: (2.5, 1.0),
        lane_hint: None,
    }
}

fn actor(kind: ActorKind, x: f32, y: f32, yaw_rad: f32, speed_mps: f32) -> ActorPose {
    ActorPose {
        kind,
        x,
        y,
        z: 0.0,
        yaw_rad,
        velocity_mps: (speed_mps * yaw_rad.cos(), speed_mps * yaw_rad.sin()),
        half_extents_m: (2.5, 1.0),
        lane_hint: None,
    }
}

/// Quantities by name, unscaled again.
fn read(
    map: &RoadMap,
    route: &Route,
    ego: EgoPose,
    actors: &[ActorPose],
    signals: Signals,
) -> impl Fn(&str) -> f32 + use<> {
    let view = ActorView {
        map,
        route,
        station_hint_m: 0.0,
        ego,
        actors,
        signals,
        weather: Weather::default(),
    };
    let mut observation = [f32::NAN; OBSERVATION_DIM];
    observe(&view, &mut observation);
    let fields = layout();
    move |name: &str| {
        let field = fields.iter().find(|field| field.name == name).unwrap();
        observation[field.start] * field.scale
    }
}

fn middle_route(map: &RoadMap) -> Route {
    let lane = map.locate(10.0, 5.25, 0.0, None).unwrap().lane;
    Route::along_lane(lane, 20.0, 220.0)
}

fn assert_near(seen: f32, expected: f32, name: &str) {
    assert!(
        (seen - expected).abs() < 2e-3,
        "{name}: {seen} against {expected}"
    );
}

#[test]
fn a_straight_road_gives_the_values_computed_by_hand() {
    let map = straight();
    let route = middle_route(&map);
    let actors = [
        actor(ActorKind::Vehicle, 130.0, 5.25, 0.0, 6.0),
        actor(ActorKind::Vehicle, 80.0, 5.25, 0.0, 12.0),
        actor(ActorKind::Vehicle, 160.0, 1.75, 0.0, 7.0),
        actor(ActorKind::Vehicle, 195.0, 5.25, 0.0, 7.0),
        actor(ActorKind::Walker, 110.0, 11.75, 0.0, 1.0),
    ];
    let value = read(
        &map,
        &route,
        ego(100.0, 5.75, 0.1, 10.0),
        &actors,
        Signals::default(),
    );
    let expected = [
        ("ego/speed", 10.0),
        ("ego/limit_minus_speed", 5.0),
        ("ego/lateral_in_lane", 0.5),
        ("ego/heading_error", 0.1),
        ("ego/yaw_rate", 0.1),
        ("ego/longitudinal_acceleration", -1.0),
        ("ego/lateral_acceleration", 2.0),
        ("ego/throttle_state", 0.25),
        ("ego/brake_state", 0.5),
        ("ego/last_steer", -0.75),
        ("ego/gear", 3.0),
        ("ego/lane_exists_left", 1.0),
        ("ego/lane_exists_right", 1.0),
        ("ego/change_allowed_left", 1.0),
        ("ego/lateral_on_carriageway", 2.0 * 5.75 / 10.5 - 1.0),
        ("ego/speed_limit", 15.0),
        ("ego/lane_width", 3.5),
        ("ego/curvature_at_0_10_25_45_m", 0.0),
        // The route ends at x = 220.
        ("ego/remaining_up_to_150_m", 120.0),
        // Bumper to bumper: the centres' distance less two half lengths.
        ("lane_gaps/own/gap_ahead", 25.0),
        ("lane_gaps/own/relative_speed_ahead", -4.0),
        ("lane_gaps/own/gap_behind", 15.0),
        ("lane_gaps/own/relative_speed_behind", 2.0),
        ("lane_gaps/left/gap_ahead", 55.0),
        ("lane_gaps/left/relative_speed_ahead", -3.0),
        ("lane_gaps/left/gap_behind", 40.0),
        ("lane_gaps/right/gap_ahead", 80.0),
        ("lane_gaps/right/relative_speed_ahead", 0.0),
        ("route/lane_follow", 1.0),
        ("route/manoeuvre_distance", 80.0),
        ("lights/none", 1.0),
        ("lights/stop_line_distance", 80.0),
        ("vehicles/0/mask", 1.0),
        ("vehicles/0/dx", -20.0 * 0.1_f32.cos() - 0.5 * 0.1_f32.sin()),
        ("vehicles/0/dy", -0.5 * 0.1_f32.cos() + 20.0 * 0.1_f32.sin()),
        ("vehicles/1/dvx", 6.0 * 0.1_f32.cos() - 10.0),
        ("vehicles/1/dvy", -6.0 * 0.1_f32.sin()),
        ("vehicles/1/heading_difference", -0.1),
        ("vehicles/2/half_length", 2.5),
        // The fourth is out of sight.
        ("vehicles/3/mask", 0.0),
        ("walkers/0/mask", 1.0),
        ("walkers/0/vx", 0.1_f32.cos()),
        ("weather/haze", 0.0),
    ];
    for (name, expected) in expected {
        assert_near(value(name), expected, name);
    }
    // 10 m along the lane's centre, seen from half a metre beside it, turned by 0.1 rad.
    assert_near(
        value("route/point_10_m/x"),
        10.0 * 0.1_f32.cos() - 0.5 * 0.1_f32.sin(),
        "x",
    );
    assert_near(
        value("route/point_10_m/y"),
        -0.5 * 0.1_f32.cos() - 10.0 * 0.1_f32.sin(),
        "y",
    );
}

#[test]
fn at_the_edge_there_is_no_lane_and_alongside_there_is_no_room() {
    let map = straight();
    let alongside = [actor(ActorKind::Vehicle, 101.0, 5.25, 0.0, 9.0)];
    let value = read(
        &map,
        &middle_route(&map),
        ego(100.0, 1.75, 0.0, 9.0),
        &alongside,
        Signals::default(),
    );
    assert_eq!(value("ego/lane_exists_left"), 0.0);
    assert_eq!(value("ego/change_allowed_left"), 0.0);
    assert_eq!(
        (
            value("lane_gaps/left/gap_ahead"),
            value("lane_gaps/left/gap_behind")
        ),
        (0.0, 0.0)
    );
    assert_eq!(value("lane_gaps/right/gap_ahead"), 0.0);
    assert_eq!(value("lane_gaps/right/gap_behind"), 40.0);
}

#[test]
fn a_vehicle_across_a_line_takes_room_in_both_lanes() {
    let map = straight();
    let cutting_in = [actor(ActorKind::Vehicle, 120.0, 3.9, 0.2, 9.0)];
    let value = read(
        &map,
        &middle_route(&map),
        ego(100.0, 1.75, 0.0, 9.0),
        &cutting_in,
        Signals::default(),
    );
    assert_near(value("lane_gaps/own/gap_ahead"), 15.0, "own");
    assert_near(value("lane_gaps/right/gap_ahead"), 15.0, "right");
}

#[test]
fn lights_signs_and_manoeuvres_have_their_places() {
    let map = straight();
    let lane = map.locate(10.0, 5.25, 0.0, None).unwrap().lane;
    let right = map.lanes()[lane as usize].right.unwrap();
    let pieces = [
        (lane, 20.0, 130.0, RoadOption::LaneFollow),
        (right, 130.0, 160.0, RoadOption::ChangeRight),
        (right, 160.0, 250.0, RoadOption::LaneFollow),
    ];
    let route = Route::from_pieces(&pieces);
    let signals = Signals {
        light: Some((LightState::Red, 12.0)),
        stop_sign_m: Some(200.0),
    };
    let value = read(&map, &route, ego(100.0, 5.25, 0.0, 9.0), &[], signals);
    assert_eq!((value("lights/none"), value("lights/red")), (0.0, 1.0));
    assert_near(value("lights/stop_line_distance"), 12.0, "stop line");
    assert_eq!(
        (
            value("lights/stop_sign_ahead"),
            value("lights/stop_sign_distance")
        ),
        (1.0, 80.0)
    );
    assert_eq!(value("route/lane_follow"), 1.0);
    assert_near(value("route/manoeuvre_distance"), 30.0, "manoeuvre");
    assert_eq!(value("route/lane_change_direction"), 1.0);
    assert_near(value("route/point_20_m/y"), 0.0, "before the change");
    assert_near(value("route/point_40_m/y"), 3.5, "behind the change");
}

#[test]
fn broken_input_gives_finite_values() {
    let map = straight();
    let mut broken = ego(100.0, 5.25, 0.0, f32::NAN);
    broken.yaw_rate_radps = f32::INFINITY;
    let actors = [actor(ActorKind::Vehicle, f32::NAN, 0.0, f32::NAN, 1.0)];
    let value = read(
        &map,
        &middle_route(&map),
        broken,
        &actors,
        Signals::default(),
    );
    assert_eq!(value("ego/speed"), 0.0);
    assert_eq!(value("vehicles/0/mask"), 0.0);
    let nowhere = read(
        &map,
        &middle_route(&map),
        ego(f32::NAN, 0.0, 0.0, 1.0),
        &[],
        Signals::default(),
    );
    assert_eq!(nowhere("ego/speed_limit"), 0.0);
}

/// What a CARLA client could know of a world: transforms, velocities and boxes, in another order and
/// without a hint where anybody is.
fn from_outside(world: &World) -> [f32; OBSERVATION_DIM] {
    let state = world.state();
    let car = &state.ego.car;
    let mut actors: Vec<ActorPose> = (state.vehicles.iter().rev())
        .filter(|vehicle| !vehicle.is_gone)
        .map(|vehicle| ActorPose {
            half_extents_m: vehicle.half_extents_m(),
            ..actor(
                ActorKind::Vehicle,
                vehicle.x,
                vehicle.y,
                vehicle.yaw_rad,
                vehicle.speed_mps,
            )
        })
        .collect();
    actors.push(actor(ActorKind::Vehicle, car.x + 500.0, car.y, 0.0, 1.0));
    let pose = EgoPose {
        x: car.x,
        y: car.y,
        z: 0.0,
        yaw_rad: car.yaw_rad,
        velocity_mps: car.velocity_mps(),
        speed_mps: car.speed_mps,
        yaw_rate_radps: car.yaw_rate_radps,
        forward_mps2: car.acceleration_mps2,
        lateral_mps2: car.lateral_acceleration_mps2(),
        throttle: car.throttle,
        brake: car.brake,
        steer: state.ego.action[0],
        gear: i32::from(car.gear),
        half_extents_m: carla_online_world::dynamics::HALF_EXTENTS_M,
        lane_hint: None,
    };
    let view = ActorView {
        map: &world.course().map,
        route: &world.course().route,
        station_hint_m: 0.0,
        ego: pose,
        actors: &actors,
        signals: Signals::default(),
        weather: Weather::default(),
    };
    let mut observation = [0.0; OBSERVATION_DIM];
    observe(&view, &mut observation);
    observation
}

#[test]
fn the_same_state_told_from_outside_gives_the_same_observation() {
    let mut config = WorldConfig::default();
    config.traffic.lane_changes_per_100s = 30.0;
    config.map.map_variants = 0;
    let setup = Arc::new(carla_online_world::Setup::new(config).unwrap());
    for seed in 0..6 {
        let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
        for decision in 0..150 {
            let ego = &world.state().ego;
            let (aim_m, free) = (
                if decision % 60 < 30 { 1.2 } else { -1.2 },
                ego.car.speed_mps < 9.0,
            );
            let steer = -0.05 * (ego.lateral_m - aim_m) - 0.5 * ego.heading_error_rad;
            world.step([steer, if free { 0.5 } else { -0.1 }]);
            let mut inside = [0.0; OBSERVATION_DIM];
            world.observe(&mut Vec::new(), &mut inside);
            for (index, (inside, outside)) in inside.iter().zip(from_outside(&world)).enumerate() {
                let difference = (inside - outside).abs();
                assert!(
                    difference < 2e-3,
                    "seed {seed}, {decision}: value {index}, {inside} {outside}"
                );
            }
        }
    }
}

#[test]
fn hints_change_no_result() {
    let map = straight();
    let route = middle_route(&map);
    let plain = ego(100.0, 5.25, 0.0, 9.0);
    let left = map.locate(100.0, 1.75, 0.0, None).unwrap().lane;
    for hint in [
        None,
        Some(LanePoint {
            lane: left,
            s_m: 3.0,
            lateral_m: 0.0,
        }),
    ] {
        let value = read(
            &map,
            &route,
            EgoPose {
                lane_hint: hint,
                ..plain
            },
            &[],
            Signals::default(),
        );
        assert_near(value("ego/lateral_in_lane"), 0.0, "lateral");
        assert_eq!(value("ego/lane_exists_left"), 1.0);
    }
}
