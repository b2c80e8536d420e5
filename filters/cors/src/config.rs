//! `envoy.extensions.filters.http.cors.v3.CorsPolicy`, and `envoy.config.route.v3.CorsPolicy`, its
//! older form with the same fields.

use nuncio_filter_config::{RuntimeFraction, StringMatcher};
use serde::Deserialize;

/// `Cors`: everything is said at virtual hosts and routes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
}

/// `CorsPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The type URL, which the older form has.
    #[serde(rename = "@type")]
    pub type_url: Option<String>,
    /// The origins that are allowed.
    pub allow_origin_string_match: Vec<StringMatcher>,
    /// `access-control-allow-methods`.
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    pub expose_headers: String,
    /// `access-control-max-age`.
    pub max_age: String,
    /// `access-control-allow-credentials`.
    pub allow_credentials: Option<bool>,
    /// For how many requests the policy is followed; for all where it is absent.
    pub filter_enabled: Option<RuntimeFraction>,
    /// For how many of the others it is only counted; for none where it is absent.
    pub shadow_enabled: Option<RuntimeFraction>,
    /// `access-control-allow-private-network`.
    pub allow_private_network_access: Option<bool>,
    /// Whether a preflight of an origin that is not allowed goes on; so it does where it is absent.
    pub forward_not_matching_preflights: Option<bool>,
}

/// The name of the older form.
const OLD: &str = "/envoy.config.route.v3.CorsPolicy";

impl Policy {
    /// Whether this is the older form, which counts only where there is no other.
    pub fn is_old(&self) -> bool {
        self.type_url.as_ref().is_some_and(|url| url.ends_with(OLD))
    }
}
