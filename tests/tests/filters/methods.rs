//! Filters that give a request another method: its answer is read as what the upstream was asked for,
//! and passed on as what the client has asked for.

use nuncio_tests::admin;
use nuncio_tests::config::{self, Config, HTTP2, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::h2_client::{self, H2Send};
use nuncio_tests::h2_origin::{H2Origin, H2Reply};
use nuncio_tests::message::{Kind, Message};
use nuncio_tests::origin::{Act, Gate, Origin, Reply};
use nuncio_tests::scene::{Scene, get};

const HEAD: &[u8] = b"HEAD /evil HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A filter that makes each request one of that method.
fn becomes(method: &str) -> String {
    let script = format!(
        "wants on-request-headers\non-request-headers set request-headers :method {method}"
    );
    config::guest("method", "script", &script, "")
}

/// A route to `origin`, with more fields of its action, each with a comma in front.
fn route(more: &str) -> String {
    format!("{{ match: {{ prefix: / }}, route: {{ cluster: origin, timeout: 0s{more} }} }}")
}

/// A response whose content is one for somebody else, and comes when the gate opens.
fn late_poison(gate: &Gate) -> Reply {
    let content = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    Reply::bytes(head)
        .then(Act::Wait(gate.clone()))
        .then(Act::Send(content.into()))
}

#[test]
fn content_that_comes_late_for_a_head_is_nobody_elses_answer() {
    let hedged = ", hedge_policy: { hedge_on_per_try_timeout: true }, \
                  retry_policy: { retry_on: reset, per_try_timeout: 3600s }";
    for more in ["", hedged] {
        let scene = Scene::start(&Config::new().filter(becomes("GET")).route(route(more)));
        let gate = Gate::default();
        scene.origin.reply_with([late_poison(&gate)]);
        let answer = scene.connect().exchange(HEAD);
        assert_eq!((answer.status(), answer.body.len()), (200, 0));
        assert!(answer.header("content-length").is_some());
        let mut other = scene.connect();
        other.send(get("/honest", "").as_bytes());
        eventually("the next request is sent", || {
            admin::stat(&scene.proxy, "cluster.origin.upstream_rq_total") == 2
        });
        gate.open();
        let honest = other.receive(Kind::Response).message();
        assert_eq!(honest.text(), "ok", "{more}");
        assert_eq!(scene.origin.connections(), 2, "{more}");
    }
}

#[test]
fn content_that_comes_late_for_a_copy_is_read_with_it() {
    let mirror = ", request_mirror_policies: [{ cluster: second }]";
    let config = Config::new()
        .filter(becomes("GET"))
        .route(route(mirror))
        .cluster(cluster("origin", &[endpoint("origin", "")], ""))
        .cluster(cluster("second", &[endpoint("second", "")], ""));
    let scene = Scene::start(&config);
    let second = Origin::start_on(scene.port("second"));
    let gate = Gate::default();
    second.reply_with([late_poison(&gate)]);
    for copies in 1..=2 {
        assert_eq!(scene.connect().exchange(HEAD).status(), 200);
        second.wait_for_requests(copies);
        gate.open();
        eventually("the copy is answered", || {
            admin::stat(&scene.proxy, "cluster.second.upstream_rq_200") == copies as u64
        });
    }
    assert_eq!(second.connections(), 1);
}

fn expect_empty(answer: &Message) {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-length"), Some("0"));
    assert!(answer.complete && answer.body.is_empty());
}

#[test]
fn nobody_waits_for_the_content_of_what_was_made_a_head() {
    let scene = Scene::start(&Config::new().filter(becomes("HEAD")));
    let mut client = scene.connect();
    for _ in 0..2 {
        expect_empty(&client.exchange(get("/", "").as_bytes()));
    }
    assert_eq!(scene.origin.connections(), 1);
    let requests = scene.origin.take_requests();
    assert!(requests.iter().all(|request| request.method() == "HEAD"));
    // Nor is there a length in HTTP/2, where it would have to be that of the content.
    let answer = h2_client::send(scene.listener, &H2Send::new("GET", "/"));
    assert_eq!(answer.first().map(String::as_str), Some("HTTP/2 200"));
    assert!(
        !answer.iter().any(|line| line.starts_with("content-length")),
        "{answer:?}"
    );
}

#[test]
fn an_upstream_of_http2_is_asked_for_the_same() {
    for (method, asked) in [("GET", "HEAD"), ("HEAD", "GET")] {
        let config = Config::new().filter(becomes(method)).cluster(cluster(
            "origin",
            &[endpoint("h2origin", "")],
            HTTP2,
        ));
        let scene = Scene::start(&config);
        let upstream = H2Origin::start_on(scene.port("h2origin"));
        if method == "HEAD" {
            let head_alone = H2Reply::status(200).header("content-length", "2");
            upstream.reply_with([head_alone.clone(), head_alone]);
        }
        let mut client = scene.connect();
        for _ in 0..2 {
            let request = format!("{asked} / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let answer = client.exchange(request.as_bytes());
            assert_eq!((answer.status(), answer.body.len()), (200, 0), "{asked}");
        }
        assert_eq!(upstream.arrived(), 2);
    }
}

#[test]
fn a_redirect_that_is_followed_leaves_the_client_what_it_asked_for() {
    let follows = ", internal_redirect_policy: { redirect_response_codes: [303] }";
    let scene = Scene::start(&Config::new().filter(becomes("POST")).route(route(follows)));
    let see_other = "HTTP/1.1 303 See Other\r\nlocation: http://a.example/other\r\n\
                     content-length: 0\r\n\r\n";
    scene.origin.reply_with([Reply::bytes(see_other)]);
    let mut client = scene.connect();
    let answer = client.exchange(HEAD);
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    // What came behind the head would be taken for the next answer.
    client.half_close();
    let (rest, _) = client.receive_to_end();
    assert_eq!(rest.escape_ascii().to_string(), "");
    let targets: Vec<_> = scene.origin.take_requests();
    assert_eq!(targets.last().map(Message::target), Some("/other"));
}
