//! Heads that are larger than most, where limits are raised, and what filters answer in their own words.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::frames::{self, flag, kind};

/// More fields than a filter may add.
const MANY: usize = 300;
/// More bytes than a filter may add.
const MUCH: usize = 140 * 1024;

/// Nearly as much as a head may have.
const MOST: usize = 8000 * 1024;

/// A GET over HTTP/2 in as many frames as it takes.
fn get(path: &str) -> Vec<u8> {
    const FRAME: usize = 16_384;
    let block = frames::block(&frames::request("GET", path));
    let (first, rest) = block.split_at(FRAME);
    let mut bytes = frames::frame(kind::HEADERS, flag::END_STREAM, 1, first);
    let mut rest = rest.chunks(FRAME).peekable();
    while let Some(part) = rest.next() {
        let end = match rest.peek() {
            Some(_) => flag::NONE,
            None => flag::END_HEADERS,
        };
        bytes.extend(frames::frame(kind::CONTINUATION, end, 1, part));
    }
    bytes
}

pub(crate) fn group() -> Group {
    let many = "x-many: v\r\n".repeat(MANY);
    let much = format!("x-much: {}\r\n", "v".repeat(MUCH));
    let origin = |length| format!("Origin: https://{}.example\r\n", "a".repeat(length));
    let cut = |length| format!("X-Cut: {}bb\r\n", "a".repeat(length));
    let long = (0..10).map(|number| format!("X-Long-{number}: {number}{}\r\n", "v".repeat(8000)));
    let long: String = long.collect();
    let answers = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
    let frames = |length| format!("/frames/{}", "p".repeat(length - 8));
    let cases = vec![
        Case::get("a request of many fields", "/up", &many),
        Case::get("a request with a long field", "/up", &much),
        // Neither side has a place for it.
        Case::frames(
            "a long target",
            get(&format!("/up/{}", "p".repeat(MUCH))),
            Some(1),
        ),
        Case::get("a long target to HTTP/2", &frames(65_535), ""),
        Case::get("a longer target to HTTP/2", &frames(MUCH), ""),
        Case::get("an answer of many fields", "/up", "").reply_bytes(answers(&many)),
        Case::get("an answer with a long field", "/up", "").reply_bytes(answers(&much)),
        Case::get(
            "an origin that an expression is matched against",
            "/up",
            &origin(70 * 1024),
        ),
        Case::get("an origin that comes back", "/up", &origin(MUCH)),
        Case::request(
            "an origin that comes back in an answer to a preflight",
            "OPTIONS",
            "/up",
            &format!("Access-Control-Request-Method: PUT\r\n{}", origin(MUCH)),
            "",
        ),
        Case::get("a field that is cut", "/up", &cut(70 * 1000)).at("read"),
        Case::get("a field that is cut, as long as any", "/up", &cut(MOST)).at("read"),
        Case::get(
            "a field that is added a second time",
            "/up",
            &format!("X-Copied: {}\r\n", "v".repeat(3 * MUCH)),
        )
        .at("read"),
        Case::get("ten fields that are left", "/up", &long).at("read"),
        Case::request(
            "a body that is larger than it may be",
            "POST",
            "/up",
            "Content-Length: 20\r\n",
            "01234567890123456789",
        )
        .at("held")
        .closes(),
        Case::get("a fault", "/up", "").at("faulty"),
        Case::admin(
            "GET /stats?filter=^http.held.downstream_rq_(too_large|response_before|rx_reset)",
            &[],
        ),
    ];
    Group::new("large heads", include_str!("../../cases/large.yaml"), cases)
}
