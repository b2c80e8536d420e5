//! `envoy.extensions.filters.http.header_to_metadata.v3.Config`.

use nuncio_filter_config::RegexMatcher;
use serde::Deserialize;

/// The message; it is the one for routes as well.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(rename = "@type")]
    _type: Option<String>,
    /// For requests.
    pub request_rules: Vec<Rule>,
    /// For responses.
    pub response_rules: Vec<Rule>,
}

/// `Config.Rule`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The name of the field; or that of a cookie.
    pub header: String,
    /// The name of the cookie.
    pub cookie: String,
    /// What is left where there is a value.
    pub on_header_present: Option<KeyValuePair>,
    /// What is left where there is none.
    pub on_header_missing: Option<KeyValuePair>,
    /// Whether the field is taken out.
    pub remove: bool,
}

/// `Config.KeyValuePair`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValuePair {
    /// The namespace; the filter's name where it is empty.
    #[serde(default)]
    pub metadata_namespace: String,
    /// The key.
    pub key: String,
    /// The value; that of the field where it is empty.
    #[serde(default)]
    pub value: String,
    /// What is replaced of it, where `value` is empty.
    #[serde(default)]
    pub regex_value_rewrite: Option<Rewrite>,
    /// What a value is; the proxy keeps it as a text.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// What is done to it: nothing, or it is base64.
    #[serde(default)]
    pub encode: Option<String>,
}

/// `RegexMatchAndSubstitute`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// What is replaced.
    pub pattern: RegexMatcher,
    /// By what.
    #[serde(default)]
    pub substitution: String,
}
