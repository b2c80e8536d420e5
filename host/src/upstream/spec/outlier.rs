//! Outlier detection: its settings (`envoy.config.cluster.v3.OutlierDetection`).
//!
//! See the parent's page.

use std::time::Duration;

/// When an endpoint is ejected for what it answers, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierSpec {
    /// `consecutive_5xx`: 5.
    pub consecutive_5xx: u32,
    /// `consecutive_gateway_failure`: 5.
    pub consecutive_gateway_failure: u32,
    /// `consecutive_local_origin_failure`: 5.
    pub consecutive_local_origin_failure: u32,
    /// `interval` between two looks at rates and at who may come back: 10 s.
    pub interval: Duration,
    /// `base_ejection_time`, times how often it was ejected: 30 s.
    pub base_ejection_time: Duration,
    /// `max_ejection_time`: 300 s, or the base where that is longer.
    pub max_ejection_time: Duration,
    /// `max_ejection_time_jitter`: up to this much is added; 0.
    pub max_ejection_time_jitter: Duration,
    /// How many endpoints are ejected at once.
    pub most: MostEjected,
    /// `enforcing_*`: how many of 100 ejections are carried out, by what was detected.
    pub enforcing: Enforcing,
    /// `success_rate_*`.
    pub success_rate: RateSpec,
    /// `success_rate_stdev_factor` in thousandths: 1900.
    pub success_rate_stdev_factor: u32,
    /// `failure_percentage_*`.
    pub failure_percentage: RateSpec,
    /// `failure_percentage_threshold`: 85 %.
    pub failure_percentage_threshold: u32,
    /// `split_external_local_origin_errors`: failures to reach an endpoint are counted apart from
    /// what it answers.
    pub splits_local_origin: bool,
    /// `successful_active_health_check_uneject_host`: true.
    pub check_brings_back: bool,
}

impl Default for OutlierSpec {
    fn default() -> Self {
        let rate = |request_volume| RateSpec {
            minimum_hosts: 5,
            request_volume,
        };
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_mins(5),
            max_ejection_time_jitter: Duration::ZERO,
            most: MostEjected::Sensible,
            enforcing: Enforcing::default(),
            success_rate: rate(100),
            success_rate_stdev_factor: 1900,
            failure_percentage: rate(50),
            failure_percentage_threshold: 85,
            splits_local_origin: false,
            check_brings_back: true,
        }
    }
}

/// How many endpoints are ejected at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MostEjected {
    /// The configuration does not say: 10 %, at least one, and never the last that can be used.
    Sensible,
    /// It does: Envoy's arithmetic.
    Percent {
        /// `max_ejection_percent`: that many of all, counting the next one.
        percent: u32,
        /// `always_eject_one_host`: one in any case.
        at_least_one: bool,
    },
}

/// Which endpoints a rate is measured of, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSpec {
    /// `*_minimum_hosts`: with fewer that have enough requests nobody is ejected.
    pub minimum_hosts: u32,
    /// `*_request_volume`: requests in an interval that an endpoint must have.
    pub request_volume: u32,
}

/// How many of 100 ejections are carried out, by what was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforcing {
    /// `enforcing_consecutive_5xx`: 100.
    pub consecutive_5xx: u32,
    /// `enforcing_consecutive_gateway_failure`: 0.
    pub consecutive_gateway_failure: u32,
    /// `enforcing_consecutive_local_origin_failure`: 100.
    pub consecutive_local_origin_failure: u32,
    /// `enforcing_success_rate`: 100.
    pub success_rate: u32,
    /// `enforcing_local_origin_success_rate`: 100.
    pub local_origin_success_rate: u32,
    /// `enforcing_failure_percentage`: 0.
    pub failure_percentage: u32,
    /// `enforcing_failure_percentage_local_origin`: 0.
    pub local_origin_failure_percentage: u32,
}

impl Default for Enforcing {
    fn default() -> Self {
        Self {
            consecutive_5xx: 100,
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 100,
            success_rate: 100,
            local_origin_success_rate: 100,
            failure_percentage: 0,
            local_origin_failure_percentage: 0,
        }
    }
}
