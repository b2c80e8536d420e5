//! The clock that interrupts guests.
//!
//! Owns the thread that advances the engine's epoch and the rule by which a call is over its time.
//! `engine` starts it, `instance` wakes it before a call, the store asks [`Budget`] at every tick
//! that a call outlives.
//!
//! A tick costs a running guest one comparison, so calls that end within a tick pay nothing. What a
//! call may use is processor time, not time on the wall: a worker that the kernel has put aside does
//! not make its guest late. The thread ticks while calls are being made and for [`LINGER`] ticks
//! after the last, then sleeps until the next call: an idle proxy has no wakeups from here. A tick takes
//! the processor from a worker, so they are far apart until a call is seen to outlive one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::EngineWeak;

/// Time between ticks while no call lasts as long as that, and so the most that a call runs unseen.
const STRIDE: Duration = Duration::from_millis(5);
/// Time between ticks while one does, and so how late a call that has used its time is interrupted. The
/// default budget is 5 of these.
const TICK: Duration = Duration::from_millis(1);
/// How many of these there are for one call that was seen.
const TICKS: u32 = 10;
/// Ticks without a new call after which the thread sleeps. A call in flight wakes it again at each
/// tick that it sees.
const LINGER: u32 = 20;

/// The thread sleeps.
const ASLEEP: u8 = 0;
/// It ticks, and no call began since the last tick.
const QUIET: u8 = 1;
/// It ticks, and a call began since the last tick.
const BUSY: u8 = 2;
/// It ticks fast, since a call lasts.
const LATE: u8 = 3;
/// It is to end.
const STOPPED: u8 = 4;

/// The ticking thread. Ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    state: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread, asleep.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let state = Arc::new(AtomicU8::new(ASLEEP));
        let seen = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("wasm-ticker".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || run(&seen, &engine))?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    /// Sees to it that ticks come. Called before each call of a guest.
    #[inline]
    pub(super) fn wake(&self) {
        if self.state.load(Ordering::Relaxed) < BUSY {
            self.raise(BUSY);
        }
    }

    /// Sees to it that ticks come fast. Called at a tick by a call that saw one before.
    pub(super) fn hurry(&self) {
        if self.state.load(Ordering::Relaxed) < LATE {
            self.raise(LATE);
        }
    }

    #[cold]
    fn raise(&self, state: u8) {
        let before = self.state.fetch_max(state, Ordering::AcqRel);
        let is_waiting = before == ASLEEP || (before < state && state == LATE);
        if is_waiting && let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.store(STOPPED, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its only panic would be one of the engine's; there is nothing to save from it.
            let _ended = thread.join();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ticks are what it waits for, and one that comes early does no harm"
)]
fn run(state: &AtomicU8, engine: &EngineWeak) {
    let mut quiet = 0;
    let mut late = 0;
    loop {
        match state.load(Ordering::Acquire) {
            STOPPED => return,
            ASLEEP => {
                std::thread::park();
                quiet = 0;
                continue;
            }
            LATE => std::thread::park_timeout(TICK),
            _ => {
                std::thread::park_timeout(STRIDE);
                late = 0;
            }
        }
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let exchange = |from, to| {
            state
                .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        // In front of the tick, so that whoever sees it is heard.
        if state.load(Ordering::Acquire) == LATE {
            quiet = 0;
            late += 1;
            if late >= TICKS {
                exchange(LATE, BUSY);
            }
        } else if exchange(BUSY, QUIET) {
            quiet = 0;
        } else {
            quiet += 1;
            if quiet > LINGER {
                exchange(QUIET, ASLEEP);
            }
        }
        engine.increment_epoch();
    }
}

/// What one call may use, asked at every tick that it outlives.
#[derive(Debug, Default)]
pub(super) struct Budget {
    limit: Duration,
    /// The thread's processor time at the first tick of this call.
    since: Option<Duration>,
}

impl Budget {
    /// A new call that may use `limit`.
    #[inline]
    pub(super) const fn restart(&mut self, limit: Duration) {
        self.limit = limit;
        self.since = None;
    }

    /// Whether the call has seen a tick.
    pub(super) const fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// Counts from now on at the latest, `cpu` being the processor time of the call's thread. For what
    /// the host does in a call without seeing ticks.
    pub(super) fn count_from(&mut self, cpu: Duration) {
        self.since.get_or_insert(cpu);
    }

    /// Forgets what was used so far.
    pub(super) const fn count_anew(&mut self) {
        self.since = None;
    }

    /// Whether the call is over its limit, given the processor time of its thread. The time before
    /// the call's first tick is not counted, because reading that clock costs a system call.
    pub(super) fn is_spent(&mut self, cpu: Duration) -> bool {
        let since = *self.since.get_or_insert(cpu);
        cpu.saturating_sub(since) >= self.limit
    }
}

/// Processor time that the calling thread has used so far.
pub(super) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_counts_from_the_first_tick() {
        let ms = Duration::from_millis;
        let mut budget = Budget::default();
        budget.restart(ms(5));
        assert!(!budget.is_spent(ms(100)));
        assert!(!budget.is_spent(ms(104)));
        assert!(budget.is_spent(ms(105)));
        budget.restart(ms(5));
        assert!(!budget.is_spent(ms(106)), "each call has its own budget");
        budget.restart(ms(5));
        budget.count_from(ms(200));
        budget.count_from(ms(204));
        assert!(budget.is_spent(ms(205)), "no tick was seen before");
        budget.count_anew();
        assert!(!budget.is_spent(ms(300)));
        assert!(budget.is_spent(ms(305)));
    }

    #[test]
    fn the_processor_time_of_a_thread_grows_with_work() {
        let before = thread_cpu();
        let mut sum = 0_u64;
        while thread_cpu() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu() > before);
    }

    #[test]
    fn ticks_come_while_calls_are_made_and_stop_after() {
        let engine = wasmtime::Engine::default();
        let ticker = Ticker::start(engine.weak()).unwrap();
        assert_eq!(ticker.state.load(Ordering::Acquire), ASLEEP);
        ticker.wake();
        // Where it never slept this would not end, and the test's runner says which test that is.
        while ticker.state.load(Ordering::Acquire) != ASLEEP {
            std::thread::yield_now();
        }
        ticker.wake();
        assert_ne!(ticker.state.load(Ordering::Acquire), ASLEEP);
    }

    #[test]
    fn one_that_hurries_does_so_when_others_begin() {
        let ticker = Ticker {
            state: Arc::new(AtomicU8::new(QUIET)),
            thread: None,
        };
        let state = || ticker.state.load(Ordering::Acquire);
        ticker.wake();
        assert_eq!(state(), BUSY);
        ticker.hurry();
        ticker.wake();
        assert_eq!(state(), LATE);
        ticker.state.store(STOPPED, Ordering::Release);
        ticker.hurry();
        assert_eq!(state(), STOPPED);
    }
}
