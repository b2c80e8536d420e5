//! `envoy.filters.http.grpc_stats`.

use serde::{Deserialize, Serialize};

/// `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig")]
pub struct GrpcStats {
    /// Which methods are counted apart; none by default.
    #[serde(default, rename = "oneof:per_method_stat_specifier")]
    pub methods: Option<MethodStats>,
    /// Whether points in names of services become underscores.
    #[serde(default)]
    pub replace_dots_in_grpc_service_name: bool,
    /// Whether logs can show how many messages there were. No effect: nothing shows a filter's state.
    #[serde(default, skip_serializing)]
    pub emit_filter_state: bool,
}

/// `FilterConfig.per_method_stat_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodStats {
    /// These.
    IndividualMethodStatsAllowlist(GrpcMethodList),
    /// All, or none.
    StatsForAllMethods(bool),
}

/// `envoy.config.core.v3.GrpcMethodList`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.GrpcMethodList")]
pub struct GrpcMethodList {
    /// By service.
    #[serde(default)]
    pub services: Vec<GrpcService>,
}

/// `GrpcMethodList.Service`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.GrpcMethodList.Service")]
pub struct GrpcService {
    /// With its package.
    pub name: String,
    /// Its methods.
    pub method_names: Vec<String>,
}
