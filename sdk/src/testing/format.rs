//! Envoy's command operators, as far as a unit test needs them: those that read headers and
//! metadata are real, every other shows what the test has set for it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::stream::text;
use super::world::Exchange;
use crate::host::Block;

/// A compiled format.
pub(super) enum Format {
    Text(Vec<Part>),
    Json { document: Node, omit_empty: bool },
}

/// A value in a JSON format.
pub(super) enum Node {
    Text(Vec<Part>),
    Object(BTreeMap<String, Self>),
    List(Vec<Self>),
    Constant(Value),
}

/// A piece of a text.
pub(super) enum Part {
    Literal(String),
    /// The first of these names that is there, and at most so many bytes of it.
    Header(Block, Vec<String>, Option<usize>),
    Metadata(String, String),
    Other(String),
}

type Operators = BTreeMap<String, String>;

impl Format {
    pub(super) fn text(text: &str) -> Result<Self, String> {
        Ok(Self::Text(parse(text)?))
    }

    pub(super) fn json(document: &str, omit_empty: bool) -> Result<Self, String> {
        let document: BTreeMap<String, Value> =
            serde_json::from_str(document).map_err(|error| error.to_string())?;
        let document = Node::compile(Value::Object(document.into_iter().collect()))?;
        Ok(Self::Json {
            document,
            omit_empty,
        })
    }

    pub(super) fn render(&self, of: &Exchange, operators: &Operators, missing: &str) -> Vec<u8> {
        match self {
            Self::Text(parts) => parts
                .iter()
                .flat_map(|part| part.value(of, operators, missing))
                .collect(),
            Self::Json {
                document,
                omit_empty,
            } => {
                let value = document.value(of, operators, *omit_empty);
                format!("{value}\n").into_bytes()
            }
        }
    }
}

impl Node {
    fn compile(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(parse(&text)?),
            Value::Object(members) => {
                let member = |(key, value)| Ok((key, Self::compile(value)?));
                Self::Object(
                    members
                        .into_iter()
                        .map(member)
                        .collect::<Result<_, String>>()?,
                )
            }
            Value::Array(values) => Self::List(
                values
                    .into_iter()
                    .map(Self::compile)
                    .collect::<Result<_, String>>()?,
            ),
            other => Self::Constant(other),
        })
    }

    fn value(&self, of: &Exchange, operators: &Operators, omit: bool) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::List(nodes) => nodes
                .iter()
                .map(|node| node.value(of, operators, omit))
                .collect::<Vec<_>>()
                .into(),
            Self::Object(nodes) => {
                let members = nodes
                    .iter()
                    .map(|(key, node)| (key, node.value(of, operators, omit)));
                let kept = members.filter(|(_, value)| !(omit && value.is_null()));
                Value::Object(kept.map(|(key, value)| (key.clone(), value)).collect())
            }
            Self::Text(parts) => match parts.as_slice() {
                // One operator alone keeps its type.
                [Part::Literal(text)] => Value::String(text.clone()),
                [part @ Part::Other(_)] => part.find(of, operators).map_or(Value::Null, |value| {
                    let text = text(&value);
                    text.parse::<u64>().map_or(Value::String(text), Value::from)
                }),
                [part] => part
                    .find(of, operators)
                    .map_or(Value::Null, |v| text(&v).into()),
                parts => {
                    let whole = parts.iter().flat_map(|part| part.value(of, operators, "-"));
                    Value::String(text(&whole.collect::<Vec<u8>>()))
                }
            },
        }
    }
}

impl Part {
    fn value(&self, of: &Exchange, operators: &Operators, missing: &str) -> Vec<u8> {
        self.find(of, operators)
            .unwrap_or_else(|| missing.as_bytes().to_vec())
    }

    fn find(&self, of: &Exchange, operators: &Operators) -> Option<Vec<u8>> {
        match self {
            Self::Literal(text) => Some(text.clone().into_bytes()),
            Self::Header(at, names, length) => {
                let values = names.iter().flat_map(|name| of.values(*at, name));
                let mut value = values.into_iter().next()?;
                value.truncate(length.unwrap_or(usize::MAX));
                Some(value)
            }
            Self::Metadata(namespace, key) => {
                of.metadata.get(&(namespace.clone(), key.clone())).cloned()
            }
            Self::Other(name) => operators.get(name).map(|value| value.clone().into_bytes()),
        }
    }
}

fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        let Some((command, after)) = command(after) else {
            return Err(format!("`%` without its end in \"{text}\""));
        };
        rest = after;
        if command.is_empty() {
            literal.push('%');
            continue;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(operator(command)?);
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// What stands before the sign that ends a command, and what behind it. Between brackets there may be others,
/// as in `START_TIME(%s)`.
fn command(text: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    let end = text.bytes().position(|byte| {
        match byte {
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            _ => {}
        }
        byte == b'%' && open == 0
    })?;
    let (command, rest) = text.split_at_checked(end)?;
    Some((command, rest.strip_prefix('%')?))
}

fn operator(command: &str) -> Result<Part, String> {
    let unknown = || format!("not a command operator: \"%{command}%\"");
    let Some((name, rest)) = command.split_once('(') else {
        let known = command
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        return if known {
            Ok(Part::Other(command.to_owned()))
        } else {
            Err(unknown())
        };
    };
    let (argument, suffix) = rest.rsplit_once(')').ok_or_else(unknown)?;
    let length = match suffix.strip_prefix(':') {
        Some(length) => Some(length.parse().map_err(|_cause| unknown())?),
        None if suffix.is_empty() => None,
        None => return Err(unknown()),
    };
    let names = || argument.split('?').map(str::to_ascii_lowercase).collect();
    Ok(match name {
        "REQ" | "REQUEST_HEADER" => Part::Header(Block::RequestHeaders, names(), length),
        "RESP" | "RESPONSE_HEADER" => Part::Header(Block::ResponseHeaders, names(), length),
        "TRAILER" | "RESPONSE_TRAILER" => Part::Header(Block::ResponseTrailers, names(), length),
        "DYNAMIC_METADATA" => {
            let (namespace, key) = argument.split_once(':').ok_or_else(unknown)?;
            Part::Metadata(namespace.to_owned(), key.to_owned())
        }
        other => Part::Other(other.to_owned()),
    })
}
