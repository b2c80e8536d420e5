//! Bodies as they come in, in any pieces: framing, trailers, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::h1::encode;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 200,
    fields: 3,
};

/// All that a body gives: its data, its trailers as text, and what is left behind it.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    data: Vec<u8>,
    trailers: Option<String>,
    rest: Vec<u8>,
}

/// Decodes `wire`, which comes in pieces of `step` bytes. An error comes with the data before it.
fn decode(length: BodyLength, wire: &[u8], step: usize) -> Result<Whole, (BodyError, Vec<u8>)> {
    let mut decoder = Decoder::new(length, LIMITS);
    let (mut buf, mut trailers, mut data) = (BytesMut::new(), Headers::new(), Vec::new());
    let mut pieces = wire.chunks(step);
    loop {
        match decoder.decode(&mut buf, &mut trailers) {
            Ok(Decoded::Data(piece)) => {
                assert!(!piece.is_empty());
                data.extend_from_slice(&piece);
            }
            Ok(Decoded::NeedMore) => match pieces.next() {
                Some(piece) => buf.extend_from_slice(piece),
                None => match decoder.finish() {
                    Ok(()) => {}
                    Err(error) => return Err((error, data)),
                },
            },
            Ok(end @ (Decoded::Trailers | Decoded::End)) => {
                assert!(decoder.is_finished());
                assert_eq!(
                    decoder.decode(&mut buf, &mut trailers),
                    Ok(Decoded::End),
                    "stays ended"
                );
                let shown = trailers.iter().map(|field| {
                    format!(
                        "{}={}\n",
                        field.name.escape_ascii(),
                        field.value.escape_ascii()
                    )
                });
                let trailers = (end == Decoded::Trailers).then(|| shown.collect());
                buf.extend_from_slice(&pieces.collect::<Vec<_>>().concat());
                return Ok(Whole {
                    data,
                    trailers,
                    rest: buf.to_vec(),
                });
            }
            Err(error) => {
                assert_eq!(
                    decoder.decode(&mut buf, &mut trailers),
                    Err(error),
                    "stays failed"
                );
                return Err((error, data));
            }
        }
    }
}

fn whole(data: &[u8], rest: &[u8]) -> Result<Whole, (BodyError, Vec<u8>)> {
    Ok(Whole {
        data: data.to_vec(),
        trailers: None,
        rest: rest.to_vec(),
    })
}

/// Checks a chunked body however it is cut.
fn check(wire: &[u8], expected: &Result<Whole, (BodyError, Vec<u8>)>) {
    for step in 1..=wire.len() {
        let decoded = decode(BodyLength::Chunked, wire, step);
        assert_eq!(&decoded, expected, "in {step}: {}", wire.escape_ascii());
    }
}

#[test]
fn bodies_without_chunks() {
    for step in 1..12 {
        assert_eq!(decode(BodyLength::None, b"next", step), whole(b"", b"next"));
        assert_eq!(
            decode(BodyLength::Length(0), b"next", step),
            whole(b"", b"next")
        );
        assert_eq!(
            decode(BodyLength::Length(4), b"bodynext", step),
            whole(b"body", b"next")
        );
        assert_eq!(
            decode(BodyLength::UntilClose, b"body", step),
            whole(b"body", b"")
        );
        let cut = Err((BodyError::Truncated, b"bod".to_vec()));
        assert_eq!(decode(BodyLength::Length(4), b"bod", step), cut);
    }
}

#[test]
fn what_remains_of_a_length() {
    let mut decoder = Decoder::new(BodyLength::Length(5), LIMITS);
    let (mut buf, mut trailers) = (BytesMut::from(&b"ab"[..]), Headers::new());
    assert_eq!(decoder.remaining(), Some(5));
    assert_eq!(
        decoder.decode(&mut buf, &mut trailers),
        Ok(Decoded::Data(Bytes::from("ab")))
    );
    assert_eq!(decoder.remaining(), Some(3));
    buf.extend_from_slice(b"cde");
    assert_eq!(
        decoder.decode(&mut buf, &mut trailers),
        Ok(Decoded::Data(Bytes::from("cde")))
    );
    assert!(decoder.is_finished(), "known with the last byte");
}

#[test]
fn chunks_that_are_taken() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"5\r\nabcde\r\n0\r\n\r\nnext", b"abcde"),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext", b"abcde"),
        (b"0\r\n\r\nnext", b""),
        (b"000\r\n\r\nnext", b""),
        (b"A\r\n0123456789\r\n0;last\r\n\r\nnext", b"0123456789"),
        (b"0a\r\n0123456789\r\n0\r\n\r\nnext", b"0123456789"),
        (
            b"00000000000000000000000005\r\nabcde\r\n0\r\n\r\nnext",
            b"abcde",
        ),
        (b"5;\r\nabcde\r\n0\r\n\r\nnext", b"abcde"),
        (b"5 ;ext\r\nabcde\r\n0\r\n\r\nnext", b"abcde"),
        (b"5; a = \"b;\\\"c\" \t\r\nabcde\r\n0\r\n\r\nnext", b"abcde"),
        // Some old servers pad their sizes.
        (b"5  \t\r\nabcde\r\n0  \r\n\r\nnext", b"abcde"),
        (b"2\r\n\r\n\r\n0\r\n\r\nnext", b"\r\n"),
    ];
    for (wire, data) in cases {
        check(wire, &whole(data, b"next"));
    }
}

#[test]
fn chunks_that_are_refused() {
    let cases: &[(&[u8], BodyError, &[u8])] = &[
        (b"\r\n", BodyError::ChunkSize, b""),
        (b";x\r\n", BodyError::ChunkSize, b""),
        (b"g\r\n", BodyError::ChunkSize, b""),
        (b"-5\r\n", BodyError::ChunkSize, b""),
        (b"+5\r\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""),
        (b" 5\r\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""),
        (b"0x5\r\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""),
        (b"5 x\r\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""), // Envoy: taken
        (b"5\x0b\r\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""),
        (b"5\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""),
        (b"10000000000000000\r\na", BodyError::ChunkSize, b""),
        (b"ffffffffffffffffff\r\na", BodyError::ChunkSize, b""),
        (
            b"5;a\rb\r\nabcde\r\n0\r\n\r\n",
            BodyError::ChunkExtension,
            b"",
        ),
        (
            b"5;a\x00b\r\nabcde\r\n0\r\n\r\n",
            BodyError::ChunkExtension,
            b"",
        ), // Envoy: taken
        (b"5;a\nb\r\nabcde\r\n0\r\n\r\n", BodyError::ChunkSize, b""),
        (b"5\r\nabcde0\r\n\r\n", BodyError::ChunkEnd, b"abcde"),
        (b"5\r\nabcde\n0\r\n\r\n", BodyError::ChunkEnd, b"abcde"), // Envoy: taken
        (b"5\r\nabcde\r0\r\n\r\n", BodyError::ChunkEnd, b"abcde"),
        (b"5\r\nabcdef\r\n0\r\n\r\n", BodyError::ChunkEnd, b"abcde"),
        (b"3\r\nabc\r\n5\r\nabc", BodyError::Truncated, b"abcabc"),
        (b"3\r\nabc\r\n", BodyError::Truncated, b"abc"),
        (b"3\r\nabc\r\n0\r\n", BodyError::Truncated, b"abc"),
        (b"0\n\r\n", BodyError::ChunkSize, b""),
        (b"0\r\n\n", BodyError::Trailers, b""), // Envoy: taken
        (b"0\r\n\r\r\n", BodyError::TrailerCharacters, b""), // Envoy: taken
        (b"0\r\nX : y\r\n\r\n", BodyError::Trailers, b""),
        (b"0\r\n: y\r\n\r\n", BodyError::Trailers, b""),
        (b"0\r\nX y\r\n\r\n", BodyError::Trailers, b""),
        (b"0\r\n X: y\r\n\r\n", BodyError::Trailers, b""),
        (b"0\r\nX: y\n\r\n", BodyError::Trailers, b""), // Envoy: taken
        (b"0\r\nX: y\r\n z\r\n\r\n", BodyError::Trailers, b""), // Envoy: taken
        (b"0\r\nX: \x00\r\n\r\n", BodyError::TrailerCharacters, b""),
        (b"0\r\nX: a\rb\r\n\r\n", BodyError::TrailerCharacters, b""), // Envoy: taken
        (
            b"1\r\na\r\n0\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n",
            BodyError::TooManyTrailers,
            b"a",
        ),
    ];
    for (wire, error, data) in cases {
        check(wire, &Err((*error, data.to_vec())));
    }
    let long = [b"0\r\nX: ".to_vec(), vec![b'a'; 200]].concat();
    check(&long, &Err((BodyError::TrailersTooLarge, Vec::new())));
}

#[test]
fn trailers_are_given_without_the_fields_that_frame() {
    let wire = b"1\r\na\r\n0\r\nX-T: y \r\ncontent-length: 5\r\nX-T:\r\n\r\nnext";
    let expected = Whole {
        data: b"a".to_vec(),
        trailers: Some("x-t=y\nx-t=\n".into()),
        rest: b"next".to_vec(),
    };
    check(wire, &Ok(expected));
    for name in [
        "Transfer-Encoding",
        "Host",
        "Connection",
        "TE",
        "Trailer",
        "Upgrade",
    ] {
        check(
            format!("0\r\n{name}: x\r\n\r\n").as_bytes(),
            &whole(b"", b""),
        );
    }
}

#[test]
fn underscores_in_trailers_are_minded() {
    let wire = b"0\r\nX_T: 1\r\nX-T: 2\r\n\r\n";
    let after = |action| {
        let mut decoder = Decoder::new(BodyLength::Chunked, LIMITS);
        decoder.mind_underscores(action);
        let mut trailers = Headers::new();
        let decoded = decoder.decode(&mut BytesMut::from(&wire[..]), &mut trailers);
        (decoded, trailers.len())
    };
    assert_eq!(after(Underscores::Allow), (Ok(Decoded::Trailers), 2));
    assert_eq!(after(Underscores::Drop), (Ok(Decoded::Trailers), 1));
    assert_eq!(after(Underscores::Reject).0, Err(BodyError::Underscore));
}

#[test]
fn chunk_lines_are_bounded_alone_and_together() {
    let line = |length: usize| [b"1;".to_vec(), vec![b'x'; length - 4], b"\r\n".to_vec()].concat();
    let body = |line: Vec<u8>, count: usize| {
        let chunk = [line, b"a\r\n".to_vec()].concat();
        [chunk.repeat(count), b"0\r\n\r\n".to_vec()].concat()
    };
    let long = body(line(limits::CHUNK_LINE_BYTES), 1);
    assert_eq!(decode(BodyLength::Chunked, &long, 100), whole(b"a", b""));
    for step in [1, 100, 5000] {
        let longer = body(line(limits::CHUNK_LINE_BYTES + 1), 1);
        let decoded = decode(BodyLength::Chunked, &longer, step);
        assert_eq!(decoded, Err((BodyError::ChunkExtension, Vec::new())));
        let endless = decode(BodyLength::Chunked, &[b'0'; 10_000], step);
        assert_eq!(endless, Err((BodyError::ChunkExtension, Vec::new())));
        let (error, data) =
            decode(BodyLength::Chunked, &body(line(116), 10_000), step).unwrap_err();
        assert_eq!(
            (error, data.len()),
            (BodyError::ChunkExtension, 163),
            "100 too many on each"
        );
        let honest = body(b"1;x=y\r\n".to_vec(), 10_000);
        assert_eq!(
            decode(BodyLength::Chunked, &honest, step)
                .unwrap()
                .data
                .len(),
            10_000
        );
    }
}

#[test]
fn small_chunks_become_one_and_large_ones_are_not_copied() {
    let mut decoder = Decoder::new(BodyLength::Chunked, LIMITS);
    let (mut buf, mut trailers) = (BytesMut::new(), Headers::new());
    encode::encode_chunk(&mut buf, b"one, ");
    encode::encode_chunk(&mut buf, b"two, ");
    encode::encode_chunk(&mut buf, b"three");
    encode::encode_chunk(&mut buf, &[b'x'; 100_000]);
    buf.extend_from_slice(b"5\r\nab");
    let at = buf.as_ptr() as usize;
    assert_eq!(
        decoder.decode(&mut buf, &mut trailers),
        Ok(Decoded::Data("one, two, three".into()))
    );
    let Ok(Decoded::Data(large)) = decoder.decode(&mut buf, &mut trailers) else {
        panic!("no data");
    };
    assert_eq!(large.len(), 100_000);
    assert!((large.as_ptr() as usize) < at + 100, "it is where it was");
    assert_eq!(
        decoder.decode(&mut buf, &mut trailers),
        Ok(Decoded::Data("ab".into()))
    );
    assert_eq!(
        decoder.decode(&mut buf, &mut trailers),
        Ok(Decoded::NeedMore)
    );
    assert!(buf.is_empty());
}

proptest! {
    #[test]
    fn any_chunking_gives_the_data_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        step in 1..60usize,
    ) {
        let mut wire = BytesMut::new();
        for chunk in &chunks {
            encode::encode_chunk(&mut wire, chunk);
        }
        encode::encode_last_chunk(&mut wire, None);
        wire.extend_from_slice(b"next");
        prop_assert_eq!(decode(BodyLength::Chunked, &wire, step), whole(&chunks.concat(), b"next"));
    }

    #[test]
    fn any_bytes_give_the_same_verdict_in_any_reads(
        parts in prop::collection::vec(
            prop::sample::select(&["0", "1", "5", "a", "\r\n", "\r\n", "\n", "\r", ";x", " ", "abcde", "X: y"][..]),
            0..24,
        ),
        step in 1..12usize,
    ) {
        let wire = parts.concat().into_bytes();
        let at_once = decode(BodyLength::Chunked, &wire, wire.len().max(1));
        prop_assert_eq!(decode(BodyLength::Chunked, &wire, step), at_once);
    }
}
