//! The upstream's side of one stream, up to the head of its response.
//!
//! Owns how that head is waited for in each protocol, what comes before it, and what a failure on the
//! way means. Behind the head there is a [`Reader`] as on the client's side. Made by
//! [`super::forward`] and [`super::relay`]; waited on by [`super::conversation`], [`super::hedge`], [`super::mirror`],
//! [`super::relay`] and [`super::tunnel`].

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::error::{Error, Kind, Side, of_http2};
use super::h2 as h2_glue;
use super::hygiene::tokens;
use super::io::{H1Reader, Reader, Writer};
use super::received::H2Reader;
use super::relay::Relay;
use super::stream::{Tunnel, has_content};
use crate::exchange::{Carried, Counted};
use crate::h1::head::HeadParser;
use crate::h1::{BodyLength, HeadLimits, MethodKind, ResponseRules, decimal};
use crate::headers::{Headers, Known};
use crate::upstream::{ClusterSpec, Excess, Outcome, Release, StreamEnd};

/// The upstream's side of one stream.
pub(super) struct UpstreamSide<'io> {
    /// What the request asked for, by the head that was sent.
    pub(super) asked: Asked,
    /// Which responses are taken.
    pub(super) rules: ResponseRules,
    /// Where the response comes from; on HTTP/2 once its head is there.
    pub(super) reader: Option<Reader<'io>>,
    pub(super) writer: Writer<'io>,
    pub(super) head: Await,
    /// Whether anything came before the final response.
    pub(super) interim: bool,
}

/// Which responses a cluster takes.
pub(super) const fn response_rules(spec: &ClusterSpec) -> ResponseRules {
    ResponseRules {
        limits: HeadLimits {
            bytes: spec.response_head_bytes,
            fields: spec.response_fields,
        },
        allow_chunked_length: spec.http1_chunked_length,
    }
}

/// The same over HTTP/2, where another size is the one that nobody has to write.
pub(super) const fn http2_response_rules(spec: &ClusterSpec) -> ResponseRules {
    let mut rules = response_rules(spec);
    if let Some(settings) = spec.protocol.http2() {
        rules.limits.bytes = settings.max_header_list;
    }
    rules
}

/// How the response's head is waited for.
pub(super) enum Await {
    Http1(HeadParser),
    Http2(h2::client::ResponseFuture),
    /// There is none: the upstream has accepted by taking the connection.
    Accepted,
    /// By a task of its own.
    Relayed(Rc<Relay>),
    Done,
}

/// What the response's head says about its body.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) body: BodyLength,
    /// Whether nothing follows the head. Over HTTP/2 the length does not tell: the end is a flag.
    pub(super) is_empty: bool,
    /// Whether nothing but its end follows the head, with trailers maybe. Over HTTP/2 that is waited for.
    pub(super) is_bare: bool,
    pub(super) keep_alive: bool,
}

impl Answer {
    /// Whether the upstream's end of the connection is that of the body.
    pub(super) const fn ends_with_connection(self) -> bool {
        matches!(self.body, BodyLength::UntilClose)
    }

    /// What becomes of an HTTP/1 connection behind the response: `sent` is whether all of the request
    /// has gone, `read` whether all of the response was read.
    pub(super) const fn release(self, sent: bool, read: bool) -> Release {
        if sent && read && self.keep_alive {
            Release::Reuse
        } else if self.ends_with_connection() {
            Release::ClosedByPeer
        } else if sent && read {
            Release::Close
        } else {
            Release::Cut
        }
    }
}

impl UpstreamSide<'_> {
    /// Reads the head of the final response into `into`, passing over interim ones.
    pub(super) fn poll_final_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Headers,
    ) -> Poll<Result<Answer, Kind>> {
        loop {
            if let Came::Final(answer) = ready!(self.poll_head(cx, into))? {
                return Poll::Ready(Ok(answer));
            }
        }
    }

    /// Reads the head of the next response into `into`: of an interim one or of the final one.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Headers,
    ) -> Poll<Result<Came, Kind>> {
        let (asked, rules) = (self.asked, self.rules);
        let limits = rules.limits;
        match &mut self.head {
            Await::Http1(parser) => {
                let Some(Reader::H1(reader)) = &mut self.reader else {
                    return Poll::Pending;
                };
                let came = ready!(poll_http1_head(cx, (parser, rules), reader, asked, into))?;
                into.join_repeated(Known::joins_in_response);
                match came {
                    Came::Interim(_) => self.interim = true,
                    Came::Final(_) => self.head = Await::Done,
                }
                Poll::Ready(Ok(came))
            }
            Await::Http2(response) => {
                if let Some(interim) = ready!(response.poll_informational(cx)) {
                    let (parts, ()) = interim.map_err(|error| of_http2(&error))?.into_parts();
                    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                        // HTTP/2 has none (RFC 9113 §8.6).
                        return Poll::Ready(Err(Kind::UpstreamProtocol));
                    }
                    h2_glue::response_from(&parts, into)
                        .map_err(|_malformed| Kind::UpstreamProtocol)?;
                    if let Some(excess) = excess(into, limits) {
                        return Poll::Ready(Err(Kind::Excess(excess)));
                    }
                    self.interim = true;
                    return Poll::Ready(Ok(Came::Interim(parts.status.as_u16())));
                }
                let response = ready!(Pin::new(response).poll(cx));
                let (parts, body) = response.map_err(|error| of_http2(&error))?.into_parts();
                h2_glue::response_from(&parts, into)
                    .map_err(|_malformed| Kind::UpstreamProtocol)?;
                if let Some(excess) = excess(into, limits) {
                    return Poll::Ready(Err(Kind::Excess(excess)));
                }
                let ended = body.is_end_stream();
                let has_none = asked.is_for_head_alone() || !has_content(parts.status.as_u16());
                let reader = H2Reader::of_response(body, limits, has_none);
                self.reader = Some(Reader::H2(reader));
                self.head = Await::Done;
                let body = if ended {
                    BodyLength::None
                } else {
                    length_of(into)
                };
                Poll::Ready(Ok(Came::Final(Answer {
                    body,
                    is_empty: ended,
                    is_bare: has_none && !ended,
                    keep_alive: true,
                })))
            }
            Await::Accepted => {
                self.head = Await::Done;
                into.clear();
                into.append_known(Known::Status, b"200");
                Poll::Ready(Ok(Came::Final(Answer {
                    body: BodyLength::UntilClose,
                    is_empty: false,
                    is_bare: false,
                    keep_alive: false,
                })))
            }
            Await::Relayed(relay) => {
                let came = ready!(relay.poll_head(cx, into))?;
                match came {
                    Came::Interim(_) => self.interim = true,
                    Came::Final(_) => self.head = Await::Done,
                }
                Poll::Ready(Ok(came))
            }
            Await::Done => Poll::Pending,
        }
    }

    /// The bytes that came from the upstream and went to it; none over HTTP/2. What has come of a response that
    /// is not read on is its own.
    pub(super) fn carried(&self) -> Option<Carried> {
        let reader = self.reader.as_ref()?;
        // Before there is a head, what has come is the beginning of one, or should be.
        let is_whole = matches!(self.head, Await::Done) && reader.is_at_end();
        let left = if is_whole { 0 } else { reader.waiting() };
        let taken = reader.taken()?;
        Some(Carried {
            received: Counted {
                all: taken.all + left,
                ..taken
            },
            sent: self.writer.written()?,
        })
    }

    /// Lets an attempt that is in a task of its own go on although it has taken too long. Whether it
    /// is such a one, and nothing of its response has come.
    pub(super) fn goes_on_late(&self) -> bool {
        match &self.head {
            Await::Relayed(relay) if !self.interim => {
                relay.note_late();
                true
            }
            _ => false,
        }
    }
}

impl UpstreamSide<'_> {
    /// Notes that an attempt in a task of its own has run out of time, where it has not answered.
    pub(super) fn note_timeout(&self) {
        if let Await::Relayed(relay) = &self.head {
            relay.note_timeout();
        }
    }
}

/// Which head came.
#[derive(Clone, Copy)]
pub(super) enum Came {
    /// That of an interim response, with its status.
    Interim(u16),
    /// That of the response.
    Final(Answer),
}

/// What of the request tells how the response's head is read. Taken from the head as it is sent: a
/// filter may have given it another method than the client's.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    method: MethodKind,
    tunnel: Option<Tunnel>,
}

impl Asked {
    pub(super) fn of(request: &Headers, tunnel: Option<Tunnel>) -> Self {
        Self {
            method: MethodKind::of(request.known(Known::Method).unwrap_or_default()),
            tunnel,
        }
    }

    /// Whether a response says in its head what is not to follow.
    pub(super) const fn is_for_head_alone(self) -> bool {
        matches!(self.method, MethodKind::Head)
    }

    /// Whether another protocol was asked for, which HTTP/2 does by an extended CONNECT.
    pub(super) const fn is_for_upgrade(self) -> bool {
        matches!(self.tunnel, Some(Tunnel::Upgrade | Tunnel::WebSocket))
    }

    /// Whether a response of that status opens the tunnel that was asked for.
    const fn is_opened_by(self, status: u16) -> bool {
        match self.tunnel {
            Some(tunnel) => tunnel.is_opened_by(status),
            None => false,
        }
    }
}

/// Whether a 101 says that this connection changes its protocol, and to which one (RFC 9110 §7.8). It
/// does not become HTTP/2: that is asked of nobody, see [`crate::h1::head::RequestHead::upgrade`].
fn switches(response: &Headers) -> bool {
    let mut said = response.known_all(Known::Connection).flat_map(tokens);
    let mut to = response.known_all(Known::Upgrade);
    said.any(|token| token.eq_ignore_ascii_case(b"upgrade"))
        && to.any(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
}

/// What the head of an HTTP/2 response has more of than it may have.
fn excess(head: &Headers, limits: HeadLimits) -> Option<Excess> {
    let bytes = head
        .iter()
        .map(|field| field.name.len() + field.value.len());
    if bytes.sum::<usize>() > limits.bytes as usize {
        Some(Excess::Bytes)
    } else if head.len() > limits.fields as usize {
        Some(Excess::Fields)
    } else {
        None
    }
}

/// The length that an HTTP/2 response declares.
fn length_of(headers: &Headers) -> BodyLength {
    let declared = headers.known(Known::ContentLength);
    let length = declared.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    length.map_or(BodyLength::Chunked, BodyLength::Length)
}

fn poll_http1_head(
    cx: &mut Context<'_>,
    (parser, rules): (&mut HeadParser, ResponseRules),
    reader: &mut H1Reader<'_>,
    asked: Asked,
    into: &mut Headers,
) -> Poll<Result<Came, Kind>> {
    loop {
        let parsed = if reader.buf.is_empty() {
            Ok(None)
        } else {
            parser.response(reader.buf, rules, asked.method, into)
        };
        match parsed {
            Ok(Some(head)) => {
                reader.take(head.consumed);
                reader.note_fields(head.field_bytes);
                if asked.is_opened_by(head.status) {
                    if head.status == 101 && !switches(into) {
                        return Poll::Ready(Err(Kind::UpstreamProtocol));
                    }
                    reader.begin_tunnel(true);
                    return Poll::Ready(Ok(Came::Final(Answer {
                        body: BodyLength::UntilClose,
                        is_empty: false,
                        is_bare: false,
                        keep_alive: false,
                    })));
                }
                match head.status {
                    // Nothing asked for another protocol.
                    101 => return Poll::Ready(Err(Kind::UpstreamProtocol)),
                    100..=199 => return Poll::Ready(Ok(Came::Interim(head.status))),
                    _ => {}
                }
                reader.expect(head.body, rules.limits);
                return Poll::Ready(Ok(Came::Final(Answer {
                    body: head.body,
                    is_empty: head.body.is_empty(),
                    is_bare: false,
                    keep_alive: head.keep_alive,
                })));
            }
            Ok(None) => {}
            Err(_) => return Poll::Ready(Err(Kind::UpstreamProtocol)),
        }
        match ready!(reader.poll_fill(cx)) {
            Ok(0) | Err(_) if parser.has_started() => {
                return Poll::Ready(Err(Kind::UpstreamProtocol));
            }
            Ok(0) | Err(_) => return Poll::Ready(Err(Kind::UpstreamClosed)),
            Ok(_) => {}
        }
    }
}

/// How a stream over HTTP/2 ended that failed for that reason.
pub(super) const fn stream_end(kind: &Kind) -> StreamEnd {
    match kind {
        Kind::UpstreamReset => StreamEnd::ResetByPeer,
        Kind::Excess(excess) => StreamEnd::Excessive(*excess),
        Kind::UpstreamClosed => StreamEnd::Lost,
        Kind::UpstreamRefused | Kind::UpstreamConnectError => StreamEnd::Refused,
        Kind::UpstreamProtocol => StreamEnd::Misspoken,
        _ => StreamEnd::Left,
    }
}

/// What becomes of an HTTP/1 connection whose response did not come whole.
pub(super) const fn cut(end: StreamEnd) -> Release {
    match end {
        StreamEnd::Lost | StreamEnd::ResetByPeer | StreamEnd::Excessive(_) => Release::CutByPeer,
        _ => Release::Cut,
    }
}

/// What the upstream answered, `judged`, says about its endpoint, whatever became of the answer; where
/// it was left before it had answered, that is nothing.
pub(super) const fn outcome<T>(judged: Outcome, result: &Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => judged,
        Err(Error {
            kind: Kind::RequestTimeout(_) | Kind::PerTryTimeout(_) | Kind::PerTryIdle(_),
            ..
        }) => Outcome::Timeout,
        Err(Error {
            kind: Kind::UpstreamDuration { .. },
        }) => judged,
        Err(error) if !matches!(error.side(), Side::Upstream) => judged,
        Err(_) => Outcome::Reset,
    }
}

pub(super) fn status_of(response: &Headers) -> u16 {
    let status = response.known(Known::Status).and_then(decimal);
    status
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or(502)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_101_says_to_what_it_changes() {
        for (connection, upgrade, expected) in [
            (&b"upgrade"[..], &b"websocket"[..], true),
            (b"keep-alive, Upgrade", b"other", true),
            (b"keep-alive", b"websocket", false),
            (b"upgrade", b"h2c", false),
            (b"Upgrade", b"H2C", false),
        ] {
            let mut head = Headers::new();
            head.append_known(Known::Connection, connection);
            assert!(!switches(&head), "without upgrade");
            head.append_known(Known::Upgrade, upgrade);
            assert_eq!(switches(&head), expected, "{}", upgrade.escape_ascii());
        }
    }
}
