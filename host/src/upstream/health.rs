//! Active health checks.
//!
//! Owns the checks of one endpoint, again and again, and what their results do to its flags, the
//! statistics and the event log. `control` runs them for each endpoint. The rules are a state machine
//! of their own (`state`); what is asked is in `http`, `grpc` and `tcp`.

mod event;
mod grpc;
mod http;
pub mod state;
mod tcp;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use self::event::Event;
use self::grpc::GrpcProber;
use self::http::HttpProber;
use self::state::{Failure, Health as State, Transition, Verdict, on_beat, wait};
use self::tcp::TcpProber;
use super::balance::Random;
use super::cluster::Cluster;
use super::connect::Target;
use super::discovery::up_to;
use super::endpoint::{Endpoint, Health};
use super::spec::{HealthCheck, Probe};
use crate::address::Address;
use crate::clock;

/// What a check has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// There is something to publish.
    Changed,
    /// The check passed.
    Passed,
}

/// An endpoint that is checked. It is healthy while it passes all checks.
pub struct Patient {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    checks: Vec<HealthCheck>,
    found: RefCell<Vec<Found>>,
    told: Box<dyn Fn(Told)>,
}

/// What one of the checks has found so far.
#[derive(Clone, Copy)]
struct Found {
    state: State,
    is_degraded: bool,
    timed_out: bool,
}

/// What a verdict was and led to.
struct Outcome {
    verdict: Verdict,
    was_first: bool,
    transition: Transition,
    was_degraded: bool,
}

impl Patient {
    /// Where a check goes.
    fn target(&self, address: &Address, check: &HealthCheck) -> Target {
        Target::of(&self.cluster, &self.endpoint, address, check)
    }

    /// For the checks that `cluster` has; `told` is called with what they lead to.
    pub fn new(
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        told: impl Fn(Told) + 'static,
    ) -> Rc<Self> {
        let checks = cluster.spec().health_checks.iter();
        let hostname = endpoint.traits().health_check.hostname.as_ref();
        let checks: Vec<HealthCheck> = checks
            .map(|check| hostname.map_or_else(|| check.clone(), |host| check.at_host(host)))
            .collect();
        let unknown = Found {
            state: State::unknown(),
            is_degraded: false,
            timed_out: false,
        };
        Rc::new(Self {
            cluster: Arc::clone(cluster),
            endpoint: Arc::clone(endpoint),
            found: RefCell::new(vec![unknown; checks.len()]),
            checks,
            told: Box::new(told),
        })
    }

    /// How many checks there are.
    pub fn checks(&self) -> usize {
        self.checks.len()
    }

    /// Does the check at `index` until the future is dropped. `beats` is since when the cluster's clock
    /// beats.
    pub async fn watch(
        self: Rc<Self>,
        index: usize,
        beats: tokio::time::Instant,
        mut random: Random,
    ) {
        let Some(check) = self.checks.get(index) else {
            return;
        };
        tokio::time::sleep(up_to(check.intervals.initial_jitter, &mut random)).await;
        let mut address = self.endpoint.health_check_address(check.port);
        let mut prober = Prober::new(check, self.target(&address, check));
        loop {
            let now = self.endpoint.health_check_address(check.port);
            if address != now {
                address = now;
                prober = Prober::new(check, self.target(&address, check));
            }
            self.cluster.control_stats().health_check_attempt.inc();
            let verdict = match tokio::time::timeout(check.timeout, prober.probe()).await {
                Ok(verdict) => verdict,
                Err(_) => {
                    prober.disconnect();
                    Verdict::Failed(Failure::Timeout)
                }
            };
            let transition = self.take(index, verdict);
            let had_traffic = self.cluster.had_traffic();
            let (intervals, random) = (&check.intervals, &mut random);
            let wait = wait(intervals, verdict, transition, had_traffic, random);
            let wait = on_beat(beats.elapsed(), wait.max(SHORTEST_WAIT));
            tokio::time::sleep(wait).await;
        }
    }

    /// The endpoint asked in an answer to a request to be left out.
    pub fn ask_out(&self) {
        self.endpoint
            .health()
            .set(Health::EXCLUDED_VIA_IMMEDIATE_HC_FAIL);
        self.take(0, Verdict::Failed(Failure::AskedOut));
    }

    /// Takes the verdict of the check at `index`.
    pub(super) fn take(&self, index: usize, verdict: Verdict) -> Transition {
        let mut found = self.found.borrow_mut();
        let (Some(check), Some(one)) = (self.checks.get(index), found.get_mut(index)) else {
            return Transition::Unchanged;
        };
        let (was_first, was_degraded) = (one.state.is_unknown(), one.is_degraded);
        let transition = one.state.apply(check, verdict);
        match verdict {
            Verdict::Passed => one.is_degraded = false,
            Verdict::Degraded => one.is_degraded = true,
            // As in Envoy it stays said that it was late until it is healthy, or fails otherwise.
            Verdict::Failed(failure) => one.timed_out = failure == Failure::Timeout,
        }
        let outcome = Outcome {
            verdict,
            was_first,
            transition,
            was_degraded,
        };
        count(&self.cluster, check, verdict);
        let was_usable = self.endpoint.passes_checks();
        let is_changed = mark(&self.endpoint, &found, verdict.is_pass());
        drop(found);
        if !was_usable && self.endpoint.passes_checks() {
            self.endpoint.became_healthy(clock::now());
        }
        self.tell(check, &outcome);
        self.note(index, check, &outcome);
        if is_changed || transition == Transition::Changed {
            (self.told)(Told::Changed);
        }
        if verdict.is_pass() {
            (self.told)(Told::Passed);
        }
        transition
    }

    /// Says what is worth saying.
    fn tell(&self, check: &HealthCheck, outcome: &Outcome) {
        let (cluster, address) = (&*self.cluster.name, self.endpoint.now_at());
        match (outcome.transition, outcome.verdict) {
            (Transition::Changed, Verdict::Passed | Verdict::Degraded) => {
                tracing::info!(target: "hc", cluster, endpoint = %address, "endpoint is healthy");
            }
            (Transition::Changed, Verdict::Failed(failure)) => {
                let first = if outcome.was_first {
                    " from its first check on"
                } else {
                    ""
                };
                tracing::warn!(
                    target: "hc", cluster, endpoint = %address, %failure,
                    "endpoint is unhealthy{first}",
                );
            }
            (_, Verdict::Failed(failure)) if check.always_log_failures => {
                tracing::warn!(target: "hc", cluster, endpoint = %address, %failure, "check failed");
            }
            (_, Verdict::Failed(failure)) => {
                tracing::debug!(target: "hc", cluster, endpoint = %address, %failure, "check failed");
            }
            (_, Verdict::Passed | Verdict::Degraded) => {}
        }
    }

    /// Writes the event log, as Envoy does.
    fn note(&self, index: usize, check: &HealthCheck, outcome: &Outcome) {
        let sinks = self.cluster.check_logs(index);
        if sinks.is_empty() {
            return;
        }
        let is_changed = outcome.transition == Transition::Changed;
        let events = match outcome.verdict {
            Verdict::Passed | Verdict::Degraded => {
                let is_degraded = outcome.verdict == Verdict::Degraded;
                let became = match (outcome.was_degraded, is_degraded) {
                    (false, true) => Some(Event::Degraded),
                    (true, false) => Some(Event::NoLongerDegraded),
                    _ => None,
                };
                let passed = if is_changed {
                    Some(Event::Added(outcome.was_first))
                } else {
                    check.always_log_successes.then_some(Event::Passed)
                };
                [passed, became]
            }
            Verdict::Failed(failure) => {
                let is_news = is_changed && !outcome.was_first;
                let always = outcome.was_first || check.always_log_failures;
                [
                    is_news.then_some(Event::Ejected(failure)),
                    always.then_some(Event::Failed(failure, outcome.was_first)),
                ]
            }
        };
        let Ok(now) = jiff::Timestamp::try_from(clock::wall()) else {
            return;
        };
        let (cluster, timestamp) = (&*self.cluster.name, format!("{now:.3}"));
        for event in events.into_iter().flatten() {
            let line = event.line(cluster, &self.endpoint, &check.probe, &timestamp);
            for sink in sinks {
                sink.write(line.as_bytes());
            }
        }
    }
}

/// Asks one endpoint how it is.
enum Prober {
    Http(Box<HttpProber>),
    Tcp(TcpProber),
    Grpc(GrpcProber),
}

impl Prober {
    /// Will do `check` at `address`.
    fn new(check: &HealthCheck, target: impl Into<Target>) -> Self {
        let target = target.into();
        let reuse = check.reuse_connection;
        match &check.probe {
            Probe::Http(probe) => {
                Self::Http(Box::new(HttpProber::new(*probe.clone(), reuse, target)))
            }
            Probe::Tcp(probe) => Self::Tcp(TcpProber::new(probe.clone(), reuse, target)),
            Probe::Grpc(probe) => Self::Grpc(GrpcProber::new(probe.clone(), reuse, target)),
        }
    }

    /// Asks once. Must run inside a `LocalSet`.
    async fn probe(&mut self) -> Verdict {
        match self {
            Self::Http(prober) => prober.probe().await,
            Self::Tcp(prober) => prober.probe().await,
            Self::Grpc(prober) => prober.probe().await,
        }
    }

    /// Closes the connection.
    fn disconnect(&mut self) {
        match self {
            Self::Http(prober) => prober.disconnect(),
            Self::Tcp(prober) => prober.disconnect(),
            Self::Grpc(prober) => prober.disconnect(),
        }
    }
}

/// Even a check every 0 s lets others have the thread.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

fn count(cluster: &Cluster, check: &HealthCheck, verdict: Verdict) {
    let stats = cluster.control_stats();
    let is_answer =
        verdict.is_pass() || matches!(verdict, Verdict::Failed(Failure::WrongAnswer(_)));
    if is_answer && matches!(&check.probe, Probe::Http(probe) if probe.service.is_some()) {
        stats.health_check_verify_cluster.inc();
    }
    match verdict {
        Verdict::Passed | Verdict::Degraded => stats.health_check_success.inc(),
        Verdict::Failed(failure) => {
            stats.health_check_failure.inc();
            match failure {
                Failure::Network | Failure::Timeout => stats.health_check_network_failure.inc(),
                Failure::AskedOut => stats.health_check_passive_failure.inc(),
                Failure::Status(_)
                | Failure::RetriableStatus(_)
                | Failure::Mismatch
                | Failure::WrongAnswer(_)
                | Failure::NotServing => {}
            }
        }
    }
}

/// Sets the endpoint's flags; whether it has become degraded or ceased to be.
fn mark(endpoint: &Endpoint, found: &[Found], has_passed: bool) -> bool {
    let put = |flag: u16, is_set: bool| {
        if is_set {
            endpoint.health().set(flag)
        } else {
            endpoint.health().clear(flag)
        }
    };
    let is_failing = |found: &Found| !found.state.is_unknown() && !found.state.is_healthy();
    let (mut failing, mut unknown) = (
        found.iter().filter(|one| is_failing(one)),
        found.iter().filter(|one| one.state.is_unknown()),
    );
    let timed_out = failing.clone().any(|one| one.timed_out);
    let (is_failed, is_waiting) = (failing.next().is_some(), unknown.next().is_some());
    put(Health::FAILED_ACTIVE_HC, is_failed || is_waiting);
    put(Health::PENDING_ACTIVE_HC, is_waiting && !is_failed);
    put(Health::ACTIVE_HC_TIMEOUT, timed_out);
    if has_passed && !is_failed {
        endpoint
            .health()
            .clear(Health::EXCLUDED_VIA_IMMEDIATE_HC_FAIL);
    }
    let is_degraded = found.iter().any(|one| one.is_degraded);
    put(Health::DEGRADED_ACTIVE_HC, is_degraded)
}

/// Whether all `parts` are in `text`, one behind the other.
fn has_all(parts: &[Vec<u8>], text: &[u8]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let found = memchr::memmem::find(rest, part);
        rest = found
            .and_then(|at| rest.get(at + part.len()..))
            .unwrap_or_default();
        found.is_some()
    })
}

#[cfg(test)]
mod tests;
