//! From the tree of a configuration to the types of the model, with every error at once.
//!
//! Owns a `serde` deserializer over the tree that knows Envoy's API ([`schema`]): spellings,
//! wrappers, oneofs, `Any`, constraints, and what Envoy has that the proxy has not. Called by
//! `config::load`. Does not own the text ([`document`]) or the model.
//!
//! Errors are collected by peeling: decode; on an error, note it, take the value that is wrong out
//! of the tree, and decode again, until it succeeds. What is missing only because it was taken out
//! is not told.
//!
//! The names that types of the model have for `serde` carry what it needs:
//!
//! - a struct is named after its message, `envoy.config.cluster.v3.Cluster`, and so is an enum;
//! - a field `oneof:path_specifier` holds an enum with one variant for a member of that oneof;
//! - a field `any:typed_config` holds an enum named `any:` and what it is (`any:HTTP filter`), with
//!   one variant, named after its message, for each type that the proxy implements; one named `` is
//!   for an empty value without a type. `anys:` is a mapping of such enums by names of the user.
//!
//! [`schema`]: crate::config::schema
//! [`document`]: crate::config::document

mod absent;
mod choice;
mod constraint;
mod error;
mod extension;
mod fields;
mod unsupported;
mod value;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::config::de::error::{Error, Kind};
use crate::config::de::value::{Form, ValueDe};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::document::{Document, NodeId, Value};
use crate::config::schema::Message;
use crate::config::source::Span;
use crate::limits::CONFIG_ERRORS;

/// Decodes the whole document. What is wrong goes to `diagnostics`. There is a result when nothing
/// is, or when all that is can be left out without moving or making up anything: then what needs
/// more than one message can still be checked, so that its errors are told as well.
pub(super) fn decode<T: DeserializeOwned>(
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let session = Session {
        document,
        diagnostics: RefCell::new(diagnostics),
        removed: RefCell::default(),
        reported: RefCell::default(),
        missed: RefCell::default(),
        meant: RefCell::default(),
        errors: Cell::new(0),
        messages: RefCell::default(),
    };
    loop {
        let root = ValueDe::new(&session, document.root_id(), Form::Plain);
        let error = match T::deserialize(root) {
            Ok(value) if session.errors.get() == 0 || session.can_go_on() => return Some(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let node = error.node().unwrap_or_else(|| document.root_id());
        let again = session.tell(node, error);
        if session.errors.get() > CONFIG_ERRORS || !(again || session.remove(node)) {
            break;
        }
    }
    if session.errors.get() > CONFIG_ERRORS {
        let text = format!("more than {CONFIG_ERRORS} errors: the rest is not shown");
        let diagnostics = session.diagnostics.into_inner();
        diagnostics.push(Severity::Error, None, String::new(), text);
    }
    None
}

/// What one decoding knows besides the tree.
struct Session<'d> {
    document: &'d Document,
    diagnostics: RefCell<&'d mut Diagnostics>,
    /// Values that were taken out of the tree because they are wrong.
    removed: RefCell<HashSet<NodeId>>,
    /// What was told about values that stay in the tree, so that it is told once.
    reported: RefCell<HashSet<(NodeId, &'static str)>>,
    /// Fields that are missing: the struct, its message, the field. Each was told, unless it is
    /// missing because of something that was.
    missed: RefCell<HashSet<(NodeId, &'static str, &'static str)>>,
    /// Names that a refused key of a message probably was meant to be.
    meant: RefCell<HashSet<(NodeId, &'static str)>>,
    errors: Cell<usize>,
    /// What the schema has about the messages met so far.
    messages: RefCell<HashMap<&'static str, Option<Rc<Message>>>>,
}

impl Session<'_> {
    fn message(&self, name: &'static str) -> Option<Rc<Message>> {
        let mut messages = self.messages.borrow_mut();
        messages
            .entry(name)
            .or_insert_with(|| Message::find(name).map(Rc::new))
            .clone()
    }

    /// Whether what is left may be checked further: every list has all its items, so that places
    /// are right, nothing was made up, and there is room for more errors.
    fn can_go_on(&self) -> bool {
        let is_item = |node: &NodeId| {
            let parent = self.document.parent(*node);
            parent.is_some_and(|list| matches!(self.document.value(list), Value::List(_)))
        };
        self.errors.get() <= CONFIG_ERRORS
            && self.missed.borrow().is_empty()
            && !self.removed.borrow().iter().any(is_item)
    }

    fn is_removed(&self, node: NodeId) -> bool {
        self.removed.borrow().contains(&node)
    }

    /// Takes a value out of the tree, or what holds it if it is out already.
    fn remove(&self, node: NodeId) -> bool {
        let mut removed = self.removed.borrow_mut();
        let mut at = node;
        while let Some(parent) = self.document.parent(at) {
            if removed.insert(at) {
                return true;
            }
            at = parent;
        }
        false
    }

    fn is_missed(&self, node: NodeId, (message, field): (&'static str, &'static str)) -> bool {
        self.missed.borrow().contains(&(node, message, field))
    }

    /// A field of a message is missing. It is made up from now on, so that the rest is checked.
    fn miss(
        &self,
        node: NodeId,
        (message, field): (&'static str, &'static str),
        told: bool,
        text: impl FnOnce() -> String,
    ) -> Error {
        if !self.missed.borrow_mut().insert((node, message, field)) {
            return Error::told(node);
        }
        if !told {
            self.report(node, text(), None);
        }
        Error::again(node)
    }

    /// Tells an error unless it was; whether another attempt makes sense as it is.
    fn tell(&self, node: NodeId, error: Error) -> bool {
        let is_told = self.reported.borrow().iter().any(|(told, _)| *told == node);
        match error.into_kind() {
            Kind::Message { text, hint } => {
                if !is_told {
                    self.report(node, text, hint);
                }
                false
            }
            Kind::Missing(_) | Kind::Told => false,
            Kind::Again => true,
        }
    }

    /// Whether so many errors were told that the next one is only counted.
    fn is_full(&self) -> bool {
        self.errors.get() >= CONFIG_ERRORS
    }

    fn count(&self) {
        self.errors.update(|errors| errors.saturating_add(1));
    }

    /// An error about a value.
    fn report(&self, node: NodeId, text: String, hint: Option<String>) {
        self.push(self.document.span(node), node, text, |found| {
            hint.map(|hint| found.hint(hint));
        });
    }

    /// An error about the key of a value.
    fn report_key(&self, node: NodeId, text: String, hint: Option<String>) {
        self.push(self.key_span(node), node, text, |found| {
            hint.map(|hint| found.hint(hint));
        });
    }

    /// An error about a key that cannot be together with another one.
    fn report_conflict(&self, node: NodeId, other: NodeId, text: String) {
        self.push(self.key_span(node), node, text, |found| {
            self.key_span(other)
                .map(|span| found.related(span, "first set here"));
        });
    }

    /// An error about a value that stays in the tree; `what` keeps it from being told twice.
    fn report_once(&self, node: NodeId, what: &'static str, text: String) {
        if self.reported.borrow_mut().insert((node, what)) {
            self.report(node, text, None);
        }
    }

    /// A warning about a value, told once.
    fn warn_once(&self, node: NodeId, what: &'static str, text: String) {
        if self.reported.borrow_mut().insert((node, what)) {
            let (span, path) = (self.document.span(node), self.document.path(node));
            let mut diagnostics = self.diagnostics.borrow_mut();
            diagnostics.push(Severity::Warning, span, path, text);
        }
    }

    fn key_span(&self, node: NodeId) -> Option<Span> {
        self.document.entry_of(node).map(|entry| entry.key_span)
    }

    fn push(
        &self,
        span: Option<Span>,
        node: NodeId,
        text: String,
        complete: impl FnOnce(&mut Diagnostic),
    ) {
        let is_full = self.is_full();
        self.count();
        if is_full {
            return;
        }
        let path = self.document.path(node);
        let mut diagnostics = self.diagnostics.borrow_mut();
        complete(diagnostics.push(Severity::Error, span, path, text));
    }
}
