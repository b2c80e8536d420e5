//! What HTTP/2 clients meet that send frames of their own making: pings that must be answered, and
//! limits on frames that cost and bring nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test suite")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nuncio_tests::admin::stats;
use nuncio_tests::client::PATIENCE;
use nuncio_tests::origin::{Act, Origin, Reply};
use nuncio_tests::process::{Binary, Proxy, Setup};

const SIMPLE: &str = include_str!("../fixtures/simple.yaml");
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

fn start(options: &str) -> Proxy {
    let template = SIMPLE.replace(
        "          stat_prefix: ingress\n",
        &format!(
            "          stat_prefix: ingress\n          http2_protocol_options: {{ {options} }}\n"
        ),
    );
    let setup = Setup::for_template(&template);
    Proxy::start_with(&Binary::nuncio(), &template, setup)
}

/// A connection that is driven by hand.
struct Raw(TcpStream);

impl Raw {
    fn open(proxy: &Proxy) -> Self {
        let mut stream = TcpStream::connect(proxy.address("listener")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(PREFACE).unwrap();
        let mut raw = Self(stream);
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw
    }

    /// Sends bytes; that the proxy has closed the connection shows when it is read.
    fn send(&mut self, bytes: &[u8]) {
        let _closed = self.0.write_all(bytes);
    }

    /// The type and flags of the next frame; none at the end of the connection.
    fn next(&mut self) -> Option<(u8, u8)> {
        let mut head = [0; 9];
        if self.0.read_exact(&mut head).is_err() {
            return None;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], head[4]))
    }

    /// Reads until the connection ends.
    fn is_ended(&mut self) -> bool {
        while self.next().is_some() {}
        let mut byte = [0];
        matches!(self.0.read(&mut byte), Ok(0))
            || self
                .0
                .read(&mut byte)
                .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of `POST http://a/`, which a body follows.
fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, 4, stream, &[0x83, 0x86, 0x84, 0x41, 1, b'a'])
}

#[test]
fn a_client_that_answers_no_ping_is_let_go() {
    let proxy = start(
        "connection_keepalive: { interval: 0.1s, timeout: 0.1s, interval_jitter: { value: 0 } }",
    );
    let mut silent = Raw::open(&proxy);
    let mut pings = 0;
    while let Some((kind, flags)) = silent.next() {
        pings += u32::from(kind == PING && flags == 0);
    }
    assert_eq!(pings, 1, "one ping, and then the end");
}

#[test]
fn a_client_that_answers_pings_is_kept() {
    let proxy = start(
        "connection_keepalive: { interval: 0.05s, timeout: 5s, interval_jitter: { value: 0 } }",
    );
    let mut raw = Raw::open(&proxy);
    let mut pings = 0;
    while pings < 3 {
        let mut head = [0; 9];
        raw.0.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        raw.0.read_exact(&mut payload).unwrap();
        if (head[3], head[4]) == (PING, 0) {
            pings += 1;
            raw.send(&frame(PING, 1, 0, &payload));
        }
    }
}

/// What is sent again and again, how often it may be, and the field that says so.
fn floods(name: &str, options: &str, first: &[u8], again: &[u8], allowed: usize) {
    let proxy = start(options);
    let mut raw = Raw::open(&proxy);
    raw.send(first);
    for _ in 0..allowed {
        raw.send(again);
    }
    // The answer to a ping says that all of it was taken.
    raw.send(&frame(PING, 0, 0, &[7; 8]));
    loop {
        let (kind, flags) = raw
            .next()
            .unwrap_or_else(|| panic!("{name}: ended too early"));
        if (kind, flags) == (PING, 1) {
            break;
        }
    }
    raw.send(again);
    raw.send(&frame(PING, 0, 0, &[8; 8]));
    assert!(raw.is_ended(), "{name}: goes on");
    let [errors] = stats(&proxy, "http.ingress.", ["downstream_cx_protocol_error"]);
    assert_eq!(errors, 1, "{name}");
}

#[test]
fn frames_that_bring_nothing_are_limited() {
    let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let priority = frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 0]);
    let empty = frame(DATA, 0, 1, &[]);
    floods("window updates", "", &[], &update, 5);
    floods("priorities", "", &[], &priority, 100);
    floods(
        "fewer priorities",
        "max_inbound_priority_frames_per_stream: 3",
        &[],
        &priority,
        3,
    );
    floods("empty frames", "", &post(1), &empty, 1);
    floods(
        "more empty frames",
        "max_consecutive_inbound_frames_with_empty_payload: 4",
        &post(1),
        &empty,
        4,
    );
}

#[test]
fn a_client_that_only_resets_is_let_go() {
    let setup = Setup::for_template(SIMPLE);
    let origin = Origin::start_on(setup.port("origin").unwrap());
    let silence = || Reply::nothing().then(Act::Hang);
    origin.reply_with(std::iter::repeat_with(silence).take(300));
    let proxy = Proxy::start_with(&Binary::nuncio(), SIMPLE, setup);
    let mut raw = Raw::open(&proxy);
    for index in 0..300 {
        let stream = 2 * index + 1;
        raw.send(&post(stream));
        raw.send(&frame(PING, 0, 0, &[0; 8]));
        loop {
            match raw.next() {
                Some((PING, 1)) => break,
                Some(_) => {}
                None => {
                    let [resets] = stats(
                        &proxy,
                        "http.ingress.",
                        ["downstream_rq_too_many_premature_resets"],
                    );
                    assert_eq!(resets, 1);
                    assert!(index >= 249, "let go after {index} streams");
                    return;
                }
            }
        }
        raw.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    panic!("300 streams were reset and the connection goes on");
}
