//! What is written in a configuration: `envoy.extensions.filters.http.stateful_session.v3`.

use nuncio_filter_config::Duration;
use serde::Deserialize;

/// `StatefulSession`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// How the session is kept; without it there are none.
    pub session_state: Option<SessionState>,
    /// Whether a request whose endpoint may not be used is answered rather than sent to another.
    #[serde(default)]
    pub strict: bool,
    /// The status of such an answer; 503 where it is 0.
    #[serde(default)]
    pub status_on_strict_destination_not_found: u32,
    /// What the statistics are called after; there are none where it is empty.
    #[serde(default)]
    pub stat_prefix: String,
}

/// `StatefulSessionPerRoute`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteConfig {
    /// The type URL, if the proxy hands it over.
    #[serde(default, rename = "@type")]
    _type: Option<String>,
    /// There are no sessions.
    pub(crate) disabled: Option<bool>,
    /// Other ones.
    pub(crate) stateful_session: Option<Config>,
}

/// `session_state`, an extension.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionState {
    /// A name for people.
    #[serde(default, rename = "name")]
    _name: String,
    /// The extension.
    pub typed_config: State,
}

/// The extensions.
#[derive(Debug, Deserialize)]
#[serde(tag = "@type", deny_unknown_fields)]
pub enum State {
    /// In a cookie.
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState"
    )]
    Cookie {
        /// Which one.
        cookie: Cookie,
    },
    /// In a header field.
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState"
    )]
    Header {
        /// Its name.
        name: String,
    },
    /// Around the value of a header field that the endpoint itself sets.
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState"
    )]
    Envelope {
        /// Which one.
        header: EnvelopeHeader,
    },
}

/// `EnvelopeSessionState.Header`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeHeader {
    /// The name of the field.
    pub name: String,
}

/// `envoy.type.http.v3.Cookie`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cookie {
    /// The name.
    pub name: String,
    /// How long it lasts; as long as the client runs where it is 0 or absent.
    pub ttl: Option<Duration>,
    /// The paths for which it counts; all where it is empty.
    #[serde(default)]
    pub path: String,
    /// More attributes.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

/// `envoy.type.http.v3.CookieAttribute`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// The value; none where it is empty.
    #[serde(default)]
    pub value: String,
}
