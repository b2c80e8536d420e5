//! A tree of matchers that leads to routes: `VirtualHost.matcher`, an `xds.type.matcher.v3.Matcher`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Route;

/// `xds.type.matcher.v3.Matcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher")]
pub struct Matcher {
    /// How it finds what follows.
    #[serde(rename = "oneof:matcher_type")]
    pub kind: MatcherType,
    /// What follows where it finds nothing.
    #[serde(default)]
    pub on_no_match: Option<Box<OnMatch>>,
}

impl Matcher {
    /// Adds the routes that it leads to, in the order in which they are written.
    pub(super) fn routes<'m>(&'m self, into: &mut Vec<&'m Route>) {
        match &self.kind {
            MatcherType::MatcherList(list) => {
                for entry in &list.matchers {
                    entry.on_match.routes(into);
                }
            }
            MatcherType::MatcherTree(tree) => {
                let (TreeType::ExactMatchMap(map) | TreeType::PrefixMatchMap(map)) = &tree.tree;
                for then in map.map.values() {
                    then.routes(into);
                }
            }
        }
        if let Some(then) = &self.on_no_match {
            then.routes(into);
        }
    }
}

impl OnMatch {
    fn routes<'m>(&'m self, into: &mut Vec<&'m Route>) {
        match &self.then {
            Then::Matcher(matcher) => matcher.routes(into),
            Then::Action(extension) => match &extension.typed_config {
                MatchedRoutes::Route(route) => into.push(route),
                MatchedRoutes::List(list) => into.extend(&list.routes),
            },
        }
    }
}

/// `Matcher.matcher_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatcherType {
    /// By conditions, one after another.
    MatcherList(MatcherList),
    /// By a text, looked up.
    MatcherTree(MatcherTree),
}

/// `xds.type.matcher.v3.Matcher.OnMatch`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.OnMatch")]
pub struct OnMatch {
    /// What follows.
    #[serde(rename = "oneof:on_match")]
    pub then: Then,
}

/// `OnMatch.on_match`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Another matcher.
    Matcher(Box<Matcher>),
    /// Routes.
    Action(RouteActionExtension),
}

/// `OnMatch.action`: an `xds.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.core.v3.TypedExtensionConfig")]
pub struct RouteActionExtension {
    /// Any name.
    pub name: String,
    /// The routes.
    #[serde(rename = "any:typed_config")]
    pub typed_config: MatchedRoutes,
}

/// What a matcher of routes leads to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:matched routes")]
pub enum MatchedRoutes {
    /// One route, which has to match as well.
    #[serde(rename = "envoy.config.route.v3.Route")]
    Route(Box<Route>),
    /// Several, of which the first that matches is taken.
    #[serde(rename = "envoy.config.route.v3.RouteList")]
    List(RouteList),
}

/// `envoy.config.route.v3.RouteList`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.config.route.v3.RouteList")]
pub struct RouteList {
    /// The routes.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList")]
pub struct MatcherList {
    /// The conditions.
    pub matchers: Vec<FieldMatcher>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher")]
pub struct FieldMatcher {
    /// The condition.
    pub predicate: Predicate,
    /// What follows where it holds.
    pub on_match: OnMatch,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.Predicate")]
pub struct Predicate {
    /// The condition.
    #[serde(rename = "oneof:match_type")]
    pub kind: PredicateType,
}

/// `Predicate.match_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PredicateType {
    /// On one input.
    SinglePredicate(SinglePredicate),
    /// One of them holds.
    OrMatcher(PredicateList),
    /// All of them hold.
    AndMatcher(PredicateList),
    /// It does not hold.
    NotMatcher(Box<Predicate>),
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList")]
pub struct PredicateList {
    /// The conditions.
    pub predicate: Vec<Predicate>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate")]
pub struct SinglePredicate {
    /// Which text.
    pub input: MatchInput,
    /// What it must be.
    #[serde(rename = "oneof:matcher")]
    pub matcher: ValueMatch,
}

/// `SinglePredicate.matcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueMatch {
    /// By its text.
    ValueMatch(XdsStringMatcher),
}

/// `xds.type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.StringMatcher")]
pub struct XdsStringMatcher {
    /// How the string is compared.
    #[serde(rename = "oneof:match_pattern")]
    pub pattern: XdsMatchPattern,
    /// Whether case does not count; no effect on a regular expression.
    #[serde(default)]
    pub ignore_case: bool,
}

/// `StringMatcher.match_pattern`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XdsMatchPattern {
    /// The whole string.
    Exact(String),
    /// How it begins.
    Prefix(String),
    /// How it ends.
    Suffix(String),
    /// A regular expression for the whole string.
    SafeRegex(XdsRegexMatcher),
    /// What is in it.
    Contains(String),
}

/// `xds.type.matcher.v3.RegexMatcher`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.RegexMatcher")]
pub struct XdsRegexMatcher {
    /// The engine; there is one, and naming it is optional.
    #[serde(default)]
    pub google_re2: Option<XdsGoogleRe2>,
    /// The expression, in RE2's syntax.
    pub regex: String,
}

/// `xds.type.matcher.v3.RegexMatcher.GoogleRE2`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.RegexMatcher.GoogleRE2")]
pub struct XdsGoogleRe2 {}

/// `xds.type.matcher.v3.Matcher.MatcherTree`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherTree")]
pub struct MatcherTree {
    /// Which text.
    pub input: MatchInput,
    /// Where it is looked up.
    #[serde(rename = "oneof:tree_type")]
    pub tree: TreeType,
}

/// `MatcherTree.tree_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeType {
    /// By the whole text.
    ExactMatchMap(MatchMap),
    /// By how it begins; the longest counts.
    PrefixMatchMap(MatchMap),
}

/// `xds.type.matcher.v3.Matcher.MatcherTree.MatchMap`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherTree.MatchMap")]
pub struct MatchMap {
    /// What follows each text.
    pub map: BTreeMap<String, OnMatch>,
}

/// An input: an `xds.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.core.v3.TypedExtensionConfig")]
pub struct MatchInput {
    /// Any name.
    pub name: String,
    /// The input.
    #[serde(rename = "any:typed_config")]
    pub typed_config: MatchInputConfig,
}

/// The inputs that there are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:matching input")]
pub enum MatchInputConfig {
    /// A field of the request.
    #[serde(rename = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput")]
    Header(HeaderMatchInput),
}

/// `envoy.type.matcher.v3.HttpRequestHeaderMatchInput`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput")]
pub struct HeaderMatchInput {
    /// The name; `:path`, `:method` and their like as well.
    #[serde(default)]
    pub header_name: String,
}
