//! Responses that a fault slows down: all of them comes, in its order, and nobody else waits.

use nuncio_tests::admin;
use nuncio_tests::client::Received;
use nuncio_tests::config::{self, Config};
use nuncio_tests::eventually;
use nuncio_tests::h2_client::{self, H2Send};
use nuncio_tests::message::Kind;
use nuncio_tests::origin::Reply;
use nuncio_tests::scene::Scene;

const RATE: &str = "x-envoy-fault-throughput-response";

/// As many KiB in a second as the request says.
fn config() -> Config {
    let limit = "response_rate_limit: { header_limit: {}, percentage: { numerator: 100 } }";
    Config::new()
        .filter(config::filter("http.fault.v3.HTTPFault", limit))
        .manager("use_remote_address: false")
        .manager("http_protocol_options: { enable_trailers: true }")
        .log("%RESPONSE_CODE% %BYTES_SENT% %RESPONSE_FLAGS%")
        .cluster(config::cluster(
            "origin",
            &[config::endpoint("origin", "")],
            config::HTTP1_TRAILERS,
        ))
}

fn count(scene: &Scene, name: &str) -> u64 {
    admin::stat(&scene.proxy, &format!("http.ingress.{name}"))
}

fn content(length: usize) -> String {
    ('a'..='z').cycle().take(length).collect()
}

fn chunked(content: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = content.len();
    Reply::bytes(format!(
        "{head}{length:x}\r\n{content}\r\n0\r\nx-last: yes\r\n\r\n"
    ))
}

/// The lengths of the chunks of a body of letters.
fn chunks(body: &[u8]) -> Vec<usize> {
    let body = std::str::from_utf8(body).expect("the content is text");
    let (body, _) = body.split_once("\r\n0\r\n").expect("there is a last chunk");
    let mut lines = body.split("\r\n");
    let mut lengths = Vec::new();
    while let (Some(length), Some(chunk)) = (lines.next(), lines.next()) {
        let length = usize::from_str_radix(length, 16).expect("a length is a number");
        assert_eq!(length, chunk.len());
        lengths.push(length);
    }
    lengths
}

#[test]
fn no_piece_is_more_than_a_second_saves_and_trailers_are_last() {
    let scene = Scene::start(&config());
    let content = content(2100);
    scene.origin.reply_with([chunked(&content)]);
    let mut client = scene.connect();
    let head = format!("GET / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\n{RATE}: 1\r\n\r\n");
    client.send(head.as_bytes());
    client.wait_for(b"\r\n0\r\nx-last: yes\r\n\r\n");
    client.half_close();
    let (bytes, _) = client.receive_to_end();
    let split = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let body = &bytes[split.expect("a head ends") + 4..];
    let lengths = chunks(body);
    assert_eq!(lengths.iter().sum::<usize>(), content.len());
    assert!(lengths.iter().all(|length| *length <= 1024), "{lengths:?}");
    assert!(lengths.len() > 2, "{lengths:?}");
    assert_eq!(count(&scene, "fault.response_rl_injected"), 1);
    assert_eq!(scene.stop().log, "200 2100 -\n");
}

#[test]
fn what_is_slow_keeps_nobody_else_and_ends_with_its_client() {
    let scene = Scene::start(&config());
    let body = "x".repeat(100_000);
    let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{body}");
    scene.origin.reply_with([Reply::bytes(reply)]);
    let mut first = scene.connect();
    first.send(format!("GET /first HTTP/1.1\r\nHost: a.example\r\n{RATE}: 1\r\n\r\n").as_bytes());
    first.wait_for(b"\r\n\r\nx");
    assert_eq!(count(&scene, "fault.active_faults"), 1);
    assert_eq!(scene.get("/second", "").status(), 200);
    drop(first);
    eventually("it ends with its client", || {
        count(&scene, "downstream_rq_active") == 0 && count(&scene, "fault.active_faults") == 0
    });
}

#[test]
fn timeouts_are_over_once_all_of_it_has_come_and_pieces_are_no_idleness() {
    let config = config()
        .manager("stream_idle_timeout: 2s")
        .route("{ match: { prefix: / }, route: { cluster: origin, timeout: 2s } }");
    let scene = Scene::start(&config);
    let content = content(3600);
    scene.origin.reply_with([chunked(&content)]);
    let answer = scene.get("/", &format!("{RATE}: 1\r\n"));
    assert_eq!((answer.status(), answer.complete), (200, true));
    assert_eq!(answer.text(), content);
}

#[test]
fn any_response_can_be_slow() {
    let config = config()
        .route("{ match: { path: /own }, direct_response: { status: 404, body: { inline_string: own } } }")
        .route("{ match: { path: /empty }, direct_response: { status: 204 } }")
        .route("{ match: { prefix: / }, route: { cluster: origin } }");
    let scene = Scene::start(&config);
    let line = format!("{RATE}: 9\r\n");
    for (path, status, text) in [("/own", 404, "own"), ("/empty", 204, ""), ("/", 200, "ok")] {
        let answer = scene.get(path, &line);
        assert_eq!((answer.status(), answer.text().as_str()), (status, text));
        let plain = H2Send::new("GET", path);
        let [plain, slow] = [plain.clone(), plain.header(RATE, "9")].map(|request| {
            let mut lines = h2_client::send(scene.listener, &request);
            lines.retain(|line| !line.starts_with("x-envoy-upstream") && !line.starts_with("date"));
            lines
        });
        assert_eq!(slow, plain, "{path}");
    }
    let mut client = scene.connect();
    client.send(format!("HEAD / HTTP/1.1\r\nHost: a.example\r\n{line}\r\n").as_bytes());
    let head = client.receive(Kind::ResponseToHead).message();
    assert_eq!(head.header("content-length"), Some("2"));
    let next = client.exchange(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(next.text(), "ok", "the connection goes on");
    assert_eq!(count(&scene, "fault.response_rl_injected"), 7);
}

#[test]
fn an_upstream_that_breaks_off_is_told_behind_what_came() {
    let scene = Scene::start(&config());
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it";
    scene.origin.reply_with([Reply::bytes(reply).close()]);
    let mut client = scene.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{RATE}: 9\r\n\r\n").as_bytes());
    let (bytes, end) = client.receive_to_end();
    assert!(bytes.ends_with(b"half of it"), "{}", bytes.escape_ascii());
    assert!(matches!(end, Received::Closed), "{end:?}");
}
