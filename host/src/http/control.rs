//! Control fields of requests, as the router's options want them.
//!
//! Owns the check of `strict_check_headers`. Called by
//! [`super::forward`] before a request is counted on its cluster. Does not own what the fields mean
//! (`route`), nor from whom they are taken at all ([`super::hygiene`]).

use super::error::{Error, Kind};
use super::stream::Surroundings;
use crate::headers::{Headers, Known};
use crate::route::RetryOn;

/// Checks what has to be right.
///
/// # Errors
/// A field that has to be right and is not.
pub(super) fn check(around: Surroundings<'_>, request: &Headers) -> Result<(), Error> {
    for name in &*around.manager.strict_headers {
        if let Some(value) = request.known(*name)
            && !is_right(*name, value)
        {
            let value = String::from_utf8_lossy(value).into();
            return Err(Kind::ControlField { name: *name, value }.into());
        }
    }
    Ok(())
}

/// Whether a field has a value that Envoy would not ignore.
fn is_right(name: Known, value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    match name {
        Known::XEnvoyRetryOn => RetryOn::has_only_words(text, false),
        Known::XEnvoyRetryGrpcOn => RetryOn::has_only_words(text, true),
        _ => text.trim().parse::<u64>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_told_from_others() {
        for (name, value, right) in [
            (Known::XEnvoyMaxRetries, "3", true),
            (Known::XEnvoyMaxRetries, "three", false),
            (Known::XEnvoyMaxRetries, "", false),
            (Known::XEnvoyMaxRetries, "-1", false),
            (Known::XEnvoyUpstreamRqTimeoutMs, "250", true),
            (Known::XEnvoyUpstreamRqPerTryTimeoutMs, "0.5", false),
            (Known::XEnvoyRetryOn, "5xx, reset", true),
            (Known::XEnvoyRetryOn, "5xx,nonsense", false),
            (Known::XEnvoyRetryOn, "cancelled", false),
            (Known::XEnvoyRetryGrpcOn, "cancelled", true),
            (Known::XEnvoyRetryGrpcOn, "5xx", false),
        ] {
            assert_eq!(is_right(name, value.as_bytes()), right, "{value}");
        }
        assert!(!is_right(Known::XEnvoyMaxRetries, b"\xff"));
    }
}
