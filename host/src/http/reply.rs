//! Local replies: responses that the proxy makes itself.
//!
//! Owns their shape on the wire, byte for byte Envoy's, gRPC included, and what `local_reply_config`
//! makes of them. Does not own when one is sent (`http::stream`) nor why (`http::error`, filters, routes).

use std::borrow::Cow;

use bytes::Bytes;

use crate::exchange::{Exchange, Flags, grpc_status_of};
use crate::headers::{Known, Name, NameFormat};
use crate::log_filter::LogFilter;
use crate::observe::format::BodyFormat;
use crate::route::{Action, ResponseChanges, Route};
use crate::worker::Worker;

/// How local replies look (`local_reply_config`).
#[derive(Clone, Debug)]
pub struct LocalReplies {
    /// `mappers`: of those whose filter matches the first.
    pub mappers: Box<[Mapper]>,
    /// `body_format`.
    pub format: Option<BodyFormat>,
}

/// A change to some local replies (`ResponseMapper`).
#[derive(Clone, Debug)]
pub struct Mapper {
    /// `filter`.
    pub filter: LogFilter,
    /// `status_code`.
    pub status: Option<u16>,
    /// `body`.
    pub body: Option<Bytes>,
    /// `body_format_override`.
    pub format: Option<BodyFormat>,
    /// `headers_to_add`.
    pub headers: ResponseChanges,
}

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
    /// Whether `content-type` stands in front of the length, as where Envoy formats a body.
    type_first: bool,
    /// Which routes change its fields.
    pub(crate) changed_by: ChangedBy,
}

/// The routes whose changes of response headers a reply gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangedBy {
    /// One that leads to an upstream, as every reply in an upstream's place in Envoy: in front of the
    /// reply's own fields, which they leave alone.
    Forwarding,
    /// The one that answers itself: behind the reply's own fields, which they may change.
    Answering,
    /// None: it is no reply in an upstream's place, but a response of a filter's own. To Envoy it is no
    /// local reply either.
    None,
}

impl ChangedBy {
    /// Whether `route` is one of these.
    pub(crate) const fn is_by(self, route: &Route) -> bool {
        match self {
            Self::Forwarding => matches!(route.action, Action::Forward(_)),
            Self::Answering => true,
            Self::None => false,
        }
    }

    /// Whether it is a local reply: `local_reply_config` is about it, and who speaks gRPC has it as gRPC.
    const fn is_local(self) -> bool {
        !matches!(self, Self::None)
    }
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
            type_first: false,
            changed_by: ChangedBy::Forwarding,
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

    /// Makes the body anew as `body` says, to which the one so far is `%LOCAL_REPLY_BODY%`. The
    /// response has no status yet, for Envoy's formats neither.
    pub(crate) fn format(mut self, exchange: &mut Exchange, body: &BodyFormat) -> Self {
        exchange.local_reply_body = Some(String::from_utf8_lossy(&self.body).into_owned().into());
        let mut text = Vec::new();
        body.format.render(exchange, &mut text);
        self.body = text.into();
        if body.content_type == self.content_type {
            return self;
        }
        self.content_type.clone_from(&body.content_type);
        self.type_first = true;
        self
    }

    /// Puts the reply into the exchange: status, flags, details and the head without `date` and
    /// `server`. Gives back the content that follows the head, for a method that wants one.
    /// `change` makes the route's changes of the head, before the fields are added that describe the
    /// content; `replies` says how local replies look.
    pub(crate) fn compose(
        mut self,
        exchange: &mut Exchange,
        change: impl FnOnce(&mut Exchange),
        replies: Option<(&LocalReplies, &Worker)>,
    ) -> Bytes {
        // Envoy's codecs reply before they say what was wrong.
        let of_codec = self.flags == Flags::DOWNSTREAM_PROTOCOL_ERROR;
        if !of_codec {
            exchange.flags.insert(self.flags);
        }
        exchange.details = Some(std::mem::take(&mut self.details));
        note_body(exchange, &self.body);
        exchange.response.clear();
        exchange.response.spell(NameFormat::default());
        exchange.response_trailers.clear();
        let is_local = self.changed_by.is_local();
        let grpc = is_local && exchange.is_grpc;
        let response = &mut exchange.response;
        response.append_known(Known::Status, decimal(u64::from(self.status), &mut [0; 20]));
        // There is no response yet, whatever an upstream has said.
        exchange.status = 0;
        if self.changed_by == ChangedBy::Answering {
            self.append_headers(exchange);
            change(exchange);
        } else {
            change(exchange);
            self.append_headers(exchange);
        }
        if self.type_first && !self.body.is_empty() {
            let response = &mut exchange.response;
            response.set_known(Known::ContentType, &self.content_type);
        }
        exchange.status = self.status;
        if let Some((replies, worker)) = replies.filter(|_| is_local) {
            self.rewrite(exchange, replies, worker);
        }
        exchange.flags.insert(self.flags);
        if grpc {
            self.compose_grpc(exchange);
            return Bytes::new();
        }
        let response = &mut exchange.response;
        if self.body.is_empty() {
            response.remove_known(Known::ContentLength);
            response.remove_known(Known::ContentType);
        } else {
            let length = decimal(self.body.len() as u64, &mut [0; 20]).to_vec();
            response.set_known(Known::ContentLength, &length);
            if !response.has(Known::ContentType) {
                response.append_known(Known::ContentType, &self.content_type);
            }
        }
        self.body
    }

    fn append_headers(&self, exchange: &mut Exchange) {
        for (name, value) in &self.headers {
            exchange.response.append(name, value);
        }
    }

    /// Makes a gRPC status of the reply: all of it is in the head.
    fn compose_grpc(&self, exchange: &mut Exchange) {
        let code = self
            .grpc_status
            .unwrap_or_else(|| grpc_status_of(self.status));
        exchange.status = 200;
        let is_head = exchange.request.known(Known::Method) == Some(b"HEAD");
        let response = &mut exchange.response;
        response.set_known(Known::Status, b"200");
        response.set_known(Known::ContentType, b"application/grpc");
        if !response.has(Known::GrpcStatus) {
            response.append_known(Known::GrpcStatus, decimal(u64::from(code), &mut [0; 20]));
        }
        // The line break behind an object is none of the message's, but where a route formats it.
        let object = self
            .body
            .strip_suffix(b"\n")
            .filter(|_| !self.type_first && *self.content_type == *b"application/json");
        let message = object.unwrap_or(&self.body);
        // Envoy has it from the content, which nobody gets who asks for a head.
        if !message.is_empty() && !is_head && !response.has(Known::GrpcMessage) {
            response.append_known(Known::GrpcMessage, &percent_encode(message));
        }
        response.remove_known(Known::ContentLength);
    }

    /// Makes the reply look as the configuration says.
    fn rewrite(&mut self, exchange: &mut Exchange, replies: &LocalReplies, worker: &Worker) {
        let type_before = exchange
            .response
            .known(Known::ContentType)
            .map(<[u8]>::to_vec);
        let body_before = self.body.clone();
        let mut random = || worker.random();
        let mapper = replies
            .mappers
            .iter()
            .find(|mapper| mapper.filter.matches(exchange, &mut random));
        if let Some(mapper) = mapper {
            if let Some(body) = &mapper.body {
                self.body = body.clone();
                note_body(exchange, body);
            }
            worker.with_scratch(|scratch| mapper.headers.apply(exchange, scratch));
            if let Some(status) = mapper.status {
                self.status = status;
                exchange.status = status;
                let mut room = [0; 20];
                let text = decimal(u64::from(status), &mut room);
                exchange.response.set_known(Known::Status, text);
            }
        }
        let format = mapper
            .and_then(|mapper| mapper.format.as_ref())
            .or(replies.format.as_ref());
        if let Some(format) = format {
            let mut body = Vec::new();
            format.format.render(exchange, &mut body);
            self.body = body.into();
            self.content_type = format.content_type.clone();
            self.type_first = false;
        } else if self.body != body_before {
            self.content_type = Cow::Borrowed(b"text/plain");
        }
        let type_now = exchange.response.known(Known::ContentType);
        if self.body != body_before && type_now.is_some() && type_now == type_before.as_deref() {
            let response = &mut exchange.response;
            response.set_known(Known::ContentType, &self.content_type);
        }
    }
}

/// Lets formats show the body of a local reply.
fn note_body(exchange: &mut Exchange, body: &[u8]) {
    exchange.local_reply_body =
        (!body.is_empty()).then(|| Cow::Owned(String::from_utf8_lossy(body).into_owned()));
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
    }
}
