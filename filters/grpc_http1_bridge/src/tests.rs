//! The filter over the fake host.

use nuncio_sdk::testing::{Host, Stream, json};

use super::*;

/// A call that has been sent on.
fn call(host: &Host, protocol: &str, content_type: &str) -> Stream<Bridge> {
    let filter = host
        .configure::<Bridge>(json!({ "ignore_query_parameters": true }))
        .expect("a good configuration");
    let mut stream = filter.stream();
    stream.set_attribute("request.protocol", protocol);
    stream.set_attribute("upstream.cluster", "backend");
    let head = [
        (":method", "POST"),
        (":path", "/pkg.Service/Method?a=b"),
        ("content-type", content_type),
    ];
    assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    assert_eq!(stream.on_response_headers(&head, false), Ok(Flow::Next));
    assert_eq!(stream.on_response_body(b"\0\0\0\0\x01a", false), Ok(()));
    stream
}

#[test]
fn a_client_of_http1_reads_the_status_in_the_head() {
    for (status, message, expected) in [
        (Some("0"), None, "200"),
        (Some("5"), Some("no such thing"), "503"),
        (Some("nonsense"), Some(""), "503"),
        (Some(""), None, "503"),
        (None, Some("odd"), "200"),
    ] {
        let mut stream = call(&Host::new(), "HTTP/1.1", "application/grpc+proto");
        let path = stream.request_header(":path");
        assert_eq!(path.as_deref(), Some("/pkg.Service/Method"));
        let fields = [("grpc-status", status), ("grpc-message", message)];
        let fields = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let trailers: Vec<_> = fields.chain([("x-t", "1")]).collect();
        assert_eq!(stream.on_response_trailers(&trailers), Ok(()));
        let header = |name| stream.response_header(name);
        assert_eq!(header(":status").as_deref(), Some(expected), "{status:?}");
        assert_eq!(header("grpc-status").as_deref(), status);
        assert_eq!(header("grpc-message").as_deref(), message);
        assert!(stream.response_trailers().is_empty(), "{status:?}");
    }
}

#[test]
fn other_calls_stay_as_they_are() {
    for (protocol, content_type) in [
        ("HTTP/2", "application/grpc"),
        ("HTTP/1.1", "application/grpc-web"),
        ("HTTP/1.1", "text/plain"),
    ] {
        let mut stream = call(&Host::new(), protocol, content_type);
        let path = stream.request_header(":path");
        assert_eq!(path.as_deref(), Some("/pkg.Service/Method?a=b"));
        assert_eq!(stream.on_response_trailers(&[("grpc-status", "5")]), Ok(()));
        assert_eq!(stream.response_header(":status").as_deref(), Some("200"));
        assert_eq!(
            stream.response_trailers().len(),
            1,
            "{protocol} {content_type}"
        );
    }
}

#[test]
fn a_message_alone_becomes_a_call_and_is_answered_with_one() {
    for (protocol, content_type, answered_as, is_call) in [
        (
            "HTTP/1.1",
            "application/x-protobuf",
            "application/grpc",
            true,
        ),
        ("HTTP/1.1", "application/x-protobuf", "text/plain", true),
        (
            "HTTP/1.1",
            "application/x-protobuf; a=b",
            "application/grpc",
            false,
        ),
        (
            "HTTP/1.1",
            "application/protobuf",
            "application/grpc",
            false,
        ),
    ] {
        let host = Host::new();
        let filter = host
            .configure::<Bridge>(json!({ "upgrade_protobuf_to_grpc": true }))
            .expect("a good configuration");
        let mut stream = filter.stream();
        stream.set_attribute("request.protocol", protocol);
        let head = [
            (":method", "POST"),
            (":path", "/pkg.Service/Method"),
            ("content-type", content_type),
            ("content-length", "3"),
        ];
        assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
        let sent_as = stream.request_header("content-type");
        let length = stream.request_header("content-length");
        assert_eq!(sent_as.as_deref() == Some("application/grpc"), is_call);
        assert_eq!(length.is_none(), is_call, "{content_type}");
        assert_eq!(stream.on_request_body(b"abc", true), Ok(Flow::Next));
        let framed: &[u8] = if is_call { b"\0\0\0\0\x03abc" } else { b"abc" };
        assert_eq!(stream.body(), Some(framed));
        let head = [(":status", "200"), ("content-type", answered_as)];
        assert_eq!(stream.on_response_headers(&head, false), Ok(Flow::Next));
        assert_eq!(stream.on_response_body(b"\0\0\0\0\x01d", true), Ok(()));
        let is_stripped = is_call && answered_as == "application/grpc";
        let left: &[u8] = if is_stripped { b"d" } else { b"\0\0\0\0\x01d" };
        assert_eq!(stream.body(), Some(left));
    }
}
