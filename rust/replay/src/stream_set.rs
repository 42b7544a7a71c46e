//! A vector of streams: one row to each in one call.

use crate::column::Source;
use crate::error::Result;
use crate::layout::{FIELDS, Item, RowLayout};
use crate::ring::{Liveness, Ring};
use crate::storage::Storage;
use crate::stream::{RowSource, Staging, Stream, StreamPlace};
use crate::word::BlockWord;

/// Streams between a prefetch and its row.
const PREFETCH_DISTANCE: usize = 4;

/// The columns of one append: row n of every column is stream n's transition.
pub struct AppendColumns<'a> {
    /// One column per field, in schema order, each N items long.
    pub fields: &'a [Source<'a>],
    /// One column of next values per linked field.
    pub next: &'a [Source<'a>],
    /// Which streams have a row (non-zero); all of them if absent.
    pub mask: Option<Source<'a>>,
}

impl AppendColumns<'_> {
    #[inline]
    fn has_row(&self, index: usize) -> bool {
        self.mask.is_none_or(|mask| mask.item(index, 1) != [0])
    }
}

/// One stream's transition among the columns.
struct ColumnRow<'a> {
    columns: &'a AppendColumns<'a>,
    index: usize,
}

impl RowSource for ColumnRow<'_> {
    #[inline]
    fn copy_linked(&self, layout: &RowLayout, target: &mut [u8]) {
        copy_items(self.columns.fields, self.index, &layout.linked, FIELDS, target);
    }

    #[inline]
    fn copy_rest(&self, layout: &RowLayout, target: &mut [u8]) {
        copy_items(self.columns.fields, self.index, &layout.rest, layout.linked_end, target);
    }

    #[inline]
    fn copy_next(&self, layout: &RowLayout, target: &mut [u8]) {
        copy_items(self.columns.next, self.index, &layout.next, FIELDS, target);
    }

    #[inline]
    fn linked_is(&self, layout: &RowLayout, image: &[u8]) -> bool {
        layout.linked.iter().all(|item| {
            let start = item.offset - FIELDS;
            self.columns.fields[item.column].item(self.index, item.size_bytes)
                == &image[start..start + item.size_bytes]
        })
    }
}

/// Copies one row's items into a part of the row that starts at `part_start`.
#[inline]
fn copy_items(
    columns: &[Source<'_>],
    index: usize,
    items: &[Item],
    part_start: usize,
    target: &mut [u8],
) {
    for item in items {
        let start = item.offset - part_start;
        copy_item(
            &mut target[start..start + item.size_bytes],
            columns[item.column].item(index, item.size_bytes),
        );
    }
}

/// Copies one item; the short ones, which most fields are, without a call.
#[inline]
fn copy_item(target: &mut [u8], source: &[u8]) {
    match (target.len(), source.len()) {
        (1, 1) => target[0] = source[0],
        (2, 2) => target[..2].copy_from_slice(&source[..2]),
        (4, 4) => target[..4].copy_from_slice(&source[..4]),
        (8, 8) => target[..8].copy_from_slice(&source[..8]),
        _ => target.copy_from_slice(source),
    }
}

/// N streams over any ring; the mapped [`crate::Writer`] and the oracle tests share it.
pub struct StreamSet {
    streams: Vec<Stream>,
    staging: Staging,
}

impl StreamSet {
    /// Streams `first..first + count` of an owner, for rows of that layout.
    pub fn new(layout: &RowLayout, first: u32, count: u32, owner: u16) -> Self {
        Self {
            streams: (first..first + count)
                .map(|id| Stream::new(id, owner))
                .collect(),
            staging: Staging::new(layout),
        }
    }

    /// Where each stream's next row goes.
    pub fn places(&self) -> Vec<Option<StreamPlace>> {
        self.streams.iter().map(Stream::place).collect()
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Goes on where earlier streams of the same numbers stopped.
    pub fn adopt<S: Storage>(&mut self, ring: &Ring<S>, first: u32, liveness: &impl Liveness) {
        let mut newest: Vec<Option<(u32, u32, BlockWord)>> = vec![None; self.streams.len()];
        for block in 0..ring.claimed_blocks() {
            let word = ring.word(block);
            let index = ring.stream_of(block).checked_sub(u64::from(first));
            let Some(slot) = index.and_then(|index| newest.get_mut(usize::try_from(index).ok()?))
            else {
                continue;
            };
            if word.count > 0 && slot.is_none_or(|(generation, _, _)| word.generation >= generation)
            {
                *slot = Some((word.generation, block, word));
            }
        }
        for (stream, newest) in self.streams.iter_mut().zip(newest) {
            if let Some((_, block, word)) = newest
                && (word.owner == 0 || !liveness.is_alive(word.owner))
            {
                stream.adopt(ring, block, word);
            }
        }
    }

    /// Appends one row to each masked stream: all of them, or none if a place is lacking.
    ///
    /// # Errors
    ///
    /// As [`Stream::reserve`], and what `confirm` says: it is asked once if any stream claimed a block.
    #[inline]
    pub fn append<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        columns: &AppendColumns<'_>,
        liveness: &impl Liveness,
        confirm: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut has_claimed = false;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if columns.has_row(index) {
                let row = ColumnRow { columns, index };
                stream.reserve(ring, &row, &mut self.staging, liveness)?;
                has_claimed |= stream.has_reservation();
            }
        }
        if has_claimed {
            confirm()?;
        }
        for index in 0..self.streams.len() {
            if let Some(ahead) = self.streams.get(index + PREFETCH_DISTANCE) {
                ahead.prefetch(ring);
            }
            if columns.has_row(index) {
                let row = ColumnRow { columns, index };
                self.streams[index].commit(ring, &row, &mut self.staging);
            }
        }
        Ok(())
    }

    /// Gives all blocks back.
    pub fn release<S: Storage>(&mut self, ring: &Ring<S>) {
        for stream in &mut self.streams {
            stream.release(ring);
        }
    }
}
