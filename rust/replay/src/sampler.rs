//! Uniform sampling, a function of (seed, draw, watermark) while nobody writes.

use crate::error::{Error, Result};
use crate::gather::{Columns, Filter, Gather, Horizon, Position};
use crate::ring::Ring;
use crate::storage::Storage;

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

/// Draws batches of rows uniformly, with replacement.
pub struct Sampler {
    state: SamplerState,
    gather: Gather,
    drawn: Vec<(Position, u64)>,
}

/// A counter-based random number: the finaliser of `SplitMix64` over the key and the counter, twice.
fn random(key: u64, counter: u64) -> u64 {
    mix(key ^ mix(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Maps a random word to `0..limit`; the bias is below limit / 2^64.
fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

/// The index of a batch as a counter of its own: attempts of different indices never meet.
fn counter(index: usize, attempt: u64) -> u64 {
    (index as u64) << 16 | attempt
}

impl Sampler {
    /// A sampler at its first draw.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the horizon is out of range.
    pub fn new(seed: u64, horizon: Horizon) -> Result<Self> {
        if !(1..=10_000).contains(&horizon.steps) {
            return Err(Error::Argument(format!(
                "n_step is {}; it must lie in 1..=10000",
                horizon.steps
            )));
        }
        if !(0.0..=1.0).contains(&horizon.gamma) {
            return Err(Error::Argument(format!(
                "gamma is {}; it must lie in [0, 1]",
                horizon.gamma
            )));
        }
        let state = SamplerState { seed, draw: 0 };
        Ok(Self {
            state,
            gather: Gather::new(horizon),
            drawn: Vec::new(),
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

    /// Fills the columns with `batch` rows whose `step_id` is at most the watermark, and counts the draw.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] if no row passes; the draw then doesn't count.
    pub fn sample<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        batch: usize,
        watermark: Option<u64>,
        columns: &mut Columns<'_>,
    ) -> Result<()> {
        let filter = Filter {
            watermark: watermark.unwrap_or(u64::MAX),
            only_sampleable: true,
        };
        let key = mix(self.state.seed ^ mix(self.state.draw));
        self.drawn.clear();
        for index in 0..batch {
            self.drawn.push(
                draw(ring, key, index, 0)
                    .unwrap_or((Position { block: 0, place: 0 }, MAX_ATTEMPTS)),
            );
        }
        let mut listed = None;
        for index in 0..batch {
            if let Some(&(ahead, _)) = self.drawn.get(index + PREFETCH_DISTANCE) {
                Gather::prefetch(ring, ahead);
            }
            self.fill(ring, key, index, filter, columns, &mut listed)?;
        }
        self.state.draw += 1;
        Ok(())
    }

    fn fill<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        key: u64,
        index: usize,
        filter: Filter,
        columns: &mut Columns<'_>,
        listed: &mut Option<Vec<Position>>,
    ) -> Result<()> {
        let (mut position, mut attempt) = self.drawn[index];
        while attempt < MAX_ATTEMPTS {
            if self
                .gather
                .row(ring, position, filter, columns, index)
                .is_some()
            {
                return Ok(());
            }
            match draw(ring, key, index, attempt + 1) {
                Some(found) => (position, attempt) = found,
                None => break,
            }
        }
        // Few places qualify: list those that do. A listed row can still be evicted before it is copied.
        for attempt in MAX_ATTEMPTS..2 * MAX_ATTEMPTS {
            let rows = listed.get_or_insert_with(|| list(ring, filter));
            if rows.is_empty() {
                break;
            }
            let chosen =
                rows[below(random(key, counter(index, attempt)), rows.len() as u64) as usize];
            if self
                .gather
                .row(ring, chosen, filter, columns, index)
                .is_some()
            {
                return Ok(());
            }
            *listed = None;
        }
        let condition = match filter.watermark {
            u64::MAX => String::new(),
            watermark => format!(", a step_id of at most {watermark}"),
        };
        Err(Error::TooFewRows {
            size: ring.stored_rows(),
            condition,
        })
    }
}

/// Every place with a row that passes, in (block, place) order.
fn list<S: Storage>(ring: &Ring<S>, filter: Filter) -> Vec<Position> {
    (0..ring.claimed_blocks())
        .flat_map(|block| Gather::list_block(ring, block, filter))
        .collect()
}

/// Draws places until one is published, from an attempt on. Says which attempt it was.
fn draw<S: Storage>(
    ring: &Ring<S>,
    key: u64,
    index: usize,
    first_attempt: u64,
) -> Option<(Position, u64)> {
    let block_rows = u64::from(ring.geometry().block_rows);
    let places = u64::from(ring.claimed_blocks()) * block_rows;
    (first_attempt..MAX_ATTEMPTS).find_map(|attempt| {
        let chosen = below(random(key, counter(index, attempt)), places);
        let position = Position {
            block: (chosen / block_rows) as u32,
            place: (chosen % block_rows) as u32,
        };
        (position.place < u32::from(ring.word(position.block).count)).then_some((position, attempt))
    })
}
