//! Requests of a session: which endpoint they go to, and what the client keeps. Endpoints answer with
//! their names. The one that is taken without a session is always `a`.

use nuncio_tests::compare::case::{Case, Group, Step, request};

/// What a client can bring, by the part of a name.
const BROUGHT: [(&str, &str); 16] = [
    ("nothing", ""),
    ("the first", "@SESSION(127.0.0.1:@PORT:a@)@"),
    ("another", "@SESSION(127.0.0.1:@PORT:b@)@"),
    (
        "another for a while",
        "@SESSION(127.0.0.1:@PORT:b@;4000000000)@",
    ),
    ("another for ever", "@SESSION(127.0.0.1:@PORT:b@;0)@"),
    (
        "another that has expired",
        "@SESSION(127.0.0.1:@PORT:b@;1000)@",
    ),
    ("another in the old form", "@BASE64(127.0.0.1:@PORT:b@)@"),
    ("a degraded one", "@SESSION(127.0.0.1:@PORT:degraded@)@"),
    ("an unhealthy one", "@SESSION(127.0.0.1:@PORT:sick@)@"),
    ("a draining one", "@SESSION(127.0.0.1:@PORT:leaving@)@"),
    ("one that is gone", "@SESSION(127.0.0.1:1)@"),
    ("one that is gone in the old form", "@BASE64(127.0.0.1:1)@"),
    ("a name", "@SESSION(localhost:80)@"),
    ("words", "@BASE64(what is this)@"),
    ("no address", "@SESSION()@"),
    ("no base64", "!!!"),
];

pub(crate) fn group() -> Group {
    let mut cases = Vec::new();
    for path in [
        "/lax",
        "/strict",
        "/status",
        "/any",
        "/lasting",
        "/elsewhere",
        "/off",
    ] {
        cases.extend(BROUGHT.iter().map(|(name, value)| {
            Case::get(
                &format!("{path} {name}"),
                path,
                &format!("cookie: a=b; s={value}\r\n"),
            )
        }));
    }
    for path in ["/field", "/field_strict"] {
        cases.extend(BROUGHT.iter().map(|(name, value)| {
            let value = value.replace("@SESSION(", "@BASE64(");
            Case::get(
                &format!("{path} {name}"),
                path,
                &format!("x-session: {value}\r\n"),
            )
        }));
    }
    cases.extend(envelopes());
    cases.extend(shapes());
    cases.extend(failures());
    cases.push(Case::admin(
        "GET /stats?filter=stateful_session",
        &["http."],
    ));
    Group::new("sessions", include_str!("../../cases/sessions.yaml"), cases)
}

/// What stands around a value of the endpoint's own.
fn envelopes() -> Vec<Case> {
    const B: &str = "@BASE64(127.0.0.1:@PORT:b@)@";
    let brought = [
        ("nothing", ""),
        ("a value alone", "x-own: mine\r\n"),
        ("an address alone", "x-own: @B@\r\n"),
        ("both", "x-own: @B@;UV:@BASE64(mine)@\r\n"),
        (
            "both of the first",
            "x-own: @BASE64(127.0.0.1:@PORT:a@)@;UV:@BASE64(mine)@\r\n",
        ),
        (
            "more parts",
            "x-own: @B@;a=b;;UV:@BASE64(mine)@;UV:@BASE64(more)@\r\n",
        ),
        ("the other way round", "x-own: UV:@BASE64(mine)@;@B@\r\n"),
        ("no address", "x-own: ;UV:@BASE64(mine)@\r\n"),
        (
            "no base64 for an address",
            "x-own: !!;UV:@BASE64(mine)@\r\n",
        ),
        ("no base64 for a value", "x-own: @B@;UV:!!\r\n"),
        ("no value", "x-own: @B@;UV:\r\n"),
        (
            "one that is gone",
            "x-own: @BASE64(127.0.0.1:1)@;UV:@BASE64(mine)@\r\n",
        ),
        (
            "two",
            "x-own: @B@;UV:@BASE64(mine)@\r\nx-own: @B@;UV:@BASE64(more)@\r\n",
        ),
    ];
    let case = |path: &str, (name, line): &(&str, &str)| {
        Case::get(&format!("{path} {name}"), path, &line.replace("@B@", B))
    };
    let mut cases: Vec<Case> = brought.iter().map(|one| case("/envelope", one)).collect();
    let both = brought
        .iter()
        .filter(|(name, _)| matches!(*name, "nothing" | "both"));
    for one in both {
        cases.push(case("/envelope_twice", one));
        cases.push(case("/envelope_none", one));
    }
    cases
}

fn shapes() -> Vec<Case> {
    const B: &str = "@SESSION(127.0.0.1:@PORT:b@)@";
    let cookie = |name: &str, line: &str| {
        let line = line.replace("@B@", B);
        Case::get(name, "/strict", &format!("cookie: {line}\r\n"))
    };
    let path = |path: &str| {
        let line = format!("cookie: s={B}\r\n");
        Case::get(&format!("path {path}"), path, &line)
    };
    vec![
        cookie("quoted", "s=\"@B@\""),
        cookie("half quoted", "s=\"@B@"),
        cookie("blanks", "  s=@B@  ; x=y"),
        cookie("no blanks", "x=y;s=@B@"),
        cookie("twice", "s=@B@; s=@SESSION(127.0.0.1:1)@"),
        cookie("first empty", "s=; s=@B@"),
        cookie("in another case", "S=@B@"),
        cookie("a longer name", "as=@B@"),
        cookie("in a value", "a=s=@B@"),
        Case::get(
            "in the second line",
            "/strict",
            &format!("cookie: a=b\r\ncookie: s={B}\r\n"),
        ),
        path("/part"),
        path("/part/"),
        path("/part/more"),
        path("/part?query"),
        path("/part#fragment"),
        path("/parted"),
        path("/part2/more"),
        path("/part2"),
        Case::request("HEAD", "HEAD", "/lax", "", ""),
        Case::steps(
            "one after the other",
            [
                format!("cookie: s={B}\r\n"),
                String::new(),
                format!("cookie: s={B}\r\n"),
            ]
            .iter()
            .flat_map(|line| {
                [
                    Step::Send(request("GET", "/lax", line, "")),
                    Step::Receive { to_head: false },
                ]
            })
            .collect(),
        ),
    ]
}

fn failures() -> Vec<Case> {
    let to = |name: &str, path: &str, port: &str| {
        let line = format!("cookie: s=@SESSION(127.0.0.1:@PORT:{port}@)@\r\n");
        Case::get(name, path, &line)
    };
    vec![
        to("nobody there", "/lax_dead", "nobody"),
        to("nobody there, strict", "/strict_dead", "nobody"),
        to("tried again elsewhere", "/lax_again", "nobody"),
        to("tried again elsewhere, strict", "/strict_again", "nobody"),
        to("no endpoints", "/lax_empty", "a"),
        to("no endpoints, strict", "/strict_empty", "a"),
        to("no endpoints, status", "/status_empty", "a"),
        Case::get("no endpoints, no session", "/status_empty", ""),
        to("no such cluster", "/strict_nowhere", "a"),
        to("an answer of the route", "/direct", "a"),
    ]
}
