//! Base64 (RFC 4648 §4), with or without its padding.

use nuncio_filter_config::base64;

/// The bytes that a text stands for; none where it is no such text.
pub(crate) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let bare = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"="));
    let mut padded = bare.unwrap_or(text).to_vec();
    padded.resize(padded.len().next_multiple_of(4), b'=');
    base64::decode(&padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_decoded() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zg", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg", Some("foob")),
            ("Zm9vYmFy", Some("foobar")),
            ("Z", None),
            ("Zm9v=Yg", None),
            ("Zm 9v", None),
            ("Zh", None),
        ] {
            let decoded = decoded(text.as_bytes());
            assert_eq!(decoded.as_deref(), bytes.map(str::as_bytes), "{text}");
        }
    }
}
