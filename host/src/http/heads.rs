//! The heads that an HTTP/2 client sends, on their way to the codec.
//!
//! Owns holding back a head until it is whole, and the targets that the codec has no place for: it
//! gets another one in their stead, and who serves the stream takes the true one from here. Does not
//! own whether frames and blocks are good: the codec gets them as they came, and refuses them, but for
//! what it does not see. It forgets what it saw in a frame that ends inside of a field, and so gets heads
//! cut between fields; it drops pseudo-header fields in trailers, and so gets another that it
//! refuses; and it says of no trailers that they are too large for it, and so gets [`crate::frames::WHOLE`] behind them. Nor does it get frames of content without any, of which it takes a hundred in the life of a connection:
//! `frames::watch` has counted them. Called by `http2`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::rc::Rc;

use bytes::BytesMut;

use super::hpack::{Odd, Targets};
use crate::frames::{FRAME_BYTES, FrameHead, HEAD, PREFACE, WHOLE_FIELD, hpack};
use crate::limits;

/// A field that the codec refuses: `connection` without a value, in no table.
const REFUSED: &[u8] = b"\0\x0aconnection\0";

/// Why a client is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A block that the codec has read, and that cannot be read.
    #[error("the field block of stream {0} cannot be read")]
    Block(u32),
    /// A client asks for no scheme where it is to name one (RFC 9113 §8.3.1).
    #[error("the scheme of the request on stream {0} is empty")]
    Scheme(u32),
    /// Streams that were refused, or wait to be served, have too many odd targets.
    #[error("too many targets with bytes that no url has, up to that of stream {0}")]
    Targets(u32),
}

/// The targets with odd bytes, by their streams, until those are served.
#[derive(Debug, Default)]
pub(super) struct OddTargets(RefCell<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    targets: VecDeque<(u32, Rc<[u8]>)>,
    bytes: usize,
}

impl OddTargets {
    /// The target of `stream`, if it is one. Streams are asked for in the order in which they were
    /// opened.
    pub(super) fn take(&self, stream: u32) -> Option<Rc<[u8]>> {
        let mut waiting = self.0.borrow_mut();
        while waiting.targets.front()?.0 <= stream {
            let (first, target) = waiting.targets.pop_front()?;
            waiting.bytes -= target.len();
            if first == stream {
                return Some(target);
            }
        }
        None
    }

    fn add(&self, stream: u32, target: Rc<[u8]>) -> Result<(), Unreadable> {
        let mut waiting = self.0.borrow_mut();
        waiting.bytes += target.len();
        waiting.targets.push_back((stream, target));
        if waiting.targets.len() > limits::HTTP2_ODD_TARGETS
            || waiting.bytes > limits::HTTP2_ODD_TARGET_BYTES
        {
            return Err(Unreadable::Targets(stream));
        }
        Ok(())
    }
}

/// What comes next in the bytes of a client.
enum Next {
    /// Nothing that can be passed on yet.
    Wait,
    /// So many bytes that are no head's, or that the codec refuses.
    Other(usize),
    /// A head, or a part of one, or a frame that brings nothing, of so many bytes, and what the codec is to get instead.
    Head(usize, Option<Vec<u8>>),
}

/// A head that is too long to be held, or trailers.
#[derive(Debug)]
struct Long {
    /// The head of its first frame.
    first: FrameHead,
    /// What has come of the field that is next.
    left: Vec<u8>,
    are_trailers: bool,
    /// Whether they have what trailers may not have.
    has_unfit: bool,
}

/// Follows what a client sends on one connection.
#[derive(Debug)]
pub(super) struct Heads {
    /// Bytes that are passed on before the next frame begins.
    skip: usize,
    /// The beginning of a frame, or of a head, that waits for its end.
    held: Vec<u8>,
    /// Up to so many bytes.
    most: usize,
    /// As much as a frame may have: the codec ends the connection for one with more.
    largest: usize,
    /// The head that comes, where it is too long to be held.
    long: Option<Long>,
    targets: Targets,
    /// The highest stream that the client has opened.
    last_stream: u32,
    /// Streams whose client has more to send, as far as is known, in the order of their numbers.
    open: VecDeque<u32>,
    /// Up to this stream more may come on some that are not among those.
    unfollowed: u32,
    /// The stream on which a block came that cannot be read. The codec has its turn to say so.
    lost: Option<u32>,
    odd: Rc<OddTargets>,
}

impl Heads {
    /// For a connection whose first byte is to come, whose heads may have `most` bytes, and its frames as many
    /// as `SETTINGS_MAX_FRAME_SIZE` says, if it is said.
    pub(super) fn new(most: usize, largest: Option<u32>, odd: Rc<OddTargets>) -> Self {
        let largest = largest.map_or(FRAME_BYTES, |bytes| bytes as usize);
        Self {
            skip: PREFACE.len(),
            held: Vec::new(),
            most: most.saturating_add(largest + HEAD),
            largest,
            long: None,
            targets: Targets::new(),
            last_stream: 0,
            open: VecDeque::new(),
            unfollowed: 0,
            lost: None,
            odd,
        }
    }

    /// Nothing more that comes on a stream counts.
    pub(super) fn ended(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search(&stream) {
            self.open.remove(at);
        }
    }

    /// Follows a frame that is no part of a head. Whether it brings nothing to a stream to which more comes.
    fn brings_nothing(&mut self, frame: FrameHead) -> bool {
        let (is_data, ends) = (frame.kind == FrameHead::DATA, frame.ends_stream());
        if frame.kind == FrameHead::RST_STREAM || (is_data && ends) {
            self.ended(frame.stream);
        }
        let is_empty = frame.length == 0 && frame.flags & FrameHead::PADDED == 0;
        is_data && is_empty && !ends && self.open.binary_search(&frame.stream).is_ok()
    }

    /// Whether a block on a stream is its trailers: neither its head, nor one on a stream that has ended or was
    /// passed over, which the codec has to see as it is, to end the connection.
    fn are_trailers(&self, stream: u32) -> bool {
        stream <= self.unfollowed || self.open.binary_search(&stream).is_ok()
    }

    /// Follows a head, or trailers, which end their stream.
    fn opened(&mut self, first: FrameHead, are_trailers: bool) {
        let is_new = first.stream > self.last_stream;
        self.last_stream = self.last_stream.max(first.stream);
        if are_trailers {
            self.ended(first.stream);
        } else if is_new && !first.ends_stream() {
            if self.open.len() < limits::HTTP2_FOLLOWED_STREAMS {
                self.open.push_back(first.stream);
            } else {
                self.unfollowed = first.stream;
            }
        }
    }

    /// Takes what a client sent. Whether it goes to the codec as it is: if not, what does is put into
    /// `instead`.
    ///
    /// # Errors
    /// When it cannot be told any longer what the client asks for.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        instead: &mut BytesMut,
    ) -> Result<bool, Unreadable> {
        if let Some(stream) = self.lost {
            return Err(Unreadable::Block(stream));
        }
        if self.held.is_empty() {
            let walked = self.walk(bytes)?;
            if walked.done == bytes.len() && walked.veiled.is_empty() {
                return Ok(true);
            }
            self.held.extend_from_slice(walked.finish(bytes, instead));
        } else {
            self.held.extend_from_slice(bytes);
            let held = mem::take(&mut self.held);
            let walked = self.walk(&held)?;
            self.held = match walked.done {
                0 => held,
                _ => walked.finish(&held, instead).to_vec(),
            };
        }
        Ok(false)
    }

    fn walk(&mut self, bytes: &[u8]) -> Result<Walked, Unreadable> {
        let mut walked = Walked::default();
        loop {
            let rest = bytes.get(walked.done..).unwrap_or_default();
            let passed = self.skip.min(rest.len());
            self.skip -= passed;
            walked.done += passed;
            let rest = rest.get(passed..).unwrap_or_default();
            match self.next(rest)? {
                Next::Wait => return Ok(walked),
                Next::Other(length) => self.skip = length,
                Next::Head(length, veiled) => {
                    let from = walked.done;
                    walked.done += length;
                    walked
                        .veiled
                        .extend(veiled.map(|head| (from..walked.done, head)));
                }
            }
        }
    }

    fn next(&mut self, rest: &[u8]) -> Result<Next, Unreadable> {
        if self.long.is_some() {
            return self.next_of_long(rest);
        }
        match extent(rest, self.largest) {
            Extent::Whole(length) => {
                let veiled = self.head(rest.get(..length).unwrap_or_default())?;
                Ok(Next::Head(length, veiled))
            }
            Extent::Cut(frames) if rest.len() > self.most || frames > limits::HTTP2_HELD_FRAMES => {
                self.long = FrameHead::front(rest).map(|first| Long {
                    first,
                    left: Vec::new(),
                    are_trailers: self.are_trailers(first.stream),
                    has_unfit: false,
                });
                self.next_of_long(rest)
            }
            Extent::Cut(_) => Ok(Next::Wait),
            Extent::Other(length) => match FrameHead::front(rest) {
                Some(frame) if self.brings_nothing(frame) => {
                    Ok(Next::Head(length, Some(Vec::new())))
                }
                _ => Ok(Next::Other(length)),
            },
        }
    }

    /// Reads a whole head.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let Some((first, payload, mut rest)) = frame(bytes) else {
            return Ok(None);
        };
        let Some(block) = first.block(payload) else {
            // The codec does not read it either, and ends the stream or the connection.
            return Ok(None);
        };
        let mut block = Cow::Borrowed(block);
        while let Some((_, payload, behind)) = frame(rest) {
            block.to_mut().extend_from_slice(payload);
            rest = behind;
        }
        let (mut fields, mut odd) = (&*block, Odd::default());
        self.targets.read(&mut fields, &mut odd);
        if odd.has_empty_scheme {
            return Err(Unreadable::Scheme(first.stream));
        }
        self.lost = (!fields.is_empty()).then_some(first.stream);
        let is_cut = matches!(block, Cow::Owned(_));
        let are_trailers = self.are_trailers(first.stream);
        self.opened(first, are_trailers);
        let is_refused = are_trailers && odd.has_unfit;
        let veiled = (is_cut || are_trailers || !odd.strings.is_empty()).then(|| {
            let mut block = odd.veil(&block);
            if is_refused {
                block.extend_from_slice(REFUSED);
            } else if are_trailers && self.lost.is_none() {
                block.extend_from_slice(WHOLE_FIELD);
            }
            frames(first, &block)
        });
        if let Some(target) = odd.target {
            self.odd.add(first.stream, target)?;
        }
        Ok(veiled)
    }

    /// Reads a frame of a head that is too long to be held, and most likely to be served.
    fn next_of_long(&mut self, rest: &[u8]) -> Result<Next, Unreadable> {
        let Some(long) = &mut self.long else {
            return Ok(Next::Wait);
        };
        let Some((head, payload, behind)) = frame(rest) else {
            return Ok(match FrameHead::front(rest) {
                Some(head) if head.length as usize > self.largest => Next::Other(rest.len()),
                _ => Next::Wait,
            });
        };
        let block = head.block(payload).unwrap_or_default();
        long.left.extend_from_slice(block);
        let (mut fields, mut odd) = (&*long.left, Odd::default());
        self.targets.read(&mut fields, &mut odd);
        if odd.has_empty_scheme {
            return Err(Unreadable::Scheme(head.stream));
        }
        let is_read = fields.is_empty();
        long.left = fields.to_vec();
        long.has_unfit |= odd.has_unfit;
        let mut veiled = None;
        if head.ends_head() {
            self.lost = (!is_read).then_some(head.stream);
            // Without that they are refused, for more than these may have.
            let is_whole = long.are_trailers && !long.has_unfit && is_read;
            veiled = is_whole.then(|| head.whole(block));
            let (first, are_trailers) = (long.first, long.are_trailers);
            self.opened(first, are_trailers);
            self.long = None;
        }
        if let Some(target) = odd.target {
            self.odd.add(head.stream, target)?;
        }
        Ok(Next::Head(rest.len() - behind.len(), veiled))
    }
}

/// How far bytes were looked at, and what of them is to be replaced.
#[derive(Default)]
struct Walked {
    done: usize,
    veiled: Vec<(Range<usize>, Vec<u8>)>,
}

impl Walked {
    /// Passes on what is done of `bytes`; what is left.
    fn finish<'a>(&self, bytes: &'a [u8], instead: &mut BytesMut) -> &'a [u8] {
        let mut copied = 0;
        for (place, head) in &self.veiled {
            instead.extend_from_slice(bytes.get(copied..place.start).unwrap_or_default());
            instead.extend_from_slice(head);
            copied = place.end;
        }
        instead.extend_from_slice(bytes.get(copied..self.done).unwrap_or_default());
        bytes.get(self.done..).unwrap_or_default()
    }
}

/// How far a head reaches.
enum Extent {
    /// All of it is there, with so many bytes.
    Whole(usize),
    /// It is not, of so many frames at least.
    Cut(usize),
    /// The frame of so many bytes is none, or the codec ends the connection for it.
    Other(usize),
}

fn extent(bytes: &[u8], largest: usize) -> Extent {
    let (mut rest, mut frames) = (bytes, 0);
    let mut stream = None;
    loop {
        let Some(head) = FrameHead::front(rest) else {
            return Extent::Cut(frames);
        };
        let kind = match frames {
            0 => FrameHead::HEADERS,
            _ => FrameHead::CONTINUATION,
        };
        let length = HEAD + head.length as usize;
        let goes_on = *stream.get_or_insert(head.stream) == head.stream;
        if head.kind != kind || !goes_on || length > HEAD + largest {
            return Extent::Other(bytes.len() - rest.len() + length);
        }
        let Some(behind) = rest.get(length..) else {
            return Extent::Cut(frames);
        };
        if head.ends_head() {
            return Extent::Whole(bytes.len() - behind.len());
        }
        (rest, frames) = (behind, frames + 1);
    }
}

/// The frame at the front of `bytes`, its payload and what is behind it, if all of it is there.
fn frame(bytes: &[u8]) -> Option<(FrameHead, &[u8], &[u8])> {
    let head = FrameHead::front(bytes)?;
    let (payload, behind) = bytes.get(HEAD..)?.split_at_checked(head.length as usize)?;
    Some((head, payload, behind))
}

/// The head whose first frame is `first` with another field block; without padding, and without a
/// priority, which the codec reads over.
fn frames(first: FrameHead, block: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(block.len() + HEAD);
    let mut parts = parts(block).into_iter().peekable();
    let (mut kind, mut flags) = (FrameHead::HEADERS, first.flags & FrameHead::END_STREAM);
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= FrameHead::END_HEADERS;
        }
        let head = FrameHead {
            length: part.len() as u32,
            kind,
            flags,
            stream: first.stream,
        };
        bytes.extend(head.write());
        bytes.extend_from_slice(part);
        (kind, flags) = (FrameHead::CONTINUATION, 0);
    }
    bytes
}

/// The payloads of a head's frames, which end between fields. One that is larger than a frame has frames
/// of its own.
fn parts(block: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), block);
    while rest.len() > FRAME_BYTES {
        let mut end = 0;
        let field = loop {
            let fields = rest.get(end..).unwrap_or_default();
            let field = hpack::extent(fields).unwrap_or(fields.len());
            if end + field > FRAME_BYTES {
                break field;
            }
            end += field;
        };
        let at = if end > 0 { end } else { field };
        let Some((part, behind)) = rest.split_at_checked(at) else {
            break;
        };
        parts.extend(part.chunks(FRAME_BYTES));
        rest = behind;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(rest);
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::framed;

    const PADDED: u8 = FrameHead::PADDED;
    const PRIORITIZED: u8 = FrameHead::PRIORITIZED;

    fn head(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        framed(FrameHead::HEADERS, flags, stream, payload)
    }

    fn continuation(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        framed(FrameHead::CONTINUATION, flags, stream, payload)
    }

    /// GET, a target, which goes into the table, and a field.
    fn block(target: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x44, target.len() as u8];
        block.extend(target.as_bytes());
        block.extend([0x86, 0, 1, b'x', 1, b'#']);
        block
    }

    fn padded(padding: u8, block: &[u8]) -> Vec<u8> {
        let padding = vec![0xff; usize::from(padding)];
        [&[padding.len() as u8], block, &padding].concat()
    }

    fn prioritized(depends: u32, block: &[u8]) -> Vec<u8> {
        [&depends.to_be_bytes(), &[1][..], block].concat()
    }

    fn heads(most: usize) -> Heads {
        let mut heads = Heads::new(most, None, Rc::default());
        assert_eq!(heads.receive(PREFACE, &mut BytesMut::new()), Ok(true));
        heads
    }

    /// What the codec gets of bytes that come in pieces of this size.
    fn pass(heads: &mut Heads, bytes: &[u8], cut: usize) -> Result<Vec<u8>, Unreadable> {
        let mut passed = Vec::new();
        for piece in bytes.chunks(cut) {
            let mut instead = BytesMut::new();
            match heads.receive(piece, &mut instead)? {
                true => passed.extend(piece),
                false => passed.extend(&instead),
            }
        }
        Ok(passed)
    }

    fn taken(heads: &Heads, streams: &[u32]) -> Vec<Option<String>> {
        let text = |target: Rc<[u8]>| String::from_utf8(target.to_vec()).unwrap();
        let taken = streams
            .iter()
            .map(|stream| heads.odd.take(*stream).map(text));
        taken.collect()
    }

    #[test]
    fn frames_that_bring_nothing_do_not_reach_the_codec() {
        const DATA: u8 = FrameHead::DATA;
        let request = [0x83, 0x84, 0x86];
        let (post, get) = (head(4, 1, &request), head(5, 1, &request));
        let trailer = [0, 1, b't', 1, b'v'];
        let trailers = head(5, 1, &trailer);
        let whole = head(5, 1, &[&trailer, WHOLE_FIELD].concat());
        let empty = |stream| framed(DATA, 0, stream, b"");
        let (some, last) = (framed(DATA, 0, 1, b"a"), framed(DATA, 1, 1, b""));
        let reset = framed(FrameHead::RST_STREAM, 0, 1, &[0; 4]);
        let padding = framed(DATA, PADDED, 1, b"\x00");
        let (one, three, none) = (&empty(1), &empty(3), &empty(0));
        type Frames<'a> = &'a [&'a Vec<u8>];
        let table: &[(Frames<'_>, Frames<'_>)] = &[
            (&[&post, one, &some, one, &last], &[&post, &some, &last]),
            (&[&post, one, &trailers], &[&post, &whole]),
            // What the codec has to see: the windows that padding takes, and what may not come.
            (&[&post, &padding], &[&post, &padding]),
            (&[&post, three, none], &[&post, three, none]),
            (&[&post, &last, one], &[&post, &last, one]),
            (&[&post, &trailers, one], &[&post, &whole, one]),
            (&[&post, &reset, one], &[&post, &reset, one]),
            (&[&get, one], &[&get, one]),
            (&[one, &post], &[one, &post]),
        ];
        for (from, to) in table {
            let concat = |frames: Frames<'_>| frames.iter().copied().flatten().copied().collect();
            let (from, to): (Vec<u8>, Vec<u8>) = (concat(from), concat(to));
            for cut in 1..from.len() + 1 {
                let passed = pass(&mut heads(1000), &from, cut);
                assert_eq!(passed, Ok(to.clone()), "{from:x?} cut at {cut}");
            }
        }
        let mut heads = heads(1000);
        pass(&mut heads, &post, 99).unwrap();
        heads.ended(1);
        assert_eq!(
            pass(&mut heads, one, 99),
            Ok(one.clone()),
            "reset by this side"
        );
    }

    #[test]
    fn a_scheme_that_says_nothing_ends_the_connection() {
        for scheme in [
            &b"\x06\x00"[..],
            b"\x06\x80",
            b"\x47\x00",
            b"\x00\x07:scheme\x00",
        ] {
            let block = [&[0x82, 0x84], scheme].concat();
            let long = [
                continuation(0, 1, &[0x82; 10_000]),
                continuation(4, 1, scheme),
            ]
            .concat();
            let long = [head(1, 1, &[0x82; 10_000]), long].concat();
            for bytes in [head(5, 1, &block), long] {
                let passed = pass(&mut heads(0), &bytes, bytes.len());
                assert_eq!(passed, Err(Unreadable::Scheme(1)), "{scheme:x?}");
            }
        }
    }

    #[test]
    fn frames_are_as_large_as_settings_say() {
        let target = format!("/<{}", "a".repeat(100));
        let block = [&*block(&target), &vec![0x82; 17_000]].concat();
        let bytes = head(5, 1, &block);
        for (largest, is_seen) in [(None, false), (Some(16_384), false), (Some(20_000), true)] {
            let mut heads = Heads::new(60_000, largest, Rc::default());
            assert_eq!(heads.receive(PREFACE, &mut BytesMut::new()), Ok(true));
            for cut in [1000, bytes.len()] {
                let passed = pass(&mut heads, &bytes, cut).unwrap();
                // What goes to the codec in the place of a target fits into what it takes.
                assert_eq!(passed == bytes, !is_seen, "{largest:?}");
            }
            let expected = is_seen.then(|| target.clone());
            assert_eq!(taken(&heads, &[1]), [expected]);
        }
    }

    #[test]
    fn a_head_that_goes_on_on_another_stream_is_left_to_the_codec() {
        let whole = block("/a");
        let (first, rest) = whole.split_at(4);
        let (second, third) = rest.split_at(2);
        for other in [0, 3] {
            let bytes = [
                head(1, 1, first),
                continuation(0, 1, second),
                continuation(4, other, third),
            ];
            let bytes = bytes.concat();
            for cut in [1, 7, bytes.len()] {
                let passed = pass(&mut heads(1000), &bytes, cut);
                assert_eq!(passed.as_deref(), Ok(&*bytes), "{other}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_has_no_odd_target_goes_on_as_it_is(
            frames in prop::collection::vec(
                (0u8..9, 0u8..6, prop::sample::select(vec!["", "/", "/a?b", "/ccccccccc"])),
                0..30,
            ),
            cut in 1usize..70,
        ) {
            let mut bytes = Vec::new();
            for (stream, (kind, flags, target)) in (1..).zip(frames) {
                bytes.extend(framed(kind, flags, stream, &block(target)));
            }
            let mut heads = heads(0);
            let passed = pass(&mut heads, &bytes, cut).unwrap();
            prop_assert_eq!([passed, heads.held].concat(), bytes);
        }

        #[test]
        fn odd_targets_are_found_however_heads_are_cut(cut in 1usize..70, part in 1usize..9) {
            let long = block("/a#b");
            let (first, rest) = long.split_at(part);
            let (second, third) = rest.split_at(rest.len() / 2);
            let data = framed(0, 0, 1, &[b'"'; 40]);
            let bytes = [
                head(1, 1, first),
                continuation(0, 1, second),
                continuation(4, 1, third),
                data.clone(),
                head(4, 3, &block("/a")),
                head(4 | PADDED, 5, &padded(3, &block("/?q={\"a\":1}"))),
                head(5 | PRIORITIZED, 7, &prioritized(5, &block("/<>"))),
                head(5, 9, &[0x82, 0xbe]),
            ];
            let expected = [
                head(5, 1, &block("/a_b")),
                data,
                head(4, 3, &block("/a")),
                head(4, 5, &block("/?q={_a_:1}")),
                head(5, 7, &block("/__")),
                head(5, 9, &[0x82, 0xbe]),
            ];
            let mut heads = heads(0);
            let passed = pass(&mut heads, &bytes.concat(), cut).unwrap();
            prop_assert_eq!(passed, expected.concat());
            let found = taken(&heads, &[1, 3, 5, 7, 9]);
            let expected = ["/a#b", "", "/?q={\"a\":1}", "/<>", "/<>"];
            let expected = expected.map(|target| (!target.is_empty()).then(|| target.to_owned()));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_head_that_is_too_long_goes_on_as_it_is(cut in 1usize..5000, part in 1usize..9000) {
            let mut long = block("/<");
            // `cookie` as a literal without an index, of 40 000 bytes.
            long.extend([0x0f, 17, 0x7f, 0xc1, 0xb7, 0x02]);
            long.extend([b'c'; 40_000]);
            let mut bytes = head(1, 1, &long[..part]);
            let mut pieces = long[part..].chunks(9000).peekable();
            while let Some(piece) = pieces.next() {
                bytes.extend(continuation(4 * u8::from(pieces.peek().is_none()), 1, piece));
            }
            let next = head(5, 3, &[0x82, 0xbe]);
            let mut heads = heads(0);
            let most = heads.most + cut + FRAME_BYTES;
            let passed = pass(&mut heads, &bytes, cut).unwrap();
            prop_assert!(heads.held.capacity() <= 2 * most);
            prop_assert_eq!(passed, bytes);
            prop_assert_eq!(pass(&mut heads, &next, cut).unwrap(), next);
            prop_assert_eq!(taken(&heads, &[1, 3]), ["/<", "/<"].map(|target| Some(target.to_owned())));
        }
    }

    #[test]
    fn pseudo_header_fields_in_trailers_are_refused() {
        let indexed = [&[0x40, 2][..], b":x", &[1, b'y']].concat();
        let coded = [0, 0x82, 0xb9, 0xe7, 1, b'y'];
        for (trailers, is_refused) in [
            (&[0, 1, b't', 1, b':'][..], false),
            (&[0x84], true),
            (&[0x88], true),
            (&[0x8f], false),
            (&[0x04, 1, b'/'], true),
            (&[0x0f, 0, 1, b'x'], false),
            (&indexed, true),
            (&coded, true),
            // The target of the request, in the table.
            (&[0, 1, b't', 1, b'v', 0xbe], true),
            // What says that they are whole.
            (WHOLE_FIELD, true),
            (&[0x40, 1, b'"', 1, b'x'], true),
            (&[0, 0x82, 0xfe, 0x7f, 1, b'x'], true),
            (&[0, 2, b'"', b'"', 1, b'x'], false),
        ] {
            let mut heads = heads(0);
            let request = head(4, 1, &block("/a"));
            assert_eq!(pass(&mut heads, &request, 99), Ok(request));
            let expected = match is_refused {
                true => head(5, 1, &[trailers, REFUSED].concat()),
                false => head(5, 1, &[trailers, WHOLE_FIELD].concat()),
            };
            let passed = pass(&mut heads, &head(5, 1, trailers), 99);
            assert_eq!(passed, Ok(expected), "{trailers:x?}");
        }
    }

    #[test]
    fn what_comes_on_streams_that_are_over_reaches_the_codec_as_it_is() {
        const RESET: u8 = FrameHead::RST_STREAM;
        let request = |flags, stream| head(flags, stream, &block("/a"));
        let trailers = |stream| head(5, stream, &[0, 1, b't', 1, b'v']);
        let whole = |stream| head(5, stream, &[&[0, 1, b't', 1, b'v'], WHOLE_FIELD].concat());
        let long = [
            head(0, 1, &[0x90; 10_000]),
            continuation(0, 1, &[0x90; 10_000]),
            continuation(4, 1, &[0x90]),
        ]
        .concat();
        for before in [
            request(5, 1),
            [request(4, 1), framed(FrameHead::DATA, 1, 1, b"")].concat(),
            [request(4, 1), framed(RESET, 0, 1, &[0; 4])].concat(),
            // It was passed over.
            request(4, 3),
        ] {
            for late in [request(5, 1), request(4, 1), trailers(1), long.clone()] {
                let mut heads = heads(0);
                pass(&mut heads, &before, 9999).unwrap();
                assert_eq!(pass(&mut heads, &late, 1000), Ok(late.clone()), "{late:x?}");
            }
        }
        // A long head opens a stream as any other, and long trailers end it.
        let mut heads = heads(0);
        assert_eq!(pass(&mut heads, &long, 1000), Ok(long.clone()));
        assert_eq!(pass(&mut heads, &trailers(1), 99), Ok(whole(1)));
        assert_eq!(pass(&mut heads, &trailers(1), 99), Ok(trailers(1)));
    }

    #[test]
    fn trailers_of_streams_that_are_too_many_to_be_followed_are_told_to_be_whole() {
        let mut heads = heads(0);
        let last = 2 * limits::HTTP2_FOLLOWED_STREAMS as u32 + 1;
        for stream in (1..last + 1).step_by(2) {
            pass(&mut heads, &head(4, stream, &[0x82]), 99).unwrap();
        }
        assert_eq!(heads.open.len(), limits::HTTP2_FOLLOWED_STREAMS);
        for stream in [1, last] {
            let trailers = head(5, stream, &[0x90]);
            let whole = head(5, stream, &[&[0x90], WHOLE_FIELD].concat());
            assert_eq!(pass(&mut heads, &trailers, 99), Ok(whole));
        }
    }

    #[test]
    fn trailers_that_are_too_long_to_be_held_are_whole_or_refused() {
        const FIELD: u8 = 0x90;
        let request = head(4, 1, &block("/a"));
        for (first, last, is_whole) in [
            (FIELD, &[FIELD; 3][..], true),
            (FIELD, &[FIELD; FRAME_BYTES], true),
            (0x84, &[FIELD; 3], false),
            (FIELD, &[FIELD, 0x84], false),
            (FIELD, &[FIELD, 0x40], false),
        ] {
            let before = [
                head(1, 1, &[first; 10_000]),
                continuation(0, 1, &[FIELD; 10_000]),
            ];
            let before = before.concat();
            let expected = match (is_whole, last.len()) {
                (false, _) => continuation(4, 1, last),
                (true, FRAME_BYTES) => {
                    [continuation(0, 1, last), continuation(4, 1, WHOLE_FIELD)].concat()
                }
                (true, _) => continuation(4, 1, &[last, WHOLE_FIELD].concat()),
            };
            let trailers = [&*before, &continuation(4, 1, last)].concat();
            let mut heads = heads(0);
            pass(&mut heads, &request, 99).unwrap();
            let passed = pass(&mut heads, &trailers, 1000).unwrap();
            assert_eq!(passed, [before, expected].concat(), "{first:x} {is_whole}");
        }
    }

    #[test]
    fn frames_of_a_head_end_between_fields() {
        let field = |length: usize| {
            let mut field = vec![0, 1, b'x', 0x7f];
            let mut rest = length - 127;
            while rest >= 0x80 {
                field.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            field.push(rest as u8);
            field.extend(vec![b'v'; length]);
            field
        };
        let (small, half, large) = (field(200), field(9000), field(40_000));
        let block = [&*small, &half, &half, &large, &small].concat();
        let lengths: Vec<usize> = parts(&block).iter().map(|part| part.len()).collect();
        let expected = [
            small.len() + half.len(),
            half.len(),
            FRAME_BYTES,
            FRAME_BYTES,
            large.len() - 2 * FRAME_BYTES,
            small.len(),
        ];
        assert_eq!(lengths, expected);
        assert_eq!(parts(&block).concat(), block);
        assert_eq!(parts(&small), [&*small]);
    }

    #[test]
    fn a_block_larger_than_a_frame_is_written_in_several() {
        let mut long = block("/<");
        long.extend([0x0f, 17, 0x7f, 0xa1, 0x9b, 0x01]);
        long.extend([b'c'; 20_000]);
        let (first, second) = long.split_at(12_000);
        let bytes = [head(1, 1, first), continuation(4, 1, second)].concat();
        let passed = pass(&mut heads(60_000), &bytes, bytes.len()).unwrap();
        let (second, third) = long[block("/<").len()..].split_at(FRAME_BYTES);
        let expected = [
            head(1, 1, &block("/_")),
            continuation(0, 1, second),
            continuation(4, 1, third),
        ];
        assert_eq!(passed, expected.concat());
    }

    #[test]
    fn a_block_that_the_codec_does_not_read_is_not_read() {
        let itself = head(5 | PRIORITIZED, 1, &prioritized(1, &block("/#")));
        let unread = [
            itself,
            head(5 | PADDED, 3, &[]),
            head(5 | PRIORITIZED, 3, &[]),
            head(5 | PADDED, 5, &[9, 0x82]),
        ]
        .concat();
        let mut heads = heads(0);
        assert_eq!(pass(&mut heads, &unread, 99), Ok(unread));
        // The field that they had is in nobody's table.
        let missing = head(5, 7, &[0xbe]);
        assert_eq!(pass(&mut heads, &missing, 99), Ok(missing));
        assert_eq!(pass(&mut heads, &[0], 1), Err(Unreadable::Block(7)));
    }

    #[test]
    fn frames_that_the_codec_refuses_go_on_to_it() {
        let half = head(0, 1, &block("/")[..4]);
        let large = FrameHead {
            length: FRAME_BYTES as u32 + 1,
            kind: FrameHead::HEADERS,
            flags: 5,
            stream: 1,
        };
        for bytes in [
            continuation(4, 1, &block("/")),
            [half.clone(), framed(6, 0, 0, &[0; 8])].concat(),
            [half.clone(), large.write().to_vec()].concat(),
            large.write().to_vec(),
            [half, continuation(0, 1, &[]).repeat(100)].concat(),
        ] {
            assert_eq!(pass(&mut heads(0), &bytes, 7), Ok(bytes));
        }
    }

    #[test]
    fn targets_of_streams_that_are_never_served_do_not_add_up() {
        let mut heads = heads(0);
        let mut odd = |at: usize| {
            let head = head(5, at as u32 * 2 + 1, &block("/#"));
            pass(&mut heads, &head, 99).map(drop)
        };
        for at in 0..limits::HTTP2_ODD_TARGETS {
            odd(at).unwrap();
        }
        let last = 2 * limits::HTTP2_ODD_TARGETS as u32 + 1;
        let refused = Err(Unreadable::Targets(last));
        assert_eq!(odd(limits::HTTP2_ODD_TARGETS), refused);
        assert_eq!(taken(&heads, &[9999]), [None]);
        assert_eq!(heads.odd.0.borrow().bytes, 0);
        let large = block(&format!("/{}", "<".repeat(100)));
        let mut odd = |at: usize| pass(&mut heads, &head(5, at as u32, &large), 999).map(drop);
        let refused = (10_001..)
            .step_by(2)
            .map(&mut odd)
            .take(20_000)
            .find(Result::is_err);
        assert!(matches!(refused, Some(Err(Unreadable::Targets(_)))));
    }
}
