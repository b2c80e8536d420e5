//! The error that travels through `serde`'s generated code.
//!
//! Owns gaining the place where it happened: the first level that knows it sets it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::document::NodeId;

#[derive(Debug)]
pub(super) struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    node: Option<NodeId>,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// To be told.
    Message { text: String, hint: Option<String> },
    /// A field without a default is absent; becomes a message where its struct is known.
    Missing(&'static str),
    /// Told already, or a consequence of what was told.
    Told,
    /// As `Told`, and the next attempt knows better: nothing has to be taken out.
    Again,
}

impl Error {
    fn new(node: Option<NodeId>, kind: Kind) -> Self {
        Self(Box::new(Inner { node, kind }))
    }

    pub(super) fn at(node: NodeId, text: impl Into<String>) -> Self {
        Self::new(
            Some(node),
            Kind::Message {
                text: text.into(),
                hint: None,
            },
        )
    }

    pub(super) fn told(node: NodeId) -> Self {
        Self::new(Some(node), Kind::Told)
    }

    pub(super) fn again(node: NodeId) -> Self {
        Self::new(Some(node), Kind::Again)
    }

    pub(super) fn with_hint(mut self, hint: Option<String>) -> Self {
        if let Kind::Message { hint: slot, .. } = &mut self.0.kind {
            *slot = hint;
        }
        self
    }

    /// Sets the place, unless a level further in has.
    pub(super) fn or_at(mut self, node: NodeId) -> Self {
        self.0.node.get_or_insert(node);
        self
    }

    pub(super) const fn node(&self) -> Option<NodeId> {
        self.0.node
    }

    /// The field that is missing, as long as nobody knows of what.
    pub(super) const fn missing(&self) -> Option<&'static str> {
        match (self.0.node, &self.0.kind) {
            (None, Kind::Missing(field)) => Some(field),
            _ => None,
        }
    }

    pub(super) fn into_kind(self) -> Kind {
        self.0.kind
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(
            None,
            Kind::Message {
                text: message.to_string(),
                hint: None,
            },
        )
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Bool(value) => Self::custom(format_args!(
                "expected {expected}, found the boolean {value}"
            )),
            Unexpected::Unsigned(value) => Self::custom(format_args!(
                "expected {expected}, found the number {value}"
            )),
            Unexpected::Signed(value) => Self::custom(format_args!(
                "expected {expected}, found the number {value}"
            )),
            Unexpected::Float(value) => Self::custom(format_args!(
                "expected {expected}, found the number {value}"
            )),
            Unexpected::Str(text) => {
                Self::custom(format_args!("expected {expected}, found '{text}'"))
            }
            Unexpected::Unit => Self::custom(format_args!("expected {expected}, found nothing")),
            Unexpected::Seq => Self::custom(format_args!("expected {expected}, found a list")),
            Unexpected::Map => Self::custom(format_args!("expected {expected}, found a mapping")),
            other => Self::custom(format_args!("expected {expected}, found {other}")),
        }
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(None, Kind::Missing(field))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Message { text, .. } => f.write_str(text),
            Kind::Missing(field) => write!(f, "missing field '{field}'"),
            Kind::Told | Kind::Again => f.write_str("told already"),
        }
    }
}

impl std::error::Error for Error {}
