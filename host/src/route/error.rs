//! What is wrong with a table's specification, and where.
//!
//! Owns the errors of building a table and their collection: all of them, not the first. A place is
//! a path of Envoy's field names, so that `build` can find the line of the file. Does not own the
//! checks, which stand with what they check.

use std::fmt;

use super::pattern::{PatternError, SubstitutionError};
use super::uri_template::TemplateError;
use crate::headers::InvalidName;

/// One step of a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field by Envoy's name.
    Field(&'static str),
    /// An item of the list before.
    Index(usize),
}

/// Where something stands in a route configuration, as `virtual_hosts[1].domains[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// The steps from the route configuration on.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checking \"{path}\"")]
pub struct Error {
    /// Where.
    pub path: Path,
    /// What.
    #[source]
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Two virtual hosts, or one twice, have the same domain when compared in lower case.
    #[error("domain \"{domain}\" stands at \"{first}\" already")]
    DuplicateDomain {
        /// The domain in lower case.
        domain: String,
        /// Where it stands first.
        first: Path,
    },
    /// The domain `*` stands twice.
    #[error("only one domain of a route configuration may be \"*\", and \"{first}\" is")]
    SecondCatchAll {
        /// Where it stands first.
        first: Path,
    },
    /// A list that needs an item has none.
    #[error("needs at least one item")]
    NoItems,
    /// A text that needs a byte has none.
    #[error("must not be empty")]
    Empty,
    /// A text that goes into a header or a URL has a byte that may not stand there.
    #[error("must not have the byte {0:#04x}")]
    Byte(u8),
    /// A regular expression does not compile.
    #[error("not a regular expression that can be used")]
    Pattern(#[source] PatternError),
    /// `ignore_case` together with a regular expression.
    #[error("ignore_case has no effect on safe_regex; begin the expression with (?i)")]
    IgnoreCaseWithRegex,
    /// `path_separated_prefix` of the wrong form.
    #[error(
        "path_separated_prefix needs at least two bytes, no \"?\" or \"#\", and no \"/\" at its end"
    )]
    SeparatedPrefix,
    /// A header name that cannot be one.
    #[error("not the name of a header")]
    HeaderName(#[source] InvalidName),
    /// A mutation of a pseudo-header field or of `host`.
    #[error("headers that begin with \":\", and host, may not be modified")]
    PseudoHeader,
    /// All weights are zero.
    #[error("the sum of the weights must be greater than 0")]
    NoWeight,
    /// The weights are too much.
    #[error("the sum of the weights is {0}; it may be 4294967295 at most")]
    WeightSum(u64),
    /// A weighted cluster without a name.
    #[error("needs one of name and cluster_header")]
    NoClusterName,
    /// A weighted cluster with two.
    #[error("only one of name and cluster_header may be set")]
    TwoClusterNames,
    /// A cluster that the configuration does not have.
    #[error("unknown cluster \"{0}\"")]
    UnknownCluster(String),
    /// Two of `prefix_rewrite`, `regex_rewrite` and `path_rewrite_policy` together.
    #[error("only one of prefix_rewrite, regex_rewrite and path_rewrite_policy may be set")]
    TwoRewrites,
    /// A `substitution` that is none for its expression.
    #[error(transparent)]
    Substitution(SubstitutionError),
    /// A status of a direct response that cannot be one.
    #[error("status {0} is not between 200 and 599")]
    Status(u16),
    /// A status of a redirect that cannot be one.
    #[error("status {0} is not one of 301, 302, 303, 307 and 308")]
    RedirectStatus(u16),
    /// A status for an unknown cluster that Envoy does not offer.
    #[error("status {0} is not one of 404, 500 and 503")]
    ClusterNotFoundStatus(u16),
    /// `connect_config` for something else than `CONNECT`.
    #[error("only an upgrade of the type CONNECT can have a connect_config, \"{0}\" cannot")]
    ConnectConfigOfUpgrade(String),
    /// A protocol stands twice among the upgrades of a route.
    #[error("another entry is for \"{0}\" as well")]
    DuplicateUpgrade(String),
    /// The body of a direct response is too long.
    #[error("the body has {length} bytes; it may have {limit}")]
    BodyTooLong {
        /// Bytes of the body.
        length: usize,
        /// The most that there may be.
        limit: usize,
    },
    /// A URI template, or a rewrite of one.
    #[error("not a URI template that can be used")]
    Template(#[source] TemplateError),
    /// `prefix_rewrite` of a route that matches a URI template.
    #[error("prefix_rewrite cannot follow a URI template; write path_rewrite_policy")]
    PrefixOfTemplate,
    /// `path_rewrite_policy` of a route that does not match a URI template.
    #[error("path_rewrite_policy needs a path_match_policy, whose variables it puts elsewhere")]
    RewriteWithoutTemplate,
    /// A path of more than one key to a value of the dynamic metadata.
    #[error("not supported by nuncio: values inside of values; write one key")]
    MetadataPath,
    /// The longest wait before a retry is shorter than the first.
    #[error("max_interval must not be less than base_interval")]
    BackOffMax,
}

impl From<PatternError> for Problem {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}

/// All that is wrong with a table's specification, in the order of the specification. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route configuration has {} errors", self.0.len())
    }
}

impl std::error::Error for Errors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.first().map(|error| error as _)
    }
}

/// Where the building is, and what it found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    path: Path,
    errors: Vec<Error>,
}

impl Report {
    /// Runs `check` one field further down.
    pub(super) fn field<T>(&mut self, name: &'static str, check: impl FnOnce(&mut Self) -> T) -> T {
        self.path.0.push(Step::Field(name));
        let checked = check(self);
        self.path.0.pop();
        checked
    }

    /// Runs `check` for each item of the list in the field `name`; keeps what it could make.
    pub(super) fn items<I: IntoIterator, T, L: FromIterator<T>>(
        &mut self,
        name: &'static str,
        items: I,
        mut check: impl FnMut(&mut Self, I::Item) -> Option<T>,
    ) -> L {
        self.path.0.push(Step::Field(name));
        let checked = items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| {
                self.path.0.push(Step::Index(index));
                let made = check(self, item);
                self.path.0.pop();
                made
            })
            .collect();
        self.path.0.pop();
        checked
    }

    /// Where the building is.
    pub(super) const fn here(&self) -> &Path {
        &self.path
    }

    /// Something is wrong here. `None`, so that a check can end with it.
    pub(super) fn error<T>(&mut self, problem: Problem) -> Option<T> {
        self.errors.push(Error {
            path: self.path.clone(),
            problem,
        });
        None
    }

    /// `result`, with its error taken up.
    pub(super) fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problem) => self.error(problem),
        }
    }

    /// What was built, which is there unless something was wrong.
    pub(super) fn finish_some<T>(self, built: Option<T>) -> Result<T, Errors> {
        match built {
            Some(built) => self.finish(built),
            None => Err(Errors(self.errors)),
        }
    }

    /// What was built, unless something was wrong.
    pub(super) fn finish<T>(self, built: T) -> Result<T, Errors> {
        if self.errors.is_empty() {
            Ok(built)
        } else {
            Err(Errors(self.errors))
        }
    }
}

/// `text` as the bytes of a header value or a part of a URL.
pub(super) fn value_bytes(text: &str) -> Result<Box<[u8]>, Problem> {
    match text.bytes().find(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        Some(byte) => Err(Problem::Byte(byte)),
        None => Ok(text.as_bytes().into()),
    }
}
