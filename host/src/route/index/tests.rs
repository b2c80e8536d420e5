//! The index finds what a walk from the first route to the last finds.

use proptest::prelude::*;

use super::super::error::Report;
use super::super::spec::{
    HeaderMatchSpec, HeaderTestSpec, MatchSpec, PathSpec, StringMatchSpec, StringPatternSpec,
};
use super::super::testing::{facts, request};
use super::super::{Action, Redirect};
use super::*;
use crate::headers::{Headers, Known};

fn entries(specs: &[MatchSpec]) -> Vec<Entry> {
    let route = Arc::new(Route {
        name: None,
        virtual_host: "v".into(),
        metadata: None,
        virtual_host_metadata: None,
        action: Action::Redirect(Redirect::to_https()),
        variants: None,
        levels: Default::default(),
        virtual_clusters: Arc::default(),
    });
    let built = specs.iter().map(|spec| {
        let mut report = Report::default();
        let matcher = RouteMatcher::build(spec, &mut report);
        (report.finish(matcher).unwrap().unwrap(), Arc::clone(&route))
    });
    built.collect()
}

/// The first that matches, by a walk and by the index.
fn both(entries: &[Entry], head: &Headers) -> [Option<usize>; 2] {
    let target = head.known(Known::Path);
    let path = target.map(|target| target.split(|byte| *byte == b'?').next().unwrap());
    let facts = facts(head);
    let mut walk = entries.iter();
    [
        walk.position(|(matcher, _)| matcher.matches(&facts, path)),
        Index::new(entries).find(entries, &facts, path),
    ]
}

fn path_spec() -> impl Strategy<Value = PathSpec> {
    prop_oneof![
        3 => "/?[abAB/]{0,4}".prop_map(PathSpec::Prefix),
        3 => "/[abAB/]{0,4}".prop_map(PathSpec::Path),
        2 => "/[abAB]{1,3}".prop_map(PathSpec::PathSeparatedPrefix),
        2 => r"/a?\.\*(b|/)\.\*[ab]{1,2}".prop_map(PathSpec::SafeRegex),
        3 => r"(\(\?i\))?/[ab]{0,2}(\.\*|\[ab\]|b\?|\(a\|b/\)|a\{2\}|/|\.)?".prop_map(PathSpec::SafeRegex),
        1 => r"(\.\*|\.)[ab]".prop_map(PathSpec::SafeRegex),
        2 => r"/([ab]|\*)(/(\*|\*\*|[ab]|\{x\}|\{x=\*\*\}))?".prop_map(PathSpec::Template),
        1 => Just(PathSpec::Connect),
    ]
}

fn match_spec() -> impl Strategy<Value = MatchSpec> {
    (
        path_spec(),
        any::<bool>(),
        proptest::option::weighted(0.3, 0..3_u8),
    )
        .prop_map(|(path, case_sensitive, header)| {
            let header = header.map(|value| HeaderMatchSpec {
                name: "x-h".to_owned(),
                test: HeaderTestSpec::String(StringMatchSpec {
                    pattern: StringPatternSpec::Exact(value.to_string()),
                    ignore_case: false,
                }),
                invert_match: false,
                treat_missing_header_as_empty: false,
            });
            MatchSpec {
                case_sensitive,
                headers: header.into_iter().collect(),
                ..MatchSpec::path(path)
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_same_as_a_plain_walk(
        specs in proptest::collection::vec(match_spec(), 0..40),
        requests in proptest::collection::vec(("/[abAB/]{0,5}", proptest::option::of(0..3_u8), "(\\?[ab])?"), 1..12),
        connect in any::<bool>(),
    ) {
        let entries = entries(&specs);
        for (path, header, query) in requests {
            let value = header.map(|value| value.to_string());
            let fields: Vec<_> = value.iter().map(|value| ("x-h", &**value)).collect();
            let mut head = request("h", &format!("{path}{query}"), &fields);
            if connect {
                head.set_known(Known::Method, b"CONNECT");
            }
            let [walk, index] = both(&entries, &head);
            prop_assert_eq!(walk, index, "{}", path);
            head.remove_known(Known::Path);
            let [walk, index] = both(&entries, &head);
            prop_assert_eq!(walk, index, "without a path");
        }
    }
}

#[test]
fn many_expressions_with_one_beginning_are_matched_at_once() {
    let specs: Vec<_> = (0..200)
        .map(|number| MatchSpec::path(PathSpec::SafeRegex(format!("/a/[^/]+/{number}"))))
        .collect();
    let entries = entries(&specs);
    let index = Index::new(&entries);
    let sizes: Vec<usize> = many(&index).flat_map(Many::set_sizes).collect();
    assert_eq!(sizes, [200]);
    for number in [0, 7, 63, 64, 199] {
        let head = request("h", &format!("/a/x/{number}"), &[]);
        assert_eq!(both(&entries, &head), [Some(number), Some(number)]);
    }
    assert_eq!(both(&entries, &request("h", "/a/x/200", &[])), [None, None]);
}

fn many(index: &Index) -> impl Iterator<Item = &Many> {
    index
        .groups
        .iter()
        .filter_map(|group| group.many.as_deref())
}

/// Routes that no table could hold together: each remembers what it has seen.
#[test]
fn what_cannot_be_matched_at_once_is_found_by_its_texts() {
    let spec = |number: usize| {
        MatchSpec::path(if number.is_multiple_of(2) {
            PathSpec::SafeRegex(format!("/a/.*[xy]-{number}-.*[a-c].*[a-c].*"))
        } else {
            PathSpec::Template(format!("/a/{{v}}/-{number}-/*/b"))
        })
    };
    let specs: Vec<_> = (0..120).map(spec).collect();
    let entries = entries(&specs);
    let index = Index::new(&entries);
    let texts: usize = many(&index).map(Many::texts).sum();
    assert!(texts >= 60, "{texts}");
    for number in [0, 1, 2, 17, 64, 118, 119] {
        let head = request("h", &format!("/a/x/-{number}-/abc/b"), &[]);
        let expected = (number % 2 == 1).then_some(number);
        assert_eq!(both(&entries, &head), [expected; 2], "{number}");
        let head = request("h", &format!("/a/x-{number}-/abc/b"), &[]);
        let expected = (number % 2 == 0).then_some(number);
        assert_eq!(both(&entries, &head), [expected; 2], "{number}");
    }
    assert_eq!(
        both(&entries, &request("h", "/a/x-120-abc", &[])),
        [None; 2]
    );
}

#[test]
fn the_first_of_equal_routes_is_taken() {
    let prefix = |text: &str| MatchSpec::path(PathSpec::Prefix(text.to_owned()));
    let path = |text: &str| MatchSpec::path(PathSpec::Path(text.to_owned()));
    let entries = entries(&[
        prefix("/ab"),
        path("/abc"),
        prefix("/a"),
        path("/a"),
        path("/a"),
    ]);
    for (target, expected) in [("/abc", 0), ("/ab", 0), ("/a", 2), ("/ax", 2)] {
        let head = request("h", target, &[]);
        assert_eq!(both(&entries, &head), [Some(expected); 2], "{target}");
    }
}

/// How much a lookup looks at in a table of so many routes, at most of those asked for.
fn looked_at(
    count: usize,
    spec: impl Fn(usize) -> MatchSpec,
    path: impl Fn(usize) -> String,
) -> usize {
    let specs: Vec<_> = (0..count).map(spec).collect();
    let entries = entries(&specs);
    let index = Index::new(&entries);
    let asked = [0, count / 2, count - 1].map(|number| {
        let path = path(number);
        let head = request("a", &path, &[]);
        super::super::trie::looked_at(|| {
            let found = index.find(&entries, &facts(&head), Some(path.as_bytes()));
            assert_eq!(found, Some(number), "{path}");
        })
    });
    asked.into_iter().max().unwrap()
}

#[test]
fn a_lookup_does_not_look_at_more_in_a_larger_table() {
    // Names of one length, so that nothing but the number of routes differs.
    fn name(number: usize) -> String {
        format!("/s{number:05}")
    }
    let path = |number| PathSpec::Path(format!("{}/x", name(number)));
    let prefix = |number| PathSpec::Prefix(format!("{}/", name(number)));
    let separated = |number| PathSpec::PathSeparatedPrefix(name(number));
    let template = |number| PathSpec::Template(format!("{}/{{x}}", name(number)));
    let begun = |number| PathSpec::SafeRegex(format!("{}/[a-z]+", name(number)));
    let within = |number| PathSpec::SafeRegex(format!("/.*s{number:05}/[a-z]+"));
    type Kind<'a> = &'a dyn Fn(usize) -> PathSpec;
    let table: [(&str, bool, usize, Kind<'_>); 9] = [
        ("path", true, 10_000, &path),
        ("path in any case", false, 10_000, &path),
        ("prefix", true, 10_000, &prefix),
        ("prefix in any case", false, 10_000, &prefix),
        ("separated", true, 10_000, &separated),
        ("separated in any case", false, 10_000, &separated),
        ("template", true, 10_000, &template),
        // These take long to build.
        ("expression with a beginning", true, 500, &begun),
        ("expression with a text", true, 500, &within),
    ];
    for (what, case_sensitive, most, path) in table {
        let [few, many] = [10, most].map(|count| {
            let spec = |number| MatchSpec {
                case_sensitive,
                ..MatchSpec::path(path(number))
            };
            looked_at(count, spec, |number| format!("{}/x", name(number)))
        });
        assert!(many <= 3 * few, "{what}: {few} of 10, {many} of {most}");
    }
}

#[test]
fn a_lookup_that_walks_is_seen_to() {
    let other = |number: usize| HeaderMatchSpec {
        name: "x-h".to_owned(),
        test: HeaderTestSpec::String(StringMatchSpec {
            pattern: StringPatternSpec::Exact(number.to_string()),
            ignore_case: false,
        }),
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    let specs = (0..1_000).map(|number| MatchSpec {
        headers: vec![other(number)],
        ..MatchSpec::path(PathSpec::Prefix("/".to_owned()))
    });
    let entries = entries(&specs.collect::<Vec<_>>());
    let index = Index::new(&entries);
    let head = request("a", "/", &[("x-h", "999")]);
    let looked_at = super::super::trie::looked_at(|| {
        let found = index.find(&entries, &facts(&head), Some(b"/"));
        assert_eq!(found, Some(999));
    });
    assert!(looked_at >= 1_000, "{looked_at}");
}
