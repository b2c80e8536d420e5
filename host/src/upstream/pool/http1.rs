//! HTTP/1 connections: one request at a time, kept between them.
//!
//! Owns the connection with its buffers and [`Http1Lease`]. The host keeps idle ones; the data
//! path reads and writes.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use bytes::BytesMut;

use super::account::Account;
use super::lease::{Facts, Grant, Outcome, Release};
use crate::clock;
use crate::limits;
use crate::socket::Socket;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Link;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::stats::ClusterStats;

/// An open HTTP/1 connection.
pub(super) struct Http1Connection {
    stream: Socket,
    read: BytesMut,
    write: BytesMut,
    pub(super) account: Account,
    /// When it was last given back.
    pub(super) idle_since: Instant,
    /// The host's when it was opened.
    pub(super) epoch: u32,
    /// How often it went straight from one request to a waiting one while other pools waited.
    pub(super) handoffs: u32,
    facts: Facts,
}

impl Http1Connection {
    pub(super) fn new(link: Link, account: Account, epoch: u32) -> Self {
        let stream = link.socket;
        let facts = Facts {
            connection_id: account.id,
            local: stream.local_addr().ok(),
            reused: false,
            tls: link.tls,
        };
        Self {
            stream,
            read: BytesMut::new(),
            write: BytesMut::new(),
            account,
            idle_since: clock::now(),
            epoch,
            handoffs: 0,
            facts,
        }
    }

    /// Whether the peer has neither closed it nor sent anything. No system call is made unless
    /// the event loop knows of something to read.
    pub(super) fn is_quiet(&mut self) -> bool {
        match self.stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            // Bytes that nobody asked for: whose answer would they be?
            Ok(1..) => {
                self.account.misspoken();
                false
            }
            Ok(0) | Err(_) => {
                self.account.by_peer = true;
                false
            }
        }
    }

    /// Whether it is quiet still; who looks is woken when it is so no more.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        // The event loop may know of something that turns out to be nothing, such as a ticket of TLS.
        for _ in 0..2 {
            if self.stream.poll_read_ready(cx).is_pending() {
                return true;
            }
            if !self.is_quiet() {
                return false;
            }
        }
        true
    }

    /// Whether it may carry another request, as far as it knows itself.
    pub(super) fn is_reusable(&self, max_requests: Option<NonZeroU32>) -> bool {
        self.read.is_empty() && max_requests.is_none_or(|most| self.account.requests < most.get())
    }

    /// Drops buffers that a large message has grown.
    pub(super) fn rest(&mut self) {
        self.idle_since = clock::now();
        self.write.clear();
        for buffer in [&mut self.read, &mut self.write] {
            if buffer.capacity() > limits::IDLE_BUFFER_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }
}

/// An HTTP/1 connection for one request. Dropping it closes the connection.
pub struct Http1Lease {
    connection: Box<Http1Connection>,
    grant: Grant,
}

impl Http1Lease {
    pub(super) fn new(mut connection: Box<Http1Connection>, grant: Grant) -> Self {
        connection.facts.reused = connection.account.requests > 0;
        connection.account.requests += 1;
        connection.account.with_request = true;
        Self { connection, grant }
    }

    /// The socket, the buffer to read into and the one to write from, and this worker's statistics of
    /// the cluster. The buffers live with the connection, so that they need not be made for each request.
    pub fn parts(&mut self) -> (&mut Socket, &mut BytesMut, &mut BytesMut, &ClusterStats) {
        let connection = &mut *self.connection;
        (
            &mut connection.stream,
            &mut connection.read,
            &mut connection.write,
            self.grant.host().common().stats(),
        )
    }

    /// Ends the request. A connection for reuse with bytes left in its read buffer is closed, for
    /// they belong to no request.
    pub fn release(self, end: Release) {
        let Self {
            mut connection,
            grant,
        } = self;
        connection.account.with_request = matches!(end, Release::Cut | Release::CutByPeer);
        let (host, priority) = (Rc::clone(grant.host()), grant.priority());
        drop(grant);
        match end {
            Release::Reuse => {
                if !connection.read.is_empty() {
                    connection.account.misspoken();
                }
                host.give_back(priority, connection);
            }
            Release::Close | Release::Cut => drop(connection),
            Release::ClosedByPeer | Release::CutByPeer => {
                connection.account.by_peer = true;
                drop(connection);
            }
        }
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
    pub fn facts(&self) -> &Facts {
        &self.connection.facts
    }

    /// Counts how the request ended; see [`super::Lease::record`].
    pub fn record(&self, outcome: Outcome) {
        self.grant.record(outcome);
    }
}

impl fmt::Debug for Http1Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Lease")
            .field("facts", self.facts())
            .finish_non_exhaustive()
    }
}
