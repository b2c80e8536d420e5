//! Attempts end to end: connections that end under a request, and copies that fall behind.

use nuncio_tests::admin;
use nuncio_tests::config::{Config, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::origin::{Act, Gate, Origin, Reply};
use nuncio_tests::scene::Scene;

fn cut() -> Reply {
    Reply::nothing().then(Act::Close)
}

/// A proxy whose upstream connection has carried a request.
fn warm() -> Scene {
    let scene = Scene::start(&Config::new());
    assert_eq!(scene.get("/warm", "").status(), 200);
    assert_eq!(scene.origin.take_requests().len(), 1);
    scene
}

/// Methods of the requests that arrived since the last look.
fn arrived(scene: &Scene) -> Vec<String> {
    let requests = scene.origin.take_requests();
    let requests = requests.iter();
    requests
        .map(|request| request.method().to_owned())
        .collect()
}

#[test]
fn a_kept_connection_that_ends_under_a_request_costs_nobody_an_error() {
    for ending in [Act::Close, Act::Reset] {
        let scene = warm();
        scene.origin.reply_with([Reply::nothing().then(ending)]);
        assert_eq!(scene.get("/again", "").status(), 200);
        assert_eq!(arrived(&scene), ["GET", "GET"]);
        assert_eq!(scene.origin.connections(), 2);
    }
}

#[test]
fn it_is_tried_once_more_and_not_twice() {
    let scene = warm();
    scene.origin.reply_with([cut(), cut(), cut()]);
    assert_eq!(scene.get("/again", "").status(), 503);
    assert_eq!(arrived(&scene), ["GET", "GET"]);
}

#[test]
fn a_connection_that_is_new_is_not_to_blame() {
    let scene = Scene::start(&Config::new());
    scene.origin.reply_with([cut()]);
    assert_eq!(scene.get("/first", "").status(), 503);
    assert_eq!(arrived(&scene), ["GET"]);
}

#[test]
fn what_may_not_be_done_twice_is_not() {
    let scene = warm();
    scene.origin.reply_with([cut()]);
    assert_eq!(scene.post("/once", "", "body").status(), 503);
    assert_eq!(arrived(&scene), ["POST"]);
}

#[test]
fn the_body_of_an_idempotent_request_goes_again() {
    let scene = warm();
    scene.origin.reply_with([cut()]);
    let put = "PUT /twice HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(scene.connect().exchange(put.as_bytes()).status(), 200);
    let requests = scene.origin.take_requests();
    let bodies: Vec<&[u8]> = requests.iter().map(|request| &request.body[..]).collect();
    assert_eq!(bodies, [b"body", b"body"]);
}

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    for begun in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: "] {
        let scene = warm();
        scene.origin.reply_with([Reply::bytes(begun).close()]);
        let status = scene.get("/begun", "").status();
        assert!(matches!(status, 502 | 503), "{status}");
        assert_eq!(arrived(&scene), ["GET"], "{begun:?}");
    }
}

#[test]
fn a_copy_that_nobody_reads_holds_nothing_up() {
    let route = r#"{ match: { prefix: / }, route: { cluster: backend, request_mirror_policies: [{ cluster: second }] } }"#;
    let config = Config::new()
        .route(route)
        .cluster(cluster("backend", &[endpoint("origin", "")], ""))
        .cluster(cluster("second", &[endpoint("second", "")], ""));
    let scene = Scene::start(&config);
    let port = scene.proxy.ports().find(|(name, _)| *name == "second");
    let second = Origin::start_on(port.unwrap().1);
    let gate = Gate::default();
    second.reply_with([Reply::nothing().at_head().then(Act::Wait(gate.clone()))]);
    // More than the buffers of two sockets and the copy's own together.
    let body = "0123456789abcdef".repeat(2 * 1024 * 1024);
    assert_eq!(scene.post("/large", "", &body).status(), 200);
    let requests = scene.origin.take_requests();
    assert_eq!(requests.first().unwrap().body.len(), body.len());
    let name = "cluster.backend.retry_or_shadow_abandoned";
    eventually("the copy is given up", || {
        admin::stat(&scene.proxy, name) == 1
    });
    gate.open();
}

#[test]
fn a_tunnel_is_neither_copied_nor_led_elsewhere() {
    let route = r#"{ match: { prefix: / }, route: { cluster: backend, upgrade_configs: [{ upgrade_type: websocket }], request_mirror_policies: [{ cluster: second }], internal_redirect_policy: {} } }"#;
    let config = Config::new()
        .route(route)
        .cluster(cluster("backend", &[endpoint("origin", "")], ""))
        .cluster(cluster("second", &[endpoint("second", "")], ""));
    let scene = Scene::start(&config);
    let port = scene.proxy.ports().find(|(name, _)| *name == "second");
    let second = Origin::start_on(port.unwrap().1);
    let opening = "GET /tunnel HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let opened = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let elsewhere =
        "HTTP/1.1 302 Away\r\nLocation: http://a.example/target\r\nContent-Length: 0\r\n\r\n";
    for (reply, status) in [(opened, 101), (elsewhere, 302)] {
        let reply = Reply::bytes(reply).at_head().close();
        scene.origin.reply_with([reply]);
        assert_eq!(
            scene.connect().exchange(opening.as_bytes()).status(),
            status
        );
    }
    let failed = "cluster.backend.upstream_internal_redirect_failed_total";
    assert_eq!(admin::stat(&scene.proxy, failed), 1);
    // What is no tunnel is copied, behind where the others would have been.
    assert_eq!(scene.get("/plain", "").status(), 200);
    second.wait_for_requests(1);
    let requests = second.take_requests();
    let targets: Vec<&str> = requests.iter().map(|request| request.target()).collect();
    assert_eq!(targets, ["/plain"]);
}
