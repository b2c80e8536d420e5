//! TLS: certificates made as the tests run, and clients that choose what they
//! offer.
//!
//! Owns one folder of certificates for the process, which templates name as `@CERTS@`, and handshakes
//! whose outcome can be compared. Clients check nothing of the server: which certificate it shows is
//! looked at, not trusted. Called by [`crate::client`], the suites and [`crate::compare`].

use std::cell::Cell;
use std::fs;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, PublicKeyData as _, RevokedCertParams, SanType, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use crate::der;
use crate::process::Directory;

/// A TLS connection of a client.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// What a client offers.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The server that it asks for; none where it names none.
    pub server_name: Option<&'static str>,
    /// What it speaks inside.
    pub alpn: &'static [&'static str],
    /// The name of its certificate in the folder; none where it has none.
    pub certificate: Option<&'static str>,
    /// Its only version of TLS; both where there is none.
    pub version: Option<&'static SupportedProtocolVersion>,
    /// Its only cipher suite; all where there is none.
    pub suite: Option<SupportedCipherSuite>,
    /// Its only group; all where there is none.
    pub group: Option<&'static dyn SupportedKxGroup>,
    /// Its only scheme of signatures; all where there is none.
    pub scheme: Option<SignatureScheme>,
}

impl Client {
    /// A client that asks for a server.
    #[must_use]
    pub fn asks(server_name: &'static str) -> Self {
        Self {
            server_name: Some(server_name),
            ..Self::default()
        }
    }

    /// With a certificate of the folder.
    #[must_use]
    pub const fn shows(mut self, certificate: &'static str) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// What it speaks inside.
    #[must_use]
    pub const fn speaks(mut self, alpn: &'static [&'static str]) -> Self {
        self.alpn = alpn;
        self
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Why the server, or this side, did not want to.
    pub fn connect(&self, stream: TcpStream) -> io::Result<TlsStream> {
        shake(self.session(), stream)
    }

    /// One that resumes its sessions.
    #[must_use]
    pub fn remembers(&self) -> Known {
        let mut config = ClientConfig::clone(&self.config());
        config.resumption = Resumption::in_memory_sessions(8);
        Known {
            name: self.name(),
            config: Arc::new(config),
        }
    }

    /// A session that has not begun.
    #[must_use]
    pub fn session(&self) -> ClientConnection {
        ClientConnection::new(self.config(), self.name()).unwrap()
    }

    /// The server's name as the library wants it, which says it only where this client does.
    #[must_use]
    pub fn name(&self) -> ServerName<'static> {
        ServerName::try_from(self.server_name.unwrap_or("unnamed.test")).unwrap()
    }

    /// As the library wants it.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut provider = default_provider();
        if let Some(suite) = self.suite {
            provider.cipher_suites = vec![suite];
        }
        if let Some(group) = self.group {
            provider.kx_groups = vec![group];
        }
        let provider = Arc::new(provider);
        let both = [&rustls::version::TLS13, &rustls::version::TLS12];
        let versions = match self.version {
            Some(version) => vec![version],
            None => both.to_vec(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody {
                provider,
                scheme: self.scheme,
            }));
        let mut config = match self.certificate {
            Some(name) => builder.with_client_cert_resolver(shown(name)),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.server_name.is_some();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self.alpn.iter().map(|name| (*name).into()).collect();
        Arc::new(config)
    }
}

/// A client that resumes its sessions.
#[derive(Debug)]
pub struct Known {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Known {
    /// With a certificate and its key, which are in files.
    #[must_use]
    pub fn shows(mut self, [certificate, key]: &[PathBuf; 2]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = show(certificate, key);
        self.config = Arc::new(config);
        self
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Why the server, or this side, did not want to.
    pub fn connect(&self, stream: TcpStream) -> io::Result<TlsStream> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        shake(session.unwrap(), stream)
    }
}

fn shake(session: ClientConnection, stream: TcpStream) -> io::Result<TlsStream> {
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// What both sides agreed on, and what the server has shown.
#[must_use]
pub fn agreed(session: &ClientConnection) -> String {
    let alpn = session.alpn_protocol().map(String::from_utf8_lossy);
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    let stapled = match STAPLED.get() {
        true => " with a staple",
        false => "",
    };
    format!(
        "{:?} alpn {} certificate {}{stapled}",
        session.protocol_version().unwrap(),
        alpn.as_deref().unwrap_or("-"),
        shown.map_or("nothing", name_of)
    )
}

/// The common name of the certificate that the server has shown.
#[must_use]
pub fn common_name(session: &ClientConnection) -> String {
    let der = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .unwrap();
    // The attribute's identifier (2.5.4.3), the kind and length of its value, the value; the subject
    // comes after the issuer.
    const NAME: &[u8] = &[0x55, 0x04, 0x03];
    let at = der
        .windows(NAME.len())
        .rposition(|part| part == NAME)
        .unwrap()
        + NAME.len();
    let length = usize::from(der[at + 1]);
    String::from_utf8_lossy(&der[at + 2..at + 2 + length]).into_owned()
}

/// The file of the folder that has that certificate.
pub(crate) fn name_of(der: &CertificateDer<'_>) -> &'static str {
    let known = NAMES.iter().find(|name| {
        let chain = certificate(name).0;
        chain.first() == Some(der)
    });
    known.map_or("of somebody else", |name| name)
}

/// A certificate of the folder, to be shown whatever it is: the library has a look at others.
pub(crate) fn shown(name: &str) -> Arc<SingleCertAndKey> {
    let at = |kind: &str| folder().join(format!("{name}.{kind}"));
    show(&at("pem"), &at("key"))
}

fn show(certificate: &Path, key: &Path) -> Arc<SingleCertAndKey> {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let key = default_provider().key_provider.load_private_key(key);
    let chain = chain.map(Result::unwrap).collect();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        chain,
        key.unwrap(),
    )))
}

/// A certificate of the folder with its key.
fn certificate(name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let path = folder().join(format!("{name}.pem"));
    let chain = CertificateDer::pem_file_iter(path).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder().join(format!("{name}.key"))).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

/// The SHA-256 digest of a certificate of the folder, in hexadecimal digits.
#[must_use]
pub fn digest(name: &str) -> String {
    let (chain, _) = certificate(name);
    let digest = sha256(&chain[0]);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 digest of its public key, in base64.
#[must_use]
pub fn key_digest(name: &str) -> String {
    let pem = fs::read_to_string(folder().join(format!("{name}.key"))).unwrap();
    let key = KeyPair::from_pem(&pem).unwrap();
    STANDARD.encode(sha256(&key.subject_public_key_info()))
}

/// The digest that a cipher suite is made with.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        unreachable!("a suite of TLS 1.3");
    };
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

thread_local! {
    /// Whether the last server of this thread has shown an OCSP response: a session does not keep it.
    static STAPLED: Cell<bool> = const { Cell::new(false) };
}

/// Trusts anybody.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
    scheme: Option<SignatureScheme>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        STAPLED.set(!ocsp_response.is_empty());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        match self.scheme {
            Some(scheme) => vec![scheme],
            None => known.supported_schemes(),
        }
    }
}

/// The certificates of the folder: `NAME.pem` and `NAME.key`, and beside them `ca.pem`, `crl.pem` (which
/// takes back `revoked`), `old-crl.pem` (which did so until 2021) and `stranger-ca.pem`. `old` is of version
/// 1, `authority` may certify others, and `own` does so with itself, as its own authority. `various` has
/// names of every kind. `deep` has an authority between it and `ca.pem`.
/// `good.ocsp` says of `server` that it is good, `old.ocsp` that it was.
const NAMES: &[&str] = &[
    "server",
    "server-rsa",
    "wildcard",
    "second",
    "client",
    "other-client",
    "revoked",
    "expired",
    "stranger",
    "old",
    "authority",
    "own",
    "deep",
    "various",
];

/// Where the certificates are, made when they are first asked for.
#[must_use]
pub fn folder() -> &'static Path {
    static MADE: OnceLock<Directory> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = Directory::create();
        make(directory.path());
        directory
    })
    .path()
}

/// Replaces `@CERTS@` by the folder's path.
#[must_use]
pub fn with_certificates(template: &str) -> String {
    template.replace("@CERTS@", folder().to_str().unwrap())
}

/// An authority.
#[must_use]
pub fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate's parameters: its common name and its alternative names, of which URIs have a colon.
#[must_use]
pub fn named(name: &str, alternatives: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Tests, \"and\" more");
    for alternative in alternatives {
        let name = (*alternative).try_into().unwrap();
        params
            .subject_alt_names
            .push(match alternative.contains(':') {
                true => SanType::URI(name),
                false => SanType::DnsName(name),
            });
    }
    params
}

/// Writes a certificate of `issuer` and its key as `NAME.pem` and `NAME.key`; the two paths.
pub fn issue(
    folder: &Path,
    name: &str,
    params: &CertificateParams,
    issuer: &CertifiedIssuer<'_, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
) -> [PathBuf; 2] {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let paths = ["pem", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
    fs::write(&paths[0], certificate.pem()).unwrap();
    fs::write(&paths[1], key.serialize_pem()).unwrap();
    paths
}

fn make(folder: &Path) {
    let (ca, stranger) = (
        authority("Tests' authority"),
        authority("Nobody's authority"),
    );
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    fs::write(folder.join("stranger-ca.pem"), stranger.pem()).unwrap();
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let give = |name: &str, alternatives: &[&str]| {
        issue(folder, name, &named(name, alternatives), &ca, ecdsa);
    };
    give("server", &["a.test", "spiffe://tests/server"]);
    give("wildcard", &["*.w.test"]);
    give("second", &["b.test"]);
    give(
        "client",
        &[
            "client.test",
            "spiffe://tests/client",
            "spiffe://tests/more",
        ],
    );
    give("other-client", &["other.test"]);
    let rsa = &rcgen::PKCS_RSA_SHA256;
    issue(
        folder,
        "server-rsa",
        &named("server-rsa", &["a.test"]),
        &ca,
        rsa,
    );
    issue(
        folder,
        "stranger",
        &named("stranger", &["client.test"]),
        &stranger,
        ecdsa,
    );
    let mut params = named("expired", &["client.test"]);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    issue(folder, "expired", &params, &ca, ecdsa);
    let mut params = named("revoked", &["client.test"]);
    params.serial_number = Some(4711.into());
    issue(folder, "revoked", &params, &ca, ecdsa);
    make_unusual(folder, &ca);
    for (name, until) in [("crl.pem", 2999), ("old-crl.pem", 2021)] {
        fs::write(folder.join(name), revocations(&ca, &[4711], until)).unwrap();
    }
}

/// An authority's list of the certificates that it has taken back, by their serial numbers, which counts
/// until the beginning of a year.
#[must_use]
pub fn revocations(issuer: &CertifiedIssuer<'_, KeyPair>, serials: &[u64], until: i32) -> String {
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: (*serial).into(),
        revocation_time: rcgen::date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(until, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().pem().unwrap()
}

/// A field of a context: a certificate at these paths.
#[must_use]
pub fn pair(certificate: &Path, key: &Path) -> String {
    format!(
        "tls_certificates: [ {{ certificate_chain: {{ filename: {certificate:?} }}, \
         private_key: {{ filename: {key:?} }} }} ]"
    )
}

/// A field of a context: a certificate of the folder.
#[must_use]
pub fn of_folder(name: &str) -> String {
    let at = |kind: &str| folder().join(format!("{name}.{kind}"));
    pair(&at("pem"), &at("key"))
}

/// Certificates as tutorials make them.
fn make_unusual(folder: &Path, ca: &CertifiedIssuer<'_, KeyPair>) {
    let names = ["a.test", "client.test"];
    let mut params = named("various", &["a.test", "spiffe://tests/various"]);
    params
        .subject_alt_names
        .push(SanType::IpAddress(IpAddr::from([192, 0, 2, 7])));
    params
        .subject_alt_names
        .push(SanType::Rfc822Name("mail@client.test".try_into().unwrap()));
    issue(
        folder,
        "various",
        &params,
        ca,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    );
    let mut params = named("authority", &names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    issue(
        folder,
        "authority",
        &params,
        ca,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    );
    let mut params = named("own", &names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("own.pem"), own.pem()).unwrap();
    fs::write(folder.join("own.key"), own.key().serialize_pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let new = named("old", &names).signed_by(&key, ca).unwrap();
    let old = der::of_version_1(new.der(), ca);
    let inner = {
        let mut params = named("Tests' inner authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), ca).unwrap()
    };
    let [deep, _key] = issue(
        folder,
        "deep",
        &named("deep", &names),
        &inner,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    );
    let leaf = fs::read_to_string(&deep).unwrap();
    fs::write(deep, leaf + &inner.pem()).unwrap();
    let server = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    for (name, year) in [("good", 2999), ("old", 2021)] {
        let response = der::good_until(year, &server);
        fs::write(folder.join(format!("{name}.ocsp")), response).unwrap();
    }
    fs::write(folder.join("old.pem"), pem(&old)).unwrap();
    fs::write(folder.join("old.key"), key.serialize_pem()).unwrap();
}

fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}
