//! How idle HTTP/1 connections tell that their peers have ended them.
//!
//! Nobody reads from a connection without a request. Owns the bell that such a connection rings when there is
//! something to read all the same, which wakes the task that looks after a worker's pools. A connection is
//! given the bell some time after it came to rest, together with all others, so that one that is busy has
//! nothing to do with it. Does not own what is looked at: that is the hosts'.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use tokio::sync::Notify;

/// See the module's page.
pub(super) struct Watch {
    bell: Arc<Bell>,
    waker: Waker,
    /// Whether a connection has come to rest since connections were looked at.
    is_stirred: Cell<bool>,
}

struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell(Notify::new()));
        Self {
            waker: Arc::clone(&bell).into(),
            bell,
            is_stirred: Cell::new(false),
        }
    }

    /// Notes that there is a connection that has no bell.
    #[inline]
    pub(super) fn came_to_rest(&self) {
        if !self.is_stirred.replace(true) {
            self.bell.0.notify_one();
        }
    }

    /// Waits until there is something to look at.
    pub(super) async fn rung(&self) {
        self.bell.0.notified().await;
    }

    /// What connections that are looked at now ring later.
    pub(super) fn look(&self) -> Context<'_> {
        self.is_stirred.set(false);
        Context::from_waker(&self.waker)
    }
}
