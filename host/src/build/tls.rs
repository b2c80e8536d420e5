//! TLS contexts: `envoy.extensions.transport_sockets.tls.v3` to `tls`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::matching::string;
use super::{Workshop, chain as error_chain};
use crate::certificate::Names;
use crate::clock;
use crate::config::Place;
use crate::config::listener::FilterChain as WrittenChain;
use crate::config::matcher::MatchPattern;
use crate::config::scalar::{DataSource, DataSpecifier, Duration};
use crate::config::tls::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, DownstreamTransport,
    OcspStaplePolicy, SanType, SessionTickets, SubjectAltNameMatcher, TlsCertificate, TlsProtocol,
    TrustChainVerification, Validation,
};
use crate::limits;
use crate::route::TextCondition;
use crate::runtime::Handshake;
use crate::tls::{
    IdentitySpec, Parameters, ParametersSpec, Part, Server, ServerSpec, Source, SubjectName,
    TlsContext, TrustSpec, UnknownName, Version,
};

const TODAYS_FORM: &str = "write transport_socket: { name: envoy.transport_sockets.tls, \
    typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
    DownstreamTlsContext, common_tls_context: … } }";

impl Workshop<'_> {
    /// What comes before the first byte of a filter chain's connections: nothing over clear text. `None`
    /// where something is wrong with it.
    pub(super) fn handshake(
        &mut self,
        chain: &WrittenChain,
        place: Place<'_>,
    ) -> Option<Option<Handshake>> {
        let timeout = chain.transport_socket_connect_timeout;
        let timeout = timeout.and_then(Duration::non_zero);
        let server = self.downstream_tls(chain, place)?;
        Some(server.map(|server| Handshake {
            server,
            timeout: timeout.unwrap_or(limits::TLS_HANDSHAKE),
        }))
    }

    fn downstream_tls(
        &mut self,
        chain: &WrittenChain,
        place: Place<'_>,
    ) -> Option<Option<Arc<Server>>> {
        let old = chain.tls_context.as_deref();
        let socket = chain.transport_socket.as_ref();
        let socket_place = place.field("transport_socket");
        if let Some(old) = old {
            let here = place.field("tls_context");
            if socket.is_some() {
                let message = "'tls_context' and 'transport_socket' exclude each other";
                let error = self.diagnostics.error(here, message);
                error.related_place(socket_place, "the other one");
                return None;
            }
            let message = "'tls_context' is the form of Envoy's v2 API, which Envoy refuses today";
            self.diagnostics.warning(here, message).hint(TODAYS_FORM);
            return self.tls_server(old, here).map(Some);
        }
        match socket.map(|socket| &socket.typed_config) {
            Some(DownstreamTransport::Tls(context)) => {
                let here = socket_place.field("typed_config");
                self.tls_server(context, here).map(Some)
            }
            Some(DownstreamTransport::RawBuffer(_)) | None => Some(None),
        }
    }

    fn tls_server(
        &mut self,
        written: &DownstreamTlsContext,
        place: Place<'_>,
    ) -> Option<Arc<Server>> {
        let common = place.field("common_tls_context");
        let given = &written.common_tls_context;
        let parameters = self.tls_parameters(given, Version::Tls13, common);
        let certificates = common.field("tls_certificates");
        let identities = self.identities(&given.tls_certificates, certificates);
        if given.tls_certificates.is_empty() {
            let message = "a server needs a certificate";
            self.diagnostics.error(certificates, message);
        }
        let trust = self.trust(given, common);
        if written.ocsp_staple_policy != OcspStaplePolicy::LenientStapling {
            let here = place.field("ocsp_staple_policy");
            let message = "not supported by nuncio: to refuse certificates without a staple";
            self.diagnostics.error(here, message);
        }
        let (parameters, identities, trust) = (parameters?, identities?, trust?);
        let tickets = written.session_tickets.as_ref();
        let spec = ServerSpec {
            identities,
            trust: match trust {
                None if written.require_client_certificate == Some(true) => {
                    Some(TrustSpec::default())
                }
                trust => trust,
            },
            parameters,
            requires_certificate: written.require_client_certificate.unwrap_or(false),
            requires_name: written.require_sni.unwrap_or(false),
            scans_on_mismatch: written.full_scan_certs_on_sni_mismatch.unwrap_or(false),
            // Without a list all of them are good: who asks may choose.
            prefers_client_ciphers: written.prefer_client_ciphers || lists_no_ciphers(given),
            tickets: tickets != Some(&SessionTickets::DisableStatelessSessionResumption(true)),
            sessions: !written.disable_stateful_session_resumption,
        };
        match Server::load(place.path(), spec, self.settings.workers) {
            Ok(server) => {
                let server = Arc::new(server);
                self.warn_of_expired(&*server, certificates);
                self.contexts.add(&server);
                Some(server)
            }
            Err(wrong) => {
                for (certificate, part, error) in wrong {
                    let here = match certificate {
                        Some(at) => certificates.index(at),
                        None => common.field("validation_context"),
                    };
                    let field = match part {
                        Part::Chain => "certificate_chain",
                        Part::Key => "private_key",
                        Part::Staple => "ocsp_staple",
                        Part::Authorities => "trusted_ca",
                        Part::Revoked => "crl",
                    };
                    self.diagnostics
                        .error(here.field(field), error_chain(&error));
                }
                None
            }
        }
    }

    /// A certificate that does not hold serves nobody, but a proxy that does not start serves nobody
    /// either, and what it has other listeners for.
    pub(super) fn warn_of_expired(&mut self, context: &dyn TlsContext, place: Place<'_>) {
        let now = jiff::Timestamp::try_from(clock::wall())
            .unwrap_or_default()
            .as_second();
        for (index, identity) in context.identities().iter().enumerate() {
            let certificate = &identity.certificate;
            let when = |second| jiff::Timestamp::from_second(second).unwrap_or_default();
            let message = if certificate.not_after < now {
                let since = when(certificate.not_after);
                format!(
                    "the certificate in {} has expired on {since}",
                    identity.path
                )
            } else if certificate.not_before > now {
                let from = when(certificate.not_before);
                format!("the certificate in {} holds from {from} on", identity.path)
            } else {
                continue;
            };
            let here = place.index(index).field("certificate_chain");
            self.diagnostics.warning(here, message);
        }
    }

    /// `tls_params` and `alpn_protocols`; `newest` is the newest version where they do not say.
    pub(super) fn tls_parameters(
        &mut self,
        written: &CommonTlsContext,
        newest: Version,
        place: Place<'_>,
    ) -> Option<Parameters> {
        let here = place.field("tls_params");
        let given = written.tls_params.clone().unwrap_or_default();
        let version = |written, default| match written {
            TlsProtocol::Auto => default,
            TlsProtocol::Tls12 => Version::Tls12,
            TlsProtocol::Tls13 => Version::Tls13,
        };
        let min = version(given.tls_minimum_protocol_version, Version::Tls12);
        let max = version(given.tls_maximum_protocol_version, newest.max(min));
        if min > max {
            let message = "the newest version is older than the oldest one";
            let here = here.field("tls_maximum_protocol_version");
            self.diagnostics.error(here, message);
            return None;
        }
        for (index, name) in written.alpn_protocols.iter().enumerate() {
            if name.is_empty() || name.len() > 255 {
                let here = place.field("alpn_protocols").index(index);
                let message = "the name of a protocol has 1 to 255 bytes";
                self.diagnostics.error(here, message);
                return None;
            }
        }
        let spec = ParametersSpec {
            min,
            max,
            ciphers: &given.cipher_suites,
            groups: &given.ecdh_curves,
            alpn: &written.alpn_protocols,
        };
        match Parameters::new(&spec) {
            Ok(parameters) => Some(parameters),
            Err(error) => {
                let here = match &error {
                    UnknownName::Cipher { index, .. } => here.field("cipher_suites").index(*index),
                    UnknownName::Group { index, .. } => here.field("ecdh_curves").index(*index),
                };
                let hint = error.hint();
                self.diagnostics.error(here, error.to_string()).hint(hint);
                None
            }
        }
    }

    /// Where certificates and their keys are.
    pub(super) fn identities(
        &mut self,
        written: &[TlsCertificate],
        place: Place<'_>,
    ) -> Option<Vec<IdentitySpec>> {
        let written = written.iter().enumerate();
        let read: Vec<Option<IdentitySpec>> = written
            .map(|(index, written)| self.identity(written, place.index(index)))
            .collect();
        read.into_iter().collect()
    }

    fn identity(&mut self, written: &TlsCertificate, place: Place<'_>) -> Option<IdentitySpec> {
        let chain = self.needed(
            written.certificate_chain.as_ref(),
            place,
            "certificate_chain",
        );
        let key = self.needed(written.private_key.as_ref(), place, "private_key");
        let staple = match &written.ocsp_staple {
            Some(source) => Some(self.source(source, place.field("ocsp_staple"))?),
            None => None,
        };
        Some(IdentitySpec {
            chain: chain?,
            key: key?,
            staple,
        })
    }

    fn needed(
        &mut self,
        written: Option<&DataSource>,
        place: Place<'_>,
        field: &'static str,
    ) -> Option<Source> {
        let Some(written) = written else {
            let message = format!("missing field '{field}'");
            self.diagnostics.error(place, message);
            return None;
        };
        self.source(written, place.field(field))
    }

    /// Where data is that may change while the proxy runs.
    fn source(&mut self, written: &DataSource, place: Place<'_>) -> Option<Source> {
        match &written.specifier {
            DataSpecifier::Filename(path) => Some(Source::File(path.into())),
            _ => {
                let data = self.data(written, place)?;
                Some(Source::Inline(data.as_ref().into()))
            }
        }
    }

    /// What peers have to show; nothing where the inner answer is none.
    pub(super) fn trust(
        &mut self,
        written: &CommonTlsContext,
        place: Place<'_>,
    ) -> Option<Option<TrustSpec>> {
        match &written.validation {
            None => Some(None),
            Some(Validation::ValidationContext(written)) => {
                let place = place.field("validation_context");
                self.validation(written, place).map(Some)
            }
        }
    }

    fn validation(
        &mut self,
        written: &CertificateValidationContext,
        place: Place<'_>,
    ) -> Option<TrustSpec> {
        let mut spec = TrustSpec {
            revoked_leaf_only: written.only_verify_leaf_cert_crl,
            allow_expired: written.allow_expired_certificate,
            accept_untrusted: written.trust_chain_verification
                == TrustChainVerification::AcceptUntrusted,
            system_roots: written.system_root_certs.is_some(),
            ..TrustSpec::default()
        };
        if let Some(source) = &written.trusted_ca {
            spec.authorities = Some(self.source(source, place.field("trusted_ca"))?);
        }
        if let Some(source) = &written.crl {
            let here = place.field("crl");
            if written.trusted_ca.is_none() && written.system_root_certs.is_none() {
                let message = "a list of revoked certificates needs a 'trusted_ca'";
                self.diagnostics.error(here, message);
                return None;
            }
            spec.revoked = Some(self.source(source, here)?);
        }
        for (index, text) in written.verify_certificate_hash.iter().enumerate() {
            let Some(digest) = hexadecimal(text) else {
                let here = place.field("verify_certificate_hash").index(index);
                let message = "not a SHA-256 digest in hexadecimal digits";
                self.diagnostics.error(here, message);
                return None;
            };
            spec.hashes.push(digest);
        }
        for (index, text) in written.verify_certificate_spki.iter().enumerate() {
            let digest = STANDARD.decode(text).ok();
            let Some(digest) = digest.and_then(|bytes| bytes.try_into().ok()) else {
                let here = place.field("verify_certificate_spki").index(index);
                let message = "not a SHA-256 digest in base64";
                self.diagnostics.error(here, message);
                return None;
            };
            spec.keys.push(digest);
        }
        for (index, matcher) in written.match_typed_subject_alt_names.iter().enumerate() {
            let here = place.field("match_typed_subject_alt_names").index(index);
            spec.names.push(self.subject_name(matcher, here)?);
        }
        Some(spec)
    }

    fn subject_name(
        &mut self,
        written: &SubjectAltNameMatcher,
        place: Place<'_>,
    ) -> Option<SubjectName> {
        if let (SanType::Dns, MatchPattern::Exact(name)) =
            (written.san_type, &written.matcher.pattern)
        {
            let name = name.to_ascii_lowercase();
            return Some(SubjectName(Arc::new(move |names: &Names| {
                names
                    .dns
                    .iter()
                    .any(|pattern| dns_name_matches(&name, pattern))
            })));
        }
        let condition = match TextCondition::new(&string(&written.matcher)) {
            Ok(condition) => condition,
            Err(errors) => {
                for error in &errors {
                    let message = error_chain(&error.problem);
                    self.diagnostics.error(place.field("matcher"), message);
                }
                return None;
            }
        };
        let kind = written.san_type;
        Some(SubjectName(Arc::new(move |names: &Names| {
            let meets = |name: &String| condition.matches(name.as_bytes());
            match kind {
                SanType::Dns => names.dns.iter().any(meets),
                SanType::Uri => names.uri.iter().any(meets),
                SanType::Email => names.email.iter().any(meets),
                SanType::IpAddress => names.ip.iter().any(|ip| meets(&ip.to_string())),
            }
        })))
    }
}

fn lists_no_ciphers(written: &CommonTlsContext) -> bool {
    let params = written.tls_params.as_ref();
    params.is_none_or(|params| params.cipher_suites.is_empty())
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
