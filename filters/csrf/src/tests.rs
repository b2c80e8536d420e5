//! The filter over the fake host.

use nuncio_sdk::testing::{Host, Value, json};

use super::*;

fn policy(enabled: u32, shadow: u32) -> Value {
    json!({
        "filter_enabled": { "default_value": { "numerator": enabled } },
        "shadow_enabled": { "default_value": { "numerator": shadow } },
        "additional_origins": [{ "exact": "b.test" }, { "suffix": ".c.test:8080" }],
    })
}

/// Whether a request to `a.test` goes on.
fn goes_on(host: &Host, policy: &Value, method: &str, headers: &[(&str, &str)]) -> bool {
    let filter = host
        .configure::<Csrf>(policy.clone())
        .expect("a good configuration");
    let head = [&[(":method", method), (":authority", "a.test")], headers].concat();
    let mut stream = filter.stream();
    match stream.on_request_headers(&head, true).expect("no failure") {
        Flow::Reply(reply) => {
            assert_eq!((reply.status, &*reply.body), (403, &b"Invalid origin"[..]));
            assert_eq!(reply.details, "csrf_origin_mismatch");
            false
        }
        flow => flow == Flow::Next,
    }
}

#[test]
fn requests_come_from_where_they_may() {
    let host = Host::new();
    for (headers, expected) in [
        (&[("origin", "http://a.test")][..], true),
        (&[("origin", "https://a.test")], true),
        (&[("origin", "a.test")], true),
        (&[("origin", "http://a.test:8080")], false),
        (&[("origin", "http://b.test")], true),
        (&[("origin", "http://x.c.test:8080")], true),
        (&[("origin", "http://d.test")], false),
        (&[("origin", "null")], false),
        (&[("origin", "null"), ("referer", "http://a.test/")], false),
        (&[("origin", "http://user:word@a.test")], true),
        (&[("origin", "http://a.test#f")], false),
        (&[("origin", "ws://a.test/x?y")], true),
        (&[("referer", "http://a.test/page?x#y")], true),
        (&[("referer", "http://d.test/a.test")], false),
        (
            &[("origin", "http://d.test"), ("referer", "http://a.test/")],
            false,
        ),
        (&[("origin", ""), ("referer", "http://a.test/")], true),
        (&[], false),
    ] {
        let found = goes_on(&host, &policy(100, 0), "POST", headers);
        assert_eq!(found, expected, "{headers:?}");
    }
    let counted = |name| host.counter(&format!("http.test.csrf.{name}"));
    assert_eq!(counted("request_valid"), Some(9));
    assert_eq!(counted("request_invalid"), Some(5));
    assert_eq!(counted("missing_source_origin"), Some(3));
}

#[test]
fn only_what_changes_something_is_looked_at() {
    let foreign = [("origin", "http://d.test")];
    for (method, expected) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("DELETE", false),
    ] {
        let found = goes_on(&Host::new(), &policy(100, 0), method, &foreign);
        assert_eq!(found, expected, "{method}");
    }
}

#[test]
fn a_policy_may_only_be_counted() {
    let host = Host::new();
    let foreign = [("origin", "http://d.test")];
    assert!(goes_on(&host, &policy(0, 100), "POST", &foreign));
    assert_eq!(host.counter("http.test.csrf.request_invalid"), Some(1));
    assert!(goes_on(&host, &policy(0, 0), "POST", &foreign));
    assert_eq!(host.counter("http.test.csrf.request_invalid"), Some(1));
    let filter = host.configure::<Csrf>(policy(0, 0)).expect("a good one");
    assert_eq!(filter.interest(), Interest::new());
    let route = filter.for_route(&[policy(100, 0)]).expect("a good one");
    assert_eq!(route.interest(), Interest::new().request_headers());
}
