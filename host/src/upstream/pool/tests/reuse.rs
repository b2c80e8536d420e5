//! Connections that are used again, and those that are not.

use super::*;

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
        let (stream, read, write, _) = lease.parts();
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
        let (_, read, write, _) = lease.parts();
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

/// Runs a test in a time that passes only while nobody has anything to do.
fn in_its_own_time<T>(test: impl Future<Output = T>) -> T {
    runtime(true).block_on(test)
}

#[test]
fn an_idle_connection_is_closed_when_it_is_due() {
    in_its_own_time(async {
        let (_listener, address) = listen().await;
        let mut spec = spec(&[address]);
        spec.idle_timeout = Some(Duration::from_millis(2500));
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        for _ in 0..3 {
            let lease = http1(&pools, &cluster).await;
            tokio::time::sleep(Duration::from_millis(123)).await;
            lease.release(Release::Reuse);
        }
        let stats = cluster.stats(0);
        tokio::time::sleep(Duration::from_millis(2499)).await;
        assert_eq!(stats.upstream_cx_idle_timeout.get(), 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(stats.upstream_cx_idle_timeout.get(), 1);
    });
}

#[test]
fn an_idle_connection_that_its_peer_ends_is_closed_soon() {
    in_its_own_time(async {
        let (listener, address) = listen().await;
        let (cluster, pools) = (Cluster::new(spec(&[address]), 1), pools());
        let stats = cluster.stats(0);
        // Soon after it came to rest, and long after.
        for rested in [0, 10_007] {
            http1(&pools, &cluster).await.release(Release::Reuse);
            let (server, _) = listener.accept().await.unwrap();
            tokio::time::sleep(Duration::from_millis(rested)).await;
            assert_eq!(stats.upstream_cx_active.get(), 1);
            drop(server);
            tokio::time::sleep(3 * SETTLE).await;
            assert_eq!(stats.upstream_cx_active.get(), 0, "after {rested} ms");
        }
        assert_eq!(stats.upstream_cx_destroy_remote.get(), 2);
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
