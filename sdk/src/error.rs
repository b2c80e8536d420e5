//! What can go wrong, as a filter sees it.
//!
//! Two kinds on purpose: [`HostError`] is what a call into the proxy answers, to be matched on;
//! [`Error`] is what a hook ends with, and takes any error by `?`.

use std::error::Error as StdError;
use std::fmt;

/// What a hook or [`configure`](crate::Filter::configure) answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the proxy refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostError {
    /// No stream is current, or the block does not exist (yet), or has been sent.
    WrongPhase,
    /// This field may not be changed here.
    Immutable,
    /// The block, body or metadata would exceed its limit.
    TooLarge,
    /// Not a name or a value that HTTP allows.
    InvalidValue,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongPhase => "not possible in this phase of the stream",
            Self::Immutable => "this field may not be changed here",
            Self::TooLarge => "the limit for its size would be exceeded",
            Self::InvalidValue => "not a name or value that HTTP allows",
        })
    }
}

impl StdError for HostError {}

/// Any failure of a filter, with its causes.
///
/// It converts from every error type, so `?` works in hooks. It is not an error type itself, for
/// that would make the conversion ambiguous.
///
/// An `Err` from a hook reaches the proxy as a failure of the filter: the proxy logs the message and
/// does what the filter's `failure_policy` says. The instance lives on.
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// An error that is only a message: lower case and without a full stop, please.
    #[must_use]
    pub fn msg(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }

    /// The error in it, where it is of type `E`; such as [`HostError`].
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// The message and those of all causes, joined by `: `.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The proxy's answer while a filter was being configured, with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    what: &'static str,
    subject: String,
    reason: String,
}

impl Refused {
    pub(crate) fn new(what: &'static str, subject: &str, reason: String) -> Self {
        Self {
            what,
            subject: subject.to_owned(),
            reason,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}", self.what, self.subject, self.reason)
    }
}

impl StdError for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(HostError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("tag the request")
        }
    }

    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_shows_its_causes() {
        let error = Error::from(Outer(HostError::TooLarge));
        let shown = "tag the request: the limit for its size would be exceeded";
        assert_eq!(error.to_string(), shown);
        assert_eq!(format!("{error:?}"), shown);
    }

    #[test]
    fn a_host_error_can_be_told_from_others() {
        let error = Error::from(HostError::Immutable);
        assert_eq!(error.downcast_ref(), Some(&HostError::Immutable));
        assert_eq!(
            Error::msg("no such tenant").downcast_ref::<HostError>(),
            None
        );
    }
}
