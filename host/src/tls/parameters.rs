//! Versions, ciphers, groups and signatures (`tls_params`).
//!
//! Owns the names that Envoy's configuration has for them, which are BoringSSL's, and which of them
//! there are. What is missing is missing on purpose: ciphers without forward secrecy or without
//! authenticated encryption, and curves that nobody needs.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{cipher_suite as suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, NamedGroup, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What `tls_params` and `alpn_protocols` say.
#[derive(Clone, Debug)]
pub struct ParametersSpec<'a> {
    /// `tls_minimum_protocol_version`.
    pub min: Version,
    /// `tls_maximum_protocol_version`, not older than `min`.
    pub max: Version,
    /// `cipher_suites`; the default ones where there are none.
    pub ciphers: &'a [String],
    /// `ecdh_curves`; the default ones where there are none.
    pub groups: &'a [String],
    /// `signature_algorithms`; all of them where there are none.
    pub signatures: &'a [String],
    /// `alpn_protocols`.
    pub alpn: &'a [String],
}

/// Versions, ciphers, groups, protocols, ready for contexts of either side.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: &'static Versions,
    pub(crate) alpn: Vec<Vec<u8>>,
    /// The only schemes of signatures, the best one first; all of the provider's where there are none.
    pub(crate) schemes: Option<Arc<[SignatureScheme]>>,
}

/// A name that stands for nothing that there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// In `cipher_suites`.
    #[error(
        "{}cipher \"{name}\"{}",
        if *.known { "not supported by nuncio: " } else { "unknown " },
        if *.known { ", which is not considered safe any more" } else { "" }
    )]
    Cipher {
        /// The entry of the list.
        index: usize,
        /// The name.
        name: String,
        /// Whether BoringSSL has it.
        known: bool,
    },
    /// In `ecdh_curves`.
    #[error(
        "{}group \"{name}\"",
        if *.known { "not supported by nuncio: " } else { "unknown " },
    )]
    Group {
        /// The entry of the list.
        index: usize,
        /// The name.
        name: String,
        /// Whether BoringSSL has it.
        known: bool,
    },
    /// In `signature_algorithms`.
    #[error(
        "{}signature algorithm \"{name}\"{}",
        if *.known { "not supported by nuncio: " } else { "unknown " },
        if *.known { ", which is not considered safe any more" } else { "" }
    )]
    Signature {
        /// The entry of the list.
        index: usize,
        /// The name.
        name: String,
        /// Whether BoringSSL has it.
        known: bool,
    },
}

impl UnknownName {
    /// What could have been written.
    #[must_use]
    pub fn hint(&self) -> String {
        let names: Vec<&str> = match self {
            Self::Cipher { .. } => CIPHERS.iter().map(|(name, ..)| *name).collect(),
            Self::Group { .. } => GROUPS.iter().map(|(name, _)| *name).collect(),
            Self::Signature { .. } => SIGNATURES.iter().map(|(name, ..)| *name).collect(),
        };
        format!("supported: {}", names.join(", "))
    }
}

/// Ciphers of TLS 1.2: BoringSSL's name, the standard's, the cipher. In Envoy's order of preference.
const CIPHERS: &[(&str, &str, SupportedCipherSuite)] = &[
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
];

/// Ciphers that BoringSSL has as well.
const UNSAFE_CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA384",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
];

/// Ciphers of TLS 1.3, in BoringSSL's order of preference.
const CIPHERS_OF_13: &[SupportedCipherSuite] = &[
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
];

type Group = &'static dyn SupportedKxGroup;

/// Groups by name.
static GROUPS: &[(&str, &Group)] = &[
    ("X25519", &kx_group::X25519),
    ("P-256", &kx_group::SECP256R1),
    ("P-384", &kx_group::SECP384R1),
    ("X25519MLKEM768", &kx_group::X25519MLKEM768),
];

/// Groups that BoringSSL has as well.
const OTHER_GROUPS: &[&str] = &["P-224", "P-521", "X25519Kyber768Draft00", "MLKEM1024"];

/// Schemes of signatures: BoringSSL's name, the other one that it takes, the scheme.
const SIGNATURES: &[(&str, &str, SignatureScheme)] = &[
    (
        "ecdsa_secp256r1_sha256",
        "ECDSA+SHA256",
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ),
    (
        "ecdsa_secp384r1_sha384",
        "ECDSA+SHA384",
        SignatureScheme::ECDSA_NISTP384_SHA384,
    ),
    (
        "ecdsa_secp521r1_sha512",
        "ECDSA+SHA512",
        SignatureScheme::ECDSA_NISTP521_SHA512,
    ),
    ("ed25519", "ed25519", SignatureScheme::ED25519),
    (
        "rsa_pss_rsae_sha256",
        "RSA-PSS+SHA256",
        SignatureScheme::RSA_PSS_SHA256,
    ),
    (
        "rsa_pss_rsae_sha384",
        "RSA-PSS+SHA384",
        SignatureScheme::RSA_PSS_SHA384,
    ),
    (
        "rsa_pss_rsae_sha512",
        "RSA-PSS+SHA512",
        SignatureScheme::RSA_PSS_SHA512,
    ),
    (
        "rsa_pkcs1_sha256",
        "RSA+SHA256",
        SignatureScheme::RSA_PKCS1_SHA256,
    ),
    (
        "rsa_pkcs1_sha384",
        "RSA+SHA384",
        SignatureScheme::RSA_PKCS1_SHA384,
    ),
    (
        "rsa_pkcs1_sha512",
        "RSA+SHA512",
        SignatureScheme::RSA_PKCS1_SHA512,
    ),
];

/// Schemes that BoringSSL has as well.
const UNSAFE_SIGNATURES: &[&str] = &[
    "ecdsa_sha1",
    "ECDSA+SHA1",
    "rsa_pkcs1_md5_sha1",
    "rsa_pkcs1_sha1",
    "RSA+SHA1",
];

/// A key that signs by some of the schemes that it could.
#[derive(Debug)]
struct Limited {
    key: Arc<dyn SigningKey>,
    schemes: Arc<[SignatureScheme]>,
}

impl SigningKey for Limited {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut schemes = self.schemes.iter();
        schemes.find_map(|scheme| {
            let is_offered = offered.contains(scheme);
            is_offered.then(|| self.key.choose_scheme(&[*scheme]))?
        })
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl Parameters {
    /// Looks up the names.
    ///
    /// # Errors
    /// The first name that there is nothing for.
    pub fn new(spec: &ParametersSpec<'_>) -> Result<Self, UnknownName> {
        let mut suites = CIPHERS_OF_13.to_vec();
        if spec.ciphers.is_empty() {
            suites.extend(CIPHERS.iter().map(|(_, _, cipher)| *cipher));
        }
        for (index, written) in spec.ciphers.iter().enumerate() {
            // Members of a group are equally good; the client's order would count among them.
            let members = written.trim_start_matches('[').trim_end_matches(']');
            for name in members.split('|') {
                suites.push(cipher(name).ok_or_else(|| UnknownName::Cipher {
                    index,
                    name: name.to_owned(),
                    known: UNSAFE_CIPHERS.contains(&name),
                })?);
            }
        }
        let mut groups: Vec<Group> = Vec::new();
        if spec.groups.is_empty() {
            groups.extend([
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
            ]);
        }
        for (index, name) in spec.groups.iter().enumerate() {
            let found = GROUPS.iter().find(|(known, _)| known == name);
            let (_, group) = found.ok_or_else(|| UnknownName::Group {
                index,
                name: name.clone(),
                known: OTHER_GROUPS.contains(&name.as_str()),
            })?;
            groups.push(**group);
        }
        let mut schemes = Vec::new();
        for (index, name) in spec.signatures.iter().enumerate() {
            let mut all = SIGNATURES.iter();
            let found = all.find(|(known, other, _)| known == name || other == name);
            let (_, _, scheme) = found.ok_or_else(|| UnknownName::Signature {
                index,
                name: name.clone(),
                known: UNSAFE_SIGNATURES.contains(&name.as_str()),
            })?;
            schemes.push(*scheme);
        }
        let provider = CryptoProvider {
            cipher_suites: suites,
            kx_groups: groups,
            ..default_provider()
        };
        Ok(Self {
            provider: Arc::new(provider),
            versions: versions(spec.min, spec.max),
            alpn: spec
                .alpn
                .iter()
                .map(|name| name.clone().into_bytes())
                .collect(),
            schemes: (!schemes.is_empty()).then(|| schemes.into()),
        })
    }

    /// A key that signs by no other schemes than these.
    pub(super) fn limited(&self, key: Arc<dyn SigningKey>) -> Arc<dyn SigningKey> {
        match &self.schemes {
            None => key,
            Some(schemes) => Arc::new(Limited {
                key,
                schemes: Arc::clone(schemes),
            }),
        }
    }

    /// Whether signatures by that scheme are taken.
    pub(super) fn takes(&self, scheme: SignatureScheme) -> bool {
        let schemes = self.schemes.as_deref();
        schemes.is_none_or(|schemes| schemes.contains(&scheme))
    }

    /// The schemes that peers may sign by, the best one first.
    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        let all = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        match &self.schemes {
            None => all,
            Some(schemes) => {
                let schemes = schemes.iter().copied();
                schemes.filter(|scheme| all.contains(scheme)).collect()
            }
        }
    }
}

fn cipher(name: &str) -> Option<SupportedCipherSuite> {
    let mut all = CIPHERS.iter();
    let found = all.find(|(short, standard, _)| *short == name || *standard == name);
    found.map(|(_, _, cipher)| *cipher)
}

type Versions = [&'static SupportedProtocolVersion];

static ONLY_12: &Versions = &[&TLS12];
static ONLY_13: &Versions = &[&TLS13];
static BOTH: &Versions = &[&TLS13, &TLS12];

fn versions(min: Version, max: Version) -> &'static Versions {
    match (min, max) {
        (Version::Tls12, Version::Tls12) => ONLY_12,
        (Version::Tls13, _) => ONLY_13,
        (Version::Tls12, Version::Tls13) => BOTH,
    }
}

/// A cipher as logs and statistics name it.
pub(super) fn cipher_name(cipher: CipherSuite) -> &'static str {
    match cipher {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => {
            let mut all = CIPHERS.iter();
            let found = all.find(|(_, _, cipher)| cipher.suite() == other);
            found.map_or("", |(name, ..)| *name)
        }
    }
}

/// All ciphers as logs and statistics name them.
pub(super) fn cipher_names() -> impl Iterator<Item = &'static str> {
    let of_13 = CIPHERS_OF_13
        .iter()
        .map(|cipher| cipher_name(cipher.suite()));
    of_13.chain(CIPHERS.iter().map(|(name, ..)| *name))
}

/// All schemes of signatures with the names that statistics have for them.
pub(super) fn signature_names() -> impl Iterator<Item = (SignatureScheme, &'static str)> {
    SIGNATURES.iter().map(|(name, _, scheme)| (*scheme, *name))
}

/// All groups as logs and statistics name them.
pub(super) fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name)
}

/// A group as logs and statistics name it.
pub(super) fn group_name(group: NamedGroup) -> &'static str {
    let found = GROUPS.iter().find(|(_, known)| known.name() == group);
    found.map_or("", |(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(ciphers: &[&str], groups: &[&str]) -> Result<Parameters, UnknownName> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (ciphers, groups): (Vec<String>, Vec<String>) = (owned(ciphers), owned(groups));
        Parameters::new(&ParametersSpec {
            min: Version::Tls12,
            max: Version::Tls13,
            ciphers: &ciphers,
            groups: &groups,
            signatures: &[],
            alpn: &[],
        })
    }

    fn names(parameters: &Parameters) -> Vec<&'static str> {
        let suites = parameters.provider.cipher_suites.iter();
        suites.map(|suite| cipher_name(suite.suite())).collect()
    }

    #[test]
    fn names_of_ciphers_and_groups_are_boringssls() {
        let all = parameters(&[], &[]).unwrap();
        assert_eq!(names(&all).len(), 9);
        assert!(names(&all).iter().all(|name| !name.is_empty()));
        let groups = all.provider.kx_groups.iter();
        let groups: Vec<&str> = groups.map(|group| group_name(group.name())).collect();
        assert_eq!(groups, ["X25519MLKEM768", "X25519", "P-256"]);
        let some = parameters(
            &[
                "[ECDHE-RSA-CHACHA20-POLY1305|ECDHE-RSA-AES128-GCM-SHA256]",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            ],
            &["P-384", "X25519MLKEM768"],
        )
        .unwrap();
        assert_eq!(
            names(&some)[3..],
            [
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384"
            ]
        );
    }

    #[test]
    fn what_there_is_not_is_told() {
        for (ciphers, groups, told) in [
            (
                &["ECDHE-RSA-AES128-GCM-SHA256", "[AES128-SHA]"][..],
                &[][..],
                "not supported by nuncio: cipher \"AES128-SHA\", which is not considered safe any more",
            ),
            (&["RC4"], &[], "unknown cipher \"RC4\""),
            (&[], &["P-521"], "not supported by nuncio: group \"P-521\""),
            (&[], &["x25519"], "unknown group \"x25519\""),
        ] {
            let error = parameters(ciphers, groups).unwrap_err();
            assert_eq!(error.to_string(), told);
            assert!(error.hint().starts_with("supported: "));
        }
    }
}
