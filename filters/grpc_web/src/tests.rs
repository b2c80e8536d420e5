//! The filter over the fake host.

use nuncio_sdk::testing::{Configured, Host, Stream as Played, json};

use super::*;

fn filter() -> Configured<GrpcWeb> {
    Host::new()
        .configure(json!({}))
        .expect("a good configuration")
}

/// A request of that content type, whose client accepts that.
fn request(content_type: &str, accept: &str) -> Played<GrpcWeb> {
    let mut stream = filter().stream();
    let head = [
        (":method", "POST"),
        (":path", "/s/m"),
        ("content-type", content_type),
        ("accept", accept),
        ("content-length", "4"),
    ];
    assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
    stream
}

fn respond(stream: &mut Played<GrpcWeb>, status: &str, content_type: &str, end: bool) {
    let head = [(":status", status), ("content-type", content_type)];
    assert_eq!(stream.on_response_headers(&head, end), Ok(Flow::Next));
}

#[test]
fn only_grpc_web_is_its_business() {
    for content_type in [
        "application/grpc",
        "text/plain",
        "application/grpc-web; charset=utf-8",
    ] {
        let stream = request(content_type, "");
        assert_eq!(
            stream.request_header("content-type").as_deref(),
            Some(content_type)
        );
        assert_eq!(stream.interest(), Interest::new().request_headers());
    }
}

#[test]
fn a_request_becomes_grpc() {
    for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let stream = request(content_type, "");
        for (name, value) in [
            ("content-type", Some("application/grpc")),
            ("te", Some("trailers")),
            ("grpc-accept-encoding", Some("identity")),
            ("content-length", None),
        ] {
            assert_eq!(stream.request_header(name).as_deref(), value, "{name}");
        }
    }
}

#[test]
fn the_text_of_a_request_is_decoded_wherever_its_chunks_end() {
    let mut stream = request("application/grpc-web-text", "");
    for (chunk, end, decoded) in [
        ("AA", false, &b""[..]),
        ("AAAAJ", false, b"\0\0\0"),
        ("hYg==", true, b"\0\x02ab"),
    ] {
        assert_eq!(
            stream.on_request_body(chunk.as_bytes(), end),
            Ok(Flow::Next)
        );
        assert_eq!(stream.body(), Some(decoded), "{chunk}");
    }
}

#[test]
fn a_request_that_is_not_base64_is_refused() {
    for (body, end, details) in [
        ("AAAAA", true, "grpc_base_64_decode_failed_bad_size"),
        ("A?AA", false, "grpc_base_64_decode_failed"),
    ] {
        let mut stream = request("application/grpc-web-text", "");
        let flow = stream.on_request_body(body.as_bytes(), end);
        assert_eq!(flow, Ok(bad_request(details).into()), "{body}");
    }
}

#[test]
fn trailers_become_the_end_of_the_body() {
    let mut stream = request("application/grpc-web", "");
    respond(&mut stream, "200", "application/grpc", false);
    let content_type = stream.response_header("content-type");
    assert_eq!(content_type.as_deref(), Some("application/grpc-web+proto"));
    assert_eq!(stream.on_response_trailers(&[("grpc-status", "0")]), Ok(()));
    assert_eq!(stream.added_body(), b"\x80\0\0\0\x0fgrpc-status:0\r\n");
    assert_eq!(stream.response_trailers(), []);
}

#[test]
fn calls_are_counted_by_method_and_status() {
    let host = Host::new();
    let filter = host.configure::<GrpcWeb>(json!({})).expect("a good one");
    let call = |path: &str, cluster: Option<&str>, status: &str| {
        let mut stream = filter.stream();
        if let Some(cluster) = cluster {
            stream.set_attribute("upstream.cluster", cluster);
        }
        let head = [(":path", path), ("content-type", "application/grpc-web")];
        assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
        respond(&mut stream, "200", "application/grpc", false);
        assert_eq!(
            stream.on_response_trailers(&[("grpc-status", status)]),
            Ok(())
        );
    };
    call("/a.S/M?q", Some("c"), "0");
    call("/a.S/M", Some("c"), "14");
    call("/a.S/M", Some("c"), "x");
    call("/a.S/M", None, "0");
    call("/a.S", Some("c"), "0");
    call("/a.S/M/more", Some("c"), "0");
    for (name, count) in [
        ("total", Some(3)),
        ("success", Some(1)),
        ("failure", Some(2)),
        ("0", Some(1)),
        ("14", Some(1)),
    ] {
        let name = format!("cluster.c.grpc-web.a.S.M.{name}");
        assert_eq!(host.counter(&name), count, "{name}");
    }
}

#[test]
fn a_client_that_cannot_take_bytes_gets_text() {
    let mut stream = request("application/grpc-web", "application/grpc-web-text");
    respond(&mut stream, "200", "application/grpc+proto", false);
    let content_type = stream.response_header("content-type");
    assert_eq!(
        content_type.as_deref(),
        Some("application/grpc-web-text+proto")
    );
    assert_eq!(stream.on_response_body(b"\0\0\0\0\x02a", false), Ok(()));
    assert_eq!(stream.body(), Some(&b"AAAAAAJh"[..]));
    assert_eq!(stream.on_response_body(b"b\0\0\0\0\0", false), Ok(()));
    assert_eq!(stream.body(), Some(&b"Yg==AAAAAAA="[..]));
    assert_eq!(stream.on_response_trailers(&[("grpc-status", "0")]), Ok(()));
    assert_eq!(stream.added_body(), b"gAAAAA9ncnBjLXN0YXR1czowDQo=");
}

#[test]
fn nothing_follows_a_message_that_is_cut() {
    for (content, added) in [
        (&b"\0\0\0\0\x02a"[..], ""),
        (b"\0\0", ""),
        (b"\0\0\0\0\x01a", "gAAAAA9ncnBjLXN0YXR1czowDQo="),
        (b"", "gAAAAA9ncnBjLXN0YXR1czowDQo="),
    ] {
        let mut stream = request("application/grpc-web", "application/grpc-web-text");
        respond(&mut stream, "200", "application/grpc", false);
        assert_eq!(stream.on_response_body(content, false), Ok(()));
        assert_eq!(stream.on_response_trailers(&[("grpc-status", "0")]), Ok(()));
        assert_eq!(stream.added_body(), added.as_bytes(), "{content:?}");
        assert_eq!(stream.response_trailers(), []);
    }
}

#[test]
fn a_response_that_is_not_grpc_becomes_a_failure_of_grpc() {
    for (status, content_type, code) in [
        ("404", "text/html", "12"),
        ("503", "application/grpc", "14"),
        ("200", "text/plain", "2"),
    ] {
        let mut stream = request("application/grpc-web", "");
        respond(&mut stream, status, content_type, false);
        assert_eq!(stream.on_response_body(b"no\n100%", true), Ok(()));
        assert_eq!(stream.body(), Some(&b""[..]));
        assert_eq!(
            stream.response_header("grpc-status").as_deref(),
            Some(code),
            "{status}"
        );
        let message = stream.response_header("grpc-message");
        assert_eq!(message.as_deref(), Some("no%0A100%25"));
    }
}

#[test]
fn a_response_of_trailers_alone_stays() {
    let mut stream = request("application/grpc-web", "");
    let head = [
        (":status", "200"),
        ("grpc-status", "5"),
        ("content-type", "application/grpc"),
    ];
    assert_eq!(stream.on_response_headers(&head, true), Ok(Flow::Next));
    assert_eq!(stream.response_header("grpc-status").as_deref(), Some("5"));
    assert_eq!(stream.response_header("grpc-message"), None);
}
