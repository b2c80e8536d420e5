//! What HTTP/2 clients meet that send frames of their own making: pings that must be answered, and
//! limits on frames that cost and bring nothing.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of a test suite"
)]

use std::io::Read as _;
use std::thread;
use std::time::Duration;

use h2::Reason;
use nuncio_tests::admin::{stat, stats};
use nuncio_tests::client::Connection;
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::frames::{self, Frame, FrameConnection, Next, flag, kind};
use nuncio_tests::h2_origin::{H2Origin, H2Reply};
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{Act, Gate, Origin, Reply};
use nuncio_tests::process::{Binary, Proxy, Ran, Setup};
use nuncio_tests::scene::Scene;
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

/// What a side says in its first frame, which is one of settings.
fn first_settings(peer: &mut FrameConnection) -> Vec<(u16, u32)> {
    let Next::Frame(first) = peer.next() else {
        panic!("no frame came");
    };
    assert_eq!((first.kind, first.flags), (kind::SETTINGS, flag::NONE));
    let entries = first.payload.chunks_exact(6);
    let entry = |entry: &[u8]| {
        let value = [entry[2], entry[3], entry[4], entry[5]];
        (
            u16::from_be_bytes([entry[0], entry[1]]),
            u32::from_be_bytes(value),
        )
    };
    entries.map(entry).collect()
}

const CUSTOM: &str = "custom_settings_parameters: [ { identifier: 100, value: 7 }, \
    { identifier: 6, value: 9999 }, { identifier: 5, value: 20000 }, { identifier: 100, value: 7 } ]";

/// What of `said` was not written as [`CUSTOM`], in front of which that is.
fn behind_custom(said: &[(u16, u32)]) -> &[(u16, u32)] {
    let (custom, own) = said.split_at(3);
    assert_eq!(custom, [(100, 7), (6, 9999), (5, 20_000)], "{said:?}");
    own
}

#[test]
fn settings_of_the_file_are_said_in_front_of_the_others() {
    let proxy = start(&format!("max_concurrent_streams: 7, {CUSTOM}"));
    let mut client = open(&proxy);
    let said = first_settings(&mut client);
    let own = behind_custom(&said);
    assert!(own.contains(&(3, 7)), "{own:?}");
    assert!(own.iter().all(|(id, _)| *id != 6), "said twice: {own:?}");
    client.send(&frames::settings(&[]));
    client.send(&post(1));
    // As large as a frame may be, and one that is larger.
    client.send(&frames::data(1, flag::NONE, &[0; 20_000]));
    let (lines, lives) = client.sync();
    assert!(lives, "{lines:?}");
    client.send(&frames::data(1, flag::NONE, &[0; 20_001]));
    let lines = client.read_to_end();
    assert!(
        lines.iter().any(|line| line.contains("FRAME_SIZE_ERROR")),
        "{lines:?}"
    );
}

#[test]
fn settings_that_cannot_be_added_are_errors() {
    let validated = |options: &str| {
        let manager = format!("http2_protocol_options: {{ {options} }}");
        let text = Config::new().manager(&manager).text();
        let ports = ["listener", "admin", "origin"];
        let text = ports.into_iter().zip(1..).fold(text, |text, (name, port)| {
            text.replace(&format!("@PORT:{name}@"), &port.to_string())
        });
        Ran::nuncio(["--mode", "validate", "--config-yaml", &text])
    };
    for (parameters, more, said) in [
        (
            "{ identifier: 4, value: 70000 }",
            "initial_stream_window_size: 70000",
            "setting 4 is said by 'initial_stream_window_size' too",
        ),
        (
            "{ identifier: 3, value: 7 }",
            "max_concurrent_streams: 7",
            "setting 3 is said by 'max_concurrent_streams' too",
        ),
        (
            "{ identifier: 1, value: 7 }",
            "hpack_table_size: 7",
            "setting 1 is said by 'hpack_table_size' too",
        ),
        ("{ identifier: 2, value: 1 }", "", "nothing is pushed"),
        ("{ identifier: 8, value: 0 }", "", "'allow_connect'"),
        ("{ identifier: 5, value: 16383 }", "", "not 16383"),
        (
            "{ identifier: 4, value: 2147483648 }",
            "",
            "at most 2147483647 bytes",
        ),
        (
            "{ identifier: 100, value: 7 }, { identifier: 100, value: 8 }",
            "",
            "setting 100 is to be 8, and 7",
        ),
        ("{ identifier: 65536, value: 7 }", "", "at most 65535"),
        ("{ identifier: 100 }", "", "missing field 'value'"),
    ] {
        let ran = validated(&format!(
            "custom_settings_parameters: [ {parameters} ], {more}"
        ));
        assert_eq!(ran.code, Some(1), "{parameters}");
        ran.says(said);
    }
    let ran = validated("custom_settings_parameters: [ { identifier: 3, value: 7 } ]");
    assert_eq!(ran.code, Some(0));
    ran.says("write 'max_concurrent_streams: 7'");
}

#[test]
fn upstreams_hear_settings_of_the_file() {
    let options = HTTP2.replace(
        "http2_protocol_options: {",
        &format!("http2_protocol_options: {{ {CUSTOM}"),
    );
    assert!(options.contains(CUSTOM), "{options}");
    let upstream = cluster("origin", &[endpoint("origin", "")], &options);
    let template = Config::new().cluster(upstream).text();
    let setup = Setup::for_template(&template);
    let port = setup.port("origin").unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let mut client = open(&proxy);
    client.send(&frames::get(1, "/"));
    let (mut stream, _) = listener.accept().unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut upstream = FrameConnection::over(stream);
    let said = first_settings(&mut upstream);
    assert!(behind_custom(&said).contains(&(2, 0)), "{said:?}");
    upstream.send(&frames::settings(&[]));
    let (lines, came) = upstream.read_until(|frame| frame.kind == kind::HEADERS);
    assert!(came, "{lines:?}");
    let status = frames::headers(1, flag::NONE, &[(":status", "200")]);
    upstream.send(&status);
    upstream.send(&frames::data(1, flag::END_STREAM, &[b'x'; 20_000]));
    let (lines, came) = client.read_until(|frame| frame.ends(1));
    assert!(came, "{lines:?}");
}

#[test]
fn a_message_in_many_frames_is_whole_where_few_may_wait() {
    const CHUNKS: usize = 50;
    // Smaller ones are more than the codec of the upstream takes unread.
    const CHUNK: [u8; 300] = [b'x'; 300];
    for (most, by) in [(1, HTTP2), (3, HTTP2), (10_000, HTTP2), (1, "")] {
        let limit = format!("max_outbound_frames: {most}");
        let options = by.replace(
            "http2_protocol_options: {",
            &format!("http2_protocol_options: {{ {limit}"),
        );
        let config = Config::new()
            .manager(&format!("http2_protocol_options: {{ {limit} }}"))
            .cluster(cluster("origin", &[endpoint("origin", "")], &options));
        let template = config.text();
        let setup = Setup::for_template(&template);
        let port = setup.port("origin").unwrap();
        let _http1 = by.is_empty().then(|| {
            let origin = Origin::start_on(port);
            origin.reply_with(std::iter::repeat_with(Reply::echo_chunks).take(4));
            origin
        });
        let _http2 = (!by.is_empty()).then(|| {
            let origin = H2Origin::start_on(port);
            origin.reply_with(std::iter::repeat_with(H2Reply::echo).take(4));
            origin
        });
        let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
        let mut client = open(&proxy);
        client.send(&frames::settings(&[]));
        let streams = [1, 3, 5, 7];
        let mut bytes = Vec::new();
        for stream in streams {
            bytes.extend(post(stream));
        }
        for chunk in 0..CHUNKS {
            for stream in streams {
                let ends = if chunk == CHUNKS - 1 {
                    flag::END_STREAM
                } else {
                    flag::NONE
                };
                bytes.extend(frames::data(stream, ends, &CHUNK));
            }
        }
        client.send(&bytes);
        let mut got = [0; 4];
        let mut open_streams = 4;
        let (lines, came) = client.read_until(|frame| {
            if frame.kind == kind::DATA {
                got[frame.stream as usize / 2] += frame.payload.len();
            }
            open_streams -= usize::from(streams.iter().any(|stream| frame.ends(*stream)));
            open_streams == 0
        });
        assert!(came, "{:?}", lines.last());
        let whole = CHUNKS * CHUNK.len();
        assert_eq!(got, [whole; 4], "{limit} to '{by}': {:?}", lines.last());
    }
}

/// An upstream whose streams have no window.
fn never_takes(port: u16) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut upstream = FrameConnection::over(stream.unwrap());
            upstream.send(&frames::settings(&[(4, 0)]));
            thread::spawn(move || while matches!(upstream.next(), Next::Frame(_)) {});
        }
    });
}

#[test]
fn who_leaves_or_is_copied_to_an_upstream_that_takes_nothing_keeps_no_place() {
    let mirrored = "{ match: { prefix: /copied }, route: { cluster: well, timeout: 0.2s, \
                    request_mirror_policies: [ { cluster: origin } ] } }";
    let template = Config::new()
        .cluster(cluster("origin", &[endpoint("origin", "")], HTTP2))
        .cluster(cluster("well", &[endpoint("well", "")], ""))
        .route(mirrored)
        .route("{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }")
        .text();
    let setup = Setup::for_template(&template);
    never_takes(setup.port("origin").unwrap());
    let _well = Origin::start_on(setup.port("well").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let listener = proxy.address("listener");
    let head = |path: &str, framing: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a.example\r\n{framing}\r\n\r\n").into_bytes()
    };
    let active = || stat(&proxy, "cluster.origin.upstream_rq_active");
    for (framing, body) in [
        ("content-length: 3000", vec![b'x'; 3000]),
        ("content-length: 900000", vec![b'x'; 900_000]),
        // It has not sent all that it promised.
        ("content-length: 900000", vec![b'x'; 100_000]),
        (
            "transfer-encoding: chunked",
            b"5\r\nhello\r\n0\r\n\r\n".to_vec(),
        ),
    ] {
        let mut client = Connection::open(listener);
        client.send(&[head("/", framing), body].concat());
        eventually("the request is with the upstream", || active() == 1);
        drop(client);
        eventually("nobody waits for it", || active() == 0);
    }
    for length in [3000, 100_000] {
        let mut client = Connection::open(listener);
        let framing = format!("content-length: {length}");
        let request = [head("/copied", &framing), vec![b'x'; length]].concat();
        assert_eq!(client.exchange(&request).status(), 200);
    }
    eventually("copies have the time of the route", || {
        stat(&proxy, "cluster.origin.upstream_rq_timeout") == 2
    });
    assert_eq!(active(), 0);
}

/// A window that stays closed keeps nothing back but content: the request has ended where the client has sent all
/// of it.
#[test]
fn what_an_upstream_does_not_take_does_not_hold_the_clock() {
    let upstream = cluster("origin", &[endpoint("origin", "")], HTTP2);
    // The times that run while a request comes have room for that.
    let template = Config::new()
        .cluster(upstream)
        .route("{ match: { prefix: /route }, route: { cluster: origin, timeout: 0.2s } }")
        .route("{ match: { prefix: /duration }, route: { cluster: origin, max_stream_duration: { max_stream_duration: 4s } } }")
        .route("{ match: { prefix: /idle }, route: { cluster: origin, idle_timeout: 4s } }")
        .route("{ match: { prefix: /try }, route: { cluster: origin, retry_policy: { retry_on: reset, per_try_timeout: 0.1s, num_retries: 1 } } }")
        .text();
    let setup = Setup::for_template(&template);
    never_takes(setup.port("origin").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let listener = proxy.address("listener");
    let mut http1 = Vec::new();
    let mut http2 = Vec::new();
    for path in ["/route", "/duration", "/idle", "/try"] {
        let framing = |length: usize| (format!("content-length: {length}"), vec![0; length]);
        let chunks = "5\r\nhello\r\n".repeat(100) + "0\r\nx: y\r\n\r\n";
        let chunked = ("transfer-encoding: chunked".to_owned(), chunks.into_bytes());
        let bodies = [100, 300_000, 900_000].map(framing);
        for (framing, body) in bodies.into_iter().chain([chunked]) {
            let mut client = Connection::open(listener);
            let head = format!("POST {path} HTTP/1.1\r\nhost: a.example\r\n{framing}\r\n\r\n");
            client.send(&[head.into_bytes(), body].concat());
            http1.push((format!("{path}, {framing}"), client));
        }
        let mut client = FrameConnection::open(listener);
        let head = frames::request("POST", path);
        client.send(&frames::headers(1, flag::NONE, &head));
        client.send(&frames::data(1, flag::NONE, &[0; 10_000]));
        client.send(&frames::data(1, flag::END_STREAM, &[0; 10_000]));
        http2.push((path, client));
    }
    for (name, mut client) in http1 {
        let answer = client.receive(Kind::Response).message();
        assert_eq!(answer.status(), 504, "{name}");
    }
    for (path, mut client) in http2 {
        let (lines, came) = client.read_until(|frame| frame.kind == kind::HEADERS);
        assert!(
            came && lines.iter().any(|line| line == "HEADERS 1 504"),
            "{path}: {lines:?}"
        );
    }
}

#[test]
fn a_stream_of_many_small_frames_that_nobody_reads_leaves_others_alone() {
    const FRAMES: usize = 20_000;
    let template = Config::new()
        .cluster(cluster("origin", &[endpoint("origin", "")], HTTP2))
        .text();
    let setup = Setup::for_template(&template);
    let listener = std::net::TcpListener::bind(("127.0.0.1", setup.port("origin").unwrap()));
    let listener = listener.unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let mut stalled = open(&proxy);
    // Its streams have no window.
    stalled.send(&frames::settings(&[(4, 0)]));
    stalled.send(&frames::get(1, "/"));
    let (mut socket, _) = listener.accept().unwrap();
    socket.read_exact(&mut [0; frames::PREFACE.len()]).unwrap();
    let mut upstream = FrameConnection::over(socket);
    upstream.send(&frames::settings(&[]));
    let asks = |stream| move |frame: &Frame| frame.kind == kind::HEADERS && frame.stream == stream;
    assert!(upstream.read_until(asks(1)).1);
    let ok = |stream, flags| frames::headers(stream, flags, &[(":status", "200")]);
    let bytes = frames::data(1, flag::NONE, b"x").repeat(FRAMES);
    assert!(upstream.send(&[ok(1, flag::NONE), bytes].concat()));
    let mut other = open(&proxy);
    for at in 0..3 {
        let (stream, behind) = (2 * at + 1, 2 * at + 3);
        other.send(&frames::get(stream, "/"));
        assert!(upstream.read_until(asks(behind)).1);
        upstream.send(&ok(behind, flag::END_STREAM));
        let (lines, came) = other.read_until(|frame| frame.ends(stream));
        assert!(came, "{lines:?}");
        assert_eq!(lines, [format!("HEADERS {stream} end 200")]);
    }
    upstream.send(&frames::data(1, flag::END_STREAM, b""));
    stalled.send(&frames::window(1, FRAMES as u32));
    let mut got = 0;
    let (_, came) = stalled.read_until(|frame| {
        got += if frame.kind == kind::DATA {
            frame.payload.len()
        } else {
            0
        };
        frame.ends(1)
    });
    assert_eq!((got, came), (FRAMES, true));
    assert_eq!(stat(&proxy, "cluster.origin.upstream_cx_total"), 1);
}

#[test]
fn nothing_of_a_body_of_another_length_goes_to_an_upstream() {
    let data = |flags, content: &[u8]| frames::data(1, flags, content);
    let (more, last) = (flag::NONE, flag::END_STREAM);
    let trailers = || frames::headers(1, last, &[("t", "v")]);
    let table = [
        ("0", vec![data(last, b"abc")], false),
        ("0", vec![data(more, b"abc"), data(last, b"")], false),
        ("0", vec![data(more, b""), data(last, b"abc")], false),
        ("0", vec![data(more, b"abc"), trailers()], false),
        ("5", vec![data(last, b"abcdef")], false),
        ("5", vec![data(more, b"abcde"), data(last, b"f")], false),
        ("5", vec![data(last, b"abc")], false),
        ("5", vec![data(more, b"abc"), data(last, b"")], false),
        ("5", vec![data(more, b"abc"), trailers()], false),
        ("5", vec![trailers()], false),
        ("0", vec![data(last, b"")], true),
        ("0", vec![trailers()], true),
        ("5", vec![data(more, b"abcde"), data(last, b"")], true),
        ("5", vec![data(more, b"abcde"), trailers()], true),
    ];
    for by in ["", HTTP2] {
        let config = Config::new().cluster(cluster("origin", &[endpoint("origin", "")], by));
        let template = config.text();
        let setup = Setup::for_template(&template);
        let port = setup.port("origin").unwrap();
        let http1 = by.is_empty().then(|| Origin::start_on(port));
        let http2 = (!by.is_empty()).then(|| H2Origin::start_on(port));
        let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
        for (length, body, is_sound) in &table {
            let mut fields = frames::request("POST", "/odd");
            fields.push(("content-length", length));
            let head = frames::headers(1, more, &fields);
            let mut client = open(&proxy);
            // In one piece, as all of it is to be seen at once.
            client.send(&[head, body.concat()].concat());
            let (lines, came) = client.read_until(|frame| frame.ends(1));
            assert!(came, "{lines:?}");
            let is_refused = lines == ["RST_STREAM 1 PROTOCOL_ERROR"];
            assert_eq!(is_refused, !is_sound, "{length} {body:x?}: {lines:?}");
            // What was passed on before is with the upstream by now.
            client.send(&frames::get(3, "/even"));
            assert!(client.read_until(|frame| frame.ends(3)).1);
        }
        let over_http1 = http1.iter().flat_map(Origin::take_requests);
        let over_http2 = http2.iter().flat_map(H2Origin::take_requests);
        let heads = over_http2.filter_map(|request| request.lines.into_iter().next());
        let asked: Vec<String> = over_http1
            .map(|request| request.start)
            .chain(heads)
            .collect();
        let odd = asked.iter().filter(|line| line.contains("/odd")).count();
        assert_eq!(odd, 4, "to '{by}': {asked:?}");
    }
}
