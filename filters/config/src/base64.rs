//! Base64 with the standard alphabet and with padding (RFC 4648 §4), as gRPC-Web and cookies of sessions
//! use it.
//!
//! Strict: padding is mandatory and stands at the end alone.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends `data` as text.
pub fn encode(data: &[u8], text: &mut Vec<u8>) {
    text.reserve(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = (bits >> (18 - 6 * index)) & 0x3f;
            let letter = ALPHABET.get(sextet as usize).copied().unwrap_or(b'=');
            text.push(if index <= group.len() { letter } else { b'=' });
        }
    }
}

/// The bytes that `text` stands for; none where it is not base64. Its length is a multiple of four.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.chunks(4);
    let last = groups.len().checked_sub(1);
    for (index, group) in groups.enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if group.len() != 4 || padding > 2 || (padding > 0 && Some(index) != last) {
            return None;
        }
        let mut bits = 0;
        for byte in group.iter().take(4 - padding) {
            bits = bits << 6 | value(*byte)?;
        }
        bits <<= 6 * padding;
        // What the padding stands for must be nothing.
        let unused = (1_u32 << (8 * padding)) - 1;
        if bits & unused != 0 {
            return None;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        data.extend(bytes.iter().take(3 - padding));
    }
    Some(data)
}

const fn value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        for (data, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\0\u{7f}>?", "AH8+Pw=="),
        ] {
            let mut encoded = Vec::new();
            encode(data.as_bytes(), &mut encoded);
            assert_eq!(encoded, text.as_bytes());
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(data.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_base64() {
        for text in [
            "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9-", "Zm 9", "Zh==", "Zm9=",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn all_bytes_come_back() {
        let data: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        encode(&data, &mut text);
        assert_eq!(decode(&text), Some(data));
    }
}
