//! Texts and regular expressions that a value is compared with (`StringMatcher`).
//!
//! Owns how they compare. Called by the matchers of paths, headers, query parameters, cookies and
//! metadata. Does not own where a value comes from.

use memchr::memmem::Finder;

use super::super::error::{Problem, Report};
use super::super::pattern::Pattern;
use super::super::spec::{StringMatchSpec, StringPatternSpec};

/// A text to compare with.
#[derive(Clone, Debug)]
pub(in crate::route) struct Text {
    bytes: Box<[u8]>,
    ignore_case: bool,
}

impl Text {
    pub(super) fn new(text: &str, ignore_case: bool) -> Self {
        Self {
            bytes: text.as_bytes().into(),
            ignore_case,
        }
    }

    pub(in crate::route) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::route) const fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    pub(in crate::route) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn equals(&self, text: &[u8]) -> bool {
        if self.ignore_case {
            self.bytes.eq_ignore_ascii_case(text)
        } else {
            *self.bytes == *text
        }
    }

    pub(in crate::route) fn begins(&self, text: &[u8]) -> bool {
        text.get(..self.bytes.len())
            .is_some_and(|start| self.equals(start))
    }

    fn ends(&self, text: &[u8]) -> bool {
        let start = text.len().checked_sub(self.bytes.len());
        start
            .and_then(|start| text.get(start..))
            .is_some_and(|end| self.equals(end))
    }
}

pub(super) fn build_regex(
    field: &'static str,
    regex: &str,
    report: &mut Report,
) -> Option<Pattern> {
    report.field(field, |report| {
        report.field("regex", |report| {
            report.take(Pattern::new(regex).map_err(Problem::Pattern))
        })
    })
}

/// `StringMatcher`.
#[derive(Clone, Debug)]
pub(in crate::route) struct StringMatcher(StringTest);

#[derive(Clone, Debug)]
enum StringTest {
    Exact(Text),
    Prefix(Text),
    Suffix(Text),
    Contains(Box<Finder<'static>>),
    /// Not empty.
    ContainsIgnoringCase(Text),
    Regex(Pattern),
}

impl StringMatcher {
    pub(in crate::route) fn build(spec: &StringMatchSpec, report: &mut Report) -> Option<Self> {
        let fields = ["exact", "prefix", "suffix", "contains", "safe_regex"];
        if spec.ignore_case && matches!(spec.pattern, StringPatternSpec::SafeRegex(_)) {
            return report.field("ignore_case", |r| r.error(Problem::IgnoreCaseWithRegex));
        }
        Self::build_pattern(&spec.pattern, spec.ignore_case, fields, report)
    }

    /// `fields` are the names that the patterns have here, in the order of the variants.
    pub(super) fn build_pattern(
        spec: &StringPatternSpec,
        ignore_case: bool,
        fields: [&'static str; 5],
        report: &mut Report,
    ) -> Option<Self> {
        let [_, prefix_field, suffix_field, contains_field, regex_field] = fields;
        let mut text = |field, text: &str| {
            if text.is_empty() {
                return report.field(field, |report| report.error(Problem::Empty));
            }
            Some(Text::new(text, ignore_case))
        };
        let test = match spec {
            StringPatternSpec::Exact(exact) => StringTest::Exact(Text::new(exact, ignore_case)),
            StringPatternSpec::Prefix(prefix) => StringTest::Prefix(text(prefix_field, prefix)?),
            StringPatternSpec::Suffix(suffix) => StringTest::Suffix(text(suffix_field, suffix)?),
            StringPatternSpec::Contains(part) => {
                let text = text(contains_field, part)?;
                if ignore_case {
                    StringTest::ContainsIgnoringCase(text)
                } else {
                    StringTest::Contains(Box::new(Finder::new(&text.bytes).into_owned()))
                }
            }
            StringPatternSpec::SafeRegex(regex) => {
                StringTest::Regex(build_regex(regex_field, regex, report)?)
            }
        };
        Some(Self(test))
    }

    /// Whether `value` matches.
    pub(in crate::route) fn matches(&self, value: &[u8]) -> bool {
        match &self.0 {
            StringTest::Exact(text) => text.equals(value),
            StringTest::Prefix(text) => text.begins(value),
            StringTest::Suffix(text) => text.ends(value),
            StringTest::Contains(finder) => finder.find(value).is_some(),
            StringTest::ContainsIgnoringCase(text) => value
                .windows(text.len().max(1))
                .any(|window| text.equals(window)),
            StringTest::Regex(pattern) => pattern.matches(value),
        }
    }
}
