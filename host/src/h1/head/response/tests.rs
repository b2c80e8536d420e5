//! Heads of responses: status lines, folded lines, and bodies by status.

use super::super::tests::{Parsed, lines, shown};
use super::*;

pub(in super::super) fn response_to(
    method: MethodKind,
    bytes: &[u8],
) -> Parsed<ResponseHead, BadResponse> {
    let mut headers = Headers::new();
    let head = HeadParser::new().response(bytes, ResponseRules::default(), method, &mut headers)?;
    Ok(head.map(|head| (head, shown(&headers))))
}

pub(in super::super) fn response(bytes: &[u8]) -> Parsed<ResponseHead, BadResponse> {
    response_to(MethodKind::Get, bytes)
}

pub(in super::super) fn response_in_steps(
    bytes: &[u8],
    step: usize,
) -> Parsed<ResponseHead, BadResponse> {
    let mut headers = Headers::new();
    let mut parser = HeadParser::new();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        let rules = ResponseRules::default();
        if let Some(head) = parser.response(&bytes[..end], rules, MethodKind::Get, &mut headers)? {
            return Ok(Some((head, shown(&headers))));
        }
    }
    Ok(None)
}

/// A response to `GET` that is taken: status, fields, body, keep-alive.
type Taken = (
    &'static [u8],
    u16,
    &'static [&'static str],
    BodyLength,
    bool,
);

const RESPONSES: &[Taken] = &[
    (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX-A: 1\r\nset-cookie: b\r\nContent-Length: 2\r\n\r\nok",
        200, &["set-cookie=a", "x-a=1", "set-cookie=b", "content-length=2"], BodyLength::Length(2), true,
    ),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, &["content-length=0"], BodyLength::Length(0), true),
    (b"HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n", 200, &[], BodyLength::Chunked, true),
    (b"HTTP/1.1 200  \xffn\tk\r\n\r\nrest", 200, &[], BodyLength::UntilClose, false),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", 200, &["connection=close", "content-length=2"], BodyLength::Length(2), false),
    (b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n", 200, &["content-length=2"], BodyLength::Length(2), false),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", 200, &["content-length=2"], BodyLength::Length(2), false),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n", 200, &["connection=keep-alive", "content-length=2"], BodyLength::Length(2), true),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", 200, &["connection=keep-alive"], BodyLength::Chunked, false),
    (b"HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok", 200, &["x=y", "content-length=2"], BodyLength::Length(2), true),
    (b"HTTP/1.1 200 OK\r\nX: a\r\n\t b \n c\r\n \r\nContent-Length: 2\r\n\r\n", 200, &["x=a\\t b  c", "content-length=2"], BodyLength::Length(2), true),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 100, &[], BodyLength::None, true),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 103, &["link=</a>"], BodyLength::None, true),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw", 101, &["upgrade=x", "connection=upgrade"], BodyLength::None, true),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, &[], BodyLength::None, true),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, &["content-length=10"], BodyLength::None, true),
    (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, &[], BodyLength::None, true),
    (b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", 999, &["content-length=0"], BodyLength::Length(0), true),
];

/// Responses to `GET` that are refused. Envoy answers 502 too where no comment says otherwise.
const BAD_RESPONSES: &[(&[u8], BadResponse)] = &[
    (b"garbage\r\n\r\n", BadResponse::Malformed),
    (b"\r\nHTTP/1.1 200 OK\r\n\r\n", BadResponse::Malformed),
    (b" HTTP/1.1 200 OK\r\n\r\n", BadResponse::Malformed),
    (b"http/1.1 200 OK\r\n\r\n", BadResponse::Malformed),
    (b"ICY 200 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/2 200 OK\r\n\r\n", BadResponse::Malformed),
    (
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        BadResponse::Malformed,
    ),
    (b"HTTP/1.1 200OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 2x0 OK\r\n\r\n", BadResponse::Malformed),
    // Envoy passes these on as they are.
    (b"HTTP/2.0 200 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/0.9 200 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 20 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 2000 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 099 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1  200 OK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1\t200\tOK\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 200 O\rK\r\n\r\n", BadResponse::InvalidCharacters),
    (
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        BadResponse::InvalidCharacters,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        BadResponse::Malformed,
    ),
    (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
        BadResponse::Malformed,
    ),
    // And these not.
    (
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        BadResponse::InvalidCharacters,
    ),
    (
        b"HTTP/1.1 200 O\x01K\r\n\r\n",
        BadResponse::InvalidCharacters,
    ),
    (b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 200 OK\r\nXY\r\n\r\n", BadResponse::Malformed),
    (b"HTTP/1.1 200 OK\r\n: a\r\n\r\n", BadResponse::Malformed),
    (
        b"HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n",
        BadResponse::InvalidCharacters,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
        BadResponse::Malformed,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n",
        BadResponse::Malformed,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n",
        BadResponse::Malformed,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        BadResponse::Malformed,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 2\r\n\r\n",
        BadResponse::Malformed,
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        BadResponse::LengthAndChunked,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        BadResponse::TransferEncoding,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        BadResponse::TransferEncoding,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        BadResponse::TransferEncoding,
    ),
    (
        b"HTTP/1.1 304 NM\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        BadResponse::LengthAndChunked,
    ),
    (
        b"HTTP/1.1 304 NM\r\nTransfer-Encoding: gzip\r\n\r\n",
        BadResponse::TransferEncoding,
    ),
    (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        BadResponse::BodyForbidden,
    ),
    (
        b"HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n",
        BadResponse::BodyForbidden,
    ),
    (
        b"HTTP/1.1 101 Switching\r\nContent-Length: 5\r\n\r\n",
        BadResponse::BodyForbidden,
    ),
    (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        BadResponse::BodyForbidden,
    ),
    (
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        BadResponse::BodyForbidden,
    ),
];

#[test]
fn responses_that_are_taken() {
    for (bytes, status, fields, body, keep_alive) in RESPONSES {
        let (head, shown) = response(bytes).unwrap().unwrap();
        let expected = format!(":status={status}\n{}", lines(fields));
        assert_eq!(shown, expected, "{}", bytes.escape_ascii());
        let seen = (head.status, head.body, head.keep_alive);
        assert_eq!(
            seen,
            (*status, *body, *keep_alive),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn responses_that_are_refused() {
    for (bytes, verdict) in BAD_RESPONSES {
        let parsed = response(bytes);
        assert_eq!(
            parsed.as_ref().err(),
            Some(verdict),
            "{}: {parsed:?}",
            bytes.escape_ascii()
        );
    }
    let of_lines = |lines: usize| {
        let fields: String = (0..lines).map(|line| format!("x-{line}: a\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes()
    };
    assert!(response(&of_lines(100)).unwrap().is_some());
    assert_eq!(response(&of_lines(101)), Err(BadResponse::TooManyFields));
}

#[test]
fn responses_do_not_depend_on_reads() {
    let refused = BAD_RESPONSES.iter().map(|(bytes, _)| *bytes);
    for bytes in RESPONSES.iter().map(|(bytes, ..)| *bytes).chain(refused) {
        let whole = response(bytes);
        for step in 1..bytes.len() {
            assert_eq!(
                response_in_steps(bytes, step),
                whole,
                "{step}: {}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn responses_without_a_body_by_their_request() {
    let parse = |method, bytes: &[u8]| {
        response_to(method, bytes)
            .map(|head| head.unwrap().0)
            .map(|head| (head.body, head.keep_alive))
    };
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let neither = b"HTTP/1.1 200 OK\r\n\r\n";
    let refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(
        parse(MethodKind::Head, chunked),
        Ok((BodyLength::None, true))
    );
    assert_eq!(
        parse(MethodKind::Head, length),
        Ok((BodyLength::None, true))
    );
    assert_eq!(
        parse(MethodKind::Head, neither),
        Ok((BodyLength::None, true))
    );
    assert_eq!(
        parse(MethodKind::Connect, neither),
        Ok((BodyLength::None, true))
    );
    assert_eq!(
        parse(MethodKind::Connect, chunked),
        Err(BadResponse::BodyForbidden)
    );
    assert_eq!(
        parse(MethodKind::Connect, refused),
        Ok((BodyLength::Length(5), true))
    );
}

#[test]
fn the_limit_counts_bytes_on_the_wire() {
    let response_of_size = |size: usize| {
        let start = "HTTP/1.1 200 OK\r\nX: ";
        format!("{start}{}\r\n\r\n", "a".repeat(size - start.len() - 4)).into_bytes()
    };
    assert!(response(&response_of_size(81920)).unwrap().is_some());
    assert_eq!(
        response(&response_of_size(81921)),
        Err(BadResponse::TooLarge)
    );
}

#[test]
fn chunks_count_beside_a_length_where_that_is_allowed() {
    let rules = ResponseRules {
        allow_chunked_length: true,
        ..ResponseRules::default()
    };
    let read = |bytes: &[u8]| {
        let mut headers = Headers::new();
        let head = HeadParser::new().response(bytes, rules, MethodKind::Get, &mut headers);
        head.map(|head| (head.unwrap().body, shown(&headers)))
    };
    let (body, headers) = read(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nx-a: 1\r\n\r\n",
    )
    .unwrap();
    assert_eq!(body, BodyLength::Chunked);
    assert_eq!(
        headers,
        shown(&{
            let mut expected = Headers::new();
            expected.append_known(Known::Status, b"200");
            expected.append_bytes(b"x-a", b"1");
            expected
        })
    );
    let other = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: gzip\r\n\r\n";
    assert_eq!(read(other), Err(BadResponse::LengthAndChunked));
}
