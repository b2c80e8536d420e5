//! Where a request says that it is to go to.
//!
//! Owns [`Aim`], which is read off the request before an endpoint is chosen: the endpoint that a filter wants,
//! the subset, those that the sources of an `override_host` policy name, and the address that an `ORIGINAL_DST`
//! cluster goes by. Most requests and clusters have none of it, and pay a comparison for each. Called by the data
//! path. Does not own whether an endpoint may be used (`pool`).

use std::borrow::Cow;
use std::net::SocketAddr;

use super::cluster::Cluster;
use super::endpoint::Endpoint;
use super::metadata::{self, Criteria, Value};
use super::spec::OverrideSource;
use super::wish::{Named, Pinned, Wish};
use crate::address::Address;
use crate::exchange::Exchange;
use crate::limits;

/// Where filters leave the endpoint that they want.
const NAMESPACE: &str = "nuncio.upstream";
/// Its address, as logs show it.
const HOST: &str = "host";
/// The status of the answer where that one may not be used, and no other is to be.
const STRICT: &str = "strict";

/// Where a request is to go to. See the module's page.
#[derive(Debug, Default)]
pub struct Aim<'a> {
    pin: Option<Pin>,
    criteria: Option<Cow<'a, Criteria>>,
    named: Vec<Address>,
    /// How many of those were tried before.
    tried: usize,
    destination: Option<SocketAddr>,
}

/// What a filter wants.
#[derive(Debug, PartialEq, Eq)]
struct Pin {
    address: Address,
    /// None where another endpoint will do.
    strict: Option<u16>,
}

impl<'a> Aim<'a> {
    /// Where the attempt of `exchange` that begins now is to go in `cluster`. `of_route` is the route's
    /// `metadata_match`. What is malformed is counted in worker `worker`'s statistics.
    #[must_use]
    #[inline]
    pub fn of(
        cluster: &Cluster,
        exchange: &Exchange,
        of_route: Option<&'a Criteria>,
        worker: usize,
    ) -> Self {
        let tried = exchange.upstream.attempts.saturating_sub(1) as usize;
        let sources = &cluster.spec().balancing.overrides;
        Self {
            // As in Envoy filters are asked for the first attempt alone.
            pin: if tried == 0 { Pin::of(exchange) } else { None },
            named: if sources.is_empty() {
                Vec::new()
            } else {
                named(sources, exchange)
            },
            tried,
            criteria: match cluster.spec().balancing.subsets {
                Some(_) => criteria(exchange, of_route),
                None => None,
            },
            destination: cluster.destination(exchange, worker),
        }
    }

    /// The same for the balancer.
    #[must_use]
    pub fn wish(&self) -> Wish<'_> {
        Wish {
            criteria: self.criteria.as_deref(),
            pinned: self.pin.as_ref().map(|pin| Pinned {
                address: &pin.address,
                is_strict: pin.strict.is_some(),
            }),
            named: (!self.named.is_empty()).then_some(Named {
                addresses: &self.named,
                skip: self.tried,
            }),
            destination: self.destination,
            ..Wish::default()
        }
    }

    /// The status of the answer where no endpoint of `cluster` may be used, if a filter says so: as in Envoy
    /// it is that of an endpoint that is not there, not of one that is not well.
    #[must_use]
    pub fn status(&self, cluster: &Cluster) -> Option<u16> {
        let pin = self.pin.as_ref()?;
        let endpoints = &cluster.endpoints().endpoints;
        let is_there = endpoints
            .iter()
            .any(|endpoint| endpoint.address == pin.address);
        pin.strict.filter(|_| !is_there)
    }
}

impl Pin {
    fn of(exchange: &Exchange) -> Option<Self> {
        let metadata = &exchange.metadata;
        if metadata.is_empty() {
            return None;
        }
        let text = |key| std::str::from_utf8(metadata.get(NAMESPACE, key)?).ok();
        let status = |text: &str| {
            let status = text.parse().ok();
            status.filter(|status| (200..600).contains(status))
        };
        Some(Self {
            // What is no text is nowhere.
            address: address(&String::from_utf8_lossy(metadata.get(NAMESPACE, HOST)?)),
            strict: text(STRICT).map(|text| status(text).unwrap_or(503)),
        })
    }
}

/// Notes in `exchange` which endpoint of `cluster` it goes to, also for filters where the policy says so.
pub fn note_endpoint(exchange: &mut Exchange, cluster: &Cluster, endpoint: &Endpoint) {
    let address = endpoint.now_at();
    if let Some(key) = &cluster.spec().balancing.shows_choice {
        let text = address.to_string();
        let metadata = &mut exchange.metadata;
        metadata.set(&key.namespace, &key.key, text.as_bytes());
    }
    exchange.upstream.host = Some(address);
    exchange.upstream.hostname.clone_from(&endpoint.hostname);
    exchange.upstream.host_metadata = endpoint.described().cloned();
}

/// The subset that is asked for: as in Envoy, what filters have left as metadata of load balancing is added to
/// what the route says, and wins.
fn criteria<'a>(exchange: &Exchange, of_route: Option<&'a Criteria>) -> Option<Cow<'a, Criteria>> {
    let left = exchange.metadata.namespace(metadata::FILTER);
    let mut left = left
        .map(|(key, value)| (key.into(), Value::text(&String::from_utf8_lossy(value))))
        .peekable();
    if left.peek().is_none() {
        return of_route.map(Cow::Borrowed);
    }
    let left = Criteria::new(left);
    Some(Cow::Owned(match of_route {
        Some(of_route) => of_route.merged(&left),
        None => left,
    }))
}

/// An address as logs show it. What is not one of IP is at most that of a Unix socket.
fn address(text: &str) -> Address {
    text.parse().map_or_else(
        |_| Address::Unix(text.into()),
        |address: SocketAddr| address.into(),
    )
}

/// The endpoints that the request names, in the order of the sources.
fn named(sources: &[OverrideSource], exchange: &Exchange) -> Vec<Address> {
    let texts = sources.iter().filter_map(|source| match source {
        OverrideSource::Field(name) => exchange.request.get(name),
        OverrideSource::Metadata(key) => exchange.metadata.get(&key.namespace, &key.key),
    });
    let words = texts
        .filter_map(|text| std::str::from_utf8(text).ok())
        .flat_map(|text| text.split(','));
    words
        .map(str::trim_ascii)
        .filter(|word| !word.is_empty())
        .take(limits::NAMED_ENDPOINTS)
        .map(address)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::headers::Name;
    use crate::upstream::spec::{ClusterSpec, Discovery, MetadataKey, StaticEndpoint, SubsetSpec};
    use crate::upstream::testing::exchange;

    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn spec() -> ClusterSpec {
        ClusterSpec::new("c", Discovery::Static(Vec::new()))
    }

    #[test]
    fn filters_say_where_a_request_goes_first() {
        let cluster = Cluster::new(spec(), 1);
        let ip = |text: &str| Address::Ip(text.parse().unwrap());
        let unix = |text: &str| Address::Unix(text.into());
        for (host, strict, expected) in [
            (None, None, None),
            (None, Some("503"), None),
            (Some("10.0.0.1:80"), None, Some((ip("10.0.0.1:80"), None))),
            (
                Some("[::1]:80"),
                Some("404"),
                Some((ip("[::1]:80"), Some(404))),
            ),
            (Some("@a"), Some("true"), Some((unix("@a"), Some(503)))),
            (
                Some("a.test:80"),
                Some("99"),
                Some((unix("a.test:80"), Some(503))),
            ),
        ] {
            let mut exchange = exchange(NOWHERE, false);
            for (key, value) in [(HOST, host), (STRICT, strict)] {
                if let Some(value) = value {
                    exchange.metadata.set(NAMESPACE, key, value.as_bytes());
                }
            }
            exchange.upstream.attempts = 1;
            let aim = Aim::of(&cluster, &exchange, None, 0);
            let pinned = aim.wish().pinned;
            let found = pinned.map(|pinned| (pinned.address.clone(), aim.status(&cluster)));
            assert_eq!(found, expected, "{host:?} {strict:?}");
            assert_eq!(
                pinned.map(|pinned| pinned.is_strict),
                expected.map(|e| e.1.is_some())
            );
            exchange.upstream.attempts = 2;
            let later = Aim::of(&cluster, &exchange, None, 0);
            assert_eq!((later.wish().pinned, later.status(&cluster)), (None, None));
            assert!(later.wish().takes_any());
        }
    }

    #[test]
    fn an_endpoint_that_is_there_has_no_status_of_its_own() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let there = Discovery::Static(vec![StaticEndpoint::new(address)]);
        let mut exchange = exchange(NOWHERE, false);
        exchange.metadata.set(NAMESPACE, HOST, b"127.0.0.1:80");
        exchange.metadata.set(NAMESPACE, STRICT, b"404");
        for (discovery, status) in [(there, None), (Discovery::Static(Vec::new()), Some(404))] {
            let cluster = Cluster::new(ClusterSpec::new("c", discovery), 1);
            let aim = Aim::of(&cluster, &exchange, None, 0);
            assert_eq!(aim.status(&cluster), status);
        }
    }

    #[test]
    fn the_subset_is_that_of_the_route_and_of_filters_which_win() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Criteria::new(pairs.map(|(key, value)| ((*key).into(), Value::text(value))))
        };
        let route = of(&[("stage", "prod"), ("version", "1")]);
        let mut spec = spec();
        spec.balancing.subsets = Some(SubsetSpec::default());
        let with = Cluster::new(spec, 1);
        let without = Cluster::new(self::spec(), 1);
        for (of_route, left, expected) in [
            (None, None, None),
            (Some(&route), None, Some(route.clone())),
            (None, Some("2"), Some(of(&[("version", "2")]))),
            (
                Some(&route),
                Some("2"),
                Some(of(&[("stage", "prod"), ("version", "2")])),
            ),
        ] {
            let mut exchange = exchange(NOWHERE, false);
            exchange.metadata.set("other", "version", b"9");
            if let Some(left) = left {
                exchange
                    .metadata
                    .set("envoy.lb", "version", left.as_bytes());
            }
            let aim = Aim::of(&with, &exchange, of_route, 0);
            assert_eq!(aim.wish().criteria, expected.as_ref());
            let aim = Aim::of(&without, &exchange, of_route, 0);
            assert_eq!(aim.wish().criteria, None);
        }
    }

    #[test]
    fn sources_are_read_in_order() {
        let field = Name::parse(b"x-to").unwrap();
        let mut spec = spec();
        spec.balancing.overrides = vec![
            OverrideSource::Metadata(MetadataKey {
                namespace: "n".into(),
                key: "k".into(),
            }),
            OverrideSource::Field(field.clone()),
        ];
        let cluster = Cluster::new(spec, 1);
        for (kept, sent, expected) in [
            (None, None, &[][..]),
            (None, Some("10.0.0.1:80"), &["10.0.0.1:80"]),
            (
                Some("10.0.0.3:80, ,"),
                Some(" 10.0.0.1:80,words , 10.0.0.2:80"),
                &["10.0.0.3:80", "10.0.0.1:80", "words", "10.0.0.2:80"],
            ),
        ] {
            let mut exchange = exchange(NOWHERE, false);
            if let Some(kept) = kept {
                exchange.metadata.set("n", "k", kept.as_bytes());
            }
            if let Some(sent) = sent {
                exchange.request.set(&field, sent.as_bytes());
            }
            exchange.upstream.attempts = 3;
            let aim = Aim::of(&cluster, &exchange, None, 0);
            let named = aim.wish().named;
            let found = named.map_or(&[][..], |named| named.addresses);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
            assert!(named.is_none_or(|named| named.skip == 2));
        }
    }
}
