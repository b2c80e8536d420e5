//! What a request says about the endpoint that it is to go to.
//!
//! Owns [`Wish`], the balancer's input: plain data that the data path fills in from route and
//! retries. The default asks for nothing and costs nothing. Does not own: what a balancer makes of
//! it (`balance`).

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;

use super::demand::Demand;
use super::endpoint::Endpoint;
use super::metadata::Criteria;
use crate::address::Address;

/// What a request says about its endpoint. See the module's page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// What ring hash and Maglev go by (`hash_policy`); without it they choose by chance. No other
    /// policy reads it: ask [`super::Cluster::wants_hash`] before computing one.
    pub hash: Option<u64>,
    /// The subset (`metadata_match`). Clusters without `lb_subset_config` do not read it.
    pub criteria: Option<&'a Criteria>,
    /// Endpoints that another choice is made for.
    pub avoid: Option<Avoid<'a>>,
    /// Levels that were tried before (`retry_priority`). Others take their load; where none of
    /// them can, all levels are used again and the cell is emptied.
    pub tried_levels: Option<&'a Cell<Levels>>,
    /// One endpoint that is used, whatever the policy, if it may be.
    pub pinned: Option<Pinned<'a>>,
    /// Endpoints that are used before the policy is asked, if they are there.
    pub named: Option<Named<'a>>,
    /// Where it goes ([`super::Cluster::destination`]). No cluster reads it but those whose endpoints are
    /// what requests name.
    pub destination: Option<SocketAddr>,
    /// What it asks of its connection. No cluster reads it but those whose settings say so: ask
    /// [`super::ClusterSpec::wants_demands`] before filling one in.
    pub demand: Option<&'a Demand>,
}

impl Wish<'_> {
    /// Whether any endpoint will do as well as any other.
    #[must_use]
    pub const fn takes_any(&self) -> bool {
        self.hash.is_none()
            && self.criteria.is_none()
            && self.avoid.is_none()
            && self.tried_levels.is_none()
            && self.pinned.is_none()
            && self.named.is_none()
    }
}

/// Endpoints that a request should not go to (`retry_host_predicate`).
#[derive(Clone, Copy)]
pub struct Avoid<'a> {
    /// Whether that is one.
    pub is_unwanted: &'a dyn Fn(&Endpoint) -> bool,
    /// `host_selection_retry_max_attempts`: how many more choices are made for a wanted one, after
    /// which the last one stands. Envoy's default is 1.
    pub attempts: u32,
}

impl fmt::Debug for Avoid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Avoid")
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// An endpoint by its address (`stateful_session` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned<'a> {
    /// Its address.
    pub address: &'a Address,
    /// Whether there is no other choice where it may not be used.
    pub is_strict: bool,
}

/// Endpoints by their addresses, in order (`override_host`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The addresses. Those of nobody are passed over.
    pub addresses: &'a [Address],
    /// How many of those that are there are passed over, because attempts before have had them.
    pub skip: usize,
}

/// A set of priority levels of endpoints. Envoy has at most 128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels(u128);

impl Levels {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `level` is one of them.
    #[must_use]
    pub const fn has(self, level: u32) -> bool {
        level < u128::BITS && self.0 & (1 << level) != 0
    }

    /// These and `level`.
    #[must_use]
    pub const fn with(self, level: u32) -> Self {
        if level < u128::BITS {
            Self(self.0 | (1 << level))
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_a_set() {
        let some = Levels::default().with(0).with(127).with(0).with(500);
        assert!(some.has(0) && some.has(127) && !some.has(1) && !some.has(500));
        assert!(!some.is_empty() && Levels::default().is_empty());
    }
}
