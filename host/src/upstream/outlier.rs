//! Outlier detection: endpoints that answer badly are left out for a while.
//!
//! Owns what is counted of each endpoint ([`Monitor`], by the workers, exactly and without locks)
//! and what follows from it ([`Detector`], on the control thread). A cluster without
//! `outlier_detection` has neither. Does not own: publishing (`control`), or when a request counts
//! as failed, which the pools and the data path report.

mod detector;
pub mod event;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

pub use detector::{Around, Detector};

use super::spec::OutlierSpec;

/// What became of a request, or of a connection for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A response of this status.
    Status(u16),
    /// The endpoint was reached: there is a connection, on which it will answer.
    Connected,
    /// The endpoint was reached, and that is all that will be known.
    Opened,
    /// It could not be reached, or the stream broke.
    Failed,
    /// Nothing came in time.
    TimedOut,
}

/// Why an endpoint is an outlier (`OutlierEjectionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Answers of 5xx in a row.
    Consecutive5xx,
    /// Answers of 502, 503 or 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures to reach it in a row.
    ConsecutiveLocalOriginFailure,
    /// Fewer successes than the others.
    SuccessRate,
    /// The same for reaching it.
    SuccessRateLocalOrigin,
    /// More failures than allowed.
    FailurePercentage,
    /// The same for reaching it.
    FailurePercentageLocalOrigin,
}

impl Reason {
    const CONSECUTIVE: [Self; 3] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGatewayFailure,
        Self::ConsecutiveLocalOriginFailure,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// As the event log names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "CONSECUTIVE_5XX",
            Self::ConsecutiveGatewayFailure => "CONSECUTIVE_GATEWAY_FAILURE",
            Self::ConsecutiveLocalOriginFailure => "CONSECUTIVE_LOCAL_ORIGIN_FAILURE",
            Self::SuccessRate => "SUCCESS_RATE",
            Self::SuccessRateLocalOrigin => "SUCCESS_RATE_LOCAL_ORIGIN",
            Self::FailurePercentage => "FAILURE_PERCENTAGE",
            Self::FailurePercentageLocalOrigin => "FAILURE_PERCENTAGE_LOCAL_ORIGIN",
        }
    }
}

/// What is counted of one endpoint, over all workers.
#[derive(Debug)]
pub struct Monitor {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    /// Answers, and reaching it.
    pub(super) external: Tally,
    pub(super) local: Tally,
    /// Reasons in a row that were met and that nobody has looked at yet.
    tripped: AtomicU8,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            consecutive_5xx: AtomicU32::new(0),
            consecutive_gateway_failure: AtomicU32::new(0),
            consecutive_local_origin_failure: AtomicU32::new(0),
            external: Tally::default(),
            local: Tally::default(),
            tripped: AtomicU8::new(0),
        }
    }
}

/// The average success rate of a cluster's endpoints and what was too far below it, in percent; -1
/// where too little happened. The bits of doubles.
#[derive(Debug)]
pub struct Average {
    average: AtomicU64,
    threshold: AtomicU64,
}

impl Default for Average {
    fn default() -> Self {
        let unknown = || AtomicU64::new((-1.0_f64).to_bits());
        Self {
            average: unknown(),
            threshold: unknown(),
        }
    }
}

impl Average {
    fn set(&self, average: f64, threshold: f64) {
        self.average.store(average.to_bits(), Ordering::Relaxed);
        self.threshold.store(threshold.to_bits(), Ordering::Relaxed);
    }

    /// Average and threshold.
    #[must_use]
    pub fn get(&self) -> (f64, f64) {
        let read = |cell: &AtomicU64| f64::from_bits(cell.load(Ordering::Relaxed));
        (read(&self.average), read(&self.threshold))
    }
}

/// What outlier detection last found in a cluster, for `/clusters`.
#[derive(Debug, Default)]
pub struct Averages {
    /// Of answers.
    pub external: Average,
    /// Of reaching endpoints.
    pub local: Average,
}

/// Successes among all, ever, and their rate in the last interval.
#[derive(Debug)]
pub(super) struct Tally {
    successes: AtomicU64,
    total: AtomicU64,
    /// In percent, the bits of a double; -1 where too little happened.
    rate: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            successes: AtomicU64::new(0),
            total: AtomicU64::new(0),
            rate: AtomicU64::new((-1.0_f64).to_bits()),
        }
    }
}

impl Tally {
    fn add(&self, is_success: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if is_success {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Successes and all, ever.
    fn sums(&self) -> (u64, u64) {
        // Not read at one moment: requests in between may make either too large, which `measure` allows for.
        let successes = self.successes.load(Ordering::Relaxed);
        (successes, self.total.load(Ordering::Relaxed))
    }

    fn set_rate(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// The percentage of successes in the last interval, -1 where it was not measured.
    pub(super) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }
}

impl Monitor {
    /// Counts `report`. Whether somebody has to look: something happened often enough in a row.
    pub(super) fn put(&self, spec: &OutlierSpec, report: Report) -> bool {
        match (report, spec.splits_local_origin) {
            (Report::Status(status), _) => self.answered(spec, status),
            (Report::Connected, false) => false,
            (Report::Opened, false) => self.answered(spec, 200),
            (Report::Failed, false) => self.answered(spec, 503),
            (Report::TimedOut, false) => self.answered(spec, 504),
            (Report::Connected | Report::Opened, true) => {
                self.local.add(true);
                reset(&self.consecutive_local_origin_failure);
                false
            }
            (Report::Failed | Report::TimedOut, true) => {
                self.local.add(false);
                let (count, most) = (
                    &self.consecutive_local_origin_failure,
                    spec.consecutive_local_origin_failure,
                );
                self.again(Reason::ConsecutiveLocalOriginFailure, count, most)
            }
        }
    }

    fn answered(&self, spec: &OutlierSpec, status: u16) -> bool {
        let is_failure = (500..600).contains(&status);
        self.external.add(!is_failure);
        let (any, gateway) = (&self.consecutive_5xx, &self.consecutive_gateway_failure);
        if !is_failure {
            reset(any);
            reset(gateway);
            return false;
        }
        let of_gateway = if matches!(status, 502..=504) {
            let most = spec.consecutive_gateway_failure;
            self.again(Reason::ConsecutiveGatewayFailure, gateway, most)
        } else {
            reset(gateway);
            false
        };
        self.again(Reason::Consecutive5xx, any, spec.consecutive_5xx) || of_gateway
    }

    /// Once more in a row. As in Envoy reaching `most` counts, not being above it.
    fn again(&self, reason: Reason, count: &AtomicU32, most: u32) -> bool {
        let is_enough = count.fetch_add(1, Ordering::Relaxed).wrapping_add(1) == most;
        if is_enough {
            self.tripped.fetch_or(reason.bit(), Ordering::Release);
        }
        is_enough
    }

    /// The reasons in a row that were met since the last call.
    fn take_tripped(&self) -> impl Iterator<Item = Reason> + use<> {
        let tripped = self.tripped.swap(0, Ordering::Acquire);
        let of = move |reason: &Reason| tripped & reason.bit() != 0;
        Reason::CONSECUTIVE.into_iter().filter(of)
    }

    /// Counts what is in a row from 0 again: for one reason, or for all.
    fn forgive(&self, reason: Option<Reason>) {
        let counts = [
            (Reason::Consecutive5xx, &self.consecutive_5xx),
            (
                Reason::ConsecutiveGatewayFailure,
                &self.consecutive_gateway_failure,
            ),
            (
                Reason::ConsecutiveLocalOriginFailure,
                &self.consecutive_local_origin_failure,
            ),
        ];
        for (of, count) in counts {
            if reason.is_none_or(|reason| reason == of) {
                reset(count);
            }
        }
    }
}

/// To 0, without taking the line from other threads where it is that already.
fn reset(count: &AtomicU32) {
    if count.load(Ordering::Relaxed) != 0 {
        count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
