//! Statistics while what they are about goes on.

use nuncio_tests::admin;
use nuncio_tests::client::Connection;
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::h2_client::{self, H2Send};
use nuncio_tests::h2_origin::{H2Origin, H2Reply};
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{Act, Gate, Reply};
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::scene::{self, Scene};
use nuncio_tests::tls::{self, of_folder};

/// The fields of a log's lines: `n` for a number.
fn shapes(log: &str) -> Vec<String> {
    let shape = |field: &str| match field.parse::<u64>() {
        Ok(_) => "n".to_owned(),
        Err(_) => field.to_owned(),
    };
    let lines = log.lines();
    let fields = lines.map(|line| line.split(' ').map(shape).collect::<Vec<_>>());
    fields.map(|fields| fields.join(" ")).collect()
}

#[test]
fn logs_tell_how_far_a_response_came() {
    let to = |prefix: &str, more: &str| {
        format!("{{ match: {{ prefix: {prefix} }}, route: {{ cluster: origin{more} }} }}")
    };
    let config = Config::new()
        .route(to("/followed", ", internal_redirect_policy: {}"))
        .route(to("/", ""))
        .log(
            "%UPSTREAM_CONNECTION_POOL_READY_DURATION% %COMMON_DURATION(US_RX_BEG:US_RX_END:us)% \
             %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %COMMON_DURATION(DS_TX_BEG:DS_TX_END:us)%",
        );
    let scene = Scene::start(&config);
    assert_eq!(scene.get("/whole", "").status(), 200);
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut";
    scene.origin.reply_with([Reply::bytes(cut).close()]);
    let mut client = scene.connect();
    client.send(scene::get("/cut", "").as_bytes());
    let (came, _) = client.receive_to_end();
    assert!(came.ends_with(b"cut"), "{}", came.escape_ascii());
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://a.example/\r\nContent-Length: 0\r\n\r\n";
    scene.origin.reply_with([Reply::bytes(moved)]);
    assert_eq!(scene.get("/followed", "").status(), 200);
    let ended = scene.stop();
    assert_eq!(
        shapes(&ended.log),
        ["n n n n n", "n - n - -", "n n n - -", "n n n n n"]
    );
}

#[test]
fn connections_over_all_listeners_are_counted() {
    let scene = Scene::start(&Config::new());
    let open = || admin::stat(&scene.proxy, "server.total_connections");
    let clients = [scene.connect(), scene.connect()];
    eventually("both are counted", || open() == 2);
    drop(clients);
    eventually("neither is", || open() == 0);
}

#[test]
fn bytes_of_http2_are_counted_on_both_sides() {
    let config = Config::new().cluster(cluster("origin", &[endpoint("h2origin", "")], HTTP2));
    let text = config.text();
    let setup = Setup::for_template(&text);
    let origin = H2Origin::start_on(setup.port("h2origin").unwrap());
    origin.reply_with([H2Reply::status(200).body("0123456789")]);
    let proxy = Proxy::start_with(&Binary::nuncio(), &text, setup);
    let said = h2_client::send(proxy.address("listener"), &H2Send::new("GET", "/"));
    assert!(
        said.iter().any(|line| line.contains("0123456789")),
        "{said:?}"
    );
    for name in [
        "http.ingress.downstream_cx_rx_bytes_total",
        "http.ingress.downstream_cx_tx_bytes_total",
        "cluster.origin.upstream_cx_rx_bytes_total",
        "cluster.origin.upstream_cx_tx_bytes_total",
    ] {
        eventually(name, || admin::stat(&proxy, name) > 50);
    }
}

#[test]
fn a_response_counts_as_soon_as_its_head_goes() {
    let scene = Scene::start(&Config::new());
    let gate = Gate::default();
    scene.origin.reply_with([
        Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhe")
            .then(Act::Wait(gate.clone()))
            .then(Act::Send(b"re".to_vec())),
    ]);
    let mut client = scene.connect();
    client.send(scene::get("/long", "").as_bytes());
    client.wait_for(b"\r\n\r\nhe");
    let counted = || {
        let names = ["downstream_rq_completed", "downstream_rq_2xx"];
        admin::stats(&scene.proxy, "http.ingress.", names)
    };
    eventually("the response is counted", || counted() == [1, 1]);
    let active = admin::stat(&scene.proxy, "http.ingress.downstream_rq_active");
    assert_eq!(active, 1);
    gate.open();
    assert_eq!(client.receive(Kind::Response).message().status(), 200);
    assert_eq!(counted(), [1, 1]);
}

#[test]
fn streams_of_upstreams_are_counted_until_they_are_given_up() {
    let config = Config::new().cluster(cluster("origin", &[endpoint("h2origin", "")], HTTP2));
    let text = config.text();
    let setup = Setup::for_template(&text);
    let _origin = H2Origin::start_on(setup.port("h2origin").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &text, setup);
    let mut client = Connection::open(proxy.address("listener"));
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n");
    let counted = || {
        let names = ["streams_active", "tx_reset"];
        admin::stats(&proxy, "cluster.origin.http2.", names)
    };
    eventually("the stream is there", || counted() == [1, 0]);
    drop(client);
    eventually("it is given up", || counted() == [0, 1]);
}

#[test]
fn a_connection_that_grows_old_in_silence_is_counted_and_stays() {
    let config = Config::new()
        .manager("common_http_protocol_options: { max_connection_duration: 0.1s }")
        .manager("http1_safe_max_connection_duration: true");
    let scene = Scene::start(&config);
    let old = || {
        admin::stat(
            &scene.proxy,
            "http.ingress.downstream_cx_max_duration_reached",
        )
    };
    let mut client = scene.connect();
    let mut ask = || client.exchange(scene::get("/", "").as_bytes());
    let first = ask();
    assert_eq!(first.status(), 200);
    eventually("it is counted", || old() == 1);
    assert!(ask().closes());
    assert_eq!(old(), 1);
}

#[test]
fn a_connection_that_grows_old_within_a_request_is_counted_at_once() {
    let config =
        Config::new().manager("common_http_protocol_options: { max_connection_duration: 0.1s }");
    let scene = Scene::start(&config);
    let gate = Gate::default();
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let waits = Reply::nothing()
        .then(Act::Wait(gate.clone()))
        .then(Act::Send(ok));
    scene.origin.reply_with([waits]);
    let mut client = scene.connect();
    client.send(scene::get("/", "").as_bytes());
    let name = "http.ingress.downstream_cx_max_duration_reached";
    eventually("it is counted", || admin::stat(&scene.proxy, name) == 1);
    let active = admin::stat(&scene.proxy, "http.ingress.downstream_rq_active");
    assert_eq!(active, 1);
    gate.open();
    assert!(client.receive(Kind::Response).message().closes());
    assert_eq!(admin::stat(&scene.proxy, name), 1);
}

#[test]
fn connections_are_open_from_their_handshake_on() {
    let scene = Scene::start(&Config::new().tls(&of_folder("server"), ""));
    let counted = |listener: &str| {
        let names = ["active", "ssl_active", "total", "ssl_total", "destroy"];
        let names = names.map(|name| format!("downstream_cx_{name}"));
        let of_http = names.map(|name| admin::stat(&scene.proxy, &format!("http.ingress.{name}")));
        let name = format!("listener.{listener}.downstream_cx_active");
        (of_http, admin::stat(&scene.proxy, &name))
    };
    let address = scene.proxy.address("listener");
    let listener = address.to_string().replace(':', "_");
    let silent = Connection::open(address);
    eventually("it is open", || counted(&listener) == ([1, 1, 1, 1, 0], 1));
    drop(silent);
    eventually("it is over", || counted(&listener) == ([0, 0, 1, 1, 1], 0));
    let mut client = Connection::open_tls(address, &tls::Client::asks("a.test")).unwrap();
    assert_eq!(
        client.exchange(scene::get("/", "").as_bytes()).status(),
        200
    );
    assert_eq!(counted(&listener), ([1, 1, 2, 2, 1], 1));
    drop(client);
    eventually("it is over", || counted(&listener) == ([0, 0, 2, 2, 2], 0));
}

#[test]
fn a_body_that_an_upstream_has_room_for_is_no_pause() {
    let config = Config::new().cluster(cluster("origin", &[endpoint("h2origin", "")], HTTP2));
    let text = config.text();
    let setup = Setup::for_template(&text);
    let _origin = H2Origin::start_on(setup.port("h2origin").unwrap());
    let proxy = Proxy::start_with(&Binary::nuncio(), &text, setup);
    let counted = || {
        let downstream = ["paused_reading_total", "resumed_reading_total"];
        let upstream = ["backed_up_total", "drained_total"];
        let downstream = admin::stats(&proxy, "http.ingress.downstream_flow_control_", downstream);
        (
            downstream,
            admin::stats(&proxy, "cluster.origin.upstream_flow_control_", upstream),
        )
    };
    let mut client = Connection::open(proxy.address("listener"));
    // All of it has room in the window of the connection, whenever that is renewed.
    for size in [1, 100, 5_000, 20_000] {
        // At once, and in two pieces, the second of which meets a stream that is there.
        for first in [size, size / 2] {
            let fields = format!("Host: a.example\r\nContent-Length: {size}\r\n");
            client.send(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes());
            client.send(&vec![b'x'; first]);
            if first < size {
                let is_there = || admin::stat(&proxy, "cluster.origin.http2.streams_active") == 1;
                eventually("the stream is there", is_there);
                client.send(&vec![b'x'; size - first]);
            }
            let answer = client.receive(Kind::Response);
            assert_eq!(answer.message().status(), 200);
            assert_eq!(counted(), ([0; 2], [0; 2]), "{size} bytes, {first} first");
        }
    }
}

#[test]
fn messages_and_times_of_attempts_are_counted_where_that_is_asked_for() {
    let tracked = ", track_cluster_stats: { request_response_sizes: true, timeout_budgets: true }";
    let again = "retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 30s }";
    let config = Config::new()
        .cluster(cluster("origin", &[endpoint("origin", "")], tracked))
        .route(format!(
            "{{ match: {{ prefix: / }}, route: {{ cluster: origin, timeout: 60s, {again} }} }}"
        ));
    let scene = Scene::start(&config);
    scene.origin.reply_with([
        Reply::bytes("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy"),
        Reply::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ]);
    let answered = scene.post("/x", "", "hello");
    assert_eq!(answered.status(), 200);
    // How many there are, and the sum of all, as Envoy counts the same.
    let measured = || {
        let page = admin::page(&scene.proxy, "/stats/prometheus?filter=^cluster.origin");
        [
            "rq_body_size",
            "rs_body_size",
            "rs_headers_size",
            "rs_headers_count",
            "rq_timeout_budget_per_try_percent_used",
            "rq_timeout_budget_percent_used",
        ]
        .map(|name| {
            ["count", "sum"].map(|of| {
                let line = format!("envoy_cluster_upstream_{name}_{of}{{");
                let line = page.lines().find(|shown| shown.starts_with(&line));
                let value = line.and_then(|line| line.rsplit(' ').next());
                value.map_or_else(|| "none".to_owned(), ToOwned::to_owned)
            })
        })
    };
    let expected = [
        ["2", "10"],
        // Of what is tried again nothing but the head is read.
        ["2", "2"],
        // `:status` and `content-length` of the one, `transfer-encoding` of the other.
        ["2", "59"],
        ["2", "4"],
        ["2", "0"],
        ["1", "0"],
    ];
    eventually("both attempts are counted", || measured() == expected);
    let bytes = admin::page(
        &scene.proxy,
        "/stats?filter=^cluster.origin.upstream_rq_headers_",
    );
    assert!(bytes.contains("upstream_rq_headers_size"), "{bytes}");
}

#[test]
fn attempts_beside_each_other_are_counted_each_for_itself_and_those_for_nobody_not_at_all() {
    const TRACKED: &str =
        ", track_cluster_stats: { request_response_sizes: true, timeout_budgets: true }";
    let retry = "retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.2s }";
    let hedged = format!("hedge_policy: {{ hedge_on_per_try_timeout: true }}, {retry}");
    let to = |prefix: &str, cluster: &str, more: &str| {
        format!("{{ match: {{ prefix: {prefix} }}, route: {{ cluster: {cluster}, {more} }} }}")
    };
    let config = Config::new()
        .cluster(cluster("origin", &[endpoint("origin", "")], TRACKED))
        .cluster(cluster("nobody", &[], TRACKED))
        .cluster(cluster("copies", &[], TRACKED))
        .route(to("/hedged", "origin", &hedged))
        .route(to(
            "/nobody",
            "nobody",
            "request_mirror_policies: [ { cluster: copies } ]",
        ));
    let scene = Scene::start(&config);
    let gate = Gate::default();
    let late = Reply::nothing()
        .then(Act::Wait(gate.clone()))
        .then(Act::Send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-First: 1\r\n\r\nabc".to_vec(),
        ));
    scene
        .origin
        .reply_with([late, Reply::nothing().then(Act::Hang)]);
    assert_eq!(scene.get("/nobody", "").status(), 503);
    let mut client = scene.connect();
    client.send(scene::get("/hedged", "").as_bytes());
    // The second try is there once the time of the first is over.
    scene.origin.wait_for_requests(2);
    gate.open();
    let answer = client.receive(Kind::Response).message();
    assert_eq!(answer.header("x-first"), Some("1"));
    let measured = |cluster: &str, name: &str| {
        let page = format!("/stats/prometheus?filter=^cluster.{cluster}.upstream_r");
        let page = admin::page(&scene.proxy, &page);
        ["count", "sum"].map(|of| {
            let line = format!("envoy_cluster_upstream_{name}_{of}{{");
            let line = page.lines().find(|shown| shown.starts_with(&line));
            let value = line.and_then(|line| line.rsplit(' ').next());
            value.map_or_else(|| "none".to_owned(), ToOwned::to_owned)
        })
    };
    // The answer is that of the first, which has its own sizes: `:status`, `content-length` and `x-first`.
    eventually("the answer is counted", || {
        measured("origin", "rs_body_size") == ["1", "3"]
    });
    assert_eq!(measured("origin", "rs_headers_count"), ["1", "3"]);
    assert_eq!(measured("origin", "rs_headers_size"), ["1", "33"]);
    for name in [
        "rq_headers_size",
        "rq_body_size",
        "rq_timeout_budget_per_try_percent_used",
    ] {
        assert_eq!(measured("origin", name)[0], "2", "{name}");
        for cluster in ["nobody", "copies"] {
            let [count, _] = measured(cluster, name);
            assert!(matches!(&*count, "0" | "none"), "{cluster} {name}: {count}");
        }
    }
}
