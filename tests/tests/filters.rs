//! Filters in the running proxy: users' components with all their faults, and the built-in ones that
//! count or log.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a test suite"
)]

#[path = "filters/access_log.rs"]
mod access_log;
#[path = "filters/bodies.rs"]
mod bodies;
#[path = "filters/faults.rs"]
mod faults;
#[path = "filters/isolation.rs"]
mod isolation;
#[path = "filters/loading.rs"]
mod loading;
#[path = "filters/per_route.rs"]
mod per_route;
#[path = "filters/rate_limit.rs"]
mod rate_limit;
#[path = "filters/replies.rs"]
mod replies;
#[path = "filters/services.rs"]
mod services;
