//! Redirects that the proxy follows: which, where to, and with what.

#![expect(clippy::too_many_lines, reason = "a table of cases")]

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::{Act, Reply};

/// Where most of them lead to.
const TARGET: &str = "http://a.example/target?q=1";
const REDIRECTS: &str = include_str!("../../cases/redirects.yaml");

fn redirect(status: u16, location: &str) -> Reply {
    let head = format!("HTTP/1.1 {status} Away\r\nLocation: {location}\r\nX-Copied: 7\r\n");
    Reply::bytes(format!("{head}Content-Length: 4\r\n\r\naway"))
}

/// A GET that is answered with these redirects.
fn get(name: &str, path: &str, redirects: &[(u16, &str)]) -> Case {
    let case = Case::get(name, path, "");
    let redirects = redirects.iter();
    redirects.fold(case, |case, (status, to)| case.reply(redirect(*status, to)))
}

fn post(name: &str, path: &str, body: &str, (status, to): (u16, &str)) -> Case {
    let length = format!("Content-Length: {}\r\n", body.len());
    Case::request(name, "POST", path, &length, body).reply(redirect(status, to))
}

/// Where redirects lead to.
fn locations() -> Vec<Case> {
    vec![
        get("no policy", "/none", &[(302, TARGET)]),
        get("302", "/follow", &[(302, TARGET)]),
        get("302 with a query", "/follow?a=1", &[(302, TARGET)]),
        get("301", "/follow", &[(301, TARGET)]),
        get("200", "/follow", &[(200, TARGET)]),
        get(
            "to another host",
            "/follow",
            &[(302, "http://b.example/target")],
        ),
        get(
            "to another port",
            "/follow",
            &[(302, "http://a.example:8080/target")],
        ),
        get("to a host alone", "/follow", &[(302, "http://a.example")]),
        get(
            "with a fragment",
            "/follow",
            &[(302, "http://a.example/target#there")],
        ),
        get(
            "to a host that is none",
            "/follow",
            &[(302, "http://a b/target")],
        ),
        get(
            "to an encoded host",
            "/follow",
            &[(302, "http://a%20b/target")],
        ),
        get(
            "to a port that is none",
            "/follow",
            &[(302, "http://a.example:99999/target")],
        ),
        get(
            "to an address",
            "/follow",
            &[(302, "http://[::1]:8080/target")],
        ),
        get(
            "to half an address",
            "/follow",
            &[(302, "http://[::1/target")],
        ),
        get(
            "with a user",
            "/follow",
            &[(302, "http://u:p@a.example/target")],
        ),
        get(
            "to a path that is none",
            "/follow",
            &[(302, "http://a.example/target q")],
        ),
        get("a relative one", "/follow", &[(302, "/target")]),
        get("an empty one", "/follow", &[(302, "")]),
        Case::get("none at all", "/follow", "")
            .reply_bytes("HTTP/1.1 302 Away\r\nContent-Length: 4\r\n\r\naway"),
        get(
            "another scheme's",
            "/follow",
            &[(302, "ftp://a.example/target")],
        ),
        get(
            "to no route",
            "/follow",
            &[(302, "http://b.example/nowhere")],
        ),
        get(
            "to a direct response",
            "/follow",
            &[(302, "http://a.example/answer")],
        ),
        get(
            "to itself",
            "/follow",
            &[(302, "http://a.example/follow"), (302, TARGET)],
        ),
        get(
            "twice",
            "/twice",
            &[(302, "http://a.example/twice"), (302, TARGET)],
        ),
        get(
            "three times where two may be",
            "/twice",
            &[
                (302, "http://a.example/twice"),
                (302, "http://a.example/twice"),
                (302, TARGET),
            ],
        ),
    ]
}

/// A redirect with a body, to somebody who does not answer: the route's timeout goes on.
fn silent() -> Case {
    let hung = Reply::nothing().then(Act::Hang);
    post(
        "307 with a body to nobody who answers",
        "/quick",
        "hello",
        (307, "http://a.example/quick"),
    )
    .reply(hung)
}

/// What a policy may say.
fn policies() -> Vec<Case> {
    vec![
        silent(),
        get("303 of a GET", "/codes", &[(303, TARGET)]),
        get("307", "/codes", &[(307, TARGET)]),
        get("308", "/codes", &[(308, TARGET)]),
        get("302 where it is not listed", "/codes", &[(302, TARGET)]),
        get("to https", "/follow", &[(302, "https://a.example/target")]),
        get(
            "to https where it may",
            "/cross",
            &[(302, "https://a.example/target")],
        ),
        get(
            "to https, safe",
            "/safe",
            &[(302, "https://a.example/target")],
        ),
        get("to http, safe", "/safe", &[(302, TARGET)]),
        get("to a listed route", "/listed", &[(302, TARGET)]),
        get(
            "to a route that is not listed",
            "/listed",
            &[(302, "http://b.example/target")],
        ),
        get(
            "to a route that was followed to",
            "/previous",
            &[
                (302, "http://a.example/previous/1"),
                (302, "http://a.example/previous/2"),
            ],
        ),
    ]
}

/// What the request, or a hop before, says of its scheme, in clear text.
fn schemes() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["/follow", "/safe", "/cross"] {
        for to in ["http", "https"] {
            let to = format!("{to}://a.example/target");
            let name = format!("{path} said to be https, to {to}");
            let told = Case::get(&name, path, "X-Forwarded-Proto: https\r\n");
            let own = H2Send::new("GET", path).base("https://a.example");
            let own = Case::http2(&format!("{path} of https, to {to}"), own);
            cases.extend([told, own].map(|case| case.reply(redirect(302, &to))));
        }
    }
    let there_and_back = ["https://a.example/cross", "http://a.example/cross", TARGET];
    cases.push(get(
        "there and back",
        "/cross",
        &there_and_back.map(|to| (302, to)),
    ));
    cases
}

/// What goes with the next request.
fn requests() -> Vec<Case> {
    vec![
        get("with copied headers", "/copy", &[(302, TARGET)]),
        Case::get("with an absent copied header", "/copy", "X-Absent: 1\r\n")
            .reply(redirect(302, TARGET)),
        get("after a rewrite", "/rewritten/p", &[(302, TARGET)]),
        get("after a retry", "/retried", &[(302, TARGET), (302, TARGET)]),
        post("a body", "/follow", "hello", (302, TARGET)),
        post("a body, 307", "/codes", "hello", (307, TARGET)),
        post("a body, 303", "/codes", "hello", (303, TARGET)),
        post("an empty body, 303", "/codes", "", (303, TARGET)),
        post(
            "a body above the limit",
            "/codes",
            &"0123456789".repeat(500),
            (307, TARGET),
        ),
        Case::http2("HTTP/2", H2Send::new("GET", "/follow")).reply(redirect(302, TARGET)),
        Case::http2(
            "HTTP/2 with a body",
            H2Send::new("POST", "/codes").body("hello"),
        )
        .reply(redirect(307, TARGET)),
    ]
}

pub(crate) fn group() -> Group {
    let mut cases = [locations(), policies(), schemes(), requests()].concat();
    cases.extend([
        Case::admin(
            "GET /stats?filter=internal_redirect|cluster.origin.retry_or_shadow",
            &[
                "cluster.origin.retry_or_shadow_abandoned",
                "cluster.origin.upstream_internal_redirect",
                "http.main.passthrough_internal_redirect",
            ],
        ),
        // Behind the counters, which it would make differ too.
        get(
            "another scheme's where it may",
            "/cross",
            &[(302, "ftp://a.example/target")],
        ),
    ]);
    Group::new("internal redirects", REDIRECTS, cases)
}
