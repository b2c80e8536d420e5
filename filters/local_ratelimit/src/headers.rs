//! Lists of headers to add, applied as Envoy applies them: first all that overwrite, then all that
//! append, each judged against the headers as they were before.

use std::borrow::Cow;

use nuncio_filter_config::{AppendAction, HeaderValueOption, Value, changeable_name};
use nuncio_sdk::{Exchange, HeaderName, HostError, RequestHeaders, Result, Setup};

/// A list of headers to add.
#[derive(Debug, Default)]
pub(crate) struct HeadersToAdd {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Vec<u8>,
    name: HeaderName,
    value: Value,
    action: AppendAction,
    keep_empty: bool,
}

impl HeadersToAdd {
    pub(crate) fn look_up(options: Vec<HeaderValueOption>, setup: &mut Setup) -> Result<Self> {
        let entry = |option: HeaderValueOption| {
            Ok(Entry {
                key: option.header.key.to_ascii_lowercase().into_bytes(),
                name: changeable_name(&option.header.key, setup)?,
                value: Value::compile(&option.header.value, setup)?,
                action: option.append_action,
                keep_empty: option.keep_empty_value,
            })
        };
        Ok(Self {
            entries: options.into_iter().map(entry).collect::<Result<_>>()?,
        })
    }

    /// The headers for a response that has none of its own yet.
    pub(crate) fn for_reply(&self, exchange: &Exchange<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut overwritten, mut added) = (Vec::new(), Vec::new());
        for (entry, value) in self.with_values(exchange) {
            let field = (entry.key.clone(), value.into_owned());
            match entry.action {
                AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => added.push(field),
                AppendAction::OverwriteIfExists => {}
                AppendAction::OverwriteIfExistsOrAdd => {
                    overwritten.retain(|(key, _)| *key != field.0);
                    overwritten.push(field);
                }
            }
        }
        overwritten.append(&mut added);
        overwritten
    }

    /// Adds them to the request.
    pub(crate) fn add_to_request(&self, cx: &mut RequestHeaders<'_>) -> Result<(), HostError> {
        let (mut overwritten, mut added) = (Vec::new(), Vec::new());
        for (entry, value) in self.with_values(cx) {
            let wanted = match entry.action {
                AppendAction::AppendIfExistsOrAdd | AppendAction::OverwriteIfExistsOrAdd => true,
                AppendAction::AddIfAbsent => !cx.request().contains(entry.name),
                AppendAction::OverwriteIfExists => cx.request().contains(entry.name),
            };
            match entry.action {
                _ if !wanted => {}
                AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => {
                    added.push((entry.name, value));
                }
                AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd => {
                    overwritten.push((entry.name, value));
                }
            }
        }
        let mut request = cx.request_mut();
        for (name, value) in overwritten {
            request.remove(name)?;
            request.append(name, value)?;
        }
        for (name, value) in added {
            request.append(name, value)?;
        }
        Ok(())
    }

    /// The entries that have a value, or keep an empty one.
    fn with_values<'s>(
        &'s self,
        exchange: &Exchange<'_>,
    ) -> impl Iterator<Item = (&'s Entry, Cow<'s, [u8]>)> {
        self.entries
            .iter()
            .map(|entry| (entry, entry.value.render(exchange)))
            .filter(|(entry, value)| entry.keep_empty || !value.is_empty())
    }
}
