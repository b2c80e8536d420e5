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
