//! Newer rows more often: the weight of a row halves with every `half_life_rows` rows that were appended after it.

use crate::error::Result;
use crate::gather::Position;
use crate::ring::Ring;
use crate::storage::Storage;

use super::choice::{Proposal, require};
use super::random::{Draw, below, unit};

/// Draws blocks by their age, rows of a block alike.
pub struct Recency {
    half_life_rows: f64,
}

impl Recency {
    /// Halves the weight with each so many rows of age.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Argument`] if that isn't a positive number.
    pub fn new(half_life_rows: f64) -> Result<Self> {
        let is_sound = half_life_rows.is_finite() && half_life_rows > 0.0;
        require(is_sound, "half_life_rows", half_life_rows, "(0, infinity)")?;
        Ok(Self { half_life_rows })
    }

    /// Draws an age from the exponential distribution, cut at the ring's length; the age names a claim, the claim a
    /// block. A claim that was skipped or is evicted names none.
    pub fn propose<S: Storage>(&self, ring: &Ring<S>, draw: Draw) -> Proposal {
        let (head, blocks) = (ring.head(), u64::from(ring.geometry().blocks));
        let block_rows = u64::from(ring.geometry().block_rows);
        let oldest_rows = (u64::from(ring.claimed_blocks()) * block_rows) as f64;
        let mass = 1.0 - libm::exp2(-oldest_rows / self.half_life_rows);
        let age_rows = -self.half_life_rows * libm::log2(1.0 - unit(draw.word()) * mass);
        let Some(ticket) = head.checked_sub(1 + age_rows as u64 / block_rows) else {
            return Proposal::NONE;
        };
        let block = (ticket % blocks) as u32;
        let place = below(draw.second_word(), block_rows) as u32;
        let word = ring.word(block);
        let is_there =
            u64::from(word.generation) == ticket / blocks + 1 && place < u32::from(word.count);
        Proposal::only_if(is_there, Position { block, place }, word.generation)
    }

    /// The weight of a listed row.
    pub fn weight<S: Storage>(&self, ring: &Ring<S>, proposal: Proposal) -> f64 {
        let block = proposal.position().block;
        let turns = u64::from(proposal.generation()).saturating_sub(1);
        let ticket = turns * u64::from(ring.geometry().blocks) + u64::from(block);
        let age_blocks = ring.head().saturating_sub(ticket + 1);
        // In floating point, because a damaged file may hold any head.
        let age_rows = age_blocks as f64 * f64::from(ring.geometry().block_rows);
        // Never so small that a row that could be drawn counts as one that can't.
        libm::exp2(-age_rows / self.half_life_rows).max(f64::MIN_POSITIVE)
    }
}
