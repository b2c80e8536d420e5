//! Responses and tunnels that end before their time, of clients that read slowly.

use socket2::{Domain, Socket, Type};

use super::*;

/// More than sockets hold that are kept small, and less than waits in the proxy for its client.
const LENGTH: usize = 60_000;
/// More than waits there; the upstream's window has room for it.
const LONG: usize = 200_000;
const LARGE_WINDOW: u32 = 8 * 1024 * 1024;

/// A proxy whose clients have little in their sockets, before upstreams of the versions that `clusters` say.
fn start_cut(config: Config) -> (Proxy, u16) {
    let main = "  - name: main\n";
    let sockets = "    socket_options: [ { level: 1, name: 7, int_value: 4096 } ]\n";
    let text = config.text().replace(main, &format!("{main}{sockets}"));
    let setup = Setup::for_template(&text);
    let port = setup.port("origin").unwrap();
    (Proxy::start_with(&Binary::nuncio(), &text, setup), port)
}

/// A client that does not read yet, with a window of that size.
fn slow(proxy: &Proxy, window: u32) -> FrameConnection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.address("listener").into()).unwrap();
    let mut client = FrameConnection::over(socket.into());
    client.send(frames::PREFACE);
    client.send(&frames::settings(&[(4, window)]));
    client.send(&frames::window(0, LARGE_WINDOW));
    client
}

/// Waits until the upstream's end has been seen.
fn is_cut(proxy: &Proxy) {
    eventually("the upstream is done", || {
        let names = ["upstream_rq_total", "upstream_rq_active"];
        stats(proxy, "cluster.origin.", names) == [1, 0]
    });
}

/// How much comes, and how it ends.
fn rest(client: &mut FrameConnection) -> (usize, String) {
    let mut got = 0;
    let (lines, came) = client.read_until(|frame| {
        got += frame.payload.len() * usize::from(frame.kind == kind::DATA);
        frame.kind == kind::RST_STREAM
    });
    assert!(came, "{lines:?}");
    (got, lines.last().unwrap().clone())
}

#[test]
fn what_came_before_the_end_of_an_upstream_comes_however_slowly_it_is_read() {
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{LENGTH:x}\r\n");
    let switch = "connection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let tunnel = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a.example"),
    ];
    let get = frames::get(1, "/");
    let opening = frames::headers(1, flag::NONE, &tunnel);
    for (head, request, reset) in [
        (
            format!("HTTP/1.1 200 OK\r\n{chunked}"),
            get,
            "INTERNAL_ERROR",
        ),
        (
            format!("HTTP/1.1 101 Switching\r\n{switch}"),
            opening,
            "CONNECT_ERROR",
        ),
    ] {
        let (proxy, port) = start_cut(
            Config::new()
                .manager("http2_protocol_options: { allow_connect: true }")
                .manager("upgrade_configs: [ { upgrade_type: websocket } ]"),
        );
        let origin = Origin::start_on(port);
        let reply = Reply::bytes(head).at_head();
        origin.reply_with([reply.then(Act::Fill(LENGTH)).close()]);
        let mut client = slow(&proxy, LARGE_WINDOW);
        client.send(&request);
        is_cut(&proxy);
        let (got, end) = rest(&mut client);
        assert_eq!(got, LENGTH, "{end}");
        assert_eq!(end, format!("RST_STREAM 1 {reset}"));
    }
}

#[test]
fn what_came_before_a_reset_comes_as_far_as_the_client_has_a_window_for_it() {
    let data = vec![b'x'; 10_000];
    let mut reply = frames::headers(1, flag::NONE, &[(":status", "200")]);
    for _ in 0..LONG / data.len() {
        reply.extend(frames::data(1, flag::NONE, &data));
    }
    reply.extend(frames::reset(1, Reason::INTERNAL_ERROR.into()));
    for (window, expected) in [(LARGE_WINDOW, LONG), (65_535, 65_535)] {
        let origin = cluster("origin", &[endpoint("origin", "")], HTTP2);
        let (proxy, port) = start_cut(Config::new().cluster(origin));
        let origin = FramesOrigin::start_on(port);
        origin.reply_with([reply.clone()]);
        let mut client = slow(&proxy, window);
        client.send(&frames::get(1, "/"));
        is_cut(&proxy);
        let (got, end) = rest(&mut client);
        assert_eq!(got, expected, "{end}");
        assert!(end.starts_with("RST_STREAM 1 "), "{end}");
    }
}

#[test]
fn a_client_that_takes_nothing_of_what_came_is_waited_for_no_longer_than_is_said() {
    let (proxy, port) = start_cut(Config::new().manager("stream_idle_timeout: 0.3s"));
    let origin = Origin::start_on(port);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
    origin.reply_with([Reply::bytes(head).then(Act::Fill(LENGTH)).close()]);
    let mut client = slow(&proxy, LARGE_WINDOW);
    client.send(&frames::get(1, "/"));
    is_cut(&proxy);
    eventually("nobody waits for the client", || {
        stat(&proxy, "http.ingress.downstream_rq_active") == 0
    });
}
