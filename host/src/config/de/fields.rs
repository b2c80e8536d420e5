//! A mapping as a message: its keys are the names of fields.
//!
//! Owns matching keys to the fields of a struct of the model, in both spellings, and everything
//! that can be wrong with that: unknown, duplicate, not implemented, conflicting, missing.

use std::rc::Rc;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer as _, MapAccess, Visitor};

use crate::config::de::absent::AbsentDe;
use crate::config::de::choice::{NoMemberDe, OneofDe};
use crate::config::de::error::Error;
use crate::config::de::extension::NamedDe;
use crate::config::de::value::{Form, ValueDe, shorten};
use crate::config::de::{constraint, unsupported};
use crate::config::document::{Entry, NodeId, Value};
use crate::config::schema::{Field, Message, same_name};
use crate::nearest::nearest;

/// The field of the model for the configuration of a filter.
const TYPED_CONFIG: &str = "any:typed_config";

/// Decodes a message. `name` is its full name, `fields` are those that the model has.
pub(super) fn message<'de, V: Visitor<'de>>(
    value: ValueDe<'_, '_>,
    name: &'static str,
    fields: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Error> {
    let is_mapping = matches!(value.value(), Value::Map(_) | Value::Null);
    if !is_mapping && value.form != Form::Empty {
        return Err(value.expected("a mapping"));
    }
    let schema = value.session.message(name);
    debug_assert!(
        is_in_schema(name, fields, schema.as_deref()),
        "{name} is not Envoy's"
    );
    let taken = Vec::with_capacity(fields.len());
    let mut reader = Reader {
        value,
        name,
        fields,
        schema,
        taken,
    };
    for entry in value.entries() {
        reader.take(entry);
    }
    reader.take_name_as_type();
    reader.take_absent();
    let mut access = FieldAccess {
        value,
        name,
        taken: reader.taken.iter(),
        current: None,
    };
    let result = visitor.visit_map(&mut access);
    result.map_err(|error| match error.missing() {
        Some(field) => {
            let shown = field.split_once(':').map_or(field, |(_, name)| name);
            let told = reader.was_removed(field);
            value.session.miss(value.node, (name, field), told, || {
                format!("missing field '{shown}'")
            })
        }
        None => error.or_at(value.node),
    })
}

/// Whether the model has only fields that Envoy has.
fn is_in_schema(name: &str, fields: &[&str], schema: Option<&Message>) -> bool {
    let Some(schema) = schema else {
        return !name.starts_with("envoy.") && !name.starts_with("nuncio.");
    };
    fields.iter().all(|field| match field.split_once(':') {
        Some(("oneof", oneof)) => schema.members(oneof).next().is_some(),
        Some((_, name)) => schema.field(name).is_some(),
        // A field of v2 may be taken as well, for the sake of old examples.
        None => schema.field(field).is_some() || schema.was_removed(field),
    })
}

/// A field that is set.
struct Taken {
    /// As the model names it.
    field: &'static str,
    /// The member, for a field that is a oneof.
    member: &'static str,
    /// The entry's value.
    outer: NodeId,
    /// What the field is decoded from: `outer`, or the value in a wrapper.
    node: NodeId,
    oneof: Option<&'static str>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A field.
    Field,
    /// A member of a oneof.
    Member,
    /// A oneof without a member; whether that is a consequence of an error that was told.
    NoMember { told: bool },
    /// A missing field that was told.
    Absent,
    /// The configuration of a filter whose name stands for its type.
    Named,
}

struct Reader<'s, 'd> {
    value: ValueDe<'s, 'd>,
    name: &'static str,
    fields: &'static [&'static str],
    schema: Option<Rc<Message>>,
    taken: Vec<Taken>,
}

impl Reader<'_, '_> {
    fn take(&mut self, entry: &Entry) {
        let session = self.value.session;
        let hidden = self.value.form == Form::Any && &*entry.key == "@type";
        if hidden || session.is_removed(entry.value) {
            return;
        }
        let known = self
            .schema
            .as_deref()
            .and_then(|schema| schema.field(&entry.key));
        let Some(field) = self.model_field(&entry.key, known) else {
            self.refuse(entry, known);
            return;
        };
        let absent = match session.document.value(entry.value) {
            Value::Null => true,
            // An empty `Any`: the name of the filter says its type.
            Value::Map(entries) => field == TYPED_CONFIG && entries.is_empty(),
            Value::Scalar { .. } | Value::List(_) => false,
        };
        if absent {
            return;
        }
        let member = known.map_or(field, |known| known.name);
        let oneof = known.and_then(|known| known.oneof);
        if let Some(other) = self.conflicting(member, oneof).map(|other| other.outer) {
            self.conflict(entry, other, member, oneof);
            return;
        }
        let Some(node) = self.unwrapped(entry, known) else {
            return;
        };
        if let Some(known) = known {
            constraint::check(session, known, node);
        }
        let kind = if field.starts_with("oneof:") {
            Kind::Member
        } else {
            Kind::Field
        };
        self.taken.push(Taken {
            field,
            member,
            outer: entry.value,
            node,
            oneof,
            kind,
        });
    }

    /// The field of the model that a key belongs to.
    fn model_field(&self, key: &str, known: Option<Field>) -> Option<&'static str> {
        self.fields
            .iter()
            .copied()
            .find(|field| match field.split_once(':') {
                None => same_name(field, key),
                Some(("any" | "anys", name)) => same_name(name, key),
                Some((_, oneof)) => known.is_some_and(|known| known.oneof == Some(oneof)),
            })
    }

    /// The field that is set already and cannot be together with this one.
    fn conflicting(&self, member: &str, oneof: Option<&str>) -> Option<&Taken> {
        self.taken
            .iter()
            .find(|taken| taken.member == member || (oneof.is_some() && taken.oneof == oneof))
    }

    fn conflict(
        &mut self,
        entry: &Entry,
        other: NodeId,
        member: &'static str,
        oneof: Option<&'static str>,
    ) {
        let session = self.value.session;
        let document = session.document;
        let source = |node| document.entry_of(node).map(|entry| entry.key_span.source());
        // A later source replaces the member that an earlier one set.
        if source(other) < source(entry.value) && oneof.is_some() {
            self.taken.retain(|taken| taken.outer != other);
            session.remove(other);
            self.take(entry);
            return;
        }
        let first = document.entry_of(other).map_or("", |entry| &*entry.key);
        let text = if same_name(member, first) || first == member {
            format!(
                "duplicate key '{}': it is the same field as '{first}'",
                entry.key
            )
        } else {
            format!("'{}' and '{first}' exclude each other", entry.key)
        };
        session.report_conflict(entry.value, other, text);
        session.remove(entry.value);
    }

    /// A key that the model does not have.
    fn refuse(&self, entry: &Entry, known: Option<Field>) {
        if known.is_some_and(|known| self.says_nothing(known, entry.value)) {
            return;
        }
        let session = self.value.session;
        session.remove(entry.value);
        if session.is_full() {
            session.count();
            return;
        }
        let key = &*entry.key;
        if let Some(known) = known {
            let missing = unsupported::in_place_of(self.name, known.name);
            let meant = missing.map(|name| (self.value.node, name));
            session.meant.borrow_mut().extend(meant);
            let (text, hint) = unsupported::field(self.name, known.name);
            session.report_key(entry.value, text, hint);
            return;
        }
        if unsupported::is_known(self.name, key) {
            let (text, hint) = unsupported::field(self.name, key);
            session.report_key(entry.value, text, hint);
            return;
        }
        let text = format!("unknown field '{}'", shorten(key));
        let hint = if key == "<<" {
            Some(
                "merge keys are not supported, as in Envoy: repeat the fields, or use an alias \
                  for the whole value"
                    .to_owned(),
            )
        } else {
            let near = self.nearest_field(key);
            session
                .meant
                .borrow_mut()
                .extend(near.map(|name| (self.value.node, name)));
            near.map(|name| format!("did you mean '{name}'?"))
        };
        session.report_key(entry.value, text, hint.or_else(|| self.all_fields()));
    }

    /// Whether a field of Envoy's is written with what it has anyway. A wrapper and a member of a oneof
    /// say something whatever their value is.
    fn says_nothing(&self, known: Field, value: NodeId) -> bool {
        if known.is_wrapper || known.oneof.is_some() {
            return false;
        }
        match self.value.session.document.value(value) {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            Value::Scalar { text, quoted } => match &**text {
                "" => *quoted,
                "false" | "0" => !quoted,
                _ => false,
            },
            Value::Map(_) => false,
        }
    }

    fn model_names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().flat_map(|field| {
            let (kind, name) = field.split_once(':').unwrap_or(("", field));
            let schema = self.schema.iter().filter(move |_| kind == "oneof");
            let members = schema.flat_map(move |schema| schema.members(name));
            members.chain((kind != "oneof").then_some(name))
        })
    }

    fn nearest_field(&self, key: &str) -> Option<&'static str> {
        let envoys = self.schema.iter().flat_map(|schema| schema.fields());
        nearest(key, self.model_names()).or_else(|| nearest(key, envoys.map(|field| field.name)))
    }

    fn all_fields(&self) -> Option<String> {
        const SHOWN: usize = 12;
        let names: Vec<&str> = self.model_names().collect();
        match names.len() {
            0 => Some("there are no fields here".to_owned()),
            1..=SHOWN => Some(format!("known fields: {}", names.join(", "))),
            _ => None,
        }
    }

    /// `{value: 5}` in place of `5`, for the wrappers of protobuf.
    fn unwrapped(&self, entry: &Entry, known: Option<Field>) -> Option<NodeId> {
        let session = self.value.session;
        if !known.is_some_and(|known| known.is_wrapper) {
            return Some(entry.value);
        }
        match session.document.entries(entry.value) {
            [only] if &*only.key == "value" => {
                let is_set = !matches!(session.document.value(only.value), Value::Null);
                (is_set && !session.is_removed(only.value)).then_some(only.value)
            }
            _ => Some(entry.value),
        }
    }

    /// A filter without `typed_config`: its name says what it is.
    fn take_name_as_type(&mut self) {
        let Some(field) = self
            .fields
            .iter()
            .copied()
            .find(|field| *field == TYPED_CONFIG)
        else {
            return;
        };
        let session = self.value.session;
        if self.taken.iter().any(|taken| taken.field == field) || self.was_removed(field) {
            return;
        }
        let name = self
            .taken
            .iter()
            .find(|taken| taken.field == "name")
            .map(|taken| taken.outer);
        let Some(outer) = name.filter(|_| !session.is_removed(self.value.node)) else {
            return;
        };
        let node = self.value.node;
        let member = "typed_config";
        self.taken.push(Taken {
            field,
            member,
            outer,
            node,
            oneof: None,
            kind: Kind::Named,
        });
    }

    /// What is not set and should be, and the oneofs, which say what they could be.
    fn take_absent(&mut self) {
        let ValueDe { session, node, .. } = self.value;
        for field in self.fields.iter().copied() {
            if self.taken.iter().any(|taken| taken.field == field) {
                continue;
            }
            let known = || {
                self.schema
                    .as_deref()
                    .and_then(|schema| schema.field(field))
            };
            let kind = if session.is_missed(node, (self.name, field)) {
                Kind::Absent
            } else if field.starts_with("oneof:") {
                Kind::NoMember {
                    told: self.was_removed(field),
                }
            } else if known().is_some_and(constraint::needs_value) {
                let told = self.was_removed(field);
                let text = || format!("missing field '{field}'");
                session.miss(node, (self.name, field), told, text);
                Kind::Absent
            } else {
                continue;
            };
            self.taken.push(Taken {
                field,
                member: field,
                outer: node,
                node,
                oneof: None,
                kind,
            });
        }
    }

    /// Whether a field was set, or meant to be, and is not because of an error that was told.
    fn was_removed(&self, field: &str) -> bool {
        let session = self.value.session;
        if session.removed.borrow().is_empty() {
            return false;
        }
        let (kind, name) = field.split_once(':').unwrap_or(("", field));
        let mut removed = self.value.entries().iter().filter(|entry| {
            let mut inner = session.document.entries(entry.value).iter();
            session.is_removed(entry.value)
                || inner.any(|inner| session.is_removed(inner.value) && &*inner.key == "value")
        });
        if kind == "oneof" {
            // A key that is not known may have been meant as a member.
            return removed.any(|entry| {
                let known = self
                    .schema
                    .as_deref()
                    .and_then(|schema| schema.field(&entry.key));
                known.is_none_or(|known| known.oneof == Some(name))
            });
        }
        removed.any(|entry| same_name(name, &entry.key))
            || session
                .meant
                .borrow()
                .iter()
                .any(|meant| *meant == (self.value.node, name))
    }
}

struct FieldAccess<'a, 's, 'd> {
    value: ValueDe<'s, 'd>,
    name: &'static str,
    taken: std::slice::Iter<'a, Taken>,
    current: Option<&'a Taken>,
}

impl<'de> MapAccess<'de> for &mut FieldAccess<'_, '_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.current = self.taken.next();
        let Some(taken) = self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Error> = taken.field.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(taken) = self.current.take() else {
            return Err(serde::de::Error::custom("a value without a key"));
        };
        let value = ValueDe::new(self.value.session, taken.node, Form::Plain);
        let result = match taken.kind {
            Kind::Field => seed.deserialize(value),
            Kind::Member => seed.deserialize(OneofDe {
                message: self.name,
                member: taken.member,
                value,
            }),
            Kind::NoMember { told } => {
                let field = (self.name, taken.field);
                seed.deserialize(NoMemberDe {
                    session: value.session,
                    node: value.node,
                    field,
                    told,
                })
            }
            Kind::Absent => seed
                .deserialize(AbsentDe)
                .map_err(|_error| Error::told(taken.node)),
            Kind::Named => seed.deserialize(NamedDe {
                name: taken.outer,
                value,
            }),
        };
        result.map_err(|error| error.or_at(taken.node))
    }
}
