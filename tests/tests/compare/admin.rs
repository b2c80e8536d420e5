//! The admin pages that operators act through: levels of the log, counters that begin anew, listeners
//! that are drained.

use nuncio_tests::compare::case::{Case, Group};

const COUNTED: &[&str] = &[
    "cluster.origin.membership_total",
    "cluster.origin.upstream_rq_200",
    "cluster.origin.upstream_rq_2xx",
    "cluster.origin.upstream_rq_completed",
    "http.main.downstream_rq_total",
];
/// Those of a few, and what else the page says but how it is used.
const LOGGERS: &[&str] = &[
    "error",
    "levels",
    "active loggers",
    "  admin:",
    "  http:",
    "  router:",
    "  upstream:",
];
/// Of the head alone.
const NOTHING: &[&str] = &["no such line"];

pub(crate) fn group() -> Group {
    let mut cases = vec![
        Case::get("a request", "/up", ""),
        Case::admin("GET /stats?filter=^(cluster.origin|http.main)", COUNTED),
        Case::admin("GET /reset_counters", &[]),
        Case::admin("POST /reset_counters", &[]),
        Case::admin("GET /stats?filter=^(cluster.origin|http.main).", COUNTED),
        Case::get("another request", "/up", ""),
        Case::admin("GET /stats?filter=^(cluster.origin|http.main)..", COUNTED),
        Case::admin("GET /memory", NOTHING),
        Case::admin("POST /memory", NOTHING),
        Case::admin("GET /logging", &[]),
        Case::admin("GET /hot_restart_version", &[]),
        Case::admin("GET /init_dump", &[]),
        Case::admin("GET /init_dump?mask=listeners", &[]),
        Case::admin(
            "GET /stats?filter=^cluster.origin.upstream_cx_(length|connect)_ms&histogram_buckets=summary",
            &["cluster.origin.upstream_cx_length_ms"],
        ),
        Case::admin(
            "GET /stats?filter=^cluster.origin.upstream_cx_length_ms&histogram_buckets=cumulative",
            &[],
        ),
        Case::admin("GET /stats?histogram_buckets=disjoint", NOTHING),
        Case::admin("GET /stats?histogram_buckets=native", NOTHING),
        Case::admin("GET /stats/prometheus?histogram_buckets=disjoint", &[]),
        Case::admin("GET /stats/prometheus?histogram_buckets=summary", NOTHING),
    ];
    for request in [
        "POST /logging?level=info",
        "POST /logging",
        "POST /logging?http=debug",
        "POST /logging?paths=admin:error,router:critical",
        "POST /logging?level=",
        "POST /logging?paths=",
        "POST /logging?http=",
        "POST /logging?level=loud",
        "POST /logging?http=loud",
        "POST /logging?nosuch=debug",
        "POST /logging?paths=http:loud",
        "POST /logging?paths=http:info,nosuch:info",
        "POST /logging?paths=http",
        "POST /logging?level=info&http=debug",
        "POST /logging?level=off",
        "POST /logging?level=warning",
    ] {
        cases.push(Case::admin(request, LOGGERS));
    }
    cases.extend([
        Case::admin("GET /drain_listeners", &[]),
        // There are none for inbound traffic.
        Case::admin("POST /drain_listeners?inboundonly", &[]),
        Case::get("nobody is sent away", "/up", ""),
        Case::admin("POST /drain_listeners?graceful&inboundonly", &[]),
        Case::get("nor with time", "/up", ""),
        Case::admin("GET /ready", &[]),
    ]);
    Group::new("admin", include_str!("../../cases/admin.yaml"), cases)
}
