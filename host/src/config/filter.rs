//! HTTP filters and what each is configured by: those that are short here, one file for each other.

pub mod buffer;
pub mod cors;
pub mod csrf;
pub mod fault;
pub mod grpc_stats;
pub mod header_to_metadata;
pub mod health_check;
pub mod per_route;
pub mod stateful_session;

use serde::{Deserialize, Serialize};

use crate::config::access_log::AccessLog;
use crate::config::filter::buffer::Buffer;
use crate::config::filter::cors::Cors;
use crate::config::filter::csrf::CsrfPolicy;
use crate::config::filter::fault::HttpFault;
use crate::config::filter::grpc_stats::GrpcStats;
use crate::config::filter::header_to_metadata::HeaderToMetadata;
use crate::config::filter::health_check::HttpHealthFilter;
use crate::config::filter::per_route::Nothing;
use crate::config::filter::stateful_session::StatefulSession;
use crate::config::header::{HeaderMutation, HeaderValueOption};
use crate::config::scalar::{
    ByteSize, CallTime, Duration, RawValue, RuntimeFractionalPercent, StatusCode,
};

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter")]
pub struct HttpFilter {
    /// Any name, for statistics, logs and configuration of routes.
    pub name: String,
    /// The filter.
    #[serde(rename = "any:typed_config")]
    pub typed_config: HttpFilterConfig,
    /// Whether the filter is left out but for routes that enable it.
    #[serde(default)]
    pub disabled: bool,
    /// Whether the chain can do without it, where there is no such filter.
    #[serde(default)]
    pub is_optional: bool,
}

/// The HTTP filters that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:HTTP filter")]
pub enum HttpFilterConfig {
    /// Ends the chain: to the upstream.
    #[serde(rename = "envoy.extensions.filters.http.router.v3.Router")]
    Router(Router),
    /// Limits the rate of requests.
    #[serde(rename = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")]
    LocalRateLimit(Box<LocalRateLimit>),
    /// Changes header fields.
    #[serde(rename = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation")]
    HeaderMutation(HeaderMutationFilter),
    /// Answers questions of browsers about other origins.
    #[serde(rename = "envoy.extensions.filters.http.cors.v3.Cors")]
    Cors(Cors),
    /// Refuses requests that other sites make.
    #[serde(rename = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy")]
    Csrf(CsrfPolicy),
    /// Lets gRPC-Web clients speak to gRPC servers.
    #[serde(rename = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb")]
    GrpcWeb(GrpcWeb),
    /// Lets HTTP/1 clients call gRPC services.
    #[serde(rename = "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config")]
    GrpcHttp1Bridge(GrpcHttp1Bridge),
    /// Holds requests back until their bodies are there.
    #[serde(rename = "envoy.extensions.filters.http.buffer.v3.Buffer")]
    Buffer(Buffer),
    /// Answers some requests with errors.
    #[serde(rename = "envoy.extensions.filters.http.fault.v3.HTTPFault")]
    Fault(Box<HttpFault>),
    /// Leaves values of headers as metadata.
    #[serde(rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config")]
    HeaderToMetadata(HeaderToMetadata),
    /// Answers who asks how the proxy is.
    #[serde(rename = "envoy.extensions.filters.http.health_check.v3.HealthCheck")]
    HealthCheck(HttpHealthFilter),
    /// Counts calls of gRPC.
    #[serde(rename = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig")]
    GrpcStats(GrpcStats),
    /// Sends the requests of a session to one endpoint.
    #[serde(rename = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession")]
    StatefulSession(StatefulSession),
    /// A filter of the user.
    #[serde(rename = "nuncio.filters.http.wasm.v1.Wasm")]
    Wasm(Wasm),
    /// A filter that there is not here, and that is optional.
    #[serde(rename = "")]
    PassedOver(Nothing),
}

/// `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.router.v3.Router")]
pub struct Router {
    /// Whether the `x-envoy-` fields are not added to requests and responses.
    #[serde(default)]
    pub suppress_envoy_headers: bool,
    /// No effect: nothing is traced.
    #[serde(default)]
    pub start_child_span: bool,
    /// Whether the time that a proxy before this one gives in `x-envoy-expected-rq-timeout-ms` counts in
    /// place of what the client says in `x-envoy-upstream-rq-timeout-ms`.
    #[serde(default)]
    pub respect_expected_rq_timeout: bool,
    /// Control fields of requests that are refused where their value would be ignored.
    #[serde(default)]
    pub strict_check_headers: Vec<String>,
    /// Whether responses are counted by their status; true by default. No effect: they are.
    #[serde(default)]
    pub dynamic_stats: Option<bool>,
    /// Whether the proxy's own replies to gRPC requests are not counted by their status. No effect: they
    /// are.
    #[serde(default)]
    pub suppress_grpc_request_failure_code_stats: bool,
    /// Access logs with an entry for each attempt at an upstream.
    #[serde(default, skip_serializing)]
    pub upstream_log: Vec<AccessLog>,
    /// When these have entries besides.
    #[serde(default, skip_serializing)]
    pub upstream_log_options: Option<UpstreamAccessLogOptions>,
}

/// `Router.UpstreamAccessLogOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.router.v3.Router.UpstreamAccessLogOptions")]
pub struct UpstreamAccessLogOptions {
    /// Whether there is one as soon as an attempt has its connection.
    #[serde(default)]
    pub flush_upstream_log_on_upstream_stream: bool,
}

/// `envoy.extensions.filters.http.grpc_web.v3.GrpcWeb`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb")]
pub struct GrpcWeb {}

/// `envoy.extensions.filters.http.grpc_http1_bridge.v3.Config`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config")]
pub struct GrpcHttp1Bridge {
    /// Whether upstreams get no query parameters of bridged calls.
    #[serde(default)]
    pub ignore_query_parameters: bool,
    /// Whether a request with a message of Protobuf (`application/x-protobuf`) becomes a call.
    #[serde(default)]
    pub upgrade_protobuf_to_grpc: bool,
}

/// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")]
pub struct LocalRateLimit {
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// The status of a refusal; 429 by default, and where it is below 400.
    #[serde(default)]
    pub status: Option<HttpStatus>,
    /// The limit.
    #[serde(default)]
    pub token_bucket: Option<TokenBucket>,
    /// For how many requests the limit is looked at; for none by default.
    #[serde(default)]
    pub filter_enabled: Option<RuntimeFractionalPercent>,
    /// Of those above the limit, how many are refused; none by default.
    #[serde(default)]
    pub filter_enforced: Option<RuntimeFractionalPercent>,
    /// Fields added to requests that are above the limit and not refused; at most 10.
    #[serde(default)]
    pub request_headers_to_add_when_not_enforced: Vec<HeaderValueOption>,
    /// Fields added to refusals; at most 10.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Whether each connection has a bucket of its own; an error, as that is not there.
    #[serde(default, skip_serializing)]
    pub local_rate_limit_per_downstream_connection: bool,
    /// Whether a refused gRPC call gets `RESOURCE_EXHAUSTED` in place of `UNAVAILABLE`.
    #[serde(default)]
    pub rate_limited_as_resource_exhausted: bool,
}

/// `envoy.type.v3.HttpStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.HttpStatus")]
pub struct HttpStatus {
    /// The status.
    pub code: StatusCode,
}

/// `envoy.type.v3.TokenBucket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.TokenBucket")]
pub struct TokenBucket {
    /// How many tokens there are at most, and at the start.
    pub max_tokens: u32,
    /// How many are added at a time; 1 by default.
    #[serde(default)]
    pub tokens_per_fill: Option<u32>,
    /// How often; more than 0.
    pub fill_interval: Duration,
}

/// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation")]
pub struct HeaderMutationFilter {
    /// The changes.
    #[serde(default)]
    pub mutations: Mutations,
    /// Whether those of the route come last, and so win; those of the route configuration do by
    /// default.
    #[serde(default)]
    pub most_specific_header_mutations_wins: bool,
}

/// `envoy.extensions.filters.http.header_mutation.v3.Mutations`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.header_mutation.v3.Mutations")]
pub struct Mutations {
    /// To requests, in their order.
    #[serde(default)]
    pub request_mutations: Vec<HeaderMutation>,
    /// To responses, in their order.
    #[serde(default)]
    pub response_mutations: Vec<HeaderMutation>,
    /// To the parameters of the query, in their order.
    #[serde(default)]
    pub query_parameter_mutations: Vec<KeyValueMutation>,
    /// To trailers of requests.
    #[serde(default)]
    pub request_trailers_mutations: Vec<HeaderMutation>,
    /// To trailers of responses.
    #[serde(default)]
    pub response_trailers_mutations: Vec<HeaderMutation>,
}

/// `envoy.config.core.v3.KeyValueMutation`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.KeyValueMutation")]
pub struct KeyValueMutation {
    /// Adds one.
    #[serde(default)]
    pub append: Option<KeyValueAppend>,
    /// Removes all of that name.
    #[serde(default)]
    pub remove: String,
}

/// `envoy.config.core.v3.KeyValueAppend`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.KeyValueAppend")]
pub struct KeyValueAppend {
    /// What is added.
    pub record: KeyValuePair,
    /// What happens where there is one already.
    #[serde(default)]
    pub action: KeyValueAppendAction,
}

/// `envoy.config.core.v3.KeyValuePair`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.KeyValuePair")]
pub struct KeyValuePair {
    /// The name.
    pub key: String,
    /// The value: a format.
    #[serde(default)]
    pub value: String,
}

/// `envoy.config.core.v3.KeyValueAppend.KeyValueAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.KeyValueAppend.KeyValueAppendAction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum KeyValueAppendAction {
    /// Add another one.
    #[default]
    AppendIfExistsOrAdd,
    /// Add unless there is one.
    AddIfAbsent,
    /// Replace, or add.
    OverwriteIfExistsOrAdd,
    /// Replace, or do nothing.
    OverwriteIfExists,
}

/// `nuncio.filters.http.wasm.v1.Wasm`: a filter that is a Wasm component of the user.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "nuncio.filters.http.wasm.v1.Wasm")]
pub struct Wasm {
    /// The component.
    pub component: Component,
    /// What the filter gets as its configuration, as JSON; nothing by default.
    #[serde(default)]
    pub configuration: Option<RawValue>,
    /// What a failure of the filter does to a request.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// How many streams share an instance.
    #[serde(default)]
    pub isolation: Isolation,
    /// What an instance may use.
    #[serde(default)]
    pub limits: WasmLimits,
}

/// `nuncio.filters.http.wasm.v1.Wasm.Component`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "nuncio.filters.http.wasm.v1.Wasm.Component")]
pub struct Component {
    /// Where it is.
    #[serde(rename = "oneof:specifier")]
    pub specifier: ComponentSpecifier,
}

impl Component {
    /// The one kind of place that there is.
    #[must_use]
    pub const fn filename(&self) -> &str {
        let ComponentSpecifier::Filename(filename) = &self.specifier;
        filename.as_str()
    }
}

/// `Component.specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentSpecifier {
    /// A `.wasm` component, or a precompiled `.cwasm`.
    Filename(String),
}

/// What a failure of a filter does to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "nuncio.filters.http.wasm.v1.Wasm.FailurePolicy",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum FailurePolicy {
    /// It is answered with 500.
    #[default]
    FailClosed,
    /// It goes on without the filter.
    FailOpen,
}

/// How many streams share an instance of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "nuncio.filters.http.wasm.v1.Wasm.Isolation",
    rename_all = "UPPERCASE"
)]
pub enum Isolation {
    /// All of a worker.
    #[default]
    Shared,
    /// One at a time.
    Exclusive,
    /// One, ever.
    Fresh,
}

/// `nuncio.filters.http.wasm.v1.Wasm.Limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "nuncio.filters.http.wasm.v1.Wasm.Limits")]
pub struct WasmLimits {
    /// Memory of one instance; 16 MiB by default.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// Time of one call; 5 ms by default.
    #[serde(default)]
    pub cpu_per_call: Option<CallTime>,
}
