//! Back-pressure: whoever sends more than the other side reads is stopped, and the proxy's memory
//! stays within what it may hold for each stream, whatever the two sides speak.
//!
//! Most cases offer 64 streams of 64 MiB, 4 GiB in all, to peers that read nothing, wait until every
//! sender was stopped, and look at the memory that the kernel counts for the proxy.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of a test suite"
)]

use std::future::poll_fn;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::{Method, Request, Response};
use socket2::{Domain, Socket, Type};
use tokio::task::{LocalSet, spawn_local};

use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::origin::{Act, Origin, Reply};
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::{admin, pause};

/// Streams of a case.
const STREAMS: usize = 64;
/// What each stream has to send.
const BODY: usize = 64 * 1024 * 1024;
/// Who could send nothing for that long was stopped: the rest of 4 GiB would take seconds.
const STOPPED: Duration = Duration::from_millis(500);
/// Longest wait for all senders to be stopped.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a stream may hold: a buffer that was read into, what waits to be written, and what HTTP/2
/// queues of a stream, 64 KiB each; and as much again for the allocator.
const EACH: u64 = 6 * 64 * 1024;
/// What an HTTP/2 connection may hold that the proxy reads from, by default: its window, Envoy's 24 MiB.
const WINDOW: u64 = 24 * 1024 * 1024;
/// For all that is not streams.
const REST: u64 = 8 * 1024 * 1024;

static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
/// The content of a DATA frame: what fits badly into the buffers of the proxy's codec.
const FRAME: usize = 8 * 1024;

/// What tells that a sender was stopped, and keeps the peers as they are until it is dropped.
type Stopped = Sender<usize>;

/// What one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Tcp,
    /// TCP that travels in streams, of HTTP/1 or 2 as the upstream speaks.
    Tunneled,
    Http1,
    Http2,
}

fn config(upstream: Speaks) -> String {
    config_of(Config::new(), upstream, "", HTTP2)
}

/// `more` are fields of the cluster, and `http2` those that an HTTP/2 one has.
fn config_of(config: Config, upstream: Speaks, more: &str, http2: &str) -> String {
    let http2 = if upstream == Speaks::Http2 { http2 } else { "" };
    let breakers = ", circuit_breakers: { thresholds: [ { max_connections: 4096, \
                    max_pending_requests: 4096, max_requests: 4096 } ] }";
    let origin = cluster(
        "origin",
        &[endpoint("origin", "")],
        &format!("{http2}{breakers}{more}"),
    );
    let text = config.cluster(origin).text();
    let tcp = "  - name: tcp\n    address: { socket_address: { address: 127.0.0.1, port_value: @PORT:tcp@ } }\n    \
               filter_chains: [ { filters: [ { name: tcp, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
               stat_prefix: tcp, cluster: origin } } ] } ]\n";
    let tunneled = tcp
        .replace("name: tcp", "name: tunneled")
        .replace("@PORT:tcp@", "@PORT:tunneled@")
        .replace(
            "stat_prefix: tcp,",
            "stat_prefix: tunneled, tunneling_config: { hostname: a },",
        );
    text.replace("  clusters:\n", &format!("{tcp}{tunneled}  clusters:\n"))
}

/// What is offered, and what the proxy may hold of it.
struct Case {
    downstream: Speaks,
    upstream: Speaks,
    /// Whether it is the clients that send.
    upload: bool,
    streams: usize,
    /// Bytes.
    bound: u64,
}

impl Case {
    /// As many streams as all cases have, with the windows that nobody has written.
    fn new(downstream: Speaks, upstream: Speaks, upload: bool) -> Self {
        let reads_http2 = if upload { downstream } else { upstream } == Speaks::Http2;
        let window = if reads_http2 { WINDOW } else { 0 };
        Self {
            downstream,
            upstream,
            upload,
            streams: STREAMS,
            bound: STREAMS as u64 * EACH + window + REST,
        }
    }

    /// Runs it; `look` looks at the proxy while all senders are stopped.
    fn run(&self, text: &str, look: impl FnOnce(&Proxy)) {
        let setup = Setup::for_template(text);
        let (stopped, all) = channel();
        let port = setup.port("origin").unwrap();
        origin(self.upstream, port, (!self.upload).then(|| stopped.clone()));
        let proxy = Proxy::start_with(&Binary::nuncio(), text, setup);
        let listener = proxy.address(match self.downstream {
            Speaks::Tcp => "tcp",
            Speaks::Tunneled => "tunneled",
            Speaks::Http1 | Speaks::Http2 => "listener",
        });
        let before = admin::stat(&proxy, "server.memory_allocated");
        let sends = self.upload.then_some(stopped);
        let held = clients(self.downstream, self.streams, listener, sends);
        wait(&all, self.streams);
        let held_now = admin::stat(&proxy, "server.memory_allocated").saturating_sub(before);
        let Self {
            downstream,
            upstream,
            upload,
            bound,
            ..
        } = self;
        assert!(
            held_now <= *bound,
            "{downstream:?} to {upstream:?}, upload {upload}: {held_now} bytes held, {bound} allowed"
        );
        look(&proxy);
        drop(held);
    }
}

/// Runs a case: `upload` says which side sends.
fn case(downstream: Speaks, upstream: Speaks, upload: bool) {
    Case::new(downstream, upstream, upload).run(&config(upstream), |proxy| {
        let of_client = match downstream {
            Speaks::Tcp => "tcp.tcp.downstream",
            Speaks::Tunneled => "tcp.tunneled.downstream",
            Speaks::Http1 | Speaks::Http2 => "http.ingress.downstream",
        };
        let counted: &[_] = if upload {
            &[
                (of_client, "paused_reading", "resumed_reading"),
                ("cluster.origin.upstream", "backed_up", "drained"),
            ]
        } else {
            &[(
                "cluster.origin.upstream",
                "paused_reading",
                "resumed_reading",
            )]
        };
        for (of, held, let_go) in counted {
            let stat = |what| admin::stat(proxy, &format!("{of}_flow_control_{what}_total"));
            assert!(stat(held) > stat(let_go), "{of}: {held}");
        }
    });
}

/// Waits until every stream's sender has sent something and was stopped.
fn wait(all: &Receiver<usize>, streams: usize) {
    for _ in 0..streams {
        let sent = all.recv_timeout(PATIENCE).expect("a sender is not stopped");
        assert!(sent < BODY, "a stream that nobody reads was sent whole");
    }
}

/// An upstream that sends without end where it is told to, and reads no body.
fn origin(speaks: Speaks, port: u16, sends: Option<Stopped>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), sends) = (stream, sends.clone()) else {
                return;
            };
            if speaks == Speaks::Http2 {
                thread::spawn(move || http2_origin(stream, sends));
            } else {
                thread::spawn(move || http1_origin(stream, sends));
            }
        }
    });
}

fn http1_origin(mut stream: TcpStream, sends: Option<Stopped>) {
    // A byte at a time, so that nothing of the body is read.
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.extend(byte);
    }
    let opens = head.starts_with(b"CONNECT");
    let length = if opens {
        String::new()
    } else {
        format!("content-length: {BODY}\r\n")
    };
    if opens || sends.is_some() {
        let head = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    }
    match sends {
        Some(stopped) => flood(stream, &stopped),
        None => hold(stream),
    }
}

/// Sends until nothing more is taken, says so, and holds the connection.
fn flood(mut stream: TcpStream, stopped: &Stopped) {
    stream.set_write_timeout(Some(STOPPED)).unwrap();
    let mut sent = 0;
    while sent < BODY {
        match stream.write(&CHUNK) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return,
        }
    }
    // The test may be over.
    let _gone = stopped.send(sent);
    hold(stream);
}

/// Holds a connection, without reading, for as long as the test runs.
fn hold<T: 'static>(held: T) {
    let _held: &'static mut T = Box::leak(Box::new(held));
}

/// Clients that send without end where they are told to, and read nothing. They stay as long as the
/// answer does.
fn clients(
    speaks: Speaks,
    streams: usize,
    to: SocketAddr,
    sends: Option<Stopped>,
) -> Vec<TcpStream> {
    if speaks == Speaks::Http2 {
        let stream = TcpStream::connect(to).unwrap();
        let held = stream.try_clone().unwrap();
        thread::spawn(move || http2_clients(stream, streams, sends));
        return vec![held];
    }
    let method = if sends.is_some() { "POST" } else { "GET" };
    let length = if sends.is_some() { BODY } else { 0 };
    let head =
        format!("{method} / HTTP/1.1\r\nhost: a.example\r\ncontent-length: {length}\r\n\r\n");
    let client = |_| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        if let Some(stopped) = sends.clone() {
            let stream = stream.try_clone().unwrap();
            thread::spawn(move || flood(stream, &stopped));
        }
        stream
    };
    (0..streams).map(client).collect()
}

fn run(task: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(LocalSet::new().run_until(task));
}

fn connected(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

fn http2_origin(stream: TcpStream, sends: Option<Stopped>) {
    run(async {
        let Ok(mut connection) = h2::server::handshake(connected(stream)).await else {
            return;
        };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let opens = request.method() == Method::CONNECT;
            // Its window stays closed.
            hold(request);
            if opens || sends.is_some() {
                let stream = respond.send_response(Response::new(()), false).unwrap();
                match sends.clone() {
                    Some(stopped) => drop(spawn_local(http2_flood(stream, stopped))),
                    None => hold(stream),
                }
            }
            hold(respond);
        }
    });
}

fn http2_clients(stream: TcpStream, streams: usize, sends: Option<Stopped>) {
    run(async {
        let mut builder = h2::client::Builder::new();
        // The windows are no obstacle: it is the connection that is not read.
        builder
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30);
        let (client, connection) = builder.handshake(connected(stream)).await.unwrap();
        let driven = spawn_local(connection);
        let mut client = client.ready().await.unwrap();
        let mut responses = Vec::new();
        for _ in 0..streams {
            client = client.ready().await.unwrap();
            let request = Request::post("http://a.example/").body(()).unwrap();
            let (response, stream) = client.send_request(request, sends.is_none()).unwrap();
            responses.push(response);
            match sends.clone() {
                Some(stopped) => drop(spawn_local(http2_flood(stream, stopped))),
                None => hold(stream),
            }
        }
        if sends.is_some() {
            hold(responses);
            drop(driven.await);
            return;
        }
        // All bodies are on their way: now nobody looks at the connection any more.
        for response in responses {
            hold(response.await.unwrap());
        }
        hold(driven);
        hold(client);
        loop {
            thread::park();
        }
    });
}

async fn http2_flood(mut stream: SendStream<Bytes>, stopped: Stopped) {
    let mut sent = 0;
    while sent < BODY {
        stream.reserve_capacity(FRAME);
        let capacity = poll_fn(|cx| stream.poll_capacity(cx));
        let Ok(capacity) = tokio::time::timeout(STOPPED, capacity).await else {
            break;
        };
        let Some(Ok(capacity)) = capacity else { return };
        let part = Bytes::from_static(&CHUNK).split_to(capacity.min(FRAME));
        sent += part.len();
        if stream.send_data(part, false).is_err() {
            return;
        }
    }
    // The test may be over.
    let _gone = stopped.send(sent);
    hold(stream);
}

#[test]
fn tcp_holds_a_stalled_upload_back() {
    case(Speaks::Tcp, Speaks::Http1, true);
}

#[test]
fn tcp_holds_a_stalled_download_back() {
    case(Speaks::Tcp, Speaks::Http1, false);
}

#[test]
fn tcp_in_streams_of_http1_holds_a_stalled_upload_back() {
    case(Speaks::Tunneled, Speaks::Http1, true);
}

#[test]
fn tcp_in_streams_of_http1_holds_a_stalled_download_back() {
    case(Speaks::Tunneled, Speaks::Http1, false);
}

#[test]
fn tcp_in_streams_of_http2_holds_a_stalled_upload_back() {
    case(Speaks::Tunneled, Speaks::Http2, true);
}

#[test]
fn tcp_in_streams_of_http2_holds_a_stalled_download_back() {
    case(Speaks::Tunneled, Speaks::Http2, false);
}

#[test]
fn http1_to_http1_holds_a_stalled_upload_back() {
    case(Speaks::Http1, Speaks::Http1, true);
}

#[test]
fn http1_to_http1_holds_a_stalled_download_back() {
    case(Speaks::Http1, Speaks::Http1, false);
}

#[test]
fn http1_to_http2_holds_a_stalled_upload_back() {
    case(Speaks::Http1, Speaks::Http2, true);
}

#[test]
fn http1_to_http2_holds_a_stalled_download_back() {
    case(Speaks::Http1, Speaks::Http2, false);
}

#[test]
fn http2_to_http1_holds_a_stalled_upload_back() {
    case(Speaks::Http2, Speaks::Http1, true);
}

#[test]
fn http2_to_http1_holds_a_stalled_download_back() {
    case(Speaks::Http2, Speaks::Http1, false);
}

#[test]
fn http2_to_http2_holds_a_stalled_upload_back() {
    case(Speaks::Http2, Speaks::Http2, true);
}

#[test]
fn http2_to_http2_holds_a_stalled_download_back() {
    case(Speaks::Http2, Speaks::Http2, false);
}

#[test]
fn what_a_filter_slows_down_holds_its_upstream_back() {
    let fault = nuncio_tests::config::filter(
        "http.fault.v3.HTTPFault",
        "response_rate_limit: { fixed_limit: { limit_kbps: 1 }, percentage: { numerator: 100 } }",
    );
    for upstream in [Speaks::Http1, Speaks::Http2] {
        let text = config_of(Config::new().filter(fault.clone()), upstream, "", HTTP2);
        let main = "  - name: main\n";
        let limited = format!("{main}    per_connection_buffer_limit_bytes: 65536\n");
        let text = text.replace(main, &limited);
        Case::new(Speaks::Http1, upstream, false).run(&text, |_| {});
    }
}

/// What a client over HTTP/1 takes is activity, however long all of it takes.
#[test]
fn who_reads_slowly_gets_all_of_a_body_that_is_there_as_a_whole() {
    // What the proxy has of it when the upstream is done.
    const BODY: usize = 60_000;
    let direct = format!(
        "{{ match: {{ path: /direct }}, direct_response: {{ status: 200, body: {{ inline_string: {} }} }} }}",
        "x".repeat(BODY)
    );
    let text = Config::new()
        .manager("stream_idle_timeout: 1s")
        .route(direct)
        .route("{ match: { prefix: / }, route: { cluster: origin } }")
        .text();
    let main = "  - name: main\n";
    let sockets = "    socket_options: [ { level: 1, name: 7, int_value: 4096 } ]\n";
    let text = text.replace(main, &format!("{main}{sockets}")).replace(
        "route_config: {",
        "route_config: { max_direct_response_body_size_bytes: 100000,",
    );
    let setup = Setup::for_template(&text);
    let origin = Origin::start_on(setup.port("origin").unwrap());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
    origin.reply_with([Reply::bytes(head).then(Act::Fill(BODY))]);
    let proxy = Proxy::start_with(&Binary::nuncio(), &text, setup);
    for path in ["/direct", "/"] {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&proxy.address("listener").into()).unwrap();
        let mut client = TcpStream::from(socket);
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        while read < BODY {
            // Three times as long for all of it as nothing may happen for.
            pause(Duration::from_millis(150));
            let count = client.read(&mut [0; 3000]).unwrap_or(0);
            assert!(count > 0, "{path} ends after {read}");
            read += count;
        }
    }
}

/// [`HTTP2`] with these options.
fn http2_with(options: &str) -> String {
    let with = format!("http2_protocol_options: {{ {options} }}");
    let text = HTTP2.replace("http2_protocol_options: {}", &with);
    assert_ne!(text, HTTP2);
    text
}

#[test]
fn a_stream_of_an_upstream_holds_no_more_than_the_buffer_limit() {
    const LIMIT: u64 = 64 * 1024;
    // What the sockets of a client take looks as if it had been read, on a way that a busy machine makes long.
    const WINDOW: u64 = 4 * LIMIT;
    // It is not the connection's window that bounds them.
    let http2 = http2_with("initial_connection_window_size: 268435456");
    for downstream in [Speaks::Http1, Speaks::Http2] {
        let limit = format!(", per_connection_buffer_limit_bytes: {LIMIT}");
        let text = config_of(Config::new(), Speaks::Http2, &limit, &http2);
        let main = "  - name: main\n";
        let sockets = "    socket_options: [ { level: 1, name: 7, int_value: 16384 } ]\n";
        let text = text.replace(main, &format!("{main}{sockets}"));
        let case = Case {
            bound: STREAMS as u64 * (EACH + WINDOW) + REST,
            ..Case::new(downstream, Speaks::Http2, false)
        };
        case.run(&text, |_| {});
    }
}

#[test]
fn what_waits_of_a_written_window_takes_no_more_than_that() {
    const STREAMS: usize = 8;
    const STREAM: u64 = 8 * 1024 * 1024;
    let connection = STREAMS as u64 * STREAM;
    let http2 = http2_with(&format!(
        "initial_stream_window_size: {STREAM}, initial_connection_window_size: {connection}"
    ));
    for downstream in [Speaks::Http1, Speaks::Http2] {
        let text = config_of(Config::new(), Speaks::Http2, "", &http2);
        let case = Case {
            streams: STREAMS,
            bound: connection + STREAMS as u64 * EACH + REST,
            ..Case::new(downstream, Speaks::Http2, false)
        };
        case.run(&text, |_| {});
    }
}

#[test]
fn who_reads_on_has_its_upstream_read_on() {
    let counted = |proxy: &Proxy, what| {
        let of = "cluster.origin.upstream_flow_control";
        admin::stat(proxy, &format!("{of}_{what}_reading_total"))
    };
    for upstream in [Speaks::Http1, Speaks::Http2] {
        let text = config(upstream);
        let setup = Setup::for_template(&text);
        let (stopped, all) = channel();
        origin(upstream, setup.port("origin").unwrap(), Some(stopped));
        let proxy = Proxy::start_with(&Binary::nuncio(), &text, setup);
        let mut held = clients(Speaks::Http1, 1, proxy.address("listener"), None);
        wait(&all, 1);
        let resumed = counted(&proxy, "resumed");
        assert!(counted(&proxy, "paused") > resumed, "{upstream:?}");
        let client = held.first_mut().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // The sender has gone to rest, so what there is has an end; it is more than sockets hold.
        let mut buffer = [0; 64 * 1024];
        while counted(&proxy, "resumed") == resumed {
            assert!(client.read(&mut buffer).unwrap() > 0, "{upstream:?}");
        }
    }
}
