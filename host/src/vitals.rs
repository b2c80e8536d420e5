//! How the proxy says that it is: whether it is to be sent more requests, and how the clusters behind
//! it are.
//!
//! Owns what the admin pages `/healthcheck/fail` and `/healthcheck/ok` set and the drain adds to.
//! Connections go by it, and filters that answer questions about health. Does not own the health of
//! single endpoints (`upstream`).

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many endpoints a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// All of them.
    pub total: u64,
    /// The healthy ones.
    pub healthy: u64,
    /// Those that would rather have less to do.
    pub degraded: u64,
}

type OfCluster = dyn Fn(&str) -> Option<Members> + Send + Sync;

/// See the module's page.
#[derive(Default)]
pub struct Vitals {
    /// `node.cluster`.
    own_cluster: String,
    told_to_fail: AtomicBool,
    is_draining: AtomicBool,
    of_cluster: OnceLock<Box<OfCluster>>,
}

impl Vitals {
    /// Those of a proxy that is well, in `own_cluster`.
    #[must_use]
    pub fn new(own_cluster: impl Into<String>) -> Self {
        Self {
            own_cluster: own_cluster.into(),
            ..Self::default()
        }
    }

    /// `node.cluster`: what the proxy's own cluster is called.
    #[must_use]
    pub fn own_cluster(&self) -> &str {
        &self.own_cluster
    }

    /// Says from now on that the proxy is not well, or that it is again.
    pub fn tell_to_fail(&self, is_failing: bool) {
        self.told_to_fail.store(is_failing, Ordering::Relaxed);
    }

    /// The proxy is going away.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether somebody said that the proxy is not well.
    #[must_use]
    #[inline]
    pub fn is_told_to_fail(&self) -> bool {
        self.told_to_fail.load(Ordering::Relaxed)
    }

    /// Whether it is to be sent no more requests: somebody said so, or it is going away.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_told_to_fail() || self.is_draining.load(Ordering::Relaxed)
    }

    /// Says where the endpoints of clusters are counted. The first one that is said stays.
    pub fn count_members(&self, of: impl Fn(&str) -> Option<Members> + Send + Sync + 'static) {
        // A configuration is built once.
        let _first = self.of_cluster.set(Box::new(of));
    }

    /// The endpoints of the cluster of that name; none where there is no such cluster.
    #[must_use]
    pub fn members_of(&self, cluster: &str) -> Option<Members> {
        self.of_cluster.get().and_then(|of| of(cluster))
    }
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vitals")
            .field("told_to_fail", &self.told_to_fail)
            .field("is_draining", &self.is_draining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_not_taken_back() {
        let vitals = Vitals::new("fleet");
        assert!(!vitals.is_failing());
        vitals.tell_to_fail(true);
        assert!(vitals.is_failing() && vitals.is_told_to_fail());
        vitals.tell_to_fail(false);
        assert!(!vitals.is_failing());
        vitals.drain();
        vitals.tell_to_fail(false);
        assert!(vitals.is_failing() && !vitals.is_told_to_fail());
    }

    #[test]
    fn clusters_are_counted_where_that_is_known() {
        let vitals = Vitals::default();
        assert_eq!(vitals.members_of("c"), None);
        let members = Members {
            total: 3,
            healthy: 1,
            degraded: 1,
        };
        vitals.count_members(move |name| (name == "c").then_some(members));
        assert_eq!(vitals.members_of("c"), Some(members));
        assert_eq!(vitals.members_of("d"), None);
    }
}
