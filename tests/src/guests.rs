//! The components of `tests/guests`, compiled when first asked for.
//!
//! Owns where they are. What each does is written in its own first lines. Called by the suites and
//! by [`crate::config`].

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

#[path = "../guests/compile.rs"]
mod compile;

/// The file of the guest of that name.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = root.join("guests/Cargo.toml");
        // Beside the target directory of the cargo that runs this, whose lock is taken.
        let target = root.join("../target/guests");
        let folder = compile::compile(&manifest, &target).unwrap_or_else(|why| panic!("{why}"));
        folder.canonicalize().expect("cargo made the folder")
    });
    let path = FOLDER.join(name).with_extension("wasm");
    assert!(path.is_file(), "no guest is called {name:?}");
    path
}
