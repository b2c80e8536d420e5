//! The filter over the fake host. What is expected of orders and empty values is what Envoy 1.40
//! answers to the same configuration.

use nuncio_sdk::testing::{Configured, Host, Value, json};

use super::*;

fn filter(request: Value, response: Value) -> Configured<HeaderMutation> {
    let mutations = json!({ "request_mutations": request, "response_mutations": response });
    Host::new()
        .configure(json!({ "mutations": mutations }))
        .expect("a good configuration")
}

fn append(key: &str, value: &str, action: &str) -> Value {
    json!({ "append": { "header": { "key": key, "value": value }, "append_action": action } })
}

fn shown(headers: &[(String, String)]) -> String {
    let fields = headers
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    fields.collect::<Vec<_>>().join(" ")
}

#[test]
fn mutations_apply_in_order() {
    let filter = filter(
        json!([
            append("x-a", "3", "APPEND_IF_EXISTS_OR_ADD"),
            append("x-b", "9", "ADD_IF_ABSENT"),
            append("x-c", "%REQ(x-zz)%", "APPEND_IF_EXISTS_OR_ADD"),
            append("x-f", "a%REQ(x-a)%b%%c", "APPEND_IF_EXISTS_OR_ADD"),
            append("x-a", "4", "OVERWRITE_IF_EXISTS_OR_ADD"),
            append("x-none", "4", "OVERWRITE_IF_EXISTS"),
            append("x-g", "9", "ADD_IF_ABSENT"),
            { "remove": "x-b" },
        ]),
        json!([]),
    );
    let mut stream = filter.stream();
    let head = [
        (":path", "/p"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "1"),
        ("x-z", "z"),
    ];
    assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
    assert_eq!(
        shown(&stream.request_headers()),
        ":path=/p x-z=z x-f=a1b%c x-a=4 x-g=9"
    );
}

#[test]
fn the_response_has_its_own_mutations() {
    let filter = filter(
        json!([]),
        json!([
            append("x-up", "c", "OVERWRITE_IF_EXISTS"),
            append("x-of", "%REQ(:path)% %RESP(x-up)%", "APPEND_IF_EXISTS_OR_ADD"),
            { "remove": "server" },
        ]),
    );
    assert_eq!(filter.interest(), Interest::new().response_headers());
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&[(":path", "/p")], true),
        Ok(Flow::Next)
    );
    let head = [
        (":status", "200"),
        ("x-up", "a"),
        ("x-up", "b"),
        ("server", "u"),
    ];
    assert_eq!(stream.on_response_headers(&head, false), Ok(Flow::Next));
    assert_eq!(shown(&stream.request_headers()), ":path=/p");
    assert_eq!(
        shown(&stream.response_headers()),
        ":status=200 x-up=c x-of=/p c"
    );
}

#[test]
fn an_empty_value_is_kept_only_if_asked() {
    let keep = |key: &str, value: &str| json!({ "append": { "header": { "key": key, "value": value }, "keep_empty_value": true } });
    let filter = filter(
        json!([
            append("x-a", "", "OVERWRITE_IF_EXISTS_OR_ADD"),
            append("x-a", "%REQ(x-zz)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
            keep("x-d", ""),
            keep("x-e", "%REQ(x-zz)%"),
        ]),
        json!([]),
    );
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&[("x-a", "1")], true),
        Ok(Flow::Next)
    );
    assert_eq!(shown(&stream.request_headers()), "x-a=1 x-d= x-e=");
}

#[test]
fn a_query_is_changed_and_sorted() {
    let record = |key: &str, value: &str, action: &str| json!({ "append": { "record": { "key": key, "value": value }, "action": action } });
    let filter = Host::new()
        .configure::<HeaderMutation>(json!({ "mutations": { "query_parameter_mutations": [
            record("new", "%REQ(x)%", "APPEND_IF_EXISTS_OR_ADD"),
            record("a", "z y&", "APPEND_IF_EXISTS_OR_ADD"),
            record("b", "if", "ADD_IF_ABSENT"),
            record("c", "%REQ(:path)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
            record("d", "dd", "OVERWRITE_IF_EXISTS"),
            { "remove": "gone" },
        ] } }))
        .expect("a good configuration");
    for (path, expected) in [
        ("/x", "/x?a=z%20y%26&b=if&c=%2Fx&new=v%20w"),
        ("/x?", "/x?a=z%20y%26&b=if&c=%2Fx%3F&new=v%20w"),
        (
            "/x?a=1&gone=2&d=4&d=5",
            "/x?a=1&a=z%20y%26&b=if&c=%2Fx%3Fa%3D1%26gone%3D2%26d%3D4%26d%3D5&d=dd&new=v%20w",
        ),
        (
            "/x?=5&&k&",
            "/x?=5&=&a=z%20y%26&b=if&c=%2Fx%3F%3D5%26%26k%26&k=&new=v%20w",
        ),
        (
            "/x?a=%zz&%61=q&%67one=1&b=%26",
            "/x?a=%zz&%61=q&a=z%20y%26&b=%26&c=%2Fx%3Fa%3D%25zz%26%2561%3Dq%26%2567one%3D1%26b%3D%2526&new=v%20w",
        ),
    ] {
        let mut stream = filter.stream();
        let head = [(":path", path), ("x", "v w")];
        assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
        assert_eq!(stream.request_header(":path").as_deref(), Some(expected));
    }
}

#[test]
fn what_only_removes_leaves_no_question_mark() {
    let filter = Host::new()
        .configure::<HeaderMutation>(json!({ "mutations": { "query_parameter_mutations": [
            { "remove": "gone" },
        ] } }))
        .expect("a good configuration");
    let mut stream = filter.stream();
    assert_eq!(
        stream.on_request_headers(&[(":path", "/x?gone=1")], true),
        Ok(Flow::Next)
    );
    assert_eq!(stream.request_header(":path").as_deref(), Some("/x"));
}

#[test]
fn routes_add_their_mutations() {
    let level = |value: &str| {
        json!({ "mutations": {
            "request_mutations": [
                append("x-all", value, "APPEND_IF_EXISTS_OR_ADD"),
                append("x-last", value, "OVERWRITE_IF_EXISTS_OR_ADD"),
            ],
        } })
    };
    for (wins, expected) in [
        (
            false,
            ":path=/p x-all=chain x-all=route x-all=host x-last=host",
        ),
        (
            true,
            ":path=/p x-all=chain x-all=host x-all=route x-last=route",
        ),
    ] {
        let mut document = level("chain");
        document["most_specific_header_mutations_wins"] = json!(wins);
        let filter = Host::new()
            .configure::<HeaderMutation>(document)
            .expect("a good configuration")
            .for_route(&[level("host"), level("route")])
            .expect("a good configuration for routes");
        let mut stream = filter.stream();
        let flow = stream.on_request_headers(&[(":path", "/p")], true);
        assert_eq!(flow, Ok(Flow::Next));
        assert_eq!(shown(&stream.request_headers()), expected, "{wins}");
    }
}

#[test]
fn without_mutations_it_is_never_called() {
    for document in [json!({}), json!({ "mutations": {} })] {
        let filter = Host::new()
            .configure::<HeaderMutation>(document)
            .expect("a good configuration");
        assert_eq!(filter.interest(), Interest::new());
    }
}

#[test]
fn what_may_not_be_changed_is_refused() {
    for (mutation, reason) in [
        (
            append(":path", "/", "OVERWRITE_IF_EXISTS_OR_ADD"),
            ":-prefixed or host",
        ),
        (
            append("Host", "h", "OVERWRITE_IF_EXISTS_OR_ADD"),
            ":-prefixed or host",
        ),
        (json!({ "remove": ":path" }), ":-prefixed or host"),
        (
            append("Content-Length", "1", "ADD_IF_ABSENT"),
            "not supported by nuncio",
        ),
        (append("x a", "1", "ADD_IF_ABSENT"), "x a"),
        (
            append("x-a", "a\r\nb", "ADD_IF_ABSENT"),
            "not a header value",
        ),
        (append("x-a", "%NOPE", "ADD_IF_ABSENT"), "%NOPE"),
        (json!({ "remove_on_match": {} }), "remove_on_match"),
        (json!({}), "expected"),
    ] {
        let mutations = json!({ "request_mutations": [mutation] });
        let refused = Host::new()
            .configure::<HeaderMutation>(json!({ "mutations": mutations }))
            .err();
        let message = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(reason), "{mutations}: {message}");
    }
}
