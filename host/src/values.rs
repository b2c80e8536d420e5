//! Runtime values: numbers that an operator changes while the proxy runs (Envoy's "runtime").
//!
//! Owns the layers, the snapshot that they add up to, and the types by which the rest of the proxy
//! reads one value: [`Fraction`], [`Integer`], [`Flag`], [`Weights`]. A key is resolved to a [`Slot`] when the
//! configuration is built, so that a read is one load of the snapshot and one index; while no layer
//! has a value for any key that somebody reads, it is one relaxed load. Readers never wait.
//!
//! Does not own: what a value means to who reads it, the pages that show and change them (`admin`),
//! or how layers are written (`build`).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::observe::stats::stats;

mod disk;
mod entry;
mod layers;
#[cfg(test)]
mod tests;

pub use disk::{Disk, watch};
pub use entry::{Entry, Value};
pub use layers::{Layer, LayerSpec, Layered, ModifyError};

use layers::Layers;

stats! {
    /// The runtime values (`runtime.`).
    pub struct ValuesStats {
        shared_gauge admin_overrides_active,
        shared_counter deprecated_feature_use,
        shared_gauge deprecated_feature_seen_since_process_start,
        shared_counter load_error,
        shared_counter load_success,
        shared_gauge num_keys,
        shared_gauge num_layers,
        shared_counter override_dir_exists,
        shared_counter override_dir_not_exists,
    }
}

/// A key's place in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(usize);

/// All values at one time.
#[derive(Debug, Default)]
pub struct Snapshot {
    slots: Box<[Option<Entry>]>,
    names: HashMap<Box<str>, Entry>,
}

impl Snapshot {
    /// What the layers say about a key, where they say anything.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<Entry> {
        self.slots.get(slot.0).copied().flatten()
    }
}

/// All runtime values of the process. See the module's page.
pub struct Values {
    current: ArcSwap<Snapshot>,
    /// Whether any slot of `current` has a value.
    is_set: AtomicBool,
    state: Mutex<State>,
    stats: Arc<ValuesStats>,
    changed: tokio::sync::watch::Sender<()>,
}

/// What only those see who build a configuration or change a layer.
#[derive(Default)]
struct State {
    slots: HashMap<Box<str>, Slot>,
    layers: Layers,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Values {
    /// The values of `layers`, of which a later one overrides an earlier one. Directories are read.
    #[must_use]
    pub fn new(layers: Vec<LayerSpec>) -> Self {
        let values = Self {
            current: ArcSwap::default(),
            is_set: AtomicBool::new(false),
            state: Mutex::default(),
            stats: Arc::default(),
            changed: tokio::sync::watch::Sender::new(()),
        };
        let mut state = values.lock();
        state.layers = Layers::new(layers);
        values.load(&mut state);
        drop(state);
        values
    }

    /// The statistics, to be listed under `runtime.`.
    #[must_use]
    pub const fn stats(&self) -> &Arc<ValuesStats> {
        &self.stats
    }

    /// The slot of `key`. What the layers say about a new one is seen after [`Self::publish`].
    pub fn slot(&self, key: &str) -> Slot {
        let mut state = self.lock();
        let next = Slot(state.slots.len());
        match state.slots.get(key) {
            Some(slot) => *slot,
            None => {
                state.slots.insert(key.into(), next);
                next
            }
        }
    }

    /// Whether anybody reads that key: whether it has a slot.
    #[must_use]
    pub fn is_read(&self, key: &str) -> bool {
        self.lock().slots.contains_key(key)
    }

    /// Makes the values of all slots seen: once after a configuration was built.
    pub fn publish(&self) {
        self.show(&self.lock());
    }

    /// Reads the current values together, or answers `None` where no slot has one.
    #[inline]
    pub fn read<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> Option<R> {
        if !self.is_set.load(Ordering::Relaxed) {
            return None;
        }
        Some(read(&self.current.load()))
    }

    /// What the layers say about a key by its name: for keys that are known only while the proxy serves.
    #[must_use]
    pub fn named(&self, key: &str) -> Option<Entry> {
        self.current.load().names.get(key).copied()
    }

    /// Tells of each change of a value from now on.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All layers and keys, for people.
    #[must_use]
    pub fn layered(&self) -> Layered {
        self.lock().layers.show()
    }

    /// Whether there are layers at all, so that a value could be set.
    #[must_use]
    pub fn has_layers(&self) -> bool {
        self.lock().layers.any()
    }

    /// Sets keys of the admin layer; an empty value takes the key out of it.
    ///
    /// # Errors
    /// When there is no such layer, or it would hold more than [`crate::limits::RUNTIME_KEYS`] keys.
    /// Nothing is changed then.
    pub fn modify(&self, changes: &[(String, String)]) -> Result<(), ModifyError> {
        let mut state = self.lock();
        state.layers.modify(changes)?;
        self.load(&mut state);
        Ok(())
    }

    /// Whether a layer is a directory.
    #[must_use]
    pub fn has_directories(&self) -> bool {
        self.lock().layers.has_directories()
    }

    /// Whether a link leads to another directory than the one that was read.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.lock().layers.is_outdated()
    }

    /// Reads all layers anew that are directories.
    pub fn reload(&self) {
        self.load(&mut self.lock());
    }

    fn load(&self, state: &mut State) {
        let loaded = state.layers.load();
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let stats = &self.stats;
        if loaded.failed == 0 {
            stats.load_success.inc();
        } else {
            stats.load_error.inc();
        }
        // So Envoy counts: the first directory is not taken for an override.
        if loaded.directories > 1 {
            stats.override_dir_exists.inc();
        } else {
            stats.override_dir_not_exists.inc();
        }
        stats.num_layers.set(gauge(loaded.layers));
        stats.num_keys.set(gauge(loaded.keys));
        stats
            .admin_overrides_active
            .set(i64::from(loaded.overridden));
        self.show(state);
    }

    fn show(&self, state: &State) {
        let mut entries = vec![None; state.slots.len()];
        for (key, slot) in &state.slots {
            if let Some(entry) = entries.get_mut(slot.0) {
                *entry = state.layers.get(key);
            }
        }
        let is_set = entries.iter().any(Option::is_some);
        self.current.store(Arc::new(Snapshot {
            slots: entries.into(),
            names: state.layers.all(),
        }));
        self.is_set.store(is_set, Ordering::Relaxed);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a value is read from.
#[derive(Clone, Debug)]
struct Key {
    values: Arc<Values>,
    slot: Slot,
}

impl Key {
    /// `None` for an empty key, which Envoy takes for none.
    fn new(values: &Arc<Values>, key: &str) -> Option<Self> {
        (!key.is_empty()).then(|| Self {
            values: Arc::clone(values),
            slot: values.slot(key),
        })
    }

    #[inline]
    fn entry(&self) -> Option<Entry> {
        self.values
            .read(|snapshot| snapshot.get(self.slot))
            .flatten()
    }
}

/// `RuntimeFractionalPercent`: a share of all requests.
#[derive(Clone, Debug)]
pub struct Fraction {
    default: Share,
    key: Option<Key>,
    plain: Plain,
}

/// What a runtime value is that is no fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    /// A percentage.
    Percent,
    /// A numerator of the default's denominator; fractions do not count.
    Numerator,
}

/// `numerator` of `denominator`, which is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    numerator: u32,
    denominator: u32,
}

impl Share {
    /// `None` where `denominator` is 0.
    #[must_use]
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        Some(Self {
            numerator,
            denominator,
        })
    }

    /// The same; nothing where `denominator` is 0.
    #[must_use]
    pub const fn of(numerator: u32, denominator: u32) -> Self {
        match Self::new(numerator, denominator) {
            Some(share) => share,
            None => Self::percent(0),
        }
    }

    /// So many percent; more than 100 are all.
    const fn percent(numerator: u32) -> Self {
        Self {
            numerator,
            denominator: 100,
        }
    }

    /// How many.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// Of how many; not 0.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Whether it is all, or more.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.numerator >= self.denominator
    }

    /// The smaller of this and so many percent.
    #[must_use]
    pub fn at_most(self, percent: u64) -> Self {
        let limit = Self::percent(u32::try_from(percent.min(100)).unwrap_or(100));
        let parts =
            |share: Self, other: Self| u64::from(share.numerator) * u64::from(other.denominator);
        if parts(limit, self) < parts(self, limit) {
            limit
        } else {
            self
        }
    }

    /// Whether the stream with the number `random` belongs to the share.
    #[must_use]
    #[inline]
    pub fn holds(self, random: u64) -> bool {
        let rest = random.checked_rem(self.denominator.into()).unwrap_or(0);
        rest < u64::from(self.numerator)
    }
}

impl Fraction {
    /// `default` where no layer has `key`, which may be empty.
    #[must_use]
    pub fn new(default: Share, values: &Arc<Values>, key: &str) -> Self {
        Self {
            default,
            key: Key::new(values, key),
            plain: Plain::Percent,
        }
    }

    /// The same where what the layers have is a numerator of the default's denominator, as in filters
    /// of access logs.
    #[must_use]
    pub fn of_numerator(default: Share, values: &Arc<Values>, key: &str) -> Self {
        Self {
            plain: Plain::Numerator,
            ..Self::new(default, values, key)
        }
    }

    /// `default`, whatever the layers say.
    #[must_use]
    pub const fn fixed(default: Share) -> Self {
        Self {
            default,
            key: None,
            plain: Plain::Percent,
        }
    }

    /// The share as it is now.
    #[must_use]
    #[inline]
    pub fn share(&self) -> Share {
        let entry = self.key.as_ref().and_then(Key::entry);
        let share = entry.and_then(|entry| match self.plain {
            Plain::Percent => entry.share(),
            Plain::Numerator => entry.integer().map(|numerator| Share {
                numerator: u32::try_from(numerator).unwrap_or(u32::MAX),
                ..self.default
            }),
        });
        share.unwrap_or(self.default)
    }

    /// Whether the stream with the number `random` belongs to the share as it is now.
    #[must_use]
    #[inline]
    pub fn holds(&self, random: u64) -> bool {
        self.share().holds(random)
    }
}

/// A whole number with a default.
#[derive(Clone, Debug)]
pub struct Integer {
    default: u64,
    key: Option<Key>,
}

impl Integer {
    /// `default` where no layer has a whole number for `key`.
    #[must_use]
    pub fn new(default: u64, values: &Arc<Values>, key: &str) -> Self {
        Self {
            default,
            key: Key::new(values, key),
        }
    }

    /// `default`, whatever the layers say.
    #[must_use]
    pub const fn fixed(default: u64) -> Self {
        Self { default, key: None }
    }

    /// The number as it is now.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        let entry = self.key.as_ref().and_then(Key::entry);
        entry.and_then(Entry::integer).unwrap_or(self.default)
    }
}

/// A switch with a default.
#[derive(Clone, Debug)]
pub struct Flag {
    default: bool,
    key: Option<Key>,
}

impl Flag {
    /// `default` where no layer has a switch for `key`.
    #[must_use]
    pub fn new(default: bool, values: &Arc<Values>, key: &str) -> Self {
        Self {
            default,
            key: Key::new(values, key),
        }
    }

    /// `default`, whatever the layers say.
    #[must_use]
    pub const fn fixed(default: bool) -> Self {
        Self { default, key: None }
    }

    /// What it stands at now.
    #[must_use]
    #[inline]
    pub fn get(&self) -> bool {
        let entry = self.key.as_ref().and_then(Key::entry);
        entry.and_then(Entry::truth).unwrap_or(self.default)
    }
}

/// Weights that belong together: read at once, so that a change of several is seen whole.
#[derive(Clone, Debug)]
pub struct Weights {
    values: Arc<Values>,
    slots: Box<[Slot]>,
}

impl Weights {
    /// The weights under `keys`.
    #[must_use]
    pub fn new(values: &Arc<Values>, keys: impl Iterator<Item = String>) -> Self {
        Self {
            values: Arc::clone(values),
            slots: keys.map(|key| values.slot(&key)).collect(),
        }
    }

    /// Calls `read` with what says a weight's current value by its index and default; answers `None`
    /// where none is set.
    #[inline]
    pub fn read<R>(&self, read: impl FnOnce(&dyn Fn(usize, u32) -> u32) -> R) -> Option<R> {
        self.values.read(|snapshot| {
            read(&|index, default| {
                let entry = self.slots.get(index).and_then(|slot| snapshot.get(*slot));
                let set = entry.and_then(Entry::integer);
                set.map_or(default, |weight| u32::try_from(weight).unwrap_or(u32::MAX))
            })
        })
    }
}
