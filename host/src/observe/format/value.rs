//! What an operator stands for in a given exchange.
//!
//! Owns the way from an [`Operator`] and an [`Exchange`] to bytes. Nothing here allocates but the
//! output buffer when it grows. Called for each operator of each line.
//!
//! Does not own: what is written in place of a value that is missing, lengths and quotes
//! (`observe::format`).

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::address::Address as Socket;
use crate::clock;
use crate::exchange::{Connection, Exchange, Flags, Protocol, Timing, WireBytes, grpc_status_of};
use crate::headers::{Headers, Known, Name};

use super::described;
use super::digits::{push_address, push_ip, push_u64};
use super::json;
use super::operator::{
    Address, Block, CLOSE_TYPE, Clock, Field, GrpcStyle, Number, Operator, Part, Point,
    ServerSource, Source, Text, Unit, Wire,
};
use super::query;
use super::session;

impl Operator {
    /// Appends the value; false, with nothing appended, when there is none.
    pub(super) fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Header(field) => return write_field(exchange, field, out),
            Self::Time { clock, format } => {
                let moment = match clock {
                    Clock::Start => exchange.timing.started_wall,
                    Clock::Emit => clock::wall(),
                };
                format.write(moment, out);
            }
            Self::Duration { from, to, unit } => {
                let lasted = between(&exchange.timing, *from, *to);
                return write_duration(lasted, *unit, out);
            }
            Self::UpstreamWait => {
                return write_duration(exchange.upstream.waited, Unit::Milliseconds, out);
            }
            Self::Number(number) => push_u64(out, number_of(exchange, *number)),
            Self::Wire(wire) => return write_wire(exchange, *wire, out),
            Self::Text(text) => return write_text(exchange, *text, out),
            Self::Address { of, part } => {
                let Some(address) = address_of(exchange, *of) else {
                    return false;
                };
                return push_part(out, &address, *part);
            }
            Self::Session { side, fact } => return session::write(exchange, *side, fact, out),
            Self::GrpcStatus(style) => return write_grpc_status(exchange, *style, out),
            Self::Metadata {
                namespace,
                key: Some(key),
            } => {
                let Some(value) = exchange.metadata.get(namespace, key) else {
                    return false;
                };
                out.extend_from_slice(value);
            }
            Self::Metadata {
                namespace,
                key: None,
            } => return write_namespace(exchange, namespace, out),
            Self::Described { part, extent } => {
                return described::write(exchange, *part, extent, out);
            }
            Self::Path { query, source } => {
                let Some(path) = path_of(exchange, *source) else {
                    return false;
                };
                out.extend_from_slice(if *query { path } else { query::without(path) });
            }
            Self::QueryParameter(name) => {
                let Some(query) = current_query(exchange) else {
                    return false;
                };
                return query::push_parameter(query, name.as_bytes(), out);
            }
            Self::Query { decoded } => {
                let Some(query) = current_query(exchange) else {
                    return false;
                };
                if *decoded {
                    query::push_readable(query, out);
                } else {
                    out.extend_from_slice(query);
                }
            }
            Self::ServerName { prefers, host } => {
                let name = requested(exchange, *prefers, *host);
                return name.is_some_and(|name| push(out, name));
            }
            Self::First(all) => return all.iter().any(|command| command.write(exchange, out)),
            Self::UniqueId => push_uuid(out),
            // Only what is written behind the end of a stream is an access log.
            Self::AccessLogType => {
                out.extend_from_slice(exchange.log_type.as_str().as_bytes());
            }
            Self::Constant(value) => out.extend_from_slice(value),
            Self::Missing => return false,
        }
        true
    }
}

fn write_field(exchange: &Exchange, wanted: &Field, out: &mut Vec<u8>) -> bool {
    let block = wanted.block;
    let names = [wanted.name.as_ref(), wanted.alternative.as_ref()];
    let found = names
        .into_iter()
        .find_map(|name| field(exchange, block, name));
    if let Some(value) = found {
        out.extend_from_slice(match wanted.without_query {
            true => query::without(value),
            false => value,
        });
        return true;
    }
    let is_status = block == Block::Response && is_status(wanted.name.as_ref());
    if is_status && exchange.status != 0 {
        push_u64(out, u64::from(exchange.status));
        return true;
    }
    false
}

fn field<'a>(exchange: &'a Exchange, block: Block, name: Option<&Name>) -> Option<&'a [u8]> {
    let headers: &Headers = match block {
        Block::Request => &exchange.request,
        Block::Response => &exchange.response,
        Block::ResponseTrailers => &exchange.response_trailers,
    };
    headers.get(name?)
}

const fn is_status(name: Option<&Name>) -> bool {
    matches!(name, Some(Name::Known(Known::Status)))
}

fn between(timing: &Timing, from: Point, to: Point) -> Option<Duration> {
    moment(timing, to)?.checked_duration_since(moment(timing, from)?)
}

fn moment(timing: &Timing, point: Point) -> Option<Instant> {
    match point {
        Point::DownstreamReceiveBegin => Some(timing.started),
        Point::DownstreamReceiveEnd => timing.request_received,
        Point::UpstreamSendBegin => timing.upstream_sent_first,
        Point::UpstreamSendEnd => timing.upstream_sent,
        Point::UpstreamReceiveBegin => timing.upstream_received_first,
        Point::UpstreamReceiveEnd => timing.upstream_received,
        Point::DownstreamSendBegin => timing.response_sent_first,
        Point::DownstreamSendEnd => timing.response_sent,
        Point::EndOrNow => Some(timing.ended.unwrap_or_else(clock::now)),
    }
}

fn write_duration(duration: Option<Duration>, unit: Unit, out: &mut Vec<u8>) -> bool {
    let Some(duration) = duration else {
        return false;
    };
    let count = match unit {
        Unit::Milliseconds => duration.as_millis(),
        Unit::Microseconds => duration.as_micros(),
        Unit::Nanoseconds => duration.as_nanos(),
    };
    push_u64(out, u64::try_from(count).unwrap_or(u64::MAX));
    true
}

/// Before its end nothing is known of a stream.
fn write_wire(exchange: &Exchange, wire: Wire, out: &mut Vec<u8>) -> bool {
    let WireBytes {
        downstream,
        upstream,
    } = exchange.wire;
    let bytes = match wire {
        Wire::DownstreamReceived => downstream.map(|carried| carried.received.all),
        Wire::DownstreamSent => downstream.map(|carried| carried.sent.all),
        Wire::UpstreamReceived => upstream.map(|carried| carried.received.all),
        Wire::UpstreamSent => upstream.map(|carried| carried.sent.all),
        Wire::DownstreamFieldsReceived => downstream.map(|carried| carried.received.fields),
        Wire::DownstreamFieldsSent => downstream.map(|carried| carried.sent.fields),
        Wire::UpstreamFieldsReceived => upstream.map(|carried| carried.received.fields),
        Wire::UpstreamFieldsSent => upstream.map(|carried| carried.sent.fields),
    };
    match bytes.filter(|_| exchange.timing.ended.is_some()) {
        Some(bytes) => {
            push_u64(out, bytes);
            true
        }
        None => false,
    }
}

fn number_of(exchange: &Exchange, number: Number) -> u64 {
    let bytes = |headers: &Headers| u64::try_from(headers.byte_size()).unwrap_or(u64::MAX);
    match number {
        Number::BytesReceived => exchange.bytes_received,
        Number::BytesSent => exchange.bytes_sent,
        Number::ResponseCode => u64::from(exchange.status),
        Number::Attempts => u64::from(exchange.upstream.attempts),
        Number::ConnectionId => exchange.connection.id,
        Number::UpstreamConnectionId => exchange.upstream.connection_id.unwrap_or(0),
        Number::RequestHeaderBytes => bytes(&exchange.request),
        Number::ResponseHeaderBytes => {
            bytes(&exchange.response) + u64::from(exchange.connection_bytes)
        }
        Number::ResponseTrailerBytes => bytes(&exchange.response_trailers),
        Number::Zero => 0,
    }
}

/// A text as it is kept, for the operators that need no work.
fn kept_text(exchange: &Exchange, text: Text) -> Option<&str> {
    let upstream = &exchange.upstream;
    let cluster = upstream.cluster.as_deref();
    match text {
        Text::Protocol => exchange.protocol.as_str(),
        Text::UpstreamProtocol => upstream.protocol.and_then(Protocol::as_str),
        Text::DetailsWithWhitespace => exchange.details.as_deref(),
        Text::TerminationDetails => exchange.termination_details.as_deref(),
        Text::UpstreamCluster => upstream.cluster_alias.as_deref().or(cluster),
        Text::UpstreamClusterRaw => cluster,
        // No endpoint has one that is not an internal listener.
        Text::UpstreamEndpointId => upstream.connection_id.map(|_| ""),
        Text::RouteName => exchange
            .route_name
            .as_deref()
            .filter(|name| !name.is_empty()),
        Text::VirtualHost => exchange.virtual_host.as_deref(),
        Text::VirtualCluster => exchange.virtual_cluster.as_deref(),
        Text::ListenerName => Some(&*exchange.connection.listener).filter(|name| !name.is_empty()),
        Text::FilterChainName => {
            Some(&*exchange.connection.filter_chain).filter(|name| !name.is_empty())
        }
        Text::LocalReplyBody => Some(exchange.local_reply_body.as_deref().unwrap_or("")),
        _ => None,
    }
}

/// Appends a value that is there.
fn push(out: &mut Vec<u8>, value: &[u8]) -> bool {
    out.extend_from_slice(value);
    true
}

/// The server that a client asks for, as far as `prefers` looks for it.
fn requested(exchange: &Exchange, prefers: ServerSource, host: Source) -> Option<&[u8]> {
    let sni = || server_name(&exchange.connection).map(str::as_bytes);
    let host = || {
        let original = || exchange.request.known(Known::XEnvoyOriginalHost);
        let current = || exchange.request.known(Known::Authority);
        let host = match host {
            Source::Original => original(),
            Source::Current => current(),
            Source::OriginalOrCurrent => original().or_else(current),
        };
        host.filter(|host| !host.is_empty())
    };
    match prefers {
        ServerSource::Sni => sni(),
        ServerSource::SniFirst => sni().or_else(host),
        ServerSource::HostFirst => host().or_else(sni),
    }
}

fn write_text(exchange: &Exchange, text: Text, out: &mut Vec<u8>) -> bool {
    match text {
        Text::Details | Text::UpstreamFailure => {
            let kept = match text {
                Text::Details => &exchange.details,
                _ => &exchange.upstream.failure,
            };
            let Some(details) = kept else { return false };
            // A log is split at white space, so none may stand in a field.
            out.extend(details.bytes().map(|byte| {
                if byte.is_ascii_whitespace() {
                    b'_'
                } else {
                    byte
                }
            }));
        }
        Text::Flags => push_flags(out, exchange.flags, |(_, short, _)| short),
        Text::FlagsLong => push_flags(out, exchange.flags, |(_, _, long)| long),
        Text::UpstreamHostName => match host_name(exchange) {
            Some(HostName::Name(name)) => out.extend_from_slice(name.as_bytes()),
            Some(HostName::Address(address)) => push_whole(out, address),
            None => return false,
        },
        Text::UpstreamHostNameWithoutPort => match host_name(exchange) {
            Some(HostName::Name(name)) => out.extend_from_slice(without_port(name).as_bytes()),
            Some(HostName::Address(Socket::Ip(address))) => push_ip(out, address.ip()),
            Some(HostName::Address(Socket::Unix(path))) => out.extend_from_slice(path.as_bytes()),
            None => return false,
        },
        Text::AttemptedHostName => return attempted(exchange, Text::UpstreamHostName, out),
        Text::AttemptedHostNameWithoutPort => {
            return attempted(exchange, Text::UpstreamHostNameWithoutPort, out);
        }
        Text::UpstreamCloseType => match exchange.upstream.waited {
            Some(_) => out.extend_from_slice(CLOSE_TYPE),
            None => return false,
        },
        Text::UpstreamConnectionIds => match exchange.upstream.connection_id {
            Some(id) => push_u64(out, id),
            None => return false,
        },
        Text::RequestId => match exchange.request.known(Known::XRequestId) {
            Some(id) => out.extend_from_slice(id),
            None if exchange.protocol == Protocol::Raw => push_stream_id(exchange.stream_id, out),
            None => return false,
        },
        text => match kept_text(exchange, text) {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => return false,
        },
    }
    true
}

/// What is known of an endpoint that there was a connection to.
fn attempted(exchange: &Exchange, text: Text, out: &mut Vec<u8>) -> bool {
    exchange.upstream.connection_id.is_some() && write_text(exchange, text, out)
}

fn push_flags(
    out: &mut Vec<u8>,
    flags: Flags,
    name: fn((Flags, &'static str, &'static str)) -> &'static str,
) {
    if flags.is_empty() {
        out.push(b'-');
        return;
    }
    let start = out.len();
    for flag in flags.in_order() {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(name(flag).as_bytes());
    }
}

enum HostName<'a> {
    Name(&'a str),
    Address(&'a Socket),
}

/// The name of the endpoint, or its address where it was configured by address.
fn host_name(exchange: &Exchange) -> Option<HostName<'_>> {
    let upstream = &exchange.upstream;
    match (upstream.hostname.as_deref(), &upstream.host) {
        (Some(name), Some(address)) if name.parse::<IpAddr>().is_ok() => {
            Some(HostName::Address(address))
        }
        (Some(name), _) if !name.is_empty() => Some(HostName::Name(name)),
        (_, address) => address.as_ref().map(HostName::Address),
    }
}

/// The host that the client asks for over TLS, which a listener filter has found or the handshake.
fn server_name(connection: &Connection) -> Option<&str> {
    let told = connection.tls.as_ref().map(|tls| &tls.server_name);
    let mut names = [Some(&connection.server_name), told].into_iter().flatten();
    names.find_map(Option::as_deref)
}

fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    }
}

fn address_of(exchange: &Exchange, address: Address) -> Option<Cow<'_, Socket>> {
    let upstream = &exchange.upstream;
    let host = || upstream.host.as_ref().map(Cow::Borrowed);
    let address = match address {
        Address::UpstreamHost => return host(),
        // The endpoint that was picked, once there was a connection to it.
        Address::UpstreamTried if exchange.protocol == Protocol::Raw => return host(),
        Address::UpstreamTried | Address::UpstreamRemote => {
            return upstream.connection_id.and_then(|_| host());
        }
        Address::UpstreamLocal => return Some(Cow::Owned(Socket::Ip(upstream.local?))),
        Address::DownstreamRemote => &exchange.remote,
        Address::DownstreamDirectRemote => &exchange.connection.direct_remote,
        Address::DownstreamLocal => &exchange.connection.local,
        Address::DownstreamDirectLocal => &exchange.connection.direct_local,
    };
    Some(Cow::Borrowed(address))
}

fn push_whole(out: &mut Vec<u8>, address: &Socket) {
    match address {
        Socket::Ip(address) => push_address(out, *address),
        Socket::Unix(path) => out.extend_from_slice(path.as_bytes()),
    }
}

/// Appends the part; false where there is none: a Unix socket has no port.
fn push_part(out: &mut Vec<u8>, address: &Socket, part: Part) -> bool {
    let address = match address {
        Socket::Ip(address) => *address,
        Socket::Unix(path) => {
            let has_part = matches!(part, Part::Whole | Part::Ip);
            if has_part {
                out.extend_from_slice(path.as_bytes());
            }
            return has_part;
        }
    };
    match part {
        Part::Whole => push_address(out, address),
        Part::Ip => push_ip(out, address.ip()),
        Part::Port => push_u64(out, u64::from(address.port())),
        Part::Network(bits) => {
            let (network, bits) = network(address.ip(), u32::from(bits));
            push_ip(out, network);
            out.push(b'/');
            push_u64(out, u64::from(bits));
        }
    }
    true
}

/// The network of `bits` bits, at most as many as the address has.
fn network(ip: IpAddr, bits: u32) -> (IpAddr, u32) {
    match ip {
        IpAddr::V4(ip) => {
            let bits = bits.min(32);
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (Ipv4Addr::from_bits(ip.to_bits() & mask).into(), bits)
        }
        IpAddr::V6(ip) => {
            let bits = bits.min(128);
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (Ipv6Addr::from_bits(ip.to_bits() & mask).into(), bits)
        }
    }
}

fn path_of(exchange: &Exchange, source: Source) -> Option<&[u8]> {
    let original = || exchange.request.known(Known::XEnvoyOriginalPath);
    let current = || exchange.request.known(Known::Path);
    match source {
        Source::Original => original(),
        Source::Current => current(),
        Source::OriginalOrCurrent => original().or_else(current),
    }
}

fn current_query(exchange: &Exchange) -> Option<&[u8]> {
    query::of(exchange.request.known(Known::Path)?)
}

fn write_namespace(exchange: &Exchange, namespace: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for (key, value) in exchange.metadata.namespace(namespace) {
        out.push(if out.len() == start { b'{' } else { b',' });
        json::push_quoted(out, key.as_bytes());
        out.push(b':');
        json::push_quoted(out, value);
    }
    if out.len() == start {
        return false;
    }
    out.push(b'}');
    true
}

/// Names of the gRPC statuses 0 to 16 in both styles.
const GRPC_STATUSES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn write_grpc_status(exchange: &Exchange, style: GrpcStyle, out: &mut Vec<u8>) -> bool {
    let Some(status) = grpc_status(exchange) else {
        return false;
    };
    let names = usize::try_from(status)
        .ok()
        .and_then(|status| GRPC_STATUSES.get(status));
    match (style, names) {
        (GrpcStyle::Camel, Some((camel, _))) => out.extend_from_slice(camel.as_bytes()),
        (GrpcStyle::Snake, Some((_, snake))) => out.extend_from_slice(snake.as_bytes()),
        _ => {
            if status < 0 {
                out.push(b'-');
            }
            push_u64(out, status.unsigned_abs());
        }
    }
    true
}

/// What Envoy shows for a `grpc-status` that is no number.
const NOT_A_STATUS: i64 = -1;

/// The status that the response carries, or the one that its HTTP status stands for.
fn grpc_status(exchange: &Exchange) -> Option<i64> {
    if !exchange.request.is_grpc() {
        return None;
    }
    let carried = [&exchange.response_trailers, &exchange.response]
        .into_iter()
        .filter_map(|block| block.known(Known::GrpcStatus))
        .find(|status| !status.is_empty());
    if let Some(carried) = carried {
        let number = std::str::from_utf8(carried)
            .ok()
            .and_then(|text| text.parse::<u32>().ok());
        return Some(number.map_or(NOT_A_STATUS, i64::from));
    }
    match exchange.status {
        0 => None,
        status => Some(i64::from(grpc_status_of(status))),
    }
}

/// A random UUID (RFC 9562 §5.4).
fn push_uuid(out: &mut Vec<u8>) {
    // Each `RandomState` has keys of its own; a hash of nothing under them is a random number.
    let random = || RandomState::new().build_hasher().finish();
    push_uuid_of(random(), random(), out);
}

/// The UUID of a stream that has no identifier of its own: the same for as long as it lasts.
fn push_stream_id(number: u64, out: &mut Vec<u8>) {
    static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);
    push_uuid_of(KEYS.0.hash_one(number), KEYS.1.hash_one(number), out);
}

fn push_uuid_of(high: u64, low: u64, out: &mut Vec<u8>) {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 1 << 63;
    for (index, byte) in high
        .to_be_bytes()
        .into_iter()
        .chain(low.to_be_bytes())
        .enumerate()
    {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        for nibble in [byte >> 4, byte & 15] {
            out.push(if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            });
        }
    }
}
