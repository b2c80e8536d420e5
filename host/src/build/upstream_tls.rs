//! Transports to upstreams: TLS, the PROXY protocol, and which names servers are asked for.

use std::sync::Arc;

use super::balancing::fields;
use super::tls::validation_place;
use super::{Workshop, chain as error_chain};
use crate::config::Place;
use crate::config::cluster::Cluster as Written;
use crate::config::upstream_tls::{
    ProxyProtocolConfig, ProxyProtocolVersion, TlvEntry, UpstreamTlsContext, UpstreamTransport,
    UpstreamTransportSocket,
};
use crate::headers::Name;
use crate::limits;
use crate::observe::registry::Scope;
use crate::tls::{
    Client, ClientSpec, ClientStats, Part, Signatures, TlsContext as _, TrustSpec, Version, Whence,
};
use crate::upstream::connect::{ProxyHeader, ProxyVersion, Tlv};
use crate::upstream::spec::{AutoNames, TlsDial, Transport, TransportMatch};

const TODAYS_FORM: &str = "write transport_socket: { name: envoy.transport_sockets.tls, \
    typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
    UpstreamTlsContext, common_tls_context: … } }";

impl Workshop<'_> {
    /// What a cluster speaks under its protocol. `None` where something is wrong with it.
    pub(super) fn transport_of(
        &mut self,
        written: &Written,
        place: Place<'_>,
    ) -> Option<Transport> {
        let here = place.field("transport_socket");
        let Some(old) = &written.tls_context else {
            return match &written.transport_socket {
                Some(socket) => self.transport(written, socket, here),
                None => Some(Transport::default()),
            };
        };
        let old_place = place.field("tls_context");
        if written.transport_socket.is_some() {
            let message = "'tls_context' and 'transport_socket' exclude each other";
            let error = self.diagnostics.error(old_place, message);
            error.related_place(here, "the other one");
            return None;
        }
        let message = "'tls_context' is the form of Envoy's v2 API, which Envoy refuses today";
        self.diagnostics
            .warning(old_place, message)
            .hint(TODAYS_FORM);
        Some(Transport {
            proxy_header: None,
            tls: Some(self.tls_client(written, old, old_place)?),
        })
    }

    /// `transport_socket_matches`.
    pub(super) fn transport_matches(
        &mut self,
        written: &Written,
        place: Place<'_>,
    ) -> Option<Vec<TransportMatch>> {
        let entries = written.transport_socket_matches.iter().enumerate();
        let built: Vec<Option<TransportMatch>> = entries
            .map(|(index, entry)| {
                let here = place.index(index).field("transport_socket");
                Some(TransportMatch {
                    name: entry.name.as_str().into(),
                    wanted: entry.r#match.as_ref().map(fields).unwrap_or_default(),
                    transport: self.transport(written, &entry.transport_socket, here)?,
                })
            })
            .collect();
        built.into_iter().collect()
    }

    fn transport(
        &mut self,
        cluster: &Written,
        written: &UpstreamTransportSocket,
        place: Place<'_>,
    ) -> Option<Transport> {
        let here = place.field("typed_config");
        match &written.typed_config {
            UpstreamTransport::RawBuffer(_) => Some(Transport::default()),
            UpstreamTransport::Tls(context) => Some(Transport {
                proxy_header: None,
                tls: Some(self.tls_client(cluster, context, here)?),
            }),
            UpstreamTransport::ProxyProtocol(outer) => {
                let inner_place = here.field("transport_socket");
                let header = self.proxy_header(&outer.config, here.field("config"));
                let inner = self.transport(cluster, &outer.transport_socket, inner_place)?;
                if inner.proxy_header.is_some() {
                    let message = "a connection begins with one header";
                    self.diagnostics.error(inner_place, message);
                    return None;
                }
                Some(Transport {
                    proxy_header: Some(header?),
                    tls: inner.tls,
                })
            }
        }
    }

    pub(super) fn proxy_header(
        &mut self,
        written: &ProxyProtocolConfig,
        place: Place<'_>,
    ) -> Option<ProxyHeader> {
        let place = place.field("added_tlvs");
        let version = match written.version {
            ProxyProtocolVersion::V1 => ProxyVersion::V1,
            ProxyProtocolVersion::V2 => ProxyVersion::V2,
        };
        if version == ProxyVersion::V1 && !written.added_tlvs.is_empty() {
            let message = "no effect: the header of version 1 has addresses alone";
            self.diagnostics.warning(place, message);
        }
        Some(ProxyHeader {
            version,
            tlvs: self.tlvs(&written.added_tlvs, place)?,
        })
    }

    /// What a header of the PROXY protocol has beside addresses.
    pub(super) fn tlvs(&mut self, written: &[TlvEntry], place: Place<'_>) -> Option<Vec<Tlv>> {
        let size: usize = written.iter().map(|tlv| 3 + tlv.value.get().len()).sum();
        if size > limits::PROXY_HEADER_TLV_BYTES {
            let message = format!("more than {} bytes", limits::PROXY_HEADER_TLV_BYTES);
            self.diagnostics.error(place, message);
            return None;
        }
        let tlvs = written.iter().map(|tlv| Tlv {
            kind: u8::try_from(tlv.r#type).unwrap_or(u8::MAX),
            value: tlv.value.get().into(),
        });
        Some(tlvs.collect())
    }

    fn tls_client(
        &mut self,
        cluster: &Written,
        written: &UpstreamTlsContext,
        place: Place<'_>,
    ) -> Option<TlsDial> {
        let common = place.field("common_tls_context");
        let given = &written.common_tls_context;
        let parameters = self.tls_parameters(given, Version::Tls13, common);
        let certificates = common.field(match *given.tls_certificate_sds_secret_configs {
            [] => "tls_certificates",
            _ => "tls_certificate_sds_secret_configs",
        });
        if given.tls_certificates.len() + given.tls_certificate_sds_secret_configs.len() > 1 {
            let message = "a client has one certificate";
            self.diagnostics.error(certificates.index(1), message);
        }
        let identities = self.identities(given, common);
        if written.allow_renegotiation {
            let here = place.field("allow_renegotiation");
            let message = "not supported by nuncio: renegotiation, which TLS 1.3 does not have";
            self.diagnostics.error(here, message);
        }
        let trust = self.trust(given, common)?;
        let spec = ClientSpec {
            identity: identities?.into_iter().next(),
            trust: trust.unwrap_or_else(|| Whence::Here(TrustSpec::default())),
            parameters: parameters?,
            sessions: written
                .max_session_keys
                .map_or(limits::TLS_UPSTREAM_SESSIONS, |most| most as usize),
        };
        let name = match cluster.alt_stat_name.as_str() {
            "" => &cluster.name,
            other => other,
        };
        let validation = validation_place(given, common);
        match Client::load(place.path(), spec, self.tls_stats(name)) {
            Ok(client) => Some(TlsDial {
                client: self.listed(client, validation),
                server_name: (!written.sni.is_empty()).then(|| written.sni.as_str().into()),
                asks_for_host: written.auto_host_sni,
            }),
            Err(wrong) => {
                for (part, error) in wrong {
                    let here = match part {
                        Part::Chain => certificates.index(0).field("certificate_chain"),
                        Part::Key => certificates.index(0).field("private_key"),
                        Part::Staple => certificates.index(0).field("ocsp_staple"),
                        Part::Authorities => validation.field("trusted_ca"),
                        Part::Revoked => validation.field("crl"),
                        Part::Secret | Part::TicketKey(_) | Part::Tickets => common,
                    };
                    self.diagnostics.error(here, error_chain(&error));
                }
                None
            }
        }
    }

    /// A context that is watched from now on.
    fn listed(&mut self, client: Client, validation: Place<'_>) -> Arc<Client> {
        if client
            .trust()
            .is_some_and(|trust| trust.accepts_untrusted())
        {
            let here = validation.field("trust_chain_verification");
            let message = "the certificates of these servers are not checked: anybody in between \
                           can read and change what is sent";
            self.diagnostics.warning(here, message);
        }
        let client = Arc::new(client);
        self.contexts.add(&client);
        client
    }

    /// The statistics of a cluster's sessions.
    fn tls_stats(&self, cluster: &str) -> ClientStats {
        let scope = || Scope::cluster(cluster);
        let signatures = Arc::new(Signatures::default());
        self.registry.register(scope(), &signatures);
        ClientStats {
            tls: self.registry.sharded(scope()),
            negotiated: self.registry.sharded(scope()),
            signatures,
        }
    }

    /// Which names requests ask for.
    pub(super) fn auto_names(&mut self, written: &Written, place: Place<'_>) -> AutoNames {
        let options = written.http_options();
        let names = options.and_then(|options| options.upstream_http_protocol_options.as_ref());
        let Some(names) = names else {
            return AutoNames::default();
        };
        let field = match names.override_auto_sni_header.as_str() {
            "" => None,
            text => match Name::parse(text.as_bytes()) {
                Ok(name) => Some(name),
                Err(error) => {
                    let here = place
                        .field("typed_extension_protocol_options")
                        .field("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
                        .field("upstream_http_protocol_options")
                        .field("override_auto_sni_header");
                    self.diagnostics.error(here, error.to_string());
                    None
                }
            },
        };
        AutoNames {
            asks: names.auto_sni,
            verifies: names.auto_san_validation,
            field,
        }
    }
}
