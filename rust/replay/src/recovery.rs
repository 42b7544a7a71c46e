//! Finding and mending what a dead process or machine left: checks, open episodes, quarantine.

use crate::buffer::Buffer;
use crate::error::Result;
use crate::layout::{FIELDS, HEAD, LINKED_CHECKSUM};
use crate::locks::ProcessLock;
use crate::ring::{Liveness, Ring};
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::{BlockLink, BlockWord, Mark};

/// Bad rows that a report lists; more are only counted.
const MAX_LISTED: usize = 1000;

/// A row that fails its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Block.
    pub block: u32,
    /// Place in the block.
    pub place: u32,
    /// What is wrong.
    pub reason: &'static str,
}

/// The result of a check of every published row.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows whose checksums were computed.
    pub rows_checked: u64,
    /// Rows that failed.
    pub bad_count: u64,
    /// The first of them.
    pub bad_rows: Vec<BadRow>,
}

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
pub fn give_back<S: Storage>(ring: &Ring<S>, owner: u16) {
    for block in 0..ring.geometry().blocks {
        let word = ring.word(block);
        if word.owner == owner {
            ring.take(block, word, 0);
        }
    }
}

/// What a place holds, by its checksums.
enum Place {
    Row,
    Final,
    Bad(&'static str),
}

fn linked_is_sound<S: Storage>(
    ring: &Ring<S>,
    link: BlockLink,
    place: u32,
    scratch: &mut Vec<u8>,
) -> bool {
    let layout = ring.row();
    scratch.resize(layout.linked_end - LINKED_CHECKSUM, 0);
    let offset = ring.geometry().row_offset(layout, link.block, place);
    ring.storage().read(offset + LINKED_CHECKSUM, scratch);
    let (stored, values) = scratch.split_at(FIELDS - LINKED_CHECKSUM);
    stored == u64::from(ring.seed(link.block, link.generation).linked(place, values)).to_le_bytes()
}

fn inspect<S: Storage>(
    ring: &Ring<S>,
    link: BlockLink,
    place: u32,
    scratch: &mut Vec<u8>,
) -> Place {
    let Some(mark) = ring.mark(link.block, place) else {
        return Place::Bad("its mark is torn");
    };
    if !linked_is_sound(ring, link, place, scratch) {
        return Place::Bad("its linked fields fail their checksum");
    }
    let seed = ring.seed(link.block, link.generation);
    if mark.has(Mark::FINAL) {
        let is_sound = mark.checksum == seed.rest(place, &[]);
        return if is_sound {
            Place::Final
        } else {
            Place::Bad("its mark fails the checksum")
        };
    }
    let layout = ring.row();
    scratch.resize(layout.end - layout.linked_end, 0);
    ring.storage().read(
        ring.geometry().row_offset(layout, link.block, place) + layout.linked_end,
        scratch,
    );
    if !mark.is_row() || mark.checksum != seed.rest(place, scratch) {
        return Place::Bad("its fields fail their checksum");
    }
    if linked_is_sound(ring, link, place + 1, scratch) {
        Place::Row
    } else {
        Place::Bad("its next values fail their checksum")
    }
}

/// After a power cut: keeps of each block the rows that pass their checksums, up to the first that doesn't.
///
/// The caller holds the maintenance lock, and no other process writes.
pub fn rebuild<S: Storage>(ring: &Ring<S>) {
    let blocks = ring.geometry().blocks;
    let mut head = 0;
    let mut scratch = Vec::new();
    for block in 0..blocks {
        let seen = ring.word(block);
        let mut kept = BlockWord {
            owner: 0,
            finals: 0,
            count: 0,
            ..seen
        };
        let link = BlockLink {
            block,
            generation: seen.generation,
        };
        for place in 0..u32::from(seen.count) {
            match inspect(ring, link, place, &mut scratch) {
                Place::Row => kept.count += 1,
                Place::Final => {
                    kept.count += 1;
                    kept.finals += 1;
                }
                Place::Bad(_) => break,
            }
        }
        // A word without a sound row says nothing: its generation may be a torn number.
        if kept.count == 0 || seen.generation == 0 {
            kept = BlockWord::default();
        } else {
            let ticket = u64::from(kept.generation - 1) * u64::from(blocks) + u64::from(block);
            head = head.max(ticket + 1);
        }
        ring.store_word(block, kept);
    }
    // Places that look unclaimed must stay below the head, or sampling would never reach the claimed ones above.
    ring.storage().table(HEAD).store(head, Ordering::Release);
}

/// Checks the checksums of every published row. Rows evicted meanwhile are left out.
pub fn verify<S: Storage>(ring: &Ring<S>) -> Report {
    let mut report = Report::default();
    let mut scratch = Vec::new();
    for block in 0..ring.claimed_blocks() {
        let word = ring.word(block);
        let link = BlockLink {
            block,
            generation: word.generation,
        };
        for place in 0..u32::from(word.count) {
            let found = inspect(ring, link, place, &mut scratch);
            fence(Ordering::Acquire);
            if !ring.is_still(link) {
                break;
            }
            report.rows_checked += u64::from(!matches!(found, Place::Final));
            if let Place::Bad(reason) = found {
                report.bad_count += 1;
                if report.bad_rows.len() < MAX_LISTED {
                    report.bad_rows.push(BadRow {
                        block,
                        place,
                        reason,
                    });
                }
            }
        }
    }
    report
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
        self.writing_lock()?;
        let mut count = 0;
        self.for_each_row(|block, place, mark| {
            let ring = self.ring();
            let step_id =
                u64::from_ne_bytes(ring.read_number(block, place, ring.row().key.step_id));
            let is_chosen = (first_step_id..=last_step_id).contains(&step_id);
            if is_chosen && ring.add_flags(block, place, mark, Mark::QUARANTINED) {
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
