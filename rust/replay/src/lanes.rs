//! CRC-32C of a few hundred bytes: what a row is.
//!
//! The processor's instruction takes 8 bytes and has its result after three cycles, but begins a new one in each. The
//! crate `crc32c` keeps three sums going for pieces of 768 bytes and more; rows are shorter, and went through one chain
//! (480 bytes: 67 ns, with lanes 29). Here three lanes of any length run side by side. Their sums become one by carry-less
//! multiplication: appending n bytes to a sum is a product with x^(8n) modulo the polynomial, and the instruction itself
//! reduces the product when it is fed in with the next 8 bytes (Gopal et al., Fast CRC Computation for iSCSI Polynomial
//! Using CRC32 Instruction, Intel 2011).

use crc32c::crc32c_append;

/// Shorter input isn't worth three lanes.
#[cfg(target_arch = "x86_64")]
const LEAST_BYTES: usize = 128;
/// Lanes that there are factors for, in words of 8 bytes.
#[cfg(target_arch = "x86_64")]
const MOST_WORDS: usize = 64;
/// From here on the crate's own lanes are used.
#[cfg(target_arch = "x86_64")]
const MOST_BYTES: usize = 8 * 3 * MOST_WORDS;

/// The checksum of what `checksum` stands for, followed by `bytes`.
#[inline]
pub fn append(checksum: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if (LEAST_BYTES..MOST_BYTES).contains(&bytes.len())
        && is_x86_feature_detected!("sse4.2")
        && is_x86_feature_detected!("pclmulqdq")
    {
        // SAFETY: the processor has both instructions.
        return unsafe { x86::append(checksum, bytes) };
    }
    crc32c_append(checksum, bytes)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u64, _mm_cvtsi32_si128,
        _mm_cvtsi128_si64, _mm_xor_si128,
    };

    use super::MOST_WORDS;

    /// The polynomial, lowest power in the highest bit.
    const POLYNOMIAL: u32 = 0x82F6_3B78;

    /// x^(64 n - 33) modulo the polynomial, for n from 1 on; the reduction of a product adds the 33.
    const FACTORS: [u32; 2 * MOST_WORDS + 2] = {
        let mut factors = [0; 2 * MOST_WORDS + 2];
        let mut power = 1 << 31;
        let mut exponent = 0;
        let mut words = 1;
        while words < factors.len() {
            while exponent < 64 * words - 33 {
                power = (power >> 1) ^ (POLYNOMIAL * (power & 1));
                exponent += 1;
            }
            factors[words] = power;
            words += 1;
        }
        factors
    };

    /// # Safety
    ///
    /// The processor has SSE 4.2 and PCLMULQDQ; at least 8 and fewer than `24 * MOST_WORDS` bytes.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    #[inline]
    pub unsafe fn append(checksum: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        let lane = (words.len() - 1) / 3;
        let (first, others) = words.split_at(lane);
        let (second, others) = others.split_at(lane);
        let (third, others) = others.split_at(lane);
        let mut sums = [u64::from(!checksum), 0, 0];
        for ((one, two), three) in first.iter().zip(second).zip(third) {
            sums[0] = _mm_crc32_u64(sums[0], u64::from_le_bytes(*one));
            sums[1] = _mm_crc32_u64(sums[1], u64::from_le_bytes(*two));
            sums[2] = _mm_crc32_u64(sums[2], u64::from_le_bytes(*three));
        }
        let shifted = _mm_xor_si128(shift(sums[0], 2 * lane + 1), shift(sums[1], lane + 1));
        let mut joined = _mm_cvtsi128_si64(shifted).cast_unsigned();
        let mut sum = sums[2];
        for word in others {
            sum = _mm_crc32_u64(sum, u64::from_le_bytes(*word) ^ std::mem::take(&mut joined));
        }
        let mut sum = sum as u32;
        for byte in rest {
            sum = _mm_crc32_u8(sum, *byte);
        }
        !sum
    }

    /// A sum with room for so many words behind it, not reduced yet.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    #[inline]
    fn shift(sum: u64, words: usize) -> __m128i {
        let factor = _mm_cvtsi32_si128(FACTORS[words].cast_signed());
        _mm_clmulepi64_si128::<0>(_mm_cvtsi32_si128((sum as u32).cast_signed()), factor)
    }
}

#[cfg(test)]
mod tests {
    use super::append;
    use crc32c::crc32c_append;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lanes_give_the_crates_checksum(
            bytes in prop::collection::vec(any::<u8>(), 0..1700), checksum in any::<u32>(),
        ) {
            prop_assert_eq!(append(checksum, &bytes), crc32c_append(checksum, &bytes));
        }
    }
}
