//! HTTP/2 frame by frame: for what no library sends.
//!
//! Owns the wire form of frames, a connection that sends any bytes, and the reading of what comes
//! back. It keeps no state of streams, windows or header tables. Called by the suites and by
//! [`crate::compare`].

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::client::PATIENCE;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6).
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 2;
    /// `RST_STREAM`.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// `WINDOW_UPDATE`.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub mod flag {
    /// No flag.
    pub const NONE: u8 = 0;
    /// Of DATA and HEADERS: the stream's last.
    pub const END_STREAM: u8 = 1;
    /// Of SETTINGS and PING: an acknowledgement.
    pub const ACK: u8 = 1;
    /// Of HEADERS and CONTINUATION: the block's last.
    pub const END_HEADERS: u8 = 4;
    /// Of DATA and HEADERS: the payload begins with the length of the padding at its end.
    pub const PADDED: u8 = 8;
}

/// The names of error codes, by their numbers (RFC 9113 §7).
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of a test is small");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field block: each field as it is, neither indexed nor Huffman-coded (RFC 7541 §6.2.2).
#[must_use]
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            integer(text.len(), 0, 7, &mut bytes);
            bytes.extend(text);
        }
    }
    bytes
}

/// An integer with a prefix of so many bits in a byte that begins with `first` (RFC 7541 §5.1).
fn integer(value: usize, first: u8, prefix: u32, bytes: &mut Vec<u8>) {
    let full = (1_usize << prefix) - 1;
    if value < full {
        bytes.push(first | value as u8);
        return;
    }
    bytes.push(first | full as u8);
    let mut rest = value - full;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
}

/// HEADERS in one frame.
#[must_use]
pub fn headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    stream: u32,
    flags: u8,
    fields: &[(N, V)],
) -> Vec<u8> {
    frame(
        kind::HEADERS,
        flags | flag::END_HEADERS,
        stream,
        &block(fields),
    )
}

/// The fields that begin a request to `http://a.example`.
#[must_use]
pub fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", path),
    ]
}

/// A whole GET.
#[must_use]
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, flag::END_STREAM, &request("GET", path))
}

/// DATA in one frame.
#[must_use]
pub fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

/// SETTINGS: identifiers and values.
#[must_use]
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (identifier, value) in values {
        payload.extend(identifier.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(kind::SETTINGS, flag::NONE, 0, &payload)
}

/// PING.
#[must_use]
pub fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(kind::PING, flag::NONE, 0, &payload)
}

/// `RST_STREAM`.
#[must_use]
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, flag::NONE, stream, &code.to_be_bytes())
}

/// `WINDOW_UPDATE`; stream 0 is the connection.
#[must_use]
pub fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(
        kind::WINDOW_UPDATE,
        flag::NONE,
        stream,
        &increment.to_be_bytes(),
    )
}

/// PRIORITY: depends on stream 0, weight 16.
#[must_use]
pub fn priority(stream: u32) -> Vec<u8> {
    frame(kind::PRIORITY, flag::NONE, stream, &[0, 0, 0, 0, 15])
}

/// A frame as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type, see [`kind`].
    pub kind: u8,
    /// Its flags, see [`flag`].
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Splits the first whole frame off.
    fn take(buffer: &mut Vec<u8>) -> Option<Self> {
        let [a, b, c, kind, flags, s, t, u, v, ..] = buffer[..] else {
            return None;
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if buffer.len() < 9 + length {
            return None;
        }
        let payload = buffer[9..9 + length].to_vec();
        buffer.drain(..9 + length);
        Some(Self {
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff,
            payload,
        })
    }

    /// The error code of a `RST_STREAM` or a GOAWAY, by its name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        let code = self.payload[at..at + 4].try_into().map(u32::from_be_bytes);
        let name = code.ok().and_then(|code| CODES.get(code as usize));
        name.copied().unwrap_or("unknown code")
    }

    /// The status with which a response's HEADERS begin.
    fn status(&self) -> Option<u16> {
        const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        let (first, rest) = self.payload.split_first()?;
        match first {
            0x88..=0x8e => STATIC.get(usize::from(first - 0x88)).copied(),
            // A literal whose name is one of the static table's, with or without indexing.
            0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e => digits(rest),
            _ => None,
        }
    }

    /// Whether the stream's side of the peer ends with it.
    #[must_use]
    pub fn ends(&self, stream: u32) -> bool {
        let last =
            matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0;
        self.stream == stream && (last || self.kind == kind::RST_STREAM)
    }

    /// One line, for a frame that is an answer; `None` for those of the connection's upkeep.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let stream = self.stream;
        let end = if self.ends(stream) { " end" } else { "" };
        match self.kind {
            kind::DATA => Some(format!(
                "DATA {stream}{end} {}",
                self.payload.escape_ascii()
            )),
            kind::HEADERS => Some(match self.status() {
                Some(status) => format!("HEADERS {stream}{end} {status}"),
                None => format!("HEADERS {stream}{end} trailers"),
            }),
            kind::RST_STREAM => Some(format!("RST_STREAM {stream} {}", self.code())),
            kind::GOAWAY => Some(format!("GOAWAY {}", self.code())),
            _ => None,
        }
    }
}

/// Three digits as a string of HPACK, Huffman-coded or not.
fn digits(literal: &[u8]) -> Option<u16> {
    let (first, rest) = literal.split_first()?;
    let text = rest.get(..usize::from(first & 0x7f))?;
    if first & 0x80 == 0 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    // The codes of `0` to `2` are 0 to 2 in five bits, those of `3` to `9` 25 to 31 in six.
    let bits: Vec<u8> = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1))
        .collect();
    let number = |bits: &[u8]| {
        bits.iter()
            .fold(0_u16, |all, bit| all * 2 + u16::from(*bit))
    };
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let short = number(bits.get(at..at + 5)?);
        let (digit, length) = if short < 3 {
            (short, 5)
        } else {
            (number(bits.get(at..at + 6)?).checked_sub(22)?, 6)
        };
        value = value * 10 + digit;
        at += length;
    }
    Some(value)
}

/// What came next on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame.
    Frame(Frame),
    /// The connection has ended, in whatever way.
    Ended,
    /// Nothing came in [`PATIENCE`].
    Silence,
}

/// One connection.
#[derive(Debug)]
pub struct FrameConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
    end: Option<Next>,
}

impl FrameConnection {
    /// Connects, and sends the preface with settings that say nothing.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address);
        let stream = stream.unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        let mut connection = Self::over(stream);
        connection.send(PREFACE);
        connection.send(&settings(&[]));
        connection
    }

    /// Uses a connection that is open already, and sends nothing.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
            end: None,
        }
    }

    /// The port of this side.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// A second handle of the socket, for who sends and reads at the same time.
    #[must_use]
    pub fn socket(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Sends bytes; false when the peer takes no more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads the next frame.
    #[expect(clippy::should_implement_trait, reason = "it never ends with `None`")]
    pub fn next(&mut self) -> Next {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer) {
                return Next::Frame(frame);
            }
            if let Some(end) = &self.end {
                return end.clone();
            }
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => self.end = Some(Next::Ended),
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Next::Silence;
                }
                Err(_) => self.end = Some(Next::Ended),
            }
        }
    }

    /// Reads until a frame is as wanted: the lines of all that came, and whether it came.
    pub fn read_until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> (Vec<String>, bool) {
        let mut lines = Vec::new();
        loop {
            match self.next() {
                Next::Frame(frame) => {
                    lines.extend(frame.line());
                    if wanted(&frame) {
                        return (lines, true);
                    }
                }
                Next::Ended => {
                    lines.push("[ended]".to_owned());
                    return (lines, false);
                }
                Next::Silence => {
                    lines.push("[silence]".to_owned());
                    return (lines, false);
                }
            }
        }
    }

    /// Reads until the peer ends the connection.
    pub fn read_to_end(&mut self) -> Vec<String> {
        self.read_until(|_| false).0
    }

    /// Sends a PING and reads up to its answer, so that all that the peer had to say to what was sent
    /// before is read, unless it waits for somebody else.
    pub fn sync(&mut self) -> (Vec<String>, bool) {
        const MARK: [u8; 8] = *b"in sync?";
        self.send(&ping(MARK));
        self.read_until(|frame| {
            frame.kind == kind::PING && frame.flags == flag::ACK && frame.payload == MARK
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;
    use crate::h2_origin::{H2Origin, H2Reply};

    #[test]
    fn a_server_of_the_h2_crate_understands_and_is_understood() {
        let origin = H2Origin::start_on(0);
        let statuses = [200, 404, 503, 418, 999];
        origin.reply_with(statuses.map(H2Reply::status));
        let mut connection = FrameConnection::open(origin.address());
        for (stream, status) in (1..).step_by(2).zip(statuses) {
            connection.send(&get(stream, "/p"));
            let (lines, came) = connection.read_until(|frame| frame.ends(stream));
            assert!(came);
            assert_eq!(lines, [format!("HEADERS {stream} end {status}")]);
        }
        assert!(connection.sync().1);
        let requests = origin.take_requests();
        assert_eq!(requests[0].lines[0], "GET /p HTTP/2");
        connection.send(&frame(kind::DATA, flag::NONE, 0, b"x"));
        assert_eq!(
            connection.read_to_end(),
            ["GOAWAY PROTOCOL_ERROR", "[ended]"]
        );
        eventually("the server has something against it", || {
            origin.take_complaints().len() == 1
        });
    }

    #[test]
    fn integers_have_a_prefix() {
        let encoded = |value| {
            let mut bytes = Vec::new();
            integer(value, 0, 7, &mut bytes);
            bytes
        };
        assert_eq!(encoded(126), [126]);
        assert_eq!(encoded(127), [127, 0]);
        assert_eq!(encoded(1337), [127, 0xba, 9]);
    }
}
