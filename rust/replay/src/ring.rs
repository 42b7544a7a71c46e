//! The block ring: claiming, publishing, releasing. The protocol that the model checker runs.
//!
//! # Writing
//!
//! A claimant takes a ticket (fetch-add on the head), which names a block and the generation that the block would get.
//! It swaps itself in as the owner of the old generation, whose rows stay readable, settles the block's books, and then
//! stores the word of the new generation with count 0, followed by a release fence. Only then may it write rows. The
//! owner alone stores to the word from then on, so publishing a row is one plain release store of a higher count.
//!
//! A block with a living owner is skipped, never shared. So a writer that is stopped in mid-row, for however long,
//! finds its block untouched and can publish nothing into anybody else's.
//!
//! # Reading
//!
//! Load the word (acquire), require place < count, copy, acquire fence, load the word again, require the same
//! generation. If the copy saw a byte of a later generation, then the fences order that generation's word before the
//! second load, and the copy is thrown away.

use crate::checksum::BlockSeed;
use crate::error::{Error, Result};
use crate::layout::{
    ENTRY_BARRED, ENTRY_LEAST_STEP, ENTRY_LINK, ENTRY_STREAM, ENTRY_TOTAL, Geometry, HEAD,
    RowLayout,
};
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::{BlockLink, BlockWord, Mark};

/// Tells whether the process behind an owner number lives.
pub trait Liveness {
    /// Whether the owner's process lives (or is this one).
    fn is_alive(&self, owner: u16) -> bool;
}

/// The ring over some memory.
pub struct Ring<S> {
    storage: S,
    row: RowLayout,
    geometry: Geometry,
    schema_hash: u64,
}

/// The part of a block's books that counts rows.
pub const TOTAL_ROWS_MASK: u64 = (1 << 40) - 1;

/// The books of a block: rows of the generations before, with the low bits of the last one counted in.
fn pack_total(rows: u64, generation: u32) -> u64 {
    u64::from(generation & 0x00FF_FFFF) << 40 | (rows & TOTAL_ROWS_MASK)
}

impl<S: Storage> Ring<S> {
    /// A ring over memory of that geometry.
    pub fn new(storage: S, row: RowLayout, geometry: Geometry, schema_hash: u64) -> Self {
        Self {
            storage,
            row,
            geometry,
            schema_hash,
        }
    }

    /// The memory.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The layout of a row.
    pub fn row(&self) -> &RowLayout {
        &self.row
    }

    /// The geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Hash of the schema whose rows it holds.
    pub fn schema_hash(&self) -> u64 {
        self.schema_hash
    }

    /// Seed of the checksums of a block's generation.
    pub fn seed(&self, block: u32, generation: u32) -> BlockSeed {
        BlockSeed::new(self.schema_hash, block, generation)
    }

    /// A block's word, with counts that a damaged table can't push over the block's end.
    #[inline]
    pub fn word(&self, block: u32) -> BlockWord {
        let bits = self
            .storage
            .table(self.geometry.block_word(block))
            .load(Ordering::Acquire);
        let word = BlockWord::unpack(bits);
        BlockWord {
            count: word.count.min(self.geometry.block_rows as u16),
            ..word
        }
    }

    /// Whether a block still is in that generation, after a copy: the second half of reading.
    #[inline]
    pub fn is_still(&self, link: BlockLink) -> bool {
        let bits = self
            .storage
            .table(self.geometry.block_word(link.block))
            .load(Ordering::Relaxed);
        BlockWord::unpack(bits).generation == link.generation
    }

    /// Claims so far, skipped blocks counted.
    pub fn head(&self) -> u64 {
        self.storage.table(HEAD).load(Ordering::Acquire)
    }

    /// Blocks that have been claimed at least once, or are just being claimed.
    pub fn claimed_blocks(&self) -> u32 {
        let head = self.storage.table(HEAD).load(Ordering::Acquire);
        head.min(u64::from(self.geometry.blocks)) as u32
    }

    /// Stores a word that the caller owns.
    pub fn store_word(&self, block: u32, word: BlockWord) {
        self.storage
            .table(self.geometry.block_word(block))
            .store(word.pack(), Ordering::Release);
    }

    /// Swaps the owner of a block if its word is as expected.
    pub fn take(&self, block: u32, expected: BlockWord, owner: u16) -> bool {
        self.storage
            .table(self.geometry.block_word(block))
            .compare_exchange(
                expected.pack(),
                expected.owned_by(owner).pack(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Claims the next block that no living process owns, for a stream of `owner`.
    ///
    /// # Errors
    ///
    /// [`Error::MoreStreamsThanBlocks`] after two turns without a free block, [`Error::Exhausted`].
    pub fn claim(&self, owner: u16, stream: u32, liveness: &impl Liveness) -> Result<BlockLink> {
        let blocks = u64::from(self.geometry.blocks);
        for _ in 0..2 * blocks {
            let ticket = self.storage.table(HEAD).fetch_add(1, Ordering::Relaxed);
            let block = (ticket % blocks) as u32;
            let generation = u32::try_from(ticket / blocks + 1).map_err(|_| Error::Exhausted)?;
            let word = BlockWord::unpack(
                self.storage
                    .table(self.geometry.block_word(block))
                    .load(Ordering::Acquire),
            );
            let is_owned =
                word.owner == owner || (word.owner != 0 && liveness.is_alive(word.owner));
            if is_owned || word.generation >= generation || !self.take(block, word, owner) {
                continue;
            }
            self.settle(block, word);
            for word in [ENTRY_LINK, ENTRY_LEAST_STEP, ENTRY_BARRED] {
                self.entry(block, word).store(0, Ordering::Relaxed);
            }
            self.entry(block, ENTRY_STREAM)
                .store(u64::from(stream), Ordering::Relaxed);
            let fresh = BlockWord {
                generation,
                owner,
                finals: 0,
                count: 0,
            };
            self.storage
                .table(self.geometry.block_word(block))
                .store(fresh.pack(), Ordering::Release);
            fence(Ordering::Release);
            return Ok(BlockLink { block, generation });
        }
        Err(Error::MoreStreamsThanBlocks { blocks })
    }

    /// Adds the rows of the old generation to the block's books, once, however often a claimant is killed here.
    fn settle(&self, block: u32, word: BlockWord) {
        let total = self.rows_until(block, word);
        self.entry(block, ENTRY_TOTAL)
            .store(pack_total(total, word.generation), Ordering::Relaxed);
    }

    /// Rows that a block has ever held, up to and including a generation's.
    fn rows_until(&self, block: u32, word: BlockWord) -> u64 {
        let books = self.entry(block, ENTRY_TOTAL).load(Ordering::Relaxed);
        let is_settled = books >> 40 == u64::from(word.generation & 0x00FF_FFFF);
        (books & TOTAL_ROWS_MASK) + if is_settled { 0 } else { word.rows() }
    }

    /// A word of a block's entry.
    #[inline]
    pub fn entry(&self, block: u32, word: usize) -> &crate::sync::AtomicU64 {
        self.storage.table(self.geometry.entry(block, word))
    }

    /// Notes that one more row of a block is quarantined.
    pub fn count_barred(&self, block: u32) {
        self.entry(block, ENTRY_BARRED)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// No row of the block has a lower `step_id`.
    pub fn least_step(&self, block: u32) -> u64 {
        self.entry(block, ENTRY_LEAST_STEP).load(Ordering::Relaxed)
    }

    /// Index of a row's place among all places.
    pub fn row_index(&self, block: u32, place: u32) -> u64 {
        u64::from(block) * u64::from(self.geometry.block_rows) + u64::from(place)
    }

    /// Notes that the stream of an owned block went on in another one.
    pub fn link(&self, from: u32, to: BlockLink) {
        self.entry(from, ENTRY_LINK)
            .store(to.pack(), Ordering::Release);
    }

    /// Where the stream of a block went on; checked against the ring's bounds only.
    pub fn successor(&self, block: u32) -> Option<BlockLink> {
        let bits = self.entry(block, ENTRY_LINK).load(Ordering::Acquire);
        BlockLink::unpack(bits).filter(|link| link.block < self.geometry.blocks)
    }

    /// The number of the stream that claimed a block.
    pub fn stream_of(&self, block: u32) -> u64 {
        self.entry(block, ENTRY_STREAM).load(Ordering::Relaxed)
    }

    /// Rows stored, quarantined ones included. Approximate while others write.
    pub fn stored_rows(&self) -> u64 {
        (0..self.claimed_blocks())
            .map(|block| self.word(block).rows())
            .sum()
    }

    /// Places in use: rows, and the last observations of episodes.
    pub fn stored_places(&self) -> u64 {
        (0..self.claimed_blocks())
            .map(|block| u64::from(self.word(block).count))
            .sum()
    }

    /// Rows stored and not quarantined. Approximate while others write.
    pub fn size(&self) -> u64 {
        let rows_of = |block| {
            let barred = self.entry(block, ENTRY_BARRED).load(Ordering::Relaxed);
            self.word(block).rows().saturating_sub(barred)
        };
        (0..self.claimed_blocks()).map(rows_of).sum()
    }

    /// Rows ever acknowledged. Approximate while others write, but never counts a row twice.
    pub fn total_appended(&self) -> u64 {
        (0..self.claimed_blocks())
            .map(|block| self.total_of(block))
            .sum()
    }

    fn total_of(&self, block: u32) -> u64 {
        loop {
            let word = self.word(block);
            let rows = self.rows_until(block, word);
            fence(Ordering::Acquire);
            if self.word(block).generation == word.generation {
                return rows;
            }
        }
    }

    /// The mark of a place, if it is a sound one.
    #[inline]
    pub fn mark(&self, block: u32, place: u32) -> Option<Mark> {
        let offset = self.geometry.row_offset(&self.row, block, place);
        Mark::unpack(self.storage.data_word(offset).load(Ordering::Relaxed))
    }

    /// Whether the row at a place, of a block whose word was seen to count it, is no more than its fields: no flags, and
    /// nothing that keeps it from being sampled. `start` is the place's offset.
    #[inline]
    pub fn is_plain(&self, block: u32, place: u32, start: usize) -> bool {
        let flags = (self.storage.data_word(start).load(Ordering::Relaxed) >> 32) as u32;
        let has_weight = |offset| f32::from_ne_bytes(self.read_number(block, place, offset)) != 0.0;
        (flags == Mark::flag_bits(Mark::ROW) || flags == Mark::flag_bits(Mark::ROW | Mark::START))
            && self.row.key.weight.is_none_or(has_weight)
            && !self.is_barred_by_field(block, place)
    }

    /// Sets flags in the mark of a published row, unless the place changed meanwhile.
    pub fn add_flags(&self, block: u32, place: u32, seen: Mark, flags: u16) -> bool {
        let offset = self.geometry.row_offset(&self.row, block, place);
        let marked = Mark {
            flags: seen.flags | flags,
            ..seen
        };
        self.storage
            .data_word(offset)
            .compare_exchange(
                seen.pack(),
                marked.pack(),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Reads a number from a row.
    #[inline]
    pub fn read_number<const N: usize>(&self, block: u32, place: u32, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.storage.read(
            self.geometry.row_offset(&self.row, block, place) + offset,
            &mut bytes,
        );
        bytes
    }

    /// Whether a row was appended as a quarantined one.
    pub fn is_barred_by_field(&self, block: u32, place: u32) -> bool {
        let offset = self.row.key.quarantined;
        offset.is_some_and(|offset| self.read_number::<1>(block, place, offset) != [0])
    }

    /// Whether a published row ended its episode, by its fields or by recovery.
    pub fn is_done(&self, block: u32, place: u32, mark: Mark) -> bool {
        mark.has(Mark::CUT)
            || self.read_number::<1>(block, place, self.row.key.terminated) != [0]
            || self.read_number::<1>(block, place, self.row.key.truncated) != [0]
    }
}
