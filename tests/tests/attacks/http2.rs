//! Attacks by HTTP/2 frames: floods of each kind, bombs, and windows that never open.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use nuncio_tests::frames::{self, FrameConnection, flag, kind};
use nuncio_tests::origin::{Act, Gate, Reply};
use nuncio_tests::{admin, eventually};
use socket2::SockRef;

use crate::{SMALL, Target};

/// Frames of one flood at most; who has taken that many has not ended it.
const FLOOD: usize = 200_000;
/// A write that is blocked for so long is one that the proxy does not read.
const BLOCKED: Duration = Duration::from_secs(1);

/// How a flood ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The proxy ended the connection.
    Ended,
    /// It stopped reading.
    Blocked,
    /// It took all.
    Taken,
}

/// Sends what `frames` makes of 0, 1, 2, … until the proxy takes no more. `reads`: whether the
/// client reads what comes back meanwhile; one that does not has little room for it, and sends more
/// than fits the kernel's buffers. How it ended, and the lines that were read.
fn flood(
    connection: &mut FrameConnection,
    reads: bool,
    frames: impl Fn(u32) -> Vec<u8> + Send,
) -> (End, Vec<String>) {
    const AT_ONCE: usize = 500;
    let count = if reads { FLOOD } else { 10 * FLOOD };
    let mut socket = connection.socket();
    if !reads {
        let room = SockRef::from(&socket).set_recv_buffer_size(64 * 1024);
        room.unwrap();
    }
    socket.set_write_timeout(Some(BLOCKED)).unwrap();
    let end = thread::scope(|scope| {
        let reader = reads.then(|| scope.spawn(|| connection.read_to_end()));
        let mut end = End::Taken;
        for start in (0..count).step_by(AT_ONCE) {
            let numbers = start..start + AT_ONCE;
            let bytes: Vec<u8> = numbers.flat_map(|number| frames(number as u32)).collect();
            if let Err(error) = socket.write_all(&bytes) {
                let blocked = matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                end = if blocked { End::Blocked } else { End::Ended };
                break;
            }
        }
        // Nothing more is said, so that the reader comes to its end.
        drop(socket.shutdown(std::net::Shutdown::Write));
        (end, reader.map(|reader| reader.join().unwrap()))
    });
    match end {
        (end, Some(lines)) => (end, lines),
        (end, None) => (end, connection.read_to_end()),
    }
}

/// A client's streams are the odd numbers.
fn stream(number: u32) -> u32 {
    number * 2 + 1
}

/// Floods a fresh connection and expects that the proxy ends it.
fn expect_end(fields: &[&str], reads: bool, frames: impl Fn(u32) -> Vec<u8> + Send) {
    let target = Target::start(fields);
    target.withstands(SMALL, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        let (end, lines) = flood(&mut connection, reads, frames);
        assert_eq!(end, End::Ended, "{:?}", lines.last());
    });
}

#[test]
fn streams_that_are_reset_at_once_end_the_connection() {
    let target = Target::start(&[]);
    target
        .scene
        .origin
        .reply_with((0..FLOOD).map(|_| Reply::nothing().then(Act::Hang)));
    target.withstands(SMALL, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        let (end, lines) = flood(&mut connection, true, |number| {
            let stream = stream(number);
            [frames::get(stream, "/up"), frames::reset(stream, 8)].concat()
        });
        assert_eq!(end, End::Ended);
        assert!(
            lines.contains(&"GOAWAY ENHANCE_YOUR_CALM".to_owned()),
            "{lines:?}"
        );
    });
    let reached = target.scene.origin.arrived();
    assert!(reached < FLOOD / 20, "{reached} requests went upstream");
}

#[test]
fn a_head_that_goes_on_in_continuations_ends_the_connection() {
    expect_end(&[], true, |number| {
        if number == 0 {
            let head = frames::block(&frames::request("GET", "/direct"));
            frames::frame(kind::HEADERS, flag::END_STREAM, 1, &head)
        } else {
            let part = frames::block(&[("x", "y")]).repeat(20);
            frames::frame(kind::CONTINUATION, flag::NONE, 1, &part)
        }
    });
}

#[test]
fn a_head_that_goes_on_in_empty_continuations_ends_the_connection() {
    expect_end(&[], true, |number| {
        if number == 0 {
            let head = frames::block(&frames::request("GET", "/direct"));
            frames::frame(kind::HEADERS, flag::END_STREAM, 1, &head)
        } else {
            frames::frame(kind::CONTINUATION, flag::NONE, 1, b"")
        }
    });
}

/// Answers that nobody reads: the proxy reads no further, or ends the connection.
fn expect_back_pressure(frames: impl Fn(u32) -> Vec<u8> + Send) {
    let target = Target::start(&[]);
    target.withstands(SMALL, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        let (end, _) = flood(&mut connection, false, frames);
        assert_ne!(end, End::Taken);
    });
}

#[test]
fn pings_whose_answers_nobody_reads_are_held_back() {
    expect_back_pressure(|number| frames::ping(u64::from(number).to_be_bytes()));
}

#[test]
fn settings_whose_acknowledgements_nobody_reads_are_held_back() {
    expect_back_pressure(|_| frames::settings(&[(3, 100)]));
}

#[test]
fn priorities_end_the_connection() {
    expect_end(&[], true, |_| frames::priority(1));
}

#[test]
fn window_updates_end_the_connection() {
    expect_end(&[], true, |_| frames::window(0, 1));
}

#[test]
fn empty_data_ends_the_connection() {
    expect_end(&[], true, |number| {
        if number == 0 {
            frames::headers(1, flag::NONE, &frames::request("POST", "/up"))
        } else {
            frames::data(1, flag::NONE, b"")
        }
    });
}

#[test]
fn frames_of_unknown_kinds_cost_nothing() {
    let target = Target::start(&[]);
    target.withstands(SMALL, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        let (_, lines) = flood(&mut connection, true, |_| {
            frames::frame(0x77, flag::NONE, 0, &[0; 64])
        });
        assert!(!lines.contains(&"[silence]".to_owned()), "{lines:?}");
    });
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let target = Target::start(&["http2_protocol_options: { max_concurrent_streams: 100 }"]);
    target
        .scene
        .origin
        .reply_with((0..200).map(|_| Reply::nothing().at_head().then(Act::Hang)));
    target.withstands(SMALL, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        let (_, lines) = flood(&mut connection, true, |number| {
            frames::headers(stream(number), flag::NONE, &frames::request("POST", "/up"))
        });
        let refused = lines
            .iter()
            .any(|line| line.ends_with("REFUSED_STREAM") || line.starts_with("GOAWAY"));
        assert!(refused, "{:?}", lines.first());
    });
    let reached = target.scene.origin.arrived();
    assert!(reached <= 100, "{reached} requests went upstream");
}

#[test]
fn an_entry_of_the_header_table_that_is_used_without_end_is_not_unpacked() {
    let target = Target::start(&[]);
    let value = "y".repeat(3900);
    let mut bomb = frames::block(&frames::request("GET", "/direct"));
    // A literal that enters the table (RFC 7541 §6.2.1), then its index, 62, in one byte each.
    bomb.extend([0x40, 1, b'x', 0x7f, 0xbd, 0x1d]);
    bomb.extend(value.as_bytes());
    bomb.extend([0x80 | 62; 12_000]);
    let mut again = frames::block(&frames::request("GET", "/direct"));
    again.extend([0x80 | 62; 16_000]);
    target.withstands(SMALL, || {
        for _ in 0..10 {
            let mut connection = FrameConnection::open(target.scene.listener);
            connection.send(&frames::frame(kind::HEADERS, 5, 1, &bomb));
            for stream in (3..101).step_by(2) {
                connection.send(&frames::frame(kind::HEADERS, 5, stream, &again));
            }
            // Each of them is refused, or all of them at once.
            let (lines, _) = connection.sync();
            assert!(!lines.is_empty());
            for line in lines {
                let served = line.starts_with("HEADERS") && line.ends_with("200");
                assert!(!served, "{line}");
            }
        }
    });
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let target = Target::start(&[]);
    target.withstands(SMALL, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        let value = "y".repeat(1000);
        let many = vec![("x", value.as_str()); 15];
        let (first, rest) = (frames::request("GET", "/direct"), frames::block(&many));
        connection.send(&frames::frame(
            kind::HEADERS,
            flag::END_STREAM,
            1,
            &frames::block(&first),
        ));
        for number in 0..5 {
            let last = if number == 4 { flag::END_HEADERS } else { 0 };
            connection.send(&frames::frame(kind::CONTINUATION, last, 1, &rest));
        }
        let (lines, _) = connection.read_until(|frame| frame.ends(1));
        let refused = lines.iter().any(|line| {
            line.ends_with("431") || line.starts_with("RST_STREAM") || line.starts_with("GOAWAY")
        });
        assert!(refused, "{lines:?}");
        // And too many of them.
        let mut connection = FrameConnection::open(target.scene.listener);
        let mut fields = first.clone();
        fields.extend([("x", "y"); 200]);
        connection.send(&frames::headers(1, flag::END_STREAM, &fields));
        let (lines, _) = connection.read_until(|frame| frame.ends(1));
        assert!(!lines.iter().any(|line| line.ends_with("200")), "{lines:?}");
    });
}

#[test]
fn windows_that_never_open_hold_back_the_upstreams() {
    const STREAMS: u32 = 100;
    const BODY: usize = 16 * 1024 * 1024;
    let target = Target::start(&["stream_idle_timeout: 1s"]);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
    let replies = (0..STREAMS).map(|_| Reply::bytes(&head).then(Act::Fill(BODY)));
    target.scene.origin.reply_with(replies);
    // A stream holds what its upstream's connection was read for, at most 64 KiB and a little.
    let limit = u64::from(STREAMS) * 200 / 1024 + SMALL;
    target.withstands(limit, || {
        let mut connection = FrameConnection::open(target.scene.listener);
        connection.send(&frames::settings(&[(4, 0)]));
        (0..STREAMS).for_each(|number| {
            connection.send(&frames::get(stream(number), "/body"));
        });
        // Their idle timeout ends them, although they have data to send.
        let mut ended = 0;
        let (lines, came) = connection.read_until(|frame| {
            ended += u32::from(frame.kind == kind::RST_STREAM);
            ended == STREAMS
        });
        assert!(came, "{:?}", lines.last());
    });
}

/// An upload that its upstream does not read: what the proxy takes of it has come, and nothing more goes
/// on. The upstream reads when the gate opens.
fn held_upload(target: &Target) -> (FrameConnection, Gate) {
    // More than sockets hold, and less than the stream's window.
    const FRAMES: usize = 15 * 64;
    let gate = Gate::default();
    // Longer than anybody waits for the proxy.
    let wait = || Act::Wait(gate.clone());
    let reply = Reply::nothing().at_head();
    let reply = reply.then(wait()).then(wait()).then(wait());
    target.scene.origin.reply_with([reply]);
    let mut connection = FrameConnection::open(target.scene.listener);
    // The windows are those of the configuration from then on.
    connection.sync();
    connection.send(&frames::frame(kind::SETTINGS, flag::ACK, 0, b""));
    let head = frames::request("POST", "/held");
    connection.send(&frames::headers(1, flag::NONE, &head));
    let part = frames::data(1, flag::NONE, &[b'x'; 16 * 1024]);
    for _ in 0..FRAMES {
        assert!(connection.send(&part), "the window is not used up");
    }
    let (lines, lives) = connection.sync();
    assert!(lives, "{lines:?}");
    let gauge = "cluster.origin.upstream_rq_active";
    assert_eq!(admin::stat(&target.scene.proxy, gauge), 1, "it waits");
    (connection, gate)
}

#[test]
fn a_client_that_resets_an_upload_that_is_held_back_is_noticed() {
    let target = Target::start(&["stream_idle_timeout: 0s"]);
    let (mut connection, gate) = held_upload(&target);
    connection.send(&frames::reset(1, 8));
    let gauge = "cluster.origin.upstream_rq_active";
    eventually("the request is let go of", || {
        admin::stat(&target.scene.proxy, gauge) == 0
    });
    // The others of its connection go on.
    connection.send(&frames::get(3, "/direct"));
    let (lines, came) = connection.read_until(|frame| frame.ends(3));
    assert!(came, "{lines:?}");
    drop(connection);
    target.expect_idle();
    assert_eq!(target.counter("downstream_rq_rx_reset"), 1);
    gate.open();
}

#[test]
fn a_client_whose_connection_ends_in_an_upload_that_is_held_back_is_noticed() {
    let target = Target::start(&["stream_idle_timeout: 0s"]);
    let (connection, gate) = held_upload(&target);
    drop(connection);
    target.expect_idle();
    gate.open();
}

#[test]
fn handshakes_that_stop_are_ended() {
    let target = Target::start(&[
        "common_http_protocol_options: { idle_timeout: 0.5s }",
        // A part of the preface may be the beginning of another head.
        "stream_idle_timeout: 0.5s",
        "drain_timeout: 0.1s",
    ]);
    target.withstands(SMALL, || {
        let mut all: Vec<_> = (0..200).map(|_| target.scene.connect()).collect();
        for (number, slow) in all.iter_mut().enumerate() {
            slow.send(&frames::PREFACE[..number % (frames::PREFACE.len() + 1)]);
        }
        eventually("all are ended", || {
            all.iter_mut().all(|slow| slow.has_ended())
        });
    });
}
