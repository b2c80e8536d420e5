//! Names of fields.
//!
//! Owns the names that the proxy knows by number, what Envoy does with several lines of one of them,
//! and what may stand in a name and in a value at all. Does not own blocks of fields (`super`).

use std::fmt;
use std::sync::{Arc, LazyLock};

macro_rules! known_names {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// The field names that the proxy itself has an interest in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each variant is the field name that it stands for")]
        pub enum Known { $($variant),+ }

        impl Known {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The lower-case name.
            #[must_use]
            #[inline]
            #[expect(clippy::indexing_slicing, reason = "each variant has its place")]
            pub const fn as_str(self) -> &'static str {
                const NAMES: [&str; Known::ALL.len()] = [$($name),+];
                NAMES[self as usize]
            }

            /// The lower-case name as a line of HTTP/1 begins with it.
            #[must_use]
            #[inline]
            #[expect(clippy::indexing_slicing, reason = "each variant has its place")]
            pub const fn as_line(self) -> &'static str {
                const LINES: [&str; Known::ALL.len()] = [$(concat!($name, ": ")),+];
                LINES[self as usize]
            }
        }
    };
}

known_names! {
    Method = ":method", Scheme = ":scheme", Authority = ":authority", Path = ":path",
    Status = ":status", Protocol = ":protocol",
    Accept = "accept", AcceptEncoding = "accept-encoding", AcceptLanguage = "accept-language",
    AccessControlAllowCredentials = "access-control-allow-credentials",
    AccessControlAllowHeaders = "access-control-allow-headers",
    AccessControlAllowMethods = "access-control-allow-methods",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlAllowPrivateNetwork = "access-control-allow-private-network",
    AccessControlExposeHeaders = "access-control-expose-headers",
    AccessControlMaxAge = "access-control-max-age",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestPrivateNetwork = "access-control-request-private-network",
    Age = "age", Allow = "allow", Authentication = "authentication", Authorization = "authorization",
    CacheControl = "cache-control", CdnLoop = "cdn-loop",
    Connection = "connection", ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding", ContentLanguage = "content-language",
    ContentLength = "content-length", ContentLocation = "content-location",
    ContentRange = "content-range", ContentType = "content-type", Cookie = "cookie", Date = "date",
    Etag = "etag", Expect = "expect", Expires = "expires", Forwarded = "forwarded",
    GrpcAcceptEncoding = "grpc-accept-encoding", GrpcMessage = "grpc-message", GrpcStatus = "grpc-status", GrpcTimeout = "grpc-timeout",
    Http2Settings = "http2-settings",
    IfMatch = "if-match", IfModifiedSince = "if-modified-since", IfNoneMatch = "if-none-match",
    IfRange = "if-range", IfUnmodifiedSince = "if-unmodified-since",
    KeepAlive = "keep-alive", LastModified = "last-modified", Link = "link",
    Location = "location", Origin = "origin", Pragma = "pragma",
    ProxyConnection = "proxy-connection", ProxyStatus = "proxy-status",
    ProxyAuthenticate = "proxy-authenticate", ProxyAuthorization = "proxy-authorization",
    Range = "range", Referer = "referer", RetryAfter = "retry-after", Server = "server",
    SetCookie = "set-cookie", Te = "te", Trailer = "trailer",
    TransferEncoding = "transfer-encoding", Upgrade = "upgrade", UserAgent = "user-agent",
    Vary = "vary", Via = "via", WwwAuthenticate = "www-authenticate",
    XClientTraceId = "x-client-trace-id",
    XEnvoyAttemptCount = "x-envoy-attempt-count",
    XEnvoyDecoratorOperation = "x-envoy-decorator-operation", XEnvoyDegraded = "x-envoy-degraded",
    XEnvoyDownstreamServiceCluster = "x-envoy-downstream-service-cluster",
    XEnvoyDownstreamServiceNode = "x-envoy-downstream-service-node",
    XEnvoyExpectedRqTimeoutMs = "x-envoy-expected-rq-timeout-ms",
    XEnvoyExternalAddress = "x-envoy-external-address",
    XEnvoyForceTrace = "x-envoy-force-trace",
    XEnvoyHedgeOnPerTryTimeout = "x-envoy-hedge-on-per-try-timeout",
    XEnvoyImmediateHealthCheckFail = "x-envoy-immediate-health-check-fail",
    XEnvoyInternal = "x-envoy-internal", XEnvoyIpTags = "x-envoy-ip-tags",
    XEnvoyIsTimeoutRetry = "x-envoy-is-timeout-retry",
    XEnvoyMaxRetries = "x-envoy-max-retries", XEnvoyOriginalHost = "x-envoy-original-host",
    XEnvoyOriginalPath = "x-envoy-original-path", XEnvoyOriginalUrl = "x-envoy-original-url",
    XEnvoyOverloaded = "x-envoy-overloaded", XEnvoyRatelimited = "x-envoy-ratelimited",
    XEnvoyRetriableHeaderNames = "x-envoy-retriable-header-names",
    XEnvoyRetriableStatusCodes = "x-envoy-retriable-status-codes",
    XEnvoyRetryGrpcOn = "x-envoy-retry-grpc-on", XEnvoyRetryOn = "x-envoy-retry-on",
    XEnvoyUpstreamAltStatName = "x-envoy-upstream-alt-stat-name",
    XEnvoyUpstreamCanary = "x-envoy-upstream-canary",
    XEnvoyUpstreamHealthcheckedCluster = "x-envoy-upstream-healthchecked-cluster",
    XEnvoyUpstreamRqPerTryTimeoutMs = "x-envoy-upstream-rq-per-try-timeout-ms",
    XEnvoyUpstreamRqTimeoutAltResponse = "x-envoy-upstream-rq-timeout-alt-response",
    XEnvoyUpstreamRqTimeoutMs = "x-envoy-upstream-rq-timeout-ms",
    XEnvoyUpstreamServiceTime = "x-envoy-upstream-service-time",
    XEnvoyUpstreamStreamDurationMs = "x-envoy-upstream-stream-duration-ms",
    XForwardedClientCert = "x-forwarded-client-cert",
    XForwardedFor = "x-forwarded-for", XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port", XForwardedProto = "x-forwarded-proto", XRequestId = "x-request-id",
}

/// Length of the longest known name; longer names skip the lookup.
const LONGEST_KNOWN: usize = 40;

/// The last and the first bytes of a name as numbers, eight of each, or four, or all and nothing: names have
/// common beginnings. With `FOLD` they are those of the name in lower case, if it has no control byte.
fn ends<const FOLD: bool>(name: &[u8]) -> (u64, u64) {
    // Of letters, digits, `-` and `:` this bit is the case and nothing else.
    const CASE: u8 = b'a' ^ b'A';
    let case = if FOLD { CASE } else { 0 };
    if let (Some(last), Some(first)) = (name.last_chunk(), name.first_chunk()) {
        let case = u64::from_ne_bytes([case; 8]);
        (
            u64::from_le_bytes(*last) | case,
            u64::from_le_bytes(*first) | case,
        )
    } else if let (Some(last), Some(first)) = (name.last_chunk(), name.first_chunk()) {
        let case = u32::from_ne_bytes([case; 4]);
        (
            u64::from(u32::from_le_bytes(*last) | case),
            u64::from(u32::from_le_bytes(*first) | case),
        )
    } else {
        let push = |number, byte: &u8| number << 8 | u64::from(*byte | case);
        (name.iter().fold(0, push), 0)
    }
}

impl Known {
    /// The known name equal to `name`, which must already be lower case.
    #[must_use]
    pub fn find(name: &[u8]) -> Option<Self> {
        find(name, ends::<false>(name), |known| known == name)
    }

    /// The known name that `name` is in any case. It must have no control byte.
    #[must_use]
    pub fn find_in_any_case(name: &[u8]) -> Option<Self> {
        find(name, ends::<true>(name), |known| {
            known.eq_ignore_ascii_case(name)
        })
    }

    /// Whether this is a pseudo-header field (RFC 9113 §8.3).
    #[must_use]
    pub const fn is_pseudo(self) -> bool {
        matches!(
            self,
            Self::Method
                | Self::Scheme
                | Self::Authority
                | Self::Path
                | Self::Status
                | Self::Protocol
        )
    }

    /// Whether Envoy keeps this field of a request in one line: a further value joins the first
    /// with `,` instead of standing in a line of its own. Observed for 1.40.
    #[must_use]
    pub const fn joins_in_request(self) -> bool {
        matches!(
            self,
            Self::Accept
                | Self::AcceptEncoding
                | Self::AccessControlRequestHeaders
                | Self::AccessControlRequestMethod
                | Self::AccessControlRequestPrivateNetwork
                | Self::Authentication
                | Self::Authorization
                | Self::CacheControl
                | Self::CdnLoop
                | Self::Connection
                | Self::ContentEncoding
                | Self::ContentLength
                | Self::ContentType
                | Self::Expect
                | Self::GrpcAcceptEncoding
                | Self::GrpcTimeout
                | Self::IfMatch
                | Self::IfModifiedSince
                | Self::IfNoneMatch
                | Self::IfRange
                | Self::IfUnmodifiedSince
                | Self::KeepAlive
                | Self::Origin
                | Self::Pragma
                | Self::ProxyConnection
                | Self::ProxyStatus
                | Self::Referer
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::UserAgent
                | Self::Via
                | Self::XClientTraceId
                | Self::XEnvoyAttemptCount
                | Self::XEnvoyDecoratorOperation
                | Self::XEnvoyDownstreamServiceCluster
                | Self::XEnvoyDownstreamServiceNode
                | Self::XEnvoyExpectedRqTimeoutMs
                | Self::XEnvoyExternalAddress
                | Self::XEnvoyForceTrace
                | Self::XEnvoyHedgeOnPerTryTimeout
                | Self::XEnvoyInternal
                | Self::XEnvoyIpTags
                | Self::XEnvoyIsTimeoutRetry
                | Self::XEnvoyMaxRetries
                | Self::XEnvoyOriginalHost
                | Self::XEnvoyOriginalPath
                | Self::XEnvoyOriginalUrl
                | Self::XEnvoyRetriableHeaderNames
                | Self::XEnvoyRetriableStatusCodes
                | Self::XEnvoyRetryGrpcOn
                | Self::XEnvoyRetryOn
                | Self::XEnvoyUpstreamAltStatName
                | Self::XEnvoyUpstreamRqPerTryTimeoutMs
                | Self::XEnvoyUpstreamRqTimeoutAltResponse
                | Self::XEnvoyUpstreamRqTimeoutMs
                | Self::XEnvoyUpstreamStreamDurationMs
                | Self::XForwardedClientCert
                | Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedPort
                | Self::XForwardedProto
                | Self::XRequestId
        )
    }

    /// Whether several lines of that name in the trailers of a response are one, in Envoy too.
    #[must_use]
    pub const fn joins_in_trailers(self) -> bool {
        matches!(self, Self::GrpcStatus | Self::GrpcMessage)
    }

    /// [`Known::joins_in_request`] for a response.
    #[must_use]
    pub const fn joins_in_response(self) -> bool {
        matches!(
            self,
            Self::AccessControlAllowCredentials
                | Self::AccessControlAllowHeaders
                | Self::AccessControlAllowMethods
                | Self::AccessControlAllowOrigin
                | Self::AccessControlAllowPrivateNetwork
                | Self::AccessControlExposeHeaders
                | Self::AccessControlMaxAge
                | Self::Age
                | Self::CacheControl
                | Self::Connection
                | Self::ContentEncoding
                | Self::ContentLength
                | Self::ContentType
                | Self::Date
                | Self::Etag
                | Self::Expires
                | Self::GrpcMessage
                | Self::GrpcStatus
                | Self::KeepAlive
                | Self::LastModified
                | Self::Location
                | Self::ProxyConnection
                | Self::ProxyStatus
                | Self::Server
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Vary
                | Self::Via
                | Self::XEnvoyAttemptCount
                | Self::XEnvoyDecoratorOperation
                | Self::XEnvoyDegraded
                | Self::XEnvoyImmediateHealthCheckFail
                | Self::XEnvoyRatelimited
                | Self::XEnvoyUpstreamCanary
                | Self::XEnvoyUpstreamHealthcheckedCluster
                | Self::XEnvoyUpstreamServiceTime
                | Self::XRequestId
        )
    }

    /// Its place in a set of names.
    pub(super) const fn bit(self) -> u128 {
        1 << (self as u8)
    }
}

/// The known name that has the ends of `name` and that `is_same` says to be it.
fn find(name: &[u8], ends_of_name: (u64, u64), is_same: impl Fn(&[u8]) -> bool) -> Option<Known> {
    /// Names of one length, each with its ends: up to 16 bytes they are all of it.
    type Row = Vec<((u64, u64), &'static [u8], Known)>;
    static BY_LENGTH: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let mut table = vec![Row::new(); LONGEST_KNOWN + 1];
        let names = Known::ALL.iter().map(|known| (known.as_str(), *known));
        for (name, known) in names.chain([("host", Known::Authority)]) {
            let name = name.as_bytes();
            if let Some(row) = table.get_mut(name.len()) {
                row.push((ends::<false>(name), name, known));
            }
        }
        table
    });
    let is_all = name.len() <= 2 * size_of::<u64>();
    let row = BY_LENGTH.get(name.len())?;
    let same = |entry: &&((u64, u64), &'static [u8], Known)| {
        entry.0 == ends_of_name && (is_all || is_same(entry.1))
    };
    row.iter().find(same).map(|(_, _, known)| *known)
}

/// A set of known names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSet(pub(super) u128);

impl KnownSet {
    /// These.
    #[must_use]
    pub const fn of(mut names: &[Known]) -> Self {
        let mut bits = 0;
        while let [name, rest @ ..] = names {
            bits |= name.bit();
            names = rest;
        }
        Self(bits)
    }
}

/// A field name, lower case, looked up once so that a search compares numbers where it can.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// One of the names that the proxy knows.
    Known(Known),
    /// Any other.
    Other(Arc<[u8]>),
}

/// Why some bytes are not a field name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It has no bytes.
    #[error("header name is empty")]
    Empty,
    /// It is longer than 65,535 bytes.
    #[error("header name is longer than 65535 bytes")]
    TooLong,
    /// It has a byte outside of `token` (RFC 9110 §5.6.2).
    #[error("header name has the byte {0:#04x}, which no header name may have")]
    Byte(u8),
}

impl Name {
    /// Reads a name in any case; `host` becomes `:authority`.
    ///
    /// # Errors
    /// When `bytes` is neither a `token` (RFC 9110 §5.6.2) nor one of the known pseudo-header fields.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidName> {
        let lower = bytes.to_ascii_lowercase();
        if let Some(known) = Known::find(&lower) {
            return Ok(Self::Known(known));
        }
        if lower.is_empty() {
            return Err(InvalidName::Empty);
        }
        if lower.len() > usize::from(u16::MAX) {
            return Err(InvalidName::TooLong);
        }
        match lower.iter().find(|byte| !is_token_byte(**byte)) {
            Some(byte) => Err(InvalidName::Byte(*byte)),
            None => Ok(Self::Other(lower.into())),
        }
    }

    /// The lower-case bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Known(known) => known.as_str().as_bytes(),
            Self::Other(bytes) => bytes,
        }
    }

    /// Whether this is a pseudo-header field, `host` included.
    #[must_use]
    pub const fn is_pseudo(&self) -> bool {
        match self {
            Self::Known(known) => known.is_pseudo(),
            Self::Other(_) => false,
        }
    }
}

impl From<Known> for Name {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Whether `byte` may stand in a field name (`tchar`, RFC 9110 §5.6.2).
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// Whether `value` may stand as a field value: no NUL, CR or LF (RFC 9110 §5.5).
#[must_use]
pub fn is_valid_value(value: &[u8]) -> bool {
    memchr::memchr3(0, b'\r', b'\n', value).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_finds_itself() {
        for known in Known::ALL {
            assert_eq!(Known::find(known.as_str().as_bytes()), Some(*known));
            assert!(known.as_str().len() <= LONGEST_KNOWN, "{}", known.as_str());
        }
        assert_eq!(Known::find(b"host"), Some(Known::Authority));
        assert_eq!(Known::find(b"x-unknown"), None);
        assert!(Known::ALL.len() <= 128, "the bit set has 128 places");
    }

    #[test]
    fn a_name_is_known_in_any_case_and_no_other_is() {
        let as_sent = |known: &Known| known.as_str().replace(":authority", "host");
        for known in Known::ALL {
            let name = as_sent(known);
            let upper = name.to_ascii_uppercase();
            let mixed = name.replace(['a', 'o'], "A");
            let found = |name: &str| Known::find_in_any_case(name.as_bytes());
            assert_eq!(found(&name), Some(*known));
            assert_eq!(found(&upper), Some(*known), "{upper}");
            assert_eq!(found(&mixed), found(&mixed.to_ascii_lowercase()), "{mixed}");
            assert_eq!(Known::find(upper.as_bytes()), None, "{upper}");
        }
        // One byte that is another in each place, with each that may be in a line.
        for known in Known::ALL {
            let name = as_sent(known).into_bytes();
            for at in 0..name.len() {
                for byte in (b' '..0x7f).chain(0x80..=0xff) {
                    let mut other = name.clone();
                    other[at] = byte;
                    let expected = Known::find(&other.to_ascii_lowercase());
                    assert_eq!(Known::find_in_any_case(&other), expected, "{other:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(Name::parse(b""), Err(InvalidName::Empty));
        assert_eq!(Name::parse(b"a b"), Err(InvalidName::Byte(b' ')));
        assert_eq!(Name::parse(b":unknown"), Err(InvalidName::Byte(b':')));
        assert_eq!(Name::parse(b":Path"), Ok(Name::Known(Known::Path)));
        assert!(!is_valid_value(b"a\r\nb"));
        assert!(is_valid_value(b"a\tb\xff"));
    }
}
