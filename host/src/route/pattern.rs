//! Regular expressions (`RegexMatcher` with `google_re2`), compiled once.
//!
//! Owns the choice of the engine and its limits. Expressions are written for RE2 and translated by
//! [`super::dialect`]; both engines match in time linear in the input, so an expression cannot be
//! made slow by a request. Envoy refuses programs of more than 100 RE2 instructions; here the limit
//! is on bytes ([`limits::REGEX_BYTES`]) and wider.
//!
//! A match on the data path walks a complete table, built here: no cache that workers would take
//! from each other, nothing built lazily. Only an expression whose table would be larger than
//! [`limits::REGEX_TABLE_BYTES`] is left to the `regex` crate, which shares a pool of caches.
//!
//! Does not own: rewriting with what was matched (`rewrite`).

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::dialect;
use super::error::Problem;
use crate::limits;

/// An expression that has to match all of a text.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Engine);

#[derive(Clone, Debug)]
enum Engine {
    Table(Arc<dense::DFA<Vec<u32>>>),
    Search(Regex),
}

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
    pub(super) fn new(expression: &str) -> Result<Self, PatternError> {
        let translated = translate(expression)?;
        let search = compile(&format!(r"\A(?:{translated})\z"))?;
        let table = table(&format!(r"(?:{translated})\z"));
        Ok(Self(table.map_or(Engine::Search(search), |table| {
            Engine::Table(Arc::new(table))
        })))
    }

    /// Whether the expression matches all of `text`.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match &self.0 {
            Engine::Table(table) => {
                let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
                matches!(table.try_search_fwd(&input), Ok(Some(_)))
            }
            Engine::Search(regex) => regex.is_match(text),
        }
    }
}

/// Compiles `expression` for searching.
pub(super) fn searching(expression: &str) -> Result<Regex, PatternError> {
    compile(&translate(expression)?)
}

fn translate(expression: &str) -> Result<String, PatternError> {
    if expression.is_empty() {
        return Err(PatternError::Empty);
    }
    dialect::translate(expression).map_err(|error| PatternError::Syntax(error.to_string()))
}

fn compile(translated: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(translated)
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => PatternError::TooBig(limit),
            other => PatternError::Syntax(reason(&other.to_string())),
        })
}

/// The complete table of an expression that compiles, unless it would be too large.
fn table(translated: &str) -> Option<dense::DFA<Vec<u32>>> {
    let config = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(limits::REGEX_TABLE_BYTES))
        .determinize_size_limit(Some(limits::REGEX_TABLE_BYTES));
    let program = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(limits::REGEX_BYTES));
    dense::Builder::new()
        .configure(config)
        .syntax(syntax::Config::new().utf8(false))
        .thompson(program)
        .build(translated)
        .ok()
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
    fn both_engines_agree() {
        let small = Pattern::new(r"/[a-z]+(?:\.\d\d)?").unwrap();
        let large = Pattern::new(r"/[a-z]+(?:\.\d\d)?|(?:[\pL\pN]{20})").unwrap();
        assert!(matches!(small.0, Engine::Table(_)));
        assert!(matches!(large.0, Engine::Search(_)));
        for text in ["/", "/a", "/ab.12", "/ab.1", "/ab.123", "x/ab", "", "/ab\n"] {
            assert_eq!(
                small.matches(text.as_bytes()),
                large.matches(text.as_bytes()),
                "{text}"
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
