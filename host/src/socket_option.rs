//! Options of sockets that a configuration sets by their numbers.
//!
//! Owns which of the system's options there are, and setting them. Envoy hands any number to the
//! system; here each is known by name, so that it is set through a safe call and a wrong one is told
//! while the configuration is read. Does not own which sockets have them.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// When an option is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the socket has its address.
    BeforeBind,
    /// Once it has.
    Bound,
    /// Once it listens.
    Listening,
}

/// An option and what it is set to.
#[derive(Clone, Debug)]
pub struct SocketOption {
    /// When.
    pub moment: Moment,
    set: Set,
}

/// Linux' numbers of levels.
mod level {
    pub(super) const IP: i64 = 0;
    pub(super) const SOCKET: i64 = 1;
    pub(super) const TCP: i64 = 6;
    pub(super) const IPV6: i64 = 41;
}

const TCP_FASTOPEN: i64 = 23;

#[derive(Clone, Debug)]
enum Set {
    Number(SetNumber, u32),
    Text(SetText, Box<[u8]>),
}

type SetNumber = fn(&SockRef<'_>, u32) -> io::Result<()>;
type SetText = fn(&SockRef<'_>, &[u8]) -> io::Result<()>;

fn on(value: u32) -> bool {
    value != 0
}

fn seconds(value: u32) -> Duration {
    Duration::from_secs(u64::from(value))
}

fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The option whose value is a number, by its level and number.
fn of_number(level: i64, name: i64) -> Option<SetNumber> {
    let set: SetNumber = match (level, name) {
        // SO_REUSEADDR, SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_PRIORITY, SO_REUSEPORT, SO_MARK.
        (level::SOCKET, 2) => |socket, value| socket.set_reuse_address(on(value)),
        (level::SOCKET, 7) => |socket, value| socket.set_send_buffer_size(size(value)),
        (level::SOCKET, 8) => |socket, value| socket.set_recv_buffer_size(size(value)),
        (level::SOCKET, 9) => |socket, value| socket.set_keepalive(on(value)),
        (level::SOCKET, 12) => |socket, value| socket.set_priority(value),
        (level::SOCKET, 15) => |socket, value| socket.set_reuse_port(on(value)),
        (level::SOCKET, 36) => |socket, value| socket.set_mark(value),
        // IP_TOS, IP_TTL, IP_FREEBIND, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT.
        (level::IP, 1) => |socket, value| socket.set_tos_v4(value),
        (level::IP, 2) => |socket, value| socket.set_ttl_v4(value),
        (level::IP, 15) => |socket, value| socket.set_freebind_v4(on(value)),
        (level::IP, 19) => |socket, value| socket.set_ip_transparent_v4(on(value)),
        (level::IP, 24) => |socket, value| set_port_late(socket, on(value)),
        // IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_TRANSPARENT, IPV6_FREEBIND.
        (level::IPV6, 16) => |socket, value| socket.set_unicast_hops_v6(value),
        (level::IPV6, 67) => |socket, value| socket.set_tclass_v6(value),
        (level::IPV6, 75) => |socket, value| socket.set_ip_transparent_v6(on(value)),
        (level::IPV6, 78) => |socket, value| socket.set_freebind_v6(on(value)),
        // TCP_NODELAY, TCP_MAXSEG, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_QUICKACK,
        // TCP_USER_TIMEOUT, TCP_FASTOPEN, TCP_NOTSENT_LOWAT.
        (level::TCP, 1) => |socket, value| socket.set_tcp_nodelay(on(value)),
        (level::TCP, 2) => |socket, value| socket.set_tcp_mss(value),
        (level::TCP, 4) => {
            |socket, value| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(seconds(value)))
        }
        (level::TCP, 5) => |socket, value| {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(seconds(value)))
        },
        (level::TCP, 6) => {
            |socket, value| socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(value))
        }
        (level::TCP, 12) => |socket, value| socket.set_tcp_quickack(on(value)),
        (level::TCP, 18) => |socket, value| {
            let time = Duration::from_millis(u64::from(value));
            socket.set_tcp_user_timeout(Some(time))
        },
        (level::TCP, TCP_FASTOPEN) => |socket, value| {
            let length = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
            set_number(socket, (libc::IPPROTO_TCP, libc::TCP_FASTOPEN), length)
        },
        (level::TCP, 25) => |socket, value| socket.set_tcp_notsent_lowat(value),
        _ => return None,
    };
    Some(set)
}

/// Whether a socket that is bound to an address alone gets its port only when it connects
/// (`IP_BIND_ADDRESS_NO_PORT`), of either family. An address then has as many ports for each destination as
/// it otherwise has for all of them.
///
/// # Errors
/// Those of the system.
pub fn set_port_late(socket: &SockRef<'_>, late: bool) -> io::Result<()> {
    let option = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    set_number(socket, option, libc::c_int::from(late))
}

/// Sets an option, by its level and number.
#[expect(unsafe_code, reason = "no crate has a safe form of these options")]
fn set_number(
    socket: &SockRef<'_>,
    (level, name): (libc::c_int, libc::c_int),
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the system reads `size` bytes at `value`, which is as large and outlives the call; it checks
    // the descriptor, which `socket` keeps open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The option whose value is text.
fn of_text(level: i64, name: i64) -> Option<SetText> {
    let set: SetText = match (level, name) {
        // SO_BINDTODEVICE, TCP_CONGESTION.
        (level::SOCKET, 25) => |socket, value| socket.bind_device(Some(value)),
        (level::TCP, 13) => |socket, value| socket.set_tcp_congestion(value),
        _ => return None,
    };
    Some(set)
}

impl SocketOption {
    /// The option of that level and number with a number as its value; none where it is not known.
    #[must_use]
    pub fn number(moment: Moment, level: i64, name: i64, value: u32) -> Option<Self> {
        let set = Set::Number(of_number(level, name)?, value);
        Some(Self { moment, set })
    }

    /// The same with text as its value.
    #[must_use]
    pub fn text(moment: Moment, level: i64, name: i64, value: &[u8]) -> Option<Self> {
        let set = Set::Text(of_text(level, name)?, value.into());
        Some(Self { moment, set })
    }

    /// So many connections may wait whose first bytes came with the first packet.
    #[must_use]
    pub fn fast_open(queue: u32) -> Option<Self> {
        Self::number(Moment::Listening, level::TCP, TCP_FASTOPEN, queue)
    }

    /// Sets it.
    ///
    /// # Errors
    /// Those of the system, such as a missing permission.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        match &self.set {
            Set::Number(set, value) => set(socket, *value),
            Set::Text(set, value) => set(socket, value),
        }
    }
}

/// `TcpKeepalive`: when a silent connection is asked whether its peer is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    /// `keepalive_time` in seconds; the system's (2 h) where there is none.
    pub time: Option<u32>,
    /// `keepalive_interval` in seconds.
    pub interval: Option<u32>,
    /// `keepalive_probes`.
    pub probes: Option<u32>,
}

impl KeepAlive {
    /// Switches it on for a socket.
    ///
    /// # Errors
    /// Those of the system.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        let mut parameters = TcpKeepalive::new();
        if let Some(time) = self.time {
            parameters = parameters.with_time(seconds(time));
        }
        if let Some(interval) = self.interval {
            parameters = parameters.with_interval(seconds(interval));
        }
        if let Some(probes) = self.probes {
            parameters = parameters.with_retries(probes);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&parameters)
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    fn socket() -> Socket {
        Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
    }

    #[test]
    fn options_are_known_by_their_numbers() {
        let socket = socket();
        let set = |level, name, value| {
            let option = SocketOption::number(Moment::BeforeBind, level, name, value).unwrap();
            option.apply(&SockRef::from(&socket)).unwrap();
        };
        set(1, 9, 1);
        set(6, 1, 1);
        set(6, 4, 77);
        set(6, 5, 7);
        set(6, 6, 3);
        set(6, 18, 1234);
        assert!(socket.keepalive().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(77));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(7));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_millis(1234)));
        assert!(SocketOption::number(Moment::Bound, 1, 999, 1).is_none());
        assert!(SocketOption::text(Moment::Bound, 6, 1, b"x").is_none());
    }

    #[test]
    fn keepalive_is_switched_on() {
        let socket = socket();
        let keepalive = KeepAlive {
            time: Some(5),
            ..KeepAlive::default()
        };
        keepalive.apply(&SockRef::from(&socket)).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(5));
    }

    #[test]
    fn an_address_alone_has_no_port_until_it_connects() {
        for (domain, ip) in [
            (Domain::IPV4, std::net::IpAddr::from([127, 0, 0, 1])),
            (Domain::IPV6, std::net::Ipv6Addr::LOCALHOST.into()),
        ] {
            for late in [true, false] {
                let Ok(socket) = Socket::new(domain, Type::STREAM, None) else {
                    continue; // A machine without IPv6.
                };
                set_port_late(&SockRef::from(&socket), late).unwrap();
                if socket
                    .bind(&std::net::SocketAddr::new(ip, 0).into())
                    .is_err()
                {
                    continue;
                }
                let bound = socket.local_addr().unwrap().as_socket().unwrap();
                assert_eq!((bound.ip(), bound.port() == 0), (ip, late));
            }
        }
    }
}
