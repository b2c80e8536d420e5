//! `envoy.extensions.filters.http.health_check.v3.HealthCheck`.

use std::collections::BTreeMap;

use nuncio_filter_config::{Duration, HeaderMatcher};
use serde::Deserialize;

/// `HealthCheck`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// Whether the upstream answers, and not the filter.
    pub pass_through_mode: bool,
    /// For how long an answer of the upstream is given to whoever asks.
    pub cache_time: Option<Duration>,
    /// How much of a cluster has to be healthy.
    #[serde(default)]
    pub cluster_min_healthy_percentages: BTreeMap<String, Percent>,
    /// What makes a request a question about health; all of these. Without any, every request is one.
    #[serde(default)]
    pub headers: Vec<HeaderMatcher>,
}

/// `envoy.type.v3.Percent`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Percent {
    /// 0 to 100.
    pub value: f64,
}
