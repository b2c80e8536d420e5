//! `nuncio demo`: a proxy, an upstream and filters, with requests to try.
//!
//! Owns the embedded example and the embedded upstream, which shows each request as it arrived.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{DemoArgs, EXIT_FAILURE, seconds, serve};
use crate::address::Address;
use crate::admin::Admin;
use crate::build;
use crate::config::Source;
use crate::server::Options;

/// The configuration, which also runs by itself: `nuncio -c examples/demo/envoy.yaml`.
const CONFIG: &str = include_str!("../../../examples/demo/envoy.yaml");
/// What the file says where the demo has ports and a file of its own.
const PROXY_PORT: &str = "port_value: 10000";
const ADMIN_PORT: &str = "port_value: 9901";
const UPSTREAM_PORT: &str = "port_value: 9090";
const FILTER_FILE: &str = "examples/filters/tenant/target/wasm32-wasip2/release/tenant.wasm";
/// The sample filter, compiled with the program.
const FILTER: &[u8] = crate::filters::SAMPLE;

/// Runs the demo until a signal.
pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    serve::start_log(&args.log)?;
    let upstream = start_upstream().context("start the demo's upstream")?;
    let filter = std::env::temp_dir().join(format!("nuncio-demo-{}.wasm", std::process::id()));
    std::fs::write(&filter, FILTER)
        .with_context(|| format!("write the sample filter to {}", filter.display()))?;
    let text = CONFIG
        .replace(PROXY_PORT, &format!("port_value: {}", args.port))
        .replace(ADMIN_PORT, &format!("port_value: {}", args.admin_port))
        .replace(UPSTREAM_PORT, &format!("port_value: {}", upstream.port()))
        .replace(FILTER_FILE, &filter.display().to_string());
    let settings = build::Settings {
        workers: serve::workers(None),
        flush_interval: Duration::from_millis(100),
        service_node: None,
        service_cluster: None,
    };
    let built = serve::load(vec![Source::inline("demo", text.into_bytes())], &settings);
    // It is compiled by now, or never will be.
    let _best_effort = std::fs::remove_file(&filter);
    let Some(built) = built? else {
        return Ok(ExitCode::from(EXIT_FAILURE));
    };
    let options = Options {
        workers: settings.workers,
        drain_time: seconds(5),
        shown: Vec::new(),
    };
    serve::serve(built, &options, |admin| {
        // Without standard output there is nobody to tell.
        let _best_effort = introduce(admin, upstream);
    })
}

/// Prints the addresses and the requests to try.
fn introduce(admin: &Admin, upstream: SocketAddr) -> io::Result<()> {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (strong, dim, plain) = if colour {
        ("\x1b[1m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let proxy = admin
        .listeners()
        .first()
        .and_then(|addresses| addresses.first())
        .and_then(Address::ip)
        .map(|address| format!("http://127.0.0.1:{}", address.port()));
    let proxy = proxy.unwrap_or_default();
    let pages = admin
        .address()
        .map(|address| format!("http://{address}"))
        .unwrap_or_default();
    let mut text = String::new();
    let _infallible = writeln!(
        text,
        "\n{strong}nuncio demo{plain}\n  proxy     {proxy}\n  admin     {pages}\n  upstream  http://{upstream}, which answers with the request as it came\n\nTry:"
    );
    let tries: &[(String, &str)] = &[
        (
            format!("curl {proxy}/hello"),
            "the upstream's view: x-request-id, x-forwarded-proto and the header mutation's x-demo",
        ),
        (
            format!("curl -i -H 'x-api-key: alpha-1' {proxy}/hello"),
            "the sample filter, a Wasm component, finds the tenant and tells both sides",
        ),
        (format!("curl -i {proxy}/old/page"), "a redirect"),
        (format!("curl -i {proxy}/about"), "a direct response"),
        (
            format!("curl -i {proxy}/nowhere -H 'host: unknown.example'"),
            "Envoy's own 404",
        ),
        (
            format!(
                "for i in $(seq 12); do curl -s -o /dev/null -w '%{{http_code}} ' {proxy}/hello; done; echo"
            ),
            "the local rate limit: ten requests, then 429",
        ),
        (
            format!("curl -s {pages}/stats/prometheus | grep downstream_rq"),
            "statistics under Envoy's names",
        ),
    ];
    for (command, shows) in tries {
        let _infallible = writeln!(
            text,
            "  {strong}{command}{plain}\n      {dim}{shows}{plain}"
        );
    }
    text.push_str("\nEach request's access-log line appears below. Ctrl-C drains and ends it.\n\n");
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Starts the upstream on a thread of its own, which ends with the process.
fn start_upstream() -> io::Result<SocketAddr> {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("demo-upstream".to_owned())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let Ok(socket) = TcpListener::from_std(socket) else {
                    return;
                };
                while let Ok((stream, _)) = socket.accept().await {
                    tokio::task::spawn_local(async move {
                        let service =
                            service_fn(
                                |request| async move { Ok::<_, Infallible>(show(&request)) },
                            );
                        // A client that goes away is no matter here.
                        let _gone = http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            });
        })?;
    Ok(address)
}

/// The request as text.
fn show<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _infallible = writeln!(text, "{name}: {value}");
    }
    Response::new(Full::new(Bytes::from(text)))
}
