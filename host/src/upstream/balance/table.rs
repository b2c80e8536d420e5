//! Consistent hashing: who of a level takes a hash, and who takes it in the place of a busy one.
//!
//! Owns a level's ring or Maglev table together with its endpoints' shares, and bounded load
//! (`hash_balance_factor`) as Envoy does it. Built by `layout` and shared by all workers; a lookup
//! allocates nothing. Does not own: the choice of a level.

use super::maglev::Maglev;
use super::ring::Ring;
use super::twister::Twister;

/// A level's endpoints, placed by hashes.
#[derive(Debug)]
pub struct Table {
    places: Places,
    /// Indices of the endpoints and their shares, which add up to 1.
    members: Vec<(u32, f64)>,
    /// `hash_balance_factor`: the percentage of its share of requests that an endpoint may have.
    balance_factor: Option<u32>,
}

/// Where endpoints are.
#[derive(Debug)]
pub enum Places {
    /// `RING_HASH`.
    Ring(Ring),
    /// `MAGLEV`.
    Maglev(Maglev),
}

/// What a table is asked about requests under way.
pub trait Busy {
    /// Requests that the endpoint at that index has now.
    fn active(&self, index: u32) -> u64;
    /// Requests that all endpoints of the cluster have.
    fn total_active(&self) -> u64;
}

impl Table {
    /// `places` were made of `members`, in their order.
    #[must_use]
    pub const fn new(
        places: Places,
        members: Vec<(u32, f64)>,
        balance_factor: Option<u32>,
    ) -> Self {
        Self {
            places,
            members,
            balance_factor,
        }
    }

    /// The index of the endpoint that takes `hash`; `attempt` counts the choices that were not
    /// wanted. `scratch` is room to work in.
    pub fn lookup(
        &self,
        hash: u64,
        attempt: u32,
        busy: &impl Busy,
        scratch: &mut Vec<u32>,
    ) -> Option<u32> {
        let at = match &self.places {
            Places::Ring(ring) => ring.lookup(hash, attempt),
            Places::Maglev(maglev) => maglev.lookup(hash, attempt),
        }?;
        let member = *self.members.get(at as usize)?;
        match self.balance_factor {
            None => Some(member.0),
            Some(factor) => Some(self.bounded(hash, member, factor, busy, scratch)),
        }
    }

    /// `chosen`, or if it has more than its bound of requests, the first of the others that has
    /// not, in an order that follows from `hash` alone. Where all have, the least of them.
    fn bounded(
        &self,
        hash: u64,
        chosen: (u32, f64),
        factor: u32,
        busy: &impl Busy,
        scratch: &mut Vec<u32>,
    ) -> u32 {
        let slots = (busy.total_active() + 1)
            .saturating_mul(u64::from(factor))
            .saturating_add(99)
            / 100;
        #[expect(clippy::cast_precision_loss, reason = "requests under way are few")]
        let overload = |(index, share): (u32, f64)| {
            let own = (slots as f64 * share).ceil().max(1.0);
            busy.active(index) as f64 / own
        };
        let mut least = (chosen.0, overload(chosen));
        if least.1 <= 1.0 {
            return chosen.0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "that is what Envoy seeds it with"
        )]
        let mut twister = Twister::new(hash as u32);
        scratch.clear();
        scratch.extend((0..).take(self.members.len()));
        for at in 0..scratch.len() {
            let rest = u32::try_from(scratch.len() - at).unwrap_or(u32::MAX);
            let other = at + twister.below(rest) as usize;
            scratch.swap(at, other);
            let member = scratch
                .get(at)
                .and_then(|at| self.members.get(*at as usize));
            let Some(member) = member.filter(|(index, _)| *index != chosen.0) else {
                continue;
            };
            let overload = overload(*member);
            if overload <= 1.0 {
                return member.0;
            }
            if overload < least.1 {
                least = (member.0, overload);
            }
        }
        least.0
    }

    /// Where endpoints are, for statistics.
    #[must_use]
    pub const fn places(&self) -> &Places {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::ring::RingSpec;

    struct Active(Vec<u64>);

    impl Busy for Active {
        fn active(&self, index: u32) -> u64 {
            self.0[index as usize]
        }

        fn total_active(&self) -> u64 {
            self.0.iter().sum()
        }
    }

    fn table(n: u32, factor: Option<u32>) -> Table {
        let keys: Vec<String> = (0..n).map(|i| format!("h{i}")).collect();
        let share = 1.0 / f64::from(n);
        let members: Vec<(&str, f64)> = keys.iter().map(|key| (&**key, share)).collect();
        let ring = Ring::new(RingSpec::default(), &members);
        let members = (0..n).map(|index| (index, share)).collect();
        Table::new(Places::Ring(ring), members, factor)
    }

    #[test]
    fn load_stays_within_its_bound() {
        for factor in [100, 120, 150, 200] {
            let table = table(5, Some(factor));
            let mut active = Active(vec![0; 5]);
            let mut scratch = Vec::new();
            for _ in 0..1000 {
                // One key, the worst case.
                let index = table.lookup(42, 0, &active, &mut scratch).unwrap();
                active.0[index as usize] += 1;
                let total: u64 = active.0.iter().sum();
                let bound = (total * u64::from(factor)).div_ceil(500) + 2;
                assert!(
                    active.0.iter().all(|n| *n <= bound),
                    "{factor}: {:?}",
                    active.0
                );
            }
        }
    }

    #[test]
    fn the_same_hash_spills_over_in_the_same_order() {
        let table = table(6, Some(100));
        let plain = self::table(6, None);
        let home = plain
            .lookup(7, 0, &Active(vec![0; 6]), &mut Vec::new())
            .unwrap();
        let mut scratch = Vec::new();
        let mut order = |hash: u64| {
            let mut active = Active(vec![0; 6]);
            (0..6)
                .map(|_| {
                    let index = table.lookup(hash, 0, &active, &mut scratch).unwrap();
                    active.0[index as usize] += 1000;
                    index
                })
                .collect::<Vec<u32>>()
        };
        let first = order(7);
        assert_eq!(first[0], home);
        assert_eq!(first, order(7));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [0, 1, 2, 3, 4, 5],
            "each overflows to the next: {first:?}"
        );
        assert!((0..20).any(|hash| order(hash) != first));
    }

    #[test]
    fn where_all_are_over_the_least_is_taken() {
        let table = table(3, Some(100));
        let active = Active(vec![50, 41, 60]);
        // 152 slots for three: 51 each, and only the third is above.
        for hash in 0..50 {
            let index = table
                .lookup(hash << 50, 0, &active, &mut Vec::new())
                .unwrap();
            assert_ne!(index, 2);
        }
    }
}
