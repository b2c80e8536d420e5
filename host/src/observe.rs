//! What the proxy tells about itself: statistics, logs, access logs and the format of their lines.
//!
//! Owns the statistics' cells and names, their exposition in Envoy's formats, Envoy's substitution
//! formatter, the access-log sinks and the application log. Called by every part that counts or
//! logs, and by `admin` for the pages that show it.
//!
//! Does not own: when something is counted or logged.

pub mod access_log;
pub mod expose;
pub mod format;
pub mod log;
pub mod metrics;
pub mod naming;
pub mod registry;
pub mod stats;
