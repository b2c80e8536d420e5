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
    /// `matcher_tree.exact_match_map`.
    Exact(InputSpec, Vec<(String, ThenSpec)>),
    /// `matcher_tree.prefix_match_map`.
    Prefix(InputSpec, Vec<(String, ThenSpec)>),
}

/// `input`: a text of a request, or of the certificate that its client has shown.
#[derive(Clone, Debug)]
pub enum InputSpec {
    /// `HttpRequestHeaderMatchInput`: a field, by its name in any case.
    Field(String),
    /// `UriSanInput`.
    UriNames,
    /// `DnsSanInput`.
    DnsNames,
    /// `SubjectInput`.
    Subject,
}

/// `Matcher.OnMatch`.
#[derive(Clone, Debug)]
pub enum ThenSpec {
    /// `matcher`.
    Tree(Box<TreeSpec>),
    /// `action`: positions in the virtual host's list of routes, or in that of whatever else a tree leads to.
    Ends(Range<usize>),
}

/// `MatcherList.Predicate`.
#[derive(Clone, Debug)]
pub enum PredicateSpec {
    /// `single_predicate`.
    Single(InputSpec, StringMatchSpec),
    /// `or_matcher`.
    Any(Vec<Self>),
    /// `and_matcher`.
    All(Vec<Self>),
    /// `not_matcher`.
    Not(Box<Self>),
}
