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
    /// When its last response has ended, if somebody has said so.
    ended_at: Option<Instant>,
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
            ended_at: None,
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
        watch(
            self,
            cx,
            |connection, cx| connection.stream.poll_read_ready(cx).is_ready(),
            Self::is_quiet,
        )
    }

    /// Whether it may carry another request, as far as it knows itself.
    pub(super) fn is_reusable(&self, max_requests: Option<NonZeroU32>) -> bool {
        self.read.is_empty() && max_requests.is_none_or(|most| self.account.requests < most.get())
    }

    /// Drops buffers that a large message has grown.
    pub(super) fn rest(&mut self) {
        self.idle_since = self.ended_at.take().unwrap_or_else(clock::now);
        self.write.clear();
        for buffer in [&mut self.read, &mut self.write] {
            if buffer.capacity() > limits::IDLE_BUFFER_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }
}

/// Whether `of` is quiet, by looking at it where it has news. Whatever way it is found to be so, `cx` is woken
/// by what comes next: by the event loop, which is asked last of all, or at once.
fn watch<T>(
    of: &mut T,
    cx: &mut Context<'_>,
    has_news: impl Fn(&mut T, &mut Context<'_>) -> bool,
    is_quiet: impl Fn(&mut T) -> bool,
) -> bool {
    // The event loop may know of something that turns out to be nothing, such as a ticket of TLS.
    for _ in 0..2 {
        if !has_news(of, cx) {
            return true;
        }
        if !is_quiet(of) {
            return false;
        }
    }
    // There is something each time. Nobody was asked to tell of the next: it is looked at again.
    cx.waker().wake_by_ref();
    true
}

/// An HTTP/1 connection for one request. Dropping it closes the connection.
pub struct Http1Lease {
    connection: Box<Http1Connection>,
    grant: Grant,
}

impl Http1Lease {
    pub(super) fn new(mut connection: Box<Http1Connection>, grant: Grant) -> Self {
        connection.facts.reused = connection.account.requests > 0;
        connection.account.requests = connection.account.requests.saturating_add(1);
        connection.account.with_request = true;
        // One that was passed on has not rested since.
        connection.ended_at = None;
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

    /// Says when the response has ended, where that is known, so that the clock is not asked again.
    pub fn note_end(&mut self, at: Option<Instant>) {
        self.connection.ended_at = at;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    /// Counts how often it was rung.
    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection with some news that are nothing, and maybe an end behind them.
    struct Fake {
        nothings: u32,
        ended: bool,
        /// Who is told of the next.
        asked: Option<Waker>,
    }

    #[test]
    fn who_watches_hears_of_whatever_comes_next() {
        for (nothings, ended, stays) in [
            (0, false, true),
            (1, false, true),
            (2, false, true),
            (9, false, true),
            (0, true, false),
            (1, true, false),
            (2, true, true),
        ] {
            let bell = Arc::new(Bell::default());
            let waker = Waker::from(Arc::clone(&bell));
            let mut fake = Fake {
                nothings,
                ended,
                asked: None,
            };
            let quiet = watch(
                &mut fake,
                &mut Context::from_waker(&waker),
                |fake, cx| {
                    let has_news = fake.nothings > 0 || fake.ended;
                    fake.asked = (!has_news).then(|| cx.waker().clone());
                    has_news
                },
                |fake| {
                    let is_quiet = fake.nothings > 0;
                    fake.nothings = fake.nothings.saturating_sub(1);
                    is_quiet
                },
            );
            assert_eq!(quiet, stays, "{nothings} {ended}");
            let is_rung = bell.0.load(Ordering::Relaxed) > 0;
            assert_eq!(fake.asked.is_some() || is_rung, stays, "{nothings} {ended}");
        }
    }
}
