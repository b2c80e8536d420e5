//! Circuit breakers, and who waits for a connection.

use super::*;

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
