//! Cross-origin requests: preflights and their answers, what responses say, and which policy counts.

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::h2_client::H2Send;

const CORS: &str = include_str!("../../cases/cors.yaml");

const METHOD: &str = "Access-Control-Request-Method: PUT\r\n";

fn preflight(name: &str, path: &str, origin: &str) -> Case {
    let headers = format!("Origin: {origin}\r\n{METHOD}");
    Case::request(name, "OPTIONS", path, &headers, "")
}

fn get(name: &str, path: &str, origin: &str) -> Case {
    Case::get(name, path, &format!("Origin: {origin}\r\n"))
}

/// A response of an upstream that knows about origins itself.
const THEIRS: &str = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: theirs\r\n\
    Access-Control-Allow-Credentials: theirs\r\nAccess-Control-Expose-Headers: theirs\r\n\
    X-Up: 1\r\nContent-Length: 2\r\n\r\nok";

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for (name, origin) in [
        ("exact", "http://a.test"),
        ("exact in another case", "http://A.test"),
        ("prefix", "http://pre.anything"),
        ("suffix", "http://any.suf.test"),
        ("contains", "http://an-in-side"),
        ("without case", "http://upper.TEST"),
        ("regex", "https://sub.re.test:8080"),
        (
            "regex that is only found inside",
            "https://sub.re.test:8080/",
        ),
        ("none of them", "http://b.test"),
        ("null", "null"),
        ("empty", ""),
    ] {
        cases.push(preflight(&format!("preflight, {name}"), "/plain", origin));
        cases.push(get(&format!("response, {name}"), "/plain", origin).reply_bytes(THEIRS));
    }
    cases.extend(policies());
    cases.extend(shapes());
    cases.extend([
        Case::request(
            "preflight that calls itself gRPC",
            "OPTIONS",
            "/plain",
            &format!("Origin: http://a.test\r\n{METHOD}Content-Type: application/grpc\r\n"),
            "",
        ),
        preflight("older form", "/", "http://o.test").at("older"),
        get("older form, response", "/", "http://o.test").at("older"),
        preflight("older form, another origin", "/", "http://t.test").at("older"),
        Case::http2(
            "local replies look different, but no preflight's answer",
            H2Send::new("OPTIONS", "/")
                .header("origin", "http://o.test")
                .header("access-control-request-method", "PUT"),
        )
        .at("older"),
        Case::request(
            "nor one's that calls itself gRPC",
            "OPTIONS",
            "/",
            &format!("Origin: http://o.test\r\n{METHOD}Content-Type: application/grpc\r\n"),
            "",
        )
        .at("older"),
        preflight("older form under a newer one", "/typed", "http://t.test").at("older"),
        preflight("only the older form allows", "/typed", "http://o.test").at("older"),
        Case::admin(
            "GET /stats?filter=cors",
            &["http.ingress.cors", "http.older.cors"],
        ),
    ]);
    Group::new("cors", CORS, cases)
}

/// Which policy counts.
fn policies() -> Vec<Case> {
    let (a, host) = ("http://a.test", "http://host.test");
    vec![
        preflight("any origin", "/star", a),
        get("any origin, response", "/star", a),
        Case::request(
            "private network",
            "OPTIONS",
            "/star",
            &format!("Origin: {a}\r\n{METHOD}Access-Control-Request-Private-Network: true\r\n"),
            "",
        ),
        Case::request(
            "private network, not asked for",
            "OPTIONS",
            "/star",
            &format!("Origin: {a}\r\n{METHOD}Access-Control-Request-Private-Network: false\r\n"),
            "",
        ),
        preflight("kept back, allowed", "/keep", a),
        preflight("kept back, not allowed", "/keep", "http://b.test"),
        Case::request(
            "kept back, no preflight",
            "OPTIONS",
            "/keep",
            "Origin: http://b.test\r\n",
            "",
        ),
        get("kept back, response", "/keep", "http://b.test"),
        preflight("switched off", "/off", a),
        get("switched off, response", "/off", a),
        preflight("in the shadow", "/shadow", a),
        get("in the shadow, response", "/shadow", a),
        preflight("weighted cluster", "/weighted", "http://w.test"),
        get("weighted cluster, response", "/weighted", "http://w.test"),
        preflight("weighted cluster, another origin", "/weighted", host),
        preflight("direct response", "/direct", a),
        get("direct response, response", "/direct", a),
        preflight("redirect", "/redirect", a),
        preflight("of the virtual host", "/other", host),
        get("of the virtual host, response", "/other", host),
        preflight("filter left out", "/disabled", host),
        get("filter left out, response", "/disabled", host),
        preflight("route changes headers", "/mutated", host),
        get("route changes headers, response", "/mutated", host).reply_bytes(THEIRS),
    ]
}

/// What is a preflight, and what is not.
fn shapes() -> Vec<Case> {
    let a = "Origin: http://a.test\r\n";
    let b = "Origin: http://b.test\r\n";
    vec![
        Case::request("OPTIONS without a method", "OPTIONS", "/plain", a, ""),
        Case::request(
            "OPTIONS with an empty method",
            "OPTIONS",
            "/plain",
            &format!("{a}Access-Control-Request-Method:\r\n"),
            "",
        ),
        Case::request("OPTIONS without an origin", "OPTIONS", "/plain", METHOD, ""),
        Case::request(
            "POST like a preflight",
            "POST",
            "/plain",
            &format!("{a}{METHOD}"),
            "",
        ),
        Case::request(
            "two origins",
            "OPTIONS",
            "/plain",
            &format!("{a}{b}{METHOD}"),
            "",
        ),
        Case::request(
            "two origins, response",
            "GET",
            "/plain",
            &format!("{a}{b}"),
            "",
        ),
        Case::request(
            "preflight with a body",
            "OPTIONS",
            "/plain",
            &format!("{a}{METHOD}Content-Length: 3\r\n"),
            "abc",
        ),
        Case::get("no route to", "/plain", "").replaced("/plain", "/other"),
        get("upstream's own answer", "/plain", "http://b.test").reply_bytes(THEIRS),
        get("upstream's own failure", "/plain", "http://a.test")
            .reply_bytes("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        Case::http2(
            "preflight over HTTP/2",
            H2Send::new("OPTIONS", "/plain")
                .header("origin", "http://a.test")
                .header("access-control-request-method", "PUT"),
        ),
        Case::http2(
            "response over HTTP/2",
            H2Send::new("GET", "/plain").header("origin", "http://a.test"),
        ),
    ]
}
