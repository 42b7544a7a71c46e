//! Episodes on street networks.

use carla_online_roads::{LaneKind, RightOfWay};
use carla_online_world::{
    INFRACTIONS, JunctionRule, MapKind, OBSERVATION_DIM, OrientedBox, REWARD_TERMS, RoadOption,
    Setup, World, WorldConfig,
};
use std::sync::Arc;

fn config(kind: MapKind) -> WorldConfig {
    let mut config = WorldConfig::default();
    let map = &mut config.map;
    (map.kind, map.lanes, map.map_variants) = (kind, 1, 2);
    (map.length_m, map.speed_limit_mps) = ([80.0, 300.0], 50.0 / 3.6);
    if kind == MapKind::Highway {
        (map.lanes, map.arm_m) = (3, [600.0, 800.0]);
    }
    config.traffic.slow_vehicles = 8;
    config.traffic.fast_vehicles = 6;
    config.traffic.slow_speed_mps = [7.0, 11.0];
    config.traffic.lane_changes_per_100s = 5.0;
    let has_crosswalks = matches!(kind, MapKind::Grid | MapKind::FourWay | MapKind::TJunction);
    config.traffic.walkers = if has_crosswalks { 8 } else { 0 };
    config
}

const KINDS: [MapKind; 6] = [
    MapKind::Straight,
    MapKind::Curve,
    MapKind::Highway,
    MapKind::TJunction,
    MapKind::FourWay,
    MapKind::Grid,
];

fn setup(config: WorldConfig) -> Arc<Setup> {
    Arc::new(Setup::new(config).unwrap())
}

fn noise(seed: u64, step: u64) -> [f32; 2] {
    let bits = carla_online_world::rng::mix(seed.wrapping_mul(0x9e37).wrapping_add(step / 5));
    let unit = |shift: u32| ((bits >> shift) & 0xffff) as f32 / 32_768.0 - 1.0;
    [0.3 * unit(0), unit(16)]
}

fn boxes(world: &World) -> Vec<OrientedBox> {
    let (ego, others) = world.scene();
    let people = world.state().walkers.len();
    let vehicles = &others[..others.len() - people];
    std::iter::once(&ego)
        .chain(vehicles)
        .map(|one| {
            let (length_m, width_m) = one.half_extents_m;
            OrientedBox::new(one.x, one.y, one.yaw_rad, length_m, width_m)
        })
        .collect()
}

/// Whatever the map and the actions: finite numbers, nobody overlaps at the start, vehicles are on lanes, and an ego
/// that leaves the road is noticed.
#[test]
fn random_actions_on_every_map_give_sound_episodes() {
    for kind in KINDS {
        let mut own = config(kind);
        own.map.control = JunctionRule::Mixed;
        let setup = setup(own);
        for seed in 0..6 {
            let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
            let started = boxes(&world);
            for (number, one) in started.iter().enumerate() {
                assert!(
                    started[number + 1..]
                        .iter()
                        .all(|other| !one.overlaps(other)),
                    "{kind:?} {seed}"
                );
            }
            assert!(world.state().vehicles.len() >= 4, "{kind:?} {seed}");
            let mut observation = [0.0; OBSERVATION_DIM];
            for step in 0..300 {
                if world.has_ended() {
                    break;
                }
                let outcome = world.step(noise(seed, step));
                assert!(outcome.reward_terms.iter().all(|term| term.is_finite()));
                world.observe(&mut Vec::new(), &mut observation);
                assert!(observation.iter().all(|value| value.abs() <= 10.0));
                assert!(world.info(0.0).iter().all(|value| value.is_finite()));
                let car = &world.state().ego.car;
                let map = &world.course().map;
                let near = map.locate(car.x, car.y, 0.0, None).unwrap();
                let sample = map.sample(near.lane, near.s_m);
                let (dx, dy) = (car.x - sample.pose.x, car.y - sample.pose.y);
                // Half a lane, the margin in junctions, and what is driven in one step.
                let is_off = (dx * dx + dy * dy).sqrt() > 0.5 * sample.width_m + 3.0;
                assert!(!is_off || world.has_ended(), "{kind:?} {seed} {step}");
                for vehicle in &world.state().vehicles {
                    let lane = &map.lanes()[vehicle.lane as usize];
                    assert_eq!(lane.kind, LaneKind::Driving);
                    assert!(vehicle.s_m <= lane.length_m + 0.01 || vehicle.is_gone);
                }
            }
        }
    }
}

#[test]
fn a_restored_town_goes_on_bit_equal_and_another_seed_has_another_route() {
    let setup = setup(config(MapKind::Grid));
    let mut world = World::reset(Arc::clone(&setup), 5).unwrap();
    for step in 0..40 {
        world.step([0.0, if step < 20 { 0.2 } else { -1.0 }]);
    }
    let other = World::reset(Arc::clone(&setup), 6).unwrap();
    // The other world's map may be the same, its route isn't.
    let bytes = world.snapshot();
    for nearby in [None, Some(&other), Some(&world.clone())] {
        let mut again = World::restore(Arc::clone(&setup), &bytes, nearby).unwrap();
        let mut world = world.clone();
        assert_eq!(again.course().route, world.course().route);
        for _ in 0..60 {
            let action = [0.0, -0.5];
            assert_eq!(
                world.step(action).reward_terms,
                again.step(action).reward_terms
            );
            assert_eq!(world.state_hash(), again.state_hash());
        }
    }
}

/// The lane that a vehicle comes from, and whether its light was red when its centre passed the junction's edge.
#[test]
fn traffic_never_runs_a_red_light_and_never_collides() {
    let hours: f64 = std::env::var("CARLA_ONLINE_TOWN_MINUTES")
        .ok()
        .and_then(|minutes| minutes.parse().ok())
        .unwrap_or(4.0)
        / 60.0;
    for (kind, lanes) in [(MapKind::Grid, 1), (MapKind::FourWay, 2)] {
        let mut own = config(kind);
        own.map.lanes = lanes;
        own.map.length_m = [20.0, 400.0];
        own.traffic.slow_vehicles = if kind == MapKind::Grid { 24 } else { 10 };
        own.time_limit_factor = 100.0;
        let setup = setup(own);
        let (mut moved_m, mut entered, mut overlaps) = (0.0_f64, 0, 0);
        let mut simulated_s = 0.0;
        let mut seed = 0;
        let mut longest_stand_s = 0.0_f32;
        while simulated_s < hours * 3600.0 {
            let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
            seed += 1;
            let mut stands = vec![0.0_f32; world.state().vehicles.len()];
            let mut last: Vec<(u32, bool)> = Vec::new();
            while !world.has_ended() && world.time_s() < 600.0 && simulated_s < hours * 3600.0 {
                let before = world.state().vehicles.clone();
                drive_along(&mut world);
                simulated_s += 0.1;
                let state = world.state();
                let map = &world.course().map;
                for (index, (old, new)) in before.iter().zip(&state.vehicles).enumerate() {
                    if old.is_gone || new.is_gone {
                        stands[index] = 0.0;
                        continue;
                    }
                    moved_m += f64::from(new.speed_mps) * 0.1;
                    stands[index] = if new.speed_mps < 0.1 {
                        stands[index] + 0.1
                    } else {
                        0.0
                    };
                    longest_stand_s = longest_stand_s.max(stands[index]);
                    let junction = map.junction_of(new.lane);
                    if junction.is_none() || map.junction_of(old.lane) == junction {
                        continue;
                    }
                    entered += 1;
                    let line = map
                        .stop_lines(old.lane)
                        .iter()
                        .find(|line| line.onto == Some(new.lane));
                    let line = line.expect("a junction is entered from an approach");
                    if line.rule == RightOfWay::Light {
                        let shown = world.clock().shows(&line.light.unwrap());
                        assert_ne!(
                            shown,
                            carla_online_world::LightState::Red,
                            "{kind:?} {seed}: vehicle {index}"
                        );
                    }
                }
                let now = boxes(&world);
                for one in 1..now.len() {
                    for other in one + 1..now.len() {
                        if now[one].overlaps(&now[other]) {
                            let pair = ((one * 100 + other) as u32, true);
                            if !last.contains(&pair) {
                                overlaps += 1;
                                last.push(pair);
                                eprintln!(
                                    "{kind:?} seed {} t {:.1}: {one} and {other}",
                                    seed - 1,
                                    world.time_s()
                                );
                                for who in [one, other] {
                                    let v = state
                                        .vehicles
                                        .iter()
                                        .filter(|v| !v.is_gone)
                                        .nth(who - 1)
                                        .unwrap();
                                    eprintln!(
                                        "  lane {} s {:.1} v {:.1} lat {:.1} junction {:?} at {:.1} {:.1}",
                                        v.lane,
                                        v.s_m,
                                        v.speed_mps,
                                        v.lateral_m,
                                        map.junction_of(v.lane),
                                        v.x,
                                        v.y
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
        eprintln!(
            "{kind:?}: {entered} entries, {moved_m:.0} m, longest stand {longest_stand_s:.0} s, {overlaps} overlaps, {seed} episodes"
        );
        assert_eq!(overlaps, 0);
        // A cycle of four phases takes 60 s; whoever stands much longer than two is stuck.
        assert!(longest_stand_s < 180.0, "{kind:?}: {longest_stand_s} s");
        // Traffic flows: a light is green for somebody 20 s of every 30.
        assert!(f64::from(entered) > simulated_s / 12.0, "{entered}");
    }
}

/// Follows the route's lane with a bit of sense: stops for lights, for whoever is ahead, slows for bends.
fn drive_along(world: &mut World) {
    let mut observation = [0.0; OBSERVATION_DIM];
    world.observe(&mut Vec::new(), &mut observation);
    let fields = carla_online_world::layout();
    let read = |name: &str| {
        let field = fields.iter().find(|field| field.name == name).unwrap();
        observation[field.start] * field.scale
    };
    let field = fields
        .iter()
        .find(|field| field.name == "ego/curvature_at_0_10_25_45_m")
        .unwrap();
    let bends: Vec<f32> = (0..4)
        .map(|at| observation[field.start + at] * field.scale)
        .collect();
    let speed = read("ego/speed");
    let mut wanted = read("ego/speed_limit") * 0.8;
    for (bend, at) in bends.iter().zip([0.0, 10.0, 25.0, 45.0]) {
        wanted = wanted.min((2.0 / bend.abs().max(1e-4) + 2.0 * 1.5 * at).sqrt());
    }
    let mut room = read("lane_gaps/own/gap_ahead") - 3.0;
    if read("lights/red") + read("lights/yellow") > 0.5 {
        room = room.min(read("lights/stop_line_distance") - 1.0);
    }
    if read("lights/stop_sign_ahead") > 0.5 {
        room = room.min(read("lights/stop_sign_distance") - 1.0);
    }
    wanted = wanted.min((2.0 * 2.0 * room.max(0.0)).sqrt());
    let look = 4.0_f32.max(0.8 * speed);
    let curve = 0.5 * (bends[0] + bends[1])
        - 2.0 * (read("ego/lateral_in_lane") / look + read("ego/heading_error")) / look;
    let steer = (curve * 2.871).atan() / (70.0_f32.to_radians() * 0.93);
    let pedal = if wanted < 0.3 {
        -1.0
    } else {
        0.5 * (wanted - speed)
    };
    world.step([steer, pedal.clamp(-1.0, 0.7)]);
}

#[test]
fn routes_turn_as_asked_and_a_careful_driver_finishes_without_infractions() {
    let mut turns = [0; 6];
    let (mut finished, mut episodes) = (0, 0);
    for kind in [MapKind::TJunction, MapKind::FourWay, MapKind::Grid] {
        let mut own = config(kind);
        (
            own.traffic.slow_vehicles,
            own.traffic.fast_vehicles,
            own.traffic.walkers,
        ) = (0, 0, 0);
        let setup = setup(own);
        for seed in 0..8 {
            let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
            for piece in world.course().route.segments() {
                turns[piece.option as usize] += 1;
            }
            while !world.has_ended() {
                drive_along(&mut world);
            }
            episodes += 1;
            finished += u32::from(world.state().ending.finished);
            let counts = world.state().tally.counts;
            let named: Vec<_> = INFRACTIONS
                .iter()
                .zip(counts)
                .filter(|(_, count)| *count > 0)
                .collect();
            let state = world.state();
            eprintln!(
                "{kind:?} {seed}: {:?} at {:.0} of {:.0} m, {:.0} s {named:?}",
                state.ending,
                state.ego.station_m,
                world.course().route.length_m(),
                world.time_s()
            );
            assert_eq!(counts[6], 0, "{kind:?} {seed}: red light");
        }
    }
    assert!(turns[RoadOption::Left as usize] > 0 && turns[RoadOption::Right as usize] > 0);
    assert_eq!(finished, episodes);
}

/// Full throttle through a red light costs the event, the reward term and the coefficient.
#[test]
fn running_a_red_light_is_noticed_and_charged() {
    let mut own = config(MapKind::FourWay);
    (
        own.traffic.slow_vehicles,
        own.traffic.fast_vehicles,
        own.traffic.walkers,
    ) = (0, 0, 0);
    let setup = setup(own);
    let term = REWARD_TERMS
        .iter()
        .position(|name| *name == "red_light")
        .unwrap();
    let (mut ran, mut green) = (0, 0);
    for seed in 0..30 {
        let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
        let mut paid = 0.0;
        let mut passed_red = false;
        while !world.has_ended() && world.time_s() < 40.0 {
            let before = world.state().ego.clone();
            let ego = &before;
            let steer = -0.08 * ego.lateral_m - 0.6 * ego.heading_error_rad;
            let pedal = if ego.car.speed_mps < 8.0 { 0.5 } else { 0.0 };
            paid += world.step([steer, pedal]).reward_terms[term];
            let map = &world.course().map;
            let now = &world.state().ego;
            if map.junction_of(before.lane).is_none() && map.junction_of(now.lane).is_some() {
                // An ego that got into the wrong lane has no light there.
                let Some(line) = map.stop_lines(before.lane).first() else {
                    break;
                };
                // The centre passes the edge; the rear follows within half a second.
                passed_red = world.clock().shows(&line.light.unwrap())
                    == carla_online_world::LightState::Red;
                green += u32::from(!passed_red);
            }
        }
        let count = world.state().tally.counts[6];
        if passed_red {
            assert_eq!((count, paid), (1, 1.0), "{seed}");
            ran += 1;
        }
    }
    assert!(ran > 3 && green > 3, "{ran} {green}");
}

/// Gridlock: nobody stands for three minutes in a town of 5 x 5 blocks, behind an ego that was blocked for 90 s either.
#[test]
fn a_large_town_never_locks() {
    let minutes: f64 = std::env::var("CARLA_ONLINE_TOWN_MINUTES")
        .ok()
        .and_then(|minutes| minutes.parse().ok())
        .unwrap_or(2.0);
    for is_hurried in [false, true] {
        let mut own = config(MapKind::Grid);
        (own.map.columns, own.map.rows, own.map.lanes) = (5, 5, if is_hurried { 2 } else { 1 });
        own.map.control = JunctionRule::Mixed;
        own.map.map_variants = 1;
        own.map.length_m = [300.0, 900.0];
        (own.traffic.slow_vehicles, own.traffic.fast_vehicles) = (48, 16);
        own.traffic.spread_m = 1000.0;
        own.traffic.walkers = 16;
        own.time_limit_factor = 100.0;
        if is_hurried {
            own.traffic.mobil.share = 1.0;
            own.traffic.idm.headway_s = 0.7;
            own.traffic.adversaries.red_light_share = 0.2;
            own.traffic.adversaries.jaywalk_share = 0.5;
        }
        let setup = setup(own);
        let mut simulated_s = 0.0;
        let (mut longest_s, mut changes, mut seed) = (0.0_f32, 0_u32, 0);
        while simulated_s < minutes * 60.0 {
            let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
            seed += 1;
            let mut stands_s = vec![0.0_f32; world.state().vehicles.len()];
            // An ego that turns left before oncoming traffic may stand face to face with it. Nobody can drive on then,
            // until the episode ends with its being blocked.
            while !world.has_ended() && simulated_s < minutes * 60.0 {
                let before = world.state().vehicles.clone();
                drive_along(&mut world);
                simulated_s += 0.1;
                for ((stand_s, old), new) in stands_s
                    .iter_mut()
                    .zip(&before)
                    .zip(&world.state().vehicles)
                {
                    let is_standing = !new.is_gone && new.speed_mps < 0.1;
                    *stand_s = if is_standing { *stand_s + 0.1 } else { 0.0 };
                    longest_s = longest_s.max(*stand_s);
                    changes += u32::from(old.change_done >= 1.0 && new.change_done < 1.0);
                }
            }
        }
        eprintln!(
            "5x5, hurried {is_hurried}: longest stand {longest_s:.0} s, {changes} lane changes, {seed} episodes"
        );
        assert!(longest_s < 180.0, "{longest_s} s");
        assert!(!is_hurried || changes > 0, "nobody overtakes");
    }
}
