//! Regular expressions (`RegexMatcher` with `google_re2`), compiled once.
//!
//! Owns the choice of the engine and its limits. Expressions are written for RE2 and translated by
//! `dialect`; both engines match in time linear in the input, so an expression cannot be
//! made slow by a request. Envoy refuses programs of more than 100 RE2 instructions; here the limit
//! is on bytes ([`limits::REGEX_BYTES`]) and wider.
//!
//! A match on the data path walks a complete table, built here: no cache that workers would take
//! from each other, nothing built lazily. Only an expression whose table would be larger than
//! [`limits::REGEX_TABLE_BYTES`] is left to the `regex` crate, which shares a pool of caches.
//!
//! Routes match with it, and filters do. Does not own: rewriting with what was matched
//! (`route::rewrite`).

use std::ops::Range;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::Extractor;

use crate::limits;

mod dialect;
mod required;
mod substitution;
mod walk;

pub(crate) use substitution::{Substitution, SubstitutionError, Template};

pub(crate) use required::Requirement;
use walk::Walk;

/// Expressions that one table of a [`PatternSet`] tries to hold.
const SET_PATTERNS: usize = 1024;
/// What becomes of those for which there is none.
const PARTS: usize = 8;
/// Expressions that are tried to find out whether there is a table for many.
const SAMPLE: usize = 12;

/// An expression that has to match all of a text.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    engine: Engine,
    /// As the `regex` crate writes it.
    translated: Arc<str>,
}

#[derive(Clone, Debug)]
enum Engine {
    Table(Arc<Table>),
    Search(Regex),
}

type Table = dense::DFA<Vec<u32>>;

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
    pub(crate) fn new(expression: &str) -> Result<Self, PatternError> {
        let translated = translate(expression)?;
        let whole = format!(r"(?:{translated})\z");
        let engine = match table(&[&whole], limits::REGEX_TABLE_BYTES) {
            Some(table) => Engine::Table(Arc::new(table)),
            None => Engine::Search(compile(&format!(r"\A{whole}"))?),
        };
        Ok(Self {
            engine,
            translated: translated.into(),
        })
    }

    /// Whether both are the same compiled expression.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.translated, &other.translated)
    }

    /// Whether the expression matches all of `text`.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match &self.engine {
            Engine::Table(table) => {
                let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
                matches!(table.try_search_fwd(&input), Ok(Some(_)))
            }
            Engine::Search(regex) => regex.is_match(text),
        }
    }

    /// What every text begins with that matches; often nothing.
    pub(crate) fn literal_prefix(&self) -> Vec<u8> {
        let Some(parsed) = self.parsed() else {
            return Vec::new();
        };
        let literals = Extractor::new().extract(&parsed);
        let prefix = literals.longest_common_prefix();
        prefix.unwrap_or_default().to_vec()
    }

    /// What every text has in it that matches; often nothing can be said.
    pub(crate) fn requirements(&self) -> Vec<Requirement> {
        self.parsed()
            .map(|parsed| required::of(&parsed))
            .unwrap_or_default()
    }

    fn parsed(&self) -> Option<Hir> {
        syntax::parse_with(&self.translated, &of_bytes()).ok()
    }
}

/// Expressions that are matched at once: which of them match all of a text is found in one walk.
#[derive(Debug)]
pub(crate) struct PatternSet {
    /// It starts behind the beginning that all texts have, which nobody needs to walk.
    walk: Walk,
    /// How long that is.
    passed: usize,
}

/// Sets, each with the part of the expressions that it holds.
type Sets = Vec<(Range<usize>, PatternSet)>;

impl PatternSet {
    /// As few sets as can hold the expressions, and the positions of those that are in none: one
    /// that would be alone in its set, one whose table would be too large. They are only asked about
    /// texts that begin with `beginning`.
    pub(crate) fn of_many(patterns: &[&Pattern], beginning: &[u8]) -> (Sets, Vec<usize>) {
        let mut sets = Vec::new();
        let mut alone = Vec::new();
        // Parts that are to become sets, the last one first.
        let mut open: Vec<Range<usize>> = (0..patterns.len())
            .step_by(SET_PATTERNS)
            .map(|start| start..patterns.len().min(start + SET_PATTERNS))
            .rev()
            .collect();
        while let Some(range) = open.pop() {
            let part = patterns.get(range.clone()).unwrap_or_default();
            let parts = if grows_beyond(part) {
                if part.len() > PARTS * 2 { PARTS } else { 2 }
            } else if let Some(set) = Self::new(part, beginning) {
                sets.push((range, set));
                continue;
            } else {
                2
            };
            if range.len() < 2 {
                alone.extend(range);
                continue;
            }
            let length = range.len().div_ceil(parts);
            let starts = range.clone().step_by(length).rev();
            open.extend(starts.map(|start| start..range.end.min(start + length)));
        }
        (sets, alone)
    }

    fn new(patterns: &[&Pattern], beginning: &[u8]) -> Option<Self> {
        if patterns.len() < 2 {
            return None;
        }
        let table = common_table(patterns)?;
        let anchored = start::Config::new().anchored(Anchored::Yes);
        let start = beginning
            .iter()
            .fold(table.start_state(&anchored).ok()?, |state, byte| {
                table.next_state(state, *byte)
            });
        Some(Self {
            walk: Walk::new(&table, start)?,
            passed: beginning.len(),
        })
    }

    /// Calls `found` with the position of every expression that matches all of `text`.
    #[inline]
    pub(crate) fn each_match(&self, text: &[u8], found: impl FnMut(usize)) {
        let rest = text.get(self.passed..).unwrap_or_default();
        self.walk.each_match(rest, found);
    }
}

/// Whether a few of the expressions are too many for one table already, as those are of which each can
/// have matched or not wherever the others are (`.*a.*`, `.*b.*`): it has a state for each combination, and to
/// find that out with all of them takes long. Of `SAMPLE` or less all is seen when their set is made.
fn grows_beyond(patterns: &[&Pattern]) -> bool {
    patterns.len() > SAMPLE && {
        let every = patterns.len() / SAMPLE;
        let sample = patterns.iter().copied().step_by(every).take(SAMPLE);
        common_table(&sample.collect::<Vec<_>>()).is_none()
    }
}

/// One table of all; none where it would be too large.
fn common_table(patterns: &[&Pattern]) -> Option<Table> {
    let whole = patterns.iter().map(|pattern| match &pattern.engine {
        Engine::Table(_) => Some(format!(r"(?:{})\z", pattern.translated)),
        Engine::Search(_) => None,
    });
    let whole: Vec<_> = whole.collect::<Option<_>>()?;
    table(&whole, whole.len() * limits::REGEX_SET_BYTES)
}

/// Compiles `expression` for searching.
pub(crate) fn searching(expression: &str) -> Result<Regex, PatternError> {
    compile(&translate(expression)?)
}

fn translate(expression: &str) -> Result<String, PatternError> {
    if expression.is_empty() {
        return Err(PatternError::Empty);
    }
    dialect::translate(&dialect::as_latin1(expression))
        .map_err(|error| PatternError::Syntax(dialect::from_latin1(&error.to_string())))
}

fn compile(translated: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(translated)
        .unicode(false)
        .size_limit(limits::REGEX_BYTES)
        .dfa_size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => PatternError::TooBig(limit),
            other => PatternError::Syntax(reason(&other.to_string())),
        })
}

/// The complete table of expressions, unless it would be larger than `limit` bytes or one of them
/// does not compile.
fn table<P: AsRef<str>>(translated: &[P], limit: usize) -> Option<Table> {
    let config = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(limit))
        .determinize_size_limit(Some(limit));
    let program = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(limits::REGEX_BYTES));
    dense::Builder::new()
        .configure(config)
        .syntax(of_bytes())
        .thompson(program)
        .build_many(translated)
        .ok()
}

/// Expressions and texts are bytes.
fn of_bytes() -> syntax::Config {
    syntax::Config::new().utf8(false).unicode(false)
}

/// The last line of the engine's message: the others show the translated expression.
fn reason(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
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
    fn classes_are_of_bytes_as_in_re2() {
        for (expression, yes, no) in [
            (r"\d", &b"7"[..], "٣".as_bytes()),
            (r"\D", b"\xff", b"7"),
            (r"\w", b"_", b"\xe9"),
            (r"\W", b"\xe9", b"a"),
            (r"\s", b"\t", b"\x0b"),
            (r"[\S]", b"\xa0", b" "),
            (r"[^\d]", b"a", b"1"),
            (r"[\d-]", b"-", b"a"),
            (r"[[:alpha:]]", b"Z", b"\xe9"),
            (r"[[:^alpha:]]", b"\xe9", b"Z"),
            // Latin-1 has letters too.
            (r"\pL", b"\xe9", b"\xd7"),
            (r"\pL", b"a", "é".as_bytes()),
            (r"\p{^L}", b"1", b"\xe9"),
            (r"\PL", b"\xd7", b"a"),
            (r"\p{Greek}|x", b"x", "α".as_bytes()),
            (r"[\p{Greek}x]", b"x", b"\xce"),
            (r"\P{Greek}", b"\xce", "α".as_bytes()),
            (r"[^\p{Greek}]", b"\xce", "α".as_bytes()),
            (r".", b"\xff", b"\n"),
            (r"..", "é".as_bytes(), b"a"),
            ("é", "é".as_bytes(), b"\xe9"),
            ("[é]{2}", "é".as_bytes(), b"\xe9\xe9"),
            ("[^é]", b"\xe9", b"\xc3"),
            (r"\Qé\E", "é".as_bytes(), b"\xe9"),
            ("é*", b"\xc3\xa9\xa9", "éé".as_bytes()),
            (r"\x41", b"A", b"B"),
            (r"\xe9", b"\xe9", "é".as_bytes()),
            (r"\x{e9}", b"\xe9", "é".as_bytes()),
            (r"\351", b"\xe9", "é".as_bytes()),
            (r"[\x80-\xff]+", "é€".as_bytes(), b"a"),
            (r"\101", b"A", b"1"),
            (r"\0", b"\0", b"0"),
            (r"\Qa.b\E", b"a.b", b"axb"),
            (r"[\]]", b"]", b"["),
            (r"[]a]", b"]", b"["),
            (r"[[a]", b"[", b"b"),
            (r"[a&&b]", b"&", b"c"),
            (r"[~~]", b"~", b"a"),
            (r"[+--]", b",", b"a"),
            (r"[a\-z]", b"-", b"b"),
            (r"a{", b"a{", b"a"),
            (r"a{,3}", b"a{,3}", b"aa"),
            (r"\<", b"<", b"a"),
            (r"(?i)straße", "STRAßE".as_bytes(), b"strasse"),
            (r"(?i:a)b", b"Ab", b"AB"),
            (r"(?P<one>a)(?<two>b)", b"ab", b"a"),
            (r"(?s).", b"\n", b""),
            (r"(?m)a$(?s:.)b", b"a\nb", b"ab"),
            // One byte that is no text leads past no rule.
            (".*evil.*", b"evil\xff", b"e\xffvil"),
            ("a[^/]+", b"a\xff\x80", b"a\xff/"),
        ] {
            assert!(matches(expression, yes), "{expression} on {yes:?}");
            assert!(!matches(expression, no), "{expression} on {no:?}");
        }
    }

    #[test]
    fn capital_c_is_a_byte() {
        assert!(matches(r"\C", [0xff]) && matches(r"\C", "\n"));
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
            (r"\p{Nope}", "there is no Unicode property \"Nope\""),
            ("[é", "missing \"]\" behind \"[é\""),
            (r"\x{100}", "invalid escape sequence \"\\x\""),
            (r"\400", "invalid escape sequence \"\\4\""),
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
        let large = Pattern::new(r"/[a-z]+(?:\.\d\d)?|(?:[ab]*a[ab]{15})").unwrap();
        assert!(matches!(small.engine, Engine::Table(_)));
        assert!(matches!(large.engine, Engine::Search(_)));
        for text in ["/", "/a", "/ab.12", "/ab.1", "/ab.123", "x/ab", "", "/ab\n"] {
            assert_eq!(
                small.matches(text.as_bytes()),
                large.matches(text.as_bytes()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_fixed_beginning_is_known() {
        for (expression, prefix) in [
            ("/users/[0-9]+", "/users/"),
            ("/a(b|c)d", "/a"),
            ("/abc|/abd", "/ab"),
            ("^/abc$", "/abc"),
            ("(?i)/abc", "/"),
            (".*", ""),
            ("/a?", "/"),
            ("/ab*", "/a"),
            ("(?m)^/a$", "/a"),
            (r"/a\.b", "/a.b"),
            (r"\Q/a+\E.*", "/a+"),
            ("|/a", ""),
        ] {
            let found = Pattern::new(expression).unwrap().literal_prefix();
            assert!(
                prefix.as_bytes().starts_with(&found),
                "{expression} has {found:?}"
            );
            assert!(
                found.len() >= prefix.len().min(1),
                "{expression} has {found:?}"
            );
        }
    }

    #[test]
    fn expressions_with_a_state_for_each_combination_are_divided() {
        let expressions = (0..100).map(|index| format!(".*/service{index}/.*"));
        let patterns: Vec<_> = expressions
            .map(|text| Pattern::new(&text).unwrap())
            .collect();
        let (sets, alone) = PatternSet::of_many(&patterns.iter().collect::<Vec<_>>(), b"");
        assert!(alone.is_empty(), "{alone:?}");
        let mut next = 0;
        for (range, set) in &sets {
            assert_eq!(range.start, next);
            next = range.end;
            assert!((2..=SAMPLE).contains(&range.len()), "{range:?}");
            let (first, last) = (range.start, range.end - 1);
            let text = format!("/a/service{last}/service{first}/b");
            let mut found = Vec::new();
            set.each_match(text.as_bytes(), |index| found.push(range.start + index));
            found.sort_unstable();
            assert_eq!(found, [first, last]);
        }
        assert_eq!(next, patterns.len());
    }

    #[test]
    fn a_set_says_which_expressions_match() {
        let expressions = ["/a.*", "/ab", "/[a-z]+", "/x", "(?i)/AB", "/[ab]*a[ab]{15}"];
        let patterns: Vec<_> = expressions.map(|text| Pattern::new(text).unwrap()).into();
        let (sets, alone) = PatternSet::of_many(&patterns.iter().collect::<Vec<_>>(), b"/");
        for text in ["/ab", "/abc", "/x", "/AB", "/", "/ab/c"] {
            let mut found: Vec<usize> = alone
                .iter()
                .copied()
                .filter(|index| patterns[*index].matches(text.as_bytes()))
                .collect();
            for (range, set) in &sets {
                set.each_match(text.as_bytes(), |index| found.push(range.start + index));
            }
            found.sort_unstable();
            let expected = patterns.iter().enumerate();
            let expected = expected.filter(|(_, pattern)| pattern.matches(text.as_bytes()));
            assert_eq!(
                found,
                expected.map(|(index, _)| index).collect::<Vec<_>>(),
                "{text}"
            );
        }
        assert!(alone.contains(&5), "its own table is too large");
        assert!(!sets.is_empty());
    }

    #[test]
    fn fixed_parts_are_compared_and_end_where_they_end() {
        let expressions = [
            "/api/[^/]+/users",
            "/api/[^/]+/users/[0-9]+",
            "/api/v1/orders(/.*)?",
            "/api/v1/ordinary",
            "/api/.*-suffix",
        ];
        let patterns = expressions.map(|text| Pattern::new(text).unwrap());
        let (sets, alone) = PatternSet::of_many(&patterns.each_ref(), b"/api/");
        assert!(alone.is_empty());
        let mut texts = vec!["/api/".to_owned(), "/api/v1-suffix-suffix".to_owned()];
        for text in [
            "/api/v2/users",
            "/api/v1/users/77",
            "/api/v1/orders",
            "/api/v1/orders/é/x",
            "/api/v1/orders-suffix",
            "/api/v1/ordinary",
            "/api/é/users",
        ] {
            // Each with its end cut off, with more behind it, and with another byte in it.
            let cuts = (5..text.len()).filter_map(|at| text.split_at_checked(at));
            for (before, behind) in cuts {
                texts.push(before.to_owned());
                texts.push(format!("{before}_{behind}"));
            }
            texts.extend([text.to_owned(), format!("{text}/"), format!("{text}x")]);
        }
        let mut matched = 0;
        for text in texts {
            let mut found = Vec::new();
            for (range, set) in &sets {
                set.each_match(text.as_bytes(), |index| found.push(range.start + index));
            }
            let expected = (0..patterns.len()).filter(|at| patterns[*at].matches(text.as_bytes()));
            assert_eq!(found, expected.collect::<Vec<_>>(), "{text}");
            matched += found.len();
        }
        assert!(matched > 20, "{matched}");
    }

    #[test]
    fn the_compiled_size_has_a_limit() {
        let error = Pattern::new(r"[\pL\pN]{1000}{500}").unwrap_err();
        assert!(matches!(error, PatternError::Syntax(_)), "{error}");
        let error = Pattern::new(r"(?:[\pL\pN]{1000}){500}").unwrap_err();
        assert_eq!(error, PatternError::TooBig(limits::REGEX_BYTES));
    }
}
