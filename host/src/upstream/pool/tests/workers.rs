//! Several workers over one cluster.

use super::*;

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
                            let (stream, ..) = lease.parts();
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
                            let (stream, ..) = lease.parts();
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
