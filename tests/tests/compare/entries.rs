//! Entries of each attempt (`upstream_log`), once it has a connection and at its end.

use std::time::Duration;

use nuncio_tests::compare::case::{Case, Group};
use nuncio_tests::origin::{Act, Reply};

pub(crate) fn group() -> Group {
    let mut cases = followed();
    cases.extend(attempts());
    Group::new(
        "entries of attempts",
        include_str!("../../cases/entries.yaml"),
        cases,
    )
}

fn followed() -> Vec<Case> {
    let to = |status: &str| {
        format!(
            "HTTP/1.1 {status} Status\r\nLocation: http://b.example/target\r\nContent-Length: 0\r\n\r\n"
        )
    };
    vec![
        Case::get("a redirect is followed", "/followed", "").reply_bytes(to("302")),
        Case::request(
            "one makes a GET of what it is",
            "POST",
            "/followed",
            "Content-Length: 3\r\n",
            "abc",
        )
        .reply_bytes(to("303")),
        Case::get("two in a row", "/followed", "")
            .reply_bytes(to("302").replace("target", "followed/on"))
            .reply_bytes(to("302")),
        Case::get("one is not followed", "/kept", "")
            .reply_bytes(to("302").replace("http://b.example/target", "/kept")),
    ]
}

fn attempts() -> Vec<Case> {
    let answer = |status: u16| {
        format!("HTTP/1.1 {status} Status\r\nContent-Length: 2\r\nX-Status: {status}\r\n\r\nok")
    };
    // Longer than a try has.
    let late = |status| {
        Reply::nothing()
            .then(Act::Pause(Duration::from_millis(300)))
            .then(Act::Send(answer(status).into()))
    };
    let hung = || Reply::nothing().then(Act::Hang);
    vec![
        Case::get("one", "/", "").reply_bytes(answer(200)),
        Case::request(
            "the second",
            "POST",
            "/again",
            "Content-Length: 5\r\n",
            "hello",
        )
        .reply_bytes(answer(503))
        .reply_bytes(answer(200)),
        Case::get("another is better", "/hedged", "")
            .reply(hung())
            .reply_bytes(answer(200)),
        Case::get("the first is good after all", "/hedged", "")
            .reply(late(200))
            .reply(hung()),
        Case::get("the second is bad, the first good", "/hedged", "")
            .reply(late(200))
            .reply_bytes(answer(503)),
        Case::get("all take too long", "/short", "").reply(hung()),
        Case::get("nobody", "/nobody", ""),
        Case::get("one that is refused", "/refused", ""),
        Case::get("one that has to wait and may not", "/full", ""),
        Case::get("a copy for nobody", "/copied", ""),
    ]
}
