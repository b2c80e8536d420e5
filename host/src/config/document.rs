//! The tree of a configuration as it was written: values with their positions.
//!
//! Owns the arena of nodes, walking it by field names, and the path of a node. Made by
//! `parse`, joined by `merge`, read by the decoder (`config::de`) and by `build`, which asks
//! it for the place of what it complains about. Does not own the meaning of a value.

mod deepen;
pub(super) mod merge;
pub(super) mod parse;

use std::fmt::Write as _;

use crate::config::schema::same_name;
use crate::config::source::Span;

/// A value of a [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Scalar { text: Box<str>, quoted: bool },
    List(Vec<NodeId>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    pub(super) key_span: Span,
    pub(super) value: NodeId,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
    pub(super) parent: Option<NodeId>,
}

/// A configuration as it was written, all sources merged.
#[derive(Debug)]
pub struct Document {
    nodes: Vec<Node>,
    root: NodeId,
    /// Which sources are JSON rather than YAML.
    json: Vec<u16>,
}

impl Document {
    /// The whole configuration.
    #[must_use]
    pub const fn root(&self) -> Place<'_> {
        Place {
            document: self,
            node: self.root,
            absent: None,
        }
    }

    pub(super) fn empty() -> Self {
        let mut document = Self {
            nodes: Vec::new(),
            root: NodeId(0),
            json: Vec::new(),
        };
        document.root = document.add(Value::Map(Vec::new()), Span::new(1, 1, 1));
        document
    }

    /// Notes that what comes from a source is JSON.
    pub(super) fn note_json(&mut self, source: u16) {
        self.json.push(source);
    }

    /// Whether a value was written in JSON.
    pub(super) fn is_json(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.is_some_and(|node| self.json.contains(&node.span.source()))
    }

    pub(super) const fn root_id(&self) -> NodeId {
        self.root
    }

    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Forgets all values but the first `count`, to which none of the others may be known.
    pub(super) fn truncate(&mut self, count: usize) {
        self.nodes.truncate(count);
    }

    pub(super) fn set_root(&mut self, root: NodeId) {
        self.root = root;
        if let Some(node) = self.node_mut(root) {
            node.parent = None;
        }
    }

    pub(super) fn add(&mut self, value: Value, span: Span) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node {
            value,
            span,
            parent: None,
        });
        id
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(super) fn value(&self, id: NodeId) -> &Value {
        self.node(id).map_or(&Value::Null, |node| &node.value)
    }

    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id)?.parent
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self, id: NodeId) -> &[Entry] {
        match self.value(id) {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    /// The entry of that field, spelled in snake_case or camelCase.
    pub(super) fn entry(&self, id: NodeId, field: &str) -> Option<&Entry> {
        self.entries(id)
            .iter()
            .find(|entry| same_name(field, &entry.key))
    }

    /// The entry that holds `id`, if it is the value of one.
    pub(super) fn entry_of(&self, id: NodeId) -> Option<&Entry> {
        let parent = self.parent(id)?;
        self.entries(parent).iter().find(|entry| entry.value == id)
    }

    /// Where to point for a complaint about a value: at a scalar itself, else at its key.
    pub(super) fn span(&self, id: NodeId) -> Option<Span> {
        let node = self.node(id)?;
        if matches!(node.value, Value::Scalar { .. }) {
            return Some(node.span);
        }
        Some(self.entry_of(id).map_or(node.span, |entry| entry.key_span))
    }

    /// `static_resources.listeners[0].name`; empty for the root.
    pub(super) fn path(&self, id: NodeId) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some(parent) = self.parent(at) {
            match self.value(parent) {
                Value::Map(entries) => {
                    let key = entries.iter().find(|entry| entry.value == at);
                    steps.push(Step::Key(key.map_or("", |entry| &entry.key)));
                }
                Value::List(items) => {
                    let index = items
                        .iter()
                        .position(|&item| item == at)
                        .unwrap_or_default();
                    steps.push(Step::Index(index));
                }
                Value::Null | Value::Scalar { .. } => {}
            }
            at = parent;
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Key(key) => push_key(&mut path, key),
                Step::Index(index) => push_index(&mut path, *index),
            }
        }
        path
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Appends a key to a path; one that is not a plain word is quoted.
pub(super) fn push_key(path: &mut String, key: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || !key.chars().all(plain) {
        // Writing to a string cannot fail.
        let _ = write!(path, "[{key:?}]");
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

fn push_index(path: &mut String, index: usize) {
    let _ = write!(path, "[{index}]");
}

/// Where something stands in a configuration, or would stand.
///
/// Cheap to copy and to extend. A step that the configuration does not have stays on the value
/// that would have it, and is told in the path.
#[derive(Clone, Copy, Debug)]
pub struct Place<'d> {
    document: &'d Document,
    node: NodeId,
    absent: Option<&'static str>,
}

impl Place<'_> {
    /// The field of that name (in snake_case), however it was spelled.
    #[must_use]
    pub fn field(self, name: &'static str) -> Self {
        if self.absent.is_some() {
            return self;
        }
        if let Some(entry) = self.document.entry(self.node, name) {
            return Self {
                node: entry.value,
                ..self
            };
        }
        // An `xds.type.v3.TypedStruct` holds the fields one level further down.
        if self.document.entry(self.node, "@type").is_some()
            && let Some(inner) = self.document.entry(self.node, "value")
            && let Some(entry) = self.document.entry(inner.value, name)
        {
            return Self {
                node: entry.value,
                ..self
            };
        }
        Self {
            absent: Some(name),
            ..self
        }
    }

    /// The value of a key that the user has chosen.
    #[must_use]
    pub fn key(self, name: &str) -> Self {
        match self.document.entry(self.node, name) {
            Some(entry) if self.absent.is_none() => Self {
                node: entry.value,
                ..self
            },
            _ => self,
        }
    }

    /// The element of a list. A value that stands for a list of one is its own first element.
    #[must_use]
    pub fn index(self, index: usize) -> Self {
        if self.absent.is_some() {
            return self;
        }
        match self.document.value(self.node) {
            Value::List(items) => match items.get(index) {
                Some(&node) => Self { node, ..self },
                None => self,
            },
            Value::Null | Value::Scalar { .. } | Value::Map(_) => self,
        }
    }

    /// As `static_resources.clusters[2].name`.
    #[must_use]
    pub fn path(self) -> String {
        let mut path = self.document.path(self.node);
        if let Some(absent) = self.absent {
            push_key(&mut path, absent);
        }
        path
    }

    /// The position; of what would hold it where the configuration does not have it.
    #[must_use]
    pub fn span(self) -> Option<Span> {
        self.document.span(self.node)
    }
}
