//! Circuit breakers, the local rate limit, health checks, and what the admin interface says of them.

use nuncio_tests::compare::case::{Case, Group, request};
use nuncio_tests::h2_client::H2Send;

const LIMITS: &str = include_str!("../../cases/limits.yaml");

fn get(path: &str) -> Vec<u8> {
    request("GET", path, "", "")
}

pub(crate) fn group() -> Group {
    let mut cases = vec![
        Case::get("one request at a time", "/requests", ""),
        Case::held("a second request", get("/requests/1"), get("/requests/2")),
        Case::get("one request after that", "/requests", ""),
        Case::held(
            "a second request of another priority",
            get("/requests/1"),
            get("/high/2"),
        ),
        Case::held(
            "a second request of high priority",
            get("/high/1"),
            get("/high/2"),
        ),
        Case::held(
            "a HIGH-only breaker on a default route",
            get("/seed/1"),
            get("/seed/2"),
        ),
        Case::held(
            "a second request with HEAD",
            get("/requests/1"),
            request("HEAD", "/requests/2", "", ""),
        ),
        Case::held(
            "a second request with gRPC",
            get("/requests/1"),
            request(
                "POST",
                "/requests/2",
                "Content-Type: application/grpc\r\n",
                "",
            ),
        ),
        Case::queued(
            "a third request when one waits",
            "queue",
            [get("/queue/1"), get("/queue/2"), get("/queue/3")],
        ),
        Case::get("a request after the queue", "/queue", ""),
        Case::get("health checks leave one endpoint, first", "/checked/1", ""),
        Case::get("health checks leave one endpoint, second", "/checked/2", ""),
        Case::get("no endpoint is healthy, panic", "/panic", ""),
        Case::get("no endpoint is healthy, no panic", "/unhealthy", ""),
        Case::http2("no endpoint is healthy, gRPC", H2Send::grpc("/unhealthy")),
        Case::health_checks("the health checks themselves"),
    ];
    // Each case takes two tokens, one for the look whether the connection is open.
    cases.extend([
        Case::get("rate limit, first", "/up", "").at("limited"),
        Case::get("rate limit, second", "/up", "").at("limited"),
        Case::request("rate limit, HEAD", "HEAD", "/up", "", "").at("limited"),
        Case::request(
            "rate limit, with a body",
            "POST",
            "/up",
            "Content-Length: 1\r\n",
            "a",
        )
        .at("limited"),
        Case::get("rate limit, no route", "/nothing", "").at("limited"),
        Case::request(
            "rate limit, gRPC",
            "POST",
            "/up",
            "Content-Type: application/grpc\r\n",
            "",
        )
        .at("limited"),
        Case::http2("rate limit, HTTP/2", H2Send::new("GET", "/up")).at("limited"),
        Case::http2("rate limit, HTTP/2 gRPC", H2Send::grpc("/up")).at("limited"),
        Case::get("another status, first", "/up", "").at("teapot"),
        Case::get("another status, second", "/up", "").at("teapot"),
        Case::get("not enforced, first", "/up", "").at("not_enforced"),
        Case::get("not enforced, second", "/up", "X-Would-Be-Limited: no\r\n").at("not_enforced"),
        Case::get("not enabled, first", "/up", "").at("not_enabled"),
        Case::get("not enabled, second", "/up", "").at("not_enabled"),
    ]);
    cases.extend(admin());
    Group::new("limits", LIMITS, cases)
}

fn admin() -> Vec<Case> {
    vec![
        Case::admin("GET /ready", &[]),
        Case::admin("GET /listeners", &[]),
        Case::admin("GET /nothing", &["invalid path"]),
        Case::admin("GET /quitquitquit", &[]),
        Case::admin("GET /stats?filter=http_local_rate_limit", &[]),
        Case::admin("GET /stats?filter=^cluster.requests.circuit_breakers", &[]),
        Case::admin(
            "GET /stats?filter=^cluster.requests.upstream_rq",
            &[
                "cluster.requests.upstream_rq_200",
                "cluster.requests.upstream_rq_503",
                "cluster.requests.upstream_rq_2xx",
                "cluster.requests.upstream_rq_5xx",
                "cluster.requests.upstream_rq_total",
                "cluster.requests.upstream_rq_completed",
                "cluster.requests.upstream_rq_pending_overflow",
                "cluster.requests.upstream_rq_active",
                "cluster.requests.upstream_rq_pending_total",
                "cluster.requests.upstream_rq_pending_active",
                "cluster.requests.upstream_rq_timeout",
                "cluster.requests.upstream_rq_cancelled",
            ],
        ),
        Case::admin(
            "GET /stats?filter=^cluster.*.membership",
            &[
                "cluster.checked",
                "cluster.panic",
                "cluster.unhealthy",
                "cluster.origin",
            ],
        ),
        Case::admin("GET /stats?filter=^cluster.checked.health_check", &[]),
        Case::admin(
            "GET /stats?filter=^http.limited.downstream_rq",
            &[
                "http.limited.downstream_rq_1xx",
                "http.limited.downstream_rq_2xx",
                "http.limited.downstream_rq_3xx",
                "http.limited.downstream_rq_4xx",
                "http.limited.downstream_rq_5xx",
                "http.limited.downstream_rq_active",
                "http.limited.downstream_rq_completed",
                "http.limited.downstream_rq_http1_total",
                "http.limited.downstream_rq_http2_total",
                "http.limited.downstream_rq_total",
            ],
        ),
        Case::admin(
            "GET /clusters?filter=^checked$",
            &[
                "checked::observability_name",
                "checked::default_priority",
                "checked::high_priority",
                "checked::added_via_api",
                "checked::127.0.0.1",
            ],
        ),
        Case::admin(
            "GET /stats/prometheus?filter=cluster.requests",
            &[
                "# TYPE envoy_cluster_upstream_rq counter",
                "# TYPE envoy_cluster_upstream_rq_xx counter",
                "# TYPE envoy_cluster_upstream_rq_total counter",
                "# TYPE envoy_cluster_circuit_breakers_default_rq_open gauge",
                "envoy_cluster_upstream_rq{",
                "envoy_cluster_upstream_rq_xx{",
                "envoy_cluster_upstream_rq_total{",
                "envoy_cluster_upstream_rq_pending_overflow{",
                "envoy_cluster_circuit_breakers_",
            ],
        ),
    ]
}
