//! How rows are chosen: the four modes behind one interface.

use crate::error::{Error, Result};
use crate::gather::{Filter, Gather, Position};
use crate::ring::Ring;
use crate::storage::Storage;

use super::prioritized::Prioritized;
use super::random::{Draw, below, unit};
use super::recency::Recency;
use super::stratified::Stratified;

/// A place that a mode proposes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proposal {
    /// Where.
    pub position: Position,
    /// Generation that the block must have; 0 for any.
    pub generation: u32,
    /// Its priority in fixed point, where rows are drawn by priority.
    pub units: u32,
}

impl Proposal {
    /// A place in whatever generation its block is.
    pub fn any(position: Position) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }
}

/// What decides which rows are drawn.
pub enum Choice {
    /// Every row alike.
    Uniform,
    /// Newer rows more often.
    Recency(Recency),
    /// Every slice alike.
    Stratified(Stratified),
    /// By priority.
    Prioritized(Prioritized),
}

impl Choice {
    /// Takes note of what was appended and evicted since the last batch.
    ///
    /// # Errors
    ///
    /// As [`Prioritized::prepare`].
    pub fn prepare<S: Storage>(&mut self, ring: &Ring<S>) -> Result<()> {
        match self {
            Self::Uniform | Self::Recency(_) => Ok(()),
            Self::Stratified(stratified) => {
                stratified.prepare(ring);
                Ok(())
            }
            Self::Prioritized(prioritized) => prioritized.prepare(ring),
        }
    }

    /// Proposes a place that looks published; `None` if this try found none.
    #[inline]
    pub fn propose<S: Storage>(&mut self, ring: &Ring<S>, draw: Draw) -> Option<Proposal> {
        match self {
            Self::Uniform => uniform(ring, draw),
            Self::Recency(recency) => recency.propose(ring, draw),
            Self::Stratified(stratified) => stratified.propose(ring, draw),
            Self::Prioritized(prioritized) => prioritized.propose(ring, draw),
        }
    }

    /// Hears that a proposed place held no row that passes.
    pub fn refuse<S: Storage>(&mut self, ring: &Ring<S>, proposal: Proposal) {
        if let Self::Prioritized(prioritized) = self {
            prioritized.refuse(ring, proposal);
        }
    }

    /// Chooses among the rows that pass, listed one by one: the way out where few do.
    pub fn choose_listed<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        draw: Draw,
        filter: Filter,
        listed: &mut Option<Listed>,
    ) -> Option<Proposal> {
        if let Self::Stratified(stratified) = self {
            return stratified.choose_listed(ring, draw, filter);
        }
        let listed = listed.get_or_insert_with(|| match self {
            Self::Recency(recency) => {
                Listed::weighted(ring, filter, |proposal| recency.weight(ring, proposal))
            }
            Self::Prioritized(prioritized) => {
                Listed::weighted(ring, filter, |proposal| prioritized.weigh(ring, proposal))
            }
            _ => Listed::weighted(ring, filter, |_| 1.0),
        });
        listed.choose(draw)
    }
}

/// Every place alike, over the blocks claimed so far.
#[inline]
fn uniform<S: Storage>(ring: &Ring<S>, draw: Draw) -> Option<Proposal> {
    let block_rows = u64::from(ring.geometry().block_rows);
    let places = u64::from(ring.claimed_blocks()) * block_rows;
    let chosen = below(draw.word(), places);
    let position = Position {
        block: (chosen / block_rows) as u32,
        place: (chosen % block_rows) as u32,
    };
    (position.place < u32::from(ring.word(position.block).count))
        .then(|| Proposal::any(position))
}

/// Rows that pass, with their weights summed up.
pub struct Listed {
    rows: Vec<(Proposal, f64)>,
}

impl Listed {
    /// Lists the rows that pass and have a positive weight, in (block, place) order.
    pub fn weighted<S: Storage>(
        ring: &Ring<S>,
        filter: Filter,
        mut weigh: impl FnMut(&mut Proposal) -> f64,
    ) -> Self {
        let mut sum = 0.0;
        let mut rows = Vec::new();
        for block in 0..ring.claimed_blocks() {
            for position in Gather::list_block(ring, block, filter) {
                let mut proposal = Proposal::any(position);
                let weight = weigh(&mut proposal);
                if weight > 0.0 {
                    sum += weight;
                    rows.push((proposal, sum));
                }
            }
        }
        Self { rows }
    }

    /// Draws one of them.
    pub fn choose(&self, draw: Draw) -> Option<Proposal> {
        let &(_, sum) = self.rows.last()?;
        let target = unit(draw.word()) * sum;
        let found = self.rows.partition_point(|&(_, until)| until <= target);
        self.rows.get(found).map(|&(proposal, _)| proposal)
    }
}

/// Checks a mode's number.
pub fn require(is_sound: bool, what: &str, value: f64, range: &str) -> Result<()> {
    if is_sound {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "{what} is {value}; it must lie in {range}"
    )))
}
