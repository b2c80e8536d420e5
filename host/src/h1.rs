//! HTTP/1.1 on the wire: bytes to a block of fields and back, for both sides of the proxy.
//!
//! Owns the syntax of RFC 9112 and the verdict on every message that breaks it: a request that two
//! parties could read differently is refused here, never repaired. Where Envoy forgives something of
//! that kind, this codec does not; it is never laxer than Envoy. It does no input or output: the
//! caller owns the buffers.
//!
//! Does not own: which fields may pass a proxy (`http::hygiene`), connections, timeouts, or what is
//! answered when a message is refused. The connection loops of `http` call it, and health checks.

pub mod body;
pub mod encode;
mod field;
pub mod head;
mod reject;
mod words;

use crate::headers::NameFormat;
use crate::limits;

/// How the end of a message's body is found (RFC 9112 §6.3): what a parser saw, and what an encoder
/// is told to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The head says that there is no body.
    None,
    /// As many bytes as `content-length` says. Zero where the field says zero.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
    /// Everything until the peer closes. Responses only.
    UntilClose,
}

impl BodyLength {
    /// Whether the message ends with its head.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// What a request's method means to the framing of the request and of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// `GET`.
    Get,
    /// `HEAD`: its response has no body whatever its fields say.
    Head,
    /// `CONNECT`: a 2xx response to it starts a tunnel.
    Connect,
    /// Any other.
    Other,
}

impl MethodKind {
    /// The kind of a method, which is case-sensitive.
    #[must_use]
    pub fn of(method: &[u8]) -> Self {
        match method {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// How large a head, or a trailer section, may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes on the wire, from the first of the start line to the empty line.
    pub bytes: u32,
    /// Field lines.
    pub fields: u32,
}

impl HeadLimits {
    /// Envoy's defaults for a request.
    pub const REQUEST: Self = Self {
        bytes: limits::REQUEST_HEADERS_KB * 1024,
        fields: limits::HEADERS_COUNT,
    };
    /// Envoy's defaults for a response.
    pub const RESPONSE: Self = Self {
        bytes: limits::RESPONSE_HEADERS_BYTES as u32,
        fields: limits::HEADERS_COUNT,
    };
}

/// What a cluster's configuration says about the responses that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// `max_response_headers_kb` and `max_headers_count`.
    pub limits: HeadLimits,
    /// `http_protocol_options.allow_chunked_length`, as in [`RequestRules`].
    pub allow_chunked_length: bool,
}

impl Default for ResponseRules {
    fn default() -> Self {
        Self {
            limits: HeadLimits::RESPONSE,
            allow_chunked_length: false,
        }
    }
}

/// What to do with a field whose name has an underscore
/// (`common_http_protocol_options.headers_with_underscores_action`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// Keep it.
    #[default]
    Allow,
    /// Refuse the request.
    Reject,
    /// Leave the field out.
    Drop,
}

impl Underscores {
    /// What to do with a field of that name.
    pub(crate) fn on(self, name: &[u8]) -> Self {
        match self {
            Self::Reject | Self::Drop if memchr::memchr(b'_', name).is_some() => self,
            Self::Allow | Self::Reject | Self::Drop => Self::Allow,
        }
    }
}

/// What a listener's configuration says about the requests that it takes.
#[derive(Clone, Debug)]
pub struct RequestRules {
    /// `max_request_headers_kb` and `max_headers_count`.
    pub limits: HeadLimits,
    /// `headers_with_underscores_action`.
    pub underscores: Underscores,
    /// `http_protocol_options.accept_http_10`. Off: HTTP/1.0 is answered with 426.
    pub accept_http_10: bool,
    /// `http_protocol_options.default_host_for_http_10`: the authority of an HTTP/1.0 request without
    /// `host`. Empty: such a request is refused.
    pub default_host_for_http_10: Box<[u8]>,
    /// `http_protocol_options.allow_absolute_url`. Off: an absolute-form target is left as it is, and
    /// is no path that any route has.
    pub allow_absolute_url: bool,
    /// `http_protocol_options.allow_chunked_length`. On: chunks count where there is a length as well,
    /// which is taken out (RFC 9112 §6.3). Off: such a request is refused.
    pub allow_chunked_length: bool,
    /// `http_protocol_options.header_key_format`: whether the spelling of names is kept.
    pub names: NameFormat,
    /// `http_protocol_options.allow_custom_methods`. Off: only known methods are taken.
    pub allow_custom_methods: bool,
}

impl Default for RequestRules {
    fn default() -> Self {
        Self {
            limits: HeadLimits::REQUEST,
            underscores: Underscores::Allow,
            accept_http_10: false,
            default_host_for_http_10: Box::default(),
            allow_absolute_url: true,
            allow_chunked_length: false,
            names: NameFormat::default(),
            allow_custom_methods: false,
        }
    }
}

/// Parses `1*DIGIT` without overflow: no sign, no space, no list.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
