//! Reading HTTP/1.1 messages exactly.
//!
//! Owns the split of a byte stream into messages, for what a client got and for what an upstream
//! received. It keeps the order, the spelling and the bytes of everything, so that a comparison
//! sees what was on the wire. Called by [`crate::client`] and [`crate::origin`].

use std::fmt::Write as _;

use crate::varying;

/// How the end of a body was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body: a request without framing headers, or a response that can have none.
    None,
    /// `content-length`, in bytes.
    Length(usize),
    /// `transfer-encoding: chunked`.
    Chunked,
    /// The connection's end is the body's end.
    UntilClose,
}

/// Whose messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests.
    Request,
    /// Responses to a request whose method was HEAD.
    ResponseToHead,
    /// Responses to any other request.
    Response,
}

/// One message, as it was on the wire.
#[derive(Clone, Debug)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// Header lines in order, names as spelled. Bytes outside printable ASCII are escaped.
    pub headers: Vec<(String, String)>,
    /// How the body ends.
    pub framing: Framing,
    /// The decoded body.
    pub body: Vec<u8>,
    /// Trailer lines after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// False when the stream ended before the message did.
    pub complete: bool,
}

impl Message {
    /// The value of the first header of that name, compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Status code of a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        let code = self
            .start
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    /// Method of a request.
    #[must_use]
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Target of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The body as text, bytes outside printable ASCII escaped.
    #[must_use]
    pub fn text(&self) -> String {
        self.body.escape_ascii().to_string()
    }

    /// Whether a response announces that the connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.framing == Framing::UntilClose
            || self.headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
            })
    }

    /// A line-by-line form to compare: start line, headers, framing and body, trailers. Where the
    /// chunks were cut is not part of it, that depends on how the bytes arrived.
    #[must_use]
    pub fn lines(&self, sorted: bool) -> Vec<String> {
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        if sorted {
            headers.sort();
        }
        let mut lines = vec![self.start.clone()];
        lines.append(&mut headers);
        let mut body = match self.framing {
            Framing::None => "[no body]".to_owned(),
            Framing::Length(length) => format!("[length {length}] {}", summary(&self.body)),
            Framing::Chunked => format!("[chunked] {}", summary(&self.body)),
            Framing::UntilClose => format!("[until close] {}", summary(&self.body)),
        };
        if !self.complete {
            body.push_str(" [cut off]");
        }
        lines.push(body);
        lines.extend(
            self.trailers
                .iter()
                .map(|(name, value)| format!("trailer {name}: {value}")),
        );
        lines
    }
}

/// Text for a body: itself when short, its size and a checksum otherwise.
#[must_use]
pub fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 400;
    if body.len() <= SHOWN {
        return body.escape_ascii().to_string();
    }
    // FNV-1a, 64 bits.
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut text = String::new();
    let _infallible = write!(text, "{} bytes, fnv {hash:016x}", body.len());
    text
}

/// Reads one message from the start of `bytes`: the message and how many bytes it took, or `None`
/// when more is needed. At `end` of the stream what is there is returned as it is; an empty rest is
/// `None`.
///
/// # Errors
/// What was found instead of HTTP/1.1.
pub fn read(bytes: &[u8], kind: Kind, end: bool) -> Result<Option<(Message, usize)>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some(head) = find(bytes, b"\r\n\r\n") else {
        if end {
            return Err(format!(
                "stream ended inside a head: {}",
                varying::raw(bytes)
            ));
        }
        return Ok(None);
    };
    let mut lines = bytes[..head].split(|byte| *byte == b'\n').map(without_cr);
    let start = lines.next().unwrap_or_default().escape_ascii().to_string();
    let is_status_line = start.starts_with("HTTP/1.1 ") || start.starts_with("HTTP/1.0 ");
    if kind != Kind::Request && !is_status_line {
        return Err(format!("not a status line: {}", varying::raw(bytes)));
    }
    if kind == Kind::Request && !is_request_line(&start) {
        return Err(format!("not a request line: {}", varying::raw(bytes)));
    }
    let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let framing = framing(&start, &headers, kind)?;
    let mut message = Message {
        start,
        headers,
        framing,
        body: Vec::new(),
        trailers: Vec::new(),
        complete: true,
    };
    let rest = &bytes[head + 4..];
    let used = match framing {
        Framing::None => Some(0),
        Framing::Length(length) if rest.len() >= length => {
            message.body = rest[..length].to_vec();
            Some(length)
        }
        Framing::Length(_) => None,
        Framing::Chunked => read_chunks(rest, &mut message)?,
        Framing::UntilClose if end => {
            message.body = rest.to_vec();
            Some(rest.len())
        }
        Framing::UntilClose => None,
    };
    match used {
        Some(used) => Ok(Some((message, head + 4 + used))),
        None if end => {
            if framing != Framing::Chunked {
                message.body = rest.to_vec();
            }
            message.complete = false;
            Ok(Some((message, bytes.len())))
        }
        None => Ok(None),
    }
}

/// Whether that is a method, a target and a version with a blank between each two (RFC 9112 §3).
fn is_request_line(start: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let parts: Vec<&str> = start.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = parts[..] else {
        return false;
    };
    !method.is_empty() && method.bytes().all(is_token) && !target.is_empty()
}

fn framing(start: &str, headers: &[(String, String)], kind: Kind) -> Result<Framing, String> {
    let values = |wanted: &'static str| {
        headers
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, v)| v)
    };
    let status = start.split(' ').nth(1).unwrap_or_default();
    let bodiless = status.starts_with('1') || status == "204" || status == "304";
    if kind == Kind::ResponseToHead || (kind == Kind::Response && bodiless) {
        return Ok(Framing::None);
    }
    if values("transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match values("content-length").next() {
        Some(length) => length
            .parse()
            .map(Framing::Length)
            .map_err(|error| format!("bad length {length:?}: {error}")),
        None if kind == Kind::Request => Ok(Framing::None),
        None => Ok(Framing::UntilClose),
    }
}

/// Decodes chunks into `message`; the bytes used when the last chunk is there.
fn read_chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[at..at + line]).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(text, 16)
            .map_err(|error| format!("chunk size {text:?}: {error}"))?;
        at += line + 2;
        if size == 0 {
            loop {
                let Some(line) = find(&bytes[at..], b"\r\n") else {
                    return Ok(None);
                };
                let trailer = &bytes[at..at + line];
                at += line + 2;
                if trailer.is_empty() {
                    return Ok(Some(at));
                }
                message.trailers.push(field(trailer)?);
            }
        }
        let chunk = &bytes[at..bytes.len().min(at + size)];
        message.body.extend_from_slice(chunk);
        at += size + 2;
        if bytes.len() < at {
            return Ok(None);
        }
        if !bytes[..at].ends_with(b"\r\n") {
            return Err("a chunk does not end where its size says".to_owned());
        }
    }
}

fn field(line: &[u8]) -> Result<(String, String), String> {
    let text = line.escape_ascii().to_string();
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("no colon in {text:?}"))?;
    Ok((
        name.to_owned(),
        value.strip_prefix(' ').unwrap_or(value).to_owned(),
    ))
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_split_where_they_end() {
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n";
        let (first, used) = read(two, Kind::Response, false).unwrap().unwrap();
        assert_eq!(
            (first.status(), first.text().as_str(), used),
            (200, "ok", 40)
        );
        let (second, rest) = read(&two[used..], Kind::Response, false).unwrap().unwrap();
        assert_eq!((second.status(), rest), (204, two.len() - used));
    }

    #[test]
    fn chunks_and_trailers_are_decoded() {
        let bytes =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
        let (message, used) = read(bytes, Kind::Request, false).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(message.text(), "abc");
        assert_eq!(message.trailers, [("X-T".to_owned(), "1".to_owned())]);
        for cut in 1..bytes.len() {
            assert!(
                read(&bytes[..cut], Kind::Request, false).unwrap().is_none(),
                "at {cut}"
            );
        }
    }

    #[test]
    fn what_is_left_of_a_body_is_no_request() {
        for start in [
            "ab GET / HTTP/1.1",
            "GET /",
            "{} / HTTP/1.1",
            "GET  HTTP/1.1",
        ] {
            let bytes = format!("{start}\r\nHost: a.example\r\n\r\n");
            let read = read(bytes.as_bytes(), Kind::Request, false);
            assert!(read.is_err(), "{start}");
        }
    }

    #[test]
    fn a_cut_body_is_reported_as_cut() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
        assert!(read(bytes, Kind::Response, false).unwrap().is_none());
        let (message, _) = read(bytes, Kind::Response, true).unwrap().unwrap();
        assert!(!message.complete);
        assert_eq!(
            message.lines(false).last().unwrap(),
            "[length 9] abc [cut off]"
        );
    }
}
