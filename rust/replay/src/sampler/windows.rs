//! Windows: successive rows of an episode.

use crate::columns::Columns;
use crate::error::Result;
use crate::gather::{Filter, follow};
use crate::ring::Ring;
use crate::storage::Storage;
use crate::word::BlockLink;

use super::Sampler;
use super::fill::BlockPosition;

impl Sampler {
    /// Fills the columns with windows of `length` successive rows of an episode each; a window's start is drawn as a
    /// row is, and `valid` says where it ends early.
    ///
    /// # Errors
    ///
    /// As [`Sampler::sample`].
    pub fn sample_windows<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        windows: usize,
        length: usize,
        watermark: Option<u64>,
        columns: &mut Columns<'_>,
    ) -> Result<()> {
        let mut batch = self.begin(ring, windows, watermark)?;
        for index in 0..windows {
            self.prefetch(ring, index + 2..index + 3);
            let first = index * length;
            let start = self.fill(ring, &mut batch, index, columns, first)?;
            let rows = self.follow_window(ring, start, batch.filter, columns, first, length);
            for at in first + rows..first + length {
                columns.clear(ring.row(), at);
            }
        }
        self.finish(columns);
        Ok(())
    }

    /// Copies the rows behind a window's first one; returns how many rows the window has.
    fn follow_window<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        start: BlockPosition,
        filter: Filter,
        columns: &mut Columns<'_>,
        first: usize,
        length: usize,
    ) -> usize {
        let (mut at, mut generation) = (start.position, start.generation);
        for step in 0..length {
            columns.set_valid(first + step);
            if step + 1 == length || columns.is_done(ring.row(), first + step) {
                return step + 1;
            }
            let count = u32::from(ring.word(at.block).count);
            self.links.clear();
            let Some((next, _)) = follow(ring, at, count, &mut self.links) else {
                return step + 1;
            };
            let expected = self
                .links
                .first()
                .map_or(generation, |link| link.generation);
            let copied = self
                .gather
                .row(ring, next, filter, columns, first + step + 1);
            // The link was read while its block was still the one that the row came from, or it says nothing.
            let is_chained = ring.is_still(BlockLink {
                block: at.block,
                generation,
            });
            if copied != Some(expected) || !is_chained {
                return step + 1;
            }
            (at, generation) = (next, expected);
        }
        length
    }
}
