//! Targets of requests that the codec has no place for, on their way to an upstream.
//!
//! Owns those that wait for their heads ([`LongTargets`]), and the bytes of a connection while there are any
//! ([`Rewriting`]): the codec says [`STAND_IN`], and each goes into its head in place of that. A head is held back for it
//! until it is whole. The tables of both sides stay the same, as neither form of the field goes into one. Does not own
//! which targets these are (`http`). Called by `tapped`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::{FRAME_BYTES, FrameHead, Step, Walk, hpack};
use crate::limits;

/// What the codec is told in place of such a target.
pub(crate) const STAND_IN: &str = "/";
/// The same in a field block (RFC 7541 appendix A).
const STOOD_IN: &[u8] = &[0x84];
/// What the field begins with whose value is the true one: in no table, its name the fourth of them all.
const NAME: u8 = 4;

/// Those of a connection that wait for their heads, by their streams.
#[derive(Debug, Default)]
pub(crate) struct LongTargets(RefCell<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    targets: VecDeque<(u32, Box<str>)>,
    bytes: usize,
}

impl LongTargets {
    /// Whether another one may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.0.borrow().bytes < limits::HTTP2_LONG_TARGET_BYTES
    }

    /// The head of `stream`, which is to be sent, has this one. Streams are opened in order.
    pub(crate) fn add(&self, stream: u32, target: Box<str>) {
        let mut waiting = self.0.borrow_mut();
        waiting.bytes += target.len();
        waiting.targets.push_back((stream, target));
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().targets.is_empty()
    }

    /// That of `stream`, whose head goes now; those in front of it belong to streams that were given up before
    /// theirs went.
    fn take(&self, stream: u32) -> Option<Box<str>> {
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
}

/// What a connection says while targets wait.
#[derive(Debug)]
pub(crate) struct Rewriting {
    targets: Rc<LongTargets>,
    walk: Walk,
    /// How many bytes of the next frame's head the transport has already.
    gone: usize,
    /// The first frame of a head that comes, its target, and the block so far.
    head: Option<(FrameHead, Box<str>, Vec<u8>)>,
    /// What the transport is to take.
    out: Vec<u8>,
    /// How much of that it has taken.
    written: usize,
}

impl Rewriting {
    /// Goes on behind what `walk` has seen.
    pub(crate) fn new(targets: Rc<LongTargets>, walk: Walk) -> Self {
        Self {
            targets,
            gone: walk.cut_head().len(),
            walk,
            head: None,
            out: Vec::new(),
            written: 0,
        }
    }

    /// Takes what the codec says next.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while let Some(step) = self.walk.step(&mut bytes) {
            match step {
                Step::Head(frame) => self.begin(frame),
                Step::Payload(frame, part, is_last) => match &mut self.head {
                    Some((_, _, block)) => {
                        block.extend_from_slice(part);
                        if is_last && frame.ends_head() {
                            self.finish();
                        }
                    }
                    None => self.out.extend_from_slice(part),
                },
            }
        }
    }

    fn begin(&mut self, frame: FrameHead) {
        if frame.kind == FrameHead::HEADERS
            && let Some(target) = self.targets.take(frame.stream)
        {
            self.head = Some((frame, target, Vec::new()));
        }
        let gone = std::mem::take(&mut self.gone);
        if self.head.is_none() {
            let head = frame.write();
            self.out
                .extend_from_slice(head.get(gone..).unwrap_or_default());
        }
    }

    /// Says a whole head with its true target.
    fn finish(&mut self) {
        let Some((first, target, block)) = self.head.take() else {
            return;
        };
        let block = with_target(&block, target.as_bytes());
        let (mut kind, mut flags) = (FrameHead::HEADERS, first.flags & FrameHead::END_STREAM);
        let mut parts = block.chunks(FRAME_BYTES).peekable();
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
            self.out.extend_from_slice(&head.write());
            self.out.extend_from_slice(part);
            (kind, flags) = (FrameHead::CONTINUATION, 0);
        }
    }

    /// What the transport is to take next.
    pub(super) fn waiting(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// Notes that it has taken some of that.
    pub(super) fn sent(&mut self, count: usize) {
        self.written += count;
        if self.waiting().is_empty() {
            self.out = Vec::new();
            self.written = 0;
        }
    }

    /// Whether all has gone, and no more of it is to be written otherwise.
    pub(super) fn is_over(&self) -> bool {
        self.head.is_none() && self.out.is_empty() && self.targets.is_empty()
    }
}

/// A field block with `target` in place of what stands in for it.
fn with_target(block: &[u8], target: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(block.len() + target.len() + 8);
    let mut rest = block;
    while let Some(length) = hpack::extent(rest)
        && let Some((field, behind)) = rest.split_at_checked(length)
    {
        rest = behind;
        if field == STOOD_IN {
            whole.push(NAME);
            hpack::text(target, &mut whole);
            break;
        }
        whole.extend_from_slice(field);
    }
    whole.extend_from_slice(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::framed;

    const DATA: u8 = FrameHead::DATA;
    const HEADERS: u8 = FrameHead::HEADERS;
    const CONTINUATION: u8 = FrameHead::CONTINUATION;
    const END_STREAM: u8 = FrameHead::END_STREAM;
    const END_HEADERS: u8 = FrameHead::END_HEADERS;

    /// What goes of bytes that come in pieces of this size, where the transport takes so many at once.
    fn rewritten(bytes: &[u8], targets: &[(u32, &str)], cut: usize, room: usize) -> Vec<u8> {
        let waiting = Rc::<LongTargets>::default();
        for (stream, target) in targets {
            waiting.add(*stream, (*target).into());
        }
        let mut rewriting = Rewriting::new(Rc::clone(&waiting), Walk::behind(0));
        let mut gone = Vec::new();
        for part in bytes.chunks(cut) {
            rewriting.take(part);
            while !rewriting.waiting().is_empty() {
                let part = &rewriting.waiting()[..room.min(rewriting.waiting().len())];
                gone.extend_from_slice(part);
                let count = part.len();
                rewriting.sent(count);
            }
        }
        assert!(rewriting.is_over());
        gone
    }

    #[test]
    fn a_target_comes_in_place_of_what_stands_in_for_it() {
        let front = &b"\x82\x86\x41\x01\x84"[..];
        let behind = &b"\x00\x01\x84\x01\x84\x84"[..];
        let block = [front, STOOD_IN, behind].concat();
        let true_one = [front, b"\x04\x03/ab", behind].concat();
        let ping = framed(6, 0, 0, b"12345678");
        let other = framed(HEADERS, END_HEADERS, 5, &block);
        let data = framed(DATA, END_STREAM, 3, STOOD_IN);
        let head = framed(HEADERS, END_HEADERS, 3, &block);
        let (begun, more) = block.split_at(4);
        let in_two = [
            framed(HEADERS, END_STREAM, 3, begun),
            framed(CONTINUATION, END_HEADERS, 3, more),
        ]
        .concat();
        let target = |flags| framed(HEADERS, END_HEADERS | flags, 3, &true_one);
        // Trailers, which are another head of the stream.
        let trailers = framed(HEADERS, END_HEADERS | END_STREAM, 3, &block);
        for (from, to) in [
            (
                [&ping, &head, &data, &other],
                [&ping, &target(0), &data, &other],
            ),
            (
                [&head, &trailers, &other, &ping],
                [&target(0), &trailers, &other, &ping],
            ),
            (
                [&in_two, &other, &ping, &ping],
                [&target(END_STREAM), &other, &ping, &ping],
            ),
        ] {
            let (from, to) = (from.map(|part| &**part), to.map(|part| &**part));
            let (from, to) = (from.concat(), to.concat());
            for cut in 1..=from.len() {
                for room in [1, 1000] {
                    // That of the first was given up.
                    let targets = [(1, "/gone"), (3, "/ab")];
                    assert_eq!(rewritten(&from, &targets, cut, room), to, "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn no_more_wait_than_may() {
        let waiting = LongTargets::default();
        let half = || "/".repeat(limits::HTTP2_LONG_TARGET_BYTES / 2);
        for stream in [1, 3] {
            assert!(waiting.has_room());
            waiting.add(stream, half().into());
        }
        assert!(!waiting.has_room());
        assert!(waiting.take(1).is_some() && waiting.has_room());
        // Those in front of the one that goes were given up.
        waiting.add(5, half().into());
        assert!(waiting.take(7).is_none() && waiting.is_empty());
        assert_eq!(waiting.0.borrow().bytes, 0);
    }

    #[test]
    fn a_head_that_is_larger_than_a_frame_goes_in_several() {
        let target = format!("/{}", "a".repeat(70_000));
        let head = framed(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x84\x86");
        let whole = rewritten(&head, &[(1, &target)], 1000, 1000);
        let mut block = b"\x82\x04".to_vec();
        hpack::text(target.as_bytes(), &mut block);
        block.push(0x86);
        let mut expected = Vec::new();
        let parts: Vec<&[u8]> = block.chunks(FRAME_BYTES).collect();
        for (at, part) in parts.iter().enumerate() {
            let kind = if at == 0 { HEADERS } else { CONTINUATION };
            let end = if at == 0 { END_STREAM } else { 0 };
            let last = if at + 1 == parts.len() {
                END_HEADERS
            } else {
                0
            };
            expected.extend(framed(kind, end | last, 1, part));
        }
        assert!(whole == expected);
        // Shorter in the code, in which these have five bits.
        let text = hpack::Rest(&block[2..]).text().unwrap();
        assert_eq!(text.bytes.len(), 70_000 * 5 / 8 + 1);
        assert!(*text.read().unwrap() == *target.as_bytes());
    }

    #[test]
    fn a_frame_that_has_gone_in_part_goes_once() {
        let other = framed(HEADERS, END_HEADERS, 1, b"\x82\x86\x01");
        let head = framed(HEADERS, END_HEADERS, 3, b"\x82\x84\x86");
        let told = framed(HEADERS, END_HEADERS, 3, b"\x82\x04\x03/ab\x86");
        let bytes = [&other[..], &head].concat();
        for gone in 0..other.len() {
            let mut walk = Walk::behind(0);
            let (mut before, rest) = bytes.split_at(gone);
            let mut wire = before.to_vec();
            while walk.step(&mut before).is_some() {}
            let targets = Rc::<LongTargets>::default();
            targets.add(3, "/ab".into());
            let mut rewriting = Rewriting::new(targets, walk);
            rewriting.take(rest);
            wire.extend_from_slice(rewriting.waiting());
            assert_eq!(wire, [&other[..], &told].concat(), "{gone}");
        }
    }
}
