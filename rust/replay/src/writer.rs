//! A vector writer: N streams of one process, one per environment.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::layout::{FIELDS, RowLayout};
use crate::ring::{Liveness, Ring};
use crate::storage::Storage;
use crate::stream::{RowImage, Stream, StreamPlace};
use crate::word::BlockWord;

/// The columns of one append: row n of every column is stream n's transition.
pub struct AppendColumns<'a> {
    /// One column per field, in schema order, each N items long.
    pub fields: &'a [&'a [u8]],
    /// One column of next values per linked field.
    pub next: &'a [&'a [u8]],
    /// Which streams have a row (non-zero); all of them if absent.
    pub mask: Option<&'a [u8]>,
}

/// Row images of one append, in private memory.
#[derive(Default)]
struct Images {
    bytes: Vec<u8>,
    episode_and_done: Vec<(u64, bool)>,
}

impl Images {
    /// Bytes of one image: linked part, unlinked part, next values.
    fn stride(layout: &RowLayout) -> usize {
        (layout.end - FIELDS) + (layout.linked_end - FIELDS)
    }

    fn build(&mut self, layout: &RowLayout, columns: &AppendColumns<'_>, streams: usize) {
        let stride = Self::stride(layout);
        // Padding is zeroed once and never written: it is part of the checksums and of the link comparison.
        self.bytes.resize(stride * streams, 0);
        self.episode_and_done.clear();
        for (stream, image) in self.bytes.chunks_exact_mut(stride).enumerate() {
            for (span, column) in layout.spans.iter().zip(columns.fields) {
                let (start, size) = (span.offset - FIELDS, span.size_bytes);
                copy_item(
                    &mut image[start..start + size],
                    &column[stream * size..(stream + 1) * size],
                );
            }
            let next = &mut image[layout.end - FIELDS..];
            for (&field, column) in layout.linked.iter().zip(columns.next) {
                let (start, size) = (
                    layout.spans[field].offset - FIELDS,
                    layout.spans[field].size_bytes,
                );
                copy_item(
                    &mut next[start..start + size],
                    &column[stream * size..(stream + 1) * size],
                );
            }
            let key = &layout.key;
            let is_set = |offset: usize| image[offset - FIELDS] != 0;
            let is_done = is_set(key.terminated) || is_set(key.truncated);
            let mut episode = [0; 8];
            episode.copy_from_slice(&image[key.episode_id - FIELDS..key.episode_id - FIELDS + 8]);
            self.episode_and_done
                .push((u64::from_ne_bytes(episode), is_done));
        }
    }

    fn row(&self, layout: &RowLayout, stream: usize) -> RowImage<'_> {
        let stride = Self::stride(layout);
        let image = &self.bytes[stream * stride..(stream + 1) * stride];
        let (linked, others) = image.split_at(layout.linked_end - FIELDS);
        let (rest, next) = others.split_at(layout.end - layout.linked_end);
        let (episode_id, is_done) = self.episode_and_done[stream];
        RowImage {
            linked,
            rest,
            next,
            episode_id,
            is_done,
        }
    }
}

/// Copies one item; the short ones, which most fields are, without a call.
#[inline]
fn copy_item(target: &mut [u8], source: &[u8]) {
    match (target.len(), source.len()) {
        (1, 1) => target[0] = source[0],
        (4, 4) => target[..4].copy_from_slice(&source[..4]),
        (8, 8) => target[..8].copy_from_slice(&source[..8]),
        _ => target.copy_from_slice(source),
    }
}

/// N streams over any ring; the mapped [`Writer`] and the oracle tests share it.
pub struct StreamSet {
    streams: Vec<Stream>,
    images: Images,
}

impl StreamSet {
    /// Streams `first..first + count` of an owner.
    pub fn new(first: u32, count: u32, owner: u16) -> Self {
        Self {
            streams: (first..first + count)
                .map(|id| Stream::new(id, owner))
                .collect(),
            images: Images::default(),
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
    pub fn append<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        columns: &AppendColumns<'_>,
        liveness: &impl Liveness,
        confirm: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let layout = ring.row();
        self.images.build(layout, columns, self.streams.len());
        let is_chosen = |stream: usize| columns.mask.is_none_or(|mask| mask[stream] != 0);
        for (index, stream) in self
            .streams
            .iter_mut()
            .enumerate()
            .filter(|&(index, _)| is_chosen(index))
        {
            stream.reserve(ring, &self.images.row(layout, index), liveness)?;
        }
        if self.streams.iter().any(Stream::has_reservation) {
            confirm()?;
        }
        for (index, stream) in self
            .streams
            .iter_mut()
            .enumerate()
            .filter(|&(index, _)| is_chosen(index))
        {
            stream.commit(ring, &self.images.row(layout, index));
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

/// The writing end of a buffer in this process.
pub struct Writer {
    buffer: Arc<Buffer>,
    set: StreamSet,
    is_resumed: bool,
    is_closed: bool,
}

impl Writer {
    /// A writer for streams `first..first + count`; goes on in the blocks that streams of these numbers left.
    ///
    /// With `resume`, it does so only if that puts every stream exactly there, else all start in blocks of their own.
    ///
    /// # Errors
    ///
    /// As [`Buffer::writing_lock`]; [`Error::Argument`] for no stream; [`Error::MoreStreamsThanBlocks`].
    pub fn new(
        buffer: Arc<Buffer>,
        first: u32,
        count: u32,
        resume: Option<&[Option<StreamPlace>]>,
    ) -> Result<Self> {
        let lock = Arc::clone(buffer.writing_lock()?);
        if count == 0 || first.checked_add(count).is_none() {
            return Err(Error::Argument(format!(
                "streams is {count}, first_stream {first}; at least one is needed"
            )));
        }
        let blocks = buffer.ring().geometry().blocks;
        if count >= blocks {
            return Err(Error::MoreStreamsThanBlocks {
                blocks: blocks.into(),
            });
        }
        let mut set = StreamSet::new(first, count, lock.owner());
        set.adopt(buffer.ring(), first, lock.as_ref());
        let is_resumed = resume.is_some_and(|places| places == set.places());
        if resume.is_some() && !is_resumed {
            set.release(buffer.ring());
        }
        Ok(Self {
            buffer,
            set,
            is_resumed,
            is_closed: false,
        })
    }

    /// Whether every stream goes on exactly where `resume` said.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Where each stream's next row goes.
    pub fn places(&self) -> Vec<Option<StreamPlace>> {
        self.set.places()
    }

    /// How many streams it has.
    pub fn streams(&self) -> usize {
        self.set.len()
    }

    /// The buffer it writes to.
    pub fn buffer(&self) -> &Arc<Buffer> {
        &self.buffer
    }

    /// Appends one row to each masked stream. Once it returns, the rows survive the end of this process.
    ///
    /// # Errors
    ///
    /// As [`Buffer::writing_lock`] and [`StreamSet::append`]; nothing was appended then.
    pub fn append(&mut self, columns: &AppendColumns<'_>) -> Result<()> {
        let lock = self.buffer.writing_lock()?;
        if self.is_closed {
            return Err(Error::Closed {
                path: self.buffer.path().to_owned(),
            });
        }
        let lost = || Error::LostLock {
            path: self.buffer.path().to_owned(),
        };
        let confirm = || if lock.renew() { Ok(()) } else { Err(lost()) };
        let result = self
            .set
            .append(self.buffer.ring(), columns, lock.as_ref(), confirm);
        result.map_err(|error| {
            if matches!(error, Error::LostBlock { .. }) {
                lost()
            } else {
                error
            }
        })
    }

    /// Gives the blocks back. What was appended stays.
    pub fn close(&mut self) {
        // In a forked child the blocks are the parent's.
        if !self.is_closed && !matches!(self.buffer.check(), Err(Error::Forked { .. })) {
            self.set.release(self.buffer.ring());
        }
        self.is_closed = true;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}
