//! Which statistics there are.
//!
//! Owns the list of all blocks of statistics with the scope that each belongs to, the counters that
//! filters ask for by name, and the reading of all of them. The lock is taken when a configuration
//! is built and when somebody looks, never on the data path. A block is held weakly: it is listed
//! for as long as the listener, cluster or filter that it belongs to.
//!
//! Does not own: the cells (`observe::stats`) or the ways to show them (`observe::expose`).

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::naming::Naming;
use super::stats::{Distribution, Name, Reading, Sharded, SharedCounter, SharedGauge, Stats};

mod scope;
#[cfg(test)]
mod tests;

pub use scope::{Namespace, Scope};

/// All statistics of the process.
pub struct Registry {
    workers: usize,
    naming: OnceLock<Naming>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: Vec<Block>,
    counters: BTreeMap<String, (Arc<Scope>, SharedCounter)>,
    gauges: BTreeMap<String, (Arc<Scope>, SharedGauge)>,
    histograms: BTreeMap<String, Latched>,
    /// What counters stood at when they were put to zero: who writes them knows nothing of it.
    zeros: HashMap<String, u64>,
}

/// A registered block.
struct Block {
    scope: Arc<Scope>,
    kind: TypeId,
    stats: Weak<dyn Stats>,
    /// The same block, to hand it out again.
    any: Weak<dyn Any + Send + Sync>,
}

/// What a histogram stood at when the running interval began, and the interval before that.
#[derive(Default)]
struct Latched {
    start: Distribution,
    interval: Option<Distribution>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

/// One statistic as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it belongs.
    pub scope: Arc<Scope>,
    /// Its name within the scope.
    pub name: Name,
    /// What it stands at.
    pub reading: Reading,
    /// For a histogram: what was recorded in the last whole interval, or ever in the first one.
    pub interval: Option<Distribution>,
}

impl Registry {
    /// An empty registry for a process with so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            naming: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// Sets what is said about statistics as a whole; once, before anybody reads them.
    pub fn name_by(&self, naming: Naming) {
        let _second = self.naming.set(naming);
    }

    /// What is said about statistics as a whole.
    pub fn naming(&self) -> &Naming {
        self.naming.get_or_init(Naming::default)
    }

    /// The block of a scope with a shard for each worker: the one that is there, which two
    /// connection managers with one `stat_prefix` share and which outlives a change of the
    /// configuration, or a new one.
    #[must_use]
    pub fn sharded<T: Stats + Default + 'static>(&self, scope: Scope) -> Arc<Sharded<T>> {
        let mut state = self.lock();
        let kind = TypeId::of::<Sharded<T>>();
        let found = state
            .blocks
            .iter()
            .filter(|block| block.kind == kind && *block.scope == scope)
            .find_map(|block| block.any.upgrade()?.downcast().ok());
        found.unwrap_or_else(|| {
            let fresh = Arc::new(Sharded::<T>::new(self.workers));
            state.add(scope, &fresh);
            fresh
        })
    }

    /// A block of its own that is listed in several scopes, each of which shows it with what else it has.
    #[must_use]
    pub fn sharded_in_all<T: Stats + Default + 'static>(
        &self,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> Arc<Sharded<T>> {
        let fresh = Arc::new(Sharded::<T>::new(self.workers));
        let mut state = self.lock();
        for scope in scopes {
            let any: Weak<()> = Weak::new();
            state.add_block(scope, &fresh, any);
        }
        fresh
    }

    /// Lists a block that somebody else made, for as long as that holds it.
    pub fn register<T: Stats + 'static>(&self, scope: Scope, stats: &Arc<T>) {
        self.lock().add(scope, stats);
    }

    /// The counter of that full name, such as `<prefix>.http_local_rate_limit.ok`: the one that is
    /// there or a new one. It stays for the life of the process.
    #[must_use]
    pub fn counter(&self, name: &str) -> SharedCounter {
        let mut state = self.lock();
        if let Some((_, counter)) = state.counters.get(name) {
            return counter.clone();
        }
        let counter = SharedCounter::default();
        let scope = Arc::new(Scope::of_name(name));
        state
            .counters
            .insert(name.to_owned(), (scope, counter.clone()));
        counter
    }

    /// The gauge of that full name, as [`Self::counter`].
    #[must_use]
    pub fn gauge(&self, name: &str) -> SharedGauge {
        let mut state = self.lock();
        if let Some((_, gauge)) = state.gauges.get(name) {
            return gauge.clone();
        }
        let gauge = SharedGauge::default();
        let scope = Arc::new(Scope::of_name(name));
        state.gauges.insert(name.to_owned(), (scope, gauge.clone()));
        gauge
    }

    /// Puts all counters to zero, as far as anybody sees who reads them here.
    pub fn reset_counters(&self) {
        let samples = self.read();
        let mut state = self.lock();
        for (name, sample) in samples {
            if let Reading::Counter(count @ 1..) = sample.reading {
                let zero = state.zeros.entry(name).or_default();
                *zero = zero.wrapping_add(count);
            }
        }
    }

    /// Ends the running interval of all histograms (`stats_flush_interval`).
    pub fn latch(&self) {
        let samples = self.read();
        let mut state = self.lock();
        let mut latched = BTreeMap::new();
        for (name, sample) in samples {
            if let Reading::Histogram(now) = sample.reading {
                let start = state.histograms.remove(&name).unwrap_or_default().start;
                let interval = Some(now.since(&start));
                latched.insert(
                    name,
                    Latched {
                        start: *now,
                        interval,
                    },
                );
            }
        }
        state.histograms = latched;
    }

    /// Reads everything, by full name. What several blocks have under one name is summed.
    #[must_use]
    pub fn read(&self) -> BTreeMap<String, Sample> {
        let mut state = self.lock();
        state.blocks.retain(|block| block.stats.strong_count() > 0);
        let mut samples = BTreeMap::new();
        for block in &state.blocks {
            let Some(stats) = block.stats.upgrade() else {
                continue;
            };
            stats.visit(&mut |name, reading| add(&mut samples, &block.scope, name, reading));
        }
        let rest = |name: &str, scope: &Scope| {
            let rest = name.strip_prefix(&*scope.prefix).unwrap_or(name);
            Name::Plain(rest.to_owned().into())
        };
        for (name, (scope, counter)) in &state.counters {
            let reading = Reading::Counter(counter.get());
            add(&mut samples, scope, rest(name, scope), reading);
        }
        for (name, (scope, gauge)) in &state.gauges {
            let (value, used) = (gauge.get(), gauge.is_used());
            let reading = Reading::Gauge { value, used };
            add(&mut samples, scope, rest(name, scope), reading);
        }
        let naming = self.naming();
        samples.retain(|name, _| naming.keeps(name));
        for (name, sample) in &mut samples {
            match &mut sample.reading {
                Reading::Histogram(now) => {
                    now.bounds_by(naming.bounds(name));
                    let latched = state
                        .histograms
                        .get(name)
                        .and_then(|latched| latched.interval.clone());
                    sample.interval = Some(latched.unwrap_or_else(|| (**now).clone()));
                }
                Reading::Counter(count) => {
                    let zero = state.zeros.get(name).copied().unwrap_or_default();
                    // One that has less began anew, with what it belongs to.
                    *count = count.checked_sub(zero).unwrap_or(*count);
                }
                Reading::Gauge { .. } | Reading::Moment(_) => {}
            }
        }
        samples
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add<T: Stats + 'static>(&mut self, scope: Scope, stats: &Arc<T>) {
        let any: Arc<dyn Any + Send + Sync> = Arc::clone(stats) as _;
        self.add_block(scope, stats, Arc::downgrade(&any));
    }

    /// `any` is where the block can be had from, to hand it out again.
    fn add_block<T: Stats + 'static>(
        &mut self,
        scope: Scope,
        stats: &Arc<T>,
        any: Weak<dyn Any + Send + Sync>,
    ) {
        self.blocks.retain(|block| block.stats.strong_count() > 0);
        let stats: Arc<T> = Arc::clone(stats);
        let stats: Arc<dyn Stats> = stats;
        self.blocks.push(Block {
            scope: Arc::new(scope),
            kind: TypeId::of::<T>(),
            stats: Arc::downgrade(&stats),
            any,
        });
    }
}

fn add(samples: &mut BTreeMap<String, Sample>, scope: &Arc<Scope>, name: Name, reading: Reading) {
    use std::collections::btree_map::Entry;
    match samples.entry(format!("{}{name}", scope.prefix)) {
        Entry::Occupied(mut sum) => sum.get_mut().reading.merge(reading),
        Entry::Vacant(free) => {
            free.insert(Sample {
                scope: Arc::clone(scope),
                name,
                reading,
                interval: None,
            });
        }
    }
}
