//! Certificates, keys and what peers have to show: from the words of the configuration or of a file of
//! secrets, which are the same.
//!
//! Owns that way and nothing else, apart from diagnostics: a file of secrets is read again while the
//! proxy runs. Called by the rest of `build`, and through [`Secret`] by `tls`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::chain as error_chain;
use super::super::matching::string;
use crate::certificate::Names;
use crate::config::matcher::MatchPattern;
use crate::config::scalar::{DataSource, DataSpecifier};
use crate::config::tls::{
    CertificateValidationContext, SanType, SecretKind, SecretResource, SubjectAltNameMatcher,
    TlsCertificate, TlsSessionTicketKeys, TrustChainVerification,
};
use crate::config::{self, Place, Source as Text};
use crate::route::{Step, TextCondition};
use crate::tls::{Error, IdentitySpec, Secret, Source, SubjectName, TicketSpec, TrustSpec};

/// What is wrong with a message, and where in it.
#[derive(Debug)]
pub(super) struct Wrong {
    path: Vec<Step>,
    pub(super) message: String,
}

impl Wrong {
    fn new(path: &[Step], message: impl Into<String>) -> Self {
        Self {
            path: path.to_vec(),
            message: message.into(),
        }
    }

    /// The place, if the message is at `place`.
    pub(super) fn place<'d>(&self, place: Place<'d>) -> Place<'d> {
        let steps = self.path.iter();
        steps.fold(place, |place, step| match step {
            Step::Field(name) => place.field(name),
            Step::Index(index) => place.index(*index),
        })
    }
}

/// A secret in a file.
#[derive(Clone, Debug)]
pub(super) struct InFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
}

impl InFile {
    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::Secret {
            from: format!("\"{}\"", self.path.display()),
            problem: problem.into(),
        }
    }

    fn kind(&self) -> Result<SecretKind, Error> {
        let text = Text::read(&self.path).map_err(|error| self.wrong(error_chain(&error)))?;
        let file = config::load_secrets(text).map_err(|diagnostics| {
            let sorted = diagnostics.sorted();
            self.wrong(sorted.first().map_or("", |first| first.message()))
        })?;
        let found = file.resources.into_iter().find_map(|resource| {
            let SecretResource::Secret(secret) = resource;
            (secret.name == self.name).then_some(secret.kind)
        });
        found.ok_or_else(|| self.wrong(format!("it has no secret \"{}\"", self.name)))
    }

    fn unusable(&self, wrong: &Wrong) -> Error {
        self.wrong(format!("secret \"{}\": {}", self.name, wrong.message))
    }
}

impl Secret<IdentitySpec> for InFile {
    fn file(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<IdentitySpec, Error> {
        match self.kind()? {
            SecretKind::TlsCertificate(written) => {
                identity(&written).map_err(|wrong| self.unusable(&wrong))
            }
            SecretKind::ValidationContext(_) | SecretKind::SessionTicketKeys(_) => {
                Err(self.wrong(format!("secret \"{}\" is no certificate", self.name)))
            }
        }
    }
}

impl Secret<TicketSpec> for InFile {
    fn file(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<TicketSpec, Error> {
        match self.kind()? {
            SecretKind::SessionTicketKeys(written) => {
                ticket_keys(&written).map_err(|wrong| self.unusable(&wrong))
            }
            SecretKind::ValidationContext(_) | SecretKind::TlsCertificate(_) => {
                let problem = format!("secret \"{}\" has no keys of session tickets", self.name);
                Err(self.wrong(problem))
            }
        }
    }
}

/// What peers have to show, in part in a file.
#[derive(Clone, Debug)]
pub(super) struct Combined {
    /// `default_validation_context`.
    pub(super) here: CertificateValidationContext,
    pub(super) file: InFile,
}

impl Secret<TrustSpec> for Combined {
    fn file(&self) -> &Path {
        &self.file.path
    }

    fn read(&self) -> Result<TrustSpec, Error> {
        match self.file.kind()? {
            SecretKind::ValidationContext(written) => {
                let both = laid_over(&self.here, &written);
                trust(&both).map_err(|wrong| self.file.unusable(&wrong))
            }
            SecretKind::TlsCertificate(_) | SecretKind::SessionTicketKeys(_) => {
                let name = &self.file.name;
                let problem = format!("secret \"{name}\" is no validation context");
                Err(self.file.wrong(problem))
            }
        }
    }
}

/// Both, as protobuf merges messages.
pub(super) fn laid_over(
    under: &CertificateValidationContext,
    over: &CertificateValidationContext,
) -> CertificateValidationContext {
    let joined = |under: &[String], over: &[String]| [under, over].concat();
    CertificateValidationContext {
        trusted_ca: over.trusted_ca.clone().or_else(|| under.trusted_ca.clone()),
        system_root_certs: over.system_root_certs.or(under.system_root_certs),
        watched_directory: None,
        verify_certificate_spki: joined(
            &under.verify_certificate_spki,
            &over.verify_certificate_spki,
        ),
        verify_certificate_hash: joined(
            &under.verify_certificate_hash,
            &over.verify_certificate_hash,
        ),
        match_typed_subject_alt_names: [
            &*under.match_typed_subject_alt_names,
            &*over.match_typed_subject_alt_names,
        ]
        .concat(),
        crl: over.crl.clone().or_else(|| under.crl.clone()),
        max_verify_depth: over.max_verify_depth.or(under.max_verify_depth),
        allow_expired_certificate: under.allow_expired_certificate
            || over.allow_expired_certificate,
        trust_chain_verification: match over.trust_chain_verification {
            TrustChainVerification::VerifyTrustChain => under.trust_chain_verification,
            chosen @ TrustChainVerification::AcceptUntrusted => chosen,
        },
        only_verify_leaf_cert_crl: under.only_verify_leaf_cert_crl
            || over.only_verify_leaf_cert_crl,
    }
}

/// A certificate with its key.
pub(super) fn identity(written: &TlsCertificate) -> Result<IdentitySpec, Wrong> {
    let needed = |given: &Option<DataSource>, field: &'static str| match given {
        Some(given) => source(given, field),
        None => Err(Wrong::new(&[], format!("missing field '{field}'"))),
    };
    let staple = written.ocsp_staple.as_ref();
    Ok(IdentitySpec {
        chain: needed(&written.certificate_chain, "certificate_chain")?,
        key: needed(&written.private_key, "private_key")?,
        staple: staple
            .map(|given| source(given, "ocsp_staple"))
            .transpose()?,
    })
}

/// Keys of session tickets.
pub(super) fn ticket_keys(written: &TlsSessionTicketKeys) -> Result<TicketSpec, Wrong> {
    if written.keys.is_empty() {
        return Err(Wrong::new(&[Step::Field("keys")], "there is no key"));
    }
    let keys = written.keys.iter().map(|key| source(key, "keys"));
    Ok(TicketSpec {
        keys: keys.collect::<Result<_, _>>()?,
    })
}

/// Where data is that may change while the proxy runs.
fn source(written: &DataSource, field: &'static str) -> Result<Source, Wrong> {
    Ok(match &written.specifier {
        DataSpecifier::Filename(path) => Source::File(path.into()),
        DataSpecifier::InlineString(text) => Source::Inline(text.as_bytes().into()),
        DataSpecifier::InlineBytes(bytes) => Source::Inline(bytes.get().into()),
        DataSpecifier::EnvironmentVariable(name) => match std::env::var(name) {
            Ok(value) => Source::Inline(value.into_bytes().into()),
            Err(error) => {
                let path = [Step::Field(field), Step::Field("environment_variable")];
                let message = format!("read the environment variable \"{name}\": {error}");
                return Err(Wrong::new(&path, message));
            }
        },
    })
}

/// What peers have to show.
pub(super) fn trust(written: &CertificateValidationContext) -> Result<TrustSpec, Wrong> {
    let given = |given: &Option<DataSource>, field| {
        let given = given.as_ref();
        given.map(|given| source(given, field)).transpose()
    };
    let mut spec = TrustSpec {
        authorities: given(&written.trusted_ca, "trusted_ca")?,
        system_roots: written.system_root_certs.is_some(),
        revoked: given(&written.crl, "crl")?,
        revoked_leaf_only: written.only_verify_leaf_cert_crl,
        max_depth: written.max_verify_depth.map(|most| most as usize),
        allow_expired: written.allow_expired_certificate,
        accept_untrusted: written.trust_chain_verification
            == TrustChainVerification::AcceptUntrusted,
        ..TrustSpec::default()
    };
    for (index, text) in written.verify_certificate_hash.iter().enumerate() {
        let path = [Step::Field("verify_certificate_hash"), Step::Index(index)];
        let digest = hexadecimal(text);
        let wrong = || Wrong::new(&path, "not a SHA-256 digest in hexadecimal digits");
        spec.hashes.push(digest.ok_or_else(wrong)?);
    }
    for (index, text) in written.verify_certificate_spki.iter().enumerate() {
        let path = [Step::Field("verify_certificate_spki"), Step::Index(index)];
        let digest = STANDARD.decode(text).ok();
        let digest = digest.and_then(|bytes| bytes.try_into().ok());
        let wrong = || Wrong::new(&path, "not a SHA-256 digest in base64");
        spec.keys.push(digest.ok_or_else(wrong)?);
    }
    for (index, matcher) in written.match_typed_subject_alt_names.iter().enumerate() {
        let path = [
            Step::Field("match_typed_subject_alt_names"),
            Step::Index(index),
            Step::Field("matcher"),
        ];
        let name = subject_name(matcher);
        spec.names
            .push(name.map_err(|message| Wrong::new(&path, message))?);
    }
    Ok(spec)
}

/// A test of a peer's names, or what is wrong with it.
fn subject_name(written: &SubjectAltNameMatcher) -> Result<SubjectName, String> {
    let words = format!("{written:?}");
    if let (SanType::Dns, MatchPattern::Exact(name)) = (written.san_type, &written.matcher.pattern)
    {
        let name = name.to_ascii_lowercase();
        let test = move |names: &Names| {
            let mut patterns = names.dns.iter();
            patterns.any(|pattern| dns_name_matches(&name, pattern))
        };
        return Ok(SubjectName::new(&words, Arc::new(test)));
    }
    let condition = TextCondition::new(&string(&written.matcher)).map_err(|errors| {
        let first = errors.iter().next();
        first.map_or_else(String::new, |first| error_chain(&first.problem))
    })?;
    let kind = written.san_type;
    let test = move |names: &Names| {
        let meets = |name: &String| condition.matches(name.as_bytes());
        match kind {
            SanType::Dns => names.dns.iter().any(meets),
            SanType::Uri => names.uri.iter().any(meets),
            SanType::Email => names.email.iter().any(meets),
            SanType::IpAddress => names.ip.iter().any(|ip| meets(&ip.to_string())),
        }
    };
    Ok(SubjectName::new(&words, Arc::new(test)))
}

/// 32 bytes in hexadecimal digits, which colons may stand between.
fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.bytes().filter(|byte| *byte != b':');
    let mut digest = [0; 32];
    for byte in &mut digest {
        let pair = [digits.next()?, digits.next()?];
        *byte = u8::from_str_radix(str::from_utf8(&pair).ok()?, 16).ok()?;
    }
    digits.next().is_none().then_some(digest)
}

/// Whether a certificate's name, which may have a wildcard in its first label, is `name`, which is in
/// lower case.
fn dns_name_matches(name: &str, pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    if name == pattern {
        return true;
    }
    let (Some((label, parent)), Some((wild, of))) = (name.split_once('.'), pattern.split_once('.'))
    else {
        return false;
    };
    let Some((front, back)) = wild.split_once('*') else {
        return false;
    };
    parent == of
        && !back.contains('*')
        && !wild.starts_with("xn--")
        && !label.is_empty()
        && label.len() >= front.len() + back.len()
        && label.starts_with(front)
        && label.ends_with(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_wildcards_of_one_label() {
        for (name, pattern, matches) in [
            ("a.test", "a.test", true),
            ("a.test", "A.Test", true),
            ("a.test", "*.test", true),
            ("b.a.test", "*.test", false),
            ("test", "*.test", false),
            ("a.test", "*", false),
            ("foo.test", "f*.test", true),
            ("foo.test", "f*o.test", true),
            ("f.test", "f*f.test", false),
            ("bar.test", "f*.test", false),
            ("foo.test", "*f*.test", false),
            ("xn--a.test", "xn--*.test", false),
            ("a.b.test", "a.*.test", false),
        ] {
            assert_eq!(dns_name_matches(name, pattern), matches, "{name} {pattern}");
        }
    }

    #[test]
    fn digests_are_read_with_and_without_colons() {
        let text = "00".repeat(31) + "fF";
        let digest = hexadecimal(&text).unwrap();
        assert_eq!(digest[30..], [0, 255]);
        let colons: Vec<&str> = vec!["00"; 32];
        assert_eq!(hexadecimal(&colons.join(":")), Some([0; 32]));
        for wrong in ["", "00", &"0g".repeat(32), &"00".repeat(33)] {
            assert_eq!(hexadecimal(wrong), None, "{wrong}");
        }
    }
}
