//! Texts with command operators in them.
//!
//! Owns the grammar (`%NAME(parameters):length%`, `%%`) and the rendering of a whole text.
//! Called by `observe::format` for texts and for the strings of a JSON format.

use crate::exchange::Exchange;

use super::error::Problem;
use super::operator::Operator;
use super::{described, json};

/// A compiled text.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<str>),
    Command(Command),
}

/// An operator and how many bytes of its value are shown.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operator: Operator,
    limit: Option<usize>,
}

impl Command {
    /// An operator of whose value so many bytes are shown.
    pub(super) const fn new(operator: Operator, limit: Option<usize>) -> Self {
        Self { operator, limit }
    }

    /// Appends the value; false, with nothing appended, when there is none.
    pub(super) fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let found = self.operator.write(exchange, out);
        if let Some(limit) = self.limit {
            out.truncate(start.saturating_add(limit));
        }
        found
    }

    /// The same as JSON.
    pub(super) fn write_json(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        if let Operator::Described { part, extent } = &self.operator {
            return described::write_json(exchange, *part, extent, self.limit, out);
        }
        if let (Operator::First(commands), None) = (&self.operator, self.limit) {
            let mut commands = commands.iter();
            return commands.any(|command| command.write_json(exchange, out));
        }
        if self.is_bare() {
            return self.write(exchange, out);
        }
        let string = json::open(out);
        if !self.write(exchange, out) {
            json::abandon(string, out);
            return false;
        }
        json::close(string, out);
        true
    }

    /// Whether JSON has the value without quotes.
    const fn is_bare(&self) -> bool {
        self.limit.is_none() && (self.operator.is_numeric() || self.operator.is_object())
    }
}

impl Template {
    /// Compiles `text`.
    ///
    /// # Errors
    /// The problem and the byte at which it stands.
    pub(super) fn new(text: &str) -> Result<Self, (usize, Problem)> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(tail) = tail.strip_prefix('%') {
                literal.push('%');
                rest = tail;
                continue;
            }
            let position = text.len() - tail.len() - 1;
            let command = Raw::read(tail).ok_or((position, Problem::NoCommand))?;
            let limit = command.length;
            let operator = Operator::find(command.name, command.parameters, limit.is_some())
                .map_err(|problem| (position, problem))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Command(Command { operator, limit }));
            rest = command.rest;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self {
            pieces: pieces.into(),
        })
    }

    /// Appends the text with `missing` in place of each value that is not there.
    pub(super) fn write(&self, exchange: &Exchange, missing: &[u8], out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Command(command) => {
                    if !command.write(exchange, out) {
                        out.extend_from_slice(missing);
                    }
                }
            }
        }
    }

    /// The one command that the text consists of, if it does.
    pub(super) fn single(self) -> Result<Command, Self> {
        if let [Piece::Command(command)] = &*self.pieces {
            Ok(command.clone())
        } else {
            Err(self)
        }
    }

    /// The text, if there is no command in it.
    pub(super) fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the text is the same for every stream.
    pub(super) fn is_constant(&self) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Literal(_) => true,
            Piece::Command(command) => command.operator.is_constant(),
        })
    }
}

/// A command as written.
#[derive(Debug, PartialEq, Eq)]
struct Raw<'a> {
    name: &'a str,
    parameters: &'a str,
    length: Option<usize>,
    rest: &'a str,
}

impl<'a> Raw<'a> {
    /// Reads what stands behind a percent sign. The parameters end at the first `)` behind which
    /// the command can end, so they may have brackets in them, but no line break.
    fn read(tail: &'a str) -> Option<Self> {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let end = tail.find(|c| !is_name(c))?;
        let (name, behind) = tail
            .split_at_checked(end)
            .filter(|(name, _)| !name.is_empty())?;
        let Some(inside) = behind.strip_prefix('(') else {
            let (length, rest) = end_of_command(behind)?;
            return Some(Self {
                name,
                parameters: "",
                length,
                rest,
            });
        };
        for (at, _) in inside.match_indices(')') {
            let (parameters, behind) = inside.split_at_checked(at)?;
            if parameters.contains('\n') {
                return None;
            }
            if let Some((length, rest)) = behind.strip_prefix(')').and_then(end_of_command) {
                return Some(Self {
                    name,
                    parameters,
                    length,
                    rest,
                });
            }
        }
        None
    }
}

/// Reads an optional length and the closing percent sign.
fn end_of_command(text: &str) -> Option<(Option<usize>, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((None, rest));
    }
    let (digits, rest) = text.strip_prefix(':')?.split_once('%')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let length = digits.parse().ok().filter(|_| is_number)?;
    Some((Some(length), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_out_as_in_envoy() {
        let raw = |name, parameters, length, rest| {
            Some(Raw {
                name,
                parameters,
                length,
                rest,
            })
        };
        for (text, expected) in [
            ("A%", raw("A", "", None, "")),
            ("A()%x", raw("A", "", None, "x")),
            ("A:12%", raw("A", "", Some(12), "")),
            ("A(b?c):12% d", raw("A", "b?c", Some(12), " d")),
            ("A(%Y)%", raw("A", "%Y", None, "")),
            ("A(a)b)%", raw("A", "a)b", None, "")),
            ("A(a:b)c:d)%", raw("A", "a:b)c:d", None, "")),
            ("A(a)% (b)%", raw("A", "a", None, " (b)%")),
            ("A(a)x%", None),
            ("A(a):%", None),
            ("A(a): 5%", None),
            ("A(a):-1%", None),
            ("A(a):99999999999999999999%", None),
            ("A(\n)%", None),
            ("A(a", None),
            ("A", None),
            ("a%", None),
            (" A%", None),
            ("%", None),
            ("", None),
        ] {
            assert_eq!(Raw::read(text), expected, "{text}");
        }
    }
}
