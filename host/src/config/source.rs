//! The texts that a configuration is made of, and positions in them.
//!
//! Owns reading a file as text and finding a line of it again. Called by `config::load` and by
//! whoever shows a diagnostic. Does not own what the text means.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use crate::limits::CONFIG_SOURCE_BYTES;

/// One text of a configuration.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    bytes: Vec<u8>,
}

impl Source {
    /// A text that is not a file, such as the value of `--config-yaml`; `name` stands for it in
    /// messages.
    #[must_use]
    pub fn inline(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            bytes: text.into(),
        }
    }

    /// Reads a file: YAML, or JSON, which is YAML as well.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is larger than 64 MiB, or has one of the two protobuf formats
    /// by its name (`.pb`, `.pb_text`).
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let name = path.display().to_string();
        if let Some("pb" | "pb_text") = path.extension().and_then(|extension| extension.to_str()) {
            return Err(ReadError::Protobuf(name));
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > CONFIG_SOURCE_BYTES => Err(ReadError::TooLarge(name)),
            Ok(_) => match fs::read(path) {
                Ok(bytes) => Ok(Self { name, bytes }),
                Err(source) => Err(ReadError::Io { name, source }),
            },
            Err(source) => Err(ReadError::Io { name, source }),
        }
    }

    /// The path of the file, or what stands for the text in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is JSON, by its name.
    pub(super) fn is_json(&self) -> bool {
        Path::new(&self.name)
            .extension()
            .is_some_and(|extension| extension == "json")
    }

    /// The text without a byte order mark, or where it stops being UTF-8.
    pub(super) fn text(&self) -> Result<&str, Span> {
        let bytes = self
            .bytes
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.bytes);
        str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line_start = valid
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let before = valid.get(line_start..).unwrap_or_default();
            let column = String::from_utf8_lossy(before).chars().count() + 1;
            Span::new(line, column, 1)
        })
    }

    /// A line, counted from 1, with anything that is not UTF-8 replaced.
    pub(super) fn line(&self, line: u32) -> Option<String> {
        let bytes = self
            .bytes
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.bytes);
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        let line = bytes.split(|&byte| byte == b'\n').nth(index)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(String::from_utf8_lossy(line).into_owned())
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system says why.
    #[error("reading configuration '{name}'")]
    Io {
        /// The path.
        name: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Larger than a configuration can be.
    #[error("reading configuration '{0}': it is larger than 64 MiB")]
    TooLarge(String),
    /// The binary and the text format of protobuf.
    #[error(
        "reading configuration '{0}': not supported by nuncio: protobuf formats; write YAML or JSON"
    )]
    Protobuf(String),
}

/// The sources of one configuration, shared by all that shows positions in them.
#[derive(Clone, Debug)]
pub(super) struct Sources(Arc<[Source]>);

impl Sources {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self(sources.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    pub(super) fn of(&self, span: Span) -> Option<&Source> {
        self.0.get(usize::from(span.source))
    }

    pub(super) fn first(&self) -> Option<&Source> {
        self.0.first()
    }
}

/// A stretch of one line of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    source: u16,
    line: u32,
    column: u32,
    width: u32,
}

impl Span {
    /// In the first source; line and column count from 1, in characters.
    pub(super) fn new(line: usize, column: usize, width: usize) -> Self {
        let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            source: 0,
            line: clamp(line),
            column: clamp(column),
            width: clamp(width).max(1),
        }
    }

    pub(super) const fn in_source(mut self, source: u16) -> Self {
        self.source = source;
        self
    }

    pub(super) const fn source(self) -> u16 {
        self.source
    }

    /// The line, from 1.
    #[must_use]
    pub const fn line(self) -> u32 {
        self.line
    }

    /// The column in characters, from 1.
    #[must_use]
    pub const fn column(self) -> u32 {
        self.column
    }

    /// How many characters of the line; at least 1.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.width
    }
}
