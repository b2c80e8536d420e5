//! What is configured of filters at route configurations, virtual hosts, routes and weighted
//! clusters: `typed_per_filter_config`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::filter::buffer::BufferPerRoute;
use crate::config::filter::cors::CorsPolicy;
use crate::config::filter::csrf::CsrfPolicy;
use crate::config::filter::fault::HttpFault;
use crate::config::filter::header_to_metadata::HeaderToMetadata;
use crate::config::filter::stateful_session::StatefulSessionPerRoute;
use crate::config::filter::{LocalRateLimit, Mutations};
use crate::config::scalar::RawValue;

/// `typed_per_filter_config`: by the names that filters have in their chain.
pub type PerFilterConfigs = BTreeMap<String, PerFilterConfig>;

/// The messages that configure filters for routes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:configuration of an HTTP filter for routes")]
pub enum PerFilterConfig {
    /// Limits the rate of requests of these routes by a bucket of their own.
    #[serde(rename = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")]
    LocalRateLimit(Box<LocalRateLimit>),
    /// Changes header fields.
    #[serde(rename = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute")]
    HeaderMutation(HeaderMutationPerRoute),
    /// Which origins may.
    #[serde(rename = "envoy.extensions.filters.http.cors.v3.CorsPolicy")]
    Cors(CorsPolicy),
    /// Which other sites may.
    #[serde(rename = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy")]
    Csrf(CsrfPolicy),
    /// Whether, and up to which size.
    #[serde(rename = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute")]
    Buffer(BufferPerRoute),
    /// Which faults.
    #[serde(rename = "envoy.extensions.filters.http.fault.v3.HTTPFault")]
    Fault(Box<HttpFault>),
    /// Which rules.
    #[serde(rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config")]
    HeaderToMetadata(HeaderToMetadata),
    /// Whether there are sessions, and which.
    #[serde(rename = "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute")]
    StatefulSession(StatefulSessionPerRoute),
    /// The configuration of a user's filter.
    #[serde(rename = "nuncio.filters.http.wasm.v1.WasmPerRoute")]
    Wasm(WasmPerRoute),
    /// Any of these, or whether the filter is there at all.
    #[serde(rename = "envoy.config.route.v3.FilterConfig")]
    FilterConfig(FilterConfig),
    /// An empty message, of no type: as the filter is configured otherwise.
    #[serde(rename = "")]
    Nothing(Nothing),
}

/// `envoy.config.route.v3.FilterConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.FilterConfig")]
pub struct FilterConfig {
    /// The configuration; empty, it only says that the filter is enabled.
    #[serde(default, rename = "any:config")]
    pub config: Option<Box<PerFilterConfig>>,
    /// Whether a type that is not known is passed over.
    #[serde(default)]
    pub is_optional: bool,
    /// Whether the filter is left out; nothing else counts then.
    #[serde(default)]
    pub disabled: bool,
}

/// A message without fields.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "google.protobuf.Empty")]
pub struct Nothing {}

/// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute")]
pub struct HeaderMutationPerRoute {
    /// The changes.
    #[serde(default)]
    pub mutations: Mutations,
}

/// `nuncio.filters.http.wasm.v1.WasmPerRoute`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "nuncio.filters.http.wasm.v1.WasmPerRoute")]
pub struct WasmPerRoute {
    /// What the filter gets as its configuration for these routes, as JSON; nothing by default.
    #[serde(default)]
    pub configuration: Option<RawValue>,
}
