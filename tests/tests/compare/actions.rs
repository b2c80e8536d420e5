//! What routes do with a request, and the runtime values that steer them.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

const ACTIONS: &str = include_str!("../../cases/actions.yaml");

fn get(path: &str, fields: &[&str]) -> Case {
    let text: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
    Case::get(&format!("action {path} with {fields:?}"), path, &text)
}

fn at_host(host: &str, fields: &str) -> Case {
    let bytes = format!("GET /any?q HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    Case::http1(&format!("action at {host} with {fields:?}"), bytes)
}

pub(crate) fn group() -> Group {
    let mut cases = hosts();
    cases.extend(paths());
    cases.extend(clusters());
    cases.extend(splits());
    cases.extend(answers());
    cases.extend(virtual_hosts());
    cases.extend(runtime());
    cases.push(Case::admin(
        "GET /stats?filter=vcluster.*rq_(completed|total|[1-9])|canary.upstream_rq_[c0-9]|maintenance&usedonly",
        &["vhost.", "cluster."],
    ));
    Group::new("actions", ACTIONS, cases)
}

fn hosts() -> Vec<Case> {
    vec![
        get("/weighted-host/only", &[]),
        get("/weighted-host/both", &[]),
        get("/weighted-host/forwarded", &[]),
        get("/weighted-host/auto", &[]),
        get("/host/literal", &[]),
        get("/host/literal", &["X-Envoy-Original-Host: mine"]),
        get("/host/forwarded", &[]),
        get("/host/forwarded", &["X-Forwarded-Host: x.test"]),
        get("/host/forwarded", &["X-Forwarded-Host: x.test,a.example"]),
        get("/host/forwarded", &["X-Forwarded-Host: x.test, a.example"]),
        get("/host/forwarded", &["X-Forwarded-Host: a.example,x.test"]),
        get("/host/forwarded", &["X-Forwarded-Host:"]),
        get("/host/not-rewritten", &[]),
        get("/host/header", &["X-Host: header.test"]),
        get("/host/header", &["X-Host: one.test", "X-Host: two.test"]),
        get("/host/header", &["X-Host:"]),
        get("/host/header", &[]),
        get("/host/regex/abc/rest?q", &[]),
        get("/host/regex/abc", &[]),
        get("/host/format", &["X-Host: header"]),
        get("/host/format", &[]),
        get("/host/missing", &[]),
        get("/host/auto/named", &[]),
        get("/host/auto/unnamed", &[]),
        get("/host/auto/forwarded", &["X-Forwarded-Host: x.test"]),
        get("/host/auto/off", &[]),
        Case::http2(
            "action /host/auto/named over HTTP/2",
            H2Send::new("GET", "/host/auto/named").base("http://a.example"),
        ),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        get("/path/regex/abc/rest?q=1", &[]),
        get("/path/regex/abc", &[]),
        get("/path/all/aa?a", &[]),
        get("/path/nothing?q", &[]),
        get("/path/format/a?q=1", &[]),
        get("/path/format", &[]),
        get("/path/header", &["X-Path: /abs"]),
        get("/path/header?q=1", &["X-Path: /abs?z=1"]),
        get("/path/header?q=1", &["X-Path:"]),
        get("/path/header?q=1", &[]),
        get("/path/both?q", &[]),
        Case::http2(
            "action /path/format over HTTP/2",
            H2Send::new("GET", "/path/format?q").base("http://a.example"),
        ),
    ]
}

fn clusters() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in ["plain", "not-found", "error", "weighted"] {
        for fields in [
            &["X-Cluster: second"][..],
            &["X-Cluster: nowhere"],
            &["X-Cluster:"],
            &[],
        ] {
            cases.push(get(&format!("/cluster-header/{kind}"), fields));
        }
    }
    cases.push(get(
        "/cluster-header/plain",
        &["X-Cluster: origin", "X-Cluster: second"],
    ));
    cases.extend(["503", "404", "500"].map(|status| get(&format!("/unknown/{status}"), &[])));
    cases
}

/// Choices among weighted clusters that leave nothing to chance: both proxies must choose alike.
fn splits() -> Vec<Case> {
    let mut cases: Vec<Case> = ["7", "49", "50", "99", "100", "18446744073709551615"]
        .iter()
        .map(|number| get("/split/header", &[&format!("X-Random: {number}")]))
        .collect();
    for user in ["ann", "bob", "carl", "dora", "emil", "user 42", ""] {
        let user_field = format!("X-User: {user}");
        cases.push(get("/split/hash", &[&user_field]));
        cases.push(get("/split/two", &[&user_field, "X-Group: staff"]));
        cases.push(get("/split/terminal", &[&user_field, "X-Group: staff"]));
    }
    for user in ["ann1", "ann22", "bob7"] {
        cases.push(get("/split/rewritten", &[&format!("X-User: {user}")]));
    }
    for lines in [
        &["X-User: ann", "X-User: bob"][..],
        &["X-User: bob", "X-User: ann"],
    ] {
        cases.push(get("/split/hash", lines));
        cases.push(get("/split/rewritten", lines));
    }
    cases.push(get("/split/two", &["X-Group: staff"]));
    cases.push(get("/split/terminal", &["X-Group: staff"]));
    for cookie in [
        "cohort=a",
        "cohort=b",
        "cohort=c",
        "x=y; cohort=b",
        "cohort=\"a\"",
        "cohort= a",
    ] {
        cases.push(get("/split/cookie", &[&format!("Cookie: {cookie}")]));
    }
    for query in [
        "user=a",
        "user=b",
        "user=c",
        "user",
        "x=1&user=b",
        "user=%61",
    ] {
        cases.push(get(&format!("/split/query?{query}"), &[]));
    }
    cases.push(get("/split/source", &[]));
    for address in ["10.0.0.1", "10.0.0.2", "192.0.2.7", "2001:db8::1"] {
        cases.push(get(
            "/split/source",
            &[&format!("X-Forwarded-For: {address}")],
        ));
    }
    cases
}

fn answers() -> Vec<Case> {
    vec![
        get("/direct/file", &[]),
        get("/direct/text?q", &[]),
        get("/direct/json?q", &[]),
        get("/direct/json", &["Content-Type: application/grpc"]),
        get("/direct/html", &["X-In: input"]),
        get("/direct/html", &[]),
        get("/direct/bytes", &[]),
        get("/direct/none", &[]),
        get("/direct/long", &[]),
        Case::request(
            "action /direct/text to HEAD",
            "HEAD",
            "/direct/text",
            "",
            "",
        ),
        get("/redirect/regex/a/b?q", &[]),
        get("/redirect/regex", &[]),
        get("/redirect/everything?q", &[]),
        get("/redirect/port-80?q", &[]),
        get("/group/one", &[]),
        Case::request("action of a group", "POST", "/group/two", "", ""),
        Case::get("action of a canary", "/canary", "").reply_bytes(
            "HTTP/1.1 200 OK\r\nX-Envoy-Upstream-Canary: true\r\nContent-Length: 2\r\n\r\nok",
        ),
        Case::get("action of no canary", "/canary", "").reply_bytes(
            "HTTP/1.1 200 OK\r\nX-Envoy-Upstream-Canary: false\r\nContent-Length: 2\r\n\r\nok",
        ),
        get("/maintained", &[]),
        get("/decorated", &["X-Envoy-Decorator-Operation: mine"]),
    ]
}

fn virtual_hosts() -> Vec<Case> {
    vec![
        at_host("secure.test", ""),
        at_host("secure.test:80", ""),
        at_host("secure.test:8080", ""),
        at_host("secure.test", "X-Forwarded-Proto: https\r\n"),
        at_host("half.secure.test", ""),
        at_host("half.secure.test", "X-Forwarded-For: 10.0.0.1\r\n"),
        at_host("ported.test", ""),
        at_host("ported.test:8080", ""),
        at_host("PORTED.test:1", ""),
        at_host("ported.test:", ""),
        at_host("ported.test:port", ""),
        at_host("other.test", "X-Internal-Only: 1\r\n"),
        at_host(
            "other.test",
            "X-Internal-Only: 1\r\nX-Forwarded-For: 10.0.0.1\r\n",
        ),
    ]
}

fn runtime() -> Vec<Case> {
    let whole = &[][..];
    let mut cases = vec![
        get("/split/runtime", &[]),
        get("/share/none", &[]),
        get("/share/all", &[]),
        get("/share/odd", &[]),
        get("/share/unset", &[]),
    ];
    for (change, path) in [
        (
            "POST /runtime_modify?split.origin=0&split.second=100",
            "/split/runtime",
        ),
        (
            "POST /runtime_modify?split.origin=1",
            "/split/runtime?unchanged",
        ),
        (
            "POST /runtime_modify?split.origin=&split.second=",
            "/split/runtime?removed",
        ),
        ("POST /runtime_modify?fraction.none=100", "/share/none?all"),
        ("POST /runtime_modify?fraction.none=101", "/share/none?more"),
        (
            "POST /runtime_modify?fraction.none={numerator:%201000000,%20denominator:%20MILLION}",
            "/share/none?million",
        ),
        (
            "POST /runtime_modify?fraction.none=-5",
            "/share/none?negative",
        ),
        ("POST /runtime_modify?fraction.none=", "/share/none?removed"),
        (
            "POST /runtime_modify?split.origin=nonsense",
            "/split/runtime?nonsense",
        ),
        (
            "POST /runtime_modify?upstream.maintenance_mode.maintained=0",
            "/maintained?over",
        ),
        (
            "POST /runtime_modify?upstream.maintenance_mode.origin=100",
            "/group/one?maintained",
        ),
        (
            "POST /runtime_modify?upstream.maintenance_mode.origin=",
            "/group/one?over",
        ),
    ] {
        cases.push(Case::admin(change, whole));
        if !path.ends_with("unchanged") {
            cases.push(get(path, &[]));
        }
    }
    cases.extend([
        Case::admin("POST /runtime_modify", whole),
        Case::admin("GET /runtime_modify?a=b", whole),
        // Envoy loads its layers twice before it serves: that is not compared.
        Case::admin(
            "GET /stats?filter=^runtime",
            &[
                "runtime.admin",
                "runtime.num",
                "runtime.deprecated",
                "runtime.load_error",
            ],
        ),
    ]);
    cases
}
