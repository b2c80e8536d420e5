//! Parameters of a query, and how they are changed.
//!
//! As in Envoy a query that is changed is sorted by the names of its parameters. What nobody changes stays
//! as it was written: what is decoded could be more than one parameter.

use std::borrow::Cow;

use nuncio_filter_config::Value;
use nuncio_sdk::{Exchange, Result, Setup};

use crate::config::{QueryAction, QueryMutation};
use nuncio_sdk::Error;

/// A change, looked up.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Remove(Vec<u8>),
    Append {
        name: Vec<u8>,
        value: Value,
        action: QueryAction,
    },
}

impl Change {
    pub(crate) fn look_up(mutation: QueryMutation, setup: &mut Setup) -> Result<Self> {
        let QueryMutation { append, remove } = mutation;
        let Some(append) = append else {
            if remove.is_empty() {
                let message = "a change of a query has one of `append` and `remove`";
                return Err(Error::msg(message));
            }
            return Ok(Self::Remove(remove.into_bytes()));
        };
        let record = append.record;
        Ok(Self::Append {
            name: record.key.into_bytes(),
            value: Value::compile(&record.value, setup)?,
            action: append.action,
        })
    }

    fn value(&self, exchange: &Exchange<'_>) -> Cow<'_, [u8]> {
        match self {
            Self::Remove(_) => Cow::Borrowed(&[]),
            Self::Append { value, .. } => value.render(exchange),
        }
    }
}

/// A parameter: its name, decoded, and how it is written.
type Parameter<'q> = (Cow<'q, [u8]>, Cow<'q, [u8]>);

/// The target with its query changed.
pub(crate) fn changed(target: &[u8], changes: &[Change], exchange: &Exchange<'_>) -> Vec<u8> {
    let (path, query) = cut(target, b'?').unwrap_or((target, &[]));
    let mut parameters = read(query);
    for change in changes {
        apply(change, &change.value(exchange), &mut parameters);
    }
    parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut out = path.to_vec();
    for (index, (_, written)) in parameters.iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(written);
    }
    out
}

fn read(query: &[u8]) -> Vec<Parameter<'_>> {
    let query = query.strip_suffix(b"&").unwrap_or(query);
    if query.is_empty() {
        return Vec::new();
    }
    let parameters = query.split(|byte| *byte == b'&');
    let parameters = parameters.map(|written| match cut(written, b'=') {
        Some((name, _)) => (decoded(name), Cow::Borrowed(written)),
        None => (decoded(written), Cow::Owned([written, b"="].concat())),
    });
    parameters.collect()
}

/// What stands before the first of these bytes, and behind it.
fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == at)?;
    let (before, rest) = text.split_at_checked(end)?;
    Some((before, rest.get(1..)?))
}

fn apply(change: &Change, value: &[u8], parameters: &mut Vec<Parameter<'_>>) {
    let (name, action) = match change {
        Change::Remove(name) => {
            parameters.retain(|(other, _)| **other != **name);
            return;
        }
        Change::Append { name, action, .. } => (name, *action),
    };
    let is_there = parameters.iter().any(|(other, _)| **other == **name);
    match action {
        QueryAction::AddIfAbsent if is_there => return,
        QueryAction::OverwriteIfExists if !is_there => return,
        QueryAction::OverwriteIfExists | QueryAction::OverwriteIfExistsOrAdd => {
            parameters.retain(|(other, _)| **other != **name);
        }
        QueryAction::AppendIfExistsOrAdd | QueryAction::AddIfAbsent => {}
    }
    let mut written = Vec::new();
    encode(name, &mut written);
    written.push(b'=');
    encode(value, &mut written);
    parameters.push((Cow::Owned(name.clone()), Cow::Owned(written)));
}

/// Percent-encodes all that is not unreserved (RFC 3986 §2.3).
fn encode(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// Decodes `%41`; what is no such thing stays.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, behind @ ..]) = (*first, tail)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push(high << 4 | low);
            rest = behind;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(out)
}
