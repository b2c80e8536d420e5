//! Connection pools: how many connections the same requests open, how long these stay, and what is
//! counted of them.

use nuncio_tests::compare::case::{Case, Group, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::origin::{Act, Reply};

const POOLS: &str = include_str!("../../cases/pools.yaml");

/// What is counted of a cluster's connections and of who waits for one.
macro_rules! counted {
    ($cluster:literal) => {
        Case::admin(
            concat!("GET /stats?filter=^cluster.", $cluster, ".upstream_"),
            &[
                concat!("cluster.", $cluster, ".upstream_cx_total"),
                concat!("cluster.", $cluster, ".upstream_cx_active"),
                concat!("cluster.", $cluster, ".upstream_cx_http1_total"),
                concat!("cluster.", $cluster, ".upstream_cx_http2_total"),
                concat!("cluster.", $cluster, ".upstream_cx_max_requests"),
                concat!("cluster.", $cluster, ".upstream_cx_idle_timeout"),
                concat!("cluster.", $cluster, ".upstream_cx_max_duration_reached"),
                concat!("cluster.", $cluster, ".upstream_cx_overflow"),
                concat!("cluster.", $cluster, ".upstream_cx_connect_fail"),
                concat!("cluster.", $cluster, ".upstream_cx_connect_timeout"),
                concat!("cluster.", $cluster, ".upstream_cx_destroy"),
                concat!("cluster.", $cluster, ".upstream_rq_total"),
                concat!("cluster.", $cluster, ".upstream_rq_pending"),
                concat!("cluster.", $cluster, ".upstream_rq_timeout"),
                concat!("cluster.", $cluster, ".upstream_rq_cancelled"),
            ],
        )
    };
}

/// What is counted of connections to an endpoint with several addresses. Envoy counts each address that was
/// tried as one of `upstream_cx_total`.
macro_rules! tried {
    ($cluster:literal) => {
        Case::admin(
            concat!(
                "GET /stats?filter=^cluster.",
                $cluster,
                ".upstream_(cx_(active|http1_total|connect_(fail|timeout))|rq_(total|pending))"
            ),
            &["cluster."],
        )
    };
}

fn get(path: &str) -> Vec<u8> {
    request("GET", path, "", "")
}

pub(crate) fn group() -> Group {
    let again = |name: &str, path: &str, times: usize| -> Vec<Case> {
        let number = |time: usize| Case::get(&format!("{name}, {time}"), path, "");
        (1..=times).map(number).collect()
    };
    let mut cases = again("a connection is kept", "/kept", 3);
    cases.push(counted!("kept"));
    cases.extend(again("two requests for each", "/two", 5));
    cases.push(counted!("two"));
    cases.push(Case::get("before the idle timeout", "/idle", ""));
    let closed = "cluster.idle.upstream_cx_idle_timeout: 1";
    cases.push(Case::get("behind the idle timeout", "/idle", "").once(closed));
    cases.push(counted!("idle").once("cluster.idle.upstream_cx_idle_timeout: 2"));
    cases.push(Case::get("before it is old", "/old", ""));
    let old = "cluster.old.upstream_cx_max_duration_reached: 1";
    cases.push(Case::get("when it is old", "/old", "").once(old));
    cases.push(counted!("old").once("cluster.old.upstream_cx_destroy: 2"));
    cases.push(Case::held(
        "two at once",
        get("/several/1"),
        get("/several/2"),
    ));
    cases.extend(again("behind two at once", "/several", 2));
    cases.push(counted!("several"));
    cases.extend(ends());
    cases.extend(limits());
    cases.extend(ways());
    cases.extend(again("over HTTP/2", "/h2", 3));
    cases.push(Case::http2(
        "over HTTP/2 on both sides",
        H2Send::new("GET", "/h2"),
    ));
    cases.push(counted!("h2"));
    cases.extend(again("two requests for each over HTTP/2", "/h2_two", 5));
    cases.push(counted!("h2_two"));
    Group::new("pools", POOLS, cases)
}

/// Connections that the upstream ends, or that never come.
fn ends() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
    vec![
        Case::get("the upstream says close", "/one", "")
            .reply_bytes(format!("{ok}Connection: close\r\n\r\nok")),
        Case::get("the upstream closes", "/one", "")
            .reply(Reply::bytes(format!("{ok}\r\nok")).close()),
        Case::get("the upstream closes in place of an answer", "/one", "")
            .reply(Reply::nothing().close()),
        Case::get("the upstream resets", "/one", "").reply(Reply::nothing().then(Act::Reset)),
        Case::get("behind all that", "/one", ""),
        counted!("one"),
        Case::get("nobody takes the connection", "/never", ""),
        counted!("never"),
        Case::get("nobody listens", "/refused", ""),
        counted!("refused"),
    ]
}

/// What connections are made of: the client's protocol, before anybody needs them, to another address.
fn ways() -> Vec<Case> {
    vec![
        Case::get("as the client speaks, HTTP/1", "/as_http1", ""),
        counted!("as_http1"),
        Case::http2(
            "as the client speaks, HTTP/2",
            H2Send::new("GET", "/as_http2"),
        ),
        counted!("as_http2"),
        Case::get("ahead of need", "/ahead", ""),
        counted!("ahead").once("cluster.ahead.upstream_cx_total: 3"),
        Case::get("the first address refuses", "/elsewhere", ""),
        tried!("elsewhere"),
        Case::get("the first address says nothing", "/elsewhere_late", ""),
        tried!("elsewhere_late"),
        Case::held("what remains", get("/remaining/1"), get("/remaining/2")),
        Case::admin(REMAINING, &["cluster.remaining"])
            .once("cluster.remaining.circuit_breakers.default.remaining_cx: 8"),
    ]
}

/// What may come yet, but for pools, which have no limit here.
const REMAINING: &str =
    "GET /stats?filter=^cluster.remaining.circuit.*remaining_(cx|pending|retries|rq)$";

/// Requests that wait for one of few connections.
fn limits() -> Vec<Case> {
    vec![
        Case::queued(
            "one waits, the next is too many",
            "queue",
            [get("/queue/1"), get("/queue/2"), get("/queue/3")],
        ),
        Case::get("behind the queue", "/queue", ""),
        counted!("queue"),
        Case::held(
            "who waits runs out of time",
            get("/late/1"),
            get("/late/soon"),
        ),
        counted!("late"),
        Case::get("one connection for each endpoint", "/per_host", ""),
        counted!("per_host"),
    ]
}
