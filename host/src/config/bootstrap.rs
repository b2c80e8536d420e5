//! The whole file: `envoy.config.bootstrap.v3`.

use serde::{Deserialize, Serialize};

use crate::config::admin::Admin;
use crate::config::cluster::Cluster;
use crate::config::dns::{DnsResolutionConfig, ResolverExtension};
use crate::config::endpoint::Locality;
use crate::config::listener::Listener;
use crate::config::scalar::Struct;
use crate::config::tls::Secret;
use crate::config::upstream_connection::BindConfig;

/// `envoy.config.bootstrap.v3.Bootstrap`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Bootstrap")]
pub struct Bootstrap {
    /// Who this proxy is.
    #[serde(default)]
    pub node: Option<Node>,
    /// The administration server; without one there is none.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// What all clusters have in common.
    #[serde(default)]
    pub cluster_manager: Option<ClusterManager>,
    /// What the file itself configures.
    #[serde(default)]
    pub static_resources: StaticResources,
    /// The layers of runtime values; none by default.
    #[serde(default)]
    pub layered_runtime: Option<LayeredRuntime>,
    /// Older form of `dns_resolver_options.use_tcp_for_dns_lookups`.
    #[serde(default)]
    pub use_tcp_for_dns_lookups: bool,
    /// Older form of `typed_dns_resolver_config`.
    #[serde(default)]
    pub dns_resolution_config: Option<DnsResolutionConfig>,
    /// Who resolves names for clusters that do not say so themselves.
    #[serde(default)]
    pub typed_dns_resolver_config: Option<ResolverExtension>,
}

/// `envoy.config.bootstrap.v3.LayeredRuntime`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.LayeredRuntime")]
pub struct LayeredRuntime {
    /// The layers, of which a later one overrides an earlier one; where it is empty, one that the
    /// admin server changes.
    #[serde(default)]
    pub layers: Vec<RuntimeLayer>,
}

/// `envoy.config.bootstrap.v3.RuntimeLayer`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.RuntimeLayer")]
pub struct RuntimeLayer {
    /// The name, unique.
    pub name: String,
    /// Where the values come from.
    #[serde(rename = "oneof:layer_specifier")]
    pub layer: LayerSpecifier,
}

/// `RuntimeLayer.layer_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerSpecifier {
    /// Here.
    StaticLayer(Struct),
    /// A directory.
    DiskLayer(DiskLayer),
    /// The admin server: `/runtime_modify`.
    AdminLayer(AdminLayer),
}

/// `envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer")]
pub struct DiskLayer {
    /// The symbolic link that is watched: a new target is read at once.
    #[serde(default)]
    pub symlink_root: String,
    /// A folder in it.
    #[serde(default)]
    pub subdirectory: String,
    /// Whether a folder of the service cluster's name follows.
    #[serde(default)]
    pub append_service_cluster: bool,
}

/// `envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer")]
pub struct AdminLayer {}

/// `envoy.config.bootstrap.v3.ClusterManager`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.ClusterManager")]
pub struct ClusterManager {
    /// The cluster that this proxy is in itself, for zone-aware routing.
    #[serde(default)]
    pub local_cluster_name: String,
    /// What outlier detection writes down.
    #[serde(default)]
    pub outlier_detection: Option<OutlierEvents>,
    /// Where connections come from of clusters that do not say it themselves.
    #[serde(default)]
    pub upstream_bind_config: Option<BindConfig>,
}

/// `envoy.config.bootstrap.v3.ClusterManager.OutlierDetection`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection")]
pub struct OutlierEvents {
    /// The file that events are appended to.
    #[serde(default)]
    pub event_log_path: String,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Node")]
pub struct Node {
    /// The name of this proxy; `--service-node` sets it as well.
    #[serde(default)]
    pub id: String,
    /// The name of the group that this proxy is one of; `--service-cluster` sets it as well.
    #[serde(default)]
    pub cluster: String,
    /// Where this proxy is.
    #[serde(default)]
    pub locality: Option<Locality>,
    /// For management servers and who reads the configuration.
    #[serde(default)]
    pub metadata: Option<Struct>,
}

/// `envoy.config.bootstrap.v3.Bootstrap.StaticResources`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.bootstrap.v3.Bootstrap.StaticResources")]
pub struct StaticResources {
    /// What is listened on.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// The upstreams that routes name.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Certificates and what peers have to show, by name.
    #[serde(default)]
    pub secrets: Vec<Secret>,
}
