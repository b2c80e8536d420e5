//! The control thread's part of a cluster: finding its endpoints and checking them.
//!
//! Owns the tasks that resolve names and check endpoints, for as long as the [`Handle`] lives, and
//! is the only one that publishes a cluster's endpoints after its start. Called by `server` for
//! each cluster of a snapshot.
//!
//! Does not own: the rules (`discovery`, `health::state`) or the means (`dns`, `health::http`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use super::balance::Random;
use super::cluster::{Cluster, Endpoint, Health};
use super::discovery::{Change, Membership, Schedule};
use super::dns::{self, DnsError, Resolve};
use super::health;
use super::spec::{Discovery, DnsSpec, DnsTarget, HealthCheck};

/// What a cluster's tasks are given.
pub struct Settings {
    /// Resolves names.
    pub resolver: Rc<dyn Resolve>,
    /// All jitter follows from it.
    pub seed: u64,
}

/// The system's resolver.
#[must_use]
pub fn system_resolver() -> Rc<dyn Resolve> {
    Rc::new(dns::System)
}

/// Keeps a cluster's tasks running. Dropping it stops them, and tells the workers to let go of the
/// cluster's connections.
#[must_use = "dropping it stops the cluster"]
pub struct Handle {
    controller: Rc<Controller>,
    _resolving: JoinSet<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.controller.stop();
    }
}

/// Starts to find and check the endpoints of `cluster`.
///
/// # Panics
///
/// Outside of a `LocalSet`.
pub fn spawn(cluster: &Arc<Cluster>, settings: Settings) -> Handle {
    let spec = cluster.spec();
    let mut resolving = JoinSet::new();
    let (membership, names) = match &spec.discovery {
        Discovery::Static(_) => (Membership::fixed(cluster.endpoints().endpoints.clone()), 0),
        Discovery::StrictDns { targets, .. } => {
            let is_checked = spec.health_check.is_some();
            let keeps_healthy = !spec.ignore_health_on_host_removal;
            (
                Membership::resolved(targets.len(), is_checked, keeps_healthy),
                targets.len(),
            )
        }
    };
    let controller = Rc::new(Controller {
        cluster: Arc::clone(cluster),
        check: spec.health_check.clone().map(Arc::new),
        membership: RefCell::new(membership),
        checks: RefCell::default(),
        unanswered: Cell::new(names),
        random: RefCell::new(Random::new(settings.seed)),
    });
    if let Discovery::StrictDns { targets, dns } = &spec.discovery {
        for index in 0..targets.len() {
            let (controller, resolver) = (Rc::clone(&controller), Rc::clone(&settings.resolver));
            resolving.spawn_local(keep_resolving(controller, resolver, *dns, index));
        }
    }
    controller.follow_checks();
    controller.warm_if_known();
    Handle {
        controller,
        _resolving: resolving,
    }
}

struct Controller {
    cluster: Arc<Cluster>,
    check: Option<Arc<HealthCheck>>,
    membership: RefCell<Membership>,
    /// The tasks that check endpoints, by the endpoints' identities.
    checks: RefCell<HashMap<u64, AbortHandle>>,
    /// Names about which nothing is known yet.
    unanswered: Cell<usize>,
    random: RefCell<Random>,
}

impl Controller {
    fn targets(&self) -> &[DnsTarget] {
        match &self.cluster.spec().discovery {
            Discovery::Static(_) => &[],
            Discovery::StrictDns { targets, .. } => targets,
        }
    }

    /// Publishes what `change` changed.
    fn publish(self: &Rc<Self>, change: Change) {
        if change.is_any() {
            let endpoints = self.membership.borrow().endpoints().clone();
            if change.added > 0 || change.removed > 0 {
                tracing::info!(
                    target: "upstream",
                    cluster = &*self.cluster.name,
                    added = change.added,
                    removed = change.removed,
                    total = endpoints.len(),
                    "endpoints changed",
                );
            }
            self.cluster.publish(endpoints);
            self.follow_checks();
        }
        self.warm_if_known();
    }

    /// Checks all endpoints that there are, and no others.
    fn follow_checks(self: &Rc<Self>) {
        let Some(check) = &self.check else { return };
        let endpoints = self.membership.borrow().endpoints().clone();
        let mut checks = self.checks.borrow_mut();
        checks.retain(|id, task| {
            let stays = endpoints.iter().any(|endpoint| endpoint.id == *id);
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in endpoints {
            checks
                .entry(endpoint.id)
                .or_insert_with(|| self.start_check(check, &endpoint));
        }
    }

    fn start_check(
        self: &Rc<Self>,
        check: &Arc<HealthCheck>,
        endpoint: &Arc<Endpoint>,
    ) -> AbortHandle {
        let random = Random::new(self.random.borrow_mut().next_u64());
        let controller = Rc::downgrade(self);
        let changed = move || {
            if let Some(controller) = controller.upgrade() {
                controller.health_changed();
            }
        };
        let (cluster, check) = (Arc::clone(&self.cluster), Arc::clone(check));
        let task = health::watch(cluster, check, Arc::clone(endpoint), random, changed);
        tokio::task::spawn_local(task).abort_handle()
    }

    fn health_changed(self: &Rc<Self>) {
        let change = self.membership.borrow_mut().drop_failed();
        self.publish(Change {
            altered: true,
            ..change
        });
    }

    /// The first answer about every name has come, if only that there is none, and every endpoint
    /// was checked once.
    fn warm_if_known(&self) {
        let membership = self.membership.borrow();
        let is_waiting =
            |endpoint: &Arc<Endpoint>| endpoint.health().has(Health::PENDING_ACTIVE_HC);
        if self.unanswered.get() == 0 && !membership.endpoints().iter().any(is_waiting) {
            self.cluster.set_warm();
        }
    }

    fn stop(&self) {
        for (_, task) in self.checks.borrow_mut().drain() {
            task.abort();
        }
        self.cluster.retire();
    }
}

/// Asks about the name at `index` again and again.
async fn keep_resolving(
    controller: Rc<Controller>,
    resolver: Rc<dyn Resolve>,
    spec: DnsSpec,
    index: usize,
) {
    let Some(target) = controller.targets().get(index) else {
        return;
    };
    let mut schedule = Schedule::new(spec);
    let mut is_first = true;
    loop {
        let stats = controller.cluster.control_stats();
        stats.update_attempt.inc();
        let answer = resolver.resolve(&target.host).await;
        if std::mem::take(&mut is_first) {
            controller.unanswered.set(controller.unanswered.get() - 1);
        }
        let was_failing = schedule.is_failing();
        let wait = {
            let mut random = controller.random.borrow_mut();
            match &answer {
                Ok(_) => schedule.answered(&mut random),
                Err(_) => schedule.failed(&mut random),
            }
        };
        match answer {
            Ok(addresses) => {
                stats.update_success.inc();
                if was_failing {
                    recovered(&controller, target);
                }
                let addresses = dns::select(&addresses, spec.family);
                let change = controller.membership.borrow_mut().answer(
                    controller.targets(),
                    index,
                    addresses,
                );
                if !change.is_any() {
                    stats.update_no_rebuild.inc();
                }
                controller.publish(change);
            }
            Err(error) => {
                stats.update_failure.inc();
                if !was_failing {
                    failing(&controller, &error);
                }
                controller.publish(Change::default());
            }
        }
        tokio::time::sleep(wait).await;
    }
}

fn failing(controller: &Controller, error: &DnsError) {
    controller.cluster.control_stats().dns_stale.inc();
    tracing::warn!(
        target: "dns",
        cluster = &*controller.cluster.name,
        error = error as &dyn std::error::Error,
        endpoints = controller.membership.borrow().endpoints().len(),
        "cannot resolve \"{}\": the last answer stays in use",
        error.host,
    );
}

fn recovered(controller: &Controller, target: &DnsTarget) {
    controller.cluster.control_stats().dns_stale.dec();
    tracing::info!(
        target: "dns",
        cluster = &*controller.cluster.name,
        "\"{}\" resolves again",
        target.host,
    );
}

#[cfg(test)]
mod tests;
