//! One runtime value: its text, and what it is as a number or a share.
//!
//! Owns Envoy's rules for what a text or a JSON value may be read as. Called by `layers`.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::Share;

/// What a value is to who reads it. One value can be several things.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    number: Option<f64>,
    share: Option<Share>,
    truth: Option<bool>,
}

impl Entry {
    /// As a whole number; a fraction is cut off.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cut is meant, and what is negative is no number here"
    )]
    pub fn integer(self) -> Option<u64> {
        self.number.map(|number| number as u64)
    }

    /// As a switch: a word of YAML for one, or a number, which is on unless its whole part is 0.
    #[must_use]
    pub const fn truth(self) -> Option<bool> {
        self.truth
    }

    /// As a number.
    #[must_use]
    pub const fn number(self) -> Option<f64> {
        self.number
    }

    /// As a share: a plain number is a percentage.
    #[must_use]
    pub fn share(self) -> Option<Share> {
        self.share.or_else(|| {
            let percent = self.integer()?;
            Some(Share::percent(u32::try_from(percent).unwrap_or(100)))
        })
    }

    fn of_number(number: f64) -> Self {
        Self {
            number: (0.0..=u64::MAX as f64).contains(&number).then_some(number),
            truth: Some(number.trunc() != 0.0),
            ..Self::default()
        }
    }

    fn of_text(text: &str) -> Self {
        let text = text.trim();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::of_number(number),
            _ => Self {
                share: share_of_text(text),
                truth: truth_of_text(text),
                ..Self::default()
            },
        }
    }
}

/// A value as a layer has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// As people see it.
    pub text: Box<str>,
    /// What it is.
    pub entry: Entry,
}

impl Value {
    /// A value written as text: in a file of a directory, or through the admin page.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self {
            text: text.into(),
            entry: Entry::of_text(text),
        }
    }

    /// A scalar, or an object with `numerator`, of a static layer. `None` for what is no value.
    #[must_use]
    pub fn json(json: &Json) -> Option<Self> {
        match json {
            Json::Null | Json::Array(_) => None,
            Json::Bool(switch) => Some(Self {
                text: switch.to_string().into(),
                entry: Entry {
                    truth: Some(*switch),
                    ..Entry::default()
                },
            }),
            Json::Number(number) => {
                let number = number.as_f64()?;
                Some(Self {
                    text: six_digits(number).into(),
                    entry: Entry::of_number(number),
                })
            }
            Json::String(text) => Some(Self::text(text)),
            Json::Object(members) => {
                let numerator = members
                    .get("numerator")
                    .map_or(Some(0), |numerator| u32::try_from(numerator.as_u64()?).ok());
                let denominator = members.get("denominator").map_or(Some(100), |denominator| {
                    denominator_of(denominator.as_str()?)
                });
                let share = numerator.zip(denominator);
                Some(Self {
                    text: json.to_string().into(),
                    entry: Entry {
                        share: share.and_then(|(of, all)| Share::new(of, all)),
                        ..Entry::default()
                    },
                })
            }
        }
    }
}

/// `{"numerator": 5, "denominator": "TEN_THOUSAND"}`, as JSON or YAML, in one line or several.
fn share_of_text(text: &str) -> Option<Share> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let plain = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let (mut numerator, mut denominator, mut found) = (0, 100, false);
    for member in inner.split([',', '\n']) {
        if member.trim().is_empty() {
            continue;
        }
        let (name, value) = member.split_once(':')?;
        match plain(name).as_str() {
            "numerator" => numerator = plain(value).parse().ok()?,
            "denominator" => denominator = denominator_of(&plain(value))?,
            _ => return None,
        }
        found = true;
    }
    found.then(|| Share::new(numerator, denominator)).flatten()
}

/// The words that YAML has for a switch.
fn truth_of_text(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "yes", "on", "y"]) {
        return Some(true);
    }
    is_one_of(["false", "no", "off", "n"]).then_some(false)
}

/// `FractionalPercent.DenominatorType`.
fn denominator_of(name: &str) -> Option<u32> {
    match name {
        "HUNDRED" => Some(100),
        "TEN_THOUSAND" => Some(10_000),
        "MILLION" => Some(1_000_000),
        _ => None,
    }
}

/// A number with at most six significant digits, as Envoy shows numbers (C's `%g`).
fn six_digits(number: f64) -> String {
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        let short = text.trim_end_matches('0').trim_end_matches('.');
        if text.contains('.') { short } else { text }.to_owned()
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.decimals$}"));
    }
    let mut text = trimmed(digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    // Writing to a string cannot fail.
    let _infallible = write!(text, "e{sign}{:02}", exponent.unsigned_abs());
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_shown_as_c_shows_them() {
        for (number, shown) in [
            (0.0, "0"),
            (50.0, "50"),
            (0.5, "0.5"),
            (99.999_999, "100"),
            (1_234.567_8, "1234.57"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_01, "1e-05"),
            (-3.25, "-3.25"),
        ] {
            assert_eq!(six_digits(number), shown);
        }
    }

    #[test]
    fn texts_are_numbers_or_shares() {
        let entry = |text| Value::text(text).entry;
        assert_eq!(entry("50").integer(), Some(50));
        assert_eq!(entry(" 50 ").share(), Share::new(50, 100));
        assert_eq!(entry("101").share(), Share::new(101, 100));
        assert_eq!(entry("50.9").integer(), Some(50));
        assert_eq!(entry("-1").integer(), None);
        assert_eq!(entry("-1").share(), None);
        assert_eq!(entry("true").integer(), None);
        assert_eq!(entry("true").share(), None);
        assert_eq!(entry("much").share(), None);
        assert_eq!(entry("inf").integer(), None);
        for text in [
            "{\"numerator\": 5, \"denominator\": \"TEN_THOUSAND\"}",
            "{numerator: 5, denominator: TEN_THOUSAND}",
            "numerator: 5\ndenominator: TEN_THOUSAND\n",
        ] {
            assert_eq!(entry(text).share(), Share::new(5, 10_000), "{text}");
            assert_eq!(entry(text).integer(), None);
        }
        assert_eq!(entry("{numerator: 5}").share(), Share::new(5, 100));
        assert_eq!(entry("{numerator: 5, denominator: TEN}").share(), None);
        assert_eq!(entry("{numerator: -5}").share(), None);
        assert_eq!(entry("").share(), None);
    }

    #[test]
    fn switches_are_words_or_numbers() {
        for (text, expected) in [
            ("true", Some(true)),
            (" TRUE ", Some(true)),
            ("yes", Some(true)),
            ("y", Some(true)),
            ("on", Some(true)),
            ("1", Some(true)),
            ("-1", Some(true)),
            ("0.5", Some(false)),
            ("0", Some(false)),
            ("off", Some(false)),
            ("No", Some(false)),
            ("maybe", None),
            ("t", None),
            ("{numerator: 1}", None),
        ] {
            assert_eq!(Value::text(text).entry.truth(), expected, "{text}");
        }
        for (json, expected) in [
            (json!(true), true),
            (json!(false), false),
            (json!(0), false),
        ] {
            assert_eq!(Value::json(&json).unwrap().entry.truth(), Some(expected));
        }
    }

    #[test]
    fn json_is_what_it_looks_like() {
        let entry = |json| Value::json(&json).map(|value| value.entry);
        assert_eq!(entry(json!(null)), None);
        assert_eq!(entry(json!([1])), None);
        assert_eq!(entry(json!(7.5)).unwrap().integer(), Some(7));
        assert_eq!(entry(json!("7")).unwrap().integer(), Some(7));
        assert_eq!(entry(json!(true)).unwrap().integer(), None);
        let share = entry(json!({ "numerator": 1, "denominator": "MILLION" }));
        assert_eq!(share.unwrap().share(), Share::new(1, 1_000_000));
        let odd = entry(json!({ "numerator": "x" }));
        assert_eq!(odd.unwrap().share(), None);
    }
}
