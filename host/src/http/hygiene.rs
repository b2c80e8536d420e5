//! Header hygiene: what the connection manager does to a request before filters see it, and to a
//! response before it leaves.
//!
//! Owns the rules, and what is said of a client: `x-forwarded-*`, `:scheme`, the `x-envoy-*` control headers; below it
//! the fields of a hop (`hop`), what a request is for (`target`), `x-request-id` (`identifier`), and `server`, `date`
//! and `via` of responses (`response`). Does not own framing (`h1`) nor what routes add (`route::mutation`).

mod hop;
mod identifier;
mod response;
mod target;

use std::net::IpAddr;
use std::sync::Arc;

use super::client_address::ClientAddress;
use super::client_cert::{self, Details};
use super::path::PathRules;
use crate::address::Address;
use crate::exchange::Exchange;
use crate::headers::{Headers, Known, KnownSet, Name};
use crate::route::{Decision, Facts, RequestChanges, TextCondition};
use crate::runtime::{Cidr, ConnectionManager};

pub(crate) use hop::{Asks, Refusal, end_of_hop, tokens};
pub(crate) use response::{end_of_hop_in_response, response, tell_request_id};
pub(crate) use target::{PathVerdict, normalize_host, normalize_path};

/// What a connection manager does to the heads of requests.
#[derive(Clone, Debug)]
pub struct HygieneRules {
    /// `use_remote_address`, `xff_num_trusted_hops`, `skip_xff_append` and
    /// `original_ip_detection_extensions`.
    pub client: ClientAddress,
    /// `internal_address_config.cidr_ranges`.
    pub internal_ranges: Box<[Cidr]>,
    /// `internal_address_config.unix_sockets`: whether clients of Unix sockets are internal.
    pub internal_unix_sockets: bool,
    /// An address of this machine that is not loopback, shown in place of a loopback peer.
    pub machine_address: Option<IpAddr>,
    /// `append_x_forwarded_port`.
    pub forwarded_port: bool,
    /// `normalize_path` and its kin.
    pub path: PathRules,
    /// `strip_matching_host_port` and `strip_any_host_port`.
    pub host_port: HostPort,
    /// `strip_trailing_host_dot`.
    pub strip_host_dot: bool,
    /// `scheme_header_transformation.scheme_to_overwrite`.
    pub scheme: Option<&'static [u8]>,
    /// `forward_client_cert_details`.
    pub client_cert: ClientCert,
    /// `forward_client_cert_matcher`: what decides that by request.
    pub client_cert_by: Option<Arc<ClientCertChoice>>,
    /// `add_user_agent`: what upstreams are told about this proxy.
    pub user_agent: Option<UserAgent>,
    /// `generate_request_id`.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`.
    pub preserve_external_request_id: bool,
    /// `early_header_mutation_extensions`.
    pub early: RequestChanges,
    /// `http_protocol_options.ignore_http_11_upgrade`.
    pub ignored_upgrades: Box<[TextCondition]>,
    /// `forward_proto_config`.
    pub told_ports: Option<Box<ToldPorts>>,
    /// `request_id_extension.pack_trace_reason`: an identifier says whether its request is traced.
    pub pack_trace_reason: bool,
}

/// `ForwardProtoConfig`: what a client speaks, by the port that a proxy before this one says that it came
/// to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldPorts {
    /// `https_destination_ports`.
    pub https: Box<[u16]>,
    /// `http_destination_ports`.
    pub http: Box<[u16]>,
}

impl ToldPorts {
    fn scheme(&self, port: u16) -> Option<&'static [u8]> {
        if self.https.contains(&port) {
            return Some(b"https");
        }
        self.http.contains(&port).then_some(b"http")
    }
}

/// What happens to the port in `host`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostPort {
    /// It stays.
    #[default]
    Keep,
    /// It is taken out where it is the listener's.
    StripMatching,
    /// It is taken out.
    StripAny,
}

/// What happens to `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// It is removed: nobody has verified what it claims.
    #[default]
    Remove,
    /// It is kept where the client has shown a certificate of its own.
    KeepOfKnown,
    /// It is kept: a proxy before this one has verified it.
    Keep,
    /// Where the client has shown a certificate, that is added to it.
    Append(Details),
    /// It is replaced by what is known of the client's certificate.
    Set(Details),
}

impl ClientCert {
    /// Whether what came of it stays, of a client that has shown a certificate or not.
    const fn keeps(self, certified: bool) -> bool {
        match self {
            Self::Remove => false,
            // Where something else takes its place, that is its place.
            Self::KeepOfKnown | Self::Append(_) | Self::Set(_) => certified,
            Self::Keep => true,
        }
    }
}

/// What happens to it, decided by request.
#[derive(Debug)]
pub struct ClientCertChoice {
    /// Which one of `all`.
    pub by: Decision,
    /// What may happen.
    pub all: Box<[ClientCert]>,
}

impl ClientCertChoice {
    /// What happens with that request; none where nothing matches.
    fn find(&self, exchange: &Exchange) -> Option<ClientCert> {
        // No tree asks for the number.
        let position = self.by.find(&Facts::of(exchange, 0))?;
        self.all.get(position).copied()
    }
}

/// What upstreams are told about this proxy.
#[derive(Clone, Debug)]
pub struct UserAgent {
    /// `node.cluster`.
    pub cluster: Box<[u8]>,
    /// `node.id`; empty where there is none.
    pub node: Box<[u8]>,
}

/// Cleans the head of a request of what its client may not say, and adds what the upstream is to
/// know. `internal_only` are fields that only internal clients may send. `id` is the random number that a new `x-request-id` is made of.
///
/// # Errors
/// The status to refuse the request with, where it does not tell its client's address.
pub(crate) fn request(
    manager: &ConnectionManager,
    exchange: &mut Exchange,
    internal_only: &[Name],
    id: u128,
) -> Result<(), u16> {
    let rules = &manager.hygiene;
    let headers = &mut exchange.request;
    let (peer, local) = (&exchange.connection.remote, &exchange.connection.local);
    let client = rules.client.find(headers, peer)?;
    let client_ip = client.address.ip().map(|address| address.ip());
    exchange.remote = client.address;
    let in_ranges = |ip: IpAddr| {
        // What the hop before tells as an IPv4 address within IPv6 is none of its range, as in Envoy.
        ip == ip.to_canonical() && rules.internal_ranges.iter().any(|range| range.contains(ip))
    };
    let internal =
        client.may_be_internal && client_ip.map_or(rules.internal_unix_sockets, in_ranges);
    let edge = rules.client.is_edge() && !internal;
    let tls = exchange.connection.tls.as_deref();
    let certified = tls.is_some_and(|tls| tls.certificate_presented);
    // What decides by request sees all of the head.
    let keep_cert = rules.client_cert_by.is_some() || rules.client_cert.keeps(certified);
    remove_control_headers(headers, keep_cert, internal, edge);
    if !internal {
        for name in internal_only {
            headers.remove(name);
        }
    }
    let told = rules.told_ports.as_ref().and_then(|ports| {
        let local = local
            .ip()
            .filter(|_| exchange.connection.local_is_restored)?;
        ports.scheme(local.port())
    });
    let spoken: &[u8] = if tls.is_some() { b"https" } else { b"http" };
    let scheme = told.unwrap_or(spoken);
    forward_headers(rules, headers, (peer, local), client.appends, scheme);
    if headers.known(Known::Scheme).is_none_or(<[u8]>::is_empty) {
        // What the hop before says counts then, or else what is spoken here.
        let said = headers.known(Known::XForwardedProto).unwrap_or_default();
        let schemes: [&[u8]; 2] = [b"http", b"https"];
        let known = schemes.iter().find(|one| one.eq_ignore_ascii_case(said));
        let scheme = known.copied().unwrap_or(spoken);
        headers.set_known(Known::Scheme, scheme);
    }
    if internal {
        headers.set_known(Known::XEnvoyInternal, b"true");
    }
    if let Some(agent) = &rules.user_agent {
        introduce(agent, headers);
    }
    if let Some(via) = &manager.via {
        append_list(headers, Known::Via, via, b", ");
    }
    if edge && let Some(ip) = client_ip {
        let address = ip.to_string();
        headers.set_known(Known::XEnvoyExternalAddress, address.as_bytes());
    }
    identifier::request_id(rules, headers, edge, id);
    tell_certificate(rules, exchange, certified);
    Ok(())
}

/// `x-forwarded-client-cert`, where it stays, and with what is known here.
fn tell_certificate(rules: &HygieneRules, exchange: &mut Exchange, certified: bool) {
    let mut told = rules.client_cert;
    if let Some(choice) = &rules.client_cert_by {
        told = choice.find(exchange).unwrap_or(told);
        if !told.keeps(certified) {
            exchange.request.remove_known(Known::XForwardedClientCert);
        }
    }
    let headers = &mut exchange.request;
    let name = Known::XForwardedClientCert;
    let tls = exchange.connection.tls.as_deref();
    match (told, tls.filter(|_| certified)) {
        (ClientCert::Append(details), Some(tls)) => {
            append_list(headers, name, &client_cert::element(tls, details), b",");
        }
        (ClientCert::Set(details), Some(tls)) => {
            headers.set_known(name, &client_cert::element(tls, details));
        }
        _ => {}
    }
}

/// Says who passes the request on.
fn introduce(agent: &UserAgent, headers: &mut Headers) {
    headers.set_known(Known::XEnvoyDownstreamServiceCluster, &agent.cluster);
    if headers.known(Known::UserAgent).is_none_or(<[u8]>::is_empty) {
        headers.set_known(Known::UserAgent, &agent.cluster);
    }
    if !agent.node.is_empty() {
        headers.set_known(Known::XEnvoyDownstreamServiceNode, &agent.node);
    }
}

/// What a message may say of its hop.
const OF_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
]);

/// What only internal clients may say.
const OF_INTERNAL: KnownSet = KnownSet::of(&[
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyHedgeOnPerTryTimeout,
    Known::XEnvoyUpstreamAltStatName,
    Known::XEnvoyExpectedRqTimeoutMs,
    Known::XEnvoyUpstreamRqTimeoutMs,
    Known::XEnvoyUpstreamRqPerTryTimeoutMs,
    Known::XEnvoyUpstreamRqTimeoutAltResponse,
    Known::XEnvoyUpstreamStreamDurationMs,
    Known::XEnvoyForceTrace,
    Known::XEnvoyIpTags,
    Known::XEnvoyOriginalUrl,
]);

/// What no client may say to a proxy at the edge.
const OF_INSIDE: KnownSet = KnownSet::of(&[
    Known::XEnvoyOriginalPath,
    Known::XEnvoyOriginalHost,
    Known::XEnvoyDecoratorOperation,
    Known::XEnvoyDownstreamServiceCluster,
    Known::XEnvoyDownstreamServiceNode,
]);

/// Envoy's control headers: a client that is not internal may not steer the proxy with them.
fn remove_control_headers(headers: &mut Headers, keep_cert: bool, internal: bool, edge: bool) {
    headers.remove_known(Known::XEnvoyInternal);
    if !keep_cert {
        headers.remove_known(Known::XForwardedClientCert);
    }
    if !internal {
        headers.remove_any(OF_INTERNAL);
    }
    if edge {
        headers.remove_any(OF_INSIDE);
    }
}

/// `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-port`, and a `:scheme` that is configured.
fn forward_headers(
    rules: &HygieneRules,
    headers: &mut Headers,
    (peer, local): (&Address, &Address),
    appends: u32,
    spoken: &[u8],
) {
    let local = local.ip();
    if appends > 0
        && let Some(peer) = peer.ip()
    {
        // Envoy shows a loopback peer under the machine's own address.
        let shown = if peer.ip().is_loopback() {
            rules
                .machine_address
                .or_else(|| local.map(|local| local.ip()))
        } else {
            None
        };
        let shown = shown.unwrap_or_else(|| peer.ip()).to_string();
        for _ in 0..appends {
            append_list(headers, Known::XForwardedFor, shown.as_bytes(), b",");
        }
    }
    // What an untrusted hop says about itself is replaced.
    let replace = rules.client.trusts_nobody();
    match headers.known(Known::XForwardedProto) {
        Some(_) if !replace => {}
        Some(_) | None => headers.set_known(Known::XForwardedProto, spoken),
    }
    if let Some(local) = local
        && rules.forwarded_port
        && (replace || !headers.has(Known::XForwardedPort))
    {
        let mut room = [0; 20];
        headers.set_known(
            Known::XForwardedPort,
            super::reply::decimal(u64::from(local.port()), &mut room),
        );
    }
    if let Some(scheme) = rules.scheme {
        headers.set_known(Known::Scheme, scheme);
        headers.set_known(Known::XForwardedProto, scheme);
    }
}

/// Adds `value` to the list in `name`, or makes it.
pub(super) fn append_list(headers: &mut Headers, name: Known, value: &[u8], separator: &[u8]) {
    match headers.known(name) {
        Some(old) if !old.is_empty() => {
            let joined = [old, separator, value].concat();
            headers.set_known(name, &joined);
        }
        _ => headers.set_known(name, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn head(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append_bytes(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    pub(super) fn rules() -> HygieneRules {
        HygieneRules {
            client: ClientAddress::Told(Box::default()),
            internal_ranges: Box::default(),
            internal_unix_sockets: false,
            machine_address: None,
            forwarded_port: false,
            path: PathRules::default(),
            host_port: HostPort::Keep,
            strip_host_dot: false,
            scheme: None,
            client_cert: ClientCert::Remove,
            client_cert_by: None,
            user_agent: None,
            generate_request_id: true,
            preserve_external_request_id: false,
            told_ports: None,
            pack_trace_reason: true,
            early: RequestChanges::default(),
            ignored_upgrades: Box::default(),
        }
    }
}
