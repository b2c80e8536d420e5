//! `envoy.filters.http.cors`, and the older form of its policies.

use serde::{Deserialize, Serialize};

use crate::config::matcher::StringMatcher;
use crate::config::scalar::RuntimeFractionalPercent;

/// `envoy.extensions.filters.http.cors.v3.Cors`: all is said at routes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.cors.v3.Cors")]
pub struct Cors {}

/// `envoy.extensions.filters.http.cors.v3.CorsPolicy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.cors.v3.CorsPolicy")]
pub struct CorsPolicy {
    /// Which origins are allowed: those that one of these matches.
    #[serde(default)]
    pub allow_origin_string_match: Vec<StringMatcher>,
    /// `access-control-allow-methods`.
    #[serde(default)]
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    #[serde(default)]
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    #[serde(default)]
    pub expose_headers: String,
    /// `access-control-max-age`.
    #[serde(default)]
    pub max_age: String,
    /// Whether credentials are allowed.
    #[serde(default)]
    pub allow_credentials: Option<bool>,
    /// For how many requests the policy is followed; for all by default.
    #[serde(default)]
    pub filter_enabled: Option<RuntimeFractionalPercent>,
    /// For how many of the others it is only counted; for none by default.
    #[serde(default)]
    pub shadow_enabled: Option<RuntimeFractionalPercent>,
    /// Whether a public site may reach this private one.
    #[serde(default)]
    pub allow_private_network_access: Option<bool>,
    /// Whether a preflight of an origin that is not allowed goes upstream; true by default.
    #[serde(default)]
    pub forward_not_matching_preflights: Option<bool>,
}

/// `envoy.config.route.v3.CorsPolicy`: the older form, in the field `cors` of a virtual host or
/// route. It counts where no `typed_per_filter_config` on the way to the route has a policy.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.CorsPolicy")]
pub struct OldCorsPolicy {
    /// As in [`CorsPolicy`], as all that follows.
    #[serde(default)]
    pub allow_origin_string_match: Vec<StringMatcher>,
    /// `access-control-allow-methods`.
    #[serde(default)]
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    #[serde(default)]
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    #[serde(default)]
    pub expose_headers: String,
    /// `access-control-max-age`.
    #[serde(default)]
    pub max_age: String,
    /// Whether credentials are allowed.
    #[serde(default)]
    pub allow_credentials: Option<bool>,
    /// For how many requests the policy is followed.
    #[serde(default, rename = "oneof:enabled_specifier")]
    pub enabled: Option<EnabledSpecifier>,
    /// For how many of the others it is only counted.
    #[serde(default)]
    pub shadow_enabled: Option<RuntimeFractionalPercent>,
    /// Whether a public site may reach this private one.
    #[serde(default)]
    pub allow_private_network_access: Option<bool>,
    /// Whether a preflight of an origin that is not allowed goes upstream.
    #[serde(default)]
    pub forward_not_matching_preflights: Option<bool>,
}

/// `CorsPolicy.enabled_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnabledSpecifier {
    /// So many.
    FilterEnabled(RuntimeFractionalPercent),
}
