//! The client's side of one stream: where the response goes.
//!
//! Owns the difference between an HTTP/1 response on a connection and an HTTP/2 response on a
//! stream, up to the first byte of the body, and how a client that goes away is noticed. Behind the
//! head both are a [`Writer`].

use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::error::{Error, Kind};
use super::h2 as h2_glue;
use super::io::{H1Reader, H1Writer, Reader, WriteError, Writer};
use super::sending::H2Writer;
use crate::exchange::{Counted, Exchange, Protocol};
use crate::frames::backlog::{Backlog, Part};
use crate::h1::{BodyLength, encode};
use crate::headers::Headers;
use crate::socket::Event;

/// A connection that has this much unread data is not read any further while its request runs.
const READ_AHEAD: usize = 16 * 1024;
/// How often a client is looked after that has sent more than that, or more than an upstream takes: nothing
/// tells of its end before what it has sent is read.
const LOOK: Duration = Duration::from_millis(500);

/// Where the response goes.
pub(crate) struct Downstream<'io> {
    writer: Option<Writer<'io>>,
    /// An HTTP/2 stream, whose writer comes into being with the head, and what waits on its connection.
    respond: Option<(h2::server::SendResponse<Part>, Rc<Backlog>)>,
    /// When a client is looked after that is not read from; none before it was.
    looks: Option<Box<Interval>>,
}

impl<'io> Downstream<'io> {
    /// The response to a request on an HTTP/1 connection.
    pub(crate) const fn http1(writer: H1Writer<'io>) -> Self {
        Self {
            writer: Some(Writer::H1(writer)),
            respond: None,
            looks: None,
        }
    }

    /// The response on an HTTP/2 stream.
    pub(crate) const fn http2(
        respond: h2::server::SendResponse<Part>,
        backlog: Rc<Backlog>,
    ) -> Self {
        Self {
            writer: None,
            respond: Some((respond, backlog)),
            looks: None,
        }
    }

    /// Whether this is an HTTP/2 stream.
    pub(crate) const fn is_http2(&self) -> bool {
        self.respond.is_some()
    }

    /// Where the body goes: always there behind the head.
    pub(crate) const fn writer(&mut self) -> Option<&mut Writer<'io>> {
        self.writer.as_mut()
    }

    /// How much of an HTTP/1 response the transport took.
    pub(crate) fn written(&self) -> Option<Counted> {
        self.writer.as_ref().and_then(Writer::written)
    }

    /// Takes the head of the response in `exchange`. `end` says that no body follows. An HTTP/1
    /// head is sent with what follows it, or by a flush.
    ///
    /// # Errors
    /// When the HTTP/2 stream is gone.
    pub(crate) fn send_head(
        &mut self,
        exchange: &Exchange,
        framing: BodyLength,
        close: bool,
        end: bool,
    ) -> Result<(), WriteError> {
        if let Some((respond, backlog)) = &mut self.respond {
            let head = h2_glue::response_to(exchange.status, &exchange.response);
            let stream = respond.send_response(head, end)?;
            let length = if end { BodyLength::None } else { framing };
            let backlog = Rc::clone(backlog);
            self.writer = Some(Writer::H2(H2Writer::new(stream, backlog, length)));
        } else if let Some(Writer::H1(writer)) = &mut self.writer {
            let fields = encode::encode_response(
                writer.out,
                exchange.protocol,
                exchange.status,
                &exchange.response,
                framing,
                close,
            );
            writer.note_fields(fields);
            writer.begin(if end { BodyLength::None } else { framing });
        }
        Ok(())
    }

    /// Takes an interim response. Over HTTP/1 it is sent by a flush, or with what comes behind it;
    /// HTTP/1.0 has none.
    ///
    /// # Errors
    /// When the HTTP/2 stream is gone.
    pub(crate) fn send_interim(
        &mut self,
        protocol: Protocol,
        status: u16,
        head: &Headers,
    ) -> Result<(), WriteError> {
        if let Some((respond, _)) = &mut self.respond {
            respond.send_informational(h2_glue::response_to(status, head))?;
        } else if let Some(Writer::H1(writer)) = &mut self.writer
            && protocol == Protocol::Http11
        {
            let framing = BodyLength::None;
            let fields =
                encode::encode_response(writer.out, protocol, status, head, framing, false);
            writer.note_fields(fields);
        }
        Ok(())
    }

    /// Whether more may be sent before the client has taken what was.
    pub(crate) fn has_room(&self) -> bool {
        self.writer.as_ref().is_none_or(Writer::has_room)
    }

    /// Tells the client to send the body that it announced with `expect: 100-continue`.
    ///
    /// # Errors
    /// When the client is gone.
    pub(crate) async fn send_continue(&mut self) -> Result<(), WriteError> {
        if let Some((respond, _)) = &mut self.respond {
            let mut head = http::Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            respond.send_informational(head)?;
        } else if let Some(Writer::H1(writer)) = &mut self.writer {
            writer.out.extend_from_slice(encode::CONTINUE);
        }
        match &mut self.writer {
            Some(writer) => writer.flush().await,
            None => Ok(()),
        }
    }

    /// Ready once what an HTTP/2 client has room for of the response has gone, which giving the stream up would take back.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.writer {
            Some(Writer::H2(writer)) => writer.poll_sent(cx),
            _ => Poll::Ready(()),
        }
    }

    /// Gives the stream up in the middle of the response. On HTTP/1 that is the connection's end.
    pub(crate) fn abort(&mut self, reason: h2::Reason) {
        if let Some((respond, _)) = &mut self.respond {
            respond.send_reset(reason);
        }
        if let Some(Writer::H2(writer)) = &mut self.writer {
            writer.reset(reason);
        }
    }

    /// Whether an HTTP/2 stream ended with its connection, rather than by itself.
    pub(crate) fn has_lost_connection(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let reset = match (&mut self.writer, &mut self.respond) {
            (Some(Writer::H2(writer)), _) => writer.poll_reset(cx),
            (_, Some((respond, _))) => respond.poll_reset(cx),
            (_, None) => return false,
        };
        matches!(reset, Poll::Ready(Err(_)))
    }

    /// Ready when the client has gone away: what it has done. On HTTP/1 that shows when it is read from: what comes, of
    /// this request or the next, waits in the connection's buffer. Beyond [`READ_AHEAD`] nothing is
    /// read, and what the event loop knows is looked at.
    pub(crate) fn poll_closed(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader<'_>,
    ) -> Poll<Kind> {
        if let Reader::H1(reader) = reader {
            while reader.buf.len() < READ_AHEAD {
                match ready!(reader.poll_fill(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(Kind::DownstreamClosed),
                    Ok(_) => {}
                }
            }
            ready!(self.poll_told(cx, reader, Event::Ended));
            return Poll::Ready(Kind::DownstreamClosed);
        }
        ready!(self.poll_reset(cx));
        let fault = reader.fault(cx);
        let kind = fault.map(|fault| Error::of_request_body(&fault).kind);
        Poll::Ready(kind.unwrap_or(Kind::DownstreamClosed))
    }

    /// [`Self::poll_closed`] of a client that is not read from, because nobody takes what it sends. An
    /// end of what it sends is none of the rest that is to be read.
    pub(crate) fn poll_broken(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader<'_>,
    ) -> Poll<Kind> {
        match reader {
            Reader::H1(reader) => self
                .poll_told(cx, reader, Event::Broken)
                .map(|()| Kind::DownstreamClosed),
            Reader::H2(_) | Reader::Relayed(_) => self.poll_closed(cx, reader),
        }
    }

    fn poll_told(&mut self, cx: &mut Context<'_>, reader: &H1Reader<'_>, event: Event) -> Poll<()> {
        while !reader.was_told(event) {
            let looks = self.looks.get_or_insert_with(|| {
                let mut looks = interval(LOOK);
                looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Box::new(looks)
            });
            ready!(looks.poll_tick(cx));
        }
        Poll::Ready(())
    }

    /// Ready when an HTTP/2 client has reset the stream, or its connection is lost.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.writer, &mut self.respond) {
            (Some(Writer::H2(writer)), _) => writer.poll_reset(cx).map(|_reason| ()),
            (_, Some((respond, _))) => respond.poll_reset(cx).map(|_reason| ()),
            (_, None) => Poll::Pending,
        }
    }
}
