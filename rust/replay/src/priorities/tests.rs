//! The tree against plain sums, alone and from many threads.

use std::sync::Arc;

use proptest::prelude::*;

use super::{FAN_OUT, Found, PriorityTree, UNITS, leaf};
use crate::sync::Ordering;

const BLOCK_ROWS: u32 = 10;

fn tree(blocks: usize) -> PriorityTree {
    let tree = PriorityTree::on_heap(blocks * BLOCK_ROWS as usize, BLOCK_ROWS, 1.0);
    for index in 0..tree.shape.levels[0].nodes {
        tree.node(0, index).store(leaf(1, 0), Ordering::Relaxed);
    }
    tree
}

fn leaves(tree: &PriorityTree) -> Vec<u64> {
    (0..tree.shape.levels[0].nodes)
        .map(|index| u64::from(tree.leaf(index as u64).units))
        .collect()
}

fn assert_sums(tree: &PriorityTree) {
    for level in 1..tree.shape.levels.len() {
        for node in 0..tree.shape.levels[level].nodes {
            let children =
                (node * FAN_OUT..(node + 1) * FAN_OUT).map(|child| tree.value(level - 1, child));
            assert_eq!(
                tree.value(level, node),
                children.sum::<u64>(),
                "level {level}, node {node}"
            );
        }
    }
}

proptest! {
    #[test]
    fn every_target_finds_the_leaf_whose_share_it_falls_into(
        blocks in 1_usize..60,
        changes in prop::collection::vec((any::<u64>(), 0_u32..1000), 1..200),
    ) {
        let tree = tree(blocks);
        let places = leaves(&tree).len() as u64;
        for (at, units) in changes {
            prop_assert!(tree.set(at % places, 1, units));
        }
        assert_sums(&tree);
        let leaves = leaves(&tree);
        let total: u64 = leaves.iter().sum();
        prop_assert_eq!(tree.total(), total);
        let wanted: Vec<u64> = (0..50).map(|step| total * step / 50).filter(|&target| target < total).collect();
        let mut found = Vec::new();
        tree.find(&mut wanted.clone(), &mut found);
        for (target, found) in wanted.iter().zip(found) {
            let mut until = 0;
            let expected = leaves.iter().position(|&units| { until += units; *target < until }).expect("below the total");
            let units = leaves[expected] as u32;
            prop_assert_eq!(found, Found { index: expected as u64, generation: 1, units });
        }
    }

    #[test]
    fn evicting_and_stale_updates_leave_sums_right(
        changes in prop::collection::vec((0_u64..200, 1_u32..4, 0_u32..1000, any::<bool>()), 1..100),
    ) {
        let tree = tree(20);
        for (index, generation, units, is_evicting) in changes {
            if is_evicting {
                tree.evict((index / u64::from(BLOCK_ROWS)) as u32, generation);
                for place in 0..u64::from(BLOCK_ROWS) {
                    let found = tree.leaf(index / u64::from(BLOCK_ROWS) * u64::from(BLOCK_ROWS) + place);
                    prop_assert!(found.generation == generation || found.units == 0);
                }
            } else {
                let before = tree.leaf(index);
                let is_set = tree.set(index, generation, units);
                prop_assert_eq!(is_set, before.generation == generation, "an emptied leaf has generation 0");
                prop_assert_eq!(tree.leaf(index).units, if is_set { units } else { before.units });
            }
        }
        assert_sums(&tree);
    }
}

#[test]
fn updates_from_many_threads_add_up() {
    let tree = Arc::new(tree(40));
    let threads: Vec<_> = (1..=4_u16)
        .map(|owner| {
            let tree = Arc::clone(&tree);
            std::thread::spawn(move || {
                for round in 0..300_u64 {
                    let indices: Vec<u64> = (0..16)
                        .map(|k| (round * 7 + k * 31 + u64::from(owner)) % 400)
                        .collect();
                    let priorities: Vec<f32> = indices
                        .iter()
                        .map(|index| (index % 13) as f32 + f32::from(owner))
                        .collect();
                    assert_eq!(
                        tree.update(owner, &indices, &[1; 16], &priorities)
                            .expect("sound"),
                        16
                    );
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_sums(&tree);
}

#[test]
fn an_updater_that_died_in_mid_update_is_noticed_and_the_sums_are_mended() {
    let tree = tree(4);
    assert!(tree.set(3, 1, 70) && tree.set(30, 1, 7));
    assert!(!tree.needs_repair(|_| false));
    std::mem::forget(tree.enter(5).expect("free"));
    // Between the leaf and the nodes above it.
    tree.node(0, 17).store(leaf(1, 1000), Ordering::Relaxed);
    assert!(
        !tree.needs_repair(|owner| owner == 5),
        "it may still be at it"
    );
    assert!(tree.needs_repair(|_| false));
    tree.repair(|_| false);
    assert_sums(&tree);
    assert_eq!(tree.total(), 1077);
    assert!(!tree.needs_repair(|_| false));
    tree.enter(6).expect("the summing up is over");
}

#[test]
fn bad_priorities_change_nothing() {
    let tree = tree(1);
    for bad in [f32::NAN, -1.0, f32::INFINITY] {
        let error = tree
            .update(1, &[0, 1], &[1, 1], &[1.0, bad])
            .unwrap_err()
            .to_string();
        assert!(error.contains("priority 1 is"), "{error}");
    }
    assert!(tree.update(1, &[0], &[1, 1], &[1.0]).is_err());
    assert_eq!(tree.total(), 0);
    assert_eq!(
        tree.update(1, &[0, u64::MAX], &[1, 1], &[0.0, 1.0])
            .expect("sound"),
        1
    );
    assert_eq!(tree.total(), 1, "no priority is too small to be drawn");
    assert_eq!(u64::from(tree.units(1.0)), UNITS as u64);
}
