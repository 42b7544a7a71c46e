//! One environment's sequence of rows.
//!
//! A stream owns one block at a time. Row i's next values are the linked fields of place i + 1: `commit` writes them
//! there before it publishes row i, and the next row of the episode finds them in place. When that next row turns out
//! to be something else (a new episode, a gap), place i + 1 is published as a *final*: values without a row.

use crate::checksum::BlockSeed;
use crate::error::{Error, Result};
use crate::layout::{ENTRY_LEAST_STEP, FIELDS, LINKED_CHECKSUM, RowLayout};
use crate::ring::{Liveness, Ring};
use crate::staging::{RowFacts, RowSource, Staging};
use crate::storage::Storage;
use crate::sync::Ordering;
use crate::tail::{Tail, read_tail};
use crate::word::{BlockLink, BlockWord, Mark};

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

/// The writing end of one stream.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    owner: u16,
    block: Option<BlockLink>,
    reserved: Option<BlockLink>,
    word: BlockWord,
    seed: BlockSeed,
    least_step: u64,
    /// What `reserve` decided where the decision tells how many places the row needs.
    is_continuing: Option<bool>,
    tail: Tail,
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
            least_step: u64::MAX,
            is_continuing: None,
            tail: Tail::default(),
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
    fn continues(&self, layout: &RowLayout, row: &impl RowSource, facts: RowFacts) -> bool {
        let tail = &self.tail;
        tail.is_pending
            && !tail.is_done
            && tail.episode_id == facts.episode_id
            && row.linked_is(layout, &tail.next)
    }

    /// Whether the row fits into the block, behind a final if it doesn't continue the episode.
    fn has_room(&self, block_rows: u32, is_continuing: bool) -> bool {
        let finals = u32::from(self.tail.is_pending && !is_continuing);
        self.block.is_some() && u32::from(self.word.count) + finals < block_rows
    }

    #[inline]
    fn check_owned<S: Storage>(&mut self, ring: &Ring<S>, block: u32) -> Result<()> {
        if ring.word(block) == self.word {
            return Ok(());
        }
        self.block = None;
        self.tail = Tail::default();
        Err(Error::LostBlock { block })
    }

    /// Makes sure that [`Stream::commit`] finds a place for the row. Publishes nothing.
    ///
    /// # Errors
    ///
    /// As [`Ring::claim`]; [`Error::LostBlock`] if another process took the block.
    #[inline]
    pub fn reserve<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        row: &impl RowSource,
        staging: &mut Staging,
        liveness: &impl Liveness,
    ) -> Result<()> {
        self.is_continuing = None;
        if let Some(block) = self.block {
            self.check_owned(ring, block.block)?;
            // Room for a final and a row: whether the episode continues needn't be known yet.
            if u32::from(self.word.count) + 1 < ring.geometry().block_rows {
                return Ok(());
            }
        }
        self.reserve_at_end(ring, row, staging, liveness)
    }

    #[cold]
    fn reserve_at_end<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        row: &impl RowSource,
        staging: &mut Staging,
        liveness: &impl Liveness,
    ) -> Result<()> {
        let layout = ring.row();
        row.copy_rest(layout, &mut staging.rest);
        let is_continuing = self.continues(layout, row, RowFacts::read(layout, &staging.rest));
        self.is_continuing = Some(is_continuing);
        if self.reserved.is_none() && !self.has_room(ring.geometry().block_rows, is_continuing) {
            self.reserved = Some(ring.claim(self.owner, self.id, liveness)?);
        }
        Ok(())
    }

    /// Fetches the lines that `commit` will write: the rows of many streams lie far apart, and waiting for them one
    /// after another is most of an append's time.
    #[inline]
    pub fn prefetch<S: Storage>(&self, ring: &Ring<S>) {
        let (block, place) = match (self.reserved, self.block) {
            (Some(fresh), _) => (fresh.block, 0),
            (None, Some(block)) => (block.block, u32::from(self.word.count)),
            (None, None) => return,
        };
        let layout = ring.row();
        let offset = ring.geometry().row_offset(layout, block, place);
        // The mark, then everything from the unlinked fields to the end of the next row's linked ones.
        ring.storage().prefetch(offset, 8);
        ring.storage()
            .prefetch(offset + layout.linked_end, layout.stride.min(1536));
    }

    /// Writes and publishes a row for which [`Stream::reserve`] has just succeeded.
    #[inline]
    pub fn commit<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        row: &impl RowSource,
        staging: &mut Staging,
    ) {
        let layout = ring.row();
        let block_rows = ring.geometry().block_rows;
        row.copy_rest(layout, &mut staging.rest);
        let facts = RowFacts::read(layout, &staging.rest);
        let decided = self.is_continuing.take();
        let is_continuing = decided.unwrap_or_else(|| self.continues(layout, row, facts));
        let mut has_linked = is_continuing;
        if !self.has_room(block_rows, is_continuing) {
            self.turn_page(ring, is_continuing);
            has_linked = false;
        } else if self.tail.is_pending && !is_continuing {
            self.publish_final(ring);
        }
        let Some(BlockLink { block, .. }) = self.block else {
            return; // unreachable after `reserve`; publishing nothing is the safe answer
        };
        let place = u32::from(self.word.count);
        if !has_linked {
            row.copy_linked(layout, &mut staging.linked);
            write_linked(ring, self.seed, block, place, &staging.linked);
        }
        let offset = ring.geometry().row_offset(layout, block, place);
        ring.storage()
            .write(offset + layout.linked_end, &staging.rest);
        let checksum = self.seed.rest(place, &staging.rest);
        // A row behind a gap within its episode is a chain's first, not the episode's.
        let tail = &self.tail;
        let is_gap = tail.is_known && !tail.is_done && tail.episode_id == facts.episode_id;
        let flags = Mark::ROW
            | if is_continuing || is_gap {
                0
            } else {
                Mark::START
            };
        store_mark(ring, block, place, Mark { checksum, flags });
        self.tail.next.resize(layout.linked_end - FIELDS, 0);
        row.copy_next(layout, &mut self.tail.next);
        write_linked(ring, self.seed, block, place + 1, &self.tail.next);
        self.publish(ring, block, facts);
    }

    /// Counts the row that was just written, and a final behind it where the episode ends in mid-block.
    #[inline]
    fn publish<S: Storage>(&mut self, ring: &Ring<S>, block: u32, facts: RowFacts) {
        let place = u32::from(self.word.count);
        let closes_here = facts.is_done && place + 1 < ring.geometry().block_rows;
        if closes_here {
            self.mark_final(ring, block, place + 1);
        }
        if facts.step_id < self.least_step {
            self.least_step = facts.step_id;
            ring.entry(block, ENTRY_LEAST_STEP)
                .store(facts.step_id, Ordering::Relaxed);
        }
        if facts.is_barred {
            ring.count_barred(block);
        }
        self.word.count += 1 + u16::from(closes_here);
        self.word.finals += u16::from(closes_here);
        ring.store_word(block, self.word);
        self.tail.is_known = true;
        self.tail.is_pending = !closes_here;
        self.tail.is_done = facts.is_done;
        self.tail.episode_id = facts.episode_id;
        if facts.is_done && u32::from(self.word.count) == ring.geometry().block_rows {
            self.leave(ring);
        }
    }

    /// Goes on in the reserved block; links it if the row continues the episode.
    #[cold]
    fn turn_page<S: Storage>(&mut self, ring: &Ring<S>, is_continuing: bool) {
        let fresh = self.reserved.take();
        if let Some(old) = self.block {
            if is_continuing {
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
            self.least_step = u64::MAX;
        }
    }

    fn enter<S: Storage>(&mut self, ring: &Ring<S>, block: BlockLink, word: BlockWord) {
        self.block = Some(block);
        self.word = word;
        self.seed = ring.seed(block.block, block.generation);
        self.least_step = ring
            .entry(block.block, ENTRY_LEAST_STEP)
            .load(Ordering::Relaxed);
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

    /// Marks the last row as truncated, if its episode is still open; whether it was.
    ///
    /// For an episode whose end came without a row. A kill in between leaves it open or ended: the mark is one word.
    ///
    /// # Errors
    ///
    /// [`Error::LostBlock`] if another process took the block.
    pub fn end_episode<S: Storage>(&mut self, ring: &Ring<S>) -> Result<bool> {
        let Some(BlockLink { block, .. }) = self.block else {
            return Ok(false);
        };
        self.check_owned(ring, block)?;
        if !self.tail.is_pending || self.tail.is_done {
            return Ok(false);
        }
        let last = u32::from(self.word.count) - 1;
        // Another process may quarantine the row in between: then this one tries again.
        while let Some(mark) = ring.mark(block, last)
            && !ring.add_flags(block, last, mark, Mark::CUT)
        {}
        self.tail.is_done = true;
        let block_rows = ring.geometry().block_rows;
        if u32::from(self.word.count) < block_rows {
            self.publish_final(ring);
        }
        if u32::from(self.word.count) == block_rows {
            self.leave(ring);
        }
        Ok(true)
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

/// Writes a place's linked fields and their checksum.
#[inline]
fn write_linked<S: Storage>(
    ring: &Ring<S>,
    seed: BlockSeed,
    block: u32,
    place: u32,
    linked: &[u8],
) {
    let offset = ring.geometry().row_offset(ring.row(), block, place);
    ring.storage().write(offset + FIELDS, linked);
    ring.storage()
        .data_word(offset + LINKED_CHECKSUM)
        .store(u64::from(seed.linked(place, linked)), Ordering::Relaxed);
}

#[inline]
fn store_mark<S: Storage>(ring: &Ring<S>, block: u32, place: u32, mark: Mark) {
    let offset = ring.geometry().row_offset(ring.row(), block, place);
    ring.storage()
        .data_word(offset)
        .store(mark.pack(), Ordering::Relaxed);
}
