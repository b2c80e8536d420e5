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
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind,
    ProtocolVersion, SignatureScheme,
};
use tokio_rustls::{TlsConnector, TlsStream};

use super::context::{Files, TlsContext};
use super::error::{Error, Part};
use super::identity::{Identity, IdentitySpec};
use super::parameters::{Parameters, cipher_name, group_name};
use super::secret::Whence;
use super::server::count_refusal;
use super::stats::{Negotiated, Signatures};
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
    pub identity: Option<Whence<IdentitySpec>>,
    /// The validation context; what it does not say is checked all the same.
    pub trust: Whence<TrustSpec>,
    /// `tls_params` and `alpn_protocols`.
    pub parameters: Parameters,
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
    /// The protocols (ALPN) that are offered in place of the context's.
    pub alpn: Option<&'a [Vec<u8>]>,
}

/// What a server has to show where the configuration does not say it: a certificate that leads to one
/// of the system's authorities, and has the server's name. What names are wanted is not asked for
/// besides. A digest stands for the certificate itself: who knows that needs no authority.
fn checks(mut trust: TrustSpec) -> (TrustSpec, Names) {
    let pinned = !(trust.hashes.is_empty() && trust.keys.is_empty());
    let own = trust.authorities.is_some();
    if !own && !pinned && !trust.accept_untrusted {
        trust.system_roots = true;
    }
    let names = if !trust.names.is_empty() || trust.accept_untrusted || pinned {
        Names::Any
    } else if own {
        // Authorities of one's own often certify no addresses.
        Names::IfNamed
    } else {
        Names::Always
    };
    (trust, names)
}

/// The statistics of a context, which it may share with others of its cluster.
#[derive(Clone, Debug)]
pub struct ClientStats {
    /// Handshakes.
    pub tls: Arc<Sharded<TlsStats>>,
    /// What sessions agreed on.
    pub negotiated: Arc<Sharded<Negotiated>>,
    /// How servers have signed.
    pub signatures: Arc<Signatures>,
}

/// A context for upstreams.
#[derive(Debug)]
pub struct Client {
    owner: String,
    spec: ClientSpec,
    files: ArcSwap<Files>,
    loaded: ArcSwap<Loaded>,
    stats: ClientStats,
}

/// What was read for a context.
#[derive(Debug)]
struct Loaded {
    identity: Option<Arc<Identity>>,
    trust: Arc<Trust>,
    /// Which names a certificate has to have, beside those that `trust` wants.
    names: Names,
    /// In the order of [`Inside::ALL`].
    configs: [Arc<ClientConfig>; Inside::ALL.len()],
}

/// What can be done where a server's certificate was refused, for somebody who comes from Envoy, which looks at
/// none unless it is told to.
#[must_use]
pub fn remedy(error: &io::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(error) =
        error.get_ref()?.downcast_ref::<rustls::Error>()?
    else {
        return None;
    };
    Some(match error {
        CertificateError::UnknownIssuer => {
            "in 'common_tls_context.validation_context', name its authority as 'trusted_ca', or write \
             'trust_chain_verification: ACCEPT_UNTRUSTED' to check nothing"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "ask for a name that it has with 'sni', or say in \
             'common_tls_context.validation_context.match_typed_subject_alt_names' which one is wanted"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server needs a new one; in 'common_tls_context.validation_context', \
             'allow_expired_certificate: true' takes it all the same, and \
             'trust_chain_verification: ACCEPT_UNTRUSTED' checks nothing"
        }
        _ => {
            "the server needs another one; 'trust_chain_verification: ACCEPT_UNTRUSTED' in \
             'common_tls_context.validation_context' checks nothing"
        }
    })
}

impl Client {
    /// Reads all that belongs to a context that stands at `owner`.
    ///
    /// # Errors
    /// Everything that cannot be read or does not belong together.
    pub fn load(
        owner: String,
        spec: ClientSpec,
        stats: ClientStats,
    ) -> Result<Self, Vec<(Part, Error)>> {
        let mut files = Files::default();
        let loaded = Loaded::read(&spec, &stats, &mut files)?;
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
    pub const fn stats(&self) -> &ClientStats {
        &self.stats
    }

    /// Which names a server's certificate has to have.
    #[must_use]
    pub fn names(&self) -> Names {
        self.loaded.load().names
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
        let stats = self.stats.tls.shard(worker);
        // The files may change meanwhile: this handshake goes by what it began with.
        let loaded = self.loaded.load_full();
        let shaken = loaded.shake(&self.stats, socket, server).await;
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
        self.stats.negotiated.shard(worker).count(&tls);
        Ok((TlsStream::Client(stream).into(), tls))
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
        let mut files = Files::default();
        let loaded = Loaded::read(&self.spec, &self.stats, &mut files);
        self.files.store(Arc::new(files));
        match loaded {
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

    /// Reads everything, and notes in `files` what was read.
    fn read(
        spec: &ClientSpec,
        stats: &ClientStats,
        files: &mut Files,
    ) -> Result<Self, Vec<(Part, Error)>> {
        let parameters = &spec.parameters;
        let mut wrong = Vec::new();
        let identity = spec.identity.as_ref();
        let identity = match identity.map(|identity| Identity::read(identity, parameters, files)) {
            Some(Err(error)) => {
                wrong.push(error);
                None
            }
            Some(Ok(identity)) => Some(Arc::new(identity)),
            None => None,
        };
        let (trust, names) = match read_trust(&spec.trust, parameters, files) {
            Ok(read) if wrong.is_empty() => read,
            read => {
                wrong.extend(read.err());
                return Err(wrong);
            }
        };
        let verifier = OfServers {
            trust: Arc::clone(&trust),
            names,
            expected: None,
            signatures: Arc::clone(&stats.signatures),
        };
        let configs = configurations(spec, identity.as_deref(), verifier);
        let configs = configs.map_err(|error| vec![(Part::Chain, error.into())])?;
        Ok(Self {
            identity,
            trust,
            names,
            configs,
        })
    }

    async fn shake(
        &self,
        stats: &ClientStats,
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
        if let Some(alpn) = server.alpn {
            let mut other = ClientConfig::clone(&config);
            other.alpn_protocols = alpn.to_vec();
            config = Arc::new(other);
        }
        let name = match server.name {
            Some(name) => server_name(name)?,
            None => ServerName::IpAddress(server.address.into()),
        };
        // A session that is resumed is not checked again, and it is kept under the name that was asked
        // for: unless every session under that name was checked for the very name that is expected,
        // there is none to resume.
        let expected = server.expected.map(server_name).transpose()?;
        if let Some(expected) = expected.filter(|wanted| self.names.wanted(&name) != Some(wanted)) {
            let mut other = ClientConfig::clone(&config);
            let verifier = OfServers {
                trust: Arc::clone(&self.trust),
                names: self.names,
                expected: Some(expected),
                signatures: Arc::clone(&stats.signatures),
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

/// What servers have to show, with what is checked although nobody has written it.
fn read_trust(
    whence: &Whence<TrustSpec>,
    parameters: &Parameters,
    files: &mut Files,
) -> Result<(Arc<Trust>, Names), (Part, Error)> {
    whence.file().into_iter().for_each(|path| files.add(path));
    let spec = whence.get().map_err(|error| (Part::Secret, error))?;
    let (spec, names) = checks(spec.into_owned());
    spec.files().for_each(|path| files.add(path));
    let trust = Trust::load(&spec, parameters)?;
    Ok((Arc::new(trust), names))
}

fn configurations(
    spec: &ClientSpec,
    identity: Option<&Identity>,
    verifier: OfServers,
) -> Result<[Arc<ClientConfig>; Inside::ALL.len()], rustls::Error> {
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
    signatures: Arc<Signatures>,
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
            // What the library cannot read is of version 1, which has no names.
            let certificate = rustls::server::ParsedCertificate::try_from(end_entity)
                .map_err(|_unread| CertificateError::NotValidForName)?;
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
        self.trust
            .signature_of_12(message, cert, dss, &self.signatures)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust
            .signature_of_13(message, cert, dss, &self.signatures)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.schemes()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Source, SubjectName};

    #[test]
    fn what_is_not_said_is_checked() {
        let own = || Some(Source::Inline(b"x".as_slice().into()));
        let name = SubjectName::new("any", Arc::new(|_: &crate::certificate::Names| true));
        for (trust, system, names) in [
            (TrustSpec::default(), true, Names::Always),
            (
                TrustSpec {
                    authorities: own(),
                    ..TrustSpec::default()
                },
                false,
                Names::IfNamed,
            ),
            (
                TrustSpec {
                    authorities: own(),
                    names: vec![name.clone()],
                    ..TrustSpec::default()
                },
                false,
                Names::Any,
            ),
            (
                TrustSpec {
                    names: vec![name],
                    ..TrustSpec::default()
                },
                true,
                Names::Any,
            ),
            (
                TrustSpec {
                    keys: vec![[1; 32]],
                    ..TrustSpec::default()
                },
                false,
                Names::Any,
            ),
            (
                TrustSpec {
                    accept_untrusted: true,
                    ..TrustSpec::default()
                },
                false,
                Names::Any,
            ),
        ] {
            let (checked, found) = checks(trust);
            assert_eq!(
                (checked.system_roots, found),
                (system, names),
                "{checked:?}"
            );
        }
    }
}
