//! An answer of the upstream, kept for a while.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The time, as the proxy's clock tells it to components.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this component that reads a clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What the upstream said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// Whether it would rather have less to do.
    pub is_degraded: bool,
}

/// The last answer, for as long as it counts.
#[derive(Debug)]
pub(crate) struct Cache {
    lasts: Duration,
    last: Cell<Option<(Answer, Instant)>>,
}

impl Cache {
    pub(crate) const fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            last: Cell::new(None),
        }
    }

    pub(crate) fn put(&self, answer: Answer, now: Instant) {
        self.last.set(Some((answer, now)));
    }

    /// The answer to give at `now`; none where the upstream has to be asked.
    pub(crate) fn get(&self, now: Instant) -> Option<Answer> {
        let (answer, since) = self.last.get()?;
        (now.saturating_duration_since(since) < self.lasts).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_a_while() {
        let cache = Cache::new(Duration::from_secs(2));
        let start = now();
        let at = |millis| start + Duration::from_millis(millis);
        let answer = |status| Answer {
            status,
            is_degraded: false,
        };
        assert_eq!(cache.get(start), None);
        cache.put(answer(503), start);
        assert_eq!(cache.get(at(1999)), Some(answer(503)));
        assert_eq!(cache.get(at(2000)), None);
        cache.put(answer(200), at(2100));
        assert_eq!(cache.get(at(4099)), Some(answer(200)));
        assert_eq!(cache.get(at(4100)), None);
    }
}
