//! Options of sockets.

use serde::{Deserialize, Serialize};

use crate::config::scalar::Bytes;

/// `envoy.config.core.v3.SocketOption`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.SocketOption")]
pub struct SocketOption {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The level, as in the system's headers.
    #[serde(default)]
    pub level: i64,
    /// The number of the option.
    #[serde(default)]
    pub name: i64,
    /// What it is set to.
    #[serde(rename = "oneof:value")]
    pub value: SocketOptionValue,
    /// When it is set.
    #[serde(default)]
    pub state: SocketState,
}

/// `SocketOption.value`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketOptionValue {
    /// A number.
    IntValue(i64),
    /// Bytes.
    BufValue(Bytes),
}

/// `envoy.config.core.v3.SocketOption.SocketState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.SocketOption.SocketState")]
pub enum SocketState {
    /// Before the socket has its address; the default.
    #[default]
    #[serde(rename = "STATE_PREBIND")]
    Prebind,
    /// Once it has.
    #[serde(rename = "STATE_BOUND")]
    Bound,
    /// Once it listens.
    #[serde(rename = "STATE_LISTENING")]
    Listening,
}

/// `envoy.config.core.v3.SocketOptionsOverride`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.SocketOptionsOverride")]
pub struct SocketOptionsOverride {
    /// The options, in place of all others.
    #[serde(default)]
    pub socket_options: Vec<SocketOption>,
}

/// `envoy.config.core.v3.TcpKeepalive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TcpKeepalive")]
pub struct TcpKeepalive {
    /// Unanswered questions before the peer counts as gone; the system's default is 9.
    #[serde(default)]
    pub keepalive_probes: Option<u32>,
    /// Seconds of silence before the first question; the system's default is 7200.
    #[serde(default)]
    pub keepalive_time: Option<u32>,
    /// Seconds between questions; the system's default is 75.
    #[serde(default)]
    pub keepalive_interval: Option<u32>,
}
