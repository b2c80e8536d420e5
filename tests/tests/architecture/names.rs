//! Which modules of its crate a source names, in whatever form.
//!
//! Owns just enough of the language for that: what is a comment or a string, paths that begin at the root of the crate
//! (`crate::a`, `crate::{a, b::c}`, as many `super` as lead there), and which of them are handed on with `pub use`.

use std::collections::BTreeSet;

/// A glob or another name for the root, behind which anything may be.
const ANYTHING: &str = "*";

/// What a source names of its crate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The modules, and [`ANYTHING`].
    pub(crate) all: BTreeSet<String>,
    /// Those of them that it hands on as its own.
    pub(crate) handed_on: BTreeSet<String>,
}

/// Reads the source of a module that lies so many below the root: 1 for `http.rs`, 2 for `http/stream.rs`.
pub(crate) fn read(source: &str, below_root: usize) -> Names {
    let tokens = tokens(source);
    let is = |at: usize, token: &str| tokens.get(at).is_some_and(|found| found == token);
    let mut names = Names::default();
    let (mut braces, mut inline) = (0_usize, Vec::new());
    let mut hands_on = false;
    for at in 0..tokens.len() {
        let continues = at > 0 && is(at - 1, "::") && !is(at.wrapping_sub(2), "self");
        match tokens[at].as_str() {
            "{" => {
                braces += 1;
                if at > 1 && is(at - 2, "mod") {
                    inline.push(braces);
                }
            }
            "}" => {
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
                braces = braces.saturating_sub(1);
            }
            "use" => hands_on = at > 0 && (is(at - 1, "pub") || ends_visibility(&tokens[..at])),
            ";" => hands_on = false,
            "crate" | "super" if continues => {}
            start @ ("crate" | "super") => {
                let mut end = at + 1;
                let mut up = usize::from(start == "super");
                while is(end, "::") && is(end + 1, "super") {
                    up += 1;
                    end += 2;
                }
                if start == "super" && up != below_root + inline.len() {
                    continue;
                }
                let found = if is(end, "::") {
                    firsts(&tokens[end + 1..])
                } else if is(end, "as") {
                    vec![ANYTHING.to_owned()]
                } else {
                    continue;
                };
                if hands_on {
                    names.handed_on.extend(found.iter().cloned());
                }
                names.all.extend(found);
            }
            _ => {}
        }
    }
    names
}

/// Whether these end with `pub(…)`.
fn ends_visibility(tokens: &[String]) -> bool {
    let open = tokens.iter().rposition(|token| token == "(");
    let is_closed = tokens.last().is_some_and(|token| token == ")");
    is_closed && open.is_some_and(|open| open > 0 && tokens[open - 1] == "pub")
}

/// The first names of a path, or of a group of them.
fn firsts(tokens: &[String]) -> Vec<String> {
    let first = |token: &String| match token.as_str() {
        // The root by another name.
        "self" => ANYTHING.to_owned(),
        _ => token.clone(),
    };
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().map(first).into_iter().collect();
    }
    let (mut depth, mut begins) = (0, false);
    let mut found = Vec::new();
    for token in tokens {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if begins => found.push(first(token)),
            _ => {}
        }
        begins = depth == 1 && (token == "{" || token == ",");
        if depth == 0 {
            break;
        }
    }
    found
}

/// Words, `::`, and each other sign by itself, without comments, strings, characters and lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let used = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = string(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(rest.split_at(length).0.to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = rest.split_at(used).1;
    }
    tokens
}

/// The length of a string, if one begins here.
fn string(text: &str) -> Option<usize> {
    let inner = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - inner.len();
    if let Some(raw) = inner.strip_prefix('r') {
        let quote = raw.trim_start_matches('#');
        let hashes = raw.len() - quote.len();
        let body = quote.strip_prefix('"').filter(|_| prefix < 2)?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + length);
    }
    let body = inner.strip_prefix('"').filter(|_| prefix < 2)?;
    let mut escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(prefix + 1 + end.map_or(body.len(), |at| at + 1))
}

/// The length of a character, or of the sign that begins a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let after = chars.skip(1).find(|(_, c)| *c == '\'');
            after.map_or(text.len(), |(end, _)| end + 1)
        }
        Some(_) => match chars.next() {
            Some((end, '\'')) => end + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(source: &str, below_root: usize) -> Vec<String> {
        read(source, below_root).all.into_iter().collect()
    }

    #[test]
    fn a_name_is_found_in_every_form() {
        for (source, below_root, found) in [
            ("use crate::http::Stream;", 1, &["http"][..]),
            ("use crate::http;", 1, &["http"]),
            ("use crate::http as other;", 1, &["http"]),
            (
                "use crate::{clock, http::{io, pump::{self, Pump}}, limits as l};",
                1,
                &["clock", "http", "limits"],
            ),
            ("use crate::{\n    // one\n    http,\n};", 1, &["http"]),
            (
                "fn f(_: &crate :: http::Stream) { crate::route::find() }",
                1,
                &["http", "route"],
            ),
            ("use super::http::Stream;", 1, &["http"]),
            ("use super::{http, route::Table};", 1, &["http", "route"]),
            ("use super::super::http::Stream;", 2, &["http"]),
            ("use self::super::super::http;", 2, &["http"]),
            (
                "mod tests { use super::super::http; } use super::route;",
                1,
                &["http", "route"],
            ),
            ("use crate::*;", 1, &["*"]),
            ("use crate as root;", 1, &["*"]),
            ("use crate::{self as root};", 1, &["*"]),
            ("use super::super as root;", 2, &["*"]),
            // Not of the root.
            ("use super::http;", 2, &[]),
            ("mod tests { use super::http; }", 1, &[]),
            (
                "pub(crate) fn f() {} pub(in crate::http) fn g() {}",
                1,
                &["http"],
            ),
            ("// crate::http\n/* crate::http */", 1, &[]),
            (
                r####"const A: &str = "\\\"crate::http"; const B: &str = r#"" crate::http"#;"####,
                1,
                &[],
            ),
            (
                "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' || crate::http::f('{') }",
                1,
                &["http"],
            ),
        ] {
            assert_eq!(named(source, below_root), found, "{source}");
        }
    }

    #[test]
    fn what_is_handed_on_is_told_apart() {
        let source = "use crate::clock::Clock;\npub use crate::http::Stream;\n\
                      pub(in super::super) use super::super::route;\nuse crate::limits::A;";
        let names = read(source, 2);
        let handed_on: Vec<_> = names.handed_on.into_iter().collect();
        assert_eq!(handed_on, ["http", "route"]);
        let all: Vec<_> = names.all.into_iter().collect();
        assert_eq!(all, ["clock", "http", "limits", "route"]);
    }
}
