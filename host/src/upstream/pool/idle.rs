//! The idle connections of a host: how long they stay.
//!
//! Owns who of them is closed when: for its age, because nobody needs it, because its peer has ended it, or
//! because somebody else waits for its place. Called by `cluster`. Does not own who gets one (`host`).

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Context;
use std::time::{Duration, Instant};

use super::host::{Host, Queue};
use crate::upstream::spec::Priority;

impl Queue {
    /// When the oldest connection was opened that is not in use, or of HTTP/2.
    fn opened(&self) -> Option<Instant> {
        let idle = self.idle.borrow();
        let idle = idle
            .iter()
            .filter_map(|connection| connection.account.opened());
        let multiplexed = self.multiplexed.borrow();
        let multiplexed = multiplexed.iter().map(|connection| connection.opened());
        idle.chain(multiplexed).min()
    }
}

impl Host {
    /// Closes connections that are dead or were idle for too long.
    pub(super) fn sweep(self: &Rc<Self>, now: Instant) {
        let timeout = self.common().cluster.spec().idle_timeout;
        let expired = |since: Instant| {
            timeout.is_some_and(|timeout| now.saturating_duration_since(since) >= timeout)
        };
        for priority in Priority::ALL {
            let queue = self.queue(priority);
            let idle = std::mem::take(&mut *queue.idle.borrow_mut());
            let (mut kept, mut timed_out) = (VecDeque::with_capacity(idle.len()), 0);
            for mut connection in idle {
                if expired(connection.idle_since) {
                    timed_out += 1;
                } else if connection.account.is_old() {
                    self.common().stats().upstream_cx_max_duration_reached.inc();
                } else if connection.is_quiet() {
                    kept.push_back(connection);
                }
            }
            *queue.idle.borrow_mut() = kept;
            let multiplexed = queue.multiplexed.borrow().clone();
            for connection in multiplexed {
                if connection.is_idle() && expired(connection.idle_since()) {
                    timed_out += 1;
                    self.forget(priority, connection.id());
                } else if connection.is_old(self.common().cluster.spec()) {
                    self.common().stats().upstream_cx_max_duration_reached.inc();
                    self.forget(priority, connection.id());
                }
            }
            self.common()
                .stats()
                .upstream_cx_idle_timeout
                .add(timed_out);
            // A peer may have allowed more streams meanwhile.
            self.serve_waiters(priority);
        }
    }

    /// Closes idle connections that their peers have ended, and has the others tell. How many they and
    /// the host are.
    pub(super) fn watch_idle(&self, cx: &mut Context<'_>) -> u32 {
        let mut looked = 1_u32;
        for queue in &self.queues {
            let mut idle = queue.idle.borrow_mut();
            let count = u32::try_from(idle.len()).unwrap_or(u32::MAX);
            looked = looked.saturating_add(count);
            idle.retain_mut(|connection| connection.watch(cx));
        }
        looked
    }

    /// When the first connection is to be closed for its age, or because it is idle.
    pub(super) fn due(&self) -> Option<Instant> {
        let spec = self.common().cluster.spec();
        let after = |since: Option<Instant>, time: Option<Duration>| since?.checked_add(time?);
        let idle = Priority::ALL
            .into_iter()
            .filter_map(|priority| after(self.idle_since(priority), spec.idle_timeout));
        let old = spec.max_connection_duration.map(|_| {
            let opened = self.queues.iter().filter_map(Queue::opened).min();
            after(opened, spec.max_connection_duration)
        });
        idle.chain(old.flatten()).min()
    }

    /// Since when the connection that has been idle longest is so.
    pub(super) fn idle_since(&self, priority: Priority) -> Option<Instant> {
        let queue = self.queue(priority);
        let http1 = queue
            .idle
            .borrow()
            .front()
            .map(|connection| connection.idle_since);
        let connections = queue.multiplexed.borrow();
        let idle = connections.iter().filter(|connection| connection.is_idle());
        http1.or_else(|| idle.map(|connection| connection.idle_since()).min())
    }

    /// Closes the connection that has been idle longest.
    pub(super) fn evict_idle(&self, priority: Priority) -> bool {
        let queue = self.queue(priority);
        if let Some(connection) = queue.idle.borrow_mut().pop_front() {
            drop(connection);
            return true;
        }
        let connections = queue.multiplexed.borrow();
        let idle = connections.iter().filter(|connection| connection.is_idle());
        let longest = idle
            .min_by_key(|connection| connection.idle_since())
            .map(|c| c.id());
        drop(connections);
        if let Some(id) = longest {
            self.forget(priority, id);
        }
        longest.is_some()
    }
}
