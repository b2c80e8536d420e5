//! What a cluster says about its requests, whatever their routes say.
//!
//! Owns the policies of `HttpProtocolOptions` of a cluster. As in Envoy each of them takes the place of
//! that of the route and its virtual host, as a whole. Built with the clusters, read by `http` once a
//! request has one. Does not own the policies themselves (`retry`, `mirror`, `hash`).

use std::sync::Arc;

use super::action::Context;
use super::error::{Errors, Report};
use super::hash::{HashPolicies, NewCookies};
use super::mirror::Mirror;
use super::retry::RetryPolicy;
use super::spec::ClusterPoliciesSpec;
use super::tries::{Tries, build_mirrors, build_retry};
use crate::exchange::Exchange;
use crate::limits;

/// See the module's page. Immutable.
#[derive(Clone, Debug)]
pub struct ClusterPolicies {
    /// `retry_policy`.
    pub retry: Option<Arc<RetryPolicy>>,
    /// `request_mirror_policies`; none where it says nothing about copies.
    pub mirrors: Option<Arc<[Mirror]>>,
    hash: Option<HashPolicies>,
}

impl ClusterPolicies {
    /// Builds them from what was written. `clusters` gives the index of a cluster by its name.
    ///
    /// # Errors
    /// Everything that is wrong with `spec`.
    pub fn new(
        spec: &ClusterPoliciesSpec,
        clusters: &dyn Fn(&str) -> Option<usize>,
    ) -> Result<Self, Errors> {
        let mut report = Report::default();
        let context = Context {
            clusters,
            // As in Envoy, nothing is copied to one that is not there.
            validate_clusters: false,
            max_direct_response_body_size: limits::DIRECT_RESPONSE_BYTES,
            tries: Arc::new(Tries::default()),
        };
        let retry = spec.retry.as_ref();
        let mirrors = build_mirrors(&spec.mirrors, &context, &mut report);
        let hash = HashPolicies::build(&spec.hash, &mut report);
        let built = Self {
            retry: retry.and_then(|spec| build_retry(spec, &mut report)),
            mirrors: (!spec.mirrors.is_empty()).then_some(mirrors),
            hash: (!spec.hash.is_empty()).then_some(hash),
        };
        report.finish(built)
    }

    /// The hash of `hash_policy`, or none; nothing where the cluster says nothing about it. A cookie that
    /// is made is put into `cookies`.
    #[must_use]
    pub fn hash(&self, exchange: &Exchange, cookies: &mut NewCookies) -> Option<Option<u64>> {
        let hash = self.hash.as_ref()?;
        Some(hash.hash(exchange, Some(cookies)))
    }
}
