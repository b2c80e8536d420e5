//! What a head has to say: header fields, query parameters, cookies.
//!
//! Owns which value of the head counts, and what an absent one means. Called by `matcher`. Does not
//! own how a value is compared (`string`).

use super::super::error::{Problem, Report};
use super::super::spec::{
    CookieMatchSpec, HeaderMatchSpec, HeaderTestSpec, QueryMatchSpec, QueryTestSpec,
};
use super::Uri;
use super::string::StringMatcher;
use crate::headers::{Headers, Known, Name};

/// `HeaderMatcher`. Of several fields of the name, one has to match: Envoy 1.40 no longer joins
/// them with commas.
#[derive(Clone, Debug)]
pub(in crate::route) struct HeaderMatcher {
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
    pub(in crate::route) fn build_in(report: &mut Report, spec: &HeaderMatchSpec) -> Option<Self> {
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
    pub(in crate::route) fn matches(&self, request: &Headers) -> bool {
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
pub(super) struct QueryMatcher {
    name: Box<[u8]>,
    test: QueryTest,
}

#[derive(Clone, Debug)]
enum QueryTest {
    Present(bool),
    String(StringMatcher),
}

impl QueryMatcher {
    pub(super) fn build(report: &mut Report, spec: &QueryMatchSpec) -> Option<Self> {
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
    pub(super) fn matches(&self, uri: Uri<'_>) -> bool {
        let value = uri.parameter(&self.name);
        match &self.test {
            QueryTest::Present(wanted) => value.is_some() == *wanted,
            QueryTest::String(string) => value.is_some_and(|value| string.matches(value)),
        }
    }
}

/// `CookieMatcher`: looks at the first cookie of the name, without the quotes around its value.
#[derive(Clone, Debug)]
pub(super) struct CookieMatcher {
    name: Box<[u8]>,
    test: StringMatcher,
    invert: bool,
}

impl CookieMatcher {
    pub(super) fn build(report: &mut Report, spec: &CookieMatchSpec) -> Option<Self> {
        if spec.name.is_empty() {
            let _: Option<()> = report.field("name", |report| report.error(Problem::Empty));
        }
        let test = report.field("string_match", |report| {
            StringMatcher::build(&spec.string, report)
        });
        Some(Self {
            name: spec.name.as_bytes().into(),
            test: test?,
            invert: spec.invert_match,
        })
    }

    /// Whether the cookies match. A missing cookie does not, and so matches inverted.
    pub(super) fn matches(&self, request: &Headers) -> bool {
        cookie(request, &self.name).is_some_and(|value| self.test.matches(value)) != self.invert
    }
}

/// The value of the first cookie of that name.
fn cookie<'h>(request: &'h Headers, name: &[u8]) -> Option<&'h [u8]> {
    let mut cookies = request
        .known_all(Known::Cookie)
        .flat_map(|line| line.split(|byte| *byte == b';'));
    cookies.find_map(|cookie| {
        let at = memchr::memchr(b'=', cookie)?;
        let (found, value) = cookie.split_at_checked(at)?;
        let value = value.get(1..)?;
        let unquoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        // Only spaces are skipped, as in Envoy.
        let found = found
            .iter()
            .position(|byte| *byte != b' ')
            .and_then(|at| found.get(at..))?;
        (found == name).then_some(unquoted.unwrap_or(value))
    })
}
