//! Attributes: facts of a stream by name, as filters ask for them.
//!
//! Owns the names, which are those of Envoy's attributes where it has one, and what each stands
//! for. An attribute is an operator of the formatter under another name.
//!
//! Does not own: how a filter asks (`wasm`).

use crate::exchange::Exchange;
use crate::headers::{Known, Name};
use crate::nearest::nearest;

use super::described::{Extent, Part as Described};
use super::operator::{
    Address, Block, Clock, Field, GrpcStyle, Number, Operator, Part, Point, ServerSource, Source,
    Text, Unit,
};
use super::session::{Fact, Side, Whose};
use super::time::TimeFormat;

/// One attribute, looked up by name once.
#[derive(Clone, Debug)]
pub struct Attribute {
    name: &'static str,
    operator: Operator,
}

impl PartialEq for Attribute {
    /// The name says all.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Attribute {}

/// There is no attribute of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown attribute \"{name}\"{}", hint(.nearest))]
pub struct UnknownAttribute {
    name: String,
    nearest: Option<&'static str>,
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}

/// A name and what it stands for.
type Entry = (&'static str, fn() -> Operator);

/// Every attribute.
const ATTRIBUTES: &[Entry] = &[
    ("connection.id", || Operator::Number(Number::ConnectionId)),
    ("connection.cipher_suite", || downstream(Fact::Cipher)),
    ("connection.dns_san_local_certificate", || {
        downstream(Fact::Dns(Whose::Local))
    }),
    ("connection.dns_san_peer_certificate", || {
        downstream(Fact::Dns(Whose::Peer))
    }),
    ("connection.requested_server_name", || {
        Operator::ServerName {
            prefers: ServerSource::Sni,
            host: Source::OriginalOrCurrent,
        }
    }),
    ("connection.sha256_peer_certificate_digest", || {
        downstream(Fact::Sha256)
    }),
    ("connection.subject_local_certificate", || {
        downstream(Fact::Subject(Whose::Local))
    }),
    ("connection.subject_peer_certificate", || {
        downstream(Fact::Subject(Whose::Peer))
    }),
    ("connection.termination_details", || {
        Operator::Text(Text::TerminationDetails)
    }),
    ("connection.tls_version", || downstream(Fact::Version)),
    ("connection.uri_san_local_certificate", || {
        downstream(Fact::Uri(Whose::Local))
    }),
    ("connection.uri_san_peer_certificate", || {
        downstream(Fact::Uri(Whose::Peer))
    }),
    ("destination.address", || {
        address(Address::DownstreamLocal, Part::Whole)
    }),
    ("destination.port", || {
        address(Address::DownstreamLocal, Part::Port)
    }),
    ("listener.name", || Operator::Text(Text::ListenerName)),
    ("request.duration", || {
        duration(Point::DownstreamReceiveBegin, Point::EndOrNow)
    }),
    ("request.host", || header(Block::Request, Known::Authority)),
    ("request.id", || Operator::Text(Text::RequestId)),
    ("request.method", || header(Block::Request, Known::Method)),
    ("request.path", || header(Block::Request, Known::Path)),
    ("request.protocol", || Operator::Text(Text::Protocol)),
    ("request.query", || Operator::Query { decoded: false }),
    ("request.referer", || header(Block::Request, Known::Referer)),
    ("request.scheme", || header(Block::Request, Known::Scheme)),
    ("request.size", || Operator::Number(Number::BytesReceived)),
    ("request.time", || Operator::Time {
        clock: Clock::Start,
        format: TimeFormat::DEFAULT,
    }),
    ("request.url_path", || Operator::Path {
        query: false,
        source: Source::Current,
    }),
    ("request.useragent", || {
        header(Block::Request, Known::UserAgent)
    }),
    ("response.backend_latency", || {
        duration(Point::UpstreamSendBegin, Point::UpstreamReceiveBegin)
    }),
    ("response.code", || Operator::Number(Number::ResponseCode)),
    ("response.code_details", || Operator::Text(Text::Details)),
    ("response.flags", || Operator::Text(Text::Flags)),
    ("response.grpc_status", || {
        Operator::GrpcStatus(GrpcStyle::Number)
    }),
    ("response.size", || Operator::Number(Number::BytesSent)),
    ("route.name", || Operator::Text(Text::RouteName)),
    ("source.address", || {
        address(Address::DownstreamRemote, Part::Whole)
    }),
    ("source.port", || {
        address(Address::DownstreamRemote, Part::Port)
    }),
    ("upstream.address", || {
        address(Address::UpstreamHost, Part::Whole)
    }),
    ("upstream.cipher_suite", || upstream(Fact::Cipher)),
    ("upstream.cluster", || {
        Operator::Text(Text::UpstreamClusterRaw)
    }),
    ("upstream.dns_san_local_certificate", || {
        upstream(Fact::Dns(Whose::Local))
    }),
    ("upstream.dns_san_peer_certificate", || {
        upstream(Fact::Dns(Whose::Peer))
    }),
    ("upstream.host", || {
        address(Address::UpstreamHost, Part::Whole)
    }),
    ("upstream.local_address", || {
        address(Address::UpstreamLocal, Part::Whole)
    }),
    ("upstream.port", || {
        address(Address::UpstreamHost, Part::Port)
    }),
    ("upstream.request_attempt_count", || {
        Operator::Number(Number::Attempts)
    }),
    ("upstream.sha256_peer_certificate_digest", || {
        upstream(Fact::Sha256)
    }),
    ("upstream.subject_local_certificate", || {
        upstream(Fact::Subject(Whose::Local))
    }),
    ("upstream.subject_peer_certificate", || {
        upstream(Fact::Subject(Whose::Peer))
    }),
    ("upstream.tls_version", || upstream(Fact::Version)),
    ("upstream.transport_failure_reason", || {
        Operator::Text(Text::UpstreamFailure)
    }),
    ("upstream.uri_san_local_certificate", || {
        upstream(Fact::Uri(Whose::Local))
    }),
    ("upstream.uri_san_peer_certificate", || {
        upstream(Fact::Uri(Whose::Peer))
    }),
    ("xds.cluster_name", || {
        Operator::Text(Text::UpstreamClusterRaw)
    }),
    ("xds.cluster_metadata", || described(Described::Cluster)),
    ("xds.filter_chain_metadata", || {
        described(Described::FilterChain)
    }),
    ("xds.filter_chain_name", || {
        Operator::Text(Text::FilterChainName)
    }),
    ("xds.listener_metadata", || described(Described::Listener)),
    ("xds.route_metadata", || described(Described::Route)),
    ("xds.route_name", || Operator::Text(Text::RouteName)),
    ("xds.upstream_host_metadata", || {
        described(Described::Endpoint)
    }),
    ("xds.virtual_host_metadata", || {
        described(Described::VirtualHost)
    }),
    ("xds.virtual_host_name", || {
        Operator::Text(Text::VirtualHost)
    }),
];

impl Attribute {
    /// Looks an attribute up by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn parse(name: &str) -> Result<Self, UnknownAttribute> {
        match ATTRIBUTES.iter().find(|(known, _)| *known == name) {
            Some((name, operator)) => Ok(Self {
                name,
                operator: operator(),
            }),
            None => Err(UnknownAttribute {
                name: name.to_owned(),
                nearest: nearest(name, ATTRIBUTES.iter().map(|(known, _)| *known)),
            }),
        }
    }

    /// Appends the value as text: numbers in decimal, durations in milliseconds, moments as in
    /// `2026-11-23T00:07:10.263Z`. False, with nothing appended, when the stream has none (yet).
    pub fn value(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        match self.operator {
            // Both are written as a sign of their absence in a log.
            Operator::Number(Number::ResponseCode) if exchange.status == 0 => false,
            Operator::Text(Text::Flags) if exchange.flags.is_empty() => false,
            ref operator => operator.write(exchange, out),
        }
    }
}

const fn address(of: Address, part: Part) -> Operator {
    Operator::Address { of, part }
}

const fn downstream(fact: Fact) -> Operator {
    let side = Side::Downstream;
    Operator::Session { side, fact }
}

const fn upstream(fact: Fact) -> Operator {
    let side = Side::Upstream;
    Operator::Session { side, fact }
}

const fn described(part: Described) -> Operator {
    let extent = Extent::Whole;
    Operator::Described { part, extent }
}

const fn header(block: Block, name: Known) -> Operator {
    Operator::Header(Field {
        block,
        name: Some(Name::Known(name)),
        alternative: None,
        without_query: false,
    })
}

const fn duration(from: Point, to: Point) -> Operator {
    Operator::Duration {
        from,
        to,
        unit: Unit::Milliseconds,
    }
}
