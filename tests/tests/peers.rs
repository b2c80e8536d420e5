//! Clients and servers that others wrote, with nuncio between them: grpcio, httpx, the Python libraries
//! `h2`, `websockets` and `wsproto`, curl, nghttp and h2load.
//!
//! `tests/tools/fetch-peers` installs those of Python, the rest are Debian's `curl` and
//! `nghttp2-client`. A test whose peer is not there says so and passes, except where `CI` is set.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of a test suite"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nuncio_tests::config::{Config, HTTP2, cluster, endpoint};
use nuncio_tests::process::{Binary, Proxy, Setup};
use nuncio_tests::scene::Scene;
use nuncio_tests::tls::{folder, of_folder};

/// Says that a peer is missing; a failure where `CI` is set.
fn missing(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is needed in CI and not there"
    );
    println!("not run: {what} is not there; tests/README.md says how to get it");
}

/// The Python that has the peers.
fn python() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fetch = here.join("tools/fetch-peers");
    let output = Command::new(fetch).arg("--offline").output().unwrap();
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    path.is_file().then_some(path)
}

/// Runs a script of `peers/`, whose exit code says whether all held.
fn run_script(name: &str, ports: &[u16]) {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    run_script_with(name, &ports);
}

/// The same with any arguments.
fn run_script_with(name: &str, arguments: &[String]) {
    let Some(python) = python() else {
        return missing("a Python with the peers");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name);
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Runs a program; `None` when it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            missing(program);
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

#[test]
fn grpcio_on_both_sides() {
    let route = |prefix: &str, to: &str| {
        format!("{{ match: {{ prefix: {prefix} }}, route: {{ cluster: {to}, timeout: 0s }} }}")
    };
    let config = Config::new()
        .route(route("/peers.Echo/", "origin"))
        .route(route("/grpc.health.v1.Health/", "origin"))
        .route(route("/grpc.reflection.", "origin"))
        .route(route("/no.Upstream/", "nobody"))
        .cluster(cluster("origin", &[endpoint("origin", "")], HTTP2))
        .cluster(cluster("nobody", &[endpoint("nobody", "")], HTTP2))
        .text();
    let setup = Setup::for_template(&config);
    let upstream = setup.port("origin").unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &config, setup);
    run_script(
        "grpc_peers.py",
        &[proxy.address("listener").port(), upstream],
    );
}

#[test]
fn grpcio_shows_a_certificate() {
    let trusted = format!("trusted_ca: {{ filename: {:?} }}", folder().join("ca.pem"));
    let context = format!(
        "{}, alpn_protocols: [h2], validation_context: {{ {trusted} }}",
        of_folder("server")
    );
    let config = Config::new()
        .tls(&context, ", require_client_certificate: true")
        .route("{ match: { prefix: / }, route: { cluster: origin } }")
        .cluster(cluster("origin", &[endpoint("origin", "")], HTTP2))
        .text();
    let setup = Setup::for_template(&config);
    let upstream = setup.port("origin").unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &config, setup);
    let ports = [proxy.address("listener").port(), upstream];
    let mut arguments: Vec<_> = ports.iter().map(u16::to_string).collect();
    arguments.push(folder().display().to_string());
    run_script_with("grpc_tls_peers.py", &arguments);
}

#[test]
fn httpx_and_the_python_h2_library() {
    let scene = Scene::start(&Config::new());
    run_script("http_peers.py", &[scene.listener.port()]);
}

#[test]
fn websockets_on_both_sides() {
    let refused = "{ match: { prefix: /no-upgrade }, route: { cluster: origin, \
                   upgrade_configs: [{ upgrade_type: websocket, enabled: false }] } }";
    let config = Config::new()
        .manager("upgrade_configs: [{ upgrade_type: websocket }]")
        .manager("http2_protocol_options: { allow_connect: true }")
        .route(refused)
        .route("{ match: { prefix: / }, route: { cluster: origin } }")
        .text();
    let setup = Setup::for_template(&config);
    let upstream = setup.port("origin").unwrap();
    let proxy = Proxy::start_with(&Binary::nuncio(), &config, setup);
    run_script(
        "websocket_peers.py",
        &[proxy.address("listener").port(), upstream],
    );
}

/// What curl gets: the version that was spoken, the status, and the body.
fn curl(scene: &Scene, path: &str, arguments: &[&str]) -> Option<(String, Vec<u8>)> {
    let url = format!("http://{}{path}", scene.listener);
    let mut all = vec![
        "-sS",
        "--max-time",
        "20",
        "-w",
        "\n%{http_version} %{http_code}",
    ];
    all.extend(arguments);
    all.push(&url);
    let output = run("curl", &all)?;
    assert!(output.status.success(), "{}", text(&output));
    let end = output
        .stdout
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    let (body, summary) = output.stdout.split_at(end);
    Some((
        String::from_utf8(summary.trim_ascii().to_vec()).unwrap(),
        body.to_vec(),
    ))
}

#[test]
fn curl_over_both_versions() {
    let scene = Scene::start(&Config::new());
    let file = scene.proxy.directory().join("upload");
    let upload: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    std::fs::write(&file, &upload).unwrap();
    let file = file.to_str().unwrap();
    let data = format!("@{file}");
    // What no URL has, and curl sends as it was written.
    let odd = "/get?query=up{job=\"<a`>\"}";
    let table: [(&str, &[&str], &str, &[u8]); 11] = [
        ("/get", &[], "1.1 200", b"ok"),
        ("/get", &["--http2-prior-knowledge"], "2 200", b"ok"),
        (odd, &["-g"], "1.1 200", b"ok"),
        (odd, &["-g", "--http2-prior-knowledge"], "2 200", b"ok"),
        // An upgrade to h2c is passed over, as the protocol allows.
        ("/get", &["--http2"], "1.1 200", b"ok"),
        // More than a megabyte: curl waits for 100 Continue.
        ("/echo", &["-T", file], "1.1 200", &upload),
        (
            "/echo",
            &["--http2-prior-knowledge", "-T", file],
            "2 200",
            &upload,
        ),
        ("/echo", &["--data-binary", &data], "1.1 200", &upload),
        (
            "/echo",
            &["-H", "transfer-encoding: chunked", "--data-binary", &data],
            "1.1 200",
            &upload,
        ),
        ("/echo", &["-X", "DELETE"], "1.1 200", b""),
        ("/get", &["--http1.0"], "1.1 426", b"Upgrade Required"),
    ];
    for (path, arguments, summary, body) in table {
        let Some(got) = curl(&scene, path, arguments) else {
            return;
        };
        assert_eq!(got.0, summary, "{path} {arguments:?}");
        assert!(got.1 == body, "{path} {arguments:?}: {} bytes", got.1.len());
    }
}

#[test]
fn nghttp_and_h2load() {
    let scene = Scene::start(&Config::new());
    let url = format!("http://{}/get", scene.listener);
    let Some(output) = run("nghttp", &["--stat", "-n", "-m", "100", &url]) else {
        return;
    };
    assert!(output.status.success(), "{}", text(&output));
    for clients in ["1", "20"] {
        let arguments = ["-n", "2000", "-c", clients, "-m", "50", &url];
        let output = run("h2load", &arguments).unwrap();
        let text = text(&output);
        assert!(text.contains("2000 succeeded, 0 failed"), "{text}");
        assert!(text.contains("status codes: 2000 2xx"), "{text}");
    }
}
