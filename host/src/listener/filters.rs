//! Going through the listener filters of a connection that was just accepted.
//!
//! Owns looking at its first bytes while they come, without taking them but for a PROXY header, the
//! time that this may last, and what is counted. Does not own what the bytes mean (`super::sniff`) nor
//! the choice of a filter chain (`super`).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use rustix::io::ioctl_fionread;
use socket2::SockRef;

use super::incoming::Incoming;
use super::sniff::{Sniffed, hello, proxy_header, request_line};
use crate::address::Address;
use crate::clock;
use crate::exchange::Metadata;
use crate::limits;
use crate::observe::metrics::ListenerStats;
use crate::runtime::chains::{Arriving, RAW_BUFFER, TLS};
use crate::runtime::inspection::{ListenerFilter, ProxyProtocol, TlsInspector};
use crate::runtime::{Admitted, Listener};
use crate::tcp::gate::RateLimit;
use crate::timer::{Timer, after};
use crate::worker::Worker;

/// A connection that has no filter chain yet.
pub(super) struct Arrival {
    /// Its places under the limits on connections.
    pub(super) admitted: [Admitted; 2],
    pub(super) stream: Incoming,
    pub(super) facts: Facts,
}

/// What is known of it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The address that it came to, and what a filter restored in its place.
    pub(super) direct_local: Address,
    pub(super) local: Address,
    pub(super) local_is_restored: bool,
    /// The peer of the socket, and whom a proxy before it speaks for.
    pub(super) direct_remote: Address,
    pub(super) remote: Address,
    pub(super) server_name: Option<Box<str>>,
    pub(super) protocols: Vec<Box<str>>,
    pub(super) is_tls: bool,
    pub(super) metadata: Metadata,
}

impl Facts {
    pub(super) fn new(local: Address, remote: Address) -> Self {
        Self {
            direct_local: local.clone(),
            local,
            local_is_restored: false,
            direct_remote: remote.clone(),
            remote,
            server_name: None,
            protocols: Vec::new(),
            is_tls: false,
            metadata: Metadata::default(),
        }
    }

    /// What a filter chain is chosen by.
    pub(super) fn arriving(&self) -> Arriving<'_> {
        Arriving {
            local: self.local.ip(),
            remote: self.remote.ip(),
            direct_remote: self.direct_remote.ip(),
            server_name: self.server_name.as_deref().unwrap_or_default(),
            transport: if self.is_tls { TLS } else { RAW_BUFFER },
            protocols: &self.protocols,
        }
    }
}

/// Why a connection does not get a filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// A filter does not want it.
    Unwanted,
    /// The client has gone, or the proxy is going.
    Gone,
    /// Its socket failed.
    Failed,
}

impl From<io::Error> for Refused {
    fn from(_error: io::Error) -> Self {
        Self::Failed
    }
}

/// Whether the connection may go on.
pub(super) async fn inspect(
    worker: &Rc<Worker>,
    listener: &Listener,
    arrival: &mut Arrival,
) -> bool {
    let inspection = &listener.inspection;
    let stats = listener.stats.shard(worker.index);
    let _active = Active::new(stats);
    let deadline = after(clock::now(), inspection.timeout);
    let mut timer = Timer::default();
    let mut look = Look {
        worker,
        buf: worker.take_buffer(),
    };
    let mut goes_on = true;
    for step in &inspection.steps {
        // A Unix socket has no port that could be meant.
        let port = arrival.facts.local.ip().map(|address| address.port());
        if step
            .disabled
            .as_ref()
            .zip(port)
            .is_some_and(|(ports, port)| ports.contain(port))
        {
            continue;
        }
        let filtered = look.filter(&step.filter, arrival);
        goes_on = match timer.limit(deadline, filtered).await {
            Some(Ok(())) => continue,
            Some(Err(Refused::Unwanted)) => false,
            Some(Err(Refused::Gone)) => {
                stats.downstream_listener_filter_remote_close.inc();
                false
            }
            Some(Err(Refused::Failed)) => {
                stats.downstream_listener_filter_error.inc();
                false
            }
            None => {
                stats.downstream_pre_cx_timeout.inc();
                inspection.continue_on_timeout
            }
        };
        break;
    }
    worker.put_buffer(look.buf);
    goes_on
}

/// A connection that counts as one without a filter chain.
struct Active<'a>(&'a ListenerStats);

impl<'a> Active<'a> {
    fn new(stats: &'a ListenerStats) -> Self {
        stats.downstream_pre_cx_active.inc();
        Self(stats)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.downstream_pre_cx_active.dec();
    }
}

/// The bytes at the front of a connection's socket.
struct Look<'a> {
    worker: &'a Rc<Worker>,
    /// A copy of those that were there when it was last looked.
    buf: BytesMut,
}

impl Look<'_> {
    async fn filter(
        &mut self,
        filter: &ListenerFilter,
        arrival: &mut Arrival,
    ) -> Result<(), Refused> {
        match filter {
            ListenerFilter::Tls(inspector) => self.tls(inspector, arrival).await,
            ListenerFilter::Http(stats) => {
                let stats = stats.shard(self.worker.index);
                let found = match arrival.facts.is_tls {
                    true => None,
                    false => self.http(&arrival.stream).await?,
                };
                match found {
                    Some(request_line::Version::Http10) => stats.http10_found.inc(),
                    Some(request_line::Version::Http11) => stats.http11_found.inc(),
                    Some(request_line::Version::Http2) => stats.http2_found.inc(),
                    None => stats.http_not_found.inc(),
                }
                if let Some(version) = found {
                    arrival.facts.protocols = vec![version.protocol().into()];
                }
                Ok(())
            }
            ListenerFilter::Proxy(proxy) => self.proxy(proxy, arrival).await,
            ListenerFilter::OriginalDestination => {
                restore_destination(arrival);
                Ok(())
            }
            ListenerFilter::Rate(limit) => admit(limit),
        }
    }

    async fn tls(
        &mut self,
        inspector: &TlsInspector,
        arrival: &mut Arrival,
    ) -> Result<(), Refused> {
        // Records may be as small as one byte: their heads are not what is limited.
        let room = limits::HELLO_RECORDS_BYTES;
        let stats = inspector.stats.shard(self.worker.index);
        let hello = loop {
            let length = hello::length(&self.buf).unwrap_or(0);
            let is_too_long = length > inspector.hello_max;
            match hello::parse(&self.buf) {
                Sniffed::Found(hello) if !is_too_long => break hello,
                Sniffed::Other => {
                    stats.tls_not_found.inc();
                    return match inspector.closes_others {
                        true => Err(Refused::Unwanted),
                        false => Ok(()),
                    };
                }
                Sniffed::Found(_) | Sniffed::Partial => {}
            }
            if is_too_long || self.buf.len() >= room {
                stats.client_hello_too_large.inc();
                return Err(Refused::Unwanted);
            }
            self.more(&arrival.stream, length.min(room), room).await?;
        };
        stats.tls_found.inc();
        arrival.facts.is_tls = true;
        match hello.server_name {
            Some(_) => stats.sni_found.inc(),
            None => stats.sni_not_found.inc(),
        }
        match hello.protocols.is_empty() {
            false => stats.alpn_found.inc(),
            true => stats.alpn_not_found.inc(),
        }
        arrival.facts.server_name = hello.server_name;
        arrival.facts.protocols = hello.protocols;
        Ok(())
    }

    /// The version of HTTP; none where it is not HTTP.
    async fn http(&mut self, stream: &Incoming) -> Result<Option<request_line::Version>, Refused> {
        loop {
            match request_line::parse(&self.buf) {
                Sniffed::Found(version) => return Ok(Some(version)),
                Sniffed::Other => return Ok(None),
                Sniffed::Partial if self.buf.len() >= limits::REQUEST_LINE_BYTES => {
                    return Ok(None);
                }
                Sniffed::Partial => self.more(stream, 0, limits::REQUEST_LINE_BYTES).await?,
            }
        }
    }

    async fn proxy(&mut self, proxy: &ProxyProtocol, arrival: &mut Arrival) -> Result<(), Refused> {
        let index = self.worker.index;
        let stats = |version| match version {
            proxy_header::Version::V1 => proxy.stats.v1.shard(index),
            proxy_header::Version::V2 => proxy.stats.v2.shard(index),
        };
        let missing = proxy.stats.missing.shard(index);
        let errors = proxy.stats.errors.shard(index);
        let length = loop {
            let header = match proxy_header::parse(&self.buf, proxy.is_looked_for()) {
                Ok(Sniffed::Found(header)) => header,
                Ok(Sniffed::Partial) => {
                    let needed = proxy_header::length(&self.buf).unwrap_or(0);
                    let room = proxy_header::LENGTH_MAX;
                    self.more(&arrival.stream, needed, room).await?;
                    continue;
                }
                Ok(Sniffed::Other) if proxy.is_optional => {
                    missing.not_found_allowed.inc();
                    return Ok(());
                }
                Ok(Sniffed::Other) => {
                    missing.not_found_disallowed.inc();
                    errors.downstream_cx_proxy_proto_error.inc();
                    return Err(Refused::Unwanted);
                }
                Err(version) => {
                    stats(version).error.inc();
                    errors.downstream_cx_proxy_proto_error.inc();
                    return Err(Refused::Unwanted);
                }
            };
            if !proxy.takes(header.version) {
                stats(header.version).found.inc();
                stats(header.version).disallowed.inc();
                return Err(Refused::Unwanted);
            }
            if !keep_fields(proxy, &header, &mut arrival.facts.metadata) {
                stats(header.version).error.inc();
                errors.downstream_cx_proxy_proto_error.inc();
                return Err(Refused::Unwanted);
            }
            if let Some((remote, local)) = header.addresses {
                arrival.facts.remote = remote.into();
                arrival.facts.local_is_restored |= arrival.facts.local != local;
                arrival.facts.local = local.into();
            }
            stats(header.version).found.inc();
            break header.length;
        };
        // All of it is there: this does not wait.
        self.buf.resize(length, 0);
        arrival.stream.read_exact(&mut self.buf).await?;
        self.buf.clear();
        Ok(())
    }

    /// Waits until more bytes are there than were seen, and at least `needed`, and looks at up to `room`
    /// of them. Each look begins at the front, so who knows how many are needed should say so.
    async fn more(&mut self, stream: &Incoming, needed: usize, room: usize) -> Result<(), Refused> {
        let seen = self.buf.len();
        let needed = needed.max(seen + 1);
        let there = loop {
            // The system is asked first: the runtime does not know yet of what came with a connection
            // that was just accepted, and a drain must not lose it.
            let there = waiting(stream)?;
            if there >= needed {
                break there;
            }
            let drained = self.worker.drain().started();
            let ready = tokio::select! {
                biased;
                ready = stream.readable() => ready?,
                // A client that has not said anything is not waited for.
                () = drained, if there == 0 => return Err(Refused::Gone),
            };
            // Asked for again inside, so that what comes meanwhile is told as news.
            let there = stream.try_io(|| match waiting(stream)? {
                there if there >= needed => Ok(there),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            });
            match there {
                Ok(there) => break there,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if ready.is_read_closed() || ready.is_error() {
                        return Err(Refused::Gone);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.buf.resize(there.min(room), 0);
        let peeked = stream.peek(&mut self.buf).await?;
        self.buf.truncate(peeked);
        Ok(())
    }
}

/// How many bytes wait to be read.
fn waiting(stream: &Incoming) -> io::Result<usize> {
    Ok(usize::try_from(ioctl_fionread(stream)?).unwrap_or(usize::MAX))
}

impl ProxyProtocol {
    /// Which versions are told from other bytes: where a header is optional, one that is not allowed
    /// is none.
    const fn is_looked_for(&self) -> proxy_header::Versions {
        proxy_header::Versions {
            v1: self.takes_v1 || !self.is_optional,
            v2: self.takes_v2 || !self.is_optional,
        }
    }

    const fn takes(&self, version: proxy_header::Version) -> bool {
        match version {
            proxy_header::Version::V1 => self.takes_v1,
            proxy_header::Version::V2 => self.takes_v2,
        }
    }
}

/// Keeps what the rules ask for. False where the fields are broken and one is asked for.
fn keep_fields(
    proxy: &ProxyProtocol,
    header: &proxy_header::Header<'_>,
    metadata: &mut Metadata,
) -> bool {
    if proxy.rules.is_empty() {
        return true;
    }
    for field in header.fields.iter() {
        let Some((kind, value)) = field else {
            return false;
        };
        for rule in proxy.rules.iter().filter(|rule| rule.kind == kind) {
            metadata.set(&rule.namespace, &rule.key, value);
        }
    }
    true
}

/// Where the kernel redirected the connection, takes the address that the client meant.
fn restore_destination(arrival: &mut Arrival) {
    let socket = SockRef::from(&arrival.stream);
    let (original, transparent) = match arrival.facts.direct_local.ip() {
        Some(SocketAddr::V4(_)) => (socket.original_dst_v4(), socket.ip_transparent_v4()),
        Some(SocketAddr::V6(_)) => (socket.original_dst_v6(), socket.ip_transparent_v6()),
        None => return,
    };
    // It fails where nothing was redirected, or where the socket itself has the client's address (TPROXY).
    if let Some(original) = original.ok().and_then(|address| address.as_socket()) {
        arrival.facts.local = original.into();
        arrival.facts.local_is_restored = true;
    } else if let Ok(true) = transparent {
        arrival.facts.local_is_restored = true;
    }
}

fn admit(limit: &RateLimit) -> Result<(), Refused> {
    match limit.admit(clock::now()) {
        true => Ok(()),
        false => Err(Refused::Unwanted),
    }
}
