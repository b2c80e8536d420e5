//! Normalisation of paths, so that what a route or a filter is asked about is what the upstream
//! will serve.
//!
//! Owns `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action`: pure functions
//! over the bytes of a `:path`, whose query is never looked at. The rules are those of the URL
//! library that Envoy uses, so that both hand the same bytes to the same upstream. Called by
//! `hygiene`. Does not own what is answered to a path that is refused (`stream`).

/// `path_with_escaped_slashes_action`: what happens to `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is refused.
    Reject,
    /// They become slashes, and the client is sent to the path that comes of it.
    Redirect,
    /// They become slashes.
    Forward,
}

/// What is done to a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `normalize_path`: dot segments are taken out, backslashes become slashes, and what is
    /// escaped without need is not any more (RFC 3986 §6.2.2).
    pub normalize: bool,
    /// `merge_slashes`: several slashes become one.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
}

/// What became of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// It is as it has to be.
    Unchanged,
    /// It is another one.
    Changed(Vec<u8>),
    /// The client has to ask for another one.
    Redirect(Vec<u8>),
    /// It must not be served. What had become of it so far.
    Refused(Vec<u8>),
}

impl PathRules {
    /// Whether no path is changed or refused.
    #[must_use]
    pub const fn is_off(self) -> bool {
        !self.normalize
            && !self.merge_slashes
            && matches!(self.escaped_slashes, EscapedSlashes::Keep)
    }

    /// Applies the rules to a `:path` with or without a query. Allocates only where the path
    /// changes, or has something that could.
    #[must_use]
    pub fn apply(self, target: &[u8]) -> Normalized {
        let end = memchr::memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = target.split_at_checked(end).unwrap_or((target, b""));
        let mut current: Option<Vec<u8>> = None;
        let mut redirect = false;
        if self.escaped_slashes != EscapedSlashes::Keep
            && let Some(unescaped) = unescape_slashes(path)
        {
            match self.escaped_slashes {
                EscapedSlashes::Reject => {
                    return Normalized::Refused([&unescaped, query].concat());
                }
                EscapedSlashes::Redirect => redirect = true,
                EscapedSlashes::Keep | EscapedSlashes::Forward => {}
            }
            current = Some(unescaped);
        }
        if self.normalize {
            if let Some(bare) = without_dot_parameters(current.as_deref().unwrap_or(path)) {
                current = Some(bare);
            }
            let path = current.as_deref().unwrap_or(path);
            if !is_canonical(path) {
                match canonical(path) {
                    Some(canonical) => current = Some(canonical),
                    None => return Normalized::Refused([path, query].concat()),
                }
            }
        }
        // Behind the normalisation, which can bring slashes together.
        if self.merge_slashes
            && let Some(merged) = merge_slashes(current.as_deref().unwrap_or(path))
        {
            current = Some(merged);
        }
        match current {
            None => Normalized::Unchanged,
            Some(mut changed) => {
                changed.extend_from_slice(query);
                if redirect {
                    Normalized::Redirect(changed)
                } else {
                    Normalized::Changed(changed)
                }
            }
        }
    }
}

/// `path` with the parameters of its dot segments taken out, where it has any: servers that know
/// parameters (RFC 3986 §3.3) read `/..;a` as `/..`.
fn without_dot_parameters(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b';', path)?;
    let mut out = Vec::with_capacity(path.len());
    let mut changed = false;
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        out.push(*byte);
        rest = tail;
        if matches!(byte, b'/' | b'\\')
            && let Some(parameters) = behind_dots(rest)
        {
            let (dots, _) = rest.split_at_checked(rest.len() - parameters.len())?;
            out.extend_from_slice(dots);
            let end = memchr::memchr(b'/', parameters).unwrap_or(parameters.len());
            rest = parameters.get(end..).unwrap_or_default();
            changed = true;
        }
    }
    changed.then_some(out)
}

/// The parameters of the dot segment that `text` begins with, where they follow.
fn behind_dots(text: &[u8]) -> Option<&[u8]> {
    let first = after_dot(text)?;
    let behind = if first.starts_with(b";") {
        first
    } else {
        after_dot(first)?
    };
    behind.starts_with(b";").then_some(behind)
}

/// `path` with its escaped slashes and backslashes unescaped, where it has any.
fn unescape_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let escaped = |rest: &[u8]| match rest {
        [b'%', b'2', b'F' | b'f', ..] => Some(b'/'),
        [b'%', b'5', b'C' | b'c', ..] => Some(b'\\'),
        _ => None,
    };
    let first = memchr::memchr_iter(b'%', path)
        .find(|at| path.get(*at..).is_some_and(|rest| escaped(rest).is_some()))?;
    let (start, mut rest) = path.split_at_checked(first)?;
    let mut out = Vec::with_capacity(path.len());
    out.extend_from_slice(start);
    while let [byte, tail @ ..] = rest {
        match escaped(rest) {
            Some(slash) => {
                out.push(slash);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    Some(out)
}

/// `path` with each run of slashes made one, where it has any. A path of slashes alone keeps two of
/// them, as in Envoy.
fn merge_slashes(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(path, b"//")?;
    let mut out = Vec::with_capacity(path.len());
    if path.starts_with(b"/") {
        out.push(b'/');
    }
    let mut first = true;
    for segment in path.split(|byte| *byte == b'/') {
        if segment.is_empty() {
            continue;
        }
        if !first {
            out.push(b'/');
        }
        first = false;
        out.extend_from_slice(segment);
    }
    if path.ends_with(b"/") {
        out.push(b'/');
    }
    Some(out)
}

/// What the canonical form does with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It stays as it is written, escaped or not.
    Pass,
    /// It stands for itself: unescaped where it is escaped.
    Unreserved,
    /// It has to be escaped.
    Escape,
    /// It may not be there, not even escaped.
    Invalid,
}

const fn class(byte: u8) -> Class {
    match byte {
        0 => Class::Invalid,
        b'-' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Class::Unreserved,
        1..=b' '
        | b'"'
        | b'#'
        | b'%'
        | b'<'
        | b'>'
        | b'?'
        | b'\\'
        | b'^'
        | b'`'
        | b'{'
        | b'|'
        | b'}'
        | 0x7f..=0xff => Class::Escape,
        _ => Class::Pass,
    }
}

/// Whether the canonical form of `path` is certainly `path` itself.
fn is_canonical(path: &[u8]) -> bool {
    let mut before = 0;
    path.first() == Some(&b'/')
        && path.iter().all(|byte| {
            let plain = match class(*byte) {
                Class::Pass | Class::Unreserved => *byte != b'.' || before != b'/',
                Class::Escape | Class::Invalid => false,
            };
            before = *byte;
            plain
        })
}

/// The canonical form of `path`. None where it has an escaped NUL.
fn canonical(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len() + 1);
    if !matches!(path, [b'/' | b'\\', ..]) {
        out.push(b'/');
    }
    // Where a `%` that begins no escape sequence stands in `out`.
    let mut stray: Option<usize> = None;
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        if let Some(behind) = after_dot(rest) {
            rest = dot_segment(behind, &mut out);
            continue;
        }
        rest = tail;
        match (*byte, class(*byte)) {
            (b'\\', _) => out.push(b'/'),
            (b'%', _) => match escape_sequence(tail) {
                Some(value) => {
                    let [high, low] = [tail.first(), tail.get(1)].map(|b| b.copied().unwrap_or(0));
                    rest = tail.get(2..).unwrap_or_default();
                    match class(value) {
                        Class::Unreserved => {
                            out.push(value);
                            if let Some(at) = stray
                                && at + 3 >= out.len()
                            {
                                keep_escapes_apart(&mut out, at, rest.first().copied());
                            }
                        }
                        Class::Invalid => return None,
                        Class::Pass | Class::Escape => out.extend_from_slice(&[b'%', high, low]),
                    }
                }
                None => {
                    stray = Some(out.len());
                    out.push(b'%');
                }
            },
            (_, Class::Pass | Class::Unreserved) => out.push(*byte),
            (_, Class::Escape) => push_escaped(&mut out, *byte),
            (_, Class::Invalid) => return None,
        }
    }
    Some(out)
}

/// What follows a dot, plain or escaped, at the start of `text`.
fn after_dot(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Reads the segment that begins with a dot, of which `rest` follows, and does what it says to
/// `out`. Gives back what is left to read.
fn dot_segment<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    // At the end of a segment: what is left behind its slash.
    let ended = |text: &'a [u8]| match text {
        [] => Some(text),
        [b'/' | b'\\', rest @ ..] => Some(rest),
        _ => None,
    };
    if out.last() == Some(&b'/') {
        if let Some(left) = ended(rest) {
            return left;
        }
        if let Some(left) = after_dot(rest).and_then(ended) {
            out.pop();
            let parent = out.iter().rposition(|byte| *byte == b'/');
            out.truncate(parent.map_or(0, |at| at + 1));
            if out.is_empty() {
                out.push(b'/');
            }
            return left;
        }
    }
    out.push(b'.');
    rest
}

/// The value of an escape sequence whose two digits are the first of `text`.
fn escape_sequence(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low, ..] = text else {
        return None;
    };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
}

/// A digit was unescaped close behind a `%` that began no sequence (at `stray`): where the two now
/// look like one, as in `%%34%31`, the `%` is escaped, so that nobody unescapes a second time.
/// `next` is what comes in the path.
fn keep_escapes_apart(out: &mut Vec<u8>, stray: usize, next: Option<u8>) {
    let behind = out.get(stray + 1..).unwrap_or_default();
    let digits = match (behind, next) {
        ([high, low], _) => [*high, *low],
        ([high], Some(next)) => [*high, next],
        _ => return,
    };
    if escape_sequence(&digits).is_none() {
        return;
    }
    let taken = behind.len();
    out.truncate(stray);
    out.extend_from_slice(b"%25");
    out.extend_from_slice(digits.get(..taken).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: PathRules = PathRules {
        normalize: true,
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::Forward,
    };
    const NORMALIZE: PathRules = PathRules {
        normalize: true,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::Keep,
    };

    fn shown(rules: PathRules, path: &str) -> String {
        match rules.apply(path.as_bytes()) {
            Normalized::Unchanged => path.to_owned(),
            Normalized::Changed(path) => String::from_utf8(path).unwrap(),
            Normalized::Redirect(path) => format!("-> {}", String::from_utf8(path).unwrap()),
            Normalized::Refused(_) => "refused".to_owned(),
        }
    }

    #[test]
    fn paths_are_made_canonical() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b?c=/../d", "/a/b?c=/../d"),
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/b/../../..", "/"),
            ("/a//../b", "/a/b"),
            ("/.a", "/.a"),
            ("/..a/...", "/..a/..."),
            ("/a.b/c.", "/a.b/c."),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a%2e", "/a."),
            ("/%41%2d%7E", "/A-~"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb%20", "/a%2fb%20"),
            ("/a\\b", "/a/b"),
            ("/a\\..\\b", "/b"),
            ("\\a", "/a"),
            ("/a;b/../c", "/c"),
            ("/a/..;b/c", "/c"),
            ("/a/..;;b/./.;c/d?e/..;f", "/d?e/..;f"),
            ("/a/..;", "/"),
            ("/a/.;%00/b", "/a/b"),
            ("/a/..;\\b", "/"),
            ("/a\\..;/b", "/b"),
            ("/a/%2e.;/b/...;/c;/.a;", "/b/...;/c;/.a;"),
            ("/a/.%2E;b/.%2e", "/"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/%zz", "/%zz"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%00", "refused"),
            ("/a%00b?c", "refused"),
            ("/\"<>", "/%22%3C%3E"),
            ("/%%34%31", "/%2541"),
            ("/%%341", "/%2541"),
            ("/%4%31", "/%2541"),
            ("/%%34z", "/%4z"),
            ("/%25%34", "/%254"),
            ("*", "/*"),
        ] {
            assert_eq!(shown(NORMALIZE, path), expected, "{path}");
        }
    }

    #[test]
    fn slashes_are_merged_behind_the_normalisation() {
        for (path, expected) in [
            ("/a//b", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("//", "//"),
            ("/a//../b", "/a/b"),
            ("/a//b?c=//d", "/a/b?c=//d"),
            ("/a%2F%2fb", "/a/b"),
            ("/a%5Cb", "/a/b"),
            ("/a%2F..%2Fb", "/b"),
        ] {
            assert_eq!(shown(ALL, path), expected, "{path}");
        }
    }

    #[test]
    fn escaped_slashes_are_acted_on() {
        let rules = |escaped_slashes| PathRules {
            escaped_slashes,
            ..PathRules::default()
        };
        for (action, path, expected) in [
            (EscapedSlashes::Keep, "/a%2Fb", "/a%2Fb"),
            (EscapedSlashes::Reject, "/a%2Fb", "refused"),
            (EscapedSlashes::Reject, "/a%5cb", "refused"),
            (EscapedSlashes::Reject, "/a%2Gb?%2F", "/a%2Gb?%2F"),
            (EscapedSlashes::Redirect, "/a%2fb?c", "-> /a/b?c"),
            (EscapedSlashes::Redirect, "/a/b?c=%2F", "/a/b?c=%2F"),
            (EscapedSlashes::Forward, "/a%5Cb%5c%2f", "/a\\b\\/"),
        ] {
            assert_eq!(shown(rules(action), path), expected, "{action:?} {path}");
        }
    }

    #[test]
    fn what_is_off_changes_nothing() {
        assert!(PathRules::default().is_off());
        assert_eq!(
            PathRules::default().apply(b"/a/../%2F//\\"),
            Normalized::Unchanged
        );
    }

    fn path() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-c.%/\\\\]",
            Just("..".to_owned()),
            Just("%2e".to_owned()),
            Just("%2F".to_owned()),
            Just("%5c".to_owned()),
            Just("%41".to_owned()),
            Just("%00".to_owned()),
            Just("//".to_owned()),
            "[ -~]",
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    proptest! {
        #[test]
        fn a_normalized_path_stays_as_it_is(path in path()) {
            if let Normalized::Changed(once) = NORMALIZE.apply(path.as_bytes()) {
                let twice = NORMALIZE.apply(&once);
                prop_assert!(
                    twice == Normalized::Unchanged || twice == Normalized::Changed(once.clone()),
                    "{:?} {:?}", String::from_utf8_lossy(&once), twice
                );
            }
        }

        #[test]
        fn a_normalized_path_has_nothing_that_leads_elsewhere(path in path()) {
            let outcome = ALL.apply(path.as_bytes());
            let normalized = match outcome {
                Normalized::Unchanged => path.into_bytes(),
                Normalized::Changed(path) => path,
                Normalized::Redirect(_) | Normalized::Refused(_) => return Ok(()),
            };
            let end = normalized.iter().position(|byte| *byte == b'?');
            let path = &normalized[..end.unwrap_or(normalized.len())];
            prop_assert!(path.starts_with(b"/"));
            prop_assert!(!path.contains(&b'\\'));
            for segment in path.split(|byte| *byte == b'/') {
                prop_assert!(segment != b"." && segment != b"..");
            }
        }

        #[test]
        fn the_query_is_left_alone(path in path(), query in "[ -~]{0,12}") {
            let before = format!("{}?{query}", path.replace('?', ""));
            if let Normalized::Changed(after) = ALL.apply(before.as_bytes()) {
                let kept = format!("?{query}");
                prop_assert!(after.ends_with(kept.as_bytes()));
            }
        }
    }
}
