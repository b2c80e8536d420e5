//! A policy's turns over one group of endpoints.
//!
//! Owns the choice of a state machine by policy. Called by `Balancer`, which knows who the
//! candidates are.

use super::Random;
use super::least_request::{LeastRequest, Scan};
use super::random;
use super::round_robin::RoundRobin;
use crate::upstream::spec::Policy;

/// Whose turn it is in one group.
#[derive(Debug)]
pub(super) enum Scheduler {
    /// `ROUND_ROBIN`.
    RoundRobin(RoundRobin),
    /// `LEAST_REQUEST`.
    LeastRequest(LeastRequest),
    /// `RANDOM` among this many.
    Random(usize),
}

impl Scheduler {
    /// Among `len` candidates with these weights, after `picks` choices. With `is_slow` weights
    /// count although they may be equal now.
    pub(super) fn new(
        policy: Policy,
        len: usize,
        weight: impl Fn(usize) -> f64,
        is_slow: bool,
        picks: u64,
    ) -> Self {
        let weighted = || {
            let first = weight(0);
            #[expect(clippy::float_cmp, reason = "weights are whole numbers")]
            let differ = (1..len).any(|candidate| weight(candidate) != first);
            is_slow || differ
        };
        match policy {
            Policy::RoundRobin => Self::RoundRobin(RoundRobin::new(len, weighted(), weight, picks)),
            Policy::LeastRequest {
                choice_count,
                active_request_bias,
                full_scan,
            } => {
                let scan = if full_scan {
                    Scan::All
                } else {
                    Scan::Some(choice_count.max(1))
                };
                let bias = weighted().then_some(active_request_bias.max(0.0));
                Self::LeastRequest(LeastRequest::new(len, scan, bias, weight, picks))
            }
            // Consistent hashing has no turns, and who is named is not chosen.
            Policy::Random | Policy::Ring { .. } | Policy::Maglev { .. } | Policy::Provided => {
                Self::Random(len)
            }
        }
    }

    /// A candidate; `active` tells how many requests one has.
    pub(super) fn pick(
        &mut self,
        random: &mut Random,
        weight: impl Fn(usize) -> f64,
        active: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin(state) => state.pick(weight),
            Self::LeastRequest(state) => state.pick(random, weight, active),
            Self::Random(len) => random::pick(*len, random),
        }
    }
}
