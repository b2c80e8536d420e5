//! Changes of headers: the order of levels, and what entries of one level see of each other.

use super::super::action::Pick;
use super::super::rewrite::EnvoyHeaders;
use super::super::spec::{
    ActionSpec, ClustersSpec, ForwardSpec, TableSpec, WeightedClustersSpec, WeightedSpec,
};
use super::super::testing::{
    add, added, build, direct, exchange, facts, finalize, lines, mutations, prefix, problems,
    request, route, table, table_spec, to_cluster, virtual_host,
};
use super::AppendAction::{
    AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
};
use super::*;

/// What one level leaves of a request that has `x-a` twice and some more.
fn after(add: Vec<HeaderAddSpec>, remove: &[&str]) -> Vec<String> {
    let level = HeaderMutations::build(&mutations(add, remove), ["a", "r"], &mut Report::default());
    let fields = [
        ("x-a", "1"),
        ("x-a", "2"),
        ("accept", "aa"),
        ("cookie", "b=1"),
        ("x-e", "zz"),
    ];
    let mut exchange = exchange(request("h", "/p?q", &fields));
    level.apply(Side::Request, &mut exchange, &mut Scratch::default());
    lines(&exchange.request).split_off(3)
}

#[test]
fn removes_before_it_adds() {
    let added = vec![
        add("x-a", "new", AppendIfExistsOrAdd),
        add("x-c", "[%REQ(x-a)%]", AppendIfExistsOrAdd),
    ];
    let expected = [
        "accept: aa",
        "cookie: b=1",
        "x-e: zz",
        "x-a: new",
        "x-c: []",
    ];
    assert_eq!(after(added, &["X-A"]), expected);
}

#[test]
fn each_action_does_what_its_name_says() {
    for (action, present, absent) in [
        (
            AppendIfExistsOrAdd,
            vec!["x-a: 1", "x-a: 2", "x-a: n"],
            vec!["x-n: n"],
        ),
        (AddIfAbsent, vec!["x-a: 1", "x-a: 2"], vec!["x-n: n"]),
        (OverwriteIfExistsOrAdd, vec!["x-a: n"], vec!["x-n: n"]),
        (OverwriteIfExists, vec!["x-a: n"], vec![]),
    ] {
        let only = |name: &str| {
            let mut left = after(vec![add(name, "n", action)], &[]);
            left.retain(|line| line.starts_with(name));
            left
        };
        assert_eq!(only("x-a"), present, "{action:?}");
        assert_eq!(only("x-n"), absent, "{action:?}");
    }
}

#[test]
fn entries_of_one_level_do_not_see_each_other() {
    let rest = ["accept: aa", "cookie: b=1", "x-e: zz"];
    for (added, expected) in [
        (
            vec![add("x-n", "1", AddIfAbsent), add("x-n", "2", AddIfAbsent)],
            vec!["x-n: 1", "x-n: 2"],
        ),
        (
            vec![
                add("x-n", "1", AppendIfExistsOrAdd),
                add("x-n", "2", OverwriteIfExistsOrAdd),
                add("x-n", "3", AppendIfExistsOrAdd),
            ],
            vec!["x-n: 2", "x-n: 1", "x-n: 3"],
        ),
        (
            vec![
                add("x-n", "1", OverwriteIfExistsOrAdd),
                add("x-n", "2", OverwriteIfExistsOrAdd),
            ],
            vec!["x-n: 2"],
        ),
        (
            vec![
                add("x-n", "1", OverwriteIfExists),
                add("x-n", "2", OverwriteIfExistsOrAdd),
                add("x-n", "3", OverwriteIfExists),
            ],
            vec!["x-n: 2"],
        ),
        (
            vec![
                add("x-n", "1", OverwriteIfExistsOrAdd),
                add("x-n", "2", AddIfAbsent),
            ],
            vec!["x-n: 1", "x-n: 2"],
        ),
        (
            vec![
                add("x-e", "%REQ(x-e)%-1", OverwriteIfExistsOrAdd),
                add("x-n", "%REQ(x-e)%", AppendIfExistsOrAdd),
            ],
            vec!["x-e: zz-1", "x-n: zz"],
        ),
    ] {
        let names: Vec<_> = added
            .iter()
            .map(|entry| (&entry.name, entry.action))
            .collect();
        let context = format!("{names:?}");
        let mut left = after(added, &["x-a"]);
        left.retain(|line| !rest.contains(&&**line));
        assert_eq!(left, expected, "{context}");
    }
}

#[test]
fn empty_values_are_left_out_unless_kept() {
    let kept = |name: &str, value: &str, action| HeaderAddSpec {
        keep_empty_value: true,
        ..add(name, value, action)
    };
    let left = after(
        vec![
            add("x-1", "%REQ(nope)%", AppendIfExistsOrAdd),
            kept("x-2", "%REQ(nope)%", AppendIfExistsOrAdd),
            add("x-3", "", AppendIfExistsOrAdd),
            kept("x-4", "", AppendIfExistsOrAdd),
            add("x-e", "", OverwriteIfExistsOrAdd),
            kept("x-a", "", OverwriteIfExistsOrAdd),
            add("x-5", "100%%", AppendIfExistsOrAdd),
        ],
        &[],
    );
    let expected = [
        "accept: aa",
        "cookie: b=1",
        "x-e: zz",
        "x-a: ",
        "x-2: ",
        "x-4: ",
        "x-5: 100%",
    ];
    assert_eq!(left, expected);
}

#[test]
fn fields_that_envoy_keeps_in_one_line_are_joined() {
    let left = after(
        vec![
            add("Accept", "n", AppendIfExistsOrAdd),
            add("cookie", "c=1", AppendIfExistsOrAdd),
            add("X-Upper", "Value", AppendIfExistsOrAdd),
            add("etag", "e", AppendIfExistsOrAdd),
            add("etag", "f", AppendIfExistsOrAdd),
        ],
        &["x-a", "x-e"],
    );
    let expected = [
        "accept: aa,n",
        "cookie: b=1",
        "cookie: c=1",
        "x-upper: Value",
        "etag: e",
        "etag: f",
    ];
    assert_eq!(left, expected);

    let spec = mutations(
        vec![
            add("etag", "e", AppendIfExistsOrAdd),
            add("etag", "f", AppendIfExistsOrAdd),
        ],
        &[],
    );
    let level = HeaderMutations::build(&spec, ["a", "r"], &mut Report::default());
    let mut exchange = exchange(request("h", "/", &[]));
    level.apply(Side::Response, &mut exchange, &mut Scratch::default());
    assert_eq!(lines(&exchange.response), ["etag: e,f"]);
}

#[test]
fn a_value_that_would_break_the_head_is_left_out() {
    let spec = mutations(
        vec![add(
            "x-m",
            "%DYNAMIC_METADATA(n:k)%",
            OverwriteIfExistsOrAdd,
        )],
        &[],
    );
    let level = HeaderMutations::build(&spec, ["a", "r"], &mut Report::default());
    for (value, expected) in [
        ("fine", Some("fine")),
        ("a\r\nevil: 1", None),
        ("a\0", None),
    ] {
        let mut exchange = exchange(request("h", "/", &[]));
        exchange.metadata.set("n", "k", value.as_bytes());
        level.apply(Side::Request, &mut exchange, &mut Scratch::default());
        let name = Name::parse(b"x-m").unwrap();
        assert_eq!(
            exchange.request.get(&name),
            expected.map(str::as_bytes),
            "{value:?}"
        );
    }
}

/// The same three entries, with the level's name as value.
fn entries(level: &str) -> MutationSpec {
    mutations(
        vec![
            add("x-o", level, OverwriteIfExistsOrAdd),
            add("x-p", level, AppendIfExistsOrAdd),
            add("x-q", level, AddIfAbsent),
        ],
        &[],
    )
}

fn four_levels(most_specific_wins: bool) -> TableSpec {
    let weighted = WeightedSpec {
        name: "c0".to_owned(),
        weight: 1,
        request_headers: entries("w"),
        response_headers: entries("w"),
        ..WeightedSpec::default()
    };
    let mut weighted = route(
        prefix("/w"),
        ActionSpec::Forward(ForwardSpec::to(ClustersSpec::Weighted(Box::new(
            WeightedClustersSpec {
                clusters: vec![weighted],
                ..WeightedClustersSpec::default()
            },
        )))),
    );
    let mut plain = route(prefix("/"), ActionSpec::Forward(to_cluster("c0")));
    for route in [&mut weighted, &mut plain] {
        route.request_headers = entries("r");
        route.response_headers = entries("r");
    }
    let mut host = virtual_host("v", &["*"], vec![weighted, plain]);
    host.request_headers = entries("v");
    host.response_headers = entries("v");
    let mut spec = table_spec(vec![host]);
    spec.request_headers = entries("rc");
    spec.response_headers = entries("rc");
    spec.most_specific_header_mutations_wins = most_specific_wins;
    spec
}

#[test]
fn levels_apply_in_envoys_order() {
    for (path, most_specific_wins, expected) in [
        (
            "/",
            false,
            ["x-p: r", "x-q: r", "x-p: v", "x-o: rc", "x-p: rc"].as_slice(),
        ),
        (
            "/",
            true,
            &["x-p: rc", "x-q: rc", "x-p: v", "x-o: r", "x-p: r"],
        ),
        (
            "/w",
            false,
            &["x-p: w", "x-q: w", "x-p: r", "x-p: v", "x-o: rc", "x-p: rc"],
        ),
        (
            "/w",
            true,
            &["x-p: w", "x-q: w", "x-p: rc", "x-p: v", "x-o: r", "x-p: r"],
        ),
    ] {
        let table = build(&four_levels(most_specific_wins));
        let head = request("h", path, &[]);
        let mut exchange = exchange(head.clone());
        let route = Arc::clone(table.find(&facts(&head)).unwrap());
        let mut scratch = Scratch::default();
        finalize(&route, &mut exchange, 0, EnvoyHeaders::Add);
        route.finalize_response(&mut exchange, Pick::default(), &mut scratch);
        assert_eq!(
            added(&head, &exchange.request),
            expected,
            "{path} {most_specific_wins}"
        );
        assert_eq!(
            lines(&exchange.response),
            expected,
            "{path} {most_specific_wins}"
        );
    }
}

#[test]
fn a_level_removes_what_an_earlier_one_added() {
    for (most_specific_wins, expected) in [(false, ["x-rm: vh"]), (true, ["x-v: route"])] {
        let mut inner = route(prefix("/"), ActionSpec::Forward(to_cluster("c0")));
        inner.request_headers =
            mutations(vec![add("x-v", "route", AppendIfExistsOrAdd)], &["x-rm"]);
        let mut host = virtual_host("v", &["*"], vec![inner]);
        host.request_headers = mutations(vec![add("x-rm", "vh", AppendIfExistsOrAdd)], &["x-v"]);
        let mut spec = table_spec(vec![host]);
        spec.most_specific_header_mutations_wins = most_specific_wins;
        let table = build(&spec);
        let head = request("h", "/", &[("x-v", "client"), ("x-rm", "client")]);
        let mut exchange = exchange(head.clone());
        let route = table.find(&facts(&head)).unwrap();
        finalize(route, &mut exchange, 0, EnvoyHeaders::Add);
        assert_eq!(lines(&exchange.request).split_off(3), expected);
    }
}

#[test]
fn direct_responses_have_their_headers_changed_too() {
    let mut direct = route(prefix("/"), direct("body"));
    direct.request_headers = mutations(vec![add("x-a", "never", AppendIfExistsOrAdd)], &[]);
    direct.response_headers = mutations(vec![add("x-r", "%REQ(:path)%", AppendIfExistsOrAdd)], &[]);
    let table = table(vec![direct]);
    let head = request("h", "/p", &[]);
    let mut exchange = exchange(head.clone());
    let route = table.find(&facts(&head)).unwrap();
    let mut scratch = Scratch::default();
    finalize(route, &mut exchange, 0, EnvoyHeaders::Add);
    route.finalize_response(&mut exchange, Pick::default(), &mut scratch);
    assert_eq!(lines(&exchange.request), lines(&head));
    assert_eq!(lines(&exchange.response), ["x-r: /p"]);
}

#[test]
fn names_that_may_not_be_touched_are_refused() {
    let mut spec = table_spec(vec![virtual_host("v", &["*"], Vec::new())]);
    spec.virtual_hosts[0].request_headers = mutations(
        vec![
            add(":path", "x", AddIfAbsent),
            add("Host", "x", AddIfAbsent),
            add("ok", "x", AddIfAbsent),
        ],
        &[":authority", "host", ":nonsense", "a b"],
    );
    spec.response_headers = mutations(vec![add("", "x", AddIfAbsent)], &[":status"]);
    let pseudo = Problem::PseudoHeader.to_string();
    let at = "virtual_hosts[0].request_headers_to";
    assert_eq!(
        problems(&spec),
        [
            "response_headers_to_add[0].header.key: not the name of a header".to_owned(),
            format!("response_headers_to_remove[0]: {pseudo}"),
            format!("{at}_add[0].header.key: {pseudo}"),
            format!("{at}_add[1].header.key: {pseudo}"),
            format!("{at}_remove[0]: {pseudo}"),
            format!("{at}_remove[1]: {pseudo}"),
            format!("{at}_remove[2]: {pseudo}"),
            format!("{at}_remove[3]: not the name of a header"),
        ]
    );
}
