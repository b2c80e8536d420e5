//! Envoy's substitution formatter: texts and JSON objects with `%OPERATOR%`s, compiled once.
//!
//! Owns [`Format`], which access logs, header mutation and local replies share, and
//! [`Attribute`], by which filters read the same facts. What Envoy refuses is refused here, with
//! the place; what it accepts is accepted, except for the few operators that would show something
//! wrong. Rendering takes no lock and allocates nothing but the output buffer when it grows.
//!
//! Does not own: where a line goes (`observe::access_log`) or when it is written (`wasm`, `http`).

use std::borrow::Cow;

use serde_json::Value;

use crate::exchange::Exchange;
use crate::limits;

mod attribute;
mod described;
mod digits;
mod error;
pub(super) mod json;
mod older;
mod operator;
mod query;
mod session;
mod template;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub use attribute::{Attribute, UnknownAttribute};
pub use error::{FormatError, Problem};
use template::{Command, Template};
pub(super) use time::{TimeFormat, Zone};

/// The format of an access log that names none, with its line break.
pub const DEFAULT_ACCESS_LOG: &str = "[%START_TIME%] \"%REQ(:METHOD)% \
    %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
    \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// A compiled format.
#[derive(Clone, Debug)]
pub struct Format {
    shape: Shape,
    omit_empty: bool,
}

#[derive(Clone, Debug)]
enum Shape {
    Text(Template),
    Json(Members),
}

/// Members of a JSON object, sorted: keys as JSON strings with their colons, and values.
type Members = Box<[(Box<[u8]>, Node)]>;

/// A value of a JSON format.
#[derive(Clone, Debug)]
enum Node {
    /// `null` as written in the format.
    Null,
    /// A constant, as JSON.
    Constant(Box<[u8]>),
    /// A string that is one operator: a number where its value is one, `null` where it has none.
    Command(Command),
    /// A string with operators in it.
    Text(Template),
    Object(Members),
    List(Box<[Self]>),
}

/// The format of a body and the `content-type` that goes with it (`SubstitutionFormatString`).
#[derive(Clone, Debug)]
pub struct BodyFormat {
    /// The text or object.
    pub format: Format,
    /// `content_type`, or the one that the kind of format has.
    pub content_type: Cow<'static, [u8]>,
}

impl Format {
    /// Compiles a text format (`text_format`, `text_format_source`). With `omit_empty` a missing
    /// value is written as nothing, else as `-`.
    ///
    /// # Errors
    /// When a command does not parse, or names an operator or parameter that does not exist.
    pub fn text(text: &str, omit_empty: bool) -> Result<Self, FormatError> {
        match Template::new(text) {
            Ok(template) => Ok(Self {
                shape: Shape::Text(template),
                omit_empty,
            }),
            Err((position, problem)) => Err(FormatError {
                position,
                path: String::new(),
                problem,
            }),
        }
    }

    /// Compiles the value of a header mutation, which may have operators in older forms.
    ///
    /// # Errors
    /// As [`Format::text`].
    pub fn header(text: &str) -> Result<Self, FormatError> {
        Self::text(&older::translate(text), false)
    }

    /// Compiles a JSON format (`json_format`). With `omit_empty` (`omit_empty_values`) members
    /// whose value is missing are left out, else they are `null`.
    ///
    /// # Errors
    /// As [`Format::text`], when `value` is not an object, or when objects and lists lie deeper in
    /// each other than [`limits::FORMAT_DEPTH`].
    pub fn json(value: &Value, omit_empty: bool) -> Result<Self, FormatError> {
        let mut path = Path(Vec::new());
        match value {
            Value::Object(members) => {
                let members = path.object(members)?;
                Ok(Self {
                    shape: Shape::Json(members),
                    omit_empty,
                })
            }
            _ => Err(path.error(0, Problem::NotAnObject)),
        }
    }

    /// Operators in a format, as it is written, that are accepted and have no value here.
    pub fn without_value(written: &str) -> impl Iterator<Item = &'static str> {
        operator::without_value(written)
    }

    /// Appends one log entry. A JSON one ends with a line break, a text one as its format does.
    pub fn render(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        let missing: &[u8] = if self.omit_empty { b"" } else { b"-" };
        match &self.shape {
            Shape::Text(template) => template.write(exchange, missing, out),
            Shape::Json(members) => {
                let renderer = Renderer {
                    exchange,
                    missing,
                    omit_empty: self.omit_empty,
                };
                if !renderer.object(members, out) {
                    out.extend_from_slice(b"{}");
                }
                out.push(b'\n');
            }
        }
    }

    /// Appends the value of a header: missing values are written as nothing.
    pub fn render_header(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Text(template) => template.write(exchange, b"", out),
            Shape::Json(_) => self.render(exchange, out),
        }
    }

    /// Whether the result is the same for every exchange.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        match &self.shape {
            Shape::Text(template) => template.is_constant(),
            Shape::Json(members) => members.iter().all(|(_, node)| node.is_constant()),
        }
    }
}

impl Node {
    fn is_constant(&self) -> bool {
        match self {
            Self::Null | Self::Constant(_) => true,
            Self::Command(command) => command.operator.is_constant(),
            Self::Text(template) => template.is_constant(),
            Self::Object(members) => members.iter().all(|(_, node)| node.is_constant()),
            Self::List(items) => items.iter().all(Self::is_constant),
        }
    }
}

/// Where in a JSON format the compilation is.
struct Path(Vec<Step>);

enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    fn error(&self, position: usize, problem: Problem) -> FormatError {
        let mut path = String::new();
        for step in &self.0 {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        FormatError {
            position,
            path,
            problem,
        }
    }

    fn node(&mut self, step: Step, value: &Value) -> Result<Node, FormatError> {
        self.0.push(step);
        if self.0.len() > limits::FORMAT_DEPTH {
            return Err(self.error(0, Problem::TooDeep(limits::FORMAT_DEPTH)));
        }
        let node = match value {
            Value::Null => Node::Null,
            Value::Bool(_) => Node::Constant(value.to_string().into_bytes().into()),
            // As Envoy reads YAML, where only whole numbers are numbers.
            Value::Number(number) if number.is_f64() => {
                let mut quoted = Vec::new();
                json::push_quoted(&mut quoted, number.to_string().as_bytes());
                Node::Constant(quoted.into())
            }
            Value::Number(number) => {
                let mut constant = Vec::new();
                json::push_f64(&mut constant, number.as_f64().unwrap_or(f64::NAN));
                Node::Constant(constant.into())
            }
            Value::String(text) => self.string(text)?,
            Value::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    list.push(self.node(Step::Index(index), item)?);
                }
                Node::List(list.into())
            }
            Value::Object(members) => Node::Object(self.object(members)?),
        };
        self.0.pop();
        Ok(node)
    }

    fn object(&mut self, members: &serde_json::Map<String, Value>) -> Result<Members, FormatError> {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let mut compiled = Vec::with_capacity(sorted.len());
        for (key, value) in sorted {
            let mut quoted = Vec::new();
            json::push_quoted(&mut quoted, key.as_bytes());
            quoted.push(b':');
            compiled.push((quoted.into(), self.node(Step::Key(key.clone()), value)?));
        }
        Ok(compiled.into())
    }

    fn string(&self, text: &str) -> Result<Node, FormatError> {
        let template =
            Template::new(text).map_err(|(position, problem)| self.error(position, problem))?;
        if let Some(literal) = template.literal() {
            let mut quoted = Vec::new();
            json::push_quoted(&mut quoted, literal.as_bytes());
            return Ok(Node::Constant(quoted.into()));
        }
        Ok(match template.single() {
            Ok(command) => Node::Command(command),
            Err(template) => Node::Text(template),
        })
    }
}

/// The rendering of one JSON entry.
struct Renderer<'a> {
    exchange: &'a Exchange,
    missing: &'a [u8],
    omit_empty: bool,
}

impl Renderer<'_> {
    /// Appends a node; false, with nothing appended, when it is to be left out.
    fn node(&self, node: &Node, out: &mut Vec<u8>) -> bool {
        match node {
            Node::Constant(json) => out.extend_from_slice(json),
            Node::Null => return self.null(out),
            Node::Command(command) => {
                if !command.write_json(self.exchange, out) {
                    return self.null(out);
                }
            }
            Node::Text(template) => {
                let string = json::open(out);
                template.write(self.exchange, self.missing, out);
                json::close(string, out);
            }
            Node::Object(members) => {
                if !self.object(members, out) {
                    if self.omit_empty {
                        return false;
                    }
                    out.extend_from_slice(b"{}");
                }
            }
            Node::List(items) => {
                let start = out.len();
                out.push(b'[');
                for item in items {
                    let before = out.len();
                    if before > start + 1 {
                        out.push(b',');
                    }
                    if !self.node(item, out) {
                        out.truncate(before);
                    }
                }
                out.push(b']');
            }
        }
        true
    }

    fn null(&self, out: &mut Vec<u8>) -> bool {
        if !self.omit_empty {
            out.extend_from_slice(b"null");
        }
        !self.omit_empty
    }

    /// Appends an object; false, with nothing appended, when it would have no members.
    fn object(&self, members: &[(Box<[u8]>, Node)], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        for (key, node) in members {
            let before = out.len();
            out.push(if before == start { b'{' } else { b',' });
            out.extend_from_slice(key);
            if !self.node(node, out) {
                out.truncate(before);
            }
        }
        if out.len() == start {
            return false;
        }
        out.push(b'}');
        true
    }
}
