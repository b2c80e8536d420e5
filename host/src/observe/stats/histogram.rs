//! Histograms as Envoy keeps them: bins of two significant decimal digits.
//!
//! Owns the cells, the copy that is taken of them to be shown, and the quantiles and cumulative
//! bucket counts that are computed from that copy. Memory is taken for a decade of values when the
//! first of them comes, so a histogram that nothing is recorded in costs a hundred bytes or so.
//!
//! Does not own: how the results are written out (`observe::expose`).

use std::sync::{Arc, OnceLock};

use super::Counter;

/// Upper bounds of the buckets that are shown, Envoy's defaults (milliseconds for durations).
pub const BUCKET_BOUNDS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5,
    1.8e6, 3.6e6,
];

/// The quantiles that are shown, as Envoy shows them.
pub const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// How many decades are told apart; larger values count in the last bin.
const DECADES: usize = 10;

/// Bins of a decade. The first decade has one for each of 0 to 99, the others use 90.
const BINS: usize = 100;

/// One bin. Bins are ordered as their values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bin(u16);

impl Bin {
    /// The bin that `value` falls into.
    #[inline]
    fn of(value: u64) -> Self {
        let mut decade = 0;
        let mut leading = value;
        while leading >= 100 {
            leading /= 10;
            decade += 1;
        }
        if decade == 0 {
            return Self(u16::try_from(value).unwrap_or_default());
        }
        if decade >= DECADES {
            return Self(at(DECADES - 1, 89));
        }
        Self(at(
            decade,
            usize::try_from(leading).unwrap_or_default() - 10,
        ))
    }

    const fn decade(self) -> usize {
        self.0 as usize / BINS
    }

    const fn place(self) -> usize {
        self.0 as usize % BINS
    }

    /// The smallest value of the bin.
    fn lower(self) -> f64 {
        let place = u32::try_from(self.place()).unwrap_or_default();
        match self.decade() {
            0 => f64::from(place),
            decade => f64::from(place + 10) * power_of_ten(decade),
        }
    }

    /// How far the bin reaches; the bin of zero holds nothing but zero.
    fn width(self) -> f64 {
        match (self.decade(), self.place()) {
            (0, 0) => 0.0,
            (0, 1..=9) => 0.1,
            (decade, _) => power_of_ten(decade),
        }
    }
}

fn power_of_ten(exponent: usize) -> f64 {
    10_f64.powi(i32::try_from(exponent).unwrap_or_default())
}

const fn at(decade: usize, place: usize) -> u16 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below DECADES * BINS, which is 1000"
    )]
    let bin = (decade * BINS + place) as u16;
    bin
}

/// How recorded values are spread. One thread writes, any may read.
#[derive(Debug, Default)]
pub struct Histogram {
    decades: [OnceLock<Box<[Counter; BINS]>>; DECADES],
    sum: Counter,
}

impl Histogram {
    /// Records one value, milliseconds where the statistic is a duration.
    #[inline]
    pub fn record(&self, value: u64) {
        let bin = Bin::of(value);
        if let Some(decade) = self.decades.get(bin.decade()) {
            let bins = decade.get_or_init(|| Box::new([const { Counter::new() }; BINS]));
            if let Some(counter) = bins.get(bin.place()) {
                counter.inc();
            }
        }
        self.sum.add(value);
    }

    /// What was recorded up to now.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let mut read = Distribution {
            bins: Vec::new(),
            sum: self.sum.get(),
            bounds: None,
        };
        for (decade, cell) in self.decades.iter().enumerate() {
            let Some(counters) = cell.get() else { continue };
            for (place, counter) in counters.iter().enumerate() {
                let count = counter.get();
                if count != 0 {
                    read.bins.push((Bin(at(decade, place)), count));
                }
            }
        }
        read
    }
}

/// A copy of what a [`Histogram`] recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The bins that are not empty with how many values fell into each, in order.
    bins: Vec<(Bin, u64)>,
    /// Sum of the values.
    sum: u64,
    /// Where the buckets end that are shown; at [`BUCKET_BOUNDS`] where nothing is said.
    bounds: Option<Arc<Bounds>>,
}

/// Upper bounds of buckets, in order.
#[derive(Debug, PartialEq)]
pub struct Bounds(Box<[f64]>);

// All are numbers.
impl Eq for Bounds {}

impl Bounds {
    /// Bounds, in order.
    #[must_use]
    pub fn new(bounds: Vec<f64>) -> Self {
        Self(bounds.into())
    }
}

impl Distribution {
    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.bins
            .iter()
            .fold(0, |sum, (_, count)| sum.wrapping_add(*count))
    }

    /// Sum of the values, exact where Envoy's is estimated from the bins.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Adds what another one recorded.
    pub fn merge(&mut self, other: &Self) {
        for (bin, count) in &other.bins {
            match self.bins.binary_search_by_key(bin, |(bin, _)| *bin) {
                Ok(found) => {
                    if let Some((_, sum)) = self.bins.get_mut(found) {
                        *sum = sum.wrapping_add(*count);
                    }
                }
                Err(place) => self.bins.insert(place, (*bin, *count)),
            }
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was recorded since `earlier`, a reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        for (bin, count) in &mut delta.bins {
            if let Ok(found) = earlier.bins.binary_search_by_key(bin, |(bin, _)| *bin) {
                let before = earlier.bins.get(found).map_or(0, |(_, before)| *before);
                *count = count.saturating_sub(before);
            }
        }
        delta.bins.retain(|(_, count)| *count != 0);
        delta.sum = self.sum.saturating_sub(earlier.sum);
        delta
    }

    /// The value that the share `quantile` of all values does not exceed, interpolated within its
    /// bin; `None` when nothing was recorded.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        let rank = (as_f64(total) * quantile).ceil().max(1.0);
        let mut below = 0_u64;
        for (bin, count) in &self.bins {
            let up_to = below + count;
            if as_f64(up_to) >= rank {
                let place = rank - as_f64(below);
                return Some(bin.lower() + bin.width() * (place / as_f64(count + 1)));
            }
            below = up_to;
        }
        None
    }

    /// Lets buckets end there, where that is said.
    pub fn bounds_by(&mut self, bounds: Option<&Arc<Bounds>>) {
        self.bounds = bounds.map(Arc::clone);
    }

    /// How many values lie in each bucket or below it. A bin that starts at a bound counts as not above
    /// it, as in Envoy.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut bins = self.bins.iter().peekable();
        let mut sum = 0_u64;
        let bounds = self
            .bounds
            .as_ref()
            .map_or(&BUCKET_BOUNDS[..], |own| &own.0);
        bounds.iter().copied().map(move |bound| {
            while let Some((_, count)) = bins.next_if(|(bin, _)| bin.lower() <= bound) {
                sum = sum.wrapping_add(*count);
            }
            (bound, sum)
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a quantile of more than 2^53 values may be off"
)]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(values: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram.read()
    }

    #[test]
    fn bins_have_two_significant_digits() {
        for (value, lower, width) in [
            (0, 0.0, 0.0),
            (1, 1.0, 0.1),
            (9, 9.0, 0.1),
            (10, 10.0, 1.0),
            (99, 99.0, 1.0),
            (100, 100.0, 10.0),
            (129, 120.0, 10.0),
            (3_600_000, 3_600_000.0, 100_000.0),
            (99_999_999_999, 99e9, 1e9),
            (u64::MAX, 99e9, 1e9),
        ] {
            let bin = Bin::of(value);
            assert!((bin.lower() - lower).abs() < 1e-6, "{value}: {bin:?}");
            assert!((bin.width() - width).abs() < 1e-6, "{value}: {bin:?}");
        }
    }

    /// Values and quantiles as a real Envoy printed them.
    #[test]
    fn quantiles_are_those_of_envoy() {
        let cases: [(&[u64], [&str; 10]); 4] = [
            (&[37], ["37.5"; 10]),
            (
                &[0, 33, 41, 41, 44, 45],
                [
                    "0",
                    "33.5",
                    "41.333333333333336",
                    "44.5",
                    "45.5",
                    "45.5",
                    "45.5",
                    "45.5",
                    "45.5",
                    "45.5",
                ],
            ),
            (
                &[0, 1],
                [
                    "0", "0", "0", "1.05", "1.05", "1.05", "1.05", "1.05", "1.05", "1.05",
                ],
            ),
            (
                &[1; 12],
                [
                    "1.0076923076923077",
                    "1.023076923076923",
                    "1.0461538461538462",
                    "1.0692307692307692",
                    "1.0846153846153845",
                    "1.0923076923076924",
                    "1.0923076923076924",
                    "1.0923076923076924",
                    "1.0923076923076924",
                    "1.0923076923076924",
                ],
            ),
        ];
        for (values, expected) in cases {
            let read = recorded(values);
            let shown = QUANTILES.map(|q| read.quantile(q).unwrap().to_string());
            assert_eq!(shown, expected, "{values:?}");
        }
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn a_value_at_a_bound_is_within_the_bucket() {
        let read = recorded(&[0, 1, 5, 6, 4_000_000]);
        let counts: Vec<u64> = read.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts[..5], [1, 2, 3, 4, 4]);
        assert_eq!(counts[18], 4);
        assert_eq!(read.count(), 5);
        assert_eq!(read.sum(), 4_000_012);
    }

    proptest! {
        #[test]
        fn a_bin_holds_its_values(value in 0_u64..99_000_000_000) {
            let bin = Bin::of(value);
            let value = as_f64(value);
            prop_assert!(bin.lower() <= value && value <= bin.lower() + bin.width());
        }

        #[test]
        fn merge_and_since_are_inverse(
            a in proptest::collection::vec(0_u64..1_000_000, 0..50),
            b in proptest::collection::vec(0_u64..1_000_000, 0..50),
        ) {
            let (a, b) = (recorded(&a), recorded(&b));
            let mut both = a.clone();
            both.merge(&b);
            prop_assert_eq!(both.since(&a), b.clone());
            prop_assert_eq!(both.count(), a.count() + b.count());
        }

        #[test]
        fn quantiles_rise(values in proptest::collection::vec(0_u64..10_000_000, 1..50)) {
            let read = recorded(&values);
            let shown = QUANTILES.map(|q| read.quantile(q).unwrap());
            prop_assert!(shown.is_sorted(), "{:?}", shown);
        }
    }
}
