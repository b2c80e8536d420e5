//! What HTTP/2 clients meet that send frames of their own making: pings that must be answered, and
//! limits on frames that cost and bring nothing.

use h2::Reason;
use nuncio_tests::admin::{stat, stats};
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::frames::{self, Frame, FrameConnection, Next, flag, kind};
use nuncio_tests::h2_origin::{H2Origin, H2Reply};
use nuncio_tests::origin::{Act, Origin, Reply};
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::scene::Scene;

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
    let [errors] = stats(&proxy, "http.ingress.", ["downstream_cx_protocol_error"]);
    assert_eq!(errors, 1, "{name}");
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

#[test]
fn a_head_that_does_not_end_in_time_ends_the_connection() {
    let template = SIMPLE.replace(
        "          stat_prefix: ingress\n",
        "          stat_prefix: ingress\n          request_headers_timeout: 0.2s\n",
    );
    let setup = Setup::for_template(&template);
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
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
    raw.send(&begun);
    raw.send(&frames::frame(
        kind::CONTINUATION,
        flag::END_HEADERS,
        1,
        &[],
    ));
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
