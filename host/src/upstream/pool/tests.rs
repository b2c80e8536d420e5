use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net as system;
use std::task::Poll;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

mod asked;
mod http2;
mod secure;

use super::*;
use crate::address::Address;
use crate::socket::Socket;
use crate::upstream::breaker::Resource;
use crate::upstream::connect::{Connecting, Order, System};
use crate::upstream::spec::{
    ClusterSpec, Discovery, Http2Settings, Protocol, StaticEndpoint, Thresholds,
};
use crate::upstream::wish::{Avoid, Pinned};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test as a worker runs its connections.
fn worker<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("the test hangs")
    })
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn spec(addresses: &[SocketAddr]) -> ClusterSpec {
    let endpoints = addresses
        .iter()
        .map(|address| StaticEndpoint::new(*address))
        .collect();
    ClusterSpec::new("c", Discovery::Static(endpoints))
}

fn limited(addresses: &[SocketAddr], limits: Thresholds) -> Arc<Cluster> {
    let mut spec = spec(addresses);
    spec.breakers = [limits; 2];
    Cluster::new(spec, 1)
}

fn pools() -> Rc<Pools> {
    Pools::new(0, 1, Shared::new(), Rc::new(System))
}

async fn http1(pools: &Pools, cluster: &Arc<Cluster>) -> Http1Lease {
    match pools
        .acquire(cluster, Priority::Default, &Wish::default())
        .await
        .unwrap()
    {
        Lease::Http1(lease) => lease,
        Lease::Http2(_) | Lease::Raw(_) => panic!("not HTTP/1 from an HTTP/1 cluster"),
    }
}

async fn failure(pools: &Pools, cluster: &Arc<Cluster>) -> Error {
    pools
        .acquire(cluster, Priority::Default, &Wish::default())
        .await
        .unwrap_err()
}

#[test]
fn endpoints_may_be_unix_sockets() {
    worker(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket").display().to_string();
        let abstract_name = format!("nuncio-pool-test-{}", std::process::id());
        let name = system::SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (listener, path) in [
            (system::UnixListener::bind(&path).unwrap(), path),
            (
                system::UnixListener::bind_addr(&name).unwrap(),
                format!("@{abstract_name}"),
            ),
        ] {
            let endpoint = StaticEndpoint {
                address: Address::Unix(path.as_str().into()),
                traits: Arc::default(),
            };
            let spec = ClusterSpec::new("c", Discovery::Static(vec![endpoint]));
            let (cluster, pools) = (Cluster::new(spec, 1), pools());
            let mut lease = http1(&pools, &cluster).await;
            assert_eq!(lease.endpoint().address.to_string(), path);
            assert_eq!(lease.facts().local, None);
            let (mut server, _) = listener.accept().unwrap();
            let (stream, ..) = lease.parts();
            stream.write_all(b"ping").await.unwrap();
            let mut four = [0; 4];
            io::Read::read_exact(&mut server, &mut four).unwrap();
            assert_eq!(&four, b"ping");
            io::Write::write_all(&mut server, b"pong").unwrap();
            stream.read_exact(&mut four).await.unwrap();
            assert_eq!(&four, b"pong");
            lease.release(Release::Reuse);
            assert!(http1(&pools, &cluster).await.facts().reused);
        }
    });
}

#[test]
fn a_released_connection_is_used_again_with_its_buffers() {
    worker(async {
        let (listener, address) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        let mut lease = http1(&pools, &cluster).await;
        let (mut server, peer) = listener.accept().await.unwrap();
        let first = lease.facts().clone();
        assert_eq!((first.reused, first.local), (false, Some(peer)));
        assert_eq!(lease.endpoint().address, address);
        let (stream, read, write) = lease.parts();
        let Socket::Tcp(tcp) = &*stream else {
            panic!("{stream:?}");
        };
        assert!(tcp.nodelay().unwrap());
        write.extend_from_slice(b"ping");
        stream.write_all(write).await.unwrap();
        let mut four = [0; 4];
        server.read_exact(&mut four).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        while read.len() < 4 {
            stream.read_buf(read).await.unwrap();
        }
        let capacity = read.capacity();
        read.clear();
        lease.release(Release::Reuse);
        assert_eq!(cluster.endpoints().endpoints[0].counters.rq_active.get(), 0);

        let mut lease = http1(&pools, &cluster).await;
        let second = lease.facts().clone();
        assert_eq!(
            (second.reused, second.connection_id),
            (true, first.connection_id)
        );
        let (_, read, write) = lease.parts();
        assert_eq!((read.len(), write.len(), read.capacity()), (0, 0, capacity));
        let stats = cluster.stats(0);
        assert_eq!(
            (stats.upstream_cx_total.get(), stats.upstream_rq_total.get()),
            (1, 2)
        );
        assert_eq!(
            (
                stats.upstream_rq_active.get(),
                stats.upstream_cx_active.get()
            ),
            (1, 1)
        );
        assert_eq!(stats.upstream_rq_pending_total.get(), 1);
        assert_eq!(
            cluster.breaker(Priority::Default).used(Resource::Requests),
            1
        );
    });
}

#[test]
fn the_latest_idle_connection_comes_first() {
    worker(async {
        let (_listener, address) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        let (a, b) = (http1(&pools, &cluster).await, http1(&pools, &cluster).await);
        let (a_id, b_id) = (a.facts().connection_id, b.facts().connection_id);
        b.release(Release::Reuse);
        a.release(Release::Reuse);
        assert_eq!(http1(&pools, &cluster).await.facts().connection_id, a_id);
        // That lease was dropped without a release, so its connection is gone.
        assert_eq!(http1(&pools, &cluster).await.facts().connection_id, b_id);
    });
}

#[test]
fn priorities_do_not_share_connections() {
    worker(async {
        let (_listener, address) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        http1(&pools, &cluster).await.release(Release::Reuse);
        let high = pools
            .acquire(&cluster, Priority::High, &Wish::default())
            .await
            .unwrap();
        assert!(!high.facts().reused);
        assert_eq!(
            cluster.breaker(Priority::High).used(Resource::Connections),
            1
        );
    });
}

#[test]
fn a_lease_that_is_dropped_or_released_to_close_closes() {
    worker(async {
        let (listener, address) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        let stats = cluster.stats(0);
        type End = (fn(Http1Lease), [u64; 5]);
        let ends: [End; 4] = [
            (drop, [1, 1, 0, 1, 0]),
            (|lease| lease.release(Release::Close), [2, 2, 0, 1, 0]),
            (
                |lease| lease.release(Release::ClosedByPeer),
                [3, 2, 1, 1, 0],
            ),
            (
                |mut lease| {
                    lease.parts().1.extend_from_slice(b"left");
                    lease.release(Release::Reuse);
                },
                [4, 3, 1, 1, 0],
            ),
        ];
        for (end, expected) in ends {
            let lease = http1(&pools, &cluster).await;
            let (mut server, _) = listener.accept().await.unwrap();
            end(lease);
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "closed");
            let counted = [
                stats.upstream_cx_destroy.get(),
                stats.upstream_cx_destroy_local.get(),
                stats.upstream_cx_destroy_remote.get(),
                stats.upstream_cx_destroy_with_active_rq.get(),
                stats.upstream_cx_destroy_remote_with_active_rq.get(),
            ];
            assert_eq!(counted, expected);
        }
        assert_eq!(
            cluster
                .breaker(Priority::Default)
                .used(Resource::Connections),
            0
        );
        assert_eq!(
            cluster.breaker(Priority::Default).used(Resource::Requests),
            0
        );
        assert_eq!(cluster.endpoints().endpoints[0].counters.cx_active.get(), 0);
    });
}

#[test]
fn an_idle_connection_that_the_peer_closed_or_wrote_to_is_not_used() {
    for stray in [None, Some(b"HTTP/1.1 408 x\r\n\r\n")] {
        worker(async {
            let (listener, address) = listen().await;
            let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
            let lease = http1(&pools, &cluster).await;
            let (mut server, _) = listener.accept().await.unwrap();
            let first = lease.facts().connection_id;
            lease.release(Release::Reuse);
            match stray {
                Some(bytes) => server.write_all(bytes).await.unwrap(),
                None => drop(server),
            }
            // The event loop has to have seen it: until then the connection looks well.
            let lease = loop {
                let lease = http1(&pools, &cluster).await;
                if lease.facts().connection_id != first {
                    break lease;
                }
                lease.release(Release::Reuse);
                tokio::task::yield_now().await;
            };
            assert!(!lease.facts().reused);
            let by_peer = u64::from(stray.is_none());
            assert_eq!(cluster.stats(0).upstream_cx_destroy_remote.get(), by_peer);
            assert_eq!(cluster.stats(0).upstream_cx_active.get(), 1);
        });
    }
}

#[test]
fn the_sweep_closes_the_dead_and_the_expired() {
    worker(async {
        let (listener, address) = listen().await;
        let mut spec = spec(&[address]);
        spec.idle_timeout = Some(Duration::from_secs(60));
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let (a, b) = (http1(&pools, &cluster).await, http1(&pools, &cluster).await);
        let (server, peer) = listener.accept().await.unwrap();
        let (_other, _) = listener.accept().await.unwrap();
        let (dead, live) = if a.facts().local == Some(peer) {
            (a, b)
        } else {
            (b, a)
        };
        dead.release(Release::Reuse);
        live.release(Release::Reuse);
        let stats = cluster.stats(0);
        drop(server);
        until(|| {
            pools.sweep(clock::now());
            stats.upstream_cx_active.get() == 1
        })
        .await;
        assert_eq!(stats.upstream_cx_idle_timeout.get(), 0);
        pools.sweep(clock::now() + Duration::from_secs(59));
        assert_eq!(stats.upstream_cx_active.get(), 1);
        pools.sweep(clock::now() + Duration::from_secs(60));
        assert_eq!(stats.upstream_cx_active.get(), 0);
        assert_eq!(stats.upstream_cx_idle_timeout.get(), 1);
    });
}

#[test]
fn the_sweep_comes_by_itself_in_time_for_a_short_idle_timeout() {
    worker(async {
        let (listener, address) = listen().await;
        let mut spec = spec(&[address]);
        spec.idle_timeout = Some(Duration::from_millis(20));
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        http1(&pools, &cluster).await.release(Release::Reuse);
        let (mut server, _) = listener.accept().await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(cluster.stats(0).upstream_cx_idle_timeout.get(), 1);
    });
}

#[test]
fn two_requests_a_connection_make_three_connections_for_five() {
    worker(async {
        let (_listener, address) = listen().await;
        let mut spec = spec(&[address]);
        spec.max_requests_per_connection = NonZeroU32::new(2);
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        for _ in 0..5 {
            http1(&pools, &cluster).await.release(Release::Reuse);
        }
        let stats = cluster.stats(0);
        assert_eq!(stats.upstream_cx_total.get(), 3);
        assert_eq!(stats.upstream_cx_max_requests.get(), 2);
        assert_eq!(
            stats.upstream_rq_per_cx.read().count(),
            2,
            "of the two that are closed"
        );
    });
}

#[test]
fn a_refusal_is_told_to_all_who_wait() {
    worker(async {
        let (listener, address) = listen().await;
        drop(listener);
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        let (a, b) = tokio::join!(failure(&pools, &cluster), failure(&pools, &cluster));
        for error in [a, b] {
            let ErrorKind::ConnectFailure(cause) = &error.kind else {
                panic!("{error:?}")
            };
            assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(
                error.endpoint.map(|endpoint| endpoint.address.clone()),
                Some(address.into())
            );
        }
        // The second connection may still be failing.
        let stats = cluster.stats(0);
        until(|| stats.upstream_cx_active.get() == 0).await;
        assert_eq!(stats.upstream_cx_connect_fail.get(), 2);
        assert_eq!(stats.upstream_rq_pending_failure_eject.get(), 2);
        assert_eq!(stats.upstream_rq_pending_active.get(), 0);
        assert_eq!(stats.upstream_rq_total.get(), 0);
        let breaker = cluster.breaker(Priority::Default);
        for resource in [Resource::Connections, Resource::Pending, Resource::Requests] {
            assert_eq!(breaker.used(resource), 0, "{resource}");
        }
        assert_eq!(
            cluster.endpoints().endpoints[0]
                .counters
                .cx_connect_fail
                .get(),
            2
        );
    });
}

/// Never gets anywhere.
struct Silence;

impl Connect for Silence {
    fn connect(&self, _: Order) -> Connecting {
        Box::pin(std::future::pending())
    }
}

#[test]
fn connecting_ends_with_the_connect_timeout() {
    worker(async {
        let mut spec = spec(&["127.0.0.1:1".parse().unwrap()]);
        spec.connect_timeout = Duration::from_millis(10);
        let cluster = Cluster::new(spec, 1);
        let pools = Pools::new(0, 1, Shared::new(), Rc::new(Silence));
        assert!(matches!(
            failure(&pools, &cluster).await.kind,
            ErrorKind::ConnectTimeout
        ));
        let stats = cluster.stats(0);
        assert_eq!(stats.upstream_cx_connect_timeout.get(), 1);
        assert_eq!(stats.upstream_cx_connect_fail.get(), 1);
    });
}

#[test]
fn no_endpoint_is_no_healthy_upstream() {
    worker(async {
        let (cluster, pools) = (Cluster::new(spec(&[]), 1), pools());
        assert!(matches!(
            failure(&pools, &cluster).await.kind,
            ErrorKind::NoHealthyUpstream
        ));
        assert_eq!(cluster.stats(0).upstream_cx_none_healthy.get(), 1);
    });
}

#[test]
fn at_the_connection_limit_requests_wait_their_turn() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let held = http1(&pools, &cluster).await;
        let id = held.facts().connection_id;
        let (told, mut order) = mpsc::channel(3);
        for n in 0..3 {
            let (pools, cluster, told) = (Rc::clone(&pools), Arc::clone(&cluster), told.clone());
            tokio::task::spawn_local(async move {
                let lease = http1(&pools, &cluster).await;
                told.send((n, lease)).await.unwrap();
            });
        }
        let stats = cluster.stats(0);
        until(|| stats.upstream_rq_pending_active.get() == 3).await;
        assert_eq!(stats.upstream_rq_active.get(), 1);
        assert_eq!(stats.upstream_cx_overflow.get(), 3);
        held.release(Release::Reuse);
        for expected in 0..3 {
            let (n, lease) = order.recv().await.unwrap();
            assert_eq!((n, lease.facts().connection_id), (expected, id));
            assert_eq!(stats.upstream_rq_active.get(), 1);
            lease.release(Release::Reuse);
        }
        assert_eq!(stats.upstream_cx_total.get(), 1);
        assert!(
            cluster.breaker(Priority::Default).waiting() == 0,
            "nobody waits any more"
        );
    });
}

#[test]
fn a_closed_connection_makes_room_for_one_that_waits() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let held = http1(&pools, &cluster).await;
        let id = held.facts().connection_id;
        let (lease, ()) = tokio::join!(http1(&pools, &cluster), async {
            until(|| cluster.stats(0).upstream_rq_pending_active.get() == 1).await;
            held.release(Release::Close);
        });
        assert_ne!(lease.facts().connection_id, id);
        assert_eq!(cluster.stats(0).upstream_cx_active.get(), 1);
    });
}

#[test]
fn one_active_one_pending_the_rest_overflows() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            max_pending_requests: 1,
            max_requests: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let held = http1(&pools, &cluster).await;
        let (second, third, fourth, ()) = tokio::join!(
            http1(&pools, &cluster),
            failure(&pools, &cluster),
            failure(&pools, &cluster),
            async {
                until(|| cluster.stats(0).upstream_rq_pending_overflow.get() == 2).await;
                held.release(Release::Reuse);
            }
        );
        assert!(second.facts().reused);
        for error in [third, fourth] {
            assert!(
                matches!(error.kind, ErrorKind::Overflow(Resource::Pending)),
                "{error:?}"
            );
        }
    });
}

#[test]
fn max_requests_refuses_and_keeps_the_connection() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_requests: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let held = http1(&pools, &cluster).await;
        let error = failure(&pools, &cluster).await;
        assert!(
            matches!(error.kind, ErrorKind::Overflow(Resource::Requests)),
            "{error:?}"
        );
        let stats = cluster.stats(0);
        assert_eq!(stats.upstream_rq_active_overflow.get(), 1);
        assert_eq!(
            stats.upstream_cx_active.get(),
            2,
            "the second was opened, and waits"
        );
        drop(held);
        let lease = http1(&pools, &cluster).await;
        assert!(!lease.facts().reused);
        assert_eq!(stats.upstream_cx_total.get(), 2, "it is that one");
    });
}

#[test]
fn no_connections_allowed_is_an_overflow_at_once() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 0,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let error = failure(&pools, &cluster).await;
        assert!(
            matches!(error.kind, ErrorKind::Overflow(Resource::Connections)),
            "{error:?}"
        );
        assert_eq!(
            cluster.breaker(Priority::Default).used(Resource::Pending),
            0
        );
    });
}

#[test]
fn who_gives_up_waiting_leaves_no_trace() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let held = http1(&pools, &cluster).await;
        let stats = cluster.stats(0);
        let gone = {
            let (pools, cluster) = (Rc::clone(&pools), Arc::clone(&cluster));
            tokio::task::spawn_local(async move { http1(&pools, &cluster).await })
        };
        until(|| stats.upstream_rq_pending_active.get() == 1).await;
        let stays = {
            let (pools, cluster) = (Rc::clone(&pools), Arc::clone(&cluster));
            tokio::task::spawn_local(async move { http1(&pools, &cluster).await })
        };
        until(|| stats.upstream_rq_pending_active.get() == 2).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(stats.upstream_rq_cancelled.get(), 1);
        assert_eq!(
            cluster.breaker(Priority::Default).used(Resource::Pending),
            1
        );
        held.release(Release::Reuse);
        let lease = stays.await.unwrap();
        assert!(lease.facts().reused);
        lease.release(Release::Reuse);
        until(|| cluster.breaker(Priority::Default).waiting() == 0).await;
        assert_eq!(
            cluster.breaker(Priority::Default).used(Resource::Pending),
            0
        );
    });
}

#[test]
fn a_connection_for_somebody_who_has_gone_stays_in_the_pool() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[address], limits), pools());
        let held = http1(&pools, &cluster).await;
        let id = held.facts().connection_id;
        let gone = {
            let (pools, cluster) = (Rc::clone(&pools), Arc::clone(&cluster));
            tokio::task::spawn_local(async move { http1(&pools, &cluster).await })
        };
        until(|| cluster.stats(0).upstream_rq_pending_active.get() == 1).await;
        // The connection is on its way to that request when it goes away.
        held.release(Release::Reuse);
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(http1(&pools, &cluster).await.facts().connection_id, id);
    });
}

#[test]
fn an_idle_connection_to_another_endpoint_makes_room() {
    worker(async {
        let (_a, a) = listen().await;
        let (_b, b) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[a, b], limits), pools());
        for expected in [a, b, a] {
            let lease = http1(&pools, &cluster).await;
            assert_eq!(lease.endpoint().address, expected);
            lease.release(Release::Reuse);
        }
        assert_eq!(cluster.stats(0).upstream_cx_total.get(), 3);
        assert_eq!(cluster.stats(0).upstream_cx_active.get(), 1);
    });
}

#[test]
fn connections_of_an_endpoint_that_is_gone_are_closed() {
    worker(async {
        let (_listener, address) = listen().await;
        let (_other, other) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address, other]), 1), pools());
        let (used, idle) = (http1(&pools, &cluster).await, http1(&pools, &cluster).await);
        let set = cluster.endpoints();
        let [gone, stays] = &set.endpoints[..] else {
            panic!("two were given")
        };
        assert_eq!(
            (used.endpoint().id, idle.endpoint().id),
            (gone.id, stays.id)
        );
        let second = http1(&pools, &cluster).await;
        assert_eq!(second.endpoint().id, gone.id);
        second.release(Release::Reuse);
        idle.release(Release::Reuse);
        cluster.publish(vec![Arc::clone(stays)]);
        pools.sweep(clock::now());
        assert_eq!(
            gone.counters.cx_active.get(),
            1,
            "the idle one went, the used one stays"
        );
        used.release(Release::Reuse);
        assert_eq!(gone.counters.cx_active.get(), 0);
        let lease = http1(&pools, &cluster).await;
        assert_eq!(
            (lease.endpoint().id, lease.facts().reused),
            (stays.id, true)
        );
    });
}

#[test]
fn closed_pools_and_retired_clusters_keep_nothing() {
    worker(async {
        let (_listener, address) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        let stats = cluster.stats(0);
        http1(&pools, &cluster).await.release(Release::Reuse);
        let held = http1(&pools, &cluster).await;
        cluster.retire();
        pools.sweep(clock::now());
        assert!(pools.clusters.borrow().is_empty());
        held.release(Release::Reuse);
        assert_eq!(stats.upstream_cx_active.get(), 0);
        // A request with an old snapshot still gets its connection.
        let held = http1(&pools, &cluster).await;
        pools.close();
        held.release(Release::Reuse);
        assert_eq!(stats.upstream_cx_active.get(), 0);
    });
}

#[test]
fn too_few_healthy_endpoints_are_a_panic() {
    worker(async {
        let (_a, a) = listen().await;
        let (_b, b) = listen().await;
        let (_c, c) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[a, b, c]), 1), pools());
        let set = cluster.endpoints();
        let fail = |index: usize| {
            set.endpoints[index]
                .health()
                .set(crate::upstream::endpoint::Health::FAILED_ACTIVE_HC);
            cluster.publish(set.endpoints.clone());
        };
        fail(0);
        for _ in 0..6 {
            assert_ne!(http1(&pools, &cluster).await.endpoint().address, a);
        }
        assert_eq!(cluster.stats(0).lb_healthy_panic.get(), 0);
        fail(1);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(
                http1(&pools, &cluster)
                    .await
                    .endpoint()
                    .address
                    .ip()
                    .unwrap(),
            );
        }
        seen.sort();
        let mut all = vec![a, b, c];
        all.sort();
        assert_eq!(seen, all);
        assert_eq!(cluster.stats(0).lb_healthy_panic.get(), 3);
    });
}

/// Accepts connections, tells how many are open at once at most, and answers a byte with a byte.
async fn echo(listener: TcpListener, open: Rc<Cell<(u32, u32)>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let open = Rc::clone(&open);
        let (now, most) = open.get();
        open.set((now + 1, most.max(now + 1)));
        tokio::task::spawn_local(async move {
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok()
                && stream.write_all(&byte).await.is_ok()
            {}
            let (now, most) = open.get();
            open.set((now - 1, most));
        });
    }
}

#[test]
fn workers_share_one_connection_without_starving() {
    const EACH: usize = 60;
    let limits = Thresholds {
        max_connections: 1,
        ..Thresholds::default()
    };
    let (send_address, address) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        worker(async move {
            let (listener, address) = listen().await;
            send_address.send(address).unwrap();
            let open = Rc::new(Cell::new((0, 0)));
            tokio::task::spawn_local(echo(listener, Rc::clone(&open)));
            let _ = stopped.await;
            open.get().1
        })
    });
    let address = address.recv().unwrap();
    let mut spec = spec(&[address]);
    spec.breakers = [limits; 2];
    let (cluster, shared) = (Cluster::new(spec, 3), Shared::new());
    std::thread::scope(|scope| {
        for index in 0..3 {
            let (cluster, shared) = (&cluster, Arc::clone(&shared));
            scope.spawn(move || {
                worker(async move {
                    let pools = Pools::new(index, 1, shared, Rc::new(System));
                    let request = async || {
                        for _ in 0..EACH / 2 {
                            let mut lease = http1(&pools, cluster).await;
                            let (stream, _, _) = lease.parts();
                            stream.write_all(b"x").await.unwrap();
                            stream.read_exact(&mut [0]).await.unwrap();
                            lease.release(Release::Reuse);
                        }
                    };
                    tokio::join!(request(), request());
                });
            });
        }
    });
    drop(stop);
    // The server learns of a close after the next connection came in, so it may see two.
    assert!(server.join().unwrap() <= 2);
    let breaker = cluster.breaker(Priority::Default);
    assert_eq!(breaker.used(Resource::Connections), 0);
    assert!(breaker.waiting() == 0);
    let total: u64 = (0..3)
        .map(|index| cluster.stats(index).upstream_rq_total.get())
        .sum();
    assert_eq!(total, 3 * EACH as u64);
}

/// Gives up after being asked `patience` times, if there is a limit.
async fn impatient<T>(patience: Option<u64>, wanted: impl Future<Output = T>) -> Option<T> {
    let Some(mut left) = patience else {
        return Some(wanted.await);
    };
    let mut wanted = std::pin::pin!(wanted);
    std::future::poll_fn(|cx| match wanted.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

#[test]
fn nobody_is_forgotten_whatever_others_do() {
    let (send_addresses, addresses) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        worker(async move {
            for _ in 0..3 {
                let (listener, address) = listen().await;
                send_addresses.send(address).unwrap();
                tokio::task::spawn_local(echo(listener, Rc::default()));
            }
            drop(send_addresses);
            let _ = stopped.await;
        });
    });
    let addresses: Vec<_> = addresses.iter().collect();
    let mut spec = spec(&addresses);
    spec.breakers = [Thresholds {
        max_connections: 2,
        ..Thresholds::default()
    }; 2];
    spec.max_requests_per_connection = NonZeroU32::new(20);
    let (cluster, shared) = (Cluster::new(spec, 3), Shared::new());
    std::thread::scope(|scope| {
        for index in 0..3 {
            let (cluster, shared) = (&cluster, Arc::clone(&shared));
            scope.spawn(move || {
                worker(async move {
                    let pools = Pools::new(index, 1, shared, Rc::new(System));
                    let client = async |seed: u64| {
                        let mut random = Random::new(seed);
                        for _ in 0..100 {
                            let patience = match random.below(3) {
                                0 => Some(random.below(20)),
                                _ => None,
                            };
                            let acquire = http1(&pools, cluster);
                            let Some(mut lease) = impatient(patience, acquire).await else {
                                continue;
                            };
                            let (stream, _, _) = lease.parts();
                            stream.write_all(b"x").await.unwrap();
                            stream.read_exact(&mut [0]).await.unwrap();
                            match random.below(8) {
                                0 => drop(lease),
                                1 => lease.release(Release::Close),
                                _ => lease.release(Release::Reuse),
                            }
                        }
                    };
                    let base = index as u64 * 10;
                    tokio::join!(client(base), client(base + 1), client(base + 2));
                });
            });
        }
    });
    drop(stop);
    server.join().unwrap();
    let breaker = cluster.breaker(Priority::Default);
    for resource in [Resource::Connections, Resource::Pending, Resource::Requests] {
        assert_eq!(breaker.used(resource), 0, "{resource}");
    }
    assert!(breaker.waiting() == 0);
    for endpoint in &cluster.endpoints().endpoints {
        let counters = &endpoint.counters;
        assert_eq!((counters.rq_active.get(), counters.cx_active.get()), (0, 0));
        assert_eq!(counters.rq_pending_active.get(), 0);
    }
}

#[test]
fn an_idle_connection_of_another_worker_is_given_up() {
    worker(async {
        let (_listener, address) = listen().await;
        let limits = Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        };
        let cluster = limited(&[address], limits);
        // Two pools on one thread take the same paths as on two.
        let shared = Shared::new();
        let a = Pools::new(0, 1, Arc::clone(&shared), Rc::new(System));
        let b = Pools::new(1, 1, shared, Rc::new(System));
        http1(&a, &cluster).await.release(Release::Reuse);
        let held = http1(&b, &cluster).await;
        let (lease, ()) = tokio::join!(http1(&a, &cluster), async {
            until(|| cluster.breaker(Priority::Default).waiting() > 0).await;
            held.release(Release::Reuse);
        });
        assert!(
            !lease.facts().reused,
            "it was closed in our favour rather than kept"
        );
        assert_eq!(cluster.stats(0).upstream_cx_total.get(), 2);
    });
}

#[test]
fn a_request_says_where_it_wants_to_go() {
    worker(async {
        let (_a, a) = listen().await;
        let (_b, b) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[a, b]), 1), pools());
        let to = async |wish: Wish<'_>| {
            let lease = pools.acquire(&cluster, Priority::Default, &wish).await;
            lease.map(|lease| lease.endpoint().address.clone())
        };
        let is_a = |endpoint: &crate::upstream::Endpoint| endpoint.address == a;
        let avoiding = |is_unwanted, attempts| Wish {
            avoid: Some(Avoid {
                is_unwanted,
                attempts,
            }),
            ..Wish::default()
        };
        for _ in 0..3 {
            assert_eq!(to(avoiding(&is_a, 1)).await.unwrap(), b);
        }
        // The last choice stands, wanted or not.
        let mut met = [0, 0];
        for _ in 0..4 {
            let chosen = to(avoiding(&|_| true, 2)).await.unwrap();
            met[usize::from(chosen == b)] += 1;
        }
        assert_eq!(met, [2, 2], "three choices each, in turn");

        let pinned = |address, is_strict| Wish {
            pinned: Some(Pinned { address, is_strict }),
            ..Wish::default()
        };
        let elsewhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (at_b, at_nobody) = (Address::from(b), Address::from(elsewhere));
        for _ in 0..3 {
            assert_eq!(to(pinned(&at_b, true)).await.unwrap(), b);
        }
        assert_ne!(to(pinned(&at_nobody, false)).await.unwrap(), elsewhere);
        let strict = to(pinned(&at_nobody, true)).await.unwrap_err();
        assert!(matches!(strict.kind, ErrorKind::NoHealthyUpstream));
        cluster.endpoints().endpoints[1]
            .health()
            .set(crate::upstream::endpoint::Health::FAILED_ACTIVE_HC);
        assert!(to(pinned(&at_b, true)).await.is_err());
    });
}

#[test]
fn outlier_detection_hears_of_answers_and_of_failures_to_connect() {
    worker(async {
        let (_listener, address) = listen().await;
        let (gone, nobody) = listen().await;
        drop(gone);
        let mut spec = spec(&[address, nobody]);
        spec.outlier_detection = Some(crate::upstream::spec::OutlierSpec {
            consecutive_5xx: 2,
            ..Default::default()
        });
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let woken = || cluster.outlier_tripped().now_or_never().is_some();
        fn pinned(address: &Address) -> Wish<'_> {
            Wish {
                pinned: Some(Pinned {
                    address,
                    is_strict: true,
                }),
                ..Wish::default()
            }
        }
        let (there, nobody) = (Address::from(address), Address::from(nobody));
        let answer = async |outcome| {
            let wish = pinned(&there);
            let lease = pools.acquire(&cluster, Priority::Default, &wish).await;
            lease.unwrap().record(outcome);
        };
        answer(Outcome::Answered(500)).await;
        answer(Outcome::Answered(200)).await;
        answer(Outcome::Answered(503)).await;
        assert!(!woken());
        answer(Outcome::Timeout).await;
        assert!(woken());
        for trips in [false, true] {
            let wish = pinned(&nobody);
            let failed = pools.acquire(&cluster, Priority::Default, &wish).await;
            assert!(failed.is_err());
            assert_eq!(woken(), trips);
        }
    });
}
