//! `ROUND_ROBIN`: each in turn, as often as its weight says.

use super::edf::Edf;

/// The state of one worker's rounds over the candidates.
#[derive(Debug)]
pub struct RoundRobin(Rounds);

#[derive(Debug)]
enum Rounds {
    Equal { next: usize, len: usize },
    Weighted { schedule: Edf, weights: Vec<f64> },
}

impl RoundRobin {
    /// Rounds over candidates of these weights, after `picks` choices were made.
    #[must_use]
    pub fn new(weights: &[u32], picks: u64) -> Self {
        let len = weights.len();
        let offset = offset(picks, len);
        if are_equal(weights) {
            return Self(Rounds::Equal { next: offset, len });
        }
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        let mut rounds = Self(Rounds::Weighted {
            schedule: Edf::new(weights.iter().copied()),
            weights,
        });
        // Otherwise every new publication would begin with the heaviest.
        for _ in 0..offset {
            rounds.pick();
        }
        rounds
    }

    /// The candidate whose turn it is.
    pub fn pick(&mut self) -> Option<usize> {
        match &mut self.0 {
            Rounds::Equal { next, len } => {
                let chosen = *next;
                *next = if chosen + 1 >= *len { 0 } else { chosen + 1 };
                (chosen < *len).then_some(chosen)
            }
            Rounds::Weighted { schedule, weights } => {
                schedule.pick(|candidate| weights.get(candidate).copied().unwrap_or(1.0))
            }
        }
    }
}

/// Whether weights make no difference.
pub(super) fn are_equal(weights: &[u32]) -> bool {
    weights.iter().all(|weight| Some(weight) == weights.first())
}

/// How far into a round over `len` candidates `picks` choices lead.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below a usize"
)]
pub(super) const fn offset(picks: u64, len: usize) -> usize {
    if len == 0 {
        0
    } else {
        (picks % len as u64) as usize
    }
}
