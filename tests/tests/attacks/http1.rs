//! Attacks by HTTP/1.1 messages: too slow, too large, too many, or none at all.

use socket2::{Domain, Socket, Type};

use nuncio_tests::client::{Connection, Received};
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{Act, Gate, Reply};
use nuncio_tests::scene::get;
use nuncio_tests::{admin, eventually};

use crate::{SMALL, Target};

fn status(connection: &mut Connection) -> u16 {
    connection.receive(Kind::Response).message().status()
}

#[test]
fn heads_that_drip_are_answered_with_408() {
    let target = Target::start(&["stream_idle_timeout: 0.5s"]);
    target.withstands(SMALL, || {
        let mut all: Vec<_> = (0..200).map(|_| target.scene.connect()).collect();
        all.iter_mut()
            .for_each(|slow| slow.send(b"GET /direct HTTP/1.1\r\nHost: a.example\r\nX: "));
        eventually("every slow head is ended", || {
            let mut open = 0;
            for slow in &mut all {
                if !slow.has_ended() {
                    slow.send(b"x");
                    open += 1;
                }
            }
            open == 0
        });
        for slow in &mut all {
            assert_eq!(status(slow), 408);
        }
    });
}

/// What may become the beginning of HTTP/2 is the beginning of a method as well.
#[test]
fn what_may_be_of_either_protocol_has_the_time_of_a_head() {
    let target = Target::start(&["request_headers_timeout: 0.5s"]);
    target.withstands(SMALL, || {
        let mut all: Vec<_> = (0..200).map(|_| target.scene.connect()).collect();
        let parts = [("P", 408), ("PRI * HTTP/2.0\r\n", 400)];
        for (slow, (part, _)) in all.iter_mut().zip(parts.iter().cycle()) {
            slow.send(part.as_bytes());
        }
        for (slow, (_, wanted)) in all.iter_mut().zip(parts.iter().cycle()) {
            assert_eq!(status(slow), *wanted);
        }
    });
}

/// The time of a head begins with it, not with the end of the request before.
#[test]
fn who_was_idle_has_the_whole_time_for_the_next_head() {
    let target = Target::start(&[
        "stream_idle_timeout: 0.5s",
        "common_http_protocol_options: { idle_timeout: 100s }",
    ]);
    let mut client = target.scene.connect();
    assert_eq!(client.exchange(get("/direct", "").as_bytes()).status(), 200);
    // A head that was begun later is overdue: so long has the other been idle.
    let mut slow = target.scene.connect();
    slow.send(b"GET /direct HTTP/1.1\r\n");
    assert_eq!(status(&mut slow), 408);
    let received = || target.counter("downstream_cx_rx_bytes_total");
    let before = received();
    client.send(b"GET /direct HTTP/1.1\r\n");
    eventually("a part of the head was read", || received() > before);
    client.send(b"Host: a.example\r\n\r\n");
    assert_eq!(status(&mut client), 200);
}

#[test]
fn bodies_that_stop_are_answered_with_408() {
    let target = Target::start(&["stream_idle_timeout: 0.5s"]);
    target.withstands(SMALL, || {
        let mut all: Vec<_> = (0..200).map(|_| target.scene.connect()).collect();
        for slow in &mut all {
            slow.send(b"POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\nx");
        }
        for slow in &mut all {
            assert_eq!(status(slow), 408);
            assert!(matches!(slow.drain(), Received::Closed | Received::Reset));
        }
        assert_eq!(target.counter("downstream_rq_idle_timeout"), 200);
    });
}

#[test]
fn readers_that_stop_hold_back_their_upstreams_and_are_ended() {
    const READERS: usize = 40;
    const BODY: usize = 64 * 1024 * 1024;
    let target = Target::start(&["stream_idle_timeout: 1s"]);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
    let replies = (0..READERS).map(|_| Reply::bytes(&head).then(Act::Fill(BODY)));
    target.scene.origin.reply_with(replies);
    // What a connection may have in user space, 1 MiB, and what it reads at once.
    let limit = READERS as u64 * 1100 / 1024 + SMALL;
    target.withstands(limit, || {
        let all: Vec<_> = (0..READERS)
            .map(|_| {
                let mut deaf = target.scene.connect();
                deaf.send(get("/body", "").as_bytes());
                deaf
            })
            .collect();
        target.scene.origin.wait_for_requests(READERS);
        eventually("those who do not read are given up", || {
            target.counter("downstream_cx_active") <= 1
        });
        for mut deaf in all {
            let (read, _) = deaf.receive_to_end();
            assert!(read.len() < BODY, "the rest was never sent");
        }
    });
}

#[test]
fn who_is_told_to_continue_and_does_not_read_is_ended() {
    const CLIENTS: usize = 16;
    let target = Target::start(&["stream_idle_timeout: 0.5s"]);
    let head = "POST /direct HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n";
    let requests = format!("{head}Expect: 100-continue\r\n\r\n").repeat(200);
    target.withstands(SMALL, || {
        let deaf: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                // So that not many are needed until nothing more can be said, at any place.
                socket.set_recv_buffer_size(4096).unwrap();
                socket.connect(&target.scene.listener.into()).unwrap();
                let mut deaf = Connection::over(socket.into());
                // Not all of them at the same place.
                deaf.send(get("/direct", "").repeat(number).as_bytes());
                deaf.send_until_blocked(requests.as_bytes(), 64 * 1024 * 1024);
                deaf
            })
            .collect();
        eventually("those who do not read are given up", || {
            target.counter("downstream_cx_active") <= 1
        });
        drop(deaf);
    });
}

#[test]
fn requests_without_end_are_held_back_while_nobody_reads_the_answers() {
    let target = Target::start(&[]);
    target.withstands(SMALL, || {
        let mut deaf = target.scene.connect();
        let requests = get("/direct", "").repeat(1000);
        // What the kernel buffers on both sides is far below.
        let taken = deaf.send_until_blocked(requests.as_bytes(), 64 * 1024 * 1024);
        assert!(taken < 64 * 1024 * 1024, "the proxy stops reading");
        deaf.reset();
    });
}

#[test]
fn heads_that_are_too_large_are_refused_before_they_are_held() {
    let target = Target::start(&[]);
    let field = format!("x: {}\r\n", "y".repeat(1000));
    let bombs = [
        // One line without end.
        format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\nx: {}",
            "y".repeat(8 << 20)
        ),
        // Many lines.
        format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\n{}",
            field.repeat(8000)
        ),
        // Many small ones.
        format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\n{}",
            "x: y\r\n".repeat(200_000)
        ),
        // A target without end.
        format!("GET /{}", "y".repeat(8 << 20)),
    ];
    target.withstands(SMALL, || {
        for bomb in bombs.iter().cycle().take(40) {
            let mut connection = target.scene.connect();
            connection.send(bomb.as_bytes());
            // The end may cut off the answer, since the rest of the head is never read.
            match connection.receive(Kind::Response) {
                Received::Message(answer) => assert_eq!(answer.status(), 431),
                Received::Reset => {}
                other => panic!("{other:?}"),
            }
            assert!(matches!(
                connection.drain(),
                Received::Closed | Received::Reset
            ));
        }
    });
}

#[test]
fn chunks_of_hardly_anything_but_framing_are_refused() {
    let target = Target::start(&[]);
    let head = "POST /up HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = format!("1;{}\r\nx\r\n", "y".repeat(4000)).repeat(2000);
    let trailers = format!("0\r\n{}", "x: y\r\n".repeat(200_000));
    target.withstands(SMALL, || {
        for body in [extension, trailers] {
            let mut connection = target.scene.connect();
            connection.send(head.as_bytes());
            connection.send(body.as_bytes());
            match connection.receive(Kind::Response) {
                Received::Message(answer) => assert!(matches!(answer.status(), 400 | 431)),
                Received::Reset => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn garbage_is_answered_with_400_or_not_at_all() {
    let target = Target::start(&[]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut garbage = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    target.withstands(SMALL, || {
        for round in 0..400 {
            let mut connection = target.scene.connect();
            let mut bytes = Vec::new();
            match round % 4 {
                1 => bytes.extend(b"GET / HTTP/1.1\r\nHost: a.example\r\n"),
                2 => bytes.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                3 => bytes.extend(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
                _ => {}
            }
            (0..128).for_each(|_| bytes.extend(garbage()));
            connection.send(&bytes);
            connection.half_close();
            let (answer, end) = connection.receive_to_end();
            assert!(matches!(end, Received::Closed | Received::Reset), "{end:?}");
            // Over HTTP/2 it is a GOAWAY.
            if round % 4 != 2 {
                let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 4");
                assert!(refused, "{}", answer.escape_ascii());
            }
        }
    });
}

/// An origin that does not answer its next request, as long as anybody waits for the proxy and the gate is
/// not opened.
fn silent_origin(target: &Target) -> Gate {
    let gate = Gate::default();
    let wait = || Act::Wait(gate.clone());
    let reply = Reply::nothing().at_head();
    let reply = reply.then(wait()).then(wait()).then(wait());
    target.scene.origin.reply_with([reply]);
    gate
}

#[test]
fn clients_that_leave_behind_what_they_have_sent_ahead_are_noticed() {
    // More than is read ahead, and less than sockets take.
    const AHEAD: usize = 64 * 1024;
    for target in [Target::start(&[]), Target::start_over_tls()] {
        for resets in [true, false] {
            let gate = silent_origin(&target);
            let before = target.counter("downstream_cx_rx_bytes_total");
            let mut client = target.connect();
            client.send(get("/up", "").as_bytes());
            client.send(&[b'x'; AHEAD]);
            eventually("as much is read as is read ahead", || {
                target.counter("downstream_cx_rx_bytes_total") - before > 16 * 1024
            });
            let waiting = || admin::stat(&target.scene.proxy, "cluster.origin.upstream_rq_active");
            eventually("the request is with the upstream", || waiting() == 1);
            if resets {
                client.reset();
            } else {
                client.half_close();
                eventually("the request is let go of", || waiting() == 0);
                drop(client);
            }
            target.expect_idle();
            gate.open();
        }
    }
}

#[test]
fn a_client_that_resets_its_connection_in_an_upload_that_is_held_back_is_noticed() {
    for target in [Target::start(&[]), Target::start_over_tls()] {
        let gate = silent_origin(&target);
        let mut client = target.connect();
        client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n");
        client.send_until_blocked(&[b'x'; 64 * 1024], 1_000_000_000);
        client.reset();
        target.expect_idle();
        gate.open();
    }
}
