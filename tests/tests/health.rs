//! Health checks: the same answers make the same of an endpoint as in Envoy, step by step, and are
//! written down in the same words.
//!
//! The endpoint is this test: a check that arrives says that the one before it was dealt with, so
//! that moment is when `/clusters` is read. Where Envoy is not there, the expected steps count alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test suite")]

#[path = "health/endpoint.rs"]
mod endpoint;

use std::net::TcpStream;

use nuncio_tests::admin::{page, stats};
use nuncio_tests::client::Connection;
use nuncio_tests::config::Config;
use nuncio_tests::eventually;
use nuncio_tests::message::Kind;
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::scene;

use endpoint::Answer::{
    Body, Bytes, Close, Empty, Grpc as GrpcStatus, Plain as HttpStatus, Reset, ResetStream,
    Serving, Silence,
};
use endpoint::{Answer, Endpoint, Grpc, Plain};

const GOOD: Answer = Answer::Status(200, "");
const BAD: Answer = Answer::Status(404, "");
const BUSY: Answer = Answer::Status(503, "");
const DEGRADED: Answer = Answer::Status(200, "x-envoy-degraded: 1\r\n");
const OURS: Answer = Answer::Status(200, "x-envoy-upstream-healthchecked-cluster: c\r\n");

/// An answer, the endpoint's flags after it, and what is written down of it.
type Script = &'static [(Answer, &'static str, &'static [&'static str])];

const FAILED: &str = "/failed_active_hc";
const LATE: &str = "/failed_active_hc/active_hc_timeout";

const THRESHOLDS: Script = &[
    (GOOD, "healthy", &["add first"]),
    (GOOD, "healthy", &[]),
    (BUSY, "healthy", &[]),
    (GOOD, "healthy", &[]),
    (BUSY, "healthy", &[]),
    (BUSY, FAILED, &["eject ACTIVE"]),
    (GOOD, FAILED, &[]),
    (BUSY, FAILED, &[]),
    (GOOD, FAILED, &[]),
    (GOOD, "healthy", &["add"]),
    (Close, "healthy", &[]),
    (Close, FAILED, &["eject NETWORK"]),
    (GOOD, FAILED, &[]),
    (GOOD, "healthy", &["add"]),
    (Silence, "healthy", &[]),
    (Silence, LATE, &["eject NETWORK_TIMEOUT"]),
    (GOOD, LATE, &[]),
    (GOOD, "healthy", &["add"]),
    (Close, "healthy", &[]),
    (BAD, FAILED, &["eject ACTIVE"]),
];

const FIRST_BAD: Script = &[
    (BAD, FAILED, &["fail ACTIVE 404 first"]),
    (GOOD, FAILED, &[]),
    (GOOD, "healthy", &["add"]),
    (BAD, FAILED, &["eject ACTIVE"]),
];

const FIRST_LATE: Script = &[
    (Silence, LATE, &["fail NETWORK_TIMEOUT 0 first"]),
    (Close, FAILED, &[]),
    (GOOD, FAILED, &[]),
    (GOOD, "healthy", &["add"]),
];

const DEGRADES: Script = &[
    (DEGRADED, "/degraded_active_hc", &["add first", "degraded"]),
    (GOOD, "healthy", &["no longer degraded"]),
    (DEGRADED, "/degraded_active_hc", &["degraded"]),
    (BUSY, "/degraded_active_hc", &[]),
    (
        BUSY,
        "/failed_active_hc/degraded_active_hc",
        &["eject ACTIVE"],
    ),
    (GOOD, FAILED, &["no longer degraded"]),
    (GOOD, "healthy", &["add"]),
];

const NAMED: Script = &[
    (OURS, "healthy", &["add first"]),
    (GOOD, FAILED, &["eject ACTIVE"]),
    (OURS, FAILED, &[]),
    (OURS, "healthy", &["add"]),
];

const EXPECTED: Script = &[
    (Answer::Status(204, ""), "healthy", &["add first"]),
    (GOOD, FAILED, &["eject ACTIVE"]),
    (Answer::Status(301, ""), FAILED, &[]),
    (Answer::Status(299, ""), FAILED, &[]),
    (Answer::Status(201, ""), "healthy", &["add"]),
    (Reset, "healthy", &[]),
    (Silence, LATE, &["eject NETWORK_TIMEOUT"]),
    (Answer::Status(300, ""), FAILED, &[]),
];

const RECEIVED: Script = &[
    (Body(200, "all is well"), "healthy", &["add first"]),
    (Body(200, "all is bad"), FAILED, &["eject ACTIVE"]),
    (Body(200, "well, all"), FAILED, &[]),
    (Body(200, "all?  well"), FAILED, &[]),
    (Body(200, "all well"), FAILED, &[]),
    (Body(200, "all well"), "healthy", &["add"]),
    (Body(503, "all well"), "healthy", &[]),
    (GOOD, FAILED, &["eject ACTIVE"]),
];

const LOGGED: Script = &[
    (GOOD, "healthy", &["add first"]),
    (GOOD, "healthy", &["pass"]),
    (BUSY, "healthy", &["fail ACTIVE 503"]),
    (Close, FAILED, &["eject NETWORK", "fail NETWORK 0"]),
    (BAD, FAILED, &["fail ACTIVE 404"]),
    (GOOD, FAILED, &["pass"]),
    (GOOD, "healthy", &["add"]),
];

const OVER_TCP: Script = &[
    (Bytes(b"PONG"), "healthy", &["add first"]),
    (Bytes(b"..PONG.."), "healthy", &[]),
    (Bytes(b"PO"), "healthy", &[]),
    (Bytes(b"PING"), LATE, &["eject NETWORK_TIMEOUT"]),
    (Bytes(b"PING PONG"), LATE, &[]),
    (Bytes(b"PONG"), "healthy", &["add"]),
];

const TCP_FAILS: Script = &[
    (Close, FAILED, &["fail NETWORK 0 first"]),
    (Bytes(b"PONG"), FAILED, &[]),
    (Bytes(b"PONG"), "healthy", &["add"]),
    (Close, "healthy", &[]),
    (Bytes(b"PONG"), "healthy", &[]),
    (Silence, "healthy", &[]),
    (Reset, FAILED, &["eject NETWORK"]),
    (Silence, LATE, &[]),
    (Bytes(b"PONG"), LATE, &[]),
    (Bytes(b"PONG"), "healthy", &["add"]),
];

const OVER_GRPC: Script = &[
    (Serving(1), "healthy", &["add first"]),
    (Serving(2), FAILED, &["eject ACTIVE"]),
    (Serving(1), FAILED, &[]),
    (Serving(0), FAILED, &[]),
    (Serving(1), FAILED, &[]),
    (Serving(1), "healthy", &["add"]),
    (Serving(3), FAILED, &["eject ACTIVE"]),
    (Serving(1), FAILED, &[]),
    (Serving(1), "healthy", &["add"]),
    (GrpcStatus(14), FAILED, &["eject ACTIVE"]),
    (Serving(1), FAILED, &[]),
    (Serving(1), "healthy", &["add"]),
    (Close, "healthy", &[]),
    (Serving(1), "healthy", &[]),
    (Silence, "healthy", &[]),
    (Close, FAILED, &["eject NETWORK"]),
];

const GRPC_FAILS: Script = &[
    (GrpcStatus(12), FAILED, &["fail ACTIVE 0 first"]),
    (Serving(1), FAILED, &[]),
    (Serving(1), "healthy", &["add"]),
    (ResetStream, "healthy", &[]),
    (ResetStream, FAILED, &["eject NETWORK"]),
    (Serving(1), FAILED, &[]),
    (Serving(1), "healthy", &["add"]),
    (HttpStatus(503), FAILED, &["eject ACTIVE"]),
    (Serving(1), FAILED, &[]),
    (Serving(1), "healthy", &["add"]),
    (Empty, FAILED, &["eject ACTIVE"]),
    (HttpStatus(200), FAILED, &[]),
    (Silence, LATE, &[]),
];

const TCP: &str = "tcp_health_check: { send: { text: 50494e47 }, receive: [ { text: 504f4e47 } ] }";
const GRPC: &str = "grpc_health_check: { service_name: s }";
/// Requests go over TLS, and checks that say so do not.
const TRANSPORTS: &str = "    transport_socket: { name: envoy.transport_sockets.tls, typed_config: { \"@type\": \
    type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: a.test } }\n    \
    transport_socket_matches: [ { name: plain, match: { kind: checks }, transport_socket: { name: \
    envoy.transport_sockets.raw_buffer, typed_config: { \"@type\": \
    type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } } } ]\n";
/// Closes the connection behind each check.
const ANEW: &str = ", reuse_connection: false";

/// A check over HTTP with more fields, each with a comma in front.
fn http(more: &str) -> String {
    format!(
        "http_health_check: {{ path: /, retriable_statuses: [ {{ start: 500, end: 600 }} ]{more} }}"
    )
}

/// What is counted of checks and of who is there. `health_check.degraded` is left out: Envoy's does not go
/// down when an endpoint is degraded no more.
const COUNTERS: [&str; 12] = [
    "health_check.attempt",
    "health_check.success",
    "health_check.failure",
    "health_check.network_failure",
    "health_check.passive_failure",
    "health_check.verify_cluster",
    "health_check.healthy",
    "membership_total",
    "membership_healthy",
    "membership_degraded",
    "membership_excluded",
    "membership_change",
];

/// A program with one cluster whose endpoint is checked, and that endpoint.
struct Scene {
    proxy: Proxy,
    endpoint: Box<dyn Endpoint>,
}

impl Scene {
    fn start(binary: &Binary, endpoint: Box<dyn Endpoint>, check: &str) -> Self {
        let port = endpoint.port();
        let protocol = if check.contains("grpc") {
            "    http2_protocol_options: {}\n"
        } else if check.contains("transport_socket_match_criteria") {
            TRANSPORTS
        } else {
            ""
        };
        let template = format!(
            "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}\n\
             static_resources:\n  clusters:\n  - name: c\n    common_lb_config: {{ update_merge_window: 0s }}\n{protocol}    \
             load_assignment: {{ cluster_name: c, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: \
             {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }}\n    \
             health_checks: [ {{ timeout: 0.3s, interval: 0.05s, no_traffic_interval: 0.05s, \
             unhealthy_threshold: 2, healthy_threshold: 2, event_log_path: \"@LOG@\", \
             {check} }} ]\n"
        );
        let setup = Setup::for_template(&template);
        Self {
            proxy: Proxy::spawn(binary, &template, setup),
            endpoint,
        }
    }

    fn flags(&self) -> String {
        let text = page(&self.proxy, "/clusters");
        let line = text
            .lines()
            .find_map(|line| line.split_once("::health_flags::"));
        line.unwrap().1.to_owned()
    }

    fn counters(&self) -> [u64; COUNTERS.len()] {
        stats(&self.proxy, "cluster.c.", COUNTERS)
    }

    fn events(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.proxy.directory().join("access.log"));
        log.unwrap_or_default().lines().map(event).collect()
    }
}

/// What is told of a line of the event log.
fn event(line: &str) -> String {
    let word = |key: &str| {
        let rest = line.split_once(&format!("\"{key}\":")).unwrap().1;
        rest.trim_matches('"')
            .split(['"', ',', '}'])
            .next()
            .unwrap()
            .to_owned()
    };
    let first = if line.contains("\"first_check\":true") {
        " first"
    } else {
        ""
    };
    if line.contains("add_healthy_event") {
        format!("add{first}")
    } else if line.contains("eject_unhealthy_event") {
        format!("eject {}", word("failure_type"))
    } else if line.contains("health_check_failure_event") {
        format!(
            "fail {} {}{first}",
            word("failure_type"),
            word("http_status_code")
        )
    } else if line.contains("successful_health_check_event") {
        "pass".to_owned()
    } else if line.contains("no_longer_degraded_host") {
        "no longer degraded".to_owned()
    } else if line.contains("degraded_healthy_host") {
        "degraded".to_owned()
    } else {
        line.to_owned()
    }
}

/// What is seen of a script.
#[derive(Debug, Default)]
struct Seen {
    /// The flags after each answer.
    flags: Vec<String>,
    /// All that was written down.
    events: Vec<String>,
    /// What is counted after each answer.
    counters: Vec<[u64; COUNTERS.len()]>,
}

fn play(mut scene: Scene, script: Script) -> Seen {
    let mut seen = Seen::default();
    scene.endpoint.check();
    for (answer, ..) in script {
        scene.endpoint.answer(*answer);
        scene.endpoint.check();
        seen.flags.push(scene.flags());
        seen.counters.push(scene.counters());
    }
    let written: usize = script.iter().map(|(.., events)| events.len()).sum();
    eventually("all events are written", || scene.events().len() >= written);
    seen.events = scene.events();
    seen
}

fn plays_alike(endpoint: fn() -> Box<dyn Endpoint>, check: &str, script: Script) {
    let flags: Vec<&str> = script.iter().map(|(_, flags, _)| *flags).collect();
    let events: Vec<&str> = script
        .iter()
        .flat_map(|(.., events)| *events)
        .copied()
        .collect();
    let binaries = [Some(Binary::nuncio()), Binary::envoy()];
    let mut counters = Vec::new();
    for binary in binaries.into_iter().flatten() {
        let seen = play(Scene::start(&binary, endpoint(), check), script);
        assert_eq!(seen.flags, flags, "{binary:?}");
        assert_eq!(seen.events, events, "{binary:?}");
        counters.push(seen.counters);
    }
    if let [ours, envoys] = &*counters {
        for (at, (ours, envoys)) in ours.iter().zip(envoys).enumerate() {
            assert_eq!(
                ours, envoys,
                "after answer {at} of {script:?}: {COUNTERS:?}"
            );
        }
    }
}

fn over_http(script: Script, more: &str) {
    plays_alike(|| Box::new(Plain::http()), &http(more), script);
}

#[test]
fn thresholds_count_what_can_be_tried_again() {
    over_http(THRESHOLDS, "");
}

#[test]
fn the_first_answer_decides() {
    over_http(FIRST_BAD, "");
    over_http(FIRST_LATE, "");
}

#[test]
fn an_endpoint_degrades_when_it_says_so() {
    over_http(DEGRADES, "");
}

#[test]
fn an_endpoint_of_another_cluster_is_unhealthy() {
    over_http(NAMED, ", service_name_matcher: { exact: c }");
}

#[test]
fn statuses_are_expected_or_not() {
    over_http(
        EXPECTED,
        ", expected_statuses: [ { start: 201, end: 300 } ]",
    );
}

#[test]
fn bodies_are_looked_at() {
    let parts = "[ { text: 616c6c20 }, { text: 77656c6c } ]";
    over_http(RECEIVED, &format!(", receive: {parts}"));
}

#[test]
fn every_check_can_be_written_down() {
    let always = "always_log_health_check_failures: true, always_log_health_check_success: true";
    let check = format!("{}, {always}", http(""));
    plays_alike(|| Box::new(Plain::http()), &check, LOGGED);
}

#[test]
fn checks_may_go_over_another_transport() {
    let check = format!(
        "{}, transport_socket_match_criteria: {{ kind: checks }}",
        http("")
    );
    plays_alike(|| Box::new(Plain::http()), &check, FIRST_BAD);
}

#[test]
fn bytes_are_waited_for() {
    let tcp = || -> Box<dyn Endpoint> { Box::new(Plain::tcp()) };
    plays_alike(tcp, TCP, OVER_TCP);
    plays_alike(tcp, TCP, TCP_FAILS);
    plays_alike(tcp, &format!("{TCP}{ANEW}"), TCP_FAILS);
}

#[test]
fn services_say_whether_they_serve() {
    let grpc = || -> Box<dyn Endpoint> { Box::new(Grpc::start()) };
    plays_alike(grpc, GRPC, OVER_GRPC);
    plays_alike(grpc, GRPC, GRPC_FAILS);
    plays_alike(grpc, &format!("{GRPC}{ANEW}"), OVER_GRPC);
}

/// An endpoint that is checked once, behind a listener whose requests this test answers.
fn leaves_when_it_asks(binary: &Binary) {
    let endpoint = Box::new(Plain::http());
    let more = format!(
        ", health_checks: [ {{ timeout: 5s, interval: 100s, no_traffic_interval: 100s, unhealthy_threshold: 2, \
         healthy_threshold: 2, http_health_check: {{ path: / }} }} ], \
         common_lb_config: {{ update_merge_window: 0s, healthy_panic_threshold: {{ value: 0 }} }}, \
         load_assignment: {{ cluster_name: origin, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: \
         {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }}",
        endpoint.port()
    );
    let text = Config::new()
        .cluster(format!("{{ name: origin{more} }}"))
        .text();
    let setup = Setup::for_template(&text);
    let mut scene = Scene {
        proxy: Proxy::spawn(binary, &text, setup),
        endpoint,
    };
    scene.endpoint.check();
    scene.endpoint.answer(GOOD);
    // Another connection is a request's: the next check is far away.
    scene.endpoint.forget();
    eventually("the listener is there", || {
        TcpStream::connect(scene.proxy.address("listener")).is_ok()
    });
    let mut client = Connection::open(scene.proxy.address("listener"));
    client.send(scene::get("/", "").as_bytes());
    scene.endpoint.check();
    scene.endpoint.answer(Answer::Status(
        200,
        "x-envoy-immediate-health-check-fail: 1\r\n",
    ));
    assert_eq!(client.receive(Kind::Response).message().status(), 200);
    let out = "/failed_active_hc/excluded_via_immediate_hc_fail";
    eventually("the endpoint is left out", || scene.flags() == out);
    client.send(scene::get("/", "").as_bytes());
    assert_eq!(client.receive(Kind::Response).message().status(), 503);
}

#[test]
fn an_endpoint_leaves_when_it_asks_to() {
    for binary in [Some(Binary::nuncio()), Binary::envoy()]
        .into_iter()
        .flatten()
    {
        leaves_when_it_asks(&binary);
    }
}
