//! `envoy.type.matcher.v3.StringMatcher`: a text, or a part of it, or an expression for all of it.

use nuncio_sdk::{Error, Pattern, Result, Setup};
use serde::Deserialize;

/// `StringMatcher` as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StringMatcher {
    pub(crate) exact: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) suffix: Option<String>,
    pub(crate) contains: Option<String>,
    pub(crate) safe_regex: Option<RegexMatcher>,
    #[serde(default)]
    pub(crate) ignore_case: bool,
}

/// `RegexMatcher`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegexMatcher {
    /// The only engine that there is.
    #[serde(default, rename = "google_re2")]
    _engine: Option<serde::de::IgnoredAny>,
    /// The expression, in RE2's syntax.
    pub regex: String,
}

/// A matcher, looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pattern: Kind,
    /// Case does not count; texts are kept in lower case then. It does in an expression.
    ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    Regex(Pattern),
}

impl StringMatcher {
    /// Looks the matcher up.
    ///
    /// # Errors
    /// Not exactly one kind of match, or an expression that does not compile.
    pub fn look_up(self, setup: &mut Setup) -> Result<Match> {
        let ignore_case = self.ignore_case;
        let text = |text: String| match ignore_case {
            true => text.to_ascii_lowercase().into_bytes(),
            false => text.into_bytes(),
        };
        let mut given = Vec::new();
        given.extend(self.exact.map(|it| Kind::Exact(text(it))));
        given.extend(self.prefix.map(|it| Kind::Prefix(text(it))));
        given.extend(self.suffix.map(|it| Kind::Suffix(text(it))));
        given.extend(self.contains.map(|it| Kind::Contains(text(it))));
        if let Some(regex) = self.safe_regex {
            given.push(Kind::Regex(setup.pattern(&regex.regex)?));
        }
        let mut given = given.into_iter();
        match (given.next(), given.next()) {
            (Some(pattern), None) => Ok(Match {
                pattern,
                ignore_case,
            }),
            _ => Err(Error::msg(
                "a matcher has one of `exact`, `prefix`, `suffix`, `contains` and `safe_regex`",
            )),
        }
    }
}

impl Match {
    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        if let Kind::Regex(pattern) = self.pattern {
            return pattern.matches(text);
        }
        if self.ignore_case {
            return self.pattern.matches(&text.to_ascii_lowercase());
        }
        self.pattern.matches(text)
    }
}

impl Kind {
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => {
                part.is_empty() || text.windows(part.len()).any(|window| window == part)
            }
            Self::Regex(pattern) => pattern.matches(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_sdk::testing::{Host, Value, json};
    use nuncio_sdk::{Filter, Flow, Interest, RequestHeaders};

    use super::*;

    /// A filter that answers where the path matches.
    struct Matching(Match);

    impl Filter for Matching {
        type Config = StringMatcher;
        type Stream = ();

        fn configure(matcher: StringMatcher, setup: &mut Setup) -> Result<Self> {
            matcher.look_up(setup).map(Self)
        }

        fn interest(&self) -> Interest {
            Interest::new().request_headers()
        }

        fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
            let mut matching = Vec::new();
            for (name, _) in cx.request().entries() {
                if self.0.matches(&name) {
                    matching.extend_from_slice(&name);
                    matching.push(b' ');
                }
            }
            cx.set_metadata("test", "matching", matching)?;
            Ok(Flow::Next)
        }
    }

    fn matching(matcher: Value, text: &str) -> bool {
        let filter = Host::new().configure::<Matching>(matcher).unwrap();
        let mut stream = filter.stream();
        stream.on_request_headers(&[(text, "")], true).unwrap();
        !stream.metadata("test", "matching").unwrap().is_empty()
    }

    #[test]
    fn each_kind_of_match() {
        for (matcher, yes, no) in [
            (json!({ "exact": "a.b" }), "a.b", "a.bc"),
            (json!({ "prefix": "a." }), "a.b", "b.a."),
            (json!({ "suffix": ".b" }), "a.b", ".ba"),
            (json!({ "contains": "-x-" }), "a-x-b", "a-xb"),
            (
                json!({ "safe_regex": { "google_re2": {}, "regex": "a.*" } }),
                "ab",
                "ba",
            ),
            (json!({ "exact": "A.B", "ignore_case": true }), "a.b", "a.c"),
            (json!({ "contains": "X", "ignore_case": true }), "axb", "a"),
            // The names of the test are in lower case.
            (
                json!({ "safe_regex": { "regex": "[a-z]" }, "ignore_case": true }),
                "a",
                "ab",
            ),
        ] {
            assert!(matching(matcher.clone(), yes), "{matcher} {yes}");
            assert!(!matching(matcher.clone(), no), "{matcher} {no}");
        }
    }

    #[test]
    fn a_matcher_has_one_kind() {
        for matcher in [
            json!({}),
            json!({ "exact": "a", "prefix": "b" }),
            json!({ "ignore_case": true }),
            json!({ "custom": {} }),
            json!({ "safe_regex": { "regex": "(" } }),
        ] {
            assert!(Host::new().configure::<Matching>(matcher).is_err());
        }
    }
}
