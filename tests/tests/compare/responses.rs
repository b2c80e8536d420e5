//! What the upstream answers, in and out of order.

use nuncio_tests::compare::case::{Case, Group, request};
use nuncio_tests::origin::{Act, Reply};

use crate::BASIC;

fn answer(name: &str, reply: &str) -> Case {
    Case::get(name, "/up", "").reply_bytes(reply)
}

fn to_head(name: &str, reply: &str) -> Case {
    Case::request(name, "HEAD", "/up", "", "").reply_bytes(reply)
}

fn ending(name: &str, reply: &str) -> Case {
    Case::get(name, "/up", "").reply(Reply::bytes(reply).close())
}

pub(crate) fn group() -> Group {
    let mut cases = bodies();
    cases.extend(without_body());
    cases.extend(headers());
    cases.extend(interim());
    cases.extend(broken());
    Group::new("responses", BASIC, cases)
}

fn bodies() -> Vec<Case> {
    let large = "0123456789".repeat(20_000);
    vec![
        answer(
            "a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Up: 1\r\n\r\nhello",
        ),
        answer(
            "chunks with extension and trailer",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nX-Up: 1\r\n\r\n\
             5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-T: t\r\n\r\n",
        ),
        answer(
            "more trailers than fields of a head",
            &format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{}\r\n",
                "X: 1\r\n".repeat(101)
            ),
        ),
        answer(
            "chunks of nothing",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        answer(
            "length zero",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        ending(
            "until close",
            "HTTP/1.1 200 OK\r\nX-Up: 1\r\n\r\nuntil close",
        ),
        ending("until close with nothing", "HTTP/1.1 200 OK\r\n\r\n"),
        ending(
            "connection: close",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        ),
        ending("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ending(
            "more than the length",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA",
        ),
        answer(
            "a large length",
            &format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{large}"),
        ),
        answer(
            "a large chunk",
            &format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n{large}\r\n0\r\n\r\n"
            ),
        ),
        Case::request(
            "before the request's body",
            "POST",
            "/up",
            "Content-Length: 5\r\n",
            "abcde",
        )
        .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").at_head()),
    ]
}

fn without_body() -> Vec<Case> {
    vec![
        answer("204", "HTTP/1.1 204 No Content\r\nX-Up: 1\r\n\r\n"),
        answer(
            "204 with length zero",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ),
        answer(
            "204 with a length",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        ),
        answer(
            "204 with chunks",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        answer(
            "205",
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        ),
        answer("304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        answer(
            "304 with a length",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        ),
        answer(
            "304 with a coding",
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        to_head(
            "HEAD with a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        ),
        to_head(
            "HEAD with a coding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        to_head("HEAD with neither", "HTTP/1.1 200 OK\r\nX-Up: 1\r\n\r\n"),
        to_head(
            "HEAD with length zero",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        to_head("HEAD with 204", "HTTP/1.1 204 No Content\r\n\r\n"),
        to_head(
            "HEAD with 404",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n",
        ),
        Case::http1(
            "HEAD then GET on one connection",
            [
                request("HEAD", "/up/1", "", ""),
                request("GET", "/up/2", "", ""),
            ]
            .concat(),
        )
        .reply_bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        .and_responses(1),
    ]
}

fn headers() -> Vec<Case> {
    let with = |name: &str, lines: &str| {
        answer(
            name,
            &format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"),
        )
    };
    vec![
        with(
            "server and date of its own",
            "Server: own\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Last: z\r\n",
        ),
        with(
            "its own service time",
            "X-Envoy-Upstream-Service-Time: 77\r\nX-After: 1\r\n",
        ),
        with(
            "duplicates",
            "Set-Cookie: a=1\r\nX-A: 1\r\nset-cookie: b=2\r\nX-A: 2\r\n",
        ),
        with(
            "hop-by-hop headers",
            "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: a\r\nTE: trailers\r\nTrailer: X-T\r\nProxy-Authenticate: Basic\r\n",
        ),
        with(
            "an upgrade that nobody asked for",
            "Upgrade: h2c\r\nConnection: upgrade\r\n",
        ),
        with("obs-fold", "X-A: a\r\n b\r\n"),
        with(
            "100 headers",
            &(0..99).map(|n| format!("X-{n}: a\r\n")).collect::<String>(),
        ),
        with(
            "101 headers",
            &(0..100)
                .map(|n| format!("X-{n}: a\r\n"))
                .collect::<String>(),
        ),
        with(
            "79 KiB of headers",
            &format!("X-A: {}\r\n", "a".repeat(79 * 1024)),
        ),
        with(
            "more than 80 KiB of headers",
            &format!("X-A: {}\r\n", "a".repeat(82 * 1024)),
        ),
        with("NUL in a value", "X-A: a\0b\r\n"),
        with("an underscore in a name", "X_A: a\r\n"),
        with("space before the colon", "X-A : a\r\n"),
        with(
            "an immediate health failure",
            "X-Envoy-Immediate-Health-Check-Fail: false\r\n",
        ),
        with(
            "an attempt count",
            "X-Envoy-Attempt-Count: 3\r\nX-Envoy-Overloaded: 1\r\n",
        ),
        answer(
            "another reason phrase",
            "HTTP/1.1 200 Fine Thanks\r\nContent-Length: 0\r\n\r\n",
        ),
        answer(
            "no reason phrase",
            "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
        ),
        answer("status 600", "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"),
        answer("status 999", "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
        answer(
            "status 500",
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        ),
        answer(
            "bare LF line ends",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        ),
    ]
}

fn interim() -> Vec<Case> {
    let final_one = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    vec![
        answer(
            "100 nobody asked for",
            &format!("HTTP/1.1 100 Continue\r\n\r\n{final_one}"),
        ),
        answer(
            "102",
            &format!("HTTP/1.1 102 Processing\r\n\r\n{final_one}"),
        ),
        answer(
            "103",
            &format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{final_one}"),
        ),
        answer(
            "several 1xx",
            &format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n{final_one}"),
        ),
    ]
}

fn broken() -> Vec<Case> {
    vec![
        ending(
            "cut short of its length",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        ),
        ending(
            "cut inside a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ),
        ending(
            "cut between chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        ),
        ending("cut inside the head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ending("closed without a byte", ""),
        Case::get("reset without a byte", "/up", "").reply(Reply::nothing().then(Act::Reset)),
        ending("garbage", "garbage\r\n\r\n"),
        answer(
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        ),
        answer(
            "length and coding",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        answer(
            "a coding that is not chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        ),
        answer(
            "a length that is not a number",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        ),
        answer(
            "a bad chunk size",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
        ),
        answer(
            "a status of two digits",
            "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        answer(
            "HTTP/2.0 as version",
            "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        Case::request(
            "reset with a body under way",
            "POST",
            "/up",
            "Content-Length: 3\r\n",
            "abc",
        )
        .reply(Reply::nothing().then(Act::Reset)),
        Case::request("HEAD cut inside the head", "HEAD", "/up", "", "")
            .reply(Reply::bytes("HTTP/1.1 200 OK\r\nContent-Le").close()),
    ]
}
