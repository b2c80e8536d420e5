//! `proxy-status` (RFC 9209): which proxy could not do what, told to the client.
//!
//! Owns the field, by Envoy's mapping of response flags to the errors of the RFC, and the status that
//! the RFC recommends for each. Called for every response that leaves, where it is configured. Does
//! not own the flags.

use crate::exchange::{Exchange, Flags};
use crate::headers::{Known, Name};

/// `proxy_status_config`.
#[derive(Clone, Debug)]
pub struct ProxyStatus {
    /// What this proxy calls itself.
    pub name: Box<str>,
    /// The name of the field.
    pub field: Name,
    /// Whether the details of the response are told.
    pub details: bool,
    /// Whether the reason of a connection's end is told with them.
    pub termination_details: bool,
    /// Whether the response flags are told with them.
    pub flags: bool,
    /// Whether the response has the status that the RFC recommends (`set_recommended_response_code`).
    pub recommended_status: bool,
}

/// An error of RFC 9209 §2.3 with the status that it recommends.
type ProxyError = (&'static str, Option<u16>);

/// The errors that flags stand for; of several flags the first here counts. That a client broke the
/// protocol is none of them: Envoy's codecs reply before they say so.
const ERRORS: [(Flags, ProxyError); 20] = [
    (Flags::FAILED_LOCAL_HEALTH_CHECK, UNAVAILABLE),
    (Flags::NO_HEALTHY_UPSTREAM, UNAVAILABLE),
    (Flags::UPSTREAM_REQUEST_TIMEOUT, RESPONSE_TIMEOUT),
    (Flags::LOCAL_RESET, ("connection_timeout", Some(504))),
    (Flags::UPSTREAM_REMOTE_RESET, TERMINATED),
    (
        Flags::UPSTREAM_CONNECTION_FAILURE,
        ("connection_refused", Some(502)),
    ),
    (Flags::UPSTREAM_CONNECTION_TERMINATION, TERMINATED),
    (Flags::UPSTREAM_OVERFLOW, LIMIT_REACHED),
    (Flags::NO_ROUTE_FOUND, ("destination_not_found", Some(500))),
    (Flags::RATE_LIMITED, LIMIT_REACHED),
    (Flags::RATELIMIT_SERVICE_ERROR, LIMIT_REACHED),
    (Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED, UNAVAILABLE),
    (Flags::STREAM_IDLE_TIMEOUT, RESPONSE_TIMEOUT),
    (
        Flags::INVALID_ENVOY_REQUEST_HEADERS,
        ("http_request_error", None),
    ),
    (Flags::FAULT_INJECTED, ("http_request_error", None)),
    (
        Flags::UPSTREAM_MAX_STREAM_DURATION_REACHED,
        RESPONSE_TIMEOUT,
    ),
    (
        Flags::NO_FILTER_CONFIG_FOUND,
        ("proxy_configuration_error", Some(500)),
    ),
    (
        Flags::UPSTREAM_PROTOCOL_ERROR,
        ("http_protocol_error", Some(502)),
    ),
    (Flags::NO_CLUSTER_FOUND, UNAVAILABLE),
    (Flags::DNS_RESOLUTION_FAILED, ("dns_error", Some(502))),
];

const UNAVAILABLE: ProxyError = ("destination_unavailable", Some(503));
const LIMIT_REACHED: ProxyError = ("connection_limit_reached", Some(503));
const TERMINATED: ProxyError = ("connection_terminated", Some(502));
const RESPONSE_TIMEOUT: ProxyError = ("http_response_timeout", Some(504));

impl ProxyStatus {
    /// Adds to the head of a response that is there because of an error, behind what other proxies
    /// have said.
    pub(super) fn apply(&self, exchange: &mut Exchange) {
        let flags = exchange.flags;
        let mut errors = ERRORS.iter();
        let Some((_, (error, status))) = errors.find(|(flag, _)| flags.contains(*flag)) else {
            return;
        };
        let mut value = match exchange.response.get(&self.field) {
            Some(others) => [others, b", "].concat(),
            None => Vec::new(),
        };
        value.extend_from_slice(format!("{}; error={error}", self.name).as_bytes());
        if let Some(details) = exchange.details.as_deref().filter(|_| self.details) {
            value.extend_from_slice(b"; details=\"");
            value.extend_from_slice(details.as_bytes());
            let ended = exchange.termination_details.as_deref();
            if let Some(ended) = ended.filter(|_| self.termination_details) {
                value.extend_from_slice(b"; ");
                value.extend_from_slice(ended.as_bytes());
            }
            let mut separator = b"; ".as_slice();
            for (_, short, _) in flags.in_order().filter(|_| self.flags) {
                value.extend_from_slice(separator);
                value.extend_from_slice(short.as_bytes());
                separator = b",";
            }
            value.push(b'"');
        }
        exchange.response.set(&self.field, &value);
        if let Some(status) = status.filter(|_| self.recommended_status) {
            exchange.status = status;
            let mut room = [0; 20];
            let text = super::reply::decimal(status.into(), &mut room);
            exchange.response.set_known(Known::Status, text);
        }
    }
}
