//! When something is due.
//!
//! Owns one timer for all that the checks of a cluster wait for. A timer of the runtime's for each wait and each
//! time limit of a thousand endpoints would be moved through the runtime's wheel several times before it ends,
//! and costs as much as a check; here they are kept in order, and only the first has a timer. Called by
//! `health::watch`. Does not own: what is waited for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, sleep_until};

/// Who waits for a moment, in order. Nobody is woken but while [`run`](Self::run) is polled.
#[derive(Default)]
pub(super) struct Agenda {
    waiting: RefCell<BTreeMap<Key, Waker>>,
    next_id: Cell<u64>,
    /// When the timer ends; none while nobody waits.
    armed: Cell<Option<Instant>>,
    runner: RefCell<Option<Waker>>,
}

/// A moment, and a number, since more than one may wait for it.
type Key = (Instant, u64);

impl Agenda {
    /// Wakes those whose moment has come, until it is dropped.
    pub(super) async fn run(&self) {
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            self.runner
                .borrow_mut()
                .get_or_insert_with(|| cx.waker().clone())
                .clone_from(cx.waker());
            loop {
                let now = Instant::now();
                while let Some(waker) = self.take_due(now) {
                    waker.wake();
                }
                let next = self
                    .waiting
                    .borrow()
                    .first_key_value()
                    .map(|(key, _)| key.0);
                self.armed.set(next);
                let Some(next) = next else {
                    return Poll::Pending;
                };
                timer.as_mut().reset(next);
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::<()>::Pending;
                }
            }
        })
        .await;
    }

    /// Ready at `moment`.
    pub(super) const fn until(&self, moment: Instant) -> Due<'_> {
        Due {
            agenda: self,
            moment,
            id: None,
        }
    }

    /// Runs `future` until `deadline`; none when that comes first.
    pub(super) async fn limit<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        let (mut future, mut due) = (pin!(future), pin!(self.until(deadline)));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => due.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn enter(&self, moment: Instant, waker: Waker) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.waiting.borrow_mut().insert((moment, id), waker);
        let is_first = self.armed.get().is_none_or(|armed| moment < armed);
        if is_first && let Some(runner) = &*self.runner.borrow() {
            runner.wake_by_ref();
        }
        id
    }
}

/// A moment that is waited for.
pub(super) struct Due<'a> {
    agenda: &'a Agenda,
    moment: Instant,
    /// Known once it was polled.
    id: Option<u64>,
}

impl Future for Due<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(id) = self.id else {
            let id = self.agenda.enter(self.moment, cx.waker().clone());
            self.id = Some(id);
            return Poll::Pending;
        };
        match self.agenda.waiting.borrow_mut().get_mut(&(self.moment, id)) {
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.agenda.waiting.borrow_mut().remove(&(self.moment, id));
            // Only now, for it may be the last of a task, and that of another wait.
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::task::spawn_local;

    use super::*;
    use crate::upstream::testing::runtime;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Runs `test` beside an agenda, on virtual time.
    fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Agenda>) -> F) {
        runtime(true).block_on(async {
            let agenda = Rc::new(Agenda::default());
            let running = Rc::clone(&agenda);
            spawn_local(async move { running.run().await });
            test(agenda).await;
        });
    }

    #[test]
    fn each_is_woken_at_its_moment_whatever_the_order() {
        run(|agenda| async move {
            let start = Instant::now();
            let waits = [40, 10, 30, 10, 0, 5000].map(|at| {
                let agenda = Rc::clone(&agenda);
                spawn_local(async move {
                    agenda.until(start + ms(at)).await;
                    assert_eq!(start.elapsed(), ms(at));
                    // An earlier one than the timer's, and one that has passed.
                    agenda.until(start + ms(at + 5)).await;
                    assert_eq!(start.elapsed(), ms(at + 5));
                    agenda.until(start).await;
                    assert_eq!(start.elapsed(), ms(at + 5));
                })
            });
            for wait in waits {
                wait.await.unwrap();
            }
            assert!(agenda.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn who_is_dropped_waits_no_longer() {
        run(|agenda| async move {
            let start = Instant::now();
            let waiting = Rc::clone(&agenda);
            let gone = spawn_local(async move { waiting.until(start + ms(10)).await });
            let limited = agenda.limit(start + ms(20), std::future::pending::<()>());
            tokio::task::yield_now().await;
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
            assert!(agenda.waiting.borrow().is_empty());
            assert_eq!(limited.await, None);
            assert_eq!(start.elapsed(), ms(20));
            let in_time = agenda.limit(start + ms(90), agenda.until(start + ms(50)));
            assert_eq!(in_time.await, Some(()));
            assert_eq!(start.elapsed(), ms(50));
            assert!(agenda.waiting.borrow().is_empty());
        });
    }
}
