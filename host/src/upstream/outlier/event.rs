//! What outlier detection writes down.
//!
//! Owns an event and its line in the log (`envoy.data.cluster.v3.OutlierDetectionEvent` as JSON,
//! in Envoy's form). Does not own: where the line goes.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Reason;
use crate::upstream::endpoint::Endpoint;

/// An endpoint was ejected, would have been, or came back.
#[derive(Clone, Debug)]
pub struct Event {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// How often it was ejected, this time included.
    pub ejections: u32,
    /// Since it came back last, or since it was ejected.
    pub since_last: Option<Duration>,
    /// What happened.
    pub what: What,
}

/// What happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// It is left out from now on, or would be if that were enforced.
    Eject {
        /// Why.
        reason: Reason,
        /// Whether that was carried out.
        enforced: bool,
        /// What it rests on.
        details: Details,
    },
    /// It is used again.
    Uneject,
}

/// What an ejection rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Details {
    /// Failures in a row.
    Consecutive,
    /// A rate of successes in percent, the average of all, and what was too little.
    Rate {
        /// Of the endpoint.
        rate: f64,
        /// Of all.
        average: f64,
        /// The least that was allowed.
        threshold: f64,
    },
    /// A rate of successes in percent.
    Failures {
        /// Of the endpoint.
        rate: f64,
    },
}

/// A line, in Envoy's order of fields.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secs_since_last_action: Option<String>,
    cluster_name: &'a str,
    upstream_url: String,
    action: &'static str,
    num_ejections: u32,
    enforced: bool,
    #[serde(flatten)]
    details: Option<Written>,
}

/// What an ejection rests on, in whole percent as Envoy writes it.
#[derive(Serialize)]
enum Written {
    #[serde(rename = "eject_success_rate_event")]
    Rate {
        host_success_rate: u32,
        cluster_average_success_rate: u32,
        cluster_success_rate_ejection_threshold: u32,
    },
    #[serde(rename = "eject_consecutive_event")]
    Consecutive {},
    #[serde(rename = "eject_failure_percentage_event")]
    Failures { host_success_rate: u32 },
}

impl Event {
    /// The line of the log, without its end. `timestamp` is the time in RFC 3339's form.
    #[must_use]
    pub fn line(&self, cluster: &str, timestamp: &str) -> String {
        // As in Envoy: what a return does not say is shown as the first of its kind.
        let (reason, action, enforced, details) = match self.what {
            What::Eject {
                reason,
                enforced,
                details,
            } => (reason, "EJECT", enforced, Some(details.written())),
            What::Uneject => (Reason::Consecutive5xx, "UNEJECT", false, None),
        };
        let line = Line {
            r#type: reason.as_str(),
            timestamp,
            secs_since_last_action: self.since_last.map(|since| since.as_secs().to_string()),
            cluster_name: cluster,
            upstream_url: self.endpoint.now_at().to_string(),
            action,
            num_ejections: self.ejections,
            enforced,
            details,
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

impl Details {
    fn written(self) -> Written {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "percentages; what is below 0 is shown as 0"
        )]
        let whole = |rate: f64| rate as u32;
        match self {
            Self::Consecutive => Written::Consecutive {},
            Self::Rate {
                rate,
                average,
                threshold,
            } => Written::Rate {
                host_success_rate: whole(rate),
                cluster_average_success_rate: whole(average),
                cluster_success_rate_ejection_threshold: whole(threshold),
            },
            Self::Failures { rate } => Written::Failures {
                host_success_rate: whole(rate),
            },
        }
    }
}
