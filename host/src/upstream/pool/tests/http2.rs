//! HTTP/2 connections: streams that share one, limits of the peer, GOAWAY.

use std::task::{Context, Waker};

use bytes::Bytes;

use super::*;

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn http2_spec(addresses: &[SocketAddr]) -> ClusterSpec {
    let mut spec = spec(addresses);
    spec.protocol = Protocol::Http2(Http2Settings::default());
    spec
}

/// Answers every request with 200, or goes away after the connection's first if `goaway`. A
/// request for `/held` is never answered.
async fn http2_server(listener: TcpListener, max_streams: u32, goaway: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(max_streams);
            let mut connection = builder.handshake::<TcpStream, Bytes>(stream).await.unwrap();
            let mut held = Vec::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if request.uri().path() == "/held" {
                    held.push(respond);
                    continue;
                }
                respond
                    .send_response(http::Response::new(()), true)
                    .unwrap();
                if goaway {
                    connection.graceful_shutdown();
                }
            }
        });
    }
}

async fn http2(pools: &Pools, cluster: &Arc<Cluster>) -> Http2Lease {
    match pools
        .acquire(cluster, Priority::Default, &Wish::default())
        .await
        .unwrap()
    {
        Lease::Http2(lease) => lease,
        Lease::Http1(_) | Lease::Raw(_) => panic!("not HTTP/2 from an HTTP/2 cluster"),
    }
}

async fn round_trip(lease: &mut Http2Lease) -> u16 {
    let request = http::Request::get("http://c/").body(()).unwrap();
    let (response, _) = lease.sender().send_request(request, true).unwrap();
    response.await.unwrap().status().as_u16()
}

#[test]
fn http2_requests_share_a_connection_from_the_first_on() {
    worker(async {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(http2_server(listener, 100, false));
        let (cluster, pools) = (Cluster::new(http2_spec(&[address]), 1), pools());
        let (mut a, mut b) = tokio::join!(http2(&pools, &cluster), http2(&pools, &cluster));
        assert_eq!(a.facts().connection_id, b.facts().connection_id);
        assert_eq!((a.facts().reused, b.facts().reused), (false, true));
        assert_eq!(
            tokio::join!(round_trip(&mut a), round_trip(&mut b)),
            (200, 200)
        );
        drop((a, b));
        let mut c = http2(&pools, &cluster).await;
        assert_eq!(round_trip(&mut c).await, 200);
        let stats = cluster.stats(0);
        assert_eq!(
            (
                stats.upstream_cx_http2_total.get(),
                stats.upstream_cx_total.get()
            ),
            (1, 1)
        );
        assert_eq!(
            (
                stats.upstream_rq_total.get(),
                stats.upstream_rq_active.get()
            ),
            (3, 1)
        );
    });
}

#[test]
fn http2_streams_beyond_the_peers_limit_take_another_connection_or_wait() {
    worker(async {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(http2_server(listener, 1, false));
        let mut spec = http2_spec(&[address]);
        spec.breakers = [Thresholds {
            max_connections: 2,
            ..Thresholds::default()
        }; 2];
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let mut a = http2(&pools, &cluster).await;
        assert_eq!(round_trip(&mut a).await, 200);
        let mut b = http2(&pools, &cluster).await;
        assert_ne!(a.facts().connection_id, b.facts().connection_id);
        assert_eq!(round_trip(&mut b).await, 200);
        let id = a.facts().connection_id;
        let (c, ()) = tokio::join!(http2(&pools, &cluster), async {
            until(|| cluster.stats(0).upstream_cx_overflow.get() == 1).await;
            drop(a);
        });
        assert_eq!(c.facts().connection_id, id);
    });
}

#[test]
fn http2_goaway_leads_to_a_new_connection() {
    worker(async {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(http2_server(listener, 100, true));
        let (cluster, pools) = (Cluster::new(http2_spec(&[address]), 1), pools());
        let mut a = http2(&pools, &cluster).await;
        assert_eq!(round_trip(&mut a).await, 200);
        let id = a.facts().connection_id;
        drop(a);
        let stats = cluster.stats(0);
        until(|| stats.upstream_cx_active.get() == 0).await;
        let mut b = http2(&pools, &cluster).await;
        assert_ne!(b.facts().connection_id, id);
        assert_eq!(round_trip(&mut b).await, 200);
        assert_eq!(stats.upstream_cx_total.get(), 2);
    });
}

#[test]
fn http2_goaway_lets_open_streams_live_on() {
    worker(async {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(http2_server(listener, 100, true));
        let (cluster, pools) = (Cluster::new(http2_spec(&[address]), 1), pools());
        let mut held = http2(&pools, &cluster).await;
        let id = held.facts().connection_id;
        let request = http::Request::get("http://c/held").body(()).unwrap();
        let (mut answer, _) = held.sender().send_request(request, true).unwrap();
        let mut other = http2(&pools, &cluster).await;
        assert_eq!(other.facts().connection_id, id);
        assert_eq!(round_trip(&mut other).await, 200);
        drop(other);
        let third = loop {
            let lease = http2(&pools, &cluster).await;
            if lease.facts().connection_id != id {
                break lease;
            }
            drop(lease);
            tokio::task::yield_now().await;
        };
        let breaker = cluster.breaker(Priority::Default);
        assert_eq!(breaker.used(Resource::Connections), 2);
        let waited = std::pin::Pin::new(&mut answer).poll(&mut noop());
        assert!(waited.is_pending(), "the old connection still carries it");
        drop((answer, held));
        until(|| breaker.used(Resource::Connections) == 1).await;
        drop(third);
        pools.close();
        until(|| breaker.used(Resource::Connections) == 0).await;
    });
}

#[test]
fn http2_connections_end_when_idle_or_used_up() {
    worker(async {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(http2_server(listener, 100, false));
        let mut spec = http2_spec(&[address]);
        spec.idle_timeout = Some(Duration::from_secs(5));
        spec.max_requests_per_connection = NonZeroU32::new(2);
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let stats = cluster.stats(0);
        for _ in 0..3 {
            assert_eq!(round_trip(&mut http2(&pools, &cluster).await).await, 200);
        }
        until(|| stats.upstream_cx_active.get() == 1).await;
        assert_eq!(stats.upstream_cx_max_requests.get(), 1);
        pools.sweep(clock::now() + Duration::from_secs(5));
        until(|| stats.upstream_cx_active.get() == 0).await;
        assert_eq!(stats.upstream_cx_idle_timeout.get(), 1);
        assert_eq!(stats.upstream_cx_destroy_local.get(), 2);
        assert_eq!(
            cluster
                .breaker(Priority::Default)
                .used(Resource::Connections),
            0
        );
    });
}

#[test]
fn http2_is_refused_as_http1_is() {
    worker(async {
        let (listener, address) = listen().await;
        drop(listener);
        let (cluster, pools) = (Cluster::new(http2_spec(&[address]), 1), pools());
        let error = failure(&pools, &cluster).await;
        assert!(
            matches!(error.kind, ErrorKind::ConnectFailure(_)),
            "{error:?}"
        );
    });
}
