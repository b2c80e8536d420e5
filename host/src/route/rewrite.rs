//! Changes of a request's path and host on the way upstream.
//!
//! Owns the rewrites of the path (`prefix_rewrite`, `regex_rewrite`, `path_rewrite`), those of the host
//! (`host_rewrite_specifier`), and the headers that keep what was there before
//! (`x-envoy-original-path`, `x-envoy-original-host`, `x-forwarded-host`). Called by `action`, and by
//! `redirect` for the path. Does not own which route has which.

use super::error::{Problem, Report, value_bytes};
use super::matcher::{PathMatcher, Text, Uri};
use super::mutation::Scratch;
use super::pattern::{self, Substitution, Template};
use super::spec::{HostRewriteSpec, RegexRewriteSpec};
use super::uri_template::TemplateRewrite;
use crate::exchange::Exchange;
use crate::headers::{self, Headers, Known, Name};
use crate::observe::format::Format;

/// Whether requests get headers by which Envoy tells what it did. The other way around from
/// `suppress_envoy_headers` of the router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnvoyHeaders {
    /// They do.
    #[default]
    Add,
    /// They do not.
    Suppress,
}

/// A change of the path. The query stays.
#[derive(Clone, Debug)]
pub(super) enum PathRewrite {
    /// The matched prefix is replaced, byte for byte.
    Prefix { matched: Text, with: Box<[u8]> },
    /// The whole path is replaced: the route matched all of it.
    Whole { with: Box<[u8]> },
    /// Every match of the expression is replaced.
    Regex(Box<Substitution>),
    /// The whole path is put together anew from the variables of the template that matched.
    Template(Box<TemplateRewrite>),
    /// The whole path is what the format says.
    Format(Box<Format>),
}

impl PathRewrite {
    /// `prefix_rewrite` (empty for none) and `regex_rewrite` of an action whose route matches
    /// `path`.
    pub(super) fn build(
        prefix: &str,
        regex: Option<&RegexRewriteSpec>,
        path: Option<&PathMatcher>,
        report: &mut Report,
    ) -> Option<Self> {
        let regex =
            regex.map(|spec| report.field("regex_rewrite", |report| substitution(spec, report)));
        if prefix.is_empty() {
            return regex.flatten().map(|regex| Self::Regex(Box::new(regex)));
        }
        report.field("prefix_rewrite", |report| {
            if regex.is_some() {
                return report.error(Problem::TwoRewrites);
            }
            let with = report.take(value_bytes(prefix))?;
            Some(match path? {
                PathMatcher::Prefix(matched) | PathMatcher::SeparatedPrefix(matched) => {
                    Self::Prefix {
                        matched: matched.clone(),
                        with,
                    }
                }
                PathMatcher::Path(_) | PathMatcher::Regex(_) | PathMatcher::Connect => {
                    Self::Whole { with }
                }
                PathMatcher::Template(_) => return report.error(Problem::PrefixOfTemplate),
            })
        })
    }

    /// `path_rewrite_policy` of an action whose route matches `path`.
    pub(super) fn template(
        text: &str,
        path: Option<&PathMatcher>,
        report: &mut Report,
    ) -> Option<Self> {
        report.field("path_rewrite_policy", |report| {
            let PathMatcher::Template(template) = path? else {
                return report.error(Problem::RewriteWithoutTemplate);
            };
            report.field("typed_config", |report| {
                report.field("path_template_rewrite", |report| {
                    let rewrite = TemplateRewrite::parse(text, template);
                    let rewrite = report.take(rewrite.map_err(Problem::Template))?;
                    Some(Self::Template(Box::new(rewrite)))
                })
            })
        })
    }

    /// `path_rewrite`.
    pub(super) fn format(format: &Format) -> Self {
        Self::Format(Box::new(format.clone()))
    }

    /// Changes `:path` and keeps the old one in `x-envoy-original-path`, even when they are equal.
    /// Nothing happens when the new path would be empty, or when a filter has since changed the
    /// path so that it lacks the prefix.
    pub(super) fn apply(
        &self,
        exchange: &mut Exchange,
        envoy_headers: EnvoyHeaders,
        scratch: &mut Scratch,
    ) {
        let Some(old) = exchange.request.known(Known::Path) else {
            return;
        };
        let buffer = &mut scratch.bytes;
        buffer.clear();
        let uri = Uri::new(old);
        match self {
            Self::Format(format) => {
                format.render_header(exchange, buffer);
                keep_valid(buffer);
            }
            _ => self.write(uri.path, buffer),
        }
        if buffer.is_empty() {
            return;
        }
        buffer.extend_from_slice(uri.rest);
        let length = buffer.len();
        buffer.extend_from_slice(old);
        let (new, old) = buffer.split_at_checked(length).unwrap_or_default();
        let request = &mut exchange.request;
        request.set_known(Known::Path, new);
        if envoy_headers == EnvoyHeaders::Add {
            request.set_known(Known::XEnvoyOriginalPath, old);
        }
    }

    /// Appends the new path, or nothing where there is none.
    fn write(&self, path: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Prefix { matched, with } => {
                if matched.begins(path) {
                    out.extend_from_slice(with);
                    out.extend_from_slice(path.get(matched.len()..).unwrap_or_default());
                }
            }
            Self::Whole { with } => out.extend_from_slice(with),
            Self::Regex(substitution) => substitution.write(path, out),
            Self::Template(rewrite) => rewrite.write(path, out),
            Self::Format(_) => {}
        }
    }
}

/// Empties a text that cannot stand in a head: a format may show whatever a filter left.
pub(super) fn keep_valid(text: &mut Vec<u8>) {
    if !headers::is_valid_value(text) {
        text.clear();
    }
}

/// `RegexMatchAndSubstitute`.
pub(super) fn substitution(spec: &RegexRewriteSpec, report: &mut Report) -> Option<Substitution> {
    let regex = report.field("pattern", |report| {
        report.field("regex", |report| {
            report.take(pattern::searching(&spec.pattern).map_err(Problem::Pattern))
        })
    });
    let groups = regex
        .as_ref()
        .map_or(usize::MAX, |regex| regex.captures_len() - 1);
    let template = report.field("substitution", |report| {
        let text = value_bytes(&spec.substitution);
        report.take(
            text.and_then(|text| Template::parse(&text, groups).map_err(Problem::Substitution)),
        )
    });
    Some(Substitution::new(regex?, template?))
}

/// A change of the host.
#[derive(Clone, Debug)]
pub(super) enum HostRewrite {
    Literal(Box<[u8]>),
    /// The name of the endpoint, known once one was chosen.
    Auto,
    Header(Name),
    PathRegex(Box<Substitution>),
    Format(Box<Format>),
}

impl HostRewrite {
    /// `None` where nothing is changed.
    pub(super) fn build(spec: &HostRewriteSpec, report: &mut Report) -> Option<Self> {
        match spec {
            HostRewriteSpec::Literal(host) => literal(host, report).map(Self::Literal),
            HostRewriteSpec::Auto => Some(Self::Auto),
            HostRewriteSpec::Header(name) => report
                .field("host_rewrite_header", |report| {
                    report.take(Name::parse(name.as_bytes()).map_err(Problem::HeaderName))
                })
                .map(Self::Header),
            HostRewriteSpec::PathRegex(spec) => report
                .field("host_rewrite_path_regex", |report| {
                    substitution(spec, report)
                })
                .map(|regex| Self::PathRegex(Box::new(regex))),
            HostRewriteSpec::Format(format) => Some(Self::Format(Box::new(format.clone()))),
        }
    }

    /// Changes `:authority`, unless the new one would be empty or is not known yet.
    pub(super) fn apply(&self, exchange: &mut Exchange, ways: HostWays, scratch: &mut Scratch) {
        let mut host = std::mem::take(&mut scratch.bytes);
        host.clear();
        let request = &exchange.request;
        match self {
            Self::Auto => {}
            Self::Literal(literal) => host.extend_from_slice(literal),
            Self::Header(name) => host.extend_from_slice(request.get(name).unwrap_or_default()),
            Self::PathRegex(regex) => {
                let path = Uri::new(request.known(Known::Path).unwrap_or_default()).path;
                regex.write(path, &mut host);
            }
            Self::Format(format) => {
                format.render(exchange, &mut host);
                keep_valid(&mut host);
            }
        }
        ways.rewrite(&mut host, &mut exchange.request);
        scratch.bytes = host;
    }
}

/// `host_rewrite_literal`; `None` where it is empty.
pub(super) fn literal(host: &str, report: &mut Report) -> Option<Box<[u8]>> {
    let host = report.field("host_rewrite_literal", |report| {
        report.take(value_bytes(host))
    })?;
    (!host.is_empty()).then_some(host)
}

/// What is kept of a host that is rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostWays {
    pub(super) envoy_headers: EnvoyHeaders,
    /// `append_x_forwarded_host`.
    pub(super) append_forwarded: bool,
}

impl HostWays {
    /// Puts `host` into `:authority`, unless it is empty, and keeps the old one in
    /// `x-envoy-original-host`, even when they are equal, and in `x-forwarded-host`, unless that ends
    /// with it. The buffer is used up.
    pub(super) fn rewrite(self, host: &mut Vec<u8>, request: &mut Headers) {
        if host.is_empty() {
            return;
        }
        let length = host.len();
        host.extend_from_slice(request.known(Known::Authority).unwrap_or_default());
        let (host, old) = host.split_at_checked(length).unwrap_or_default();
        if self.envoy_headers == EnvoyHeaders::Add && request.has(Known::Authority) {
            request.set_known(Known::XEnvoyOriginalHost, old);
        }
        if self.append_forwarded && !old.is_empty() {
            append_forwarded(old, request);
        }
        request.set_known(Known::Authority, host);
    }
}

fn append_forwarded(old: &[u8], request: &mut Headers) {
    let before = request.known(Known::XForwardedHost).unwrap_or_default();
    if before.is_empty() {
        return request.set_known(Known::XForwardedHost, old);
    }
    let last = before
        .rsplit(|byte| *byte == b',')
        .find(|part| !part.is_empty());
    if last != Some(old) {
        let joined = [before, b",", old].concat();
        request.set_known(Known::XForwardedHost, &joined);
    }
}

#[cfg(test)]
mod tests;
