//! How the words of a configuration read as values.
//!
//! Owns the grammar of booleans, numbers and durations, as Envoy accepts them. Called by the
//! decoder and by the constraints. Does not own positions or error messages about ranges.

use std::time::Duration;

/// `true`, and what else Envoy takes for a boolean. `quoted` words may also be `"1"` and `"t"`.
pub(super) fn boolean(text: &str, quoted: bool) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "true" | "yes" | "y" => Some(true),
        "false" | "no" | "n" => Some(false),
        "on" if !quoted => Some(true),
        "off" if !quoted => Some(false),
        "1" | "t" if quoted => Some(true),
        "0" | "f" if quoted => Some(false),
        _ => None,
    }
}

/// Whether YAML reads an unquoted word as a boolean.
pub(super) fn is_plain_boolean(text: &str) -> bool {
    let same_case = text.chars().skip(1).all(|c| c.is_ascii_lowercase())
        || text.chars().all(|c| c.is_ascii_uppercase());
    same_case && boolean(text, false).is_some()
}

/// A number as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    pub(super) const fn as_f64(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "compared with limits far below 2^53"
            )]
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// The number where it is whole: `18000.0` and `1e3` are.
    pub(super) fn as_integer(self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(number),
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 9.0e15 =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                Some(number as i128)
            }
            Self::Float(_) => None,
        }
    }
}

/// A decimal or hexadecimal number. Octal is none: Envoy reads `010` as 8, which nobody means.
pub(super) fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        let hex = hex
            .starts_with(|c: char| c.is_ascii_hexdigit())
            .then_some(hex)?;
        let value = i128::from(u64::from_str_radix(hex, 16).ok()?);
        return Some(Number::Integer(if negative { -value } else { value }));
    }
    if is_octal(digits) {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = digits.parse::<i128>().ok()?;
        return Some(Number::Integer(if negative { -value } else { value }));
    }
    let plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if !digits.bytes().all(plain) {
        return None;
    }
    let value = digits
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())?;
    Some(Number::Float(if negative { -value } else { value }))
}

/// What an unquoted word of a `google.protobuf.Struct` is to Envoy, which knows no decimals there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word<'a> {
    Boolean(bool),
    Integer(i32),
    /// One beyond 32 bits is the text of its decimal digits.
    LargeInteger(i64),
    /// Anything else, as it was written.
    Text(&'a str),
}

/// Reads such a word.
pub(super) fn word(text: &str) -> Word<'_> {
    if is_plain_boolean(text)
        && let Some(value) = boolean(text, false)
    {
        return Word::Boolean(value);
    }
    let Some(Number::Integer(number)) = number(text) else {
        return Word::Text(text);
    };
    match (number.try_into(), number.try_into()) {
        (Ok(number), _) => Word::Integer(number),
        (_, Ok(number)) => Word::LargeInteger(number),
        _ => Word::Text(text),
    }
}

/// Whether the digits have a leading zero, which is octal to Envoy and decimal to YAML 1.2.
pub(super) fn is_octal(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Envoy keeps durations in 64 bits of nanoseconds.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// Decimal seconds with an `s`: `5s`, `0.25s`, at most 9 decimals.
///
/// # Errors
///
/// What is wrong, with the way to write it where it is plain what was meant.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || match in_other_unit(text) {
        Some(seconds) => format!("'{text}' is not a duration in seconds: write '{seconds}s'"),
        None => format!("expected a duration in seconds such as '0.25s', found '{text}'"),
    };
    let decimal = text.strip_suffix('s').ok_or_else(expected)?;
    if decimal.starts_with('-') {
        return Err(format!("a duration cannot be negative: '{text}'"));
    }
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(expected());
    }
    if fraction.len() > 9 {
        return Err(format!("a duration has at most 9 decimals: '{text}'"));
    }
    let too_long = || format!("the duration '{text}' is longer than 292 years");
    let seconds = whole.parse::<u64>().ok().ok_or_else(too_long)?;
    let nanos = format!("{fraction:0<9}")
        .parse::<u32>()
        .ok()
        .ok_or_else(expected)?;
    in_range(seconds, nanos).ok_or_else(too_long)
}

/// A duration that Envoy accepts.
pub(super) fn in_range(seconds: u64, nanos: u32) -> Option<Duration> {
    let duration = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))?;
    (duration <= LONGEST).then_some(duration)
}

/// `250ms` as seconds: the units that people try.
fn in_other_unit(text: &str) -> Option<String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (amount, unit) = text.split_at_checked(at)?;
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "sec" | "secs" | "second" | "seconds" | "S" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hr" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    let total = nanos.checked_mul(amount.trim_end().parse().ok()?)?;
    Some(seconds_text(Duration::from_nanos(total)))
}

/// Decimal seconds, without the `s` and without trailing zeros.
pub(super) fn seconds_text(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_whole_numbers_of_a_struct_are_numbers() {
        let table = [
            ("1", Word::Integer(1)),
            ("-7", Word::Integer(-7)),
            ("0x10", Word::Integer(16)),
            ("2147483647", Word::Integer(i32::MAX)),
            ("2147483648", Word::LargeInteger(2_147_483_648)),
            ("0x100000000", Word::LargeInteger(0x1_0000_0000)),
            ("12345678901234567890", Word::Text("12345678901234567890")),
            ("1.0", Word::Text("1.0")),
            ("-1.50", Word::Text("-1.50")),
            ("1e3", Word::Text("1e3")),
            ("1.0.0", Word::Text("1.0.0")),
            ("yes", Word::Boolean(true)),
            ("Off", Word::Boolean(false)),
            ("yEs", Word::Text("yEs")),
        ];
        for (text, read) in table {
            assert_eq!(word(text), read, "{text}");
        }
    }

    #[test]
    fn booleans_are_envoys() {
        for (text, quoted, value) in [
            ("true", false, Some(true)),
            ("TRUE", false, Some(true)),
            ("yes", true, Some(true)),
            ("off", false, Some(false)),
            ("off", true, None),
            ("1", false, None),
            ("1", true, Some(true)),
            ("", false, None),
            ("maybe", false, None),
        ] {
            assert_eq!(boolean(text, quoted), value, "{text} {quoted}");
        }
        assert!(is_plain_boolean("Yes") && is_plain_boolean("no") && !is_plain_boolean("yEs"));
    }

    #[test]
    fn numbers_are_envoys() {
        for (text, value) in [
            ("0", Some(Number::Integer(0))),
            ("-1", Some(Number::Integer(-1))),
            ("+5", Some(Number::Integer(5))),
            ("0x1F", Some(Number::Integer(31))),
            (
                "18446744073709551615",
                Some(Number::Integer(18_446_744_073_709_551_615)),
            ),
            ("18000.0", Some(Number::Float(18000.0))),
            ("1e3", Some(Number::Float(1000.0))),
            ("010", None),
            ("0o10", None),
            ("0x", None),
            ("0x+1", None),
            ("1_000", None),
            (" 5", None),
            ("5 ", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("nan", None),
            ("inf", None),
            ("1e999", None),
        ] {
            assert_eq!(number(text), value, "{text:?}");
        }
        assert_eq!(Number::Float(1000.0).as_integer(), Some(1000));
        assert_eq!(Number::Float(1.5).as_integer(), None);
        assert_eq!(Number::Float(1e300).as_integer(), None);
    }

    #[test]
    fn durations_are_envoys() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("0.25s", 250_000_000),
            ("1.000000001s", 1_000_000_001),
            ("0s", 0),
            ("9223372036s", 9_223_372_036_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, message) in [
            (
                "250ms",
                "'250ms' is not a duration in seconds: write '0.25s'",
            ),
            ("1m", "'1m' is not a duration in seconds: write '60s'"),
            ("5S", "'5S' is not a duration in seconds: write '5s'"),
            (
                "5",
                "expected a duration in seconds such as '0.25s', found '5'",
            ),
            (
                "1e1s",
                "expected a duration in seconds such as '0.25s', found '1e1s'",
            ),
            (
                ".5s",
                "expected a duration in seconds such as '0.25s', found '.5s'",
            ),
            (
                "5.s",
                "expected a duration in seconds such as '0.25s', found '5.s'",
            ),
            (
                "+5s",
                "expected a duration in seconds such as '0.25s', found '+5s'",
            ),
            ("-1s", "a duration cannot be negative: '-1s'"),
            (
                "1.1234567890s",
                "a duration has at most 9 decimals: '1.1234567890s'",
            ),
            (
                "315576000000s",
                "the duration '315576000000s' is longer than 292 years",
            ),
            (
                "99999999999999999999s",
                "the duration '99999999999999999999s' is longer than 292 years",
            ),
        ] {
            assert_eq!(duration(text), Err(message.to_owned()), "{text}");
        }
        assert_eq!(seconds_text(Duration::from_millis(10_250)), "10.25");
        assert_eq!(seconds_text(Duration::from_secs(10)), "10");
    }
}
