//! The client of the benchmark's scenarios that are about connections rather than requests.
//!
//! `connections handshakes PORT CLIENTS SECONDS full|resumed` has each client connect over TLS 1.3, ask
//! once, read the answer to its end, and begin anew; `resumed` offers the last session again, `full` never
//! does. It prints how many handshakes were answered, how many of them were resumed, and how many clients
//! failed. With 0 seconds each client has one.
//!
//! `connections idle PORT COUNT plain|tls` opens so many connections, asks once on each, prints how many
//! were answered, and keeps them open until its input ends.
//!
//! The exit code says whether anything was answered. Certificates are not checked: both ends are ours.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool of the benchmark: what goes wrong ends it, and it measures real time"
)]

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_tests::tls::Client;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connections that are being opened at a time, below the queue of any listener.
const OPENING: usize = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let address = |port: &str| SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
    let work = async {
        match arguments[..] {
            ["handshakes", port, clients, seconds, kind] => {
                let time = Duration::from_secs(seconds.parse().unwrap());
                handshakes(address(port), clients.parse().unwrap(), time, kind).await
            }
            ["idle", port, count, kind] => idle(address(port), count.parse().unwrap(), kind).await,
            _ => {
                panic!("handshakes PORT CLIENTS SECONDS full|resumed, or idle PORT COUNT plain|tls")
            }
        }
    };
    runtime.block_on(local.run_until(work))
}

/// A client's side, which offers the session again or does not.
fn session(resumes: bool) -> Arc<ClientConfig> {
    let client = Client {
        version: Some(&rustls::version::TLS13),
        ..Client::asks("bench.test")
    };
    let mut config = Arc::unwrap_or_clone(client.config());
    config.resumption = if resumes {
        Resumption::in_memory_sessions(32)
    } else {
        Resumption::disabled()
    };
    Arc::new(config)
}

async fn secured(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = Client::asks("bench.test").name();
    TlsConnector::from(config).connect(name, stream).await
}

#[derive(Default)]
struct Counts {
    answered: Cell<u64>,
    resumed: Cell<u64>,
}

async fn handshakes(address: SocketAddr, clients: usize, time: Duration, kind: &str) -> ExitCode {
    let counts = Rc::new(Counts::default());
    let until = Instant::now() + time;
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let config = session(kind == "resumed");
            spawn_local(client(address, config, until, Rc::clone(&counts)))
        })
        .collect();
    let mut failed = 0;
    for client in clients {
        failed += u64::from(!matches!(client.await, Ok(Ok(()))));
    }
    let answered = counts.answered.get();
    println!("{answered} {} {failed}", counts.resumed.get());
    if answered > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn client(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    until: Instant,
    counts: Rc<Counts>,
) -> io::Result<()> {
    loop {
        let mut stream = secured(address, Arc::clone(&config)).await?;
        stream
            .write_all(b"GET /small HTTP/1.1\r\nhost: bench\r\nuser-agent: bench/1\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::with_capacity(1024);
        stream.read_to_end(&mut answer).await?;
        check(&answer)?;
        counts.answered.set(counts.answered.get() + 1);
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            counts.resumed.set(counts.resumed.get() + 1);
        }
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

async fn idle(address: SocketAddr, count: usize, kind: &str) -> ExitCode {
    let config = session(false);
    let mut open: Vec<Box<dyn Stream>> = Vec::with_capacity(count);
    while open.len() < count {
        let batch: Vec<_> = (0..OPENING.min(count - open.len()))
            .map(|_| {
                let config = (kind == "tls").then(|| Arc::clone(&config));
                spawn_local(asked(address, config))
            })
            .collect();
        for each in batch {
            match each.await.unwrap() {
                Ok(stream) => open.push(stream),
                Err(error) => panic!("connection {}: {error}", open.len()),
            }
        }
    }
    println!("{}", open.len());
    // Held until whoever started this has looked at the proxy.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).unwrap();
    ExitCode::SUCCESS
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection on which one request was answered.
async fn asked(
    address: SocketAddr,
    config: Option<Arc<ClientConfig>>,
) -> io::Result<Box<dyn Stream>> {
    let mut stream: Box<dyn Stream> = match config {
        Some(config) => Box::new(secured(address, config).await?),
        None => Box::new(TcpStream::connect(address).await?),
    };
    stream
        .write_all(b"GET /small HTTP/1.1\r\nhost: bench\r\nuser-agent: bench/1\r\n\r\n")
        .await?;
    let mut answer = Vec::with_capacity(1024);
    while !answer.ends_with(b"upstream\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    check(&answer)?;
    Ok(stream)
}

fn check(answer: &[u8]) -> io::Result<()> {
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(answer).into_owned(),
    ))
}
