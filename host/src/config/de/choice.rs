//! Enums: constants of Envoy's API, and oneofs.
//!
//! Owns finding the variant. Called for fields that hold a Rust enum.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::config::de::Session;
use crate::config::de::error::Error;
use crate::config::de::unsupported;
use crate::config::de::value::{ValueDe, shorten};
use crate::config::document::{NodeId, Value};
use crate::config::schema;
use crate::nearest::nearest;

/// A constant: its name in either case, or its number. Without `variants` every constant of the
/// enum is one, and the visitor gets its number.
pub(super) fn constant<'de, V: Visitor<'de>>(
    value: ValueDe<'_, '_>,
    name: &'static str,
    variants: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Error> {
    let by_number = variants.is_empty();
    let expected = || match by_number {
        true => "the number or name of an HTTP status".to_owned(),
        false => format!("one of {}", variants.join(", ")),
    };
    let Value::Scalar { text, .. } = value.value() else {
        return Err(value.expected(&expected()));
    };
    if let Some(variant) = variants.iter().find(|variant| **variant == &**text) {
        let variant: StrDeserializer<'_, Error> = (*variant).into_deserializer();
        return visitor.visit_enum(variant);
    }
    let number = text.parse::<i32>().ok();
    let known = schema::values(name)
        .find(|(name, value)| name.eq_ignore_ascii_case(text) || Some(*value) == number);
    if let (true, Some((_, number))) = (by_number, known) {
        return visitor.visit_u64(u64::try_from(number).unwrap_or_default());
    }
    let Some((found, _)) = known else {
        let hint =
            nearest(text, variants.iter().copied()).map(|name| format!("did you mean '{name}'?"));
        return Err(value.expected(&expected()).with_hint(hint));
    };
    let Some(variant) = variants.iter().find(|variant| **variant == found) else {
        let text = format!("not supported by nuncio: '{}'", shorten(found));
        let hint = format!("supported: {}", variants.join(", "));
        return Err(Error::at(value.node, text).with_hint(Some(hint)));
    };
    let variant: StrDeserializer<'_, Error> = (*variant).into_deserializer();
    visitor.visit_enum(variant)
}

/// The member of a oneof that is set, as an enum.
pub(super) struct OneofDe<'s, 'd> {
    pub(super) message: &'static str,
    pub(super) member: &'static str,
    pub(super) value: ValueDe<'s, 'd>,
}

impl<'de> Deserializer<'de> for OneofDe<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if variants.contains(&self.member) {
            return visitor.visit_enum(self);
        }
        let ValueDe { session, node, .. } = self.value;
        let (text, hint) = unsupported::field(self.message, self.member);
        session.report_key(node, text, hint);
        Err(Error::told(node))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A oneof of which no member is set.
pub(super) struct NoMemberDe<'s, 'd> {
    pub(super) session: &'s Session<'d>,
    pub(super) node: NodeId,
    /// The message and the field of the model.
    pub(super) field: (&'static str, &'static str),
    /// Whether that is a consequence of an error that was told.
    pub(super) told: bool,
}

impl<'de> Deserializer<'de> for NoMemberDe<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::told(self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        let text = || match variants {
            [only] => format!("missing field '{only}'"),
            _ => format!("missing one of {}", variants.join(", ")),
        };
        Err(self.session.miss(self.node, self.field, self.told, text))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de, 's, 'd> EnumAccess<'de> for OneofDe<'s, 'd> {
    type Error = Error;
    type Variant = Content<'s, 'd>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Error> {
        let member: StrDeserializer<'_, Error> = self.member.into_deserializer();
        Ok((seed.deserialize(member)?, Content(self.value)))
    }
}

/// The content of a variant: always one value.
pub(super) struct Content<'s, 'd>(pub(super) ValueDe<'s, 'd>);

impl<'de> VariantAccess<'de> for Content<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let node = self.0.node;
        seed.deserialize(self.0).map_err(|error| error.or_at(node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }
}
