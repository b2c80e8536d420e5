//! The filter over the fake host. What is expected of headers is what Envoy 1.40 answers to the same
//! configuration.

use nuncio_sdk::testing::{Configured, Host, Stream, Value, json};

use super::*;

const HEAD: &[(&str, &str)] = &[(":method", "GET"), (":path", "/p"), ("x-a", "1")];

/// One token each hundred seconds, wholly enabled and enforced; `more` overrides.
fn configured(host: &Host, more: &Value) -> Result<Configured<LocalRateLimit>> {
    let all = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let mut document = json!({
        "stat_prefix": "rl",
        "token_bucket": { "max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "100s" },
        "filter_enabled": all.clone(),
        "filter_enforced": all,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
    host.configure(document)
}

fn filter(host: &Host, more: &Value) -> Configured<LocalRateLimit> {
    configured(host, more).expect("a good configuration")
}

fn request(filter: &Configured<LocalRateLimit>) -> (Flow, Stream<LocalRateLimit>) {
    let mut stream = filter.stream();
    let flow = stream.on_request_headers(HEAD, true).expect("no failure");
    (flow, stream)
}

fn limited(filter: &Configured<LocalRateLimit>) -> LocalReply {
    match request(filter).0 {
        Flow::Reply(reply) => *reply,
        flow => panic!("not limited: {flow:?}"),
    }
}

fn counters(host: &Host) -> [Option<u64>; 4] {
    ["enabled", "enforced", "ok", "rate_limited"]
        .map(|name| host.counter(&format!("rl.http_local_rate_limit.{name}")))
}

fn option(key: &str, value: &str, action: &str) -> Value {
    json!({ "header": { "key": key, "value": value }, "append_action": action })
}

fn shown(headers: &[(Vec<u8>, Vec<u8>)]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = headers
        .iter()
        .map(|(name, value)| format!("{}={}", text(name), text(value)));
    fields.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_above_the_limit_is_answered() {
    let host = Host::new();
    let filter = filter(&host, &json!({}));
    assert_eq!(request(&filter).0, Flow::Next);
    let expected = LocalReply::new(429)
        .with_body("local_rate_limited")
        .with_details("local_rate_limited")
        .with_response_flag("RL");
    assert_eq!(limited(&filter), expected);
    assert_eq!(counters(&host), [Some(2), Some(1), Some(1), Some(1)]);
    assert_eq!(
        host.counter("rl.http_local_rate_limit.shadow_mode"),
        Some(0)
    );
}

#[test]
fn tokens_come_back_with_time_and_are_shared() {
    let host = Host::new();
    let bucket = json!({ "token_bucket": {
        "max_tokens": "2", "tokens_per_fill": 2, "fill_interval": "1s",
    }});
    let workers = [filter(&host, &bucket), filter(&host, &bucket)];
    let mut admitted = Vec::new();
    for ms in [0, 0, 0, 500, 0, 400, 100, 5000, 0, 0] {
        host.advance(Duration::from_millis(ms));
        let worker = &workers[admitted.len() % 2];
        admitted.push(request(worker).0 == Flow::Next);
    }
    assert_eq!(
        admitted,
        [
            true, true, false, true, false, false, true, true, true, false
        ]
    );
}

#[test]
fn headers_are_added_to_the_response() {
    let host = Host::new();
    let filter = filter(
        &host,
        &json!({ "response_headers_to_add": [
            option("x-l", "1", "APPEND_IF_EXISTS_OR_ADD"),
            option("X-L", "2", "APPEND_IF_EXISTS_OR_ADD"),
            option("x-p", "%REQ(x-a)%-", "APPEND_IF_EXISTS_OR_ADD"),
            option("x-l", "3", "ADD_IF_ABSENT"),
            option("x-empty", "%REQ(zz)%", "APPEND_IF_EXISTS_OR_ADD"),
            option("x-none", "1", "OVERWRITE_IF_EXISTS"),
            option("x-l", "4", "OVERWRITE_IF_EXISTS_OR_ADD"),
            option("x-o", "8", "OVERWRITE_IF_EXISTS_OR_ADD"),
            option("x-o", "9", "OVERWRITE_IF_EXISTS_OR_ADD"),
            { "header": { "key": "x-kept", "value": "" }, "keep_empty_value": true },
        ]}),
    );
    assert_eq!(request(&filter).0, Flow::Next);
    let expected = "x-l=4 x-o=9 x-l=1 x-l=2 x-p=1- x-l=3 x-kept=";
    assert_eq!(shown(&limited(&filter).headers), expected);
}

#[test]
fn what_is_not_enforced_goes_on_with_headers() {
    let host = Host::new();
    let filter = filter(
        &host,
        &json!({
            "filter_enforced": { "default_value": {} },
            "request_headers_to_add_when_not_enforced": [
                option("x-rl", "%REQ(x-a)%", "APPEND_IF_EXISTS_OR_ADD"),
                option("x-b", "1", "ADD_IF_ABSENT"),
                option("x-a", "2", "OVERWRITE_IF_EXISTS"),
                option("x-c", "2", "OVERWRITE_IF_EXISTS"),
            ],
        }),
    );
    let (_, stream) = request(&filter);
    assert_eq!(stream.request_header("x-rl"), None);
    let (flow, stream) = request(&filter);
    assert_eq!(flow, Flow::Next);
    let names = ["x-rl", "x-a", "x-b", "x-c"].map(|name| stream.request_header(name));
    assert_eq!(
        names,
        [Some("1".into()), Some("2".into()), Some("1".into()), None]
    );
    assert_eq!(counters(&host), [Some(2), Some(0), Some(1), Some(1)]);
}

#[test]
fn it_is_off_unless_enabled() {
    let host = Host::new();
    let bucket = json!({ "max_tokens": 1, "fill_interval": "1s" });
    let document = json!({ "stat_prefix": "rl", "token_bucket": bucket });
    let filter = host
        .configure::<LocalRateLimit>(document)
        .expect("a good configuration");
    assert_eq!(filter.interest(), Interest::new());
    assert_eq!(counters(&host), [Some(0); 4]);
}

#[test]
fn no_bucket_limits_nothing_and_an_empty_one_everything() {
    let host = Host::new();
    let filter_without = filter(&host, &json!({ "token_bucket": null }));
    assert_eq!(request(&filter_without).0, Flow::Next);
    assert_eq!(request(&filter_without).0, Flow::Next);
    assert_eq!(counters(&host), [Some(2), Some(0), Some(2), Some(0)]);
    let closed = json!({ "token_bucket": { "max_tokens": 0, "fill_interval": "1s" } });
    assert_eq!(limited(&filter(&host, &closed)).status, 429);
}

#[test]
fn the_status_is_an_error_at_least() {
    for (status, expected) in [
        (json!({ "code": "ServiceUnavailable" }), 503),
        (json!({ "code": 503 }), 503),
        (json!({ "code": "OK" }), 429),
        (json!({ "code": "PermanentRedirect" }), 429),
        (json!({ "code": "BadRequest" }), 400),
    ] {
        let filter = filter(&Host::new(), &json!({ "status": status }));
        assert_eq!(request(&filter).0, Flow::Next);
        assert_eq!(limited(&filter).status, expected, "{status}");
    }
}

#[test]
fn grpc_may_see_resource_exhausted() {
    let filter = filter(
        &Host::new(),
        &json!({ "rate_limited_as_resource_exhausted": true }),
    );
    assert_eq!(request(&filter).0, Flow::Next);
    assert_eq!(limited(&filter).grpc_status, Some(8));
}

#[test]
fn a_bad_configuration_is_refused() {
    for (more, reason) in [
        (json!({ "stat_prefix": "" }), "stat_prefix"),
        (
            json!({ "token_bucket": { "max_tokens": 1, "fill_interval": "0.01s" } }),
            ">= 50ms",
        ),
        (
            json!({ "token_bucket": { "max_tokens": 1 } }),
            "fill_interval",
        ),
        (
            json!({ "token_bucket": { "max_tokens": 1, "tokens_per_fill": 0, "fill_interval": "1s" } }),
            "tokens_per_fill",
        ),
        (
            json!({ "filter_enabled": { "runtime_key": "x" } }),
            "default_value",
        ),
        (json!({ "status": { "code": 418 } }), "418"),
        (json!({ "descriptors": [] }), "descriptors"),
        (
            json!({ "response_headers_to_add": [option(":status", "1", "ADD_IF_ABSENT")] }),
            ":-prefixed or host",
        ),
    ] {
        let refused = configured(&Host::new(), &more).err();
        let message = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(reason), "{more}: {message}");
    }
}

#[test]
fn each_place_of_a_route_has_a_bucket_of_its_own() {
    let host = Host::new();
    let filter = filter(&host, &json!({}));
    let written = json!({
        "stat_prefix": "route",
        "token_bucket": { "max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "100s" },
        "filter_enabled": { "default_value": { "numerator": 100 } },
        "filter_enforced": { "default_value": { "numerator": 100 } },
        "status": { "code": 503 },
    });
    let outer = filter
        .for_route(std::slice::from_ref(&written))
        .expect("a good one");
    let inner = filter
        .for_route(&[written.clone(), written.clone()])
        .expect("a good one");
    let again = filter.for_route(&[written]).expect("a good one");
    for (name, filter) in [("chain", &filter), ("outer", &outer), ("inner", &inner)] {
        assert_eq!(request(filter).0, Flow::Next, "{name}");
    }
    assert_eq!(limited(&filter).status, 429);
    assert_eq!(limited(&outer).status, 503);
    assert_eq!(
        limited(&again).status,
        503,
        "the same place has the same bucket"
    );
    assert_eq!(host.counter("route.http_local_rate_limit.ok"), Some(2));
}
