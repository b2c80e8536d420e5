//! Policies as extensions (`load_balancing_policy`), and subsets.
//!
//! Owns the way from `envoy.extensions.load_balancing_policies` to `upstream::spec::Balancing`: policies that
//! have others in them add to what those say. Called by `balancing`.

use std::sync::Arc;

use super::Workshop;
use super::balancing::{fields, hashing, least_request, ring, slow_start, zone_spec};
use crate::config::Place;
use crate::config::cluster::Cluster as Written;
use crate::config::load_balancing::{
    FallbackPolicy, LbSubsetConfig, MetadataFallbackPolicy, SelectorFallbackPolicy,
    SubsetSelector as WrittenSelector,
};
use crate::config::load_balancing_policy::{
    ConsistentHashing, LoadBalancingPolicy, LocalityBasis, LocalityLbConfig, LocalitySpecifier,
    OverrideHost, RingHash, RingHashFunction, SelectionMethod, Subset, TypedPolicy,
};
use crate::config::scalar::Struct;
use crate::headers::Name;
use crate::upstream::Criteria;
use crate::upstream::metadata::Metadata;
use crate::upstream::spec::{
    Balancing, Fallback, Hashing, OverrideSource, Policy, SelectorFallback, SubsetSelector,
    SubsetSpec, ZoneSpec,
};

impl Workshop<'_> {
    /// The policy of a cluster where it is an extension.
    pub(super) fn typed_policy(
        &mut self,
        written: &Written,
        policies: &LoadBalancingPolicy,
        built: &mut Balancing,
        place: Place<'_>,
    ) {
        // As in Envoy the extension says all that there is to say.
        built.by_locality = false;
        built.fails_on_panic = false;
        built.zones = Some(ZoneSpec::default());
        if written.lb_subset_config.is_some() {
            let message = "'lb_subset_config' and 'load_balancing_policy' exclude each other";
            self.diagnostics
                .error(place.field("lb_subset_config"), message);
        }
        self.first_policy(
            written,
            policies,
            built,
            place.field("load_balancing_policy"),
        );
    }

    /// The first policy of a list: Nuncio has all that it accepts.
    fn first_policy(
        &mut self,
        written: &Written,
        list: &LoadBalancingPolicy,
        built: &mut Balancing,
        place: Place<'_>,
    ) {
        let here = place.field("policies");
        let Some(policy) = list.policies.first() else {
            self.diagnostics
                .error(here, "there is no policy in this list");
            return;
        };
        let here = here.index(0).field("typed_extension_config");
        let here = here.field("typed_config");
        built.policy = match &policy.typed_extension_config.policy {
            TypedPolicy::RoundRobin(config) => {
                slow_start(config.slow_start_config.as_ref(), built);
                locality(config.locality_lb_config.as_ref(), built);
                Policy::RoundRobin
            }
            TypedPolicy::LeastRequest(config) => {
                slow_start(config.slow_start_config.as_ref(), built);
                locality(config.locality_lb_config.as_ref(), built);
                let full_scan = config.selection_method == SelectionMethod::FullScan;
                let bias = config.active_request_bias.as_ref();
                least_request(config.choice_count, bias, full_scan, built)
            }
            TypedPolicy::Random(config) => {
                locality(config.locality_lb_config.as_ref(), built);
                Policy::Random
            }
            TypedPolicy::RingHash(config) => self.typed_ring(config, built, here),
            TypedPolicy::Maglev(config) => {
                built.by_locality = config.locality_weighted_lb_config.is_some();
                Policy::Maglev {
                    size: self.maglev_size(config.table_size, here),
                    hashing: typed_hashing(config.consistent_hashing_lb_config.as_ref()),
                }
            }
            TypedPolicy::Subset(config) => {
                return self.typed_subset(written, config, built, here);
            }
            TypedPolicy::OverrideHost(config) => {
                return self.override_host(written, config, built, here);
            }
            TypedPolicy::ClusterProvided(_) => {
                self.check_provided(written, here);
                Policy::Provided
            }
        };
    }

    fn typed_ring(&mut self, config: &RingHash, built: &mut Balancing, place: Place<'_>) -> Policy {
        built.by_locality = config.locality_weighted_lb_config.is_some();
        let ring = ring(
            config.minimum_ring_size,
            config.maximum_ring_size,
            config.hash_function == RingHashFunction::MurmurHash2,
        );
        self.check_ring(ring, place);
        let older = ConsistentHashing {
            use_hostname_for_hashing: config.use_hostname_for_hashing,
            hash_balance_factor: config.hash_balance_factor,
        };
        let newer = config.consistent_hashing_lb_config.as_ref();
        Policy::Ring {
            ring,
            hashing: typed_hashing(Some(newer.unwrap_or(&older))),
        }
    }

    fn typed_subset(
        &mut self,
        written: &Written,
        config: &Subset,
        built: &mut Balancing,
        place: Place<'_>,
    ) {
        if built.subsets.is_some() {
            self.diagnostics
                .error(place, "not supported by nuncio: subsets within subsets");
        }
        let selection = LbSubsetConfig {
            fallback_policy: config.fallback_policy,
            default_subset: config.default_subset.clone(),
            subset_selectors: config.subset_selectors.clone(),
            locality_weight_aware: config.locality_weight_aware,
            scale_locality_weight: config.scale_locality_weight,
            panic_mode_any: config.panic_mode_any,
            list_as_any: config.list_as_any,
            metadata_fallback_policy: config.metadata_fallback_policy,
        };
        if config.subset_selectors.is_empty()
            && config.fallback_policy == FallbackPolicy::NoFallback
        {
            let message = "without 'subset_selectors' and without a fallback nobody is chosen";
            self.diagnostics.warning(place, message);
        }
        built.subsets = Some(SubsetSpec {
            takes_more_keys: config.allow_redundant_keys,
            ..self.subsets(&selection, place)
        });
        let here = place.field("subset_lb_policy");
        match &config.subset_lb_policy {
            Some(policies) => self.first_policy(written, policies, built, here),
            None => {
                self.diagnostics
                    .error(here, "a policy within the subsets is needed");
            }
        }
    }

    fn override_host(
        &mut self,
        written: &Written,
        config: &OverrideHost,
        built: &mut Balancing,
        place: Place<'_>,
    ) {
        if built.subsets.is_some() {
            let message = "not supported by nuncio: 'override_host' within subsets";
            self.diagnostics.error(place, message);
        }
        let here = place.field("override_host_sources");
        if !built.overrides.is_empty() {
            let message = "no effect: the policy around this one has looked at what requests name";
            self.diagnostics.warning(here, message);
            return self.first_policy(
                written,
                &config.fallback_policy,
                built,
                place.field("fallback_policy"),
            );
        }
        for (index, source) in config.override_host_sources.iter().enumerate() {
            let here = here.index(index);
            let source = match (source.header.as_str(), &source.metadata) {
                ("", Some(key)) => self
                    .metadata_key(key, here.field("metadata"))
                    .map(OverrideSource::Metadata),
                (name, None) if !name.is_empty() => match Name::parse(name.as_bytes()) {
                    Ok(name) => Some(OverrideSource::Field(name)),
                    Err(_) => {
                        let message = format!("\"{name}\" is not the name of a field");
                        self.diagnostics.error(here.field("header"), message);
                        None
                    }
                },
                _ => {
                    self.diagnostics
                        .error(here, "one of 'header' and 'metadata' must be set");
                    None
                }
            };
            built.overrides.extend(source);
        }
        if let Some(key) = &config.selected_host_key {
            built.shows_choice = self.metadata_key(key, place.field("selected_host_key"));
        }
        let here = place.field("fallback_policy");
        self.first_policy(written, &config.fallback_policy, built, here);
    }

    /// Which subsets there are, and who takes the place of one that is not there.
    pub(super) fn subsets(&mut self, written: &LbSubsetConfig, place: Place<'_>) -> SubsetSpec {
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
        SubsetSpec {
            fallback,
            default: Some(criteria_of(written.default_subset.as_ref())),
            selectors,
            keeps_locality_weights: written.locality_weight_aware,
            scales_locality_weights: written.scale_locality_weight,
            any_in_panic: written.panic_mode_any,
            list_is_any: written.list_as_any,
            takes_alternatives: written.metadata_fallback_policy
                == MetadataFallbackPolicy::FallbackList,
            takes_more_keys: false,
        }
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
}

fn typed_hashing(written: Option<&ConsistentHashing>) -> Hashing {
    written.map_or(Hashing::DEFAULT, |written| {
        hashing(
            written.use_hostname_for_hashing,
            written.hash_balance_factor,
        )
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
        }
        None => {}
    }
}

fn criteria_of(written: Option<&Struct>) -> Criteria {
    Criteria::new(written.map_or_else(Metadata::new, fields))
}
