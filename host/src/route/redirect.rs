//! Redirects: the `location` that a client is sent to (`RedirectAction`).
//!
//! Owns Envoy's rules for the URL's parts. Called by `http` when the chosen route has this action.
//! Does not own the response around it.

use super::error::{Problem, Report, value_bytes};
use super::matcher::{PathMatcher, Uri};
use super::mutation::Scratch;
use super::rewrite::{EnvoyHeaders, PathRewrite, keep_valid};
use super::spec::{RedirectPathSpec, RedirectSpec, SchemeSpec};
use crate::exchange::Exchange;
use crate::headers::{Headers, Known};
use crate::observe::format::Format;
use crate::uri::split_port;

/// Statuses of `RedirectAction.response_code`.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// `RedirectAction`, compiled.
#[derive(Clone, Debug)]
pub struct Redirect {
    scheme: Option<Box<[u8]>>,
    host: Option<Box<[u8]>>,
    port: Port,
    path: NewPath,
    strip_query: bool,
    status: u16,
}

/// What becomes of the port that the request names.
#[derive(Clone, Debug)]
enum Port {
    /// It stays, unless it is the default of the old scheme and the scheme changes.
    Automatic,
    /// It stays.
    Keep,
    /// This one, with its colon, takes its place.
    Set(Box<[u8]>),
}

#[derive(Clone, Debug)]
enum NewPath {
    Keep,
    Replace {
        path: Box<[u8]>,
        has_query: bool,
    },
    Rewrite(PathRewrite),
    /// The format of the path, with a query or without.
    Format(Box<Format>),
}

impl Redirect {
    pub(super) fn build(
        spec: &RedirectSpec,
        path: Option<&PathMatcher>,
        report: &mut Report,
    ) -> Option<Self> {
        let mut text = |field, text: &str| {
            let bytes = report.field(field, |report| report.take(value_bytes(text)))?;
            (!bytes.is_empty()).then_some(bytes)
        };
        let scheme = match &spec.scheme {
            SchemeSpec::Keep => None,
            SchemeSpec::Https => Some(b"https".as_slice().into()),
            SchemeSpec::Named(scheme) => text("scheme_redirect", scheme),
        };
        let host = text("host_redirect", &spec.host);
        let path = match &spec.path {
            RedirectPathSpec::Keep => None,
            RedirectPathSpec::Path(path) => text("path_redirect", path).map(NewPath::replace),
            RedirectPathSpec::Prefix(prefix) => {
                PathRewrite::build(prefix, None, path, report).map(NewPath::Rewrite)
            }
            RedirectPathSpec::Format(format) => Some(NewPath::Format(Box::new(format.clone()))),
            RedirectPathSpec::Regex(regex) => {
                PathRewrite::build("", Some(regex), path, report).map(NewPath::Rewrite)
            }
        };
        if !STATUSES.contains(&spec.status) {
            let problem = Problem::RedirectStatus(spec.status);
            return report.field("response_code", |report| report.error(problem));
        }
        Some(Self {
            scheme,
            host,
            port: match spec.port {
                None => Port::Automatic,
                Some(port) => Port::Set(format!(":{port}").into_bytes().into()),
            },
            path: path.unwrap_or(NewPath::Keep),
            strip_query: spec.strip_query,
            status: spec.status,
        })
    }

    /// To `https`, everything else as it is: what `require_tls` does.
    pub(super) fn to_https() -> Self {
        Self {
            scheme: Some(b"https".as_slice().into()),
            port: Port::Keep,
            ..Self::here()
        }
    }

    /// To where the request went.
    const fn here() -> Self {
        Self {
            scheme: None,
            host: None,
            port: Port::Automatic,
            path: NewPath::Keep,
            strip_query: false,
            status: 301,
        }
    }

    /// Status of the response.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Appends the value of the response's `location` to `location`. A path rewrite changes the
    /// request too, as it does when a request is forwarded: logs and header formats show it so.
    pub fn apply(
        &self,
        exchange: &mut Exchange,
        envoy_headers: EnvoyHeaders,
        scratch: &mut Scratch,
        location: &mut Vec<u8>,
    ) {
        if let NewPath::Rewrite(rewrite) = &self.path {
            rewrite.apply(exchange, envoy_headers, scratch);
        }
        if let NewPath::Format(format) = &self.path {
            let path = &mut scratch.bytes;
            path.clear();
            format.render_header(exchange, path);
            keep_valid(path);
            self.write(&exchange.request, Some(path.as_slice()), location);
            return;
        }
        self.write(&exchange.request, None, location);
    }

    /// `formatted` is what a format came to, where there is one; an empty one changes nothing.
    fn write(&self, request: &Headers, formatted: Option<&[u8]>, out: &mut Vec<u8>) {
        let forwarded = request.known(Known::XForwardedProto);
        let scheme = request.known(Known::Scheme);
        let old_scheme = forwarded.or(scheme).unwrap_or(b"http");
        let new_scheme = self.scheme.as_deref().or(scheme).unwrap_or(old_scheme);
        out.extend_from_slice(new_scheme);
        out.extend_from_slice(b"://");
        match &self.host {
            Some(host) => out.extend_from_slice(host),
            None => {
                let (host, port) = split_port(request.known(Known::Authority).unwrap_or_default());
                out.extend_from_slice(host);
                let keeps = match self.port {
                    Port::Keep => true,
                    Port::Set(_) => false,
                    Port::Automatic => {
                        new_scheme == old_scheme
                            || !matches!(
                                (old_scheme, port),
                                (b"http", b":80") | (b"https", b":443")
                            )
                    }
                };
                if keeps {
                    out.extend_from_slice(port);
                }
            }
        }
        if let Port::Set(port) = &self.port {
            out.extend_from_slice(port);
        }
        self.write_path(
            Uri::new(request.known(Known::Path).unwrap_or_default()),
            formatted.filter(|path| !path.is_empty()),
            out,
        );
    }

    fn write_path(&self, uri: Uri<'_>, formatted: Option<&[u8]>, out: &mut Vec<u8>) {
        let (path, keeps_query) = match (&self.path, formatted) {
            (_, Some(path)) => (path, !path.contains(&b'?')),
            (NewPath::Replace { path, has_query }, None) => (&**path, !has_query),
            (NewPath::Keep | NewPath::Rewrite(_) | NewPath::Format(_), None) => (uri.path, true),
        };
        if !path.starts_with(b"/") {
            out.push(b'/');
        }
        out.extend_from_slice(path);
        if keeps_query && !self.strip_query {
            out.extend_from_slice(uri.rest);
        }
    }
}

impl NewPath {
    fn replace(path: Box<[u8]>) -> Self {
        let has_query = path.contains(&b'?');
        Self::Replace { path, has_query }
    }
}

/// Appends the URL that the request went to: the `location` of a direct response whose status
/// wants one.
pub(super) fn write_url(request: &Headers, out: &mut Vec<u8>) {
    Redirect::here().write(request, None, out);
}

#[cfg(test)]
mod tests;
