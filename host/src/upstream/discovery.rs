//! Which endpoints a cluster has, as answers about its names come in.
//!
//! Owns the membership of one cluster, as a state machine: an endpoint that is found again stays
//! the same object, with its health and counts; one that is found no more leaves, unless its health
//! checks still pass. Also when to ask again. Driven by `control`. Does not own: resolving (`dns`)
//! and publishing.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::balance::Random;
use super::endpoint::{Checks, Endpoint, Health};
use super::spec::{DnsSpec, DnsTarget};
use crate::address::Address;

/// The endpoints of one cluster.
#[derive(Debug)]
pub struct Membership {
    /// The last answer about each name.
    answers: Vec<Vec<IpAddr>>,
    endpoints: Vec<Arc<Endpoint>>,
    checks: Checks,
    keeps_healthy: bool,
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
    /// Endpoints that are given once and for all.
    #[must_use]
    pub fn fixed(endpoints: Vec<Arc<Endpoint>>) -> Self {
        Self {
            answers: Vec::new(),
            endpoints,
            checks: Checks::default(),
            keeps_healthy: false,
        }
    }

    /// Nothing yet, for `names` names. `checks` says how endpoints are checked, and `keeps_healthy`
    /// that an endpoint that passes them outlives its disappearance.
    #[must_use]
    pub fn resolved(names: usize, checks: Checks, keeps_healthy: bool) -> Self {
        Self {
            answers: vec![Vec::new(); names],
            endpoints: Vec::new(),
            checks,
            keeps_healthy,
        }
    }

    /// The endpoints now.
    #[must_use]
    pub const fn endpoints(&self) -> &Vec<Arc<Endpoint>> {
        &self.endpoints
    }

    /// Takes an answer about the name at `index` in `targets`. The order of an answer's addresses
    /// says nothing: resolvers rotate it.
    pub fn answer(
        &mut self,
        targets: &[DnsTarget],
        index: usize,
        addresses: Vec<IpAddr>,
    ) -> Change {
        let Some(known) = self.answers.get_mut(index) else {
            return Change::default();
        };
        let as_set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<HashSet<_>>();
        if as_set(known) == as_set(&addresses) {
            return Change::default();
        }
        *known = addresses;
        self.merge(targets)
    }

    fn merge(&mut self, targets: &[DnsTarget]) -> Change {
        let mut change = Change::default();
        let mut known: HashMap<Address, Arc<Endpoint>> = self
            .endpoints
            .drain(..)
            .map(|endpoint| (endpoint.address.clone(), endpoint))
            .collect();
        let mut placed = HashSet::new();
        for (target, addresses) in targets.iter().zip(&self.answers) {
            for address in addresses {
                let address = Address::from(SocketAddr::new(*address, target.port));
                if !placed.insert(address.clone()) {
                    continue;
                }
                let endpoint = if let Some(endpoint) = known.remove(&address) {
                    let weight = target.traits.weight.max(1);
                    change.altered |= endpoint.weight() != weight;
                    endpoint.set_weight(weight);
                    change.altered |= endpoint.health().has(Health::PENDING_DYNAMIC_REMOVAL);
                    endpoint.health().clear(Health::PENDING_DYNAMIC_REMOVAL);
                    endpoint
                } else {
                    change.added += 1;
                    let traits = Arc::clone(&target.traits);
                    Arc::new(Endpoint::new(address, traits, self.checks))
                };
                self.endpoints.push(endpoint);
            }
        }
        let mut leaving: Vec<_> = known.into_values().collect();
        leaving.sort_unstable_by_key(|endpoint| endpoint.id);
        for endpoint in leaving {
            if self.checks.active && self.keeps_healthy && endpoint.passes_checks() {
                change.altered |= !endpoint.health().has(Health::PENDING_DYNAMIC_REMOVAL);
                endpoint.health().set(Health::PENDING_DYNAMIC_REMOVAL);
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

/// When to ask about one name again.
#[derive(Debug)]
pub struct Schedule {
    spec: DnsSpec,
    failures: u32,
}

impl Schedule {
    /// As `spec` says.
    #[must_use]
    pub const fn new(spec: DnsSpec) -> Self {
        Self { spec, failures: 0 }
    }

    /// Whether the last question failed.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How long to wait after an answer.
    pub fn answered(&mut self, random: &mut Random) -> Duration {
        self.failures = 0;
        self.spec.refresh + up_to(self.spec.jitter, random)
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::spec::Traits;

    const CHECKED: Checks = Checks {
        active: true,
        passive: false,
    };

    fn ip(n: u8) -> IpAddr {
        [127, 0, 0, n].into()
    }

    fn ips(of: &[u8]) -> Vec<IpAddr> {
        of.iter().map(|n| ip(*n)).collect()
    }

    fn addresses(membership: &Membership) -> Vec<String> {
        membership
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect()
    }

    #[test]
    fn endpoints_that_are_found_again_stay_the_same() {
        let mut targets = [DnsTarget::new("a", 80)];
        let mut membership = Membership::resolved(1, Checks::default(), true);
        let change = membership.answer(&targets, 0, ips(&[1, 2]));
        assert_eq!(
            change,
            Change {
                added: 2,
                ..Change::default()
            }
        );
        let kept = Arc::clone(&membership.endpoints()[1]);
        assert_eq!(kept.hostname.as_deref(), Some("a"));
        assert!(kept.passes_checks());

        assert!(
            !membership.answer(&targets, 0, ips(&[2, 1])).is_any(),
            "only rotated"
        );
        let change = membership.answer(&targets, 0, ips(&[3, 2]));
        assert_eq!(
            change,
            Change {
                added: 1,
                removed: 1,
                altered: false
            }
        );
        assert_eq!(addresses(&membership), ["127.0.0.3:80", "127.0.0.2:80"]);
        assert!(Arc::ptr_eq(&kept, &membership.endpoints()[1]));

        targets[0].traits = Arc::new(Traits {
            weight: 7,
            ..Traits::default()
        });
        let change = membership.answer(&targets, 0, ips(&[2]));
        assert_eq!(
            change,
            Change {
                added: 0,
                removed: 1,
                altered: true
            }
        );
        assert_eq!(kept.weight(), 7);
        let change = membership.answer(&targets, 0, Vec::new());
        assert_eq!((change.removed, membership.endpoints().len()), (1, 0));
    }

    #[test]
    fn names_that_share_an_address_share_the_endpoint() {
        let targets = [
            DnsTarget::new("a", 80),
            DnsTarget::new("b", 80),
            DnsTarget::new("a", 81),
        ];
        let mut membership = Membership::resolved(3, Checks::default(), true);
        membership.answer(&targets, 1, ips(&[1, 2]));
        membership.answer(&targets, 0, ips(&[1]));
        membership.answer(&targets, 2, ips(&[1]));
        assert_eq!(
            addresses(&membership),
            ["127.0.0.1:80", "127.0.0.2:80", "127.0.0.1:81"]
        );
        let change = membership.answer(&targets, 0, Vec::new());
        assert!(!change.is_any(), "the other name still has it: {change:?}");
    }

    #[test]
    fn a_healthy_endpoint_outlives_its_disappearance_until_a_check_fails() {
        let targets = [DnsTarget::new("a", 80)];
        for keeps_healthy in [true, false] {
            let mut membership = Membership::resolved(1, CHECKED, keeps_healthy);
            membership.answer(&targets, 0, ips(&[1, 2]));
            let [passing, failing] = &membership.endpoints()[..] else {
                panic!("two")
            };
            let (passing, failing) = (Arc::clone(passing), Arc::clone(failing));
            assert!(!passing.passes_checks(), "nobody has looked yet");
            passing
                .health()
                .clear(Health::FAILED_ACTIVE_HC | Health::PENDING_ACTIVE_HC);
            let change = membership.answer(&targets, 0, Vec::new());
            if !keeps_healthy {
                assert_eq!(change.removed, 2);
                continue;
            }
            assert_eq!(
                change,
                Change {
                    added: 0,
                    removed: 1,
                    altered: true
                }
            );
            assert!(Arc::ptr_eq(&passing, &membership.endpoints()[0]));
            assert!(passing.health().has(Health::PENDING_DYNAMIC_REMOVAL));
            assert!(!failing.health().has(Health::PENDING_DYNAMIC_REMOVAL));

            let change = membership.answer(&targets, 0, ips(&[1]));
            assert!(change.altered && !passing.health().has(Health::PENDING_DYNAMIC_REMOVAL));
            membership.answer(&targets, 0, Vec::new());
            assert!(!membership.drop_failed().is_any());
            passing.health().set(Health::FAILED_ACTIVE_HC);
            assert_eq!(membership.drop_failed().removed, 1);
        }
    }

    #[test]
    fn failures_back_off_and_an_answer_ends_it() {
        let mut random = Random::new(3);
        let seconds = Duration::from_secs;
        let spec = DnsSpec {
            failure_base: Some(seconds(2)),
            ..DnsSpec::default()
        };
        let mut schedule = Schedule::new(spec);
        for most in [2, 4, 8, 16, 20, 20] {
            let wait = schedule.failed(&mut random);
            assert!(
                wait <= seconds(most) && wait >= seconds(most) / 2,
                "{wait:?} of {most}"
            );
            assert!(schedule.is_failing());
        }
        assert_eq!(schedule.answered(&mut random), seconds(5));
        assert!(!schedule.is_failing());
        assert!(schedule.failed(&mut random) <= seconds(2));
        let mut plain = Schedule::new(DnsSpec::default());
        assert_eq!(
            (plain.failed(&mut random), plain.failed(&mut random)),
            (seconds(5), seconds(5))
        );
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bound(seed in any::<u64>(), jitter in 0_u64..100_000) {
            let mut random = Random::new(seed);
            let jitter = Duration::from_micros(jitter);
            let mut schedule = Schedule::new(DnsSpec { jitter, ..DnsSpec::default() });
            let wait = schedule.answered(&mut random);
            prop_assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(5) + jitter);
        }

        #[test]
        fn membership_is_the_union_of_the_answers(
            answers in prop::collection::vec((0_usize..3, prop::collection::vec(0_u8..6, 0..5)), 1..12)
        ) {
            let targets = ["a", "b", "c"].map(|name| DnsTarget::new(name, 80));
            let mut membership = Membership::resolved(3, Checks::default(), true);
            let mut last = [const { Vec::new() }; 3];
            let mut size = 0;
            for (index, answer) in answers {
                let change = membership.answer(&targets, index, ips(&answer));
                last[index] = answer;
                let union: HashSet<u8> = last.iter().flatten().copied().collect();
                prop_assert_eq!(membership.endpoints().len(), union.len());
                prop_assert_eq!(size + change.added - change.removed, union.len());
                size = union.len();
            }
        }
    }
}
