//! What can be loaded as a filter, and what is said of the rest.

use std::fs;

use wasm_encoder::{
    ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentInstanceSection,
    ComponentTypeRef, ComponentTypeSection, InstanceType, Module,
};

use super::super::component::Component;
use super::super::error::LoadError;
use super::*;

/// A component that imports and exports empty instances of those names.
fn component_with(import: Option<&str>, export: Option<&str>) -> Vec<u8> {
    let (mut types, mut imports) = (ComponentTypeSection::new(), ComponentImportSection::new());
    let (mut instances, mut exports) = (
        ComponentInstanceSection::new(),
        ComponentExportSection::new(),
    );
    types.instance(&InstanceType::new());
    let mut component = wasm_encoder::Component::new();
    component.section(&types);
    if let Some(import) = import {
        imports.import(import, ComponentTypeRef::Instance(0));
        component.section(&imports);
    }
    if let Some(export) = export {
        let nothing: [(&str, ComponentExportKind, u32); 0] = [];
        instances.export_items(nothing);
        exports.export(export, ComponentExportKind::Instance, imports.len(), None);
        component.section(&instances).section(&exports);
    }
    component.finish()
}

fn refusal(bytes: &[u8]) -> String {
    let error = Component::from_bytes(engine(), "f.wasm", bytes).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    error.to_string() + &source.unwrap_or_default()
}

#[test]
fn a_filter_loads() {
    for name in ["faults", "headers", "script", "state"] {
        assert_eq!(component(name).name(), name);
    }
}

#[test]
fn what_is_no_filter_says_why() {
    let export = "nuncio:filter/http-filter@0.1.0";
    for (bytes, says) in [
        (b"".to_vec(), "it is not a WebAssembly component"),
        (b"#!/bin/sh".to_vec(), "it is not a WebAssembly component"),
        (
            Module::new().finish(),
            "it is a core module, not a component; build it for the target",
        ),
        (
            b"\0asm\x0d\0\x01\0\xff\xff\xff".to_vec(),
            "compile component \"f.wasm\": ",
        ),
        (
            component_with(None, None),
            "does not export nuncio:filter/http-filter@0.1.0",
        ),
        (
            component_with(None, Some("nuncio:filter/http-filter@0.2.0")),
            "it was built for nuncio:filter/http-filter@0.2.0, and this proxy speaks \
             nuncio:filter@0.1.0",
        ),
        (
            component_with(Some("nuncio:filter/setup@0.2.0"), Some(export)),
            "it was built for nuncio:filter/setup@0.2.0",
        ),
        (
            component_with(Some("made-up:interface/thing@1.0.0"), Some(export)),
            "it imports made-up:interface/thing@1.0.0, which this proxy does not offer",
        ),
        (
            component_with(Some("wasi:http/outgoing-handler@0.2.3"), Some(export)),
            "it imports wasi:http/outgoing-handler@0.2.3, and a filter may not",
        ),
        (
            component_with(None, Some(export)),
            "it does not fit the contract nuncio:filter@0.1.0: ",
        ),
    ] {
        let refusal = refusal(&bytes);
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn a_guest_that_opens_connections_is_refused() {
    let refusal = refusal(&guest("sockets"));
    assert!(refusal.contains("it imports wasi:sockets/"), "{refusal}");
    assert!(
        refusal.contains("leave out what uses std::net"),
        "{refusal}"
    );
}

#[test]
fn a_precompiled_file_loads_and_precompiled_bytes_do_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("headers.cwasm");
    let code = component("headers").precompiled().unwrap();
    fs::write(&path, &code).unwrap();
    let loaded = Component::from_file(engine(), &path).unwrap();
    let spec = SlotSpec::new("headers", "");
    FilterSlot::build(engine(), &loaded, spec, &services()).unwrap();
    assert!(refusal(&code).contains("precompiled code is taken from a local file alone"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Component::from_file(engine(), Path::new("/nowhere/f.wasm")).unwrap_err();
    assert_eq!(error.to_string(), "read component \"/nowhere/f.wasm\"");
    assert!(matches!(error, LoadError::Read { .. }));
}

#[test]
fn what_another_engine_compiled_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("other.cwasm");
    let other = wasmtime::Engine::default();
    fs::write(
        &path,
        other.precompile_component(&guest("headers")).unwrap(),
    )
    .unwrap();
    let error = Component::from_file(engine(), &path).unwrap_err();
    assert!(
        error.to_string().contains("give the .wasm instead"),
        "{error}"
    );
}

#[test]
fn compiled_code_is_taken_from_the_cache_and_made_anew_where_it_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let cached = Engine::new(Cache::at(place.path().join("cache"))).unwrap();
    let load = || Component::from_bytes(&cached, "headers", &guest("headers")).unwrap();
    let entry = || {
        let mut files = fs::read_dir(place.path().join("cache")).unwrap();
        let entry = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none(), "one entry");
        (fs::read(&entry).unwrap(), entry)
    };
    load();
    let (whole, path) = entry();
    // A component that was never compiled shows that the entry is what is used.
    let made = fs::metadata(&path).unwrap().modified().unwrap();
    load();
    assert_eq!(
        fs::metadata(&path).unwrap().modified().unwrap(),
        made,
        "the entry is used"
    );
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    load();
    assert_eq!(entry().0, whole, "the entry is made anew");
}

#[test]
fn limits_are_checked() {
    for (memory, cpu_ms, says) in [
        (1024, 5, "limits.memory must be between 64KiB and 256MiB"),
        (1 << 30, 5, "limits.memory"),
        (1 << 20, 0, "limits.cpu_per_call must be between 1ms and 1s"),
        (1 << 20, 1001, "limits.cpu_per_call"),
    ] {
        let built = build(&services(), "headers", "", |spec| {
            spec.limits.memory = memory;
            spec.limits.cpu_per_call = Duration::from_millis(cpu_ms);
        });
        let error = built.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
