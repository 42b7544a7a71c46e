//! Episodes on road chains are part of published results: they stay as they were, bit for bit.
//!
//! The numbers were printed by this very test before street networks came to the world. Whoever changes
//! the chains on purpose prints them anew and says so in the changelog.

use carla_online_world::rng::mix;
use carla_online_world::{Error, INFRACTIONS, OBSERVATION_DIM, Setup, World, WorldConfig};
use std::sync::Arc;

/// Folds what a policy sees and what it is judged by into one number.
fn fold(config: WorldConfig, seeds: std::ops::Range<u64>, decisions: u32) -> Result<u64, Error> {
    let setup = Arc::new(Setup::new(config)?);
    let mut sum = 0_u64;
    let mut take = |value: u64| sum = mix(sum ^ value).wrapping_add(sum.rotate_left(23));
    let mut actors = Vec::new();
    let mut observation = [0.0; OBSERVATION_DIM];
    for seed in seeds {
        let mut world = World::reset(Arc::clone(&setup), seed)?;
        for decision in 0..decisions {
            if world.has_ended() {
                break;
            }
            let bits = mix(seed ^ u64::from(decision / 4));
            let wish = (bits & 0xff) as f32 / 128.0 - 1.0;
            let ego = &world.state().ego;
            let steer = -0.06 * (ego.lateral_m - wish) - 0.5 * ego.heading_error_rad;
            let pedal = if ego.car.speed_mps < 12.0 { 0.6 } else { -0.1 };
            let outcome = world.step([steer, pedal]);
            outcome
                .reward_terms
                .iter()
                .for_each(|term| take(term.to_bits().into()));
            // Kinds of infractions that came later stand behind the first eleven.
            outcome.infractions[..11]
                .iter()
                .for_each(|count| take(*count as u64));
            world.observe(&mut actors, &mut observation);
            observation
                .iter()
                .for_each(|value| take(value.to_bits().into()));
        }
        world.info(0.0)[..21]
            .iter()
            .for_each(|value| take(value.to_bits()));
    }
    Ok(sum)
}

#[test]
fn chains_give_the_episodes_they_always_gave() {
    assert_eq!(INFRACTIONS[10], "speeding");
    let mut plain = WorldConfig::default();
    plain.map.map_variants = 3;
    plain.traffic.lane_changes_per_100s = 10.0;
    plain.traffic.hard_brake_share = 0.5;
    let mut highway = WorldConfig::default();
    highway.map.lanes = 4;
    highway.map.length_m = [1000.0, 1500.0];
    highway.map.curve_radius_m = [450.0, 1200.0];
    highway.map.speed_limit_mps = 25.0;
    highway.map.map_variants = 0;
    highway.weather.wetness = [0.0, 90.0];
    highway.weather.fog_density = [0.0, 60.0];
    let seen = [
        fold(plain, 0..4, 250).unwrap(),
        fold(highway, 10..13, 250).unwrap(),
    ];
    assert_eq!(
        seen,
        [18_427_919_225_244_458_474, 10_096_627_722_275_677_588]
    );
}
