//! The filter over the fake host.

use nuncio_sdk::Members;
use nuncio_sdk::testing::{Configured, Host, Stream, Value, json};

use super::*;

const HEAD: &[(&str, &str)] = &[(":method", "GET"), (":path", "/hc"), ("x-check", "1")];
const OTHER: &[(&str, &str)] = &[(":method", "GET"), (":path", "/hc")];

fn filter(host: &Host, passes_through: bool, more: &Value) -> Configured<HealthCheck> {
    let mut document = json!({
        "pass_through_mode": passes_through,
        "headers": [{ "name": "x-check", "present_match": true }],
    });
    let fields = document.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    host.configure(document).expect("a good configuration")
}

/// Status, details and flag of the answer to a question.
fn answer(filter: &Configured<HealthCheck>) -> Option<(u16, String, Option<String>)> {
    match filter.stream().on_request_headers(HEAD, true) {
        Ok(Flow::Reply(reply)) => Some((reply.status, reply.details, reply.response_flag)),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What the client sees of a response's head.
fn seen(stream: &mut Stream<HealthCheck>, head: &[(&str, &str)], name: &str) -> Option<String> {
    let flow = stream.on_response_headers(head, true);
    assert_eq!(flow, Ok(Flow::Next));
    stream.response_header(name)
}

fn ok(details: &str) -> Option<(u16, String, Option<String>)> {
    Some((200, details.to_owned(), None))
}

fn bad(details: &str) -> Option<(u16, String, Option<String>)> {
    Some((503, details.to_owned(), Some("LH".to_owned())))
}

#[test]
fn it_says_how_the_proxy_is() {
    let host = Host::new();
    host.set_own_cluster("fleet");
    let filter = filter(&host, false, &json!({}));
    assert_eq!(answer(&filter), ok("health_check_ok"));
    host.set_failing(true);
    assert_eq!(answer(&filter), bad("health_check_failed"));
    let mut stream = filter.stream();
    assert_eq!(stream.on_request_headers(OTHER, true), Ok(Flow::Next));
    assert!(!stream.is_health_check());
    let head = [(":status", "200")];
    let told = seen(&mut stream, &head, "x-envoy-immediate-health-check-fail");
    assert_eq!(told.as_deref(), Some("true"));
    let mut stream = filter.stream();
    assert!(stream.on_request_headers(HEAD, true).is_ok());
    assert!(stream.is_health_check());
    let named = seen(&mut stream, &head, "x-envoy-upstream-healthchecked-cluster");
    assert_eq!(named.as_deref(), Some("fleet"));
    let counted = ["request_total", "ok", "failed"]
        .map(|name| host.counter(&format!("http.test.health_check.{name}")));
    assert_eq!(counted, [Some(3), Some(1), Some(2)]);
}

#[test]
fn the_rest_of_a_question_is_waited_for() {
    let filter = filter(&Host::new(), false, &json!({}));
    let mut stream = filter.stream();
    assert_eq!(stream.on_request_headers(HEAD, false), Ok(Flow::Next));
    let flow = stream.on_request_body(b"how are you?", true);
    assert!(matches!(flow, Ok(Flow::Reply(reply)) if reply.status == 200));
}

#[test]
fn clusters_have_to_be_healthy_enough() {
    let host = Host::new();
    let members = |total, healthy, degraded| Members {
        total,
        healthy,
        degraded,
    };
    host.set_members("half", members(4, 1, 1));
    host.set_members("empty", members(0, 0, 0));
    let good = "health_check_ok_cluster_healthy";
    for (wanted, expected) in [
        (json!({}), ok("health_check_ok")),
        (json!({ "half": { "value": 50 } }), ok(good)),
        (json!({ "half": { "value": 50.9 } }), ok(good)),
        (
            json!({ "half": { "value": 51 } }),
            bad("health_check_failed_cluster_unhealthy"),
        ),
        (json!({ "empty": {} }), ok(good)),
        (
            json!({ "empty": { "value": 1 } }),
            bad("health_check_failed_cluster_empty"),
        ),
        (
            json!({ "absent": {} }),
            bad("health_check_failed_no_cluster_found"),
        ),
        (
            json!({ "half": { "value": 10 }, "empty": { "value": 10 } }),
            bad("health_check_failed_cluster_empty"),
        ),
    ] {
        let more = json!({ "cluster_min_healthy_percentages": wanted });
        assert_eq!(answer(&filter(&host, false, &more)), expected, "{more}");
    }
}

#[test]
fn the_upstream_answers_and_is_remembered() {
    let host = Host::new();
    let plain = filter(&host, true, &json!({}));
    let cached = filter(&host, true, &json!({ "cache_time": "1000s" }));
    for filter in [&plain, &cached] {
        assert_eq!(answer(filter), None);
        let mut stream = filter.stream();
        assert_eq!(stream.on_request_headers(HEAD, true), Ok(Flow::Next));
        let head = [(":status", "418"), ("x-envoy-degraded", "")];
        let named = seen(&mut stream, &head, "x-envoy-upstream-healthchecked-cluster");
        assert_eq!(named.as_deref(), Some(""));
    }
    assert_eq!(answer(&plain), None);
    let remembered = (418, "health_check_cached".to_owned(), Some("LH".to_owned()));
    assert_eq!(answer(&cached), Some(remembered));
    let Ok(Flow::Reply(reply)) = cached.stream().on_request_headers(HEAD, true) else {
        panic!("the answer was remembered");
    };
    let degraded = (b"x-envoy-degraded".to_vec(), Vec::new());
    assert_eq!(reply.headers, [degraded]);
    host.set_failing(true);
    assert_eq!(answer(&plain), bad("health_check_failed"));
    assert_eq!(answer(&cached), bad("health_check_failed"));
}

#[test]
fn an_answer_is_settled_with_the_head_of_a_question() {
    let host = Host::new();
    let filter = filter(&host, true, &json!({ "cache_time": "1000s" }));
    let asked = || {
        let mut stream = filter.stream();
        assert_eq!(stream.on_request_headers(HEAD, false), Ok(Flow::Next));
        stream
    };
    let status = |stream: &mut Stream<HealthCheck>| match stream.on_request_body(b"?", true) {
        Ok(Flow::Reply(reply)) => Some(reply.status),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    };
    host.set_failing(true);
    let mut failing = asked();
    host.set_failing(false);
    assert_eq!(status(&mut failing), Some(503));
    let (mut first, mut second) = (asked(), asked());
    assert_eq!(
        first.on_response_headers(&[(":status", "503")], true),
        Ok(Flow::Next)
    );
    let mut remembered = asked();
    assert_eq!(
        second.on_response_headers(&[(":status", "200")], true),
        Ok(Flow::Next)
    );
    assert_eq!(status(&mut remembered), Some(503));
    assert_eq!(status(&mut asked()), Some(200));
    let mut overtaken = asked();
    host.set_failing(true);
    assert_eq!(status(&mut overtaken), Some(503));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for document in [
        json!({}),
        json!({ "pass_through_mode": false, "cache_time": "1s" }),
        json!({ "pass_through_mode": false, "cluster_min_healthy_percentages": { "a": { "value": 101 } } }),
        json!({ "pass_through_mode": true, "cacheTime": "1s" }),
    ] {
        let configured = Host::new().configure::<HealthCheck>(document.clone());
        assert!(configured.is_err(), "{document}");
    }
}
