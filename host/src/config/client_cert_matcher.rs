//! A tree of matchers that decides what is told of a client's certificate:
//! `HttpConnectionManager.forward_client_cert_matcher`.

use serde::{Deserialize, Serialize};

use super::http_connection_manager::{ForwardClientCertDetails, SetCurrentClientCertDetails};
use super::route::{HeaderMatchInput, Matcher};

/// `HttpConnectionManager.forward_client_cert_matcher`.
pub type ClientCertMatcher = Matcher<ClientInput, ToldOfClient>;

/// What is known of a request and of the certificate that its client has shown.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:input of a request")]
pub enum ClientInput {
    /// A field of the request.
    #[serde(rename = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput")]
    Header(HeaderMatchInput),
    /// The URIs of the certificate, with commas in between.
    #[serde(rename = "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput")]
    UriSan(UriSanInput),
    /// Its DNS names, with commas in between.
    #[serde(rename = "envoy.extensions.matching.common_inputs.ssl.v3.DnsSanInput")]
    DnsSan(DnsSanInput),
    /// Its subject.
    #[serde(rename = "envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput")]
    Subject(SubjectInput),
}

/// `envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput")]
pub struct UriSanInput {}

/// `envoy.extensions.matching.common_inputs.ssl.v3.DnsSanInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.ssl.v3.DnsSanInput")]
pub struct DnsSanInput {}

/// `envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput")]
pub struct SubjectInput {}

/// What a tree leads to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:what is told of a client")]
pub enum ToldOfClient {
    /// What the manager's own fields say for all requests.
    #[serde(
        rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig"
    )]
    Config(ForwardClientCertConfig),
}

/// `HttpConnectionManager.ForwardClientCertConfig`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(
    rename = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig"
)]
pub struct ForwardClientCertConfig {
    /// What happens with `x-forwarded-client-cert`.
    #[serde(default)]
    pub forward_client_cert_details: ForwardClientCertDetails,
    /// What it says of the certificate of this connection.
    #[serde(default)]
    pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
}
