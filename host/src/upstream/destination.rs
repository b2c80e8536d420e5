//! Where requests of an `ORIGINAL_DST` cluster go, and the endpoints that are made for them.
//!
//! Owns reading the address that a request or its connection names, and [`Destinations`], the endpoints by
//! their addresses, which all workers share. The data path asks [`Cluster::destination`]; the pools ask for
//! the endpoint of an address that a worker has not met; `control` publishes what has come and lets go of
//! what nobody uses. Does not own connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::cluster::Cluster;
use super::endpoint::{Checks, Endpoint};
use super::spec::{DestinationSpec, Discovery, Traits};
use crate::exchange::{Exchange, Metadata};
use crate::limits;

/// What filters leave an address under, as if it were Envoy's filter state of that name.
const FILTER_STATE_KEY: &str = "envoy.network.transport_socket.original_dst_address";

impl Cluster {
    /// Where the request is to go to, in a cluster whose endpoints are what requests name; counted in
    /// worker `worker`'s statistics where what it names is no address.
    #[must_use]
    #[inline]
    pub fn destination(&self, exchange: &Exchange, worker: usize) -> Option<SocketAddr> {
        let Discovery::OriginalDestination(spec) = &self.spec().discovery else {
            return None;
        };
        let malformed = || self.stats(worker).original_dst_host_invalid.inc();
        spec.read(exchange, malformed)
    }
}

impl DestinationSpec {
    /// The address that counts; `malformed` is called for each that is none.
    fn read(&self, exchange: &Exchange, malformed: impl Fn()) -> Option<SocketAddr> {
        let connection = &exchange.connection;
        let kept = |namespace: &str, key: &str| {
            let of_request = exchange.metadata.get(namespace, key);
            of_request.or_else(|| connection.metadata.get(namespace, key))
        };
        let parsed = |text: Option<&[u8]>| {
            let address = std::str::from_utf8(text?).ok()?.parse().ok();
            if address.is_none() {
                malformed();
            }
            address
        };
        let by_metadata = || {
            let key = self.metadata.as_ref()?;
            parsed(kept(&key.namespace, &key.key))
        };
        let by_field = || parsed(exchange.request.get(self.field.as_ref()?));
        let restored = || {
            connection
                .local
                .ip()
                .filter(|_| connection.local_is_restored)
        };
        let mut address = parsed(kept(Metadata::FILTER_STATE, FILTER_STATE_KEY))
            .or_else(by_metadata)
            .or_else(by_field)
            .or_else(restored)?;
        if let Some(port) = self.port {
            address.set_port(port);
        }
        Some(address)
    }
}

/// The endpoints that requests have named. See the module's page.
#[derive(Debug)]
pub struct Destinations {
    cluster: Arc<str>,
    checks: Checks,
    known: Mutex<HashMap<SocketAddr, Arc<Endpoint>>>,
    /// How many there are, to be asked without the lock.
    count: AtomicUsize,
    arrived: Notify,
}

impl Destinations {
    /// None yet, for the cluster of that name.
    pub(super) fn new(cluster: &Arc<str>, checks: Checks) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            checks,
            known: Mutex::default(),
            count: AtomicUsize::new(0),
            arrived: Notify::new(),
        }
    }

    /// The endpoint at `address`, made where there is none; nothing where there are
    /// [`limits::DESTINATIONS`] others. Asked once for each address that a worker has not met; nobody waits for
    /// the lock whose address is most likely one too many.
    pub(super) fn endpoint(&self, address: SocketAddr) -> Option<Arc<Endpoint>> {
        let is_full = self.count.load(Ordering::Relaxed) >= limits::DESTINATIONS;
        let mut known = if is_full {
            self.known.try_lock().ok()?
        } else {
            self.lock()
        };
        if let Some(endpoint) = known.get(&address) {
            return Some(Arc::clone(endpoint));
        }
        if known.len() >= limits::DESTINATIONS {
            return None;
        }
        // So Envoy names them.
        let hostname = format!("{}{address}", self.cluster);
        let traits = Arc::new(Traits {
            hostname: Some(hostname.into()),
            ..Traits::default()
        });
        let endpoint = Arc::new(Endpoint::new(address, traits, self.checks));
        known.insert(address, Arc::clone(&endpoint));
        self.count.store(known.len(), Ordering::Relaxed);
        drop(known);
        self.arrived.notify_one();
        Some(endpoint)
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<Endpoint>> {
        let mut all: Vec<_> = self.lock().values().map(Arc::clone).collect();
        all.sort_unstable_by_key(|endpoint| endpoint.id);
        all
    }

    /// Takes those out of `endpoints` that were let go of.
    pub(super) fn keep_known(&self, endpoints: &mut Vec<Arc<Endpoint>>) {
        let known = self.lock();
        endpoints.retain(|endpoint| {
            let address = endpoint.address.ip();
            let known = address.and_then(|address| known.get(&address));
            known.is_some_and(|known| known.id == endpoint.id)
        });
    }

    /// Lets go of those that nobody has chosen since the last call, and that nobody has a connection to.
    pub(super) fn forget_unused(&self) {
        let mut known = self.lock();
        known.retain(|_, endpoint| {
            // Both are asked: the mark is for the next time.
            let was_chosen = endpoint.take_chosen();
            was_chosen || endpoint.counters.is_in_use()
        });
        self.count.store(known.len(), Ordering::Relaxed);
    }

    /// Waits until an endpoint has come.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Endpoint>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::headers::Name;
    use crate::upstream::spec::MetadataKey;
    use crate::upstream::testing::exchange;

    fn spec(field: bool, metadata: bool, port: Option<u16>) -> DestinationSpec {
        DestinationSpec {
            field: field.then(|| Name::parse(b"x-to").unwrap()),
            metadata: metadata.then(|| MetadataKey {
                namespace: "n".into(),
                key: "k".into(),
            }),
            port,
            ..DestinationSpec::default()
        }
    }

    /// What is configured, what the request has in its field and in its metadata, whether it was redirected,
    /// where it goes, and how many addresses are none.
    type Case = (
        DestinationSpec,
        Option<&'static str>,
        Option<&'static str>,
        bool,
        Option<&'static str>,
        usize,
    );

    const LOCAL: &str = "10.0.0.3:80";

    fn cases() -> Vec<Case> {
        let (field, key, local) = ("10.0.0.1:80", "10.0.0.2:80", LOCAL);
        vec![
            (
                spec(true, true, None),
                Some(field),
                Some(key),
                true,
                Some(key),
                0,
            ),
            (
                spec(true, false, None),
                Some(field),
                Some(key),
                true,
                Some(field),
                0,
            ),
            (
                spec(false, false, None),
                Some(field),
                Some(key),
                true,
                Some(local),
                0,
            ),
            (spec(false, false, None), None, None, false, None, 0),
            (
                spec(true, true, None),
                Some(field),
                Some("x"),
                true,
                Some(field),
                1,
            ),
            (
                spec(true, true, None),
                Some("10.0.0.1"),
                Some("x:1"),
                true,
                Some(local),
                2,
            ),
            (
                spec(true, true, None),
                Some("a.test:80"),
                None,
                false,
                None,
                1,
            ),
            (spec(true, true, None), Some(""), None, false, None, 1),
            (
                spec(true, false, Some(9)),
                Some(field),
                None,
                false,
                Some("10.0.0.1:9"),
                0,
            ),
            (
                spec(true, false, Some(9)),
                Some("[::1]:80"),
                None,
                false,
                Some("[::1]:9"),
                0,
            ),
            (
                spec(false, false, Some(9)),
                None,
                None,
                true,
                Some("10.0.0.3:9"),
                0,
            ),
        ]
    }

    #[test]
    fn the_first_address_that_is_one_counts() {
        for (spec, field, key, restored, expected, malformed) in cases() {
            let mut exchange = exchange(LOCAL.parse().unwrap(), restored);
            if let Some(field) = field {
                let name = Name::parse(b"x-to").unwrap();
                exchange.request.set(&name, field.as_bytes());
            }
            if let Some(key) = key {
                exchange.metadata.set("n", "k", key.as_bytes());
            }
            let count = Cell::new(0);
            let read = spec.read(&exchange, || count.set(count.get() + 1));
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(
                (read, count.get()),
                (expected, malformed),
                "{spec:?} {field:?} {key:?}"
            );
        }
    }

    #[test]
    fn what_a_filter_has_left_comes_first() {
        let mut exchange = exchange(([10, 0, 0, 3], 80).into(), true);
        let to = "10.0.0.9:1";
        exchange.metadata.set("n", "k", b"10.0.0.1:80");
        exchange
            .metadata
            .set(Metadata::FILTER_STATE, FILTER_STATE_KEY, to.as_bytes());
        let read = spec(false, true, None).read(&exchange, || panic!("an address"));
        assert_eq!(read, Some(to.parse().unwrap()));
    }

    #[test]
    fn endpoints_go_when_nobody_has_used_them_for_a_while() {
        let destinations = Destinations::new(&"c".into(), Checks::default());
        let (a, b) = (([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 80).into());
        let first = destinations.endpoint(a).unwrap();
        let second = destinations.endpoint(b).unwrap();
        assert!(Arc::ptr_eq(&destinations.endpoint(a).unwrap(), &first));
        assert_eq!(first.hostname.as_deref(), Some("c10.0.0.1:80"));
        let ids = || destinations.all().iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids(), [first.id, second.id]);
        first.note_chosen();
        second.counters.cx_active.inc();
        destinations.forget_unused();
        assert_eq!(ids(), [first.id, second.id]);
        destinations.forget_unused();
        assert_eq!(ids(), [second.id]);
        second.counters.cx_active.dec();
        destinations.forget_unused();
        assert!(ids().is_empty());
        assert!(!Arc::ptr_eq(&destinations.endpoint(a).unwrap(), &first));
    }

    #[test]
    fn there_are_only_so_many_at_once() {
        let destinations = Destinations::new(&"c".into(), Checks::default());
        let address = |n: usize| {
            let [.., a, b, c] = n.to_be_bytes();
            SocketAddr::from(([10, a, b, c], 80))
        };
        for n in 0..limits::DESTINATIONS {
            assert!(destinations.endpoint(address(n)).is_some());
        }
        let one_more = address(limits::DESTINATIONS);
        assert!(destinations.endpoint(one_more).is_none());
        let first = destinations.endpoint(address(0)).unwrap();
        first.note_chosen();
        destinations.forget_unused();
        first.note_chosen();
        destinations.forget_unused();
        let other = destinations.endpoint(one_more).unwrap();
        let gone = Arc::new(Endpoint::new(address(1), Arc::default(), Checks::default()));
        let mut endpoints = vec![first, gone, other];
        destinations.keep_known(&mut endpoints);
        assert_eq!(endpoints.len(), 2);
    }
}
