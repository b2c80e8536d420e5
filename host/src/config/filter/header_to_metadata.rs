//! `envoy.filters.http.header_to_metadata`. Metadata are kept as texts, so types that are more are not there.

use serde::{Deserialize, Serialize};

use crate::config::matcher::RegexMatchAndSubstitute;

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config")]
pub struct HeaderToMetadata {
    /// For requests.
    #[serde(default)]
    pub request_rules: Vec<MetadataRule>,
    /// For responses.
    #[serde(default)]
    pub response_rules: Vec<MetadataRule>,
}

/// `Config.Rule`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule")]
pub struct MetadataRule {
    /// The name of the field; or that of a cookie.
    #[serde(default)]
    pub header: String,
    /// The name of the cookie.
    #[serde(default)]
    pub cookie: String,
    /// What is left where there is a value.
    #[serde(default)]
    pub on_header_present: Option<MetadataEntry>,
    /// What is left where there is none.
    #[serde(default)]
    pub on_header_missing: Option<MetadataEntry>,
    /// Whether the field is taken out.
    #[serde(default)]
    pub remove: bool,
}

/// `Config.KeyValuePair`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair")]
pub struct MetadataEntry {
    /// The namespace; the filter's name by default.
    #[serde(default)]
    pub metadata_namespace: String,
    /// The key.
    pub key: String,
    /// The value; that of the field by default.
    #[serde(default)]
    pub value: String,
    /// What is replaced of it; not beside `value`.
    #[serde(default)]
    pub regex_value_rewrite: Option<RegexMatchAndSubstitute>,
    /// What the value is.
    #[serde(default)]
    pub r#type: MetadataType,
    /// What has to be undone to get the value.
    #[serde(default)]
    pub encode: MetadataEncoding,
}

/// `Config.ValueType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum MetadataType {
    /// A text.
    #[default]
    String,
    /// A number; a value that is none is not left.
    Number,
}

/// `Config.ValueEncode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueEncode",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum MetadataEncoding {
    /// Nothing.
    #[default]
    None,
    /// Base64.
    #[serde(rename = "BASE64")]
    Base64,
}
