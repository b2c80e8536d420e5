//! The configurations that made-up messages go through.
//!
//! Owns their fields and the template that has all of them, each for several lanes: a lane is a listener
//! of its own and an upstream of its own, so that what an upstream receives is known to be of one
//! conversation.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One configuration of the connection manager and of the cluster behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Name, unique.
    pub name: &'static str,
    /// Fields of the connection manager.
    manager: &'static [&'static str],
    /// Options of HTTP/1 of the cluster.
    cluster: &'static str,
}

/// The cluster of most of them.
const PLAIN: &str = "{}";
const TRAILERS: &str = "{ enable_trailers: true }";
const KEPT: &str = "{ enable_trailers: true, header_key_format: { stateful_formatter: { name: preserve_case, \
    typed_config: { '@type': type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig } } } }";

/// All of them.
pub const ALL: &[Variant] = &[
    of("default", &[], PLAIN),
    of(
        "paths",
        &[
            "normalize_path: true",
            "merge_slashes: true",
            "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD",
        ],
        PLAIN,
    ),
    of(
        "escaped slashes",
        &[
            "normalize_path: true",
            "path_with_escaped_slashes_action: REJECT_REQUEST",
        ],
        PLAIN,
    ),
    of(
        "HTTP/1.0",
        &["http_protocol_options: { accept_http_10: true, default_host_for_http_10: def.example }"],
        PLAIN,
    ),
    of(
        "HTTP/1.0 with hosts",
        &["http_protocol_options: { accept_http_10: true }"],
        PLAIN,
    ),
    of(
        "trailers",
        &["http_protocol_options: { enable_trailers: true }"],
        TRAILERS,
    ),
    of(
        "kept spelling",
        &[
            "http_protocol_options: { enable_trailers: true, header_key_format: { stateful_formatter: { name: preserve_case, \
            typed_config: { '@type': type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig } } } }",
        ],
        KEPT,
    ),
    of(
        "ports of hosts",
        &["strip_any_host_port: true", "strip_trailing_host_dot: true"],
        PLAIN,
    ),
    of(
        "lengths beside chunks",
        &["http_protocol_options: { allow_chunked_length: true }"],
        PLAIN,
    ),
    of(
        "underscores refused",
        &[
            "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
            "http_protocol_options: { enable_trailers: true }",
        ],
        TRAILERS,
    ),
    of(
        "underscores dropped",
        &[
            "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER }",
            "http_protocol_options: { enable_trailers: true }",
        ],
        TRAILERS,
    ),
    of(
        "errors of streams",
        &["stream_error_on_invalid_http_message: true"],
        PLAIN,
    ),
    of(
        "upgrades",
        &[
            "upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: CONNECT }, { upgrade_type: other }]",
        ],
        PLAIN,
    ),
    of("interim", &["proxy_100_continue: true"], PLAIN),
    of(
        "edge",
        &[
            "use_remote_address: true",
            "xff_num_trusted_hops: 1",
            "via: me",
        ],
        PLAIN,
    ),
    of(
        "small",
        &[
            "max_request_headers_kb: 1",
            "common_http_protocol_options: { max_headers_count: 8 }",
            "http_protocol_options: { enable_trailers: true }",
        ],
        TRAILERS,
    ),
    of(
        "no absolute URLs",
        &["http_protocol_options: { allow_absolute_url: false, allow_custom_methods: true }"],
        PLAIN,
    ),
];

const fn of(
    name: &'static str,
    manager: &'static [&'static str],
    cluster: &'static str,
) -> Variant {
    Variant {
        name,
        manager,
        cluster,
    }
}

/// The variant of that name.
#[must_use]
pub fn named(name: &str) -> Variant {
    let found = ALL.iter().find(|variant| variant.name == name);
    *found.unwrap_or_else(|| panic!("no variant is {name:?}"))
}

/// What a template is made for.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    /// All variants.
    pub(super) variants: &'a [Variant],
    /// Those that there are listeners for, by their places.
    pub(super) used: &'a BTreeSet<usize>,
    /// How many conversations there may be at once.
    pub(super) lanes: usize,
    /// Whether upstream connections take more than one request.
    pub(super) reuse: bool,
}

impl Plan<'_> {
    /// The name of the port that a variant's listener has for a lane.
    #[must_use]
    pub(super) fn listener(variant: usize, lane: usize) -> String {
        format!("v{variant}l{lane}")
    }

    /// The name of the port of a lane's upstream.
    #[must_use]
    pub(super) fn upstream(lane: usize) -> String {
        format!("u{lane}")
    }

    /// The configuration of the proxy.
    #[must_use]
    pub(super) fn template(&self) -> String {
        let mut listeners = String::new();
        let mut clusters = String::new();
        let variants = self.variants.iter().enumerate();
        for (at, variant) in variants.filter(|(at, _)| self.used.contains(at)) {
            for lane in 0..self.lanes {
                listeners.push_str(&listener(at, *variant, lane));
                clusters.push_str(&self.cluster(at, *variant, lane));
            }
        }
        format!(
            "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}\n\
             static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}"
        )
    }

    fn cluster(&self, at: usize, variant: Variant, lane: usize) -> String {
        let once = if self.reuse {
            ""
        } else {
            "common_http_protocol_options: { max_requests_per_connection: 1 }"
        };
        let port = Self::upstream(lane);
        let options = variant.cluster;
        format!(
            r#"  - name: c{at}l{lane}
    type: STATIC
    connect_timeout: 2s
    load_assignment:
      cluster_name: c{at}l{lane}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:{port}@ }} }} }} }}] }}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        {once}
        explicit_http_config: {{ http_protocol_options: {options} }}
"#
        )
    }
}

fn listener(at: usize, variant: Variant, lane: usize) -> String {
    let mut fields = String::new();
    for field in variant.manager {
        let _infallible = write!(fields, "\n          {field}");
    }
    let tunnels = if variant.name == "upgrades" {
        format!(
            "\n              - match: {{ connect_matcher: {{}} }}\n                \
             route: {{ cluster: c{at}l{lane}, upgrade_configs: [{{ upgrade_type: CONNECT }}] }}"
        )
    } else {
        String::new()
    };
    let port = Plan::listener(at, lane);
    format!(
        r#"  - name: {port}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:{port}@ }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: made_up
          delayed_close_timeout: 0.03s{fields}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:{tunnels}
              - match: {{ prefix: /direct }}
                direct_response: {{ status: 200, body: {{ inline_string: direct }} }}
              - match: {{ prefix: / }}
                route: {{ cluster: c{at}l{lane} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#
    )
}
