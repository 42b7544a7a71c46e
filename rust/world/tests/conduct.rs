//! How traffic behaves beyond car following: overtaking, cutting in, running lights, jaywalking; and branches' futures.

use carla_online_roads::RightOfWay;
use carla_online_world::{
    LightState, MapKind, OBSERVATION_DIM, Setup, World, WorldBatch, WorldConfig, layout,
};
use std::sync::Arc;

/// Drives along the ego's lane at a speed, as far as one can without looking.
fn cruise(world: &mut World, speed_mps: f32) {
    let ego = &world.state().ego;
    let curvature = world
        .course()
        .map
        .sample(ego.lane, ego.s_m + 3.0)
        .curvature_per_m;
    let steer = 2.2 * curvature - 0.06 * ego.lateral_m - 0.5 * ego.heading_error_rad;
    let pedal = 0.3 * (speed_mps - ego.car.speed_mps);
    world.step([steer, pedal.clamp(-0.5, 0.6)]);
}

fn chain() -> WorldConfig {
    let mut config = WorldConfig::default();
    config.map.map_variants = 4;
    config.traffic.lane_changes_per_100s = 0.0;
    config
}

/// Lane changes of the traffic, and those that ended up closely ahead of the ego, over some episodes.
fn changes(config: &WorldConfig) -> (u32, u32) {
    let setup = Arc::new(Setup::new(config.clone()).unwrap());
    let (mut all, mut close) = (0, 0);
    for seed in 0..6 {
        let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
        while !world.has_ended() && world.time_s() < 40.0 {
            let before = world.state().vehicles.clone();
            cruise(&mut world, 10.0);
            let ego = &world.state().ego;
            for (old, new) in before.iter().zip(&world.state().vehicles) {
                if old.change_done >= 1.0 && new.change_done < 1.0 {
                    all += 1;
                    let ahead_m = new.s_m - ego.s_m;
                    close += u32::from(new.lane == ego.lane && (0.0..16.0).contains(&ahead_m));
                }
            }
        }
    }
    (all, close)
}

#[test]
fn drivers_overtake_for_gain_and_some_cut_in() {
    let plain = chain();
    assert_eq!(changes(&plain), (0, 0));
    let mut mobil = chain();
    mobil.traffic.mobil.share = 1.0;
    let (overtaken, _) = changes(&mobil);
    assert!(overtaken > 5, "{overtaken}");
    let mut adverse = chain();
    adverse.traffic.adversaries.cut_in_share = 1.0;
    let (all, close) = changes(&adverse);
    assert!(close > 0 && close == all, "{close} of {all}");
}

fn junction() -> WorldConfig {
    let mut config = WorldConfig::default();
    let map = &mut config.map;
    (map.kind, map.lanes, map.map_variants) = (MapKind::FourWay, 1, 2);
    (map.length_m, map.speed_limit_mps) = ([80.0, 300.0], 50.0 / 3.6);
    config.traffic.slow_speed_mps = [8.0, 12.0];
    config.blocked_after_s = 1e4;
    config.time_limit_factor = 100.0;
    config
}

/// How many vehicles entered a junction, and how many of them at red.
fn entries(config: WorldConfig) -> (u32, u32) {
    let setup = Arc::new(Setup::new(config).unwrap());
    let (mut all, mut red) = (0, 0);
    for seed in 0..3 {
        let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
        while !world.has_ended() && world.time_s() < 120.0 {
            let before = world.state().vehicles.clone();
            world.step([0.0, -1.0]);
            let map = &world.course().map;
            for (old, new) in before.iter().zip(&world.state().vehicles) {
                let is_entry = !old.is_gone
                    && !new.is_gone
                    && map.junction_of(new.lane).is_some()
                    && map.junction_of(old.lane).is_none();
                if !is_entry {
                    continue;
                }
                let lines = map.stop_lines(old.lane);
                let line = lines
                    .iter()
                    .find(|line| line.onto == Some(new.lane))
                    .unwrap();
                assert_eq!(line.rule, RightOfWay::Light);
                all += 1;
                red += u32::from(world.clock().shows(&line.light.unwrap()) == LightState::Red);
            }
        }
    }
    (all, red)
}

#[test]
fn only_those_who_are_asked_to_run_red_lights_and_a_cautious_driver_never_does() {
    let mut cautious = junction();
    cautious.traffic.idm.headway_s = 2.0;
    let (all, red) = entries(cautious);
    assert!(all > 5 && red == 0, "{red} of {all}");
    let mut adverse = junction();
    adverse.traffic.adversaries.red_light_share = 1.0;
    let (all, red) = entries(adverse);
    assert!(red > 0, "{red} of {all}");
}

/// People on the road, those of them off the crosswalk, and people seen by the ego.
fn people(config: WorldConfig) -> (u32, u32, u32) {
    let setup = Arc::new(Setup::new(config).unwrap());
    let mask: Vec<usize> = layout()
        .iter()
        .filter(|field| field.name.starts_with("walkers/") && field.name.ends_with("mask"))
        .map(|field| field.start)
        .collect();
    let mut observation = [0.0; OBSERVATION_DIM];
    let (mut crossing, mut aside, mut seen) = (0, 0, 0);
    for seed in 0..3 {
        let mut world = World::reset(Arc::clone(&setup), seed).unwrap();
        while !world.has_ended() && world.time_s() < 60.0 {
            world.step([0.0, -1.0]);
            world.observe(&mut Vec::new(), &mut observation);
            seen += mask.iter().filter(|&&at| observation[at] > 0.5).count() as u32;
            for walker in &world.state().walkers {
                let is_crossing = walker.is_crossing(walker.crosswalk);
                crossing += u32::from(is_crossing);
                aside += u32::from(is_crossing && walker.aside_m != 0.0);
            }
        }
    }
    (crossing, aside, seen)
}

#[test]
fn jaywalkers_cross_beside_the_crosswalk_and_hidden_people_are_seen_on_the_road_only() {
    let mut config = junction();
    config.traffic.walkers = 16;
    config.traffic.walker_pause_s = 8.0;
    let (crossing, aside, seen) = people(config.clone());
    assert!(
        crossing > 0 && aside == 0 && seen > 0,
        "{crossing} {aside} {seen}"
    );
    config.traffic.adversaries.jaywalk_share = 1.0;
    let (_, aside, _) = people(config.clone());
    assert!(aside > 0);
    config.traffic.adversaries.hidden_share = 1.0;
    let (crossing, _, still_seen) = people(config);
    assert!(still_seen <= crossing && still_seen < seen);
}

#[test]
fn branches_share_their_future_or_have_one_each() {
    let mut config = chain();
    config.traffic.lane_changes_per_100s = 60.0;
    let mut batch = WorldBatch::new(config, 4, 1).unwrap();
    let mut observations = vec![0.0; 4 * OBSERVATION_DIM];
    let mut info = vec![0.0; 4 * carla_online_world::INFO.len()];
    batch
        .reset(&[1; 4], None, &mut observations, &mut info)
        .unwrap();
    let bytes = batch.world(0).unwrap().snapshot();
    let futures = |batch: &WorldBatch| -> Vec<Vec<u32>> {
        (0..4)
            .map(|env| {
                let mut world = batch.world(env).unwrap().clone();
                for _ in 0..150 {
                    world.step([0.0, -0.2]);
                }
                world
                    .state()
                    .vehicles
                    .iter()
                    .map(|one| one.y.to_bits())
                    .collect()
            })
            .collect()
    };
    batch.restore_many(&[0, 1, 2, 3], &bytes, false).unwrap();
    let common = futures(&batch);
    assert!(common.iter().all(|one| *one == common[0]));
    for _ in 0..2 {
        batch.restore_many(&[0, 1, 2, 3], &bytes, true).unwrap();
        let own = futures(&batch);
        assert!((1..4).all(|env| own[env] != own[0]));
        batch.branch(0, &[1, 2, 3], true).unwrap();
    }
    // What was held comes back, and only into the batch that held it.
    let mut held = Vec::new();
    batch.hold(&mut held);
    let before = futures(&batch);
    batch.restore_many(&[0, 1, 2, 3], &bytes, false).unwrap();
    batch.go_back(&held).unwrap();
    assert_eq!(futures(&batch), before);
    let mut other = WorldBatch::new(chain(), 4, 1).unwrap();
    assert!(other.go_back(&held).is_err());
}
