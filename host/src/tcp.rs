//! TCP: connections whose bytes are not looked into.
//!
//! Owns what the terminal network filters other than HTTP's do with a connection: the TCP proxy
//! ([`proxy`], over the loop in [`relay`]), in [`simple`] the echo and the fixed answer, and in [`gate`]
//! what every kind of connection may have to pass first. Does not
//! own accepting (`listener`) nor upstream connections (`upstream::pool`). Called by `listener`.

pub(crate) mod gate;
pub(crate) mod proxy;
mod relay;
pub(crate) mod simple;
