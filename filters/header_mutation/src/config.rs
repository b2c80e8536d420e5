//! `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.

use nuncio_filter_config::HeaderValueOption;
use serde::Deserialize;

/// The message.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// What to change.
    #[serde(default)]
    pub mutations: Mutations,
    /// Whether what is written at routes comes after what is written further out.
    #[serde(default)]
    pub most_specific_header_mutations_wins: bool,
}

/// `HeaderMutationPerRoute`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteMutations {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// What to change.
    #[serde(default)]
    pub mutations: Mutations,
}

/// `Mutations`. Each list is applied in order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutations {
    /// To the headers of the request.
    #[serde(default)]
    pub request_mutations: Vec<Mutation>,
    /// To the headers of the response.
    #[serde(default)]
    pub response_mutations: Vec<Mutation>,
    /// To the parameters of the query.
    #[serde(default)]
    pub query_parameter_mutations: Vec<QueryMutation>,
    /// To the trailers of the request, where it has any.
    #[serde(default)]
    pub request_trailers_mutations: Vec<Mutation>,
    /// To the trailers of the response, where it has any.
    #[serde(default)]
    pub response_trailers_mutations: Vec<Mutation>,
}

/// `envoy.config.core.v3.KeyValueMutation`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryMutation {
    /// Adds a parameter.
    #[serde(default)]
    pub append: Option<QueryAppend>,
    /// Takes all parameters of that name out.
    #[serde(default)]
    pub remove: String,
}

/// `envoy.config.core.v3.KeyValueAppend`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryAppend {
    /// The parameter.
    pub record: Record,
    /// What happens where there is one.
    #[serde(default)]
    pub action: QueryAction,
}

/// `envoy.config.core.v3.KeyValuePair`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The name.
    pub key: String,
    /// The value: a format.
    #[serde(default)]
    pub value: String,
}

/// `KeyValueAppend.KeyValueAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QueryAction {
    /// Add another one.
    #[default]
    AppendIfExistsOrAdd,
    /// Add it unless there is one.
    AddIfAbsent,
    /// Replace all of them, or add it.
    OverwriteIfExistsOrAdd,
    /// Replace all of them, or do nothing.
    OverwriteIfExists,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// Takes all fields of that name out.
    Remove(String),
    /// Adds a field, as its `append_action` says.
    Append(HeaderValueOption),
}
