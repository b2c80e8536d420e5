//! `ROUND_ROBIN`: each in turn, as often as its weight says.

use super::edf::Edf;

/// The state of one worker's rounds over the candidates.
#[derive(Debug)]
pub struct RoundRobin(Rounds);

#[derive(Debug)]
enum Rounds {
    Equal { next: usize, len: usize },
    Weighted(Edf),
}

impl RoundRobin {
    /// Rounds over `len` candidates after `picks` choices were made; by weight where `is_weighted`
    /// says that weights differ, or will.
    #[must_use]
    pub fn new(len: usize, is_weighted: bool, weight: impl Fn(usize) -> f64, picks: u64) -> Self {
        let offset = offset(picks, len);
        if !is_weighted {
            return Self(Rounds::Equal { next: offset, len });
        }
        Self(Rounds::Weighted(ahead(len, weight, offset)))
    }

    /// The candidate whose turn it is.
    pub fn pick(&mut self, weight: impl Fn(usize) -> f64) -> Option<usize> {
        match &mut self.0 {
            Rounds::Equal { next, len } => {
                let chosen = *next;
                *next = if chosen + 1 >= *len { 0 } else { chosen + 1 };
                (chosen < *len).then_some(chosen)
            }
            Rounds::Weighted(schedule) => schedule.pick(weight),
        }
    }
}

/// A schedule in which `offset` choices were made. Otherwise every new publication would begin
/// with the heaviest.
pub(super) fn ahead(len: usize, weight: impl Fn(usize) -> f64, offset: usize) -> Edf {
    let mut schedule = Edf::new((0..len).map(&weight));
    for _ in 0..offset {
        schedule.pick(&weight);
    }
    schedule
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
