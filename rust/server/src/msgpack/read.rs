//! Reads values out of a complete message.

/// A message that is `MessagePack` but not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub struct Malformed {
    /// What should have stood there.
    pub expected: &'static str,
    /// Where, from the start of the message.
    pub at: usize,
}

type Result<T> = std::result::Result<T, Malformed>;

/// A place in a message. Reading moves it forward.
///
/// It takes what CARLA's client takes: integers where a float is expected, doubles where a single is, more
/// members of a tuple than there should be.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of a message.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    const fn fault<T>(&self, expected: &'static str) -> Result<T> {
        Err(Malformed {
            expected,
            at: self.at,
        })
    }

    fn peek(&self, expected: &'static str) -> Result<u8> {
        self.bytes.get(self.at).copied().ok_or(Malformed {
            expected,
            at: self.at,
        })
    }

    /// The `width` bytes behind a head of `head` bytes.
    fn field(&self, head: usize, width: usize, expected: &'static str) -> Result<&'a [u8]> {
        let start = self.at + head;
        start
            .checked_add(width)
            .and_then(|end| self.bytes.get(start..end))
            .ok_or(Malformed {
                expected,
                at: self.at,
            })
    }

    fn unsigned(&self, head: usize, width: usize, expected: &'static str) -> Result<u64> {
        let field = self.field(head, width, expected)?;
        Ok(field
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// Members of an array; the reader stands at the first.
    pub fn array(&mut self) -> Result<usize> {
        const EXPECTED: &str = "an array";
        let (count, bytes) = match self.peek(EXPECTED)? {
            first @ 0x90..=0x9f => (u64::from(first & 0x0f), 1),
            0xdc => (self.unsigned(1, 2, EXPECTED)?, 3),
            0xdd => (self.unsigned(1, 4, EXPECTED)?, 5),
            _ => return self.fault(EXPECTED),
        };
        // Every member needs a byte: a count that can't be true is refused before anything is reserved.
        if count > (self.bytes.len() - self.at) as u64 {
            return self.fault(EXPECTED);
        }
        self.at += bytes;
        Ok(count as usize)
    }

    /// A tuple of at least `least` members, which `read` reads; members beyond them are skipped.
    pub fn tuple<T>(
        &mut self,
        least: usize,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let start = self.at;
        let count = self.array()?;
        if count < least {
            return Err(Malformed {
                expected: "more members in the array",
                at: start,
            });
        }
        let value = read(self)?;
        for _ in least..count {
            self.skip()?;
        }
        Ok(value)
    }

    /// Every member of an array, at most `most`.
    pub fn list<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let start = self.at;
        let count = self.array()?;
        if count > most {
            return Err(Malformed {
                expected: "fewer members in the array",
                at: start,
            });
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// CARLA's optional: `[false]` or `[true, value]`.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        let start = self.at;
        let count = self.array()?;
        if count == 0 {
            return Ok(None);
        }
        let is_set = self.boolean()?;
        match (is_set, count) {
            (false, _) => {
                for _ in 1..count {
                    self.skip()?;
                }
                Ok(None)
            }
            (true, 1) => Err(Malformed {
                expected: "the value of an optional",
                at: start,
            }),
            (true, _) => {
                let value = read(self)?;
                for _ in 2..count {
                    self.skip()?;
                }
                Ok(Some(value))
            }
        }
    }

    /// A boolean.
    pub fn boolean(&mut self) -> Result<bool> {
        let value = match self.peek("a boolean")? {
            0xc2 => false,
            0xc3 => true,
            _ => return self.fault("a boolean"),
        };
        self.at += 1;
        Ok(value)
    }

    /// An integer of any width that fits an `i64`.
    pub fn integer(&mut self) -> Result<i64> {
        const EXPECTED: &str = "an integer";
        let first = self.peek(EXPECTED)?;
        let (value, width) = match first {
            0x00..=0x7f => (i64::from(first), 0),
            0xe0..=0xff => (i64::from(first as i8), 0),
            0xcc => (self.unsigned(1, 1, EXPECTED)? as i64, 1),
            0xcd => (self.unsigned(1, 2, EXPECTED)? as i64, 2),
            0xce => (self.unsigned(1, 4, EXPECTED)? as i64, 4),
            0xcf => match i64::try_from(self.unsigned(1, 8, EXPECTED)?) {
                Ok(value) => (value, 8),
                Err(_) => return self.fault("an integer below 2^63"),
            },
            0xd0 => (i64::from(self.unsigned(1, 1, EXPECTED)? as i8), 1),
            0xd1 => (i64::from(self.unsigned(1, 2, EXPECTED)? as i16), 2),
            0xd2 => (i64::from(self.unsigned(1, 4, EXPECTED)? as i32), 4),
            0xd3 => (self.unsigned(1, 8, EXPECTED)? as i64, 8),
            _ => return self.fault(EXPECTED),
        };
        self.at += 1 + width;
        Ok(value)
    }

    /// An integer in the range of `T`.
    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T> {
        let start = self.at;
        T::try_from(self.integer()?).map_err(|_| Malformed {
            expected: "an integer in range",
            at: start,
        })
    }

    /// A finite number.
    pub fn float(&mut self) -> Result<f64> {
        const EXPECTED: &str = "a finite number";
        let start = self.at;
        let value = match self.peek(EXPECTED)? {
            0xca => {
                let bits = self.unsigned(1, 4, EXPECTED)? as u32;
                self.at += 5;
                f64::from(f32::from_bits(bits))
            }
            0xcb => {
                let bits = self.unsigned(1, 8, EXPECTED)?;
                self.at += 9;
                f64::from_bits(bits)
            }
            _ => self.integer().map_err(|_| Malformed {
                expected: EXPECTED,
                at: start,
            })? as f64,
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Malformed {
                expected: EXPECTED,
                at: start,
            })
        }
    }

    /// A finite number that fits an `f32`.
    pub fn single(&mut self) -> Result<f32> {
        let start = self.at;
        let value = self.float()? as f32;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Malformed {
                expected: "a finite f32",
                at: start,
            })
        }
    }

    /// Text, borrowed from the message.
    pub fn text(&mut self) -> Result<&'a str> {
        const EXPECTED: &str = "text";
        let (length, head) = match self.peek(EXPECTED)? {
            first @ 0xa0..=0xbf => (u64::from(first & 0x1f), 1),
            0xd9 => (self.unsigned(1, 1, EXPECTED)?, 2),
            0xda => (self.unsigned(1, 2, EXPECTED)?, 3),
            0xdb => (self.unsigned(1, 4, EXPECTED)?, 5),
            _ => return self.fault(EXPECTED),
        };
        let field = self.field(head, length as usize, EXPECTED)?;
        let Ok(text) = std::str::from_utf8(field) else {
            return self.fault("text in UTF-8");
        };
        self.at += head + field.len();
        Ok(text)
    }

    /// Steps over one value, whatever it is.
    pub fn skip(&mut self) -> Result<()> {
        let rest = &self.bytes[self.at..];
        match super::Scanner::default().advance(rest) {
            Ok(Some(length)) => {
                self.at += length;
                Ok(())
            }
            _ => self.fault("a value"),
        }
    }
}
