//! Zone-aware routing: requests stay in the proxy's own locality as far as its endpoints suffice for
//! the proxies there.
//!
//! Owns Envoy's arithmetic from the endpoints of the cluster and of the proxies' own cluster to the
//! locality that a request goes to, and what is known of the latter. Called by `layout` and, for each
//! request, by `Balancer`. Does not own: which endpoint of a locality is chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::layout::{Member, State};
use super::{Note, Random};
use crate::upstream::spec::{Locality, ZoneSpec};

/// Shares are counted in these.
const WHOLE: u64 = 10_000;

/// The proxies' own cluster (`local_cluster_name`), as all others see it.
#[derive(Debug)]
pub struct Home {
    /// Its name.
    pub cluster: Arc<str>,
    /// Where this proxy is (`node.locality`).
    locality: Locality,
    census: ArcSwap<HomeCensus>,
    changed: watch::Sender<()>,
}

/// What is in the proxies' own cluster.
#[derive(Debug, Default)]
struct HomeCensus {
    /// All localities that it is in, with their healthy endpoints.
    healthy: BTreeMap<Locality, Worth>,
    panics: bool,
}

/// How much a locality counts: its healthy endpoints, and the sum of their weights.
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    count: u64,
    weight: u64,
}

impl Worth {
    const fn by(self, weight: bool) -> u64 {
        if weight { self.weight } else { self.count }
    }
}

impl Home {
    /// That cluster, and where this proxy is. Nothing is in it yet.
    #[must_use]
    pub fn new(cluster: Arc<str>, locality: Locality) -> Self {
        Self {
            cluster,
            locality,
            census: ArcSwap::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Takes note of the cluster's endpoints; `panics` says that too few of them are healthy.
    pub(in crate::upstream) fn set(&self, members: &[Member<'_>], panics: bool) {
        let healthy = healthy(members.iter().filter(|m| m.traits.level == 0));
        self.census.store(Arc::new(HomeCensus { healthy, panics }));
        self.changed.send_replace(());
    }

    /// Tells of each [`Self::set`] from now on.
    pub(in crate::upstream) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

fn healthy<'m>(members: impl Iterator<Item = &'m Member<'m>>) -> BTreeMap<Locality, Worth> {
    let mut worth: BTreeMap<Locality, Worth> = BTreeMap::new();
    for member in members {
        let locality = worth
            .entry(Locality::clone(&member.traits.locality))
            .or_default();
        if member.state == State::Healthy {
            locality.count += 1;
            locality.weight += u64::from(member.weight);
        }
    }
    worth
}

/// How the healthy endpoints of a level are shared by localities. The first is the proxy's own, where there
/// are endpoints in it.
#[derive(Debug)]
pub(super) struct Zones {
    groups: Vec<usize>,
    routing: Routing,
    /// `routing_enabled` in percent.
    enabled: u32,
    home_panics: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Routing {
    /// All stay.
    Direct,
    /// Some stay, the others go where there is more than the proxies there need.
    Residual {
        /// How many of [`WHOLE`].
        stay: u64,
        /// What each locality has left, with those before it.
        left: Vec<u64>,
    },
}

/// Why there are no zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// The endpoints, or the proxies, are not in several localities.
    Zones,
    /// No proxy is known to be where this one is.
    Home,
    /// They are too few.
    Size,
}

impl Zones {
    /// For `members` of the first level; `add` gives a locality's healthy endpoints a group.
    pub(super) fn new(
        spec: &ZoneSpec,
        home: &Home,
        members: &[Member<'_>],
        mut add: impl FnMut(&[Member<'_>]) -> usize,
    ) -> Result<Self, Without> {
        let worth = healthy(members.iter());
        let census = home.census.load();
        let are_together = census.healthy.len() < 2 && spec.force_local.is_none();
        if worth.len() < 2 || are_together {
            return Err(Without::Zones);
        }
        if !census.healthy.contains_key(&home.locality) {
            return Err(Without::Home);
        }
        let all: u64 = worth.values().map(|worth| worth.count).sum();
        if all < spec.min_cluster_size {
            return Err(Without::Size);
        }
        let own = worth.get(&home.locality).copied();
        let others = worth.iter().filter(|(at, _)| **at != home.locality);
        let order: Vec<(&Locality, Worth)> = own
            .map(|own| (&home.locality, own))
            .into_iter()
            .chain(others.map(|(at, worth)| (at, *worth)))
            .collect();
        let forced = own.zip(spec.force_local);
        let routing = if forced.is_some_and(|(own, least)| own.count >= least) {
            Routing::Direct
        } else {
            routing(spec.by_weight, own.is_some(), &order, &census.healthy)
        };
        let groups = order.iter().map(|(at, _)| {
            let is_there = |member: &&Member<'_>| *member.traits.locality == **at;
            add(&members.iter().filter(is_there).copied().collect::<Vec<_>>())
        });
        Ok(Self {
            groups: groups.collect(),
            routing,
            enabled: spec.enabled,
            home_panics: census.panics,
        })
    }

    /// The group that a request goes to; none where locality does not matter.
    pub(super) fn choose(&self, random: &mut Random, note: impl Fn(Note)) -> Option<usize> {
        if random.below(100) >= u64::from(self.enabled) {
            return None;
        }
        if self.home_panics {
            note(Note::HomePanics);
            return None;
        }
        let at = match &self.routing {
            Routing::Direct => {
                note(Note::ZoneDirect);
                0
            }
            Routing::Residual { stay, .. } if random.below(WHOLE) < *stay => {
                note(Note::ZoneSampled);
                0
            }
            Routing::Residual { left, .. } => {
                note(Note::ZoneCrossed);
                match left.last() {
                    None | Some(0) => {
                        note(Note::ZoneFull);
                        random.index(self.groups.len())
                    }
                    Some(all) => {
                        let chosen = random.below(*all);
                        left.iter().take_while(|until| **until <= chosen).count()
                    }
                }
            }
        };
        self.groups.get(at).copied()
    }
}

/// By what share of the proxies, and of the endpoints, each locality has; `has_own` says that the first is
/// the proxy's own.
fn routing(
    by_weight: bool,
    has_own: bool,
    order: &[(&Locality, Worth)],
    home: &BTreeMap<Locality, Worth>,
) -> Routing {
    let share = |part: u64, all: u64| (part * WHOLE).checked_div(all).unwrap_or(0);
    let all: u64 = order.iter().map(|(_, worth)| worth.by(by_weight)).sum();
    let of_home: u64 = home.values().map(|worth| worth.by(by_weight)).sum();
    let shares = order.iter().map(|(at, worth)| {
        let proxies = home.get(*at).map_or(0, |worth| worth.by(by_weight));
        (share(worth.by(by_weight), all), share(proxies, of_home))
    });
    let shares: Vec<(u64, u64)> = shares.collect();
    let own = shares.first().filter(|_| has_own);
    let (endpoints, proxies) = own.copied().unwrap_or_default();
    if endpoints > 0 && endpoints >= proxies {
        return Routing::Direct;
    }
    let mut sum = 0;
    let left = shares.iter().enumerate().map(|(at, (endpoints, proxies))| {
        if at > 0 || !has_own {
            sum += endpoints.saturating_sub(*proxies);
        }
        sum
    });
    Routing::Residual {
        left: left.collect(),
        stay: share(endpoints, proxies),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::address::Address;
    use crate::upstream::spec::Traits;

    const HERE: Address = Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80));

    fn locality(zone: &str) -> Locality {
        Locality {
            zone: zone.to_owned(),
            ..Locality::default()
        }
    }

    /// Endpoints in zones: how many are healthy and how many are not.
    fn traits(zones: &[(&str, u32, u32)]) -> Vec<(Traits, State)> {
        let mut all = Vec::new();
        for (zone, healthy, failed) in zones {
            for n in 0..healthy + failed {
                let traits = Traits {
                    locality: Arc::new(locality(zone)),
                    ..Traits::default()
                };
                let state = if n < *healthy {
                    State::Healthy
                } else {
                    State::Unhealthy
                };
                all.push((traits, state));
            }
        }
        all
    }

    fn members(traits: &[(Traits, State)]) -> Vec<Member<'_>> {
        let members = (0_u32..)
            .zip(traits)
            .map(|(index, (traits, state))| Member {
                index,
                address: &HERE,
                traits,
                weight: 1,
                state: *state,
                is_excluded: false,
            });
        members.collect()
    }

    fn zones(
        spec: &ZoneSpec,
        here: &[(&str, u32, u32)],
        home: &[(&str, u32, u32)],
    ) -> Result<Zones, Without> {
        let at_home = Home::new("home".into(), locality("a"));
        at_home.set(&members(&traits(home)), false);
        let mut groups = 0;
        Zones::new(spec, &at_home, &members(&traits(here)), |_| {
            groups += 1;
            groups - 1
        })
    }

    fn small() -> ZoneSpec {
        ZoneSpec {
            min_cluster_size: 0,
            ..ZoneSpec::default()
        }
    }

    #[test]
    fn shares_are_envoys() {
        let residual = |stay, left: &[u64]| Routing::Residual {
            stay,
            left: left.to_vec(),
        };
        for (here, home, expected) in [
            (
                &[("a", 2, 0), ("b", 2, 0)][..],
                &[("a", 1, 0), ("b", 1, 0)][..],
                Routing::Direct,
            ),
            (
                &[("a", 2, 0), ("b", 1, 0)],
                &[("a", 1, 0), ("b", 1, 0)],
                Routing::Direct,
            ),
            (
                &[("a", 1, 0), ("b", 3, 0)],
                &[("a", 1, 0), ("b", 1, 0)],
                residual(5000, &[0, 2500]),
            ),
            (
                &[("a", 0, 2), ("b", 2, 0)],
                &[("a", 1, 0), ("b", 1, 0)],
                residual(0, &[0, 5000]),
            ),
            (
                &[("a", 1, 0), ("b", 1, 0), ("c", 2, 0)],
                &[("a", 2, 0), ("b", 0, 1), ("c", 2, 0)],
                residual(5000, &[0, 2500, 2500]),
            ),
            (
                &[("a", 1, 0), ("b", 1, 0)],
                &[("a", 0, 1), ("b", 0, 1)],
                Routing::Direct,
            ),
            (
                &[("a", 0, 1), ("b", 0, 1)],
                &[("a", 1, 0), ("b", 0, 1)],
                residual(0, &[0, 0]),
            ),
            // Nobody is where the proxy is.
            (
                &[("b", 7, 0), ("c", 3, 0)],
                &[("a", 1, 0), ("b", 1, 0)],
                residual(0, &[2000, 5000]),
            ),
        ] {
            assert_eq!(
                zones(&small(), here, home).unwrap().routing,
                expected,
                "{here:?} {home:?}"
            );
        }
    }

    #[test]
    fn some_clusters_have_no_zones() {
        let home = [("a", 1, 0), ("b", 1, 0)];
        let enough = [("a", 3, 0), ("b", 3, 0)];
        for (here, home, why) in [
            (&[("a", 9, 0)][..], &home[..], Without::Zones),
            (&[("a", 3, 9), ("b", 2, 0)], &home, Without::Size),
            (&[], &home, Without::Zones),
            (&enough, &[], Without::Zones),
            (&enough, &[("a", 2, 0)], Without::Zones),
            (&enough, &[("b", 1, 0), ("c", 1, 0)], Without::Home),
        ] {
            let found = zones(&ZoneSpec::default(), here, home);
            assert_eq!(found.map(|_| ()).unwrap_err(), why, "{here:?} {home:?}");
        }
        assert!(zones(&ZoneSpec::default(), &[("a", 3, 0), ("b", 3, 0)], &home).is_ok());
    }

    #[test]
    fn choices_follow_the_shares() {
        let notes = RefCell::new(Vec::new());
        let chosen = |zones: &Zones, times: usize| {
            let mut random = Random::new(7);
            let mut counts = vec![0; 3];
            notes.borrow_mut().clear();
            for _ in 0..times {
                match zones.choose(&mut random, |note| notes.borrow_mut().push(note)) {
                    Some(at) => counts[at] += 1,
                    None => counts[2] += 1,
                }
            }
            counts
        };
        let half = zones(
            &small(),
            &[("a", 1, 0), ("b", 3, 0)],
            &[("a", 1, 0), ("b", 1, 0)],
        );
        let mut half = half.unwrap();
        let counts = chosen(&half, 4_000);
        assert!(
            (1_850..2_150).contains(&counts[0]) && counts[2] == 0,
            "{counts:?}"
        );
        half.enabled = 0;
        assert_eq!(chosen(&half, 10), [0, 0, 10]);
        half.enabled = 100;
        half.home_panics = true;
        assert_eq!(chosen(&half, 10), [0, 0, 10]);
        assert_eq!(notes.borrow()[0], Note::HomePanics);
        let forced = ZoneSpec {
            force_local: Some(1),
            ..small()
        };
        let forced = zones(&forced, &[("a", 1, 0), ("b", 3, 0)], &[("a", 1, 0)]).unwrap();
        assert_eq!(chosen(&forced, 10), [10, 0, 0]);
        let home = [("a", 1, 0), ("b", 0, 1)];
        let full = zones(&small(), &[("a", 0, 1), ("b", 0, 1)], &home).unwrap();
        let counts = chosen(&full, 1_000);
        assert!(counts[0] > 400 && counts[1] > 400, "{counts:?}");
        assert!(notes.borrow().contains(&Note::ZoneFull));
    }
}
