//! CONNECT: tunnels that end here, so that their bytes go to the upstream, and tunnels that an
//! upstream opens, over every pair of protocols.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::frames::{self, flag};
use nuncio_tests::h2_client::{H2Send, H2Step};
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

/// How long the ordinary answer of the upstream is.
const ORDINARY: usize = 40;
const ACCEPTS: &str = "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n";

pub(crate) fn group() -> Group {
    let mut cases = ends_here();
    cases.extend(passed_on());
    cases.extend(refusals());
    cases.extend(over_http2());
    cases.extend(posted());
    cases.push(
        Case::admin(
            "GET /stats?filter=http.ingress.(downstream_(cx_upgrades|rq_(ws|response|rx))|rq_total)",
            &[],
        )
        .once("http.ingress.downstream_rq_active: 0"),
    );
    Group::new("connect", include_str!("../../cases/connect.yaml"), cases)
}

/// Bodies that are bytes for the upstream.
fn posted() -> Vec<Case> {
    let inner = "GET /inner HTTP/1.1\r\nHost: inner.example\r\n\r\n";
    let answer = || Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").close();
    let length = format!("Content-Length: {}\r\n", inner.len());
    let chunks = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let post = |name: &str, path: &str, headers: &str, body: &str| {
        Case::request(name, "POST", path, headers, body).reply(answer())
    };
    vec![
        post("posted", "/posted", &length, inner),
        post(
            "posted in chunks",
            "/posted",
            "Transfer-Encoding: chunked\r\n",
            &chunks,
        ),
        post(
            "posted where that is not allowed",
            "/not-posted",
            &length,
            inner,
        ),
        Case::get("another method", "/posted", ""),
        Case::http2(
            "posted over HTTP/2",
            H2Send::new("POST", "/posted").body(inner),
        )
        .reply(answer()),
    ]
}

fn connect(authority: &str, headers: &str) -> Vec<u8> {
    format!("CONNECT {authority}:80 HTTP/1.1\r\nHost: {authority}:80\r\n{headers}\r\n").into_bytes()
}

fn steps(name: &str, authority: &str, rest: Vec<Step>) -> Case {
    let mut steps = vec![
        Step::Send(connect(authority, "")),
        Step::Receive { to_head: true },
    ];
    steps.extend(rest);
    Case::steps(name, steps)
}

fn inner() -> Step {
    Step::Send(request("GET", "/inner", "", ""))
}

fn ends_here() -> Vec<Case> {
    vec![
        steps(
            "bytes to the upstream",
            "ends.example",
            vec![
                inner(),
                Step::ReceiveBytes(ORDINARY),
                inner(),
                Step::ReceiveBytes(ORDINARY),
                Step::HangUp,
            ],
        ),
        steps(
            "the client ends",
            "ends.example",
            vec![
                inner(),
                Step::ReceiveBytes(ORDINARY),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        ),
        steps(
            "the upstream ends",
            "ends.example",
            vec![inner(), Step::ReceiveToEnd],
        )
        .reply(Reply::bytes("bye").close()),
        steps(
            "the upstream resets",
            "ends.example",
            vec![inner(), Step::ReceiveToEnd],
        )
        .reply(Reply::nothing().then(Act::Reset)),
        Case::steps(
            "bytes behind the request",
            vec![
                Step::Send(
                    [
                        connect("ends.example", ""),
                        request("GET", "/inner", "", ""),
                    ]
                    .concat(),
                ),
                Step::Receive { to_head: true },
                Step::ReceiveBytes(ORDINARY),
                Step::HangUp,
            ],
        ),
        Case::http1("no connection", connect("refused.example", "")).closes(),
    ]
}

fn passed_on() -> Vec<Case> {
    vec![
        steps(
            "passed on",
            "on.example",
            vec![
                Step::Send(b"abc".to_vec()),
                Step::ReceiveBytes(3),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::bytes(ACCEPTS).at_head().then(Act::Echo)),
        steps(
            "passed on, the upstream ends",
            "on.example",
            vec![Step::ReceiveToEnd],
        )
        .reply(Reply::bytes(format!("{ACCEPTS}bye")).at_head().close()),
        Case::http1("passed on and refused", connect("on.example", ""))
            .closes()
            .reply_bytes("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope"),
        steps(
            "passed on to h2",
            "h2.example",
            vec![
                Step::Send(b"abc".to_vec()),
                Step::ReceiveBytes(3),
                Step::HangUp,
            ],
        )
        .h2_reply(H2Reply::echo()),
        Case::http1("passed on to h2 and refused", connect("h2.example", ""))
            .closes()
            .h2_reply(H2Reply::status(407).at_head().body("no")),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        Case::http1("off by the route", connect("never.example", "")).closes(),
        Case::http1("no route", connect("other.example", "")).closes(),
        Case::http1("not allowed at all", connect("on.example", ""))
            .closes()
            .at("closed"),
        Case::http1("allowed by the route alone", connect("ends.example", ""))
            .closes()
            .at("closed")
            .without_log(),
    ]
}

/// A client that has said all before there is an answer.
fn ends_first(name: &str) -> Case {
    let head = [(":method", "CONNECT"), (":authority", "ends.example:80")];
    let head = frames::headers(1, flag::NONE, &head);
    let inner = frames::data(1, flag::END_STREAM, &request("GET", "/inner", "", ""));
    Case::frames(name, [head, inner].concat(), Some(1))
}

fn over_http2() -> Vec<Case> {
    let of = |name: &str, authority: &str, steps: Vec<H2Step>| {
        Case::h2_tunnel(name, H2Send::connect(&format!("{authority}:80")), steps)
    };
    let talk = || {
        vec![
            H2Step::Send("GET /inner HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            H2Step::Receive(ORDINARY),
        ]
    };
    vec![
        of("h2, bytes to the upstream", "ends.example", talk()),
        of(
            "h2, the upstream ends",
            "ends.example",
            vec![
                H2Step::Send("GET /inner HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                H2Step::ReceiveToEnd,
            ],
        )
        .reply(Reply::bytes("bye").close()),
        of(
            "h2, no connection",
            "refused.example",
            vec![H2Step::ReceiveToEnd],
        ),
        of(
            "h2, off by the route",
            "never.example",
            vec![H2Step::ReceiveToEnd],
        ),
        of("h2, no route", "other.example", vec![H2Step::ReceiveToEnd]),
        ends_first("h2, the client ends first"),
        of(
            "h2 to h1, passed on",
            "on.example",
            vec![H2Step::Send("abc"), H2Step::Receive(3)],
        )
        .reply(Reply::bytes(ACCEPTS).at_head().then(Act::Echo)),
        of(
            "h2 to h2, passed on",
            "h2.example",
            vec![
                H2Step::Send("abc"),
                H2Step::Receive(3),
                H2Step::End,
                H2Step::ReceiveToEnd,
            ],
        )
        .h2_reply(H2Reply::echo()),
    ]
}
