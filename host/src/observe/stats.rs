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

mod histogram;

pub use histogram::{BUCKET_BOUNDS, Bounds, Distribution, Histogram, QUANTILES};

/// The name of one statistic within its scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A name that is shown as it stands.
    Plain(Cow<'static, str>),
    /// A counter for one response status: base name and status, `upstream_rq_200`.
    Code(&'static str, u16),
    /// A counter for a class of response statuses: base name and first digit, `upstream_rq_2xx`.
    Class(&'static str, u8),
    /// One of several of a kind, such as a cipher: `before.value.after`, or `before.value` where `after`
    /// is empty. In Prometheus' form the value is a label.
    Labelled {
        /// What comes before the value.
        before: &'static str,
        /// The label.
        label: &'static str,
        /// The value.
        value: Cow<'static, str>,
        /// What comes behind it.
        after: &'static str,
    },
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
            Self::Labelled {
                before,
                value,
                after: "",
                ..
            } => write!(f, "{before}.{value}"),
            Self::Labelled {
                before,
                value,
                after,
                ..
            } => {
                // As in Envoy, whose names have no colons.
                let value = value.replace(':', "_");
                write!(f, "{before}.{value}.{after}")
            }
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
    /// A gauge for a moment, in seconds since 1970: several blocks that have one show the first.
    Moment(i64),
    /// How recorded values are spread.
    Histogram(Box<Distribution>),
}

impl Reading {
    /// Adds the same statistic of another shard.
    pub(super) fn merge(&mut self, other: Self) {
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
            (Self::Moment(first), Self::Moment(other)) => *first = other.min(*first),
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
            Self::Moment(_) => true,
            Self::Histogram(distribution) => distribution.count() != 0,
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
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

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
                let class = class.get_or_init(|| Box::new([const { Counter::new() }; 100]));
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

    /// Whether both write the same cell.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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

    /// Adds one, where the level is below `limit`: whether it was. Exact, whoever else adds.
    #[must_use]
    pub fn inc_below(&self, limit: i64) -> bool {
        let raised = |cell| {
            let level = gauge_level(cell);
            (level < limit).then(|| gauge_step(level + 1) | USED)
        };
        let order = Ordering::Relaxed;
        self.0.try_update(order, order, raised).is_ok()
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

    /// Whether both write the same cell.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A kind of cell that a block of `stats!` can hold.
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
mod tests;
