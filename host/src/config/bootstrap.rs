//! The whole file: `envoy.config.bootstrap.v3`.

use serde::{Deserialize, Serialize};

use crate::config::admin::Admin;
use crate::config::cluster::Cluster;
use crate::config::dns::{DnsResolutionConfig, ResolverExtension};
use crate::config::endpoint::Locality;
use crate::config::listener::Listener;
use crate::config::matcher::{ListStringMatcher, StringMatcher};
use crate::config::scalar::{Duration, Percent, Struct};
use crate::config::tls::Secret;
use crate::config::upstream_connection::BindConfig;

/// `envoy.config.bootstrap.v3.Bootstrap`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Bootstrap")]
pub struct Bootstrap {
    /// Who this proxy is.
    #[serde(default)]
    pub node: Option<Node>,
    /// The administration server; without one there is none.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// What all clusters have in common.
    #[serde(default)]
    pub cluster_manager: Option<ClusterManager>,
    /// What the file itself configures.
    #[serde(default)]
    pub static_resources: StaticResources,
    /// The layers of runtime values; none by default.
    #[serde(default)]
    pub layered_runtime: Option<LayeredRuntime>,
    /// Older form of `dns_resolver_options.use_tcp_for_dns_lookups`.
    #[serde(default)]
    pub use_tcp_for_dns_lookups: bool,
    /// Older form of `typed_dns_resolver_config`.
    #[serde(default)]
    pub dns_resolution_config: Option<DnsResolutionConfig>,
    /// Who resolves names for clusters that do not say so themselves.
    #[serde(default)]
    pub typed_dns_resolver_config: Option<ResolverExtension>,
    /// No effect: statistics are sent to nobody.
    #[serde(default)]
    pub stats_flush_interval: Option<Duration>,
    /// The same.
    #[serde(default, rename = "oneof:stats_flush")]
    pub stats_flush: Option<StatsFlush>,
    /// Older form of `watchdogs`.
    #[serde(default)]
    pub watchdog: Option<Watchdog>,
    /// What happens when a thread hangs. No effect but for a warning: no thread is killed.
    #[serde(default)]
    pub watchdogs: Option<Watchdogs>,
    /// No effect: there is no event dispatcher of Envoy's.
    #[serde(default)]
    pub enable_dispatcher_stats: bool,
    /// What control fields begin with; `x-envoy`, which is all that there is.
    #[serde(default)]
    pub header_prefix: String,
    /// The engine of regular expressions; there is one.
    #[serde(default)]
    pub default_regex_engine: Option<RegexEngineExtension>,
    /// Extensions of the process.
    #[serde(default)]
    pub bootstrap_extensions: Vec<BootstrapExtension>,
    /// No effect: the allocator gives memory back by itself.
    #[serde(default)]
    pub memory_allocator_manager: Option<MemoryAllocatorManager>,
    /// No effect, as in Envoy: where older versions looked for flags.
    #[serde(default)]
    pub flags_path: String,
    /// The number that `server.version` shows in Envoy, where there is none here. No effect.
    #[serde(default)]
    pub stats_server_version_override: Option<u64>,
    /// No effect, as in Envoy: the sockets are those of the system.
    #[serde(default)]
    pub default_socket_interface: String,
    /// No effect: nothing is traced.
    #[serde(default)]
    pub perf_tracing_file_path: String,
    /// No effect: statistics stay.
    #[serde(default)]
    pub stats_eviction_interval: Option<Duration>,
    /// Fields of heads that are found fast. No effect: all are.
    #[serde(default)]
    pub inline_headers: Vec<CustomInlineHeader>,
    /// Parameters that management servers get. No effect: there is none.
    #[serde(default)]
    pub node_context_params: Vec<String>,
    /// How statistics are named.
    #[serde(default)]
    pub stats_config: Option<StatsConfig>,
    /// When statistics are made. No effect: when they are first needed.
    #[serde(default)]
    pub deferred_stat_options: Option<DeferredStatOptions>,
}

/// `envoy.config.bootstrap.v3.CustomInlineHeader`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.CustomInlineHeader")]
pub struct CustomInlineHeader {
    /// The name of the field.
    pub inline_header_name: String,
    /// Of which heads.
    #[serde(default)]
    pub inline_header_type: InlineHeaderType,
}

/// `envoy.config.bootstrap.v3.CustomInlineHeader.InlineHeaderType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.bootstrap.v3.CustomInlineHeader.InlineHeaderType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum InlineHeaderType {
    /// Of requests.
    #[default]
    RequestHeader,
    /// Trailers of requests.
    RequestTrailer,
    /// Of responses.
    ResponseHeader,
    /// Trailers of responses.
    ResponseTrailer,
}

/// `envoy.config.metrics.v3.StatsConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.metrics.v3.StatsConfig")]
pub struct StatsConfig {
    /// Labels beside those that Envoy has by default.
    #[serde(default)]
    pub stats_tags: Vec<TagSpecifier>,
    /// Whether those are there that Envoy has by default; true by default.
    #[serde(default)]
    pub use_all_default_tags: Option<bool>,
    /// Which statistics there are; all by default.
    #[serde(default)]
    pub stats_matcher: Option<StatsMatcher>,
    /// Where the buckets of histograms end.
    #[serde(default)]
    pub histogram_bucket_settings: Vec<HistogramBucketSettings>,
}

/// `envoy.config.metrics.v3.TagSpecifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.metrics.v3.TagSpecifier")]
pub struct TagSpecifier {
    /// What the label is called.
    #[serde(default)]
    pub tag_name: String,
    /// Where its value comes from; one of Envoy's own knows that.
    #[serde(default, rename = "oneof:tag_value")]
    pub value: Option<TagValue>,
}

/// `TagSpecifier.tag_value`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TagValue {
    /// What the first group finds is taken out of the name, and the second one's text, or else the same, is
    /// the value.
    Regex(String),
    /// The value of all statistics.
    FixedValue(String),
}

/// `envoy.config.metrics.v3.StatsMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.metrics.v3.StatsMatcher")]
pub struct StatsMatcher {
    /// Which.
    #[serde(rename = "oneof:stats_matcher")]
    pub stats_matcher: StatsMatch,
}

/// `StatsMatcher.stats_matcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsMatch {
    /// Whether there are none.
    RejectAll(bool),
    /// All but these.
    ExclusionList(ListStringMatcher),
    /// These alone.
    InclusionList(ListStringMatcher),
}

/// `envoy.config.metrics.v3.HistogramBucketSettings`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.metrics.v3.HistogramBucketSettings")]
pub struct HistogramBucketSettings {
    /// Of which histograms.
    pub r#match: StringMatcher,
    /// The upper bounds of the buckets.
    #[serde(default)]
    pub buckets: Vec<f64>,
    /// How many bins values are kept in. No effect: there are as many as there are values apart.
    #[serde(default)]
    pub bins: Option<u32>,
}

/// `envoy.config.bootstrap.v3.Bootstrap.DeferredStatOptions`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Bootstrap.DeferredStatOptions")]
pub struct DeferredStatOptions {
    /// Whether they are made late.
    #[serde(default)]
    pub enable_deferred_creation_stats: bool,
}

/// `Bootstrap.stats_flush`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsFlush {
    /// Whether they are sent when the admin page is asked for.
    StatsFlushOnAdmin(bool),
}

/// `envoy.config.bootstrap.v3.Watchdogs`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Watchdogs")]
pub struct Watchdogs {
    /// For the main thread.
    #[serde(default)]
    pub main_thread_watchdog: Option<Watchdog>,
    /// For workers.
    #[serde(default)]
    pub worker_watchdog: Option<Watchdog>,
}

/// `envoy.config.bootstrap.v3.Watchdog`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Watchdog")]
pub struct Watchdog {
    /// After which time without a sign of life a thread is counted.
    #[serde(default)]
    pub miss_timeout: Option<Duration>,
    /// The same, for long ones.
    #[serde(default)]
    pub megamiss_timeout: Option<Duration>,
    /// After which time the process is killed; never by default.
    #[serde(default)]
    pub kill_timeout: Option<Duration>,
    /// How much is added to that by chance.
    #[serde(default)]
    pub max_kill_timeout_jitter: Option<Duration>,
    /// After which time it is where several threads hang; never by default.
    #[serde(default)]
    pub multikill_timeout: Option<Duration>,
    /// How many percent of the threads that are.
    #[serde(default)]
    pub multikill_threshold: Option<Percent>,
}

impl Watchdog {
    /// The field by which the process would be killed, where there is one.
    #[must_use]
    pub fn kills(&self) -> Option<&'static str> {
        let is_set =
            |after: Option<Duration>| after.is_some_and(|after| after.non_zero().is_some());
        if is_set(self.kill_timeout) {
            return Some("kill_timeout");
        }
        is_set(self.multikill_timeout).then_some("multikill_timeout")
    }
}

/// `envoy.config.core.v3.TypedExtensionConfig` of an engine of regular expressions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct RegexEngineExtension {
    /// Any name.
    #[serde(default)]
    pub name: String,
    /// The engine.
    #[serde(rename = "any:typed_config")]
    pub typed_config: RegexEngine,
}

/// The engines.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:engine of regular expressions")]
pub enum RegexEngine {
    /// RE2, whose syntax is that of all expressions here.
    #[serde(rename = "envoy.extensions.regex_engines.v3.GoogleRE2")]
    GoogleRe2(GoogleRe2Engine),
}

/// `envoy.extensions.regex_engines.v3.GoogleRE2`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.regex_engines.v3.GoogleRE2")]
pub struct GoogleRe2Engine {}

/// `envoy.config.core.v3.TypedExtensionConfig` of the process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct BootstrapExtension {
    /// Any name.
    #[serde(default)]
    pub name: String,
    /// The extension.
    #[serde(rename = "any:typed_config")]
    pub typed_config: BootstrapExtensionConfig,
}

/// The extensions of the process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:bootstrap extension")]
pub enum BootstrapExtensionConfig {
    /// Listeners inside of the process. There are none, so this changes nothing.
    #[serde(rename = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener")]
    InternalListener(InternalListener),
}

/// `envoy.extensions.bootstrap.internal_listener.v3.InternalListener`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener")]
pub struct InternalListener {
    /// How much a connection inside of the process holds.
    #[serde(default)]
    pub buffer_size_kb: Option<u32>,
}

/// `envoy.config.bootstrap.v3.MemoryAllocatorManager`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.MemoryAllocatorManager")]
pub struct MemoryAllocatorManager {
    /// How much is given back at a time.
    #[serde(default)]
    pub bytes_to_release: u64,
    /// How often.
    #[serde(default)]
    pub memory_release_interval: Option<Duration>,
}

/// `envoy.config.bootstrap.v3.LayeredRuntime`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.LayeredRuntime")]
pub struct LayeredRuntime {
    /// The layers, of which a later one overrides an earlier one; where it is empty, one that the
    /// admin server changes.
    #[serde(default)]
    pub layers: Vec<RuntimeLayer>,
}

/// `envoy.config.bootstrap.v3.RuntimeLayer`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.RuntimeLayer")]
pub struct RuntimeLayer {
    /// The name, unique.
    pub name: String,
    /// Where the values come from.
    #[serde(rename = "oneof:layer_specifier")]
    pub layer: LayerSpecifier,
}

/// `RuntimeLayer.layer_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerSpecifier {
    /// Here.
    StaticLayer(Struct),
    /// A directory.
    DiskLayer(DiskLayer),
    /// The admin server: `/runtime_modify`.
    AdminLayer(AdminLayer),
}

/// `envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer")]
pub struct DiskLayer {
    /// The symbolic link that is watched: a new target is read at once.
    #[serde(default)]
    pub symlink_root: String,
    /// A folder in it.
    #[serde(default)]
    pub subdirectory: String,
    /// Whether a folder of the service cluster's name follows.
    #[serde(default)]
    pub append_service_cluster: bool,
}

/// `envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer")]
pub struct AdminLayer {}

/// `envoy.config.bootstrap.v3.ClusterManager`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.ClusterManager")]
pub struct ClusterManager {
    /// The cluster that this proxy is in itself, for zone-aware routing.
    #[serde(default)]
    pub local_cluster_name: String,
    /// What outlier detection writes down.
    #[serde(default)]
    pub outlier_detection: Option<OutlierEvents>,
    /// Where connections come from of clusters that do not say it themselves.
    #[serde(default)]
    pub upstream_bind_config: Option<BindConfig>,
    /// Whether clusters are made when they are first needed. No effect: a cluster costs little.
    #[serde(default)]
    pub enable_deferred_cluster_creation: bool,
}

/// `envoy.config.bootstrap.v3.ClusterManager.OutlierDetection`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection")]
pub struct OutlierEvents {
    /// The file that events are appended to.
    #[serde(default)]
    pub event_log_path: String,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Node")]
pub struct Node {
    /// The name of this proxy; `--service-node` sets it as well.
    #[serde(default)]
    pub id: String,
    /// The name of the group that this proxy is one of; `--service-cluster` sets it as well.
    #[serde(default)]
    pub cluster: String,
    /// Where this proxy is.
    #[serde(default)]
    pub locality: Option<Locality>,
    /// For management servers and who reads the configuration.
    #[serde(default)]
    pub metadata: Option<Struct>,
    /// The same: what this proxy says that it is.
    #[serde(default)]
    pub user_agent_name: String,
    /// The same.
    #[serde(default, rename = "oneof:user_agent_version_type")]
    pub user_agent_version: Option<UserAgentVersion>,
    /// The same: what it understands.
    #[serde(default)]
    pub client_features: Vec<String>,
}

/// `Node.user_agent_version_type`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserAgentVersion {
    /// As text.
    UserAgentVersion(String),
}

/// `envoy.config.bootstrap.v3.Bootstrap.StaticResources`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Bootstrap.StaticResources")]
pub struct StaticResources {
    /// What is listened on.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// The upstreams that routes name.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Certificates and what peers have to show, by name.
    #[serde(default)]
    pub secrets: Vec<Secret>,
}
