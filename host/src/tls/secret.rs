//! Where the words of a context are: in the configuration, or in a file of secrets (SDS).
//!
//! Owns the choice between the two. What such a file looks like is known to whoever made the
//! [`Secret`] (`build`); it is read again whenever it changes.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::error::Error;

/// A secret in a file.
pub trait Secret<T>: fmt::Debug + Send + Sync {
    /// The file.
    fn file(&self) -> &Path;

    /// Reads it.
    ///
    /// # Errors
    /// When there is no such file, or no such secret in it that could be used.
    fn read(&self) -> Result<T, Error>;
}

/// Something that is known, or in a file.
#[derive(Clone, Debug)]
pub enum Whence<T> {
    /// Known.
    Here(T),
    /// In a file.
    Secret(Arc<dyn Secret<T>>),
}

impl<T: Clone> Whence<T> {
    /// What it is now.
    pub(super) fn get(&self) -> Result<Cow<'_, T>, Error> {
        match self {
            Self::Here(known) => Ok(Cow::Borrowed(known)),
            Self::Secret(secret) => secret.read().map(Cow::Owned),
        }
    }

    /// The file of secrets.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Here(_) => None,
            Self::Secret(secret) => Some(secret.file()),
        }
    }
}
