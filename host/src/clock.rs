//! The only reader of the clocks.
//!
//! Owns nothing but the calls themselves. State machines take `now` as an argument; the loops that
//! drive them ask here, so a test that drives a state machine never meets real time.

use std::time::{Instant, SystemTime};

/// The monotonic clock, for durations and deadlines: the runtime's, which a test may pause.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, for time stamps that people and other programs read.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time of one turn: read when it is first asked for, and the same until the next turn.
#[derive(Debug, Default)]
pub struct Turn(Option<Instant>);

impl Turn {
    /// Begins the next one.
    pub const fn begin(&mut self) {
        self.0 = None;
    }

    /// When it is, if somebody has asked.
    pub const fn known(&self) -> Option<Instant> {
        self.0
    }

    /// When it is.
    pub fn now(&mut self) -> Instant {
        *self.0.get_or_insert_with(now)
    }
}
