//! What can be wrong with a format.
//!
//! Owns the error type of the formatter and the search for the operator that was meant.

use crate::headers::InvalidName;
use crate::nearest::nearest;

use super::operator::names;

/// A format that does not compile, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compile format: {problem} at byte {position}{}", place(.path))]
pub struct FormatError {
    /// Where in the text: bytes from its start.
    pub position: usize,
    /// Where in a JSON format the text stands, such as `request.headers[0]`; empty in a text one.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

fn place(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" of \"{path}\"")
    }
}

/// What is wrong with a command or with the shape of a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A percent sign starts no command.
    #[error("no command starts here (write \"%%\" for a percent sign)")]
    NoCommand,
    /// There is no operator of that name.
    #[error("unknown operator \"{name}\"{}", hint(.nearest))]
    Unknown {
        /// As written.
        name: String,
        /// The name that it is nearest to.
        nearest: Option<&'static str>,
    },
    /// Envoy has the operator and this proxy does not.
    #[error("not supported by nuncio: operator \"{0}\"")]
    Unsupported(String),
    /// Parameters or a length where none are taken, or none where one is needed.
    #[error("operator \"{name}\" takes {what}")]
    Takes {
        /// The operator.
        name: String,
        /// What it takes.
        what: &'static str,
    },
    /// A parameter that the operator does not know.
    #[error("parameter \"{parameter}\" is not {expected}")]
    Parameter {
        /// As written.
        parameter: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Not the name of a header.
    #[error("\"{name}\": {source}")]
    Header {
        /// As written.
        name: String,
        /// What is wrong with it.
        #[source]
        source: InvalidName,
    },
    /// JSON objects and lists lie deeper in each other than the limit.
    #[error("format is nested deeper than {0} levels")]
    TooDeep(usize),
    /// The top of a JSON format is not an object.
    #[error("format is not a JSON object")]
    NotAnObject,
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}

impl Problem {
    pub(super) fn parameter(parameter: &str, expected: &'static str) -> Self {
        Self::Parameter {
            parameter: parameter.to_owned(),
            expected,
        }
    }

    pub(super) fn unknown(name: &str) -> Self {
        let nearest = nearest(name, names());
        Self::Unknown {
            name: name.to_owned(),
            nearest,
        }
    }
}
