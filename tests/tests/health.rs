//! Health checks: the same answers make the same of an endpoint as in Envoy, step by step, and are
//! written down in the same words.
//!
//! The endpoint is this test: a check that arrives says that the one before it was dealt with, so
//! that moment is when `/clusters` is read. Where Envoy is not there, the expected steps count alone.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use nuncio_tests::admin::page;
use nuncio_tests::client::Connection;
use nuncio_tests::config::Config;
use nuncio_tests::eventually;
use nuncio_tests::message::Kind;
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::scene;

/// What the endpoint does with a check.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// A status, with more fields, each with its line end.
    Status(u16, &'static str),
    /// Closes the connection.
    Close,
    /// Says nothing until the checker gives up.
    Silence,
}

use Answer::{Close, Silence};

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

/// A program with one cluster whose endpoint is checked, and that endpoint.
struct Scene {
    proxy: Proxy,
    endpoint: TcpListener,
    connection: Option<TcpStream>,
}

impl Scene {
    fn start(binary: &Binary, more: &str) -> Self {
        let endpoint = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = endpoint.local_addr().unwrap().port();
        let template = format!(
            "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}\n\
             static_resources:\n  clusters:\n  - name: c\n    common_lb_config: {{ update_merge_window: 0s }}\n    \
             load_assignment: {{ cluster_name: c, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: \
             {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }}\n    \
             health_checks: [ {{ timeout: 0.3s, interval: 0.05s, no_traffic_interval: 0.05s, \
             unhealthy_threshold: 2, healthy_threshold: 2, event_log_path: \"@LOG@\", \
             http_health_check: {{ path: /, retriable_statuses: [ {{ start: 500, end: 600 }} ]{more} }} }} ]\n"
        );
        let setup = Setup::for_template(&template);
        let setup = setup.arguments(&["--file-flush-interval-msec", "20"]);
        Self {
            proxy: Proxy::spawn(binary, &template, setup),
            endpoint,
            connection: None,
        }
    }

    /// Waits for the next check. Its connection stays.
    fn check(&mut self) {
        loop {
            let mut stream = match self.connection.take() {
                Some(stream) => stream,
                None => self.endpoint.accept().unwrap().0,
            };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            if head.ends_with(b"\r\n\r\n") {
                self.connection = Some(stream);
                return;
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Status(status, fields) => {
                let stream = self.connection.as_mut().unwrap();
                let head = format!("HTTP/1.1 {status} x\r\n{fields}content-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
            }
            Close => self.connection = None,
            Silence => {
                // The end of the connection is how the checker gives up.
                let mut stream = self.connection.take().unwrap();
                drop(stream.read(&mut [0]));
            }
        }
    }

    fn flags(&self) -> String {
        let text = page(&self.proxy, "/clusters");
        let line = text
            .lines()
            .find_map(|line| line.split_once("::health_flags::"));
        line.unwrap().1.to_owned()
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
    } else if line.contains("no_longer_degraded_host") {
        "no longer degraded".to_owned()
    } else if line.contains("degraded_healthy_host") {
        "degraded".to_owned()
    } else {
        line.to_owned()
    }
}

/// The flags after each answer of the script, and all that was written down.
fn play(binary: &Binary, script: Script, more: &str) -> (Vec<String>, Vec<String>) {
    let mut scene = Scene::start(binary, more);
    let mut flags = Vec::new();
    scene.check();
    for (answer, ..) in script {
        scene.answer(*answer);
        scene.check();
        flags.push(scene.flags());
    }
    let written: usize = script.iter().map(|(.., events)| events.len()).sum();
    eventually("all events are written", || scene.events().len() >= written);
    (flags, scene.events())
}

fn plays_alike(script: Script, more: &str) {
    let flags: Vec<&str> = script.iter().map(|(_, flags, _)| *flags).collect();
    let events: Vec<&str> = script
        .iter()
        .flat_map(|(.., events)| *events)
        .copied()
        .collect();
    let binaries = [Some(Binary::nuncio()), Binary::envoy()];
    for binary in binaries.into_iter().flatten() {
        let (seen, written) = play(&binary, script, more);
        assert_eq!(seen, flags, "{binary:?}");
        assert_eq!(written, events, "{binary:?}");
    }
}

#[test]
fn thresholds_count_what_can_be_tried_again() {
    plays_alike(THRESHOLDS, "");
}

#[test]
fn the_first_answer_decides() {
    plays_alike(FIRST_BAD, "");
    plays_alike(FIRST_LATE, "");
}

#[test]
fn an_endpoint_degrades_when_it_says_so() {
    plays_alike(DEGRADES, "");
}

#[test]
fn an_endpoint_of_another_cluster_is_unhealthy() {
    plays_alike(NAMED, ", service_name_matcher: { exact: c }");
}

/// An endpoint that is checked once, behind a listener whose requests this test answers.
fn leaves_when_it_asks(binary: &Binary) {
    let endpoint = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let more = format!(
        ", health_checks: [ {{ timeout: 5s, interval: 100s, no_traffic_interval: 100s, unhealthy_threshold: 2, \
         healthy_threshold: 2, http_health_check: {{ path: / }} }} ], \
         common_lb_config: {{ update_merge_window: 0s, healthy_panic_threshold: {{ value: 0 }} }}, \
         load_assignment: {{ cluster_name: origin, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: \
         {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }}",
        endpoint.local_addr().unwrap().port()
    );
    let text = Config::new()
        .cluster(format!("{{ name: origin{more} }}"))
        .text();
    let setup = Setup::for_template(&text);
    let mut scene = Scene {
        proxy: Proxy::spawn(binary, &text, setup),
        endpoint,
        connection: None,
    };
    scene.check();
    scene.answer(GOOD);
    // Another connection is a request's: the next check is far away.
    scene.connection = None;
    eventually("the listener is there", || {
        TcpStream::connect(scene.proxy.address("listener")).is_ok()
    });
    let mut client = Connection::open(scene.proxy.address("listener"));
    client.send(scene::get("/", "").as_bytes());
    scene.check();
    scene.answer(Answer::Status(
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
