//! Random lives of connection pools: requests come, wait, give up and end, connections open, fail,
//! hang, break and grow old, and the endpoints are swapped for others meanwhile.
//!
//! The pools of two workers, the breakers and the control task are those that run; connections are
//! pairs of sockets whose other ends are here, so that what is open is counted apart from their books.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Seed, lives};
use crate::address::Address;
use crate::clock;
use crate::socket::Socket;
use crate::upstream::balance::Random;
use crate::upstream::breaker::Resource;
use crate::upstream::connect::{Connect, Connecting, Order};
use crate::upstream::control::{Handle, Settings, spawn};
use crate::upstream::dns::Resolvers;
use crate::upstream::error::{Error, ErrorKind};
use crate::upstream::pool::{Http1Lease, Lease, Pools, Release, Shared};
use crate::upstream::spec::{ClusterSpec, Discovery, Priority, StaticEndpoint};
use crate::upstream::stats::ClusterStats;
use crate::upstream::testing::runtime;
use crate::upstream::wish::Wish;
use crate::upstream::{Cluster, EndpointSet};

const LIVES: u64 = 60;
const STEPS: usize = 250;
const WORKERS: usize = 2;
const CONNECTIONS: u32 = 5;
const PENDING: u32 = 6;
const REQUESTS: u32 = 8;
/// Idle connections are looked at that often at least.
const SWEEP: Duration = Duration::from_secs(1);
/// How often is looked again whether a connection has ended.
const LOOKS: usize = 100_000;

/// What becomes of connections that are opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Opens,
    Refused,
    Hangs,
}

/// The far end of a connection.
struct Wire {
    to: Address,
    born: Instant,
    far: UnixStream,
}

impl Wire {
    /// Whether this proxy has ended it.
    fn has_ended(&self) -> bool {
        let mut byte = [0];
        matches!(io::Read::read(&mut &self.far, &mut byte), Ok(0))
    }
}

/// Where connections come from.
#[derive(Clone)]
struct Wires {
    open: Rc<RefCell<Vec<Wire>>>,
    fate: Rc<Cell<Fate>>,
    hanging: Rc<Cell<u32>>,
}

impl Wires {
    /// Forgets connections that this proxy has ended, of which `most` at most are left by its books. The system
    /// ends a socket a moment later where somebody else is looking at it, through `/proc` for example.
    fn forget_ended(&self, most: u64) {
        let mut open = self.open.borrow_mut();
        for _ in 0..LOOKS {
            open.retain(|wire| !wire.has_ended());
            if open.len() as u64 + u64::from(self.hanging.get()) <= most {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// A connection that never comes.
struct Hanging(Rc<Cell<u32>>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Connect for Wires {
    fn connect(&self, order: Order) -> Connecting {
        let wires = self.clone();
        Box::pin(async move {
            match wires.fate.get() {
                Fate::Opens => {
                    let (near, far) = UnixStream::pair()?;
                    near.set_nonblocking(true)?;
                    far.set_nonblocking(true)?;
                    let wire = Wire {
                        to: order.endpoint.now_at(),
                        born: clock::now(),
                        far,
                    };
                    wires.open.borrow_mut().push(wire);
                    Ok(Socket::from(tokio::net::UnixStream::from_std(near)?).into())
                }
                Fate::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
                Fate::Hangs => {
                    wires.hanging.set(wires.hanging.get() + 1);
                    let _counted = Hanging(Rc::clone(&wires.hanging));
                    pending().await
                }
            }
        })
    }
}

/// A request that has no connection yet.
struct Waiting {
    task: JoinHandle<Result<Lease, Error>>,
    /// Who was there when it began.
    endpoints: Arc<EndpointSet>,
}

struct Life {
    random: Random,
    cluster: Arc<Cluster>,
    control: Handle,
    pools: Vec<Rc<Pools>>,
    wires: Wires,
    waiting: Vec<Waiting>,
    leases: Vec<Http1Lease>,
    /// How many requests each connection has carried.
    carried: BTreeMap<u64, u32>,
}

fn address(number: u64) -> SocketAddr {
    let last = u8::try_from(number).unwrap_or(0);
    SocketAddr::from(([127, 0, 0, last], 80))
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let endpoints = (1..=3).map(|number| StaticEndpoint::new(address(number)));
        let mut spec = ClusterSpec::new("c", Discovery::Static(endpoints.collect()));
        for breaker in &mut spec.breakers {
            breaker.max_connections = CONNECTIONS;
            breaker.max_pending_requests = PENDING;
            breaker.max_requests = REQUESTS;
            breaker.max_connections_of_host = (random.below(2) == 0).then_some(3);
        }
        spec.max_requests_per_connection =
            NonZeroU32::new(u32::try_from(random.below(4)).unwrap_or(0));
        spec.idle_timeout = (random.below(3) > 0).then_some(Duration::from_secs(5));
        spec.max_connection_duration = (random.below(2) == 0).then_some(Duration::from_secs(8));
        let cluster = Cluster::new(spec, WORKERS);
        let settings = Settings {
            resolver: Resolvers::default().of(&Arc::default()),
            seed,
        };
        let control = spawn(&cluster, settings);
        let wires = Wires {
            open: Rc::default(),
            fate: Rc::new(Cell::new(Fate::Opens)),
            hanging: Rc::default(),
        };
        let shared = Shared::new();
        let pools = (0..WORKERS).map(|worker| {
            let connector = Rc::new(wires.clone());
            Pools::new(worker, random.next_u64(), Arc::clone(&shared), connector)
        });
        Self {
            pools: pools.collect(),
            random,
            cluster,
            control,
            wires,
            waiting: Vec::new(),
            leases: Vec::new(),
            carried: BTreeMap::new(),
        }
    }

    async fn step(&mut self) {
        match self.random.below(16) {
            0..=4 => self.request(),
            5..=8 => self.end_request(),
            9 => self.give_up(),
            10 => self.break_connection(),
            11 => self.swap_endpoints(),
            12 => {
                let fates = [Fate::Opens, Fate::Opens, Fate::Refused, Fate::Hangs];
                self.wires.fate.set(fates[self.random.index(fates.len())]);
            }
            13 | 14 => self.let_time_pass(Duration::from_millis(700)).await,
            _ => self.let_time_pass(Duration::from_secs(12)).await,
        }
        self.settle().await;
    }

    fn request(&mut self) {
        let (pools, cluster) = (
            Rc::clone(&self.pools[self.random.index(WORKERS)]),
            Arc::clone(&self.cluster),
        );
        let endpoints = cluster.endpoints();
        let task = tokio::task::spawn_local(async move {
            pools
                .acquire(&cluster, Priority::Default, &Wish::default())
                .await
        });
        self.waiting.push(Waiting { task, endpoints });
    }

    fn end_request(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let lease = self
            .leases
            .swap_remove(self.random.index(self.leases.len()));
        match self.random.below(6) {
            0 => lease.release(Release::Close),
            1 => lease.release(Release::ClosedByPeer),
            2 => drop(lease),
            _ => lease.release(Release::Reuse),
        }
    }

    /// Somebody who waits does not want to any more.
    fn give_up(&mut self) {
        if !self.waiting.is_empty() {
            let index = self.random.index(self.waiting.len());
            self.waiting.swap_remove(index).task.abort();
        }
    }

    /// The far side ends a connection, whoever has it.
    fn break_connection(&mut self) {
        let mut open = self.wires.open.borrow_mut();
        if !open.is_empty() {
            let index = self.random.index(open.len());
            open.swap_remove(index);
        }
    }

    fn swap_endpoints(&mut self) {
        let now: BTreeSet<u64> = (0..self.random.below(4))
            .map(|_| 1 + self.random.below(5))
            .collect();
        let now: Vec<_> = now
            .into_iter()
            .map(|number| StaticEndpoint::new(address(number)))
            .collect();
        self.control.assign(&now);
    }

    async fn let_time_pass(&mut self, time: Duration) {
        let end = clock::now() + time;
        while clock::now() < end {
            let left = end - clock::now();
            tokio::time::advance(left.min(SWEEP / 4)).await;
            self.settle().await;
        }
        if time > SWEEP * 8 {
            self.nothing_outlives_its_time();
        }
    }

    /// Lets everybody do what there is to do, and takes what requests got.
    async fn settle(&mut self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
        }
        let (done, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| waiting.task.is_finished());
        self.waiting = waiting;
        let done: Vec<Waiting> = done;
        for Waiting { task, endpoints } in done {
            let Ok(result) = task.await else { continue };
            match result {
                Ok(Lease::Http1(lease)) => self.granted(lease, &endpoints),
                Ok(_) => panic!("an HTTP/1 cluster has HTTP/1 connections"),
                Err(error) => {
                    let nobody = endpoints.endpoints.is_empty();
                    let is_nobody = matches!(error.kind, ErrorKind::NoHealthyUpstream);
                    assert_eq!(is_nobody, nobody, "{error:?}");
                }
            }
        }
    }

    fn granted(&mut self, lease: Http1Lease, then: &EndpointSet) {
        let endpoint = lease.endpoint();
        let was_there = then.endpoints.iter().any(|e| e.id == endpoint.id);
        assert!(was_there, "a request goes to who was there when it came");
        let carried = self.carried.entry(lease.facts().connection_id).or_default();
        *carried += 1;
        if let Some(most) = self.cluster.spec().max_requests_per_connection {
            assert!(*carried <= most.get(), "max_requests_per_connection");
        }
        assert_eq!(lease.facts().reused, *carried > 1);
        self.leases.push(lease);
    }

    fn sum(&self, gauge: impl Fn(&ClusterStats) -> i64) -> u64 {
        let sum: i64 = (0..WORKERS)
            .map(|worker| gauge(self.cluster.stats(worker)))
            .sum();
        u64::try_from(sum).expect("a gauge is never below 0")
    }

    fn hold(&self) {
        let breaker = self.cluster.breaker(Priority::Default);
        let connections = breaker.used(Resource::Connections);
        assert!(connections <= u64::from(CONNECTIONS));
        assert_eq!(
            connections,
            self.sum(|stats| stats.upstream_cx_active.get())
        );
        self.wires.forget_ended(connections);
        let open = self.wires.open.borrow().len() as u64;
        let known = open + u64::from(self.wires.hanging.get());
        assert!(known <= connections, "what is open is in the books");
        let requests = self.leases.len() as u64;
        assert!(requests <= u64::from(REQUESTS));
        assert_eq!(breaker.used(Resource::Requests), requests);
        assert_eq!(self.sum(|stats| stats.upstream_rq_active.get()), requests);
        let waiting = self.waiting.len() as u64;
        assert!(waiting <= u64::from(PENDING));
        assert_eq!(breaker.used(Resource::Pending), waiting);
        assert_eq!(
            self.sum(|stats| stats.upstream_rq_pending_active.get()),
            waiting
        );
    }

    /// Enough time has gone by for every idle connection that had to be closed.
    fn nothing_outlives_its_time(&self) {
        let spec = self.cluster.spec();
        let breaker = self.cluster.breaker(Priority::Default);
        self.wires.forget_ended(breaker.used(Resource::Connections));
        let open = self.wires.open.borrow();
        if spec.idle_timeout.is_some() {
            assert!(open.len() <= self.leases.len(), "idle_timeout");
        }
        if let Some(duration) = spec.max_connection_duration {
            let is_old = |wire: &&Wire| clock::now() - wire.born > duration + SWEEP * 2;
            let old = open.iter().filter(is_old).count();
            assert!(old <= self.leases.len(), "max_connection_duration");
        }
        let there: BTreeSet<_> = self
            .cluster
            .endpoints()
            .endpoints
            .iter()
            .map(|e| e.now_at())
            .collect();
        for wire in open.iter().filter(|wire| !there.contains(&wire.to)) {
            let mut leases = self.leases.iter();
            let is_used = leases.any(|lease| lease.endpoint().now_at() == wire.to);
            assert!(is_used, "an endpoint that is gone keeps no connections");
        }
    }

    /// What was bad is over: whoever waits gets what he waits for, and nothing is left in the end.
    async fn end(mut self) {
        self.wires.fate.set(Fate::Opens);
        self.control.assign(&[StaticEndpoint::new(address(1))]);
        for _ in 0..PENDING * 4 {
            self.let_time_pass(Duration::from_secs(6)).await;
            for lease in self.leases.drain(..) {
                lease.release(Release::Reuse);
            }
            self.settle().await;
        }
        assert!(self.waiting.is_empty(), "nobody waits for ever");
        for lease in self.leases.drain(..) {
            lease.release(Release::Reuse);
        }
        self.hold();
        let (cluster, wires) = (Arc::clone(&self.cluster), self.wires.clone());
        drop(self.control);
        for _ in 0..8 {
            tokio::time::advance(SWEEP / 2).await;
            for _ in 0..12 {
                tokio::task::yield_now().await;
            }
        }
        wires.forget_ended(0);
        assert!(
            wires.open.borrow().is_empty(),
            "a cluster that is gone keeps nothing"
        );
        assert_eq!(
            cluster
                .breaker(Priority::Default)
                .used(Resource::Connections),
            0
        );
    }
}

fn live(seed: u64) {
    let _told = Seed(seed);
    runtime(true).block_on(async {
        let mut life = Life::new(seed);
        for _ in 0..STEPS {
            life.step().await;
            life.hold();
        }
        life.end().await;
    });
}

#[test]
fn whatever_happens_pools_keep_their_books() {
    lives(LIVES, live);
}
