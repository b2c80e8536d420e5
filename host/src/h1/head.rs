//! Parsing of heads: start line, fields, and how long the body is.
//!
//! Owns the incremental parser. Lines are read once each as they come, so a peer that sends a byte
//! at a time costs no more than one that sends all at once, and a head that cannot become valid is
//! refused at its first bad line.
//!
//! Line ends of a request are CRLF and nothing else. A response's may be a bare LF, and its obsolete
//! line folding is undone, as in Envoy: nobody but this parser reads those bytes, and old origin
//! servers do send both.

mod facts;
mod request;
mod response;

use crate::exchange::Protocol;
use crate::headers::Headers;

use super::{BodyLength, MethodKind, RequestRules, ResponseRules, words};
use facts::{Facts, LINE_BYTES};

pub use super::reject::{BadResponse, Reject};

/// Whether `authority` is a name or an address, in brackets if of IPv6, with or without a port.
pub(crate) fn is_host_and_port(authority: &[u8]) -> bool {
    request::is_host_and_port(authority, request::Port::Optional)
}

/// Whether `host` may stand in a field of that name. It may be empty (RFC 9112 §3.2).
pub(crate) fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| request::is_host_byte(*byte))
}

/// How many bytes the fields of a block had as they came, as Envoy counts them.
pub(crate) fn field_bytes(fields: &Headers) -> u64 {
    fields.byte_size() as u64 + LINE_BYTES * fields.len() as u64
}

/// What the parser says of a whole request head; the fields are in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the buffer that belong to the head, empty lines in front of it included.
    pub consumed: usize,
    /// Bytes of its fields, as Envoy counts them: without the space around their values.
    pub field_bytes: u64,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Protocol,
    /// What the method means to framing.
    pub method: MethodKind,
    /// Never [`BodyLength::UntilClose`].
    pub body: BodyLength,
    /// Whether the client wants the connection to stay open.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub expect_continue: bool,
    /// Whether the client asks for another protocol. `h2c` is passed over, as in Envoy.
    pub upgrade: bool,
    /// How many fields were left out for the underscores in their names.
    pub dropped: u16,
}

/// What the parser says of a whole response head; the fields are in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the buffer that belong to the head.
    pub consumed: usize,
    /// Bytes of its fields, as Envoy counts them: without the space around their values.
    pub field_bytes: u64,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Protocol,
    /// 100 to 999. An informational response is returned like any other.
    pub status: u16,
    /// [`BodyLength::None`] also for 101 and for a 2xx response to `CONNECT`, after which the
    /// connection belongs to another protocol.
    pub body: BodyLength,
    /// Whether the connection can take another request after this response.
    pub keep_alive: bool,
}

/// Where the parser stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No byte of the head has come; empty lines may have.
    #[default]
    Before,
    /// The start line has begun.
    StartLine,
    /// Between the start line and the empty line.
    Fields,
}

/// Reads one head after the other.
///
/// It remembers how far it has come. Until it has answered with a head or an error, call it again
/// with the same bytes and more behind them, and with the same block. After either it starts anew.
#[derive(Clone, Debug, Default)]
pub struct HeadParser {
    /// Start of the first line that was not read.
    line: usize,
    /// Before this byte that line has no end.
    scanned: usize,
    stage: Stage,
    facts: Facts,
    /// Whether the head that was refused last is one of HTTP/1.0.
    refused_http_10: bool,
    /// Bytes of its fields as far as they were read.
    refused_bytes: u64,
}

impl HeadParser {
    /// A parser that expects a start line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a byte of a head has come. Empty lines in front of it do not count.
    #[must_use]
    pub const fn has_started(&self) -> bool {
        !matches!(self.stage, Stage::Before)
    }

    /// Reads a request's head into `headers`: `:method`, `:path` (none for `CONNECT`), `:authority`,
    /// `:scheme` (empty where the target says none), then the fields as they came,
    /// names in lower case. `transfer-encoding` is not among them: [`RequestHead::body`] has it.
    /// `None`: the end has not come.
    ///
    /// # Errors
    /// Where the head may not be taken; see [`Reject`].
    pub fn request(
        &mut self,
        buf: &[u8],
        rules: &RequestRules,
        headers: &mut Headers,
    ) -> Result<Option<RequestHead>, Reject> {
        let parsed = self.read_request(buf, rules, headers);
        if !matches!(parsed, Ok(None)) {
            let is_refused = parsed.is_err();
            *self = Self {
                refused_http_10: is_refused && self.facts.is_http_10(),
                refused_bytes: if is_refused { self.facts.bytes } else { 0 },
                ..Self::default()
            };
        }
        parsed
    }

    /// Whether the request that was refused last is one of HTTP/1.0, which is accepted.
    #[must_use]
    pub const fn has_refused_http_10(&self) -> bool {
        self.refused_http_10
    }

    /// Bytes of the fields of the request that was refused last, as far as they were read.
    #[must_use]
    pub const fn refused_bytes(&self) -> u64 {
        self.refused_bytes
    }

    /// Reads a response's head into `headers`: `:status`, then the fields as they came, names in
    /// lower case, without `transfer-encoding`. `request` is what was asked for. `None`: the end has
    /// not come.
    ///
    /// # Errors
    /// Where the head may not be taken; see [`BadResponse`].
    pub fn response(
        &mut self,
        buf: &[u8],
        rules: ResponseRules,
        request: MethodKind,
        headers: &mut Headers,
    ) -> Result<Option<ResponseHead>, BadResponse> {
        let parsed = self.read_response(buf, rules, request, headers);
        if !matches!(parsed, Ok(None)) {
            *self = Self::default();
        }
        parsed
    }

    /// The next line of `buf` without its end, if it is whole, ends with CRLF, and has no control byte,
    /// not even a tab. Others are left where they are, and so are those that were looked at before.
    fn plain_line<'a>(&mut self, buf: &'a [u8]) -> Option<&'a [u8]> {
        if self.scanned > self.line {
            return None;
        }
        let rest = buf.get(self.line..)?;
        let (line, end) = rest.split_at_checked(words::run_above::<b' '>(rest))?;
        if !end.starts_with(b"\r\n") {
            return None;
        }
        self.line += line.len() + 2;
        Some(line)
    }

    /// The next line of `buf` up to and with its LF, or `None` if it is not there whole.
    fn next_line<'a>(&mut self, buf: &'a [u8]) -> Option<&'a [u8]> {
        let line = buf.get(self.line..)?;
        let seen = self.scanned.saturating_sub(self.line);
        let Some(at) = words::find(b'\n', line.get(seen..)?) else {
            self.scanned = buf.len();
            return None;
        };
        let (line, _) = line.split_at_checked(seen + at + 1)?;
        self.line += line.len();
        Some(line)
    }
}

/// The first `limit` bytes of `buf`: what comes after them is never looked at, so that a verdict does
/// not depend on how the bytes were cut into reads.
fn window(buf: &[u8], limit: u32) -> &[u8] {
    buf.get(..limit as usize).unwrap_or(buf)
}

#[cfg(test)]
mod tests;
