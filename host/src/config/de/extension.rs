//! `Any`: a value whose type is named in the configuration.
//!
//! Owns finding the type: `@type`, a `TypedStruct` around it, or the name of a filter that has no
//! `typed_config`. Called for fields of the model that hold an enum named `any:`.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, Visitor};
use serde::forward_to_deserialize_any;

use crate::config::de::Session;
use crate::config::de::choice::Content;
use crate::config::de::error::Error;
use crate::config::de::value::{Form, ValueDe, shorten};
use crate::config::document::{Document, NodeId, Value};
use crate::config::schema;
use crate::nearest::nearest;

/// The prefix that type URLs have by convention.
const PREFIX: &str = "type.googleapis.com/";

/// Wrappers that carry another type's name and its fields.
const TYPED_STRUCTS: [&str; 2] = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];

/// Names that stand for a type where there is no `typed_config`.
const NAMES: &[(&str, &str)] = &[
    (
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy.router",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy.filters.http.local_ratelimit",
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    ),
    (
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    ),
    (
        "envoy.filters.http.cors",
        "envoy.extensions.filters.http.cors.v3.Cors",
    ),
    (
        "envoy.filters.http.grpc_http1_bridge",
        "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
    ),
    (
        "envoy.filters.http.csrf",
        "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    ),
    (
        "envoy.filters.http.grpc_web",
        "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    ),
    (
        "envoy.filters.http.stateful_session",
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
    ),
    (
        "envoy.filters.http.buffer",
        "envoy.extensions.filters.http.buffer.v3.Buffer",
    ),
    (
        "envoy.filters.http.health_check",
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    ),
    (
        "envoy.filters.http.fault",
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
    ),
    (
        "envoy.filters.http.grpc_stats",
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    ),
    (
        "envoy.filters.http.header_to_metadata",
        "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    ),
    (
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ),
    (
        "envoy.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ),
    (
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    ),
    (
        "envoy.filters.network.direct_response",
        "envoy.extensions.filters.network.direct_response.v3.Config",
    ),
    (
        "envoy.filters.network.echo",
        "envoy.extensions.filters.network.echo.v3.Echo",
    ),
    (
        "envoy.filters.network.connection_limit",
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    ),
    (
        "envoy.filters.network.local_ratelimit",
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    ),
    (
        "envoy.filters.listener.http_inspector",
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    ),
    (
        "envoy.filters.listener.original_dst",
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    ),
    (
        "envoy.filters.listener.proxy_protocol",
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    ),
    (
        "envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy.transport_sockets.raw_buffer",
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    ),
    (
        "envoy.cluster.dns",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
    ),
    (
        "envoy.cluster.original_dst",
        "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster",
    ),
    (
        "envoy.network.dns_resolver.cares",
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
    ),
    (
        "envoy.network.dns_resolver.getaddrinfo",
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
    ),
    (
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    ),
    (
        "envoy.access_loggers.stdout",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    ),
    (
        "envoy.access_loggers.stderr",
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    ),
];

/// Decodes an `Any` as the enum variant that is named after its type. `what` is what such a type
/// is, for people.
pub(super) fn any<'de, V: Visitor<'de>>(
    value: ValueDe<'_, '_>,
    what: &'static str,
    variants: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Error> {
    let session = value.session;
    let document = session.document;
    if !matches!(value.value(), Value::Map(_)) {
        return Err(value.expected("a mapping with '@type'"));
    }
    let nothing = AnyDe {
        variant: "",
        content: ValueDe {
            form: Form::Empty,
            ..value
        },
    };
    let may_be_empty = variants.contains(&"");
    if may_be_empty && document.entries(value.node).is_empty() {
        return visitor.visit_enum(nothing);
    }
    let type_of = |node: NodeId, field: &str| -> Result<(NodeId, &str), Error> {
        let entry = document
            .entry(node, field)
            .filter(|entry| !session.is_removed(entry.value));
        let Some(entry) = entry else {
            if document.entry(node, field).is_some() {
                return Err(Error::told(node));
            }
            let hint = format!(
                "write the type of the {what}, such as '{PREFIX}{}'",
                example(variants)
            );
            return Err(Error::at(node, format!("missing field '{field}'")).with_hint(Some(hint)));
        };
        let url = ValueDe::new(session, entry.value, Form::Plain)
            .string()
            .map_err(|error| error.or_at(entry.value))?;
        Ok((
            entry.value,
            url.rsplit_once('/').map_or(url, |(_, name)| name),
        ))
    };
    let (mut at, mut name) = type_of(value.node, "@type")?;
    let mut content = ValueDe {
        form: Form::Any,
        ..value
    };
    if TYPED_STRUCTS.contains(&name) {
        (at, name) = type_of(value.node, "type_url")?;
        content = match document.entry(value.node, "value") {
            Some(entry) => ValueDe::new(session, entry.value, Form::Any),
            None => ValueDe::new(session, value.node, Form::Empty),
        };
    }
    let Some(variant) = variants.iter().copied().find(|variant| *variant == name) else {
        let holder = document.parent(value.node);
        if may_be_empty && holder.is_some_and(|holder| is_optional(document, holder)) {
            pass_over(session, at, name);
            return visitor.visit_enum(nothing);
        }
        let (text, hint) = refuse(name, what, variants);
        session.report(at, text, hint);
        return Err(Error::told(value.node));
    };
    visitor.visit_enum(AnyDe { variant, content })
}

fn pass_over(session: &Session<'_>, at: NodeId, name: &str) {
    let text = format!(
        "'{}' is not supported, and passed over: it is optional",
        shorten(name)
    );
    session.warn_once(at, "optional", text);
}

/// Whether a message says `is_optional: true`.
fn is_optional(document: &Document, holder: NodeId) -> bool {
    let entry = document
        .entry(holder, "is_optional")
        .or_else(|| document.entry(holder, "isOptional"));
    entry.is_some_and(|entry| {
        matches!(document.value(entry.value), Value::Scalar { text, .. } if &**text == "true")
    })
}

fn example(variants: &[&'static str]) -> &'static str {
    variants.first().copied().unwrap_or_default()
}

/// Types that somebody may hope for, and what there is in their place.
const INSTEAD: &[(&str, &str)] = &[
    (
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        "modules of Proxy-Wasm do not run here: filters are components, of the type \
         'nuncio.filters.http.wasm.v1.Wasm'",
    ),
    (
        "envoy.extensions.filters.http.lua.v3.Lua",
        "filters of your own are components, of the type 'nuncio.filters.http.wasm.v1.Wasm'",
    ),
];

/// A hint that lists `variants`, those of Envoy's extensions by the one word that tells them apart.
fn supported(variants: &[&str]) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    for name in variants.iter().copied().filter(|name| !name.is_empty()) {
        let word = if name.starts_with("envoy.extensions.") {
            package(name)
        } else {
            name
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    (!words.is_empty()).then(|| format!("supported: {}", words.join(", ")))
}

/// What tells one of Envoy's types apart: the last word of its package, before the version.
fn package(name: &str) -> &str {
    name.rsplit('.').nth(2).unwrap_or(name)
}

/// The variant that a name is about which has its one word among its own.
fn named_in<'v>(name: &str, variants: &[&'v str]) -> Option<&'v str> {
    let has = |variant: &&str| {
        variant.starts_with("envoy.") && name.split('.').any(|word| word == package(variant))
    };
    variants.iter().copied().find(has)
}

/// What is most often the case where a type looks like one of Envoy's.
const CONTRIB: &str =
    "Envoy has it at most where it is built with its contrib extensions; nuncio has none of them";

/// The words for a type that is none of `variants`.
fn refuse(name: &str, what: &str, variants: &[&str]) -> (String, Option<String>) {
    let shown = shorten(name);
    if schema::names().any(|known| known == name) {
        let text = format!("not supported by nuncio: '{shown}' as {what}");
        let instead = INSTEAD.iter().find(|(of, _)| *of == name);
        let hint = instead.map(|(_, hint)| (*hint).to_owned());
        return (text, hint.or_else(|| supported(variants)));
    }
    // Long names have much in common that says nothing.
    let is_near = |near: &&str| nearest(package(name), [package(near)]).is_some();
    let near = nearest(name, variants.iter().copied()).filter(is_near);
    let near = near
        .or_else(|| named_in(name, variants))
        .or_else(|| nearest(name, schema::names()).filter(is_near));
    let hint = match near {
        Some(near) => Some(format!("did you mean '{PREFIX}{near}'?")),
        None if name.starts_with("envoy.") => Some(CONTRIB.to_owned()),
        None => supported(variants),
    };
    (format!("unknown type '{shown}'"), hint)
}

/// A type and the value that has its fields.
struct AnyDe<'s, 'd> {
    variant: &'static str,
    content: ValueDe<'s, 'd>,
}

impl<'de, 's, 'd> EnumAccess<'de> for AnyDe<'s, 'd> {
    type Error = Error;
    type Variant = Content<'s, 'd>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Error> {
        let variant: StrDeserializer<'_, Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, Content(self.content)))
    }
}

/// A filter without `typed_config`: what its name stands for, with all defaults.
pub(super) struct NamedDe<'s, 'd> {
    pub(super) name: NodeId,
    pub(super) value: ValueDe<'s, 'd>,
}

impl<'de> Deserializer<'de> for NamedDe<'_, '_> {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let what = name.trim_start_matches("any:");
        let ValueDe { session, node, .. } = self.value;
        let given = ValueDe::new(session, self.name, Form::Plain)
            .string()
            .map_err(|error| error.or_at(self.name))?;
        let Some((_, type_name)) = NAMES.iter().find(|(name, _)| *name == given) else {
            if variants.contains(&"") && is_optional(session.document, node) {
                pass_over(session, self.name, given);
                let content = ValueDe::new(session, node, Form::Empty);
                let variant = "";
                return visitor.visit_enum(AnyDe { variant, content });
            }
            let hint = match named_in(given, variants) {
                Some(variant) => Some(format!(
                    "its type is '{PREFIX}{variant}': write it as '@type' in 'typed_config'"
                )),
                None => nearest(given, NAMES.iter().map(|(name, _)| *name))
                    .map(|name| format!("did you mean '{name}'?")),
            };
            let text = format!(
                "missing field 'typed_config': no {what} is known by the name '{}'",
                shorten(given)
            );
            return Err(Error::at(node, text).with_hint(hint));
        };
        let Some(variant) = variants
            .iter()
            .copied()
            .find(|variant| variant == type_name)
        else {
            let (text, hint) = refuse(type_name, what, variants);
            return Err(Error::at(node, text).with_hint(hint));
        };
        let content = ValueDe::new(session, node, Form::Empty);
        visitor.visit_enum(AnyDe { variant, content })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
