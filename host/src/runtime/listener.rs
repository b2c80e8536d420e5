//! Listeners: where connections come in, and which filter chain each of them gets.
//!
//! Owns the data of a listener and its filter chains. `build` makes it, `listener` accepts by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain_tree::ChainTree;
use super::chains::{Arriving, Matcher};
use super::inspection::Inspection;
use super::room::{Admitted, Room};
use super::{ConnectionManager, Service};
use crate::address::Address;
use crate::limits;
use crate::log_filter::LogFilter;
use crate::metadata::StaticMetadata;
use crate::observe::metrics::ListenerStats;
use crate::observe::stats::Sharded;
use crate::socket_option::{KeepAlive, SocketOption};
use crate::tcp::gate::Gate;
use crate::tls;
use crate::wasm::FilterSlot;

/// A listener and what serves its connections.
pub struct Listener {
    /// `Listener.name`.
    pub name: Arc<str>,
    /// `Listener.address`; port 0 takes a free one.
    pub address: Address,
    /// Where it listens: `address` and `additional_addresses`; nowhere where `bind_to_port` is false.
    pub sockets: Box<[ListenAddress]>,
    /// What its sockets are like.
    pub settings: SocketSettings,
    /// `access_log`, each entry a filter that wants only the log phase.
    pub loggers: Arc<[FilterSlot]>,
    /// `access_log[].filter` by the index of the entry; empty where none has one.
    pub log_filters: Box<[Option<LogFilter>]>,
    /// `stat_prefix`, in place of the address in statistics; empty where it has none.
    pub stat_prefix: String,
    /// Statistics under `listener.<address>.`.
    pub stats: Arc<Sharded<ListenerStats>>,
    /// Whether it is for what comes to a service (`traffic_direction`).
    pub is_inbound: bool,
    /// How many connections it may have.
    pub room: Arc<Room>,
    /// How many it and others may have.
    pub room_of_all: Arc<Room>,
    /// Whether it may have one although those are too many (`ignore_global_conn_limit`).
    pub ignores_others: bool,
    /// What is found out about its connections first.
    pub inspection: Inspection,
    /// What becomes of its connections.
    pub chains: FilterChains,
    /// `Listener.metadata`.
    pub metadata: Option<Arc<StaticMetadata>>,
}

impl Listener {
    /// Lets one more connection of a worker in; not where there are too many, which is counted.
    pub(crate) fn admit(&self, worker: usize) -> Option<[Admitted; 2]> {
        let stats = self.stats.shard(worker);
        let of_all = if self.ignores_others {
            Some(self.room_of_all.enter_anyway())
        } else {
            self.room_of_all.enter()
        };
        let Some(of_all) = of_all else {
            stats.downstream_global_cx_overflow.inc();
            return None;
        };
        let Some(own) = self.room.enter() else {
            stats.downstream_cx_overflow.inc();
            return None;
        };
        Some([of_all, own])
    }

    /// Sends its clients away from `since` on, the last of them `time` later. It goes on accepting.
    pub fn start_drain(&self, since: Instant, time: Duration) {
        for chain in self.chains.iter() {
            if let Service::Http(http) = &chain.service {
                http.draining.start(since, time);
            }
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct ListenAddress {
    /// The address; port 0 takes a free one.
    pub address: Address,
    /// `Pipe.mode`: who may connect to a Unix socket; 0 leaves it to the process' own mask.
    pub mode: u32,
    /// `ipv4_compat`: clients of IPv4 may come to an address of IPv6.
    pub takes_ipv4: bool,
    /// `socket_options`.
    pub options: Box<[SocketOption]>,
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: address.into(),
            mode: 0,
            takes_ipv4: false,
            options: Box::default(),
        }
    }
}

/// What listening sockets are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// `tcp_backlog_size`: connections that may wait to be accepted.
    pub backlog: u32,
    /// `freebind`: the address need not be one of this machine.
    pub freebind: bool,
    /// `transparent`: connections to any address may come, redirected by the kernel.
    pub transparent: bool,
    /// `tcp_keepalive`.
    pub keepalive: Option<KeepAlive>,
    /// `enable_mptcp`.
    pub mptcp: bool,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            backlog: limits::LISTEN_BACKLOG,
            freebind: false,
            transparent: false,
            keepalive: None,
            mptcp: false,
        }
    }
}

impl Listener {
    /// Whether it is for connections that were meant for `address`: 2 for that very one, 1 for its port
    /// on all addresses.
    #[must_use]
    pub fn is_for(&self, address: SocketAddr) -> u8 {
        let more = self.sockets.iter().map(|socket| &socket.address);
        let fits = |at: SocketAddr| {
            let is_any = at.ip().is_unspecified() && at.is_ipv4() == address.is_ipv4();
            match at == address {
                true => 2,
                false => u8::from(is_any && at.port() == address.port()),
            }
        };
        let all = more.chain([&self.address]).filter_map(Address::ip);
        all.map(fits).max().unwrap_or(0)
    }
}

/// What a filter chain is chosen by.
pub enum Choice {
    /// Nothing: there is one.
    Only,
    /// `filter_chain_match` of each.
    Matches(Box<Matcher>),
    /// `filter_chain_matcher`.
    Tree(ChainTree),
}

/// The filter chains of a listener.
pub struct FilterChains {
    /// In the order of the file, `default_filter_chain` last.
    all: Box<[FilterChain]>,
    /// Which of them a connection gets.
    choice: Choice,
    /// The one for all other connections.
    otherwise: Option<usize>,
}

impl FilterChains {
    /// Chains, with the numbers of those that `choice` finds and of the one for the rest.
    #[must_use]
    pub const fn new(all: Box<[FilterChain]>, choice: Choice, otherwise: Option<usize>) -> Self {
        Self {
            all,
            choice,
            otherwise,
        }
    }

    /// The chain for a connection; none where none is for it.
    #[must_use]
    pub fn choose(&self, arriving: &Arriving<'_>) -> Option<&FilterChain> {
        let found = match &self.choice {
            Choice::Only => None,
            Choice::Matches(matcher) => {
                let found = matcher.find(arriving);
                found.and_then(|chain| usize::try_from(chain).ok())
            }
            Choice::Tree(tree) => match tree.find(arriving) {
                // It leads to a name that no chain has.
                Some(None) => return None,
                found => found.flatten(),
            },
        };
        self.all.get(found.or(self.otherwise)?)
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &FilterChain> {
        self.all.iter()
    }
}

/// What becomes of a connection.
pub struct FilterChain {
    /// `FilterChain.name`, empty where it has none.
    pub name: Arc<str>,
    /// `FilterChain.metadata`.
    pub metadata: Option<Arc<StaticMetadata>>,
    /// `transport_socket`: what comes before the first byte; nothing over clear text.
    pub handshake: Option<Handshake>,
    /// The network filters in front of the terminal one, in the order of the file.
    pub gates: Box<[Gate]>,
    /// The terminal network filter.
    pub service: Service,
}

/// What comes before the first byte of a connection that is not in clear text.
#[derive(Clone)]
pub struct Handshake {
    /// What answers it.
    pub server: Arc<tls::Server>,
    /// `transport_socket_connect_timeout`: how long it may take.
    pub timeout: Duration,
}

impl FilterChain {
    /// The HTTP connection manager, where it ends in one.
    #[must_use]
    pub fn manager(&self) -> Option<&ConnectionManager> {
        match &self.service {
            Service::Http(http) => Some(&http.manager),
            Service::Tcp(_) | Service::Answer(_) | Service::Echo | Service::Nothing => None,
        }
    }

    /// The slots of all Wasm components behind it.
    pub fn slots(&self) -> Vec<&FilterSlot> {
        let mut slots: Vec<&FilterSlot> = Vec::new();
        match &self.service {
            Service::Http(http) => {
                let manager = &http.manager;
                slots.extend(manager.filters.iter().chain(&*manager.loggers));
                slots.extend(&*manager.upstream_logs.loggers);
                let upgrades = manager.upgrades.iter();
                let filters = upgrades.filter_map(|upgrade| upgrade.filters.as_ref());
                slots.extend(filters.flat_map(|(_, filters)| filters.iter()));
            }
            Service::Tcp(proxy) => slots.extend(&*proxy.loggers),
            Service::Answer(_) | Service::Echo | Service::Nothing => {}
        }
        slots
    }
}
