//! A tree of matchers that leads to filter chains: `Listener.filter_chain_matcher`.

use serde::{Deserialize, Serialize};

use crate::config::route::Matcher;

/// `Listener.filter_chain_matcher`.
pub type ChainMatcher = Matcher<NetworkInput, ChainName>;

/// What a tree leads to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:name of a filter chain")]
pub enum ChainName {
    /// A filter chain by its name.
    #[serde(rename = "google.protobuf.StringValue")]
    Name(ChainNameValue),
}

/// `google.protobuf.StringValue`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "google.protobuf.StringValue")]
pub struct ChainNameValue {
    /// The name.
    #[serde(default)]
    pub value: String,
}

/// What is known of a connection.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:input of a connection")]
pub enum NetworkInput {
    /// The address that the connection came to.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput")]
    DestinationIp(DestinationIpInput),
    /// Its port.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput")]
    DestinationPort(DestinationPortInput),
    /// The client's address.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")]
    SourceIp(SourceIpInput),
    /// Its port.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput")]
    SourcePort(SourcePortInput),
    /// The peer of the socket.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput")]
    DirectSourceIp(DirectSourceIpInput),
    /// `local` for clients on this machine; none for others.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput")]
    SourceType(SourceTypeInput),
    /// The name that a TLS client asks for.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput")]
    ServerName(ServerNameInput),
    /// `tls` or `raw_buffer`.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.TransportProtocolInput")]
    TransportProtocol(TransportProtocolInput),
    /// What the client offers to speak: `'h2','http/1.1'`.
    #[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.ApplicationProtocolInput")]
    ApplicationProtocol(ApplicationProtocolInput),
}

/// `envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput")]
pub struct DestinationIpInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput")]
pub struct DestinationPortInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.SourceIPInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")]
pub struct SourceIpInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.SourcePortInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput")]
pub struct SourcePortInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput")]
pub struct DirectSourceIpInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.SourceTypeInput")]
pub struct SourceTypeInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.ServerNameInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput")]
pub struct ServerNameInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.TransportProtocolInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.TransportProtocolInput")]
pub struct TransportProtocolInput {}

/// `envoy.extensions.matching.common_inputs.network.v3.ApplicationProtocolInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.network.v3.ApplicationProtocolInput")]
pub struct ApplicationProtocolInput {}
