//! `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.

use serde::Deserialize;

/// The message.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(rename = "@type")]
    _type: Option<String>,
    /// The methods that are counted apart from all others.
    pub individual_method_stats_allowlist: Option<MethodList>,
    /// Whether every method is.
    pub stats_for_all_methods: Option<bool>,
    /// Whether points in a service's name become underscores in the names of statistics.
    pub replace_dots_in_grpc_service_name: bool,
}

/// `envoy.config.core.v3.GrpcMethodList`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodList {
    /// By service.
    pub services: Vec<Service>,
}

/// `GrpcMethodList.Service`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// With its package.
    pub name: String,
    /// Its methods.
    pub method_names: Vec<String>,
}
