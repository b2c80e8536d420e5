//! The control thread's part of a cluster: finding its endpoints and checking them.
//!
//! Owns the tasks that resolve names and check endpoints, for as long as the [`Handle`] lives, and
//! is the only one that publishes a cluster's endpoints after its start. Called by `server` for
//! each cluster of a snapshot.
//!
//! Does not own: the rules (`discovery`, `health::state`) or the means (`dns`, `health::http1`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::balance::Random;
use super::cluster::Cluster;
use super::discovery::{Change, Membership, Schedule};
use super::dns::{DnsError, Question, Resolve};
use super::endpoint::{Checks, Endpoint, Health};
use super::health::{Patient, Told, Ward};
use super::outlier::event::{Event, What};
use super::outlier::{Around, Detector};
use super::spec::{Discovery, DnsSpec, DnsTarget, StaticEndpoint};
use crate::clock;
use crate::limits;

/// How often it is shown how old the answers about names are that do not resolve.
const AGING: Duration = Duration::from_secs(1);

/// What a cluster's tasks are given.
pub struct Settings {
    /// Resolves the cluster's names.
    pub resolver: Rc<dyn Resolve>,
    /// All jitter follows from it.
    pub seed: u64,
}

/// Keeps a cluster's tasks running. Dropping it stops them, and tells the workers to let go of the
/// cluster's connections.
#[must_use = "dropping it stops the cluster"]
pub struct Handle {
    controller: Rc<Controller>,
    _tasks: JoinSet<()>,
}

impl Handle {
    /// Takes a list of endpoints in place of those that the cluster has: those that are in both stay
    /// the same, with their health and their connections.
    pub fn assign(&self, endpoints: &[StaticEndpoint]) {
        let controller = &self.controller;
        let stats = controller.cluster.control_stats();
        stats.update_success.inc();
        if endpoints.is_empty() {
            stats.update_empty.inc();
        }
        let change = controller.membership.borrow_mut().assign(endpoints);
        if !change.is_any() {
            stats.update_no_rebuild.inc();
        }
        controller.publish(change);
    }
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
/// Outside of a `LocalSet` or a `LocalRuntime`.
pub fn spawn(cluster: &Arc<Cluster>, settings: Settings) -> Handle {
    let spec = cluster.spec();
    let mut tasks = JoinSet::new();
    let (checks, keeps_healthy) = (Checks::of(spec), !spec.ignore_health_on_host_removal);
    let membership = match &spec.discovery {
        Discovery::Static(_) | Discovery::OriginalDestination(_) => {
            let endpoints = cluster.endpoints().endpoints.clone();
            Membership::given(endpoints, checks, keeps_healthy)
        }
        Discovery::StrictDns { targets, .. } => {
            Membership::resolved(targets.len(), checks, keeps_healthy)
        }
        Discovery::LogicalDns { .. } => Membership::logical(checks),
    };
    let names = spec.discovery.names();
    let controller = Rc::new(Controller {
        cluster: Arc::clone(cluster),
        outliers: spec
            .outlier_detection
            .clone()
            .map(|spec| RefCell::new(Detector::new(spec))),
        membership: RefCell::new(membership),
        patients: RefCell::default(),
        ward: Ward::new(&spec.health_checks),
        published: Cell::new(None),
        waiting: RefCell::default(),
        unanswered: Cell::new(names.map_or(0, |(targets, _)| targets.len())),
        stale: RefCell::default(),
        random: RefCell::new(Random::new(settings.seed)),
    });
    if let Some((targets, dns)) = names {
        for index in 0..targets.len() {
            let (controller, resolver) = (Rc::clone(&controller), Rc::clone(&settings.resolver));
            tasks.spawn_local(keep_resolving(controller, resolver, dns.clone(), index));
        }
    }
    if let Discovery::OriginalDestination(destination) = &spec.discovery {
        let controller = Rc::clone(&controller);
        tasks.spawn_local(follow_destinations(controller, destination.cleanup));
    }
    controller.retune();
    if cluster.values().has_layers() {
        let changes = cluster.values().changes();
        tasks.spawn_local(follow_values(Rc::clone(&controller), changes));
    }
    if controller.outliers.is_some() {
        tasks.spawn_local(watch_outliers(Rc::clone(&controller)));
        controller.follow_outliers();
    }
    if !spec.health_checks.is_empty() {
        tasks.spawn_local(watch_for_ask_outs(Rc::clone(&controller)));
        tasks.spawn_local(Rc::clone(&controller.ward).keep_time());
    }
    if let Some(home) = cluster.home()
        && home.cluster != cluster.name
    {
        tasks.spawn_local(follow_home(Rc::clone(&controller), home.changes()));
    }
    controller.follow_checks();
    controller.warm_if_known();
    Handle {
        controller,
        _tasks: tasks,
    }
}

/// An endpoint that is checked, and the tasks that do it.
struct Watched {
    patient: Rc<Patient>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Controller {
    cluster: Arc<Cluster>,
    outliers: Option<RefCell<Detector>>,
    membership: RefCell<Membership>,
    /// The endpoints that are checked, by their identities.
    patients: RefCell<HashMap<u64, Watched>>,
    /// What their checks share.
    ward: Rc<Ward>,
    /// When something was published last.
    published: Cell<Option<Instant>>,
    /// What waits to be published, as it changes more than one thing at a time.
    waiting: RefCell<Option<AbortHandle>>,
    /// Names about which nothing is known yet.
    unanswered: Cell<usize>,
    /// Names that do not resolve now, by their indices, with when they did last.
    stale: RefCell<HashMap<usize, Option<Instant>>>,
    random: RefCell<Random>,
}

impl Controller {
    fn targets(&self) -> &[DnsTarget] {
        let names = self.cluster.spec().discovery.names();
        names.map_or(&[], |(targets, _)| targets)
    }

    /// Shows how many names do not resolve, and how old what is known about them is.
    fn show_stale(&self) {
        let (stale, stats) = (self.stale.borrow(), self.cluster.control_stats());
        let now = clock::now();
        let ages = stale.values().flatten();
        let ages = ages.map(|at| now.saturating_duration_since(*at).as_secs());
        let oldest = ages.max().unwrap_or(0);
        let shown = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        stats.dns_stale.set(shown(stale.len() as u64));
        stats.dns_stale_seconds.set(shown(oldest));
    }

    /// Runs `future`, and keeps on showing how old answers are meanwhile.
    async fn aging<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            let is_stale = !self.stale.borrow().is_empty();
            tokio::select! {
                output = &mut future => return output,
                () = tokio::time::sleep(AGING), if is_stale => self.show_stale(),
            }
        }
    }

    /// Publishes what `change` changed: who is there at once, anything else with what else changes
    /// within `update_merge_window` of the last time.
    fn publish(self: &Rc<Self>, change: Change) {
        if change.added > 0 || change.removed > 0 {
            // What requests name comes and goes with them.
            if self.cluster.destinations().is_none() {
                tracing::info!(
                    target: "upstream",
                    cluster = &*self.cluster.name,
                    added = change.added,
                    removed = change.removed,
                    total = self.membership.borrow().endpoints().len(),
                    "endpoints changed",
                );
            }
            self.publish_now();
            // Another state of health changes nothing about who is there.
            self.follow_checks();
            self.follow_outliers();
        } else if change.altered {
            self.publish_soon();
        }
        self.warm_if_known();
    }

    fn publish_now(&self) {
        if let Some(waiting) = self.waiting.borrow_mut().take() {
            waiting.abort();
        }
        self.published.set(Some(clock::now()));
        let endpoints = self.membership.borrow().endpoints().clone();
        self.cluster.publish(endpoints);
    }

    fn publish_soon(self: &Rc<Self>) {
        if self.waiting.borrow().is_some() {
            return;
        }
        let window = self.cluster.spec().balancing.merge_window;
        let age = |at: Instant| clock::now().saturating_duration_since(at);
        let left = self
            .published
            .get()
            .map_or(Duration::ZERO, |at| window.saturating_sub(age(at)));
        if left.is_zero() {
            self.publish_now();
            return;
        }
        let controller = Rc::downgrade(self);
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep(left).await;
            if let Some(controller) = controller.upgrade() {
                // This task ends here: there is nothing to stop.
                controller.waiting.borrow_mut().take();
                controller.publish_now();
            }
        });
        *self.waiting.borrow_mut() = Some(task.abort_handle());
    }

    /// Checks all endpoints that there are, and no others.
    fn follow_checks(self: &Rc<Self>) {
        if self.cluster.spec().health_checks.is_empty() {
            return;
        }
        let endpoints = self.membership.borrow().endpoints().clone();
        let mut patients = self.patients.borrow_mut();
        let ids: HashSet<_> = endpoints.iter().map(|endpoint| endpoint.id).collect();
        patients.retain(|id, _| ids.contains(id));
        let checked = |endpoint: &Arc<Endpoint>| !endpoint.traits().health_check.is_disabled;
        for endpoint in endpoints.into_iter().filter(checked) {
            patients
                .entry(endpoint.id)
                .or_insert_with(|| self.start_checks(&endpoint));
        }
    }

    fn start_checks(self: &Rc<Self>, endpoint: &Arc<Endpoint>) -> Watched {
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
        let patient = Patient::new(&self.ward, &self.cluster, endpoint, told);
        let tasks = (0..patient.checks()).map(|index| {
            let random = Random::new(self.random.borrow_mut().next_u64());
            let task = Rc::clone(&patient).watch(index, random);
            tokio::task::spawn_local(task).abort_handle()
        });
        let tasks = tasks.collect();
        Watched { patient, tasks }
    }

    /// Takes endpoints out that asked for it in an answer.
    fn take_asked_out(&self) {
        let patients = self.patients.borrow();
        let asked: Vec<Rc<Patient>> = self
            .membership
            .borrow()
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.take_asked_out())
            .filter_map(|endpoint| patients.get(&endpoint.id))
            .map(|watched| Rc::clone(&watched.patient))
            .collect();
        drop(patients);
        for patient in asked {
            patient.ask_out();
        }
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

    /// Takes over what runtime values say now.
    fn retune(&self) {
        let (balances, outliers) = self.cluster.retune();
        if let (Some(detector), Some(spec)) = (&self.outliers, outliers) {
            detector.borrow_mut().retune(spec);
            self.cluster.wake_outliers();
        }
        if balances {
            self.publish_now();
        }
    }

    /// The first answer about every name has come, if only that there is none, and every endpoint
    /// was checked once.
    fn warm_if_known(&self) {
        let membership = self.membership.borrow();
        let is_waiting = membership.endpoints().iter().any(|e| e.is_awaiting_check());
        let is_known = self.unanswered.get() == 0 && !is_waiting;
        drop(membership);
        if is_known && !self.cluster.is_warm() {
            // What is found out first is not kept back.
            if self.waiting.borrow().is_some() {
                self.publish_now();
            }
            self.cluster.set_warm();
        }
    }

    fn stop(&self) {
        self.patients.borrow_mut().clear();
        if let Some(waiting) = self.waiting.borrow_mut().take() {
            waiting.abort();
        }
        self.cluster.retire();
    }
}

/// Publishes the endpoints that requests name, and lets go of those that none has named for a while.
async fn follow_destinations(controller: Rc<Controller>, cleanup: Duration) {
    let Some(destinations) = controller.cluster.destinations() else {
        return;
    };
    let mut next = tokio::time::Instant::now() + cleanup;
    loop {
        tokio::select! {
            () = destinations.arrived() => {}
            () = tokio::time::sleep_until(next) => {
                destinations.forget_unused();
                next = tokio::time::Instant::now() + cleanup;
            }
        }
        let change = controller.membership.borrow_mut().hold(destinations.all());
        controller.publish(change);
        tokio::time::sleep(limits::DESTINATIONS_PERIOD).await;
    }
}

/// Shares requests anew when the proxies' own cluster has changed.
async fn follow_home(controller: Rc<Controller>, mut changes: watch::Receiver<()>) {
    loop {
        controller.publish_soon();
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Takes endpoints out as soon as they have asked for it.
async fn watch_for_ask_outs(controller: Rc<Controller>) {
    loop {
        controller.cluster.asked_out().await;
        controller.take_asked_out();
    }
}

/// Goes by runtime values as they change.
async fn follow_values(controller: Rc<Controller>, mut changes: watch::Receiver<()>) {
    while changes.changed().await.is_ok() {
        controller.retune();
    }
}

/// Looks at outliers when something tripped, and once in each interval.
async fn watch_outliers(controller: Rc<Controller>) {
    let Some(detector) = &controller.outliers else {
        return;
    };
    let mut last = tokio::time::Instant::now();
    loop {
        // It may be another one by now.
        let next = last + detector.borrow().period();
        tokio::select! {
            () = controller.cluster.outlier_tripped() => {
                controller.look_at_outliers(Detector::consecutive);
            }
            () = tokio::time::sleep_until(next) => {
                controller.look_at_outliers(Detector::interval);
                last = tokio::time::Instant::now();
            }
        }
    }
}

fn tell_outlier(cluster: &Cluster, event: &Event) {
    let (cluster, address) = (&*cluster.name, event.endpoint.now_at());
    match event.what {
        What::Eject {
            reason, enforced, ..
        } => tracing::warn!(
            target: "upstream", cluster, endpoint = %address, reason = reason.as_str(), enforced,
            ejections = event.ejections,
            "endpoint is an outlier{}",
            if enforced { ": it is left out" } else { ", and stays" },
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
    let question = Question::about(target, spec.family);
    let mut schedule = Schedule::new(spec);
    let (mut is_first, mut told) = (true, String::new());
    loop {
        let stats = controller.cluster.control_stats();
        stats.update_attempt.inc();
        let answer = controller.aging(resolver.resolve(&question)).await;
        if std::mem::take(&mut is_first) {
            controller.unanswered.set(controller.unanswered.get() - 1);
        }
        let was_failing = schedule.is_failing();
        let wait = match answer {
            Ok(answer) => {
                stats.update_success.inc();
                if was_failing {
                    recovered(&controller, target, index);
                }
                let wait = schedule.answered(
                    clock::now(),
                    answer.ttl,
                    &mut controller.random.borrow_mut(),
                );
                let change =
                    controller
                        .membership
                        .borrow_mut()
                        .answer(controller.targets(), index, answer);
                if !change.is_any() {
                    stats.update_no_rebuild.inc();
                }
                controller.publish(change);
                wait
            }
            Err(error) => {
                stats.update_failure.inc();
                let last = schedule.answered_at();
                controller.stale.borrow_mut().insert(index, last);
                controller.show_stale();
                // Another reason is news: that there is no such name comes after that nobody answers.
                let why = error.cause.to_string();
                if !was_failing || told != why {
                    failing(&controller, &error, last.is_some());
                    told = why;
                }
                controller.publish(Change::default());
                schedule.failed(&mut controller.random.borrow_mut())
            }
        };
        controller.aging(tokio::time::sleep(wait)).await;
    }
}

fn failing(controller: &Controller, error: &DnsError, was_answered: bool) {
    tracing::warn!(
        target: "dns",
        cluster = &*controller.cluster.name,
        error = error as &dyn std::error::Error,
        endpoints = controller.membership.borrow().endpoints().len(),
        "cannot resolve \"{}\": {}",
        error.host,
        if was_answered {
            "the last answer stays in use"
        } else {
            "it has no endpoints until there is an answer"
        },
    );
}

fn recovered(controller: &Controller, target: &DnsTarget, index: usize) {
    controller.stale.borrow_mut().remove(&index);
    controller.show_stale();
    tracing::info!(
        target: "dns",
        cluster = &*controller.cluster.name,
        "\"{}\" resolves again",
        target.host,
    );
}

#[cfg(test)]
mod tests;
