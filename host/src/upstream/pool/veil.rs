//! What of an upstream's frames the codec gets in another form, as it would take them amiss.
//!
//! It holds an answer to the length that its head says, unless that head ends the stream: a 304 whose end comes by itself
//! is reset, though it says the length of another answer (RFC 9110 §8.6). And it ends a connection on which a hundred
//! frames without content have come, however many streams there were. Owns that the former reach it as a reset with a code
//! of our own ([`BARE_END`]), which `http::received` takes for the end, and the latter not at all: `frames::watch` has
//! counted them. Trailers reach it with a field behind them by which they are known to be whole. A limit of no streams at all would keep back for ever what was given to the connection and has not gone:
//! the codec is told of one that lets that go, which has crossed the limit then. Does not own which answers there are
//! ([`super::answers`]), nor that nothing more is given to such a connection (`http2`). Called by `watched`.

use bytes::BytesMut;
use tokio::io::ReadBuf;

use super::answers::Come;
use crate::frames::custom::{ENTRY, MAX_CONCURRENT_STREAMS};
use crate::frames::{BARE_END, FrameHead, HEAD, Step, hand_over};

/// Where in a frame its flags are.
const FLAGS: usize = 4;

/// Follows what has come on one connection.
#[derive(Debug, Default)]
pub(super) struct Veil {
    /// The beginning of a frame's head that may have to be changed.
    held: Vec<u8>,
    /// What is known of a padded frame of an answer without content, while it comes. Where it is the last, the codec
    /// is not to see that.
    padded: Option<Padded>,
    /// What is to be changed of what has come.
    changes: Vec<Change>,
    /// What the codec gets in place of what has come.
    ready: BytesMut,
}

/// How much of a padded frame is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padded {
    /// Its head.
    Begun,
    /// That there is no content in it.
    Empty,
}

/// Other bytes for some of what has come.
#[derive(Debug)]
struct Change {
    /// How many bytes are behind them.
    behind: usize,
    length: usize,
    to: Vec<u8>,
}

impl Veil {
    /// Whether it has put what the codec gets next into `into`.
    pub(super) fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        hand_over(&mut self.ready, into);
        true
    }

    /// Whether a frame has begun whose payload it has to see.
    pub(super) const fn is_looking(&self) -> bool {
        self.padded.is_some()
    }

    /// Looks at a step with so many bytes behind it, of a frame of content; `come` is what had come of that stream's
    /// answer. Whether it brings content to one that has none, which the codec has to see as it is.
    pub(super) fn look(&mut self, step: Step<'_>, behind: usize, come: Option<Come>) -> bool {
        match step {
            Step::Head(frame) => self.begin(frame, behind, come),
            Step::Payload(frame, part, is_last) => {
                if let (Some(Padded::Begun), Some(padding)) = (self.padded, part.first()) {
                    let has_content = frame.length > 1 + u32::from(*padding);
                    self.padded = (!has_content).then_some(Padded::Empty);
                    if has_content {
                        return true;
                    }
                }
                if is_last && self.padded.take() == Some(Padded::Empty) && frame.ends_stream() {
                    self.change(behind, 0, end_of(frame.stream));
                }
                false
            }
        }
    }

    /// Looks at settings with so many bytes behind them, while so many streams are under way or are to go.
    pub(super) fn look_at_settings(&mut self, payload: &[u8], behind: usize, active: u32) {
        let [a, b] = MAX_CONCURRENT_STREAMS.to_be_bytes();
        let mut rest = payload;
        while let Some((entry, next)) = rest.split_first_chunk::<ENTRY>() {
            rest = next;
            if *entry == [a, b, 0, 0, 0, 0] && active > 0 {
                let most = active.to_be_bytes();
                self.change(behind + rest.len(), most.len(), most.to_vec());
            }
        }
    }

    fn begin(&mut self, frame: FrameHead, behind: usize, come: Option<Come>) -> bool {
        let (is_bare, ends) = (come == Some(Come::Bare), frame.ends_stream());
        let has_begun = is_bare || come == Some(Come::Head);
        self.padded = None;
        match (frame.flags & FrameHead::PADDED != 0, frame.length) {
            (false, 0) if is_bare && ends => self.change(behind, HEAD, end_of(frame.stream)),
            (false, 0) if has_begun && !ends => self.change(behind, HEAD, Vec::new()),
            (false, 1..) => return is_bare,
            // Padding counts for the windows.
            (true, 1..) if is_bare => {
                self.padded = Some(Padded::Begun);
                let flags = frame.flags & !FrameHead::END_STREAM;
                if ends {
                    self.change(behind + HEAD - FLAGS - 1, 1, vec![flags]);
                }
            }
            _ => {}
        }
        false
    }

    /// Lets the codec get something else than a step with so many bytes behind it.
    pub(super) fn replace(&mut self, step: Step<'_>, behind: usize, to: Vec<u8>) {
        let length = match step {
            Step::Head(_) => HEAD,
            Step::Payload(_, part, _) => part.len(),
        };
        self.change(behind, length, to);
    }

    fn change(&mut self, behind: usize, length: usize, to: Vec<u8>) {
        self.changes.push(Change { behind, length, to });
    }

    /// Takes what was looked at, where the codec is not to get it as it is: whether that is so. `cut` is the
    /// beginning of a frame's head at its end; `has_bare` says that there are answers whose end may come with it.
    pub(super) fn take(&mut self, read: &[u8], cut: &[u8], has_bare: bool) -> bool {
        let may_change = has_bare || may_be_empty(cut) || may_end_trailers(cut);
        // What is held at the end of the connection goes to the codec, which ends it.
        let held = if may_change && !read.is_empty() {
            cut.len()
        } else {
            0
        };
        if self.changes.is_empty() && self.held.is_empty() && held == 0 {
            return false;
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(read);
        let mut copied = 0;
        for Change { behind, length, to } in self.changes.drain(..) {
            let end = whole.len().saturating_sub(behind);
            let kept = whole.get(copied..end.saturating_sub(length));
            self.ready.extend_from_slice(kept.unwrap_or_default());
            self.ready.extend_from_slice(&to);
            copied = end;
        }
        let rest = whole.get(copied..).unwrap_or_default();
        let (now, later) = rest.split_at(rest.len().saturating_sub(held));
        self.ready.extend_from_slice(now);
        self.held.extend_from_slice(later);
        true
    }
}

/// Whether it may be the beginning of a frame of content that has none and is not the last.
fn may_be_empty(cut: &[u8]) -> bool {
    let front = cut.get(..FLAGS).unwrap_or(cut);
    let may_end = |flags: &u8| flags & FrameHead::END_STREAM != 0;
    !cut.is_empty() && front.iter().all(|byte| *byte == 0) && !cut.get(FLAGS).is_some_and(may_end)
}

/// Whether it may be the beginning of the last frame of trailers.
fn may_end_trailers(cut: &[u8]) -> bool {
    let may_end = |flags: &u8| flags & FrameHead::END_HEADERS != 0;
    match cut.get(FLAGS - 1..) {
        Some([FrameHead::HEADERS | FrameHead::CONTINUATION, behind @ ..]) => {
            behind.first().is_none_or(may_end)
        }
        Some([_, ..]) => false,
        _ => !cut.is_empty(),
    }
}

/// What the codec gets for the end of an answer without content.
fn end_of(stream: u32) -> Vec<u8> {
    let head = FrameHead {
        length: size_of_val(&BARE_END) as u32,
        kind: FrameHead::RST_STREAM,
        flags: 0,
        stream,
    };
    [&head.write()[..], &BARE_END.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::{Walk, framed};
    use crate::upstream::pool::answers::Answers;

    const DATA: u8 = FrameHead::DATA;
    const END_STREAM: u8 = FrameHead::END_STREAM;
    const PADDED: u8 = FrameHead::PADDED;

    fn head(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
        framed(
            FrameHead::HEADERS,
            FrameHead::END_HEADERS | flags,
            stream,
            block,
        )
    }

    /// What the codec gets of bytes that come in pieces of this size, for requests on streams 1 to 7.
    fn pass(bytes: &[u8], cut: usize, room: usize) -> Vec<u8> {
        let mut walk = Walk::behind(0);
        let (mut answers, mut veil) = (Answers::new(1000, 4096), Veil::default());
        for stream in [1, 3, 5, 7] {
            answers.asked(stream);
        }
        let mut passed = Vec::new();
        for read in bytes.chunks(cut).chain([&[][..]]) {
            let mut rest = read;
            while let Some(step) = walk.step(&mut rest) {
                let (Step::Head(frame) | Step::Payload(frame, ..)) = step;
                if frame.kind == DATA && veil.look(step, rest.len(), answers.come(frame.stream)) {
                    answers.has_content(frame.stream);
                }
                if let Some(instead) = answers.instead(step) {
                    veil.replace(step, rest.len(), instead);
                }
                answers.look(step).unwrap();
            }
            if !veil.take(read, walk.cut_head(), answers.has_bare()) {
                passed.extend(read);
            }
            loop {
                let mut buffer = vec![0; room];
                let mut into = ReadBuf::new(&mut buffer);
                if !veil.give(&mut into) {
                    break;
                }
                passed.extend(into.filled());
            }
        }
        passed
    }

    #[test]
    fn the_codec_sees_nothing_that_it_takes_amiss() {
        let ok = head(0, 1, &[0x88]);
        let not_modified = [
            head(0, 3, &[0x8b]),
            head(0, 3, b"\x08\x03304"),
            head(0, 3, b"\x08\x83\x64\x0d\x7f"),
        ];
        let reset = end_of(3);
        let other = head(END_STREAM, 5, &[0x88]);
        let ping = framed(6, 0, 0, b"12345678");
        let empty = |stream| framed(DATA, 0, stream, b"");
        let end = |stream| framed(DATA, END_STREAM, stream, b"");
        for bare in not_modified {
            let mut table: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let mut becomes = |from: &[&Vec<u8>], to: &[&Vec<u8>]| {
                let concat = |parts: &[&Vec<u8>]| -> Vec<u8> {
                    parts.iter().flat_map(|part| part.iter().copied()).collect()
                };
                table.push((concat(from), concat(to)));
            };
            becomes(
                &[&bare, &other, &end(3), &ping],
                &[&bare, &other, &reset, &ping],
            );
            becomes(&[&bare, &empty(3), &end(3)], &[&bare, &reset]);
            let padding = |flags| framed(DATA, flags | PADDED, 3, b"\x03abc");
            let padded = padding(0);
            becomes(
                &[&bare, &padding(END_STREAM), &ping],
                &[&bare, &padded, &reset, &ping],
            );
            // Content is for the codec, or who reads it, to refuse.
            for content in [b"abc", &b"\x02abc"[..]] {
                let padded = if content.len() > 3 { PADDED } else { 0 };
                let content = |flags| framed(DATA, flags | padded, 3, content);
                let (some, last) = (content(0), content(END_STREAM));
                becomes(&[&bare, &some, &end(3)], &[&bare, &some, &end(3)]);
                let passed = if padded == 0 { &last } else { &some };
                becomes(&[&bare, &last, &ping], &[&bare, passed, &ping]);
            }
            // What the codec has to see: the second end, and what comes in front of an answer.
            becomes(&[&bare, &end(3), &end(3)], &[&bare, &reset, &end(3)]);
            becomes(&[&empty(1), &end(3)], &[&empty(1), &end(3)]);
            becomes(&[&empty(9), &empty(0)], &[&empty(9), &empty(0)]);
            // Others end as they do, and frames without content are nothing.
            let some = framed(DATA, 0, 1, b"abc");
            becomes(&[&ok, &some, &end(1)], &[&ok, &some, &end(1)]);
            becomes(
                &[&ok, &empty(1), &some, &empty(1), &end(1)],
                &[&ok, &some, &end(1)],
            );
            becomes(&[&ok, &end(1), &empty(1)], &[&ok, &end(1), &empty(1)]);
            let nothing = framed(DATA, PADDED, 1, b"\x00");
            becomes(&[&ok, &nothing, &ping], &[&ok, &nothing, &ping]);
            for (from, to) in table {
                for cut in 1..from.len() + 1 {
                    for room in [1, 7, 1000] {
                        assert_eq!(pass(&from, cut, room), to, "{from:x?} cut at {cut}");
                    }
                }
            }
        }
    }

    #[test]
    fn trailers_are_known_to_be_whole() {
        const WHOLE: &[u8] = b"\0\x01\"\0";
        let ok = head(0, 1, &[0x88]);
        let bare = head(0, 3, &[0x8b]);
        let (one, two) = (&b"\0\x01t\x01v"[..], &b"\x40\x01u\x01w\xbe"[..]);
        let trailers = |flags, stream, block: &[u8]| head(END_STREAM | flags, stream, block);
        let part = |block| framed(FrameHead::HEADERS, END_STREAM, 1, block);
        let more = |flags, block| framed(FrameHead::CONTINUATION, flags, 1, block);
        let whole = [one, WHOLE].concat();
        let ping = framed(6, 0, 0, b"12345678");
        let padded = [&[3][..], one, b"abc"].concat();
        let large = vec![0x90; 16_381];
        for (from, to) in [
            (trailers(0, 1, one), trailers(0, 1, &whole)),
            (trailers(0, 1, &[]), trailers(0, 1, WHOLE)),
            (trailers(PADDED, 1, &padded), trailers(0, 1, &whole)),
            (trailers(0, 3, one), trailers(0, 3, &whole)),
            (
                [part(one), more(0, one), more(FrameHead::END_HEADERS, two)].concat(),
                [
                    part(one),
                    more(0, one),
                    more(FrameHead::END_HEADERS, &[two, WHOLE].concat()),
                ]
                .concat(),
            ),
            (
                trailers(0, 1, &large),
                [part(&large), more(FrameHead::END_HEADERS, WHOLE)].concat(),
            ),
            // What is no end of trailers: the codec has to see it.
            (head(0, 1, one), head(0, 1, one)),
            (trailers(0, 5, &[0x88]), trailers(0, 5, &[0x88])),
            (trailers(0, 9, one), trailers(0, 9, one)),
            (trailers(PADDED, 1, b"\x09a"), trailers(PADDED, 1, b"\x09a")),
        ] {
            let with = |frames| [&ok, &bare, frames, &ping].map(|part| &**part).concat();
            let (from, to) = (with(&from), with(&to));
            for cut in (1..30).chain([from.len()]) {
                for room in [7, 100_000] {
                    assert_eq!(pass(&from, cut, room), to, "{from:x?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_limit_of_no_streams_lets_go_what_was_given_out() {
        let says = |most: u32| {
            let entries = [(4, 70_000), (3, most), (3, most), (6, 0)];
            let bytes = entries
                .into_iter()
                .flat_map(|(identifier, value): (u16, u32)| {
                    [&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat()
                });
            bytes.collect::<Vec<u8>>()
        };
        for (most, active, passed) in [(0, 0, 0), (0, 3, 3), (1, 3, 1), (256, 3, 256)] {
            let mut veil = Veil::default();
            let read = [b"before ", &says(most)[..], b" behind"].concat();
            veil.look_at_settings(&says(most), b" behind".len(), active);
            assert_eq!(veil.take(&read, b"", false), most != passed);
            if most != passed {
                let expected = [b"before ", &says(passed)[..], b" behind"].concat();
                assert_eq!(veil.ready, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn all_else_comes_as_it_is(
            frames in prop::collection::vec((2u8..10, any::<u8>(), 0u32..9, 0usize..12), 0..30),
            rest in 0usize..9,
            cut in 1usize..20,
        ) {
            let mut bytes = Vec::new();
            for (kind, flags, stream, length) in frames {
                bytes.extend(framed(kind, flags, stream, &vec![0; length]));
            }
            bytes.extend(vec![0; rest]);
            prop_assert_eq!(pass(&bytes, cut, 5), bytes);
        }
    }
}
