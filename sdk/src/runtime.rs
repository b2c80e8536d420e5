//! Runtime values: numbers that an operator changes while the proxy runs. They may be asked for
//! everywhere; what a filter does where there is no value is up to it.

pub use crate::host::Share;
use crate::host::{Current, Host};

/// Whether the proxy's configuration has layers at all. Where it has none, no key will ever have a
/// value.
#[must_use]
pub fn has_layers() -> bool {
    Current.has_runtime_layers()
}

/// The whole number that `key` has now; none where no layer has one.
#[must_use]
pub fn integer(key: &str) -> Option<u64> {
    Current.runtime_integer(key)
}

/// The share of all requests that `key` has now, where a plain number is so many percent; none where
/// no layer has one.
#[must_use]
pub fn share(key: &str) -> Option<Share> {
    Current.runtime_share(key)
}
