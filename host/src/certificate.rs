//! X.509 certificates: what logs, headers, matchers and the admin pages say of one.
//!
//! Owns reading a certificate once into plain values. Does not own trust (`tls::trust`) nor keys.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// As it is sent.
    pub der: Box<[u8]>,
    /// The subject as RFC 2253 writes it: `CN=client,O=org`.
    pub subject: String,
    /// The issuer in the same form.
    pub issuer: String,
    /// The serial number in lower-case hexadecimal digits.
    pub serial: String,
    /// The serial number as it is in the certificate.
    pub raw_serial: Box<[u8]>,
    /// The common name of the subject; the last one, where there are several.
    pub common_name: Option<String>,
    /// Alternative names of the subject.
    pub names: Names,
    /// The first second at which it holds, since 1970.
    pub not_before: i64,
    /// The last one.
    pub not_after: i64,
    /// Whether its authority wants it to be shown with a proof that it still counts (RFC 7633).
    pub must_staple: bool,
    /// The SHA-256 digest of the whole certificate.
    pub sha256: [u8; 32],
    /// The SHA-256 digest of its public key (`SubjectPublicKeyInfo`).
    pub key_sha256: [u8; 32],
}

/// Alternative names (RFC 5280 §4.2.1.6) of the kinds that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `dNSName`.
    pub dns: Vec<String>,
    /// `uniformResourceIdentifier`.
    pub uri: Vec<String>,
    /// `rfc822Name`.
    pub email: Vec<String>,
    /// `iPAddress`.
    pub ip: Vec<IpAddr>,
}

/// A certificate that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate: {0}")]
pub struct Malformed(String);

impl Certificate {
    /// Reads one.
    ///
    /// # Errors
    /// When `der` is not one certificate in DER.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let malformed = |error: &dyn std::fmt::Display| Malformed(error.to_string());
        let (_, read) = X509Certificate::from_der(der).map_err(|error| malformed(&error))?;
        let subject = read.subject();
        let common_name = subject.iter_common_name().last();
        let common_name = common_name.and_then(|name| name.as_str().ok());
        Ok(Self {
            der: der.into(),
            subject: name(subject),
            issuer: name(read.issuer()),
            serial: hex(strip_zeros(read.raw_serial())),
            raw_serial: read.raw_serial().into(),
            common_name: common_name.map(str::to_owned),
            names: Names::of(&read),
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            must_staple: must_staple(&read),
            sha256: sha256(der),
            key_sha256: sha256(read.public_key().raw),
        })
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem(&self.der)
    }

    /// [`Self::pem`] with what a URL may not have escaped, as headers carry it.
    #[must_use]
    pub fn url_encoded_pem(&self) -> String {
        url_encoded(&self.pem())
    }
}

/// Whether a certificate has the feature of TLS that stands for the extension `status_request`.
fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    const FEATURES: &str = "1.3.6.1.5.5.7.1.24";
    const STATUS_REQUEST: &[u8] = &[2, 1, 5];
    let mut extensions = certificate.extensions().iter();
    let features = extensions.find(|extension| extension.oid.to_id_string() == FEATURES);
    features.is_some_and(|features| {
        let mut parts = features.value.windows(STATUS_REQUEST.len());
        parts.any(|part| part == STATUS_REQUEST)
    })
}

/// A certificate as PEM (RFC 7468).
#[must_use]
pub fn pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let encoded = STANDARD.encode(der);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE + LINE);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// PEM with what a URL may not have escaped.
#[must_use]
pub fn url_encoded(pem: &str) -> String {
    let mut text = String::with_capacity(pem.len() + pem.len() / 8);
    for c in pem.chars() {
        match c {
            '\n' => text.push_str("%0A"),
            ' ' => text.push_str("%20"),
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            other => text.push(other),
        }
    }
    text
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let Ok(Some(extension)) = certificate.subject_alternative_name() else {
            return names;
        };
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::URI(name) => names.uri.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.email.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ip.extend(address(bytes)),
                _ => {}
            }
        }
        names
    }
}

/// The SHA-256 digest.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap_or_default()
}

/// The SHA-1 digest, which some still go by.
#[must_use]
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().unwrap_or_default()
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn strip_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number
        && !rest.is_empty()
    {
        number = rest;
    }
    number
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

/// Names of attributes that have one (RFC 4519, and the mail address that all have in use).
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A name as RFC 2253 writes it: the last part first.
fn name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        if at > 0 {
            text.push(',');
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                text.push('+');
            }
            let kind = attribute.attr_type().to_id_string();
            let short = ATTRIBUTES.iter().find(|(id, _)| *id == kind);
            match (short, attribute.as_str()) {
                (Some((_, short)), Ok(value)) => {
                    text.push_str(short);
                    text.push('=');
                    escape(&mut text, value);
                }
                _ => {
                    let value = hex(attribute.attr_value().data).to_uppercase();
                    let _ = write!(text, "{kind}=#{value}");
                }
            }
        }
    }
    text
}

/// RFC 2253 §2.4, with everything beyond ASCII as bytes, as OpenSSL does by default.
fn escape(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let special = matches!(byte, b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';')
            || (at == 0 && matches!(byte, b'#' | b' '))
            || (at == last && byte == b' ');
        if special {
            text.push('\\');
            text.push(char::from(byte));
        } else if (0x20..0x7f).contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, DnType, KeyPair, SanType};
    use rustls::pki_types::pem::PemObject as _;

    #[test]
    fn a_certificate_is_read() {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let ip = "127.0.0.1".parse().unwrap();
        params.subject_alt_names.push(SanType::IpAddress(ip));
        let uri = SanType::URI("spiffe://td/a".try_into().unwrap());
        params.subject_alt_names.push(uri);
        let email = SanType::Rfc822Name("a@a.test".try_into().unwrap());
        params.subject_alt_names.push(email);
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Müller, Söhne+Co");
        name.push(DnType::CommonName, " client ");
        params.serial_number = Some(vec![0, 0x0a, 0xff].into());
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap();
        let read = Certificate::parse(der.der()).unwrap();
        assert_eq!(
            read.subject,
            r"CN=\ client\ ,O=M\C3\BCller\, S\C3\B6hne\+Co"
        );
        assert_eq!(read.common_name.as_deref(), Some(" client "));
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.serial, "0aff");
        assert_eq!(read.names.dns, ["a.test"]);
        assert_eq!(read.names.uri, ["spiffe://td/a"]);
        assert_eq!(read.names.email, ["a@a.test"]);
        assert_eq!(read.names.ip, [ip]);
        assert!(read.not_before < read.not_after);
        assert_eq!(read.sha256, sha256(der.der()));
        let pem = read.pem();
        let back = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(&*back, &*read.der);
        let encoded = read.url_encoded_pem();
        assert!(encoded.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
        assert!(!encoded.contains([' ', '\n', '+', '/', '=']));
        assert!(Certificate::parse(b"no").is_err());
    }

    #[test]
    fn digests_are_hexadecimal() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&sha256(b"")), empty);
        let empty = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(hex(&sha1(b"")), empty);
    }
}
