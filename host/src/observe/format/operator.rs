//! The command operators: what stands between two percent signs, compiled.
//!
//! Owns what an operator is and the lookup of one by name.
//!
//! Does not own: where a command starts and ends in a text (`format::template`), or how an
//! operator's value is found and written (`format::value`).

use crate::headers::Name;

use super::described;
use super::error::Problem;
use super::session::{Fact, Side};
use super::template::Command;
use super::time::TimeFormat;

mod table;

use table::{MISSING, SPECS, Takes, UNSUPPORTED};

pub(super) use table::CLOSE_TYPE;

/// An operator with its parameters.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    /// A field of a head or of trailers, or of the alternative name when it is not there.
    Header(Field),
    /// The moment at which the request started, or the line is written.
    Time {
        clock: Clock,
        format: TimeFormat,
    },
    /// The time between two points of the stream.
    Duration {
        from: Point,
        to: Point,
        unit: Unit,
    },
    /// How long the last attempt waited for a connection, in ms.
    UpstreamWait,
    /// A number.
    Number(Number),
    Wire(Wire),
    /// A text.
    Text(Text),
    /// An address.
    Address {
        of: Address,
        part: Part,
    },
    /// A fact of the TLS session of a side.
    Session {
        side: Side,
        fact: Fact,
    },
    /// The gRPC status, where the request is a gRPC one.
    GrpcStatus(GrpcStyle),
    /// Dynamic metadata: one value, or a whole namespace where no key is given.
    Metadata {
        namespace: Box<str>,
        key: Option<Box<str>>,
    },
    /// Metadata that a part of the configuration has.
    Described {
        part: described::Part,
        extent: described::Extent,
    },
    /// The request's path.
    Path {
        query: bool,
        source: Source,
    },
    /// One parameter of the query, decoded.
    QueryParameter(Box<str>),
    /// The whole query.
    Query {
        decoded: bool,
    },
    /// The server that the client asks for, over TLS or in the request's host.
    ServerName {
        prefers: ServerSource,
        host: Source,
    },
    /// The first of these that has a value.
    First(Box<[Command]>),
    /// A new UUID.
    UniqueId,
    /// `DownstreamEnd` in an access log, `NotSet` elsewhere.
    AccessLogType,
    /// A value that is known when the format is compiled.
    Constant(Box<[u8]>),
    /// Something that no stream of this proxy has.
    Missing,
}

/// A field by its name, or by another one where that is not there.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) block: Block,
    pub(super) name: Option<Name>,
    pub(super) alternative: Option<Name>,
    /// Whether its value ends where it has a question mark.
    pub(super) without_query: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Request,
    Response,
    ResponseTrailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Start,
    Emit,
}

/// Points of a stream's life, named as in `%COMMON_DURATION%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    DownstreamReceiveBegin,
    DownstreamReceiveEnd,
    UpstreamSendBegin,
    UpstreamSendEnd,
    UpstreamReceiveBegin,
    UpstreamReceiveEnd,
    DownstreamSendBegin,
    DownstreamSendEnd,
    /// The end of the stream, or now while it has not ended.
    EndOrNow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    BytesReceived,
    BytesSent,
    ResponseCode,
    Attempts,
    ConnectionId,
    UpstreamConnectionId,
    RequestHeaderBytes,
    ResponseHeaderBytes,
    ResponseTrailerBytes,
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    DownstreamReceived,
    DownstreamSent,
    UpstreamReceived,
    UpstreamSent,
    DownstreamFieldsReceived,
    DownstreamFieldsSent,
    UpstreamFieldsReceived,
    UpstreamFieldsSent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Protocol,
    UpstreamProtocol,
    Details,
    DetailsWithWhitespace,
    TerminationDetails,
    Flags,
    FlagsLong,
    UpstreamHostName,
    UpstreamHostNameWithoutPort,
    AttemptedHostName,
    AttemptedHostNameWithoutPort,
    UpstreamCloseType,
    UpstreamEndpointId,
    UpstreamConnectionIds,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamFailure,
    RouteName,
    VirtualHost,
    VirtualCluster,
    ListenerName,
    FilterChainName,
    LocalReplyBody,
    RequestId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    UpstreamHost,
    /// Of a TCP stream where it was tried to connect to, else as `UpstreamRemote`.
    UpstreamTried,
    UpstreamRemote,
    UpstreamLocal,
    DownstreamRemote,
    DownstreamDirectRemote,
    DownstreamLocal,
    DownstreamDirectLocal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Ip,
    Port,
    /// The network of so many bits that the address lies in.
    Network(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcStyle {
    Camel,
    Snake,
    Number,
}

/// Where the server's name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerSource {
    /// TLS alone.
    Sni,
    /// TLS, or the host where that says nothing.
    SniFirst,
    /// The host, or TLS where that says nothing.
    HostFirst,
}

/// Which path, or host: the client's, or that of the request as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Original,
    Current,
    OriginalOrCurrent,
}

/// Every name that is accepted.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SPECS
        .iter()
        .map(|spec| spec.name)
        .chain(MISSING.iter().copied())
}

/// The operators of `written` that no stream of this proxy has a value for.
pub(super) fn without_value(written: &str) -> impl Iterator<Item = &'static str> {
    MISSING.iter().copied().filter(move |name| {
        let mut found = written.match_indices(*name);
        found.any(|(at, _)| {
            let before = written.get(..at).is_some_and(|text| text.ends_with('%'));
            let behind = written.get(at + name.len()..);
            before && behind.is_some_and(|text| text.starts_with('%'))
        })
    })
}

impl Operator {
    /// The operator called `name` with these parameters. `length` says whether a length follows.
    pub(super) fn find(name: &str, parameters: &str, length: bool) -> Result<Self, Problem> {
        let takes_none = || Problem::Takes {
            name: name.to_owned(),
            what: "no parameters and no length",
        };
        if let Some(spec) = SPECS.iter().find(|spec| spec.name == name) {
            if length && !spec.takes.length() {
                return Err(match spec.takes {
                    Takes::Nothing => takes_none(),
                    _ => Problem::Takes {
                        name: name.to_owned(),
                        what: "no length",
                    },
                });
            }
            match spec.takes {
                Takes::Nothing if !parameters.is_empty() => return Err(takes_none()),
                Takes::Required | Takes::RequiredAndLength if parameters.is_empty() => {
                    return Err(Problem::Takes {
                        name: name.to_owned(),
                        what: "a parameter",
                    });
                }
                _ => {}
            }
            return (spec.make)(parameters);
        }
        if MISSING.contains(&name) {
            if length || !parameters.is_empty() {
                return Err(takes_none());
            }
            return Ok(Self::Missing);
        }
        if UNSUPPORTED.contains(&name) {
            return Err(Problem::Unsupported(name.to_owned()));
        }
        Err(Problem::unknown(name))
    }

    /// Whether the value is a number, which a JSON log does not quote.
    pub(super) const fn is_numeric(&self) -> bool {
        matches!(
            self,
            Self::Number(_)
                | Self::Wire(_)
                | Self::Duration { .. }
                | Self::UpstreamWait
                | Self::Address {
                    part: Part::Port,
                    ..
                }
                | Self::GrpcStatus(GrpcStyle::Number)
        )
    }

    /// Whether the value is a JSON object, which a JSON log does not quote.
    pub(super) const fn is_object(&self) -> bool {
        matches!(self, Self::Metadata { key: None, .. })
    }

    /// Whether the value is the same for every stream.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Missing => true,
            Self::Time { format, .. } => format.is_constant(),
            _ => false,
        }
    }
}
