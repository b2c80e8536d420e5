//! `envoy.filters.http.csrf`.

use serde::{Deserialize, Serialize};

use crate::config::matcher::StringMatcher;
use crate::config::scalar::RuntimeFractionalPercent;

/// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy")]
pub struct CsrfPolicy {
    /// For how many requests the policy is followed.
    pub filter_enabled: RuntimeFractionalPercent,
    /// For how many of the others it is only counted; for none by default.
    #[serde(default)]
    pub shadow_enabled: Option<RuntimeFractionalPercent>,
    /// Origins that may, besides the request's own host.
    #[serde(default)]
    pub additional_origins: Vec<StringMatcher>,
}
