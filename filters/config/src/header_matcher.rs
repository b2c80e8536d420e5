//! `envoy.config.route.v3.HeaderMatcher`: what a header must be.

use nuncio_sdk::{Error, Fields, HeaderName, Result, Setup};
use serde::Deserialize;

use crate::matcher::{Match, RegexMatcher, StringMatcher};

/// `HeaderMatcher` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatcher {
    name: String,
    exact_match: Option<String>,
    prefix_match: Option<String>,
    suffix_match: Option<String>,
    contains_match: Option<String>,
    safe_regex_match: Option<RegexMatcher>,
    string_match: Option<StringMatcher>,
    range_match: Option<Range>,
    present_match: Option<bool>,
    #[serde(default)]
    invert_match: bool,
    #[serde(default)]
    treat_missing_header_as_empty: bool,
}

/// `envoy.type.v3.Int64Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    #[serde(default)]
    start: i64,
    #[serde(default)]
    end: i64,
}

/// A matcher, looked up.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    name: HeaderName,
    test: Test,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Present(bool),
    Text(Match),
    Range(Range),
}

impl HeaderMatcher {
    /// Looks the matcher up.
    ///
    /// # Errors
    /// Not a name, more than one test, or an expression that does not compile.
    pub fn look_up(self, setup: &mut Setup) -> Result<HeaderMatch> {
        let text = |kind: fn(&mut StringMatcher) -> &mut Option<String>, text: String| {
            let mut matcher = StringMatcher::default();
            *kind(&mut matcher) = Some(text);
            matcher
        };
        let mut texts = Vec::new();
        texts.extend(self.exact_match.map(|it| text(|m| &mut m.exact, it)));
        texts.extend(self.prefix_match.map(|it| text(|m| &mut m.prefix, it)));
        texts.extend(self.suffix_match.map(|it| text(|m| &mut m.suffix, it)));
        texts.extend(self.contains_match.map(|it| text(|m| &mut m.contains, it)));
        texts.extend(self.safe_regex_match.map(|regex| StringMatcher {
            safe_regex: Some(regex),
            ..StringMatcher::default()
        }));
        texts.extend(self.string_match);
        let mut tests = Vec::new();
        for matcher in texts {
            tests.push(Test::Text(matcher.look_up(setup)?));
        }
        tests.extend(self.range_match.map(Test::Range));
        tests.extend(self.present_match.map(Test::Present));
        let mut tests = tests.into_iter();
        let test = tests.next().unwrap_or(Test::Present(true));
        if tests.next().is_some() {
            return Err(Error::msg(format!(
                "`{}` has more than one test",
                self.name
            )));
        }
        Ok(HeaderMatch {
            name: setup.header_name(&self.name)?,
            test,
            invert: self.invert_match,
            missing_is_empty: self.treat_missing_header_as_empty,
        })
    }
}

impl HeaderMatch {
    /// Whether the headers match: of a name that is there more than once, whether any value does. Where
    /// there is none, nothing matches but what asks for that.
    #[must_use]
    pub fn matches(&self, headers: &Fields<'_>) -> bool {
        let values = headers.get_all(self.name);
        let is_there = !values.is_empty();
        if let Test::Present(present) = self.test {
            return ((is_there || self.missing_is_empty) == present) != self.invert;
        }
        if !is_there {
            return self.missing_is_empty && self.test.matches(b"") != self.invert;
        }
        values.iter().any(|value| self.test.matches(value)) != self.invert
    }
}

impl Test {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(present) => *present,
            Self::Text(text) => text.matches(value),
            Self::Range(Range { start, end }) => {
                let number = std::str::from_utf8(value).ok();
                let number = number.and_then(|text| text.parse::<i64>().ok());
                number.is_some_and(|number| (*start..*end).contains(&number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_sdk::testing::{Host, Value, json};
    use nuncio_sdk::{Filter, Flow, Interest, LocalReply, RequestHeaders};

    use super::*;

    /// A filter that answers where the headers match.
    struct Matching(HeaderMatch);

    impl Filter for Matching {
        type Config = HeaderMatcher;
        type Stream = ();

        fn configure(matcher: HeaderMatcher, setup: &mut Setup) -> Result<Self> {
            matcher.look_up(setup).map(Self)
        }

        fn interest(&self) -> Interest {
            Interest::new().request_headers()
        }

        fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
            match self.0.matches(&cx.request()) {
                true => Ok(LocalReply::new(200).into()),
                false => Ok(Flow::Next),
            }
        }
    }

    fn matches(mut matcher: Value, headers: &[(&str, &str)]) -> bool {
        matcher["name"] = json!("X-A");
        let filter = Host::new().configure::<Matching>(matcher).unwrap();
        let flow = filter.stream().on_request_headers(headers, true).unwrap();
        flow != Flow::Next
    }

    #[test]
    fn each_test() {
        const NONE: &[(&str, &str)] = &[];
        let one = &[("x-a", "10")][..];
        let two = &[("x-a", "10"), ("x-a", "b")][..];
        for (matcher, headers, expected) in [
            (json!({}), one, true),
            (json!({}), NONE, false),
            (json!({ "present_match": false }), NONE, true),
            (
                json!({ "present_match": true, "invert_match": true }),
                NONE,
                true,
            ),
            (json!({ "exact_match": "10" }), one, true),
            (json!({ "exact_match": "b" }), two, true),
            (json!({ "prefix_match": "1" }), one, true),
            (json!({ "suffix_match": "1" }), one, false),
            (json!({ "contains_match": "0," }), two, false),
            (
                json!({ "safe_regex_match": { "regex": "[0-9]*" } }),
                one,
                true,
            ),
            (
                json!({ "string_match": { "exact": "10" }, "invert_match": true }),
                one,
                false,
            ),
            (
                json!({ "string_match": { "exact": "11" }, "invert_match": true }),
                one,
                true,
            ),
            (
                json!({ "string_match": { "exact": "11" }, "invert_match": true }),
                NONE,
                false,
            ),
            (
                json!({ "string_match": { "exact": "" }, "treat_missing_header_as_empty": true }),
                NONE,
                true,
            ),
            (
                json!({ "range_match": { "start": 1, "end": 10 } }),
                one,
                false,
            ),
            (
                json!({ "range_match": { "start": 10, "end": 11 } }),
                one,
                true,
            ),
            (
                json!({ "range_match": { "start": 0, "end": 99 } }),
                two,
                true,
            ),
        ] {
            assert_eq!(
                matches(matcher.clone(), headers),
                expected,
                "{matcher} {headers:?}"
            );
        }
    }

    #[test]
    fn a_matcher_has_one_test() {
        for matcher in [
            json!({ "name": "x", "exact_match": "a", "present_match": true }),
            json!({ "name": "x y" }),
            json!({ "exact_match": "a" }),
        ] {
            assert!(Host::new().configure::<Matching>(matcher).is_err());
        }
    }
}
