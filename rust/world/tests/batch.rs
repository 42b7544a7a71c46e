//! Properties of whole batches.

use carla_online_world::{
    CLIP, Error, INFO, INFRACTIONS, OBSERVATION_DIM, OrientedBox, REWARD_TERMS, StepOutputs,
    WorldBatch, WorldConfig,
};
use proptest::prelude::*;

/// A batch with the arrays it writes into.
struct Driven {
    batch: WorldBatch,
    observations: Vec<f32>,
    reward_terms: Vec<f32>,
    terminated: Vec<bool>,
    truncated: Vec<bool>,
    info: Vec<f64>,
    infractions: Vec<i32>,
}

impl Driven {
    fn new(config: WorldConfig, seeds: &[u64], threads: usize) -> Self {
        let count = seeds.len();
        let mut driven = Self {
            batch: WorldBatch::new(config, count, threads).unwrap(),
            observations: vec![f32::NAN; count * OBSERVATION_DIM],
            reward_terms: vec![f32::NAN; count * REWARD_TERMS.len()],
            terminated: vec![false; count],
            truncated: vec![false; count],
            info: vec![f64::NAN; count * INFO.len()],
            infractions: vec![0; count * INFRACTIONS.len()],
        };
        driven
            .batch
            .reset(seeds, None, &mut driven.observations, &mut driven.info)
            .unwrap();
        driven
    }

    fn step(&mut self, actions: &[f32], mask: Option<&[bool]>) -> Result<(), Error> {
        let out = StepOutputs {
            observations: &mut self.observations,
            reward_terms: &mut self.reward_terms,
            terminated: &mut self.terminated,
            truncated: &mut self.truncated,
            info: &mut self.info,
            infractions: &mut self.infractions,
        };
        self.batch.step(actions, mask, out)
    }

    fn running(&self) -> Vec<bool> {
        self.terminated
            .iter()
            .zip(&self.truncated)
            .map(|(&ended, &cut)| !ended && !cut)
            .collect()
    }

    fn info(&self, env: usize, name: &str) -> f64 {
        let column = INFO.iter().position(|&other| other == name).unwrap();
        self.info[env * INFO.len() + column]
    }

    fn hashes(&self) -> Vec<u64> {
        (0..self.batch.num_envs())
            .map(|env| self.batch.world(env).unwrap().state_hash())
            .collect()
    }
}

fn short() -> WorldConfig {
    let mut config = WorldConfig::default();
    config.map.length_m = [250.0, 330.0];
    config.map.map_variants = 8;
    config.traffic.spread_m = 200.0;
    config.traffic.lane_changes_per_100s = 20.0;
    config
}

/// Pseudo-random actions; a function of environment and step alone.
fn action(seed: u64, step: u64) -> [f32; 2] {
    let bits = carla_online_world::rng::mix(seed.wrapping_mul(0x9e37).wrapping_add(step));
    let unit = |shift: u32| ((bits >> shift) & 0xffff) as f32 / 32_768.0 - 1.0;
    [0.3 * unit(0), unit(16)]
}

fn drive(driven: &mut Driven, seeds: &[u64], steps: u64) {
    for step in 0..steps {
        let actions: Vec<f32> = seeds.iter().flat_map(|&seed| action(seed, step)).collect();
        let mask = driven.running();
        driven.step(&actions, Some(&mask)).unwrap();
    }
}

#[test]
fn threads_and_batch_splits_change_no_bit() {
    let seeds: Vec<u64> = (100..150).collect();
    let mut whole = Driven::new(short(), &seeds, 1);
    drive(&mut whole, &seeds, 120);
    for threads in [2, 3, 16] {
        let mut other = Driven::new(short(), &seeds, threads);
        drive(&mut other, &seeds, 120);
        assert_eq!(other.hashes(), whole.hashes());
        assert_eq!(other.observations, whole.observations);
        assert_eq!(other.info, whole.info);
    }
    for (env, &seed) in seeds.iter().enumerate().step_by(7) {
        let mut alone = Driven::new(short(), &[seed], 1);
        drive(&mut alone, &[seed], 120);
        let row = env * OBSERVATION_DIM..(env + 1) * OBSERVATION_DIM;
        assert_eq!(alone.observations, whole.observations[row]);
        assert_eq!(alone.hashes()[0], whole.hashes()[env]);
    }
}

#[test]
fn rows_outside_the_mask_stay_as_they_were() {
    let seeds = [1, 2, 3];
    let mut driven = Driven::new(short(), &seeds, 1);
    driven.reward_terms.fill(7.0);
    let (before, hashes) = (driven.observations.clone(), driven.hashes());
    driven
        .step(
            &[0.0, 1.0, f32::NAN, 0.0, 0.0, 1.0],
            Some(&[true, false, true]),
        )
        .unwrap();
    let row = OBSERVATION_DIM..2 * OBSERVATION_DIM;
    assert_eq!(driven.observations[row.clone()], before[row]);
    assert_eq!(
        driven.reward_terms[REWARD_TERMS.len()..2 * REWARD_TERMS.len()],
        [7.0; REWARD_TERMS.len()]
    );
    assert_eq!(driven.hashes()[1], hashes[1]);
    assert_ne!(driven.hashes()[0], hashes[0]);
}

#[test]
fn impossible_calls_are_refused_and_change_nothing() {
    let mut driven = Driven::new(short(), &[1, 2], 1);
    let hashes = driven.hashes();
    let refused = driven
        .step(&[0.0, 0.0, f32::INFINITY, 0.0], None)
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Action {
                env: 1,
                column: 0,
                ..
            }
        ),
        "{refused}"
    );
    assert!(matches!(
        driven.step(&[0.0; 3], None),
        Err(Error::Length {
            name: "actions",
            ..
        })
    ));
    assert!(matches!(
        driven.step(&[0.0; 4], Some(&[true])),
        Err(Error::Length { name: "mask", .. })
    ));
    assert_eq!(driven.hashes(), hashes);
    assert!(matches!(
        driven.batch.branch(0, &[1, 2], false),
        Err(Error::EnvIndex {
            env: 2,
            num_envs: 2
        })
    ));
    let fresh = WorldBatch::new(short(), 1, 1).unwrap();
    assert!(matches!(fresh.world(0), Err(Error::NotReset { env: 0 })));
    assert!(WorldBatch::new(short(), 0, 1).is_err());
    assert!(WorldBatch::new(short(), 1, 0).is_err());
}

#[test]
fn an_ended_episode_must_be_reset() {
    let mut driven = Driven::new(short(), &[3], 1);
    while driven.running()[0] {
        driven.step(&[1.0, 1.0], None).unwrap();
    }
    assert!(driven.terminated[0]);
    assert!(matches!(
        driven.step(&[0.0; 2], None),
        Err(Error::Ended { env: 0 })
    ));
    let (observations, info) = (&mut driven.observations, &mut driven.info);
    driven.batch.reset(&[4], None, observations, info).unwrap();
    assert_eq!(driven.info(0, "frame"), 0.0);
    driven.step(&[0.0; 2], None).unwrap();
}

#[test]
fn branches_go_on_from_the_same_state_and_part_with_their_actions() {
    let mut driven = Driven::new(short(), &[1, 2, 3], 1);
    driven.batch.branch(0, &[1, 2], false).unwrap();
    driven.step(&[0.0, 1.0, 0.0, 1.0, 0.0, -1.0], None).unwrap();
    let hashes = driven.hashes();
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

#[test]
fn waiting_ends_as_blocked_and_scores_nothing() {
    let mut config = short();
    config.blocked_after_s = 5.0;
    let mut driven = Driven::new(config, &[11], 1);
    while driven.running()[0] {
        driven.step(&[0.0, -1.0], None).unwrap();
    }
    assert_eq!(
        (driven.info(0, "blocked"), driven.info(0, "finished")),
        (1.0, 0.0)
    );
    assert!(driven.info(0, "timed_driving_score") < 0.5);
    assert!(driven.info(0, "sim_time_s") < 10.0);
}

#[test]
fn the_time_limit_truncates_and_is_a_multiple_of_the_reference() {
    let mut config = short();
    config.blocked_after_s = 1e4;
    config.time_limit_factor = 1.0;
    let mut driven = Driven::new(config, &[11], 1);
    while driven.running()[0] {
        driven.step(&[0.0, -1.0], None).unwrap();
    }
    assert!(driven.truncated[0] && !driven.terminated[0]);
    let (time_s, limit_s) = (driven.info(0, "sim_time_s"), driven.info(0, "time_limit_s"));
    assert!((time_s - limit_s).abs() <= 0.05, "{time_s} {limit_s}");
    assert!((limit_s - 1.25 * driven.info(0, "route_length_m") / 15.0).abs() < 1e-9);
}

fn boxes(driven: &Driven, env: usize) -> Vec<OrientedBox> {
    let (ego, others) = driven.batch.world(env).unwrap().scene();
    std::iter::once(ego)
        .chain(others)
        .map(|b| OrientedBox::new(b.x, b.y, b.yaw_rad, b.half_extents_m.0, b.half_extents_m.1))
        .collect()
}

fn overlapping(boxes: &[OrientedBox]) -> bool {
    boxes
        .iter()
        .enumerate()
        .any(|(index, one)| boxes[..index].iter().any(|other| one.overlaps(other)))
}

#[test]
fn nobody_overlaps_at_the_start_however_dense() {
    let mut config = WorldConfig::default();
    config.map.length_m = [300.0, 300.0];
    config.map.curved_share = 1.0;
    config.map.curve_radius_m = [40.0, 60.0];
    config.traffic.spread_m = 200.0;
    config.traffic.slow_vehicles = 42;
    config.traffic.fast_vehicles = 12;
    let seeds: Vec<u64> = (0..24).collect();
    let driven = Driven::new(config, &seeds, 2);
    for env in 0..seeds.len() {
        let boxes = boxes(&driven, env);
        assert_eq!(boxes.len(), 55);
        assert!(!overlapping(&boxes), "seed {env}");
    }
}

/// Without an ego in the way the traffic never touches itself, dense and restless as it is.
#[test]
fn the_traffic_keeps_clear_of_itself() {
    let mut config = short();
    config.map.lanes = 2;
    config.traffic.slow_vehicles = 14;
    config.traffic.hard_brake_share = 0.5;
    config.traffic.hard_brake_every_s = 10.0;
    config.blocked_after_s = 1e4;
    config.time_limit_factor = 100.0;
    let seeds: Vec<u64> = (0..8).collect();
    let mut driven = Driven::new(config, &seeds, 2);
    let mut changes = 0;
    for _ in 0..500 {
        let mask = driven.running();
        driven
            .step(&[0.0, -1.0].repeat(seeds.len()), Some(&mask))
            .unwrap();
        for env in 0..seeds.len() {
            let world = driven.batch.world(env).unwrap();
            changes += world
                .state()
                .vehicles
                .iter()
                .filter(|v| v.change_done < 1.0)
                .count();
            assert!(!overlapping(&boxes(&driven, env)[1..]), "seed {env}");
        }
    }
    assert!(changes > 0 && driven.running().contains(&true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_actions_give_finite_clipped_consistent_numbers(
        seed: u64,
        actions in prop::collection::vec((-3.0_f32..3.0, -3.0_f32..3.0), 1..40),
        lanes in 1_u8..=6,
        is_kinematic: bool,
    ) {
        let mut config = short();
        config.map.lanes = lanes;
        config.map.map_variants = 0;
        config.map.curve_radius_m = [60.0, 200.0];
        config.traffic.slow_vehicles = 9;
        if is_kinematic {
            config.ego.dynamics = carla_online_world::Dynamics::Kinematic;
        }
        let mut driven = Driven::new(config, &[seed], 1);
        let mut completion = 0.0;
        for step in 0..200 {
            let (steer, pedal) = actions[step % actions.len()];
            driven.step(&[0.2 * steer, pedal], None).unwrap();
            prop_assert!(driven.observations.iter().all(|value| value.abs() <= CLIP));
            prop_assert!(driven.reward_terms.iter().all(|value| value.is_finite()));
            prop_assert!(driven.info.iter().all(|value| value.is_finite()));
            prop_assert!((0.0..=100.0).contains(&driven.info(0, "timed_driving_score")));
            prop_assert!(driven.info(0, "timed_driving_score") <= driven.info(0, "driving_score"));
            prop_assert!(driven.info(0, "route_completion") >= completion - 1e-4);
            completion = driven.info(0, "route_completion");
            if !driven.running()[0] {
                break;
            }
        }
    }
}
