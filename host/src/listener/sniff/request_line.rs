//! The first line of HTTP: which version a client speaks in clear text.
//!
//! Owns telling HTTP/2 with prior knowledge, HTTP/1.1 and HTTP/1.0 from anything else. Does not own
//! whether the request is a good one: that is `h1`'s.

use super::Sniffed;
use crate::headers::is_token_byte;

/// What HTTP/2 with prior knowledge begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest method that is waited for: extension methods are shorter.
const METHOD_MAX: usize = 32;

/// A version, as the application protocol that filter chains match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `http/1.0`.
    Http10,
    /// `http/1.1`.
    Http11,
    /// `h2c`.
    Http2,
}

impl Version {
    /// The name in `application_protocols`.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::Http2 => "h2c",
        }
    }
}

/// Reads what there is of a first line.
#[must_use]
pub fn parse(bytes: &[u8]) -> Sniffed<Version> {
    if bytes.starts_with(PREFACE) {
        return Sniffed::Found(Version::Http2);
    }
    if PREFACE.starts_with(bytes) {
        return Sniffed::Partial;
    }
    let method = bytes.iter().position(|byte| !is_token_byte(*byte));
    match method.map(|end| (end, bytes.get(end))) {
        // No method yet.
        None if bytes.len() <= METHOD_MAX => return Sniffed::Partial,
        Some((1..=METHOD_MAX, Some(b' '))) => {}
        _ => return Sniffed::Other,
    }
    let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
        return Sniffed::Partial;
    };
    let line = bytes.get(..end).unwrap_or_default();
    match line.rsplit(|byte| *byte == b' ').next() {
        Some(b"HTTP/1.1") => Sniffed::Found(Version::Http11),
        Some(b"HTTP/1.0") => Sniffed::Found(Version::Http10),
        _ => Sniffed::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let found = Sniffed::Found;
        for (text, wanted) in [
            ("GET / HTTP/1.1\r\n", found(Version::Http11)),
            ("GET / HTTP/1.0\n", found(Version::Http10)),
            ("M-SEARCH * HTTP/1.1\r\nhost: a", found(Version::Http11)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nx", found(Version::Http2)),
            ("PRI * HTTP/2.0\r\n\r\nSM", Sniffed::Partial),
            ("PRI * HTTP/2.0\r\n\r\nXX", Sniffed::Other),
            ("", Sniffed::Partial),
            ("GE", Sniffed::Partial),
            ("GET /long", Sniffed::Partial),
            ("GET / HTTP/1.2\r\n", Sniffed::Other),
            ("GET /\r\n", Sniffed::Other),
            ("\r\nGET / HTTP/1.1\r\n", Sniffed::Other),
            (" GET / HTTP/1.1\r\n", Sniffed::Other),
            ("G\u{1}T / HTTP/1.1\r\n", Sniffed::Other),
            ("\u{16}\u{3}", Sniffed::Other),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Sniffed::Other),
        ] {
            assert_eq!(parse(text.as_bytes()), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_beginning_waits() {
        for text in ["GET /x HTTP/1.1\r", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end]), Sniffed::Partial, "{end}");
            }
        }
    }
}
