//! How connections come about, and what is told where they do not.

use super::*;

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
