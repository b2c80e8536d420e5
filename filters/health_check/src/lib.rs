//! `envoy.filters.http.health_check`: answers who asks how the proxy is, or lets the upstream answer,
//! and tells all others to stay away while the proxy is not well.

mod cache;
mod config;
#[cfg(test)]
mod tests;

use nuncio_filter_config::HeaderMatch;
use nuncio_sdk::{
    BodyMode, Counter, Error, Exchange, Filter, Flow, HeaderName, Interest, LocalReply,
    RequestBody, RequestHeaders, ResponseHeaders, Result, Setup,
};

pub use cache::Answer;
use cache::{Cache, now};
pub use config::Config;

/// What a proxy that is not well says: a status, whether it is degraded, and why.
const FAILING: (u16, bool, &str) = (503, false, "health_check_failed");

/// The filter.
#[derive(Debug)]
pub struct HealthCheck {
    passes_through: bool,
    cache: Option<Cache>,
    clusters: Vec<(String, Least)>,
    headers: Vec<HeaderMatch>,
    own_cluster: String,
    names: Names,
    counts: Counts,
}

/// Of the questions that the filter answers.
#[derive(Debug)]
struct Counts {
    asked: Counter,
    ok: Counter,
    failed: Counter,
    cached: Counter,
    degraded: Counter,
    cluster_not_found: Counter,
    cluster_empty: Counter,
    cluster_unhealthy: Counter,
}

impl Counts {
    fn open(setup: &mut Setup) -> Result<Self> {
        let prefix = format!("{}health_check.", setup.stat_prefix());
        let mut counter = |name| setup.counter(&format!("{prefix}{name}"));
        Ok(Self {
            asked: counter("request_total")?,
            ok: counter("ok")?,
            failed: counter("failed")?,
            cached: counter("cached_response")?,
            degraded: counter("degraded")?,
            cluster_not_found: counter("failed_cluster_not_found")?,
            cluster_empty: counter("failed_cluster_empty")?,
            cluster_unhealthy: counter("failed_cluster_unhealthy")?,
        })
    }
}

#[derive(Debug)]
struct Names {
    status: HeaderName,
    degraded: HeaderName,
    checked_cluster: HeaderName,
    immediate_fail: HeaderName,
}

/// How much of a cluster has to be usable, in whole percent.
#[derive(Clone, Copy, Debug)]
struct Least(u64);

impl Least {
    fn of(percent: f64) -> Result<Self> {
        // As in Envoy, a part of a percent does not count. Of this range every number fits.
        (0.0..=100.0)
            .contains(&percent)
            .then_some(Self(percent as u64))
            .ok_or_else(|| Error::msg("`cluster_min_healthy_percentages` are from 0 to 100"))
    }
}

/// What a request is to the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// None of its business.
    #[default]
    Other,
    /// A question that the upstream answers.
    Asked,
    /// A question that the filter answers.
    Handled(Source),
}

/// Where the answer to a question comes from. It is settled with the head of the question: whatever
/// changes while its body comes, a question that the upstream was not asked is not left without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The clusters that the proxy needs.
    Clusters,
    /// What the upstream said before.
    Cached(Answer),
    /// The proxy was not well, which is why the upstream was not asked.
    Failing,
}

impl Filter for HealthCheck {
    type Config = Config;
    type Stream = Kind;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self> {
        let lasts = config
            .cache_time
            .map_or_else(Default::default, |time| time.0);
        if !lasts.is_zero() && !config.pass_through_mode {
            return Err(Error::msg(
                "`cache_time` must not be set where `pass_through_mode` is off",
            ));
        }
        let clusters = config.cluster_min_healthy_percentages.into_iter();
        let clusters: Result<_> = clusters
            .map(|(name, percent)| Ok((name, Least::of(percent.value)?)))
            .collect();
        let headers: Result<_> = config
            .headers
            .into_iter()
            .map(|matcher| matcher.look_up(setup))
            .collect();
        Ok(Self {
            passes_through: config.pass_through_mode,
            cache: (!lasts.is_zero()).then(|| Cache::new(lasts)),
            clusters: clusters?,
            headers: headers?,
            own_cluster: setup.own_cluster(),
            names: Names {
                status: setup.header_name(":status")?,
                degraded: setup.header_name("x-envoy-degraded")?,
                checked_cluster: setup.header_name("x-envoy-upstream-healthchecked-cluster")?,
                immediate_fail: setup.header_name("x-envoy-immediate-health-check-fail")?,
            },
            counts: Counts::open(setup)?,
        })
    }

    fn interest(&self) -> Interest {
        Interest::new().request_headers().response_headers()
    }

    fn on_request_headers(&self, kind: &mut Kind, cx: &mut RequestHeaders<'_>) -> Result<Flow> {
        let request = cx.request();
        if !self.headers.iter().all(|header| header.matches(&request)) {
            return Ok(Flow::Next);
        }
        cx.set_health_check();
        let cached = self.cache.as_ref().and_then(|cache| cache.get(now()));
        let source = match cached {
            _ if !self.passes_through => Source::Clusters,
            _ if cx.is_proxy_failing() => Source::Failing,
            Some(answer) => Source::Cached(answer),
            None => {
                *kind = Kind::Asked;
                return Ok(Flow::Next);
            }
        };
        *kind = Kind::Handled(source);
        if cx.end_of_stream() {
            return Ok(self.answer(source, cx).into());
        }
        // The rest of the question comes first, and does not count.
        cx.set_interest(self.interest().request_body(BodyMode::Buffered));
        Ok(Flow::Next)
    }

    fn on_request_body(&self, kind: &mut Kind, cx: &mut RequestBody<'_>) -> Result<Flow> {
        match *kind {
            Kind::Handled(source) => Ok(self.answer(source, cx).into()),
            Kind::Other | Kind::Asked => Ok(Flow::Next),
        }
    }

    fn on_response_headers(&self, kind: &mut Kind, cx: &mut ResponseHeaders<'_>) -> Result<Flow> {
        let names = &self.names;
        if let (Kind::Asked, Some(cache)) = (*kind, &self.cache) {
            let response = cx.response();
            let status = response.get_str(names.status).unwrap_or_default();
            let answer = Answer {
                status: status.parse().unwrap_or_default(),
                is_degraded: response.get(names.degraded).is_some(),
            };
            cache.put(answer, now());
        }
        if *kind != Kind::Other {
            cx.response_mut()
                .set(names.checked_cluster, &self.own_cluster)?;
        }
        if cx.is_proxy_failing() {
            cx.response_mut().set(names.immediate_fail, "true")?;
        }
        Ok(Flow::Next)
    }
}

impl HealthCheck {
    /// How the proxy is.
    fn answer(&self, source: Source, cx: &Exchange<'_>) -> LocalReply {
        let (status, is_degraded, details) = match source {
            _ if cx.is_proxy_failing() => FAILING,
            Source::Failing => FAILING,
            Source::Cached(answer) => {
                self.counts.cached.inc();
                (answer.status, answer.is_degraded, "health_check_cached")
            }
            Source::Clusters => {
                let (status, details) = self.of_clusters(cx);
                (status, false, details)
            }
        };
        let counts = &self.counts;
        counts.asked.inc();
        let mut reply = LocalReply::new(status).with_details(details);
        if is_degraded {
            counts.degraded.inc();
            reply = reply.with_header("x-envoy-degraded", "");
        }
        if matches!(status, 200..=299) {
            counts.ok.inc();
        } else {
            counts.failed.inc();
            reply = reply.with_response_flag("LH");
        }
        reply
    }

    /// What the clusters say that the proxy needs.
    fn of_clusters(&self, cx: &Exchange<'_>) -> (u16, &'static str) {
        let counts = &self.counts;
        for (name, least) in &self.clusters {
            let Some(members) = cx.members(name) else {
                counts.cluster_not_found.inc();
                return (503, "health_check_failed_no_cluster_found");
            };
            let usable = u64::from(members.healthy) + u64::from(members.degraded);
            match members.total {
                0 if least.0 == 0 => {}
                0 => {
                    counts.cluster_empty.inc();
                    return (503, "health_check_failed_cluster_empty");
                }
                total if usable * 100 < u64::from(total) * least.0 => {
                    counts.cluster_unhealthy.inc();
                    return (503, "health_check_failed_cluster_unhealthy");
                }
                _ => {}
            }
        }
        match self.clusters.as_slice() {
            [] => (200, "health_check_ok"),
            _ => (200, "health_check_ok_cluster_healthy"),
        }
    }
}

nuncio_sdk::export_filter!(HealthCheck);
