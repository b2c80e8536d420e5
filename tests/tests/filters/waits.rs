//! Filters that let time pass before a request goes on.

use nuncio_tests::admin;
use nuncio_tests::client::Received;
use nuncio_tests::config::{self, Config};
use nuncio_tests::eventually;
use nuncio_tests::frames::{self, FrameConnection};
use nuncio_tests::message::Kind;
use nuncio_tests::scene::Scene;

const HOUR: &str = "x-envoy-fault-delay-request: 3600000\r\n";

fn scene() -> Scene {
    let fault = config::filter(
        "http.fault.v3.HTTPFault",
        "delay: { header_delay: {}, percentage: { numerator: 100 } }",
    );
    Scene::start(
        &Config::new()
            .filter(fault)
            .manager("use_remote_address: false"),
    )
}

fn count(scene: &Scene, name: &str) -> u64 {
    admin::stat(&scene.proxy, &format!("http.ingress.{name}"))
}

#[test]
fn who_waits_keeps_nobody_else_and_ends_with_its_client() {
    let scene = scene();
    let mut first = scene.connect();
    first.send(format!("GET /first HTTP/1.1\r\nHost: a.example\r\n{HOUR}\r\n").as_bytes());
    eventually("the first request waits", || {
        count(&scene, "fault.delays_injected") == 1
    });
    assert_eq!(scene.get("/second", "").status(), 200);
    eventually("the first one alone is there", || {
        count(&scene, "downstream_rq_active") == 1
    });
    drop(first);
    eventually("it ends with its client", || {
        count(&scene, "downstream_rq_active") == 0
    });
    assert_eq!(count(&scene, "downstream_rq_rx_reset"), 1);
}

#[test]
fn who_waits_for_no_time_again_and_again_keeps_nobody_else() {
    let script = "wants on-request-headers\non-request-headers wait 0\non-resume wait 0";
    let off = "\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true";
    let config = Config::new()
        .filter(config::guest("loop", "script", script, ""))
        .route("{ match: { prefix: /loop }, route: { cluster: origin } }")
        .route(format!(
            "{{ match: {{ prefix: / }}, route: {{ cluster: origin }}, \
             typed_per_filter_config: {{ loop: {{ {off} }} }} }}"
        ));
    let scene = Scene::start(&config);
    let mut first = scene.connect();
    first.send(b"GET /loop HTTP/1.1\r\nHost: a.example\r\n\r\n");
    eventually("the first request is there", || {
        count(&scene, "downstream_rq_active") == 1
    });
    assert_eq!(scene.get("/", "").status(), 200);
    // In the end it has waited often enough, which is a failure of the filter.
    let Received::Message(answer) = first.receive(Kind::Response) else {
        panic!("no answer");
    };
    assert_eq!(answer.status(), 503);
    assert_eq!(admin::stat(&scene.proxy, "wasm.loop.invalid_answers"), 1);
}

#[test]
fn who_goes_while_a_request_waits_that_has_not_come_whole_ends_it() {
    let scene = scene();
    let mut first = scene.connect();
    let open =
        format!("POST /first HTTP/1.1\r\nHost: a.example\r\ncontent-length: 9\r\n{HOUR}\r\n1");
    first.send(open.as_bytes());
    let mut second = FrameConnection::open(scene.listener);
    let (name, delay) = HOUR.trim_end().split_once(": ").unwrap();
    let mut fields = frames::request("POST", "/second");
    fields.push((name, delay));
    for stream in [1, 3] {
        assert!(second.send(&frames::headers(stream, 0, &fields)));
    }
    eventually("all of them wait", || {
        count(&scene, "fault.delays_injected") == 3
    });
    drop(first);
    eventually("the first has ended with its client", || {
        count(&scene, "downstream_rq_rx_reset") == 1
    });
    assert!(second.send(&frames::reset(1, 8)));
    eventually("the second has ended by itself", || {
        count(&scene, "downstream_rq_rx_reset") == 2
    });
    drop(second);
    eventually("the third has ended with its connection", || {
        count(&scene, "downstream_rq_active") == 0
    });
}

#[test]
fn a_request_that_waits_has_the_timeouts_of_its_stream() {
    let fault = config::filter(
        "http.fault.v3.HTTPFault",
        "delay: { fixed_delay: 3600s, percentage: { numerator: 100 } }",
    );
    let config = Config::new()
        .filter(fault)
        .manager("stream_idle_timeout: 0.1s");
    let scene = Scene::start(&config);
    let answer = scene.get("/", "");
    assert_eq!(answer.status(), 504);
    assert_eq!(count(&scene, "downstream_rq_idle_timeout"), 1);
}
