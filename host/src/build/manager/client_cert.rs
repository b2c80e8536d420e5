//! What upstreams are told of clients' certificates: for all requests, or decided by request.

use std::sync::Arc;

use super::super::Workshop;
use super::super::routes::TreeInput;
use crate::config::Place;
use crate::config::client_cert_matcher::{ClientInput, ToldOfClient};
use crate::config::http_connection_manager::{
    ForwardClientCertDetails, HttpConnectionManager, SetCurrentClientCertDetails,
};
use crate::http::client_cert::Details;
use crate::http::hygiene::{ClientCert, ClientCertChoice};
use crate::route::Decision;
use crate::route::spec::InputSpec;

impl TreeInput for ClientInput {
    fn spec(&self) -> InputSpec {
        match self {
            Self::Header(header) => InputSpec::Field(header.header_name.clone()),
            Self::UriSan(_) => InputSpec::UriNames,
            Self::DnsSan(_) => InputSpec::DnsNames,
            Self::Subject(_) => InputSpec::Subject,
        }
    }
}

impl Workshop<'_> {
    /// What decides by request, where anything does.
    pub(super) fn client_cert_by(
        &mut self,
        written: &HttpConnectionManager,
        place: Place<'_>,
    ) -> Option<Arc<ClientCertChoice>> {
        let matcher = written.forward_client_cert_matcher.as_ref()?;
        let place = place.field("forward_client_cert_matcher");
        let mut all = Vec::new();
        let mut reached = |_: &mut Self, led_to: &ToldOfClient, _: Place<'_>| {
            let ToldOfClient::Config(config) = led_to;
            all.push(told(
                config.forward_client_cert_details,
                config.set_current_client_cert_details.as_ref(),
            ));
            all.len() - 1..all.len()
        };
        let spec = self.tree(matcher, place, &mut reached);
        let by = self.of_routes(Decision::new(&spec), place)?;
        Some(Arc::new(ClientCertChoice {
            by,
            all: all.into(),
        }))
    }
}

/// What happens with `x-forwarded-client-cert`.
pub(super) fn told(
    written: ForwardClientCertDetails,
    asked: Option<&SetCurrentClientCertDetails>,
) -> ClientCert {
    let details = || asked.map(details).unwrap_or_default();
    match written {
        ForwardClientCertDetails::AlwaysForwardOnly => ClientCert::Keep,
        ForwardClientCertDetails::ForwardOnly => ClientCert::KeepOfKnown,
        ForwardClientCertDetails::Sanitize => ClientCert::Remove,
        ForwardClientCertDetails::AppendForward => ClientCert::Append(details()),
        ForwardClientCertDetails::SanitizeSet => ClientCert::Set(details()),
    }
}

fn details(asked: &SetCurrentClientCertDetails) -> Details {
    Details {
        subject: asked.subject.unwrap_or(false),
        cert: asked.cert,
        chain: asked.chain,
        dns: asked.dns,
        uri: asked.uri,
    }
}
