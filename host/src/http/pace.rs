//! A body that goes on no faster than a filter says.
//!
//! Owns how much may go when, as in Envoy: a bucket that earns a second's worth at most, from which
//! pieces are taken 50 ms apart, and what waits meanwhile. [`super::pump`] fills and empties it. Does not
//! own who asks for it (`wasm`), nor the limit on what waits.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::timer::{Timer, after};
use crate::clock;
use crate::exchange::Rate;

/// Between two pieces.
const TICK: Duration = Duration::from_millis(50);
/// What a byte costs: what a rate of one byte in a second earns in that time.
const BYTE: u128 = Duration::from_secs(1).as_nanos();

/// What waits of a body, and when it may go.
pub(super) struct Paced {
    purse: Purse,
    held: BytesMut,
    /// When the next piece may go; at once where none has left something behind.
    next: Option<Instant>,
    timer: Timer,
}

impl Paced {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            purse: Purse::new(rate),
            held: BytesMut::new(),
            next: None,
            timer: Timer::default(),
        }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes some content.
    pub(super) fn hold(&mut self, content: &[u8]) {
        self.held.extend_from_slice(content);
    }

    /// The next piece, once it may go; an empty one where nothing waits.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        while !self.held.is_empty() {
            ready!(self.poll_tick(cx));
            let now = clock::now();
            let length = self.purse.take(self.held.len(), now);
            let piece = self.held.split_to(length).freeze();
            if !self.held.is_empty() {
                self.next = after(now, Some(TICK));
            }
            if !piece.is_empty() {
                return Poll::Ready(piece);
            }
        }
        Poll::Ready(Bytes::new())
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_some() {
            ready!(self.timer.poll(cx, self.next));
            self.next = None;
        }
        Poll::Ready(())
    }
}

/// What may be spent, in [`BYTE`]s.
#[derive(Debug)]
struct Purse {
    rate: u128,
    saved: u128,
    since: Instant,
}

impl Purse {
    fn new(rate: Rate) -> Self {
        let per_second = u128::from(rate.bytes_per_second);
        Self {
            rate: per_second,
            saved: per_second * TICK.as_nanos(),
            since: rate.since,
        }
    }

    /// How many of `most` bytes may go now.
    fn take(&mut self, most: usize, now: Instant) -> usize {
        let earned = now.saturating_duration_since(self.since).as_nanos();
        let earned = earned.saturating_mul(self.rate);
        self.saved = self.saved.saturating_add(earned).min(self.rate * BYTE);
        self.since = now;
        let bytes = usize::try_from(self.saved / BYTE).unwrap_or(usize::MAX);
        let bytes = bytes.min(most);
        self.saved -= bytes as u128 * BYTE;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn rate(bytes_per_second: u64, since: Instant) -> Rate {
        Rate {
            bytes_per_second,
            since,
        }
    }

    #[test]
    fn a_purse_earns_by_the_nanosecond_and_saves_up_for_a_second() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut purse = Purse::new(rate(1024, start));
        assert_eq!(purse.take(1000, start), 51, "what a tick earns is there");
        assert_eq!(purse.take(1000, start), 0);
        assert_eq!(purse.take(10, at(50)), 10);
        assert_eq!(purse.take(1000, at(50)), 41);
        assert_eq!(
            purse.take(1000, at(200)),
            154,
            "nothing is lost to rounding"
        );
        assert_eq!(purse.take(9999, at(60_000)), 1024);
        let mut most = Purse::new(rate(u64::MAX, start));
        assert_eq!(most.take(usize::MAX, at(u64::from(u32::MAX))), usize::MAX);
        let mut least = Purse::new(rate(1, start));
        assert_eq!(least.take(5, at(949)), 0);
        assert_eq!(least.take(5, at(950)), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_are_ticks_apart_and_make_the_whole() {
        let start = clock::now();
        let mut paced = Paced::new(rate(1000, start));
        assert_eq!(poll_fn(|cx| paced.poll_piece(cx)).await, Bytes::new());
        let content: Vec<u8> = (0..230).map(|index| index as u8).collect();
        paced.hold(&content);
        let (mut came, mut when) = (Vec::new(), Vec::new());
        while paced.len() > 0 {
            let piece = poll_fn(|cx| paced.poll_piece(cx)).await;
            when.push((clock::now().duration_since(start).as_millis(), piece.len()));
            came.extend_from_slice(&piece);
        }
        assert_eq!(came, content);
        assert_eq!(when, [(0, 50), (50, 50), (100, 50), (150, 50), (200, 30)]);
        // What comes later has saved up meanwhile.
        tokio::time::advance(Duration::from_secs(10)).await;
        paced.hold(&[7; 1050]);
        assert_eq!(poll_fn(|cx| paced.poll_piece(cx)).await.len(), 1000);
        assert_eq!(poll_fn(|cx| paced.poll_piece(cx)).await.len(), 50);
    }
}
