//! Both ends of the benchmark's WebSocket scenario, fast enough to load a proxy.
//!
//! `websockets serve PORT` upgrades every connection and sends messages back. `websockets load PORT
//! CONNECTIONS SECONDS` sends a message of 32 bytes on each connection, the next one when its echo has
//! come, and prints how many came and how many connections failed. With 0 seconds each connection has one
//! echo. The exit code says whether there were any.
//!
//! Messages are short and alike, so both ends look for frames by their size. Nothing is checked that
//! does not matter here (RFC 6455 §4: the key).

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
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Bytes of a message.
const MESSAGE: usize = 32;
/// A client's frame: two bytes, the mask, the message.
const MASKED: usize = 2 + 4 + MESSAGE;
/// A server's frame.
const PLAIN: usize = 2 + MESSAGE;
/// The final frame of a binary message.
const BINARY: u8 = 0x82;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let address = |port: &str| SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
    match arguments[..] {
        ["serve", port] => runtime.block_on(local.run_until(serve(address(port)))),
        ["load", port, connections, seconds] => {
            let seconds = Duration::from_secs(seconds.parse().unwrap());
            let connections = connections.parse().unwrap();
            runtime.block_on(local.run_until(load(address(port), connections, seconds)))
        }
        _ => panic!("serve PORT, or load PORT CONNECTIONS SECONDS"),
    }
}

async fn serve(address: SocketAddr) -> ExitCode {
    let listener = TcpListener::bind(address).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        spawn_local(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = head(&mut stream).await?;
    let answer =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(answer).await?;
    let mut back = Vec::new();
    loop {
        let (frames, _) = buffer.as_chunks::<MASKED>();
        let whole = frames.len() * MASKED;
        for frame in frames {
            back.extend([BINARY, MESSAGE as u8]);
            let (mask, message) = frame[2..].split_at(4);
            back.extend(message.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        }
        buffer.drain(..whole);
        stream.write_all(&back).await?;
        back.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// Reads a head; what came behind it.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            if buffer.starts_with(b"HTTP/1.1 ") && !buffer.starts_with(b"HTTP/1.1 101") {
                return Err(io::Error::other("no upgrade"));
            }
            return Ok(buffer.split_off(end + 4));
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn load(address: SocketAddr, connections: usize, time: Duration) -> ExitCode {
    let echoes = Rc::new(Cell::new(0_u64));
    let until = Instant::now() + time;
    let clients: Vec<_> = (0..connections)
        .map(|_| spawn_local(client(address, until, Rc::clone(&echoes))))
        .collect();
    let mut failed = 0;
    for client in clients {
        failed += u64::from(!matches!(client.await, Ok(Ok(()))));
    }
    println!("{} {failed}", echoes.get());
    if echoes.get() > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn client(address: SocketAddr, until: Instant, echoes: Rc<Cell<u64>>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request =
        b"GET /ws HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request).await?;
    let behind = head(&mut stream).await?;
    assert!(behind.is_empty(), "the server speaks second");
    let mut frame = [0x5a; MASKED];
    frame[0] = BINARY;
    frame[1] = 0x80 | MESSAGE as u8;
    let mut back = [0; PLAIN];
    loop {
        stream.write_all(&frame).await?;
        stream.read_exact(&mut back).await?;
        echoes.set(echoes.get() + 1);
        if Instant::now() >= until {
            return Ok(());
        }
    }
}
