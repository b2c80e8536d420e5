//! `envoy.filters.http.header_mutation`: sets, appends and removes headers and trailers of the request and
//! of the response, and parameters of the query, in the order in which the configuration lists the mutations.

mod config;
mod query;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use nuncio_filter_config::{AppendAction, Value, changeable_name};
use nuncio_sdk::{
    Exchange, FieldsMut, Filter, Flow, HeaderName, HostError, Interest, RequestHeaders,
    RequestTrailers, ResponseHeaders, ResponseTrailers, Result, RouteConfig, RouteLevel, Setup,
};

pub use config::{
    Config, Mutation, Mutations, QueryAction, QueryAppend, QueryMutation, Record, RouteMutations,
};
use query::Change;

/// The filter.
#[derive(Debug)]
pub struct HeaderMutation {
    request: Vec<Step>,
    response: Vec<Step>,
    query: Vec<Change>,
    request_trailers: Vec<Step>,
    response_trailers: Vec<Step>,
    path: HeaderName,
    most_specific_wins: bool,
}

/// One mutation, looked up.
#[derive(Clone, Debug)]
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
        let mut filter = Self {
            request: Vec::new(),
            response: Vec::new(),
            query: Vec::new(),
            request_trailers: Vec::new(),
            response_trailers: Vec::new(),
            path: setup.header_name(":path")?,
            most_specific_wins: config.most_specific_header_mutations_wins,
        };
        filter.add(config.mutations, setup)?;
        Ok(filter)
    }

    /// All that is written on the way to the route comes on top; what comes last wins.
    fn configure_route(&self, config: &RouteConfig<'_>, setup: &mut Setup) -> Result<Self> {
        let mut filter = Self {
            request: self.request.clone(),
            response: self.response.clone(),
            query: self.query.clone(),
            request_trailers: self.request_trailers.clone(),
            response_trailers: self.response_trailers.clone(),
            path: self.path,
            most_specific_wins: self.most_specific_wins,
        };
        let mut levels: Vec<&RouteLevel> = config.levels().iter().collect();
        if !self.most_specific_wins {
            levels.reverse();
        }
        for level in levels {
            filter.add(level.read::<RouteMutations>()?.mutations, setup)?;
        }
        Ok(filter)
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::new();
        if !self.request.is_empty() || !self.query.is_empty() {
            interest = interest.request_headers();
        }
        if !self.response.is_empty() {
            interest = interest.response_headers();
        }
        if !self.request_trailers.is_empty() {
            interest = interest.request_trailers();
        }
        if !self.response_trailers.is_empty() {
            interest = interest.response_trailers();
        }
        interest
    }

    fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        for step in &self.request {
            let value = step.value(cx);
            step.apply(&value, &mut cx.request_mut())?;
        }
        if !self.query.is_empty()
            && let Some(target) = cx.request().get(self.path)
        {
            let changed = query::changed(&target, &self.query, cx);
            cx.request_mut().set(self.path, changed)?;
        }
        Ok(Flow::Next)
    }

    fn on_request_trailers(&self, _: &mut (), cx: &mut RequestTrailers<'_>) -> Result<Flow> {
        for step in &self.request_trailers {
            let value = step.value(cx);
            step.apply(&value, &mut cx.trailers_mut())?;
        }
        Ok(Flow::Next)
    }

    fn on_response_trailers(&self, _: &mut (), cx: &mut ResponseTrailers<'_>) -> Result<()> {
        for step in &self.response_trailers {
            let value = step.value(cx);
            step.apply(&value, &mut cx.trailers_mut())?;
        }
        Ok(())
    }

    fn on_response_headers(&self, _: &mut (), cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        for step in &self.response {
            let value = step.value(cx);
            step.apply(&value, &mut cx.response_mut())?;
        }
        Ok(Flow::Next)
    }
}

impl HeaderMutation {
    fn add(&mut self, mutations: Mutations, setup: &mut Setup) -> Result<()> {
        for mutation in mutations.request_mutations {
            self.request.push(Step::look_up(mutation, setup)?);
        }
        for mutation in mutations.response_mutations {
            self.response.push(Step::look_up(mutation, setup)?);
        }
        for mutation in mutations.query_parameter_mutations {
            self.query.push(Change::look_up(mutation, setup)?);
        }
        for mutation in mutations.request_trailers_mutations {
            self.request_trailers.push(Step::look_up(mutation, setup)?);
        }
        for mutation in mutations.response_trailers_mutations {
            self.response_trailers.push(Step::look_up(mutation, setup)?);
        }
        Ok(())
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
