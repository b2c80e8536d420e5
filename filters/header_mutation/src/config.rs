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
