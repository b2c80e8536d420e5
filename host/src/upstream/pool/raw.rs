//! Connections for bytes that are not requests: one for each client, never used again.
//!
//! Owns opening one, its place under the limits, and [`RawLease`]. As in Envoy such a connection is
//! pending while it is being opened and counts as one request while it lasts; it is refused, not
//! queued, where `max_connections` is reached. Called by `Pools`.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::account::{Account, Carries, Permit};
use super::host::Host;
use super::lease::{Facts, Grant, Outcome};
use crate::socket::Socket;
use crate::tls::Inside;
use crate::upstream::breaker::Resource;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Link;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::error::{Error, ErrorKind, is_own_fault};
use crate::upstream::outlier::Report;
use crate::upstream::spec::Priority;

/// A connection of one client. Dropping it closes the connection.
pub struct RawLease {
    socket: Socket,
    account: Account,
    grant: Grant,
    facts: Facts,
}

impl RawLease {
    /// The socket.
    pub const fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Waits until the connection is to end because its endpoint fails
    /// (`close_connections_on_host_health_failure`); for ever in other clusters.
    pub fn ended_by_health(&self) -> impl Future<Output = ()> + use<> {
        let host = Rc::clone(self.grant.host());
        async move { host.failed().await }
    }

    /// Notes that the endpoint, not this side, has ended the connection.
    pub const fn closed_by_peer(&mut self) {
        self.account.by_peer = true;
    }

    /// Where the connection leads.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.grant.host().endpoint()
    }

    /// The cluster of the endpoint.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.grant.host().common().cluster
    }

    /// What is known about the connection.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Counts how the request ended that the bytes are behind of; see [`super::Lease::record`].
    pub fn record(&self, outcome: Outcome) {
        self.grant.record(outcome);
    }
}

impl fmt::Debug for RawLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLease")
            .field("facts", self.facts())
            .finish_non_exhaustive()
    }
}

/// Opens a connection to `host`.
pub(super) async fn open(host: Rc<Host>, priority: Priority) -> Result<RawLease, Error> {
    let stats = host.common().stats();
    let spec = host.common().cluster.spec();
    let breaker = host.common().cluster.breaker(priority);
    let place = host.place(priority)?;
    let Ok(of_host) = host.host_permit(priority) else {
        let resource = Resource::ConnectionsOfHost;
        breaker.overflow(resource);
        stats.upstream_cx_overflow.inc();
        return Err(host.error(ErrorKind::Overflow(resource)));
    };
    let Some(of_cluster) = breaker.try_connection() else {
        stats.upstream_cx_overflow.inc();
        return Err(host.error(ErrorKind::Overflow(Resource::Connections)));
    };
    let permit = Permit {
        _cluster: of_cluster,
        _host: of_host,
        _pool: place,
    };
    let Some(pending) = Pending::take(&host, priority) else {
        stats.upstream_rq_pending_overflow.inc();
        return Err(host.error(ErrorKind::Overflow(Resource::Pending)));
    };
    let mut account = Account::open(Rc::clone(&host), Carries::Bytes, permit);
    let order = host.order(Inside::Bytes);
    let connecting = host.common().connector.connect(order);
    let failure = match tokio::time::timeout(spec.connect_timeout, connecting).await {
        Ok(Ok(Link { socket, tls })) => {
            drop(pending);
            account.connected();
            account.with_request = true;
            let cluster = &host.common().cluster;
            cluster.report(host.endpoint(), Report::Opened);
            let facts = Facts {
                connection_id: account.id,
                local: socket.local_addr().ok(),
                reused: false,
                tls,
            };
            return Ok(RawLease {
                socket,
                account,
                grant: Grant::take_uncapped(&host, priority),
                facts,
            });
        }
        Ok(Err(cause)) => ErrorKind::ConnectFailure(cause),
        Err(_) => ErrorKind::ConnectTimeout,
    };
    let report = match &failure {
        ErrorKind::ConnectTimeout => Some(Report::TimedOut),
        ErrorKind::ConnectFailure(cause) if is_own_fault(cause) => None,
        _ => Some(Report::Failed),
    };
    if let Some(report) = report {
        host.common().cluster.report(host.endpoint(), report);
    }
    account.failed(match &failure {
        ErrorKind::ConnectFailure(cause) => Some(cause),
        _ => None,
    });
    stats.upstream_rq_pending_failure_eject.inc();
    Err(host.error(failure))
}

/// One of `max_pending_requests`, given back on drop.
struct Pending<'a> {
    host: &'a Rc<Host>,
    priority: Priority,
}

impl<'a> Pending<'a> {
    fn take(host: &'a Rc<Host>, priority: Priority) -> Option<Self> {
        if !host.common().cluster.breaker(priority).try_pending() {
            return None;
        }
        host.common().stats().upstream_rq_pending_total.inc();
        host.common().stats().upstream_rq_pending_active.inc();
        host.endpoint().counters.rq_pending_active.inc();
        Some(Self { host, priority })
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let common = self.host.common();
        common.cluster.breaker(self.priority).give_back_pending();
        common.stats().upstream_rq_pending_active.dec();
        self.host.endpoint().counters.rq_pending_active.dec();
    }
}
