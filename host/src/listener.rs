//! Listening sockets: accepting until the drain.
//!
//! Owns the sockets (`bind`), the accept loop and the way of a connection to its filter chain: through the listener
//! filters (`filters`), which look at its first bytes (`sniff`). Does not own what a connection
//! speaks (`http::connection`) nor which listeners there are (`runtime`).

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::clock;
use crate::exchange::{Connection, Flags, LogType, Protocol, Timing};
use crate::http::connection::{self, Booked};
use crate::http::tunnel;
use crate::runtime::{Admitted, Handshake, Listener, Service, TcpProxy};
use crate::socket;
use crate::tcp;
use crate::tcp::gate::{Pass, Verdict};
use crate::tls;
use crate::worker::{Tracked, Worker};

mod bind;
mod filters;
mod incoming;
pub mod sniff;

pub(crate) use bind::bind;
use filters::{Arrival, Facts};
pub(crate) use incoming::Listening;
use incoming::{Acceptor, Ends, Incoming};

/// How long accepting rests after an error that will not go away at once, such as too many files.
const REST: Duration = Duration::from_millis(100);
/// How often such an error is told while it lasts.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Accepts connections until the worker drains or `stop` says so, and then those that the kernel had
/// accepted before: a connection that is in the queue when its socket is closed would be reset. The worker
/// is not idle before the queue was emptied, for which `_tracked` stands.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    (listener, stop): (Arc<Listener>, Rc<Notify>),
    socket: Listening,
    _tracked: Tracked,
) {
    let socket = match socket.watch() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(target: "main", listener = %listener.name, "watch the listening socket: {error}");
            return;
        }
    };
    let mut drained = std::pin::pin!(worker.drain().started());
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut drained => break,
            () = stop.notified() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, ends)) => start(&worker, &listener, stream, ends),
            Err(error) => failures.rest(&listener.name, &error).await,
        }
    }
    accept_queued(&worker, &listener, socket);
}

/// Accepts what waits in the queue, asking the kernel rather than the runtime's idea of it.
fn accept_queued(worker: &Rc<Worker>, listener: &Arc<Listener>, socket: Acceptor) {
    let Ok(socket) = socket.unwatch() else {
        return;
    };
    while let Ok((stream, ends)) = socket.accept() {
        start(worker, listener, stream, ends);
    }
}

fn start(worker: &Rc<Worker>, listener: &Arc<Listener>, stream: Incoming, ends: Ends) {
    let Some(admitted) = listener.admit(worker.index) else {
        return;
    };
    let (local, remote) = ends;
    let arrival = Arrival {
        admitted,
        stream,
        facts: Facts::new(local, remote),
    };
    if listener.inspection.steps.is_empty() {
        enter(worker, listener, arrival);
        return;
    }
    // Here and not in the task: between the end of the queue and the task's first turn the worker would
    // seem to be idle.
    let tracked = worker.track();
    let (worker, listener) = (Rc::clone(worker), Arc::clone(listener));
    tokio::task::spawn_local(inspected(worker, listener, arrival, tracked));
}

/// Lets listener filters look at a connection before it comes in.
async fn inspected(
    worker: Rc<Worker>,
    mut listener: Arc<Listener>,
    mut arrival: Arrival,
    _tracked: Tracked,
) {
    if !filters::inspect(&worker, &listener, &mut arrival).await {
        return;
    }
    let facts = &arrival.facts;
    if listener.inspection.hands_over && facts.local != facts.direct_local {
        let snapshot = worker.snapshot();
        if let Some(meant) = snapshot.listener_at(&facts.local)
            && !Arc::ptr_eq(meant, &listener)
        {
            listener = Arc::clone(meant);
            if !filters::inspect(&worker, &listener, &mut arrival).await {
                return;
            }
        }
    }
    enter(&worker, &listener, arrival);
}

/// Gives a connection its filter chain.
fn enter(worker: &Rc<Worker>, listener: &Arc<Listener>, arrival: Arrival) {
    let Arrival {
        admitted,
        stream,
        facts,
    } = arrival;
    let started = clock::now();
    let chain = listener.chains.choose(&facts.arriving());
    let connection = Connection {
        id: worker.next_id(),
        remote: facts.remote,
        direct_remote: facts.direct_remote,
        local: facts.local,
        direct_local: facts.direct_local,
        local_is_restored: facts.local_is_restored,
        server_name: facts.server_name,
        metadata: facts.metadata,
        listener: Arc::clone(&listener.name),
        filter_chain: chain.map_or_else(|| Arc::from(""), |chain| Arc::clone(&chain.name)),
        listener_metadata: listener.metadata.clone(),
        filter_chain_metadata: chain.and_then(|chain| chain.metadata.clone()),
        tls: None,
    };
    let Some(chain) = chain else {
        let stats = listener.stats.shard(worker.index);
        stats.no_filter_chain_match.inc();
        if !listener.loggers.is_empty() {
            let unmatched = Some("filter_chain_not_found");
            log(worker, listener, &Arc::new(connection), started, unmatched);
        }
        return;
    };
    let mut open = Open::new(worker, listener, admitted);
    let socket = socket::Socket::from(stream);
    for gate in &chain.gates {
        match gate.admit(open.started) {
            Verdict::In(pass) => open.passes.extend(pass),
            Verdict::Out(after) => {
                open.note(&Arc::new(connection));
                return turn_away(socket, after, open);
            }
        }
    }
    let terminal = Terminal::begin(&chain.service, &open, chain.handshake.is_some());
    match &chain.handshake {
        None => serve(terminal, socket, connection, open),
        Some(wanted) => {
            let shaken = handshake(wanted.clone(), terminal, socket, connection, open);
            tokio::task::spawn_local(shaken);
        }
    }
}

/// The terminal filter of a chain, which knows of a connection that it will be given.
enum Terminal {
    /// The HTTP connection manager.
    Http(Booked),
    /// The TCP proxy.
    Tcp(Arc<TcpProxy>),
    /// A fixed answer.
    Answer(Bytes),
    /// Back what comes.
    Echo,
    /// There is none.
    Nothing,
}

impl Terminal {
    /// Counts a connection, before its TLS handshake if there `is_tls`.
    fn begin(service: &Service, open: &Open, is_tls: bool) -> Self {
        let worker = open.worker.index;
        match service {
            Service::Http(http) => {
                Self::Http(Booked::new(Arc::clone(http), worker, open.started, is_tls))
            }
            Service::Tcp(proxy) => {
                proxy.stats.shard(worker).downstream_cx_total.inc();
                Self::Tcp(Arc::clone(proxy))
            }
            Service::Answer(response) => Self::Answer(response.clone()),
            Service::Echo => Self::Echo,
            Service::Nothing => Self::Nothing,
        }
    }
}

/// Answers a client's TLS handshake, and serves what follows.
async fn handshake(
    wanted: Handshake,
    terminal: Terminal,
    socket: socket::Socket,
    mut connection: Connection,
    open: Open,
) {
    let shaken = tls::accept(&wanted.server, socket, open.worker.index);
    let (failure, is_late) = match tokio::time::timeout(wanted.timeout, shaken).await {
        Ok(Ok((socket, facts))) => {
            connection.tls = Some(Box::new(facts));
            return serve(terminal, socket, connection, open);
        }
        Ok(Err(failure)) => (failure.to_string(), false),
        Err(_) => {
            let stats = open.listener.stats.shard(open.worker.index);
            stats.downstream_cx_transport_socket_connect_timeout.inc();
            ("it took too long".to_owned(), true)
        }
    };
    if let Terminal::Http(booked) = terminal {
        booked.unshaken(is_late);
    }
    let (connection, mut open) = (Arc::new(connection), open);
    open.note(&connection);
    tracing::debug!(
        target: "connection",
        id = connection.id,
        "TLS handshake of {}: {failure}",
        connection.direct_remote
    );
}

/// Hands a connection to the terminal filter of its chain.
fn serve(terminal: Terminal, socket: socket::Socket, connection: Connection, mut open: Open) {
    let connection = Arc::new(connection);
    open.note(&connection);
    let worker = Rc::clone(&open.worker);
    match terminal {
        Terminal::Http(booked) => {
            tokio::task::spawn_local(connection::serve(worker, booked, socket, connection, open));
        }
        Terminal::Tcp(proxy) => {
            if proxy.tunnel.is_some() {
                tokio::task::spawn_local(tunnel::serve(worker, proxy, socket, connection, open));
            } else {
                let served = tcp::proxy::serve(worker, proxy, socket, connection, open);
                tokio::task::spawn_local(served);
            }
        }
        Terminal::Answer(response) => {
            tokio::task::spawn_local(tcp::simple::answer(socket, response, open));
        }
        Terminal::Echo => {
            tokio::task::spawn_local(tcp::simple::echo(socket, open));
        }
        Terminal::Nothing => {
            let stats = open.listener.stats.shard(worker.index);
            stats.network_extension_config_missing.inc();
        }
    }
}

/// Closes a connection that may not come in.
fn turn_away(socket: socket::Socket, after: Option<Duration>, open: Open) {
    let Some(delay) = after else { return };
    tokio::task::spawn_local(async move {
        tokio::time::sleep(delay).await;
        drop((socket, open));
    });
}

/// A connection in the books of its listener. Dropping it closes the entry.
struct Open {
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    started: Instant,
    /// Its places under limits.
    passes: Vec<Pass>,
    _admitted: [Admitted; 2],
    /// What the listener's access logs have of it; none where there are none.
    logged: Option<Arc<Connection>>,
    _tracked: Tracked,
}

impl Open {
    fn new(worker: &Rc<Worker>, listener: &Arc<Listener>, admitted: [Admitted; 2]) -> Self {
        let stats = listener.stats.shard(worker.index);
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        Self {
            worker: Rc::clone(worker),
            listener: Arc::clone(listener),
            started: clock::now(),
            passes: Vec::new(),
            _admitted: admitted,
            logged: None,
            _tracked: worker.track(),
        }
    }
}

impl Open {
    fn note(&mut self, connection: &Arc<Connection>) {
        if !self.listener.loggers.is_empty() {
            self.logged = Some(Arc::clone(connection));
        }
    }
}

/// An entry of the listener's access logs for a connection that is over. `unmatched` says why it never
/// came in.
fn log(
    worker: &Worker,
    listener: &Listener,
    connection: &Arc<Connection>,
    started: Instant,
    unmatched: Option<&'static str>,
) {
    let now = clock::now();
    let wall = clock::wall() - now.duration_since(started);
    let timing = Timing::starting(started, wall);
    let mut desk = worker.take_desk(connection, Protocol::Raw, timing);
    desk.exchange.timing.ended = Some(now);
    desk.exchange.metadata.clone_from(&connection.metadata);
    if let Some(details) = unmatched {
        desk.exchange.flags.insert(Flags::NO_ROUTE_FOUND);
        desk.exchange.details = Some(details.into());
    }
    let (loggers, filters) = (&listener.loggers, &listener.log_filters);
    worker.log(loggers, filters, &mut desk, LogType::NotSet);
    worker.put_desk(desk);
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(connection) = self.logged.take() {
            let (worker, listener) = (&self.worker, &self.listener);
            log(worker, listener, &connection, self.started, None);
        }
        let stats = self.listener.stats.shard(self.worker.index);
        let lasted = clock::now().duration_since(self.started);
        stats.downstream_cx_active.dec();
        stats.downstream_cx_destroy.inc();
        stats
            .downstream_cx_length_ms
            .record(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
    }
}

/// What an accept loop knows of those that it could not accept.
#[derive(Default)]
pub(crate) struct Failures {
    told: Option<Instant>,
}

impl Failures {
    /// An error of one connection is no matter; one of the process (too many open files) would come
    /// back at once, in a loop. It is told once in a while.
    pub(crate) async fn rest(&mut self, listener: &str, error: &io::Error) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        let now = clock::now();
        if self
            .told
            .is_none_or(|told| now.duration_since(told) >= TOLD_EVERY)
        {
            self.told = Some(now);
            tracing::warn!(target: "main", listener, "accept a connection: {error}");
        }
        tokio::time::sleep(REST).await;
    }
}
