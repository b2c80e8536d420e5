//! Matching of strings and numbers: `envoy.type.matcher.v3`.

use serde::{Deserialize, Serialize};

/// `envoy.type.matcher.v3.ListStringMatcher`: one of them matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.ListStringMatcher")]
pub struct ListStringMatcher {
    /// The texts.
    pub patterns: Vec<StringMatcher>,
}

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.StringMatcher")]
pub struct StringMatcher {
    /// How the string is compared.
    #[serde(rename = "oneof:match_pattern")]
    pub pattern: MatchPattern,
    /// Whether case does not count; no effect on a regular expression.
    #[serde(default)]
    pub ignore_case: bool,
}

/// `StringMatcher.match_pattern`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchPattern {
    /// The whole string.
    Exact(String),
    /// How it begins.
    Prefix(String),
    /// How it ends.
    Suffix(String),
    /// A regular expression for the whole string.
    SafeRegex(RegexMatcher),
    /// What is in it.
    Contains(String),
}

/// `envoy.type.matcher.v3.RegexMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.RegexMatcher")]
pub struct RegexMatcher {
    /// The engine; there is one, and naming it is optional.
    #[serde(default)]
    pub google_re2: Option<GoogleRe2>,
    /// The expression, in RE2's syntax.
    pub regex: String,
}

/// `envoy.type.matcher.v3.RegexMatcher.GoogleRE2`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.RegexMatcher.GoogleRE2")]
pub struct GoogleRe2 {
    /// No effect: an expression of any size takes time in proportion to the text.
    #[serde(default)]
    pub max_program_size: Option<u32>,
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.RegexMatchAndSubstitute")]
pub struct RegexMatchAndSubstitute {
    /// What is replaced.
    pub pattern: RegexMatcher,
    /// By what; `\1` is the first group.
    #[serde(default)]
    pub substitution: String,
}

/// `envoy.type.v3.Int64Range`: from `start`, up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.Int64Range")]
pub struct Int64Range {
    /// The first number.
    #[serde(default)]
    pub start: i64,
    /// The first number after the range.
    #[serde(default)]
    pub end: i64,
}

/// `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.ValueMatcher")]
pub struct ValueMatcher {
    /// How the value is compared.
    #[serde(rename = "oneof:match_pattern")]
    pub pattern: ValuePattern,
}

/// `ValueMatcher.match_pattern`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValuePattern {
    /// A number.
    DoubleMatch(DoubleMatcher),
    /// By its text.
    StringMatch(StringMatcher),
    /// `true` or `false`.
    BoolMatch(bool),
    /// Whether there is one; `false` never matches.
    PresentMatch(bool),
    /// One of several.
    OrMatch(OrMatcher),
}

/// `envoy.type.matcher.v3.DoubleMatcher`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.DoubleMatcher")]
pub struct DoubleMatcher {
    /// How the number is compared.
    #[serde(rename = "oneof:match_pattern")]
    pub pattern: DoublePattern,
}

/// `DoubleMatcher.match_pattern`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DoublePattern {
    /// In a range.
    Range(DoubleRange),
    /// This one.
    Exact(f64),
}

/// `envoy.type.v3.DoubleRange`: from `start`, up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.v3.DoubleRange")]
pub struct DoubleRange {
    /// The least number.
    #[serde(default)]
    pub start: f64,
    /// What all numbers are below.
    #[serde(default)]
    pub end: f64,
}

/// `envoy.type.matcher.v3.OrMatcher`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.OrMatcher")]
pub struct OrMatcher {
    /// The ways, at least two.
    pub value_matchers: Vec<ValueMatcher>,
}
