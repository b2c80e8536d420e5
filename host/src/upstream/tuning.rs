//! Runtime values that change how a cluster balances, and when it ejects endpoints.
//!
//! Owns which values those are, and [`Tuned`], the cluster's settings with what they say. Requests read the
//! latter: a value is looked up when one has changed, not when a request comes. Called by `Cluster`; `control`
//! says when. Does not own the values (`crate::values`).

use std::sync::Arc;
use std::time::Duration;

use super::spec::{Balancing, ClusterSpec, MostEjected, OutlierSpec, Policy};
use crate::values::{Entry, Slot, Values};

/// A key, and what its value is to the settings `T`.
type Knob<T> = (&'static str, fn(&mut T, u64));

const BALANCING: [Knob<Balancing>; 4] = [
    ("upstream.healthy_panic_threshold", |set, value| {
        set.panic_threshold = whole(value.min(100));
    }),
    ("upstream.zone_routing.enabled", |set, value| {
        if let Some(zones) = &mut set.zones {
            zones.enabled = whole(value.min(100));
        }
    }),
    ("upstream.zone_routing.min_cluster_size", |set, value| {
        if let Some(zones) = &mut set.zones {
            zones.min_cluster_size = value;
        }
    }),
    (
        "upstream.zone_routing.force_local_zone.min_size",
        |set, value| {
            // As in Envoy it says how many, not whether.
            if let Some(zones) = &mut set.zones
                && zones.force_local.is_some()
            {
                zones.force_local = Some(value);
            }
        },
    ),
];

const OUTLIERS: [Knob<OutlierSpec>; 21] = [
    ("outlier_detection.consecutive_5xx", |set, value| {
        set.consecutive_5xx = whole(value);
    }),
    (
        "outlier_detection.consecutive_gateway_failure",
        |set, value| set.consecutive_gateway_failure = whole(value),
    ),
    (
        "outlier_detection.consecutive_local_origin_failure",
        |set, value| set.consecutive_local_origin_failure = whole(value),
    ),
    ("outlier_detection.interval_ms", |set, value| {
        // An interval of nothing would never end.
        set.interval = Duration::from_millis(value.max(1));
    }),
    ("outlier_detection.base_ejection_time_ms", |set, value| {
        set.base_ejection_time = Duration::from_millis(value);
    }),
    ("outlier_detection.max_ejection_time_ms", |set, value| {
        set.max_ejection_time = Duration::from_millis(value);
    }),
    (
        "outlier_detection.max_ejection_time_jitter_ms",
        |set, value| set.max_ejection_time_jitter = Duration::from_millis(value),
    ),
    ("outlier_detection.max_ejection_percent", |set, value| {
        let percent = whole(value.min(100));
        set.most = match set.most {
            MostEjected::Sensible => MostEjected::Percent {
                percent,
                at_least_one: false,
            },
            MostEjected::Percent { at_least_one, .. } => MostEjected::Percent {
                percent,
                at_least_one,
            },
        };
    }),
    (
        "outlier_detection.enforcing_consecutive_5xx",
        |set, value| set.enforcing.consecutive_5xx = whole(value),
    ),
    (
        "outlier_detection.enforcing_consecutive_gateway_failure",
        |set, value| set.enforcing.consecutive_gateway_failure = whole(value),
    ),
    (
        "outlier_detection.enforcing_consecutive_local_origin_failure",
        |set, value| set.enforcing.consecutive_local_origin_failure = whole(value),
    ),
    ("outlier_detection.enforcing_success_rate", |set, value| {
        set.enforcing.success_rate = whole(value)
    }),
    (
        "outlier_detection.enforcing_local_origin_success_rate",
        |set, value| set.enforcing.local_origin_success_rate = whole(value),
    ),
    (
        "outlier_detection.enforcing_failure_percentage",
        |set, value| set.enforcing.failure_percentage = whole(value),
    ),
    (
        "outlier_detection.enforcing_failure_percentage_local_origin",
        |set, value| set.enforcing.local_origin_failure_percentage = whole(value),
    ),
    (
        "outlier_detection.success_rate_minimum_hosts",
        |set, value| set.success_rate.minimum_hosts = whole(value),
    ),
    (
        "outlier_detection.success_rate_request_volume",
        |set, value| set.success_rate.request_volume = whole(value),
    ),
    (
        "outlier_detection.success_rate_stdev_factor",
        |set, value| set.success_rate_stdev_factor = whole(value),
    ),
    (
        "outlier_detection.failure_percentage_minimum_hosts",
        |set, value| set.failure_percentage.minimum_hosts = whole(value),
    ),
    (
        "outlier_detection.failure_percentage_request_volume",
        |set, value| set.failure_percentage.request_volume = whole(value),
    ),
    (
        "outlier_detection.failure_percentage_threshold",
        |set, value| set.failure_percentage_threshold = whole(value),
    ),
];

fn whole(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A cluster's settings as runtime values have them now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tuned {
    /// `ClusterSpec::balancing`.
    pub(super) balancing: Balancing,
    /// `ClusterSpec::outlier_detection`.
    pub(super) outliers: Option<OutlierSpec>,
}

impl Tuned {
    /// Those that the configuration has.
    pub(super) fn written(spec: &ClusterSpec) -> Self {
        Self {
            balancing: spec.balancing.clone(),
            outliers: spec.outlier_detection.clone(),
        }
    }
}

/// The places of the values that a cluster goes by.
#[derive(Debug)]
pub(super) struct Tuning {
    balancing: Vec<Slot>,
    outliers: Vec<Slot>,
    /// `active_request_bias` and `slow_start_config.aggression`, whose keys are the configuration's.
    bias: Option<Slot>,
    aggression: Option<Slot>,
}

impl Tuning {
    /// Of a cluster with these settings.
    pub(super) fn new(spec: &ClusterSpec, values: &Values) -> Self {
        let slots =
            |keys: &mut dyn Iterator<Item = &str>| keys.map(|key| values.slot(key)).collect();
        let keyed = |key: &Option<Arc<str>>| key.as_ref().map(|key| values.slot(key));
        Self {
            balancing: slots(&mut BALANCING.iter().map(|(key, _)| *key)),
            outliers: match &spec.outlier_detection {
                Some(_) => slots(&mut OUTLIERS.iter().map(|(key, _)| *key)),
                None => Vec::new(),
            },
            bias: keyed(&spec.balancing.bias_key),
            aggression: keyed(&spec.balancing.aggression_key),
        }
    }

    /// The settings as they are to be now.
    pub(super) fn tuned(&self, spec: &ClusterSpec, values: &Values) -> Tuned {
        let mut tuned = Tuned::written(spec);
        values.read(|snapshot| {
            let integer = |slot: &Slot| snapshot.get(*slot).and_then(Entry::integer);
            for ((_, set), slot) in BALANCING.iter().zip(&self.balancing) {
                if let Some(value) = integer(slot) {
                    set(&mut tuned.balancing, value);
                }
            }
            if let Some(outliers) = &mut tuned.outliers {
                for ((_, set), slot) in OUTLIERS.iter().zip(&self.outliers) {
                    if let Some(value) = integer(slot) {
                        set(outliers, value);
                    }
                }
            }
            let number = |slot: Option<Slot>| snapshot.get(slot?).and_then(Entry::number);
            if let (
                Policy::LeastRequest {
                    active_request_bias,
                    ..
                },
                Some(value),
            ) = (&mut tuned.balancing.policy, number(self.bias))
            {
                *active_request_bias = value;
            }
            if let (Some(slow_start), Some(value)) =
                (&mut tuned.balancing.slow_start, number(self.aggression))
            {
                // As in Envoy, what cannot be one is 1.
                slow_start.aggression = if value > 0.0 { value } else { 1.0 };
            }
        });
        tuned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::spec::{Discovery, SlowStart, ZoneSpec};
    use crate::values::{Layer, LayerSpec};

    fn values() -> Values {
        Values::new(vec![LayerSpec {
            name: "admin".to_owned(),
            layer: Layer::Admin,
        }])
    }

    fn spec() -> ClusterSpec {
        let mut spec = ClusterSpec::new("c", Discovery::Static(Vec::new()));
        spec.balancing.policy = Policy::LEAST_REQUEST;
        spec.balancing.bias_key = Some("bias".into());
        spec.balancing.aggression_key = Some("aggression".into());
        spec.balancing.zones = Some(ZoneSpec {
            force_local: Some(1),
            ..ZoneSpec::default()
        });
        spec.balancing.slow_start = Some(SlowStart {
            window: Duration::from_secs(1),
            aggression: 1.0,
            least: 0.1,
        });
        spec.outlier_detection = Some(OutlierSpec::default());
        spec
    }

    #[test]
    fn each_value_changes_one_setting() {
        let (values, spec) = (values(), spec());
        let tuning = Tuning::new(&spec, &values);
        values.publish();
        let written = Tuned::written(&spec);
        assert_eq!(tuning.tuned(&spec, &values), written);
        let keys = BALANCING.iter().map(|(key, _)| *key);
        let keys = keys.chain(OUTLIERS.iter().map(|(key, _)| *key));
        let mut seen = Vec::new();
        for key in keys.chain(["bias", "aggression"]) {
            values.modify(&[(key.to_owned(), "7".to_owned())]).unwrap();
            let tuned = tuning.tuned(&spec, &values);
            assert_ne!(tuned, written, "{key}");
            assert!(!seen.contains(&tuned), "{key} is not another's");
            seen.push(tuned);
            values.modify(&[(key.to_owned(), String::new())]).unwrap();
            assert_eq!(tuning.tuned(&spec, &values), written, "{key}");
        }
    }

    #[test]
    fn values_are_kept_within_bounds() {
        let (values, spec) = (values(), spec());
        let tuning = Tuning::new(&spec, &values);
        let tuned = |key: &str, value: &str| {
            values
                .modify(&[(key.to_owned(), value.to_owned())])
                .unwrap();
            let tuned = tuning.tuned(&spec, &values);
            values.modify(&[(key.to_owned(), String::new())]).unwrap();
            tuned
        };
        let balancing = tuned("upstream.healthy_panic_threshold", "500").balancing;
        assert_eq!(balancing.panic_threshold, 100);
        let outliers = |key, value| tuned(key, value).outliers.unwrap();
        let most = outliers("outlier_detection.max_ejection_percent", "500").most;
        let all = MostEjected::Percent {
            percent: 100,
            at_least_one: false,
        };
        assert_eq!(most, all);
        let interval = outliers("outlier_detection.interval_ms", "0").interval;
        assert_eq!(interval, Duration::from_millis(1));
        let many = outliers("outlier_detection.consecutive_5xx", "99999999999");
        assert_eq!(many.consecutive_5xx, u32::MAX);
        let slow_start = tuned("aggression", "0").balancing.slow_start.unwrap();
        assert!((slow_start.aggression - 1.0).abs() < f64::EPSILON);
        let slow_start = tuned("aggression", "2.5").balancing.slow_start.unwrap();
        assert!((slow_start.aggression - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_not_configured_is_not_made_up() {
        let values = values();
        let spec = ClusterSpec::new("c", Discovery::Static(Vec::new()));
        let tuning = Tuning::new(&spec, &values);
        for key in [
            "upstream.zone_routing.enabled",
            "upstream.zone_routing.force_local_zone.min_size",
            "outlier_detection.consecutive_5xx",
        ] {
            values.modify(&[(key.to_owned(), "7".to_owned())]).unwrap();
        }
        assert_eq!(tuning.tuned(&spec, &values), Tuned::written(&spec));
    }
}
