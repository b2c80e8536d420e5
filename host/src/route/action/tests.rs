use std::collections::HashMap;

use super::super::facts::Facts;
use super::super::mutation::AppendAction;
use super::super::spec::TableSpec;
use super::super::testing::{
    add, build, direct, exchange, facts, lines, mutations, prefix, problems, request, route, table,
    table_spec, to_cluster, virtual_host,
};
use super::*;

fn weighted(clusters: &[(&str, u32)]) -> ForwardSpec {
    let entry = |(name, weight): &(&str, u32)| WeightedSpec {
        name: (*name).to_owned(),
        weight: *weight,
        ..WeightedSpec::default()
    };
    ForwardSpec::to(ClustersSpec::Weighted(clusters.iter().map(entry).collect()))
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
    let choice = forward(weighted(&[("c0", 0), ("c1", 90), ("c2", 10), ("c0", 0)])).clusters;
    let mut counts = HashMap::new();
    for random in 0..1000 {
        *counts
            .entry(choice.choose(random).cluster.name.to_string())
            .or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        HashMap::from([("c1".to_owned(), 900), ("c2".to_owned(), 100)])
    );
    assert_eq!(
        &*choice.choose(u64::MAX).cluster.name,
        "c1",
        "18446744073709551615 mod 100 is 15"
    );
}

#[test]
fn clusters_are_looked_up_once() {
    let choice = forward(to_cluster("c2")).clusters;
    let expected = ClusterRef {
        name: "c2".into(),
        index: Some(2),
    };
    assert_eq!(choice.choose(7).cluster, expected);

    let routes = vec![route(prefix("/"), ActionSpec::Forward(to_cluster("nope")))];
    let mut spec = table_spec(vec![virtual_host("v", &["*"], routes)]);
    assert_eq!(
        problems(&spec),
        ["virtual_hosts[0].routes[0].route.cluster: unknown cluster \"nope\""]
    );
    spec.validate_clusters = false;
    let table = build(&spec);
    let route = table.find(&facts(&request("a", "/", &[])));
    let target = route.and_then(|route| route.target(0)).unwrap();
    assert_eq!(
        target.cluster,
        ClusterRef {
            name: "nope".into(),
            index: None
        }
    );
}

#[test]
fn a_timeout_is_15_s_unless_set_and_0_is_none() {
    let timeout = |timeout| {
        forward(ForwardSpec {
            timeout,
            ..to_cluster("c0")
        })
        .timeout
    };
    assert_eq!(timeout(None), Some(Duration::from_secs(15)));
    assert_eq!(timeout(Some(Duration::ZERO)), None);
    assert_eq!(
        timeout(Some(Duration::from_millis(1))),
        Some(Duration::from_millis(1))
    );
}

#[test]
fn a_weighted_cluster_has_its_own_host_and_headers() {
    let entry = |name: &str, host: &str| WeightedSpec {
        name: name.to_owned(),
        weight: 1,
        host_rewrite_literal: host.to_owned(),
        request_headers: mutations(vec![add("x-c", name, AppendAction::AddIfAbsent)], &[]),
        response_headers: mutations(vec![add("x-r", name, AppendAction::AddIfAbsent)], &[]),
    };
    let clusters = ClustersSpec::Weighted(vec![entry("c0", "zero"), entry("c1", "")]);
    let spec = ForwardSpec {
        host_rewrite_literal: "route".to_owned(),
        ..ForwardSpec::to(clusters)
    };
    let table = table(vec![route(prefix("/"), ActionSpec::Forward(spec))]);
    for (random, host, name) in [(0, "zero", "c0"), (1, "route", "c1")] {
        let mut exchange = exchange(request("a", "/", &[]));
        let route = table.find(&Facts::of(&exchange, random)).unwrap();
        let mut scratch = Scratch::default();
        route.finalize_request(&mut exchange, random, EnvoyHeaders::Suppress, &mut scratch);
        route.finalize_response(&mut exchange, random, &mut scratch);
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
fn headers_see_the_client_path_on_the_way_up_and_the_new_one_on_the_way_back() {
    let forward = ForwardSpec {
        prefix_rewrite: "/new".to_owned(),
        host_rewrite_literal: "b".to_owned(),
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
    route.finalize_request(&mut exchange, 0, EnvoyHeaders::Add, &mut scratch);
    route.finalize_response(&mut exchange, 0, &mut scratch);
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
        })
    };
    let mut bad_entry = weighted(&[("c0", 1), ("", 1), ("nope", 1)]);
    if let ClustersSpec::Weighted(entries) = &mut bad_entry.clusters {
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
        "3].route.weighted_clusters.clusters[1].name: must not be empty",
        "3].route.weighted_clusters.clusters[2].name: unknown cluster \"nope\"",
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
    });
    let sum = ActionSpec::Forward(weighted(&[("c0", u32::MAX - 1), ("c1", 1)]));
    assert_eq!(problems(&actions(vec![body, sum, direct("")])), [""; 0]);
}
