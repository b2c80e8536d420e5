//! Options of the versions of HTTP, on either side: `envoy.config.core.v3`.

use serde::{Deserialize, Serialize};

use crate::config::matcher::StringMatcher;
use crate::config::scalar::{Duration, Percent};

/// `envoy.config.core.v3.HttpProtocolOptions`, for clients.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HttpProtocolOptions")]
pub struct HttpProtocolOptions {
    /// How long a connection stays without a stream; 1 h by default, 0 is without limit.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    /// Fields of a request's head, `host` included; 100 by default.
    #[serde(default)]
    pub max_headers_count: Option<u32>,
    /// Requests of a connection, after which it is closed; 0, the default, is without limit.
    #[serde(default)]
    pub max_requests_per_connection: Option<u32>,
    /// How long a stream may last; 0, the default, is without limit.
    #[serde(default)]
    pub max_stream_duration: Option<Duration>,
    /// How long a connection lives before it is drained; without limit by default.
    #[serde(default)]
    pub max_connection_duration: Option<Duration>,
    /// What happens to a field whose name has an underscore.
    #[serde(default)]
    pub headers_with_underscores_action: HeadersWithUnderscoresAction,
}

/// `envoy.config.core.v3.HttpProtocolOptions.HeadersWithUnderscoresAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.HttpProtocolOptions.HeadersWithUnderscoresAction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum HeadersWithUnderscoresAction {
    /// It stays.
    #[default]
    Allow,
    /// The request is refused.
    RejectRequest,
    /// It is dropped.
    DropHeader,
}

/// `envoy.config.core.v3.HttpProtocolOptions`, for upstreams.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HttpProtocolOptions")]
pub struct UpstreamHttpProtocolOptions {
    /// What happens to a field whose name has an underscore. No effect but for a warning, as in Envoy:
    /// responses may have them.
    #[serde(default)]
    pub headers_with_underscores_action: HeadersWithUnderscoresAction,
    /// How long a connection stays without a request; 1 h by default, 0 is without limit.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    /// Requests of a connection, after which it is closed; 0, the default, is without limit.
    #[serde(default)]
    pub max_requests_per_connection: Option<u32>,
    /// For how long a connection gets new requests; without limit by default.
    #[serde(default)]
    pub max_connection_duration: Option<Duration>,
    /// How long a request may be with an endpoint; without limit by default.
    #[serde(default)]
    pub max_stream_duration: Option<Duration>,
    /// Fields of a response's head; 100 by default.
    #[serde(default)]
    pub max_headers_count: Option<u32>,
    /// Largest head of a response in KiB; 80 by default, 60 over HTTP/2.
    #[serde(default)]
    pub max_response_headers_kb: Option<u32>,
}

/// `envoy.config.core.v3.Http1ProtocolOptions`, for clients and for upstreams. What is about the messages of one
/// side has no effect for the other.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http1ProtocolOptions")]
pub struct Http1ProtocolOptions {
    /// Of clients: whether a target may be a whole URL, which says the host in place of `host`; true by default.
    #[serde(default)]
    pub allow_absolute_url: Option<bool>,
    /// Of clients: whether HTTP/1.0 is spoken; 426 by default.
    #[serde(default)]
    pub accept_http_10: bool,
    /// Of clients: the host of a request of HTTP/1.0 that names none; it is refused by default.
    #[serde(default)]
    pub default_host_for_http_10: String,
    /// How names are spelled; in lower case by default.
    #[serde(default)]
    pub header_key_format: Option<HeaderKeyFormat>,
    /// Whether trailers are sent and passed on; dropped by default.
    #[serde(default)]
    pub enable_trailers: bool,
    /// Whether a message with `content-length` and chunks is taken, without the former.
    #[serde(default)]
    pub allow_chunked_length: bool,
    /// Of clients: in place of `stream_error_on_invalid_http_message`.
    #[serde(default)]
    pub override_stream_error_on_invalid_http_message: Option<bool>,
    /// Of clients: which `upgrade` is taken for none. In answers it has no effect but for a warning: nobody
    /// would have what was asked for.
    #[serde(default)]
    pub ignore_http_11_upgrade: Vec<StringMatcher>,
    /// Which of Envoy's parsers; no effect.
    #[serde(default)]
    pub use_balsa_parser: Option<bool>,
    /// Of clients: whether methods may be any; by default only those that are registered or widely used.
    #[serde(default)]
    pub allow_custom_methods: bool,
    /// Of upstreams: whether targets are whole URLs, as proxies take them.
    #[serde(default)]
    pub send_fully_qualified_url: bool,
}

/// `envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat")]
pub struct HeaderKeyFormat {
    /// The format.
    #[serde(rename = "oneof:header_format")]
    pub format: HeaderFormat,
}

/// `HeaderKeyFormat.header_format`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderFormat {
    /// `Like-This`.
    ProperCaseWords(ProperCaseWords),
    /// One that remembers how names came.
    StatefulFormatter(StatefulFormatter),
}

/// `envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords")]
pub struct ProperCaseWords {}

/// `HeaderKeyFormat.stateful_formatter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct StatefulFormatter {
    /// Any name.
    pub name: String,
    /// The formatter.
    #[serde(rename = "any:typed_config")]
    pub typed_config: StatefulFormatterConfig,
}

/// The formatters that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:header formatter")]
pub enum StatefulFormatterConfig {
    /// Names as they came.
    #[serde(
        rename = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
    )]
    PreserveCase(PreserveCaseFormatterConfig),
}

/// `envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
)]
pub struct PreserveCaseFormatterConfig {
    /// Whether the reason phrase of an upstream's response is the client's too.
    #[serde(default)]
    pub forward_reason_phrase: bool,
    /// How names are spelled that the proxy adds.
    #[serde(default)]
    pub formatter_type_on_envoy_headers: FormatterTypeOnEnvoyHeaders,
}

/// `PreserveCaseFormatterConfig.FormatterTypeOnEnvoyHeaders`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig.FormatterTypeOnEnvoyHeaders",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum FormatterTypeOnEnvoyHeaders {
    /// In lower case.
    #[default]
    Default,
    /// `Like-This`.
    ProperCase,
}

/// `envoy.config.core.v3.Http2ProtocolOptions`, for clients and for upstreams.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http2ProtocolOptions")]
pub struct Http2ProtocolOptions {
    /// Whether METADATA frames are passed on. No effect but for a warning: they are not.
    #[serde(default)]
    pub allow_metadata: bool,
    /// How large these may be. No effect: the same.
    #[serde(default)]
    pub max_metadata_size: Option<u32>,
    /// Bytes of the table of compressed header fields; 4096 by default.
    #[serde(default)]
    pub hpack_table_size: Option<u32>,
    /// Streams of a connection at once; 1024 by default.
    #[serde(default)]
    pub max_concurrent_streams: Option<u32>,
    /// Flow-control window of a stream in bytes; 16 MiB by default, for upstreams the buffer limit, and more where
    /// the way needs it.
    #[serde(default)]
    pub initial_stream_window_size: Option<u32>,
    /// Flow-control window of a connection in bytes; 24 MiB by default.
    #[serde(default)]
    pub initial_connection_window_size: Option<u32>,
    /// Frames of content that may wait to be sent; 10 000 by default. What more there is waits where it comes from.
    #[serde(default)]
    pub max_outbound_frames: Option<u32>,
    /// The same for control frames: no effect, never more than one is made for a peer that does not read.
    #[serde(default)]
    pub max_outbound_control_frames: Option<u32>,
    /// Frames with nothing in them in a row; 1 by default.
    #[serde(default)]
    pub max_consecutive_inbound_frames_with_empty_payload: Option<u32>,
    /// `PRIORITY` frames for each stream; 100 by default.
    #[serde(default)]
    pub max_inbound_priority_frames_per_stream: Option<u32>,
    /// `WINDOW_UPDATE` frames for each `DATA` frame that was sent; 10 by default.
    #[serde(default)]
    pub max_inbound_window_update_frames_per_data_frame_sent: Option<u32>,
    /// Older form of `override_stream_error_on_invalid_http_message`.
    #[serde(default)]
    pub stream_error_on_invalid_http_messaging: bool,
    /// Of clients: in place of `stream_error_on_invalid_http_message`. For upstreams it has no effect: a message that
    /// breaks HTTP's rules ends its stream alone.
    #[serde(default)]
    pub override_stream_error_on_invalid_http_message: Option<bool>,
    /// Pings that show whether the peer is still there; none by default.
    #[serde(default)]
    pub connection_keepalive: Option<KeepaliveSettings>,
    /// Which of Envoy's codecs; no effect.
    #[serde(default)]
    pub use_oghttp2_codec: Option<bool>,
    /// Of clients: whether extended CONNECT (RFC 8441) is offered to them; false by default. To upstreams it goes in
    /// any case.
    #[serde(default)]
    pub allow_connect: bool,
    /// Settings that are sent in front of those that have fields here.
    #[serde(default)]
    pub custom_settings_parameters: Vec<SettingsParameter>,
}

/// `Http2ProtocolOptions.SettingsParameter`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Http2ProtocolOptions.SettingsParameter")]
pub struct SettingsParameter {
    /// Which setting (RFC 9113 §6.5.1).
    pub identifier: u16,
    /// What it is to be.
    pub value: u32,
}

/// `envoy.config.core.v3.KeepaliveSettings`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.KeepaliveSettings")]
pub struct KeepaliveSettings {
    /// Time between two pings; none are sent by default.
    #[serde(default)]
    pub interval: Option<Duration>,
    /// How long the answer may take.
    pub timeout: Duration,
    /// How much of `interval` is added to it at random; 15 % by default.
    #[serde(default)]
    pub interval_jitter: Option<Percent>,
    /// How long a connection to an upstream may be silent before a new stream on it has a ping sent ahead.
    #[serde(default)]
    pub connection_idle_interval: Option<Duration>,
}
