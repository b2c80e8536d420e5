//! Bodies that one filter holds whole, and others see in chunks; and those that a filter makes longer or
//! shorter than their head says.

use std::time::Duration;

use nuncio_tests::admin;
use nuncio_tests::client::Received;
use nuncio_tests::config::{self, Config, HTTP2, cluster, endpoint};
use nuncio_tests::h2_client::{self, H2Send};
use nuncio_tests::h2_origin::H2Origin;
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{ECHO_PATH, Reply};
use nuncio_tests::scene::Scene;
use nuncio_tests::{eventually, pause};

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
    let config = config(false).manager("stream_idle_timeout: 2.5s");
    let scene = Scene::start(&config);
    let head = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\n";
    let [mut slow, mut stops] = [scene.connect(), scene.connect()];
    slow.send(head);
    stops.send(&[&head[..], b"123"].concat());
    for byte in b"1234" {
        // Less than the stream may be idle, and more in all.
        pause(Duration::from_millis(800));
        slow.send(&[*byte]);
    }
    let kind = Kind::Response;
    assert_eq!(slow.receive(kind).message().status(), 200);
    // One that stops is given up.
    assert_eq!(stops.receive(kind).message().status(), 408);
    eventually("it is counted", || {
        admin::stat(&scene.proxy, "http.ingress.downstream_rq_idle_timeout") == 1
    });
}

/// A filter that leaves the head of a request or a response as it is, and does that to each chunk.
fn changes(direction: &str, how: &str) -> Config {
    let script = format!("wants on-{direction}-body\non-{direction}-body {how}");
    Config::new()
        .filter(config::guest("careless", "script", &script, ""))
        .log("%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")
}

const LONGER: &str = "upper-body -and-more";
const SHORTER: &str = "replace-body x";

/// Waits for the log's one line, and looks whether the filter is named beside it.
fn expect_told(scene: &Scene, line: &str) {
    let path = scene.proxy.directory().join("access.log");
    eventually("the request is logged", || {
        std::fs::read_to_string(&path).is_ok_and(|log| log.contains('\n'))
    });
    let log = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(log.trim_end(), line);
    eventually("the log names the filter", || {
        let told = "behind [\"careless\"]: a filter that changes";
        scene.proxy.output().contains(told)
    });
}

#[test]
fn a_request_of_another_length_than_it_says_is_no_request() {
    let hedged = "{ match: { prefix: / }, route: { cluster: origin, timeout: 0s, \
                  hedge_policy: { hedge_on_per_try_timeout: true }, \
                  retry_policy: { retry_on: reset, per_try_timeout: 3600s } } }";
    let plain = "{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }";
    for how in [LONGER, SHORTER] {
        for route in [plain, hedged] {
            let scene = Scene::start(&changes("request", how).route(route));
            let answer = scene.post("/", "", "hello");
            assert_eq!(answer.status(), 503, "{how} {route}");
            expect_told(&scene, "503 body_length_changed");
            let whole = scene.origin.take_requests();
            let whole: Vec<_> = whole.iter().filter(|request| request.complete).collect();
            assert!(whole.is_empty(), "{how} {route}: {whole:?}");
        }
    }
}

#[test]
fn nor_is_it_one_over_http2() {
    for how in [LONGER, SHORTER] {
        let config =
            changes("request", how).cluster(cluster("origin", &[endpoint("h2origin", "")], HTTP2));
        let scene = Scene::start(&config);
        let upstream = H2Origin::start_on(scene.port("h2origin"));
        let answer = scene.post("/", "", "hello");
        assert_eq!(answer.status(), 503, "{how}");
        expect_told(&scene, "503 body_length_changed");
        let mut seen = Vec::new();
        eventually("the upstream has seen the stream end", || {
            seen.extend(upstream.take_requests());
            !seen.is_empty()
        });
        let last = seen[0].lines.last().expect("a line for the body");
        assert!(last.contains("stream error"), "{how}: {last}");
    }
}

#[test]
fn a_response_of_another_length_than_it_says_breaks_off() {
    for how in [LONGER, SHORTER] {
        let scene = Scene::start(&changes("response", how));
        let hello = || Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        scene.origin.reply_with([hello(), hello()]);
        let mut client = scene.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        if let Received::Message(answer) = client.receive(Kind::Response) {
            assert!(!answer.complete, "{how}: {answer:?}");
        }
        assert!(matches!(client.drain(), Received::Closed | Received::Reset));
        expect_told(&scene, "200 body_length_changed");
        let answer = h2_client::send(scene.listener, &H2Send::new("GET", "/"));
        let last = answer.last().map(String::as_str);
        assert_eq!(last, Some("[stream reset] INTERNAL_ERROR"), "{how}");
    }
}

#[test]
fn a_filter_that_takes_the_length_out_may_change_it() {
    for direction in ["request", "response"] {
        let script = format!(
            "wants on-{direction}-headers on-{direction}-body\n\
             on-{direction}-headers remove {direction}-headers content-length\n\
             on-{direction}-body {LONGER}"
        );
        let config = Config::new().filter(config::guest("careful", "script", &script, ""));
        let scene = Scene::start(&config);
        let answer = scene.post(ECHO_PATH, "", "hello");
        assert_eq!(answer.status(), 200, "{direction}");
        assert!(answer.text().starts_with("HELLO-and-more"), "{direction}");
    }
}
