//! Endpoints that answer badly: `envoy.config.cluster.v3.OutlierDetection`.

use serde::{Deserialize, Serialize};

use crate::config::scalar::Duration;

/// `envoy.config.cluster.v3.OutlierDetection`. Percentages are from 0 to 100; `enforcing_*` are how
/// many of 100 ejections are carried out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.cluster.v3.OutlierDetection")]
pub struct OutlierDetection {
    /// Answers of 5xx in a row; 5 by default.
    #[serde(default)]
    pub consecutive_5xx: Option<u32>,
    /// Time between two looks at rates; 10 s by default.
    #[serde(default)]
    pub interval: Option<Duration>,
    /// For how long an endpoint is ejected, times how often it was; 30 s by default.
    #[serde(default)]
    pub base_ejection_time: Option<Duration>,
    /// How many of all endpoints may be ejected at once; where it is absent 10 %, at least one, and
    /// never the last.
    #[serde(default)]
    pub max_ejection_percent: Option<u32>,
    /// 100 by default.
    #[serde(default)]
    pub enforcing_consecutive_5xx: Option<u32>,
    /// 100 by default.
    #[serde(default)]
    pub enforcing_success_rate: Option<u32>,
    /// Endpoints with enough requests that there must be; 5 by default.
    #[serde(default)]
    pub success_rate_minimum_hosts: Option<u32>,
    /// Requests in an interval that are enough; 100 by default.
    #[serde(default)]
    pub success_rate_request_volume: Option<u32>,
    /// How many thousandths of the standard deviation below the average are too few; 1900 by
    /// default.
    #[serde(default)]
    pub success_rate_stdev_factor: Option<u32>,
    /// Answers of 502, 503 or 504 in a row; 5 by default.
    #[serde(default)]
    pub consecutive_gateway_failure: Option<u32>,
    /// 0 by default.
    #[serde(default)]
    pub enforcing_consecutive_gateway_failure: Option<u32>,
    /// Whether failures to reach an endpoint are counted apart from its answers.
    #[serde(default)]
    pub split_external_local_origin_errors: bool,
    /// Failures to reach it in a row; 5 by default.
    #[serde(default)]
    pub consecutive_local_origin_failure: Option<u32>,
    /// 100 by default.
    #[serde(default)]
    pub enforcing_consecutive_local_origin_failure: Option<u32>,
    /// 100 by default.
    #[serde(default)]
    pub enforcing_local_origin_success_rate: Option<u32>,
    /// Failures in percent that are too many; 85 by default.
    #[serde(default)]
    pub failure_percentage_threshold: Option<u32>,
    /// 0 by default.
    #[serde(default)]
    pub enforcing_failure_percentage: Option<u32>,
    /// 0 by default.
    #[serde(default)]
    pub enforcing_failure_percentage_local_origin: Option<u32>,
    /// Endpoints with enough requests that there must be; 5 by default.
    #[serde(default)]
    pub failure_percentage_minimum_hosts: Option<u32>,
    /// Requests in an interval that are enough; 50 by default.
    #[serde(default)]
    pub failure_percentage_request_volume: Option<u32>,
    /// The longest ejection; 300 s by default, or the base time where that is longer.
    #[serde(default)]
    pub max_ejection_time: Option<Duration>,
    /// Up to this much is added to each ejection; 0 by default.
    #[serde(default)]
    pub max_ejection_time_jitter: Option<Duration>,
    /// Whether a health check that passes ends an ejection; true by default.
    #[serde(default)]
    pub successful_active_health_check_uneject_host: Option<bool>,
    /// Whether one endpoint may be ejected whatever `max_ejection_percent` says.
    #[serde(default)]
    pub always_eject_one_host: Option<bool>,
}
