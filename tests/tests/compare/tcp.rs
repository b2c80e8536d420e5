//! TCP: bytes both ways, ends and resets, the ways that there is no upstream, timeouts, and the
//! network filters that need none. The upstream is the scripted HTTP one: to the proxy its messages
//! are bytes.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::origin::{Act, Reply};

/// More than fits any buffer on the way.
const LARGE: usize = 3 * 1024 * 1024;

pub(crate) fn group() -> Group {
    let mut cases = bytes();
    cases.extend(ends());
    cases.extend(failures());
    cases.extend(timeouts());
    cases.extend(without_upstream());
    cases.extend(gates());
    cases.extend(statistics());
    Group::new("tcp", include_str!("../../cases/tcp.yaml"), cases)
}

fn get() -> Step {
    Step::Send(request("GET", "/x", "", ""))
}

/// An upstream that says hello and then sends back what comes.
fn echo() -> Reply {
    Reply::bytes("hello").at_head().then(Act::Echo)
}

fn bytes() -> Vec<Case> {
    let large = "x".repeat(LARGE);
    vec![
        Case::get("one exchange", "/x", "").at("tcp"),
        Case::http1(
            "two exchanges",
            [request("GET", "/1", "", ""), request("GET", "/2", "", "")].concat(),
        )
        .and_responses(1)
        .at("tcp"),
        Case::steps(
            "byte by byte",
            vec![
                get(),
                Step::ReceiveBytes(5),
                Step::Send(b"a".to_vec()),
                Step::ReceiveBytes(1),
                Step::Send(b"b".to_vec()),
                Step::ReceiveBytes(1),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(echo())
        .at("tcp"),
        Case::request(
            "a large request",
            "POST",
            "/x",
            &format!("Content-Length: {LARGE}\r\n"),
            &large,
        )
        .at("tcp"),
        Case::get("a large response", "/x", "")
            .reply_bytes(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{large}"
            ))
            .at("tcp"),
        Case::get("a weighted cluster", "/x", "").at("weighted"),
        Case::get("HTTP beside it", "/x", "").without_log(),
        Case::get("an entry once there is an endpoint", "/x", "").at("connected"),
        Case::get("an endpoint of a subset", "/x", "").at("subset"),
        Case::get("an entry of the listener", "/x", "").at("logged"),
        Case::steps("an entry without a chain", vec![Step::ReceiveToEnd]).at("unmatched"),
        Case::get("max_requests is not for bytes", "/x", "").at("to_requests"),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        Case::steps(
            "the client ends first",
            vec![
                get(),
                Step::ReceiveBytes(5),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(echo())
        .at("tcp"),
        Case::steps(
            "the client ends at once",
            vec![get(), Step::HalfClose, Step::ReceiveToEnd],
        )
        .reply(echo())
        .at("tcp"),
        Case::steps(
            "the client ends without a byte",
            vec![Step::HalfClose, Step::ReceiveToEnd],
        )
        .at("tcp"),
        Case::steps("the upstream ends first", vec![get(), Step::ReceiveToEnd])
            .reply(Reply::bytes("bye").at_head().close())
            .at("tcp"),
        Case::steps(
            "the upstream ends without a byte",
            vec![get(), Step::ReceiveToEnd],
        )
        .reply(Reply::nothing().at_head().close())
        .at("tcp"),
        Case::steps("the upstream resets", vec![get(), Step::ReceiveToEnd])
            .reply(Reply::nothing().at_head().then(Act::Reset))
            .at("tcp"),
        Case::steps(
            "the client hangs up",
            vec![get(), Step::WaitForUpstream, Step::HangUp],
        )
        .reply(echo())
        .at("tcp"),
    ]
}

fn failures() -> Vec<Case> {
    let to = |name: &str, listener: &'static str| {
        Case::steps(name, vec![Step::ReceiveToEnd]).at(listener)
    };
    vec![
        to("refused", "to_refused"),
        to("refused three times", "to_attempts"),
        to("refused three times with waits", "to_backoff"),
        to("no endpoint of the subset", "no_subset"),
        to("connecting takes too long", "to_blackhole"),
        to("no such cluster", "to_missing"),
        to("no endpoint", "to_empty"),
        to("no connection allowed", "to_overflow"),
    ]
}

fn timeouts() -> Vec<Case> {
    let waits = || vec![get(), Step::ReceiveBytes(5), Step::ReceiveToEnd];
    vec![
        Case::steps("idle", waits()).reply(echo()).at("idle"),
        Case::steps("idle without a byte", vec![Step::ReceiveToEnd]).at("idle"),
        Case::steps("longer than allowed", waits())
            .reply(echo())
            .at("duration"),
    ]
}

fn without_upstream() -> Vec<Case> {
    vec![
        Case::steps("a fixed answer", vec![Step::ReceiveToEnd]).at("direct"),
        Case::steps("a fixed answer without a word", vec![Step::ReceiveToEnd]).at("direct_empty"),
        Case::steps(
            "an echo",
            vec![
                Step::Send(b"one".to_vec()),
                Step::ReceiveBytes(3),
                Step::Send(b"two".to_vec()),
                Step::ReceiveBytes(3),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .at("echo"),
    ]
}

fn gates() -> Vec<Case> {
    let ended = || vec![Step::ReceiveToEnd];
    let whole = |name: &str| Case::steps(name, vec![get(), Step::HalfClose, Step::ReceiveToEnd]);
    let first = request("GET", "/first", "", "");
    let second = request("GET", "/second", "", "");
    vec![
        Case::held("one connection too many", first, second).at("few"),
        Case::get("a place was given back", "/x", "")
            .once("connection_limit.few.active_connections: 0")
            .at("few"),
        whole("the first within the rate").at("slow"),
        whole("the second within the rate").at("slow"),
        Case::steps("the third is too many", ended()).at("slow"),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^(connection_limit|local_rate_limit)",
            &[],
        ),
        Case::admin(
            "GET /stats/prometheus?filter=^(connection_limit|local_rate_limit)",
            &["envoy_", "# TYPE envoy_"],
        ),
        // Of `plain` only what the end of its last connection does not change.
        Case::admin(
            "GET /stats?filter=^tcp\\.",
            &[
                "tcp.plain.downstream_cx_total",
                "tcp.idle.",
                "tcp.duration.",
                "tcp.refused.",
                "tcp.attempts.",
                "tcp.blackhole.",
                "tcp.missing.",
                "tcp.empty.",
                "tcp.overflow.",
            ],
        ),
        Case::admin(
            "GET /stats?usedonly&filter=cluster\\.(refused|blackhole|empty|overflow)\\.",
            &[
                "cluster.refused.upstream_cx_con",
                "cluster.refused.upstream_cx_destroy",
                "cluster.refused.upstream_cx_total",
                "cluster.refused.upstream_rq",
                "cluster.blackhole.upstream_cx_con",
                "cluster.blackhole.upstream_rq",
                "cluster.empty.upstream_cx_none_healthy",
                "cluster.overflow.upstream_cx_overflow",
            ],
        ),
        Case::admin(
            "GET /stats/prometheus?filter=tcp\\.idle\\.",
            &["envoy_tcp_idle_timeout", "# TYPE envoy_tcp_idle_timeout"],
        ),
    ]
}
