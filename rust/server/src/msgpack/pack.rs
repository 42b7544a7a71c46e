//! Writes values.

/// A buffer that values are appended to, in `MessagePack`'s shortest form.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Packer {
    bytes: Vec<u8>,
}

impl Packer {
    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets everything behind the first `length` bytes; keeps the memory.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes that are `MessagePack` already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// `nil`.
    pub fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    /// A boolean.
    pub fn boolean(&mut self, value: bool) {
        self.bytes.push(if value { 0xc3 } else { 0xc2 });
    }

    /// The head of an array; `count` values must follow.
    pub fn array(&mut self, count: usize) {
        match count {
            0..=15 => self.bytes.push(0x90 | count as u8),
            16..=0xffff => {
                self.bytes.push(0xdc);
                self.raw(&(count as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(0xdd);
                self.raw(&(count as u32).to_be_bytes());
            }
        }
    }

    /// An unsigned integer.
    pub fn unsigned(&mut self, value: u64) {
        match value {
            0..=0x7f => self.bytes.push(value as u8),
            0x80..=0xff => self.raw(&[0xcc, value as u8]),
            0x100..=0xffff => {
                self.bytes.push(0xcd);
                self.raw(&(value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.bytes.push(0xce);
                self.raw(&(value as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(0xcf);
                self.raw(&value.to_be_bytes());
            }
        }
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            self.unsigned(value);
        } else if value >= -32 {
            self.bytes.push(value as u8);
        } else {
            self.bytes.push(0xd3);
            self.raw(&value.to_be_bytes());
        }
    }

    /// A 32-bit float.
    pub fn single(&mut self, value: f32) {
        self.bytes.push(0xca);
        self.raw(&value.to_be_bytes());
    }

    /// A 64-bit float.
    pub fn double(&mut self, value: f64) {
        self.bytes.push(0xcb);
        self.raw(&value.to_be_bytes());
    }

    /// Text.
    pub fn text(&mut self, value: &str) {
        let count = value.len();
        match count {
            0..=31 => self.bytes.push(0xa0 | count as u8),
            32..=0xff => self.raw(&[0xd9, count as u8]),
            0x100..=0xffff => {
                self.bytes.push(0xda);
                self.raw(&(count as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(0xdb);
                self.raw(&(count as u32).to_be_bytes());
            }
        }
        self.raw(value.as_bytes());
    }

    /// Bytes.
    pub fn binary(&mut self, value: &[u8]) {
        let count = value.len();
        match count {
            0..=0xff => self.raw(&[0xc4, count as u8]),
            0x100..=0xffff => {
                self.bytes.push(0xc5);
                self.raw(&(count as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(0xc6);
                self.raw(&(count as u32).to_be_bytes());
            }
        }
        self.raw(value);
    }
}
