//! Trees of matchers: one in place of a list of routes (`VirtualHost.matcher`), and those that decide something
//! else by request.

use std::ops::Range;

use super::{Filters, Workshop};
use crate::config::Place;
use crate::config::route::{
    MatchInputConfig, MatchMap, MatchedRoutes, Matcher, MatcherType, OnMatch, Predicate,
    PredicateType, Then, TreeType, ValueMatch, XdsMatchPattern, XdsStringMatcher,
};
use crate::route::spec::{
    InputSpec, PredicateSpec, RouteSpec, StringMatchSpec, StringPatternSpec, ThenSpec,
    TreeKindSpec, TreeSpec,
};

/// The routes that a tree leads to, in the order in which they are written.
#[derive(Default)]
pub(super) struct Routes<'a> {
    pub(super) specs: Vec<RouteSpec>,
    /// Where each of them is.
    pub(super) places: Vec<Place<'a>>,
}

/// An input of a tree.
pub(in crate::build) trait TreeInput {
    /// What it is.
    fn spec(&self) -> InputSpec;
}

impl TreeInput for MatchInputConfig {
    fn spec(&self) -> InputSpec {
        let Self::Header(header) = self;
        InputSpec::Field(header.header_name.clone())
    }
}

/// Takes up what a tree leads to: where it stands in a list.
type Reached<'r, 'w, 'p, A> = dyn FnMut(&mut Workshop<'w>, &A, Place<'p>) -> Range<usize> + 'r;

impl<'w> Workshop<'w> {
    /// The tree of a virtual host, which leads to routes.
    pub(super) fn tree_of_routes<'p>(
        &mut self,
        written: &Matcher,
        (chain, filters): Filters<'_>,
        place: Place<'p>,
        routes: &mut Routes<'p>,
    ) -> TreeSpec {
        let mut reached = |workshop: &mut Self, led_to: &MatchedRoutes, place: Place<'p>| {
            let start = routes.specs.len();
            let list = match led_to {
                MatchedRoutes::Route(route) => vec![(&**route, place)],
                MatchedRoutes::List(list) => {
                    let listed = list.routes.iter().enumerate();
                    let place = place.field("routes");
                    listed
                        .map(|(index, route)| (route, place.index(index)))
                        .collect()
                }
            };
            for (route, place) in list {
                let spec = workshop.route(route, (&mut *chain, filters), place);
                routes.specs.push(spec);
                routes.places.push(place);
            }
            start..routes.specs.len()
        };
        self.tree(written, place, &mut reached)
    }

    /// A tree whose ends `reached` takes up.
    pub(in crate::build) fn tree<'p, I: TreeInput, A>(
        &mut self,
        written: &Matcher<I, A>,
        place: Place<'p>,
        reached: &mut Reached<'_, 'w, 'p, A>,
    ) -> TreeSpec {
        if let MatcherType::MatcherTree(tree) = &written.kind
            && matches!(tree.tree, TreeType::CustomMatch(_))
        {
            let message = "not supported by nuncio: ranges of addresses for requests";
            let place = place.field("matcher_tree").field("custom_match");
            self.diagnostics.error(place, message);
        }
        let mut then = |on_match: &OnMatch<I, A>, place: Place<'p>| match &on_match.then {
            Then::Matcher(matcher) => {
                let tree = self.tree(matcher, place.field("matcher"), reached);
                ThenSpec::Tree(Box::new(tree))
            }
            Then::Action(action) => {
                let place = place.field("action").field("typed_config");
                ThenSpec::Ends(reached(self, &action.typed_config, place))
            }
        };
        let kind = match &written.kind {
            MatcherType::MatcherList(list) => {
                let place = place.field("matcher_list").field("matchers");
                let matchers = list.matchers.iter().enumerate().map(|(index, entry)| {
                    let place = place.index(index).field("on_match");
                    (predicate(&entry.predicate), then(&entry.on_match, place))
                });
                TreeKindSpec::List(matchers.collect())
            }
            MatcherType::MatcherTree(tree) => {
                let place = place.field("matcher_tree");
                let input = tree.input.typed_config.spec();
                let mut entries = |map: &MatchMap<I, A>, place: Place<'p>| {
                    let place = place.field("map");
                    let entries = map.map.iter();
                    let entries = entries.map(|(key, on)| (key.clone(), then(on, place.key(key))));
                    entries.collect()
                };
                match &tree.tree {
                    TreeType::ExactMatchMap(map) => {
                        TreeKindSpec::Exact(input, entries(map, place.field("exact_match_map")))
                    }
                    TreeType::PrefixMatchMap(map) => {
                        TreeKindSpec::Prefix(input, entries(map, place.field("prefix_match_map")))
                    }
                    // It was told.
                    TreeType::CustomMatch(_) => TreeKindSpec::List(Vec::new()),
                }
            }
        };
        let otherwise = written.on_no_match.as_ref();
        let otherwise = otherwise.map(|on| Box::new(then(on, place.field("on_no_match"))));
        TreeSpec { kind, otherwise }
    }
}

fn predicate<I: TreeInput>(written: &Predicate<I>) -> PredicateSpec {
    match &written.kind {
        PredicateType::SinglePredicate(single) => {
            let ValueMatch::ValueMatch(test) = &single.matcher;
            PredicateSpec::Single(single.input.typed_config.spec(), string(test))
        }
        PredicateType::OrMatcher(list) => {
            PredicateSpec::Any(list.predicate.iter().map(predicate).collect())
        }
        PredicateType::AndMatcher(list) => {
            PredicateSpec::All(list.predicate.iter().map(predicate).collect())
        }
        PredicateType::NotMatcher(inner) => PredicateSpec::Not(Box::new(predicate(inner))),
    }
}

pub(in crate::build) fn string(written: &XdsStringMatcher) -> StringMatchSpec {
    let pattern = match &written.pattern {
        XdsMatchPattern::Exact(text) => StringPatternSpec::Exact(text.clone()),
        XdsMatchPattern::Prefix(text) => StringPatternSpec::Prefix(text.clone()),
        XdsMatchPattern::Suffix(text) => StringPatternSpec::Suffix(text.clone()),
        XdsMatchPattern::Contains(text) => StringPatternSpec::Contains(text.clone()),
        XdsMatchPattern::SafeRegex(regex) => StringPatternSpec::SafeRegex(regex.regex.clone()),
    };
    StringMatchSpec {
        pattern,
        ignore_case: written.ignore_case,
    }
}
