//! The choice of an endpoint. What the tests share is here.

use std::cell::RefCell;
use std::num::NonZeroU32;

use super::layout::{Member, State};
use super::*;
use crate::address::Address;
use crate::upstream::metadata::{Criteria, HASH_KEY, Metadata, Value};
use crate::upstream::spec::{
    Balancing, Fallback, Hashing, Locality, Policy, SelectorFallback, SubsetSelector, SubsetSpec,
    Traits,
};

mod hashing;
mod levels;
mod properties;
mod subsets;
mod turns;

/// An endpoint for a test.
#[derive(Clone)]
struct Given {
    state: State,
    is_excluded: bool,
    traits: Traits,
}

fn healthy() -> Given {
    Given {
        state: State::Healthy,
        is_excluded: false,
        traits: Traits::default(),
    }
}

impl Given {
    fn failed(mut self) -> Self {
        self.state = State::Unhealthy;
        self
    }

    fn degraded(mut self) -> Self {
        self.state = State::Degraded;
        self
    }

    fn weight(mut self, weight: u32) -> Self {
        self.traits.weight = weight;
        self
    }

    fn level(mut self, level: u32) -> Self {
        self.traits.level = level;
        self
    }

    fn zone(mut self, zone: &str, weight: u32) -> Self {
        let locality = Locality {
            zone: zone.into(),
            ..Locality::default()
        };
        self.traits.locality = Arc::new(locality);
        self.traits.locality_weight = weight;
        self
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.traits.metadata.insert(key.into(), value);
        self
    }
}

fn plan(balancing: &Balancing, given: &[Given]) -> Arc<Plan> {
    let address = |port| Address::Ip(([127, 0, 0, 1], port).into());
    let addresses: Vec<_> = (21_001..).map(address).take(given.len()).collect();
    let members: Vec<Member<'_>> = (0_u32..)
        .zip(given)
        .zip(&addresses)
        .map(|((index, given), address)| Member {
            index,
            address,
            traits: &given.traits,
            weight: given.traits.weight,
            state: given.state,
            is_excluded: given.is_excluded,
        })
        .collect();
    Arc::new(Plan::new(balancing, &members, None))
}

/// What the balancer asks about, by index.
#[derive(Default)]
struct Fake {
    weights: Vec<f64>,
    active: RefCell<Vec<u64>>,
    unwanted: Vec<u32>,
    notes: RefCell<Vec<Note>>,
}

impl Fake {
    fn of(given: &[Given]) -> Self {
        Self {
            weights: given.iter().map(|g| f64::from(g.traits.weight)).collect(),
            active: vec![0; given.len()].into(),
            ..Self::default()
        }
    }
}

impl Busy for Fake {
    fn active(&self, index: u32) -> u64 {
        self.active.borrow()[index as usize]
    }

    fn total_active(&self) -> u64 {
        self.active.borrow().iter().sum()
    }
}

impl Hosts for Fake {
    fn weight(&self, index: u32) -> f64 {
        self.weights[index as usize]
    }

    fn is_unwanted(&self, index: u32) -> bool {
        self.unwanted.contains(&index)
    }

    fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }
}

/// A balancer with all that it asks about.
struct Trial {
    balancer: Balancer,
    fake: Fake,
    random: Random,
    size: usize,
}

impl Trial {
    fn new(balancing: &Balancing, given: &[Given]) -> Self {
        Self {
            balancer: Balancer::new(plan(balancing, given), 0, false),
            fake: Fake::of(given),
            random: Random::new(1),
            size: given.len(),
        }
    }

    fn policy(policy: Policy, given: &[Given]) -> Self {
        Self::new(&balancing(policy), given)
    }

    fn pick(&mut self) -> Option<u32> {
        self.wish(&Wish::default())
    }

    fn wish(&mut self, wish: &Wish<'_>) -> Option<u32> {
        self.balancer.pick(&mut self.random, wish, &self.fake)
    }

    fn sequence(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.pick().unwrap()).collect()
    }

    fn counts(&mut self, n: usize) -> Vec<usize> {
        let picks = self.sequence(n);
        self.tally(&picks)
    }

    fn tally(&self, picks: &[u32]) -> Vec<usize> {
        (0..self.size)
            .map(|i| picks.iter().filter(|p| **p as usize == i).count())
            .collect()
    }
}

fn balancing(policy: Policy) -> Balancing {
    Balancing {
        policy,
        ..Balancing::default()
    }
}

fn weighted(weights: &[u32]) -> Vec<Given> {
    weights.iter().map(|w| healthy().weight(*w)).collect()
}

const ROUND_ROBIN: Policy = Policy::RoundRobin;

fn criteria(pairs: &[(&str, &str)]) -> Criteria {
    let pair = |(key, value): &(&str, &str)| ((*key).into(), Value::text(value));
    Criteria::new(pairs.iter().map(pair))
}

fn selector(keys: &[&str]) -> SubsetSelector {
    SubsetSelector {
        keys: keys.iter().map(|key| (*key).into()).collect(),
        is_single: false,
        fallback: None,
    }
}

fn subsets(spec: SubsetSpec) -> Balancing {
    Balancing {
        subsets: Some(spec),
        ..Balancing::default()
    }
}
