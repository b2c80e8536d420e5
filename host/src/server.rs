//! The life of the process: start, serve, drain, stop.
//!
//! Owns the threads: N workers that serve connections, and the calling thread as the control
//! thread, which runs discovery, health checks, the admin server and the signals. Does not own what
//! is run (`runtime`) nor how it came about (`build`).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, mpsc};

use crate::address::Address;
use crate::admin::{self, Admin, Directions};
use crate::build::Built;
use crate::limits;
use crate::listener::{self, Listening};
use crate::observe::access_log::Sinks;
use crate::observe::metrics::{HttpStats, ListenerOfWorker, OpenConnections, ServerState};
use crate::observe::registry::{Registry, Scope};
use crate::observe::stats::{Sharded, Stats};
use crate::runtime::{FilterChain, ListenAddress, Listener, Service, Snapshot};
use crate::tls::{self, Expiry, FirstToExpire, TlsContext};
use crate::upstream::dns::Resolvers;
use crate::upstream::{self, connect, control, pool};
use crate::values;
use crate::wasm::Instances;
use crate::worker::Worker;

mod signals;

use signals::Signals;

/// How long an interval of the histograms in `/stats` is: Envoy's `stats_flush_interval`.
const LATCH: Duration = Duration::from_secs(5);
/// Commands that may wait for a worker; it takes them at once unless it is swamped.
const COMMANDS: usize = 16;

/// How to run, from the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--concurrency`: worker threads; at least 1.
    pub workers: usize,
    /// `--drain-time-s`: how long requests in flight may take after the first signal.
    pub drain_time: Duration,
    /// Other flags, by the names that `/server_info` shows them under.
    pub shown: Vec<(&'static str, String)>,
}

/// Why the process could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener's address could not be bound.
    #[error("bind listener \"{listener}\" to {address}")]
    Bind {
        /// `Listener.name`.
        listener: String,
        /// Its address.
        address: Address,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin server's address could not be bound.
    #[error("bind the admin server to {address}")]
    BindAdmin {
        /// `admin.address`.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Threads, runtimes, signals.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything in flight was finished.
    Drained,
    /// The drain time was over first.
    Cut,
    /// A second signal did not want to wait.
    Forced,
}

enum Command {
    Serve,
    /// Accept no more connections.
    StopListeners(Directions),
    Drain,
    Stop,
}

/// A worker, seen from the control thread.
struct Handle {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// Serves `built` until a signal ends it. `ready` is called once all listeners accept.
///
/// # Errors
/// When an address cannot be bound or the system refuses a thread.
pub fn run(built: Built, options: &Options, ready: impl FnOnce(&Admin)) -> Result<Stopped, Error> {
    raise_file_limit();
    let runtime = current_thread().map_err(|source| Error::System {
        doing: "start the control runtime",
        source,
    })?;
    runtime.block_on(control(built, options, ready))
}

/// Raises the limit on open files to what the process may have, as Envoy does: a connection is a file
/// on each side, and many systems begin with 1024.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let shown = |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let (before, after) = (shown(limit.current), shown(limit.maximum));
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => {
            tracing::info!(target: "main", "raised the limit on open files from {before} to {after}");
        }
        Err(error) => {
            tracing::warn!(target: "main", "raise the limit on open files from {before} to {after}: {error}");
        }
    }
}

/// A runtime of the thread that asks: it cannot go to another.
fn current_thread() -> std::io::Result<LocalRuntime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build_local(LocalOptions::default())
}

async fn control(
    built: Built,
    options: &Options,
    ready: impl FnOnce(&Admin),
) -> Result<Stopped, Error> {
    let system = |doing| move |source| Error::System { doing, source };
    let mut signals = Signals::new().map_err(system("watch for signals"))?;
    let snapshot = Arc::clone(&built.snapshot);
    let (sockets, addresses) = listen(&snapshot, options.workers)?;
    let _listed = register(&built, &addresses, options.workers);
    count_parts(&built, options.workers);
    let admin = Rc::new(Admin::new(&built, options, addresses));
    let admin_address = match &built.admin {
        Some(address) => {
            let served = admin::listen(Rc::clone(&admin), *address).await;
            Some(served.map_err(|source| Error::BindAdmin {
                address: *address,
                source,
            })?)
        }
        None => None,
    };
    if let Some(address) = admin_address {
        tracing::info!(target: "admin", "admin address: {address}");
        admin.set_address(address);
    }
    tokio::task::spawn_local(values::watch(Arc::clone(&built.values)));
    tokio::task::spawn_local(tls::watch(Arc::clone(&built.contexts)));
    let resolvers = Resolvers::default();
    let _discovery: Vec<control::Handle> = snapshot
        .clusters
        .iter()
        .map(|cluster| {
            let names = cluster.spec().discovery.names();
            let spec = names.map_or_else(Arc::default, |(_, dns)| Arc::clone(&dns.resolver));
            control::spawn(
                cluster,
                control::Settings {
                    resolver: resolvers.of(&spec),
                    seed: fastrand::u64(..),
                },
            )
        })
        .collect();
    let mut workers = start_workers(&built, options, sockets).map_err(system("start a worker"))?;
    built
        .registry
        .gauge("listener_manager.workers_started")
        .set(1);
    admin.set_state(ServerState::Initializing);
    let is_warm = tokio::select! {
        () = warm(&snapshot) => true,
        () = signals.end(&built.sinks) => false,
        () = admin.quit() => false,
    };
    if is_warm {
        send(&mut workers, || Command::Serve).await;
        admin.set_state(ServerState::Live);
        tracing::info!(target: "main", "all clusters are warm: serving with {} workers", options.workers);
        ready(&admin);
        let (registry, sinks) = (Arc::clone(&built.registry), Arc::clone(&built.sinks));
        let commands = workers.iter().map(|worker| worker.commands.clone());
        let commands = commands.collect();
        signals = serve(signals, Rc::clone(&admin), (registry, sinks), commands).await;
    }
    snapshot.vitals.drain();
    admin.set_state(ServerState::Draining);
    let stopped = drain(&mut signals, workers, &built, options).await;
    tracing::info!(target: "main", "exiting");
    Ok(stopped)
}

/// Lets the workers finish what is in flight, and ends them.
async fn drain(
    signals: &mut Signals,
    mut workers: Vec<Handle>,
    built: &Built,
    options: &Options,
) -> Stopped {
    tracing::info!(target: "main", "draining for up to {:?}; another signal ends the process at once", options.drain_time);
    send(&mut workers, || Command::Drain).await;
    let stopped = tokio::select! {
        biased;
        () = all_gone(&workers) => Stopped::Drained,
        () = tokio::time::sleep(options.drain_time) => when_time_is_over(&built.snapshot),
        () = signals.end(&built.sinks) => Stopped::Forced,
    };
    say_how(stopped, &built.snapshot);
    stop(workers).await;
    built.sinks.flush_all();
    stopped
}

async fn stop(mut workers: Vec<Handle>) {
    send(&mut workers, || Command::Stop).await;
    for worker in workers {
        if worker.thread.join().is_err() {
            tracing::error!(target: "main", "a worker panicked");
        }
    }
}

/// Sockets of a listener: for each of its addresses one for each worker.
type Sockets = Vec<Vec<Listening>>;

/// Binds all listeners; with their sockets comes where each really listens.
fn listen(snapshot: &Snapshot, workers: usize) -> Result<(Vec<Sockets>, Vec<Vec<Address>>), Error> {
    let (mut all, mut addresses) = (Vec::new(), Vec::new());
    for listener in &snapshot.listeners {
        let sockets = bind(listener, workers)?;
        let bound = bound(listener, &sockets);
        for address in bound.iter().take(sockets.len()) {
            tracing::info!(target: "main", "listener \"{}\" listens on {address}", listener.name);
        }
        all.push(sockets);
        addresses.push(bound);
    }
    Ok((all, addresses))
}

fn bind(listener: &Listener, workers: usize) -> Result<Sockets, Error> {
    let bind = |at: &ListenAddress| {
        listener::bind(at, &listener.settings, workers).map_err(|source| Error::Bind {
            listener: listener.name.to_string(),
            address: at.address.clone(),
            source,
        })
    };
    listener.sockets.iter().map(bind).collect()
}

/// Where a listener really listens; where it would, if it does not.
fn bound(listener: &Listener, sockets: &[Vec<Listening>]) -> Vec<Address> {
    let first = |sockets: &Vec<Listening>| sockets.first()?.address().ok();
    let mut real: Vec<_> = sockets.iter().filter_map(first).collect();
    if real.is_empty() {
        real.push(listener.address.clone());
    }
    real
}

/// Lists the listeners' statistics, which are named by the addresses that were really bound.
/// They are listed for as long as the answer lives.
fn register(built: &Built, addresses: &[Vec<Address>], workers: usize) -> Vec<Arc<dyn Stats>> {
    built
        .registry
        .register(Scope::nuncio("tls."), &built.contexts);
    let first = Arc::new(FirstToExpire(Arc::clone(&built.contexts)));
    built.registry.register(Scope::new("server."), &first);
    let listeners = built.snapshot.listeners.iter();
    let open = OpenConnections(
        listeners
            .map(|listener| Arc::clone(&listener.stats))
            .collect(),
    );
    let open = Arc::new(open);
    built.registry.register(Scope::new("server."), &open);
    let mut listed: Vec<Arc<dyn Stats>> = vec![first, open];
    for cluster in &built.snapshot.clusters {
        let scope = Scope::cluster(cluster.observability_name());
        let contexts = cluster.spec().dial.contexts();
        let contexts = contexts.map(|client| Arc::clone(client) as Arc<dyn TlsContext>);
        listed.extend(register_ends(built, &scope, contexts.collect()));
        if cluster.spec().counts_endpoints {
            let endpoints = Arc::new(report::PerEndpoint(Arc::clone(cluster)));
            built.registry.register(scope, &endpoints);
            listed.push(endpoints);
        }
    }
    for (listener, addresses) in built.snapshot.listeners.iter().zip(addresses) {
        let address = addresses.first().unwrap_or(&listener.address);
        let scope = match listener.stat_prefix.as_str() {
            "" => Scope::listener(address),
            prefix => Scope::listener_named(prefix),
        };
        built.registry.register(scope.clone(), &listener.stats);
        let mut contexts = Vec::new();
        for chain in listener.chains.iter() {
            if let Some(handshake) = &chain.handshake {
                let server = &handshake.server;
                built.registry.register(scope.clone(), server.stats());
                built.registry.register(scope.clone(), server.negotiated());
                built.registry.register(scope.clone(), server.signatures());
                contexts.push(Arc::clone(server) as Arc<dyn TlsContext>);
            }
            if let Service::Http(http) = &chain.service {
                let scope = Scope::listener_http(&scope, &http.manager.stat_prefix);
                built.registry.register(scope, &http.http_stats);
            }
        }
        listed.extend(register_ends(built, &scope, contexts));
        for index in 0..workers {
            let stats = ListenerOfWorker::new(Arc::clone(&listener.stats), index);
            let stats = Arc::new(stats);
            built
                .registry
                .register(Scope::listener_worker(&scope, index), &stats);
            listed.push(stats);
        }
    }
    listed
}

/// Counts clusters and listeners as Envoy's managers of them do. The configuration alone makes them, so
/// that none is ever changed, removed or waited for later.
fn count_parts(built: &Built, workers: usize) {
    let (clusters, listeners) = (
        built.snapshot.clusters.len(),
        built.snapshot.listeners.len(),
    );
    for (name, count) in [
        ("cluster_manager.active_clusters", clusters),
        ("cluster_manager.warming_clusters", 0),
        ("listener_manager.total_filter_chains_draining", 0),
        ("listener_manager.total_listeners_active", listeners),
        ("listener_manager.total_listeners_draining", 0),
        ("listener_manager.total_listeners_warming", 0),
    ] {
        let gauge = built.registry.gauge(name);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for (name, count) in [
        ("cluster_manager.cluster_added", clusters),
        ("cluster_manager.cluster_modified", 0),
        ("cluster_manager.cluster_removed", 0),
        ("cluster_manager.cluster_updated", 0),
        ("cluster_manager.cluster_updated_via_merge", 0),
        ("cluster_manager.update_merge_cancelled", 0),
        ("cluster_manager.update_out_of_merge_window", 0),
        ("listener_manager.listener_added", listeners),
        ("listener_manager.listener_create_failure", 0),
        (
            "listener_manager.listener_create_success",
            listeners * workers,
        ),
        ("listener_manager.listener_in_place_updated", 0),
        ("listener_manager.listener_modified", 0),
        ("listener_manager.listener_removed", 0),
    ] {
        built.registry.counter(name).add(count as u64);
    }
}

/// Lists when the certificates of a listener or cluster end, if it has any.
fn register_ends(
    built: &Built,
    scope: &Scope,
    contexts: Vec<Arc<dyn TlsContext>>,
) -> Option<Arc<dyn Stats>> {
    if contexts.is_empty() {
        return None;
    }
    let expiry = Arc::new(Expiry(contexts));
    built.registry.register(scope.clone(), &expiry);
    Some(expiry)
}

/// Waits until every cluster that holds up the start is warm: resolved once, and its first health checks answered.
/// Says which ones it waits for where that takes its time.
async fn warm(snapshot: &Snapshot) {
    let awaited = || {
        let clusters = snapshot.clusters.iter();
        clusters.filter(|cluster| cluster.spec().holds_up_start)
    };
    let mut waiting = std::pin::pin!(async {
        for cluster in awaited() {
            cluster.warm().await;
        }
    });
    tokio::select! {
        biased;
        () = &mut waiting => return,
        () = tokio::time::sleep(limits::WARMING_IS_TOLD) => {}
    }
    let cold = awaited().filter(|cluster| !cluster.is_warm());
    let names: Vec<&str> = cold.map(|cluster| &*cluster.name).collect();
    tracing::info!(target: "main", "waiting for clusters to be resolved and checked: {}", names.join(", "));
    waiting.await;
}

/// Says why a drain was not waited for, and what is lost by that.
fn say_how(stopped: Stopped, snapshot: &Snapshot) {
    let why = match stopped {
        Stopped::Drained => return,
        Stopped::Cut => "the drain time is over",
        Stopped::Forced => "another signal came",
    };
    let open = open_connections(snapshot);
    tracing::warn!(target: "main", "{why}: {open} connections are still open");
}

/// How it ends when the drain time is over: clients that only keep connections lose nothing with them.
fn when_time_is_over(snapshot: &Snapshot) -> Stopped {
    let mut managers: Vec<&Arc<Sharded<HttpStats>>> = Vec::new();
    let chains = snapshot.listeners.iter();
    for chain in chains.flat_map(|listener| listener.chains.iter()) {
        if let Service::Http(http) = &chain.service {
            let stats = &http.manager.stats;
            if !managers.iter().any(|known| Arc::ptr_eq(known, stats)) {
                managers.push(stats);
            }
        }
    }
    let shards = || managers.iter().flat_map(|stats| stats.workers());
    let requests: i64 = shards().map(|stats| stats.downstream_rq_active.get()).sum();
    let of_http: i64 = shards().map(|stats| stats.downstream_cx_active.get()).sum();
    if requests == 0 && open_connections(snapshot) <= of_http {
        Stopped::Drained
    } else {
        Stopped::Cut
    }
}

fn open_connections(snapshot: &Snapshot) -> i64 {
    let listeners = snapshot.listeners.iter();
    let workers = listeners.flat_map(|listener| listener.stats.workers());
    workers.map(|stats| stats.downstream_cx_active.get()).sum()
}

/// Runs until a signal or the admin server asks for the end. Gives the signals back.
async fn serve(
    mut signals: Signals,
    admin: Rc<Admin>,
    (registry, sinks): (Arc<Registry>, Arc<Sinks>),
    workers: Vec<mpsc::Sender<Command>>,
) -> Signals {
    loop {
        tokio::select! {
            () = signals.end(&sinks) => return signals,
            () = admin.quit() => return signals,
            which = admin.stops().next() => {
                tracing::info!(target: "main", "stopping the listeners: {which:?}");
                for worker in &workers {
                    // A worker that is gone accepts nothing.
                    let _gone = worker.send(Command::StopListeners(which)).await;
                }
            }
            () = tokio::time::sleep(LATCH) => registry.latch(),
        }
    }
}

/// Sends a command to every worker that is still there.
async fn send(workers: &mut [Handle], command: impl Fn() -> Command) {
    for worker in workers {
        // A worker that is gone has nothing left to do.
        let _gone = worker.commands.send(command()).await;
    }
}

/// Waits until every worker has ended by itself.
async fn all_gone(workers: &[Handle]) {
    for worker in workers {
        worker.commands.closed().await;
    }
}

fn start_workers(
    built: &Built,
    options: &Options,
    sockets: Vec<Sockets>,
) -> std::io::Result<Vec<Handle>> {
    let shared = pool::Shared::new();
    let mut by_worker: Vec<Vec<(Arc<Listener>, Listening)>> = Vec::new();
    by_worker.resize_with(options.workers, Vec::new);
    for (listener, sockets) in built.snapshot.listeners.iter().zip(sockets) {
        for sockets in sockets {
            for (mine, socket) in by_worker.iter_mut().zip(sockets) {
                mine.push((Arc::clone(listener), socket));
            }
        }
    }
    let mut workers = Vec::new();
    for (index, sockets) in by_worker.into_iter().enumerate() {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let snapshot = Arc::clone(&built.snapshot);
        let shared = Arc::clone(&shared);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let body = move || {
            let (runtime, made) = match current_thread() {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Who started the thread waits for it.
            let _awaited = tell.send(made);
            if let Some(runtime) = runtime {
                runtime.block_on(work(index, snapshot, shared, sockets, inbox));
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("wrk:{index}"))
            .spawn(body)?;
        let gone = |_| Err(std::io::ErrorKind::BrokenPipe.into());
        told.recv().unwrap_or_else(gone)?;
        workers.push(Handle { commands, thread });
    }
    Ok(workers)
}

/// A worker's life.
async fn work(
    index: usize,
    snapshot: Arc<Snapshot>,
    shared: Arc<pool::Shared>,
    sockets: Vec<(Arc<Listener>, Listening)>,
    mut inbox: mpsc::Receiver<Command>,
) {
    let pools = pool::Pools::new(index, fastrand::u64(..), shared, Rc::new(connect::System));
    let worker = Worker::new(index, pools, Instances::new(index), snapshot);
    for listener in &worker.snapshot().listeners {
        for slot in listener.chains.iter().flat_map(FilterChain::slots) {
            worker.filters.warm(slot);
        }
    }
    let mut sockets = Some(sockets);
    let mut accepting = Vec::new();
    let drained = Cell::new(false);
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            () = worker.idle(), if drained.get() => return,
        };
        match command {
            Some(Command::Serve) => {
                for (listener, socket) in sockets.take().into_iter().flatten() {
                    // Before the task's first turn: a drain may be the next command.
                    let tracked = worker.track();
                    let stop = Rc::new(Notify::new());
                    accepting.push((Arc::clone(&listener), Rc::clone(&stop)));
                    let of = (listener, stop);
                    let accept = listener::accept(Rc::clone(&worker), of, socket, tracked);
                    tokio::task::spawn_local(accept);
                }
            }
            Some(Command::StopListeners(which)) => {
                for (_, stop) in accepting.extract_if(.., |(listener, _)| which.has(listener)) {
                    stop.notify_one();
                }
            }
            Some(Command::Drain) => {
                worker.start_drain();
                drained.set(true);
            }
            Some(Command::Stop) | None => return,
        }
    }
}

/// What the admin server says about upstreams; here so that `admin` need not know pools.
pub(crate) use upstream::report;
