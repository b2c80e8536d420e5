//! Values of the configuration's own metadata (`%METADATA(ROUTE:…)%` and its like).
//!
//! Owns whose metadata can be asked for, and how a value is written: as it is where it is a text, else
//! as JSON. Called by `format::value` and, where a JSON log shows it, by `format::template`.

use serde_json::{Map, Value};

use super::json;
use crate::exchange::Exchange;
use crate::metadata::StaticMetadata;

/// Whose metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Route,
    VirtualHost,
    Cluster,
    Endpoint,
    Listener,
    FilterChain,
}

/// What is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// One value, by the names that lead to it.
    At(Box<[Box<str>]>),
    /// All, for filters.
    Whole,
}

impl Part {
    fn of(self, exchange: &Exchange) -> Option<&StaticMetadata> {
        let (connection, upstream) = (&exchange.connection, &exchange.upstream);
        match self {
            Self::Route => exchange.route_metadata.as_deref(),
            Self::VirtualHost => exchange.virtual_host_metadata.as_deref(),
            Self::Cluster => upstream.cluster_metadata.as_deref(),
            Self::Endpoint => upstream.host_metadata.as_deref(),
            Self::Listener => connection.listener_metadata.as_deref(),
            Self::FilterChain => connection.filter_chain_metadata.as_deref(),
        }
    }
}

impl Extent {
    /// By names with colons between them.
    pub(super) fn at(path: &str) -> Self {
        Self::At(path.split(':').map(Box::from).collect())
    }
}

/// Appends the value as text; false, with nothing appended, where there is none.
pub(super) fn write(exchange: &Exchange, part: Part, extent: &Extent, out: &mut Vec<u8>) -> bool {
    let Some(metadata) = part.of(exchange) else {
        return false;
    };
    match extent {
        Extent::Whole => push_object(out, metadata.spaces()),
        Extent::At(path) => match metadata.find(path) {
            None => return false,
            Some(Value::String(text)) => out.extend_from_slice(text.as_bytes()),
            Some(value) => push(out, value),
        },
    }
    true
}

/// The same as JSON. As in Envoy only a text is cut at `limit`.
pub(super) fn write_json(
    exchange: &Exchange,
    part: Part,
    extent: &Extent,
    limit: Option<usize>,
    out: &mut Vec<u8>,
) -> bool {
    let Extent::At(path) = extent else {
        return write(exchange, part, extent, out);
    };
    match part.of(exchange).and_then(|metadata| metadata.find(path)) {
        None => return false,
        Some(Value::String(text)) => {
            let shown = limit.map_or(text.len(), |limit| limit.min(text.len()));
            json::push_quoted(out, text.as_bytes().get(..shown).unwrap_or_default());
        }
        Some(value) => push(out, value),
    }
    true
}

fn push(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Number(number) => json::push_f64(out, number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => json::push_quoted(out, text.as_bytes()),
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push(out, value);
            }
            out.push(b']');
        }
        Value::Object(fields) => push_object(out, fields),
    }
}

fn push_object(out: &mut Vec<u8>, fields: &Map<String, Value>) {
    out.push(b'{');
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::push_quoted(out, name.as_bytes());
        out.push(b':');
        push(out, value);
    }
    out.push(b'}');
}
