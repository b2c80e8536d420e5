//! Header hygiene: what the connection manager does to a request before filters see it, and to a
//! response before it leaves.
//!
//! Owns the rules for hop-by-hop fields (RFC 9110 §7.6.1), `x-forwarded-*`, `x-request-id`, the
//! `x-envoy-*` control headers and `server`, `date`, `via`. Does not own framing (`http::h1`) nor
//! what routes add (`route::mutation`).

use std::net::{IpAddr, SocketAddr};

use crate::exchange::{Exchange, Protocol};
use crate::headers::{Headers, Known, Name};
use crate::runtime::{ConnectionManager, ServerHeader};

/// Envoy refuses a `connection` header that names more fields than this.
const NOMINATED_MAX: usize = 10;

/// Why a request is refused by its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `connection` names a field that may not be removed, or too many: 400.
    ConnectionHeader,
    /// `connection` names `host`, without which the request is none: 400.
    MissingHost,
}

/// What the head asks of the connection manager beyond its own request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing.
    Nothing,
    /// Another protocol on this connection.
    Upgrade,
}

/// Cleans the head of a request. `id` is the random number that a new `x-request-id` is made of.
pub(crate) fn request(
    manager: &ConnectionManager,
    exchange: &mut Exchange,
    id: u128,
) -> Result<Asks, Refusal> {
    let headers = &mut exchange.request;
    headers.join_repeated(Known::joins_in_request);
    let asks = remove_hop_by_hop(headers, exchange.protocol)?;
    let direct = exchange.connection.direct_remote;
    let trusted = trusted_address(manager, headers, direct);
    let internal = is_internal(manager, headers, trusted.from_header);
    exchange.remote = trusted.address;
    let edge = manager.use_remote_address && !internal;
    remove_control_headers(headers, internal, edge);
    forward_headers(manager, headers, direct, exchange.connection.local.ip());
    if internal {
        headers.set_known(Known::XEnvoyInternal, b"true");
    } else if edge {
        let address = exchange.remote.ip().to_string();
        headers.set_known(Known::XEnvoyExternalAddress, address.as_bytes());
    }
    request_id(manager, headers, edge, id);
    if let Some(via) = &manager.via {
        append_list(headers, Known::Via, via, b", ");
    }
    Ok(asks)
}

/// Takes hop-by-hop fields out.
fn remove_hop_by_hop(headers: &mut Headers, protocol: Protocol) -> Result<Asks, Refusal> {
    let mut upgrade = false;
    let mut h2c = false;
    if headers.has(Known::Connection) {
        let mut nominated: Vec<Name> = Vec::new();
        for token in headers.known_all(Known::Connection).flat_map(tokens) {
            if token.eq_ignore_ascii_case(b"upgrade") {
                upgrade = true;
            } else if token.eq_ignore_ascii_case(b"http2-settings") {
                h2c = true;
            } else if !token.eq_ignore_ascii_case(b"close")
                && !token.eq_ignore_ascii_case(b"keep-alive")
                && !token.eq_ignore_ascii_case(b"te")
            {
                nominated.push(nominate(token)?);
            }
        }
        if nominated.len() > NOMINATED_MAX {
            return Err(Refusal::ConnectionHeader);
        }
        for name in &nominated {
            headers.remove(name);
        }
    }
    upgrade &= headers.has(Known::Upgrade);
    if upgrade && protocol != Protocol::Http2 {
        let value = headers.known(Known::Upgrade).unwrap_or_default();
        // An offer of h2c may be ignored (RFC 9110 §7.8); the request goes on as HTTP/1.1.
        h2c |= value.eq_ignore_ascii_case(b"h2c");
        upgrade = !h2c;
    }
    let trailers = headers
        .known_all(Known::Te)
        .flat_map(tokens)
        .any(|t| t == b"trailers");
    headers.retain(|field| match field.known {
        Some(
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade,
        ) => false,
        Some(Known::Te) => trailers,
        Some(Known::Http2Settings) => !h2c,
        Some(Known::Expect) => !field.value.eq_ignore_ascii_case(b"100-continue"),
        _ => true,
    });
    if trailers {
        headers.set_known(Known::Te, b"trailers");
    }
    Ok(if upgrade {
        Asks::Upgrade
    } else {
        Asks::Nothing
    })
}

fn nominate(token: &[u8]) -> Result<Name, Refusal> {
    let name = Name::parse(token).map_err(|_invalid| Refusal::ConnectionHeader)?;
    if name == Name::Known(Known::Authority) && token.first() != Some(&b':') {
        return Err(Refusal::MissingHost);
    }
    let protected = name.is_pseudo()
        || matches!(
            name,
            Name::Known(
                Known::ContentLength
                    | Known::XForwardedFor
                    | Known::XForwardedHost
                    | Known::XForwardedProto
            )
        );
    if protected {
        Err(Refusal::ConnectionHeader)
    } else {
        Ok(name)
    }
}

/// The members of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1).
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// The client's address, and whether `x-forwarded-for` gave it.
struct Trusted {
    address: SocketAddr,
    from_header: Option<IpAddr>,
}

/// The address of the client: with `use_remote_address` the peer's (or the one that the trusted
/// hops vouch for), else the last of `x-forwarded-for`.
fn trusted_address(manager: &ConnectionManager, headers: &Headers, direct: SocketAddr) -> Trusted {
    let hops = manager.xff_num_trusted_hops;
    if manager.use_remote_address && hops == 0 {
        return Trusted {
            address: direct,
            from_header: None,
        };
    }
    // At the edge the peer itself is the first hop and is not in the header yet.
    let from_right = if manager.use_remote_address {
        hops - 1
    } else {
        hops
    };
    let named = nth_from_right(headers, from_right as usize);
    Trusted {
        address: named.map_or(direct, |ip| SocketAddr::new(ip, 0)),
        from_header: named,
    }
}

fn nth_from_right(headers: &Headers, n: usize) -> Option<IpAddr> {
    // Several lines are one list (RFC 9110 §5.3); the common case is one line.
    let last = headers.known_all(Known::XForwardedFor).last()?;
    let entry = last.rsplit(|byte| *byte == b',').nth(n)?.trim_ascii();
    std::str::from_utf8(entry).ok()?.parse().ok()
}

fn is_internal(manager: &ConnectionManager, headers: &Headers, named: Option<IpAddr>) -> bool {
    if manager.internal_ranges.is_empty() {
        return false;
    }
    let mut forwarded = headers.known_all(Known::XForwardedFor);
    let single = match (forwarded.next(), forwarded.next()) {
        (Some(only), None) => !only.contains(&b','),
        _ => false,
    };
    let address = named.or_else(|| nth_from_right(headers, 0));
    single && address.is_some_and(|ip| manager.internal_ranges.iter().any(|r| r.contains(ip)))
}

/// Envoy's control headers: a client that is not internal may not steer the proxy with them.
fn remove_control_headers(headers: &mut Headers, internal: bool, edge: bool) {
    headers.retain(|field| match field.known {
        Some(
            Known::XEnvoyInternal
            | Known::XEnvoyExpectedRqTimeoutMs
            // Nobody has verified a client's certificate here, so nobody may claim to have.
            | Known::XForwardedClientCert,
        ) => false,
        Some(
            Known::XEnvoyRetryOn
            | Known::XEnvoyRetryGrpcOn
            | Known::XEnvoyMaxRetries
            | Known::XEnvoyRetriableStatusCodes
            | Known::XEnvoyRetriableHeaderNames
            | Known::XEnvoyHedgeOnPerTryTimeout
            | Known::XEnvoyUpstreamAltStatName
            | Known::XEnvoyUpstreamRqTimeoutMs
            | Known::XEnvoyUpstreamRqPerTryTimeoutMs
            | Known::XEnvoyUpstreamRqTimeoutAltResponse
            | Known::XEnvoyUpstreamStreamDurationMs
            | Known::XEnvoyForceTrace
            | Known::XEnvoyIpTags
            | Known::XEnvoyOriginalUrl,
        ) => internal,
        Some(
            Known::XEnvoyOriginalPath
            | Known::XEnvoyOriginalHost
            | Known::XEnvoyDecoratorOperation
            | Known::XEnvoyDownstreamServiceCluster
            | Known::XEnvoyDownstreamServiceNode,
        ) => !edge,
        _ => true,
    });
}

/// `x-forwarded-for` at the edge, and `x-forwarded-proto`.
fn forward_headers(
    manager: &ConnectionManager,
    headers: &mut Headers,
    direct: SocketAddr,
    local: IpAddr,
) {
    let scheme: &[u8] = b"http";
    if !manager.use_remote_address {
        match headers.known(Known::XForwardedProto) {
            None => headers.append_known(Known::XForwardedProto, scheme),
            // The hop before knows what the client spoke.
            Some(b"https") => headers.set_known(Known::Scheme, b"https"),
            Some(_) => {}
        }
        return;
    }
    if !manager.skip_xff_append {
        // Envoy shows a loopback peer under the machine's own address.
        let shown = if direct.ip().is_loopback() {
            manager.machine_address.unwrap_or(local)
        } else {
            direct.ip()
        };
        append_list(
            headers,
            Known::XForwardedFor,
            shown.to_string().as_bytes(),
            b",",
        );
    }
    if manager.xff_num_trusted_hops == 0 || !headers.has(Known::XForwardedProto) {
        headers.set_known(Known::XForwardedProto, scheme);
    }
}

fn request_id(manager: &ConnectionManager, headers: &mut Headers, edge: bool, id: u128) {
    if !manager.generate_request_id {
        return;
    }
    let keep = !edge || manager.preserve_external_request_id;
    if keep
        && headers
            .known(Known::XRequestId)
            .is_some_and(|id| !id.is_empty())
    {
        return;
    }
    headers.set_known(Known::XRequestId, &uuid(id));
}

/// Text of a version 4 UUID (RFC 9562 §5.4) made of 122 of the random bits.
fn uuid(random: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (index, byte) in text.iter_mut().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            continue;
        }
        shift -= 4;
        let digit = ((bits >> shift) & 0xf) as usize;
        *byte = HEX.get(digit).copied().unwrap_or(b'0');
    }
    text
}

/// Adds `value` to the list in `name`, or makes it.
fn append_list(headers: &mut Headers, name: Known, value: &[u8], separator: &[u8]) {
    match headers.known(name) {
        Some(old) if !old.is_empty() => {
            let joined = [old, separator, value].concat();
            headers.set_known(name, &joined);
        }
        _ => headers.set_known(name, value),
    }
}

/// Takes what belongs to the upstream connection alone out of a response that came from there.
pub(crate) fn upstream_response(headers: &mut Headers) {
    headers.retain(|field| {
        !matches!(
            field.known,
            Some(
                Known::Connection
                    | Known::KeepAlive
                    | Known::ProxyConnection
                    | Known::TransferEncoding
                    | Known::Upgrade
            )
        )
    });
}

/// The last touches of every response, local ones included: `date`, `server`, `via`,
/// `x-request-id`.
pub(crate) fn response(manager: &ConnectionManager, exchange: &mut Exchange, date: &[u8]) {
    let headers = &mut exchange.response;
    if !headers.has(Known::Date) {
        headers.append_known(Known::Date, date);
    }
    match manager.server_header {
        ServerHeader::Overwrite => headers.set_known(Known::Server, &manager.server_name),
        ServerHeader::AppendIfAbsent if !headers.has(Known::Server) => {
            headers.append_known(Known::Server, &manager.server_name);
        }
        ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
    }
    if let Some(via) = &manager.via {
        append_list(headers, Known::Via, via, b", ");
    }
    if manager.always_set_request_id_in_response
        && let Some(id) = exchange.request.known(Known::XRequestId)
    {
        headers.set_known(Known::XRequestId, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        let text = String::from_utf8(uuid(u128::MAX).to_vec()).unwrap();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let text = String::from_utf8(uuid(0).to_vec()).unwrap();
        assert_eq!(text, "00000000-0000-4000-8000-000000000000");
    }

    fn head(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append_bytes(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn names(headers: &Headers) -> Vec<String> {
        headers
            .iter()
            .map(|f| String::from_utf8_lossy(f.name).into_owned())
            .collect()
    }

    #[test]
    fn hop_by_hop_fields_and_the_named_ones_go() {
        let mut headers = head(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("expect", "100-Continue"),
            ("x-kept", "1"),
        ]);
        assert_eq!(
            remove_hop_by_hop(&mut headers, Protocol::Http11),
            Ok(Asks::Nothing)
        );
        assert_eq!(names(&headers), ["te", "x-kept"]);
        assert_eq!(headers.known(Known::Te), Some(&b"trailers"[..]));
    }

    #[test]
    fn connection_may_not_name_what_must_stay() {
        for name in ["content-length", "X-Forwarded-For", ":path", "bad name"] {
            let mut headers = head(&[("connection", name)]);
            let refused = remove_hop_by_hop(&mut headers, Protocol::Http11);
            assert_eq!(refused, Err(Refusal::ConnectionHeader), "{name}");
        }
    }

    #[test]
    fn upgrades_are_seen_and_h2c_is_ignored() {
        let mut websocket = head(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(
            remove_hop_by_hop(&mut websocket, Protocol::Http11),
            Ok(Asks::Upgrade)
        );
        let fields = [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "A"),
        ];
        let mut h2c = head(&fields);
        assert_eq!(
            remove_hop_by_hop(&mut h2c, Protocol::Http11),
            Ok(Asks::Nothing)
        );
        assert!(h2c.is_empty());
    }

    #[test]
    fn the_nth_forwarded_address_counts_from_the_right() {
        let headers = head(&[("x-forwarded-for", "1.2.3.4, 5.6.7.8")]);
        assert_eq!(
            nth_from_right(&headers, 0),
            Some("5.6.7.8".parse().unwrap())
        );
        assert_eq!(
            nth_from_right(&headers, 1),
            Some("1.2.3.4".parse().unwrap())
        );
        assert_eq!(nth_from_right(&headers, 2), None);
        assert_eq!(
            nth_from_right(&head(&[("x-forwarded-for", "bogus")]), 0),
            None
        );
    }
}
