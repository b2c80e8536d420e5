//! `envoy.filters.http.stateful_session`.

use serde::{Deserialize, Serialize};

use crate::config::scalar::Duration;

/// `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession")]
pub struct StatefulSession {
    /// How a session is kept; without it the filter does nothing.
    #[serde(default)]
    pub session_state: Option<SessionState>,
    /// Whether a request whose endpoint may not be used is answered rather than sent to another.
    #[serde(default)]
    pub strict: bool,
    /// The status of such an answer; 503 by default.
    #[serde(default)]
    pub status_on_strict_destination_not_found: u32,
    /// What the statistics are called after; there are none by default.
    #[serde(default)]
    pub stat_prefix: String,
}

/// `envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute")]
pub struct StatefulSessionPerRoute {
    /// Whether, or which.
    #[serde(rename = "oneof:override")]
    pub specifier: SessionOverride,
}

/// `StatefulSessionPerRoute.override`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionOverride {
    /// There are no sessions.
    Disabled(bool),
    /// Other ones.
    StatefulSession(Box<StatefulSession>),
}

/// `envoy.config.core.v3.TypedExtensionConfig` of how a session is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.TypedExtensionConfig")]
pub struct SessionState {
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// How.
    #[serde(rename = "any:typed_config")]
    pub state: TypedSessionState,
}

/// The ways to keep a session.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:session state")]
pub enum TypedSessionState {
    /// In a cookie.
    #[serde(rename = "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState")]
    Cookie(CookieBasedSessionState),
    /// In a header field.
    #[serde(rename = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState")]
    Header(HeaderBasedSessionState),
    /// Around the value of a header field that the endpoint itself sets.
    #[serde(rename = "envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState")]
    Envelope(EnvelopeSessionState),
}

/// `envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState")]
pub struct CookieBasedSessionState {
    /// Which.
    pub cookie: SessionCookie,
}

/// `envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState")]
pub struct HeaderBasedSessionState {
    /// The name of the field.
    pub name: String,
}

/// `envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState")]
pub struct EnvelopeSessionState {
    /// Which field.
    pub header: EnvelopeSessionHeader,
}

/// `EnvelopeSessionState.Header`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState.Header")]
pub struct EnvelopeSessionHeader {
    /// The name.
    pub name: String,
}

/// `envoy.type.http.v3.Cookie`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.type.http.v3.Cookie")]
pub struct SessionCookie {
    /// The name.
    pub name: String,
    /// How long it lasts; as long as the client runs where it is 0 or absent.
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// The paths for which it counts; all by default.
    #[serde(default)]
    pub path: String,
    /// More attributes.
    #[serde(default)]
    pub attributes: Vec<SessionCookieAttribute>,
}

/// `envoy.type.http.v3.CookieAttribute`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.type.http.v3.CookieAttribute")]
pub struct SessionCookieAttribute {
    /// The name.
    pub name: String,
    /// The value; none where it is empty.
    #[serde(default)]
    pub value: String,
}
