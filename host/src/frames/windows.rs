//! The window of a connection's streams (RFC 9113 §5.2), by what its way holds.
//!
//! What a peer may send and nobody takes stays in memory, so a window begins small. Where the way is long, a stream
//! that is read as fast as it comes is as fast as one window for each round trip: then it is made larger. Owns the
//! reckoning alone: when the peer takes settings says how long a round trip is, and `WINDOW_UPDATE` frames of
//! streams say how much of their content has found its reader. Does not own the settings, which are the codec's.
//! Called by `upstream::pool`.

use std::time::{Duration, Instant};

/// Follows one connection.
#[derive(Debug)]
pub(crate) struct Windows {
    /// What the peer goes by.
    size: u32,
    most: u32,
    /// What the settings say that it has not taken yet.
    next: Option<u32>,
    /// When those were sent.
    said: Option<Instant>,
    /// The shortest that was seen.
    round_trip: Option<Duration>,
    /// The stream that is looked at, and since when.
    looked_at: Option<(u32, Instant)>,
    /// How much of it has found its reader since then.
    taken: u32,
}

impl Windows {
    /// For a connection whose first settings have a window of `first`, which may grow to `most`.
    pub(crate) const fn new(first: u32, most: u32) -> Self {
        Self {
            size: first,
            most,
            next: None,
            said: None,
            round_trip: None,
            looked_at: None,
            taken: 0,
        }
    }

    /// Settings have gone to the peer.
    pub(crate) const fn settings_sent(&mut self, now: Instant) {
        self.said = Some(now);
    }

    /// The peer has taken them.
    pub(crate) fn settings_taken(&mut self, now: Instant) {
        let Some(said) = self.said.take() else { return };
        let took = now.saturating_duration_since(said);
        self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
        self.size = self.next.take().unwrap_or(self.size);
        self.looked_at = None;
    }

    /// The peer was told that it may send so much more on a stream, as that has found its reader. Says which
    /// window there is to be, where there is to be a larger one.
    pub(crate) fn opened(&mut self, stream: u32, bytes: u32, now: Instant) -> Option<u32> {
        let round_trip = self.round_trip?;
        if self.said.is_some() || self.size >= self.most {
            return None;
        }
        match self.looked_at {
            Some((looked_at, since)) if now.saturating_duration_since(since) <= round_trip => {
                if looked_at == stream {
                    self.taken = self.taken.saturating_add(bytes);
                }
            }
            // What was taken before this began is not counted.
            _ => (self.looked_at, self.taken) = (Some((stream, now)), 0),
        }
        if self.taken < self.size / 2 {
            return None;
        }
        self.looked_at = None;
        let larger = self.size.saturating_mul(2).min(self.most);
        self.next = Some(larger);
        Some(larger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const KIB: u32 = 1024;
    const MIB: u32 = 1024 * KIB;

    /// The window after 10 s of a stream that comes as fast as the link or the window lets it, in bytes per
    /// second, over a way of that round trip; `reads` of it are read.
    fn grown(first: u32, round_trip: Duration, link: u64, reads: u64) -> u32 {
        let begin = clock::now();
        let mut windows = Windows::new(first, 16 * MIB);
        windows.settings_sent(begin);
        let mut now = begin + round_trip;
        windows.settings_taken(now);
        let mut size = first;
        let mut left = reads;
        while now < begin + Duration::from_secs(10) {
            let by_window = f64::from(size) / round_trip.as_secs_f64();
            let rate = by_window.min(link as f64);
            // The codec opens a window by a third or more of it.
            let part = u64::from(size / 3).min(left);
            if part == 0 {
                break;
            }
            left -= part;
            now += Duration::from_secs_f64(part as f64 / rate);
            if let Some(larger) = windows.opened(1, part as u32, now) {
                assert!(larger > size);
                windows.settings_sent(now);
                assert_eq!(windows.opened(1, u32::MAX, now), None, "not taken yet");
                now += round_trip;
                windows.settings_taken(now);
                size = larger;
            }
        }
        size
    }

    #[test]
    fn a_long_way_has_a_large_window_and_a_short_one_has_not() {
        const GIGABIT: u64 = 125_000_000;
        let millis = Duration::from_millis;
        for (first, round_trip, link, least, most) in [
            // Twice what a gigabit has on its way.
            (MIB, millis(20), GIGABIT, 3 * MIB, 8 * MIB),
            (MIB, millis(200), 10 * GIGABIT, 16 * MIB, 16 * MIB),
            (64 * KIB, millis(20), GIGABIT, 3 * MIB, 8 * MIB),
            (64 * KIB, millis(2), GIGABIT, 256 * KIB, MIB),
            (MIB, millis(1), GIGABIT, MIB, MIB),
            (MIB, Duration::from_micros(100), 80 * GIGABIT, MIB, 2 * MIB),
            (64 * KIB, millis(20), 1_000_000, 64 * KIB, 64 * KIB),
        ] {
            let size = grown(first, round_trip, link, u64::MAX);
            assert!(
                (least..=most).contains(&size),
                "{first} {round_trip:?} {link}: {size}"
            );
        }
    }

    #[test]
    fn who_reads_nothing_more_gets_no_more() {
        // What sockets hold of it looks as if it had been read, however long the peer took for the settings.
        for sockets in [0, 64 * 1024, 400 * 1024] {
            let size = grown(64 * KIB, Duration::from_secs(1), u64::MAX, sockets);
            let bound = 3 * sockets.max(64 * 1024);
            assert!(u64::from(size) <= bound, "{sockets}: {size}");
        }
    }

    #[test]
    fn nothing_grows_before_a_round_trip_is_known() {
        let now = clock::now();
        let mut windows = Windows::new(MIB, 16 * MIB);
        assert_eq!(windows.opened(1, MIB, now), None);
        windows.settings_taken(now);
        assert_eq!(windows.opened(1, MIB, now), None);
        assert_eq!(windows.opened(1, MIB, now), None);
    }

    #[test]
    fn many_streams_that_are_slow_are_not_a_fast_one() {
        let now = clock::now();
        let mut windows = Windows::new(MIB, 16 * MIB);
        windows.settings_sent(now);
        windows.settings_taken(now + Duration::from_millis(20));
        for stream in 1..100 {
            assert_eq!(windows.opened(stream, MIB / 2, now), None, "{stream}");
        }
        assert_eq!(windows.opened(1, MIB / 2, now), Some(2 * MIB));
    }
}
