//! The endpoints of a cluster: `envoy.config.endpoint.v3`.

use serde::{Deserialize, Serialize};

use crate::config::address::Address;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.ClusterLoadAssignment")]
pub struct ClusterLoadAssignment {
    /// The name of the cluster.
    pub cluster_name: String,
    /// Groups of endpoints; all have the same priority.
    #[serde(default)]
    pub endpoints: Vec<LocalityLbEndpoints>,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.LocalityLbEndpoints")]
pub struct LocalityLbEndpoints {
    /// The endpoints.
    #[serde(default)]
    pub lb_endpoints: Vec<LbEndpoint>,
}

/// `envoy.config.endpoint.v3.LbEndpoint`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.LbEndpoint")]
pub struct LbEndpoint {
    /// The endpoint.
    #[serde(rename = "oneof:host_identifier")]
    pub host_identifier: HostIdentifier,
    /// How often it is chosen, in proportion to the others; 1 by default, at least 1.
    #[serde(default)]
    pub load_balancing_weight: Option<u32>,
}

impl LbEndpoint {
    /// The one kind of `host_identifier` that there is.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        let HostIdentifier::Endpoint(endpoint) = &self.host_identifier;
        endpoint
    }
}

/// `LbEndpoint.host_identifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostIdentifier {
    /// Here.
    Endpoint(Endpoint),
}

/// `envoy.config.endpoint.v3.Endpoint`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.Endpoint")]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// How its health is checked, other than at its address.
    #[serde(default)]
    pub health_check_config: Option<HealthCheckConfig>,
    /// Its name, for `/clusters` and host rewriting.
    #[serde(default)]
    pub hostname: String,
}

/// `envoy.config.endpoint.v3.Endpoint.HealthCheckConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig")]
pub struct HealthCheckConfig {
    /// The port for health checks; the endpoint's where it is 0.
    #[serde(default)]
    pub port_value: u16,
}
