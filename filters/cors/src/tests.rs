//! The filter over the fake host. What is expected is what Envoy 1.40 answers to the same
//! configuration.

use nuncio_sdk::testing::{Configured, Host, Value, json};

use super::*;

fn cors(host: &Host, policies: &[Value]) -> Configured<Cors> {
    let filter = host
        .configure::<Cors>(json!({}))
        .expect("a good configuration");
    filter.for_route(policies).expect("a good policy")
}

fn policy() -> Value {
    json!({
        "allow_origin_string_match": [
            { "exact": "http://a.test" },
            { "safe_regex": { "regex": "http://[a-z]+\\.b\\.test" } },
        ],
        "allow_methods": "GET,PUT",
        "allow_headers": "x-a",
        "expose_headers": "x-b",
        "max_age": "60",
    })
}

fn with(more: &Value) -> Value {
    let mut policy = policy();
    for (key, value) in more.as_object().into_iter().flatten() {
        policy[key] = value.clone();
    }
    policy
}

fn none() -> Value {
    json!({ "default_value": { "numerator": 0 } })
}
fn all() -> Value {
    json!({ "default_value": { "numerator": 100 } })
}

fn preflight(origin: &str) -> [(&str, &str); 4] {
    [
        (":method", "OPTIONS"),
        (":path", "/"),
        ("origin", origin),
        ("access-control-request-method", "PUT"),
    ]
}

fn answered(filter: &Configured<Cors>, head: &[(&str, &str)]) -> Option<Vec<String>> {
    match filter
        .stream()
        .on_request_headers(head, true)
        .expect("no failure")
    {
        Flow::Reply(reply) => {
            assert_eq!(
                (reply.status, reply.details.as_str()),
                (200, "cors_response")
            );
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let fields = reply.headers.iter();
            Some(
                fields
                    .map(|(name, value)| format!("{}: {}", text(name), text(value)))
                    .collect(),
            )
        }
        _ => None,
    }
}

/// What a response to a GET from that origin says about origins.
fn response(filter: &Configured<Cors>, origin: &str) -> Vec<(String, String)> {
    let mut stream = filter.stream();
    let head = [(":method", "GET"), (":path", "/"), ("origin", origin)];
    assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
    let head = [
        (":status", "200"),
        ("access-control-allow-origin", "theirs"),
    ];
    assert_eq!(stream.on_response_headers(&head, true), Ok(Flow::Next));
    let mut headers = stream.response_headers();
    headers.remove(0);
    headers
}

fn counters(host: &Host) -> [u64; 2] {
    ["origin_valid", "origin_invalid"].map(|name| {
        host.counter(&format!("http.test.cors.{name}"))
            .unwrap_or(99)
    })
}

#[test]
fn without_a_policy_it_is_never_called() {
    let host = Host::new();
    let filter = host.configure::<Cors>(json!({})).expect("a good one");
    assert_eq!(filter.interest(), Interest::new());
    assert_eq!(counters(&host), [0, 0]);
    let off = cors(&host, &[with(&json!({ "filter_enabled": none() }))]);
    assert_eq!(off.interest(), Interest::new());
}

#[test]
fn a_preflight_is_answered() {
    let host = Host::new();
    let filter = cors(&host, &[policy()]);
    for origin in ["http://a.test", "http://sub.b.test"] {
        let expected = [
            &format!("access-control-allow-origin: {origin}"),
            "access-control-allow-methods: GET,PUT",
            "access-control-allow-headers: x-a",
            "access-control-max-age: 60",
        ];
        assert_eq!(
            answered(&filter, &preflight(origin)).expect("an answer"),
            expected
        );
    }
    for origin in ["http://c.test", "http://a.test.evil", ""] {
        assert_eq!(answered(&filter, &preflight(origin)), None, "{origin}");
    }
    assert_eq!(counters(&host), [2, 2]);
}

#[test]
fn the_answer_to_a_preflight_is_a_response_too() {
    let filter = cors(&Host::new(), &[policy()]);
    let mut stream = filter.stream();
    let flow = stream.on_request_headers(&preflight("http://a.test"), true);
    assert!(matches!(flow, Ok(Flow::Reply(_))), "{flow:?}");
    assert_eq!(
        stream.on_response_headers(&[(":status", "200")], true),
        Ok(Flow::Next)
    );
    let exposed = stream.response_header("access-control-expose-headers");
    assert_eq!(exposed.as_deref(), Some("x-b"));
}

#[test]
fn only_routes_to_clusters_have_policies() {
    let filter = cors(&Host::new(), &[policy()]);
    for kind in [RouteKind::DirectResponse, RouteKind::Redirect] {
        let mut stream = filter.stream();
        stream.set_route(Some(kind));
        let flow = stream.on_request_headers(&preflight("http://a.test"), true);
        assert_eq!(flow, Ok(Flow::Next), "{kind:?}");
    }
}

#[test]
fn what_is_no_preflight_goes_on() {
    let filter = cors(&Host::new(), &[policy()]);
    let [method, path, origin, asks] = preflight("http://a.test");
    for head in [
        vec![(":method", "GET"), path, origin, asks],
        vec![method, path, origin],
        vec![method, path, asks],
        vec![method, path, origin, (asks.0, "")],
    ] {
        assert_eq!(answered(&filter, &head), None, "{head:?}");
    }
}

#[test]
fn a_response_says_who_may_read_it() {
    let host = Host::new();
    let filter = cors(&host, &[with(&json!({ "allow_credentials": true }))]);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        response(&filter, "http://a.test"),
        [
            field("access-control-allow-origin", "http://a.test"),
            field("access-control-allow-credentials", "true"),
            field("access-control-expose-headers", "x-b"),
        ]
    );
    let theirs = [field("access-control-allow-origin", "theirs")];
    assert_eq!(response(&filter, "http://c.test"), theirs);
    assert_eq!(counters(&host), [1, 1]);
}

#[test]
fn a_star_allows_every_origin() {
    for star in [
        json!({ "exact": "*" }),
        json!({ "safe_regex": { "regex": "\\*" } }),
    ] {
        let filter = cors(
            &Host::new(),
            &[json!({ "allow_origin_string_match": [star] })],
        );
        let expected = ["access-control-allow-origin: http://any.test"];
        assert_eq!(
            answered(&filter, &preflight("http://any.test")).expect("an answer"),
            expected
        );
    }
}

#[test]
fn in_the_shadow_it_only_counts() {
    let host = Host::new();
    let shadow = json!({ "filter_enabled": none(), "shadow_enabled": all() });
    let filter = cors(&host, &[with(&shadow)]);
    assert_eq!(answered(&filter, &preflight("http://a.test")), None);
    assert_eq!(answered(&filter, &preflight("http://c.test")), None);
    assert_eq!(response(&filter, "http://a.test").len(), 1);
    assert_eq!(counters(&host), [2, 1]);
}

#[test]
fn a_private_network_may_be_allowed() {
    for (allowed, asks, says) in [
        (true, "true", true),
        (true, "false", false),
        (false, "true", false),
    ] {
        let filter = cors(
            &Host::new(),
            &[with(&json!({ "allow_private_network_access": allowed }))],
        );
        let mut head = preflight("http://a.test").to_vec();
        head.push(("access-control-request-private-network", asks));
        let said = answered(&filter, &head).expect("an answer");
        let line = "access-control-allow-private-network: true".to_owned();
        assert_eq!(said.contains(&line), says, "{allowed} {asks}");
    }
}

#[test]
fn a_preflight_of_another_origin_may_be_answered_without_leave() {
    let filter = cors(
        &Host::new(),
        &[with(&json!({ "forward_not_matching_preflights": false }))],
    );
    assert_eq!(
        answered(&filter, &preflight("http://c.test")).expect("an answer"),
        [
            "access-control-allow-methods: GET,PUT",
            "access-control-allow-headers: x-a",
            "access-control-max-age: 60",
        ]
    );
    assert_eq!(response(&filter, "http://c.test").len(), 1);
}

#[test]
fn each_field_is_that_of_the_most_specific_policy_which_has_it() {
    let inner = json!({
        "allow_origin_string_match": [{ "exact": "http://c.test" }],
        "max_age": "5",
        "allow_credentials": false,
    });
    let outer = with(&json!({ "allow_credentials": true, "filter_enabled": none() }));
    let filter = cors(&Host::new(), &[outer, inner]);
    assert_eq!(
        answered(&filter, &preflight("http://c.test")).expect("an answer"),
        [
            "access-control-allow-origin: http://c.test",
            "access-control-allow-methods: GET,PUT",
            "access-control-allow-headers: x-a",
            "access-control-max-age: 5",
        ]
    );
    assert_eq!(answered(&filter, &preflight("http://a.test")), None);
}

#[test]
fn the_older_form_counts_where_there_is_no_other() {
    let old = |origin: &str| {
        json!({
            "@type": "type.googleapis.com/envoy.config.route.v3.CorsPolicy",
            "allow_origin_string_match": [{ "exact": origin }],
            "max_age": "1",
        })
    };
    let filter = cors(&Host::new(), &[old("http://o.test")]);
    assert!(answered(&filter, &preflight("http://o.test")).is_some());
    let new = json!({ "allow_origin_string_match": [{ "exact": "http://n.test" }] });
    let filter = cors(&Host::new(), &[new, old("http://o.test")]);
    assert_eq!(answered(&filter, &preflight("http://o.test")), None);
    assert_eq!(
        answered(&filter, &preflight("http://n.test")).expect("an answer"),
        ["access-control-allow-origin: http://n.test"]
    );
}

#[test]
fn a_field_that_it_does_not_know_is_an_error() {
    let filter = Host::new()
        .configure::<Cors>(json!({}))
        .expect("a good one");
    let refused = filter.for_route(&[json!({ "allow_origin": ["*"] })]).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("allow_origin")));
}
