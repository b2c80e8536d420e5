//! The administration server.

use serde::{Deserialize, Serialize};

use crate::config::access_log::{AccessLog, AccessLogConfig};
use crate::config::address::Address;
use crate::config::matcher::StringMatcher;

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
    /// The access logs of the admin pages. No effect but for a warning: nobody writes them.
    #[serde(default)]
    pub access_log: Vec<AccessLog>,
    /// Older form of `access_log`.
    #[serde(default)]
    pub access_log_path: String,
    /// Which paths, with their queries, are answered; all by default.
    #[serde(default)]
    pub allow_paths: Vec<StringMatcher>,
    /// No effect: limits on connections never keep anybody from the admin server.
    #[serde(default)]
    pub ignore_global_conn_limit: bool,
}

impl Admin {
    /// The field by which an access log would be written.
    #[must_use]
    pub fn log_field(&self) -> Option<&'static str> {
        let writes = |log: &AccessLog| match &log.typed_config {
            AccessLogConfig::File(file) => file.path != NOWHERE,
            AccessLogConfig::Stdout(_) | AccessLogConfig::Stderr(_) => true,
        };
        if self.access_log.iter().any(writes) {
            return Some("access_log");
        }
        let older = self.access_log_path.as_str();
        (!older.is_empty() && older != NOWHERE).then_some("access_log_path")
    }
}

/// Where what is written goes nowhere.
const NOWHERE: &str = "/dev/null";
