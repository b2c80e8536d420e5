//! Listeners on Unix sockets, and how many connections there may be: the same in Envoy where there is
//! one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot connect or read has failed"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use nuncio_tests::admin;
use nuncio_tests::eventually;
use nuncio_tests::process::{Binary, Proxy, Setup};

/// What the upstream is told of a client, and what the log has of it.
const MANAGER: &str = "
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          use_remote_address: @EDGE@
          append_x_forwarded_port: true
          internal_address_config: { unix_sockets: true }
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: \"@LOG@\"
              log_format: { text_format_source: { inline_string: \"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS%\\n\" } }
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: { prefix: / }
                direct_response:
                  status: 200
                  body_format: { text_format_source: { inline_string: \"for=%REQ(x-forwarded-for)% port=%REQ(x-forwarded-port)% internal=%REQ(x-envoy-internal)% from=%DOWNSTREAM_REMOTE_ADDRESS%\" } }
                  body: { inline_string: unused }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }";

/// A listener on a Unix socket, beside one of TCP, and one in the abstract namespace.
fn template(edge: bool) -> String {
    let manager = MANAGER.replace("@EDGE@", if edge { "true" } else { "false" });
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: @PORT:admin@ }} }} }}
static_resources:
  listeners:
  - name: unix
    address: {{ pipe: {{ path: \"@DIRECTORY@/socket\", mode: 384 }} }}
    filter_chains:
    - filters:
      - name: http{manager}
  - name: abstract
    address: {{ pipe: {{ path: \"@nuncio-@PORT:listener@\" }} }}
    listener_filters:
    - name: tls
      typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }}
    filter_chains:
    - filter_chain_match: {{ server_names: [a.example] }}
      filters:
      - name: tls
        typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }}
    - filters:
      - name: answer
        typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: {{ inline_string: hello }} }}
"
    )
}

fn get(path: &std::path::Path, lines: &str) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{lines}\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

fn each_proxy(edge: bool, check: impl Fn(&Proxy)) {
    let template = template(edge);
    for binary in [Some(Binary::nuncio()), Binary::envoy()]
        .into_iter()
        .flatten()
    {
        let setup = Setup::for_template(&template).concurrency(2);
        check(&Proxy::start_with(&binary, &template, setup));
    }
}

#[test]
fn clients_of_a_unix_socket_have_its_path_for_an_address() {
    each_proxy(true, |proxy| {
        let path = proxy.directory().join("socket");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let shown = path.display();
        let answer = get(&path, "");
        assert_eq!(answer, format!("for=- port=- internal=true from={shown}"));
        let answer = get(&path, "X-Forwarded-For: 192.0.2.1\r\n");
        assert_eq!(
            answer,
            format!("for=192.0.2.1 port=- internal=- from={shown}")
        );
        let log = proxy.directory().join("access.log");
        eventually("both are logged", || {
            fs::read_to_string(&log).unwrap_or_default().lines().count() == 2
        });
        let line = format!("{shown} {shown} {shown}");
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            format!("{line}\n{line}\n")
        );
        let counted = format!("listener.{shown}.downstream_cx_total");
        assert_eq!(admin::stat(proxy, &counted.replace(':', "_")), 2);
        let listed = admin::page(proxy, "/listeners");
        assert!(listed.contains(&format!("unix::{shown}\n")), "{listed}");
        let listed = admin::page(proxy, "/listeners?format=json");
        assert!(listed.contains("\"pipe\""), "{listed}");
    });
}

#[test]
fn a_proxy_in_front_tells_whom_it_speaks_for() {
    each_proxy(false, |proxy| {
        let path = proxy.directory().join("socket");
        let answer = get(&path, "X-Forwarded-For: 192.0.2.1\r\n");
        assert_eq!(answer, "for=192.0.2.1 port=- internal=- from=192.0.2.1:0");
        let answer = get(&path, "");
        let shown = path.display();
        assert_eq!(answer, format!("for=- port=- internal=- from={shown}"));
    });
}

#[test]
fn a_name_without_a_file_is_listened_on_and_looked_at() {
    each_proxy(false, |proxy| {
        let name = format!("nuncio-{}", proxy.address("listener").port());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let mut client = UnixStream::connect_addr(&address).unwrap();
        client.write_all(b"no TLS").unwrap();
        // Nobody reads what was sent, so what ends the connection may be its end or an error.
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    });
}

const LIMITED: &str = "admin:
  address: { socket_address: { address: 127.0.0.1, port_value: @PORT:admin@ } }
  ignore_global_conn_limit: true
layered_runtime:
  layers:
  - name: base
    static_layer:
      envoy.resource_limits.listener.one.connection_limit: 2
      overload.global_downstream_max_connections: 3
  - name: admin
    admin_layer: {}
static_resources:
  listeners:
  - name: one
    address: { socket_address: { address: 127.0.0.1, port_value: @PORT:one@ } }
    filter_chains: [ filters: [ &echo { name: echo, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } } ] ]
  - name: other
    address: { socket_address: { address: 127.0.0.1, port_value: @PORT:other@ } }
    filter_chains: [ filters: [ *echo ] ]
  - name: free
    ignore_global_conn_limit: true
    address: { socket_address: { address: 127.0.0.1, port_value: @PORT:free@ } }
    filter_chains: [ filters: [ *echo ] ]
";

/// A connection that was let in, or none.
fn enter(proxy: &Proxy, listener: &str) -> Option<TcpStream> {
    let mut client = TcpStream::connect(proxy.address(listener)).unwrap();
    let mut echo = [0];
    let entered = client
        .write_all(b"x")
        .and_then(|()| client.read_exact(&mut echo));
    entered.is_ok().then_some(client)
}

#[test]
fn connections_above_a_limit_are_closed_and_counted() {
    for binary in [Some(Binary::nuncio()), Binary::envoy()]
        .into_iter()
        .flatten()
    {
        let setup = Setup::for_template(LIMITED).concurrency(2);
        let proxy = Proxy::start_with(&binary, LIMITED, setup);
        let counted = |listener: &str| {
            let address = proxy.address(listener).to_string().replace(':', "_");
            let names = [
                "downstream_cx_total",
                "downstream_cx_overflow",
                "downstream_global_cx_overflow",
            ];
            admin::stats(&proxy, &format!("listener.{address}."), names)
        };
        let mut held: Vec<TcpStream> = Vec::new();
        // Envoy counts connections to its admin server among all until it has let go of them, such as that of who
        // asked whether it is ready: then it is not the listener's own limit that turns a client away.
        eventually("there are two places", || {
            held.extend(enter(&proxy, "one"));
            held.len() == 2
        });
        eventually("there is no third place", || {
            assert!(enter(&proxy, "one").is_none());
            counted("one")[1] >= 1
        });
        // Who was turned away by the listener holds no place of all for long.
        eventually("there is a last place", || {
            held.extend(enter(&proxy, "other"));
            held.len() == 3
        });
        assert!(enter(&proxy, "other").is_none());
        held.push(enter(&proxy, "free").expect("a listener that does not care"));
        // Envoy counts who is turned away once it has closed the connection.
        eventually("who is turned away is counted", || {
            let [entered, overflow, overflow_of_all] = counted("other");
            assert_eq!((entered, overflow), (1, 0));
            overflow_of_all >= 1
        });
        assert_eq!(counted("one")[0], 2);
        assert_eq!(counted("free"), [1, 0, 0]);
        // A place is free again when its connection is over.
        held.truncate(1);
        eventually("a place is free", || enter(&proxy, "other").is_some());
        // Limits may change.
        let of_all = "overload.global_downstream_max_connections=9";
        let of_one = "envoy.resource_limits.listener.one.connection_limit=3";
        admin::modify(&proxy, &format!("{of_all}&{of_one}"));
        eventually("there is more room", || {
            held.extend(enter(&proxy, "one"));
            held.len() == 3
        });
        assert!(enter(&proxy, "one").is_none());
    }
}
