//! Every kind of match, by tables.

use proptest::prelude::*;

use super::super::spec::{
    CookieMatchSpec, FilterStateSpec, HeaderMatchSpec, HeaderTestSpec, MetadataMatchSpec,
    QueryMatchSpec, QueryTestSpec, StringMatchSpec, StringPatternSpec, ValueMatchSpec,
};
use super::super::testing::{direct, facts, problems, request, route, table_spec, virtual_host};
use super::*;
use crate::exchange::{Metadata, Tls};
use crate::headers::Name;
use crate::values::Share;

fn matcher(spec: &MatchSpec) -> RouteMatcher {
    let mut report = Report::default();
    let matcher = RouteMatcher::build(spec, &mut report);
    report.finish(matcher).unwrap().unwrap()
}

/// Whether a head with that target matches, on the stream of that number.
fn meets(matcher: &RouteMatcher, head: &Headers, target: &[u8], random: u64) -> bool {
    let mut head = head.clone();
    head.set_known(Known::Path, target);
    let facts = Facts {
        random,
        ..facts(&head)
    };
    matcher.matches(&facts, Some(Uri::new(target).path))
}

fn path(spec: PathSpec, case_sensitive: bool) -> RouteMatcher {
    matcher(&MatchSpec {
        case_sensitive,
        ..MatchSpec::path(spec)
    })
}

fn hits<'a>(matcher: &RouteMatcher, targets: &[&'a str]) -> Vec<&'a str> {
    let head = request("a", "/", &[]);
    let hit = |target: &&str| meets(matcher, &head, target.as_bytes(), 0);
    targets
        .iter()
        .copied()
        .filter(|target| hit(target))
        .collect()
}

#[test]
fn paths_match_as_in_envoy() {
    let targets = [
        "/", "/pr", "/prx", "/pr/", "/pr/x", "/PR", "/Pr/x", "/pr?x=1", "/pr;a=1", "/pr/?x",
        "/pr?/pr", "/%70r", "/p?r", "//pr",
    ];
    let text = |text: &str| text.to_owned();
    let prefixed = [
        "/pr", "/prx", "/pr/", "/pr/x", "/pr?x=1", "/pr;a=1", "/pr/?x", "/pr?/pr",
    ]
    .as_slice();
    let prefixed_any = [
        "/pr", "/prx", "/pr/", "/pr/x", "/PR", "/Pr/x", "/pr?x=1", "/pr;a=1", "/pr/?x", "/pr?/pr",
    ];
    let separated = ["/pr", "/pr/", "/pr/x", "/pr?x=1", "/pr/?x", "/pr?/pr"].as_slice();
    let separated_any = [
        "/pr", "/pr/", "/pr/x", "/PR", "/Pr/x", "/pr?x=1", "/pr/?x", "/pr?/pr",
    ]
    .as_slice();
    let by_regex = [prefixed, &["/p?r"]].concat();
    for (spec, case_sensitive, expected) in [
        (PathSpec::Prefix(text("/pr")), true, prefixed),
        (PathSpec::Prefix(text("/Pr")), false, &prefixed_any),
        (PathSpec::Prefix(text("")), true, &targets),
        (PathSpec::Prefix(text("pr")), true, &[]),
        (PathSpec::Prefix(text("/pr?x")), true, &[]),
        (
            PathSpec::Path(text("/pr")),
            true,
            &["/pr", "/pr?x=1", "/pr?/pr"],
        ),
        (
            PathSpec::Path(text("/PR")),
            false,
            &["/pr", "/PR", "/pr?x=1", "/pr?/pr"],
        ),
        (PathSpec::Path(text("/pr?x=1")), true, &[]),
        (PathSpec::PathSeparatedPrefix(text("/pr")), true, separated),
        (
            PathSpec::PathSeparatedPrefix(text("/PR")),
            false,
            separated_any,
        ),
        (PathSpec::SafeRegex(text("/p.*")), true, &by_regex),
        (PathSpec::SafeRegex(text("/P.*")), false, &["/PR", "/Pr/x"]),
        (PathSpec::SafeRegex(text("/p")), true, &["/p?r"]),
    ] {
        let matcher = path(spec.clone(), case_sensitive);
        assert_eq!(
            hits(&matcher, &targets),
            expected,
            "{spec:?} {case_sensitive}"
        );
    }
}

fn string(pattern: StringPatternSpec, ignore_case: bool) -> HeaderTestSpec {
    HeaderTestSpec::String(StringMatchSpec {
        pattern,
        ignore_case,
    })
}

fn header(test: HeaderTestSpec, flags: &str) -> RouteMatcher {
    let spec = HeaderMatchSpec {
        name: "X-T".to_owned(),
        test,
        invert_match: flags.contains("invert"),
        treat_missing_header_as_empty: flags.contains("empty"),
    };
    matcher(&MatchSpec {
        headers: vec![spec],
        ..MatchSpec::path(PathSpec::Prefix("/".to_owned()))
    })
}

/// Which of some heads match: `-` for none of the name, else the values of its fields.
fn header_hits(matcher: &RouteMatcher, heads: &[&'static str]) -> Vec<&'static str> {
    let matches = |head: &&str| {
        let fields: Vec<_> = match *head {
            "-" => Vec::new(),
            values => values.split('|').map(|value| ("x-t", value)).collect(),
        };
        meets(matcher, &request("a", "/", &fields), b"/", 0)
    };
    heads.iter().copied().filter(|head| matches(head)).collect()
}

#[test]
fn string_tests_of_headers() {
    let heads = [
        "-", "", "abc", "ABC", "xabcx", "abc|xyz", "xyz|abc", "abc,xyz", "|abc",
    ];
    let text = |text: &str| text.to_owned();
    let several = ["abc", "abc|xyz", "xyz|abc", "|abc"].as_slice();
    let ignoring = ["abc", "ABC", "abc|xyz", "xyz|abc", "|abc"].as_slice();
    let prefixed = ["abc", "abc|xyz", "xyz|abc", "abc,xyz", "|abc"].as_slice();
    let others = ["", "ABC", "xabcx", "abc,xyz"];
    use StringPatternSpec::{Contains, Exact, Prefix, SafeRegex, Suffix};
    for (test, flags, expected) in [
        (string(Exact(text("abc")), false), "", several),
        (string(Exact(text("AbC")), true), "", ignoring),
        (string(Exact(text("abc,xyz")), false), "", &["abc,xyz"]),
        (string(Exact(text("abc")), false), "invert", &others),
        (
            string(Exact(text("abc")), false),
            "invert empty",
            &[&["-"], &others[..]].concat(),
        ),
        (string(Exact(text("")), false), "", &["", "|abc"]),
        (string(Exact(text("")), false), "empty", &["-", "", "|abc"]),
        (string(Prefix(text("ab")), false), "", prefixed),
        (
            string(Prefix(text("AB")), true),
            "",
            &["abc", "ABC", "abc|xyz", "xyz|abc", "abc,xyz", "|abc"],
        ),
        (string(Suffix(text("bc")), false), "", several),
        (string(Suffix(text("BC")), true), "", ignoring),
        (
            string(Contains(text("y")), false),
            "",
            &["abc|xyz", "xyz|abc", "abc,xyz"],
        ),
        (
            string(Contains(text("BC")), true),
            "",
            &[
                "abc", "ABC", "xabcx", "abc|xyz", "xyz|abc", "abc,xyz", "|abc",
            ],
        ),
        (string(SafeRegex(text("a.c")), false), "", several),
        (
            string(SafeRegex(text("(abc)?")), false),
            "empty",
            &["-", "", "abc", "abc|xyz", "xyz|abc", "|abc"],
        ),
        (string(SafeRegex(text(".*,.*")), false), "", &["abc,xyz"]),
        (HeaderTestSpec::Legacy(Exact(text("abc"))), "", several),
        (
            HeaderTestSpec::Legacy(Exact(text("abc"))),
            "invert",
            &others,
        ),
        (HeaderTestSpec::Legacy(Prefix(text("ab"))), "", prefixed),
        (HeaderTestSpec::Legacy(Suffix(text("bc"))), "", several),
        (
            HeaderTestSpec::Legacy(Contains(text("xab"))),
            "",
            &["xabcx"],
        ),
        (HeaderTestSpec::Legacy(SafeRegex(text("a.c"))), "", several),
    ] {
        let matcher = header(test.clone(), flags);
        assert_eq!(header_hits(&matcher, &heads), expected, "{test:?} {flags}");
    }
}

#[test]
fn presence_tests_of_headers() {
    let heads = ["-", "", "abc", "abc|xyz"];
    for (wanted, flags, expected) in [
        (true, "", ["", "abc", "abc|xyz"].as_slice()),
        (false, "", &["-"]),
        (true, "invert", &["-"]),
        (false, "invert", &["", "abc", "abc|xyz"]),
        (true, "empty", &heads),
        (false, "empty", &[]),
        (true, "invert empty", &[]),
        (false, "invert empty", &heads),
    ] {
        let matcher = header(HeaderTestSpec::Present(wanted), flags);
        assert_eq!(header_hits(&matcher, &heads), expected, "{wanted} {flags}");
    }
}

#[test]
fn range_tests_of_headers() {
    let heads = [
        "-",
        "",
        "5",
        "-10",
        "10",
        "-11",
        "+5",
        "0x5",
        "5x",
        "05",
        "5 5",
        "5|50",
        "50|5",
        "5.0",
        "99999999999999999999",
        "-0",
        "- 5",
        "--5",
        "9,9",
    ];
    let inside = ["5", "-10", "+5", "05", "5|50", "50|5", "-0"];
    let outside: Vec<_> = heads
        .iter()
        .copied()
        .filter(|head| !inside.contains(head))
        .collect();
    let range = || HeaderTestSpec::Range {
        start: -10,
        end: 10,
    };
    assert_eq!(header_hits(&header(range(), ""), &heads), inside);
    assert_eq!(header_hits(&header(range(), "empty"), &heads), inside);
    assert_eq!(
        header_hits(&header(range(), "invert"), &heads),
        outside[1..]
    );
    assert_eq!(
        header_hits(&header(range(), "invert empty"), &heads),
        outside
    );
}

#[test]
fn pseudo_header_fields_can_be_matched() {
    let head = request("h", "/x?y", &[]);
    for (name, value, expected) in [
        ("Host", "h", true),
        (":authority", "h", true),
        (":path", "/x?y", true),
        (":path", "/x", false),
        (":method", "GET", true),
        (":scheme", "http", false),
    ] {
        let spec = HeaderMatchSpec {
            name: name.to_owned(),
            test: string(StringPatternSpec::Exact(value.to_owned()), false),
            invert_match: false,
            treat_missing_header_as_empty: false,
        };
        let spec = MatchSpec {
            headers: vec![spec],
            ..MatchSpec::path(PathSpec::Prefix(String::new()))
        };
        assert_eq!(
            meets(&matcher(&spec), &head, b"/x?y", 0),
            expected,
            "{name} {value}"
        );
    }
}

fn query(parameters: &[(&str, QueryTestSpec)]) -> RouteMatcher {
    let query_parameters = parameters
        .iter()
        .map(|(name, test)| QueryMatchSpec {
            name: (*name).to_owned(),
            test: test.clone(),
        })
        .collect();
    matcher(&MatchSpec {
        query_parameters,
        ..MatchSpec::path(PathSpec::Prefix("/".to_owned()))
    })
}

/// `?` is present, `!` is absent; else a string test as `exact=1` or `exact_i=1`.
fn query_test(test: &str) -> QueryTestSpec {
    let (kind, text) = match test.split_once('=') {
        None => return QueryTestSpec::Present(test == "?"),
        Some((kind, text)) => (kind, text.to_owned()),
    };
    let pattern = match kind.trim_end_matches("_i") {
        "prefix" => StringPatternSpec::Prefix(text),
        "regex" => StringPatternSpec::SafeRegex(text),
        _ => StringPatternSpec::Exact(text),
    };
    QueryTestSpec::String(StringMatchSpec {
        pattern,
        ignore_case: kind.ends_with("_i"),
    })
}

#[test]
fn query_parameters_match_as_in_envoy() {
    let with_a = [
        "/?a",
        "/?a=",
        "/?a=1",
        "/?b=2&a=1",
        "/?a=1&a=2",
        "/?a=2&a=1",
        "/?a=12",
        "/?a=abc",
        "/?a=a%20b",
        "/?a=1=2",
        "/?a&b=2",
        "/?&a=1",
        "/?=1&a=1",
        "/?a=1;b=2",
        "/?a=1&",
    ];
    let without_a = [
        "/", "/?", "/?A=1", "/?%61=1", "/?aa=1", "/?b=a=1", "/?a%", "/?x?a=1", "/?b=%26a", "/#?a=1",
    ];
    let targets = [&with_a[..], &without_a].concat();
    let ones = [
        "/?a=1",
        "/?b=2&a=1",
        "/?a=1&a=2",
        "/?&a=1",
        "/?=1&a=1",
        "/?a=1&",
    ];
    for (parameters, expected) in [
        ([("a", "?")].as_slice(), with_a.as_slice()),
        (&[("a", "!")], &without_a),
        (&[("a", "exact=1")], &ones),
        (&[("a", "exact=")], &["/?a", "/?a=", "/?a&b=2"]),
        (&[("a", "exact=2")], &["/?a=2&a=1"]),
        (&[("a", "exact=1=2")], &["/?a=1=2"]),
        (&[("a", "exact_i=AbC")], &["/?a=abc"]),
        (&[("a", "exact=a b")], &[]),
        (&[("a", "exact=a%20b")], &["/?a=a%20b"]),
        (&[("a", "prefix=12")], &["/?a=12"]),
        (&[("a", r"regex=\d{2}")], &["/?a=12"]),
        (&[("A", "?")], &["/?A=1"]),
        (&[("%61", "?")], &["/?%61=1"]),
        (&[("a", "?"), ("b", "exact=2")], &["/?b=2&a=1", "/?a&b=2"]),
    ] {
        let tests: Vec<_> = parameters
            .iter()
            .map(|(name, test)| (*name, query_test(test)))
            .collect();
        assert_eq!(hits(&query(&tests), &targets), expected, "{parameters:?}");
    }
}

#[test]
fn grpc_is_known_by_its_content_type() {
    let spec = MatchSpec {
        grpc: true,
        ..MatchSpec::path(PathSpec::Prefix(String::new()))
    };
    let matcher = matcher(&spec);
    for (content_type, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc+", true),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("application/grpc;x", false),
        ("APPLICATION/GRPC", false),
        ("application/json", false),
    ] {
        let head = request("a", "/", &[("content-type", content_type)]);
        assert_eq!(meets(&matcher, &head, b"/", 0), expected, "{content_type}");
    }
    assert!(!meets(&matcher, &request("a", "/", &[]), b"/", 0));
}

#[test]
fn a_fraction_takes_its_part() {
    let fraction = Share::new(30, 100).map(Fraction::fixed);
    let spec = MatchSpec {
        runtime_fraction: fraction,
        ..MatchSpec::path(PathSpec::Prefix(String::new()))
    };
    let matcher = matcher(&spec);
    let head = request("a", "/", &[]);
    let taken = (0..1000)
        .filter(|random| meets(&matcher, &head, b"/", *random))
        .count();
    assert_eq!(taken, 300);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let pattern = |pattern| StringMatchSpec {
        pattern,
        ignore_case: true,
    };
    let header = |name: &str, test| HeaderMatchSpec {
        name: name.to_owned(),
        test,
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    let empty = String::new;
    use StringPatternSpec::{Contains, Prefix, SafeRegex, Suffix};
    let matches = MatchSpec {
        path: PathSpec::SafeRegex("(".to_owned()),
        case_sensitive: true,
        headers: vec![
            header("a b", HeaderTestSpec::Present(true)),
            header("", HeaderTestSpec::String(pattern(Prefix(empty())))),
            header(
                "a",
                HeaderTestSpec::String(pattern(SafeRegex("a".to_owned()))),
            ),
            header("a", HeaderTestSpec::Legacy(SafeRegex("[".to_owned()))),
            header("a", HeaderTestSpec::Legacy(Contains(empty()))),
        ],
        query_parameters: vec![QueryMatchSpec {
            name: empty(),
            test: QueryTestSpec::String(pattern(Suffix(empty()))),
        }],
        grpc: false,
        runtime_fraction: None,
        cookies: vec![CookieMatchSpec {
            name: empty(),
            string: pattern(Prefix(empty())),
            invert_match: false,
        }],
        tls_context: None,
        dynamic_metadata: vec![MetadataMatchSpec {
            filter: "f".to_owned(),
            path: vec!["a".to_owned(), "b".to_owned()],
            value: ValueMatchSpec::Any(vec![ValueMatchSpec::String(pattern(Suffix(empty())))]),
            invert: false,
        }],
        filter_state: vec![FilterStateSpec {
            key: "k".to_owned(),
            string: pattern(Suffix(empty())),
        }],
    };
    let routes = vec![route(matches, direct("a"))];
    let found = problems(&table_spec(vec![virtual_host("v", &["*"], routes)]));
    let at = "virtual_hosts[0].routes[0].match";
    let expected: Vec<String> = [
        "safe_regex.regex: not a regular expression that can be used",
        "headers[0].name: not the name of a header",
        "headers[1].name: not the name of a header",
        "headers[1].string_match.prefix: must not be empty",
        "headers[2].string_match.ignore_case: ignore_case has no effect on safe_regex; begin the \
         expression with (?i)",
        "headers[3].safe_regex_match.regex: not a regular expression that can be used",
        "headers[4].contains_match: must not be empty",
        "query_parameters[0].name: must not be empty",
        "query_parameters[0].string_match.suffix: must not be empty",
        "cookies[0].name: must not be empty",
        "cookies[0].string_match.prefix: must not be empty",
        "dynamic_metadata[0].path: not supported by nuncio: values inside of values; write one key",
        "dynamic_metadata[0].value.or_match.value_matchers[0].string_match.suffix: must not be empty",
        "filter_state[0].string_match.suffix: must not be empty",
    ]
    .iter()
    .map(|problem| format!("{at}.{problem}"))
    .collect();
    assert_eq!(found, expected);
}

#[test]
fn paths_that_cannot_be_matched_are_told() {
    let separated = |path: &str| PathSpec::PathSeparatedPrefix(path.to_owned());
    let mut paths: Vec<_> = ["/x/", "/", "/x?q", "/x#f", ""].map(separated).into();
    paths.push(PathSpec::Template("/{a".to_owned()));
    let routes = paths.into_iter();
    let routes = routes.map(|path| route(MatchSpec::path(path), direct("a")));
    let found = problems(&table_spec(vec![virtual_host(
        "v",
        &["*"],
        routes.collect(),
    )]));
    let mut expected: Vec<String> = (0..5)
        .map(|index| {
            let problem = Problem::SeparatedPrefix;
            format!("virtual_hosts[0].routes[{index}].match.path_separated_prefix: {problem}")
        })
        .collect();
    expected.push(
        "virtual_hosts[0].routes[5].match.path_match_policy.typed_config.path_template: \
         not a URI template that can be used"
            .to_owned(),
    );
    assert_eq!(found, expected);
}

#[test]
fn cookies_match_by_their_first_value() {
    let cookie = |pattern, invert_match| {
        let string = StringMatchSpec {
            pattern,
            ignore_case: false,
        };
        matcher(&MatchSpec {
            cookies: vec![CookieMatchSpec {
                name: "a".to_owned(),
                string,
                invert_match,
            }],
            ..MatchSpec::path(PathSpec::Prefix(String::new()))
        })
    };
    let exact = |text: &str| StringPatternSpec::Exact(text.to_owned());
    for (fields, expected, inverted) in [
        (&["a=1"][..], true, false),
        (&["b=2; a=1"], true, false),
        (&["b=2;a=1;a=2"], true, false),
        (&["b=2", "a=1"], true, false),
        (&["a=\"1\""], true, false),
        (&["a=2; a=1"], false, true),
        (&["a=1 "], false, true),
        (&["a="], false, true),
        (&["A=1"], false, true),
        (&["aa=1"], false, true),
        (&["a"], false, true),
        (&["a; a=1"], true, false),
        (&["b=1;\ta=1"], false, true),
        (&[], false, true),
    ] {
        let fields: Vec<_> = fields.iter().map(|value| ("cookie", *value)).collect();
        let head = request("h", "/", &fields);
        assert_eq!(
            meets(&cookie(exact("1"), false), &head, b"/", 0),
            expected,
            "{fields:?}"
        );
        assert_eq!(
            meets(&cookie(exact("1"), true), &head, b"/", 0),
            inverted,
            "{fields:?}"
        );
    }
}

#[test]
fn a_certificate_can_be_asked_for() {
    let session = |presented, validated| Tls {
        certificate_presented: presented,
        certificate_validated: validated,
        ..Tls::default()
    };
    let (none, good) = (session(false, false), session(true, true));
    let bad = session(true, false);
    for (presented, validated, expected) in [
        (None, None, [true; 4]),
        (Some(true), None, [false, false, true, true]),
        (Some(false), None, [true, true, false, false]),
        (None, Some(true), [false, false, false, true]),
        (Some(true), Some(false), [false, false, true, false]),
    ] {
        let matcher = matcher(&MatchSpec {
            tls_context: Some(TlsMatchSpec {
                presented,
                validated,
            }),
            ..MatchSpec::path(PathSpec::Prefix(String::new()))
        });
        let head = request("h", "/", &[]);
        let sessions = [None, Some(&none), Some(&bad), Some(&good)];
        let matched = sessions.map(|tls| {
            let facts = Facts {
                tls,
                ..facts(&head)
            };
            matcher.matches(&facts, Some(b"/"))
        });
        assert_eq!(matched, expected, "{presented:?} {validated:?}");
    }
}

#[test]
fn values_of_the_metadata_are_compared_as_text() {
    let exact = |text: &str| {
        ValueMatchSpec::String(StringMatchSpec {
            pattern: StringPatternSpec::Exact(text.to_owned()),
            ignore_case: false,
        })
    };
    let range = ValueMatchSpec::Range {
        start: 1.0,
        end: 2.0,
    };
    let either = ValueMatchSpec::Any(vec![exact("x"), ValueMatchSpec::Bool(false)]);
    for (value, expected) in [
        (exact("1.5"), &["1.5"][..]),
        (range, &["1", "1.5"]),
        (ValueMatchSpec::Number(2.0), &["2"]),
        (ValueMatchSpec::Bool(true), &["true"]),
        (either, &["false", "x"]),
        (
            ValueMatchSpec::Present(true),
            &["1", "1.5", "2", "true", "false", "x", ""],
        ),
        (ValueMatchSpec::Present(false), &[]),
    ] {
        for invert in [false, true] {
            let matcher = matcher(&MatchSpec {
                dynamic_metadata: vec![MetadataMatchSpec {
                    filter: "f".to_owned(),
                    path: vec!["k".to_owned()],
                    value: value.clone(),
                    invert,
                }],
                ..MatchSpec::path(PathSpec::Prefix(String::new()))
            });
            let head = request("h", "/", &[]);
            let matches = |metadata: &Metadata| {
                let facts = Facts {
                    metadata,
                    ..facts(&head)
                };
                matcher.matches(&facts, Some(b"/"))
            };
            assert_eq!(matches(&Metadata::default()), invert, "{value:?} of none");
            for text in ["1", "1.5", "2", "true", "false", "x", ""] {
                let mut metadata = Metadata::default();
                metadata.set("f", "other", b"1.5");
                metadata.set("f", "k", text.as_bytes());
                let wanted = expected.contains(&text) != invert;
                assert_eq!(matches(&metadata), wanted, "{value:?} of {text:?}");
            }
        }
    }
}

#[test]
fn filter_state_is_a_namespace_of_the_metadata() {
    let matcher = matcher(&MatchSpec {
        filter_state: vec![FilterStateSpec {
            key: "tenant".to_owned(),
            string: StringMatchSpec {
                pattern: StringPatternSpec::Prefix("a".to_owned()),
                ignore_case: false,
            },
        }],
        ..MatchSpec::path(PathSpec::Prefix(String::new()))
    });
    let head = request("h", "/", &[]);
    let mismatch = |metadata: &Metadata| {
        let facts = Facts {
            metadata,
            ..facts(&head)
        };
        matcher.mismatch(&facts, Some(b"/"))
    };
    let mut metadata = Metadata::default();
    metadata.set("other", "tenant", b"a");
    assert_eq!(mismatch(&metadata), Some(Mismatch::FilterState(0)));
    metadata.set(Metadata::FILTER_STATE, "tenant", b"ab");
    assert_eq!(mismatch(&metadata), None);
    metadata.set(Metadata::FILTER_STATE, "tenant", b"b");
    assert_eq!(mismatch(&metadata), Some(Mismatch::FilterState(0)));
}

#[test]
fn connect_is_a_method() {
    let matcher = path(PathSpec::Connect, true);
    let mut head = request("h", "/", &[]);
    assert!(!matcher.matches(&facts(&head), Some(b"/")));
    head.set_known(Known::Method, b"CONNECT");
    assert!(matcher.matches(&facts(&head), Some(b"/")));
    assert!(matcher.matches(&facts(&head), None));
    let prefix = path(PathSpec::Prefix(String::new()), true);
    assert!(!prefix.matches(&facts(&head), None));
}

#[test]
fn what_a_request_does_not_meet_is_named() {
    let present = |name: &str| HeaderMatchSpec {
        name: name.to_owned(),
        test: HeaderTestSpec::Present(true),
        invert_match: false,
        treat_missing_header_as_empty: false,
    };
    let matcher = matcher(&MatchSpec {
        headers: vec![present("a"), present("b")],
        query_parameters: vec![QueryMatchSpec {
            name: "q".to_owned(),
            test: QueryTestSpec::Present(true),
        }],
        ..MatchSpec::path(PathSpec::Prefix("/p".to_owned()))
    });
    for (target, fields, expected) in [
        ("/x", &[][..], Some(Mismatch::Path)),
        ("/p", &[], Some(Mismatch::Header(0))),
        ("/p", &[("a", "")], Some(Mismatch::Header(1))),
        (
            "/p",
            &[("a", ""), ("b", "")],
            Some(Mismatch::QueryParameter(0)),
        ),
        ("/p?q", &[("a", ""), ("b", "")], None),
    ] {
        let head = request("h", target, fields);
        let path = Uri::new(target.as_bytes()).path;
        assert_eq!(
            matcher.mismatch(&facts(&head), Some(path)),
            expected,
            "{target} {fields:?}"
        );
    }
}

proptest! {
    #[test]
    fn matchers_never_panic_on_bytes(
        target in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut head = request("a", "/", &[]);
        head.append(&Name::parse(b"x-t").unwrap(), &value);
        let uri = Uri::new(&target);
        prop_assert_eq!([uri.path, uri.rest].concat(), target.clone());
        prop_assert!(!uri.path.contains(&b'?'));
        for pattern in [
            StringPatternSpec::Exact("é".to_owned()),
            StringPatternSpec::Prefix("aa".to_owned()),
            StringPatternSpec::Suffix("aa".to_owned()),
            StringPatternSpec::Contains("aa".to_owned()),
            StringPatternSpec::SafeRegex(r"(?s).*\b.*".to_owned()),
        ] {
            let ignore_case = !matches!(pattern, StringPatternSpec::SafeRegex(_));
            let test = HeaderTestSpec::String(StringMatchSpec { pattern, ignore_case });
            let _ = meets(&header(test, ""), &head, &target, 0);
        }
        let range = HeaderTestSpec::Range { start: i64::MIN, end: i64::MAX };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok());
        let expected = number.is_some_and(|number| number < i64::MAX);
        prop_assert_eq!(meets(&header(range, ""), &head, b"/", 0), expected);
    }

    #[test]
    fn parameters_are_the_first_of_their_name(
        pairs in proptest::collection::vec(("[a-c]{1,2}", "[a-c=]{0,3}"), 0..6),
        name in "[a-c]{1,2}",
    ) {
        let query: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = format!("/?{}", query.join("&"));
        let first = pairs.iter().find(|(found, _)| *found == name);
        let found = Uri::new(target.as_bytes()).parameter(name.as_bytes());
        prop_assert_eq!(found, first.map(|(_, value)| value.as_bytes()));
    }
}
