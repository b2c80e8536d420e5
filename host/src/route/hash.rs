//! The hash of a request by which consistent balancing places it (`RouteAction.hash_policy`).
//!
//! Owns what is hashed, how several hashes become one, and the cookie that a client without one
//! gets. The numbers are Envoy's (xxHash64, seed 0), so that a fleet of both places the same request
//! on the same endpoint. Called by `action`. Does not own what a balancer does with a hash.

use std::fmt::Write as _;

use xxhash_rust::xxh64::xxh64;

use super::error::{Problem, Report, value_bytes};
use super::matcher::Uri;
use super::pattern::Substitution;
use super::rewrite::substitution;
use super::spec::{HashPolicySpec, HashSourceSpec};
use crate::exchange::{Exchange, Metadata};
use crate::headers::{Headers, Known, Name};

/// All hash policies of a route, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct HashPolicies(Box<[Policy]>);

#[derive(Clone, Debug)]
struct Policy {
    source: Source,
    terminal: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Header {
        name: Name,
        rewrite: Option<Box<Substitution>>,
    },
    Cookie(Box<Cookie>),
    Address,
    QueryParameter(Box<[u8]>),
    FilterState(Box<str>),
}

#[derive(Clone, Debug)]
struct Cookie {
    name: Box<[u8]>,
    /// What stands around the value of a cookie that is made; none is made where it is `None`.
    made: Option<Made>,
}

/// `name="` and what follows the value.
#[derive(Clone, Debug)]
struct Made {
    before: Box<[u8]>,
    behind: Box<[u8]>,
}

/// The values of `set-cookie` fields that a response gets.
pub type NewCookies = Vec<Vec<u8>>;

impl HashPolicies {
    pub(super) fn build(specs: &[HashPolicySpec], report: &mut Report) -> Self {
        Self(report.items("hash_policy", specs, |report, spec| {
            let source = Source::build(&spec.source, report)?;
            Some(Policy {
                source,
                terminal: spec.terminal,
            })
        }))
    }

    /// The hash of a request; `None` where no policy finds what it hashes. Where a cookie is missing
    /// that a policy makes, it is made, hashed, and put into `cookies`; without `cookies` none is.
    pub(super) fn hash(
        &self,
        exchange: &Exchange,
        mut cookies: Option<&mut NewCookies>,
    ) -> Option<u64> {
        let mut hash: Option<u64> = None;
        for policy in &self.0 {
            if let Some(new) = policy.source.hash(exchange, cookies.as_deref_mut()) {
                // Turned, so that two equal policies do not cancel each other out.
                hash = Some(hash.map_or(0, |old| old.rotate_left(1)) ^ new);
            }
            if hash.is_some() && policy.terminal {
                break;
            }
        }
        hash
    }
}

impl Source {
    fn build(spec: &HashSourceSpec, report: &mut Report) -> Option<Self> {
        match spec {
            HashSourceSpec::Header { name, rewrite } => report.field("header", |report| {
                let name = report.field("header_name", |report| {
                    report.take(Name::parse(name.as_bytes()).map_err(Problem::HeaderName))
                });
                let rewrite = rewrite
                    .as_ref()
                    .map(|spec| report.field("regex_rewrite", |report| substitution(spec, report)));
                let rewrite = rewrite.flatten().map(Box::new);
                Some(Self::Header {
                    name: name?,
                    rewrite,
                })
            }),
            HashSourceSpec::Cookie {
                name,
                ttl,
                path,
                attributes,
            } => report.field("cookie", |report| {
                let text = |report: &mut Report, field, text: &str| {
                    report.field(field, |report| report.take(value_bytes(text)))
                };
                let name = text(report, "name", name)?;
                let path = text(report, "path", path)?;
                let made = ttl.map(|ttl| Made::new(&name, &path, ttl.as_secs(), attributes));
                Some(Self::Cookie(Box::new(Cookie { name, made })))
            }),
            HashSourceSpec::SourceIp => Some(Self::Address),
            HashSourceSpec::QueryParameter(name) => {
                Some(Self::QueryParameter(name.as_bytes().into()))
            }
            HashSourceSpec::FilterState(key) => Some(Self::FilterState((**key).into())),
        }
    }

    fn hash(&self, exchange: &Exchange, cookies: Option<&mut NewCookies>) -> Option<u64> {
        match self {
            Self::Header { name, rewrite } => {
                hash_header(&exchange.request, name, rewrite.as_deref())
            }
            Self::Cookie(cookie) => cookie.hash(exchange, cookies),
            Self::Address => {
                let mut text = Small {
                    bytes: [0; 48],
                    len: 0,
                };
                // An address is shorter than the room.
                let _fits = write!(text, "{}", exchange.remote.ip()?.ip());
                Some(xxh64(text.as_bytes(), 0))
            }
            Self::QueryParameter(name) => {
                let uri = Uri::new(exchange.request.known(Known::Path)?);
                uri.parameter(name).map(|value| xxh64(value, 0))
            }
            Self::FilterState(key) => {
                let value = exchange.metadata.get(Metadata::FILTER_STATE, key);
                value.map(|value| xxh64(value, 0))
            }
        }
    }
}

/// The hash of all values of a field, whatever their order.
fn hash_header(request: &Headers, name: &Name, rewrite: Option<&Substitution>) -> Option<u64> {
    if !request.contains(name) {
        return None;
    }
    let mut values = request.get_all(name);
    let (first, second) = (values.next()?, values.next());
    if let (None, None) = (second, rewrite) {
        return Some(xxh64(first, 0));
    }
    let mut all: Vec<Vec<u8>> = request
        .get_all(name)
        .map(|value| match rewrite {
            None => value.to_vec(),
            Some(rewrite) => {
                let mut changed = Vec::new();
                rewrite.write(value, &mut changed);
                changed
            }
        })
        .collect();
    all.sort_unstable();
    Some(all.iter().fold(0, |seed, value| xxh64(value, seed)))
}

impl Cookie {
    fn hash(&self, exchange: &Exchange, cookies: Option<&mut NewCookies>) -> Option<u64> {
        match cookie(&exchange.request, &self.name) {
            Some(value) if !value.is_empty() => Some(xxh64(value, 0)),
            _ => {
                let (made, cookies) = (self.made.as_ref()?, cookies?);
                let value = made_value(exchange);
                cookies.push([&*made.before, value.as_bytes(), &*made.behind].concat());
                Some(xxh64(value.as_bytes(), 0))
            }
        }
    }
}

/// The value of a cookie that is made, as Envoy makes it: the same for all requests of a connection.
fn made_value(exchange: &Exchange) -> String {
    let connection = &exchange.connection;
    let ends = format!("{}{}", connection.remote, connection.local);
    format!("{:016x}", xxh64(ends.as_bytes(), 0))
}

impl Made {
    fn new(name: &[u8], path: &[u8], seconds: u64, attributes: &[(String, String)]) -> Self {
        let mut behind = b"\"".to_vec();
        if seconds > 0 {
            behind.extend_from_slice(format!("; Max-Age={seconds}").as_bytes());
        }
        if !path.is_empty() {
            behind.extend_from_slice(b"; Path=");
            behind.extend_from_slice(path);
        }
        for (name, value) in attributes {
            behind.extend_from_slice(b"; ");
            behind.extend_from_slice(name.as_bytes());
            if !value.is_empty() {
                behind.push(b'=');
                behind.extend_from_slice(value.as_bytes());
            }
        }
        behind.extend_from_slice(b"; HttpOnly");
        Self {
            before: [name, b"=\""].concat().into(),
            behind: behind.into(),
        }
    }
}

/// The value of the first cookie of that name, without the quotes around it.
fn cookie<'a>(request: &'a Headers, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = request
        .known_all(Known::Cookie)
        .flat_map(|line| line.split(|byte| *byte == b';'));
    for pair in pairs {
        let pair = pair.trim_ascii();
        let Some(at) = memchr::memchr(b'=', pair) else {
            continue;
        };
        let (found, value) = pair.split_at_checked(at)?;
        if found.trim_ascii() != name {
            continue;
        }
        let value = value.get(1..)?;
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""));
        return Some(quoted.unwrap_or(value));
    }
    None
}

/// Room for the text of an address.
struct Small {
    bytes: [u8; 48],
    len: usize,
}

impl Small {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Write for Small {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
