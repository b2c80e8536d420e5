//! What a route matches beside header fields and the query: URI templates, cookies, certificates,
//! dynamic metadata.

use serde::{Deserialize, Serialize};

use crate::config::matcher::{StringMatcher, ValueMatcher};

/// `RouteMatch.path_match_policy`: an `envoy.config.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct PathMatchPolicy {
    /// Any name.
    pub name: String,
    /// The policy.
    #[serde(rename = "any:typed_config")]
    pub typed_config: PathMatchConfig,
}

/// The ways to match a path that there are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "any:path match policy")]
pub enum PathMatchConfig {
    /// By a URI template.
    #[serde(rename = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig")]
    UriTemplate(UriTemplateMatchConfig),
}

/// `envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig")]
pub struct UriTemplateMatchConfig {
    /// The template, such as `/users/{id}/**`.
    pub path_template: String,
}

/// `RouteAction.path_rewrite_policy`: an `envoy.config.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct PathRewritePolicy {
    /// Any name.
    pub name: String,
    /// The policy.
    #[serde(rename = "any:typed_config")]
    pub typed_config: PathRewriteConfig,
}

/// The ways to rewrite a path that there are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "any:path rewrite policy")]
pub enum PathRewriteConfig {
    /// By a URI template.
    #[serde(rename = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig")]
    UriTemplate(UriTemplateRewriteConfig),
}

/// `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig")]
pub struct UriTemplateRewriteConfig {
    /// What the path becomes, such as `/accounts/{id}`.
    pub path_template_rewrite: String,
}

/// `envoy.config.route.v3.RouteMatch.ConnectMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteMatch.ConnectMatcher")]
pub struct ConnectMatcher {}

/// `envoy.config.route.v3.RouteMatch.TlsContextMatchOptions`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteMatch.TlsContextMatchOptions")]
pub struct TlsContextMatchOptions {
    /// Whether the client sent a certificate; either by default.
    #[serde(default)]
    pub presented: Option<bool>,
    /// Whether that was checked and found good; either by default.
    #[serde(default)]
    pub validated: Option<bool>,
}

/// `envoy.config.route.v3.CookieMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.CookieMatcher")]
pub struct CookieMatcher {
    /// The name of the cookie.
    pub name: String,
    /// What its value must be.
    pub string_match: StringMatcher,
    /// Whether the result is inverted.
    #[serde(default)]
    pub invert_match: bool,
}

/// `envoy.type.matcher.v3.MetadataMatcher`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.MetadataMatcher")]
pub struct MetadataMatcher {
    /// The namespace.
    pub filter: String,
    /// The way to the value: one key, as filters leave text.
    pub path: Vec<MetadataPathSegment>,
    /// What the value must be.
    pub value: ValueMatcher,
    /// Whether the result is inverted; an absent value does not match, and so matches inverted.
    #[serde(default)]
    pub invert: bool,
}

/// `envoy.type.matcher.v3.MetadataMatcher.PathSegment`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.MetadataMatcher.PathSegment")]
pub struct MetadataPathSegment {
    /// The step.
    #[serde(rename = "oneof:segment")]
    pub segment: MetadataSegment,
}

/// `MetadataMatcher.PathSegment.segment`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataSegment {
    /// By its key.
    Key(String),
}

/// `envoy.type.matcher.v3.FilterStateMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.FilterStateMatcher")]
pub struct FilterStateMatcher {
    /// The key.
    pub key: String,
    /// What the value must be.
    #[serde(rename = "oneof:matcher")]
    pub matcher: FilterStateMatch,
}

/// `FilterStateMatcher.matcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterStateMatch {
    /// By its text.
    StringMatch(StringMatcher),
}
