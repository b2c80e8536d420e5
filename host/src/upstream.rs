//! Everything about the servers behind the proxy: clusters, their endpoints, and connections.
//!
//! Owns clusters and how their endpoints are found, chosen, checked, limited and connected to.
//! Workers ask [`Pools`] for a connection; the control thread runs [`control`] for each cluster,
//! which publishes endpoints and their health; `admin` shows [`report`].
//!
//! Does not own: what is sent over a connection, retries, and which cluster a request goes to.

pub mod aim;
pub mod balance;
pub mod breaker;
pub mod cluster;
pub mod connect;
pub mod control;
pub mod demand;
pub mod destination;
pub mod discovery;
pub mod dns;
pub mod endpoint;
pub mod error;
mod flow;
pub mod health;
pub mod metadata;
pub mod outlier;
pub mod pool;
pub mod report;
#[cfg(test)]
mod simulation;
pub mod spec;
pub mod stats;
#[cfg(test)]
mod testing;
mod tuning;
pub mod wish;

pub use aim::{Aim, note_endpoint};
pub use breaker::Resource;
pub use cluster::{Cluster, EndpointSet, RetryPermit};
pub use demand::{Client, Demand};
pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind};
pub use flow::FlowControl;
pub use metadata::Criteria;
pub use pool::{
    Excess, Facts, Http1Lease, Http2Lease, Lease, Outcome, Pools, RawLease, Release, Shared,
    StreamEnd,
};
pub use spec::{ClusterSpec, Discovery, Priority, Protocol};
pub use stats::ClusterStats;
pub use wish::{Avoid, Levels, Pinned, Wish};
