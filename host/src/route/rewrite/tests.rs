//! Rewrites of paths and hosts, and what is kept of them.

use proptest::prelude::*;

use super::super::facts::Facts;
use super::super::spec::{ActionSpec, ForwardSpec, MatchSpec, PathSpec};
use super::super::testing::{
    exchange, finalize, lines, prefix, problems, request, route, table, table_spec, to_cluster,
    virtual_host,
};
use super::*;

fn prefix_rewrite(with: &str) -> ForwardSpec {
    ForwardSpec {
        prefix_rewrite: with.to_owned(),
        ..to_cluster("c0")
    }
}

fn regex_rewrite(pattern: &str, substitution: &str) -> RegexRewriteSpec {
    RegexRewriteSpec {
        pattern: pattern.to_owned(),
        substitution: substitution.to_owned(),
    }
}

fn regex(pattern: &str, substitution: &str) -> ForwardSpec {
    let regex_rewrite = Some(regex_rewrite(pattern, substitution));
    ForwardSpec {
        regex_rewrite,
        ..to_cluster("c0")
    }
}

/// The request's head as it goes upstream, from `:authority` on.
fn upstream(
    matches: MatchSpec,
    action: ForwardSpec,
    envoy_headers: EnvoyHeaders,
    head: Headers,
) -> Vec<String> {
    let table = table(vec![route(matches, ActionSpec::Forward(action))]);
    let mut exchange = exchange(head);
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    finalize(route, &mut exchange, 0, envoy_headers);
    lines(&exchange.request).split_off(1)
}

fn rewritten(matches: MatchSpec, action: ForwardSpec, target: &str) -> String {
    let head = upstream(
        matches,
        action,
        EnvoyHeaders::Add,
        request("a", target, &[]),
    );
    let path = head[1].trim_start_matches(":path: ").to_owned();
    match head.get(2) {
        None => format!("{path} (untouched)"),
        Some(original) => {
            assert_eq!(*original, format!("x-envoy-original-path: {target}"));
            path
        }
    }
}

#[test]
fn a_prefix_is_swapped_byte_for_byte() {
    let path = |path: &str| MatchSpec::path(PathSpec::Path(path.to_owned()));
    let separated = |path: &str| MatchSpec::path(PathSpec::PathSeparatedPrefix(path.to_owned()));
    let by_regex = |regex: &str| MatchSpec::path(PathSpec::SafeRegex(regex.to_owned()));
    let any_case = |matches: MatchSpec| MatchSpec {
        case_sensitive: false,
        ..matches
    };
    for (matches, with, target, expected) in [
        (prefix("/pre"), "/new", "/pre/x?q=1", "/new/x?q=1"),
        (prefix("/pre"), "/new", "/pre", "/new"),
        (prefix("/pre"), "/new", "/prefoo", "/newfoo"),
        (prefix("/pre"), "/new", "/pre?q=/pre", "/new?q=/pre"),
        (prefix("/pre"), "/", "/pre/x?q=1", "//x?q=1"),
        (prefix("/pre"), "/", "/pre", "/"),
        (prefix("/pre"), "/pre", "/pre/x", "/pre/x"),
        (prefix("/pre"), "new", "/pre/x", "new/x"),
        (prefix("/pre"), "", "/pre/x", "/pre/x (untouched)"),
        (prefix("/pre"), "/new?z=1", "/pre/x?q=1", "/new?z=1/x?q=1"),
        (prefix(""), "/new", "/pre/x?q", "/new/pre/x?q"),
        (any_case(prefix("/pre")), "/new", "/PrE/x?q=1", "/new/x?q=1"),
        (path("/pre"), "/new", "/pre?q=1", "/new?q=1"),
        (any_case(path("/pre")), "/new", "/PRE", "/new"),
        (separated("/pre"), "/new", "/pre/x?q=1", "/new/x?q=1"),
        (separated("/pre"), "/new", "/pre", "/new"),
        (separated("/pre"), "/", "/pre/", "//"),
        (separated("/pre"), "/", "/pre?q", "/?q"),
        (by_regex("/pre/.*"), "/new", "/pre/x?q=1", "/new?q=1"),
    ] {
        let found = rewritten(matches, prefix_rewrite(with), target);
        assert_eq!(found, expected, "{with} on {target}");
    }
}

#[test]
fn an_expression_is_replaced_wherever_it_matches() {
    let swap = r"^/pre/([^/]+)(/.*)$";
    for (pattern, substitution, target, expected) in [
        (
            swap,
            r"\2/inst/\1",
            "/pre/foo/v1/api?q=1",
            "/v1/api/inst/foo?q=1",
        ),
        (swap, r"\2/inst/\1", "/pre/none", "/pre/none"),
        (swap, r"\2/inst/\1", "/pre/foo/?", "//inst/foo?"),
        ("o", r"[\0]", "/foo/o?o=o", "/f[o][o]/[o]?o=o"),
        ("o(x)?", r"\\\1", "/foo/o?o=o", r"/f\\/\?o=o"),
        ("x*", "-", "/abxc", "-/-a-b-c-"),
        ("^/foo", "", "/foo?q", "/foo?q (untouched)"),
        ("^/foo", "", "/foo/x", "/x"),
        (
            r"/(\w+)/(\w+)",
            r"/\2/\1",
            "/one/two/three/four/x",
            "/two/one/four/three/x",
        ),
    ] {
        let found = rewritten(prefix("/"), regex(pattern, substitution), target);
        assert_eq!(found, expected, "{pattern} on {target}");
    }
}

#[test]
fn originals_are_kept_unless_suppressed() {
    let action = || ForwardSpec {
        host_rewrite: Some(HostRewriteSpec::Literal("b".to_owned())),
        ..prefix_rewrite("/new")
    };
    let fields = [
        ("x-envoy-original-path", "/client"),
        ("x-envoy-original-host", "client"),
    ];
    let head = upstream(
        prefix("/p"),
        action(),
        EnvoyHeaders::Add,
        request("a", "/p", &fields),
    );
    let expected = [
        ":authority: b",
        ":path: /new",
        "x-envoy-original-path: /p",
        "x-envoy-original-host: a",
    ];
    assert_eq!(head, expected);
    let head = upstream(
        prefix("/p"),
        action(),
        EnvoyHeaders::Add,
        request("a", "/p", &[]),
    );
    let expected = [
        ":authority: b",
        ":path: /new",
        "x-envoy-original-host: a",
        "x-envoy-original-path: /p",
    ];
    assert_eq!(head, expected);
    let head = upstream(
        prefix("/p"),
        action(),
        EnvoyHeaders::Suppress,
        request("a", "/p", &[]),
    );
    assert_eq!(head, [":authority: b", ":path: /new"]);
}

#[test]
fn the_same_host_is_kept_as_original_too() {
    for (with, expected) in [
        (
            "a",
            vec![":authority: a", ":path: /", "x-envoy-original-host: a"],
        ),
        ("", vec![":authority: a", ":path: /"]),
    ] {
        let action = ForwardSpec {
            host_rewrite: Some(HostRewriteSpec::Literal(with.to_owned())),
            ..to_cluster("c0")
        };
        let head = upstream(
            prefix("/"),
            action,
            EnvoyHeaders::Add,
            request("a", "/", &[]),
        );
        assert_eq!(head, expected);
    }
}

#[test]
fn a_path_that_a_filter_changed_meanwhile_is_left_alone() {
    let routes = vec![route(
        prefix("/pre"),
        ActionSpec::Forward(prefix_rewrite("/new")),
    )];
    let table = table(routes);
    let mut exchange = exchange(request("a", "/pre/x", &[]));
    let route = table.find(&Facts::of(&exchange, 0)).unwrap();
    exchange.request.set_known(Known::Path, b"/p");
    finalize(route, &mut exchange, 0, EnvoyHeaders::Add);
    assert_eq!(exchange.request.known(Known::Path), Some(&b"/p"[..]));
    assert!(!exchange.request.has(Known::XEnvoyOriginalPath));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let both = ForwardSpec {
        regex_rewrite: Some(regex_rewrite("a", "b")),
        ..prefix_rewrite("/b")
    };
    let host = ForwardSpec {
        host_rewrite: Some(HostRewriteSpec::Literal("a\nb".to_owned())),
        ..prefix_rewrite("/a\rb")
    };
    let actions = [
        both,
        host,
        regex("(o", r"\9"),
        regex("(o)", r"\2"),
        regex("o", r"a\x"),
        regex("o", "a\\"),
    ];
    let routes = actions
        .into_iter()
        .map(|action| route(prefix("/"), ActionSpec::Forward(action)))
        .collect();
    let found = problems(&table_spec(vec![virtual_host("v", &["*"], routes)]));
    let expected = [
        "0].route.prefix_rewrite: only one of prefix_rewrite, regex_rewrite and path_rewrite_policy may be set",
        "1].route.prefix_rewrite: must not have the byte 0x0d",
        "1].route.host_rewrite_literal: must not have the byte 0x0a",
        "2].route.regex_rewrite.pattern.regex: not a regular expression that can be used",
        "3].route.regex_rewrite.substitution: substitution names group 2, and the expression has 1",
        "4].route.regex_rewrite.substitution: a backslash in a substitution must be followed by a \
         digit or a backslash",
        "5].route.regex_rewrite.substitution: a backslash in a substitution must be followed by a \
         digit or a backslash",
    ];
    assert_eq!(
        found,
        expected.map(|problem| format!("virtual_hosts[0].routes[{problem}"))
    );
}

proptest! {
    #[test]
    fn the_query_always_stays(
        tail in "[a-z/]{0,10}",
        query in "(\\?[a-z=&/]{0,10})?",
        with in "/[a-z]{0,4}",
    ) {
        let target = format!("/{tail}{query}");
        for action in [prefix_rewrite(&with), regex("[a-m]", &with)] {
            let found = rewritten(prefix("/"), action, &target);
            prop_assert!(found.ends_with(&query), "{found} from {target}");
        }
        prop_assert_eq!(
            rewritten(prefix("/"), prefix_rewrite(&with), &target),
            format!("{with}{tail}{query}")
        );
    }
}
