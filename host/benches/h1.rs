//! What a head costs: nanoseconds for a parse and for an encoding, with buffers that have grown.
//!
//! Run with `cargo bench --bench h1`. It prints, and asserts nothing: the machine decides.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its result and may fail"
)]
#![expect(clippy::disallowed_methods, reason = "a bench measures the real time")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use nuncio::exchange::Protocol;
use nuncio::h1::body::{Decoded, Decoder};
use nuncio::h1::head::HeadParser;
use nuncio::h1::{BodyLength, HeadLimits, MethodKind, RequestRules, ResponseRules, encode};
use nuncio::headers::Headers;

const REQUEST: &[u8] = b"GET /api/v1/items/4711?expand=owner HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko\r\n\
    Accept: text/html,application/json;q=0.9,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Connection: keep-alive\r\n\
    X-Tenant-Id: 1f9c2\r\n\
    Cookie: session=0123456789abcdef\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 1234\r\n\
    Date: Tue, 24 Nov 2026 03:24:22 GMT\r\n\
    Server: origin\r\n\
    Cache-Control: no-store\r\n\
    Etag: \"abcdef\"\r\n\
    X-Trace: 0123456789\r\n\
    Vary: accept-encoding\r\n\r\n";

fn main() {
    let rules = RequestRules::default();
    let (mut parser, mut headers) = (HeadParser::new(), Headers::new());
    println!(
        "request of {} bytes, response of {} bytes",
        REQUEST.len(),
        RESPONSE.len()
    );
    measure("parse request", || {
        black_box(parser.request(black_box(REQUEST), &rules, &mut headers))
            .unwrap()
            .unwrap();
    });
    let mut out = BytesMut::with_capacity(4096);
    measure("encode request", || {
        out.clear();
        encode::encode_request(&mut out, black_box(&headers), BodyLength::None).unwrap();
    });
    measure("parse response", || {
        let parsed = parser.response(
            black_box(RESPONSE),
            ResponseRules::default(),
            MethodKind::Get,
            &mut headers,
        );
        black_box(parsed).unwrap().unwrap();
    });
    measure("encode response", || {
        out.clear();
        let body = BodyLength::Length(1234);
        encode::encode_response(
            &mut out,
            Protocol::Http11,
            200,
            black_box(&headers),
            body,
            false,
        );
    });
    let mut trailers = Headers::new();
    let mut wire = BytesMut::new();
    for _ in 0..100 {
        encode::encode_chunk(&mut wire, &[b'x'; 40]);
    }
    encode::encode_last_chunk(&mut wire, None);
    measure(
        "decode 100 chunks of 40 bytes (with the copy to decode)",
        || {
            let mut buf = BytesMut::from(&wire[..]);
            let mut decoder = Decoder::new(BodyLength::Chunked, HeadLimits::REQUEST);
            while let Decoded::Data(data) = decoder.decode(&mut buf, &mut trailers).unwrap() {
                black_box(data.remaining());
            }
        },
    );
}

/// Prints the best of some rounds: what the code costs, not what the machine does besides.
fn measure(name: &str, mut run: impl FnMut()) {
    const TURNS: u32 = 20_000;
    let best = (0..40)
        .map(|_| {
            let start = Instant::now();
            (0..TURNS).for_each(|_| run());
            start.elapsed() / TURNS
        })
        .min()
        .unwrap_or_default();
    println!("{name}: {} ns", best.as_nanos());
}
