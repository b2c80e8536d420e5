//! Load balancing: which endpoint a request goes to.
//!
//! Owns the choice, as state machines that are given everything they go by: weights, who is
//! healthy, random numbers and how busy each endpoint is. A [`Plan`] is made for each publication
//! of a cluster's endpoints and shared by all workers; each of them has a [`Balancer`], which keeps
//! whose turn it is.
//!
//! Does not own: endpoints, connections, or why an endpoint is unhealthy.
//!
//! The order of a choice: the subset that the request asks for, a level by priority and health, a
//! locality where localities have weights, and an endpoint by policy.

pub mod edf;
pub mod layout;
pub mod least_request;
pub mod level;
pub mod maglev;
mod murmur;
mod plan;
pub mod random;
pub mod ring;
pub mod round_robin;
mod scheduler;
pub mod subset;
pub mod table;
mod twister;
pub mod zone;

pub use plan::Plan;
pub use table::Busy;

use std::sync::Arc;

use self::edf::Edf;
use self::layout::{ByLocality, Endpoints, Layout, Level};
use self::level::{Kind, Load};
use self::scheduler::Scheduler;
use self::subset::{ANY, Found, Subsets};
use super::metadata::Criteria;
use super::spec::SlowStart;
use super::wish::{Levels, Wish};

/// A source of random numbers (SplitMix64). Statistical quality only; nothing secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence that depends on nothing but `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of all.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 where that is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is as even as 64 bits can be, and needs no division.
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// An index below `len`, or 0 where that is 0.
    #[expect(clippy::cast_possible_truncation, reason = "it is below a usize")]
    pub const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

/// What a balancer asks about the endpoints at indices.
pub trait Hosts: Busy {
    /// What the weight of an endpoint is now.
    fn weight(&self, index: u32) -> f64;
    /// Whether the request would rather go elsewhere.
    fn is_unwanted(&self, index: u32) -> bool;
    /// Counts what happened.
    fn note(&self, note: Note);
}

/// What a choice was like, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Health was disregarded.
    Panic,
    /// The subset that was asked for is there.
    Subset,
    /// The fallback took its place.
    Fallback,
    /// Any endpoint did, because the fallback had none.
    FallbackPanic,
    /// Localities were disregarded: too few of the proxies' own cluster are healthy.
    HomePanics,
    /// All requests stay in the proxy's locality.
    ZoneDirect,
    /// This one did.
    ZoneSampled,
    /// This one did not.
    ZoneCrossed,
    /// No locality has more than it needs.
    ZoneFull,
}

/// Chooses among the endpoints of one publication. See the module's page.
#[derive(Debug)]
pub struct Balancer {
    plan: Arc<Plan>,
    /// For each layout of the plan.
    rounds: Vec<Rounds>,
    /// Whether endpoints are in their slow start, so that weights change with time.
    is_slow: bool,
    picks: u64,
    /// Room for consistent hashing.
    scratch: Vec<u32>,
}

/// Whose turn it is in one layout.
#[derive(Debug, Default)]
struct Rounds {
    /// For each group, once it was needed.
    groups: Vec<Option<Scheduler>>,
    /// For each level: healthy and degraded endpoints by locality.
    localities: Vec<[Option<Edf>; 2]>,
}

/// One request's turn: what it asks for and what is asked about.
struct Turn<'a, H> {
    random: &'a mut Random,
    wish: &'a Wish<'a>,
    hosts: &'a H,
    picks: u64,
    is_slow: bool,
}

impl Balancer {
    /// For the endpoints of `plan`.
    ///
    /// `picks` is how many choices were made before, so that a round goes on where the last one
    /// stopped: with the worker's index at first, that also spreads the workers' first choices.
    /// `is_slow` tells that the weights of some endpoints will change with time.
    #[must_use]
    pub fn new(plan: Arc<Plan>, picks: u64, is_slow: bool) -> Self {
        let rounds = plan.layouts.iter().map(|_| Rounds::default()).collect();
        Self {
            plan,
            rounds,
            is_slow,
            picks,
            scratch: Vec::new(),
        }
    }

    /// The index of the endpoint that a request with this wish goes to; `None` where none may be
    /// used.
    pub fn pick(
        &mut self,
        random: &mut Random,
        wish: &Wish<'_>,
        hosts: &impl Hosts,
    ) -> Option<u32> {
        let mut turn = Turn {
            random,
            wish,
            hosts,
            picks: self.picks,
            is_slow: self.is_slow,
        };
        self.picks = self.picks.wrapping_add(1);
        let Self {
            plan,
            rounds,
            scratch,
            ..
        } = self;
        let plan: &Plan = plan;
        let mut choose = |layout: usize| {
            let rounds = rounds.get_mut(layout)?;
            turn.choose(plan, plan.layouts.get(layout)?, rounds, scratch)
        };
        match &plan.subsets {
            None => choose(ANY),
            Some(subsets) => {
                let note = |note| hosts.note(note);
                match subsets.alternatives(wish.criteria) {
                    None => by_subset(subsets, wish.criteria, note, &mut choose),
                    Some(alternatives) => alternatives
                        .iter()
                        .find_map(|one| by_subset(subsets, Some(one), note, &mut choose)),
                }
            }
        }
    }

    /// How new endpoints get their share.
    #[must_use]
    pub fn slow_start(&self) -> Option<SlowStart> {
        self.plan.slow_start()
    }

    /// How many choices were made, those before included.
    #[must_use]
    pub const fn picks(&self) -> u64 {
        self.picks
    }
}

/// Chooses in the subset that is asked for, or in what takes its place.
fn by_subset(
    subsets: &Subsets,
    criteria: Option<&Criteria>,
    note: impl Fn(Note),
    choose: &mut impl FnMut(usize) -> Option<u32>,
) -> Option<u32> {
    match subsets.find(criteria) {
        Found::Subset(layout) => {
            note(Note::Subset);
            choose(layout)
        }
        Found::Instead(layout) => choose(layout?),
        Found::Fallback => {
            let fallback = subsets.fallback()?;
            if let Some(chosen) = choose(fallback) {
                note(Note::Fallback);
                return Some(chosen);
            }
            let any = subsets.any_in_panic().then(|| choose(ANY)).flatten();
            if any.is_some() {
                note(Note::FallbackPanic);
            }
            any
        }
    }
}

impl<H: Hosts> Turn<'_, H> {
    /// An endpoint of `layout`, if possible one that is wanted.
    fn choose(
        &mut self,
        plan: &Plan,
        layout: &Layout,
        rounds: &mut Rounds,
        scratch: &mut Vec<u32>,
    ) -> Option<u32> {
        if plan.policy.wants_hash() {
            return self.by_hash(layout, scratch);
        }
        let more = self.wish.avoid.map_or(0, |avoid| avoid.attempts);
        for _ in 0..more {
            let index = self.once(plan, layout, rounds)?;
            if !self.hosts.is_unwanted(index) {
                return Some(index);
            }
        }
        self.once(plan, layout, rounds)
    }

    fn once(&mut self, plan: &Plan, layout: &Layout, rounds: &mut Rounds) -> Option<u32> {
        let (at, kind) = match (layout.only, self.wish.tried_levels) {
            (Some(only), None) => only,
            (_, None) => layout.load.choose(self.random.next_u64()),
            (_, Some(tried)) => {
                let spread = Load::spread(&layout.capacities, tried.get());
                if spread.is_none() {
                    tried.set(Levels::default());
                }
                let load = spread.as_ref().unwrap_or(&layout.load);
                load.choose(self.random.next_u64())
            }
        };
        let level = layout.levels.get(at)?;
        let Endpoints::Turns {
            all,
            healthy,
            degraded,
            localities,
            zones,
        } = &level.endpoints
        else {
            return None;
        };
        let group = if level.panics {
            self.hosts.note(Note::Panic);
            if plan.fails_on_panic {
                return None;
            }
            *all
        } else {
            let locality = localities
                .as_ref()
                .and_then(|weights| rounds.locality(layout.levels.len(), at, kind, weights));
            let zone = || {
                let zones = zones.as_ref().filter(|_| kind == Kind::Healthy)?;
                let hosts = self.hosts;
                let group = zones.choose(self.random, |note| hosts.note(note))?;
                let is_filled =
                    |group: &usize| layout.groups.get(*group).is_some_and(|g| !g.is_empty());
                Some(group).filter(is_filled)
            };
            locality.or_else(zone).unwrap_or(match kind {
                Kind::Healthy => *healthy,
                Kind::Degraded => *degraded,
            })
        };
        self.of_group(plan, layout, rounds, group)
    }

    fn of_group(
        &mut self,
        plan: &Plan,
        layout: &Layout,
        rounds: &mut Rounds,
        group: usize,
    ) -> Option<u32> {
        let members = layout.groups.get(group)?;
        let hosts = self.hosts;
        let at = |candidate: usize| members.get(candidate).copied();
        let weight = |candidate: usize| at(candidate).map_or(1.0, |index| hosts.weight(index));
        let active = |candidate: usize| at(candidate).map_or(0, |index| hosts.active(index));
        if rounds.groups.len() <= group {
            rounds.groups.resize_with(layout.groups.len(), || None);
        }
        let scheduler = rounds.groups.get_mut(group)?.get_or_insert_with(|| {
            Scheduler::new(plan.policy, members.len(), weight, self.is_slow, self.picks)
        });
        at(scheduler.pick(self.random, weight, active)?)
    }

    /// By the request's hash, or by chance where it has none.
    fn by_hash(&mut self, layout: &Layout, scratch: &mut Vec<u32>) -> Option<u32> {
        let hash = self.wish.hash.unwrap_or_else(|| self.random.next_u64());
        let (level, _) = layout.load.choose(hash);
        let Level { panics, endpoints } = layout.levels.get(level)?;
        let Endpoints::Placed(table) = endpoints else {
            return None;
        };
        if *panics {
            self.hosts.note(Note::Panic);
        }
        let more = self.wish.avoid.map_or(0, |avoid| avoid.attempts);
        for attempt in 0..more {
            let index = table.lookup(hash, attempt, self.hosts, scratch)?;
            if !self.hosts.is_unwanted(index) {
                return Some(index);
            }
        }
        table.lookup(hash, more, self.hosts, scratch)
    }
}

impl Rounds {
    /// The group of the locality whose turn it is among healthy or degraded endpoints of a level.
    fn locality(
        &mut self,
        levels: usize,
        level: usize,
        kind: Kind,
        weights: &ByLocality,
    ) -> Option<usize> {
        if self.localities.len() < levels {
            self.localities.resize_with(levels, Default::default);
        }
        let [healthy, degraded] = self.localities.get_mut(level)?;
        let [healthy_weights, degraded_weights] = weights;
        let (schedule, weights) = match kind {
            Kind::Healthy => (healthy, healthy_weights),
            Kind::Degraded => (degraded, degraded_weights),
        };
        let schedule =
            schedule.get_or_insert_with(|| Edf::new(weights.iter().map(|(_, weight)| *weight)));
        let weight = |at: usize| weights.get(at).map_or(1.0, |(_, weight)| *weight);
        let at = schedule.pick(weight)?;
        weights.get(at).map(|(group, _)| *group)
    }
}

#[cfg(test)]
mod tests;
