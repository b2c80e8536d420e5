//! Many routes behind one beginning of a path, each with an expression or a template to test it by.
//!
//! Owns how few of them are tested: expressions are matched at once, in sets; what is in no set is
//! tested only where the path has a text in it that it cannot do without. Called by `index`. Does not
//! own the routes' order, nor when a candidate is the one.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::AhoCorasick;

use super::super::pattern::{Pattern, PatternSet, Requirement};
use super::{Candidate, PathCheck, Search};

/// Fewer candidates are tested one after another, which is quicker than to look for texts.
const LOOKED_FOR: usize = 4;

/// The routes behind one beginning that need a test.
#[derive(Debug)]
pub(super) struct Many {
    /// The first of all of them.
    first: u32,
    sets: Box<[Set]>,
    by_text: Option<ByText>,
}

/// Regular expressions that are matched at once.
#[derive(Debug)]
struct Set {
    patterns: PatternSet,
    /// The route of each pattern, ascending.
    candidates: Box<[Candidate]>,
}

/// Routes by a text that their paths have somewhere.
#[derive(Debug)]
struct ByText {
    first: u32,
    texts: AhoCorasick,
    /// The routes of each text, ascending.
    candidates: Box<[Box<[Candidate]>]>,
}

impl Many {
    /// Out of expressions and of what else is tested, each with what it cannot do without. Candidates
    /// that have to be tested always come back.
    pub(super) fn build(
        beginning: &[u8],
        expressions: &[(Candidate, &Pattern)],
        mut tested: Vec<(Candidate, Vec<Requirement>)>,
    ) -> (Option<Self>, Vec<Candidate>) {
        let patterns: Vec<&Pattern> = expressions.iter().map(|(_, pattern)| *pattern).collect();
        let (sets, alone) = PatternSet::of_many(&patterns, beginning);
        let alone = alone.iter().filter_map(|index| expressions.get(*index));
        tested.extend(alone.map(|(candidate, pattern)| (*candidate, pattern.requirements())));
        tested.sort_by_key(|(candidate, _)| candidate.route);
        let (by_text, always) = ByText::build(tested);
        let sets = sets.into_iter().map(|(range, patterns)| {
            let members = expressions.get(range).unwrap_or_default().iter();
            let matched = members.map(|(candidate, _)| Candidate {
                path: PathCheck::None,
                ..*candidate
            });
            Set {
                patterns,
                candidates: matched.collect(),
            }
        });
        let sets: Box<[Set]> = sets.collect();
        let firsts = sets.iter().map(Set::first);
        let first = firsts
            .chain(by_text.iter().map(|by_text| by_text.first))
            .min();
        let many = first.map(|first| Self {
            first,
            sets,
            by_text,
        });
        (many, always)
    }

    /// Whether all of its routes stand behind one that was found.
    pub(super) const fn is_behind(&self, found: u32) -> bool {
        self.first >= found
    }

    pub(super) fn consider(&self, search: &mut Search<'_>, length: usize) {
        for set in &self.sets {
            if set.first() < search.best {
                set.patterns.each_match(search.path, |pattern| {
                    let candidate = set.candidates.get(pattern);
                    search.consider(candidate.map_or(&[], std::slice::from_ref), length);
                });
            }
        }
        if let Some(by_text) = &self.by_text
            && by_text.first < search.best
        {
            by_text.consider(search, length);
        }
    }

    #[cfg(test)]
    pub(super) fn set_sizes(&self) -> impl Iterator<Item = usize> {
        self.sets.iter().map(|set| set.candidates.len())
    }

    #[cfg(test)]
    pub(super) fn texts(&self) -> usize {
        self.by_text
            .as_ref()
            .map_or(0, |by_text| by_text.candidates.len())
    }
}

impl Set {
    fn first(&self) -> u32 {
        first(&self.candidates)
    }
}

fn first(candidates: &[Candidate]) -> u32 {
    candidates.first().map_or(u32::MAX, |first| first.route)
}

impl ByText {
    /// `tested` in the order of the routes. Candidates that no text is known of come back.
    fn build(tested: Vec<(Candidate, Vec<Requirement>)>) -> (Option<Self>, Vec<Candidate>) {
        if tested.len() < LOOKED_FOR {
            let all = tested.into_iter().map(|(candidate, _)| candidate);
            return (None, all.collect());
        }
        let mut uses: HashMap<&[u8], usize> = HashMap::new();
        let texts = tested.iter().flat_map(|(_, all)| all).flatten();
        for text in texts {
            *uses.entry(text).or_default() += 1;
        }
        let mut always = Vec::new();
        let mut by_text: BTreeMap<&[u8], Vec<Candidate>> = BTreeMap::new();
        for (candidate, requirements) in &tested {
            // What few others need as well, and of that what says most.
            let rank = |requirement: &&Requirement| {
                let most = requirement
                    .iter()
                    .filter_map(|text| uses.get(&**text))
                    .max();
                let shortest = requirement.iter().map(Vec::len).min();
                (most.copied(), std::cmp::Reverse(shortest))
            };
            let Some(best) = requirements.iter().min_by_key(rank) else {
                always.push(*candidate);
                continue;
            };
            for text in best {
                by_text.entry(text).or_default().push(*candidate);
            }
        }
        let Ok(texts) = AhoCorasick::new(by_text.keys()) else {
            let all = tested.iter().map(|(candidate, _)| *candidate);
            return (None, all.collect());
        };
        let candidates: Box<[Box<[Candidate]>]> = by_text.into_values().map(Into::into).collect();
        let first = candidates.iter().map(|of_text| first(of_text)).min();
        let by_text = first.map(|first| Self {
            first,
            texts,
            candidates,
        });
        (by_text, always)
    }

    fn consider(&self, search: &mut Search<'_>, length: usize) {
        let path = search.path;
        for found in self.texts.find_overlapping_iter(path) {
            let candidates = self.candidates.get(found.pattern().as_usize());
            search.consider(candidates.map_or(&[], |candidates| candidates), length);
        }
    }
}
