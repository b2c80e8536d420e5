//! What an upstream may not answer over HTTP/2, and the codec takes all the same.
//!
//! The codec leaves pseudo-header fields of requests out of a response, and `:status` out of trailers, and
//! forgets what it saw in a frame that ends inside of a field; such a response would be served. Owns the look
//! at field blocks on their way to the codec, with as much of the table of indexed fields as that takes: where in it
//! there are fields that may not stand anywhere; and what has come of which answer. Does not own what the codec
//! refuses itself, what it takes amiss (`veil`), nor the limits on frames (`frames::watch`). Called by `watched`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;

use crate::frames::hpack::{Rest, Text, form};
use crate::frames::watch::Fault;
use crate::frames::{FrameHead, Step};
use crate::limits;

/// Follows the answers of one connection.
#[derive(Debug)]
pub(super) struct Answers {
    most: usize,
    /// What has come of the payload of this frame, where it has a part of a block and did not come at once.
    payload: Vec<u8>,
    /// The parts of a block whose last is to come; none where it has not begun.
    block: Option<Vec<u8>>,
    /// Whether the stream ends with the block that has begun.
    is_last: bool,
    /// Streams that wait for an answer, or for its end, in the order of their numbers.
    open: VecDeque<(u32, Come)>,
    /// How many of them have [`Come::Bare`].
    bare: usize,
    /// The last one that was asked on.
    last: u32,
    table: Table,
}

/// What has come of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Come {
    /// No head that is final.
    Nothing,
    /// Its head: another one are its trailers.
    Head,
    /// The head of one that has no content, whatever length it says.
    Bare,
}

impl Answers {
    /// For heads of at most `most` bytes and a table of indexed fields of so many.
    pub(super) fn new(most: u32, table: u32) -> Self {
        Self {
            most: most as usize,
            payload: Vec::new(),
            block: None,
            is_last: false,
            open: VecDeque::new(),
            bare: 0,
            last: 0,
            table: Table::new(table),
        }
    }

    /// Requests without a whole answer.
    pub(super) fn open_streams(&self) -> usize {
        self.open.len()
    }

    /// What has come of the answer on a stream; none where its end has, or nobody waits for it.
    pub(super) fn come(&self, stream: u32) -> Option<Come> {
        let at = self.open.binary_search_by_key(&stream, |(open, _)| *open);
        self.open.get(at.ok()?).map(|(_, come)| *come)
    }

    /// Whether there is an answer without content whose end has not come.
    pub(super) const fn has_bare(&self) -> bool {
        self.bare > 0
    }

    /// There is content behind a head that says that there is none.
    pub(super) fn has_content(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search_by_key(&stream, |(open, _)| *open)
            && let Some((_, come @ Come::Bare)) = self.open.get_mut(at)
        {
            *come = Come::Head;
            self.bare -= 1;
        }
    }

    /// A request has gone, or its trailers.
    pub(super) fn asked(&mut self, stream: u32) {
        if stream > self.last {
            self.last = stream;
            self.open.push_back((stream, Come::Nothing));
        }
    }

    /// Takes note of what the upstream sent.
    pub(super) fn look(&mut self, step: Step<'_>) -> Result<(), Fault> {
        match step {
            Step::Head(frame) => {
                let ends = match frame.kind {
                    FrameHead::RST_STREAM => true,
                    FrameHead::DATA => frame.ends_stream(),
                    _ => false,
                };
                if ends {
                    self.ended(frame.stream);
                }
                Ok(())
            }
            Step::Payload(frame, part, is_whole)
                if matches!(frame.kind, FrameHead::HEADERS | FrameHead::CONTINUATION) =>
            {
                self.payload(frame, part, is_whole)
            }
            Step::Payload(frame, part, is_whole) if frame.kind == FrameHead::GOAWAY => {
                self.goodbye(part, is_whole);
                Ok(())
            }
            Step::Payload(..) => Ok(()),
        }
    }

    /// What the codec gets of a step, where it is not the step itself: of the frame that ends the trailers of an answer
    /// nothing before all of it is there, then the same with [`crate::frames::WHOLE`] behind the fields.
    pub(super) fn instead(&self, step: Step<'_>) -> Option<Vec<u8>> {
        let (Step::Head(frame) | Step::Payload(frame, ..)) = step;
        let ends = match frame.kind {
            FrameHead::HEADERS => frame.ends_stream(),
            FrameHead::CONTINUATION => self.is_last && self.block.is_some(),
            _ => return None,
        };
        let come = || self.come(frame.stream);
        if !(ends && frame.ends_head() && matches!(come(), Some(Come::Head | Come::Bare))) {
            return None;
        }
        let Step::Payload(_, part, true) = step else {
            return Some(Vec::new());
        };
        let payload: Cow<'_, [u8]> = match &*self.payload {
            [] => Cow::Borrowed(part),
            before => Cow::Owned([before, part].concat()),
        };
        // One that is too short for what its flags say is for the codec to refuse.
        let as_it_is = || [&frame.write()[..], &payload].concat();
        let block = frame.block(&payload);
        Some(block.map_or_else(as_it_is, |block| frame.whole(block)))
    }

    /// Takes a part of the payload of a GOAWAY: nothing comes of the streams above the one that it names.
    fn goodbye(&mut self, part: &[u8], is_whole: bool) {
        let missing = size_of::<u32>().saturating_sub(self.payload.len());
        let part = part.get(..missing).unwrap_or(part);
        self.payload.extend_from_slice(part);
        if is_whole {
            let said = mem::take(&mut self.payload);
            if let Some(last) = said.first_chunk().copied() {
                let last = u32::from_be_bytes(last) & (u32::MAX >> 1);
                self.open.retain(|(stream, _)| *stream <= last);
                let bare = self.open.iter().filter(|(_, come)| *come == Come::Bare);
                self.bare = bare.count();
            }
        }
    }

    /// Takes a part of the payload of a frame that has a part of a block.
    fn payload(&mut self, frame: FrameHead, part: &[u8], is_whole: bool) -> Result<(), Fault> {
        if is_whole && self.payload.is_empty() {
            return self.fragment(frame, part);
        }
        self.payload.extend_from_slice(part);
        if is_whole {
            let payload = mem::take(&mut self.payload);
            self.fragment(frame, &payload)?;
        }
        Ok(())
    }

    pub(super) fn ended(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search_by_key(&stream, |(open, _)| *open)
            && let Some((_, Come::Bare)) = self.open.remove(at)
        {
            self.bare -= 1;
        }
    }

    /// Takes the whole payload of a frame that has a part of a block.
    fn fragment(&mut self, frame: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        // The codec does not read it either, and ends the stream or the connection.
        let Some(part) = frame.block(payload) else {
            return Ok(());
        };
        if frame.kind == FrameHead::HEADERS {
            self.is_last = frame.ends_stream();
        }
        match self.block.take() {
            None if frame.ends_head() => self.block(frame.stream, part, false),
            None => {
                self.block = Some(part.to_vec());
                Ok(())
            }
            Some(mut block) => {
                block.extend_from_slice(part);
                if block.len() > 2 * self.most {
                    return Err(Fault::Block);
                }
                if frame.ends_head() {
                    return self.block(frame.stream, &block, true);
                }
                self.block = Some(block);
                Ok(())
            }
        }
    }

    /// Takes a whole block.
    fn block(&mut self, stream: u32, block: &[u8], is_cut: bool) -> Result<(), Fault> {
        let (status, is_read) = self.table.read(block, is_cut)?;
        // One that is not open has crossed this side's reset: nobody reads it.
        let at = self.open.binary_search_by_key(&stream, |(open, _)| *open);
        let open = at.ok().and_then(|at| self.open.get_mut(at));
        let has_begun = |(_, come): &&mut (u32, Come)| *come != Come::Nothing;
        // A field that is cut off has what is put behind the trailers for its end.
        if (status != Status::None || !is_read) && open.as_ref().is_some_and(has_begun) {
            return Err(Fault::Block);
        }
        if self.is_last {
            self.ended(stream);
        } else if let Some((_, come)) = open {
            match status {
                Status::None | Status::Interim => {}
                Status::Final => *come = Come::Head,
                Status::NotModified => {
                    *come = Come::Bare;
                    self.bare += 1;
                }
            }
        }
        Ok(())
    }
}

/// What a field is called, as far as that counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// As a pseudo-header field of requests, or none that there is.
    Request,
    Status,
    /// As what is about one connection (RFC 9113 §8.2.2).
    Hop,
    /// As the one of these that may be, with one value.
    Te,
    /// As any other.
    Otherwise,
}

/// Names of [`Named::Hop`], plain and in the code of RFC 7541 §5.2.
const HOPS: [(&[u8], &[u8]); 5] = [
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
];
const TE: (&[u8], &[u8]) = (b"te", b"\x49\x7f");
/// The value that [`TE`] may have.
const TRAILERS: (&[u8], &[u8]) = (b"trailers", b"\x4d\x83\x35\x05\xb1\x1f");
const NOT_MODIFIED: (&[u8], &[u8]) = (b"304", b"\x64\x0d\x7f");
const STATUS: (&[u8], &[u8]) = (b":status", b"\xb8\x84\x8d\x36\xa3");

/// Whether a text is this one, plain or coded.
fn is(text: Text<'_>, (plain, coded): (&[u8], &[u8])) -> bool {
    text.bytes == if text.is_coded { coded } else { plain }
}

impl Named {
    /// The name at `index` of the static table (RFC 7541 appendix A).
    const fn at(index: usize) -> Self {
        match index {
            1..=7 => Self::Request,
            8..=14 => Self::Status,
            57 => Self::Hop,
            _ => Self::Otherwise,
        }
    }

    fn written(name: Text<'_>) -> Self {
        // A colon is coded in seven bits.
        let is_pseudo = name.bytes.first().is_some_and(|first| match name.is_coded {
            true => first >> 1 == 0x5c,
            false => *first == b':',
        });
        if is(name, STATUS) {
            Self::Status
        } else if is_pseudo {
            Self::Request
        } else if HOPS.into_iter().any(|hop| is(name, hop)) {
            Self::Hop
        } else if is(name, TE) {
            Self::Te
        } else {
            Self::Otherwise
        }
    }
}

/// What a block says of `:status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Nothing.
    None,
    Interim,
    Final,
    /// A final one, behind which there is no content but may be a length (RFC 9110 §8.6).
    NotModified,
}

impl Status {
    /// What a value says.
    fn written(value: Text<'_>) -> Self {
        // The code of `1` is 00001.
        let is_interim = value
            .bytes
            .first()
            .is_some_and(|first| match value.is_coded {
                true => first >> 3 == 1,
                false => *first == b'1',
            });
        if is_interim {
            Self::Interim
        } else if is(value, NOT_MODIFIED) {
            Self::NotModified
        } else {
            Self::Final
        }
    }
}

/// The table of indexed fields, as far as counts here: what each is called, the newest last. A field keeps its
/// place in front of those that come behind it for as long as it is in the table, whatever its size: so nothing
/// need be known of sizes, and what has left the table is not asked for, as the codec refuses that.
#[derive(Debug)]
struct Table {
    fields: VecDeque<(Named, Status)>,
    /// No more are in the table at once.
    most: usize,
}

/// The last index of the static table.
const STATIC: usize = 61;
/// The one of `:status: 304` in it.
const STATIC_NOT_MODIFIED: usize = 11;
/// The least that a field counts (RFC 7541 §4.1).
const FIELD_BYTES: u32 = 32;

impl Table {
    fn new(bytes: u32) -> Self {
        // Until it has seen other settings, an upstream uses as many as the protocol has.
        let bytes = bytes.max(limits::HTTP2_HEADER_TABLE_BYTES);
        Self {
            fields: VecDeque::new(),
            most: (bytes / FIELD_BYTES) as usize,
        }
    }

    /// Reads the head of a response, or its trailers, and whether it could be read to its end. Of one that `is_cut` into
    /// frames the codec may have forgotten everything. What cannot be read it refuses.
    ///
    /// # Errors
    /// When it has what it may not have.
    fn read(&mut self, block: &[u8], is_cut: bool) -> Result<(Status, bool), Fault> {
        let mut rest = Rest(block);
        let (mut status, mut has_field) = (Status::None, false);
        loop {
            let mut ahead = rest;
            let Some(field) = self.field(&mut ahead) else {
                return Ok((status, rest.0.is_empty()));
            };
            rest = ahead;
            // Another size of the table is none.
            let Some((named, value)) = field else {
                continue;
            };
            match named {
                Named::Request => return Err(Fault::Block),
                Named::Hop if is_cut => return Err(Fault::Block),
                Named::Status if is_cut && (status != Status::None || has_field) => {
                    return Err(Fault::Block);
                }
                Named::Status => status = value,
                Named::Hop | Named::Te | Named::Otherwise => has_field = true,
            }
        }
    }

    /// Reads a field (RFC 7541 §6), or a change of the table's size, and the status that its value is if it is
    /// one.
    fn field(&mut self, rest: &mut Rest<'_>) -> Option<Option<(Named, Status)>> {
        let prefix = match rest.form()? {
            form::INDEXED => {
                let index = rest.integer(7)?;
                return Some(Some(self.at(index)));
            }
            form::RESIZED => {
                rest.integer(5)?;
                return Some(None);
            }
            form::INSERTED => 6,
            _ => 4,
        };
        let named = match rest.integer(prefix)? {
            0 => Named::written(rest.text()?),
            index => self.at(index).0,
        };
        let value = rest.text()?;
        let status = Status::written(value);
        let named = match named {
            Named::Te if !is(value, TRAILERS) => Named::Hop,
            named => named,
        };
        if prefix == 6 {
            self.insert(named, status);
        }
        Some(Some((named, status)))
    }

    fn insert(&mut self, named: Named, status: Status) {
        if self.fields.len() == self.most {
            self.fields.pop_front();
        }
        self.fields.push_back((named, status));
    }

    /// The field at `index` of both tables. Those of the static one have a final status if they have any.
    fn at(&self, index: usize) -> (Named, Status) {
        let Some(behind) = index.checked_sub(STATIC + 1) else {
            let status = match index {
                STATIC_NOT_MODIFIED => Status::NotModified,
                _ => Status::Final,
            };
            return (Named::at(index), status);
        };
        let other = (Named::Otherwise, Status::None);
        let at = self.fields.len().checked_sub(behind + 1);
        let field = at.and_then(|at| self.fields.get(at));
        field.copied().unwrap_or(other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::Walk;
    use crate::frames::framed;

    const HEADERS: u8 = FrameHead::HEADERS;
    const CONTINUATION: u8 = FrameHead::CONTINUATION;
    const DATA: u8 = FrameHead::DATA;
    const RST_STREAM: u8 = FrameHead::RST_STREAM;
    const END_STREAM: u8 = FrameHead::END_STREAM;
    const END_HEADERS: u8 = FrameHead::END_HEADERS;
    const PADDED: u8 = FrameHead::PADDED;
    const PRIORITIZED: u8 = FrameHead::PRIORITIZED;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        framed(kind, flags, 1, payload)
    }

    fn field(name: &str, value: &str) -> Vec<u8> {
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        [&[0][..], &text(name), &text(value)].concat()
    }

    /// What becomes of bytes that come in pieces of this size.
    fn look(bytes: &[u8], cut: usize) -> Result<(), Fault> {
        let (mut walk, mut answers) = (Walk::behind(0), Answers::new(1000, 4096));
        answers.asked(1);
        for mut piece in bytes.chunks(cut) {
            while let Some(step) = walk.step(&mut piece) {
                answers.look(step)?;
            }
        }
        Ok(())
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
            (
                [vec![0x88], field(":path", "/")].concat(),
                Err(Fault::Block),
            ),
            ([vec![0x88], field(":x", "/")].concat(), Err(Fault::Block)),
            (vec![0x88, 0x84], Err(Fault::Block)),
            (vec![0x88, 0x41, 1, b'a'], Err(Fault::Block)),
            (vec![0x88, 0x01, 1, b'a'], Err(Fault::Block)),
            ([&[0x88][..], &coded].concat(), Err(Fault::Block)),
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
                Err(Fault::Block),
            ),
            ([&*status, &field("te", "trailers")].concat(), Ok(())),
            (
                [&*status, b"\0\x82\x49\x7f\x86\x4d\x83\x35\x05\xb1\x1f"].concat(),
                Ok(()),
            ),
            ([&*status, &field("te", "gzip")].concat(), Err(Fault::Block)),
            (
                [&*status, b"\x40\x02te\x08trailers\x7e\x04gzip"].concat(),
                Err(Fault::Block),
            ),
            ([&*status, &coded].concat(), Err(Fault::Block)),
            ([&*status, &[0x0f, 42, 0]].concat(), Err(Fault::Block)),
            ([&*status, &[0x88]].concat(), Err(Fault::Block)),
            ([&*field("x", "y"), &[0x88]].concat(), Err(Fault::Block)),
            (
                [&*status, &field("x", &"y".repeat(100)).repeat(20)].concat(),
                Err(Fault::Block),
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
            (&[&[0x88], &[0x88]], Err(Fault::Block)),
            (&[b"\x48\x03418", &[0x8d]], Err(Fault::Block)),
            (&[&[0x88], b"\x08\x03103"], Err(Fault::Block)),
            (
                &[&[0x48, 0x82, 0x10, 0x01], b"\x00\x07:status\x03200"],
                Err(Fault::Block),
            ),
            // There is no such field: the codec ends the connection.
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

    #[test]
    fn what_stands_in_the_table_is_known() {
        let teapot = b"\x48\x03418";
        let other = [&[0x40][..], &field("x", "y")[1..]].concat();
        let early = b"\x48\x03103";
        let blocks: [(&[&[u8]], _); 9] = [
            (&[teapot, &[0xbe]], Err(Fault::Block)),
            (&[teapot, &[0x88]], Err(Fault::Block)),
            (&[teapot, &other, &[0xbf]], Err(Fault::Block)),
            (&[teapot, &other, &[0xbe]], Ok(())),
            (&[early, &[0xbe], &[0xbe], &[0x88]], Ok(())),
            (&[early, &[0x88], &[0xbe]], Err(Fault::Block)),
            // Its name alone, with another value, which stands in front of it then.
            (&[early, b"\x7e\x03418", &[0xbf]], Err(Fault::Block)),
            (&[early, b"\x0f\x2f\x03102", &[0x88], &other], Ok(())),
            // What is not put into the table moves nothing.
            (
                &[teapot, &[0, 1, b'x', 1, b'y'], &[0xbe]],
                Err(Fault::Block),
            ),
        ];
        for (blocks, expected) in blocks {
            let frames = blocks
                .iter()
                .map(|block| frame(HEADERS, END_HEADERS, block));
            let bytes: Vec<u8> = frames.flatten().collect();
            assert_eq!(look(&bytes, 99), expected, "{blocks:x?}");
        }
        let hop = [&[0x88, 0x40][..], &field("connection", "x")[1..]].concat();
        let cut = [
            frame(HEADERS, END_HEADERS | END_STREAM, &hop),
            frame(HEADERS, END_STREAM, &[0x88, 0xbe, 0, 1, b'x']),
            frame(CONTINUATION, END_HEADERS, &[1, b'y']),
        ];
        assert_eq!(look(&cut.concat(), 99), Err(Fault::Block));
    }

    #[test]
    fn streams_are_open_until_their_answers_are_whole() {
        let mut answers = Answers::new(1000, 4096);
        let head = |answers: &mut Answers, stream, flags| {
            let frame = FrameHead {
                length: 1,
                kind: HEADERS,
                flags: END_HEADERS | flags,
                stream,
            };
            answers.look(Step::Head(frame)).unwrap();
            answers.look(Step::Payload(frame, &[0x88], true))
        };
        for stream in [1, 3, 5, 7, 3] {
            answers.asked(stream);
        }
        assert_eq!(head(&mut answers, 3, END_STREAM), Ok(()));
        assert_eq!(
            answers.open,
            [(1, Come::Nothing), (5, Come::Nothing), (7, Come::Nothing)]
        );
        answers.ended(5);
        // It has crossed the reset.
        assert_eq!(head(&mut answers, 5, 0), Ok(()));
        assert_eq!(head(&mut answers, 7, 0), Ok(()));
        assert_eq!(answers.open, [(1, Come::Nothing), (7, Come::Head)]);
        assert_eq!(head(&mut answers, 7, END_STREAM), Err(Fault::Block));
        let data = FrameHead {
            length: 0,
            kind: FrameHead::DATA,
            flags: END_STREAM,
            stream: 7,
        };
        answers.look(Step::Head(data)).unwrap();
        assert_eq!(answers.open, [(1, Come::Nothing)]);
        for cut in [1, 3, 8] {
            answers.asked(answers.last + 2);
            let goaway = FrameHead {
                length: 8,
                kind: FrameHead::GOAWAY,
                flags: 0,
                stream: 0,
            };
            answers.look(Step::Head(goaway)).unwrap();
            let payload = [0x80, 0, 0, 1, 0, 0, 0, 0];
            let mut parts = payload.chunks(cut).peekable();
            while let Some(part) = parts.next() {
                let step = Step::Payload(goaway, part, parts.peek().is_none());
                answers.look(step).unwrap();
            }
            assert_eq!(answers.open, [(1, Come::Nothing)]);
        }
    }

    proptest! {
        #[test]
        fn fields_keep_their_numbers(
            fields in prop::collection::vec(prop::option::of(any::<bool>()), 0..300),
        ) {
            let mut table = Table::new(4096);
            let mut whole = VecDeque::new();
            for field in fields {
                let status = match field {
                    Some(true) => Status::Interim,
                    Some(false) => Status::Final,
                    None => Status::None,
                };
                let named = if field.is_some() { Named::Status } else { Named::Otherwise };
                table.insert(named, status);
                whole.push_front((named, status));
                whole.truncate(4096 / 34);
                for (at, expected) in whole.iter().enumerate() {
                    prop_assert_eq!(table.at(62 + at), *expected);
                }
            }
        }

        #[test]
        fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..40) {
            let block = frame(HEADERS, END_HEADERS, &bytes);
            prop_assert_eq!(look(&block, cut), look(&block, block.len()));
            let _any = look(&bytes, cut);
        }
    }
}
