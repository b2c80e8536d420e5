//! TLS contexts: `envoy.extensions.transport_sockets.tls.v3` to `tls`.

use std::sync::Arc;

use super::{Workshop, chain as error_chain};
use crate::clock;
use crate::config::Place;
use crate::config::listener::FilterChain as WrittenChain;
use crate::config::scalar::Duration;
use crate::config::tls::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, DownstreamTransport,
    OcspStaplePolicy, SdsSecretConfig, SecretKind, SecretSourceSpecifier, SessionTickets,
    TlsCertificate, TlsProtocol, Validation,
};
use crate::limits;
use crate::nearest::nearest;
use crate::runtime::Handshake;
use crate::tls::{
    IdentitySpec, Parameters, ParametersSpec, Part, Server, ServerSpec, StaplePolicy, TicketChoice,
    TlsContext, TrustSpec, UnknownName, Version, Whence,
};

mod secrets;

use secrets::{Combined, InFile, Wrong, identity, laid_over, ticket_keys, trust};

/// Where a secret is.
enum Found {
    /// In the configuration.
    Here(SecretKind),
    /// In a file.
    InFile(InFile),
}

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
        let (here, named) = own(given);
        let certificates = common.field(match named {
            [] => "tls_certificates",
            _ => "tls_certificate_sds_secret_configs",
        });
        let identities = self.identities(given, common);
        if here.is_empty() && named.is_empty() {
            let message = "a server needs a certificate";
            self.diagnostics.error(certificates, message);
            return None;
        }
        let trust = self.trust(given, common);
        let tickets = self.tickets(written, place);
        let (parameters, identities, trust) = (parameters?, identities?, trust?);
        let spec = ServerSpec {
            identities,
            trust: match trust {
                None if written.require_client_certificate == Some(true) => {
                    Some(Whence::Here(TrustSpec::default()))
                }
                trust => trust,
            },
            parameters,
            requires_certificate: written.require_client_certificate.unwrap_or(false),
            requires_name: written.require_sni.unwrap_or(false),
            scans_on_mismatch: written.full_scan_certs_on_sni_mismatch.unwrap_or(false),
            // Without a list all of them are good: who asks may choose.
            prefers_client_ciphers: written.prefer_client_ciphers || lists_no_ciphers(given),
            tickets: tickets?,
            sessions: !written.disable_stateful_session_resumption,
            session_lifetime: written.session_timeout.and_then(Duration::non_zero),
            staples: match written.ocsp_staple_policy {
                OcspStaplePolicy::LenientStapling => StaplePolicy::Lenient,
                OcspStaplePolicy::StrictStapling => StaplePolicy::Strict,
                OcspStaplePolicy::MustStaple => StaplePolicy::Must,
            },
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
                    let here = match (part, certificate) {
                        (Part::TicketKey(at), _) => {
                            place.field("session_ticket_keys").field("keys").index(at)
                        }
                        (Part::Tickets, _) => place.field("session_ticket_keys_sds_secret_config"),
                        (_, Some(at)) => certificates.index(at),
                        (_, None) => validation_place(given, common),
                    };
                    let here = match part {
                        Part::Chain => here.field("certificate_chain"),
                        Part::Key => here.field("private_key"),
                        Part::Staple => here.field("ocsp_staple"),
                        Part::Authorities => here.field("trusted_ca"),
                        Part::Revoked => here.field("crl"),
                        Part::Secret | Part::TicketKey(_) | Part::Tickets => here,
                    };
                    self.diagnostics.error(here, error_chain(&error));
                }
                None
            }
        }
    }

    /// How sessions are resumed by what clients keep.
    fn tickets(
        &mut self,
        written: &DownstreamTlsContext,
        place: Place<'_>,
    ) -> Option<TicketChoice> {
        let (named, place) = match &written.session_tickets {
            None | Some(SessionTickets::DisableStatelessSessionResumption(false)) => {
                return Some(TicketChoice::Own);
            }
            Some(SessionTickets::DisableStatelessSessionResumption(true)) => {
                return Some(TicketChoice::Off);
            }
            Some(SessionTickets::SessionTicketKeys(keys)) => {
                let keys = self.told(ticket_keys(keys), place.field("session_ticket_keys"))?;
                return Some(TicketChoice::Keys(Whence::Here(keys)));
            }
            Some(SessionTickets::SessionTicketKeysSdsSecretConfig(named)) => {
                (named, place.field("session_ticket_keys_sds_secret_config"))
            }
        };
        match self.secret(named, place)? {
            Found::InFile(file) => Some(TicketChoice::Keys(Whence::Secret(Arc::new(file)))),
            Found::Here(SecretKind::SessionTicketKeys(keys)) => {
                let keys = self.told(ticket_keys(&keys), place)?;
                Some(TicketChoice::Keys(Whence::Here(keys)))
            }
            Found::Here(SecretKind::TlsCertificate(_) | SecretKind::ValidationContext(_)) => {
                let message = "the secret has no keys of session tickets";
                self.diagnostics.error(place, message);
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
        let alpn = self.alpn(&written.alpn_protocols, place.field("alpn_protocols"))?;
        let spec = ParametersSpec {
            min,
            max,
            ciphers: &given.cipher_suites,
            groups: &given.ecdh_curves,
            signatures: &given.signature_algorithms,
            alpn: &alpn,
        };
        match Parameters::new(&spec) {
            Ok(parameters) => Some(parameters),
            Err(error) => {
                let here = match &error {
                    UnknownName::Cipher { index, .. } => here.field("cipher_suites").index(*index),
                    UnknownName::Group { index, .. } => here.field("ecdh_curves").index(*index),
                    UnknownName::Signature { index, .. } => {
                        here.field("signature_algorithms").index(*index)
                    }
                };
                let hint = error.hint();
                self.diagnostics.error(here, error.to_string()).hint(hint);
                None
            }
        }
    }

    /// The names of protocols that can be offered. One text may have several, between commas.
    pub(super) fn alpn(&mut self, written: &[String], place: Place<'_>) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for (index, text) in written.iter().enumerate() {
            for name in text.split(',') {
                if !(1..=255).contains(&name.len()) {
                    let message = "the name of a protocol has 1 to 255 bytes";
                    self.diagnostics.error(place.index(index), message);
                    return None;
                }
                names.push(name.to_owned());
            }
        }
        Some(names)
    }

    /// What this side shows of itself: what is written here, or what secrets have.
    pub(super) fn identities(
        &mut self,
        written: &CommonTlsContext,
        place: Place<'_>,
    ) -> Option<Vec<Whence<IdentitySpec>>> {
        let (here, named) = own(written);
        let here_place = place.field("tls_certificates");
        let named_place = place.field("tls_certificate_sds_secret_configs");
        if !here.is_empty() && !named.is_empty() {
            let message = "certificates are written here, or secrets, not both";
            let error = self.diagnostics.error(named_place, message);
            error.related_place(here_place, "the ones written here");
            return None;
        }
        let mut identities = Vec::new();
        for (index, written) in here.iter().enumerate() {
            let spec = identity(written);
            let spec = self.told(spec, here_place.index(index));
            identities.push(spec.map(Whence::Here));
        }
        for (index, written) in named.iter().enumerate() {
            let place = named_place.index(index);
            identities.push(match self.secret(written, place) {
                Some(Found::InFile(file)) => Some(Whence::Secret(Arc::new(file))),
                Some(Found::Here(SecretKind::TlsCertificate(written))) => {
                    let spec = identity(&written);
                    self.told(spec, place).map(Whence::Here)
                }
                Some(Found::Here(
                    SecretKind::ValidationContext(_) | SecretKind::SessionTicketKeys(_),
                )) => {
                    self.diagnostics
                        .error(place, "the secret is no certificate");
                    None
                }
                None => None,
            });
        }
        identities.into_iter().collect()
    }

    /// What peers have to show; nothing where the inner answer is none.
    pub(super) fn trust(
        &mut self,
        written: &CommonTlsContext,
        place: Place<'_>,
    ) -> Option<Option<Whence<TrustSpec>>> {
        let none = CertificateValidationContext::default();
        let (here, named, place) = match &written.validation {
            None => return Some(None),
            Some(Validation::ValidationContext(written)) => {
                let spec = trust(written);
                let spec = self.told(spec, place.field("validation_context"))?;
                return Some(Some(Whence::Here(spec)));
            }
            Some(Validation::ValidationContextSdsSecretConfig(named)) => {
                let place = place.field("validation_context_sds_secret_config");
                (&none, named, place)
            }
            Some(Validation::CombinedValidationContext(both)) => {
                let place = place.field("combined_validation_context");
                let here = &both.default_validation_context;
                self.told(trust(here), place.field("default_validation_context"))?;
                let place = place.field("validation_context_sds_secret_config");
                (here, &both.validation_context_sds_secret_config, place)
            }
        };
        match self.secret(named, place)? {
            Found::InFile(file) => {
                let combined = Combined {
                    here: here.clone(),
                    file,
                };
                Some(Some(Whence::Secret(Arc::new(combined))))
            }
            Found::Here(SecretKind::ValidationContext(written)) => {
                let spec = trust(&laid_over(here, &written));
                let spec = self.told(spec, place)?;
                Some(Some(Whence::Here(spec)))
            }
            Found::Here(SecretKind::TlsCertificate(_) | SecretKind::SessionTicketKeys(_)) => {
                self.diagnostics
                    .error(place, "the secret is no validation context");
                None
            }
        }
    }

    /// Where a secret is.
    fn secret(&mut self, written: &SdsSecretConfig, place: Place<'_>) -> Option<Found> {
        let name = &written.name;
        if let Some(source) = &written.sds_config {
            let path = match &source.specifier {
                SecretSourceSpecifier::PathConfigSource(source) => &source.path,
                SecretSourceSpecifier::Path(path) => path,
            };
            return Some(Found::InFile(InFile {
                path: path.into(),
                name: name.clone(),
            }));
        }
        if let Some(secret) = self.secrets.iter().find(|secret| secret.name == *name) {
            return Some(Found::Here(secret.kind.clone()));
        }
        let near = nearest(name, self.secrets.iter().map(|secret| secret.name.as_str()));
        let near = near.map(|near| format!("did you mean \"{near}\"?"));
        let message = format!("unknown secret \"{name}\"");
        let error = self.diagnostics.error(place.field("name"), message);
        if let Some(near) = near {
            error.hint(near);
        }
        None
    }

    /// A part of a context, with what is wrong with it told.
    fn told<T>(&mut self, part: Result<T, Wrong>, place: Place<'_>) -> Option<T> {
        match part {
            Ok(part) => Some(part),
            Err(wrong) => {
                self.diagnostics.error(wrong.place(place), wrong.message);
                None
            }
        }
    }
}

/// Certificates that are written here, and those that are secrets.
fn own(written: &CommonTlsContext) -> (&[TlsCertificate], &[SdsSecretConfig]) {
    let named = &written.tls_certificate_sds_secret_configs;
    (&written.tls_certificates, named)
}

/// Where it is written what peers have to show.
pub(super) fn validation_place<'d>(written: &CommonTlsContext, place: Place<'d>) -> Place<'d> {
    match &written.validation {
        None | Some(Validation::ValidationContext(_)) => place.field("validation_context"),
        Some(Validation::ValidationContextSdsSecretConfig(_)) => {
            place.field("validation_context_sds_secret_config")
        }
        Some(Validation::CombinedValidationContext(_)) => {
            place.field("combined_validation_context")
        }
    }
}

fn lists_no_ciphers(written: &CommonTlsContext) -> bool {
    let params = written.tls_params.as_ref();
    params.is_none_or(|params| params.cipher_suites.is_empty())
}
