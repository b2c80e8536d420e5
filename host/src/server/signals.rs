//! What signals ask for, the same in every phase of the process.
//!
//! Owns waiting for them, what is done about those that do not end the process, and telling a second
//! wish for the end from the echo of the first. Called by [`super`].

use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock;
use crate::limits::SIGNAL_ECHO;
use crate::observe::access_log::Sinks;

/// The signals that mean something.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    hang_up: Signal,
    /// When the end was asked for first.
    asked: Option<Instant>,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    End(&'static str),
    Reopen,
    HangUp,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            hang_up: signal(SignalKind::hangup())?,
            asked: None,
        })
    }

    /// Waits for any of them.
    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::End("SIGTERM"),
            _ = self.interrupt.recv() => Event::End("SIGINT"),
            _ = self.reopen.recv() => Event::Reopen,
            _ = self.hang_up.recv() => Event::HangUp,
        }
    }

    /// Waits for one that asks for the end, and does what others ask for. Nothing is lost when that is
    /// given up half way.
    pub(super) async fn end(&mut self, sinks: &Sinks) {
        loop {
            match self.next().await {
                Event::End(name) => {
                    let now = clock::now();
                    if is_echo(self.asked, now) {
                        tracing::debug!(target: "main", "caught {name} with another one");
                        continue;
                    }
                    self.asked.get_or_insert(now);
                    tracing::warn!(target: "main", "caught {name}");
                    return;
                }
                Event::Reopen => {
                    tracing::info!(target: "main", "caught SIGUSR1: opening access logs anew");
                    sinks.reopen();
                }
                Event::HangUp => tracing::warn!(target: "main", "caught and ignored SIGHUP"),
            }
        }
    }
}

/// Whether a signal that comes now is the first one again: `timeout` and the like send theirs to the
/// process and to its group.
fn is_echo(asked: Option<Instant>, now: Instant) -> bool {
    asked.is_some_and(|asked| now.saturating_duration_since(asked) < SIGNAL_ECHO)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_signal_counts_once_it_is_no_echo() {
        let now = clock::now();
        assert!(!is_echo(None, now));
        for (later, echo) in [
            (Duration::ZERO, true),
            (SIGNAL_ECHO - Duration::from_millis(1), true),
            (SIGNAL_ECHO, false),
        ] {
            assert_eq!(is_echo(Some(now), now + later), echo, "{later:?}");
        }
    }
}
