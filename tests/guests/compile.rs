//! Compiles packages for wasm32-wasip2 with a nested cargo. Included by path wherever that is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the workspace or package at `manifest` in release mode below `target_dir`, which must not
/// be the target directory of the cargo that runs this, and answers the folder with the components.
/// Works offline once the dependencies have been fetched.
///
/// # Errors
/// With cargo's own words, or what to do where the target is not installed.
pub(crate) fn compile(manifest: &Path, target_dir: &Path) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-wasip2",
            "--manifest-path",
        ])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir);
    for (name, _) in std::env::vars_os() {
        // What the outer cargo says to its own compiler is not meant for this one.
        let name = name.to_string_lossy();
        let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO"].contains(&&*name)
            || name.starts_with("CARGO_REGISTRIES_");
        let inherited = name.starts_with("CARGO") || name.starts_with("RUSTC");
        if (inherited && !kept) || name.ends_with("RUSTFLAGS") {
            command.env_remove(&*name);
        }
    }
    let output = command
        .output()
        .map_err(|error| format!("start cargo: {error}"))?;
    if output.status.success() {
        return Ok(target_dir.join("wasm32-wasip2/release"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("can't find crate for `core`") || said.contains("can't find crate for `std`") {
        return Err("the target wasm32-wasip2 is missing: rustup target add wasm32-wasip2".into());
    }
    Err(format!("cargo build of {}:\n{said}", manifest.display()))
}
