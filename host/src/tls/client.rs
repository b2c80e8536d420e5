//! Handshakes with upstreams: `UpstreamTlsContext`.
//!
//! Owns a context with everything that was read for it, which protocols (ALPN) are offered, which name
//! a server's certificate has to have, and one handshake. Every certificate is checked unless the
//! configuration says in words that it is not. Does not own time, nor which name a request asks for:
//! `upstream` does. Called by `upstream::connect`.

use std::io;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ProtocolVersion,
    SignatureScheme,
};
use tokio_rustls::{TlsConnector, TlsStream};

use super::context::{Files, TlsContext};
use super::error::{Error, Part};
use super::identity::{Identity, IdentitySpec};
use super::parameters::{Parameters, cipher_name, group_name};
use super::server::count_refusal;
use super::trust::{Trust, TrustSpec};
use crate::certificate::Certificate;
use crate::exchange::{Peer, Tls};
use crate::limits;
use crate::observe::metrics::TlsStats;
use crate::observe::stats::Sharded;
use crate::socket::Socket;

/// What is spoken inside of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// Bytes that are not looked into: no protocol is offered.
    Bytes,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/2 or HTTP/1.1, as the server likes.
    EitherHttp,
}

impl Inside {
    const ALL: [Self; 4] = [Self::Bytes, Self::Http1, Self::Http2, Self::EitherHttp];

    /// What is offered where the configuration offers nothing.
    const fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Self::Bytes => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::EitherHttp => &[b"h2", b"http/1.1"],
        }
    }
}

/// A context for upstreams, before its files were read.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// `tls_certificates`: the one that servers which ask get.
    pub identity: Option<IdentitySpec>,
    /// The validation context; the system's authorities where there is none.
    pub trust: TrustSpec,
    /// `tls_params` and `alpn_protocols`.
    pub parameters: Parameters,
    /// Which names a certificate has to have, beside those that `trust` wants.
    pub names: Names,
    /// `max_session_keys`: servers whose last sessions are kept to be resumed.
    pub sessions: usize,
}

/// Which names a server's certificate has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// That which the server is known by: the name that it was asked for, or its address.
    Always,
    /// The name that it was asked for; servers that are not asked for one need none.
    IfNamed,
    /// None beyond those that the validation context wants.
    Any,
}

impl Names {
    /// The name that has to be in the certificate of a server that was asked for `asked`.
    const fn wanted<'a>(self, asked: &'a ServerName<'a>) -> Option<&'a ServerName<'a>> {
        match (self, asked) {
            (Self::Any, _) | (Self::IfNamed, ServerName::IpAddress(_)) => None,
            (Self::Always | Self::IfNamed, _) => Some(asked),
        }
    }
}

/// Whom a handshake is with.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    /// The name to ask for (SNI).
    pub name: Option<&'a str>,
    /// The name that its certificate has to have, whatever [`Names`] says; none where that decides.
    pub expected: Option<&'a str>,
    /// Its address, by which it is known where it has no name.
    pub address: std::net::IpAddr,
    /// What is to be spoken.
    pub inside: Inside,
}

/// A context for upstreams.
#[derive(Debug)]
pub struct Client {
    owner: String,
    spec: ClientSpec,
    files: ArcSwap<Files>,
    loaded: ArcSwap<Loaded>,
    stats: Arc<Sharded<TlsStats>>,
}

/// What was read for a context.
#[derive(Debug)]
struct Loaded {
    identity: Option<Arc<Identity>>,
    trust: Arc<Trust>,
    /// In the order of [`Inside::ALL`].
    configs: [Arc<ClientConfig>; Inside::ALL.len()],
}

impl Client {
    /// Reads all that belongs to a context that stands at `owner`.
    ///
    /// # Errors
    /// Everything that cannot be read or does not belong together.
    pub fn load(
        owner: String,
        spec: ClientSpec,
        stats: Arc<Sharded<TlsStats>>,
    ) -> Result<Self, Vec<(Part, Error)>> {
        let files = spec.files();
        let loaded = Loaded::new(&spec)?;
        Ok(Self {
            owner,
            files: ArcSwap::from_pointee(files),
            loaded: ArcSwap::from_pointee(loaded),
            spec,
            stats,
        })
    }

    /// Its statistics.
    #[must_use]
    pub const fn stats(&self) -> &Arc<Sharded<TlsStats>> {
        &self.stats
    }

    /// Its settings.
    #[must_use]
    pub const fn spec(&self) -> &ClientSpec {
        &self.spec
    }

    /// Makes a session of a connection. What is known of it comes with its socket.
    ///
    /// # Errors
    /// What the server said, or what is wrong with it.
    pub async fn connect(
        &self,
        socket: Socket,
        server: Server<'_>,
        worker: usize,
    ) -> io::Result<(Socket, Tls)> {
        let stats = self.stats.shard(worker);
        // The files may change meanwhile: this handshake goes by what it began with.
        let loaded = self.loaded.load_full();
        let shaken = loaded.shake(&self.spec, socket, server).await;
        let stream = match shaken {
            Ok(stream) => stream,
            Err(error) => {
                let refusal = error.get_ref().and_then(|error| error.downcast_ref());
                if let Some(refusal) = refusal {
                    count_refusal(stats, refusal);
                }
                return Err(error);
            }
        };
        let (_, session) = stream.get_ref();
        stats.handshake.inc();
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            stats.session_reused.inc();
        }
        let tls = facts(session, &loaded);
        Ok((TlsStream::Client(stream).into(), tls))
    }
}

impl ClientSpec {
    /// The files that are read for it, as they are now.
    fn files(&self) -> Files {
        let mut files = Files::default();
        let identity = self.identity.iter().flat_map(IdentitySpec::files);
        let paths = identity.chain(self.trust.files());
        paths.for_each(|path| files.add(path));
        files
    }
}

impl TlsContext for Client {
    fn owner(&self) -> &str {
        &self.owner
    }

    fn files(&self) -> Arc<Files> {
        self.files.load_full()
    }

    fn reload(&self) -> Vec<String> {
        self.files.store(Arc::new(self.spec.files()));
        match Loaded::new(&self.spec) {
            Ok(loaded) => {
                if !loaded.is_same(&self.loaded.load()) {
                    self.loaded.store(Arc::new(loaded));
                }
                Vec::new()
            }
            Err(wrong) => {
                let errors = wrong.iter().map(|(_, error)| error.to_string());
                errors.collect()
            }
        }
    }

    fn identities(&self) -> Vec<Arc<Identity>> {
        self.loaded.load().identity.clone().into_iter().collect()
    }

    fn trust(&self) -> Option<Arc<Trust>> {
        Some(Arc::clone(&self.loaded.load().trust))
    }
}

impl Loaded {
    /// Whether all that was read is what there was in `old`.
    fn is_same(&self, old: &Self) -> bool {
        let identity = match (&self.identity, &old.identity) {
            (Some(new), Some(old)) => new.is_same(old),
            (None, None) => true,
            _ => false,
        };
        identity && self.trust.is_same(&old.trust)
    }

    fn new(spec: &ClientSpec) -> Result<Self, Vec<(Part, Error)>> {
        let provider = &spec.parameters.provider;
        let mut wrong = Vec::new();
        let identity = spec.identity.as_ref();
        let identity = match identity.map(|identity| Identity::load(identity, provider)) {
            Some(Err(error)) => {
                wrong.push(error);
                None
            }
            Some(Ok(identity)) => Some(Arc::new(identity)),
            None => None,
        };
        match Trust::load(&spec.trust, provider) {
            Err(error) => wrong.push(error),
            Ok(trust) if wrong.is_empty() => {
                let trust = Arc::new(trust);
                return match configurations(spec, identity.as_deref(), &trust) {
                    Ok(configs) => Ok(Self {
                        identity,
                        trust,
                        configs,
                    }),
                    Err(error) => Err(vec![(Part::Chain, error.into())]),
                };
            }
            Ok(_) => {}
        }
        Err(wrong)
    }

    async fn shake(
        &self,
        spec: &ClientSpec,
        socket: Socket,
        server: Server<'_>,
    ) -> io::Result<tokio_rustls::client::TlsStream<Socket>> {
        let [bytes, http1, http2, either] = &self.configs;
        let mut config = Arc::clone(match server.inside {
            Inside::Bytes => bytes,
            Inside::Http1 => http1,
            Inside::Http2 => http2,
            Inside::EitherHttp => either,
        });
        let name = match server.name {
            Some(name) => server_name(name)?,
            None => ServerName::IpAddress(server.address.into()),
        };
        // A session that is resumed is not checked again, and it is kept under the name that was asked
        // for: unless every session under that name was checked for the very name that is expected,
        // there is none to resume.
        let expected = server.expected.map(server_name).transpose()?;
        if let Some(expected) = expected.filter(|wanted| spec.names.wanted(&name) != Some(wanted)) {
            let mut other = ClientConfig::clone(&config);
            let verifier = OfServers {
                trust: Arc::clone(&self.trust),
                names: spec.names,
                expected: Some(expected),
            };
            other
                .dangerous()
                .set_certificate_verifier(Arc::new(verifier));
            other.resumption = Resumption::disabled();
            config = Arc::new(other);
        }
        TlsConnector::from(config).connect(name, socket).await
    }
}

fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(|_not| {
        let message = format!("\"{name}\" is not the name of a server");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

fn configurations(
    spec: &ClientSpec,
    identity: Option<&Identity>,
    trust: &Arc<Trust>,
) -> Result<[Arc<ClientConfig>; Inside::ALL.len()], rustls::Error> {
    let verifier = OfServers {
        trust: Arc::clone(trust),
        names: spec.names,
        expected: None,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&spec.parameters.provider))
        .with_protocol_versions(spec.parameters.versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let base = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    Ok(Inside::ALL.map(|inside| {
        let mut config = base.clone();
        config.alpn_protocols.clone_from(&spec.parameters.alpn);
        if config.alpn_protocols.is_empty() {
            let offered = inside.protocols().iter();
            config.alpn_protocols = offered.map(|name| name.to_vec()).collect();
        }
        config.enable_early_data = false;
        config.resumption = match spec.sessions {
            0 => Resumption::disabled(),
            servers => {
                // The store has room for several tickets of each server, and counts these.
                let tickets = servers.saturating_mul(limits::TLS_TICKETS_OF_SERVER);
                Resumption::store(Arc::new(ClientSessionMemoryCache::new(tickets)))
            }
        };
        Arc::new(config)
    }))
}

/// A [`Trust`] as the library asks it about servers.
#[derive(Debug)]
struct OfServers {
    trust: Arc<Trust>,
    names: Names,
    /// The name in place of the one that was asked for.
    expected: Option<ServerName<'static>>,
}

impl OfServers {
    /// The name that has to be in the certificate of a server that was asked for `asked`.
    fn wanted<'a>(&'a self, asked: &'a ServerName<'_>) -> Option<&'a ServerName<'a>> {
        let expected = self.expected.as_ref();
        expected.or_else(|| self.names.wanted(asked))
    }
}

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust.accepts_untrusted() {
            return Ok(ServerCertVerified::assertion());
        }
        self.trust.check_server(end_entity, intermediates, now)?;
        if let Some(name) = self.wanted(server_name) {
            let certificate = rustls::server::ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, self.trust.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, self.trust.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms().supported_schemes()
    }
}

fn facts(session: &ClientConnection, loaded: &Loaded) -> Tls {
    let chain = session.peer_certificates().unwrap_or_default();
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf).ok());
    let cipher = session.negotiated_cipher_suite();
    let group = session.negotiated_key_exchange_group();
    let alpn = session.alpn_protocol();
    Tls {
        certificate_presented: !chain.is_empty(),
        certificate_validated: !loaded.trust.accepts_untrusted(),
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: cipher.map_or("", |cipher| cipher_name(cipher.suite())),
        group: group.map_or("", |group| group_name(group.name())),
        server_name: None,
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into()),
        peer: leaf.map(|certificate| Peer {
            certificate,
            chain: chain
                .iter()
                .skip(1)
                .map(|der| der.as_ref().into())
                .collect(),
        }),
        local: loaded
            .identity
            .as_ref()
            .map(|identity| Arc::clone(&identity.certificate)),
        forwarded: OnceLock::new(),
    }
}
