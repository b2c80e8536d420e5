//! `LEAST_REQUEST`: the least busy of a few, or by weight over how busy each is.

use super::Random;
use super::edf::Edf;
use super::round_robin::{are_equal, offset};

/// The state of one worker's choices among the candidates.
#[derive(Debug)]
pub struct LeastRequest(Choice);

#[derive(Debug)]
enum Choice {
    /// The least busy of `choice_count` that are drawn; all weigh the same.
    Draw { choice_count: u32, len: usize },
    /// By deadlines, with a weight that shrinks as requests grow.
    Weighted {
        schedule: Edf,
        weights: Vec<f64>,
        bias: f64,
    },
}

impl LeastRequest {
    /// Choices among candidates of these weights, after `picks` choices were made.
    #[must_use]
    pub fn new(weights: &[u32], choice_count: u32, bias: f64, picks: u64) -> Self {
        let len = weights.len();
        if are_equal(weights) {
            return Self(Choice::Draw {
                choice_count: choice_count.max(1),
                len,
            });
        }
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        let mut schedule = Edf::new(weights.iter().copied());
        for _ in 0..offset(picks, len) {
            schedule.pick(|candidate| weights.get(candidate).copied().unwrap_or(1.0));
        }
        Self(Choice::Weighted {
            schedule,
            weights,
            bias: bias.max(0.0),
        })
    }

    /// A candidate; `active` tells how many requests one has.
    pub fn pick(&mut self, random: &mut Random, active: impl Fn(usize) -> u64) -> Option<usize> {
        match &mut self.0 {
            Choice::Draw { choice_count, len } => draw(*choice_count, *len, random, active),
            Choice::Weighted {
                schedule,
                weights,
                bias,
            } => schedule.pick(|candidate| {
                let weight = weights.get(candidate).copied().unwrap_or(1.0);
                #[expect(clippy::cast_precision_loss, reason = "active requests are few")]
                let busy = active(candidate) as f64 + 1.0;
                if *bias == 1.0 {
                    weight / busy
                } else {
                    weight / busy.powf(*bias)
                }
            }),
        }
    }
}

/// As in Envoy the same candidate may be drawn twice, and the first of equals wins.
fn draw(
    choice_count: u32,
    len: usize,
    random: &mut Random,
    active: impl Fn(usize) -> u64,
) -> Option<usize> {
    if len <= 1 {
        return (len == 1).then_some(0);
    }
    let mut best = random.index(len);
    let mut least = active(best);
    for _ in 1..choice_count {
        let candidate = random.index(len);
        let requests = active(candidate);
        if requests < least {
            (best, least) = (candidate, requests);
        }
    }
    Some(best)
}
