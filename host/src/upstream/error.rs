//! Why there is no connection for a request.
//!
//! Owns [`Error`], the pools' one error type: what went wrong, in which cluster, at which endpoint.
//! The data path turns it into a response and a response flag. All of these happen before a byte
//! of the request was sent.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::breaker::Resource;
use super::endpoint::Endpoint;

/// A connection could not be had. No byte of the request was sent.
#[derive(Debug, thiserror::Error)]
#[error("getting a connection of cluster \"{cluster}\"")]
pub struct Error {
    /// What went wrong.
    #[source]
    pub kind: ErrorKind,
    /// `Cluster.name`.
    pub cluster: Arc<str>,
    /// The endpoint that was picked, where it came to that.
    pub endpoint: Option<Arc<Endpoint>>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// There is no endpoint that may be used.
    #[error("no healthy endpoint")]
    NoHealthyUpstream,
    /// A circuit breaker is open.
    #[error("circuit breaker is open: {0}")]
    Overflow(Resource),
    /// `connect_timeout` went by.
    #[error("connecting took longer than connect_timeout")]
    ConnectTimeout,
    /// The endpoint refused, or cannot be reached.
    #[error("connecting")]
    ConnectFailure(#[source] io::Error),
}

impl Error {
    /// Whether another attempt may succeed: the endpoint is at fault, not a limit of the cluster.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        match self.kind {
            ErrorKind::ConnectTimeout | ErrorKind::ConnectFailure(_) => true,
            ErrorKind::NoHealthyUpstream | ErrorKind::Overflow(_) => false,
        }
    }

    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%` as Envoy words it:
    /// `delayed connect error: Connection refused`.
    #[must_use]
    pub fn transport_failure(&self) -> Option<Cow<'static, str>> {
        match &self.kind {
            ErrorKind::ConnectFailure(cause) if tls_error(cause).is_some() => {
                tls_error(cause).map(|error| format!("TLS_error:|{error}:TLS_error_end").into())
            }
            ErrorKind::ConnectFailure(cause)
                if cause.kind() == io::ErrorKind::ConnectionRefused =>
            {
                Some("delayed connect error: Connection refused".into())
            }
            ErrorKind::ConnectFailure(cause) => {
                Some(format!("delayed connect error: {}", system_text(cause)).into())
            }
            ErrorKind::NoHealthyUpstream | ErrorKind::Overflow(_) | ErrorKind::ConnectTimeout => {
                None
            }
        }
    }
}

/// The operating system's words without Rust's note of the number behind them.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => text
            .strip_suffix(&format!(" (os error {code})"))
            .map_or_else(|| text.clone(), Into::into),
        None => text,
    }
}

/// What is wrong with a TLS handshake, where that is why there is no connection.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether a connection failed of what this side wanted, such as a name that is none: that says nothing
/// of the endpoint.
pub(super) fn is_own_fault(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// The same failure for another request that waited for the same connection.
pub(super) fn again(error: &io::Error) -> io::Error {
    if let Some(tls) = tls_error(error) {
        return io::Error::new(error.kind(), tls.clone());
    }
    error.raw_os_error().map_or_else(
        || io::Error::from(error.kind()),
        io::Error::from_raw_os_error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error {
            kind,
            cluster: "c".into(),
            endpoint: None,
        }
    }

    #[test]
    fn failures_are_worded_as_envoy_does() {
        let refused = error(ErrorKind::ConnectFailure(io::Error::from_raw_os_error(111)));
        assert!(refused.is_retriable());
        let words = "delayed connect error: Connection refused";
        assert_eq!(refused.transport_failure().as_deref(), Some(words));
        let unreachable = error(ErrorKind::ConnectFailure(io::Error::from_raw_os_error(113)));
        let words = "delayed connect error: No route to host";
        assert_eq!(unreachable.transport_failure().as_deref(), Some(words));
        for (kind, retriable) in [
            (ErrorKind::ConnectTimeout, true),
            (ErrorKind::NoHealthyUpstream, false),
            (ErrorKind::Overflow(Resource::Pending), false),
        ] {
            let error = error(kind);
            assert_eq!(
                (error.is_retriable(), error.transport_failure()),
                (retriable, None)
            );
        }
    }

    #[test]
    fn what_tls_says_is_passed_on() {
        let refused = || {
            let error = rustls::Error::General("no".to_owned());
            io::Error::new(io::ErrorKind::InvalidData, error)
        };
        let words = "TLS_error:|unexpected error: no:TLS_error_end";
        for cause in [refused(), again(&refused())] {
            let error = error(ErrorKind::ConnectFailure(cause));
            assert_eq!(error.transport_failure().as_deref(), Some(words));
        }
    }

    #[test]
    fn a_copy_keeps_the_number_or_else_the_kind() {
        assert_eq!(
            again(&io::Error::from_raw_os_error(104)).raw_os_error(),
            Some(104)
        );
        let made = io::Error::new(io::ErrorKind::TimedOut, "made up");
        assert_eq!(again(&made).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_source_chain_tells_all() {
        let error = error(ErrorKind::ConnectFailure(io::Error::from_raw_os_error(111)));
        let mut texts = vec![error.to_string()];
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(error) = cause {
            texts.push(error.to_string());
            cause = error.source();
        }
        let expected = [
            "getting a connection of cluster \"c\"",
            "connecting",
            "Connection refused (os error 111)",
        ];
        assert_eq!(texts, expected);
    }
}
