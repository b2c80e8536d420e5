//! What settings and requests ask of connections: limits of one endpoint, connections ahead of need,
//! pools of one's own, and how connections are made.

use std::net::IpAddr;

use super::*;
use crate::exchange::{Connection, Tls};
use crate::socket_option::KeepAlive;
use crate::upstream::connect::{ProxyHeader, ProxyVersion};
use crate::upstream::demand::{Client, Demand};
use crate::upstream::endpoint::Health;
use crate::upstream::spec::{BindSpec, DestinationSpec, Policy, Preconnect, Source, Traits};
use crate::values::{Layer, LayerSpec, Value, Values};

fn one_each() -> Thresholds {
    Thresholds {
        max_connections_of_host: Some(1),
        ..Thresholds::default()
    }
}

fn to(address: &Address) -> Wish<'_> {
    Wish {
        pinned: Some(Pinned {
            address,
            is_strict: true,
        }),
        ..Wish::default()
    }
}

async fn lease(pools: &Pools, cluster: &Arc<Cluster>, wish: &Wish<'_>) -> Http1Lease {
    match pools
        .acquire(cluster, Priority::Default, wish)
        .await
        .unwrap()
    {
        Lease::Http1(lease) => lease,
        Lease::Http2(_) | Lease::Raw(_) => panic!("not HTTP/1"),
    }
}

#[test]
fn an_endpoint_has_no_more_connections_than_it_may() {
    worker(async {
        let (_a, a) = listen().await;
        let (_b, b) = listen().await;
        let cluster = limited(&[a, b], one_each());
        let shared = Shared::new();
        let of_worker = || Pools::new(0, 1, Arc::clone(&shared), Rc::new(System));
        let (here, there) = (of_worker(), of_worker());
        let first = lease(&here, &cluster, &to(&a.into())).await;
        // Another endpoint has connections of its own.
        drop(lease(&here, &cluster, &to(&b.into())).await);
        let at_a = Address::from(a);
        let (wish, second) = (to(&at_a), Cell::new(false));
        let waits = async {
            let second_lease = lease(&there, &cluster, &wish).await;
            second.set(true);
            second_lease
        };
        let ends = async {
            let counts = cluster.stats(0);
            until(|| counts.upstream_cx_overflow.get() > 0 || second.get()).await;
            assert!(!second.get());
            // It is kept here, and let go because somebody else waits for its place.
            first.release(Release::Reuse);
        };
        let (second, ()) = tokio::join!(waits, ends);
        assert!(!second.facts().reused);
        assert_eq!(cluster.endpoints().endpoints[0].counters.cx_active.get(), 1);
    });
}

#[test]
fn a_pool_too_many_is_refused() {
    worker(async {
        let (_a, a) = listen().await;
        let (_b, b) = listen().await;
        let limits = Thresholds {
            max_connection_pools: Some(1),
            ..Thresholds::default()
        };
        let (cluster, pools) = (limited(&[a, b], limits), pools());
        let first = lease(&pools, &cluster, &to(&a.into())).await;
        let again = lease(&pools, &cluster, &to(&a.into())).await;
        let refused = pools
            .acquire(&cluster, Priority::Default, &to(&b.into()))
            .await
            .unwrap_err();
        assert!(matches!(refused.kind, ErrorKind::Overflow(Resource::Pools)));
        assert_eq!(cluster.stats(0).upstream_cx_pool_overflow.get(), 1);
        drop((first, again));
        drop(lease(&pools, &cluster, &to(&b.into())).await);
    });
}

#[test]
fn connections_are_there_ahead_of_need() {
    worker(async {
        let (listener, a) = listen().await;
        let mut spec = spec(&[a]);
        spec.preconnect = Preconnect {
            per_upstream: 2.0,
            predictive: 1.0,
        };
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let held = http1(&pools, &cluster).await;
        listener.accept().await.unwrap();
        listener.accept().await.unwrap();
        drop(held);
    });
}

#[test]
fn the_next_endpoint_is_connected_to_ahead_of_need() {
    worker(async {
        let (a, a_address) = listen().await;
        let (b, b_address) = listen().await;
        let mut spec = spec(&[a_address, b_address]);
        spec.preconnect = Preconnect {
            per_upstream: 1.0,
            predictive: 2.0,
        };
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let first = http1(&pools, &cluster).await;
        a.accept().await.unwrap();
        b.accept().await.unwrap();
        let second = http1(&pools, &cluster).await;
        assert_ne!(first.endpoint().address, second.endpoint().address);
    });
}

#[test]
fn an_old_connection_gets_no_more_requests() {
    worker(async {
        let (_listener, a) = listen().await;
        let mut spec = spec(&[a]);
        spec.max_connection_duration = Some(Duration::from_millis(1));
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let stats = cluster.stats(0);
        while stats.upstream_cx_max_duration_reached.get() == 0 {
            http1(&pools, &cluster).await.release(Release::Reuse);
        }
        until(|| stats.upstream_cx_destroy_local.get() > 0).await;
    });
}

#[test]
fn connections_to_an_endpoint_that_begins_to_fail_get_no_more_requests() {
    worker(async {
        let (_listener, a) = listen().await;
        let mut spec = spec(&[a]);
        spec.closes_on_failure = true;
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let (held, idle) = (http1(&pools, &cluster).await, http1(&pools, &cluster).await);
        let raw = pools
            .connect(&cluster, Priority::Default, &Wish::default())
            .await
            .unwrap();
        idle.release(Release::Reuse);
        let ended = raw.ended_by_health();
        let mut ended = std::pin::pin!(ended);
        assert!(futures_util::poll!(&mut ended).is_pending());
        let endpoints = cluster.endpoints().endpoints.clone();
        endpoints[0].health().set(Health::FAILED_OUTLIER_CHECK);
        cluster.publish(endpoints);
        // The only endpoint is used all the same: nobody else is there.
        assert!(!http1(&pools, &cluster).await.facts().reused);
        ended.await;
        held.release(Release::Reuse);
        let (a, b) = (http1(&pools, &cluster).await, http1(&pools, &cluster).await);
        assert!(!(a.facts().reused && b.facts().reused));
    });
}

fn connection(id: u64) -> Arc<Connection> {
    Arc::new(Connection {
        id,
        listener: "l".into(),
        ..Connection::between(
            SocketAddr::from(([10, 0, 0, 1], 5000)),
            SocketAddr::from(([10, 0, 0, 2], 80)),
        )
    })
}

#[test]
fn clients_with_connections_of_their_own_share_none() {
    worker(async {
        let (_listener, a) = listen().await;
        let mut spec = spec(&[a]);
        spec.pool_per_client = true;
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let (one, two) = (connection(1), connection(2));
        let demand = |connection| Demand {
            client: Some(Client::new(connection)),
            ..Demand::default()
        };
        for (client, reused) in [(&one, false), (&two, false), (&one, true), (&two, true)] {
            let demand = demand(client);
            let wish = Wish {
                demand: Some(&demand),
                ..Wish::default()
            };
            let lease = lease(&pools, &cluster, &wish).await;
            assert_eq!(lease.facts().reused, reused);
            lease.release(Release::Reuse);
        }
        // What a client had goes with it.
        drop((one, two));
        pools.sweep(clock::now());
        until(|| cluster.stats(0).upstream_cx_active.get() == 0).await;
    });
}

#[test]
fn connections_come_from_where_they_are_to_and_say_who_the_client_is() {
    worker(async {
        let (listener, a) = listen().await;
        let mut spec = spec(&[a]);
        spec.dial.bind = BindSpec {
            sources: vec![Source {
                ip: [127, 0, 0, 2].into(),
                port: 0,
                options: None,
            }],
            ..BindSpec::default()
        };
        spec.dial.keepalive = Some(KeepAlive {
            time: Some(77),
            ..KeepAlive::default()
        });
        spec.dial.transport.proxy_header = Some(ProxyHeader {
            version: ProxyVersion::V1,
            tlvs: Vec::new(),
        });
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let client = connection(1);
        let demand = Demand {
            client: Some(Client::new(&client)),
            ..Demand::default()
        };
        let wish = Wish {
            demand: Some(&demand),
            ..Wish::default()
        };
        let mut lease = lease(&pools, &cluster, &wish).await;
        let (mut server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 2]));
        let (Socket::Tcp(stream), ..) = lease.parts() else {
            panic!("not TCP")
        };
        let time = socket2::SockRef::from(&*stream).tcp_keepalive_time();
        assert_eq!(time.unwrap(), Duration::from_secs(77));
        let ends = client.remote.ip().zip(client.local.ip());
        let (source, destination) = ends.unwrap();
        let expected = format!(
            "PROXY TCP4 {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        );
        let mut header = vec![0; expected.len()];
        server.read_exact(&mut header).await.unwrap();
        assert_eq!(String::from_utf8(header).unwrap(), expected);
    });
}

#[test]
fn the_first_address_that_answers_is_taken() {
    worker(async {
        let (dead, dead_address) = listen().await;
        drop(dead);
        let (listener, a) = listen().await;
        let endpoint = StaticEndpoint {
            address: dead_address.into(),
            traits: Arc::new(Traits {
                other_addresses: vec![a.into()],
                ..Traits::default()
            }),
        };
        let spec = ClusterSpec::new("c", Discovery::Static(vec![endpoint]));
        let (cluster, pools) = (Cluster::new(spec, 1), pools());
        let lease = http1(&pools, &cluster).await;
        assert_eq!(lease.endpoint().address, dead_address);
        listener.accept().await.unwrap();
    });
}

#[test]
fn runtime_values_override_limits() {
    let key = "circuit_breakers.c.default.max_requests".to_owned();
    let layer = |number| LayerSpec {
        name: "static".to_owned(),
        layer: Layer::Static([(key.as_str().into(), Value::text(number))].into()),
    };
    for (number, expected) in [("7", 7), ("not a number", 1024)] {
        let values = Arc::new(Values::new(vec![layer(number)]));
        let breakers = crate::upstream::breaker::Breakers::new(
            &"c".into(),
            &[Thresholds::default(); 2],
            &values,
        );
        values.publish();
        let of = |priority| breakers.of(priority).limit(Resource::Requests);
        assert_eq!(
            (of(Priority::Default), of(Priority::High)),
            (expected, 1024)
        );
    }
}

#[test]
fn a_link_knows_what_was_chosen() {
    let tls = |alpn: Option<&str>| Tls {
        alpn: alpn.map(Into::into),
        ..Tls::default()
    };
    worker(async {
        for (alpn, http2) in [(Some("h2"), true), (Some("http/1.1"), false), (None, false)] {
            let (_listener, a) = listen().await;
            let link = crate::upstream::connect::Link {
                socket: TcpStream::connect(a).await.unwrap().into(),
                tls: Some(Arc::new(tls(alpn))),
            };
            assert_eq!(link.speaks_http2(), http2);
        }
    });
}

#[test]
fn requests_name_their_endpoints() {
    worker(async {
        let ((_first, a), (_second, b)) = (listen().await, listen().await);
        let destination = Discovery::OriginalDestination(DestinationSpec::default());
        let mut spec = ClusterSpec::new("c", destination);
        spec.balancing.policy = Policy::Provided;
        spec.preconnect.predictive = 3.0;
        let cluster = Cluster::new(spec, 2);
        let (one, other) = (pools(), Pools::new(1, 1, Shared::new(), Rc::new(System)));
        let to = |address| Wish {
            destination: Some(address),
            ..Wish::default()
        };
        assert!(cluster.is_warm());
        let nowhere = one
            .acquire(&cluster, Priority::Default, &Wish::default())
            .await;
        let error = nowhere.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::NoHealthyUpstream));
        for (address, reused) in [(a, false), (b, false), (a, true), (b, true)] {
            let lease = lease(&one, &cluster, &to(address)).await;
            assert_eq!(lease.endpoint().address, address);
            assert_eq!(lease.facts().reused, reused);
            lease.release(Release::Reuse);
        }
        // All workers have the same endpoint, and it stays while the set of them changes.
        let held = lease(&other, &cluster, &to(a)).await;
        let destinations = cluster.destinations().unwrap();
        assert_eq!(destinations.all().len(), 2);
        assert!(Arc::ptr_eq(&destinations.all()[0], held.endpoint()));
        cluster.publish(Vec::new());
        assert!(lease(&one, &cluster, &to(a)).await.facts().reused);
        // Nobody keeps a connection to one that was let go of.
        held.release(Release::Reuse);
        one.close();
        drop(one);
        other.close();
        drop(other);
        destinations.forget_unused();
        destinations.forget_unused();
        assert!(destinations.all().is_empty());
    });
}
