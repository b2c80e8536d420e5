//! HTTP/1 at the edges of the rules: what `connection` may say, paths whose dot segments have
//! parameters, upgrades with bodies, trailers, and what an upstream may say of a change of protocol.

use nuncio_tests::compare::case::{Case, Group, Step, request};
use nuncio_tests::origin::{Act, Reply};

use crate::hcm::{group as over, with};

pub(crate) fn group() -> Group {
    let listeners = [
        with("listener", ""),
        with("normal", "normalize_path: true"),
        with(
            "unescaped",
            "normalize_path: true\nmerge_slashes: true\npath_with_escaped_slashes_action: UNESCAPE_AND_FORWARD",
        ),
        with(
            "redirected",
            "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
        ),
        with(
            "upgrades",
            "upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: other }]",
        ),
        with(
            "no_underscores",
            "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }\nhttp_protocol_options: { enable_trailers: true }",
        ),
        with(
            "fewer_underscores",
            "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER }\nhttp_protocol_options: { enable_trailers: true }",
        ),
        with(
            "unread_underscores",
            "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
        ),
    ];
    let mut cases = connection();
    cases.extend(udp());
    cases.extend(repeated());
    cases.extend(dot_segments());
    cases.extend(trailers());
    cases.extend(upgrades());
    cases.extend(responses());
    over("edges", &listeners, cases)
}

/// As many members as a list has that names fields.
fn members(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
    names.join(",")
}

fn connection() -> Vec<Case> {
    let named = |name: &str, lines: String| Case::get(name, "/up", &lines);
    let says = |name: &str, value: &str| named(name, format!("Connection: {value}\r\n"));
    let te = |name: &str, te: &str| named(name, format!("Connection: te\r\nTE: {te}\r\n"));
    let other =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\n";
    let offer = |count| {
        format!(
            "Connection: Upgrade, HTTP2-Settings, {}\r\nUpgrade: h2c\r\n",
            members(count)
        )
    };
    vec![
        says("nine fields are named", &members(9)),
        says("ten fields are named", &members(10)),
        says("nine and close", &format!("{},close", members(9))),
        says("nine and te", &format!("te,{}", members(9))),
        says("one is named ten times", &["close"; 10].join(",")),
        says("nothing but commas", &",".repeat(20)),
        says("white space between commas", &" ,".repeat(11)),
        named(
            "ten in two lines",
            format!("Connection: close\r\nConnection: {}\r\n", members(9)),
        ),
        named("nine beside an offer of h2c", offer(9)),
        named("ten beside an offer of h2c", offer(10)),
        te("te in another case", "gzip, Trailers"),
        te(
            "te as long as it may be",
            &format!("trailers,{}", "a".repeat(246)),
        ),
        te(
            "te that is too long",
            &format!("trailers,{}", "a".repeat(247)),
        ),
        Case::get("te in another case, not named", "/up", "TE: Trailers\r\n"),
        Case::get("settings of HTTP/2 beside another upgrade", "/up", other),
        says("a member that is no name", "a b"),
    ]
}

fn udp() -> Vec<Case> {
    let asks = |name: &str, path: &str, lines: &str| {
        let lines = format!("Upgrade: Connect-UDP\r\n{lines}");
        Case::get(name, path, &lines)
    };
    let upgrade = "Connection: Upgrade\r\n";
    vec![
        asks("UDP by another path", "/up", ""),
        asks("UDP by another path, upgraded to", "/up", upgrade),
        asks("UDP without an end", "/.well-known/masque/udp/a/1", ""),
        asks("UDP without a port", "/.well-known/masque/udp/a//", ""),
        asks("UDP with more", "/.well-known/masque/udp/a/1/b", ""),
        asks("UDP", "/.well-known/masque/udp/a/1/", upgrade),
        Case::request(
            "UDP by CONNECT",
            "CONNECT",
            "a:1",
            "Upgrade: connect-udp\r\n",
            "",
        ),
        Case::get(
            "UDP and something else",
            "/up",
            "Upgrade: connect-udp, a\r\n",
        ),
    ]
}

fn repeated() -> Vec<Case> {
    let lines = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVary:\r\nVary: a\r\nVary: b\r\nEtag: 1\r\n\
                 Etag: 2\r\nX-A: 1\r\nX-A: 2\r\nDate:\r\nDate:\r\n\r\nok";
    vec![
        Case::get(
            "repeated fields of a request, some empty",
            "/up",
            "Accept:\r\nAccept: a\r\nAccept:\r\nAccept: b\r\nOrigin:\r\nOrigin:\r\n",
        ),
        Case::get("repeated fields of a response, some empty", "/up", "").reply_bytes(lines),
    ]
}

fn dot_segments() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/a/..;/b",
        "/a/..;x=1;y/b?c=/..;/",
        "/a/.;/b",
        "/a/..;",
        "/a/..;/..;/..;/b",
        "/a/..;\\b",
        "/a\\..;/b",
        "/a/%2e%2e;/b",
        "/a/..%3b/b",
        "/a/...;/b",
        "/a/;../b",
        "/a/b..;/c",
        "/a/..;%00/b",
        "/a//..;/b",
        "/a/..;%2f..;%2Fb",
    ] {
        for at in ["listener", "normal", "unescaped"] {
            cases.push(Case::get(&format!("{path}, {at}"), path, "").at(at));
        }
    }
    cases
}

fn trailers() -> Vec<Case> {
    let post = |name: &str, at| {
        let name = format!("underscores in trailers, {name}");
        let coding = "Transfer-Encoding: chunked\r\n";
        let body = "1\r\na\r\n0\r\nx_t: 1\r\nx-t: 2\r\n\r\n";
        Case::request(&name, "POST", "/up", coding, body)
            .without_log()
            .at(at)
    };
    vec![
        post("refused", "no_underscores"),
        post("dropped", "fewer_underscores"),
        post("not read", "unread_underscores"),
    ]
}

fn upgrades() -> Vec<Case> {
    let asks = |method, lines: &str, body| {
        let lines = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{lines}");
        request(method, "/up", &lines, body)
    };
    let echo = || {
        let switches = "HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        Reply::bytes(switches).at_head().then(Act::Hang)
    };
    let case = |name: &str, bytes| {
        let steps = vec![Step::Send(bytes), Step::ReceiveInterim, Step::HangUp];
        Case::steps(name, steps).reply(echo()).at("upgrades")
    };
    vec![
        case("POST to upgrade", asks("POST", "", "")),
        case(
            "a length to upgrade",
            asks("POST", "Content-Length: 3\r\n", ""),
        ),
        case(
            "no length to upgrade",
            asks("GET", "Content-Length: 0\r\n", ""),
        ),
        Case::http1(
            "what follows an upgrade that is redirected is no request",
            [
                request(
                    "GET",
                    "/a%2Fb",
                    "Connection: Upgrade\r\nUpgrade: other\r\n",
                    "",
                ),
                request("GET", "/up", "", ""),
            ]
            .concat(),
        )
        .at("redirected"),
    ]
}

fn responses() -> Vec<Case> {
    let lines = "Connection: Upgrade\r\nUpgrade: other\r\n";
    let switches = |name: &str, head: &str| {
        Case::get(name, "/up", lines)
            .reply(
                Reply::bytes(format!("HTTP/1.1 101 OK\r\n{head}\r\n"))
                    .at_head()
                    .then(Act::Hang),
            )
            .at("upgrades")
    };
    let twice = |name: &str, version: &str, lines: &str| {
        let get = request("GET", "/up", "", "");
        let steps = [0, 1].map(|_| [Step::Send(get.clone()), Step::Receive { to_head: false }]);
        Case::steps(name, steps.into_iter().flatten().collect()).reply_bytes(format!(
            "{version} 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"
        ))
    };
    vec![
        switches("101 without connection", "Upgrade: other\r\n"),
        switches(
            "101 whose connection says close",
            "Connection: close\r\nUpgrade: other\r\n",
        ),
        twice("HTTP/1.2 is not sent another request", "HTTP/1.2", ""),
        twice("HTTP/1.1 is", "HTTP/1.1", ""),
    ]
}
