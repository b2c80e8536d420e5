//! What a request has to look like for a route to take it (`RouteMatch`).
//!
//! Owns path, header, query-parameter and gRPC matchers and Envoy's string matcher. Called by
//! `table` for each route in turn. A match allocates nothing. Does not own the order of routes.

use memchr::memmem::Finder;

use super::error::{Problem, Report};
use super::pattern::Pattern;
use super::spec::{
    HeaderMatchSpec, HeaderTestSpec, MatchSpec, PathSpec, QueryMatchSpec, QueryTestSpec,
    StringMatchSpec, StringPatternSpec,
};
use crate::headers::{Headers, Known, Name};

/// A request's `:path` in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uri<'a> {
    /// Up to the query or fragment.
    pub(super) path: &'a [u8],
    /// From the `?` or `#` to the end; empty where there is neither.
    pub(super) rest: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Splits a `:path`.
    pub(super) fn new(target: &'a [u8]) -> Self {
        let end = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
        let (path, rest) = target.split_at_checked(end).unwrap_or((target, b""));
        Self { path, rest }
    }

    /// The value of the first query parameter of that name, as it is written; empty where it has
    /// no `=`.
    pub(super) fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        let query = self.rest.strip_prefix(b"?")?;
        query.split(|byte| *byte == b'&').find_map(|parameter| {
            match memchr::memchr(b'=', parameter).and_then(|at| parameter.split_at_checked(at)) {
                Some((found, value)) if found == name => value.get(1..),
                None if parameter == name => Some(&b""[..]),
                _ => None,
            }
        })
    }
}

/// All criteria of one route; every one of them has to match.
#[derive(Clone, Debug)]
pub(super) struct RouteMatcher {
    path: PathMatcher,
    headers: Box<[HeaderMatcher]>,
    query: Box<[QueryMatcher]>,
    grpc: bool,
    fraction: Option<Fraction>,
}

/// How many of `denominator` requests match; the denominator is not zero.
#[derive(Clone, Copy, Debug)]
struct Fraction {
    numerator: u64,
    denominator: u64,
}

impl RouteMatcher {
    pub(super) fn build(spec: &MatchSpec, report: &mut Report) -> Option<Self> {
        let path = PathMatcher::build(&spec.path, spec.case_sensitive, report);
        let headers = report.items("headers", &spec.headers, HeaderMatcher::build_in);
        let query = report.items(
            "query_parameters",
            &spec.query_parameters,
            QueryMatcher::build,
        );
        let fraction = spec.runtime_fraction.map(|fraction| {
            let Some(denominator) = std::num::NonZero::new(fraction.denominator) else {
                return report.field("runtime_fraction", |r| r.error(Problem::Denominator));
            };
            let denominator = u64::from(denominator.get());
            Some(Fraction {
                numerator: u64::from(fraction.numerator),
                denominator,
            })
        });
        Some(Self {
            path: path?,
            headers,
            query,
            grpc: spec.grpc,
            fraction: fraction.flatten(),
        })
    }

    /// Whether a request matches. `random` is the stream's number, for `runtime_fraction`.
    pub(super) fn matches(&self, request: &Headers, uri: Uri<'_>, random: u64) -> bool {
        self.path.matches(uri.path)
            && self.headers.iter().all(|header| header.matches(request))
            && self.query.iter().all(|parameter| parameter.matches(uri))
            && (!self.grpc || is_grpc(request))
            && self
                .fraction
                .is_none_or(|fraction| random % fraction.denominator < fraction.numerator)
    }

    /// What the path has to look like.
    pub(super) const fn path(&self) -> &PathMatcher {
        &self.path
    }
}

/// `application/grpc`, alone or with a `+` and a message format.
fn is_grpc(request: &Headers) -> bool {
    request
        .known(Known::ContentType)
        .and_then(|value| value.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest, [] | [b'+', ..]))
}

/// `RouteMatch.path_specifier`: matches a path without its query.
#[derive(Clone, Debug)]
pub(super) enum PathMatcher {
    Prefix(Text),
    Path(Text),
    SeparatedPrefix(Text),
    Regex(Pattern),
}

/// A text to compare with.
#[derive(Clone, Debug)]
pub(super) struct Text {
    bytes: Box<[u8]>,
    ignore_case: bool,
}

impl Text {
    fn new(text: &str, ignore_case: bool) -> Self {
        Self {
            bytes: text.as_bytes().into(),
            ignore_case,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    fn equals(&self, text: &[u8]) -> bool {
        if self.ignore_case {
            self.bytes.eq_ignore_ascii_case(text)
        } else {
            *self.bytes == *text
        }
    }

    pub(super) fn begins(&self, text: &[u8]) -> bool {
        text.get(..self.bytes.len())
            .is_some_and(|start| self.equals(start))
    }

    fn ends(&self, text: &[u8]) -> bool {
        let start = text.len().checked_sub(self.bytes.len());
        start
            .and_then(|start| text.get(start..))
            .is_some_and(|end| self.equals(end))
    }
}

impl PathMatcher {
    fn build(spec: &PathSpec, case_sensitive: bool, report: &mut Report) -> Option<Self> {
        let text = |text: &str| Text::new(text, !case_sensitive);
        match spec {
            PathSpec::Prefix(prefix) => Some(Self::Prefix(text(prefix))),
            PathSpec::Path(path) => Some(Self::Path(text(path))),
            PathSpec::PathSeparatedPrefix(prefix) => {
                if prefix.len() < 2 || prefix.contains(['?', '#']) || prefix.ends_with('/') {
                    let problem = Problem::SeparatedPrefix;
                    return report.field("path_separated_prefix", |report| report.error(problem));
                }
                Some(Self::SeparatedPrefix(text(prefix)))
            }
            PathSpec::SafeRegex(regex) => build_regex("safe_regex", regex, report).map(Self::Regex),
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => prefix.begins(path),
            Self::Path(whole) => whole.equals(path),
            Self::SeparatedPrefix(prefix) => {
                prefix.begins(path) && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
            Self::Regex(pattern) => pattern.matches(path),
        }
    }
}

fn build_regex(field: &'static str, regex: &str, report: &mut Report) -> Option<Pattern> {
    report.field(field, |report| {
        report.field("regex", |report| {
            report.take(Pattern::new(regex).map_err(Problem::Pattern))
        })
    })
}

/// `StringMatcher`.
#[derive(Clone, Debug)]
pub(super) struct StringMatcher(StringTest);

#[derive(Clone, Debug)]
enum StringTest {
    Exact(Text),
    Prefix(Text),
    Suffix(Text),
    Contains(Box<Finder<'static>>),
    /// Not empty.
    ContainsIgnoringCase(Text),
    Regex(Pattern),
}

impl StringMatcher {
    fn build(spec: &StringMatchSpec, report: &mut Report) -> Option<Self> {
        let fields = ["exact", "prefix", "suffix", "contains", "safe_regex"];
        if spec.ignore_case && matches!(spec.pattern, StringPatternSpec::SafeRegex(_)) {
            return report.field("ignore_case", |r| r.error(Problem::IgnoreCaseWithRegex));
        }
        Self::build_pattern(&spec.pattern, spec.ignore_case, fields, report)
    }

    /// `fields` are the names that the patterns have here, in the order of the variants.
    fn build_pattern(
        spec: &StringPatternSpec,
        ignore_case: bool,
        fields: [&'static str; 5],
        report: &mut Report,
    ) -> Option<Self> {
        let [_, prefix_field, suffix_field, contains_field, regex_field] = fields;
        let mut text = |field, text: &str| {
            if text.is_empty() {
                return report.field(field, |report| report.error(Problem::Empty));
            }
            Some(Text::new(text, ignore_case))
        };
        let test = match spec {
            StringPatternSpec::Exact(exact) => StringTest::Exact(Text::new(exact, ignore_case)),
            StringPatternSpec::Prefix(prefix) => StringTest::Prefix(text(prefix_field, prefix)?),
            StringPatternSpec::Suffix(suffix) => StringTest::Suffix(text(suffix_field, suffix)?),
            StringPatternSpec::Contains(part) => {
                let text = text(contains_field, part)?;
                if ignore_case {
                    StringTest::ContainsIgnoringCase(text)
                } else {
                    StringTest::Contains(Box::new(Finder::new(&text.bytes).into_owned()))
                }
            }
            StringPatternSpec::SafeRegex(regex) => {
                StringTest::Regex(build_regex(regex_field, regex, report)?)
            }
        };
        Some(Self(test))
    }

    /// Whether `value` matches.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        match &self.0 {
            StringTest::Exact(text) => text.equals(value),
            StringTest::Prefix(text) => text.begins(value),
            StringTest::Suffix(text) => text.ends(value),
            StringTest::Contains(finder) => finder.find(value).is_some(),
            StringTest::ContainsIgnoringCase(text) => value
                .windows(text.len().max(1))
                .any(|window| text.equals(window)),
            StringTest::Regex(pattern) => pattern.matches(value),
        }
    }
}

/// `HeaderMatcher`. Of several fields of the name, one has to match: Envoy 1.40 no longer joins
/// them with commas.
#[derive(Clone, Debug)]
pub(super) struct HeaderMatcher {
    name: Name,
    test: HeaderTest,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Clone, Debug)]
enum HeaderTest {
    Present(bool),
    String(StringMatcher),
    Range { start: i64, end: i64 },
}

impl HeaderMatcher {
    fn build_in(report: &mut Report, spec: &HeaderMatchSpec) -> Option<Self> {
        let name = report.field("name", |report| {
            report.take(Name::parse(spec.name.as_bytes()).map_err(Problem::HeaderName))
        });
        let test = match &spec.test {
            HeaderTestSpec::Present(present) => Some(HeaderTest::Present(*present)),
            HeaderTestSpec::String(string) => report
                .field("string_match", |report| {
                    StringMatcher::build(string, report)
                })
                .map(HeaderTest::String),
            HeaderTestSpec::Legacy(pattern) => {
                let fields = [
                    "exact_match",
                    "prefix_match",
                    "suffix_match",
                    "contains_match",
                    "safe_regex_match",
                ];
                StringMatcher::build_pattern(pattern, false, fields, report).map(HeaderTest::String)
            }
            HeaderTestSpec::Range { start, end } => Some(HeaderTest::Range {
                start: *start,
                end: *end,
            }),
        };
        Some(Self {
            name: name?,
            test: test?,
            invert: spec.invert_match,
            missing_is_empty: spec.treat_missing_header_as_empty,
        })
    }

    /// Whether the head matches. A missing header matches no test of its value, not even an
    /// inverted one, unless it is taken for an empty one.
    pub(super) fn matches(&self, request: &Headers) -> bool {
        let present = request.contains(&self.name);
        if let HeaderTest::Present(wanted) = self.test {
            return ((present || self.missing_is_empty) == wanted) != self.invert;
        }
        if !present {
            return self.missing_is_empty && self.value_matches(b"") != self.invert;
        }
        request
            .get_all(&self.name)
            .any(|value| self.value_matches(value))
            != self.invert
    }

    fn value_matches(&self, value: &[u8]) -> bool {
        match &self.test {
            HeaderTest::Present(wanted) => *wanted,
            HeaderTest::String(string) => string.matches(value),
            HeaderTest::Range { start, end } => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        }
    }
}

/// `QueryParameterMatcher`: looks at the first parameter of the name, without percent-decoding.
#[derive(Clone, Debug)]
struct QueryMatcher {
    name: Box<[u8]>,
    test: QueryTest,
}

#[derive(Clone, Debug)]
enum QueryTest {
    Present(bool),
    String(StringMatcher),
}

impl QueryMatcher {
    fn build(report: &mut Report, spec: &QueryMatchSpec) -> Option<Self> {
        if spec.name.is_empty() {
            let _: Option<()> = report.field("name", |report| report.error(Problem::Empty));
        }
        let test = match &spec.test {
            QueryTestSpec::Present(present) => QueryTest::Present(*present),
            QueryTestSpec::String(string) => {
                QueryTest::String(report.field("string_match", |report| {
                    StringMatcher::build(string, report)
                })?)
            }
        };
        Some(Self {
            name: spec.name.as_bytes().into(),
            test,
        })
    }

    /// Whether the query matches. A missing parameter matches no string.
    fn matches(&self, uri: Uri<'_>) -> bool {
        let value = uri.parameter(&self.name);
        match &self.test {
            QueryTest::Present(wanted) => value.is_some() == *wanted,
            QueryTest::String(string) => value.is_some_and(|value| string.matches(value)),
        }
    }
}

#[cfg(test)]
mod tests;
