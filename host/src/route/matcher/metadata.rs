//! Dynamic metadata (`MetadataMatcher`).
//!
//! Owns how a value that a filter left is compared. Such a value is text, so a number or a boolean
//! is one where its text is. Does not own the metadata.

use super::super::error::{Problem, Report};
use super::super::spec::{FilterStateSpec, MetadataMatchSpec, ValueMatchSpec};
use super::string::StringMatcher;
use crate::exchange::Metadata;

/// `MetadataMatcher`.
#[derive(Clone, Debug)]
pub(in crate::route) struct MetadataMatcher {
    namespace: Box<str>,
    key: Box<str>,
    test: ValueMatcher,
    invert: bool,
}

/// `ValueMatcher`.
#[derive(Clone, Debug)]
enum ValueMatcher {
    Present(bool),
    String(StringMatcher),
    Bool(bool),
    Number { start: f64, end: f64 },
    Exactly(f64),
    Any(Box<[Self]>),
}

impl MetadataMatcher {
    pub(in crate::route) fn build(report: &mut Report, spec: &MetadataMatchSpec) -> Option<Self> {
        let key = match &*spec.path {
            [key] => Some(key),
            _ => report.field("path", |report| report.error(Problem::MetadataPath)),
        };
        let test = report.field("value", |report| ValueMatcher::build(&spec.value, report));
        Some(Self {
            namespace: (*spec.filter).into(),
            key: (**key?).into(),
            test: test?,
            invert: spec.invert,
        })
    }

    /// The matcher of a value of the filter state, which is a namespace of the metadata.
    pub(in crate::route) fn of_filter_state(
        report: &mut Report,
        spec: &FilterStateSpec,
    ) -> Option<Self> {
        let test = report.field("string_match", |report| {
            StringMatcher::build(&spec.string, report)
        });
        Some(Self {
            namespace: Metadata::FILTER_STATE.into(),
            key: (*spec.key).into(),
            test: ValueMatcher::String(test?),
            invert: false,
        })
    }

    /// Whether the metadata has a value for it.
    pub(in crate::route) fn finds(&self, metadata: &Metadata) -> bool {
        metadata.get(&self.namespace, &self.key).is_some()
    }

    /// Whether the metadata matches. A missing value matches no test, so every inverted one.
    pub(in crate::route) fn matches(&self, metadata: &Metadata) -> bool {
        let value = metadata.get(&self.namespace, &self.key);
        value.is_some_and(|value| self.test.matches(value)) != self.invert
    }
}

impl ValueMatcher {
    fn build(spec: &ValueMatchSpec, report: &mut Report) -> Option<Self> {
        Some(match spec {
            ValueMatchSpec::Present(present) => Self::Present(*present),
            ValueMatchSpec::String(string) => {
                Self::String(report.field("string_match", |report| {
                    StringMatcher::build(string, report)
                })?)
            }
            ValueMatchSpec::Bool(wanted) => Self::Bool(*wanted),
            ValueMatchSpec::Range { start, end } => Self::Number {
                start: *start,
                end: *end,
            },
            ValueMatchSpec::Number(number) => Self::Exactly(*number),
            ValueMatchSpec::Any(specs) => Self::Any(report.field("or_match", |report| {
                report.items("value_matchers", specs, |report, spec| {
                    Self::build(spec, report)
                })
            })),
        })
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(wanted) => *wanted,
            Self::String(string) => string.matches(value),
            Self::Bool(wanted) => value == if *wanted { &b"true"[..] } else { b"false" },
            Self::Number { start, end } => {
                number(value).is_some_and(|number| *start <= number && number < *end)
            }
            Self::Exactly(wanted) => {
                number(value).is_some_and(|number| number.total_cmp(wanted).is_eq())
            }
            Self::Any(tests) => tests.iter().any(|test| test.matches(value)),
        }
    }
}

fn number(value: &[u8]) -> Option<f64> {
    str::from_utf8(value).ok()?.parse().ok()
}
