//! Regular expressions (`RegexMatcher` with `google_re2`), compiled once.
//!
//! Owns the choice of the engine and its limits. Expressions are written for RE2 and translated by
//! [`super::dialect`]; both engines match in time linear in the input, so an expression cannot be
//! made slow by a request. Envoy refuses programs of more than 100 RE2 instructions; here the limit
//! is on bytes ([`limits::REGEX_BYTES`]) and wider.
//!
//! Does not own: rewriting with what was matched (`rewrite`).

use regex::bytes::{Regex, RegexBuilder};

use super::dialect;
use super::error::Problem;
use crate::limits;

/// An expression that has to match all of a text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is none.
    #[error("the expression is empty")]
    Empty,
    /// It is not RE2.
    #[error("{0}")]
    Syntax(String),
    /// It takes more than [`limits::REGEX_BYTES`] when compiled.
    #[error("the expression takes more than {0} bytes when compiled")]
    TooBig(usize),
}

impl Pattern {
    /// Compiles `expression`.
    ///
    /// # Errors
    /// When it is empty, not RE2, or takes more than [`limits::REGEX_BYTES`] when compiled.
    pub fn new(expression: &str) -> Result<Self, PatternError> {
        compile(expression, r"\A(?:", r")\z").map(Self)
    }

    /// Whether the expression matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

/// Compiles `expression` for searching.
pub(super) fn searching(expression: &str) -> Result<Regex, PatternError> {
    compile(expression, "", "")
}

fn compile(expression: &str, before: &str, behind: &str) -> Result<Regex, PatternError> {
    if expression.is_empty() {
        return Err(PatternError::Empty);
    }
    let translated =
        dialect::translate(expression).map_err(|error| PatternError::Syntax(error.to_string()))?;
    RegexBuilder::new(&format!("{before}{translated}{behind}"))
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => PatternError::TooBig(limit),
            other => PatternError::Syntax(reason(&other.to_string())),
        })
}

/// The last line of the engine's message: the others show the translated expression.
fn reason(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

impl From<PatternError> for Problem {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: impl AsRef<[u8]>) -> bool {
        Pattern::new(expression).unwrap().matches(text.as_ref())
    }

    #[test]
    fn the_whole_text_has_to_match() {
        assert!(matches("/p.*", "/path"));
        assert!(!matches("/p", "/path"));
        assert!(!matches("ath", "/path"));
        assert!(matches("a|bc", "bc"));
        assert!(!matches("a|bc", "abc"), "the alternatives are one group");
        assert!(!matches("^a$", "a\n"), "the end is the end of the text");
    }

    #[test]
    fn classes_are_ascii_as_in_re2() {
        for (expression, yes, no) in [
            (r"\d", "7", "٣"),
            (r"\D", "٣", "7"),
            (r"\w", "_", "é"),
            (r"\W", "é", "a"),
            (r"\s", "\t", "\u{b}"),
            (r"[\S]", "\u{a0}", " "),
            (r"[^\d]", "a", "1"),
            (r"[\d-]", "-", "a"),
            (r"[[:alpha:]]", "Z", "é"),
            (r"\pL", "é", "1"),
            (r"\p{^L}", "1", "é"),
            (r"\PL", "1", "é"),
            (r"\p{Greek}", "α", "a"),
            (r".", "é", "\n"),
            (r"\x41", "A", "B"),
            (r"\x{1F600}", "😀", "x"),
            (r"\101", "A", "1"),
            (r"\0", "\0", "0"),
            (r"\Qa.b\E", "a.b", "axb"),
            (r"[\]]", "]", "["),
            (r"[]a]", "]", "["),
            (r"[[a]", "[", "b"),
            (r"[a&&b]", "&", "c"),
            (r"[~~]", "~", "a"),
            (r"[+--]", ",", "a"),
            (r"[a\-z]", "-", "b"),
            (r"a{", "a{", "a"),
            (r"a{,3}", "a{,3}", "aa"),
            (r"\<", "<", "a"),
            (r"(?i)straße", "STRAßE", "strasse"),
            (r"(?i:a)b", "Ab", "AB"),
            (r"(?P<one>a)(?<two>b)", "ab", "a"),
            (r"(?s).", "\n", ""),
            (r"(?m)a$(?s:.)b", "a\nb", "ab"),
        ] {
            assert!(matches(expression, yes), "{expression} on {yes:?}");
            assert!(!matches(expression, no), "{expression} on {no:?}");
        }
    }

    #[test]
    fn a_dot_is_a_character_and_capital_c_a_byte() {
        assert!(!matches(".", [0xff]));
        assert!(matches(r"\C", [0xff]));
        assert!(matches(r"\C\C", "é"));
        assert!(matches(r"a\b.\B.", "a +"));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (expression, message) in [
            ("", "the expression is empty"),
            ("/[a", "missing \"]\" behind \"[a\""),
            ("(a", "missing \")\""),
            (r"(?=a)", "(?= is not supported"),
            (r"\1", "invalid escape sequence \"\\1\""),
            (r"[[:foo:]]", "invalid character class \"[:foo:]\""),
            (r"\p{Nope}", "Unicode property not found"),
        ] {
            assert_eq!(
                Pattern::new(expression).unwrap_err().to_string(),
                message,
                "{expression}"
            );
        }
    }

    #[test]
    fn the_compiled_size_has_a_limit() {
        let error = Pattern::new(r"[\pL\pN]{1000}{500}").unwrap_err();
        assert!(matches!(error, PatternError::Syntax(_)), "{error}");
        let error = Pattern::new(r"(?:[\pL\pN]{1000}){500}").unwrap_err();
        assert_eq!(error, PatternError::TooBig(limits::REGEX_BYTES));
    }
}
