//! `load_balancing_policy`: policies as extensions, `envoy.extensions.load_balancing_policies`.
//!
//! Messages that have the fields of one in [`super::load_balancing`] are that one.

use serde::{Deserialize, Serialize};

use crate::config::load_balancing::{
    FallbackPolicy, LocalityWeightedLbConfig, MetadataFallbackPolicy, SlowStartConfig,
    SubsetSelector,
};
use crate::config::metadata_key::MetadataKey;
use crate::config::scalar::{Percent, RuntimeDouble, Struct};

/// `envoy.config.cluster.v3.LoadBalancingPolicy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.LoadBalancingPolicy")]
pub struct LoadBalancingPolicy {
    /// The first one counts: Nuncio has all that it accepts.
    pub policies: Vec<ListedPolicy>,
}

/// `envoy.config.cluster.v3.LoadBalancingPolicy.Policy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.LoadBalancingPolicy.Policy")]
pub struct ListedPolicy {
    /// The policy.
    pub typed_extension_config: PolicyExtension,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct PolicyExtension {
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// The policy.
    #[serde(rename = "any:typed_config")]
    pub policy: TypedPolicy,
}

/// The policies.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:load balancing policy")]
pub enum TypedPolicy {
    /// In turn.
    #[serde(rename = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin")]
    RoundRobin(RoundRobin),
    /// The one with fewer requests under way.
    #[serde(rename = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest")]
    LeastRequest(LeastRequest),
    /// By chance.
    #[serde(rename = "envoy.extensions.load_balancing_policies.random.v3.Random")]
    Random(Random),
    /// By a hash, on a ring.
    #[serde(rename = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash")]
    RingHash(RingHash),
    /// By a hash, in a table.
    #[serde(rename = "envoy.extensions.load_balancing_policies.maglev.v3.Maglev")]
    Maglev(Maglev),
    /// Endpoints that a request can ask for by their metadata, and a policy among them.
    #[serde(rename = "envoy.extensions.load_balancing_policies.subset.v3.Subset")]
    Subset(Box<Subset>),
    /// Endpoints that requests name, and a policy where they name none.
    #[serde(rename = "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost")]
    OverrideHost(OverrideHost),
    /// As the type of the cluster says.
    #[serde(
        rename = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided"
    )]
    ClusterProvided(ClusterProvided),
}

/// `envoy.extensions.load_balancing_policies.subset.v3.Subset`. The messages in it say the same as those
/// of `lb_subset_config`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.subset.v3.Subset")]
pub struct Subset {
    /// Who is chosen where there is no subset of what was asked for.
    #[serde(default)]
    pub fallback_policy: FallbackPolicy,
    /// The metadata of the endpoints of the default subset.
    #[serde(default)]
    pub default_subset: Option<Struct>,
    /// Which subsets there are.
    #[serde(default)]
    pub subset_selectors: Vec<SubsetSelector>,
    /// Whether of what a request asks for that does not count which no selector has.
    #[serde(default)]
    pub allow_redundant_keys: bool,
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
    /// The policy within a subset.
    #[serde(default)]
    pub subset_lb_policy: Option<LoadBalancingPolicy>,
}

/// `envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost")]
pub struct OverrideHost {
    /// Where requests name endpoints, all of them in this order.
    pub override_host_sources: Vec<OverrideHostSource>,
    /// Where in the dynamic metadata filters are told which endpoint was chosen.
    #[serde(default)]
    pub selected_host_key: Option<MetadataKey>,
    /// The policy for other requests.
    pub fallback_policy: LoadBalancingPolicy,
}

/// `OverrideHost.OverrideHostSource`: one of both.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost.OverrideHostSource"
)]
pub struct OverrideHostSource {
    /// The name of a field.
    #[serde(default)]
    pub header: String,
    /// A place in the dynamic metadata.
    #[serde(default)]
    pub metadata: Option<MetadataKey>,
}

/// `envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided")]
pub struct ClusterProvided {}

/// `envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin")]
pub struct RoundRobin {
    /// New endpoints get their share little by little.
    #[serde(default)]
    pub slow_start_config: Option<SlowStartConfig>,
    /// How localities are taken into account.
    #[serde(default)]
    pub locality_lb_config: Option<LocalityLbConfig>,
}

/// `envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest")]
pub struct LeastRequest {
    /// How many endpoints are looked at; 2 by default, at least 2.
    #[serde(default)]
    pub choice_count: Option<u32>,
    /// How much requests under way count where weights differ; 1.0 by default.
    #[serde(default)]
    pub active_request_bias: Option<RuntimeDouble>,
    /// New endpoints get their share little by little.
    #[serde(default)]
    pub slow_start_config: Option<SlowStartConfig>,
    /// How localities are taken into account.
    #[serde(default)]
    pub locality_lb_config: Option<LocalityLbConfig>,
    /// Whether all endpoints are looked at.
    #[serde(default)]
    pub selection_method: SelectionMethod,
}

/// `envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest.SelectionMethod`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest.SelectionMethod",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum SelectionMethod {
    /// `choice_count` of them.
    #[default]
    NChoices,
    /// All.
    FullScan,
}

/// `envoy.extensions.load_balancing_policies.random.v3.Random`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.random.v3.Random")]
pub struct Random {
    /// How localities are taken into account.
    #[serde(default)]
    pub locality_lb_config: Option<LocalityLbConfig>,
}

/// `envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash")]
pub struct RingHash {
    /// The hash that places endpoints.
    #[serde(default)]
    pub hash_function: RingHashFunction,
    /// The least number of points of the ring; 1024 by default.
    #[serde(default)]
    pub minimum_ring_size: Option<u64>,
    /// The greatest number of points; 8388608 by default.
    #[serde(default)]
    pub maximum_ring_size: Option<u64>,
    /// Older place of `consistent_hashing_lb_config.use_hostname_for_hashing`.
    #[serde(default)]
    pub use_hostname_for_hashing: bool,
    /// Older place of `consistent_hashing_lb_config.hash_balance_factor`.
    #[serde(default)]
    pub hash_balance_factor: Option<u32>,
    /// What is hashed, and bounded load.
    #[serde(default)]
    pub consistent_hashing_lb_config: Option<ConsistentHashing>,
    /// Localities have the part of the ring that their weight says.
    #[serde(default)]
    pub locality_weighted_lb_config: Option<LocalityWeightedLbConfig>,
}

/// `envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash.HashFunction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash.HashFunction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum RingHashFunction {
    /// xxHash64.
    #[default]
    DefaultHash,
    /// xxHash64.
    XxHash,
    /// MurmurHash2.
    #[serde(rename = "MURMUR_HASH_2")]
    MurmurHash2,
}

/// `envoy.extensions.load_balancing_policies.maglev.v3.Maglev`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.maglev.v3.Maglev")]
pub struct Maglev {
    /// The size of the table, a prime; 65537 by default.
    #[serde(default)]
    pub table_size: Option<u64>,
    /// What is hashed, and bounded load.
    #[serde(default)]
    pub consistent_hashing_lb_config: Option<ConsistentHashing>,
    /// Localities have the part of the table that their weight says.
    #[serde(default)]
    pub locality_weighted_lb_config: Option<LocalityWeightedLbConfig>,
}

/// `envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig")]
pub struct ConsistentHashing {
    /// Whether endpoints are placed by their names.
    #[serde(default)]
    pub use_hostname_for_hashing: bool,
    /// How much more than its share of requests an endpoint may have, in percent of it.
    #[serde(default)]
    pub hash_balance_factor: Option<u32>,
}

/// `envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig")]
pub struct LocalityLbConfig {
    /// How.
    #[serde(rename = "oneof:locality_config_specifier")]
    pub specifier: LocalitySpecifier,
}

/// `LocalityLbConfig.locality_config_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalitySpecifier {
    /// The proxy's own first. Without a `local_cluster_name` this only says what a panic does.
    ZoneAwareLbConfig(ZoneAware),
    /// By their weights.
    LocalityWeightedLbConfig(LocalityWeightedLbConfig),
}

/// `envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig"
)]
pub struct ZoneAware {
    /// Which part of the requests stays in the proxy's locality as far as that is possible; all by
    /// default.
    #[serde(default)]
    pub routing_enabled: Option<Percent>,
    /// With fewer healthy endpoints locality does not matter; 6 by default.
    #[serde(default)]
    pub min_cluster_size: Option<u64>,
    /// Older form of `force_local_zone`.
    #[serde(default)]
    pub force_locality_direct_routing: bool,
    /// All requests stay in the proxy's locality.
    #[serde(default)]
    pub force_local_zone: Option<ForceLocalZone>,
    /// What a locality's part is measured in.
    #[serde(default)]
    pub locality_basis: LocalityBasis,
    /// Whether a panic fails requests instead of using all endpoints.
    #[serde(default)]
    pub fail_traffic_on_panic: bool,
}

/// `LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone"
)]
pub struct ForceLocalZone {
    /// Where the locality has at least so many healthy endpoints; 1 by default.
    #[serde(default)]
    pub min_size: Option<u32>,
}

/// `LocalityLbConfig.ZoneAwareLbConfig.LocalityBasis`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.LocalityBasis",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum LocalityBasis {
    /// In endpoints.
    #[default]
    HealthyHostsNum,
    /// In their weights.
    HealthyHostsWeight,
}
