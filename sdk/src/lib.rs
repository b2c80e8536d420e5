//! Write HTTP filters for the Nuncio proxy.
//!
//! A filter is a type that implements [`Filter`], compiled to a WebAssembly component. This one lets
//! requests of known tenants through, tells the upstream which plan they are on, and counts them:
//!
//! ```
//! use std::collections::HashMap;
//! use nuncio_sdk::{
//!     Counter, Filter, Flow, HeaderName, Interest, LocalReply, RequestHeaders, Result, Setup,
//! };
//!
//! struct Tenants {
//!     plans: HashMap<String, String>,
//!     tenant: HeaderName,
//!     plan: HeaderName,
//!     refused: Counter,
//! }
//!
//! impl Filter for Tenants {
//!     type Config = HashMap<String, String>; // anything that serde can read
//!     type Stream = (); // nothing to remember for a stream
//!
//!     fn configure(plans: Self::Config, setup: &mut Setup) -> Result<Self> {
//!         let (tenant, plan) = (setup.header_name("x-tenant")?, setup.header_name("x-plan")?);
//!         Ok(Self { plans, tenant, plan, refused: setup.counter("tenants.refused")? })
//!     }
//!
//!     fn interest(&self) -> Interest {
//!         Interest::new().request_headers()
//!     }
//!
//!     fn on_request_headers(&self, _: &mut (), cx: &mut RequestHeaders<'_>) -> Result<Flow> {
//!         let tenant = cx.request().get_str(self.tenant).unwrap_or_default();
//!         let Some(plan) = self.plans.get(&tenant) else {
//!             self.refused.inc();
//!             log::info!("unknown tenant {tenant:?}");
//!             return Ok(LocalReply::new(403).with_body("who are you?\n").into());
//!         };
//!         cx.request_mut().set(self.plan, plan)?;
//!         Ok(Flow::Next)
//!     }
//! }
//!
//! nuncio_sdk::export_filter!(Tenants);
//!
//! // And its unit test, which runs natively (feature `testing`):
//! # #[cfg(feature = "testing")] {
//! use nuncio_sdk::testing::{Host, json};
//!
//! let host = Host::new();
//! let filter = host.configure::<Tenants>(json!({ "acme": "gold" })).expect("a good configuration");
//!
//! let mut stream = filter.stream();
//! let head = [(":method", "GET"), (":path", "/"), ("x-tenant", "acme")];
//! assert_eq!(stream.on_request_headers(&head, true), Ok(Flow::Next));
//! assert_eq!(stream.request_header("x-plan").as_deref(), Some("gold"));
//!
//! let mut stream = filter.stream();
//! let flow = stream.on_request_headers(&[(":method", "GET"), (":path", "/")], true);
//! assert_eq!(flow, Ok(LocalReply::new(403).with_body("who are you?\n").into()));
//! assert_eq!(host.counter("tenants.refused"), Some(1));
//! # }
//! ```
//!
//! The package is a `cdylib`, and `cargo build --release --target wasm32-wasip2` makes the component.
//! The filter author's guide in the proxy's repository (`docs/filters.md`) shows how to run it, and
//! says what each phase allows.
//!
//! # Bytes, not text
//!
//! Values of headers are bytes, for the network does not promise UTF-8. [`Fields::get_str`] is there
//! for comfort and never fails.
//!
//! # Failures
//!
//! Nothing in this crate panics. Calls answer a [`Result`], and `?` works on any error. An `Err` from
//! a hook is a failure of the filter, which the proxy treats as the filter's `failure_policy` says.
//!
//! # Cost
//!
//! A hook that the filter does not name in its [`Interest`] is not called. Names, attributes and
//! formats are looked up once, in [`Filter::configure`], and are numbers from then on. A filter whose
//! [`Stream`](Filter::Stream) is `()` keeps no table of streams.
//!
//! # Logging
//!
//! The macros of the `log` crate write to the proxy's log, under the filter's name and at the
//! proxy's level.
//!
//! # Features
//!
//! - `testing`: the module `testing` with a fake host, for native unit tests. Put it under
//!   `[dev-dependencies]`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![cfg_attr(
    not(any(target_arch = "wasm32", feature = "testing")),
    expect(dead_code, reason = "natively, only the fake host calls hooks")
)]

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod context;
mod error;
mod exchange;
mod filter;
mod flow;
#[cfg(target_arch = "wasm32")]
mod guest;
mod host;
mod instance;
mod logger;
mod resources;
mod route_config;
pub mod runtime;
mod setup;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
pub mod testing;

pub use context::{
    Log, RequestBody, RequestHeaders, RequestTrailers, ResponseBody, ResponseHeaders,
    ResponseTrailers,
};
pub use error::{Error, HostError, Result};
pub use exchange::{Exchange, Fields, FieldsMut, Values};
pub use filter::{BodyMode, Filter, Interest};
pub use flow::{Flow, LocalReply, Upstream};
pub use host::{BucketSettings, Members, RouteKind, Target};
pub use resources::{Counter, Gauge, Pattern, Sink, Substitution, TokenBucket};
pub use route_config::{RouteConfig, RouteLevel};
pub use setup::{Attribute, Format, HeaderName, Setup};

/// Makes a type that implements [`Filter`] the filter of this component. Once in a component.
///
/// Natively it only checks the type, so the package can have unit tests.
#[macro_export]
macro_rules! export_filter {
    ($filter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: $crate::__private::Instance<$filter> =
                    const { $crate::__private::Instance::new() };
            }

            struct Exported;

            impl $crate::__private::Component for Exported {
                type Filter = $filter;

                #[inline]
                fn with<R>(
                    hook: impl ::core::ops::FnOnce(&$crate::__private::Instance<$filter>) -> R,
                ) -> R {
                    INSTANCE.with(hook)
                }
            }

    $crate::__private::export!(Exported with_types_in $crate::__private::bindings);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = $crate::__private::is_filter::<$filter>();
    };
}

/// The example of the crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What [`export_filter!`] expands to. Not for authors: it changes without notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings;
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings::__export_bindings as export;
    #[cfg(target_arch = "wasm32")]
    pub use crate::guest::Component;
    pub use crate::instance::Instance;

    /// Compiles for filters only.
    pub const fn is_filter<F: crate::Filter>() {}
}
