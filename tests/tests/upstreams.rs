//! Upstream connections end to end: where they come from, where they lead, and what they begin with.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot listen or read has failed"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use nuncio_tests::admin::{page, stat, stats};
use nuncio_tests::client::{Connection, Received};
use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::eventually;
use nuncio_tests::frames::{self, FrameConnection, Next, flag, kind};
use nuncio_tests::message::Kind;
use nuncio_tests::process::{Binary, Directory, Proxy};
use nuncio_tests::scene::Scene;
use rustls::server::Acceptor;
use socket2::{Domain, Socket, Type};

/// Reads the head of a request with all that stands before it, and answers.
fn answer(mut stream: impl Read + Write) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        .unwrap();
    String::from_utf8(head).unwrap()
}

/// A proxy whose only cluster has that endpoint and those fields.
fn proxy(endpoint: String, more: &str) -> Proxy {
    let config = Config::new()
        .cluster(cluster("c", &[endpoint], more))
        .route("{ match: { prefix: / }, route: { cluster: c } }");
    Proxy::start(&Binary::nuncio(), &config.text())
}

fn at(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }}"
    )
}

/// Sends one request; the port that the client came from.
fn get(proxy: &Proxy) -> u16 {
    let mut client = Connection::open(proxy.address("listener"));
    let port = client.local_port();
    let answered = client.exchange(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(answered.status(), 200);
    assert_eq!(answered.body, b"hi");
    port
}

#[test]
fn an_endpoint_is_a_unix_socket() {
    let folder = Directory::create();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || answer(listener.accept().unwrap().0));
    let path = path.display();
    let proxy = proxy(
        format!("{{ endpoint: {{ address: {{ pipe: {{ path: {path} }} }} }} }}"),
        "",
    );
    get(&proxy);
    assert!(server.join().unwrap().starts_with("GET /x HTTP/1.1\r\n"));
}

#[test]
fn connections_come_from_the_address_that_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        answer(stream);
        peer
    });
    let bind = ", upstream_bind_config: { source_address: { address: 127.0.0.3, port_value: 0 } }";
    get(&proxy(at(address), bind));
    assert_eq!(server.join().unwrap().ip(), IpAddr::from([127, 0, 0, 3]));
}

#[test]
fn idle_connections_are_probed_where_that_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        answer(&stream);
        (stream, peer)
    });
    let probes = ", upstream_connection_options: { tcp_keepalive: { keepalive_time: 3600 } }";
    let proxy = proxy(at(address), probes);
    get(&proxy);
    let (_open, peer) = server.join().unwrap();
    // The connection's line in the kernel's table, and in it which timer runs: 2 is that of keep-alive.
    let end = |port| format!("0100007F:{port:04X}");
    let ends = [end(peer.port()), end(address.port())];
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect());
    let mut lines = lines.filter(|fields: &Vec<_>| fields[1..3] == ends);
    let line = lines.next().unwrap();
    assert!(line[5].starts_with("02:"), "{line:?}");
}

/// The field of a cluster whose connections begin with a header of the PROXY protocol.
fn tells_client(version: &str) -> String {
    format!(
        ", transport_socket: {{ name: envoy.transport_sockets.upstream_proxy_protocol, \
         typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets\
         .proxy_protocol.v3.ProxyProtocolUpstreamTransport, config: {{ version: {version} }}, \
         transport_socket: {{ name: envoy.transport_sockets.raw_buffer }} }} }}"
    )
}

#[test]
fn servers_are_told_where_the_client_is() {
    for (version, begins) in [
        ("V1", "PROXY TCP4 127.0.0.1 127.0.0.1 "),
        ("V2", "\r\n\r\n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = Vec::new();
            if begins == "\r\n\r\n" {
                let mut all = [0; 28];
                stream.read_exact(&mut all).unwrap();
                header.extend_from_slice(&all);
            }
            (header, answer(stream))
        });
        let proxy = proxy(at(address), &tells_client(version));
        let from = get(&proxy);
        let to = proxy.address("listener").port();
        let (binary, text) = server.join().unwrap();
        if binary.is_empty() {
            let expected = format!("{begins}{from} {to}\r\nGET /x HTTP/1.1\r\n");
            assert!(text.starts_with(&expected), "{text}");
        } else {
            assert_eq!(binary[12..16], [0x21, 0x11, 0, 12]);
            assert_eq!(binary[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
            assert_eq!(binary[24..26], from.to_be_bytes());
            assert_eq!(binary[26..28], to.to_be_bytes());
            assert!(text.starts_with("GET /x HTTP/1.1\r\n"), "{text}");
        }
    }
}

#[test]
fn servers_are_not_told_where_the_client_is_where_that_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        (peer, answer(stream))
    });
    let config = Config::new()
        .cluster(cluster("c", &[at(address)], &tells_client("V1")))
        .route("{ match: { prefix: / }, route: { cluster: c } }")
        .manager("add_proxy_protocol_connection_state: false");
    let proxy = Proxy::start(&Binary::nuncio(), &config.text());
    get(&proxy);
    let (peer, seen) = server.join().unwrap();
    let (own, port) = (peer.port(), address.port());
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\nGET ");
    assert!(seen.starts_with(&expected), "{seen}");
}

#[test]
fn servers_are_told_what_is_theirs_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = at(listener.local_addr().unwrap());
    let own = " }, metadata: { typed_filter_metadata: { envoy.transport_sockets.proxy_protocol: { \
               \"@type\": type.googleapis.com/envoy.config.core.v3.PerHostConfig, \
               added_tlvs: [ { type: 238, value: YQ== } ] } } } }";
    let endpoint = endpoint.strip_suffix(" } }").unwrap().to_owned() + own;
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut header = [0; 32];
        stream.read_exact(&mut header).unwrap();
        (header, answer(stream))
    });
    let proxy = proxy(endpoint, &tells_client("V2"));
    get(&proxy);
    let (header, rest) = server.join().unwrap();
    assert_eq!(header[28..], [238, 0, 1, b'a']);
    assert!(rest.starts_with("GET /x HTTP/1.1\r\n"), "{rest}");
}

#[test]
fn servers_are_told_of_the_client_that_a_proxy_in_front_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || answer(listener.accept().unwrap().0));
    let config = Config::new()
        .cluster(cluster("c", &[at(address)], &tells_client("V1")))
        .route("{ match: { prefix: / }, route: { cluster: c } }");
    let chains = "    filter_chains:";
    let reads_header = format!(
        "    listener_filters: [ {{ name: envoy.filters.listener.proxy_protocol, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3\
         .ProxyProtocol }} }} ]\n{chains}"
    );
    let text = config.text().replacen(chains, &reads_header, 1);
    let proxy = Proxy::start(&Binary::nuncio(), &text);
    let request = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\nGET /x HTTP/1.1\r\n";
    let mut client = Connection::open(proxy.address("listener"));
    let answered = client.exchange(format!("{request}Host: a.example\r\n\r\n").as_bytes());
    assert_eq!(answered.status(), 200);
    let seen = server.join().unwrap();
    assert!(seen.starts_with(request), "{seen}");
}

/// The protocols that a client offers in its first message of TLS; no more is said to it.
fn offered(mut stream: TcpStream) -> Vec<String> {
    let mut acceptor = Acceptor::default();
    loop {
        assert_ne!(acceptor.read_tls(&mut stream).unwrap(), 0);
        if let Some(accepted) = acceptor.accept().unwrap() {
            let hello = accepted.client_hello();
            let names = hello.alpn().into_iter().flatten();
            return names
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
        }
    }
}

/// A server that goes by [`offered`]: its address, and what there was.
fn server_of_offers() -> (SocketAddr, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, offers) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            if sender.send(offered(stream.unwrap())).is_err() {
                return;
            }
        }
    });
    (address, offers)
}

#[test]
fn checks_offer_protocols_of_their_own() {
    const CHECK: &str = "timeout: 5s, interval: 0.05s, no_traffic_interval: 0.05s, \
         unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}";
    let cases = [
        ("", vec!["data"]),
        (", tls_options: {}", vec!["data"]),
        (", tls_options: { alpn_protocols: [] }", vec!["data"]),
        (
            ", tls_options: { alpn_protocols: [health, other] }",
            vec!["health", "other"],
        ),
    ];
    for binary in [Some(Binary::nuncio()), Binary::envoy()]
        .into_iter()
        .flatten()
    {
        for (options, wanted) in &cases {
            let (address, offers) = server_of_offers();
            let more = format!(
                ", health_checks: [ {{ {CHECK}{options} }} ], transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
                 type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
                 common_tls_context: {{ alpn_protocols: [data] }} }} }}"
            );
            let config = Config::new()
                .cluster(cluster("c", &[at(address)], &more))
                .route("{ match: { prefix: / }, route: { cluster: c } }");
            let proxy = Proxy::start(&binary, &config.text());
            assert_eq!(offers.recv().unwrap(), *wanted, "{options}");
            // Requests go on offering what the context says. They are sent although no check passes.
            let mut client = Connection::open(proxy.address("listener"));
            let answered = client.exchange(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            assert_eq!(answered.status(), 503);
            assert!(offers.iter().any(|names| names == ["data"]));
        }
    }
}

#[test]
fn the_first_overflow_of_a_limit_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = at(listener.local_addr().unwrap());
    let breakers = ", circuit_breakers: { thresholds: [ { max_pending_requests: 0 } ] }";
    let mut proxy = proxy(endpoint, breakers);
    let mut client = Connection::open(proxy.address("listener"));
    for _ in 0..3 {
        let answered = client.exchange(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answered.status(), 503);
    }
    let told = "circuit breaker: max_pending_requests reached (told once)";
    proxy.wait_for_output(told);
    let output = proxy.output();
    assert_eq!(output.matches(told).count(), 1, "{output}");
    let line = output.lines().find(|line| line.contains(told)).unwrap();
    assert!(
        line.contains("limit=0") && line.contains("cluster=\"c\""),
        "{line}"
    );
}

#[test]
fn the_first_failure_to_connect_is_told_and_the_first_success_behind_it() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let address = address.unwrap();
    let mut proxy = proxy(at(address), "");
    for _ in 0..3 {
        let mut client = Connection::open(proxy.address("listener"));
        let answered = client.exchange(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answered.status(), 503);
    }
    let listener = TcpListener::bind(address).unwrap();
    let server = thread::spawn(move || answer(listener.accept().unwrap().0));
    get(&proxy);
    server.join().unwrap();
    proxy.wait_for_output("connections to an endpoint succeed again");
    let output = proxy.output();
    let told: Vec<_> = output
        .lines()
        .filter(|line| line.contains("connections to an"))
        .collect();
    let [failed, again] = told[..] else {
        panic!("{output}");
    };
    let place = format!("cluster=\"c\" endpoint={address}");
    assert!(
        failed.contains("fail ") && failed.contains(&place),
        "{failed}"
    );
    assert!(failed.contains("Connection refused"), "{failed}");
    assert!(again.contains(&place), "{again}");
}

#[test]
fn endpoints_are_counted_apart_where_that_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || answer(listener.accept().unwrap().0));
    let tracked = ", track_cluster_stats: { per_endpoint_stats: true }";
    let proxy = proxy(at(address), tracked);
    get(&proxy);
    server.join().unwrap();
    let name = |what: &str| format!("cluster.c.endpoint.127.0.0.1_{}.{what}", address.port());
    for (what, value) in [
        ("cx_total", 1),
        ("rq_total", 1),
        ("rq_success", 1),
        ("rq_error", 0),
        ("healthy", 1),
    ] {
        assert_eq!(stat(&proxy, &name(what)), value, "{what}");
    }
    let metrics = page(&proxy, "/stats/prometheus?filter=rq_success");
    let labels = format!("envoy_endpoint_address=\"{address}\",envoy_cluster_name=\"c\"");
    let line = format!("envoy_cluster_endpoint_rq_success{{{labels}}} 1");
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[test]
fn nobody_connects_for_a_client_that_has_reset_its_connection() {
    let tcp = "  - name: tcp\n    address: { socket_address: { address: 127.0.0.1, port_value: @PORT:tcp@ } }\n    \
               filter_chains: [ { filters: [ { name: tcp, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
               stat_prefix: tcp, cluster: refused, max_connect_attempts: 9, \
               backoff_options: { base_interval: 3600s, max_interval: 3600s }, \
               access_log: [ { name: log, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
               path: \"@LOG@\", log_format: { text_format_source: { inline_string: \
               \"%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\\n\" } } } } ] } } ] } ]\n";
    let refused = cluster("refused", &[endpoint("refused", "")], "");
    let config = Config::new().cluster(refused);
    let route = "{ match: { prefix: / }, route: { cluster: refused } }";
    let text = config.route(route).text();
    let text = text.replace("  clusters:\n", &format!("{tcp}  clusters:\n"));
    let proxy = Proxy::start(&Binary::nuncio(), &text);
    let mut client = Connection::open(proxy.address("tcp"));
    // Nobody reads it before there is an endpoint.
    client.send(b"hello");
    let failed = "cluster.refused.upstream_cx_connect_fail";
    eventually("an attempt has failed", || stat(&proxy, failed) == 1);
    client.half_close();
    assert_eq!(stat(&proxy, "tcp.tcp.downstream_cx_total"), 1);
    client.reset();
    let log = proxy.directory().join("access.log");
    eventually("the session has ended", || {
        fs::read_to_string(&log).is_ok_and(|log| log == "UF,DC 1\n")
    });
    assert_eq!(stat(&proxy, failed), 1);
}

#[test]
fn the_bytes_of_a_tunnel_say_where_they_come_from() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = "{ match: { connect_matcher: {} }, route: { cluster: c, upgrade_configs: [ { \
                   upgrade_type: CONNECT, connect_config: { proxy_protocol_config: { version: V1 } } } ] } }";
    let config = Config::new()
        .manager("upgrade_configs: [ { upgrade_type: CONNECT } ]")
        .cluster(cluster("c", &[at(upstream.local_addr().unwrap())], ""))
        .route(connect);
    let proxy = Proxy::start(&Binary::nuncio(), &config.text());
    let seen = thread::spawn(move || answer(upstream.accept().unwrap().0));
    let listener = proxy.address("listener");
    let mut client = Connection::open(listener);
    client.send(b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n");
    client.wait_for(b"HTTP/1.1 200 OK");
    client.send(b"GET /inner HTTP/1.1\r\n\r\n");
    client.wait_for(b"hi");
    let ports = (client.local_port(), listener.port());
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", ports.0, ports.1);
    let expected = format!("{header}GET /inner HTTP/1.1\r\n\r\n");
    assert_eq!(seen.join().unwrap(), expected);
}

/// A listener whose connections hold next to nothing that nobody reads.
fn narrow() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    socket.into()
}

/// Whether the kernel has the end of what the client at `from` sends to the listener at `to`.
fn has_end(from: u16, to: u16) -> bool {
    const CLOSE_WAIT: &str = "08";
    let line = format!(" 0100007F:{to:04X} 0100007F:{from:04X} {CLOSE_WAIT} ");
    fs::read_to_string("/proc/net/tcp").unwrap().contains(&line)
}

#[test]
fn what_a_client_has_sent_through_a_tunnel_comes_although_it_has_ended_its_side() {
    // Once with a part that the proxy has not read, and once with pieces that it has read one by one.
    for (piece, pieces) in [(64 * 1024, 1), (4 * 1024, 12)] {
        let upstream = narrow();
        let narrow = ", upstream_bind_config: { source_address: { address: 127.0.0.1, port_value: 0 }, \
                      socket_options: [ { level: 1, name: 7, int_value: 4096, state: STATE_PREBIND } ] }";
        let config = Config::new()
            .manager("upgrade_configs: [ { upgrade_type: websocket } ]")
            .cluster(cluster("c", &[at(upstream.local_addr().unwrap())], narrow))
            .route("{ match: { prefix: / }, route: { cluster: c } }");
        let proxy = Proxy::start(&Binary::nuncio(), &config.text());
        let (read_on, may_read) = mpsc::channel();
        let serving = thread::spawn(move || {
            let (mut stream, _) = upstream.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let opened = b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(opened).unwrap();
            may_read.recv().unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).map(|_| came.len())
        });
        let listener = proxy.address("listener");
        let mut client = Connection::open(listener);
        client.send(
            b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        client.wait_for(b"\r\n\r\n");
        let read = || stat(&proxy, "http.ingress.downstream_cx_rx_bytes_total");
        let head = read();
        for number in 1..=pieces {
            client.send(&vec![b'x'; piece]);
            if pieces > 1 {
                let all = u64::try_from(number * piece).unwrap();
                eventually("the piece is read", || read() == head + all);
            }
        }
        client.half_close();
        eventually("the client's end is there", || {
            has_end(client.local_port(), listener.port())
        });
        let waits = "http.ingress.downstream_flow_control_paused_reading_total";
        eventually("what it sends waits", || {
            pieces > 1 || stat(&proxy, waits) > 0
        });
        read_on.send(()).unwrap();
        assert_eq!(serving.join().unwrap().unwrap(), piece * pieces);
        assert!(matches!(client.drain(), Received::Closed));
    }
}

#[test]
fn a_tunnel_that_ends_here_ends_with_an_endpoint_that_fails() {
    let connect = "{ match: { connect_matcher: {} }, route: { cluster: c, upgrade_configs: [ { \
                   upgrade_type: CONNECT, connect_config: {} } ] } }";
    let checks = "health_checks: [ { timeout: 5s, interval: 0.05s, no_traffic_interval: 0.05s, \
                  unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: /healthz } } ]";
    let more = format!(", close_connections_on_host_health_failure: true, {checks}");
    let config = Config::new()
        .manager("upgrade_configs: [ { upgrade_type: CONNECT } ]")
        .cluster(cluster("c", &[endpoint("origin", "")], &more))
        .log("%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%")
        .route(connect);
    let scene = Scene::start(&config);
    let mut client = scene.connect();
    client.send(b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n");
    client.wait_for(b"HTTP/1.1 200 OK");
    client.send(b"GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n");
    client.wait_for(b"\r\n\r\nok");
    scene.origin.answer_health_checks(503);
    assert!(matches!(client.drain(), Received::Closed));
    let log = scene.proxy.directory().join("access.log");
    let expected = "UC upstream_reset_after_response_started{connection_termination}\n";
    eventually("the tunnel is logged", || {
        fs::read_to_string(&log).is_ok_and(|log| log == expected)
    });
    let destroyed = "cluster.c.upstream_cx_destroy_local_with_active_rq";
    assert_eq!(stat(&scene.proxy, destroyed), 1);
}

/// A proxy whose only cluster speaks HTTP/2 with that endpoint, with those fields of
/// `HttpProtocolOptions` and of `Http2ProtocolOptions`.
fn http2(endpoint: String, common: &str, options: &str) -> Proxy {
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let more = format!(
        ", typed_extension_protocol_options: {{ {protocol}: {{ \"@type\": type.googleapis.com/{protocol}, \
         {common}explicit_http_config: {{ http2_protocol_options: {{ {options} }} }} }} }}"
    );
    proxy(endpoint, &more)
}

/// Sends a request that fails; how the upstream connection ended: here, there, there with a request, for
/// it was silent.
fn ended(proxy: &Proxy) -> [u64; 4] {
    let mut client = Connection::open(proxy.address("listener"));
    let answered = client.exchange(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(answered.status(), 503);
    stats(
        proxy,
        "cluster.c.",
        [
            "upstream_cx_destroy_local",
            "upstream_cx_destroy_remote",
            "upstream_cx_destroy_remote_with_active_rq",
            "http2.keepalive_timeout",
        ],
    )
}

/// The next connection of HTTP/2, behind its preface.
fn accept_http2(server: &TcpListener) -> FrameConnection {
    let (mut socket, _) = server.accept().unwrap();
    let mut preface = [0; frames::PREFACE.len()];
    socket.read_exact(&mut preface).unwrap();
    FrameConnection::over(socket)
}

#[test]
fn a_stream_that_is_reset_under_a_tcp_connection_resets_it() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = cluster("c", &[at(server.local_addr().unwrap())], HTTP2);
    let tcp = "  - name: tcp\n    address: { socket_address: { address: 127.0.0.1, port_value: @PORT:tcp@ } }\n    \
               filter_chains: [ { filters: [ { name: tcp, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
               stat_prefix: tcp, cluster: c, tunneling_config: { hostname: a }, \
               access_log: [ { name: log, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
               path: \"@LOG@\", log_format: { text_format_source: { inline_string: \
               \"%RESPONSE_FLAGS% %BYTES_SENT%\\n\" } } } } ] } } ] } ]\n";
    let config = Config::new().cluster(backend);
    let route = "{ match: { prefix: / }, route: { cluster: c } }";
    let text = config.route(route).text();
    let text = text.replace("  clusters:\n", &format!("{tcp}  clusters:\n"));
    let proxy = Proxy::start(&Binary::nuncio(), &text);
    let log = proxy.directory().join("access.log");
    let mut expected = String::new();
    let mut tunnel = None;
    for (end, resets) in [
        (frames::reset as fn(u32, u32) -> Vec<u8>, true),
        (
            |stream, _code| frames::data(stream, flag::END_STREAM, b""),
            false,
        ),
    ] {
        let mut client = Connection::open(proxy.address("tcp"));
        let tunnel = tunnel.get_or_insert_with(|| {
            let mut tunnel = accept_http2(&server);
            tunnel.send(&frames::settings(&[]));
            tunnel
        });
        let mut stream = 0;
        let (_, came) = tunnel.read_until(|frame| {
            stream = frame.stream;
            frame.kind == kind::HEADERS
        });
        assert!(came);
        tunnel.send(&frames::headers(stream, flag::NONE, &[(":status", "200")]));
        tunnel.send(&frames::data(stream, flag::NONE, b"hello"));
        client.wait_for(b"hello");
        tunnel.send(&end(stream, 8));
        if resets {
            assert!(matches!(client.drain(), Received::Reset));
            expected.push_str("UR 5\n");
        } else {
            assert!(matches!(client.drain(), Received::Closed));
            drop(client);
            expected.push_str("- 5\n");
        }
        eventually("the session is logged", || {
            fs::read_to_string(&log).is_ok_and(|log| log == expected)
        });
    }
    assert_eq!(stat(&proxy, "cluster.c.upstream_rq_rx_reset"), 1);
}

#[test]
fn a_request_that_has_come_is_timed_although_its_upstream_takes_nothing() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = cluster("c", &[at(server.local_addr().unwrap())], HTTP2);
    let route = |path: &str, more: &str| {
        format!("{{ match: {{ prefix: {path} }}, route: {{ cluster: c, {more} }} }}")
    };
    let config = Config::new()
        .cluster(backend)
        .route(route("/route", "timeout: 0.3s"))
        .route(route(
            "/try",
            "timeout: 5s, retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.2s }",
        ))
        .route(route(
            "/stream",
            "max_stream_duration: { max_stream_duration: 0.3s }",
        ));
    let proxy = Proxy::start(&Binary::nuncio(), &config.text());
    let serving = thread::spawn(move || {
        let mut server = accept_http2(&server);
        // Not even a byte of a body.
        server.send(&frames::settings(&[(4, 0)]));
        server.send(&frames::frame(kind::SETTINGS, flag::ACK, 0, b""));
        server.read_to_end();
    });
    for path in ["/route", "/try", "/stream"] {
        let mut client = Connection::open(proxy.address("listener"));
        let body = "x".repeat(100);
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\n{body}");
        assert_eq!(client.exchange(request.as_bytes()).status(), 504, "{path}");
    }
    assert_eq!(stat(&proxy, "cluster.c.upstream_rq_per_try_timeout"), 2);
    drop(proxy);
    serving.join().unwrap();
}

#[test]
fn a_connection_that_was_silent_is_asked_whether_it_lives() {
    for (interval, pings) in [("0.001s", true), ("3600s", false)] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let is_asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_asked);
        let serving = thread::spawn(move || {
            let mut server = accept_http2(&server);
            server.send(&frames::settings(&[]));
            while let Next::Frame(frame) = server.next() {
                if frame.kind == kind::PING {
                    seen.store(true, Ordering::Relaxed);
                } else if frame.stream > 0 && frame.ends(frame.stream) {
                    let head = [(":status", "200")];
                    server.send(&frames::headers(frame.stream, flag::END_STREAM, &head));
                }
            }
        });
        let options = format!(
            "connection_keepalive: {{ connection_idle_interval: {interval}, timeout: 60s }}"
        );
        let proxy = http2(at(address), "", &options);
        let ask = || {
            let mut client = Connection::open(proxy.address("listener"));
            let answered = client.exchange(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
            assert_eq!(answered.status(), 200);
        };
        if pings {
            eventually("the connection is asked", || {
                ask();
                is_asked.load(Ordering::Relaxed)
            });
        } else {
            (0..3).for_each(|_| ask());
        }
        drop(proxy);
        serving.join().unwrap();
        assert_eq!(is_asked.load(Ordering::Relaxed), pings, "{interval}");
    }
}

#[test]
fn who_ended_an_http2_connection_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let pings = "connection_keepalive: { interval: 0.1s, timeout: 0.1s }";
    let proxy = http2(at(silent.local_addr().unwrap()), "", pings);
    assert_eq!(ended(&proxy), [1, 0, 0, 1]);
    // One that takes no more streams, and that the server ends under its last one.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let mut server = accept_http2(&server);
        let (_, came) = server.read_until(|frame| frame.kind == kind::HEADERS);
        came
    });
    let once = "common_http_protocol_options: { max_requests_per_connection: 1 }, ";
    let proxy = http2(at(address), once, "");
    assert_eq!(ended(&proxy), [0, 1, 1, 0]);
    assert!(serving.join().unwrap());
}

#[test]
fn an_upstream_that_takes_no_streams_gets_what_was_given_to_a_new_connection() {
    const REQUESTS: usize = 20;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let answered = (0..REQUESTS).map(|_| {
            let (mut socket, _) = server.accept().unwrap();
            // Before anything is asked.
            socket.write_all(&frames::settings(&[(3, 0)])).unwrap();
            let mut preface = [0; frames::PREFACE.len()];
            socket.read_exact(&mut preface).unwrap();
            let mut connection = FrameConnection::over(socket);
            let (lines, came) = connection.read_until(|frame| frame.kind == kind::HEADERS);
            assert!(came, "{lines:?}");
            let head = frames::headers(1, flag::END_STREAM, &[(":status", "200")]);
            connection.send(&head);
            connection
        });
        answered.collect::<Vec<_>>()
    });
    let proxy = http2(at(address), "", "");
    for _ in 0..REQUESTS {
        let mut client = Connection::open(proxy.address("listener"));
        let answered = client.exchange(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(answered.status(), 200);
    }
    let connections = serving.join().unwrap();
    assert_eq!(
        stat(&proxy, "cluster.c.upstream_cx_total"),
        connections.len() as u64
    );
}

#[test]
fn who_waits_for_a_stream_has_it_when_the_upstream_takes_more() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let more = format!("{HTTP2}, circuit_breakers: {{ thresholds: [ {{ max_connections: 1 }} ] }}");
    let proxy = proxy(at(address), &more);
    let request = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut first = Connection::open(proxy.address("listener"));
    first.send(request);
    let mut upstream = accept_http2(&server);
    upstream.send(&frames::settings(&[(3, 1)]));
    let (lines, came) =
        upstream.read_until(|frame| frame.kind == kind::SETTINGS && frame.flags & flag::ACK != 0);
    assert!(came, "{lines:?}");
    let mut second = Connection::open(proxy.address("listener"));
    second.send(request);
    eventually("a request waits", || {
        stat(&proxy, "cluster.c.upstream_rq_pending_active") == 1
    });
    upstream.send(&frames::settings(&[(3, 2)]));
    let (lines, came) =
        upstream.read_until(|frame| frame.kind == kind::HEADERS && frame.stream == 3);
    assert!(came, "{lines:?}");
    let answers =
        [3, 1].map(|stream| frames::headers(stream, flag::END_STREAM, &[(":status", "200")]));
    upstream.send(&answers.concat());
    for mut client in [second, first] {
        let answered = client.receive(Kind::Response).message();
        assert_eq!(answered.status(), 200);
    }
}
