//! Which endpoints a cluster has, as answers about its names come in.
//!
//! Owns the membership of one cluster, as a state machine: an endpoint that is found again stays
//! the same object, with its health and counts; one that is found no more leaves, unless its health
//! checks still pass. Also when to ask again. Driven by `control`. Does not own: resolving (`dns`)
//! and publishing.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::Random;
use super::dns::{Answer, Found};
use super::endpoint::{Checks, Endpoint, Health};
use super::spec::{DnsSpec, DnsTarget, StaticEndpoint, Traits};
use crate::address::Address;
use crate::limits;

/// The endpoints of one cluster.
#[derive(Debug)]
pub struct Membership {
    /// The last answer about each name.
    answers: Vec<Vec<Found>>,
    endpoints: Vec<Arc<Endpoint>>,
    checks: Checks,
    keeps_healthy: bool,
    /// Whether all that a name stands for is one endpoint.
    is_logical: bool,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How many endpoints are new.
    pub added: usize,
    /// How many left.
    pub removed: usize,
    /// Whether something else is to be published: a weight, or that an endpoint is about to leave.
    pub altered: bool,
}

impl Change {
    /// Whether anything is to be published.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.added > 0 || self.removed > 0 || self.altered
    }
}

impl Membership {
    /// Endpoints that are given. `checks` says how endpoints are checked, and `keeps_healthy` that an
    /// endpoint that passes them outlives its disappearance.
    #[must_use]
    pub const fn given(endpoints: Vec<Arc<Endpoint>>, checks: Checks, keeps_healthy: bool) -> Self {
        Self {
            answers: Vec::new(),
            endpoints,
            checks,
            keeps_healthy,
            is_logical: false,
        }
    }

    /// Nothing yet, for `names` names.
    #[must_use]
    pub fn resolved(names: usize, checks: Checks, keeps_healthy: bool) -> Self {
        Self {
            answers: vec![Vec::new(); names],
            ..Self::given(Vec::new(), checks, keeps_healthy)
        }
    }

    /// Nothing yet, for one name that is one endpoint.
    #[must_use]
    pub fn logical(checks: Checks) -> Self {
        Self {
            is_logical: true,
            ..Self::resolved(1, checks, false)
        }
    }

    /// The endpoints now.
    #[must_use]
    pub const fn endpoints(&self) -> &Vec<Arc<Endpoint>> {
        &self.endpoints
    }

    /// Takes an answer about the name at `index` in `targets`. The order of an answer's addresses
    /// says nothing, except where only the first counts: resolvers rotate it.
    pub fn answer(&mut self, targets: &[DnsTarget], index: usize, answer: Answer) -> Change {
        let Some(known) = self.answers.get_mut(index) else {
            return Change::default();
        };
        if self.is_logical {
            return self.move_to(targets, &answer);
        }
        let as_set = |found: &[Found]| found.iter().copied().collect::<HashSet<_>>();
        if as_set(known) == as_set(&answer.found) {
            return Change::default();
        }
        *known = answer.found;
        let answers = targets.iter().zip(&self.answers);
        let wanted = answers.flat_map(|(target, found)| {
            found.iter().map(|found| {
                let (port, traits) = described(target, found);
                (SocketAddr::new(found.ip, port).into(), traits)
            })
        });
        let wanted = wanted.collect();
        self.merge(wanted)
    }

    /// Takes a list of endpoints in place of those that are there.
    pub fn assign(&mut self, endpoints: &[StaticEndpoint]) -> Change {
        let wanted = endpoints
            .iter()
            .map(|endpoint| (endpoint.address.clone(), Arc::clone(&endpoint.traits)));
        self.merge(wanted.collect())
    }

    /// Takes endpoints that somebody else has made in place of those that are there.
    pub fn hold(&mut self, endpoints: Vec<Arc<Endpoint>>) -> Change {
        let ids = |endpoints: &[Arc<Endpoint>]| {
            let ids = endpoints.iter().map(|endpoint| endpoint.id);
            ids.collect::<HashSet<_>>()
        };
        let (before, now) = (ids(&self.endpoints), ids(&endpoints));
        self.endpoints = endpoints;
        Change {
            added: now.difference(&before).count(),
            removed: before.difference(&now).count(),
            altered: false,
        }
    }

    /// The one endpoint is at the first address of `answer` from now on.
    fn move_to(&mut self, targets: &[DnsTarget], answer: &Answer) -> Change {
        let (Some(target), Some(found)) = (targets.first(), answer.found.first()) else {
            return Change::default();
        };
        let (port, traits) = described(target, found);
        let address = Address::from(SocketAddr::new(found.ip, port));
        let Some(endpoint) = self.endpoints.first() else {
            let endpoint = Endpoint::moving(address, traits, self.checks);
            self.endpoints.push(Arc::new(endpoint));
            return Change {
                added: 1,
                ..Change::default()
            };
        };
        let altered = endpoint.now_at() != address;
        if altered {
            endpoint.move_to(address);
        }
        Change {
            altered,
            ..Change::default()
        }
    }

    fn merge(&mut self, wanted: Vec<(Address, Arc<Traits>)>) -> Change {
        let mut change = Change::default();
        let mut known: HashMap<Address, Arc<Endpoint>> = self
            .endpoints
            .drain(..)
            .map(|endpoint| (endpoint.now_at(), endpoint))
            .collect();
        let mut placed = HashSet::new();
        for (address, traits) in wanted {
            if !placed.insert(address.clone()) {
                continue;
            }
            let Some(endpoint) = known.remove(&address) else {
                change.added += 1;
                let endpoint = Endpoint::new(address, traits, self.checks);
                self.endpoints.push(Arc::new(endpoint));
                continue;
            };
            let Some(altered) = endpoint.adopt(&traits) else {
                // It has moved to another name, or into another locality.
                change.added += 1;
                change.removed += 1;
                let successor = endpoint.successor(traits, self.checks);
                self.endpoints.push(Arc::new(successor));
                continue;
            };
            change.altered |= altered;
            change.altered |= endpoint.health().clear(Health::PENDING_DYNAMIC_REMOVAL);
            self.endpoints.push(endpoint);
        }
        let mut leaving: Vec<_> = known.into_values().collect();
        leaving.sort_unstable_by_key(|endpoint| endpoint.id);
        for endpoint in leaving {
            if self.checks.active && self.keeps_healthy && endpoint.passes_checks() {
                change.altered |= endpoint.health().set(Health::PENDING_DYNAMIC_REMOVAL);
                self.endpoints.push(endpoint);
            } else {
                change.removed += 1;
            }
        }
        change
    }

    /// Lets endpoints go that discovery dropped earlier and that fail their health checks now.
    pub fn drop_failed(&mut self) -> Change {
        let before = self.endpoints.len();
        self.endpoints.retain(|endpoint| {
            endpoint.passes_checks() || !endpoint.health().has(Health::PENDING_DYNAMIC_REMOVAL)
        });
        Change {
            removed: before - self.endpoints.len(),
            ..Change::default()
        }
    }
}

/// The port of an address, and what is known about the endpoint there.
fn described(target: &DnsTarget, found: &Found) -> (u16, Arc<Traits>) {
    let Some(service) = found.service else {
        return (target.port, Arc::clone(&target.traits));
    };
    let mut traits = Arc::clone(&target.traits);
    let changed = Arc::make_mut(&mut traits);
    changed.weight = u32::from(service.weight).max(1);
    let level = changed.level.saturating_add(service.rank);
    changed.level = level.min(limits::PRIORITY_MAX);
    (service.port, traits)
}

/// When to ask about one name again.
#[derive(Debug)]
pub struct Schedule {
    spec: DnsSpec,
    failures: u32,
    /// When the last answer came.
    answered: Option<Instant>,
}

impl Schedule {
    /// As `spec` says.
    #[must_use]
    pub const fn new(spec: DnsSpec) -> Self {
        Self {
            spec,
            failures: 0,
            answered: None,
        }
    }

    /// Whether the last question failed.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When the last answer came, where there was one.
    #[must_use]
    pub const fn answered_at(&self) -> Option<Instant> {
        self.answered
    }

    /// How long to wait after an answer that came now, and that is good for `ttl`.
    pub fn answered(
        &mut self,
        now: Instant,
        ttl: Option<Duration>,
        random: &mut Random,
    ) -> Duration {
        self.failures = 0;
        self.answered = Some(now);
        // As in Envoy 0 is no time to live.
        let told = ttl.filter(|ttl| self.spec.respects_ttl && !ttl.is_zero());
        let wait = told.map_or(self.spec.refresh, |ttl| ttl.max(self.spec.min_refresh));
        wait + up_to(self.spec.jitter, random)
    }

    /// How long to wait after a failure: the refresh rate, or where a failure rate is set, twice as
    /// long each time up to its maximum, less up to half of it at random.
    pub fn failed(&mut self, random: &mut Random) -> Duration {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let wait = match self.spec.failure_base {
            None => self.spec.refresh,
            Some(base) => {
                let most = self
                    .spec
                    .failure_max
                    .unwrap_or_else(|| base.saturating_mul(10));
                let longest = base.saturating_mul(1 << doublings).min(most);
                longest - up_to(longest / 2, random)
            }
        };
        wait + up_to(self.spec.jitter, random)
    }
}

/// A random time below `bound`.
pub(super) fn up_to(bound: Duration, random: &mut Random) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.below(nanos))
}

#[cfg(test)]
mod tests;
