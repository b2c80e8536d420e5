//! Runtime values: `layered_runtime` to [`Values`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::config::bootstrap::{Bootstrap, DiskLayer, LayerSpecifier};
use crate::config::{Diagnostics, Place};
use crate::values::{Disk, Layer, LayerSpec, Value, Values};

/// How many keys a warning names.
const UNREAD_NAMED: usize = 8;

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
                flatten(values.get(), here, &mut flat, diagnostics);
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
    place: Place<'_>,
    into: &mut BTreeMap<Box<str>, Value>,
    diagnostics: &mut Diagnostics,
) {
    walk(json, "", &mut |name, json| match Value::json(json) {
        Some(value) => {
            into.insert(name.into(), value);
        }
        None => {
            let message = format!("runtime key \"{name}\" has neither a scalar nor a fraction");
            diagnostics.error(place, message);
        }
    });
}

/// Shows each value with the names that lead to it.
fn walk(json: &Json, name: &str, show: &mut impl FnMut(&str, &Json)) {
    match json {
        Json::Object(members)
            if name.is_empty()
                || !["numerator", "denominator"]
                    .iter()
                    .any(|key| members.contains_key(*key)) =>
        {
            for (key, member) in members {
                match name {
                    "" => walk(member, key, show),
                    name => walk(member, &format!("{name}.{key}"), show),
                }
            }
        }
        value => show(name, value),
    }
}

/// Warns of keys of static layers that nobody reads. To be asked when all that reads one is built; what
/// faults ask for by a name that a request gives is not known then.
pub(super) fn warn_of_unread(
    bootstrap: &Bootstrap,
    values: &Values,
    place: Place<'_>,
    diagnostics: &mut Diagnostics,
) {
    let place = place.field("layered_runtime").field("layers");
    let layers = bootstrap.layered_runtime.iter().flat_map(|it| &it.layers);
    for (index, layer) in layers.enumerate() {
        let LayerSpecifier::StaticLayer(written) = &layer.layer else {
            continue;
        };
        let mut unread = Vec::new();
        walk(written.get(), "", &mut |name, _| {
            if !values.is_read(name) && !name.starts_with("fault.") {
                unread.push(format!("\"{name}\""));
            }
        });
        let more = unread.len().saturating_sub(UNREAD_NAMED);
        unread.truncate(UNREAD_NAMED);
        let mut names = unread.join(", ");
        if more > 0 {
            names += &format!(" and {more} more");
        }
        if !names.is_empty() {
            let message = format!("no effect: nothing here reads the runtime value of {names}");
            diagnostics.warning(place.index(index).field("static_layer"), message);
        }
    }
}
