//! Drawing by priority: `P(i) = p_i^exponent / sum_k p_k^exponent`, Schaul et al. 2016, equation 1.

use std::sync::Arc;

use crate::catalog::{Catalog, Change};
use crate::columns::Columns;
use crate::error::Result;
use crate::gather::{Filter, Position, passing_mark};
use crate::priorities::{Found, PriorityTree};
use crate::ring::Ring;
use crate::storage::Storage;

use super::choice::{Proposal, require};
use super::random::{Draw, below};

/// Draws by the shared tree of priorities.
pub struct Prioritized {
    tree: Arc<PriorityTree>,
    owner: u16,
    correction: f64,
    catalog: Catalog,
    targets: Vec<u64>,
    found: Vec<Found>,
    /// Priorities of the batch under way, in units, with the row of each.
    taken: Vec<(usize, u32)>,
}

impl Prioritized {
    /// Draws by a tree that this process may change under its owner number.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Argument`] if the correction isn't in [0, 1].
    pub fn new(tree: Arc<PriorityTree>, owner: u16, correction: f64) -> Result<Self> {
        let mut made = Self {
            tree,
            owner,
            correction: 0.0,
            catalog: Catalog::default(),
            targets: Vec::new(),
            found: Vec::new(),
            taken: Vec::new(),
        };
        made.set_correction(correction)?;
        Ok(made)
    }

    /// Sets the exponent of the importance weights, for annealing.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Argument`] if it isn't in [0, 1].
    pub fn set_correction(&mut self, correction: f64) -> Result<()> {
        require(
            (0.0..=1.0).contains(&correction),
            "correction",
            correction,
            "[0, 1]",
        )?;
        self.correction = correction;
        Ok(())
    }

    /// The shared tree.
    pub fn tree(&self) -> &Arc<PriorityTree> {
        &self.tree
    }

    /// This process's number.
    pub fn owner(&self) -> u16 {
        self.owner
    }

    /// Gives new rows their first priority and takes it from evicted ones.
    ///
    /// # Errors
    ///
    /// As [`PriorityTree::enter`].
    pub fn prepare<S: Storage>(&mut self, ring: &Ring<S>) -> Result<()> {
        let tree = &self.tree;
        let _entered = tree.enter(self.owner)?;
        self.catalog.refresh(ring, |change| match change {
            Change::Claimed { block, generation } => tree.evict(block, generation),
            Change::Published {
                block,
                generation,
                first,
                end,
            } => tree.admit(ring, block, generation, first..end),
        });
        self.taken.clear();
        Ok(())
    }

    /// The first tries of a whole batch: one from each of as many equal shares of the sum (appendix B.2.1 there), all
    /// descending the tree together.
    pub fn propose_batch<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        key: u64,
        batch: usize,
        drawn: &mut Vec<Proposal>,
    ) {
        let total = u128::from(self.tree.total());
        self.targets.clear();
        self.targets.extend((0..batch).map(|index| {
            let draw = Draw {
                key,
                index,
                attempt: 0,
            };
            // (index + u) / batch of the total, rounded down.
            let share = ((index as u128) << 64 | u128::from(draw.word())) / batch as u128;
            (((share >> 16) * total) >> 48) as u64
        }));
        self.tree.find(&mut self.targets, &mut self.found);
        drawn.extend(self.found.iter().map(|&found| proposal(ring, found)));
    }

    /// Later tries, over the whole sum.
    pub fn propose<S: Storage>(&mut self, ring: &Ring<S>, draw: Draw) -> Proposal {
        let total = self.tree.total();
        self.targets.clear();
        self.targets.push(below(draw.word(), total));
        self.tree.find(&mut self.targets, &mut self.found);
        proposal(ring, self.found[0])
    }

    /// A row that can never be drawn again loses its priority, so that it doesn't come up at every draw.
    pub fn refuse<S: Storage>(&self, ring: &Ring<S>, refused: Proposal) {
        let Position { block, place } = refused.position();
        let filter = Filter {
            watermark: u64::MAX,
            only_sampleable: true,
        };
        if passing_mark(ring, refused.position(), filter).is_none()
            && let Ok(_entered) = self.tree.enter(self.owner)
        {
            self.tree
                .set(ring.row_index(block, place), refused.generation(), 0);
        }
    }

    /// A listed row's priority.
    pub fn weigh<S: Storage>(&self, ring: &Ring<S>, listed: &mut Proposal) -> f64 {
        let Position { block, place } = listed.position();
        let found = self.tree.leaf(ring.row_index(block, place));
        if found.generation != listed.generation() {
            return 0.0;
        }
        *listed = Proposal::new(listed.position(), found.generation, found.units);
        f64::from(found.units)
    }

    /// Notes that a proposal became row `at` of the batch.
    pub fn take(&mut self, at: usize, proposal: Proposal) {
        self.taken.push((at, proposal.units()));
    }

    /// Writes the importance weights: (1 / (N P(i)))^correction, divided by the batch's greatest (section 3.4 there).
    /// N and the total cancel in that ratio, so it is `(p_min / p_i)^correction`.
    pub fn weigh_batch(&self, columns: &mut Columns<'_>) {
        let Some(weights) = &mut columns.extras.importance_weight else {
            return;
        };
        let least = self
            .taken
            .iter()
            .map(|&(_, units)| units)
            .min()
            .unwrap_or(1);
        for &(at, units) in &self.taken {
            let ratio = f64::from(least.max(1)) / f64::from(units.max(1));
            let weight = libm::powf(ratio as f32, self.correction as f32);
            weights.put(at, weight.to_ne_bytes());
        }
    }
}

/// A leaf as a place, if its row is the one that the priority was set for.
fn proposal<S: Storage>(ring: &Ring<S>, found: Found) -> Proposal {
    let block_rows = u64::from(ring.geometry().block_rows);
    let position = Position {
        block: (found.index / block_rows) as u32,
        place: (found.index % block_rows) as u32,
    };
    let word = ring.word(position.block);
    let is_there = found.units > 0
        && word.generation == found.generation
        && position.place < u32::from(word.count);
    if is_there {
        Proposal::new(position, found.generation, found.units)
    } else {
        Proposal::NONE
    }
}
