//! TLS: `envoy.extensions.transport_sockets.tls.v3`, what both sides have in common and the side of
//! clients.

use serde::{Deserialize, Serialize, Serializer};

use crate::config::matcher::StringMatcher;
use crate::config::scalar::{Bytes, DataSource, DataSpecifier, Duration};

/// `envoy.config.core.v3.TransportSocket` of a filter chain.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TransportSocket")]
pub struct DownstreamTransportSocket {
    /// Any name.
    pub name: String,
    /// The transport.
    #[serde(rename = "any:typed_config")]
    pub typed_config: DownstreamTransport,
}

/// The transports that clients may use.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:transport socket")]
pub enum DownstreamTransport {
    /// TLS.
    #[serde(rename = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext")]
    Tls(Box<DownstreamTlsContext>),
    /// Clear text, the default.
    #[serde(rename = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")]
    RawBuffer(RawBuffer),
}

/// `envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")]
pub struct RawBuffer {}

/// `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext")]
pub struct DownstreamTlsContext {
    /// What both sides have in common.
    #[serde(default)]
    pub common_tls_context: CommonTlsContext,
    /// Whether a client without a certificate is refused; false by default.
    #[serde(default)]
    pub require_client_certificate: Option<bool>,
    /// Whether a client that names no server is refused; false by default.
    #[serde(default)]
    pub require_sni: Option<bool>,
    /// How sessions are resumed without memory of this side.
    #[serde(default, rename = "oneof:session_ticket_keys_type")]
    pub session_tickets: Option<SessionTickets>,
    /// How long a session can be resumed.
    #[serde(default)]
    pub session_timeout: Option<Duration>,
    /// Whether no sessions of TLS 1.2 are kept.
    #[serde(default)]
    pub disable_stateful_session_resumption: bool,
    /// What becomes of certificates whose `ocsp_staple` does not help.
    #[serde(default)]
    pub ocsp_staple_policy: OcspStaplePolicy,
    /// Whether a name that no certificate has goes to any that fits the client, in place of the first.
    #[serde(default)]
    pub full_scan_certs_on_sni_mismatch: Option<bool>,
    /// Whether the client's order of ciphers counts, in place of this side's.
    #[serde(default)]
    pub prefer_client_ciphers: bool,
}

/// `DownstreamTlsContext.session_ticket_keys_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionTickets {
    /// By keys that are here.
    SessionTicketKeys(TlsSessionTicketKeys),
    /// By keys that are elsewhere.
    SessionTicketKeysSdsSecretConfig(SdsSecretConfig),
    /// Whether there are no tickets.
    DisableStatelessSessionResumption(bool),
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys")]
pub struct TlsSessionTicketKeys {
    /// The keys, 80 bytes each. The first one makes tickets, all of them are known.
    #[serde(default, serialize_with = "all_redacted")]
    pub keys: Vec<DataSource>,
}

/// `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.OcspStaplePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.OcspStaplePolicy",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum OcspStaplePolicy {
    /// A response that is valid is sent, none is sent in place of one that is not.
    #[default]
    LenientStapling,
    /// A certificate with a response that is not valid is not used.
    StrictStapling,
    /// A certificate without a valid response is not used.
    MustStaple,
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext")]
pub struct CommonTlsContext {
    /// Versions, ciphers, groups.
    #[serde(default)]
    pub tls_params: Option<TlsParameters>,
    /// What this side shows of itself.
    #[serde(default)]
    pub tls_certificates: Vec<TlsCertificate>,
    /// The same by name, from elsewhere.
    #[serde(default)]
    pub tls_certificate_sds_secret_configs: Vec<SdsSecretConfig>,
    /// What the peer has to show.
    #[serde(default, rename = "oneof:validation_context_type")]
    pub validation: Option<Validation>,
    /// The protocols that may be spoken inside, the best one first.
    #[serde(default)]
    pub alpn_protocols: Vec<String>,
}

/// `CommonTlsContext.validation_context_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// Here.
    ValidationContext(Box<CertificateValidationContext>),
    /// By name, from elsewhere.
    ValidationContextSdsSecretConfig(SdsSecretConfig),
    /// Some of it here, and some from elsewhere.
    CombinedValidationContext(Box<CombinedValidationContext>),
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext"
)]
pub struct CombinedValidationContext {
    /// What is here.
    pub default_validation_context: CertificateValidationContext,
    /// What is laid over it.
    pub validation_context_sds_secret_config: SdsSecretConfig,
}

/// `envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig")]
pub struct SdsSecretConfig {
    /// The name of the secret.
    pub name: String,
    /// Where it is; without it, one of `static_resources.secrets`.
    #[serde(default)]
    pub sds_config: Option<SecretSource>,
}

/// `envoy.config.core.v3.ConfigSource` of secrets.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.ConfigSource")]
pub struct SecretSource {
    /// Where.
    #[serde(rename = "oneof:config_source_specifier")]
    pub specifier: SecretSourceSpecifier,
    /// The version of the API; there is one.
    #[serde(default)]
    pub resource_api_version: SecretApiVersion,
}

/// `ConfigSource.config_source_specifier`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSourceSpecifier {
    /// A file.
    PathConfigSource(SecretPath),
    /// The same, as it was written before.
    Path(String),
}

/// `envoy.config.core.v3.PathConfigSource`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.PathConfigSource")]
pub struct SecretPath {
    /// The file.
    pub path: String,
    /// As in [`TlsCertificate`].
    #[serde(default)]
    pub watched_directory: Option<WatchedDirectory>,
}

/// `envoy.config.core.v3.ApiVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.ApiVersion", rename_all = "UPPERCASE")]
pub enum SecretApiVersion {
    /// The default.
    #[default]
    Auto,
    /// The same.
    V3,
}

/// `envoy.extensions.transport_sockets.tls.v3.Secret`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.Secret")]
pub struct Secret {
    /// The name.
    #[serde(default)]
    pub name: String,
    /// What it is.
    #[serde(rename = "oneof:type")]
    pub kind: SecretKind,
}

/// `Secret.type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// A certificate with its key.
    TlsCertificate(Box<TlsCertificate>),
    /// What peers have to show.
    ValidationContext(Box<CertificateValidationContext>),
    /// Keys of session tickets.
    SessionTicketKeys(TlsSessionTicketKeys),
}

/// A file of secrets: the form of `envoy.service.discovery.v3.DiscoveryResponse`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "nuncio.secrets.v1.File")]
pub struct SecretFile {
    /// The secrets.
    #[serde(default)]
    pub resources: Vec<SecretResource>,
    /// No effect, as the next two.
    #[serde(default)]
    pub version_info: String,
    /// The type of all resources.
    #[serde(default)]
    pub type_url: String,
    /// A number of an answer.
    #[serde(default)]
    pub nonce: String,
}

/// What is in such a file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:secret")]
pub enum SecretResource {
    /// A secret.
    #[serde(rename = "envoy.extensions.transport_sockets.tls.v3.Secret")]
    Secret(Secret),
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsParameters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.TlsParameters")]
pub struct TlsParameters {
    /// The oldest version; 1.2 by default.
    #[serde(default)]
    pub tls_minimum_protocol_version: TlsProtocol,
    /// The newest version.
    #[serde(default)]
    pub tls_maximum_protocol_version: TlsProtocol,
    /// The ciphers of TLS 1.2, the best one first. Those of TLS 1.3 are not a choice.
    #[serde(default)]
    pub cipher_suites: Vec<String>,
    /// The groups for the exchange of keys, the best one first.
    #[serde(default)]
    pub ecdh_curves: Vec<String>,
    /// The ways to sign, the best one first.
    #[serde(default)]
    pub signature_algorithms: Vec<String>,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsParameters.TlsProtocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.TlsParameters.TlsProtocol")]
pub enum TlsProtocol {
    /// The default.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.2.
    #[serde(rename = "TLSv1_2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLSv1_3")]
    Tls13,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate")]
pub struct TlsCertificate {
    /// The certificate and those that lead to its authority, as PEM.
    #[serde(default)]
    pub certificate_chain: Option<DataSource>,
    /// Its key, as PEM.
    #[serde(default, serialize_with = "redacted")]
    pub private_key: Option<DataSource>,
    /// What its authority says of it: an OCSP response, as DER.
    #[serde(default)]
    pub ocsp_staple: Option<DataSource>,
    /// A folder whose changes say that the files are new. No effect: the files are watched themselves.
    #[serde(default)]
    pub watched_directory: Option<WatchedDirectory>,
}

/// Shows where a secret is, and not the secret itself.
fn redacted<S: Serializer>(secret: &Option<DataSource>, to: S) -> Result<S::Ok, S::Error> {
    secret.clone().map(place_of).serialize(to)
}

/// The same for several.
fn all_redacted<S: Serializer>(secrets: &[DataSource], to: S) -> Result<S::Ok, S::Error> {
    let shown: Vec<DataSource> = secrets.iter().cloned().map(place_of).collect();
    shown.serialize(to)
}

fn place_of(secret: DataSource) -> DataSource {
    const REDACTED: &str = "[redacted]";
    let specifier = match secret.specifier {
        DataSpecifier::InlineBytes(_) => DataSpecifier::InlineBytes(Bytes::new(REDACTED.into())),
        DataSpecifier::InlineString(_) => DataSpecifier::InlineString(REDACTED.to_owned()),
        place @ (DataSpecifier::Filename(_) | DataSpecifier::EnvironmentVariable(_)) => place,
    };
    DataSource { specifier }
}

/// `envoy.config.core.v3.WatchedDirectory`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.WatchedDirectory")]
pub struct WatchedDirectory {
    /// The folder.
    pub path: String,
}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext")]
pub struct CertificateValidationContext {
    /// The authorities that are trusted, as PEM.
    #[serde(default)]
    pub trusted_ca: Option<DataSource>,
    /// Whether the authorities of the system are trusted.
    #[serde(default)]
    pub system_root_certs: Option<SystemRootCerts>,
    /// As in [`TlsCertificate`].
    #[serde(default)]
    pub watched_directory: Option<WatchedDirectory>,
    /// Digests of public keys, one of which the peer's must have: SHA-256 in base64.
    #[serde(default)]
    pub verify_certificate_spki: Vec<String>,
    /// Digests of certificates, one of which the peer's must have: SHA-256 in hexadecimal digits.
    #[serde(default)]
    pub verify_certificate_hash: Vec<String>,
    /// Names, one of which the peer's certificate must have.
    #[serde(default)]
    pub match_typed_subject_alt_names: Vec<SubjectAltNameMatcher>,
    /// Certificates that do not count any more, as PEM.
    #[serde(default)]
    pub crl: Option<DataSource>,
    /// The most certificates above the peer's, that of its authority among them.
    #[serde(default)]
    pub max_verify_depth: Option<u32>,
    /// Whether a certificate counts outside of its time.
    #[serde(default)]
    pub allow_expired_certificate: bool,
    /// Whether a peer that is not trusted is served all the same.
    #[serde(default)]
    pub trust_chain_verification: TrustChainVerification,
    /// Whether `crl` is asked about the peer's certificate alone.
    #[serde(default)]
    pub only_verify_leaf_cert_crl: bool,
}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts"
)]
pub struct SystemRootCerts {}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.TrustChainVerification`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.TrustChainVerification",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum TrustChainVerification {
    /// A peer that is not trusted is refused.
    #[default]
    VerifyTrustChain,
    /// It is not.
    AcceptUntrusted,
}

/// `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher")]
pub struct SubjectAltNameMatcher {
    /// Which kind of name.
    pub san_type: SanType,
    /// What it has to be.
    pub matcher: StringMatcher,
}

/// `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher.SanType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher.SanType",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum SanType {
    /// A mail address.
    Email,
    /// A name of the domain name system.
    Dns,
    /// A URI.
    Uri,
    /// An address.
    IpAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let shown = |specifier| {
            let private_key = Some(DataSource { specifier });
            let certificate = TlsCertificate {
                private_key,
                ..TlsCertificate::default()
            };
            crate::config::json::to_value(&certificate).to_string()
        };
        let inline = shown(DataSpecifier::InlineString("my key".to_owned()));
        assert!(
            inline.contains("[redacted]") && !inline.contains("my key"),
            "{inline}"
        );
        let file = shown(DataSpecifier::Filename("/a.key".to_owned()));
        assert!(file.contains("/a.key"), "{file}");
    }
}
