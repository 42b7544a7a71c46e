//! Where does the value end? Answered incrementally, in constant memory.

/// Levels of nesting accepted. The deepest honest message, a batch of spawns followed by physics
/// controls, has 14.
pub const MAX_DEPTH: usize = 32;
/// Bytes of one message accepted: the largest map of CARLA's is below half of it.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Why bytes can't be the start of an acceptable message. The connection is closed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanFault {
    /// The byte that `MessagePack` reserves.
    #[error("byte 0xc1 never occurs in MessagePack")]
    Reserved,
    /// More levels than [`MAX_DEPTH`].
    #[error("the message nests deeper than {MAX_DEPTH} levels")]
    Deep,
    /// More bytes, announced or sent, than [`MAX_MESSAGE_BYTES`].
    #[error("the message is larger than {MAX_MESSAGE_BYTES} bytes")]
    Large,
}

/// Walks over one value; keeps its place, so no byte is looked at twice however slowly they come.
#[derive(Debug)]
pub struct Scanner {
    at: usize,
    /// Values still to come on each open level.
    open: [u64; MAX_DEPTH],
    depth: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        let mut open = [0; MAX_DEPTH];
        open[0] = 1;
        Self {
            at: 0,
            open,
            depth: 1,
        }
    }
}

/// What a head announces: bytes of the head, bytes of content behind it, values inside.
struct Head {
    bytes: usize,
    content: u64,
    values: u64,
}

impl Scanner {
    /// Goes on over `bytes`, which begin where the value begins and hold at least what was given before.
    ///
    /// The value's length once it is complete; none while bytes are missing.
    ///
    /// # Errors
    ///
    /// [`ScanFault`], as soon as the bytes seen can't become an acceptable message.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanFault> {
        while self.depth > 0 {
            let Some(head) = head(&bytes[self.at.min(bytes.len())..])? else {
                return Ok(None);
            };
            let room = MAX_MESSAGE_BYTES as u64 - self.at as u64;
            // Every value inside needs a byte at least.
            if head.bytes as u64 + head.content + head.values > room {
                return Err(ScanFault::Large);
            }
            let next = self.at + head.bytes + head.content as usize;
            if next > bytes.len() {
                return Ok(None);
            }
            self.at = next;
            self.open[self.depth - 1] -= 1;
            if head.values > 0 {
                if self.depth == MAX_DEPTH {
                    return Err(ScanFault::Deep);
                }
                self.open[self.depth] = head.values;
                self.depth += 1;
            }
            while self.depth > 0 && self.open[self.depth - 1] == 0 {
                self.depth -= 1;
            }
        }
        Ok(Some(self.at))
    }
}

/// The head at the start of `bytes`; none if it isn't complete.
fn head(bytes: &[u8]) -> Result<Option<Head>, ScanFault> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let scalar = |content| Some((0, content, 0));
    // Width of the length field, fixed content, values inside (fixed forms).
    let fixed = match first {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => scalar(0),
        0x80..=0x8f => Some((0, 0, 2 * u64::from(first & 0x0f))),
        0x90..=0x9f => Some((0, 0, u64::from(first & 0x0f))),
        0xa0..=0xbf => scalar(u64::from(first & 0x1f)),
        0xcc | 0xd0 => scalar(1),
        0xcd | 0xd1 | 0xd4 => scalar(2),
        0xd5 => scalar(3),
        0xca | 0xce | 0xd2 => scalar(4),
        0xd6 => scalar(5),
        0xcb | 0xcf | 0xd3 => scalar(8),
        0xd7 => scalar(9),
        0xd8 => scalar(17),
        0xc1 => return Err(ScanFault::Reserved),
        _ => None,
    };
    if let Some((width, content, values)) = fixed {
        return Ok(Some(Head {
            bytes: 1 + width,
            content,
            values,
        }));
    }
    let width = match first {
        0xc4 | 0xc7 | 0xd9 => 1,
        0xc5 | 0xc8 | 0xda | 0xdc | 0xde => 2,
        _ => 4,
    };
    let Some(field) = bytes.get(1..=width) else {
        return Ok(None);
    };
    let count = field
        .iter()
        .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let (content, values) = match first {
        0xdc | 0xdd => (0, count),
        0xde | 0xdf => (0, 2 * count),
        // An extension carries its type in one more byte.
        0xc7..=0xc9 => (count + 1, 0),
        _ => (count, 0),
    };
    Ok(Some(Head {
        bytes: 1 + width,
        content,
        values,
    }))
}
