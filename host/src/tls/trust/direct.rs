//! Certificates that the library does not take for a peer's: those of version 1, as `openssl x509 -req`
//! makes them, and those of an authority, as `openssl req -x509` does.
//!
//! Owns the check that such a certificate was signed by an authority that is trusted, without others in
//! between, and signatures by keys that such a certificate has. It is asked only where the library has
//! refused the certificate, and refuses what it does not know. Called by [`super::Trust`].

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore};
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use super::Role;
use crate::limits;
use crate::tls::der::{contents, value, whole_bytes};

/// The extension of lists that have not all of their authority's certificates (RFC 5280 §5.2.5).
const ISSUING_POINT: &str = "2.5.29.28";

/// Who may have signed a peer's certificate.
#[derive(Debug)]
pub(super) struct Signers {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Whether a list counts beyond its time.
    pub(super) takes_old_lists: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Signers {
    /// Checks a certificate that is of one of these kinds; none for others.
    pub(super) fn check(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        let (_, read) = X509Certificate::from_der(leaf).ok()?;
        let is_one = read.version() == X509Version::V1 || read.is_ca();
        is_one.then(|| self.judge(role, leaf, &read, now).map_err(Error::from))
    }

    fn judge(
        &self,
        role: Role,
        leaf: &[u8],
        read: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let validity = read.validity();
        let seconds = |time: x509_parser::time::ASN1Time| {
            let since = u64::try_from(time.timestamp()).unwrap_or_default();
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(since))
        };
        let (not_before, not_after) = (seconds(validity.not_before), seconds(validity.not_after));
        if now < not_before {
            return Err(CertificateError::NotValidYetContext {
                time: now,
                not_before,
            });
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext {
                time: now,
                not_after,
            });
        }
        if !suits(role, read) {
            return Err(CertificateError::InvalidPurpose);
        }
        let signed = Signed::parse(leaf).ok_or(CertificateError::BadEncoding)?;
        let issuer = contents(read.issuer().as_raw());
        let mut anchors = self.roots.roots.iter();
        let anchor = anchors.find(|anchor| {
            // Which names an authority may certify is not judged here.
            anchor.name_constraints.is_none()
                && Some(anchor.subject.as_ref()) == issuer
                && signed.is_by(&anchor.subject_public_key_info, &self.algorithms)
        });
        let anchor = anchor.ok_or(CertificateError::UnknownIssuer)?;
        self.ask_lists(anchor, read, now)
    }

    /// Whether `accepts` takes one of the ways from a peer's certificate to an authority, by signatures,
    /// that have no more than `most` certificates between the two. It gets those.
    pub(super) fn within<'c>(
        &self,
        most: usize,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'c>],
        accepts: &mut dyn FnMut(&[CertificateDer<'c>]) -> bool,
    ) -> bool {
        let read: Vec<Link<'_>> = rest.iter().filter_map(|one| Link::parse(one)).collect();
        let Some(leaf) = Link::parse(leaf) else {
            return false;
        };
        let mut search = Search {
            signers: self,
            rest: read,
            most,
            signatures: limits::TLS_PATH_SIGNATURES,
            way: Vec::new(),
        };
        search.go_on(&leaf, &mut |way| {
            let way: Vec<CertificateDer<'c>> = way
                .iter()
                .filter_map(|der| rest.iter().find(|one| one.as_ref() == *der).cloned())
                .collect();
            accepts(&way)
        })
    }

    /// Whether the authority has taken the certificate back; its list has to be there, if there are any.
    fn ask_lists(
        &self,
        anchor: &TrustAnchor<'_>,
        read: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        if self.revoked.is_empty() {
            return Ok(());
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (mut fresh, mut expired) = (false, false);
        for der in &self.revoked {
            let (Ok((_, list)), Some(signed)) =
                (CertificateRevocationList::from_der(der), Signed::parse(der))
            else {
                continue;
            };
            if contents(list.issuer().as_raw()) != Some(anchor.subject.as_ref())
                || !signed.is_by(&anchor.subject_public_key_info, &self.algorithms)
            {
                continue;
            }
            let mut revoked = list.iter_revoked_certificates();
            if revoked.any(|one| one.raw_serial() == read.raw_serial()) {
                return Err(CertificateError::Revoked);
            }
            // A list of some of the authority's certificates does not say that others are good.
            let mut extensions = list.extensions().iter();
            if extensions.any(|extension| extension.oid.to_id_string() == ISSUING_POINT) {
                continue;
            }
            let is_old = list.next_update().is_none_or(|next| next.timestamp() < now);
            match is_old && !self.takes_old_lists {
                true => expired = true,
                false => fresh = true,
            }
        }
        match (fresh, expired) {
            (true, _) => Ok(()),
            (false, true) => Err(CertificateError::ExpiredRevocationList),
            (false, false) => Err(CertificateError::UnknownRevocationStatus),
        }
    }
}

/// A certificate on the way to an authority.
#[derive(Clone, Copy)]
struct Link<'a> {
    der: &'a [u8],
    signed: Signed<'a>,
    subject: &'a [u8],
    issuer: &'a [u8],
    /// The contents of its `SubjectPublicKeyInfo`.
    key: &'a [u8],
}

impl<'a> Link<'a> {
    fn parse(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let tbs = read.tbs_certificate;
        Some(Self {
            der: certificate,
            signed: Signed::parse(certificate)?,
            subject: contents(tbs.subject.as_raw())?,
            issuer: contents(tbs.issuer.as_raw())?,
            key: contents(tbs.subject_pki.raw)?,
        })
    }
}

/// A search for ways from a certificate to an authority.
struct Search<'s, 'a> {
    signers: &'s Signers,
    rest: Vec<Link<'a>>,
    most: usize,
    /// How many signatures may still be looked at: who sends many certificates chooses how many ways
    /// there are.
    signatures: usize,
    way: Vec<&'a [u8]>,
}

impl<'a> Search<'_, 'a> {
    /// Whether `accepts` takes one of the ways on from `link`.
    fn go_on(&mut self, link: &Link<'_>, accepts: &mut dyn FnMut(&[&'a [u8]]) -> bool) -> bool {
        let signers = self.signers;
        for anchor in &signers.roots.roots {
            if anchor.subject.as_ref() == link.issuer
                && self.is_by(link, &anchor.subject_public_key_info)
                && accepts(&self.way)
            {
                return true;
            }
        }
        if self.way.len() == self.most {
            return false;
        }
        for next in self.rest.clone() {
            if next.subject == link.issuer
                && !self.way.contains(&next.der)
                && self.is_by(link, next.key)
            {
                self.way.push(next.der);
                if self.go_on(&next, accepts) {
                    return true;
                }
                self.way.pop();
            }
        }
        false
    }

    fn is_by(&mut self, link: &Link<'_>, key: &[u8]) -> bool {
        let Some(left) = self.signatures.checked_sub(1) else {
            return false;
        };
        self.signatures = left;
        link.signed.is_by(key, &self.signers.algorithms)
    }
}

/// Whether a certificate may be shown in that role, as far as its extensions say so.
fn suits(role: Role, read: &X509Certificate<'_>) -> bool {
    read.extensions().iter().all(|extension| {
        match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => match role {
                Role::Client => usage.client_auth,
                Role::Server => usage.server_auth,
            },
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_) => true,
            // What is critical has to be understood (RFC 5280 §4.2).
            _ => !extension.critical,
        }
    })
}

/// Something that is signed: a certificate, or a list of those that were revoked.
#[derive(Clone, Copy)]
struct Signed<'a> {
    content: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let mut parts = contents(der)?;
        let (content, _) = value(&mut parts)?;
        let (_, algorithm) = value(&mut parts)?;
        let (_, signature) = value(&mut parts)?;
        Some(Self {
            content,
            algorithm,
            signature: whole_bytes(signature)?,
        })
    }

    /// Whether it was signed by that key: the contents of a `SubjectPublicKeyInfo`.
    fn is_by(&self, key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let Some((kind, key)) = parts_of_key(key) else {
            return false;
        };
        algorithms.all.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == kind
                && algorithm
                    .verify_signature(key, self.content, self.signature)
                    .is_ok()
        })
    }
}

/// The kind of a key and the key itself, out of the contents of a `SubjectPublicKeyInfo`.
fn parts_of_key(mut info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, kind) = value(&mut info)?;
    let (_, bits) = value(&mut info)?;
    Some((kind, whole_bytes(bits)?))
}

/// The public key of a certificate that the library cannot read, for it is of version 1.
fn key_of_old<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    (read.version() == X509Version::V1).then_some(read.tbs_certificate.subject_pki.raw)
}

/// Checks a signature of a handshake of TLS 1.2.
pub(super) fn signature_of_12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let checked = verify_tls12_signature(message, certificate, signed, algorithms);
    let Err(Error::InvalidCertificate(_)) = &checked else {
        return checked;
    };
    let Some((kind, key)) = key_of_old(certificate)
        .and_then(contents)
        .and_then(parts_of_key)
    else {
        return checked;
    };
    let mut schemes = algorithms.mapping.iter();
    let found = schemes.find(|(scheme, _)| *scheme == signed.scheme);
    let mut fitting = found.iter().flat_map(|(_, fitting)| fitting.iter());
    let is_good = fitting.any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == kind
            && algorithm
                .verify_signature(key, message, signed.signature())
                .is_ok()
    });
    match is_good {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

/// Checks a signature of a handshake of TLS 1.3.
pub(super) fn signature_of_13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let checked = verify_tls13_signature(message, certificate, signed, algorithms);
    match (&checked, key_of_old(certificate)) {
        (Err(Error::InvalidCertificate(_)), Some(key)) => {
            let key = SubjectPublicKeyInfoDer::from(key);
            verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
        }
        _ => checked,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams,
    };
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    type Judged = Option<Result<(), Error>>;

    /// An authority and a certificate of version 1 that it has signed, as `openssl x509 -req` makes them.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcDCCARegAwIBAgIUcNAGCbQWj+Bbc3RgV8Msc5tWhyUwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI2MTIxMzA0WhgPMjEyNjExMDIxMjEzMDRa
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMOcENEJn
/pd/EZzuwJexCbuTnc+9rb1yZfxSXLs0zJA3AV+Nt3CnDykebiuBPb+vMIUJP9Pp
TZrTegpV2RbxiaNTMFEwHQYDVR0OBBYEFGa+AjXV5YUJcYsdHjiDMF3pj1FXMB8G
A1UdIwQYMBaAFGa+AjXV5YUJcYsdHjiDMF3pj1FXMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDRwAwRAIgfErdcExdT+HvpfOCjPT/d2ReccnZSiHyv6JtfluB
vHYCIBsxltsRcEd6BMRml3qR4A9EVUrOPSpkjCdqOzEqbgX9
-----END CERTIFICATE-----
";
    const OLD: &str = "\
-----BEGIN CERTIFICATE-----
MIIBFzCBvgIUDXF7kHECTVBB+eYRpDJfEHouPtMwCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCY2EwIBcNMjYxMTI2MTIxMzA0WhgPMjEyNjExMDIxMjEzMDRaMA4xDDAK
BgNVBAMMA29sZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPMMWpBNR1Mxs8Yv
cL7vafBKHVW995JzjiTpIIMkq6OkcQKVcT1U3eKHXBv7lOTD0QaCYiCfZ5NjhPMZ
RqBZv64wCgYIKoZIzj0EAwIDSAAwRQIgHPZUkzDRmWUId0syfv8x9bL7XZM/3I+4
JO8kq/Q9secCIQDTRokoy7nYJ9NzfiSPYnkwMRzQx5JEJZ/CGXQcK1x4lA==
-----END CERTIFICATE-----
";

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn signers(
        authority: &CertificateDer<'static>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Signers {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        Signers {
            roots: Arc::new(roots),
            revoked,
            takes_old_lists: false,
            algorithms: default_provider().signature_verification_algorithms,
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        CertifiedIssuer::self_signed(params("authority"), KeyPair::generate().unwrap()).unwrap()
    }

    /// A second in 2027.
    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
    }

    fn is_good(judged: &Judged) -> bool {
        matches!(judged, Some(Ok(())))
    }

    fn is_refused(judged: Judged, error: &CertificateError) -> bool {
        judged.is_some_and(|judged| judged == Err(Error::InvalidCertificate(error.clone())))
    }

    #[test]
    fn a_certificate_of_version_1_needs_the_signature_of_its_authority() {
        let (authority, old) = (der(AUTHORITY), der(OLD));
        let known = signers(&authority, Vec::new());
        for role in [Role::Client, Role::Server] {
            assert!(is_good(&known.check(role, &old, now())));
        }
        assert!(known.within(0, &old, &[], &mut |way| way.is_empty()));
        let mut changed = old.to_vec();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        let unknown = CertificateError::UnknownIssuer;
        let judged = known.check(Role::Client, &changed.into(), now());
        assert!(is_refused(judged, &unknown));
        let other = signers(self::authority().der(), Vec::new());
        assert!(is_refused(other.check(Role::Client, &old, now()), &unknown));
        let early = UnixTime::since_unix_epoch(Duration::from_secs(1));
        let judged = known.check(Role::Client, &old, early);
        let error = judged.and_then(Result::err);
        assert!(matches!(
            error,
            Some(Error::InvalidCertificate(
                CertificateError::NotValidYetContext { .. }
            ))
        ));
    }

    #[test]
    fn an_authoritys_own_certificate_may_be_a_peers() {
        let issuer = authority();
        let own = signers(issuer.der(), Vec::new());
        assert!(is_good(&own.check(Role::Server, issuer.der(), now())));
        let mut inner = params("inner");
        inner.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let inner = inner.signed_by(&key, &issuer).unwrap();
        assert!(is_good(&own.check(Role::Server, inner.der(), now())));
        let judged = own.check(Role::Client, inner.der(), now());
        assert!(is_refused(judged, &CertificateError::InvalidPurpose));
        // Others are for the library.
        let mut plain = params("plain");
        plain.is_ca = IsCa::NoCa;
        let plain = plain.signed_by(&key, &issuer).unwrap();
        assert!(own.check(Role::Server, plain.der(), now()).is_none());
    }

    #[test]
    fn what_was_taken_back_is_refused() {
        let issuer = authority();
        let mut inner = params("inner");
        inner.serial_number = Some(7.into());
        let inner = inner
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap();
        let list = |issuer: &CertifiedIssuer<'static, KeyPair>, serial: u64, until: i32| {
            let list = CertificateRevocationListParams {
                this_update: rcgen::date_time_ymd(2020, 1, 1),
                next_update: rcgen::date_time_ymd(until, 1, 1),
                crl_number: 1.into(),
                issuing_distribution_point: None,
                revoked_certs: vec![RevokedCertParams {
                    serial_number: serial.into(),
                    revocation_time: rcgen::date_time_ymd(2020, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                }],
                key_identifier_method: KeyIdMethod::Sha256,
            };
            list.signed_by(issuer).unwrap().der().clone()
        };
        let judged_by = |lists| {
            let known = signers(issuer.der(), lists);
            known.check(Role::Client, inner.der(), now())
        };
        let judged = |list| judged_by(vec![list]);
        // All lists of the authority count, whatever their order.
        let (good, old, revokes) = (
            list(&issuer, 8, 2999),
            list(&issuer, 8, 2021),
            list(&issuer, 7, 2021),
        );
        assert!(is_good(&judged_by(vec![old.clone(), good.clone()])));
        for lists in [vec![good.clone(), revokes.clone()], vec![revokes, good]] {
            assert!(is_refused(judged_by(lists), &CertificateError::Revoked));
        }
        assert!(is_good(&judged(list(&issuer, 8, 2999))));
        for (list, error) in [
            (list(&issuer, 7, 2999), CertificateError::Revoked),
            (
                list(&issuer, 8, 2021),
                CertificateError::ExpiredRevocationList,
            ),
            (
                list(&authority(), 8, 2999),
                CertificateError::UnknownRevocationStatus,
            ),
        ] {
            assert!(is_refused(judged(list), &error), "{error:?}");
        }
    }
}
