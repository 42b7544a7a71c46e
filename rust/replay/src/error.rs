//! The crate's one error type.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a replay buffer can't do what was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{action} failed for {}: {source}", .path.display())]
    Io {
        /// What was tried, as a noun phrase.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory of a new buffer exists.
    #[error("{} already exists; open it, or create the buffer under another path", .path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The disk can't hold the buffer.
    #[error(
        "not enough room at {} for a replay buffer: needs {needed_bytes} bytes, {free_bytes} are free; \
         free some space or lower capacity_rows", .path.display()
    )]
    DiskFull {
        /// The directory that should have held it.
        path: PathBuf,
        /// Bytes to reserve.
        needed_bytes: u64,
        /// Bytes free for this user.
        free_bytes: u64,
    },
    /// A file system on which mapped files aren't coherent between processes, or can fail at any access.
    #[error("{} is on {name}: a replay buffer needs a local disk (ext4, xfs, tmpfs, ...); choose another path", .path.display())]
    FileSystem {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        name: &'static str,
    },
    /// There is no replay buffer at the path.
    #[error("no replay buffer at {}: {reason}", .path.display())]
    NotReplay {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A file of the buffer contradicts itself or another one.
    #[error("the replay buffer at {} is damaged: {reason}", .path.display())]
    Corrupt {
        /// The directory.
        path: PathBuf,
        /// What is wrong, the value seen, what to do.
        reason: String,
    },
    /// The buffer was written by a machine or version that this one can't read.
    #[error("the replay buffer at {} has {what} {seen}, this build reads {expected}; {cure}", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Which property differs.
        what: &'static str,
        /// Its value in the file.
        seen: String,
        /// The value that can be read.
        expected: String,
        /// What to do.
        cure: &'static str,
    },
    /// The buffer on disk has another schema than the caller expects.
    #[error("the replay buffer at {} has another schema than expected: {differences}; use that schema or another path", .path.display())]
    SchemaMismatch {
        /// The directory.
        path: PathBuf,
        /// Each field or value that differs.
        differences: String,
    },
    /// A schema can't be used.
    #[error("bad replay schema: {0}")]
    Schema(String),
    /// An argument is out of its range.
    #[error("{0}")]
    Argument(String),
    /// Every block belongs to a live stream.
    #[error(
        "more streams than blocks: all {blocks} blocks are owned by live streams; \
         raise capacity_rows, lower block_rows, or use fewer streams"
    )]
    MoreStreamsThanBlocks {
        /// Blocks in the ring.
        blocks: u64,
    },
    /// Every byte of the lock file is taken.
    #[error("{limit} processes already write to {}; close one", .path.display())]
    TooManyProcesses {
        /// The directory.
        path: PathBuf,
        /// The largest number of writing processes.
        limit: u16,
    },
    /// No row can be sampled.
    #[error(
        "too few rows to sample: {size} are stored, none with a positive weight, not quarantined{condition}; \
         append more first"
    )]
    TooFewRows {
        /// Rows stored.
        size: u64,
        /// What else narrowed the choice, with a leading comma, or nothing.
        condition: String,
    },
    /// A row that was about to be returned isn't what was appended.
    #[error(
        "row {place} of block {block} is damaged: {reason}; run `carla-online replay verify`, and restore the buffer \
         from a copy or quarantine the row"
    )]
    BadRow {
        /// Block.
        block: u32,
        /// Place in the block.
        place: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// The shared priorities can't be used now.
    #[error("the priorities can't be used: {0}")]
    Priorities(String),
    /// Another process took a block that this one was writing, or this process's number.
    #[error(
        "this process lost its lock on writers.lock at {} (something in it opened and closed that file), \
         and another process took its place; reopen the buffer", .path.display()
    )]
    LostLock {
        /// The directory.
        path: PathBuf,
    },
    /// A block of this stream has another owner: the caller turns it into [`Error::LostLock`].
    #[error(
        "block {block} has another owner than the stream that was writing it; reopen the buffer"
    )]
    LostBlock {
        /// The block.
        block: u32,
    },
    /// A generation counter would wrap.
    #[error("the ring has turned 2^32 times and must be copied to a new directory")]
    Exhausted,
    /// The handle crossed a fork.
    #[error("this replay handle was opened before a fork; open {} again in the child", .path.display())]
    Forked {
        /// The directory.
        path: PathBuf,
    },
    /// The handle was closed.
    #[error("the replay buffer at {} was closed; open it again", .path.display())]
    Closed {
        /// The directory.
        path: PathBuf,
    },
    /// A read-only handle was asked to write.
    #[error("the replay buffer at {} was opened read-only; open it with read_only=False to write", .path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// The machine stopped while the buffer was being written, and nobody has checked it since.
    #[error(
        "the replay buffer at {} was not closed before the machine stopped; \
         open it once with read_only=False to check and recover it", .path.display()
    )]
    NeedsRecovery {
        /// The directory.
        path: PathBuf,
    },
}
