//! The table of operators: names, what each takes, and how its parameters are read.
//!
//! Owns what `Operator::find` looks up. Which operators exist and what they accept is what Envoy
//! 1.40 accepts.

use crate::exchange::Metadata;
use crate::headers::{InvalidName, Name};

use super::super::described::{Extent, Part as Described};
use super::super::error::Problem;
use super::super::session::{Fact, Side, Whose};
use super::super::template::Command;
use super::super::time::{TimeFormat, Zone};
use super::{
    Address, Block, Clock, Field, GrpcStyle, Number, Operator, Part, Point, ServerSource, Source,
    Text, Unit, Wire,
};

/// How many parameters an operator takes and whether its value can be cut to a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Neither parameters nor a length.
    Nothing,
    /// Parameters are optional; no length.
    Optional,
    /// Parameters are needed; no length.
    Required,
    /// Parameters are optional; a length may follow.
    OptionalAndLength,
    /// Parameters are needed; a length may follow.
    RequiredAndLength,
}

impl Takes {
    /// Whether a length may follow.
    pub(super) const fn length(self) -> bool {
        matches!(self, Self::OptionalAndLength | Self::RequiredAndLength)
    }
}

/// Makes an operator out of its parameters, which are empty where it has none.
pub(super) type Make = fn(&str) -> Result<Operator, Problem>;

/// What a command is called and what it takes.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) make: Make,
}

const fn spec(name: &'static str, takes: Takes, make: Make) -> Spec {
    Spec { name, takes, make }
}

/// How connections end, as Envoy shows it for HTTP: of a reset too.
pub(in super::super) const CLOSE_TYPE: &[u8] = b"Normal";

/// Operators that Envoy has and that this proxy refuses, because their value would be wrong.
pub(super) const UNSUPPORTED: [&str; 1] = ["CEL"];

macro_rules! specs {
    ($($name:literal $takes:ident $make:expr;)+) => {
        /// Every operator that can have a value, and those without one that take parameters.
        pub(super) const SPECS: &[Spec] = &[$(spec($name, Takes::$takes, $make)),+];
    };
}

specs! {
    "REQ" RequiredAndLength |p| header(Block::Request, p);
    "REQUEST_HEADER" RequiredAndLength |p| header(Block::Request, p);
    "REQ_WITHOUT_QUERY" RequiredAndLength without_query;
    "RESP" RequiredAndLength |p| header(Block::Response, p);
    "RESPONSE_HEADER" RequiredAndLength |p| header(Block::Response, p);
    "TRAILER" RequiredAndLength |p| header(Block::ResponseTrailers, p);
    "RESPONSE_TRAILER" RequiredAndLength |p| header(Block::ResponseTrailers, p);
    "START_TIME" Optional |p| time(Clock::Start, Zone::Utc, p);
    "START_TIME_LOCAL" Optional |p| time(Clock::Start, Zone::Local, p);
    "EMIT_TIME" Optional |p| time(Clock::Emit, Zone::Utc, p);
    "EMIT_TIME_LOCAL" Optional |p| time(Clock::Emit, Zone::Local, p);
    "DURATION" Nothing |_| milliseconds(Point::DownstreamReceiveBegin, Point::EndOrNow);
    "REQUEST_DURATION" Nothing
        |_| milliseconds(Point::DownstreamReceiveBegin, Point::DownstreamReceiveEnd);
    "REQUEST_TX_DURATION" Nothing
        |_| milliseconds(Point::DownstreamReceiveBegin, Point::UpstreamSendEnd);
    "RESPONSE_DURATION" Nothing
        |_| milliseconds(Point::DownstreamReceiveBegin, Point::UpstreamReceiveBegin);
    "RESPONSE_TX_DURATION" Nothing
        |_| milliseconds(Point::UpstreamReceiveBegin, Point::DownstreamSendEnd);
    "COMMON_DURATION" Required common_duration;
    "BYTES_RECEIVED" Nothing |_| Ok(Operator::Number(Number::BytesReceived));
    "BYTES_SENT" Nothing |_| Ok(Operator::Number(Number::BytesSent));
    "DOWNSTREAM_WIRE_BYTES_RECEIVED" Nothing |_| Ok(Operator::Wire(Wire::DownstreamReceived));
    "DOWNSTREAM_WIRE_BYTES_SENT" Nothing |_| Ok(Operator::Wire(Wire::DownstreamSent));
    "UPSTREAM_WIRE_BYTES_RECEIVED" Nothing |_| Ok(Operator::Wire(Wire::UpstreamReceived));
    "UPSTREAM_WIRE_BYTES_SENT" Nothing |_| Ok(Operator::Wire(Wire::UpstreamSent));
    "DOWNSTREAM_HEADER_BYTES_RECEIVED" Nothing |_| Ok(Operator::Wire(Wire::DownstreamFieldsReceived));
    "DOWNSTREAM_HEADER_BYTES_SENT" Nothing |_| Ok(Operator::Wire(Wire::DownstreamFieldsSent));
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" Nothing |_| Ok(Operator::Wire(Wire::DownstreamFieldsReceived));
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" Nothing |_| Ok(Operator::Wire(Wire::DownstreamFieldsSent));
    "UPSTREAM_HEADER_BYTES_RECEIVED" Nothing |_| Ok(Operator::Wire(Wire::UpstreamFieldsReceived));
    "UPSTREAM_HEADER_BYTES_SENT" Nothing |_| Ok(Operator::Wire(Wire::UpstreamFieldsSent));
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" Nothing |_| Ok(Operator::Wire(Wire::UpstreamFieldsReceived));
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" Nothing |_| Ok(Operator::Wire(Wire::UpstreamFieldsSent));
    "BYTES_RETRANSMITTED" Nothing |_| Ok(Operator::Number(Number::Zero));
    "PACKETS_RETRANSMITTED" Nothing |_| Ok(Operator::Number(Number::Zero));
    "REQUEST_HEADERS_BYTES" Nothing |_| Ok(Operator::Number(Number::RequestHeaderBytes));
    "RESPONSE_HEADERS_BYTES" Nothing |_| Ok(Operator::Number(Number::ResponseHeaderBytes));
    "RESPONSE_TRAILERS_BYTES" Nothing |_| Ok(Operator::Number(Number::ResponseTrailerBytes));
    "PROTOCOL" Nothing |_| Ok(Operator::Text(Text::Protocol));
    "UPSTREAM_PROTOCOL" Nothing |_| Ok(Operator::Text(Text::UpstreamProtocol));
    "RESPONSE_CODE" Nothing |_| Ok(Operator::Number(Number::ResponseCode));
    "RESPONSE_CODE_DETAILS" Optional |p| Ok(Operator::Text(match p {
        "ALLOW_WHITESPACES" => Text::DetailsWithWhitespace,
        _ => Text::Details,
    }));
    "CONNECTION_TERMINATION_DETAILS" Nothing |_| Ok(Operator::Text(Text::TerminationDetails));
    "RESPONSE_FLAGS" Nothing |_| Ok(Operator::Text(Text::Flags));
    "RESPONSE_FLAGS_LONG" Nothing |_| Ok(Operator::Text(Text::FlagsLong));
    "UPSTREAM_REQUEST_ATTEMPT_COUNT" Nothing |_| Ok(Operator::Number(Number::Attempts));
    "UPSTREAM_HOST" Nothing |_| Ok(address(Address::UpstreamHost, Part::Whole));
    "UPSTREAM_HOST_NAME" Nothing |_| Ok(Operator::Text(Text::UpstreamHostName));
    "UPSTREAM_HOST_NAME_WITHOUT_PORT" Nothing
        |_| Ok(Operator::Text(Text::UpstreamHostNameWithoutPort));
    "UPSTREAM_HOSTS_ATTEMPTED" Nothing |_| Ok(address(Address::UpstreamTried, Part::Whole));
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" Nothing
        |_| Ok(address(Address::UpstreamTried, Part::Ip));
    "UPSTREAM_HOST_NAMES_ATTEMPTED" Nothing |_| Ok(Operator::Text(Text::AttemptedHostName));
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT" Nothing
        |_| Ok(Operator::Text(Text::AttemptedHostNameWithoutPort));
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED" Nothing |_| Ok(Operator::Text(Text::UpstreamConnectionIds));
    "UPSTREAM_CONNECTION_POOL_READY_DURATION" Nothing |_| Ok(Operator::UpstreamWait);
    "UPSTREAM_DETECTED_CLOSE_TYPE" Nothing |_| Ok(Operator::Text(Text::UpstreamCloseType));
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID" Nothing |_| Ok(Operator::Text(Text::UpstreamEndpointId));
    "UPSTREAM_CLUSTER" Nothing |_| Ok(Operator::Text(Text::UpstreamCluster));
    "UPSTREAM_CLUSTER_RAW" Nothing |_| Ok(Operator::Text(Text::UpstreamClusterRaw));
    "UPSTREAM_TRANSPORT_FAILURE_REASON" Nothing |_| Ok(Operator::Text(Text::UpstreamFailure));
    "UPSTREAM_LOCAL_ADDRESS" Nothing |_| Ok(address(Address::UpstreamLocal, Part::Whole));
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" Optional |p| Ok(network(Address::UpstreamLocal, p));
    "UPSTREAM_LOCAL_PORT" Nothing |_| Ok(address(Address::UpstreamLocal, Part::Port));
    "UPSTREAM_REMOTE_ADDRESS" Nothing |_| Ok(address(Address::UpstreamRemote, Part::Whole));
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" Optional |p| Ok(network(Address::UpstreamRemote, p));
    "UPSTREAM_REMOTE_PORT" Nothing |_| Ok(address(Address::UpstreamRemote, Part::Port));
    "DOWNSTREAM_REMOTE_ADDRESS" Nothing |_| Ok(address(Address::DownstreamRemote, Part::Whole));
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" Optional
        |p| Ok(network(Address::DownstreamRemote, p));
    "DOWNSTREAM_REMOTE_PORT" Nothing |_| Ok(address(Address::DownstreamRemote, Part::Port));
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" Nothing
        |_| Ok(address(Address::DownstreamDirectRemote, Part::Whole));
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" Optional
        |p| Ok(network(Address::DownstreamDirectRemote, p));
    "DOWNSTREAM_DIRECT_REMOTE_PORT" Nothing
        |_| Ok(address(Address::DownstreamDirectRemote, Part::Port));
    "DOWNSTREAM_LOCAL_ADDRESS" Nothing |_| Ok(address(Address::DownstreamLocal, Part::Whole));
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" Optional |p| Ok(network(Address::DownstreamLocal, p));
    "DOWNSTREAM_LOCAL_PORT" Nothing |_| Ok(address(Address::DownstreamLocal, Part::Port));
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" Nothing
        |_| Ok(address(Address::DownstreamDirectLocal, Part::Whole));
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" Optional
        |p| Ok(network(Address::DownstreamDirectLocal, p));
    "DOWNSTREAM_DIRECT_LOCAL_PORT" Nothing
        |_| Ok(address(Address::DownstreamDirectLocal, Part::Port));
    "DOWNSTREAM_DETECTED_CLOSE_TYPE" Nothing |_| Ok(Operator::Constant(CLOSE_TYPE.into()));
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID" Nothing |_| Ok(Operator::Constant(Box::default()));
    "REQUESTED_SERVER_NAME" Optional server_name;
    "COALESCE" RequiredAndLength first;
    "CONNECTION_ID" Nothing |_| Ok(Operator::Number(Number::ConnectionId));
    "UPSTREAM_CONNECTION_ID" Nothing |_| Ok(Operator::Number(Number::UpstreamConnectionId));
    "GRPC_STATUS" Optional grpc_status;
    "GRPC_STATUS_NUMBER" Nothing |_| Ok(Operator::GrpcStatus(GrpcStyle::Number));
    "DYNAMIC_METADATA" RequiredAndLength |p| Ok(dynamic_metadata(p));
    "METADATA" OptionalAndLength metadata;
    "CLUSTER_METADATA" RequiredAndLength |p| Ok(described(Described::Cluster, p));
    "UPSTREAM_METADATA" RequiredAndLength |p| Ok(described(Described::Endpoint, p));
    "FILTER_STATE" OptionalAndLength filter_state;
    "UPSTREAM_FILTER_STATE" OptionalAndLength filter_state;
    "LOCAL_REPLY_BODY" Nothing |_| Ok(Operator::Text(Text::LocalReplyBody));
    "LISTENER_NAME" Nothing |_| Ok(Operator::Text(Text::ListenerName));
    "FILTER_CHAIN_NAME" Nothing |_| Ok(Operator::Text(Text::FilterChainName));
    "ROUTE_NAME" Nothing |_| Ok(Operator::Text(Text::RouteName));
    "VIRTUAL_CLUSTER_NAME" Nothing |_| Ok(Operator::Text(Text::VirtualCluster));
    "ACCESS_LOG_TYPE" Nothing |_| Ok(Operator::AccessLogType);
    "UNIQUE_ID" Nothing |_| Ok(Operator::UniqueId);
    "STREAM_ID" Nothing |_| Ok(Operator::Text(Text::RequestId));
    "HOSTNAME" Nothing |_| Ok(Operator::Constant(host_name().into()));
    "ENVIRONMENT" RequiredAndLength |p| Ok(environment(p));
    "QUERY_PARAM" RequiredAndLength |p| Ok(Operator::QueryParameter(p.into()));
    "QUERY_PARAMS" OptionalAndLength query;
    "PATH" OptionalAndLength path;
    "DOWNSTREAM_LOCAL_DNS_SAN" Nothing |_| Ok(downstream(Fact::Dns(Whose::Local)));
    "DOWNSTREAM_LOCAL_EMAIL_SAN" Nothing |_| Ok(downstream(Fact::Email(Whose::Local)));
    "DOWNSTREAM_LOCAL_IP_SAN" Nothing |_| Ok(downstream(Fact::Ip(Whose::Local)));
    "DOWNSTREAM_LOCAL_SUBJECT" Nothing |_| Ok(downstream(Fact::Subject(Whose::Local)));
    "DOWNSTREAM_LOCAL_URI_SAN" Nothing |_| Ok(downstream(Fact::Uri(Whose::Local)));
    "DOWNSTREAM_PEER_CERT" Nothing |_| Ok(downstream(Fact::Pem));
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1" Nothing |_| Ok(downstream(Fact::ChainSha1));
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256" Nothing |_| Ok(downstream(Fact::ChainSha256));
    "DOWNSTREAM_PEER_CHAIN_SERIALS" Nothing |_| Ok(downstream(Fact::ChainSerials));
    "DOWNSTREAM_PEER_DNS_SAN" Nothing |_| Ok(downstream(Fact::Dns(Whose::Peer)));
    "DOWNSTREAM_PEER_EMAIL_SAN" Nothing |_| Ok(downstream(Fact::Email(Whose::Peer)));
    "DOWNSTREAM_PEER_FINGERPRINT_1" Nothing |_| Ok(downstream(Fact::Sha1));
    "DOWNSTREAM_PEER_FINGERPRINT_256" Nothing |_| Ok(downstream(Fact::Sha256));
    "DOWNSTREAM_PEER_IP_SAN" Nothing |_| Ok(downstream(Fact::Ip(Whose::Peer)));
    "DOWNSTREAM_PEER_ISSUER" Nothing |_| Ok(downstream(Fact::Issuer));
    "DOWNSTREAM_PEER_SERIAL" Nothing |_| Ok(downstream(Fact::Serial));
    "DOWNSTREAM_PEER_SUBJECT" Nothing |_| Ok(downstream(Fact::Subject(Whose::Peer)));
    "DOWNSTREAM_PEER_URI_SAN" Nothing |_| Ok(downstream(Fact::Uri(Whose::Peer)));
    "DOWNSTREAM_TLS_CIPHER" Nothing |_| Ok(downstream(Fact::Cipher));
    "DOWNSTREAM_TLS_GROUP" Nothing |_| Ok(downstream(Fact::Group));
    "DOWNSTREAM_TLS_VERSION" Nothing |_| Ok(downstream(Fact::Version));
    "UPSTREAM_LOCAL_DNS_SAN" Nothing |_| Ok(upstream(Fact::Dns(Whose::Local)));
    "UPSTREAM_LOCAL_IP_SAN" Nothing |_| Ok(upstream(Fact::Ip(Whose::Local)));
    "UPSTREAM_LOCAL_URI_SAN" Nothing |_| Ok(upstream(Fact::Uri(Whose::Local)));
    "UPSTREAM_PEER_CERT" Nothing |_| Ok(upstream(Fact::Pem));
    "UPSTREAM_PEER_DNS_SAN" Nothing |_| Ok(upstream(Fact::Dns(Whose::Peer)));
    "UPSTREAM_PEER_IP_SAN" Nothing |_| Ok(upstream(Fact::Ip(Whose::Peer)));
    "UPSTREAM_PEER_ISSUER" Nothing |_| Ok(upstream(Fact::Issuer));
    "UPSTREAM_PEER_SUBJECT" Nothing |_| Ok(upstream(Fact::Subject(Whose::Peer)));
    "UPSTREAM_PEER_URI_SAN" Nothing |_| Ok(upstream(Fact::Uri(Whose::Peer)));
    "UPSTREAM_TLS_CIPHER" Nothing |_| Ok(upstream(Fact::Cipher));
    "UPSTREAM_TLS_GROUP" Nothing |_| Ok(upstream(Fact::Group));
    "UPSTREAM_TLS_VERSION" Nothing |_| Ok(upstream(Fact::Version));
    "CUSTOM_FLAGS" Nothing |_| Ok(Operator::Constant(Box::default()));
    "DOWNSTREAM_PEER_CERT_V_START" Optional |p| Ok(downstream(Fact::From(time_format(Zone::Utc, p)?)));
    "DOWNSTREAM_PEER_CERT_V_END" Optional |p| Ok(downstream(Fact::Until(time_format(Zone::Utc, p)?)));
    "UPSTREAM_PEER_CERT_V_START" Optional |p| Ok(upstream(Fact::From(time_format(Zone::Utc, p)?)));
    "UPSTREAM_PEER_CERT_V_END" Optional |p| Ok(upstream(Fact::Until(time_format(Zone::Utc, p)?)));
}

/// Operators without parameters that Envoy accepts and whose value no stream has here.
pub(super) const MISSING: &[&str] = &[
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "ROUNDTRIP_DURATION",
    "SPAN_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_TLS_SESSION_ID",
];

fn header(block: Block, parameters: &str) -> Result<Operator, Problem> {
    let mut names = parameters.split('?');
    let name = header_name(names.next().unwrap_or_default())?;
    let alternative = header_name(names.next().unwrap_or_default())?;
    if names.next().is_some() {
        return Err(Problem::parameter(
            parameters,
            "a header name and at most one alternative",
        ));
    }
    Ok(Operator::Header(Field {
        block,
        name,
        alternative,
        without_query: false,
    }))
}

fn server_name(parameters: &str) -> Result<Operator, Problem> {
    let expected = "SNI_ONLY, SNI_FIRST or HOST_FIRST, and ORIG or HOST behind a colon";
    let problem = || Problem::parameter(parameters, expected);
    let (source, host) = match parameters.split_once(':') {
        Some((source, host)) => (source, Some(host)),
        None => (parameters, None),
    };
    Ok(Operator::ServerName {
        prefers: match source {
            "" | "SNI_ONLY" => ServerSource::Sni,
            "SNI_FIRST" => ServerSource::SniFirst,
            "HOST_FIRST" => ServerSource::HostFirst,
            _ => return Err(problem()),
        },
        host: match host {
            None => Source::OriginalOrCurrent,
            Some("ORIG") => Source::Original,
            Some("HOST") => Source::Current,
            Some(_) => return Err(problem()),
        },
    })
}

/// `{"operators": […]}`, each a name or `{"command": …, "param": …, "max_length": …}`.
fn first(parameters: &str) -> Result<Operator, Problem> {
    let problem = || {
        Problem::parameter(
            parameters,
            "a JSON object with a list of \"operators\" in it",
        )
    };
    let written: serde_json::Value =
        serde_json::from_str(parameters).map_err(|_error| problem())?;
    let operators = written.get("operators").and_then(|list| list.as_array());
    let operators = operators
        .filter(|list| !list.is_empty())
        .ok_or_else(problem)?;
    let commands = operators.iter().map(|written| {
        if let Some(name) = written.as_str() {
            return Ok(Command::new(Operator::find(name, "", false)?, None));
        }
        let text = |key: &str| written.get(key).and_then(|value| value.as_str());
        let name = text("command").ok_or_else(problem)?;
        let limit = match written.get("max_length") {
            Some(limit) => Some(limit.as_u64().ok_or_else(problem)?),
            None => None,
        };
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let parameters = text("param").unwrap_or_default();
        let operator = Operator::find(name, parameters, limit.is_some())?;
        Ok(Command::new(operator, limit))
    });
    Ok(Operator::First(commands.collect::<Result<_, Problem>>()?))
}

/// A field of the request without its query, as the path is one.
fn without_query(parameters: &str) -> Result<Operator, Problem> {
    let mut operator = header(Block::Request, parameters)?;
    if let Operator::Header(field) = &mut operator {
        field.without_query = true;
    }
    Ok(operator)
}

/// A name that no head can have is `None`: an empty one, or an unknown pseudo-header field.
fn header_name(name: &str) -> Result<Option<Name>, Problem> {
    match Name::parse(name.as_bytes()) {
        Ok(name) => Ok(Some(name)),
        Err(InvalidName::Empty | InvalidName::Byte(b':')) => Ok(None),
        Err(source) => Err(Problem::Header {
            name: name.to_owned(),
            source,
        }),
    }
}

fn time(clock: Clock, zone: Zone, parameters: &str) -> Result<Operator, Problem> {
    let format = time_format(zone, parameters)?;
    Ok(Operator::Time { clock, format })
}

fn time_format(zone: Zone, parameters: &str) -> Result<TimeFormat, Problem> {
    let wanted = "a time format without a line break";
    TimeFormat::new(parameters, zone).map_err(|_break| Problem::parameter(parameters, wanted))
}

const fn downstream(fact: Fact) -> Operator {
    let side = Side::Downstream;
    Operator::Session { side, fact }
}

const fn upstream(fact: Fact) -> Operator {
    let side = Side::Upstream;
    Operator::Session { side, fact }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands in the table of operators"
)]
const fn milliseconds(from: Point, to: Point) -> Result<Operator, Problem> {
    Ok(Operator::Duration {
        from,
        to,
        unit: Unit::Milliseconds,
    })
}

fn common_duration(parameters: &str) -> Result<Operator, Problem> {
    let (begin, rest) = parameters
        .split_once(':')
        .ok_or_else(|| Problem::parameter(parameters, "BEGIN:END or BEGIN:END:UNIT"))?;
    let (end, unit) = rest.split_once(':').unwrap_or((rest, "ms"));
    let unit = match unit {
        "ms" => Unit::Milliseconds,
        "us" => Unit::Microseconds,
        "ns" => Unit::Nanoseconds,
        _ => return Err(Problem::parameter(unit, "one of ms, us, ns")),
    };
    Ok(match (point(begin), point(end)) {
        (Some(from), Some(to)) => Operator::Duration { from, to, unit },
        _ => Operator::Missing,
    })
}

/// `None` for the points that only a filter or a kind of connection of Envoy's own sets.
fn point(name: &str) -> Option<Point> {
    Some(match name {
        "DS_RX_BEG" => Point::DownstreamReceiveBegin,
        "DS_RX_END" => Point::DownstreamReceiveEnd,
        "US_TX_BEG" => Point::UpstreamSendBegin,
        "US_TX_END" => Point::UpstreamSendEnd,
        "US_RX_BEG" => Point::UpstreamReceiveBegin,
        "US_RX_END" => Point::UpstreamReceiveEnd,
        "DS_TX_BEG" => Point::DownstreamSendBegin,
        "DS_TX_END" => Point::DownstreamSendEnd,
        _ => return None,
    })
}

const fn address(of: Address, part: Part) -> Operator {
    Operator::Address { of, part }
}

/// An address without its port; a number of bits asks for the network. Other parameters mean
/// nothing, as in Envoy.
fn network(of: Address, parameters: &str) -> Operator {
    let part = match parameters.parse::<u8>() {
        Ok(bits) => Part::Network(bits),
        Err(_) => Part::Ip,
    };
    address(of, part)
}

fn grpc_status(parameters: &str) -> Result<Operator, Problem> {
    Ok(Operator::GrpcStatus(match parameters {
        "" | "CAMEL_STRING" => GrpcStyle::Camel,
        "SNAKE_STRING" => GrpcStyle::Snake,
        "NUMBER" => GrpcStyle::Number,
        _ => {
            return Err(Problem::parameter(
                parameters,
                "one of CAMEL_STRING, SNAKE_STRING, NUMBER",
            ));
        }
    }))
}

fn dynamic_metadata(parameters: &str) -> Operator {
    match parameters.split_once(':') {
        None => Operator::Metadata {
            namespace: parameters.into(),
            key: None,
        },
        // A value is bytes, so there is nothing below it.
        Some((_, path)) if path.contains(':') => Operator::Missing,
        Some((namespace, key)) => Operator::Metadata {
            namespace: namespace.into(),
            key: Some(key.into()),
        },
    }
}

fn metadata(parameters: &str) -> Result<Operator, Problem> {
    let (kind, path) = parameters.split_once(':').unwrap_or((parameters, ""));
    let part = match kind {
        "DYNAMIC" => return Ok(dynamic_metadata(path)),
        "CLUSTER" => Described::Cluster,
        "ROUTE" => Described::Route,
        "UPSTREAM_HOST" => Described::Endpoint,
        "LISTENER" => Described::Listener,
        "VIRTUAL_HOST" => Described::VirtualHost,
        "LISTENER_FILTER_CHAIN" => Described::FilterChain,
        _ => {
            return Err(Problem::parameter(
                kind,
                "one of DYNAMIC, CLUSTER, ROUTE, UPSTREAM_HOST, LISTENER, VIRTUAL_HOST, \
             LISTENER_FILTER_CHAIN",
            ));
        }
    };
    Ok(described(part, path))
}

fn described(part: Described, path: &str) -> Operator {
    let extent = Extent::at(path);
    Operator::Described { part, extent }
}

fn filter_state(parameters: &str) -> Result<Operator, Problem> {
    let mut parts = parameters.split(':');
    let key = parts.next().unwrap_or_default();
    if key.is_empty() {
        return Err(Problem::parameter(parameters, "a key"));
    }
    match (parts.next(), parts.next()) {
        // What there is of it is a text.
        (None | Some("PLAIN" | "TYPED"), _) => Ok(Operator::Metadata {
            namespace: Metadata::FILTER_STATE.into(),
            key: Some(key.into()),
        }),
        (Some("FIELD"), Some(_)) => Ok(Operator::Missing),
        _ => Err(Problem::parameter(
            parameters,
            "KEY, KEY:PLAIN, KEY:TYPED or KEY:FIELD:NAME",
        )),
    }
}

fn query(parameters: &str) -> Result<Operator, Problem> {
    match parameters {
        "" | "ORIG" => Ok(Operator::Query { decoded: false }),
        "DECODED" => Ok(Operator::Query { decoded: true }),
        _ => Err(Problem::parameter(parameters, "one of ORIG, DECODED")),
    }
}

fn path(parameters: &str) -> Result<Operator, Problem> {
    let mut parts = parameters.split(':');
    let query = match parts.next().unwrap_or_default() {
        "" | "WQ" => true,
        "NQ" => false,
        other => return Err(Problem::parameter(other, "one of WQ, NQ")),
    };
    let source = match parts.next().unwrap_or_default() {
        "" | "ORIG_OR_PATH" => Source::OriginalOrCurrent,
        "ORIG" => Source::Original,
        "PATH" => Source::Current,
        other => return Err(Problem::parameter(other, "one of ORIG, PATH, ORIG_OR_PATH")),
    };
    Ok(Operator::Path { query, source })
}

/// What a value is replaced by where Envoy settles it when it reads the configuration.
const MISSING_CONSTANT: &[u8] = b"-";

fn environment(name: &str) -> Operator {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name).map(OsStringExt::into_vec);
    Operator::Constant(value.map_or_else(|| MISSING_CONSTANT.into(), Vec::into_boxed_slice))
}

fn host_name() -> Vec<u8> {
    let name = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim_ascii() {
        [] => MISSING_CONSTANT.to_vec(),
        name => name.to_vec(),
    }
}
