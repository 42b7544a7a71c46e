//! What a dead process left: its blocks, open episodes; and barring rows that turned out to be bad.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::buffer::Buffer;
use crate::checks::{Report, verify};
use crate::error::Result;
use crate::layout::HEADERS_BYTES;
use crate::locks::ProcessLock;
use crate::ring::{Liveness, Ring};
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::{BlockLink, BlockWord, Mark};

/// An episode whose last row is neither terminated nor truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenEpisode {
    /// The episode.
    pub episode_id: u64,
    /// `step_id` of its last row.
    pub step_id: u64,
    block: u32,
    place: u32,
}

/// Gives back the blocks that an earlier process with this owner number left.
///
/// The words are read through the file: touching them in the mapping would make a large table resident.
///
/// # Errors
///
/// The system's error.
pub fn give_back<S: Storage>(ring: &Ring<S>, table: &File, owner: u16) -> io::Result<()> {
    const CHUNK_WORDS: u32 = 4096;
    let blocks = ring.geometry().blocks;
    let mut bytes = vec![0; 8 * CHUNK_WORDS as usize];
    for first in (0..blocks).step_by(CHUNK_WORDS as usize) {
        let words = CHUNK_WORDS.min(blocks - first);
        let chunk = &mut bytes[..8 * words as usize];
        let start = HEADERS_BYTES + 8 * ring.geometry().block_word(first);
        table.read_exact_at(chunk, start as u64)?;
        for (block, word) in (first..).zip(chunk.as_chunks::<8>().0) {
            let seen = BlockWord::unpack(u64::from_ne_bytes(*word));
            if seen.owner == owner {
                ring.take(block, seen, 0);
            }
        }
    }
    Ok(())
}

/// The open end of a block, if its stream's last row is there and didn't end its episode.
fn open_end<S: Storage>(ring: &Ring<S>, block: u32) -> Option<OpenEpisode> {
    let word = ring.word(block);
    let place = u32::from(word.count).checked_sub(1)?;
    let mark = ring.mark(block, place).filter(|mark| mark.is_row())?;
    let went_on = ring.successor(block).is_some_and(|link| {
        let next = ring.word(link.block);
        // A successor of a later generation was evicted since: the episode isn't open, its rest is gone.
        next.generation != link.generation || next.count > 0
    });
    if went_on || ring.is_done(block, place, mark) {
        return None;
    }
    let key = &ring.row().key;
    let episode = OpenEpisode {
        episode_id: u64::from_ne_bytes(ring.read_number(block, place, key.episode_id)),
        step_id: u64::from_ne_bytes(ring.read_number(block, place, key.step_id)),
        block,
        place,
    };
    fence(Ordering::Acquire);
    ring.is_still(BlockLink {
        block,
        generation: word.generation,
    })
    .then_some(episode)
}

impl Buffer {
    /// Checks every published row.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`].
    pub fn verify(&self) -> Result<Report> {
        self.check()?;
        Ok(verify(self.ring()))
    }

    /// Episodes whose last row is neither terminated nor truncated, ordered by that row's `step_id`.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`].
    pub fn open_episodes(&self) -> Result<Vec<OpenEpisode>> {
        self.check()?;
        let ring = self.ring();
        let mut found: Vec<_> = (0..ring.claimed_blocks())
            .filter_map(|block| open_end(ring, block))
            .collect();
        found.sort_by_key(|episode| (episode.step_id, episode.episode_id));
        Ok(found)
    }

    /// Marks the last row of every open episode as truncated where no living process writes; returns how many.
    ///
    /// A kill in between leaves each episode either open or closed: the mark is one atomic word.
    ///
    /// # Errors
    ///
    /// As [`Buffer::writing_lock`].
    pub fn close_open_episodes(&self) -> Result<u64> {
        let lock = self.writing_lock()?;
        let closed = self
            .open_episodes()?
            .into_iter()
            .filter(|episode| close_episode(self.ring(), lock, *episode));
        Ok(closed.count() as u64)
    }

    /// The highest `step_id` of an acknowledged row.
    ///
    /// # Errors
    ///
    /// As [`Buffer::check`].
    pub fn last_step_id(&self) -> Result<Option<u64>> {
        self.check()?;
        let mut highest = None;
        self.for_each_row(|block, place, _| {
            let ring = self.ring();
            let step_id =
                u64::from_ne_bytes(ring.read_number(block, place, ring.row().key.step_id));
            highest = highest.max(Some(step_id));
        });
        Ok(highest)
    }

    /// Bars the rows of a range of `step_id`s (both ends included) from sampling; returns how many there are.
    ///
    /// # Errors
    ///
    /// As [`Buffer::writing_lock`].
    pub fn quarantine(&self, first_step_id: u64, last_step_id: u64) -> Result<u64> {
        self.quarantine_where(|step_id| (first_step_id..=last_step_id).contains(&step_id))
    }

    /// As [`Buffer::quarantine`], for the rows whose `step_id` is chosen.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn quarantine_where(&self, is_chosen: impl Fn(u64) -> bool) -> Result<u64> {
        self.writing_lock()?;
        let mut count = 0;
        self.for_each_row(|block, place, mark| {
            let ring = self.ring();
            let step_id = ring.read_number(block, place, ring.row().key.step_id);
            if is_chosen(u64::from_ne_bytes(step_id))
                && ring.add_flags(block, place, mark, Mark::QUARANTINED)
            {
                count += 1;
                if !mark.has(Mark::QUARANTINED) && !ring.is_barred_by_field(block, place) {
                    ring.count_barred(block);
                }
            }
        });
        Ok(count)
    }

    fn for_each_row(&self, mut visit: impl FnMut(u32, u32, Mark)) {
        let ring = self.ring();
        for block in 0..ring.claimed_blocks() {
            for place in 0..u32::from(ring.word(block).count) {
                if let Some(mark) = ring.mark(block, place).filter(|mark| mark.is_row()) {
                    visit(block, place, mark);
                }
            }
        }
    }
}

/// Takes the episode's block, marks the row, gives the block back.
fn close_episode<S: Storage>(ring: &Ring<S>, lock: &ProcessLock, episode: OpenEpisode) -> bool {
    let word = ring.word(episode.block);
    let is_living = word.owner != 0 && lock.is_alive(word.owner);
    if is_living
        || u32::from(word.count) != episode.place + 1
        || !ring.take(episode.block, word, lock.owner())
    {
        return false;
    }
    let mark = ring.mark(episode.block, episode.place);
    let is_marked =
        mark.is_some_and(|mark| ring.add_flags(episode.block, episode.place, mark, Mark::CUT));
    ring.store_word(episode.block, word.owned_by(0));
    is_marked
}
