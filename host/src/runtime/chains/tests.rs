//! The compiled choice of a filter chain is the one of a walk over all of them.

use proptest::prelude::*;

use super::*;

fn range(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').unwrap();
    Cidr {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
    }
}

fn ranges(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| range(text)).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn names(names: &[&str]) -> Demands {
    Demands {
        server_names: texts(names),
        ..Demands::default()
    }
}

/// A connection of `203.0.113.9:5000` to `10.0.0.1:443` over TLS.
const ARRIVING: Arriving<'static> = Arriving {
    local: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443)),
    remote: Some(SocketAddr::new(
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        5000,
    )),
    direct_remote: Some(SocketAddr::new(
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        5000,
    )),
    server_name: "",
    transport: TLS,
    protocols: &[],
};

fn matcher(chains: &[Demands]) -> Matcher {
    let mut matcher = Matcher::default();
    for (number, demands) in chains.iter().enumerate() {
        matcher
            .add(demands, u32::try_from(number).unwrap())
            .unwrap();
    }
    matcher
}

#[test]
fn names_go_from_the_exact_one_to_the_shortest_suffix() {
    let matcher = matcher(&[
        names(&["a.b.test"]),
        names(&["*.b.test"]),
        names(&["*.test"]),
        names(&["b.test"]),
        Demands::default(),
    ]);
    let find = |server_name| {
        matcher.find(&Arriving {
            server_name,
            ..ARRIVING
        })
    };
    for (name, chain) in [
        ("a.b.test", 0),
        ("c.b.test", 1),
        ("d.c.b.test", 1),
        ("b.test", 3),
        ("c.test", 2),
        ("test", 4),
        ("", 4),
        (".test", 2),
        (".", 4),
        ("x.test.", 4),
    ] {
        assert_eq!(find(name), Some(chain), "{name:?}");
    }
}

#[test]
fn a_name_that_is_matched_is_not_given_up_for_a_later_property() {
    let matcher = matcher(&[
        Demands {
            protocols: texts(&["h2"]),
            ..names(&["a.test"])
        },
        Demands::default(),
    ]);
    let find = |server_name, protocols: &[&str]| {
        let protocols: Vec<Box<str>> = protocols.iter().map(|text| (*text).into()).collect();
        matcher.find(&Arriving {
            server_name,
            protocols: &protocols,
            ..ARRIVING
        })
    };
    assert_eq!(find("a.test", &["http/1.1", "h2"]), Some(0));
    assert_eq!(find("a.test", &["http/1.1"]), None);
    assert_eq!(find("b.test", &["http/1.1"]), Some(1));
}

#[test]
fn ports_ranges_and_sources() {
    let matcher = matcher(&[
        Demands {
            destination_port: Some(443),
            destinations: ranges(&["10.0.0.0/8"]),
            ..Demands::default()
        },
        Demands {
            destination_port: Some(443),
            destinations: ranges(&["10.0.0.0/24", "2001:db8::/32"]),
            source_type: SourceType::External,
            ..Demands::default()
        },
        Demands {
            destination_port: Some(443),
            destinations: ranges(&["10.0.0.0/24"]),
            source_type: SourceType::Local,
            ..Demands::default()
        },
        Demands {
            sources: ranges(&["192.0.2.0/24"]),
            source_ports: vec![7, 8],
            ..Demands::default()
        },
        Demands {
            direct_sources: ranges(&["0.0.0.0/0"]),
            ..Demands::default()
        },
    ]);
    let find = |local: &str, remote: &str, direct: &str| {
        matcher.find(&Arriving {
            local: local.parse().ok(),
            remote: remote.parse().ok(),
            direct_remote: direct.parse().ok(),
            ..ARRIVING
        })
    };
    let client = "203.0.113.9:1";
    assert_eq!(find("10.9.9.9:443", client, client), Some(0));
    assert_eq!(find("10.0.0.9:443", client, client), Some(1));
    assert_eq!(find("10.0.0.9:443", "127.0.0.1:1", client), Some(2));
    assert_eq!(find("10.0.0.9:443", "127.0.0.2:1", client), Some(1));
    assert_eq!(find("10.0.0.9:443", "10.0.0.9:1", client), Some(2));
    assert_eq!(find("[2001:db8::1]:443", client, client), Some(1));
    assert_eq!(
        find("11.0.0.9:443", client, client),
        None,
        "the port is taken"
    );
    assert_eq!(find("11.0.0.9:80", client, client), Some(4));
    assert_eq!(find("11.0.0.9:80", "192.0.2.1:7", "[::1]:1"), Some(3));
    assert_eq!(find("11.0.0.9:80", "192.0.2.1:9", "[::1]:1"), None);
    assert_eq!(
        find("/unix", "", ""),
        Some(4),
        "everything holds no address"
    );
}

#[test]
fn chains_that_ask_for_the_same_are_told() {
    let mut matcher = matcher(&[names(&["a.test", "b.test"]), Demands::default()]);
    assert_eq!(matcher.add(&names(&["c.test", "b.test"]), 2), Err(0));
    assert_eq!(matcher.add(&Demands::default(), 2), Err(1));
    assert_eq!(matcher.add(&names(&["*.b.test"]), 2), Ok(()));
}

#[test]
fn a_thousand_names() {
    let chains: Vec<Demands> = (0..1000)
        .map(|number| names(&[&format!("host{number}.example.test")]))
        .collect();
    let matcher = matcher(&chains);
    for number in [0, 1, 500, 999] {
        let server_name = &*format!("host{number}.example.test");
        let arriving = Arriving {
            server_name,
            ..ARRIVING
        };
        assert_eq!(matcher.find(&arriving), Some(number));
    }
    assert_eq!(matcher.find(&ARRIVING), None);
}

/// The same choice by going through all chains for each property in turn: those that ask for the most
/// specific value that the connection has are left.
fn walk(chains: &[Demands], arriving: &Arriving<'_>) -> Option<u32> {
    fn keep(
        left: Vec<(u32, &Demands)>,
        // How well a chain fits: none where it does not, 0 where it asks nothing.
        fit: impl Fn(&Demands) -> Option<usize>,
    ) -> Vec<(u32, &Demands)> {
        let best = left.iter().filter_map(|(_, chain)| fit(chain)).max();
        left.into_iter()
            .filter(|(_, chain)| best.is_some() && fit(chain) == best)
            .collect()
    }
    fn by_list<T>(list: &[T], fit: impl Fn(&T) -> Option<usize>) -> Option<usize> {
        if list.is_empty() {
            return Some(0);
        }
        list.iter().filter_map(fit).max()
    }
    let in_range = |list: &[Cidr], address: Option<SocketAddr>| {
        let ip = address.map_or(NO_ADDRESS, |address| address.ip());
        by_list(list, |range| {
            range.contains(ip).then_some(usize::from(range.prefix) + 1)
        })
    };
    let port = |wanted: Option<u16>, address: Option<SocketAddr>| match wanted {
        None => Some(0),
        Some(port) => (address.map(|address| address.port()) == Some(port)).then_some(1),
    };
    let name = |wanted: &String| {
        let asked = arriving.server_name;
        match wanted.strip_prefix('*') {
            None => (asked == wanted).then_some(usize::MAX),
            Some(suffix) => {
                (asked.len() > suffix.len() && asked.ends_with(suffix)).then_some(suffix.len())
            }
        }
    };
    let protocol = |wanted: &String| {
        let mut offered = arriving.protocols.iter();
        offered
            .position(|protocol| **protocol == **wanted)
            .map(|at| usize::MAX - at)
    };
    let left = (0..).zip(chains).collect();
    let left = keep(left, |chain| port(chain.destination_port, arriving.local));
    let left = keep(left, |chain| in_range(&chain.destinations, arriving.local));
    let left = keep(left, |chain| by_list(&chain.server_names, name));
    let left = keep(left, |chain| match &chain.transport {
        None => Some(0),
        Some(transport) => (transport == arriving.transport).then_some(1),
    });
    let left = keep(left, |chain| by_list(&chain.protocols, protocol));
    let left = keep(left, |chain| {
        in_range(&chain.direct_sources, arriving.direct_remote)
    });
    let left = keep(left, |chain| match chain.source_type {
        SourceType::Any => Some(0),
        SourceType::Local => arriving.is_local().then_some(1),
        SourceType::External => (!arriving.is_local()).then_some(1),
    });
    let left = keep(left, |chain| in_range(&chain.sources, arriving.remote));
    let left = keep(left, |chain| {
        by_list(&chain.source_ports, |wanted| {
            port(Some(*wanted), arriving.remote)
        })
    });
    left.first().map(|(number, _)| *number)
}

fn some_ranges() -> impl Strategy<Value = Vec<Cidr>> {
    let all = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/31",
        "10.0.0.1/32",
        "::1/128",
        "::/1",
    ];
    proptest::sample::subsequence(all.to_vec(), 0..3).prop_map(|texts| ranges(&texts))
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(all.to_vec(), 0..3).prop_map(|found| texts(&found))
}

prop_compose! {
    fn demands()(
        destination_port in proptest::option::of(80_u16..82),
        destinations in some_ranges(),
        server_names in some_of(&["a.b.test", "*.b.test", "*.test", "b.test"]),
        transport in proptest::option::of(proptest::sample::select(vec![TLS, RAW_BUFFER])),
        protocols in some_of(&["h2", "http/1.1"]),
        direct_sources in some_ranges(),
        source_type in proptest::sample::select(vec![SourceType::Any, SourceType::Local, SourceType::External]),
        sources in some_ranges(),
        source_ports in proptest::sample::subsequence(vec![1_u16, 2], 0..2),
    ) -> Demands {
        Demands {
            destination_port, destinations, server_names, transport: transport.map(str::to_owned),
            protocols, direct_sources, source_type, sources, source_ports,
        }
    }
}

fn address() -> impl Strategy<Value = Option<SocketAddr>> {
    let all = [
        "10.0.0.1:80",
        "10.0.0.0:81",
        "10.9.9.9:1",
        "127.0.0.1:2",
        "[::1]:80",
        "[8000::]:1",
    ];
    proptest::sample::select(all.to_vec()).prop_map(|text| text.parse().ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_same_as_going_through_all_chains(
        chains in proptest::collection::vec(demands(), 1..12),
        local in proptest::option::weighted(0.9, address()),
        remote in proptest::option::weighted(0.9, address()),
        direct in proptest::option::weighted(0.9, address()),
        server_name in proptest::sample::select(vec!["", "a.b.test", "x.b.test", "b.test", "x.y"]),
        transport in proptest::sample::select(vec![TLS, RAW_BUFFER]),
        protocols in proptest::sample::subsequence(vec!["http/1.1", "h2", "h3"], 0..3),
    ) {
        let mut kept = Vec::new();
        let mut matcher = Matcher::default();
        for chain in chains {
            let number = u32::try_from(kept.len()).unwrap();
            // What an addition leaves behind that failed half way must not be asked.
            let mut trial = Matcher::default();
            let mut all = kept.clone();
            all.push(chain);
            let numbered = (0..).zip(&all);
            let fits = numbered.map(|(number, chain)| trial.add(chain, number)).all(|added| added.is_ok());
            if fits {
                kept = all;
                matcher = trial;
            }
            prop_assert!(number <= u32::try_from(kept.len()).unwrap());
        }
        let protocols: Vec<Box<str>> = protocols.into_iter().map(Into::into).collect();
        let arriving = Arriving {
            local: local.flatten(),
            remote: remote.flatten(),
            direct_remote: direct.flatten(),
            server_name,
            transport,
            protocols: &protocols,
        };
        prop_assert_eq!(matcher.find(&arriving), walk(&kept, &arriving));
    }
}
