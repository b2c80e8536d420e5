//! From YAML text to a tree of nodes.
//!
//! Owns the limits on depth and size, aliases, duplicate keys, and turning a syntax error into
//! one that people understand. Does not own the types of values: every scalar stays text.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as YamlSpan, Tag};

use crate::config::diagnostic::{Diagnostics, Severity};
use crate::config::document::deepen::deepen;
use crate::config::document::{Document, Entry, NodeId, Value, push_key};
use crate::config::source::Span;
use crate::limits::{CONFIG_ALIASED_NODES, CONFIG_DEPTH, CONFIG_ERRORS, CONFIG_NODES};

/// Parses one source into `document` and returns the node of its document. What is wrong with the
/// text goes to `diagnostics`; without a result there is nothing to go on with.
pub(in crate::config) fn parse(
    document: &mut Document,
    text: &str,
    source: u16,
    diagnostics: &mut Diagnostics,
) -> Option<NodeId> {
    let before = document.len();
    let mut result = parse_moved(document, (text, &[]), source, diagnostics);
    if result.as_ref().is_err_and(|fatal| fatal.is_syntax)
        && let Some(deepened) = deepen(text)
        && is_well_formed(&deepened.text)
    {
        document.truncate(before);
        let of = (&*deepened.text, &*deepened.moved);
        result = parse_moved(document, of, source, diagnostics);
    }
    match result {
        Ok(root) => root,
        Err(fatal) => {
            let found = diagnostics.error_at(fatal.span, fatal.message);
            if let Some(hint) = fatal.hint {
                found.hint(hint);
            }
            None
        }
    }
}

/// Whether a text has nothing that the parser refuses.
fn is_well_formed(text: &str) -> bool {
    let mut parser = Parser::new_from_str(text);
    std::iter::from_fn(|| parser.next_event()).all(|event| event.is_ok())
}

/// Parses a text whose lines were moved to the right by so many columns.
fn parse_moved(
    document: &mut Document,
    (text, moved): (&str, &[usize]),
    source: u16,
    diagnostics: &mut Diagnostics,
) -> Result<Option<NodeId>, Fatal> {
    let mut builder = Builder {
        document,
        diagnostics,
        source,
        moved,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
        documents: 0,
        repeated: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                return Err(Fatal {
                    is_syntax: true,
                    ..builder.syntax(text, &error)
                });
            }
        }
    }
    builder.tell_repeated();
    let says_something = |root: &NodeId| !matches!(builder.document.value(*root), Value::Null);
    let root = builder.root.filter(says_something);
    if root.is_none() {
        let span = Span::new(1, 1, 1).in_source(source);
        builder
            .diagnostics
            .error_at(span, "the configuration is empty");
    }
    Ok(root)
}

/// An error that parsing cannot go on after.
struct Fatal {
    span: Span,
    message: String,
    hint: Option<&'static str>,
    /// Whether the text is no YAML, rather than that it says what there cannot be.
    is_syntax: bool,
}

impl Fatal {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: None,
            is_syntax: false,
        }
    }
}

/// A list or mapping that has not ended.
struct Open {
    id: NodeId,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<NodeId>),
    Map {
        entries: Vec<Entry>,
        key: Option<Key>,
    },
}

/// The key of a mapping whose value is to come.
struct Key {
    text: Box<str>,
    span: Span,
    /// Whether it and its value are only there for what they anchor (`!ignore`).
    is_ignored: bool,
}

struct Builder<'a> {
    document: &'a mut Document,
    diagnostics: &'a mut Diagnostics,
    source: u16,
    /// By how many columns each line was moved to the right; none where none was.
    moved: &'a [usize],
    stack: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    aliased: usize,
    root: Option<NodeId>,
    documents: u32,
    repeated: Vec<Repeated>,
}

/// A key that its mapping has already.
struct Repeated {
    mapping: NodeId,
    key: Box<str>,
    span: Span,
    first: Span,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: YamlSpan) -> Result<(), Fatal> {
        let at = self.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 1 {
                    return Ok(());
                }
                Err(Fatal {
                    hint: Some("a configuration is one document; remove '---' and what follows"),
                    ..Fatal::new(at, "second YAML document in one file")
                })
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), at)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(OpenKind::List(Vec::new()), anchor, tag.as_deref(), at)
            }
            Event::MappingStart(anchor, tag) => {
                let kind = OpenKind::Map {
                    entries: Vec::new(),
                    key: None,
                };
                self.open(kind, anchor, tag.as_deref(), at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Span,
    ) -> Result<(), Fatal> {
        let text: Box<str> = text.into();
        let quoted = style != ScalarStyle::Plain || is_string_tag(tag);
        let is_ignored = is_ignored(tag) && self.expects_key();
        if !is_ignored {
            self.check_tag(tag, &["str", "int", "float", "bool", "null"], at)?;
        }
        if let Some(Open {
            kind: OpenKind::Map {
                key: key @ None, ..
            },
            ..
        }) = self.stack.last_mut()
        {
            *key = Some(Key {
                text: text.clone(),
                span: at,
                is_ignored,
            });
            if anchor != 0 {
                let id = self.add(Value::Scalar { text, quoted }, at)?;
                self.anchors.insert(anchor, id);
            }
            return Ok(());
        }
        let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        let value = if null {
            Value::Null
        } else {
            Value::Scalar { text, quoted }
        };
        let id = self.add(value, at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.attach(id);
        Ok(())
    }

    fn open(
        &mut self,
        kind: OpenKind,
        anchor: usize,
        tag: Option<&Tag>,
        at: Span,
    ) -> Result<(), Fatal> {
        self.check_tag(tag, &["map", "seq"], at)?;
        if self.expects_key() {
            return Err(Fatal::new(
                at,
                "a key of a mapping must be a word, not a list or mapping",
            ));
        }
        if self.stack.len() >= CONFIG_DEPTH {
            return Err(Fatal::new(
                at,
                format!("nested deeper than {CONFIG_DEPTH} levels"),
            ));
        }
        let id = self.add(Value::Null, at)?;
        self.stack.push(Open { id, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fatal> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            OpenKind::List(items) => {
                for &item in &items {
                    self.set_parent(item, open.id);
                }
                Value::List(items)
            }
            OpenKind::Map { entries, .. } => {
                let entries = self.without_duplicates(open.id, entries);
                for entry in &entries {
                    self.set_parent(entry.value, open.id);
                }
                Value::Map(entries)
            }
        };
        if let Some(node) = self.document.node_mut(open.id) {
            node.value = value;
        }
        if open.anchor != 0 {
            self.anchors.insert(open.anchor, open.id);
        }
        self.attach(open.id);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Span) -> Result<(), Fatal> {
        let Some(&target) = self.anchors.get(&anchor) else {
            return Err(Fatal::new(
                at,
                "an alias inside of the value that it stands for",
            ));
        };
        if let Some(Open {
            kind: OpenKind::Map {
                key: key @ None, ..
            },
            ..
        }) = self.stack.last_mut()
        {
            let Value::Scalar { text, .. } = self.document.value(target) else {
                return Err(Fatal::new(at, "an alias as a key must stand for a word"));
            };
            *key = Some(Key {
                text: text.clone(),
                span: at,
                is_ignored: false,
            });
            return Ok(());
        }
        let copy = self.copy(target, self.stack.len(), at)?;
        self.attach(copy);
        Ok(())
    }

    /// Copies what an alias stands for, so that every node has one parent.
    fn copy(&mut self, target: NodeId, depth: usize, at: Span) -> Result<NodeId, Fatal> {
        self.aliased += 1;
        if self.aliased > CONFIG_ALIASED_NODES {
            let message = format!("aliases stand for more than {CONFIG_ALIASED_NODES} values");
            return Err(Fatal::new(at, message));
        }
        let Some(node) = self.document.node(target).cloned() else {
            return Err(Fatal::new(at, "an alias of nothing"));
        };
        if depth > CONFIG_DEPTH {
            return Err(Fatal::new(
                at,
                format!("nested deeper than {CONFIG_DEPTH} levels"),
            ));
        }
        let id = self.add(Value::Null, node.span)?;
        let value = match node.value {
            Value::List(items) => {
                let mut copies = Vec::with_capacity(items.len());
                for item in items {
                    let copy = self.copy(item, depth + 1, at)?;
                    self.set_parent(copy, id);
                    copies.push(copy);
                }
                Value::List(copies)
            }
            Value::Map(entries) => {
                let mut copies = Vec::with_capacity(entries.len());
                for entry in entries {
                    let value = self.copy(entry.value, depth + 1, at)?;
                    self.set_parent(value, id);
                    copies.push(Entry { value, ..entry });
                }
                Value::Map(copies)
            }
            scalar @ (Value::Null | Value::Scalar { .. }) => scalar,
        };
        if let Some(node) = self.document.node_mut(id) {
            node.value = value;
        }
        Ok(id)
    }

    fn attach(&mut self, id: NodeId) {
        match self.stack.last_mut().map(|open| &mut open.kind) {
            Some(OpenKind::List(items)) => items.push(id),
            Some(OpenKind::Map { entries, key }) => {
                if let Some(key) = key.take().filter(|key| !key.is_ignored) {
                    entries.push(Entry {
                        key: key.text,
                        key_span: key.span,
                        value: id,
                    });
                }
            }
            None => self.root = Some(id),
        }
    }

    /// Whether what comes next is the key of a mapping.
    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Open {
                kind: OpenKind::Map { key: None, .. },
                ..
            })
        )
    }

    fn without_duplicates(&mut self, mapping: NodeId, entries: Vec<Entry>) -> Vec<Entry> {
        let mut seen: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
        let mut repeated = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match seen.entry(&entry.key) {
                Slot::Vacant(slot) => {
                    slot.insert(entry.key_span);
                }
                Slot::Occupied(slot) => repeated.push((index, *slot.get())),
            }
        }
        if repeated.is_empty() {
            return entries;
        }
        let mut repeated = repeated.into_iter().peekable();
        let mut kept = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            match repeated.next_if(|(other, _)| *other == index) {
                Some((_, first)) => self.repeated.push(Repeated {
                    mapping,
                    key: entry.key,
                    span: entry.key_span,
                    first,
                }),
                None => kept.push(entry),
            }
        }
        kept
    }

    /// Duplicate keys are told when the paths of their mappings are known.
    fn tell_repeated(&mut self) {
        for Repeated {
            mapping,
            key,
            span,
            first,
        } in std::mem::take(&mut self.repeated)
            .into_iter()
            .take(CONFIG_ERRORS)
        {
            let mut path = self.document.path(mapping);
            push_key(&mut path, &key);
            let message = format!("duplicate key '{key}'");
            let found = self
                .diagnostics
                .push(Severity::Error, Some(span), path, message);
            found.related(first, "first set here");
        }
    }

    fn check_tag(&self, tag: Option<&Tag>, known: &[&str], at: Span) -> Result<(), Fatal> {
        let Some(tag) = tag else { return Ok(()) };
        if is_string_tag(Some(tag))
            || (tag.is_yaml_core_schema() && known.contains(&tag.suffix.as_str()))
        {
            return Ok(());
        }
        Err(Fatal::new(
            at,
            format!("the tag '{tag}' has no meaning in a configuration"),
        ))
    }

    fn add(&mut self, value: Value, span: Span) -> Result<NodeId, Fatal> {
        if self.document.len() >= CONFIG_NODES {
            return Err(Fatal::new(span, format!("more than {CONFIG_NODES} values")));
        }
        Ok(self.document.add(value, span))
    }

    fn set_parent(&mut self, child: NodeId, parent: NodeId) {
        if let Some(node) = self.document.node_mut(child) {
            node.parent = Some(parent);
        }
    }

    fn span(&self, span: YamlSpan) -> Span {
        let width = if span.start.line() == span.end.line() {
            span.end.col().saturating_sub(span.start.col())
        } else {
            1
        };
        let line = span.start.line();
        let moved = self.moved.get(line.saturating_sub(1)).copied();
        let column = span.start.col().saturating_sub(moved.unwrap_or(0)) + 1;
        Span::new(line, column, width).in_source(self.source)
    }

    /// The parser's own words, or better ones where the cause is plain.
    fn syntax(&self, text: &str, error: &ScanError) -> Fatal {
        if let Some(error) = json_error(text) {
            let span = Span::new(error.line(), error.column().max(1), 1).in_source(self.source);
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let message = message.strip_suffix(&place).unwrap_or(&message);
            return Fatal::new(span, format!("not valid JSON: {message}"));
        }
        let marker = error.marker();
        let span = Span::new(marker.line(), marker.col() + 1, 1).in_source(self.source);
        let mut lines = text.lines().skip(marker.line().saturating_sub(1));
        let line = lines.next().unwrap_or_default();
        // The parser may stand at the end of the line before.
        let next = lines.position(|line| !line.trim().is_empty());
        let next = next.map_or(1, |blank| blank + 1);
        for number in [marker.line(), marker.line() + next] {
            if let Some(tab) = tab_in_indentation(text, number) {
                let span = Span::new(number, tab + 1, 1).in_source(self.source);
                return Fatal {
                    hint: Some("indent with spaces"),
                    ..Fatal::new(span, "YAML does not allow a tab in the indentation")
                };
            }
        }
        let hint = match line.chars().nth(marker.col()) {
            Some('@' | '`' | '%') => Some("a key or value that begins with this needs quotes"),
            _ => None,
        };
        Fatal {
            hint,
            ..Fatal::new(span, format!("not valid YAML: {}", error.info()))
        }
    }
}

/// Where a tab stands in the indentation of a line, which are counted from 1.
fn tab_in_indentation(text: &str, line: usize) -> Option<usize> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let indentation = line.len() - line.trim_start().len();
    line.chars().take(indentation).position(|c| c == '\t')
}

/// What is wrong with a text that means to be JSON: an object with its first key in quotes.
fn json_error(text: &str) -> Option<serde_json::Error> {
    let inner = text.trim_start().strip_prefix('{')?;
    if !inner.trim_start().starts_with('"') {
        return None;
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).err()
}

/// `!ignore`, by which Envoy knows keys whose values are only there to be pointed at.
fn is_ignored(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| {
        (tag.handle == "!" && tag.suffix == "ignore")
            || (tag.handle.is_empty() && tag.suffix == "!ignore")
    })
}

/// `!` and `!!str`, which keep a scalar from being anything else.
fn is_string_tag(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| {
        (tag.is_yaml_core_schema() && tag.suffix == "str")
            || (tag.handle.is_empty() && tag.suffix == "!")
            || (tag.handle == "!" && tag.suffix.is_empty())
    })
}
