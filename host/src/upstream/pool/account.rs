//! What an open connection owes: a place under the limit, and its statistics.
//!
//! Owns the counting of connections from the moment that one is started to the moment that it is
//! gone, however it goes. Held by whatever holds the connection.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::host::Host;
use crate::clock;
use crate::tls;
use crate::upstream::breaker::{ConnectionPermit, HostPermit};
use crate::upstream::cluster::Cluster;
use crate::upstream::spec::Priority;

/// Numbers connections for logs.
static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);

/// A connection's place under the limits.
#[derive(Debug)]
pub(super) struct Permit {
    /// Of `max_connections`.
    pub(super) _cluster: ConnectionPermit,
    /// Of `per_host_thresholds`, where there are any.
    pub(super) _host: Option<HostPermit>,
    /// Of `max_connection_pools`, where there is such a limit.
    pub(super) _pool: Option<Rc<PoolPermit>>,
}

/// One of `max_connection_pools`, given back when the last of the pool's connections is gone.
#[derive(Debug)]
pub(super) struct PoolPermit {
    cluster: Arc<Cluster>,
    priority: Priority,
}

impl PoolPermit {
    pub(super) fn take(cluster: &Arc<Cluster>, priority: Priority) -> Option<Rc<Self>> {
        cluster.breaker(priority).try_pool().then(|| {
            Rc::new(Self {
                cluster: Arc::clone(cluster),
                priority,
            })
        })
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        self.cluster.breaker(self.priority).give_back_pool();
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Requests, of the version that the cluster speaks.
    Requests,
    /// The bytes of one client.
    Bytes,
}

/// One connection in the books. Dropping it closes the entry.
pub(super) struct Account {
    pub(super) host: Rc<Host>,
    /// Unique in the life of the process.
    pub(super) id: u64,
    /// Requests that it was handed out for.
    pub(super) requests: u32,
    /// Whether a request has it now.
    pub(super) with_request: bool,
    /// Whether the peer closed it.
    pub(super) by_peer: bool,
    started: Instant,
    carries: Carries,
    /// Since when it is open; none while it is not.
    opened: Option<Instant>,
    _permit: Permit,
}

impl Account {
    /// Opens the entry of a connection that is being started.
    pub(super) fn open(host: Rc<Host>, carries: Carries, permit: Permit) -> Self {
        let stats = host.common().stats();
        stats.upstream_cx_total.inc();
        stats.upstream_cx_active.inc();
        host.endpoint().counters.cx_total.inc();
        host.endpoint().counters.cx_active.inc();
        Self {
            id: NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed),
            requests: 0,
            with_request: false,
            by_peer: false,
            started: clock::now(),
            opened: None,
            carries,
            _permit: permit,
            host,
        }
    }

    /// Notes which HTTP it is to speak.
    pub(super) fn speaks(&self, http2: bool) {
        let stats = self.host.common().stats();
        if http2 {
            stats.upstream_cx_http2_total.inc();
        } else {
            stats.upstream_cx_http1_total.inc();
        }
    }

    /// Notes that the connection is open.
    pub(super) fn connected(&mut self) {
        let now = clock::now();
        self.opened = Some(now);
        let took = millis(now.duration_since(self.started));
        self.host
            .common()
            .stats()
            .upstream_cx_connect_ms
            .record(took);
        self.tell_connected();
    }

    /// Since when it is open.
    pub(super) const fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// Whether it is older than `max_connection_duration`.
    pub(super) fn is_old(&self) -> bool {
        let most = self.host.common().cluster.spec().max_connection_duration;
        most.is_some_and(|most| {
            self.opened
                .is_some_and(|opened| clock::now().saturating_duration_since(opened) >= most)
        })
    }

    /// Notes that the peer has said what is no answer to anything.
    pub(super) fn misspoken(&self) {
        let stats = self.host.common().stats();
        stats.upstream_cx_protocol_error.inc();
    }

    /// Notes that the connection did not open; without a cause it took too long.
    pub(super) fn failed(&mut self, cause: Option<&io::Error>) {
        let timed_out = cause.is_none();
        let stats = self.host.common().stats();
        stats.upstream_cx_connect_fail.inc();
        if timed_out {
            stats.upstream_cx_connect_timeout.inc();
        }
        self.by_peer = !timed_out;
        self.host.endpoint().counters.cx_connect_fail.inc();
        self.tell_failed(cause);
    }

    /// Tells the first of a row of failures, since what else is seen of them are counters.
    fn tell_failed(&self, cause: Option<&io::Error>) {
        let (cluster, endpoint) = (&self.host.common().cluster, self.host.endpoint());
        // What requests name is up to strangers.
        if cluster.destinations().is_some() || !endpoint.note_failed(clock::now()) {
            return;
        }
        let (cluster, address) = (&*cluster.name, endpoint.now_at());
        match cause {
            Some(error) => tracing::warn!(
                target: "upstream", cluster, endpoint = %address, error = error as &dyn Error, hint = tls::remedy(error),
                "connections to an endpoint fail",
            ),
            None => tracing::warn!(
                target: "upstream", cluster, endpoint = %address,
                "connections to an endpoint take longer than connect_timeout",
            ),
        }
    }

    fn tell_connected(&self) {
        let (cluster, endpoint) = (&self.host.common().cluster, self.host.endpoint());
        if endpoint.note_connected() {
            tracing::info!(
                target: "upstream", cluster = &*cluster.name, endpoint = %endpoint.now_at(),
                "connections to an endpoint succeed again",
            );
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let stats = self.host.common().stats();
        self.host.endpoint().counters.cx_active.dec();
        stats.upstream_cx_active.dec();
        stats
            .upstream_cx_length_ms
            .record(millis(clock::now().duration_since(self.started)));
        if self.opened.is_some() && self.carries == Carries::Requests {
            stats.upstream_rq_per_cx.record(self.requests.into());
        }
        stats.upstream_cx_destroy.inc();
        let (plain, with_request) = if self.by_peer {
            (
                &stats.upstream_cx_destroy_remote,
                &stats.upstream_cx_destroy_remote_with_active_rq,
            )
        } else {
            (
                &stats.upstream_cx_destroy_local,
                &stats.upstream_cx_destroy_local_with_active_rq,
            )
        };
        plain.inc();
        if self.with_request {
            stats.upstream_cx_destroy_with_active_rq.inc();
            with_request.inc();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
