//! Requests that are made up, odd in a place or several.
//!
//! Owns how they are put together: each part is as it should be, or with some chance one of those of
//! `words`. [`super::answers`] takes the parts that responses have too.

use super::words::{
    BODIES, BYTES, CHUNK_ENDS, CODING_NAMES, CODINGS, COLONS, CONNECTIONS, ENDS, EXPECTATIONS,
    EXTENSIONS, FRONTS, HOSTS, LAST, LENGTH_NAMES, LENGTHS, METHODS, NAMES, ODD_METHODS,
    ODD_TARGETS, PROTOCOLS, QUERIES, SCHEMES, SEGMENTS, SIZES, SPACES, TES, TRAILERS, VALUE_ENDS,
    VALUES, VERSIONS, WRONG_LENGTHS,
};
use super::{Case, cut, variants};
use crate::chance::Chance;

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
