//! HTTP/2 on the wire, read beside the codec, which does not tell or mind all of it.
//!
//! Owns the form of frames, the walk over those of a connection, and below it the integers and strings
//! of field blocks (`hpack`), what a peer may not do in frames (`watch`), the transport whose bytes
//! are looked at on their way (`tapped`), what this side says in settings beside the codec (`custom`)
//! and of targets that are too long for it (`targets`), how much may wait to be written (`backlog`), and
//! how large the windows of streams are to be (`windows`). Does not own what heads and trailers may say:
//! `http` looks at those of clients, `upstream::pool` at those of upstreams. Both call it.

use std::io;

use bytes::BytesMut;
use tokio::io::ReadBuf;

pub(crate) mod backlog;
pub(crate) mod custom;
pub(crate) mod hpack;
mod huffman;
mod settings;
pub(crate) mod tapped;
pub(crate) mod targets;
pub(crate) mod watch;
pub(crate) mod windows;

/// Whether it is this side that ends the stream or the connection, because of what the peer sent.
pub(crate) fn breaks_rules(error: &h2::Error) -> bool {
    let is_malformed = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    error.is_library() || error.get_io().is_some_and(is_malformed)
}

/// Hands over what there is room for. A connection may rest for long behind that: nothing of the memory stays with it.
pub(crate) fn hand_over(from: &mut BytesMut, into: &mut ReadBuf<'_>) {
    let part = from.len().min(into.remaining());
    into.put_slice(&from.split_to(part));
    if from.is_empty() {
        *from = BytesMut::new();
    }
}

/// A frame as it goes over the wire.
#[cfg(test)]
pub(crate) fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = FrameHead {
        length: u32::try_from(payload.len()).expect("a payload is short"),
        kind,
        flags,
        stream,
    };
    [&head.write()[..], payload].concat()
}

/// What a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes in front of a frame (RFC 9113 §4.1).
pub(crate) const HEAD: usize = 9;
/// The code of a reset that stands for the end of an answer without content. No peer says it, and one that does says
/// no more than that.
pub(crate) const BARE_END: u32 = 0x4261_7265;

/// The name of a field that stands behind the others of trailers on their way to the codec: it leaves out what makes a
/// block too large, and says so of heads alone. Where this is missing, more is. Nothing else has a quote in its name.
pub(crate) const WHOLE: &str = "\"";
/// The same in a field block, in no table, without a value.
pub(crate) const WHOLE_FIELD: &[u8] = b"\0\x01\"\0";
/// As much as a frame may have whatever settings say (RFC 9113 §4.2).
pub(crate) const FRAME_BYTES: usize = 16_384;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHead {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    /// A flag of `SETTINGS`: the peer's were taken.
    pub(crate) const ACK: u8 = 1;
    /// A flag of `DATA` and `HEADERS`: the stream's last frame.
    pub(crate) const END_STREAM: u8 = 1;
    /// A flag of `HEADERS` and `CONTINUATION`: the block's last frame.
    pub(crate) const END_HEADERS: u8 = 4;
    /// A flag of `DATA` and `HEADERS`: the payload begins with the length of what is behind the content.
    pub(crate) const PADDED: u8 = 8;
    /// A flag of `HEADERS`: five bytes in front of the block are about priority.
    pub(crate) const PRIORITIZED: u8 = 0x20;

    const fn parse([a, b, c, kind, flags, stream @ ..]: [u8; HEAD]) -> Self {
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }

    /// The one at the front of `bytes`.
    pub(crate) fn front(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::parse)
    }

    /// Whether the head of a message ends with it.
    pub(crate) const fn ends_head(self) -> bool {
        self.flags & Self::END_HEADERS != 0
    }

    /// What of the payload belongs to the field block (RFC 9113 §6.2); none where it is too short for
    /// what the flags say, and where the stream depends on itself.
    pub(crate) fn block(self, payload: &[u8]) -> Option<&[u8]> {
        if self.kind == Self::CONTINUATION {
            return Some(payload);
        }
        let (padding, mut rest) = match self.flags & Self::PADDED {
            0 => (0, payload),
            _ => payload
                .split_first()
                .map(|(length, rest)| (usize::from(*length), rest))?,
        };
        if self.flags & Self::PRIORITIZED != 0 {
            let (priority, behind) = rest.split_first_chunk::<5>()?;
            let [depends @ .., _weight] = *priority;
            if u32::from_be_bytes(depends) & (u32::MAX >> 1) == self.stream {
                return None;
            }
            rest = behind;
        }
        rest.get(..rest.len().checked_sub(padding)?)
    }

    /// The frame that ends trailers, with that part of their block, without padding, and with [`WHOLE`] behind it.
    pub(crate) fn whole(self, block: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * HEAD + block.len() + WHOLE_FIELD.len());
        let is_full = block.len() + WHOLE_FIELD.len() > FRAME_BYTES;
        let ends = if is_full { 0 } else { Self::END_HEADERS };
        let length = block.len() + if is_full { 0 } else { WHOLE_FIELD.len() };
        let first = Self {
            length: length as u32,
            flags: self.flags & Self::END_STREAM | ends,
            ..self
        };
        bytes.extend_from_slice(&first.write());
        bytes.extend_from_slice(block);
        if is_full {
            let last = Self {
                length: WHOLE_FIELD.len() as u32,
                kind: Self::CONTINUATION,
                flags: Self::END_HEADERS,
                ..self
            };
            bytes.extend_from_slice(&last.write());
        }
        bytes.extend_from_slice(WHOLE_FIELD);
        bytes
    }

    /// How many bytes of the payload are in front of its part of a field block.
    const fn before_block(self) -> usize {
        let padding = if self.flags & Self::PADDED == 0 { 0 } else { 1 };
        let priority = if self.flags & Self::PRIORITIZED == 0 {
            0
        } else {
            5
        };
        padding + priority
    }

    /// In front of a payload.
    pub(crate) const fn write(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Whether the first byte of its payload says how long the padding is at the end (RFC 9113 §6.1).
    const fn is_padded(self) -> bool {
        self.kind != Self::CONTINUATION && self.flags & Self::PADDED != 0 && self.length > 0
    }

    /// What it is called (RFC 9113 §6).
    const fn name(self) -> &'static str {
        match self.kind {
            Self::DATA => "DATA",
            Self::HEADERS => "HEADERS",
            Self::PRIORITY => "PRIORITY",
            Self::RST_STREAM => "RST_STREAM",
            Self::SETTINGS => "SETTINGS",
            5 => "PUSH_PROMISE",
            6 => "PING",
            Self::GOAWAY => "GOAWAY",
            Self::WINDOW_UPDATE => "WINDOW_UPDATE",
            Self::CONTINUATION => "CONTINUATION",
            _ => "unknown",
        }
    }

    /// Whether it is the last of its stream, one of a head or of content.
    pub(crate) const fn ends_stream(self) -> bool {
        self.kind != Self::CONTINUATION && self.flags & Self::END_STREAM != 0
    }
}

/// What comes next in the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A frame begins.
    Head(FrameHead),
    /// A part of its payload, and whether that is the last; of an empty one there is one part.
    Payload(FrameHead, &'a [u8], bool),
}

/// Where in the frames of one direction its bytes have come to.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// Bytes in front of the first frame.
    skip: usize,
    head: [u8; HEAD],
    /// How much of the head of the next frame is there; all of it while its payload comes.
    filled: usize,
    frame: FrameHead,
    /// How much of its payload is to come.
    left: usize,
}

impl Walk {
    /// In front of the first frame, behind so many bytes.
    pub(crate) const fn behind(skip: usize) -> Self {
        Self {
            skip,
            head: [0; HEAD],
            filled: 0,
            frame: FrameHead::parse([0; HEAD]),
            left: 0,
        }
    }

    /// Whether a payload has begun and not ended.
    pub(crate) const fn is_inside(&self) -> bool {
        self.left > 0
    }

    /// The next step in `bytes`, which loses what it is made of; none when all of it was looked at.
    #[inline]
    pub(crate) fn step<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Step<'a>> {
        if self.filled == HEAD {
            let (part, behind) = bytes.split_at_checked(self.left.min(bytes.len()))?;
            *bytes = behind;
            self.left -= part.len();
            let is_last = self.left == 0;
            if is_last {
                self.filled = 0;
            } else if part.is_empty() {
                return None;
            }
            return Some(Step::Payload(self.frame, part, is_last));
        }
        if self.skip > 0 {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = bytes.get(skipped..)?;
        }
        if let Some((head, behind)) = bytes.split_first_chunk()
            && self.filled == 0
        {
            *bytes = behind;
            return Some(self.begin(*head));
        }
        let room = self.head.get_mut(self.filled..)?;
        let (now, behind) = bytes.split_at_checked(room.len().min(bytes.len()))?;
        room.get_mut(..now.len())?.copy_from_slice(now);
        self.filled += now.len();
        *bytes = behind;
        (self.filled == HEAD).then(|| self.begin(self.head))
    }

    /// What has come of a frame's head that is not whole.
    pub(crate) fn cut_head(&self) -> &[u8] {
        let is_cut = self.filled < HEAD;
        let cut = is_cut.then(|| self.head.get(..self.filled));
        cut.flatten().unwrap_or_default()
    }

    const fn begin(&mut self, head: [u8; HEAD]) -> Step<'static> {
        self.frame = FrameHead::parse(head);
        self.filled = HEAD;
        self.left = self.frame.length as usize;
        Step::Head(self.frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(
            frames in prop::collection::vec((0u8..10, any::<u8>(), 0u32..6, 0usize..30), 0..20),
            skip in 0usize..30,
            cut in 1usize..20,
        ) {
            let mut bytes = vec![0xee; skip];
            for (kind, flags, stream, length) in &frames {
                let head = FrameHead { length: *length as u32, kind: *kind, flags: *flags, stream: *stream };
                bytes.extend(head.write());
                bytes.extend((0..*length).map(|at| at as u8));
            }
            let mut walk = Walk::behind(skip);
            let mut seen: Vec<(FrameHead, Vec<u8>, bool)> = Vec::new();
            for mut part in bytes.chunks(cut) {
                while let Some(step) = walk.step(&mut part) {
                    match step {
                        Step::Head(head) => seen.push((head, Vec::new(), false)),
                        Step::Payload(head, part, is_last) => {
                            let (of, payload, is_over) = seen.last_mut().unwrap();
                            prop_assert_eq!(*of, head);
                            prop_assert!(!*is_over);
                            payload.extend(part);
                            *is_over = is_last;
                        }
                    }
                }
                prop_assert!(part.is_empty());
            }
            prop_assert!(!walk.is_inside());
            prop_assert_eq!(seen.len(), frames.len());
            for ((head, payload, is_over), (kind, flags, stream, length)) in seen.iter().zip(&frames) {
                prop_assert!(*is_over);
                prop_assert_eq!((head.kind, head.flags, head.stream), (*kind, *flags, *stream));
                prop_assert_eq!(payload.len(), *length);
                prop_assert!(payload.iter().enumerate().all(|(at, byte)| *byte == at as u8));
            }
        }
    }
}
