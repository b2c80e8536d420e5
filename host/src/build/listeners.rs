//! Listeners and their connection managers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Workshop;
use super::manager::{early_logs, request_rules};
use super::metadata::static_metadata;
use super::per_filter::Chain;
use super::socket_options::keep_alive;
use crate::address::Address;
use crate::config::Place;
use crate::config::address::{Address as WrittenAddress, AddressKind, CidrRange};
use crate::config::filter::{HttpFilterConfig, Router};
use crate::config::http_connection_manager::{
    CodecType, HttpConnectionManager, ServerHeaderTransformation,
};
use crate::config::listener::{
    DrainType, FilterChain as WrittenChain, Listener as Written, NetworkFilter,
    NetworkFilterConfig, TrafficDirection,
};
use crate::config::scalar::Duration as WrittenDuration;
use crate::headers::Known;
use crate::limits;
use crate::observe::registry::Scope;
use crate::observe::stats::Sharded;
use crate::route::{EnvoyHeaders, Seat};
use crate::runtime::{
    Cidr, Codec, ConnectionManager, Draining, FilterChain, HttpListener, ListenAddress, Listener,
    Room, ServerHeader, Service, SocketSettings, Upgrade, UpstreamLogs,
};
use crate::socket_option::SocketOption;
use crate::tcp::gate::Gate;
use crate::wasm::FilterSlot;

/// What a listener says about all of its connections.
#[derive(Clone, Copy)]
pub(super) struct OfListener {
    buffer_limit: usize,
    stays_when_failing: bool,
}

impl Workshop<'_> {
    pub(super) fn listeners(
        &mut self,
        written: &[Written],
        place: Place<'_>,
    ) -> Vec<Arc<Listener>> {
        let mut built: Vec<Arc<Listener>> = Vec::new();
        for (index, listener) in written.iter().enumerate() {
            let here = place.index(index);
            let earlier = written.iter().take(index);
            let same = |other: &&Written| {
                (!listener.name.is_empty() && other.name == listener.name)
                    || (other.address == listener.address
                        && listener
                            .address
                            .socket()
                            .is_none_or(|socket| socket.port() != 0))
            };
            if let Some(first) = earlier.clone().position(|other| same(&other)) {
                let what = if written
                    .get(first)
                    .is_some_and(|other| other.name == listener.name)
                {
                    "name"
                } else {
                    "address"
                };
                self.diagnostics
                    .error(
                        here.field(what),
                        format!("another listener has the same {what}"),
                    )
                    .related_place(place.index(first).field(what), "the first one");
                continue;
            }
            built.extend(self.listener(listener, here).map(Arc::new));
        }
        built
    }

    fn listener(&mut self, written: &Written, place: Place<'_>) -> Option<Listener> {
        let at = place.field("address");
        let address = self.listen_on(&written.address, at);
        self.check_unix_sockets(written, place);
        if written.connection_balance_config.is_some() {
            let message = "no effect: the system spreads connections over the workers";
            self.diagnostics
                .warning(place.field("connection_balance_config"), message);
        }
        let limit = written.per_connection_buffer_limit_bytes;
        let buffer_limit = limit.unwrap_or(limits::CONNECTION_BUFFER_BYTES) as usize;
        let own = OfListener {
            buffer_limit,
            stays_when_failing: written.drain_type == DrainType::ModifyOnly,
        };
        let chains = self.filter_chains(written, own, place);
        let inspection = self.inspection(written, place);
        let sockets = self.listen_addresses(written, address.clone(), place);
        let (chains, inspection, address) = (chains?, inspection?, address?);
        let name = match written.name.as_str() {
            "" => address.to_string(),
            name => name.to_owned(),
        };
        let room = Room::of_listener(&self.values, &name);
        Some(Listener {
            room: Arc::new(room),
            room_of_all: Arc::clone(&self.room_of_all),
            ignores_others: written.ignore_global_conn_limit,
            name: name.into(),
            address,
            sockets: sockets?,
            settings: socket_settings(written),
            loggers: self.access_logs(&written.access_log, place.field("access_log")),
            log_filters: self.log_filters(&written.access_log, place.field("access_log")),
            stat_prefix: written.stat_prefix.clone(),
            stats: Arc::new(Sharded::new(self.settings.workers)),
            is_inbound: written.traffic_direction == TrafficDirection::Inbound,
            inspection,
            chains,
            metadata: static_metadata(written.metadata.as_ref()),
        })
    }

    /// What Unix sockets cannot be told.
    fn check_unix_sockets(&mut self, written: &Written, place: Place<'_>) {
        let more = written
            .additional_addresses
            .iter()
            .map(|more| &more.address);
        let mut all = std::iter::once(&written.address).chain(more);
        if all.all(|address| address.socket().is_some()) {
            return;
        }
        if written.enable_mptcp {
            let message = "a Unix socket does not speak MPTCP";
            self.diagnostics.error(place.field("enable_mptcp"), message);
        }
        for (field, is_set) in [
            ("freebind", written.freebind == Some(true)),
            ("transparent", written.transparent == Some(true)),
            ("tcp_keepalive", written.tcp_keepalive.is_some()),
            (
                "tcp_fast_open_queue_length",
                written.tcp_fast_open_queue_length.is_some(),
            ),
        ] {
            if is_set {
                let message = format!("'{field}' has no effect on a Unix socket");
                self.diagnostics.warning(place.field(field), message);
            }
        }
    }

    /// An address to listen on.
    fn listen_on(&mut self, written: &WrittenAddress, place: Place<'_>) -> Option<Address> {
        let pipe = match &written.address {
            AddressKind::SocketAddress(socket) => {
                let address = self.literal(socket, place.field("socket_address"));
                return address.map(Address::Ip);
            }
            AddressKind::Pipe(pipe) => pipe,
        };
        let place = place.field("pipe");
        if pipe.path.len() > limits::UNIX_PATH_BYTES {
            let message = format!("longer than {} bytes", limits::UNIX_PATH_BYTES);
            self.diagnostics.error(place.field("path"), message);
            return None;
        }
        if pipe.path.starts_with('@') && pipe.mode != 0 {
            let message = "a name in the abstract namespace has no file whose mode could be set";
            self.diagnostics.error(place.field("mode"), message);
            return None;
        }
        Some(Address::Unix(pipe.path.as_str().into()))
    }

    /// Where a listener whose first address is `first` listens.
    fn listen_addresses(
        &mut self,
        written: &Written,
        first: Option<Address>,
        place: Place<'_>,
    ) -> Option<Box<[ListenAddress]>> {
        let options = place.field("socket_options");
        let options = self.socket_options(&written.socket_options, options);
        let options = options.map(|options| with_fast_open(options, written));
        let mut all = vec![listen_address(&written.address, first, options.clone())];
        let here = place.field("additional_addresses");
        for (index, more) in written.additional_addresses.iter().enumerate() {
            let here = here.index(index);
            let address = self.listen_on(&more.address, here.field("address"));
            let options = match &more.socket_options {
                Some(own) => {
                    let here = here.field("socket_options").field("socket_options");
                    let own = self.socket_options(&own.socket_options, here);
                    own.map(|options| with_fast_open(options, written))
                }
                None => options.clone(),
            };
            all.push(listen_address(&more.address, address, options));
        }
        let all = all.into_iter().collect::<Option<Box<[_]>>>();
        if written.binds() {
            all
        } else {
            Some(Box::default())
        }
    }

    /// A filter chain: what is written, and the buffer limit of its listener.
    pub(super) fn filter_chain(
        &mut self,
        chain: &WrittenChain,
        own: OfListener,
        place: Place<'_>,
    ) -> Option<FilterChain> {
        let filters = place.field("filters");
        let Some((last, front)) = chain.filters.split_last() else {
            self.diagnostics
                .warning(
                    filters,
                    "without a network filter connections are closed at once",
                )
                .hint("add envoy.filters.network.http_connection_manager");
            return Some(FilterChain {
                name: chain.name.as_str().into(),
                handshake: None,
                gates: Box::default(),
                service: Service::Nothing,
                metadata: static_metadata(chain.metadata.as_ref()),
            });
        };
        let gates: Vec<Option<Gate>> = front
            .iter()
            .enumerate()
            .map(|(index, filter)| self.gate(filter, filters.index(index)))
            .collect();
        let service = self.service(last, own, filters.index(front.len()));
        let handshake = self.handshake(chain, place);
        let (service, handshake) = (service?, handshake?);
        Some(FilterChain {
            name: chain.name.as_str().into(),
            handshake,
            gates: gates.into_iter().collect::<Option<_>>()?,
            service,
            metadata: static_metadata(chain.metadata.as_ref()),
        })
    }

    /// A filter in front of the terminal one.
    fn gate(&mut self, filter: &NetworkFilter, place: Place<'_>) -> Option<Gate> {
        match &filter.typed_config {
            NetworkFilterConfig::ConnectionLimit(written) => Some(self.connection_limit(written)),
            NetworkFilterConfig::LocalRateLimit(written) => {
                self.network_rate_limit(written, place.field("typed_config"))
            }
            NetworkFilterConfig::HttpConnectionManager(_)
            | NetworkFilterConfig::TcpProxy(_)
            | NetworkFilterConfig::DirectResponse(_)
            | NetworkFilterConfig::Echo(_) => {
                self.diagnostics.error(
                    place,
                    "this network filter is terminal: it must be the last filter of its chain",
                );
                None
            }
        }
    }

    /// The last filter of a chain.
    fn service(
        &mut self,
        filter: &NetworkFilter,
        own: OfListener,
        place: Place<'_>,
    ) -> Option<Service> {
        let here = place.field("typed_config");
        Some(match &filter.typed_config {
            NetworkFilterConfig::HttpConnectionManager(written) => {
                let manager = self.manager(written, here)?;
                Service::Http(Arc::new(HttpListener {
                    buffer_limit: own.buffer_limit,
                    stays_when_failing: own.stays_when_failing,
                    http_stats: Arc::new(Sharded::new(self.settings.workers)),
                    manager: Arc::new(manager),
                    draining: Draining::default(),
                }))
            }
            NetworkFilterConfig::TcpProxy(written) => {
                Service::Tcp(Arc::new(self.tcp_proxy(written, own.buffer_limit, here)?))
            }
            NetworkFilterConfig::DirectResponse(written) => {
                Service::Answer(self.tcp_response(written, here)?)
            }
            NetworkFilterConfig::Echo(_) => Service::Echo,
            NetworkFilterConfig::ConnectionLimit(_) | NetworkFilterConfig::LocalRateLimit(_) => {
                self.diagnostics
                    .error(
                        place,
                        "this network filter is not terminal: it cannot be the last filter of its chain",
                    )
                    .hint("add a terminal one, such as envoy.filters.network.tcp_proxy");
                return None;
            }
        })
    }

    fn manager(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> Option<ConnectionManager> {
        let filters_place = place.field("http_filters");
        let mut chain = Chain::new();
        let name = &written.stat_prefix;
        self.http_filters(&written.http_filters, name, &mut chain, filters_place);
        let mut upgrades = self.upgrades(written, &mut chain, place.field("upgrade_configs"));
        let outermost = chain.outermost();
        let routes = place.field("route_config");
        let routes = self.routes(written.route_config(), &mut chain, routes);
        let filters = hand_out(chain, &mut upgrades);
        let hygiene = self.hygiene(written, place);
        let loggers = self.access_logs(&written.access_log, place.field("access_log"));
        let log_filters = self.log_filters(&written.access_log, place.field("access_log"));
        let upstream_logs = self.upstream_logs(written, filters_place);
        let local_replies = written
            .local_reply_config
            .as_ref()
            .map(|config| self.local_replies(config, place.field("local_reply_config")));
        let stats = self.registry.sharded(Scope::http(&written.stat_prefix));
        let common = written
            .common_http_protocol_options
            .clone()
            .unwrap_or_default();
        let http1 = written.http_protocol_options.clone().unwrap_or_default();
        let http2 = written.http2_protocol_options.clone().unwrap_or_default();
        Some(ConnectionManager {
            codec: codec(written.codec_type),
            server_name: server_name(written),
            server_header: server_header(written.server_header_transformation),
            via: (!written.via.is_empty()).then(|| written.via.clone().into_bytes()),
            hygiene,
            shows_client: written.add_proxy_protocol_connection_state.unwrap_or(true),
            passes_interim: written.proxy_100_continue,
            always_set_request_id_in_response: written.always_set_request_id_in_response,
            idle_timeout: or_off(common.idle_timeout, Duration::from_hours(1)),
            max_requests_per_connection: common.max_requests_per_connection.filter(|max| *max > 0),
            max_connection_duration: common
                .max_connection_duration
                .and_then(WrittenDuration::non_zero),
            http1_safe_max_connection_duration: written.http1_safe_max_connection_duration,
            stream_idle_timeout: or_off(written.stream_idle_timeout, Duration::from_mins(5)),
            stream_flush_timeout: written.stream_flush_timeout.map(WrittenDuration::non_zero),
            max_stream_duration: common
                .max_stream_duration
                .and_then(WrittenDuration::non_zero),
            request_timeout: written.request_timeout.and_then(WrittenDuration::non_zero),
            request_headers_timeout: written
                .request_headers_timeout
                .and_then(WrittenDuration::non_zero),
            drain_timeout: written
                .drain_timeout
                .map_or(Duration::from_secs(5), WrittenDuration::get),
            delayed_close_timeout: or_off(written.delayed_close_timeout, Duration::from_secs(1)),
            rules: request_rules(written, &common, &http1),
            envoy_headers: envoy_headers(written),
            strict_headers: self.strict_headers(written, place),
            respects_expected_timeout: router(written)
                .is_some_and(|router| router.respect_expected_rq_timeout),
            scheme_of_upstream: scheme_of_upstream(written),
            http1_trailers: http1.enable_trailers,
            http1_stream_errors: http1
                .override_stream_error_on_invalid_http_message
                .or(written.stream_error_on_invalid_http_message)
                .unwrap_or(false),
            http2: self.http2_to_clients(&http2, place.field("http2_protocol_options")),
            routes: Seat::new(routes?),
            filters,
            variants: outermost.variants(),
            loggers,
            log_filters,
            upstream_logs,
            early_logs: early_logs(written),
            proxy_status: self.proxy_status(written),
            local_replies,
            upgrades: upgrades.into(),
            told_changed_length: AtomicBool::new(false),
            stat_prefix: written.stat_prefix.clone(),
            stats,
            codecs: self.registry.sharded(Scope::default()),
        })
    }

    /// `Router.upstream_log`; `place` is that of the filters.
    fn upstream_logs(&mut self, written: &HttpConnectionManager, place: Place<'_>) -> UpstreamLogs {
        let filters = written.http_filters.iter().enumerate();
        let found = filters
            .filter_map(|(index, filter)| match &filter.typed_config {
                HttpFilterConfig::Router(router) => Some((index, router)),
                _ => None,
            })
            .next();
        let Some((index, router)) = found else {
            return UpstreamLogs::default();
        };
        let here = place.index(index).field("typed_config");
        let logs = here.field("upstream_log");
        let options = router.upstream_log_options.unwrap_or_default();
        UpstreamLogs {
            loggers: self.access_logs(&router.upstream_log, logs),
            filters: self.log_filters(&router.upstream_log, logs),
            when_ready: options.flush_upstream_log_on_upstream_stream,
        }
    }

    fn strict_headers(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> Box<[Known]> {
        const CHECKED: [Known; 5] = [
            Known::XEnvoyUpstreamRqTimeoutMs,
            Known::XEnvoyUpstreamRqPerTryTimeoutMs,
            Known::XEnvoyMaxRetries,
            Known::XEnvoyRetryGrpcOn,
            Known::XEnvoyRetryOn,
        ];
        let names =
            router(written).map_or(&[][..], |router| router.strict_check_headers.as_slice());
        let known = names.iter().filter_map(|name| {
            let found = CHECKED.into_iter().find(|known| known.as_str() == name);
            if found.is_none() {
                let names = CHECKED.map(Known::as_str).join(", ");
                let message = format!("'{name}' cannot be checked");
                self.diagnostics
                    .error(place.field("http_filters"), message)
                    .hint(format!("what can be: {names}"));
            }
            found
        });
        known.collect()
    }

    /// The upgrades, those with filters of their own with a place for these, which are added to `chain`.
    fn upgrades(
        &mut self,
        written: &HttpConnectionManager,
        chain: &mut Chain,
        place: Place<'_>,
    ) -> Vec<Upgrade> {
        let mut built: Vec<Upgrade> = Vec::new();
        for (index, upgrade) in written.upgrade_configs.iter().enumerate() {
            let (here, kind) = (place.index(index), &upgrade.upgrade_type);
            if kind.is_empty() {
                let message = "no effect: no request asks for an upgrade to nothing";
                self.diagnostics
                    .warning(here, message)
                    .hint("name the protocol in 'upgrade_type', such as websocket");
            }
            if let Some(first) = built
                .iter()
                .position(|other| other.kind.eq_ignore_ascii_case(kind.as_bytes()))
            {
                self.diagnostics
                    .error(
                        here.field("upgrade_type"),
                        format!("another entry is for \"{kind}\" as well"),
                    )
                    .related_place(place.index(first).field("upgrade_type"), "the first one");
            }
            let filters = (!upgrade.filters.is_empty()).then(|| {
                let place = here.field("filters");
                self.http_filters(&upgrade.filters, &written.stat_prefix, chain, place);
                (0, Arc::default())
            });
            built.push(Upgrade {
                kind: kind.as_bytes().into(),
                enabled: upgrade.enabled.unwrap_or(true),
                filters,
            });
        }
        built
    }

    pub(super) fn range(&mut self, written: &CidrRange, place: Place<'_>) -> Option<Cidr> {
        let text = &written.address_prefix;
        let Ok(address) = text.parse::<IpAddr>() else {
            let message = format!("malformed IP address \"{text}\"");
            self.diagnostics
                .error(place.field("address_prefix"), message);
            return None;
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = written.prefix_len.unwrap_or(0);
        match u8::try_from(prefix) {
            Ok(prefix) if prefix <= bits => Some(Cidr { address, prefix }),
            _ => {
                let message = format!("an address of this family has {bits} bits");
                self.diagnostics.error(place.field("prefix_len"), message);
                None
            }
        }
    }
}

/// Ends a chain: the filters in front, those of upgrades with filters of their own to these.
fn hand_out(chain: Chain, upgrades: &mut [Upgrade]) -> Arc<[FilterSlot]> {
    let mut parts = chain.finish().into_iter();
    let filters = parts.next().map(|(_, filters)| filters);
    for upgrade in upgrades.iter_mut().filter(|own| own.filters.is_some()) {
        upgrade.filters = parts.next();
    }
    filters.unwrap_or_default()
}

fn listen_address(
    written: &WrittenAddress,
    address: Option<Address>,
    options: Option<Box<[SocketOption]>>,
) -> Option<ListenAddress> {
    let socket = written.socket();
    Some(ListenAddress {
        address: address?,
        mode: match &written.address {
            AddressKind::SocketAddress(_) => 0,
            AddressKind::Pipe(pipe) => pipe.mode,
        },
        takes_ipv4: socket.is_some_and(|socket| socket.ipv4_compat),
        options: options?,
    })
}

/// The options of a socket, and how many connections may wait whose first bytes came at once.
fn with_fast_open(options: Box<[SocketOption]>, written: &Written) -> Box<[SocketOption]> {
    let own = written.tcp_fast_open_queue_length;
    let own = own.and_then(SocketOption::fast_open);
    options.into_iter().chain(own).collect()
}

fn socket_settings(written: &Written) -> SocketSettings {
    SocketSettings {
        backlog: written.tcp_backlog_size.unwrap_or(limits::LISTEN_BACKLOG),
        freebind: written.freebind.unwrap_or(false),
        transparent: written.transparent.unwrap_or(false),
        keepalive: written.tcp_keepalive.map(keep_alive),
        mptcp: written.enable_mptcp,
    }
}

/// A duration whose zero means never.
pub(super) fn or_off(written: Option<WrittenDuration>, default: Duration) -> Option<Duration> {
    written.map_or(Some(default), WrittenDuration::non_zero)
}

/// Whether requests go with the scheme of the connection to the upstream.
fn scheme_of_upstream(written: &HttpConnectionManager) -> bool {
    let scheme = written.scheme_header_transformation.as_ref();
    scheme.is_some_and(|written| written.match_upstream)
}

const fn codec(written: CodecType) -> Codec {
    match written {
        CodecType::Auto => Codec::Auto,
        CodecType::Http1 => Codec::Http1,
        CodecType::Http2 => Codec::Http2,
    }
}

const fn server_header(written: ServerHeaderTransformation) -> ServerHeader {
    match written {
        ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
        ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
    }
}

fn envoy_headers(written: &HttpConnectionManager) -> EnvoyHeaders {
    match router(written) {
        Some(router) if router.suppress_envoy_headers => EnvoyHeaders::Suppress,
        Some(_) | None => EnvoyHeaders::Add,
    }
}

/// What ends the chain of filters, where that is Envoy's filter.
fn router(written: &HttpConnectionManager) -> Option<&Router> {
    written
        .http_filters
        .iter()
        .find_map(|filter| match &filter.typed_config {
            HttpFilterConfig::Router(router) => Some(router),
            _ => None,
        })
}

/// `server_name`; Envoy's default, so that clients and tests that look for it go on.
fn server_name(written: &HttpConnectionManager) -> Vec<u8> {
    if written.server_name.is_empty() {
        b"envoy".to_vec()
    } else {
        written.server_name.clone().into_bytes()
    }
}
