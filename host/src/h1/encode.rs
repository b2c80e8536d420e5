//! Encoding: from a block of fields and a body to bytes.
//!
//! Owns what may be written: whatever a block holds, what comes out is one message with one framing.
//! The caller names the body's length; `content-length` is written from it and a block's
//! `transfer-encoding` never is. A field that would end its line early is left out. The order of
//! fields is Envoy's.
//!
//! Does not own which fields a proxy adds or takes away (`http::hygiene`).

mod reason;

use bytes::{BufMut, BytesMut};

use crate::exchange::Protocol;
use crate::headers::{Headers, Known, is_token_byte, is_valid_value};

use super::{BodyLength, decimal, words};

pub use reason::reason;

/// The interim response that invites the body of a request (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What makes a request line impossible to write. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// `:method` is missing or no token.
    #[error("request has no method that can be encoded")]
    Method,
    /// `:path` is missing, has a space or a control character, or is neither a path nor `*`.
    #[error("request has no path that can be encoded")]
    Target,
    /// `:authority` has a space or a control character.
    #[error("request has no authority that can be encoded")]
    Authority,
}

/// Appends a request's head: `METHOD path HTTP/1.1`, `host`, then the other fields in order.
///
/// `content-length` stands where the block has it, with the number of `body`. At the end come, where
/// they are needed, `transfer-encoding: chunked`, `content-length`, and for a request without a body
/// `content-length: 0`, which `GET`, `HEAD`, `DELETE`, `TRACE`, `CONNECT` and upgrades do not get.
///
/// # Errors
/// Where the request line cannot be written.
pub fn encode_request(
    out: &mut BytesMut,
    headers: &Headers,
    body: BodyLength,
) -> Result<(), Unencodable> {
    encode_request_to(out, headers, body, TargetForm::Origin).map(|_bytes| ())
}

/// The form of a request's target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// A path, for the server itself.
    #[default]
    Origin,
    /// A whole URL, for a proxy (`send_fully_qualified_url`).
    Absolute,
}

/// [`encode_request`] with the target in that form. Answers how many bytes its fields have.
///
/// # Errors
/// Where the request line cannot be written.
pub fn encode_request_to(
    out: &mut BytesMut,
    headers: &Headers,
    body: BodyLength,
    form: TargetForm,
) -> Result<u64, Unencodable> {
    let method = headers
        .known(Known::Method)
        .filter(|method| !method.is_empty() && method.iter().all(|byte| is_token_byte(*byte)))
        .ok_or(Unencodable::Method)?;
    let authority = headers.known(Known::Authority).unwrap_or_default();
    if !is_visible(authority) {
        return Err(Unencodable::Authority);
    }
    let target = match method {
        b"CONNECT" => Some(authority).filter(|authority| !authority.is_empty()),
        _ => headers
            .known(Known::Path)
            .filter(|path| path.starts_with(b"/") || *path == b"*"),
    };
    let target = target
        .filter(|target| is_visible(target))
        .ok_or(Unencodable::Target)?;

    reserve(out, headers, method.len() + target.len() + authority.len());
    out.put_slice(method);
    out.put_slice(b" ");
    if form == TargetForm::Absolute && target.starts_with(b"/") {
        out.put_slice(match headers.known(Known::Scheme) {
            Some(b"https") => b"https://",
            _ => b"http://",
        });
        out.put_slice(authority);
    }
    out.put_slice(target);
    out.put_slice(b" HTTP/1.1\r\n");
    let from = out.len();
    put_field(out, headers, b"host", authority);
    let length = match body {
        BodyLength::Length(length) => LengthField::Write(length),
        BodyLength::None | BodyLength::Chunked | BodyLength::UntilClose => LengthField::Omit,
    };
    let wrote_length = put_fields(
        out,
        headers,
        Kept {
            length,
            is_closing: false,
            host: false,
        },
    );
    match body {
        BodyLength::Length(length) if !wrote_length => put_length(out, headers, length),
        // A request cannot end with its connection.
        BodyLength::Chunked | BodyLength::UntilClose => {
            put_field(out, headers, b"transfer-encoding", b"chunked");
        }
        // What follows an upgrade is no body, nor none.
        BodyLength::None if announces_no_body(method) && !headers.has(Known::Upgrade) => {
            put_length(out, headers, 0);
        }
        BodyLength::None | BodyLength::Length(_) => {}
    }
    let bytes = out.len() - from;
    out.put_slice(b"\r\n");
    Ok(bytes as u64)
}

/// Appends a response's head: the status line with Envoy's reason phrase, the fields in order, then
/// what is needed of `connection: close` (`keep-alive` to HTTP/1.0), `transfer-encoding: chunked` and
/// `content-length`.
///
/// With [`BodyLength::None`] (a response to `HEAD`, or 304) the block's `content-length` stays as it
/// is. Responses 1xx and 204 never have either framing field. With `close`, a block's `connection` is
/// left out. [`BodyLength::UntilClose`] closes in any case; to HTTP/1.0, which has no chunks, it is the
/// only way to send a body of unknown length. Answers how many bytes its fields have.
pub fn encode_response(
    out: &mut BytesMut,
    version: Protocol,
    status: u16,
    headers: &Headers,
    body: BodyLength,
    close: bool,
) -> u64 {
    let reason = headers
        .reason()
        .unwrap_or_else(|| reason(status).as_bytes());
    reserve(out, headers, reason.len());
    out.put_slice(if version == Protocol::Http10 {
        b"HTTP/1.0 "
    } else {
        b"HTTP/1.1 "
    });
    put_decimal(out, u64::from(status));
    out.put_slice(b" ");
    out.put_slice(reason);
    out.put_slice(b"\r\n");
    let from = out.len();

    let bodiless = status < 200 || status == 204;
    let close = close || (body == BodyLength::UntilClose && !bodiless);
    let length = match body {
        _ if bodiless => LengthField::Omit,
        BodyLength::None => LengthField::Keep,
        BodyLength::Length(length) => LengthField::Write(length),
        BodyLength::Chunked | BodyLength::UntilClose => LengthField::Omit,
    };
    let wrote_length = put_fields(
        out,
        headers,
        Kept {
            length,
            is_closing: close,
            host: true,
        },
    );
    if let Some(value) = connection_field(version, close) {
        put_field(out, headers, CONNECTION, value);
    }
    match body {
        _ if bodiless => {}
        BodyLength::Chunked => put_field(out, headers, b"transfer-encoding", b"chunked"),
        BodyLength::Length(length) if !wrote_length => put_length(out, headers, length),
        BodyLength::None | BodyLength::Length(_) | BodyLength::UntilClose => {}
    }
    let bytes = out.len() - from;
    out.put_slice(b"\r\n");
    bytes as u64
}

/// The name of the field that says what becomes of a connection.
pub const CONNECTION: &[u8] = b"connection";

/// What a response says of its connection, where it does: that it is closed, or to HTTP/1.0 that it is
/// not.
#[must_use]
pub const fn connection_field(version: Protocol, close: bool) -> Option<&'static [u8]> {
    match (close, version) {
        (true, _) => Some(b"close"),
        (false, Protocol::Http10) => Some(b"keep-alive"),
        (false, _) => None,
    }
}

/// Appends the line in front of a chunk of `len` bytes. Nothing for zero, which would end the body.
pub fn encode_chunk_head(out: &mut BytesMut, len: usize) {
    if len == 0 {
        return;
    }
    let mut line = [0; 18];
    let mut at = line.len();
    let mut rest = len;
    for byte in b"\n\r" {
        at -= 1;
        put_at(&mut line, at, *byte);
    }
    while rest > 0 {
        at -= 1;
        put_at(
            &mut line,
            at,
            *b"0123456789abcdef".get(rest & 15).unwrap_or(&b'0'),
        );
        rest >>= 4;
    }
    out.extend_from_slice(line.get(at..).unwrap_or_default());
}

/// Appends the line end behind a chunk.
pub fn encode_chunk_tail(out: &mut BytesMut) {
    out.extend_from_slice(b"\r\n");
}

/// Appends `data` as one chunk, copied. Nothing for no data.
pub fn encode_chunk(out: &mut BytesMut, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    encode_chunk_head(out, data.len());
    out.put_slice(data);
    encode_chunk_tail(out);
}

/// Appends the last chunk, the trailer fields, and the end of the body. Answers how many bytes the fields have.
pub fn encode_last_chunk(out: &mut BytesMut, trailers: Option<&Headers>) -> u64 {
    out.extend_from_slice(b"0\r\n");
    let from = out.len();
    if let Some(trailers) = trailers {
        reserve(out, trailers, 0);
        put_fields(
            out,
            trailers,
            Kept {
                length: LengthField::Omit,
                is_closing: false,
                host: false,
            },
        );
    }
    let bytes = out.len() - from;
    out.extend_from_slice(b"\r\n");
    bytes as u64
}

/// What becomes of a block's `content-length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthField {
    /// It is left out.
    Omit,
    /// The first one that is a number stays.
    Keep,
    /// The first one gets this number.
    Write(u64),
}

/// Which fields of a block are kept where that depends on the message.
#[derive(Clone, Copy)]
struct Kept {
    length: LengthField,
    /// `connection` is left out, since the last word on it comes later.
    is_closing: bool,
    /// `host` is an ordinary field: in a response it means nothing, and is passed on.
    host: bool,
}

/// Appends the fields that are no pseudo-header fields. Answers whether `content-length` was among
/// them.
fn put_fields(out: &mut BytesMut, headers: &Headers, mut kept: Kept) -> bool {
    let checked = headers.may_break_lines();
    let is_lower_case = headers.is_lower_case();
    let mut wrote_length = false;
    for field in headers.iter() {
        if let Some(known) = field.known {
            match known {
                Known::TransferEncoding => continue,
                Known::Connection if kept.is_closing => continue,
                Known::ContentLength => {
                    let number = match kept.length {
                        LengthField::Omit => None,
                        LengthField::Keep => decimal(field.value),
                        LengthField::Write(length) => Some(length),
                    };
                    if let Some(number) = number {
                        put_length(out, headers, number);
                        wrote_length = true;
                        kept.length = LengthField::Omit;
                    }
                    continue;
                }
                Known::Authority if kept.host => {}
                known if known.is_pseudo() => continue,
                _ => {}
            }
        }
        if checked && !(is_valid_value(field.value) && is_valid_value(field.name)) {
            continue;
        }
        match field.known {
            Some(Known::Authority) => put_name(out, headers, b"host"),
            Some(known) if is_lower_case => out.put_slice(known.as_line().as_bytes()),
            _ => put_name(out, headers, field.name),
        }
        out.put_slice(field.value);
        out.put_slice(b"\r\n");
    }
    wrote_length
}

/// Appends a line, its name as the block spells it.
fn put_field(out: &mut BytesMut, headers: &Headers, name: &[u8], value: &[u8]) {
    put_name(out, headers, name);
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn put_length(out: &mut BytesMut, headers: &Headers, length: u64) {
    if headers.is_lower_case() {
        out.put_slice(Known::ContentLength.as_line().as_bytes());
    } else {
        put_name(out, headers, Known::ContentLength.as_str().as_bytes());
    }
    put_decimal(out, length);
    out.put_slice(b"\r\n");
}

fn put_name(out: &mut BytesMut, headers: &Headers, name: &[u8]) {
    if headers.is_lower_case() {
        out.put_slice(name);
    } else {
        headers.write_name(name, out);
    }
    out.put_slice(b": ");
}

fn put_decimal(out: &mut BytesMut, number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        put_at(&mut digits, at, b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(digits.get(at..).unwrap_or_default());
}

fn put_at(line: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = line.get_mut(at) {
        *place = byte;
    }
}

/// Makes room for all of a head at once; `start_line` is what varies in its first two lines.
/// Names that are known lie in no block: what they take is guessed, and where that is too little there is
/// room made once more.
fn reserve(out: &mut BytesMut, headers: &Headers, start_line: usize) {
    const LINE: usize = "x-forwarded-proto: \r\n".len();
    const REST: usize = 160;
    out.reserve(headers.stored() + LINE * headers.len() + start_line + REST);
}

/// Whether `bytes` has neither a space nor a control character.
fn is_visible(bytes: &[u8]) -> bool {
    words::run_above::<{ b' ' + 1 }>(bytes) == bytes.len()
}

/// Whether Envoy says `content-length: 0` for a request of this method that has no body.
pub(crate) fn announces_no_body(method: &[u8]) -> bool {
    !matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT")
}

#[cfg(test)]
mod tests;
