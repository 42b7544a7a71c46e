//! The safety layer in closed loop with the world: what it prevents.

use carla_online_world::safety::{self, SafetyConfig, SafetyMemory};
use carla_online_world::{
    INFO, INFRACTIONS, Observation, REWARD_TERMS, StepOutputs, WorldBatch, WorldConfig,
};

/// Collisions, kilometres and roads left of a driver on random throttle that steers at random and holds each draw for
/// `hold` decisions.
fn drive(seeds: &[u64], hold: u64, config: Option<&SafetyConfig>) -> (f64, f64, f64) {
    let count = seeds.len();
    let mut world = WorldConfig::default();
    world.map.map_variants = 16;
    world.time_limit_factor = 1.0;
    let mut batch = WorldBatch::new(world, count, 1).unwrap();
    let mut observations = vec![[0.0; carla_online_world::OBSERVATION_DIM]; count];
    let mut info = vec![0.0; count * INFO.len()];
    let (mut terminated, mut truncated) = (vec![false; count], vec![false; count]);
    let mut terms = vec![0.0; count * REWARD_TERMS.len()];
    let mut infractions = vec![0; count * INFRACTIONS.len()];
    let mut memories = vec![SafetyMemory::default(); count];
    batch
        .reset(seeds, None, observations.as_flattened_mut(), &mut info)
        .unwrap();
    for step in 0..2000 {
        let running: Vec<bool> = (0..count)
            .map(|env| !terminated[env] && !truncated[env])
            .collect();
        if !running.contains(&true) {
            break;
        }
        let actions: Vec<f32> = (0..count)
            .flat_map(|env| {
                let bits =
                    carla_online_world::rng::mix(seeds[env].wrapping_mul(0x9e37) + step / hold);
                let unit = |shift: u32| ((bits >> shift) & 0xffff) as f32 / 32_768.0 - 1.0;
                let proposed = [unit(0), 0.5 + 0.5 * unit(16)];
                match config {
                    Some(config) => {
                        let seen: &Observation = &observations[env];
                        safety::decide(config, seen, proposed, &mut memories[env]).executed
                    }
                    None => proposed,
                }
            })
            .collect();
        let out = StepOutputs {
            observations: observations.as_flattened_mut(),
            reward_terms: &mut terms,
            terminated: &mut terminated,
            truncated: &mut truncated,
            info: &mut info,
            infractions: &mut infractions,
        };
        batch.step(&actions, Some(&running), out).unwrap();
    }
    let sum = |name: &str| {
        let column = INFO.iter().position(|&other| other == name).unwrap();
        info.chunks_exact(INFO.len())
            .map(|row| row[column])
            .sum::<f64>()
    };
    (
        sum("collision"),
        sum("distance_m") / 1000.0,
        sum("off_road"),
    )
}

#[test]
fn random_drivers_hardly_collide_any_more() {
    let seeds: Vec<u64> = (0..64).collect();
    for hold in [1, 10] {
        let (before, before_km, before_off) = drive(&seeds, hold, None);
        let (after, after_km, after_off) = drive(&seeds, hold, Some(&SafetyConfig::default()));
        println!(
            "hold {hold}: {before} collisions, {before_off} off road in {before_km:.2} km; \
             with the layer {after}, {after_off} in {after_km:.2} km"
        );
        assert!(
            after_km > 5.0 * before_km,
            "it drives on: {before_km} km, {after_km} km"
        );
        assert!(after_off <= 0.1 * before_off, "{before_off} {after_off}");
    }
}
