//! Heads of requests: forms of the target, hosts, lengths, and each thing that is refused.

use super::super::tests::{Parsed, lines, shown};
use super::*;
use crate::h1::HeadLimits;

pub(in super::super) fn request_with(
    rules: &RequestRules,
    bytes: &[u8],
) -> Parsed<RequestHead, Reject> {
    let mut headers = Headers::new();
    let head = HeadParser::new().request(bytes, rules, &mut headers)?;
    Ok(head.map(|head| (head, shown(&headers))))
}

pub(in super::super) fn request(bytes: &[u8]) -> Parsed<RequestHead, Reject> {
    request_with(&RequestRules::default(), bytes)
}

/// Parses with a buffer that grows by `step` bytes; the answer must be that of all bytes at once.
pub(in super::super) fn request_in_steps(bytes: &[u8], step: usize) -> Parsed<RequestHead, Reject> {
    let rules = RequestRules::default();
    let mut headers = Headers::new();
    let mut parser = HeadParser::new();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        if let Some(head) = parser.request(&bytes[..end], &rules, &mut headers)? {
            return Ok(Some((head, shown(&headers))));
        }
    }
    Ok(None)
}

/// Requests that are taken, the fields that come out, and the body.
const TAKEN: &[(&[u8], &[&str], BodyLength)] = &[
    (
        b"GET /p?q=1 HTTP/1.1\r\nHost: A.example:80\r\nX-MiXed: Val ue\r\nCookie: a\r\nx-mixed: b\r\n\r\n",
        &[
            ":method=GET", ":path=/p?q=1", ":authority=A.example:80", ":scheme=",
            "x-mixed=Val ue", "cookie=a", "x-mixed=b",
        ],
        BodyLength::None,
    ),
    (
        b"\r\n\r\nGET / HTTP/1.1\r\nX-A:\t a\t \tb \t\r\nX-B:\r\nX-C:   \r\nHost:h\r\n\r\n",
        &[
            ":method=GET", ":path=/", ":authority=h", ":scheme=", "x-a=a\\t \\tb", "x-b=", "x-c=",
        ],
        BodyLength::None,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 005 \r\n\r\nabcde",
        &[":method=POST", ":path=/", ":authority=h", ":scheme=", "content-length=005"],
        BodyLength::Length(5),
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        &[":method=POST", ":path=/", ":authority=h", ":scheme=", "content-length=0"],
        BodyLength::Length(0),
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n",
        &[
            ":method=POST", ":path=/", ":authority=h", ":scheme=",
            "content-length=18446744073709551615",
        ],
        BodyLength::Length(u64::MAX),
    ),
    (
        b"GET / HTTP/1.1\r\nTransfer-Encoding:\tChunKed \r\nHost: h\r\nX: y\r\n\r\n",
        &[":method=GET", ":path=/", ":authority=h", ":scheme=", "x=y"],
        BodyLength::Chunked,
    ),
    (
        b"GET HTTPS://abs.example:8443/p?x HTTP/1.1\r\nX: y\r\nHost: other\r\n\r\n",
        &[":method=GET", ":path=/p?x", ":authority=abs.example:8443", ":scheme=https", "x=y"],
        BodyLength::None,
    ),
    (
        b"GET http://[::1]:80 HTTP/1.1\r\n\r\n",
        &[":method=GET", ":path=/", ":authority=[::1]:80", ":scheme=http"],
        BodyLength::None,
    ),
    (
        b"GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n",
        &[":method=GET", ":path=?x", ":authority=h", ":scheme=http"],
        BodyLength::None,
    ),
    (
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        &[":method=OPTIONS", ":path=*", ":authority=h", ":scheme="],
        BodyLength::None,
    ),
    (
        b"CONNECT h:443 HTTP/1.1\r\nHost: other\r\nContent-Length: 0\r\n\r\n",
        &[":method=CONNECT", ":authority=h:443", ":scheme=", "content-length=0"],
        BodyLength::None,
    ),
    (
        b"GET /a\"b<>\\^`{|}%zz//.. HTTP/1.1\r\nHost:\r\nx!#$%&'*+-.^_`|~1: \xff\xc3\xa9\r\n\r\n",
        &[
            ":method=GET", ":path=/a\\\"b<>\\\\^`{|}%zz//..", ":authority=", ":scheme=",
            "x!#$%&\\'*+-.^_`|~1=\\xff\\xc3\\xa9",
        ],
        BodyLength::None,
    ),
    (
        b"TRACE / HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n",
        &[":method=TRACE", ":path=/", ":authority=h", ":scheme=", "transfer_encoding=chunked"],
        BodyLength::None,
    ),
];

/// Requests that are refused. Envoy 1.40 gives the same verdict where no comment says otherwise.
const REFUSED: &[(&[u8], Reject)] = &[
    // The request line.
    (b"JUNK\r\n\r\n", Reject::Malformed),
    (b"\x16\x03\x01", Reject::Malformed),
    (b"GET\r\n\r\n", Reject::Malformed),
    (b"GET \r\n\r\n", Reject::Malformed),
    (b"GET HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"FOO / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GETX / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reject::Malformed),
    (b" GET / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET /p ath HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET /\tp HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidCharacters),
    (b"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidCharacters),
    (b"GET / http/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/01.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1x\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTPS/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET /p\r\n\r\n", Reject::LowVersion),
    (b"GET /p \r\n\r\n", Reject::LowVersion),
    (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", Reject::LowVersion),
    (b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", Reject::LowVersion),
    (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", Reject::LowVersion),
    (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", Reject::LowVersion),
    // Envoy takes these: more than one space, or tabs, between the parts.
    (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", Reject::Malformed),
    // Line ends and empty lines that are not CRLF; Envoy takes them.
    (b"GET / HTTP/1.1\nHost: h\n\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\n", Reject::Malformed),
    (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"\r\n \r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    // Targets.
    (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"OPTIONS *a HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget), // Envoy: 404
    (b"GET p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET http:/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET ://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http:///p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://h:/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://h:x/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://h:99999/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://[::1/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://[h]/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://[::1]x/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://a_b/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://a~b/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://a,b/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://h%41/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://u@v@h/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"GET http://u:p@h/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget), // Envoy: drops u:p@
    (b"GET ftp://h/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidScheme),
    (b"GET http://h#f HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET http://h/p#f HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Fragment),
    (b"GET /p#f HTTP/1.1\r\nHost: h\r\n\r\n", Reject::Fragment),
    (b"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"CONNECT /p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"CONNECT h:80/p HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"CONNECT u@h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"CONNECT :80 HTTP/1.1\r\nHost: h\r\n\r\n", Reject::InvalidTarget),
    (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", Reject::BodyOfConnect),
    (b"CONNECT h:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Reject::TransferEncoding),
    // Host.
    (b"GET / HTTP/1.1\r\n\r\n", Reject::MissingHost),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Reject::InvalidAuthority),
    (b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", Reject::InvalidAuthority),
    (b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", Reject::InvalidAuthority),
    (b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", Reject::InvalidAuthority),
    (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Reject::InvalidAuthority), // Envoy: taken
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Reject::InvalidAuthority), // Envoy: `a,b`
    (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Reject::InvalidAuthority), // Envoy: `a,a`
    (b"GET http://h/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Reject::InvalidAuthority), // same
    (b"GET / HTTP/1.1\r\n:authority: a\r\n\r\n", Reject::Malformed),
    // Field lines.
    (b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX(: a\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX\xe9: a\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX\x0b: a\r\n\r\n", Reject::InvalidCharacters),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", Reject::InvalidCharacters),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n", Reject::InvalidCharacters),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n", Reject::InvalidCharacters),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", Reject::InvalidCharacters), // Envoy: `ab`
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n", Reject::InvalidCharacters), // Envoy: `a`
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", Reject::Malformed), // Envoy: `a b`
    (b"GET / HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n", Reject::Malformed),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n \r\n\r\n", Reject::Malformed), // Envoy: `a`
    // Framing.
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \"5\"\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \xd9\xa5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\ncontent-length: 6\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n", Reject::Malformed),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reject::LengthAndChunked,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        Reject::LengthAndChunked,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n",
        Reject::LengthAndChunked,
    ),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n", Reject::Malformed),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", Reject::Malformed), // Envoy: taken
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", Reject::InvalidCharacters),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\x00\r\n\r\n", Reject::InvalidCharacters),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunke\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ch\tunked\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked,\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ,chunked\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity, chunked\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", Reject::TransferEncoding),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", Reject::TransferEncoding),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reject::TransferEncoding,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reject::TransferEncoding,
    ),
    // Envoy takes this one: the empty line drops out.
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reject::TransferEncoding,
    ),
];

#[test]
fn requests_that_are_taken() {
    for (bytes, fields, body) in TAKEN {
        let (head, shown) = request(bytes).unwrap().unwrap();
        assert_eq!(shown, lines(fields), "{}", bytes.escape_ascii());
        assert_eq!(head.body, *body, "{}", bytes.escape_ascii());
        let end = bytes
            .windows(4)
            .rposition(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        assert_eq!(head.consumed, end, "{}", bytes.escape_ascii());
    }
}

#[test]
fn requests_that_are_refused() {
    for (bytes, verdict) in REFUSED {
        let parsed = request(bytes);
        assert_eq!(
            parsed.as_ref().err(),
            Some(verdict),
            "{}: {parsed:?}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn verdicts_do_not_depend_on_reads() {
    let refused = REFUSED.iter().map(|(bytes, _)| *bytes);
    for bytes in TAKEN.iter().map(|(bytes, _, _)| *bytes).chain(refused) {
        let whole = request(bytes);
        for step in 1..bytes.len() {
            assert_eq!(
                request_in_steps(bytes, step),
                whole,
                "{step}: {}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn a_head_is_incomplete_until_its_last_byte() {
    for (bytes, _, _) in TAKEN {
        let (head, _) = request(bytes).unwrap().unwrap();
        for end in 0..head.consumed {
            assert_eq!(
                request(&bytes[..end]),
                Ok(None),
                "{}",
                bytes[..end].escape_ascii()
            );
        }
    }
}

#[test]
fn a_parser_starts_anew_after_each_head() {
    let rules = RequestRules::default();
    let (mut parser, mut headers) = (HeadParser::new(), Headers::new());
    let buf = b"GET /1 HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: i\r\n\r\n";
    let first = parser.request(buf, &rules, &mut headers).unwrap().unwrap();
    assert!(!parser.has_started());
    assert_eq!(
        parser.request(&buf[first.consumed..][..2], &rules, &mut headers),
        Ok(None)
    );
    assert!(!parser.has_started(), "an empty line is no request");
    let second = parser
        .request(&buf[first.consumed..], &rules, &mut headers)
        .unwrap()
        .unwrap();
    assert_eq!(first.consumed + second.consumed, buf.len());
    assert_eq!(
        shown(&headers),
        lines(&[":method=GET", ":path=/2", ":authority=i", ":scheme="])
    );
    assert_eq!(parser.request(b"G", &rules, &mut headers), Ok(None));
    assert!(parser.has_started());
    assert_eq!(
        parser.request(b"G\n", &rules, &mut headers),
        Err(Reject::Malformed)
    );
    assert!(!parser.has_started());
}

#[test]
fn what_a_client_wants_of_the_connection() {
    let cases: &[(&str, bool, bool, bool)] = &[
        // fields, keep_alive, upgrade, expect_continue
        ("", true, false, false),
        ("Connection: keep-alive\r\n", true, false, false),
        ("Connection: x, Close\r\n", false, false, false),
        (
            "Connection: a\r\nConnection: close\r\n",
            false,
            false,
            false,
        ),
        ("Connection: closed\r\n", true, false, false),
        ("Proxy-Connection: close\r\n", false, false, false),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            true,
            true,
            false,
        ),
        (
            "Connection: keep-alive\r\nConnection: UPGRADE\r\nUpgrade: websocket\r\n",
            true,
            true,
            false,
        ),
        ("Upgrade: websocket\r\n", true, false, false),
        ("Connection: Upgrade\r\n", true, false, false),
        (
            "Connection: xupgrade\r\nUpgrade: websocket\r\n",
            true,
            false,
            false,
        ),
        (
            "Connection: Upgrade;x\r\nUpgrade: websocket\r\n",
            true,
            false,
            false,
        ),
        (
            "Connection: Upgrade\r\nUpgrade: H2C\r\n",
            true,
            false,
            false,
        ),
        (
            "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
            true,
            true,
            false,
        ),
        ("Expect: 100-Continue\r\n", true, false, true),
        ("Expect: 200-ok\r\n", true, false, false),
        (
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
            true,
            false,
            false,
        ),
        ("Expect:\r\nExpect: 100-continue\r\n", true, false, true),
    ];
    for (fields, keep_alive, upgrade, expect_continue) in cases {
        let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (head, _) = request(bytes.as_bytes()).unwrap().unwrap();
        let seen = (head.keep_alive, head.upgrade, head.expect_continue);
        assert_eq!(seen, (*keep_alive, *upgrade, *expect_continue), "{fields}");
    }
}

#[test]
fn http_10_where_it_is_accepted() {
    let rules = RequestRules {
        accept_http_10: true,
        default_host_for_http_10: (*b"fallback").into(),
        ..RequestRules::default()
    };
    let (head, fields) = request_with(&rules, b"GET / HTTP/1.0\r\nX: y\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(head.version, Protocol::Http10);
    assert!(!head.keep_alive);
    assert_eq!(
        fields,
        lines(&[
            ":method=GET",
            ":path=/",
            ":authority=fallback",
            ":scheme=",
            "x=y"
        ])
    );
    let bytes =
        b"GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\nExpect: 100-continue\r\n\r\n";
    let (head, _) = request_with(&rules, bytes).unwrap().unwrap();
    assert!(head.keep_alive && !head.expect_continue);
    let refused: &[(&[u8], Reject)] = &[
        (b"GET / HTTP/1.1\r\n\r\n", Reject::MissingHost),
        (b"GET /\r\n\r\n", Reject::LowVersion), // Envoy takes this and the next two as HTTP/1.0.
        (b"GET / HTTP/0.9\r\n\r\n", Reject::LowVersion),
        (b"GET / HTTP/2.0\r\n\r\n", Reject::LowVersion),
        // Envoy takes it; RFC 9112 §6.1 calls it faulty.
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reject::TransferEncoding,
        ),
    ];
    for (bytes, verdict) in refused {
        assert_eq!(
            request_with(&rules, bytes),
            Err(*verdict),
            "{}",
            bytes.escape_ascii()
        );
    }
    let rules = RequestRules {
        default_host_for_http_10: Box::default(),
        ..rules
    };
    assert_eq!(
        request_with(&rules, b"GET / HTTP/1.0\r\n\r\n"),
        Err(Reject::MissingHost)
    );
}

#[test]
fn absolute_form_where_it_is_not_allowed_stays_a_path() {
    let rules = RequestRules {
        allow_absolute_url: false,
        ..RequestRules::default()
    };
    let bytes = b"GET http://a/p HTTP/1.1\r\nHost: h\r\n\r\n";
    let (_, fields) = request_with(&rules, bytes).unwrap().unwrap();
    assert_eq!(
        fields,
        lines(&[
            ":method=GET",
            ":path=http://a/p",
            ":authority=h",
            ":scheme="
        ])
    );
}

#[test]
fn underscores_in_names() {
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nx_a: 1\r\nX-B: 1\r\n\r\n";
    let with = |underscores| {
        let parsed = request_with(
            &RequestRules {
                underscores,
                ..RequestRules::default()
            },
            bytes,
        );
        parsed.map(|head| head.unwrap().1.contains("x_a"))
    };
    assert_eq!(with(Underscores::Allow), Ok(true));
    assert_eq!(with(Underscores::Drop), Ok(false));
    assert_eq!(with(Underscores::Reject), Err(Reject::Underscore));
}

#[test]
fn limits_count_bytes_on_the_wire_and_lines() {
    let of_size = |size: usize| {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
        format!("{start}{}\r\n\r\n", "a".repeat(size - start.len() - 4)).into_bytes()
    };
    assert!(request(&of_size(61440)).unwrap().is_some());
    assert_eq!(request(&of_size(61441)), Err(Reject::HeadTooLarge));
    assert_eq!(request(&of_size(61441)[..61440]), Ok(None));
    assert_eq!(
        request(&"GET /".repeat(20_000).into_bytes()),
        Err(Reject::HeadTooLarge)
    );
    assert_eq!(request(&b"\r\n".repeat(40_000)), Err(Reject::HeadTooLarge));
    let of_lines = |lines: usize| {
        let fields: String = (1..lines).map(|line| format!("x-{line}: a\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes()
    };
    assert!(request(&of_lines(100)).unwrap().is_some());
    assert_eq!(request(&of_lines(101)), Err(Reject::TooManyFields));
}

#[test]
fn long_names_are_put_into_lower_case_too() {
    for length in [63, 64, 65, 1000] {
        let bytes = format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{}: 1\r\n\r\n",
            "Ab".repeat(length)
        );
        let (_, fields) = request(bytes.as_bytes()).unwrap().unwrap();
        assert!(
            fields.ends_with(&format!("{}=1\n", "ab".repeat(length))),
            "{length}"
        );
    }
    let rules = RequestRules {
        limits: HeadLimits {
            bytes: 1 << 20,
            fields: 100,
        },
        ..RequestRules::default()
    };
    let bytes = format!(
        "GET / HTTP/1.1\r\nHost: h\r\n{}: 1\r\n\r\n",
        "a".repeat(65536)
    );
    assert_eq!(
        request_with(&rules, bytes.as_bytes()),
        Err(Reject::Malformed)
    );
}

#[test]
fn every_verdict_has_a_reply() {
    for (_, verdict) in REFUSED {
        assert!(matches!(verdict.status(), 400 | 426 | 431 | 501));
        assert_eq!(verdict.body().is_empty(), verdict.head_is_known());
        assert_eq!(verdict.flags().is_empty(), verdict.head_is_known());
        assert!(!verdict.details().is_empty());
    }
}
