//! Bodies in motion: the one loop that moves a body from a reader to a writer.
//!
//! Owns the order of things: read while the writer has room, let the filters see each frame, flush
//! when nothing more can be read at once. So a head and a short body leave in one write, and a slow
//! peer on either side stops the other. Does not own what filters do ([`super::phases`]).

use std::task::{Context, Poll};

use bytes::Bytes;

use super::error::Error;
use super::io::{Frame, ReadError, Reader, WriteError, Writer};
use super::kept::Kept;
use super::phases::Chain;

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
#[derive(Debug)]
pub(crate) struct Pump {
    direction: Direction,
    read_all: bool,
    frames: u64,
    /// How many frames of what was kept have gone again.
    replayed: usize,
    /// Why the upstream ended early; told once all that came before was passed on.
    failed: Option<ReadError>,
}

impl Pump {
    /// A body that is about to be read.
    pub(crate) const fn new(direction: Direction) -> Self {
        Self {
            direction,
            read_all: false,
            frames: 0,
            replayed: 0,
            failed: None,
        }
    }

    /// A body that was read before and pushed to the writer: it has only to be flushed.
    pub(crate) const fn flushing(direction: Direction) -> Self {
        Self {
            direction,
            read_all: true,
            frames: 0,
            replayed: 0,
            failed: None,
        }
    }

    /// How many frames were read; tells a watcher whether something happened.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether the sender has sent everything.
    pub(crate) const fn has_read_all(&self) -> bool {
        self.read_all
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
            while !self.read_all && writer.has_room() {
                if let Some(frame) = kept.as_ref().and_then(|kept| kept.frame(self.replayed)) {
                    self.replayed += 1;
                    self.replay(frame, writer, chain);
                    continue;
                }
                let trailers = chain.trailers_mut(self.direction);
                match reader.poll_frame(cx, trailers) {
                    Poll::Ready(Ok(frame)) => {
                        self.frames += 1;
                        self.take(frame, writer, chain, kept.as_deref_mut())
                            .map_err(PumpError::Filter)?;
                    }
                    Poll::Ready(Err(error)) if self.direction == Direction::Response => {
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
            match writer.poll_flush(cx) {
                Poll::Ready(Ok(())) if self.read_all => {
                    let failed = self.failed.take().map(PumpError::Read);
                    return Poll::Ready(failed.map_or(Ok(()), Err));
                }
                Poll::Ready(Ok(())) if starved => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Write(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sends a frame that filters have seen and that was sent before.
    fn replay(&mut self, frame: Frame, writer: &mut Writer<'_>, chain: &Chain<'_>) {
        match frame {
            Frame::Data(data) => push(writer, data, chain, self.direction),
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
        let has_trailers = matches!(frame, Frame::Trailers);
        let content = match frame {
            Frame::Data(data) => {
                chain.count_received(self.direction, data.len());
                chain.body(self.direction, data)?
            }
            Frame::End => {
                self.read_all = true;
                chain.end_of_body(self.direction)?
            }
            Frame::Trailers => {
                self.read_all = true;
                chain.trailers(self.direction)?
            }
        };
        if !content.is_empty() {
            chain.count_sent(self.direction, content.len());
        }
        let trailers = chain.forwarded_trailers(self.direction);
        let trailers = trailers.filter(|_| has_trailers);
        if let Some(kept) = kept {
            if !content.is_empty() {
                kept.push(&content);
            }
            if self.read_all {
                kept.finish(trailers);
            }
            self.replayed = kept.frames();
        }
        if !content.is_empty() {
            push(writer, content, chain, self.direction);
        }
        if self.read_all {
            writer.push_end(trailers);
        }
        Ok(())
    }
}

/// Hands content to the writer, which has to be told where filters may have changed it.
fn push(writer: &mut Writer<'_>, content: Bytes, chain: &Chain<'_>, direction: Direction) {
    if chain.shows_chunks(direction) {
        writer.push_changed(content);
    } else {
        writer.push(content);
    }
}
