//! What the choice among a cluster's endpoints goes by: `RouteAction.HashPolicy`.

use serde::{Deserialize, Serialize};

use crate::config::matcher::RegexMatchAndSubstitute;
use crate::config::scalar::Duration;

/// `envoy.config.route.v3.RouteAction.HashPolicy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy")]
pub struct HashPolicy {
    /// What is hashed.
    #[serde(rename = "oneof:policy_specifier")]
    pub specifier: HashPolicySpecifier,
    /// Whether later policies do not count when this one or an earlier one has a hash.
    #[serde(default)]
    pub terminal: bool,
}

/// `HashPolicy.policy_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashPolicySpecifier {
    /// A field of the request.
    Header(HeaderHash),
    /// A cookie.
    Cookie(Cookie),
    /// Facts of the connection.
    ConnectionProperties(ConnectionProperties),
    /// A parameter of the query.
    QueryParameter(QueryParameterHash),
    /// What a filter left as the filter state.
    FilterState(FilterStateHash),
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.Header`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy.Header")]
pub struct HeaderHash {
    /// The name of the field.
    pub header_name: String,
    /// What is replaced in its value before it is hashed.
    #[serde(default)]
    pub regex_rewrite: Option<RegexMatchAndSubstitute>,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.Cookie`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy.Cookie")]
pub struct Cookie {
    /// The name of the cookie.
    pub name: String,
    /// Where it is set, a client without the cookie gets one that lasts so long; 0 is as long as
    /// the client runs.
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// The path of a cookie that is made; none by default.
    #[serde(default)]
    pub path: String,
    /// Attributes of a cookie that is made.
    #[serde(default)]
    pub attributes: Vec<CookieAttribute>,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute")]
pub struct CookieAttribute {
    /// The name.
    pub name: String,
    /// The value; without one the name stands alone.
    #[serde(default)]
    pub value: String,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties")]
pub struct ConnectionProperties {
    /// Whether the client's address is hashed.
    #[serde(default)]
    pub source_ip: bool,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter")]
pub struct QueryParameterHash {
    /// The name of the parameter.
    pub name: String,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.FilterState`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteAction.HashPolicy.FilterState")]
pub struct FilterStateHash {
    /// The key.
    pub key: String,
}
