//! What is written is one message with one framing, whatever the block of fields has.

use proptest::prelude::*;

use super::*;
use crate::h1::head::HeadParser;
use crate::h1::{MethodKind, RequestRules, ResponseRules};
use crate::headers::Name;

fn block(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append(&Name::parse(name.as_bytes()).unwrap(), value.as_bytes());
    }
    headers
}

fn request(fields: &[(&str, &str)], body: BodyLength) -> Result<String, Unencodable> {
    let mut out = BytesMut::new();
    let done = encode_request(&mut out, &block(fields), body);
    assert!(
        done.is_ok() || out.is_empty(),
        "an error leaves nothing behind"
    );
    done.map(|()| String::from_utf8(out.to_vec()).unwrap())
}

/// How many bytes the fields of a head have that was encoded: as they are written, and as they are read,
/// without the space in front of each value.
fn counted(head: &[u8]) -> (u64, u64) {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').skip(1);
    let fields = lines.by_ref().take_while(|line| line != b"\r\n");
    fields.fold((0, 0), |(written, read), line| {
        let bytes = line.len() as u64;
        (written + bytes, read + bytes - 1)
    })
}

fn response(status: u16, fields: &[(&str, &str)], body: BodyLength, close: bool) -> String {
    let mut out = BytesMut::new();
    encode_response(
        &mut out,
        Protocol::Http11,
        status,
        &block(fields),
        body,
        close,
    );
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn requests_have_envoys_order() {
    let head = [
        (":method", "POST"),
        (":path", "/p?q"),
        (":authority", "A.example"),
        (":scheme", "http"),
        ("a", "1"),
        ("content-length", "05"),
        ("b", ""),
        ("transfer-encoding", "gzip"),
        ("c", "\u{e9}"),
    ];
    let start = "POST /p?q HTTP/1.1\r\nhost: A.example\r\na: 1\r\n";
    let cases = [
        (
            BodyLength::Length(5),
            "content-length: 5\r\nb: \r\nc: \u{e9}\r\n\r\n",
        ),
        (
            BodyLength::Length(77),
            "content-length: 77\r\nb: \r\nc: \u{e9}\r\n\r\n",
        ),
        (
            BodyLength::Chunked,
            "b: \r\nc: \u{e9}\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            BodyLength::UntilClose,
            "b: \r\nc: \u{e9}\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            BodyLength::None,
            "b: \r\nc: \u{e9}\r\ncontent-length: 0\r\n\r\n",
        ),
    ];
    for (body, end) in cases {
        assert_eq!(
            request(&head, body),
            Ok(format!("{start}{end}")),
            "{body:?}"
        );
    }
}

#[test]
fn requests_without_a_body_say_so_where_envoy_does() {
    for (method, length) in [
        ("GET", ""),
        ("HEAD", ""),
        ("DELETE", ""),
        ("TRACE", ""),
        ("CONNECT", ""),
        ("POST", "content-length: 0\r\n"),
        ("PUT", "content-length: 0\r\n"),
        ("OPTIONS", "content-length: 0\r\n"),
        ("FOO", "content-length: 0\r\n"),
    ] {
        let head = [(":method", method), (":authority", "h:1"), (":path", "/p")];
        let target = if method == "CONNECT" { "h:1" } else { "/p" };
        let expected = format!("{method} {target} HTTP/1.1\r\nhost: h:1\r\n{length}\r\n");
        assert_eq!(request(&head, BodyLength::None), Ok(expected));
    }
    let head = [(":method", "GET"), (":path", "/")];
    let expected = "GET / HTTP/1.1\r\nhost: \r\ncontent-length: 0\r\n\r\n".to_owned();
    assert_eq!(request(&head, BodyLength::Length(0)), Ok(expected));
}

#[test]
fn a_request_line_cannot_be_broken() {
    let cases = [
        (["", "/", "h"], Unencodable::Method),
        (["GET /x HTTP/1.1\r\n", "/", "h"], Unencodable::Method),
        (["GE T", "/", "h"], Unencodable::Method),
        (["GET", "", "h"], Unencodable::Target),
        (["GET", "/a b", "h"], Unencodable::Target),
        (["GET", "/a\r\nX: y", "h"], Unencodable::Target),
        (["GET", "/a\0", "h"], Unencodable::Target),
        (["GET", "?a", "h"], Unencodable::Target),
        (["GET", "http://a/", "h"], Unencodable::Target),
        (["GET", "*a", "h"], Unencodable::Target),
        (["GET", "/a\u{7f}", "h"], Unencodable::Target),
        (["GET", "/", "h\r\nX: y"], Unencodable::Authority),
        (["GET", "/", "h\nX: y"], Unencodable::Authority),
        (["CONNECT", "/", ""], Unencodable::Target),
    ];
    for ([method, path, authority], error) in cases {
        let head = [
            (":method", method),
            (":path", path),
            (":authority", authority),
        ];
        assert_eq!(
            request(&head, BodyLength::None),
            Err(error),
            "{method} {path} {authority}"
        );
    }
    assert_eq!(
        request(&[(":path", "/")], BodyLength::None),
        Err(Unencodable::Method)
    );
    assert_eq!(
        request(&[(":method", "GET")], BodyLength::None),
        Err(Unencodable::Target)
    );
}

#[test]
fn fields_that_would_break_lines_are_left_out() {
    let fields = [
        ("a", "1\r\nX: y"),
        ("b", "1"),
        ("c", "1\0"),
        ("d", "1\n"),
        ("e", "\r"),
        ("content-length", "1\r\n"),
    ];
    let expected = "HTTP/1.1 200 OK\r\nb: 1\r\n";
    let length = response(200, &fields, BodyLength::Length(3), false);
    assert_eq!(length, format!("{expected}content-length: 3\r\n\r\n"));
    assert_eq!(
        response(200, &fields, BodyLength::None, false),
        format!("{expected}\r\n")
    );
    let mut headers = Headers::new();
    headers.append_other(b"bad\r\nname", b"1");
    let mut out = BytesMut::new();
    encode_last_chunk(&mut out, Some(&headers));
    assert_eq!(&out[..], b"0\r\n\r\n");
}

#[test]
fn responses_have_envoys_order() {
    let fields = [
        (":status", "200"),
        ("a", "1"),
        ("content-length", "5"),
        ("date", "d"),
        ("connection", "x"),
    ];
    let start = "HTTP/1.1 200 OK\r\na: 1\r\n";
    let cases = [
        (
            BodyLength::Length(5),
            false,
            "content-length: 5\r\ndate: d\r\nconnection: x\r\n\r\n",
        ),
        (
            BodyLength::Length(5),
            true,
            "content-length: 5\r\ndate: d\r\nconnection: close\r\n\r\n",
        ),
        (
            BodyLength::None,
            true,
            "content-length: 5\r\ndate: d\r\nconnection: close\r\n\r\n",
        ),
        (
            BodyLength::Chunked,
            true,
            "date: d\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            BodyLength::UntilClose,
            true,
            "date: d\r\nconnection: close\r\n\r\n",
        ),
    ];
    for (body, close, end) in cases {
        assert_eq!(
            response(200, &fields, body, close),
            format!("{start}{end}"),
            "{body:?} {close}"
        );
    }
    let open = response(200, &[], BodyLength::UntilClose, false);
    assert_eq!(open, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
    let local = response(404, &[("server", "s")], BodyLength::Length(0), true);
    let expected =
        "HTTP/1.1 404 Not Found\r\nserver: s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(local, expected);
}

#[test]
fn host_in_a_response_is_a_field_like_any_other() {
    let fields = [("a", "1"), ("host", "h"), (":path", "/")];
    let expected = "HTTP/1.1 200 OK\r\na: 1\r\nhost: h\r\n\r\n";
    assert_eq!(response(200, &fields, BodyLength::None, false), expected);
}

#[test]
fn responses_without_a_body_have_no_framing() {
    let fields = [("content-length", "5"), ("transfer-encoding", "chunked")];
    for (status, reason) in [
        (101, "Switching Protocols"),
        (204, "No Content"),
        (103, "Unknown"),
    ] {
        for body in [BodyLength::None, BodyLength::Length(5), BodyLength::Chunked] {
            let expected = format!("HTTP/1.1 {status} {reason}\r\n\r\n");
            assert_eq!(response(status, &fields, body, false), expected);
        }
    }
    let unchanged = response(304, &fields, BodyLength::None, false);
    assert_eq!(
        unchanged,
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"
    );
}

#[test]
fn responses_to_http_10() {
    let with = |close| {
        let mut out = BytesMut::new();
        let headers = block(&[("a", "1"), ("content-length", "2")]);
        encode_response(
            &mut out,
            Protocol::Http10,
            200,
            &headers,
            BodyLength::Length(2),
            close,
        );
        String::from_utf8(out.to_vec()).unwrap()
    };
    let start = "HTTP/1.0 200 OK\r\na: 1\r\ncontent-length: 2\r\nconnection:";
    assert_eq!(with(true), format!("{start} close\r\n\r\n"));
    assert_eq!(with(false), format!("{start} keep-alive\r\n\r\n"));
}

#[test]
fn chunk_heads_are_hexadecimal() {
    for size in [1, 9, 10, 15, 16, 255, 4096, 0xdead_beef, usize::MAX] {
        let mut out = BytesMut::new();
        encode_chunk_head(&mut out, size);
        assert_eq!(out, format!("{size:x}\r\n"));
    }
    let mut out = BytesMut::new();
    encode_chunk_head(&mut out, 0);
    encode_chunk(&mut out, b"");
    assert!(out.is_empty(), "nothing may look like the end");
    encode_chunk(&mut out, b"abc");
    encode_last_chunk(
        &mut out,
        Some(&block(&[("x-t", "y"), ("content-length", "3")])),
    );
    assert_eq!(&out[..], b"3\r\nabc\r\n0\r\nx-t: y\r\n\r\n");
}

#[test]
fn numbers_are_decimal() {
    for number in [0, 7, 10, 99, 1234567890, u64::MAX] {
        let mut out = BytesMut::new();
        put_decimal(&mut out, number);
        assert_eq!(out, number.to_string());
    }
}

fn bytes_of(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers
        .iter()
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

/// Names and values as a filter may set them: with any bytes that the block itself lets pass.
fn fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    const NAMES: &[&str] = &[
        "x-a",
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "x-b",
    ];
    let names = prop::sample::select(NAMES);
    let byte = prop::sample::select(&b"ab5,;= \t\r\n\0\x7f\xff"[..]);
    let field = (
        names.prop_map(|name| name.as_bytes().to_vec()),
        prop::collection::vec(byte, 0..8),
    );
    prop::collection::vec(field, 0..6)
}

fn bodies() -> impl Strategy<Value = BodyLength> {
    prop_oneof![
        Just(BodyLength::None),
        Just(BodyLength::Chunked),
        any::<u64>().prop_map(BodyLength::Length)
    ]
}

proptest! {
    /// Whatever a filter put into the block: the peer sees one head, with the framing that was meant.
    #[test]
    fn what_is_encoded_has_one_reading(
        path in "/[ -~\\x00-\\x20]{0,6}", authority in "[a-z:. \\r\\n]{0,6}", fields in fields(), body in bodies(),
    ) {
        let mut headers = block(&[(":method", "POST"), (":path", &path), (":authority", &authority)]);
        for (name, value) in &fields {
            headers.append_bytes(name, value);
        }
        let mut out = BytesMut::new();
        if encode_request(&mut out, &headers, body).is_ok() {
            let ends = out.windows(4).filter(|four| four == b"\r\n\r\n").count();
            prop_assert_eq!(ends, 1);
            let mut read = Headers::new();
            let parsed = HeadParser::new().request(&out, &RequestRules::default(), &mut read);
            // Control bytes that break no line are the peer's to judge.
            if let Ok(Some(head)) = parsed {
                prop_assert_eq!(head.consumed, out.len());
                // What follows an upgrade is not said to be empty.
                let says_so = body == BodyLength::None && !headers.has(Known::Upgrade);
                let expected = if says_so { BodyLength::Length(0) } else { body };
                prop_assert_eq!(head.body, expected);
            }
        }
        out.clear();
        encode_response(&mut out, Protocol::Http11, 200, &headers, body, false);
        prop_assert_eq!(out.windows(4).filter(|four| four == b"\r\n\r\n").count(), 1);
        let lengths = out.windows(15).filter(|name| name == b"content-length:").count();
        prop_assert!(lengths <= 1);
    }

    /// Requests that the parser takes come out with the same meaning, and the second time unchanged.
    #[test]
    fn a_request_survives_the_proxy(
        method in prop::sample::select(&["GET", "POST", "CONNECT", "OPTIONS"][..]),
        target in prop::sample::select(&["/", "/a?b", "h:80", "http://x:1/y", "*"][..]),
        fields in prop::collection::vec(("[a-z]{1,3}", "[!-~ \\t\\x80-\\xff]{0,9}"), 0..6),
        framing in prop::sample::select(&["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"][..]),
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let wire = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}{framing}\r\n");
        let rules = RequestRules::default();
        let (mut first, mut second) = (Headers::new(), Headers::new());
        let parsed = HeadParser::new().request(wire.as_bytes(), &rules, &mut first);
        if let Ok(Some(head)) = parsed {
            let (mut out, mut again) = (BytesMut::new(), BytesMut::new());
            let bytes = encode_request_to(&mut out, &first, head.body, TargetForm::Origin).unwrap();
            let reread = HeadParser::new().request(&out, &rules, &mut second).unwrap().unwrap();
            prop_assert_eq!(reread.consumed, out.len());
            prop_assert_eq!((bytes, reread.field_bytes), counted(&out));
            prop_assert_eq!(reread.body.is_empty(), head.body.is_empty());
            prop_assert_eq!(reread.method, head.method);
            encode_request(&mut again, &second, reread.body).unwrap();
            prop_assert_eq!(&out, &again);
            for head in [&mut first, &mut second] {
                head.remove_known(Known::ContentLength);
                // What is sent on is a path.
                head.remove_known(Known::Scheme);
            }
            prop_assert_eq!(bytes_of(&first), bytes_of(&second));
        }
    }

    /// The same for responses.
    #[test]
    fn a_response_survives_the_proxy(
        status in 100..600u16, reason in "[!-~ ]{0,9}",
        fields in prop::collection::vec(("[a-z]{1,3}", "[!-~ \\t\\x80-\\xff]{0,9}"), 0..6),
        framing in prop::sample::select(&["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"][..]),
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let wire = format!("HTTP/1.1 {status} {reason}\r\n{fields}{framing}\r\n");
        let (mut first, mut second) = (Headers::new(), Headers::new());
        let rules = ResponseRules::default();
        let parsed = HeadParser::new().response(wire.as_bytes(), rules, MethodKind::Get, &mut first);
        if let Ok(Some(head)) = parsed {
            let mut out = BytesMut::new();
            let bytes = encode_response(&mut out, head.version, head.status, &first, head.body, false);
            let reread =
                HeadParser::new().response(&out, rules, MethodKind::Get, &mut second).unwrap().unwrap();
            prop_assert_eq!(reread.consumed, out.len());
            prop_assert_eq!((bytes, reread.field_bytes), counted(&out));
            prop_assert_eq!((reread.status, reread.body), (head.status, head.body));
            if head.body == BodyLength::UntilClose {
                prop_assert!(second.remove_known(Known::Connection));
            }
            prop_assert_eq!(bytes_of(&first), bytes_of(&second));
        }
    }
}

#[test]
fn bytes_of_trailers_are_those_of_their_lines() {
    let mut out = BytesMut::new();
    assert_eq!(encode_last_chunk(&mut out, None), 0);
    let trailers = block(&[("x-t", "abc"), ("b", "")]);
    assert_eq!(encode_last_chunk(&mut out, Some(&trailers)), 15);
    assert!(out.ends_with(b"0\r\nx-t: abc\r\nb: \r\n\r\n"));
}
