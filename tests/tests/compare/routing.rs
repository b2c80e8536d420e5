//! Virtual hosts, route matches, redirects, rewrites and timeouts.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::{Act, Reply};

const ROUTING: &str = include_str!("../../cases/routing.yaml");

fn host(host: &str) -> Case {
    let bytes = format!("GET /any HTTP/1.1\r\nHost: {host}\r\n\r\n");
    Case::http1(&format!("host {host}"), bytes)
}

fn path(path: &str) -> Case {
    Case::get(&format!("path {path}"), path, "")
}

pub(crate) fn group() -> Group {
    let mut cases: Vec<Case> = [
        "exact.example",
        "EXACT.Example",
        "exact.example:80",
        "with-port.example:8080",
        "with-port.example",
        "upper.example",
        "a.example",
        "a.b.example",
        ".example",
        "example",
        "a.long.example",
        "long.example",
        "a-dash.example",
        "prefix.test",
        "prefix.long.test",
        "prefix.long.example",
        "prefix.example",
        "prefix.",
        "narrow.test",
        "a.example.",
        "a.example:8080",
    ]
    .map(host)
    .into();
    cases.push(
        Case::get("another path of a narrow host", "/only", "")
            .replaced("a.example", "narrow.test"),
    );
    cases.extend(paths());
    cases.extend(headers());
    cases.extend(queries());
    cases.extend(actions());
    // `a.example` has a virtual host of its own here, the rest of the table is behind `*`.
    let elsewhere = |case: Case| case.replaced("a.example", "a.test");
    let (hosts, rest) = cases.split_at(22);
    let cases = hosts
        .iter()
        .cloned()
        .chain(rest.iter().cloned().map(elsewhere))
        .collect();
    Group::new("routing", ROUTING, cases)
}

fn paths() -> Vec<Case> {
    [
        "/path",
        "/path?query",
        "/path/",
        "/PATH",
        "/path/insensitive",
        "/PATH/INSENSITIVE?A",
        "/prefix/insensitive/more",
        "/prefix",
        "/prefixed",
        "/prefix/more",
        "/Prefix",
        "/separated",
        "/separated/",
        "/separated/more",
        "/separatedmore",
        "/separated?query",
        "/regex/12",
        "/regex/12?query",
        "/regex/12/more",
        "/regex/a",
        "/x/../path",
        "//path",
        "/%70ath",
        "/path;parameter",
    ]
    .map(path)
    .into()
}

fn headers() -> Vec<Case> {
    let with = |kind: &str, lines: &[&str]| {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        Case::get(
            &format!("header {kind} with {lines:?}"),
            &format!("/header/{kind}"),
            &text,
        )
    };
    let mut cases = Vec::new();
    for kind in [
        "exact", "fold", "prefix", "suffix", "contains", "regex", "invert", "empty",
    ] {
        for lines in [
            &["X-A: one"][..],
            &["X-A: ONE"],
            &["X-A: two"],
            &["X-A: one", "X-A: two"],
            &["X-A:"],
            &[],
        ] {
            cases.push(with(kind, lines));
        }
    }
    for kind in ["present", "absent"] {
        cases.extend([
            with(kind, &["X-A: one"]),
            with(kind, &["X-A:"]),
            with(kind, &[]),
        ]);
    }
    for value in ["0", "1", "9", "10", "-1", "5.5", "five", " 5", "+5", ""] {
        cases.push(with("range", &[&format!("X-A: {value}")]));
    }
    cases.extend([
        with("range", &[]),
        with("both", &["X-A: one", "X-B: any"]),
        with("both", &["X-A: one"]),
        with("both", &["X-B: any"]),
        Case::request("header method with POST", "POST", "/header/method", "", ""),
        Case::request("header method with PUT", "PUT", "/header/method", "", ""),
        Case::get("header authority", "/header/authority", ""),
        Case::http1(
            "header authority that matches",
            "GET /header/authority HTTP/1.1\r\nHost: auth.test\r\n\r\n",
        ),
        Case::http1(
            "header host that matches",
            "GET /header/host HTTP/1.1\r\nHost: auth.test\r\n\r\n",
        ),
    ]);
    cases
}

fn queries() -> Vec<Case> {
    [
        "/query/exact?a=1",
        "/query/exact?a=2",
        "/query/exact?b=2&a=1",
        "/query/exact?a=2&a=1",
        "/query/exact?a=1&a=2",
        "/query/exact?A=1",
        "/query/exact?a=%31",
        "/query/exact?a=1#",
        "/query/exact?a",
        "/query/exact",
        "/query/present?a",
        "/query/present?a=",
        "/query/present?b&a=1",
        "/query/present?aa=1",
        "/query/present?",
        "/query/present",
        "/query/regex?a=12",
        "/query/regex?a=12x",
        "/query/regex?a=",
        "/query/both?a&b=xy",
        "/query/both?a&b=y",
        "/query/both?b=xy",
    ]
    .map(path)
    .into()
}

fn actions() -> Vec<Case> {
    let never = || Reply::nothing().then(Act::Hang);
    let mut cases: Vec<Case> = [
        "/weights/all",
        "/weights/none",
        "/redirect/host/a?b=c",
        "/redirect/path?a=b",
        "/redirect/path",
        "/redirect/own-query?a=b",
        "/redirect/https/a?b=c",
        "/redirect/scheme/a",
        "/redirect/port/a?b",
        "/redirect/prefix/a?b=c",
        "/redirect/prefix",
        "/redirect/strip?a=b",
        "/redirect/302",
        "/redirect/303",
        "/redirect/307",
        "/redirect/308",
        "/rewrite/prefix",
        "/rewrite/prefix/a?b=c",
        "/rewrite/prefixed",
        "/rewrite/root/a",
        "/rewrite/root",
        "/rewrite/root?a=b",
        "/rewrite/path?a=b",
        "/rewrite/separated/a",
        "/rewrite/separated",
        "/rewrite/host",
        "/rewrite/both/a?b",
        "/timeout/odd",
        "/timeout/off",
    ]
    .map(path)
    .into();
    cases.extend([
        Case::http1(
            "redirect to https with a port",
            "GET /redirect/https HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
        ),
        Case::http1(
            "redirect to https with port 80",
            "GET /redirect/https HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
        ),
        Case::http1(
            "redirect of a host with a port",
            "GET /redirect/host HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
        ),
        Case::http1(
            "redirect of a port with a port",
            "GET /redirect/port HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
        ),
        Case::http1(
            "redirect of an IPv6 host",
            "GET /redirect/port HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        ),
        Case::request(
            "redirect of POST",
            "POST",
            "/redirect/path",
            "Content-Length: 3\r\n",
            "abc",
        ),
        Case::get(
            "redirect by X-Forwarded-Proto",
            "/redirect/path",
            "X-Forwarded-Proto: https\r\n",
        ),
        Case::get(
            "redirect to https that is there",
            "/redirect/https",
            "X-Forwarded-Proto: https\r\n",
        ),
        Case::http2(
            "redirect over HTTP/2",
            H2Send::new("GET", "/redirect/https?a").base("http://a.test"),
        ),
        Case::http2(
            "rewrite over HTTP/2",
            H2Send::new("GET", "/rewrite/both/a?b").base("http://a.test"),
        ),
        Case::get("timeout of a route", "/timeout/short", "").reply(never()),
        Case::get(
            "timeout asked by the client",
            "/timeout/odd",
            "X-Envoy-Upstream-Rq-Timeout-Ms: 50\r\n",
        ),
        Case::get(
            "expected timeout set by the client",
            "/timeout/off",
            "X-Envoy-Expected-Rq-Timeout-Ms: 7\r\n",
        ),
    ]);
    cases
}
