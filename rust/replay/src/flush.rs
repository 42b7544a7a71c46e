//! Flushing: what was acknowledged before it survives a power cut after it.
//!
//! The order makes it so. First the table is copied to private memory: all that the copy counts was written before.
//! Then rows and table go to the disk. Only then is the copy written beside the older header, synced, and named by that
//! header with its checksum. Whatever is torn in between, the newer header still names a whole copy, and every row that
//! the copy counts is on the disk.

use std::io;
use std::path::Path;

use crc32c::crc32c;

use crate::checks::Snapshot;
use crate::header::{COPY_BYTES, Header};
use crate::layout::{ENTRY_TOTAL, HEADERS_BYTES, SNAPSHOT_WORDS};
use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::Ordering;

/// What makes bytes durable.
pub trait Disk {
    /// Writes all rows to the disk and waits.
    ///
    /// # Errors
    ///
    /// The system's error.
    fn sync_rows(&self) -> io::Result<()>;

    /// Writes a range of the table file to the disk and waits.
    ///
    /// # Errors
    ///
    /// The system's error.
    fn sync_table(&self, offset: usize, size_bytes: usize) -> io::Result<()>;
}

const HEADER_WORDS: usize = COPY_BYTES / 8;

fn headers<S: Storage>(ring: &Ring<S>) -> [Option<Header>; 2] {
    let bytes: Vec<u8> = (0..2 * HEADER_WORDS)
        .flat_map(|word| {
            ring.storage()
                .header(word)
                .load(Ordering::Acquire)
                .to_ne_bytes()
        })
        .collect();
    Header::decode_both(Path::new(""), &bytes).map(Result::ok)
}

fn bytes_of(blocks: &[(u64, u64)]) -> Vec<u8> {
    let bytes = |&(word, books): &(u64, u64)| [word.to_ne_bytes(), books.to_ne_bytes()];
    blocks.iter().flat_map(bytes).flatten().collect()
}

/// Makes every row that is published now durable. The caller holds the maintenance lock.
///
/// # Errors
///
/// The system's error; the last successful flush still stands then.
pub fn flush<S: Storage>(ring: &Ring<S>, disk: &impl Disk) -> io::Result<()> {
    let seen = look(ring);
    disk.sync_rows()?;
    disk.sync_table(0, ring.geometry().table_bytes())?;
    let copies = headers(ring);
    let sequence = |copy: usize| copies[copy].map_or(0, |header| header.sequence);
    let older = usize::from(sequence(0) > sequence(1));
    let newest = copies[1 - older].or(copies[older]);
    let Some(newest) = newest else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "both headers of table.bin fail their checksum; the file was damaged while open",
        ));
    };
    let range = ring.geometry().snapshot(older);
    let start = HEADERS_BYTES + 8 * range.start;
    for (word, value) in range
        .clone()
        .zip(seen.iter().flat_map(|&(word, books)| [word, books]))
    {
        ring.storage().table(word).store(value, Ordering::Relaxed);
    }
    disk.sync_table(start, 8 * range.len())?;
    let header = Header {
        sequence: newest.sequence + 1,
        snapshot_checksum: crc32c(&bytes_of(&seen)),
        ..newest
    };
    for (word, bytes) in header.encode().as_chunks::<8>().0.iter().enumerate() {
        let value = u64::from_ne_bytes(*bytes);
        let place = ring.storage().header(older * HEADER_WORDS + word);
        place.store(value, Ordering::Relaxed);
    }
    disk.sync_table(older * COPY_BYTES, COPY_BYTES)
}

/// Copies the table.
fn look<S: Storage>(ring: &Ring<S>) -> Vec<(u64, u64)> {
    let geometry = ring.geometry();
    (0..geometry.blocks)
        .map(|block| {
            let books = ring.entry(block, ENTRY_TOTAL).load(Ordering::Acquire);
            let word = ring.storage().table(geometry.block_word(block));
            (word.load(Ordering::Acquire), books)
        })
        .collect()
}

/// The table as the last flush saw it; `None` if no copy is whole.
pub fn last_snapshot<S: Storage>(ring: &Ring<S>) -> Option<Snapshot> {
    let mut copies: Vec<(usize, Header)> = headers(ring)
        .into_iter()
        .enumerate()
        .filter_map(|(copy, header)| Some((copy, header?)))
        .collect();
    copies.sort_by_key(|&(_, header)| std::cmp::Reverse(header.sequence));
    copies.into_iter().find_map(|(copy, header)| {
        let words: Vec<u64> = ring
            .geometry()
            .snapshot(copy)
            .map(|word| ring.storage().table(word).load(Ordering::Acquire))
            .collect();
        let blocks: Vec<(u64, u64)> = words
            .as_chunks::<SNAPSHOT_WORDS>()
            .0
            .iter()
            .map(|&[word, books]| (word, books))
            .collect();
        (crc32c(&bytes_of(&blocks)) == header.snapshot_checksum).then_some(Snapshot { blocks })
    })
}
