//! A request that is asked about, and never sent.
//!
//! Owns reading it from the command line or a test, and the head that stands for it. That head is
//! what filters see: the connection manager's own fields are there where a route can go by them
//! (`x-forwarded-proto`, `x-envoy-internal`), and path and host are what it makes of them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

use crate::clock;
use crate::config::route_tests::{ClientCertificate, RouteTestInput};
use crate::exchange::{Connection, Exchange, Protocol, Timing, Tls};
use crate::headers::{Headers, Known, Name, is_valid_value};
use crate::http::hygiene::{HygieneRules, PathVerdict, normalize_host, normalize_path};

/// A request, and the response that its upstream would give.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) request: Headers,
    pub(super) response: Headers,
    /// The stream's number.
    pub(super) random: u64,
    tls: Option<Tls>,
}

/// What the connection manager does with a request that it does not hand to any route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// 400: the path is not one that it serves.
    Away,
    /// 307 to that path.
    To(String),
}

impl Asked {
    /// A request as `[METHOD] URL`, with fields as `name: value`.
    pub(super) fn parse(
        text: &str,
        fields: &[String],
        certificate: ClientCertificate,
    ) -> anyhow::Result<Self> {
        let (method, url) = match text.trim().split_once(char::is_whitespace) {
            Some((method, url)) => (method, url.trim_start()),
            None => ("GET", text.trim()),
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        ensure!(
            matches!(scheme, "http" | "https"),
            "the URL \"{url}\" begins with neither http:// nor https://"
        );
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        ensure!(!host.is_empty(), "the URL \"{url}\" has no host");
        let path = match path {
            "" if method == "CONNECT" => String::new(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let mut asked = Self::new(method, host, &path, scheme == "https", certificate)?;
        for field in fields {
            // The colon that a pseudo-header field begins with is a part of its name.
            let start = usize::from(field.starts_with(':'));
            let colon = field.get(start..).and_then(|rest| rest.find(':'));
            let Some(colon) = colon.map(|at| at + start) else {
                bail!("the field \"{field}\" is not NAME: VALUE");
            };
            let (name, value) = field.split_at_checked(colon).unwrap_or_default();
            let value = value.strip_prefix(':').unwrap_or(value);
            append(&mut asked.request, name, value.trim())?;
        }
        Ok(asked)
    }

    /// The request of a test.
    pub(super) fn of_test(input: &RouteTestInput) -> anyhow::Result<Self> {
        let method = match &*input.method {
            "" => "GET",
            method => method,
        };
        let certificate = input.client_certificate;
        let mut asked = Self::new(
            method,
            &input.authority,
            &input.path,
            input.ssl,
            certificate,
        )?;
        if input.internal {
            asked.request.set_known(Known::XEnvoyInternal, b"true");
        }
        for field in &input.additional_request_headers {
            append(&mut asked.request, &field.key, &field.value)?;
        }
        for field in &input.additional_response_headers {
            append(&mut asked.response, &field.key, &field.value)?;
        }
        Ok(asked.with_random(input.random_value))
    }

    fn new(
        method: &str,
        host: &str,
        path: &str,
        https: bool,
        certificate: ClientCertificate,
    ) -> anyhow::Result<Self> {
        let scheme: &[u8] = if https { b"https" } else { b"http" };
        let mut request = Headers::new();
        let mut put = |known: Known, value: &str| {
            ensure!(
                is_valid_value(value.as_bytes()) && !value.contains(char::is_whitespace),
                "\"{value}\" cannot be {}",
                known.as_str()
            );
            request.append_known(known, value.as_bytes());
            Ok(())
        };
        put(Known::Method, method)?;
        put(Known::Authority, host)?;
        if !path.is_empty() {
            put(Known::Path, path)?;
        }
        request.append_known(Known::Scheme, scheme);
        request.append_known(Known::XForwardedProto, scheme);
        let tls = https.then_some(Tls {
            certificate_presented: certificate != ClientCertificate::None,
            certificate_validated: certificate == ClientCertificate::Validated,
            ..Tls::default()
        });
        ensure!(
            tls.is_some() || certificate == ClientCertificate::None,
            "a client certificate needs https"
        );
        Ok(Self {
            request,
            response: Headers::new(),
            random: 0,
            tls,
        })
    }

    pub(super) const fn with_random(mut self, random: u64) -> Self {
        self.random = random;
        self
    }

    /// The request as the connection manager hands it to the routes of a listener on that port, where it does.
    pub(super) fn admitted(&self, rules: &HygieneRules, port: u16) -> Result<Self, Turned> {
        let mut asked = self.clone();
        let request = &mut asked.request;
        let path = request.known(Known::Path).unwrap_or_default();
        if path.contains(&b'#') {
            return Err(Turned::Away);
        }
        match normalize_path(rules.path, request) {
            PathVerdict::Serve => {}
            PathVerdict::Redirect if !request.is_grpc() => {
                let path = request.known(Known::Path).unwrap_or_default();
                return Err(Turned::To(lossy(path)));
            }
            PathVerdict::Redirect | PathVerdict::Refuse => return Err(Turned::Away),
        }
        normalize_host(rules, request, port);
        Ok(asked)
    }

    /// An exchange that has come as far as to its route.
    pub(super) fn exchange(&self) -> Exchange {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let connection = Connection {
            tls: self.tls.clone().map(Box::new),
            ..Connection::between(address, address)
        };
        let timing = Timing::starting(clock::now(), clock::wall());
        let mut exchange = Exchange::new(Arc::new(connection), Protocol::Http11, timing, 0);
        exchange.request = self.request.clone();
        exchange.response = self.response.clone();
        exchange
    }

    /// The value of a field, for people; the values of several with commas between them.
    pub(super) fn shown(&self, name: &str) -> Option<String> {
        let name = Name::parse(name.as_bytes()).ok()?;
        let values: Vec<_> = self.request.get_all(&name).map(lossy).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

fn append(head: &mut Headers, name: &str, value: &str) -> anyhow::Result<()> {
    let parsed = Name::parse(name.trim().to_ascii_lowercase().as_bytes())
        .with_context(|| format!("\"{name}\" as the name of a field"))?;
    ensure!(
        is_valid_value(value.as_bytes()),
        "\"{value}\" cannot be the value of {name}"
    );
    if parsed.is_pseudo() {
        head.set(&parsed, value.as_bytes());
    } else {
        head.append(&parsed, value.as_bytes());
    }
    Ok(())
}

/// Bytes for people.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `GET http://shop.example.com/cart`.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |known| lossy(self.request.known(known).unwrap_or_default());
        write!(f, "{} ", part(Known::Method))?;
        if self.request.has(Known::Path) {
            write!(f, "{}://", part(Known::Scheme))?;
        }
        write!(f, "{}{}", part(Known::Authority), part(Known::Path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, fields: &[&str]) -> anyhow::Result<Asked> {
        let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        Asked::parse(text, &fields, ClientCertificate::None)
    }

    #[test]
    fn requests_are_read_as_people_write_them() {
        for (text, shown) in [
            ("http://a.com/b?c", "GET http://a.com/b?c"),
            ("a.com/b", "GET http://a.com/b"),
            ("a.com", "GET http://a.com/"),
            ("a.com?x", "GET http://a.com/?x"),
            ("POST  https://a.com:8443/b", "POST https://a.com:8443/b"),
            ("CONNECT a.com:443", "CONNECT a.com:443"),
        ] {
            assert_eq!(parse(text, &[]).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn fields_are_added_and_pseudo_ones_replaced() {
        let asked = parse(
            "a.com/",
            &["X-A: 1", "x-a:2", ":method: PUT", "Host: b.com"],
        )
        .unwrap();
        assert_eq!(asked.shown("x-a").as_deref(), Some("1, 2"));
        assert_eq!(asked.to_string(), "PUT http://b.com/");
        assert_eq!(asked.shown("x-b"), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (text, fields, message) in [
            (
                "ftp://a.com/",
                &[][..],
                "the URL \"ftp://a.com/\" begins with neither http:// nor https://",
            ),
            ("GET /a", &[], "the URL \"/a\" has no host"),
            ("GET a.com/ b", &[], "\"/ b\" cannot be :path"),
            ("a.com/", &["x"], "the field \"x\" is not NAME: VALUE"),
            ("a.com/", &["a b: c"], "\"a b\" as the name of a field"),
        ] {
            let Err(error) = parse(text, fields) else {
                panic!("{text} was accepted");
            };
            assert_eq!(error.to_string(), message);
        }
        let asked = Asked::parse("http://a.com/", &[], ClientCertificate::Presented);
        assert!(asked.is_err(), "a certificate without TLS");
    }
}
