//! One lazy timer a task.
//!
//! Owns a single registration with the runtime's timer wheel, moved only when it would fire too
//! late. A keep-alive connection sets a new deadline for every request, always later than the last
//! one: the registration stays where it is, and the one time it fires early it is moved on.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::coop::has_budget_remaining;
use tokio::time::Sleep;

use crate::clock;

/// A timer that is cheap to set again and again.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Who is woken by it, which need not be said again.
    told: Option<Waker>,
}

impl Timer {
    /// Ready once `deadline` has passed; for ever pending without one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if sleep.deadline().into_std() > deadline {
            sleep.as_mut().reset(deadline.into());
            self.told = None;
        }
        let told = self.told.as_ref();
        if told.is_some_and(|told| told.will_wake(cx.waker())) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            // A task that has had its turn is put off, and nothing is registered.
            let counts = has_budget_remaining();
            if sleep.as_mut().poll(cx).is_pending() {
                self.told = counts.then(|| cx.waker().clone());
                return Poll::Pending;
            }
            if clock::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
    }

    /// Waits until `deadline`; for ever without one.
    pub(crate) async fn wait(&mut self, deadline: Option<Instant>) {
        poll_fn(|cx| self.poll(cx, deadline)).await;
    }

    /// Runs `future` until `deadline`. None when the deadline came first.
    pub(crate) async fn limit<F: Future>(
        &mut self,
        deadline: Option<Instant>,
        future: F,
    ) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            self.poll(cx, deadline).map(|()| None)
        })
        .await
    }
}

/// `now` and `timeout` later; none where there is no timeout, or it lies beyond what a clock can say.
pub(crate) fn after(now: Instant, timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| now.checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::consume_budget;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_is_kept_and_an_earlier_one_moves_the_timer() {
        let mut timer = Timer::default();
        let start = tokio::time::Instant::now();
        let at = |ms| Some((start + Duration::from_millis(ms)).into_std());
        assert_eq!(timer.limit(at(50), async { 1 }).await, Some(1));
        assert_eq!(
            timer.limit(at(10), std::future::pending::<()>()).await,
            None
        );
        assert_eq!(start.elapsed(), Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_put_off_is_woken_all_the_same() {
        let mut timer = Timer::default();
        let until = (tokio::time::Instant::now() + Duration::from_millis(5)).into_std();
        let mut is_first = true;
        let over = poll_fn(|cx| {
            // The first time its turn is over before it comes to the timer.
            if std::mem::take(&mut is_first) {
                while has_budget_remaining() {
                    let _consumed = std::pin::pin!(consume_budget()).poll(cx);
                }
            }
            timer.poll(cx, Some(until))
        });
        let over = tokio::time::timeout(Duration::from_secs(1), over).await;
        assert!(over.is_ok(), "the timer never fires");
    }
}
