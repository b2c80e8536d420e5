//! What the HTTP requests of health checks have in common.
//!
//! Owns the fields of a request and what an answer says, or that there is none. Called by `http1`,
//! `http2` and `grpc`, which ask. Does not own: what a result means (`state`).

use std::error::Error;

use ::http::header::{HOST, USER_AGENT};
use ::http::{HeaderMap, HeaderValue};

use super::has_all;
use super::state::{Failure, Verdict, judge};
use crate::limits;
use crate::upstream::connect::Target;
use crate::upstream::spec::HttpProbe;

/// What Envoy's health checker calls itself.
pub(super) const AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");

/// With this header an endpoint says that it would rather have less to do.
pub(super) const DEGRADED: &str = "x-envoy-degraded";

/// What an endpoint calls its cluster.
pub(super) const CLUSTER: &str = "x-envoy-upstream-healthchecked-cluster";

/// What an endpoint has answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// The value of [`CLUSTER`], empty where it is not there.
    pub(super) cluster: &'a [u8],
    /// Whether [`DEGRADED`] is there.
    pub(super) is_degraded: bool,
}

impl Answer<'_> {
    /// What it says to `check` with so much of its body as that looks at.
    pub(super) fn verdict(self, check: &HttpProbe, body: &[u8]) -> Verdict {
        let verdict = judge(check, self.status);
        if verdict != Verdict::Passed {
            return verdict;
        }
        let service = check.service.as_ref();
        let is_ours = service.is_none_or(|service| service.is_right(self.cluster));
        if !is_ours || !has_all(&check.receive, body) {
            return Verdict::Failed(Failure::WrongAnswer(self.status));
        }
        if self.is_degraded {
            return Verdict::Degraded;
        }
        verdict
    }
}

/// What it means that no answer came, or none that can be read.
pub(super) fn no_answer(target: &Target, error: &(dyn Error + 'static)) -> Verdict {
    tracing::debug!(target: "hc", address = %target, error, "no answer to a health check");
    Verdict::Failed(Failure::Network)
}

/// The fields of a request: with `host` where it goes as a field, as the settings change them.
pub(super) fn fields(check: &HttpProbe, host: Option<&HeaderValue>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if let Some(host) = host {
        fields.insert(HOST, host.clone());
    }
    fields.insert(USER_AGENT, AGENT);
    for (name, value, replaces) in &check.add {
        if *replaces {
            fields.insert(name, value.clone());
        } else {
            fields.append(name, value.clone());
        }
    }
    for name in &check.remove {
        fields.remove(name);
    }
    fields
}

/// So much of a body as a check looks at, and whether it is longer than anybody should send here.
#[derive(Debug)]
pub(super) struct Body {
    kept: Vec<u8>,
    most: usize,
    length: usize,
}

impl Body {
    /// Nothing of it has come.
    pub(super) const fn new(check: &HttpProbe) -> Self {
        let most = match check.response_buffer {
            _ if check.receive.is_empty() => 0,
            0 => limits::HEALTH_CHECK_BODY_BYTES,
            size => size,
        };
        Self {
            kept: Vec::new(),
            most,
            length: 0,
        }
    }

    /// Takes what comes next; whether the rest may be waited for.
    #[must_use]
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        self.length += data.len();
        let room = self.most.saturating_sub(self.kept.len());
        self.kept.extend(data.iter().take(room));
        self.length <= limits::HEALTH_CHECK_BODY_BYTES
    }

    /// What is looked at of a body that came whole, and so is nothing of one that did not.
    pub(super) fn seen(&self) -> &[u8] {
        if self.length > limits::HEALTH_CHECK_BODY_BYTES {
            &[]
        } else {
            &self.kept
        }
    }
}
