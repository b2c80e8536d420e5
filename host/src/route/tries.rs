//! What routes and their virtual hosts say about sending a request more than once.
//!
//! Owns which of them counts: the more specific, as a whole. What a virtual host says is built once
//! and shared by its routes. Called when a table is built; read by `http`. Does not own the policies
//! themselves (`retry`, `mirror`, `internal_redirect`).

use std::sync::Arc;

use super::action::Context;
use super::error::Report;
use super::internal_redirect::InternalRedirects;
use super::mirror::Mirror;
use super::retry::RetryPolicy;
use super::spec::{HostTriesSpec, MirrorSpec, RetrySpec, TriesSpec};

/// See the module's page. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// `retry_policy`.
    pub retry: Option<Arc<RetryPolicy>>,
    /// `request_mirror_policies`.
    pub mirrors: Arc<[Mirror]>,
    /// `internal_redirect_policy`.
    pub redirects: Option<Arc<InternalRedirects>>,
    /// Whether a try that takes too long goes on beside the next
    /// (`hedge_policy.hedge_on_per_try_timeout`).
    pub hedges: bool,
    /// `include_request_attempt_count`.
    pub count_in_request: bool,
    /// `include_attempt_count_in_response`.
    pub count_in_response: bool,
    /// `include_is_timeout_retry_header`.
    pub timeout_retry_header: bool,
    /// How much of a request's body is kept so that it can be sent again, in bytes; the listener's
    /// buffer limit where there is none.
    pub buffer_limit: Option<usize>,
}

impl Tries {
    /// Those of the whole table.
    pub(super) fn of_table(
        mirrors: &[MirrorSpec],
        context: &Context<'_>,
        report: &mut Report,
    ) -> Arc<Self> {
        Arc::new(Self {
            mirrors: build_mirrors(mirrors, context, report),
            ..Self::default()
        })
    }

    /// Those of a virtual host; the table's are in `context`.
    pub(super) fn of_host(
        spec: &HostTriesSpec,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Arc<Self> {
        let mirrors = build_mirrors(&spec.mirrors, context, report);
        Arc::new(Self {
            retry: spec
                .retry
                .as_ref()
                .and_then(|spec| build_retry(spec, report)),
            mirrors: first_of(mirrors, &context.tries.mirrors),
            redirects: None,
            hedges: spec.hedges,
            count_in_request: spec.count_in_request,
            count_in_response: spec.count_in_response,
            timeout_retry_header: spec.timeout_retry_header,
            buffer_limit: spec.buffer_limit.map(bytes),
        })
    }

    /// Those of a route; its virtual host's are in `context`.
    pub(super) fn of_route(
        spec: Option<&TriesSpec>,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Arc<Self>> {
        let host = &context.tries;
        let Some(spec) = spec else {
            return Some(Arc::clone(host));
        };
        let retry = match &spec.retry {
            Some(spec) => Some(build_retry(spec, report)?),
            None => host.retry.clone(),
        };
        let redirects = spec.internal_redirects.as_ref().and_then(|spec| {
            report.field("internal_redirect_policy", |report| {
                InternalRedirects::build(spec, report)
            })
        });
        let mirrors = build_mirrors(&spec.mirrors, context, report);
        Some(Arc::new(Self {
            retry,
            mirrors: first_of(mirrors, &host.mirrors),
            redirects: redirects.map(Arc::new),
            hedges: spec.hedges.unwrap_or(host.hedges),
            buffer_limit: spec
                .buffer_limit
                .map_or(host.buffer_limit, |limit| Some(bytes(limit))),
            ..(**host).clone()
        }))
    }
}

fn bytes(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

pub(super) fn build_retry(spec: &RetrySpec, report: &mut Report) -> Option<Arc<RetryPolicy>> {
    let policy = report.field("retry_policy", |report| RetryPolicy::build(spec, report));
    policy.map(Arc::new)
}

pub(super) fn build_mirrors(
    specs: &[MirrorSpec],
    context: &Context<'_>,
    report: &mut Report,
) -> Arc<[Mirror]> {
    let mirrors: Box<[Mirror]> = report.items("request_mirror_policies", specs, |report, spec| {
        Mirror::build(report, spec, context)
    });
    mirrors.into()
}

fn first_of(own: Arc<[Mirror]>, outer: &Arc<[Mirror]>) -> Arc<[Mirror]> {
    if own.is_empty() {
        Arc::clone(outer)
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::action::Action;
    use crate::route::part::RequestChanges;
    use crate::route::spec::{ActionSpec, MirrorClusterSpec};
    use crate::route::table::Table;
    use crate::route::testing::{
        build, facts, prefix, problems, request, route, table_spec, to_cluster, virtual_host,
    };

    fn mirror(cluster: &str) -> MirrorSpec {
        MirrorSpec {
            cluster: MirrorClusterSpec::Named(cluster.to_owned()),
            changes: RequestChanges::default(),
            fraction: None,
            host_rewrite_literal: String::new(),
            shadow_suffix: true,
        }
    }

    fn retry(on: &str) -> RetrySpec {
        RetrySpec {
            retry_on: on.to_owned(),
            ..RetrySpec::default()
        }
    }

    fn tries(table: &Table, path: &str) -> Arc<Tries> {
        let request = request("h", path, &[]);
        match &table.find(&facts(&request)).unwrap().action {
            Action::Forward(forward) => Arc::clone(&forward.tries),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_virtual_host_says_is_built_once_and_what_a_route_says_wins() {
        let mut own = to_cluster("c0");
        own.tries = Some(Box::new(TriesSpec {
            retry: Some(retry("reset")),
            hedges: Some(false),
            ..TriesSpec::default()
        }));
        let routes = vec![
            route(prefix("/own"), ActionSpec::Forward(own)),
            route(prefix("/a"), ActionSpec::Forward(to_cluster("c0"))),
            route(prefix("/"), ActionSpec::Forward(to_cluster("c0"))),
        ];
        let mut host = virtual_host("all", &["*"], routes);
        host.tries = HostTriesSpec {
            retry: Some(retry("5xx")),
            hedges: true,
            count_in_request: true,
            ..HostTriesSpec::default()
        };
        let mut spec = table_spec(vec![host]);
        spec.mirrors = vec![mirror("c1")];
        let table = build(&spec);
        let (own, one, other) = (
            tries(&table, "/own"),
            tries(&table, "/a"),
            tries(&table, "/b"),
        );
        assert!(Arc::ptr_eq(&one, &other));
        assert!(one.hedges && one.retry.is_some());
        assert!(!Arc::ptr_eq(&own, &one) && !own.hedges && own.count_in_request);
        let policies = [&own, &one].map(|tries| Arc::clone(tries.retry.as_ref().unwrap()));
        assert!(!Arc::ptr_eq(&policies[0], &policies[1]));
        // The table's, as neither has any.
        assert!(Arc::ptr_eq(&own.mirrors, &one.mirrors));
        assert_eq!(own.mirrors.len(), 1);
    }

    #[test]
    fn an_error_is_told_once_at_the_level_that_has_it() {
        let routes = ["/a", "/b"];
        let routes = routes.map(|path| route(prefix(path), ActionSpec::Forward(to_cluster("c0"))));
        let mut host = virtual_host("all", &["*"], routes.into());
        host.tries.mirrors = vec![mirror("c1"), mirror("nobody")];
        let mut spec = table_spec(vec![host]);
        spec.mirrors = vec![mirror("nowhere")];
        let places: Vec<_> = problems(&spec)
            .iter()
            .map(|problem| problem.split(':').next().unwrap().to_owned())
            .collect();
        let expected = [
            "request_mirror_policies[0].cluster",
            "virtual_hosts[0].request_mirror_policies[1].cluster",
        ];
        assert_eq!(places, expected);
    }
}
