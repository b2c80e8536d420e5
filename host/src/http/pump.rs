//! Bodies in motion: the one loop that moves a body from a reader to a writer.
//!
//! Owns the order of things: read while the writer has room, let the filters see each frame, flush
//! when nothing more can be read at once. So a head and a short body leave in one write, and a slow
//! peer on either side stops the other. Does not own what filters do ([`super::phases`]), nor how fast
//! what they slow down may go ([`super::pace`]).

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::error::Error;
use super::io::{Frame, ReadError, Reader, WriteError, Writer};
use super::kept::Kept;
use super::pace::Paced;
use super::phases::Chain;
use super::whole::Whole;
use crate::exchange::Rate;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The sender failed.
    Read(ReadError),
    /// The receiver failed.
    Write(WriteError),
    /// A filter did.
    Filter(Error),
}

/// A body on its way.
pub(crate) struct Pump {
    direction: Direction,
    read_all: bool,
    moved: u64,
    /// How many bytes of content have come of a response, or gone of a request.
    content: u64,
    /// How many frames of what was kept have gone again.
    replayed: usize,
    /// Why the upstream, or the client of a tunnel, ended early; told once all that came before was passed on.
    failed: Option<ReadError>,
    slow: Option<Box<Slow>>,
}

/// A response whose body goes no faster than a filter says.
struct Slow {
    paced: Paced,
    /// How much may wait before no more is read.
    most: usize,
    /// What is to be told once all of it has gone.
    end: Option<End>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Plain,
    Trailers,
}

impl Slow {
    fn new(rate: Rate, most: usize) -> Self {
        Self {
            paced: Paced::new(rate),
            most: most.max(1),
            end: None,
        }
    }

    fn has_room(&self) -> bool {
        self.paced.len() < self.most
    }
}

impl Pump {
    const fn idle(direction: Direction, read_all: bool) -> Self {
        Self {
            direction,
            read_all,
            moved: 0,
            content: 0,
            replayed: 0,
            failed: None,
            slow: None,
        }
    }

    /// A request's body, about to be read.
    pub(crate) const fn request() -> Self {
        Self::idle(Direction::Request, false)
    }

    /// A response's body, about to be read, which goes as fast as filters let it; about `most` bytes
    /// wait meanwhile.
    pub(super) fn response(chain: &mut Chain<'_>, most: usize) -> Self {
        let rate = chain.exchange.response_rate.take();
        Self {
            slow: rate.map(|rate| Box::new(Slow::new(rate, most))),
            ..Self::idle(Direction::Response, false)
        }
    }

    /// A response's body that is there as a whole, behind its head.
    pub(super) fn whole(whole: Whole, writer: &mut Writer<'_>, chain: &mut Chain<'_>) -> Self {
        let mut pump = Self::response(chain, 0);
        pump.put(whole.content, writer, chain);
        pump.end(whole.has_trailers, writer, chain);
        pump
    }

    /// A body that was read before and pushed to the writer: it has only to be flushed.
    pub(crate) const fn flushing(direction: Direction) -> Self {
        Self::idle(direction, true)
    }

    /// How many frames were read, and how many pieces of what waited have gone, or how often a client over HTTP/1 has
    /// taken some of a response; tells a watcher whether something happened.
    pub(crate) const fn moved(&self) -> u64 {
        self.moved
    }

    /// How many bytes of content have come of a response, or gone of a request.
    pub(super) const fn content(&self) -> u64 {
        self.content
    }

    /// Whether the sender has sent everything.
    pub(crate) const fn has_read_all(&self) -> bool {
        self.read_all
    }

    /// Whether all of it has come, rather than that there will be no more.
    pub(crate) const fn is_whole(&self) -> bool {
        self.read_all && self.failed.is_none()
    }

    /// Whether the sender has ended early, and what came before is still on its way.
    pub(crate) const fn is_cut(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether nothing is read because the receiver takes nothing.
    pub(super) fn is_stopped(&self, writer: &Writer<'_>) -> bool {
        !self.read_all && self.slow.is_none() && !writer.has_room()
    }

    /// Moves what can be moved. Ready when all has been read and flushed. What `kept` has goes
    /// first, and what comes from the reader is put into it.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader<'_>,
        writer: &mut Writer<'_>,
        chain: &mut Chain<'_>,
        mut kept: Option<&mut Kept>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            let mut starved = false;
            while !self.read_all
                && (self.has_room(writer) || self.ends_with(writer, reader, kept.as_deref()))
            {
                if let Some(frame) = kept.as_ref().and_then(|kept| kept.frame(self.replayed)) {
                    self.replayed += 1;
                    self.replay(frame, writer, chain);
                    continue;
                }
                if let Some(kept) = &mut kept
                    && kept.poll_room(cx).is_pending()
                {
                    starved = true;
                    break;
                }
                let trailers = chain.trailers_mut(self.direction);
                match reader.poll_frame(cx, trailers) {
                    Poll::Ready(Ok(frame)) => {
                        self.moved += 1;
                        self.take(frame, writer, chain, kept.as_deref_mut())
                            .map_err(PumpError::Filter)?;
                    }
                    // An end of a tunnel is none of the bytes before it, nor is one of a response.
                    Poll::Ready(Err(error))
                        if self.direction == Direction::Response || reader.is_tunnel() =>
                    {
                        self.failed = Some(error);
                        self.read_all = true;
                    }
                    Poll::Ready(Err(error)) => {
                        // What did arrive is passed on before the error is.
                        return match writer.poll_flush(cx) {
                            Poll::Ready(Err(gone)) => Poll::Ready(Err(PumpError::Write(gone))),
                            _ => Poll::Ready(Err(PumpError::Read(error))),
                        };
                    }
                    Poll::Pending => {
                        starved = true;
                        break;
                    }
                }
            }
            match self.poll_send(cx, writer, chain) {
                Poll::Ready(Ok(())) if self.read_all => {
                    let failed = self.failed.take().map(PumpError::Read);
                    return Poll::Ready(failed.map_or(Ok(()), Err));
                }
                Poll::Ready(Ok(())) if starved => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Write(error))),
                Poll::Pending => {
                    if !self.read_all && !starved {
                        reader.hold(cx);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Hands on what has come of a response whose upstream has given it up, whether the client has room for it or not.
    /// Only to a writer that takes any number of pieces.
    pub(super) fn take_rest(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader<'_>,
        writer: &mut Writer<'_>,
        chain: &mut Chain<'_>,
    ) -> Result<(), Error> {
        while !self.read_all
            && let Poll::Ready(Ok(frame)) =
                reader.poll_frame(cx, chain.trailers_mut(self.direction))
        {
            self.take(frame, writer, chain, None)?;
        }
        Ok(())
    }

    /// Whether more may be read.
    fn has_room(&self, writer: &Writer<'_>) -> bool {
        match &self.slow {
            Some(slow) => slow.has_room(),
            None => writer.has_room(),
        }
    }

    /// Whether the end comes next, and goes along with what the writer has.
    fn ends_with(&self, writer: &Writer<'_>, reader: &Reader<'_>, kept: Option<&Kept>) -> bool {
        if !writer.joins_end() {
            return false;
        }
        match kept.and_then(|kept| kept.frame(self.replayed)) {
            Some(frame) => matches!(frame, Frame::End),
            None => reader.is_at_last(),
        }
    }

    /// Hands what has been read to the transport. Ready when all of it has gone, what waits for its time
    /// included.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer<'_>,
        chain: &mut Chain<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let taken = writer.taken();
        let sent = self.poll_pieces(cx, writer, chain);
        if self.direction == Direction::Response && writer.taken() != taken {
            self.moved += 1;
        }
        sent
    }

    fn poll_pieces(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer<'_>,
        chain: &mut Chain<'_>,
    ) -> Poll<Result<(), WriteError>> {
        while let Some(slow) = &mut self.slow {
            if !writer.has_room() {
                ready!(writer.poll_flush(cx))?;
                continue;
            }
            let Poll::Ready(piece) = slow.paced.poll_piece(cx) else {
                ready!(writer.poll_flush(cx))?;
                return Poll::Pending;
            };
            if piece.is_empty() {
                if let Some(end) = slow.end.take() {
                    self.slow = None;
                    self.end(end == End::Trailers, writer, chain);
                }
                break;
            }
            self.moved += 1;
            send(piece, writer, chain, self.direction);
        }
        writer.poll_flush(cx)
    }

    /// Sends some content, or has it wait for its time.
    fn put(&mut self, content: Bytes, writer: &mut Writer<'_>, chain: &mut Chain<'_>) {
        if content.is_empty() {
            return;
        }
        if self.direction == Direction::Request {
            self.content += content.len() as u64;
        }
        match &mut self.slow {
            Some(slow) => slow.paced.hold(&content),
            None => send(content, writer, chain, self.direction),
        }
    }

    /// Ends the body, behind what waits of it.
    fn end(&mut self, has_trailers: bool, writer: &mut Writer<'_>, chain: &Chain<'_>) {
        self.read_all = true;
        let trailers = chain.forwarded_trailers(self.direction);
        match &mut self.slow {
            Some(slow) if has_trailers => slow.end = Some(End::Trailers),
            Some(slow) => slow.end = Some(End::Plain),
            None => writer.push_end(trailers.filter(|_| has_trailers)),
        }
    }

    /// Sends a frame that filters have seen and that was sent before.
    fn replay(&mut self, frame: Frame, writer: &mut Writer<'_>, chain: &Chain<'_>) {
        match frame {
            Frame::Data(data) => {
                self.content += data.len() as u64;
                push(writer, data, chain, self.direction);
            }
            Frame::End => {
                self.read_all = true;
                writer.push_end(None);
            }
            Frame::Trailers => {
                self.read_all = true;
                writer.push_end(chain.forwarded_trailers(self.direction));
            }
        }
    }

    fn take(
        &mut self,
        frame: Frame,
        writer: &mut Writer<'_>,
        chain: &mut Chain<'_>,
        kept: Option<&mut Kept>,
    ) -> Result<(), Error> {
        if let (Frame::Data(data), Direction::Response) = (&frame, self.direction) {
            self.content += data.len() as u64;
        }
        self.read_all |= !matches!(frame, Frame::Data(_));
        let (content, ended) = filtered(self.direction, frame, chain)?;
        if let Some(kept) = kept {
            kept.take(&content, ended, chain.forwarded_trailers(self.direction));
            self.replayed = kept.frames();
        }
        self.put(content, writer, chain);
        if let Some(has_trailers) = ended {
            self.end(has_trailers, writer, chain);
        }
        Ok(())
    }
}

/// What filters make of a frame that has come: content to go on, and where the body ends behind it,
/// whether with trailers.
pub(super) fn filtered(
    direction: Direction,
    frame: Frame,
    chain: &mut Chain<'_>,
) -> Result<(Bytes, Option<bool>), Error> {
    match frame {
        Frame::Data(data) => {
            chain.count_received(direction, data.len());
            Ok((chain.body(direction, data)?, None))
        }
        Frame::End => Ok((chain.end_of_body(direction)?, Some(false))),
        Frame::Trailers => {
            chain.join_trailers(direction);
            Ok((chain.trailers(direction)?, Some(true)))
        }
    }
}

/// Sends content that has not been sent before.
fn send(content: Bytes, writer: &mut Writer<'_>, chain: &mut Chain<'_>, direction: Direction) {
    chain.count_sent(direction, content.len());
    push(writer, content, chain, direction);
}

/// Hands content to the writer, which has to be told where filters may have changed it.
fn push(writer: &mut Writer<'_>, content: Bytes, chain: &Chain<'_>, direction: Direction) {
    if chain.shows_chunks(direction) {
        writer.push_changed(content);
    } else {
        writer.push(content);
    }
}
