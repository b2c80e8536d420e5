//! Requests that are made up, odd in a place or several.
//!
//! Owns the words that they are put together from, and how: each part is as it should be, or with some
//! chance one of those that parsers have disagreed on. [`super::answers`] takes the parts that responses
//! have too.

use super::{Case, cut, variants};
use crate::chance::Chance;

/// Bytes that mean something to a parser.
const BYTES: &[u8] =
    b"\x00\x01\x08\t\n\x0b\x0c\r\x1b !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~\x7f\x80\x85\xa0\xff";
const METHODS: &[&str] = &[
    "GET", "GET", "GET", "POST", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS",
    "PATCH", "TRACE", "CONNECT",
];
const ODD_METHODS: &[&str] = &[
    "PRI", "get", "FOO", "G", "", "GETS", "M-SEARCH", "QUERY", "PURGE", "LINK", "SOURCE", "Get",
    "POSTS", "CONNEC", "REPORT", "BIND", "DESCRIBE",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/0.9",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.10",
    "HTTP/01.1",
    "HTTP/1.",
    "HTTP/",
    "",
    "HTTP/1.1 ",
    "HTTP/1.1\t",
    "HTTP/1,1",
    "ICE/1.0",
    "HTTP/9.9",
    "HTTP/1.1\0",
    "HTTP /1.1",
    "HTTP/+1.1",
];
const SEGMENTS: &[&str] = &[
    "a", "b", "..", ".", "", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\", "a b", "%41", "%zz", "%",
    "%2", "%00", "%0a", ";x", "~", "\"", "<", "^", "`", "{|}", "\u{e9}", "*", "@", ":", "...",
    "%252e", "+", "%20", "%7f", "%c0%ae", "%3f", "%23", "[", "]", ".%2e", "a.", "..;", "%ff",
];
const QUERIES: &[&str] = &[
    "?", "?a=b", "??", "?/../b", "?%2f..", "?a#b", "#", "#f", "?%zz", "?a b", "?//", "?\\",
];
const HOSTS: &[&str] = &[
    "a.example",
    "a.example",
    "",
    "A.Example",
    "a.example:80",
    "a.example:443",
    "a.example:",
    "a.example:0",
    "a.example:65536",
    "a.example:99999999999",
    "a.example:+80",
    "a.example:8a",
    "[::1]",
    "[::1]:80",
    "[::1",
    "::1",
    "[v1.x]",
    "u@a",
    "u:p@a:80",
    "a b",
    "a/b",
    "a,b",
    "a?b",
    "a#b",
    "a\\b",
    "a%41",
    "a_b",
    "a.example.",
    "a.example.:80",
    ".",
    "..",
    "a..b",
    "1.2.3.4",
    "a.example:080",
    "*",
    "a*b",
    "a\u{e9}",
    "a\"b",
    "<a>",
    "a'b",
    "a|b",
    "a^b",
    "a`b",
    "a{b}",
    "a~b",
    "a!b",
    "a$b",
    "a&b",
    "a(b)",
    "a+b",
    "a;b",
    "a=b",
    "[::1]a",
    "[::1]:",
    "a:b:c",
    "a:80:80",
    "[fe80::1%25eth0]",
    "[]",
    "a\tb",
];
/// Schemes of absolute targets, with what is behind them.
const SCHEMES: &[&str] = &[
    "http://",
    "http://",
    "http://",
    "http://",
    "https://",
    "HTTP://",
    "Http://",
    "ftp://",
    "ws://",
    "h://",
    "://",
    "ht tp://",
    "+http://",
    "http+x://",
    "http:/",
    "http:///",
    "http:",
    "http//",
    "http:\\\\",
    "http: //",
    "hTTps://",
];
const ODD_TARGETS: &[&str] = &[
    "*",
    "**",
    "*a",
    "a",
    "a/b",
    "",
    "a.example:80",
    "?a",
    "#",
    "//a",
    "//",
    "\\",
    "/*",
    ".",
    "..",
    "%2f",
    ":",
    "/ ",
    "@",
    "a:b",
    "http:",
    "/\u{7f}",
    "/\0",
    "///a",
    "//a.example/x",
    "mailto:x",
];
/// Lengths; `#` stands for the right one.
const LENGTHS: &[&str] = &[
    "+#",
    "-#",
    "0#",
    "000000000000000000000000#",
    "#,#",
    "#, #",
    "#,6",
    "# ",
    " #",
    "\t#",
    "#\t",
    "0x#",
    "#.0",
    "#e0",
    "#x",
    "\"#\"",
    "#;",
    "#,",
    ",#",
    "# #",
    "#\0",
    "#\u{b}",
    "\u{b}#",
    "1#",
    "_#",
    "#\r\n #",
    "\r\n #",
];
const WRONG_LENGTHS: &[&str] = &[
    "",
    " ",
    "-0",
    "+0",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "18446744073709551621",
    "99999999999999999999999",
    "4294967301",
    "a",
    "0x5",
    "\u{665}",
    "chunked",
    "0",
    "5",
];
pub(super) const CODINGS: &[&str] = &[
    "chunked",
    "chunked",
    "Chunked",
    "CHUNKED",
    "chunked ",
    " chunked",
    "\tchunked",
    "chunked,",
    ",chunked",
    "chunked;q=1",
    "chunked ;a",
    "gzip, chunked",
    "gzip",
    "identity",
    "chunked, identity",
    "chunked, chunked",
    "identity, chunked",
    "xchunked",
    "chunkedx",
    "\"chunked\"",
    "'chunked'",
    "chunked\0",
    "chunked\u{b}",
    "\u{b}chunked",
    "",
    " ",
    "chun ked",
    "\r\n chunked",
    "chunked\r\n ",
    "chunked\r\n\t, identity",
    "trailers",
    "cow",
    "deflate,chunked",
    "chunked, gzip",
    "\u{feff}chunked",
    "chunke",
    "chunked\tchunked",
];
pub(super) const CODING_NAMES: &[&str] = &[
    "Transfer-Encoding",
    "Transfer-Encoding",
    "Transfer-Encoding",
    "transfer-encoding",
    "TRANSFER-ENCODING",
    "Transfer_Encoding",
    "Transfer-Encoding ",
    " Transfer-Encoding",
    "Transfer-Encoding\t",
    "Transfer-Encoding\0",
    "Transfer-Encodin",
    "Transfer\r\n-Encoding",
    "Transfer-Encoding\u{b}",
    "\0Transfer-Encoding",
    "Transfer Encoding",
    "X:\r\nTransfer-Encoding",
    "X: y\nTransfer-Encoding",
    "X: y\rTransfer-Encoding",
    "Transfer-Encoding\r\n",
    "TE",
    "Transfer-Encoding;",
];
pub(super) const LENGTH_NAMES: &[&str] = &[
    "Content-Length",
    "Content-Length",
    "Content-Length",
    "content-length",
    "CONTENT-LENGTH",
    "Content_Length",
    "Content-Length ",
    " Content-Length",
    "Content-Length\t",
    "Content-Length\0",
    "X: y\nContent-Length",
    "X: y\rContent-Length",
    "Content Length",
    "Content-Length\r\n",
    "Content-length;",
    "Content-Lengt",
    "X-Content-Length",
];
pub(super) const CONNECTIONS: &[&str] = &[
    "close",
    "keep-alive",
    "Close",
    "CLOSE",
    "close, keep-alive",
    "keep-alive, close",
    "upgrade",
    "Upgrade",
    "Upgrade, HTTP2-Settings",
    "close, upgrade",
    "x-a",
    "X-A, close",
    "content-length",
    "transfer-encoding",
    "host",
    "te",
    "TE, close",
    "trailer",
    "expect",
    "cookie",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "connection",
    ",",
    "",
    " ",
    ",close",
    "close,",
    "close;a",
    "\"close\"",
    "close close",
    ":path",
    ":authority",
    "x-request-id",
    "via",
    "authorization",
    "keep-alive, x-a, te",
    "close\u{b}",
    "clos",
    "closed",
    "user-agent",
    "proxy-connection",
    "x-a,x-a",
    "upgrade,x-a",
    "x_a",
    "x a",
    "date",
    "server",
    "http2-settings",
    "x0,x1,x2,x3,x4,x5,x6,x7,x8,x9,x10",
    ", , , , , , , , , , ",
];
pub(super) const PROTOCOLS: &[&str] = &[
    "websocket",
    "WebSocket",
    "h2c",
    "H2C",
    "websocket, other",
    "other",
    "foo",
    "",
    "websocket/13",
    "h2c, websocket",
    "TLS/1.0",
    "websocket,",
    " websocket ",
    "connect",
    "HTTP/2.0",
    "\"websocket\"",
];
const EXPECTATIONS: &[&str] = &[
    "100-continue",
    "100-Continue",
    "100-CONTINUE",
    "100-continue, x",
    "x",
    "",
    "100 continue",
    "100-continue ",
    "200-ok",
    "100-continue;a",
];
const TES: &[&str] = &[
    "trailers",
    "gzip",
    "trailers, deflate",
    "deflate;q=0.5, trailers",
    "Trailers",
    "trailers;q=0.5",
    "",
    "chunked",
    "trailers,trailers",
    " trailers",
    "trailersx",
];
const NAMES: &[&str] = &[
    "X-A",
    "X-a",
    "x_a",
    "X-B",
    "Accept",
    "User-Agent",
    "Cookie",
    "Keep-Alive",
    "Proxy-Connection",
    "Trailer",
    "HTTP2-Settings",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Request-Id",
    "X-Envoy-Internal",
    "X-Envoy-External-Address",
    "X-Envoy-Original-Path",
    "X-Envoy-Max-Retries",
    "X-Envoy-Expected-Rq-Timeout-Ms",
    "X-Envoy-Upstream-Rq-Timeout-Ms",
    "X-Envoy-Retry-On",
    "Via",
    "Content-Type",
    "Range",
    ":path",
    ":method",
    ":authority",
    ":scheme",
    ":foo",
    "Proxy-Authorization",
    "Forwarded",
    "Content-Encoding",
    "Traceparent",
    "Date",
    "Server",
    "Grpc-Timeout",
    "X-Forwarded-Client-Cert",
    "Early-Data",
    "Max-Forwards",
    "!#$%&'*+-.^_`|~",
    "Method",
    "Path",
    "Te",
    "X-HTTP-Method-Override",
    "Location",
    ":status",
    "Referer",
    "Origin",
];
pub(super) const VALUES: &[&str] = &[
    "1",
    "b",
    "",
    " ",
    "a b",
    "a,b",
    "http",
    "https",
    "1.2.3.4",
    "1.2.3.4, 5.6.7.8",
    "10.0.0.1",
    "\"q\"",
    "application/grpc",
    "\u{e9}",
    "trailers",
    "close",
    "a\tb",
    "ftp",
    "::1",
    "1.2.3.4:80",
    "true",
    "0",
    "100",
    "-1",
    "99999999999999999999",
];
const BODIES: &[&str] = &[
    "",
    "a",
    "abc",
    "hello",
    "0\r\n\r\n",
    "GET /in HTTP/1.1\r\nHost: in\r\n\r\n",
    "\r\n",
    "\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
const ENDS: &[&str] = &[
    "\n",
    "\r",
    "\r\r\n",
    "\n\r",
    "\r\n\r",
    " \r\n",
    "\t\r\n",
    "\r\n ",
    "\r\n\t",
    "\0\r\n",
    "",
    "\r \n",
    "\u{b}\r\n",
    "\n\n",
    "\r\n \r\n",
];
const COLONS: &[&str] = &[
    ":", " :", "\t:", ":  ", ":\t", " : ", "::", "", " ", ":\r\n ", "=", ":\u{b}", ":\0", "\r\n: ",
    ":\r", ":\n ", ";",
];
const VALUE_ENDS: &[&str] = &[
    " ",
    "\t",
    " \t ",
    "\u{b}",
    "\r",
    "\0",
    "\r\n b",
    "\r\n\tb",
    "\n b",
    "\nX-I: 1",
    "\rX-I: 1",
    "\r\n ",
    "\r\n \r\n c",
];
/// Sizes of chunks; `#` stands for the right one.
const SIZES: &[&str] = &[
    "0#",
    "000000000000000000#",
    "+#",
    "-#",
    "0x#",
    " #",
    "# ",
    "#\t",
    "\t#",
    "#g",
    "_#",
    "#_",
    "11111111111111111#",
    "ffffffffffffffff",
    "10000000000000000",
    "",
    "ffffffff",
    "#\0",
    "#\u{b}",
    "#.",
    "#,",
    "1#",
    "00",
    "\"#\"",
    "8000000000000000",
    "7fffffffffffffff",
    "fffffffffffffffe",
];
const EXTENSIONS: &[&str] = &[
    ";",
    ";a",
    ";a=b",
    " ;a=b",
    ";a=\"b\"",
    ";a=\"b;c\"",
    ";a=\"\r\n\"",
    ";a=\"b\\\"c\"",
    "; a = b",
    ";;",
    ";=",
    ";a=\0",
    ";a\nb",
    ";a\rb",
    " a",
    ";a=\"b",
    ";\t",
    "; ",
    ";a=b;c=d",
    ";a=b c",
    "\t;a",
    ";a=\"\u{1}\"",
    ";a\u{7f}",
    ";a=b\r",
    ";\"a\"",
    ";0\r\n\r\n",
    ";{",
    ";a/b",
];
const CHUNK_ENDS: &[&str] = &["", "X", "\r\nX", " \r\n", "\r\n\r\n", "\n", "\rX", "\r"];
const TRAILERS: &[&str] = &[
    "X-T",
    "x_t",
    "Trailer",
    "Content-Length",
    "Transfer-Encoding",
    "Host",
    "Connection",
    "X-Forwarded-For",
    ":path",
    "Te",
    "Upgrade",
    "Content-Type",
    "Authorization",
    "Set-Cookie",
    "Expect",
    "Keep-Alive",
    "Cookie",
    "x-request-id",
    "Range",
    "Via",
    "Grpc-Status",
    ":method",
    "X A",
    "",
    "Cache-Control",
    "proxy-connection",
    "Date",
    "Max-Forwards",
];
const FRONTS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "\r\n\r\n",
    "\0",
    "\r\n\r\n\r\n",
    "\n\n",
    "\u{feff}",
    "\t",
];
const SPACES: &[&str] = &[
    "  ", "\t", "", "\u{b}", "\r", "\0", " \t", " x ", "\u{a0}", "\n", "\t ",
];
/// The last request of most cases: it is answered only if nothing before it ended the connection.
const LAST: &[u8] = b"GET /end HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n";

/// A case: some requests on one connection.
pub fn case(chance: &mut Chance) -> Case {
    let variant = chance.below(variants::ALL.len());
    let mut author = Author::new(chance);
    let mut bytes = Vec::new();
    for _ in 0..author.chance.of(&[1, 1, 1, 2, 2, 3]) {
        author.request(&mut bytes);
    }
    author.damage(&mut bytes);
    if author.chance.below(4) > 0 {
        bytes.extend_from_slice(LAST);
    }
    Case {
        variant,
        client: cut(chance, &bytes),
        answer: None,
    }
}

/// Who writes one side of a conversation.
pub(super) struct Author<'a> {
    pub(super) chance: &'a mut Chance,
    /// How odd it is, in hundredths.
    oddity: usize,
}

impl<'a> Author<'a> {
    pub(super) fn new(chance: &'a mut Chance) -> Self {
        let oddity = chance.of(&[3, 10, 15, 25, 40, 60]);
        Self { chance, oddity }
    }

    /// Whether something odd happens here; `weight` is in hundredths too.
    pub(super) fn odd(&mut self, weight: usize) -> bool {
        self.chance.of_myriad(self.oddity * weight)
    }

    pub(super) fn pick(&mut self, words: &[&'static str]) -> &'static str {
        self.chance.of(words)
    }

    fn odd_byte(&mut self) -> u8 {
        if self.chance.below(10) < 7 {
            self.chance.of(BYTES)
        } else {
            self.chance.byte()
        }
    }

    /// Puts bytes somewhere into a word, or in the place of some.
    pub(super) fn spoilt(&mut self, word: &str, weight: usize) -> Vec<u8> {
        let mut word = word.as_bytes().to_vec();
        while self.odd(weight) {
            let at = self.chance.below(word.len() + 1);
            let byte = self.odd_byte();
            if at < word.len() && self.chance.one_in(2) {
                word[at] = byte;
            } else {
                word.insert(at, byte);
            }
        }
        word
    }

    pub(super) fn line_end(&mut self) -> &'static str {
        if self.odd(3) { self.pick(ENDS) } else { "\r\n" }
    }

    /// A byte more, less or other, or a part again, anywhere.
    pub(super) fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() || !self.chance.one_in(8) {
            return;
        }
        let at = self.chance.below(bytes.len());
        let byte = self.odd_byte();
        match self.chance.below(9) {
            0..4 => bytes.insert(at, byte),
            4..6 => drop(bytes.remove(at)),
            6 => bytes[at] = byte,
            7 => {
                let end = bytes.len().min(at + 1 + self.chance.below(40));
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.truncate(at),
        }
    }

    fn path(&mut self) -> String {
        if !self.odd(150) {
            return self
                .pick(&["/", "/a", "/a/b", "/a?b=c", "/direct", "/end"])
                .to_owned();
        }
        let mut path = String::new();
        for _ in 0..=self.chance.below(4) {
            path = path + "/" + self.pick(SEGMENTS);
        }
        if self.chance.one_in(3) {
            path.push_str(self.pick(QUERIES));
        }
        path
    }

    fn target(&mut self, method: &str) -> Vec<u8> {
        let target = if method == "CONNECT" && self.chance.below(8) > 0 {
            if self.odd(100) {
                self.pick(HOSTS).to_owned()
            } else {
                "a.example:443".to_owned()
            }
        } else if self.odd(60) {
            let path = self.path();
            let behind = self.chance.of(&[
                "",
                "/",
                "/a",
                "?q",
                "/a?b",
                "#f",
                "//",
                "/../b",
                path.as_str(),
                ":80/x",
                "*",
            ]);
            format!("{}{}{behind}", self.pick(SCHEMES), self.pick(HOSTS))
        } else if self.odd(30) {
            self.pick(ODD_TARGETS).to_owned()
        } else {
            self.path()
        };
        self.spoilt(&target, 5)
    }

    pub(super) fn field(&mut self, name: &str, value: &str) -> Vec<u8> {
        let colon = if self.odd(15) {
            self.pick(COLONS)
        } else {
            ": "
        };
        let mut line = Vec::new();
        if self.odd(4) {
            line.extend_from_slice(self.pick(FRONTS).as_bytes());
        }
        line.extend(self.spoilt(name, 4));
        line.extend_from_slice(colon.as_bytes());
        line.extend(self.spoilt(value, 6));
        if self.odd(6) {
            line.extend_from_slice(self.pick(VALUE_ENDS).as_bytes());
        }
        line.extend_from_slice(self.line_end().as_bytes());
        line
    }

    pub(super) fn body(&mut self) -> &'static str {
        self.pick(BODIES)
    }

    /// A length that is right, or one of those that are not.
    pub(super) fn length(&mut self, right: usize) -> String {
        if self.odd(12) {
            return self.pick(WRONG_LENGTHS).to_owned();
        }
        if self.odd(12) {
            return (right + self.chance.below(3)).saturating_sub(1).to_string();
        }
        let form = if self.odd(45) {
            self.pick(LENGTHS)
        } else {
            "#"
        };
        form.replace('#', &right.to_string())
    }

    /// The chunks of a body, and trailers.
    pub(super) fn chunks(&mut self, body: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = body.as_bytes();
        loop {
            let taken = if rest.is_empty() {
                0
            } else {
                1 + self.chance.below(rest.len())
            };
            let (part, behind) = rest.split_at(taken);
            rest = behind;
            let size = if self.odd(8) { taken + 1 } else { taken };
            let form = if self.odd(35) { self.pick(SIZES) } else { "#" };
            out.extend_from_slice(form.replace('#', &format!("{size:x}")).as_bytes());
            if self.odd(50) {
                out.extend_from_slice(self.pick(EXTENSIONS).as_bytes());
            }
            out.extend_from_slice(self.line_end().as_bytes());
            if taken == 0 {
                break;
            }
            out.extend_from_slice(part);
            let end = if self.odd(15) {
                self.pick(CHUNK_ENDS)
            } else {
                self.line_end()
            };
            out.extend_from_slice(end.as_bytes());
        }
        if self.odd(80) {
            for _ in 0..=self.chance.below(3) {
                let (name, value) = (self.pick(TRAILERS), self.pick(VALUES));
                out.extend(self.field(name, value));
            }
        }
        out.extend_from_slice(self.line_end().as_bytes());
        out
    }

    /// The fields that say how long a body is, and the body.
    pub(super) fn framed(&mut self, body: &'static str, fields: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let bytes = match self.chance.below(20) {
            0..9 => {
                let name = if self.odd(45) {
                    self.pick(LENGTH_NAMES)
                } else {
                    "Content-Length"
                };
                let length = self.length(body.len());
                fields.push(self.field(name, &length));
                body.as_bytes().to_vec()
            }
            9..19 => {
                let name = if self.odd(45) {
                    self.pick(CODING_NAMES)
                } else {
                    "Transfer-Encoding"
                };
                let coding = if self.odd(55) {
                    self.pick(CODINGS)
                } else {
                    "chunked"
                };
                fields.push(self.field(name, coding));
                self.chunks(body)
            }
            _ => body.as_bytes().to_vec(),
        };
        if self.odd(12) {
            let length = self.length(bytes.len());
            fields.push(self.field("Content-Length", &length));
        }
        if self.odd(12) {
            let coding = self.pick(CODINGS);
            fields.push(self.field("Transfer-Encoding", coding));
        }
        bytes
    }

    /// Fields that are about the connection.
    fn hop_fields(&mut self, fields: &mut Vec<Vec<u8>>) {
        for (weight, name, values) in [
            (70, "Connection", CONNECTIONS),
            (20, "Connection", CONNECTIONS),
            (30, "Upgrade", PROTOCOLS),
            (25, "Expect", EXPECTATIONS),
            (30, "TE", TES),
            (15, "Proxy-Connection", CONNECTIONS),
        ] {
            if self.odd(weight) {
                let value = self.pick(values);
                fields.push(self.field(name, value));
            }
        }
        if self.odd(8) {
            let protocol = self.pick(PROTOCOLS);
            fields.push(self.field("Connection", "Upgrade"));
            fields.push(self.field("Upgrade", protocol));
        }
    }

    fn request_line(&mut self, method: &str) -> Vec<u8> {
        let mut line = Vec::new();
        if self.odd(15) {
            line.extend_from_slice(self.pick(FRONTS).as_bytes());
        }
        line.extend(self.spoilt(method, 3));
        line.extend_from_slice(if self.odd(8) { self.pick(SPACES) } else { " " }.as_bytes());
        line.extend(self.target(method));
        line.extend_from_slice(if self.odd(8) { self.pick(SPACES) } else { " " }.as_bytes());
        let version = if self.odd(40) {
            self.pick(VERSIONS)
        } else {
            "HTTP/1.1"
        };
        line.extend(self.spoilt(version, 3));
        line.extend_from_slice(self.line_end().as_bytes());
        line
    }

    fn request(&mut self, out: &mut Vec<u8>) {
        let method = if self.odd(20) {
            self.pick(ODD_METHODS)
        } else {
            self.pick(METHODS)
        };
        out.extend(self.request_line(method));
        let mut fields = Vec::new();
        if !self.odd(10) {
            let name = if self.odd(15) {
                self.pick(&["host", "HOST", "Host ", " Host", "X: y\nHost", "Hos"])
            } else {
                "Host"
            };
            let host = if self.odd(100) {
                self.pick(HOSTS)
            } else {
                "a.example"
            };
            fields.push(self.field(name, host));
        }
        if self.odd(6) {
            let host = self.pick(HOSTS);
            fields.push(self.field("Host", host));
        }
        let has_body =
            !matches!(method, "GET" | "HEAD" | "CONNECT" | "DELETE" | "TRACE") || self.odd(60);
        let body = if has_body {
            let body = self.body();
            self.framed(body, &mut fields)
        } else {
            Vec::new()
        };
        self.hop_fields(&mut fields);
        while self.odd(90) {
            let (name, value) = (self.pick(NAMES), self.pick(VALUES));
            fields.push(self.field(name, value));
        }
        if self.odd(5) {
            let many = self.chance.of(&[5, 6, 7, 8, 9, 95, 98, 99, 100, 101]);
            fields.extend((0..many).map(|at| format!("X-{at}: 1\r\n").into_bytes()));
        }
        if self.odd(5) {
            let long = self
                .chance
                .of(&[900, 940, 960, 980, 990, 1000, 1010, 1020, 1030]);
            fields.push(format!("X-Long: {}\r\n", "a".repeat(long)).into_bytes());
        }
        if self.chance.one_in(2) {
            self.shuffle(&mut fields);
        }
        out.extend(fields.concat());
        out.extend_from_slice(self.line_end().as_bytes());
        out.extend(body);
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.chance.below(at + 1));
        }
    }
}
