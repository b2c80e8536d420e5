//! What a request holds while it has a connection.
//!
//! Owns the data path's side of a pool: [`Lease`], what is known about the connection, and the
//! request's place under `max_requests`. Dropping any of it gives it back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::host::Host;
use super::http1::Http1Lease;
use super::http2::Http2Lease;
use super::raw::RawLease;
use crate::exchange::Tls;
use crate::upstream::cluster::Cluster;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::outlier::Report;
use crate::upstream::spec::Priority;

/// A connection, or a place on one, for one request.
#[derive(Debug)]
pub enum Lease {
    /// An HTTP/1 connection.
    Http1(Http1Lease),
    /// A place for one stream on an HTTP/2 connection.
    Http2(Http2Lease),
    /// A connection for bytes: only from `Pools::connect`. Apart, so that the others are no larger for it.
    Raw(Box<RawLease>),
}

impl Lease {
    /// Where the connection leads.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        match self {
            Self::Http1(lease) => lease.endpoint(),
            Self::Http2(lease) => lease.endpoint(),
            Self::Raw(lease) => lease.endpoint(),
        }
    }

    /// The cluster of the endpoint.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        match self {
            Self::Http1(lease) => lease.cluster(),
            Self::Http2(lease) => lease.cluster(),
            Self::Raw(lease) => lease.cluster(),
        }
    }

    /// Gives it back as it was: nothing was sent.
    pub fn leave(self) {
        match self {
            Self::Http1(lease) => lease.release(Release::Reuse),
            Self::Http2(_) | Self::Raw(_) => {}
        }
    }

    /// What is known about the connection.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Http1(lease) => lease.facts(),
            Self::Http2(lease) => lease.facts(),
            Self::Raw(lease) => lease.facts(),
        }
    }

    /// Counts how the request ended in the endpoint's statistics; at most once a request.
    pub fn record(&self, outcome: Outcome) {
        match self {
            Self::Http1(lease) => lease.record(outcome),
            Self::Http2(lease) => lease.record(outcome),
            Self::Raw(lease) => lease.record(outcome),
        }
    }
}

/// What is known about a connection.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Unique among upstream connections in the life of the process.
    pub connection_id: u64,
    /// Our end of it.
    pub local: Option<SocketAddr>,
    /// Whether it has carried a request before. The peer may be closing it just now: where it
    /// closes before a byte of the response, a request without a body may go out again.
    pub reused: bool,
    /// What is known of its TLS session, where it has one.
    pub tls: Option<Arc<Tls>>,
}

/// How a request ended, as `/clusters` counts it for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response of this status.
    Answered(u16),
    /// The same, with which the endpoint asked to be left out.
    AskedOut(u16),
    /// The stream or the connection broke.
    Reset,
    /// No response in time.
    Timeout,
    /// It ended for a reason that says nothing about the endpoint: the client has gone, for example.
    Abandoned,
}

/// What becomes of an HTTP/1 connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The response is read to its end and neither side said `close`.
    Reuse,
    /// It cannot carry another request.
    Close,
    /// The peer has closed it behind the response.
    ClosedByPeer,
    /// It is closed before the request was over.
    Cut,
    /// The peer has closed it before the request was over.
    CutByPeer,
}

/// One of `max_requests`, and the request in the books of cluster and endpoint.
#[derive(Debug)]
pub(super) struct Grant {
    host: Rc<Host>,
    priority: Priority,
}

impl Grant {
    /// Takes one of `max_requests`, if there is one.
    pub(super) fn take(host: &Rc<Host>, priority: Priority) -> Option<Self> {
        let common = host.common();
        if !common.cluster.breaker(priority).try_request() {
            common.stats().upstream_rq_active_overflow.inc();
            return None;
        }
        Some(Self::enter(host, priority))
    }

    /// Takes one of `max_requests` even where there is none: bytes are no request, but Envoy counts
    /// them as one and refuses them only for `max_connections`.
    pub(super) fn take_uncapped(host: &Rc<Host>, priority: Priority) -> Self {
        host.common().cluster.breaker(priority).take_request();
        Self::enter(host, priority)
    }

    fn enter(host: &Rc<Host>, priority: Priority) -> Self {
        let common = host.common();
        common.stats().upstream_rq_total.inc();
        common.stats().upstream_rq_active.inc();
        host.endpoint().counters.rq_total.inc();
        host.endpoint().counters.rq_active.inc();
        host.count_active(priority, 1);
        Self {
            host: Rc::clone(host),
            priority,
        }
    }

    pub(super) const fn host(&self) -> &Rc<Host> {
        &self.host
    }

    pub(super) const fn priority(&self) -> Priority {
        self.priority
    }

    pub(super) fn record(&self, outcome: Outcome) {
        let cluster = &self.host.common().cluster;
        cluster.record(self.host.endpoint(), outcome);
    }
}

impl Outcome {
    /// Counts it for an endpoint, and answers what outlier detection is told.
    fn count(self, endpoint: &Endpoint) -> Option<Report> {
        let counters = &endpoint.counters;
        Some(match self {
            Self::Answered(status) | Self::AskedOut(status) if status < 500 => {
                counters.rq_success.inc();
                Report::Status(status)
            }
            Self::Answered(status) | Self::AskedOut(status) => {
                counters.rq_error.inc();
                Report::Status(status)
            }
            Self::Reset => {
                counters.rq_error.inc();
                Report::Failed
            }
            Self::Timeout => {
                counters.rq_timeout.inc();
                Report::TimedOut
            }
            Self::Abandoned => return None,
        })
    }
}

impl Cluster {
    /// Counts how a request to `endpoint` ended, and tells outlier detection; at most once a request.
    pub fn record(&self, endpoint: &Endpoint, outcome: Outcome) {
        if let Some(report) = self.count(endpoint, outcome) {
            self.report(endpoint, report);
        }
    }

    /// The same of a request that outlier detection has been told of ([`Cluster::note_late`]).
    pub fn record_late(&self, endpoint: &Endpoint, outcome: Outcome) {
        let _told_before = self.count(endpoint, outcome);
    }

    fn count(&self, endpoint: &Endpoint, outcome: Outcome) -> Option<Report> {
        if matches!(outcome, Outcome::AskedOut(_)) {
            self.ask_out(endpoint);
        }
        outcome.count(endpoint)
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let common = self.host.common();
        common.cluster.breaker(self.priority).give_back_request();
        common.stats().upstream_rq_active.dec();
        self.host.endpoint().counters.rq_active.dec();
        self.host.count_active(self.priority, -1);
    }
}
