//! What changed in the ring since the last look, at a cost that follows the changes.
//!
//! A mode that keeps derived data (slices, priorities) asks before each batch. Only blocks that were claimed since, and
//! those that could still grow, are looked at.

use crate::ring::Ring;
use crate::storage::Storage;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A block entered another generation: what was known of it is gone.
    Claimed {
        /// The block.
        block: u32,
        /// Its generation now; 0 if it holds nothing.
        generation: u32,
    },
    /// Places were published.
    Published {
        /// The block.
        block: u32,
        /// Its generation.
        generation: u32,
        /// The first of them.
        first: u32,
        /// Behind the last of them.
        end: u32,
    },
}

#[derive(Clone, Copy, Default)]
struct Note {
    generation: u32,
    count: u16,
}

/// What was seen of each block.
#[derive(Default)]
pub struct Catalog {
    head: u64,
    notes: Vec<Note>,
    /// Blocks that may grow, or whose claim wasn't finished.
    open: Vec<u32>,
}

impl Catalog {
    /// Reports every change since the last call; at the first one, all there is.
    pub fn refresh<S: Storage>(&mut self, ring: &Ring<S>, mut visit: impl FnMut(Change)) {
        let blocks = ring.geometry().blocks;
        let head = ring.head();
        let is_first = self.notes.len() != blocks as usize || head < self.head;
        if is_first {
            self.notes = vec![Note::default(); blocks as usize];
            self.open = (0..ring.claimed_blocks()).collect();
        } else {
            let newest = head.saturating_sub(u64::from(blocks)).max(self.head);
            self.open
                .extend((newest..head).map(|ticket| (ticket % u64::from(blocks)) as u32));
            self.open.sort_unstable();
            self.open.dedup();
        }
        self.head = head;
        let notes = &mut self.notes;
        self.open
            .retain(|&block| look(ring, head, block, &mut notes[block as usize], &mut visit));
    }
}

/// Reports a block's changes; returns whether it must be looked at again.
fn look<S: Storage>(
    ring: &Ring<S>,
    head: u64,
    block: u32,
    note: &mut Note,
    visit: &mut impl FnMut(Change),
) -> bool {
    let word = ring.word(block);
    let generation = word.generation;
    if generation != note.generation {
        visit(Change::Claimed { block, generation });
        *note = Note {
            generation,
            count: 0,
        };
    }
    if word.count > note.count {
        visit(Change::Published {
            block,
            generation,
            first: u32::from(note.count),
            end: u32::from(word.count),
        });
        note.count = word.count;
    }
    let blocks = u64::from(ring.geometry().blocks);
    let turns = head.saturating_sub(u64::from(block)).div_ceil(blocks);
    let is_settled =
        u64::from(generation) >= turns && u32::from(word.count) >= ring.geometry().block_rows;
    !is_settled
}
