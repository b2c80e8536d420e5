//! Who is ejected, for how long, and who never is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::event::{Details, Event, What};
use super::*;
use crate::upstream::balance::Random;
use crate::upstream::endpoint::{Checks, Endpoint, Health};
use crate::upstream::spec::{Enforcing, MostEjected, RateSpec, Traits};
use crate::upstream::stats::OutlierStats;

const ALL: MostEjected = MostEjected::Percent {
    percent: 100,
    at_least_one: false,
};

/// A detector, its endpoints and a clock that the test turns.
struct Trial {
    spec: OutlierSpec,
    detector: Detector,
    endpoints: Vec<Arc<Endpoint>>,
    stats: OutlierStats,
    averages: Averages,
    random: Random,
    now: Instant,
}

impl Trial {
    fn new(n: u16, spec: OutlierSpec) -> Self {
        let checks = Checks {
            active: false,
            passive: true,
            limited: false,
        };
        let endpoints: Vec<Arc<Endpoint>> = (0..n)
            .map(|i| {
                let address = SocketAddr::from(([10, 0, 0, 1], 1000 + i));
                let traits = Arc::new(Traits::default());
                Arc::new(Endpoint::new(address, traits, checks))
            })
            .collect();
        let stats = OutlierStats::default();
        let mut detector = Detector::new(spec.clone());
        detector.follow(&endpoints, &stats);
        Self {
            spec,
            detector,
            endpoints,
            stats,
            averages: Averages::default(),
            random: Random::new(1),
            now: crate::clock::now(),
        }
    }

    fn put(&self, index: usize, report: Report, times: usize) -> bool {
        let monitor = self.endpoints[index].outlier.as_ref().unwrap();
        (0..times).fold(false, |tripped, _| {
            monitor.put(&self.spec, report) || tripped
        })
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut Detector, &mut Around<'_>) -> Vec<Event>,
    ) -> Vec<Event> {
        let mut around = Around {
            now: self.now,
            random: &mut self.random,
            stats: &self.stats,
            averages: &self.averages,
        };
        act(&mut self.detector, &mut around)
    }

    fn consecutive(&mut self) -> Vec<Event> {
        self.act(Detector::consecutive)
    }

    /// Time goes by, and an interval ends.
    fn interval(&mut self, seconds: u64) -> Vec<Event> {
        self.now += Duration::from_secs(seconds);
        self.act(Detector::interval)
    }

    fn ejected(&self) -> Vec<usize> {
        let is_out = |i: &usize| {
            self.endpoints[*i]
                .health()
                .has(Health::FAILED_OUTLIER_CHECK)
        };
        (0..self.endpoints.len()).filter(is_out).collect()
    }

    fn fail(&mut self, index: usize) {
        self.put(index, Report::Status(500), 5);
        self.consecutive();
    }
}

fn all_may_go() -> OutlierSpec {
    OutlierSpec {
        most: ALL,
        ..OutlierSpec::default()
    }
}

#[test]
fn five_errors_in_a_row_eject_and_a_success_in_between_does_not() {
    let mut trial = Trial::new(3, all_may_go());
    assert!(!trial.put(0, Report::Status(500), 4));
    assert!(!trial.put(0, Report::Status(200), 1));
    assert!(!trial.put(0, Report::Status(503), 4));
    assert!(trial.consecutive().is_empty());
    assert!(trial.put(0, Report::Status(500), 1));
    let events = trial.consecutive();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].ejections, 1);
    assert_eq!(
        events[0].what,
        What::Eject {
            reason: Reason::Consecutive5xx,
            enforced: true,
            details: Details::Consecutive
        }
    );
    assert_eq!(trial.ejected(), [0]);
    assert_eq!(trial.stats.ejections_active.get(), 1);
    assert_eq!(trial.stats.ejections_enforced_total.get(), 1);
    assert!(trial.consecutive().is_empty(), "looked at once");
}

#[test]
fn reports_count_as_what_envoy_takes_them_for() {
    use Report::{Connected, Failed, Opened, Status, TimedOut};
    // split, reports, reasons that tripped
    let table: &[(bool, Report, &[Reason])] = &[
        (false, Status(500), &[Reason::Consecutive5xx]),
        (
            false,
            Status(503),
            &[Reason::Consecutive5xx, Reason::ConsecutiveGatewayFailure],
        ),
        (false, Status(499), &[]),
        (
            false,
            Failed,
            &[Reason::Consecutive5xx, Reason::ConsecutiveGatewayFailure],
        ),
        (
            false,
            TimedOut,
            &[Reason::Consecutive5xx, Reason::ConsecutiveGatewayFailure],
        ),
        (false, Connected, &[]),
        (false, Opened, &[]),
        (true, Failed, &[Reason::ConsecutiveLocalOriginFailure]),
        (true, TimedOut, &[Reason::ConsecutiveLocalOriginFailure]),
        (true, Status(500), &[Reason::Consecutive5xx]),
        (true, Connected, &[]),
    ];
    for (splits_local_origin, report, reasons) in table {
        let trial = Trial::new(
            1,
            OutlierSpec {
                splits_local_origin: *splits_local_origin,
                ..OutlierSpec::default()
            },
        );
        let tripped = trial.put(0, *report, 5);
        assert_eq!(tripped, !reasons.is_empty(), "{report:?}");
        let monitor = trial.endpoints[0].outlier.as_ref().unwrap();
        assert_eq!(
            monitor.take_tripped().collect::<Vec<_>>(),
            *reasons,
            "{report:?}"
        );
    }
    // What is opened for bytes alone ends a row, what is opened for requests does not.
    for (report, trips) in [(Connected, true), (Opened, false)] {
        let trial = Trial::new(1, OutlierSpec::default());
        trial.put(0, Failed, 4);
        trial.put(0, report, 1);
        assert_eq!(trial.put(0, Failed, 1), trips);
    }
}

#[test]
fn small_clusters_lose_one_but_never_the_last() {
    let sensible = OutlierSpec::default();
    for (hosts, failing, ejected) in [
        (1, 1, &[][..]),
        (2, 2, &[0]),
        (3, 3, &[0]),
        (20, 4, &[0, 1]),
    ] {
        let mut trial = Trial::new(hosts, sensible.clone());
        (0..failing).for_each(|index| trial.fail(index));
        assert_eq!(trial.ejected(), ejected, "{failing} of {hosts}");
        let overflow = (failing - ejected.len()) as u64;
        assert_eq!(trial.stats.ejections_overflow.get(), overflow);
    }
    // An endpoint that fails its health checks is no use to the others.
    let mut trial = Trial::new(2, sensible);
    trial.endpoints[1].health().set(Health::FAILED_ACTIVE_HC);
    trial.fail(0);
    assert_eq!(trial.ejected(), [0_usize; 0]);
}

#[test]
fn envoys_arithmetic_is_there_for_who_asks() {
    let percent = |percent, at_least_one| MostEjected::Percent {
        percent,
        at_least_one,
    };
    for (most, hosts, ejected) in [
        (percent(10, false), 9, 0),
        (percent(10, false), 10, 1),
        (percent(10, true), 3, 1),
        (percent(50, false), 4, 2),
        (percent(100, false), 2, 2),
        (percent(100, false), 1, 1),
        (percent(0, true), 1, 1),
    ] {
        let mut trial = Trial::new(
            hosts,
            OutlierSpec {
                most,
                ..OutlierSpec::default()
            },
        );
        (0..usize::from(hosts)).for_each(|index| trial.fail(index));
        assert_eq!(trial.ejected().len(), ejected, "{most:?} of {hosts}");
    }
}

#[test]
fn ejections_last_longer_each_time_and_calm_down() {
    let mut trial = Trial::new(2, all_may_go());
    trial.fail(0);
    assert!(trial.interval(29).is_empty());
    let events = trial.interval(1);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].what, events[0].ejections), (What::Uneject, 1));
    assert_eq!(events[0].since_last, Some(Duration::from_secs(30)));
    assert_eq!(trial.stats.ejections_active.get(), 0);
    // The second one takes twice as long.
    trial.fail(0);
    assert!(trial.interval(59).is_empty());
    assert_eq!(trial.interval(1).len(), 1);
    // Two quiet intervals, and the next is short again.
    trial.interval(10);
    trial.interval(10);
    trial.fail(0);
    assert!(trial.interval(29).is_empty());
    assert_eq!(trial.interval(1).len(), 1);
}

#[test]
fn ejections_have_a_longest_time() {
    let mut trial = Trial::new(
        1,
        OutlierSpec {
            max_ejection_time: Duration::from_secs(45),
            ..all_may_go()
        },
    );
    for _ in 0..4 {
        trial.fail(0);
        trial.interval(45);
        assert!(trial.ejected().is_empty());
    }
}

#[test]
fn what_is_not_enforced_is_only_told() {
    let mut trial = Trial::new(
        10,
        OutlierSpec {
            enforcing: Enforcing {
                consecutive_5xx: 0,
                ..Enforcing::default()
            },
            ..all_may_go()
        },
    );
    trial.put(0, Report::Status(500), 5);
    let events = trial.consecutive();
    let enforced = |event: &Event| matches!(event.what, What::Eject { enforced: true, .. });
    assert!(events.len() == 1 && !enforced(&events[0]));
    assert!(trial.ejected().is_empty());
    assert_eq!(trial.stats.detected_consecutive_5xx.get(), 1);
    assert_eq!(trial.stats.ejections_enforced_total.get(), 0);
    // 502 in a row is detected as well, and by default not enforced.
    trial.put(1, Report::Status(502), 5);
    assert_eq!(trial.consecutive().len(), 2);
    assert!(trial.ejected().is_empty());
    assert_eq!(trial.stats.detected_consecutive_gateway_failure.get(), 1);
}

#[test]
fn a_check_that_passes_brings_an_endpoint_back() {
    for (check_brings_back, back) in [(true, true), (false, false)] {
        let mut trial = Trial::new(
            2,
            OutlierSpec {
                check_brings_back,
                ..all_may_go()
            },
        );
        trial.fail(0);
        let endpoint = Arc::clone(&trial.endpoints[0]);
        let events = trial.act(|detector, around| {
            detector
                .check_passed(&endpoint, around)
                .into_iter()
                .collect()
        });
        assert_eq!(events.len(), usize::from(back));
        assert_eq!(trial.ejected().is_empty(), back);
    }
}

#[test]
fn a_rate_far_below_the_others_ejects() {
    let mut trial = Trial::new(5, all_may_go());
    for index in 0..5 {
        // 100 requests each; the last one fails every second.
        for n in 0..100 {
            let status = if index == 4 && n % 2 == 0 { 500 } else { 200 };
            trial.put(index, Report::Status(status), 1);
        }
    }
    let events = trial.interval(10);
    assert_eq!(trial.ejected(), [4]);
    let What::Eject {
        reason: Reason::SuccessRate,
        enforced: true,
        details:
            Details::Rate {
                rate,
                average,
                threshold,
            },
    } = events[0].what
    else {
        panic!("{events:?}")
    };
    // As in Envoy's own example: 90 less 1.9 times 20.
    assert_eq!((rate, average, threshold), (50.0, 90.0, 52.0));
    assert_eq!(trial.averages.external.get(), (90.0, 52.0));
    let shown = trial.endpoints[4].outlier.as_ref().unwrap().external.rate();
    assert!((shown - 50.0).abs() < 1e-9);
    // Nothing happened since.
    trial.interval(10);
    let shown = trial.endpoints[0].outlier.as_ref().unwrap().external.rate();
    assert!((shown + 1.0).abs() < 1e-9);
}

#[test]
fn rates_need_enough_endpoints_and_requests() {
    for (hosts, requests, ejects) in [(5, 100, true), (4, 100, false), (5, 99, false)] {
        let mut trial = Trial::new(hosts, all_may_go());
        for index in 0..usize::from(hosts) {
            let status = if index == 0 { 400 } else { 200 };
            trial.put(index, Report::Status(status), requests / 2);
            let status = if index == 0 { 500 } else { 200 };
            for _ in 0..requests - requests / 2 {
                trial.put(index, Report::Status(status), 1);
                trial.endpoints[index]
                    .outlier
                    .as_ref()
                    .unwrap()
                    .forgive(None);
            }
        }
        trial.interval(10);
        assert_eq!(trial.stats.detected_success_rate.get() == 1, ejects);
    }
}

#[test]
fn too_many_failures_eject_where_that_is_enforced() {
    let spec = OutlierSpec {
        consecutive_5xx: 1000,
        success_rate: RateSpec {
            minimum_hosts: 100,
            request_volume: 1,
        },
        failure_percentage: RateSpec {
            minimum_hosts: 3,
            request_volume: 20,
        },
        enforcing: Enforcing {
            failure_percentage: 100,
            ..Enforcing::default()
        },
        ..all_may_go()
    };
    let mut trial = Trial::new(3, spec);
    for (index, failures) in [(0, 17), (1, 16), (2, 0)] {
        trial.put(index, Report::Status(500), failures);
        trial.put(index, Report::Status(200), 20 - failures);
    }
    let events = trial.interval(10);
    assert_eq!(trial.ejected(), [0], "85 % and not 80 %");
    assert!(matches!(
        events[0].what,
        What::Eject {
            reason: Reason::FailurePercentage,
            ..
        }
    ));
}

#[test]
fn endpoints_that_leave_are_forgotten() {
    let mut trial = Trial::new(3, all_may_go());
    trial.fail(0);
    trial.fail(1);
    let left = vec![
        Arc::clone(&trial.endpoints[1]),
        Arc::clone(&trial.endpoints[2]),
    ];
    trial.detector.follow(&left, &trial.stats);
    assert_eq!(trial.stats.ejections_active.get(), 1);
    assert_eq!(trial.interval(30).len(), 1);
}

#[test]
fn lines_are_envoys() {
    let mut trial = Trial::new(2, all_may_go());
    trial.put(0, Report::Status(500), 5);
    let event = trial.consecutive().remove(0);
    assert_eq!(
        event.line("c", "2026-01-02T03:04:05.678Z"),
        r#"{"type":"CONSECUTIVE_5XX","timestamp":"2026-01-02T03:04:05.678Z","cluster_name":"c","upstream_url":"10.0.0.1:1000","action":"EJECT","num_ejections":1,"enforced":true,"eject_consecutive_event":{}}"#
    );
    let event = trial.interval(30).remove(0);
    assert_eq!(
        event.line("c", "t"),
        r#"{"type":"CONSECUTIVE_5XX","timestamp":"t","secs_since_last_action":"30","cluster_name":"c","upstream_url":"10.0.0.1:1000","action":"UNEJECT","num_ejections":1,"enforced":false}"#
    );
}

proptest! {
    #[test]
    fn somebody_is_always_left_and_the_books_are_right(
        hosts in 1_u16..15,
        steps in prop::collection::vec((0_usize..15, 0_u8..6), 1..150),
    ) {
        let mut trial = Trial::new(hosts, OutlierSpec::default());
        for (index, step) in steps {
            let index = index % usize::from(hosts);
            match step {
                0 => { trial.put(index, Report::Status(200), 3); }
                1 | 2 => { trial.put(index, Report::Status(500), 3); }
                3 => { trial.put(index, Report::Failed, 5); }
                4 => { trial.interval(7); }
                _ => { trial.consecutive(); }
            }
            let ejected = trial.ejected().len();
            prop_assert!(ejected < usize::from(hosts));
            prop_assert!(ejected <= 1 || ejected * 100 <= 10 * usize::from(hosts));
            prop_assert_eq!(trial.stats.ejections_active.get(), ejected as i64);
        }
    }
}
