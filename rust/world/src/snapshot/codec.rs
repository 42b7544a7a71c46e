//! Fields to and from little-endian bytes.

use crate::error::SnapshotError;

/// Reads bytes that may end or lie anywhere.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn bytes<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], SnapshotError> {
        let taken = self.bytes[self.at..].first_chunk::<N>().copied();
        let taken = taken.ok_or(SnapshotError::Truncated {
            seen: self.bytes.len(),
            field,
        })?;
        self.at += N;
        Ok(taken)
    }
}

/// A value with a fixed form in bytes.
pub(super) trait Codec: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(reader: &mut Reader, field: &'static str) -> Result<Self, SnapshotError>;
}

macro_rules! codec_integers {
    ($($kind:ty),*) => {$(
        impl Codec for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(reader: &mut Reader, field: &'static str) -> Result<Self, SnapshotError> {
                reader.bytes(field).map(<$kind>::from_le_bytes)
            }
        }
    )*};
}

macro_rules! codec_floats {
    ($($kind:ty),*) => {$(
        impl Codec for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            /// NaN and infinities are refused: no world holds any.
            fn take(reader: &mut Reader, field: &'static str) -> Result<Self, SnapshotError> {
                let value = <$kind>::from_le_bytes(reader.bytes(field)?);
                if value.is_finite() { Ok(value) } else { Err(SnapshotError::Value { field }) }
            }
        }
    )*};
}

codec_integers!(u8, i8, u32, i32, u64);
codec_floats!(f32, f64);

impl Codec for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(reader: &mut Reader, field: &'static str) -> Result<Self, SnapshotError> {
        match reader.bytes(field)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(SnapshotError::Value { field }),
        }
    }
}

impl<T: Codec + Copy + Default, const N: usize> Codec for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        for value in self {
            value.put(out);
        }
    }

    fn take(reader: &mut Reader, field: &'static str) -> Result<Self, SnapshotError> {
        let mut values = [T::default(); N];
        for value in &mut values {
            *value = T::take(reader, field)?;
        }
        Ok(values)
    }
}

/// A struct field by field. A field left out doesn't compile.
macro_rules! codec_struct {
    ($kind:ident { $($field:ident),* }) => {
        impl Codec for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }

            fn take(reader: &mut Reader, _field: &'static str) -> Result<Self, SnapshotError> {
                Ok(Self { $($field: Codec::take(reader, stringify!($field))?),* })
            }
        }
    };
}
pub(super) use codec_struct;
