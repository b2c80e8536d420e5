//! Envoy's common configuration messages, as the built-in filters read them.
//!
//! Owns what more than one filter needs: scalars in their JSON forms, fractions and the picking of
//! them, statuses, matchers, headers to add with their formats, base64, and what calls of gRPC have in common. Messages that one filter alone has are in that filter.

pub mod base64;
mod grpc;
mod header;
mod header_matcher;
mod matcher;
mod sampler;
mod scalar;
mod status;

pub use grpc::{charge, is_grpc, method_of};
pub use header::{AppendAction, HeaderValue, HeaderValueOption, Value, changeable_name};
pub use header_matcher::{HeaderMatch, HeaderMatcher};
pub use matcher::{Match, RegexMatcher, StringMatcher};
pub use sampler::Sampler;
pub use scalar::{Duration, Fraction, RuntimeFraction, UInt32, UInt64};
pub use status::Status;
