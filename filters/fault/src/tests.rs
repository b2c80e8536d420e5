//! The filter over the fake host.

use nuncio_sdk::testing::{Configured, Host, RuntimeValue, Value, json};

use super::*;

fn filter(host: &Host, document: &Value) -> Configured<Fault> {
    host.configure(document.clone())
        .expect("a good configuration")
}

/// The status, and that of gRPC, that a request is answered with.
fn answered(filter: &Configured<Fault>, headers: &[(&str, &str)]) -> Option<(u16, Option<u32>)> {
    let head = [&[(":method", "GET"), (":path", "/")], headers].concat();
    let mut stream = filter.stream();
    stream.set_attribute("upstream.cluster", "backend");
    match stream.on_request_headers(&head, true).expect("no failure") {
        Flow::Reply(reply) => {
            assert_eq!(reply.body, b"fault filter abort");
            assert_eq!(reply.details, "fault_filter_abort");
            assert_eq!(reply.response_flag.as_deref(), Some("FI"));
            Some((reply.status, reply.grpc_status))
        }
        _ => None,
    }
}

fn all(error: &str, value: impl Into<Value>) -> Value {
    json!({ "abort": { error: value.into(), "percentage": { "numerator": 100 } } })
}

#[test]
fn requests_are_answered_with_a_status() {
    let host = Host::new();
    for (document, expected) in [
        (all("http_status", 503), Some((503, None))),
        (all("http_status", "429"), Some((429, None))),
        (all("grpc_status", 14), Some((200, Some(14)))),
        (all("grpc_status", 5), Some((200, Some(5)))),
        (json!({ "abort": { "http_status": 503 } }), None),
        (json!({}), None),
    ] {
        let filter = filter(&host, &document);
        if expected.is_none() {
            assert_eq!(filter.interest(), Interest::new(), "{document}");
        }
        assert_eq!(answered(&filter, &[]), expected, "{document}");
    }
    assert_eq!(host.counter("http.test.fault.aborts_injected"), Some(4));
    assert_eq!(host.counter("http.test.fault.delays_injected"), Some(0));
}

#[test]
fn a_request_says_which() {
    let filter = filter(&Host::new(), &all("header_abort", json!({})));
    let http = "x-envoy-fault-abort-request";
    let grpc = "x-envoy-fault-abort-grpc-request";
    let share = "x-envoy-fault-abort-request-percentage";
    for (headers, expected) in [
        (&[][..], None),
        (&[(http, "418")], Some((418, None))),
        (&[(http, "600")], None),
        (&[(http, "no")], None),
        (&[(grpc, "16")], Some((200, Some(16)))),
        (&[(http, "500"), (grpc, "16")], Some((500, None))),
        (&[(http, "500"), (share, "0")], None),
        (&[(http, "500"), (share, "200")], Some((500, None))),
    ] {
        assert_eq!(answered(&filter, headers), expected, "{headers:?}");
    }
}

/// How long a request is held up.
fn held_up(filter: &Configured<Fault>, headers: &[(&str, &str)]) -> Option<Duration> {
    let head = [&[(":method", "GET"), (":path", "/")], headers].concat();
    let mut stream = filter.stream();
    match stream.on_request_headers(&head, true).expect("no failure") {
        Flow::Wait(time) => {
            assert_eq!(stream.response_flags(), ["DI"]);
            Some(time)
        }
        _ => {
            assert!(stream.response_flags().is_empty());
            None
        }
    }
}

#[test]
fn requests_are_held_up_and_then_answered() {
    let host = Host::new();
    let mut document = json!({
        "delay": { "fixed_delay": "0.25s", "percentage": { "numerator": 100 } },
        "downstream_nodes": ["a", "b"],
    });
    let held = filter(&host, &document);
    let node = "x-envoy-downstream-service-node";
    let quarter = Some(Duration::from_millis(250));
    assert_eq!(held_up(&held, &[(node, "b")]), quarter);
    assert_eq!(held_up(&held, &[(node, "c")]), None);
    assert_eq!(held_up(&held, &[]), None);
    let mut stream = held.stream();
    let head = [(":method", "GET"), (node, "a")];
    assert!(matches!(
        stream.on_request_headers(&head, true),
        Ok(Flow::Wait(_))
    ));
    assert_eq!(stream.on_resume(true), Ok(Flow::Next));
    document["abort"] = json!({ "http_status": 503, "percentage": { "numerator": 100 } });
    let answered = filter(&host, &document);
    let mut stream = answered.stream();
    assert!(matches!(
        stream.on_request_headers(&head, true),
        Ok(Flow::Wait(_))
    ));
    assert!(matches!(stream.on_resume(true), Ok(Flow::Reply(_))));
    assert_eq!(host.counter("http.test.fault.delays_injected"), Some(3));
    assert_eq!(host.counter("http.test.fault.aborts_injected"), Some(1));
}

#[test]
fn a_request_says_how_long() {
    let delay = json!({ "header_delay": {}, "percentage": { "numerator": 100 } });
    let filter = filter(&Host::new(), &json!({ "delay": delay }));
    let time = "x-envoy-fault-delay-request";
    let share = "x-envoy-fault-delay-request-percentage";
    for (headers, expected) in [
        (&[][..], None),
        (&[(time, "40")], Some(40)),
        (&[(time, "0")], None),
        (&[(time, "no")], None),
        (&[(time, "40"), (share, "0")], None),
        (&[(time, "40"), (share, "200")], Some(40)),
    ] {
        let expected = expected.map(Duration::from_millis);
        assert_eq!(held_up(&filter, headers), expected, "{headers:?}");
    }
}

/// At how many KiB in a second the response to a request goes on.
fn slowed(filter: &Configured<Fault>, headers: &[(&str, &str)]) -> Option<u64> {
    let head = [&[(":method", "GET"), (":path", "/")], headers].concat();
    let mut stream = filter.stream();
    let flow = stream.on_request_headers(&head, true);
    assert_eq!(flow, Ok(Flow::Next));
    assert!(stream.response_flags().is_empty());
    stream.response_rate().map(|rate| rate / 1024)
}

#[test]
fn responses_are_slowed_down() {
    let host = Host::new();
    let all = json!({ "numerator": 100 });
    let fixed = json!({ "fixed_limit": { "limit_kbps": 7 }, "percentage": all });
    let fixed = filter(&host, &json!({ "response_rate_limit": fixed }));
    assert_eq!(slowed(&fixed, &[]), Some(7));
    assert_eq!(
        host.counter("http.test.fault.response_rl_injected"),
        Some(1)
    );
    let text =
        json!({ "fixed_limit": { "limit_kbps": "18446744073709551615" }, "percentage": all });
    let most = filter(&host, &json!({ "response_rate_limit": text }));
    assert_eq!(slowed(&most, &[]), Some(u64::MAX / 1024));
    let asked = json!({ "header_limit": {}, "percentage": { "numerator": 100 } });
    let asked = filter(&host, &json!({ "response_rate_limit": asked }));
    let limit = "x-envoy-fault-throughput-response";
    let share = "x-envoy-fault-throughput-response-percentage";
    for (headers, expected) in [
        (&[][..], None),
        (&[(limit, "40")], Some(40)),
        (&[(limit, "0")], None),
        (&[(limit, "no")], None),
        (&[(limit, "40"), (share, "0")], None),
        (&[(limit, "40"), (share, "200")], Some(40)),
    ] {
        assert_eq!(slowed(&asked, headers), expected, "{headers:?}");
    }
    let none = json!({ "response_rate_limit": { "fixed_limit": { "limit_kbps": 7 } } });
    let none = filter(&host, &none);
    assert_eq!(none.interest(), Interest::new());
    assert_eq!(
        host.counter("http.test.fault.response_rl_injected"),
        Some(4)
    );
}

#[test]
fn a_slow_response_is_one_fault_with_the_others() {
    let host = Host::new();
    let mut document = all("http_status", 503);
    document["response_rate_limit"] =
        json!({ "fixed_limit": { "limit_kbps": 1 }, "percentage": { "numerator": 100 } });
    document["max_active_faults"] = json!(1);
    let filter = filter(&host, &document);
    let head = [(":method", "GET")];
    let mut first = filter.stream();
    assert!(matches!(
        first.on_request_headers(&head, true),
        Ok(Flow::Reply(_))
    ));
    assert_eq!(first.response_rate(), Some(1024));
    let mut second = filter.stream();
    assert_eq!(second.on_request_headers(&head, true), Ok(Flow::Next));
    assert_eq!(second.response_rate(), None);
    assert_eq!(
        host.counter("http.test.fault.response_rl_injected"),
        Some(1)
    );
    assert_eq!(host.counter("http.test.fault.faults_overflow"), Some(2));
}

#[test]
fn a_runtime_value_says_how_many_responses_are_slow() {
    let host = Host::new();
    let set = |key: &str, value: u64| {
        host.set_runtime(key, Some(RuntimeValue::Integer(value)));
    };
    // With it there are layers.
    set("other", 1);
    let mut document = json!({ "response_rate_limit": { "fixed_limit": { "limit_kbps": 7 } } });
    let named = filter(&host, &document);
    assert_eq!(slowed(&named, &[]), None);
    set("fault.http.rate_limit.response_percent", 100);
    assert_eq!(slowed(&named, &[]), Some(7));
    let shop = ("x-envoy-downstream-service-cluster", "shop");
    assert_eq!(
        slowed(&named, &[shop]),
        Some(7),
        "services have none of their own"
    );
    document["response_rate_limit_percent_runtime"] = json!("mine");
    let own = filter(&host, &document);
    assert_eq!(slowed(&own, &[]), None);
    set("mine", 100);
    assert_eq!(slowed(&own, &[]), Some(7));
}

#[test]
fn faults_are_counted_by_service() {
    for (by_service, expected) in [(true, Some(1)), (false, None)] {
        let host = Host::new();
        let mut document = all("http_status", 500);
        document["disable_downstream_cluster_stats"] = json!(!by_service);
        let filter = filter(&host, &document);
        let headers = [("x-envoy-downstream-service-cluster", "shop")];
        assert_eq!(answered(&filter, &headers), Some((500, None)));
        let counted = host.counter("http.test.fault.shop.aborts_injected");
        assert_eq!(counted, expected);
    }
}

#[test]
fn runtime_values_change_faults() {
    let host = Host::new();
    let set = |key: &str, value: u64| {
        host.set_runtime(key, Some(RuntimeValue::Integer(value)));
    };
    // With it there are layers.
    set("other", 1);
    let document = json!({
        "abort": { "http_status": 503 },
        "delay": { "fixed_delay": "0.25s" },
        "abort_http_status_runtime": "mine.status",
    });
    let filter = filter(&host, &document);
    let shop = ("x-envoy-downstream-service-cluster", "shop");
    assert_eq!(answered(&filter, &[]), None, "nothing is asked for");
    set("fault.http.abort.abort_percent", 100);
    assert_eq!(answered(&filter, &[]), Some((503, None)));
    assert_eq!(answered(&filter, &[shop]), None, "a service has its own");
    set("mine.status", 429);
    assert_eq!(answered(&filter, &[]), Some((429, None)));
    set("mine.status", 99);
    assert_eq!(answered(&filter, &[]), Some((503, None)), "99 is no status");
    set("fault.http.shop.abort.abort_percent", 100);
    set("fault.http.shop.abort.http_status", 404);
    assert_eq!(answered(&filter, &[shop]), Some((404, None)));
    host.set_runtime("fault.http.abort.abort_percent", None);
    set("fault.http.delay.fixed_delay_percent", 100);
    assert_eq!(held_up(&filter, &[]), Some(Duration::from_millis(250)));
    set("fault.http.delay.fixed_duration_ms", 7);
    assert_eq!(held_up(&filter, &[]), Some(Duration::from_millis(7)));
    set("fault.http.delay.fixed_duration_ms", 0);
    assert_eq!(held_up(&filter, &[]), None);
    set("fault.http.shop.delay.fixed_delay_percent", 100);
    set("fault.http.shop.delay.fixed_duration_ms", 9);
    assert_eq!(held_up(&filter, &[shop]), Some(Duration::from_millis(9)));
}

#[test]
fn only_so_many_have_a_fault_at_one_time() {
    let host = Host::new();
    let mut document = json!({
        "delay": { "fixed_delay": "1s", "percentage": { "numerator": 100 } },
        "abort": { "http_status": 503, "percentage": { "numerator": 100 } },
    });
    document["max_active_faults"] = json!(1);
    let filter = filter(&host, &document);
    let head = [(":method", "GET")];
    let count = |name: &str| host.counter(&format!("http.test.fault.{name}"));
    let active = || host.gauge("http.test.fault.active_faults");
    let mut first = filter.stream();
    assert!(matches!(
        first.on_request_headers(&head, true),
        Ok(Flow::Wait(_))
    ));
    assert_eq!(active(), Some(1));
    let mut second = filter.stream();
    assert_eq!(second.on_request_headers(&head, true), Ok(Flow::Next));
    assert_eq!(count("faults_overflow"), Some(2), "neither delay nor abort");
    assert!(
        matches!(first.on_resume(true), Ok(Flow::Reply(_))),
        "it has one already"
    );
    drop((first, second));
    assert_eq!(active(), Some(0));
    host.set_runtime(
        "fault.http.max_active_faults",
        Some(RuntimeValue::Integer(0)),
    );
    let filter = host.configure::<Fault>(document).unwrap();
    assert_eq!(held_up(&filter, &[]), None);
}

#[test]
fn only_some_requests_are_concerned() {
    let mut document = all("http_status", 500);
    document["upstream_cluster"] = json!("backend");
    document["headers"] = json!([{ "name": "x-fault", "exact_match": "yes" }]);
    let concerned = filter(&Host::new(), &document);
    assert_eq!(
        answered(&concerned, &[("x-fault", "yes")]),
        Some((500, None))
    );
    assert_eq!(answered(&concerned, &[("x-fault", "no")]), None);
    assert_eq!(answered(&concerned, &[]), None);
    document["upstream_cluster"] = json!("other");
    let other = filter(&Host::new(), &document);
    assert_eq!(answered(&other, &[("x-fault", "yes")]), None);
}

#[test]
fn a_route_has_faults_of_its_own() {
    let filter = filter(&Host::new(), &all("http_status", 500));
    let route = filter
        .for_route(&[all("http_status", 404)])
        .expect("a good one");
    assert_eq!(answered(&route, &[]), Some((404, None)));
    assert_eq!(answered(&filter, &[]), Some((500, None)));
}

#[test]
fn what_is_not_a_fault_is_refused() {
    for document in [
        json!({ "abort": {} }),
        json!({ "abort": { "http_status": 199 } }),
        json!({ "abort": { "http_status": 500, "grpc_status": 1 } }),
        json!({ "delay": {} }),
        json!({ "delay": { "fixed_delay": "0s" } }),
        json!({ "delay": { "fixed_delay": "1s", "header_delay": {} } }),
        json!({ "response_rate_limit": {} }),
        json!({ "response_rate_limit": { "fixed_limit": { "limit_kbps": 0 } } }),
        json!({ "response_rate_limit": { "fixed_limit": { "limit_kbps": 1 }, "header_limit": {} } }),
        json!({ "headers": [{ "exact_match": "x" }] }),
    ] {
        assert!(
            Host::new().configure::<Fault>(document.clone()).is_err(),
            "{document}"
        );
    }
}
