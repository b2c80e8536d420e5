//! Why a message is refused, and what Envoy answers then.
//!
//! Owns the list of verdicts. Does not own when each is reached (`head`, `body`), nor the reply
//! itself: the connection manager makes it from the parts that a verdict names.

use crate::exchange::Flags;

use super::field::BadField;

/// Why a request is refused. The connection is closed after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// It breaks the syntax of RFC 9112, or the method is none that is known.
    #[error("request breaks the syntax of http/1.1")]
    Malformed,
    /// A control byte stands where none may.
    #[error("request has a control character")]
    InvalidCharacters,
    /// `host` is there twice, or is no host.
    #[error("host of the request is not a host")]
    InvalidAuthority,
    /// The target has none of the forms of RFC 9112 §3.2, or has user information.
    #[error("target of the request is not a url")]
    InvalidTarget,
    /// The target's scheme is neither `http` nor `https`.
    #[error("scheme of the request's target is neither http nor https")]
    InvalidScheme,
    /// A target of `https` came in clear text to a proxy that trusts nobody before it. The parser itself never
    /// says so.
    #[error("target of the request is one of https, which is not spoken")]
    HttpsInClear,
    /// Both `content-length` and `transfer-encoding`.
    #[error("request has both content-length and transfer-encoding")]
    LengthAndChunked,
    /// A transfer coding other than `chunked` alone.
    #[error("transfer-encoding of the request is not chunked alone")]
    TransferEncoding,
    /// `CONNECT` with a body.
    #[error("connect request has a body")]
    BodyOfConnect,
    /// HTTP/1.0 where it is not accepted, or no version of HTTP/1.
    #[error("http version of the request is not accepted")]
    LowVersion,
    /// More bytes than [`super::HeadLimits::bytes`].
    #[error("head of the request is too large")]
    HeadTooLarge,
    /// The same over HTTP/2, where fields count for more than their bytes (RFC 9113 §6.5.2).
    #[error("head of the request is too large")]
    FieldsTooLarge,
    /// More field lines than [`super::HeadLimits::fields`].
    #[error("request has too many header fields")]
    TooManyFields,
    /// An underscore in a field name, where that is configured to be refused.
    #[error("header name of the request has an underscore")]
    Underscore,
    /// `connection` names a field that no hop may remove. The parser itself never says so.
    #[error("connection header names a protected field")]
    ConnectionHeader,
    /// No `host`, where the target does not say either.
    #[error("request has no host")]
    MissingHost,
    /// The target has a fragment.
    #[error("target of the request has a fragment")]
    Fragment,
}

impl From<BadField> for Reject {
    fn from(bad: BadField) -> Self {
        match bad {
            BadField::Syntax => Self::Malformed,
            BadField::Control => Self::InvalidCharacters,
        }
    }
}

impl Reject {
    /// Status of the reply.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TransferEncoding => 501,
            Self::HttpsInClear => 403,
            Self::LowVersion => 426,
            Self::HeadTooLarge | Self::FieldsTooLarge | Self::TooManyFields => 431,
            Self::Malformed
            | Self::InvalidCharacters
            | Self::InvalidAuthority
            | Self::InvalidTarget
            | Self::InvalidScheme
            | Self::LengthAndChunked
            | Self::BodyOfConnect
            | Self::Underscore
            | Self::ConnectionHeader
            | Self::MissingHost
            | Self::Fragment => 400,
        }
    }

    /// Body of the reply; empty where the head is known, as in Envoy.
    #[must_use]
    pub const fn body(self) -> &'static str {
        match self.status() {
            _ if self.head_is_known() => "",
            501 => "Not Implemented",
            403 => "Forbidden",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            _ => "Bad Request",
        }
    }

    /// `%RESPONSE_CODE_DETAILS%`.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::Malformed => "http1.codec_error",
            Self::InvalidCharacters => "http1.invalid_characters",
            Self::InvalidAuthority => "http.invalid_authority",
            Self::InvalidTarget => "http1.invalid_url",
            Self::InvalidScheme => "http1.invalid_scheme",
            Self::HttpsInClear => "http1.https_url_on_plaintext_connection",
            Self::LengthAndChunked => "http1.content_length_and_chunked_not_allowed",
            Self::TransferEncoding => "http1.invalid_transfer_encoding",
            Self::BodyOfConnect => "http1.body_disallowed",
            Self::LowVersion => "low_version",
            Self::HeadTooLarge => "http1.headers_too_large",
            Self::FieldsTooLarge => "http2.header_list_size_too_large",
            Self::TooManyFields => "http1.too_many_headers",
            Self::Underscore => "http1.unexpected_underscore",
            Self::ConnectionHeader => "http1.connection_header_rejected",
            Self::MissingHost => "missing_host_header",
            Self::Fragment => "path_normalization_failed",
        }
    }

    /// `%RESPONSE_FLAGS%`.
    #[must_use]
    pub const fn flags(self) -> Flags {
        if self.head_is_known() {
            Flags::NONE
        } else {
            Flags::DOWNSTREAM_PROTOCOL_ERROR
        }
    }

    /// Whether the block holds the whole head, so that an access log shows method and path. For the
    /// other verdicts it holds some of it, and Envoy logs none.
    #[must_use]
    pub const fn head_is_known(self) -> bool {
        matches!(self, Self::MissingHost | Self::Fragment)
    }
}

/// Why an upstream's response is refused. Envoy answers 502 with the flag `UPE` and `protocol_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// It breaks the syntax of RFC 9112.
    #[error("response breaks the syntax of http/1.1")]
    Malformed,
    /// A control byte stands where none may.
    #[error("response has a control character")]
    InvalidCharacters,
    /// More bytes than [`super::HeadLimits::bytes`].
    #[error("head of the response is too large")]
    TooLarge,
    /// More field lines than [`super::HeadLimits::fields`].
    #[error("response has too many header fields")]
    TooManyFields,
    /// Both `content-length` and `transfer-encoding`.
    #[error("response has both content-length and transfer-encoding")]
    LengthAndChunked,
    /// A transfer coding other than `chunked` alone.
    #[error("transfer-encoding of the response is not chunked alone")]
    TransferEncoding,
    /// A body that the status forbids (RFC 9110 §8.6, RFC 9112 §6.1).
    #[error("response has a body that its status forbids")]
    BodyForbidden,
}

impl From<BadField> for BadResponse {
    fn from(bad: BadField) -> Self {
        match bad {
            BadField::Syntax => Self::Malformed,
            BadField::Control => Self::InvalidCharacters,
        }
    }
}

/// Why a body or its trailers are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The line before a chunk is no size, or one over 64 bits.
    #[error("size of a chunk is not a hexadecimal number")]
    ChunkSize,
    /// A chunk extension is malformed, or there is more framing than data deserves.
    #[error("chunk extension is malformed or too long")]
    ChunkExtension,
    /// A chunk is not followed by CRLF.
    #[error("chunk is not followed by a line end")]
    ChunkEnd,
    /// A trailer field breaks the syntax.
    #[error("trailer field breaks the syntax of http/1.1")]
    Trailers,
    /// A trailer field has a control byte.
    #[error("trailer field has a control character")]
    TrailerCharacters,
    /// The trailer section has more bytes than [`super::HeadLimits::bytes`].
    #[error("trailer section is too large")]
    TrailersTooLarge,
    /// The trailer section has more lines than [`super::HeadLimits::fields`].
    #[error("trailer section has too many fields")]
    TooManyTrailers,
    /// A trailer field's name has an underscore, where that is configured to be refused.
    #[error("trailer field has an underscore in its name")]
    Underscore,
    /// The peer closed before the end.
    #[error("connection was closed before the end of the body")]
    Truncated,
}

impl From<BadField> for BodyError {
    fn from(bad: BadField) -> Self {
        match bad {
            BadField::Syntax => Self::Trailers,
            BadField::Control => Self::TrailerCharacters,
        }
    }
}

impl BodyError {
    /// The verdict on the request that has this body.
    #[must_use]
    pub const fn reject(self) -> Reject {
        match self {
            Self::TrailersTooLarge => Reject::HeadTooLarge,
            Self::TooManyTrailers => Reject::TooManyFields,
            Self::TrailerCharacters => Reject::InvalidCharacters,
            Self::Underscore => Reject::Underscore,
            Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::Trailers
            | Self::Truncated => Reject::Malformed,
        }
    }
}
