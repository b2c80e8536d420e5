//! What health checks write down.
//!
//! Owns an event and its line in the log (`envoy.data.core.v3.HealthCheckEvent` as JSON, in Envoy's
//! form). Called by the parent. Does not own: where the line goes.

use serde::Serialize;

use super::state::Failure;
use crate::address::Address;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::spec::Probe;

/// What happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A check made it unhealthy.
    Ejected(Failure),
    /// A check made it healthy; whether that was the first.
    Added(bool),
    /// A check failed; whether it was the first.
    Failed(Failure, bool),
    /// A check passed.
    Passed,
    /// It says that it would rather have less to do.
    Degraded,
    /// It does not any more.
    NoLongerDegraded,
}

/// A line, in Envoy's order of fields.
#[derive(Serialize)]
struct Line<'a> {
    health_checker_type: &'static str,
    host: Host,
    cluster_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    eject_unhealthy_event: Option<Eject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_healthy_event: Option<Add>,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_failure_event: Option<Fail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_healthy_host: Option<Nothing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_longer_degraded_host: Option<Nothing>,
    locality: Locality<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successful_health_check_event: Option<Nothing>,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Eject {
    failure_type: &'static str,
}

#[derive(Serialize)]
struct Add {
    first_check: bool,
}

#[derive(Serialize)]
struct Fail {
    failure_type: &'static str,
    first_check: bool,
    http_status_code: u16,
}

#[derive(Serialize)]
struct Locality<'a> {
    region: &'a str,
    zone: &'a str,
    sub_zone: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Host {
    SocketAddress {
        protocol: &'static str,
        address: String,
        port_value: u16,
        resolver_name: &'static str,
        ipv4_compat: bool,
        network_namespace_filepath: &'static str,
    },
    Pipe {
        path: String,
        mode: u32,
    },
}

impl From<&Address> for Host {
    fn from(address: &Address) -> Self {
        match address {
            Address::Ip(address) => Self::SocketAddress {
                protocol: "TCP",
                address: address.ip().to_string(),
                port_value: address.port(),
                resolver_name: "",
                ipv4_compat: false,
                network_namespace_filepath: "",
            },
            Address::Unix(path) => Self::Pipe {
                path: path.to_string(),
                mode: 0,
            },
        }
    }
}

impl Event {
    /// The line of the log, with its end. `timestamp` is the time in RFC 3339's form.
    pub(super) fn line(
        self,
        cluster: &str,
        endpoint: &Endpoint,
        probe: &Probe,
        timestamp: &str,
    ) -> String {
        let (address, locality) = (endpoint.now_at(), endpoint.locality());
        let when = |is_so: bool| is_so.then_some(Nothing {});
        let line = Line {
            health_checker_type: match probe {
                Probe::Http(_) => "HTTP",
                Probe::Tcp(_) => "TCP",
                Probe::Grpc(_) => "GRPC",
            },
            host: Host::from(&address),
            cluster_name: cluster,
            eject_unhealthy_event: match self {
                Self::Ejected(failure) => Some(Eject {
                    failure_type: kind(failure),
                }),
                _ => None,
            },
            add_healthy_event: match self {
                Self::Added(first_check) => Some(Add { first_check }),
                _ => None,
            },
            timestamp,
            health_check_failure_event: match self {
                Self::Failed(failure, first_check) => Some(Fail {
                    failure_type: kind(failure),
                    first_check,
                    http_status_code: status(failure),
                }),
                _ => None,
            },
            degraded_healthy_host: when(self == Self::Degraded),
            no_longer_degraded_host: when(self == Self::NoLongerDegraded),
            locality: Locality {
                region: &locality.region,
                zone: &locality.zone,
                sub_zone: &locality.sub_zone,
            },
            successful_health_check_event: when(self == Self::Passed),
        };
        // Texts and numbers can always be written.
        let mut line = serde_json::to_string(&line).unwrap_or_default();
        line.push('\n');
        line
    }
}

const fn kind(failure: Failure) -> &'static str {
    match failure {
        Failure::Status(_)
        | Failure::RetriableStatus(_)
        | Failure::Mismatch
        | Failure::WrongAnswer(_)
        | Failure::NotServing => "ACTIVE",
        Failure::AskedOut => "PASSIVE",
        Failure::Network => "NETWORK",
        Failure::Timeout => "NETWORK_TIMEOUT",
    }
}

const fn status(failure: Failure) -> u16 {
    match failure {
        Failure::Status(status)
        | Failure::RetriableStatus(status)
        | Failure::WrongAnswer(status) => status,
        Failure::Network
        | Failure::Timeout
        | Failure::Mismatch
        | Failure::NotServing
        | Failure::AskedOut => 0,
    }
}
