//! The one atomic word of a block, and the mark word of a row.

/// Most rows in a block.
pub const MAX_BLOCK_ROWS: u32 = 1024;
/// Most processes that can write at the same time; owners are numbered from 1.
pub const MAX_OWNERS: u16 = 1023;

const COUNT_BITS: u32 = 11;
const OWNER_BITS: u32 = 10;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const OWNER_MASK: u64 = (1 << OWNER_BITS) - 1;

/// What a block's table word says: generation (32 bits), owner (10), final places (11), published places (11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockWord {
    /// Turn of the ring in which the block was claimed, from 1; 0 = never claimed.
    pub generation: u32,
    /// The writing process's number, 0 = nobody.
    pub owner: u16,
    /// Published places that hold an episode's last observation, which can't be sampled.
    pub finals: u16,
    /// Published places.
    pub count: u16,
}

impl BlockWord {
    /// Reads a table word. Any bit pattern is accepted: bounds are checked where the values are used.
    pub fn unpack(bits: u64) -> Self {
        Self {
            generation: (bits >> 32) as u32,
            owner: (bits >> (2 * COUNT_BITS) & OWNER_MASK) as u16,
            finals: (bits >> COUNT_BITS & COUNT_MASK) as u16,
            count: (bits & COUNT_MASK) as u16,
        }
    }

    /// The table word.
    pub fn pack(self) -> u64 {
        u64::from(self.generation) << 32
            | (u64::from(self.owner) & OWNER_MASK) << (2 * COUNT_BITS)
            | (u64::from(self.finals) & COUNT_MASK) << COUNT_BITS
            | (u64::from(self.count) & COUNT_MASK)
    }

    /// The same block with another owner.
    #[must_use]
    pub fn owned_by(self, owner: u16) -> Self {
        Self { owner, ..self }
    }

    /// Rows that can be sampled.
    pub fn rows(self) -> u64 {
        u64::from(self.count.saturating_sub(self.finals))
    }
}

/// What a row's place holds; part of the mark word, beside the checksum of the row's unlinked fields.
///
/// The flags are stored with their complement, so that a torn or foreign word shows, and lie in one atomic word with
/// the checksum, so that a flag can be set on a published row without touching anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// CRC32C of the unlinked fields.
    pub checksum: u32,
    /// `Mark::ROW` or `Mark::FINAL`, and any of the other flags.
    pub flags: u16,
}

impl Mark {
    /// The place holds a transition.
    pub const ROW: u16 = 1;
    /// The place holds only the values after an episode's last transition.
    pub const FINAL: u16 = 2;
    /// Recovery ended the episode here: read `truncated` as true.
    pub const CUT: u16 = 4;
    /// The row must not be sampled: read `quarantined` as true.
    pub const QUARANTINED: u16 = 8;

    /// The row is an episode's first.
    pub const START: u16 = 16;

    /// Reads a mark word; `None` if flags and complement disagree.
    pub fn unpack(bits: u64) -> Option<Self> {
        let flags = (bits >> 32) as u16;
        let complement = (bits >> 48) as u16;
        (flags == !complement).then_some(Self {
            checksum: bits as u32,
            flags,
        })
    }

    /// The upper half of a mark word: the flags and their complement.
    pub const fn flag_bits(flags: u16) -> u32 {
        (!flags as u32) << 16 | flags as u32
    }

    /// The mark word.
    pub fn pack(self) -> u64 {
        u64::from(Self::flag_bits(self.flags)) << 32 | u64::from(self.checksum)
    }

    /// Whether the place holds a transition.
    pub fn is_row(self) -> bool {
        self.flags & Self::ROW != 0
    }

    /// Whether a flag is set.
    pub fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// A reference to one use of a block: its index and generation, in one word; 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockLink {
    /// Index of the block.
    pub block: u32,
    /// Its generation, never 0.
    pub generation: u32,
}

impl BlockLink {
    /// Reads a link word.
    pub fn unpack(bits: u64) -> Option<Self> {
        let generation = bits as u32;
        (generation != 0).then_some(Self {
            block: (bits >> 32) as u32,
            generation,
        })
    }

    /// The link word.
    pub fn pack(self) -> u64 {
        u64::from(self.block) << 32 | u64::from(self.generation)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_survive_packing(generation: u32, owner in 0..=MAX_OWNERS, finals in 0_u16..1025, count in 0_u16..1025) {
            let word = BlockWord { generation, owner, finals, count };
            prop_assert_eq!(BlockWord::unpack(word.pack()), word);
        }

        #[test]
        fn a_mark_with_a_flipped_flag_is_refused(checksum: u32, flags: u16, bit in 32_u32..64) {
            let bits = Mark { checksum, flags }.pack();
            prop_assert_eq!(Mark::unpack(bits), Some(Mark { checksum, flags }));
            prop_assert_eq!(Mark::unpack(bits ^ (1 << bit)), None);
        }
    }
}
