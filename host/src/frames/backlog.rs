//! How many frames of content may wait on a connection of HTTP/2 to be written.
//!
//! The codec bounds what waits in bytes, and a frame of a few bytes costs it many times that. Owns the count of the
//! frames that were handed to the codec and have not left it, and who waits for there to be fewer:
//! `max_outbound_frames`, beyond which Envoy ends the connection. Does not own frames without content, which
//! streams have two of at most, and connections one of each kind. Also counts those of a stream that are not its last,
//! which a reset would take back. `http::http2` and `upstream::pool` have one for each connection, `http::sending` has its
//! frames counted.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

/// The count of one connection.
pub(crate) struct Backlog {
    most: u32,
    waiting: Cell<u32>,
    /// Who waits, and some who are gone.
    blocked: RefCell<Vec<Weak<Seated>>>,
}

/// Where a stream waits, and what it has on the connection, once it has to or has any: nothing of it stays behind.
pub(crate) struct Seat(Option<Rc<Seated>>);

#[derive(Default)]
struct Seated {
    /// Who waits for there to be fewer frames of all streams.
    for_room: Cell<Option<Waker>>,
    /// How many frames of this stream have not left.
    waiting: Cell<u32>,
    /// Who waits for there to be none of them.
    for_end: Cell<Option<Waker>>,
}

impl Seat {
    /// For a stream that has not waited yet.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Ready once no frame of the stream waits but its last.
    pub(crate) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        let seated = self.0.as_ref();
        let Some(seated) = seated.filter(|seated| seated.waiting.get() > 0) else {
            return Poll::Ready(());
        };
        seated.for_end.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Backlog {
    /// For at most so many frames, and at least one.
    pub(crate) fn new(most: u32) -> Rc<Self> {
        Rc::new(Self {
            most: most.max(1),
            waiting: Cell::new(0),
            blocked: RefCell::default(),
        })
    }

    /// Ready while one more may be handed over. Whoever waits is woken when half of them have left.
    pub(crate) fn poll_room(&self, seat: &mut Seat, cx: &Context<'_>) -> Poll<()> {
        if self.waiting.get() < self.most {
            return Poll::Ready(());
        }
        let seated = seat.0.get_or_insert_default();
        let waker = Some(cx.waker().clone());
        let is_listed = seated.for_room.replace(waker).is_some();
        if !is_listed {
            let mut blocked = self.blocked.borrow_mut();
            if blocked.len() == blocked.capacity() {
                blocked.retain(|waiting| waiting.strong_count() > 0);
            }
            blocked.push(Rc::downgrade(seated));
        }
        Poll::Pending
    }

    /// One more frame of content, behind which more of its stream comes.
    pub(crate) fn part(self: &Rc<Self>, seat: &mut Seat, bytes: Bytes) -> Part {
        let seated = Rc::clone(seat.0.get_or_insert_default());
        seated.waiting.set(seated.waiting.get() + 1);
        self.frame(bytes, Some(seated))
    }

    /// The last one of a stream.
    pub(crate) fn last_part(self: &Rc<Self>, bytes: Bytes) -> Part {
        self.frame(bytes, None)
    }

    fn frame(self: &Rc<Self>, bytes: Bytes, seated: Option<Rc<Seated>>) -> Part {
        self.waiting.set(self.waiting.get() + 1);
        Part {
            bytes,
            _place: Place(Rc::clone(self), seated),
        }
    }
}

/// The content of a frame, as the codec keeps it until it is written or its stream is reset.
pub(crate) struct Part {
    bytes: Bytes,
    _place: Place,
}

/// What a frame takes up of a [`Backlog`], and of its stream.
struct Place(Rc<Backlog>, Option<Rc<Seated>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seated) = &self.1 {
            let waiting = seated.waiting.get() - 1;
            seated.waiting.set(waiting);
            if waiting == 0
                && let Some(waker) = seated.for_end.take()
            {
                waker.wake();
            }
        }
        let backlog = &*self.0;
        let waiting = backlog.waiting.get() - 1;
        backlog.waiting.set(waiting);
        if waiting == backlog.most / 2 {
            let blocked = backlog.blocked.take();
            let live = blocked.iter().filter_map(Weak::upgrade);
            for waker in live.filter_map(|seated| seated.for_room.take()) {
                waker.wake();
            }
        }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_is_woken_once_when_half_have_left() {
        for most in [1, 2, 5] {
            let backlog = Backlog::new(most);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let cx = Context::from_waker(&waker);
            let (mut parts, mut seat) = (Vec::new(), Seat::none());
            while backlog.poll_room(&mut seat, &cx).is_ready() {
                parts.push(backlog.last_part(Bytes::from_static(b"x")));
            }
            assert_eq!(parts.len(), most as usize);
            for _ in 0..1000 {
                assert!(backlog.poll_room(&mut seat, &cx).is_pending());
                // Who gives up leaves nothing.
                let gone = backlog.poll_room(&mut Seat::none(), &cx);
                assert!(gone.is_pending());
            }
            assert!(backlog.blocked.borrow().len() <= 8);
            while let Some(part) = parts.pop() {
                drop(part);
                let has_woken = woken.0.load(Ordering::Relaxed);
                assert_eq!(has_woken, usize::from(parts.len() <= most as usize / 2));
            }
            assert!(backlog.poll_room(&mut seat, &cx).is_ready());
        }
    }

    #[test]
    fn a_stream_is_told_once_none_of_its_frames_waits_but_the_last() {
        let backlog = Backlog::new(10);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let (mut seat, mut other) = (Seat::none(), Seat::none());
        assert!(seat.poll_empty(&cx).is_ready());
        let part = |seat: &mut Seat| backlog.part(seat, Bytes::from_static(b"x"));
        let (first, second, third) = (part(&mut seat), part(&mut other), part(&mut seat));
        let _last = backlog.last_part(Bytes::new());
        for part in [first, second] {
            assert!(seat.poll_empty(&cx).is_pending());
            drop(part);
            assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        }
        drop(third);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(seat.poll_empty(&cx).is_ready() && other.poll_empty(&cx).is_ready());
    }
}
