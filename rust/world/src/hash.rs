//! A 64-bit hash for states, configurations and snapshots.

use crate::rng::mix;

/// Hashes bytes: eight at a time through a bijective mixer, then the length. Finds damage and
/// differences; it is no defence against forgery.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0x6a09_e667_f3bc_c908_u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(word)).wrapping_add(hash.rotate_left(23));
    }
    let mut word = [0; 8];
    let rest = chunks.remainder();
    word[..rest.len()].copy_from_slice(rest);
    hash = mix(hash ^ u64::from_le_bytes(word)).wrapping_add(hash.rotate_left(23));
    mix(hash ^ bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_and_the_length_count() {
        let bytes = [7_u8; 21];
        let hash = hash_bytes(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash_bytes(&changed), hash);
        }
        assert_ne!(hash_bytes(&[0; 3]), hash_bytes(&[0; 4]));
        assert_ne!(hash_bytes(&[]), hash_bytes(&[0; 8]));
    }
}
