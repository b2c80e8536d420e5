//! Names to addresses.
//!
//! Owns the seam to what resolves names, so that tests can put something else there, the choice
//! among a name's addresses, and the system's own resolver; the one that asks name servers is in
//! `stub`. Called by `control` on the control thread. Does not own: when to ask, and what becomes of
//! an answer.

mod servers;
mod sockets;
mod stub;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use self::stub::Stub;
use super::spec::{DnsTarget, Family, ResolverSpec};

/// A name is being resolved.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Answer, DnsError>>>>;

/// Resolves names.
pub trait Resolve {
    /// Asks for what `question` wants to know.
    fn resolve(&self, question: &Question) -> Resolving;
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, or a literal address.
    pub host: Arc<str>,
    /// Which addresses count.
    pub family: Family,
    /// Whether it is the name of SRV records.
    pub is_service: bool,
}

impl Question {
    /// About a name of a cluster.
    #[must_use]
    pub fn about(target: &DnsTarget, family: Family) -> Self {
        Self {
            host: Arc::clone(&target.host),
            family,
            is_service: target.is_service(),
        }
    }
}

/// What a name stands for; at least one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its addresses.
    pub found: Vec<Found>,
    /// For how long that is so, where the resolver tells.
    pub ttl: Option<Duration>,
}

impl From<(Vec<IpAddr>, Option<Duration>)> for Answer {
    fn from((addresses, ttl): (Vec<IpAddr>, Option<Duration>)) -> Self {
        let found = addresses.into_iter().map(Found::from).collect();
        Self { found, ttl }
    }
}

impl Answer {
    /// Itself, unless there is nothing in it.
    fn not_empty(self) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        if self.found.is_empty() {
            return Err("it has no address that is wanted".into());
        }
        Ok(self)
    }
}

/// An address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The address.
    pub ip: IpAddr,
    /// What its SRV record says, where there is one.
    pub service: Option<Service>,
}

impl From<IpAddr> for Found {
    fn from(ip: IpAddr) -> Self {
        Self { ip, service: None }
    }
}

/// What an SRV record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The port.
    pub port: u16,
    /// How often it is chosen, in proportion to others of its rank.
    pub weight: u16,
    /// How many lower priorities the answer has: those of 0 are used first.
    pub rank: u32,
}

/// A name could not be resolved, or there is no such name.
#[derive(Debug, thiserror::Error)]
#[error("resolving \"{host}\"")]
pub struct DnsError {
    /// The name.
    pub host: Arc<str>,
    /// What the resolver says.
    #[source]
    pub cause: Box<dyn StdError + Send + Sync>,
}

/// The resolvers of a process: clusters that want the same have the same.
#[derive(Default)]
pub struct Resolvers {
    known: RefCell<HashMap<Arc<ResolverSpec>, Rc<dyn Resolve>>>,
}

impl Resolvers {
    /// The resolver that `spec` asks for.
    pub fn of(&self, spec: &Arc<ResolverSpec>) -> Rc<dyn Resolve> {
        let mut known = self.known.borrow_mut();
        let resolver = known
            .entry(Arc::clone(spec))
            .or_insert_with(|| match &**spec {
                ResolverSpec::System => Rc::new(System),
                ResolverSpec::Stub(spec) => Rc::new(Stub::new(spec.clone())),
            });
        Rc::clone(resolver)
    }
}

/// The system's resolver (`getaddrinfo`): `/etc/nsswitch.conf` and whatever else the machine is set up
/// with. It blocks, so it runs on the runtime's blocking threads.
#[derive(Clone, Copy, Debug, Default)]
struct System;

impl Resolve for System {
    fn resolve(&self, question: &Question) -> Resolving {
        let Question {
            host,
            family,
            is_service,
        } = question.clone();
        Box::pin(async move {
            if is_service {
                let cause = "the system's resolver does not know SRV records".into();
                return Err(DnsError { host, cause });
            }
            let asked = tokio::net::lookup_host((&*host, 0)).await;
            let asked = asked.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
            let answer = match asked {
                Ok(found) => Answer::from((select(&found, family), None)).not_empty(),
                Err(cause) => Err(cause.into()),
            };
            answer.map_err(|cause| DnsError { host, cause })
        })
    }
}

/// Those of a name's addresses that `family` wants, in order, each once.
#[must_use]
pub fn select(addresses: &[IpAddr], family: Family) -> Vec<IpAddr> {
    let of = |wanted: fn(&IpAddr) -> bool| -> Vec<IpAddr> {
        addresses.iter().copied().filter(wanted).collect()
    };
    let (v4, v6) = (of(IpAddr::is_ipv4), of(IpAddr::is_ipv6));
    let mut chosen = match family {
        Family::Auto if v6.is_empty() => v4,
        Family::V4Preferred if v4.is_empty() => v6,
        Family::V4Only | Family::V4Preferred => v4,
        Family::V6Only | Family::Auto => v6,
        Family::All => addresses.into(),
    };
    let mut seen = HashSet::new();
    chosen.retain(|address| seen.insert(*address));
    chosen
}

#[cfg(test)]
mod tests;
