//! How many connections of clients there may be at once: a listener's, and those of all.
//!
//! Owns the count and the limit, a runtime value that may change meanwhile. Does not own closing those
//! that are too many (`listener`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::values::{Integer, Values};

/// Room for so many connections as a runtime value says; for any number where none does.
#[derive(Debug)]
pub struct Room {
    limit: Integer,
    active: AtomicU64,
}

/// A connection in a [`Room`], given back on drop.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<Room>);

impl Room {
    /// The room for the connections of all listeners: `overload.global_downstream_max_connections`.
    #[must_use]
    pub fn of_all(values: &Arc<Values>) -> Self {
        Self::new(values, "overload.global_downstream_max_connections")
    }

    /// That of a listener: `envoy.resource_limits.listener.<name>.connection_limit`.
    #[must_use]
    pub fn of_listener(values: &Arc<Values>, name: &str) -> Self {
        let key = format!("envoy.resource_limits.listener.{name}.connection_limit");
        Self::new(values, &key)
    }

    fn new(values: &Arc<Values>, key: &str) -> Self {
        Self {
            limit: Integer::new(u64::MAX, values, key),
            active: AtomicU64::new(0),
        }
    }

    /// A place, if there is one. Exact, whoever else asks at the same time.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Admitted> {
        let limit = self.limit.get();
        let within = |active| (active < limit).then_some(active + 1);
        let taken = self
            .active
            .try_update(Ordering::Relaxed, Ordering::Relaxed, within);
        taken.is_ok().then(|| Admitted(Arc::clone(self)))
    }

    /// A place, however many are taken.
    pub(crate) fn enter_anyway(self: &Arc<Self>) -> Admitted {
        self.active.fetch_add(1, Ordering::Relaxed);
        Admitted(Arc::clone(self))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
