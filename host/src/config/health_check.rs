//! Active health checks: `envoy.config.core.v3.HealthCheck`.

use serde::{Deserialize, Serialize};

use crate::config::header::HeaderValueOption;
use crate::config::matcher::{Int64Range, StringMatcher};
use crate::config::scalar::{Bytes, Duration, Struct};

/// `envoy.config.core.v3.HealthCheck`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthCheck")]
pub struct HealthCheck {
    /// How long one check may take; more than 0.
    pub timeout: Duration,
    /// Time between two checks of an endpoint; more than 0.
    pub interval: Duration,
    /// Up to this much before the first check; 0 by default.
    #[serde(default)]
    pub initial_jitter: Option<Duration>,
    /// Up to this much is added to each interval; 0 by default.
    #[serde(default)]
    pub interval_jitter: Option<Duration>,
    /// Up to this many percent of the interval are added to it.
    #[serde(default)]
    pub interval_jitter_percent: u32,
    /// Failures in a row that make an endpoint unhealthy; 2 where it is absent, which Envoy
    /// refuses.
    #[serde(default)]
    pub unhealthy_threshold: Option<u32>,
    /// Successes in a row that make an endpoint healthy; 2 where it is absent, which Envoy refuses.
    #[serde(default)]
    pub healthy_threshold: Option<u32>,
    /// Whether checks use the same connection; true by default.
    #[serde(default)]
    pub reuse_connection: Option<bool>,
    /// What a check is.
    #[serde(rename = "oneof:health_checker")]
    pub checker: HealthChecker,
    /// The interval as long as the cluster had no request; 60 s by default.
    #[serde(default)]
    pub no_traffic_interval: Option<Duration>,
    /// The same for healthy endpoints.
    #[serde(default)]
    pub no_traffic_healthy_interval: Option<Duration>,
    /// The interval for unhealthy endpoints; `interval` by default.
    #[serde(default)]
    pub unhealthy_interval: Option<Duration>,
    /// The first interval after an endpoint became unhealthy.
    #[serde(default)]
    pub unhealthy_edge_interval: Option<Duration>,
    /// The first interval after an endpoint became healthy.
    #[serde(default)]
    pub healthy_edge_interval: Option<Duration>,
    /// Whether every failure is logged, not only the first.
    #[serde(default)]
    pub always_log_health_check_failures: bool,
    /// Whether every success is written to the event log, not only the one that changed something.
    #[serde(default)]
    pub always_log_health_check_success: bool,
    /// A port other than the endpoints'.
    #[serde(default)]
    pub alt_port: Option<u16>,
    /// Which of `transport_socket_matches` checks go over, in place of what an endpoint's metadata says.
    #[serde(default)]
    pub transport_socket_match_criteria: Option<Struct>,
    /// How checks over TLS differ.
    #[serde(default)]
    pub tls_options: Option<TlsOptions>,
    /// The name, which tells several checks of a cluster apart.
    #[serde(default)]
    pub name: String,
    /// Older form of `event_logger`: a file of the events as JSON.
    #[serde(default)]
    pub event_log_path: String,
    /// Where events are written.
    #[serde(default)]
    pub event_logger: Vec<EventSink>,
}

/// `envoy.config.core.v3.HealthCheck.TlsOptions`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthCheck.TlsOptions")]
pub struct TlsOptions {
    /// The protocols (ALPN) that are offered in place of the context's; where there are none, those are.
    #[serde(default)]
    pub alpn_protocols: Vec<String>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a place for events.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct EventSink {
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// The place.
    #[serde(rename = "any:typed_config")]
    pub sink: TypedEventSink,
}

/// The places for events.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:sink of health check events")]
pub enum TypedEventSink {
    /// A file.
    #[serde(rename = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink")]
    File(HealthCheckEventFileSink),
}

/// `envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink")]
pub struct HealthCheckEventFileSink {
    /// The file that events are appended to.
    pub event_log_path: String,
}

/// `HealthCheck.health_checker`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthChecker {
    /// An HTTP request.
    HttpHealthCheck(Box<HttpHealthCheck>),
    /// A TCP connection.
    TcpHealthCheck(TcpHealthCheck),
    /// A gRPC call of `grpc.health.v1.Health/Check`.
    GrpcHealthCheck(GrpcHealthCheck),
}

/// `envoy.config.core.v3.HealthCheck.TcpHealthCheck`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthCheck.TcpHealthCheck")]
pub struct TcpHealthCheck {
    /// What is sent; nothing by default.
    #[serde(default)]
    pub send: Option<Payload>,
    /// What has to come, in this order; without any, connecting is enough.
    #[serde(default)]
    pub receive: Vec<Payload>,
}

/// `envoy.config.core.v3.HealthCheck.Payload`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthCheck.Payload")]
pub struct Payload {
    /// The bytes.
    #[serde(rename = "oneof:payload")]
    pub payload: PayloadBytes,
}

/// `Payload.payload`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadBytes {
    /// In hexadecimal digits.
    Text(String),
    /// In base64.
    Binary(Bytes),
}

/// `envoy.config.core.v3.HealthCheck.GrpcHealthCheck`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthCheck.GrpcHealthCheck")]
pub struct GrpcHealthCheck {
    /// The service that is asked about; the whole server where it is empty.
    #[serde(default)]
    pub service_name: String,
    /// The value of `:authority`; the cluster's name where it is empty.
    #[serde(default)]
    pub authority: String,
}

/// `envoy.config.core.v3.HealthCheck.HttpHealthCheck`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthCheck.HttpHealthCheck")]
pub struct HttpHealthCheck {
    /// The value of `host`; the cluster's name where it is empty.
    #[serde(default)]
    pub host: String,
    /// The path.
    pub path: String,
    /// Which statuses are a success; 200 alone by default.
    #[serde(default)]
    pub expected_statuses: Vec<Int64Range>,
    /// Which statuses count towards `unhealthy_threshold`; others that are no success make an
    /// endpoint unhealthy at once.
    #[serde(default)]
    pub retriable_statuses: Vec<Int64Range>,
    /// Which HTTP is spoken.
    #[serde(default)]
    pub codec_client_type: CodecClientType,
    /// The method.
    #[serde(default)]
    pub method: RequestMethod,
    /// Header fields that are added; their values are sent as they are written.
    #[serde(default)]
    pub request_headers_to_add: Vec<HeaderValueOption>,
    /// Header fields that are taken away.
    #[serde(default)]
    pub request_headers_to_remove: Vec<String>,
    /// The request's body; of a method that has one.
    #[serde(default)]
    pub send: Option<Payload>,
    /// What has to be in the response's body, in this order.
    #[serde(default)]
    pub receive: Vec<Payload>,
    /// In how much of the body it is looked for; 1024 bytes by default, 0 is all.
    #[serde(default)]
    pub response_buffer_size: Option<u64>,
    /// What the endpoint has to call its cluster, in `x-envoy-upstream-healthchecked-cluster`.
    #[serde(default)]
    pub service_name_matcher: Option<StringMatcher>,
}

/// `envoy.type.v3.CodecClientType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.CodecClientType", rename_all = "UPPERCASE")]
pub enum CodecClientType {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

/// `envoy.config.core.v3.RequestMethod`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.RequestMethod",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum RequestMethod {
    /// Not given: `GET`.
    #[default]
    MethodUnspecified,
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `PATCH`.
    Patch,
}

impl RequestMethod {
    /// As a request has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MethodUnspecified | Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}
