//! Listener filters.
//!
//! Owns their checks, and the inspector that chains need which nobody has written down. Called by
//! `listeners`.

use std::time::Duration;

use super::Workshop;
use super::listeners::or_off;
use crate::config::Place;
use crate::config::listener::{FilterChain, Listener as Written};
use crate::config::listener_filter::{
    ListenerFilterConfig, LocalRateLimit, PortPredicate, PortRule, ProxyProtocol as WrittenProxy,
    ProxyProtocolVersion, TlsInspector as WrittenInspector,
};
use crate::limits;
use crate::observe::registry::Scope;
use crate::runtime::chains::TLS;
use crate::runtime::inspection::{
    Inspection, ListenerFilter, Ports, ProxyProtocol, ProxyRule, ProxyStats, Step, TlsInspector,
};
use crate::tcp::gate::RateLimit;

/// `metadata_namespace` where a rule has none: the filter's name.
const PROXY_NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

impl Workshop<'_> {
    pub(super) fn inspection(&mut self, written: &Written, place: Place<'_>) -> Option<Inspection> {
        let here = place.field("listener_filters");
        let mut steps = Vec::new();
        for (index, filter) in written.listener_filters.iter().enumerate() {
            let disabled = filter.filter_disabled.as_ref().map(ports);
            let here = here.index(index).field("typed_config");
            let filter = match &filter.typed_config {
                ListenerFilterConfig::Tls(inspector) => {
                    Some(ListenerFilter::Tls(self.tls_inspector(inspector)))
                }
                ListenerFilterConfig::Http(_) => {
                    let scope = Scope::new("http_inspector.");
                    Some(ListenerFilter::Http(self.registry.sharded(scope)))
                }
                ListenerFilterConfig::Proxy(proxy) => {
                    Some(ListenerFilter::Proxy(Box::new(self.proxy_protocol(proxy))))
                }
                ListenerFilterConfig::OriginalDestination(_) => {
                    Some(ListenerFilter::OriginalDestination)
                }
                ListenerFilterConfig::Rate(limit) => self
                    .listener_rate_limit(limit, here)
                    .map(ListenerFilter::Rate),
            };
            steps.push(filter.map(|filter| Step { filter, disabled }));
        }
        let mut steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        let hands_over = written.use_original_dst.unwrap_or(false);
        let restores = |step: &Step| matches!(step.filter, ListenerFilter::OriginalDestination);
        if hands_over && !steps.iter().any(restores) {
            // As in Envoy: without it there would be nothing to hand over by.
            let filter = ListenerFilter::OriginalDestination;
            steps.insert(
                0,
                Step {
                    filter,
                    disabled: None,
                },
            );
        }
        self.older_proxy_protocol(written, &mut steps, place);
        self.missing_inspector(written, &mut steps, place);
        Some(Inspection {
            steps: steps.into(),
            timeout: or_off(written.listener_filters_timeout, Duration::from_secs(15)),
            continue_on_timeout: written.continue_on_listener_filters_timeout,
            hands_over,
        })
    }

    /// Adds the PROXY protocol where the older field asks for it.
    fn older_proxy_protocol(&mut self, written: &Written, steps: &mut Vec<Step>, place: Place<'_>) {
        let asks = |chain: &FilterChain| chain.use_proxy_proto == Some(true);
        let default = written.default_filter_chain.as_ref();
        let mut chains = written.filter_chains.iter().chain(default);
        let Some(index) = chains.clone().position(asks) else {
            return;
        };
        let here = match written.filter_chains.get(index) {
            Some(_) => place.field("filter_chains").index(index),
            None => place.field("default_filter_chain"),
        };
        let here = here.field("use_proxy_proto");
        let is_there = |step: &Step| matches!(step.filter, ListenerFilter::Proxy(_));
        if steps.iter().any(is_there) {
            let message = "the listener filter proxy_protocol reads the PROXY protocol already";
            self.diagnostics.error(here, message);
        } else if chains.all(asks) {
            let filter = self.proxy_protocol(&WrittenProxy::default());
            let filter = ListenerFilter::Proxy(Box::new(filter));
            let disabled = None;
            steps.insert(0, Step { filter, disabled });
        } else {
            let message = "the PROXY protocol is for all filter chains of a listener, or none";
            self.diagnostics.error(here, message).hint(
                "name envoy.filters.listener.proxy_protocol in listener_filters once instead",
            );
        }
    }

    /// Adds the TLS inspector where filter chains ask for what only it can tell.
    fn missing_inspector(&mut self, written: &Written, steps: &mut Vec<Step>, place: Place<'_>) {
        let has = |wanted: fn(&ListenerFilter) -> bool, steps: &[Step]| {
            steps.iter().any(|step| wanted(&step.filter))
        };
        if has(|filter| matches!(filter, ListenerFilter::Tls(_)), steps) {
            return;
        }
        let knows_http = has(|filter| matches!(filter, ListenerFilter::Http(_)), steps);
        let wanting = written.filter_chains.iter().position(|chain| {
            chain.filter_chain_match.as_ref().is_some_and(|wanted| {
                !wanted.server_names.is_empty()
                    || wanted.transport_protocol == TLS
                    || !(wanted.application_protocols.is_empty() || knows_http)
            })
        });
        let Some(index) = wanting else { return };
        let here = place.field("filter_chains").index(index);
        self.diagnostics
            .warning(
                here.field("filter_chain_match"),
                "what a TLS client asks for is known by envoy.filters.listener.tls_inspector, which is missing: it is added",
            )
            .hint("name it in listener_filters: Envoy closes these connections without it");
        let filter = ListenerFilter::Tls(self.tls_inspector(&WrittenInspector::default()));
        steps.push(Step {
            filter,
            disabled: None,
        });
    }

    fn tls_inspector(&self, written: &WrittenInspector) -> TlsInspector {
        let hello_max = written.max_client_hello_size.unwrap_or(limits::HELLO_BYTES);
        TlsInspector {
            hello_max: usize::try_from(hello_max).unwrap_or(usize::MAX),
            closes_others: written.close_connection_on_client_hello_parsing_errors,
            stats: self.registry.sharded(Scope::new("tls_inspector.")),
        }
    }

    fn proxy_protocol(&self, written: &WrittenProxy) -> ProxyProtocol {
        let rules = written.rules.iter().filter_map(|rule| {
            let kept = rule.on_tlv_present.as_ref()?;
            let namespace = match kept.metadata_namespace.as_str() {
                "" => PROXY_NAMESPACE,
                namespace => namespace,
            };
            Some(ProxyRule {
                kind: rule.tlv_type,
                namespace: namespace.into(),
                key: kept.key.as_str().into(),
            })
        });
        let takes = |version| !written.disallowed_versions.contains(&version);
        let prefix = &written.stat_prefix;
        ProxyProtocol {
            rules: rules.collect(),
            is_optional: written.allow_requests_without_proxy_protocol,
            takes_v1: takes(ProxyProtocolVersion::V1),
            takes_v2: takes(ProxyProtocolVersion::V2),
            stats: ProxyStats {
                missing: self.registry.sharded(Scope::proxy_protocol(prefix, None)),
                v1: self
                    .registry
                    .sharded(Scope::proxy_protocol(prefix, Some(1))),
                v2: self
                    .registry
                    .sharded(Scope::proxy_protocol(prefix, Some(2))),
                errors: self.registry.sharded(Scope::new("")),
            },
        }
    }

    fn listener_rate_limit(
        &mut self,
        written: &LocalRateLimit,
        place: Place<'_>,
    ) -> Option<RateLimit> {
        let scope = Scope::listener_rate_limit(&written.stat_prefix);
        let enabled = written.runtime_enabled.as_ref();
        self.connection_rate((&written.token_bucket, enabled), scope, place)
    }
}

fn ports(written: &PortPredicate) -> Ports {
    match &written.rule {
        // Whatever it says: as in Envoy.
        PortRule::AnyMatch(_) => Ports::Every,
        PortRule::DestinationPortRange(range) => {
            Ports::Range(i64::from(range.start), i64::from(range.end))
        }
        PortRule::NotMatch(predicate) => Ports::Not(Box::new(ports(predicate))),
        PortRule::AndMatch(all) => Ports::All(all.rules.iter().map(ports).collect()),
        PortRule::OrMatch(any) => Ports::Any(any.rules.iter().map(ports).collect()),
    }
}
