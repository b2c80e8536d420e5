//! What a request has to look like for a route to take it (`RouteMatch`).
//!
//! Owns the criteria of one route and the path matchers. Called by `table` and `index`. A match
//! allocates nothing. Does not own the order of routes.

use super::error::{Problem, Report};
use super::facts::Facts;
use super::pattern::Pattern;
use super::spec::{MatchSpec, PathSpec, TlsMatchSpec};
use super::uri_template::UriTemplate;
use crate::headers::{Headers, Known};
use crate::values::Fraction;

mod fields;
mod metadata;
mod string;

pub(super) use fields::HeaderMatcher;
use fields::{CookieMatcher, QueryMatcher};
pub(super) use metadata::MetadataMatcher;
pub(super) use string::{StringMatcher, Text};

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

/// The first criterion of a route that a request does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `path_specifier`.
    Path,
    /// `runtime_fraction`.
    Fraction,
    /// `grpc`.
    Grpc,
    /// The header matcher of that index.
    Header(usize),
    /// The query-parameter matcher of that index.
    QueryParameter(usize),
    /// The cookie matcher of that index.
    Cookie(usize),
    /// `tls_context`.
    TlsContext,
    /// The metadata matcher of that index.
    DynamicMetadata(usize),
    /// The matcher of the filter state of that index.
    FilterState(usize),
}

/// All criteria of one route; every one of them has to match.
#[derive(Clone, Debug)]
pub(super) struct RouteMatcher {
    path: PathMatcher,
    others: Option<Box<Others>>,
}

/// The criteria beside the path.
#[derive(Clone, Debug)]
struct Others {
    share: Option<Fraction>,
    grpc: bool,
    headers: Box<[HeaderMatcher]>,
    query: Box<[QueryMatcher]>,
    cookies: Box<[CookieMatcher]>,
    tls: Option<TlsMatchSpec>,
    metadata: Box<[MetadataMatcher]>,
    filter_state: Box<[MetadataMatcher]>,
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
        let cookies = report.items("cookies", &spec.cookies, CookieMatcher::build);
        let metadata = report.items(
            "dynamic_metadata",
            &spec.dynamic_metadata,
            MetadataMatcher::build,
        );
        let others = Others {
            share: spec.runtime_fraction.clone(),
            grpc: spec.grpc,
            headers,
            query,
            cookies,
            tls: spec.tls_context,
            metadata,
            filter_state: report.items(
                "filter_state",
                &spec.filter_state,
                MetadataMatcher::of_filter_state,
            ),
        };
        Some(Self {
            path: path?,
            others: (!others.is_empty()).then(|| Box::new(others)),
        })
    }

    /// Whether a request matches. `path` is its path without the query, `None` where it has none.
    pub(super) fn matches(&self, facts: &Facts<'_>, path: Option<&[u8]>) -> bool {
        self.path.matches(facts.request, path) && self.others_match(facts)
    }

    /// Whether everything but the path matches.
    pub(super) fn others_match(&self, facts: &Facts<'_>) -> bool {
        self.others
            .as_ref()
            .is_none_or(|others| others.mismatch(facts).is_none())
    }

    /// What the request does not meet; `None` where it matches.
    pub(super) fn mismatch(&self, facts: &Facts<'_>, path: Option<&[u8]>) -> Option<Mismatch> {
        if !self.path.matches(facts.request, path) {
            return Some(Mismatch::Path);
        }
        self.others.as_ref()?.mismatch(facts)
    }

    /// Whether there is nothing to match but the path.
    pub(super) const fn is_path_alone(&self) -> bool {
        self.others.is_none()
    }

    /// What the path has to look like.
    pub(super) const fn path(&self) -> &PathMatcher {
        &self.path
    }
}

impl Others {
    const fn is_empty(&self) -> bool {
        self.share.is_none()
            && !self.grpc
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.cookies.is_empty()
            && self.tls.is_none()
            && self.metadata.is_empty()
            && self.filter_state.is_empty()
    }

    fn mismatch(&self, facts: &Facts<'_>) -> Option<Mismatch> {
        let request = facts.request;
        if self
            .share
            .as_ref()
            .is_some_and(|share| !share.holds(facts.random))
        {
            return Some(Mismatch::Fraction);
        }
        if self.grpc && !request.is_grpc() {
            return Some(Mismatch::Grpc);
        }
        let mut headers = self.headers.iter();
        if let Some(index) = headers.position(|header| !header.matches(request)) {
            return Some(Mismatch::Header(index));
        }
        if !self.query.is_empty() {
            let uri = Uri::new(request.known(Known::Path).unwrap_or_default());
            let mut query = self.query.iter();
            if let Some(index) = query.position(|parameter| !parameter.matches(uri)) {
                return Some(Mismatch::QueryParameter(index));
            }
        }
        let mut cookies = self.cookies.iter();
        if let Some(index) = cookies.position(|cookie| !cookie.matches(request)) {
            return Some(Mismatch::Cookie(index));
        }
        if self.tls.is_some_and(|tls| !tls_matches(tls, facts)) {
            return Some(Mismatch::TlsContext);
        }
        let mut metadata = self.metadata.iter();
        if let Some(index) = metadata.position(|entry| !entry.matches(facts.metadata)) {
            return Some(Mismatch::DynamicMetadata(index));
        }
        let mut state = self.filter_state.iter();
        let index = state.position(|entry| !entry.matches(facts.metadata))?;
        Some(Mismatch::FilterState(index))
    }
}

/// Whether the client's certificate is as wanted; without TLS there is none.
fn tls_matches(wanted: TlsMatchSpec, facts: &Facts<'_>) -> bool {
    let presented = facts.tls.is_some_and(|tls| tls.certificate_presented);
    let validated = facts.tls.is_some_and(|tls| tls.certificate_validated);
    wanted.presented.is_none_or(|wanted| wanted == presented)
        && wanted.validated.is_none_or(|wanted| wanted == validated)
}

/// `RouteMatch.path_specifier`: matches a path without its query.
#[derive(Clone, Debug)]
pub(super) enum PathMatcher {
    Prefix(Text),
    Path(Text),
    SeparatedPrefix(Text),
    Regex(Pattern),
    Template(UriTemplate),
    /// CONNECT requests, whatever their path.
    Connect,
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
            PathSpec::SafeRegex(regex) => {
                string::build_regex("safe_regex", regex, report).map(Self::Regex)
            }
            PathSpec::Template(template) => report.field("path_match_policy", |report| {
                report.field("typed_config", |report| {
                    report.field("path_template", |report| {
                        let template = UriTemplate::parse(template);
                        report
                            .take(template.map_err(Problem::Template))
                            .map(Self::Template)
                    })
                })
            }),
            PathSpec::Connect => Some(Self::Connect),
        }
    }

    /// Whether a path, `None` where the request has none, matches.
    pub(super) fn matches(&self, request: &Headers, path: Option<&[u8]>) -> bool {
        match (self, path) {
            (Self::Connect, _) => request.known(Known::Method) == Some(b"CONNECT"),
            (_, None) => false,
            (Self::Prefix(prefix), Some(path)) => prefix.begins(path),
            (Self::Path(whole), Some(path)) => whole.equals(path),
            (Self::SeparatedPrefix(prefix), Some(path)) => {
                prefix.begins(path) && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
            (Self::Regex(pattern), Some(path)) => pattern.matches(path),
            (Self::Template(template), Some(path)) => template.matches(path),
        }
    }
}

#[cfg(test)]
mod tests;
