//! Subsets: endpoints that a request can ask for by their metadata.
//!
//! Owns which subsets a cluster has, who is in them, and what takes the place of one that is not
//! there. Made with each publication and shared by all workers; only leaving keys out of what a
//! request asks for allocates. Does not own: the choice within a subset, which is a layout like any other.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::Member;
use crate::upstream::metadata::{Criteria, Metadata, Value};
use crate::upstream::spec::{Fallback, SelectorFallback, SubsetSelector, SubsetSpec};

/// The number of the layout of all endpoints.
pub(super) const ANY: usize = 0;

/// Most combinations of values that an endpoint's lists stand for in one selector. Beyond them it
/// is in no further subset.
const COMBINATIONS: usize = 1024;

/// The subsets of a cluster. Numbers are those of layouts.
#[derive(Debug)]
pub struct Subsets {
    by_criteria: HashMap<Criteria, usize>,
    selectors: Vec<(Vec<Arc<str>>, Option<SelectorFallback>)>,
    fallback: Option<usize>,
    default: Option<usize>,
    any_in_panic: bool,
    takes_alternatives: bool,
    takes_more_keys: bool,
}

/// What a request's criteria come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// That subset.
    Subset(usize),
    /// That layout in its place.
    Instead(Option<usize>),
    /// The cluster's fallback.
    Fallback,
}

impl Subsets {
    /// Those of `members` by `spec`, and who is in each: `add` takes the members of one and gives
    /// its number.
    pub(super) fn new<'a>(
        spec: &SubsetSpec,
        members: &[Member<'a>],
        mut add: impl FnMut(&[Member<'a>]) -> usize,
    ) -> Self {
        let default = spec.default.as_ref().map(|wanted| {
            let of_it = members
                .iter()
                .filter(|member| matches(wanted, &member.traits.metadata, spec.list_is_any));
            add(&of_it.copied().collect::<Vec<_>>())
        });
        let mut by_criteria = HashMap::new();
        for selector in &spec.selectors {
            for (criteria, members) in divide(selector, members, spec.list_is_any) {
                by_criteria.entry(criteria).or_insert_with(|| add(&members));
            }
        }
        let selectors = spec.selectors.iter();
        let selectors =
            selectors.map(|selector| (selector.keys.clone(), selector.fallback.clone()));
        Self {
            by_criteria,
            selectors: selectors.collect(),
            fallback: match spec.fallback {
                Fallback::Nobody => None,
                Fallback::Any => Some(ANY),
                Fallback::Default => default,
            },
            default,
            any_in_panic: spec.any_in_panic,
            takes_alternatives: spec.takes_alternatives,
            takes_more_keys: spec.takes_more_keys,
        }
    }

    /// What is asked for one after the other by a request with these criteria, where it is more than
    /// they are.
    pub(super) fn alternatives<'c>(
        &self,
        criteria: Option<&'c Criteria>,
    ) -> Option<&'c [Criteria]> {
        criteria.filter(|_| self.takes_alternatives)?.alternatives()
    }

    /// What a request with these criteria gets.
    pub(super) fn find(&self, criteria: Option<&Criteria>) -> Found {
        let Some(criteria) = criteria else {
            return Found::Fallback;
        };
        let less = self.without_more_keys(criteria);
        let criteria = less.as_ref().unwrap_or(criteria);
        if let Some(subset) = self.by_criteria.get(criteria) {
            return Found::Subset(*subset);
        }
        let keys = || criteria.pairs().iter().map(|(key, _)| key);
        let mut selectors = self.selectors.iter();
        let selector =
            selectors.find(|(own, fallback)| fallback.is_some() && own.iter().eq(keys()));
        match selector.and_then(|(_, fallback)| fallback.as_ref()) {
            None => Found::Fallback,
            Some(SelectorFallback::Cluster(Fallback::Nobody)) => Found::Instead(None),
            Some(SelectorFallback::Cluster(Fallback::Any)) => Found::Instead(Some(ANY)),
            Some(SelectorFallback::Cluster(Fallback::Default)) => Found::Instead(self.default),
            Some(SelectorFallback::Keys(keys)) => {
                let fewer = criteria.filtered(|key| keys.iter().any(|kept| **kept == *key));
                // Fewer keys each time, so this ends; `build` has checked it as well.
                if fewer.pairs().len() >= criteria.pairs().len() {
                    return Found::Fallback;
                }
                self.find(Some(&fewer))
            }
        }
    }

    /// Those criteria of which the first selector that has enough of them knows the keys, where that is
    /// fewer.
    fn without_more_keys(&self, criteria: &Criteria) -> Option<Criteria> {
        if !self.takes_more_keys {
            return None;
        }
        let has = |key: &Arc<str>| criteria.pairs().iter().any(|(own, _)| own == key);
        let (keys, _) = self
            .selectors
            .iter()
            .find(|(keys, _)| keys.iter().all(has))?;
        (keys.len() < criteria.pairs().len())
            .then(|| criteria.filtered(|key| keys.iter().any(|kept| **kept == *key)))
    }

    /// The cluster's own fallback.
    pub(super) const fn fallback(&self) -> Option<usize> {
        self.fallback
    }

    /// Whether any endpoint is taken where the fallback has none.
    pub(super) const fn any_in_panic(&self) -> bool {
        self.any_in_panic
    }

    /// Whether there is a subset of exactly that.
    #[must_use]
    pub fn has(&self, criteria: &Criteria) -> bool {
        self.by_criteria.contains_key(criteria)
    }

    /// What the subsets are called, in no order.
    pub fn criteria(&self) -> impl Iterator<Item = &Criteria> {
        self.by_criteria.keys()
    }
}

/// Whether an endpoint has all that is wanted.
fn matches(wanted: &Criteria, metadata: &Metadata, list_is_any: bool) -> bool {
    wanted.pairs().iter().all(|(key, value)| {
        metadata.get(key).is_some_and(|own| match own {
            Value::List(values) if list_is_any => values.contains(value),
            own => own == value,
        })
    })
}

/// The subsets of one selector, in the order in which they are met.
fn divide<'a>(
    selector: &SubsetSelector,
    members: &[Member<'a>],
    list_is_any: bool,
) -> Vec<(Criteria, Vec<Member<'a>>)> {
    let mut subsets: Vec<(Criteria, Vec<Member<'a>>)> = Vec::new();
    let mut known: HashMap<Criteria, usize> = HashMap::new();
    for member in members {
        for criteria in combinations(&selector.keys, &member.traits.metadata, list_is_any) {
            let at = *known.entry(criteria.clone()).or_insert_with(|| {
                subsets.push((criteria, Vec::new()));
                subsets.len() - 1
            });
            if let Some((_, members)) = subsets.get_mut(at)
                && (!selector.is_single || members.is_empty())
            {
                members.push(*member);
            }
        }
    }
    subsets
}

/// The criteria over `keys` that an endpoint meets: none, one, or where lists stand for their
/// values, one for each combination of them.
fn combinations(keys: &[Arc<str>], metadata: &Metadata, list_is_any: bool) -> Vec<Criteria> {
    let mut rows: Vec<Vec<(Arc<str>, Value)>> = vec![Vec::new()];
    for key in keys {
        let Some(value) = metadata.get(key) else {
            return Vec::new();
        };
        let values: &[Value] = match value {
            Value::List(values) if list_is_any => values,
            value => std::slice::from_ref(value),
        };
        let longer = rows.iter().flat_map(|row| {
            values.iter().map(|value| {
                let mut row = row.clone();
                row.push((Arc::clone(key), value.clone()));
                row
            })
        });
        rows = longer.take(COMBINATIONS).collect();
    }
    rows.into_iter().map(Criteria::new).collect()
}
