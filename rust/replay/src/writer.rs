//! The writing end of a buffer in this process.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::column::Source;
use crate::error::{Error, Result};
use crate::locks::ProcessLock;
use crate::stream::StreamPlace;
use crate::stream_set::{AppendColumns, StreamSet};

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
        let mut set = StreamSet::new(buffer.ring().row(), first, count, lock.owner());
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
        let lock = self.open_lock()?;
        let confirm = || {
            if lock.renew() {
                Ok(())
            } else {
                Err(lost_lock(&self.buffer))
            }
        };
        let ring = self.buffer.ring();
        let result = self.set.append(ring, columns, lock.as_ref(), confirm);
        result.map_err(|error| told(error, &self.buffer))
    }

    /// Marks the last row of each masked stream as truncated where its episode is still open; returns how many were.
    ///
    /// # Errors
    ///
    /// As [`Writer::append`], but the streams before the one that failed are marked then.
    pub fn end_episodes(&mut self, mask: Option<Source<'_>>) -> Result<u64> {
        self.open_lock()?;
        let result = self.set.end_episodes(self.buffer.ring(), mask);
        result.map_err(|error| told(error, &self.buffer))
    }

    fn open_lock(&self) -> Result<Arc<ProcessLock>> {
        let lock = self.buffer.writing_lock()?;
        if self.is_closed {
            return Err(Error::Closed {
                path: self.buffer.path().to_owned(),
            });
        }
        Ok(Arc::clone(lock))
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

fn lost_lock(buffer: &Buffer) -> Error {
    Error::LostLock {
        path: buffer.path().to_owned(),
    }
}

fn told(error: Error, buffer: &Buffer) -> Error {
    match error {
        Error::LostBlock { .. } => lost_lock(buffer),
        error => error,
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}
