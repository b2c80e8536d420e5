//! What a request asks of its upstream connection beyond the endpoint.
//!
//! Owns reading it off the request for clusters that want to know. Called by [`super::forward`] and
//! [`super::mirror`]. Does not own what comes of it (`upstream`).

use rustls::pki_types::ServerName;

use super::error::{Error, Kind};
use crate::exchange::{Exchange, Protocol};
use crate::headers::{Headers, Known, Name};
use crate::upstream::spec::AutoNames;
use crate::upstream::{Client, ClusterSpec, Demand};

/// What the request asks for in a cluster of these settings; nothing in most clusters. `shows_client` is
/// whether endpoints may be told where the client is.
///
/// # Errors
/// Where certificates have to have the request's host, and it has none that a certificate can have.
pub(super) fn of_request(
    spec: &ClusterSpec,
    exchange: &Exchange,
    shows_client: bool,
) -> Result<Option<Demand>, Error> {
    if !spec.wants_demands() {
        return Ok(None);
    }
    let names = Names::of(&spec.auto_names, &exchange.request);
    if names.verified == Verified::Unknown && spec.dial.may_be_tls() {
        return Err(Kind::UncertifiableHost.into());
    }
    let verified = match names.verified {
        Verified::Name(name) => Some(name),
        Verified::Any | Verified::Unknown => None,
    };
    let tells_client = spec.pool_per_client || (shows_client && spec.dial.tells_client());
    Ok(Some(Demand {
        client: tells_client.then(|| {
            let client = Client::new(&exchange.connection);
            if shows_client {
                client
            } else {
                client.hidden()
            }
        }),
        server_name: names.asked.map(Into::into),
        verified_name: verified.map(Into::into),
        http2: Some(exchange.protocol == Protocol::Http2),
    }))
}

/// Which names a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Names<'a> {
    /// The name that the server is asked for.
    asked: Option<&'a str>,
    /// Which name its certificate has to have.
    verified: Verified<'a>,
}

/// Which name the request wants in the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verified<'a> {
    /// It does not say.
    Any,
    /// That one.
    Name(&'a str),
    /// Its host, which it does not name, or names so that no certificate can have it.
    Unknown,
}

impl<'a> Names<'a> {
    fn of(wanted: &AutoNames, request: &'a Headers) -> Self {
        let mut names = Self {
            asked: None,
            verified: Verified::Any,
        };
        if !wanted.asks && !wanted.verifies {
            return names;
        }
        // What the library would not take for a name is not brought before an endpoint, whose fault it
        // would seem to be.
        let host = host_of(request, wanted.field.as_ref());
        let host = host.and_then(|host| Some((host, ServerName::try_from(host).ok()?)));
        if wanted.verifies {
            names.verified = host
                .as_ref()
                .map_or(Verified::Unknown, |(host, _)| Verified::Name(host));
        }
        if wanted.asks
            && let Some((host, ServerName::DnsName(_))) = host
        {
            names.asked = Some(host);
        }
        names
    }
}

/// The host that a request names, without its port and without the brackets of an address.
fn host_of<'a>(request: &'a Headers, field: Option<&Name>) -> Option<&'a str> {
    let named = field.and_then(|field| request.get(field));
    let named = named.filter(|named| !named.is_empty());
    let host = named.or_else(|| request.known(Known::Authority))?;
    let host = std::str::from_utf8(host).ok()?;
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split(']').next();
    }
    let host = match host.rsplit_once(':') {
        // An address of IPv6 without brackets has no port.
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_without_ports() {
        for (authority, host) in [
            ("a.test", Some("a.test")),
            ("a.test:443", Some("a.test")),
            ("1.2.3.4:80", Some("1.2.3.4")),
            ("[::1]:443", Some("::1")),
            ("[::1]", Some("::1")),
            ("::1", Some("::1")),
            ("", None),
        ] {
            let mut request = Headers::new();
            request.set_known(Known::Authority, authority.as_bytes());
            assert_eq!(host_of(&request, None), host, "{authority}");
        }
    }

    #[test]
    fn hosts_that_no_certificate_can_have_are_not_asked_for() {
        let field = Name::parse(b"x-host").unwrap();
        let both = AutoNames {
            asks: true,
            verifies: true,
            field: Some(field.clone()),
        };
        let (a, b, address) = ("a.test", "b.test", "1.2.3.4");
        let name = Verified::Name;
        for (authority, over, asked, verified) in [
            ("a.test:443", None, Some(a), name(a)),
            ("a.test", Some("b.test"), Some(b), name(b)),
            ("a.test", Some(""), Some(a), name(a)),
            ("a.test", Some("b..test"), None, Verified::Unknown),
            ("1.2.3.4:80", None, None, name(address)),
            ("[::1]:80", None, None, name("::1")),
            ("", None, None, Verified::Unknown),
            ("a..b", None, None, Verified::Unknown),
            ("-a.test", None, None, Verified::Unknown),
            ("a.999", None, None, Verified::Unknown),
            ("\u{e9}.test", None, None, Verified::Unknown),
        ] {
            let mut request = Headers::new();
            request.set_known(Known::Authority, authority.as_bytes());
            if let Some(over) = over {
                request.set(&field, over.as_bytes());
            }
            let found = Names::of(&both, &request);
            assert_eq!(found, Names { asked, verified }, "{authority} {over:?}");
            let asks = AutoNames {
                verifies: false,
                ..both.clone()
            };
            let found = Names::of(&asks, &request);
            let verified = Verified::Any;
            assert_eq!(found, Names { asked, verified }, "{authority} {over:?}");
        }
        let both = AutoNames {
            field: None,
            ..both
        };
        assert_eq!(
            Names::of(&both, &Headers::new()).verified,
            Verified::Unknown
        );
    }
}
