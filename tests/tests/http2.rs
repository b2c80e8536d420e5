//! What HTTP/2 clients meet that send frames of their own making: pings that must be answered, and
//! limits on frames that cost and bring nothing.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of a test suite"
)]

#[path = "http2/bodies.rs"]
mod bodies;
#[path = "http2/cut.rs"]
mod cut;
#[path = "http2/rfc9113.rs"]
mod rfc9113;
#[path = "http2/settings.rs"]
mod settings;
#[path = "http2/targets.rs"]
mod targets;

use std::io::Read as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use h2::Reason;
use nuncio_tests::admin::{stat, stats};
use nuncio_tests::client::Connection;
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::frames::{self, Frame, FrameConnection, Next, flag, kind};
use nuncio_tests::frames_origin::FramesOrigin;
use nuncio_tests::h2_origin::{H2Origin, H2Reply};
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{Act, Gate, Origin, Reply};
use nuncio_tests::process::{Binary, Proxy, Ran, Setup};
use nuncio_tests::scene::{self, Scene};
use nuncio_tests::{eventually, pause};

const SIMPLE: &str = include_str!("../fixtures/simple.yaml");

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

fn open(proxy: &Proxy) -> FrameConnection {
    FrameConnection::open(proxy.address("listener"))
}

/// The head of a POST, which a body follows.
fn post(stream: u32) -> Vec<u8> {
    frames::headers(stream, flag::NONE, &frames::request("POST", "/"))
}

fn is_ping(frame: &Frame) -> bool {
    frame.kind == kind::PING && frame.flags & flag::ACK == 0
}

#[test]
fn windows_and_streams_are_those_of_the_configuration() {
    let proxy = start(
        "max_concurrent_streams: 7, initial_stream_window_size: 70000, initial_connection_window_size: 200000",
    );
    let mut client = open(&proxy);
    let (mut settings, mut window) = (Vec::new(), 0);
    let (_, came) = client.read_until(|frame| {
        match frame.kind {
            kind::SETTINGS if settings.is_empty() => settings.clone_from(&frame.payload),
            kind::WINDOW_UPDATE => {
                let more = frame.payload.first_chunk().copied();
                window = more.map_or(0, u32::from_be_bytes);
            }
            _ => {}
        }
        !settings.is_empty() && window > 0
    });
    assert!(came, "{settings:?} {window}");
    let set = |id: u16| {
        let mut pairs = settings.chunks_exact(6);
        let found = pairs.find(|pair| pair[..2] == id.to_be_bytes());
        found.map(|pair| u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
    };
    assert_eq!([set(3), set(4)], [Some(7), Some(70_000)]);
    assert_eq!(
        window,
        200_000 - 65_535,
        "of the connection, beyond what all have"
    );
}

#[test]
fn a_client_goes_by_the_table_that_it_was_told() {
    let proxy = start("hpack_table_size: 100");
    for (size, served) in [(&[0x3f, 0x45][..], true), (&[0x20], true), (&[], false)] {
        let mut client = open(&proxy);
        let (_, came) =
            client.read_until(|frame| frame.kind == kind::SETTINGS && frame.flags & flag::ACK == 0);
        assert!(came);
        client.send(&frames::frame(kind::SETTINGS, flag::ACK, 0, b""));
        let block = [size, &frames::block(&frames::request("GET", "/"))].concat();
        let flags = flag::END_STREAM | flag::END_HEADERS;
        client.send(&frames::frame(kind::HEADERS, flags, 1, &block));
        let (lines, came) = client.read_until(|frame| frame.ends(1));
        assert_eq!(came, served, "{size:x?} {lines:?}");
    }
}

/// A connection that has had one stream, and that the proxy ends.
fn ends_in_two_steps(options: &str, counter: &str) {
    let config = Config::new().manager(options);
    let scene = Scene::start(&config.manager("drain_timeout: 60s"));
    let mut client = FrameConnection::open(scene.listener);
    client.send(&frames::get(1, "/"));
    let (mut answered, mut last) = (false, Vec::new());
    let end = loop {
        match client.next() {
            Next::Frame(frame) => {
                answered |= frame.ends(1);
                if is_ping(&frame) {
                    client.send(&frames::frame(kind::PING, flag::ACK, 0, &frame.payload));
                }
                if frame.kind == kind::GOAWAY {
                    assert_eq!(frame.code(), "NO_ERROR");
                    let stream = frame.payload.first_chunk().copied();
                    last.push(stream.map_or(0, u32::from_be_bytes));
                }
            }
            end => break end,
        }
    };
    assert_eq!((answered, end), (true, Next::Ended), "{options}");
    assert_eq!(last, [0x7fff_ffff, 1], "{options}");
    assert_eq!(stats(&scene.proxy, "http.ingress.", [counter]), [1]);
}

#[test]
fn a_connection_without_streams_ends_in_two_steps() {
    let idle = "common_http_protocol_options: { idle_timeout: 0.3s }";
    ends_in_two_steps(idle, "downstream_cx_idle_timeout");
}

#[test]
fn a_connection_that_is_old_ends_in_two_steps() {
    let old = "common_http_protocol_options: { max_connection_duration: 0.3s }";
    ends_in_two_steps(old, "downstream_cx_max_duration_reached");
}

#[test]
fn a_client_that_answers_no_ping_is_let_go() {
    let proxy = start(
        "connection_keepalive: { interval: 0.1s, timeout: 0.1s, interval_jitter: { value: 0 } }",
    );
    let mut silent = open(&proxy);
    let mut pings = 0;
    while let Next::Frame(frame) = silent.next() {
        pings += u32::from(is_ping(&frame));
    }
    assert_eq!(silent.next(), Next::Ended);
    assert_eq!(pings, 1, "one ping, and then the end");
}

#[test]
fn a_client_that_answers_pings_is_kept() {
    let proxy = start(
        "connection_keepalive: { interval: 0.05s, timeout: 5s, interval_jitter: { value: 0 } }",
    );
    let mut raw = open(&proxy);
    for _ in 0..3 {
        let mut payload = Vec::new();
        let (lines, came) = raw.read_until(|frame| {
            payload.clone_from(&frame.payload);
            is_ping(frame)
        });
        assert!(came, "{lines:?}");
        raw.send(&frames::frame(kind::PING, flag::ACK, 0, &payload));
    }
}

/// What is sent again and again, how often it may be, and the field that says so.
fn floods(name: &str, options: &str, first: &[u8], again: &[u8], allowed: usize) {
    let proxy = start(options);
    let mut raw = open(&proxy);
    raw.send(first);
    ends_behind(name, &proxy, raw, again, allowed);
}

/// The same for a connection that has been used.
fn ends_behind(name: &str, proxy: &Proxy, mut raw: FrameConnection, again: &[u8], allowed: usize) {
    for _ in 0..allowed {
        raw.send(again);
    }
    let (lines, lives) = raw.sync();
    assert!(lives, "{name}: ended too early: {lines:?}");
    raw.send(again);
    let (lines, lives) = raw.sync();
    assert!(
        !lives && lines.contains(&"[ended]".to_owned()),
        "{name}: goes on"
    );
    let [errors] = stats(proxy, "http.ingress.", ["downstream_cx_protocol_error"]);
    assert_eq!(errors, 1, "{name}");
}

/// What a client may say of windows grows with its streams and with the frames of data that it was sent.
#[test]
fn window_updates_are_deserved() {
    let fewer = "max_inbound_window_update_frames_per_data_frame_sent: 1";
    for (options, allowed) in [("", 5 + 2 * (1 + 10)), (fewer, 5 + 2 * (1 + 1))] {
        let proxy = start(options);
        let mut raw = open(&proxy);
        // Nobody is behind it, and the answer that says so is one frame.
        raw.send(&frames::get(1, "/"));
        let mut data = 0;
        let (lines, came) = raw.read_until(|frame| {
            data += u32::from(frame.kind == kind::DATA);
            frame.ends(1)
        });
        assert!(came && data == 1, "{lines:?}");
        ends_behind(options, &proxy, raw, &frames::window(0, 1), allowed);
    }
}

#[test]
fn frames_that_bring_nothing_are_limited() {
    let update = frames::window(0, 1);
    let priority = frames::priority(9);
    let empty = frames::data(1, flag::NONE, b"");
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

/// A proxy that waits so long for a head.
fn start_with_head_time(timeout: &str) -> (Proxy, Origin) {
    let template = SIMPLE.replace(
        "          stat_prefix: ingress\n",
        &format!("          stat_prefix: ingress\n          request_headers_timeout: {timeout}\n"),
    );
    let setup = Setup::for_template(&template);
    let origin = Origin::start_on(setup.port("origin").unwrap_or_default());
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    (proxy, origin)
}

/// A block of a stream in two frames, of which the first ends the stream.
fn in_two(stream: u32, block: &[u8]) -> [Vec<u8>; 2] {
    [
        frames::frame(kind::HEADERS, flag::END_STREAM, stream, block),
        frames::frame(kind::CONTINUATION, flag::END_HEADERS, stream, &[]),
    ]
}

#[test]
fn each_head_has_its_own_time_and_trailers_have_none() {
    // Two of them take longer than one may.
    let late = Duration::from_millis(2200);
    let (proxy, _origin) = start_with_head_time("4s");
    let head = frames::block(&frames::request("GET", "/"));
    let mut raw = open(&proxy);
    let [first, second] = [1, 3].map(|stream| in_two(stream, &head));
    raw.send(&first[0]);
    pause(late);
    raw.send(&[&first[1][..], &second[0]].concat());
    pause(late);
    raw.send(&second[1]);
    let (lines, came) = raw.read_until(|frame| frame.ends(3));
    assert!(came, "{lines:?}");
    raw.send(&post(5));
    let trailers = in_two(5, &frames::block(&[("x-trailer", "1")]));
    raw.send(&trailers[0]);
    pause(2 * late);
    raw.send(&trailers[1]);
    let (lines, came) = raw.read_until(|frame| frame.ends(5));
    assert!(came, "{lines:?}");
    assert!(raw.sync().1);
    let [late] = stats(&proxy, "http.ingress.", ["downstream_rq_header_timeout"]);
    assert_eq!(late, 0);
}

#[test]
fn a_late_head_leaves_other_streams_their_answers() {
    let (proxy, origin) = start_with_head_time("0.2s");
    let gate = Gate::default();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let late = Reply::nothing().then(Act::Wait(gate.clone()));
    origin.reply_with([late.then(Act::Send(answer.into()))]);
    let mut raw = open(&proxy);
    raw.send(&frames::get(1, "/"));
    origin.wait_for_requests(1);
    raw.send(&in_two(3, &frames::block(&frames::request("GET", "/")))[0]);
    eventually("the head is late", || {
        stat(&proxy, "http.ingress.downstream_rq_header_timeout") == 1
    });
    gate.open();
    let (lines, came) = raw.read_until(|frame| frame.ends(1));
    assert!(came, "{lines:?}");
    let (mut lines, more) = (lines, raw.read_to_end());
    lines.extend(more);
    assert!(
        lines.iter().any(|line| line.starts_with("GOAWAY NO_ERROR")),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("[ended]"));
}

#[test]
fn a_head_that_does_not_end_in_time_ends_the_connection() {
    let (proxy, _origin) = start_with_head_time("0.2s");
    let block = frames::block(&frames::request("GET", "/"));
    let begun = frames::frame(kind::HEADERS, flag::END_STREAM, 1, &block);
    let whole = frames::frame(
        kind::HEADERS,
        flag::END_STREAM | flag::END_HEADERS,
        1,
        &block,
    );
    let (cut, _) = whole.split_at(whole.len() - 1);
    for (count, bytes) in (1..).zip([&begun[..], cut]) {
        let mut raw = open(&proxy);
        raw.send(bytes);
        let lines = raw.read_to_end();
        assert!(lines.iter().any(|line| line == "[ended]"), "{lines:?}");
        let [late] = stats(&proxy, "http.ingress.", ["downstream_rq_header_timeout"]);
        assert_eq!(late, count);
    }
    let mut raw = open(&proxy);
    let rest = frames::frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]);
    raw.send(&[&begun[..], &rest].concat());
    assert!(raw.sync().1);
    // The time of one that began later runs out.
    let mut late = open(&proxy);
    late.send(&begun);
    assert!(late.read_to_end().contains(&"[ended]".to_owned()));
    let (lines, lives) = raw.sync();
    assert!(lives, "{lines:?}");
}

#[test]
fn a_client_that_only_resets_is_let_go() {
    let setup = Setup::for_template(SIMPLE);
    let origin = Origin::start_on(setup.port("origin").unwrap());
    let silence = || Reply::nothing().then(Act::Hang);
    origin.reply_with(std::iter::repeat_with(silence).take(300));
    let proxy = Proxy::start_with(&Binary::nuncio(), SIMPLE, setup);
    let mut raw = open(&proxy);
    for index in 0..300 {
        let stream = 2 * index + 1;
        raw.send(&post(stream));
        if !raw.sync().1 {
            let name = "downstream_rq_too_many_premature_resets";
            let [resets] = stats(&proxy, "http.ingress.", [name]);
            assert_eq!(resets, 1);
            assert!(index >= 249, "let go after {index} streams");
            return;
        }
        raw.send(&frames::reset(stream, 8));
    }
    panic!("300 streams were reset and the connection goes on");
}

#[test]
fn streams_that_are_cancelled_at_once_are_nobody_elses_concern() {
    let setup = Setup::for_template(SIMPLE);
    let _origin = Origin::start_on(setup.port("origin").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), SIMPLE, setup);
    let mut raw = open(&proxy);
    let mut burst = Vec::new();
    for stream in (1..).step_by(2).take(200) {
        burst.extend(frames::get(stream, "/"));
        burst.extend(frames::reset(stream, 8));
    }
    raw.send(&burst);
    raw.send(&frames::get(401, "/"));
    let (lines, came) = raw.read_until(|frame| frame.ends(401));
    assert!(came, "{lines:?}");
}

#[test]
fn what_is_under_way_for_streams_that_were_answered_does_no_harm() {
    let route = r#"{ match: { prefix: / }, direct_response: { status: 403 } }"#;
    let template = Config::new().route(route).text();
    let setup = Setup::for_template(&template);
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let mut raw = open(&proxy);
    let streams = || (1..).step_by(2).take(99);
    for stream in streams() {
        raw.send(&post(stream));
        let (lines, came) = raw.read_until(|frame| frame.kind == kind::RST_STREAM);
        assert!(came, "{lines:?}");
    }
    for _ in 0..30 {
        for stream in streams() {
            raw.send(&frames::data(stream, flag::NONE, b"late"));
        }
        let (lines, lives) = raw.sync();
        assert!(lives, "{lines:?}");
    }
}

#[test]
fn an_upstream_that_gives_up_is_noticed_while_its_client_takes_nothing() {
    let upstream = cluster("origin", &[endpoint("origin", "")], HTTP2);
    let template = Config::new().cluster(upstream).text();
    let setup = Setup::for_template(&template);
    let origin = H2Origin::start_on(setup.port("origin").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let reply = H2Reply::status(200).body("part");
    origin.reply_with([reply.reset(Reason::INTERNAL_ERROR)]);
    let mut client = open(&proxy);
    // Its streams have no window.
    client.send(&frames::settings(&[(4, 0)]));
    client.send(&frames::get(1, "/"));
    let (lines, came) = client.read_until(|frame| frame.kind == kind::RST_STREAM);
    assert!(came, "{lines:?}");
}

#[test]
fn who_reads_slowly_gets_all_of_the_last_response_of_a_connection() {
    // More than the client's socket takes at first, and less than the proxy's.
    const BODY: usize = 1024 * 1024;
    let once = "common_http_protocol_options: { max_requests_per_connection: 1 }";
    let config = Config::new()
        .manager(once)
        .manager("delayed_close_timeout: 60s");
    let scene = Scene::start(&config);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
    let reply = Reply::bytes(&head).then(Act::Fill(BODY));
    scene.origin.reply_with([reply]);
    let mut client = FrameConnection::open(scene.listener);
    client.send(&frames::settings(&[(4, 1 << 30)]));
    client.send(&frames::window(0, 1 << 30));
    client.send(&frames::get(1, "/"));
    let mut asked = Vec::new();
    let (lines, came) = client.read_until(|frame| {
        asked.clone_from(&frame.payload);
        is_ping(frame)
    });
    assert!(came, "{lines:?}");
    client.send(&frames::frame(kind::PING, flag::ACK, 0, &asked));
    eventually("the response is with the system", || {
        stat(&scene.proxy, "http.ingress.downstream_rq_active") == 0
    });
    let (mut got, mut ended) = (0, false);
    while !ended && let Next::Frame(frame) = client.next() {
        ended = frame.ends(1);
        got += if frame.kind == kind::DATA {
            frame.payload.len()
        } else {
            0
        };
        // As any client that has read something.
        client.send(&frames::window(0, 1));
    }
    assert_eq!((got, ended), (BODY, true));
    drop(client);
    eventually("it is let go of once the client has", || {
        stat(&scene.proxy, "http.ingress.downstream_cx_active") == 0
    });
    assert_eq!(
        stats(
            &scene.proxy,
            "http.ingress.",
            [
                "downstream_cx_destroy_remote",
                "downstream_cx_delayed_close_timeout"
            ]
        ),
        [1, 0]
    );
    assert_eq!(stat(&scene.proxy, "http2.goaway_sent"), 1);
}
