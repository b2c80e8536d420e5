//! How a cluster chooses endpoints: its settings.
//!
//! Owns the plain types of `lb_policy`, `common_lb_config` and `lb_subset_config`, and of what
//! replaces them in `load_balancing_policy`. See the parent's page.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::headers::Name;
use crate::upstream::balance::maglev;
use crate::upstream::balance::ring::RingSpec;
use crate::upstream::metadata::Criteria;
use crate::upstream::spec::MetadataKey;

/// How a cluster chooses endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancing {
    /// `lb_policy` and its options.
    pub policy: Policy,
    /// `healthy_panic_threshold` in percent, rounded as in Envoy: 50.
    pub panic_threshold: u32,
    /// `fail_traffic_on_panic`: nobody is chosen in a panic. Not for consistent hashing.
    pub fails_on_panic: bool,
    /// `locality_weighted_lb_config`: localities are chosen by their weight first.
    pub by_locality: bool,
    /// `zone_aware_lb_config`: requests stay in the proxy's own locality. Not for consistent hashing.
    pub zones: Option<ZoneSpec>,
    /// `overprovisioning_factor` in percent: 140.
    pub overprovisioning: u32,
    /// `weighted_priority_health`: a level's health is measured in weights, not endpoints.
    pub weighs_health: bool,
    /// `slow_start_config`, for round robin and least request.
    pub slow_start: Option<SlowStart>,
    /// The runtime values that replace `active_request_bias`, and `aggression` of the slow start.
    pub bias_key: Option<Arc<str>>,
    /// See above.
    pub aggression_key: Option<Arc<str>>,
    /// `lb_subset_config`.
    pub subsets: Option<SubsetSpec>,
    /// `override_host_sources`: where requests name endpoints that are tried first.
    pub overrides: Vec<OverrideSource>,
    /// `selected_host_key`: where filters are told which endpoint was chosen, by its address.
    pub shows_choice: Option<MetadataKey>,
    /// `ignore_new_hosts_until_first_hc`: an endpoint that was not checked yet does not count.
    pub ignores_unchecked: bool,
    /// `override_host_status`: which endpoints a request can be pinned to.
    pub pinnable: Pinnable,
    /// `update_merge_window`: what changes about endpoints within it is published at once; 1 s. Who is
    /// there is always published immediately.
    pub merge_window: Duration,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            panic_threshold: 50,
            fails_on_panic: false,
            by_locality: false,
            zones: None,
            overprovisioning: 140,
            weighs_health: false,
            slow_start: None,
            bias_key: None,
            aggression_key: None,
            subsets: None,
            overrides: Vec::new(),
            shows_choice: None,
            ignores_unchecked: false,
            pinnable: Pinnable::default(),
            merge_window: Duration::from_secs(1),
        }
    }
}

/// `zone_aware_lb_config`, which counts where there is a `local_cluster_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    /// `routing_enabled` in percent: 100.
    pub enabled: u32,
    /// `min_cluster_size`: 6 healthy endpoints.
    pub min_cluster_size: u64,
    /// `force_local_zone.min_size`: all requests stay where there are so many healthy endpoints. Also
    /// for `force_locality_direct_routing`.
    pub force_local: Option<u64>,
    /// `locality_basis: HEALTHY_HOSTS_WEIGHT`: endpoints count as much as they weigh.
    pub by_weight: bool,
}

impl Default for ZoneSpec {
    fn default() -> Self {
        Self {
            enabled: 100,
            min_cluster_size: 6,
            force_local: None,
            by_weight: false,
        }
    }
}

/// `lb_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Policy {
    /// `ROUND_ROBIN`, weighted where weights differ.
    #[default]
    RoundRobin,
    /// `LEAST_REQUEST`.
    LeastRequest {
        /// `choice_count`: 2; at least 1 endpoint is looked at.
        choice_count: u32,
        /// `active_request_bias`: 1.0; used where weights differ.
        active_request_bias: f64,
        /// `selection_method: FULL_SCAN`: all endpoints are looked at where weights are equal.
        full_scan: bool,
    },
    /// `RANDOM`: evenly, whatever the weights, as in Envoy.
    Random,
    /// `RING_HASH`.
    Ring {
        /// The ring.
        ring: RingSpec,
        /// What is hashed.
        hashing: Hashing,
    },
    /// `MAGLEV`.
    Maglev {
        /// `table_size`: 65537, prime.
        size: u64,
        /// What is hashed.
        hashing: Hashing,
    },
    /// `CLUSTER_PROVIDED`: requests name their endpoints, and nobody is chosen.
    Provided,
}

impl Policy {
    /// `LEAST_REQUEST` with Envoy's defaults.
    pub const LEAST_REQUEST: Self = Self::LeastRequest {
        choice_count: 2,
        active_request_bias: 1.0,
        full_scan: false,
    };

    /// `MAGLEV` with Envoy's defaults.
    pub const MAGLEV: Self = Self::Maglev {
        size: maglev::DEFAULT_SIZE,
        hashing: Hashing::DEFAULT,
    };

    /// Whether it is `RING_HASH`.
    #[must_use]
    pub const fn is_ring(&self) -> bool {
        matches!(self, Self::Ring { .. })
    }

    /// Whether it is `MAGLEV`.
    #[must_use]
    pub const fn is_maglev(&self) -> bool {
        matches!(self, Self::Maglev { .. })
    }

    /// Whether it goes by a hash of the request.
    #[must_use]
    pub const fn wants_hash(&self) -> bool {
        match self {
            Self::RoundRobin | Self::LeastRequest { .. } | Self::Random | Self::Provided => false,
            Self::Ring { .. } | Self::Maglev { .. } => true,
        }
    }
}

/// `consistent_hashing_lb_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// `use_hostname_for_hashing`: an endpoint is placed by its name, not by its address.
    pub by_hostname: bool,
    /// `hash_balance_factor` in percent.
    pub balance_factor: Option<NonZeroU32>,
}

impl Hashing {
    /// By address, without a bound.
    pub const DEFAULT: Self = Self {
        by_hostname: false,
        balance_factor: None,
    };
}

/// `slow_start_config`: an endpoint that has just become healthy gets its share little by little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// `slow_start_window`.
    pub window: Duration,
    /// `aggression`: 1.0 is linear; above 0.
    pub aggression: f64,
    /// `min_weight_percent`: 10 %, as a fraction.
    pub least: f64,
}

impl SlowStart {
    /// The part of its weight that an endpoint has `age` after it became healthy.
    #[must_use]
    pub fn factor(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        // As in Envoy in whole milliseconds, and never none.
        let elapsed =
            Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1));
        let passed = elapsed.as_secs_f64() / self.window.as_secs_f64();
        let grown = if self.aggression == 1.0 || passed >= 1.0 {
            passed
        } else {
            passed.powf(1.0 / self.aggression)
        };
        grown.max(self.least)
    }
}

/// `lb_subset_config`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubsetSpec {
    /// `fallback_policy`: who is chosen where no subset is what was asked for.
    pub fallback: Fallback,
    /// `default_subset`.
    pub default: Option<Criteria>,
    /// `subset_selectors`.
    pub selectors: Vec<SubsetSelector>,
    /// `locality_weight_aware`: localities keep their weights within a subset.
    pub keeps_locality_weights: bool,
    /// `scale_locality_weight`: scaled by how much of a locality is in the subset.
    pub scales_locality_weights: bool,
    /// `panic_mode_any`: any endpoint, where the fallback has none.
    pub any_in_panic: bool,
    /// `list_as_any`: a list in an endpoint's metadata stands for each of its values.
    pub list_is_any: bool,
    /// `metadata_fallback_policy: FALLBACK_LIST`: what a request asks for can be a list of alternatives.
    pub takes_alternatives: bool,
    /// `allow_redundant_keys`: of what a request asks for, what no selector has does not count.
    pub takes_more_keys: bool,
}

/// `LbSubsetFallbackPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// `NO_FALLBACK`: nobody.
    #[default]
    Nobody,
    /// `ANY_ENDPOINT`.
    Any,
    /// `DEFAULT_SUBSET`.
    Default,
}

/// `subset_selectors[]`: there is a subset for each combination of values that these keys have.
#[derive(Clone, Debug, PartialEq)]
pub struct SubsetSelector {
    /// `keys`, sorted, each once.
    pub keys: Vec<Arc<str>>,
    /// `single_host_per_subset`: of several endpoints with one value only the first counts.
    pub is_single: bool,
    /// `fallback_policy` for requests that ask for exactly these keys.
    pub fallback: Option<SelectorFallback>,
}

/// `LbSubsetSelectorFallbackPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectorFallback {
    /// As for the whole cluster.
    Cluster(Fallback),
    /// `KEYS_SUBSET`: what was asked for, without the keys that are not among these.
    Keys(Vec<Arc<str>>),
}

/// `override_host_sources[]`: where a request names endpoints, by their addresses with commas between.
#[derive(Clone, Debug, PartialEq)]
pub enum OverrideSource {
    /// `header`: the first field of that name.
    Field(Name),
    /// `metadata`.
    Metadata(MetadataKey),
}

/// `override_host_status`: the health that an endpoint must have for a request to be pinned to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinnable {
    /// Healthy ones.
    pub healthy: bool,
    /// Degraded ones.
    pub degraded: bool,
    /// Those that fail checks, or are ejected.
    pub unhealthy: bool,
    /// Those that the configuration says are draining.
    pub draining: bool,
}

impl Default for Pinnable {
    fn default() -> Self {
        Self {
            healthy: true,
            degraded: true,
            unhealthy: false,
            draining: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_grows_with_age() {
        let slow = |aggression| SlowStart {
            window: Duration::from_secs(10),
            aggression,
            least: 0.1,
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        for (aggression, millis, factor) in [
            (1.0, 0, 0.1),
            (1.0, 500, 0.1),
            (1.0, 2_500, 0.25),
            (1.0, 9_999, 0.9999),
            (1.0, 10_000, 1.0),
            (1.0, 50_000, 1.0),
            (2.0, 2_500, 0.5),
            (0.5, 5_000, 0.25),
            (0.5, 1_000, 0.1),
        ] {
            let factor_is = slow(aggression).factor(Duration::from_millis(millis));
            assert!(
                near(factor_is, factor),
                "{aggression} {millis}: {factor_is}"
            );
        }
    }
}
