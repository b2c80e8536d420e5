//! Heads of either kind in any pieces, and what the tests of both share.

use proptest::prelude::*;

use super::request::tests::{request, request_in_steps};
use super::response::tests::{response, response_in_steps};
use super::*;
use crate::headers::Known;

/// A block as text, one field a line, and pseudo-header fields first as they must be.
pub(super) fn shown(headers: &Headers) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    headers
        .iter()
        .map(|field| format!("{}={}\n", text(field.name), text(field.value)))
        .collect()
}

pub(super) fn lines(expected: &[&str]) -> String {
    expected.iter().map(|line| format!("{line}\n")).collect()
}

pub(super) type Parsed<Head, Error> = Result<Option<(Head, String)>, Error>;

/// Bytes that look like a request or response, with something wrong in many of them.
fn messages(start: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(
        &[
            "Host",
            "host ",
            "Content-Length",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "X-A",
            "x_a",
            "",
            " ",
            "\t",
            "X\0",
            "Upgrade",
            ":path",
        ][..],
    );
    let values = prop::sample::select(
        &[
            "h",
            "5",
            "0",
            "+5",
            "chunked",
            "gzip, chunked",
            "\u{b}chunked",
            "close",
            "a\rb",
            "a\nb",
            "a\r\n b",
            "",
            " x ",
            "\u{e9}",
            "upgrade",
            "a b",
        ][..],
    );
    let ends =
        prop::sample::select(&["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", ""][..]);
    let colons = prop::sample::select(&[": ", ": ", ":", " : ", ":\t", ""][..]);
    let line = (names, colons, values, ends).prop_map(|(n, c, v, e)| format!("{n}{c}{v}{e}"));
    let lines = prop::collection::vec(line, 0..6);
    (
        prop::sample::select(start),
        lines,
        prop::sample::select(&["\r\n", "\n", ""][..]),
    )
        .prop_map(|(start, lines, end)| format!("{start}{}{end}", lines.concat()).into_bytes())
}

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: h\r\n",
    "POST /p HTTP/1.1\r\n",
    "GET http://h/p HTTP/1.1\r\n",
    "CONNECT h:1 HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "GET  / HTTP/1.1\r\n",
    "GET /\t HTTP/1.1\r\n",
    "",
];
const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.0 304 X\n",
    "HTTP/1.1 100 C\r\n",
    "HTTP/1.1 2 X\r\n",
];

proptest! {
    #[test]
    fn any_request_gives_the_same_verdict_in_any_reads(bytes in messages(REQUEST_LINES), step in 1..40usize) {
        prop_assert_eq!(request_in_steps(&bytes, step), request(&bytes));
    }

    #[test]
    fn any_response_gives_the_same_verdict_in_any_reads(bytes in messages(STATUS_LINES), step in 1..40usize) {
        prop_assert_eq!(response_in_steps(&bytes, step), response(&bytes));
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = request(&bytes);
        let _ = response(&bytes);
        let _ = request(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat());
        let _ = response(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat());
    }

    #[test]
    fn what_is_taken_has_no_byte_that_could_break_a_line(bytes in messages(REQUEST_LINES)) {
        let mut headers = Headers::new();
        let parsed = HeadParser::new().request(&bytes, &RequestRules::default(), &mut headers);
        if let Ok(Some(_)) = parsed {
            prop_assert!(!headers.may_break_lines());
            prop_assert!(headers.known_all(Known::Authority).count() == 1);
            prop_assert!(headers.known_all(Known::ContentLength).count() <= 1);
            prop_assert!(!headers.has(Known::TransferEncoding));
        }
    }
}

#[test]
fn bytes_of_fields_are_those_of_names_and_values_with_three_for_each_line() {
    let fields = "Host: h\r\nX-Sp: \t a  \r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rules = RequestRules::default();
    let mut headers = Headers::new();
    let mut parser = HeadParser::new();
    let mut parse = |wire: &str| {
        let parsed = parser.request(wire.as_bytes(), &rules, &mut headers);
        let read = parsed.map(|head| head.map(|head| head.field_bytes));
        (read, parser.refused_bytes())
    };
    let whole = format!("GET / HTTP/1.1\r\n{fields}");
    let cut = whole.strip_suffix("\r\n").unwrap();
    assert_eq!(parse(cut), (Ok(None), 0));
    assert_eq!(parse(&whole), (Ok(Some(8 + 8 + 10 + 27)), 0));
    let refused = "GET / HTTP/1.1\r\nx-a: b\r\n\r\n";
    assert_eq!(parse(refused), (Err(Reject::MissingHost), 7));
    assert_eq!(parse(&whole), (Ok(Some(53)), 0));
    let response = format!("HTTP/1.1 200 OK\r\n{fields}");
    let parsed = HeadParser::new().response(
        response.as_bytes(),
        ResponseRules::default(),
        MethodKind::Get,
        &mut headers,
    );
    assert_eq!(parsed.unwrap().unwrap().field_bytes, 53);
}
