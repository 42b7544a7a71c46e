use std::sync::Arc;

use carla_online_roads::{RoadMap, RoadSpec, Segment};
use proptest::prelude::*;

use super::actor::{Body, Bounds, Walker, WalkerControl};
use super::contact::{Other, Solid};
use super::lights::{Colour, Light, StopBox};
use super::physics::VehiclePhysics;
use super::pose::{Rotation, Transform, Vector, add, scale};
use super::rays::Target;
use super::vehicle::Vehicle;
use super::{Mount, Stage, StageError};

const CAR: Bounds = Bounds {
    center: [0.0, 0.0, 0.755],
    half: [2.451, 1.064, 0.755],
};
const MAN: Bounds = Bounds {
    center: [0.0; 3],
    half: [0.188, 0.188, 0.93],
};

fn stage_with(solids: Vec<Solid>) -> Stage {
    let spec = RoadSpec {
        lanes_forward: 2,
        segments: vec![Segment::Line { length_m: 500.3 }],
        ..RoadSpec::default()
    };
    let map = RoadMap::parse(&spec.to_xodr().unwrap()).unwrap();
    Stage::new(Arc::new(map), solids.into(), 1)
}

fn stage() -> Stage {
    stage_with(Vec::new())
}

fn at(x: f32, y: f32, z: f32, yaw_deg: f32) -> Transform {
    Transform {
        location: [x, y, z],
        rotation: Rotation::level(yaw_deg),
    }
}

fn car(stage: &mut Stage, pose: Transform) -> Result<u32, StageError> {
    let vehicle = Vehicle::new(VehiclePhysics::mkz_2017(), 2.13, 1.51, true);
    stage.spawn(pose, None, CAR, Body::Vehicle(Box::new(vehicle)))
}

fn man(stage: &mut Stage, pose: Transform) -> u32 {
    stage
        .spawn(pose, None, MAN, Body::Walker(Walker::default()))
        .unwrap()
}

fn run(stage: &mut Stage, steps: u32) {
    (0..steps).for_each(|_| stage.step(0.05));
}

fn location(stage: &Stage, id: u32) -> Vector {
    stage.actor(id).unwrap().pose.location
}

#[test]
fn a_car_falls_onto_the_road_and_stands_exactly_where_it_was_put() {
    let mut stage = stage();
    let id = car(&mut stage, at(30.0, 1.75, 0.5, -90.0)).unwrap();
    run(&mut stage, 1);
    let pose = stage.actor(id).unwrap().pose;
    assert_eq!(
        (pose.location[0], pose.location[1], pose.rotation.yaw_deg),
        (30.0, 1.75, -90.0)
    );
    run(&mut stage, 20);
    assert_eq!(location(&stage, id), [30.0, 1.75, 0.0]);
}

#[test]
fn an_impulse_of_ten_times_the_mass_throws_five_metres_high() {
    let mut stage = stage();
    let id = car(&mut stage, at(30.0, 1.75, 0.0, 0.0)).unwrap();
    run(&mut stage, 2);
    stage.push(id, [0.0, 0.0, 16_960.0]).unwrap();
    let mut top = 0.0_f32;
    for _ in 0..60 {
        stage.step(0.05);
        top = top.max(location(&stage, id)[2]);
    }
    // v^2 / 2g = 5.10 m; explicit Euler with 50 ms loses v dt / 2 of it.
    assert!((top - 5.10).abs() < 0.3, "{top}");
    assert_eq!(location(&stage, id)[2], 0.0);
}

#[test]
fn a_force_for_one_step_gives_the_speed_that_newton_says() {
    let mut stage = stage();
    let id = car(&mut stage, at(30.0, 1.75, 0.0, 0.0)).unwrap();
    run(&mut stage, 2);
    stage
        .add_force(id, [0.0, 0.0, 1696.0 * 10.0 / 0.05])
        .unwrap();
    stage.step(0.05);
    let rise = stage.actor(id).unwrap().velocity[2];
    assert!((rise - (10.0 - 9.81 * 0.05)).abs() < 1e-3, "{rise}");
}

#[test]
fn without_gravity_a_pushed_car_glides_at_its_height_for_ever() {
    let mut stage = stage();
    let id = car(&mut stage, at(30.0, 40.0, 0.7, 90.0)).unwrap();
    stage.actor_mut(id).unwrap().has_gravity = false;
    stage.set_velocity(id, [0.0, 27.778, 0.0]).unwrap();
    run(&mut stage, 100);
    let actor = stage.actor(id).unwrap();
    assert_eq!(actor.velocity, [0.0, 27.778, 0.0]);
    assert_eq!(actor.pose.location[2], 0.7);
    assert!((actor.pose.location[1] - 178.89).abs() < 1e-2);
}

#[test]
fn places_are_taken_in_three_dimensions() {
    let mut stage = stage();
    let first = car(&mut stage, at(30.0, 1.75, 0.0, 0.0)).unwrap();
    assert_eq!(
        car(&mut stage, at(32.0, 1.75, 0.0, 0.0)),
        Err(StageError::Blocked(Other::Actor(first)))
    );
    assert!(car(&mut stage, at(30.0, 1.75, 5.0, 0.0)).is_ok());
    assert!(car(&mut stage, at(30.0, 5.75, 0.0, 0.0)).is_ok());
    stage.destroy(first).unwrap();
    assert!(car(&mut stage, at(32.0, 1.75, 0.0, 0.0)).is_ok());
}

#[test]
fn a_head_on_crash_of_equal_cars_stops_both_and_tells_both() {
    let mut stage = stage();
    let one = car(&mut stage, at(50.0, 1.75, 0.0, 0.0)).unwrap();
    let two = car(&mut stage, at(62.0, 1.75, 0.0, 180.0)).unwrap();
    run(&mut stage, 1);
    stage.set_velocity(one, [15.0, 0.0, 0.0]).unwrap();
    stage.set_velocity(two, [-15.0, 0.0, 0.0]).unwrap();
    let mut crash = None;
    for _ in 0..20 {
        stage.step(0.05);
        if crash.is_none() && !stage.contacts().is_empty() {
            crash = Some(stage.contacts().to_vec());
        }
    }
    let crash = crash.expect("they meet");
    assert_eq!((crash[0].actor, crash[0].other), (one, Other::Actor(two)));
    assert_eq!((crash[1].actor, crash[1].other), (two, Other::Actor(one)));
    // Each loses its whole momentum, which coasting had hardly changed.
    assert!(
        (crash[0].impulse[0] + 1696.0 * 15.0).abs() < 1696.0 * 0.2,
        "{crash:?}"
    );
    assert!(location(&stage, two)[0] - location(&stage, one)[0] > 2.0 * 2.451 - 0.01);
}

#[test]
fn a_wall_of_the_map_stops_a_car() {
    let wall = Solid {
        center: [100.0, 1.75, 2.0],
        half: [1.0, 10.0, 2.0],
        yaw_deg: 0.0,
        kind: "static.building".into(),
    };
    let mut stage = stage_with(vec![wall]);
    let id = car(&mut stage, at(80.0, 1.75, 0.0, 0.0)).unwrap();
    run(&mut stage, 1);
    stage.set_velocity(id, [20.0, 0.0, 0.0]).unwrap();
    let mut has_hit = false;
    for _ in 0..40 {
        stage.step(0.05);
        has_hit |= stage
            .contacts()
            .iter()
            .any(|contact| contact.other == Other::Solid(0));
    }
    assert!(has_hit && location(&stage, id)[0] < 99.0 - 2.44);
}

#[test]
fn a_walker_walks_where_it_is_told_on_its_feet() {
    let mut stage = stage();
    let id = man(&mut stage, at(20.0, 8.0, 1.9, 0.0));
    run(&mut stage, 30);
    stage
        .walk(
            id,
            WalkerControl {
                direction: [0.0, 1.0, 0.0],
                speed_mps: 1.4,
                jump: false,
            },
        )
        .unwrap();
    run(&mut stage, 20);
    let [x, y, z] = location(&stage, id);
    assert!(
        x == 20.0 && (y - 9.4).abs() < 1e-4 && (z - 0.93).abs() < 1e-6,
        "{x} {y} {z}"
    );
    assert_eq!(stage.actor(id).unwrap().pose.rotation.yaw_deg, 90.0);
}

#[test]
fn a_buried_or_frozen_actor_stays_where_it_was_put() {
    let mut stage = stage();
    let id = car(&mut stage, at(30.0, 1.75, 0.0, 0.0)).unwrap();
    stage.set_physics_on(id, false).unwrap();
    stage.place(id, at(30.25, 1.75, -500.0, 12.5)).unwrap();
    run(&mut stage, 50);
    assert_eq!(stage.actor(id).unwrap().pose, at(30.25, 1.75, -500.0, 12.5));
}

#[test]
fn a_mounted_actor_rides_along_and_is_left_when_its_carrier_goes() {
    let mut stage = stage();
    let id = car(&mut stage, at(30.0, 1.75, 0.0, 0.0)).unwrap();
    let mount = Some(Mount { parent: id });
    let sensor = stage
        .spawn(
            at(1.0, 0.0, 2.0, 0.0),
            mount,
            Bounds::default(),
            Body::Other,
        )
        .unwrap();
    run(&mut stage, 1);
    stage.set_velocity(id, [10.0, 0.0, 0.0]).unwrap();
    run(&mut stage, 10);
    assert!((location(&stage, sensor)[0] - location(&stage, id)[0] - 1.0).abs() < 1e-5);
    stage.destroy(id).unwrap();
    let before = location(&stage, sensor);
    run(&mut stage, 10);
    assert_eq!(location(&stage, sensor), before);
    assert_eq!(stage.destroy(id), Err(StageError::NoSuchActor(id)));
}

fn light(group: u32, controller: u32) -> Body {
    let stop = StopBox {
        pose: at(100.0, 1.75, 0.0, 0.0),
        half_m: (2.0, 1.75),
    };
    Body::Light(Box::new(Light::new(
        format!("{controller}"),
        group,
        controller,
        vec![stop],
    )))
}

#[test]
fn one_controller_of_a_junction_is_green_at_a_time() {
    let mut stage = stage();
    for controller in 1..=3 {
        stage
            .spawn(
                at(100.0, 8.0, 0.0, 90.0),
                None,
                Bounds::default(),
                light(7, controller),
            )
            .unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..(3 * 15 * 20) {
        stage.step(0.05);
        let states: Vec<Colour> = stage
            .actors()
            .iter()
            .map(|actor| actor.light().unwrap().state)
            .collect();
        assert!(states.iter().filter(|state| **state != Colour::Red).count() <= 1);
        if seen.last() != Some(&states) {
            seen.push(states);
        }
    }
    let cycle = [
        [Colour::Green, Colour::Red, Colour::Red],
        [Colour::Yellow, Colour::Red, Colour::Red],
        [Colour::Red; 3],
        [Colour::Red, Colour::Green, Colour::Red],
        [Colour::Red, Colour::Yellow, Colour::Red],
        [Colour::Red; 3],
    ];
    assert_eq!(seen[..6], cycle.map(Vec::from));
    assert!(seen.len() >= 9, "{}", seen.len());
}

#[test]
fn a_vehicle_is_at_a_light_while_it_is_in_its_stop_box_and_faces_it() {
    let mut stage = stage();
    let light = stage
        .spawn(
            at(100.0, 8.0, 0.0, 90.0),
            None,
            Bounds::default(),
            light(7, 1),
        )
        .unwrap();
    let id = car(&mut stage, at(90.0, 1.75, 0.0, 0.0)).unwrap();
    let mut at_light = |pose| {
        stage.place(id, pose).unwrap();
        stage.step(0.05);
        stage.actor(id).unwrap().vehicle().unwrap().traffic_light
    };
    assert_eq!(at_light(at(90.0, 1.75, 0.0, 0.0)), None);
    assert_eq!(at_light(at(96.0, 1.75, 0.0, 0.0)), Some(light));
    assert_eq!(at_light(at(101.0, 1.75, 0.0, 0.0)), Some(light));
    assert_eq!(at_light(at(103.0, 1.75, 0.0, 0.0)), None);
    assert_eq!(at_light(at(100.0, 1.75, 0.0, 180.0)), None);
    assert_eq!(at_light(at(100.0, 1.75, 8.0, 0.0)), None);
}

#[test]
fn who_stands_before_the_line_after_its_green_is_away_from_the_light_for_one_step() {
    use Colour::{Green, Red, Yellow};

    let mut stage = stage();
    let pole = at(100.0, 8.0, 0.0, 90.0);
    let light = stage
        .spawn(pole, None, Bounds::default(), light(7, 1))
        .unwrap();
    let id = car(&mut stage, at(97.0, 1.75, 0.0, 0.0)).unwrap();
    let mut seen = |x: f32, colour: Colour| {
        stage.place(id, at(x, 1.75, 0.0, 0.0)).unwrap();
        stage.vehicle_mut(id).unwrap().control.brake = 1.0;
        stage.light_mut(light).unwrap().show(colour);
        stage.step(0.001);
        stage.actor(id).unwrap().vehicle().unwrap().traffic_light
    };
    // Came at red: nothing to forget.
    assert_eq!([seen(97.0, Red), seen(97.0, Red)], [Some(light); 2]);
    assert_eq!(
        [Green, Yellow, Yellow, Red].map(|colour| seen(97.0, colour)),
        [Some(light), None, Some(light), Some(light)]
    );
    // With the nose behind the line it may go on.
    assert_eq!(
        [Green, Yellow, Red].map(|colour| seen(101.0, colour)),
        [Some(light); 3]
    );
}

fn bits(stage: &Stage) -> Vec<u32> {
    let of_actor = |actor: &super::actor::Actor| {
        [
            actor.pose.location,
            actor.velocity,
            actor.angular_velocity_degps,
            [actor.pose.rotation.yaw_deg; 3],
        ]
    };
    stage
        .actors()
        .iter()
        .flat_map(of_actor)
        .flatten()
        .map(f32::to_bits)
        .collect()
}

#[test]
fn nobody_on_foot_moves_a_standing_car() {
    for is_on in [true, false] {
        let mut stage = stage();
        let id = car(&mut stage, at(80.0, 1.75, 0.0, 30.0)).unwrap();
        stage.vehicle_mut(id).unwrap().control.brake = 1.0;
        run(&mut stage, 5);
        let before = location(&stage, id);
        let walker = man(&mut stage, at(80.0, 6.0, 0.93, -90.0));
        stage.set_physics_on(walker, is_on).unwrap();
        let mut has_touched = false;
        for step in 0..80 {
            if is_on {
                let control = WalkerControl {
                    direction: [0.0, -1.0, 0.0],
                    speed_mps: 1.4,
                    jump: false,
                };
                stage.walk(walker, control).unwrap();
            } else {
                let y = (6.0 - 0.07 * step as f32).max(2.5);
                stage.place(walker, at(80.0, y, 0.93, -90.0)).unwrap();
            }
            stage.step(0.05);
            has_touched |= !stage.contacts().is_empty();
        }
        assert!(has_touched);
        assert_eq!(location(&stage, id), before, "physics {is_on}");
    }
}

#[test]
fn a_ray_from_above_meets_the_roof_and_the_road_below_it() {
    let mut stage = stage();
    let id = car(&mut stage, at(80.0, 1.75, 0.0, 30.0)).unwrap();
    run(&mut stage, 1);
    let hits = stage.cast([80.0, 1.75, 10.0], [0.0, 0.0, -3.0], 12.0);
    let seen: Vec<_> = hits
        .iter()
        .map(|hit| (hit.target, hit.distance_m))
        .collect();
    assert_eq!(
        seen,
        [
            (Target::Box(Other::Actor(id)), 10.0 - 1.51),
            (Target::Ground, 10.0)
        ]
    );
    // From within, the box isn't entered; upwards there is nothing; of no direction, nothing is asked.
    let within = [80.0, 1.75, 0.5];
    assert_eq!(
        stage.cast(within, [0.0, 0.0, -1.0], 1.0)[0].target,
        Target::Ground
    );
    assert!(stage.cast(within, [0.0, 0.0, 1.0], 1e4).is_empty());
    assert!(stage.cast(within, [0.0; 3], 10.0).is_empty());
    assert!(stage.cast(within, [f32::NAN; 3], 10.0).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same calls on a new stage give the same bits; nothing ever becomes NaN; boxes of cars end up apart.
    #[test]
    fn a_crowded_stage_repeats_itself_bit_for_bit(
        cars in prop::collection::vec((0.0_f32..60.0, -4.0_f32..8.0, -180.0_f32..180.0, -20.0_f32..20.0), 2..9),
    ) {
        let play = || {
            let mut stage = stage();
            let mut ids = Vec::new();
            for &(x, y, yaw, speed) in &cars {
                if let Ok(id) = car(&mut stage, at(x, y, 0.2, yaw)) {
                    stage.set_velocity(id, [speed, 0.5 * speed, 0.0]).unwrap();
                    stage.vehicle_mut(id).unwrap().control.throttle = 0.5;
                    ids.push(id);
                }
            }
            man(&mut stage, at(30.0, 20.0, 1.0, 0.0));
            run(&mut stage, 100);
            stage
        };
        let (one, two) = (play(), play());
        prop_assert_eq!(bits(&one), bits(&two));
        prop_assert!(one.actors().iter().all(|actor| actor.pose.location.iter().all(|value| value.is_finite())));
    }

    /// A ray meets a wall exactly where a walk along it in small steps first finds itself inside.
    #[test]
    fn a_ray_enters_a_box_where_a_walk_along_it_does(
        yaw_deg in -180.0_f32..180.0,
        half in prop::array::uniform3(0.3_f32..3.0),
        from in prop::array::uniform3(-8.0_f32..8.0),
        to in prop::array::uniform3(-4.0_f32..4.0),
    ) {
        let center = [100.0, 50.0, 20.0];
        let wall = Solid { center, half, yaw_deg, kind: "static.wall".into() };
        let frame = Transform { location: center, rotation: Rotation::level(yaw_deg) };
        let is_inside = |place: Vector| {
            let inner = frame.rotation.unrotate(add(place, scale(center, -1.0)));
            (0..3).all(|axis| inner[axis].abs() <= half[axis])
        };
        let direction = add(to, scale(from, -1.0));
        let start = add(center, from);
        let walk = |share: f32| add(start, scale(direction, share));
        prop_assume!(!is_inside(start));
        let reach_m = direction.iter().map(|value| value * value).sum::<f32>().sqrt();
        let entered = (0..=4000).map(|step| step as f32 / 4000.0).find(|share| is_inside(walk(*share)));
        let hits = stage_with(vec![wall]).cast(start, direction, reach_m);
        let hit = hits.iter().find(|hit| hit.target == Target::Box(Other::Solid(0)));
        match (entered, hit) {
            (Some(share), Some(hit)) => prop_assert!((share * reach_m - hit.distance_m).abs() < reach_m / 4000.0 + 1e-3),
            // Steps can miss a corner that the ray cuts: then it leaves within two of them.
            (None, Some(hit)) => prop_assert!(!is_inside(walk((hit.distance_m + 2.0 * reach_m / 4000.0) / reach_m))),
            (Some(_), None) => prop_assert!(false, "the walk entered the box, the ray did not"),
            (None, None) => {}
        }
    }
}
