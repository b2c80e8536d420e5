//! What is counted of requests and connections that end in every way: when a response's head goes, and
//! by whose fault it does not.

use std::time::Duration;

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::frames;
use nuncio_tests::origin::{Act, Reply};

const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut";
const OPENED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi";
/// A setting of HTTP/2 (RFC 9113 §6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;
const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\n";
pub(crate) fn group() -> Group {
    let mut cases = answers();
    cases.extend(clients());
    cases.extend(upstreams());
    cases.extend(timeouts());
    cases.extend(statistics());
    Group::new("counts", include_str!("../../cases/counts.yaml"), cases)
}

fn answers() -> Vec<Case> {
    let moved =
        "HTTP/1.1 302 Found\r\nLocation: http://a.example/else\r\nContent-Length: 0\r\n\r\n";
    let hints = "HTTP/1.1 103 Hints\r\nLink: </a.css>\r\n\r\n";
    vec![
        Case::get("an answer", "/a", ""),
        Case::get("one of the proxy's own", "/direct", ""),
        Case::get("one that is followed", "/followed", "").reply_bytes(moved),
        Case::get("one that is not passed on", "/again", "")
            .reply_bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        Case::get("hints, twice", "/a", "")
            .reply_bytes(hints.repeat(2) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Case::request("a POST", "POST", "/a", "Content-Length: 5\r\n", "hello"),
    ]
}

/// What clients do that keeps a request from its end, or its answer from being sent.
fn clients() -> Vec<Case> {
    let refused = |name: &str, bytes: &str| Case::http1(name, bytes).closes();
    vec![
        Case::steps(
            "one leaves",
            vec![
                Step::Send(request("GET", "/a", "", "")),
                Step::WaitForUpstream,
                Step::HangUp,
            ],
        )
        .reply(Reply::nothing().then(Act::Hang))
        .without_log(),
        Case::steps(
            "one leaves in its head",
            vec![Step::Send(b"GET / HTTP/1.1\r\nHo".to_vec()), Step::HangUp],
        )
        .without_log(),
        refused("no request", "garbage\r\n\r\n"),
        refused(
            "no field",
            "GET /a HTTP/1.1\r\nHost: a.example\r\nX A: b\r\n\r\n",
        ),
        refused(
            "no coding",
            "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: x\r\n\r\n",
        ),
        refused("no host", "GET /a HTTP/1.1\r\n\r\n"),
        refused(
            "no chunk",
            "POST /direct HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        )
        .without_log(),
        Case::steps(
            "an answer before the request's end",
            vec![
                Step::Send(request("POST", "/direct", "Content-Length: 5\r\n", "")),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        ),
    ]
}

fn upstreams() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let over_tunnel = |name: &str, then: Vec<Step>| {
        let mut steps = vec![
            Step::Send(request("GET", "/a", UPGRADE, "")),
            Step::Receive { to_head: false },
            Step::ReceiveBytes(2),
        ];
        steps.extend(then);
        Case::steps(name, steps)
    };
    vec![
        Case::get("an answer that is cut", "/a", "")
            .reply(Reply::bytes(CUT).close())
            .closes(),
        Case::get("half a head", "/a", "").reply(Reply::bytes("HTTP/1.1 200 OK\r\nCont").close()),
        Case::get("no answer of HTTP", "/a", "").reply_bytes("garbage\r\n\r\n"),
        Case::get("more than an answer", "/a", "").reply_bytes(ok.to_owned() + "more"),
        Case::get("the last answer", "/a", "")
            .reply_bytes("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        over_tunnel("a tunnel that the upstream ends", vec![Step::ReceiveToEnd])
            .reply(Reply::bytes(OPENED).close()),
        over_tunnel("a tunnel that the client ends", vec![Step::HangUp])
            .reply(Reply::bytes(OPENED).then(Act::Hang))
            .without_log(),
    ]
}

fn timeouts() -> Vec<Case> {
    let waits = |path: &str, then: Vec<Step>| {
        let mut steps = vec![Step::Send(request("GET", path, "", ""))];
        steps.push(Step::Receive { to_head: false });
        steps.extend(then);
        Case::steps(&format!("nothing comes, {path}"), steps).at("idle")
    };
    let flushed = |path: &str| {
        Case::frames(
            &format!("nothing more is taken, {path}"),
            frames::get(1, path),
            Some(1),
        )
        .first(frames::settings(&[(INITIAL_WINDOW_SIZE, 1)]))
        .at("idle")
    };
    let tunnel = vec![
        Step::Send(request("GET", "/tunnel", UPGRADE, "")),
        Step::ReceiveToEnd,
    ];
    vec![
        waits("/before", Vec::new()).reply(Reply::nothing().then(Act::Hang)),
        waits("/within", vec![Step::ExpectClose]).reply(Reply::bytes(CUT).then(Act::Hang)),
        Case::steps("nothing comes, /tunnel", tunnel)
            .reply(Reply::bytes(OPENED).then(Act::Hang))
            .at("idle"),
        Case::get("a cluster that gives no more time", "/brief", "")
            .reply(Reply::nothing().then(Act::Hang)),
        Case::get("nor behind the head", "/brief", "")
            .reply(Reply::bytes(CUT).then(Act::Hang))
            .closes(),
        Case::steps(
            "nor for a request",
            vec![
                Step::Send(request("POST", "/brief", "Content-Length: 5\r\n", "")),
                Step::Receive { to_head: false },
                Step::ExpectClose,
            ],
        )
        .reply(Reply::nothing().at_head().then(Act::Hang)),
        // None of these fits into the window of a stream.
        flushed("/direct"),
        flushed("/whole").reply_bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"),
        flushed("/chunks").reply_bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nchunks\r\n0\r\n\r\n",
        ),
        flushed("/part").reply(Reply::bytes(CUT).then(Act::Hang)),
        Case::get("a connection that grows old", "/a", "")
            .reply(
                Reply::nothing()
                    .then(Act::Pause(Duration::from_millis(400)))
                    .then(Act::Send(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
                    )),
            )
            .at("aged"),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^(http|listener).(main|idle|aged).*(_.xx|completed|reset|_timeout|before_rq|protocol_error|remote_active_rq|max_duration|rx_bytes_total)",
            &[],
        )
        .once("http.main.downstream_rq_active: 0"),
        Case::admin("GET /stats?filter=^http2.(tx_|streams_active)", &[]),
        Case::admin(
            "GET /stats?filter=^cluster.origin.(external.)?upstream_(rq|cx)",
            &[
                "cluster.origin.upstream_cx_protocol_error",
                "cluster.origin.upstream_cx_rx_bytes_total",
                "cluster.origin.upstream_cx_tx_bytes_total",
                "cluster.origin.upstream_cx_destroy_remote_with_active_rq",
                "cluster.origin.upstream_cx_destroy_local_with_active_rq",
                "cluster.origin.upstream_rq_1",
                "cluster.origin.upstream_rq_2",
                "cluster.origin.upstream_rq_completed",
                "cluster.origin.external.upstream_rq_completed",
                "cluster.origin.upstream_rq_total",
            ],
        ),
        Case::admin(
            "GET /stats?filter=^cluster.brief.upstream_rq",
            &[
                "cluster.brief.upstream_rq_5",
                "cluster.brief.upstream_rq_2",
                "cluster.brief.upstream_rq_completed",
                "cluster.brief.upstream_rq_max_duration_reached",
                "cluster.brief.upstream_rq_timeout",
                "cluster.brief.upstream_rq_total",
            ],
        ),
        Case::admin(
            "GET /stats?filter=^(cluster|listener)_manager",
            &[
                "cluster_manager.",
                "listener_manager.listener_added",
                "listener_manager.listener_create",
                "listener_manager.listener_modified",
                "listener_manager.listener_removed",
                "listener_manager.total_",
                "listener_manager.workers_started",
            ],
        ),
        Case::admin(
            "GET /stats/prometheus?filter=^cluster_manager.(active|cluster_added)",
            &["envoy_cluster_manager", "# TYPE envoy_cluster_manager"],
        ),
    ]
}
