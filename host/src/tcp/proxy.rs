//! The TCP proxy: one client connection, one upstream connection, and the bytes between them.
//!
//! Owns the order of a session: the choice of a cluster, the attempts to connect, the two timeouts,
//! how an end or a reset of one side becomes that of the other, statistics, and the access log. Does
//! not own moving the bytes ([`super::relay`]) nor opening connections (`upstream::pool`). Called by
//! `listener`.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use xxhash_rust::xxh64::xxh64;

use super::relay::{Failed, Last, Relay};
use crate::clock;
use crate::exchange::{Connection, Exchange, Flags, Protocol, Timing};
use crate::observe::metrics::TcpStats;
use crate::runtime::TcpProxy;
use crate::socket::Socket;
use crate::timer::{Timer, after};
use crate::upstream::{Aim, Client, Cluster, Demand, Error, ErrorKind, Priority, RawLease, Wish};
use crate::worker::Worker;

/// How the client's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// In order, at least as far as the client can tell.
    Closed,
    /// With a reset, as the endpoint's did.
    Reset,
}

/// A session while it lasts.
struct Session<'a> {
    worker: &'a Worker,
    proxy: &'a TcpProxy,
    stats: &'a TcpStats,
    exchange: &'a mut Exchange,
    timer: Timer,
    /// When `max_downstream_connection_duration` is over.
    last_moment: Option<Instant>,
}

/// Serves a connection to its end. `_open` is let go of then.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    proxy: Arc<TcpProxy>,
    mut socket: Socket,
    connection: Arc<Connection>,
    _open: impl Sized,
) {
    let stats = proxy.stats.shard(worker.index);
    stats.downstream_cx_total.inc();
    let started = clock::now();
    let timing = Timing::starting(started, clock::wall());
    let mut desk = worker.take_desk(&connection, Protocol::Raw, timing);
    if !connection.metadata.is_empty() {
        desk.exchange.metadata.clone_from(&connection.metadata);
    }
    let session = Session {
        worker: &worker,
        proxy: &proxy,
        stats,
        exchange: &mut desk.exchange,
        timer: Timer::default(),
        last_moment: after(started, proxy.max_duration),
    };
    if session.run(&mut socket).await == Ending::Reset {
        socket.reset_on_drop();
    }
    drop(socket);
    desk.exchange.timing.ended = Some(clock::now());
    worker.log(&proxy.loggers, &proxy.log_filters, &mut desk);
    worker.put_desk(desk);
}

impl Session<'_> {
    async fn run(mut self, socket: &mut Socket) -> Ending {
        let target = self.proxy.targets.choose(self.worker.random());
        let snapshot = self.worker.snapshot();
        let Some(cluster) = target.index.and_then(|index| snapshot.clusters.get(index)) else {
            self.exchange.flags.insert(Flags::NO_CLUSTER_FOUND);
            self.stats.downstream_cx_no_route.inc();
            return Ending::Closed;
        };
        self.exchange.upstream.cluster = Some(Arc::clone(&target.name));
        let Some(lease) = self.connect(cluster).await else {
            return Ending::Closed;
        };
        self.note_connection(&lease);
        self.relay(socket, lease).await
    }

    /// A connection to some endpoint of the cluster; none where there is no having one.
    async fn connect(&mut self, cluster: &Arc<Cluster>) -> Option<RawLease> {
        let hashes = self.proxy.hashes_source && cluster.wants_hash();
        let client = self.exchange.connection.remote.ip();
        let spec = cluster.spec();
        let demand = (spec.pool_per_client || spec.dial.tells_client()).then(|| Demand {
            client: Some(Client::new(&self.exchange.connection)),
            ..Demand::default()
        });
        let aim = Aim::of(cluster, self.exchange, self.worker.index);
        let wish = Wish {
            demand: demand.as_ref(),
            hash: client
                .filter(|_| hashes)
                .map(|client| xxh64(client.ip().to_string().as_bytes(), 0)),
            ..aim.wish()
        };
        loop {
            let connecting = self.worker.pools.connect(cluster, Priority::Default, &wish);
            let connected = self.timer.limit(self.last_moment, connecting).await;
            let Some(connected) = connected else {
                self.out_of_time();
                return None;
            };
            let error = match connected {
                Ok(lease) => {
                    self.exchange.upstream.attempts += 1;
                    return Some(lease);
                }
                Err(error) => error,
            };
            if !self.may_try_again(&error) {
                return None;
            }
            if self.exchange.upstream.attempts >= self.proxy.max_connect_attempts {
                let stats = cluster.stats(self.worker.index);
                stats.upstream_cx_connect_attempts_exceeded.inc();
                self.exchange
                    .flags
                    .insert(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
                return None;
            }
        }
    }

    /// Notes why there is no connection.
    fn may_try_again(&mut self, error: &Error) -> bool {
        let exchange = &mut *self.exchange;
        match error.kind {
            ErrorKind::NoHealthyUpstream => exchange.flags.insert(Flags::NO_HEALTHY_UPSTREAM),
            ErrorKind::Overflow(_) => exchange.flags.insert(Flags::UPSTREAM_OVERFLOW),
            ErrorKind::ConnectTimeout | ErrorKind::ConnectFailure(_) => {
                exchange.flags.insert(Flags::UPSTREAM_CONNECTION_FAILURE);
                exchange.upstream.attempts += 1;
                exchange.upstream.failure = error.transport_failure();
                if let Some(endpoint) = &error.endpoint {
                    exchange.upstream.host = Some(endpoint.now_at());
                    exchange.upstream.hostname.clone_from(&endpoint.hostname);
                }
                return true;
            }
        }
        false
    }

    fn note_connection(&mut self, lease: &RawLease) {
        let (endpoint, facts) = (lease.endpoint(), lease.facts());
        // What earlier attempts failed of is past.
        self.exchange.flags = Flags::NONE;
        let upstream = &mut self.exchange.upstream;
        upstream.failure = None;
        upstream.host = Some(endpoint.now_at());
        upstream.hostname.clone_from(&endpoint.hostname);
        upstream.local = facts.local;
        upstream.connection_id = Some(facts.connection_id);
        upstream.tls.clone_from(&facts.tls);
    }

    async fn relay(mut self, downstream: &mut Socket, mut lease: RawLease) -> Ending {
        let cluster = Arc::clone(lease.cluster());
        let cluster = cluster.stats(self.worker.index);
        let mut relay = Relay::new(self.proxy.buffer_limit);
        let mut idle = after(clock::now(), self.proxy.idle_timeout);
        let (mut moved, mut flushing) = (0, false);
        let mut fails = lease
            .cluster()
            .spec()
            .closes_on_failure
            .then(|| Box::pin(lease.ended_by_health()));
        let ended = poll_fn(|cx| {
            let (up, down) = (relay.up.read, relay.down.written);
            let (sent, came) = (relay.up.written, relay.down.read);
            let polled = relay.poll(cx, self.worker, downstream, lease.socket());
            self.stats
                .downstream_cx_rx_bytes_total
                .add(relay.up.read - up);
            self.stats
                .downstream_cx_tx_bytes_total
                .add(relay.down.written - down);
            cluster
                .upstream_cx_tx_bytes_total
                .add(relay.up.written - sent);
            cluster
                .upstream_cx_rx_bytes_total
                .add(relay.down.read - came);
            if relay.is_flushing_up() && !flushing {
                flushing = true;
                self.stats.upstream_flush_total.inc();
                self.stats.upstream_flush_active.inc();
            }
            if let Poll::Ready(ended) = polled {
                return Poll::Ready(Ok(ended));
            }
            if let Some(fails) = &mut fails
                && fails.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Err(Late::EndpointFailed));
            }
            if relay.moved() != moved {
                moved = relay.moved();
                idle = after(clock::now(), self.proxy.idle_timeout);
            }
            let (deadline, is_idle) = match (idle, self.last_moment) {
                (Some(idle), Some(last)) if idle < last => (Some(idle), true),
                (Some(idle), None) => (Some(idle), true),
                (_, last) => (last, false),
            };
            self.timer
                .poll(cx, deadline)
                .map(|()| Err(if is_idle { Late::Idle } else { Late::Duration }))
        })
        .await;
        if flushing {
            self.stats.upstream_flush_active.dec();
        }
        self.exchange.bytes_received = relay.up.read;
        self.exchange.bytes_sent = relay.down.written;
        match ended {
            Ok(Ok(Last::Downstream)) => {}
            Ok(Ok(Last::Upstream)) => lease.closed_by_peer(),
            Ok(Err(Failed::Downstream)) => lease.socket().reset_on_drop(),
            Ok(Err(Failed::Upstream)) => {
                lease.closed_by_peer();
                self.exchange.flags.insert(Flags::UPSTREAM_REMOTE_RESET);
                return Ending::Reset;
            }
            Err(Late::EndpointFailed) => {}
            Err(Late::Idle) => self.stats.idle_timeout.inc(),
            Err(Late::Duration) => self.out_of_time(),
        }
        Ending::Closed
    }

    /// `max_downstream_connection_duration` is over.
    fn out_of_time(&mut self) {
        self.stats.max_downstream_connection_duration.inc();
        self.exchange.flags.insert(Flags::DURATION_TIMEOUT);
    }
}

/// Why a session ends before its connections do.
#[derive(Clone, Copy, Debug)]
enum Late {
    EndpointFailed,
    Idle,
    Duration,
}
