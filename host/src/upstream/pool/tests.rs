//! Pools over real sockets. What the tests share is here.

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

mod asked;
mod connecting;
mod endpoints;
mod http2;
mod limits;
mod reuse;
mod secure;
mod workers;

use super::*;
use crate::address::Address;
use crate::socket::Socket;
use crate::upstream::breaker::Resource;
use crate::upstream::connect::{Connecting, Order, System};
use crate::upstream::spec::{
    ClusterSpec, Discovery, Http2Settings, Protocol, StaticEndpoint, Thresholds,
};
use crate::upstream::testing::runtime;
use crate::upstream::wish::{Avoid, Pinned};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test as a worker runs its connections.
fn worker<T>(test: impl Future<Output = T>) -> T {
    runtime(false).block_on(async {
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
