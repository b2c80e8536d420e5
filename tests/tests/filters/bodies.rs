//! Bodies that one filter holds whole, and others see in chunks.

use nuncio_tests::admin;
use nuncio_tests::config::{self, Config};
use nuncio_tests::eventually;
use nuncio_tests::origin::{Act, ECHO_PATH, Reply};
use nuncio_tests::scene::Scene;

const MIB: usize = 1024 * 1024;

/// `buffer`, and a filter with little memory that counts the chunks it is shown.
fn config(count_first: bool) -> Config {
    let buffer = config::filter("http.buffer.v3.Buffer", "max_request_bytes: 8388608");
    let script = "wants on-request-body\non-request-body add chunks 1";
    let count = config::guest("count", "script", script, ", limits: { memory: 4MiB }");
    let filters = if count_first {
        [count, buffer]
    } else {
        [buffer, count]
    };
    filters
        .into_iter()
        .fold(Config::new(), |config, filter| config.filter(filter))
}

#[test]
fn a_body_that_is_held_is_shown_in_chunks_that_a_guest_has_room_for() {
    let body = "0123456789abcdef".repeat(6 * MIB / 16);
    for count_first in [true, false] {
        let scene = Scene::start(&config(count_first));
        let answer = scene.post(ECHO_PATH, "", &body);
        assert_eq!(answer.status(), 200, "{count_first}");
        assert!(answer.body == body.as_bytes(), "{count_first}");
        // A quarter of a MiB each.
        assert_eq!(admin::stat(&scene.proxy, "chunks"), 24, "{count_first}");
    }
}

#[test]
fn a_body_that_is_held_may_take_its_time_while_it_comes() {
    let config = config(false).manager("stream_idle_timeout: 1s");
    let scene = Scene::start(&config);
    let mut client = scene.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8\r\n\r\n");
    for byte in b"12345678" {
        // Less than the stream may be idle, and much more in all.
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        client.send(&[*byte]);
    }
    let kind = nuncio_tests::message::Kind::Response;
    assert_eq!(client.receive(kind).message().status(), 200);
    // One that stops is given up.
    scene.origin.reply_with([Reply::nothing().then(Act::Hang)]);
    let mut client = scene.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8\r\n\r\n1234");
    assert_eq!(client.receive(kind).message().status(), 408);
    eventually("it is counted", || {
        admin::stat(&scene.proxy, "http.ingress.downstream_rq_idle_timeout") == 1
    });
}
