//! The runtime values that change faults, for all requests and for those of one service.

use std::borrow::Cow;

use nuncio_sdk::runtime;

/// What a value is called.
#[derive(Debug)]
pub(crate) struct Key {
    all: String,
    /// Behind the name of a service.
    of_service: &'static str,
}

impl Key {
    /// `written`, or Envoy's name where nothing is.
    pub(crate) fn new(written: &str, of_service: &'static str) -> Self {
        let all = match written {
            "" => format!("fault.http.{of_service}"),
            written => written.to_owned(),
        };
        Self { all, of_service }
    }

    /// The one name that counts for requests of `service`: that of the service, whether it has a value or
    /// not.
    pub(crate) fn name(&self, service: Option<&str>) -> Cow<'_, str> {
        match service {
            Some(service) => Cow::Owned(format!("fault.http.{service}.{}", self.of_service)),
            None => Cow::Borrowed(&self.all),
        }
    }

    /// The number for requests of `service`: its own or `otherwise`, whatever that for all is.
    pub(crate) fn own_integer(&self, service: Option<&str>, otherwise: u64) -> u64 {
        runtime::integer(&self.name(service)).unwrap_or(otherwise)
    }

    /// The number for requests of `service`: its own, that for all, or `otherwise`.
    pub(crate) fn integer(&self, service: Option<&str>, otherwise: u64) -> u64 {
        let own = service.and_then(|_| runtime::integer(&self.name(service)));
        own.or_else(|| runtime::integer(&self.all))
            .unwrap_or(otherwise)
    }
}
