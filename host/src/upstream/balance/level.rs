//! Priority levels: how much of the load each takes, and which of them panic.
//!
//! Owns Envoy's arithmetic from counts of endpoints to percentages, and the choice of a level by a
//! number. Called by `layout`, and by `Balancer` where a retry wants other levels than before. Does
//! not own: which endpoint of a level is chosen.

use crate::upstream::wish::Levels;

/// How the endpoints of one level are. Numbers are of endpoints, or sums of their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All, without those that are left out.
    pub counted: u64,
    /// Those that are healthy.
    pub healthy: u64,
    /// Those that are used where healthy ones do not suffice.
    pub degraded: u64,
}

/// What a level could carry, in percent of all load, at most 100 each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// By its healthy endpoints.
    pub healthy: u32,
    /// By its degraded ones.
    pub degraded: u32,
}

impl Capacity {
    /// Of a level with that census, each endpoint of which can carry `overprovisioning` percent of
    /// its share.
    #[must_use]
    pub fn new(census: Census, overprovisioning: u32) -> Self {
        let percent = |part: u64| {
            let scaled = u64::from(overprovisioning).saturating_mul(part);
            scaled
                .checked_div(census.counted)
                .map_or(0, |percent| u32::try_from(percent.min(100)).unwrap_or(100))
        };
        Self {
            healthy: percent(census.healthy),
            degraded: percent(census.degraded),
        }
    }
}

/// Which endpoints of a level are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The healthy ones.
    Healthy,
    /// The degraded ones.
    Degraded,
}

/// How the load is shared by levels, in percent that add up to 100.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    healthy: Vec<u32>,
    degraded: Vec<u32>,
}

impl Load {
    /// Everything to the highest level.
    fn first(levels: usize) -> Self {
        let mut load = Self {
            healthy: vec![0; levels],
            degraded: vec![0; levels],
        };
        if let Some(first) = load.healthy.first_mut() {
            *first = 100;
        }
        load
    }

    /// By what the levels that `tried` does not have can carry; `None` if that is nothing.
    ///
    /// Healthy endpoints of any level come before degraded ones of any other; a level that cannot
    /// carry everything leaves the rest to the next.
    #[must_use]
    pub fn spread(capacities: &[Capacity], tried: Levels) -> Option<Self> {
        let usable: Vec<Capacity> = (0_u32..)
            .zip(capacities)
            .map(|(level, capacity)| {
                if tried.has(level) {
                    Capacity::default()
                } else {
                    *capacity
                }
            })
            .collect();
        let sum: u32 = usable
            .iter()
            .map(|capacity| capacity.healthy + capacity.degraded)
            .sum();
        let total = sum.min(100);
        if total == 0 {
            return None;
        }
        let mut left = 100;
        let mut share = |of: &dyn Fn(&Capacity) -> u32| -> Vec<u32> {
            let shares = usable.iter().map(|capacity| {
                let share = left.min(of(capacity) * 100 / total);
                left -= share;
                share
            });
            shares.collect()
        };
        let mut load = Self {
            healthy: share(&|capacity| capacity.healthy),
            degraded: share(&|capacity| capacity.degraded),
        };
        // What rounding left over.
        let first = |of: fn(&Capacity) -> u32| usable.iter().position(|c| of(c) > 0);
        let rest = match first(|capacity| capacity.healthy) {
            Some(level) => load.healthy.get_mut(level),
            None => {
                first(|capacity| capacity.degraded).and_then(|level| load.degraded.get_mut(level))
            }
        };
        if let Some(share) = rest {
            *share += left;
        }
        Some(load)
    }

    /// By how many endpoints the levels have, whatever their health.
    fn by_size(sizes: &[u64]) -> Option<Self> {
        let total: u64 = sizes.iter().sum();
        let first = sizes.iter().position(|size| *size > 0)?;
        let percent = |size: &u64| u32::try_from(100 * size / total).unwrap_or(100);
        let mut healthy: Vec<u32> = sizes.iter().map(percent).collect();
        let sum: u32 = healthy.iter().sum();
        if let Some(share) = healthy.get_mut(first) {
            *share += 100 - sum;
        }
        Some(Self {
            degraded: vec![0; healthy.len()],
            healthy,
        })
    }

    /// The level, and which of its endpoints, that `number` stands for.
    #[must_use]
    pub fn choose(&self, number: u64) -> (usize, Kind) {
        // As in Envoy from 1 on, so that a level with a load of 0 is never chosen.
        let mut left = number % 100 + 1;
        for (kind, loads) in [
            (Kind::Healthy, &self.healthy),
            (Kind::Degraded, &self.degraded),
        ] {
            for (level, load) in loads.iter().enumerate() {
                match left.checked_sub(u64::from(*load)) {
                    None | Some(0) => return (level, kind),
                    Some(rest) => left = rest,
                }
            }
        }
        (0, Kind::Healthy)
    }

    /// The only choice there is, where there is no other.
    #[must_use]
    pub fn only(&self) -> Option<(usize, Kind)> {
        let full = |loads: &[u32]| loads.iter().position(|load| *load == 100);
        full(&self.healthy)
            .map(|level| (level, Kind::Healthy))
            .or_else(|| full(&self.degraded).map(|level| (level, Kind::Degraded)))
    }
}

/// How load is shared, and which levels disregard health because too little of them is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The shares.
    pub load: Load,
    /// Whether a level panics.
    pub panic: Vec<bool>,
}

impl Split {
    /// For levels of `sizes` endpoints, of which `counts` are counted and how, and that can carry
    /// `capacities`. `threshold` is the healthy (or degraded) part in percent below which a level
    /// panics; with 0 none does. As in Envoy none does either while all together can carry
    /// everything.
    #[must_use]
    pub fn new(sizes: &[u64], counts: &[Census], capacities: &[Capacity], threshold: u32) -> Self {
        let levels = sizes.len();
        let calm = vec![false; levels];
        let spread = Load::spread(capacities, Levels::default());
        let sum: u32 = capacities.iter().map(|c| c.healthy + c.degraded).sum();
        if threshold == 0 || sum >= 100 {
            return Self {
                load: spread.unwrap_or_else(|| Load::first(levels)),
                panic: calm,
            };
        }
        let panic: Vec<bool> = counts
            .iter()
            .map(|census| panics(*census, threshold))
            .collect();
        let load = if panic.iter().all(|panics| *panics) {
            Load::by_size(sizes).unwrap_or_else(|| Load::first(levels))
        } else {
            spread.unwrap_or_else(|| Load::first(levels))
        };
        Self { load, panic }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 endpoints")]
fn panics(census: Census, threshold: u32) -> bool {
    let percent = |part: u64| {
        if census.counted == 0 {
            0.0
        } else {
            100.0 * part as f64 / census.counted as f64
        }
    };
    percent(census.healthy) + percent(census.degraded) < f64::from(threshold.min(100))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Levels as (healthy, degraded, all).
    fn split(levels: &[(u64, u64, u64)], threshold: u32) -> Split {
        let sizes: Vec<u64> = levels.iter().map(|(_, _, all)| *all).collect();
        let counts: Vec<Census> = levels
            .iter()
            .map(|(healthy, degraded, all)| Census {
                counted: *all,
                healthy: *healthy,
                degraded: *degraded,
            })
            .collect();
        let capacities: Vec<Capacity> = counts
            .iter()
            .map(|census| Capacity::new(*census, 140))
            .collect();
        Split::new(&sizes, &counts, &capacities, threshold)
    }

    #[test]
    fn load_is_shared_as_envoy_does() {
        type Case<'a> = (&'a [(u64, u64, u64)], &'a [u32], &'a [u32], &'a [bool]);
        let table: &[Case<'_>] = &[
            // One level.
            (&[(1, 0, 1)], &[100], &[0], &[false]),
            (&[(0, 0, 1)], &[100], &[0], &[true]),
            (&[(0, 0, 0)], &[100], &[0], &[true]),
            (&[(0, 1, 1)], &[0], &[100], &[false]),
            (&[(1, 1, 2)], &[70], &[30], &[false]),
            // 1 of 2 healthy is 70 %, the rest overflows.
            (&[(1, 0, 2), (2, 0, 2)], &[70, 30], &[0, 0], &[false, false]),
            (&[(2, 0, 2), (2, 0, 2)], &[100, 0], &[0, 0], &[false, false]),
            (&[(5, 0, 7), (0, 0, 7)], &[100, 0], &[0, 0], &[false, false]),
            (&[(0, 0, 2), (2, 0, 2)], &[0, 100], &[0, 0], &[false, false]),
            // Both panic, so their sizes count.
            (&[(1, 0, 10), (1, 0, 10)], &[50, 50], &[0, 0], &[true, true]),
            // What 42 % leaves over; then 28 % and 70 %, which is less than everything: scaled up.
            (
                &[(3, 0, 10), (1, 0, 2)],
                &[42, 58],
                &[0, 0],
                &[false, false],
            ),
            (&[(1, 0, 5), (1, 0, 2)], &[29, 71], &[0, 0], &[true, false]),
            // Degraded ones of the first come behind healthy ones of the second.
            (&[(0, 2, 2), (1, 0, 2)], &[0, 70], &[30, 0], &[false, false]),
            // An empty level takes nothing.
            (&[(0, 0, 0), (1, 0, 1)], &[0, 100], &[0, 0], &[false, false]),
            // Nobody is healthy: by size, the remainder to the first that has any.
            (
                &[(0, 0, 0), (0, 0, 1), (0, 0, 2)],
                &[0, 34, 66],
                &[0; 3],
                &[true; 3],
            ),
        ];
        for (levels, healthy, degraded, panic) in table {
            let split = split(levels, 50);
            assert_eq!(split.load.healthy, *healthy, "{levels:?}");
            assert_eq!(split.load.degraded, *degraded, "{levels:?}");
            assert_eq!(split.panic, *panic, "{levels:?}");
        }
    }

    #[test]
    fn without_a_threshold_nobody_panics() {
        let split = split(&[(0, 0, 3), (0, 0, 3)], 0);
        assert_eq!(
            (split.load.healthy, split.panic),
            (vec![100, 0], vec![false; 2])
        );
    }

    #[test]
    fn a_threshold_is_one() {
        for (healthy, threshold, panics) in [
            (1, 33, false),
            (1, 34, true),
            (2, 66, false),
            (0, 1, true),
            (1, 100, true),
            (1, 1000, true),
        ] {
            let split = split(&[(healthy, 0, 3)], threshold);
            assert_eq!(split.panic, [panics], "{healthy} of 3 with {threshold}");
        }
        // 3 of 4 carry everything: no panic, whatever the threshold.
        assert_eq!(split(&[(3, 0, 4)], 100).panic, [false]);
    }

    #[test]
    fn tried_levels_leave_their_load_to_others() {
        let capacities =
            [(100, 0), (100, 0), (0, 50)].map(|(healthy, degraded)| Capacity { healthy, degraded });
        let spread = |tried: &[u32]| {
            let tried = tried
                .iter()
                .fold(Levels::default(), |all, one| all.with(*one));
            let load = Load::spread(&capacities, tried)?;
            Some((load.healthy, load.degraded))
        };
        assert_eq!(spread(&[]), Some((vec![100, 0, 0], vec![0, 0, 0])));
        assert_eq!(spread(&[0]), Some((vec![0, 100, 0], vec![0, 0, 0])));
        assert_eq!(spread(&[0, 1]), Some((vec![0, 0, 0], vec![0, 0, 100])));
        assert_eq!(spread(&[0, 1, 2]), None);
    }

    fn levels() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
        let level = (0_u64..20, 0_u64..20, 0_u64..20).prop_map(|(healthy, degraded, failed)| {
            (healthy, degraded, healthy + degraded + failed)
        });
        prop::collection::vec(level, 1..6)
    }

    proptest! {
        #[test]
        fn load_adds_up_and_choices_follow_it(levels in levels(), threshold in 0_u32..120) {
            let split = split(&levels, threshold);
            let load = &split.load;
            let sum: u32 = load.healthy.iter().chain(&load.degraded).sum();
            prop_assert_eq!(sum, 100);
            let mut chosen = Load {
                healthy: vec![0; levels.len()],
                degraded: vec![0; levels.len()],
            };
            for number in 0..100 {
                match load.choose(number) {
                    (level, Kind::Healthy) => chosen.healthy[level] += 1,
                    (level, Kind::Degraded) => chosen.degraded[level] += 1,
                }
            }
            prop_assert_eq!(&chosen, load);
            if let Some(only) = load.only() {
                prop_assert!((0..100).all(|number| load.choose(number) == only));
            }
        }

        #[test]
        fn load_goes_where_somebody_is(levels in levels()) {
            let split = split(&levels, 50);
            for (i, (healthy, degraded, all)) in levels.iter().enumerate() {
                let panics = split.panic[i];
                let nobody = levels.iter().all(|(_, _, all)| *all == 0);
                if split.load.healthy[i] > 0 && !nobody {
                    prop_assert!(*healthy > 0 || panics && *all > 0);
                }
                if split.load.degraded[i] > 0 {
                    prop_assert!(*degraded > 0);
                }
            }
        }
    }
}
