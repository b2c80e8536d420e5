//! The HTTP/1 codec: one reading of every message, however it arrives and whoever reads it next.

use bytes::{Bytes, BytesMut};
use nuncio::exchange::Protocol;
use nuncio::h1::body::{BodyError, Decoded, Decoder};
use nuncio::h1::head::{BadResponse, HeadParser, Reject, RequestHead, ResponseHead};
use nuncio::h1::{
    BodyLength, HeadLimits, MethodKind, RequestRules, ResponseRules, Underscores, encode,
};
use nuncio::headers::{Headers, Known, NameCase, NameFormat};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Takes `data` as a request, by rules that the first byte chooses. Its verdict may not depend on reads;
/// and if it is taken, what is sent upstream in its place must be one message, be taken too, and mean the
/// same.
pub fn request(data: &[u8]) {
    let (step, data) = step(data);
    let rules = rules(step);
    let whole = read_request(data, data.len().max(1), &rules);
    assert_eq!(
        read_request(data, step, &rules),
        whole,
        "read in steps of {step}"
    );
    let Ok(Some((head, headers))) = whole else {
        return;
    };
    check_fields(&headers);
    let block = block(&headers);
    let mut wire = BytesMut::new();
    if let Err(error) = encode::encode_request(&mut wire, &block, head.body) {
        // An absolute-form target without a path is taken, and then no route has it.
        assert_eq!(error, encode::Unencodable::Target);
        assert!(
            block
                .known(Known::Path)
                .is_some_and(|path| path.starts_with(b"?"))
        );
        return;
    }
    let more = RequestRules {
        limits: and_framing(HeadLimits::REQUEST),
        allow_custom_methods: true,
        ..RequestRules::default()
    };
    let (again, reread) = read_request(&wire, wire.len(), &more)
        .expect("it is taken")
        .expect("it is whole");
    assert_eq!(again.consumed, wire.len(), "one message");
    assert_eq!(again.method, head.method);
    let framing = |body| {
        if body == BodyLength::Length(0) {
            BodyLength::None
        } else {
            body
        }
    };
    assert_eq!(framing(again.body), framing(head.body));
    assert_eq!(unframed(reread), unframed(headers));
}

/// Takes `data` as a response, to a request whose method the first byte chooses; the same promises.
pub fn response(data: &[u8]) {
    let (step, data) = step(data);
    let method = match step % 3 {
        0 => MethodKind::Get,
        1 => MethodKind::Head,
        _ => MethodKind::Connect,
    };
    let whole = read_response(data, method, data.len().max(1), HeadLimits::RESPONSE);
    assert_eq!(
        read_response(data, method, step, HeadLimits::RESPONSE),
        whole,
        "read in steps of {step}"
    );
    let Ok(Some((head, headers))) = whole else {
        return;
    };
    check_fields(&headers);
    let block = block(&headers);
    let mut wire = BytesMut::new();
    encode::encode_response(
        &mut wire,
        Protocol::Http11,
        head.status,
        &block,
        head.body,
        false,
    );
    let (again, reread) =
        read_response(&wire, method, wire.len(), and_framing(HeadLimits::RESPONSE))
            .expect("it is taken")
            .expect("it is whole");
    assert_eq!(again.consumed, wire.len(), "one message");
    assert_eq!((again.status, again.body), (head.status, head.body));
    if head.body == BodyLength::UntilClose {
        assert!(!again.keep_alive);
    }
    assert_eq!(unframed(reread), unframed(headers));
}

/// Takes `data` as a chunked body. What comes out may not depend on reads, and comes out again when
/// it is sent on.
pub fn chunked(data: &[u8]) {
    let (step, data) = step(data);
    let whole = read_chunks(data, data.len().max(1));
    assert_eq!(read_chunks(data, step), whole, "read in steps of {step}");
    let Body {
        content,
        end: Ok(trailers),
        rest,
    } = whole
    else {
        return;
    };
    assert!(data.ends_with(&rest), "what follows is not touched");
    let mut wire = BytesMut::new();
    content
        .chunks(step)
        .for_each(|piece| encode::encode_chunk(&mut wire, piece));
    encode::encode_last_chunk(&mut wire, Some(&block(&trailers)));
    let again = read_chunks(&wire, wire.len());
    assert_eq!(
        again,
        Body {
            content,
            end: Ok(trailers),
            rest: Vec::new()
        }
    );
}

/// With room for what says how a message is framed, where the one that was read did not say so.
fn and_framing(limits: HeadLimits) -> HeadLimits {
    HeadLimits {
        bytes: limits.bytes + 64,
        fields: limits.fields + 2,
    }
}

/// What is taken, by the highest bits of the first byte.
fn rules(step: usize) -> RequestRules {
    let bit = |bit: usize| (step - 1) >> bit & 1 != 0;
    RequestRules {
        underscores: if bit(5) {
            Underscores::Drop
        } else {
            Underscores::Allow
        },
        accept_http_10: bit(5),
        default_host_for_http_10: if bit(6) {
            (*b"ten.example").into()
        } else {
            Box::default()
        },
        allow_chunked_length: bit(6),
        allow_custom_methods: bit(7),
        names: if bit(7) {
            NameFormat::Kept(NameCase::default())
        } else {
            NameFormat::default()
        },
        ..RequestRules::default()
    }
}

/// The first byte says how large the reads are.
fn step(data: &[u8]) -> (usize, &[u8]) {
    data.split_first()
        .map_or((1, data), |(step, rest)| (usize::from(*step) + 1, rest))
}

/// What is in front of `data` after each read of `step` bytes.
fn prefixes(data: &[u8], step: usize) -> impl Iterator<Item = &[u8]> {
    (step..data.len())
        .step_by(step)
        .chain([data.len()])
        .filter_map(|end| data.get(..end))
}

fn read_request(
    data: &[u8],
    step: usize,
    rules: &RequestRules,
) -> Result<Option<(RequestHead, Fields)>, Reject> {
    let (mut parser, mut headers) = (HeadParser::new(), Headers::new());
    for seen in prefixes(data, step) {
        if let Some(head) = parser.request(seen, rules, &mut headers)? {
            return Ok(Some((head, fields(&headers))));
        }
    }
    Ok(None)
}

fn read_response(
    data: &[u8],
    method: MethodKind,
    step: usize,
    limits: HeadLimits,
) -> Result<Option<(ResponseHead, Fields)>, BadResponse> {
    let (mut parser, mut headers) = (HeadParser::new(), Headers::new());
    for seen in prefixes(data, step) {
        let rules = ResponseRules {
            limits,
            ..ResponseRules::default()
        };
        let parsed = parser.response(seen, rules, method, &mut headers)?;
        if let Some(head) = parsed {
            return Ok(Some((head, fields(&headers))));
        }
    }
    Ok(None)
}

/// A body as it was read: data, then trailers or a fault, then what is behind it.
#[derive(Debug, PartialEq, Eq)]
struct Body {
    content: Vec<u8>,
    end: Result<Fields, BodyError>,
    rest: Vec<u8>,
}

fn read_chunks(data: &[u8], step: usize) -> Body {
    let mut decoder = Decoder::new(BodyLength::Chunked, HeadLimits::REQUEST);
    let (mut buf, mut trailers, mut content) = (BytesMut::new(), Headers::new(), Vec::new());
    let mut reads = data.chunks(step);
    let end = loop {
        match decoder.decode(&mut buf, &mut trailers) {
            Ok(Decoded::Data(piece)) => {
                assert_ne!(piece, Bytes::new(), "data has bytes");
                content.extend_from_slice(&piece);
            }
            Ok(Decoded::NeedMore) => match reads.next() {
                Some(piece) => buf.extend_from_slice(piece),
                None => break Err(decoder.finish().expect_err("it has not ended")),
            },
            Ok(Decoded::Trailers) => break Ok(fields(&trailers)),
            Ok(Decoded::End) => break Ok(Fields::new()),
            Err(error) => break Err(error),
        }
    };
    let rest = if end.is_ok() {
        [&buf[..], &reads.collect::<Vec<_>>().concat()].concat()
    } else {
        Vec::new()
    };
    Body { content, end, rest }
}

fn fields(headers: &Headers) -> Fields {
    headers
        .iter()
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect()
}

fn block(fields: &Fields) -> Headers {
    let mut headers = Headers::new();
    fields
        .iter()
        .for_each(|(name, value)| headers.append_bytes(name, value));
    headers
}

/// Without the fields that encoding may spell otherwise or add, and the scheme, which a target that is
/// a path does not say.
fn unframed(mut fields: Fields) -> Fields {
    fields.retain(|(name, _)| {
        name != b"content-length" && name != b"connection" && name != b":scheme"
    });
    fields
}

/// What holds of every block that a parser filled.
fn check_fields(fields: &Fields) {
    let count = |known: Known| {
        let name = known.as_str().as_bytes();
        fields.iter().filter(|(field, _)| field == name).count()
    };
    assert_eq!(count(Known::TransferEncoding), 0);
    assert!(count(Known::ContentLength) <= 1);
    assert_eq!(count(Known::Method) + count(Known::Status), 1);
    for (name, value) in fields {
        assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase));
        assert!(
            !value
                .iter()
                .chain(name)
                .any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        );
    }
}
