//! What a peer has to show: `CertificateValidationContext`.
//!
//! Owns the checks of a peer's certificate: that it leads to an authority that is trusted and was not
//! revoked (the library's), and what Envoy's configuration adds: digests, names, and whether a
//! certificate counts outside of its time. Does not own whether there has to be a certificate at all
//! (`server`).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerMisbehaved,
    RootCertStore, SignatureScheme,
};

use super::context::Files;
use super::error::{Error, Part};
use super::identity;
use super::parameters::Parameters;
use super::secret::Whence;
use super::source::Source;
use super::stats::Signatures;
use crate::certificate::{Certificate, Names, sha256};

mod direct;

use direct::Signers;

/// How often the time is moved until every certificate of a chain counts; chains are not longer.
const TIMES_TRIED: usize = 8;

/// A test of a peer's names.
pub type NameTest = Arc<dyn Fn(&Names) -> bool + Send + Sync>;

/// One of `match_typed_subject_alt_names`.
#[derive(Clone)]
pub struct SubjectName {
    words: Box<str>,
    test: NameTest,
}

impl SubjectName {
    /// A test that was written with these words, by which it is told from others.
    #[must_use]
    pub fn new(words: &str, test: NameTest) -> Self {
        let words = words.into();
        Self { words, test }
    }
}

impl fmt::Debug for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubjectName").field(&self.words).finish()
    }
}

/// What a peer has to show, before the files were read.
#[derive(Clone, Debug, Default)]
pub struct TrustSpec {
    /// `trusted_ca`.
    pub authorities: Option<Source>,
    /// `system_root_certs`.
    pub system_roots: bool,
    /// `crl`.
    pub revoked: Option<Source>,
    /// `only_verify_leaf_cert_crl`.
    pub revoked_leaf_only: bool,
    /// `verify_certificate_hash`.
    pub hashes: Vec<[u8; 32]>,
    /// `verify_certificate_spki`.
    pub keys: Vec<[u8; 32]>,
    /// `match_typed_subject_alt_names`.
    pub names: Vec<SubjectName>,
    /// `max_verify_depth`: the most certificates above a peer's, its authority's among them. That one is
    /// there in any case.
    pub max_depth: Option<usize>,
    /// `allow_expired_certificate`.
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`.
    pub accept_untrusted: bool,
}

/// Why a peer is refused, beyond what the library finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither `verify_certificate_hash` nor `verify_certificate_spki` has its certificate.
    #[error("the digest of the certificate is none of those that are wanted")]
    Digest,
    /// `match_typed_subject_alt_names` has none of its names.
    #[error("the certificate has none of the names that are wanted")]
    Name,
    /// More authorities than `max_verify_depth` lie between it and one that is trusted.
    #[error("too many certificates lie between this one and its authority")]
    Depth,
    /// With `allow_expired_certificate`: the certificates were valid one after the other.
    #[error("there was no time at which all certificates of the chain were valid")]
    Times,
}

/// Which side the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// What a peer has to show.
#[derive(Debug)]
pub struct Trust {
    parameters: Parameters,
    /// Checks clients against the authorities; none where there are no authorities.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Checks servers.
    servers: Option<Arc<WebPkiServerVerifier>>,
    /// Checks those that the library does not take for a peer's.
    signers: Option<Signers>,
    authorities: Vec<Certificate>,
    hints: Vec<DistinguishedName>,
    /// Of all that was read and of what is asked besides, to tell whether something else was.
    content: [u8; 32],
    spec: TrustSpec,
}

impl TrustSpec {
    /// The files that are read for it.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let sources = [self.authorities.as_ref(), self.revoked.as_ref()];
        sources.into_iter().flatten().filter_map(Source::path)
    }

    /// All that is asked of a peer beyond what is in files and the like, so that two can be compared.
    fn words(&self) -> String {
        let Self {
            authorities: _,
            system_roots,
            revoked: _,
            revoked_leaf_only,
            hashes,
            keys,
            names,
            max_depth,
            allow_expired,
            accept_untrusted,
        } = self;
        let flags = [
            system_roots,
            revoked_leaf_only,
            allow_expired,
            accept_untrusted,
        ];
        format!("{:?}", (flags, hashes, keys, names, max_depth))
    }
}

impl Trust {
    /// Reads the authorities and the lists of what was revoked.
    ///
    /// # Errors
    /// What is wrong with them, and with which part.
    pub fn load(spec: &TrustSpec, parameters: &Parameters) -> Result<Self, (Part, Error)> {
        let mut trust = Self {
            parameters: parameters.clone(),
            clients: None,
            servers: None,
            signers: None,
            authorities: Vec::new(),
            hints: Vec::new(),
            content: [0; 32],
            spec: spec.clone(),
        };
        let has_authorities = spec.authorities.is_some() || spec.system_roots;
        if !spec.names.is_empty() && !has_authorities {
            return Err((Part::Authorities, Error::NamesWithoutAuthorities));
        }
        if spec.revoked.is_some() && !has_authorities {
            return Err((Part::Revoked, Error::RevokedWithoutAuthorities));
        }
        let mut roots = RootCertStore::empty();
        if spec.system_roots {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                let problem = problems.join("; ");
                return Err((Part::Authorities, Error::NoSystemRoots { problem }));
            }
            let (added, _ignored) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let problem = "none of them can be read".to_owned();
                return Err((Part::Authorities, Error::NoSystemRoots { problem }));
            }
        }
        if let Some(source) = &spec.authorities {
            let read = identity::certificates(source);
            for authority in read.map_err(|error| (Part::Authorities, error))? {
                let malformed = |problem: String| {
                    let from = source.to_string();
                    (Part::Authorities, Error::Malformed { from, problem })
                };
                let facts = Certificate::parse(&authority);
                let facts = facts.map_err(|error| malformed(error.to_string()))?;
                let added = roots.add(authority);
                added.map_err(|error| malformed(error.to_string()))?;
                trust.authorities.push(facts);
            }
        }
        let revoked = match &spec.revoked {
            Some(source) => {
                let read = identity::items::<CertificateRevocationListDer<'static>>(
                    source,
                    "certificate revocation list",
                );
                read.map_err(|error| (Part::Revoked, error))?
            }
            None => Vec::new(),
        };
        let words = spec.words();
        let read = trust.authorities.iter().map(|one| &*one.der);
        let read = read.chain(revoked.iter().map(AsRef::as_ref));
        let read = read.chain([words.as_bytes()]);
        trust.content = sha256(&read.map(sha256).collect::<Vec<_>>().concat());
        if !roots.is_empty() {
            trust.hints = roots.subjects();
            trust.verify_with(roots, revoked)?;
        }
        Ok(trust)
    }

    /// Reads it from wherever it is, and notes in `files` what was read.
    pub(super) fn read(
        whence: &Whence<TrustSpec>,
        parameters: &Parameters,
        files: &mut Files,
    ) -> Result<Self, (Part, Error)> {
        whence.file().into_iter().for_each(|path| files.add(path));
        let spec = whence.get().map_err(|error| (Part::Secret, error))?;
        spec.files().for_each(|path| files.add(path));
        Self::load(&spec, parameters)
    }

    fn verify_with(
        &mut self,
        roots: RootCertStore,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<(), (Part, Error)> {
        let refused = |error: &dyn fmt::Display| {
            let from = self
                .spec
                .revoked
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            let problem = error.to_string();
            (Part::Revoked, Error::Malformed { from, problem })
        };
        let (roots, provider) = (Arc::new(roots), &self.parameters.provider);
        let (leaf_only, any_time) = (self.spec.revoked_leaf_only, self.spec.allow_expired);
        let mut clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .with_crls(revoked.clone());
        let mut servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .with_crls(revoked.clone());
        if leaf_only {
            clients = clients.only_check_end_entity_revocation();
            servers = servers.only_check_end_entity_revocation();
        }
        // Where no time counts, that of a list does not either; and `check` looks at other times.
        if !any_time {
            clients = clients.enforce_revocation_expiration();
            servers = servers.enforce_revocation_expiration();
        }
        let clients = clients.build().map_err(|error| refused(&error))?;
        let servers = servers.build().map_err(|error| refused(&error))?;
        self.signers = Some(Signers {
            roots,
            revoked,
            takes_old_lists: any_time,
            algorithms: *self.algorithms(),
        });
        self.clients = Some(clients);
        self.servers = Some(servers);
        Ok(())
    }

    /// The authorities that the configuration names; not those of the system.
    #[must_use]
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Whether the same was read for both, and the same is asked.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.content == other.content
    }

    /// The file that they are in.
    #[must_use]
    pub fn path(&self) -> &str {
        let path = self.spec.authorities.as_ref().and_then(Source::path);
        path.and_then(Path::to_str).unwrap_or("<inline>")
    }

    /// Whether anything is checked: an empty context asks nothing of a peer.
    #[must_use]
    pub fn checks(&self) -> bool {
        self.clients.is_some() || self.checks_leaf()
    }

    fn checks_leaf(&self) -> bool {
        let spec = &self.spec;
        !(spec.hashes.is_empty() && spec.keys.is_empty() && spec.names.is_empty())
    }

    /// Whether a client that sent these certificates, the leaf first, is one that is trusted.
    #[must_use]
    pub fn trusts_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((leaf, rest)) = chain.split_first() else {
            return false;
        };
        self.checks() && self.check(Role::Client, leaf, rest, now).is_ok()
    }

    /// Whether a peer is served whatever it shows.
    #[must_use]
    pub const fn accepts_untrusted(&self) -> bool {
        self.spec.accept_untrusted
    }

    /// How signatures are checked.
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.parameters.provider.signature_verification_algorithms
    }

    /// Checks a server's certificate in all but its name, for which `names` are asked alone.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn check_server(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        self.check(Role::Server, leaf, rest, now)
    }

    fn check(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let mut at = now;
        for _ in 0..TIMES_TRIED {
            let checked = match self.check_chain(role, leaf, rest, at) {
                Err(refused) => self.check_directly(role, leaf, at).unwrap_or(Err(refused)),
                Ok(()) => self.check_depth(role, leaf, rest, at),
            };
            match checked {
                Err(rustls::Error::InvalidCertificate(error)) if self.spec.allow_expired => {
                    at = match error {
                        CertificateError::ExpiredContext { not_after, .. } => not_after,
                        CertificateError::NotValidYetContext { not_before, .. } => not_before,
                        other => return Err(other.into()),
                    };
                }
                Err(error) => return Err(error),
                Ok(()) => return self.check_leaf(leaf),
            }
        }
        Err(refusal(Refusal::Times))
    }

    /// Checks a certificate that the library may have refused for what it is; none for others.
    fn check_directly(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Option<Result<(), rustls::Error>> {
        self.signers.as_ref()?.check(role, leaf, now)
    }

    /// Checks a signature of a handshake of TLS 1.2.
    pub(super) fn signature_of_12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        counts: &Signatures,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.takes(signed.scheme)?;
        let valid = direct::signature_of_12(message, certificate, signed, self.algorithms())?;
        counts.count(signed.scheme);
        Ok(valid)
    }

    /// Checks a signature of a handshake of TLS 1.3.
    pub(super) fn signature_of_13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        counts: &Signatures,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.takes(signed.scheme)?;
        let valid = direct::signature_of_13(message, certificate, signed, self.algorithms())?;
        counts.count(signed.scheme);
        Ok(valid)
    }

    /// The library does not look whether a peer signs as it was told to.
    fn takes(&self, scheme: SignatureScheme) -> Result<(), rustls::Error> {
        match self.parameters.takes(scheme) {
            true => Ok(()),
            false => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
        }
    }

    /// How peers may sign, the best way first.
    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.parameters.schemes()
    }

    /// What was asked of a peer that a session of this context is with, as far as it can be told.
    pub(super) const fn content(&self) -> &[u8; 32] {
        &self.content
    }

    /// Checks that a peer that is trusted would be with no more certificates in between than may be. The
    /// library does not tell which of them it went by: it is asked again with those of a short way alone.
    fn check_depth(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let (Some(most), Some(signers)) = (self.spec.max_depth, &self.signers) else {
            return Ok(());
        };
        let most = most.saturating_sub(1);
        if rest.len() <= most {
            return Ok(());
        }
        let mut is_trusted = |way: &[CertificateDer<'_>]| {
            let checked = self.check_chain(role, leaf, way, now);
            checked.is_ok()
        };
        match signers.within(most, leaf, rest, &mut is_trusted) {
            true => Ok(()),
            false => Err(refusal(Refusal::Depth)),
        }
    }

    fn check_chain(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match (role, &self.clients, &self.servers) {
            (Role::Client, Some(verifier), _) => {
                verifier.verify_client_cert(leaf, rest, now)?;
            }
            (Role::Server, _, Some(verifier)) => {
                // The library asks for a name; which names count is decided in `check_leaf`, and the
                // library looks at the name last.
                let nobody = ServerName::try_from("nobody.invalid");
                let nobody = nobody.map_err(|_not| CertificateError::BadEncoding)?;
                match verifier.verify_server_cert(leaf, rest, &nobody, &[], now) {
                    Err(rustls::Error::InvalidCertificate(
                        CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. },
                    ))
                    | Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
            // Who is asked for an authority is not trusted without one.
            _ if self.spec.authorities.is_some() || self.spec.system_roots => {
                return Err(CertificateError::UnknownIssuer.into());
            }
            _ => {}
        }
        Ok(())
    }

    fn check_leaf(&self, leaf: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        if !self.checks_leaf() {
            return Ok(());
        }
        let leaf = Certificate::parse(leaf).map_err(|_not| CertificateError::BadEncoding)?;
        let spec = &self.spec;
        if !spec.names.is_empty() && !spec.names.iter().any(|name| (name.test)(&leaf.names)) {
            return Err(refusal(Refusal::Name));
        }
        let wants_digest = !(spec.hashes.is_empty() && spec.keys.is_empty());
        if wants_digest
            && !spec.hashes.contains(&leaf.sha256)
            && !spec.keys.contains(&leaf.key_sha256)
        {
            return Err(refusal(Refusal::Digest));
        }
        Ok(())
    }
}

fn refusal(refusal: Refusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

/// A [`Trust`] as the library asks it about clients.
#[derive(Debug)]
pub(super) struct OfClients {
    pub(super) trust: Arc<Trust>,
    /// `require_client_certificate`.
    pub(super) required: bool,
    pub(super) signatures: Arc<Signatures>,
}

impl ClientCertVerifier for OfClients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trust.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let checked = self
            .trust
            .check(Role::Client, end_entity, intermediates, now);
        match checked {
            Err(error) if !self.trust.spec.accept_untrusted => Err(error),
            _ => Ok(ClientCertVerified::assertion()),
        }
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

#[cfg(test)]
mod tests;
