//! The differences that are meant, as the oracle recognises them.
//!
//! Owns, for each, what it looks like and the rows of `docs/differences.md` that say why. A test holds that
//! the rows are there.

use super::judge::{Fault, Look, last_response};
use super::lane::Ending;
use super::reading::{self, Field, Flaw, Message, Stream};
use super::{Answer, Case, variants};

/// A difference that is meant.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Name, unique.
    pub name: &'static str,
    /// Text of the rows that say so.
    pub rows: &'static [&'static str],
    /// Whether it explains that nuncio takes more, the one grave fault that any does.
    laxer: bool,
    /// Whether it explains what was seen.
    explains: fn(&Found<'_>) -> bool,
}

/// A fault, and what both sides did.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What was sent.
    pub case: &'a Case,
    /// What is otherwise.
    pub fault: Fault,
    /// What Envoy did.
    pub envoy: &'a Look,
    /// What nuncio did.
    pub nuncio: &'a Look,
}

/// The difference that explains a fault.
#[must_use]
pub fn find(found: &Found<'_>) -> Option<&'static Difference> {
    let side = if found.case.answer.is_none() {
        REQUESTS
    } else {
        ANSWERS
    };
    let may_be = |difference: &&Difference| {
        !found.fault.is_grave() || (difference.laxer && found.fault == Fault::Laxer)
    };
    let mut side = side.iter().filter(may_be);
    side.find(|difference| (difference.explains)(found))
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Difference> {
    REQUESTS.iter().chain(ANSWERS)
}

/// Those that say most come first.
const REQUESTS: &[Difference] = &[
    Difference {
        name: "no host where errors end requests alone",
        rows: &[
            "a 400 for a missing `host` or a `#` in the target, with `stream_error_on_invalid_http_message`",
        ],
        laxer: false,
        explains: |found| {
            let stream = reading::requests(&found.case.client.concat());
            let is_meant = match stream.flaw {
                Some(Flaw::Hosts) => stream.last_values("host") == 0,
                Some(Flaw::Target) => stream.last_target().contains(&b'#'),
                _ => false,
            };
            let (theirs, ours) = (found.envoy.finals(), found.nuncio.finals());
            // Envoy goes on with what came behind, and answers that too.
            found.is_in("errors of streams")
                && is_meant
                && ours.last() == Some(&400)
                && ours.len() == stream.whole().count() + 1
                && theirs.starts_with(&ours)
                && found.nuncio.ending != Ending::Open
                && (theirs.len() > ours.len() || found.envoy.ending == Ending::Open)
        },
    },
    Difference {
        name: "an old version",
        rows: &[
            "with `accept_http_10`: HTTP/0.9 and `HTTP/1.2`",
            "a request line without a version behind an absolute target: 426",
        ],
        laxer: false,
        explains: |found| found.refuses_more() && found.nuncio.finals().last() == Some(&426),
    },
    Difference {
        name: "a coding in HTTP/1.0",
        rows: &["with `accept_http_10`: `transfer-encoding` in HTTP/1.0"],
        laxer: false,
        explains: |found| {
            found.is_in("HTTP/1.0")
                && found.refuses_more()
                && found.nuncio.finals().last() == Some(&501)
        },
    },
    Difference {
        name: "an expectation in HTTP/1.0",
        rows: &["with `accept_http_10`: `expect: 100-continue` in HTTP/1.0"],
        laxer: false,
        explains: |found| {
            let (envoy, nuncio) = (found.envoy, found.nuncio);
            found.is_in("HTTP/1.0")
                && found.fault == Fault::Answered
                && envoy.finals() == nuncio.finals()
                && envoy.statuses.contains(&100)
        },
    },
    Difference {
        name: "an expectation without a host",
        rows: &["a 400 for a missing `host`, beside `expect: 100-continue`"],
        laxer: false,
        explains: |found| {
            let told = |look: &Look| look.statuses.contains(&100);
            let stream = reading::requests(&found.case.client.concat());
            let none = stream.flaw == Some(Flaw::Hosts) && stream.last_values("host") == 0;
            let both = found.envoy.refuses() && found.nuncio.refuses();
            found.fault == Fault::Answered
                && none
                && both
                && told(found.envoy)
                && !told(found.nuncio)
        },
    },
    Difference {
        name: "a target that is neither a path nor a URL",
        rows: &[
            "with `allow_absolute_url: false`: a target that is neither a path nor a URL (Envoy: 404)",
        ],
        laxer: false,
        explains: |found| {
            found.is_in("no absolute URLs")
                && found.refuses_more()
                && found.envoy.finals().contains(&404)
        },
    },
    Difference {
        name: "what came behind a request that is not answered yet",
        rows: &[
            "more than two requests behind one that is not answered yet",
            "requests that came behind one that is answered without an upstream",
        ],
        laxer: true,
        explains: |found| {
            let (envoy, nuncio) = (found.envoy, found.nuncio);
            envoy.ending != Ending::Open
                && envoy.finals().len() >= 2
                && softened(&nuncio.requests).starts_with(&softened(&envoy.requests))
                && nuncio.client.starts_with(&envoy.client)
                && !last_response(&envoy.client)
                    .1
                    .windows(5)
                    .any(|part| part == b"close")
        },
    },
    Difference {
        name: "fields that are written otherwise",
        rows: &[
            "an empty `te`",
            "`connection: http2-settings` without an upgrade",
            "`content-length: 003`",
            "trailers named `content-length`, `host`, `connection` and their like",
        ],
        laxer: false,
        explains: |found| {
            found.fault == Fault::Message
                && softened(&found.envoy.requests) == softened(&found.nuncio.requests)
        },
    },
    Difference {
        name: "fields of a hop beside an upgrade",
        rows: &[
            "fields that `connection` names beside an upgrade or in `CONNECT`",
            "`te` beside an upgrade",
        ],
        laxer: false,
        explains: |found| {
            let opens = |look: &Look| {
                look.requests
                    .iter()
                    .any(|message| message.end == reading::End::Tunnel)
            };
            let refuses = found.refuses_more() && found.names_fields_of_a_hop();
            let bytes = found.case.client.concat().to_ascii_lowercase();
            let asks = [&b"connect "[..], b"upgrade"];
            let asks = asks
                .iter()
                .any(|word| bytes.windows(word.len()).any(|part| part == *word));
            (refuses && asks)
                || (opens(found.envoy)
                    && found.fault == Fault::Message
                    && (found.names_fields_of_a_hop() || found.has_te()))
        },
    },
    Difference {
        name: "`CONNECT` and an upgrade in one",
        rows: &["`CONNECT` that asks for an upgrade as well"],
        laxer: false,
        explains: |found| {
            let both = |message: &Message| {
                message.method() == b"CONNECT" && message.values("upgrade").next().is_some()
            };
            found.is_in("upgrades") && found.envoy.requests.iter().any(both)
        },
    },
    Difference {
        name: "dots in front of a parameter",
        rows: &["with `normalize_path`: `/a/%2e%2e;/b` and `/a\\..;/b`"],
        laxer: false,
        explains: |found| {
            let bytes = found.case.client.concat().to_ascii_lowercase();
            let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
            matches!(found.fault, Fault::Message | Fault::Status)
                && [&b"..;"[..], b"%2e;"].iter().any(|text| has(text))
        },
    },
    Difference {
        name: "a request that two parsers could read differently",
        rows: &[
            "lines that end with LF alone",
            "more than one space, or tabs, in the request line",
            "CR inside a field value",
            "folded lines (obs-fold)",
            "two `host` lines, even equal",
            "user information in `host` or in an absolute target",
            "a `host` that is none, beside an absolute target",
            "`OPTIONS *a` (Envoy: 404)",
            "a fragment behind an absolute target without a path",
            "an empty `transfer-encoding` beside `chunked`: 501",
            "`connection: content-length`",
            "`connection` that names what no field can be called",
            "LF alone behind the data or in trailers, junk behind the size or the data",
            "a `content-length` that is no number",
        ],
        laxer: false,
        explains: |found| {
            let stream = reading::requests(&found.case.client.concat());
            let whole = stream.whole().count();
            let may_be_refused = match stream.flaw {
                None | Some(Flaw::Name) => false,
                // Envoy refuses a request without one too.
                Some(Flaw::Hosts) => stream.last_values("host") > 1,
                // Both lengths and chunks are an error but where they are allowed.
                Some(Flaw::Framing) => found.is_in("lengths beside chunks"),
                Some(_) => true,
            };
            found.refuses_more() && may_be_refused && whole < found.nuncio.finals().len()
        },
    },
];

const ANSWERS: &[Difference] = &[
    Difference {
        name: "a 101 that changes to nothing",
        rows: &[
            "`101` that nobody asked for, that does not say to what, or to `h2c`, or without `connection: upgrade`",
        ],
        laxer: false,
        explains: |found| {
            let changes_nothing = |message: &Message| {
                message.status() == 101
                    && !(found.asks_for_an_upgrade() && message.names_protocol())
            };
            let is_passed_on = found.envoy.statuses.last() == Some(&101);
            let (stream, _) = found.upstream();
            found.nuncio.has_no_answer()
                && is_passed_on
                && stream.messages.last().is_some_and(changes_nothing)
        },
    },
    Difference {
        name: "fields of a hop in trailers",
        rows: &[
            "trailers named `content-length`, `host`, `connection` and their like",
            "`content-length: 003`",
        ],
        laxer: false,
        explains: |found| {
            let messages = |look: &Look| softened(&look.responses.messages);
            found.fault == Fault::Answered && messages(found.envoy) == messages(found.nuncio)
        },
    },
    Difference {
        name: "several interim responses",
        rows: &["with `proxy_100_continue`: several interim responses to one request"],
        laxer: false,
        explains: |found| {
            let interim = found
                .upstream()
                .0
                .messages
                .iter()
                .filter(|message| message.is_interim())
                .count();
            found.is_in("interim")
                && interim > 0
                && found.envoy.finals() == found.nuncio.finals()
                && matches!(found.fault, Fault::Status | Fault::Answered)
        },
    },
    Difference {
        name: "an upgrade and an unknown interim response",
        rows: &["an upgrade that is answered with an unknown interim response, such as 150"],
        laxer: false,
        explains: |found| {
            let is_unknown = |status: u16| matches!(status, 104..=199);
            let (stream, _) = found.upstream();
            let statuses: Vec<_> = stream.messages.iter().map(Message::status).collect();
            let first = statuses.iter().find(|status| is_unknown(**status));
            let next = statuses.last().filter(|status| !is_unknown(**status));
            let ours = found.nuncio.statuses.last();
            found.asks_for_an_upgrade()
                && first.is_some()
                && found.envoy.statuses.last() == first
                && (ours == next || found.nuncio.has_no_answer())
        },
    },
    Difference {
        name: "the head of a tunnel",
        rows: &["a 2xx to `CONNECT`"],
        laxer: false,
        explains: |found| {
            let opens = |message: &Message| (200..300).contains(&message.status());
            let stripped = |look: &Look| {
                let mut messages = look.responses.messages.clone();
                for message in messages.iter_mut().filter(|message| opens(message)) {
                    let is_200 = message.status() == 200;
                    message.fields.retain(|(name, value)| {
                        let has = |field: &str, of: &[u8]| {
                            is_one_of(name, &[field]) && value.eq_ignore_ascii_case(of)
                        };
                        !has("content-length", b"0") && (is_200 || !has("connection", b"close"))
                    });
                }
                messages
            };
            found.answer().asked == reading::Asked::Connect
                && found.fault == Fault::Answered
                && found.nuncio.responses.messages.last().is_some_and(opens)
                && found.nuncio.responses.messages == stripped(found.envoy)
        },
    },
    Difference {
        name: "fields of a hop in the answer to an upgrade",
        rows: &["an upgrade that is answered with anything but 101"],
        laxer: false,
        explains: |found| {
            let without = |look: &Look| {
                let mut messages = softened(&look.responses.messages);
                for message in &mut messages {
                    message.fields.retain(|(name, _)| {
                        !is_one_of(name, &["keep-alive", "host", "connection", "upgrade"])
                    });
                }
                messages
            };
            found.is_in("upgrades")
                && found.fault == Fault::Answered
                && without(found.envoy) == without(found.nuncio)
        },
    },
    Difference {
        name: "a response that two parsers could read differently",
        rows: &[
            "with a version that is not HTTP/1.x, such as `HTTP/2.0`",
            "with a status of more than three digits",
            "with a status below 100, such as `099`",
            "with CR inside a value",
            "with `content-length` or `transfer-encoding` on a folded line",
            "with tabs or several spaces in the status line",
            "a 2xx to `CONNECT` with a `transfer-encoding` or a length above 0",
            "`304` with a `content-length` that is no number",
            "an empty `transfer-encoding` beside `chunked`",
            "A response in chunks breaks off",
        ],
        laxer: false,
        explains: |found| {
            let (stream, _) = found.upstream();
            // Without chunks towards the client, a body that breaks off has what had been read until then.
            let is_cut =
                found.fault == Fault::Answered && found.nuncio.client.starts_with(b"HTTP/1.0");
            let is_stricter = found.is_stricter_answer() || is_cut;
            is_stricter && stream.flaw.is_some_and(|flaw| flaw != Flaw::Name)
        },
    },
];

impl Found<'_> {
    fn is_in(&self, variant: &str) -> bool {
        variants::ALL[self.case.variant].name.starts_with(variant)
    }

    /// Whether nuncio says no, to no more than what Envoy takes.
    fn refuses_more(&self) -> bool {
        let no_more = self.nuncio.requests.len() <= self.envoy.requests.len();
        self.nuncio.refuses() && no_more
    }

    /// Whether nuncio gives the client less of an answer than Envoy.
    fn is_stricter_answer(&self) -> bool {
        let less =
            self.nuncio.has_no_answer() || self.envoy.client.starts_with(&self.nuncio.client);
        less || matches!(self.fault, Fault::Stricter)
    }

    fn answer(&self) -> &Answer {
        self.case
            .answer
            .as_ref()
            .expect("only cases with answers come here")
    }

    /// What the upstream sent, read.
    fn upstream(&self) -> (Stream, Vec<u8>) {
        let bytes = self.answer().pieces.concat();
        let (stream, rest) = reading::upstream_responses(&bytes, self.answer().asked);
        (stream, rest.to_vec())
    }

    /// Whether the client asks for another protocol, where upgrades are allowed.
    fn asks_for_an_upgrade(&self) -> bool {
        let stream = reading::requests(&self.case.client.concat());
        let asks = |message: &Message| message.method() != b"CONNECT" && message.names_protocol();
        self.is_in("upgrades") && stream.messages.last().is_some_and(asks)
    }

    /// Whether the client's `te` asks for anything.
    fn has_te(&self) -> bool {
        let has = |message: &Message| message.values("te").next().is_some();
        self.envoy.requests.iter().any(has)
    }

    /// Whether `connection` names anything beside what it is for.
    fn names_fields_of_a_hop(&self) -> bool {
        let bytes = self.case.client.concat().to_ascii_lowercase();
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"connection"));
        let mut members =
            lines.flat_map(|line| line.split(|byte| matches!(byte, b',' | b':')).skip(1));
        members.any(|member| !matches!(member.trim_ascii(), b"upgrade" | b"close" | b"keep-alive"))
    }
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// The messages without what is left out or written otherwise on purpose.
fn softened(messages: &[Message]) -> Vec<Message> {
    const OF_A_HOP: &[&str] = &[
        "content-length",
        "host",
        "connection",
        "te",
        "upgrade",
        "expect",
        "keep-alive",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "http2-settings",
    ];
    let soften = |message: &Message| {
        let mut message = message.clone();
        message.fields.retain(|(name, value)| {
            let is_empty_te = value.is_empty() && is_one_of(name, &["te"]);
            !is_empty_te && !is_one_of(name, &["http2-settings"])
        });
        for (name, value) in &mut message.fields {
            if is_one_of(name, &["content-length"]) {
                let zeros = value.iter().take_while(|byte| **byte == b'0').count();
                value.drain(..zeros.min(value.len().saturating_sub(1)));
            }
        }
        let stays = |(name, _): &Field| !is_one_of(name, OF_A_HOP);
        message.trailers.retain(stays);
        message
    };
    messages.iter().map(soften).collect()
}
