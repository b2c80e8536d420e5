//! Attacks by connections: too many, idle, half closed, cut off.

use std::net::TcpStream;

use nuncio_tests::client::{Connection, Received};
use nuncio_tests::eventually;
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{Act, Reply};
use nuncio_tests::scene::get;
use nuncio_tests::tls::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{SMALL, Target};

/// Open files that a process has for other things than the connections of a test.
const SPARE_FILES: u64 = 500;
/// What an idle connection may cost, in KiB, in a build without optimisation.
const IDLE_KIB: u64 = 8;

/// Raises the limit on open files for this process and its children as far as it goes, as tests run side
/// by side; the connections it leaves.
fn connections_at_once(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    wanted.min(limit.maximum.unwrap_or(u64::MAX) - SPARE_FILES)
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    let count = connections_at_once(10_000);
    assert!(count >= 1000, "the system allows only {count} connections");
    let target = Target::start(&[]);
    let limit = count * IDLE_KIB / 1024 + SMALL;
    target.withstands(limit, || {
        let mut idle = Vec::new();
        for number in 0..count {
            let mut connection = target.scene.connect();
            // Half of them have been of use.
            if number % 2 == 0 {
                let answer = connection.exchange(get("/direct", "").as_bytes());
                assert_eq!(answer.status(), 200);
            }
            idle.push(connection);
        }
        eventually("all of them are open", || {
            target.counter("downstream_cx_active") > count
        });
        // The oldest and the youngest still work.
        for index in [0, idle.len() - 1] {
            let connection = idle.get_mut(index).unwrap();
            let answer = connection.exchange(get("/up", "").as_bytes());
            assert_eq!(answer.status(), 200);
        }
    });
}

#[test]
fn idle_connections_over_tls_cost_little() {
    let count = connections_at_once(2_000);
    assert!(count >= 1000, "the system allows only {count} connections");
    let target = Target::start_over_tls();
    let limit = count * IDLE_KIB / 1024 + SMALL;
    target.withstands(limit, || {
        let client = Client::asks("a.test").remembers();
        let mut idle = Vec::new();
        for number in 0..count {
            let mut connection = Connection::open_known(target.scene.listener, &client).unwrap();
            if number % 2 == 0 {
                let answer = connection.exchange(get("/direct", "").as_bytes());
                assert_eq!(answer.status(), 200);
            }
            idle.push(connection);
        }
        eventually("all of them are open", || {
            target.counter("downstream_cx_ssl_active") > count
        });
        for index in [0, idle.len() - 1] {
            let connection = idle.get_mut(index).unwrap();
            let answer = connection.exchange(get("/up", "").as_bytes());
            assert_eq!(answer.status(), 200);
        }
    });
}

#[test]
fn idle_connections_are_ended_in_time() {
    let target = Target::start(&["common_http_protocol_options: { idle_timeout: 0.5s }"]);
    target.withstands(SMALL, || {
        let mut all: Vec<_> = (0..500).map(|_| target.scene.connect()).collect();
        for idle in &mut all {
            assert!(matches!(idle.drain(), Received::Closed));
        }
        assert_eq!(target.counter("downstream_cx_idle_timeout"), 500);
    });
}

#[test]
fn peers_that_end_one_direction_are_let_go() {
    let target = Target::start(&[]);
    let starts = [
        "",
        "GET /up HTTP/1.1\r\nHost: a.exa",
        "POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\nx",
        "POST /up HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    target.withstands(SMALL, || {
        let mut all = Vec::new();
        for start in starts.iter().cycle().take(600) {
            let mut half = target.scene.connect();
            half.send(start.as_bytes());
            half.half_close();
            all.push(half);
        }
        for half in &mut all {
            assert!(matches!(half.drain(), Received::Closed | Received::Reset));
        }
    });
}

#[test]
fn upstreams_that_end_half_way_cost_one_response_each() {
    let target = Target::start(&[]);
    let half_closed = || Reply::nothing().then(Act::HalfClose).then(Act::Hang);
    let cut = |head: &str| Reply::bytes(head).then(Act::HalfClose).then(Act::Hang);
    target.withstands(SMALL, || {
        for _ in 0..50 {
            target.scene.origin.reply_with([
                half_closed(),
                cut("HTTP/1.1 200 O"),
                cut("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"),
                cut("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nx"),
            ]);
            for expected in [503, 502, 200, 200] {
                let mut client = target.scene.connect();
                client.send(get("/up", "").as_bytes());
                let answer = client.receive(Kind::Response).message();
                assert_eq!(answer.status(), expected);
                assert_eq!(answer.complete, expected != 200);
            }
        }
    });
}

#[test]
fn connections_that_are_reset_leave_nothing() {
    let target = Target::start(&[]);
    target
        .scene
        .origin
        .reply_with((0..1000).map(|_| {
            Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx").then(Act::Hang)
        }));
    let starts = [
        "",
        "GET /up HTTP/1.1\r\nHo",
        "GET /up HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\nx",
    ];
    target.withstands(SMALL, || {
        for start in starts.iter().cycle().take(1000) {
            let mut connection = target.scene.connect();
            connection.send(start.as_bytes());
            connection.reset();
        }
    });
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let target = Target::start(&[]);
    target.withstands(SMALL, || {
        for _ in 0..5000 {
            drop(TcpStream::connect(target.scene.listener).unwrap());
        }
    });
}
