//! Which endpoints there are, which one a request goes to, and what is heard of it.

use super::*;

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

#[test]
fn requests_use_new_connections_once_endpoints_have_changed_where_that_is_said() {
    worker(async {
        for renews in [false, true] {
            let (_listener, address) = listen().await;
            let mut spec = spec(&[address]);
            spec.renews_on_change = renews;
            let (cluster, pools) = (Cluster::new(spec, 1), pools());
            let idle = http1(&pools, &cluster).await;
            let used = http1(&pools, &cluster).await;
            idle.release(Release::Reuse);
            cluster.publish(cluster.endpoints().endpoints.clone());
            pools.sweep(clock::now());
            let open = |n| assert_eq!(cluster.stats(0).upstream_cx_active.get(), n, "{renews}");
            open(if renews { 1 } else { 2 });
            used.release(Release::Reuse);
            open(if renews { 0 } else { 2 });
            let lease = http1(&pools, &cluster).await;
            assert_eq!(lease.facts().reused, !renews);
        }
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
