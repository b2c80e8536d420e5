//! Changes of a request's path and host on the way upstream.
//!
//! Owns `prefix_rewrite`, `regex_rewrite` and `host_rewrite_literal`, and the headers that keep what
//! was there before (`x-envoy-original-path`, `x-envoy-original-host`). Called by `action`, and by
//! `redirect` for the path. Does not own which route has which.

use regex::bytes::Regex;

use super::error::{Problem, Report, value_bytes};
use super::matcher::{PathMatcher, Text, Uri};
use super::mutation::Scratch;
use super::pattern;
use super::spec::RegexRewriteSpec;
use super::uri_template::TemplateRewrite;
use crate::headers::{Headers, Known};

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
        let regex = regex
            .map(|spec| report.field("regex_rewrite", |report| Substitution::build(spec, report)));
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

    /// Changes `:path` and keeps the old one in `x-envoy-original-path`, even when they are equal.
    /// Nothing happens when the new path would be empty, or when a filter has since changed the
    /// path so that it lacks the prefix.
    pub(super) fn apply(
        &self,
        request: &mut Headers,
        envoy_headers: EnvoyHeaders,
        scratch: &mut Scratch,
    ) {
        let Some(old) = request.known(Known::Path) else {
            return;
        };
        let buffer = &mut scratch.bytes;
        buffer.clear();
        let uri = Uri::new(old);
        self.write(uri.path, buffer);
        if buffer.is_empty() {
            return;
        }
        buffer.extend_from_slice(uri.rest);
        let length = buffer.len();
        buffer.extend_from_slice(old);
        let (new, old) = buffer.split_at_checked(length).unwrap_or_default();
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
        }
    }
}

/// `RegexMatchAndSubstitute`.
#[derive(Clone, Debug)]
pub(super) struct Substitution {
    regex: Regex,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<[u8]>),
    Group(usize),
}

impl Substitution {
    fn build(spec: &RegexRewriteSpec, report: &mut Report) -> Option<Self> {
        let regex = report.field("pattern", |report| {
            report.field("regex", |report| {
                report.take(pattern::searching(&spec.pattern).map_err(Problem::Pattern))
            })
        });
        let groups = regex
            .as_ref()
            .map_or(usize::MAX, |regex| regex.captures_len() - 1);
        let parts = report.field("substitution", |report| {
            report.take(value_bytes(&spec.substitution).and_then(|text| parts(&text, groups)))
        });
        Some(Self {
            regex: regex?,
            parts: parts?,
        })
    }

    fn write(&self, path: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for captures in self.regex.captures_iter(path) {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            out.extend_from_slice(path.get(copied..whole.start()).unwrap_or_default());
            copied = whole.end();
            for part in &self.parts {
                match part {
                    Part::Literal(text) => out.extend_from_slice(text),
                    Part::Group(group) => {
                        let group = captures.get(*group).map(|group| group.as_bytes());
                        out.extend_from_slice(group.unwrap_or_default());
                    }
                }
            }
        }
        out.extend_from_slice(path.get(copied..).unwrap_or_default());
    }
}

/// `text` of a `substitution`, for an expression with `count` groups.
fn parts(text: &[u8], count: usize) -> Result<Box<[Part]>, Problem> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            literal.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'\\') => literal.push(b'\\'),
            Some(digit) if digit.is_ascii_digit() => {
                let group = digit - b'0';
                if usize::from(group) > count {
                    return Err(Problem::NoSuchGroup { group, count });
                }
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                parts.push(Part::Group(usize::from(group)));
            }
            _ => return Err(Problem::SubstitutionEscape),
        }
    }
    parts.push(Part::Literal(literal.into()));
    parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
    Ok(parts.into())
}

/// Puts `host` into `:authority` and keeps the old one in `x-envoy-original-host`, even when they
/// are equal.
pub(super) fn rewrite_host(
    host: &[u8],
    request: &mut Headers,
    envoy_headers: EnvoyHeaders,
    scratch: &mut Scratch,
) {
    if envoy_headers == EnvoyHeaders::Add
        && let Some(old) = request.known(Known::Authority)
    {
        scratch.bytes.clear();
        scratch.bytes.extend_from_slice(old);
        request.set_known(Known::XEnvoyOriginalHost, &scratch.bytes);
    }
    request.set_known(Known::Authority, host);
}

#[cfg(test)]
mod tests;
