//! What an HTTP/2 client may make the proxy work for nothing: counts of frames, taken from the bytes
//! on their way to and from the codec.
//!
//! Owns Envoy's limits on inbound frames (empty ones in a row, `PRIORITY`, `WINDOW_UPDATE`), which
//! the codec has no setting for. It looks at the nine bytes in front of each frame and at nothing
//! else. Called by `http2`. Does not own the limits that the codec has itself: `CONTINUATION`
//! frames, streams that are reset at once, small `DATA` frames, answers to pings and settings, of
//! which never more than one waits because nothing is read meanwhile.

use super::connection::PREFACE;

/// Bytes in front of a frame (RFC 9113 §4.1).
pub(super) const HEAD: usize = 9;

/// `max_…` of `http2_protocol_options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// `max_consecutive_inbound_frames_with_empty_payload`.
    pub empty_in_a_row: u32,
    /// `max_inbound_priority_frames_per_stream`.
    pub priorities_per_stream: u32,
    /// `max_inbound_window_update_frames_per_data_frame_sent`.
    pub window_updates_per_data: u32,
}

/// Which limit a client has gone beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flood {
    /// Frames with nothing in them.
    #[error("too many consecutive frames with an empty payload")]
    Empty,
    /// `PRIORITY` frames.
    #[error("too many PRIORITY frames")]
    Priority,
    /// `WINDOW_UPDATE` frames.
    #[error("too many WINDOW_UPDATE frames")]
    WindowUpdate,
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameWatch {
    limits: FrameLimits,
    received: Cursor,
    sent: Cursor,
    /// The highest stream that the client has opened.
    last_stream: u32,
    opened: u64,
    empty: u32,
    priorities: u64,
    window_updates: u64,
    data_sent: u64,
    /// A frame whose padding is not known yet.
    padded: Option<FrameHead>,
    /// Whether a head has begun whose last frame has not.
    head_open: bool,
    /// Whether the frame that came last is a part of a head.
    is_head: bool,
}

impl FrameWatch {
    /// For a connection whose first byte is to come.
    pub(super) const fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            received: Cursor::behind(PREFACE.len()),
            sent: Cursor::behind(0),
            last_stream: 0,
            opened: 0,
            empty: 0,
            priorities: 0,
            window_updates: 0,
            data_sent: 0,
            padded: None,
            head_open: false,
            is_head: false,
        }
    }

    /// Whether the client is in the middle of a head: nothing else can come before its end (RFC 9113
    /// §6.10).
    pub(super) const fn is_in_head(&self) -> bool {
        self.head_open || (self.is_head && self.received.skip > 0)
    }

    /// Takes note of bytes that the client sent.
    ///
    /// # Errors
    /// When it has gone beyond a limit.
    pub(super) fn received(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        loop {
            if let Some(frame) = self.padded {
                let Some(padding) = bytes.first() else {
                    return Ok(());
                };
                self.padded = None;
                let content = frame.length.saturating_sub(1 + u32::from(*padding));
                self.count_content(frame, content)?;
            }
            let Some(frame) = self.received.next(&mut bytes) else {
                return Ok(());
            };
            self.count(frame)?;
        }
    }

    /// Takes note of bytes that the proxy sent.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.sent.next(&mut bytes) {
            if frame.kind == FrameHead::DATA {
                self.data_sent += 1;
            }
        }
    }

    /// Counts a frame by what is in it beside padding.
    fn count_content(&mut self, frame: FrameHead, length: u32) -> Result<(), Flood> {
        if length > 0 || frame.ends_stream() {
            self.empty = 0;
            return Ok(());
        }
        self.empty += 1;
        if self.empty > self.limits.empty_in_a_row {
            return Err(Flood::Empty);
        }
        Ok(())
    }

    fn count(&mut self, frame: FrameHead) -> Result<(), Flood> {
        self.is_head = matches!(frame.kind, FrameHead::HEADERS | FrameHead::CONTINUATION);
        if self.is_head {
            self.head_open = !frame.ends_head();
        }
        match frame.kind {
            FrameHead::DATA | FrameHead::HEADERS | FrameHead::CONTINUATION => {
                if frame.kind == FrameHead::HEADERS && frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.opened += 1;
                }
                if frame.is_padded() {
                    self.padded = Some(frame);
                } else {
                    self.count_content(frame, frame.length)?;
                }
            }
            FrameHead::PRIORITY => {
                self.priorities += 1;
                let each = u64::from(self.limits.priorities_per_stream);
                if self.priorities > each.saturating_mul(self.opened + 1) {
                    return Err(Flood::Priority);
                }
            }
            FrameHead::WINDOW_UPDATE => {
                self.window_updates += 1;
                let each = u64::from(self.limits.window_updates_per_data);
                let deserved = self.opened + each.saturating_mul(self.data_sent);
                if self.window_updates > deserved.saturating_mul(2).saturating_add(5) {
                    return Err(Flood::WindowUpdate);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    const PRIORITY: u8 = 2;
    const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
    /// A flag of `HEADERS`: the stream's last frame.
    pub(super) const END_STREAM: u8 = 1;
    /// A flag of `HEADERS` and `CONTINUATION`: the block's last frame.
    pub(super) const END_HEADERS: u8 = 4;
    /// A flag of `DATA` and `HEADERS`: the payload begins with the length of what is behind the content.
    const PADDED: u8 = 8;
    /// A flag of `HEADERS`: five bytes in front of the block are about priority.
    const PRIORITIZED: u8 = 0x20;

    const fn parse([a, b, c, kind, flags, stream @ ..]: [u8; HEAD]) -> Self {
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }

    /// The one at the front of `bytes`.
    pub(super) fn front(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::parse)
    }

    /// Whether the head ends with it.
    pub(super) const fn ends_head(self) -> bool {
        self.flags & Self::END_HEADERS != 0
    }

    /// What of the payload belongs to the field block (RFC 9113 §6.2); none where it is too short for
    /// what the flags say, and where the stream depends on itself.
    pub(super) fn block(self, payload: &[u8]) -> Option<&[u8]> {
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

    /// In front of a payload.
    pub(super) const fn write(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Whether the first byte of its payload says how long the padding is at the end (RFC 9113 §6.1).
    const fn is_padded(self) -> bool {
        self.kind != Self::CONTINUATION && self.flags & Self::PADDED != 0 && self.length > 0
    }

    /// Whether it is the last of its stream.
    const fn ends_stream(self) -> bool {
        self.kind != Self::CONTINUATION && self.flags & Self::END_STREAM != 0
    }
}

/// Where in the frames of one direction its bytes have come to.
#[derive(Debug)]
struct Cursor {
    head: [u8; HEAD],
    filled: usize,
    /// Bytes of a payload that are passed over.
    skip: usize,
}

impl Cursor {
    /// In front of the first frame, behind so many bytes.
    const fn behind(skip: usize) -> Self {
        Self {
            head: [0; HEAD],
            filled: 0,
            skip,
        }
    }

    /// The next head that ends in `bytes`, which loses what was looked at.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = bytes.get(skipped..).unwrap_or_default();
        let room = self.head.get_mut(self.filled..)?;
        let taken = room.len().min(bytes.len());
        let (now, rest) = bytes.split_at_checked(taken)?;
        room.get_mut(..taken)?.copy_from_slice(now);
        self.filled += taken;
        *bytes = rest;
        if self.filled < HEAD {
            return None;
        }
        self.filled = 0;
        let head = FrameHead::parse(self.head);
        self.skip = head.length as usize;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits {
        empty_in_a_row: 1,
        priorities_per_stream: 100,
        window_updates_per_data: 10,
    };

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(std::iter::repeat_n(0, length));
        bytes
    }

    fn watch() -> FrameWatch {
        let mut watch = FrameWatch::new(LIMITS);
        watch.received(PREFACE).unwrap();
        watch
    }

    #[test]
    fn empty_frames_may_not_come_one_after_another() {
        let mut watch = watch();
        let empty = frame(FrameHead::DATA, 0, 1, 0);
        watch.received(&frame(FrameHead::HEADERS, 4, 1, 9)).unwrap();
        watch.received(&empty).unwrap();
        watch.received(&frame(FrameHead::DATA, 0, 1, 5)).unwrap();
        watch.received(&empty).unwrap();
        assert_eq!(watch.received(&empty), Err(Flood::Empty));
    }

    #[test]
    fn padding_is_nothing() {
        let padded = |content: usize| {
            let mut bytes = frame(FrameHead::DATA, FrameHead::PADDED, 1, 1 + content + 3);
            bytes[HEAD] = 3;
            bytes
        };
        let mut watch = watch();
        watch.received(&frame(FrameHead::HEADERS, 4, 1, 9)).unwrap();
        for _ in 0..3 {
            watch.received(&padded(0)).unwrap();
            watch.received(&padded(1)).unwrap();
        }
        watch.received(&padded(0)).unwrap();
        let again = padded(0);
        watch.received(&again[..HEAD]).unwrap();
        assert_eq!(watch.received(&again[HEAD..]), Err(Flood::Empty));
    }

    #[test]
    fn the_end_of_a_stream_may_be_empty() {
        let mut watch = watch();
        for stream in 0..100 {
            let stream = 2 * stream + 1;
            watch
                .received(&frame(FrameHead::HEADERS, 4, stream, 9))
                .unwrap();
            watch
                .received(&frame(FrameHead::DATA, 1, stream, 0))
                .unwrap();
        }
    }

    #[test]
    fn a_head_lasts_from_its_first_frame_to_the_end_of_its_last() {
        let mut watch = watch();
        let mut receive = |bytes: &[u8]| {
            watch.received(bytes).unwrap();
            watch.is_in_head()
        };
        let whole = frame(FrameHead::HEADERS, 4, 1, 9);
        assert!(!receive(&whole));
        assert!(!receive(&whole[..8]));
        assert!(receive(&whole[8..12]));
        assert!(!receive(&whole[12..]));
        assert!(receive(&frame(FrameHead::HEADERS, 0, 3, 9)));
        assert!(receive(&frame(FrameHead::CONTINUATION, 0, 3, 9)));
        assert!(!receive(&frame(FrameHead::CONTINUATION, 4, 3, 0)));
        assert!(!receive(&frame(FrameHead::DATA, 0, 3, 9)[..12]));
    }

    #[test]
    fn priorities_count_by_streams() {
        let mut watch = watch();
        let priority = frame(FrameHead::PRIORITY, 0, 9, 5);
        for _ in 0..100 {
            watch.received(&priority).unwrap();
        }
        watch.received(&frame(FrameHead::HEADERS, 5, 1, 9)).unwrap();
        for _ in 0..100 {
            watch.received(&priority).unwrap();
        }
        assert_eq!(watch.received(&priority), Err(Flood::Priority));
    }

    #[test]
    fn window_updates_count_by_what_was_sent() {
        let mut watch = watch();
        let update = frame(FrameHead::WINDOW_UPDATE, 0, 0, 4);
        for _ in 0..5 {
            watch.received(&update).unwrap();
        }
        watch.sent(&frame(FrameHead::DATA, 0, 1, 3));
        watch.received(&frame(FrameHead::HEADERS, 5, 1, 9)).unwrap();
        for _ in 0..22 {
            watch.received(&update).unwrap();
        }
        assert_eq!(watch.received(&update), Err(Flood::WindowUpdate));
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(
            frames in proptest::collection::vec((0u8..10, 0u8..6, 0u32..6, 0usize..12), 0..40),
            cut in 1usize..20,
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, stream, length) in frames {
                bytes.extend(frame(kind, flags, stream, length));
            }
            let whole = FrameWatch::new(LIMITS).received(&bytes);
            let mut watch = FrameWatch::new(LIMITS);
            let parts: Result<(), Flood> = bytes.chunks(cut).try_for_each(|part| watch.received(part));
            prop_assert_eq!(whole, parts);
        }
    }
}
