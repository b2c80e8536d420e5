//! RE2's syntax in the words of the `regex` crate.
//!
//! Owns the differences between the two: what RE2 takes literally and the crate does not, classes
//! that differ, spellings that only one of them has, and what RE2 refuses. Envoy has RE2 read
//! expressions and texts byte by byte, as Latin-1: the header of a request is no text in any
//! encoding, and a rule that only matches sound UTF-8 is passed with one byte that is none. Called
//! by `pattern`, which compiles the result; that an expression is sound otherwise is left to the
//! crate.

use std::fmt::Write as _;

use regex_syntax::hir::{Class, HirKind};

/// Largest count of a repetition that RE2 accepts.
const REPEAT_MAX: u32 = 1000;

/// Names that RE2 knows inside of `[:…:]`.
const ASCII_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("missing \")\"")]
    MissingParenthesis,
    #[error("\")\" without \"(\"")]
    UnexpectedParenthesis,
    #[error("missing \"]\" behind \"{0}\"")]
    MissingBracket(String),
    #[error("backslash at the end")]
    TrailingBackslash,
    #[error("invalid escape sequence \"{0}\"")]
    Escape(String),
    #[error("{0} is not supported")]
    Group(String),
    #[error("invalid character class \"{0}\"")]
    Class(String),
    #[error("there is no Unicode property \"{0}\"")]
    Property(String),
    #[error("nothing to repeat before \"{0}\"")]
    NothingToRepeat(String),
    #[error("\"{0}\" repeats a repetition")]
    RepeatedRepetition(String),
    #[error("a repetition \"{0}\" must go up, and to {REPEAT_MAX} at most")]
    RepetitionSize(String),
}

/// `expression` for the `regex` crate's bytes API with Unicode off. All characters of it, and of errors,
/// are bytes: those of [`as_latin1`].
pub(super) fn translate(expression: &str) -> Result<String, SyntaxError> {
    let mut translator = Translator {
        rest: expression,
        out: String::with_capacity(expression.len() + 16),
        depth: 0,
        before: Before::Nothing,
    };
    while let Some(first) = translator.next() {
        translator.piece(first)?;
    }
    if translator.depth > 0 {
        return Err(SyntaxError::MissingParenthesis);
    }
    Ok(translator.out)
}

/// Each byte of `text` as the character of that number.
pub(super) fn as_latin1(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

/// The text that [`as_latin1`] was given; other characters stay what they are.
pub(super) fn from_latin1(text: &str) -> String {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    let written = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    written.unwrap_or_else(|| text.to_owned())
}

/// What stands before the next piece: decides whether a repetition may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Atom,
    Repetition,
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    depth: usize,
    before: Before,
}

/// `{n}`, `{n,}` or `{n,m}`.
struct Counts {
    least: u32,
    most: Option<u32>,
    length: usize,
}

impl<'a> Translator<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn skip(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else {
            return false;
        };
        self.rest = rest;
        true
    }

    /// Takes what comes before `end`, and `end`.
    fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(before)
    }

    fn piece(&mut self, first: char) -> Result<(), SyntaxError> {
        self.before = match first {
            '\\' => self.escape()?,
            '[' => {
                self.class()?;
                Before::Atom
            }
            '(' => self.open()?,
            ')' => {
                self.depth = self
                    .depth
                    .checked_sub(1)
                    .ok_or(SyntaxError::UnexpectedParenthesis)?;
                self.out.push(')');
                Before::Atom
            }
            '|' => {
                self.out.push('|');
                Before::Nothing
            }
            '*' | '+' | '?' => self.repetition(&first.to_string())?,
            '{' => match counts(self.rest) {
                Some(counts) => self.counted(&counts)?,
                None => self.literal('{'),
            },
            '^' | '$' | '.' => {
                self.out.push(first);
                Before::Atom
            }
            other => self.literal(other),
        };
        Ok(())
    }

    fn literal(&mut self, literal: char) -> Before {
        write_literal(&mut self.out, literal);
        Before::Atom
    }

    fn repetition(&mut self, operator: &str) -> Result<Before, SyntaxError> {
        match self.before {
            Before::Nothing => return Err(SyntaxError::NothingToRepeat(operator.to_owned())),
            Before::Repetition => {
                return Err(SyntaxError::RepeatedRepetition(operator.to_owned()));
            }
            Before::Atom => self.out.push_str(operator),
        }
        if self.skip("?") {
            self.out.push('?');
        }
        Ok(Before::Repetition)
    }

    fn counted(&mut self, counts: &Counts) -> Result<Before, SyntaxError> {
        let (inside, rest) = self.rest.split_at(counts.length);
        self.rest = rest;
        let operator = format!("{{{inside}");
        let most = counts.most.unwrap_or(counts.least);
        if counts.least > REPEAT_MAX || most > REPEAT_MAX || most < counts.least {
            return Err(SyntaxError::RepetitionSize(operator));
        }
        self.repetition(&operator)
    }

    /// What follows a `(`.
    fn open(&mut self) -> Result<Before, SyntaxError> {
        if !self.skip("?") {
            self.depth += 1;
            self.out.push('(');
            return Ok(Before::Nothing);
        }
        if self.skip("P<") || self.skip("<") {
            return self.named();
        }
        let end = self
            .rest
            .find([':', ')'])
            .ok_or(SyntaxError::MissingParenthesis)?;
        let (flags, rest) = self.rest.split_at(end);
        if let Some(bad) = flags.chars().find(|flag| !"imsU-".contains(*flag)) {
            return Err(SyntaxError::Group(format!("(?{bad}")));
        }
        write_to(&mut self.out, format_args!("(?{flags}"));
        self.rest = rest;
        if self.skip(")") {
            self.out.push(')');
        } else if self.skip(":") {
            self.out.push(':');
            self.depth += 1;
        }
        Ok(Before::Nothing)
    }

    /// A group with a name. Nobody asks for groups by name, so the name is only checked.
    fn named(&mut self) -> Result<Before, SyntaxError> {
        let name = self.until(">").ok_or(SyntaxError::MissingParenthesis)?;
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_alphanumeric()) {
            return Err(SyntaxError::Group(format!("the group name \"{name}\"")));
        }
        self.depth += 1;
        self.out.push('(');
        Ok(Before::Nothing)
    }

    /// What follows a `\` outside of a class.
    fn escape(&mut self) -> Result<Before, SyntaxError> {
        let escaped = self.rest;
        let first = self.next().ok_or(SyntaxError::TrailingBackslash)?;
        match first {
            'A' | 'z' => write_to(&mut self.out, format_args!("\\{first}")),
            'b' | 'B' => write_to(&mut self.out, format_args!("\\{first}")),
            'C' => self.out.push_str("(?s:.)"),
            'Q' => {
                let quoted = match self.until(r"\E") {
                    Some(quoted) => quoted,
                    None => std::mem::take(&mut self.rest),
                };
                for literal in quoted.chars() {
                    write_literal(&mut self.out, literal);
                }
                return Ok(if quoted.is_empty() {
                    self.before
                } else {
                    Before::Atom
                });
            }
            _ => {
                self.rest = escaped;
                if let Some(set) = self.set()? {
                    write_to(&mut self.out, format_args!("[{set}]"));
                } else {
                    let character = self.character()?;
                    self.literal(character);
                }
            }
        }
        Ok(Before::Atom)
    }

    /// A set behind a `\`, as what stands inside of a class; nothing is taken when there is none.
    fn set(&mut self) -> Result<Option<String>, SyntaxError> {
        let escaped = self.rest;
        let Some(first) = self.next() else {
            return Err(SyntaxError::TrailingBackslash);
        };
        let set = match first {
            'd' => "0-9",
            'D' => "[^0-9]",
            's' => r"\t\n\x0C\r\x20",
            'S' => r"[^\t\n\x0C\r\x20]",
            'w' => "0-9A-Za-z_",
            'W' => "[^0-9A-Za-z_]",
            'p' | 'P' => return self.property(first == 'P').map(Some),
            _ => {
                self.rest = escaped;
                return Ok(None);
            }
        };
        Ok(Some(set.to_owned()))
    }

    /// What follows `\p` or `\P`.
    fn property(&mut self, mut negated: bool) -> Result<String, SyntaxError> {
        let name = if self.skip("{") {
            let Some(name) = self.until("}") else {
                return Err(SyntaxError::Class(format!("\\p{{{}", self.rest)));
            };
            match name.strip_prefix('^') {
                Some(name) => {
                    negated = !negated;
                    name.to_owned()
                }
                None => name.to_owned(),
            }
        } else {
            self.next()
                .ok_or(SyntaxError::TrailingBackslash)?
                .to_string()
        };
        if !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) || name.is_empty() {
            return Err(SyntaxError::Class(format!("\\p{{{name}}}")));
        }
        let ranges = property(&name).ok_or(SyntaxError::Property(name))?;
        let mut set = String::new();
        for (low, high) in ranges {
            write_range(&mut set, low, high);
        }
        Ok(match (negated, set.is_empty()) {
            (false, false) => set,
            (true, false) => format!("[^{set}]"),
            (true, true) => r"\x00-\xFF".to_owned(),
            // Nothing is in it.
            (false, true) => r"[^\x00-\xFF]".to_owned(),
        })
    }

    /// A single character behind a `\`.
    fn character(&mut self) -> Result<char, SyntaxError> {
        let first = self.next().ok_or(SyntaxError::TrailingBackslash)?;
        let invalid = || SyntaxError::Escape(format!("\\{first}"));
        match first {
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            '0' => self.octal(0).ok_or_else(invalid),
            '1'..='7' if self.rest.starts_with(|c| matches!(c, '0'..='7')) => {
                let octal = self.octal(first.to_digit(8).unwrap_or(0));
                octal.ok_or_else(invalid)
            }
            'x' => {
                let digits = if self.skip("{") {
                    self.until("}").ok_or_else(invalid)?
                } else {
                    let (digits, rest) = self.rest.split_at_checked(2).ok_or_else(invalid)?;
                    self.rest = rest;
                    digits
                };
                let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let value = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal);
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.map(char::from).ok_or_else(invalid)
            }
            punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => {
                Ok(punctuation)
            }
            _ => Err(invalid()),
        }
    }

    /// Up to two more octal digits.
    fn octal(&mut self, first: u32) -> Option<char> {
        let mut value = first;
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.next();
            value = value * 8 + digit;
        }
        u8::try_from(value).ok().map(char::from)
    }

    /// What follows a `[`.
    fn class(&mut self) -> Result<(), SyntaxError> {
        let class = self.rest;
        let unclosed = || SyntaxError::MissingBracket(format!("[{class}"));
        self.out.push('[');
        if self.skip("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if let Some(name) = self.ascii_class()? {
                write_to(&mut self.out, format_args!("[:{name}:]"));
                continue;
            }
            if self.rest.starts_with('\\') {
                let escaped = self.rest;
                self.next();
                if let Some(set) = self.set()? {
                    self.out.push_str(&set);
                    continue;
                }
                self.rest = escaped;
            }
            let low = self.member()?.ok_or_else(unclosed)?;
            let range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let high = if range && self.skip("-") {
                self.member()?.ok_or_else(unclosed)?
            } else {
                low
            };
            if high < low {
                return Err(SyntaxError::Class(format!("{low}-{high}")));
            }
            write_range(&mut self.out, low, high);
        }
        self.skip("]");
        self.out.push(']');
        Ok(())
    }

    /// `[:name:]` inside of a class.
    fn ascii_class(&mut self) -> Result<Option<&'a str>, SyntaxError> {
        let Some((name, rest)) = self
            .rest
            .strip_prefix("[:")
            .and_then(|inside| inside.split_once(":]"))
        else {
            return Ok(None);
        };
        if !ASCII_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(SyntaxError::Class(format!("[:{name}:]")));
        }
        self.rest = rest;
        Ok(Some(name))
    }

    /// One character inside of a class.
    fn member(&mut self) -> Result<Option<char>, SyntaxError> {
        match self.next() {
            Some('\\') => self.character().map(Some),
            other => Ok(other),
        }
    }
}

/// The counts at the start of `inside`, up to their `}`. Anything else is literal in RE2.
fn counts(inside: &str) -> Option<Counts> {
    let (counts, _) = inside.split_once('}')?;
    let (least, most) = match counts.split_once(',') {
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
        None => (number(counts)?, None),
    };
    Some(Counts {
        least,
        most,
        length: counts.len() + 1,
    })
}

fn number(digits: &str) -> Option<u32> {
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if leading_zero || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}

/// The characters of Latin-1 that have a Unicode property, as ranges.
fn property(name: &str) -> Option<Vec<(char, char)>> {
    let parsed = regex_syntax::parse(&format!("\\p{{{name}}}")).ok()?;
    let HirKind::Class(Class::Unicode(class)) = parsed.kind() else {
        return None;
    };
    let ranges = class.ranges().iter();
    let ranges = ranges.map(|range| (range.start(), range.end().min('\u{ff}')));
    Some(ranges.filter(|(low, high)| low <= high).collect())
}

fn write_range(out: &mut String, low: char, high: char) {
    let (low, high) = (u32::from(low), u32::from(high));
    write_to(out, format_args!("\\x{low:02X}-\\x{high:02X}"));
}

fn write_literal(out: &mut String, literal: char) {
    if literal.is_ascii() {
        out.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    } else {
        write_to(out, format_args!("\\x{:02X}", u32::from(literal)));
    }
}

fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Pattern;

    /// What Envoy 1.40 answered to `--mode validate` with the expression as a route's `safe_regex`.
    const ENVOY_ACCEPTS: [&str; 62] = [
        "a{",
        "a{,3}",
        "a{1,b}",
        "[[a]b]",
        "[a&&b]",
        "(?i)a",
        "(?s)a",
        "(?U)a",
        "(?<n>a)",
        "(?P<n>a)",
        "\\pL",
        "\\p{Greek}",
        "\\Q.\\E",
        "\\C",
        "\\z",
        "\\x41",
        "\\x{41}",
        "\\101",
        "\\_",
        "\\<",
        "\\b",
        "\\-",
        "\\/",
        "a*?",
        "[]]",
        "[^]]",
        "[[:alpha:]]",
        "x|",
        "|",
        "()",
        "(|a)",
        "(?:)",
        "\\08",
        "\\d",
        "a{0}",
        "^*",
        "(?i:a)b",
        "(?-i)a",
        "{",
        "}",
        "]",
        "\\Qa",
        "(?m)^a$",
        "[\\d-z]",
        "[a-]",
        "[-a]",
        "[--a]",
        "[+--]",
        "\\v",
        "[^\\S]",
        "[[:^alpha:]]",
        "[[:word:]]",
        "\\pZ",
        "\\PN",
        "\\p{^L}",
        "\\p{Lu}",
        "[\\pL]",
        "é",
        "[é]",
        "a{2}",
        "a{2,}",
        "a{2,3}?",
    ];
    const ENVOY_REFUSES: [&str; 48] = [
        "a{1001}",
        "[a--b]",
        "(?x)a",
        "(?u)a",
        "(?=a)",
        "(?!a)",
        "\\1",
        "\\Z",
        "\\e",
        "\\é",
        "a**",
        "a*+",
        "*",
        "+",
        "?",
        "(",
        "a)",
        "[",
        "[]",
        "[z-a]",
        "[[:foo:]]",
        "\\8",
        "\\h",
        "\\R",
        "\\G",
        "\\K",
        "\\u0041",
        "a{2}{3}",
        "\\xz",
        "(?#c)",
        "{1}",
        "\\",
        "a{2,1}",
        "(?P=n)",
        "(?P>n)",
        "(?>a)",
        "\\E",
        "(?n)a",
        "\\N{U+41}",
        "[a-\\d]",
        "[\\b]",
        "[\\Q]\\E]",
        "\\X",
        "\\p{script=Greek}",
        "a)(b",
        "(?",
        "(?P<n",
        "(?<>a)",
    ];

    #[test]
    fn accepts_and_refuses_what_envoy_does() {
        for expression in ENVOY_ACCEPTS {
            let compiled = Pattern::new(expression);
            assert!(compiled.is_ok(), "{expression}: {compiled:?}");
        }
        for expression in ENVOY_REFUSES {
            assert!(Pattern::new(expression).is_err(), "{expression}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(expression in r"([a-z0-9\\\[\](){}|*+?.^$:<>,=&~-]|\\[QEpPxbBdDC]|\[:alpha:\]|é){0,12}") {
            let _ = Pattern::new(&expression);
        }

        #[test]
        fn an_escaped_literal_matches_itself(text in "[ -~é]{1,20}") {
            prop_assert!(Pattern::new(&regex::escape(&text)).is_ok_and(|p| p.matches(text.as_bytes())));
        }

        #[test]
        fn a_class_has_what_is_listed(members in "[a-z&~^-]{1,6}", other in "[A-Z]") {
            let class = Pattern::new(&format!("[_{members}_]"));
            if let Ok(class) = class {
                for member in members.bytes().filter(u8::is_ascii_lowercase) {
                    prop_assert!(class.matches(&[member]));
                }
                prop_assert!(!class.matches(other.as_bytes()) || members.contains('-'));
            }
        }
    }
}
