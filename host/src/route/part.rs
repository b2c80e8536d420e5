//! Parts of a routing table that are of use without one.
//!
//! Owns a matcher of one header field, of metadata and of a text, a tree of matchers, and changes to a head, as
//! access-log filters, certificates, local replies and the connection manager have them: the same code that
//! routes use. Does not own when they are asked.

use super::error::{Errors, Report};
use super::facts::Facts;
use super::matcher::{HeaderMatcher, MetadataMatcher, StringMatcher};
use super::mutation::{HeaderMutations, Scratch};
use super::spec::{
    HeaderAddSpec, HeaderMatchSpec, MetadataMatchSpec, MutationSpec, StringMatchSpec, TreeSpec,
};
use super::tree::Tree;
use crate::exchange::{Exchange, Metadata};
use crate::headers::Headers;

/// A condition on one field of a head (`HeaderMatcher`).
#[derive(Clone, Debug)]
pub struct HeaderCondition(HeaderMatcher);

impl HeaderCondition {
    /// Builds it from what was written.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`.
    pub fn new(spec: &HeaderMatchSpec) -> Result<Self, Errors> {
        let mut report = Report::default();
        let built = HeaderMatcher::build_in(&mut report, spec).map(Self);
        report.finish_some(built)
    }

    /// Whether the head meets it.
    #[must_use]
    pub fn matches(&self, head: &Headers) -> bool {
        self.0.matches(head)
    }
}

/// A condition on one value that filters left (`MetadataMatcher`).
#[derive(Clone, Debug)]
pub struct MetadataCondition(MetadataMatcher);

impl MetadataCondition {
    /// Builds it from what was written.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`.
    pub fn new(spec: &MetadataMatchSpec) -> Result<Self, Errors> {
        let mut report = Report::default();
        let built = MetadataMatcher::build(&mut report, spec).map(Self);
        report.finish_some(built)
    }

    /// Whether the value meets it; none where there is no value.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> Option<bool> {
        self.0.finds(metadata).then(|| self.0.matches(metadata))
    }
}

/// A condition on a text (`StringMatcher`).
#[derive(Clone, Debug)]
pub struct TextCondition(StringMatcher);

impl TextCondition {
    /// Builds it from what was written.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`.
    pub fn new(spec: &StringMatchSpec) -> Result<Self, Errors> {
        let mut report = Report::default();
        let built = StringMatcher::build(spec, &mut report).map(Self);
        report.finish_some(built)
    }

    /// Whether the text meets it.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.matches(text)
    }
}

/// A tree of matchers that leads to one of a list (`xds.type.matcher.v3.Matcher`).
#[derive(Debug)]
pub struct Decision(Tree);

impl Decision {
    /// Builds it from what was written, where each end is one position.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`.
    pub fn new(spec: &TreeSpec) -> Result<Self, Errors> {
        let mut report = Report::default();
        let built = Tree::build(spec, &mut report).map(Self);
        report.finish_some(built)
    }

    /// The position in the list; none where nothing matches.
    #[must_use]
    pub fn find(&self, facts: &Facts<'_>) -> Option<usize> {
        self.0.find(facts).map(|ends| ends.start)
    }
}

/// Changes to the head of a request, one after another (`HeaderMutation`): each sees what those
/// before it have done.
#[derive(Clone, Debug, Default)]
pub struct RequestChanges(Vec<RequestChange>);

#[derive(Clone, Debug)]
enum RequestChange {
    /// `remove` or `append`.
    One(HeaderMutations),
    /// `remove_on_match`: the fields of these names.
    RemoveNamed(TextCondition),
}

impl RequestChanges {
    /// Adds `remove` or `append`, whichever one `spec` has.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn push(&mut self, spec: &MutationSpec) -> Result<(), Errors> {
        let mut report = Report::default();
        let built = HeaderMutations::build(spec, ["append", "remove"], &mut report);
        self.0.push(RequestChange::One(report.finish(built)?));
        Ok(())
    }

    /// Adds `remove_on_match`.
    pub fn push_removal(&mut self, names: TextCondition) {
        self.0.push(RequestChange::RemoveNamed(names));
    }

    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the changes.
    pub fn apply(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        for change in &self.0 {
            match change {
                RequestChange::One(change) => change.apply_to_request(exchange, scratch),
                RequestChange::RemoveNamed(names) => exchange.request.retain(|field| {
                    let may_go = !field.name.starts_with(b":");
                    !(may_go && names.matches(field.name))
                }),
            }
        }
    }
}

/// Fields that are added to the head of a response (`headers_to_add`).
#[derive(Clone, Debug, Default)]
pub struct ResponseChanges(HeaderMutations);

impl ResponseChanges {
    /// Builds them from what was written in the field `headers_to_add`.
    ///
    /// # Errors
    /// Everything that is wrong with `add`.
    pub fn new(add: Vec<HeaderAddSpec>) -> Result<Self, Errors> {
        let mut report = Report::default();
        let spec = MutationSpec {
            add,
            remove: Vec::new(),
        };
        let fields = ["headers_to_add", "headers_to_remove"];
        let built = HeaderMutations::build(&spec, fields, &mut report);
        report.finish(Self(built))
    }

    /// Makes the changes.
    pub fn apply(&self, exchange: &mut Exchange, scratch: &mut Scratch) {
        self.0.apply_to_response(exchange, scratch);
    }
}
