//! The filter over the fake host.

use nuncio_sdk::testing::{Configured, Host, Value, json};

use super::*;

fn filter(document: Value) -> Configured<HeaderToMetadata> {
    Host::new()
        .configure(document)
        .expect("a good configuration")
}

#[test]
fn a_value_is_left_under_its_key() {
    let filter = filter(json!({ "request_rules": [
        {
            "header": "X-Version",
            "on_header_present": { "metadata_namespace": "envoy.lb", "key": "version", "type": "STRING" },
            "on_header_missing": { "metadata_namespace": "envoy.lb", "key": "version", "value": "none" },
            "remove": true,
        },
        { "header": "x-kind", "on_header_present": { "key": "kind", "value": "known" } },
    ] }));
    assert_eq!(filter.interest(), Interest::new().request_headers());
    for (headers, version, kind) in [
        (
            &[("x-version", "1"), ("x-kind", "k")][..],
            Some("1"),
            Some("known"),
        ),
        (&[("x-version", "1"), ("x-version", "2")], Some("1,2"), None),
        (&[("x-version", "")], None, None),
        (&[], Some("none"), None),
    ] {
        let mut stream = filter.stream();
        assert_eq!(stream.on_request_headers(headers, true), Ok(Flow::Next));
        assert_eq!(
            stream.metadata("envoy.lb", "version").as_deref(),
            version,
            "{headers:?}"
        );
        assert_eq!(
            stream.metadata(NAMESPACE, "kind").as_deref(),
            kind,
            "{headers:?}"
        );
        assert_eq!(stream.request_header("x-version"), None);
    }
}

#[test]
fn a_value_that_is_encoded_is_decoded() {
    let filter = filter(json!({ "request_rules": [
        { "header": "x", "on_header_present": { "key": "x", "encode": "BASE64" } },
    ] }));
    for (value, left) in [
        ("aGk=", Some("hi")),
        ("aGk", Some("hi")),
        ("a", None),
        ("=", None),
    ] {
        let mut stream = filter.stream();
        let head = [("x", value)];
        assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
        assert_eq!(stream.metadata(NAMESPACE, "x").as_deref(), left, "{value}");
    }
}

#[test]
fn a_cookie_is_a_value_too() {
    let filter = filter(json!({ "request_rules": [
        { "cookie": "id", "on_header_present": { "key": "id" } },
    ] }));
    for (line, id) in [
        ("id=7", Some("7")),
        ("sid=1; id=\"8\"; x", Some("8")),
        ("ID=7", None),
        ("id", None),
        ("id=", None),
    ] {
        let mut stream = filter.stream();
        assert_eq!(
            stream.on_request_headers(&[("cookie", line)], true),
            Ok(Flow::Next)
        );
        assert_eq!(stream.metadata(NAMESPACE, "id").as_deref(), id, "{line}");
    }
}

#[test]
fn a_response_has_rules_of_its_own() {
    let filter = filter(json!({ "response_rules": [
        { "header": "x-up", "on_header_present": { "key": "up" }, "remove": true },
    ] }));
    assert_eq!(filter.interest(), Interest::new().response_headers());
    let mut stream = filter.stream();
    let head = [(":status", "200"), ("x-up", "yes")];
    assert_eq!(stream.on_response_headers(&head, true), Ok(Flow::Next));
    assert_eq!(stream.metadata(NAMESPACE, "up").as_deref(), Some("yes"));
    assert_eq!(stream.response_header("x-up"), None);
}

#[test]
fn a_value_that_is_too_long_is_not_left() {
    let filter = filter(json!({ "request_rules": [
        { "header": "x", "on_header_present": { "key": "x" } },
    ] }));
    for (length, is_left) in [(VALUE_BYTES - 1, true), (VALUE_BYTES, false)] {
        let mut stream = filter.stream();
        let value = "v".repeat(length);
        assert_eq!(
            stream.on_request_headers(&[("x", &value)], true),
            Ok(Flow::Next)
        );
        assert_eq!(
            stream.metadata(NAMESPACE, "x").is_some(),
            is_left,
            "{length}"
        );
    }
}

#[test]
fn a_rule_that_means_nothing_is_refused() {
    let present = json!({ "key": "k" });
    for rule in [
        json!({ "on_header_present": present }),
        json!({ "header": "x", "cookie": "y", "on_header_present": present }),
        json!({ "header": "x" }),
        json!({ "header": "x", "on_header_missing": { "key": "k" } }),
        json!({ "header": "x y", "on_header_present": present }),
        json!({ "cookie": "x", "on_header_present": present, "remove": true }),
        json!({ "header": "x", "on_header_present": { "key": "" } }),
        json!({ "header": "x", "on_header_present": { "key": "k", "encode": "HEX" } }),
        json!({ "header": "x", "on_header_present": { "key": "k", "regex_value_rewrite": {} } }),
    ] {
        let document = json!({ "request_rules": [rule] });
        assert!(
            Host::new()
                .configure::<HeaderToMetadata>(document.clone())
                .is_err(),
            "{document}"
        );
    }
}

#[test]
fn a_value_is_rewritten_and_may_have_to_be_a_number() {
    let first = json!({
        "pattern": { "google_re2": {}, "regex": "^/([a-z]+)/.*" }, "substitution": "<\\1>",
    });
    let filter = filter(json!({ "request_rules": [
        { "header": "x-path", "on_header_present": { "key": "path", "regex_value_rewrite": first } },
        { "header": "x-number", "on_header_present": { "key": "number", "type": "NUMBER" } },
    ] }));
    for (field, key, expected) in [
        (("x-path", "/users/7"), "path", Some("<users>")),
        (("x-path", "users"), "path", Some("users")),
        (("x-number", "12"), "number", Some("12")),
        (("x-number", "1.50"), "number", Some("1.5")),
        (("x-number", "many"), "number", None),
    ] {
        let mut stream = filter.stream();
        assert_eq!(stream.on_request_headers(&[field], true), Ok(Flow::Next));
        let left = stream.metadata(NAMESPACE, key);
        assert_eq!(left.as_deref(), expected, "{field:?}");
    }
}
