//! Answers of upstreams that are made up, odd in a place or several.
//!
//! Owns what is asked, and interim and final responses to it with what may come behind them. The parts that
//! requests have too are those of [`super::requests`].

use super::reading::Asked;
use super::requests::Author;
use super::words::{CODINGS, CONNECTIONS, PROTOCOLS, VALUES};
use super::{Answer, Case, cut, variants};
use crate::chance::Chance;

const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/2",
    "HTTP/0.9",
    "http/1.1",
    "HTTP/1.",
    "HTTP/11.1",
    "HTTP/1.10",
    "ICY",
    "",
    "HTTP/3.0",
    "HTTP/1.1\0",
    "HTTP/1.9",
    "HTTP /1.1",
];
const STATUSES: &[&str] = &[
    "200", "200", "200", "200", "200", "201", "204", "204", "205", "206", "304", "304", "301",
    "404", "500", "503",
];
const ODD_STATUSES: &[&str] = &[
    "100",
    "101",
    "101",
    "102",
    "103",
    "199",
    "099",
    "000",
    "99",
    "600",
    "999",
    "1000",
    "20",
    "2000",
    "+200",
    "-20",
    "2 00",
    "200x",
    "",
    "0200",
    "20a",
    " 200",
    "200 ",
    "\t200",
    "65736",
    "4294967496",
];
const REASONS: &[&str] = &[
    "  OK",
    "\tOK",
    "OK",
    " \u{e9}",
    " O\0K",
    " O\rK",
    " O\u{1}K",
    " a b\tc",
    " \"",
    " \u{7f}",
    " OK ",
    "\u{b}OK",
    ": OK",
    " O\nX-I: 1",
];
const NAMES: &[&str] = &[
    "X-A",
    "x_a",
    "Server",
    "Date",
    "Set-Cookie",
    "Content-Type",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Upgrade",
    "Trailer",
    "TE",
    "Via",
    ":status",
    ":foo",
    "Location",
    "Content-Encoding",
    "Proxy-Authenticate",
    "ETag",
    "Retry-After",
    "Alt-Svc",
    "Status",
    "Age",
    "Vary",
    "X-Request-Id",
    "HTTP2-Settings",
    "Content-Range",
    "Warning",
    "Grpc-Status",
    "!#$%&'*+-.^_`|~",
    "X-Envoy-Degraded",
    "X-Envoy-Canary",
    "X-Envoy-Overloaded",
];
const BEHIND: &[&str] = &[
    "X",
    "\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "\n",
    "\0",
    "0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
];

const GET: &str = "GET /m HTTP/1.1\r\nHost: m\r\n\r\n";
const HEAD: &str = "HEAD /m HTTP/1.1\r\nHost: m\r\n\r\n";
const POST: &str = "POST /m HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\nab";
const CHUNKS: &str =
    "POST /m HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
const TRAILERS: &str = "GET /m HTTP/1.1\r\nHost: m\r\nTE: trailers\r\n\r\n";
const EXPECTING: &str =
    "POST /m HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab";
const OLD: &str = "GET /m HTTP/1.0\r\nHost: m\r\n\r\n";
const OLD_KEPT: &str = "GET /m HTTP/1.0\r\nHost: m\r\nConnection: keep-alive\r\n\r\n";
const OLD_HEAD: &str = "HEAD /m HTTP/1.0\r\nHost: m\r\nConnection: keep-alive\r\n\r\n";
const CONNECT: &str = "CONNECT m:1 HTTP/1.1\r\nHost: m\r\n\r\n";
const WEBSOCKET: &str =
    "GET /m HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const OTHER: &str = "GET /m HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";

const REQUESTS: &[&str] = &[GET, GET, GET, HEAD, HEAD, POST, TRAILERS, CHUNKS];

/// The variants that responses depend on.
const VARIANTS: &[&str] = &[
    "default",
    "default",
    "trailers",
    "kept spelling",
    "upgrades",
    "interim",
    "HTTP/1.0",
    "errors of streams",
    "edge",
];

/// A case: one request, and what it is answered.
pub fn case(chance: &mut Chance) -> Case {
    let name = chance.of(VARIANTS);
    let variant = variants::ALL
        .iter()
        .position(|variant| variant.name == name);
    let request = match name {
        "upgrades" => chance.of(&[CONNECT, CONNECT, WEBSOCKET, WEBSOCKET, WEBSOCKET, OTHER]),
        "interim" if chance.one_in(2) => EXPECTING,
        "HTTP/1.0" if chance.one_in(2) => chance.of(&[OLD, OLD_KEPT, OLD_HEAD]),
        _ => chance.of(REQUESTS),
    };
    let mut author = Author::new(chance);
    let mut bytes = Vec::new();
    while author.odd(40) {
        author.interim(&mut bytes);
    }
    if request.contains("Upgrade") && author.chance.below(5) < 3 {
        author.switch(&mut bytes);
    } else {
        author.response(&mut bytes);
    }
    if author.chance.one_in(8) {
        bytes.extend_from_slice(author.pick(BEHIND).as_bytes());
    }
    author.damage(&mut bytes);
    let ends = chance.below(20) < 7;
    let asked = match request.split(' ').next() {
        Some("HEAD") => Asked::Head,
        Some("CONNECT") => Asked::Connect,
        _ => Asked::Other,
    };
    Case {
        variant: variant.expect("the variant is listed"),
        client: vec![request.into()],
        answer: Some(Answer {
            asked,
            pieces: cut(chance, &bytes),
            ends,
        }),
    }
}

impl Author<'_> {
    fn interim(&mut self, out: &mut Vec<u8>) {
        let status = self.pick(&["100", "100", "102", "103", "101", "199", "150"]);
        let reason = self.pick(&[" Continue", "", " "]);
        out.extend_from_slice(format!("HTTP/1.1 {status}{reason}").as_bytes());
        out.extend_from_slice(self.line_end().as_bytes());
        if self.odd(60) {
            let name = self.pick(&[
                "X-A",
                "Link",
                "Keep-Alive",
                "Connection",
                "Content-Length",
                "Transfer-Encoding",
                "Server",
            ]);
            let value = self.pick(&["1", "</a>", "0", "5", "chunked", "close"]);
            out.extend(self.field(name, value));
        }
        out.extend_from_slice(self.line_end().as_bytes());
    }

    /// An answer that changes the protocol.
    fn switch(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols");
        out.extend_from_slice(self.line_end().as_bytes());
        if !self.odd(30) {
            let value = if self.odd(40) {
                self.pick(CONNECTIONS)
            } else {
                "Upgrade"
            };
            out.extend(self.field("Connection", value));
        }
        if !self.odd(30) {
            let value = if self.odd(40) {
                self.pick(PROTOCOLS)
            } else {
                "websocket"
            };
            out.extend(self.field("Upgrade", value));
        }
        if self.odd(40) {
            let value = self.pick(&["0", "5", "x"]);
            out.extend(self.field("Content-Length", value));
        }
        if self.odd(30) {
            let value = self.pick(CODINGS);
            out.extend(self.field("Transfer-Encoding", value));
        }
        out.extend_from_slice(self.line_end().as_bytes());
        out.extend_from_slice(self.pick(&["", "hello"]).as_bytes());
    }

    fn status_line(&mut self, out: &mut Vec<u8>) {
        if self.odd(10) {
            out.extend_from_slice(
                self.pick(&["\r\n", "\n", " ", "\0", "\r", "junk\r\n", "\r\n\r\n"])
                    .as_bytes(),
            );
        }
        let version = if self.odd(35) {
            self.pick(VERSIONS)
        } else {
            "HTTP/1.1"
        };
        let status = if self.odd(30) {
            self.pick(ODD_STATUSES)
        } else {
            self.pick(STATUSES)
        };
        let space = if self.odd(8) {
            self.pick(&["  ", "\t", "", "\u{b}", "\r", "\0"])
        } else {
            " "
        };
        let reason = if self.odd(20) {
            self.pick(REASONS)
        } else {
            self.pick(&[" OK", "", " ", " Not Found"])
        };
        out.extend(self.spoilt(version, 2));
        out.extend_from_slice(space.as_bytes());
        out.extend(self.spoilt(status, 2));
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(self.line_end().as_bytes());
    }

    fn response(&mut self, out: &mut Vec<u8>) {
        self.status_line(out);
        let mut fields = Vec::new();
        let body = self.body();
        let body = self.framed(body, &mut fields);
        for (weight, name, values) in [
            (60, "Connection", CONNECTIONS),
            (15, "Connection", CONNECTIONS),
            (15, "Upgrade", PROTOCOLS),
        ] {
            if self.odd(weight) {
                let value = self.pick(values);
                fields.push(self.field(name, value));
            }
        }
        while self.odd(90) {
            let (name, value) = (self.pick(NAMES), self.pick(VALUES));
            fields.push(self.field(name, value));
        }
        if self.odd(4) {
            let many = self.chance.of(&[95, 98, 99, 100, 101]);
            fields.extend((0..many).map(|at| format!("X-{at}: 1\r\n").into_bytes()));
        }
        if self.chance.one_in(2) {
            self.shuffle(&mut fields);
        }
        out.extend(fields.concat());
        out.extend_from_slice(self.line_end().as_bytes());
        out.extend(body);
    }
}
