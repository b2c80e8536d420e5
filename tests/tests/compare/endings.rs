//! How streams end that do not end well: resets of each kind, connections that end in between, messages
//! that are not as long as they say. What the client gets, what is logged, and what is counted.

use h2::Reason;
use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::frames::{self, flag, kind};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

/// A field that makes a request's head so long that all of it has come with so many bytes.
const LONG: &str = "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\
                    ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\
                    ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\
                    ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~";
/// More than what a client of HTTP/2 sends before its first request.
const BEFORE: usize = 200;

pub(crate) fn group() -> Group {
    let mut cases = resets();
    cases.extend(frames_of_upstreams());
    cases.extend(clients());
    cases.push(Case::admin(
        "GET /stats?filter=^cluster.(h2|raw).upstream_",
        &[
            "cluster.h2.upstream_rq_rx_reset",
            "cluster.h2.upstream_rq_tx_reset",
            "cluster.h2.upstream_rq_pending_failure_eject",
            "cluster.raw.upstream_rq_rx_reset",
            "cluster.raw.upstream_rq_tx_reset",
            "cluster.raw.upstream_rq_pending_failure_eject",
            "cluster.raw.upstream_rq_total",
        ],
    ));
    cases.push(Case::admin(
        "GET /stats?filter=^http.(main|few).downstream_",
        &[
            "http.main.downstream_rq_total",
            "http.main.downstream_rq_completed",
            "http.main.downstream_rq_1xx",
            "http.main.downstream_rq_2xx",
            "http.main.downstream_rq_3xx",
            "http.main.downstream_rq_4xx",
            "http.main.downstream_rq_5xx",
            "http.main.downstream_rq_rx_reset",
            "http.main.downstream_rq_idle_timeout",
            "http.main.rq_reset_after_downstream_response_started",
            "http.few.downstream_cx_max_requests_reached",
        ],
    ));
    Group::new("endings", include_str!("../../cases/endings.yaml"), cases)
}

/// Streams that an upstream resets, before its response and in the middle of it.
fn resets() -> Vec<Case> {
    let reasons = [
        ("no error", Reason::NO_ERROR),
        ("protocol error", Reason::PROTOCOL_ERROR),
        ("internal error", Reason::INTERNAL_ERROR),
        ("refused", Reason::REFUSED_STREAM),
        ("cancel", Reason::CANCEL),
        ("connect error", Reason::CONNECT_ERROR),
        ("calm", Reason::ENHANCE_YOUR_CALM),
        ("HTTP/1.1 required", Reason::HTTP_1_1_REQUIRED),
    ];
    let mut cases = Vec::new();
    for (name, reason) in reasons {
        let before = H2Reply::status(200).reset(reason);
        let after = H2Reply::status(200).body("part").reset(reason);
        let post = |name: String| Case::request(&name, "POST", "/h2", "content-length: 1\r\n", "x");
        cases.push(post(format!("{name} before the head")).h2_reply(before));
        cases.push(post(format!("{name} behind the head")).h2_reply(after));
    }
    cases
}

/// What an HTTP/2 upstream sends that no library does.
fn frames_of_upstreams() -> Vec<Case> {
    let head = |fields: &[(&str, &str)]| frames::headers(1, flag::NONE, fields);
    let ok = head(&[(":status", "200")]);
    let long = head(&[(":status", "200"), ("content-length", "10")]);
    let case = |name: &str, sent: Vec<u8>, end: Act| {
        let greeting = frames::settings(&[]);
        let reply = Reply::nothing().at_head().then(Act::Read(BEFORE));
        let reply = reply.then(Act::Send([greeting, sent].concat())).then(end);
        Case::get(name, "/raw", &format!("x-long: {LONG}\r\n")).reply_from("origin2", reply)
    };
    let part = |head: &[u8], flags, body: &[u8]| [head, &frames::data(1, flags, body)].concat();
    vec![
        case(
            "the connection ends before the head",
            Vec::new(),
            Act::Close,
        ),
        case(
            "the connection ends behind the head",
            ok.clone(),
            Act::Close,
        ),
        case(
            "the connection ends in the body",
            part(&ok, flag::NONE, b"part"),
            Act::Close,
        ),
        case(
            "a body that is too short",
            part(&long, flag::END_STREAM, b"part"),
            Act::Hang,
        ),
        case(
            "a body that is too long",
            part(&long, flag::NONE, b"0123456789ab"),
            Act::Hang,
        ),
        case(
            "switching protocols",
            head(&[(":status", "101")]),
            Act::Hang,
        ),
        case("a head without a status", head(&[("x-a", "b")]), Act::Hang),
        case(
            "a field whose name is none",
            head(&[(":status", "200"), ("bad name", "b")]),
            Act::Hang,
        ),
        case(
            "data of the connection",
            [ok, frames::frame(kind::DATA, 0, 0, b"abc")].concat(),
            Act::Hang,
        ),
        case(
            "a ping of a wrong size",
            frames::frame(kind::PING, 0, 0, b"abc"),
            Act::Hang,
        ),
        case(
            "HTTP/1",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Act::Hang,
        ),
    ]
}

/// Clients that stop, and responses that are none of theirs.
fn clients() -> Vec<Case> {
    let found = "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n";
    let opened =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let short = H2Send::new("POST", "/").header("content-length", "5");
    vec![
        Case::get("a redirect that is followed", "/followed", "").reply_bytes(found),
        Case::http2("a body that is not as long as it says", short.body("abc")),
        Case::h2_tunnel(
            "a body that stops coming",
            H2Send::new("POST", "/idle"),
            vec![],
        ),
        Case::get("a response that stops coming", "/idle", "").reply(
            Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").then(Act::Hang),
        ),
        Case::http2(
            "a tunnel whose first bytes a filter has collected",
            H2Send::extended("websocket", "/tunnel").body("fooend"),
        )
        .at("whole")
        .reply(
            Reply::bytes(opened)
                .at_head()
                .then(Act::Read(6))
                .then(Act::Echo),
        ),
        Case::http2(
            "a tunnel whose client has nothing to say",
            H2Send::extended("websocket", "/tunnel").body(""),
        )
        .reply(Reply::bytes(opened).at_head().close()),
        Case::http2(
            "a status of gRPC that is there twice",
            H2Send::new("GET", "/h2"),
        )
        .h2_reply(
            H2Reply::status(200)
                .body("x")
                .trailer("grpc-status", "1")
                .trailer("x-a", "1")
                .trailer("grpc-status", "2")
                .trailer("x-a", "2")
                .trailer("grpc-message", "a")
                .trailer("grpc-message", "b"),
        ),
        Case::http2("the last of a connection", H2Send::new("GET", "/")).at("few"),
    ]
}
