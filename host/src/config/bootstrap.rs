//! The whole file: `envoy.config.bootstrap.v3`.

use serde::{Deserialize, Serialize};

use crate::config::admin::Admin;
use crate::config::cluster::Cluster;
use crate::config::listener::Listener;

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
    /// What the file itself configures.
    #[serde(default)]
    pub static_resources: StaticResources,
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
}
