//! One value of the tree as a `serde` deserializer.
//!
//! Owns reading scalars as the type that is asked for, and lists. Messages are in
//! [`fields`](super::fields), enums in [`choice`](super::choice), `Any` in
//! [`extension`](super::extension).

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::config::de::Session;
use crate::config::de::error::Error;
use crate::config::de::{choice, extension, fields};
use crate::config::document::{Entry, NodeId, Value};
use crate::config::lexical::{self, Number, Word};
use crate::config::scalar::{DURATION, STRUCT};

/// In which way a node is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// The content of an `Any`: `@type` is not a field.
    Any,
    /// As a message without fields, whatever the node has.
    Empty,
    /// A value of a `google.protobuf.Struct`, whose words read as Envoy reads them.
    Struct,
}

#[derive(Clone, Copy)]
pub(super) struct ValueDe<'s, 'd> {
    pub(super) session: &'s Session<'d>,
    pub(super) node: NodeId,
    pub(super) form: Form,
}

impl<'s, 'd> ValueDe<'s, 'd> {
    pub(super) const fn new(session: &'s Session<'d>, node: NodeId, form: Form) -> Self {
        Self {
            session,
            node,
            form,
        }
    }

    pub(super) fn value(self) -> &'d Value {
        self.session.document.value(self.node)
    }

    pub(super) fn entries(self) -> &'d [Entry] {
        match self.form {
            Form::Plain | Form::Any | Form::Struct => self.session.document.entries(self.node),
            Form::Empty => &[],
        }
    }

    /// How what is inside of it is looked at.
    fn nested(self) -> Form {
        match self.form {
            Form::Struct => Form::Struct,
            Form::Plain | Form::Any | Form::Empty => Form::Plain,
        }
    }

    /// An error that says what was expected and what is there.
    pub(super) fn expected(self, expected: &str) -> Error {
        let found = describe(self.value());
        Error::at(self.node, format!("expected {expected}, found {found}"))
    }

    fn scalar(self, expected: &str) -> Result<(&'d str, bool), Error> {
        match self.value() {
            Value::Scalar { text, quoted } => Ok((text, *quoted)),
            Value::Null | Value::List(_) | Value::Map(_) => Err(self.expected(expected)),
        }
    }

    fn integer(self, least: i128, most: i128) -> Result<i128, Error> {
        let expected = || match least == i64::MIN.into() || most == u64::MAX.into() {
            true => "a whole number".to_owned(),
            false => format!("a whole number from {least} to {most}"),
        };
        let Ok((text, _)) = self.scalar("") else {
            return Err(self.expected(&expected()));
        };
        let value = lexical::number(text).and_then(Number::as_integer);
        if let Some(value) = value.filter(|value| (least..=most).contains(value)) {
            return Ok(value);
        }
        let octal = lexical::is_octal(text)
            .then(|| "a number cannot begin with 0: Envoy would read it as octal".to_owned());
        Err(self.expected(&expected()).with_hint(octal))
    }

    fn float(self) -> Result<f64, Error> {
        let expected = "a number";
        let (text, _) = self.scalar(expected)?;
        lexical::number(text)
            .map(Number::as_f64)
            .ok_or_else(|| self.expected(expected))
    }

    /// A word that YAML would not read as anything else, or a quoted one.
    pub(super) fn string(self) -> Result<&'d str, Error> {
        let (text, quoted) = self.scalar("a string")?;
        let other = !quoted
            && (lexical::is_plain_boolean(text)
                || matches!(lexical::number(text), Some(Number::Integer(_))));
        if other {
            let hint = format!("write \"{text}\" in quotes");
            return Err(self.expected("a string").with_hint(Some(hint)));
        }
        Ok(text)
    }

    /// The elements of a list; a single value stands for a list of one, as in Envoy.
    fn elements(self) -> Result<Elements<'s, 'd>, Error> {
        let items = match self.value() {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            Value::Scalar { .. } | Value::Map(_) => {
                let session = self.session;
                return Ok(Elements {
                    session,
                    form: self.nested(),
                    single: Some(self.node),
                    rest: [].iter(),
                });
            }
        };
        Ok(Elements {
            session: self.session,
            form: self.nested(),
            single: None,
            rest: items.iter(),
        })
    }
}

/// What a value is, for people.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Scalar { text, quoted } => {
            let shown = shorten(text);
            if !quoted && lexical::is_plain_boolean(text) {
                format!("the boolean {shown}")
            } else if !quoted && lexical::number(text).is_some() {
                format!("the number {shown}")
            } else {
                format!("'{shown}'")
            }
        }
    }
}

/// Text of a configuration, cut for a message.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    line.chars().take(SHOWN).chain("…".chars()).collect()
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let value = self.integer($type::MIN.into(), $type::MAX.into())?;
            match $type::try_from(value) {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(self.expected("a whole number")),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDe<'_, '_> {
    type Error = Error;

    integers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let is_json = || self.session.document.is_json(self.node);
        match self.value() {
            Value::Null => visitor.visit_unit(),
            Value::List(_) => visitor.visit_seq(self.elements()?),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar { text, quoted: true } => visitor.visit_str(text),
            Value::Scalar { text, .. } if self.form == Form::Struct && !is_json() => {
                match lexical::word(text) {
                    Word::Boolean(value) => visitor.visit_bool(value),
                    Word::Integer(number) => visitor.visit_i64(number.into()),
                    Word::LargeInteger(number) => visitor.visit_string(number.to_string()),
                    Word::Text(text) => visitor.visit_str(text),
                }
            }
            Value::Scalar {
                text,
                quoted: false,
            } => match (&**text, lexical::number(text)) {
                ("true", _) => visitor.visit_bool(true),
                ("false", _) => visitor.visit_bool(false),
                (_, Some(Number::Integer(number))) => {
                    match (number.try_into(), number.try_into()) {
                        (Ok(number), _) => visitor.visit_u64(number),
                        (_, Ok(number)) => visitor.visit_i64(number),
                        _ => visitor.visit_f64(Number::Integer(number).as_f64()),
                    }
                }
                (_, Some(Number::Float(number))) => visitor.visit_f64(number),
                (text, None) => visitor.visit_str(text),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let expected = "'true' or 'false'";
        let (text, quoted) = self.scalar(expected)?;
        match lexical::boolean(text, quoted) {
            Some(value) => visitor.visit_bool(value),
            None => Err(self.expected(expected)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.string()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value() {
            Value::Null if self.form == Form::Plain => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let form = if name == STRUCT {
            Form::Struct
        } else {
            self.form
        };
        visitor.visit_newtype_struct(Self { form, ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.elements()?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value() {
            Value::Map(entries) => visitor.visit_map(FreeForm {
                session: self.session,
                form: self.nested(),
                entries: entries.iter(),
                value: None,
            }),
            Value::Null | Value::Scalar { .. } | Value::List(_) => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value() {
            Value::Scalar { .. } if name == DURATION => self.deserialize_any(visitor),
            _ => fields::message(self, name, fields, visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name.strip_prefix("any:") {
            Some(what) => extension::any(self, what, variants, visitor),
            None => choice::constant(self, name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Elements<'s, 'd> {
    session: &'s Session<'d>,
    form: Form,
    single: Option<NodeId>,
    rest: std::slice::Iter<'d, NodeId>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let mut nodes = self
            .single
            .take()
            .into_iter()
            .chain(self.rest.by_ref().copied());
        let Some(node) = nodes.find(|node| !self.session.is_removed(*node)) else {
            return Ok(None);
        };
        let element = ValueDe::new(self.session, node, self.form);
        seed.deserialize(element)
            .map(Some)
            .map_err(|error| error.or_at(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len() + usize::from(self.single.is_some()))
    }
}

/// A mapping whose keys are not names of fields.
struct FreeForm<'s, 'd> {
    session: &'s Session<'d>,
    form: Form,
    entries: std::slice::Iter<'d, Entry>,
    value: Option<NodeId>,
}

impl<'de> MapAccess<'de> for FreeForm<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let session = self.session;
        let Some(entry) = self.entries.find(|entry| !session.is_removed(entry.value)) else {
            return Ok(None);
        };
        self.value = Some(entry.value);
        let key: StrDeserializer<'_, Error> = (&*entry.key).into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.or_at(entry.value))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(node) = self.value.take() else {
            return Err(serde::de::Error::custom("a value without a key"));
        };
        let value = ValueDe::new(self.session, node, self.form);
        seed.deserialize(value).map_err(|error| error.or_at(node))
    }
}
