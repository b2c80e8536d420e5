//! `wasi:filesystem`: there are no files.
//!
//! A program looks for files below its preopened directories, and there is none, so the standard
//! library of a guest reports an error that the guest can handle. No function that takes a descriptor
//! can be reached by a guest that follows WASI; they are here because compilers import them.

use wasmtime::component::{Linker, Resource, Val};

use super::super::state::State;
use super::resource;

struct Descriptor;
struct DirectoryEntryStream;

/// The functions of `types` at 0.2.
const FUNCTIONS: &[&str] = &[
    "[method]descriptor.read-via-stream",
    "[method]descriptor.write-via-stream",
    "[method]descriptor.append-via-stream",
    "[method]descriptor.advise",
    "[method]descriptor.sync-data",
    "[method]descriptor.get-flags",
    "[method]descriptor.get-type",
    "[method]descriptor.set-size",
    "[method]descriptor.set-times",
    "[method]descriptor.read",
    "[method]descriptor.write",
    "[method]descriptor.read-directory",
    "[method]descriptor.sync",
    "[method]descriptor.create-directory-at",
    "[method]descriptor.stat",
    "[method]descriptor.stat-at",
    "[method]descriptor.set-times-at",
    "[method]descriptor.link-at",
    "[method]descriptor.open-at",
    "[method]descriptor.readlink-at",
    "[method]descriptor.remove-directory-at",
    "[method]descriptor.rename-at",
    "[method]descriptor.symlink-at",
    "[method]descriptor.unlink-file-at",
    "[method]descriptor.is-same-object",
    "[method]descriptor.metadata-hash",
    "[method]descriptor.metadata-hash-at",
    "[method]directory-entry-stream.read-directory-entry",
];

/// A guest used a descriptor that nobody gave it.
#[derive(Debug, thiserror::Error)]
#[error("the guest used a file, and filters have none")]
struct NoFiles;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.0")?;
    resource::<Descriptor>(&mut types, "descriptor")?;
    resource::<DirectoryEntryStream>(&mut types, "directory-entry-stream")?;
    for function in FUNCTIONS {
        types.func_new(function, |_, _, _, _| Err(NoFiles.into()))?;
    }
    types.func_new("filesystem-error-code", |_, _, _, results| {
        if let Some(code) = results.first_mut() {
            *code = Val::Option(None);
        }
        Ok(())
    })?;
    linker
        .instance("wasi:filesystem/preopens@0.2.0")?
        .func_wrap("get-directories", |_, (): ()| {
            Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
        })
}
