//! Attempts end to end: connections that end under a request, and copies that fall behind.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use nuncio_tests::admin;
use nuncio_tests::client::Connection;
use nuncio_tests::config::{self, Config, cluster, endpoint};
use nuncio_tests::message::{self, Kind};
use nuncio_tests::origin::{Act, Gate, Origin, Reply};
use nuncio_tests::scene::{self, Scene};
use nuncio_tests::{eventually, pause};

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
fn a_policy_that_applies_decides_alone() {
    for words in [
        "reset-before-request",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
    ] {
        let route = format!(
            "{{ match: {{ prefix: / }}, route: {{ cluster: backend, \
             retry_policy: {{ retry_on: {words}, num_retries: 2 }} }} }}"
        );
        let config =
            Config::new()
                .route(route)
                .cluster(cluster("backend", &[endpoint("origin", "")], ""));
        let scene = Scene::start(&config);
        assert_eq!(scene.get("/warm", "").status(), 200);
        assert_eq!(arrived(&scene), ["GET"]);
        scene.origin.reply_with([cut()]);
        assert_eq!(scene.get("/again", "").status(), 503, "{words}");
        assert_eq!(arrived(&scene), ["GET"], "{words}");
    }
}

#[test]
fn who_wants_none_of_it_can_say_so() {
    let none = "max_retries: 0";
    let breaker = format!(", circuit_breakers: {{ thresholds: [{{ {none} }}] }}");
    for (policy, breaker, overflows) in [
        (", retry_policy: { num_retries: 0 }", "", 0),
        ("", &*breaker, 1),
    ] {
        let route = format!("{{ match: {{ prefix: / }}, route: {{ cluster: backend{policy} }} }}");
        let backend = cluster("backend", &[endpoint("origin", "")], breaker);
        let scene = Scene::start(&Config::new().route(route).cluster(backend));
        assert_eq!(scene.get("/warm", "").status(), 200);
        scene.origin.reply_with([cut()]);
        assert_eq!(scene.get("/again", "").status(), 503, "{policy}{breaker}");
        assert_eq!(arrived(&scene), ["GET", "GET"], "{policy}{breaker}");
        let overflow = "cluster.backend.upstream_rq_retry_overflow";
        assert_eq!(admin::stat(&scene.proxy, overflow), overflows);
    }
}

/// A proxy that lets tunnels through, whose upstream connection has carried a request.
fn warm_for_tunnels() -> Scene {
    let route =
        |matches: &str| format!("{{ match: {{ {matches} }}, route: {{ cluster: backend }} }}");
    let upgrades = "upgrade_configs: [ { upgrade_type: CONNECT }, { upgrade_type: websocket } ]";
    let config = Config::new()
        .manager(upgrades)
        .route(route("connect_matcher: {}"))
        .route(route("prefix: /"))
        .cluster(cluster("backend", &[endpoint("origin", "")], ""));
    let scene = Scene::start(&config);
    assert_eq!(scene.get("/warm", "").status(), 200);
    assert_eq!(scene.origin.take_requests().len(), 1);
    scene
}

const WEBSOCKET: &str =
    "GET /tunnel HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const CONNECT: &str = "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n";

#[test]
fn a_kept_connection_that_ends_under_a_tunnel_that_is_not_open_costs_nobody_an_error() {
    let switched = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (opening, opened, status) in [
        (WEBSOCKET, switched, 101),
        (CONNECT, "HTTP/1.1 200 OK\r\n\r\n", 200),
    ] {
        let scene = warm_for_tunnels();
        let echo = Reply::bytes(opened).at_head().then(Act::Echo);
        scene.origin.reply_with([cut().at_head(), echo]);
        let mut client = scene.connect();
        client.send(opening.as_bytes());
        client.wait_for(format!("HTTP/1.1 {status}").as_bytes());
        client.send(b"echoed");
        client.wait_for(b"echoed");
        // One of them has warmed the connection.
        assert_eq!(scene.origin.arrived(), 3);
        for name in ["upstream_rq_retry", "upstream_rq_retry_success"] {
            let name = format!("cluster.backend.{name}");
            assert_eq!(admin::stat(&scene.proxy, &name), 1, "{name}");
        }
    }
}

/// A proxy whose listener `tcp` leads through tunnels, whose upstream connection has carried a request.
fn warm_for_tcp(tunneling: &str, more: &str) -> Scene {
    let tcp = format!(
        "  - name: tcp\n    address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:tcp@ }} }}\n    \
         filter_chains: [ {{ filters: [ {{ name: tcp, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
         stat_prefix: tcp, cluster: backend, tunneling_config: {{ hostname: \"a.example:80\"{tunneling} }}, \
         access_log: [ {{ name: log, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
         path: \"@LOG@\", log_format: {{ text_format_source: {{ inline_string: \
         \"%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\\n\" }} }} }} }} ] }} }} ] }} ]\n"
    );
    let config = Config::new()
        .route("{ match: { prefix: / }, route: { cluster: backend } }")
        .cluster(cluster("backend", &[endpoint("origin", "")], more));
    let text = config
        .text()
        .replace("  clusters:\n", &format!("{tcp}  clusters:\n"));
    let scene = Scene::start_text(&text);
    assert_eq!(scene.get("/warm", "").status(), 200);
    assert_eq!(scene.origin.take_requests().len(), 1);
    scene
}

fn log_of(scene: &Scene) -> String {
    let path = scene.proxy.directory().join("access.log");
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_same_of_a_connection_that_travels_in_a_stream() {
    let scene = warm_for_tcp("", "");
    let echo = Reply::bytes("HTTP/1.1 200 OK\r\n\r\n")
        .at_head()
        .then(Act::Echo);
    scene.origin.reply_with([cut().at_head(), echo]);
    let mut client = Connection::open(scene.proxy.address("tcp"));
    client.send(b"echoed");
    client.wait_for(b"echoed");
    drop(client);
    assert_eq!(scene.origin.arrived(), 3);
    eventually("the session is logged", || log_of(&scene) == "- 2\n");
    for name in ["upstream_rq_retry", "upstream_rq_retry_success"] {
        let name = format!("cluster.backend.{name}");
        assert_eq!(admin::stat(&scene.proxy, &name), 1, "{name}");
    }
}

#[test]
fn and_not_where_that_is_unwanted_or_may_do_harm() {
    let breaker = ", circuit_breakers: { thresholds: [{ max_retries: 0 }] }";
    let none = ", typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
                \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                explicit_http_config: { http_protocol_options: {} }, retry_policy: { num_retries: 0 } } }";
    for (tunneling, more, logged) in [
        (", use_post: true", "", "UF,URX 1\n"),
        ("", breaker, "UF,UO,URX 1\n"),
        ("", none, "UF,URX 1\n"),
    ] {
        let scene = warm_for_tcp(tunneling, more);
        scene.origin.reply_with([cut().at_head()]);
        let mut client = Connection::open(scene.proxy.address("tcp"));
        client.drain();
        assert_eq!(scene.origin.arrived(), 2, "{tunneling}{more}");
        eventually("the session is logged", || log_of(&scene) == logged);
    }
}

#[test]
fn it_is_counted() {
    let scene = warm();
    scene.origin.reply_with([cut()]);
    assert_eq!(scene.get("/again", "").status(), 200);
    for name in ["upstream_rq_retry", "upstream_rq_retry_success"] {
        let name = format!("cluster.origin.{name}");
        assert_eq!(admin::stat(&scene.proxy, &name), 1, "{name}");
    }
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

/// A proxy that copies each request, with more fields of its route, and where the copies go.
fn copied(more: &str) -> (Scene, Origin) {
    copied_at("origin", more)
}

/// The same where the upstream is at that port.
fn copied_at(port: &str, more: &str) -> (Scene, Origin) {
    copied_by(Config::new(), port, more)
}

/// The same by what is configured already.
fn copied_by(config: Config, port: &str, more: &str) -> (Scene, Origin) {
    let route = format!(
        "{{ match: {{ prefix: / }}, route: {{ cluster: backend, \
         request_mirror_policies: [{{ cluster: second }}]{more} }} }}"
    );
    let config = config
        .route(route)
        .cluster(cluster("backend", &[endpoint(port, "")], ""))
        .cluster(cluster("second", &[endpoint("second", "")], ""));
    let scene = Scene::start(&config);
    let is_second = |(name, port)| (name == "second").then_some(port);
    let port = scene.proxy.ports().find_map(is_second);
    (scene, Origin::start_on(port.unwrap_or_default()))
}

fn copy_ended(scene: &Scene) {
    eventually("the copy is answered", || {
        admin::stat(&scene.proxy, "cluster.second.upstream_rq_completed") == 1
    });
}

#[test]
fn a_body_of_any_length_is_copied_whole() {
    let (scene, second) = copied("");
    let body = "0123456789abcdef".repeat(512 * 1024);
    assert_eq!(scene.post("/large", "", &body).status(), 200);
    copy_ended(&scene);
    let requests = second.take_requests();
    assert_eq!(requests.first().unwrap().body.len(), body.len());
}

#[test]
fn a_copy_gets_the_whole_body_although_the_upstream_refuses() {
    let (scene, second) = copied_at("nobody", "");
    let body = "0123456789abcdef".repeat(256 * 1024);
    assert_eq!(scene.post("/refused", "", &body).status(), 503);
    copy_ended(&scene);
    let requests = second.take_requests();
    assert_eq!(requests.first().unwrap().body.len(), body.len());
}

/// A filter sees all of a body, also what goes to copies alone.
#[test]
fn what_a_copy_gets_went_through_the_filters() {
    let script = "wants on-request-body\non-request-body replace-body y";
    let config = Config::new().filter(config::guest("all", "script", script, ""));
    let (scene, second) = copied_by(config, "nobody", "");
    let mut client = scene.connect();
    client.send(b"POST /refused HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    for _ in 0..5 {
        client.send(b"1\r\nx\r\n");
    }
    client.send(b"0\r\n\r\n");
    assert_eq!(client.receive(Kind::Response).message().status(), 503);
    copy_ended(&scene);
    let body = second.take_requests().remove(0).body;
    assert!(
        !body.is_empty() && body.iter().all(|byte| *byte == b'y'),
        "{body:?}"
    );
}

/// That the upstream has failed is told before long, whatever copies could still have.
#[test]
fn a_client_that_drips_does_not_keep_a_copy_for_ever() {
    let (scene, _second) = copied_at("nobody", "");
    let mut client = scene.connect();
    client.send(b"POST /refused HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n");
    eventually("the client has its answer, and the copy an end", || {
        let active = admin::stat(&scene.proxy, "cluster.second.upstream_rq_active");
        let failed = admin::stat(&scene.proxy, "http.ingress.downstream_rq_5xx");
        if failed == 0 {
            client.send(b"x");
        }
        failed == 1 && active == 0
    });
}

/// A client that leaves says nothing about where its copy went.
#[test]
fn a_copy_whose_client_leaves_is_not_held_against_its_endpoint() {
    let (scene, _second) = copied("");
    let mut client = scene.connect();
    client.send(b"POST /left HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\nx");
    let second = |name: &str| admin::stat(&scene.proxy, &format!("cluster.second.{name}"));
    eventually("the copy is on its way", || {
        second("upstream_rq_active") == 1
    });
    client.reset();
    eventually("the copy has ended", || second("upstream_rq_active") == 0);
    let page = admin::page(&scene.proxy, "/clusters");
    let errors: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("second::") && line.contains("::rq_error::"))
        .collect();
    assert!(
        matches!(&errors[..], [line] if line.ends_with("::rq_error::0")),
        "{errors:?}"
    );
}

#[test]
fn a_copy_that_nobody_reads_is_given_up() {
    let (scene, second) = copied("");
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
    let more = ", upgrade_configs: [{ upgrade_type: websocket }], internal_redirect_policy: {}";
    let (scene, second) = copied(more);
    let opening = WEBSOCKET;
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

#[test]
fn a_copy_that_nobody_answers_ends_without_a_timeout_of_the_route() {
    let (scene, second) = copied(", timeout: 0s, idle_timeout: 0.3s");
    second.reply_with([Reply::nothing().then(Act::Hang)]);
    assert_eq!(scene.get("/copied", "").status(), 200);
    second.wait_for_requests(1);
    eventually("the copy is given up", || {
        admin::stat(&scene.proxy, "cluster.second.upstream_rq_timeout") == 1
            && admin::stat(&scene.proxy, "cluster.second.upstream_rq_active") == 0
    });
}

#[test]
fn what_came_before_an_end_reaches_a_client_that_takes_its_time() {
    const CHUNK: usize = 5000;
    const CHUNKS: usize = 1500;
    let scene = Scene::start(&Config::new());
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    // The last chunk, which ends the body, never comes.
    scene
        .origin
        .reply_with([Reply::bytes(head.to_owned() + &chunk.repeat(CHUNKS)).close()]);
    let mut client = TcpStream::connect(scene.listener).unwrap();
    std::io::Write::write_all(&mut client, scene::get("/", "").as_bytes()).unwrap();
    let (mut came, mut room) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        // Slower than the proxy, which so always has something left to send.
        pause(Duration::from_millis(2));
        match client.read(&mut room) {
            Ok(count @ 1..) => came.extend_from_slice(room.get(..count).unwrap()),
            Ok(0) | Err(_) => break,
        }
    }
    let (message, _) = message::read(&came, Kind::Response, true).unwrap().unwrap();
    assert_eq!(message.body.len(), CHUNK * CHUNKS);
    assert!(!message.complete);
}

#[test]
fn a_request_that_is_redirected_passes_the_filters_anew() {
    let script = "wants on-request-headers on-response-headers\n\
                  on-request-headers append request-headers x-passed 1\n\
                  on-response-headers append response-headers x-back 1";
    let route = |path: &str, more: &str| {
        format!("{{ match: {{ prefix: {path} }}, route: {{ cluster: origin{more} }} }}")
    };
    let config = Config::new()
        .filter(config::guest("marks", "script", script, ""))
        .log("%REQ(:PATH)% %RESPONSE_CODE_DETAILS%")
        .route(route("/begin", ", internal_redirect_policy: {}"))
        .route(route("/target", ""));
    let scene = Scene::start(&config);
    let away =
        "HTTP/1.1 302 Away\r\nLocation: http://a.example/target\r\nContent-Length: 0\r\n\r\n";
    scene.origin.reply_with([Reply::bytes(away)]);
    let answer = scene.get("/begin", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    let passed = |headers: &[(String, String)], name: &str| {
        headers.iter().filter(|(found, _)| found == name).count()
    };
    // The response of the redirect is nobody's.
    assert_eq!(passed(&answer.headers, "x-back"), 1);
    let requests = scene.origin.take_requests();
    let marks = requests
        .iter()
        .map(|request| (request.target(), passed(&request.headers, "x-passed")));
    let marks: Vec<_> = marks.collect();
    assert_eq!(marks, [("/begin", 1), ("/target", 2)]);
}

#[test]
fn a_filter_that_is_skipped_holds_no_body() {
    let script = "wants on-request-headers on-request-body request-body=buffered\n\
                  on-request-headers fail as-the-test-wants";
    let open = ", failure_policy: FAIL_OPEN";
    let config = Config::new().filter(config::guest("broken", "script", script, open));
    let scene = Scene::start(&config);
    let mut client = scene.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhel");
    // Before the body has ended.
    scene.origin.wait_for_requests(1);
    client.send(b"lo");
    assert_eq!(client.receive(Kind::Response).message().status(), 200);
    let requests = scene.origin.take_requests();
    assert_eq!(requests.first().unwrap().text(), "hello");
}

/// What `/clusters` counts for the only endpoint.
fn of_endpoint(scene: &Scene, names: [&str; 3]) -> [u64; 3] {
    let page = admin::page(&scene.proxy, "/clusters");
    names.map(|name| {
        let mark = format!("::{name}::");
        let mut lines = page.lines().filter_map(|line| line.split_once(&mark));
        let count = lines.next().and_then(|(_, count)| count.parse().ok());
        count.unwrap_or(u64::MAX)
    })
}

#[test]
fn what_became_of_tries_that_may_be_hedged_is_known_of_their_endpoint() {
    let route = "{ match: { prefix: / }, route: { cluster: origin, timeout: 0.6s, \
                 hedge_policy: { hedge_on_per_try_timeout: true }, \
                 retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.2s } } }";
    let scene = Scene::start(&Config::new().route(route));
    let hung = || Reply::nothing().then(Act::Hang);
    assert_eq!(scene.get("/good", "").status(), 200);
    // One that loses says nothing about its endpoint.
    scene.origin.reply_with([hung()]);
    assert_eq!(scene.get("/second", "").status(), 200);
    scene.origin.reply_with([hung(), hung()]);
    assert_eq!(scene.get("/nobody", "").status(), 504);
    scene.origin.reply_with([cut(), cut()]);
    assert_eq!(scene.get("/cut", "").status(), 503);
    let counted = of_endpoint(&scene, ["rq_success", "rq_timeout", "rq_error"]);
    assert_eq!(counted, [2, 2, 2]);
}

#[test]
fn a_stream_that_is_redirected_is_one_in_the_log() {
    let config = Config::new()
        .log("%REQ(:PATH)% %START_TIME(%s.%9f)% %DURATION% %REQUEST_DURATION%")
        .route("{ match: { prefix: /begin }, route: { cluster: origin, internal_redirect_policy: {} } }")
        .route("{ match: { prefix: /target }, route: { cluster: origin } }");
    let scene = Scene::start(&config);
    let away =
        "HTTP/1.1 302 Away\r\nLocation: http://a.example/target\r\nContent-Length: 0\r\n\r\n";
    let pause = Duration::from_millis(200);
    let reply = Reply::nothing().then(Act::Pause(pause));
    scene
        .origin
        .reply_with([reply.then(Act::Send(away.into()))]);
    assert_eq!(scene.get("/begin", "").status(), 200);
    let log = scene.stop().log;
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    let [first, second] = &lines[..] else {
        panic!("{log}");
    };
    // As in Envoy both have the head that is there in the end.
    assert_eq!([first[0], second[0]], ["/target"; 2]);
    assert_eq!(first[1], second[1], "{log}");
    let ms = |text: &str| text.parse::<u64>().unwrap();
    assert!(
        ms(first[2]) >= 200 && ms(second[2]) >= ms(first[2]),
        "{log}"
    );
    assert_eq!(first[3], second[3], "the request came once: {log}");
}

#[test]
fn a_stream_that_is_redirected_has_one_duration() {
    let away = |to: &str| {
        format!("HTTP/1.1 302 Away\r\nLocation: http://a.example{to}\r\nContent-Length: 0\r\n\r\n")
    };
    let longest = "max_stream_duration: { max_stream_duration: 0.2s }";
    let config = Config::new()
        .route("{ match: { prefix: /begin }, route: { cluster: origin, internal_redirect_policy: {} } }")
        .route(format!("{{ match: {{ prefix: /limited }}, route: {{ cluster: origin, {longest} }} }}"))
        .route("{ match: { prefix: /timed }, route: { cluster: origin, timeout: 60s } }");
    let scene = Scene::start(&config);
    for (to, status) in [("/limited", 504), ("/timed", 200)] {
        let late = Reply::nothing().then(Act::Pause(Duration::from_millis(250)));
        let late = late.then(Act::Send(away(to).into()));
        scene.origin.reply_with([late]);
        assert_eq!(scene.get("/begin", "").status(), status, "{to}");
    }
}

#[test]
fn logs_have_their_entries_while_a_request_waits() {
    let delay = "delay: { header_delay: {}, percentage: { numerator: 100 } }";
    let options = "access_log_options: { access_log_flush_interval: 0.02s }";
    let again = "retry_policy: { retry_on: 5xx, retry_back_off: { base_interval: 3600s, max_interval: 3600s } }";
    let one = ", circuit_breakers: { thresholds: [{ max_connections: 1 }] }";
    let config = Config::new()
        .manager(options)
        .log("%REQ(:PATH)% %ACCESS_LOG_TYPE%")
        .filter(config::filter("http.fault.v3.HTTPFault", delay))
        .filter(config::filter(
            "http.buffer.v3.Buffer",
            "max_request_bytes: 100",
        ))
        .route(format!(
            "{{ match: {{ prefix: /again }}, route: {{ cluster: origin, timeout: 0s, {again} }} }}"
        ))
        .route("{ match: { prefix: /one }, route: { cluster: one, timeout: 0s } }")
        .route("{ match: { prefix: / }, route: { cluster: origin, timeout: 0s } }")
        .cluster(cluster("origin", &[endpoint("origin", "")], ""))
        .cluster(cluster("one", &[endpoint("origin", "")], one));
    let scene = Scene::start(&config);
    let log = scene.proxy.directory().join("access.log");
    let has = |path: &str| {
        let line = format!("{path} DownstreamPeriodic");
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.lines().any(|found| found == line)
    };
    let hour = "x-envoy-fault-delay-request: 3600000\r\n";
    let open = "POST /body HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nh";
    let failing = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    for (path, bytes, replies) in [
        ("/filter", scene::get("/filter", hour), vec![]),
        ("/body", open.to_owned(), vec![]),
        (
            "/again",
            scene::get("/again", ""),
            vec![Reply::bytes(failing)],
        ),
    ] {
        scene.origin.reply_with(replies);
        let mut client = scene.connect();
        client.send(bytes.as_bytes());
        eventually(&format!("{path} has an entry meanwhile"), || has(path));
    }
    scene.origin.reply_with([Reply::nothing().then(Act::Hang)]);
    let mut first = scene.connect();
    first.send(scene::get("/one/first", "").as_bytes());
    scene.origin.wait_for_requests(1);
    let mut second = scene.connect();
    second.send(scene::get("/one/second", "").as_bytes());
    eventually("who waits for a connection has one", || has("/one/second"));
}
