//! Filters in the running proxy: users' components with all their faults, bodies that are held, and what
//! routes configure.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of a test suite"
)]

#[path = "filters/bodies.rs"]
mod bodies;
#[path = "filters/faults.rs"]
mod faults;
#[path = "filters/isolation.rs"]
mod isolation;
#[path = "filters/loading.rs"]
mod loading;
#[path = "filters/methods.rs"]
mod methods;
#[path = "filters/per_route.rs"]
mod per_route;
#[path = "filters/slow.rs"]
mod slow;
#[path = "filters/waits.rs"]
mod waits;
