//! A tree of matchers: `xds.type.matcher.v3.Matcher`.

use std::ops::Range;

use super::StringMatchSpec;

/// `Matcher`.
#[derive(Clone, Debug)]
pub struct TreeSpec {
    /// `matcher_type`.
    pub kind: TreeKindSpec,
    /// `on_no_match`.
    pub otherwise: Option<Box<ThenSpec>>,
}

/// `Matcher.matcher_type`.
#[derive(Clone, Debug)]
pub enum TreeKindSpec {
    /// `matcher_list`.
    List(Vec<(PredicateSpec, ThenSpec)>),
    /// `matcher_tree.exact_match_map` of a field, by its name in any case.
    Exact(String, Vec<(String, ThenSpec)>),
    /// The same by `prefix_match_map`.
    Prefix(String, Vec<(String, ThenSpec)>),
}

/// `Matcher.OnMatch`.
#[derive(Clone, Debug)]
pub enum ThenSpec {
    /// `matcher`.
    Tree(Box<TreeSpec>),
    /// `action`: positions in the virtual host's list of routes.
    Routes(Range<usize>),
}

/// `MatcherList.Predicate`.
#[derive(Clone, Debug)]
pub enum PredicateSpec {
    /// `single_predicate` of a field, by its name in any case.
    Single(String, StringMatchSpec),
    /// `or_matcher`.
    Any(Vec<Self>),
    /// `and_matcher`.
    All(Vec<Self>),
    /// `not_matcher`.
    Not(Box<Self>),
}
