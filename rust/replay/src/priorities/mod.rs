//! Priorities of rows: a 16-ary tree of sums over all places of the ring, shared by processes.
//!
//! A leaf is one word: {generation of the block, 32 bits | priority in fixed point, 32 bits}. It changes by
//! compare-and-swap, so a stale update, one for an earlier generation of the place, can never land on a newer row. An
//! inner node is the u64 sum of its 16 children; whoever changed a leaf adds the difference to each node above. Integer
//! additions commute, so the order of updates from several processes doesn't matter, and sums never drift.
//!
//! All of it is derived data. A process that is killed between a leaf and the nodes above it leaves sums that are off by
//! that one difference; its mark in the file's table of updaters shows it, and the next process that starts to draw by
//! priority sums the tree up anew ([`PriorityTree::repair`]).
//!
//! Source: Schaul et al. 2016, "Prioritized Experience Replay", section 3.3 and appendix B.2.1 (sum tree, new rows get
//! the greatest priority).

#[cfg(not(loom))]
mod file;
#[cfg(all(test, not(loom)))]
mod tests;

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::word::MAX_OWNERS;

#[cfg(not(loom))]
pub use file::{forget, open};

/// Children of a node: two cache lines.
const FAN_OUT: usize = 16;
/// Fixed point of a priority: 1.0 is 2^16 units, so 1.5e-5 to 65,535 can be told.
const UNITS: f64 = 65_536.0;
/// First word behind the file's header.
const EPOCH: usize = 512;
/// The greatest priority ever set, in units.
const MOST: usize = 513;
/// One word per owner: how many updates it has under way.
const UPDATERS: usize = 1024;
/// First word of the root's level.
const NODES: usize = UPDATERS + MAX_OWNERS as usize + 1;
/// Longest wait for another process that is summing up, or for the updates under way before summing up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Memory of a tree.
pub enum Words {
    /// Private, for tests.
    #[cfg(any(test, loom))]
    Heap(Vec<AtomicU64>),
    /// A mapped file.
    #[cfg(not(loom))]
    Mapped(file::MappedWords),
}

impl Words {
    #[inline]
    fn all(&self) -> &[AtomicU64] {
        match self {
            #[cfg(any(test, loom))]
            Self::Heap(words) => words,
            #[cfg(not(loom))]
            Self::Mapped(words) => words.all(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Level {
    first_word: usize,
    nodes: usize,
}

/// Where the levels lie: the leaves first in the list, the root last.
#[derive(Clone, Debug)]
struct Shape {
    levels: Vec<Level>,
    words: usize,
}

impl Shape {
    fn new(places: usize) -> Option<Self> {
        let mut sizes = vec![places];
        while let Some(&nodes) = sizes.last().filter(|&&nodes| nodes > 1) {
            sizes.push(nodes.div_ceil(FAN_OUT));
        }
        let mut words = NODES;
        let mut levels = Vec::with_capacity(sizes.len());
        for &nodes in sizes.iter().rev() {
            levels.push(Level {
                first_word: words,
                nodes,
            });
            words = words
                .checked_add(nodes)?
                .checked_next_multiple_of(FAN_OUT)?;
        }
        levels.reverse();
        Some(Self { levels, words })
    }
}

fn leaf(generation: u32, units: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(units)
}

/// The tree over a ring's places.
pub struct PriorityTree {
    words: Words,
    shape: Shape,
    block_rows: u32,
    exponent: f64,
}

/// What a draw found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The place's index.
    pub index: u64,
    /// Generation for which the priority was set.
    pub generation: u32,
    /// The priority.
    pub units: u32,
}

/// Marks a process as changing the tree, until dropped.
pub struct Entered<'a> {
    tree: &'a PriorityTree,
    owner: u16,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.tree
            .updater(self.owner)
            .fetch_sub(1, Ordering::Release);
    }
}

impl PriorityTree {
    fn over(words: Words, shape: Shape, block_rows: u32, exponent: f64) -> Self {
        Self {
            words,
            shape,
            block_rows,
            exponent,
        }
    }

    /// A tree in private memory.
    #[cfg(any(test, loom))]
    pub fn on_heap(places: usize, block_rows: u32, exponent: f64) -> Self {
        let shape = Shape::new(places).expect("small");
        let words = (0..shape.words).map(|_| AtomicU64::new(0)).collect();
        Self::over(Words::Heap(words), shape, block_rows, exponent)
    }

    #[inline]
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words.all()[index]
    }

    fn updater(&self, owner: u16) -> &AtomicU64 {
        self.word(UPDATERS + usize::from(owner))
    }

    /// What priorities are raised to before they are stored.
    pub fn exponent(&self) -> f64 {
        self.exponent
    }

    /// Announces changes or draws; waits while another process sums the tree up.
    ///
    /// # Errors
    ///
    /// [`Error::Priorities`] if that process doesn't finish.
    pub fn enter(&self, owner: u16) -> Result<Entered<'_>> {
        let started = Instant::now();
        loop {
            self.updater(owner).fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let entered = Entered { tree: self, owner };
            if self.word(EPOCH).load(Ordering::SeqCst).is_multiple_of(2) {
                return Ok(entered);
            }
            drop(entered);
            if started.elapsed() > PATIENCE {
                let reason = "another process has been summing them up for seconds; \
                              end it, or open the buffer anew";
                return Err(Error::Priorities(reason.into()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Sums the tree up from its leaves. `is_alive` tells for which updaters to wait; the caller holds the buffer's
    /// maintenance lock.
    pub fn repair(&self, is_alive: impl Fn(u16) -> bool) {
        let epoch = self.word(EPOCH).load(Ordering::SeqCst);
        self.word(EPOCH).store(epoch | 1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let started = Instant::now();
        for owner in 1..=MAX_OWNERS {
            while self.updater(owner).load(Ordering::SeqCst) != 0 {
                if !is_alive(owner) {
                    self.updater(owner).store(0, Ordering::SeqCst);
                } else if started.elapsed() > PATIENCE {
                    // A stopped process: its difference will be added twice or not at all. Off by one row until the
                    // next repair is better than a buffer that can't be sampled.
                    break;
                } else {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        for level in 1..self.shape.levels.len() {
            for node in 0..self.shape.levels[level].nodes {
                let sum = (0..FAN_OUT)
                    .map(|child| self.value(level - 1, node * FAN_OUT + child))
                    .fold(0_u64, u64::wrapping_add);
                self.node(level, node).store(sum, Ordering::Relaxed);
            }
        }
        self.word(EPOCH).store((epoch | 1) + 1, Ordering::SeqCst);
    }

    /// Whether an updater that doesn't live any more was in the middle of something, or a summing up was.
    pub fn needs_repair(&self, is_alive: impl Fn(u16) -> bool) -> bool {
        !self.word(EPOCH).load(Ordering::SeqCst).is_multiple_of(2)
            || (1..=MAX_OWNERS)
                .any(|owner| self.updater(owner).load(Ordering::SeqCst) != 0 && !is_alive(owner))
    }

    #[inline]
    fn node(&self, level: usize, node: usize) -> &AtomicU64 {
        self.word(self.shape.levels[level].first_word + node)
    }

    /// A node's sum, or a leaf's priority; 0 beyond the level's end.
    #[inline]
    fn value(&self, level: usize, node: usize) -> u64 {
        if node >= self.shape.levels[level].nodes {
            return 0;
        }
        let bits = self.node(level, node).load(Ordering::Relaxed);
        if level == 0 {
            bits & u64::from(u32::MAX)
        } else {
            bits
        }
    }

    /// The sum of all priorities, in units.
    pub fn total(&self) -> u64 {
        self.value(self.shape.levels.len() - 1, 0)
    }

    fn add(&self, from_level: usize, node: usize, difference: u64) {
        if difference == 0 {
            return;
        }
        let mut node = node;
        for level in from_level..self.shape.levels.len() {
            // Two's complement: adding a negative difference is a wrapping addition.
            self.node(level, node)
                .fetch_add(difference, Ordering::Relaxed);
            node /= FAN_OUT;
        }
    }

    /// Gives the rows of a block their first priority, the greatest so far, and takes it from what they replace.
    /// Rows that another process has admitted are left alone.
    pub fn admit<S: Storage>(
        &self,
        ring: &Ring<S>,
        block: u32,
        generation: u32,
        places: std::ops::Range<u32>,
    ) {
        let most = self.word(MOST).load(Ordering::Relaxed).max(UNITS as u64) as u32;
        self.change_block(block, places, |place, old| {
            let is_row = ring
                .mark(block, place)
                .is_some_and(crate::word::Mark::is_row);
            let is_older = ((old >> 32) as u32) < generation;
            (is_row && is_older).then_some(leaf(generation, most))
        });
    }

    /// Empties all leaves of a block that belong to another generation, for updates of their rows too.
    pub fn evict(&self, block: u32, generation: u32) {
        self.change_block(block, 0..self.block_rows, |_, old| {
            let is_foreign = (old >> 32) as u32 != generation && old != 0;
            is_foreign.then_some(0)
        });
    }

    /// Changes leaves of a block, and adds the differences up before they go to the upper nodes.
    fn change_block(
        &self,
        block: u32,
        places: std::ops::Range<u32>,
        mut change: impl FnMut(u32, u64) -> Option<u64>,
    ) {
        let first = block as usize * self.block_rows as usize;
        let (mut parent, mut difference) = (usize::MAX, 0_u64);
        for place in places {
            let index = first + place as usize;
            if index / FAN_OUT != parent {
                self.add_above(parent, difference);
                (parent, difference) = (index / FAN_OUT, 0);
            }
            let old = self.node(0, index).load(Ordering::Relaxed);
            if let Some(new) = change(place, old)
                && self.swap(index, old, new)
            {
                difference = difference
                    .wrapping_add(u64::from(new as u32).wrapping_sub(u64::from(old as u32)));
            }
        }
        self.add_above(parent, difference);
    }

    fn add_above(&self, parent: usize, difference: u64) {
        if parent != usize::MAX && self.shape.levels.len() > 1 {
            self.add(1, parent, difference);
        }
    }

    fn swap(&self, index: usize, old: u64, new: u64) -> bool {
        self.node(0, index)
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Sets a row's priority in units, unless its place belongs to another generation. Returns whether it did.
    pub fn set(&self, index: u64, generation: u32, units: u32) -> bool {
        let Ok(index) = usize::try_from(index) else {
            return false;
        };
        if index >= self.shape.levels[0].nodes {
            return false;
        }
        loop {
            let old = self.node(0, index).load(Ordering::Relaxed);
            if (old >> 32) as u32 != generation || generation == 0 {
                return false;
            }
            if self.swap(index, old, leaf(generation, units)) {
                let difference = u64::from(units).wrapping_sub(u64::from(old as u32));
                self.add_above(index / FAN_OUT, difference);
                return true;
            }
        }
    }

    /// The fixed point of a priority: at least one unit, so that every row can be drawn.
    pub fn units(&self, priority: f32) -> u32 {
        let raised = libm::powf(priority, self.exponent as f32);
        (f64::from(raised) * UNITS).clamp(1.0, f64::from(u32::MAX)) as u32
    }

    /// Sets priorities of rows and returns how many were still there.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for lists of different lengths, or a priority that is negative or no number; nothing is set
    /// then. As [`PriorityTree::enter`].
    pub fn update(
        &self,
        owner: u16,
        indices: &[u64],
        generations: &[u32],
        priorities: &[f32],
    ) -> Result<u64> {
        if indices.len() != generations.len() || indices.len() != priorities.len() {
            return Err(Error::Argument(format!(
                "{} row indices, {} generations and {} priorities; pass as many of each",
                indices.len(),
                generations.len(),
                priorities.len()
            )));
        }
        let bad = priorities
            .iter()
            .position(|priority| !(priority.is_finite() && *priority >= 0.0));
        if let Some(bad) = bad {
            return Err(Error::Argument(format!(
                "priority {bad} is {}; it must be a finite number of at least 0",
                priorities[bad]
            )));
        }
        let _entered = self.enter(owner)?;
        let (mut count, mut most) = (0, 0);
        for ((&index, &generation), &priority) in indices.iter().zip(generations).zip(priorities) {
            let units = self.units(priority);
            most = most.max(units);
            count += u64::from(self.set(index, generation, units));
        }
        if self.word(MOST).load(Ordering::Relaxed) < u64::from(most) {
            self.word(MOST)
                .fetch_max(u64::from(most), Ordering::Relaxed);
        }
        Ok(count)
    }

    /// The leaf of a place.
    pub fn leaf(&self, index: u64) -> Found {
        let bits = usize::try_from(index)
            .ok()
            .filter(|&index| index < self.shape.levels[0].nodes)
            .map_or(0, |index| self.node(0, index).load(Ordering::Relaxed));
        Found {
            index,
            generation: (bits >> 32) as u32,
            units: bits as u32,
        }
    }

    /// Finds for each target, a number below the total, the leaf in whose share of the sum it falls. Level by level for
    /// all targets, so that their cache misses overlap. A target that concurrent changes led astray gets 0 units.
    pub fn find(&self, targets: &mut [u64], found: &mut Vec<Found>) {
        found.clear();
        found.resize(targets.len(), Found::default());
        for level in (1..self.shape.levels.len()).rev() {
            for (target, at) in targets.iter_mut().zip(found.iter_mut()) {
                let node = self.descend(level, at.index as usize, target);
                #[cfg(not(loom))]
                if level > 1 {
                    self.prefetch(level - 1, node);
                }
                at.index = node as u64;
            }
        }
        for at in found {
            *at = self.leaf(at.index);
        }
    }

    /// Fetches a node's children, which the next round reads.
    #[cfg(not(loom))]
    #[inline]
    fn prefetch(&self, level: usize, node: usize) {
        let first = self.shape.levels[level - 1].first_word + node * FAN_OUT;
        let words = &self.words.all()[first..];
        crate::sync::prefetch(words.as_ptr().cast(), FAN_OUT * size_of::<u64>());
    }

    #[inline]
    fn descend(&self, level: usize, node: usize, target: &mut u64) -> usize {
        let children = self.shape.levels[level - 1];
        let first = node * FAN_OUT;
        let end = (first + FAN_OUT).min(children.nodes);
        let words = &self.words.all()[children.first_word + first..children.first_word + end];
        let mask = if level == 1 {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        };
        let (mut last, mut rest) = (first, *target);
        for (child, word) in words.iter().enumerate() {
            let value = word.load(Ordering::Relaxed) & mask;
            if rest < value {
                *target = rest;
                return first + child;
            }
            if value > 0 {
                last = first + child;
            }
            rest -= value;
        }
        // The children sum up to less than their parent says: a change is on its way up. Any row of the last will do.
        *target = 0;
        last
    }
}
