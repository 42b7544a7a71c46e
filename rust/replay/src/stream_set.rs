//! A vector of streams: one row to each in one call.

use crate::column::Source;
use crate::error::Result;
use crate::layout::{FIELDS, RowLayout};
use crate::moves::Pick;
use crate::ring::{Liveness, Ring};
use crate::staging::{RowSource, Staging};
use crate::storage::Storage;
use crate::stream::{Stream, StreamPlace};
use crate::word::BlockWord;

/// Streams between a prefetch and its row.
const PREFETCH_DISTANCE: usize = 4;

/// The columns of one append: row n of every column is stream n's transition.
pub struct AppendColumns<'a> {
    linked: Pick<'a>,
    rest: Pick<'a>,
    next: Pick<'a>,
    mask: Option<Source<'a>>,
}

impl<'a> AppendColumns<'a> {
    /// Columns for rows of a layout: one per field in schema order and one of next values per linked field, each N
    /// items long. The mask says which streams have a row (non-zero); all of them if absent.
    pub fn new(
        layout: &RowLayout,
        fields: &[Source<'a>],
        next: &[Source<'a>],
        mask: Option<Source<'a>>,
    ) -> Self {
        Self {
            linked: Pick::new(&layout.linked, FIELDS, fields),
            rest: Pick::new(&layout.rest, layout.linked_end, fields),
            next: Pick::new(&layout.next, FIELDS, next),
            mask,
        }
    }

    #[inline]
    fn has_row(&self, index: usize) -> bool {
        is_chosen(self.mask, index)
    }
}

#[inline]
fn is_chosen(mask: Option<Source<'_>>, index: usize) -> bool {
    mask.is_none_or(|mask| mask.item(index, 1) != [0])
}

/// One stream's transition among the columns.
struct ColumnRow<'a> {
    columns: &'a AppendColumns<'a>,
    index: usize,
}

impl RowSource for ColumnRow<'_> {
    #[inline]
    fn copy_linked(&self, _layout: &RowLayout, target: &mut [u8]) {
        self.columns.linked.copy_to(self.index, target);
    }

    #[inline]
    fn copy_rest(&self, _layout: &RowLayout, target: &mut [u8]) {
        self.columns.rest.copy_to(self.index, target);
    }

    #[inline]
    fn copy_next(&self, _layout: &RowLayout, target: &mut [u8]) {
        self.columns.next.copy_to(self.index, target);
    }

    #[inline]
    fn linked_is(&self, _layout: &RowLayout, image: &[u8]) -> bool {
        self.columns.linked.equals(self.index, image)
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

    /// Ends the open episodes of the streams that the mask names (non-zero), all without a mask; returns how many.
    ///
    /// # Errors
    ///
    /// As [`Stream::end_episode`].
    pub fn end_episodes<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        mask: Option<Source<'_>>,
    ) -> Result<u64> {
        let mut ended = 0;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if is_chosen(mask, index) {
                ended += u64::from(stream.end_episode(ring)?);
            }
        }
        Ok(ended)
    }

    /// Gives all blocks back.
    pub fn release<S: Storage>(&mut self, ring: &Ring<S>) {
        for stream in &mut self.streams {
            stream.release(ring);
        }
    }
}
