//! Lookups in whole tables: virtual hosts, the order of routes, hosts that require TLS, all mistakes at once.

use proptest::prelude::*;

use super::super::mutation::Scratch;
use super::super::rewrite::EnvoyHeaders;
use super::super::spec::{ActionSpec, HeaderMatchSpec, HeaderTestSpec, MatchSpec, PathSpec};
use super::super::testing::{
    build, clusters, direct, exchange, facts, prefix, problems, request, route, table, table_spec,
    to_cluster, virtual_host,
};
use super::*;

/// The name of the route that is found.
fn named(routes: &[(&str, MatchSpec)]) -> Vec<RouteSpec> {
    let named = |(name, matches): &(&str, MatchSpec)| {
        let mut spec = route(matches.clone(), direct(name));
        spec.name = (*name).to_owned();
        spec
    };
    routes.iter().map(named).collect()
}

fn found<'a>(table: &'a Table, head: &Headers) -> Option<&'a str> {
    table
        .find(&facts(head))
        .and_then(|route| route.name.as_deref())
}

/// Ten thousand of them are no rarity, and most say next to nothing.
#[test]
fn a_route_is_small() {
    let sizes = [size_of::<Route>(), size_of::<Entry>()];
    println!("a route has {} bytes, its entry {}", sizes[0], sizes[1]);
    assert!(sizes[0] <= 768, "a route has {} bytes", sizes[0]);
    assert!(sizes[1] <= 96, "an entry has {} bytes", sizes[1]);
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let table = table(named(&[
        ("exact", MatchSpec::path(PathSpec::Path("/a".to_owned()))),
        ("long", prefix("/a/b")),
        ("short", prefix("/a")),
        ("never", prefix("/a/b/c")),
    ]));
    for (path, expected) in [
        ("/a", Some("exact")),
        ("/a?x", Some("exact")),
        ("/a/b/c", Some("long")),
        ("/ab", Some("short")),
        ("/b", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(found(&table, &request("h", path, &[])), expected, "{path}");
    }
}

#[test]
fn a_virtual_host_without_a_route_does_not_fall_back() {
    let table = build(&table_spec(vec![
        virtual_host("all", &["*"], named(&[("all", prefix("/"))])),
        virtual_host(
            "one",
            &["a.com", "b.com"],
            named(&[("one", prefix("/one"))]),
        ),
        virtual_host("none", &["c.com"], Vec::new()),
    ]));
    for (host, path, expected) in [
        ("a.com", "/one", Some("one")),
        ("B.com", "/one", Some("one")),
        ("a.com", "/", None),
        ("c.com", "/", None),
        ("a.com:80", "/one", Some("all")),
        ("", "/one", Some("all")),
    ] {
        assert_eq!(
            found(&table, &request(host, path, &[])),
            expected,
            "{host}{path}"
        );
    }
    assert_eq!(&**table.name(), "rc");
    let route = table.find(&facts(&request("a.com", "/one", &[]))).unwrap();
    assert_eq!(&*route.virtual_host, "one");
}

#[test]
fn without_a_domain_for_it_a_host_has_no_route() {
    let table = build(&table_spec(vec![virtual_host(
        "v",
        &["*.com"],
        named(&[("v", prefix("/"))]),
    )]));
    assert_eq!(found(&table, &request("a.com", "/", &[])), Some("v"));
    assert_eq!(found(&table, &request(".com", "/", &[])), None);
    assert_eq!(
        found(&build(&table_spec(Vec::new())), &request("a.com", "/", &[])),
        None
    );
}

#[test]
fn a_request_without_a_path_has_no_route() {
    let table = table(named(&[("all", prefix(""))]));
    let mut connect = Headers::new();
    connect.append_known(Known::Authority, b"a.com:443");
    assert_eq!(found(&table, &connect), None);
}

#[test]
fn path_parameters_can_be_ignored() {
    let routes = named(&[
        ("whole", MatchSpec::path(PathSpec::Path("/a".to_owned()))),
        ("long", prefix("/a/b")),
        ("all", prefix("/")),
    ]);
    let mut spec = table_spec(vec![virtual_host("v", &["*"], routes)]);
    for (ignored, expected) in [(false, ["all", "all"]), (true, ["long", "whole"])] {
        spec.ignore_path_parameters = ignored;
        let table = build(&spec);
        let paths = ["/a;x=1/b?c", "/a;"];
        let found = paths.map(|path| found(&table, &request("h", path, &[])).map(str::to_owned));
        assert_eq!(
            found,
            expected.map(|name| Some(name.to_owned())),
            "{ignored}"
        );
        let plain = request("h", "/a/b;c", &[]);
        assert!(
            table
                .find(&facts(&plain))
                .is_some_and(|route| route.name.as_deref() == Some("long"))
        );
    }
}

#[test]
fn clear_text_is_sent_to_https_where_tls_is_required() {
    let https = [("x-forwarded-proto", "https")].as_slice();
    let internal = [("x-envoy-internal", "true")].as_slice();
    for (require_tls, redirected, served) in [
        (
            RequireTls::None,
            [].as_slice(),
            [&[][..], https, internal].as_slice(),
        ),
        (
            RequireTls::ExternalOnly,
            &[&[][..], &[("x-envoy-internal", "yes")]],
            &[https, internal],
        ),
        (
            RequireTls::All,
            &[
                &[][..],
                internal,
                &[("x-forwarded-proto", "HTTPS")],
                &[("x-forwarded-proto", "")],
            ],
            &[https],
        ),
    ] {
        let mut host = virtual_host("v", &["*"], named(&[("served", prefix("/"))]));
        host.require_tls = require_tls;
        let table = build(&table_spec(vec![host]));
        for fields in served {
            let name = found(&table, &request("a:80", "/x?q", fields));
            assert_eq!(name, Some("served"), "{require_tls:?} {fields:?}");
        }
        for fields in redirected {
            let mut exchange = exchange(request("a:80", "/x?q", fields));
            let route = table.find(&facts(&exchange.request)).unwrap();
            let trace = table.trace(&facts(&exchange.request));
            assert!(trace.wants_tls && trace.passed.is_empty());
            let Action::Redirect(redirect) = &route.action else {
                panic!("{require_tls:?} {fields:?}: {route:?}");
            };
            let mut location = Vec::new();
            let mut scratch = Scratch::default();
            redirect.apply(
                &mut exchange,
                EnvoyHeaders::Add,
                &mut scratch,
                &mut location,
            );
            assert_eq!(location, b"https://a:80/x?q", "the port stays");
            assert_eq!(redirect.status(), 301);
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let header = HeaderMatchSpec {
        name: "a b".to_owned(),
        test: HeaderTestSpec::Present(true),
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    let matches = MatchSpec {
        headers: vec![header],
        ..prefix("/")
    };
    let spec = table_spec(vec![
        virtual_host("a", &["x.com", "*", "X.com"], Vec::new()),
        virtual_host(
            "",
            &["*", "*.x", "*.X"],
            vec![route(matches, ActionSpec::Forward(to_cluster("nope")))],
        ),
        virtual_host("c", &[], Vec::new()),
    ]);
    assert_eq!(
        problems(&spec),
        [
            "virtual_hosts[0].domains[2]: domain \"x.com\" stands at \"virtual_hosts[0].domains[0]\" \
         already",
            "virtual_hosts[1].domains[0]: only one domain of a route configuration may be \"*\", and \
         \"virtual_hosts[0].domains[1]\" is",
            "virtual_hosts[1].domains[2]: domain \"*.x\" stands at \"virtual_hosts[1].domains[1]\" \
         already",
            "virtual_hosts[1].name: must not be empty",
            "virtual_hosts[1].routes[0].match.headers[0].name: not the name of a header",
            "virtual_hosts[1].routes[0].route.cluster: unknown cluster \"nope\"",
            "virtual_hosts[2].domains: needs at least one item",
        ]
    );
    let errors = Table::new(&spec, &clusters).unwrap_err();
    assert_eq!(errors.to_string(), "route configuration has 7 errors");
    assert_eq!(errors.iter().count(), 7);
}

fn path_spec() -> impl Strategy<Value = PathSpec> {
    prop_oneof![
        "/[ab/]{0,3}".prop_map(PathSpec::Prefix),
        "/[ab/]{0,3}".prop_map(PathSpec::Path),
        "/[ab]{1,2}".prop_map(PathSpec::PathSeparatedPrefix),
        r"/[ab]{0,2}(\.|\.\*|b\?)?".prop_map(PathSpec::SafeRegex),
    ]
}

proptest! {
    #[test]
    fn the_same_as_a_plain_walk(
        routes in proptest::collection::vec((path_spec(), any::<bool>()), 0..16),
        path in "/[abAB/]{0,4}",
        query in "(\\?[ab]{0,2})?",
    ) {
        let names: Vec<_> = (0..routes.len()).map(|index| index.to_string()).collect();
        let specs: Vec<_> = names
            .iter()
            .zip(&routes)
            .map(|(name, (path, case_sensitive))| {
                let matches =
                    MatchSpec { case_sensitive: *case_sensitive, ..MatchSpec::path(path.clone()) };
                (&**name, matches)
            })
            .collect();
        let table = table(named(&specs));
        let expected = routes.iter().position(|(spec, case_sensitive)| {
            let fold = |text: &str| {
                if *case_sensitive { text.to_owned() } else { text.to_ascii_lowercase() }
            };
            match spec {
                PathSpec::Prefix(prefix) => fold(&path).starts_with(&fold(prefix)),
                PathSpec::Path(whole) => fold(&path) == fold(whole),
                PathSpec::PathSeparatedPrefix(prefix) => {
                    fold(&path) == fold(prefix)
                        || fold(&path).starts_with(&format!("{}/", fold(prefix)))
                }
                PathSpec::Template(_) | PathSpec::Connect => false,
                PathSpec::SafeRegex(regex) => {
                    regex::Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(&path)
                }
            }
        });
        let head = request("h", &format!("{path}{query}"), &[]);
        prop_assert_eq!(found(&table, &head), expected.and_then(|i| names.get(i)).map(|n| &**n));
        let facts = facts(&head);
        let trace = table.trace(&facts);
        prop_assert_eq!(trace.virtual_host, Some(0));
        prop_assert_eq!(trace.passed.len(), expected.unwrap_or(routes.len()));
        prop_assert_eq!(trace.route.map(Arc::as_ptr), table.find(&facts).map(Arc::as_ptr));
    }

    #[test]
    fn never_panics(
        host in proptest::collection::vec(any::<u8>(), 0..300),
        path in proptest::collection::vec(any::<u8>(), 0..20),
        random in any::<u64>(),
    ) {
        let table = build(&table_spec(vec![
            virtual_host("a", &["*.a", "a.*"], named(&[("a", prefix("/"))])),
            virtual_host("b", &["*"], named(&[
                ("b", MatchSpec::path(PathSpec::PathSeparatedPrefix("/b".to_owned()))),
                ("c", MatchSpec::path(PathSpec::SafeRegex(".*".to_owned()))),
            ])),
        ]));
        let mut head = Headers::new();
        head.append_known(Known::Authority, &host);
        head.append_known(Known::Path, &path);
        let found = table.find(&Facts { random, ..facts(&head) }).is_some();
        prop_assert!(!found || path.starts_with(b"/"));
    }
}

#[test]
fn another_field_can_choose_the_virtual_host_and_the_port_can_be_left_out() {
    let hosts = || {
        vec![
            virtual_host("tenant", &["t.test"], named(&[("tenant", prefix("/"))])),
            virtual_host("rest", &["*"], named(&[("rest", prefix("/"))])),
        ]
    };
    let mut spec = table_spec(hosts());
    spec.vhost_header = "X-Tenant".to_owned();
    let table = build(&spec);
    for (fields, expected) in [
        (&[("x-tenant", "t.test")][..], Some("tenant")),
        (&[("x-tenant", "T.test")], Some("tenant")),
        (&[("x-tenant", "t.test:80")], Some("rest")),
        (&[("x-tenant", "")], Some("rest")),
        (&[], None),
    ] {
        let name = found(&table, &request("t.test", "/", fields));
        assert_eq!(name, expected, "{fields:?}");
    }
    let mut spec = table_spec(hosts());
    spec.ignore_port_in_host_matching = true;
    let table = build(&spec);
    for (host, expected) in [
        ("t.test", "tenant"),
        ("t.test:8080", "tenant"),
        ("t.test:", "tenant"),
        ("x.t.test:80", "rest"),
        ("[::1]:80", "rest"),
    ] {
        let name = found(&table, &request(host, "/", &[]));
        assert_eq!(name, Some(expected), "{host}");
    }
}
