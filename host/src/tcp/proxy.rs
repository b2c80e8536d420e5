//! The TCP proxy: one client connection, one upstream connection, and the bytes between them.
//!
//! Owns the order of a session: the choice of a cluster, the attempts to connect, the two timeouts,
//! how an end or a reset of one side becomes that of the other, statistics, and the access log. Does
//! not own moving the bytes ([`super::relay`]) nor opening connections (`upstream::pool`). Called by
//! `listener`, and by `http::tunnel`, whose bytes travel in an HTTP stream: the order is the same, the
//! upstream's side its own.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use xxhash_rust::xxh64::xxh64;

use super::relay::{Failed, Last, Relay, Tally};
use crate::clock;
use crate::exchange::{Carried, Connection, Counted, Flags, LogType, Protocol, Timing, WireBytes};
use crate::observe::metrics::TcpStats;
use crate::runtime::{Snapshot, TcpProxy};
use crate::socket::Socket;
use crate::timer::{Timer, after};
use crate::upstream::{
    Aim, Client, Cluster, ClusterStats, Criteria, Demand, Endpoint, Error, ErrorKind, Facts,
    FlowControl, Priority, RawLease, RetryPermit, Wish, note_endpoint,
};
use crate::worker::{Desk, Worker};

/// How the client's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order, at least as far as the client can tell.
    Closed,
    /// With a reset, as the endpoint's did.
    Reset,
}

/// A session while it lasts.
pub(crate) struct Session<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) proxy: &'a TcpProxy,
    pub(crate) stats: &'a TcpStats,
    /// What logs show of it.
    pub(crate) desk: &'a mut Desk,
    timer: Timer,
    /// When `max_downstream_connection_duration` is over.
    last_moment: Option<Instant>,
    /// When `idle_timeout` is over, until bytes are moved.
    idle_at: Option<Instant>,
    /// Whether an attempt was made again because its connection was about to end, or none is to be.
    repeated: bool,
    /// The place in the cluster's budget of that attempt while it is under way.
    permit: Option<RetryPermit>,
    /// What the client has sent that was waited for.
    early: Option<BytesMut>,
}

/// Why an attempt has come to nothing.
pub(crate) enum Missed {
    /// There is no connection.
    Connection(Error),
    /// There is one, to that endpoint, that is of no use, for a reason that logs show.
    Useless(Arc<Endpoint>, Option<Cow<'static, str>>),
    /// There was one, to that endpoint, which has ended before anything was answered. It had carried
    /// something before, or what was sent on it was not looked at.
    Stale {
        endpoint: Arc<Endpoint>,
        /// Whether the endpoint has not seen what was sent.
        is_unseen: bool,
    },
    /// The client has gone meanwhile.
    Client,
    /// Nothing has happened for `idle_timeout`, on a connection to that endpoint if there is one.
    Idle(Option<Arc<Endpoint>>),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

/// Serves a connection, which was counted, to its end. `open` is let go of then.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    proxy: Arc<TcpProxy>,
    socket: Socket,
    connection: Arc<Connection>,
    open: impl Sized,
) {
    let run = async |session: Session<'_>, socket: &mut Socket| session.run(socket).await;
    serve_by(worker, proxy, (socket, connection), open, run).await;
}

/// Serves a connection to its end as `run` says.
pub(crate) async fn serve_by(
    worker: Rc<Worker>,
    proxy: Arc<TcpProxy>,
    (mut socket, connection): (Socket, Arc<Connection>),
    _open: impl Sized,
    run: impl AsyncFnOnce(Session<'_>, &mut Socket) -> Ending,
) {
    let stats = proxy.stats.shard(worker.index);
    let started = clock::now();
    let timing = Timing::starting(started, clock::wall());
    let mut desk = worker.take_desk(&connection, Protocol::Raw, timing);
    if !connection.metadata.is_empty() {
        desk.exchange.metadata.clone_from(&connection.metadata);
    }
    let mut entry = Entry {
        worker: &worker,
        proxy: &proxy,
        desk: Some(desk),
    };
    let Some(desk) = &mut entry.desk else { return };
    desk.exchange.wire.downstream = Some(Carried::default());
    let session = Session {
        worker: &worker,
        proxy: &proxy,
        stats,
        desk,
        timer: Timer::default(),
        last_moment: after(started, longest(&proxy, &worker)),
        idle_at: after(started, proxy.idle_timeout),
        repeated: false,
        permit: None,
        early: None,
    };
    if run(session, &mut socket).await == Ending::Reset {
        socket.reset_on_drop();
    }
    drop(socket);
}

/// The entry that logs get at the end of a connection: in its order, or with the end of the process.
struct Entry<'a> {
    worker: &'a Worker,
    proxy: &'a TcpProxy,
    /// Always there before that.
    desk: Option<Desk>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let Some(mut desk) = self.desk.take().filter(|_| !std::thread::panicking()) else {
            return;
        };
        desk.exchange.timing.ended = Some(clock::now());
        let (loggers, filters) = (&self.proxy.loggers, &self.proxy.log_filters);
        let kind = LogType::TcpConnectionEnd;
        self.worker.log(loggers, filters, &mut desk, kind);
        self.worker.put_desk(desk);
    }
}

/// How long a connection may last.
fn longest(proxy: &TcpProxy, worker: &Worker) -> Option<Duration> {
    let longest = proxy.max_duration?;
    if proxy.duration_jitter == 0.0 {
        return Some(longest);
    }
    Some(longest.mul_f64(1.0 + proxy.duration_jitter * worker.random_fraction()))
}

impl Session<'_> {
    async fn run(mut self, socket: &mut Socket) -> Ending {
        if !self.wait_for_client(socket).await {
            return Ending::Closed;
        }
        let snapshot = self.worker.snapshot();
        let Some((cluster, criteria)) = self.choose(snapshot) else {
            return Ending::Closed;
        };
        let lease = {
            let mut broken = pin!(socket.broken());
            let mut connecting = pin!(self.connect(cluster, criteria));
            poll_fn(|cx| match connecting.as_mut().poll(cx) {
                // Nobody connects for a client that is gone.
                Poll::Pending => broken.as_mut().poll(cx).map(|()| Err(Gone)),
                Poll::Ready(lease) => Poll::Ready(Ok(lease)),
            })
            .await
        };
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ending::Closed,
            Err(Gone) => {
                self.note_gone();
                return Ending::Closed;
            }
        };
        // What earlier attempts failed of is past.
        self.desk.exchange.flags = Flags::NONE;
        self.desk.exchange.upstream.failure = None;
        self.note_connection(lease.cluster(), lease.endpoint(), lease.facts());
        if self.proxy.logs_connected {
            self.log(LogType::TcpUpstreamConnected);
        }
        self.relay(socket, lease).await
    }

    /// The cluster to go to, and what is asked of its endpoints; none where there is no such cluster.
    pub(crate) fn choose<'s>(
        &mut self,
        snapshot: &'s Snapshot,
    ) -> Option<(&'s Arc<Cluster>, Option<&'s Criteria>)> {
        let target = self.proxy.targets.choose(self.worker.random());
        let index = target.cluster.index;
        let cluster = index.and_then(|index| Some((index, snapshot.clusters.get(index)?)));
        let Some((index, cluster)) = cluster else {
            self.desk.exchange.flags.insert(Flags::NO_CLUSTER_FOUND);
            self.stats.downstream_cx_no_route.inc();
            return None;
        };
        self.repeated = snapshot.wants_no_retries(index);
        let upstream = &mut self.desk.exchange.upstream;
        upstream.cluster = Some(Arc::clone(&target.cluster.name));
        upstream.cluster_metadata = cluster.spec().metadata.clone();
        upstream
            .cluster_alias
            .clone_from(&cluster.spec().alt_stat_name);
        let criteria = target
            .criteria
            .and_then(|index| snapshot.criteria.get(index));
        Some((cluster, criteria))
    }

    /// Waits for the client's first bytes, where that is asked for; false where it leaves without any, or
    /// there is no time left.
    pub(crate) async fn wait_for_client(&mut self, socket: &mut Socket) -> bool {
        let Some(limit) = self.proxy.early_bytes else {
            return true;
        };
        let worker = self.worker;
        let (from, _) = &mut socket.split();
        let mut early = None;
        let read = poll_fn(|cx| {
            if early.is_none() {
                ready!(from.poll_read_ready(cx))?;
            }
            let buf = early.get_or_insert_with(|| worker.take_buffer());
            buf.reserve(limit);
            let mut limited = buf.limit(limit);
            tokio_util::io::poll_read_buf(Pin::new(&mut *from), cx, &mut limited)
        });
        let (until, late) = sooner(self.idle_at, self.last_moment);
        let read: Option<io::Result<usize>> = self.timer.limit(until, read).await;
        match read {
            Some(Ok(bytes)) => {
                // As in Envoy, an end counts as well.
                self.stats.early_data_received_count_total.inc();
                self.early = early;
                return bytes > 0;
            }
            Some(Err(_)) => self.note_gone(),
            None => self.note_late(late),
        }
        false
    }

    /// What comes of `future`, unless `idle_timeout` is over before.
    pub(crate) async fn in_time<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        self.timer.limit(self.idle_at, future).await
    }

    /// What the client has sent that was waited for, once.
    pub(crate) fn take_early(&mut self) -> Option<BytesMut> {
        let early = self.early.take()?;
        let bytes = early.len() as u64;
        self.stats.downstream_cx_rx_bytes_total.add(bytes);
        Some(early)
    }

    /// The client has reset its connection before there was another one.
    pub(crate) fn note_gone(&mut self) {
        let flags = &mut self.desk.exchange.flags;
        flags.insert(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
    }

    /// A connection to some endpoint of the cluster; none where there is no having one.
    async fn connect(
        &mut self,
        cluster: &Arc<Cluster>,
        criteria: Option<&Criteria>,
    ) -> Option<RawLease> {
        self.attempts(cluster, criteria, async |session, wish| {
            let worker = session.worker;
            let connecting = worker.pools.connect(cluster, Priority::Default, wish);
            let lease = session.in_time(connecting).await;
            let lease = lease.ok_or(Missed::Idle(None))??;
            session.note_reached(cluster);
            Ok(lease)
        })
        .await
    }

    /// What comes of attempts to reach an endpoint of the cluster, as many as there may be; none where
    /// nothing does. All of that, what `attempt` does once it has a connection too, is within
    /// `max_downstream_connection_duration`. One whose connection was about to end is made again at once,
    /// beyond that number.
    pub(crate) async fn attempts<T>(
        &mut self,
        cluster: &Arc<Cluster>,
        criteria: Option<&Criteria>,
        mut attempt: impl AsyncFnMut(&mut Self, &Wish<'_>) -> Result<T, Missed>,
    ) -> Option<T> {
        let hashes = self.proxy.hashes_source && cluster.wants_hash();
        let client = self.desk.exchange.connection.remote.ip();
        let spec = cluster.spec();
        let demand = (spec.pool_per_client || spec.dial.tells_client()).then(|| Demand {
            client: Some(Client::new(&self.desk.exchange.connection)),
            ..Demand::default()
        });
        let aim = Aim::of(cluster, &self.desk.exchange, criteria, self.worker.index);
        let wish = Wish {
            demand: demand.as_ref(),
            hash: client
                .filter(|_| hashes)
                .map(|client| xxh64(client.ip().to_string().as_bytes(), 0)),
            ..aim.wish()
        };
        let mut backoff = self.proxy.backoff;
        let mut most = self.proxy.max_connect_attempts;
        let mut timer = Timer::default();
        loop {
            let last_moment = self.last_moment;
            self.desk.exchange.upstream.attempts += 1;
            let tried = timer.limit(last_moment, attempt(self, &wish)).await;
            let Some(tried) = tried else {
                self.out_of_time();
                return None;
            };
            let missed = match tried {
                Ok(reached) => return Some(reached),
                Err(missed) => missed,
            };
            self.permit = None;
            self.idle_at = after(clock::now(), self.proxy.idle_timeout);
            let missed = match missed {
                Missed::Stale { is_unseen, .. } if self.may_repeat(cluster, is_unseen) => {
                    most = most.saturating_add(1);
                    continue;
                }
                missed => missed,
            };
            if !self.may_try_again(cluster, missed) {
                return None;
            }
            if self.desk.exchange.upstream.attempts >= most {
                let stats = cluster.stats(self.worker.index);
                stats.upstream_cx_connect_attempts_exceeded.inc();
                self.desk
                    .exchange
                    .flags
                    .insert(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
                return None;
            }
            if let Some((next, longest)) = &mut backoff {
                let wait = next.mul_f64(self.worker.random_fraction());
                *next = next.saturating_mul(2).min(*longest);
                let until = after(clock::now(), Some(wait));
                let mut pause = Timer::default();
                let rest = pause.wait(until);
                if timer.limit(last_moment, rest).await.is_none() {
                    self.out_of_time();
                    return None;
                }
                self.idle_at = after(clock::now(), self.proxy.idle_timeout);
            }
        }
    }

    /// Whether an attempt is made once more because of a connection that was about to end, by the rules for
    /// an HTTP request without a policy (`http::attempts`).
    fn may_repeat(&mut self, cluster: &Arc<Cluster>, is_unseen: bool) -> bool {
        if std::mem::replace(&mut self.repeated, true) {
            return false;
        }
        if is_unseen {
            return true;
        }
        self.permit = cluster.try_retry(Priority::Default, self.worker.index);
        if self.permit.is_some() {
            let stats = cluster.stats(self.worker.index);
            stats.upstream_rq_retry.inc();
        } else {
            self.desk.exchange.flags.insert(Flags::UPSTREAM_OVERFLOW);
        }
        self.permit.is_some()
    }

    /// Notes that an attempt has come to something.
    pub(crate) fn note_reached(&mut self, cluster: &Cluster) {
        if self.permit.take().is_some() {
            let stats = cluster.stats(self.worker.index);
            stats.upstream_rq_retry_success.inc();
        }
    }

    /// Notes why there is no connection.
    fn may_try_again(&mut self, cluster: &Cluster, missed: Missed) -> bool {
        let error = match missed {
            Missed::Connection(error) => error,
            Missed::Useless(endpoint, why) => {
                self.desk.exchange.upstream.failure = why;
                self.note_failed(cluster, &endpoint);
                return true;
            }
            Missed::Stale { endpoint, .. } => {
                self.desk.exchange.upstream.failure = None;
                self.note_failed(cluster, &endpoint);
                return true;
            }
            Missed::Client => {
                self.note_gone();
                return false;
            }
            Missed::Idle(Some(endpoint)) => {
                self.stats.idle_timeout.inc();
                self.note_failed(cluster, &endpoint);
                return false;
            }
            Missed::Idle(None) => {
                self.stats.idle_timeout.inc();
                return false;
            }
        };
        let exchange = &mut *self.desk.exchange;
        match error.kind {
            ErrorKind::NoHealthyUpstream => exchange.flags.insert(Flags::NO_HEALTHY_UPSTREAM),
            ErrorKind::Overflow(_) => exchange.flags.insert(Flags::UPSTREAM_OVERFLOW),
            ErrorKind::ConnectTimeout | ErrorKind::ConnectFailure(_) => {
                exchange.flags.insert(Flags::UPSTREAM_CONNECTION_FAILURE);
                exchange.upstream.failure = error.transport_failure();
                if let Some(endpoint) = &error.endpoint {
                    note_endpoint(exchange, cluster, endpoint);
                }
                return true;
            }
        }
        // It was none: nobody was asked.
        exchange.upstream.attempts -= 1;
        false
    }

    /// Notes that an attempt has come to nothing although it reached that endpoint.
    fn note_failed(&mut self, cluster: &Cluster, endpoint: &Endpoint) {
        let exchange = &mut *self.desk.exchange;
        exchange.flags.insert(Flags::UPSTREAM_CONNECTION_FAILURE);
        note_endpoint(exchange, cluster, endpoint);
    }

    /// Notes where the connection leads.
    pub(crate) fn note_connection(
        &mut self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        facts: &Facts,
    ) {
        let exchange = &mut *self.desk.exchange;
        note_endpoint(exchange, cluster, endpoint);
        let upstream = &mut exchange.upstream;
        upstream.local = facts.local;
        upstream.connection_id = Some(facts.connection_id);
        upstream.tls.clone_from(&facts.tls);
    }

    async fn relay(mut self, downstream: &mut Socket, mut lease: RawLease) -> Ending {
        let cluster = Arc::clone(lease.cluster());
        let cluster = cluster.stats(self.worker.index);
        let mut relay = Relay::new(self.proxy.buffer_limit);
        let mut flow = FlowControl::new(
            (
                &self.stats.downstream_flow_control_paused_reading_total,
                &self.stats.downstream_flow_control_resumed_reading_total,
            ),
            cluster,
        );
        relay.up.begin_with(self.take_early());
        let mut idle = after(clock::now(), self.proxy.idle_timeout);
        let (mut moved, mut flushing) = (0, false);
        let (mut ticks, mut tick) = (Timer::default(), after(clock::now(), self.proxy.log_every));
        let mut fails = lease
            .cluster()
            .spec()
            .closes_on_failure
            .then(|| Box::pin(lease.ended_by_health()));
        let ended = poll_fn(|cx| {
            let before = relay.tally();
            let polled = relay.poll(cx, self.worker, downstream, lease.socket());
            self.count_moved(cluster, before, relay.tally());
            let (up, down) = relay.waits();
            flow.note_up(up);
            flow.note_down(down);
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
            while ticks.poll(cx, tick).is_ready() {
                tick = after(clock::now(), self.proxy.log_every);
                self.log_moved(&relay);
            }
            if relay.moved() != moved {
                moved = relay.moved();
                idle = after(clock::now(), self.proxy.idle_timeout);
                self.note_moved(&relay);
            }
            let (deadline, late) = sooner(idle, self.last_moment);
            self.timer.poll(cx, deadline).map(|()| Err(late))
        })
        .await;
        if flushing {
            self.stats.upstream_flush_active.dec();
        }
        self.note_moved(&relay);
        match ended {
            Ok(Ok(Last::Downstream)) => {}
            Ok(Ok(Last::Upstream)) => lease.closed_by_peer(),
            Ok(Err(Failed::Downstream)) => lease.socket().reset_on_drop(),
            Ok(Err(Failed::Upstream)) => {
                lease.closed_by_peer();
                self.desk
                    .exchange
                    .flags
                    .insert(Flags::UPSTREAM_REMOTE_RESET);
                return Ending::Reset;
            }
            Err(late) => self.note_late(late),
        }
        Ending::Closed
    }

    /// Counts what one turn of the relay has moved.
    fn count_moved(&self, cluster: &ClusterStats, before: Tally, now: Tally) {
        let (of_client, of_upstream) = (self.stats, cluster);
        for (counter, before, now) in [
            (
                &of_client.downstream_cx_rx_bytes_total,
                before.came_up,
                now.came_up,
            ),
            (
                &of_client.downstream_cx_tx_bytes_total,
                before.went_down,
                now.went_down,
            ),
            (
                &of_upstream.upstream_cx_tx_bytes_total,
                before.went_up,
                now.went_up,
            ),
            (
                &of_upstream.upstream_cx_rx_bytes_total,
                before.came_down,
                now.came_down,
            ),
        ] {
            counter.add(now - before);
        }
    }

    /// Notes what has been moved so far.
    fn note_moved(&mut self, relay: &Relay) {
        self.desk.exchange.bytes_received = relay.up.read;
        self.desk.exchange.bytes_sent = relay.down.written;
        self.desk.exchange.wire = WireBytes {
            downstream: Some(Carried {
                received: Counted::raw(relay.up.read),
                sent: Counted::raw(relay.down.written),
            }),
            upstream: Some(Carried {
                received: Counted::raw(relay.down.read),
                sent: Counted::raw(relay.up.written),
            }),
        };
    }

    /// An entry of the access logs while bytes are moved.
    fn log_moved(&mut self, relay: &Relay) {
        self.note_moved(relay);
        self.log(LogType::TcpPeriodic);
    }

    /// An entry of the access logs before the end.
    pub(crate) fn log(&mut self, kind: LogType) {
        let (loggers, filters) = (&self.proxy.loggers, &self.proxy.log_filters);
        self.worker.log(loggers, filters, self.desk, kind);
    }

    /// Notes why it ends before its connections do.
    fn note_late(&mut self, late: Late) {
        match late {
            Late::EndpointFailed => {}
            Late::Idle => self.stats.idle_timeout.inc(),
            Late::Duration => self.out_of_time(),
        }
    }

    /// `max_downstream_connection_duration` is over.
    fn out_of_time(&mut self) {
        self.stats.max_downstream_connection_duration.inc();
        self.desk.exchange.flags.insert(Flags::DURATION_TIMEOUT);
    }
}

/// The client has reset its connection.
#[derive(Debug)]
struct Gone;

/// Why a session ends before its connections do.
#[derive(Clone, Copy, Debug)]
enum Late {
    EndpointFailed,
    Idle,
    Duration,
}

/// Which of the two is over first, and what that means.
fn sooner(idle: Option<Instant>, last_moment: Option<Instant>) -> (Option<Instant>, Late) {
    match (idle, last_moment) {
        (Some(idle), Some(last)) if idle >= last => (Some(last), Late::Duration),
        (None, last) => (last, Late::Duration),
        (idle, _) => (idle, Late::Idle),
    }
}
