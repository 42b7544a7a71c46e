//! Checksums of a row, tied to where the row lies and in which turn of the ring.

use crc32c::crc32c;

use crate::lanes::append;

/// Start of all checksums of one use of a block: a row copied to another place, turn or buffer doesn't pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockSeed(u32);

const LINKED: u32 = 1;
const REST: u32 = 2;

impl BlockSeed {
    /// The seed for a block's generation in a buffer of that schema.
    pub fn new(schema_hash: u64, block: u32, generation: u32) -> Self {
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&schema_hash.to_le_bytes());
        bytes[8..12].copy_from_slice(&block.to_le_bytes());
        bytes[12..].copy_from_slice(&generation.to_le_bytes());
        Self(crc32c(&bytes))
    }

    /// A CRC is a bijection of its start value, so two places or parts never share one for the same bytes.
    #[inline]
    fn of(self, place: u32, part: u32, bytes: &[u8]) -> u32 {
        append(self.0 ^ (place << 2 | part), bytes)
    }

    /// Checksum of a place's linked fields.
    #[inline]
    pub fn linked(self, place: u32, bytes: &[u8]) -> u32 {
        self.of(place, LINKED, bytes)
    }

    /// Checksum of a place's unlinked fields (none for an episode's last observation).
    #[inline]
    pub fn rest(self, place: u32, bytes: &[u8]) -> u32 {
        self.of(place, REST, bytes)
    }
}
