//! Load balancing: which endpoint a request goes to.
//!
//! Owns the choice, as state machines that are given everything they go by: weights, who is
//! healthy, random numbers and how busy each endpoint is. One [`Balancer`] exists for each worker
//! and cluster and is rebuilt when the cluster publishes endpoints.
//!
//! Does not own: endpoints, connections, or why an endpoint is unhealthy.

pub mod edf;
pub mod least_request;
pub mod random;
pub mod round_robin;

use least_request::LeastRequest;
use round_robin::RoundRobin;

use super::spec::Policy;

/// `overprovisioning_factor` in percent: this many times its healthy share is what a cluster is
/// taken to be able to carry.
const OVERPROVISIONING_FACTOR: u64 = 140;

/// A source of random numbers (SplitMix64). Statistical quality only; nothing secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence that depends on nothing but `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of all.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 where that is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is as even as 64 bits can be, and needs no division.
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// An index below `len`, or 0 where that is 0.
    #[expect(clippy::cast_possible_truncation, reason = "it is below a usize")]
    pub const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

/// Chooses among the endpoints of one publication.
#[derive(Debug)]
pub struct Balancer {
    /// Indices of the endpoints that may be chosen.
    candidates: Vec<u32>,
    in_panic: bool,
    picks: u64,
    scheduler: Scheduler,
}

#[derive(Debug)]
enum Scheduler {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random,
}

impl Balancer {
    /// For endpoints of these `weights`, of which those at the indices `healthy` are so.
    ///
    /// Where fewer than `panic_threshold` percent are healthy, all are candidates. `picks` is how
    /// many choices were made before, so that a round goes on where the last one stopped: with the
    /// worker's index at first, that also spreads the workers' first choices.
    #[must_use]
    pub fn new(
        policy: Policy,
        panic_threshold: f64,
        weights: &[u32],
        healthy: &[u32],
        picks: u64,
    ) -> Self {
        let in_panic = is_panic(weights.len(), healthy.len(), panic_threshold);
        let candidates: Vec<u32> = if in_panic {
            (0_u32..).zip(weights).map(|(i, _)| i).collect()
        } else {
            healthy.into()
        };
        let weights: Vec<u32> = candidates
            .iter()
            .map(|i| {
                weights
                    .get(*i as usize)
                    .map_or(1, |weight| (*weight).max(1))
            })
            .collect();
        let scheduler = match policy {
            Policy::RoundRobin => Scheduler::RoundRobin(RoundRobin::new(&weights, picks)),
            Policy::LeastRequest {
                choice_count,
                active_request_bias,
            } => Scheduler::LeastRequest(LeastRequest::new(
                &weights,
                choice_count,
                active_request_bias,
                picks,
            )),
            Policy::Random => Scheduler::Random,
        };
        Self {
            candidates,
            in_panic,
            picks,
            scheduler,
        }
    }

    /// The index of the endpoint that the next request goes to; `None` where none may be used.
    /// `active` tells how many requests the endpoint at an index has.
    pub fn pick(&mut self, random: &mut Random, active: impl Fn(usize) -> u64) -> Option<usize> {
        self.picks = self.picks.wrapping_add(1);
        let candidates = &self.candidates;
        let at = |candidate: usize| candidates.get(candidate).map(|index| *index as usize);
        let active = |candidate: usize| at(candidate).map_or(0, &active);
        let chosen = match &mut self.scheduler {
            Scheduler::RoundRobin(state) => state.pick(),
            Scheduler::LeastRequest(state) => state.pick(random, active),
            Scheduler::Random => random::pick(candidates.len(), random),
        };
        at(chosen?)
    }

    /// Whether health is disregarded because too few endpoints are healthy.
    #[must_use]
    pub const fn in_panic(&self) -> bool {
        self.in_panic
    }

    /// How many choices were made, those before included.
    #[must_use]
    pub const fn picks(&self) -> u64 {
        self.picks
    }
}

/// Whether fewer than `threshold` percent are healthy. As in Envoy there is no panic while the
/// healthy ones, overprovisioned, can carry everything; and none with a threshold of 0.
fn is_panic(total: usize, healthy: usize, threshold: f64) -> bool {
    if total == 0 {
        return false;
    }
    let (total, healthy) = (total as u64, healthy as u64);
    if OVERPROVISIONING_FACTOR * healthy / total >= 100 {
        return false;
    }
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 endpoints")]
    let percent = 100.0 * healthy as f64 / total as f64;
    percent < threshold.min(100.0)
}

#[cfg(test)]
mod tests;
