//! Listening sockets.
//!
//! Owns making and binding them, with the options of the configuration. Does not own accepting
//! (`super`). Called by `server`, and by `admin` for its own.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::Listening;
use crate::address::Address;
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
) -> io::Result<Vec<Listening>> {
    match &at.address {
        Address::Ip(address) => bind_tcp(at, *address, settings, workers),
        Address::Unix(path) => bind_unix(at, path, settings, workers),
    }
}

fn bind_tcp(
    at: &ListenAddress,
    address: SocketAddr,
    settings: &SocketSettings,
    workers: usize,
) -> io::Result<Vec<Listening>> {
    let first = socket(at, settings, address)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    // Port 0 was made a real one by the first.
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        let other = socket(at, settings, address)?;
        other.set_reuse_port(true)?;
        other.bind(&bound)?;
        sockets.push(other);
    }
    for socket in &sockets {
        start(at, settings, socket)?;
    }
    let sockets = sockets.into_iter().map(TcpListener::from);
    Ok(sockets.map(Listening::Tcp).collect())
}

/// Binds a Unix socket, of which each worker has a handle: whoever is free accepts.
fn bind_unix(
    at: &ListenAddress,
    path: &Arc<str>,
    settings: &SocketSettings,
    workers: usize,
) -> io::Result<Vec<Listening>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    apply(at, Moment::BeforeBind, &socket)?;
    match path.strip_prefix('@') {
        Some(name) => {
            socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
            start(at, settings, &socket)?;
        }
        None => {
            // Held until somebody listens: what another process finds meanwhile looks abandoned.
            let _alone = lock_folder(path);
            make_room(path)?;
            socket.bind(&SockAddr::unix(&**path)?)?;
            if at.mode != 0 {
                fs::set_permissions(&**path, fs::Permissions::from_mode(at.mode))?;
            }
            start(at, settings, &socket)?;
        }
    }
    let first = UnixListener::from(OwnedFd::from(socket));
    let mut sockets = Vec::new();
    for _ in 1..workers {
        sockets.push(Listening::Unix(first.try_clone()?, Arc::clone(path)));
    }
    sockets.push(Listening::Unix(first, Arc::clone(path)));
    Ok(sockets)
}

/// Keeps other processes that start from binding in the same folder, for as long as the file is kept.
/// None where that cannot be had: then two that start at once may take each other's socket away.
fn lock_folder(path: &str) -> Option<File> {
    let parent = Path::new(path).parent()?;
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let folder = File::open(parent).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Takes away a socket that nobody listens on any more: its file outlives the process that made it.
fn make_room(path: &str) -> io::Result<()> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !there.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn start(at: &ListenAddress, settings: &SocketSettings, socket: &Socket) -> io::Result<()> {
    apply(at, Moment::Bound, socket)?;
    socket.listen(i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    apply(at, Moment::Listening, socket)
}

fn socket(
    at: &ListenAddress,
    settings: &SocketSettings,
    address: SocketAddr,
) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(match settings.mptcp {
            true => Protocol::MPTCP,
            false => Protocol::TCP,
        }),
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
        let address = sockets[0].address().unwrap();
        assert!(
            sockets
                .iter()
                .all(|socket| socket.address().unwrap() == address)
        );
        let again = ListenAddress::from(address.ip().unwrap());
        let other = bind(&again, &settings, 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        bind(&again, &settings, 1).unwrap();
    }

    fn tcp(at: &ListenAddress, settings: &SocketSettings) -> TcpListener {
        match bind(at, settings, 1).unwrap().pop() {
            Some(Listening::Tcp(socket)) => socket,
            other => panic!("{other:?}"),
        }
    }

    fn unix(path: &str) -> ListenAddress {
        ListenAddress {
            address: Address::Unix(path.into()),
            mode: 0o600,
            takes_ipv4: false,
            options: Box::default(),
        }
    }

    #[test]
    fn a_unix_socket_is_shared_and_what_is_left_of_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let at = unix(path.to_str().unwrap());
        let settings = SocketSettings::default();
        let sockets = bind(&at, &settings, 3).unwrap();
        assert_eq!(sockets.len(), 3);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let other = bind(&at, &settings, 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        assert!(path.exists());
        drop(bind(&at, &settings, 1).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        let other = bind(&at, &settings, 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[test]
    fn of_many_that_start_at_once_one_has_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let at = unix(folder.path().join("socket").to_str().unwrap());
        let settings = SocketSettings::default();
        for _ in 0..50 {
            // What the last round has left is there.
            let all = std::sync::Barrier::new(4);
            let bound = std::thread::scope(|scope| {
                let bind = || {
                    all.wait();
                    bind(&at, &settings, 1)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                let bound = threads.into_iter().map(|thread| thread.join().unwrap());
                bound.filter_map(Result::ok).collect::<Vec<_>>()
            });
            assert_eq!(bound.len(), 1);
        }
    }

    #[test]
    fn a_name_without_a_file() {
        let name = format!("@nuncio-test-{}", std::process::id());
        let settings = SocketSettings::default();
        let sockets = bind(&unix(&name), &settings, 1).unwrap();
        let other = bind(&unix(&name), &settings, 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(sockets[0].address().unwrap().to_string(), name);
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
        let socket = tcp(&at, &settings);
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(false).unwrap();
        let (accepted, _) = socket.accept().unwrap();
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
        let port = sockets[0].address().unwrap().ip().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
}
