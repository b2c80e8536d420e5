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
/// Texts that are looked for in one walk: as many as are remembered of those that were found.
const TEXTS: usize = 4096;

/// The routes behind one beginning that need a test.
#[derive(Debug)]
pub(super) struct Many {
    /// The first of all of them.
    first: u32,
    sets: Box<[Set]>,
    by_text: Box<[ByText]>,
}

/// Regular expressions that are matched at once.
#[derive(Debug)]
struct Set {
    patterns: PatternSet,
    /// The route of each pattern, ascending.
    candidates: Box<[Candidate]>,
}

/// Routes by a text that their paths have somewhere. At most [`TEXTS`] texts.
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
        for texts in &self.by_text {
            if texts.first < search.best {
                texts.consider(search, length);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn set_sizes(&self) -> impl Iterator<Item = usize> {
        self.sets.iter().map(|set| set.candidates.len())
    }

    #[cfg(test)]
    pub(super) fn texts(&self) -> usize {
        let texts = self.by_text.iter();
        texts.map(|texts| texts.candidates.len()).sum()
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
    fn build(tested: Vec<(Candidate, Vec<Requirement>)>) -> (Box<[Self]>, Vec<Candidate>) {
        let all = || tested.iter().map(|(candidate, _)| *candidate).collect();
        if tested.len() < LOOKED_FOR {
            return (Box::default(), all());
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
                let most = requirement.iter().filter_map(|text| uses.get(&**text));
                let shortest = requirement.iter().map(Vec::len).min();
                (most.max().copied(), std::cmp::Reverse(shortest))
            };
            let Some(best) = requirements.iter().min_by_key(rank) else {
                always.push(*candidate);
                continue;
            };
            for text in best {
                by_text.entry(text).or_default().push(*candidate);
            }
        }
        let by_text: Vec<(&[u8], Vec<Candidate>)> = by_text.into_iter().collect();
        match by_text.chunks(TEXTS).map(Self::of).collect() {
            Some(built) => (built, always),
            None => (Box::default(), all()),
        }
    }

    /// `None` where the texts are too long to be looked for.
    fn of(by_text: &[(&[u8], Vec<Candidate>)]) -> Option<Self> {
        let texts = AhoCorasick::new(by_text.iter().map(|(text, _)| text)).ok()?;
        let candidates = by_text.iter().map(|(_, candidates)| (**candidates).into());
        let firsts = by_text.iter().map(|(_, candidates)| first(candidates));
        Some(Self {
            first: firsts.min()?,
            texts,
            candidates: candidates.collect(),
        })
    }

    fn consider(&self, search: &mut Search<'_>, length: usize) {
        self.each_text(search.path, |candidates| {
            search.consider(candidates, length);
        });
    }

    /// Calls `found` with the candidates of each text that the path has, once, however often it has
    /// it: whoever asks chooses the path.
    fn each_text(&self, path: &[u8], mut found: impl FnMut(&[Candidate])) {
        let mut seen = [0_u64; TEXTS / 64];
        for text in self.texts.find_overlapping_iter(path) {
            let number = text.pattern().as_usize();
            let Some(word) = seen.get_mut(number / 64) else {
                continue;
            };
            let bit = 1 << (number % 64);
            if *word & bit == 0 {
                *word |= bit;
                found(self.candidates.get(number).map_or(&[], |of_text| of_text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_once_however_often_a_path_has_it() {
        let candidate = |route| Candidate {
            route,
            path: PathCheck::Test,
            others: false,
        };
        let tested = (0..9_000).map(|n| (candidate(n), vec![vec![format!("-{n}-").into_bytes()]]));
        let (by_text, always) = ByText::build(tested.collect());
        assert!(always.is_empty());
        assert_eq!(by_text.len(), 3);
        for number in [0, 17, 4_095, 4_096, 8_999] {
            let path = format!("/x{}", format!("-{number}-").repeat(9_000));
            let mut found = Vec::new();
            for texts in &by_text {
                texts.each_text(path.as_bytes(), |candidates| {
                    found.extend(candidates.iter().map(|candidate| candidate.route));
                });
            }
            assert_eq!(found, [number]);
        }
    }
}
