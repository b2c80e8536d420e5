//! Handshakes with clients: `DownstreamTlsContext`.
//!
//! Owns a context with everything that was read for it, and one handshake from its first byte to a
//! [`Socket`] that speaks TLS. The library is asked only once the client's first message is known, for
//! Envoy goes by it in ways that the library does not: which certificate, and a protocol (ALPN) that
//! nobody here speaks is passed over. Does not own time: `listener` ends a handshake that takes too
//! long.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert, ServerConfig,
    ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, HandshakeKind, PeerIncompatible,
    ProtocolVersion, ServerConnection, SignatureScheme,
};
use tokio_rustls::{StartHandshake, TlsStream};

use super::choice::{Fit, Index};
use super::context::{Files, TlsContext, seconds};
use super::error::{Error, Part};
use super::greeting::{self, Greeting};
use super::hello;
use super::identity::{Identity, IdentitySpec};
use super::parameters::{Parameters, cipher_name, group_name};
use super::secret::Whence;
use super::staple::{StaplePolicy, Stapled};
use super::stats::{Negotiated, Signatures};
use super::tickets::{Kept, Maker, Resumption, TicketKeys, TicketSpec, Tickets};
use super::trust::{OfClients, Refusal, Trust, TrustSpec};
use crate::certificate::{Certificate, sha256};
use crate::clock;
use crate::exchange::{Peer, Tls};
use crate::limits;
use crate::observe::metrics::TlsStats;
use crate::observe::stats::Sharded;
use crate::sniffed::Sniffed;
use crate::socket::Socket;

/// A context for clients, before its files were read.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// `tls_certificates`, at least one.
    pub identities: Vec<Whence<IdentitySpec>>,
    /// The validation context; none where nothing is asked of clients.
    pub trust: Option<Whence<TrustSpec>>,
    /// `tls_params` and `alpn_protocols`.
    pub parameters: Parameters,
    /// `require_client_certificate`.
    pub requires_certificate: bool,
    /// `require_sni`.
    pub requires_name: bool,
    /// `full_scan_certs_on_sni_mismatch`.
    pub scans_on_mismatch: bool,
    /// `prefer_client_ciphers`.
    pub prefers_client_ciphers: bool,
    /// How sessions are resumed by what clients keep.
    pub tickets: TicketChoice,
    /// Whether sessions of TLS 1.2 are kept here: not `disable_stateful_session_resumption`.
    pub sessions: bool,
    /// `session_timeout`: how long a session can be resumed; the library's time where there is none.
    pub session_lifetime: Option<Duration>,
    /// `ocsp_staple_policy`.
    pub staples: StaplePolicy,
}

/// `session_ticket_keys_type`.
#[derive(Clone, Debug)]
pub enum TicketChoice {
    /// There are none: `disable_stateless_session_resumption`.
    Off,
    /// By keys that this process makes and nobody else knows.
    Own,
    /// By keys that the configuration names.
    Keys(Whence<TicketSpec>),
}

/// A context for clients.
#[derive(Debug)]
pub struct Server {
    owner: String,
    spec: ServerSpec,
    files: ArcSwap<Files>,
    loaded: ArcSwap<Loaded>,
    stats: Arc<Sharded<TlsStats>>,
    negotiated: Arc<Sharded<Negotiated>>,
    signatures: Arc<Signatures>,
}

/// What was read for a context.
#[derive(Debug)]
struct Loaded {
    identities: Vec<Ready>,
    index: Index,
    trust: Option<Arc<Trust>>,
    ticket_keys: Option<Arc<TicketKeys>>,
    /// Where sessions end in time.
    resumption: Option<Resumption>,
    requires_certificate: bool,
    requires_name: bool,
    staples: StaplePolicy,
    newest: ProtocolVersion,
}

/// A certificate with the configurations of the library that show it.
#[derive(Debug)]
struct Ready {
    identity: Arc<Identity>,
    config: Arc<ServerConfig>,
    /// The same for a client that speaks none of our protocols.
    without_alpn: Arc<ServerConfig>,
}

/// Always the same certificate.
#[derive(Debug)]
struct Only(Arc<Identity>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.shown(seconds())))
    }
}

/// What is wrong with a context: the certificate by its index, where it is one, and the part of it.
pub type LoadError = (Option<usize>, Part, Error);

impl Server {
    /// Reads all that belongs to a context that stands at `owner`, for a process with so many workers.
    ///
    /// # Errors
    /// Everything that cannot be read or does not belong together.
    pub fn load(owner: String, spec: ServerSpec, workers: usize) -> Result<Self, Vec<LoadError>> {
        let (mut files, signatures) = (Files::default(), Arc::default());
        let (loaded, wrong) = Loaded::read(&spec, &signatures, None, &mut files);
        let Some(loaded) = loaded else {
            return Err(wrong);
        };
        Ok(Self {
            owner,
            spec,
            files: ArcSwap::from_pointee(files),
            loaded: ArcSwap::from_pointee(loaded),
            stats: Arc::new(Sharded::new(workers)),
            negotiated: Arc::new(Sharded::new(workers)),
            signatures,
        })
    }

    /// Its statistics.
    #[must_use]
    pub const fn stats(&self) -> &Arc<Sharded<TlsStats>> {
        &self.stats
    }

    /// What sessions agreed on.
    #[must_use]
    pub const fn negotiated(&self) -> &Arc<Sharded<Negotiated>> {
        &self.negotiated
    }

    /// How clients have signed.
    #[must_use]
    pub const fn signatures(&self) -> &Arc<Signatures> {
        &self.signatures
    }
}

impl TlsContext for Server {
    fn owner(&self) -> &str {
        &self.owner
    }

    fn files(&self) -> Arc<Files> {
        self.files.load_full()
    }

    fn reload(&self) -> Vec<String> {
        let old = self.loaded.load();
        let mut files = Files::default();
        let (loaded, wrong) = Loaded::read(&self.spec, &self.signatures, Some(&old), &mut files);
        self.files.store(Arc::new(files));
        if let Some(loaded) = loaded
            && !loaded.is_same(&old)
        {
            self.loaded.store(Arc::new(loaded));
        }
        wrong
            .into_iter()
            .map(|(.., error)| error.to_string())
            .collect()
    }

    fn identities(&self) -> Vec<Arc<Identity>> {
        let loaded = self.loaded.load();
        let identities = loaded.identities.iter();
        identities
            .map(|ready| Arc::clone(&ready.identity))
            .collect()
    }

    fn trust(&self) -> Option<Arc<Trust>> {
        self.loaded.load().trust.clone()
    }
}

impl Loaded {
    /// Reads everything, and notes in `files` what was read. What is wrong is as it was in `old`; without
    /// that there is no result.
    fn read(
        spec: &ServerSpec,
        signatures: &Arc<Signatures>,
        old: Option<&Self>,
        files: &mut Files,
    ) -> (Option<Self>, Vec<LoadError>) {
        let parameters = &spec.parameters;
        let (mut identities, mut wrong) = (Vec::new(), Vec::new());
        for (at, identity) in spec.identities.iter().enumerate() {
            let kept = old.and_then(|old| old.identities.get(at));
            let read = Identity::read(identity, parameters, files);
            match read.and_then(|identity| identity.has_staple_if(spec.staples)) {
                Ok(identity) => identities.push(Arc::new(identity)),
                Err((part, error)) => {
                    wrong.push((Some(at), part, error));
                    identities.extend(kept.map(|kept| Arc::clone(&kept.identity)));
                }
            }
        }
        let trust = spec.trust.as_ref();
        let trust = match trust.map(|trust| Trust::read(trust, parameters, files)) {
            Some(Err((part, error))) => {
                wrong.push((None, part, error));
                old.and_then(|old| old.trust.clone())
            }
            Some(Ok(trust)) => Some(Arc::new(trust)),
            None => None,
        };
        let ticket_keys = match &spec.tickets {
            TicketChoice::Keys(keys) => match TicketKeys::read(keys, files) {
                Err((part, error)) => {
                    wrong.push((None, part, error));
                    old.and_then(|old| old.ticket_keys.clone())
                }
                Ok(keys) => Some(Arc::new(keys)),
            },
            TicketChoice::Off | TicketChoice::Own => None,
        };
        if !wrong.is_empty() && old.is_none() {
            return (None, wrong);
        }
        match Self::new(spec, signatures, identities, trust, ticket_keys) {
            Ok(loaded) => (Some(loaded), wrong),
            Err(error) => {
                wrong.push((None, Part::Chain, error.into()));
                (None, wrong)
            }
        }
    }

    fn new(
        spec: &ServerSpec,
        signatures: &Arc<Signatures>,
        identities: Vec<Arc<Identity>>,
        trust: Option<Arc<Trust>>,
        ticket_keys: Option<Arc<TicketKeys>>,
    ) -> Result<Self, rustls::Error> {
        let (base, resumption) =
            configuration(spec, signatures, trust.as_ref(), ticket_keys.as_ref())?;
        let certificates = identities.iter().map(|identity| &*identity.certificate);
        let certificates: Vec<&Certificate> = certificates.collect();
        let index = Index::new(&certificates, spec.scans_on_mismatch);
        let ready = |identity| Ready::new(identity, &base, &spec.parameters);
        let newest = spec
            .parameters
            .versions
            .first()
            .map(|version| version.version);
        Ok(Self {
            identities: identities.into_iter().map(ready).collect(),
            index,
            trust,
            ticket_keys,
            resumption,
            requires_certificate: spec.requires_certificate,
            requires_name: spec.requires_name,
            staples: spec.staples,
            newest: newest.unwrap_or(ProtocolVersion::TLSv1_3),
        })
    }

    /// Whether all that was read is what there was in `old`.
    fn is_same(&self, old: &Self) -> bool {
        let trust = match (&self.trust, &old.trust) {
            (Some(new), Some(old)) => new.is_same(old),
            (None, None) => true,
            _ => false,
        };
        let keys = match (&self.ticket_keys, &old.ticket_keys) {
            (Some(new), Some(old)) => new.is_same(old),
            (None, None) => true,
            _ => false,
        };
        let same = |(new, old): (&Ready, &Ready)| new.identity.is_same(&old.identity);
        trust && keys && self.identities.iter().zip(&old.identities).all(same)
    }

    /// Whether a client with a session like this would not be let in by a whole handshake.
    fn refuses(&self, tls: &Tls) -> bool {
        let strict = |trust: &Arc<Trust>| trust.checks() && !trust.accepts_untrusted();
        let is_checked = self.trust.as_ref().is_some_and(strict);
        match tls.certificate_presented {
            true => is_checked && !tls.certificate_validated,
            false => self.requires_certificate,
        }
    }

    /// The certificate for a client that begins like this, and what it gets with it; that is for those
    /// that take OCSP responses.
    fn choose(
        &self,
        hello: &ClientHello<'_>,
        takes_staple: bool,
    ) -> Option<(&Ready, Option<Stapled>)> {
        let now = seconds();
        let stapled = |ready: &Ready| {
            let is_good = ready.identity.has_good_staple(now);
            takes_staple.then(|| ready.identity.policy(self.staples).apply(is_good))
        };
        let at = self.index.choose(hello.server_name(), |at| {
            let ready = self.identities.get(at);
            let ready = ready.filter(|ready| stapled(ready) != Some(Stapled::Refused));
            ready.map_or(Fit::None, |ready| fit(&ready.identity, hello, self.newest))
        });
        let ready = self.identities.get(at)?;
        Some((ready, stapled(ready)))
    }
}

impl Ready {
    fn new(identity: Arc<Identity>, base: &ServerConfig, parameters: &Parameters) -> Self {
        let mut config = base.clone();
        config.cert_resolver = Arc::new(Only(Arc::clone(&identity)));
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols.clone_from(&parameters.alpn);
        Self {
            identity,
            config: Arc::new(config),
            without_alpn,
        }
    }

    /// Whether its key has a way to sign that the client takes in TLS 1.3.
    fn signs_13(&self, hello: &ClientHello<'_>) -> bool {
        let schemes = hello.signature_schemes().iter().copied();
        let schemes: Vec<SignatureScheme> = schemes
            .filter(|scheme| is_signature_of_13(*scheme))
            .collect();
        self.identity.key.key.choose_scheme(&schemes).is_some()
    }
}

/// All that the certificates of a context share. Sessions are of one reading of the files: a client that
/// is not trusted any more cannot resume one.
fn configuration(
    spec: &ServerSpec,
    signatures: &Arc<Signatures>,
    trust: Option<&Arc<Trust>>,
    ticket_keys: Option<&Arc<TicketKeys>>,
) -> Result<(ServerConfig, Option<Resumption>), rustls::Error> {
    #[derive(Debug)]
    struct Nobody;
    impl ResolvesServerCert for Nobody {
        fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            None
        }
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&spec.parameters.provider))
        .with_protocol_versions(spec.parameters.versions)?;
    let builder = match trust {
        Some(trust) if spec.requires_certificate || trust.checks() => builder
            .with_client_cert_verifier(Arc::new(OfClients {
                trust: Arc::clone(trust),
                required: spec.requires_certificate,
                signatures: Arc::clone(signatures),
            })),
        _ => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Nobody));
    config.ignore_client_order = !spec.prefers_client_ciphers;
    config.max_early_data_size = 0;
    config.session_storage = match spec.sessions {
        true => ServerSessionMemoryCache::new(limits::TLS_SESSIONS),
        false => Arc::new(NoServerSessionStorage {}) as Arc<dyn StoresServerSessions>,
    };
    if matches!(spec.tickets, TicketChoice::Off) {
        config.send_tls13_tickets = 0;
    } else if spec.session_lifetime.is_none() && ticket_keys.is_none() {
        config.ticketer = Ticketer::new()?;
        return Ok((config, None));
    }
    let Some(lifetime) = spec
        .session_lifetime
        .or_else(|| ticket_keys.map(|_| limits::TLS_SESSION))
    else {
        return Ok((config, None));
    };
    let tickets = match (&spec.tickets, ticket_keys) {
        (TicketChoice::Off, _) => None,
        (_, Some(keys)) => Some(Maker::Keys(Arc::clone(keys))),
        (_, None) => Some(Maker::Library(Ticketer::new()?)),
    };
    let asked = trust.map_or(&[][..], |trust| trust.content());
    let context = sha256(&[&[u8::from(spec.requires_certificate)][..], asked].concat());
    let tickets = tickets.map(|maker| {
        Arc::new(Tickets {
            maker,
            context,
            lifetime,
        })
    });
    let kept = Arc::new(Kept {
        sessions: Arc::clone(&config.session_storage),
        lifetime,
    });
    Ok((config, Some(Resumption { tickets, kept })))
}

/// How well a certificate suits the client that sent `hello`, if `newest` is the newest version here.
fn fit(identity: &Identity, hello: &ClientHello<'_>, newest: ProtocolVersion) -> Fit {
    let schemes = hello.signature_schemes();
    let is_13 = newest == ProtocolVersion::TLSv1_3
        && hello.cipher_suites().iter().any(|suite| is_of_13(*suite));
    let without_rsa = is_13 || hello.cipher_suites().iter().any(|suite| is_ecdsa(*suite));
    let can_check = identity.key.key.choose_scheme(schemes).is_some();
    match (identity.is_rsa(), can_check) {
        (_, false) => Fit::None,
        (true, true) if without_rsa && schemes.iter().any(|scheme| is_elliptic(*scheme)) => {
            Fit::Fallback
        }
        (true, true) => Fit::Good,
        (false, true) if without_rsa => Fit::Good,
        (false, true) => Fit::None,
    }
}

const fn is_of_13(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    )
}

/// Whether version 1.3 knows that way to sign (RFC 8446 §4.2.3): the others are for certificates alone.
const fn is_signature_of_13(scheme: SignatureScheme) -> bool {
    !matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::ECDSA_SHA1_Legacy
    )
}

const fn is_ecdsa(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

const fn is_elliptic(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
    )
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client does not speak TLS.
    #[error("the client does not speak TLS")]
    NotTls,
    /// It takes OCSP responses, and there is no certificate with a good one.
    #[error("there is no OCSP response to show with a certificate")]
    NoStaple,
    /// It named no server, and has to.
    #[error("the client named no server")]
    NoName,
    /// It went away.
    #[error("the client went away: {0}")]
    Gone(#[from] io::Error),
    /// It broke the protocol, wants what is not there, or is not trusted.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
}

/// Answers a client's handshake. What is known of the session comes with its socket.
pub(crate) async fn accept(
    server: &Server,
    socket: Socket,
    worker: usize,
) -> Result<(Socket, Tls), Failure> {
    let stats = server.stats.shard(worker);
    // The files may change meanwhile: this handshake goes by what it began with.
    let loaded = server.loaded.load_full();
    let (stream, identity) = match shake(&loaded, stats, socket).await {
        Ok(shaken) => shaken,
        Err((failure, socket)) => {
            count(stats, &failure);
            if let Failure::Refused(_) = failure {
                greeting::part(socket).await;
            }
            return Err(failure);
        }
    };
    let (_, session) = stream.get_ref();
    let tls = facts(session, &loaded, &identity.certificate);
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    if resumed && loaded.refuses(&tls) {
        // The library does not check again what a ticket brings back.
        let refused = Failure::from(rustls::Error::from(CertificateError::Expired));
        count(stats, &refused);
        return Err(refused);
    }
    server.negotiated.shard(worker).count(&tls);
    stats.handshake.inc();
    if resumed {
        stats.session_reused.inc();
    }
    if !tls.certificate_presented {
        stats.no_certificate.inc();
    }
    Ok((TlsStream::Server(stream).into(), tls))
}

type Shaken = (tokio_rustls::server::TlsStream<Socket>, Arc<Identity>);

/// The socket comes back with the reason where it came to nothing.
async fn shake(
    loaded: &Loaded,
    stats: &TlsStats,
    mut socket: Socket,
) -> Result<Shaken, (Failure, Socket)> {
    let Greeting { accepted, seen } = match greeting::read(&mut socket).await {
        Ok(greeting) => greeting,
        Err(failure) => return Err((failure, socket)),
    };
    let (takes_staple, speaks_13) = match hello::parse(&seen) {
        Sniffed::Found(hello) => (hello.takes_staple, hello.speaks_13),
        Sniffed::Partial | Sniffed::Other => (false, false),
    };
    drop(seen);
    let hello = accepted.client_hello();
    if loaded.requires_name && hello.server_name().is_none() {
        return Err((Failure::NoName, socket));
    }
    let Some((ready, stapled)) = loaded.choose(&hello, takes_staple) else {
        let none = rustls::Error::General("there is no certificate".to_owned());
        return Err((none.into(), socket));
    };
    if let Err(failure) = count_staple(stats, stapled) {
        return Err((failure, socket));
    }
    if speaks_13 && loaded.newest == ProtocolVersion::TLSv1_3 && !ready.signs_13(&hello) {
        // The library would first answer, and then find out.
        greeting::alert(&mut socket, AlertDescription::HandshakeFailure).await;
        let none = rustls::Error::from(PeerIncompatible::NoSignatureSchemesInCommon);
        return Err((none.into(), socket));
    }
    let mut offered = hello.alpn().into_iter().flatten();
    let config = match offered.any(|name| ready.config.alpn_protocols.iter().any(|n| n == name)) {
        true => &ready.config,
        false => &ready.without_alpn,
    };
    let config = match &loaded.resumption {
        None => Arc::clone(config),
        Some(resumption) => resumption.of_one(config),
    };
    let identity = Arc::clone(&ready.identity);
    drop(offered);
    let stream = StartHandshake::from_parts(accepted, socket).into_stream(config);
    match stream.into_fallible().await {
        Ok(stream) => Ok((stream, identity)),
        Err((error, socket)) => Err((refusal(error), socket)),
    }
}

/// What the library said, out of the error of the stream.
fn refusal(error: io::Error) -> Failure {
    match error.downcast::<rustls::Error>() {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}

fn facts(session: &ServerConnection, loaded: &Loaded, local: &Arc<Certificate>) -> Tls {
    let chain = session.peer_certificates().unwrap_or_default();
    let now = clock::wall();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let now = rustls::pki_types::UnixTime::since_unix_epoch(now);
    let validated = |trust: &Arc<Trust>| !chain.is_empty() && trust.trusts_client(chain, now);
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf).ok());
    let cipher = session.negotiated_cipher_suite();
    let group = session.negotiated_key_exchange_group();
    let alpn = session.alpn_protocol();
    Tls {
        certificate_presented: !chain.is_empty(),
        certificate_validated: loaded.trust.as_ref().is_some_and(validated),
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: cipher.map_or("", |cipher| cipher_name(cipher.suite())),
        group: group.map_or("", |group| group_name(group.name())),
        server_name: session.server_name().map(Into::into),
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into()),
        peer: leaf.map(|certificate| Peer {
            certificate,
            chain: chain
                .iter()
                .skip(1)
                .map(|der| der.as_ref().into())
                .collect(),
        }),
        local: Some(Arc::clone(local)),
        forwarded: OnceLock::new(),
    }
}

/// Counts what a client gets that takes OCSP responses.
fn count_staple(stats: &TlsStats, stapled: Option<Stapled>) -> Result<(), Failure> {
    let Some(stapled) = stapled else {
        return Ok(());
    };
    stats.ocsp_staple_requests.inc();
    match stapled {
        Stapled::Good => stats.ocsp_staple_responses.inc(),
        Stapled::None => stats.ocsp_staple_omitted.inc(),
        Stapled::Refused => {
            stats.ocsp_staple_failed.inc();
            return Err(Failure::NoStaple);
        }
    }
    Ok(())
}

/// Counts a handshake that came to nothing, as Envoy does: what is not about certificates is a
/// `connection_error`, unless the client just went away.
fn count(stats: &TlsStats, failure: &Failure) {
    let error = match failure {
        Failure::NotTls | Failure::NoName | Failure::NoStaple => {
            return stats.connection_error.inc();
        }
        Failure::Gone(_) => return,
        Failure::Refused(error) => error,
    };
    count_refusal(stats, error);
}

/// Counts what the library said, on either side.
pub(super) fn count_refusal(stats: &TlsStats, error: &rustls::Error) {
    use rustls::{CertificateError, Error as Tls};
    match error {
        Tls::NoCertificatesPresented => stats.fail_verify_no_cert.inc(),
        Tls::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<Refusal>() {
                Some(Refusal::Name) => stats.fail_verify_san.inc(),
                Some(Refusal::Digest) => stats.fail_verify_cert_hash.inc(),
                Some(Refusal::Depth | Refusal::Times) | None => stats.fail_verify_error.inc(),
            }
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => stats.fail_verify_san.inc(),
        Tls::InvalidCertificate(_) | Tls::InvalidCertRevocationList(_) => {
            stats.fail_verify_error.inc();
        }
        _ => stats.connection_error.inc(),
    }
}

#[cfg(test)]
mod tests;
