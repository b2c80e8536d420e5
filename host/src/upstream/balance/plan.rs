//! Everything that a cluster's balancers share between two publications.
//!
//! Owns [`Plan`]: the layout of all endpoints and those of the subsets. The control thread makes it
//! with each publication; each worker's [`super::Balancer`] goes by it.

use super::layout::{Layout, LocalityWeights, Member};
use super::subset::Subsets;
use super::table::Table;
use super::zone::{Home, Without};
use crate::upstream::spec::{Balancing, Policy, SlowStart};

/// See the module's page.
#[derive(Debug)]
pub struct Plan {
    pub(super) policy: Policy,
    pub(super) fails_on_panic: bool,
    /// For round robin and least request.
    pub(super) slow_start: Option<SlowStart>,
    /// That of all endpoints, then those of subsets.
    pub(super) layouts: Vec<Layout>,
    pub(super) subsets: Option<Subsets>,
}

impl Plan {
    /// For `members`, balanced by `balancing`.
    #[must_use]
    pub fn new(balancing: &Balancing, members: &[Member<'_>], home: Option<&Home>) -> Self {
        let mut layouts = Vec::with_capacity(1);
        let all = Layout::new(balancing, members, LocalityWeights::Given, home);
        layouts.push(all);
        let subsets = balancing.subsets.as_ref().map(|spec| {
            let weights = match (spec.keeps_locality_weights, spec.scales_locality_weights) {
                (false, _) => LocalityWeights::None,
                (true, false) => LocalityWeights::Given,
                (true, true) => LocalityWeights::Scaled(members),
            };
            Subsets::new(spec, members, |members| {
                layouts.push(Layout::new(balancing, members, weights, home));
                layouts.len() - 1
            })
        });
        Self {
            policy: balancing.policy,
            fails_on_panic: balancing.fails_on_panic,
            slow_start: balancing.slow_start,
            layouts,
            subsets,
        }
    }

    /// How new endpoints get their share.
    #[must_use]
    pub const fn slow_start(&self) -> Option<SlowStart> {
        self.slow_start
    }

    /// Whether too few endpoints of the first level are healthy.
    #[must_use]
    pub fn panics(&self) -> bool {
        self.layouts.first().is_some_and(Layout::panics)
    }

    /// Whether requests would stay in the proxy's locality if there were more endpoints.
    #[must_use]
    pub fn is_too_small(&self) -> bool {
        self.without_zones() == Some(Without::Size)
    }

    /// Whether they would if it were known that a proxy is there.
    #[must_use]
    pub fn is_homeless(&self) -> bool {
        self.without_zones() == Some(Without::Home)
    }

    fn without_zones(&self) -> Option<Without> {
        self.layouts.first()?.without_zones
    }

    /// The subsets, where the cluster has any.
    #[must_use]
    pub const fn subsets(&self) -> Option<&Subsets> {
        self.subsets.as_ref()
    }

    /// The tables of consistent hashing over all endpoints, highest level first.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.layouts.iter().take(1).flat_map(Layout::tables)
    }
}
