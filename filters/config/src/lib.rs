//! Envoy's common configuration messages, as the built-in filters read them.
//!
//! Owns what more than one filter needs: scalars in their JSON forms, fractions, statuses, and
//! headers to add with their formats. Messages that one filter alone has are in that filter.

mod header;
mod scalar;
mod status;

pub use header::{AppendAction, HeaderValue, HeaderValueOption, Value, changeable_name};
pub use scalar::{Duration, Fraction, RuntimeFraction, UInt32};
pub use status::Status;
