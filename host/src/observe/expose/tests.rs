//! Tests of the forms, with numbers that a real Envoy 1.40 showed.

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::address::Address;
use crate::observe::metrics::{HttpStats, ListenerHttpStats, ListenerOfWorker, ListenerStats};
use crate::observe::registry::Scope;
use crate::observe::stats::{Stats, stats};

stats! {
    /// The part of a cluster's statistics that is compared.
    struct ClusterPart {
        codes upstream_rq,
        codes external_upstream_rq = "external.upstream_rq",
        counter upstream_rq_completed,
        counter upstream_rq_total,
        counter health_check_attempt = "health_check.attempt",
        gauge breaker = "circuit_breakers.default.cx_open",
        gauge membership_total,
        histogram upstream_cx_length_ms,
        histogram upstream_rq_per_cx,
        histogram upstream_rq_time,
    }
}

stats! {
    /// As of a filter.
    struct WasmPart {
        counter calls_total,
        counter traps,
    }
}

/// Holds the blocks that a registry lists.
struct Fixture {
    registry: Registry,
    _blocks: Vec<Arc<dyn Stats>>,
}

fn fixture() -> Fixture {
    let registry = Registry::new(1);
    let address = &Address::from(SocketAddr::from(([127, 0, 0, 1], 21_841)));
    let http = registry.sharded::<HttpStats>(Scope::http("ingress_http"));
    let admin = registry.sharded::<HttpStats>(Scope::http("admin"));
    let listener = registry.sharded::<ListenerStats>(Scope::listener(address));
    let twin = registry.sharded::<ListenerHttpStats>(Scope::listener_http(
        &Scope::listener(address),
        "ingress_http",
    ));
    let cluster = registry.sharded::<ClusterPart>(Scope::cluster("c0"));
    let wasm = registry.sharded::<WasmPart>(Scope::wasm("my-auth"));
    let of_worker = Arc::new(ListenerOfWorker::new(Arc::clone(&listener), 0));
    registry.register(
        Scope::listener_worker(&Scope::listener(address), 0),
        &of_worker,
    );
    registry.counter("cluster_manager.cluster_added").add(2);
    registry.counter("rl.http_local_rate_limit.enabled").add(2);

    for status in [200, 200, 200, 204, 301, 418, 429, 404, 503, 503, 503, 503] {
        http.shard(0).downstream_rq_by_class.record(status);
        twin.shard(0).downstream_rq_by_class.record(status);
    }
    admin.shard(0).downstream_rq_by_class.record(200);
    for status in [200, 200, 200, 204, 404, 503, 503, 503] {
        cluster.shard(0).upstream_rq.record(status);
        cluster.shard(0).external_upstream_rq.record(status);
        cluster.shard(0).upstream_rq_completed.inc();
    }
    cluster.shard(0).upstream_rq_total.add(6);
    cluster.shard(0).health_check_attempt.add(7);
    cluster.shard(0).breaker.set(0);
    cluster.shard(0).membership_total.set(1);
    for value in [0, 33, 41, 41, 44, 45] {
        cluster.shard(0).upstream_rq_time.record(value);
    }
    for value in [0, 1] {
        cluster.shard(0).upstream_cx_length_ms.record(value);
    }
    listener.shard(0).downstream_cx_total.add(12);
    listener.shard(0).downstream_cx_active.add(0);
    wasm.shard(0).calls_total.add(9);
    Fixture {
        registry,
        _blocks: vec![http, admin, listener, twin, cluster, wasm, of_worker],
    }
}

fn selected(filter: &str, used_only: bool, kind: Option<&str>) -> Selection {
    let words = Words {
        filter: Some(filter),
        used_only,
        kind,
        inverts: false,
        buckets: None,
    };
    Selection::parse(&words).unwrap()
}

#[test]
fn text_is_that_of_envoy() {
    let fixture = fixture();
    let selection = selected("^(cluster|rl)", true, None);
    let quantiles = "P0(0,0) P25(33.5,33.5) P50(41.333333333333336,41.333333333333336) \
                     P75(44.5,44.5) P90(45.5,45.5) P95(45.5,45.5) P99(45.5,45.5) P99.5(45.5,45.5) \
                     P99.9(45.5,45.5) P100(45.5,45.5)";
    let lengths = "P0(0,0) P25(0,0) P50(0,0) P75(1.05,1.05) P90(1.05,1.05) P95(1.05,1.05) \
                   P99(1.05,1.05) P99.5(1.05,1.05) P99.9(1.05,1.05) P100(1.05,1.05)";
    assert_eq!(
        text(&fixture.registry, &selection),
        format!(
            "cluster.c0.circuit_breakers.default.cx_open: 0\n\
             cluster.c0.external.upstream_rq_200: 3\n\
             cluster.c0.external.upstream_rq_204: 1\n\
             cluster.c0.external.upstream_rq_2xx: 4\n\
             cluster.c0.external.upstream_rq_404: 1\n\
             cluster.c0.external.upstream_rq_4xx: 1\n\
             cluster.c0.external.upstream_rq_503: 3\n\
             cluster.c0.external.upstream_rq_5xx: 3\n\
             cluster.c0.health_check.attempt: 7\n\
             cluster.c0.membership_total: 1\n\
             cluster.c0.upstream_rq_200: 3\n\
             cluster.c0.upstream_rq_204: 1\n\
             cluster.c0.upstream_rq_2xx: 4\n\
             cluster.c0.upstream_rq_404: 1\n\
             cluster.c0.upstream_rq_4xx: 1\n\
             cluster.c0.upstream_rq_503: 3\n\
             cluster.c0.upstream_rq_5xx: 3\n\
             cluster.c0.upstream_rq_completed: 8\n\
             cluster.c0.upstream_rq_total: 6\n\
             cluster_manager.cluster_added: 2\n\
             rl.http_local_rate_limit.enabled: 2\n\
             cluster.c0.upstream_cx_length_ms: {lengths}\n\
             cluster.c0.upstream_rq_time: {quantiles}\n"
        )
    );
    let empty = selected("rq_per_cx", false, None);
    assert_eq!(
        text(&fixture.registry, &empty),
        "cluster.c0.upstream_rq_per_cx: No recorded values\n"
    );
    fixture.registry.latch();
    fixture.registry.latch();
    let text = text(
        &fixture.registry,
        &selected("rq_time", true, Some("Histograms")),
    );
    assert!(
        text.starts_with("cluster.c0.upstream_rq_time: P0(nan,0) P25(nan,33.5) "),
        "{text}"
    );
}

#[test]
fn prometheus_is_that_of_envoy() {
    let fixture = fixture();
    let selection = selected("", true, None);
    let text = prometheus(&fixture.registry, &selection);
    let (counters, rest) = text.split_at(text.find("# TYPE envoy_cluster_circuit").unwrap());
    assert_eq!(counters, COUNTERS);
    let (gauges, histograms) =
        rest.split_at(rest.find("# TYPE envoy_cluster_upstream_cx_len").unwrap());
    assert_eq!(gauges, GAUGES);
    let buckets = |name: &str, counts: [u64; 6]| {
        let [half, one, five, fifty, sum, count] = counts;
        let bounds = [
            ("0.5", half),
            ("1", one),
            ("5", five),
            ("10", five),
            ("25", five),
            ("50", fifty),
            ("100", fifty),
            ("250", fifty),
            ("500", fifty),
            ("1000", fifty),
            ("2500", fifty),
            ("5000", fifty),
            ("10000", fifty),
            ("30000", fifty),
            ("60000", fifty),
            ("300000", fifty),
            ("600000", fifty),
            ("1800000", fifty),
            ("3600000", fifty),
            ("+Inf", count),
        ];
        let lines: String = bounds
            .iter()
            .map(|(le, n)| format!("{name}_bucket{{envoy_cluster_name=\"c0\",le=\"{le}\"}} {n}\n"))
            .collect();
        format!(
            "# TYPE {name} histogram\n{lines}{name}_sum{{envoy_cluster_name=\"c0\"}} {sum}\n\
             {name}_count{{envoy_cluster_name=\"c0\"}} {count}\n"
        )
    };
    assert_eq!(
        histograms,
        buckets("envoy_cluster_upstream_cx_length_ms", [1, 2, 2, 2, 1, 2])
            + &buckets("envoy_cluster_upstream_rq_time", [1, 1, 1, 6, 204, 6])
    );
}

const COUNTERS: &str = "\
# TYPE envoy_cluster_external_upstream_rq counter
envoy_cluster_external_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"c0\"} 3
envoy_cluster_external_upstream_rq{envoy_response_code=\"204\",envoy_cluster_name=\"c0\"} 1
envoy_cluster_external_upstream_rq{envoy_response_code=\"404\",envoy_cluster_name=\"c0\"} 1
envoy_cluster_external_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"c0\"} 3
# TYPE envoy_cluster_external_upstream_rq_xx counter
envoy_cluster_external_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"c0\"} 4
envoy_cluster_external_upstream_rq_xx{envoy_response_code_class=\"4\",envoy_cluster_name=\"c0\"} 1
envoy_cluster_external_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"c0\"} 3
# TYPE envoy_cluster_health_check_attempt counter
envoy_cluster_health_check_attempt{envoy_cluster_name=\"c0\"} 7
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"c0\"} 3
envoy_cluster_upstream_rq{envoy_response_code=\"204\",envoy_cluster_name=\"c0\"} 1
envoy_cluster_upstream_rq{envoy_response_code=\"404\",envoy_cluster_name=\"c0\"} 1
envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"c0\"} 3
# TYPE envoy_cluster_upstream_rq_completed counter
envoy_cluster_upstream_rq_completed{envoy_cluster_name=\"c0\"} 8
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c0\"} 6
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"c0\"} 4
envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"4\",envoy_cluster_name=\"c0\"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"c0\"} 3
# TYPE envoy_cluster_manager_cluster_added counter
envoy_cluster_manager_cluster_added{} 2
# TYPE envoy_http_downstream_rq_xx counter
envoy_http_downstream_rq_xx{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"admin\"} 1
envoy_http_downstream_rq_xx{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"ingress_http\"} 4
envoy_http_downstream_rq_xx{envoy_response_code_class=\"3\",envoy_http_conn_manager_prefix=\"ingress_http\"} 1
envoy_http_downstream_rq_xx{envoy_response_code_class=\"4\",envoy_http_conn_manager_prefix=\"ingress_http\"} 3
envoy_http_downstream_rq_xx{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"ingress_http\"} 4
# TYPE envoy_http_local_rate_limit_enabled counter
envoy_http_local_rate_limit_enabled{envoy_local_http_ratelimit_prefix=\"rl\"} 2
# TYPE envoy_listener_downstream_cx_total counter
envoy_listener_downstream_cx_total{envoy_listener_address=\"127.0.0.1_21841\"} 12
# TYPE envoy_listener_http_downstream_rq_xx counter
envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"ingress_http\",envoy_listener_address=\"127.0.0.1_21841\"} 4
envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"3\",envoy_http_conn_manager_prefix=\"ingress_http\",envoy_listener_address=\"127.0.0.1_21841\"} 1
envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"4\",envoy_http_conn_manager_prefix=\"ingress_http\",envoy_listener_address=\"127.0.0.1_21841\"} 3
envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"ingress_http\",envoy_listener_address=\"127.0.0.1_21841\"} 4
# TYPE envoy_listener_worker_downstream_cx_total counter
envoy_listener_worker_downstream_cx_total{envoy_worker_id=\"0\",envoy_listener_address=\"127.0.0.1_21841\"} 12
# TYPE nuncio_wasm_calls_total counter
nuncio_wasm_calls_total{nuncio_wasm_filter=\"my-auth\"} 9
";

const GAUGES: &str = "\
# TYPE envoy_cluster_circuit_breakers_default_cx_open gauge
envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name=\"c0\"} 0
# TYPE envoy_cluster_membership_total gauge
envoy_cluster_membership_total{envoy_cluster_name=\"c0\"} 1
# TYPE envoy_listener_downstream_cx_active gauge
envoy_listener_downstream_cx_active{envoy_listener_address=\"127.0.0.1_21841\"} 0
# TYPE envoy_listener_worker_downstream_cx_active gauge
envoy_listener_worker_downstream_cx_active{envoy_worker_id=\"0\",envoy_listener_address=\"127.0.0.1_21841\"} 0
";

#[test]
fn json_is_that_of_envoy() {
    let fixture = fixture();
    let value = json(
        &fixture.registry,
        &selected("c0.upstream_(rq_t|rq_per|cx_len)", false, None),
    );
    let zero = json!({"cumulative": 0, "interval": 0});
    let one = json!({"cumulative": 1.05, "interval": 1.05});
    let none = json!({"cumulative": null, "interval": null});
    let time = |value: f64| json!({"cumulative": value, "interval": value});
    assert_eq!(
        value,
        json!({"stats": [
            {"name": "cluster.c0.upstream_rq_total", "value": 6},
            {"histograms": {
                "supported_quantiles": [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100],
                "computed_quantiles": [
                    {"name": "cluster.c0.upstream_cx_length_ms", "values":
                        [zero, zero, zero, one, one, one, one, one, one, one]},
                    {"name": "cluster.c0.upstream_rq_per_cx", "values": vec![none; 10]},
                    {"name": "cluster.c0.upstream_rq_time", "values": [
                        zero, time(33.5), time(41.333_333_333_333_336), time(44.5), time(45.5),
                        time(45.5), time(45.5), time(45.5), time(45.5), time(45.5),
                    ]},
                ],
            }},
        ]})
    );
    assert_eq!(
        json(&fixture.registry, &selected("nothing", false, None)),
        json!({"stats": []})
    );
    let readouts = selected("", false, Some("TextReadouts"));
    assert_eq!(json(&fixture.registry, &readouts), json!({"stats": []}));
}

#[test]
fn openmetrics_has_the_same_names_and_no_doubled_suffix() {
    let fixture = fixture();
    let selection = selected("", true, None);
    let open = openmetrics(&fixture.registry, &selection);
    for line in [
        "# TYPE envoy_cluster_upstream_rq unknown",
        "envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"c0\"} 3",
        "# TYPE envoy_cluster_upstream_rq_total unknown",
        "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c0\"} 6",
        "# TYPE envoy_listener_downstream_cx counter",
        "# HELP envoy_listener_downstream_cx Envoy's statistic listener downstream cx total",
        "envoy_listener_downstream_cx_total{envoy_listener_address=\"127.0.0.1_21841\"} 12",
        "# TYPE envoy_cluster_membership_total gauge",
        "# TYPE nuncio_wasm_calls counter",
        "nuncio_wasm_calls_total{nuncio_wasm_filter=\"my-auth\"} 9",
        "envoy_cluster_upstream_rq_time_bucket{le=\"50.0\",envoy_cluster_name=\"c0\"} 6",
        "envoy_cluster_upstream_rq_time_bucket{le=\"+Inf\",envoy_cluster_name=\"c0\"} 6",
        "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"c0\"} 6",
    ] {
        assert!(open.lines().any(|there| there == line), "{line}\n{open}");
    }
    assert!(open.ends_with("# EOF\n"));
    // Every sample has the name that it has in the classic text, and families are not doubled.
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    let samples = |text: &str| -> std::collections::BTreeSet<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(name)
            .collect()
    };
    assert_eq!(
        samples(&open),
        samples(&prometheus(&fixture.registry, &selection))
    );
    let mut types: Vec<&str> = open
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let all = types.len();
    types.dedup_by_key(|line| line.split(' ').nth(2).unwrap().to_owned());
    assert_eq!(types.len(), all);
}

#[test]
fn selections() {
    let fixture = fixture();
    let lines = |selection: &Selection| text(&fixture.registry, selection).lines().count();
    assert_eq!(lines(&selected("downstream_rq_[25]xx", false, None)), 6);
    assert_eq!(lines(&selected("downstream_rq_[25]xx", true, None)), 5);
    assert_eq!(lines(&selected("c0", true, Some("Gauges"))), 2);
    assert_eq!(lines(&selected("c0", false, Some("Histograms"))), 3);
    assert_eq!(
        lines(&selected("^cluster.*total$", false, Some("Counters"))),
        1
    );
    let parsed = |filter, kind, inverts| {
        let words = Words {
            filter,
            kind,
            inverts,
            used_only: false,
            buckets: None,
        };
        Selection::parse(&words)
    };
    let refused = parsed(Some("("), None, false).unwrap_err();
    assert!(refused.contains("unclosed group"), "{refused}");
    assert!(parsed(None, Some("counters"), false).is_err());
    assert!(parsed(Some(""), Some("All"), false).is_ok());
    assert!(parsed(None, None, true).is_err());
    let all = lines(&parsed(None, None, false).unwrap());
    let some = lines(&parsed(Some("total"), None, false).unwrap());
    let others = lines(&parsed(Some("total"), None, true).unwrap());
    assert!(some > 0 && others > 0, "{some} {others}");
    assert_eq!(some + others, all);
}

#[test]
fn a_label_cannot_break_the_text() {
    let registry = Registry::new(1);
    let block = registry.sharded::<ClusterPart>(Scope::cluster("a\"b\\c\nd"));
    block.shard(0).membership_total.set(-4);
    let text = prometheus(&registry, &selected("membership", false, None));
    assert_eq!(
        text,
        "# TYPE envoy_cluster_membership_total gauge\n\
         envoy_cluster_membership_total{envoy_cluster_name=\"a\\\"b\\\\c\\nd\"} 0\n"
    );
}

#[test]
fn histograms_are_shown_by_their_buckets_where_asked_for() {
    let fixture = fixture();
    let shown = |buckets| {
        let words = Words {
            filter: Some("cluster.c0.upstream_rq_time"),
            buckets: Some(buckets),
            ..Words::default()
        };
        Selection::parse(&words).unwrap()
    };
    let text = |buckets| text(&fixture.registry, &shown(buckets));
    let cumulative = text("cumulative");
    assert!(
        cumulative.starts_with(
            "cluster.c0.upstream_rq_time: B0.5(1,1) B1(1,1) B5(1,1) B10(1,1) B25(1,1) B50(6,6)"
        ),
        "{cumulative}"
    );
    assert!(
        cumulative.ends_with("B600000(6,6) B1.8e+06(6,6) B3.6e+06(6,6)\n"),
        "{cumulative}"
    );
    assert!(text("disjoint").contains(" B25(0,0) B50(5,5) B100(0,0)"));
    assert_eq!(text("summary"), text("none"));
    let json = json(&fixture.registry, &shown("disjoint"));
    let histogram = &json["stats"][0]["histograms"][0];
    assert_eq!(histogram["name"], "cluster.c0.upstream_rq_time");
    assert_eq!(
        histogram["buckets"][5],
        json!({ "upper_bound": 50, "interval": 5, "cumulative": 5 })
    );
    let summary = prometheus(&fixture.registry, &shown("summary"));
    let labels = "envoy_cluster_name=\"c0\"";
    for line in [
        "# TYPE envoy_cluster_upstream_rq_time summary".to_owned(),
        format!("envoy_cluster_upstream_rq_time{{{labels},quantile=\"0\"}} 0"),
        format!("envoy_cluster_upstream_rq_time_count{{{labels}}} 6"),
    ] {
        assert!(
            summary.lines().any(|shown| shown == line),
            "{line}\n{summary}"
        );
    }
    let unknown = Words {
        buckets: Some("native"),
        ..Words::default()
    };
    assert!(Selection::parse(&unknown).is_err());
}
