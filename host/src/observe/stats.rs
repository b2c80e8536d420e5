//! The cells that statistics are counted in.
//!
//! Owns counters, gauges, histograms and per-status counters in two forms: cells with one writer
//! thread each, gathered in a [`Sharded`] block that is summed when somebody reads it, and
//! [`SharedCounter`]/[`SharedGauge`] for what is rare or written from several threads. The data
//! path writes these with a relaxed load and store: no locked instruction, no lock, no allocation.
//!
//! Does not own: which statistics there are (`observe::names`), where they are registered
//! (`observe::registry`) or how they are shown (`observe::expose`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Upper bounds of the histogram buckets in milliseconds, Envoy's defaults; a last bucket without
/// a bound follows.
pub const BUCKET_BOUNDS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5,
    1.8e6, 3.6e6,
];

/// [`BUCKET_BOUNDS`] for whole numbers: a value falls into the first bucket whose bound it does
/// not exceed.
const WHOLE_BOUNDS: [u64; 19] = [
    0, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
    600_000, 1_800_000, 3_600_000,
];

/// Number of buckets, the one without a bound included.
pub const BUCKETS: usize = BUCKET_BOUNDS.len() + 1;

/// The name of one statistic within its scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A name that is shown as it stands.
    Plain(Cow<'static, str>),
    /// A counter for one response status: base name and status, `upstream_rq_200`.
    Code(&'static str, u16),
    /// A counter for a class of response statuses: base name and first digit, `upstream_rq_2xx`.
    Class(&'static str, u8),
    /// A counter for the statuses outside of 100 to 599, `upstream_rq_unknown`.
    UnknownCode(&'static str),
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self::Plain(Cow::Borrowed(name))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Code(base, code) => write!(f, "{base}_{code}"),
            Self::Class(base, class) => write!(f, "{base}_{class}xx"),
            Self::UnknownCode(base) => write!(f, "{base}_unknown"),
        }
    }
}

/// What a statistic stood at when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Only ever grows.
    Counter(u64),
    /// Goes up and down. `used` says whether it was ever written.
    Gauge {
        /// The level; below zero only between two halves of a move from one shard to another.
        value: i64,
        /// Whether it was ever written.
        used: bool,
    },
    /// How recorded values are spread.
    Histogram(Box<Distribution>),
    /// A text, such as a version.
    Text(String),
}

impl Reading {
    /// Adds the same statistic of another shard.
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(more)) => *sum = sum.wrapping_add(more),
            (
                Self::Gauge { value, used },
                Self::Gauge {
                    value: more,
                    used: other_used,
                },
            ) => {
                *value = value.wrapping_add(more);
                *used |= other_used;
            }
            (Self::Histogram(sum), Self::Histogram(more)) => sum.merge(&more),
            (here, other) => *here = other,
        }
    }

    /// Whether the statistic was ever written.
    #[must_use]
    pub fn is_used(&self) -> bool {
        match self {
            Self::Counter(value) => *value != 0,
            Self::Gauge { used, .. } => *used,
            Self::Histogram(distribution) => distribution.count() != 0,
            Self::Text(text) => !text.is_empty(),
        }
    }
}

/// A block of statistics that can be read.
pub trait Stats: Send + Sync {
    /// Calls `visit` once for each statistic.
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading));
}

/// Counts up. One thread writes, any may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(n), Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The lowest bit of a gauge's cell says that it was written once; the level stands above it.
const USED: u64 = 1;

const fn gauge_step(n: i64) -> u64 {
    n.wrapping_shl(1).cast_unsigned()
}

const fn gauge_level(cell: u64) -> i64 {
    cell.cast_signed() >> 1
}

/// Counts up and down. One thread writes, any may read.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one off.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative.
    #[inline]
    pub fn add(&self, n: i64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0
            .store(now.wrapping_add(gauge_step(n)) | USED, Ordering::Relaxed);
    }

    /// Puts the level at `value`. In a [`Sharded`] block only one shard may do this.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(gauge_step(value) | USED, Ordering::Relaxed);
    }

    /// The level.
    #[must_use]
    pub fn get(&self) -> i64 {
        gauge_level(self.0.load(Ordering::Relaxed))
    }

    /// Whether it was ever written.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.0.load(Ordering::Relaxed) & USED != 0
    }
}

/// How values are spread over the buckets of [`BUCKET_BOUNDS`]. One thread writes, any may read.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl Histogram {
    /// Records one value, milliseconds where the statistic is a duration.
    #[inline]
    pub fn record(&self, value: u64) {
        let bucket = WHOLE_BOUNDS.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.inc();
        }
        self.sum.add(value);
    }

    /// What was recorded up to now.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let mut read = Distribution {
            buckets: [0; BUCKETS],
            sum: self.sum.get(),
        };
        for (to, from) in read.buckets.iter_mut().zip(&self.buckets) {
            *to = from.get();
        }
        read
    }
}

/// A copy of what a [`Histogram`] recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many values fell into each bucket, not cumulative.
    pub buckets: [u64; BUCKETS],
    /// Sum of the values.
    pub sum: u64,
}

impl Distribution {
    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Adds what another one recorded.
    pub fn merge(&mut self, other: &Self) {
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to = to.wrapping_add(*from);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was recorded since `earlier`, a reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = *self;
        for (to, from) in delta.buckets.iter_mut().zip(&earlier.buckets) {
            *to = to.saturating_sub(*from);
        }
        delta.sum = self.sum.saturating_sub(earlier.sum);
        delta
    }
}

/// One counter for each class of response status, `…_1xx` to `…_5xx`. One thread writes.
#[derive(Debug, Default)]
pub struct Classes([Counter; 5]);

impl Classes {
    /// Counts a response; a status outside of 100 to 599 is in no class.
    #[inline]
    pub fn record(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(counter) = self.0.get(class) {
            counter.inc();
        }
    }

    fn visit(&self, base: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        for (counter, class) in self.0.iter().zip(1..) {
            visit(Name::Class(base, class), Reading::Counter(counter.get()));
        }
    }
}

/// One counter for each response status, kept only for the classes that were seen, and with them
/// the classes' sums. One thread writes.
#[derive(Debug, Default)]
pub struct Codes {
    classes: [OnceLock<Box<[Counter; 100]>>; 5],
    unknown: Counter,
}

impl Codes {
    /// Counts a response.
    #[inline]
    pub fn record(&self, status: u16) {
        match self.classes.get(usize::from(status / 100).wrapping_sub(1)) {
            Some(class) => {
                let class =
                    class.get_or_init(|| Box::new([const { Counter(AtomicU64::new(0)) }; 100]));
                if let Some(counter) = class.get(usize::from(status % 100)) {
                    counter.inc();
                }
            }
            None => self.unknown.inc(),
        }
    }

    fn visit(&self, base: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        for (cell, class) in self.classes.iter().zip(1_u8..) {
            let Some(counters) = cell.get() else { continue };
            let mut sum = 0_u64;
            for (counter, code) in counters.iter().zip(u16::from(class) * 100..) {
                let count = counter.get();
                sum = sum.wrapping_add(count);
                if count != 0 {
                    visit(Name::Code(base, code), Reading::Counter(count));
                }
            }
            visit(Name::Class(base, class), Reading::Counter(sum));
        }
        if self.unknown.get() != 0 {
            visit(
                Name::UnknownCode(base),
                Reading::Counter(self.unknown.get()),
            );
        }
    }
}

/// A counter that several threads write; a clone counts in the same cell.
#[derive(Clone, Debug, Default)]
pub struct SharedCounter(Arc<AtomicU64>);

impl SharedCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A gauge that several threads write; a clone writes the same cell.
#[derive(Clone, Debug, Default)]
pub struct SharedGauge(Arc<AtomicU64>);

impl SharedGauge {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one off.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(gauge_step(n), Ordering::Relaxed);
        self.0.fetch_or(USED, Ordering::Relaxed);
    }

    /// Puts the level at `value`.
    pub fn set(&self, value: i64) {
        self.0.store(gauge_step(value) | USED, Ordering::Relaxed);
    }

    /// The level.
    #[must_use]
    pub fn get(&self) -> i64 {
        gauge_level(self.0.load(Ordering::Relaxed))
    }

    /// Whether it was ever written.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.0.load(Ordering::Relaxed) & USED != 0
    }
}

/// A kind of cell that a block of [`stats!`] can hold.
pub trait Cell {
    /// Calls `visit` for each statistic of the cell, which has the name `name` in its block.
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading));
}

impl Cell for Counter {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        visit(name.into(), Reading::Counter(self.get()));
    }
}

impl Cell for SharedCounter {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        visit(name.into(), Reading::Counter(self.get()));
    }
}

impl Cell for Gauge {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        visit(
            name.into(),
            Reading::Gauge {
                value: self.get(),
                used: self.is_used(),
            },
        );
    }
}

impl Cell for SharedGauge {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        visit(
            name.into(),
            Reading::Gauge {
                value: self.get(),
                used: self.is_used(),
            },
        );
    }
}

impl Cell for Histogram {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        visit(name.into(), Reading::Histogram(Box::new(self.read())));
    }
}

impl Cell for Classes {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        Self::visit(self, name, visit);
    }
}

impl Cell for Codes {
    fn visit(&self, name: &'static str, visit: &mut dyn FnMut(Name, Reading)) {
        Self::visit(self, name, visit);
    }
}

/// Declares a block of statistics: a struct with public cells, `Default`, and [`Stats`].
///
/// Kinds are `counter`, `gauge`, `histogram`, `classes` (`…_2xx`), `codes` (`…_200` and `…_2xx`),
/// `shared_counter` and `shared_gauge`. A name that is not an identifier follows an `=`.
macro_rules! stats {
    (
        $(#[$meta:meta])*
        $vis:vis struct $block:ident {
            $($kind:ident $field:ident $(= $name:literal)?),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $block {
            $(
                #[doc = concat!("`", $crate::observe::stats::stats!(@name $field $($name)?), "`.")]
                pub $field: $crate::observe::stats::stats!(@type $kind),
            )*
        }

        impl $crate::observe::stats::Stats for $block {
            fn visit(
                &self,
                visit: &mut dyn FnMut($crate::observe::stats::Name, $crate::observe::stats::Reading),
            ) {
                $(
                    $crate::observe::stats::Cell::visit(
                        &self.$field,
                        $crate::observe::stats::stats!(@name $field $($name)?),
                        visit,
                    );
                )*
            }
        }
    };
    (@name $field:ident $name:literal) => { $name };
    (@name $field:ident) => { stringify!($field) };
    (@type counter) => { $crate::observe::stats::Counter };
    (@type gauge) => { $crate::observe::stats::Gauge };
    (@type histogram) => { $crate::observe::stats::Histogram };
    (@type classes) => { $crate::observe::stats::Classes };
    (@type codes) => { $crate::observe::stats::Codes };
    (@type shared_counter) => { $crate::observe::stats::SharedCounter };
    (@type shared_gauge) => { $crate::observe::stats::SharedGauge };
}
pub(crate) use stats;

/// Two cache lines, because x86 fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard<T>(T);

/// A block of statistics for each worker and one for the control thread; their sum is what is
/// shown. Only worker `i` may write `shard(i)`.
#[derive(Debug)]
pub struct Sharded<T> {
    workers: Box<[Shard<T>]>,
    control: Shard<T>,
}

impl<T: Stats + Default> Sharded<T> {
    /// A block for each of `workers` workers, and one more.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let mut shards = Vec::with_capacity(workers);
        shards.resize_with(workers, Shard::default);
        Self {
            workers: shards.into(),
            control: Shard::default(),
        }
    }

    /// The block that worker `index` writes; the control thread's from the number of workers on.
    #[must_use]
    #[inline]
    pub fn shard(&self, index: usize) -> &T {
        match self.workers.get(index) {
            Some(shard) => &shard.0,
            None => &self.control.0,
        }
    }

    /// The block of each worker, in order.
    pub fn workers(&self) -> impl Iterator<Item = &T> {
        self.workers.iter().map(|shard| &shard.0)
    }
}

impl<T: Stats + Default> Stats for Sharded<T> {
    fn visit(&self, visit: &mut dyn FnMut(Name, Reading)) {
        let mut sums = BTreeMap::new();
        for shard in self.workers().chain([&self.control.0]) {
            shard.visit(&mut |name, reading| {
                match sums.entry(name) {
                    std::collections::btree_map::Entry::Vacant(free) => {
                        free.insert(reading);
                    }
                    std::collections::btree_map::Entry::Occupied(mut sum) => {
                        sum.get_mut().merge(reading);
                    }
                };
            });
        }
        for (name, reading) in sums {
            visit(name, reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    stats! {
        /// For these tests.
        struct Sample {
            counter total,
            gauge active,
            histogram time,
            classes downstream_rq,
            codes upstream_rq,
            counter nested = "health_check.attempt",
            shared_gauge members,
        }
    }

    fn listed(stats: &dyn Stats) -> BTreeMap<String, Reading> {
        let mut all = BTreeMap::new();
        stats.visit(&mut |name, reading| {
            assert_eq!(
                all.insert(name.to_string(), reading),
                None,
                "{name} came twice"
            );
        });
        all
    }

    fn counter(all: &BTreeMap<String, Reading>, name: &str) -> Option<u64> {
        match all.get(name) {
            Some(Reading::Counter(value)) => Some(*value),
            _ => None,
        }
    }

    #[test]
    fn shards_are_summed() {
        let stats = Sharded::<Sample>::new(2);
        stats.shard(0).total.inc();
        stats.shard(1).total.add(2);
        stats.shard(2).total.add(4);
        stats.shard(0).active.inc();
        stats.shard(1).active.add(-3);
        stats.shard(1).upstream_rq.record(503);
        stats.shard(0).upstream_rq.record(503);
        stats.shard(2).nested.inc();
        stats.shard(0).time.record(7);
        stats.shard(1).time.record(8);
        let all = listed(&stats);
        assert_eq!(counter(&all, "total"), Some(7));
        assert_eq!(counter(&all, "health_check.attempt"), Some(1));
        assert_eq!(
            all["active"],
            Reading::Gauge {
                value: -2,
                used: true
            }
        );
        assert_eq!(
            all["members"],
            Reading::Gauge {
                value: 0,
                used: false
            }
        );
        assert_eq!(counter(&all, "upstream_rq_503"), Some(2));
        assert_eq!(counter(&all, "upstream_rq_5xx"), Some(2));
        assert_eq!(counter(&all, "upstream_rq_2xx"), None);
        assert_eq!(counter(&all, "downstream_rq_2xx"), Some(0));
        let Reading::Histogram(time) = &all["time"] else {
            panic!("time is no histogram")
        };
        assert_eq!((time.count(), time.sum), (2, 15));
        assert!(
            std::ptr::eq(stats.shard(2), stats.shard(99)),
            "beyond the workers is control"
        );
    }

    #[test]
    fn shards_lie_apart() {
        let stats = Sharded::<Sample>::new(2);
        let (a, b) = (
            std::ptr::from_ref(stats.shard(0)),
            std::ptr::from_ref(stats.shard(1)),
        );
        assert!((b as usize).abs_diff(a as usize) >= size_of::<Sample>().next_multiple_of(128));
        assert_eq!(a as usize % 128, 0);
    }

    #[test]
    fn codes_and_classes_take_every_status() {
        let codes = Codes::default();
        let classes = Classes::default();
        for status in 0..=1000 {
            codes.record(status);
            classes.record(status);
        }
        let mut all = BTreeMap::new();
        codes.visit("rq", &mut |name, reading| {
            all.insert(name.to_string(), reading);
        });
        assert_eq!(all.len(), 500 + 5 + 1);
        assert_eq!(all["rq_100"], Reading::Counter(1));
        assert_eq!(all["rq_5xx"], Reading::Counter(100));
        assert_eq!(all["rq_unknown"], Reading::Counter(1001 - 500));
        classes.visit("rq", &mut |name, reading| {
            assert_eq!(reading, Reading::Counter(100), "{name}");
        });
    }

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        for (value, bucket) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (5, 2),
            (6, 3),
            (3_600_000, 18),
            (3_600_001, 19),
            (u64::MAX, 19),
        ] {
            let histogram = Histogram::default();
            histogram.record(value);
            let read = histogram.read();
            assert_eq!(read.buckets[bucket], 1, "{value}");
            assert_eq!((read.count(), read.sum), (1, value));
        }
        for (bound, whole) in BUCKET_BOUNDS.iter().zip(WHOLE_BOUNDS) {
            #[expect(clippy::cast_possible_truncation, reason = "the bounds are small")]
            #[expect(clippy::cast_sign_loss, reason = "the bounds are positive")]
            let floor = bound.floor() as u64;
            assert_eq!(floor, whole);
        }
    }

    #[test]
    fn gauges_remember_that_they_were_used() {
        let gauge = Gauge::default();
        assert!(!gauge.is_used());
        gauge.inc();
        gauge.dec();
        assert!(gauge.is_used());
        assert_eq!(gauge.get(), 0);
        gauge.set(-5);
        gauge.add(-1);
        assert_eq!(gauge.get(), -6);
        let shared = SharedGauge::default();
        shared.clone().add(-2);
        shared.inc();
        assert_eq!(shared.get(), -1);
    }

    #[test]
    fn shared_counters_are_exact_across_threads() {
        let counter = SharedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.get(), 4000);
    }

    #[test]
    fn the_difference_of_two_readings() {
        let histogram = Histogram::default();
        histogram.record(3);
        let earlier = histogram.read();
        histogram.record(30);
        let delta = histogram.read().since(&earlier);
        assert_eq!((delta.count(), delta.sum), (1, 30));
    }
}
