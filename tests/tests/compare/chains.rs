//! Which filter chain a connection gets, and what listener filters make of its first bytes. Chains answer
//! with their names, all of six letters; what TLS clients ask for is in hellos that nobody answers.

use std::time::Duration;

use nuncio_tests::compare::case::{Case, Group, Step, request};

pub(crate) fn group() -> Group {
    let mut cases = names();
    cases.extend(sources());
    cases.extend(headers());
    cases.extend(broken_headers());
    cases.extend(versions());
    cases.extend(limits());
    cases.extend(originals());
    cases.extend(statistics());
    Group::new("chains", include_str!("../../cases/chains.yaml"), cases)
}

/// By a tree of matchers (`filter_chain_matcher`).
pub(crate) fn trees() -> Group {
    let at =
        |name: &str, host: &str, protocols: &[&str]| asks(name, "names", hello(host, protocols));
    let from = |name: &str, from: &str, from_port, to: &str, to_port| {
        asks(name, "addresses", from_to(from, from_port, to, to_port))
    };
    let cases = vec![
        at("how a name ends", "a.test", &[]),
        at("another protocol first", "a.test", &["http/1.1", "h2"]),
        at("not that one", "a.test", &["h2"]),
        at("two protocols", "b.example", &["h2", "http/1.1"]),
        at("two in another order", "b.example", &["http/1.1", "h2"]),
        at("a name in capitals", "a.example", &[]),
        at("how a name begins", "xa", &[]),
        at("the longest leads nowhere", "xyz", &[]),
        at("no name", "", &[]),
        refused("a name of no chain", "names", hello("gone.b", &[])),
        asks("not TLS", "names", b"hello, proxy".to_vec()),
        from("a port", "192.0.2.1", 1, "10.0.0.1", 443),
        from("a range", "192.0.2.1", 1, "10.0.0.1", 80),
        from("a range of IPv6", "2001:db8::1", 1, "::1", 80),
        from("a smaller range", "192.0.2.7", 7, "10.0.0.1", 80),
        from("one that leads nowhere", "192.0.2.7", 8, "10.0.0.1", 80),
        from("one that excludes others", "192.0.2.9", 8, "10.0.0.1", 80),
        refused(
            "no range",
            "addresses",
            from_to("192.0.3.1", 1, "10.0.0.1", 80),
        ),
        from("how an address begins", "192.0.2.1", 1, "10.0.0.1", 81),
        from("the longer beginning", "192.0.2.1", 1, "10.1.0.1", 81),
        from("the peer of the socket", "192.0.2.1", 1, "10.1.0.1", 82),
        from("this machine", "127.0.0.1", 1, "10.1.0.1", 83),
        refused(
            "another machine",
            "addresses",
            from_to("192.0.2.1", 1, "10.0.0.1", 83),
        ),
    ];
    let template = include_str!("../../cases/chain_trees.yaml");
    Group::new("chain trees", template, cases)
}

/// A field with its length in front, a number of `width` bytes.
fn field(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    let length = length.into_iter().skip(length.len() - width);
    length.chain(bytes.iter().copied()).collect()
}

fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &field(2, bytes)].concat()
}

/// A handshake message that asks for that name, where there is one, and those protocols.
fn message(name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut extensions = Vec::new();
    if !name.is_empty() {
        let name = [&[0][..], &field(2, name.as_bytes())].concat();
        extensions.extend(extension(0, &field(2, &name)));
    }
    // Versions, groups and signatures, without which nobody takes it for a hello of today.
    extensions.extend(extension(43, &field(1, &[3, 4, 3, 3])));
    extensions.extend(extension(10, &field(2, &[0, 29])));
    extensions.extend(extension(13, &field(2, &[4, 3])));
    extensions.extend(extension(
        51,
        &field(2, &[&[0, 29][..], &field(2, &[9; 32])].concat()),
    ));
    if !protocols.is_empty() {
        let list = protocols.iter().flat_map(|name| field(1, name.as_bytes()));
        extensions.extend(extension(16, &field(2, &list.collect::<Vec<u8>>())));
    }
    let body = [
        &[3, 3][..],
        &[7; 32],
        &field(1, &[]),
        &field(2, &[0x13, 1, 0xc0, 0x2f]),
        &field(1, &[0]),
        &field(2, &extensions),
    ]
    .concat();
    [&[1][..], &field(3, &body)].concat()
}

fn record(bytes: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &field(2, bytes)].concat()
}

fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    record(&message(name, protocols))
}

/// Sends bytes and reads the name of the chain.
fn asks(name: &str, listener: &'static str, bytes: Vec<u8>) -> Case {
    let steps = vec![Step::Send(bytes), Step::ReceiveBytes(6), Step::HangUp];
    Case::steps(name, steps).at(listener).without_log()
}

/// Sends bytes and gets nothing.
fn refused(name: &str, listener: &'static str, bytes: Vec<u8>) -> Case {
    Case::steps(name, vec![Step::Send(bytes), Step::ReceiveToEnd])
        .at(listener)
        .without_log()
}

fn names() -> Vec<Case> {
    let whole = hello("a.b.test", &["h2"]);
    let (head, tail) = whole.split_at(20);
    let pieces = vec![
        Step::Send(head.to_vec()),
        Step::Pause(Duration::from_millis(20)),
        Step::Send(tail.to_vec()),
        Step::ReceiveBytes(6),
        Step::HangUp,
    ];
    let records: Vec<u8> = message("a.b.test", &[])
        .chunks(100)
        .flat_map(record)
        .collect();
    let at =
        |name: &str, host: &str, protocols: &[&str]| asks(name, "names", hello(host, protocols));
    vec![
        at("an exact name", "a.b.test", &[]),
        at("an exact name in capitals", "A.B.Test", &[]),
        at("a suffix", "c.b.test", &["h2"]),
        at("a suffix of two more", "d.c.b.test", &[]),
        at("a shorter suffix", "x.test", &[]),
        at("a name of the configuration in capitals", "b.test", &[]),
        at("another name", "x.example", &[]),
        at("no name", "", &[]),
        at("the first protocol", "alpn.test", &["h2", "http/1.1"]),
        at("the second protocol", "alpn.test", &["h3", "http/1.1"]),
        at("the order of the client", "alpn.test", &["http/1.1", "h2"]),
        refused("another protocol", "names", hello("alpn.test", &["h3"])),
        refused("no protocol", "names", hello("alpn.test", &[])),
        asks("not TLS", "names", b"hello, proxy".to_vec()),
        Case::steps("a hello in pieces", pieces)
            .at("names")
            .without_log(),
        asks("a hello in records", "names", records),
        asks("TLS alone", "only_tls", hello("a.test", &[])),
        refused("TLS of another name", "only_tls", hello("b.test", &[])),
        refused(
            "not TLS where it should be",
            "only_tls",
            b"hello, proxy".to_vec(),
        ),
        asks("a chain", "fallback", hello("a.test", &["h2"])),
        asks("the default chain", "fallback", hello("b.test", &[])),
        asks(
            "the default chain after a name",
            "fallback",
            hello("a.test", &["h3"]),
        ),
        asks(
            "the default chain without TLS",
            "fallback",
            b"hello, proxy".to_vec(),
        ),
    ]
}

fn from_to(from: &str, from_port: u16, to: &str, to_port: u16) -> Vec<u8> {
    let family = if from.contains(':') { 6 } else { 4 };
    format!("PROXY TCP{family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

fn sources() -> Vec<Case> {
    let at = |name: &str, from: &str, from_port, to: &str, to_port| {
        asks(name, "sources", from_to(from, from_port, to, to_port))
    };
    vec![
        at("a port", "192.0.2.1", 1, "10.0.0.1", 443),
        at("a port and a range", "127.0.0.1", 1, "10.200.0.1", 8443),
        at("a smaller range", "192.0.2.1", 1, "10.0.0.1", 8443),
        at(
            "a smaller range for others",
            "127.0.0.1",
            1,
            "10.0.0.1",
            8443,
        ),
        at("a port of another range", "192.0.2.1", 1, "11.0.0.1", 8443),
        at("loopback", "127.0.0.1", 1, "10.0.0.1", 80),
        at("not quite loopback", "127.0.0.2", 1, "10.0.0.1", 80),
        at("the same address", "10.0.0.1", 1, "10.0.0.1", 80),
        at("a client's range", "192.0.2.9", 1, "10.0.0.1", 80),
        at("a client's range of IPv6", "2001:db8::9", 1, "::1", 80),
        at("a client's port", "192.0.2.9", 1234, "10.0.0.1", 80),
        at("the peer of the socket", "198.51.100.1", 1, "10.0.0.1", 80),
        at("anybody else", "203.0.113.1", 1, "10.0.0.1", 80),
        asks("nobody known", "sources", b"PROXY UNKNOWN\r\n".to_vec()),
    ]
}

fn second(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &field(2, body),
    ]
    .concat()
}

const FOUR: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 1, 0xbb];

/// Where a header tells no address, the log has the port of the client, which is another each time.
fn headers() -> Vec<Case> {
    let get = || request("GET", "/x", "", "");
    let takes =
        |name: &str, header: &[u8]| Case::http1(name, [header, &get()].concat()).at("proxied");
    let fields = [
        &[2][..],
        &field(2, b"acme"),
        &[234],
        &field(2, b"x"),
        &[5],
        &field(2, b""),
    ]
    .concat();
    let with_fields = second(0x21, 0x11, &[FOUR, &fields].concat());
    let bytes =
        |name: &str, header: &[u8]| Case::http1(name, [header, &get()].concat()).at("bytes");
    let six = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[1],
        &[0; 15],
        &[2],
        &[0, 1, 0, 2],
    ]
    .concat();
    let line = from_to("192.0.2.1", 7, "10.0.0.1", 80);
    let (first, rest) = line.split_at(9);
    let slowly = vec![
        Step::Send(first.to_vec()),
        Step::Pause(Duration::from_millis(20)),
        Step::Send([rest, &get()].concat()),
        Step::Receive { to_head: false },
    ];
    vec![
        takes("a line", &from_to("192.0.2.1", 7, "10.0.0.1", 80)),
        takes("a line of IPv6", &from_to("2001:db8::1", 7, "::2", 80)),
        takes("a line of ports 0", &from_to("192.0.2.1", 0, "10.0.0.1", 0)),
        takes("a line that knows nothing", b"PROXY UNKNOWN\r\n").without_log(),
        takes(
            "a line that knows nothing at length",
            b"PROXY UNKNOWN 1 2 3\r\n",
        )
        .without_log(),
        Case::steps("a line in pieces", slowly).at("proxied"),
        takes("bytes", &second(0x21, 0x11, FOUR)),
        takes("bytes of IPv6", &second(0x21, 0x21, &six)),
        takes("bytes of datagrams", &second(0x21, 0x12, FOUR)),
        takes("bytes with fields", &with_fields),
        takes("bytes of the proxy itself", &second(0x20, 0x11, FOUR)).without_log(),
        takes(
            "bytes of the proxy itself without addresses",
            &second(0x20, 0, b""),
        )
        .without_log(),
        bytes("fields for TCP", &with_fields),
        bytes("a line for TCP", &from_to("192.0.2.1", 7, "10.0.0.1", 80)),
        asks("an optional header", "optional", second(0x21, 0x11, FOUR)),
        asks(
            "an optional header is missing",
            "optional",
            b"hello".to_vec(),
        ),
        asks(
            "an optional line that is not looked for",
            "optional",
            from_to("192.0.2.1", 7, "10.0.0.1", 80),
        ),
        asks(
            "a version that is taken",
            "version",
            second(0x21, 0x11, FOUR),
        ),
        refused(
            "a version that is not",
            "version",
            from_to("192.0.2.1", 7, "10.0.0.1", 80),
        ),
    ]
}

fn broken_headers() -> Vec<Case> {
    let get = || request("GET", "/x", "", "");
    let refuses = |name: &str, header: &[u8]| refused(name, "proxied", [header, &get()].concat());
    vec![
        refuses("no header", b""),
        refuses("no such family", b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n"),
        refuses("a line of words", b"PROXY TCP4 a b c d\r\n"),
        refuses("a line too short", b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n"),
        refuses(
            "a line with too great a port",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n",
        ),
        refuses(
            "a line of the other family",
            b"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
        ),
        refuses(
            "a line too long",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 100], b"\r\n"].concat(),
        ),
        refuses("bytes of no family", &second(0x21, 0, FOUR)),
        refuses("bytes of a Unix socket", &second(0x21, 0x31, &[0; 216])),
        refuses("bytes of another version", &second(0x31, 0x11, FOUR)),
        refuses("bytes of another command", &second(0x22, 0x11, FOUR)),
        refuses("bytes too short", &second(0x21, 0x11, &[1, 2])),
        refuses(
            "bytes with a broken field",
            &second(0x21, 0x11, &[FOUR, &[2, 0, 9, b'x']].concat()),
        ),
    ]
}

fn versions() -> Vec<Case> {
    let at = |name: &str, text: &str| asks(name, "inspected", text.as_bytes().to_vec());
    vec![
        at("HTTP/1.1", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        at("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        at("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        at("not HTTP", "\u{1}\u{2}\u{3}\r\n"),
    ]
}

fn limits() -> Vec<Case> {
    let waits = |name: &str, listener| {
        Case::steps(name, vec![Step::ReceiveToEnd])
            .at(listener)
            .without_log()
    };
    let long = "a".repeat(250);
    vec![
        waits("nothing comes in time", "impatient"),
        waits("nothing comes in time, which is no matter", "lenient"),
        refused(
            "half a hello in time",
            "impatient",
            hello("a.test", &[]).into_iter().take(30).collect(),
        ),
        waits("the first within the rate", "rated"),
        waits("the second is too many", "rated"),
        asks(
            "a filter that is switched off",
            "disabled",
            b"hello".to_vec(),
        ),
        refused(
            "a filter that is not switched off",
            "not_disabled",
            request("GET", "/x", "", ""),
        ),
        refused("a hello too long", "small", hello(&long, &[])),
        asks("a hello at all", "strict", hello("a.test", &[])),
        refused(
            "no hello where one must be",
            "strict",
            b"hello, proxy".to_vec(),
        ),
    ]
}

fn originals() -> Vec<Case> {
    vec![
        asks(
            "to the address of a listener that is not bound",
            "virtual",
            from_to("192.0.2.1", 7, "192.0.2.80", 80),
        ),
        asks(
            "to the address of no listener",
            "virtual",
            from_to("192.0.2.1", 7, "192.0.2.81", 80),
        ),
    ]
}

fn statistics() -> Vec<Case> {
    vec![
        Case::admin(
            "GET /stats?filter=^(tls_inspector|http_inspector)\\..*found",
            &[],
        ),
        Case::admin(
            "GET /stats?filter=^(proxy_proto|listener_local_ratelimit)",
            &[],
        ),
        Case::admin("GET /stats?filter=^downstream_cx_proxy_proto_error", &[]),
        Case::admin(
            "GET /stats/prometheus?filter=^(proxy_proto|listener_local_ratelimit|downstream_cx_proxy)",
            &["envoy_", "# TYPE envoy_"],
        ),
        Case::admin(
            "GET /stats?filter=^listener\\.(names|impatient)\\.(no_filter_chain|downstream_pre)",
            &[],
        ),
    ]
}
