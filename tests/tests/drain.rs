//! How nuncio ends: what is in flight is finished, nothing that was accepted is lost.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test suite")]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nuncio_tests::client::{self, Connection, Received};
use nuncio_tests::config::{Config, cluster};
use nuncio_tests::eventually;
use nuncio_tests::frames::{self, FrameConnection};
use nuncio_tests::message::Kind;
use nuncio_tests::origin::{Act, Gate, Origin, Reply};
use nuncio_tests::process::{Binary, Proxy, Setup};
use rustix::process::Signal;
use tokio::task::{LocalSet, spawn_local};

const SIMPLE: &str = include_str!("../fixtures/simple.yaml");
const TUNNELS: &str = include_str!("../fixtures/tunnels.yaml");
const GET: &[u8] = b"GET /held HTTP/1.1\r\nHost: a.example\r\n\r\n";

struct Scene {
    proxy: Proxy,
    origin: Origin,
    listener: SocketAddr,
}

impl Scene {
    fn start(arguments: &[&str], workers: usize) -> Self {
        Self::of(SIMPLE, "listener", arguments, workers)
    }

    fn of(template: &str, listener: &str, arguments: &[&str], workers: usize) -> Self {
        let setup = Setup::for_template(template)
            .arguments(arguments)
            .concurrency(workers);
        let origin = Origin::start_on(setup.port("origin").unwrap());
        let proxy = Proxy::start_with(&Binary::nuncio(), template, setup);
        let listener = proxy.address(listener);
        Self {
            proxy,
            origin,
            listener,
        }
    }

    /// Makes the upstream hold the next request until the gate opens.
    fn hold(&self) -> Gate {
        let gate = Gate::default();
        let reply = Reply::nothing().then(Act::Wait(gate.clone()));
        let body = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld".to_vec();
        self.origin.reply_with([reply.then(Act::Send(body))]);
        gate
    }

    /// Sends a request that the upstream holds.
    fn request(&self) -> Connection {
        let mut connection = Connection::open(self.listener);
        connection.send(GET);
        self.origin.wait_for_requests(1);
        connection
    }

    fn signal(&self, signal: Signal) {
        self.proxy.signal(signal);
        eventually("new connections are refused", || {
            TcpStream::connect(self.listener).is_err()
        });
    }
}

fn in_flight_is_finished(signal: Signal) {
    let scene = Scene::start(&[], 1);
    let gate = scene.hold();
    let mut connection = scene.request();
    scene.signal(signal);
    gate.open();
    let response = connection.receive(Kind::Response).message();
    assert_eq!((response.status(), response.text().as_str()), (200, "held"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(
        matches!(connection.drain(), Received::Closed),
        "the connection ends in order"
    );
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert_eq!(ended.log, "/held 200 -\n");
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    in_flight_is_finished(Signal::TERM);
}

#[test]
fn sigint_finishes_what_is_in_flight() {
    in_flight_is_finished(Signal::INT);
}

#[test]
fn a_body_on_its_way_is_finished() {
    let scene = Scene::start(&[], 1);
    let mut connection = Connection::open(scene.listener);
    connection.send(b"POST /body HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\n\r\nabc");
    scene.origin.wait_for_requests(1);
    scene.signal(Signal::TERM);
    connection.send(b"def");
    let response = connection.receive(Kind::Response).message();
    assert_eq!(response.status(), 200);
    assert_eq!(scene.origin.take_requests()[0].text(), "abcdef");
    assert_eq!(scene.proxy.wait().status.code(), Some(0));
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let scene = Scene::start(&[], 1);
    let mut idle = Connection::open(scene.listener);
    assert_eq!(idle.exchange(GET).status(), 200);
    let mut fresh = Connection::open(scene.listener);
    scene.signal(Signal::TERM);
    assert!(matches!(idle.drain(), Received::Closed));
    assert!(matches!(fresh.drain(), Received::Closed));
    assert_eq!(scene.proxy.wait().status.code(), Some(0));
}

#[test]
fn who_only_keeps_a_connection_loses_nothing_at_the_end() {
    let scene = Scene::start(&["--drain-time-s", "1"], 1);
    let mut idle = Connection::open(scene.listener);
    assert_eq!(idle.exchange(GET).status(), 200);
    scene.signal(Signal::TERM);
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn readiness_says_draining() {
    let scene = Scene::start(&[], 1);
    let gate = scene.hold();
    let connection = scene.request();
    scene.signal(Signal::TERM);
    let ready = client::get(scene.proxy.address("admin"), "/ready");
    assert_eq!(
        (ready.status(), ready.text().as_str()),
        (503, "DRAINING\\n")
    );
    gate.open();
    drop(connection);
    assert_eq!(scene.proxy.wait().status.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let scene = Scene::start(&[], 1);
    let _never_opened = scene.hold();
    let mut connection = scene.request();
    scene.signal(Signal::TERM);
    eventually("it is one for itself", || {
        scene.proxy.signal(Signal::TERM);
        scene.proxy.output().contains("another signal came")
    });
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.output);
    assert!(!ended.log.contains("200"), "{}", ended.log);
    assert!(!matches!(
        connection.receive(Kind::Response),
        Received::Message(_)
    ));
}

#[test]
fn the_echo_of_a_signal_is_no_second_one() {
    let scene = Scene::start(&[], 1);
    let gate = scene.hold();
    let mut connection = scene.request();
    scene.proxy.signal(Signal::TERM);
    scene.signal(Signal::INT);
    gate.open();
    let response = connection.receive(Kind::Response).message();
    assert_eq!(response.status(), 200);
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn logs_are_opened_anew_in_a_drain() {
    let mut scene = Scene::start(&[], 1);
    let gate = scene.hold();
    let mut connection = scene.request();
    scene.signal(Signal::TERM);
    let log = scene.proxy.directory().join("access.log");
    fs::rename(&log, log.with_extension("1")).unwrap();
    scene.proxy.signal(Signal::USR1);
    scene.proxy.wait_for_output("opening access logs anew");
    gate.open();
    let response = connection.receive(Kind::Response).message();
    assert_eq!(response.status(), 200);
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert_eq!(ended.log, "/held 200 -\n");
}

/// A cluster whose only endpoint says nothing to its health checks.
const SILENT: &str = ", health_checks: [ { timeout: 60s, interval: 60s, unhealthy_threshold: 1, \
                      healthy_threshold: 1, tcp_health_check: { receive: [ { text: \"00\" } ] } } ]";

#[test]
fn a_start_that_takes_its_time_says_so_and_is_ended_like_any_other() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let endpoint = format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}"
    );
    let text = Config::new()
        .cluster(cluster("origin", &[endpoint], SILENT))
        .text();
    for by_page in [true, false] {
        let setup = Setup::for_template(&text);
        let mut proxy = Proxy::spawn(&Binary::nuncio(), &text, setup);
        proxy.wait_for_output("waiting for clusters to be resolved and checked: origin");
        proxy.signal(Signal::USR1);
        proxy.wait_for_output("opening access logs anew");
        match by_page {
            true => {
                let post = b"POST /quitquitquit HTTP/1.1\r\nHost: a.example\r\n\r\n";
                let page = Connection::open(proxy.address("admin")).exchange(post);
                assert_eq!(page.status(), 200);
            }
            false => proxy.signal(Signal::TERM),
        }
        let ended = proxy.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    }
}

#[test]
fn the_drain_time_is_a_bound() {
    let scene = Scene::start(&["--drain-time-s", "1"], 1);
    let _never_opened = scene.hold();
    let _connection = scene.request();
    scene.signal(Signal::TERM);
    // Ends although the request is still held; `wait` has its own, larger bound.
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.output);
    // What is cut is logged as what it is.
    assert_eq!(ended.log, "/held 0 DC\n");
}

#[test]
fn http2_streams_are_finished_after_goaway() {
    let scene = Scene::start(&[], 1);
    let gate = scene.hold();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        let stream = tokio::net::TcpStream::connect(scene.listener)
            .await
            .unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = spawn_local(connection);
        let mut client = client.ready().await.unwrap();
        let request = || {
            http::Request::get("http://a.example/held")
                .body(())
                .unwrap()
        };
        let (response, _) = client.send_request(request(), true).unwrap();
        while scene.origin.arrived() == 0 {
            tokio::task::yield_now().await;
        }
        scene.proxy.signal(Signal::TERM);
        let refused = async {
            while let Ok(ready) = client.clone().ready().await {
                drop(ready);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(client::PATIENCE, refused)
            .await
            .expect("a GOAWAY comes");
        gate.open();
        let (head, mut body) = response.await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(body.data().await.unwrap().unwrap(), "held");
        drop(client);
        connection
            .await
            .unwrap()
            .expect("the connection ends in order");
    }));
    assert_eq!(scene.proxy.wait().status.code(), Some(0));
}

/// Requests one after the other on a connection that is kept, a new one when it ends, until nobody
/// listens any more. How many were answered.
fn load(listener: SocketAddr, total: &AtomicUsize) -> usize {
    let mut answered = 0;
    while let Ok(stream) = TcpStream::connect(listener) {
        let mut connection = Connection::over(stream);
        loop {
            connection.send(b"GET /load HTTP/1.1\r\nHost: a.example\r\n\r\n");
            match connection.receive(Kind::Response) {
                Received::Message(response) => {
                    assert!(response.complete, "a response was cut off");
                    assert_eq!((response.status(), response.text().as_str()), (200, "ok"));
                    answered += 1;
                    total.fetch_add(1, Ordering::Relaxed);
                    if response.closes() {
                        break;
                    }
                }
                // Without a byte of a response: the request crossed the end of an idle connection
                // or of the listener. Whether it was read is what the counts at the end tell.
                Received::Closed | Received::Reset => break,
                other => panic!("{other:?}"),
            }
        }
    }
    answered
}

#[test]
fn sigterm_under_load_loses_nothing() {
    const CLIENTS: usize = 8;
    const BEFORE: usize = 2_000;
    let scene = Scene::start(&[], 2);
    let total = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (listener, total) = (scene.listener, Arc::clone(&total));
            thread::spawn(move || load(listener, &total))
        })
        .collect();
    eventually("the load runs", || total.load(Ordering::Relaxed) >= BEFORE);
    scene.proxy.signal(Signal::TERM);
    let answered: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    let ended = scene.proxy.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert_eq!(
        scene.origin.take_requests().len(),
        answered,
        "each one that went on came back"
    );
    let logged = ended
        .log
        .lines()
        .filter(|line| *line == "/load 200 -")
        .count();
    assert_eq!(logged, answered, "each one that was logged came back");
    assert_eq!(
        ended.log.lines().count(),
        logged,
        "and nothing else was logged"
    );
}

/// A connection that lasts until its client ends it: how it begins, what the upstream answers, what is
/// read of that, and its log line.
struct Tunnel {
    listener: &'static str,
    opening: &'static str,
    answer: &'static str,
    is_http: bool,
    log: &'static str,
}

const TUNNEL_KINDS: [Tunnel; 3] = [
    Tunnel {
        listener: "bytes",
        opening: "GET /bytes HTTP/1.1\r\nHost: a.example\r\n\r\n",
        answer: "hello",
        is_http: false,
        log: "- 0 received 46",
    },
    Tunnel {
        listener: "listener",
        opening: "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        answer: "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
        is_http: true,
        log: "GET 101 received 6",
    },
    Tunnel {
        listener: "listener",
        opening: "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        answer: "hello",
        is_http: true,
        log: "CONNECT 200 received 46",
    },
];

impl Tunnel {
    /// Opens it through a proxy, up to the upstream's greeting.
    fn open(&self, scene: &Scene) -> Connection {
        let echo = Reply::bytes(self.answer).at_head().then(Act::Echo);
        scene.origin.reply_with([echo]);
        let mut connection = Connection::open(scene.listener);
        connection.send(self.opening.as_bytes());
        if self.is_http {
            let answer = connection.receive(Kind::ResponseToHead).message();
            assert!(matches!(answer.status(), 101 | 200), "{answer:?}");
        }
        if self.opening.starts_with("CONNECT") {
            // The upstream begins with a request of its own.
            connection.send(b"GET /inner HTTP/1.1\r\nHost: a.example\r\n\r\n");
        }
        assert_eq!(connection.receive_bytes(5), b"hello");
        connection
    }
}

#[test]
fn sigterm_lets_tunnels_go_on_until_their_clients_end() {
    for tunnel in TUNNEL_KINDS {
        let scene = Scene::of(TUNNELS, tunnel.listener, &[], 1);
        let mut connection = tunnel.open(&scene);
        scene.signal(Signal::TERM);
        for letter in [b"a", b"b", b"c", b"d", b"e", b"f"] {
            connection.send(letter);
            assert_eq!(connection.receive_bytes(1), letter);
        }
        connection.half_close();
        assert!(matches!(connection.drain(), Received::Closed));
        let ended = scene.proxy.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
        // Whether the listener is still there was asked with connections that said nothing.
        let said = |line: &&str| !line.ends_with("received 0");
        let lines: Vec<&str> = ended.log.lines().filter(said).collect();
        assert_eq!(lines, [tunnel.log]);
    }
}

#[test]
fn the_drain_time_is_a_bound_for_tunnels_too() {
    for tunnel in TUNNEL_KINDS {
        let scene = Scene::of(TUNNELS, tunnel.listener, &["--drain-time-s", "1"], 1);
        let mut connection = tunnel.open(&scene);
        scene.signal(Signal::TERM);
        assert!(!matches!(connection.drain(), Received::Silence));
        let ended = scene.proxy.wait();
        assert_eq!(ended.status.code(), Some(3), "{}", ended.output);
        // Whether the listener is still there was asked with connections that said nothing.
        let begin = tunnel.log.rsplit_once(' ').map_or("", |(begin, _)| begin);
        let lines = ended.log.lines().filter(|line| line.starts_with(begin));
        let said = lines.filter(|line| tunnel.is_http || !line.ends_with(" 0"));
        assert_eq!(said.count(), 1, "{}", ended.log);
    }
}

/// The simple configuration with a listener filter that looks at the first bytes.
fn inspected() -> String {
    SIMPLE.replace(
        "    filter_chains:\n",
        "    listener_filters: [ { name: envoy.filters.listener.tls_inspector } ]\n    filter_chains:\n",
    )
}

#[test]
fn what_waits_to_be_accepted_is_served_after_it_was_looked_at() {
    const WAITING: usize = 8;
    let scene = Scene::of(&inspected(), "listener", &[], 1);
    // Until it goes on it accepts nobody, and then it has the signal too.
    scene.proxy.signal(Signal::STOP);
    let mut waiting: Vec<Connection> = (0..WAITING)
        .map(|_| {
            let mut connection = Connection::open(scene.listener);
            connection.send(GET);
            connection
        })
        .collect();
    scene.proxy.signal(Signal::TERM);
    scene.proxy.signal(Signal::CONT);
    for connection in &mut waiting {
        let response = connection.receive(Kind::Response).message();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(scene.proxy.wait().status.code(), Some(0));
}

#[test]
fn a_client_that_has_not_said_who_it_is_does_not_hold_up_the_end() {
    let scene = Scene::of(&inspected(), "listener", &[], 1);
    let mut silent = Connection::open(scene.listener);
    let mut other = Connection::open(scene.listener);
    assert_eq!(other.exchange(GET).status(), 200);
    scene.signal(Signal::TERM);
    assert!(matches!(silent.drain(), Received::Closed));
    assert_eq!(scene.proxy.wait().status.code(), Some(0));
}

/// Asks the admin server for something.
fn post(proxy: &Proxy, path: &str) {
    let request = format!("POST {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = Connection::open(proxy.address("admin")).exchange(request.as_bytes());
    assert_eq!(
        (answer.status(), answer.body.as_slice()),
        (200, &b"OK\n"[..])
    );
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn listeners_are_stopped_and_connections_stay() {
    let scene = Scene::start(&[], 2);
    let mut kept = Connection::open(scene.listener);
    assert_eq!(kept.exchange(GET).status(), 200);
    post(&scene.proxy, "/drain_listeners");
    eventually("new connections are refused", || is_refused(scene.listener));
    let answer = kept.exchange(GET);
    assert_eq!((answer.status(), answer.header("connection")), (200, None));
    let ready = client::get(scene.proxy.address("admin"), "/ready");
    assert_eq!(
        (ready.status(), ready.body.as_slice()),
        (200, &b"LIVE\n"[..])
    );
    // It may be asked for again.
    post(&scene.proxy, "/drain_listeners");
    drop(kept);
    assert_eq!(scene.proxy.stop().status.code(), Some(0));
}

#[test]
fn listeners_are_stopped_after_the_drain_time() {
    let scene = Scene::start(&["--drain-time-s", "1"], 1);
    let mut kept = Connection::open(scene.listener);
    assert_eq!(kept.exchange(GET).status(), 200);
    post(&scene.proxy, "/drain_listeners?graceful");
    post(&scene.proxy, "/drain_listeners?graceful");
    assert!(!is_refused(scene.listener), "clients may still come");
    eventually("new connections are refused", || is_refused(scene.listener));
    // Everybody is sent away by then.
    let answer = kept.exchange(GET);
    assert_eq!(answer.header("connection"), Some("close"));
    drop(kept);
    assert_eq!(scene.proxy.stop().status.code(), Some(0));
}

#[test]
fn clients_are_sent_away_and_may_come_back() {
    let scene = Scene::start(&["--drain-time-s", "0"], 1);
    post(&scene.proxy, "/drain_listeners?graceful&skip_exit");
    for _ in 0..3 {
        let answer = Connection::open(scene.listener).exchange(GET);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let mut http2 = FrameConnection::open(scene.listener);
    assert!(http2.send(&frames::get(1, "/x")));
    let (lines, told) = http2.read_until(|frame| frame.kind == frames::kind::GOAWAY);
    assert!(told, "{lines:?}");
}

#[test]
fn listeners_for_inbound_traffic_are_stopped_alone() {
    let inbound = SIMPLE.replace(
        "  - name: main\n",
        "  - name: main\n    traffic_direction: INBOUND\n",
    );
    let (_, listener) = inbound.split_once("  - name: main\n").unwrap();
    let (listener, _) = listener.split_once("  clusters:\n").unwrap();
    let outbound = listener
        .replace("INBOUND", "OUTBOUND")
        .replace("@PORT:listener@", "@PORT:outbound@");
    let both = format!("  - name: outbound\n{outbound}  clusters:\n");
    let scene = Scene::of(&inbound.replace("  clusters:\n", &both), "listener", &[], 1);
    post(&scene.proxy, "/drain_listeners?inboundonly");
    eventually("new connections are refused", || is_refused(scene.listener));
    let outbound = scene.proxy.address("outbound");
    assert_eq!(client::get(outbound, "/x").status(), 200);
}
