//! What a set of endpoints looks like to a balancer.
//!
//! Owns [`Layout`]: levels, their endpoints by health and locality, how load is shared, and the
//! tables of consistent hashing. It is made once for each publication and shared by all workers,
//! which keep only whose turn it is. Does not own: subsets (`subset`), which are layouts of their
//! own, or the choice (`super::Balancer`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::level::{Capacity, Census, Kind, Load, Split};
use super::maglev::Maglev;
use super::ring::Ring;
use super::table::{Places, Table};
use super::zone::{Home, Without, Zones};
use crate::address::Address;
use crate::upstream::metadata::{HASH_KEY, Value};
use crate::upstream::spec::{Balancing, Hashing, Locality, Policy, Traits};

/// An endpoint as a layout sees it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its index in the publication.
    pub index: u32,
    /// Where it is.
    pub address: &'a Address,
    /// What the configuration says about it.
    pub traits: &'a Traits,
    /// Its weight, at least 1.
    pub weight: u32,
    /// How it is.
    pub state: State,
    /// Whether it does not count for the health of its level.
    pub is_excluded: bool,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may be used.
    Healthy,
    /// It may be used where healthy ones do not suffice.
    Degraded,
    /// It may be used in a panic alone.
    Unhealthy,
}

/// Which weights localities have, where they are chosen by weight.
#[derive(Clone, Copy, Debug)]
pub enum LocalityWeights<'a> {
    /// As configured.
    Given,
    /// None: a subset that does not keep them.
    None,
    /// Scaled by how much of a locality, of these, is there.
    Scaled(&'a [Member<'a>]),
}

/// Several endpoints, by their indices, in the order of the publication.
pub(super) type Group = Vec<u32>;

/// Groups with weights: of healthy endpoints, and of degraded ones.
pub(super) type ByLocality = [Vec<(usize, f64)>; 2];

/// See the module's page.
#[derive(Debug, Default)]
pub struct Layout {
    pub(super) groups: Vec<Group>,
    pub(super) levels: Vec<Level>,
    pub(super) capacities: Vec<Capacity>,
    pub(super) load: Load,
    /// The level that all load goes to, where there is one.
    pub(super) only: Option<(usize, Kind)>,
    /// Why requests do not stay in the proxy's locality, where they might.
    pub(super) without_zones: Option<Without>,
}

/// The endpoints of one priority.
#[derive(Debug)]
pub(super) struct Level {
    /// Whether health is disregarded because too few endpoints are healthy.
    pub(super) panics: bool,
    pub(super) endpoints: Endpoints,
}

/// How endpoints of a level are chosen. Numbers are places in [`Layout::groups`].
#[derive(Debug)]
pub(super) enum Endpoints {
    /// One after the other, or by load, or by chance.
    Turns {
        all: usize,
        healthy: usize,
        degraded: usize,
        /// Localities with their weights, for healthy and for degraded endpoints; those that can
        /// carry anything.
        localities: Option<Box<ByLocality>>,
        /// How healthy endpoints are shared by localities, where the proxy's own comes first.
        zones: Option<Box<Zones>>,
    },
    /// By a hash.
    Placed(Table),
}

impl Layout {
    /// Of `members`.
    #[must_use]
    pub fn new(
        balancing: &Balancing,
        members: &[Member<'_>],
        weights: LocalityWeights<'_>,
        home: Option<&Home>,
    ) -> Self {
        let levels = members
            .iter()
            .map(|member| member.traits.level as usize + 1);
        // As in Envoy there is a first level even without endpoints, and it panics.
        let mut by_level: Vec<Vec<Member<'_>>> = vec![Vec::new(); levels.max().unwrap_or(1)];
        for member in members {
            if let Some(level) = by_level.get_mut(member.traits.level as usize) {
                level.push(*member);
            }
        }
        let sizes: Vec<u64> = by_level.iter().map(|level| level.len() as u64).collect();
        let heads: Vec<Census> = by_level.iter().map(|level| census(level, |_| 1)).collect();
        let capacities: Vec<Capacity> = by_level
            .iter()
            .zip(&heads)
            .map(|(level, heads)| {
                let census = if balancing.weighs_health {
                    census(level, |member| member.weight.into())
                } else {
                    *heads
                };
                Capacity::new(census, balancing.overprovisioning)
            })
            .collect();
        let split = Split::new(&sizes, &heads, &capacities, balancing.panic_threshold);
        let mut layout = Self {
            only: split.load.only(),
            load: split.load,
            capacities,
            ..Self::default()
        };
        // As in Envoy locality counts in the first level alone.
        let homes = std::iter::once(home).chain(std::iter::repeat(None));
        for ((level, panics), home) in by_level.iter().zip(split.panic).zip(homes) {
            layout.add_level(balancing, level, panics, weights, home);
        }
        layout
    }

    fn add_level(
        &mut self,
        balancing: &Balancing,
        members: &[Member<'_>],
        panics: bool,
        weights: LocalityWeights<'_>,
        home: Option<&Home>,
    ) {
        let by_locality = if balancing.by_locality {
            by_locality(members, weights)
        } else {
            Vec::new()
        };
        if let Some(table) = table(balancing.policy, members, &by_locality, panics) {
            let endpoints = Endpoints::Placed(table);
            self.levels.push(Level { panics, endpoints });
            return;
        }
        let localities = (!by_locality.is_empty()).then(|| {
            let by_state = [State::Healthy, State::Degraded].map(|state| {
                let mut usable = Vec::new();
                for (weight, members) in &by_locality {
                    let weight = effective_weight(*weight, members, state, balancing);
                    if weight > 0.0 {
                        usable.push((self.add_group(members, Some(state)), weight));
                    }
                }
                usable
            });
            Box::new(by_state)
        });
        let zones = balancing.zones.as_ref().zip(home).and_then(|(spec, home)| {
            let healthy = Some(State::Healthy);
            let zones = Zones::new(spec, home, members, |zone| self.add_group(zone, healthy));
            self.without_zones = zones.as_ref().err().copied();
            zones.ok().map(Box::new)
        });
        let endpoints = Endpoints::Turns {
            all: self.add_group(members, None),
            healthy: self.add_group(members, Some(State::Healthy)),
            degraded: self.add_group(members, Some(State::Degraded)),
            localities,
            zones,
        };
        self.levels.push(Level { panics, endpoints });
    }

    /// Whether the first level panics.
    pub(super) fn panics(&self) -> bool {
        self.levels.first().is_some_and(|level| level.panics)
    }

    fn add_group(&mut self, members: &[Member<'_>], state: Option<State>) -> usize {
        let chosen = members
            .iter()
            .filter(|member| state.is_none_or(|state| member.state == state));
        self.groups
            .push(chosen.map(|member| member.index).collect());
        self.groups.len() - 1
    }

    /// The tables of consistent hashing, highest level first.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.levels
            .iter()
            .filter_map(|level| match &level.endpoints {
                Endpoints::Placed(table) => Some(table),
                Endpoints::Turns { .. } => None,
            })
    }
}

/// Counts the endpoints of a level, each as much as `worth` says.
fn census(members: &[Member<'_>], worth: fn(&Member<'_>) -> u64) -> Census {
    let counted = || members.iter().filter(|member| !member.is_excluded);
    let of = |state: State| {
        let those = members.iter().filter(|member| member.state == state);
        those.map(worth).sum()
    };
    Census {
        counted: counted().map(worth).sum(),
        healthy: of(State::Healthy),
        degraded: of(State::Degraded),
    }
}

/// The localities of a level with their weights, in Envoy's order; none where they have none.
fn by_locality<'a>(
    members: &[Member<'a>],
    weights: LocalityWeights<'_>,
) -> Vec<(u32, Vec<Member<'a>>)> {
    let mut sorted: BTreeMap<&Locality, Vec<Member<'a>>> = BTreeMap::new();
    for member in members {
        sorted
            .entry(&member.traits.locality)
            .or_default()
            .push(*member);
    }
    let weight = |locality: &Locality, members: &[Member<'_>]| {
        let given = members
            .first()
            .map_or(0, |member| member.traits.locality_weight);
        match weights {
            LocalityWeights::Given => given,
            LocalityWeights::None => 0,
            LocalityWeights::Scaled(all) => {
                let level = members.first().map(|member| member.traits.level);
                let of_it = all.iter().filter(|other| {
                    *other.traits.locality == *locality && Some(other.traits.level) == level
                });
                scaled(given, members.len(), of_it.count())
            }
        }
    };
    if matches!(weights, LocalityWeights::None) {
        return Vec::new();
    }
    sorted
        .into_iter()
        .map(|(locality, members)| (weight(locality, &members), members))
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a weight is one, and nobody has 2^52 endpoints"
)]
fn scaled(weight: u32, part: usize, whole: usize) -> u32 {
    if whole == 0 {
        return 0;
    }
    (f64::from(weight) * part as f64 / whole as f64).round() as u32
}

/// A locality's weight, less what its endpoints cannot carry.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 endpoints")]
fn effective_weight(
    weight: u32,
    members: &[Member<'_>],
    state: State,
    balancing: &Balancing,
) -> f64 {
    let counted = members.iter().filter(|member| !member.is_excluded).count();
    if counted == 0 {
        return 0.0;
    }
    let usable = members
        .iter()
        .filter(|member| member.state == state)
        .count();
    let ratio = usable as f64 / counted as f64;
    let factor = f64::from(balancing.overprovisioning) / 100.0;
    f64::from(weight) * (factor * ratio).min(1.0)
}

/// Places the healthy endpoints of a level, or in a panic all.
fn table(
    policy: Policy,
    members: &[Member<'_>],
    by_locality: &[(u32, Vec<Member<'_>>)],
    panics: bool,
) -> Option<Table> {
    let (Policy::Ring { hashing, .. } | Policy::Maglev { hashing, .. }) = policy else {
        return None;
    };
    let shares = shares(members, by_locality, panics);
    let keys: Vec<Cow<'_, str>> = shares.iter().map(|(m, _)| key(m, hashing)).collect();
    let keyed: Vec<(&str, f64)> = keys
        .iter()
        .zip(&shares)
        .map(|(key, (_, share))| (&**key, *share))
        .collect();
    let places = match policy {
        Policy::Ring { ring, .. } => Places::Ring(Ring::new(ring, &keyed)),
        Policy::Maglev { size, .. } => Places::Maglev(Maglev::new(size, &keyed)),
        Policy::RoundRobin | Policy::LeastRequest { .. } | Policy::Random | Policy::Provided => {
            return None;
        }
    };
    let placed = shares.iter().map(|(m, share)| (m.index, *share)).collect();
    let factor = hashing.balance_factor.map(NonZeroU32::get);
    Some(Table::new(places, placed, factor))
}

/// The parts of all requests that endpoints of a level are to have.
fn shares<'a>(
    members: &[Member<'a>],
    by_locality: &[(u32, Vec<Member<'a>>)],
    panics: bool,
) -> Vec<(Member<'a>, f64)> {
    let mut shares = Vec::new();
    let mut add = |members: &[Member<'a>], part: f64| {
        let used = || {
            let usable = |member: &&Member<'a>| panics || member.state == State::Healthy;
            members.iter().filter(usable)
        };
        let sum: f64 = used().map(|member| f64::from(member.weight)).sum();
        shares.extend(used().map(|m| (*m, f64::from(m.weight) * part / sum)));
    };
    if by_locality.is_empty() {
        add(members, 1.0);
        return shares;
    }
    let sum: f64 = by_locality
        .iter()
        .map(|(weight, _)| f64::from(*weight))
        .sum();
    for (weight, members) in by_locality.iter().filter(|(weight, _)| *weight > 0) {
        add(members, f64::from(*weight) / sum);
    }
    shares
}

/// What an endpoint is placed by.
fn key<'a>(member: &Member<'a>, hashing: Hashing) -> Cow<'a, str> {
    if let Some(Value::Text(key)) = member.traits.metadata.get(HASH_KEY)
        && !key.is_empty()
    {
        return Cow::Borrowed(key);
    }
    match &member.traits.hostname {
        Some(hostname) if hashing.by_hostname => Cow::Borrowed(hostname),
        _ => Cow::Owned(member.address.to_string()),
    }
}
