//! Content-Length, Transfer-Encoding and chunk syntax in requests.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use nuncio_tests::compare::case::{Case, Group};

use crate::BASIC;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn post(name: &str, headers: &str, body: &str) -> Case {
    Case::request(name, "POST", "/up", headers, body)
}

fn chunked(name: &str, body: &str) -> Case {
    post(name, CHUNKED, body)
}

pub(crate) fn group() -> Group {
    let mut cases = lengths();
    cases.extend(codings());
    cases.extend(chunks());
    Group::new("framing", BASIC, cases)
}

fn lengths() -> Vec<Case> {
    vec![
        post(
            "a body with its length",
            "Content-Length: 5\r\nX-After: 1\r\n",
            "abcde",
        ),
        post("length zero", "Content-Length: 0\r\n", ""),
        post("no length and no coding", "", ""),
        Case::request("a body on GET", "GET", "/up", "Content-Length: 2\r\n", "ab"),
        Case::request(
            "a body on HEAD",
            "HEAD",
            "/up",
            "Content-Length: 2\r\n",
            "ab",
        ),
        Case::request(
            "a body on DELETE",
            "DELETE",
            "/up",
            "Content-Length: 2\r\n",
            "ab",
        ),
        Case::request(
            "length zero on GET",
            "GET",
            "/up",
            "Content-Length: 0\r\n",
            "",
        ),
        post("a length that is not a number", "Content-Length: x\r\n", ""),
        post("a length with a plus", "Content-Length: +3\r\n", "abc"),
        post("a negative length", "Content-Length: -1\r\n", ""),
        post("an empty length", "Content-Length:\r\n", ""),
        post(
            "a length with leading zeros",
            "Content-Length: 003\r\n",
            "abc",
        ),
        post("a hexadecimal length", "Content-Length: 0x3\r\n", "abc"),
        post(
            "a length with space inside",
            "Content-Length: 1 1\r\n",
            "abc",
        ),
        post(
            "a length with space around",
            "Content-Length:  \t3 \t\r\n",
            "abc",
        ),
        post(
            "a length over 64 bits",
            "Content-Length: 99999999999999999999\r\n",
            "",
        ),
        post("a list of equal lengths", "Content-Length: 3, 3\r\n", "abc"),
        post(
            "two equal lengths",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "abc",
        ),
        post(
            "two different lengths",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "abcd",
        ),
        post(
            "length and coding",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "coding and length",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "0\r\n\r\n",
        ),
        post(
            "length zero and coding",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "a larger body",
            "Content-Length: 100000\r\n",
            &"0123456789".repeat(10_000),
        ),
        post(
            "bytes after the body begin a request",
            "Content-Length: 3\r\n",
            "abcGET /up/second HTTP/1.1\r\nHost: a.example\r\n\r\n",
        )
        .and_responses(1),
    ]
}

fn codings() -> Vec<Case> {
    vec![
        post(
            "the coding in another case",
            "Transfer-Encoding: Chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "gzip before chunked",
            "Transfer-Encoding: gzip, chunked\r\n",
            "0\r\n\r\n",
        ),
        post("identity", "Transfer-Encoding: identity\r\n", ""),
        post(
            "an unknown coding",
            "Transfer-Encoding: xchunked\r\n",
            "0\r\n\r\n",
        ),
        post("an empty coding", "Transfer-Encoding:\r\n", ""),
        post(
            "a quoted coding",
            "Transfer-Encoding: \"chunked\"\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunked with a parameter",
            "Transfer-Encoding: chunked;a=b\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunked with a comma",
            "Transfer-Encoding: chunked,\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunked after a tab",
            "Transfer-Encoding:\tchunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunked after a vertical tab",
            "Transfer-Encoding: \u{b}chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunked on a folded line",
            "Transfer-Encoding:\r\n chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "the coding twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "two codings in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "0\r\n\r\n",
        ),
        Case::request(
            "chunked on GET",
            "GET",
            "/up",
            CHUNKED,
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        post(
            "space before the coding's colon",
            "Transfer-Encoding : chunked\r\n",
            "0\r\n\r\n",
        ),
    ]
}

fn chunks() -> Vec<Case> {
    vec![
        chunked("chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        chunked("no chunk but the last", "0\r\n\r\n"),
        chunked("a chunk extension", "3;name=value\r\nabc\r\n0\r\n\r\n"),
        chunked(
            "a quoted chunk extension",
            "3;name=\"a;b\"\r\nabc\r\n0\r\n\r\n",
        ),
        chunked(
            "an extension on the last chunk",
            "3\r\nabc\r\n0;last\r\n\r\n",
        ),
        chunked("trailers", "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        chunked(
            "more trailers than fields of a head",
            &format!("3\r\nabc\r\n0\r\n{}\r\n", "X: 1\r\n".repeat(101)),
        ),
        post(
            "announced trailers",
            "Transfer-Encoding: chunked\r\nTrailer: X-Trailer\r\nTE: trailers\r\n",
            "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        ),
        chunked("a size in upper case", "A\r\n0123456789\r\n0\r\n\r\n"),
        chunked("a size with leading zeros", "003\r\nabc\r\n000\r\n\r\n"),
        chunked("space after the size", "3 \r\nabc\r\n0\r\n\r\n"),
        // These arrive while the request is on its way already: what the upstream got is a race.
        chunked("a size that is not a number", "zz\r\nabc\r\n0\r\n\r\n"),
        chunked("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        chunked("a negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        chunked("an empty size", "\r\nabc\r\n0\r\n\r\n"),
        chunked(
            "a size over 64 bits",
            "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        ),
        chunked("more data than the size", "3\r\nabcX0\r\n\r\n"),
        chunked("bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        chunked("bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        chunked("bare LF at the end", "3\r\nabc\r\n0\n\n"),
        chunked("bare CR after the size", "3\rabc\r\n0\r\n\r\n"),
        chunked(
            "a trailer without colon",
            "3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        ),
        chunked(
            "a length as trailer",
            "3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
        ),
        chunked("a size before space", " 3\r\nabc\r\n0\r\n\r\n"),
    ]
}
