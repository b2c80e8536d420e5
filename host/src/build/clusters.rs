//! Clusters: `envoy.config.cluster.v3.Cluster` to [`Cluster`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::dns::Placed;
use super::http2::NO_METADATA;
use super::manager::name_format;
use super::metadata::static_metadata;
use super::{Workshop, upstream_connection};
use crate::address::Address;
use crate::config::Place;
use crate::config::address::{Address as WrittenAddress, AddressKind};
use crate::config::circuit_breaker::{CircuitBreakers, RetryBudget as WrittenBudget};
use crate::config::cluster::{
    Cluster as Written, ClusterDiscovery, ClusterProtocolSelection, DiscoveryType,
    UpstreamProtocolOptions,
};
use crate::config::dns::ClusterExtension;
use crate::config::endpoint::Endpoint as WrittenEndpoint;
use crate::config::protocol::HeadersWithUnderscoresAction;
use crate::config::route::RoutingPriority;
use crate::config::scalar::Duration as WrittenDuration;
use crate::limits;
use crate::observe::registry::Scope;
use crate::upstream::Cluster;
use crate::upstream::cluster::Outlets;
use crate::upstream::spec::{
    ClusterSpec, Dial, Discovery, Http2Settings, Protocol, RetryBudget, StaticEndpoint, Thresholds,
};
use crate::values::Share;

impl Workshop<'_> {
    /// Builds all clusters. One with errors is left out, but its name is known, so that routes to it
    /// are not errors as well.
    pub(super) fn clusters(&mut self, written: &[Written], place: Place<'_>) -> Vec<Arc<Cluster>> {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut built = Vec::new();
        for (index, cluster) in written.iter().enumerate() {
            let here = place.index(index);
            if let Some(first) = seen.insert(&cluster.name, index) {
                let message = format!("duplicate cluster \"{}\"", cluster.name);
                let other = place.index(first).field("name");
                self.diagnostics
                    .error(here.field("name"), message)
                    .related_place(other, "the first one");
                continue;
            }
            self.clusters.insert(cluster.name.clone(), built.len());
            self.check_older_options(cluster, here);
            let cluster = &*cluster.modern();
            if let Some(spec) = self.cluster(cluster, here) {
                let name = spec.alt_stat_name.as_ref().unwrap_or(&spec.name);
                let mut outlets = self.outlets(&spec, &Scope::cluster(name));
                outlets.check_logs = self.check_logs(cluster, here.field("health_checks"));
                let scope = Scope::cluster(name);
                let cluster = Cluster::with_outlets(spec, self.settings.workers, outlets);
                self.registry.register(scope, cluster.breakers());
                built.push(cluster);
            }
        }
        built
    }

    /// What older fields about HTTP may not say together, and where they say nothing.
    fn check_older_options(&mut self, written: &Written, place: Place<'_>) {
        let typed = written.http_options();
        let common = match typed {
            Some(options) => &options.common_http_protocol_options,
            None => &written.common_http_protocol_options,
        };
        let newer = common
            .as_ref()
            .and_then(|common| common.max_requests_per_connection);
        if newer.is_some() && written.max_requests_per_connection.is_some() {
            let message = "'max_requests_per_connection' may be in the cluster or in its options for HTTP, not in both";
            self.diagnostics
                .error(place.field("max_requests_per_connection"), message);
        }
        let downstream =
            written.protocol_selection == ClusterProtocolSelection::UseDownstreamProtocol;
        let http1 = written.http_protocol_options.is_some();
        let http2 = written.http2_protocol_options.is_some();
        if http1 && http2 && !downstream {
            let message = "'http_protocol_options' and 'http2_protocol_options' exclude each other without 'USE_DOWNSTREAM_PROTOCOL'";
            self.diagnostics
                .error(place.field("http2_protocol_options"), message);
        }
        for (field, is_set) in [
            ("http_protocol_options", http1),
            ("http2_protocol_options", http2),
            ("protocol_selection", downstream),
            (
                "common_http_protocol_options",
                written.common_http_protocol_options.is_some(),
            ),
            (
                "upstream_http_protocol_options",
                written.upstream_http_protocol_options.is_some(),
            ),
        ] {
            if is_set && typed.is_some() {
                let message = "no effect: 'typed_extension_protocol_options' counts alone";
                self.diagnostics.warning(place.field(field), message);
            }
        }
    }

    /// `auto_config` has endpoints choose in the TLS handshake: one that is reached without has nothing to
    /// choose by.
    fn check_choice(&mut self, written: &Written, dial: &Dial, place: Place<'_>) {
        let chosen = written.http_options().is_some_and(|options| {
            matches!(options.protocol, UpstreamProtocolOptions::AutoConfig(_))
        });
        if !chosen || dial.is_always_tls() {
            return;
        }
        let here = place
            .field("typed_extension_protocol_options")
            .field("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
            .field("auto_config");
        let message = "endpoints choose the protocol in a TLS handshake, and not all of these are reached over TLS";
        self.diagnostics.error(here, message).hint(
            "give the cluster, and each entry of 'transport_socket_matches', a transport socket of TLS; or say what endpoints speak in 'explicit_http_config'",
        );
    }

    /// What is spoken to endpoints.
    fn protocol(&mut self, written: &Written, place: Place<'_>) -> Protocol {
        let Some(options) = written.http_options() else {
            return match &written.http2_protocol_options {
                Some(http2) => Protocol::Http2(
                    self.http2_to_upstreams(http2, place.field("http2_protocol_options")),
                ),
                None => Protocol::Http1,
            };
        };
        let place = place
            .field("typed_extension_protocol_options")
            .field("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
        let field = match &options.protocol {
            UpstreamProtocolOptions::ExplicitHttpConfig(_) => "explicit_http_config",
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(_) => {
                "use_downstream_protocol_config"
            }
            UpstreamProtocolOptions::AutoConfig(_) => "auto_config",
        };
        let place = place.field(field).field("http2_protocol_options");
        let http2 = options.protocol.http2();
        match (&options.protocol, http2) {
            (UpstreamProtocolOptions::AutoConfig(_), http2) => Protocol::Negotiated(match http2 {
                Some(http2) => self.http2_to_upstreams(http2, place),
                None => Http2Settings::default(),
            }),
            (UpstreamProtocolOptions::ExplicitHttpConfig(_), Some(http2)) => {
                Protocol::Http2(self.http2_to_upstreams(http2, place))
            }
            (UpstreamProtocolOptions::UseDownstreamProtocolConfig(_), Some(http2)) => {
                Protocol::AsClient(self.http2_to_upstreams(http2, place))
            }
            (_, None) => Protocol::Http1,
        }
    }

    /// What has no effect where one is to be expected.
    fn warn_of_idle_options(&mut self, written: &Written, place: Place<'_>) {
        let Some(options) = written.http_options() else {
            return;
        };
        let place = place.field("typed_extension_protocol_options");
        let common = options.common_http_protocol_options.as_ref();
        let action = common.map(|common| common.headers_with_underscores_action);
        if action.is_some_and(|action| action != HeadersWithUnderscoresAction::Allow) {
            let message = "no effect: Envoy takes 'headers_with_underscores_action' for upstreams and looks at no answer, and so does nuncio";
            self.diagnostics.warning(place, message);
        }
        let http1 = options.protocol.http1();
        if http1.is_some_and(|http1| !http1.ignore_http_11_upgrade.is_empty()) {
            let message = "no effect: 'ignore_http_11_upgrade' is about requests of clients, and not about what upstreams answer to upgrades";
            self.diagnostics.warning(place, message);
        }
        if options
            .protocol
            .http2()
            .is_some_and(|http2| http2.allow_metadata)
        {
            self.diagnostics.warning(place, NO_METADATA);
        }
    }

    /// Where a cluster counts and writes.
    fn outlets(&self, spec: &ClusterSpec, scope: &Scope) -> Outlets {
        let policy = spec.balancing.policy;
        let detection = spec.outlier_detection.as_ref();
        Outlets {
            cluster: self.registry.sharded(scope.clone()),
            http2: spec
                .http2_settings()
                .map(|_| self.registry.sharded(scope.clone())),
            sizes: spec
                .counts_sizes
                .then(|| self.registry.sharded(scope.clone())),
            budgets: spec
                .counts_budgets
                .then(|| self.registry.sharded(scope.clone())),
            ring: policy
                .is_ring()
                .then(|| self.registry.sharded(scope.clone())),
            maglev: policy
                .is_maglev()
                .then(|| self.registry.sharded(scope.clone())),
            outlier: detection.map(|_| self.registry.sharded(scope.clone())),
            outlier_log: detection.and_then(|_| self.outlier_log.clone()),
            check_logs: Vec::new(),
            home: self.home.clone(),
            values: Arc::clone(&self.values),
        }
    }

    fn cluster(&mut self, written: &Written, place: Place<'_>) -> Option<ClusterSpec> {
        let discovery = self.discovery(written, place)?;
        let mut spec = ClusterSpec::new(&written.name, discovery);
        if !written.alt_stat_name.is_empty() {
            spec.alt_stat_name = Some(written.alt_stat_name.as_str().into());
        }
        if let Some(timeout) = written.connect_timeout {
            spec.connect_timeout = timeout.get();
        }
        spec.balancing = self.balancing(written, place);
        spec.outlier_detection = self.outlier_detection(written, place.field("outlier_detection"));
        spec.dial = self.dial(written, place)?;
        self.check_choice(written, &spec.dial, place);
        spec.protocol = self.protocol(written, place);
        spec.auto_names = self.auto_names(written, place);
        if let Some(http1) = written
            .http_options()
            .and_then(|options| options.protocol.http1())
        {
            spec.http1_trailers = http1.enable_trailers;
            spec.http1_chunked_length = http1.allow_chunked_length;
            spec.http1_names = name_format(http1.header_key_format.as_ref());
            spec.http1_absolute_target = http1.send_fully_qualified_url;
        }
        if let Some(breakers) = &written.circuit_breakers {
            spec.breakers = self.breakers(breakers, place.field("circuit_breakers"));
        }
        spec.health_checks = self.health_checks(written, place.field("health_checks"))?;
        spec.holds_up_start = written.wait_for_warm_on_init.unwrap_or(true);
        spec.ignore_health_on_host_removal = written.ignore_health_on_host_removal;
        self.warn_of_idle_options(written, place);
        if let Some(options) = written.http_options()
            && let Some(common) = &options.common_http_protocol_options
        {
            if let Some(idle) = common.idle_timeout {
                spec.idle_timeout = idle.non_zero();
            }
            let max = common.max_requests_per_connection.and_then(NonZeroU32::new);
            spec.max_requests_per_connection = max;
            spec.max_connection_duration = common
                .max_connection_duration
                .and_then(WrittenDuration::non_zero);
            spec.max_stream_duration = common
                .max_stream_duration
                .and_then(WrittenDuration::non_zero);
            if let Some(count) = common.max_headers_count {
                spec.response_fields = count;
            }
            if let Some(kib) = common.max_response_headers_kb {
                spec.response_head_bytes = kib.saturating_mul(1024);
                match &mut spec.protocol {
                    Protocol::Http1 => {}
                    Protocol::Http2(settings)
                    | Protocol::Negotiated(settings)
                    | Protocol::AsClient(settings) => {
                        settings.max_header_list = spec.response_head_bytes;
                    }
                }
            }
        }
        if let Some(limit) = written.per_connection_buffer_limit_bytes {
            spec.limit_buffers(limit);
        }
        spec.drop_overload = self.drop_overload(written, place.field("load_assignment"));
        spec.preconnect = upstream_connection::preconnect(written);
        spec.closes_on_failure = written.close_connections_on_host_health_failure;
        spec.renews_on_change = written
            .common_lb_config
            .as_ref()
            .is_some_and(|common| common.close_connections_on_host_set_change);
        spec.pool_per_client = written.connection_pool_per_downstream_connection;
        spec.metadata = static_metadata(written.metadata.as_ref());
        let tracked = written.track_cluster_stats;
        spec.counts_endpoints = tracked.is_some_and(|tracked| tracked.per_endpoint_stats);
        spec.counts_sizes = tracked.is_some_and(|tracked| tracked.request_response_sizes);
        spec.counts_budgets =
            written.track_timeout_budgets || tracked.is_some_and(|tracked| tracked.timeout_budgets);
        Some(spec)
    }

    fn discovery(&mut self, written: &Written, place: Place<'_>) -> Option<Discovery> {
        if written.names_destinations() {
            return Some(self.original_destination(written, place));
        }
        let assignment = written.load_assignment.as_ref();
        let here = place.field("load_assignment").field("endpoints");
        let groups = assignment.map(|assignment| assignment.endpoints.iter().enumerate());
        let mut endpoints = Vec::new();
        for (group_index, group) in groups.into_iter().flatten() {
            let here = here.index(group_index);
            if group.priority > limits::PRIORITY_MAX {
                let message = format!("priorities are at most {}", limits::PRIORITY_MAX);
                self.diagnostics.error(here.field("priority"), message);
            }
            for (index, endpoint) in group.lb_endpoints.iter().enumerate() {
                let here = here.field("lb_endpoints").index(index);
                let traits = self.traits(group, endpoint, here);
                endpoints.push((endpoint, Arc::new(traits), here));
            }
        }
        if written.cleanup_interval.is_some() {
            self.diagnostics.warning(
                place.field("cleanup_interval"),
                "no effect: only endpoints of an ORIGINAL_DST cluster are cleaned up",
            );
        }
        match &written.discovery {
            None
            | Some(ClusterDiscovery::Type(DiscoveryType::Static | DiscoveryType::OriginalDst)) => {
                self.static_endpoints(endpoints).map(Discovery::Static)
            }
            Some(ClusterDiscovery::Type(DiscoveryType::StrictDns)) => {
                self.by_name(written, endpoints, false, place)
            }
            Some(ClusterDiscovery::Type(DiscoveryType::LogicalDns)) => {
                self.by_name(written, endpoints, true, place)
            }
            Some(ClusterDiscovery::ClusterType(custom)) => match &custom.config {
                ClusterExtension::Dns(dns) => self.dns_cluster(written, dns, endpoints, place),
                ClusterExtension::OriginalDst(_) => {
                    self.static_endpoints(endpoints).map(Discovery::Static)
                }
            },
        }
    }

    /// Which part of the requests is turned away.
    fn drop_overload(&mut self, written: &Written, place: Place<'_>) -> Option<Share> {
        let policy = written.load_assignment.as_ref()?.policy.as_ref()?;
        let here = place.field("policy").field("drop_overloads");
        if policy.drop_overloads.len() > 1 {
            let message = "as in Envoy there is one entry at most";
            self.diagnostics.error(here.index(1), message);
        }
        let percentage = policy.drop_overloads.first()?.drop_percentage?;
        let denominator = percentage.denominator.get();
        if percentage.numerator > denominator {
            let here = here.index(0).field("drop_percentage").field("numerator");
            let message = format!("more than all of them, which are {denominator}");
            self.diagnostics.error(here, message);
        }
        (percentage.numerator > 0).then(|| Share::of(percentage.numerator, denominator))
    }

    fn static_endpoints(&mut self, endpoints: Vec<Placed<'_, '_>>) -> Option<Vec<StaticEndpoint>> {
        let mut built = Vec::new();
        let mut whole = true;
        for (written, traits, place) in endpoints {
            let at = place.field("endpoint").field("address");
            match self.literal_address(&written.endpoint().address, at) {
                Some(address) => built.push(StaticEndpoint { address, traits }),
                None => whole = false,
            }
        }
        whole.then_some(built)
    }

    /// The address, which has to be a literal one or a Unix socket.
    pub(super) fn literal_address(
        &mut self,
        written: &WrittenAddress,
        place: Place<'_>,
    ) -> Option<Address> {
        let socket = match &written.address {
            AddressKind::SocketAddress(socket) => socket,
            AddressKind::Pipe(pipe) => return Some(Address::Unix(pipe.path.as_str().into())),
        };
        if let Ok(ip) = socket.address.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, socket.port()).into());
        }
        let at = place.field("socket_address").field("address");
        let message = format!("malformed IP address \"{}\"", socket.address);
        self.diagnostics
            .error(at, message)
            .hint("a STATIC cluster has literal addresses; for names set the cluster's type to STRICT_DNS or LOGICAL_DNS");
        None
    }

    /// `additional_addresses`.
    pub(super) fn other_addresses(
        &mut self,
        written: &WrittenEndpoint,
        place: Place<'_>,
    ) -> Vec<Address> {
        let here = place.field("additional_addresses");
        let written = written.additional_addresses.iter().enumerate();
        written
            .filter_map(|(index, other)| {
                self.literal_address(&other.address, here.index(index).field("address"))
            })
            .collect()
    }

    fn breakers(&mut self, written: &CircuitBreakers, place: Place<'_>) -> [Thresholds; 2] {
        let mut built = [Thresholds::default(); 2];
        let [normal, high] = &mut built;
        let mut seen = Vec::new();
        for (index, thresholds) in written.thresholds.iter().enumerate() {
            if seen.contains(&thresholds.priority) {
                let place = place.field("thresholds").index(index);
                let message = "no effect: an entry before this one is for the same priority";
                self.diagnostics.warning(place, message);
                continue;
            }
            seen.push(thresholds.priority);
            let set = match thresholds.priority {
                RoutingPriority::Default => &mut *normal,
                RoutingPriority::High => &mut *high,
            };
            let or = |limit: Option<u32>, default: u32| limit.unwrap_or(default);
            *set = Thresholds {
                max_connections: or(thresholds.max_connections, set.max_connections),
                max_pending_requests: or(thresholds.max_pending_requests, set.max_pending_requests),
                max_requests: or(thresholds.max_requests, set.max_requests),
                max_retries: or(thresholds.max_retries, set.max_retries),
                retry_budget: thresholds.retry_budget.as_ref().map(retry_budget),
                max_connection_pools: thresholds.max_connection_pools,
                max_connections_of_host: None,
                track_remaining: thresholds.track_remaining,
            };
        }
        let mut seen = Vec::new();
        for (index, thresholds) in written.per_host_thresholds.iter().enumerate() {
            if seen.contains(&thresholds.priority) {
                let place = place.field("per_host_thresholds").index(index);
                let message = "no effect: an entry before this one is for the same priority";
                self.diagnostics.warning(place, message);
                continue;
            }
            seen.push(thresholds.priority);
            let [normal, high] = &mut built;
            let set = match thresholds.priority {
                RoutingPriority::Default => normal,
                RoutingPriority::High => high,
            };
            set.max_connections_of_host = thresholds.max_connections;
        }
        let priorities = || written.thresholds.iter().map(|set| set.priority);
        if priorities().any(|priority| priority == RoutingPriority::High)
            && !priorities().any(|priority| priority == RoutingPriority::Default)
        {
            self.diagnostics
                .warning(
                    place.field("thresholds"),
                    "these limits are for requests of HIGH priority only, which a route has to ask for",
                )
                .hint("leave 'priority' out, or add thresholds of DEFAULT priority, to limit ordinary requests");
        }
        built
    }
}

fn retry_budget(written: &WrittenBudget) -> RetryBudget {
    const SHARE: u32 = 200_000;
    const MIN: u32 = 3;
    // A percentage is at most 100.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1 000 000, as the schema says"
    )]
    let share = written
        .budget_percent
        .map_or(SHARE, |percent| (percent.value * 10_000.0) as u32);
    RetryBudget {
        share,
        min: written.min_retry_concurrency.unwrap_or(MIN),
    }
}
