//! Balancing: `lb_policy` and all that goes with it, endpoints' traits, and outlier detection.
//!
//! Owns the way from the written messages to `upstream::spec::Balancing`, `Traits` and
//! `OutlierSpec`. Called for each cluster by `clusters`. Does not own policies as extensions nor subsets
//! (`policies`).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::Workshop;
use super::metadata::{shared, value};
use crate::config::Place;
use crate::config::cluster::{Cluster as Written, LbConfig, LbPolicy};
use crate::config::endpoint::{
    EndpointMetadata, HealthCheckConfig, LbEndpoint, Locality as WrittenLocality,
    LocalityLbEndpoints,
};
use crate::config::load_balancing::{
    CommonLbConfig, HashFunction, HealthStatus, LocalityConfig, SlowStartConfig,
};
use crate::config::outlier_detection::OutlierDetection;
use crate::config::scalar::{Duration as WrittenDuration, Percent, RuntimeDouble, Struct};
use crate::upstream::balance::maglev;
use crate::upstream::balance::ring::RingSpec;
use crate::upstream::connect::Tlv;
use crate::upstream::metadata::{self, Metadata, Value};
use crate::upstream::spec::{
    Balancing, Enforcing, Hashing, HealthCheckTarget, Locality, MostEjected, OutlierSpec, Pinnable,
    Policy, RateSpec, SlowStart, StatedHealth, Traits, ZoneSpec,
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
        // As in Envoy zones are the rule, also where localities turn out to have no weights.
        built.zones = Some(ZoneSpec::default());
        match &common.locality {
            Some(LocalityConfig::ZoneAwareLbConfig(zones)) => {
                built.fails_on_panic = zones.fail_traffic_on_panic;
                built.zones = Some(zone_spec(zones.routing_enabled, zones.min_cluster_size));
            }
            Some(LocalityConfig::LocalityWeightedLbConfig(_)) => built.by_locality = true,
            None => {}
        }
        if let Some(typed) = &written.load_balancing_policy {
            self.typed_policy(written, typed, &mut built, place);
        } else {
            self.plain_policy(written, common, &mut built, place);
        }
        let is_plain = built.policy == Policy::Provided && built.overrides.is_empty();
        if written.names_destinations() && !is_plain {
            let message = "an ORIGINAL_DST cluster has no policy but its own";
            self.diagnostics
                .error(place.field("load_balancing_policy"), message);
        }
        if let Some(subsets) = &written.lb_subset_config {
            if built.policy == Policy::Provided {
                let message = "there are no subsets where requests name their endpoints";
                self.diagnostics
                    .error(place.field("lb_subset_config"), message);
            }
            let here = place.field("lb_subset_config");
            let weighs = common.locality.as_ref();
            if subsets.locality_weight_aware
                && !matches!(weighs, Some(LocalityConfig::LocalityWeightedLbConfig(_)))
            {
                let message = "'locality_weight_aware' needs 'locality_weighted_lb_config'";
                self.diagnostics
                    .error(here.field("locality_weight_aware"), message)
                    .hint("add 'locality_weighted_lb_config: {}' to 'common_lb_config'");
            }
            if subsets.subset_selectors.is_empty() {
                // As in Envoy there are no subsets then, and all endpoints are used.
                let message =
                    "without 'subset_selectors' there are no subsets, and this has no effect";
                self.diagnostics.warning(here, message);
            } else {
                built.subsets = Some(self.subsets(subsets, here));
            }
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
        let hashing =
            common
                .consistent_hashing_lb_config
                .as_ref()
                .map_or(Hashing::DEFAULT, |written| {
                    hashing(
                        written.use_hostname_for_hashing,
                        written.hash_balance_factor,
                    )
                });
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
                slow_start(config.slow_start_config.as_ref(), built);
                Policy::RoundRobin
            }
            (LbPolicy::RoundRobin, _) => Policy::RoundRobin,
            (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
                slow_start(config.slow_start_config.as_ref(), built);
                let bias = config.active_request_bias.as_ref();
                least_request(config.choice_count, bias, false, built)
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
            (LbPolicy::ClusterProvided, _) => {
                self.check_provided(written, place.field("lb_policy"));
                Policy::Provided
            }
            (LbPolicy::LoadBalancingPolicyConfig, _) => {
                let message =
                    "'lb_policy: LOAD_BALANCING_POLICY_CONFIG' needs a 'load_balancing_policy'";
                self.diagnostics.error(place.field("lb_policy"), message);
                Policy::RoundRobin
            }
        };
        if let Some(config) = config
            && !belongs(written, config)
        {
            let (name, owner) = of_policy(config);
            self.diagnostics.warning(
                place.field(name),
                format!("these options are those of {owner}, and have no effect"),
            );
        }
    }

    /// Makes sure that the type of the cluster comes with a policy, where it is to.
    pub(super) fn check_provided(&mut self, written: &Written, place: Place<'_>) {
        if !written.names_destinations() {
            self.diagnostics.error(
                place,
                "only the type ORIGINAL_DST comes with a policy of its own",
            );
        }
    }

    pub(super) fn check_ring(&mut self, ring: RingSpec, place: Place<'_>) {
        if ring.minimum > ring.maximum {
            let (least, most) = (ring.minimum, ring.maximum);
            let message =
                format!("ring hash: minimum_ring_size ({least}) > maximum_ring_size ({most})");
            self.diagnostics
                .error(place.field("minimum_ring_size"), message);
        }
    }

    pub(super) fn maglev_size(&mut self, size: Option<u64>, place: Place<'_>) -> u64 {
        let size = size.unwrap_or(maglev::DEFAULT_SIZE);
        if !maglev::is_prime(size) {
            self.diagnostics.error(
                place.field("table_size"),
                "the table size of maglev must be a prime number",
            );
        }
        size
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
            described: written
                .metadata
                .as_ref()
                .and_then(|metadata| shared(&metadata.filter_metadata)),
            proxy_tlvs: self.endpoint_tlvs(written.metadata.as_ref(), place),
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

    /// What a header of the PROXY protocol has for this endpoint alone.
    fn endpoint_tlvs(&mut self, written: Option<&EndpointMetadata>, place: Place<'_>) -> Vec<Tlv> {
        let Some(written) = written else {
            return Vec::new();
        };
        let place = place.field("metadata").field("typed_filter_metadata");
        let place = place.field("envoy.transport_sockets.proxy_protocol");
        self.tlvs(written.added_tlvs(), place.field("added_tlvs"))
            .unwrap_or_default()
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

/// Options and what they belong to, by name.
const fn of_policy(config: &LbConfig) -> (&'static str, &'static str) {
    match config {
        LbConfig::RoundRobinLbConfig(_) => ("round_robin_lb_config", "lb_policy ROUND_ROBIN"),
        LbConfig::LeastRequestLbConfig(_) => ("least_request_lb_config", "lb_policy LEAST_REQUEST"),
        LbConfig::RingHashLbConfig(_) => ("ring_hash_lb_config", "lb_policy RING_HASH"),
        LbConfig::MaglevLbConfig(_) => ("maglev_lb_config", "lb_policy MAGLEV"),
        LbConfig::OriginalDstLbConfig(_) => ("original_dst_lb_config", "the type ORIGINAL_DST"),
    }
}

const fn belongs(written: &Written, config: &LbConfig) -> bool {
    if matches!(config, LbConfig::OriginalDstLbConfig(_)) {
        return written.names_destinations();
    }
    matches!(
        (written.lb_policy, config),
        (LbPolicy::RoundRobin, LbConfig::RoundRobinLbConfig(_))
            | (LbPolicy::LeastRequest, LbConfig::LeastRequestLbConfig(_))
            | (LbPolicy::RingHash, LbConfig::RingHashLbConfig(_))
            | (LbPolicy::Maglev, LbConfig::MaglevLbConfig(_))
    )
}

/// `LEAST_REQUEST`.
pub(super) fn least_request(
    choice_count: Option<u32>,
    bias: Option<&RuntimeDouble>,
    full_scan: bool,
    built: &mut Balancing,
) -> Policy {
    built.bias_key = runtime_key(bias);
    Policy::LeastRequest {
        choice_count: choice_count.unwrap_or(2),
        active_request_bias: bias.map_or(1.0, |bias| bias.default_value),
        full_scan,
    }
}

/// The key of the runtime value that replaces a number, where there is one.
fn runtime_key(number: Option<&RuntimeDouble>) -> Option<Arc<str>> {
    let key = number?.runtime_key.as_str();
    (!key.is_empty()).then(|| key.into())
}

pub(super) fn ring(minimum: Option<u64>, maximum: Option<u64>, murmur: bool) -> RingSpec {
    let default = RingSpec::default();
    RingSpec {
        minimum: minimum.unwrap_or(default.minimum),
        maximum: maximum.unwrap_or(default.maximum),
        murmur,
    }
}

/// What consistent hashing goes by.
pub(super) fn hashing(by_hostname: bool, balance_factor: Option<u32>) -> Hashing {
    Hashing {
        by_hostname,
        balance_factor: balance_factor.and_then(NonZeroU32::new),
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

pub(super) fn zone_spec(enabled: Option<Percent>, least: Option<u64>) -> ZoneSpec {
    let default = ZoneSpec::default();
    ZoneSpec {
        enabled: enabled.map_or(default.enabled, rounded),
        min_cluster_size: least.unwrap_or(default.min_cluster_size),
        ..default
    }
}

/// Slow start, where there is one.
pub(super) fn slow_start(written: Option<&SlowStartConfig>, built: &mut Balancing) {
    let Some(written) = written else { return };
    let aggression = written.aggression.as_ref();
    built.aggression_key = runtime_key(aggression);
    let aggression = aggression.map_or(1.0, |aggression| aggression.default_value);
    let least = written.min_weight_percent;
    let window = written
        .slow_start_window
        .and_then(WrittenDuration::non_zero);
    built.slow_start = window.map(|window| SlowStart {
        window,
        // As in Envoy, what cannot be one is 1.
        aggression: if aggression > 0.0 { aggression } else { 1.0 },
        least: least.map_or(10.0, |least| least.value) / 100.0,
    });
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
fn metadata_of(written: Option<&EndpointMetadata>, filter: &str) -> Metadata {
    let part = written.and_then(|metadata| metadata.filter_metadata.get(filter));
    part.map_or_else(Metadata::new, fields)
}

/// The fields of a mapping.
pub(super) fn fields(written: &Struct) -> Metadata {
    match value(written.get()) {
        Value::Struct(fields) => fields,
        _ => Metadata::new(),
    }
}
