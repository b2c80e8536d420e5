//! Protobuf's scalars in JSON: numbers may be strings, durations are strings, enumerations are names
//! or numbers.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// `google.protobuf.UInt32Value` or `uint32`: a number, or a number in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UInt32(pub u32);

/// `uint64`: a number, or a number in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UInt64(pub u64);

impl<'de> Deserialize<'de> for UInt32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, "a number from 0 to 4294967295").map(Self)
    }
}

impl<'de> Deserialize<'de> for UInt64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, "a number from 0 to 18446744073709551615").map(Self)
    }
}

/// What protobuf's JSON allows for a number without a sign.
fn number<'de, D, N>(deserializer: D, expected: &'static str) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64> + FromStr,
{
    struct Number<N>(&'static str, PhantomData<N>);

    impl<N: TryFrom<u64> + FromStr> Visitor<'_> for Number<N> {
        type Value = N;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<N, E> {
            N::try_from(value)
                .map_err(|_cause| E::invalid_value(Unexpected::Unsigned(value), &self))
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<N, E> {
            value
                .parse()
                .map_err(|_cause| E::invalid_value(Unexpected::Str(value), &self))
        }
    }

    deserializer.deserialize_any(Number(expected, PhantomData))
}

/// `google.protobuf.Duration`: seconds with at most nine decimals, such as `0.25s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(pub time::Duration);

impl Duration {
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('s')?;
        let (seconds, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
            return None;
        }
        let nanos = format!("{decimals:0<9}").parse().ok()?;
        Some(Self(time::Duration::new(seconds.parse().ok()?, nanos)))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let expected = "seconds with at most nine decimals, such as \"0.25s\"";
            D::Error::invalid_value(Unexpected::Str(&text), &expected)
        })
    }
}

/// `envoy.type.v3.FractionalPercent`: so many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fraction {
    #[serde(default = "zero")]
    numerator: UInt32,
    #[serde(default)]
    denominator: Denominator,
}

const fn zero() -> UInt32 {
    UInt32(0)
}

impl Default for UInt32 {
    fn default() -> Self {
        zero()
    }
}

/// `envoy.type.v3.FractionalPercent.DenominatorType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Enum")]
enum Denominator {
    #[default]
    Hundred,
    TenThousand,
    Million,
}

impl TryFrom<Enum> for Denominator {
    type Error = String;

    fn try_from(value: Enum) -> Result<Self, String> {
        value.pick(&[
            ("HUNDRED", 0, Self::Hundred),
            ("TEN_THOUSAND", 1, Self::TenThousand),
            ("MILLION", 2, Self::Million),
        ])
    }
}

impl Fraction {
    /// None of any.
    pub const NONE: Self = Self {
        numerator: UInt32(0),
        denominator: Denominator::Hundred,
    };

    /// All.
    pub const ALL: Self = Self {
        numerator: UInt32(100),
        denominator: Denominator::Hundred,
    };

    /// How many.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator.0
    }

    /// The same, but no more than so many.
    #[must_use]
    pub fn at_most(self, numerator: u32) -> Self {
        Self {
            numerator: UInt32(self.numerator.0.min(numerator)),
            ..self
        }
    }

    /// Of how many: 100, 10 000 or 1 000 000.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        match self.denominator {
            Denominator::Hundred => 100,
            Denominator::TenThousand => 10_000,
            Denominator::Million => 1_000_000,
        }
    }
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeFraction {
    /// The fraction.
    pub default_value: Fraction,
    /// The runtime value that counts in its place, where there is one; none where it is empty.
    #[serde(default)]
    pub runtime_key: String,
}

/// A value of an enumeration, by name in any case or by number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Enum {
    Name(String),
    Number(i32),
}

impl Enum {
    pub(crate) fn pick<T: Copy>(&self, values: &[(&str, i32, T)]) -> Result<T, String> {
        let is_this = |(name, number, _): &&(&str, i32, T)| match self {
            Self::Name(text) => text.eq_ignore_ascii_case(name),
            Self::Number(n) => n == number,
        };
        match (values.iter().find(is_this), self) {
            (Some((_, _, value)), _) => Ok(*value),
            (None, Self::Name(text)) => Err(format!("unknown enum value: '{text}'")),
            (None, Self::Number(n)) => Err(format!("unknown enum value: {n}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_strings() {
        for (json, expected) in [
            ("7", Some(7)),
            ("\"7\"", Some(7)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("-1", None),
            ("\"seven\"", None),
            ("1.5", None),
            ("true", None),
        ] {
            let read: Option<UInt32> = serde_json::from_str(json).ok();
            assert_eq!(read, expected.map(UInt32), "{json}");
        }
    }

    #[test]
    fn durations_have_at_most_nine_decimals() {
        let of = |seconds, nanos| Some(time::Duration::new(seconds, nanos));
        for (text, expected) in [
            ("1s", of(1, 0)),
            ("0.05s", of(0, 50_000_000)),
            ("2.000000001s", of(2, 1)),
            ("0.0000000001s", None),
            ("1", None),
            ("250ms", None),
            ("-1s", None),
            (".5s", None),
            ("1.s", None),
            ("s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(Duration::parse(text).map(|d| d.0), expected, "{text}");
        }
    }

    #[test]
    fn fractions_have_three_denominators() {
        for (json, expected) in [
            ("{}", Some((0, 100))),
            (r#"{"numerator": 100}"#, Some((100, 100))),
            (
                r#"{"numerator": "5", "denominator": "TEN_THOUSAND"}"#,
                Some((5, 10_000)),
            ),
            (
                r#"{"numerator": 1, "denominator": "million"}"#,
                Some((1, 1_000_000)),
            ),
            (
                r#"{"numerator": 1, "denominator": 2}"#,
                Some((1, 1_000_000)),
            ),
            (r#"{"denominator": "THOUSAND"}"#, None),
            (r#"{"denominator": 100}"#, None),
        ] {
            let read: Option<Fraction> = serde_json::from_str(json).ok();
            assert_eq!(
                read.map(|f| (f.numerator(), f.denominator())),
                expected,
                "{json}"
            );
        }
    }
}
