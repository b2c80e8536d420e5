//! Runtime values in a directory (`disk_layer`): a file for each key, a folder for each part of its
//! name.
//!
//! Owns reading the tree, and noticing that the symbolic link that leads to it was changed to
//! another one: the one way of Envoy's, too, to change all values at once. Does not own what a file
//! says (`entry`).

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Values;
use super::entry::Value;
use crate::limits::{RUNTIME_DEPTH, RUNTIME_FILE_BYTES, RUNTIME_KEYS, RUNTIME_WATCH};
use crate::watched::Stamp;

/// Where a layer is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `symlink_root`: what is watched.
    pub root: PathBuf,
    /// `symlink_root`, `subdirectory`, and the service cluster where it is appended.
    pub path: PathBuf,
}

impl Disk {
    /// The values of the tree; `None` where it does not exist.
    pub(super) fn read(&self) -> io::Result<Option<BTreeMap<Box<str>, Value>>> {
        if !self.path.is_dir() {
            return Ok(None);
        }
        let mut values = BTreeMap::new();
        walk(&self.path, "", 1, &mut values)?;
        Ok(Some(values))
    }

    /// What is watched, as it is now.
    pub(super) fn target(&self) -> Stamp {
        Stamp::of(&self.root)
    }
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    into: &mut BTreeMap<Box<str>, Value>,
) -> io::Result<()> {
    if depth > RUNTIME_DEPTH {
        return Err(io::Error::other(format!(
            "folders lie deeper in each other than {RUNTIME_DEPTH}"
        )));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let key = if prefix.is_empty() {
            name.into_owned()
        } else {
            format!("{prefix}.{name}")
        };
        let kind = fs::metadata(entry.path())?;
        if kind.is_dir() {
            walk(&entry.path(), &key, depth + 1, into)?;
        } else if kind.is_file() {
            if into.len() >= RUNTIME_KEYS {
                return Err(io::Error::other(format!("more than {RUNTIME_KEYS} files")));
            }
            into.insert(key.into(), Value::text(&value_of(&entry)?));
        }
    }
    Ok(())
}

/// The text of a file without the lines that are comments, and without the white space at its end.
fn value_of(entry: &DirEntry) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(entry.path())?;
    let limit = RUNTIME_FILE_BYTES;
    if file.take(limit + 1).read_to_string(&mut text)? as u64 > limit {
        let path = entry.path();
        let message = format!("\"{}\" has more than {limit} bytes", path.display());
        return Err(io::Error::other(message));
    }
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    Ok(lines.join("\n").trim_end().to_owned())
}

/// Looks after the links of all directories until the control thread ends. Ends at once where there
/// is none.
pub async fn watch(values: Arc<Values>) {
    if !values.has_directories() {
        return;
    }
    loop {
        tokio::time::sleep(RUNTIME_WATCH).await;
        if !values.is_outdated() {
            continue;
        }
        let values = Arc::clone(&values);
        // The tree may lie on a slow disk: other work of this thread goes on meanwhile.
        let reloaded = tokio::task::spawn_blocking(move || values.reload()).await;
        match reloaded {
            Ok(()) => {
                tracing::info!(target: "runtime", "read the runtime values of a disk layer anew")
            }
            Err(error) => tracing::error!(target: "runtime", "read runtime values: {error}"),
        }
    }
}
