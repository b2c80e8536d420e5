//! Which filter chain a connection gets by a tree of matchers (`Listener.filter_chain_matcher`).
//!
//! Owns how it is walked: as in Envoy, what follows a match and finds nothing is passed over as if the
//! match had not been one. Pure; `build` fills it, `listener` asks.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use super::Cidr;
use super::chains::Arriving;
use crate::route::TextCondition;

/// `xds.type.matcher.v3.Matcher` with inputs of connections, compiled.
pub struct ChainTree {
    /// How it finds what follows.
    pub kind: TreeKind,
    /// `on_no_match`.
    pub otherwise: Option<Box<Then>>,
}

/// How a tree finds what follows.
pub enum TreeKind {
    /// `matcher_list`: the first that holds and leads somewhere.
    List(Vec<(Predicate, Then)>),
    /// `exact_match_map`.
    Exact(Input, HashMap<Box<str>, Then>),
    /// `prefix_match_map`, the longest first.
    Prefix(Input, Vec<(Box<str>, Then)>),
    /// `IPMatcher`, the smallest range first; what follows is one of the list.
    Ranges(AddressInput, Vec<Range>, Vec<Then>),
}

/// A range of addresses.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Which.
    pub of: Cidr,
    /// `exclusive`: whether it counts only where no smaller one has the address.
    pub is_exclusive: bool,
    /// The position of what follows.
    pub then: usize,
}

/// What follows a match.
pub enum Then {
    /// Another tree.
    Tree(ChainTree),
    /// The filter chain of that number; none where there is none of the name, and the connection is closed.
    Chain(Option<usize>),
}

/// What has to hold.
pub enum Predicate {
    /// A text is one of those.
    Single(Input, TextCondition),
    /// One of them holds.
    Any(Vec<Self>),
    /// All of them do.
    All(Vec<Self>),
    /// It does not.
    Not(Box<Self>),
}

/// A text of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// An address.
    Address(AddressInput),
    /// The port that the connection came to.
    DestinationPort,
    /// The client's.
    SourcePort,
    /// `local`, or none.
    SourceType,
    /// The name that a TLS client asks for.
    ServerName,
    /// `tls` or `raw_buffer`.
    TransportProtocol,
    /// `'h2','http/1.1'`.
    ApplicationProtocol,
}

/// An address of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressInput {
    /// The one that it came to.
    Destination,
    /// The client's.
    Source,
    /// That of the peer of the socket.
    DirectSource,
}

impl ChainTree {
    /// The filter chain for a connection, or that it has none; nothing where the tree leads nowhere.
    #[must_use]
    pub fn find(&self, arriving: &Arriving<'_>) -> Option<Option<usize>> {
        let found = match &self.kind {
            TreeKind::List(entries) => {
                let mut holding = entries.iter();
                holding.find_map(|(predicate, then)| {
                    let then = predicate.holds(arriving).then_some(then)?;
                    then.find(arriving)
                })
            }
            TreeKind::Exact(input, map) => input
                .read(arriving)
                .and_then(|text| map.get(&*text)?.find(arriving)),
            TreeKind::Prefix(input, list) => input.read(arriving).and_then(|text| {
                let mut list = list.iter();
                list.find_map(|(prefix, then)| {
                    let then = text.starts_with(&**prefix).then_some(then)?;
                    then.find(arriving)
                })
            }),
            TreeKind::Ranges(input, ranges, list) => input.read(arriving).and_then(|address| {
                let holding = ranges.iter().filter(|range| range.of.contains(address));
                let counting = holding
                    .enumerate()
                    .filter(|(at, range)| *at == 0 || !range.is_exclusive);
                counting
                    .filter_map(|(_, range)| list.get(range.then)?.find(arriving))
                    .next()
            }),
        };
        found.or_else(|| self.otherwise.as_ref()?.find(arriving))
    }
}

impl Then {
    fn find(&self, arriving: &Arriving<'_>) -> Option<Option<usize>> {
        match self {
            Self::Tree(tree) => tree.find(arriving),
            Self::Chain(chain) => Some(*chain),
        }
    }
}

impl Predicate {
    fn holds(&self, arriving: &Arriving<'_>) -> bool {
        match self {
            Self::Single(input, test) => input
                .read(arriving)
                .is_some_and(|text| test.matches(text.as_bytes())),
            Self::Any(list) => list.iter().any(|predicate| predicate.holds(arriving)),
            Self::All(list) => list.iter().all(|predicate| predicate.holds(arriving)),
            Self::Not(predicate) => !predicate.holds(arriving),
        }
    }
}

impl Input {
    /// The text; none where the connection has none.
    fn read<'a>(self, arriving: &Arriving<'a>) -> Option<Cow<'a, str>> {
        let text = |text: &'a str| (!text.is_empty()).then_some(Cow::Borrowed(text));
        match self {
            Self::Address(input) => Some(input.read(arriving)?.to_string().into()),
            Self::DestinationPort => Some(arriving.local?.port().to_string().into()),
            Self::SourcePort => Some(arriving.remote?.port().to_string().into()),
            Self::SourceType => arriving.is_local().then_some(Cow::Borrowed("local")),
            Self::ServerName => text(arriving.server_name),
            Self::TransportProtocol => text(arriving.transport),
            Self::ApplicationProtocol => {
                let all = arriving.protocols.join("','");
                (!arriving.protocols.is_empty()).then(|| format!("'{all}'").into())
            }
        }
    }
}

impl AddressInput {
    fn read(self, arriving: &Arriving<'_>) -> Option<IpAddr> {
        let address = match self {
            Self::Destination => arriving.local,
            Self::Source => arriving.remote,
            Self::DirectSource => arriving.direct_remote,
        };
        address.map(|address| address.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::spec::{StringMatchSpec, StringPatternSpec};

    fn arriving<'a>(source: &str, name: &'a str, protocols: &'a [Box<str>]) -> Arriving<'a> {
        Arriving {
            local: Some("10.0.0.1:443".parse().unwrap()),
            remote: Some(format!("{source}:1000").parse().unwrap()),
            direct_remote: Some("192.0.2.1:2000".parse().unwrap()),
            server_name: name,
            transport: "tls",
            protocols,
        }
    }

    fn is(input: Input, text: &str) -> Predicate {
        let spec = StringMatchSpec {
            pattern: StringPatternSpec::Exact(text.to_owned()),
            ignore_case: false,
        };
        Predicate::Single(input, TextCondition::new(&spec).unwrap())
    }

    fn chain(number: usize) -> Then {
        Then::Chain(Some(number))
    }

    #[test]
    fn inputs_are_texts() {
        let protocols = ["h2".into(), "http/1.1".into()];
        let of = |input: Input, protocols| {
            let arriving = arriving("10.0.0.1", "", protocols);
            input.read(&arriving).map(Cow::into_owned)
        };
        for (input, expected) in [
            (Input::Address(AddressInput::Destination), Some("10.0.0.1")),
            (
                Input::Address(AddressInput::DirectSource),
                Some("192.0.2.1"),
            ),
            (Input::DestinationPort, Some("443")),
            (Input::SourcePort, Some("1000")),
            (Input::SourceType, Some("local")),
            (Input::ServerName, None),
            (Input::TransportProtocol, Some("tls")),
            (Input::ApplicationProtocol, Some("'h2','http/1.1'")),
        ] {
            assert_eq!(of(input, &protocols[..]).as_deref(), expected, "{input:?}");
        }
        assert_eq!(of(Input::ApplicationProtocol, &[]), None);
    }

    #[test]
    fn what_leads_nowhere_is_passed_over() {
        let range = |text: &str, prefix, then| Range {
            of: Cidr {
                address: text.parse().unwrap(),
                prefix,
            },
            is_exclusive: false,
            then,
        };
        let by_name = |name: &str| {
            Then::Tree(ChainTree {
                kind: TreeKind::Exact(Input::ServerName, [(name.into(), chain(2))].into()),
                otherwise: None,
            })
        };
        let tree = ChainTree {
            kind: TreeKind::Ranges(
                AddressInput::Source,
                vec![
                    range("10.1.2.3", 32, 1),
                    range("10.1.0.0", 16, 2),
                    range("10.0.0.0", 8, 0),
                ],
                vec![chain(1), by_name("a.test"), Then::Chain(None)],
            ),
            otherwise: Some(Box::new(Then::Tree(ChainTree {
                kind: TreeKind::Prefix(
                    Input::ServerName,
                    vec![("a.".into(), chain(4)), ("".into(), chain(5))],
                ),
                otherwise: Some(Box::new(chain(6))),
            }))),
        };
        for (source, name, expected) in [
            ("10.1.2.3", "a.test", Some(2)),
            ("10.1.2.3", "b.test", None),
            ("10.1.9.9", "a.test", None),
            ("10.9.9.9", "a.test", Some(1)),
            ("11.0.0.1", "a.test", Some(4)),
            ("11.0.0.1", "b.test", Some(5)),
            ("11.0.0.1", "", Some(6)),
        ] {
            let arriving = arriving(source, name, &[]);
            assert_eq!(tree.find(&arriving), Some(expected), "{source} {name}");
        }
    }

    #[test]
    fn an_exclusive_range_counts_for_who_is_in_no_smaller_one() {
        let range = |text: &str, prefix, then| Range {
            of: Cidr {
                address: text.parse().unwrap(),
                prefix,
            },
            is_exclusive: true,
            then,
        };
        let by_name = Then::Tree(ChainTree {
            kind: TreeKind::Exact(Input::ServerName, [("a.test".into(), chain(1))].into()),
            otherwise: None,
        });
        let tree = ChainTree {
            kind: TreeKind::Ranges(
                AddressInput::Source,
                vec![range("10.1.0.0", 16, 0), range("10.0.0.0", 8, 1)],
                vec![by_name, chain(2)],
            ),
            otherwise: Some(Box::new(chain(3))),
        };
        for (source, name, expected) in [
            ("10.1.2.3", "a.test", 1),
            ("10.1.2.3", "b.test", 3),
            ("10.2.2.3", "b.test", 2),
            ("11.0.0.1", "a.test", 3),
        ] {
            let arriving = arriving(source, name, &[]);
            assert_eq!(
                tree.find(&arriving),
                Some(Some(expected)),
                "{source} {name}"
            );
        }
    }

    #[test]
    fn conditions_are_tried_one_after_another() {
        let name = || is(Input::ServerName, "a");
        let port = || is(Input::DestinationPort, "443");
        let tree = ChainTree {
            kind: TreeKind::List(vec![
                (
                    Predicate::All(vec![name(), Predicate::Not(Box::new(port()))]),
                    chain(0),
                ),
                (Predicate::All(vec![name(), port()]), chain(1)),
                (
                    Predicate::Any(vec![is(Input::SourcePort, "1"), is(Input::ServerName, "b")]),
                    chain(2),
                ),
            ]),
            otherwise: None,
        };
        for (name, expected) in [("a", Some(Some(1))), ("b", Some(Some(2))), ("c", None)] {
            assert_eq!(
                tree.find(&arriving("10.0.0.1", name, &[])),
                expected,
                "{name}"
            );
        }
    }
}
