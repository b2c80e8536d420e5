//! The compile cache: compiled components on disk.
//!
//! Owns the directory, the names of its entries and their check. An entry is named after the
//! component's bytes and everything that the compiled code depends on, so it never goes stale; it is
//! put in place by a rename, so it is never seen half written; it begins with a hash of the rest, so
//! damage is found before the code is used. Nothing here fails: without a cache, components are
//! compiled at each start, and one line of the log says why.
//!
//! Does not own: compiling, and turning the bytes into code (`component`).

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// First bytes of an entry.
const MAGIC: &[u8; 8] = b"nuncio\0\x01";
/// Bytes of a hash.
const HASH: usize = blake3::OUT_LEN;

/// A directory for compiled components, or none.
#[derive(Debug, Default)]
pub struct Cache {
    directory: Option<PathBuf>,
    complained: AtomicBool,
}

impl Cache {
    /// No cache.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(None)
    }

    const fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            complained: AtomicBool::new(false),
        }
    }

    /// The cache in that directory, which need not exist yet.
    #[must_use]
    pub const fn at(directory: PathBuf) -> Self {
        Self::new(Some(directory))
    }

    /// The user's: `$NUNCIO_CACHE_DIR`, else `$XDG_CACHE_HOME/nuncio`, else `~/.cache/nuncio`, else
    /// none. An empty `$NUNCIO_CACHE_DIR` means none.
    #[must_use]
    pub fn of_user() -> Self {
        Self::new(directory_from(|name| std::env::var_os(name)))
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The whole and undamaged entry of that key, if there is one that only this user could have
    /// written.
    pub(super) fn read(&self, key: &Key) -> Option<Vec<u8>> {
        let directory = self.directory.as_ref()?;
        let path = directory.join(&key.0);
        if !is_ours(directory) || !is_ours(&path) {
            return None;
        }
        let entry = fs::read(path).ok()?;
        let (hash, code) = entry.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
        (blake3::hash(code).as_bytes() == hash).then(|| code.to_vec())
    }

    /// Keeps `code` under that key, or says once why it could not.
    pub(super) fn write(&self, key: &Key, code: &[u8]) {
        let Some(directory) = &self.directory else {
            return;
        };
        if let Err(error) = put(directory, key, code)
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                directory = %directory.display(),
                "the compile cache is not used, so each start compiles the filters: {error}"
            );
        }
    }
}

fn directory_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(own) = variable("NUNCIO_CACHE_DIR") {
        return (!own.is_empty()).then(|| own.into());
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(absolute)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")).filter(absolute))
        .map(|caches| caches.join("nuncio"))
}

/// Whether only this user can have written there: loading a compiled component runs what it says.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| {
        !metadata.is_symlink()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & 0o022 == 0
    })
}

fn put(directory: &Path, key: &Key, code: &[u8]) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    if !is_ours(directory) {
        return Err(std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            "others than its user may write to it, and what it holds is run (chmod go-w)",
        ));
    }
    let unfinished = directory.join(format!("{}.{}.new", key.0, std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    let written = (|| {
        file.write_all(MAGIC)?;
        file.write_all(blake3::hash(code).as_bytes())?;
        file.write_all(code)?;
        fs::rename(&unfinished, directory.join(&key.0))
    })();
    if written.is_err() {
        // Best effort: what stays behind is a file that nobody reads.
        let _removed = fs::remove_file(&unfinished);
    }
    written
}

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// For a component with those bytes, compiled by an engine with that fingerprint.
    pub(super) fn new(bytes: &[u8], engine: &Fingerprint) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(blake3::hash(bytes).as_bytes());
        hash.update(&engine.0);
        Self(format!("{}.cwasm", hash.finalize().to_hex()))
    }
}

/// A digest of everything that compiled code depends on besides the component: version and settings
/// of the engine, target and features of the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; HASH]);

impl Fingerprint {
    /// The digest of what `settings` hashes.
    pub(super) fn of(settings: impl std::hash::Hash) -> Self {
        let mut hasher = Collector::default();
        settings.hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }
}

/// Feeds a cryptographic hash from the `Hash` trait.
#[derive(Default)]
struct Collector(blake3::Hasher);

impl std::hash::Hasher for Collector {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: the digest is taken from the inner hash.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn key() -> Key {
        Key::new(b"component", &Fingerprint::of("engine"))
    }

    #[test]
    fn an_entry_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path().join("made/on/demand"));
        assert_eq!(cache.read(&key()), None);
        cache.write(&key(), b"code");
        assert_eq!(cache.read(&key()).as_deref(), Some(&b"code"[..]));
        let files = fs::read_dir(cache.directory().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing unfinished stays");
    }

    #[test]
    fn keys_differ_by_component_and_engine() {
        let other = [
            Key::new(b"component2", &Fingerprint::of("engine")),
            Key::new(b"component", &Fingerprint::of("engine2")),
        ];
        assert!(other.iter().all(|other| *other != key()));
        assert_ne!(other[0], other[1]);
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path().to_owned());
        cache.write(&key(), b"code");
        let path = place.path().join(&key().0);
        let whole = fs::read(&path).unwrap();
        for damage in 0..whole.len() {
            let mut entry = whole.clone();
            entry[damage] ^= 1;
            fs::write(&path, &entry).unwrap();
            assert_eq!(cache.read(&key()), None, "byte {damage}");
            fs::write(&path, &whole[..damage]).unwrap();
            assert_eq!(cache.read(&key()), None, "cut at {damage}");
        }
    }

    #[test]
    fn what_others_may_write_is_not_trusted() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path().to_owned());
        cache.write(&key(), b"code");
        let allow = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let path = place.path().join(&key().0);
        allow(&path, 0o620);
        assert_eq!(cache.read(&key()), None);
        allow(&path, 0o600);
        assert!(cache.read(&key()).is_some());
        allow(place.path(), 0o777);
        assert_eq!(cache.read(&key()), None);
        assert!(!cache.complained.load(Ordering::Relaxed));
        let other = Key::new(b"another", &Fingerprint::of("engine"));
        cache.write(&other, b"code");
        assert!(cache.complained.load(Ordering::Relaxed));
        assert!(
            !place.path().join(&other.0).exists(),
            "nobody would read it"
        );
        allow(place.path(), 0o700);
        let elsewhere = place.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(cache.read(&key()), None);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_no_error() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        let cache = Cache::at(file.join("below"));
        cache.write(&key(), b"code");
        assert_eq!(cache.read(&key()), None);
        assert!(cache.complained.load(Ordering::Relaxed));
        let none = Cache::none();
        none.write(&key(), b"code");
        assert!(!none.complained.load(Ordering::Relaxed), "it is wanted so");
    }

    #[test]
    fn the_users_directory() {
        let of = |set: &[(&str, &str)]| {
            directory_from(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let home = ("HOME", "/home/me");
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[home]), Some("/home/me/.cache/nuncio".into()));
        assert_eq!(
            of(&[home, ("XDG_CACHE_HOME", "/c")]),
            Some("/c/nuncio".into())
        );
        assert_eq!(
            of(&[home, ("XDG_CACHE_HOME", "c")]),
            Some("/home/me/.cache/nuncio".into())
        );
        assert_eq!(of(&[home, ("NUNCIO_CACHE_DIR", "/n")]), Some("/n".into()));
        assert_eq!(of(&[home, ("NUNCIO_CACHE_DIR", "")]), None);
    }
}
