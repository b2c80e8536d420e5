//! URI templates: `/users/{id}/files/{path=**}`, what they match and what a rewrite makes of it.
//!
//! Owns the syntax of `UriTemplateMatchConfig` and `UriTemplateRewriteConfig`, and Envoy's rules for
//! both. A template matches a whole path, without its query, in one pass and without an
//! allocation: at most one `**` may stand in it and only fixed text behind that, so there is
//! nothing to try twice. Called by `matcher` for matches and by `rewrite` for rewrites. Does not
//! own which route has which.

use std::ops::Range;

use crate::uri::is_path_byte;

/// Most variables of a template, as in Envoy.
const VARIABLES: usize = 5;
/// Longest name of a variable, as in Envoy.
const NAME_BYTES: usize = 16;

/// What is wrong with a template or a rewrite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It has to begin with a slash.
    #[error("a template begins with \"/\"")]
    NoSlash,
    /// A byte that no path has, or an operator inside of a segment.
    #[error("\"{0}\" cannot stand for itself")]
    Literal(String),
    /// Two slashes, one behind the other.
    #[error("a segment is empty")]
    EmptySegment,
    /// A `{` without a `}`.
    #[error("missing \"}}\" behind \"{0}\"")]
    MissingBrace(String),
    /// A name of a variable that cannot be one.
    #[error("\"{0}\" is not the name of a variable: a letter, then letters, digits and \"_\"")]
    Name(String),
    /// A name of a variable that is too long.
    #[error("the name \"{0}\" has more than {NAME_BYTES} bytes")]
    NameTooLong(String),
    /// A variable's pattern is not segments with one slash between them.
    #[error("\"{0}\" is not a pattern for a variable")]
    VariablePattern(String),
    /// A name stands twice.
    #[error("the variable \"{0}\" stands there twice")]
    Repeated(String),
    /// Too many variables.
    #[error("there are more than {VARIABLES} variables")]
    TooManyVariables,
    /// Another operator behind `**`.
    #[error("only fixed text may stand behind \"**\"")]
    BehindRest,
    /// More segments behind a text that ends the template.
    #[error("no \"/\" may follow \"{0}\", which ends the template")]
    BehindSuffix(String),
    /// A rewrite names a variable that the template does not have.
    #[error("the template that is matched has no variable \"{0}\"")]
    UnknownVariable(String),
}

/// `UriTemplateMatchConfig.path_template`, compiled.
#[derive(Clone, Debug)]
pub(super) struct UriTemplate {
    pieces: Box<[Piece]>,
    /// In the order in which they begin.
    variables: Box<[Box<str>]>,
}

/// A part of a template, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Fixed text; not empty.
    Literal(Box<[u8]>),
    /// `*`: a byte or more up to the next slash, without the `suffix` bytes before the path's end.
    Segment { suffix: usize },
    /// `**`: any bytes, also none, up to the fixed text of `tail` bytes that ends the template.
    Rest { tail: usize },
    /// The variable begins.
    Open(usize),
    /// The variable ends.
    Close(usize),
}

/// Where the variables of a template stand in a path.
#[derive(Debug, Default)]
struct Captures([Range<usize>; VARIABLES]);

impl UriTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// Where Envoy refuses it.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser::default();
        parser.template(text)?;
        Ok(Self {
            pieces: parser.finish()?,
            variables: parser.variables.into(),
        })
    }

    /// What every path begins with that matches.
    pub(super) fn literal_prefix(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Literal(text)) => text,
            _ => b"",
        }
    }

    /// What occurs in every path that matches: the fixed texts behind its beginning.
    pub(super) fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(&**text),
            _ => None,
        })
    }

    /// Whether a path without its query matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.walk(path, &mut Captures::default())
    }

    /// Notes where the variables stand, and says whether the path matches.
    fn walk(&self, path: &[u8], captures: &mut Captures) -> bool {
        let mut at = 0;
        for piece in &self.pieces {
            let rest = path.get(at..).unwrap_or_default();
            match piece {
                Piece::Literal(text) => {
                    if !rest.starts_with(text) {
                        return false;
                    }
                    at += text.len();
                }
                Piece::Segment { suffix } => {
                    let segment = memchr::memchr(b'/', rest).unwrap_or(rest.len());
                    let length = segment.saturating_sub(*suffix);
                    let taken = rest.get(..length).unwrap_or_default();
                    if taken.is_empty() || !taken.iter().all(|byte| is_path_byte(*byte)) {
                        return false;
                    }
                    at += length;
                }
                Piece::Rest { tail } => {
                    let Some(length) = rest.len().checked_sub(*tail) else {
                        return false;
                    };
                    let mut taken = rest.get(..length).unwrap_or_default().iter();
                    if !taken.all(|byte| *byte == b'/' || is_path_byte(*byte)) {
                        return false;
                    }
                    at += length;
                }
                Piece::Open(variable) => {
                    if let Some(range) = captures.0.get_mut(*variable) {
                        range.start = at;
                    }
                }
                Piece::Close(variable) => {
                    if let Some(range) = captures.0.get_mut(*variable) {
                        range.end = at;
                    }
                }
            }
        }
        at == path.len()
    }
}

#[derive(Default)]
struct Parser {
    pieces: Vec<Piece>,
    literal: Vec<u8>,
    variables: Vec<Box<str>>,
}

impl Parser {
    fn template(&mut self, text: &str) -> Result<(), TemplateError> {
        let mut rest = text.strip_prefix('/').ok_or(TemplateError::NoSlash)?;
        self.literal.push(b'/');
        while !rest.is_empty() {
            rest = if rest.starts_with('*') {
                self.operator(rest)
            } else if rest.starts_with('{') {
                self.variable(rest)?
            } else {
                self.literal(rest)?
            };
            if rest.is_empty() {
                break;
            }
            match rest.strip_prefix('/') {
                Some(next) => {
                    self.literal.push(b'/');
                    rest = next;
                }
                None => {
                    let suffix = rest;
                    rest = self.literal(suffix)?;
                    if !rest.is_empty() {
                        let suffix = suffix.strip_suffix(rest).unwrap_or(suffix);
                        return Err(TemplateError::BehindSuffix(suffix.to_owned()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the fixed text up to the next slash; gives back what follows.
    fn literal<'t>(&mut self, text: &'t str) -> Result<&'t str, TemplateError> {
        let end = text.find('/').unwrap_or(text.len());
        let (literal, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        if literal.is_empty() {
            return Err(TemplateError::EmptySegment);
        }
        // A `*` is an operator where a segment begins, and nowhere else.
        if literal.contains('*') || !literal.bytes().all(is_path_byte) {
            return Err(TemplateError::Literal(literal.to_owned()));
        }
        self.literal.extend_from_slice(literal.as_bytes());
        Ok(rest)
    }

    /// Takes the `*` or `**` that `text` begins with.
    fn operator<'t>(&mut self, text: &'t str) -> &'t str {
        if let Some(rest) = text.strip_prefix("**") {
            self.push(Piece::Rest { tail: 0 });
            return rest;
        }
        self.push(Piece::Segment { suffix: 0 });
        text.strip_prefix('*').unwrap_or(text)
    }

    /// Takes the `{name}` or `{name=pattern}` that `text` begins with.
    fn variable<'t>(&mut self, text: &'t str) -> Result<&'t str, TemplateError> {
        let inner = text.strip_prefix('{').unwrap_or(text);
        let Some((inner, rest)) = inner.split_once('}') else {
            return Err(TemplateError::MissingBrace(text.to_owned()));
        };
        let (name, pattern) = match inner.split_once('=') {
            Some((name, pattern)) => (name, Some(pattern)),
            None => (inner, None),
        };
        check_name(name)?;
        if name.len() > NAME_BYTES {
            return Err(TemplateError::NameTooLong(name.to_owned()));
        }
        if self.variables.iter().any(|known| **known == *name) {
            return Err(TemplateError::Repeated(name.to_owned()));
        }
        let index = self.variables.len();
        if index >= VARIABLES {
            return Err(TemplateError::TooManyVariables);
        }
        self.variables.push(name.into());
        self.push(Piece::Open(index));
        self.variable_pattern(pattern.unwrap_or("*"))?;
        self.push(Piece::Close(index));
        Ok(rest)
    }

    fn variable_pattern(&mut self, pattern: &str) -> Result<(), TemplateError> {
        let invalid = || TemplateError::VariablePattern(pattern.to_owned());
        let mut rest = pattern;
        loop {
            rest = if rest.starts_with('*') {
                self.operator(rest)
            } else {
                self.literal(rest).map_err(|error| match error {
                    TemplateError::EmptySegment => invalid(),
                    other => other,
                })?
            };
            if rest.is_empty() {
                return Ok(());
            }
            rest = rest.strip_prefix('/').ok_or_else(invalid)?;
            self.literal.push(b'/');
        }
    }

    fn push(&mut self, piece: Piece) {
        if !self.literal.is_empty() {
            let literal = std::mem::take(&mut self.literal);
            self.pieces.push(Piece::Literal(literal.into()));
        }
        self.pieces.push(piece);
    }

    /// The pieces, with what each operator leaves to the fixed text behind it.
    fn finish(&mut self) -> Result<Box<[Piece]>, TemplateError> {
        if !self.literal.is_empty() {
            let literal = std::mem::take(&mut self.literal);
            self.pieces.push(Piece::Literal(literal.into()));
        }
        // From the back: the fixed text behind, and whether there is nothing else behind.
        let (mut tail, mut fixed, mut slash) = (0, true, false);
        for piece in self.pieces.iter_mut().rev() {
            match piece {
                Piece::Literal(text) => {
                    tail += text.len();
                    slash = slash || text.contains(&b'/');
                }
                Piece::Segment { suffix } => {
                    // A slash ends the segment before the fixed text begins.
                    *suffix = if fixed && !slash { tail } else { 0 };
                    fixed = false;
                }
                Piece::Rest { tail: left } => {
                    if !fixed {
                        return Err(TemplateError::BehindRest);
                    }
                    *left = tail;
                    fixed = false;
                }
                Piece::Open(_) | Piece::Close(_) => {}
            }
        }
        Ok(std::mem::take(&mut self.pieces).into())
    }
}

fn check_name(name: &str) -> Result<(), TemplateError> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err(TemplateError::Name(name.to_owned()))
}

/// `UriTemplateRewriteConfig.path_template_rewrite` for the template that its route matches.
#[derive(Clone, Debug)]
pub(super) struct TemplateRewrite {
    template: UriTemplate,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<[u8]>),
    Variable(usize),
}

impl TemplateRewrite {
    /// Compiles a rewrite of what `template` matches.
    ///
    /// # Errors
    /// Where Envoy refuses it, or when it names a variable that the template does not have.
    pub(super) fn parse(text: &str, template: &UriTemplate) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::NoSlash);
        }
        if text.contains("//") {
            return Err(TemplateError::EmptySegment);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, variable) = match rest.split_once('{') {
                Some((literal, variable)) => (literal, Some(variable)),
                None => (rest, None),
            };
            if !literal
                .bytes()
                .all(|byte| byte == b'/' || is_path_byte(byte))
            {
                return Err(TemplateError::Literal(literal.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.as_bytes().into()));
            }
            let Some(variable) = variable else {
                break;
            };
            let Some((name, behind)) = variable.split_once('}') else {
                return Err(TemplateError::MissingBrace(format!("{{{variable}")));
            };
            check_name(name)?;
            let index = template.variables.iter().position(|known| **known == *name);
            let index = index.ok_or_else(|| TemplateError::UnknownVariable(name.to_owned()))?;
            parts.push(Part::Variable(index));
            rest = behind;
        }
        Ok(Self {
            template: template.clone(),
            parts: parts.into(),
        })
    }

    /// Appends what becomes of `path`, which has no query. Nothing where a filter has since changed
    /// the path so that it does not match.
    pub(super) fn write(&self, path: &[u8], out: &mut Vec<u8>) {
        let mut captures = Captures::default();
        if !self.template.walk(path, &mut captures) {
            return;
        }
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Variable(index) => {
                    let range = captures.0.get(*index).cloned().unwrap_or_default();
                    out.extend_from_slice(path.get(range).unwrap_or_default());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> UriTemplate {
        UriTemplate::parse(text).unwrap()
    }

    #[test]
    fn whole_paths_match() {
        for (text, yes, no) in [
            ("/", &["/"][..], &["", "/a"][..]),
            ("/a/b", &["/a/b"], &["/a/b/", "/a/bc", "/A/b", "/a"]),
            ("/a/", &["/a/"], &["/a", "/a//"]),
            (
                "/a/*",
                &["/a/b", "/a/%20"],
                &["/a/", "/a", "/a/b/", "/a/b/c", "/a/b^c", "/a/é"],
            ),
            (
                "/a/**",
                &["/a/", "/a/b", "/a/b/c/", "/a//"],
                &["/a", "/a/^", "/b/"],
            ),
            ("/**", &["/", "/a/b", "/a=*"], &["/^", "/a|b"]),
            ("/{x}/c", &["/a/c", "/a.b/c"], &["//c", "/a/b/c"]),
            ("/{x=*}/c", &["/a/c"], &["//c"]),
            ("/{x=a/*}/c", &["/a/b/c"], &["/b/b/c", "/a/c"]),
            ("/{x=**}/c", &["/a/c", "//c", "/a/b/c"], &["/c", "/a/c/"]),
            ("/{x=a/**}", &["/a/", "/a/b/c"], &["/a", "/b/"]),
            (
                "/{x}.mp3",
                &["/a.mp3", "/.mp3.mp3"],
                &["/.mp3", "/a.mp4", "/a/b.mp3"],
            ),
            ("/**.mp3", &["/a/b.mp3", "/.mp3"], &["/a.mp3/"]),
            ("/v/{x=*}.m", &["/v/a.m"], &["/v/.m"]),
            ("/a.b/(c)+$", &["/a.b/(c)+$"], &["/axb/(c)+$"]),
            ("/*/x/*", &["/a/x/b"], &["/a/y/b", "/a/x/"]),
        ] {
            let template = template(text);
            for path in yes {
                assert!(template.matches(path.as_bytes()), "{text} on {path}");
            }
            for path in no {
                assert!(!template.matches(path.as_bytes()), "{text} on {path}");
            }
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, message) in [
            ("", "a template begins with \"/\""),
            ("a", "a template begins with \"/\""),
            ("/a//b", "a segment is empty"),
            ("//", "a segment is empty"),
            ("/a b", "\"a b\" cannot stand for itself"),
            ("/a*b", "\"a*b\" cannot stand for itself"),
            ("/***", "\"*\" cannot stand for itself"),
            ("/{a=x*}", "\"x*\" cannot stand for itself"),
            ("/a?b", "\"a?b\" cannot stand for itself"),
            ("/{a", "missing \"}\" behind \"{a\""),
            (
                "/{}",
                "\"\" is not the name of a variable: a letter, then letters, digits and \"_\"",
            ),
            (
                "/{1}",
                "\"1\" is not the name of a variable: a letter, then letters, digits and \"_\"",
            ),
            ("/{a=}", "\"\" is not a pattern for a variable"),
            ("/{a=b/}", "\"b/\" is not a pattern for a variable"),
            ("/{a=*b}", "\"*b\" is not a pattern for a variable"),
            ("/{a}/{a}", "the variable \"a\" stands there twice"),
            ("/{a}{b}", "\"{b}\" cannot stand for itself"),
            (
                "/{a}/{b}/{c}/{d}/{e}/{f}",
                "there are more than 5 variables",
            ),
            (
                "/{abcdefghijklmnopq}",
                "the name \"abcdefghijklmnopq\" has more than 16 bytes",
            ),
            ("/**/*", "only fixed text may stand behind \"**\""),
            ("/{a=**}/{b}", "only fixed text may stand behind \"**\""),
            ("/{a=**/*}", "only fixed text may stand behind \"**\""),
            (
                "/*.b/c",
                "no \"/\" may follow \".b\", which ends the template",
            ),
        ] {
            let error = UriTemplate::parse(text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
        template("/{abcdefghijklmnop}/x");
    }

    #[test]
    fn rewrites_put_the_variables_elsewhere() {
        let rewritten = |template: &str, rewrite: &str, path: &str| {
            let template = UriTemplate::parse(template).unwrap();
            let mut out = Vec::new();
            let rewrite = TemplateRewrite::parse(rewrite, &template).unwrap();
            rewrite.write(path.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        for (template, rewrite, path, expected) in [
            ("/a/{x}/{y}", "/{y}/{x}", "/a/b/c", "/c/b"),
            ("/a/{x}/{y}", "/{y}{x}.z", "/a/b/c", "/cb.z"),
            ("/a/{x=**}", "/b/{x}", "/a/c/d", "/b/c/d"),
            ("/a/{x=**}", "/b/{x}", "/a/", "/b/"),
            ("/{x=a/*}/c", "/{x}", "/a/b/c", "/a/b"),
            ("/{x=**}.m", "/n/{x}.n", "/a/b.m", "/n/a/b.n"),
            ("/{x}.m", "/{x}", "/a.m.m", "/a.m"),
            ("/{x}/*", "/", "/a/b", "/"),
            ("/{x}", "/{x}", "/a/b", ""),
        ] {
            assert_eq!(
                rewritten(template, rewrite, path),
                expected,
                "{template} {rewrite} {path}"
            );
        }
        for (rewrite, message) in [
            ("{x}", "a template begins with \"/\""),
            ("/a//b", "a segment is empty"),
            ("/{y}", "the template that is matched has no variable \"y\""),
            ("/{x", "missing \"}\" behind \"{x\""),
            (
                "/{x=*}",
                "\"x=*\" is not the name of a variable: a letter, then letters, digits and \"_\"",
            ),
            ("/^", "\"/^\" cannot stand for itself"),
        ] {
            let error = TemplateRewrite::parse(rewrite, &template("/{x}")).unwrap_err();
            assert_eq!(error.to_string(), message, "{rewrite}");
        }
    }

    /// What Envoy hands to RE2 for a template.
    fn as_regex(template: &UriTemplate) -> regex::bytes::Regex {
        const SEGMENT: &str = r"[a-zA-Z0-9\-._~%!$&'()*+,;=:@]+";
        const REST: &str = r"[a-zA-Z0-9\-._~%!$&'()*+,;=:@/]*";
        let parts = template.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => regex::escape(std::str::from_utf8(text).unwrap()),
            Piece::Segment { .. } => SEGMENT.to_owned(),
            Piece::Rest { .. } => REST.to_owned(),
            Piece::Open(_) => "(".to_owned(),
            Piece::Close(_) => ")".to_owned(),
        });
        let text: String = parts.collect();
        regex::bytes::Regex::new(&format!(r"(?-u)\A(?:{text})\z")).unwrap()
    }

    proptest! {
        #[test]
        fn the_same_as_the_expression_it_stands_for(
            text in "(/(\\*|\\*\\*|a|b|ab|\\{x\\}|\\{x=\\*\\*\\}|\\{y=a/\\*\\}|\\{z=\\*\\*/b\\})){0,4}(/|\\.a|a)?",
            path in "/[ab./]{0,8}(\\.a|=|\\^|/a)?",
        ) {
            let Ok(template) = UriTemplate::parse(&text) else {
                return Ok(());
            };
            prop_assert!(!template.matches(path.as_bytes()) || path.as_bytes().starts_with(template.literal_prefix()));
            let mut captures = Captures::default();
            let matched = template.walk(path.as_bytes(), &mut captures);
            let expected = as_regex(&template).captures(path.as_bytes());
            prop_assert_eq!(matched, expected.is_some());
            for (index, _) in template.variables.iter().enumerate() {
                let found = expected.as_ref().and_then(|found| found.get(index + 1));
                if let Some(found) = found {
                    prop_assert_eq!(captures.0.get(index), Some(&found.range()));
                }
            }
        }

        #[test]
        fn never_panics(text in ".{0,12}", path in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(template) = UriTemplate::parse(&text) {
                template.matches(&path);
                if let Ok(rewrite) = TemplateRewrite::parse(&text, &template) {
                    rewrite.write(&path, &mut Vec::new());
                }
            }
        }
    }
}
