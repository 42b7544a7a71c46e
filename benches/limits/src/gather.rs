//! The least that sampling can cost: random numbers, prefetches, and the copy out of the rows.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::bound::{Array, copy_item};
use crate::ring::{Rows, Span};

/// Rows between a prefetch and its copy.
const PREFETCH_DISTANCE: usize = 8;
/// Longer rows are left to the processor's own prefetcher: hints slow them down.
const PREFETCH_MOST_BYTES: usize = 1536;

/// What a gather loop keeps.
pub struct State {
    rows: Arc<Rows>,
    spans: Vec<Span>,
    arrays: Vec<Array>,
    drawn: Vec<(usize, usize)>,
    counter: u64,
    reach_bytes: usize,
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl State {
    /// A loop over arrays that each hold `batch` items of their span.
    pub fn new(
        rows: Arc<Rows>,
        spans: Vec<Span>,
        arrays: Vec<Array>,
        batch: usize,
        seed: u64,
    ) -> Self {
        let reach_bytes = spans.iter().map(|&(offset, size)| offset + size).max();
        Self {
            rows,
            spans,
            arrays,
            drawn: vec![(0, 0); batch],
            counter: mix(seed),
            reach_bytes: reach_bytes.unwrap_or(0),
        }
    }

    /// Draws a batch and copies it.
    pub fn gather<const GUARDED: bool>(&mut self) {
        let places = (self.rows.blocks * self.rows.block_rows) as u128;
        for drawn in &mut self.drawn {
            self.counter = self.counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let chosen = ((u128::from(mix(self.counter)) * places) >> 64) as usize;
            *drawn = (chosen / self.rows.block_rows, chosen % self.rows.block_rows);
        }
        let mut index = 0;
        while index < self.drawn.len() {
            if let Some(&(block, place)) = self.drawn.get(index + PREFETCH_DISTANCE) {
                self.prefetch(block, place);
            }
            if self.copy_row::<GUARDED>(index) {
                index += 1;
            } else {
                // A reused block: the replay would draw again; nobody writes here, so this is never taken.
                self.drawn[index] = (0, 0);
            }
        }
    }

    #[inline]
    fn copy_row<const GUARDED: bool>(&self, index: usize) -> bool {
        let (block, place) = self.drawn[index];
        let word = if GUARDED {
            let word = self.rows.words[block].load(Ordering::Acquire);
            if place as u64 >= word & 0xFFFF_FFFF {
                return false;
            }
            word
        } else {
            0
        };
        let row = self.rows.row(block, place);
        for (array, &(offset, size)) in self.arrays.iter().zip(&self.spans) {
            // SAFETY: the span lies inside the block, and the array holds as many items as were drawn.
            unsafe { copy_item(row.add(offset), array.pointer().add(index * size), size) };
        }
        if GUARDED {
            fence(Ordering::Acquire);
            return self.rows.words[block].load(Ordering::Relaxed) == word;
        }
        true
    }

    #[inline]
    fn prefetch(&self, block: usize, place: usize) {
        #[cfg(target_arch = "x86_64")]
        if self.reach_bytes <= PREFETCH_MOST_BYTES {
            let row = self.rows.row(block, place);
            for offset in (0..self.reach_bytes).step_by(64) {
                // SAFETY: a prefetch is a hint; it can't fault on any address.
                unsafe {
                    std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                        row.wrapping_add(offset).cast(),
                    );
                }
            }
        }
    }
}
