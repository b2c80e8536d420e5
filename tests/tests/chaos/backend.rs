//! A server that can be broken while it serves.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

use nuncio_tests::tls::folder;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is gone: connections end and nobody listens.
    Down,
    /// It reads and never answers.
    Hang,
    /// Connections are made, by the system, and nobody takes them; those that there are hang.
    HalfOpen,
    /// It resets the connection in place of an answer.
    Reset,
    /// It resets the connection in the middle of an answer.
    ResetMiddle,
    /// It answers with what is no HTTP.
    Garbage,
    /// New connections are shown a certificate that nobody trusts; all others end.
    WrongCertificate,
}

/// The length of every body.
pub(crate) const BODY: usize = 1000;

struct Shared {
    fault: Mutex<Fault>,
    changed: Condvar,
    /// Each is owned by who serves it, alone: it has to end when that one lets go of it.
    open: Mutex<Vec<Weak<TcpStream>>>,
    served: AtomicUsize,
    tls: Option<[Arc<ServerConfig>; 2]>,
}

/// A running server. Its answers are 200 with [`BODY`] bytes.
pub(crate) struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Backend {
    pub(crate) fn start(address: impl Into<SocketAddr>) -> Self {
        Self::over(address.into(), None)
    }

    /// Speaks TLS, with the certificate `server` of the tests' folder.
    pub(crate) fn start_tls(address: impl Into<SocketAddr>) -> Self {
        let configs = ["server", "stranger"].map(config);
        Self::over(address.into(), Some(configs))
    }

    fn over(address: SocketAddr, tls: Option<[Arc<ServerConfig>; 2]>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            changed: Condvar::new(),
            open: Mutex::default(),
            served: AtomicUsize::new(0),
            tls,
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(listener, address));
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that were answered. Health checks are none.
    pub(crate) fn served(&self) -> usize {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Breaks it, or mends it.
    pub(crate) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
        self.shared.changed.notify_all();
        // Who accepts looks again.
        drop(TcpStream::connect(self.address));
        if matches!(fault, Fault::Down | Fault::WrongCertificate) {
            let open = self.shared.open.lock().unwrap();
            for stream in open.iter().filter_map(Weak::upgrade) {
                // It may have ended by itself.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    /// Waits while that is wrong.
    fn wait_out(&self, fault: Fault) {
        let now = self.fault.lock().unwrap();
        drop(self.changed.wait_while(now, |now| *now == fault).unwrap());
    }

    fn accept(self: Arc<Self>, listener: TcpListener, address: SocketAddr) {
        let mut listener = Some(listener);
        loop {
            match self.fault() {
                Fault::Down => {
                    listener = None;
                    self.wait_out(Fault::Down);
                }
                Fault::HalfOpen => self.wait_out(Fault::HalfOpen),
                _ => {
                    let listener =
                        listener.get_or_insert_with(|| TcpListener::bind(address).unwrap());
                    let (stream, _) = listener.accept().unwrap();
                    let serving = Arc::clone(&self);
                    thread::spawn(move || serving.connection(stream));
                }
            }
        }
    }

    fn connection(&self, stream: TcpStream) {
        let stream = Arc::new(stream);
        self.opened(&stream);
        // How a connection ends is the other side's business.
        let _ended = match &self.tls {
            None => self.serve(&*stream, &stream),
            Some([good, bad]) => {
                let is_wrong = self.fault() == Fault::WrongCertificate;
                let config = if is_wrong { bad } else { good };
                let session = ServerConnection::new(Arc::clone(config)).unwrap();
                self.serve(StreamOwned::new(session, &*stream), &stream)
            }
        };
    }

    fn opened(&self, stream: &Arc<TcpStream>) {
        let mut open = self.open.lock().unwrap();
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(stream));
    }

    fn serve(&self, mut inside: impl Read + Write, stream: &TcpStream) -> io::Result<()> {
        loop {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                inside.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
            let mut answer = answer.into_bytes();
            match self.fault() {
                Fault::None | Fault::WrongCertificate => {}
                // The connection was made just before.
                Fault::Down => return Ok(()),
                fault @ (Fault::Hang | Fault::HalfOpen) => {
                    self.wait_out(fault);
                    return Ok(());
                }
                Fault::Reset => return resets(stream),
                Fault::ResetMiddle => {
                    answer.extend([b'x'; BODY / 2]);
                    inside.write_all(&answer)?;
                    // Whether the first half is seen before the end is up to the proxy.
                    return resets(stream);
                }
                Fault::Garbage => {
                    inside.write_all(b"SSH-2.0-nobody\r\n\r\n")?;
                    return Ok(());
                }
            }
            answer.extend([b'x'; BODY]);
            inside.write_all(&answer)?;
            if !head.starts_with(b"GET /health ") {
                self.served.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Has the connection reset when it is let go of.
fn resets(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn config(name: &str) -> Arc<ServerConfig> {
    let path = |kind: &str| folder().join(format!("{name}.{kind}"));
    let chain = CertificateDer::pem_file_iter(path("pem")).unwrap();
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(path("key")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}
