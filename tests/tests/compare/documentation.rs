//! What somebody tries first who reads Envoy's documentation, in one configuration: routes to services,
//! shifted and split traffic, retries, versions by a field, WebSockets, and gRPC. Each in full is in the
//! group of its own.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::h2_client::H2Send;
use nuncio_tests::h2_origin::H2Reply;
use nuncio_tests::origin::{Act, Reply};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";
const MESSAGE: &[u8] = b"\0\0\0\0\x02ab";

pub(crate) fn group() -> Group {
    let mut cases = routing();
    cases.extend(versions());
    cases.extend(retries());
    cases.extend(websocket());
    cases.extend(grpc());
    let breakers = Case::admin(
        "GET /clusters",
        &[
            "first::default_priority::max_retries",
            "first::default_priority::max_requests",
            "other::default_priority::max_retries",
        ],
    );
    // Envoy shows clusters in the order of a table whose seed is an address.
    cases.push(breakers.any_order());
    let config = include_str!("../../cases/documentation.yaml");
    Group::new("documentation", config, cases)
}

/// Which upstream has what comes is compared too.
fn routing() -> Vec<Case> {
    [
        ("a service", "/service/1", ""),
        ("another service", "/service/2/x?y=z", ""),
        ("no service", "/service/3", ""),
        ("all traffic shifted", "/shift/all", ""),
        ("no traffic shifted", "/shift/none", ""),
        ("split by runtime values", "/split", ""),
        ("the canary by a field", "/canary", "x-canary: always\r\n"),
        ("not the canary", "/canary", "x-canary: never\r\n"),
        ("a direct response", "/hello", ""),
    ]
    .map(|(name, path, fields)| Case::get(name, path, fields))
    .into()
}

/// Filters leave what the subset is chosen by, and the route adds its own.
fn versions() -> Vec<Case> {
    [
        ("the default version, once", "/version", ""),
        ("the default version, again", "/version", ""),
        ("a version by a field", "/version", "x-version: 1.0\r\n"),
        (
            "a version that is not there",
            "/version",
            "x-version: 2.0\r\n",
        ),
        (
            "of the route and a field",
            "/version/other",
            "x-version: 1.0\r\n",
        ),
        ("of the route, without one", "/version/other", ""),
        (
            "a field before the route",
            "/version/other",
            "x-stage: prod\r\n",
        ),
    ]
    .map(|(name, path, fields)| Case::get(name, path, fields))
    .into()
}

fn retries() -> Vec<Case> {
    let status = |status: u16| {
        Reply::bytes(format!(
            "HTTP/1.1 {status} Why\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    vec![
        Case::get("no such host twice", "/retry", ""),
        Case::get(
            "the only host fails once",
            "/service/1",
            "x-envoy-retry-on: 5xx\r\n",
        )
        .reply(status(503)),
        Case::get("no retry for a 500", "/service/1", "").reply(status(500)),
    ]
}

fn websocket() -> Vec<Case> {
    let echo = Reply::bytes(SWITCHES).at_head().then(Act::Echo);
    vec![
        Case::steps(
            "a WebSocket at its route",
            vec![
                Step::Send(request("GET", "/ws", UPGRADE, "")),
                Step::ReceiveInterim,
                Step::Send(b"\x81\x02hi".to_vec()),
                Step::ReceiveBytes(4),
                Step::HalfClose,
                Step::ReceiveToEnd,
            ],
        )
        .reply(echo),
        Case::get("a WebSocket elsewhere", "/service/1", UPGRADE),
    ]
}

fn grpc() -> Vec<Case> {
    let reply = || {
        H2Reply::status(200)
            .header("content-type", "application/grpc")
            .body(MESSAGE)
            .trailer("grpc-status", "0")
    };
    let call = H2Send::grpc("/kv.KV/Get").body(MESSAGE);
    let fields = "Content-Type: application/grpc\r\nContent-Length: 5\r\n";
    vec![
        Case::http2("a call", call).h2_reply(reply()),
        Case::request(
            "a call over HTTP/1",
            "POST",
            "/kv.KV/Get",
            fields,
            "\0\0\0\0\0",
        )
        .h2_reply(reply()),
        Case::get("not a call", "/kv.KV/Get", ""),
    ]
}
