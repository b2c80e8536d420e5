//! TCP: connections whose bytes are not looked into.
//!
//! Owns what the terminal network filters other than HTTP's do with a connection: the TCP proxy
//! ([`proxy`], over the loop in [`relay`]), and in [`simple`] the echo and the fixed answer. Does not
//! own accepting (`listener`) nor upstream connections (`upstream::pool`). Called by `listener`.

pub(crate) mod proxy;
mod relay;
pub(crate) mod simple;
