//! Configurations in parts.
//!
//! Owns the text around what a suite is about: one listener with one connection manager, the router
//! at the end of its chain, an admin interface. A part is YAML in flow style, so that it needs no
//! indentation. Called by the suites; [`crate::ports`] fills the ports in.

use std::fmt::Write as _;

use crate::guests;

/// A bootstrap whose listener is `@PORT:listener@` and whose only cluster, until others are given,
/// is `origin` at `@PORT:origin@`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    chain: Vec<String>,
    manager: Vec<String>,
    access_logs: Vec<String>,
    filters: Vec<String>,
    routes: Vec<String>,
    clusters: Vec<String>,
}

impl Config {
    /// Without filters but the router, without access logs, all requests to `origin`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field of the filter chain, such as `transport_socket: {…}`.
    #[must_use]
    pub fn chain(mut self, field: impl Into<String>) -> Self {
        self.chain.push(field.into());
        self
    }

    /// Speaks TLS with clients: the fields of `common_tls_context`, and more of the context, each with a
    /// comma in front.
    #[must_use]
    pub fn tls(self, common: &str, more: &str) -> Self {
        self.chain(format!(
            "transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
             common_tls_context: {{ {common} }}{more} }} }}"
        ))
    }

    /// Adds a field of the connection manager, such as `http2_protocol_options: {}`.
    #[must_use]
    pub fn manager(mut self, field: &str) -> Self {
        self.manager.push(field.to_owned());
        self
    }

    /// Adds a filter in front of the router.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filters.push(filter.into());
        self
    }

    /// Adds a route; the first one replaces the one for all requests.
    #[must_use]
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.routes.push(route.into());
        self
    }

    /// Adds a cluster; the first one replaces `origin`.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.clusters.push(cluster.into());
        self
    }

    /// Adds an access log.
    #[must_use]
    pub fn access_log(mut self, access_log: impl Into<String>) -> Self {
        self.access_logs.push(access_log.into());
        self
    }

    /// Adds an access log with that text format and a line end in the file that `@LOG@` names.
    #[must_use]
    pub fn log(self, format: &str) -> Self {
        let format = format!("{format}\n");
        self.access_log(file_log(
            "@LOG@",
            &format!("text_format_source: {{ inline_string: {format:?} }}"),
        ))
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        let routes = if self.routes.is_empty() {
            vec!["{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }".to_owned()]
        } else {
            self.routes.clone()
        };
        let clusters = if self.clusters.is_empty() {
            vec![cluster("origin", &[endpoint("origin", "")], "")]
        } else {
            self.clusters.clone()
        };
        let mut text = format!("admin: {{ address: {} }}\n", address("admin"));
        text.push_str("static_resources:\n  listeners:\n  - name: main\n");
        let _infallible = writeln!(text, "    address: {}", address("listener"));
        text.push_str(
            "    filter_chains:\n    - filters:\n      \
             - name: envoy.filters.network.http_connection_manager\n        typed_config:\n",
        );
        let manager = "network.http_connection_manager.v3.HttpConnectionManager";
        let mut field = |field: &str| {
            let _infallible = writeln!(text, "          {field}");
        };
        field(&format!(
            "\"@type\": type.googleapis.com/envoy.extensions.filters.{manager}"
        ));
        field("stat_prefix: ingress");
        self.manager.iter().for_each(|line| field(line));
        field(&format!("access_log: [ {} ]", self.access_logs.join(", ")));
        field(&format!(
            "route_config: {{ virtual_hosts: [ {{ name: all, domains: [\"*\"], routes: [ {} ] }} ] }}",
            routes.join(", ")
        ));
        field("http_filters:");
        for filter in &self.filters {
            field(&format!("- {filter}"));
        }
        field(&format!("- {}", filter("http.router.v3.Router", "")));
        for field in &self.chain {
            let _infallible = writeln!(text, "      {field}");
        }
        text.push_str("  clusters:\n");
        for cluster in &clusters {
            let _infallible = writeln!(text, "  - {cluster}");
        }
        text
    }
}

fn address(port: &str) -> String {
    format!("{{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:{port}@ }} }}")
}

/// An endpoint at a named port, with more fields of `LbEndpoint`, each with a comma in front.
#[must_use]
pub fn endpoint(port: &str, more: &str) -> String {
    format!("{{ endpoint: {{ address: {} }}{more} }}", address(port))
}

/// A cluster of endpoints, with more fields, each with a comma in front; `STATIC` unless they say
/// otherwise.
#[must_use]
pub fn cluster(name: &str, endpoints: &[String], more: &str) -> String {
    format!(
        "{{ name: {name}, load_assignment: {{ cluster_name: {name}, \
         endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}{more} }}",
        endpoints.join(", ")
    )
}

/// A field for [`cluster`]: the upstream speaks HTTP/2.
pub const HTTP2: &str = ", typed_extension_protocol_options: { \
     envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
     \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
     explicit_http_config: { http2_protocol_options: {} } } }";

/// A built-in filter by the end of its type, such as `http.router.v3.Router`, with its fields.
#[must_use]
pub fn filter(kind: &str, fields: &str) -> String {
    let name = kind.split('.').nth(1).expect("http.<name>.v3.<Message>");
    let separator = if fields.is_empty() { "" } else { ", " };
    format!(
        "{{ name: envoy.filters.http.{name}, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.filters.{kind}{separator}{fields} }} }}"
    )
}

/// A file access log with the fields of its `log_format`.
#[must_use]
pub fn file_log(path: &str, format: &str) -> String {
    format!(
        "{{ name: envoy.access_loggers.file, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
         path: \"{path}\", log_format: {{ {format} }} }} }}"
    )
}

/// A Wasm filter whose component is one of `tests/guests`, with its configuration as text and more
/// fields of the message, each with a comma in front.
#[must_use]
pub fn guest(name: &str, guest: &str, configuration: &str, more: &str) -> String {
    wasm(
        name,
        guests::path(guest).to_str().expect("a path that is text"),
        configuration,
        more,
    )
}

/// Like [`guest`], with the component's path.
#[must_use]
pub fn wasm(name: &str, file: &str, configuration: &str, more: &str) -> String {
    format!(
        "{{ name: {name}, typed_config: {{ \
         \"@type\": type.googleapis.com/nuncio.filters.http.wasm.v1.Wasm, \
         component: {{ filename: {file:?} }}, configuration: {configuration:?}{more} }} }}"
    )
}

/// A field for [`cluster`]: the upstream speaks HTTP/1.1, and trailers are passed on.
pub const HTTP1_TRAILERS: &str = ", typed_extension_protocol_options: { \
     envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
     \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
     explicit_http_config: { http_protocol_options: { enable_trailers: true } } } }";
