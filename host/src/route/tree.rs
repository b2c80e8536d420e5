//! A tree of matchers that leads to some of a virtual host's routes (`VirtualHost.matcher`).
//!
//! Owns how it is walked: as in Envoy, what follows a match and finds nothing is passed over as if the
//! match had not been one. Called by `table` in place of a walk through the routes. Does not own what
//! the routes themselves match, which counts as well.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::error::{Problem, Report};
use super::facts::Facts;
use super::matcher::StringMatcher;
use super::spec::{PredicateSpec, ThenSpec, TreeKindSpec, TreeSpec};
use super::trie::Trie;
use crate::headers::{Headers, Name};

/// `xds.type.matcher.v3.Matcher`, compiled.
#[derive(Debug)]
pub(super) struct Tree {
    kind: Kind,
    otherwise: Option<Box<Then>>,
}

#[derive(Debug)]
enum Kind {
    /// `matcher_list`.
    List(Box<[(Predicate, Then)]>),
    /// `exact_match_map`.
    Exact(Input, HashMap<Box<[u8]>, Then>),
    /// `prefix_match_map`.
    Prefix(Input, Trie, Box<[Then]>),
}

/// `OnMatch`: what follows.
#[derive(Debug)]
enum Then {
    Tree(Tree),
    Routes(Range<usize>),
}

#[derive(Debug)]
enum Predicate {
    Single(Input, StringMatcher),
    Any(Box<[Self]>),
    All(Box<[Self]>),
    Not(Box<Self>),
}

/// A text of a request: a field of its head, several of them joined by commas.
#[derive(Debug)]
struct Input(Name);

impl Tree {
    pub(super) fn build(spec: &TreeSpec, report: &mut Report) -> Option<Self> {
        let kind = match &spec.kind {
            TreeKindSpec::List(entries) => report.field("matcher_list", |report| {
                let entries = report.items("matchers", entries, |report, (predicate, then)| {
                    let predicate =
                        report.field("predicate", |report| Predicate::build(predicate, report));
                    let then = report.field("on_match", |report| Then::build(then, report));
                    Some((predicate?, then?))
                });
                Some(Kind::List(entries))
            }),
            TreeKindSpec::Exact(input, map) => report.field("matcher_tree", |report| {
                let input = Input::build(input, report);
                let map = report.field("exact_match_map", |report| built_map(map, report));
                let map = map.into_iter().map(|(key, then)| (key.into(), then));
                Some(Kind::Exact(input?, map.collect()))
            }),
            TreeKindSpec::Prefix(input, map) => report.field("matcher_tree", |report| {
                let input = Input::build(input, report);
                let map = report.field("prefix_match_map", |report| built_map(map, report));
                let numbers = map.keys().cloned().zip(0..);
                let trie = Trie::new(&numbers.collect::<Vec<_>>());
                Some(Kind::Prefix(input?, trie, map.into_values().collect()))
            }),
        };
        let otherwise = spec
            .otherwise
            .as_ref()
            .map(|then| report.field("on_no_match", |report| Then::build(then, report)));
        Some(Self {
            kind: kind?,
            otherwise: match otherwise {
                Some(then) => Some(Box::new(then?)),
                None => None,
            },
        })
    }

    /// The routes that a request is led to, by their positions; of these the first that matches is
    /// taken.
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<Range<usize>> {
        let found = match &self.kind {
            Kind::List(entries) => {
                let mut holding = entries.iter();
                holding.find_map(|(predicate, then)| {
                    let then = predicate.holds(facts).then_some(then)?;
                    then.find(facts)
                })
            }
            Kind::Exact(input, map) => input
                .read(facts.request)
                .and_then(|text| map.get(&*text)?.find(facts)),
            Kind::Prefix(input, trie, list) => input.read(facts.request).and_then(|text| {
                // The longest first, and a shorter one where that leads nowhere.
                let mut found: Vec<u32> = Vec::new();
                trie.each(text.iter().copied(), |_, number| found.push(number));
                let mut found = found.iter().rev();
                found.find_map(|number| list.get(*number as usize)?.find(facts))
            }),
        };
        found.or_else(|| self.otherwise.as_ref()?.find(facts))
    }
}

/// What follows each text, sorted.
fn built_map(map: &[(String, ThenSpec)], report: &mut Report) -> BTreeMap<Vec<u8>, Then> {
    let mut built = BTreeMap::new();
    report.field("map", |report| {
        for (key, then) in map {
            if let Some(then) = Then::build(then, report) {
                built.insert(key.clone().into_bytes(), then);
            }
        }
    });
    built
}

impl Then {
    fn build(spec: &ThenSpec, report: &mut Report) -> Option<Self> {
        Some(match spec {
            ThenSpec::Tree(tree) => {
                Self::Tree(report.field("matcher", |report| Tree::build(tree, report))?)
            }
            ThenSpec::Routes(routes) => Self::Routes(routes.clone()),
        })
    }

    fn find(&self, facts: &Facts<'_>) -> Option<Range<usize>> {
        match self {
            Self::Tree(tree) => tree.find(facts),
            Self::Routes(routes) => Some(routes.clone()),
        }
    }
}

impl Predicate {
    fn build(spec: &PredicateSpec, report: &mut Report) -> Option<Self> {
        let list = |report: &mut Report, field, specs: &[PredicateSpec]| {
            report.field(field, |report| {
                let mut complete = true;
                let built: Box<[Self]> = report.items("predicate", specs, |report, spec| {
                    let built = Self::build(spec, report);
                    complete &= built.is_some();
                    built
                });
                complete.then_some(built)
            })
        };
        Some(match spec {
            PredicateSpec::Single(input, test) => report.field("single_predicate", |report| {
                let input = Input::build(input, report);
                let test = report.field("value_match", |report| StringMatcher::build(test, report));
                Some(Self::Single(input?, test?))
            })?,
            PredicateSpec::Any(specs) => Self::Any(list(report, "or_matcher", specs)?),
            PredicateSpec::All(specs) => Self::All(list(report, "and_matcher", specs)?),
            PredicateSpec::Not(spec) => Self::Not(Box::new(
                report.field("not_matcher", |report| Self::build(spec, report))?,
            )),
        })
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Single(input, test) => input
                .read(facts.request)
                .is_some_and(|text| test.matches(&text)),
            Self::Any(predicates) => predicates.iter().any(|predicate| predicate.holds(facts)),
            Self::All(predicates) => predicates.iter().all(|predicate| predicate.holds(facts)),
            Self::Not(predicate) => !predicate.holds(facts),
        }
    }
}

impl Input {
    fn build(name: &str, report: &mut Report) -> Option<Self> {
        let name = Name::parse(name.as_bytes()).map_err(Problem::HeaderName);
        let name = report.field("input", |report| {
            report.field("typed_config", |report| {
                report.field("header_name", |report| report.take(name))
            })
        });
        name.map(Self)
    }

    /// The text; none where the request does not have it.
    fn read<'r>(&'r self, request: &'r Headers) -> Option<Cow<'r, [u8]>> {
        let mut values = request.get_all(&self.0);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(Cow::Borrowed(first));
        };
        let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
        Some(Cow::Owned(all.join(&b',')))
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{StringMatchSpec, StringPatternSpec};
    use super::super::testing::{facts, request};
    use super::*;

    fn to(route: usize) -> ThenSpec {
        ThenSpec::Routes(route..route + 1)
    }

    fn is(input: &str, text: &str) -> PredicateSpec {
        let test = StringMatchSpec {
            pattern: StringPatternSpec::Exact(text.to_owned()),
            ignore_case: false,
        };
        PredicateSpec::Single(input.to_owned(), test)
    }

    fn found(spec: &TreeSpec, path: &str, fields: &[(&str, &str)]) -> Option<usize> {
        let mut report = Report::default();
        let tree = Tree::build(spec, &mut report);
        let tree = report.finish(tree).unwrap().unwrap();
        let head = request("h", path, fields);
        tree.find(&facts(&head)).map(|routes| routes.start)
    }

    #[test]
    fn conditions_are_tried_one_after_another() {
        let a = || is("a", "1");
        let q = || is("q", "x");
        let spec = TreeSpec {
            kind: TreeKindSpec::List(vec![
                (PredicateSpec::All(vec![a(), q()]), to(0)),
                (PredicateSpec::Any(vec![a(), q()]), to(1)),
                (PredicateSpec::Not(Box::new(is("b", "1"))), to(2)),
            ]),
            otherwise: Some(Box::new(to(3))),
        };
        for (path, fields, expected) in [
            ("/", &[("a", "1"), ("q", "x")][..], 0),
            ("/", &[("a", "1")], 1),
            ("/", &[("q", "x"), ("a", "1"), ("a", "1")], 1),
            ("/", &[("q", "X")], 2),
            ("/", &[("b", "1")], 3),
        ] {
            assert_eq!(
                found(&spec, path, fields),
                Some(expected),
                "{path} {fields:?}"
            );
        }
    }

    #[test]
    fn texts_are_looked_up_whole_or_by_their_beginning() {
        let nowhere = ThenSpec::Tree(Box::new(TreeSpec {
            kind: TreeKindSpec::Exact("x".to_owned(), vec![("1".to_owned(), to(5))]),
            otherwise: None,
        }));
        let prefixes = vec![
            ("/".to_owned(), to(0)),
            ("/api".to_owned(), to(1)),
            ("/api/x".to_owned(), nowhere),
        ];
        let spec = TreeSpec {
            kind: TreeKindSpec::Prefix(":path".to_owned(), prefixes),
            otherwise: None,
        };
        for (path, fields, expected) in [
            ("/a", &[][..], Some(0)),
            ("/api", &[], Some(1)),
            ("/api/xy", &[], Some(1)),
            ("/api/xy", &[("x", "1")], Some(5)),
            ("/api/xy", &[("x", "2")], Some(1)),
        ] {
            assert_eq!(found(&spec, path, fields), expected, "{path} {fields:?}");
        }
        let exact = TreeSpec {
            kind: TreeKindSpec::Exact("t".to_owned(), vec![("a,b".to_owned(), to(1))]),
            otherwise: Some(Box::new(to(2))),
        };
        assert_eq!(found(&exact, "/", &[("t", "a"), ("t", "b")]), Some(1));
        assert_eq!(found(&exact, "/", &[("t", "a")]), Some(2));
        assert_eq!(found(&exact, "/", &[]), Some(2));
    }
}
