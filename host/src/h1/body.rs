//! Decoding of bodies: from the bytes behind a head to data and trailers.
//!
//! Owns the framing of RFC 9112 §6 and §7.1, for requests and responses alike. Every line end of the
//! chunked coding must be CRLF. Chunk extensions are checked, bounded and dropped.
//!
//! Does not own how long the body is said to be (`head`), nor any buffer.

use bytes::{Buf, Bytes, BytesMut};

use crate::headers::{Headers, Known};
use crate::limits;

use super::field;
use super::{BodyLength, HeadLimits, Underscores, words};

pub use super::reject::BodyError;

/// What a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Some of the body. Never empty.
    Data(Bytes),
    /// More bytes are needed.
    NeedMore,
    /// The end of the body, with trailer fields.
    Trailers,
    /// The end of the body.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Finished,
    Length(u64),
    UntilClose,
    /// In front of or within the line with a chunk's size.
    ChunkSize,
    /// In a chunk, with so many bytes to come.
    Chunk(u64),
    /// In front of the line end behind a chunk.
    ChunkEnd,
    Trailers,
    Failed(BodyError),
}

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    limits: HeadLimits,
    /// So many bytes of the current line have no LF.
    scanned: usize,
    /// Bytes of framing beyond what the data deserves; see [`limits::CHUNK_OVERHEAD_BYTES`].
    overhead: u64,
    trailer_bytes: usize,
    trailer_lines: u32,
    underscores: Underscores,
}

impl Decoder {
    /// A decoder of a body that is `length` long; `limits` bound its trailer section.
    #[must_use]
    pub const fn new(length: BodyLength, limits: HeadLimits) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Length(0) => State::Finished,
            BodyLength::Length(length) => State::Length(length),
            BodyLength::Chunked => State::ChunkSize,
            BodyLength::UntilClose => State::UntilClose,
        };
        Self {
            state,
            limits,
            scanned: 0,
            overhead: 0,
            trailer_bytes: 0,
            trailer_lines: 0,
            underscores: Underscores::Allow,
        }
    }

    /// Treats trailer fields whose names have underscores like such fields of a head.
    pub const fn mind_underscores(&mut self, action: Underscores) {
        self.underscores = action;
    }

    /// Whether the body has ended. True from the start where there is none.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// How many bytes are to come, where the head told the length.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(remaining) => Some(remaining),
            State::Finished
            | State::UntilClose
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailers
            | State::Failed(_) => None,
        }
    }

    /// Takes what it can from the front of `buf`, and never a byte that is behind the body.
    /// `trailers` is cleared when the trailer section begins.
    ///
    /// Data is not copied, but for chunks of up to 8 KiB that lie together in `buf`: they become one.
    ///
    /// # Errors
    /// Where the body breaks its framing. What came before the error is answered first, and the
    /// error again on each later call.
    pub fn decode(
        &mut self,
        buf: &mut BytesMut,
        trailers: &mut Headers,
    ) -> Result<Decoded, BodyError> {
        match self.state {
            State::Finished => Ok(Decoded::End),
            State::Failed(error) => Err(error),
            State::UntilClose | State::Length(_) if buf.is_empty() => Ok(Decoded::NeedMore),
            State::UntilClose => Ok(Decoded::Data(buf.split().freeze())),
            State::Length(remaining) => {
                let taken = at_most(remaining, buf.len());
                self.state = match remaining - taken as u64 {
                    0 => State::Finished,
                    rest => State::Length(rest),
                };
                Ok(Decoded::Data(buf.split_to(taken).freeze()))
            }
            State::ChunkSize | State::Chunk(_) | State::ChunkEnd | State::Trailers => {
                self.decode_chunks(buf, trailers)
            }
        }
    }

    /// Whether the body ends within `bytes`, which come next.
    #[must_use]
    pub fn ends_in(&self, bytes: &[u8]) -> bool {
        let mut ahead = self.clone();
        let (mut rest, mut trailers) = (BytesMut::from(bytes), Headers::default());
        loop {
            match ahead.decode(&mut rest, &mut trailers) {
                Ok(Decoded::Data(_)) => {}
                Ok(Decoded::NeedMore) | Err(_) => return false,
                Ok(Decoded::Trailers | Decoded::End) => return true,
            }
        }
    }

    /// Takes note that the peer has closed.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] where the body has not ended with that.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Finished => Ok(()),
            State::UntilClose => {
                self.state = State::Finished;
                Ok(())
            }
            State::Failed(error) => Err(error),
            State::Length(_)
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailers => {
                self.state = State::Failed(BodyError::Truncated);
                Err(BodyError::Truncated)
            }
        }
    }

    /// Gathers the data of as many chunks as are in `buf` at its front, then takes it off.
    fn decode_chunks(
        &mut self,
        buf: &mut BytesMut,
        trailers: &mut Headers,
    ) -> Result<Decoded, BodyError> {
        let mut read = 0;
        let mut gathered = 0;
        let stop = loop {
            let step = match self.state {
                State::ChunkSize => self.chunk_size(buf.get(read..).unwrap_or_default()),
                State::ChunkEnd => self.chunk_end(buf.get(read..).unwrap_or_default()),
                State::Chunk(remaining) => {
                    let taken = at_most(remaining, buf.len() - read);
                    if taken == 0 || (gathered > 0 && gathered + taken > limits::CHUNK_GATHER_BYTES)
                    {
                        break Ok(Decoded::NeedMore);
                    }
                    if gathered == 0 {
                        buf.advance(read);
                        read = 0;
                    } else {
                        buf.copy_within(read..read + taken, gathered);
                    }
                    gathered += taken;
                    self.state = match remaining - taken as u64 {
                        0 => State::ChunkEnd,
                        rest => State::Chunk(rest),
                    };
                    Ok(Some(taken))
                }
                State::Trailers if gathered > 0 => break Ok(Decoded::NeedMore),
                State::Trailers => self.trailer(buf.get(read..).unwrap_or_default(), trailers),
                State::Finished if trailers.is_empty() => break Ok(Decoded::End),
                State::Finished => break Ok(Decoded::Trailers),
                State::Length(_) | State::UntilClose | State::Failed(_) => {
                    break Ok(Decoded::NeedMore);
                }
            };
            match step {
                Ok(Some(taken)) => read += taken,
                Ok(None) => break Ok(Decoded::NeedMore),
                Err(error) => {
                    self.state = State::Failed(error);
                    break Err(error);
                }
            }
        };
        if gathered == 0 {
            buf.advance(read);
            return stop;
        }
        let data = buf.split_to(gathered).freeze();
        buf.advance(read - gathered);
        Ok(Decoded::Data(data))
    }

    /// Reads the line in front of a chunk. Answers how many bytes it took.
    fn chunk_size(&mut self, buf: &[u8]) -> Result<Option<usize>, BodyError> {
        let Some(line) = self.next_line(buf, limits::CHUNK_LINE_BYTES) else {
            return if buf.len() > limits::CHUNK_LINE_BYTES {
                Err(BodyError::ChunkExtension)
            } else if buf.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
                Err(BodyError::ChunkSize)
            } else {
                Ok(None)
            };
        };
        let content = line.strip_suffix(b"\r\n").ok_or(BodyError::ChunkSize)?;
        let digits = content
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, extension) = content.split_at_checked(digits).unwrap_or_default();
        let size = hexadecimal(digits).ok_or(BodyError::ChunkSize)?;
        match field::trim(extension) {
            [] => {}
            [b';', rest @ ..] if !field::has_control(rest) => {}
            [b';', ..] => return Err(BodyError::ChunkExtension),
            _ => return Err(BodyError::ChunkSize),
        }
        let deserved = (size / 2).saturating_add(16);
        self.overhead = (self.overhead + line.len() as u64).saturating_sub(deserved);
        if self.overhead > limits::CHUNK_OVERHEAD_BYTES {
            return Err(BodyError::ChunkExtension);
        }
        self.state = match size {
            0 => State::Trailers,
            size => State::Chunk(size),
        };
        Ok(Some(line.len()))
    }

    /// Reads the line end behind a chunk.
    fn chunk_end(&mut self, buf: &[u8]) -> Result<Option<usize>, BodyError> {
        match buf {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                self.state = State::ChunkSize;
                Ok(Some(2))
            }
            _ => Err(BodyError::ChunkEnd),
        }
    }

    /// Reads one line of the trailer section.
    fn trailer(&mut self, buf: &[u8], trailers: &mut Headers) -> Result<Option<usize>, BodyError> {
        if self.trailer_bytes == 0 {
            trailers.clear();
        }
        let left = (self.limits.bytes as usize).saturating_sub(self.trailer_bytes);
        let Some(line) = self.next_line(buf, left) else {
            return if buf.len() > left {
                Err(BodyError::TrailersTooLarge)
            } else {
                Ok(None)
            };
        };
        self.trailer_bytes += line.len();
        let content = line.strip_suffix(b"\r\n").ok_or(BodyError::Trailers)?;
        if content.is_empty() {
            self.state = State::Finished;
            return Ok(Some(line.len()));
        }
        self.trailer_lines += 1;
        if self.trailer_lines > self.limits.fields {
            return Err(BodyError::TooManyTrailers);
        }
        let underscores = self.underscores;
        field::read(content, false, |known, name, value| {
            match (known, underscores.on(name)) {
                (Some(known), _) if is_forbidden(known) => {}
                (_, Underscores::Reject) => return Err(BodyError::Underscore),
                (_, Underscores::Drop) => {}
                (known, Underscores::Allow) => field::append(trailers, known, name, value),
            }
            Ok(())
        })?;
        Ok(Some(line.len()))
    }

    /// The first line of `buf` with its LF, if that is among the first `limit` bytes.
    fn next_line<'a>(&mut self, buf: &'a [u8], limit: usize) -> Option<&'a [u8]> {
        let seen = buf.get(..limit).unwrap_or(buf);
        match words::find(b'\n', seen.get(self.scanned..)?) {
            Some(at) => {
                let line = seen.get(..=self.scanned + at);
                self.scanned = 0;
                line
            }
            None => {
                self.scanned = seen.len();
                None
            }
        }
    }
}

/// Fields that mean framing or the connection and so may not come behind the body (RFC 9110 §6.5.1).
/// They are left out.
const fn is_forbidden(known: Known) -> bool {
    matches!(
        known,
        Known::Authority
            | Known::Connection
            | Known::ContentLength
            | Known::Expect
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Trailer
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

/// `1*HEXDIG`, of 64 bits at most; leading zeros do not count.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        number.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

/// The smaller of both.
fn at_most(remaining: u64, available: usize) -> usize {
    usize::try_from(remaining).map_or(available, |remaining| remaining.min(available))
}

#[cfg(test)]
mod tests;
