//! Bytes looked at eight at a time.
//!
//! Owns the searches that a head is read with. Heads are made of short runs, for which a call to a
//! vector search costs more than it saves. Does not own what the bytes mean.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// How many bytes [`find`] looks through by itself before it takes a vector search: a number of words.
const NEAR: usize = 96;

/// The high bit of each byte of `word` that is `byte`; of the marks only the lowest is certain.
const fn equal(word: u64, byte: u8) -> u64 {
    let different = word ^ (ONES * byte as u64);
    different.wrapping_sub(ONES) & !different & HIGHS
}

/// The high bit of each byte of `word` that is less than `limit`, which is 128 at most; of the marks
/// only the lowest is certain.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// Which byte of a word the lowest mark is on.
const fn lowest(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Where `byte` first is.
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (near, far) = bytes.split_at(bytes.len().min(NEAR));
    let (words, rest) = near.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = equal(u64::from_le_bytes(*word), byte);
        if found != 0 {
            return Some(index * 8 + lowest(found));
        }
    }
    let seen = words.len() * 8;
    if far.is_empty() {
        let at = rest.iter().position(|there| *there == byte);
        return at.map(|at| seen + at);
    }
    memchr::memchr(byte, far).map(|at| seen + at)
}

/// How many bytes come before the first that is less than `LIMIT` or DEL: all of them where there is
/// none. `LIMIT` is 128 at most.
pub(super) fn run_above<const LIMIT: u8>(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = below(word, LIMIT) | equal(word, 0x7f);
        if found != 0 {
            return index * 8 + lowest(found);
        }
    }
    let is_end = |byte: &u8| *byte < LIMIT || *byte == 0x7f;
    let in_rest = rest.iter().position(is_end).unwrap_or(rest.len());
    words.len() * 8 + in_rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of every length up to some words, with each byte that may matter at each place, between
    /// neighbours that a borrow could mark by mistake.
    fn cases() -> impl Iterator<Item = Vec<u8>> {
        let odd = [
            0, 1, 8, 9, 10, 13, 31, 32, 33, 58, 59, 126, 127, 128, 129, 255,
        ];
        let lengths = (0..=26).chain([NEAR - 1, NEAR, NEAR + 1, NEAR + 9]);
        lengths.flat_map(move |length| {
            let places = (0..length).flat_map(move |at| odd.map(|byte| (at, byte)));
            places.flat_map(move |(at, byte)| {
                odd.map(|next| {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    if let Some(behind) = bytes.get_mut(at + 1) {
                        *behind = next;
                    }
                    bytes
                })
            })
        })
    }

    #[test]
    fn a_byte_is_found_where_a_plain_search_finds_it() {
        assert_eq!(find(b'\n', b""), None);
        for bytes in cases() {
            for byte in *b"\n: \xff" {
                let plain = bytes.iter().position(|there| *there == byte);
                assert_eq!(find(byte, &bytes), plain, "{byte} in {bytes:?}");
            }
        }
    }

    #[test]
    fn a_run_ends_where_a_plain_search_ends_it() {
        fn plain<const LIMIT: u8>(bytes: &[u8]) -> usize {
            let is_end = |byte: &u8| *byte < LIMIT || *byte == 0x7f;
            bytes.iter().position(is_end).unwrap_or(bytes.len())
        }
        assert_eq!(run_above::<32>(b""), 0);
        for bytes in cases() {
            assert_eq!(run_above::<32>(&bytes), plain::<32>(&bytes), "{bytes:?}");
            assert_eq!(run_above::<33>(&bytes), plain::<33>(&bytes), "{bytes:?}");
        }
    }
}
