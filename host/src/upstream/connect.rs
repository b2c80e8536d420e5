//! How a connection to an endpoint is opened.
//!
//! Owns the seam between the pools and the operating system, so that tests can put something else
//! there, and the way to a connection that is ready: source address and options of the socket, the
//! race between an endpoint's addresses (`race`), the PROXY protocol's header (`proxy_header`), and
//! the TLS handshake, whose means are `tls`'s. Called by the pools, once for each connection, and by
//! health checks. Does not own time: the caller limits it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as system;
use std::pin::Pin;
use std::sync::Arc;

use http::uri::Scheme;
use rustls::pki_types::DnsName;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::cluster::Cluster;
use super::demand::Demand;
use super::endpoint::Endpoint;
use super::metadata::Metadata;
use super::spec::{BindSpec, Dial, HealthCheck, TlsDial, Transport};
use crate::address::Address;
use crate::exchange::Tls;
use crate::socket::Socket;
use crate::socket_option::{Moment, SocketOption, set_port_late};
use crate::tls::{Inside, Names, ServerPeer};

mod race;

pub use crate::proxy_header::{ProxyHeader, ProxyVersion, Tlv};

/// A connection that is ready for what it is to carry.
#[derive(Debug)]
pub struct Link {
    /// The byte stream.
    pub socket: Socket,
    /// What is known of its TLS session, where it has one.
    pub tls: Option<Arc<Tls>>,
}

impl Link {
    /// Whether the server has chosen HTTP/2.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        let alpn = self.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        alpn == Some("h2")
    }
}

impl From<Socket> for Link {
    fn from(socket: Socket) -> Self {
        Self { socket, tls: None }
    }
}

/// A connection that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Link>>>>;

/// What connection is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// The cluster, whose settings say how.
    pub cluster: Arc<Cluster>,
    /// Where to.
    pub endpoint: Arc<Endpoint>,
    /// What those ask for that it is opened for.
    pub demand: Demand,
    /// What it is to carry.
    pub inside: Inside,
    /// The protocols (ALPN) that are offered in place of the context's.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// Whose statistics count the handshake.
    pub worker: usize,
}

/// Opens connections. The caller limits the time.
pub trait Connect {
    /// Starts to connect. Dropping the future gives up.
    fn connect(&self, order: Order) -> Connecting;
}

/// Connects by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Connect for System {
    fn connect(&self, order: Order) -> Connecting {
        Box::pin(async move {
            let dial = &order.cluster.spec().dial;
            let transport = dial.transport_of(order.endpoint.transport_match());
            let others = order.endpoint.other_addresses();
            let address = order.endpoint.now_at();
            if others.is_empty() {
                return order.open(&address, dial, transport).await;
            }
            let first = std::iter::once(&address);
            let addresses: Vec<&Address> = first.chain(others).collect();
            let addresses = race::in_order(&addresses, dial.eyeballs);
            race::run(&addresses, |address| order.open(address, dial, transport)).await
        })
    }
}

impl Order {
    /// Connects to one of the endpoint's addresses.
    async fn open(
        &self,
        address: &Address,
        dial: &Dial,
        transport: &Transport,
    ) -> io::Result<Link> {
        let mut socket = open(address, dial).await?;
        if let Some(header) = &transport.proxy_header {
            let client = self.demand.client.as_ref().and_then(|client| client.ends);
            // Version 1 cannot say that there is no client: as in Envoy it is the proxy itself then.
            let itself = || match header.version {
                ProxyVersion::V1 => socket.local_addr().ok().zip(address.ip()),
                ProxyVersion::V2 => None,
            };
            let header = header.bytes(client.or_else(itself), self.endpoint.proxy_tlvs());
            socket.write_all(&header).await?;
        }
        match &transport.tls {
            Some(tls) => self.secure(socket, address, tls).await,
            None => Ok(socket.into()),
        }
    }

    async fn secure(&self, socket: Socket, address: &Address, tls: &TlsDial) -> io::Result<Link> {
        let (demand, hostname) = (&self.demand, self.endpoint.hostname.as_deref());
        let name = server_name(demand, tls, hostname);
        let server = ServerPeer {
            name,
            expected: match &demand.verified_name {
                Some(wanted) => Some(&**wanted),
                None if name.is_some() || tls.client.names() == Names::Any => None,
                // The name that the endpoint was found by is known even where it is not asked for.
                None => hostname.filter(|name| is_name(name)),
            },
            address: address
                .ip()
                .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip()),
            inside: self.inside,
            alpn: self.alpn.as_deref(),
        };
        let (socket, facts) = tls.client.connect(socket, server, self.worker).await?;
        Ok(Link {
            socket,
            tls: Some(Arc::new(facts)),
        })
    }
}

/// The name that a server is asked for.
fn server_name<'a>(
    demand: &'a Demand,
    tls: &'a TlsDial,
    hostname: Option<&'a str>,
) -> Option<&'a str> {
    let of_host = || hostname.filter(|name| tls.asks_for_host && is_name(name));
    let of_request = demand.server_name.as_deref();
    of_request.or_else(of_host).or(tls.server_name.as_deref())
}

/// Whether a server can be asked for it: it is no address, nor one with the name of its cluster in front, as
/// endpoints that requests name are called.
fn is_name(text: &str) -> bool {
    text.parse::<IpAddr>().is_err() && DnsName::try_from(text).is_ok()
}

/// Where a health check goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: Address,
    /// Whose settings say how, for there is more than one way.
    of: Option<(Arc<Cluster>, Arc<Endpoint>)>,
    /// Which way: what is matched.
    transport: Metadata,
    /// The protocols (ALPN) that are offered in place of the context's.
    alpn: Option<Arc<[Vec<u8>]>>,
}

impl Target {
    /// Where checks of an endpoint go: as its requests do, but for the address
    /// and what `check` says of the transport.
    pub(super) fn of(
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        address: &Address,
        check: &HealthCheck,
    ) -> Self {
        let wanted = check.transport_match.as_ref();
        let transport = wanted.unwrap_or_else(|| endpoint.transport_match());
        Self {
            address: address.clone(),
            of: Some((Arc::clone(cluster), Arc::clone(endpoint))),
            transport: transport.clone(),
            alpn: check.alpn.clone(),
        }
    }

    /// The scheme of what is asked there.
    pub(super) fn scheme(&self) -> Scheme {
        let is_tls = self.of.as_ref().is_some_and(|(cluster, _)| {
            let transport = cluster.spec().dial.transport_of(&self.transport);
            transport.tls.is_some()
        });
        match is_tls {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// Those of the system, and of a TLS handshake.
    pub(super) async fn connect(&self, inside: Inside) -> io::Result<Socket> {
        let Some((cluster, endpoint)) = &self.of else {
            return open(&self.address, &Dial::default()).await;
        };
        let order = Order {
            cluster: Arc::clone(cluster),
            endpoint: Arc::clone(endpoint),
            demand: Demand::default(),
            inside,
            alpn: self.alpn.clone(),
            worker: cluster.workers(),
        };
        let dial = &cluster.spec().dial;
        let transport = dial.transport_of(&self.transport);
        let link = order.open(&self.address, dial, transport).await?;
        Ok(link.socket)
    }
}

impl<A: Into<Address>> From<A> for Target {
    /// A plain connection.
    fn from(address: A) -> Self {
        Self {
            address: address.into(),
            of: None,
            transport: Metadata::new(),
            alpn: None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// Connects to `to`, and no more.
///
/// # Errors
/// Those of the system.
async fn open(to: &Address, dial: &Dial) -> io::Result<Socket> {
    match to {
        Address::Ip(address) => {
            let stream = if dial.bind.is_plain() {
                TcpStream::connect(address).await?
            } else {
                from_source(*address, &dial.bind).await?
            };
            stream.set_nodelay(true)?;
            if let Some(keepalive) = &dial.keepalive {
                keepalive.apply(&SockRef::from(&stream))?;
            }
            Ok(stream.into())
        }
        Address::Unix(path) => open_unix(path).await.map(Socket::from),
    }
}

/// Connects with options, or from an address that the configuration says.
async fn from_source(to: SocketAddr, bind: &BindSpec) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let mut sources = bind.sources.iter();
    let source = sources.find(|source| source.ip.is_ipv4() == to.is_ipv4());
    if source.is_none() && !bind.sources.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no source address is of the endpoint's family",
        ));
    }
    let own = source.and_then(|source| source.options.as_ref());
    let options = own.unwrap_or(&bind.options);
    apply(options, Moment::BeforeBind, &socket)?;
    if let Some(source) = source {
        if bind.is_free {
            let socket = SockRef::from(&socket);
            match source.ip {
                IpAddr::V4(_) => socket.set_freebind_v4(true)?,
                IpAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
        }
        if source.port == 0 {
            set_port_late(&SockRef::from(&socket), true)?;
        }
        socket.bind(SocketAddr::new(source.ip, source.port))?;
    }
    apply(options, Moment::Bound, &socket)?;
    socket.connect(to).await
}

/// Sets the options that belong to `moment`.
fn apply(options: &[SocketOption], moment: Moment, socket: &TcpSocket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let mut wanted = options.iter().filter(|option| option.moment == moment);
    wanted.try_for_each(|option| option.apply(&socket))
}

async fn open_unix(path: &str) -> io::Result<UnixStream> {
    let Some(name) = path.strip_prefix('@') else {
        return UnixStream::connect(path).await;
    };
    // Connecting to a Unix socket does not wait for the other side, so it need not be awaited.
    let address = system::SocketAddr::from_abstract_name(name)?;
    let stream = system::UnixStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket_option::KeepAlive;
    use crate::upstream::spec::Source;

    /// What `read` says of the socket that a connection of `dial` has.
    async fn on_socket<T>(dial: &Dial, read: impl FnOnce(&SockRef<'_>) -> T) -> T {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().into();
        let Socket::Tcp(stream) = open(&address, dial).await.unwrap() else {
            panic!("a connection over TCP");
        };
        read(&SockRef::from(&stream))
    }

    #[tokio::test]
    async fn keep_alive_reaches_the_socket() {
        let read = |socket: &SockRef<'_>| {
            let times = [socket.tcp_keepalive_time(), socket.tcp_keepalive_interval()];
            let [time, interval] = times.map(|time| time.unwrap().as_secs());
            let probes = socket.tcp_keepalive_retries().unwrap();
            (socket.keepalive().unwrap(), time, interval, probes)
        };
        let plain = on_socket(&Dial::default(), read).await;
        assert!(!plain.0);
        let mut dial = Dial {
            keepalive: Some(KeepAlive::default()),
            ..Dial::default()
        };
        let (_, time, interval, probes) = plain;
        let systems = on_socket(&dial, read).await;
        assert_eq!(systems, (true, time, interval, probes));
        dial.keepalive = Some(KeepAlive {
            time: Some(33),
            interval: Some(7),
            probes: Some(3),
        });
        assert_eq!(on_socket(&dial, read).await, (true, 33, 7, 3));
        // From an address of its own it is a socket that is made in another way.
        dial.bind.sources.push(Source {
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            options: None,
        });
        assert_eq!(on_socket(&dial, read).await, (true, 33, 7, 3));
    }

    #[tokio::test]
    async fn options_of_a_source_go_before_those_of_all() {
        let timeout = |milliseconds| {
            let moments = [Moment::BeforeBind, Moment::Bound].into_iter();
            let options = moments.zip([(6, 18, milliseconds), (6, 25, 4096)]);
            let made = options.map(|(moment, (level, name, value))| {
                SocketOption::number(moment, level, name, value).unwrap()
            });
            made.collect::<Box<[_]>>()
        };
        let read = |socket: &SockRef<'_>| {
            let timeout = socket.tcp_user_timeout().unwrap();
            let unsent = socket.tcp_notsent_lowat().unwrap();
            (timeout.unwrap_or_default().as_millis(), unsent)
        };
        let mut dial = Dial::default();
        dial.bind.options = timeout(1000);
        assert_eq!(on_socket(&dial, read).await, (1000, 4096));
        dial.bind.sources.push(Source {
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            options: None,
        });
        assert_eq!(on_socket(&dial, read).await, (1000, 4096));
        dial.bind.sources[0].options = Some(timeout(2000));
        assert_eq!(on_socket(&dial, read).await, (2000, 4096));
    }
}
