//! The first of many routes that matches, without looking at every one.
//!
//! Owns an index over the paths of a virtual host's routes. It leads from a request's path to the
//! few routes whose path can match, and of these the first in the order of the configuration is
//! taken whose other criteria match too: exactly the one that a walk from the first to the last
//! would find. A lookup allocates nothing. Called by `table`, which walks short lists itself. Does
//! not own what a match is (`matcher`).
//!
//! | a route's path | is found by |
//! | --- | --- |
//! | `path` | its hash |
//! | `prefix`, `path_separated_prefix` | a trie |
//! | the same, and `path`, without regard to case | a trie over lower case |
//! | a URI template, a regular expression | its fixed beginning in the trie; many with one beginning by what else is fixed about them (`many`) |
//! | `connect_matcher` | being CONNECT |

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::action::Route;
use super::facts::Facts;
use super::matcher::{PathMatcher, RouteMatcher, Text};
use super::pattern::Pattern;
use super::trie::Trie;

mod many;

use many::Many;

/// A route and what it matches.
pub(super) type Entry = (RouteMatcher, Arc<Route>);

/// The index of a virtual host's routes. Numbers are positions in their list.
#[derive(Debug)]
pub(super) struct Index {
    exact: HashMap<Box<[u8]>, Span>,
    prefixes: Trie,
    /// In lower case.
    folded: Trie,
    /// What the values of the tries stand for.
    groups: Box<[Group]>,
    connect: Box<[Candidate]>,
    candidates: Box<[Candidate]>,
}

/// A part of `candidates`, in ascending order of the routes.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    length: u32,
}

/// The routes that one beginning of a path leads to.
#[derive(Debug)]
struct Group {
    span: Span,
    many: Option<Box<Many>>,
}

/// So many groups of [`Many`] wait until all else was looked at; more are looked at when they are met.
const WAITING: usize = 4;

/// A route whose path may match.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    route: u32,
    /// What is left to check of the path.
    path: PathCheck,
    /// Whether the route has other criteria.
    others: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathCheck {
    /// Nothing: it matches.
    None,
    /// It ends here or goes on with a slash.
    Separated,
    /// It ends here.
    Whole,
    /// All of it, by the route's own matcher.
    Test,
}

/// A lookup under way.
struct Search<'a> {
    routes: &'a [Entry],
    facts: &'a Facts<'a>,
    path: &'a [u8],
    /// The first route so far that matches.
    best: u32,
}

/// What costs more to look at than the rest, and is often not needed when that was.
#[derive(Default)]
struct Waiting<'a> {
    groups: [Option<(&'a Many, usize)>; WAITING],
    count: usize,
}

impl Index {
    pub(super) fn new(routes: &[Entry]) -> Self {
        let mut builder = Builder::default();
        for (number, (matcher, _)) in (0..).zip(routes) {
            builder.add(number, matcher);
        }
        builder.finish(routes)
    }

    /// The position of the first route that matches. `path` is without the query, `None` where the
    /// request has none.
    pub(super) fn find(
        &self,
        routes: &[Entry],
        facts: &Facts<'_>,
        path: Option<&[u8]>,
    ) -> Option<usize> {
        let mut search = Search {
            routes,
            facts,
            path: path.unwrap_or_default(),
            best: u32::MAX,
        };
        let mut waiting = Waiting::default();
        if let Some(path) = path {
            if let Some(span) = self.exact.get(path) {
                search.consider(self.span(*span), path.len());
            }
            self.prefixes.each(path.iter().copied(), |length, group| {
                self.consider(&mut search, &mut waiting, length, group);
            });
            if !self.folded.is_empty() {
                let lower = path.iter().map(u8::to_ascii_lowercase);
                self.folded.each(lower, |length, group| {
                    self.consider(&mut search, &mut waiting, length, group);
                });
            }
        }
        search.consider(&self.connect, 0);
        waiting.consider(&mut search);
        (search.best != u32::MAX).then_some(search.best as usize)
    }

    #[inline]
    fn consider<'s>(
        &'s self,
        search: &mut Search<'_>,
        waiting: &mut Waiting<'s>,
        length: usize,
        group: u32,
    ) {
        let Some(group) = self.groups.get(group as usize) else {
            return;
        };
        search.consider(self.span(group.span), length);
        if let Some(many) = &group.many {
            waiting.add(search, many, length);
        }
    }

    fn span(&self, span: Span) -> &[Candidate] {
        let start = span.start as usize;
        self.candidates
            .get(start..start + span.length as usize)
            .unwrap_or_default()
    }
}

impl<'a> Waiting<'a> {
    fn add(&mut self, search: &mut Search<'_>, many: &'a Many, length: usize) {
        match self.groups.get_mut(self.count) {
            Some(free) => {
                *free = Some((many, length));
                self.count += 1;
            }
            None => many.consider(search, length),
        }
    }

    fn consider(&self, search: &mut Search<'_>) {
        for (many, length) in self.groups.iter().flatten() {
            if !many.is_behind(search.best) {
                many.consider(search, *length);
            }
        }
    }
}

impl Search<'_> {
    /// Takes the first of `candidates` that matches, if it comes before what was found so far.
    /// `length` bytes of the path led to them.
    #[inline]
    fn consider(&mut self, candidates: &[Candidate], length: usize) {
        for candidate in candidates {
            #[cfg(test)]
            super::trie::LOOKED_AT.set(super::trie::LOOKED_AT.get() + 1);
            if candidate.route >= self.best {
                return;
            }
            let next = self.path.get(length);
            let path = match candidate.path {
                PathCheck::None => true,
                PathCheck::Separated => matches!(next, None | Some(b'/')),
                PathCheck::Whole => next.is_none(),
                PathCheck::Test => self.path_matches(candidate.route),
            };
            if path && (!candidate.others || self.others_match(candidate.route)) {
                self.best = candidate.route;
                return;
            }
        }
    }

    fn matcher(&self, route: u32) -> Option<&RouteMatcher> {
        self.routes.get(route as usize).map(|(matcher, _)| matcher)
    }

    fn path_matches(&self, route: u32) -> bool {
        let matcher = self.matcher(route);
        matcher.is_some_and(|matcher| matcher.path().matches(self.facts.request, Some(self.path)))
    }

    fn others_match(&self, route: u32) -> bool {
        let matcher = self.matcher(route);
        matcher.is_some_and(|matcher| matcher.others_match(self.facts))
    }
}

#[derive(Default)]
struct Builder {
    exact: BTreeMap<Box<[u8]>, Vec<Candidate>>,
    prefixes: BTreeMap<Vec<u8>, Members>,
    folded: BTreeMap<Vec<u8>, Members>,
    connect: Vec<Candidate>,
}

#[derive(Default)]
struct Members {
    candidates: Vec<Candidate>,
    /// What has to be tested, by the routes' own matchers.
    tested: Vec<Candidate>,
}

impl Builder {
    fn add(&mut self, route: u32, matcher: &RouteMatcher) {
        let candidate = |path| Candidate {
            route,
            path,
            others: !matcher.is_path_alone(),
        };
        match matcher.path() {
            PathMatcher::Path(text) if !text.ignores_case() => {
                let key = text.bytes().into();
                self.exact
                    .entry(key)
                    .or_default()
                    .push(candidate(PathCheck::None));
            }
            PathMatcher::Path(text) => self.text(text, candidate(PathCheck::Whole)),
            PathMatcher::Prefix(text) => self.text(text, candidate(PathCheck::None)),
            PathMatcher::SeparatedPrefix(text) => self.text(text, candidate(PathCheck::Separated)),
            PathMatcher::Template(template) => {
                let key = template.literal_prefix().to_vec();
                let members = self.prefixes.entry(key).or_default();
                members.tested.push(candidate(PathCheck::Test));
            }
            PathMatcher::Regex(pattern) => {
                let members = self.prefixes.entry(pattern.literal_prefix()).or_default();
                members.tested.push(candidate(PathCheck::Test));
            }
            PathMatcher::Connect => self.connect.push(candidate(PathCheck::Test)),
        }
    }

    fn text(&mut self, text: &Text, candidate: Candidate) {
        let members = if text.ignores_case() {
            self.folded.entry(text.bytes().to_ascii_lowercase())
        } else {
            self.prefixes.entry(text.bytes().to_vec())
        };
        members.or_default().candidates.push(candidate);
    }

    fn finish(self, routes: &[Entry]) -> Index {
        let mut candidates = Vec::new();
        let mut groups = Vec::new();
        let exact = self.exact.into_iter();
        let exact = exact
            .map(|(path, members)| (path, put(&mut candidates, members)))
            .collect();
        let mut trie = |members: BTreeMap<Vec<u8>, Members>| {
            let keys: Vec<_> = members
                .into_iter()
                .map(|(key, members)| {
                    let number = size(groups.len());
                    groups.push(members.finish(&key, routes, &mut candidates));
                    (key, number)
                })
                .collect();
            Trie::new(&keys)
        };
        let prefixes = trie(self.prefixes);
        let folded = trie(self.folded);
        Index {
            exact,
            prefixes,
            folded,
            groups: groups.into(),
            connect: self.connect.into(),
            candidates: candidates.into(),
        }
    }
}

impl Members {
    fn finish(
        mut self,
        beginning: &[u8],
        routes: &[Entry],
        candidates: &mut Vec<Candidate>,
    ) -> Group {
        let mut expressions: Vec<(Candidate, &Pattern)> = Vec::new();
        let mut templates = Vec::new();
        for candidate in self.tested {
            let matcher = routes.get(candidate.route as usize);
            match matcher.map(|(matcher, _)| matcher.path()) {
                Some(PathMatcher::Regex(pattern)) => expressions.push((candidate, pattern)),
                Some(PathMatcher::Template(template)) => {
                    let texts = template.literals().map(|text| vec![text.to_vec()]);
                    templates.push((candidate, texts.collect()));
                }
                _ => {}
            }
        }
        let (many, always) = Many::build(beginning, &expressions, templates);
        self.candidates.extend(always);
        self.candidates.sort_by_key(|candidate| candidate.route);
        Group {
            span: put(candidates, self.candidates),
            many: many.map(Box::new),
        }
    }
}

fn put(candidates: &mut Vec<Candidate>, members: Vec<Candidate>) -> Span {
    let span = Span {
        start: size(candidates.len()),
        length: size(members.len()),
    };
    candidates.extend(members);
    span
}

/// Positions are small: a configuration has a limit.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
