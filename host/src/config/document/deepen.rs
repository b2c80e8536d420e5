//! Lists and mappings in brackets whose lines stand too far to the left.
//!
//! Owns making such a text one that the parser takes. YAML wants what is inside of brackets to stand to the
//! right of the key that it belongs to; readers such as Envoy's do not mind, and it is widely written
//! otherwise:
//!
//! ```yaml
//! domains: [
//!   "a.example"
//! ]
//! ```
//!
//! Called by [`super::parse`] for a text that the parser has refused, so that what is wrong here can spoil
//! no good one. Does not own what is right YAML: the parser has the last word.

/// A text whose lines inside of brackets were moved to the right.
pub(super) struct Deepened {
    pub(super) text: String,
    /// By how many columns each line was moved.
    pub(super) moved: Vec<usize>,
}

/// Moves all lines that begin inside of brackets behind the column of the outermost bracket. None where
/// there are none.
pub(super) fn deepen(text: &str) -> Option<Deepened> {
    let mut reader = Reader::default();
    let mut out = String::with_capacity(text.len() * 2);
    let mut moved = Vec::new();
    for line in text.split_inclusive('\n') {
        let by = match reader.depth {
            0 => 0,
            _ if line.trim().is_empty() => 0,
            _ => reader.bracket_at + 1,
        };
        moved.push(by);
        out.extend(std::iter::repeat_n(' ', by));
        out.push_str(line);
        reader.line(line);
    }
    let has_moved = moved.iter().any(|by| *by > 0);
    has_moved.then_some(Deepened { text: out, moved })
}

/// What has been read tells about what follows.
#[derive(Default)]
struct Reader {
    /// How many brackets are open.
    depth: usize,
    /// The column of the outermost of them.
    bracket_at: usize,
    /// The quote that a text has begun with and not ended.
    quote: Option<char>,
    /// Where the lines of a literal or folded text have to stand to the right of.
    block: Option<usize>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if let Some(parent) = self.block {
            if line.trim().is_empty() || indent > parent {
                return;
            }
            self.block = None;
        }
        // Whether a value may begin here, and the column of the key or dash that it would belong to.
        let (mut fresh, mut parent) = (true, 0);
        let mut before = ' ';
        let mut chars = line.chars().enumerate().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map_or('\n', |(_, next)| *next);
            if let Some(quote) = self.quote {
                match c {
                    '\\' if quote == '"' => drop(chars.next()),
                    '\'' if quote == '\'' && next == '\'' => drop(chars.next()),
                    _ if c == quote => self.quote = None,
                    _ => {}
                }
                before = c;
                continue;
            }
            match c {
                _ if c.is_whitespace() => {}
                '#' if before.is_whitespace() => return,
                '"' | '\'' if fresh => {
                    self.quote = Some(c);
                    (fresh, parent) = (false, at);
                }
                '[' | '{' if fresh || self.depth > 0 => {
                    if self.depth == 0 {
                        self.bracket_at = at;
                    }
                    self.depth += 1;
                    fresh = true;
                }
                ']' | '}' if self.depth > 0 => {
                    self.depth -= 1;
                    fresh = false;
                }
                ',' if self.depth > 0 => fresh = true,
                // In brackets the value of a key in quotes may stand next to its colon.
                ':' if next.is_whitespace()
                    || (self.depth > 0 && matches!(before, '"' | '\'' | ']' | '}')) =>
                {
                    fresh = true;
                }
                '-' | '?' if fresh && self.depth == 0 && next.is_whitespace() => parent = at,
                '&' | '*' | '!' if fresh => {
                    while chars
                        .next_if(|(_, c)| !c.is_whitespace() && !",[]{}".contains(*c))
                        .is_some()
                    {}
                }
                '|' | '>' if fresh && self.depth == 0 => {
                    self.block = Some(parent);
                    return;
                }
                _ if fresh => (fresh, parent) = (false, at),
                _ => {}
            }
            before = c;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(text: &str) -> Vec<usize> {
        deepen(text).map_or_else(Vec::new, |deepened| deepened.moved)
    }

    #[test]
    fn only_lines_that_begin_inside_of_brackets_are_moved() {
        let table: [(&str, &[usize]); 12] = [
            ("a: [\n  \"b\"\n]\nc: d\n", &[0, 4, 4, 0]),
            ("- a: {\n\nb: [1,\n2]}\n- c\n", &[0, 0, 6, 6, 0]),
            ("a: b[c\nd: e{f\n", &[]),
            ("a: \"[\"\nb: '{'' ['\nc: d\n", &[]),
            ("a: \"x\\\"[\n  y\"\nb: c\n", &[]),
            ("a: # [\n  b\n", &[]),
            ("a: b # it's [\nc: [ # d ]\ne]\n", &[0, 0, 4]),
            ("a: |\n  [ {\n  x\nb: c\n", &[]),
            ("- |\n  [ {\n- c: [\n1]\n", &[0, 0, 0, 6]),
            ("- a: >-\n    [\n  b: [\n'c']\n", &[0, 0, 0, 6]),
            ("a: !t &x [\n*y ]\n", &[0, 10]),
            ("{\"a\":[1,\n\"}]\"],\n\"b\":2}\n", &[0, 1, 1]),
        ];
        for (text, lines) in table {
            assert_eq!(moved(text), lines, "{text}");
        }
    }
}
