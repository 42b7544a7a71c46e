//! Rows that are no more than their fields, several at a time.
//!
//! Most draws are such rows, and their copy is a fixed list of moves. Where rows lie far apart, the time goes into
//! finding their pages: a hint waits for its page's address, and a processor overlaps only what lies within a few
//! hundred instructions, which is the copy of one or two rows. So pages are touched in a body, two chunks ahead; the
//! lines of a row are hinted between the copies of the chunk before; and copies go item by item.

use std::ops::Range;

use crate::columns::Columns;
use crate::gather::Position;
use crate::moves::HINTED_BYTES;
use crate::ring::Ring;
use crate::storage::Storage;
use crate::sync::{Ordering, fence};
use crate::word::BlockLink;

use super::Sampler;
use super::fill::Batch;

/// Bytes of a chunk's rows: a part of the nearest cache, where they stay from their hint to their copy.
const CHUNK_BYTES: usize = 20 * 1024;

/// Which rows of a chunk were copied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied(u32);

impl Copied {
    /// Whether the chunk's row of that number was.
    #[inline]
    pub fn has(self, number: usize) -> bool {
        self.0 >> number & 1 != 0
    }
}

impl Sampler {
    /// How many rows are copied at a time; hints what [`Sampler::copy_plain`] takes to be hinted before the first ones.
    pub(super) fn begin_chunks<S: Storage>(&self, ring: &Ring<S>) -> usize {
        let rows = (CHUNK_BYTES / reach(ring)).clamp(1, u32::BITS as usize);
        self.touch(ring, 0..2 * rows);
        self.prefetch(ring, 0..rows);
        rows
    }

    /// Copies the plain ones among a chunk of proposals to the columns from index `at` on, unless returns are of several
    /// steps or there is a watermark; hints those of the chunks that come next.
    #[inline]
    pub(super) fn copy_plain<S: Storage>(
        &self,
        ring: &Ring<S>,
        batch: &Batch,
        chunk: Range<usize>,
        columns: &mut Columns<'_>,
        at: usize,
    ) -> Copied {
        let rows = chunk.len();
        let next = chunk.end..chunk.end + rows;
        self.touch(ring, next.end..next.end + rows);
        if batch.filter.watermark != u64::MAX || !self.gather.is_of_one_step() {
            self.prefetch(ring, next);
            return Copied::default();
        }
        // Those that aren't plain are copied too, and written over by the caller: so all go to successive indices.
        let (starts, ahead) = (&self.starts[chunk.clone()], self.ahead(next));
        columns.put_plain(ring, starts, at, ahead, self.gather.gamma());
        let proposals = &self.drawn[chunk];
        let mut copied = 0_u32;
        for (number, (proposal, &start)) in proposals.iter().zip(starts).enumerate() {
            let Position { block, place } = proposal.position();
            let is_plain = proposal.generation() != 0 && ring.is_plain(block, place, start);
            copied |= u32::from(is_plain) << number;
        }
        fence(Ordering::Acquire);
        for (number, proposal) in proposals.iter().enumerate() {
            let link = BlockLink {
                block: proposal.position().block,
                generation: proposal.generation(),
            };
            let is_gone = !proposal.is_none() && !ring.is_still(link);
            copied &= !(u32::from(is_gone) << number);
        }
        Copied(copied)
    }

    /// Hints that the rows of some proposals will be prefetched: the first line and the last, on the one or two pages
    /// that a row lies on.
    #[inline]
    fn touch<S: Storage>(&self, ring: &Ring<S>, places: Range<usize>) {
        let reach = reach(ring);
        for &start in self.ahead(places) {
            ring.storage().prefetch(start, 1);
            ring.storage().prefetch(start + reach - 1, 1);
        }
    }

    /// Hints that the rows of some proposals will be copied.
    #[inline]
    pub(super) fn prefetch<S: Storage>(&self, ring: &Ring<S>, places: Range<usize>) {
        for &start in self.ahead(places) {
            ring.storage()
                .prefetch(start, reach(ring).min(HINTED_BYTES));
        }
    }

    /// Where the rows of some proposals lie, as far as there are so many.
    fn ahead(&self, places: Range<usize>) -> &[usize] {
        let end = places.end.min(self.starts.len());
        &self.starts[places.start.min(end)..end]
    }
}

/// How far a row reaches with its next values, in bytes.
fn reach<S: Storage>(ring: &Ring<S>) -> usize {
    let layout = ring.row();
    layout.stride + layout.linked_end
}
