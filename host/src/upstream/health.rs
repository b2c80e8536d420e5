//! Active health checks.
//!
//! Owns the loop that checks one endpoint again and again, and what its results do to the
//! endpoint's flags and the statistics. `control` runs one for each endpoint. The rules are a state
//! machine of their own (`state`), the HTTP request is `http`.

pub mod http;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use self::http::Prober;
use self::state::{Failure, Health as State, Transition, Verdict, wait};
use super::balance::Random;
use super::cluster::{Cluster, Endpoint, Health};
use super::discovery::up_to;
use super::spec::HealthCheck;

/// Checks `endpoint` until it is dropped. `changed` is called after each result that changes what
/// is to be published.
pub async fn watch(
    cluster: Arc<Cluster>,
    check: Arc<HealthCheck>,
    endpoint: Arc<Endpoint>,
    mut random: Random,
    changed: impl Fn(),
) {
    tokio::time::sleep(up_to(check.intervals.initial_jitter, &mut random)).await;
    let mut state = State::unknown();
    let mut prober = Prober::new(Arc::clone(&check), endpoint.health_check_address());
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
        mark(&endpoint, &state, verdict);
        tell(&cluster, &check, &endpoint, was_first, transition, verdict);
        if transition == Transition::Changed {
            changed();
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

/// Even a check every 0 s lets others have the thread.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

fn count(cluster: &Cluster, verdict: Verdict) {
    let stats = cluster.control_stats();
    match verdict {
        Verdict::Passed => stats.health_check_success.inc(),
        Verdict::Failed(failure) => {
            stats.health_check_failure.inc();
            if matches!(failure, Failure::Network | Failure::Timeout) {
                stats.health_check_network_failure.inc();
            }
        }
    }
}

fn mark(endpoint: &Endpoint, state: &State, verdict: Verdict) {
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
}

fn tell(
    cluster: &Cluster,
    check: &HealthCheck,
    endpoint: &Endpoint,
    was_first: bool,
    transition: Transition,
    verdict: Verdict,
) {
    let (cluster, address) = (&*cluster.name, endpoint.address);
    match (transition, verdict) {
        (Transition::Changed, Verdict::Passed) => {
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
        (_, Verdict::Passed) => {}
    }
}

#[cfg(test)]
mod tests;
