//! Which streams an access log entry or a mapper of local replies is for:
//! `envoy.config.accesslog.v3.AccessLogFilter`.

use serde::{Deserialize, Serialize};

use crate::config::header::HeaderMatcher;
use crate::config::route::MetadataMatcher;
use crate::config::scalar::FractionalPercent;

/// `envoy.config.accesslog.v3.AccessLogFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.AccessLogFilter")]
pub struct AccessLogFilter {
    /// What is asked.
    #[serde(rename = "oneof:filter_specifier")]
    pub specifier: FilterSpecifier,
}

/// `AccessLogFilter.filter_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterSpecifier {
    /// The status of the response.
    StatusCodeFilter(StatusCodeFilter),
    /// How long it took, in milliseconds.
    DurationFilter(DurationFilter),
    /// Whether it is no health check.
    NotHealthCheckFilter(NotHealthCheckFilter),
    /// Whether it is traced because somebody asked for it.
    TraceableFilter(TraceableFilter),
    /// A share of all.
    RuntimeFilter(RuntimeFilter),
    /// All of these.
    AndFilter(AndFilter),
    /// One of these.
    OrFilter(OrFilter),
    /// A field of the request.
    HeaderFilter(HeaderFilter),
    /// Response flags.
    ResponseFlagFilter(ResponseFlagFilter),
    /// The gRPC status.
    GrpcStatusFilter(GrpcStatusFilter),
    /// What filters left.
    MetadataFilter(MetadataFilter),
    /// The kind of entry.
    LogTypeFilter(LogTypeFilter),
}

/// `envoy.config.accesslog.v3.StatusCodeFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.StatusCodeFilter")]
pub struct StatusCodeFilter {
    /// With what it is compared.
    pub comparison: ComparisonFilter,
}

/// `envoy.config.accesslog.v3.DurationFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.DurationFilter")]
pub struct DurationFilter {
    /// With what it is compared.
    pub comparison: ComparisonFilter,
}

/// `envoy.config.accesslog.v3.ComparisonFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.ComparisonFilter")]
pub struct ComparisonFilter {
    /// How.
    #[serde(default)]
    pub op: ComparisonOp,
    /// With what.
    pub value: RuntimeUInt32,
}

/// `envoy.config.accesslog.v3.ComparisonFilter.Op`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.accesslog.v3.ComparisonFilter.Op",
    rename_all = "UPPERCASE"
)]
pub enum ComparisonOp {
    /// Equal.
    #[default]
    Eq,
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
    /// Not equal.
    Ne,
}

/// `envoy.config.core.v3.RuntimeUInt32`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.RuntimeUInt32")]
pub struct RuntimeUInt32 {
    /// The number.
    #[serde(default)]
    pub default_value: u32,
    /// The key that a runtime layer could override it by.
    #[serde(default)]
    pub runtime_key: String,
}

/// `envoy.config.accesslog.v3.NotHealthCheckFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.NotHealthCheckFilter")]
pub struct NotHealthCheckFilter {}

/// `envoy.config.accesslog.v3.TraceableFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.TraceableFilter")]
pub struct TraceableFilter {}

/// `envoy.config.accesslog.v3.RuntimeFilter`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.RuntimeFilter")]
pub struct RuntimeFilter {
    /// The key that a runtime layer could override the share by.
    pub runtime_key: String,
    /// The share; 0 % by default.
    #[serde(default)]
    pub percent_sampled: Option<FractionalPercent>,
    /// Whether chance decides; by default the request's identifier does, so that all proxies on its
    /// way decide alike.
    #[serde(default)]
    pub use_independent_randomness: bool,
}

/// `envoy.config.accesslog.v3.AndFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.AndFilter")]
pub struct AndFilter {
    /// At least two.
    pub filters: Vec<AccessLogFilter>,
}

/// `envoy.config.accesslog.v3.OrFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.OrFilter")]
pub struct OrFilter {
    /// At least two.
    pub filters: Vec<AccessLogFilter>,
}

/// `envoy.config.accesslog.v3.HeaderFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.HeaderFilter")]
pub struct HeaderFilter {
    /// The field of the request.
    pub header: HeaderMatcher,
}

/// `envoy.config.accesslog.v3.ResponseFlagFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.ResponseFlagFilter")]
pub struct ResponseFlagFilter {
    /// Short names, one of which has to be set; any flag by default.
    #[serde(default)]
    pub flags: Vec<String>,
}

/// `envoy.config.accesslog.v3.GrpcStatusFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.GrpcStatusFilter")]
pub struct GrpcStatusFilter {
    /// The statuses.
    #[serde(default)]
    pub statuses: Vec<GrpcStatus>,
    /// Whether it must be none of them.
    #[serde(default)]
    pub exclude: bool,
}

/// `envoy.config.accesslog.v3.GrpcStatusFilter.Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.accesslog.v3.GrpcStatusFilter.Status",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
#[expect(missing_docs, reason = "each is the status of that name")]
pub enum GrpcStatus {
    Ok,
    Canceled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// `envoy.config.accesslog.v3.MetadataFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.MetadataFilter")]
pub struct MetadataFilter {
    /// The value; nothing has one where there is no matcher.
    #[serde(default)]
    pub matcher: Option<MetadataMatcher>,
    /// Whether a stream without such a value has an entry; true by default.
    #[serde(default)]
    pub match_if_key_not_found: Option<bool>,
}

/// `envoy.config.accesslog.v3.LogTypeFilter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.accesslog.v3.LogTypeFilter")]
pub struct LogTypeFilter {
    /// The kinds.
    #[serde(default)]
    pub types: Vec<AccessLogType>,
    /// Whether it must be none of them.
    #[serde(default)]
    pub exclude: bool,
}

/// `envoy.data.accesslog.v3.AccessLogType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.data.accesslog.v3.AccessLogType")]
#[expect(missing_docs, reason = "each is the kind of that name")]
pub enum AccessLogType {
    NotSet,
    TcpUpstreamConnected,
    TcpPeriodic,
    TcpConnectionEnd,
    DownstreamStart,
    DownstreamPeriodic,
    DownstreamEnd,
    UpstreamPoolReady,
    UpstreamPeriodic,
    UpstreamEnd,
    DownstreamTunnelSuccessfullyEstablished,
    UdpTunnelUpstreamConnected,
    UdpPeriodic,
    UdpSessionEnd,
}
