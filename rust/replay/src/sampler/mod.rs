//! Sampling: a function of (seed, draw, watermark) and the buffer's content.
//!
//! A mode proposes places ([`choice`]); a place without a row that passes is refused and another one drawn, so what
//! comes out is distributed over the rows that pass as the mode says. Where nearly every place is refused, the rows
//! that pass are listed instead.

mod choice;
mod prioritized;
mod random;
mod recency;
mod stratified;

use std::sync::Arc;

use crate::checks::check_place;
use crate::error::{Error, Result};
use crate::gather::{Columns, Filter, Gather, Horizon, Position, follow};
use crate::priorities::PriorityTree;
use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::BlockLink;

use choice::{Choice, Listed, Proposal};
use prioritized::Prioritized;
use random::{Draw, mix};
use recency::Recency;
use stratified::Stratified;

/// Draws of one index before the eligible rows are listed instead.
const MAX_ATTEMPTS: u64 = 128;
/// Rows between a prefetch and its copy.
const PREFETCH_DISTANCE: usize = 8;

/// The sampler's position: all that decides what it draws next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerState {
    /// Chosen by the user.
    pub seed: u64,
    /// Batches drawn so far.
    pub draw: u64,
}

/// How rows are chosen.
#[derive(Clone)]
pub enum Mode {
    /// Every row alike.
    Uniform,
    /// The weight halves with every so many rows appended after a row.
    Recency {
        /// So many.
        half_life_rows: f64,
    },
    /// Every slice alike.
    Stratified,
    /// By priority.
    Prioritized {
        /// The shared priorities.
        tree: Arc<PriorityTree>,
        /// This process's number.
        owner: u16,
        /// Exponent of the importance weights.
        correction: f64,
    },
}

/// Draws batches of rows, with replacement.
pub struct Sampler {
    state: SamplerState,
    gather: Gather,
    choice: Choice,
    is_checking: bool,
    drawn: Vec<Proposal>,
    links: Vec<BlockLink>,
    scratch: Vec<u8>,
}

/// What one batch is drawn by.
struct Batch {
    key: u64,
    filter: Filter,
    listed: Option<Listed>,
}

/// Which rows of the columns a call fills.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first of them.
    pub first: usize,
    /// How many.
    pub rows: usize,
    /// What `source` says of them.
    pub source: u16,
}

impl Part {
    /// All rows of a batch from one buffer.
    pub fn whole(rows: usize) -> Self {
        Self {
            first: 0,
            rows,
            source: 0,
        }
    }
}

impl Sampler {
    /// A sampler at its first draw. `slice_offset` is where a row has its slice; `is_checking` makes every row pass its
    /// checksums before it is returned.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the horizon or the mode's numbers are out of range, or the schema lacks what it needs.
    pub fn new(
        seed: u64,
        horizon: Horizon,
        mode: Mode,
        slice_offset: Option<usize>,
        is_checking: bool,
    ) -> Result<Self> {
        if !(1..=10_000).contains(&horizon.steps) {
            return Err(Error::Argument(format!(
                "n_step is {}; it must lie in 1..=10000",
                horizon.steps
            )));
        }
        choice::require(
            (0.0..=1.0).contains(&horizon.gamma),
            "gamma",
            horizon.gamma,
            "[0, 1]",
        )?;
        let choice = match mode {
            Mode::Uniform => Choice::Uniform,
            Mode::Recency { half_life_rows } => Choice::Recency(Recency::new(half_life_rows)?),
            Mode::Stratified => Choice::Stratified(Stratified::new(slice_offset)?),
            Mode::Prioritized {
                tree,
                owner,
                correction,
            } => Choice::Prioritized(Prioritized::new(tree, owner, correction)?),
        };
        Ok(Self {
            state: SamplerState { seed, draw: 0 },
            gather: Gather::new(horizon),
            choice,
            is_checking,
            drawn: Vec::new(),
            links: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// What the next draw depends on.
    pub fn state(&self) -> SamplerState {
        self.state
    }

    /// Goes back (or on) to a state.
    pub fn restore(&mut self, state: SamplerState) {
        self.state = state;
    }

    /// The priorities that it draws by, with this process's number.
    pub fn priorities(&self) -> Option<(&Arc<PriorityTree>, u16)> {
        match &self.choice {
            Choice::Prioritized(prioritized) => Some((prioritized.tree(), prioritized.owner())),
            _ => None,
        }
    }

    /// Sets the exponent of the importance weights; nothing where rows aren't drawn by priority.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if it isn't in [0, 1].
    pub fn set_correction(&mut self, correction: f64) -> Result<()> {
        match &mut self.choice {
            Choice::Prioritized(prioritized) => prioritized.set_correction(correction),
            _ => Ok(()),
        }
    }

    /// Fills a part of the columns with rows whose `step_id` is at most the watermark, and counts the draw.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] if no row passes, [`Error::BadRow`] if one fails its checksum; the draw then doesn't count.
    pub fn sample<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        part: Part,
        watermark: Option<u64>,
        columns: &mut Columns<'_>,
    ) -> Result<()> {
        let mut batch = self.begin(ring, part.rows, watermark)?;
        // What most batches are: the row and its next values, and nothing else to look at or to tell.
        let is_plain = batch.filter.watermark == u64::MAX
            && !self.is_checking
            && !matches!(self.choice, Choice::Prioritized(_))
            && columns.extras.are_absent();
        (0..PREFETCH_DISTANCE).for_each(|index| self.prefetch(ring, index));
        for index in 0..part.rows {
            self.prefetch(ring, index + PREFETCH_DISTANCE);
            let (proposal, at) = (self.drawn[index], part.first + index);
            let is_copied = is_plain && self.plain_row(ring, proposal, columns, at);
            if !is_copied {
                self.fill(ring, &mut batch, index, columns, at)?;
            }
            if let Some(source) = &mut columns.extras.source {
                source.put(at, part.source.to_ne_bytes());
            }
        }
        self.finish(columns);
        Ok(())
    }

    /// Fills the columns with windows of `length` successive rows of an episode each; a window's start is drawn as a
    /// row is, and `valid` says where it ends early.
    ///
    /// # Errors
    ///
    /// As [`Sampler::sample`].
    pub fn sample_windows<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        windows: usize,
        length: usize,
        watermark: Option<u64>,
        columns: &mut Columns<'_>,
    ) -> Result<()> {
        let mut batch = self.begin(ring, windows, watermark)?;
        for index in 0..windows {
            self.prefetch(ring, index + 2);
            let first = index * length;
            let start = self.fill(ring, &mut batch, index, columns, first)?;
            let rows = self.follow_window(ring, start, batch.filter, columns, first, length);
            for at in first + rows..first + length {
                columns.clear(ring.row(), at);
            }
        }
        self.finish(columns);
        Ok(())
    }

    /// Copies the rows behind a window's first one; returns how many rows the window has.
    fn follow_window<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        start: BlockPosition,
        filter: Filter,
        columns: &mut Columns<'_>,
        first: usize,
        length: usize,
    ) -> usize {
        let (mut at, mut generation) = (start.position, start.generation);
        for step in 0..length {
            columns.set_valid(first + step);
            if step + 1 == length || columns.is_done(ring.row(), first + step) {
                return step + 1;
            }
            let count = u32::from(ring.word(at.block).count);
            self.links.clear();
            let Some((next, _)) = follow(ring, at, count, &mut self.links) else {
                return step + 1;
            };
            let expected = self
                .links
                .first()
                .map_or(generation, |link| link.generation);
            let copied = self
                .gather
                .row(ring, next, filter, columns, first + step + 1);
            // The link was read while its block was still the one that the row came from, or it says nothing.
            let is_chained = ring.is_still(BlockLink {
                block: at.block,
                generation,
            });
            if copied != Some(expected) || !is_chained {
                return step + 1;
            }
            (at, generation) = (next, expected);
        }
        length
    }

    fn begin<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        rows: usize,
        watermark: Option<u64>,
    ) -> Result<Batch> {
        let filter = Filter {
            watermark: watermark.unwrap_or(u64::MAX),
            only_sampleable: true,
        };
        let key = mix(self.state.seed ^ mix(self.state.draw));
        self.choice.prepare(ring)?;
        self.drawn.clear();
        match &mut self.choice {
            Choice::Prioritized(prioritized) => {
                prioritized.propose_batch(ring, key, rows, &mut self.drawn);
            }
            Choice::Uniform => {
                let blocks = ring.claimed_blocks();
                let propose = |draw| choice::uniform_among(ring, blocks, draw);
                self.drawn.extend(first_draws(key, rows).map(propose));
            }
            choice => {
                let propose = |draw| choice.propose(ring, draw);
                self.drawn.extend(first_draws(key, rows).map(propose));
            }
        }
        Ok(Batch {
            key,
            filter,
            listed: None,
        })
    }

    #[inline]
    fn prefetch<S: Storage>(&self, ring: &Ring<S>, index: usize) {
        if let Some(ahead) = self.drawn.get(index).filter(|ahead| !ahead.is_none()) {
            Gather::prefetch(ring, ahead.position());
        }
    }

    fn finish(&mut self, columns: &mut Columns<'_>) {
        if let Choice::Prioritized(prioritized) = &self.choice {
            prioritized.weigh_batch(columns);
        }
        self.state.draw += 1;
    }

    /// Fills one row; draws until one passes.
    #[inline]
    fn fill<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        batch: &mut Batch,
        index: usize,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Result<BlockPosition> {
        let first = self.drawn[index];
        if !first.is_none()
            && let Some(taken) = self.take(ring, batch, first, columns, at)?
        {
            return Ok(taken);
        }
        self.draw_again(ring, batch, index, columns, at)
    }

    #[cold]
    fn draw_again<S: Storage>(
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
        for attempt in 1..MAX_ATTEMPTS {
            let proposal = self.choice.propose(ring, draw(attempt));
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

    /// As [`Gather::plain_row`], for a proposal.
    #[inline]
    fn plain_row<S: Storage>(
        &self,
        ring: &Ring<S>,
        proposal: Proposal,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> bool {
        let generation = proposal.generation();
        generation != 0
            && self
                .gather
                .plain_row(ring, proposal.position(), generation, columns, at)
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
        let is_plain = batch.filter.watermark == u64::MAX;
        let is_copied = is_plain && self.plain_row(ring, proposal, columns, at);
        let generation = if is_copied {
            expected
        } else {
            let Some(found) = self.take_slowly(ring, batch, proposal, columns, at) else {
                self.choice.refuse(ring, proposal);
                return Ok(None);
            };
            found
        };
        let taken = BlockPosition {
            position,
            generation,
        };
        if self.is_checking && !self.check(ring, taken)? {
            return Ok(None);
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
        Ok(Some(taken))
    }

    /// As [`Sampler::take`], for rows with flags, returns of several steps, and watermarks.
    fn take_slowly<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        batch: &Batch,
        proposal: Proposal,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Option<u32> {
        let (position, expected) = (proposal.position(), proposal.generation());
        // The least step of a block tells without touching its rows that none of them passes.
        if ring.least_step(position.block) > batch.filter.watermark {
            return None;
        }
        self.gather
            .row(ring, position, batch.filter, columns, at)
            .filter(|&found| expected == 0 || found == expected)
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

/// The first try for each row of a batch.
fn first_draws(key: u64, rows: usize) -> impl ExactSizeIterator<Item = Draw> {
    (0..rows).map(move |index| Draw {
        key,
        index,
        attempt: 0,
    })
}

/// A place in one use of its block.
#[derive(Clone, Copy, Debug)]
struct BlockPosition {
    position: Position,
    generation: u32,
}
