//! The scenario of the document "Envoy in production": its files as they are written there, and its
//! snippets, of which some are for later.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nuncio_tests::client::{self, Connection};
use nuncio_tests::eventually;
use nuncio_tests::origin::{HEALTH_PATH, Origin};
use nuncio_tests::ports::Port;
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::tls::{Client, folder};

const ENVOY: &str = include_str!("../fixtures/mission/envoy.yaml");
const HEALTH_CHECK: &str = include_str!("../fixtures/mission/health-check.yaml");
const ACCESS_LOG: &str = include_str!("../fixtures/mission/access-log.yaml");
const TLS: &str = include_str!("../fixtures/mission/tls.yaml");
const CIRCUIT_BREAKING: &str = include_str!("../fixtures/mission/circuit-breaking.yaml");

/// A child that is killed at the end of its scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn python(file: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/mission")
        .join(file);
    let mut command = Command::new("python3");
    command.arg(path).stdin(Stdio::null());
    command
}

fn wait_for_port(address: SocketAddr) {
    eventually("somebody listens", || TcpStream::connect(address).is_ok());
}

/// The document's ports are fixed, so only one run at a time can have them, of this suite or another
/// one on the machine: the UDP port of the same number is the lock.
fn own_the_fixed_ports() -> UdpSocket {
    let mut lock = None;
    eventually("the document's ports are free", || {
        lock = UdpSocket::bind(("127.0.0.1", 10_000)).ok();
        lock.is_some()
    });
    for port in [10_000, 9_090] {
        let taken = TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(
            !taken,
            "port {port}, which the document uses, is taken on this machine"
        );
    }
    lock.unwrap()
}

#[test]
fn the_document_runs_as_it_is_written() {
    let _lock = own_the_fixed_ports();
    let backend = python("backend.py")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _backend = Running(backend.expect("python3 is installed"));
    wait_for_port("127.0.0.1:9090".parse().unwrap());
    let proxy = Proxy::spawn(&Binary::nuncio(), ENVOY, Setup::default());
    wait_for_port("127.0.0.1:10000".parse().unwrap());

    let frontend = python("frontend.py").output().unwrap();

    let said = String::from_utf8_lossy(&frontend.stdout);
    assert_eq!(
        said,
        "Frontend received: Hello from backend!\n",
        "nuncio: {}",
        proxy.output()
    );
    let ended = proxy.stop();
    assert!(ended.status.success(), "{}", ended.output);
}

/// The document's file with a snippet, on ports of the test's own.
struct Snippet {
    proxy: Proxy,
    origin: Origin,
    address: SocketAddr,
}

impl Snippet {
    fn run(text: &str) -> Self {
        let origin = Origin::start();
        let listener = Port::reserve();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.number()));
        let text = text
            .replace(
                "port_value: 10000",
                &format!("port_value: {}", listener.number()),
            )
            .replace(
                "port_value: 9090",
                &format!("port_value: {}", origin.address().port()),
            )
            .replace("/var/log/envoy/", "@DIRECTORY@/var/log/envoy/");
        let proxy = Proxy::spawn(&Binary::nuncio(), &text, Setup::default());
        wait_for_port(address);
        Self {
            proxy,
            origin,
            address,
        }
    }
}

#[test]
fn the_health_check_snippet_runs_with_defaults_for_the_thresholds() {
    let snippet = Snippet::run(HEALTH_CHECK);
    eventually("a health check comes", || {
        !snippet.origin.health_checks().is_empty()
    });
    let checks = snippet.origin.health_checks();
    assert_eq!(checks[0].target(), HEALTH_PATH);
    assert_eq!(checks[0].header("host"), Some("backend_service"));
    assert_eq!(client::get(snippet.address, "/").status(), 200);
}

#[test]
fn the_access_log_snippet_writes_the_default_format() {
    let snippet = Snippet::run(ACCESS_LOG);
    let mut connection = Connection::open(snippet.address);
    let request = b"GET /hello?a=b HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test/1\r\n\r\n";
    assert_eq!(connection.exchange(request).status(), 200);
    drop(connection);
    let directory = snippet.proxy.directory().to_owned();
    let log = directory.join("var/log/envoy/access.log");
    eventually("the line is written", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n'))
    });
    let text = std::fs::read_to_string(&log).unwrap();
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.starts_with("[20") && time.ends_with("Z]"), "{text}");
    assert!(
        rest.starts_with("\"GET /hello?a=b HTTP/1.1\" 200 - 0 2 "),
        "{text}"
    );
    let upstream = snippet.origin.address();
    assert!(
        rest.ends_with(&format!(" \"a.example\" \"{upstream}\"\n")),
        "{text}"
    );
    assert!(rest.contains(" \"-\" \"test/1\" \""), "{text}");
}

#[test]
fn the_circuit_breaking_snippet_runs_and_warns_that_it_guards_nothing() {
    let mut snippet = Snippet::run(CIRCUIT_BREAKING);
    assert_eq!(client::get(snippet.address, "/").status(), 200);
    // It is for requests of high priority, and no route has that.
    snippet.proxy.wait_for_output("HIGH");
}

/// `--mode validate` of a fixture: whether it is accepted, and what is said.
fn validate(fixture: &str) -> (bool, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/mission")
        .join(fixture);
    let path = path.to_str().unwrap();
    let output = Binary::nuncio()
        .command(["--mode", "validate", "-c", path])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_tls_snippet_runs_with_a_note() {
    // The document's certificates are in a folder of the system; nothing else is changed.
    let at = |kind: &str| folder().join(format!("server.{kind}"));
    let (certificate, key) = (at("pem"), at("key"));
    let certificates = TLS
        .replace("/etc/envoy/certs/server.crt", certificate.to_str().unwrap())
        .replace("/etc/envoy/certs/server.key", key.to_str().unwrap());
    assert_ne!(TLS, certificates);
    let mut snippet = Snippet::run(&certificates);
    let mut connection = Connection::open_tls(snippet.address, &Client::asks("a.test")).unwrap();
    let response = connection.exchange(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.status(), 200);
    let form = "'tls_context' is the form of Envoy's v2 API";
    snippet.proxy.wait_for_output(form);
}

#[test]
fn the_rate_limit_snippet_is_refused_as_not_supported() {
    let (accepted, said) = validate("rate-limit.yaml");
    assert!(!accepted);
    assert!(said.contains("not supported by nuncio"), "{said}");
    assert!(
        said.contains("rate-limit.yaml:14:"),
        "the place of ratelimit: {said}"
    );
}
