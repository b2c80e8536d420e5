//! Outlier detection over real sockets: how many endpoints it may leave out, and what it hears of.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use nuncio_tests::admin::stat;
use nuncio_tests::client::Connection;
use nuncio_tests::config::Config;
use nuncio_tests::eventually;
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::scene;

/// An endpoint whose every answer is `answer`, after which the connection goes on.
fn endpoint(answer: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || serve(stream, answer));
        }
    });
    port
}

fn serve(mut stream: TcpStream, answer: &str) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

const BAD: &str = "HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n";
/// A head, and some of the body that it speaks of.
const BAD_AND_LONG: &str = "HTTP/1.1 500 x\r\ncontent-length: 1000000\r\n\r\nsome";

/// A proxy in front of `count` endpoints, with more fields of `outlier_detection`, each with a comma in
/// front.
fn proxy(binary: &Binary, count: usize, answer: &'static str, more: &str) -> Proxy {
    let mut listed = String::new();
    for _ in 0..count {
        let port = endpoint(answer);
        let _infallible = write!(
            listed,
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}, "
        );
    }
    let text = Config::new()
        .cluster(format!(
            "{{ name: origin, outlier_detection: {{ consecutive_5xx: 1, interval: 0.05s, base_ejection_time: \
             1000s{more} }}, load_assignment: {{ cluster_name: origin, endpoints: [ {{ lb_endpoints: \
             [ {listed} ] }} ] }} }}"
        ))
        .text();
    Proxy::start_with(binary, &text, Setup::for_template(&text))
}

fn outliers(proxy: &Proxy, statistic: &str) -> u64 {
    stat(
        proxy,
        &format!("cluster.origin.outlier_detection.{statistic}"),
    )
}

/// How many are left out where every answer of every endpoint is an error.
fn left_out(binary: &Binary, count: usize, more: &str) -> u64 {
    let proxy = proxy(binary, count, BAD, more);
    let mut client = Connection::open(proxy.address("listener"));
    let mut sent = 0;
    let detected = |proxy: &Proxy| outliers(proxy, "ejections_detected_consecutive_5xx");
    // Of each endpoint, whether it was then left out or not.
    eventually("every endpoint was found out", || {
        client.exchange(scene::get("/", "").as_bytes());
        sent += 1;
        sent >= count * 4 && detected(&proxy) >= count as u64
    });
    let (active, enforced) = (
        outliers(&proxy, "ejections_active"),
        outliers(&proxy, "ejections_enforced_total"),
    );
    assert_eq!(active, enforced);
    let allowed = if active == count as u64 { 0 } else { 1 };
    assert!(outliers(&proxy, "ejections_overflow") >= allowed);
    active
}

#[test]
fn a_small_cluster_loses_one_endpoint_and_never_its_last() {
    let nuncio = Binary::nuncio();
    for (count, expected) in [(1, 0), (2, 1), (3, 1), (9, 1), (20, 2)] {
        assert_eq!(left_out(&nuncio, count, ""), expected, "of {count}");
    }
}

#[test]
fn who_asks_for_envoys_arithmetic_gets_it() {
    let binaries = [Some(Binary::nuncio()), Binary::envoy()];
    for binary in binaries.into_iter().flatten() {
        for (count, more, expected) in [
            (3, ", max_ejection_percent: 10", 0),
            (3, ", max_ejection_percent: 50", 1),
            (3, ", max_ejection_percent: 100", 3),
            (1, ", max_ejection_percent: 100", 1),
            (3, ", always_eject_one_host: true", 1),
            (1, ", always_eject_one_host: true", 1),
            (20, ", max_ejection_percent: 10", 2),
        ] {
            let left_out = left_out(&binary, count, more);
            assert_eq!(left_out, expected, "{binary:?}, of {count}{more}");
        }
    }
}

#[test]
fn an_answer_counts_also_where_its_client_leaves() {
    let binaries = [Some(Binary::nuncio()), Binary::envoy()];
    for binary in binaries.into_iter().flatten() {
        let proxy = proxy(&binary, 1, BAD_AND_LONG, ", max_ejection_percent: 100");
        let mut client = Connection::open(proxy.address("listener"));
        client.send(scene::get("/", "").as_bytes());
        client.wait_for(b"some");
        client.reset();
        eventually("it is left out", || {
            outliers(&proxy, "ejections_active") == 1
        });
    }
}
