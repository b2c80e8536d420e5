//! Where certificates and keys come from.
//!
//! Owns reading one: whole, and bounded. What it says is `identity`'s and `trust`'s.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use crate::limits::CERTIFICATE_BYTES;

/// A file, or the data itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, read again when it changes.
    File(PathBuf),
    /// What the configuration or the environment says.
    Inline(Arc<[u8]>),
}

impl Source {
    /// The file; none for data.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Inline(_) => None,
        }
    }

    /// All of it; never empty.
    pub(super) fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match self {
            Self::File(path) => {
                let read = File::open(path)
                    .and_then(|file| file.take(CERTIFICATE_BYTES + 1).read_to_end(&mut bytes));
                read.map_err(|problem| Error::Read {
                    from: self.to_string(),
                    problem,
                })?;
            }
            Self::Inline(data) => bytes.extend_from_slice(data),
        }
        let from = || self.to_string();
        if bytes.is_empty() {
            return Err(Error::Empty { from: from() });
        }
        if bytes.len() as u64 > CERTIFICATE_BYTES {
            return Err(Error::TooLarge { from: from() });
        }
        Ok(bytes)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "\"{}\"", path.display()),
            Self::Inline(_) => f.write_str("the inline data"),
        }
    }
}
