//! The two number types of the arrays, and checks of whole arrays.

use crate::error::{Error, Result};
use crate::group::Outputs;

/// f32 or f64. Arithmetic happens in f64; results are rounded once, when they are written.
pub trait Real: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// Widens.
    fn to_f64(self) -> f64;
    /// Rounds to nearest.
    fn from_f64(value: f64) -> Self;
    /// What is read and written, if it is f32.
    #[inline(always)]
    fn as_f32<'a, 'b>(
        _rewards: &'a [Self],
        _outputs: &'a mut Outputs<'b, Self>,
    ) -> Option<(&'a [f32], &'a mut Outputs<'b, f32>)> {
        None
    }
}

impl Real for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn as_f32<'a, 'b>(
        rewards: &'a [Self],
        outputs: &'a mut Outputs<'b, Self>,
    ) -> Option<(&'a [f32], &'a mut Outputs<'b, f32>)> {
        Some((rewards, outputs))
    }
}

impl Real for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Whether element `index` counts. Any byte but 0 is true.
#[inline(always)]
pub(crate) fn counts(mask: Option<&[u8]>, index: usize) -> bool {
    mask.is_none_or(|mask| mask[index] != 0)
}

/// Refuses an array of another length.
pub(crate) fn require_length(name: &'static str, seen: usize, expected: usize) -> Result<()> {
    if seen == expected {
        return Ok(());
    }
    Err(Error::Length {
        name,
        expected,
        seen,
    })
}

/// Refuses the first element that counts and isn't finite.
pub(crate) fn require_finite<T: Real>(
    name: &'static str,
    array: &[T],
    mask: Option<&[u8]>,
) -> Result<()> {
    let bad = (0..array.len()).find(|&i| !array[i].to_f64().is_finite() && counts(mask, i));
    bad.map_or(Ok(()), |index| {
        Err(Error::NotFinite {
            name,
            index,
            value: array[index].to_f64(),
        })
    })
}
