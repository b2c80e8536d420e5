//! TLS in front of the scripted upstream servers.
//!
//! Owns servers that differ in what they show and ask for, and the record of whom they agreed with. What
//! is inside goes to the servers that speak in clear text, which answer. Called by [`crate::compare`].

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::complaints::Complaints;
use crate::tls;

/// What a server shows and asks for.
struct Kind {
    certificate: &'static str,
    alpn: &'static [&'static str],
    versions: Vec<&'static SupportedProtocolVersion>,
    /// Whether clients are asked for a certificate, and whether they need one.
    asks: Option<bool>,
}

impl Kind {
    /// By the part of a port's name behind `tls_`.
    fn named(name: &str) -> Self {
        let any = Self {
            certificate: "server",
            alpn: &[],
            versions: vec![&TLS13, &TLS12],
            asks: None,
        };
        match name {
            "server" => any,
            "server_rsa" => Self {
                certificate: "server-rsa",
                ..any
            },
            "various" => Self {
                certificate: "various",
                ..any
            },
            "expired" => Self {
                certificate: "expired",
                ..any
            },
            "revoked" => Self {
                certificate: "revoked",
                ..any
            },
            "stranger" => Self {
                certificate: "stranger",
                ..any
            },
            "old" => Self {
                certificate: "old",
                ..any
            },
            "authority" => Self {
                certificate: "authority",
                ..any
            },
            "own" => Self {
                certificate: "own",
                ..any
            },
            "either" => Self {
                alpn: &["h2", "http/1.1"],
                ..any
            },
            "http1" => Self {
                alpn: &["http/1.1"],
                ..any
            },
            "only_12" => Self {
                versions: vec![&TLS12],
                ..any
            },
            "only_13" => Self {
                versions: vec![&TLS13],
                ..any
            },
            "asks" => Self {
                asks: Some(false),
                ..any
            },
            "wants" => Self {
                asks: Some(true),
                ..any
            },
            other => panic!("no TLS server is called {other:?}"),
        }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = match self.asks {
            None => builder.with_no_client_auth(),
            Some(needs) => {
                let mut roots = RootCertStore::empty();
                let authority = CertificateDer::from_pem_file(tls::folder().join("ca.pem"));
                roots.add(authority.unwrap()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match needs {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_cert_resolver(tls::shown(self.certificate));
        config.alpn_protocols = self.alpn.iter().map(|name| (*name).into()).collect();
        config
    }
}

/// The server; it ends when this value does.
#[derive(Debug)]
pub struct TlsOrigin {
    handshakes: Arc<Mutex<Vec<String>>>,
    complaints: Complaints,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TlsOrigin {
    /// Listens on a port as the server of that name. HTTP/2 inside goes to `http2`, all else to `http1`.
    #[must_use]
    pub fn start_on(port: u16, name: &str, http1: SocketAddr, http2: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|error| panic!("listening on port {port}: {error}"));
        listener.set_nonblocking(true).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(Kind::named(name).config()));
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&handshakes);
        let complaints = Complaints::default();
        let told = complaints.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = complaints.thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let local = LocalSet::new();
            local.spawn_local(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
                    told.task(serve(stream, acceptor, record, [http1, http2]));
                }
            });
            drop(runtime.block_on(local.run_until(stopped)));
        });
        Self {
            handshakes,
            complaints,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What was agreed on in handshakes since the last call.
    #[must_use]
    pub fn take_handshakes(&self) -> Vec<String> {
        std::mem::take(&mut self.handshakes.lock().unwrap())
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("its panics are complaints");
        }
        self.complaints.expect_none();
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    record: Arc<Mutex<Vec<String>>>,
    [http1, http2]: [SocketAddr; 2],
) {
    drop(stream.set_nodelay(true));
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let (_, session) = stream.get_ref();
    record.lock().unwrap().push(agreed(session));
    let inner = match session.alpn_protocol() {
        Some(b"h2") => http2,
        _ => http1,
    };
    let Ok(mut inner) = TcpStream::connect(inner).await else {
        return;
    };
    drop(inner.set_nodelay(true));
    // Whichever side ends it, the other one learns of it.
    drop(copy_bidirectional(&mut stream, &mut inner).await);
}

/// What both sides agreed on, and what the client has shown.
fn agreed(session: &ServerConnection) -> String {
    let alpn = session.alpn_protocol().map(String::from_utf8_lossy);
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    format!(
        "{:?} name {} alpn {} certificate {}",
        session.protocol_version().unwrap(),
        session.server_name().unwrap_or("-"),
        alpn.as_deref().unwrap_or("-"),
        shown.map_or("-", tls::name_of)
    )
}
