//! Bodies in many frames or of a length that is none, and upstreams and clients that take nothing of them.

use super::*;

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

/// Content whose end is known goes with it: of a length over HTTP/1, or with the last frame over HTTP/2.
#[test]
fn the_last_frame_of_a_body_ends_its_stream() {
    let template = Config::new()
        .cluster(cluster("http1", &[endpoint("http1", "")], ""))
        .cluster(cluster("http2", &[endpoint("http2", "")], HTTP2))
        .route("{ match: { prefix: /http1 }, route: { cluster: http1 } }")
        .route("{ match: { prefix: / }, route: { cluster: http2 } }")
        .text();
    let setup = Setup::for_template(&template);
    let listener = std::net::TcpListener::bind(("127.0.0.1", setup.port("http2").unwrap()));
    let listener = listener.unwrap();
    let origin = Origin::start_on(setup.port("http1").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &template, setup);
    let mut client = open(&proxy);
    let mut http1 = Connection::open(proxy.address("listener"));
    http1.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
    let (mut socket, _) = listener.accept().unwrap();
    socket.read_exact(&mut [0; frames::PREFACE.len()]).unwrap();
    let mut upstream = FrameConnection::over(socket);
    upstream.send(&frames::settings(&[]));
    let head = |stream| move |frame: &Frame| frame.kind == kind::HEADERS && frame.stream == stream;
    let mut answer = |stream: u32, begin: &mut dyn FnMut()| {
        assert!(upstream.read_until(head(stream)).1);
        begin();
        let (lines, came) = upstream.read_until(|frame| frame.ends(stream));
        assert!(came);
        assert_eq!(lines, [format!("DATA {stream} end hello")]);
        let ok = frames::headers(stream, flag::NONE, &[(":status", "200")]);
        let body = frames::data(stream, flag::END_STREAM, b"world");
        upstream.send(&[ok, body].concat());
    };
    // A body behind its head, one that comes along with it, and one of a client over HTTP/2.
    answer(1, &mut || http1.send(b"hello"));
    let receives = |http1: &mut Connection| http1.receive(Kind::Response).message().body;
    assert_eq!(receives(&mut http1), b"world");
    http1.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    answer(3, &mut || {});
    assert_eq!(receives(&mut http1), b"world");
    client.send(&[post(1), frames::data(1, flag::END_STREAM, b"hello")].concat());
    answer(5, &mut || {});
    let comes = |client: &mut FrameConnection, stream: u32| {
        let (lines, came) = client.read_until(|frame| frame.ends(stream));
        assert!(came, "{lines:?}");
        let end = format!("DATA {stream} end world");
        assert_eq!(lines, [format!("HEADERS {stream} 200"), end]);
    };
    comes(&mut client, 1);
    origin.reply_with([Reply::bytes(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld",
    )]);
    client.send(&frames::get(3, "/http1"));
    comes(&mut client, 3);
}
