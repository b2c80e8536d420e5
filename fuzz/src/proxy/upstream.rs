//! Upstreams that answer what a run says, and what the proxy's client gets of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;

use super::{frames, message, talk};

/// What upstreams answer.
static ANSWER: Mutex<Answer> = Mutex::new(Answer {
    bytes: Vec::new(),
    cut: 0,
    stays: false,
});
/// What asks for an answer of the run.
const FIRST: [&[u8]; 4] = [
    b"GET /fuzz1/first HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n",
    b"HEAD /fuzz1/first HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /fuzz1/first HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
    b"GET /fuzz1/first HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
];
/// What asks for [`GOOD`].
const LAST: &[u8] = b"GET /fuzz1/last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nx-last: yes\r\ncontent-length: 4\r\n\r\nlast";
/// What is asked of an upstream that speaks HTTP/2.
const OVER_HTTP2: [&[u8]; 2] = [
    b"GET /fuzz2 HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n",
    b"HEAD /fuzz2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
];
/// Empty settings, and that those of the proxy are taken.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
/// A head and what belongs to it that is longer is not the proxy's.
const LONGEST: usize = 64 * 1024;

struct Answer {
    bytes: Vec<u8>,
    /// Where it is cut in two.
    cut: usize,
    /// Whether the connection stays open behind it.
    stays: bool,
}

impl Answer {
    fn set(bytes: &[u8], form: u8) {
        if let Ok(mut answer) = ANSWER.lock() {
            *answer = Self {
                bytes: bytes.to_vec(),
                cut: usize::from(form >> 3),
                stays: form & 4 != 0,
            };
        }
    }

    /// Sends it; whether the connection is to stay.
    fn send(stream: &mut TcpStream) -> bool {
        let Ok(answer) = ANSWER.lock() else {
            return false;
        };
        let (bytes, stays) = (answer.bytes.clone(), answer.stays);
        let cut = answer.cut.min(bytes.len());
        drop(answer);
        let sent = [&bytes[..cut], &bytes[cut..]]
            .into_iter()
            .all(|part| stream.write_all(part).is_ok());
        sent && stays
    }
}

/// Has an upstream answer `data` over HTTP/1; the first byte says to which request, whether the connection
/// stays, and where the bytes are cut in two. The client gets one response that is one, and to its next
/// request the answer to that.
pub fn upstream_http1(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    Answer::set(data, *form);
    let first = FIRST[usize::from(form % 4)];
    let got = talk(0, &[first, LAST]);
    let mut responses = finals(&got, first.starts_with(b"HEAD"));
    if let Some(second) = responses.nth(1) {
        let lines = second.split(|byte| *byte == b'\n');
        let is_last = lines.into_iter().any(|line| line == b"x-last: yes\r");
        // Nobody may have answered in time.
        assert!(
            is_last || second.starts_with(b"HTTP/1.1 50"),
            "another's answer: {}",
            got.escape_ascii()
        );
    }
    assert!(responses.next().is_none(), "a response too many");
}

/// Has an upstream answer `data` over HTTP/2, behind its settings: as it is, or, where the second bit of
/// the first byte is set, as frames whose lengths are right. The client gets one response that is one.
pub fn upstream_http2(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let framed = match form & 2 {
        0 => data.to_vec(),
        _ => frames(data),
    };
    Answer::set(&[SETTINGS, &framed].concat(), *form);
    let asked = OVER_HTTP2[usize::from(form % 2)];
    let got = talk(0, &[asked]);
    let responses = finals(&got, asked.starts_with(b"HEAD")).count();
    assert!(responses <= 1, "a response too many");
}

/// The heads of final responses, of which the last may be cut off. The first has no content where it is
/// one `to_head`.
fn finals(mut bytes: &[u8], to_head: bool) -> impl Iterator<Item = &[u8]> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let has_content = !to_head || !found.is_empty();
        let (head, used) = match message(bytes, has_content) {
            Ok(Some(message)) => message,
            // Of one whose end is missing the head is there, or nothing.
            Ok(None) => match message(bytes, false) {
                Ok(Some((head, _))) => (head, bytes.len()),
                _ => break,
            },
            Err(why) => panic!("{why}: {}", bytes.escape_ascii()),
        };
        assert!(head.starts_with(b"HTTP/1.1 "), "{}", head.escape_ascii());
        bytes = &bytes[used..];
        match &head[b"HTTP/1.1 ".len()..] {
            // What follows is no HTTP.
            [b'1', b'0', b'1', ..] => {
                found.push(head);
                break;
            }
            [b'1', ..] => {}
            _ => found.push(head),
        }
    }
    found.into_iter()
}

/// A connection to the cluster that speaks HTTP/1.
pub(super) fn serve_http1(mut stream: TcpStream) {
    let mut seen = Vec::new();
    while let Some(end) = read_to(&mut stream, &mut seen, |seen| {
        let end = seen.windows(4).position(|four| four == b"\r\n\r\n");
        end.map(|end| end + 4)
    }) {
        let stays = if seen.starts_with(b"GET /fuzz1/last ") {
            stream.write_all(GOOD).is_ok()
        } else {
            Answer::send(&mut stream)
        };
        if !stays {
            return;
        }
        seen.drain(..end);
        // The body of a POST.
        if let Some(rest) = seen.strip_prefix(b"abc") {
            seen = rest.to_vec();
        }
    }
}

/// A connection to the cluster that speaks HTTP/2.
pub(super) fn serve_http2(mut stream: TcpStream) {
    let mut seen = Vec::new();
    // Behind the preface and frames that have no part in it there is a head.
    let asked = read_to(&mut stream, &mut seen, |seen| {
        let mut rest = seen.get(24..)?;
        while let [a, b, c, kind, _, _, _, _, _, behind @ ..] = rest {
            if *kind == 1 {
                return Some(seen.len());
            }
            rest = behind.get(u32::from_be_bytes([0, *a, *b, *c]) as usize..)?;
        }
        None
    });
    if asked.is_some() && Answer::send(&mut stream) {
        seen.clear();
        let _ended: Option<usize> = read_to(&mut stream, &mut seen, |_| None);
    }
    let _ended_already = stream.shutdown(Shutdown::Both);
}

/// Reads until `is_there` says up to where; nothing where the end comes first.
fn read_to(
    stream: &mut TcpStream,
    seen: &mut Vec<u8>,
    is_there: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let mut bytes = [0; 4096];
    loop {
        if let Some(end) = is_there(seen) {
            return Some(end);
        }
        match stream.read(&mut bytes) {
            Ok(count @ 1..) if seen.len() < LONGEST => seen.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
}
