//! What is said about a part of Envoy's API that the proxy does not implement.
//!
//! Owns the words: that it is not supported, which feature it belongs to, and what to write
//! instead where there is something. Called where a field or type of the API is met that the model
//! does not have.

use crate::config::schema::Message;

/// The error and the hint for a field of `message` that the model does not have.
pub(super) fn field(message: &str, field: &str) -> (String, Option<String>) {
    let known = FEATURES
        .iter()
        .find(|(of, name, ..)| message.ends_with(of) && is_about(name, field));
    let (feature, hint) = known.map_or(("", ""), |(_, _, feature, hint)| (*feature, *hint));
    let mut text = format!("not supported by nuncio: field '{field}'");
    if !feature.is_empty() {
        text = format!("not supported by nuncio: {feature} (field '{field}')");
    }
    let was_removed = Message::find(message).is_some_and(|message| message.was_removed(field));
    let hint = match (was_removed, hint) {
        (true, "") => Some(format!(
            "'{field}' is a field of Envoy's v2 API, which v3 does not have"
        )),
        (true, hint) => Some(format!("'{field}' is a field of Envoy's v2 API: {hint}")),
        (false, "") => None,
        (false, hint) => Some(hint.to_owned()),
    };
    (text, hint)
}

/// Whether a field that Envoy's v3 API does not have is known all the same, from older versions or
/// from examples that are passed around.
pub(super) fn is_known(message: &str, field: &str) -> bool {
    Message::find(message).is_some_and(|message| message.was_removed(field))
        || FEATURES
            .iter()
            .any(|(of, name, ..)| message.ends_with(of) && is_about(name, field))
}

/// Whether an entry of [`FEATURES`] is about `field`.
fn is_about(name: &str, field: &str) -> bool {
    name == field || name == ANY
}

/// Any field: of what is no message but a mapping with names of its own.
const ANY: &str = "*";

/// Message, field, the feature that it belongs to, what to do instead.
const FEATURES: &[(&str, &str, &str, &str)] = &[
    (
        "listener.v3.Listener",
        "udp_listener_config",
        "UDP, and with it HTTP/3",
        "",
    ),
    (
        "listener.v3.Listener",
        "internal_listener",
        "internal listeners",
        "a listener has an 'address', which may be a Unix socket ('pipe')",
    ),
    (
        "core.v3.Address",
        "envoy_internal_address",
        "internal listeners",
        "use 'socket_address', or 'pipe' for a Unix socket",
    ),
    (
        "listener.v3.Listener",
        "api_listener",
        "listeners without a socket",
        "",
    ),
    (
        "TypedEndpointMetadata",
        ANY,
        "typed metadata of other names",
        "",
    ),
    (
        "TypedExtensionProtocolOptions",
        "envoy.filters.network.redis_proxy",
        "Redis",
        "",
    ),
    (
        "TypedExtensionProtocolOptions",
        "envoy.filters.network.thrift_proxy",
        "Thrift",
        "",
    ),
    (
        "TypedExtensionProtocolOptions",
        "http_filters",
        "HTTP filters of clusters",
        CLUSTER_FILTERS,
    ),
    (
        "upstreams.http.v3.HttpProtocolOptions",
        "http_filters",
        "HTTP filters of clusters",
        CLUSTER_FILTERS,
    ),
    (
        "cluster.v3.Cluster",
        "http_filters",
        "HTTP filters of clusters",
        CLUSTER_FILTERS,
    ),
    (
        "cluster.v3.Cluster",
        "filters",
        "network filters of clusters",
        "",
    ),
    (
        "router.v3.Router",
        "upstream_http_filters",
        "HTTP filters of upstream requests",
        CLUSTER_FILTERS,
    ),
    (
        "cluster.v3.Cluster",
        "hosts",
        "",
        "list the endpoints in 'load_assignment'",
    ),
    (
        "HttpConnectionManager",
        "ratelimit",
        "global rate limiting",
        RATELIMIT,
    ),
    (
        "route.v3.RouteAction",
        "include_vh_rate_limits",
        "descriptors of rate limits",
        RATELIMIT,
    ),
    (
        "route.v3.VirtualHost",
        "rate_limits",
        "descriptors of rate limits",
        RATELIMIT,
    ),
    (
        "route.v3.RouteAction",
        "rate_limits",
        "descriptors of rate limits",
        RATELIMIT,
    ),
    (
        "LocalRateLimit",
        "descriptors",
        "descriptors of rate limits",
        RATELIMIT,
    ),
    (
        "HttpConnectionManager.Tracing",
        "provider",
        "tracing",
        "leave it out to run without traces",
    ),
    (
        "HttpConnectionManager.Tracing",
        "custom_tags",
        "tracing",
        "leave it out to run without traces",
    ),
    (
        "route.v3.Tracing",
        "custom_tags",
        "tracing",
        "leave it out to run without traces",
    ),
    (
        "HttpConnectionManager",
        "rds",
        "route discovery",
        "write the routes in 'route_config'",
    ),
    (
        "HttpConnectionManager",
        "scoped_routes",
        "scoped routes",
        "",
    ),
    (
        "route.v3.RouteMatch",
        "regex",
        "",
        "use 'safe_regex: { regex: … }'",
    ),
    (
        "bootstrap.v3.Bootstrap",
        "dynamic_resources",
        "xDS",
        "write listeners and clusters in 'static_resources'",
    ),
    (
        "bootstrap.v3.Bootstrap",
        "overload_manager",
        "the overload manager",
        "leave it out to run without its actions; what clients can make the proxy hold is bounded all the same",
    ),
    (
        "bootstrap.v3.Bootstrap",
        "stats_sinks",
        "statistics that are sent",
        "leave it out and have '/stats/prometheus' of the admin server asked",
    ),
    (
        "bootstrap.v3.Bootstrap",
        "application_log_config",
        "the form of the application log",
        "use the flag '--log-format'",
    ),
    (
        "bootstrap.v3.ClusterManager",
        "load_stats_config",
        "load reports",
        "leave it out to run without them",
    ),
    (
        "bootstrap.v3.Bootstrap",
        "runtime",
        "",
        "use 'layered_runtime' with a 'static_layer' or a 'disk_layer'",
    ),
    (
        "bootstrap.v3.RuntimeLayer",
        "rtds_layer",
        "runtime values from a management server",
        "",
    ),
];

const CLUSTER_FILTERS: &str = "HTTP filters stand in 'http_filters' of the connection manager; \
                               'envoy.filters.http.upstream_codec' alone changes nothing and can be left out";

/// The field of `message` in whose place stands `field`, which is not there.
pub(super) fn in_place_of(message: &str, field: &str) -> Option<&'static str> {
    let is_listener = message == "envoy.config.listener.v3.Listener";
    let has_no_address = matches!(field, "internal_listener" | "api_listener");
    (is_listener && has_no_address).then_some("address")
}

const RATELIMIT: &str = "for limits of this proxy alone, add the HTTP filter \
                         'envoy.filters.http.local_ratelimit' to 'http_filters'; routes can have \
                         buckets of their own in 'typed_per_filter_config'";
