//! Moving a row's items between a row and columns, checked once per row instead of once per item.
//!
//! A row of a few hundred bytes has a dozen short items; at the speed of memory there are some twenty nanoseconds for
//! all of them. So the moves are listed when the columns are bound, sorted by the instruction that each takes.

use std::marker::PhantomData;

use crate::column::{Column, Source};
use crate::layout::Item;
#[cfg(all(not(loom), target_arch = "x86_64"))]
use crate::sync::racing_copy_wide;
#[cfg(not(loom))]
use crate::sync::{prefetch, racing_copy};

/// Bytes of a row that hints ask for, at most: beyond some lines the processor's own prefetcher is faster (measured on
/// rows of 27 kB).
pub const HINTED_BYTES: usize = 1536;

/// One item: where it lies in its part of a row, and the start of its column.
#[derive(Clone, Copy)]
struct Move {
    offset: usize,
    size_bytes: usize,
    column: *mut u8,
}

/// Moves sorted by size: 8, 4, 2 and 1 bytes, and all others.
#[derive(Clone, Default)]
struct Sorted {
    words: [Vec<Move>; 4],
    long: Vec<Move>,
}

impl Sorted {
    fn push(&mut self, item: Move) {
        match item.size_bytes {
            8 => self.words[0].push(item),
            4 => self.words[1].push(item),
            2 => self.words[2].push(item),
            1 => self.words[3].push(item),
            0 => {}
            _ => self.long.push(item),
        }
    }

    fn join(&mut self, other: &Self, offset: usize) {
        for item in other.all() {
            self.push(Move {
                offset: item.offset + offset,
                ..*item
            });
        }
    }

    fn all(&self) -> impl Iterator<Item = &Move> {
        self.words.iter().flatten().chain(&self.long)
    }

    fn extent(&self) -> usize {
        self.all()
            .map(|item| item.offset + item.size_bytes)
            .max()
            .unwrap_or(0)
    }
}

/// From rows to columns.
pub struct Scatter<'a> {
    moves: Sorted,
    rows: usize,
    extent: usize,
    /// The processor has vectors of 32 bytes.
    #[cfg(target_arch = "x86_64")]
    is_wide: bool,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: addresses of columns, which are `Send`; all copying goes through `&mut self`.
unsafe impl Send for Scatter<'_> {}

impl<'a> Scatter<'a> {
    /// The moves of a row's items to their columns.
    pub fn new(items: &[Item], columns: &mut [Column<'a>]) -> Self {
        let mut moves = Sorted::default();
        let mut rows = usize::MAX;
        for item in items {
            let column = &mut columns[item.column];
            let room = column.size_bytes().checked_div(item.size_bytes);
            rows = rows.min(room.unwrap_or(usize::MAX));
            moves.push(Move {
                offset: item.offset,
                size_bytes: item.size_bytes,
                column: column.start(),
            });
        }
        Self {
            extent: moves.extent(),
            moves,
            rows,
            #[cfg(target_arch = "x86_64")]
            is_wide: is_x86_feature_detected!("avx"),
            memory: PhantomData,
        }
    }

    /// These moves and those of a part that begins `offset` bytes behind this one.
    #[must_use]
    pub fn joined(&self, other: &Self, offset: usize) -> Self {
        let mut moves = self.moves.clone();
        moves.join(&other.moves, offset);
        Self {
            extent: moves.extent(),
            moves,
            rows: self.rows.min(other.rows),
            #[cfg(target_arch = "x86_64")]
            is_wide: self.is_wide,
            memory: PhantomData,
        }
    }

    /// Fails unless there is room for rows at index `at` and after it, and each row lies within the data.
    #[inline]
    pub fn require(&self, data_bytes: usize, starts: &[usize], at: usize) {
        let room = self.rows.checked_sub(at);
        assert!(
            room.is_some_and(|room| starts.len() <= room),
            "{} rows at {at} of {}",
            starts.len(),
            self.rows
        );
        let highest = data_bytes.checked_sub(self.extent);
        for &start in starts {
            assert!(
                highest.is_some_and(|highest| start <= highest),
                "{} bytes at {start} of {data_bytes}",
                self.extent
            );
        }
    }

    /// Copies rows that others may be writing to index `at` and those after it, item by item, and hints meanwhile that
    /// the rows at `ahead` come next.
    ///
    /// # Safety
    ///
    /// [`Scatter::require`] passed for the rows and a number of bytes that are readable at `data`.
    #[cfg(not(loom))]
    #[inline]
    pub unsafe fn copy_from(
        &mut self,
        data: *const u8,
        starts: &[usize],
        at: usize,
        ahead: &[usize],
    ) {
        // SAFETY: the caller's promise; `is_wide` says what the processor has.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if self.is_wide && !self.moves.long.is_empty() {
                self.copy_long_wide(data, starts, at, ahead);
                return self.copy_words(data, starts, at);
            }
            for &next in ahead {
                prefetch(data.wrapping_add(next), self.hinted());
            }
            for item in &self.moves.long {
                let mut target = item.column.add(at * item.size_bytes);
                for &start in starts {
                    racing_copy(data.add(start + item.offset), target, item.size_bytes);
                    target = target.add(item.size_bytes);
                }
            }
            self.copy_words(data, starts, at);
        }
    }

    fn hinted(&self) -> usize {
        self.extent.min(HINTED_BYTES)
    }

    /// # Safety
    ///
    /// As [`Scatter::copy_from`], on a processor with AVX.
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    #[target_feature(enable = "avx")]
    unsafe fn copy_long_wide(&self, data: *const u8, starts: &[usize], at: usize, ahead: &[usize]) {
        // Each copy hints a part of a row: hints in a body would wait for each other, and copies for the hints.
        let part = self.hinted().div_ceil(self.moves.long.len());
        // SAFETY: the caller's promise.
        unsafe {
            for (number, item) in self.moves.long.iter().enumerate() {
                let mut target = item.column.add(at * item.size_bytes);
                for (index, &start) in starts.iter().enumerate() {
                    racing_copy_wide(data.add(start + item.offset), target, item.size_bytes);
                    target = target.add(item.size_bytes);
                    if let Some(&next) = ahead.get(index) {
                        prefetch(data.wrapping_add(next + number * part), part);
                    }
                }
            }
            // Narrow instructions after wide ones wait for each other unless the upper halves are cleared.
            std::arch::x86_64::_mm256_zeroupper();
        }
    }

    /// # Safety
    ///
    /// As [`Scatter::copy_from`].
    #[cfg(not(loom))]
    #[inline]
    unsafe fn copy_words(&self, data: *const u8, starts: &[usize], at: usize) {
        let [eights, fours, twos, ones] = &self.moves.words;
        // SAFETY: the caller's promise.
        unsafe {
            copy_items::<8>(eights, data, starts, at);
            copy_items::<4>(fours, data, starts, at);
            copy_items::<2>(twos, data, starts, at);
            copy_items::<1>(ones, data, starts, at);
        }
    }

    /// Calls back with each item's offset and its target at index `at`.
    pub fn each(&mut self, at: usize, mut copy: impl FnMut(usize, &mut [u8])) {
        self.require(self.extent, &[0], at);
        for item in self.moves.all() {
            // SAFETY: as `copy_from`; the slice lives only for the call.
            let target = unsafe {
                let start = item.column.add(at * item.size_bytes);
                std::slice::from_raw_parts_mut(start, item.size_bytes)
            };
            copy(item.offset, target);
        }
    }
}

/// # Safety
///
/// As [`Scatter::copy_from`], for items of N bytes.
#[cfg(not(loom))]
#[inline]
unsafe fn copy_items<const N: usize>(items: &[Move], data: *const u8, starts: &[usize], at: usize) {
    for item in items {
        // SAFETY: the columns have room for all rows, and the offsets lie in the readable bytes (`require`); columns
        // and data never overlap.
        unsafe {
            let (source, target) = (data.add(item.offset), item.column.add(N * at));
            for (index, &start) in starts.iter().enumerate() {
                racing_copy(source.add(start), target.add(N * index), N);
            }
        }
    }
}

/// From columns to a part of a row in private memory.
pub struct Pick<'a> {
    moves: Sorted,
    rows: usize,
    extent: usize,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: addresses of sources, which are `Send` and `Sync`; they are only read.
unsafe impl Send for Pick<'_> {}
// SAFETY: as above.
unsafe impl Sync for Pick<'_> {}

impl<'a> Pick<'a> {
    /// The moves of items from their columns to the part of a row that starts at `part_start`.
    pub fn new(items: &[Item], part_start: usize, columns: &[Source<'a>]) -> Self {
        let mut moves = Sorted::default();
        let mut rows = usize::MAX;
        for item in items {
            let column = &columns[item.column];
            let room = column.size_bytes().checked_div(item.size_bytes);
            rows = rows.min(room.unwrap_or(usize::MAX));
            moves.push(Move {
                offset: item.offset - part_start,
                size_bytes: item.size_bytes,
                column: column.start().cast_mut(),
            });
        }
        Self {
            extent: moves.extent(),
            moves,
            rows,
            memory: PhantomData,
        }
    }

    #[inline]
    fn require(&self, length: usize, index: usize) {
        assert!(
            index < self.rows && self.extent <= length,
            "row {index} of {}, {} bytes of {length}",
            self.rows,
            self.extent
        );
    }

    /// Copies row `index` of the columns.
    #[inline]
    pub fn copy_to(&self, index: usize, target: &mut [u8]) {
        self.require(target.len(), index);
        let target = target.as_mut_ptr();
        // SAFETY: the columns hold `rows` items of each size, and `index` is below; the target is long enough (both
        // just checked) and private, so nothing overlaps. `Source::from_raw` vouches for the columns' memory.
        unsafe {
            for item in &self.moves.long {
                let source = item.column.add(index * item.size_bytes);
                target
                    .add(item.offset)
                    .copy_from_nonoverlapping(source, item.size_bytes);
            }
            for item in &self.moves.words[0] {
                target
                    .add(item.offset)
                    .copy_from_nonoverlapping(item.column.add(8 * index), 8);
            }
            for item in &self.moves.words[1] {
                target
                    .add(item.offset)
                    .copy_from_nonoverlapping(item.column.add(4 * index), 4);
            }
            for item in &self.moves.words[2] {
                target
                    .add(item.offset)
                    .copy_from_nonoverlapping(item.column.add(2 * index), 2);
            }
            for item in &self.moves.words[3] {
                target
                    .add(item.offset)
                    .copy_from_nonoverlapping(item.column.add(index), 1);
            }
        }
    }

    /// Whether row `index` of the columns is bit for bit what stands in an image of the part.
    #[inline]
    pub fn equals(&self, index: usize, image: &[u8]) -> bool {
        self.require(image.len(), index);
        self.moves.all().all(|item| {
            // SAFETY: as `copy_to`.
            let source = unsafe {
                let start = item.column.add(index * item.size_bytes);
                std::slice::from_raw_parts(start, item.size_bytes)
            };
            source == &image[item.offset..item.offset + item.size_bytes]
        })
    }
}
