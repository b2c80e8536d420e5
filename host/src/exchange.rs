//! One HTTP exchange: a request, its response, and what is known about both. For a TCP stream it is
//! what its log shows: both heads stay empty.
//!
//! Owns the data that the parties of a request share: the connection manager fills it in, filters
//! read and change it through the Wasm boundary, the formatter renders it, logs and metrics read it.
//! It is boxed once a stream, and lent to a filter by moving that box.
//!
//! Does not own: how any of it came about, and no policy.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::address::Address;
use crate::certificate::Certificate;
use crate::clock;
use crate::headers::{Headers, NameFormat};
use crate::metadata::StaticMetadata;

/// What a side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Bytes that are not looked into.
    Raw,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// As access logs show it; nothing where it is not HTTP.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Raw => None,
            Self::Http10 => Some("HTTP/1.0"),
            Self::Http11 => Some("HTTP/1.1"),
            Self::Http2 => Some("HTTP/2"),
        }
    }
}

macro_rules! response_flags {
    ($($name:ident = $bit:literal, $short:literal, $long:literal;)+) => {
        impl Flags {
            $(#[doc = concat!("`", $short, "`, ", $long, ".")]
            pub const $name: Self = Self(1 << $bit);)+

            /// Every flag with its short and long name, in the order in which Envoy prints them.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$name, $short, $long)),+];
        }
    };
}

/// Envoy's response flags (`%RESPONSE_FLAGS%`): why a response is what it is. A set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u64);

response_flags! {
    FAILED_LOCAL_HEALTH_CHECK = 0, "LH", "FailedLocalHealthCheck";
    NO_HEALTHY_UPSTREAM = 1, "UH", "NoHealthyUpstream";
    UPSTREAM_REQUEST_TIMEOUT = 2, "UT", "UpstreamRequestTimeout";
    LOCAL_RESET = 3, "LR", "LocalReset";
    UPSTREAM_REMOTE_RESET = 4, "UR", "UpstreamRemoteReset";
    UPSTREAM_CONNECTION_FAILURE = 5, "UF", "UpstreamConnectionFailure";
    UPSTREAM_CONNECTION_TERMINATION = 6, "UC", "UpstreamConnectionTermination";
    UPSTREAM_OVERFLOW = 7, "UO", "UpstreamOverflow";
    NO_ROUTE_FOUND = 8, "NR", "NoRouteFound";
    DELAY_INJECTED = 9, "DI", "DelayInjected";
    FAULT_INJECTED = 10, "FI", "FaultInjected";
    RATE_LIMITED = 11, "RL", "RateLimited";
    UNAUTHORIZED_EXTERNAL_SERVICE = 12, "UAEX", "UnauthorizedExternalService";
    RATELIMIT_SERVICE_ERROR = 13, "RLSE", "RateLimitServiceError";
    DOWNSTREAM_CONNECTION_TERMINATION = 14, "DC", "DownstreamConnectionTermination";
    UPSTREAM_RETRY_LIMIT_EXCEEDED = 15, "URX", "UpstreamRetryLimitExceeded";
    STREAM_IDLE_TIMEOUT = 16, "SI", "StreamIdleTimeout";
    INVALID_ENVOY_REQUEST_HEADERS = 17, "IH", "InvalidEnvoyRequestHeaders";
    DOWNSTREAM_PROTOCOL_ERROR = 18, "DPE", "DownstreamProtocolError";
    UPSTREAM_MAX_STREAM_DURATION_REACHED = 19, "UMSDR", "UpstreamMaxStreamDurationReached";
    RESPONSE_FROM_CACHE_FILTER = 20, "RFCF", "ResponseFromCacheFilter";
    NO_FILTER_CONFIG_FOUND = 21, "NFCF", "NoFilterConfigFound";
    DURATION_TIMEOUT = 22, "DT", "DurationTimeout";
    UPSTREAM_PROTOCOL_ERROR = 23, "UPE", "UpstreamProtocolError";
    NO_CLUSTER_FOUND = 24, "NC", "NoClusterFound";
    OVERLOAD_MANAGER = 25, "OM", "OverloadManagerTerminated";
    DNS_RESOLUTION_FAILED = 26, "DF", "DnsResolutionFailed";
    DROP_OVERLOAD = 27, "DO", "DropOverload";
    DOWNSTREAM_REMOTE_RESET = 28, "DR", "DownstreamRemoteReset";
    UNCONDITIONAL_DROP_OVERLOAD = 29, "UDO", "UnconditionalDropOverload";
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Where the bits begin that say which flags were set early.
    const EARLY: u32 = 32;
    const SET: u64 = (1 << Self::EARLY) - 1;

    /// Adds all of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Adds all of `other`, to be shown before those that are added by [`Self::insert`]: Envoy shows
    /// flags in the order in which they were set.
    pub const fn insert_early(&mut self, other: Self) {
        self.0 |= other.0 | other.0 << Self::EARLY;
    }

    /// Each flag that is set with its names: those that were set early, then the others.
    pub fn in_order(self) -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        let early = self.0 >> Self::EARLY;
        let sets = [Self(early), Self(self.0 & Self::SET & !early)];
        sets.into_iter().flat_map(|set| {
            let all = Self::ALL.iter().copied();
            all.filter(move |(flag, ..)| set.contains(*flag))
        })
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// When an access log has an entry (`AccessLogType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogType {
    /// No entry: a local reply looks for its mapper, or a head is changed.
    #[default]
    NotSet,
    /// A TCP connection that has one to an endpoint.
    TcpUpstreamConnected,
    /// Each interval of a TCP connection that lasts.
    TcpPeriodic,
    /// The end of a TCP connection.
    TcpConnectionEnd,
    /// A request whose route is known.
    DownstreamStart,
    /// Each interval of a stream that lasts.
    DownstreamPeriodic,
    /// The end of an HTTP stream.
    DownstreamEnd,
    /// The opening of a tunnel.
    TunnelEstablished,
    /// An attempt that has a connection to an upstream.
    UpstreamPoolReady,
    /// The end of an attempt at an upstream.
    UpstreamEnd,
}

impl LogType {
    /// The number that Envoy has for it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::NotSet => 0,
            Self::TcpUpstreamConnected => 1,
            Self::TcpPeriodic => 2,
            Self::TcpConnectionEnd => 3,
            Self::DownstreamStart => 4,
            Self::DownstreamPeriodic => 5,
            Self::DownstreamEnd => 6,
            Self::UpstreamPoolReady => 7,
            Self::UpstreamEnd => 9,
            Self::TunnelEstablished => 10,
        }
    }

    /// Its name, as access logs show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::DownstreamStart => "DownstreamStart",
            Self::DownstreamPeriodic => "DownstreamPeriodic",
            Self::DownstreamEnd => "DownstreamEnd",
            Self::UpstreamPoolReady => "UpstreamPoolReady",
            Self::UpstreamEnd => "UpstreamEnd",
            Self::TunnelEstablished => "DownstreamTunnelSuccessfullyEstablished",
        }
    }
}

/// What is known about the downstream connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Unique in the life of the process.
    pub id: u64,
    /// The client: the peer of the socket, or whom a proxy before this one says that it speaks for.
    pub remote: Address,
    /// The peer of the socket; that of a Unix socket is the socket's path.
    pub direct_remote: Address,
    /// Where the client connected to: the local end of the socket, or what was there before a
    /// redirection or a proxy.
    pub local: Address,
    /// The local end of the socket.
    pub direct_local: Address,
    /// Whether `local` is what a redirection or a proxy has told, if only the same address.
    pub local_is_restored: bool,
    /// The host that the client asks for over TLS, in lower case.
    pub server_name: Option<Box<str>>,
    /// What listener filters left.
    pub metadata: Metadata,
    /// `Listener.name`.
    pub listener: Arc<str>,
    /// `FilterChain.name`, empty where it has none.
    pub filter_chain: Arc<str>,
    /// `Listener.metadata`.
    pub listener_metadata: Option<Arc<StaticMetadata>>,
    /// `FilterChain.metadata`.
    pub filter_chain_metadata: Option<Arc<StaticMetadata>>,
    /// Its TLS session; `None` over clear text.
    pub tls: Option<Box<Tls>>,
}

impl Connection {
    /// From `remote` to `local` over clear text, of which nothing else is known.
    pub fn between(remote: impl Into<Address>, local: impl Into<Address>) -> Self {
        let (remote, local) = (remote.into(), local.into());
        Self {
            id: 1,
            direct_remote: remote.clone(),
            remote,
            direct_local: local.clone(),
            local,
            local_is_restored: false,
            server_name: None,
            metadata: Metadata::default(),
            listener: "".into(),
            filter_chain: "".into(),
            listener_metadata: None,
            filter_chain_metadata: None,
            tls: None,
        }
    }
}

/// What is known about a TLS session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether the peer sent a certificate.
    pub certificate_presented: bool,
    /// Whether that certificate was checked and found good.
    pub certificate_validated: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher, by BoringSSL's name.
    pub cipher: &'static str,
    /// The group of the key exchange, by BoringSSL's name.
    pub group: &'static str,
    /// The server that the client asked for (SNI).
    pub server_name: Option<Box<str>>,
    /// What both agreed to speak inside (ALPN).
    pub alpn: Option<Box<str>>,
    /// What the peer has shown.
    pub peer: Option<Peer>,
    /// What this side has shown.
    pub local: Option<Arc<Certificate>>,
    /// What upstreams are told of the peer's certificate, once a request has needed it, and which details of it.
    pub forwarded: OnceLock<(u8, Box<[u8]>)>,
}

/// The certificates of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its own.
    pub certificate: Certificate,
    /// Those that it sent after that, as they came.
    pub chain: Box<[Box<[u8]>]>,
}

/// What is known about the upstream side of the last attempt.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// Name of the cluster that the request was sent to, or would have been.
    pub cluster: Option<Arc<str>>,
    /// `Cluster.metadata`.
    pub cluster_metadata: Option<Arc<StaticMetadata>>,
    /// `Cluster.alt_stat_name`, where it has one: logs show it in place of the name.
    pub cluster_alias: Option<Arc<str>>,
    /// The endpoint that was picked.
    pub host: Option<Address>,
    /// The endpoint's name as configured: a DNS name or the address.
    pub hostname: Option<Arc<str>>,
    /// The endpoint's `metadata`.
    pub host_metadata: Option<Arc<StaticMetadata>>,
    /// Local end of the upstream connection.
    pub local: Option<SocketAddr>,
    /// What was spoken to it.
    pub protocol: Option<Protocol>,
    /// Its TLS session; none over clear text.
    pub tls: Option<Arc<Tls>>,
    /// Unique in the life of the process.
    pub connection_id: Option<u64>,
    /// How long that waited for a connection, or to hear that it gets none; `None` without an endpoint.
    pub waited: Option<Duration>,
    /// How often the request was sent, or tried to be.
    pub attempts: u32,
    /// Why the transport failed, where it did.
    pub failure: Option<Cow<'static, str>>,
}

/// When things happened. What has not happened (yet) is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// First byte of the request, monotonic.
    pub started: Instant,
    /// The same on the wall clock.
    pub started_wall: SystemTime,
    /// Last byte of the request received.
    pub request_received: Option<Instant>,
    /// First byte sent upstream.
    pub upstream_sent_first: Option<Instant>,
    /// Last byte sent upstream.
    pub upstream_sent: Option<Instant>,
    /// First byte of the response received.
    pub upstream_received_first: Option<Instant>,
    /// Last byte of the response received.
    pub upstream_received: Option<Instant>,
    /// First byte of the response sent downstream.
    pub response_sent_first: Option<Instant>,
    /// Last byte of the response sent downstream, where all of it was.
    pub response_sent: Option<Instant>,
    /// The end of the stream.
    pub ended: Option<Instant>,
}

impl Timing {
    /// A stream that starts now.
    #[must_use]
    pub const fn starting(started: Instant, started_wall: SystemTime) -> Self {
        Self {
            started,
            started_wall,
            request_received: None,
            upstream_sent_first: None,
            upstream_sent: None,
            upstream_received_first: None,
            upstream_received: None,
            response_sent_first: None,
            response_sent: None,
            ended: None,
        }
    }
}

/// The gRPC status that stands for an HTTP status.
#[must_use]
pub const fn grpc_status_of(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The HTTP status that stands for a gRPC status.
#[must_use]
pub const fn http_status_of(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// How fast the body of a response may go on, from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub bytes_per_second: u64,
    /// Since when.
    pub since: Instant,
}

impl Rate {
    /// That many bytes in a second, at least one, from now on.
    #[must_use]
    pub fn from_now(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            since: clock::now(),
        }
    }
}

/// What a route does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends it to a cluster.
    Forward,
    /// Answers with a redirect.
    Redirect,
    /// Answers with a response of its own.
    DirectResponse,
}

/// Values that filters leave for later filters and for logs (Envoy's dynamic metadata).
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    entries: Vec<(Box<str>, Box<str>, Vec<u8>)>,
}

impl Metadata {
    /// The namespace that stands for Envoy's filter state.
    pub const FILTER_STATE: &str = "filter_state";

    /// The value under `namespace` and `key`.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<&[u8]> {
        self.entries
            .iter()
            .find(|(n, k, _)| &**n == namespace && &**k == key)
            .map(|(_, _, value)| value.as_slice())
    }

    /// Puts a value under `namespace` and `key`, in place of the one that was there.
    pub fn set(&mut self, namespace: &str, key: &str, value: &[u8]) {
        let found = self
            .entries
            .iter_mut()
            .find(|(n, k, _)| &**n == namespace && &**k == key);
        match found {
            Some((_, _, old)) => value.clone_into(old),
            None => self
                .entries
                .push((namespace.into(), key.into(), value.to_vec())),
        }
    }

    /// Bytes of all namespaces, keys and values.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.entries
            .iter()
            .map(|(n, k, v)| n.len() + k.len() + v.len())
            .sum()
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries of a namespace.
    pub fn namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.entries
            .iter()
            .filter(move |(n, _, _)| &**n == namespace)
            .map(|(_, key, value)| (&**key, value.as_slice()))
    }

    /// Takes all entries out.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Bytes of a stream with all that frames them: heads, interim ones too, chunks and trailers. They are known
/// at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireBytes {
    /// From the client, and to it; none over HTTP/2.
    pub downstream: Option<Carried>,
    /// From upstreams, and to them, of all attempts; none where one was over HTTP/2.
    pub upstream: Option<Carried>,
}

/// Bytes that came from a side, and that went to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// What came.
    pub received: Counted,
    /// What went.
    pub sent: Counted,
}

/// Bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All of them.
    pub all: u64,
    /// Those of fields in heads and trailers: names, values, and what ends them.
    pub fields: u64,
}

impl Counted {
    /// Bytes that are no message of HTTP.
    #[must_use]
    pub const fn raw(all: u64) -> Self {
        Self { all, fields: 0 }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            fields: self.fields + other.fields,
        }
    }
}

impl WireBytes {
    const NONE: Self = Self {
        downstream: None,
        upstream: Some(Carried {
            received: Counted::raw(0),
            sent: Counted::raw(0),
        }),
    };

    /// Adds those of an attempt.
    pub fn add_upstream(&mut self, carried: Option<Carried>) {
        let both = self.upstream.zip(carried);
        self.upstream = both.map(|(before, now)| Carried {
            received: before.received.and(now.received),
            sent: before.sent.and(now.sent),
        });
    }
}

/// One request and its response. See the module's page.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Head of the request as it stands now, pseudo-header fields first.
    pub request: Headers,
    /// Trailers of the request, once they have come.
    pub request_trailers: Headers,
    /// Head of the response as it stands now.
    pub response: Headers,
    /// Trailers of the response, once they have come.
    pub response_trailers: Headers,
    /// The downstream connection.
    pub connection: Arc<Connection>,
    /// The client's address: the peer's, or the trusted one of `x-forwarded-for`.
    pub remote: Address,
    /// What the client speaks.
    pub protocol: Protocol,
    /// Whether the request came as one of gRPC, whatever filters made of it: the proxy's own replies
    /// are of that kind then.
    pub is_grpc: bool,
    /// Whether it asks for nothing but health: statistics of responses leave it out.
    pub is_health_check: bool,
    /// When things happened.
    pub timing: Timing,
    /// The upstream side.
    pub upstream: Upstream,
    /// `Route.name`, once a route was chosen and if it has one.
    pub route_name: Option<Arc<str>>,
    /// `VirtualHost.name`, once one was chosen.
    pub virtual_host: Option<Arc<str>>,
    /// `Route.metadata`.
    pub route_metadata: Option<Arc<StaticMetadata>>,
    /// `VirtualHost.metadata`.
    pub virtual_host_metadata: Option<Arc<StaticMetadata>>,
    /// `VirtualCluster.name` of the group that the request is counted in, where it has one.
    pub virtual_cluster: Option<Arc<str>>,
    /// What the chosen route does; none where no route matches.
    pub route_kind: Option<RouteKind>,
    /// Whether a filter has changed what the route is matched on since it was last matched.
    pub route_cache_cleared: bool,
    /// Status of the response; 0 before there is one.
    pub status: u16,
    /// `%RESPONSE_CODE_DETAILS%`: who made the response and why.
    pub details: Option<Cow<'static, str>>,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    pub termination_details: Option<Cow<'static, str>>,
    /// `%RESPONSE_FLAGS%`.
    pub flags: Flags,
    /// How fast the response's body may go on, until it does; none where no filter has said so.
    pub response_rate: Option<Rate>,
    /// Bytes of the request's body received.
    pub bytes_received: u64,
    /// Bytes on the wire.
    pub wire: WireBytes,
    /// Bytes of the response's body sent.
    pub bytes_sent: u64,
    /// Bytes of the field with which a response over HTTP/1 says what becomes of its connection.
    pub connection_bytes: u8,
    /// The body of a local reply, where the response is one.
    pub local_reply_body: Option<Cow<'static, str>>,
    /// The entry of access logs that is made now.
    pub log_type: LogType,
    /// What filters left.
    pub metadata: Metadata,
    /// Unique in the life of the process.
    pub stream_id: u64,
}

impl Exchange {
    /// An exchange that starts now, with empty heads.
    #[must_use]
    pub fn new(
        connection: Arc<Connection>,
        protocol: Protocol,
        timing: Timing,
        stream_id: u64,
    ) -> Self {
        let remote = connection.remote.clone();
        Self {
            request: Headers::new(),
            request_trailers: Headers::new(),
            response: Headers::new(),
            response_trailers: Headers::new(),
            connection,
            remote,
            protocol,
            is_grpc: false,
            is_health_check: false,
            timing,
            upstream: Upstream::default(),
            route_name: None,
            virtual_host: None,
            route_metadata: None,
            virtual_host_metadata: None,
            virtual_cluster: None,
            route_kind: None,
            route_cache_cleared: false,
            status: 0,
            details: None,
            termination_details: None,
            flags: Flags::NONE,
            response_rate: None,
            bytes_received: 0,
            bytes_sent: 0,
            wire: WireBytes::NONE,
            connection_bytes: 0,
            local_reply_body: None,
            log_type: LogType::NotSet,
            metadata: Metadata::default(),
            stream_id,
        }
    }

    /// How many bytes its heads and trailers have room for.
    #[must_use]
    pub const fn heads_capacity(&self) -> usize {
        self.request.capacity()
            + self.request_trailers.capacity()
            + self.response.capacity()
            + self.response_trailers.capacity()
    }

    /// Makes this one ready for the next request of the same connection; the buffers stay.
    pub fn reset(&mut self, timing: Timing, stream_id: u64) {
        self.request.clear();
        self.request_trailers.clear();
        self.response.clear();
        self.response_trailers.clear();
        self.request.spell(NameFormat::default());
        self.response.spell(NameFormat::default());
        self.remote.clone_from(&self.connection.remote);
        self.is_grpc = false;
        self.is_health_check = false;
        self.timing = timing;
        self.upstream = Upstream::default();
        self.route_name = None;
        self.virtual_host = None;
        self.route_metadata = None;
        self.virtual_host_metadata = None;
        self.virtual_cluster = None;
        self.route_kind = None;
        self.route_cache_cleared = false;
        self.status = 0;
        self.details = None;
        self.termination_details = None;
        self.flags = Flags::NONE;
        self.response_rate = None;
        self.bytes_received = 0;
        self.bytes_sent = 0;
        self.wire = WireBytes::NONE;
        self.connection_bytes = 0;
        self.local_reply_body = None;
        self.log_type = LogType::NotSet;
        self.metadata.clear();
        self.stream_id = stream_id;
    }
}
