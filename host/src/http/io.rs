//! Bodies on the wire: one reader and one writer type for both versions and both sides.
//!
//! Owns these two types, and what is behind them of HTTP/1: the buffering between a socket and the frames that
//! [`super::pump`] moves, with back-pressure. A writer says when it has enough, a reader is not asked before that.
//! Does not own the halves of HTTP/2 streams ([`super::received`], [`super::sending`]), those of an attempt in a task of
//! its own ([`super::relay`]), nor heads: those are encoded by whoever knows which side it is.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::h2 as h2_glue;
use super::received::H2Reader;
use super::relay::{RelayReader, RelayWriter};
use super::sending::H2Writer;
use crate::exchange::Counted;
use crate::h1::body::{BodyError, Decoded, Decoder};
use crate::h1::{BodyLength, HeadLimits, Underscores, encode, head};
use crate::headers::Headers;
use crate::observe::stats::Counter;
use crate::socket::{Event, ReadHalf, WriteHalf};

/// A read with less room than this would be wasteful.
const READ_MIN: usize = 2 * 1024;
/// The room of a first read: most messages fit.
const READ_FIRST: usize = 8 * 1024;
/// A peer that fills its reads gets more room, up to this much.
const READ_MAX: usize = 64 * 1024;
/// How long the last chunk of a body is, with the end of the one before.
const LAST_CHUNK: usize = b"\r\n0\r\n\r\n".len();
/// Data shorter than this is copied behind what waits to be written; longer data is written from
/// where it lies.
const COPY_MAX: usize = 8 * 1024;
/// A writer that holds this much wants to be flushed before it takes more.
const BACKLOG: usize = 64 * 1024;

/// What a body is made of.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Some of the content; never empty.
    Data(Bytes),
    /// The end, with the trailers that were read into the given block.
    Trailers,
    /// The end.
    End,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The transport failed, or the peer closed it before the end.
    #[error("the connection was closed in the middle of the body")]
    Closed,
    /// The peer broke HTTP/1's framing.
    #[error(transparent)]
    Framing(#[from] BodyError),
    /// The HTTP/2 stream was reset.
    #[error(transparent)]
    Stream(#[from] h2::Error),
    /// An HTTP/2 stream has more trailers than a head may have fields.
    #[error("there are too many trailers")]
    TooManyTrailers,
    /// They are larger than a head may be.
    #[error("the trailers are too large")]
    TrailersTooLarge,
    /// One of an HTTP/2 stream has an underscore in its name, where that is configured to be refused.
    #[error("a trailer has an underscore in its name")]
    Underscore,
    /// There is content behind the head of an HTTP/2 response that has none (RFC 9110 §6.4.1).
    #[error("there is content where there is none")]
    Content,
    /// Those of an HTTP/2 stream are malformed, or say what only a head may say: a length or a host.
    #[error("a trailer is malformed, or a field of a head")]
    Trailers,
}

/// Why a body could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The HTTP/2 stream was reset.
    #[error(transparent)]
    Stream(#[from] h2::Error),
    /// The body is not as long as its head says: a filter has changed one and not the other. What was
    /// written of it is no whole message.
    #[error("the body is not as long as its head says")]
    Length,
}

/// The reading end of a body.
pub(crate) enum Reader<'a> {
    /// HTTP/1.
    H1(H1Reader<'a>),
    /// HTTP/2.
    H2(H2Reader),
    /// Either, in a task of its own.
    Relayed(RelayReader),
}

/// An HTTP/1 connection's reading half.
pub(crate) struct H1Reader<'a> {
    io: ReadHalf<'a>,
    /// What was read and not consumed: may hold the next message already.
    pub(crate) buf: &'a mut BytesMut,
    decoder: Decoder,
    /// How much of what waits was looked at for the end of chunks, in vain.
    looked_at: usize,
    /// How much room the next read gets.
    room: usize,
    /// Whether the peer has ended its side, or the whole connection.
    ended: bool,
    /// What counts the bytes that come.
    received: Option<&'a Counter>,
    /// How many bytes were taken of what came.
    taken: Counted,
    /// Whether the end of the connection comes too early, whatever was read before it.
    endless: bool,
    /// Whether trailers are passed on: `enable_trailers`. Otherwise they are dropped, as in Envoy.
    trailers: bool,
}

impl<'a> H1Reader<'a> {
    pub(crate) const fn new(io: ReadHalf<'a>, buf: &'a mut BytesMut, trailers: bool) -> Self {
        let decoder = Decoder::new(BodyLength::None, HeadLimits::REQUEST);
        Self {
            io,
            buf,
            decoder,
            looked_at: 0,
            room: READ_FIRST,
            ended: false,
            received: None,
            taken: Counted::raw(0),
            endless: false,
            trailers,
        }
    }

    /// Lets the bytes that come be counted.
    pub(crate) const fn counted_by(mut self, received: &'a Counter) -> Self {
        self.received = Some(received);
        self
    }

    /// Takes the first bytes, those of a head.
    pub(crate) fn take(&mut self, count: usize) {
        self.buf.advance(count);
        self.note_taken(count);
    }

    /// Counts bytes that were taken before.
    pub(crate) const fn note_taken(&mut self, count: usize) {
        self.taken.all += count as u64;
    }

    /// Counts those among them that are fields.
    pub(crate) const fn note_fields(&mut self, bytes: u64) {
        self.taken.fields += bytes;
    }

    /// Takes all that comes as the bytes of a tunnel. `endless` says that the end of the connection is
    /// no end of the tunnel that this peer could mean.
    pub(crate) const fn begin_tunnel(&mut self, endless: bool) {
        self.expect(BodyLength::UntilClose, HeadLimits::REQUEST);
        self.endless = endless;
    }

    /// Begins a body of that length.
    pub(crate) const fn expect(&mut self, length: BodyLength, mut trailers: HeadLimits) {
        if !self.trailers {
            // Those that are dropped are none to hold, and not counted, as in Envoy.
            trailers.fields = u32::MAX;
        }
        self.decoder = Decoder::new(length, trailers);
    }

    /// Treats underscores in the names of the body's trailers so; those that are dropped anyway may have
    /// them, as in Envoy.
    pub(crate) const fn mind_underscores(&mut self, action: Underscores) {
        if self.trailers {
            self.decoder.mind_underscores(action);
        }
    }

    /// Whether the connection has come to that behind what waits to be read, as far as is known.
    pub(crate) fn was_told(&self, event: Event) -> bool {
        self.io.was_told(event)
    }

    /// Reads what there is. 0 is the end of the connection.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buf.capacity() - self.buf.len() < READ_MIN {
            self.buf.reserve(self.room);
        }
        let spare = self.buf.capacity() - self.buf.len();
        let read = ready!(tokio_util::io::poll_read_buf(
            Pin::new(&mut self.io),
            cx,
            self.buf
        ));
        self.ended = !matches!(read, Ok(1..));
        let read = read?;
        if let Some(received) = self.received {
            received.add(read as u64);
        }
        if read == spare {
            // The peer had at least that much: the next read may take more at once.
            self.room = (self.room * 2).min(READ_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// See [`Reader::has_rest`].
    fn has_rest(&mut self, cx: &mut Context<'_>, most: usize) -> bool {
        loop {
            let (is_here, is_short) = match self.decoder.remaining() {
                Some(rest) => (self.buf.len() as u64 >= rest, rest <= most as u64),
                // Each look at chunks begins anew, so there are to be few.
                None => {
                    let is_new = self.looked_at != self.buf.len();
                    self.looked_at = self.buf.len();
                    let is_here = is_new && self.decoder.ends_in(self.buf);
                    let is_short = self.buf.len() < most.min(READ_MAX);
                    (is_here || self.decoder.is_finished(), is_short)
                }
            };
            if is_here {
                return true;
            }
            if !is_short || self.ended || !matches!(self.poll_fill(cx), Poll::Ready(Ok(1..))) {
                return false;
            }
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Headers,
    ) -> Poll<Result<Frame, ReadError>> {
        loop {
            self.looked_at = 0;
            let before = self.buf.len();
            let decoded = self.decoder.decode(self.buf, trailers)?;
            self.note_taken(before - self.buf.len());
            match decoded {
                Decoded::Data(data) => return Poll::Ready(Ok(Frame::Data(data))),
                Decoded::Trailers if self.trailers && !trailers.is_empty() => {
                    self.note_fields(head::field_bytes(trailers));
                    return Poll::Ready(Ok(Frame::Trailers));
                }
                Decoded::Trailers => {
                    trailers.clear();
                    return Poll::Ready(Ok(Frame::End));
                }
                Decoded::End => return Poll::Ready(Ok(Frame::End)),
                Decoded::NeedMore => match ready!(self.poll_fill(cx)) {
                    Ok(0) if self.endless => return Poll::Ready(Err(ReadError::Closed)),
                    Ok(0) => {
                        self.decoder
                            .finish()
                            .map_err(|_truncated| ReadError::Closed)?;
                        return Poll::Ready(Ok(Frame::End));
                    }
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(Err(ReadError::Closed)),
                },
            }
        }
    }
}

impl Reader<'_> {
    /// The next frame; after [`Frame::End`] or [`Frame::Trailers`] it must not be called again.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Headers,
    ) -> Poll<Result<Frame, ReadError>> {
        match self {
            Self::H1(reader) => reader.poll_frame(cx, trailers),
            Self::H2(reader) => reader.poll_frame(cx, trailers),
            Self::Relayed(reader) => reader.poll_frame(cx, trailers),
        }
    }

    /// Takes all that a client sends as the bytes of a tunnel, whose end over HTTP/1 is no other than
    /// that of the whole connection, as in Envoy.
    pub(crate) const fn begin_tunnel(&mut self) {
        if let Self::H1(reader) = self {
            reader.begin_tunnel(true);
        }
    }

    /// Whether it is the client's side of a tunnel over HTTP/1.
    pub(crate) const fn is_tunnel(&self) -> bool {
        match self {
            Self::H1(reader) => reader.endless,
            Self::H2(_) | Self::Relayed(_) => false,
        }
    }

    /// How many bytes were taken of an HTTP/1 message, with all that frames it.
    pub(crate) fn taken(&self) -> Option<Counted> {
        match self {
            Self::H1(reader) => Some(reader.taken),
            Self::H2(_) => None,
            Self::Relayed(reader) => reader.carried().map(|carried| carried.received),
        }
    }

    /// How many trailers of HTTP/2 were left out for the underscores in their names.
    pub(crate) const fn dropped(&self) -> u64 {
        match self {
            Self::H2(reader) => reader.dropped(),
            Self::H1(_) | Self::Relayed(_) => 0,
        }
    }

    /// How much has come over HTTP/1 that nobody has taken.
    pub(crate) fn waiting(&self) -> u64 {
        match self {
            Self::H1(reader) => reader.buf.len() as u64,
            Self::H2(_) | Self::Relayed(_) => 0,
        }
    }

    /// Takes what an HTTP/2 stream has received meanwhile out of the codec, for a caller that asks for no
    /// frame now; the sender's windows stay as they are.
    pub(crate) fn hold(&mut self, cx: &mut Context<'_>) {
        if let Self::H2(reader) = self {
            reader.hold(cx);
        }
    }

    /// Why there is less of an HTTP/2 stream than its whole body; none where all of it has come, or where
    /// more still may. What has come stays to be read.
    pub(crate) fn fault(&mut self, cx: &mut Context<'_>) -> Option<ReadError> {
        match self {
            Self::H2(reader) => reader.take_in(cx).err(),
            Self::H1(_) | Self::Relayed(_) => None,
        }
    }

    /// Whether the peer has sent all of the body, be it read or not.
    pub(crate) fn has_come_whole(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::H2(reader) => reader.take_in(cx).unwrap_or(false),
            Self::H1(_) | Self::Relayed(_) => self.is_at_end(),
        }
    }

    /// Whether all of a request's body is here, where nobody asks for its frames because nobody takes them.
    /// No more than `most` bytes of it are read for that.
    pub(crate) fn has_rest(&mut self, cx: &mut Context<'_>, most: usize) -> bool {
        match self {
            Self::H1(reader) => reader.has_rest(cx, most),
            Self::H2(reader) => reader.has_rest(cx),
            Self::Relayed(_) => false,
        }
    }

    /// Whether nothing more will come.
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::H1(reader) => reader.decoder.is_finished(),
            Self::H2(reader) => reader.is_at_end(),
            Self::Relayed(reader) => reader.is_at_end(),
        }
    }

    /// Whether the end has come, and less than a last chunk takes is left in front of it.
    pub(super) fn is_at_last(&self) -> bool {
        match self {
            Self::H1(reader) if !reader.decoder.is_finished() => {
                reader.buf.len() <= LAST_CHUNK && reader.decoder.ends_in(reader.buf)
            }
            Self::H1(_) | Self::H2(_) | Self::Relayed(_) => self.is_at_end(),
        }
    }

    /// Whether it is known that the peer has ended an HTTP/1 connection.
    pub(crate) const fn has_lost_peer(&self) -> bool {
        match self {
            Self::H1(reader) => reader.ended,
            Self::H2(_) | Self::Relayed(_) => false,
        }
    }

    /// Whether the whole body was read. An HTTP/2 stream looks after itself.
    pub(crate) const fn is_finished(&self) -> bool {
        match self {
            Self::H1(reader) => reader.decoder.is_finished(),
            Self::H2(_) => true,
            Self::Relayed(reader) => reader.is_at_end(),
        }
    }
}

/// The writing end of a body.
pub(crate) enum Writer<'a> {
    /// HTTP/1.
    H1(H1Writer<'a>),
    /// HTTP/2.
    H2(H2Writer),
    /// Either, in a task of its own.
    Relayed(RelayWriter),
}

/// An HTTP/1 connection's writing half.
pub(crate) struct H1Writer<'a> {
    io: WriteHalf<'a>,
    /// Encoded bytes that wait to be written.
    pub(crate) out: &'a mut BytesMut,
    /// Content that is written from where it lies, behind `out`.
    direct: Bytes,
    /// What follows `direct`.
    tail: BytesMut,
    chunked: bool,
    promised: Promised,
    /// What makes the body as long as it is to be, until it is known that nothing comes behind it.
    held: Bytes,
    /// How much of it the transport took.
    written: u64,
    /// How many bytes of it are fields.
    fields: u64,
    /// What counts the bytes that go.
    sent: Option<&'a Counter>,
    /// Whether the end of the body is the end of this half of the connection.
    closes: bool,
    /// Whether that end is due.
    closing: bool,
    /// Whether trailers are sent: `enable_trailers`. Otherwise they are dropped, as in Envoy.
    trailers: bool,
}

/// How long a head says that its body is.
#[derive(Clone, Copy, Default)]
pub(super) struct Promised {
    /// How many bytes of it have not come yet; none where it does not say.
    left: Option<u64>,
    /// Whether the body is not that long. Its receiver must not take what comes of it for whole.
    is_broken: bool,
}

impl Promised {
    pub(super) const fn by(length: BodyLength) -> Self {
        let left = match length {
            BodyLength::Length(length) => Some(length),
            BodyLength::None | BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        Self {
            left,
            is_broken: false,
        }
    }

    /// Whether some content may go on: no part of what is too much does, nor what comes behind it.
    pub(super) const fn allows(&mut self, content: &Bytes) -> bool {
        if let Some(left) = self.left {
            match left.checked_sub(content.len() as u64) {
                Some(left) if !self.is_broken => self.left = Some(left),
                _ => self.is_broken = true,
            }
        }
        !self.is_broken
    }

    /// Whether the body is as long as it is to be.
    pub(super) const fn is_kept(self) -> bool {
        matches!(self.left, Some(0)) && !self.is_broken
    }

    /// Notes that the body ends here.
    pub(super) const fn end(&mut self) {
        self.is_broken |= matches!(self.left, Some(1..));
    }

    pub(super) const fn check(self) -> Result<(), WriteError> {
        if self.is_broken {
            Err(WriteError::Length)
        } else {
            Ok(())
        }
    }
}

impl<'a> H1Writer<'a> {
    pub(crate) fn new(io: WriteHalf<'a>, out: &'a mut BytesMut, trailers: bool) -> Self {
        Self {
            io,
            out,
            direct: Bytes::new(),
            tail: BytesMut::new(),
            chunked: false,
            promised: Promised::default(),
            held: Bytes::new(),
            written: 0,
            fields: 0,
            sent: None,
            closes: false,
            closing: false,
            trailers,
        }
    }

    /// Lets the bytes that go be counted.
    pub(crate) const fn counted_by(mut self, sent: &'a Counter) -> Self {
        self.sent = Some(sent);
        self
    }

    /// Begins the bytes of a tunnel, whose end is that of this half of the connection.
    pub(crate) const fn begin_tunnel(&mut self) {
        self.chunked = false;
        self.closes = true;
    }

    /// Counts bytes of fields that were encoded into `out`.
    pub(crate) const fn note_fields(&mut self, bytes: u64) {
        self.fields += bytes;
    }

    /// Begins a body, behind a head that was encoded into `out`.
    pub(crate) const fn begin(&mut self, length: BodyLength) {
        self.chunked = matches!(length, BodyLength::Chunked);
        self.promised = Promised::by(length);
    }

    fn push(&mut self, data: Bytes) {
        if !data.is_empty() && self.promised.allows(&data) {
            self.put(data);
        }
    }

    fn push_changed(&mut self, data: Bytes) {
        if data.is_empty() || !self.promised.allows(&data) {
            return;
        }
        if self.promised.is_kept() {
            self.held = data;
        } else {
            self.put(data);
        }
    }

    fn put(&mut self, data: Bytes) {
        if self.chunked {
            encode::encode_chunk_head(self.out, data.len());
        }
        if data.len() <= COPY_MAX {
            self.out.extend_from_slice(&data);
            if self.chunked {
                encode::encode_chunk_tail(self.out);
            }
        } else {
            self.direct = data;
            if self.chunked {
                encode::encode_chunk_tail(&mut self.tail);
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.out.is_empty() || !self.direct.is_empty() {
            let io = Pin::new(&mut self.io);
            let wrote = if self.direct.is_empty() {
                ready!(io.poll_write(cx, self.out))?
            } else {
                let slices = [IoSlice::new(self.out), IoSlice::new(&self.direct)];
                ready!(io.poll_write_vectored(cx, &slices))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.written += wrote as u64;
            if let Some(sent) = self.sent {
                sent.add(wrote as u64);
            }
            let head = wrote.min(self.out.len());
            self.out.advance(head);
            if wrote > head {
                self.direct.advance(wrote - head);
            }
            if self.direct.is_empty() && !self.tail.is_empty() {
                self.out.unsplit(self.tail.split());
            }
        }
        // A socket may hold what it took: a TLS session does.
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.promised.check()?;
        if self.closing {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.closing = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Writer<'_> {
    /// Takes some content. Only while [`Writer::has_room`].
    pub(crate) fn push(&mut self, data: Bytes) {
        match self {
            Self::H1(writer) => writer.push(data),
            Self::H2(writer) => {
                writer.push(data);
            }
            Self::Relayed(writer) => writer.push(data),
        }
    }

    /// [`Writer::push`] of content that filters may have changed, and whose end is to be told. Where all
    /// that the head says of it is there, the last of it waits for the end: what is too much would come
    /// behind a message that is whole.
    pub(crate) fn push_changed(&mut self, data: Bytes) {
        match self {
            Self::H1(writer) => writer.push_changed(data),
            Self::H2(_) | Self::Relayed(_) => self.push(data),
        }
    }

    /// Takes the end of the body.
    pub(crate) fn push_end(&mut self, trailers: Option<&Headers>) {
        match self {
            Self::H1(writer) => {
                writer.promised.end();
                let held = std::mem::take(&mut writer.held);
                if !held.is_empty() && writer.promised.is_kept() {
                    writer.put(held);
                }
                writer.closing = writer.closes;
                if writer.chunked {
                    let behind = writer.direct.is_empty();
                    let out = if behind {
                        &mut *writer.out
                    } else {
                        &mut writer.tail
                    };
                    writer.fields +=
                        encode::encode_last_chunk(out, trailers.filter(|_| writer.trailers));
                }
            }
            Self::H2(writer) => {
                let end = match trailers {
                    Some(block) => h2_glue::End::Trailers(h2_glue::trailers(block)),
                    None => h2_glue::End::Plain,
                };
                writer.push_end(end);
            }
            Self::Relayed(writer) => writer.push_end(trailers),
        }
    }

    /// Whether it may be given more before it is flushed.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::H1(writer) => writer.direct.is_empty() && writer.out.len() < BACKLOG,
            Self::H2(writer) => writer.has_room(),
            Self::Relayed(writer) => writer.has_room(),
        }
    }

    /// Whether it takes the end behind whatever it has, and sends both at once.
    pub(crate) const fn joins_end(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Whether it has no room because the peer takes nothing.
    pub(crate) fn is_backed_up(&self) -> bool {
        match self {
            Self::H1(_) | Self::Relayed(_) => !self.has_room(),
            Self::H2(writer) => writer.is_backed_up(),
        }
    }

    /// Ready when the peer has reset the HTTP/2 stream, or its connection is lost, even while nothing can
    /// be sent.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H2(writer) => writer.poll_reset(cx).map(|_reason| ()),
            Self::H1(_) | Self::Relayed(_) => Poll::Pending,
        }
    }

    /// How much of an HTTP/1 message the transport took.
    pub(crate) fn written(&self) -> Option<Counted> {
        match self {
            Self::H1(writer) => Some(Counted {
                all: writer.written,
                fields: writer.fields,
            }),
            Self::H2(_) => None,
            Self::Relayed(writer) => writer.carried().map(|carried| carried.sent),
        }
    }

    /// How many bytes a connection of HTTP/1 has taken. Over HTTP/2 none: as in Envoy the time of a client runs there from
    /// the end of a response, whatever it takes.
    pub(crate) fn taken(&self) -> u64 {
        match self {
            Self::H1(writer) => writer.written,
            Self::H2(_) | Self::Relayed(_) => 0,
        }
    }

    /// Whether the peer may have seen any of it. An HTTP/2 stream's head is on its way at once.
    pub(crate) fn has_written(&self) -> bool {
        match self {
            Self::H1(writer) => writer.written > 0,
            Self::H2(_) => true,
            Self::Relayed(writer) => writer.has_written(),
        }
    }

    /// Hands everything to the transport.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        match self {
            Self::H1(writer) => writer.poll_flush(cx),
            Self::H2(writer) => writer.poll_flush(cx),
            Self::Relayed(writer) => writer.poll_flush(cx).map(Ok),
        }
    }

    /// [`Writer::poll_flush`] as a future.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}
