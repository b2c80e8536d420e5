//! A tree of matchers that leads to some of a virtual host's routes (`VirtualHost.matcher`), or to something else
//! that is decided by request.
//!
//! Owns how it is walked: as in Envoy, what follows a match and finds nothing is passed over as if the
//! match had not been one. Called by `table` in place of a walk through the routes, and through `part`. Does not own
//! what the routes themselves match, which counts as well.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::error::{Problem, Report};
use super::facts::Facts;
use super::matcher::StringMatcher;
use super::spec::{InputSpec, PredicateSpec, ThenSpec, TreeKindSpec, TreeSpec};
use super::trie::Trie;
use crate::certificate::Certificate;
use crate::headers::Name;

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
    Ends(Range<usize>),
}

#[derive(Debug)]
enum Predicate {
    Single(Input, StringMatcher),
    Any(Box<[Self]>),
    All(Box<[Self]>),
    Not(Box<Self>),
}

/// There is no session of TLS, so nothing is known of a certificate. As in Envoy, that ends the walk: what is asked
/// later might have been passed over otherwise.
#[derive(Debug, PartialEq, Eq)]
struct Unknown;

/// A text of a request or of its client's certificate; several of them are joined by commas.
#[derive(Debug)]
enum Input {
    Field(Name),
    UriNames,
    DnsNames,
    Subject,
}

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
    /// taken. What else a tree leads to has one position.
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<Range<usize>> {
        self.walk(facts).ok().flatten()
    }

    fn walk(&self, facts: &Facts<'_>) -> Result<Option<Range<usize>>, Unknown> {
        let mut found = None;
        match &self.kind {
            Kind::List(entries) => {
                for (predicate, then) in entries {
                    if predicate.holds(facts)? {
                        found = then.walk(facts)?;
                    }
                    if found.is_some() {
                        break;
                    }
                }
            }
            Kind::Exact(input, map) => {
                if let Some(text) = input.read(facts)?
                    && let Some(then) = map.get(&*text)
                {
                    found = then.walk(facts)?;
                }
            }
            Kind::Prefix(input, trie, list) => {
                if let Some(text) = input.read(facts)? {
                    // The longest first, and a shorter one where that leads nowhere.
                    let mut beginnings: Vec<u32> = Vec::new();
                    trie.each(text.iter().copied(), |_, number| beginnings.push(number));
                    for then in beginnings
                        .iter()
                        .rev()
                        .filter_map(|at| list.get(*at as usize))
                    {
                        found = then.walk(facts)?;
                        if found.is_some() {
                            break;
                        }
                    }
                }
            }
        }
        match &self.otherwise {
            Some(then) if found.is_none() => then.walk(facts),
            _ => Ok(found),
        }
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
            ThenSpec::Ends(ends) => Self::Ends(ends.clone()),
        })
    }

    fn walk(&self, facts: &Facts<'_>) -> Result<Option<Range<usize>>, Unknown> {
        match self {
            Self::Tree(tree) => tree.walk(facts),
            Self::Ends(ends) => Ok(Some(ends.clone())),
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

    fn holds(&self, facts: &Facts<'_>) -> Result<bool, Unknown> {
        match self {
            Self::Single(input, test) => {
                let text = input.read(facts)?;
                Ok(text.is_some_and(|text| test.matches(&text)))
            }
            Self::Any(predicates) => {
                let mut held = predicates.iter().map(|predicate| predicate.holds(facts));
                if held.clone().any(|holds| holds == Ok(true)) {
                    return Ok(true);
                }
                held.find(Result::is_err).unwrap_or(Ok(false))
            }
            Self::All(predicates) => {
                for predicate in predicates {
                    if !predicate.holds(facts)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(predicate) => predicate.holds(facts).map(|holds| !holds),
        }
    }
}

impl Input {
    fn build(spec: &InputSpec, report: &mut Report) -> Option<Self> {
        let name = match spec {
            InputSpec::Field(name) => Name::parse(name.as_bytes()).map_err(Problem::HeaderName),
            InputSpec::UriNames => return Some(Self::UriNames),
            InputSpec::DnsNames => return Some(Self::DnsNames),
            InputSpec::Subject => return Some(Self::Subject),
        };
        let name = report.field("input", |report| {
            report.field("typed_config", |report| {
                report.field("header_name", |report| report.take(name))
            })
        });
        name.map(Self::Field)
    }

    /// The text; none where the request, or the certificate, does not have it.
    fn read<'r>(&'r self, facts: &Facts<'r>) -> Result<Option<Cow<'r, [u8]>>, Unknown> {
        if let Self::Field(name) = self {
            return Ok(joined(facts.request.get_all(name)));
        }
        let Some(tls) = facts.tls else {
            return Err(Unknown);
        };
        let Some(peer) = &tls.peer else {
            return Ok(None);
        };
        let Certificate { names, subject, .. } = &peer.certificate;
        Ok(match self {
            Self::UriNames => joined(names.uri.iter().map(String::as_bytes)),
            Self::DnsNames => joined(names.dns.iter().map(String::as_bytes)),
            _ => joined(std::iter::once(subject.as_bytes()).filter(|text| !text.is_empty())),
        })
    }
}

fn joined<'r>(mut values: impl Iterator<Item = &'r [u8]>) -> Option<Cow<'r, [u8]>> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(Cow::Borrowed(first));
    };
    let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
    Some(Cow::Owned(all.join(&b',')))
}

#[cfg(test)]
mod tests {
    use super::super::spec::{StringMatchSpec, StringPatternSpec};
    use super::super::testing::{facts, request};
    use super::*;

    fn to(route: usize) -> ThenSpec {
        ThenSpec::Ends(route..route + 1)
    }

    fn field(name: &str) -> InputSpec {
        InputSpec::Field(name.to_owned())
    }

    fn is(input: &str, text: &str) -> PredicateSpec {
        let test = StringMatchSpec {
            pattern: StringPatternSpec::Exact(text.to_owned()),
            ignore_case: false,
        };
        PredicateSpec::Single(field(input), test)
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
    fn nothing_is_found_behind_what_cannot_be_known() {
        let certified = |pattern: &str| {
            let PredicateSpec::Single(_, test) = is("x", pattern) else {
                unreachable!("it is one");
            };
            PredicateSpec::Single(InputSpec::DnsNames, test)
        };
        let a = || is("a", "1");
        let otherwise = || Some(Box::new(to(9)));
        let spec = |predicate| TreeSpec {
            kind: TreeKindSpec::List(vec![(predicate, to(0))]),
            otherwise: otherwise(),
        };
        for (predicate, fields, expected) in [
            (certified("b"), &[][..], None),
            (PredicateSpec::Not(Box::new(certified("b"))), &[], None),
            (PredicateSpec::All(vec![a(), certified("b")]), &[], Some(9)),
            (
                PredicateSpec::All(vec![a(), certified("b")]),
                &[("a", "1")],
                None,
            ),
            (PredicateSpec::All(vec![certified("b"), a()]), &[], None),
            (
                PredicateSpec::Any(vec![certified("b"), a()]),
                &[("a", "1")],
                Some(0),
            ),
            (PredicateSpec::Any(vec![certified("b"), a()]), &[], None),
        ] {
            let context = format!("{predicate:?}");
            assert_eq!(found(&spec(predicate), "/", fields), expected, "{context}");
        }
        let mapped = TreeSpec {
            kind: TreeKindSpec::Exact(InputSpec::Subject, vec![("b".to_owned(), to(0))]),
            otherwise: otherwise(),
        };
        assert_eq!(found(&mapped, "/", &[]), None);
    }

    #[test]
    fn texts_are_looked_up_whole_or_by_their_beginning() {
        let nowhere = ThenSpec::Tree(Box::new(TreeSpec {
            kind: TreeKindSpec::Exact(field("x"), vec![("1".to_owned(), to(5))]),
            otherwise: None,
        }));
        let prefixes = vec![
            ("/".to_owned(), to(0)),
            ("/api".to_owned(), to(1)),
            ("/api/x".to_owned(), nowhere),
        ];
        let spec = TreeSpec {
            kind: TreeKindSpec::Prefix(field(":path"), prefixes),
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
            kind: TreeKindSpec::Exact(field("t"), vec![("a,b".to_owned(), to(1))]),
            otherwise: Some(Box::new(to(2))),
        };
        assert_eq!(found(&exact, "/", &[("t", "a"), ("t", "b")]), Some(1));
        assert_eq!(found(&exact, "/", &[("t", "a")]), Some(2));
        assert_eq!(found(&exact, "/", &[]), Some(2));
    }
}
