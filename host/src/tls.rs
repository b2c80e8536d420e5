//! TLS, on rustls: certificates and their keys, who is trusted, and handshakes.
//!
//! Owns what a TLS context of the configuration becomes: [`Identity`] (a certificate with its key),
//! [`Trust`] (what a peer has to show), `parameters` (versions, ciphers, groups), `tickets` (sessions that are resumed), and [`Server`], which
//! answers handshakes of clients, and [`Client`], which begins those with upstreams. Certificates are read
//! here, and read again when their files change ([`Contexts`]). Does not own the stream behind a
//! handshake (`socket`), nor the words of the configuration (`build`). Called by `build`, `listener` and
//! `upstream`.

mod choice;
mod client;
mod context;
mod der;
mod error;
mod greeting;
pub mod hello;
mod identity;
mod parameters;
mod secret;
mod server;
mod source;
mod staple;
mod stats;
mod tickets;
mod trust;

pub use client::{Client, ClientSpec, ClientStats, Inside, Names, Server as ServerPeer, remedy};
pub use context::{Contexts, Expiry, Files, FirstToExpire, TlsContext, days_left, watch};
pub use error::{Error, Part};
pub use identity::{Identity, IdentitySpec};
pub use parameters::{Parameters, ParametersSpec, UnknownName, Version};
pub use secret::{Secret, Whence};
pub use server::{LoadError, Server, ServerSpec, TicketChoice};
pub use source::Source;
pub use staple::StaplePolicy;
pub use stats::{Negotiated, Signatures};
pub use tickets::TicketSpec;
pub use trust::{NameTest, Refusal, SubjectName, Trust, TrustSpec};

pub(crate) use server::accept;
