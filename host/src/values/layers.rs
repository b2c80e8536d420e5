//! The layers of runtime values and what they add up to.
//!
//! Owns their order (a later layer overrides an earlier one), the one layer that the admin page
//! changes, and the table for people. Called by `values`. Does not own slots or snapshots.

use std::collections::{BTreeMap, HashMap};

use super::disk::Disk;
use super::entry::{Entry, Value};
use crate::limits::RUNTIME_KEYS;
use crate::watched::Stamp;

/// A layer as it is asked for.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// `RuntimeLayer.name`.
    pub name: String,
    /// `RuntimeLayer.layer_specifier`.
    pub layer: Layer,
}

/// Where the values of a layer come from.
#[derive(Clone, Debug)]
pub enum Layer {
    /// `static_layer`: keys and values.
    Static(BTreeMap<Box<str>, Value>),
    /// `disk_layer`.
    Disk(Disk),
    /// `admin_layer`.
    Admin,
}

/// A layer with its values; none where its directory does not exist or could not be read.
#[derive(Debug)]
struct Loaded {
    spec: LayerSpec,
    values: Option<BTreeMap<Box<str>, Value>>,
    /// Where the link of a directory led just before it was read.
    read_from: Option<Stamp>,
}

/// All layers, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Layers(Vec<Loaded>);

/// What a load found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Layers that are there.
    pub(super) layers: usize,
    /// Those of them that are directories.
    pub(super) directories: usize,
    /// Layers that could not be read.
    pub(super) failed: usize,
    /// Keys that any layer has.
    pub(super) keys: usize,
    /// Whether the admin layer has one.
    pub(super) overridden: bool,
}

/// All layers and keys, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layered {
    /// Names of the layers that are there.
    pub layers: Vec<String>,
    /// For each key the value that counts, and that of each layer, empty where it has none.
    pub entries: BTreeMap<String, (String, Vec<String>)>,
}

/// Why the admin layer was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModifyError {
    /// The configuration has no such layer.
    #[error("No admin layer specified")]
    NoAdminLayer,
    /// It is full.
    #[error("the admin layer may have {RUNTIME_KEYS} keys")]
    TooMany,
}

impl Layers {
    pub(super) fn new(specs: Vec<LayerSpec>) -> Self {
        let load = |spec: LayerSpec| {
            let values = match &spec.layer {
                Layer::Static(values) => Some(values.clone()),
                Layer::Admin => Some(BTreeMap::new()),
                Layer::Disk(_) => None,
            };
            Loaded {
                spec,
                values,
                read_from: None,
            }
        };
        Self(specs.into_iter().map(load).collect())
    }

    /// Reads the directories.
    pub(super) fn load(&mut self) -> Summary {
        let (mut failed, mut directories) = (0, 0);
        for layer in &mut self.0 {
            let Layer::Disk(disk) = &layer.spec.layer else {
                continue;
            };
            // Before reading: a change meanwhile is then seen as one.
            layer.read_from = Some(disk.target());
            layer.values = disk.read().unwrap_or_else(|error| {
                failed += 1;
                let (name, path) = (&layer.spec.name, disk.path.display());
                tracing::error!(target: "runtime", "read the runtime layer \"{name}\" from \"{path}\": {error}");
                None
            });
            directories += usize::from(layer.values.is_some());
        }
        let there = || self.0.iter().filter_map(|layer| layer.values.as_ref());
        let mut keys: Vec<&str> = there().flatten().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        keys.dedup();
        Summary {
            layers: there().count(),
            directories,
            failed,
            keys: keys.len(),
            overridden: self.0.iter().any(|layer| {
                matches!(layer.spec.layer, Layer::Admin)
                    && layer
                        .values
                        .as_ref()
                        .is_some_and(|values| !values.is_empty())
            }),
        }
    }

    /// What counts for a key.
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        let layers = self.0.iter().rev();
        let mut found = layers.filter_map(|layer| layer.values.as_ref()?.get(key));
        found.next().map(|value| value.entry)
    }

    /// What counts for each key.
    pub(super) fn all(&self) -> HashMap<Box<str>, Entry> {
        let there = self.0.iter().filter_map(|layer| layer.values.as_ref());
        // A later layer replaces what an earlier one has.
        let all = there.flatten();
        all.map(|(key, value)| (key.clone(), value.entry)).collect()
    }

    pub(super) fn modify(&mut self, changes: &[(String, String)]) -> Result<(), ModifyError> {
        let is_admin = |layer: &&mut Loaded| matches!(layer.spec.layer, Layer::Admin);
        let layer = self.0.iter_mut().find(is_admin);
        let values = layer.and_then(|layer| layer.values.as_mut());
        let values = values.ok_or(ModifyError::NoAdminLayer)?;
        let new = changes
            .iter()
            .filter(|(key, value)| !value.is_empty() && !values.contains_key(key.as_str()));
        let new = new.count();
        if new > 0 && values.len() + new > RUNTIME_KEYS {
            return Err(ModifyError::TooMany);
        }
        for (key, value) in changes {
            if value.is_empty() {
                values.remove(key.as_str());
            } else {
                values.insert(key.as_str().into(), Value::text(value));
            }
        }
        Ok(())
    }

    /// Whether there are any, also those whose directory is not there yet.
    pub(super) const fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether one of them is a directory.
    pub(super) fn has_directories(&self) -> bool {
        self.directories().next().is_some()
    }

    /// Whether a link is another than when its directory was read, or leads elsewhere.
    pub(super) fn is_outdated(&self) -> bool {
        self.directories()
            .any(|(disk, read_from)| read_from != Some(&disk.target()))
    }

    fn directories(&self) -> impl Iterator<Item = (&Disk, Option<&Stamp>)> {
        self.0.iter().filter_map(|layer| match &layer.spec.layer {
            Layer::Disk(disk) => Some((disk, layer.read_from.as_ref())),
            Layer::Static(_) | Layer::Admin => None,
        })
    }

    pub(super) fn show(&self) -> Layered {
        let there = || {
            let layers = self.0.iter();
            layers.filter_map(|layer| Some((&layer.spec.name, layer.values.as_ref()?)))
        };
        let mut entries = BTreeMap::new();
        for (key, _) in there().flat_map(|(_, values)| values) {
            if entries.contains_key(&**key) {
                continue;
            }
            let of_layers: Vec<String> = there()
                .map(|(_, values)| {
                    values
                        .get(key)
                        .map_or_else(String::new, |v| v.text.to_string())
                })
                .collect();
            let mut set = there().filter_map(|(_, values)| values.get(key));
            let counts = set
                .next_back()
                .map_or_else(String::new, |v| v.text.to_string());
            entries.insert(key.to_string(), (counts, of_layers));
        }
        Layered {
            layers: there().map(|(name, _)| name.clone()).collect(),
            entries,
        }
    }
}
