//! What clusters say about their requests in place of routes: `HttpProtocolOptions.retry_policy` and its kin.
//!
//! Called once all clusters have an index, as copies go to them by name.

use super::Workshop;
use super::routes::hash_policy;
use crate::config::Place;
use crate::config::cluster::{Cluster as Written, HttpProtocolOptions};
use crate::config::retry::RequestMirrorPolicy;
use crate::nearest::nearest;
use crate::route::ClusterPolicies;
use crate::route::spec::ClusterPoliciesSpec;

/// The key of the options in `typed_extension_protocol_options`.
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

impl Workshop<'_> {
    /// The policies of clusters by their index; empty where none has any.
    pub(super) fn cluster_policies(
        &mut self,
        written: &[Written],
        place: Place<'_>,
    ) -> Box<[Option<ClusterPolicies>]> {
        let mut all = Vec::new();
        for (index, cluster) in written.iter().enumerate() {
            let Some(options) = cluster.http_options().filter(|options| says_any(options)) else {
                continue;
            };
            let place = place.index(index).field("typed_extension_protocol_options");
            let policies = self.policies_of(options, place.key(OPTIONS));
            if let (Some(policies), Some(at)) = (policies, self.clusters.get(&cluster.name)) {
                all.resize(all.len().max(at + 1), None);
                if let Some(own) = all.get_mut(*at) {
                    *own = Some(policies);
                }
            }
        }
        all.into()
    }

    fn policies_of(
        &mut self,
        written: &HttpProtocolOptions,
        place: Place<'_>,
    ) -> Option<ClusterPolicies> {
        let spec = ClusterPoliciesSpec {
            retry: self.retries(written.retry_policy.as_ref(), place),
            mirrors: self.mirrors(&written.request_mirror_policies, place),
            hash: written.hash_policy.iter().filter_map(hash_policy).collect(),
        };
        self.warn_of_copies_to_nobody(&written.request_mirror_policies, place);
        let clusters = self.clusters.clone();
        let built = ClusterPolicies::new(&spec, &|name| clusters.get(name).copied());
        self.of_routes(built, place)
    }
}

impl Workshop<'_> {
    fn warn_of_copies_to_nobody(&mut self, written: &[RequestMirrorPolicy], place: Place<'_>) {
        let place = place.field("request_mirror_policies");
        for (index, policy) in written.iter().enumerate() {
            let name = policy.cluster.as_str();
            if name.is_empty() || self.clusters.contains_key(name) {
                continue;
            }
            let message = format!("there is no cluster \"{name}\": nothing is copied to it");
            let near = nearest(name, self.clusters.keys().map(String::as_str));
            let hint = near.map(|near| format!("did you mean \"{near}\"?"));
            let here = place.index(index).field("cluster");
            let shown = self.diagnostics.warning(here, message);
            if let Some(hint) = hint {
                shown.hint(hint);
            }
        }
    }
}

const fn says_any(options: &HttpProtocolOptions) -> bool {
    options.retry_policy.is_some()
        || !options.request_mirror_policies.is_empty()
        || !options.hash_policy.is_empty()
}
