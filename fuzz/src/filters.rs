//! Filters that take bodies and fields apart, over the SDK's fake host.

use nuncio_filter_grpc_web::GrpcWeb;
use nuncio_filter_stateful_session::StatefulSession;
use nuncio_sdk::Flow;
use nuncio_sdk::testing::{Configured, Host, Stream, Value, json};

/// Takes `data` as what a client of gRPC-Web sends and is sent: the first two bytes say how long the
/// request is and how both are cut. What becomes of either may not depend on the cuts, and a response can
/// be read back.
pub fn grpc_web(data: &[u8]) {
    let [length, step, data @ ..] = data else {
        return;
    };
    let (request, response) = data.split_at(data.len().min(usize::from(*length)));
    let step = usize::from(*step) + 1;
    let whole = sent(request, request.len().max(1));
    // Text behind padding is refused where both come at once, as in Envoy.
    let padding = request.iter().position(|byte| *byte == b'=');
    if padding.is_none_or(|at| request[at..].len() < 4) {
        assert_eq!(sent(request, step), whole, "in steps of {step}");
    }
    let text = answered(response, response.len().max(1));
    assert_eq!(answered(response, step), text, "in steps of {step}");
    let bytes = from_base64(&text);
    if ends_within(response) {
        // Less than a group of three may be missing, and nothing follows.
        assert_eq!(bytes, response[..bytes.len()]);
        assert!(response.len() - bytes.len() < 3);
        return;
    }
    let kept = bytes.len() - TRAILERS.len();
    assert_eq!(&bytes[kept..], TRAILERS, "trailers are the last frame");
    assert_eq!(&bytes[..kept], response);
}

/// Whether a message of gRPC has begun there and not ended.
fn ends_within(mut stream: &[u8]) -> bool {
    while let [_flags, a, b, c, d, rest @ ..] = stream {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(behind) = rest.get(length..) else {
            return true;
        };
        stream = behind;
    }
    !stream.is_empty()
}

/// The frame that `grpc-status: 0` is.
const TRAILERS: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";

fn call() -> Stream<GrpcWeb> {
    thread_local! {
        static FILTER: Configured<GrpcWeb> = configured(json!({}));
    }
    let mut stream = FILTER.with(Configured::stream);
    let text = "application/grpc-web-text";
    let head = [
        (":method", "POST"),
        (":path", "/a.B/c"),
        ("content-type", text),
        ("accept", text),
    ];
    assert_eq!(stream.on_request_headers(&head, false), Ok(Flow::Next));
    stream
}

/// What an upstream gets of a request; none where it is refused.
fn sent(text: &[u8], step: usize) -> Option<Vec<u8>> {
    let mut stream = call();
    let mut got = Vec::new();
    for piece in text.chunks(step).chain([&[][..]]) {
        let end = piece.is_empty();
        match stream.on_request_body(piece, end) {
            Ok(Flow::Next) => got.extend_from_slice(stream.body().unwrap_or_default()),
            Ok(Flow::Reply(reply)) => {
                assert_eq!(reply.status, 400);
                return None;
            }
            other => panic!("{other:?}"),
        }
    }
    Some(got)
}

/// What a client gets of a response, trailers included.
fn answered(body: &[u8], step: usize) -> Vec<u8> {
    let mut stream = call();
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    assert_eq!(stream.on_response_headers(&head, false), Ok(Flow::Next));
    let mut got = Vec::new();
    for piece in body.chunks(step) {
        assert_eq!(stream.on_response_body(piece, false), Ok(()));
        got.extend_from_slice(stream.body().unwrap_or_default());
    }
    let trailers = [("grpc-status", "0")];
    assert_eq!(stream.on_response_trailers(&trailers), Ok(()));
    got.extend_from_slice(stream.added_body());
    got
}

/// Base64 in groups, each of which may end with padding.
fn from_base64(text: &[u8]) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0, "whole groups");
    let mut bytes = Vec::new();
    for group in text.chunks(4) {
        let mut number = 0u32;
        let mut padding = 0;
        for byte in group {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    padding += 1;
                    0
                }
                other => panic!("{other} is no digit"),
            };
            number = number << 6 | u32::from(digit);
        }
        bytes.extend_from_slice(&number.to_be_bytes()[1..4 - padding]);
    }
    bytes
}

/// Takes `data` as what clients bring of their sessions, in a cookie, a field and an envelope. It leads to
/// an address of some length, or to none, and what they are given leads back.
pub fn sessions(data: &[u8]) {
    thread_local! {
        static FILTERS: [(Configured<StatefulSession>, &'static str, &'static str); 3] = filters();
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return;
    }
    FILTERS.with(|filters| {
        for (filter, brought, given) in filters {
            let (_, kept) = visit(filter, &[(brought, text)], given);
            // Who comes back to the same endpoint is given nothing.
            let Some(kept) = kept else { continue };
            let kept = match *given {
                "set-cookie" => kept.split(';').next().unwrap_or_default(),
                _ => &*kept,
            };
            let (host, _) = visit(filter, &[(brought, kept)], given);
            assert_eq!(host.as_deref(), Some(ENDPOINT), "{kept}");
        }
    });
}

const ENDPOINT: &str = "10.0.0.1:80";

fn filters() -> [(Configured<StatefulSession>, &'static str, &'static str); 3] {
    let by = |kind: &str, state: Value| {
        let kind = format!("type.googleapis.com/envoy.extensions.http.stateful_session.{kind}");
        let mut state = state;
        state["@type"] = json!(kind);
        configured(json!({ "session_state": { "name": "s", "typed_config": state } }))
    };
    let cookie = json!({ "cookie": { "name": "id", "ttl": "60s" } });
    [
        (
            by("cookie.v3.CookieBasedSessionState", cookie),
            "cookie",
            "set-cookie",
        ),
        (
            by(
                "header.v3.HeaderBasedSessionState",
                json!({ "name": "x-session" }),
            ),
            "x-session",
            "x-session",
        ),
        (
            by(
                "envelope.v3.EnvelopeSessionState",
                json!({ "header": { "name": "x-own" } }),
            ),
            "x-own",
            "x-own",
        ),
    ]
}

/// The address that a request leads to, and what its response gives.
fn visit(
    filter: &Configured<StatefulSession>,
    fields: &[(&str, &str)],
    given: &str,
) -> (Option<String>, Option<String>) {
    let mut stream = filter.stream();
    let head = [&[(":path", "/")], fields].concat();
    assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
    let host = stream.metadata("nuncio.upstream", "host");
    assert!(host.as_ref().is_none_or(|host| host.len() <= 3 * 256));
    stream.set_attribute("upstream.address", ENDPOINT);
    let response = [(":status", "200"), ("x-own", "mine")];
    assert_eq!(stream.on_response_headers(&response, true), Ok(Flow::Next));
    (host, stream.response_header(given))
}

fn configured<F: nuncio_sdk::Filter>(document: Value) -> Configured<F> {
    let host = Host::new();
    host.set_operator("START_TIME", "1000");
    host.configure(document).expect("a good configuration")
}
