//! A tree of matchers, an `xds.type.matcher.v3.Matcher`: one that leads to routes (`VirtualHost.matcher`), or by
//! other inputs to something else, as for the filter chains of a listener.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Route;

/// `xds.type.matcher.v3.Matcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "xds.type.matcher.v3.Matcher",
    bound(deserialize = "I: Deserialize<'de>, A: Deserialize<'de>")
)]
pub struct Matcher<I = MatchInputConfig, A = MatchedRoutes> {
    /// How it finds what follows.
    #[serde(rename = "oneof:matcher_type")]
    pub kind: MatcherType<I, A>,
    /// What follows where it finds nothing.
    #[serde(default)]
    pub on_no_match: Option<Box<OnMatch<I, A>>>,
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
                for then in tree.tree.all() {
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
pub enum MatcherType<I = MatchInputConfig, A = MatchedRoutes> {
    /// By conditions, one after another.
    MatcherList(MatcherList<I, A>),
    /// By a text, looked up.
    MatcherTree(MatcherTree<I, A>),
}

/// `xds.type.matcher.v3.Matcher.OnMatch`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.OnMatch")]
pub struct OnMatch<I = MatchInputConfig, A = MatchedRoutes> {
    /// What follows.
    #[serde(rename = "oneof:on_match")]
    pub then: Then<I, A>,
}

/// `OnMatch.on_match`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then<I = MatchInputConfig, A = MatchedRoutes> {
    /// Another matcher.
    Matcher(Box<Matcher<I, A>>),
    /// The end, such as routes.
    Action(ActionExtension<A>),
}

/// `OnMatch.action`: an `xds.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.core.v3.TypedExtensionConfig")]
pub struct ActionExtension<A = MatchedRoutes> {
    /// Any name.
    pub name: String,
    /// What it leads to.
    #[serde(rename = "any:typed_config")]
    pub typed_config: A,
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
pub struct MatcherList<I = MatchInputConfig, A = MatchedRoutes> {
    /// The conditions.
    pub matchers: Vec<FieldMatcher<I, A>>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher")]
pub struct FieldMatcher<I = MatchInputConfig, A = MatchedRoutes> {
    /// The condition.
    pub predicate: Predicate<I>,
    /// What follows where it holds.
    pub on_match: OnMatch<I, A>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.Predicate")]
pub struct Predicate<I = MatchInputConfig> {
    /// The condition.
    #[serde(rename = "oneof:match_type")]
    pub kind: PredicateType<I>,
}

/// `Predicate.match_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PredicateType<I = MatchInputConfig> {
    /// On one input.
    SinglePredicate(SinglePredicate<I>),
    /// One of them holds.
    OrMatcher(PredicateList<I>),
    /// All of them hold.
    AndMatcher(PredicateList<I>),
    /// It does not hold.
    NotMatcher(Box<Predicate<I>>),
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList")]
pub struct PredicateList<I = MatchInputConfig> {
    /// The conditions.
    pub predicate: Vec<Predicate<I>>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate")]
pub struct SinglePredicate<I = MatchInputConfig> {
    /// Which text.
    pub input: MatchInput<I>,
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
pub struct MatcherTree<I = MatchInputConfig, A = MatchedRoutes> {
    /// Which text.
    pub input: MatchInput<I>,
    /// Where it is looked up.
    #[serde(rename = "oneof:tree_type")]
    pub tree: TreeType<I, A>,
}

/// `MatcherTree.tree_type`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeType<I = MatchInputConfig, A = MatchedRoutes> {
    /// By the whole text.
    ExactMatchMap(MatchMap<I, A>),
    /// By how it begins; the longest counts.
    PrefixMatchMap(MatchMap<I, A>),
    /// By an extension.
    CustomMatch(CustomMatch<I, A>),
}

/// `MatcherTree.custom_match`: an `xds.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.core.v3.TypedExtensionConfig")]
pub struct CustomMatch<I = MatchInputConfig, A = MatchedRoutes> {
    /// Any name.
    pub name: String,
    /// The extension.
    #[serde(rename = "any:typed_config")]
    pub typed_config: CustomMatchConfig<I, A>,
}

/// The extensions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "any:custom match")]
pub enum CustomMatchConfig<I = MatchInputConfig, A = MatchedRoutes> {
    /// By ranges of addresses.
    #[serde(rename = "xds.type.matcher.v3.IPMatcher")]
    Ip(IpMatcher<I, A>),
}

/// `xds.type.matcher.v3.IPMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    rename = "xds.type.matcher.v3.IPMatcher",
    bound(deserialize = "I: Deserialize<'de>, A: Deserialize<'de>")
)]
pub struct IpMatcher<I = MatchInputConfig, A = MatchedRoutes> {
    /// What follows each range; the smallest that holds the address counts.
    #[serde(default)]
    pub range_matchers: Vec<IpRangeMatcher<I, A>>,
}

/// `xds.type.matcher.v3.IPMatcher.IPRangeMatcher`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.IPMatcher.IPRangeMatcher")]
pub struct IpRangeMatcher<I = MatchInputConfig, A = MatchedRoutes> {
    /// The ranges.
    pub ranges: Vec<XdsCidrRange>,
    /// What follows.
    pub on_match: OnMatch<I, A>,
    /// Whether it counts only where no smaller range has the address.
    #[serde(default)]
    pub exclusive: bool,
}

/// `xds.core.v3.CidrRange`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "xds.core.v3.CidrRange")]
pub struct XdsCidrRange {
    /// Any address in the range.
    pub address_prefix: String,
    /// How many leading bits count; none by default.
    #[serde(default)]
    pub prefix_len: Option<u32>,
}

impl<I, A> TreeType<I, A> {
    /// All that may follow.
    pub fn all(&self) -> Vec<&OnMatch<I, A>> {
        match self {
            Self::ExactMatchMap(map) | Self::PrefixMatchMap(map) => map.map.values().collect(),
            Self::CustomMatch(custom) => {
                let CustomMatchConfig::Ip(ranges) = &custom.typed_config;
                let ranges = ranges.range_matchers.iter();
                ranges.map(|range| &range.on_match).collect()
            }
        }
    }
}

/// `xds.type.matcher.v3.Matcher.MatcherTree.MatchMap`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.type.matcher.v3.Matcher.MatcherTree.MatchMap")]
pub struct MatchMap<I = MatchInputConfig, A = MatchedRoutes> {
    /// What follows each text.
    pub map: BTreeMap<String, OnMatch<I, A>>,
}

/// An input: an `xds.core.v3.TypedExtensionConfig`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "xds.core.v3.TypedExtensionConfig")]
pub struct MatchInput<I = MatchInputConfig> {
    /// Any name.
    pub name: String,
    /// The input.
    #[serde(rename = "any:typed_config")]
    pub typed_config: I,
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
