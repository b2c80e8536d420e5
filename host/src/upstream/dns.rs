//! Names to addresses.
//!
//! Owns the seam to the system's resolver, so that tests can put something else there, and the
//! choice among a name's addresses. Called by `control` on the control thread. Does not own: when
//! to ask, and what becomes of an answer.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::spec::Family;

/// A name is being resolved.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, DnsError>>>>;

/// Resolves names.
pub trait Resolve {
    /// Asks for all addresses of `host`, which may be a literal one.
    fn resolve(&self, host: &Arc<str>) -> Resolving;
}

/// A name could not be resolved. The system does not tell "there is none" from "nobody answered".
#[derive(Debug, thiserror::Error)]
#[error("resolving \"{host}\"")]
pub struct DnsError {
    /// The name.
    pub host: Arc<str>,
    /// What the resolver says.
    #[source]
    pub cause: io::Error,
}

/// The system's resolver (`getaddrinfo`): `/etc/hosts`, `/etc/resolv.conf` and whatever else the
/// machine is set up with. It blocks, so it runs on the runtime's blocking threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, host: &Arc<str>) -> Resolving {
        let host = Arc::clone(host);
        Box::pin(async move {
            let answer = tokio::net::lookup_host((&*host, 0)).await;
            let addresses = answer.map(|found| found.map(|address| address.ip()).collect());
            addresses.map_err(|cause| DnsError { host, cause })
        })
    }
}

/// Those of a name's addresses that `family` wants, in order, each once.
#[must_use]
pub fn select(addresses: &[IpAddr], family: Family) -> Vec<IpAddr> {
    let v4 = || {
        addresses
            .iter()
            .filter(|address| address.is_ipv4())
            .copied()
            .collect::<Vec<_>>()
    };
    let v6 = || {
        addresses
            .iter()
            .filter(|address| address.is_ipv6())
            .copied()
            .collect::<Vec<_>>()
    };
    let first_of = |preferred: Vec<IpAddr>, other: &dyn Fn() -> Vec<IpAddr>| {
        if preferred.is_empty() {
            other()
        } else {
            preferred
        }
    };
    let mut chosen = match family {
        Family::Auto => first_of(v6(), &v4),
        Family::V4Preferred => first_of(v4(), &v6),
        Family::V4Only => v4(),
        Family::V6Only => v6(),
        Family::All => addresses.into(),
    };
    let mut seen = HashSet::new();
    chosen.retain(|address| seen.insert(*address));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_choose_as_envoy_does() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b, six) = (ip("10.0.0.1"), ip("10.0.0.2"), ip("::1"));
        let both = [a, six, b, a];
        let v4 = [a, b, a];
        for (family, of_both, of_v4) in [
            (Family::Auto, vec![six], vec![a, b]),
            (Family::V4Only, vec![a, b], vec![a, b]),
            (Family::V6Only, vec![six], vec![]),
            (Family::V4Preferred, vec![a, b], vec![a, b]),
            (Family::All, vec![a, six, b], vec![a, b]),
        ] {
            assert_eq!(select(&both, family), of_both, "{family:?}");
            assert_eq!(select(&v4, family), of_v4, "{family:?}");
        }
        assert_eq!(select(&[six], Family::V4Preferred), [six]);
    }

    #[test]
    fn the_system_knows_literals_and_localhost_and_fails_on_nonsense() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let resolve = |host: &str| System.resolve(&host.into());
            assert_eq!(
                resolve("127.0.0.9").await.unwrap(),
                ["127.0.0.9".parse::<IpAddr>().unwrap()]
            );
            assert!(
                resolve("localhost")
                    .await
                    .unwrap()
                    .iter()
                    .all(IpAddr::is_loopback)
            );
            let error = resolve("bad name!").await.unwrap_err();
            assert_eq!(error.to_string(), "resolving \"bad name!\"");
        });
    }
}
