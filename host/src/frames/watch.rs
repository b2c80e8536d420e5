//! What a peer of HTTP/2 may make the proxy work for nothing, or may not say in frames at all: taken from the
//! bytes on their way to and from the codec.
//!
//! Owns Envoy's limits on inbound frames (empty ones in a row, `PRIORITY`, `WINDOW_UPDATE`), which
//! the codec has no setting for, and hands on what settings say. It looks at the nine bytes in front of each
//! frame, and into `SETTINGS` alone. Called by `http::http2` for clients, and by `upstream::pool` for upstreams.
//! Does not own the limits that the codec has itself: `CONTINUATION` frames, streams that are reset at
//! once, small `DATA` frames, answers to pings and settings, of which never more than one waits because
//! nothing is read meanwhile.

use std::fmt;

use super::settings::Settings;
use super::{FrameHead, PREFACE, Step, Walk};
use crate::limits;

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

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            empty_in_a_row: limits::HTTP2_EMPTY_FRAMES,
            priorities_per_stream: limits::HTTP2_PRIORITY_FRAMES,
            window_updates_per_data: limits::HTTP2_WINDOW_UPDATES,
        }
    }
}

/// Which side the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Client,
    Server,
}

/// Why nothing more is read of a peer: it has gone beyond a limit, or broken a rule that the codec does not
/// hold it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Frames with nothing in them.
    #[error(
        "more DATA, HEADERS or CONTINUATION frames in a row without content than max_consecutive_inbound_frames_with_empty_payload"
    )]
    Empty,
    /// `PRIORITY` frames.
    #[error(
        "more PRIORITY frames than max_inbound_priority_frames_per_stream for the streams there were"
    )]
    Priority,
    /// `WINDOW_UPDATE` frames.
    #[error(
        "more WINDOW_UPDATE frames than max_inbound_window_update_frames_per_data_frame_sent for the DATA that was sent"
    )]
    WindowUpdate,
    /// Something else than settings came first (RFC 9113 §3.4).
    #[error("the first frame is not SETTINGS, or acknowledges some")]
    Preface,
    /// Settings are too many ([`limits::HTTP2_SETTINGS`]), or what they may not be: pushes of a server (RFC 9113 §6.5.2),
    /// extended CONNECT that is taken back (RFC 8441 §3), priorities that change (RFC 9218 §2.1).
    #[error(
        "a SETTINGS frame has too many entries, or a value of ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL or NO_RFC7540_PRIORITIES that may not be said"
    )]
    Settings,
    /// The table of indexed fields has another size than the peer goes by (RFC 7541 §4.2).
    #[error(
        "the first HEADERS frame behind the acknowledged SETTINGS does not begin with the smaller size of the table of fields"
    )]
    Table,
    /// The head of a message, or its trailers (RFC 9113 §8.2 and §8.3).
    #[error(
        "the field block of a HEADERS frame has pseudo-header or connection-specific fields that it may not have, or more bytes than heads may have"
    )]
    Block,
}

/// A fault, and the frame that it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) fault: Fault,
    pub(crate) frame: FrameHead,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, frame } = self;
        match frame.stream {
            0 => write!(f, "reading a frame {}: {fault}", frame.name()),
            stream => write!(
                f,
                "reading a frame {} of stream {stream}: {fault}",
                frame.name()
            ),
        }
    }
}

impl std::error::Error for Misread {}

/// What the peer knows of a table of indexed fields that is smaller than the protocol's: once it has taken the
/// settings that say so, its next block begins with the size that it goes by (RFC 7541 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// There is nothing to say, or it was said.
    Settled,
    /// The settings were not taken yet.
    Smaller,
    /// The next block is to say so.
    Due,
    /// The block at hand is, behind so many bytes.
    Behind(usize),
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub(crate) struct FrameWatch {
    limits: FrameLimits,
    peer: Peer,
    received: Walk,
    sent: Walk,
    /// The highest stream that the client has opened, and how many there were.
    last_stream: u32,
    opened: u64,
    empty: u32,
    priorities: u64,
    window_updates: u64,
    data_sent: u64,
    settings: Settings,
    table: Table,
    /// Whether the padding of the frame at hand is not known yet.
    is_padded: bool,
    /// Whether a head has begun whose last frame has not.
    head_open: bool,
    /// Whether the frame that came last is a part of a head.
    is_head: bool,
}

impl FrameWatch {
    /// For a connection whose first byte is to come, either way, and a table of indexed fields of so many bytes.
    pub(crate) const fn new(peer: Peer, limits: FrameLimits, table: u32) -> Self {
        let (received, sent) = match peer {
            Peer::Client => (PREFACE.len(), 0),
            Peer::Server => (0, PREFACE.len()),
        };
        Self {
            limits,
            peer,
            received: Walk::behind(received),
            sent: Walk::behind(sent),
            last_stream: 0,
            opened: 0,
            empty: 0,
            priorities: 0,
            window_updates: 0,
            data_sent: 0,
            settings: Settings::of(peer),
            table: if table < limits::HTTP2_HEADER_TABLE_BYTES {
                Table::Smaller
            } else {
                Table::Settled
            },
            is_padded: false,
            head_open: false,
            is_head: false,
        }
    }

    /// Whether the peer is in the middle of a head: nothing else can come before its end (RFC 9113
    /// §6.10).
    pub(crate) const fn is_in_head(&self) -> bool {
        self.head_open || (self.is_head && self.received.is_inside())
    }

    /// How many streams the peer takes at once, where it has said that.
    pub(crate) const fn streams(&self) -> Option<u32> {
        self.settings.streams()
    }

    /// What has come of the head of the peer's next frame, where it is not whole.
    pub(crate) fn cut_head(&self) -> &[u8] {
        self.received.cut_head()
    }

    /// Takes note of bytes that the peer sent, and lets `also` see what they are made of, each with how many of
    /// them are behind it.
    ///
    /// # Errors
    /// When the peer has gone beyond a limit or broken a rule, or `also` fails.
    #[inline]
    pub(crate) fn received(
        &mut self,
        mut bytes: &[u8],
        mut also: impl FnMut(Step<'_>, usize) -> Result<(), Fault>,
    ) -> Result<(), Misread> {
        while let Some(step) = self.received.step(&mut bytes) {
            let (Step::Head(frame) | Step::Payload(frame, ..)) = step;
            let counted = match step {
                Step::Head(frame) => self.count(frame),
                Step::Payload(frame, part, _) => self.look(frame, part),
            };
            let looked = counted.and_then(|()| also(step, bytes.len()));
            looked.map_err(|fault| Misread { fault, frame })?;
        }
        Ok(())
    }

    /// Takes note of bytes that the proxy sent, and lets `also` see what they are made of.
    #[inline]
    pub(crate) fn sent(&mut self, mut bytes: &[u8], mut also: impl FnMut(Step<'_>)) {
        while let Some(step) = self.sent.step(&mut bytes) {
            if let Step::Head(frame) = step {
                match frame.kind {
                    FrameHead::DATA => self.data_sent += 1,
                    FrameHead::HEADERS if self.peer == Peer::Server => self.open(frame.stream),
                    _ => {}
                }
            }
            also(step);
        }
    }

    /// How far what was sent has come.
    pub(crate) fn sent_walk(&self) -> Walk {
        self.sent.clone()
    }

    const fn open(&mut self, stream: u32) {
        if stream > self.last_stream {
            self.last_stream = stream;
            self.opened += 1;
        }
    }

    /// Looks at a part of a payload, as far as something in it counts.
    fn look(&mut self, frame: FrameHead, part: &[u8]) -> Result<(), Fault> {
        if self.settings.is_open() {
            return self.settings.read(part);
        }
        if let Table::Behind(bytes) = self.table {
            self.table = match part.get(bytes) {
                Some(0x20..=0x3f) => Table::Settled,
                Some(_) => return Err(Fault::Table),
                None => Table::Behind(bytes.saturating_sub(part.len())),
            };
        }
        if self.is_padded
            && let Some(padding) = part.first()
        {
            self.is_padded = false;
            let content = frame.length.saturating_sub(1 + u32::from(*padding));
            return self.count_content(frame, content);
        }
        Ok(())
    }

    /// Counts a frame by what is in it beside padding.
    const fn count_content(&mut self, frame: FrameHead, length: u32) -> Result<(), Fault> {
        if length > 0 || frame.ends_stream() {
            self.empty = 0;
            return Ok(());
        }
        self.empty += 1;
        if self.empty > self.limits.empty_in_a_row {
            return Err(Fault::Empty);
        }
        Ok(())
    }

    /// Notes where the size of the table is to be said.
    fn expect_size(&mut self, frame: FrameHead) {
        let takes = frame.kind == FrameHead::SETTINGS && frame.flags & FrameHead::ACK != 0;
        self.table = match self.table {
            Table::Smaller if takes => Table::Due,
            Table::Due if frame.kind == FrameHead::HEADERS => Table::Behind(frame.before_block()),
            other => other,
        };
    }

    fn count(&mut self, frame: FrameHead) -> Result<(), Fault> {
        self.settings.begin(frame)?;
        if self.table != Table::Settled {
            self.expect_size(frame);
        }
        self.is_head = matches!(frame.kind, FrameHead::HEADERS | FrameHead::CONTINUATION);
        if self.is_head {
            self.head_open = !frame.ends_head();
        }
        match frame.kind {
            FrameHead::DATA | FrameHead::HEADERS | FrameHead::CONTINUATION => {
                if frame.kind == FrameHead::HEADERS && self.peer == Peer::Client {
                    self.open(frame.stream);
                }
                if frame.is_padded() {
                    self.is_padded = true;
                } else {
                    self.count_content(frame, frame.length)?;
                }
            }
            FrameHead::PRIORITY => {
                self.priorities += 1;
                let each = u64::from(self.limits.priorities_per_stream);
                if self.priorities > each.saturating_mul(self.opened + 1) {
                    return Err(Fault::Priority);
                }
            }
            FrameHead::WINDOW_UPDATE => {
                self.window_updates += 1;
                let each = u64::from(self.limits.window_updates_per_data);
                let deserved = self.opened + each.saturating_mul(self.data_sent);
                if self.window_updates > deserved.saturating_mul(2).saturating_add(5) {
                    return Err(Fault::WindowUpdate);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::HEAD;
    use crate::frames::framed;

    const TABLE: u32 = limits::HTTP2_HEADER_TABLE_BYTES;
    const LIMITS: FrameLimits = FrameLimits {
        empty_in_a_row: 1,
        priorities_per_stream: 100,
        window_updates_per_data: 10,
    };

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        framed(kind, flags, stream, &vec![0; length])
    }

    impl FrameWatch {
        fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
            let received = self.received(bytes, |_, _| Ok(()));
            received.map_err(|misread| misread.fault)
        }
    }

    fn watch() -> FrameWatch {
        let mut watch = FrameWatch::new(Peer::Client, LIMITS, TABLE);
        watch.take(PREFACE).unwrap();
        watch.take(&frame(FrameHead::SETTINGS, 0, 0, 0)).unwrap();
        watch
    }

    #[test]
    fn empty_frames_may_not_come_one_after_another() {
        let mut watch = watch();
        let empty = frame(FrameHead::DATA, 0, 1, 0);
        watch.take(&frame(FrameHead::HEADERS, 4, 1, 9)).unwrap();
        watch.take(&empty).unwrap();
        watch.take(&frame(FrameHead::DATA, 0, 1, 5)).unwrap();
        watch.take(&empty).unwrap();
        assert_eq!(watch.take(&empty), Err(Fault::Empty));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_frame() {
        let mut watch = watch();
        let head = frame(FrameHead::HEADERS, 4, 5, 9);
        let empty = frame(FrameHead::DATA, 0, 5, 0);
        let misread = watch.received(&[head, empty.repeat(2)].concat(), |_, _| Ok(()));
        let text = misread.unwrap_err().to_string();
        let front = "reading a frame DATA of stream 5: more DATA, HEADERS or CONTINUATION frames";
        assert!(text.starts_with(front), "{text}");
        let update = frame(FrameHead::WINDOW_UPDATE, 0, 0, 4);
        let misread = watch.received(&update.repeat(99), |_, _| Ok(()));
        let text = misread.unwrap_err().to_string();
        assert!(
            text.starts_with("reading a frame WINDOW_UPDATE: more"),
            "{text}"
        );
    }

    #[test]
    fn padding_is_nothing() {
        let padded = |content: usize| {
            let mut bytes = frame(FrameHead::DATA, FrameHead::PADDED, 1, 1 + content + 3);
            bytes[HEAD] = 3;
            bytes
        };
        let mut watch = watch();
        watch.take(&frame(FrameHead::HEADERS, 4, 1, 9)).unwrap();
        for _ in 0..3 {
            watch.take(&padded(0)).unwrap();
            watch.take(&padded(1)).unwrap();
        }
        watch.take(&padded(0)).unwrap();
        let again = padded(0);
        watch.take(&again[..HEAD]).unwrap();
        assert_eq!(watch.take(&again[HEAD..]), Err(Fault::Empty));
    }

    #[test]
    fn the_end_of_a_stream_may_be_empty() {
        let mut watch = watch();
        for stream in 0..100 {
            let stream = 2 * stream + 1;
            watch
                .take(&frame(FrameHead::HEADERS, 4, stream, 9))
                .unwrap();
            watch.take(&frame(FrameHead::DATA, 1, stream, 0)).unwrap();
        }
    }

    #[test]
    fn a_head_lasts_from_its_first_frame_to_the_end_of_its_last() {
        let mut watch = watch();
        let mut receive = |bytes: &[u8]| {
            watch.take(bytes).unwrap();
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
            watch.take(&priority).unwrap();
        }
        watch.take(&frame(FrameHead::HEADERS, 5, 1, 9)).unwrap();
        for _ in 0..100 {
            watch.take(&priority).unwrap();
        }
        assert_eq!(watch.take(&priority), Err(Fault::Priority));
    }

    #[test]
    fn window_updates_count_by_what_was_sent() {
        let mut watch = watch();
        let update = frame(FrameHead::WINDOW_UPDATE, 0, 0, 4);
        for _ in 0..5 {
            watch.take(&update).unwrap();
        }
        watch.sent(&frame(FrameHead::DATA, 0, 1, 3), |_| {});
        watch.take(&frame(FrameHead::HEADERS, 5, 1, 9)).unwrap();
        for _ in 0..22 {
            watch.take(&update).unwrap();
        }
        assert_eq!(watch.take(&update), Err(Fault::WindowUpdate));
    }

    #[test]
    fn a_smaller_table_is_heard_of() {
        let mut payloads: Vec<(u8, Vec<u8>)> = Vec::new();
        for block in [&[0x20, 0x82][..], &[0x3f, 0x45, 0x82]] {
            payloads.push((0, block.to_vec()));
            payloads.push((FrameHead::PADDED, [&[1], block, &[0]].concat()));
            let both = FrameHead::PADDED | FrameHead::PRIORITIZED;
            payloads.push((both, [&[1, 0, 0, 0, 0, 9], block, &[0]].concat()));
        }
        let ack = frame(FrameHead::SETTINGS, FrameHead::ACK, 0, 0);
        let framed = |(flags, payload): &(u8, Vec<u8>), first: u8| {
            let mut bytes = frame(FrameHead::HEADERS, flags | 4, 1, payload.len());
            bytes.truncate(HEAD);
            let at = payload.iter().position(|byte| matches!(byte, 0x20..=0x3f));
            bytes.extend(payload);
            bytes[HEAD + at.unwrap()] = first;
            bytes
        };
        for (table, takes, first, expected) in [
            (100, true, 0x20, Ok(())),
            (100, true, 0x82, Err(Fault::Table)),
            (100, true, 0x40, Err(Fault::Table)),
            (100, false, 0x82, Ok(())),
            (TABLE, true, 0x82, Ok(())),
        ] {
            for payload in &payloads {
                let mut bytes = PREFACE.to_vec();
                bytes.extend(frame(FrameHead::SETTINGS, 0, 0, 0));
                if takes {
                    bytes.extend(&ack);
                }
                bytes.extend(framed(payload, first));
                for cut in [1, 3, 1000] {
                    let mut watch = FrameWatch::new(Peer::Client, LIMITS, table);
                    let mut parts = bytes.chunks(cut);
                    let taken = parts.try_for_each(|part| watch.take(part));
                    assert_eq!(taken, expected, "{table} {first:#x} {payload:x?}");
                }
            }
        }
    }

    #[test]
    fn upstreams_are_counted_by_the_streams_that_this_side_opens() {
        let mut watch = FrameWatch::new(Peer::Server, LIMITS, TABLE);
        watch.take(&frame(FrameHead::SETTINGS, 0, 0, 0)).unwrap();
        let priority = frame(FrameHead::PRIORITY, 0, 9, 5);
        watch.sent(PREFACE, |_| {});
        let mut opened = Vec::new();
        watch.sent(&frame(FrameHead::HEADERS, 5, 1, 9), |step| {
            if let Step::Head(head) = step {
                opened.push(head.stream);
            }
        });
        assert_eq!(opened, [1]);
        for _ in 0..200 {
            watch.take(&priority).unwrap();
        }
        assert_eq!(watch.take(&priority), Err(Fault::Priority));
        let mut watch = FrameWatch::new(Peer::Server, LIMITS, TABLE);
        assert_eq!(watch.take(&priority), Err(Fault::Preface));
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(
            frames in proptest::collection::vec((0u8..10, 0u8..6, 0u32..6, 0usize..12), 0..40),
            cut in 1usize..20,
        ) {
            let mut bytes = PREFACE.to_vec();
            bytes.extend(frame(FrameHead::SETTINGS, 0, 0, 0));
            for (kind, flags, stream, length) in frames {
                bytes.extend(frame(kind, flags, stream, length));
            }
            let whole = FrameWatch::new(Peer::Client, LIMITS, TABLE).take(&bytes);
            let mut watch = FrameWatch::new(Peer::Client, LIMITS, TABLE);
            let parts: Result<(), Fault> = bytes.chunks(cut).try_for_each(|part| watch.take(part));
            prop_assert_eq!(whole, parts);
        }
    }
}
