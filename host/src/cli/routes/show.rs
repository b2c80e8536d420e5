//! An answer as text: the chain of decisions, then what becomes of the request.
//!
//! Owns the words and the colours.

use std::fmt::{self, Display, Formatter, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::Routing;
use super::answer::{Answer, Change, Outcome};
use super::request::{Asked, Turned, lossy};
use crate::config::json;
use crate::config::route::{PathMatchConfig, PathSpecifier, Route, RouteMatch};
use crate::headers::Known;
use crate::route::Mismatch;

/// Routes that are shown before the one that is taken; of more only the first and the last.
const SHOWN_ROUTES: usize = 20;

/// Colours, or none.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) const fn new(colour: bool) -> Self {
        Self(colour)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// An answer with all that it takes to show it.
pub(super) struct Shown<'a> {
    pub(super) answer: &'a Answer<'a>,
    pub(super) routing: &'a Routing,
    pub(super) asked: &'a Asked,
    /// Whether the connection manager made it what it is.
    pub(super) is_changed: bool,
    pub(super) paint: Paint,
}

/// What becomes of a request that has no part in the routes.
pub(super) struct NotServed<'a> {
    pub(super) turned: &'a Turned,
    pub(super) routing: &'a Routing,
    pub(super) paint: Paint,
}

impl Display for NotServed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let arrow = self.paint.bold("→");
        writeln!(f, "  listener {}", quoted(&self.routing.listener))?;
        match self.turned {
            Turned::Away => {
                let what = self.paint.bad("400, the path is not one that is served");
                writeln!(f, "  {arrow} {what}")
            }
            Turned::To(path) => {
                let path = self.paint.good(path);
                writeln!(
                    f,
                    "  {arrow} 307, redirect to {path}: the path in its normal form"
                )
            }
        }
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let routing = self.routing;
        write!(f, "  listener {}", quoted(&routing.listener))?;
        if !routing.written.name.is_empty() {
            write!(f, ", routes {}", quoted(&routing.written.name))?;
        }
        writeln!(f)?;
        if self.is_changed {
            writeln!(f, "  taken for {}", self.asked)?;
        }
        let Some(host) = &self.answer.host else {
            let host = self.asked.shown(":authority").unwrap_or_default();
            writeln!(f, "  no virtual host has a domain for {}", quoted(&host))?;
            return self.outcome(f);
        };
        write!(f, "  virtual host {}", quoted(&host.written.name))?;
        if let Some(domain) = host.domain {
            write!(f, " by its domain {}", quoted(domain))?;
        }
        writeln!(f)?;
        if self.answer.wants_tls {
            writeln!(f, "    require_tls: the request did not come over TLS")?;
        }
        let lines = routing.lines.get(host.index);
        let line = |index: usize| lines.and_then(|lines| *lines.get(index)?);
        let passed = &self.answer.passed;
        for (index, (route, mismatch)) in passed.iter().enumerate() {
            if passed.len() > SHOWN_ROUTES {
                if index == SHOWN_ROUTES / 2 {
                    let hidden = passed.len() - SHOWN_ROUTES;
                    writeln!(f, "      … and {hidden} more that do not match")?;
                }
                if (SHOWN_ROUTES / 2..passed.len() - SHOWN_ROUTES / 2).contains(&index) {
                    continue;
                }
            }
            let at = self.answer.first + index;
            let name = self.paint.dim(&named(at, line(at), *route));
            let reason = route.map(|route| self.reason(&route.r#match, *mismatch));
            writeln!(f, "    {} {name}", self.paint.bad("✗"))?;
            writeln!(f, "        {}", reason.unwrap_or_default())?;
        }
        if let Some((index, route)) = self.answer.route {
            let name = named(index, line(index), route);
            writeln!(f, "    {} {}", self.paint.good("✓"), self.paint.bold(&name))?;
        } else if !self.answer.wants_tls {
            writeln!(f, "    no route matches")?;
        }
        self.outcome(f)
    }
}

impl Shown<'_> {
    /// Why a route was passed.
    fn reason(&self, written: &RouteMatch, mismatch: Mismatch) -> String {
        let has = |value: Option<String>| match value {
            Some(value) => format!("the request has {}", quoted(&value)),
            None => "the request has none".to_owned(),
        };
        match mismatch {
            Mismatch::Path => match written.path {
                PathSpecifier::ConnectMatcher(_) => "the method is not CONNECT".to_owned(),
                _ => "the path does not match".to_owned(),
            },
            Mismatch::Fraction => format!(
                "runtime_fraction {}: the stream's number {} is not in it",
                flow(&written.runtime_fraction),
                self.asked.random
            ),
            Mismatch::Grpc => {
                let kind = self.asked.shown("content-type");
                format!("grpc, by content-type: {}", has(kind))
            }
            Mismatch::Header(index) => {
                written
                    .headers
                    .get(index)
                    .map_or_else(String::new, |header| {
                        let value = self.asked.shown(&header.name);
                        format!("header {}: {}", flow(header), has(value))
                    })
            }
            Mismatch::QueryParameter(index) => {
                let parameter = written.query_parameters.get(index);
                let path = self.asked.shown(":path").unwrap_or_default();
                let query = path.split_once('?').map(|(_, query)| query.to_owned());
                parameter.map_or_else(String::new, |parameter| {
                    format!("query parameter {}: {}", flow(parameter), has(query))
                })
            }
            Mismatch::Cookie(index) => {
                written
                    .cookies
                    .get(index)
                    .map_or_else(String::new, |cookie| {
                        format!(
                            "cookie {}: {}",
                            flow(cookie),
                            has(self.asked.shown("cookie"))
                        )
                    })
            }
            Mismatch::TlsContext => {
                format!(
                    "tls_context {}: the client's certificate is another",
                    flow(&written.tls_context)
                )
            }
            Mismatch::DynamicMetadata(index) => {
                let wanted = written.dynamic_metadata.get(index);
                wanted.map_or_else(String::new, |wanted| {
                    format!("dynamic_metadata {}: no filter left it", flow(wanted))
                })
            }
            Mismatch::FilterState(index) => {
                let wanted = written.filter_state.get(index);
                wanted.map_or_else(String::new, |wanted| {
                    format!("filter_state {}: no filter left it", flow(wanted))
                })
            }
        }
    }

    fn outcome(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let answer = self.answer;
        let arrow = self.paint.bold("→");
        match &answer.outcome {
            Outcome::NoRoute => {
                return writeln!(f, "  {arrow} {}", self.paint.bad("404, no route"));
            }
            Outcome::NoWeight => {
                let text = self.paint.bad("404, no cluster of the route has a weight");
                return writeln!(f, "  {arrow} {text}");
            }
            Outcome::Forward {
                cluster,
                known,
                weights,
                timeout,
            } => {
                write!(f, "  {arrow} cluster {}", self.paint.good(&quoted(cluster)))?;
                if !known {
                    write!(f, ", {}", self.paint.bad("which does not exist"))?;
                }
                self.weights(weights, cluster, f)?;
                match timeout {
                    Some(timeout) => writeln!(f, ", timeout {timeout:?}")?,
                    None => writeln!(f, ", no timeout")?,
                }
                for (what, known) in [("host", Known::Authority), ("path", Known::Path)] {
                    let [before, after] = [&self.asked.request, &answer.request]
                        .map(|head| lossy(head.known(known).unwrap_or_default()));
                    if before != after {
                        writeln!(f, "    {what:9}{after}")?;
                    }
                }
            }
            Outcome::Redirect { status, location } => {
                writeln!(
                    f,
                    "  {arrow} {status}, redirect to {}",
                    self.paint.good(location)
                )?;
            }
            Outcome::Direct { status, body } => {
                writeln!(
                    f,
                    "  {arrow} {}, answered here with {body} bytes",
                    self.paint.good(&status.to_string())
                )?;
            }
        }
        for (what, changes) in ["request", "response"].iter().zip(&answer.changes) {
            for change in changes {
                let (sign, line) = match change {
                    Change::Added(line) => ('+', line),
                    Change::Removed(line) => ('-', line),
                };
                if !line.starts_with(':') {
                    writeln!(f, "    {what:9}{sign} {line}")?;
                }
            }
        }
        Ok(())
    }

    fn weights(
        &self,
        weights: &[(String, u32)],
        chosen: &str,
        f: &mut Formatter<'_>,
    ) -> fmt::Result {
        let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if total == 0 {
            return Ok(());
        }
        let shares = weights.iter().map(|(name, weight)| {
            let percent = f64::from(*weight) * 100.0 / total as f64;
            let name = if name == chosen {
                self.paint.bold(name)
            } else {
                name.clone()
            };
            format!("{name} {percent:.3} %").replace(".000 %", " %")
        });
        let shares: Vec<_> = shares.collect();
        write!(
            f,
            " by the number {} of {}",
            self.asked.random,
            shares.join(", ")
        )
    }
}

/// `routes[2] "cart" (line 31): prefix "/cart", 1 header`.
fn named(index: usize, line: Option<u32>, route: Option<&Route>) -> String {
    let mut text = format!("routes[{index}]");
    let Some(route) = route else {
        return text;
    };
    // Writing to a text cannot fail.
    let mut add = |more: fmt::Arguments<'_>| {
        let _infallible = text.write_fmt(more);
    };
    if !route.name.is_empty() {
        add(format_args!(" {}", quoted(&route.name)));
    }
    if let Some(line) = line {
        add(format_args!(" (line {line})"));
    }
    let written = &route.r#match;
    match &written.path {
        PathSpecifier::Prefix(text) => add(format_args!(": prefix {}", quoted(text))),
        PathSpecifier::Path(text) => add(format_args!(": path {}", quoted(text))),
        PathSpecifier::SafeRegex(regex) => {
            add(format_args!(": safe_regex {}", quoted(&regex.regex)));
        }
        PathSpecifier::PathSeparatedPrefix(text) => {
            add(format_args!(": path_separated_prefix {}", quoted(text)));
        }
        PathSpecifier::PathMatchPolicy(policy) => {
            let PathMatchConfig::UriTemplate(template) = &policy.typed_config;
            add(format_args!(
                ": path_template {}",
                quoted(&template.path_template)
            ));
        }
        PathSpecifier::ConnectMatcher(_) => add(format_args!(": CONNECT")),
    }
    for (count, what) in [
        (written.headers.len(), "header"),
        (written.query_parameters.len(), "query parameter"),
        (written.cookies.len(), "cookie"),
        (written.dynamic_metadata.len(), "metadata value"),
        (usize::from(written.grpc.is_some()), "gRPC"),
        (usize::from(written.tls_context.is_some()), "TLS"),
        (usize::from(written.runtime_fraction.is_some()), "fraction"),
    ] {
        match count {
            0 => {}
            1 => add(format_args!(" and {what}")),
            count => add(format_args!(" and {count} {what}s")),
        }
    }
    text
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// Fields that are not worth a word where they are false, which they are by default.
const FALSE_BY_DEFAULT: [&str; 4] = [
    "invert",
    "invert_match",
    "ignore_case",
    "treat_missing_header_as_empty",
];

/// A part of the configuration on one line, as YAML's flow style, its name first.
pub(super) fn flow<T: Serialize>(part: &T) -> String {
    let mut out = String::new();
    write_flow(&json::to_value(part), &mut out);
    out
}

fn write_flow(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let default = |(name, value): &(&String, &Value)| {
                **value == Value::Bool(false) && FALSE_BY_DEFAULT.contains(&name.as_str())
            };
            let mut fields: Vec<_> = fields.iter().filter(|field| !default(field)).collect();
            fields.sort_by_key(|(name, _)| !matches!(name.as_str(), "name" | "filter" | "key"));
            out.push_str("{ ");
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(name);
                out.push_str(": ");
                write_flow(value, out);
            }
            out.push_str(" }");
        }
        Value::Array(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_flow(value, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}
