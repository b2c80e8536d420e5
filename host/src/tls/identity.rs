//! Certificates with their keys: what this side shows of itself.
//!
//! Owns reading one from PEM and checking that the two belong together. Does not own which of several
//! a client gets (`choice`).

use std::path::Path;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::context::Files;
use super::error::{Error, Part};
use super::parameters::Parameters;
use super::secret::Whence;
use super::source::Source;
use super::staple::{Staple, StaplePolicy};
use crate::certificate::{Certificate, sha256};

/// What an identity is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySpec {
    /// `certificate_chain`.
    pub chain: Source,
    /// `private_key`.
    pub key: Source,
    /// `ocsp_staple`.
    pub staple: Option<Source>,
}

/// A certificate with its key, ready for handshakes.
#[derive(Debug)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// The same without the response of its authority, where there is one.
    bare: Option<Arc<CertifiedKey>>,
    /// That response.
    staple: Option<Staple>,
    /// The certificate itself, without those that lead to its authority.
    pub certificate: Arc<Certificate>,
    /// Where the certificate was read from.
    pub path: String,
}

impl IdentitySpec {
    /// The files that are read for it.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let sources = [Some(&self.chain), Some(&self.key), self.staple.as_ref()];
        sources.into_iter().flatten().filter_map(Source::path)
    }
}

impl Identity {
    /// Whether the same was read for both: a key belongs to its certificate.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.key.ocsp == other.key.ocsp
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and with which part.
    pub fn load(spec: &IdentitySpec, parameters: &Parameters) -> Result<Self, (Part, Error)> {
        let chain = certificates(&spec.chain).map_err(|error| (Part::Chain, error))?;
        let certificate = chain.first().map_or(&[][..], |leaf| leaf);
        let certificate = Certificate::parse(certificate);
        let certificate = certificate.map_err(|error| {
            let (from, problem) = (spec.chain.to_string(), error.to_string());
            (Part::Chain, Error::Malformed { from, problem })
        })?;
        let key = private_key(&spec.key).map_err(|error| (Part::Key, error))?;
        let key = parameters.provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| {
            let (from, problem) = (spec.key.to_string(), error.to_string());
            (Part::Key, Error::Malformed { from, problem })
        })?;
        let mut key = CertifiedKey::new(chain, parameters.limited(key));
        // A key of which nothing can be said is one that the library could not use either.
        let public = key.key.public_key();
        if public.is_none_or(|public| sha256(&public) != certificate.key_sha256) {
            let (key, chain) = (spec.key.to_string(), spec.chain.to_string());
            return Err((Part::Key, Error::Mismatch { key, chain }));
        }
        let (mut bare, mut staple) = (None, None);
        if let Some(source) = &spec.staple {
            let (bytes, read) = response(source, &certificate)?;
            bare = Some(Arc::new(key.clone()));
            staple = Some(read);
            key.ocsp = Some(bytes);
        }
        Ok(Self {
            key: Arc::new(key),
            bare,
            staple,
            certificate: Arc::new(certificate),
            path: match spec.chain.path() {
                Some(path) => path.display().to_string(),
                None => "<inline>".to_owned(),
            },
        })
    }

    /// Shows it to servers that ask for a certificate.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }

    /// What is shown of it at this second: the response of its authority is, for as long as it counts.
    pub(super) fn shown(&self, now: i64) -> &Arc<CertifiedKey> {
        match (&self.bare, self.has_good_staple(now)) {
            (Some(bare), Some(false)) => bare,
            _ => &self.key,
        }
    }

    /// The policy, which a certificate may ask to be the strictest.
    pub(super) fn policy(&self, configured: StaplePolicy) -> StaplePolicy {
        match self.certificate.must_staple {
            true => StaplePolicy::Must,
            false => configured,
        }
    }

    /// The same, unless it lacks the response that it has to come with.
    pub(super) fn has_staple_if(self, configured: StaplePolicy) -> Result<Self, (Part, Error)> {
        match (self.policy(configured), &self.staple) {
            (StaplePolicy::Must, None) => {
                let chain = format!("\"{}\"", self.path);
                Err((Part::Staple, Error::NoStaple { chain }))
            }
            _ => Ok(self),
        }
    }

    /// Whether the response of its authority counts, where there is one.
    pub(super) fn has_good_staple(&self, now: i64) -> Option<bool> {
        self.staple.as_ref().map(|staple| staple.is_good(now))
    }

    /// Reads one from wherever it is, and notes in `files` what was read.
    pub(super) fn read(
        whence: &Whence<IdentitySpec>,
        parameters: &Parameters,
        files: &mut Files,
    ) -> Result<Self, (Part, Error)> {
        whence.file().into_iter().for_each(|path| files.add(path));
        let spec = whence.get().map_err(|error| (Part::Secret, error))?;
        spec.files().for_each(|path| files.add(path));
        Self::load(&spec, parameters)
    }

    /// Whether the key is one of RSA.
    #[must_use]
    pub fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }
}

/// What an authority says of a certificate: as it is, and what of it counts here.
fn response(
    source: &Source,
    certificate: &Certificate,
) -> Result<(Vec<u8>, Staple), (Part, Error)> {
    let bytes = source.read().map_err(|error| (Part::Staple, error))?;
    let read = Staple::parse(&bytes).and_then(|staple| {
        let mine = staple.is_about(&certificate.raw_serial);
        mine.then_some(staple)
            .ok_or("an OCSP response about another certificate")
    });
    match read {
        Ok(staple) => Ok((bytes, staple)),
        Err(problem) => {
            let (from, problem) = (source.to_string(), problem.to_owned());
            Err((Part::Staple, Error::Malformed { from, problem }))
        }
    }
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>, Error> {
    items(source, "certificate")
}

/// All items of one kind of a PEM file; at least one.
pub(super) fn items<T: PemObject>(source: &Source, what: &'static str) -> Result<Vec<T>, Error> {
    let bytes = source.read()?;
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| malformed(source, &error))?;
    if found.is_empty() {
        let from = source.to_string();
        return Err(Error::Nothing { from, what });
    }
    Ok(found)
}

fn private_key(source: &Source) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = source.read()?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(_) if is_encrypted(&bytes) => {}
        Ok(key) => return Ok(key),
        Err(pem::Error::NoItemsFound) if !is_encrypted(&bytes) => {
            let from = source.to_string();
            let what = "private key";
            return Err(Error::Nothing { from, what });
        }
        Err(_) if is_encrypted(&bytes) => {}
        Err(error) => return Err(malformed(source, &error)),
    }
    let from = source.to_string();
    Err(Error::Encrypted { from })
}

/// Both forms that keys with a password have (RFC 7468 §11, RFC 1421 §4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(pem, mark).is_some();
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

fn malformed(source: &Source, error: &pem::Error) -> Error {
    Error::Malformed {
        from: source.to_string(),
        problem: error.to_string(),
    }
}
