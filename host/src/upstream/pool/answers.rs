//! What an upstream may not answer over HTTP/2, and the codec takes all the same.
//!
//! The codec leaves pseudo-header fields of requests out of a response, and `:status` out of trailers, and
//! forgets what it saw in a frame that ends inside of a field; such a response would be served. Owns the look at field blocks on their
//! way to the codec, as far as that needs no table: a field that is in one was written out before, and
//! ended the connection; and the counting of a connection's bytes. Does not own what the codec refuses itself.
//! Called by `http2`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::host::Host;
use crate::limits;
use crate::socket::Socket;

/// Bytes in front of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
/// A flag of `DATA` and `HEADERS`.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;

/// A response breaks a rule that the codec does not hold it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed field block")]
struct Malformed;

/// A connection to an upstream, whose answers are looked at and whose bytes are counted. It fails with
/// [`io::ErrorKind::InvalidData`] at one that is malformed.
pub(super) struct Watched {
    socket: Socket,
    answers: Answers,
    /// Whose statistics count.
    host: Rc<Host>,
}

impl Watched {
    /// `most` are the bytes that a head may have.
    pub(super) fn new(socket: Socket, most: u32, host: &Rc<Host>) -> Self {
        Self {
            socket,
            answers: Answers::new(most as usize),
            host: Rc::clone(host),
        }
    }

    fn sent(&self, wrote: usize) {
        let stats = self.host.common().stats();
        stats.upstream_cx_tx_bytes_total.add(wrote as u64);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        let read = into.filled().get(before..).unwrap_or_default();
        let stats = self.host.common().stats();
        stats.upstream_cx_rx_bytes_total.add(read.len() as u64);
        let looked = self.answers.received(read);
        Poll::Ready(
            looked.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed)),
        )
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.socket).poll_write(cx, from))?;
        self.sent(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, from))?;
        self.sent(wrote);
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Follows the frames of one connection.
#[derive(Debug)]
struct Answers {
    most: usize,
    head: [u8; HEAD],
    /// How much of the head of the next frame is there.
    filled: usize,
    /// How much of the payload of this frame is to come.
    left: usize,
    /// What has come of it, where it has a part of a block and did not come at once.
    payload: Vec<u8>,
    /// The parts of a block whose last is to come; none where it has not begun.
    block: Option<Vec<u8>>,
    /// Whether the stream ends with the block that has begun.
    is_last: bool,
    /// Streams whose response has begun and not ended: what comes are trailers. The oldest go where there
    /// are many, which this side has reset.
    begun: VecDeque<u32>,
}

impl Answers {
    const fn new(most: usize) -> Self {
        Self {
            most,
            head: [0; HEAD],
            filled: 0,
            left: 0,
            payload: Vec::new(),
            block: None,
            is_last: false,
            begun: VecDeque::new(),
        }
    }

    /// Takes note of bytes that the upstream sent.
    fn received(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        loop {
            if self.filled < HEAD {
                let room = self.head.get_mut(self.filled..).unwrap_or_default();
                let taken = room.len().min(bytes.len());
                for (place, byte) in room.iter_mut().zip(bytes) {
                    *place = *byte;
                }
                bytes = bytes.get(taken..).unwrap_or_default();
                self.filled += taken;
                if self.filled < HEAD {
                    return Ok(());
                }
                let [a, b, c, ..] = self.head;
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            let Some((part, behind)) = bytes.split_at_checked(self.left.min(bytes.len())) else {
                return Ok(());
            };
            bytes = behind;
            self.left -= part.len();
            self.payload(part)?;
            if bytes.is_empty() && self.left > 0 {
                return Ok(());
            }
        }
    }

    /// Takes a part of this frame's payload.
    fn payload(&mut self, part: &[u8]) -> Result<(), Malformed> {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        let is_whole = self.left == 0;
        if is_whole {
            self.filled = 0;
        }
        if !matches!(kind, HEADERS | CONTINUATION) {
            if is_whole && (kind == RST_STREAM || (kind == DATA && flags & END_STREAM != 0)) {
                self.ended(stream);
            }
            return Ok(());
        }
        if is_whole && self.payload.is_empty() {
            return self.fragment((kind, flags, stream), part);
        }
        self.payload.extend_from_slice(part);
        if is_whole {
            let payload = mem::take(&mut self.payload);
            self.fragment((kind, flags, stream), &payload)?;
        }
        Ok(())
    }

    fn ended(&mut self, stream: u32) {
        self.begun.retain(|begun| *begun != stream);
    }

    /// Takes the whole payload of a frame that has a part of a block.
    fn fragment(
        &mut self,
        (kind, flags, stream): (u8, u8, u32),
        payload: &[u8],
    ) -> Result<(), Malformed> {
        // The codec does not read it either, and ends the connection.
        let Some(part) = block_of(kind, flags, payload) else {
            return Ok(());
        };
        if kind == HEADERS {
            self.is_last = flags & END_STREAM != 0;
        }
        let ends = flags & END_HEADERS != 0;
        match self.block.take() {
            None if ends => self.block(stream, part, false),
            None => {
                self.block = Some(part.to_vec());
                Ok(())
            }
            Some(mut block) => {
                block.extend_from_slice(part);
                if block.len() > 2 * self.most || read(&block, true).is_err() {
                    return Err(Malformed);
                }
                if ends {
                    return self.block(stream, &block, true);
                }
                self.block = Some(block);
                Ok(())
            }
        }
    }

    /// Takes a whole block.
    fn block(&mut self, stream: u32, block: &[u8], is_cut: bool) -> Result<(), Malformed> {
        let status = read(block, is_cut)?;
        if status != Status::None && self.begun.contains(&stream) {
            return Err(Malformed);
        }
        if self.is_last {
            self.ended(stream);
        } else if status == Status::Final {
            self.begun.push_back(stream);
            if self.begun.len() > limits::HTTP2_FOLLOWED_RESPONSES {
                self.begun.pop_front();
            }
        }
        Ok(())
    }
}

/// What of a payload belongs to the block (RFC 9113 §6.2).
fn block_of(kind: u8, flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if kind == CONTINUATION {
        return Some(payload);
    }
    let (padding, rest) = match flags & PADDED {
        0 => (0, payload),
        _ => payload
            .split_first()
            .map(|(length, rest)| (usize::from(*length), rest))?,
    };
    let rest = match flags & PRIORITIZED {
        0 => rest,
        _ => rest.get(5..)?,
    };
    rest.get(..rest.len().checked_sub(padding)?)
}

/// What a field is called, as far as that counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// As a pseudo-header field of requests, or none that there is.
    Request,
    Status,
    /// As what is about one connection (RFC 9113 §8.2.2).
    Hop,
    /// As any other.
    Otherwise,
    /// As an earlier field, or not at all.
    Unknown,
}

/// Names of [`Named::Hop`], plain and in the code of RFC 7541 §5.2.
const HOPS: [(&[u8], &[u8]); 6] = [
    (b"connection", b"\x21\xea\xa8\xa4\x49\x8f\x57"),
    (b"keep-alive", b"\xea\x52\xd6\xb0\xe8\x37\x72\xff"),
    (
        b"proxy-connection",
        b"\xae\xc3\xf9\xf4\xb1\x0f\x55\x45\x22\x4c\x7a\xbf",
    ),
    (
        b"transfer-encoding",
        b"\x4d\x83\xa9\x12\x96\xc5\x8b\x51\x0f\x21\xaa\x9b",
    ),
    (b"upgrade", b"\xb6\xb9\xac\x1c\x85"),
    (b"te", b"\x49\x7f"),
];
const STATUS: (&[u8], &[u8]) = (b":status", b"\xb8\x84\x8d\x36\xa3");

impl Named {
    /// The name at `index` of the tables (RFC 7541 appendix A).
    const fn at(index: usize) -> Self {
        match index {
            1..=7 => Self::Request,
            8..=14 => Self::Status,
            57 => Self::Hop,
            15..=61 => Self::Otherwise,
            _ => Self::Unknown,
        }
    }

    fn written(text: &[u8], is_coded: bool) -> Self {
        let is = |(plain, coded): (&[u8], &[u8])| text == if is_coded { coded } else { plain };
        // A colon is coded in seven bits.
        let is_pseudo = text.first().is_some_and(|first| match is_coded {
            true => first >> 1 == 0x5c,
            false => *first == b':',
        });
        if is(STATUS) {
            Self::Status
        } else if is_pseudo {
            Self::Request
        } else if HOPS.into_iter().any(is) {
            Self::Hop
        } else {
            Self::Otherwise
        }
    }
}

/// What a block says of `:status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Nothing, or what an earlier field said.
    None,
    Interim,
    Final,
}

/// Reads the head of a response, or its trailers. Of one that `is_cut` into frames the codec may have
/// forgotten everything. What cannot be read it refuses.
///
/// # Errors
/// When it has what it may not have.
fn read(block: &[u8], is_cut: bool) -> Result<Status, Malformed> {
    let mut rest = Rest(block);
    let (mut status, mut has_field) = (Status::None, false);
    while let Some((named, value)) = rest.field() {
        match named {
            Named::Request => return Err(Malformed),
            Named::Hop if is_cut => return Err(Malformed),
            Named::Status if is_cut && (status != Status::None || has_field) => {
                return Err(Malformed);
            }
            Named::Status => status = value,
            Named::Hop | Named::Otherwise => has_field = true,
            Named::Unknown => {}
        }
    }
    Ok(status)
}

/// What is left of a block.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Reads a field, or a change of the table's size (RFC 7541 §6), and the status that its value is if it
    /// is one. Those of the static table are final.
    fn field(&mut self) -> Option<(Named, Status)> {
        let prefix = match self.0.first()?.leading_zeros() {
            0 => {
                return self
                    .integer(7)
                    .map(|index| (Named::at(index), Status::Final));
            }
            1 => 6,
            2 => {
                return self.integer(5).map(|_size| (Named::Unknown, Status::None));
            }
            _ => 4,
        };
        let named = match self.integer(prefix)? {
            0 => {
                let (name, is_coded) = self.text()?;
                Named::written(name, is_coded)
            }
            index => Named::at(index),
        };
        let (value, is_coded) = self.text()?;
        // The code of `1` is 00001.
        let is_interim = value.first().is_some_and(|first| match is_coded {
            true => first >> 3 == 1,
            false => *first == b'1',
        });
        let status = if is_interim {
            Status::Interim
        } else {
            Status::Final
        };
        Some((named, status))
    }

    /// An integer with a prefix of so many bits (RFC 7541 §5.1).
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let (first, mut rest) = self.0.split_first()?;
        let full = (1 << prefix) - 1;
        let mut value = usize::from(*first) & full;
        let mut shift = 0;
        let mut goes_on = value == full;
        while goes_on {
            let (byte, behind) = rest.split_first()?;
            // The codec takes no more than five bytes.
            value += usize::from(byte & 0x7f)
                .checked_shl(shift)
                .filter(|_| shift < 28)?;
            (rest, shift, goes_on) = (behind, shift + 7, *byte >= 0x80);
        }
        self.0 = rest;
        Some(value)
    }

    /// A string as it is written, and whether it is coded.
    fn text(&mut self) -> Option<(&'a [u8], bool)> {
        let is_coded = *self.0.first()? >= 0x80;
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((text, is_coded))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn field(name: &str, value: &str) -> Vec<u8> {
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        [&[0][..], &text(name), &text(value)].concat()
    }

    /// What becomes of bytes that come in pieces of this size.
    fn look(bytes: &[u8], cut: usize) -> Result<(), Malformed> {
        let mut answers = Answers::new(1000);
        bytes
            .chunks(cut)
            .try_for_each(|piece| answers.received(piece))
    }

    #[test]
    fn a_response_has_no_fields_of_requests() {
        let coded = [0, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 1, b'/'];
        for (block, expected) in [
            (field(":status", "200"), Ok(())),
            ([vec![0x88], field("x", ":path")].concat(), Ok(())),
            ([vec![0x48, 3], b"418".to_vec()].concat(), Ok(())),
            (
                [vec![0x3f, 0xe1, 0x1f, 0x88], field("te", "x")].concat(),
                Ok(()),
            ),
            (vec![0x88, 0xbe, 0x7e, 1, b'x'], Ok(())),
            ([vec![0x88], field(":path", "/")].concat(), Err(Malformed)),
            ([vec![0x88], field(":x", "/")].concat(), Err(Malformed)),
            (vec![0x88, 0x84], Err(Malformed)),
            (vec![0x88, 0x41, 1, b'a'], Err(Malformed)),
            (vec![0x88, 0x01, 1, b'a'], Err(Malformed)),
            ([&[0x88][..], &coded].concat(), Err(Malformed)),
        ] {
            for (flags, before, behind) in [
                (0, &[][..], &[][..]),
                (PADDED, &[2][..], &[0, 0][..]),
                (PRIORITIZED, &[0, 0, 0, 0, 9][..], &[][..]),
            ] {
                let payload = [before, &block, behind].concat();
                let data = frame(0, 0, &field(":path", "/"));
                let bytes = [data, frame(HEADERS, flags | END_HEADERS, &payload)].concat();
                for cut in [1, 2, 7, 99] {
                    assert_eq!(look(&bytes, cut), expected, "{block:x?}");
                }
            }
        }
    }

    #[test]
    fn what_the_codec_forgets_is_seen_where_a_block_is_cut() {
        let status = field(":status", "200");
        let coded = [0, 0x87, 0x21, 0xea, 0xa8, 0xa4, 0x49, 0x8f, 0x57, 1, b'x'];
        for (block, expected) in [
            ([&*status, &field("x", "y")].concat(), Ok(())),
            (
                [&*status, &field("connection", "x")].concat(),
                Err(Malformed),
            ),
            ([&*status, &coded].concat(), Err(Malformed)),
            ([&*status, &[0x0f, 42, 0]].concat(), Err(Malformed)),
            ([&*status, &[0x88]].concat(), Err(Malformed)),
            ([&*field("x", "y"), &[0x88]].concat(), Err(Malformed)),
            (
                [&*status, &field("x", &"y".repeat(100)).repeat(20)].concat(),
                Err(Malformed),
            ),
        ] {
            for at in 0..block.len().min(30) {
                let (first, second) = block.split_at(at);
                let bytes = [
                    frame(HEADERS, 0, first),
                    frame(CONTINUATION, 0, &[]),
                    frame(CONTINUATION, END_HEADERS, second),
                    frame(HEADERS, END_HEADERS, &field("connection", "x")),
                ];
                let bytes = bytes.concat();
                for cut in [1, 11, 5000] {
                    assert_eq!(look(&bytes, cut), expected, "{block:x?} at {at}");
                }
            }
        }
    }

    #[test]
    fn trailers_have_no_status() {
        let field = field("grpc-status", "0");
        let cases: [(&[&[u8]], _); 8] = [
            (&[&[0x88], &field], Ok(())),
            (&[b"\x48\x03103", &[0x88], &field], Ok(())),
            (&[&[0x48, 0x82, 0x08, 0x19], &[0x88]], Ok(())),
            (&[&[0x88], &[0x88]], Err(Malformed)),
            (&[b"\x48\x03418", &[0x8d]], Err(Malformed)),
            (&[&[0x88], b"\x08\x03103"], Err(Malformed)),
            (
                &[&[0x48, 0x82, 0x10, 0x01], b"\x00\x07:status\x03200"],
                Err(Malformed),
            ),
            // Nobody knows here what the head said.
            (&[&[0xbe], &[0x88]], Ok(())),
        ];
        for (blocks, expected) in cases {
            let frames = blocks
                .iter()
                .map(|block| frame(HEADERS, END_HEADERS, block));
            let bytes = frames.collect::<Vec<_>>().join(&frame(DATA, 0, b"x")[..]);
            for cut in [1, 99] {
                assert_eq!(look(&bytes, cut), expected, "{blocks:x?}");
            }
        }
        let head = frame(HEADERS, END_HEADERS, &[0x88]);
        for last in [
            frame(DATA, END_STREAM, b"x"),
            frame(DATA, END_STREAM, b""),
            frame(HEADERS, END_STREAM | END_HEADERS, &field),
            frame(RST_STREAM, 0, &[0; 4]),
        ] {
            assert_eq!(
                look(&[&*head, &last, &head].concat(), 99),
                Ok(()),
                "{last:x?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..40) {
            let block = frame(HEADERS, END_HEADERS, &bytes);
            prop_assert_eq!(look(&block, cut), look(&block, block.len()));
            let _any = look(&bytes, cut);
        }
    }
}
