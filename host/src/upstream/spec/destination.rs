//! How requests of an `ORIGINAL_DST` cluster name their endpoint. See the parent's page.

use std::time::Duration;

use crate::headers::Name;

/// `original_dst_lb_config` and `cleanup_interval`. What comes first in this list counts, then the address
/// that the client connected to before it was redirected.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationSpec {
    /// `metadata_key`: where filters leave the address.
    pub metadata: Option<MetadataKey>,
    /// `http_header_name`, with `use_http_header`: the field of requests that has it.
    pub field: Option<Name>,
    /// `upstream_port_override`: the port in place of the address's own.
    pub port: Option<u16>,
    /// `cleanup_interval`: how often endpoints that nobody uses are let go of; 5 s.
    pub cleanup: Duration,
}

impl Default for DestinationSpec {
    fn default() -> Self {
        Self {
            metadata: None,
            field: None,
            port: None,
            cleanup: Duration::from_secs(5),
        }
    }
}

/// `envoy.type.metadata.v3.MetadataKey`: a place in the dynamic metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataKey {
    /// `key`.
    pub namespace: Box<str>,
    /// The one step of `path`.
    pub key: Box<str>,
}
