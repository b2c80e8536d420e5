//! What the first bytes of a connection say, without taking them.
//!
//! Owns the parsers of the listener filters, each a pure function of the bytes that are there so far:
//! [`request_line`] for HTTP, [`proxy_header`] for the PROXY protocol; [`hello`] for TLS is the
//! handshake's. Does not own how the bytes come (`super::filters`). Public for the fuzz targets.

pub mod proxy_header;
pub mod request_line;

pub use crate::sniffed::Sniffed;
pub use crate::tls::hello;

use crate::sniffed::Bytes;
