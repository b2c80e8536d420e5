//! What the codecs count of messages and frames, on either side.

use h2::Reason;
use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::frames::{self, flag, kind};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const UNDERSCORES: &str = "a_b: 1\r\nc_d: 2\r\n";

pub(crate) fn group() -> Group {
    let mut cases = underscores();
    cases.extend(streams());
    cases.extend(excesses());
    cases.extend(floods());
    cases.extend(statistics());
    Group::new("codecs", include_str!("../../cases/codecs.yaml"), cases)
}

/// A POST over HTTP/2 with these trailers.
fn with_trailers(name: &str, trailers: &[(&str, &str)]) -> Case {
    let bytes = [
        frames::headers(1, flag::NONE, &frames::request("POST", "/h2")),
        frames::data(1, flag::NONE, b"body"),
        frames::headers(1, flag::END_STREAM, trailers),
    ];
    Case::frames(name, bytes.concat(), Some(1))
}

/// A POST over HTTP/2 whose trailers are refused. They come once the upstream has its head: no later case is to get it.
fn with_bad_trailers(name: &str, trailers: &[(&str, &str)]) -> Case {
    let bytes = [
        frames::headers(1, flag::NONE, &frames::request("POST", "/up")),
        frames::data(1, flag::NONE, b"body"),
    ];
    Case::frames(name, bytes.concat(), Some(1))
        .then(frames::headers(1, flag::END_STREAM, trailers))
        .reply(Reply::nothing().then(Act::Hang))
}

fn underscores() -> Vec<Case> {
    let some = [("a_b", "1"), ("c", "2"), ("d_e", "3")];
    let sends = || {
        H2Send::new("GET", "/up")
            .header("a_b", "1")
            .header("c_d", "2")
    };
    vec![
        Case::get("fields that are dropped", "/up", UNDERSCORES).at("drops"),
        Case::get("fields that are refused", "/up", UNDERSCORES)
            .at("rejects")
            .closes(),
        Case::http2("fields that are dropped over HTTP/2", sends()).at("drops"),
        Case::http2("fields that are refused over HTTP/2", sends()).at("rejects"),
        with_trailers("trailers that are kept", &some),
        with_trailers("trailers that are dropped", &some).at("drops"),
        with_trailers("trailers all of which are dropped", &[("a_b", "1")]).at("drops"),
        with_bad_trailers("trailers that are refused", &some).at("rejects"),
        with_trailers("trailers without underscores", &[("a-b", "1")]).at("rejects"),
    ]
}

fn streams() -> Vec<Case> {
    let head = frames::headers(1, flag::NONE, &frames::request("POST", "/up"));
    let trailers = frames::headers(1, flag::END_STREAM, &[("t", "1")]);
    let many: Vec<_> = (0..20).map(|number| (format!("x-{number}"), "y")).collect();
    let waits = frames::get(1, "/up");
    let another = frames::get(3, "/direct");
    let many = many
        .iter()
        .fold(H2Send::new("GET", "/up"), |sent, (name, value)| {
            sent.header(name, value)
        });
    vec![
        Case::frames(
            "trailers",
            [head, frames::data(1, flag::NONE, b"body"), trailers].concat(),
            Some(1),
        ),
        Case::frames("a stream that the client resets", waits, Some(3))
            .then([another, frames::reset(1, 8)].concat())
            .reply(Reply::nothing().then(Act::Hang))
            .without_log(),
        Case::http2("more fields than there may be", many).at("few"),
        with_bad_trailers("more trailers than there may be", &[("t", "1"); 16]).at("few"),
        with_bad_trailers("trailers that are too large", &[("t", &"v".repeat(1024))]).at("few"),
        Case::get("a stream that the upstream resets", "/h2", "")
            .h2_reply(H2Reply::status(200).reset(Reason::CANCEL)),
        Case::get("a stream that the upstream refuses", "/h2/never", "")
            .h2_reply(H2Reply::status(200).reset(Reason::INTERNAL_ERROR)),
        Case::http2("the last of a connection", H2Send::new("GET", "/up")).at("few"),
    ]
}

/// Heads and trailers of an upstream that are too large, or have too many fields.
fn excesses() -> Vec<Case> {
    let large = "v".repeat(70_000);
    let many: Vec<_> = (0..120).map(|number| format!("x-{number}")).collect();
    let ok = || H2Reply::status(200);
    let heads = many
        .iter()
        .fold(ok(), |reply, name| reply.header(name, "y"));
    let trailers = many
        .iter()
        .fold(ok().body("body"), |reply, name| reply.trailer(name, "y"));
    vec![
        Case::get("a head that is too large", "/h2", "").h2_reply(ok().header("x", &large)),
        Case::get("a head of too many fields", "/h2", "").h2_reply(heads),
        Case::get("an interim head that is too large", "/h2", "")
            .h2_reply(ok().after_interim(103, &[("x", &large)])),
        Case::http2(
            "trailers of an upstream that are too large",
            H2Send::new("GET", "/h2"),
        )
        .h2_reply(ok().body("body").trailer("x", &large)),
        Case::http2(
            "too many trailers of an upstream",
            H2Send::new("GET", "/h2"),
        )
        .h2_reply(trailers),
    ]
}

fn floods() -> Vec<Case> {
    let head = frames::headers(1, flag::NONE, &frames::request("POST", "/up"));
    let nothing = frames::data(1, flag::NONE, b"");
    let hangs = || Reply::nothing().at_head().then(Act::Hang);
    vec![
        Case::frames(
            "frames of nothing",
            [head, nothing.repeat(3)].concat(),
            None,
        )
        .reply(hangs())
        .without_log(),
        Case::frames("priorities", frames::priority(1).repeat(500), None),
        Case::frames("windows", frames::window(0, 1).repeat(500), None),
        Case::frames(
            "a ping of a wrong size",
            frames::frame(kind::PING, 0, 0, b"abc"),
            None,
        ),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^http[12]\\.",
            &[
                "http1.dropped_headers_with_underscores",
                "http1.requests_rejected_with_underscores_in_headers",
                "http2.dropped_headers_with_underscores",
                "http2.header_list_size_too_large",
                "http2.header_overflow",
                "http2.inbound_",
                "http2.keepalive_timeout",
                "http2.requests_rejected_with_underscores_in_headers",
                "http2.rx_reset",
                "http2.streams_active",
                "http2.trailers",
            ],
        )
        .once("http2.streams_active: 0"),
        Case::admin(
            "GET /stats?filter=^cluster.h2.http2",
            &[
                "cluster.h2.http2.header_list_size_too_large",
                "cluster.h2.http2.header_overflow",
                "cluster.h2.http2.inbound_",
                "cluster.h2.http2.keepalive_timeout",
                "cluster.h2.http2.rx_messaging_error",
                "cluster.h2.http2.rx_reset",
                "cluster.h2.http2.streams_active",
                "cluster.h2.http2.tx_reset",
            ],
        )
        .once("cluster.h2.http2.streams_active: 0"),
        Case::admin(
            "GET /stats?filter=^cluster.h2.upstream_(rq_(rx|tx)_reset$|cx_protocol)",
            &[],
        ),
        Case::admin(
            "GET /stats/prometheus?filter=^(http2|cluster.h2.http2).rx_reset",
            &[],
        ),
    ]
}
