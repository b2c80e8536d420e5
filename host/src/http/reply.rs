//! Local replies: responses that the proxy makes itself.
//!
//! Owns their shape on the wire, byte for byte Envoy's, gRPC included. Does not own when one is
//! sent (`http::stream`) nor why (`http::error`, filters, routes).

use std::borrow::Cow;

use bytes::Bytes;

use crate::exchange::{Exchange, Flags};
use crate::headers::{Known, Name};

/// A response that the proxy makes itself.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// 0 when the client is gone and gets nothing.
    pub(crate) status: u16,
    /// Fields in front of the usual ones.
    pub(crate) headers: Vec<(Name, Vec<u8>)>,
    pub(crate) body: Bytes,
    /// `content-type` of the body; `text/plain` by default.
    pub(crate) content_type: Cow<'static, [u8]>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: Cow<'static, str>,
    pub(crate) flags: Flags,
    /// In place of the one that the status stands for.
    pub(crate) grpc_status: Option<u32>,
    /// Whether the connection is closed behind it.
    pub(crate) close: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            content_type: Cow::Borrowed(b"text/plain"),
            details: details.into(),
            flags: Flags::NONE,
            grpc_status: None,
            close: false,
        }
    }

    pub(crate) fn body(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.body = match text.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        self
    }

    pub(crate) fn header(mut self, name: Name, value: &[u8]) -> Self {
        self.headers.push((name, value.to_vec()));
        self
    }

    pub(crate) const fn flag(mut self, flags: Flags) -> Self {
        self.flags.insert(flags);
        self
    }

    pub(crate) const fn close(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn overloaded(self) -> Self {
        self.header(Known::XEnvoyOverloaded.into(), b"true")
    }

    /// Puts the reply into the exchange: status, flags, details and the head without `date` and
    /// `server`. Gives back the content that follows the head, for a method that wants one.
    /// `mutate` may change the head before the fields are added that describe the content.
    pub(crate) fn compose(
        self,
        exchange: &mut Exchange,
        mutate: impl FnOnce(&mut Exchange),
    ) -> Bytes {
        exchange.flags.insert(self.flags);
        exchange.details = Some(self.details);
        exchange.local_reply_body = (!self.body.is_empty())
            .then(|| Cow::Owned(String::from_utf8_lossy(&self.body).into_owned()));
        exchange.response.clear();
        exchange.response_trailers.clear();
        let grpc = is_grpc(exchange.request.known(Known::ContentType));
        let status = if grpc { 200 } else { self.status };
        let response = &mut exchange.response;
        response.append_known(Known::Status, decimal(u64::from(status), &mut [0; 20]));
        for (name, value) in &self.headers {
            response.append(name, value);
        }
        mutate(exchange);
        exchange.status = status;
        let response = &mut exchange.response;
        if grpc {
            let code = self.grpc_status.unwrap_or_else(|| grpc_status(self.status));
            response.set_known(Known::ContentType, b"application/grpc");
            response.append_known(Known::GrpcStatus, decimal(u64::from(code), &mut [0; 20]));
            if !self.body.is_empty() {
                response.append_known(Known::GrpcMessage, &percent_encode(&self.body));
            }
            return Bytes::new();
        }
        if !self.body.is_empty() {
            let length = decimal(self.body.len() as u64, &mut [0; 20]).to_vec();
            response.set_known(Known::ContentLength, &length);
            if !response.has(Known::ContentType) {
                response.append_known(Known::ContentType, &self.content_type);
            }
        }
        self.body
    }
}

/// Whether a request or response of this `content-type` is gRPC.
pub(crate) fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// The gRPC status that stands for an HTTP status in a local reply.
pub(crate) const fn grpc_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message` (gRPC over HTTP/2, "Responses"): what is not printable ASCII, and `%`, as `%XX`.
fn percent_encode(message: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(message.len());
    for byte in message {
        if (0x20..=0x7e).contains(byte) && *byte != b'%' {
            out.push(*byte);
        } else {
            let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    out
}

/// Decimal digits of `value`, in `room`.
pub(crate) fn decimal(mut value: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    for slot in room.iter_mut().rev() {
        at -= 1;
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    room.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for value in [0, 7, 10, 95, 15_000, u64::MAX] {
            assert_eq!(decimal(value, &mut [0; 20]), value.to_string().as_bytes());
        }
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encode(b"a b%\n\xff"), b"a b%25%0A%FF");
        assert!(is_grpc(Some(b"application/grpc+proto")));
        assert!(!is_grpc(Some(b"application/grpc-web")));
        assert!(!is_grpc(None));
    }
}
