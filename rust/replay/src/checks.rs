//! What a place holds, by its checksums; the check of every row, and what a power cut left.

use crate::layout::{ENTRY_BARRED, ENTRY_LEAST_STEP, ENTRY_TOTAL, FIELDS, HEAD, LINKED_CHECKSUM};
use crate::ring::{Ring, TOTAL_ROWS_MASK};
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

/// Whether a published row passes its checksums; what is wrong otherwise.
///
/// # Errors
///
/// The reason.
pub fn check_place<S: Storage>(
    ring: &Ring<S>,
    link: BlockLink,
    place: u32,
    scratch: &mut Vec<u8>,
) -> std::result::Result<(), &'static str> {
    match inspect(ring, link, place, scratch) {
        Place::Bad(reason) => Err(reason),
        Place::Row | Place::Final => Ok(()),
    }
}

/// The table as the last flush saw it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Each block's word and its books.
    pub blocks: Vec<(u64, u64)>,
}

/// After a power cut: keeps of each block the rows that pass their checksums, up to the first that doesn't.
///
/// The live table may be older or newer than the rows, page by page, and the page under way may be torn; the snapshot
/// of the last flush is whole. A block's rows are looked for as the live word says, then as the snapshot says. What lies
/// behind the rows kept is wiped out: a later use of the block under the same generation could otherwise, after another
/// power cut, be mixed with it.
///
/// The caller holds the maintenance lock, no other process writes, and everything is synced before the first append.
pub fn rebuild<S: Storage>(ring: &Ring<S>, snapshot: Option<&Snapshot>) {
    let blocks = ring.geometry().blocks;
    let mut head = 0;
    let mut scratch = Vec::new();
    for block in 0..blocks {
        let flushed = snapshot
            .and_then(|snapshot| snapshot.blocks.get(block as usize))
            .copied()
            .unwrap_or_default();
        let kept = keep(ring, block, BlockWord::unpack(flushed.0), &mut scratch);
        wipe_behind(ring, block, u32::from(kept.count));
        settle_books(ring, block, kept.generation, flushed.1);
        // A word without a sound row says nothing: its generation may be a torn number.
        if kept.count > 0 {
            let ticket = u64::from(kept.generation - 1) * u64::from(blocks) + u64::from(block);
            head = head.max(ticket + 1);
        }
        ring.store_word(block, kept);
    }
    // Places that look unclaimed must stay below the head, or sampling would never reach the claimed ones above.
    ring.storage().table(HEAD).store(head, Ordering::Release);
}

/// The word of the rows that a block still holds.
fn keep<S: Storage>(
    ring: &Ring<S>,
    block: u32,
    flushed: BlockWord,
    scratch: &mut Vec<u8>,
) -> BlockWord {
    let live = ring.word(block);
    let most = ring.geometry().block_rows as u16;
    let flushed_count = flushed.count.min(most);
    if live.generation == flushed.generation {
        return scan(
            ring,
            block,
            live.generation,
            live.count.max(flushed_count),
            scratch,
        );
    }
    let kept = scan(ring, block, live.generation, live.count, scratch);
    if kept.count > 0 {
        return kept;
    }
    scan(ring, block, flushed.generation, flushed_count, scratch)
}

/// Counts the sound places at a block's start, and notes their least step and how many are quarantined.
fn scan<S: Storage>(
    ring: &Ring<S>,
    block: u32,
    generation: u32,
    count: u16,
    scratch: &mut Vec<u8>,
) -> BlockWord {
    let mut kept = BlockWord::default();
    if generation == 0 {
        return kept;
    }
    let link = BlockLink { block, generation };
    let (mut least_step, mut barred) = (u64::MAX, 0);
    for place in 0..u32::from(count) {
        match inspect(ring, link, place, scratch) {
            Place::Row => {
                let step = ring.read_number(block, place, ring.row().key.step_id);
                least_step = least_step.min(u64::from_ne_bytes(step));
                let mark = ring.mark(block, place);
                let is_barred = mark.is_some_and(|mark| mark.has(Mark::QUARANTINED))
                    || ring.is_barred_by_field(block, place);
                barred += u64::from(is_barred);
            }
            Place::Final => kept.finals += 1,
            Place::Bad(_) => break,
        }
        kept.count += 1;
    }
    if kept.count == 0 {
        return BlockWord::default();
    }
    kept.generation = generation;
    let least_step = if least_step == u64::MAX {
        0
    } else {
        least_step
    };
    let entry = |word, value| ring.entry(block, word).store(value, Ordering::Relaxed);
    entry(ENTRY_LEAST_STEP, least_step);
    entry(ENTRY_BARRED, barred);
    kept
}

/// Makes every unpublished place of a block fail its checks.
fn wipe_behind<S: Storage>(ring: &Ring<S>, block: u32, count: u32) {
    let layout = ring.row();
    for place in count..=ring.geometry().block_rows {
        let offset = ring.geometry().row_offset(layout, block, place);
        let wipe = |offset: usize| {
            let word = ring.storage().data_word(offset);
            // Untouched places are zero already; writing them would dirty their pages for nothing.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        };
        wipe(offset);
        // The linked fields at the count are the next values of the last row kept.
        if place > count || count == 0 {
            wipe(offset + LINKED_CHECKSUM);
        }
    }
}

/// Keeps a block's books if they can be right: no generation holds more rows than a block.
fn settle_books<S: Storage>(ring: &Ring<S>, block: u32, generation: u32, flushed: u64) {
    let most = u64::from(generation) * u64::from(ring.geometry().block_rows);
    let books = ring.entry(block, ENTRY_TOTAL);
    let is_sound = |books: u64| books & TOTAL_ROWS_MASK <= most;
    if !is_sound(books.load(Ordering::Relaxed)) {
        let replacement = if is_sound(flushed) { flushed } else { 0 };
        books.store(replacement, Ordering::Relaxed);
    }
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
