//! Texts in which what matches is replaced (`RegexMatchAndSubstitute`).
//!
//! Owns the template of what takes its place, and the replacing. Used by `route`, and by filters through
//! the contract.

use regex::bytes::Regex;

/// What is replaced, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Substitution {
    regex: Regex,
    template: Template,
}

/// What takes the place of a match.
#[derive(Clone, Debug)]
pub(crate) struct Template(Box<[Part]>);

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<[u8]>),
    Group(usize),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubstitutionError {
    /// It names a group that the expression does not have.
    #[error("substitution names group {group}, and the expression has {count}")]
    NoSuchGroup {
        /// The group.
        group: u8,
        /// How many groups there are.
        count: usize,
    },
    /// It has a backslash before something else than a digit or a backslash.
    #[error("a backslash in a substitution must be followed by a digit or a backslash")]
    Escape,
}

impl Template {
    /// Reads `text`, for an expression with `count` groups.
    ///
    /// # Errors
    /// A group that is not there, or a backslash without meaning.
    pub(crate) fn parse(text: &[u8], count: usize) -> Result<Self, SubstitutionError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                literal.push(byte);
                continue;
            }
            match bytes.next() {
                Some(b'\\') => literal.push(b'\\'),
                Some(digit) if digit.is_ascii_digit() => {
                    let group = digit - b'0';
                    if usize::from(group) > count {
                        return Err(SubstitutionError::NoSuchGroup { group, count });
                    }
                    parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    parts.push(Part::Group(usize::from(group)));
                }
                _ => return Err(SubstitutionError::Escape),
            }
        }
        parts.push(Part::Literal(literal.into()));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Ok(Self(parts.into()))
    }
}

impl Substitution {
    /// Of an expression that is searched for.
    pub(crate) const fn new(regex: Regex, template: Template) -> Self {
        Self { regex, template }
    }

    /// Appends `text` with every match replaced.
    pub(crate) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        self.write_within(text, out, usize::MAX);
    }

    /// The same, but no further than `out` has `limit` bytes.
    pub(crate) fn write_within(&self, text: &[u8], out: &mut Vec<u8>, limit: usize) {
        let mut copied = 0;
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            out.extend_from_slice(text.get(copied..whole.start()).unwrap_or_default());
            copied = whole.end();
            for part in &self.template.0 {
                match part {
                    Part::Literal(text) => out.extend_from_slice(text),
                    Part::Group(group) => {
                        let group = captures.get(*group).map(|group| group.as_bytes());
                        out.extend_from_slice(group.unwrap_or_default());
                    }
                }
                if out.len() >= limit {
                    return out.truncate(limit);
                }
            }
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        out.truncate(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::searching;

    fn replaced(expression: &str, with: &str, text: &str, limit: usize) -> String {
        let regex = searching(expression).unwrap();
        let template = Template::parse(with.as_bytes(), regex.captures_len() - 1).unwrap();
        let mut out = Vec::new();
        Substitution::new(regex, template).write_within(text.as_bytes(), &mut out, limit);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_match_is_replaced_up_to_a_length() {
        for (limit, expected) in [
            (usize::MAX, "<1>, <2> and more"),
            (5, "<1>, "),
            (3, "<1>"),
            (0, ""),
        ] {
            assert_eq!(
                replaced("a([0-9])", r"<\1>", "a1, a2 and more", limit),
                expected
            );
        }
        assert_eq!(replaced("b", r"\\\0", "abc", usize::MAX), r"a\bc");
    }
}
