//! How rows are chosen: the four modes behind one interface.

use crate::error::{Error, Result};
use crate::gather::{Filter, Gather, Position};
use crate::ring::Ring;
use crate::storage::Storage;

use super::prioritized::Prioritized;
use super::random::{Draw, below, unit};
use super::recency::Recency;
use super::stratified::Stratified;

/// A place that a mode proposes, or none. Two words, so that it travels in registers: a batch has thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Block and place.
    at: u64,
    /// Generation that the block must have, 0 for any; and the row's priority in fixed point, where that counts.
    tag: u64,
}

impl Proposal {
    /// No place.
    pub const NONE: Self = Self {
        at: u64::MAX,
        tag: 0,
    };

    /// A place in one use of its block (generation 0: in any), with its priority in fixed point.
    #[inline]
    pub fn new(position: Position, generation: u32, units: u32) -> Self {
        Self {
            at: u64::from(position.block) << 32 | u64::from(position.place),
            tag: u64::from(generation) << 32 | u64::from(units),
        }
    }

    /// A place if it is there.
    #[inline]
    pub fn only_if(is_there: bool, position: Position, generation: u32) -> Self {
        if is_there {
            Self::new(position, generation, 0)
        } else {
            Self::NONE
        }
    }

    /// Whether there is no place.
    #[inline]
    pub fn is_none(self) -> bool {
        self.at == u64::MAX
    }

    /// Where.
    #[inline]
    pub fn position(self) -> Position {
        Position {
            block: (self.at >> 32) as u32,
            place: self.at as u32,
        }
    }

    /// Generation that the block must have; 0 for any.
    #[inline]
    pub fn generation(self) -> u32 {
        (self.tag >> 32) as u32
    }

    /// Its priority in fixed point.
    #[inline]
    pub fn units(self) -> u32 {
        self.tag as u32
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

    /// Proposes a place that looks published; none if this try found none.
    #[inline]
    pub fn propose<S: Storage>(&mut self, ring: &Ring<S>, draw: Draw) -> Proposal {
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
    ) -> Proposal {
        if let Self::Stratified(stratified) = self {
            return stratified.choose_listed(ring, draw, filter);
        }
        let listed = listed.get_or_insert_with(|| match self {
            Self::Recency(recency) => {
                Listed::weighted(ring, filter, |proposal| recency.weight(ring, *proposal))
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
pub fn uniform<S: Storage>(ring: &Ring<S>, draw: Draw) -> Proposal {
    uniform_among(ring, ring.claimed_blocks(), draw)
}

/// Every place of that many blocks alike.
#[inline]
pub fn uniform_among<S: Storage>(ring: &Ring<S>, blocks: u32, draw: Draw) -> Proposal {
    let position = place_among(blocks, ring.geometry().block_rows, draw.word());
    let word = ring.word(position.block);
    let is_there = position.place < u32::from(word.count);
    Proposal::only_if(is_there, position, word.generation)
}

/// The place that a random word stands for: that of number `below(random, blocks x block_rows)`, without a division.
#[inline]
fn place_among(blocks: u32, block_rows: u32, random: u64) -> Position {
    let block = below(random, u64::from(blocks));
    let chosen = below(random, u64::from(blocks) * u64::from(block_rows));
    Position {
        block: block as u32,
        place: (chosen - block * u64::from(block_rows)) as u32,
    }
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
                let generation = ring.word(block).generation;
                let mut proposal = Proposal::new(position, generation, 0);
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
    pub fn choose(&self, draw: Draw) -> Proposal {
        let sum = self.rows.last().map_or(0.0, |&(_, sum)| sum);
        let target = unit(draw.word()) * sum;
        let found = self.rows.partition_point(|&(_, until)| until <= target);
        self.rows
            .get(found)
            .map_or(Proposal::NONE, |&(proposal, _)| proposal)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{below, place_among};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_is_the_quotient_and_the_remainder(blocks in 1_u32.., block_rows in 1_u32..=1024, random: u64) {
            let chosen = below(random, u64::from(blocks) * u64::from(block_rows));
            let place = place_among(blocks, block_rows, random);
            prop_assert_eq!(u64::from(place.block), chosen / u64::from(block_rows));
            prop_assert_eq!(u64::from(place.place), chosen % u64::from(block_rows));
        }
    }
}
