//! `MessagePack`, as much of it as the wire needs: find the end of a value, read one, write one.
//!
//! [`Scanner`] says how long a value is while its bytes are still arriving; only complete values reach the
//! [`Reader`], which borrows from them and allocates nothing. The [`Packer`] writes into a buffer that is reused.

mod pack;
mod read;
mod scan;

pub use pack::Packer;
pub use read::{Malformed, Reader};
pub use scan::{MAX_DEPTH, MAX_MESSAGE_BYTES, ScanFault, Scanner};

#[cfg(test)]
mod tests;
