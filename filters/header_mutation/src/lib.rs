//! `envoy.filters.http.header_mutation`: sets, appends and removes headers of the request and of the
//! response, in the order in which the configuration lists the mutations.

mod config;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use nuncio_filter_config::{AppendAction, Value, changeable_name};
use nuncio_sdk::{
    Exchange, FieldsMut, Filter, Flow, HeaderName, HostError, Interest, RequestHeaders,
    ResponseHeaders, Result, Setup,
};

pub use config::{Config, Mutation, Mutations};

/// The filter.
#[derive(Debug)]
pub struct HeaderMutation {
    request: Vec<Step>,
    response: Vec<Step>,
}

/// One mutation, looked up.
#[derive(Debug)]
enum Step {
    Remove(HeaderName),
    Append {
        name: HeaderName,
        value: Value,
        action: AppendAction,
        keep_empty: bool,
    },
}

impl Filter for HeaderMutation {
    type Config = Config;
    type Stream = ();

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut steps = |mutations: Vec<Mutation>| -> Result<Vec<Step>> {
            mutations
                .into_iter()
                .map(|mutation| Step::look_up(mutation, setup))
                .collect()
        };
        Ok(Self {
            request: steps(config.mutations.request_mutations)?,
            response: steps(config.mutations.response_mutations)?,
        })
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::new();
        if !self.request.is_empty() {
            interest = interest.request_headers();
        }
        if !self.response.is_empty() {
            interest = interest.response_headers();
        }
        interest
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        for step in &self.request {
            let value = step.value(cx);
            step.apply(&value, &mut cx.request_mut())?;
        }
        Ok(Flow::Next)
    }

    fn on_response_headers(&self, _: &mut (), cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        for step in &self.response {
            let value = step.value(cx);
            step.apply(&value, &mut cx.response_mut())?;
        }
        Ok(Flow::Next)
    }
}

impl Step {
    fn look_up(mutation: Mutation, setup: &mut Setup) -> Result<Self> {
        Ok(match mutation {
            Mutation::Remove(name) => Self::Remove(changeable_name(&name, setup)?),
            Mutation::Append(option) => Self::Append {
                name: changeable_name(&option.header.key, setup)?,
                value: Value::compile(&option.header.value, setup)?,
                action: option.append_action,
                keep_empty: option.keep_empty_value,
            },
        })
    }

    fn value(&self, exchange: &Exchange<'_>) -> Cow<'_, [u8]> {
        match self {
            Self::Remove(_) => Cow::Borrowed(&[]),
            Self::Append { value, .. } => value.render(exchange),
        }
    }

    fn apply(&self, value: &[u8], fields: &mut FieldsMut<'_>) -> Result<(), HostError> {
        let (name, action) = match *self {
            Self::Remove(name) => return fields.remove(name),
            Self::Append {
                keep_empty: false, ..
            } if value.is_empty() => return Ok(()),
            Self::Append { name, action, .. } => (name, action),
        };
        match action {
            AppendAction::AppendIfExistsOrAdd => {}
            AppendAction::AddIfAbsent if fields.contains(name) => return Ok(()),
            AppendAction::AddIfAbsent => {}
            AppendAction::OverwriteIfExists if !fields.contains(name) => return Ok(()),
            // Not `set`: Envoy puts a field that it overwrites behind the others.
            AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd => {
                fields.remove(name)?;
            }
        }
        fields.append(name, value)
    }
}

nuncio_sdk::export_filter!(HeaderMutation);
