//! Which filter chain a connection gets.
//!
//! Owns Envoy's order of precedence among filter chains, compiled: one property of the connection after
//! the other leads through a map to the next, however many chains and names there are. Each step takes
//! the most specific entry and never comes back to try another. Pure; `build` fills it, `listener` asks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Cidr;

/// `transport_protocol` of a connection that no listener filter has recognised.
pub const RAW_BUFFER: &str = "raw_buffer";
/// `transport_protocol` of one that begins with a `ClientHello`.
pub const TLS: &str = "tls";
/// What stands for the address of a peer that has none, as in Envoy: ranges that hold everything hold
/// it.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// `FilterChainMatch`: what a filter chain asks of a connection. An empty list, or none, asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// `destination_port`.
    pub destination_port: Option<u16>,
    /// `prefix_ranges`.
    pub destinations: Vec<Cidr>,
    /// `server_names`: a name, or `*.` and what it ends with.
    pub server_names: Vec<String>,
    /// `transport_protocol`.
    pub transport: Option<String>,
    /// `application_protocols`.
    pub protocols: Vec<String>,
    /// `direct_source_prefix_ranges`.
    pub direct_sources: Vec<Cidr>,
    /// `source_type`.
    pub source_type: SourceType,
    /// `source_prefix_ranges`.
    pub sources: Vec<Cidr>,
    /// `source_ports`.
    pub source_ports: Vec<u16>,
}

/// `FilterChainMatch.ConnectionSourceType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceType {
    /// Wherever it comes from.
    #[default]
    Any,
    /// From this machine.
    Local,
    /// From another one.
    External,
}

/// What a connection is chosen by. An address is none where it is that of a Unix socket.
#[derive(Clone, Copy, Debug)]
pub struct Arriving<'a> {
    /// The address that it came to, as restored by listener filters.
    pub local: Option<SocketAddr>,
    /// The client's, as told by listener filters.
    pub remote: Option<SocketAddr>,
    /// The peer of the socket.
    pub direct_remote: Option<SocketAddr>,
    /// The name that the client asks for, in lower case; empty where it asks for none.
    pub server_name: &'a str,
    /// `raw_buffer` or `tls`.
    pub transport: &'a str,
    /// The application protocols that the client offers, the one it likes best first.
    pub protocols: &'a [Box<str>],
}

impl Arriving<'_> {
    /// Whether it comes from this machine. Envoy knows no loopback addresses but these two.
    pub(super) fn is_local(&self) -> bool {
        let Some(remote) = self.remote.map(|address| address.ip()) else {
            return true;
        };
        let is_loopback = match remote {
            IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST,
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        is_loopback || self.local.map(|address| address.ip()) == Some(remote)
    }
}

/// The filter chains of a listener by what they ask for, each as a number.
#[derive(Debug, Default)]
pub struct Matcher {
    destinations: ByPort<ByRange<ByText<ByText<ByText<Sources>>>>>,
}

/// The second half of the properties: where the connection comes from.
#[derive(Debug, Default)]
struct Sources {
    direct: ByRange<ByType<ByRange<ByPort<Option<u32>>>>>,
}

impl Matcher {
    /// Adds a chain.
    ///
    /// # Errors
    /// The number of a chain that some connection would match just as well.
    pub fn add(&mut self, demands: &Demands, chain: u32) -> Result<(), u32> {
        let by_port = self.destinations.at(demands.destination_port);
        for range in each(&demands.destinations) {
            let by_range = by_port.at(range);
            for name in each(&demands.server_names) {
                // As a key a suffix begins with its point, which no name of a client does.
                let key = name.map(|name| name.strip_prefix('*').unwrap_or(name));
                let by_name = by_range.at(key).at(demands.transport.as_deref());
                for protocol in each(&demands.protocols) {
                    let sources = by_name.at(protocol.map(String::as_str));
                    sources.add(demands, chain)?;
                }
            }
        }
        Ok(())
    }

    /// The chain for a connection; none where no chain wants it.
    #[must_use]
    pub fn find(&self, arriving: &Arriving<'_>) -> Option<u32> {
        let local = arriving.local;
        self.destinations
            .find(local.map(|address| address.port()))?
            .find(local.map(|address| address.ip()))?
            .find_name(arriving.server_name)?
            .find([arriving.transport])?
            .find(arriving.protocols.iter().map(|protocol| &**protocol))?
            .find(arriving)
    }
}

impl Sources {
    fn add(&mut self, demands: &Demands, chain: u32) -> Result<(), u32> {
        for direct in each(&demands.direct_sources) {
            let by_type = self.direct.at(direct).at(demands.source_type);
            for source in each(&demands.sources) {
                let by_source = by_type.at(source);
                for port in each(&demands.source_ports) {
                    match by_source.at(port.copied()) {
                        Some(first) => return Err(*first),
                        free => *free = Some(chain),
                    }
                }
            }
        }
        Ok(())
    }

    fn find(&self, arriving: &Arriving<'_>) -> Option<u32> {
        let direct = arriving.direct_remote.map(|address| address.ip());
        let source = arriving.remote;
        *self
            .direct
            .find(direct)?
            .find(|| arriving.is_local())?
            .find(source.map(|address| address.ip()))?
            .find(source.map(|address| address.port()))?
    }
}

/// Every value of a list, or none once where it is empty.
fn each<T>(list: &[T]) -> impl Iterator<Item = Option<&T>> {
    let nothing = list.is_empty().then_some(None);
    list.iter().map(Some).chain(nothing)
}

/// A step by a port.
#[derive(Debug)]
struct ByPort<T> {
    exact: HashMap<u16, T>,
    any: Option<T>,
}

impl<T: Default> ByPort<T> {
    fn at(&mut self, port: Option<u16>) -> &mut T {
        match port {
            Some(port) => self.exact.entry(port).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    fn find(&self, port: Option<u16>) -> Option<&T> {
        let exact = port.and_then(|port| self.exact.get(&port));
        exact.or(self.any.as_ref())
    }
}

/// A step by a text.
#[derive(Debug)]
struct ByText<T> {
    exact: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T: Default> ByText<T> {
    fn at(&mut self, text: Option<&str>) -> &mut T {
        match text {
            // What is empty asks for nothing.
            None | Some("") => self.any.get_or_insert_default(),
            Some(text) => self.exact.entry(text.into()).or_default(),
        }
    }

    /// By the first text that has an entry.
    fn find<'t, I: IntoIterator<Item = &'t str>>(&self, texts: I) -> Option<&T> {
        let mut found = texts.into_iter().filter_map(|text| self.exact.get(text));
        found.next().or(self.any.as_ref())
    }

    /// By a host name, or by what it ends with, the longest first.
    fn find_name(&self, name: &str) -> Option<&T> {
        // A point at either end stands for nothing.
        let inner = name.len().saturating_sub(1);
        let points = name.match_indices('.').map(|(at, _)| at);
        let suffixes = points
            .filter(|at| (1..inner).contains(at))
            .filter_map(|at| name.get(at..));
        self.find([name].into_iter().chain(suffixes))
    }
}

/// A step by where the connection comes from.
#[derive(Debug)]
struct ByType<T> {
    local: Option<T>,
    external: Option<T>,
    any: Option<T>,
}

impl<T: Default> ByType<T> {
    fn at(&mut self, source_type: SourceType) -> &mut T {
        let slot = match source_type {
            SourceType::Any => &mut self.any,
            SourceType::Local => &mut self.local,
            SourceType::External => &mut self.external,
        };
        slot.get_or_insert_default()
    }

    fn find(&self, is_local: impl FnOnce() -> bool) -> Option<&T> {
        let specific = match (&self.local, &self.external) {
            (None, None) => None,
            (local, _) if is_local() => local.as_ref(),
            (_, external) => external.as_ref(),
        };
        specific.or(self.any.as_ref())
    }
}

/// A step by a range of addresses: the smallest that holds the address.
#[derive(Debug)]
struct ByRange<T> {
    ranges: HashMap<Range, T>,
    /// The lengths of prefixes that occur, the longest first.
    v4: Vec<u8>,
    v6: Vec<u8>,
    any: Option<T>,
}

/// A range as a key: its family, the length of its prefix, the bits of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Range {
    is_v4: bool,
    prefix: u8,
    bits: u128,
}

impl Range {
    fn new(address: IpAddr, prefix: u8) -> Self {
        let (is_v4, width, bits) = match address {
            IpAddr::V4(ip) => (true, 32, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (false, 128, ip.to_bits()),
        };
        let rest = u32::saturating_sub(width, u32::from(prefix));
        Self {
            is_v4,
            prefix,
            bits: bits.checked_shr(rest).unwrap_or(0),
        }
    }
}

impl<T: Default> ByRange<T> {
    fn at(&mut self, range: Option<&Cidr>) -> &mut T {
        let Some(Cidr { address, prefix }) = range else {
            return self.any.get_or_insert_default();
        };
        let lengths = match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        };
        if let Err(at) = lengths.binary_search_by(|length| prefix.cmp(length)) {
            lengths.insert(at, *prefix);
        }
        let range = Range::new(*address, *prefix);
        self.ranges.entry(range).or_default()
    }

    fn find(&self, address: Option<IpAddr>) -> Option<&T> {
        let address = address.unwrap_or(NO_ADDRESS);
        let lengths = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        let mut held = lengths
            .iter()
            .filter_map(|prefix| self.ranges.get(&Range::new(address, *prefix)));
        held.next().or(self.any.as_ref())
    }
}

/// Steps without an entry. Written out because a derived one would ask it of `T` too.
macro_rules! empty {
    ($($step:ident { $($field:ident),+ })+) => {
        $(impl<T> Default for $step<T> {
            fn default() -> Self {
                Self { $($field: Default::default()),+ }
            }
        })+
    };
}

empty! {
    ByPort { exact, any }
    ByText { exact, any }
    ByType { local, external, any }
    ByRange { ranges, v4, v6, any }
}

#[cfg(test)]
mod tests;
