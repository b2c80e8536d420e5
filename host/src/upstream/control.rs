//! The control thread's part of a cluster: finding its endpoints and checking them.
//!
//! Owns the tasks that resolve names and check endpoints, for as long as the [`Handle`] lives, and
//! is the only one that publishes a cluster's endpoints after its start. Called by `server` for
//! each cluster of a snapshot.
//!
//! Does not own: the rules (`discovery`, `health::state`) or the means (`dns`, `health::http`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::balance::Random;
use super::cluster::Cluster;
use super::discovery::{Change, Membership, Schedule};
use super::dns::{self, DnsError, Resolve};
use super::endpoint::{Checks, Endpoint, Health};
use super::health::{self, Told};
use super::outlier::event::{Event, What};
use super::outlier::{Around, Detector};
use super::spec::{Discovery, DnsSpec, DnsTarget, HealthCheck};
use crate::clock;

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
    _tasks: JoinSet<()>,
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
    let mut tasks = JoinSet::new();
    let (membership, names) = match &spec.discovery {
        Discovery::Static(_) => (Membership::fixed(cluster.endpoints().endpoints.clone()), 0),
        Discovery::StrictDns { targets, .. } => {
            let keeps_healthy = !spec.ignore_health_on_host_removal;
            (
                Membership::resolved(targets.len(), Checks::of(spec), keeps_healthy),
                targets.len(),
            )
        }
    };
    let controller = Rc::new(Controller {
        cluster: Arc::clone(cluster),
        check: spec.health_check.clone().map(Arc::new),
        outliers: spec
            .outlier_detection
            .clone()
            .map(|spec| RefCell::new(Detector::new(spec))),
        membership: RefCell::new(membership),
        checks: RefCell::default(),
        unanswered: Cell::new(names),
        random: RefCell::new(Random::new(settings.seed)),
    });
    if let Discovery::StrictDns { targets, dns } = &spec.discovery {
        for index in 0..targets.len() {
            let (controller, resolver) = (Rc::clone(&controller), Rc::clone(&settings.resolver));
            tasks.spawn_local(keep_resolving(controller, resolver, *dns, index));
        }
    }
    if let Some(detector) = &controller.outliers {
        let period = detector.borrow().period();
        tasks.spawn_local(watch_outliers(Rc::clone(&controller), period));
        controller.follow_outliers();
    }
    controller.follow_checks();
    controller.warm_if_known();
    Handle {
        controller,
        _tasks: tasks,
    }
}

struct Controller {
    cluster: Arc<Cluster>,
    check: Option<Arc<HealthCheck>>,
    outliers: Option<RefCell<Detector>>,
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
            // Another state of health changes nothing about who is there.
            if change.added > 0 || change.removed > 0 {
                self.follow_checks();
                self.follow_outliers();
            }
        }
        self.warm_if_known();
    }

    /// Checks all endpoints that there are, and no others.
    fn follow_checks(self: &Rc<Self>) {
        let Some(check) = &self.check else { return };
        let endpoints = self.membership.borrow().endpoints().clone();
        let mut checks = self.checks.borrow_mut();
        let ids: HashSet<_> = endpoints.iter().map(|endpoint| endpoint.id).collect();
        checks.retain(|id, task| {
            let stays = ids.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        let checked = |endpoint: &Arc<Endpoint>| !endpoint.traits().health_check.is_disabled;
        for endpoint in endpoints.into_iter().filter(checked) {
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
        let checked = Arc::clone(endpoint);
        let told = move |told: Told| {
            let Some(controller) = controller.upgrade() else {
                return;
            };
            match told {
                Told::Changed => controller.health_changed(),
                Told::Passed => controller.check_passed(&checked),
            }
        };
        let cluster = Arc::clone(&self.cluster);
        let check = match &endpoint.traits().health_check.hostname {
            Some(host) => Arc::new(check.at_host(host)),
            None => Arc::clone(check),
        };
        let task = health::watch(cluster, check, Arc::clone(endpoint), random, told);
        tokio::task::spawn_local(task).abort_handle()
    }

    fn health_changed(self: &Rc<Self>) {
        let change = self.membership.borrow_mut().drop_failed();
        self.publish(Change {
            altered: true,
            ..change
        });
    }

    fn follow_outliers(&self) {
        if let (Some(detector), Some(stats)) = (&self.outliers, self.cluster.outlier_stats()) {
            let endpoints = self.membership.borrow().endpoints().clone();
            detector.borrow_mut().follow(&endpoints, stats);
        }
    }

    /// Lets outlier detection do something, and publishes what it changed.
    fn look_at_outliers(
        self: &Rc<Self>,
        act: impl FnOnce(&mut Detector, &mut Around<'_>) -> Vec<Event>,
    ) {
        let (Some(detector), Some(stats), Some(averages)) = (
            &self.outliers,
            self.cluster.outlier_stats(),
            self.cluster.outlier_averages(),
        ) else {
            return;
        };
        let events = {
            let mut random = self.random.borrow_mut();
            let mut around = Around {
                now: clock::now(),
                random: &mut random,
                stats,
                averages,
            };
            act(&mut detector.borrow_mut(), &mut around)
        };
        let mut altered = false;
        for event in events {
            self.cluster.log_outlier(&event);
            tell_outlier(&self.cluster, &event);
            altered |= !matches!(
                event.what,
                What::Eject {
                    enforced: false,
                    ..
                }
            );
        }
        self.publish(Change {
            altered,
            ..Change::default()
        });
    }

    fn check_passed(self: &Rc<Self>, endpoint: &Arc<Endpoint>) {
        if endpoint.health().has(Health::FAILED_OUTLIER_CHECK) {
            self.look_at_outliers(|detector, around| {
                detector
                    .check_passed(endpoint, around)
                    .into_iter()
                    .collect()
            });
        }
    }

    /// The first answer about every name has come, if only that there is none, and every endpoint
    /// was checked once.
    fn warm_if_known(&self) {
        let membership = self.membership.borrow();
        let is_waiting = membership.endpoints().iter().any(|e| e.is_awaiting_check());
        if self.unanswered.get() == 0 && !is_waiting {
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

/// Looks at outliers when something tripped, and once in each interval.
async fn watch_outliers(controller: Rc<Controller>, period: Duration) {
    let mut next = tokio::time::Instant::now() + period;
    loop {
        tokio::select! {
            () = controller.cluster.outlier_tripped() => {
                controller.look_at_outliers(Detector::consecutive);
            }
            () = tokio::time::sleep_until(next) => {
                controller.look_at_outliers(Detector::interval);
                next = tokio::time::Instant::now() + period;
            }
        }
    }
}

fn tell_outlier(cluster: &Cluster, event: &Event) {
    let (cluster, address) = (&*cluster.name, &event.endpoint.address);
    match event.what {
        What::Eject {
            reason, enforced, ..
        } => tracing::warn!(
            target: "upstream", cluster, endpoint = %address, reason = reason.as_str(), enforced,
            "endpoint is an outlier",
        ),
        What::Uneject => tracing::info!(
            target: "upstream", cluster, endpoint = %address, "endpoint is used again",
        ),
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
