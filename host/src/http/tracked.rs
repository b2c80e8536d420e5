//! What clusters count of requests where they are asked to (`track_cluster_stats`).
//!
//! Owns how large the messages of an attempt are, and which part of its time a request and an attempt take.
//! Called by [`super::forward`],
//! [`super::record`], [`super::conversation`] and [`super::mirror`]. Does not own the statistics
//! (`upstream::stats`): other clusters have none of them, and then nothing is looked at here.

use std::time::{Duration, Instant};

use super::attempts::Attempts;
use super::deadlines::Deadlines;
use super::error::{Error, Kind};
use super::stream::Stream;
use crate::clock;
use crate::h1::BodyLength;
use crate::headers::Headers;
use crate::upstream::Cluster;

/// How large the messages of an attempt are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes of the request's body that went upstream.
    pub(super) sent: u64,
    /// Bytes of the response's body, before filters.
    pub(super) received: u64,
    /// Bytes and fields of the response's head, once it is there.
    head: Option<(u64, u64)>,
}

impl Sizes {
    /// Notes how much of the response's body has come; of one that was held back it has gone on by itself.
    pub(super) fn note_received(&mut self, bytes: u64) {
        self.received = self.received.max(bytes);
    }

    /// Notes the response's head as it came. The codec of HTTP/1 keeps what says that chunks follow to
    /// itself, which is counted all the same.
    pub(super) fn note_head(&mut self, response: &Headers, body: BodyLength, is_http1: bool) {
        const CODING: &str = "transfer-encodingchunked";
        let (mut bytes, mut fields) = size(response);
        if is_http1 && body == BodyLength::Chunked {
            bytes += CODING.len() as u64;
            fields += 1;
        }
        self.head = Some((bytes, fields));
    }
}

/// Counts an attempt that is over: what it carried, and which part of the time of one it took.
pub(super) fn count_attempt(
    (cluster, worker): (&Cluster, usize),
    request: &Headers,
    sizes: Sizes,
    (began, limit): (Option<Instant>, Option<Duration>),
) {
    if let Some(stats) = cluster.sizes(worker) {
        let (bytes, fields) = size(request);
        stats.upstream_rq_headers_size.record(bytes);
        stats.upstream_rq_headers_count.record(fields);
        stats.upstream_rq_body_size.record(sizes.sent);
        if let Some((bytes, fields)) = sizes.head {
            stats.upstream_rs_headers_size.record(bytes);
            stats.upstream_rs_headers_count.record(fields);
            stats.upstream_rs_body_size.record(sizes.received);
        }
    }
    if let Some((stats, began)) = cluster.budgets(worker).zip(began) {
        let took = clock::now().saturating_duration_since(began);
        let used = percent(took.as_millis(), limit);
        stats
            .upstream_rq_timeout_budget_per_try_percent_used
            .record(used);
    }
}

/// When an attempt begins, where that is asked for.
pub(super) fn beginning(cluster: &Cluster, worker: usize) -> Option<Instant> {
    cluster.budgets(worker).map(|_| clock::now())
}

/// Counts which part of its time a request took that is over, `took` in ms.
pub(super) fn count_request(cluster: &Cluster, worker: usize, took: u128, limit: Option<Duration>) {
    if let Some(stats) = cluster.budgets(worker) {
        stats
            .upstream_rq_timeout_budget_percent_used
            .record(percent(took, limit));
    }
}

/// Counts which part of its time a request has used that took too long.
pub(super) fn count_late(
    stream: &Stream<'_, '_>,
    attempts: &Attempts<'_>,
    limits: &Deadlines,
    error: &Error,
) {
    let is_late = matches!(
        error.kind,
        Kind::RequestTimeout(_) | Kind::PerTryTimeout(_) | Kind::PerTryIdle(_)
    );
    if is_late && stream.tunnel.is_none() {
        let took = limits.since_received(clock::now()).as_millis();
        let (worker, (limit, _)) = (stream.around.worker.index, limits.budgets());
        count_request(attempts.cluster, worker, took, limit);
    }
}

/// Whether the time of all attempts together is over.
pub(super) const fn is_late(error: &Error) -> bool {
    matches!(error.kind, Kind::RequestTimeout(_))
}

/// Of a time without limit none is used.
fn percent(took_ms: u128, limit: Option<Duration>) -> u64 {
    let limit = limit.map_or(0, |limit| limit.as_millis());
    let used = took_ms.saturating_mul(100).checked_div(limit);
    u64::try_from(used.unwrap_or(0)).unwrap_or(u64::MAX)
}

fn size(head: &Headers) -> (u64, u64) {
    (head.byte_size() as u64, head.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_time_are_whole_percents() {
        let second = Some(Duration::from_secs(1));
        for (took, limit, expected) in [
            (0, second, 0),
            (9, second, 0),
            (10, second, 1),
            (999, second, 99),
            (1500, second, 150),
            (1500, None, 0),
            (1500, Some(Duration::from_micros(1)), 0),
        ] {
            assert_eq!(percent(took, limit), expected, "{took} of {limit:?}");
        }
    }

    #[test]
    fn chunks_are_in_the_head_of_http1() {
        let mut head = Headers::new();
        head.append_bytes(b"ab", b"cde");
        for (body, is_http1, expected) in [
            (BodyLength::Length(1), true, (5, 1)),
            (BodyLength::Chunked, false, (5, 1)),
            (BodyLength::Chunked, true, (29, 2)),
        ] {
            let mut sizes = Sizes::default();
            sizes.note_head(&head, body, is_http1);
            assert_eq!(sizes.head, Some(expected));
        }
    }
}
