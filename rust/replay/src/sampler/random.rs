//! Counter-based random numbers: what is drawn follows from a key and a counter, never from what was drawn before.

/// The finaliser of `SplitMix64`.
#[inline]
pub fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Maps a random word to `0..limit`; the bias is below limit / 2^64.
#[inline]
pub fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

/// One try to draw one row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Of the batch: seed and number of the draw.
    pub key: u64,
    /// Of the row in the batch.
    pub index: usize,
    /// Counts the tries of this row; below 2^16.
    pub attempt: u64,
}

impl Draw {
    /// The try's random word.
    #[inline]
    pub fn word(self) -> u64 {
        // The index of a batch as a counter of its own: attempts of different indices never meet.
        let counter = (self.index as u64) << 16 | self.attempt;
        mix(self.key ^ mix(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// A second random word of the same try.
    #[inline]
    pub fn second_word(self) -> u64 {
        mix(self.word() ^ 0xD1B5_4A32_D192_ED03)
    }

    /// The same row's try of that number.
    pub fn at(self, attempt: u64) -> Self {
        Self { attempt, ..self }
    }
}

/// A random word as a number in [0, 1).
pub fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
