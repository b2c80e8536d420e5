//! What can be wrong with a format.
//!
//! Owns the error type of the formatter and the search for the operator that was meant.

use crate::headers::InvalidName;

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
    #[source]
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
    #[error("header name \"{name}\"")]
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

/// The candidate with the fewest edits away, where that is at most a third of its length.
pub(in crate::observe) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let substituted = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = substituted.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("REQ", "RQE", 2),
            ("a", "a", 0),
        ] {
            assert_eq!(edits(a.as_bytes(), b.as_bytes()), distance, "{a} {b}");
            assert_eq!(edits(b.as_bytes(), a.as_bytes()), distance, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("PROTOKOL", names()), Some("PROTOCOL"));
        assert_eq!(nearest("REQUEST_HEADRE", names()), Some("REQUEST_HEADER"));
        assert_eq!(nearest("XYZZY_PLUGH_FROTZ", names()), None);
    }
}
