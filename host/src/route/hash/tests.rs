//! Hashes of requests, against numbers of a real Envoy 1.40.

use std::time::Duration;

use super::super::spec::RegexRewriteSpec;
use super::super::testing::{exchange, request};
use super::*;

const ABC: u64 = 0x44bc_2cf5_ad77_0999;

fn policies(specs: Vec<(HashSourceSpec, bool)>) -> HashPolicies {
    let spec = |(source, terminal)| HashPolicySpec { source, terminal };
    let specs: Vec<HashPolicySpec> = specs.into_iter().map(spec).collect();
    let mut report = Report::default();
    let policies = HashPolicies::build(&specs, &mut report);
    report.finish(policies).unwrap()
}

fn header(name: &str) -> HashSourceSpec {
    HashSourceSpec::Header {
        name: name.to_owned(),
        rewrite: None,
    }
}

fn cookie_of(name: &str, ttl: Option<u64>) -> HashSourceSpec {
    HashSourceSpec::Cookie {
        name: name.to_owned(),
        ttl: ttl.map(Duration::from_secs),
        path: String::new(),
        attributes: Vec::new(),
    }
}

/// The hash of a request for `path` with `fields`, and the cookies that are made.
fn hash(
    specs: Vec<(HashSourceSpec, bool)>,
    path: &str,
    fields: &[(&str, &str)],
) -> (Option<u64>, Vec<String>) {
    let mut cookies = NewCookies::new();
    let exchange = exchange(request("a", path, fields));
    let hash = policies(specs).hash(&exchange, Some(&mut cookies));
    let text = |cookie: Vec<u8>| String::from_utf8(cookie).unwrap();
    (hash, cookies.into_iter().map(text).collect())
}

#[test]
fn each_source_is_hashed_as_it_is_written() {
    let query = || HashSourceSpec::QueryParameter("q".to_owned());
    let of = |text: &str| Some(xxh64(text.as_bytes(), 0));
    for (source, path, fields, expected) in [
        (header("X-User"), "/", &[("x-user", "abc")][..], Some(ABC)),
        (header("x-user"), "/", &[("x-user", "")], of("")),
        (header("x-user"), "/", &[("x-other", "abc")], None),
        (header("host"), "/", &[], of("a")),
        (query(), "/?q=abc", &[], Some(ABC)),
        (query(), "/?x=1&q=abc&q=d", &[], Some(ABC)),
        (query(), "/?q", &[], of("")),
        (query(), "/?qq=abc", &[], None),
        (query(), "/?q=%61bc", &[], of("%61bc")),
        (HashSourceSpec::SourceIp, "/", &[], of("127.0.0.1")),
        (cookie_of("c", None), "/", &[("cookie", "c=abc")], Some(ABC)),
        (
            cookie_of("c", None),
            "/",
            &[("cookie", "b=1; c=abc; d")],
            Some(ABC),
        ),
        (
            cookie_of("c", None),
            "/",
            &[("cookie", "b=1"), ("cookie", "c=abc")],
            Some(ABC),
        ),
        (
            cookie_of("c", None),
            "/",
            &[("cookie", "c=\"abc\"")],
            Some(ABC),
        ),
        (cookie_of("c", None), "/", &[("cookie", "cc=abc; c")], None),
        (cookie_of("c", None), "/", &[("cookie", "c=")], None),
    ] {
        let told = format!("{source:?} {path} {fields:?}");
        assert_eq!(
            hash(vec![(source, false)], path, fields),
            (expected, vec![]),
            "{told}"
        );
    }
}

#[test]
fn several_values_of_a_header_are_hashed_in_any_order() {
    let of = |fields: &[(&str, &str)]| hash(vec![(header("x"), false)], "/", fields).0;
    let both = Some(xxh64(b"bc", xxh64(b"a", 0)));
    assert_eq!(of(&[("x", "bc"), ("x", "a")]), both);
    assert_eq!(of(&[("x", "a"), ("x", "bc")]), both);
    let rewritten = || HashSourceSpec::Header {
        name: "x".to_owned(),
        rewrite: Some(RegexRewriteSpec {
            pattern: "[0-9]+".to_owned(),
            substitution: String::new(),
        }),
    };
    let of = |fields: &[(&str, &str)]| hash(vec![(rewritten(), false)], "/", fields).0;
    assert_eq!(of(&[("x", "a1b22c")]), Some(ABC));
    assert_eq!(of(&[("x", "9bc"), ("x", "a0")]), both);
}

#[test]
fn hashes_are_combined_in_their_order_up_to_a_terminal_one() {
    let fields = [("a", "abc"), ("b", "abc"), ("c", "other")];
    let other = xxh64(b"other", 0);
    let of = |specs: &[(&str, bool)]| {
        let specs = specs
            .iter()
            .map(|(name, terminal)| (header(name), *terminal));
        hash(specs.collect(), "/", &fields).0
    };
    let turned = ABC.rotate_left(1);
    assert_eq!(of(&[("a", false), ("c", false)]), Some(turned ^ other));
    assert_eq!(
        of(&[("c", false), ("a", false)]),
        Some(other.rotate_left(1) ^ ABC)
    );
    assert_eq!(
        of(&[("a", false), ("b", false)]),
        Some(turned ^ ABC),
        "equal ones do not cancel"
    );
    assert_eq!(of(&[("a", true), ("c", false)]), Some(ABC));
    assert_eq!(of(&[("none", true), ("a", false)]), Some(ABC));
    // A terminal policy that finds nothing ends the list all the same where there is a hash.
    assert_eq!(of(&[("a", false), ("none", true), ("c", false)]), Some(ABC));
    assert_eq!(of(&[("none", false)]), None);
    assert_eq!(of(&[]), None);
}

#[test]
fn a_missing_cookie_is_made_of_the_connection() {
    let source = HashSourceSpec::Cookie {
        name: "ck".to_owned(),
        ttl: Some(Duration::from_secs(60)),
        path: "/p".to_owned(),
        attributes: [("SameSite", "Strict"), ("Secure", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    let value = format!("{:016x}", xxh64(b"127.0.0.1:1127.0.0.1:1", 0));
    let (found, cookies) = hash(vec![(source.clone(), false)], "/", &[("cookie", "ck=")]);
    assert_eq!(found, Some(xxh64(value.as_bytes(), 0)));
    let expected =
        format!("ck=\"{value}\"; Max-Age=60; Path=/p; SameSite=Strict; Secure; HttpOnly");
    assert_eq!(cookies, [expected]);
    let (_, cookies) = hash(vec![(cookie_of("s", Some(0)), false)], "/", &[]);
    assert_eq!(cookies, [format!("s=\"{value}\"; HttpOnly")]);
    // Where nobody takes cookies, none is made, and the request has no hash.
    let exchange = exchange(request("a", "/", &[]));
    assert_eq!(policies(vec![(source, false)]).hash(&exchange, None), None);
}
