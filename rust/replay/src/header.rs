//! The two header copies at the start of the table file.
//!
//! A header repeats what `schema.json` says, checksummed, so that files of different buffers can't be mixed up. Two
//! copies, so that one can be rewritten while the other stays whole.

use std::path::Path;

use crc32c::crc32c;

use crate::error::{Error, Result};
use crate::layout::{Geometry, SNAPSHOT_WORDS};

/// Version of the format on disk. Stays 0 until the replay is complete: no migration is owed to drafts.
pub const FORMAT_VERSION: u32 = 0;
/// First bytes of the table file.
const MAGIC: [u8; 8] = *b"COREPLAY";
/// Written in native byte order; reads back differently on the other kind of machine.
const ENDIAN_MARK: u32 = 0x0102_0304;
/// Distance of the copies.
pub const COPY_BYTES: usize = 4096;
const CONTENT_BYTES: usize = 64;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hash of the schema.
    pub schema_hash: u64,
    /// Blocks in the ring.
    pub blocks: u32,
    /// Rows in a block.
    pub block_rows: u32,
    /// Counts the flushes; the higher copy is the newer.
    pub sequence: u64,
    /// CRC32C of the copy of the table that belongs to this header.
    pub snapshot_checksum: u32,
}

impl Header {
    /// The header of a new buffer.
    pub fn new(schema_hash: u64, geometry: &Geometry) -> Self {
        Self {
            schema_hash,
            blocks: geometry.blocks,
            block_rows: geometry.block_rows,
            sequence: 1,
            snapshot_checksum: crc32c(&vec![0; 8 * SNAPSHOT_WORDS * geometry.blocks as usize]),
        }
    }

    /// The bytes of one copy.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(COPY_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&ENDIAN_MARK.to_ne_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_ne_bytes());
        bytes.extend_from_slice(&self.schema_hash.to_ne_bytes());
        bytes.extend_from_slice(&self.blocks.to_ne_bytes());
        bytes.extend_from_slice(&self.block_rows.to_ne_bytes());
        bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        bytes.extend_from_slice(&self.snapshot_checksum.to_ne_bytes());
        bytes.resize(CONTENT_BYTES - 4, 0);
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_ne_bytes());
        bytes.resize(COPY_BYTES, 0);
        bytes
    }

    /// Reads both copies and returns the newer valid one.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] for another version or byte order, [`Error::Corrupt`] if no copy is whole.
    pub fn decode(path: &Path, copies: &[u8]) -> Result<Self> {
        let [first, second] = Self::decode_both(path, copies);
        match (first, second) {
            (Ok(first), Ok(second)) => Ok(if second.sequence > first.sequence {
                second
            } else {
                first
            }),
            (Ok(header), Err(_)) | (Err(_), Ok(header)) => Ok(header),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Reads both copies.
    pub fn decode_both(path: &Path, copies: &[u8]) -> [Result<Self>; 2] {
        [0, 1].map(|copy| {
            let start = copy * COPY_BYTES;
            Self::decode_copy(path, copies.get(start..start + COPY_BYTES))
        })
    }

    fn decode_copy(path: &Path, copy: Option<&[u8]>) -> Result<Self> {
        let corrupt = |reason: &str| Error::Corrupt {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let bytes = copy.ok_or_else(|| {
            corrupt("table.bin is shorter than its headers; restore it from a copy")
        })?;
        if bytes[..8] != MAGIC {
            return Err(corrupt(
                "table.bin doesn't start with the replay's magic; restore it from a copy",
            ));
        }
        let mark = u32_at(bytes, 8);
        if mark == ENDIAN_MARK.swap_bytes() {
            return Err(foreign(
                path,
                "byte order",
                "the opposite one",
                "native",
                "open it on such a machine",
            ));
        }
        let checksum = u32_at(bytes, CONTENT_BYTES - 4);
        if mark != ENDIAN_MARK || checksum != crc32c(&bytes[..CONTENT_BYTES - 4]) {
            return Err(corrupt(
                "both headers of table.bin fail their checksum; restore it from a copy",
            ));
        }
        let version = u32_at(bytes, 12);
        if version != FORMAT_VERSION {
            let (seen, expected) = (version.to_string(), FORMAT_VERSION.to_string());
            return Err(foreign(
                path,
                "format version",
                &seen,
                &expected,
                "open it with the release that wrote it",
            ));
        }
        Ok(Self {
            schema_hash: u64_at(bytes, 16),
            blocks: u32_at(bytes, 24),
            block_rows: u32_at(bytes, 28),
            sequence: u64_at(bytes, 32),
            snapshot_checksum: u32_at(bytes, 40),
        })
    }
}

/// The error for a buffer that another build or machine wrote.
pub fn foreign(
    path: &Path,
    what: &'static str,
    seen: &str,
    expected: &str,
    cure: &'static str,
) -> Error {
    Error::Foreign {
        path: path.to_owned(),
        what,
        seen: seen.to_owned(),
        expected: expected.to_owned(),
        cure,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(header: Header) -> Vec<u8> {
        [
            header.encode(),
            Header {
                sequence: 2,
                ..header
            }
            .encode(),
        ]
        .concat()
    }

    #[test]
    fn the_newer_whole_copy_wins() {
        let header = Header {
            schema_hash: 7,
            blocks: 3,
            block_rows: 8,
            sequence: 1,
            snapshot_checksum: 5,
        };
        let mut bytes = copies(header);
        assert_eq!(Header::decode(Path::new("x"), &bytes).unwrap().sequence, 2);
        bytes[COPY_BYTES + 17] ^= 1;
        assert_eq!(Header::decode(Path::new("x"), &bytes).unwrap(), header);
        bytes[17] ^= 1;
        assert!(matches!(
            Header::decode(Path::new("x"), &bytes),
            Err(Error::Corrupt { .. })
        ));
    }

    #[test]
    fn another_byte_order_is_named() {
        let mut bytes = copies(Header {
            schema_hash: 7,
            blocks: 3,
            block_rows: 8,
            sequence: 1,
            snapshot_checksum: 5,
        });
        for copy in [0, COPY_BYTES] {
            bytes[copy + 8..copy + 12].reverse();
        }
        let message = Header::decode(Path::new("x"), &bytes)
            .unwrap_err()
            .to_string();
        assert!(message.contains("byte order"), "{message}");
    }
}
