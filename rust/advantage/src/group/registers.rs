//! AVX2 registers with one number for each of eight groups, and what `wide.rs` does with them.

use std::arch::x86_64::{
    __m256, __m256d, _CMP_LE_OQ, _mm256_add_pd, _mm256_andnot_pd, _mm256_castps256_ps128,
    _mm256_cmp_pd, _mm256_cvtpd_ps, _mm256_cvtps_pd, _mm256_div_pd, _mm256_extractf128_ps,
    _mm256_loadu_ps, _mm256_max_pd, _mm256_movemask_pd, _mm256_mul_pd, _mm256_permute2f128_ps,
    _mm256_set_m128, _mm256_set1_pd, _mm256_shuffle_ps, _mm256_sqrt_pd, _mm256_storeu_pd,
    _mm256_storeu_ps, _mm256_sub_pd, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

/// One f32 for each group.
pub(super) type Singles = __m256;

/// One f64 for each group.
#[derive(Clone, Copy)]
pub(super) struct Doubles(__m256d, __m256d);

macro_rules! of_two {
    ($($(#[$attribute:meta])* $name:ident = $instruction:ident;)*) => {$(
        $(#[$attribute])*
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn $name(self, other: Self) -> Self {
            Self($instruction(self.0, other.0), $instruction(self.1, other.1))
        }
    )*};
}

impl Doubles {
    of_two! {
        plus = _mm256_add_pd;
        minus = _mm256_sub_pd;
        times = _mm256_mul_pd;
        over = _mm256_div_pd;
        /// `other` where the two are equal or one is NaN.
        larger = _mm256_max_pd;
        /// 0 where `self` is a true mask.
        hides = _mm256_andnot_pd;
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn all(value: f64) -> Self {
        let same = _mm256_set1_pd(value);
        Self(same, same)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn widened(singles: Singles) -> Self {
        Self(
            _mm256_cvtps_pd(_mm256_castps256_ps128(singles)),
            _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(singles)),
        )
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn narrowed(self) -> Singles {
        _mm256_set_m128(_mm256_cvtpd_ps(self.1), _mm256_cvtpd_ps(self.0))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn root(self) -> Self {
        Self(_mm256_sqrt_pd(self.0), _mm256_sqrt_pd(self.1))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn magnitude(self) -> Self {
        Self::all(-0.0).hides(self)
    }

    /// A mask; false where one is NaN.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn is_at_most(self, other: Self) -> Self {
        Self(
            _mm256_cmp_pd::<_CMP_LE_OQ>(self.0, other.0),
            _mm256_cmp_pd::<_CMP_LE_OQ>(self.1, other.1),
        )
    }

    /// A mask as a bit for each group.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn bits(self) -> u8 {
        (_mm256_movemask_pd(self.0) | _mm256_movemask_pd(self.1) << 4) as u8
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn stored(self) -> [f64; 8] {
        let mut out = [0.0; 8];
        // SAFETY: two registers of four f64 fill the eight.
        unsafe {
            _mm256_storeu_pd(out.as_mut_ptr(), self.0);
            _mm256_storeu_pd(out.as_mut_ptr().add(4), self.1);
        }
        out
    }
}

/// Eight f32 that lie side by side.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn load(from: &[f32]) -> Singles {
    let from: &[f32; 8] = from[..8].try_into().expect("eight were taken");
    // SAFETY: eight f32 are there.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

/// The way back from [`load`].
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store(singles: Singles, into: &mut [f32]) {
    let into: &mut [f32; 8] = (&mut into[..8]).try_into().expect("eight were taken");
    // SAFETY: there is room for eight f32.
    unsafe { _mm256_storeu_ps(into.as_mut_ptr(), singles) }
}

/// Rows become columns: pairs first, then quadruples within the halves of the registers, then the halves.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn transposed(rows: [Singles; 8]) -> [Singles; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let (upper, lower) = (quarters(a, b, c, d), quarters(e, f, g, h));
    let mut columns = rows;
    for index in 0..4 {
        columns[index] = _mm256_permute2f128_ps::<0x20>(upper[index], lower[index]);
        columns[index + 4] = _mm256_permute2f128_ps::<0x31>(upper[index], lower[index]);
    }
    columns
}

#[target_feature(enable = "avx2")]
#[inline]
fn quarters(a: Singles, b: Singles, c: Singles, d: Singles) -> [Singles; 4] {
    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (other_low, other_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    [
        _mm256_shuffle_ps::<0x44>(low, other_low),
        _mm256_shuffle_ps::<0xee>(low, other_low),
        _mm256_shuffle_ps::<0x44>(high, other_high),
        _mm256_shuffle_ps::<0xee>(high, other_high),
    ]
}
