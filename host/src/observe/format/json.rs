//! JSON strings out of bytes, as Envoy writes them.
//!
//! Owns the escaping of values that are not known to be UTF-8, in place in the output buffer.
//! Called by the formatter for every value of a JSON log and by the statistics pages.

/// Starts a JSON string in `out`; what is appended from here on is its text until [`close`].
pub(in crate::observe) fn open(out: &mut Vec<u8>) -> OpenString {
    let start = out.len();
    out.push(b'"');
    OpenString { start }
}

/// A JSON string whose text is being appended.
#[derive(Clone, Copy)]
#[must_use]
pub(in crate::observe) struct OpenString {
    start: usize,
}

/// Escapes what was appended since [`open`] and ends the string.
///
/// Text that is UTF-8 gets the short escapes where JSON has them. Where it is not, every byte that
/// is not printable ASCII is written as the `\u00xx` of its value, which keeps the bytes readable
/// and the line valid.
pub(in crate::observe) fn close(string: OpenString, out: &mut Vec<u8>) {
    let first = string.start + 1;
    let text = out.get(first..).unwrap_or_default();
    // No early end, so that the loop runs on whole vectors.
    let plain = text
        .iter()
        .fold(true, |plain, byte| plain & is_plain_ascii(*byte));
    if !plain {
        let is_text = std::str::from_utf8(text).is_ok();
        let escape = if is_text {
            Escape::of_text
        } else {
            Escape::of_bytes
        };
        let added = text.iter().map(|byte| escape(*byte).len() - 1).sum();
        spread(out, first, added, escape);
    }
    out.push(b'"');
}

/// Takes a string back, as if [`open`] had not been called.
pub(in crate::observe) fn abandon(string: OpenString, out: &mut Vec<u8>) {
    out.truncate(string.start);
}

const fn is_plain_ascii(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x80 && byte != b'"' && byte != b'\\'
}

/// Moves the bytes from `first` on to their places in a buffer that is longer by `added` bytes,
/// from the last to the first, writing escapes on the way.
fn spread(out: &mut Vec<u8>, first: usize, added: usize, escape: fn(u8) -> Escape) {
    let mut from = out.len();
    let mut to = out.len() + added;
    out.resize(to, 0);
    while from > first && from < to {
        from -= 1;
        let escaped = escape(out.get(from).copied().unwrap_or_default());
        to -= escaped.len();
        if let Some(place) = out.get_mut(to..to + escaped.len()) {
            escaped.write(place);
        }
    }
}

/// Appends `text` as a JSON string.
pub(in crate::observe) fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    let string = open(out);
    out.extend_from_slice(text);
    close(string, out);
}

/// Appends a number in the shorter of the plain and the exponent form, plain when equally long, as
/// Envoy writes numbers that stand in a configuration.
pub(in crate::observe) fn push_f64(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let plain = value.to_string();
    let exponent = format!("{value:e}");
    let exponent = match exponent.split_once('e') {
        Some((digits, power)) => match power.strip_prefix('-') {
            Some(power) => format!("{digits}e-{power:0>2}"),
            None => format!("{digits}e+{power:0>2}"),
        },
        None => exponent,
    };
    let shorter = if exponent.len() < plain.len() {
        exponent
    } else {
        plain
    };
    out.extend_from_slice(shorter.as_bytes());
}

/// How one byte stands in a JSON string.
#[derive(Clone, Copy)]
enum Escape {
    Plain(u8),
    Short(u8),
    Unicode(u8),
}

impl Escape {
    const fn of_text(byte: u8) -> Self {
        match byte {
            b'"' | b'\\' => Self::Short(byte),
            b'\n' => Self::Short(b'n'),
            b'\r' => Self::Short(b'r'),
            b'\t' => Self::Short(b't'),
            0x08 => Self::Short(b'b'),
            0x0c => Self::Short(b'f'),
            0..0x20 => Self::Unicode(byte),
            _ => Self::Plain(byte),
        }
    }

    const fn of_bytes(byte: u8) -> Self {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x80.. => Self::Unicode(byte),
            _ => Self::Plain(byte),
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Short(_) => 2,
            Self::Unicode(_) => 6,
        }
    }

    /// Fills `place`, which has [`Escape::len`] bytes.
    fn write(self, place: &mut [u8]) {
        match self {
            Self::Plain(byte) => place.fill(byte),
            Self::Short(byte) => place.copy_from_slice(&[b'\\', byte]),
            Self::Unicode(byte) => {
                let hex = |nibble: u8| {
                    char::from_digit(u32::from(nibble), 16)
                        .map_or(b'0', |digit| u8::try_from(digit).unwrap_or_default())
                };
                place.copy_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted(bytes: &[u8]) -> String {
        let mut out = b"before".to_vec();
        push_quoted(&mut out, bytes);
        String::from_utf8(out.split_off(6)).unwrap()
    }

    /// What a real Envoy printed for these header values.
    #[test]
    fn strings_are_escaped_as_in_envoy() {
        assert_eq!(quoted(b""), r#""""#);
        assert_eq!(quoted("vé\t\"\\/<".as_bytes()), "\"vé\\t\\\"\\\\/<\"");
        assert_eq!(
            quoted(b"r\xe9\xc3\xa9\"\\\t</"),
            r#""r\u00e9\u00c3\u00a9\u0022\u005c\u0009</""#
        );
        assert_eq!(quoted("a\u{1}\u{7f}".as_bytes()), "\"a\\u0001\u{7f}\"");
    }

    #[test]
    fn numbers_are_as_short_as_in_envoy() {
        for (value, text) in [
            (300_000.0, "3e+05"),
            (60_000.0, "60000"),
            (1_800_000.0, "1800000"),
            (-3.0, "-3"),
            (1.5, "1.5"),
            (1e-7, "1e-07"),
            (f64::NAN, "null"),
            (41.333_333_333_333_336, "41.333333333333336"),
        ] {
            let mut out = Vec::new();
            push_f64(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text: String) {
            let back: String = serde_json::from_str(&quoted(text.as_bytes())).unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn any_bytes_make_a_string(bytes: Vec<u8>) {
            let back: String = serde_json::from_str(&quoted(&bytes)).unwrap();
            if std::str::from_utf8(&bytes).is_err() {
                let codes: Vec<u32> = back.chars().map(u32::from).collect();
                let expected: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
                prop_assert_eq!(codes, expected);
            }
        }
    }
}
