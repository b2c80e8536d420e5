//! A resolver that asks name servers itself, as Envoy's default one does.
//!
//! Owns which servers those are and the questions: addresses of both families, and SRV records with
//! the addresses of what they name. `/etc/hosts` comes first, `/etc/resolv.conf` gives servers and
//! search domains, and both are read again when they change. Nothing is kept: `control` decides when
//! to ask. Does not own: the order in which servers are asked, which is that of `servers`, and the protocol, which is
//! hickory's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::{join, join_all};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::servers::Servers;
use super::{Answer, DnsError, Found, Question, Resolve, Resolving, Service};
use crate::upstream::spec::{Family, StubSpec};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What a line of `/etc/hosts` has for a time to live, which is none.
const WITHOUT_TTL: Duration = Duration::from_hours(24);

/// See the module's page.
pub(super) struct Stub {
    spec: StubSpec,
    current: RefCell<Option<Current>>,
}

/// Who is asked, as the files said at these times.
struct Current {
    read: [Option<SystemTime>; 2],
    servers: Rc<Servers>,
}

impl Stub {
    /// Will ask as `spec` says.
    pub(super) const fn new(spec: StubSpec) -> Self {
        Self {
            spec,
            current: RefCell::new(None),
        }
    }

    /// Those that the files name now.
    fn current(&self) -> Result<Rc<Servers>, NetError> {
        let changed = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        let read = [changed(HOSTS), changed(RESOLV_CONF)];
        let mut current = self.current.borrow_mut();
        if let Some(current) = &*current
            && current.read == read
        {
            return Ok(Rc::clone(&current.servers));
        }
        let servers = Rc::new(servers(&self.spec)?);
        *current = Some(Current {
            read,
            servers: Rc::clone(&servers),
        });
        Ok(servers)
    }
}

impl Resolve for Stub {
    fn resolve(&self, question: &Question) -> Resolving {
        let question = question.clone();
        let current = self.current();
        let routable = if self.spec.routable_only {
            Routable::of_machine()
        } else {
            Routable::ALL
        };
        Box::pin(async move {
            let Question {
                host,
                family,
                is_service,
            } = question;
            let asked = async {
                let ask = Ask {
                    servers: current?,
                    family,
                    routable,
                };
                if is_service {
                    ask.services(&host).await
                } else {
                    Ok(Answer::from(ask.addresses(&host).await?))
                }
            };
            let answer = asked.await.map_err(in_words).and_then(Answer::not_empty);
            answer.map_err(|cause| DnsError {
                host: Arc::clone(&host),
                cause,
            })
        })
    }
}

/// The library shows the question in the form that it has inside where there is no answer to it, and speaks of
/// connections where nobody listens.
fn in_words(error: Failed) -> Failed {
    let error_of_net = error.downcast_ref::<NetError>();
    if error_of_net.is_some_and(NetError::is_no_records_found) {
        return "there is no such name, or no address under it".into();
    }
    if matches!(error_of_net, Some(NetError::NoConnections)) {
        return "no name server can be reached".into();
    }
    error
}

fn servers(spec: &StubSpec) -> Result<Servers, NetError> {
    let (system, mut options) = read_system_conf().unwrap_or_else(|error| {
        tracing::debug!(target: "dns", "read {RESOLV_CONF}: {error}");
        (ResolverConfig::default(), ResolverOpts::default())
    });
    let (domain, search, mut servers) = system.into_parts();
    if !spec.servers.is_empty() && (servers.is_empty() || !spec.is_fallback) {
        servers = spec.servers.iter().map(|at| server(*at)).collect();
    }
    if servers.is_empty() {
        // Where a library looks that was told nothing.
        servers.push(server(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)));
    }
    if spec.over_tcp {
        for server in &mut servers {
            let port = server.connections.first().map(|connection| connection.port);
            let mut tcp = ConnectionConfig::tcp();
            tcp.port = port.unwrap_or(tcp.port);
            server.connections = vec![tcp];
        }
    }
    let config = if spec.no_search {
        ResolverConfig::from_parts(None, Vec::new(), servers)
    } else {
        ResolverConfig::from_parts(domain, search, servers)
    };
    // How old an answer may be is up to `dns_refresh_rate` alone.
    options.cache_size = 0;
    options.timeout = spec.timeout.unwrap_or(options.timeout);
    if let Some(tries) = spec.tries {
        options.attempts = tries as usize;
    }
    Servers::new(config, options, spec.rotates)
}

/// A server that is asked over UDP, and over TCP where an answer is too long for that.
fn server(at: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = at.port();
    }
    NameServerConfig::new(at.ip(), true, connections)
}

/// Which families of addresses lead anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Routable {
    v4: bool,
    v6: bool,
}

impl Routable {
    const ALL: Self = Self { v4: true, v6: true };

    /// Those that this machine has an address of that is not loopback; all where that is not known.
    fn of_machine() -> Self {
        let Ok(interfaces) = if_addrs::get_if_addrs() else {
            return Self::ALL;
        };
        let outside = || {
            interfaces
                .iter()
                .filter(|interface| !interface.is_loopback())
        };
        Self {
            v4: outside().any(|interface| interface.ip().is_ipv4()),
            v6: outside().any(|interface| interface.ip().is_ipv6()),
        }
    }

    const fn has(self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// Addresses, and for how long they are those of the name.
type Addresses = (Vec<IpAddr>, Option<Duration>);
type Failed = Box<dyn StdError + Send + Sync>;

/// What is asked with.
struct Ask {
    servers: Rc<Servers>,
    family: Family,
    routable: Routable,
}

impl Ask {
    /// The addresses of `host`, of the families that are wanted.
    async fn addresses(&self, host: &str) -> Result<Addresses, NetError> {
        if let Ok(literal) = host.parse() {
            return Ok((vec![literal], None));
        }
        let (v4, v6) = (RecordType::A, RecordType::AAAA);
        match self.family {
            Family::V4Only => self.of_type(host, v4).await,
            Family::V6Only => self.of_type(host, v6).await,
            Family::V4Preferred => self.one_of(host, v4, v6).await,
            Family::Auto => self.one_of(host, v6, v4).await,
            Family::All => both(join(self.of_type(host, v4), self.of_type(host, v6)).await),
        }
    }

    /// Those of the first type, or where there are none, of the second.
    async fn one_of(
        &self,
        host: &str,
        first: RecordType,
        second: RecordType,
    ) -> Result<Addresses, NetError> {
        match self.of_type(host, first).await {
            Ok((addresses, ttl)) if !addresses.is_empty() => Ok((addresses, ttl)),
            _ => self.of_type(host, second).await,
        }
    }

    async fn of_type(&self, host: &str, wanted: RecordType) -> Result<Addresses, NetError> {
        let found = self.servers.lookup(&name(host)?, wanted).await?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for record in found.answers() {
            let address = record.data.ip_addr().filter(|ip| self.routable.has(ip));
            if let Some(address) = address
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
        let ttls = found.answers().iter().map(|record| record.ttl);
        Ok((addresses, ttl(ttls.min())))
    }

    /// The hosts that offer a service, with their addresses.
    async fn services(&self, host: &str) -> Result<Answer, Failed> {
        let found = self.servers.lookup(&name(host)?, RecordType::SRV).await?;
        let records: Vec<&SRV> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                // The root says that nobody offers the service.
                RData::SRV(service) if !service.target.is_root() => Some(service),
                _ => None,
            })
            .collect();
        let priorities: BTreeSet<u16> = records.iter().map(|record| record.priority).collect();
        let asked = records.iter().map(|record| async {
            match self.addresses(&record.target.to_utf8()).await {
                Err(error) if error.is_no_records_found() => Ok((Vec::new(), None)),
                answered => answered,
            }
        });
        let mut answer = Answer {
            found: Vec::new(),
            ttl: ttl(found.answers().iter().map(|record| record.ttl).min()),
        };
        for (record, asked) in records.iter().zip(join_all(asked).await) {
            let (addresses, of_target) = asked?;
            let rank = priorities.range(..record.priority).count();
            let service = Service {
                port: record.port,
                weight: record.weight,
                rank: u32::try_from(rank).unwrap_or(u32::MAX),
            };
            answer.found.extend(addresses.into_iter().map(|ip| Found {
                ip,
                service: Some(service),
            }));
            answer.ttl = shorter(answer.ttl, of_target);
        }
        Ok(answer)
    }
}

/// A name as it is written: those of machines may have underscores.
fn name(host: &str) -> Result<Name, NetError> {
    Ok(Name::from_str_relaxed(host)?)
}

/// Both, or that of the two which was answered.
fn both(
    asked: (Result<Addresses, NetError>, Result<Addresses, NetError>),
) -> Result<Addresses, NetError> {
    match asked {
        (Ok((mut addresses, ttl)), Ok((more, other))) => {
            addresses.extend(more);
            Ok((addresses, shorter(ttl, other)))
        }
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Err(error), Err(_)) => Err(error),
    }
}

fn ttl(seconds: Option<u32>) -> Option<Duration> {
    let ttl = Duration::from_secs(seconds?.into());
    (ttl < WITHOUT_TTL).then_some(ttl)
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
