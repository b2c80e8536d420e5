//! The endpoints of a cluster: `envoy.config.endpoint.v3`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::load_balancing::HealthStatus;
use crate::config::scalar::{FractionalPercent, Metadata, Struct};
use crate::config::upstream_tls::TlvEntry;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.ClusterLoadAssignment")]
pub struct ClusterLoadAssignment {
    /// The name of the cluster.
    pub cluster_name: String,
    /// Groups of endpoints.
    #[serde(default)]
    pub endpoints: Vec<LocalityLbEndpoints>,
    /// How health is measured.
    #[serde(default)]
    pub policy: Option<AssignmentPolicy>,
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy")]
pub struct AssignmentPolicy {
    /// Which part of the requests is turned away; one entry at most.
    #[serde(default)]
    pub drop_overloads: Vec<DropOverload>,
    /// How much of its share an endpoint is taken to carry, in percent; 140 by default.
    #[serde(default)]
    pub overprovisioning_factor: Option<u32>,
    /// Whether the health of a priority is measured in weights, not in endpoints.
    #[serde(default)]
    pub weighted_priority_health: bool,
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload")]
pub struct DropOverload {
    /// What they are counted as, for those who gather load reports.
    pub category: String,
    /// How many of them; none by default.
    #[serde(default)]
    pub drop_percentage: Option<FractionalPercent>,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.LocalityLbEndpoints")]
pub struct LocalityLbEndpoints {
    /// Where they are.
    #[serde(default)]
    pub locality: Option<Locality>,
    /// The endpoints.
    #[serde(default)]
    pub lb_endpoints: Vec<LbEndpoint>,
    /// How often the locality is chosen, with `locality_weighted_lb_config`; never by default.
    #[serde(default)]
    pub load_balancing_weight: Option<u32>,
    /// Those of 0 are used before those of 1, and so on.
    #[serde(default)]
    pub priority: u32,
    /// For who reads the configuration.
    #[serde(default)]
    pub metadata: Option<Metadata>,
    /// No effect, as in Envoy.
    #[serde(default)]
    pub proximity: Option<u32>,
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
    /// How it is, by whoever wrote this down.
    #[serde(default)]
    pub health_status: HealthStatus,
    /// What is known about it.
    #[serde(default)]
    pub metadata: Option<EndpointMetadata>,
}

/// `envoy.config.core.v3.Metadata` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Metadata")]
pub struct EndpointMetadata {
    /// By name; `envoy.lb` for load balancing.
    #[serde(default)]
    pub filter_metadata: BTreeMap<String, Struct>,
    /// Messages by name.
    #[serde(default)]
    pub typed_filter_metadata: TypedEndpointMetadata,
}

/// `Metadata.typed_filter_metadata` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TypedEndpointMetadata {
    /// What a header of the PROXY protocol has for this endpoint.
    #[serde(default, rename = "any:envoy.transport_sockets.proxy_protocol")]
    pub proxy_protocol: Option<EndpointProxyProtocol>,
}

/// The types of its entry.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:metadata of the PROXY protocol")]
pub enum EndpointProxyProtocol {
    /// The only one.
    #[serde(rename = "envoy.config.core.v3.PerHostConfig")]
    PerHost(PerHostConfig),
}

/// `envoy.config.core.v3.PerHostConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.PerHostConfig")]
pub struct PerHostConfig {
    /// What is added to the header, before those of the cluster that are of other types.
    #[serde(default)]
    pub added_tlvs: Vec<TlvEntry>,
}

impl EndpointMetadata {
    /// What is added to a header of the PROXY protocol.
    #[must_use]
    pub fn added_tlvs(&self) -> &[TlvEntry] {
        match &self.typed_filter_metadata.proxy_protocol {
            Some(EndpointProxyProtocol::PerHost(config)) => &config.added_tlvs,
            None => &[],
        }
    }
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
    /// Where it is as well: the first address that answers is taken.
    #[serde(default)]
    pub additional_addresses: Vec<AdditionalAddress>,
}

/// `envoy.config.endpoint.v3.Endpoint.AdditionalAddress`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.Endpoint.AdditionalAddress")]
pub struct AdditionalAddress {
    /// The address.
    pub address: Address,
}

/// `envoy.config.endpoint.v3.Endpoint.HealthCheckConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig")]
pub struct HealthCheckConfig {
    /// The port for health checks; the endpoint's where it is 0.
    #[serde(default)]
    pub port_value: u16,
    /// The host that checks ask for.
    #[serde(default)]
    pub hostname: String,
    /// Another address for health checks.
    #[serde(default)]
    pub address: Option<Address>,
    /// Whether it is not checked, and counts as healthy.
    #[serde(default)]
    pub disable_active_health_check: bool,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.Locality")]
pub struct Locality {
    /// The region.
    #[serde(default)]
    pub region: String,
    /// A part of the region.
    #[serde(default)]
    pub zone: String,
    /// A part of the zone.
    #[serde(default)]
    pub sub_zone: String,
}
