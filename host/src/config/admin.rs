//! The administration server.

use serde::{Deserialize, Serialize};

use crate::config::address::Address;

/// `envoy.config.bootstrap.v3.Admin`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Admin")]
pub struct Admin {
    /// Where it listens; without one it does not.
    #[serde(default)]
    pub address: Option<Address>,
    /// No effect: there is no page that profiles.
    #[serde(default)]
    pub profile_path: String,
    /// No effect: limits on connections never keep anybody from the admin server.
    #[serde(default)]
    pub ignore_global_conn_limit: bool,
}
