//! How responses look that the proxy makes itself:
//! `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`.

use serde::{Deserialize, Serialize};

use crate::config::access_log::SubstitutionFormatString;
use crate::config::header::HeaderValueOption;
use crate::config::log_filter::AccessLogFilter;
use crate::config::scalar::DataSource;

/// `LocalReplyConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig")]
pub struct LocalReplyConfig {
    /// Changes to some replies; of those whose filter matches the first.
    #[serde(default)]
    pub mappers: Vec<ResponseMapper>,
    /// The body of all replies; their text by default.
    #[serde(default)]
    pub body_format: Option<SubstitutionFormatString>,
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper")]
pub struct ResponseMapper {
    /// Which replies.
    pub filter: AccessLogFilter,
    /// In place of the status.
    #[serde(default)]
    pub status_code: Option<u32>,
    /// In place of the text.
    #[serde(default)]
    pub body: Option<DataSource>,
    /// In place of `body_format`.
    #[serde(default)]
    pub body_format_override: Option<SubstitutionFormatString>,
    /// Fields to add.
    #[serde(default)]
    pub headers_to_add: Vec<HeaderValueOption>,
}
