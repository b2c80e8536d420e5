//! Trailers and heads with as many bytes as they may have, and with more.

use nuncio_tests::compare::case::Case;
use nuncio_tests::frames::{self, flag, kind};

/// A field block in as many frames as it takes.
fn in_frames(flags: u8, block: &[u8]) -> Vec<u8> {
    let mut parts = block.chunks(16_384).peekable();
    let (mut bytes, mut kind, mut flags) = (Vec::new(), kind::HEADERS, flags);
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= flag::END_HEADERS;
        }
        bytes.extend(frames::frame(kind, flags, 1, part));
        (kind, flags) = (kind::CONTINUATION, flag::NONE);
    }
    bytes
}

/// Fields with as many bytes as there may be, with more, and with more than a codec may hold.
fn large() -> [(&'static str, Vec<(String, String)>); 5] {
    let of = |sizes: &[usize]| -> Vec<(String, String)> {
        let fields = sizes.iter().enumerate();
        let field = |(at, size): (usize, &usize)| (format!("t{at}"), "v".repeat(size - 2));
        fields.map(field).collect()
    };
    [
        ("large", of(&[61_440])),
        ("many large", of(&[3071; 20])),
        ("too large", of(&[61_441])),
        ("one much too large and a small", of(&[150_000, 3])),
        ("many too large", of(&[10_000; 20])),
    ]
}

pub(super) fn trailers() -> [(&'static str, Vec<u8>); 5] {
    large().map(|(name, fields)| (name, in_frames(flag::END_STREAM, &frames::block(&fields))))
}

/// Answers whose heads or trailers are as large as they may be, and larger.
pub(super) fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut answer = |name: &str, bytes: Vec<u8>| {
        let request = frames::get(1, "/frames");
        cases.push(Case::frames(name, request, Some(1)).frames_reply(bytes));
    };
    let ok = frames::headers(1, flag::NONE, &[(":status", "200")]);
    let body = frames::data(1, flag::NONE, b"abc");
    for (name, trailers) in trailers() {
        let bytes = [&*ok, &body, &trailers].concat();
        answer(&format!("{name} trailers, answered"), bytes);
    }
    let end = frames::data(1, flag::END_STREAM, b"abc");
    for (status, behind) in [("200", &end), ("103", &[&*ok, &end].concat())] {
        let block = |size: usize| {
            let value = "v".repeat(size - ":status200t".len());
            frames::block(&[(":status", status), ("t", &value)])
        };
        for (name, size) in [
            ("large", 61_440),
            ("too large", 61_441),
            ("larger", 100_000),
        ] {
            let head = in_frames(flag::NONE, &block(size));
            answer(
                &format!("a {name} head of a {status}"),
                [&*head, behind].concat(),
            );
        }
    }
    cases
}
