//! What a route does with a request: clusters by weight, runtime and fields, hosts, headers, limits, mistakes.

use std::collections::HashMap;

use super::super::facts::Facts;
use super::super::mutation::AppendAction;
use super::super::spec::{
    HashPolicySpec, HashSourceSpec, HostRewriteSpec, RandomSpec, RegexRewriteSpec, TableSpec,
    WeightedClustersSpec, WeightedSpec,
};
use super::super::testing::{
    add, build, direct, exchange, facts, finalize, lines, mutations, pick, prefix, problems,
    request, route, table, table_spec, to_cluster, virtual_host,
};
use super::*;
use crate::observe::format::Format;

fn weighted(clusters: &[(&str, u32)]) -> ForwardSpec {
    let entry = |(name, weight): &(&str, u32)| WeightedSpec {
        name: (*name).to_owned(),
        weight: *weight,
        ..WeightedSpec::default()
    };
    to_weighted(clusters.iter().map(entry).collect())
}

fn to_weighted(clusters: Vec<WeightedSpec>) -> ForwardSpec {
    ForwardSpec::to(ClustersSpec::Weighted(Box::new(WeightedClustersSpec {
        clusters,
        ..WeightedClustersSpec::default()
    })))
}

/// The name of the cluster that a request of that number goes to.
fn chosen(spec: ForwardSpec, request: Headers, random: u64) -> String {
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    let exchange = exchange(request);
    let route = table.find(&Facts::of(&exchange, random)).unwrap();
    name(route.target(pick(route, &exchange, random)).unwrap())
}

fn name(target: &Target) -> String {
    match &target.cluster {
        ClusterName::Fixed(fixed) => fixed.name.to_string(),
        ClusterName::Header(name) => name.to_string(),
    }
}

fn forward(spec: ForwardSpec) -> Forward {
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    let route = table.find(&facts(&request("a", "/", &[]))).unwrap();
    match &route.action {
        Action::Forward(forward) => forward.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn weights_divide_the_numbers_exactly() {
    let spec = || weighted(&[("c0", 0), ("c1", 90), ("c2", 10), ("c0", 0)]);
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec()))]);
    let exchange = exchange(request("a", "/", &[]));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    let mut counts = HashMap::new();
    for random in 0..1000 {
        let target = route.target(pick(route, &exchange, random)).unwrap();
        *counts.entry(name(target)).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        HashMap::from([("c1".to_owned(), 900), ("c2".to_owned(), 100)])
    );
    assert_eq!(
        chosen(spec(), request("a", "/", &[]), u64::MAX),
        "c1",
        "18446744073709551615 mod 100 is 15"
    );
}

#[test]
fn runtime_values_override_weights() {
    use crate::values::{Layer, LayerSpec, Values, Weights};
    let layer = LayerSpec {
        name: "admin".to_owned(),
        layer: Layer::Admin,
    };
    let values = Arc::new(Values::new(vec![layer]));
    let mut spec = weighted(&[("c0", 100), ("c1", 0)]);
    if let ClustersSpec::Weighted(weighted) = &mut spec.clusters {
        let keys = ["w.c0", "w.c1"].map(str::to_owned);
        weighted.weights = Some(Weights::new(&values, keys.into_iter()));
    }
    values.publish();
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    let exchange = exchange(request("a", "/", &[]));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    let by_name = |_: &[u8]| None;
    let count = || {
        let picked = (0..1000).filter_map(|random| route.pick(&exchange, random, &by_name));
        let second = picked.filter(|pick| pick.cluster == Some(1));
        second.count()
    };
    let set = |key: &str, value: &str| {
        let change = [(key.to_owned(), value.to_owned())];
        values.modify(&change).unwrap();
    };
    assert_eq!(count(), 0);
    set("w.c1", "25");
    assert_eq!(count(), 200, "25 of 125");
    set("w.c0", "75");
    assert_eq!(count(), 250);
    set("w.c0", "0");
    assert_eq!(count(), 1000);
    set("w.c1", "0");
    assert_eq!(
        route.pick(&exchange, 7, &by_name),
        None,
        "no weight is left"
    );
    set("w.c0", "");
    set("w.c1", "");
    assert_eq!(count(), 0);
}

#[test]
fn a_header_or_a_hash_can_stand_in_for_chance() {
    let spec = |random| {
        let mut spec = weighted(&[("c0", 50), ("c1", 50)]);
        if let ClustersSpec::Weighted(weighted) = &mut spec.clusters {
            weighted.random = random;
        }
        spec.hash_policy = vec![HashPolicySpec {
            source: HashSourceSpec::Header {
                name: "x-user".to_owned(),
                rewrite: None,
            },
            terminal: false,
        }];
        spec
    };
    let by_header = || spec(RandomSpec::Header("X-Random".to_owned()));
    for (fields, random, expected) in [
        (&[("x-random", "7")][..], 99, "c0"),
        (&[("x-random", "99")], 7, "c1"),
        (&[("x-random", "18446744073709551615")], 99, "c0"),
        (&[], 99, "c1"),
        (&[("x-random", "much")], 99, "c1"),
        (&[("x-random", "")], 99, "c1"),
        (&[("x-random", "-1")], 99, "c1"),
        (&[("x-random", "7"), ("x-random", "8")], 99, "c1"),
    ] {
        let found = chosen(by_header(), request("a", "/", fields), random);
        assert_eq!(found, expected, "{fields:?}");
    }
    let by_hash = |fields: &[(&str, &str)], random| {
        chosen(spec(RandomSpec::Hash), request("a", "/", fields), random)
    };
    let of_users: Vec<String> = (0..64)
        .map(|user| {
            let user = format!("user {user}");
            let fields = [("x-user", user.as_str())];
            let first = by_hash(&fields, 0);
            assert_eq!(by_hash(&fields, 99), first, "{user}");
            first
        })
        .collect();
    assert!(
        ["c0", "c1"]
            .iter()
            .all(|c| of_users.iter().any(|of| of == c))
    );
    assert_eq!(by_hash(&[], 99), "c1", "without a hash it is chance");
}

#[test]
fn a_header_names_the_cluster() {
    let spec = ForwardSpec::to(ClustersSpec::Header("X-Cluster".to_owned()));
    let mixed = to_weighted(vec![
        WeightedSpec {
            cluster_header: "x-cluster".to_owned(),
            weight: 1,
            ..WeightedSpec::default()
        },
        WeightedSpec {
            name: "c0".to_owned(),
            weight: 1,
            ..WeightedSpec::default()
        },
    ]);
    let table = table(vec![
        route(prefix("/h"), ActionSpec::Forward(spec)),
        route(prefix("/w"), ActionSpec::Forward(mixed)),
    ]);
    for (path, random, fields, expected) in [
        ("/h", 0, &[("x-cluster", "c1")][..], Some(1)),
        (
            "/h",
            0,
            &[("x-cluster", "c1"), ("x-cluster", "c2")],
            Some(1),
        ),
        ("/h", 0, &[("x-cluster", "nope")], None),
        ("/h", 0, &[], None),
        ("/w", 0, &[("x-cluster", "c2")], Some(2)),
        ("/w", 1, &[("x-cluster", "c2")], Some(0)),
    ] {
        let exchange = exchange(request("a", path, fields));
        let route = table.find(&Facts::of(&exchange, random)).unwrap();
        let pick = pick(route, &exchange, random);
        assert_eq!(pick.cluster, expected, "{path} {fields:?}");
    }
}

#[test]
fn clusters_are_looked_up_once() {
    let target = |spec| match forward(spec).clusters {
        ClusterChoice::Single(target) => target.cluster,
        other @ ClusterChoice::Weighted(_) => panic!("{other:?}"),
    };
    let fixed = |name: &str, index| {
        ClusterName::Fixed(ClusterRef {
            name: name.into(),
            index,
        })
    };
    assert_eq!(target(to_cluster("c2")), fixed("c2", Some(2)));

    let routes = vec![route(prefix("/"), ActionSpec::Forward(to_cluster("nope")))];
    let mut spec = table_spec(vec![virtual_host("v", &["*"], routes)]);
    assert_eq!(
        problems(&spec),
        ["virtual_hosts[0].routes[0].route.cluster: unknown cluster \"nope\""]
    );
    spec.validate_clusters = false;
    let table = build(&spec);
    let exchange = exchange(request("a", "/", &[]));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    let pick = pick(route, &exchange, 0);
    assert_eq!(pick.cluster, None);
    assert_eq!(route.target(pick).unwrap().cluster, fixed("nope", None));
}

#[test]
fn a_weighted_cluster_has_its_own_host_and_headers() {
    let entry = |name: &str, host: &str| WeightedSpec {
        name: name.to_owned(),
        cluster_header: String::new(),
        criteria: None,
        weight: 1,
        host_rewrite_literal: host.to_owned(),
        request_headers: mutations(vec![add("x-c", name, AppendAction::AddIfAbsent)], &[]),
        response_headers: mutations(vec![add("x-r", name, AppendAction::AddIfAbsent)], &[]),
        ..WeightedSpec::default()
    };
    let spec = to_weighted(vec![entry("c0", "zero"), entry("c1", "")]);
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    for (random, host, name) in [(0, "zero", "c0"), (1, "a", "c1")] {
        let mut exchange = exchange(request("a", "/", &[]));
        let route = table.find(&Facts::of(&exchange, random)).unwrap();
        let mut scratch = Scratch::default();
        finalize(route, &mut exchange, random, EnvoyHeaders::Suppress);
        let pick = pick(route, &exchange, random);
        route.finalize_response(&mut exchange, pick, &mut scratch);
        let expected = [
            ":method: GET".to_owned(),
            format!(":authority: {host}"),
            ":path: /".to_owned(),
            format!("x-c: {name}"),
        ];
        assert_eq!(lines(&exchange.request), expected);
        assert_eq!(lines(&exchange.response), [format!("x-r: {name}")]);
    }
}

#[test]
fn the_host_of_the_route_follows_that_of_the_weighted_cluster() {
    let entry = WeightedSpec {
        name: "c0".to_owned(),
        weight: 1,
        host_rewrite_literal: "cluster".to_owned(),
        ..WeightedSpec::default()
    };
    let spec = ForwardSpec {
        host_rewrite: Some(HostRewriteSpec::Literal("route".to_owned())),
        ..to_weighted(vec![entry])
    };
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    let mut exchange = exchange(request("a", "/", &[]));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    finalize(route, &mut exchange, 0, EnvoyHeaders::Add);
    let expected = [
        ":method: GET",
        ":authority: route",
        ":path: /",
        "x-envoy-original-host: cluster",
    ];
    assert_eq!(lines(&exchange.request), expected);
}

#[test]
fn headers_see_the_client_path_on_the_way_up_and_the_new_one_on_the_way_back() {
    let forward = ForwardSpec {
        prefix_rewrite: "/new".to_owned(),
        host_rewrite: Some(HostRewriteSpec::Literal("b".to_owned())),
        ..to_cluster("c0")
    };
    let value = "%REQ(:authority)%%REQ(:path)%%REQ(x-envoy-original-path)%";
    let mut spec = route(prefix("/p"), ActionSpec::Forward(forward));
    spec.request_headers = mutations(vec![add("x-up", value, AppendAction::AddIfAbsent)], &[]);
    spec.response_headers = mutations(vec![add("x-down", value, AppendAction::AddIfAbsent)], &[]);
    let table = table(vec![spec]);
    let mut exchange = exchange(request("a", "/p?q", &[]));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    let mut scratch = Scratch::default();
    finalize(route, &mut exchange, 0, EnvoyHeaders::Add);
    route.finalize_response(&mut exchange, Pick::default(), &mut scratch);
    assert_eq!(
        lines(&exchange.request).split_off(3),
        [
            "x-up: a/p?q",
            "x-envoy-original-host: a",
            "x-envoy-original-path: /p?q",
        ]
    );
    assert_eq!(lines(&exchange.response), ["x-down: b/new?q/p?q"]);
}

#[test]
fn direct_responses_of_some_statuses_name_the_url() {
    for (status, named) in [
        (200, false),
        (201, true),
        (202, false),
        (300, true),
        (302, true),
        (399, true),
        (400, false),
    ] {
        let response = DirectResponse {
            status,
            body: Bytes::new(),
            format: None,
        };
        let mut location = Vec::new();
        let head = request("a.com:80", "/x?q=1", &[("x-forwarded-proto", "http")]);
        response.write_location(&head, &mut location);
        let expected: &[u8] = if named { b"http://a.com:80/x?q=1" } else { b"" };
        assert_eq!(location, expected, "{status}");
    }
}

fn actions(actions: Vec<ActionSpec>) -> TableSpec {
    let routes = actions
        .into_iter()
        .map(|action| route(prefix("/"), action))
        .collect();
    table_spec(vec![virtual_host("v", &["*"], routes)])
}

#[test]
fn mistakes_are_told_with_their_place() {
    let direct = |status, length| {
        ActionSpec::Direct(DirectSpec {
            status,
            body: vec![b'x'; length].into(),
            body_format: None,
        })
    };
    let mut bad_entry = weighted(&[("c0", 1), ("", 1), ("nope", 1)]);
    if let ClustersSpec::Weighted(weighted) = &mut bad_entry.clusters {
        let entries = &mut weighted.clusters;
        entries[2].cluster_header = "x".to_owned();
        entries[0].host_rewrite_literal = "\n".to_owned();
        entries[0].response_headers = mutations(Vec::new(), &["host"]);
    }
    let found = problems(&actions(vec![
        ActionSpec::Forward(weighted(&[])),
        ActionSpec::Forward(weighted(&[("c0", 0), ("c1", 0)])),
        ActionSpec::Forward(weighted(&[("c0", u32::MAX), ("c1", 1)])),
        ActionSpec::Forward(bad_entry),
        ActionSpec::Forward(to_cluster("")),
        ActionSpec::Forward(ForwardSpec {
            cluster_not_found_status: 502,
            ..to_cluster("c0")
        }),
        direct(199, 0),
        direct(600, 4097),
    ]));
    let expected = [
        "0].route.weighted_clusters.clusters: needs at least one item",
        "1].route.weighted_clusters: the sum of the weights must be greater than 0",
        "2].route.weighted_clusters: the sum of the weights is 4294967296; it may be 4294967295 \
         at most",
        "3].route.weighted_clusters.clusters[0].host_rewrite_literal: must not have the byte 0x0a",
        "3].route.weighted_clusters.clusters[0].response_headers_to_remove[0]: headers that begin \
         with \":\", and host, may not be modified",
        "3].route.weighted_clusters.clusters[1]: needs one of name and cluster_header",
        "3].route.weighted_clusters.clusters[2]: only one of name and cluster_header may be set",
        "4].route.cluster: must not be empty",
        "5].route.cluster_not_found_response_code: status 502 is not one of 404, 500 and 503",
        "6].direct_response.status: status 199 is not between 200 and 599",
        "7].direct_response.status: status 600 is not between 200 and 599",
        "7].direct_response.body: the body has 4097 bytes; it may have 4096",
    ];
    assert_eq!(
        found,
        expected.map(|problem| format!("virtual_hosts[0].routes[{problem}"))
    );
}

#[test]
fn limits_are_the_largest_that_pass() {
    let body = ActionSpec::Direct(DirectSpec {
        status: 599,
        body: vec![b'x'; 4096].into(),
        body_format: None,
    });
    let sum = ActionSpec::Forward(weighted(&[("c0", u32::MAX - 1), ("c1", 1)]));
    assert_eq!(problems(&actions(vec![body, sum, direct("")])), [""; 0]);
}

/// The host that a request goes upstream with, and the fields that tell of the one before.
fn host(rewrite: HostRewriteSpec, forwarded: bool, fields: &[(&str, &str)]) -> Vec<String> {
    let spec = ForwardSpec {
        host_rewrite: Some(rewrite),
        append_x_forwarded_host: forwarded,
        ..to_cluster("c0")
    };
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    let mut exchange = exchange(request("a.com", "/one/two?q=1", fields));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    finalize(route, &mut exchange, 0, EnvoyHeaders::Add);
    let mut scratch = Scratch::default();
    route.finalize_for_endpoint(
        &mut exchange,
        Some("ep.test"),
        EnvoyHeaders::Add,
        &mut scratch,
    );
    let mut lines = lines(&exchange.request);
    lines.retain(|line| line.starts_with(":authority") || line.contains("-host"));
    lines
}

#[test]
fn hosts_come_from_many_places() {
    let regex = |pattern: &str, substitution: &str| {
        HostRewriteSpec::PathRegex(RegexRewriteSpec {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        })
    };
    let format = |text| HostRewriteSpec::Format(Format::text(text, false).unwrap());
    let header = || HostRewriteSpec::Header("X-Host".to_owned());
    let named = &[("x-host", "h.test")];
    for (rewrite, fields, expected) in [
        (
            HostRewriteSpec::Literal("l.test".to_owned()),
            &[][..],
            "l.test",
        ),
        (HostRewriteSpec::Auto, &[], "ep.test"),
        (header(), named, "h.test"),
        (header(), &[], ""),
        (header(), &[("x-host", "")], ""),
        (regex("^/(\\w+)/.*$", "\\1.test"), &[], "one.test"),
        (regex("/.*", ""), &[], ""),
        (format("%REQ(x-host)%.zz"), named, "h.test.zz"),
        (format("%REQ(x-none)%"), &[], "-"),
    ] {
        let told = format!("{rewrite:?}");
        let found = host(rewrite, false, fields);
        let unchanged = vec![":authority: a.com".to_owned()];
        if expected.is_empty() {
            assert_eq!(found.split_at(1).0, unchanged, "{told}");
            assert!(
                !found.contains(&"x-envoy-original-host: a.com".to_owned()),
                "{told}"
            );
        } else {
            assert_eq!(found[0], format!(":authority: {expected}"), "{told}");
            assert_eq!(
                found.last().unwrap(),
                "x-envoy-original-host: a.com",
                "{told}"
            );
        }
    }
}

#[test]
fn the_host_before_is_appended_once() {
    let literal = || HostRewriteSpec::Literal("l.test".to_owned());
    for (before, after) in [
        (None, "a.com"),
        (Some("x.com"), "x.com,a.com"),
        (Some("x.com,a.com"), "x.com,a.com"),
        (Some("a.com,x.com"), "a.com,x.com,a.com"),
    ] {
        let fields: Vec<_> = before
            .map(|before| ("x-forwarded-host", before))
            .into_iter()
            .collect();
        let found = host(literal(), true, &fields);
        assert!(
            found.contains(&format!("x-forwarded-host: {after}")),
            "{found:?}"
        );
    }
}
