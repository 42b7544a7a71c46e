//! What stands in a buffer.

use std::ffi::CStr;
use std::fmt;

/// What an element of a buffer is: its family and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementKind {
    /// `b'f'` float, `b'u'` unsigned, `b'i'` signed, `b'?'` boolean, as in the array interface of `NumPy`.
    pub family: u8,
    /// Bytes of one element.
    pub size_bytes: usize,
}

impl ElementKind {
    /// A kind from its family and width.
    pub const fn new(family: u8, size_bytes: usize) -> Self {
        Self { family, size_bytes }
    }

    /// Reads a `struct` format string; `None` for compound, foreign-endian and unknown formats.
    pub(super) fn from_format(format: &CStr, size_bytes: usize) -> Option<Self> {
        let code = match format.to_bytes() {
            [code] | [b'@' | b'=', code] => *code,
            [b'<', code] if cfg!(target_endian = "little") => *code,
            [b'>' | b'!', code] if cfg!(target_endian = "big") => *code,
            _ => return None,
        };
        let family = match code {
            b'e' | b'f' | b'd' => b'f',
            b'B' | b'H' | b'I' | b'L' | b'Q' | b'N' => b'u',
            b'b' | b'h' | b'i' | b'l' | b'q' | b'n' => b'i',
            b'?' => b'?',
            _ => return None,
        };
        Some(Self::new(family, size_bytes))
    }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.size_bytes.saturating_mul(8);
        match self.family {
            b'f' => write!(formatter, "float{bits}"),
            b'u' => write!(formatter, "uint{bits}"),
            b'i' => write!(formatter, "int{bits}"),
            _ => formatter.write_str("bool"),
        }
    }
}

/// A boolean as Python stores it: any byte but 0 is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flag(pub u8);

impl Flag {
    /// The flag's truth.
    pub fn is_set(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Flag {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

/// A type that may stand in a buffer.
///
/// # Safety
///
/// Every bit pattern of `KIND.size_bytes` bytes is a valid value, and the type has that size and no padding.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// The buffer format that this type matches.
    const KIND: ElementKind;
}

macro_rules! element {
    ($($type:ty => $family:literal),* $(,)?) => {$(
        // SAFETY: a plain number (or `Flag`, a transparent byte): every bit pattern is valid, no padding.
        unsafe impl Element for $type {
            const KIND: ElementKind = ElementKind::new($family, size_of::<$type>());
        }
    )*};
}

element! {
    f32 => b'f', f64 => b'f', Flag => b'?',
    u8 => b'u', u16 => b'u', u32 => b'u', u64 => b'u',
    i8 => b'i', i16 => b'i', i32 => b'i', i64 => b'i',
}
