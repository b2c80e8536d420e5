//! Why a request did not get the upstream's answer.
//!
//! Owns [`Error`] and the two mappings out of it: to the local reply that the client gets and to the
//! flag that the access log shows. Both list every kind, so that a new one cannot be forgotten.

use std::borrow::Cow;

use super::io::{ReadError, WriteError};
use super::pump::Direction;
use super::reply::Reply;
use crate::exchange::Flags;
use crate::frames::breaks_rules;
use crate::h1::head::Reject;
use crate::headers::{Known, Name};
use crate::upstream::{ErrorKind as Acquire, Excess, Resource};

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client.
    Downstream,
    /// The upstream, or the way to it.
    Upstream,
    /// A filter.
    Filter,
    /// The proxy's configuration or limits.
    Proxy,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The request is not one that may be proxied.
    Rejected(Reject),
    /// `connection` names what it may not.
    ConnectionHeader,
    /// A proxy for UDP is asked for by a path that does not say to whom.
    UdpPath,
    /// `strict_check_headers`: a control field that Envoy would ignore.
    ControlField {
        /// Which field.
        name: Known,
        /// What it says.
        value: Box<str>,
    },
    /// An upgrade that is not configured.
    UpgradeRefused,
    /// The client closed the connection or reset the stream.
    DownstreamClosed,
    /// An HTTP/2 request that is answered by a reset alone; the details.
    Reset(&'static str),
    /// An HTTP/2 request that breaks the protocol's rules, which is answered so too.
    Malformed,
    /// The same of what follows its head.
    BrokenBody,
    /// The path may not be served.
    PathRefused,
    /// The path is served under another spelling, which is in the head.
    PathRedirect(Vec<u8>),
    /// The client's address is not told; the status.
    NoClientAddress(u16),
    /// `request_headers_timeout`.
    HeadersTimeout,
    /// `request_timeout` of the connection manager.
    RequestOverdue,
    /// `QUERY` without a content type (draft-ietf-httpbis-safe-method-w-body §2.1).
    QueryWithoutType,
    /// The client's body is not well formed.
    DownstreamFraming(Reject),
    /// No virtual host or route matches.
    NoRoute,
    /// The route's target is of a form that no route may match.
    AbsolutePath,
    /// The route names a cluster that does not exist: answer with this status.
    NoCluster(u16),
    /// No endpoint may be picked: answer with this status.
    NoHealthyUpstream(u16),
    /// A circuit breaker is open.
    Overflow,
    /// `upstream.maintenance_mode.<cluster>` turns the request away.
    Maintenance,
    /// `drop_overloads` of the cluster turns the request away.
    Dropped {
        /// As it does all requests.
        all: bool,
        /// Whether the client is told so in a field.
        told: bool,
    },
    /// The connection could not be made: why.
    ConnectFailure(Cow<'static, str>),
    /// `auto_san_validation` wants a host in the server's certificate that none can have.
    UncertifiableHost,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The upstream closed the connection before it answered.
    UpstreamClosed,
    /// The upstream reset the stream before it answered.
    UpstreamReset,
    /// An upstream over HTTP/2 has sent more fields than it may; Envoy's codec resets such a stream as if it had.
    Excess(Excess),
    /// The upstream refused the stream without looking at it (RFC 9113 §8.7).
    UpstreamRefused,
    /// The upstream reset the stream with the error of a CONNECT, whatever was asked for.
    UpstreamConnectError,
    /// What the upstream sent is not HTTP.
    UpstreamProtocol,
    /// The head cannot be said in the upstream's protocol.
    Unencodable,
    /// The route's timeout; the status of the reply.
    RequestTimeout(u16),
    /// `per_try_timeout` of the last try; the status of the reply.
    PerTryTimeout(u16),
    /// `per_try_idle_timeout` of the last try; the status of the reply.
    PerTryIdle(u16),
    /// The request was with an endpoint for as long as the cluster allows (`max_stream_duration`).
    UpstreamDuration {
        /// Whether all of the request had come.
        received: bool,
    },
    /// `max_stream_duration`.
    MaxDuration {
        /// Whether the client had sent all of its request.
        received: bool,
    },
    /// `stream_idle_timeout`.
    StreamIdle,
    /// A buffered request body is above its limit.
    RequestTooLarge,
    /// A buffered response body is above its limit.
    ResponseTooLarge,
    /// A filter failed, and its policy is to fail closed.
    FilterFailed,
    /// A filter has changed how long a body is, and not what its head says of that.
    LengthChanged(Direction),
    /// A filter answers while the request's body is on its way.
    Answered(Box<Reply>),
    /// The chain ended without a filter that forwards the request.
    NoTerminalFilter,
}

/// A [`Kind`] and whether the same request may safely be sent again.
#[derive(Debug)]
pub(crate) struct Error {
    /// What happened.
    pub(crate) kind: Kind,
}

/// The details of an HTTP/2 head, or of trailers, with more fields than there may be.
pub(super) const TOO_MANY_FIELDS: &str = "http2.too_many_headers";
/// The same of trailers with more bytes.
pub(super) const FIELDS_TOO_LARGE: &str = "http2.header_list_size_too_large";
/// The same of one with an underscore in a name.
pub(super) const UNDERSCORE: &str = "http2.unexpected_underscore";
const RESET_PREFIX: &str = "upstream connect error or disconnect/reset before headers. ";
const RESET_REASON: &str = "reset reason: ";
/// What stands between these two where the request was sent more than once.
const RETRIED: &str = "retried and the latest ";
/// Why there is no connection for a request whose host no certificate can have.
pub(super) const UNCERTIFIABLE_HOST: &str =
    "the request's host is no name that a certificate can have";
/// `DEADLINE_EXCEEDED` of gRPC.
const DEADLINE_EXCEEDED: u32 = 4;

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        Kind::Rejected(reject).into()
    }
}

impl From<crate::upstream::Error> for Error {
    fn from(error: crate::upstream::Error) -> Self {
        let failure = error.transport_failure();
        match error.kind {
            // As in Envoy there is nobody to ask then.
            Acquire::NoHealthyUpstream | Acquire::Overflow(Resource::Pools) => {
                Kind::NoHealthyUpstream(503)
            }
            Acquire::Overflow(_) => Kind::Overflow,
            Acquire::ConnectTimeout => Kind::ConnectTimeout,
            Acquire::ConnectFailure(_) => {
                Kind::ConnectFailure(failure.unwrap_or(Cow::Borrowed("connection failure")))
            }
        }
        .into()
    }
}

/// What the failure of an HTTP/2 upstream's stream means, or of its connection.
pub(super) fn of_http2(error: &h2::Error) -> Kind {
    if breaks_rules(error) {
        // It has broken the rules, and was told so.
        return Kind::UpstreamProtocol;
    }
    match error.reason() {
        // The stream is above the last one that the peer will look at (RFC 9113 §6.8).
        _ if error.is_go_away() && error.is_remote() => Kind::UpstreamRefused,
        Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => Kind::UpstreamRefused,
        Some(h2::Reason::CONNECT_ERROR) if error.is_remote() => Kind::UpstreamConnectError,
        Some(h2::Reason::PROTOCOL_ERROR) if error.is_remote() => Kind::UpstreamProtocol,
        Some(_) if error.is_remote() => Kind::UpstreamReset,
        _ if error.is_io() || error.is_go_away() => Kind::UpstreamClosed,
        _ => Kind::UpstreamProtocol,
    }
}

impl Error {
    /// The error of a request that gets no connection; where it has no endpoint it is answered with `status`.
    pub(crate) fn of_acquire(error: crate::upstream::Error, status: Option<u16>) -> Self {
        let mut error = Self::from(error);
        if let (Kind::NoHealthyUpstream(own), Some(status)) = (&mut error.kind, status) {
            *own = status;
        }
        error
    }

    /// The error of a request body that could not be read.
    pub(crate) fn of_request_body(error: &ReadError) -> Self {
        match error {
            ReadError::Stream(error) if breaks_rules(error) => Kind::BrokenBody,
            ReadError::Closed | ReadError::Stream(_) => Kind::DownstreamClosed,
            ReadError::Framing(framing) => Kind::DownstreamFraming(framing.reject()),
            ReadError::TooManyTrailers => Kind::Reset(TOO_MANY_FIELDS),
            ReadError::TrailersTooLarge => Kind::Reset(FIELDS_TOO_LARGE),
            ReadError::Underscore => Kind::Reset(UNDERSCORE),
            ReadError::Trailers | ReadError::Content => Kind::Malformed,
        }
        .into()
    }

    /// The error of a response body that could not be read.
    pub(crate) fn of_response_body(error: &ReadError) -> Self {
        let kind = match error {
            ReadError::Closed
            | ReadError::Framing(_)
            | ReadError::Trailers
            | ReadError::Underscore
            | ReadError::Content => Kind::UpstreamProtocol,
            ReadError::Stream(error) => of_http2(error),
            ReadError::TooManyTrailers => Kind::Excess(Excess::Fields),
            ReadError::TrailersTooLarge => Kind::Excess(Excess::Bytes),
        };
        Self { kind }
    }

    /// The error of a response that could not be written.
    pub(crate) const fn of_response_write(error: &WriteError) -> Self {
        let kind = match error {
            WriteError::Io(_) | WriteError::Stream(_) => Kind::DownstreamClosed,
            WriteError::Length => Kind::LengthChanged(Direction::Response),
        };
        Self { kind }
    }

    /// Who is to blame.
    pub(crate) const fn side(&self) -> Side {
        match self.kind {
            Kind::Rejected(_)
            | Kind::ConnectionHeader
            | Kind::UdpPath
            | Kind::ControlField { .. }
            | Kind::UpgradeRefused
            | Kind::DownstreamClosed
            | Kind::Reset(_)
            | Kind::Malformed
            | Kind::BrokenBody
            | Kind::PathRefused
            | Kind::PathRedirect(_)
            | Kind::NoClientAddress(_)
            | Kind::HeadersTimeout
            | Kind::RequestOverdue
            | Kind::QueryWithoutType
            | Kind::DownstreamFraming(_)
            | Kind::RequestTooLarge
            | Kind::MaxDuration { .. }
            | Kind::StreamIdle => Side::Downstream,
            Kind::NoHealthyUpstream(_)
            | Kind::ConnectFailure(_)
            | Kind::UncertifiableHost
            | Kind::ConnectTimeout
            | Kind::UpstreamClosed
            | Kind::UpstreamReset
            | Kind::Excess(_)
            | Kind::UpstreamRefused
            | Kind::UpstreamConnectError
            | Kind::UpstreamProtocol
            | Kind::NoCluster(_)
            | Kind::Overflow
            | Kind::Maintenance
            | Kind::Dropped { .. }
            | Kind::RequestTimeout(_)
            | Kind::PerTryTimeout(_)
            | Kind::PerTryIdle(_)
            | Kind::UpstreamDuration { .. } => Side::Upstream,
            Kind::FilterFailed
            | Kind::LengthChanged(_)
            | Kind::Unencodable
            | Kind::ResponseTooLarge => Side::Filter,
            Kind::NoRoute | Kind::AbsolutePath | Kind::Answered(_) | Kind::NoTerminalFilter => {
                Side::Proxy
            }
        }
    }

    /// Whether there was nobody to ask: no attempt was made then.
    pub(super) const fn finds_nobody(&self) -> bool {
        matches!(
            self.kind,
            Kind::NoHealthyUpstream(_) | Kind::UncertifiableHost | Kind::Unencodable
        )
    }

    /// The flag that the access log shows.
    pub(crate) const fn flags(&self) -> Flags {
        match &self.kind {
            Kind::Rejected(reject) | Kind::DownstreamFraming(reject) => reject.flags(),
            Kind::ConnectionHeader | Kind::Malformed | Kind::BrokenBody => {
                Flags::DOWNSTREAM_PROTOCOL_ERROR
            }
            Kind::DownstreamClosed => Flags::DOWNSTREAM_CONNECTION_TERMINATION,
            Kind::Reset(_) => Flags::DOWNSTREAM_REMOTE_RESET,
            Kind::ControlField { .. } => Flags::INVALID_ENVOY_REQUEST_HEADERS,
            Kind::NoRoute => Flags::NO_ROUTE_FOUND,
            Kind::NoCluster(_) => Flags::NO_CLUSTER_FOUND,
            Kind::NoHealthyUpstream(_) => Flags::NO_HEALTHY_UPSTREAM,
            Kind::Overflow | Kind::Maintenance => Flags::UPSTREAM_OVERFLOW,
            Kind::Dropped { all: true, .. } => Flags::UNCONDITIONAL_DROP_OVERLOAD,
            Kind::Dropped { all: false, .. } => Flags::DROP_OVERLOAD,
            Kind::ConnectFailure(_) | Kind::UncertifiableHost | Kind::ConnectTimeout => {
                Flags::UPSTREAM_CONNECTION_FAILURE
            }
            Kind::UpstreamClosed => Flags::UPSTREAM_CONNECTION_TERMINATION,
            Kind::UpstreamReset
            | Kind::Excess(_)
            | Kind::UpstreamRefused
            | Kind::UpstreamConnectError => Flags::UPSTREAM_REMOTE_RESET,
            Kind::UpstreamProtocol => Flags::UPSTREAM_PROTOCOL_ERROR,
            Kind::RequestTimeout(_) | Kind::PerTryTimeout(_) | Kind::PerTryIdle(_) => {
                Flags::UPSTREAM_REQUEST_TIMEOUT
            }
            Kind::UpstreamDuration { .. } => Flags::UPSTREAM_MAX_STREAM_DURATION_REACHED,
            Kind::StreamIdle => Flags::STREAM_IDLE_TIMEOUT,
            Kind::UpgradeRefused
            | Kind::UdpPath
            | Kind::AbsolutePath
            | Kind::PathRefused
            | Kind::PathRedirect(_)
            | Kind::NoClientAddress(_)
            | Kind::HeadersTimeout
            | Kind::RequestOverdue
            | Kind::QueryWithoutType
            | Kind::Unencodable
            | Kind::MaxDuration { .. }
            | Kind::RequestTooLarge
            | Kind::ResponseTooLarge
            | Kind::FilterFailed
            | Kind::LengthChanged(_)
            | Kind::Answered(_)
            | Kind::NoTerminalFilter => Flags::NONE,
        }
    }

    /// The local reply that the client gets, before the response has begun.
    pub(crate) fn reply(&self) -> Reply {
        let reply = match &self.kind {
            Kind::Rejected(reject) | Kind::DownstreamFraming(reject) => {
                Reply::new(reject.status(), reject.details())
                    .body(reject.body())
                    .close()
            }
            Kind::ConnectionHeader => Reply::new(400, "http1.connection_header_rejected")
                .body("Bad Request")
                .close(),
            Kind::UdpPath => {
                Reply::new(404, "invalid_path").body("The path is incorrect for CONNECT-UDP")
            }
            Kind::ControlField { name, value } => nonsense(name.as_str(), value),
            Kind::UpgradeRefused => Reply::new(403, "upgrade_failed").close(),
            Kind::DownstreamClosed => Reply::new(0, "downstream_remote_disconnect"),
            Kind::Reset(details) => Reply::new(0, *details),
            Kind::Malformed => Reply::new(0, "http2.invalid.header.field"),
            Kind::BrokenBody => Reply::new(0, "http2.remote_reset"),
            Kind::QueryWithoutType => Reply::new(400, "query_missing_content_type").close(),
            Kind::PathRefused => Reply::new(400, "path_normalization_failed"),
            Kind::PathRedirect(path) => {
                Reply::new(307, "path_normalization_failed").header(Known::Location.into(), path)
            }
            Kind::NoClientAddress(status) => {
                Reply::new(*status, "rejecting_because_detection_failed")
            }
            Kind::HeadersTimeout => Reply::new(408, "request_header_timeout")
                .body("request header timeout")
                .close(),
            Kind::RequestOverdue => Reply::new(408, "request_overall_timeout")
                .body("request timeout")
                .close(),
            Kind::NoRoute => Reply::new(404, "route_not_found"),
            Kind::AbsolutePath => Reply::new(404, "absolute_path_rejected"),
            Kind::NoCluster(status) => Reply::new(*status, "cluster_not_found"),
            Kind::NoHealthyUpstream(status) => {
                Reply::new(*status, "no_healthy_upstream").body("no healthy upstream")
            }
            Kind::Overflow => before_headers(503, "overflow", None).overloaded(),
            Kind::Maintenance => Reply::new(503, "maintenance_mode")
                .body("maintenance mode")
                .overloaded(),
            Kind::Dropped { all, told } => dropped(*all, *told),
            Kind::ConnectFailure(why) => {
                before_headers(503, "remote connection failure", Some(why))
            }
            Kind::UncertifiableHost => {
                before_headers(503, "remote connection failure", Some(UNCERTIFIABLE_HOST))
            }
            Kind::ConnectTimeout => before_headers(503, "connection timeout", None),
            Kind::UpstreamClosed => before_headers(503, "connection termination", None),
            Kind::UpstreamReset | Kind::Excess(_) => before_headers(503, "remote reset", None),
            Kind::UpstreamRefused => before_headers(503, "remote refused stream reset", None),
            Kind::UpstreamConnectError => {
                before_headers(503, "remote error with CONNECT request", None)
            }
            Kind::UpstreamProtocol => before_headers(502, "protocol error", None),
            Kind::Unencodable => {
                Reply::new(500, "request_headers_invalid").body("Internal Server Error")
            }
            Kind::RequestTimeout(status) => too_late(*status, "response_timeout"),
            Kind::PerTryTimeout(status) => too_late(*status, "upstream_per_try_timeout"),
            Kind::PerTryIdle(status) => too_late(*status, "upstream_per_try_idle_timeout"),
            Kind::UpstreamDuration { received } => too_long(*received),
            Kind::MaxDuration { received } => lasts_too_long(*received),
            Kind::StreamIdle => Reply::new(504, "stream_idle_timeout").body("stream timeout"),
            Kind::RequestTooLarge => Reply::new(413, "request_payload_too_large")
                .body("Payload Too Large")
                .close(),
            Kind::ResponseTooLarge => {
                Reply::new(500, "response_payload_too_large").body("Internal Server Error")
            }
            Kind::FilterFailed => Reply::new(503, "wasm_fail_stream"),
            Kind::LengthChanged(_) => Reply::new(503, "body_length_changed"),
            Kind::Answered(reply) => (**reply).clone(),
            Kind::NoTerminalFilter => Reply::new(500, "no_terminal_filter")
                .body("no filter of the chain forwards requests; add envoy.filters.http.router"),
        };
        reply.flag(self.flags())
    }

    /// [`Self::reply`] to a request that was sent that often.
    pub(crate) fn reply_after(&self, attempts: u32) -> Reply {
        let reply = self.reply();
        let reason = reply.body.strip_prefix(RESET_PREFIX.as_bytes());
        match reason.and_then(|reason| std::str::from_utf8(reason).ok()) {
            Some(reason) if attempts > 1 => {
                let body = format!("{RESET_PREFIX}{RETRIED}{reason}");
                reply.body(body)
            }
            _ => reply,
        }
    }
}

/// The reply to a request with a control field that says nonsense.
fn nonsense(name: &str, value: &str) -> Reply {
    let details = format!("request_headers_failed_strict_check{{{name}}}");
    Reply::new(400, details).body(format!("invalid header '{name}' with value '{value}'"))
}

/// The reply to a request that its cluster turns away for overload.
fn dropped(all: bool, told: bool) -> Reply {
    let (details, body, field) = if all {
        (
            "unconditional_drop_overload",
            "unconditional drop overload",
            "x-envoy-unconditional-drop-overload",
        )
    } else {
        ("drop_overload", "drop overload", "x-envoy-drop-overload")
    };
    let reply = Reply::new(503, details).body(body);
    match Name::parse(field.as_bytes()) {
        Ok(field) if told => reply.header(field, b"true"),
        _ => reply,
    }
}

/// Envoy's reply to an upstream that took too long: with a body, unless the client asked for a status
/// that has none.
fn too_late(status: u16, details: &'static str) -> Reply {
    let reply = Reply::new(status, details);
    if status == 504 {
        reply.body("upstream request timeout")
    } else {
        reply
    }
}

/// The reply to a request that was with an endpoint for too long; whether all of it had come.
fn too_long(received: bool) -> Reply {
    let status = if received { 504 } else { 408 };
    Reply::new(status, "upstream_max_stream_duration_reached")
        .body("upstream max stream duration reached")
}

/// The reply to a request whose stream has lasted too long; whether all of it had come.
fn lasts_too_long(received: bool) -> Reply {
    let mut reply = Reply::new(if received { 504 } else { 408 }, "max_duration_timeout")
        .body("downstream duration timeout");
    reply.grpc_status = Some(DEADLINE_EXCEEDED);
    reply
}

/// Envoy's reply to a reset before the response's head: the reason in the body with spaces, in the
/// details with underscores.
fn before_headers(status: u16, reason: &'static str, why: Option<&str>) -> Reply {
    let code = reason.replace(' ', "_");
    let details = match why {
        Some(why) => {
            format!(
                "upstream_reset_before_response_started{{{code}|{}}}",
                why.replace(' ', "_")
            )
        }
        None => format!("upstream_reset_before_response_started{{{code}}}"),
    };
    Reply::new(status, details).body(format!("{RESET_PREFIX}{RESET_REASON}{reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replies_are_envoys() {
        let refused = Error::from(Kind::ConnectFailure(
            "delayed connect error: Refused".into(),
        ));
        let reply = refused.reply();
        assert_eq!(reply.status, 503);
        assert_eq!(
            reply.details,
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Refused}"
        );
        assert_eq!(
            &reply.body[..],
            &b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"[..]
        );
        assert_eq!(reply.flags, Flags::UPSTREAM_CONNECTION_FAILURE);
        assert_eq!(refused.side(), Side::Upstream);
        assert_eq!(
            &refused.reply_after(2).body[..],
            &b"upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure"[..]
        );
        assert_eq!(refused.reply_after(1).body, reply.body);
        let nameless = Error::from(Kind::UncertifiableHost).reply();
        assert_eq!((nameless.status, nameless.flags), (503, reply.flags));
        assert_eq!(nameless.body, reply.body);
    }
}
