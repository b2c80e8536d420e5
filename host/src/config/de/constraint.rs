//! The constraints that Envoy's API declares on values.
//!
//! Owns checking one value against the constraints of its field, as the table of the schema writes
//! them (`host/tools/envoy_schema.py` describes the form). What a value violates is told and the
//! value stays, so that the rest is checked as well.

use crate::config::de::Session;
use crate::config::document::{NodeId, Value};
use crate::config::lexical;
use crate::config::schema::Field;

/// Tells what the value of `field` violates.
pub(super) fn check(session: &Session<'_>, field: Field, node: NodeId) {
    for constraint in field.constraints() {
        let Some(element) = constraint.strip_prefix("each.") else {
            check_one(session, constraint, node);
            continue;
        };
        match session.document.value(node) {
            Value::List(items) => {
                items
                    .iter()
                    .for_each(|&item| check_one(session, element, item));
            }
            Value::Null | Value::Scalar { .. } | Value::Map(_) => {
                check_one(session, element, node);
            }
        }
    }
}

/// Whether a field must be set, because 0 or an empty value violates its constraints.
pub(super) fn needs_value(field: Field) -> bool {
    // A duration is a message: an absent one has no value to check.
    !field.is_wrapper
        && field
            .constraints()
            .any(|constraint| match Bound::parse(constraint) {
                Some(bound) => {
                    !bound.is_duration
                        && matches!(bound.of, Of::Value | Of::Length | Of::Items)
                        && !bound.holds(0.0)
                }
                None => false,
            })
}

fn check_one(session: &Session<'_>, constraint: &'static str, node: NodeId) {
    if session.is_removed(node) {
        return;
    }
    if let Some(problem) = problem(session, constraint, node) {
        session.report_once(node, constraint, problem);
    }
}

/// What is wrong with a value; nothing for one of another type, which is told elsewhere.
fn problem(session: &Session<'_>, constraint: &str, node: NodeId) -> Option<String> {
    let value = session.document.value(node);
    let text = match value {
        Value::Scalar { text, .. } => Some(&**text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    match constraint {
        "name" => {
            let refused = text?.chars().find(|&c| !is_token(c) && c != ':')?;
            Some(format!(
                "the name of a header cannot have the character {refused:?}"
            ))
        }
        "value" => {
            let refused = text?.chars().find(|&c| c.is_ascii_control() && c != '\t')?;
            Some(format!(
                "the value of a header cannot have the character {refused:?}"
            ))
        }
        "line" => {
            let refused = text?.chars().find(|c| matches!(c, '\0' | '\r' | '\n'))?;
            Some(format!("the character {refused:?} cannot be here"))
        }
        _ => {
            let bound = Bound::parse(constraint)?;
            let measured = match bound.of {
                Of::Length => length(text?),
                Of::Items => items(session, value)?,
                Of::Value if bound.is_duration => duration(session, node)?,
                Of::Value => lexical::number(text?)?.as_f64(),
            };
            (!bound.holds(measured)).then(|| bound.describe())
        }
    }
}

/// The characters of a token, RFC 9110 §5.6.2.
const fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '^'..='`' | '|' | '~')
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no text of a configuration is near 2^53 long"
)]
fn length(text: &str) -> f64 {
    text.len() as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no list of a configuration is near 2^53 long"
)]
fn items(session: &Session<'_>, value: &Value) -> Option<f64> {
    let nodes: Vec<NodeId> = match value {
        Value::List(items) => items.clone(),
        Value::Map(entries) => entries.iter().map(|entry| entry.value).collect(),
        Value::Null | Value::Scalar { .. } => return None,
    };
    // An element that was taken out is told already.
    let complete = !nodes.iter().any(|node| session.is_removed(*node));
    complete.then_some(nodes.len() as f64)
}

/// Seconds, of either form of a duration.
fn duration(session: &Session<'_>, node: NodeId) -> Option<f64> {
    let document = session.document;
    match document.value(node) {
        Value::Scalar { text, .. } => lexical::duration(text)
            .ok()
            .map(|duration| duration.as_secs_f64()),
        Value::Map(_) => {
            let part = |field| match document.entry(node, field).map(|part| part.value) {
                None => Some(0.0),
                Some(part) => match document.value(part) {
                    Value::Scalar { text, .. } => Some(lexical::number(text)?.as_f64()),
                    Value::Null | Value::List(_) | Value::Map(_) => None,
                },
            };
            Some(part("seconds")? + part("nanos")? / 1e9)
        }
        Value::Null | Value::List(_) => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Value,
    Length,
    Items,
}

/// A comparison with a number.
struct Bound<'a> {
    of: Of,
    comparison: &'a str,
    limit: f64,
    shown: &'a str,
    is_duration: bool,
}

impl<'a> Bound<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (of, text) = if let Some(rest) = text.strip_prefix("len") {
            (Of::Length, rest)
        } else if let Some(rest) = text.strip_prefix("items") {
            (Of::Items, rest)
        } else {
            (Of::Value, text)
        };
        let at = text.find(|c: char| !matches!(c, '<' | '>' | '='))?;
        let (comparison, shown) = text.split_at_checked(at)?;
        let is_duration = shown.ends_with('s');
        let limit = shown.trim_end_matches('s').parse().ok()?;
        Some(Self {
            of,
            comparison,
            limit,
            shown,
            is_duration,
        })
    }

    fn holds(&self, value: f64) -> bool {
        match self.comparison {
            ">" => value > self.limit,
            ">=" => value >= self.limit,
            "<" => value < self.limit,
            "<=" => value <= self.limit,
            _ => true,
        }
    }

    fn describe(&self) -> String {
        let shown = self.shown;
        let relation = match self.comparison {
            ">" => "greater than",
            ">=" => "at least",
            "<" => "less than",
            _ => "at most",
        };
        match self.of {
            Of::Value => format!("must be {relation} {shown}"),
            Of::Length | Of::Items if self.comparison == ">=" && self.limit <= 1.0 => {
                "must not be empty".to_owned()
            }
            Of::Length => format!("must be {relation} {shown} bytes long"),
            Of::Items => format!("must have {relation} {shown} elements"),
        }
    }
}
