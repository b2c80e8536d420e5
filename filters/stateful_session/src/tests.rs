//! The filter over the fake host.

use nuncio_sdk::testing::{Configured, Host, Value, json};

use super::*;

const EXTENSION: &str = "type.googleapis.com/envoy.extensions.http.stateful_session";

fn by_cookie(cookie: Value, strict: bool) -> Value {
    let kind = format!("{EXTENSION}.cookie.v3.CookieBasedSessionState");
    json!({
        "session_state": { "name": "s", "typed_config": { "@type": kind, "cookie": cookie } },
        "strict": strict,
    })
}

fn by_header() -> Value {
    let kind = format!("{EXTENSION}.header.v3.HeaderBasedSessionState");
    json!({ "session_state": { "name": "s", "typed_config": { "@type": kind, "name": "x-session" } } })
}

fn configured(document: Value) -> Configured<StatefulSession> {
    let host = Host::new();
    host.set_operator("START_TIME", "1000");
    host.configure(document).expect("a good configuration")
}

/// Which endpoint a request with these fields is to go to, and the response's field `name`, from
/// `endpoint`.
fn exchange(
    filter: &Configured<StatefulSession>,
    head: &[(&str, &str)],
    endpoint: &str,
    name: &str,
) -> (Option<String>, Option<String>) {
    let mut stream = filter.stream();
    assert_eq!(stream.on_request_headers(head, true), Ok(Flow::Next));
    stream.set_attribute("upstream.address", endpoint);
    let response = stream.on_response_headers(&[(":status", "200")], true);
    assert_eq!(response, Ok(Flow::Next));
    (
        stream.metadata(NAMESPACE, "host"),
        stream.response_header(name),
    )
}

#[test]
fn a_header_carries_the_address() {
    let filter = configured(by_header());
    let (one, text) = ("10.0.0.1:80", "MTAuMC4wLjE6ODA=");
    for (value, host, sent) in [
        (None, None, Some(text)),
        (Some(text), Some(one), None),
        (Some("MTAuMC4wLjI6ODA="), Some("10.0.0.2:80"), Some(text)),
        (Some("not base64"), None, Some(text)),
    ] {
        let mut head = vec![(":path", "/")];
        head.extend(value.map(|value| ("x-session", value)));
        let (found, kept) = exchange(&filter, &head, one, "x-session");
        assert_eq!(
            (found.as_deref(), kept.as_deref()),
            (host, sent),
            "{value:?}"
        );
    }
}

#[test]
fn an_envelope_holds_the_endpoints_own_value() {
    let kind = format!("{EXTENSION}.envelope.v3.EnvelopeSessionState");
    let state =
        json!({ "name": "s", "typed_config": { "@type": kind, "header": { "name": "x-own" } } });
    let filter = configured(json!({ "session_state": state }));
    let both = "MTAuMC4wLjE6ODA=;UV:bWluZQ==";
    for (brought, host, received) in [
        (None, None, None),
        (Some(both), Some("10.0.0.1:80"), Some("mine")),
        (Some(";UV:bWluZQ=="), None, Some(";UV:bWluZQ==")),
        (Some("!;UV:bWluZQ=="), None, Some("mine")),
        (Some("MTAuMC4wLjE6ODA="), None, Some("MTAuMC4wLjE6ODA=")),
        (
            Some("MTAuMC4wLjE6ODA=;UV:!"),
            None,
            Some("MTAuMC4wLjE6ODA=;UV:!"),
        ),
    ] {
        let mut stream = filter.stream();
        let mut head = vec![(":path", "/")];
        head.extend(brought.map(|value| ("x-own", value)));
        assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
        assert_eq!(
            stream.metadata(NAMESPACE, "host").as_deref(),
            host,
            "{brought:?}"
        );
        assert_eq!(stream.request_header("x-own").as_deref(), received);
        stream.set_attribute("upstream.address", "10.0.0.1:80");
        let answer = [(":status", "200"), ("x-own", "mine")];
        assert_eq!(stream.on_response_headers(&answer, true), Ok(Flow::Next));
        assert_eq!(stream.response_header("x-own").as_deref(), Some(both));
    }
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&[(":path", "/")], true),
        Ok(Flow::Next)
    );
    stream.set_attribute("upstream.address", "10.0.0.1:80");
    let answer = [(":status", "200"), ("x-own", "one"), ("x-own", "two")];
    assert_eq!(stream.on_response_headers(&answer, true), Ok(Flow::Next));
    assert_eq!(stream.response_header("x-own").as_deref(), Some("one"));
}

#[test]
fn a_cookie_carries_the_address_and_when_it_expires() {
    let cookie = json!({ "name": "session", "ttl": "120s", "path": "/app",
        "attributes": [ { "name": "SameSite", "value": "Lax" }, { "name": "Secure" } ] });
    let filter = configured(by_cookie(cookie, true));
    let one = "10.0.0.1:80";
    let (none, set) = exchange(&filter, &[(":path", "/app?a")], one, "set-cookie");
    assert_eq!(none, None);
    let set = set.expect("a cookie");
    let (pair, rest) = set.split_once("; ").expect("attributes");
    assert_eq!(
        rest,
        "Max-Age=120; Path=/app; SameSite=Lax; Secure; HttpOnly"
    );
    let line = format!("other=1; {pair}");
    let head = [(":path", "/app/x"), ("cookie", line.as_str())];
    let mut stream = filter.stream();
    assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
    assert_eq!(stream.metadata(NAMESPACE, "host").as_deref(), Some(one));
    assert_eq!(stream.metadata(NAMESPACE, "strict").as_deref(), Some("503"));
    assert_eq!(exchange(&filter, &head, one, "set-cookie").1, None);
    assert!(
        exchange(&filter, &head, "10.0.0.2:80", "set-cookie")
            .1
            .is_some()
    );
    // Elsewhere there is no session.
    for path in ["/", "/apple", "/b/app"] {
        let head = [(":path", path), ("cookie", line.as_str())];
        assert_eq!(
            exchange(&filter, &head, one, "set-cookie"),
            (None, None),
            "{path}"
        );
    }
}

#[test]
fn routes_have_other_sessions_or_none() {
    let filter = configured(by_header());
    let other = json!({ "stateful_session": by_cookie(json!({ "name": "c" }), false) });
    let none = filter
        .for_route(&[json!({ "disabled": true })])
        .expect("a good one");
    assert_eq!(none.interest(), Interest::new());
    let other = filter.for_route(&[other]).expect("a good one");
    let set = exchange(&other, &[(":path", "/")], "10.0.0.1:80", "set-cookie").1;
    assert_eq!(set.as_deref(), Some("c=\"CgsxMC4wLjAuMTo4MA==\"; HttpOnly"));
    for wrong in [json!({}), json!({ "disabled": false })] {
        assert!(filter.for_route(&[wrong]).is_err());
    }
    assert_eq!(configured(json!({})).interest(), Interest::new());
}

#[test]
fn what_becomes_of_requests_is_counted() {
    for (strict, routed, open, closed, none) in [(false, 1, 2, 0, 1), (true, 1, 0, 1, 1)] {
        let host = Host::new();
        host.set_operator("START_TIME", "1000");
        let mut document = by_cookie(json!({ "name": "c", "path": "/a" }), strict);
        document["stat_prefix"] = "s".into();
        let filter: Configured<StatefulSession> = host.configure(document).expect("a good one");
        let (one, two) = ("10.0.0.1:80", "10.0.0.2:80");
        let set = exchange(&filter, &[(":path", "/a")], one, "set-cookie").1;
        let cookie = set.expect("a cookie");
        let (pair, _) = cookie.split_once(';').expect("attributes");
        for (path, endpoint) in [("/a", one), ("/a", two), ("/b", one)] {
            if strict && endpoint == two {
                continue;
            }
            exchange(&filter, &[(":path", path), ("cookie", pair)], endpoint, "x");
        }
        for flags in ["UH,DC", "UF", ""] {
            let mut stream = filter.stream();
            stream.set_attribute("response.flags", flags);
            let head = [(":path", "/a"), ("cookie", pair)];
            assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
            let response = stream.on_response_headers(&[(":status", "503")], true);
            assert_eq!(response, Ok(Flow::Next));
        }
        for (name, count) in [
            ("routed", routed),
            ("failed_open", open),
            ("failed_closed", closed),
            ("no_session", none),
        ] {
            let counted = host.counter(&format!("http.test.stateful_session.s.{name}"));
            assert_eq!(counted, Some(count), "{name} {strict}");
        }
    }
}

#[test]
fn a_status_is_that_of_an_answer() {
    for (status, good) in [
        (0, true),
        (200, true),
        (599, true),
        (199, false),
        (600, false),
    ] {
        let mut document = by_header();
        document["status_on_strict_destination_not_found"] = status.into();
        let configured: Result<Configured<StatefulSession>> = Host::new().configure(document);
        assert_eq!(configured.is_ok(), good, "{status}");
    }
}

#[test]
fn what_is_too_long_for_an_address_is_nobodys() {
    let filter = configured(by_header());
    for (length, expected) in [
        (256, "a".repeat(256)),
        (257, "-".to_owned()),
        (60_000, "-".to_owned()),
    ] {
        let mut text = Vec::new();
        base64::encode("a".repeat(length).as_bytes(), &mut text);
        let text = String::from_utf8(text).expect("base64");
        let head = [(":path", "/"), ("x-session", text.as_str())];
        let (host, _) = exchange(&filter, &head, "10.0.0.1:80", "x-session");
        assert_eq!(host, Some(expected), "{length}");
    }
}
