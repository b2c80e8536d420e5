//! The query of a path, for the operators that show it.
//!
//! Owns the split of a path at its first `?`, the search for a parameter and percent-decoding.

/// The path without its query.
pub(super) fn without(path: &[u8]) -> &[u8] {
    match memchr::memchr(b'?', path) {
        Some(mark) => path.get(..mark).unwrap_or_default(),
        None => path,
    }
}

/// The query, empty when nothing stands behind the `?`, `None` when there is no `?`.
pub(super) fn of(path: &[u8]) -> Option<&[u8]> {
    path.get(memchr::memchr(b'?', path)? + 1..)
}

/// Appends the decoded value of the first parameter called `name`; false when there is none.
pub(super) fn push_parameter(query: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    for parameter in query.split(|byte| *byte == b'&') {
        let equals = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        let (key, value) = parameter
            .split_at_checked(equals)
            .unwrap_or((parameter, &[]));
        if !key.is_empty() && Decoded(key).eq(name.iter().copied()) {
            out.extend(Decoded(value.strip_prefix(b"=").unwrap_or_default()));
            return true;
        }
    }
    false
}

/// Appends the query with those percent-encoded characters decoded that can be read.
pub(super) fn push_readable(query: &[u8], out: &mut Vec<u8>) {
    let mut rest = query;
    while let Some((first, tail)) = rest.split_first() {
        match decode(rest) {
            Some((byte, after)) if is_readable(byte) => {
                out.push(byte);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
}

/// Whether a URL may show the character as it is.
const fn is_readable(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// The byte that a percent sign and two hexadecimal digits at the start stand for, and the rest.
fn decode(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = bytes else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digit(high)? * 16 + digit(low)?;
    Some((u8::try_from(value).ok()?, rest))
}

/// The bytes of a percent-encoded text; what is not an encoding stays as it is.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let Some((byte, rest)) = decode(self.0) {
            self.0 = rest;
            return Some(byte);
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real Envoy printed for these queries.
    #[test]
    fn parameters_are_those_of_envoy() {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for (query, name, value) in [
            (
                "a=%25%26%3d%c3%a9%7e%20%2b%0a%zz%4",
                "a",
                Some("%&=é~ +\n%zz%4"),
            ),
            ("a=1&a=2&b=x=y&&c", "a", Some("1")),
            ("a=1&a=2&b=x=y&&c", "b", Some("x=y")),
            ("a=1&b", "b", Some("")),
            ("A=1", "a", None),
            ("%61=5", "a", Some("5")),
            ("=v&a", "", None),
            ("", "a", None),
        ] {
            let mut out = Vec::new();
            let found = push_parameter(query.as_bytes(), name.as_bytes(), &mut out);
            assert_eq!(
                found.then(|| text(&out)).as_deref(),
                value,
                "{name} of {query}"
            );
        }
    }

    #[test]
    fn the_readable_form_keeps_what_a_url_may_not_show() {
        let mut out = Vec::new();
        push_readable(
            b"a=%25%26%3d%2f%3f%c3%a9%7e%20%2b%23%22%3c%0a&b%4",
            &mut out,
        );
        assert_eq!(out, b"a=%&=/?%c3%a9~%20+#%22%3c%0a&b%4");
    }

    #[test]
    fn paths_are_split_at_the_first_question_mark() {
        assert_eq!(of(b"/direct??a=1"), Some(&b"?a=1"[..]));
        assert_eq!(of(b"/direct?"), Some(&b""[..]));
        assert_eq!(of(b"/direct"), None);
        assert_eq!(without(b"/a?b?c"), b"/a");
        assert_eq!(without(b"/a"), b"/a");
    }
}
