//! Fields that files of other proxies' control planes have: older forms of others, and some that few use.

use nuncio_tests::compare::case::{Case, Group};

const OLDER: &str = include_str!("../../cases/older.yaml");
const AWAY: &str =
    "HTTP/1.1 302 Away\r\nLocation: http://a.example/target\r\nContent-Length: 0\r\n\r\n";

/// A request behind a proxy that says that the client came to that port.
fn told(name: &str, port: u16, headers: &str) -> Case {
    let line = format!("PROXY TCP4 192.0.2.1 192.0.2.2 1000 {port}\r\n");
    let request = format!("GET /up HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    Case::http1(name, line + &request).at("told")
}

pub(crate) fn group() -> Group {
    let forwarded = [
        "",
        "X-Forwarded-Proto: https\r\n",
        "X-Forwarded-Proto: http\r\n",
    ];
    let mut cases = Vec::new();
    for said in forwarded {
        cases.extend(
            [443, 8443, 80, 81].map(|port| told(&format!("port {port}, {said:?}"), port, said)),
        );
        cases.push(Case::get(
            &format!("no port is told, {said:?}"),
            "/up",
            said,
        ));
    }
    for (name, path) in [
        ("a format", "/formatted/a?q=1"),
        ("a format with a query", "/formatted/query?q=1"),
        ("a format without a slash", "/formatted/slash?q=1"),
        ("a format, the query taken out", "/formatted/strip?q=1"),
        ("a format that comes to nothing", "/formatted/nothing?q=1"),
    ] {
        cases.push(Case::get(name, path, "X: /v\r\n"));
    }
    for field in [
        "X-Envoy-Max-Retries: 3",
        "X-Envoy-Max-Retries: three",
        "X-Envoy-Retry-On: 5xx,nonsense",
        "X-Envoy-Retry-On: 5xx, reset",
        "X-Envoy-Retry-On: cancelled",
        "X-Envoy-Retry-Grpc-On: cancelled",
        "X-Envoy-Retry-Grpc-On: 5xx",
        "X-Envoy-Upstream-Rq-Timeout-Ms: 1s",
        "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: -1",
    ] {
        let name = format!("a strict check of {field}");
        cases.push(Case::get(&name, "/up", &format!("{field}\r\n")));
    }
    cases.extend([
        Case::get("an older policy for redirects", "/follow", "").reply_bytes(AWAY),
        Case::get("twice what it allows", "/follow", "")
            .reply_bytes(AWAY)
            .reply_bytes(AWAY),
        Case::get("a number without the policy", "/pass", "").reply_bytes(AWAY),
        Case::get("a proxy's own time", "/up", "X-Envoy-Expected-Rq-Timeout-Ms: 7000\r\n"),
        Case::get(
            "a proxy's own time wins",
            "/up",
            "X-Envoy-Expected-Rq-Timeout-Ms: 7000\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 5000\r\n",
        ),
        Case::get("the client's time", "/up", "X-Envoy-Upstream-Rq-Timeout-Ms: 5000\r\n"),
        Case::get("a client's own time", "/up", "X-Envoy-Expected-Rq-Timeout-Ms: 7000\r\n").at("plain"),
        Case::get("older spelling of names", "/older", "X-One-Two: 3\r\n"),
        Case::get("older choice by an HTTP/1 client", "/as_client", ""),
        Case::get("a route that is counted", "/counted/a", ""),
        Case::request(
            "a body above the route's limit",
            "POST",
            "/limited",
            "Content-Length: 10\r\n",
            "0123456789",
        )
        .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        Case::request("a body below it", "POST", "/limited", "Content-Length: 3\r\n", "012")
            .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        Case::admin(
            "GET /stats?filter=^vhost.everything.route.counted.*rq_(completed|total|[1-9])&usedonly",
            &["vhost."],
        ),
    ]);
    Group::new("older", OLDER, cases)
}
