//! HTTP/2 that no library sends: malformed requests, and frames where they may not be. Compared is
//! whether they are taken: nuncio refuses a request that is malformed and keeps the connection, where
//! Envoy ends it (`stream_error_on_invalid_http_message`).

#![expect(clippy::too_many_lines, reason = "tables of cases")]

#[path = "frames/large.rs"]
mod large;

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::frames::{self, flag, kind};

type Fields = Vec<(&'static str, &'static str)>;

pub(crate) fn group() -> Group {
    let mut cases = fields();
    cases.extend(hosts());
    cases.extend(targets());
    cases.extend(lengths());
    cases.extend(many_fields());
    cases.extend(trailers());
    cases.extend(odd_trailers());
    cases.extend(answers());
    cases.extend(large::answers());
    cases.extend(bare_answers());
    cases.extend(indexed_answers());
    cases.extend(connection());
    cases.extend(settings());
    cases.extend(settings_of_upstreams());
    cases.extend(floods_of_upstreams());
    cases.extend(many_empty_frames());
    cases.extend(heads());
    Group::new("frames", include_str!("../../cases/frames.yaml"), cases)
}

/// A GET of `/direct` without those of its fields, and with others behind them.
fn request(without: &[&str], with: &[(&'static str, &'static str)]) -> Fields {
    let mut fields = frames::request("GET", "/direct");
    fields.retain(|(name, _)| !without.contains(name));
    fields.extend(with);
    fields
}

fn fields() -> Vec<Case> {
    let path = |path| request(&[":path"], &[(":path", path)]);
    let scheme = |scheme| request(&[":scheme"], &[(":scheme", scheme)]);
    let with = |name, value| request(&[], &[(name, value)]);
    let table = [
        ("a request", request(&[], &[])),
        ("no method", request(&[":method"], &[])),
        ("no scheme", request(&[":scheme"], &[])),
        ("an empty scheme", scheme("")),
        (
            "an empty scheme, a host",
            request(
                &[":scheme", ":authority"],
                &[(":scheme", ""), ("host", "a.example")],
            ),
        ),
        ("no authority", request(&[":authority"], &[])),
        ("no path", request(&[":path"], &[])),
        ("an empty path", path("")),
        ("a path without a slash", path("direct")),
        ("two paths", with(":path", "/up")),
        ("a status", with(":status", "200")),
        ("an unknown pseudo-header", with(":x", "y")),
        (
            "a pseudo-header behind a field",
            request(&[":path"], &[("x", "y"), (":path", "/direct")]),
        ),
        ("a scheme that begins with a digit", scheme("1a")),
        ("a scheme with a tilde", scheme("ht~tp")),
        ("a scheme of its own", scheme("a+b-c.1")),
        ("the target of OPTIONS", path("*")),
        ("a query without a path", path("?")),
        (
            "an empty cookie",
            request(&[":path"], &[(":path", "/up"), ("cookie", "")]),
        ),
        (
            "an empty cookie in front",
            request(
                &[":path"],
                &[
                    (":path", "/up"),
                    ("cookie", ""),
                    ("x", "y"),
                    ("cookie", "a"),
                ],
            ),
        ),
        (
            "a field twice, once empty",
            request(
                &[":path"],
                &[(":path", "/up"), ("expect", "x"), ("expect", "")],
            ),
        ),
        (
            "a field three times, twice empty",
            request(
                &[":path"],
                &[
                    (":path", "/up"),
                    ("referer", ""),
                    ("referer", "x"),
                    ("referer", ""),
                ],
            ),
        ),
        ("a name in upper case", with("X-A", "y")),
        ("a quote in a name", with("x\"a", "y")),
        ("an empty length", with("content-length", "")),
        (
            "https in upper case",
            request(
                &[":scheme", ":path"],
                &[(":scheme", "HTTPS"), (":path", "/h2")],
            ),
        ),
        ("connection", with("connection", "close")),
        ("keep-alive", with("keep-alive", "5")),
        ("proxy-connection", with("proxy-connection", "close")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("upgrade", with("upgrade", "websocket")),
        ("te gzip", with("te", "gzip")),
        ("te trailers", with("te", "trailers")),
        ("an empty name", with("", "y")),
        ("a space in a name", with("x y", "z")),
        ("a line feed in a value", with("x", "a\nb")),
        ("a carriage return in a value", with("x", "a\rb")),
        ("nul in a value", with("x", "a\0b")),
        ("space around a value", with("x", " y ")),
        ("a host beside the authority", with("host", "b.example")),
        ("an unknown field", with("x", "y")),
    ];
    let case = |(name, fields): (&str, Fields)| {
        let head = frames::headers(1, flag::END_STREAM, &fields);
        Case::frames(name, head, Some(1))
    };
    table.into_iter().map(case).collect()
}

/// Hosts in place of `:authority`, and beside it.
fn hosts() -> Vec<Case> {
    let alone = [
        ("a host alone", "b.example"),
        ("a host that is no name", "a_b:c%41"),
        ("a host with a slash", "a/b"),
        ("a host with a query", "a?b#c"),
        ("a host with a quote", "a\"b"),
        ("a host with a bar", "a|b"),
        ("a host that is not ASCII", "\u{e9}"),
        ("a host with a space", "a b"),
        ("a host with a name in front", "u@a"),
        ("an empty host", ""),
    ];
    let mut table: Vec<(String, Fields)> = Vec::new();
    for (name, host) in alone {
        let without = request(&[":authority"], &[("host", host)]);
        table.push((name.to_owned(), without));
        table.push((format!("{name}, beside"), request(&[], &[("host", host)])));
    }
    let two = [("host", "b.example"), ("host", "b.example")];
    table.push(("two hosts".to_owned(), request(&[":authority"], &two)));
    table.push(("two hosts, beside".to_owned(), request(&[], &two)));
    let authority = |authority| request(&[":authority"], &[(":authority", authority)]);
    for (name, host) in [
        ("an authority with a name in front", "u@a"),
        ("an authority with a slash", "a/b"),
        ("an authority that is no name", "a:b:c"),
        ("an empty authority", ""),
    ] {
        table.push((name.to_owned(), authority(host)));
    }
    let case = |(name, fields): (String, Fields)| {
        let head = frames::headers(1, flag::END_STREAM, &fields);
        Case::frames(&name, head, Some(1))
    };
    table.into_iter().map(case).collect()
}

/// Targets with bytes that RFC 3986 does not know in them.
fn targets() -> Vec<Case> {
    let table = [
        ("a fragment", "/direct#x"),
        ("a fragment behind a query", "/direct?a#x"),
        ("quotes in a query", "/direct?{\"a\":1}"),
        ("angles in a query", "/direct?a=<b>"),
        ("quotes in a path", "/up\"a\""),
        ("angles in a path", "/up<a>"),
        ("a backtick in a path", "/up`"),
        ("braces and others in a path", "/up{a}|\\^"),
    ];
    let case = |(name, path)| {
        let fields = request(&[":path"], &[(":path", path)]);
        Case::frames(name, frames::headers(1, flag::END_STREAM, &fields), Some(1))
    };
    table.map(case).into()
}

/// As many fields as a head may have, and one more.
fn many_fields() -> Vec<Case> {
    let filled = |fields: &Fields, count: usize| {
        let begun = fields.iter();
        let begun = begun.map(|(name, value)| ((*name).to_owned(), *value));
        let more = (fields.len()..count).map(|at| (format!("f{at}"), "v"));
        let fields: Vec<(String, &str)> = begun.chain(more).collect();
        frames::headers(1, flag::END_STREAM, &fields)
    };
    let cookies = request(&[], &[("cookie", "a=1"), ("cookie", "b=2")]);
    let mut alone = request(&[":authority"], &[]);
    alone.push(("host", "a.example"));
    let heads = [
        ("a head", request(&[], &[])),
        ("a head with cookies", cookies),
        ("a head with a host", request(&[], &[("host", "a.example")])),
        ("a head with a host alone", alone),
    ];
    let mut cases = Vec::new();
    for count in [100, 101] {
        for (name, fields) in &heads {
            let name = format!("{name} of {count} fields");
            cases.push(Case::frames(&name, filled(fields, count), Some(1)));
        }
        let answer = filled(&vec![(":status", "200")], count);
        let name = format!("an answer of {count} fields");
        let case = Case::frames(&name, frames::get(1, "/frames"), Some(1));
        cases.push(case.frames_reply(answer));
    }
    cases
}

/// As many trailers as a head may have fields, and one more.
fn trailers() -> Vec<Case> {
    let case = |count: usize| {
        let fields = frames::request("POST", "/up");
        let names: Vec<String> = (0..count).map(|at| format!("t{at}")).collect();
        let trailers: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "v")).collect();
        let bytes = [
            frames::headers(1, flag::NONE, &fields),
            frames::data(1, flag::NONE, b"abc"),
            frames::headers(1, flag::END_STREAM, &trailers),
        ];
        Case::frames(&format!("{count} trailers"), bytes.concat(), Some(1))
    };
    let mut cases: Vec<Case> = [100, 101].map(case).into();
    cases.extend(large::trailers().map(|(name, trailers)| {
        let bytes = [
            frames::headers(1, flag::NONE, &frames::request("POST", "/up")),
            frames::data(1, flag::NONE, b"abc"),
            trailers,
        ];
        Case::frames(&format!("{name} trailers"), bytes.concat(), Some(1))
    }));
    cases
}

/// Trailers that say what only a head may say.
fn odd_trailers() -> Vec<Case> {
    let table = [
        ("a trailer", ("t", "v")),
        (
            "a length that is another, in a trailer",
            ("content-length", "2"),
        ),
        ("a length in a trailer", ("content-length", "3")),
        ("a host that is none, in a trailer", ("host", "a/b")),
        ("a host in a trailer", ("host", "a")),
        ("connection in a trailer", ("connection", "x")),
        ("te in a trailer", ("te", "gzip")),
        ("a target in a trailer", (":path", "/direct")),
        ("a status in a trailer", (":status", "200")),
    ];
    let case = |(name, trailer)| {
        let bytes = [
            frames::headers(1, flag::NONE, &frames::request("POST", "/up")),
            frames::data(1, flag::NONE, b"abc"),
            frames::headers(1, flag::END_STREAM, &[trailer]),
        ];
        Case::frames(name, bytes.concat(), Some(1))
    };
    table.map(case).into()
}

/// What an upstream answers to a GET.
fn answers() -> Vec<Case> {
    let status = |status| vec![(":status", status)];
    let with = |name, value| vec![(":status", "200"), (name, value)];
    let bodies = [
        ("an answer", with("x", "y")),
        ("an answer without a status", vec![("x", "y")]),
        ("a status of two digits", status("20")),
        ("a status of four digits", status("2000")),
        ("a status below 100", status("099")),
        ("a status that is no number", status("abc")),
        ("a name in upper case, answered", with("X", "y")),
        ("connection, answered", with("connection", "x")),
        ("a target, answered", with(":path", "/")),
        ("an unknown pseudo-header, answered", with(":x", "y")),
        ("a length, answered", with("content-length", "3")),
        (
            "a body that is too short, answered",
            with("content-length", "4"),
        ),
        (
            "a body that is too long, answered",
            with("content-length", "2"),
        ),
        (
            "a body in place of none, answered",
            with("content-length", "0"),
        ),
        ("an empty length, answered", with("content-length", "")),
        (
            "a length that is no number, answered",
            with("content-length", "+3"),
        ),
        (
            "two lengths, answered",
            vec![
                (":status", "200"),
                ("content-length", "3"),
                ("content-length", "3"),
            ],
        ),
        (
            "a length of what has no body",
            vec![(":status", "204"), ("content-length", "3")],
        ),
    ];
    let mut cases: Vec<Case> = Vec::new();
    let mut answer = |name: &str, bytes: Vec<u8>| {
        let request = frames::get(1, "/frames");
        cases.push(Case::frames(name, request, Some(1)).frames_reply(bytes));
    };
    for (name, fields) in bodies {
        let head = frames::headers(1, flag::NONE, &fields);
        answer(
            name,
            [head, frames::data(1, flag::END_STREAM, b"abc")].concat(),
        );
    }
    let ok = frames::headers(1, flag::NONE, &status("200"));
    let body = frames::data(1, flag::NONE, b"abc");
    for (name, trailer) in [
        ("a trailer, answered", ("t", "v")),
        (
            "a length that is another, in a trailer, answered",
            ("content-length", "2"),
        ),
        ("a host in a trailer, answered", ("host", "a")),
        ("connection in a trailer, answered", ("connection", "x")),
        ("a status in a trailer, answered", (":status", "200")),
        ("a target in a trailer, answered", (":path", "/")),
    ] {
        let trailers = frames::headers(1, flag::END_STREAM, &[trailer]);
        answer(name, [ok.clone(), body.clone(), trailers].concat());
    }
    let empty = vec![(":status", "204"), ("content-length", "0")];
    answer(
        "no length of what has no body",
        frames::headers(1, flag::END_STREAM, &empty),
    );
    let switch = frames::headers(1, flag::NONE, &status("101"));
    let end = frames::data(1, flag::END_STREAM, b"abc");
    answer("another protocol, answered", [switch, ok, end].concat());
    answer(
        "data in front of an answer",
        frames::data(1, flag::END_STREAM, b"abc"),
    );
    answer(
        "an answer that is no frame",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
    );
    cases
}

/// Answers of an upstream that have no content, and what may be behind them all the same.
fn bare_answers() -> Vec<Case> {
    let none = frames::data(1, flag::NONE, b"");
    let end = frames::data(1, flag::END_STREAM, b"");
    let padding = frames::frame(kind::DATA, flag::END_STREAM | flag::PADDED, 1, b"\x03abc");
    let content = frames::data(1, flag::END_STREAM, b"abc");
    let more = frames::data(1, flag::NONE, b"abc");
    let trailer = frames::headers(1, flag::END_STREAM, &[("t", "v")]);
    let behind = [
        ("its end", end.clone()),
        ("nothing and its end", [&*none, &*end].concat()),
        ("padding", padding),
        ("a trailer", trailer.clone()),
        ("content", content),
        ("content that goes on", more.clone()),
        ("nothing and content", [&*none, &*more].concat()),
        ("content and a trailer", [&*more, &*trailer].concat()),
        ("a reset", frames::reset(1, 0)),
    ];
    let mut cases = Vec::new();
    for (method, status, length) in [
        ("GET", "204", None),
        ("GET", "304", None),
        ("GET", "304", Some("3")),
        ("HEAD", "200", None),
        ("HEAD", "200", Some("3")),
        ("HEAD", "204", None),
        ("POST", "204", None),
    ] {
        for (what, behind) in &behind {
            let mut fields = vec![(":status", status)];
            fields.extend(length.map(|length| ("content-length", length)));
            let head = frames::headers(1, flag::NONE, &fields);
            let said = length.map_or_else(String::new, |length| format!(" with length {length}"));
            let request = frames::request(method, "/frames");
            let request = frames::headers(1, flag::END_STREAM, &request);
            let case = Case::frames(
                &format!("{method} {status}{said}, {what}"),
                request,
                Some(1),
            );
            cases.push(case.frames_reply([&*head, behind].concat()));
        }
    }
    let interim = frames::headers(1, flag::NONE, &[(":status", "103")]);
    let whole = frames::headers(1, flag::END_STREAM, &[(":status", "200")]);
    for (name, parts) in [
        (
            "content behind an interim answer",
            [&*interim, &*more, &*whole],
        ),
        (
            "an interim answer that ends",
            [
                &*frames::headers(1, flag::END_STREAM, &[(":status", "103")]),
                b"",
                b"",
            ],
        ),
        (
            "an interim answer behind the answer",
            [
                &*frames::headers(1, flag::NONE, &[(":status", "200")]),
                &*interim,
                &*end,
            ],
        ),
    ] {
        let request = frames::get(1, "/frames");
        cases.push(Case::frames(name, request, Some(1)).frames_reply(parts.concat()));
    }
    cases
}

/// A length, and a body of three bytes.
fn lengths() -> Vec<Case> {
    let table = [
        ("the body as long as it says", "3"),
        ("a body that is too short", "4"),
        ("a body that is too long", "2"),
        ("a length that is no number", "x"),
        ("two lengths in one", "3,3"),
    ];
    let case = |(name, length)| {
        let mut fields = frames::request("POST", "/direct");
        fields.push(("content-length", length));
        let head = frames::headers(1, flag::NONE, &fields);
        let bytes = [head, frames::data(1, flag::END_STREAM, b"abc")].concat();
        Case::frames(name, bytes, Some(1))
    };
    let mut cases: Vec<Case> = table.map(case).into();
    let mut fields = frames::request("POST", "/direct");
    fields.extend([("content-length", "3"), ("content-length", "3")]);
    let head = frames::headers(1, flag::NONE, &fields);
    let bytes = [head, frames::data(1, flag::END_STREAM, b"abc")].concat();
    cases.push(Case::frames("two equal lengths", bytes, Some(1)));
    cases
}

/// Frames that need no request.
fn connection() -> Vec<Case> {
    let settings = |identifier, value| frames::settings(&[(identifier, value)]);
    let (ping, update) = (*b"12345678", frames::window);
    let table = [
        ("data on no stream", frames::data(0, 0, b"x")),
        ("data on an idle stream", frames::data(1, 0, b"x")),
        ("headers on an even stream", frames::get(2, "/direct")),
        ("headers on no stream", frames::get(0, "/direct")),
        ("a reset of an idle stream", frames::reset(1, 8)),
        ("a reset of no stream", frames::reset(0, 8)),
        ("a window update of nothing", update(0, 0)),
        ("a window that is too large", update(0, 0x7fff_ffff)),
        (
            "settings on a stream",
            frames::frame(kind::SETTINGS, 0, 1, b""),
        ),
        (
            "settings of a wrong size",
            frames::frame(kind::SETTINGS, 0, 0, b"abc"),
        ),
        (
            "a stream window that is too large",
            settings(4, 0x8000_0000),
        ),
        ("a frame size that is too small", settings(5, 1)),
        ("unknown settings", settings(0x99, 1)),
        ("a ping", frames::ping(ping)),
        (
            "a ping of a wrong size",
            frames::frame(kind::PING, 0, 0, b"abc"),
        ),
        ("a ping on a stream", frames::frame(kind::PING, 0, 1, &ping)),
        ("an unknown frame", frames::frame(0x99, 0xff, 0, b"abc")),
        ("a promise", frames::frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
        (
            "a lone continuation",
            frames::frame(kind::CONTINUATION, 4, 1, b""),
        ),
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".repeat(9)),
    ];
    let case = |(name, bytes)| Case::frames(name, bytes, None);
    table.map(case).into()
}

/// Settings that a client may say, or not: first, and behind that.
fn settings() -> Vec<Case> {
    let said = frames::settings;
    let none = said(&[]);
    let table = [
        ("no priorities", said(&[(9, 1)]), Vec::new()),
        ("no priorities by halves", said(&[(9, 2)]), Vec::new()),
        ("no priorities, twice", said(&[(9, 1)]), said(&[(9, 1)])),
        (
            "no priorities, and not a word",
            said(&[(9, 1)]),
            none.clone(),
        ),
        ("no priorities any more", said(&[(9, 1)]), said(&[(9, 0)])),
        ("priorities, said late", none.clone(), said(&[(9, 0)])),
        ("no priorities, said late", none.clone(), said(&[(9, 1)])),
        (
            "priorities and none in one",
            said(&[(9, 0), (9, 1)]),
            Vec::new(),
        ),
        ("a client that is pushed to", said(&[(2, 1)]), Vec::new()),
        (
            "extended CONNECT taken back",
            said(&[(8, 1)]),
            said(&[(8, 0)]),
        ),
        ("32 settings", said(&[(3, 1); 32]), Vec::new()),
        ("33 settings", said(&[(3, 1); 33]), Vec::new()),
        ("33 unknown settings", none.clone(), said(&[(0x99, 1); 33])),
        ("no settings", Vec::new(), Vec::new()),
        (
            "a ping in front of settings",
            frames::ping(*b"12345678"),
            none,
        ),
    ];
    let case = |(name, first, then): (&str, Vec<u8>, Vec<u8>)| {
        let bytes = [then, frames::get(1, "/direct")].concat();
        Case::frames(name, bytes, Some(1)).first(first)
    };
    table.into_iter().map(case).collect()
}

/// Settings that an upstream may say, or not: first, and in front of an answer.
fn settings_of_upstreams() -> Vec<Case> {
    let said = frames::settings;
    let none = said(&[]);
    let table = [
        ("no priorities", said(&[(9, 1)]), Vec::new()),
        ("no priorities by halves", said(&[(9, 2)]), Vec::new()),
        ("no priorities any more", said(&[(9, 1)]), said(&[(9, 0)])),
        ("no priorities, said late", none.clone(), said(&[(9, 1)])),
        ("nothing is pushed", said(&[(2, 0)]), Vec::new()),
        ("a push", said(&[(2, 1)]), Vec::new()),
        ("a push, said late", none.clone(), said(&[(2, 1)])),
        ("extended CONNECT", said(&[(8, 1)]), said(&[(8, 1)])),
        (
            "extended CONNECT taken back",
            said(&[(8, 1)]),
            said(&[(8, 0)]),
        ),
        ("32 settings", said(&[(3, 1); 32]), Vec::new()),
        ("33 settings", said(&[(3, 1); 33]), Vec::new()),
        (
            "33 settings, said late",
            none.clone(),
            said(&[(0x99, 1); 33]),
        ),
        ("no settings", Vec::new(), Vec::new()),
        ("a window in front of settings", frames::window(0, 1), none),
    ];
    let case = |(name, first, then): (&str, Vec<u8>, Vec<u8>)| {
        let answer = frames::headers(1, flag::END_STREAM, &[(":status", "200")]);
        Case::frames(
            &format!("of an upstream: {name}"),
            frames::get(1, "/frames"),
            Some(1),
        )
        .frames_first(first)
        .frames_reply([then, answer].concat())
    };
    table.into_iter().map(case).collect()
}

/// Frames of an upstream that bring nothing, as many as it may send and one more.
fn floods_of_upstreams() -> Vec<Case> {
    let head = frames::headers(1, flag::NONE, &[(":status", "200")]);
    let empty = frames::data(1, flag::NONE, b"");
    let padding = frames::frame(kind::DATA, flag::PADDED, 1, b"\x02xx");
    let table = [
        ("empty frame", &head, empty, 1),
        ("frame of padding", &head, padding, 1),
        ("PRIORITY", &Vec::new(), frames::priority(1), 200),
        ("WINDOW_UPDATE", &Vec::new(), frames::window(0, 1), 7),
    ];
    let mut cases = Vec::new();
    for (name, before, frame, most) in table {
        for count in [most, most + 1] {
            let end = match before.is_empty() {
                true => frames::headers(1, flag::END_STREAM, &[(":status", "200")]),
                false => frames::data(1, flag::END_STREAM, b"abc"),
            };
            let name = format!("of an upstream: {count} times {name}");
            let answer = [&**before, &frame.repeat(count), &end].concat();
            let request = frames::get(1, "/frames");
            cases.push(Case::frames(&name, request, Some(1)).frames_reply(answer));
        }
    }
    cases
}

/// As many frames without content as there may be in a row, again and again.
fn many_empty_frames() -> Vec<Case> {
    let pair = |content| [frames::data(1, flag::NONE, b""), content].concat();
    let pairs = pair(frames::data(1, flag::NONE, b"a")).repeat(250);
    let last = pair(frames::data(1, flag::END_STREAM, b"b"));
    let head = frames::headers(1, flag::NONE, &[(":status", "200")]);
    let answer = [&*head, &pairs, &last].concat();
    let get = frames::get(1, "/frames");
    let post = frames::headers(1, flag::NONE, &frames::request("POST", "/up"));
    let request = [&*post, &pairs, &last].concat();
    vec![
        Case::frames("250 empty frames of an upstream", get, Some(1)).frames_reply(answer),
        Case::frames("250 empty frames of a client", request, Some(1)),
    ]
}

/// Answers whose fields are in the table.
fn indexed_answers() -> Vec<Case> {
    let whole = |flags: u8, block: &[u8]| frames::frame(kind::HEADERS, flags | 4, 1, block);
    let (teapot, early) = (&b"\x48\x03418"[..], &b"\x48\x03103"[..]);
    let other = b"\x40\x01x\x01y";
    let table = [
        (
            "a status of the table",
            vec![whole(0, early), whole(0, b"\xbe"), whole(1, teapot)],
        ),
        (
            "a status of the table in a trailer",
            vec![whole(0, teapot), whole(1, b"\xbe")],
        ),
        (
            "another one in a trailer behind a status of the table",
            vec![whole(0, early), whole(0, b"\x7e\x03418"), whole(1, b"\x88")],
        ),
        (
            "a status of the table behind a field, in a trailer",
            vec![whole(0, &[teapot, other].concat()), whole(1, b"\xbf")],
        ),
        (
            "a field of the table in a trailer",
            vec![whole(0, &[teapot, other].concat()), whole(1, b"\xbe")],
        ),
    ];
    let case = |(name, parts): (&str, Vec<Vec<u8>>)| {
        let request = frames::get(1, "/frames");
        Case::frames(name, request, Some(1)).frames_reply(parts.concat())
    };
    table.into_iter().map(case).collect()
}

/// Heads in parts, and what may not be among them.
fn heads() -> Vec<Case> {
    let block = frames::block(&frames::request("GET", "/direct"));
    let (first, rest) = block.split_at(9);
    let (second, third) = rest.split_at(11);
    let begun = frames::frame(kind::HEADERS, flag::END_STREAM, 1, first);
    let more = |flags, part| frames::frame(kind::CONTINUATION, flags, 1, part);
    let whole = |block: &[u8]| frames::frame(kind::HEADERS, 5, 1, block);
    let malformed = frames::block(&request(&[], &[("connection", "x"), ("x", "abc")]));
    let (before, behind) = malformed.split_at(malformed.len() - 2);
    vec![
        Case::frames(
            "a head in continuations",
            [begun.clone(), more(0, second), more(4, third)].concat(),
            Some(1),
        ),
        Case::frames(
            "a malformed head that is cut inside of a field",
            [
                frames::frame(kind::HEADERS, flag::END_STREAM, 1, before),
                more(4, behind),
            ]
            .concat(),
            Some(1),
        ),
        Case::frames(
            "a head that goes on on another stream",
            [
                begun.clone(),
                frames::frame(kind::CONTINUATION, 0, 3, second),
                frames::frame(kind::CONTINUATION, 4, 3, third),
            ]
            .concat(),
            Some(1),
        ),
        Case::frames(
            "a head that ends on no stream",
            [begun.clone(), frames::frame(kind::CONTINUATION, 4, 0, rest)].concat(),
            Some(1),
        ),
        Case::frames(
            "a head that another frame interrupts",
            [begun, frames::ping(*b"12345678")].concat(),
            None,
        ),
        Case::frames(
            "an index that is not there",
            whole(&[&block[..], &[0xff, 0x7f]].concat()),
            Some(1),
        ),
        Case::frames("a block that is cut off", whole(first), Some(1)),
        Case::frames(
            "a stream that is lower than the last",
            [frames::get(5, "/direct"), frames::get(3, "/direct")].concat(),
            Some(5),
        ),
        Case::frames(
            "a frame that is too large",
            [
                frames::headers(1, flag::NONE, &frames::request("POST", "/direct")),
                frames::data(1, flag::NONE, &[0; 16_385]),
            ]
            .concat(),
            None,
        ),
    ]
}
