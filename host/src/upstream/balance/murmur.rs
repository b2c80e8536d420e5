//! MurmurHash2, 64 bits, as the C++ standard library of GCC has it.
//!
//! Owns the hash of `hash_function: MURMUR_HASH_2`, which is not cryptographic. Called by `ring`.

/// The seed that `std::hash` has there, and Envoy with it.
pub(super) const STD_SEED: u64 = 0xc70f_6907;

const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;

const fn mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

/// The hash of `bytes`.
#[must_use]
pub(super) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ mix(word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let last = rest
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ last).wrapping_mul(FACTOR);
    }
    mix(mix(hash).wrapping_mul(FACTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_c_plus_plus_library() {
        // `std::_Hash_bytes(text, length, 0xc70f6907)` of libstdc++ on a machine of 64 bits.
        for (text, expected) in VECTORS {
            assert_eq!(hash(text.as_bytes(), STD_SEED), *expected, "{text:?}");
        }
    }

    const VECTORS: &[(&str, u64)] = &[
        ("", 0x553e_9390_1e46_2a6e),
        ("a", 0x454d_dee4_88c1_ed6b),
        ("1234567", 0x6d7a_4e79_e8a2_cbf6),
        ("12345678", 0x8c5b_90a3_3a04_dca5),
        ("123456789", 0xaaeb_28d3_d5f1_65c0),
        ("10.0.0.1:80_17", 0x3d93_8892_823c_2ba7),
        ("the quick brown fox", 0x2658_45dd_fb02_80cd),
    ];
}
