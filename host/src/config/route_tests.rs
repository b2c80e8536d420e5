//! Tests of routes: what a request is to find, for `nuncio routes check`.
//!
//! Owns the form of a test file. It is that of Envoy's `router_check_tool`, as far as it is about
//! routes, with `route_name`, `status` and `client_certificate` added.

use serde::{Deserialize, Serialize};

use crate::config::header::{HeaderMatcher, HeaderValue};

/// A test file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "nuncio.routes.v1.Tests")]
pub struct RouteTests {
    /// The tests, in their order.
    pub tests: Vec<RouteTest>,
}

/// A request and what it is to find.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "nuncio.routes.v1.Test")]
pub struct RouteTest {
    /// The name, for the report.
    pub test_name: String,
    /// The request.
    pub input: RouteTestInput,
    /// What is expected; what is not set is not looked at.
    pub validate: RouteTestExpectation,
}

/// A request that was never sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "nuncio.routes.v1.Input")]
pub struct RouteTestInput {
    /// `host`.
    pub authority: String,
    /// Path and query; none for CONNECT.
    #[serde(default)]
    pub path: String,
    /// The method; `GET` by default.
    #[serde(default)]
    pub method: String,
    /// Whether it came over TLS, or a proxy before said so.
    #[serde(default)]
    pub ssl: bool,
    /// Whether it is one of the mesh's own: `x-envoy-internal`.
    #[serde(default)]
    pub internal: bool,
    /// The stream's number, which decides what is left to chance; 0 by default.
    #[serde(default)]
    pub random_value: u64,
    /// The certificate that the client sent over TLS.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// Further fields of the request.
    #[serde(default)]
    pub additional_request_headers: Vec<HeaderValue>,
    /// Fields of the upstream's response, for the changes that the route makes to it.
    #[serde(default)]
    pub additional_response_headers: Vec<HeaderValue>,
}

/// What certificate a client sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "nuncio.routes.v1.ClientCertificate",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum ClientCertificate {
    /// None.
    #[default]
    None,
    /// One that was not checked, or not found good.
    Presented,
    /// One that was found good.
    Validated,
}

/// What a request is to find.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "nuncio.routes.v1.Expectation")]
pub struct RouteTestExpectation {
    /// The cluster; empty where the request goes to none.
    #[serde(default)]
    pub cluster_name: Option<String>,
    /// The virtual host; empty where none has a domain for the request.
    #[serde(default)]
    pub virtual_host_name: Option<String>,
    /// The route by its name; empty where none matches or it has none.
    #[serde(default)]
    pub route_name: Option<String>,
    /// The host that the upstream sees.
    #[serde(default)]
    pub host_rewrite: Option<String>,
    /// Path and query that the upstream sees.
    #[serde(default)]
    pub path_rewrite: Option<String>,
    /// The URL that the client is sent to; empty where it is not.
    #[serde(default)]
    pub path_redirect: Option<String>,
    /// The status of a redirect or direct response.
    #[serde(default)]
    pub status: Option<u32>,
    /// Fields that the upstream sees.
    #[serde(default)]
    pub request_header_matches: Vec<HeaderMatcher>,
    /// Fields that the client sees.
    #[serde(default)]
    pub response_header_matches: Vec<HeaderMatcher>,
}
