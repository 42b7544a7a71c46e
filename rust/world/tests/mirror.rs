//! A drive that is judged from outside is judged like the world's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use carla_online_world::mirror::{EgoSighting, Mirror, Obstacle, Sighting};
use carla_online_world::{
    ActorKind, LightState, MapKind, OBSERVATION_DIM, Setup, State, World, WorldConfig,
    score::infraction,
};

fn setup() -> Arc<Setup> {
    let mut config = WorldConfig::default();
    config.map.map_variants = 8;
    Arc::new(Setup::new(config).unwrap())
}

fn ego_of(state: &State) -> EgoSighting {
    let car = &state.ego.car;
    EgoSighting {
        x: car.x,
        y: car.y,
        z: state.ego.z,
        yaw_rad: car.yaw_rad,
        velocity_mps: car.velocity_mps(),
        yaw_rate_radps: car.yaw_rate_radps,
        gear: i32::from(car.gear),
    }
}

/// The traffic as a simulator shows it.
fn others_of(state: &State) -> Vec<Sighting> {
    let present = state.vehicles.iter().enumerate();
    present
        .filter(|(_, vehicle)| !vehicle.is_gone)
        .map(|(index, vehicle)| Sighting {
            id: 100 + index as u32,
            kind: ActorKind::Vehicle,
            x: vehicle.x,
            y: vehicle.y,
            z: vehicle.z,
            yaw_rad: vehicle.yaw_rad,
            velocity_mps: (
                vehicle.speed_mps * vehicle.yaw_rad.cos(),
                vehicle.speed_mps * vehicle.yaw_rad.sin(),
            ),
            half_extents_m: vehicle.half_extents_m(),
        })
        .collect()
}

const fn opposite(state: LightState) -> LightState {
    match state {
        LightState::Red => LightState::Green,
        LightState::Green | LightState::Yellow => LightState::Red,
    }
}

fn action(step: u32) -> [f32; 2] {
    let t = step as f32;
    [0.012 * (0.13 * t).sin(), 0.25 + 0.3 * (0.07 * t).sin()]
}

fn observed(fill: impl FnOnce(&mut [f32; OBSERVATION_DIM])) -> [f32; OBSERVATION_DIM] {
    let mut out = [0.0; OBSERVATION_DIM];
    fill(&mut out);
    out
}

/// The tolerance is the acceleration's: speeds differ by a rounding, which the step length divides.
///
/// Drives a world and a mirror that sees the ego after every single step; returns how many decisions were made.
fn compare(seed: u64, tolerance: f32) -> u32 {
    let mut config = WorldConfig::default();
    config.map.map_variants = 8;
    config.decision_steps = 1;
    let setup = Arc::new(Setup::new(config).unwrap());
    let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
    let mut mirror = Mirror::reset(setup, seed).unwrap();
    let mut step = 0;
    while !world.has_ended() && step < 600 {
        let theirs = world.step(action(step));
        mirror.decide(action(step));
        mirror.plan();
        mirror.look(&ego_of(world.state()), &[], &[]);
        let ours = mirror.conclude().unwrap();
        assert_eq!(
            ours.infractions, theirs.infractions,
            "seed {seed}, step {step}"
        );
        assert_eq!(
            (ours.terminated, ours.truncated),
            (theirs.terminated, theirs.truncated)
        );
        for (at, (one, two)) in ours
            .reward_terms
            .iter()
            .zip(theirs.reward_terms)
            .enumerate()
        {
            assert!(
                (one - two).abs() <= tolerance,
                "seed {seed}, step {step}, term {at}: {one} {two}"
            );
        }
        let seen = observed(|out| mirror.observe(out));
        let expected = observed(|out| world.observe(&mut Vec::new(), out));
        for (at, (one, two)) in seen.iter().zip(expected).enumerate() {
            assert!(
                (one - two).abs() <= tolerance,
                "seed {seed}, step {step}, value {at}: {one} {two}"
            );
        }
        step += 1;
    }
    step
}

/// Oracle: what the simulated vehicle does with degrees and a velocity, in its own arithmetic.
#[test]
fn a_start_reaches_a_simulator_to_the_bit() {
    let setup = setup();
    for seed in 0..20_000 {
        let mirror = Mirror::reset(Arc::clone(&setup), seed).unwrap();
        let car = mirror.ego().car;
        let yaw_rad = car.yaw_rad.to_degrees().to_radians();
        let (vx, vy) = mirror.start_velocity_mps();
        assert_eq!(yaw_rad, car.yaw_rad, "seed {seed}");
        let forward_mps = vx * libm::cosf(yaw_rad) + vy * libm::sinf(yaw_rad);
        assert_eq!(forward_mps, car.speed_mps, "seed {seed}");
    }
}

#[test]
fn the_same_motion_gives_the_same_numbers_with_the_worlds_own_traffic() {
    let steps: u32 = (0..6).map(|seed| compare(seed, 1e-4)).sum();
    assert!(steps > 600, "{steps}");
}

/// Traffic that the mirror only sees is observed and judged like its own.
#[test]
fn traffic_that_is_only_seen_counts_the_same() {
    let (mut compared, mut deficits) = (0, 0.0);
    for seed in 0..4 {
        let mut world = World::reset(setup(), seed).unwrap();
        let mut own = Mirror::reset(setup(), seed).unwrap();
        let mut seeing = own.clone();
        seeing.meet(&others_of(own.world().state()));
        seeing.release_scripted();
        for step in 0..150 {
            if world.has_ended() || own.world().has_ended() {
                break;
            }
            // Two steps a decision; the last one's state is shown for both, which is the same for both mirrors.
            world.step(action(step));
            for mirror in [&mut own, &mut seeing] {
                mirror.decide(action(step));
            }
            own.plan();
            seeing.plan();
            let others = others_of(own.world().state());
            own.look(&ego_of(world.state()), &[], &[]);
            seeing.look(&ego_of(world.state()), &others, &[]);
            let (one, two) = (own.conclude().unwrap(), seeing.conclude().unwrap());
            assert_eq!(one.infractions, two.infractions, "seed {seed}, step {step}");
            let seen = observed(|out| seeing.observe(out));
            let expected = observed(|out| own.observe(out));
            for (at, (one, two)) in seen.iter().zip(expected).enumerate() {
                assert!(
                    (one - two).abs() <= 1e-4,
                    "seed {seed}, step {step}, value {at}: {one} {two}"
                );
            }
            compared += 1;
            deficits += one.reward_terms[6];
        }
    }
    assert!(compared > 200 && deficits > 0.0, "{compared} {deficits}");
}

#[test]
fn a_contact_counts_once_until_the_two_have_parted() {
    let mut mirror = Mirror::reset(setup(), 3).unwrap();
    mirror.release_scripted();
    let ego = ego_of(mirror.world().state());
    let beside = |ahead_m: f32| Sighting {
        id: 7,
        kind: ActorKind::Walker,
        x: ego.x + ahead_m * ego.yaw_rad.cos(),
        y: ego.y + ahead_m * ego.yaw_rad.sin(),
        z: ego.z,
        yaw_rad: ego.yaw_rad,
        velocity_mps: (0.0, 0.0),
        half_extents_m: (0.2, 0.2),
    };
    // A step from the boxes' overlap, from the sensor, or from neither while they are less than 0.2 m apart.
    let touch = 2.451 + 0.2;
    let drive = |ahead_m: f32, is_felt: bool| {
        let mut fresh = mirror.clone();
        fresh.decide([0.0, 0.0]);
        fresh.plan();
        let felt = [(7, Obstacle::Walker)];
        fresh.look(&ego, &[beside(ahead_m)], &felt[..usize::from(is_felt)]);
        let counts = fresh.conclude().unwrap().infractions;
        (
            counts[infraction::COLLISION_WALKER],
            fresh.world().has_ended(),
        )
    };
    assert_eq!(drive(touch - 0.05, false), (1, true));
    assert_eq!(drive(touch + 0.05, true), (1, true));
    assert_eq!(drive(touch - 0.05, true), (1, true));
    assert_eq!(drive(touch + 0.05, false), (0, false));
}

/// Who knows only the lights that `lights_ahead` names sees and is charged the same, through green and red.
#[test]
fn no_other_light_says_anything_to_the_ego() {
    const AGAIN_M: f64 = 20.0;
    let mut config = WorldConfig::default();
    (config.map.kind, config.map.lanes) = (MapKind::Grid, 1);
    (config.traffic.slow_vehicles, config.traffic.fast_vehicles) = (0, 0);
    config.decision_steps = 1;
    let setup = Arc::new(Setup::new(config).unwrap());
    let (mut ran, mut lit) = (0, 0);
    for seed in 0..12 {
        let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
        let start = || Mirror::reset(Arc::clone(&setup), seed).unwrap();
        let (mut clock, mut knowing, mut asking) = (start(), start(), start());
        let (mut ahead, mut asked_at_m) = (BTreeSet::new(), f64::NEG_INFINITY);
        while !world.has_ended() && world.time_s() < 60.0 {
            if world.state().tally.distance_m - asked_at_m > AGAIN_M {
                asked_at_m = world.state().tally.distance_m;
                ahead = asking
                    .lights_ahead(105.0)
                    .into_iter()
                    .map(String::from)
                    .collect();
            }
            let shown = clock.lights().into_iter();
            let all: Vec<_> = shown.map(|(id, state)| (id.to_owned(), state)).collect();
            knowing.show_lights(&all);
            let heard = all.into_iter().map(|(id, state)| {
                let is_asked = ahead.contains(&id);
                (id, if is_asked { state } else { opposite(state) })
            });
            asking.show_lights(&heard.collect::<Vec<_>>());
            let ego = &world.state().ego;
            let steer = -0.08 * ego.lateral_m - 0.6 * ego.heading_error_rad;
            let action = [steer, if ego.car.speed_mps < 8.0 { 0.5 } else { 0.0 }];
            world.step(action);
            for mirror in [&mut clock, &mut knowing, &mut asking] {
                mirror.decide(action);
                mirror.plan();
                mirror.look(&ego_of(world.state()), &[], &[]);
            }
            let (theirs, ours) = (knowing.conclude().unwrap(), asking.conclude().unwrap());
            assert_eq!(ours.infractions, theirs.infractions, "seed {seed}");
            let expected = observed(|out| knowing.observe(out));
            assert_eq!(observed(|out| asking.observe(out)), expected, "seed {seed}");
            lit += u32::from(knowing.world().signals().light.is_some());
        }
        ran += knowing.conclude().unwrap().infractions[infraction::RED_LIGHT];
    }
    assert!(ran > 3 && lit > 1000, "{ran} {lit}");
}
