//! Files that change while the process runs: telling one state of a file from another.
//!
//! Owns what is looked at, so that all who watch files see a symbolic link that was put in place of
//! another (`ln -s` and `mv -T`, or what Kubernetes does with its volumes), if only to say that what it leads
//! to has changed, and a file that was replaced or written anew. Does not own when it is looked at, nor what is done about it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A state of what a path leads to. One that does not exist has a state too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where the path leads, if it is a symbolic link itself, and which link that is: its number, and when
    /// it was put there.
    link: Option<(PathBuf, u64, [i64; 2])>,
    /// Device and number of what it leads to in the end.
    file: Option<(u64, u64)>,
    /// Of a file, not of a folder: when it was written last, and what is known of it changed last (which
    /// permissions do as well), and its length.
    written: Option<([i64; 4], u64)>,
}

impl Stamp {
    /// The state of now.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let data = fs::metadata(path).ok();
        let file = data.as_ref().filter(|data| data.is_file());
        Self {
            link: fs::read_link(path).ok().and_then(|target| {
                let link = fs::symlink_metadata(path).ok()?;
                Some((target, link.ino(), [link.ctime(), link.ctime_nsec()]))
            }),
            file: data.as_ref().map(|data| (data.dev(), data.ino())),
            written: file.map(|data| {
                let (written, changed) = (data.mtime(), data.ctime());
                let times = [written, data.mtime_nsec(), changed, data.ctime_nsec()];
                (times, data.len())
            }),
        }
    }
}

/// Several files of which some may be new: those that belong together, such as a certificate and its
/// key, are read only once all of them have come to rest.
#[derive(Debug)]
pub struct Watched {
    /// What was there at the last look.
    seen: Vec<Stamp>,
}

impl Watched {
    /// Files that were in that state when they were read.
    #[must_use]
    pub const fn new(read: Vec<Stamp>) -> Self {
        Self { seen: read }
    }

    /// Whether they are to be read: they were read in another state than that of `now`, which is the same
    /// as at the last look.
    pub fn look(&mut self, read: &[Stamp], now: Vec<Stamp>) -> bool {
        let rests = self.seen == now;
        self.seen = now;
        rests && self.seen != read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut stamps = vec![Stamp::of(&at("live/cert"))];
        let mut step = |what: &str, is_new: bool| {
            let stamp = Stamp::of(&at("live/cert"));
            assert_eq!(stamps.last() != Some(&stamp), is_new, "{what}");
            stamps.push(stamp);
        };
        step("nothing", false);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("cert"), version).unwrap();
        }
        symlink("v1", at("live")).unwrap();
        step("it comes", true);
        symlink("v2", at("next")).unwrap();
        fs::rename(at("next"), at("live")).unwrap();
        step("the folder's link leads elsewhere", true);
        fs::write(at("v2").join("cert"), "longer than before").unwrap();
        step("it is written", true);
        fs::write(at("new"), "longer than before").unwrap();
        fs::rename(at("new"), at("v2").join("cert")).unwrap();
        step("it is replaced", true);
        fs::remove_file(at("v2").join("cert")).unwrap();
        step("it goes", true);
        step("nothing", false);
    }

    #[test]
    fn a_link_that_leads_where_another_did_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("v1")).unwrap();
        symlink(at("v1"), at("current")).unwrap();
        let before = Stamp::of(&at("current"));
        fs::write(at("v1").join("key"), "1").unwrap();
        assert_eq!(Stamp::of(&at("current")), before, "nobody has said so");
        symlink(at("v1"), at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert_ne!(Stamp::of(&at("current")), before);
    }

    #[test]
    fn files_are_read_when_they_have_come_to_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let state = |text: &str| {
            fs::write(&path, text).unwrap();
            vec![Stamp::of(&path)]
        };
        let first = state("1");
        let mut watched = Watched::new(first.clone());
        assert!(!watched.look(&first, first.clone()));
        assert!(!watched.look(&first, state("12")));
        let rests = state("123");
        assert!(!watched.look(&first, rests.clone()));
        assert!(watched.look(&first, rests.clone()));
        assert!(!watched.look(&rests, rests.clone()));
        // One that changes at each look is never read.
        let (other, back) = (state("1234"), state("12345"));
        assert!(!watched.look(&rests, other));
        assert!(!watched.look(&rests, back.clone()));
        assert!(watched.look(&rests, back));
    }
}
