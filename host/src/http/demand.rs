//! What a request asks of its upstream connection beyond the endpoint.
//!
//! Owns reading it off the request for clusters that want to know. Called by [`super::forward`] and
//! [`super::mirror`]. Does not own what comes of it (`upstream`).

use std::net::IpAddr;

use crate::exchange::{Exchange, Protocol};
use crate::headers::{Headers, Known, Name};
use crate::upstream::{Client, ClusterSpec, Demand};

/// What the request asks for in a cluster of these settings; nothing in most clusters.
pub(super) fn of_request(spec: &ClusterSpec, exchange: &Exchange) -> Option<Demand> {
    if !spec.wants_demands() {
        return None;
    }
    let names = &spec.auto_names;
    let host = || host_of(&exchange.request, names.field.as_ref());
    let is_name = |host: &&str| host.parse::<IpAddr>().is_err();
    let tells_client = spec.pool_per_client || spec.dial.tells_client();
    Some(Demand {
        client: tells_client.then(|| Client::new(&exchange.connection)),
        server_name: names
            .asks
            .then(host)
            .flatten()
            .filter(is_name)
            .map(Into::into),
        verified_name: names.verifies.then(host).flatten().map(Into::into),
        http2: Some(exchange.protocol == Protocol::Http2),
    })
}

/// The host that a request names, without its port and without the brackets of an address.
fn host_of<'a>(request: &'a Headers, field: Option<&Name>) -> Option<&'a str> {
    let named = field.and_then(|field| request.get(field));
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
}
