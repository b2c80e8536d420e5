//! Who is ejected, and when it comes back.
//!
//! Owns the rules of outlier detection as a state machine: it is told the time, looks at the
//! monitors of the endpoints, sets and clears their flag, and says what happened. Driven by
//! `control`. Does not own: counting (`super::Monitor`) and writing events down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{Details, Event, What};
use super::{Averages, Monitor, Reason, Tally};
use crate::upstream::balance::Random;
use crate::upstream::balance::layout::State;
use crate::upstream::discovery::up_to;
use crate::upstream::endpoint::{Endpoint, Health};
use crate::upstream::spec::{MostEjected, OutlierSpec};
use crate::upstream::stats::OutlierStats;

/// See the module's page.
#[derive(Debug)]
pub struct Detector {
    spec: OutlierSpec,
    hosts: HashMap<u64, Host>,
    ejected: usize,
}

/// What is known about one endpoint.
#[derive(Debug, Default)]
struct Host {
    endpoint: Option<Arc<Endpoint>>,
    ejections: u32,
    ejected_at: Option<Instant>,
    returned_at: Option<Instant>,
    /// How many base times the next ejection takes; less with each quiet interval.
    backoff: u32,
    jitter: Duration,
    /// What the tallies stood at when the interval began.
    external: (u64, u64),
    local: (u64, u64),
}

/// What is needed for a decision besides the state.
pub struct Around<'a> {
    /// The time.
    pub now: Instant,
    /// Chance, for jitter and enforcement.
    pub random: &'a mut Random,
    /// Where it is counted.
    pub stats: &'a OutlierStats,
    /// Where averages are shown.
    pub averages: &'a Averages,
}

/// An endpoint's part of an interval.
struct Measured {
    id: u64,
    rate: f64,
    volume: u64,
}

impl Detector {
    /// By `spec`, without endpoints yet.
    #[must_use]
    pub fn new(spec: OutlierSpec) -> Self {
        Self {
            spec,
            hosts: HashMap::new(),
            ejected: 0,
        }
    }

    /// Goes by `spec` from now on.
    pub fn retune(&mut self, spec: OutlierSpec) {
        self.spec = spec;
    }

    /// The time between two calls of [`Self::interval`].
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.spec.interval
    }

    /// Watches these endpoints, and no others.
    pub fn follow(&mut self, endpoints: &[Arc<Endpoint>], stats: &OutlierStats) {
        let mut before = std::mem::take(&mut self.hosts);
        for endpoint in endpoints {
            let mut host = before.remove(&endpoint.id).unwrap_or_default();
            host.endpoint = Some(Arc::clone(endpoint));
            self.hosts.insert(endpoint.id, host);
        }
        self.ejected = self.endpoints().filter(|e| is_ejected(e)).count();
        self.count_ejected(stats);
    }

    /// Looks at what happened in a row.
    pub fn consecutive(&mut self, around: &mut Around<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        for (endpoint, reasons) in self.tripped() {
            let Some(monitor) = &endpoint.outlier else {
                continue;
            };
            for reason in reasons {
                if is_ejected(&endpoint) {
                    break;
                }
                detected(around.stats, reason);
                if reason == Reason::Consecutive5xx {
                    around.stats.ejections_consecutive_5xx.inc();
                }
                events.extend(self.eject(&endpoint, reason, Details::Consecutive, around));
                monitor.forgive(Some(reason));
            }
        }
        events
    }

    fn tripped(&self) -> Vec<(Arc<Endpoint>, Vec<Reason>)> {
        let mut tripped: Vec<(Arc<Endpoint>, Vec<Reason>)> = self
            .endpoints()
            .filter_map(|endpoint| {
                let reasons: Vec<Reason> = endpoint.outlier.as_ref()?.take_tripped().collect();
                (!reasons.is_empty()).then(|| (Arc::clone(endpoint), reasons))
            })
            .collect();
        // In the order of the configuration, whatever that of the map.
        tripped.sort_unstable_by_key(|(endpoint, _)| endpoint.id);
        tripped
    }

    /// Ends an interval: lets endpoints come back whose time is over, and looks at rates.
    pub fn interval(&mut self, around: &mut Around<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        let ids = self.ids();
        for id in &ids {
            events.extend(self.bring_back_if_due(*id, around));
        }
        let (mut external, mut local) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(host) = self.hosts.get_mut(&id) else {
                continue;
            };
            let Some(monitor) = host.endpoint.as_ref().and_then(|e| e.outlier.as_ref()) else {
                continue;
            };
            let skip = host.endpoint.as_ref().is_some_and(|e| is_ejected(e));
            let tallies = [
                (&monitor.external, &mut host.external, &mut external),
                (&monitor.local, &mut host.local, &mut local),
            ];
            for (tally, before, measured) in tallies {
                measured.extend(measure(tally, before, id).filter(|_| !skip));
            }
        }
        events.extend(self.rates(&external, false, around));
        events.extend(self.rates(&local, true, around));
        self.calm_down(around.now);
        events
    }

    /// An active health check has passed: whether that brings the endpoint back.
    pub fn check_passed(&mut self, endpoint: &Arc<Endpoint>, around: &Around<'_>) -> Option<Event> {
        let counts = self.spec.check_brings_back && endpoint.passes_checks();
        (counts && is_ejected(endpoint))
            .then(|| self.bring_back(endpoint.id, around))
            .flatten()
    }

    fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.hosts
            .values()
            .filter_map(|host| host.endpoint.as_ref())
    }

    fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.hosts.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Ejects those whose rate is too far from the others', then those that fail too often.
    fn rates(
        &mut self,
        measured: &[Measured],
        is_local: bool,
        around: &mut Around<'_>,
    ) -> Vec<Event> {
        let shown = if is_local {
            &around.averages.local
        } else {
            &around.averages.external
        };
        shown.set(-1.0, -1.0);
        let (by_rate, by_failures) = (self.spec.success_rate, self.spec.failure_percentage);
        let known = self.hosts.len() as u64;
        let least_hosts = by_rate.minimum_hosts.min(by_failures.minimum_hosts);
        if known < u64::from(least_hosts) {
            return Vec::new();
        }
        let least = u64::from(by_rate.request_volume.min(by_failures.request_volume));
        for measured in measured.iter().filter(|one| one.volume >= least) {
            if let Some(monitor) = self.monitor(measured.id) {
                let tally = if is_local {
                    &monitor.local
                } else {
                    &monitor.external
                };
                tally.set_rate(measured.rate);
            }
        }
        let enough = |volume: u32, hosts: u32| -> Vec<(u64, f64)> {
            let valid = measured
                .iter()
                .filter(|one| one.volume >= u64::from(volume));
            let valid: Vec<_> = valid.map(|one| (one.id, one.rate)).collect();
            if valid.len() as u64 >= u64::from(hosts) {
                valid
            } else {
                Vec::new()
            }
        };
        let mut events = Vec::new();
        let rates = enough(by_rate.request_volume, by_rate.minimum_hosts);
        let (average, threshold) = threshold(&rates, self.spec.success_rate_stdev_factor);
        if !rates.is_empty() {
            shown.set(average, threshold);
        }
        for (id, rate) in rates.into_iter().filter(|(_, rate)| *rate < threshold) {
            around.stats.ejections_success_rate.inc();
            let details = Details::Rate {
                rate,
                average,
                threshold,
            };
            let reason = if is_local {
                Reason::SuccessRateLocalOrigin
            } else {
                Reason::SuccessRate
            };
            events.extend(self.detect(id, reason, details, around));
        }
        let most = f64::from(self.spec.failure_percentage_threshold);
        let failing = enough(by_failures.request_volume, by_failures.minimum_hosts);
        for (id, rate) in failing.into_iter().filter(|(_, rate)| 100.0 - rate >= most) {
            let reason = if is_local {
                Reason::FailurePercentageLocalOrigin
            } else {
                Reason::FailurePercentage
            };
            events.extend(self.detect(id, reason, Details::Failures { rate }, around));
        }
        events
    }

    fn detect(
        &mut self,
        id: u64,
        reason: Reason,
        details: Details,
        around: &mut Around<'_>,
    ) -> Option<Event> {
        let endpoint = Arc::clone(self.hosts.get(&id)?.endpoint.as_ref()?);
        detected(around.stats, reason);
        if is_ejected(&endpoint) {
            return None;
        }
        self.eject(&endpoint, reason, details, around)
    }

    fn monitor(&self, id: u64) -> Option<&Monitor> {
        self.hosts.get(&id)?.endpoint.as_ref()?.outlier.as_deref()
    }

    fn eject(
        &mut self,
        endpoint: &Arc<Endpoint>,
        reason: Reason,
        details: Details,
        around: &mut Around<'_>,
    ) -> Option<Event> {
        if !self.may_eject(endpoint) {
            around.stats.ejections_overflow.inc();
            return None;
        }
        if matches!(reason, Reason::Consecutive5xx | Reason::SuccessRate) {
            around.stats.ejections_total.inc();
        }
        let (base, most) = (self.spec.base_ejection_time, self.spec.max_ejection_time);
        let jitter = self.spec.max_ejection_time_jitter;
        let enforced = around.random.below(100) < u64::from(self.enforcing(reason));
        let host = self.hosts.get_mut(&endpoint.id)?;
        // What lies behind is told before this one counts.
        let since_last = since(host.returned_at, around.now);
        if enforced {
            endpoint.health().set(Health::FAILED_OUTLIER_CHECK);
            host.ejections += 1;
            host.ejected_at = Some(around.now);
            host.jitter = up_to(jitter, around.random);
            if base.saturating_mul(host.backoff) < most.saturating_add(base) {
                host.backoff += 1;
            }
            self.ejected += 1;
        }
        let event = Event {
            endpoint: Arc::clone(endpoint),
            ejections: host.ejections,
            since_last,
            what: What::Eject {
                reason,
                enforced,
                details,
            },
        };
        if enforced {
            count_enforced(around.stats, reason);
            self.count_ejected(around.stats);
        }
        Some(event)
    }

    /// Whether one more may be ejected.
    fn may_eject(&self, endpoint: &Endpoint) -> bool {
        let all = self.hosts.len() as u64;
        let within = |percent: u32| (self.ejected as u64 + 1) * 100 <= u64::from(percent) * all;
        match self.spec.most {
            MostEjected::Percent {
                percent,
                at_least_one,
            } => within(percent.min(100)) || at_least_one && self.ejected == 0,
            MostEjected::Sensible => {
                let is_other = |other: &&Arc<Endpoint>| {
                    other.id != endpoint.id && other.state() != State::Unhealthy
                };
                (self.ejected == 0 || within(10)) && self.endpoints().any(|e| is_other(&e))
            }
        }
    }

    const fn enforcing(&self, reason: Reason) -> u32 {
        let enforcing = &self.spec.enforcing;
        match reason {
            Reason::Consecutive5xx => enforcing.consecutive_5xx,
            Reason::ConsecutiveGatewayFailure => enforcing.consecutive_gateway_failure,
            Reason::ConsecutiveLocalOriginFailure => enforcing.consecutive_local_origin_failure,
            Reason::SuccessRate => enforcing.success_rate,
            Reason::SuccessRateLocalOrigin => enforcing.local_origin_success_rate,
            Reason::FailurePercentage => enforcing.failure_percentage,
            Reason::FailurePercentageLocalOrigin => enforcing.local_origin_failure_percentage,
        }
    }

    fn bring_back_if_due(&mut self, id: u64, around: &Around<'_>) -> Option<Event> {
        let host = self.hosts.get(&id)?;
        if !is_ejected(host.endpoint.as_ref()?) {
            return None;
        }
        let base = self.spec.base_ejection_time.saturating_mul(host.backoff);
        let time = base.min(self.spec.max_ejection_time) + host.jitter;
        let is_due = around.now.saturating_duration_since(host.ejected_at?) >= time;
        is_due.then(|| self.bring_back(id, around)).flatten()
    }

    fn bring_back(&mut self, id: u64, around: &Around<'_>) -> Option<Event> {
        let host = self.hosts.get_mut(&id)?;
        let endpoint = Arc::clone(host.endpoint.as_ref()?);
        endpoint.health().clear(Health::FAILED_OUTLIER_CHECK);
        if let Some(monitor) = &endpoint.outlier {
            // Nothing that was counted before it left is held against it.
            monitor.forgive(None);
        }
        host.returned_at = Some(around.now);
        let event = Event {
            ejections: host.ejections,
            since_last: since(host.ejected_at, around.now),
            what: What::Uneject,
            endpoint,
        };
        self.ejected = self.ejected.saturating_sub(1);
        self.count_ejected(around.stats);
        Some(event)
    }

    /// Shortens the next ejection of endpoints that had a quiet interval.
    fn calm_down(&mut self, now: Instant) {
        let interval = self.spec.interval;
        for host in self.hosts.values_mut() {
            let is_out = host.endpoint.as_ref().is_some_and(|e| is_ejected(e));
            let quiet = host
                .returned_at
                .is_some_and(|at| now.saturating_duration_since(at) >= interval);
            if !is_out && quiet {
                host.backoff = host.backoff.saturating_sub(1);
            }
        }
    }

    fn count_ejected(&self, stats: &OutlierStats) {
        let ejected = i64::try_from(self.ejected).unwrap_or(i64::MAX);
        stats.ejections_active.set(ejected);
    }
}

fn is_ejected(endpoint: &Endpoint) -> bool {
    endpoint.health().has(Health::FAILED_OUTLIER_CHECK)
}

fn since(moment: Option<Instant>, now: Instant) -> Option<Duration> {
    moment.map(|moment| now.saturating_duration_since(moment))
}

/// The rate of one interval, which ends; `None` if nothing happened.
#[expect(clippy::cast_precision_loss, reason = "requests of one interval")]
fn measure(tally: &Tally, before: &mut (u64, u64), id: u64) -> Option<Measured> {
    tally.set_rate(-1.0);
    let now = tally.sums();
    let volume = now.1.saturating_sub(before.1);
    // The two are not read at one moment: what is too much here is left for the next interval.
    let successes = now.0.saturating_sub(before.0).min(volume);
    *before = (before.0 + successes, now.1);
    (volume > 0).then(|| Measured {
        id,
        rate: successes as f64 * 100.0 / volume as f64,
        volume,
    })
}

/// The average of success rates, and what is too far below it: `factor` thousandths of the standard
/// deviation. Nothing is below it where there are none.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 endpoints")]
fn threshold(rates: &[(u64, f64)], factor: u32) -> (f64, f64) {
    if rates.is_empty() {
        return (-1.0, f64::NEG_INFINITY);
    }
    let count = rates.len() as f64;
    let average = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let squares = rates.iter().map(|(_, rate)| (rate - average).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    (average, average - f64::from(factor) / 1000.0 * deviation)
}

fn detected(stats: &OutlierStats, reason: Reason) {
    match reason {
        Reason::Consecutive5xx => stats.detected_consecutive_5xx.inc(),
        Reason::ConsecutiveGatewayFailure => stats.detected_consecutive_gateway_failure.inc(),
        Reason::ConsecutiveLocalOriginFailure => {
            stats.detected_consecutive_local_origin_failure.inc();
        }
        Reason::SuccessRate => stats.detected_success_rate.inc(),
        Reason::SuccessRateLocalOrigin => stats.detected_local_origin_success_rate.inc(),
        Reason::FailurePercentage => stats.detected_failure_percentage.inc(),
        Reason::FailurePercentageLocalOrigin => {
            stats.detected_local_origin_failure_percentage.inc();
        }
    }
}

fn count_enforced(stats: &OutlierStats, reason: Reason) {
    stats.ejections_enforced_total.inc();
    match reason {
        Reason::Consecutive5xx => stats.enforced_consecutive_5xx.inc(),
        Reason::ConsecutiveGatewayFailure => stats.enforced_consecutive_gateway_failure.inc(),
        Reason::ConsecutiveLocalOriginFailure => {
            stats.enforced_consecutive_local_origin_failure.inc();
        }
        Reason::SuccessRate => stats.enforced_success_rate.inc(),
        Reason::SuccessRateLocalOrigin => stats.enforced_local_origin_success_rate.inc(),
        Reason::FailurePercentage => stats.enforced_failure_percentage.inc(),
        Reason::FailurePercentageLocalOrigin => {
            stats.enforced_local_origin_failure_percentage.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn no_rate_is_above_all_of_them() {
        let tally = Tally::default();
        let mut before = (0, 0);
        let mut measured = |successes, total| {
            tally.successes.store(successes, Ordering::Relaxed);
            tally.total.store(total, Ordering::Relaxed);
            let measured = measure(&tally, &mut before, 1)?;
            Some((measured.rate, measured.volume))
        };
        assert_eq!(measured(0, 0), None);
        assert_eq!(measured(3, 2), Some((100.0, 2)));
        assert_eq!(measured(3, 3), Some((100.0, 1)));
        assert_eq!(measured(3, 4), Some((0.0, 1)));
        assert_eq!(measured(4, 4), None);
        assert_eq!(measured(5, 6), Some((100.0, 2)));
    }
}
