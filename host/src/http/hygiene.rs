//! Header hygiene: what the connection manager does to a request before filters see it, and to a
//! response before it leaves.
//!
//! Owns the rules for hop-by-hop fields (RFC 9110 §7.6.1), `x-forwarded-*`, `x-request-id`, the
//! `x-envoy-*` control headers and `server`, `date`, `via`. Does not own framing (`h1`) nor
//! what routes add (`route::mutation`).

use std::net::IpAddr;

use super::client_address::ClientAddress;
use super::client_cert::{self, Details};
use super::path::{Normalized, PathRules};
use crate::address::Address;
use crate::exchange::Exchange;
use crate::h1::head::is_host_and_port;
use crate::headers::{Headers, Known, Name};
use crate::route::{RequestChanges, TextCondition};
use crate::runtime::{Cidr, ConnectionManager, ServerHeader};

/// Envoy refuses a `connection` header that has this many members, whatever they are.
const CONNECTION_MEMBERS: usize = 10;
/// Envoy refuses a `te` of this many bytes where `connection` names it.
const NAMED_TE_BYTES: usize = 256;

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

/// What upstreams are told about this proxy.
#[derive(Clone, Debug)]
pub struct UserAgent {
    /// `node.cluster`.
    pub cluster: Box<[u8]>,
    /// `node.id`; empty where there is none.
    pub node: Box<[u8]>,
}

/// Why a request is refused by its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `connection` names a field that may not be removed, or too many: 400.
    ConnectionHeader,
    /// A proxy for UDP is asked for by a path that does not say to whom: 404.
    UdpPath {
        /// Whether the client waits for that protocol.
        upgrades: bool,
    },
    /// `connection` names `host`, without which the request is none: 400.
    MissingHost,
}

/// What the head asks of the connection manager beyond its own request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing.
    Nothing,
    /// The protocol that `upgrade` names. That field and `connection` stay.
    Upgrade,
}

/// Makes the head of a request one message of one hop: repeated fields are joined, and those of the
/// hop before are taken out. An `upgrade` to h2c or to one of `ignored` is taken for none; without a
/// list, none is: the request is one for a tunnel, and no other without it.
pub(crate) fn end_of_hop(
    headers: &mut Headers,
    ignored: Option<&[TextCondition]>,
) -> Result<Asks, Refusal> {
    headers.join_repeated(Known::joins_in_request);
    let asks = remove_hop_by_hop(headers, ignored)?;
    if headers
        .known(Known::Referer)
        .is_some_and(|referer| !is_reference(referer))
    {
        headers.remove_known(Known::Referer);
    }
    Ok(asks)
}

/// Whether the path says whom to speak UDP to (RFC 9298 §3, the default template).
fn names_udp_peer(headers: &Headers) -> bool {
    let path = headers.known(Known::Path).unwrap_or_default();
    let mut parts = path
        .strip_prefix(b"/.well-known/masque/udp/")
        .unwrap_or_default()
        .split(|byte| *byte == b'/');
    let mut named = || parts.next().is_some_and(|part| !part.is_empty());
    named() && named() && parts.next() == Some(b"") && parts.next().is_none()
}

/// Whether `text` is a URL or a part of one (RFC 3986 §4.1), without a fragment and without anybody's
/// name in front of the host: a `referer` that is something else serves to mislead (RFC 9110 §10.1.3).
fn is_reference(text: &[u8]) -> bool {
    let is_part = |part: &[u8]| part.iter().all(|byte| is_url_byte(*byte));
    let end = text
        .iter()
        .position(|byte| matches!(byte, b':' | b'/' | b'?'))
        .unwrap_or(text.len());
    let (scheme, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    let Some(rest) = rest.strip_prefix(b":") else {
        return is_part(text);
    };
    let [first, others @ ..] = scheme else {
        return false;
    };
    let is_scheme = first.is_ascii_alphabetic()
        && others
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let Some(rest) = rest.strip_prefix(b"//").filter(|_| is_scheme) else {
        return false;
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
    is_host_and_port(authority) && is_part(rest)
}

/// Whether `byte` may stand in a path or query (RFC 3986 §3.3 and §3.4).
const fn is_url_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~')
}

/// Makes the path what the rules say. The path that the client is sent to, or that is served, is in
/// the head then.
pub(crate) fn normalize_path(rules: PathRules, headers: &mut Headers) -> PathVerdict {
    if rules.is_off() {
        return PathVerdict::Serve;
    }
    let Some(path) = headers.known(Known::Path) else {
        return PathVerdict::Serve;
    };
    match rules.apply(path) {
        Normalized::Unchanged => PathVerdict::Serve,
        Normalized::Changed(path) => {
            headers.set_known(Known::Path, &path);
            PathVerdict::Serve
        }
        Normalized::Redirect(path) => {
            headers.set_known(Known::Path, &path);
            PathVerdict::Redirect
        }
        Normalized::Refused(path) => {
            headers.set_known(Known::Path, &path);
            PathVerdict::Refuse
        }
    }
}

/// What becomes of a request by its path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathVerdict {
    Serve,
    /// The client has to ask for the path that is in the head now.
    Redirect,
    Refuse,
}

/// Makes `host` what the rules say.
pub(crate) fn normalize_host(rules: &HygieneRules, headers: &mut Headers, local_port: u16) {
    if !rules.strip_host_dot && rules.host_port == HostPort::Keep {
        return;
    }
    let Some(host) = headers.known(Known::Authority) else {
        return;
    };
    let (mut name, mut port) = split_port(host);
    if rules.strip_host_dot
        && let [undotted @ .., b'.'] = name
    {
        name = undotted;
    }
    let number = port
        .get(1..)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    let strip = match rules.host_port {
        HostPort::Keep => false,
        HostPort::StripMatching => number == Some(u32::from(local_port)),
        HostPort::StripAny => number.is_some(),
    };
    if strip {
        port = b"";
    }
    if name.len() + port.len() != host.len() {
        let changed = [name, port].concat();
        headers.set_known(Known::Authority, &changed);
    }
}

/// A host in its name and its port with the colon; the colons of an IPv6 address are in brackets.
fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    let bracket = memchr::memrchr(b']', host).map_or(0, |at| at + 1);
    let colon = host
        .get(bracket..)
        .and_then(|rest| memchr::memrchr(b':', rest));
    match colon {
        Some(at) => host.split_at_checked(bracket + at).unwrap_or((host, b"")),
        None => (host, b""),
    }
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
    let certified = tls.filter(|tls| tls.certificate_presented);
    let keep_cert = match rules.client_cert {
        ClientCert::Remove => false,
        // Where something else takes its place, that is its place.
        ClientCert::KeepOfKnown | ClientCert::Append(_) | ClientCert::Set(_) => certified.is_some(),
        ClientCert::Keep => true,
    };
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
    request_id(rules, headers, edge, id);
    let name = Known::XForwardedClientCert;
    match (rules.client_cert, certified) {
        (ClientCert::Append(details), Some(tls)) => {
            append_list(headers, name, client_cert::element(tls, details), b",");
        }
        (ClientCert::Set(details), Some(tls)) => {
            headers.set_known(name, client_cert::element(tls, details));
        }
        _ => {}
    }
    Ok(())
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

/// What `connection` says, beside the fields that it names.
#[derive(Clone, Copy, Default)]
struct Said {
    upgrade: bool,
    http2_settings: bool,
    te: bool,
    /// Its members. White space between two commas is one.
    members: usize,
}

impl Said {
    /// Reads `connection`, and takes the fields that it names out.
    fn read(headers: &mut Headers) -> Result<Self, Refusal> {
        let mut said = Self::default();
        let mut nominated: Vec<Name> = Vec::new();
        for value in headers.known_all(Known::Connection) {
            let members = value.split(|byte| *byte == b',');
            said.members += members.filter(|member| !member.is_empty()).count();
            // Two may not count: see below. Nobody looks at any number of names.
            if said.members >= CONNECTION_MEMBERS + 2 {
                return Err(Refusal::ConnectionHeader);
            }
            for token in tokens(value) {
                if token.eq_ignore_ascii_case(b"upgrade") {
                    said.upgrade = true;
                } else if token.eq_ignore_ascii_case(b"http2-settings") {
                    said.http2_settings = true;
                } else if token.eq_ignore_ascii_case(b"te") {
                    said.te = true;
                } else if !token.eq_ignore_ascii_case(b"close")
                    && !token.eq_ignore_ascii_case(b"keep-alive")
                {
                    nominated.push(nominate(token)?);
                }
            }
        }
        for name in &nominated {
            headers.remove(name);
        }
        Ok(said)
    }
}

/// Takes hop-by-hop fields out.
fn remove_hop_by_hop(
    headers: &mut Headers,
    ignored: Option<&[TextCondition]>,
) -> Result<Asks, Refusal> {
    let said = if headers.has(Known::Connection) {
        Said::read(headers)?
    } else {
        Said::default()
    };
    let mut upgrade = said.upgrade && headers.has(Known::Upgrade);
    let mut h2c = false;
    let value = headers.known(Known::Upgrade).unwrap_or_default();
    let udp = value.eq_ignore_ascii_case(b"connect-udp");
    if upgrade && let Some(ignored) = ignored {
        // An offer of h2c may be ignored (RFC 9110 §7.8); the request goes on as HTTP/1.1.
        h2c = value.eq_ignore_ascii_case(b"h2c");
        upgrade = !h2c && !ignored.iter().any(|ignored| ignored.matches(value));
    }
    // What makes such an offer does not count.
    let offers = if h2c {
        1 + usize::from(said.http2_settings)
    } else {
        0
    };
    let te = headers.known(Known::Te).map_or(0, <[u8]>::len);
    let members = said.members.saturating_sub(offers);
    if members >= CONNECTION_MEMBERS || (said.te && te >= NAMED_TE_BYTES) {
        return Err(Refusal::ConnectionHeader);
    }
    // `connection` may well be missing: not every server looks there.
    if udp && !names_udp_peer(headers) {
        return Err(Refusal::UdpPath { upgrades: upgrade });
    }
    let trailers = headers
        .known_all(Known::Te)
        .flat_map(tokens)
        .any(|token| token == b"trailers" || (said.te && token.eq_ignore_ascii_case(b"trailers")));
    let settings = !h2c && (upgrade || !said.http2_settings);
    headers.retain(|field| match field.known {
        Some(Known::Connection | Known::Upgrade) => upgrade,
        Some(Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding) => false,
        Some(Known::Te) => trailers,
        Some(Known::Http2Settings) => settings,
        _ => true,
    });
    if trailers {
        headers.set_known(Known::Te, b"trailers");
    }
    Ok(if upgrade {
        Asks::Upgrade
    } else {
        Asks::Nothing
    })
}

fn nominate(token: &[u8]) -> Result<Name, Refusal> {
    let name = Name::parse(token).map_err(|_invalid| Refusal::ConnectionHeader)?;
    if name == Name::Known(Known::Authority) && token.first() != Some(&b':') {
        return Err(Refusal::MissingHost);
    }
    let protected = name.is_pseudo()
        || matches!(
            name,
            Name::Known(
                Known::ContentLength
                    | Known::XForwardedFor
                    | Known::XForwardedHost
                    | Known::XForwardedProto
            )
        );
    if protected {
        Err(Refusal::ConnectionHeader)
    } else {
        Ok(name)
    }
}

/// The members of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1).
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Envoy's control headers: a client that is not internal may not steer the proxy with them.
fn remove_control_headers(headers: &mut Headers, keep_cert: bool, internal: bool, edge: bool) {
    headers.retain(|field| match field.known {
        Some(Known::XEnvoyInternal) => false,
        Some(Known::XForwardedClientCert) => keep_cert,
        Some(
            Known::XEnvoyRetryOn
            | Known::XEnvoyRetryGrpcOn
            | Known::XEnvoyMaxRetries
            | Known::XEnvoyRetriableStatusCodes
            | Known::XEnvoyRetriableHeaderNames
            | Known::XEnvoyHedgeOnPerTryTimeout
            | Known::XEnvoyUpstreamAltStatName
            | Known::XEnvoyExpectedRqTimeoutMs
            | Known::XEnvoyUpstreamRqTimeoutMs
            | Known::XEnvoyUpstreamRqPerTryTimeoutMs
            | Known::XEnvoyUpstreamRqTimeoutAltResponse
            | Known::XEnvoyUpstreamStreamDurationMs
            | Known::XEnvoyForceTrace
            | Known::XEnvoyIpTags
            | Known::XEnvoyOriginalUrl,
        ) => internal,
        Some(
            Known::XEnvoyOriginalPath
            | Known::XEnvoyOriginalHost
            | Known::XEnvoyDecoratorOperation
            | Known::XEnvoyDownstreamServiceCluster
            | Known::XEnvoyDownstreamServiceNode,
        ) => !edge,
        _ => true,
    });
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

fn request_id(rules: &HygieneRules, headers: &mut Headers, edge: bool, id: u128) {
    if !rules.generate_request_id {
        return;
    }
    let given = headers
        .known(Known::XRequestId)
        .filter(|given| !given.is_empty());
    match given {
        Some(given) if !edge || rules.preserve_external_request_id => {
            if edge
                && rules.pack_trace_reason
                && let Some(cleared) = without_trace_reason(given)
            {
                headers.set_known(Known::XRequestId, &cleared);
            }
        }
        Some(_) | None => headers.set_known(Known::XRequestId, &uuid(id)),
    }
}

/// A UUID with the digit that says why its request is traced set to "not at all", where it says
/// something else: nobody outside decides that.
fn without_trace_reason(id: &[u8]) -> Option<[u8; 36]> {
    let mut id: [u8; 36] = id.try_into().ok()?;
    let [.., reason] = id.first_chunk_mut::<15>()?;
    if *reason == b'4' {
        return None;
    }
    *reason = b'4';
    Some(id)
}

/// Text of a version 4 UUID (RFC 9562 §5.4) made of 122 of the random bits.
fn uuid(random: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (index, byte) in text.iter_mut().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            continue;
        }
        shift -= 4;
        let digit = ((bits >> shift) & 0xf) as usize;
        *byte = HEX.get(digit).copied().unwrap_or(b'0');
    }
    text
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

/// What a response may not say of a client's connection, because its own codec does. `keep-alive` is not
/// of these: clients of HTTP/1 make what they will of it.
const OF_CONNECTIONS: [Known; 4] = [
    Known::Connection,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
];

/// Takes what belongs to one connection alone out of a response. One that changes the protocol keeps the
/// two fields that say so.
pub(crate) fn end_of_hop_in_response(headers: &mut Headers, switches: bool) {
    headers.retain(|field| match field.known {
        Some(Known::Connection | Known::Upgrade) => switches,
        Some(Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding) => false,
        _ => true,
    });
}

/// Gives a response, an interim one too, the request's identifier, where that is wanted.
pub(crate) fn tell_request_id(manager: &ConnectionManager, exchange: &mut Exchange) {
    let wanted =
        manager.always_set_request_id_in_response || exchange.request.has(Known::XEnvoyForceTrace);
    if wanted && let Some(id) = exchange.request.known(Known::XRequestId) {
        exchange.response.set_known(Known::XRequestId, id);
    }
}

/// The last touches of every response, local ones included: `date`, `server`, `via`,
/// `x-request-id`. What a route says of the connection goes: that is not its own.
pub(crate) fn response(manager: &ConnectionManager, exchange: &mut Exchange, date: &[u8]) {
    let headers = &mut exchange.response;
    for name in OF_CONNECTIONS {
        let switches = exchange.status == 101 && matches!(name, Known::Connection | Known::Upgrade);
        if headers.has(name) && !switches {
            headers.remove_known(name);
        }
    }
    if !headers.has(Known::Date) {
        headers.append_known(Known::Date, date);
    }
    match manager.server_header {
        ServerHeader::Overwrite => headers.set_known(Known::Server, &manager.server_name),
        ServerHeader::AppendIfAbsent if !headers.has(Known::Server) => {
            headers.append_known(Known::Server, &manager.server_name);
        }
        ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
    }
    tell_request_id(manager, exchange);
    if let Some(via) = &manager.via {
        append_list(&mut exchange.response, Known::Via, via, b", ");
    }
    if let Some(proxy_status) = &manager.proxy_status {
        proxy_status.apply(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        let text = String::from_utf8(uuid(u128::MAX).to_vec()).unwrap();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let text = String::from_utf8(uuid(0).to_vec()).unwrap();
        assert_eq!(text, "00000000-0000-4000-8000-000000000000");
    }

    fn head(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append_bytes(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn names(headers: &Headers) -> Vec<String> {
        headers
            .iter()
            .map(|f| String::from_utf8_lossy(f.name).into_owned())
            .collect()
    }

    #[test]
    fn hop_by_hop_fields_and_the_named_ones_go() {
        let mut headers = head(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("expect", "100-Continue"),
            ("x-kept", "1"),
        ]);
        assert_eq!(
            remove_hop_by_hop(&mut headers, Some(&[])),
            Ok(Asks::Nothing)
        );
        // Whose `expect` it is to answer is not known here.
        assert_eq!(names(&headers), ["te", "expect", "x-kept"]);
        assert_eq!(headers.known(Known::Te), Some(&b"trailers"[..]));
    }

    #[test]
    fn connection_may_not_name_what_must_stay() {
        for name in ["content-length", "X-Forwarded-For", ":path", "bad name"] {
            let mut headers = head(&[("connection", name)]);
            let refused = remove_hop_by_hop(&mut headers, Some(&[]));
            assert_eq!(refused, Err(Refusal::ConnectionHeader), "{name}");
        }
    }

    #[test]
    fn connection_has_few_members() {
        let refused = |lines: &[(&str, &str)]| {
            let refused = remove_hop_by_hop(&mut head(lines), Some(&[]));
            refused == Err(Refusal::ConnectionHeader)
        };
        for (value, expected) in [
            ("a,b,c,d,e,f,g,h,i", false),
            ("a,b,c,d,e,f,g,h,i,close", true),
            ("a,b,c,d,e,f,g,h,i,te", true),
            (",,,,,,,,,,,,,,", false),
            (" , , , , , , , , , ,", true),
        ] {
            assert_eq!(refused(&[("connection", value)]), expected, "{value}");
        }
        let members = "upgrade,http2-settings,a,b,c,d,e,f,g,h,i";
        assert!(!refused(&[("connection", members), ("upgrade", "h2c")]));
        assert!(refused(&[("connection", members), ("upgrade", "a")]));
        let te = "trailers".repeat(32);
        assert!(refused(&[("connection", "te"), ("te", &te)]));
        assert!(!refused(&[("connection", "a"), ("te", &te)]));
    }

    #[test]
    fn who_asks_for_udp_says_to_whom() {
        for (path, expected) in [
            ("/.well-known/masque/udp/a/1/", true),
            ("/.well-known/masque/udp/a/1", false),
            ("/.well-known/masque/udp/a/1/b", false),
            ("/.well-known/masque/udp//1/", false),
            ("/.well-known/masque/udp/", false),
            ("/", false),
        ] {
            assert_eq!(
                names_udp_peer(&head(&[(":path", path)])),
                expected,
                "{path}"
            );
        }
        assert!(!names_udp_peer(&head(&[])));
    }

    #[test]
    fn upgrades_are_seen_and_h2c_is_ignored() {
        let mut websocket = head(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(
            remove_hop_by_hop(&mut websocket, Some(&[])),
            Ok(Asks::Upgrade)
        );
        let fields = [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "A"),
        ];
        let mut h2c = head(&fields);
        assert_eq!(remove_hop_by_hop(&mut h2c, Some(&[])), Ok(Asks::Nothing));
        assert!(h2c.is_empty());
        let mut other = head(&[fields[0], ("upgrade", "websocket"), fields[2]]);
        assert_eq!(remove_hop_by_hop(&mut other, Some(&[])), Ok(Asks::Upgrade));
        assert_eq!(other.len(), 3);
        // Of an extended CONNECT nothing would be left.
        let mut h2c = head(&fields[..2]);
        assert_eq!(remove_hop_by_hop(&mut h2c, None), Ok(Asks::Upgrade));
        assert_eq!(h2c.known(Known::Upgrade), Some(&b"h2c"[..]));
    }

    #[test]
    fn ports_and_dots_of_hosts_are_stripped() {
        let stripped = |host: &str, host_port, strip_host_dot| {
            let rules = HygieneRules {
                host_port,
                strip_host_dot,
                ..rules()
            };
            let mut headers = head(&[(":authority", host)]);
            normalize_host(&rules, &mut headers, 8080);
            String::from_utf8(headers.known(Known::Authority).unwrap().to_vec()).unwrap()
        };
        for (host, matching, any) in [
            ("a.com:8080", "a.com", "a.com"),
            ("a.com:80", "a.com:80", "a.com"),
            ("a.com:", "a.com:", "a.com:"),
            ("a.com:x", "a.com:x", "a.com:x"),
            ("a.com", "a.com", "a.com"),
            ("[::1]:8080", "[::1]", "[::1]"),
            ("[::1]", "[::1]", "[::1]"),
            ("a.com:1:8080", "a.com:1", "a.com:1"),
        ] {
            assert_eq!(stripped(host, HostPort::Keep, false), host);
            assert_eq!(stripped(host, HostPort::StripMatching, false), matching);
            assert_eq!(stripped(host, HostPort::StripAny, false), any);
        }
        for (host, expected) in [
            ("a.com.", "a.com"),
            ("a.com.:80", "a.com:80"),
            ("a.com..", "a.com."),
            ("a.com", "a.com"),
            (".", ""),
        ] {
            assert_eq!(stripped(host, HostPort::Keep, true), expected);
        }
        assert_eq!(stripped("a.com.:80", HostPort::StripAny, true), "a.com");
    }

    #[test]
    fn a_trace_reason_from_outside_is_cleared() {
        let id = b"ffffffff-ffff-9fff-bfff-ffffffffffff";
        assert_eq!(
            without_trace_reason(id).as_ref().map(|id| &id[..]),
            Some(&b"ffffffff-ffff-4fff-bfff-ffffffffffff"[..])
        );
        assert_eq!(without_trace_reason(&uuid(7)), None);
        assert_eq!(without_trace_reason(b"mine"), None);
    }

    fn rules() -> HygieneRules {
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
            user_agent: None,
            generate_request_id: true,
            preserve_external_request_id: false,
            told_ports: None,
            pack_trace_reason: true,
            early: RequestChanges::default(),
            ignored_upgrades: Box::default(),
        }
    }

    #[test]
    fn a_referer_is_a_url_or_a_part_of_one() {
        for text in [
            "",
            "/",
            "/a?b?c",
            "?",
            "a",
            "a.example/b",
            "//a/b",
            "*a",
            "a@b",
            "/a:b",
            "/a%zz",
            "http://a",
            "HTTP://a?x",
            "http://a:080/b?c=d/e:f@g",
            "http://[::1]:80/",
            "h+t.p-1://a/",
        ] {
            assert!(is_reference(text.as_bytes()), "{text}");
        }
        for text in [
            "a b",
            "/a#",
            "/a\"b",
            "/a<b",
            "/a\\b",
            "/a^b",
            "/a`b",
            "/a{b",
            "/a|b",
            "/a[b]",
            "/\u{e9}",
            "a:80",
            "about:blank",
            "http:/a",
            "http://",
            "http:///",
            "://a",
            "1://a",
            "http://a_b/",
            "http://u@a/",
            "http://a:/",
            "http://a:99999/",
            "http://[::1",
            "http://a%41/",
        ] {
            assert!(!is_reference(text.as_bytes()), "{text}");
        }
    }
}
