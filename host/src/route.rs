//! Routing tables: which route a request takes, and what that route does to it.
//!
//! Owns the choice of a virtual host and of a route (`RouteConfiguration` of Envoy's v3 model), the
//! matchers, the three actions (forward, redirect, direct response), the choice among weighted
//! clusters, the hash of a request, path and host rewrites, and header mutations. Everything is checked when a [`Table`] is built from a [`spec`]; after that
//! nothing fails, nothing blocks and nothing is written but the request itself.
//!
//! Does not own: how a configuration is written (`build` makes the specs), clusters beyond their
//! index in the snapshot, or when a route is looked up and its action carried out (`http`).
//!
//! Where this page and Envoy's documentation disagree, Envoy 1.40's behaviour was measured and won.

mod action;
mod cluster_policies;
mod domains;
mod error;
mod facts;
mod hash;
mod index;
mod internal_redirect;
mod matcher;
mod mirror;
mod mutation;
mod part;
mod redirect;
mod retry;
mod rewrite;
mod seat;
pub mod spec;
mod table;
#[cfg(test)]
mod testing;
mod times;
mod tree;
mod trie;
mod tries;
mod upgrade;
mod uri_template;
mod virtual_cluster;
mod weighted;

use crate::pattern;
pub use crate::pattern::PatternError;

pub use action::{
    Action, ClusterChoice, ClusterName, ClusterRef, DirectResponse, Forward, Pick, Priority, Route,
    Target,
};
pub use cluster_policies::ClusterPolicies;
pub use domains::domain_for;
pub use error::{Error, Errors, Path, Problem, Step};
pub use facts::Facts;
pub use hash::NewCookies;
pub use internal_redirect::{Followed, InternalRedirects, Location, NotFollowed};
pub use matcher::Mismatch;
pub use mirror::Mirror;
pub use mutation::{AppendAction, Scratch};
pub use part::{
    Decision, HeaderCondition, MetadataCondition, RequestChanges, ResponseChanges, TextCondition,
};
pub use redirect::Redirect;
pub use retry::{Avoids, Failure, Retries, RetryOn, RetryPolicy, Verdict, Wait};
pub use rewrite::EnvoyHeaders;
pub use seat::{Seat, Seen};
pub use table::{Table, Trace};
pub use times::{RequestTimes, Times};
pub use tries::Tries;
pub use upgrade::{CONNECT, Upgrade, Upgrades};
pub use uri_template::TemplateError;
pub use weighted::Weighted;
