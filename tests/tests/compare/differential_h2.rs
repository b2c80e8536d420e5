//! HTTP/2 that is made up: requests and answers of upstreams that are odd in a place or two, from a
//! seed. Compared is whether they are taken, and what of them arrives. What Nuncio refuses or changes on
//! purpose (`docs/differences.md`) is not among them.
//!
//! `NUNCIO_DIFFERENTIAL="SEED COUNT"` compares as many others.

#![expect(
    clippy::indexing_slicing,
    reason = "cases are made from tables, within their lengths"
)]

use nuncio_tests::chance::{self, Chance};
use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::frames::{self, flag, kind};

/// What is compared where nobody asks for more: a second for each proxy.
const USUAL: (u64, usize) = (1, 200);

type Field = (Vec<u8>, Vec<u8>);

pub(crate) fn requests() -> Group {
    group("made-up requests", request)
}

pub(crate) fn answers() -> Group {
    group("made-up answers", answer)
}

fn group(name: &'static str, made_up: fn(&mut Chance, usize) -> Case) -> Group {
    let (seed, count) = chance::wanted(USUAL);
    let mut chance = Chance::new(seed);
    let cases = (0..count).map(|at| made_up(&mut chance, at)).collect();
    Group::new(name, include_str!("../../cases/frames.yaml"), cases)
}

fn field(name: &str, value: &str) -> Field {
    (name.into(), value.into())
}

/// Names and values that mean something, to somebody, or that nothing may have.
const FIELDS: [(&str, &[&str]); 16] = [
    (
        "x",
        &[
            "",
            "y",
            " y ",
            "a\tb",
            "a\nb",
            "a\rb",
            "a\0b",
            "\u{e9}",
            "a\r\nb: c",
        ],
    ),
    ("X", &["y"]),
    ("", &["y"]),
    ("x y", &["z"]),
    ("x_y", &["z"]),
    ("x\r\ny", &["z"]),
    ("te", &["trailers", "gzip", "trailers, gzip", ""]),
    ("connection", &["close", "x"]),
    ("keep-alive", &["5"]),
    ("proxy-connection", &["close"]),
    ("transfer-encoding", &["chunked", "identity", ""]),
    ("upgrade", &["h2c", "websocket"]),
    ("cookie", &["a=1", "", "b"]),
    ("trailer", &["x"]),
    ("via", &["1.1 x"]),
    ("x-forwarded-for", &["1.2.3.4", "x"]),
];

fn any_field(chance: &mut Chance) -> Field {
    let (name, values) = FIELDS[chance.below(FIELDS.len())];
    let (mut name, mut value) = field(name, chance.of(values));
    if chance.one_in(6) {
        let byte = chance.byte();
        let text = if chance.one_in(2) {
            &mut name
        } else {
            &mut value
        };
        chance.spoil(text, byte);
    }
    (name, value)
}

/// What follows a head.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    None,
    Any,
    /// Whose head does not say how long it is: the library has its own mind where there is none.
    Unmeasured,
}

/// What one side of a stream sends, and how a case is called by it.
#[derive(Default)]
struct Made {
    bytes: Vec<u8>,
    told: Vec<String>,
    /// The fields that stand in the table, the newest first.
    table: Vec<Field>,
}

impl Made {
    /// A head in one frame, or cut somewhere.
    fn head(&mut self, chance: &mut Chance, flags: u8, fields: &[Field]) {
        let text = |text: &[u8]| text.escape_ascii().to_string();
        let told = fields.iter();
        let told = told.map(|(name, value)| format!("{}: {}", text(name), text(value)));
        self.told.push(told.collect::<Vec<_>>().join(", "));
        let block = self.block(chance, fields);
        if !chance.one_in(5) {
            let flags = flags | flag::END_HEADERS;
            self.bytes
                .extend(frames::frame(kind::HEADERS, flags, 1, &block));
            return;
        }
        let at = chance.below(block.len() + 1);
        let (first, second) = block.split_at(at);
        self.told.push(format!("cut at {at}"));
        self.bytes
            .extend(frames::frame(kind::HEADERS, flags, 1, first));
        let end = flag::END_HEADERS;
        let stream = if chance.one_in(12) { 3 } else { 1 };
        if stream != 1 {
            self.told.push("on another stream".to_owned());
        }
        self.bytes
            .extend(frames::frame(kind::CONTINUATION, end, stream, second));
    }

    /// Fields in the forms that there are: from the table, into it, or neither (RFC 7541 §6).
    fn block(&mut self, chance: &mut Chance, fields: &[Field]) -> Vec<u8> {
        let mut block = Vec::new();
        for field in fields {
            let known = self.table.iter().position(|known| known == field);
            if let Some(at) = known.filter(|at| *at < 60 && chance.one_in(2)) {
                self.told.push(format!("indexed at {at}"));
                block.push(0x80 | (62 + at) as u8);
                continue;
            }
            let from = block.len();
            block.extend(frames::block(std::slice::from_ref(field)));
            match chance.below(4) {
                0 => block[from] = 0x10,
                1 => {
                    block[from] = 0x40;
                    self.table.insert(0, field.clone());
                }
                _ => {}
            }
        }
        block
    }

    fn data(&mut self, flags: u8) {
        self.told.push("a body".to_owned());
        self.bytes.extend(frames::data(1, flags, b"abc"));
    }

    /// A head, a body of three bytes, what the head says of it, and how the stream ends.
    fn message(&mut self, chance: &mut Chance, mut fields: Vec<Field>, body: Body) {
        if body == Body::None {
            return self.head(chance, flag::END_STREAM, &fields);
        }
        match chance.below(4) {
            0 if body == Body::Unmeasured => {
                self.head(chance, flag::NONE, &fields);
                self.bytes.extend(frames::data(1, flag::END_STREAM, b""));
            }
            // What of it arrives before it turns out too short or too long is up to each proxy.
            0 => {
                let length = chance.of(&LENGTHS);
                fields.push(field("content-length", length));
                if chance.one_in(4) {
                    fields.push(field("content-length", length));
                }
                self.head(chance, flag::NONE, &fields);
                self.data(flag::END_STREAM);
            }
            1 => {
                let name = chance.of(&[
                    "t",
                    "t",
                    "T",
                    ":path",
                    ":x",
                    "connection",
                    "te",
                    "a\"b",
                    ":status",
                ]);
                let mut trailers = vec![field(name, "200")];
                if chance.one_in(2) {
                    trailers.insert(0, field("u", "v"));
                }
                let ends = if chance.one_in(8) {
                    flag::NONE
                } else {
                    flag::END_STREAM
                };
                self.head(chance, flag::NONE, &fields);
                self.data(flag::NONE);
                self.head(chance, ends, &trailers);
            }
            _ => {
                self.head(chance, flag::NONE, &fields);
                self.data(flag::END_STREAM);
            }
        }
    }

    fn name(&self, at: usize, path: &str) -> String {
        format!("{at} {path} {}", self.told.join(" / "))
    }
}

/// Lengths of three bytes, or not.
const LENGTHS: [&str; 11] = [
    "3",
    "2",
    "4",
    "+3",
    "-3",
    "3,3",
    "3 ",
    "0x3",
    "",
    "x",
    "99999999999999999999",
];

/// Puts something odd among the fields that begin a head; `own` are the names that it may have.
fn spoil_head(chance: &mut Chance, fields: &mut Vec<Field>, own: &[&str]) {
    let at = chance.below(fields.len());
    match chance.below(6) {
        0 => drop(fields.remove(at)),
        1 => {
            let again = fields[at].clone();
            let to = chance.below(fields.len() + 1);
            fields.insert(to, again);
        }
        2 => {
            let to = chance.below(fields.len());
            fields.swap(at, to);
        }
        3 => {
            let other = chance.of(&[":path", ":status", ":method", ":x", ":", ":protocol"]);
            fields.push(field(other, "/x"));
        }
        4 if own.contains(&&*String::from_utf8_lossy(&fields[at].0)) => {
            let byte = chance.byte();
            chance.spoil(&mut fields[at].1, byte);
        }
        _ => {
            let to = chance.below(fields.len() + 1);
            let added = any_field(chance);
            fields.insert(to, added);
        }
    }
}

fn request(chance: &mut Chance, at: usize) -> Case {
    let path = chance.of(&["/up", "/h2"]);
    let method = chance.of(&["GET", "POST", "PUT", "DELETE", "OPTIONS", "FOO", "get"]);
    let fields = frames::request(method, path).into_iter();
    let mut fields: Vec<Field> = fields.map(|(name, value)| field(name, value)).collect();
    for _ in 0..=chance.below(2) {
        // The bytes of targets and hosts have cases of their own.
        spoil_head(chance, &mut fields, &[":method", ":scheme"]);
    }
    let body = if chance.one_in(2) {
        Body::Any
    } else {
        Body::None
    };
    let mut made = Made::default();
    made.message(chance, fields, body);
    Case::frames(&made.name(at, path), made.bytes, Some(1)).any_order()
}

fn answer(chance: &mut Chance, at: usize) -> Case {
    let mut made = Made::default();
    if chance.one_in(4) {
        let status = field(":status", chance.of(&["100", "103", "101", "199"]));
        let interim = [status, any_field(chance)];
        made.head(chance, flag::NONE, &interim);
    }
    let mut status = chance.of(&["200", "206", "299", "600", "204", "304"]);
    if chance.one_in(8) {
        status = chance.of(&["1000", "20", "", "+20", "2e2", "abc"]);
    }
    let mut fields = vec![field(":status", status)];
    if chance.one_in(2) {
        spoil_head(chance, &mut fields, &[]);
    }
    let method = chance.of(&["GET", "GET", "GET", "HEAD"]);
    let body = match status {
        _ if chance.one_in(4) => Body::None,
        "204" | "304" => Body::Unmeasured,
        _ if method == "HEAD" => Body::Unmeasured,
        _ => Body::Any,
    };
    made.message(chance, fields, body);
    let request = frames::request(method, "/frames");
    let request = frames::headers(1, flag::END_STREAM, &request);
    made.told.insert(0, method.to_owned());
    Case::frames(&made.name(at, "/frames"), request, Some(1)).frames_reply(made.bytes)
}
