//! The body of a request on its way to the copies of it.
//!
//! Owns how far a copy may fall behind: what it has not taken yet is bounded by the request's buffer
//! limit. The request waits for a copy that has so much before it, [`limits::MIRROR_HOLD`] in all; one
//! that is behind for longer is given up, so that a copy can cost a request no more than that. Filled by
//! [`super::kept`], emptied by [`super::mirror`].

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::clock;
use crate::headers::Headers;
use crate::limits;
use crate::timer::{Timer, after};

/// A piece of a body on its way to a copy.
pub(super) enum Piece {
    Data(Bytes),
    /// The end, with trailers where there are any.
    End(Option<Box<Headers>>),
}

/// What both ends know.
#[derive(Default)]
struct Shared {
    /// Bytes that the copy has not taken yet.
    waiting: Cell<usize>,
    /// Who waits for it to take some.
    waker: Cell<Option<Waker>>,
    source: Cell<Source>,
    /// Who waits for the source to change.
    watcher: Cell<Option<Waker>>,
}

/// How far the request is whose body is copied, whatever the copy has taken of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// There is more to come.
    #[default]
    Open,
    /// All of it has come, since then.
    Whole(Instant),
    /// It has ended before its body did, or the copy was given up.
    Gone,
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Nothing more comes of an open source.
    fn end(&self, how: Source) {
        if self.source.get() == Source::Open {
            self.source.set(how);
            if let Some(watcher) = self.watcher.take() {
                watcher.wake();
            }
        }
    }
}

/// The sending end of a copy's body. Dropping it before the end gives the copy up.
pub(super) struct Copy {
    pieces: Sender<Piece>,
    shared: Rc<Shared>,
}

/// The receiving end. Dropping it before the end says that the copy was given up.
pub(super) struct Intake {
    pieces: Receiver<Piece>,
    shared: Rc<Shared>,
}

/// Both ends of a copy's body.
pub(super) fn body() -> (Copy, Intake) {
    let (sender, receiver) = channel(limits::MIRROR_PIECES);
    let shared = Rc::<Shared>::default();
    let intake = Intake {
        pieces: receiver,
        shared: Rc::clone(&shared),
    };
    let copy = Copy {
        pieces: sender,
        shared,
    };
    (copy, intake)
}

impl Intake {
    /// The next piece; none where the request ended before its body did.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let piece = ready!(self.pieces.poll_recv(cx));
        if let Some(Piece::Data(data)) = &piece {
            let waiting = self.shared.waiting.get();
            self.shared.waiting.set(waiting.saturating_sub(data.len()));
        }
        self.shared.wake();
        Poll::Ready(piece)
    }

    /// How far the request is; who asks is woken when that changes.
    pub(super) fn source(&self, cx: &Context<'_>) -> Source {
        let source = self.shared.source.get();
        if source == Source::Open {
            self.shared.watcher.set(Some(cx.waker().clone()));
        }
        source
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.pieces.close();
        self.shared.wake();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.shared.end(Source::Gone);
    }
}

impl Copy {
    /// Hands a piece on. Answers whether the copy can still be made.
    fn push(&self, data: &Bytes) -> bool {
        let waiting = &self.shared.waiting;
        waiting.set(waiting.get() + data.len());
        self.pieces.try_send(Piece::Data(data.clone())).is_ok()
    }

    fn finish(&self, trailers: Option<&Headers>) -> bool {
        let trailers = trailers.map(|block| Box::new(block.clone()));
        let is_taken = self.pieces.try_send(Piece::End(trailers)).is_ok();
        if is_taken {
            self.shared.end(Source::Whole(clock::now()));
        }
        is_taken
    }

    /// Whether it has all before it that it may have.
    fn is_behind(&self, limit: usize) -> bool {
        let is_full = self.pieces.capacity() < limits::MIRROR_PIECES / 2;
        !self.pieces.is_closed() && (is_full || self.shared.waiting.get() > limit)
    }
}

/// The copies of one request that still get its body.
#[derive(Default)]
pub(super) struct Copies {
    list: Vec<Copy>,
    limit: usize,
    /// How many were given up and not told yet.
    given_up: u32,
    hold: Option<Box<Hold>>,
}

/// How long the request has waited for copies.
#[derive(Default)]
struct Hold {
    timer: Timer,
    since: Option<Instant>,
    before: Duration,
}

impl Hold {
    fn end(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.before += now.saturating_duration_since(since);
        }
    }
}

impl Copies {
    /// Each may have `limit` bytes before it, and what comes at once.
    pub(super) fn new(list: Vec<Copy>, limit: usize) -> Self {
        Self {
            list,
            limit,
            ..Self::default()
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many were given up since this was asked.
    pub(super) const fn take_given_up(&mut self) -> u32 {
        std::mem::replace(&mut self.given_up, 0)
    }

    /// Hands a piece to all.
    pub(super) fn push(&mut self, data: &Bytes) {
        if !data.is_empty() {
            self.keep(|copy| copy.push(data));
        }
    }

    /// Hands the end to all, which need nothing else.
    pub(super) fn finish(&mut self, trailers: Option<&Headers>) {
        self.keep(|copy| copy.finish(trailers));
        self.list.clear();
    }

    fn keep(&mut self, holds: impl Fn(&Copy) -> bool) {
        let before = self.list.len();
        self.list.retain(holds);
        let lost = u32::try_from(before - self.list.len()).unwrap_or(u32::MAX);
        self.given_up = self.given_up.saturating_add(lost);
    }

    /// Ready where more may be handed to them, at the latest when those that are behind are given up.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let is_behind = |copy: &&Copy| copy.is_behind(limit);
        if !self.list.iter().any(|copy| is_behind(&copy)) {
            if let Some(hold) = &mut self.hold {
                hold.end(clock::now());
            }
            return Poll::Ready(());
        }
        let hold = self.hold.get_or_insert_with(Box::default);
        let since = *hold.since.get_or_insert_with(clock::now);
        let left = limits::MIRROR_HOLD.saturating_sub(hold.before);
        if hold.timer.poll(cx, after(since, Some(left))).is_ready() {
            hold.end(clock::now());
            self.keep(|copy| !copy.is_behind(limit));
            return Poll::Ready(());
        }
        for copy in self.list.iter().filter(is_behind) {
            copy.shared.waker.set(Some(cx.waker().clone()));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: usize = 8;

    async fn take(intake: &mut Intake) -> Option<usize> {
        match poll_fn(|cx| intake.poll_next(cx)).await? {
            Piece::Data(data) => Some(data.len()),
            Piece::End(_) => Some(0),
        }
    }

    #[tokio::test]
    async fn a_copy_hears_of_the_end_before_it_has_taken_what_is_in_front() {
        for ends in [true, false] {
            let (copy, intake) = body();
            let mut copies = Copies::new(vec![copy], LIMIT);
            copies.push(&Bytes::from_static(b"12345"));
            let seen = poll_fn(|cx| Poll::Ready(intake.source(cx))).await;
            assert_eq!(seen, Source::Open);
            let source = poll_fn(|cx| match intake.source(cx) {
                Source::Open => Poll::Pending,
                source => Poll::Ready(source),
            });
            let end = async {
                tokio::task::yield_now().await;
                if ends {
                    copies.finish(None);
                }
                drop(copies);
            };
            let (source, ()) = tokio::join!(source, end);
            assert_eq!(matches!(source, Source::Whole(_)), ends, "{source:?}");
            assert_eq!(source == Source::Gone, !ends, "{source:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_catches_up_is_waited_for_and_gets_all() {
        let (copy, mut intake) = body();
        let mut copies = Copies::new(vec![copy], LIMIT);
        let reader = async {
            let mut taken = Vec::new();
            while let Some(length) = take(&mut intake).await {
                tokio::time::sleep(limits::MIRROR_HOLD / 100).await;
                taken.push(length);
                if length == 0 {
                    break;
                }
            }
            taken
        };
        let writer = async {
            for _ in 0..20 {
                poll_fn(|cx| copies.poll_room(cx)).await;
                copies.push(&Bytes::from_static(b"12345"));
            }
            copies.finish(None);
        };
        let (taken, ()) = tokio::join!(reader, writer);
        assert_eq!(taken, [vec![5; 20], vec![0]].concat());
        assert_eq!(copies.take_given_up(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_together_are_bounded() {
        let (slow, mut intake) = body();
        let (quick, mut other) = body();
        let mut copies = Copies::new(vec![slow, quick], LIMIT);
        let start = clock::now();
        for _ in 0..4 {
            copies.push(&Bytes::from_static(b"123456789"));
            assert_eq!(take(&mut other).await, Some(9));
            tokio::select! {
                biased;
                () = poll_fn(|cx| copies.poll_room(cx)) => {}
                () = tokio::time::sleep(limits::MIRROR_HOLD * 2 / 5) => {
                    assert_eq!(take(&mut intake).await, Some(9));
                }
            }
            poll_fn(|cx| copies.poll_room(cx)).await;
        }
        assert_eq!(clock::now() - start, limits::MIRROR_HOLD);
        assert_eq!(copies.take_given_up(), 1);
        assert!(!copies.is_empty(), "the other goes on");
        drop(other);
        assert!(
            poll_fn(|cx| Poll::Ready(copies.poll_room(cx)))
                .await
                .is_ready()
        );
        copies.finish(None);
        assert_eq!(copies.take_given_up(), 1, "nobody takes it");
    }
}
