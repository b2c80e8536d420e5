//! Groups of a virtual host's requests that are counted apart (`virtual_clusters`), and routes that are
//! (`stat_prefix`).
//!
//! Owns which group a request belongs to. Called by `http` once a request is forwarded. Does not own
//! what is counted (`observe::metrics`).

use std::sync::Arc;

use super::error::Report;
use super::matcher::HeaderMatcher;
use super::spec::{RouteStatsSpec, VirtualHostSpec};
use crate::headers::Headers;
use crate::observe::metrics::VirtualClusterStats;
use crate::observe::stats::Sharded;

/// Statistics that all workers count into.
type Counts = Arc<Sharded<VirtualClusterStats>>;

/// The name of a group, where it has one, and what counts its requests.
pub(super) type Group<'a> = (Option<&'a Arc<str>>, &'a Counts);

/// A group, and which requests are in it.
#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    headers: Arc<[HeaderMatcher]>,
    counts: Counts,
}

/// The groups of a virtual host, in order; the first that matches is taken.
#[derive(Debug, Default)]
pub(super) struct VirtualClusters {
    groups: Box<[Entry]>,
    /// For requests that none of them takes.
    other: Option<Counts>,
}

impl VirtualClusters {
    pub(super) fn build(spec: &VirtualHostSpec, report: &mut Report) -> Self {
        let groups = report.items(
            "virtual_clusters",
            &spec.virtual_clusters,
            |report, spec| {
                let headers: Box<[_]> =
                    report.items("headers", &spec.headers, HeaderMatcher::build_in);
                Some(Entry {
                    name: (*spec.name).into(),
                    headers: headers.into(),
                    counts: Arc::clone(&spec.stats),
                })
            },
        );
        Self {
            groups,
            other: spec.other_requests.clone(),
        }
    }

    /// The requests of a route, which are in these groups as well.
    pub(super) fn of_route(&self, stats: &RouteStatsSpec) -> Self {
        let groups = self.groups.iter().zip(&stats.groups);
        let groups = groups.map(|(group, counts)| Entry {
            name: Arc::clone(&group.name),
            headers: Arc::clone(&group.headers),
            counts: Arc::clone(counts),
        });
        Self {
            groups: groups.collect(),
            other: Some(Arc::clone(&stats.requests)),
        }
    }

    /// What counts a request; `None` where the virtual host has no groups.
    pub(super) fn find(&self, request: &Headers) -> Option<Group<'_>> {
        let mut groups = self.groups.iter();
        let found = groups.find(|group| group.headers.iter().all(|h| h.matches(request)));
        let found = found.map(|group| (Some(&group.name), &group.counts));
        found.or_else(|| self.other.as_ref().map(|counts| (None, counts)))
    }
}
