//! From bytes to a component that may run as a filter.
//!
//! Owns the checks that need no instance: what kind of file it is, which contract it was built for,
//! what it imports. Compiles, or takes the compiled form from the cache or from a file that the
//! operator named. `build` loads each component once; the slots of all workers share the code.

use std::fs;
use std::path::Path;

use wasmtime::Precompiled;
use wasmtime::component::Component as Code;

use super::bindings::FilterPre;
use super::cache::Key;
use super::engine::Engine;
use super::error::{Cause, LoadError};
use super::state::State;

/// The contract that this proxy speaks.
const CONTRACT: &str = "nuncio:filter@0.1.0";
/// What a filter exports.
const EXPORT: &str = "nuncio:filter/http-filter@0.1.0";
/// Interfaces of the contract that a filter may import.
const CONTRACT_IMPORTS: &[&str] = &[
    "types",
    "setup",
    "http-stream",
    "answer",
    "log",
    "log-sink",
    "token-bucket",
    "metrics",
    "regex",
    "health",
    "runtime",
];
/// Interfaces of WASI 0.2 that a filter may import.
const WASI_IMPORTS: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// A component that targets the contract, compiled.
#[derive(Clone)]
pub struct Component {
    name: String,
    code: FilterPre<State>,
}

impl Component {
    /// Loads the file at `path`: a component, or one that was precompiled by this version of the
    /// proxy on this kind of machine (`.cwasm`). A precompiled file is machine code that the proxy
    /// runs: the caller vouches that the operator named it.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn from_file(engine: &Engine, path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let read = |source| LoadError::Read {
            path: path.to_owned(),
            source,
        };
        let bytes = fs::read(path).map_err(read)?;
        if wasmtime::Engine::detect_precompiled(&bytes) == Some(Precompiled::Component) {
            let code =
                load_precompiled(engine, &bytes).map_err(|source| LoadError::Precompiled {
                    name: name.clone(),
                    source,
                })?;
            return Self::check(engine, name, &code);
        }
        Self::from_bytes(engine, name, &bytes)
    }

    /// Loads a component that is known as `name` in messages.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn from_bytes(
        engine: &Engine,
        name: impl Into<String>,
        bytes: &[u8],
    ) -> Result<Self, LoadError> {
        let name = name.into();
        match kind_of(bytes) {
            Kind::Component => {}
            Kind::CoreModule => return Err(LoadError::CoreModule { name }),
            Kind::Precompiled => return Err(LoadError::PrecompiledRefused { name }),
            Kind::Other => return Err(LoadError::NotWasm { name }),
        }
        let code = compile(engine, bytes).map_err(|source| LoadError::Compile {
            name: name.clone(),
            source,
        })?;
        Self::check(engine, name, &code)
    }

    /// What it is known by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The compiled form, to be written to a `.cwasm` file.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn precompiled(&self) -> Result<Vec<u8>, LoadError> {
        self.code
            .instance_pre()
            .component()
            .serialize()
            .map_err(|error| LoadError::Compile {
                name: self.name.clone(),
                source: error.into(),
            })
    }

    pub(super) const fn code(&self) -> &FilterPre<State> {
        &self.code
    }

    fn check(engine: &Engine, name: String, code: &Code) -> Result<Self, LoadError> {
        let ty = code.component_type();
        for (import, _) in ty.imports(engine.inner()) {
            check_import(&name, import)?;
        }
        let mut exports = ty.exports(engine.inner()).map(|(export, _)| export);
        let filter = exports.find(|export| export.starts_with("nuncio:filter/http-filter"));
        match filter {
            Some(export) if is_spoken(export) => {}
            Some(export) => return Err(other_contract(name, export)),
            None => {
                return Err(LoadError::NotFilter {
                    name,
                    wanted: EXPORT,
                });
            }
        }
        let linked = engine
            .linker()
            .instantiate_pre(code)
            .and_then(FilterPre::new);
        match linked {
            Ok(code) => Ok(Self { name, code }),
            Err(error) => Err(LoadError::Link {
                name,
                spoken: CONTRACT,
                source: error.into(),
            }),
        }
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Component,
    CoreModule,
    Precompiled,
    Other,
}

fn kind_of(bytes: &[u8]) -> Kind {
    // Component model, Binary.md: the same magic as a core module, then a version and a layer of
    // two bytes each; the layer of a module is 0, of a component 1.
    match bytes.strip_prefix(b"\0asm") {
        Some([_, _, 1, 0, ..]) => Kind::Component,
        Some([1, 0, 0, 0, ..]) => Kind::CoreModule,
        _ if wasmtime::Engine::detect_precompiled(bytes).is_some() => Kind::Precompiled,
        _ => Kind::Other,
    }
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<Code, Cause> {
    let key = Key::new(bytes, engine.fingerprint());
    if let Some(compiled) = engine.cache().read(&key)
        && let Ok(code) = load_precompiled(engine, &compiled)
    {
        return Ok(code);
    }
    let code = Code::from_binary(engine.inner(), bytes)?;
    engine.cache().write(&key, &code.serialize()?);
    Ok(code)
}

/// Makes code of what `Component::precompiled` gave.
#[expect(unsafe_code, reason = "compiled code cannot be checked, only trusted")]
fn load_precompiled(engine: &Engine, bytes: &[u8]) -> Result<Code, Cause> {
    // SAFETY: the bytes are either an entry of the compile cache, which is whole, undamaged and of a
    // place where only this user can write, or a file that the operator named as precompiled code.
    // The engine refuses what another version or configuration of it has compiled.
    let code = unsafe { Code::deserialize(engine.inner(), bytes) };
    Ok(code?)
}

/// Whether `name`, of the package `nuncio:filter`, has the version that this proxy speaks. Patch
/// versions only add, and linking finds out what is missing.
fn is_spoken(name: &str) -> bool {
    let Some((_, version)) = name.split_once('@') else {
        return false;
    };
    version.starts_with("0.1.") && !version.contains('-')
}

fn other_contract(name: String, found: &str) -> LoadError {
    LoadError::Contract {
        name,
        found: found.to_owned(),
        spoken: CONTRACT,
    }
}

fn check_import(name: &str, import: &str) -> Result<(), LoadError> {
    let refused = |reason| LoadError::Import {
        name: name.to_owned(),
        import: import.to_owned(),
        reason,
    };
    let (path, version) = import.split_once('@').unwrap_or((import, ""));
    if let Some(interface) = path.strip_prefix("nuncio:filter/") {
        if !is_spoken(import) {
            return Err(other_contract(name.to_owned(), import));
        }
        if !CONTRACT_IMPORTS.contains(&interface) {
            return Err(refused(
                "which this version of the contract does not have: a newer proxy may",
            ));
        }
        return Ok(());
    }
    let package = path.split('/').next().unwrap_or(path);
    match package {
        _ if WASI_IMPORTS.contains(&path) && version.starts_with("0.2.") => Ok(()),
        "wasi:sockets" => Err(refused(
            "and a filter may not open connections: leave out what uses std::net",
        )),
        "wasi:http" => Err(refused(
            "and a filter may not make HTTP requests of its own",
        )),
        _ if path.starts_with("wasi:") => Err(refused(
            "which filters do not get: of WASI 0.2 they have clocks, randomness, stdout and stderr",
        )),
        _ => Err(refused(
            "which this proxy does not offer: a filter may import nuncio:filter and parts of WASI \
             0.2",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        for (bytes, kind) in [
            (&b"\0asm\x0d\0\x01\0rest"[..], Kind::Component),
            (b"\0asm\x01\0\0\0rest", Kind::CoreModule),
            (b"\0asm", Kind::Other),
            (b"", Kind::Other),
            (b"(component)", Kind::Other),
            (b"\x7fELF", Kind::Other),
        ] {
            assert_eq!(kind_of(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn imports_are_named_and_explained() {
        let check =
            |import: &str| check_import("f.wasm", import).map_err(|error| error.to_string());
        for import in [
            "nuncio:filter/http-stream@0.1.0",
            "nuncio:filter/types@0.1.7",
            "wasi:io/streams@0.2.6",
            "wasi:cli/stdout@0.2.0",
        ] {
            assert_eq!(check(import), Ok(()), "{import}");
        }
        for (import, says) in [
            (
                "nuncio:filter/setup@0.2.0",
                "was built for nuncio:filter/setup@0.2.0",
            ),
            ("nuncio:filter/setup@0.1.0-draft", "rebuild it"),
            (
                "nuncio:filter/setup",
                "and this proxy speaks nuncio:filter@0.1.0",
            ),
            ("nuncio:filter/callout@0.1.0", "a newer proxy may"),
            ("wasi:sockets/tcp@0.2.3", "leave out what uses std::net"),
            ("wasi:http/outgoing-handler@0.2.3", "of its own"),
            ("wasi:io/streams@0.3.0", "of WASI 0.2 they have"),
            ("wasi:keyvalue/store@0.2.0", "which filters do not get"),
            ("my:own/thing", "does not offer"),
            ("print", "imports print, which"),
        ] {
            let error = check(import).unwrap_err();
            assert!(error.contains(says) && error.contains(import), "{error}");
        }
    }
}
