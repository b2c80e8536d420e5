//! Header fields: what is added, what is matched.

use serde::{Deserialize, Serialize};

use crate::config::matcher::{Int64Range, RegexMatcher, StringMatcher};
use crate::config::scalar::Bytes;

/// `envoy.config.core.v3.HeaderValueOption`: a field to add.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "HeaderValueOptionFields")]
pub struct HeaderValueOption {
    /// The field. Its value is a format string.
    pub header: HeaderValue,
    /// What happens where there is one already.
    pub append_action: HeaderAppendAction,
    /// Whether a value that comes out empty is added; false by default.
    pub keep_empty_value: bool,
}

/// The fields of the message; `append` is the older form of `append_action`.
#[derive(Deserialize)]
#[serde(rename = "envoy.config.core.v3.HeaderValueOption")]
struct HeaderValueOptionFields {
    header: HeaderValue,
    #[serde(default)]
    append: Option<bool>,
    #[serde(default)]
    append_action: Option<HeaderAppendAction>,
    #[serde(default)]
    keep_empty_value: bool,
}

impl TryFrom<HeaderValueOptionFields> for HeaderValueOption {
    type Error = &'static str;

    fn try_from(fields: HeaderValueOptionFields) -> Result<Self, Self::Error> {
        let HeaderValueOptionFields {
            header,
            append,
            append_action,
            keep_empty_value,
        } = fields;
        let append_action = match (append, append_action) {
            (Some(_), Some(_)) => return Err("'append' and 'append_action' exclude each other"),
            (None, action) => action.unwrap_or_default(),
            (Some(true), None) => HeaderAppendAction::AppendIfExistsOrAdd,
            (Some(false), None) => HeaderAppendAction::OverwriteIfExistsOrAdd,
        };
        Ok(Self {
            header,
            append_action,
            keep_empty_value,
        })
    }
}

/// `envoy.config.core.v3.HeaderValue`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.core.v3.HeaderValue")]
pub struct HeaderValue {
    /// The name, at most 16 KiB.
    pub key: String,
    /// The value, at most 16 KiB.
    #[serde(default)]
    pub value: String,
    /// The value where it is not text; `value` is empty then.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub raw_value: Bytes,
}

/// `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(
    rename = "envoy.config.core.v3.HeaderValueOption.HeaderAppendAction",
    rename_all = "SCREAMING_SNAKE_CASE"
)]
pub enum HeaderAppendAction {
    /// Add another field of that name.
    #[default]
    AppendIfExistsOrAdd,
    /// Add unless there is one.
    AddIfAbsent,
    /// Replace, or add.
    OverwriteIfExistsOrAdd,
    /// Replace, or do nothing.
    OverwriteIfExists,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation`: one change to the fields of a block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.common.mutation_rules.v3.HeaderMutation")]
pub struct HeaderMutation {
    /// The change.
    #[serde(rename = "oneof:action")]
    pub action: HeaderMutationAction,
}

/// `HeaderMutation.action`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderMutationAction {
    /// Remove all fields of that name.
    Remove(String),
    /// Add a field.
    Append(HeaderValueOption),
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation`, of the head of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.common.mutation_rules.v3.HeaderMutation")]
pub struct HeadMutation {
    /// The change.
    #[serde(rename = "oneof:action")]
    pub action: HeadMutationAction,
}

/// `HeaderMutation.action`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadMutationAction {
    /// Remove all fields of that name.
    Remove(String),
    /// Add a field.
    Append(HeaderValueOption),
    /// Remove all fields whose names match.
    RemoveOnMatch(RemoveOnMatch),
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch")]
pub struct RemoveOnMatch {
    /// What the name must be.
    pub key_matcher: StringMatcher,
}

/// `envoy.config.route.v3.HeaderMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.HeaderMatcher")]
pub struct HeaderMatcher {
    /// The name of the field; `:method`, `:path` and `:authority` as well.
    pub name: String,
    /// What its value must be; without one the field must be there.
    #[serde(default, rename = "oneof:header_match_specifier")]
    pub specifier: Option<HeaderMatchSpecifier>,
    /// Whether the result is inverted; an absent field does not match all the same.
    #[serde(default)]
    pub invert_match: bool,
    /// Whether an absent field counts as one with an empty value.
    #[serde(default)]
    pub treat_missing_header_as_empty: bool,
}

/// `HeaderMatcher.header_match_specifier`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderMatchSpecifier {
    /// Older form of `string_match.exact`.
    ExactMatch(String),
    /// Older form of `string_match.safe_regex`.
    SafeRegexMatch(RegexMatcher),
    /// A whole number in a range.
    RangeMatch(Int64Range),
    /// Whether the field is there.
    PresentMatch(bool),
    /// Older form of `string_match.prefix`.
    PrefixMatch(String),
    /// Older form of `string_match.suffix`.
    SuffixMatch(String),
    /// Older form of `string_match.contains`.
    ContainsMatch(String),
    /// By its text.
    StringMatch(StringMatcher),
}
