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
//!   one variant, named after its message, for each type that the proxy implements.
//!
//! [`schema`]: crate::config::schema
//! [`document`]: crate::config::document

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
use crate::config::diagnostic::{Diagnostics, Severity};
use crate::config::document::{Document, NodeId};
use crate::config::schema::Message;
use crate::config::source::Span;
use crate::limits::CONFIG_ERRORS;

/// Decodes the whole document. What is wrong goes to `diagnostics`; there is a result only when
/// nothing is.
pub(super) fn decode<T: DeserializeOwned>(
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let session = Session {
        document,
        diagnostics: RefCell::new(diagnostics),
        removed: RefCell::default(),
        reported: RefCell::default(),
        meant: RefCell::default(),
        errors: Cell::new(0),
        messages: RefCell::default(),
    };
    loop {
        let root = ValueDe::new(&session, document.root_id(), Form::Plain);
        let error = match T::deserialize(root) {
            Ok(value) => return (session.errors.get() == 0).then_some(value),
            Err(error) => error,
        };
        let node = error.node().unwrap_or_else(|| document.root_id());
        session.tell(node, error);
        if session.errors.get() >= CONFIG_ERRORS || !session.remove(node) {
            return None;
        }
    }
}

/// What one decoding knows besides the tree.
struct Session<'d> {
    document: &'d Document,
    diagnostics: RefCell<&'d mut Diagnostics>,
    /// Values that were taken out of the tree because they are wrong.
    removed: RefCell<HashSet<NodeId>>,
    /// What was told about values that stay in the tree, so that it is told once.
    reported: RefCell<HashSet<(NodeId, &'static str)>>,
    /// Names that a refused key of a message probably was meant to be.
    meant: RefCell<HashSet<(NodeId, &'static str)>>,
    errors: Cell<usize>,
    /// What the schema has about the messages met so far.
    messages: RefCell<HashMap<&'static str, Option<Rc<Message>>>>,
}

impl Session<'_> {
    fn message(&self, name: &'static str) -> Option<Rc<Message>> {
        let mut messages = self.messages.borrow_mut();
        messages.entry(name).or_insert_with(|| Message::find(name).map(Rc::new)).clone()
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

    fn tell(&self, node: NodeId, error: Error) {
        let is_told = self.reported.borrow().iter().any(|(told, _)| *told == node);
        match error.into_kind() {
            Kind::Message { text, hint } if !is_told => self.report(node, text, hint),
            Kind::Message { .. } | Kind::Missing(_) | Kind::Told => {}
        }
    }

    /// An error about a value.
    fn report(&self, node: NodeId, text: String, hint: Option<String>) {
        self.push(
            self.document.span(node),
            self.document.path(node),
            text,
            hint,
        );
    }

    /// An error about the key of a value.
    fn report_key(&self, node: NodeId, text: String, hint: Option<String>) {
        let span = self.document.entry_of(node).map(|entry| entry.key_span);
        self.push(span, self.document.path(node), text, hint);
    }

    /// An error about a value that stays in the tree; `what` keeps it from being told twice.
    fn report_once(&self, node: NodeId, what: &'static str, text: String) {
        if self.reported.borrow_mut().insert((node, what)) {
            self.report(node, text, None);
        }
    }

    fn push(&self, span: Option<Span>, path: String, text: String, hint: Option<String>) {
        self.errors.set(self.errors.get() + 1);
        let mut diagnostics = self.diagnostics.borrow_mut();
        let found = diagnostics.push(Severity::Error, span, path, text);
        if let Some(hint) = hint {
            found.hint(hint);
        }
    }
}
