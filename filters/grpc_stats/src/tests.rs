//! The filter over the fake host.

use nuncio_sdk::testing::{Configured, Host, Value, json};

use super::*;

fn filter(host: &Host, document: Value) -> Configured<GrpcStats> {
    host.configure(document).expect("a good configuration")
}

/// A call of that method with two messages each way.
fn call(filter: &Configured<GrpcStats>, path: &str, status: &str) {
    let mut stream = filter.stream();
    stream.set_attribute("upstream.cluster", "c");
    let head = [(":path", path), ("content-type", "application/grpc+proto")];
    assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
    let messages = b"\0\0\0\0\x01a\0\0\0\0\0";
    assert_eq!(stream.on_request_body(messages, true), Ok(Flow::Next));
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    assert_eq!(stream.on_response_headers(&head, false), Ok(Flow::Next));
    assert_eq!(stream.on_response_body(messages, false), Ok(()));
    assert_eq!(
        stream.on_response_trailers(&[("grpc-status", status)]),
        Ok(())
    );
}

fn counts(host: &Host, prefix: &str) -> [Option<u64>; 5] {
    [
        "total",
        "success",
        "failure",
        "request_message_count",
        "response_message_count",
    ]
    .map(|name| host.counter(&format!("cluster.c.grpc.{prefix}{name}")))
}

#[test]
fn calls_are_counted_by_cluster() {
    let host = Host::new();
    let filter = filter(&host, json!({}));
    call(&filter, "/a.S/M", "0");
    call(&filter, "/a.S/N", "5");
    call(&filter, "/x", "0");
    assert_eq!(
        counts(&host, ""),
        [Some(3), Some(2), Some(1), Some(6), Some(6)]
    );
    assert_eq!(host.counter("cluster.c.grpc.5"), Some(1));
}

#[test]
fn calls_are_counted_by_method() {
    for (document, prefix) in [
        (json!({ "stats_for_all_methods": true }), "a.S.M."),
        (
            json!({ "stats_for_all_methods": true, "replace_dots_in_grpc_service_name": true }),
            "a_S.M.",
        ),
        (
            json!({ "individual_method_stats_allowlist": {
                "services": [{ "name": "a.S", "method_names": ["L", "M"] }],
            } }),
            "a.S.M.",
        ),
    ] {
        let host = Host::new();
        let filter = filter(&host, document.clone());
        call(&filter, "/a.S/M?q", "0");
        let expected = [Some(1), Some(1), None, Some(2), Some(2)];
        assert_eq!(counts(&host, prefix), expected, "{document}");
        call(&filter, "/other/M/x", "0");
        let is_counted = document.get("individual_method_stats_allowlist").is_some();
        assert_eq!(counts(&host, "")[0].is_some(), is_counted, "{document}");
    }
}

#[test]
fn what_is_not_grpc_is_none_of_its_business() {
    let host = Host::new();
    let filter = filter(&host, json!({}));
    for (content_type, cluster) in [
        ("application/json", Some("c")),
        ("application/grpc-web", Some("c")),
        ("application/grpc", None),
    ] {
        let mut stream = filter.stream();
        if let Some(cluster) = cluster {
            stream.set_attribute("upstream.cluster", cluster);
        }
        let head = [(":path", "/s/m"), ("content-type", content_type)];
        assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
        assert_eq!(stream.interest(), filter.interest(), "{content_type}");
    }
}

#[test]
fn two_ways_to_say_which_methods_exclude_each_other() {
    let document = json!({
        "stats_for_all_methods": false,
        "individual_method_stats_allowlist": { "services": [] },
    });
    assert!(Host::new().configure::<GrpcStats>(document).is_err());
}
