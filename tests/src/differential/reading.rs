//! A reader of HTTP/1.1 that forgives nothing.
//!
//! Owns what a whole message is by RFC 9112 and RFC 9110, for streams of them in either direction, and the
//! first thing that keeps a stream from being one. What a proxy sends has no such flaw; what it is sent
//! may be refused for one. Only heads of upstreams may have LF for CRLF and folded lines, as both proxies
//! take them.

/// A field line's name as it is spelled, and its value without white space around it.
pub type Field = (Vec<u8>, Vec<u8>);

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The start line.
    pub start: Vec<u8>,
    /// The fields of its head.
    pub fields: Vec<Field>,
    /// Its body, or what came through the tunnel that it opens.
    pub body: Vec<u8>,
    /// The fields behind its chunks.
    pub trailers: Vec<Field>,
    /// How it ends.
    pub end: End,
}

/// How a message ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// More was to come.
    #[default]
    Cut,
    /// As it should.
    Whole,
    /// With the connection.
    WithConnection,
    /// It opens a tunnel.
    Tunnel,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line that does not end with CRLF, or CR inside of one.
    LineEnd,
    /// A request line or a status line that is none.
    StartLine,
    /// A target that has no form of one, or a fragment.
    Target,
    /// User information in a target or a `host`, or a `host` that is none.
    Host,
    /// No `host`, or several.
    Hosts,
    /// A folded line.
    Folded,
    /// A field name that is none, or no colon behind it.
    Name,
    /// A control character in a value.
    Control,
    /// `content-length` that is no number, or twice.
    Length,
    /// `transfer-encoding` that is not `chunked` alone.
    Coding,
    /// Both of them, or either where there may be none.
    Framing,
    /// `connection` with a member that is no field name, or one that no hop takes out.
    Connection,
    /// The line in front of a chunk.
    ChunkSize,
    /// What is behind a chunk.
    ChunkEnd,
    /// Control characters in a chunk's extension.
    Extension,
    /// A line of a trailer section.
    Trailer,
}

/// What a stream of bytes is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The messages, the last one perhaps cut.
    pub messages: Vec<Message>,
    /// What ends the reading.
    pub flaw: Option<Flaw>,
}

impl Stream {
    /// The messages that are there whole.
    pub fn whole(&self) -> impl Iterator<Item = &Message> {
        self.messages
            .iter()
            .filter(|message| message.end != End::Cut)
    }

    /// How many fields of that name the message has that ends the reading.
    #[must_use]
    pub fn last_values(&self, name: &str) -> usize {
        let last = self.messages.last();
        last.map_or(0, |message| message.values(name).count())
    }

    /// The target of the request that ends the reading.
    #[must_use]
    pub fn last_target(&self) -> &[u8] {
        let start = self.messages.last().map(|message| message.start.as_slice());
        let mut parts = start.unwrap_or_default().split(|byte| *byte == b' ');
        parts.nth(1).unwrap_or_default()
    }
}

/// Fields that `connection` may not name: they are not one hop's own.
const PROTECTED: [&str; 5] = [
    "content-length",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "host",
];

/// What a message answers, as far as it matters to how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `HEAD`.
    Head,
    /// `CONNECT`.
    Connect,
    /// Anything else.
    Other,
}

/// Reads requests.
#[must_use]
pub fn requests(bytes: &[u8]) -> Stream {
    let mut reader = Reader {
        rest: bytes,
        old_lines: false,
    };
    let mut stream = Stream::default();
    loop {
        while let Some(rest) = reader.rest.strip_prefix(b"\r\n") {
            reader.rest = rest;
        }
        if reader.rest.is_empty() {
            return stream;
        }
        let mut message = Message::default();
        let read = reader.request(&mut message);
        if !message.start.is_empty() {
            stream.messages.push(message);
        }
        match read {
            Ok(true) => {}
            Ok(false) => return stream,
            Err(flaw) => {
                return Stream {
                    flaw: Some(flaw),
                    ..stream
                };
            }
        }
    }
}

/// Reads what a proxy sends in answer to one request: interim responses, the response, and what is behind
/// it, which is returned too.
#[must_use]
pub fn responses(bytes: &[u8], asked: Asked) -> (Stream, &[u8]) {
    answer(
        Reader {
            rest: bytes,
            old_lines: false,
        },
        asked,
    )
}

/// Reads what an upstream sends in answer to one request.
#[must_use]
pub fn upstream_responses(bytes: &[u8], asked: Asked) -> (Stream, &[u8]) {
    answer(
        Reader {
            rest: bytes,
            old_lines: true,
        },
        asked,
    )
}

fn answer(mut reader: Reader<'_>, asked: Asked) -> (Stream, &[u8]) {
    let mut stream = Stream::default();
    while !reader.rest.is_empty() {
        let mut message = Message::default();
        let read = reader.response(&mut message, asked);
        let is_interim = message.is_interim();
        let end = message.end;
        if !message.start.is_empty() {
            stream.messages.push(message);
        }
        match read {
            Err(flaw) => {
                return (
                    Stream {
                        flaw: Some(flaw),
                        ..stream
                    },
                    b"",
                );
            }
            Ok(()) if is_interim && end == End::Whole => {}
            Ok(()) => break,
        }
    }
    (stream, reader.rest)
}

impl Message {
    /// Values of the fields of that name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        let named = fields.filter(|(of, _)| of.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value.as_slice())
    }

    /// The status of a response; 0 where there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = self.start.get(9..12).unwrap_or_default();
        std::str::from_utf8(status)
            .unwrap_or_default()
            .parse()
            .unwrap_or_default()
    }

    /// Whether it is a response before the response.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        matches!(self.status(), 100 | 102..=199)
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.start
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or_default()
    }

    fn opens_tunnel(&self) -> bool {
        self.method() == b"CONNECT" || self.names_protocol()
    }

    /// Whether it speaks of another protocol for its connection.
    #[must_use]
    pub fn names_protocol(&self) -> bool {
        let mut says = self.members("connection");
        let mut to = self.values("upgrade");
        // HTTP/2 is no other protocol here, so that the field means nothing.
        says.any(|member| member.eq_ignore_ascii_case(b"upgrade"))
            && to.any(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
    }

    fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    }

    /// The length or the coding that its fields say.
    fn framing(&self) -> Result<Framing, Flaw> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        let framing = match (lengths.next(), codings.next()) {
            (Some(_), Some(_)) => return Err(Flaw::Framing),
            (Some(length), None) if length.iter().all(u8::is_ascii_digit) => {
                let length = std::str::from_utf8(length).unwrap_or_default();
                Framing::Length(length.parse().map_err(|_number| Flaw::Length)?)
            }
            (Some(_), None) => return Err(Flaw::Length),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
            (None, Some(_)) => return Err(Flaw::Coding),
            (None, None) => Framing::Neither,
        };
        if lengths.next().is_some() {
            return Err(Flaw::Length);
        }
        if codings.next().is_some() {
            return Err(Flaw::Coding);
        }
        Ok(framing)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Neither,
    Length(u64),
    Chunked,
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Whether lines of heads may end with LF alone and be folded.
    old_lines: bool,
}

impl<'a> Reader<'a> {
    /// The next line without its end; none where it is not there whole.
    fn line(&mut self, old: bool) -> Result<Option<&'a [u8]>, Flaw> {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = &self.rest[..end];
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if old => line,
            None => return Err(Flaw::LineEnd),
        };
        if line.contains(&b'\r') {
            return Err(Flaw::LineEnd);
        }
        self.rest = &self.rest[end + 1..];
        Ok(Some(line))
    }

    /// Reads a head; false where it is not there whole.
    fn head(
        &mut self,
        message: &mut Message,
        is_start: fn(&[u8]) -> Result<(), Flaw>,
    ) -> Result<bool, Flaw> {
        let Some(start) = self.line(self.old_lines)? else {
            return Ok(false);
        };
        message.start = start.to_vec();
        is_start(start)?;
        loop {
            match self.line(self.old_lines)? {
                None => return Ok(false),
                Some([]) => return Ok(true),
                Some([b' ' | b'\t', ..]) if self.old_lines => {
                    let last = message.fields.last().ok_or(Flaw::Name)?;
                    let name = last.0.as_slice();
                    if [&b"content-length"[..], b"transfer-encoding"]
                        .iter()
                        .any(|framing| name.eq_ignore_ascii_case(framing))
                    {
                        return Err(Flaw::Folded);
                    }
                }
                Some(line) => message.fields.push(field(line)?),
            }
        }
    }

    /// Reads a request; false where it is the last.
    fn request(&mut self, message: &mut Message) -> Result<bool, Flaw> {
        if !self.head(message, request_line)? {
            return Ok(false);
        }
        let absolute =
            message.start.windows(3).any(|part| part == b"://") || message.method() == b"CONNECT";
        match message.values("host").count() {
            1 => {}
            0 if absolute => {}
            _ => return Err(Flaw::Hosts),
        }
        let hosts = message.values("host").flatten();
        if hosts.copied().any(|byte| !is_of_host(byte)) {
            return Err(Flaw::Host);
        }
        let is_field_name = |member: &[u8]| member.iter().all(|byte| is_token(*byte));
        let is_protected = |member: &[u8]| {
            PROTECTED
                .iter()
                .any(|name| member.eq_ignore_ascii_case(name.as_bytes()))
        };
        if message
            .members("connection")
            .any(|member| !is_field_name(member) || is_protected(member))
        {
            return Err(Flaw::Connection);
        }
        let framing = message.framing()?;
        if message.opens_tunnel() {
            if message.method() == b"CONNECT"
                && !matches!(framing, Framing::Neither | Framing::Length(0))
            {
                return Err(Flaw::Framing);
            }
            message.end = End::Tunnel;
            message.body = std::mem::take(&mut self.rest).to_vec();
            return Ok(false);
        }
        self.body(message, framing)
    }

    fn response(&mut self, message: &mut Message, asked: Asked) -> Result<(), Flaw> {
        if !self.head(message, status_line)? {
            return Ok(());
        }
        let framing = message.framing()?;
        let status = message.status();
        if (status < 200 || status == 204) && framing != Framing::Neither {
            return Err(Flaw::Framing);
        }
        let opens = asked == Asked::Connect && (200..300).contains(&status);
        if opens && !matches!(framing, Framing::Neither | Framing::Length(0)) {
            return Err(Flaw::Framing);
        }
        if status == 101 || opens {
            message.end = End::Tunnel;
            message.body = std::mem::take(&mut self.rest).to_vec();
            return Ok(());
        }
        if asked == Asked::Head || status < 200 || matches!(status, 204 | 304) {
            message.end = End::Whole;
            return Ok(());
        }
        if framing == Framing::Neither {
            message.end = End::WithConnection;
            message.body = std::mem::take(&mut self.rest).to_vec();
            return Ok(());
        }
        self.body(message, framing).map(drop)
    }

    /// Reads a body; false where it is not there whole.
    fn body(&mut self, message: &mut Message, framing: Framing) -> Result<bool, Flaw> {
        match framing {
            Framing::Neither => {}
            Framing::Length(length) => {
                let there = usize::try_from(length)
                    .unwrap_or(usize::MAX)
                    .min(self.rest.len());
                let (body, rest) = self.rest.split_at(there);
                message.body = body.to_vec();
                self.rest = rest;
                if (there as u64) < length {
                    return Ok(false);
                }
            }
            Framing::Chunked => {
                if !self.chunks(message)? {
                    return Ok(false);
                }
            }
        }
        message.end = End::Whole;
        Ok(true)
    }

    fn chunks(&mut self, message: &mut Message) -> Result<bool, Flaw> {
        loop {
            let Some(line) = self.line(false)? else {
                let size = self.rest.strip_suffix(b"\r").unwrap_or(self.rest);
                let begins = size.first().is_none_or(u8::is_ascii_hexdigit);
                return if begins {
                    Ok(false)
                } else {
                    Err(Flaw::ChunkSize)
                };
            };
            let size = chunk_size(line)?;
            if size == 0 {
                break;
            }
            let there = usize::try_from(size)
                .unwrap_or(usize::MAX)
                .min(self.rest.len());
            let (data, rest) = self.rest.split_at(there);
            message.body.extend_from_slice(data);
            self.rest = rest;
            if (there as u64) < size || matches!(rest, [] | [b'\r']) {
                return Ok(false);
            }
            self.rest = rest.strip_prefix(b"\r\n").ok_or(Flaw::ChunkEnd)?;
        }
        loop {
            match self.line(false)? {
                None => return Ok(false),
                Some([]) => return Ok(true),
                Some(line) => message
                    .trailers
                    .push(field(line).map_err(|_flaw| Flaw::Trailer)?),
            }
        }
    }
}

fn field(line: &[u8]) -> Result<Field, Flaw> {
    if let [b' ' | b'\t', ..] = line {
        return Err(Flaw::Folded);
    }
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(Flaw::Name)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Flaw::Name);
    }
    if value.iter().any(|byte| is_control(*byte)) {
        return Err(Flaw::Control);
    }
    Ok((name.to_vec(), value.trim_ascii().to_vec()))
}

fn request_line(line: &[u8]) -> Result<(), Flaw> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Flaw::StartLine);
    };
    let known = [&b"HTTP/1.1"[..], b"HTTP/1.0"].contains(&version);
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || !known {
        return Err(Flaw::StartLine);
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) || target.contains(&b'#') {
        return Err(Flaw::Target);
    }
    let authority = match target {
        [b'/', ..] => return Ok(()),
        b"*" if method == b"OPTIONS" => return Ok(()),
        target if method == b"CONNECT" => target,
        target => {
            let separator = target
                .windows(3)
                .position(|part| part == b"://")
                .ok_or(Flaw::Target)?;
            let rest = &target[separator + 3..];
            rest.split(|byte| matches!(byte, b'/' | b'?'))
                .next()
                .unwrap_or_default()
        }
    };
    if authority.contains(&b'@') {
        Err(Flaw::Host)
    } else {
        Ok(())
    }
}

fn status_line(line: &[u8]) -> Result<(), Flaw> {
    let [
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        b'0'..=b'9',
        b' ',
        b'1'..=b'9',
        b'0'..=b'9',
        b'0'..=b'9',
        reason @ ..,
    ] = line
    else {
        return Err(Flaw::StartLine);
    };
    match reason {
        [] | [b' ', ..] if !reason.iter().any(|byte| is_control(*byte)) => Ok(()),
        _ => Err(Flaw::StartLine),
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Flaw> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (digits, extension) = line.split_at(digits);
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    let size = u64::from_str_radix(digits, 16).map_err(|_number| Flaw::ChunkSize)?;
    match extension.trim_ascii() {
        [] => Ok(size),
        [b';', rest @ ..] if rest.iter().any(|byte| is_control(*byte)) => Err(Flaw::Extension),
        [b';', ..] => Ok(size),
        _ => Err(Flaw::ChunkSize),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte)
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(bytes: &str) -> Option<Flaw> {
        requests(bytes.as_bytes()).flaw
    }

    #[test]
    fn requests_are_read_one_behind_the_other() {
        let bytes = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\r\n\
            POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: u\r\n\r\n\
            GET /c HTTP/1.1\r\nHost";
        let stream = requests(bytes);
        assert_eq!(stream.flaw, None);
        let ends: Vec<_> = stream.messages.iter().map(|message| message.end).collect();
        assert_eq!(ends, [End::Whole, End::Whole, End::Cut]);
        assert_eq!(stream.messages[1].body, b"ab");
        assert_eq!(
            stream.messages[1].trailers,
            [(b"T".to_vec(), b"u".to_vec())]
        );
    }

    #[test]
    fn each_flaw_is_told() {
        let head = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\n");
        let get = |fields: &str| head("GET / HTTP/1.1", fields);
        let chunks = |chunks: &str| get("Host: a\r\nTransfer-Encoding: chunked\r\n") + chunks;
        for (bytes, expected) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n".into(), Flaw::LineEnd),
            (get("Host: a\rb\r\n"), Flaw::LineEnd),
            (head("GET  / HTTP/1.1", "Host: a\r\n"), Flaw::StartLine),
            (head("GET / HTTP/2.0", "Host: a\r\n"), Flaw::StartLine),
            (head("GET a HTTP/1.1", "Host: a\r\n"), Flaw::Target),
            (head("GET /#f HTTP/1.1", "Host: a\r\n"), Flaw::Target),
            (head("GET http://u@a/ HTTP/1.1", "Host: a\r\n"), Flaw::Host),
            (get("Host: u@a\r\n"), Flaw::Host),
            (get(""), Flaw::Hosts),
            (get("Host: a\r\nHost: a\r\n"), Flaw::Hosts),
            (get("Host: a\r\n b\r\n"), Flaw::Folded),
            (get("Host : a\r\n"), Flaw::Name),
            (get("Host: a\0\r\n"), Flaw::Control),
            (get("Host: a\r\nContent-Length: +1\r\n"), Flaw::Length),
            (
                get("Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n"),
                Flaw::Length,
            ),
            (
                get("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n"),
                Flaw::Coding,
            ),
            (
                get("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
                Flaw::Framing,
            ),
            (get("Host: a\r\nConnection: host\r\n"), Flaw::Connection),
            (chunks("x\r\n"), Flaw::ChunkSize),
            (chunks("1\r\nabc"), Flaw::ChunkEnd),
            (chunks("1;\0\r\na\r\n"), Flaw::Extension),
            (chunks("0\r\n a\r\n\r\n"), Flaw::Trailer),
        ] {
            assert_eq!(flaw(&bytes), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn responses_end_where_their_request_says() {
        let bytes = b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
        let (stream, rest) = responses(bytes, Asked::Other);
        assert_eq!((stream.messages.len(), rest), (2, &b"HTTP"[..]));
        let (_, rest) = responses(bytes, Asked::Head);
        assert_eq!(rest, b"okHTTP");
        let (stream, rest) = responses(b"HTTP/1.1 200\r\n\r\nall", Asked::Other);
        assert_eq!(
            (stream.messages[0].end, rest),
            (End::WithConnection, &b""[..])
        );
        let (stream, _) = responses(b"HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", Asked::Other);
        assert_eq!(stream.flaw, Some(Flaw::Framing));
        let (stream, rest) = responses(b"HTTP/1.1 200 OK\r\n\r\nall", Asked::Connect);
        assert_eq!((stream.messages[0].end, rest), (End::Tunnel, &b""[..]));
    }
}
