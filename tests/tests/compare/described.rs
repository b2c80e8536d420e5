//! Metadata that a configuration gives its parts: in changes of heads and in access logs.

use nuncio_tests::compare::case::{Case, Group};

const DESCRIBED: &str = include_str!("../../cases/described.yaml");

pub(crate) fn heads() -> Group {
    let cases = vec![
        Case::get("metadata, proxied", "/up", ""),
        Case::get("metadata, direct response", "/direct", ""),
        Case::get("metadata, a redirect", "/redirect", ""),
        Case::get("metadata, refused", "/refused", ""),
        Case::get("metadata, none", "/none", ""),
        Case::get("metadata, no route", "/nothing", ""),
    ];
    Group::new("described", DESCRIBED, cases)
}

pub(crate) fn logs() -> Group {
    let paths = ["up", "direct", "redirect", "refused", "none", "nothing"];
    let mut cases = Vec::new();
    for listener in ["text", "json"] {
        cases.extend(paths.map(|path| {
            Case::get(
                &format!("metadata in {listener}, {path}"),
                &format!("/{path}"),
                "",
            )
            .at(listener)
        }));
    }
    Group::about_logs("described_logs", DESCRIBED, cases)
}
