//! Tries beside each other (`hedge_policy`), and endpoints that a retry does not go to.

use std::time::Duration;

use h2::Reason;
use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::frames;
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const ATTEMPTS: &str = include_str!("../../cases/attempts.yaml");
/// A client that may steer the proxy.
const INTERNAL: &str = "X-Forwarded-For: 10.0.0.1\r\n";

fn bytes(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: 2\r\nX-Tried: {status}\r\n\r\nab").into()
}

fn status(status: u16) -> Reply {
    Reply::bytes(bytes(status))
}

/// Longer than a try has, and shorter than two have.
fn late(status: u16) -> Reply {
    Reply::nothing()
        .then(Act::Pause(Duration::from_millis(300)))
        .then(Act::Send(bytes(status)))
}

fn hung() -> Reply {
    Reply::nothing().then(Act::Hang)
}

fn get(name: &str, path: &str, replies: impl IntoIterator<Item = Reply>) -> Case {
    replies
        .into_iter()
        .fold(Case::get(name, path, ""), Case::reply)
}

fn post(name: &str, path: &str, replies: impl IntoIterator<Item = Reply>) -> Case {
    let case = Case::request(name, "POST", path, "Content-Length: 5\r\n", "hello");
    replies.into_iter().fold(case, Case::reply)
}

fn internal(name: &str, path: &str, headers: &str, replies: [Reply; 2]) -> Case {
    let case = Case::get(name, path, &format!("{INTERNAL}{headers}"));
    replies.into_iter().fold(case, Case::reply)
}

pub(crate) fn group() -> Group {
    let mut cases = hedges();
    cases.extend(over_http2());
    cases.extend(asked_for());
    cases.extend(elsewhere());
    cases.extend(unread());
    cases.push(Case::admin(
        "GET /stats?filter=^cluster.(origin|h2origin|no_budget).*(retry|timeout|upstream_rq_)",
        &[
            "cluster.h2origin.upstream_rq_rx_reset:",
            "cluster.h2origin.upstream_rq_tx_reset",
            "cluster.origin.retry",
            "cluster.origin.upstream_rq_2",
            "cluster.origin.upstream_rq_5",
            "cluster.origin.upstream_rq_completed",
            "cluster.origin.upstream_rq_retry",
            "cluster.origin.upstream_rq_per_try",
            "cluster.origin.upstream_rq_rx_reset:",
            "cluster.origin.upstream_rq_tx_reset",
            "cluster.origin.upstream_rq_timeout",
            "cluster.origin.upstream_rq_total",
            "cluster.no_budget.upstream_rq_retry",
        ],
    ));
    Group::new("attempts", ATTEMPTS, cases)
}

fn hedges() -> Vec<Case> {
    let cut = || Reply::nothing().then(Act::Close);
    vec![
        get("in time", "/hedged", [status(200)]),
        get("the second is good", "/hedged", [hung(), status(201)]),
        get(
            "the first is good after all",
            "/hedged",
            [late(201), hung()],
        ),
        get(
            "the second is bad, the first good",
            "/hedged",
            [late(201), status(503)],
        ),
        get(
            "the second is cut, the first good",
            "/hedged",
            [late(201), cut()],
        ),
        get(
            "the second is no error",
            "/hedged",
            [late(201), status(404)],
        ),
        get("both are bad", "/hedged", [late(502), status(503)]),
        get(
            "the first is bad, the second good",
            "/hedged",
            [
                late(503),
                Reply::nothing()
                    .then(Act::Pause(Duration::from_millis(250)))
                    .then(Act::Send(bytes(202))),
            ],
        ),
        get("bad in time", "/short", [status(503), hung()]).at("quiet"),
        get(
            "bad in time, then hung",
            "/twice",
            [status(503), hung(), status(202)],
        ),
        get("the third is good", "/twice", [hung(), hung(), status(202)]),
        get(
            "a third for a bad second",
            "/twice",
            [hung(), status(503), status(202)],
        ),
        // What is left of the time is told otherwise.
        get("nobody answers", "/short", [hung(), hung()]).at("quiet"),
        get("whatever retry_on says", "/connect", [hung(), status(202)]),
        get("no byte for a while", "/idle", [hung(), status(202)]),
        get("without retries", "/alone", [late(202)]),
        get("without a budget", "/no-budget", [late(202)]),
        post("a body", "/hedged", [hung(), status(201)]),
        post(
            "a body, the first is good after all",
            "/hedged",
            [late(201), hung()],
        ),
        Case::http2("over HTTP/2", H2Send::new("POST", "/hedged").body("hello"))
            .reply(hung())
            .reply(status(201)),
        Case::http2("over HTTP/2, the first", H2Send::new("GET", "/hedged"))
            .reply(late(201))
            .reply(hung()),
        Case::get("an HTTP/2 upstream", "/h2", "").h2_reply(H2Reply::status(201).body("x")),
        get("off", "/off", [late(201), status(202)]),
        get("no policy", "/plain", [late(201), status(202)]),
    ]
}

/// Streams that end early on one side or the other, with tries beside each other and without.
fn over_http2() -> Vec<Case> {
    let good = || H2Reply::status(201).body("x");
    // What one beside others brings is read on, whether it is passed on or not.
    let left = Case::get("alone, left for another try", "/h2-alone", "");
    let left = left.h2_reply(H2Reply::status(503).body("some content"));
    let mut cases = vec![left.h2_reply(good())];
    for (name, path) in [("beside", "/h2"), ("alone", "/h2-alone")] {
        for (what, reply) in [
            ("reset", H2Reply::status(200).reset(Reason::CANCEL)),
            (
                "refused",
                H2Reply::status(200).reset(Reason::REFUSED_STREAM),
            ),
        ] {
            let case = Case::get(&format!("{name}, {what}"), path, "");
            cases.push(case.h2_reply(reply).h2_reply(good()));
        }
        let broken = H2Reply::status(200)
            .body("half")
            .reset(Reason::INTERNAL_ERROR);
        let case = Case::get(&format!("{name}, reset in the middle"), path, "");
        cases.push(case.h2_reply(broken));
    }
    cases
}

fn asked_for() -> Vec<Case> {
    let on = "X-Envoy-Hedge-On-Per-Try-Timeout: true\r\n";
    let off = "X-Envoy-Hedge-On-Per-Try-Timeout: false\r\n";
    let first = || [late(201), hung()];
    vec![
        internal("by the request", "/plain", on, first()),
        internal("not by the request", "/hedged", off, [hung(), status(202)]),
        internal(
            "by the request, in capitals",
            "/plain",
            "X-Envoy-Hedge-On-Per-Try-Timeout: TRUE\r\n",
            [hung(), status(202)],
        ),
        Case::get("by an external request", "/plain", on)
            .reply(hung())
            .reply(status(202)),
        get("by the virtual host", "/other", first()).replaced("a.example", "hedging.example"),
        get("not by the route", "/off", [hung(), status(202)])
            .replaced("a.example", "hedging.example"),
    ]
}

/// Responses that the client has no room for.
fn unread() -> Vec<Case> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let ask = |path| {
        let room = frames::settings(&[(INITIAL_WINDOW_SIZE, 10)]);
        [room, frames::get(1, path)].concat()
    };
    let long = || {
        Reply::bytes(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
            "x".repeat(99)
        ))
    };
    vec![
        Case::frames("flush_timeout", ask("/flushed"), Some(1)).reply(long()),
        Case::frames("stream_flush_timeout", ask("/endless"), Some(1))
            .at("quiet")
            .reply(long()),
    ]
}

fn elsewhere() -> Vec<Case> {
    let mut cases = vec![
        get(
            "levels: one after the other",
            "/levels",
            [status(503), status(502)],
        )
        .reply_from("second", status(501)),
        get(
            "levels: every other try",
            "/every-other",
            [status(503), status(502), status(500)],
        )
        .reply_from("second", status(501))
        .reply_from("second", status(504)),
        get(
            "the first of two thresholds",
            "/two-thresholds",
            [status(503)],
        ),
        get("a budget", "/budget", [status(503), status(502)]),
    ];
    for key in ["a", "b", "c", "d"] {
        for path in ["/canary", "/metadata"] {
            let case = Case::get(&format!("{path} {key}"), path, &format!("X-Key: {key}\r\n"));
            cases.push(case.reply(status(503)).reply_from("second", status(502)));
        }
    }
    cases
}
