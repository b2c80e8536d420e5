//! Balancing: `lb_policy` and all that goes with it, endpoints' traits, and outlier detection.
//!
//! Owns the way from the written messages to `upstream::spec::Balancing`, `Traits` and
//! `OutlierSpec`. Called for each cluster by `clusters`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::Workshop;
use super::metadata::value;
use crate::config::Place;
use crate::config::cluster::{Cluster as Written, LbConfig, LbPolicy};
use crate::config::endpoint::{
    HealthCheckConfig, LbEndpoint, Locality as WrittenLocality, LocalityLbEndpoints,
};
use crate::config::load_balancing::{
    CommonLbConfig, ConsistentHashingLbConfig, FallbackPolicy, HashFunction, HealthStatus,
    LbSubsetConfig, LocalityConfig, SelectorFallbackPolicy, SlowStartConfig,
    SubsetSelector as WrittenSelector,
};
use crate::config::load_balancing_policy::{
    ConsistentHashing, ListedPolicy, LocalityBasis, LocalityLbConfig, LocalitySpecifier,
    RingHashFunction, SelectionMethod, SlowStart as TypedSlowStart, TypedPolicy,
};
use crate::config::outlier_detection::OutlierDetection;
use crate::config::scalar::{
    Duration as WrittenDuration, Metadata as WrittenMetadata, Percent, RuntimeDouble, Struct,
};
use crate::upstream::Criteria;
use crate::upstream::balance::maglev;
use crate::upstream::balance::ring::RingSpec;
use crate::upstream::metadata::{self, Metadata, Value};
use crate::upstream::spec::{
    Balancing, Enforcing, Fallback, Hashing, HealthCheckTarget, Locality, MostEjected, OutlierSpec,
    Pinnable, Policy, RateSpec, SelectorFallback, SlowStart, StatedHealth, SubsetSelector,
    SubsetSpec, Traits, ZoneSpec,
};

/// Options that say when endpoints are ejected, each of them a percentage or a count.
type Option32 = Option<u32>;

impl Workshop<'_> {
    /// How a cluster chooses endpoints.
    pub(super) fn balancing(&mut self, written: &Written, place: Place<'_>) -> Balancing {
        let mut built = Balancing::default();
        let default = CommonLbConfig::default();
        let common = written.common_lb_config.as_ref().unwrap_or(&default);
        if let Some(threshold) = common.healthy_panic_threshold {
            built.panic_threshold = rounded(threshold);
        }
        built.ignores_unchecked = common.ignore_new_hosts_until_first_hc;
        if let Some(window) = common.update_merge_window {
            built.merge_window = window.get();
        }
        if let Some(set) = &common.override_host_status {
            built.pinnable = pinnable(&set.statuses);
        }
        let assignment = written.load_assignment.as_ref();
        if let Some(policy) = assignment.and_then(|assignment| assignment.policy.as_ref()) {
            built.overprovisioning = policy
                .overprovisioning_factor
                .unwrap_or(built.overprovisioning);
            built.weighs_health = policy.weighted_priority_health;
        }
        match &common.locality {
            Some(LocalityConfig::ZoneAwareLbConfig(zones)) => {
                built.fails_on_panic = zones.fail_traffic_on_panic;
                built.zones = Some(zone_spec(zones.routing_enabled, zones.min_cluster_size));
            }
            Some(LocalityConfig::LocalityWeightedLbConfig(_)) => built.by_locality = true,
            // As in Envoy they are the rule.
            None => built.zones = Some(ZoneSpec::default()),
        }
        if let Some(typed) = &written.load_balancing_policy {
            self.typed_policy(written, typed.policies.first(), &mut built, place);
        } else {
            self.plain_policy(written, common, &mut built, place);
        }
        if let Some(subsets) = &written.lb_subset_config {
            built.subsets = self.subsets(subsets, place.field("lb_subset_config"));
        }
        built
    }

    fn plain_policy(
        &mut self,
        written: &Written,
        common: &CommonLbConfig,
        built: &mut Balancing,
        place: Place<'_>,
    ) {
        let config = written.lb_config.as_ref();
        let hashing = hashing(common.consistent_hashing_lb_config.as_ref());
        if hashing.by_hostname && written.is_static() {
            let here = place.field("common_lb_config");
            let here = here.field("consistent_hashing_lb_config");
            self.diagnostics.error(
                here.field("use_hostname_for_hashing"),
                "endpoints of a STATIC cluster cannot be placed by their host names",
            );
        }
        built.policy = match (written.lb_policy, config) {
            (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
                built.slow_start = slow_start(config.slow_start_config.as_ref());
                Policy::RoundRobin
            }
            (LbPolicy::RoundRobin, _) => Policy::RoundRobin,
            (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
                built.slow_start = slow_start(config.slow_start_config.as_ref());
                let bias = config.active_request_bias.as_ref();
                least_request(config.choice_count, bias, false)
            }
            (LbPolicy::LeastRequest, _) => Policy::LEAST_REQUEST,
            (LbPolicy::Random, _) => Policy::Random,
            (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => {
                let ring = ring(
                    config.minimum_ring_size,
                    config.maximum_ring_size,
                    config.hash_function == HashFunction::MurmurHash2,
                );
                self.check_ring(ring, place.field("ring_hash_lb_config"));
                Policy::Ring { ring, hashing }
            }
            (LbPolicy::RingHash, _) => Policy::Ring {
                ring: RingSpec::default(),
                hashing,
            },
            (LbPolicy::Maglev, config) => {
                let size = match config {
                    Some(LbConfig::MaglevLbConfig(config)) => config.table_size,
                    _ => None,
                };
                let size = self.maglev_size(size, place.field("maglev_lb_config"));
                Policy::Maglev { size, hashing }
            }
            (LbPolicy::LoadBalancingPolicyConfig, _) => {
                let message =
                    "'lb_policy: LOAD_BALANCING_POLICY_CONFIG' needs a 'load_balancing_policy'";
                self.diagnostics.error(place.field("lb_policy"), message);
                Policy::RoundRobin
            }
        };
        if let Some(config) = config
            && !belongs(written.lb_policy, config)
        {
            let (name, policy) = of_policy(config);
            self.diagnostics.warning(
                place.field(name),
                format!("these options are those of lb_policy {policy}, and have no effect"),
            );
        }
    }

    fn typed_policy(
        &mut self,
        written: &Written,
        policy: Option<&ListedPolicy>,
        built: &mut Balancing,
        place: Place<'_>,
    ) {
        let here = place.field("load_balancing_policy").field("policies");
        let Some(policy) = policy else {
            self.diagnostics
                .error(here, "there is no policy in this list");
            return;
        };
        // As in Envoy the extension says all that there is to say.
        built.by_locality = false;
        built.fails_on_panic = false;
        built.zones = Some(ZoneSpec::default());
        if written.lb_subset_config.is_some() {
            let message = "'lb_subset_config' and 'load_balancing_policy' exclude each other";
            self.diagnostics
                .error(place.field("lb_subset_config"), message);
        }
        let here = here
            .index(0)
            .field("typed_extension_config")
            .field("typed_config");
        built.policy = match &policy.typed_extension_config.policy {
            TypedPolicy::RoundRobin(config) => {
                built.slow_start = typed_slow_start(config.slow_start_config.as_ref());
                locality(config.locality_lb_config.as_ref(), built);
                Policy::RoundRobin
            }
            TypedPolicy::LeastRequest(config) => {
                built.slow_start = typed_slow_start(config.slow_start_config.as_ref());
                locality(config.locality_lb_config.as_ref(), built);
                let full_scan = config.selection_method == SelectionMethod::FullScan;
                let bias = config.active_request_bias.as_ref();
                least_request(config.choice_count, bias, full_scan)
            }
            TypedPolicy::Random(config) => {
                locality(config.locality_lb_config.as_ref(), built);
                Policy::Random
            }
            TypedPolicy::RingHash(config) => {
                built.by_locality = config.locality_weighted_lb_config.is_some();
                let ring = ring(
                    config.minimum_ring_size,
                    config.maximum_ring_size,
                    config.hash_function == RingHashFunction::MurmurHash2,
                );
                self.check_ring(ring, here);
                let older = ConsistentHashing {
                    use_hostname_for_hashing: config.use_hostname_for_hashing,
                    hash_balance_factor: config.hash_balance_factor,
                };
                let newer = config.consistent_hashing_lb_config.as_ref();
                let hashing = typed_hashing(Some(newer.unwrap_or(&older)));
                Policy::Ring { ring, hashing }
            }
            TypedPolicy::Maglev(config) => {
                built.by_locality = config.locality_weighted_lb_config.is_some();
                Policy::Maglev {
                    size: self.maglev_size(config.table_size, here),
                    hashing: typed_hashing(config.consistent_hashing_lb_config.as_ref()),
                }
            }
        };
    }

    fn check_ring(&mut self, ring: RingSpec, place: Place<'_>) {
        if ring.minimum > ring.maximum {
            let (least, most) = (ring.minimum, ring.maximum);
            let message =
                format!("ring hash: minimum_ring_size ({least}) > maximum_ring_size ({most})");
            self.diagnostics
                .error(place.field("minimum_ring_size"), message);
        }
    }

    fn maglev_size(&mut self, size: Option<u64>, place: Place<'_>) -> u64 {
        let size = size.unwrap_or(maglev::DEFAULT_SIZE);
        if !maglev::is_prime(size) {
            self.diagnostics.error(
                place.field("table_size"),
                "the table size of maglev must be a prime number",
            );
        }
        size
    }

    fn subsets(&mut self, written: &LbSubsetConfig, place: Place<'_>) -> Option<SubsetSpec> {
        let fallback = match written.fallback_policy {
            FallbackPolicy::NoFallback => Fallback::Nobody,
            FallbackPolicy::AnyEndpoint => Fallback::Any,
            FallbackPolicy::DefaultSubset => Fallback::Default,
        };
        let here = place.field("subset_selectors");
        let mut selectors = Vec::new();
        for (index, selector) in written.subset_selectors.iter().enumerate() {
            selectors.extend(self.selector(selector, here.index(index)));
        }
        if written.subset_selectors.is_empty() {
            // As in Envoy there are no subsets then, and all endpoints are used.
            self.diagnostics.warning(
                place,
                "without 'subset_selectors' there are no subsets, and this has no effect",
            );
            return None;
        }
        Some(SubsetSpec {
            fallback,
            default: Some(criteria_of(written.default_subset.as_ref())),
            selectors,
            keeps_locality_weights: written.locality_weight_aware,
            scales_locality_weights: written.scale_locality_weight,
            any_in_panic: written.panic_mode_any,
            list_is_any: written.list_as_any,
        })
    }

    fn selector(&mut self, written: &WrittenSelector, place: Place<'_>) -> Option<SubsetSelector> {
        let sorted = |keys: &[String]| {
            let mut keys: Vec<Arc<str>> = keys.iter().map(|key| key.as_str().into()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        let keys = sorted(&written.keys);
        if keys.is_empty() {
            self.diagnostics
                .warning(place, "a selector without keys makes no subset");
            return None;
        }
        if written.single_host_per_subset && keys.len() != 1 {
            self.diagnostics.error(
                place.field("single_host_per_subset"),
                "'single_host_per_subset' needs exactly one key",
            );
        }
        let fallback = match written.fallback_policy {
            SelectorFallbackPolicy::NotDefined => None,
            SelectorFallbackPolicy::NoFallback => Some(SelectorFallback::Cluster(Fallback::Nobody)),
            SelectorFallbackPolicy::AnyEndpoint => Some(SelectorFallback::Cluster(Fallback::Any)),
            SelectorFallbackPolicy::DefaultSubset => {
                Some(SelectorFallback::Cluster(Fallback::Default))
            }
            SelectorFallbackPolicy::KeysSubset => {
                let fewer = sorted(&written.fallback_keys_subset);
                let is_part = fewer.iter().all(|key| keys.contains(key));
                if fewer.is_empty() || !is_part || fewer.len() == keys.len() {
                    self.diagnostics.error(
                        place.field("fallback_keys_subset"),
                        "'fallback_keys_subset' must have some of the selector's keys, not all",
                    );
                }
                Some(SelectorFallback::Keys(fewer))
            }
        };
        Some(SubsetSelector {
            keys,
            is_single: written.single_host_per_subset,
            fallback,
        })
    }

    /// What is known of an endpoint besides its address.
    pub(super) fn traits(
        &mut self,
        group: &LocalityLbEndpoints,
        written: &LbEndpoint,
        place: Place<'_>,
    ) -> Traits {
        let endpoint = written.endpoint();
        let locality = group.locality.as_ref().map(locality_of);
        let here = place.field("endpoint").field("health_check_config");
        let health_check = endpoint.health_check_config.as_ref();
        Traits {
            hostname: named(&endpoint.hostname),
            weight: written.load_balancing_weight.unwrap_or(1).max(1),
            level: group.priority,
            locality: Arc::new(locality.unwrap_or_default()),
            locality_weight: group.load_balancing_weight.unwrap_or(0),
            metadata: metadata_of(written.metadata.as_ref(), metadata::FILTER),
            transport_match: metadata_of(written.metadata.as_ref(), metadata::TRANSPORT_FILTER),
            other_addresses: self.other_addresses(endpoint, place.field("endpoint")),
            stated: match written.health_status {
                HealthStatus::Unknown | HealthStatus::Healthy => StatedHealth::Healthy,
                HealthStatus::Unhealthy | HealthStatus::Timeout => StatedHealth::Unhealthy,
                HealthStatus::Draining => StatedHealth::Draining,
                HealthStatus::Degraded => StatedHealth::Degraded,
            },
            health_check: health_check
                .map(|config| self.health_check_target(config, here))
                .unwrap_or_default(),
        }
    }

    fn health_check_target(
        &mut self,
        written: &HealthCheckConfig,
        place: Place<'_>,
    ) -> HealthCheckTarget {
        let hostname = match HeaderValue::from_str(&written.hostname) {
            Ok(_) if written.hostname.is_empty() => None,
            Ok(hostname) => Some(hostname),
            Err(_) => {
                let message = format!("\"{}\" cannot be sent as a host header", written.hostname);
                self.diagnostics.error(place.field("hostname"), message);
                None
            }
        };
        HealthCheckTarget {
            port: (written.port_value != 0).then_some(written.port_value),
            hostname,
            address: written
                .address
                .as_ref()
                .and_then(|address| self.literal_address(address, place.field("address"))),
            is_disabled: written.disable_active_health_check,
        }
    }

    /// When endpoints are left out for what they answer.
    pub(super) fn outlier_detection(
        &mut self,
        written: &Written,
        place: Place<'_>,
    ) -> Option<OutlierSpec> {
        let written = written.outlier_detection.as_ref()?;
        let spec = outlier_spec(written);
        if spec.max_ejection_time < spec.base_ejection_time {
            self.diagnostics.error(
                place.field("max_ejection_time"),
                "'max_ejection_time' cannot be smaller than 'base_ejection_time'",
            );
        }
        Some(spec)
    }
}

fn outlier_spec(written: &OutlierDetection) -> OutlierSpec {
    let default = OutlierSpec::default();
    let time = |written: Option<WrittenDuration>, default: Duration| {
        written.map_or(default, WrittenDuration::get)
    };
    let base_ejection_time = time(written.base_ejection_time, default.base_ejection_time);
    let rate = |hosts: Option32, volume: Option32, default: RateSpec| RateSpec {
        minimum_hosts: hosts.unwrap_or(default.minimum_hosts),
        request_volume: volume.unwrap_or(default.request_volume),
    };
    let most = match (written.max_ejection_percent, written.always_eject_one_host) {
        (None, None) => MostEjected::Sensible,
        (percent, at_least_one) => MostEjected::Percent {
            percent: percent.unwrap_or(10),
            at_least_one: at_least_one.unwrap_or(false),
        },
    };
    OutlierSpec {
        consecutive_5xx: written.consecutive_5xx.unwrap_or(default.consecutive_5xx),
        consecutive_gateway_failure: written
            .consecutive_gateway_failure
            .unwrap_or(default.consecutive_gateway_failure),
        consecutive_local_origin_failure: written
            .consecutive_local_origin_failure
            .unwrap_or(default.consecutive_local_origin_failure),
        interval: time(written.interval, default.interval),
        base_ejection_time,
        max_ejection_time: time(
            written.max_ejection_time,
            default.max_ejection_time.max(base_ejection_time),
        ),
        max_ejection_time_jitter: time(written.max_ejection_time_jitter, Duration::ZERO),
        most,
        enforcing: enforcing(written),
        success_rate: rate(
            written.success_rate_minimum_hosts,
            written.success_rate_request_volume,
            default.success_rate,
        ),
        success_rate_stdev_factor: written
            .success_rate_stdev_factor
            .unwrap_or(default.success_rate_stdev_factor),
        failure_percentage: rate(
            written.failure_percentage_minimum_hosts,
            written.failure_percentage_request_volume,
            default.failure_percentage,
        ),
        failure_percentage_threshold: written
            .failure_percentage_threshold
            .unwrap_or(default.failure_percentage_threshold),
        splits_local_origin: written.split_external_local_origin_errors,
        check_brings_back: written
            .successful_active_health_check_uneject_host
            .unwrap_or(default.check_brings_back),
    }
}

fn enforcing(written: &OutlierDetection) -> Enforcing {
    let default = Enforcing::default();
    Enforcing {
        consecutive_5xx: written
            .enforcing_consecutive_5xx
            .unwrap_or(default.consecutive_5xx),
        consecutive_gateway_failure: written
            .enforcing_consecutive_gateway_failure
            .unwrap_or(default.consecutive_gateway_failure),
        consecutive_local_origin_failure: written
            .enforcing_consecutive_local_origin_failure
            .unwrap_or(default.consecutive_local_origin_failure),
        success_rate: written
            .enforcing_success_rate
            .unwrap_or(default.success_rate),
        local_origin_success_rate: written
            .enforcing_local_origin_success_rate
            .unwrap_or(default.local_origin_success_rate),
        failure_percentage: written
            .enforcing_failure_percentage
            .unwrap_or(default.failure_percentage),
        local_origin_failure_percentage: written
            .enforcing_failure_percentage_local_origin
            .unwrap_or(default.local_origin_failure_percentage),
    }
}

/// Options and the policy that they belong to, by name.
const fn of_policy(config: &LbConfig) -> (&'static str, &'static str) {
    match config {
        LbConfig::RoundRobinLbConfig(_) => ("round_robin_lb_config", "ROUND_ROBIN"),
        LbConfig::LeastRequestLbConfig(_) => ("least_request_lb_config", "LEAST_REQUEST"),
        LbConfig::RingHashLbConfig(_) => ("ring_hash_lb_config", "RING_HASH"),
        LbConfig::MaglevLbConfig(_) => ("maglev_lb_config", "MAGLEV"),
    }
}

const fn belongs(policy: LbPolicy, config: &LbConfig) -> bool {
    matches!(
        (policy, config),
        (LbPolicy::RoundRobin, LbConfig::RoundRobinLbConfig(_))
            | (LbPolicy::LeastRequest, LbConfig::LeastRequestLbConfig(_))
            | (LbPolicy::RingHash, LbConfig::RingHashLbConfig(_))
            | (LbPolicy::Maglev, LbConfig::MaglevLbConfig(_))
    )
}

fn least_request(
    choice_count: Option<u32>,
    bias: Option<&RuntimeDouble>,
    full_scan: bool,
) -> Policy {
    Policy::LeastRequest {
        choice_count: choice_count.unwrap_or(2),
        active_request_bias: bias.map_or(1.0, |bias| bias.default_value),
        full_scan,
    }
}

fn ring(minimum: Option<u64>, maximum: Option<u64>, murmur: bool) -> RingSpec {
    let default = RingSpec::default();
    RingSpec {
        minimum: minimum.unwrap_or(default.minimum),
        maximum: maximum.unwrap_or(default.maximum),
        murmur,
    }
}

fn hashing(written: Option<&ConsistentHashingLbConfig>) -> Hashing {
    written.map_or(Hashing::DEFAULT, |written| Hashing {
        by_hostname: written.use_hostname_for_hashing,
        balance_factor: written.hash_balance_factor.and_then(NonZeroU32::new),
    })
}

fn typed_hashing(written: Option<&ConsistentHashing>) -> Hashing {
    written.map_or(Hashing::DEFAULT, |written| Hashing {
        by_hostname: written.use_hostname_for_hashing,
        balance_factor: written.hash_balance_factor.and_then(NonZeroU32::new),
    })
}

fn locality(written: Option<&LocalityLbConfig>, built: &mut Balancing) {
    match written.map(|written| &written.specifier) {
        Some(LocalitySpecifier::ZoneAwareLbConfig(zones)) => {
            built.fails_on_panic = zones.fail_traffic_on_panic;
            let least = zones.force_local_zone.as_ref();
            let least = least.map(|forced| forced.min_size.unwrap_or(1).into());
            built.zones = Some(ZoneSpec {
                force_local: least.or_else(|| zones.force_locality_direct_routing.then_some(1)),
                by_weight: zones.locality_basis == LocalityBasis::HealthyHostsWeight,
                ..zone_spec(zones.routing_enabled, zones.min_cluster_size)
            });
        }
        Some(LocalitySpecifier::LocalityWeightedLbConfig(_)) => {
            built.by_locality = true;
            built.zones = None;
        }
        None => {}
    }
}

/// A place.
pub(super) fn locality_of(written: &WrittenLocality) -> Locality {
    Locality {
        region: written.region.clone(),
        zone: written.zone.clone(),
        sub_zone: written.sub_zone.clone(),
    }
}

fn zone_spec(enabled: Option<Percent>, least: Option<u64>) -> ZoneSpec {
    let default = ZoneSpec::default();
    ZoneSpec {
        enabled: enabled.map_or(default.enabled, rounded),
        min_cluster_size: least.unwrap_or(default.min_cluster_size),
        ..default
    }
}

fn slow_start(written: Option<&SlowStartConfig>) -> Option<SlowStart> {
    let written = written?;
    window(
        written.slow_start_window,
        written.aggression.as_ref(),
        written.min_weight_percent,
    )
}

fn typed_slow_start(written: Option<&TypedSlowStart>) -> Option<SlowStart> {
    let written = written?;
    window(
        written.slow_start_window,
        written.aggression.as_ref(),
        written.min_weight_percent,
    )
}

fn window(
    window: Option<WrittenDuration>,
    aggression: Option<&RuntimeDouble>,
    least: Option<Percent>,
) -> Option<SlowStart> {
    let aggression = aggression.map_or(1.0, |aggression| aggression.default_value);
    Some(SlowStart {
        window: window?.non_zero()?,
        // As in Envoy, what cannot be one is 1.
        aggression: if aggression > 0.0 { aggression } else { 1.0 },
        least: least.map_or(10.0, |least| least.value) / 100.0,
    })
}

/// As in Envoy a percentage counts as a whole one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage is from 0 to 100"
)]
fn rounded(percent: Percent) -> u32 {
    percent.value.round() as u32
}

fn pinnable(statuses: &[HealthStatus]) -> Pinnable {
    let has = |wanted: &[HealthStatus]| statuses.iter().any(|status| wanted.contains(status));
    Pinnable {
        healthy: has(&[HealthStatus::Unknown, HealthStatus::Healthy]),
        degraded: has(&[HealthStatus::Degraded]),
        unhealthy: has(&[HealthStatus::Unhealthy, HealthStatus::Timeout]),
        draining: has(&[HealthStatus::Draining]),
    }
}

fn named(hostname: &str) -> Option<Arc<str>> {
    (!hostname.is_empty()).then(|| hostname.into())
}

/// The part of metadata that belongs to `filter`.
fn metadata_of(written: Option<&WrittenMetadata>, filter: &str) -> Metadata {
    let part = written.and_then(|metadata| metadata.filter_metadata.get(filter));
    part.map_or_else(Metadata::new, fields)
}

fn criteria_of(written: Option<&Struct>) -> Criteria {
    Criteria::new(written.map_or_else(Metadata::new, fields))
}

/// The fields of a mapping.
pub(super) fn fields(written: &Struct) -> Metadata {
    match value(written.get()) {
        Value::Struct(fields) => fields,
        _ => Metadata::new(),
    }
}
