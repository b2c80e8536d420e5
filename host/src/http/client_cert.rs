//! What upstreams are told of a client's certificate (`x-forwarded-client-cert`).
//!
//! Owns the form of one element, which is Envoy's. Called by `hygiene`, which knows whether it is sent.

use std::borrow::Cow;

use crate::certificate::{hex, pem, url_encoded};
use crate::exchange::Tls;

/// `set_current_client_cert_details`: what is told beyond the digest and this side's own names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// `subject`.
    pub subject: bool,
    /// `cert`: the whole certificate.
    pub cert: bool,
    /// `chain`: all certificates that the client sent.
    pub chain: bool,
    /// `dns`.
    pub dns: bool,
    /// `uri`.
    pub uri: bool,
}

impl Details {
    /// All of them as one number.
    fn bits(self) -> u8 {
        let all = [self.subject, self.cert, self.chain, self.dns, self.uri];
        all.iter().fold(0, |bits, bit| bits << 1 | u8::from(*bit))
    }
}

/// The element for a session whose client has shown a certificate: the same for all requests of the
/// connection that are to tell the same, and so made once for the first of these.
pub(super) fn element(tls: &Tls, details: Details) -> Cow<'_, [u8]> {
    let asked = details.bits();
    let (made_for, element) = tls.forwarded.get_or_init(|| {
        let element = describe(tls, details);
        (asked, element.into_bytes().into())
    });
    if *made_for == asked {
        Cow::Borrowed(element)
    } else {
        Cow::Owned(describe(tls, details).into_bytes())
    }
}

fn describe(tls: &Tls, details: Details) -> String {
    let mut parts = Vec::new();
    let own = tls.local.iter().flat_map(|local| &local.names.uri);
    parts.extend(own.map(|uri| format!("By={uri}")));
    let Some(peer) = &tls.peer else {
        return parts.join(";");
    };
    let certificate = &peer.certificate;
    parts.push(format!("Hash={}", hex(&certificate.sha256)));
    if details.cert {
        parts.push(format!("Cert=\"{}\"", certificate.url_encoded_pem()));
    }
    if details.chain {
        let rest: String = peer.chain.iter().map(|der| pem(der)).collect();
        let all = certificate.pem() + &rest;
        parts.push(format!("Chain=\"{}\"", url_encoded(&all)));
    }
    if details.subject {
        parts.push(format!("Subject=\"{}\"", certificate.subject));
    }
    if details.uri {
        let names = &certificate.names.uri;
        if names.is_empty() {
            parts.push("URI=".to_owned());
        }
        parts.extend(names.iter().map(|uri| format!("URI={uri}")));
    }
    if details.dns {
        let names = &certificate.names.dns;
        parts.extend(names.iter().map(|name| format!("DNS={name}")));
    }
    parts.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use crate::certificate::Certificate;
    use crate::exchange::Peer;

    fn certificate(common: &str, dns: &[&str], uris: &[&str]) -> Certificate {
        let dns: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::parse(made.der()).unwrap()
    }

    fn told(client: &Certificate, details: Details) -> String {
        let tls = Tls {
            certificate_presented: true,
            local: Some(Arc::new(certificate(
                "s",
                &[],
                &["spiffe://s/1", "spiffe://s/2"],
            ))),
            peer: Some(Peer {
                certificate: client.clone(),
                chain: Box::default(),
            }),
            ..Tls::default()
        };
        let element = element(&tls, details).to_vec();
        String::from_utf8(element).unwrap()
    }

    #[test]
    fn requests_of_one_connection_may_tell_different_things() {
        let tls = Tls {
            certificate_presented: true,
            peer: Some(Peer {
                certificate: certificate("c", &["a.test"], &[]),
                chain: Box::default(),
            }),
            ..Tls::default()
        };
        let dns = Details {
            dns: true,
            ..Details::default()
        };
        for (details, has_name) in [(dns, true), (Details::default(), false), (dns, true)] {
            let told = String::from_utf8(element(&tls, details).to_vec()).unwrap();
            assert_eq!(told.contains("DNS=a.test"), has_name, "{told}");
        }
    }

    #[test]
    fn an_element_says_what_was_asked_for() {
        let client = certificate("c \"q\"", &["a.test", "b.test"], &["spiffe://c"]);
        let bare = format!(
            "By=spiffe://s/1;By=spiffe://s/2;Hash={}",
            hex(&client.sha256)
        );
        assert_eq!(told(&client, Details::default()), bare);
        let some = Details {
            subject: true,
            uri: true,
            dns: true,
            ..Details::default()
        };
        let expected = r#"Subject="CN=c \"q\"";URI=spiffe://c;DNS=a.test;DNS=b.test"#;
        assert_eq!(told(&client, some), format!("{bare};{expected}"));
        let nameless = certificate("n", &[], &[]);
        let told_of = told(&nameless, some);
        assert!(told_of.ends_with(r#";Subject="CN=n";URI="#), "{told_of}");
        let all = Details {
            cert: true,
            chain: true,
            ..Details::default()
        };
        let pem = client.url_encoded_pem();
        let expected = format!("{bare};Cert=\"{pem}\";Chain=\"{pem}\"");
        assert_eq!(told(&client, all), expected);
    }
}
