//! `envoy.filters.http.health_check`: answers who asks how the proxy is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::header::HeaderMatcher;
use crate::config::scalar::{Duration, Percent};

/// `envoy.extensions.filters.http.health_check.v3.HealthCheck`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.health_check.v3.HealthCheck")]
pub struct HttpHealthFilter {
    /// Whether the upstream answers, and not the filter.
    pub pass_through_mode: bool,
    /// For how long an answer of the upstream is given to whoever asks; not at all by default.
    #[serde(default)]
    pub cache_time: Option<Duration>,
    /// How much of a cluster has to be healthy.
    #[serde(default)]
    pub cluster_min_healthy_percentages: BTreeMap<String, Percent>,
    /// What makes a request a question about health; every request is one by default.
    #[serde(default)]
    pub headers: Vec<HeaderMatcher>,
}
