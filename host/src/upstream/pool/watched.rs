//! The frames of an upstream's connection on their way, either direction.
//!
//! Owns what they are counted for: bytes, limits that were gone beyond, when something was heard, the windows
//! that streams are to have, and how the connection ends ([`Signs`]). Does not own the look at answers
//! ([`super::answers`]), nor what the codec gets in another form ([`super::veil`]), nor the limits themselves
//! (`frames::watch`). Called by `http2`.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, ReadBuf};

use super::answers::Answers;
use super::host::Host;
use super::veil::Veil;
use crate::clock;
use crate::frames::tapped::Tap;
use crate::frames::targets::{LongTargets, Rewriting};
use crate::frames::watch::{Fault, FrameWatch, Peer};
use crate::frames::windows::Windows;
use crate::frames::{FrameHead, Step};
use crate::limits;
use crate::socket::Socket;
use crate::upstream::spec::{Http2Settings, StreamWindow};

/// Looks at what an upstream says on a connection, and counts its bytes. The connection fails with
/// [`io::ErrorKind::InvalidData`] where that may not be said.
pub(super) struct Watched {
    watch: FrameWatch,
    answers: Answers,
    veil: Veil,
    /// Whose statistics count.
    host: Rc<Host>,
    /// When something came last, where somebody wants to know.
    heard: Option<Heard>,
    /// How large the windows of streams are to be, where they grow.
    windows: Option<(Windows, Wider)>,
    signs: Rc<Signs>,
    targets: Rc<LongTargets>,
}

/// What the frames of a connection say about how many streams it takes, and how it ends.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Requests without a whole answer.
    open: Cell<usize>,
    /// Whether the upstream takes no more of them.
    has_left: Cell<bool>,
    /// Streams that are under way, or were given out and are to be opened.
    pub(super) active: Cell<u32>,
    /// How many the upstream takes at once, where it has said that.
    most: Cell<Option<u32>>,
    /// Whether it has said something else of that since it was asked.
    has_changed: Cell<bool>,
}

impl Signs {
    /// Whether an answer is missing.
    pub(super) fn has_open(&self) -> bool {
        self.open.get() > 0
    }

    /// Whether the upstream takes none at present. The codec is not told so; see [`Veil::look_at_settings`].
    pub(super) fn is_shut(&self) -> bool {
        self.most.get() == Some(0)
    }

    /// Whether the upstream takes another number of streams than when this was asked last.
    pub(super) fn take_change(&self) -> bool {
        self.has_changed.take()
    }

    /// Whether the upstream has said goodbye, and owes no answer: then it is this side that closes.
    pub(super) fn is_over(&self) -> bool {
        self.has_left.get() && !self.has_open()
    }
}

/// When the upstream was heard of last.
pub(super) type Heard = Rc<Cell<Instant>>;

/// The window that streams are to have, until the upstream is told of it.
pub(super) type Wider = Rc<Cell<Option<u32>>>;

impl Watched {
    pub(super) fn new(
        settings: &Http2Settings,
        host: &Rc<Host>,
        heard: Option<Heard>,
        wider: &Wider,
        signs: &Rc<Signs>,
        targets: &Rc<LongTargets>,
    ) -> Self {
        let windows = match settings.stream_window {
            StreamWindow::Fixed(_) => None,
            StreamWindow::Grows(first) => {
                let windows = Windows::new(first, limits::HTTP2_STREAM_WINDOW);
                Some((windows, Rc::clone(wider)))
            }
        };
        Self {
            heard,
            windows,
            watch: FrameWatch::new(Peer::Server, settings.frames, settings.header_table),
            answers: Answers::new(settings.max_header_list, settings.header_table),
            veil: Veil::default(),
            signs: Rc::clone(signs),
            targets: Rc::clone(targets),
            host: Rc::clone(host),
        }
    }

    /// Looks at what has come. Whether the codec gets it as it is.
    fn look(&mut self, read: &[u8]) -> io::Result<bool> {
        let stats = self.host.common().stats();
        stats.upstream_cx_rx_bytes_total.add(read.len() as u64);
        if let Some(heard) = &self.heard {
            heard.set(clock::now());
        }
        let (answers, windows) = (&mut self.answers, &mut self.windows);
        let (veil, signs) = (&mut self.veil, &*self.signs);
        let looked = self.watch.received(read, |step, behind| {
            let (Step::Head(frame) | Step::Payload(frame, ..)) = step;
            if frame.kind == FrameHead::DATA
                && (frame.length == 0 || answers.has_bare() || veil.is_looking())
                && veil.look(step, behind, answers.come(frame.stream))
            {
                answers.has_content(frame.stream);
            }
            // One that is cut, which none is in fact, goes on as it is.
            if let Step::Payload(_, payload, true) = step
                && frame.kind == FrameHead::SETTINGS
                && payload.len() == frame.length as usize
            {
                veil.look_at_settings(payload, behind, signs.active.get());
            }
            if matches!(step, Step::Head(frame) if frame.kind == FrameHead::GOAWAY) {
                signs.has_left.set(true);
            }
            if let (Step::Head(frame), Some((windows, _))) = (step, &mut *windows)
                && frame.kind == FrameHead::SETTINGS
                && frame.flags & FrameHead::ACK != 0
            {
                windows.settings_taken(clock::now());
            }
            if let Some(instead) = answers.instead(step) {
                veil.replace(step, behind, instead);
            }
            answers.look(step)
        });
        if let Err(misread) = looked {
            // Its stream ends by what was found on it, and the others with the connection.
            answers.ended(misread.frame.stream);
        }
        signs.open.set(answers.open_streams());
        let most = self.watch.streams();
        if signs.most.replace(most) != most {
            signs.has_changed.set(true);
        }
        looked.map_err(|misread| {
            self.count(misread.fault);
            io::Error::new(io::ErrorKind::InvalidData, misread)
        })?;
        let has_bare = self.answers.has_bare();
        Ok(!self.veil.take(read, self.watch.cut_head(), has_bare))
    }
    fn count(&self, fault: Fault) {
        let Some(stats) = self.host.common().http2_stats() else {
            return;
        };
        match fault {
            Fault::Empty => stats.inbound_empty_frames_flood.inc(),
            Fault::Priority => stats.inbound_priority_frames_flood.inc(),
            Fault::WindowUpdate => stats.inbound_window_update_frames_flood.inc(),
            Fault::Preface | Fault::Settings | Fault::Table | Fault::Block => {}
        }
    }
}

impl Tap for Watched {
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.veil.give(into) {
            let before = into.filled().len();
            ready!(Pin::new(&mut *socket).poll_read(cx, into))?;
            let read = into.filled().get(before..).unwrap_or_default();
            if self.look(read)? {
                break;
            }
            into.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, bytes: &[u8]) {
        let stats = self.host.common().stats();
        stats.upstream_cx_tx_bytes_total.add(bytes.len() as u64);
        let (answers, windows) = (&mut self.answers, &mut self.windows);
        self.watch.sent(bytes, |step| {
            match step {
                Step::Head(frame) if frame.kind == FrameHead::HEADERS => {
                    answers.asked(frame.stream)
                }
                Step::Head(frame) if frame.kind == FrameHead::RST_STREAM => {
                    answers.ended(frame.stream);
                }
                _ => {}
            }
            if let Some((windows, wider)) = &mut *windows {
                follow(step, windows, wider);
            }
        });
        self.signs.open.set(self.answers.open_streams());
    }

    fn rewriting(&self) -> Option<Box<Rewriting>> {
        if self.targets.is_empty() {
            return None;
        }
        let walk = self.watch.sent_walk();
        Some(Box::new(Rewriting::new(Rc::clone(&self.targets), walk)))
    }
}

/// Follows how the windows of an upstream's streams are opened.
fn follow(step: Step<'_>, windows: &mut Windows, wider: &Wider) {
    match step {
        Step::Head(frame)
            if frame.kind == FrameHead::SETTINGS && frame.flags & FrameHead::ACK == 0 =>
        {
            windows.settings_sent(clock::now());
        }
        // One that is cut says nothing; the next one does.
        Step::Payload(frame, &[a, b, c, d], true)
            if frame.kind == FrameHead::WINDOW_UPDATE && frame.stream != 0 =>
        {
            let bytes = u32::from_be_bytes([a, b, c, d]);
            if let Some(size) = windows.opened(frame.stream, bytes, clock::now()) {
                wider.set(Some(size));
            }
        }
        _ => {}
    }
}
