//! What is counted and logged of requests and connections that come to nothing before a filter has seen them:
//! upgrades and tunnels that are refused, HTTP/2 that breaks the rules, TLS handshakes that fail.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::frames::{self, flag};
use nuncio_tests::h2_client::{H2Send, H2Step};
use nuncio_tests::tls::{Client, with_certificates};

pub(crate) fn group() -> Group {
    let mut cases = upgrades();
    cases.extend(tunnels());
    cases.extend(malformed());
    cases.extend(handshakes());
    cases.extend(statistics());
    let config = include_str!("../../cases/refusals.yaml");
    Group::new("refusals", &with_certificates(config), cases)
}

fn upgrades() -> Vec<Case> {
    let of = |name: &str, path: &str, kind: &str| {
        let fields = format!("Connection: Upgrade\r\nUpgrade: {kind}\r\n");
        Case::get(name, path, &fields).closes()
    };
    let over_http2 = |name: &str, path: &str, kind: &str| {
        Case::h2_tunnel(
            name,
            H2Send::extended(kind, path),
            vec![H2Step::ReceiveToEnd],
        )
    };
    vec![
        of("not listed", "/up", "unlisted"),
        of("off by the route", "/never", "websocket"),
        of("not listed, no route", "/nowhere", "unlisted"),
        of("no route", "/nowhere", "websocket"),
        of("a direct response", "/direct", "websocket"),
        over_http2("over HTTP/2, not listed", "/up", "unlisted"),
        over_http2("over HTTP/2, off by the route", "/never", "websocket"),
        over_http2("over HTTP/2, not listed, no route", "/nowhere", "unlisted"),
    ]
}

fn tunnels() -> Vec<Case> {
    let connect = |name: &str, authority: &str| {
        let head = format!("CONNECT {authority}:80 HTTP/1.1\r\nHost: {authority}:80\r\n\r\n");
        Case::http1(name, head).closes()
    };
    let over_http2 = |name: &str, authority: &str| {
        Case::h2_tunnel(
            name,
            H2Send::connect(&format!("{authority}:80")),
            vec![H2Step::ReceiveToEnd],
        )
    };
    vec![
        connect("CONNECT, off by the route", "never.example"),
        connect("CONNECT, no route", "other.example"),
        connect("CONNECT, not allowed", "ends.example").at("closed"),
        over_http2("CONNECT over HTTP/2, off by the route", "never.example"),
        over_http2("CONNECT over HTTP/2, no route", "other.example"),
        over_http2("CONNECT over HTTP/2, not allowed", "ends.example").at("closed"),
    ]
}

fn malformed() -> Vec<Case> {
    let head = |stream: u32, more: &[(&'static str, &'static str)]| {
        let fields = [&*frames::request("GET", "/direct"), more].concat();
        frames::headers(stream, flag::END_STREAM, &fields)
    };
    let logged = |name: &str, bytes: Vec<u8>, last: u32| Case {
        log: true,
        ..Case::frames(name, bytes, Some(last))
    };
    let of = |name: &str, field: (&'static str, &'static str)| logged(name, head(1, &[field]), 1);
    let broken = head(3, &[("connection", "close")]);
    let no_target = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
    ];
    vec![
        of("a field of a connection", ("connection", "close")),
        of("a te that is none", ("te", "gzip")),
        of("a name in capitals", ("X-A", "1")).at("closed"),
        of("a method behind fields", (":method", "GET")),
        of("a pseudo-header field of answers", (":status", "200")),
        of("a length that is none", ("content-length", "x")),
        logged(
            "no target",
            frames::headers(1, flag::END_STREAM, &no_target),
            1,
        ),
        logged(
            "between good ones",
            [frames::get(1, "/direct"), broken, frames::get(5, "/direct")].concat(),
            5,
        ),
    ]
}

/// Each at a listener of HTTP, then at one of TCP.
fn handshakes() -> Vec<Case> {
    let of = |listener: &'static str| {
        let broken = |name: &str, steps: Vec<Step>| {
            let name = format!("{name}, {listener}");
            Case::steps(&name, steps).at(listener).without_log()
        };
        let request = Step::Send(request("GET", "/", "", ""));
        vec![
            broken("no TLS", vec![request, Step::ExpectClose]),
            broken("a client that leaves", vec![Step::HangUp]),
            broken("a client that says nothing", vec![Step::ExpectClose]),
            Case::get(&format!("a session, {listener}"), "/direct", "")
                .over_tls(Client::default())
                .at(listener)
                .without_log(),
        ]
    };
    [of("tls"), of("raw")].concat()
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^http.(main|closed).(downstream_(rq|cx_upgrades)|no_route|rq_total)",
            &[
                "http.closed.downstream_rq_response_before_rq_complete",
                "http.closed.downstream_rq_rx_reset",
                "http.closed.downstream_rq_total",
                "http.closed.downstream_rq_ws",
                "http.closed.rq_total",
                "http.main.downstream_cx_upgrades",
                "http.main.downstream_rq_active",
                "http.main.downstream_rq_http2_total",
                "http.main.downstream_rq_completed",
                "http.main.downstream_rq_response_before_rq_complete",
                "http.main.downstream_rq_rx_reset",
                "http.main.downstream_rq_total",
                "http.main.downstream_rq_tx_reset",
                "http.main.downstream_rq_ws",
                "http.main.no_route",
                "http.main.rq_total",
            ],
        )
        .once("http.main.downstream_rq_active: 0"),
        Case::admin(
            "GET /stats?filter=^(http.tls|tcp.raw|listener.tls).downstream_cx",
            &[
                "http.tls.downstream_cx_active",
                "http.tls.downstream_cx_destroy",
                "http.tls.downstream_cx_http1_active",
                "http.tls.downstream_cx_http1_total",
                "http.tls.downstream_cx_ssl",
                "http.tls.downstream_cx_total",
                "listener.tls.downstream_cx_destroy",
                "listener.tls.downstream_cx_total",
                "listener.tls.downstream_cx_transport_socket_connect_timeout",
                "tcp.raw.downstream_cx_total",
            ],
        )
        .once("listener.raw.downstream_cx_destroy: 4"),
    ]
}
