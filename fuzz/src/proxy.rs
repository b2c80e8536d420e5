//! The whole proxy: bytes into a listener, and a look at what comes out on either side.
//!
//! One proxy with one worker serves all runs of the process. It has two listeners: one that leaves
//! requests alone as far as it may, and an edge that does to them what there is to do. Its upstream reads
//! HTTP/1.1 without forgiving anything, so a request that was smuggled, or made ambiguous on the way, is
//! found there. What upstreams of two other clusters answer is up to a run ([`upstream`]).

mod upstream;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use nuncio::build::{self, Settings};
use nuncio::config::{self, Source};
use nuncio::server::{self, Options};

pub use upstream::{upstream_http1, upstream_http2};

/// Longest wait for an end that must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// So long without an answer, and the client has nothing to wait for.
const QUIET: Duration = Duration::from_millis(10);
/// What the last request of a client asks for, and the answer begins with.
const LAST: &[u8] =
    b"\r\n\r\nGET /last HTTP/1.1\r\nhost: last.example\r\nconnection: close\r\n\r\n";
/// What a client of HTTP/2 begins with: the preface and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends `data` as an HTTP/1 client would, and one more request behind it. The highest bit of the first
/// byte chooses the edge, the others say where the bytes are cut in two.
pub fn http1(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let (first, second) = data.split_at(data.len().min(usize::from(form & 0x7f)));
    let answer = talk(usize::from(form >> 7), &[first, second, LAST]);
    // The answer to HEAD has a length and no body, one to HTTP/1.0 may have no length: only their clients
    // know.
    let is_told = |part: &[u8]| part == b"HEAD" || part == b"/1.0";
    if !data.windows(4).any(is_told) {
        check_responses(&answer);
    }
}

/// Sends `data` behind the preface of HTTP/2: as it is, or, where its first byte is odd, as frames
/// whose lengths are right; where the next bit is set to the edge.
pub fn http2(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let framed;
    let data = if form % 2 == 1 {
        framed = frames(data);
        &framed
    } else {
        data
    };
    let answer = talk(usize::from(form >> 1 & 1), &[PREFACE, data]);
    let mut rest = &answer[..];
    while let [a, b, c, _, _, _, _, _, _, behind @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        assert!(length <= 16 * 1024, "the frame size that nobody raised");
        rest = behind.get(length..).unwrap_or_default();
    }
}

/// Each frame is its type, its flags, its stream, the length of its payload, and that.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = data {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes.extend([
            0,
            0,
            payload.len() as u8,
            kind % 11,
            *flags,
            0,
            0,
            0,
            stream % 16,
        ]);
        bytes.extend(payload);
        data = rest;
    }
    bytes
}

/// Sends the parts on a connection of their own to a listener; all that comes back. The proxy must end it.
fn talk(listener: usize, parts: &[&[u8]]) -> Vec<u8> {
    let proxy = proxy();
    let mut stream = TcpStream::connect(proxy.listeners[listener]).expect("the proxy accepts");
    stream.set_nodelay(true).expect("it is a TCP socket");
    for part in parts {
        // An end is an answer as well.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(QUIET)).expect("not zero");
    if !read_to_end(&mut stream, &mut answer) {
        let _ended_already = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        assert!(read_to_end(&mut stream, &mut answer), "the proxy hangs");
    }
    let complaints = std::mem::take(&mut *proxy.complaints.lock().expect("no thread panics"));
    assert!(complaints.is_empty(), "upstream: {complaints:?}");
    answer
}

/// Whether the end came before the socket's timeout.
fn read_to_end(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    match stream.read_to_end(answer) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Responses one after the other, the last of which may be cut off.
fn check_responses(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match message(bytes, true) {
            Ok(Some((head, used))) => {
                assert!(head.starts_with(b"HTTP/1.1 "), "{}", head.escape_ascii());
                bytes = &bytes[used..];
            }
            Ok(None) => return,
            Err(why) => panic!("{why}: {}", bytes.escape_ascii()),
        }
    }
}

struct Proxy {
    listeners: [SocketAddr; 2],
    complaints: Mutex<Vec<String>>,
}

/// The proxy, started at its first use.
fn proxy() -> &'static Proxy {
    static PROXY: OnceLock<Proxy> = OnceLock::new();
    PROXY.get_or_init(|| {
        let strict = listen(serve);
        let ports = [
            ("@UPSTREAM@", strict),
            ("@FUZZED1@", listen(upstream::serve_http1)),
            ("@FUZZED2@", listen(upstream::serve_http2)),
        ];
        Proxy {
            listeners: start(&ports),
            complaints: Mutex::default(),
        }
    })
}

/// Has every connection to a port of its own served by a thread of its own.
fn listen(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Starts the proxy in threads of its own; where it listens.
fn start(ports: &[(&str, u16)]) -> [SocketAddr; 2] {
    let mut text = include_str!("proxy.yaml").to_owned();
    for (name, port) in ports {
        text = text.replace(name, &port.to_string());
    }
    let (sender, started) = mpsc::channel();
    thread::spawn(move || {
        let loaded = config::load(vec![Source::inline("proxy.yaml", text)]);
        let settings = Settings {
            workers: 1,
            flush_interval: Duration::from_secs(1),
            service_node: None,
            service_cluster: None,
        };
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        let built = build::build(loaded, &settings);
        let (built, _) = built.unwrap_or_else(|errors| panic!("{errors}"));
        let options = Options {
            shown: Vec::new(),
            workers: 1,
            drain_time: Duration::ZERO,
        };
        let ready = |admin: &nuncio::admin::Admin| {
            let listeners = admin.listeners();
            let [main, edge] = [0, 1].map(|index| {
                let first = listeners.get(index).and_then(|of| of.first());
                first
                    .and_then(|address| address.ip())
                    .expect("there are two")
            });
            sender.send([main, edge]).expect("somebody waits");
        };
        server::run(built, &options, ready).expect("it runs");
    });
    started.recv().expect("it starts")
}

/// An upstream connection: every request must be one to the last byte.
fn serve(mut stream: TcpStream) {
    let mut buffer = Vec::new();
    let mut bytes = [0; 16 * 1024];
    loop {
        match message(&buffer, true) {
            Ok(Some((head, used))) => {
                let to_head = head.starts_with(b"HEAD ");
                buffer.drain(..used);
                let answer: &[u8] = if to_head {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
                } else {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                };
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
            Ok(None) => match stream.read(&mut bytes) {
                Ok(count @ 1..) => buffer.extend_from_slice(&bytes[..count]),
                _ => return,
            },
            Err(why) => {
                let complaint = format!("{why}: {}", buffer.escape_ascii());
                if let Ok(mut complaints) = proxy().complaints.lock() {
                    complaints.push(complaint);
                }
                return;
            }
        }
    }
}

/// The head of the first message and the bytes of all of it, if they are there; no content where it is not
/// to have any. Nothing is forgiven that two readers could take differently.
fn message(bytes: &[u8], has_content: bool) -> Result<Option<(&[u8], usize)>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = &bytes[..end];
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        lines.push(line.strip_suffix(b"\r").unwrap_or(line));
    }
    if lines
        .iter()
        .any(|line| line.iter().any(|byte| matches!(byte, 0 | b'\r')))
    {
        return Err("a control byte in a head");
    }
    if head.iter().filter(|byte| **byte == b'\n').count()
        != head.windows(2).filter(|two| two == b"\r\n").count()
    {
        return Err("a bare line feed");
    }
    let start = lines.remove(0);
    if start.iter().filter(|byte| **byte == b' ').count() < 2 {
        return Err("no start line");
    }
    let (mut length, mut chunked, mut hosted) = (None, false, false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err("a line without a colon");
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err("a name that is none");
        }
        match &name.to_ascii_lowercase()[..] {
            b"content-length" => {
                let number = std::str::from_utf8(value).ok();
                let number = number.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = number.and_then(|text| text.parse::<usize>().ok());
                if number.is_none() || length.replace(number).is_some() {
                    return Err("a content-length that is none, or a second one");
                }
            }
            b"transfer-encoding" => {
                if value != b"chunked" || chunked {
                    return Err("a transfer-encoding that is not chunked, or a second one");
                }
                chunked = true;
            }
            b"host" if !start.starts_with(b"HTTP/") => {
                if hosted || !value.iter().all(|byte| is_host_byte(*byte)) {
                    return Err("a host that is none, or a second one");
                }
                hosted = true;
            }
            _ => {}
        }
    }
    let bodiless = [&b"HTTP/1.1 1"[..], b"HTTP/1.1 204", b"HTTP/1.1 304"];
    let bodiless = !has_content || bodiless.iter().any(|status| start.starts_with(status));
    let behind = end + 4;
    match (length.flatten(), chunked) {
        (Some(_), true) => Err("both framings"),
        (None, true) if !has_content => Ok(Some((head, behind))),
        (None, true) => Ok(chunks(&bytes[behind..])?.map(|used| (head, behind + used))),
        (length, false) => {
            let used = behind + length.filter(|_| !bodiless).unwrap_or_default();
            Ok((bytes.len() >= used).then_some((head, used)))
        }
    }
}

/// Whether `byte` may stand in a host and its port (RFC 3986 §3.2.2), without anybody's name in front.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte)
}

/// How many bytes a chunked body takes, if all of them are there.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line]).ok();
        let size = size.and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else {
            return Err("a chunk size that is none");
        };
        at += line + 2;
        if size == 0 {
            let trailers = &bytes[at..];
            if trailers.starts_with(b"\r\n") {
                return Ok(Some(at + 2));
            }
            let end = trailers.windows(4).position(|four| four == b"\r\n\r\n");
            return Ok(end.map(|end| at + end + 4));
        }
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        if &bytes[at + size..at + size + 2] != b"\r\n" {
            return Err("a chunk that does not end where it should");
        }
        at += size + 2;
    }
}
