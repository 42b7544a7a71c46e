//! Experience that survives: a memory-mapped ring of transitions that many processes append to and sample from without
//! locks, that outlives `kill -9`, and that is sampled at the speed of memory.
//!
//! One directory is one buffer:
//!
//! ```text
//! schema.json    what a person can read: fields, capacity, tables of slice names and baseline hashes   (manifest)
//! table.bin      two headers, the head, one atomic word and one entry per block                  (header, layout)
//! rows.bin       the blocks, each of `block_rows` rows and a spare for the last row's next values        (layout)
//! writers.lock   one byte per writing process, locked while it lives                                       (locks)
//! ```
//!
//! Floors, top to bottom: [`Buffer`], [`Writer`] and [`Sampler`] are the public face; `recovery` mends what a crash left;
//! `stream` and `gather` write and read rows; `ring` is the protocol; `storage` and `sync` are the memory below it.
//!
//! What it promises, and what not, is told in `docs/design/replay.md`.

#[cfg(not(loom))]
mod buffer;
mod catalog;
mod checks;
mod checksum;
pub mod column;
pub mod columns;
#[cfg(not(loom))]
mod compact;
#[cfg(not(loom))]
pub mod directory;
mod error;
#[cfg(not(loom))]
mod filesystem;
#[cfg(not(loom))]
mod flush;
#[cfg(not(loom))]
mod fork;
pub mod gather;
#[cfg(not(loom))]
mod header;
mod lanes;
pub mod layout;
#[cfg(not(loom))]
pub mod listing;
#[cfg(not(loom))]
mod locks;
#[cfg(not(loom))]
mod manifest;
mod moves;
pub mod priorities;
#[cfg(not(loom))]
mod recovery;
pub mod ring;
mod sampler;
mod schema;
pub mod staging;
pub mod storage;
pub mod stream;
mod stream_set;
mod sync;
mod tail;
pub mod word;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use buffer::{Buffer, CreateOptions};
pub use checks::{BadRow, Report};
pub use error::{Error, Result};
#[cfg(not(loom))]
pub use manifest::NameTable;
#[cfg(not(loom))]
pub use recovery::OpenEpisode;
pub use sampler::{Mode, Part, Sampler, SamplerState};
pub use schema::{Dtype, Field, Schema};
pub use stream::StreamPlace;
pub use stream_set::{AppendColumns, StreamSet};
#[cfg(not(loom))]
pub use writer::Writer;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod oracle_tests;
#[cfg(all(test, not(loom)))]
mod power_cut_tests;
#[cfg(test)]
mod test_ring;
