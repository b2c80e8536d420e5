//! Copies of requests: which are made, and for which cluster.
//!
//! Owns `request_mirror_policies` of a route. Does not own the copies (`http`).

use super::action::{ClusterRef, Context};
use super::error::{Problem, Report};
use super::part::RequestChanges;
use super::spec::{MirrorClusterSpec, MirrorSpec};
use crate::headers::{Headers, Name};
use crate::values::Fraction;

/// `RequestMirrorPolicy`. Immutable.
#[derive(Clone, Debug)]
pub struct Mirror {
    cluster: MirrorCluster,
    /// How many requests are copied; all where it is not set.
    fraction: Option<Fraction>,
    /// What the host of a copy is (`host_rewrite_literal`).
    pub host: Option<Box<[u8]>>,
    /// Whether `-shadow` is added to the host of a copy.
    pub shadow_suffix: bool,
    /// What changes of the head of a copy.
    pub changes: RequestChanges,
}

#[derive(Clone, Debug)]
enum MirrorCluster {
    Named(ClusterRef),
    Header(Name),
}

impl Mirror {
    pub(super) fn build(
        report: &mut Report,
        spec: &MirrorSpec,
        context: &Context<'_>,
    ) -> Option<Self> {
        let cluster = match &spec.cluster {
            MirrorClusterSpec::Named(name) => report
                .field("cluster", |report| context.cluster(name, report))
                .map(MirrorCluster::Named),
            MirrorClusterSpec::Header(name) => {
                let name = Name::parse(name.as_bytes()).map_err(Problem::HeaderName);
                report
                    .field("cluster_header", |report| report.take(name))
                    .map(MirrorCluster::Header)
            }
        };
        Some(Self {
            cluster: cluster?,
            fraction: spec.fraction.clone(),
            host: (!spec.host_rewrite_literal.is_empty())
                .then(|| spec.host_rewrite_literal.as_bytes().into()),
            shadow_suffix: spec.shadow_suffix,
            changes: spec.changes.clone(),
        })
    }

    /// Whether a request whose stream has the number `random` is copied.
    #[must_use]
    pub fn takes(&self, random: u64) -> bool {
        self.fraction
            .as_ref()
            .is_none_or(|fraction| fraction.holds(random))
    }

    /// The cluster of the copy, by its index or its name; none where there is no such cluster.
    pub fn cluster<T>(
        &self,
        request: &Headers,
        at: impl FnOnce(usize) -> Option<T>,
        named: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match &self.cluster {
            MirrorCluster::Named(cluster) => cluster.index.and_then(at),
            MirrorCluster::Header(name) => named(std::str::from_utf8(request.get(name)?).ok()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_name_the_cluster() {
        let mirror = Mirror {
            cluster: MirrorCluster::Header(Name::parse(b"X-Copy-To").unwrap()),
            fraction: None,
            host: None,
            shadow_suffix: true,
            changes: RequestChanges::default(),
        };
        let mut request = Headers::new();
        let cluster =
            |request: &Headers| mirror.cluster(request, |_| None, |name| Some(name.to_owned()));
        assert_eq!(cluster(&request), None);
        request.append_bytes(b"x-copy-to", b"other");
        assert_eq!(cluster(&request), Some("other".to_owned()));
    }
}
