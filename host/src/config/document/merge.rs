//! Laying one source over another, as protobuf merges messages.
//!
//! Owns the rule: what is in both is replaced, mappings are merged, lists are joined. Called by
//! `config::load` for a file and the text of `--config-yaml`.

use crate::config::document::{Document, NodeId, Value};
use crate::config::schema::same_field;

/// Lays `over` over `under`; the result is in the place of `under`.
pub(in crate::config) fn merge(document: &mut Document, under: NodeId, over: NodeId) {
    let incoming = document.value(over).clone();
    match (document.value(under), &incoming) {
        // An `Any` is replaced as a whole: its content is opaque to a merge.
        (Value::Map(_), Value::Map(_)) if document.entry(over, "@type").is_some() => {
            replace(document, under, over);
        }
        (Value::Map(_), Value::Map(entries)) => {
            for entry in entries {
                let existing = document
                    .entries(under)
                    .iter()
                    .find(|other| same_field(&other.key, &entry.key))
                    .map(|other| other.value);
                if let Some(existing) = existing {
                    merge(document, existing, entry.value);
                } else if let Some(node) = document.node_mut(under)
                    && let Value::Map(mine) = &mut node.value
                {
                    mine.push(entry.clone());
                    adopt(document, entry.value, under);
                }
            }
        }
        (Value::List(_), Value::List(items)) => {
            if let Some(node) = document.node_mut(under)
                && let Value::List(mine) = &mut node.value
            {
                mine.extend(items);
            }
            for &item in items {
                adopt(document, item, under);
            }
        }
        (_, Value::Null) => {}
        _ => replace(document, under, over),
    }
}

fn replace(document: &mut Document, under: NodeId, over: NodeId) {
    let Some(node) = document.node(over).cloned() else {
        return;
    };
    match &node.value {
        Value::List(items) => {
            for &item in items {
                adopt(document, item, under);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                adopt(document, entry.value, under);
            }
        }
        Value::Null | Value::Scalar { .. } => {}
    }
    if let Some(mine) = document.node_mut(under) {
        mine.value = node.value;
        mine.span = node.span;
    }
}

fn adopt(document: &mut Document, child: NodeId, parent: NodeId) {
    if let Some(node) = document.node_mut(child) {
        node.parent = Some(parent);
    }
}
