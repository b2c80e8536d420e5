//! How a cluster chooses endpoints: the options of `envoy.config.cluster.v3.Cluster`, and the
//! policies of `envoy.extensions.load_balancing_policies` that say the same.

use serde::{Deserialize, Serialize};

use crate::config::scalar::{Duration, Percent, RuntimeDouble, Struct};

/// `envoy.config.cluster.v3.Cluster.SlowStartConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.SlowStartConfig")]
pub struct SlowStartConfig {
    /// How long an endpoint takes to get its whole share; without one there is no slow start.
    #[serde(default)]
    pub slow_start_window: Option<Duration>,
    /// How fast the share grows; 1.0 by default, which is linear.
    #[serde(default)]
    pub aggression: Option<RuntimeDouble>,
    /// The least part of its weight that an endpoint has; 10 % by default.
    #[serde(default)]
    pub min_weight_percent: Option<Percent>,
}

/// `envoy.config.cluster.v3.Cluster.RoundRobinLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig")]
pub struct RoundRobinLbConfig {
    /// New endpoints get their share little by little.
    #[serde(default)]
    pub slow_start_config: Option<SlowStartConfig>,
}

/// `envoy.config.cluster.v3.Cluster.LeastRequestLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig")]
pub struct LeastRequestLbConfig {
    /// How many endpoints are looked at; 2 by default, at least 2.
    #[serde(default)]
    pub choice_count: Option<u32>,
    /// How much requests under way count where weights differ; 1.0 by default.
    #[serde(default)]
    pub active_request_bias: Option<RuntimeDouble>,
    /// New endpoints get their share little by little.
    #[serde(default)]
    pub slow_start_config: Option<SlowStartConfig>,
}

/// `envoy.config.cluster.v3.Cluster.RingHashLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.RingHashLbConfig")]
pub struct RingHashLbConfig {
    /// The least number of points of the ring; 1024 by default.
    #[serde(default)]
    pub minimum_ring_size: Option<u64>,
    /// The hash that places endpoints.
    #[serde(default)]
    pub hash_function: HashFunction,
    /// The greatest number of points; 8388608 by default.
    #[serde(default)]
    pub maximum_ring_size: Option<u64>,
}

/// `envoy.config.cluster.v3.Cluster.RingHashLbConfig.HashFunction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.RingHashLbConfig.HashFunction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum HashFunction {
    /// xxHash64.
    #[default]
    XxHash,
    /// MurmurHash2.
    #[serde(rename = "MURMUR_HASH_2")]
    MurmurHash2,
}

/// `envoy.config.cluster.v3.Cluster.MaglevLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.MaglevLbConfig")]
pub struct MaglevLbConfig {
    /// The size of the table, a prime; 65537 by default.
    #[serde(default)]
    pub table_size: Option<u64>,
}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.CommonLbConfig")]
pub struct CommonLbConfig {
    /// With less of the endpoints healthy than this, all are used; 50 % by default, 0 is never.
    #[serde(default)]
    pub healthy_panic_threshold: Option<Percent>,
    /// How localities are taken into account.
    #[serde(default, rename = "oneof:locality_config_specifier")]
    pub locality: Option<LocalityConfig>,
    /// Whether an endpoint that no health check has looked at yet does not count for the health of
    /// the others.
    #[serde(default)]
    pub ignore_new_hosts_until_first_hc: bool,
    /// Options of `RING_HASH` and `MAGLEV`.
    #[serde(default)]
    pub consistent_hashing_lb_config: Option<ConsistentHashingLbConfig>,
    /// What changes about endpoints within it is taken at once; 1 s by default, 0 is never.
    #[serde(default)]
    pub update_merge_window: Option<Duration>,
    /// The health that an endpoint must have for a request to be pinned to it.
    #[serde(default)]
    pub override_host_status: Option<HealthStatusSet>,
    /// Whether requests use new connections whenever endpoints come, go or change their health.
    #[serde(default)]
    pub close_connections_on_host_set_change: bool,
}

/// `CommonLbConfig.locality_config_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalityConfig {
    /// The proxy's own first. Without a `local_cluster_name` this only says what a panic does.
    ZoneAwareLbConfig(ZoneAwareLbConfig),
    /// By their weights.
    LocalityWeightedLbConfig(LocalityWeightedLbConfig),
}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig")]
pub struct ZoneAwareLbConfig {
    /// Which part of the requests stays in the proxy's locality as far as that is possible; all by
    /// default.
    #[serde(default)]
    pub routing_enabled: Option<Percent>,
    /// With fewer healthy endpoints locality does not matter; 6 by default.
    #[serde(default)]
    pub min_cluster_size: Option<u64>,
    /// Whether a panic fails requests instead of using all endpoints.
    #[serde(default)]
    pub fail_traffic_on_panic: bool,
}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig")]
pub struct LocalityWeightedLbConfig {}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig")]
pub struct ConsistentHashingLbConfig {
    /// Whether endpoints are placed by their names.
    #[serde(default)]
    pub use_hostname_for_hashing: bool,
    /// How much more than its share of requests an endpoint may have, in percent of it.
    #[serde(default)]
    pub hash_balance_factor: Option<u32>,
}

/// `envoy.config.core.v3.HealthStatusSet`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HealthStatusSet")]
pub struct HealthStatusSet {
    /// The statuses.
    #[serde(default)]
    pub statuses: Vec<HealthStatus>,
}

/// `envoy.config.core.v3.HealthStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.HealthStatus",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum HealthStatus {
    /// Not known: as good as healthy.
    #[default]
    Unknown,
    /// Healthy.
    Healthy,
    /// Not to be used.
    Unhealthy,
    /// Not to be used any more.
    Draining,
    /// Not to be used.
    Timeout,
    /// To be used where healthy ones do not suffice.
    Degraded,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.LbSubsetConfig")]
pub struct LbSubsetConfig {
    /// Who is chosen where there is no subset of what was asked for.
    #[serde(default)]
    pub fallback_policy: FallbackPolicy,
    /// The metadata of the endpoints of the default subset.
    #[serde(default)]
    pub default_subset: Option<Struct>,
    /// Which subsets there are.
    #[serde(default)]
    pub subset_selectors: Vec<SubsetSelector>,
    /// Whether localities keep their weights within a subset.
    #[serde(default)]
    pub locality_weight_aware: bool,
    /// Whether those are scaled by how much of a locality is in the subset.
    #[serde(default)]
    pub scale_locality_weight: bool,
    /// Whether any endpoint is chosen where the fallback has none.
    #[serde(default)]
    pub panic_mode_any: bool,
    /// Whether a list in an endpoint's metadata stands for each of its values.
    #[serde(default)]
    pub list_as_any: bool,
    /// Whether what a route asks for can be a list of alternatives.
    #[serde(default)]
    pub metadata_fallback_policy: MetadataFallbackPolicy,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetMetadataFallbackPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetMetadataFallbackPolicy",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum MetadataFallbackPolicy {
    /// It cannot.
    #[default]
    MetadataNoFallback,
    /// Under `fallback_list`.
    FallbackList,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetFallbackPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetFallbackPolicy",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum FallbackPolicy {
    /// Nobody.
    #[default]
    NoFallback,
    /// Any endpoint.
    AnyEndpoint,
    /// One of the default subset.
    DefaultSubset,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector")]
pub struct SubsetSelector {
    /// There is a subset for each combination of values of these.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Whether each has one endpoint.
    #[serde(default)]
    pub single_host_per_subset: bool,
    /// Who is chosen for requests that ask for these keys and values that are not there.
    #[serde(default)]
    pub fallback_policy: SelectorFallbackPolicy,
    /// The keys that remain with `KEYS_SUBSET`.
    #[serde(default)]
    pub fallback_keys_subset: Vec<String>,
}

/// `LbSubsetSelector.LbSubsetSelectorFallbackPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector.LbSubsetSelectorFallbackPolicy",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum SelectorFallbackPolicy {
    /// As for the cluster.
    #[default]
    NotDefined,
    /// Nobody.
    NoFallback,
    /// Any endpoint.
    AnyEndpoint,
    /// One of the default subset.
    DefaultSubset,
    /// A subset of fewer keys.
    KeysSubset,
}
