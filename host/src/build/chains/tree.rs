//! A tree of matchers that leads to filter chains: `Listener.filter_chain_matcher`.

use super::super::Workshop;
use super::super::routes::text_of_xds;
use crate::config::Place;
use crate::config::address::CidrRange;
use crate::config::chain_matcher::{ChainMatcher, ChainName, NetworkInput};
use crate::config::listener::FilterChain as WrittenChain;
use crate::config::route::{
    CustomMatchConfig, IpMatcher, MatchMap, MatcherType, OnMatch, Predicate as WrittenPredicate,
    PredicateType, Then as WrittenThen, TreeType, ValueMatch,
};
use crate::nearest::nearest;
use crate::route::TextCondition;
use crate::runtime::chain_tree::{
    AddressInput, ChainTree, Input, Predicate, Range, Then, TreeKind,
};

type WrittenOnMatch = OnMatch<NetworkInput, ChainName>;

impl Workshop<'_> {
    /// The tree, which leads to `chains`; `None` where anything is wrong with it.
    pub(super) fn chain_tree(
        &mut self,
        written: &ChainMatcher,
        chains: &[WrittenChain],
        place: Place<'_>,
    ) -> Option<ChainTree> {
        let kind = match &written.kind {
            MatcherType::MatcherList(list) => {
                let place = place.field("matcher_list").field("matchers");
                let entries = list.matchers.iter().enumerate().map(|(index, entry)| {
                    let place = place.index(index);
                    let predicate =
                        self.chain_predicate(&entry.predicate, place.field("predicate"));
                    let then = self.chain_then(&entry.on_match, chains, place.field("on_match"));
                    Some((predicate?, then?))
                });
                TreeKind::List(all(entries)?)
            }
            MatcherType::MatcherTree(tree) => {
                let place = place.field("matcher_tree");
                let input = input(&tree.input.typed_config);
                match &tree.tree {
                    TreeType::ExactMatchMap(map) => {
                        let place = place.field("exact_match_map");
                        let map = self.chain_map(map, chains, place)?;
                        TreeKind::Exact(input, map.into_iter().collect())
                    }
                    TreeType::PrefixMatchMap(map) => {
                        let place = place.field("prefix_match_map");
                        let mut map = self.chain_map(map, chains, place)?;
                        map.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
                        TreeKind::Prefix(input, map)
                    }
                    TreeType::CustomMatch(custom) => {
                        let Input::Address(input) = input else {
                            let message = "this input is no address, and lies in no range of them";
                            self.diagnostics.error(place.field("input"), message);
                            return None;
                        };
                        let CustomMatchConfig::Ip(ranges) = &custom.typed_config;
                        let place = place.field("custom_match").field("typed_config");
                        self.chain_ranges(input, ranges, chains, place)?
                    }
                }
            }
        };
        let otherwise = match &written.on_no_match {
            Some(on) => Some(Box::new(self.chain_then(
                on,
                chains,
                place.field("on_no_match"),
            )?)),
            None => None,
        };
        Some(ChainTree { kind, otherwise })
    }

    fn chain_then(
        &mut self,
        written: &WrittenOnMatch,
        chains: &[WrittenChain],
        place: Place<'_>,
    ) -> Option<Then> {
        let action = match &written.then {
            WrittenThen::Matcher(matcher) => {
                let place = place.field("matcher");
                return self.chain_tree(matcher, chains, place).map(Then::Tree);
            }
            WrittenThen::Action(action) => action,
        };
        let ChainName::Name(name) = &action.typed_config;
        let found = chains.iter().position(|chain| chain.name == name.value);
        if found.is_none() {
            let message = format!(
                "there is no filter chain \"{}\": these connections are closed",
                name.value
            );
            let names = chains.iter().map(|chain| chain.name.as_str());
            let near = nearest(&name.value, names);
            let place = place.field("action").field("typed_config").field("value");
            let shown = self.diagnostics.warning(place, message);
            if let Some(near) = near {
                shown.hint(format!("did you mean \"{near}\"?"));
            }
        }
        Some(Then::Chain(found))
    }

    fn chain_map(
        &mut self,
        written: &MatchMap<NetworkInput, ChainName>,
        chains: &[WrittenChain],
        place: Place<'_>,
    ) -> Option<Vec<(Box<str>, Then)>> {
        let place = place.field("map");
        all(written.map.iter().map(|(key, on)| {
            let then = self.chain_then(on, chains, place.key(key))?;
            Some((key.as_str().into(), then))
        }))
    }

    fn chain_ranges(
        &mut self,
        input: AddressInput,
        written: &IpMatcher<NetworkInput, ChainName>,
        chains: &[WrittenChain],
        place: Place<'_>,
    ) -> Option<TreeKind> {
        let place = place.field("range_matchers");
        let (mut ranges, mut list) = (Vec::new(), Vec::new());
        for (number, entry) in written.range_matchers.iter().enumerate() {
            let place = place.index(number);
            for (index, range) in entry.ranges.iter().enumerate() {
                let range = CidrRange {
                    address_prefix: range.address_prefix.clone(),
                    prefix_len: range.prefix_len,
                };
                let place = place.field("ranges").index(index);
                ranges.push(Range {
                    of: self.range(&range, place)?,
                    is_exclusive: entry.exclusive,
                    then: number,
                });
            }
            list.push(self.chain_then(&entry.on_match, chains, place.field("on_match"))?);
        }
        ranges.sort_by_key(|range| std::cmp::Reverse(range.of.prefix));
        Some(TreeKind::Ranges(input, ranges, list))
    }

    fn chain_predicate(
        &mut self,
        written: &WrittenPredicate<NetworkInput>,
        place: Place<'_>,
    ) -> Option<Predicate> {
        let mut list = |written: &[WrittenPredicate<NetworkInput>], field| {
            let place = place.field(field).field("predicate");
            let list = written.iter().enumerate();
            all(list.map(|(index, predicate)| self.chain_predicate(predicate, place.index(index))))
        };
        match &written.kind {
            PredicateType::OrMatcher(or) => list(&or.predicate, "or_matcher").map(Predicate::Any),
            PredicateType::AndMatcher(and) => {
                list(&and.predicate, "and_matcher").map(Predicate::All)
            }
            PredicateType::NotMatcher(inner) => {
                let inner = self.chain_predicate(inner, place.field("not_matcher"))?;
                Some(Predicate::Not(Box::new(inner)))
            }
            PredicateType::SinglePredicate(single) => {
                let ValueMatch::ValueMatch(test) = &single.matcher;
                let built = TextCondition::new(&text_of_xds(test));
                let place = place.field("single_predicate").field("value_match");
                let test = self.of_routes(built, place)?;
                Some(Predicate::Single(input(&single.input.typed_config), test))
            }
        }
    }
}

/// All of them, once each was looked at.
fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

const fn input(written: &NetworkInput) -> Input {
    match written {
        NetworkInput::DestinationIp(_) => Input::Address(AddressInput::Destination),
        NetworkInput::SourceIp(_) => Input::Address(AddressInput::Source),
        NetworkInput::DirectSourceIp(_) => Input::Address(AddressInput::DirectSource),
        NetworkInput::DestinationPort(_) => Input::DestinationPort,
        NetworkInput::SourcePort(_) => Input::SourcePort,
        NetworkInput::SourceType(_) => Input::SourceType,
        NetworkInput::ServerName(_) => Input::ServerName,
        NetworkInput::TransportProtocol(_) => Input::TransportProtocol,
        NetworkInput::ApplicationProtocol(_) => Input::ApplicationProtocol,
    }
}
