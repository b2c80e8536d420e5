//! `LEAST_REQUEST`: the least busy of a few, or by weight over how busy each is.

use super::Random;
use super::edf::Edf;
use super::round_robin::{ahead, offset};

/// The state of one worker's choices among the candidates.
#[derive(Debug)]
pub struct LeastRequest(Choice);

/// How many candidates are looked at where all weigh the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// That many, drawn by chance.
    Some(u32),
    /// All of them.
    All,
}

#[derive(Debug)]
enum Choice {
    /// The least busy; all weigh the same.
    Scan { scan: Scan, len: usize },
    /// By deadlines, with a weight that shrinks as requests grow.
    Weighted { schedule: Edf, bias: f64 },
}

impl LeastRequest {
    /// Choices among `len` candidates after `picks` choices were made. Where there is a `bias`,
    /// they go by weight over requests to that power.
    #[must_use]
    pub fn new(
        len: usize,
        scan: Scan,
        bias: Option<f64>,
        weight: impl Fn(usize) -> f64,
        picks: u64,
    ) -> Self {
        Self(match bias {
            None => Choice::Scan { scan, len },
            Some(bias) => Choice::Weighted {
                schedule: ahead(len, weight, offset(picks, len)),
                bias,
            },
        })
    }

    /// A candidate; `active` tells how many requests one has.
    pub fn pick(
        &mut self,
        random: &mut Random,
        weight: impl Fn(usize) -> f64,
        active: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        match &mut self.0 {
            Choice::Scan { scan, len } => match *scan {
                _ if *len <= 1 => (*len == 1).then_some(0),
                Scan::Some(choice_count) => Some(draw(choice_count, *len, random, active)),
                Scan::All => least(*len, random, active),
            },
            Choice::Weighted { schedule, bias } => schedule.pick(|candidate| {
                let weight = weight(candidate);
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
) -> usize {
    let mut best = random.index(len);
    let mut least = active(best);
    for _ in 1..choice_count {
        let candidate = random.index(len);
        let requests = active(candidate);
        if requests < least {
            (best, least) = (candidate, requests);
        }
    }
    best
}

/// Any of the least busy ones, evenly.
fn least(len: usize, random: &mut Random, active: impl Fn(usize) -> u64) -> Option<usize> {
    let mut best = None;
    let (mut fewest, mut equals) = (u64::MAX, 0);
    for candidate in 0..len {
        let requests = active(candidate);
        if requests < fewest || best.is_none() {
            (best, fewest, equals) = (Some(candidate), requests, 1);
        } else if requests == fewest {
            equals += 1;
            if random.below(equals) == 0 {
                best = Some(candidate);
            }
        }
    }
    best
}
