//! Listening sockets.
//!
//! Owns making and binding them, with the options of the configuration. Does not own accepting
//! (`super`). Called by `server`, and by `admin` for its own.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::runtime::{ListenAddress, SocketSettings};
use crate::socket_option::Moment;

/// Binds `at` once for every worker. The kernel spreads connections over the sockets (`SO_REUSEPORT`),
/// but another process cannot take a share: the first socket is bound without that flag, which fails
/// while anybody else has the port.
///
/// # Errors
/// Those of the system: in use, not permitted, not an address of this machine.
pub(crate) fn bind(
    at: &ListenAddress,
    settings: &SocketSettings,
    workers: usize,
) -> io::Result<Vec<TcpListener>> {
    let first = socket(at, settings, at.address)?;
    first.bind(&at.address.into())?;
    first.set_reuse_port(true)?;
    // Port 0 was made a real one by the first.
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        let other = socket(at, settings, at.address)?;
        other.set_reuse_port(true)?;
        other.bind(&bound)?;
        sockets.push(other);
    }
    let backlog = i32::try_from(settings.backlog).unwrap_or(i32::MAX);
    for socket in &sockets {
        apply(at, Moment::Bound, socket)?;
        socket.listen(backlog)?;
        apply(at, Moment::Listening, socket)?;
    }
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

fn socket(
    at: &ListenAddress,
    settings: &SocketSettings,
    address: SocketAddr,
) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // Without this a restart would have to wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!at.takes_ipv4)?;
    }
    match address {
        SocketAddr::V4(_) => {
            if settings.freebind {
                socket.set_freebind_v4(true)?;
            }
            if settings.transparent {
                socket.set_ip_transparent_v4(true)?;
            }
        }
        SocketAddr::V6(_) => {
            if settings.freebind {
                socket.set_freebind_v6(true)?;
            }
            if settings.transparent {
                socket.set_ip_transparent_v6(true)?;
            }
        }
    }
    // Accepted sockets inherit it.
    if let Some(keepalive) = &settings.keepalive {
        keepalive.apply(&SockRef::from(&socket))?;
    }
    apply(at, Moment::BeforeBind, &socket)?;
    Ok(socket)
}

fn apply(at: &ListenAddress, moment: Moment, socket: &Socket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let mut options = at.options.iter().filter(|option| option.moment == moment);
    options.try_for_each(|option| option.apply(&socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket_option::{KeepAlive, SocketOption};

    fn at(address: &str) -> ListenAddress {
        ListenAddress::from(address.parse::<SocketAddr>().unwrap())
    }

    #[test]
    fn one_port_for_all_workers_and_none_for_another_process() {
        let settings = SocketSettings::default();
        let sockets = bind(&at("127.0.0.1:0"), &settings, 3).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert!(
            sockets
                .iter()
                .all(|socket| socket.local_addr().unwrap() == address)
        );
        let again = ListenAddress::from(address);
        let other = bind(&again, &settings, 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        bind(&again, &settings, 1).unwrap();
    }

    #[test]
    fn options_reach_what_is_accepted() {
        let settings = SocketSettings {
            keepalive: Some(KeepAlive {
                time: Some(33),
                ..KeepAlive::default()
            }),
            freebind: true,
            ..SocketSettings::default()
        };
        let mut at = at("127.0.0.1:0");
        at.options = [Moment::BeforeBind, Moment::Bound, Moment::Listening]
            .into_iter()
            .zip([(6, 5, 11), (6, 6, 4), (6, 18, 5000)])
            .map(|(moment, (level, name, value))| {
                SocketOption::number(moment, level, name, value).unwrap()
            })
            .collect();
        let sockets = bind(&at, &settings, 1).unwrap();
        let _client = std::net::TcpStream::connect(sockets[0].local_addr().unwrap()).unwrap();
        sockets[0].set_nonblocking(false).unwrap();
        let (accepted, _) = sockets[0].accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap().as_secs(), 33);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap().as_secs(), 11);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(accepted.tcp_user_timeout().unwrap().unwrap().as_secs(), 5);
    }

    #[test]
    fn one_socket_for_both_families() {
        let settings = SocketSettings::default();
        let mut at = at("[::]:0");
        at.takes_ipv4 = true;
        let Ok(sockets) = bind(&at, &settings, 1) else {
            // A machine without IPv6.
            return;
        };
        let port = sockets[0].local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
}
