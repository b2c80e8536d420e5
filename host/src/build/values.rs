//! Runtime values: `layered_runtime` to [`Values`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::config::bootstrap::{Bootstrap, DiskLayer, LayerSpecifier};
use crate::config::{Diagnostics, Place};
use crate::values::{Disk, Layer, LayerSpec, Value, Values};

/// Reads the layers. `service_cluster` is what `append_service_cluster` appends.
pub(super) fn values(
    bootstrap: &Bootstrap,
    service_cluster: &str,
    place: Place<'_>,
    diagnostics: &mut Diagnostics,
) -> Arc<Values> {
    let Some(written) = &bootstrap.layered_runtime else {
        return Arc::default();
    };
    if written.layers.is_empty() {
        // As Envoy: whoever asks for layers and names none gets the one that can be changed.
        return Arc::new(Values::new(vec![LayerSpec {
            name: String::new(),
            layer: Layer::Admin,
        }]));
    }
    let place = place.field("layered_runtime").field("layers");
    let mut layers: Vec<LayerSpec> = Vec::new();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut admin = None;
    for (index, written) in written.layers.iter().enumerate() {
        let here = place.index(index);
        if let Some(first) = names.insert(&written.name, index) {
            let message = format!("another layer has the name \"{}\"", written.name);
            diagnostics
                .error(here.field("name"), message)
                .related_place(place.index(first).field("name"), "the first one");
        }
        let layer = match &written.layer {
            LayerSpecifier::StaticLayer(values) => {
                let mut flat = BTreeMap::new();
                let here = here.field("static_layer");
                flatten(values.get(), "", here, &mut flat, diagnostics);
                Layer::Static(flat)
            }
            LayerSpecifier::DiskLayer(disk) => Layer::Disk(directory(disk, service_cluster)),
            LayerSpecifier::AdminLayer(_) => {
                if let Some(first) = admin.replace(index) {
                    diagnostics
                        .error(
                            here.field("admin_layer"),
                            "there may be one admin layer, and this is another",
                        )
                        .related_place(place.index(first), "the first one");
                }
                Layer::Admin
            }
        };
        layers.push(LayerSpec {
            name: written.name.clone(),
            layer,
        });
    }
    Arc::new(Values::new(layers))
}

fn directory(written: &DiskLayer, service_cluster: &str) -> Disk {
    let root = PathBuf::from(&written.symlink_root);
    let mut path = root.join(Path::new(written.subdirectory.trim_start_matches('/')));
    if written.append_service_cluster {
        path.push(service_cluster);
    }
    Disk { root, path }
}

/// Puts the values of nested objects under the names that lead to them, joined by points.
fn flatten(
    json: &Json,
    name: &str,
    place: Place<'_>,
    into: &mut BTreeMap<Box<str>, Value>,
    diagnostics: &mut Diagnostics,
) {
    match json {
        Json::Object(members)
            if name.is_empty()
                || !["numerator", "denominator"]
                    .iter()
                    .any(|key| members.contains_key(*key)) =>
        {
            for (key, member) in members {
                let longer = match name {
                    "" => key.clone(),
                    name => format!("{name}.{key}"),
                };
                flatten(member, &longer, place, into, diagnostics);
            }
        }
        value => match Value::json(value) {
            Some(value) => {
                into.insert(name.into(), value);
            }
            None => {
                let message = format!("runtime key \"{name}\" has neither a scalar nor a fraction");
                diagnostics.error(place, message);
            }
        },
    }
}
