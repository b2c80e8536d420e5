//! A tree of matchers in place of a list of routes: `VirtualHost.matcher`.

use super::{Filters, Workshop};
use crate::config::Place;
use crate::config::route::{
    MatchInput, MatchInputConfig, MatchMap, MatchedRoutes, Matcher, MatcherType, OnMatch,
    Predicate, PredicateType, Then, TreeType, ValueMatch, XdsMatchPattern, XdsStringMatcher,
};
use crate::route::spec::{
    PredicateSpec, RouteSpec, StringMatchSpec, StringPatternSpec, ThenSpec, TreeKindSpec, TreeSpec,
};

/// The routes that a tree leads to, in the order in which they are written.
#[derive(Default)]
pub(super) struct Routes<'a> {
    pub(super) specs: Vec<RouteSpec>,
    /// Where each of them is.
    pub(super) places: Vec<Place<'a>>,
}

impl Workshop<'_> {
    pub(super) fn tree<'p>(
        &mut self,
        written: &Matcher,
        (chain, filters): Filters<'_>,
        place: Place<'p>,
        routes: &mut Routes<'p>,
    ) -> TreeSpec {
        if let MatcherType::MatcherTree(tree) = &written.kind
            && matches!(tree.tree, TreeType::CustomMatch(_))
        {
            let message = "not supported by nuncio: ranges of addresses for routes";
            let place = place.field("matcher_tree").field("custom_match");
            self.diagnostics.error(place, message);
        }
        let mut then = |on_match: &OnMatch, place: Place<'p>| {
            self.on_match(on_match, (&mut *chain, filters), place, routes)
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
                let input = input(&tree.input);
                let mut entries = |map: &MatchMap, place: Place<'p>| {
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

    fn on_match<'p>(
        &mut self,
        written: &OnMatch,
        (chain, filters): Filters<'_>,
        place: Place<'p>,
        routes: &mut Routes<'p>,
    ) -> ThenSpec {
        let action = place.field("action").field("typed_config");
        match &written.then {
            Then::Matcher(matcher) => {
                let place = place.field("matcher");
                let tree = self.tree(matcher, (chain, filters), place, routes);
                ThenSpec::Tree(Box::new(tree))
            }
            Then::Action(extension) => {
                let start = routes.specs.len();
                let list = match &extension.typed_config {
                    MatchedRoutes::Route(route) => vec![(&**route, action)],
                    MatchedRoutes::List(list) => {
                        let listed = list.routes.iter().enumerate();
                        let place = action.field("routes");
                        listed
                            .map(|(index, route)| (route, place.index(index)))
                            .collect()
                    }
                };
                for (route, place) in list {
                    let spec = self.route(route, (&mut *chain, filters), place);
                    routes.specs.push(spec);
                    routes.places.push(place);
                }
                ThenSpec::Routes(start..routes.specs.len())
            }
        }
    }
}

fn predicate(written: &Predicate) -> PredicateSpec {
    match &written.kind {
        PredicateType::SinglePredicate(single) => {
            let ValueMatch::ValueMatch(test) = &single.matcher;
            PredicateSpec::Single(input(&single.input), string(test))
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

fn input(written: &MatchInput) -> String {
    let MatchInputConfig::Header(header) = &written.typed_config;
    header.header_name.clone()
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
