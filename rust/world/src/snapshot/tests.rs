use super::*;
use crate::config::WorldConfig;
use proptest::prelude::*;

fn setup() -> Arc<Setup> {
    let mut config = WorldConfig::default();
    config.map.map_variants = 2;
    config.map.length_m = [200.0, 220.0];
    config.traffic.spread_m = 150.0;
    Arc::new(Setup::new(config).unwrap())
}

fn driven(setup: &Arc<Setup>, decisions: u32) -> World {
    let mut world = World::reset(Arc::clone(setup), 5).unwrap();
    for _ in 0..decisions {
        world.step([0.01, 0.2]);
    }
    world
}

/// Makes the checksum right again, as someone who means harm would.
fn reseal(bytes: &mut [u8]) {
    let body = bytes.len() - 8;
    let checksum = hash_bytes(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&checksum);
}

fn refusal(setup: &Arc<Setup>, bytes: &[u8]) -> SnapshotError {
    match World::restore(Arc::clone(setup), bytes, None) {
        Err(Error::Snapshot(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restored_world_goes_on_bit_equal() {
    let setup = setup();
    let mut world = driven(&setup, 30);
    let mut again = World::restore(Arc::clone(&setup), &world.snapshot(), None).unwrap();
    assert_eq!(again.state, world.state);
    for _ in 0..60 {
        let action = [-0.02, 0.5];
        assert_eq!(
            world.step(action).reward_terms,
            again.step(action).reward_terms
        );
        assert_eq!(world.state_hash(), again.state_hash());
    }
}

#[test]
fn every_reason_to_refuse_is_told() {
    let setup = setup();
    let bytes = driven(&setup, 3).snapshot();
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let resealed = |at: usize| {
        let mut bytes = changed(at);
        reseal(&mut bytes);
        bytes
    };
    assert_eq!(refusal(&setup, &changed(0)), SnapshotError::Magic);
    assert!(matches!(
        refusal(&setup, &changed(8)),
        SnapshotError::Version { seen: 5, .. }
    ));
    assert!(matches!(
        refusal(&setup, &changed(12)),
        SnapshotError::Checksum { .. }
    ));
    assert!(matches!(
        refusal(&setup, &resealed(12)),
        SnapshotError::Build { .. }
    ));
    assert!(matches!(
        refusal(&setup, &resealed(20)),
        SnapshotError::Config { .. }
    ));
    assert!(matches!(
        refusal(&setup, &resealed(28)),
        SnapshotError::Map { .. }
    ));
    assert!(matches!(
        refusal(&setup, &bytes[..11]),
        SnapshotError::Truncated { .. }
    ));
    let mut longer = bytes.clone();
    longer.extend([0; 5]);
    reseal(&mut longer);
    assert_eq!(
        refusal(&setup, &longer),
        SnapshotError::Trailing { extra: 5 }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever stands in the bytes: a typed refusal, or a world that can be driven.
    #[test]
    fn hostile_bytes_never_panic(
        changes in prop::collection::vec((36_usize..2000, any::<u8>()), 1..6),
        cut in prop::option::of(0_usize..2000),
    ) {
        let setup = setup();
        let mut bytes = driven(&setup, 8).snapshot();
        for (at, value) in changes {
            let at = 36 + (at % (bytes.len() - 44));
            bytes[at] = value;
        }
        if let Some(cut) = cut.filter(|&cut| cut < bytes.len()) {
            bytes.truncate(cut);
        }
        if bytes.len() >= 8 {
            reseal(&mut bytes);
        }
        if let Ok(mut world) = World::restore(Arc::clone(&setup), &bytes, None) {
            let mut observation = [0.0; crate::observe::OBSERVATION_DIM];
            for _ in 0..5 {
                let outcome = world.step([0.3, -0.4]);
                prop_assert!(outcome.reward_terms.iter().all(|term| term.is_finite()));
                world.observe(&mut Vec::new(), &mut observation);
                prop_assert!(observation.iter().all(|value| value.abs() <= crate::observe::CLIP));
            }
        }
    }
}
