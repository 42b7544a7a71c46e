//! One environment's sequence of rows.
//!
//! A stream owns one block at a time. Row i's next values are the linked fields of place i + 1: `commit` writes them
//! there before it publishes row i, and the next row of the episode finds them in place. When that next row turns out
//! to be something else (a new episode, a gap), place i + 1 is published as a *final*: values without a row.

use crate::checksum::BlockSeed;
use crate::error::{Error, Result};
use crate::layout::{FIELDS, LINKED_CHECKSUM};
use crate::ring::{Liveness, Ring};
use crate::storage::Storage;
use crate::sync::Ordering;
use crate::word::{BlockLink, BlockWord, Mark};

/// A transition in the byte layout of a row. Each slice covers its whole part, padding included (zeros).
#[derive(Clone, Copy, Debug)]
pub struct RowImage<'a> {
    /// The linked fields, from [`FIELDS`] to the layout's `linked_end`.
    pub linked: &'a [u8],
    /// The unlinked fields, from `linked_end` to `end`.
    pub rest: &'a [u8],
    /// The next values, laid out as `linked`.
    pub next: &'a [u8],
    /// The episode.
    pub episode_id: u64,
    /// Whether the episode ends with this row.
    pub is_done: bool,
}

/// Where a stream's next row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Block.
    pub block: u32,
    /// Its generation.
    pub generation: u32,
    /// Place in the block.
    pub place: u16,
}

/// What a stream knows of its last row.
#[derive(Clone, Debug, Default)]
struct Tail {
    /// Place `count` holds the last row's next values, and no mark yet.
    is_pending: bool,
    is_done: bool,
    episode_id: u64,
    next: Vec<u8>,
}

/// The writing end of one stream.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    owner: u16,
    block: Option<BlockLink>,
    reserved: Option<BlockLink>,
    word: BlockWord,
    seed: BlockSeed,
    tail: Tail,
    scratch: Vec<u8>,
}

impl Stream {
    /// A stream without a block yet.
    pub fn new(id: u32, owner: u16) -> Self {
        Self {
            id,
            owner,
            block: None,
            reserved: None,
            word: BlockWord::default(),
            seed: BlockSeed::default(),
            tail: Tail::default(),
            scratch: Vec::new(),
        }
    }

    /// Where the next row goes: block, generation and place; `None` if the stream has no block.
    pub fn place(&self) -> Option<StreamPlace> {
        self.block.map(|link| StreamPlace {
            block: link.block,
            generation: link.generation,
            place: self.word.count,
        })
    }

    /// Whether a claimed block waits to be entered.
    pub fn has_reservation(&self) -> bool {
        self.reserved.is_some()
    }

    /// Whether a row goes on where the last one ended, bit for bit.
    fn continues(&self, row: &RowImage<'_>) -> bool {
        let tail = &self.tail;
        tail.is_pending
            && !tail.is_done
            && tail.episode_id == row.episode_id
            && tail.next == row.linked
    }

    fn needs_final(&self, row: &RowImage<'_>) -> bool {
        self.tail.is_pending && !self.continues(row)
    }

    fn has_room<S: Storage>(&self, ring: &Ring<S>, row: &RowImage<'_>) -> bool {
        let place = u32::from(self.word.count) + u32::from(self.needs_final(row));
        self.block.is_some() && place < ring.geometry().block_rows
    }

    /// Makes sure that [`Stream::commit`] finds a place for the row. Publishes nothing.
    ///
    /// # Errors
    ///
    /// As [`Ring::claim`]; [`Error::LostBlock`] if another process took the block.
    pub fn reserve<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        row: &RowImage<'_>,
        liveness: &impl Liveness,
    ) -> Result<()> {
        if let Some(block) = self.block
            && ring.word(block.block) != self.word
        {
            self.block = None;
            self.tail = Tail::default();
            return Err(Error::LostBlock { block: block.block });
        }
        if self.reserved.is_none() && !self.has_room(ring, row) {
            self.reserved = Some(ring.claim(self.owner, self.id, liveness)?);
        }
        self.prefetch(ring);
        Ok(())
    }

    /// Fetches the lines that `commit` will write: the rows of many streams lie far apart, and waiting for them one
    /// after another is most of an append's time.
    fn prefetch<S: Storage>(&self, ring: &Ring<S>) {
        let (block, place) = match (self.reserved, self.block) {
            (Some(fresh), _) => (fresh.block, 0),
            (None, Some(block)) => (block.block, u32::from(self.word.count)),
            (None, None) => return,
        };
        let layout = ring.row();
        let offset = ring.geometry().row_offset(layout, block, place);
        ring.storage()
            .prefetch(offset, (layout.stride + layout.linked_end).min(1536));
    }

    /// Writes and publishes a row for which [`Stream::reserve`] has just succeeded.
    pub fn commit<S: Storage>(&mut self, ring: &Ring<S>, row: &RowImage<'_>) {
        let continues = self.continues(row);
        let mut has_linked = continues;
        if !self.has_room(ring, row) {
            self.turn_page(ring, row);
            has_linked = false;
        } else if self.tail.is_pending && !continues {
            self.publish_final(ring);
        }
        let Some(BlockLink { block, .. }) = self.block else {
            return; // unreachable after `reserve`; publishing nothing is the safe answer
        };
        let place = u32::from(self.word.count);
        if !has_linked {
            self.write_linked(ring, block, place, row.linked);
        }
        let layout = ring.row();
        let offset = ring.geometry().row_offset(layout, block, place);
        ring.storage().write(offset + layout.linked_end, row.rest);
        store_mark(
            ring,
            block,
            place,
            Mark {
                checksum: self.seed.rest(place, row.rest),
                flags: Mark::ROW,
            },
        );
        self.write_linked(ring, block, place + 1, row.next);
        let closes_here = row.is_done && place + 1 < ring.geometry().block_rows;
        if closes_here {
            self.mark_final(ring, block, place + 1);
        }
        self.word.count += 1 + u16::from(closes_here);
        self.word.finals += u16::from(closes_here);
        ring.store_word(block, self.word);
        self.remember(ring, row, !closes_here);
    }

    fn remember<S: Storage>(&mut self, ring: &Ring<S>, row: &RowImage<'_>, is_pending: bool) {
        self.tail.is_pending = is_pending;
        self.tail.is_done = row.is_done;
        self.tail.episode_id = row.episode_id;
        if row.is_done {
            if u32::from(self.word.count) == ring.geometry().block_rows {
                self.leave(ring);
            }
        } else {
            self.tail.next.clear();
            self.tail.next.extend_from_slice(row.next);
        }
    }

    /// Goes on in the reserved block; links it if the row continues the episode.
    fn turn_page<S: Storage>(&mut self, ring: &Ring<S>, row: &RowImage<'_>) {
        let fresh = self.reserved.take();
        if let Some(old) = self.block {
            if self.continues(row) {
                if let Some(fresh) = fresh {
                    ring.link(old.block, fresh);
                }
            } else if self.tail.is_pending
                && u32::from(self.word.count) < ring.geometry().block_rows
            {
                self.publish_final(ring);
            }
            self.leave(ring);
        }
        if let Some(fresh) = fresh {
            self.enter(
                ring,
                fresh,
                BlockWord {
                    generation: fresh.generation,
                    owner: self.owner,
                    finals: 0,
                    count: 0,
                },
            );
        }
    }

    fn enter<S: Storage>(&mut self, ring: &Ring<S>, block: BlockLink, word: BlockWord) {
        self.block = Some(block);
        self.word = word;
        self.seed = ring.seed(block.block, block.generation);
    }

    fn leave<S: Storage>(&mut self, ring: &Ring<S>) {
        if let Some(block) = self.block.take() {
            ring.store_word(block.block, self.word.owned_by(0));
        }
        self.tail.is_pending = false;
    }

    fn mark_final<S: Storage>(&self, ring: &Ring<S>, block: u32, place: u32) {
        store_mark(
            ring,
            block,
            place,
            Mark {
                checksum: self.seed.rest(place, &[]),
                flags: Mark::FINAL,
            },
        );
    }

    fn publish_final<S: Storage>(&mut self, ring: &Ring<S>) {
        if let Some(BlockLink { block, .. }) = self.block {
            self.mark_final(ring, block, u32::from(self.word.count));
            self.word.count += 1;
            self.word.finals += 1;
            ring.store_word(block, self.word);
        }
        self.tail.is_pending = false;
    }

    fn write_linked<S: Storage>(&mut self, ring: &Ring<S>, block: u32, place: u32, linked: &[u8]) {
        let checksum = u64::from(self.seed.linked(place, linked));
        self.scratch.clear();
        self.scratch.extend_from_slice(&checksum.to_le_bytes());
        self.scratch.extend_from_slice(linked);
        let offset = ring.geometry().row_offset(ring.row(), block, place);
        ring.storage()
            .write(offset + LINKED_CHECKSUM, &self.scratch);
    }

    /// Gives the stream's blocks back; what is published stays. A later stream of the same number can go on there.
    pub fn release<S: Storage>(&mut self, ring: &Ring<S>) {
        self.leave(ring);
        if let Some(block) = self.reserved.take() {
            let word = BlockWord {
                generation: block.generation,
                owner: 0,
                finals: 0,
                count: 0,
            };
            ring.store_word(block.block, word);
        }
    }

    /// Goes on in a block that an earlier stream of this number left, so that an interrupted run fills the same places
    /// as an uninterrupted one. Leaves the block alone if it is taken meanwhile, full and closed, or damaged.
    pub fn adopt<S: Storage>(&mut self, ring: &Ring<S>, block: u32, seen: BlockWord) -> bool {
        let link = BlockLink {
            block,
            generation: seen.generation,
        };
        let rows = ring.geometry().block_rows;
        let Some(tail) = read_tail(ring, link, seen) else {
            return false;
        };
        // An empty block may already be linked from the block before: only that very run may fill it.
        if seen.count == 0 {
            return false;
        }
        let is_full = u32::from(seen.count) >= rows;
        if (is_full && (tail.is_done || !tail.is_pending)) || ring.successor(block).is_some() {
            return false;
        }
        if !ring.take(block, seen, self.owner) {
            return false;
        }
        self.enter(ring, link, seen.owned_by(self.owner));
        self.tail = tail;
        true
    }
}

fn store_mark<S: Storage>(ring: &Ring<S>, block: u32, place: u32, mark: Mark) {
    let offset = ring.geometry().row_offset(ring.row(), block, place);
    ring.storage()
        .data_word(offset)
        .store(mark.pack(), Ordering::Relaxed);
}

/// Finds out how a block that nobody writes ends; `None` if its bytes don't pass their checksum.
fn read_tail<S: Storage>(ring: &Ring<S>, link: BlockLink, word: BlockWord) -> Option<Tail> {
    let Some(last) = u32::from(word.count).checked_sub(1) else {
        return Some(Tail::default());
    };
    let mark = ring.mark(link.block, last)?;
    if !mark.is_row() {
        return Some(Tail::default());
    }
    let layout = ring.row();
    let offset = ring.geometry().row_offset(layout, link.block, last + 1);
    let mut next = vec![0; layout.linked_end - LINKED_CHECKSUM];
    ring.storage().read(offset + LINKED_CHECKSUM, &mut next);
    let values = next.split_off(FIELDS - LINKED_CHECKSUM);
    let stored = u64::from_le_bytes(next.try_into().ok()?);
    let expected = ring
        .seed(link.block, link.generation)
        .linked(last + 1, &values);
    (stored == u64::from(expected)).then(|| Tail {
        is_pending: true,
        is_done: ring.is_done(link.block, last, mark),
        episode_id: u64::from_ne_bytes(ring.read_number(link.block, last, layout.key.episode_id)),
        next: values,
    })
}
