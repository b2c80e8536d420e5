//! Active health checks.
//!
//! Owns the loop that checks one endpoint again and again, and what its results do to the
//! endpoint's flags and the statistics. `control` runs one for each endpoint. The rules are a state
//! machine of their own (`state`); what is asked is in `http`, `grpc` and `tcp`.

mod grpc;
mod http;
pub mod state;
mod tcp;

use std::sync::Arc;
use std::time::Duration;

use self::grpc::GrpcProber;
use self::http::HttpProber;
use self::state::{Failure, Health as State, Transition, Verdict, wait};
use self::tcp::TcpProber;
use super::balance::Random;
use super::cluster::Cluster;
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

/// Checks `endpoint` until it is dropped, and tells what that leads to.
pub async fn watch(
    cluster: Arc<Cluster>,
    check: Arc<HealthCheck>,
    endpoint: Arc<Endpoint>,
    mut random: Random,
    told: impl Fn(Told),
) {
    tokio::time::sleep(up_to(check.intervals.initial_jitter, &mut random)).await;
    let mut state = State::unknown();
    let mut prober = Prober::new(&check, endpoint.health_check_address());
    loop {
        cluster.control_stats().health_check_attempt.inc();
        let verdict = match tokio::time::timeout(check.timeout, prober.probe()).await {
            Ok(verdict) => verdict,
            Err(_) => {
                prober.disconnect();
                Verdict::Failed(Failure::Timeout)
            }
        };
        let was_first = state.is_unknown();
        let transition = state.apply(&check, verdict);
        count(&cluster, verdict);
        let mut is_changed = mark(&endpoint, &state, verdict);
        is_changed |= transition == Transition::Changed;
        if transition == Transition::Changed && state.is_healthy() {
            endpoint.became_healthy(clock::now());
        }
        tell(&cluster, &check, &endpoint, was_first, transition, verdict);
        if is_changed {
            told(Told::Changed);
        }
        if verdict.is_pass() {
            told(Told::Passed);
        }
        let had_traffic = cluster.had_traffic();
        let wait = wait(
            &check.intervals,
            verdict,
            transition,
            had_traffic,
            &mut random,
        );
        tokio::time::sleep(wait.max(SHORTEST_WAIT)).await;
    }
}

/// Asks one endpoint how it is.
enum Prober {
    Http(HttpProber),
    Tcp(TcpProber),
    Grpc(GrpcProber),
}

impl Prober {
    /// Will do `check` at `address`.
    fn new(check: &HealthCheck, address: impl Into<Address>) -> Self {
        let address = address.into();
        let reuse = check.reuse_connection;
        match &check.probe {
            Probe::Http(probe) => Self::Http(HttpProber::new(probe.clone(), reuse, address)),
            Probe::Tcp(probe) => Self::Tcp(TcpProber::new(probe.clone(), reuse, address)),
            Probe::Grpc(probe) => Self::Grpc(GrpcProber::new(probe.clone(), reuse, address)),
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

fn count(cluster: &Cluster, verdict: Verdict) {
    let stats = cluster.control_stats();
    match verdict {
        Verdict::Passed | Verdict::Degraded => stats.health_check_success.inc(),
        Verdict::Failed(failure) => {
            stats.health_check_failure.inc();
            if matches!(failure, Failure::Network | Failure::Timeout) {
                stats.health_check_network_failure.inc();
            }
        }
    }
}

/// Sets the endpoint's flags; whether it has become degraded or ceased to be.
fn mark(endpoint: &Endpoint, state: &State, verdict: Verdict) -> bool {
    let flags = endpoint.health();
    if state.is_healthy() {
        flags.clear(Health::FAILED_ACTIVE_HC | Health::ACTIVE_HC_TIMEOUT);
    } else {
        flags.set(Health::FAILED_ACTIVE_HC);
        if verdict == Verdict::Failed(Failure::Timeout) {
            flags.set(Health::ACTIVE_HC_TIMEOUT);
        } else {
            flags.clear(Health::ACTIVE_HC_TIMEOUT);
        }
    }
    flags.clear(Health::PENDING_ACTIVE_HC);
    match verdict {
        Verdict::Degraded => flags.set(Health::DEGRADED_ACTIVE_HC),
        Verdict::Passed => flags.clear(Health::DEGRADED_ACTIVE_HC),
        Verdict::Failed(_) => false,
    }
}

fn tell(
    cluster: &Cluster,
    check: &HealthCheck,
    endpoint: &Endpoint,
    was_first: bool,
    transition: Transition,
    verdict: Verdict,
) {
    let (cluster, address) = (&*cluster.name, &endpoint.address);
    match (transition, verdict) {
        (Transition::Changed, Verdict::Passed | Verdict::Degraded) => {
            tracing::info!(target: "hc", cluster, endpoint = %address, "endpoint is healthy");
        }
        (Transition::Changed, Verdict::Failed(failure)) => {
            let first = if was_first {
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

#[cfg(test)]
mod tests;
