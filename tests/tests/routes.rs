//! `nuncio routes check`: what it answers, and what it says when a test fails.

#![expect(clippy::unwrap_used, reason = "helpers of a test suite")]

use std::path::Path;

use nuncio_tests::process::{Directory, Ran};

/// Standard output has all of these.
#[track_caller]
fn says(ran: &Ran, texts: &[&str]) {
    for text in texts {
        let Ran { stdout, stderr, .. } = ran;
        assert!(stdout.contains(text), "no {text:?} in:\n{stdout}\n{stderr}");
    }
}

#[track_caller]
fn ends_with(ran: &Ran, code: i32) {
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
}

fn example(name: &str) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/routes");
    examples.join(name).to_str().unwrap().to_owned()
}

/// `nuncio routes check` of the example.
fn check(arguments: &[&str]) -> Ran {
    let file = example("envoy.yaml");
    Ran::nuncio([&["routes", "check", &file], arguments].concat())
}

fn ask(request: &str, fields: &[&str]) -> Ran {
    let fields: Vec<_> = fields.iter().flat_map(|field| ["-H", field]).collect();
    check(&[&["--request", request], &*fields].concat())
}

/// The example's tests with one change.
fn tests(from: &str, to: &str, more: &[&str]) -> Ran {
    let text = std::fs::read_to_string(example("routes.test.yaml")).unwrap();
    assert!(text.contains(from), "{from:?} is in the example");
    let directory = Directory::create();
    let path = directory.write("routes.test.yaml", &text.replacen(from, to, 1));
    let path = path.to_str().unwrap();
    check(&[&["--tests", path], more].concat())
}

#[test]
fn the_chain_of_decisions_is_shown() {
    let ran = ask(
        "http://a.shop.example.com/cart?x=1",
        &["Cookie: cohort=alpha"],
    );
    ends_with(&ran, 0);
    says(
        &ran,
        &[
            "GET http://a.shop.example.com/cart?x=1",
            "listener \"edge\", routes \"shop\"",
            "virtual host \"shop\" by its domain \"*.shop.example.com\"",
            "✗ routes[0] \"health\" (line 19): path \"/healthz\"\n        the path does not match",
            "✗ routes[1] \"cart-beta\" (line 22): path_separated_prefix \"/cart\" and cookie",
            "the request has \"cohort=alpha\"",
            "✓ routes[2] \"cart\" (line 27): path_separated_prefix \"/cart\"",
            "→ cluster \"cart\", timeout 3s",
            "path     /v2/cart?x=1",
            "request  + x-team: checkout",
        ],
    );
    assert!(
        !ran.stdout.contains('\x1b'),
        "no colours where nobody sees them"
    );
}

#[test]
fn path_and_host_are_what_the_connection_manager_makes_of_them() {
    let text = std::fs::read_to_string(example("envoy.yaml")).unwrap();
    let options = "normalize_path: true, merge_slashes: true, strip_any_host_port: true, \
         path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT";
    let fields = options
        .split(", ")
        .map(|field| format!("          {field}\n"));
    let start = text
        .find("          stat_prefix")
        .expect("the manager begins so");
    let (before, after) = text.split_at(start);
    let text = [before, &fields.collect::<String>(), after].concat();
    let directory = Directory::create();
    let path = directory.write("envoy.yaml", &text);
    let ask = |url: &str| {
        let path = path.to_str().unwrap();
        Ran::nuncio(["routes", "check", path, "--request", url])
    };
    let ran = ask("http://shop.example.com:81/x/..//cart");
    ends_with(&ran, 0);
    says(
        &ran,
        &[
            "GET http://shop.example.com:81/x/..//cart\n",
            "  taken for GET http://shop.example.com/cart\n",
            "✓ routes[2] \"cart\"",
        ],
    );
    let ran = ask("http://shop.example.com/a%2fb");
    ends_with(&ran, 1);
    says(&ran, &["→ 307, redirect to /a/b"]);
    let ran = ask("http://shop.example.com/cart#top");
    ends_with(&ran, 1);
    says(&ran, &["→ 400, the path is not one that is served"]);
}

#[test]
fn every_kind_of_outcome_is_told() {
    let ran = ask("http://shop.example.com/healthz", &[]);
    ends_with(&ran, 0);
    says(&ran, &["→ 200, answered here with 3 bytes"]);
    let ran = ask("GET https://old.example.org/a?b", &[]);
    ends_with(&ran, 0);
    says(
        &ran,
        &[
            "by its domain \"*\"",
            "→ 301, redirect to https://shop.example.com/a?b",
        ],
    );
    let ran = ask("http://shop.example.com/users/ada/files/a/b", &[]);
    ends_with(&ran, 0);
    says(&ran, &["→ cluster \"files\"", "path     /a/b/of/ada"]);
    let ran = check(&["-r", "http://shop.example.com/en/", "--random", "95"]);
    ends_with(&ran, 0);
    says(
        &ran,
        &["→ cluster \"pages-next\" by the number 95 of pages 95 %, pages-next 5 %"],
    );
    let ran = ask("CONNECT shop.example.com:443", &[]);
    ends_with(&ran, 1);
    says(&ran, &["→ 404, no route"]);
}

#[test]
fn the_tests_of_the_example_pass() {
    let tests = example("routes.test.yaml");
    let ran = check(&["--tests", &tests, "--fail-under", "100"]);
    ends_with(&ran, 0);
    says(
        &ran,
        &[
            "pass the cart goes to its team",
            "8 of 8 tests passed",
            "7 of 7 routes",
        ],
    );
}

#[test]
fn a_test_that_fails_shows_why() {
    let ran = tests("cluster_name: cart-beta", "cluster_name: cart", &[]);
    ends_with(&ran, 1);
    says(
        &ran,
        &[
            "FAIL who is in the beta gets the new cart",
            "cluster_name: expected \"cart\", found \"cart-beta\"",
            "✓ routes[1] \"cart-beta\"",
            "7 of 8 tests passed",
        ],
    );
    let ran = tests("status: 302", "status: 303", &[]);
    ends_with(&ran, 1);
    says(&ran, &["status: expected 303, found 302"]);
    let ran = tests("exact: checkout", "exact: other", &[]);
    ends_with(&ran, 1);
    says(
        &ran,
        &[
            "request_header_matches: { name: \"x-team\", string_match: { exact: \"other\" } } does not match",
        ],
    );
    let fewer = tests(
        "path: /healthz",
        "path: /en/",
        &["--fail-under", "100", "--details"],
    );
    ends_with(&fewer, 1);
    says(
        &fewer,
        &[
            "no test takes routes[0] (line 19) of virtual host \"shop\"",
            "6 of 7 routes are taken by a test (85 %), which is less than 100 %",
        ],
    );
}

#[test]
fn mistakes_are_told_where_they_are() {
    let ran = tests("route_name:", "route_nam:", &[]);
    ends_with(&ran, 1);
    assert!(ran.stderr.contains("routes.test.yaml:5:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("route_name"), "{}", ran.stderr);
    for arguments in [
        &[][..],
        &["--request", "ftp://a/"],
        &["--request", "http://a/", "--header", "x"],
        &["--request", "http://a/", "--tests", "x"],
        &["--header", "x: y"],
    ] {
        let ran = check(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{arguments:?} got no message");
    }
    let ran = check(&["-r", "http://a/", "--listener", "other"]);
    ends_with(&ran, 1);
    assert!(
        ran.stderr.contains("no listener \"other\""),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_help_teaches() {
    let help = Ran::nuncio(["routes", "check", "--help"]).stdout;
    for word in [
        "--request",
        "--tests",
        "test_name",
        "validate",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word} is not in the help");
    }
}
