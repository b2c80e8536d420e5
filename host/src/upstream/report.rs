//! What `/clusters` shows of a cluster.
//!
//! Owns the lines and the JSON, in Envoy's form. Called by `admin`; reads shared counters only.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::balance::layout::State;
use super::breaker::Resource;
use super::cluster::Cluster;
use super::endpoint::{Endpoint, Health};
use super::spec::Priority;
use super::spec::StatedHealth;
use crate::address::Address;
use crate::observe::stats::{Name, Reading, Stats};

const LIMITS: [Resource; 4] = [
    Resource::Connections,
    Resource::Pending,
    Resource::Requests,
    Resource::Retries,
];

/// Appends the cluster's lines of `/clusters`.
pub fn text(cluster: &Cluster, out: &mut String) {
    let name = &*cluster.name;
    let mut line = |rest: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}::{rest}");
    };
    line(format_args!(
        "observability_name::{}",
        cluster.observability_name()
    ));
    if let Some(averages) = cluster.outlier_averages() {
        for (prefix, average) in [("", &averages.external), ("local_origin_", &averages.local)] {
            let (average, threshold) = average.get();
            line(format_args!(
                "outlier::{prefix}success_rate_average::{average}"
            ));
            line(format_args!(
                "outlier::{prefix}success_rate_ejection_threshold::{threshold}"
            ));
        }
    }
    for priority in Priority::ALL {
        let breaker = cluster.breaker(priority);
        for resource in LIMITS {
            let (limit, value) = (resource.limit_name(), breaker.limit_now(resource));
            line(format_args!(
                "{}_priority::{limit}::{value}",
                priority.as_str()
            ));
        }
    }
    line(format_args!("added_via_api::false"));
    for endpoint in &cluster.endpoints().endpoints {
        let address = endpoint.now_at();
        let counts = counts(endpoint)
            .into_iter()
            .map(|(name, _, value)| (name, value.to_string()));
        let hostname = endpoint.hostname.as_deref().unwrap_or_default();
        let (external, local) = success_rates(endpoint);
        let facts = [
            ("hostname", hostname.to_owned()),
            ("health_flags", health_flags(endpoint)),
            ("weight", endpoint.weight().to_string()),
            ("region", endpoint.locality().region.clone()),
            ("zone", endpoint.locality().zone.clone()),
            ("sub_zone", endpoint.locality().sub_zone.clone()),
            ("canary", endpoint.is_canary().to_string()),
            ("priority", endpoint.level().to_string()),
            ("success_rate", external.to_string()),
            ("local_origin_success_rate", local.to_string()),
        ];
        for (name, value) in counts.chain(facts) {
            line(format_args!("{address}::{name}::{value}"));
        }
    }
}

/// The cluster's element of `cluster_statuses` (`envoy.admin.v3.ClusterStatus`). As in Envoy, what
/// is zero or empty is left out.
#[must_use]
pub fn json(cluster: &Cluster) -> Value {
    let hosts: Vec<Value> = cluster
        .endpoints()
        .endpoints
        .iter()
        .map(|e| host(e))
        .collect();
    let thresholds: Vec<Value> = Priority::ALL
        .into_iter()
        .map(|p| thresholds(cluster, p))
        .collect();
    let mut status = Map::new();
    status.insert("name".into(), json!(&*cluster.name));
    if !hosts.is_empty() {
        status.insert("host_statuses".into(), hosts.into());
    }
    status.insert(
        "circuit_breakers".into(),
        json!({ "thresholds": thresholds }),
    );
    status.insert(
        "observability_name".into(),
        json!(&**cluster.observability_name()),
    );
    status.into()
}

fn thresholds(cluster: &Cluster, priority: Priority) -> Value {
    let mut limits = Map::new();
    if priority == Priority::High {
        limits.insert("priority".into(), "HIGH".into());
    }
    for resource in LIMITS {
        let limit = cluster.breaker(priority).limit_now(resource);
        limits.insert(resource.limit_name().into(), limit.into());
    }
    limits.into()
}

fn host(endpoint: &Endpoint) -> Value {
    let mut counts = counts(endpoint);
    // Counters come before gauges; the sort keeps the names' order within each.
    counts.sort_by_key(|(_, kind, _)| *kind);
    let stats: Vec<Value> = counts
        .into_iter()
        .map(|(name, kind, value)| {
            let mut stat = Map::new();
            if kind == Kind::Gauge {
                stat.insert("type".into(), "GAUGE".into());
            }
            stat.insert("name".into(), name.into());
            if value != 0 {
                stat.insert("value".into(), value.to_string().into());
            }
            stat.into()
        })
        .collect();
    let mut health = Map::new();
    for (flag, name) in [
        (Health::FAILED_ACTIVE_HC, "failed_active_health_check"),
        (Health::FAILED_OUTLIER_CHECK, "failed_outlier_check"),
        (Health::DEGRADED_ACTIVE_HC, "failed_active_degraded_check"),
        (Health::PENDING_DYNAMIC_REMOVAL, "pending_dynamic_removal"),
        (Health::PENDING_ACTIVE_HC, "pending_active_hc"),
        (
            Health::EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
            "excluded_via_immediate_hc_fail",
        ),
        (Health::ACTIVE_HC_TIMEOUT, "active_hc_timeout"),
    ] {
        if endpoint.health().has(flag) {
            health.insert(name.into(), true.into());
        }
    }
    let stated = match endpoint.stated() {
        StatedHealth::Healthy => "HEALTHY",
        StatedHealth::Degraded => "DEGRADED",
        StatedHealth::Unhealthy => "UNHEALTHY",
        StatedHealth::Draining => "DRAINING",
    };
    health.insert("eds_health_status".into(), stated.into());
    let mut host = Map::new();
    let address = match endpoint.now_at() {
        Address::Ip(address) => {
            let (ip, port) = (address.ip().to_string(), address.port());
            json!({ "socket_address": { "address": ip, "port_value": port } })
        }
        Address::Unix(path) => json!({ "pipe": { "path": *path } }),
    };
    host.insert("address".into(), address);
    host.insert("stats".into(), stats.into());
    host.insert("health_status".into(), health.into());
    host.insert("weight".into(), endpoint.weight().into());
    if let Some(hostname) = &endpoint.hostname {
        host.insert("hostname".into(), json!(&**hostname));
    }
    host.insert("locality".into(), locality(endpoint));
    if endpoint.level() > 0 {
        host.insert("priority".into(), endpoint.level().into());
    }
    let (external, local) = success_rates(endpoint);
    for (name, rate) in [
        ("success_rate", external),
        ("local_origin_success_rate", local),
    ] {
        if rate >= 0.0 {
            host.insert(name.into(), json!({ "value": rate }));
        }
    }
    host.into()
}

fn locality(endpoint: &Endpoint) -> Value {
    let locality = endpoint.locality();
    let parts = [
        ("region", &locality.region),
        ("zone", &locality.zone),
        ("sub_zone", &locality.sub_zone),
    ];
    let named = parts.into_iter().filter(|(_, part)| !part.is_empty());
    named
        .map(|(name, part)| (name.to_owned(), Value::from(part.as_str())))
        .collect::<Map<_, _>>()
        .into()
}

/// The success rates of the last interval of outlier detection: of answers, and of reaching it.
/// -1 where they are not known.
fn success_rates(endpoint: &Endpoint) -> (f64, f64) {
    let rates = endpoint.outlier.as_ref();
    rates.map_or((-1.0, -1.0), |monitor| {
        (monitor.external.rate(), monitor.local.rate())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
}

/// The statistics of a cluster's endpoints, for a cluster that wants them (`per_endpoint_stats`). They are
/// read where `/clusters` reads them, so that counting them costs nothing more.
pub struct PerEndpoint(pub Arc<Cluster>);

impl Stats for PerEndpoint {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        for endpoint in &self.0.endpoints().endpoints {
            let address: Cow<'static, str> = endpoint.now_at().to_string().into();
            let mut show = |after, reading| {
                let name = Name::Labelled {
                    before: "endpoint",
                    label: "envoy_endpoint_address",
                    value: address.clone(),
                    after,
                };
                visit(name, reading);
            };
            let gauge = |level: u64| Reading::Gauge {
                value: i64::try_from(level).unwrap_or(i64::MAX),
                used: true,
            };
            for (name, kind, value) in counts(endpoint) {
                let reading = match kind {
                    Kind::Counter => Reading::Counter(value),
                    Kind::Gauge => gauge(value),
                };
                show(name, reading);
            }
            let is_healthy = endpoint.state() == State::Healthy;
            show("healthy", gauge(is_healthy.into()));
        }
    }
}

/// An endpoint's statistics, sorted by name.
fn counts(endpoint: &Endpoint) -> [(&'static str, Kind, u64); 9] {
    let counters = &endpoint.counters;
    [
        ("cx_active", Kind::Gauge, counters.cx_active.get()),
        (
            "cx_connect_fail",
            Kind::Counter,
            counters.cx_connect_fail.get(),
        ),
        ("cx_total", Kind::Counter, counters.cx_total.get()),
        ("rq_active", Kind::Gauge, counters.rq_active.get()),
        ("rq_error", Kind::Counter, counters.rq_error.get()),
        (
            "rq_pending_active",
            Kind::Gauge,
            counters.rq_pending_active.get(),
        ),
        ("rq_success", Kind::Counter, counters.rq_success.get()),
        ("rq_timeout", Kind::Counter, counters.rq_timeout.get()),
        ("rq_total", Kind::Counter, counters.rq_total.get()),
    ]
}

fn health_flags(endpoint: &Endpoint) -> String {
    let set = Health::NAMES
        .into_iter()
        .filter(|(flag, _)| endpoint.health().has(*flag));
    let flags: String = set.map(|(_, name)| name).collect();
    if flags.is_empty() {
        "healthy".to_owned()
    } else {
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::spec::{ClusterSpec, Discovery, StaticEndpoint, Traits};

    fn cluster() -> Arc<Cluster> {
        let mut named = StaticEndpoint::new("[::1]:19773".parse().unwrap());
        named.traits = Arc::new(Traits {
            hostname: Some("localhost".into()),
            ..Traits::default()
        });
        let mut plain = StaticEndpoint::new("127.0.0.1:19772".parse().unwrap());
        plain.traits = Arc::new(Traits {
            weight: 3,
            ..Traits::default()
        });
        let mut spec = ClusterSpec::new("c0", Discovery::Static(vec![plain, named]));
        spec.breakers[Priority::High as usize].max_connections = 5;
        let cluster = Cluster::new(spec, 1);
        let set = cluster.endpoints();
        set.endpoints[1]
            .health()
            .set(Health::FAILED_ACTIVE_HC | Health::PENDING_ACTIVE_HC);
        set.endpoints[0].counters.rq_total.inc();
        set.endpoints[0].counters.rq_success.inc();
        cluster
    }

    #[test]
    fn text_is_envoys() {
        let mut out = String::new();
        text(&cluster(), &mut out);
        let expected = "\
c0::observability_name::c0
c0::default_priority::max_connections::1024
c0::default_priority::max_pending_requests::1024
c0::default_priority::max_requests::1024
c0::default_priority::max_retries::3
c0::high_priority::max_connections::5
c0::high_priority::max_pending_requests::1024
c0::high_priority::max_requests::1024
c0::high_priority::max_retries::3
c0::added_via_api::false
c0::127.0.0.1:19772::cx_active::0
c0::127.0.0.1:19772::cx_connect_fail::0
c0::127.0.0.1:19772::cx_total::0
c0::127.0.0.1:19772::rq_active::0
c0::127.0.0.1:19772::rq_error::0
c0::127.0.0.1:19772::rq_pending_active::0
c0::127.0.0.1:19772::rq_success::1
c0::127.0.0.1:19772::rq_timeout::0
c0::127.0.0.1:19772::rq_total::1
c0::127.0.0.1:19772::hostname::
c0::127.0.0.1:19772::health_flags::healthy
c0::127.0.0.1:19772::weight::3
c0::127.0.0.1:19772::region::
c0::127.0.0.1:19772::zone::
c0::127.0.0.1:19772::sub_zone::
c0::127.0.0.1:19772::canary::false
c0::127.0.0.1:19772::priority::0
c0::127.0.0.1:19772::success_rate::-1
c0::127.0.0.1:19772::local_origin_success_rate::-1
";
        let (first, second) = out.split_at(expected.len());
        assert_eq!(first, expected);
        assert!(
            second.starts_with("c0::[::1]:19773::cx_active::0\n"),
            "{second}"
        );
        assert!(second.contains("::hostname::localhost\n"));
        assert!(second.contains("::health_flags::/failed_active_hc/pending_active_hc\n"));
        assert_eq!(second.lines().count(), 19);
    }

    #[test]
    fn json_leaves_out_what_is_zero() {
        let status = json(&cluster());
        assert_eq!(status["name"], "c0");
        assert_eq!(status["observability_name"], "c0");
        let [plain, named] = &status["host_statuses"].as_array().unwrap()[..] else {
            panic!("two endpoints")
        };
        assert_eq!(
            plain["address"],
            json!({ "socket_address": { "address": "127.0.0.1", "port_value": 19772 } })
        );
        assert_eq!(
            plain["stats"],
            json!([
                { "name": "cx_connect_fail" }, { "name": "cx_total" }, { "name": "rq_error" },
                { "name": "rq_success", "value": "1" }, { "name": "rq_timeout" },
                { "name": "rq_total", "value": "1" },
                { "type": "GAUGE", "name": "cx_active" }, { "type": "GAUGE", "name": "rq_active" },
                { "type": "GAUGE", "name": "rq_pending_active" },
            ])
        );
        assert_eq!(
            plain["health_status"],
            json!({ "eds_health_status": "HEALTHY" })
        );
        assert_eq!((&plain["weight"], plain.get("hostname")), (&json!(3), None));
        assert_eq!(named["hostname"], "localhost");
        assert_eq!(named["health_status"]["failed_active_health_check"], true);
        let thresholds = &status["circuit_breakers"]["thresholds"];
        assert_eq!(thresholds[0].get("priority"), None);
        assert_eq!(thresholds[1]["priority"], "HIGH");
        assert_eq!(thresholds[1]["max_connections"], 5);
    }
}
