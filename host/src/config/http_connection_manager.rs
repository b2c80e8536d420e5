//! The HTTP connection manager.

use serde::{Deserialize, Serialize};

use crate::config::access_log::AccessLog;
use crate::config::address::CidrRange;
use crate::config::client_address::OriginalIpDetection;
use crate::config::client_cert_matcher::ClientCertMatcher;
use crate::config::filter::HttpFilter;
use crate::config::header::HeadMutation;
use crate::config::local_reply::LocalReplyConfig;
use crate::config::protocol::{Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions};
use crate::config::route::RouteConfiguration;
use crate::config::scalar::{Duration, Percent};

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)]
pub struct HttpConnectionManager {
    /// Which HTTP clients speak; told by their first bytes by default.
    #[serde(default)]
    pub codec_type: CodecType,
    /// What the statistics are called after.
    pub stat_prefix: String,
    /// Where the routes are.
    #[serde(rename = "oneof:route_specifier")]
    pub routes: RouteSpecifier,
    /// The HTTP filters, in their order.
    #[serde(default)]
    pub http_filters: Vec<HttpFilter>,
    /// Limits that all versions of HTTP have.
    #[serde(default)]
    pub common_http_protocol_options: Option<HttpProtocolOptions>,
    /// HTTP/1.
    #[serde(default)]
    pub http_protocol_options: Option<Http1ProtocolOptions>,
    /// HTTP/2.
    #[serde(default)]
    pub http2_protocol_options: Option<Http2ProtocolOptions>,
    /// The value of `server` in responses; `envoy` by default.
    #[serde(default)]
    pub server_name: String,
    /// What happens with `server` in responses.
    #[serde(default)]
    pub server_header_transformation: ServerHeaderTransformation,
    /// Largest head of a request in KiB; 60 by default.
    #[serde(default)]
    pub max_request_headers_kb: Option<u32>,
    /// Time without a byte in either direction of a stream; 5 min by default, 0 is without limit.
    #[serde(default)]
    pub stream_idle_timeout: Option<Duration>,
    /// Grace after the start of a drain; 5 s by default.
    #[serde(default)]
    pub drain_timeout: Option<Duration>,
    /// How long a client has to close after a response that closes; 1 s by default, 0 is not at
    /// all.
    #[serde(default)]
    pub delayed_close_timeout: Option<Duration>,
    /// The access logs.
    #[serde(default)]
    pub access_log: Vec<AccessLog>,
    /// Whether the address of the connection is the client's, and goes to `x-forwarded-for`; false
    /// by default.
    #[serde(default)]
    pub use_remote_address: Option<bool>,
    /// How many proxies in front of this one are trusted in `x-forwarded-for`.
    #[serde(default)]
    pub xff_num_trusted_hops: u32,
    /// Which addresses are internal, in place of the private ranges.
    #[serde(default)]
    pub internal_address_config: Option<InternalAddressConfig>,
    /// Whether `x-forwarded-for` stays as it is.
    #[serde(default)]
    pub skip_xff_append: bool,
    /// The value that is added to `via`; nothing by default.
    #[serde(default)]
    pub via: String,
    /// Whether a request without `x-request-id` gets one; true by default.
    #[serde(default)]
    pub generate_request_id: Option<bool>,
    /// Whether the `x-request-id` of an external client stays.
    #[serde(default)]
    pub preserve_external_request_id: bool,
    /// Whether responses have `x-request-id` as well.
    #[serde(default)]
    pub always_set_request_id_in_response: bool,
    /// How long a client may take to receive the rest of a response once all of that has come;
    /// `stream_idle_timeout` by default, 0 is without limit.
    #[serde(default)]
    pub stream_flush_timeout: Option<Duration>,
    /// Whether interim responses (1xx) are passed on, and `expect: 100-continue` is for the upstream
    /// to answer. The proxy does that itself by default.
    #[serde(default)]
    pub proxy_100_continue: bool,
    /// How requests are numbered.
    #[serde(default)]
    pub request_id_extension: Option<RequestIdExtension>,
    /// Whether upstreams are told `node.cluster` and `node.id`; false by default.
    #[serde(default)]
    pub add_user_agent: Option<bool>,
    /// Where the client's address comes from where `use_remote_address` is not set; the first that
    /// knows it counts.
    #[serde(default)]
    pub original_ip_detection_extensions: Vec<OriginalIpDetection>,
    /// Whether upstreams are told the port of the listener in `x-forwarded-port`.
    #[serde(default)]
    pub append_x_forwarded_port: bool,
    /// Whether IPv4 addresses of clients are shown as IPv6 ones; no effect, as in Envoy 1.40.
    #[serde(default)]
    pub represent_ipv4_remote_address_as_ipv4_mapped_ipv6: bool,
    /// What happens with `:scheme`.
    #[serde(default)]
    pub scheme_header_transformation: Option<SchemeHeaderTransformation>,
    /// What happens with `x-forwarded-client-cert`.
    #[serde(default)]
    pub forward_client_cert_details: ForwardClientCertDetails,
    /// What it says of the certificate of this connection. Without TLS there is none.
    #[serde(default)]
    pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
    /// Decides both by request; where it leads nowhere, they count.
    #[serde(default)]
    pub forward_client_cert_matcher: Option<Box<ClientCertMatcher>>,
    /// Whether a path is made canonical; false by default.
    #[serde(default)]
    pub normalize_path: Option<bool>,
    /// Whether several slashes of a path become one.
    #[serde(default)]
    pub merge_slashes: bool,
    /// What happens with escaped slashes of a path; nothing by default.
    #[serde(default)]
    pub path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
    /// Whether the listener's own port is taken out of `host`.
    #[serde(default)]
    pub strip_matching_host_port: bool,
    /// Whether any port is taken out of `host`.
    #[serde(default, rename = "oneof:strip_port_mode")]
    pub strip_port_mode: Option<StripPortMode>,
    /// Whether a dot at the end of `host` is taken out.
    #[serde(default)]
    pub strip_trailing_host_dot: bool,
    /// Time from the first byte of a request to its last; 0, the default, is without limit.
    #[serde(default)]
    pub request_timeout: Option<Duration>,
    /// Time from the first byte of a request to the end of its head; 0, the default, is without
    /// limit.
    #[serde(default)]
    pub request_headers_timeout: Option<Duration>,
    /// Whether `max_connection_duration` waits for a request to tell an HTTP/1 client.
    #[serde(default)]
    pub http1_safe_max_connection_duration: bool,
    /// Whether a connection goes on after a request that breaks HTTP's rules, where that is possible;
    /// false by default.
    #[serde(default)]
    pub stream_error_on_invalid_http_message: Option<bool>,
    /// Whether and how responses say in `proxy-status` what went wrong; not by default.
    #[serde(default)]
    pub proxy_status_config: Option<ProxyStatusConfig>,
    /// Changes to the heads of requests before anything else is done to them.
    #[serde(default)]
    pub early_header_mutation_extensions: Vec<EarlyHeaderMutation>,
    /// Entries of access logs before the end of a stream; none by default.
    #[serde(default)]
    pub access_log_options: Option<HcmAccessLogOptions>,
    /// Older form of `access_log_options.access_log_flush_interval`.
    #[serde(default)]
    pub access_log_flush_interval: Option<Duration>,
    /// Older form of `access_log_options.flush_access_log_on_new_request`.
    #[serde(default)]
    pub flush_access_log_on_new_request: bool,
    /// How responses look that the proxy makes itself.
    #[serde(default)]
    pub local_reply_config: Option<LocalReplyConfig>,
    /// The protocols that clients may change to; none by default.
    #[serde(default)]
    pub upgrade_configs: Vec<UpgradeConfig>,
    /// For which ports `x-forwarded-proto` says what.
    #[serde(default)]
    pub forward_proto_config: Option<ForwardProtoConfig>,
    /// No effect: only an overload manager refuses requests so that they would say it.
    #[serde(default)]
    pub append_local_overload: bool,
    /// No effect but for a warning, as in Envoy.
    #[serde(default)]
    pub path_normalization_options: Option<PathNormalizationOptions>,
    /// Which requests are traced. No effect: there is nobody who would be told.
    #[serde(default)]
    pub tracing: Option<Tracing>,
    /// Whether upstreams that get a header of the PROXY protocol are told this connection's addresses;
    /// true by default.
    #[serde(default)]
    pub add_proxy_protocol_connection_state: Option<bool>,
}

/// `HttpConnectionManager.Tracing`, without a `provider`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing"
)]
pub struct Tracing {
    /// Of the requests whose client wants it; all by default.
    #[serde(default)]
    pub client_sampling: Option<Percent>,
    /// Of the others; all by default.
    #[serde(default)]
    pub random_sampling: Option<Percent>,
    /// Of all of these; all by default.
    #[serde(default)]
    pub overall_sampling: Option<Percent>,
    /// Whether spans have events.
    #[serde(default)]
    pub verbose: bool,
    /// How much of the path they have.
    #[serde(default)]
    pub max_path_tag_length: Option<u32>,
    /// Whether what goes upstream is a span of its own.
    #[serde(default)]
    pub spawn_upstream_span: Option<bool>,
    /// What traces call the operation.
    #[serde(default)]
    pub operation: String,
    /// What they call it for the upstream.
    #[serde(default)]
    pub upstream_operation: String,
}

/// `ForwardProtoConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.http_connection_manager.v3.ForwardProtoConfig")]
pub struct ForwardProtoConfig {
    /// The ports of this side whose clients speak `https`, whatever comes in.
    #[serde(default)]
    pub https_destination_ports: Vec<u32>,
    /// Those whose clients speak `http`.
    #[serde(default)]
    pub http_destination_ports: Vec<u32>,
}

/// `HttpConnectionManager.PathNormalizationOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.PathNormalizationOptions"
)]
pub struct PathNormalizationOptions {
    /// What of a path goes upstream.
    #[serde(default)]
    pub forwarding_transformation: Option<PathTransformation>,
    /// What of it filters see.
    #[serde(default)]
    pub http_filter_transformation: Option<PathTransformation>,
}

/// `envoy.type.http.v3.PathTransformation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.http.v3.PathTransformation")]
pub struct PathTransformation {
    /// Steps.
    #[serde(default)]
    pub operations: Vec<PathOperation>,
}

/// `envoy.type.http.v3.PathTransformation.Operation`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.http.v3.PathTransformation.Operation")]
pub struct PathOperation {
    /// What is done.
    #[serde(rename = "oneof:operation_specifier")]
    pub operation: PathOperationKind,
}

/// `Operation.operation_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathOperationKind {
    /// As `normalize_path`.
    #[serde(rename = "normalize_path_rfc_3986")]
    Normalize(NormalizePathRfc3986),
    /// As `merge_slashes`.
    MergeSlashes(MergeSlashesOperation),
}

/// `envoy.type.http.v3.PathTransformation.Operation.NormalizePathRFC3986`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.http.v3.PathTransformation.Operation.NormalizePathRFC3986")]
pub struct NormalizePathRfc3986 {}

/// `envoy.type.http.v3.PathTransformation.Operation.MergeSlashes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.http.v3.PathTransformation.Operation.MergeSlashes")]
pub struct MergeSlashesOperation {}

impl HttpConnectionManager {
    /// The one kind of `route_specifier` that there is.
    #[must_use]
    pub const fn route_config(&self) -> &RouteConfiguration {
        let RouteSpecifier::RouteConfig(routes) = &self.routes;
        routes
    }
}

/// `HttpConnectionManager.route_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteSpecifier {
    /// Here.
    RouteConfig(RouteConfiguration),
}

/// `HttpConnectionManager.HcmAccessLogOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions"
)]
pub struct HcmAccessLogOptions {
    /// Time between two entries of a stream that lasts; none by default.
    #[serde(default)]
    pub access_log_flush_interval: Option<Duration>,
    /// Whether there is an entry when a request begins.
    #[serde(default)]
    pub flush_access_log_on_new_request: bool,
    /// Whether there is one when a tunnel is open.
    #[serde(default)]
    pub flush_log_on_tunnel_successfully_established: bool,
}

/// `HttpConnectionManager.ProxyStatusConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ProxyStatusConfig"
)]
pub struct ProxyStatusConfig {
    /// Whether the details of the response are left out.
    #[serde(default)]
    pub remove_details: bool,
    /// Whether the reason of a connection's end is left out of them.
    #[serde(default)]
    pub remove_connection_termination_details: bool,
    /// Whether the response flags are left out of them.
    #[serde(default)]
    pub remove_response_flags: bool,
    /// Whether the response has the status that RFC 9209 recommends.
    #[serde(default)]
    pub set_recommended_response_code: bool,
    /// What the proxy calls itself; `server_name` by default.
    #[serde(default, rename = "oneof:proxy_name")]
    pub proxy_name: Option<ProxyName>,
}

/// `ProxyStatusConfig.proxy_name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyName {
    /// Whether `node.id` is the name.
    UseNodeId(bool),
    /// By this.
    LiteralProxyName(String),
}

/// An entry of `early_header_mutation_extensions`: an `envoy.config.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct EarlyHeaderMutation {
    /// Any name.
    pub name: String,
    /// The extension.
    #[serde(rename = "any:typed_config")]
    pub typed_config: EarlyHeaderMutationConfig,
}

/// The early changes that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:early header mutation")]
pub enum EarlyHeaderMutationConfig {
    /// One after another.
    #[serde(
        rename = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    )]
    HeaderMutation(EarlyHeaderMutations),
}

/// `envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation")]
pub struct EarlyHeaderMutations {
    /// The changes.
    pub mutations: Vec<HeadMutation>,
}

/// `HttpConnectionManager.CodecType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.CodecType",
    rename_all = "UPPERCASE"
)]
pub enum CodecType {
    /// HTTP/2 where the connection begins with its preface, else HTTP/1.
    #[default]
    Auto,
    /// HTTP/1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

/// `HttpConnectionManager.ServerHeaderTransformation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ServerHeaderTransformation",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ServerHeaderTransformation {
    /// The upstream's is replaced.
    #[default]
    Overwrite,
    /// The upstream's stays.
    AppendIfAbsent,
    /// Nothing is added.
    PassThrough,
}

/// `HttpConnectionManager.UpgradeConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig"
)]
pub struct UpgradeConfig {
    /// What `upgrade` says, such as `websocket`, or `CONNECT`; case does not count.
    #[serde(default)]
    pub upgrade_type: String,
    /// The filters of such requests; those of all others by default.
    #[serde(default)]
    pub filters: Vec<HttpFilter>,
    /// Whether it is allowed where a route does not say; true by default.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// `HttpConnectionManager.InternalAddressConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig"
)]
pub struct InternalAddressConfig {
    /// Whether clients on a Unix socket are internal.
    #[serde(default)]
    pub unix_sockets: bool,
    /// The internal ranges.
    #[serde(default)]
    pub cidr_ranges: Vec<CidrRange>,
}

/// `HttpConnectionManager.strip_port_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StripPortMode {
    /// Any port.
    StripAnyHostPort(bool),
}

/// `HttpConnectionManager.PathWithEscapedSlashesAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.PathWithEscapedSlashesAction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum PathWithEscapedSlashesAction {
    /// As `KEEP_UNCHANGED`.
    #[default]
    ImplementationSpecificDefault,
    /// They stay.
    KeepUnchanged,
    /// 400.
    RejectRequest,
    /// They are unescaped, and the client is sent there.
    UnescapeAndRedirect,
    /// They are unescaped.
    UnescapeAndForward,
}

/// `HttpConnectionManager.ForwardClientCertDetails`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertDetails",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ForwardClientCertDetails {
    /// It is removed.
    #[default]
    Sanitize,
    /// It is kept where the client proved who it is.
    ForwardOnly,
    /// The client's certificate is added to it.
    AppendForward,
    /// The client's certificate is put in its place.
    SanitizeSet,
    /// It is kept.
    AlwaysForwardOnly,
}

/// `HttpConnectionManager.SetCurrentClientCertDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails"
)]
pub struct SetCurrentClientCertDetails {
    /// The subject; false by default.
    #[serde(default)]
    pub subject: Option<bool>,
    /// The certificate.
    #[serde(default)]
    pub cert: bool,
    /// The certificates that vouch for it as well.
    #[serde(default)]
    pub chain: bool,
    /// The DNS names.
    #[serde(default)]
    pub dns: bool,
    /// The URI.
    #[serde(default)]
    pub uri: bool,
}

/// `envoy.config.core.v3.SchemeHeaderTransformation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.SchemeHeaderTransformation")]
pub struct SchemeHeaderTransformation {
    /// What is put in its place.
    #[serde(default, rename = "oneof:transformation")]
    pub transformation: Option<SchemeTransformation>,
    /// Whether it is the upstream's instead, whether that is reached over TLS.
    #[serde(default)]
    pub match_upstream: bool,
}

/// `SchemeHeaderTransformation.transformation`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemeTransformation {
    /// `http` or `https`.
    SchemeToOverwrite(String),
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension")]
pub struct RequestIdExtension {
    /// The extension; UUIDs by default.
    #[serde(default, rename = "any:typed_config")]
    pub typed_config: Option<RequestIdConfig>,
}

/// The extensions that number requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:request ID extension")]
pub enum RequestIdConfig {
    /// Random UUIDs.
    #[serde(rename = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig")]
    Uuid(UuidRequestIdConfig),
}

/// `envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig")]
pub struct UuidRequestIdConfig {
    /// Whether an identifier says why its request is traced; true by default.
    #[serde(default)]
    pub pack_trace_reason: Option<bool>,
    /// Whether an identifier decides what is traced; true by default. Nothing is traced.
    #[serde(default)]
    pub use_request_id_for_trace_sampling: Option<bool>,
}
