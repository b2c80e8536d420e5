//! Which filter chain of a listener is for which connections.
//!
//! Owns the compilation of `filter_chain_match`, and the errors and warnings about several chains that
//! want the same connections. Called by `listeners`.

mod tree;

use super::Workshop;
use super::listeners::OfListener;
use crate::config::Place;
use crate::config::address::CidrRange;
use crate::config::listener::{
    ConnectionSourceType, FilterChain as WrittenChain, FilterChainMatch, Listener as Written,
};
use crate::runtime::chains::{Demands, Matcher, SourceType};
use crate::runtime::{Choice, Cidr, FilterChain, FilterChains};

/// What is written of a chain that asks for nothing.
static ANYTHING: FilterChainMatch = FilterChainMatch {
    destination_port: None,
    prefix_ranges: Vec::new(),
    direct_source_prefix_ranges: Vec::new(),
    source_type: ConnectionSourceType::Any,
    source_prefix_ranges: Vec::new(),
    source_ports: Vec::new(),
    server_names: Vec::new(),
    transport_protocol: String::new(),
    application_protocols: Vec::new(),
};

impl Workshop<'_> {
    /// All filter chains of a listener with that buffer limit.
    pub(super) fn filter_chains(
        &mut self,
        written: &Written,
        own: OfListener,
        place: Place<'_>,
    ) -> Option<FilterChains> {
        let here = place.field("filter_chains");
        let last = written.default_filter_chain.as_ref();
        if written.filter_chains.is_empty() && last.is_none() {
            self.diagnostics
                .error(here, "a listener needs a filter chain");
            return None;
        }
        let mut all: Vec<Option<FilterChain>> = Vec::new();
        for (index, chain) in written.filter_chains.iter().enumerate() {
            all.push(self.filter_chain(chain, own, here.index(index)));
        }
        let choice = self.choice(written, place);
        if let Some(chain) = last {
            let here = place.field("default_filter_chain");
            if wants(chain) != &ANYTHING {
                // Envoy takes it and does not look at it.
                self.diagnostics.warning(
                    here.field("filter_chain_match"),
                    "a match of the default filter chain has no effect",
                );
            }
            all.push(self.filter_chain(chain, own, here));
        }
        let otherwise = last.map(|_chain| all.len() - 1);
        let all = all.into_iter().collect::<Option<Box<[_]>>>()?;
        Some(match choice? {
            Choice::Only => FilterChains::new(all, Choice::Only, Some(0)),
            choice => FilterChains::new(all, choice, otherwise),
        })
    }

    /// What a chain is chosen by.
    fn choice(&mut self, written: &Written, place: Place<'_>) -> Option<Choice> {
        let chains = &written.filter_chains;
        if let Some(matcher) = &written.filter_chain_matcher {
            self.check_names(chains, place.field("filter_chains"));
            let here = place.field("filter_chain_matcher");
            return self.chain_tree(matcher, chains, here).map(Choice::Tree);
        }
        let matcher = self.chain_matcher(chains, place.field("filter_chains"));
        // The usual listener has one chain for everything: nothing needs to be looked up.
        match chains.as_slice() {
            [only] if wants(only) == &ANYTHING => Some(Choice::Only),
            _ => matcher.map(Box::new).map(Choice::Matches),
        }
    }

    /// Chains that a tree leads to have names of their own, and no matches.
    fn check_names(&mut self, chains: &[WrittenChain], place: Place<'_>) {
        for (index, chain) in chains.iter().enumerate() {
            let here = place.index(index);
            if chain.filter_chain_match.is_some() {
                let message = "beside 'filter_chain_matcher' chains have no matches of their own";
                self.diagnostics
                    .error(here.field("filter_chain_match"), message);
            }
            if chain.name.is_empty() {
                let message = "'filter_chain_matcher' leads to names: this chain has none";
                self.diagnostics.error(here, message);
            }
            let earlier = chains.iter().take(index);
            if earlier.clone().any(|earlier| earlier.name == chain.name) {
                let message = "another filter chain has the same name";
                self.diagnostics.error(here.field("name"), message);
            }
        }
    }

    fn chain_matcher(&mut self, written: &[WrittenChain], place: Place<'_>) -> Option<Matcher> {
        let mut matcher = Matcher::default();
        let mut is_whole = true;
        for (index, (number, chain)) in (0..).zip(written).enumerate() {
            let here = place.index(index).field("filter_chain_match");
            let Some(demands) = self.demands(wants(chain), here) else {
                is_whole = false;
                continue;
            };
            if let Err(first) = matcher.add(&demands, number) {
                is_whole = false;
                let other = usize::try_from(first).unwrap_or_default();
                let message = match written.get(other).map(wants) == Some(wants(chain)) {
                    true => "another filter chain is for the same connections",
                    false => "another filter chain is for some of the same connections",
                };
                let at = match &chain.filter_chain_match {
                    Some(_) => here,
                    None => place.index(index),
                };
                let other = place.index(other);
                self.diagnostics
                    .error(at, message)
                    .related_place(other, "this one");
            }
        }
        is_whole.then_some(matcher)
    }

    fn demands(&mut self, written: &FilterChainMatch, place: Place<'_>) -> Option<Demands> {
        let mut is_good = true;
        let here = place.field("server_names");
        for (index, name) in written.server_names.iter().enumerate() {
            if name.contains('*') && !name.starts_with("*.") {
                is_good = false;
                self.diagnostics
                    .error(
                        here.index(index),
                        format!("\"{name}\" has a wildcard that is not supported"),
                    )
                    .hint("write a whole name, or '*.' and what the names end with; leave server_names out for all of them");
            }
        }
        let destinations = self.all_ranges(&written.prefix_ranges, place.field("prefix_ranges"));
        let direct_sources = self.all_ranges(
            &written.direct_source_prefix_ranges,
            place.field("direct_source_prefix_ranges"),
        );
        let sources = self.all_ranges(
            &written.source_prefix_ranges,
            place.field("source_prefix_ranges"),
        );
        let transport = written.transport_protocol.as_str();
        let demands = Demands {
            destination_port: written.destination_port,
            destinations: destinations?,
            server_names: lower_case(&written.server_names),
            transport: (!transport.is_empty()).then(|| transport.to_owned()),
            protocols: written.application_protocols.clone(),
            direct_sources: direct_sources?,
            source_type: match written.source_type {
                ConnectionSourceType::Any => SourceType::Any,
                ConnectionSourceType::SameIpOrLoopback => SourceType::Local,
                ConnectionSourceType::External => SourceType::External,
            },
            sources: sources?,
            source_ports: written.source_ports.clone(),
        };
        is_good.then_some(demands)
    }

    fn all_ranges(&mut self, written: &[CidrRange], place: Place<'_>) -> Option<Vec<Cidr>> {
        let ranges: Vec<Option<Cidr>> = written
            .iter()
            .enumerate()
            .map(|(index, range)| self.range(range, place.index(index)))
            .collect();
        ranges.into_iter().collect()
    }
}

/// Names as they are compared: without regard to case.
fn lower_case(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// What a chain asks for.
fn wants(chain: &WrittenChain) -> &FilterChainMatch {
    chain.filter_chain_match.as_ref().unwrap_or(&ANYTHING)
}
