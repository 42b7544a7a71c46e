//! Sampling: a function of (seed, draw, watermark) and the buffer's content.
//!
//! A mode proposes places ([`choice`]); a place without a row that passes is refused and another one drawn, so what
//! comes out is distributed over the rows that pass as the mode says. Where nearly every place is refused, the rows
//! that pass are listed instead.

mod choice;
mod fill;
mod plain;
mod prioritized;
mod random;
mod recency;
mod stratified;
mod windows;

use std::sync::Arc;

use crate::columns::Columns;
use crate::error::{Error, Result};
use crate::gather::{Filter, Gather, Horizon, Position};
use crate::priorities::PriorityTree;
use crate::ring::Ring;
use crate::storage::Storage;
use crate::word::BlockLink;

use choice::{Choice, Proposal};
use fill::Batch;
use prioritized::Prioritized;
use random::{Draw, mix};
use recency::Recency;
use stratified::Stratified;

/// Draws of one index before a batch's rows are copied.
const FIRST_ATTEMPTS: u64 = 16;

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
    /// Where the drawn rows lie, in bytes; 0 where there is none.
    starts: Vec<usize>,
    links: Vec<BlockLink>,
    scratch: Vec<u8>,
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
            starts: Vec::new(),
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
        let is_silent = !self.is_checking
            && !matches!(self.choice, Choice::Prioritized(_))
            && columns.extras.are_absent();
        let chunk_rows = self.begin_chunks(ring);
        for first in (0..part.rows).step_by(chunk_rows) {
            let (count, at) = (chunk_rows.min(part.rows - first), part.first + first);
            let copied = self.copy_plain(ring, &batch, first..first + count, columns, at);
            for number in 0..count {
                let (index, at) = (first + number, at + number);
                let proposal = self.drawn[index];
                let is_taken = copied.has(number)
                    && (is_silent
                        || self.settle(ring, proposal, proposal.generation(), columns, at)?);
                if !is_taken {
                    self.fill(ring, &mut batch, index, columns, at)?;
                }
                if let Some(source) = &mut columns.extras.source {
                    source.put(at, part.source.to_ne_bytes());
                }
            }
        }
        self.finish(columns);
        Ok(())
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
                self.drawn.extend(draws(key, rows, propose));
            }
            choice => self
                .drawn
                .extend(draws(key, rows, |draw| choice.propose(ring, draw))),
        }
        let start = |proposal: &Proposal| {
            let Position { block, place } = proposal.position();
            let offset = || ring.geometry().row_offset(ring.row(), block, place);
            if proposal.is_none() { 0 } else { offset() }
        };
        self.starts.clear();
        self.starts.extend(self.drawn.iter().map(start));
        Ok(Batch {
            key,
            filter,
            listed: None,
        })
    }

    fn finish(&mut self, columns: &mut Columns<'_>) {
        if let Choice::Prioritized(prioritized) = &self.choice {
            prioritized.weigh_batch(columns);
        }
        self.state.draw += 1;
    }
}

/// The first place that is proposed for each row of a batch; none where a few tries find none.
fn draws(
    key: u64,
    rows: usize,
    mut propose: impl FnMut(Draw) -> Proposal,
) -> impl ExactSizeIterator<Item = Proposal> {
    (0..rows).map(move |index| {
        let tries = (0..FIRST_ATTEMPTS).map(|attempt| Draw {
            key,
            index,
            attempt,
        });
        let mut found = tries.map(&mut propose);
        let place = found.find(|proposal| !proposal.is_none());
        place.unwrap_or(Proposal::NONE)
    })
}
