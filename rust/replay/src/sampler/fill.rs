//! One row of a batch: proposed places are tried until one holds a row that passes.

use crate::checks::check_place;
use crate::columns::Columns;
use crate::error::{Error, Result};
use crate::gather::{Filter, Position};
use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::BlockLink;

use super::Sampler;
use super::choice::{Choice, Listed, Proposal};
use super::random::Draw;

/// Draws of one index before the eligible rows are listed instead.
const MAX_ATTEMPTS: u64 = 128;

/// What one batch is drawn by.
pub(super) struct Batch {
    pub key: u64,
    pub filter: Filter,
    pub listed: Option<Listed>,
}

/// A place in one use of its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockPosition {
    pub position: Position,
    pub generation: u32,
}

impl Sampler {
    /// Fills one row, from its first proposal on; draws until one passes.
    pub(super) fn fill<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        batch: &mut Batch,
        index: usize,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Result<BlockPosition> {
        let draw = |attempt| Draw {
            key: batch.key,
            index,
            attempt,
        };
        for attempt in 0..MAX_ATTEMPTS {
            let proposal = match attempt {
                0 => self.drawn[index],
                _ => self.choice.propose(ring, draw(attempt)),
            };
            if !proposal.is_none()
                && let Some(taken) = self.take(ring, batch, proposal, columns, at)?
            {
                return Ok(taken);
            }
        }
        // Few places qualify: list those that do. A listed row can still be evicted before it is copied.
        for attempt in MAX_ATTEMPTS..2 * MAX_ATTEMPTS {
            let draw = draw(attempt);
            let choice = &mut self.choice;
            let proposal = choice.choose_listed(ring, draw, batch.filter, &mut batch.listed);
            if proposal.is_none() {
                break;
            }
            if let Some(taken) = self.take(ring, batch, proposal, columns, at)? {
                return Ok(taken);
            }
            batch.listed = None;
            if let Choice::Stratified(stratified) = &mut self.choice {
                stratified.forget_listed();
            }
        }
        let condition = match batch.filter.watermark {
            u64::MAX => String::new(),
            watermark => format!(", a step_id of at most {watermark}"),
        };
        Err(Error::TooFewRows {
            size: ring.stored_rows(),
            condition,
        })
    }

    /// Copies a proposed row to the columns if it passes.
    #[inline]
    fn take<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        batch: &Batch,
        proposal: Proposal,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Result<Option<BlockPosition>> {
        let (position, expected) = (proposal.position(), proposal.generation());
        // The least step of a block tells without touching its rows that none of them passes.
        let is_hopeless = ring.least_step(position.block) > batch.filter.watermark;
        let found = if is_hopeless {
            None
        } else {
            self.gather
                .row(ring, position, batch.filter, columns, at)
                .filter(|&found| expected == 0 || found == expected)
        };
        let Some(generation) = found else {
            self.choice.refuse(ring, proposal);
            return Ok(None);
        };
        let is_taken = self.settle(ring, proposal, generation, columns, at)?;
        Ok(is_taken.then_some(BlockPosition {
            position,
            generation,
        }))
    }

    /// Checks a row that was copied, if that is asked for, and tells beside it what the columns want to know; false if
    /// it no longer stands there.
    pub(super) fn settle<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        proposal: Proposal,
        generation: u32,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Result<bool> {
        let position = proposal.position();
        let taken = BlockPosition {
            position,
            generation,
        };
        if self.is_checking && !self.check(ring, taken)? {
            return Ok(false);
        }
        if let Some(index) = &mut columns.extras.row_index {
            let number = ring.row_index(position.block, position.place);
            index.put(at, number.to_ne_bytes());
        }
        if let Some(generations) = &mut columns.extras.row_generation {
            generations.put(at, generation.to_ne_bytes());
        }
        if let Choice::Prioritized(prioritized) = &mut self.choice {
            prioritized.take(at, proposal);
        }
        Ok(true)
    }

    /// Whether the row still stands there and passes its checksums.
    fn check<S: Storage>(&mut self, ring: &Ring<S>, row: BlockPosition) -> Result<bool> {
        let Position { block, place } = row.position;
        let link = BlockLink {
            block,
            generation: row.generation,
        };
        let checked = check_place(ring, link, place, &mut self.scratch);
        fence(Ordering::Acquire);
        if !ring.is_still(link) {
            return Ok(false);
        }
        checked.map(|()| true).map_err(|reason| Error::BadRow {
            block,
            place,
            reason,
        })
    }
}
