//! HTTP: connections, and the request function.
//!
//! Owns everything between a connection's first byte and the last byte of its last response: the
//! codecs' edge, header hygiene, the walk through the filter chain, the conversation with the
//! upstream, bodies in both directions, timeouts, local replies.
//!
//! Does not own: which route or endpoint a request takes (`route`, `upstream`), what a filter does
//! (`wasm`), or how anything is shown (`observe`).
//!
//! In reading order: `connection` and `http2` (the codec edge; `frames`, `heads` and `hpack` look at what the
//! HTTP/2 codec does not tell), `stream` (the request function), `walk` and `phases` (the chain), `forward`,
//! `attempts`, `side`, `counts` and `conversation` (the upstream), `interim`, `hedge` and `relay` (attempts beside
//! each other), `redirect`, `mirror` and `copies`, `pump`, `kept`,
//! `io`, `received` and `sending` (bodies), then `hygiene`, `client_address`, `client_cert`, `path`, `error`, `reply` and `deadlines`.
//! The HTTP/1 codec is `h1`.

mod attempts;
mod choice;
pub mod client_address;
pub mod client_cert;
pub(crate) mod connection;
mod control;
mod conversation;
mod copies;
mod counts;
mod deadlines;
mod demand;
mod downstream;
mod error;
mod forward;
mod h2;
mod heads;
mod hedge;
mod hpack;
mod http2;
pub mod hygiene;
mod interim;
mod io;
mod kept;
mod mirror;
mod pace;
pub mod path;
mod phases;
mod policies;
pub mod proxy_status;
mod pump;
mod received;
mod record;
mod redirect;
mod refusal;
mod relay;
pub mod reply;
mod sending;
mod side;
mod stream;
mod tally;
mod tracked;
pub(crate) mod tunnel;
mod unseen;
mod upstream_log;
mod walk;
mod whole;

use crate::timer;
