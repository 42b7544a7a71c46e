//! A ring in two mapped files.
//!
//! The mappings are never seen as references to plain bytes, since other processes write to them: table words are
//! atomics, data is copied by [`racing_copy`]. The files keep their length while mapped (`flush` and everything else
//! here never truncate); another process of the same user that truncates one makes the kernel send SIGBUS, as for every
//! mapped file.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

use super::Storage;
use super::pages::prefer_large;
use crate::flush::Disk;
use crate::layout::{BLOCK_WORDS, Geometry, HEADERS_BYTES};
use crate::moves::Scatter;
use crate::sync::{AtomicU64, prefetch, racing_copy};

/// The two mapped files of a buffer.
pub struct MmapStorage {
    table: MmapRaw,
    data: MmapRaw,
    table_words: usize,
}

impl MmapStorage {
    /// Maps the files, whose lengths the caller has checked against the geometry.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn map(
        table: &File,
        data: &File,
        geometry: &Geometry,
        is_read_only: bool,
    ) -> io::Result<Self> {
        let map = |file: &File, length: usize| {
            let mut options = MmapOptions::new();
            options.len(length);
            if is_read_only {
                options.map_raw_read_only(file)
            } else {
                options.map_raw(file)
            }
        };
        let rows = map(data, geometry.data_bytes)?;
        prefer_large(&rows);
        Ok(Self {
            table: map(table, geometry.table_bytes())?,
            data: rows,
            table_words: geometry.table_words,
        })
    }

    /// Writes the live words (head, boot, clean flag) to the disk and waits.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn sync_live_page(&self) -> io::Result<()> {
        self.sync_table(HEADERS_BYTES, 8 * BLOCK_WORDS)
    }
}

impl Disk for MmapStorage {
    fn sync_rows(&self) -> io::Result<()> {
        self.data.flush()
    }

    fn sync_table(&self, offset: usize, size_bytes: usize) -> io::Result<()> {
        self.table.flush_range(offset, size_bytes)
    }
}

impl Storage for MmapStorage {
    #[allow(clippy::cast_ptr_alignment)] // proven below
    fn header(&self, word: usize) -> &AtomicU64 {
        assert!(word < HEADERS_BYTES / 8, "header word {word}");
        // SAFETY: as `table`; every table file is longer than its headers.
        unsafe { &*self.table.as_ptr().add(8 * word).cast::<AtomicU64>() }
    }

    #[inline]
    #[allow(clippy::cast_ptr_alignment)] // proven below
    fn table(&self, word: usize) -> &AtomicU64 {
        assert!(
            word < self.table_words,
            "table word {word} of {}",
            self.table_words
        );
        // SAFETY: inside the mapping (just checked), aligned (mappings start on pages, the headers are whole pages),
        // lives as long as `self`, and is only ever accessed atomically.
        unsafe {
            &*self
                .table
                .as_ptr()
                .add(HEADERS_BYTES + 8 * word)
                .cast::<AtomicU64>()
        }
    }

    #[inline]
    #[allow(clippy::cast_ptr_alignment)] // proven below
    fn data_word(&self, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(8) && offset + 8 <= self.data.len(),
            "data word at {offset}"
        );
        // SAFETY: inside the mapping and aligned (just checked); mark words are only ever accessed atomically.
        unsafe { &*self.data.as_ptr().add(offset).cast::<AtomicU64>() }
    }

    #[inline]
    fn read(&self, offset: usize, target: &mut [u8]) {
        assert!(
            self.data
                .len()
                .checked_sub(target.len())
                .is_some_and(|last| offset <= last),
            "read at {offset}"
        );
        // SAFETY: the source range lies in the mapping (just checked); the target is the caller's own memory.
        unsafe {
            racing_copy(
                self.data.as_ptr().add(offset),
                target.as_mut_ptr(),
                target.len(),
            );
        }
    }

    #[inline]
    fn write(&self, offset: usize, source: &[u8]) {
        assert!(
            self.data
                .len()
                .checked_sub(source.len())
                .is_some_and(|last| offset <= last),
            "write at {offset}"
        );
        // SAFETY: as `read`, the other way round; only writable handles write (`Buffer` checks before any append).
        unsafe {
            racing_copy(
                source.as_ptr(),
                self.data.as_mut_ptr().add(offset),
                source.len(),
            );
        }
    }

    #[inline]
    fn scatter(&self, starts: &[usize], moves: &mut Scatter<'_>, at: usize, ahead: &[usize]) {
        moves.require(self.data.len(), starts, at);
        // SAFETY: just required; the whole mapping is readable.
        unsafe { moves.copy_from(self.data.as_ptr(), starts, at, ahead) };
    }

    #[inline]
    fn prefetch(&self, offset: usize, length: usize) {
        prefetch(self.data.as_ptr().wrapping_add(offset), length);
    }
}
