//! Random lives of a cluster, on virtual time.
//!
//! Names get other addresses or fail to resolve, health checks pass and fail, requests are answered
//! well and badly, limits are reached, time goes by: whatever order chance puts that in, what is
//! promised about a cluster holds after each step. The state machines are those that run; only their
//! surroundings are made up. `NUNCIO_SIM_SEED=…` lives one life again, the one that a failure names.

mod pools;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::uri::PathAndQuery;

use super::balance::layout::State;
use super::balance::{Balancer, Busy, Hosts, Note, Random};
use super::breaker::Resource;
use super::cluster::Cluster;
use super::discovery::Membership;
use super::dns::Answer;
use super::endpoint::{Checks, Endpoint, Health};
use super::health::state::{Failure, Verdict};
use super::health::{Patient, Ward};
use super::outlier::event::{Event, What};
use super::outlier::{Around, Detector, Report};
use super::spec::{
    ClusterSpec, Discovery, DnsSpec, DnsTarget, Hashing, HealthCheck, OutlierSpec, Policy,
    Priority, SlowStart, Traits,
};
use super::wish::Wish;
use crate::clock;

const LIVES: u64 = 150;
const STEPS: usize = 300;
const NAMES: usize = 3;
/// How many connections' requests the cluster takes at once.
const REQUESTS: u32 = 8;

/// Says which life it was when it ends badly.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("again: NUNCIO_SIM_SEED={}", self.0);
        }
    }
}

struct Life {
    random: Random,
    now: Instant,
    cluster: Arc<Cluster>,
    targets: Vec<DnsTarget>,
    /// What each name stood for last, by the last byte of the addresses.
    answers: Vec<BTreeSet<u8>>,
    membership: Membership,
    ward: Rc<Ward>,
    patients: HashMap<u64, Rc<Patient>>,
    detector: Detector,
    balancer: Balancer,
    /// Requests under way.
    requests: u32,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let targets: Vec<DnsTarget> = (0_u32..)
            .zip(["a", "b", "c"])
            .map(|(level, name)| DnsTarget {
                traits: Arc::new(Traits {
                    level: level / 2,
                    weight: 1 + level,
                    ..Traits::default()
                }),
                ..DnsTarget::new(name, 80)
            })
            .collect();
        let mut spec = ClusterSpec::new(
            "c",
            Discovery::StrictDns {
                targets: targets.clone(),
                dns: DnsSpec::default(),
            },
        );
        let second = Duration::from_secs(1);
        if random.below(4) > 0 {
            let (host, path) = (
                HeaderValue::from_static("c"),
                PathAndQuery::from_static("/"),
            );
            spec.health_checks = vec![HealthCheck::new(host, path, second, second)];
        }
        spec.outlier_detection = Some(OutlierSpec {
            consecutive_5xx: 3,
            ..OutlierSpec::default()
        });
        spec.ignore_health_on_host_removal = random.below(2) == 0;
        spec.balancing.policy = match random.below(4) {
            0 => Policy::RoundRobin,
            1 => Policy::LEAST_REQUEST,
            2 => Policy::Random,
            _ => Policy::Maglev {
                size: 13,
                hashing: Hashing::DEFAULT,
            },
        };
        spec.balancing.panic_threshold = if random.below(2) == 0 { 0 } else { 50 };
        if random.below(2) == 0 {
            spec.balancing.slow_start = Some(SlowStart {
                window: second * 10,
                aggression: 1.0,
                least: 0.1,
            });
        }
        for breaker in &mut spec.breakers {
            breaker.max_requests = REQUESTS;
        }
        let (checks, keeps_healthy) = (Checks::of(&spec), !spec.ignore_health_on_host_removal);
        let detector = Detector::new(spec.outlier_detection.clone().unwrap_or_default());
        let cluster = Cluster::new(spec, 1);
        Self {
            random,
            now: clock::now(),
            balancer: Balancer::new(Arc::clone(&cluster.endpoints().plan), 0, false),
            membership: Membership::resolved(NAMES, checks, keeps_healthy),
            ward: Ward::new(&cluster.spec().health_checks),
            cluster,
            targets,
            answers: vec![BTreeSet::new(); NAMES],
            patients: HashMap::new(),
            detector,
            requests: 0,
        }
    }

    fn any(&mut self) -> Option<Arc<Endpoint>> {
        let endpoints = self.membership.endpoints();
        let at = self.random.index(endpoints.len());
        endpoints.get(at).map(Arc::clone)
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0 => self.resolve(),
            1..=3 => self.check(),
            4..=6 => self.answer(),
            7 => self.request(),
            8 => self.let_time_pass(Duration::from_millis(500)),
            _ => self.let_time_pass(Duration::from_secs(10)),
        }
    }

    /// A name has other addresses; one that fails to resolve has the ones that it had.
    fn resolve(&mut self) {
        let name = self.random.index(NAMES);
        let addresses: BTreeSet<u8> = (0..self.random.below(5))
            .map(|_| u8::try_from(self.random.below(8)).unwrap_or(0))
            .collect();
        let found = addresses
            .iter()
            .map(|last| IpAddr::from([127, 0, 0, *last]));
        let answer = Answer::from((found.collect(), None));
        self.answers[name] = addresses;
        let change = self.membership.answer(&self.targets, name, answer);
        if change.is_any() {
            self.publish();
        }
    }

    /// A health check ends.
    fn check(&mut self) {
        let Some(endpoint) = self.any() else { return };
        let Some(patient) = self.patients.get(&endpoint.id) else {
            return;
        };
        let verdict = match self.random.below(8) {
            0..=4 => Verdict::Passed,
            5 => Verdict::Degraded,
            6 => Verdict::Failed(Failure::Timeout),
            _ => Verdict::Failed(Failure::Status(500)),
        };
        patient.take(0, verdict);
        if verdict.is_pass() {
            self.look(|detector, around| {
                detector
                    .check_passed(&endpoint, around)
                    .into_iter()
                    .collect()
            });
        }
        self.membership.drop_failed();
        self.publish();
    }

    /// A request to some endpoint has ended.
    fn answer(&mut self) {
        let Some(endpoint) = self.any() else { return };
        let report = match self.random.below(3) {
            0 => Report::Status(200),
            1 => Report::Status(503),
            _ => Report::Failed,
        };
        self.cluster.report(&endpoint, report);
        self.look(Detector::consecutive);
    }

    /// A request begins, where the limit lets it, or ends.
    fn request(&mut self) {
        let breaker = self.cluster.breaker(Priority::Default);
        if self.requests > 0 && self.random.below(3) == 0 {
            breaker.give_back_request();
            self.requests -= 1;
        } else {
            let is_taken = breaker.try_request();
            assert_eq!(is_taken, self.requests < REQUESTS, "the limit is exact");
            self.requests += u32::from(is_taken);
        }
    }

    fn let_time_pass(&mut self, time: Duration) {
        self.now += time;
        if time >= self.detector.period() {
            self.look(Detector::interval);
        }
    }

    fn look(&mut self, act: impl FnOnce(&mut Detector, &mut Around<'_>) -> Vec<Event>) {
        let cluster = Arc::clone(&self.cluster);
        let (Some(stats), Some(averages)) = (cluster.outlier_stats(), cluster.outlier_averages())
        else {
            return;
        };
        let mut around = Around {
            now: self.now,
            random: &mut self.random,
            stats,
            averages,
        };
        let events = act(&mut self.detector, &mut around);
        for event in &events {
            if let What::Eject { enforced: true, .. } = event.what {
                let endpoints = self.membership.endpoints();
                let is_left = endpoints.iter().any(|e| e.state() != State::Unhealthy);
                assert!(is_left, "the last endpoint was ejected");
            }
        }
        if !events.is_empty() {
            self.publish();
        }
    }

    /// As `control` does when something has changed.
    fn publish(&mut self) {
        let endpoints = self.membership.endpoints().clone();
        if !self.cluster.spec().health_checks.is_empty() {
            let ids: BTreeSet<u64> = endpoints.iter().map(|endpoint| endpoint.id).collect();
            self.patients.retain(|id, _| ids.contains(id));
            for endpoint in &endpoints {
                let (ward, cluster) = (&self.ward, &self.cluster);
                let new = || Patient::new(ward, cluster, endpoint, |_| ());
                self.patients.entry(endpoint.id).or_insert_with(new);
            }
        }
        if let Some(stats) = self.cluster.outlier_stats() {
            self.detector.follow(&endpoints, stats);
        }
        self.cluster.publish(endpoints);
        let plan = Arc::clone(&self.cluster.endpoints().plan);
        self.balancer = Balancer::new(plan, self.balancer.picks(), true);
    }

    fn hold(&mut self) {
        let endpoints = self.membership.endpoints().clone();
        let published = self.cluster.endpoints();
        let ids = |endpoints: &[Arc<Endpoint>]| endpoints.iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(
            ids(&endpoints),
            ids(&published.endpoints),
            "who is there is published"
        );
        let addresses: BTreeSet<_> = endpoints.iter().map(|e| e.now_at()).collect();
        assert_eq!(addresses.len(), endpoints.len(), "an address is there once");
        let wanted: BTreeSet<u8> = self.answers.iter().flatten().copied().collect();
        for endpoint in &endpoints {
            let Some(IpAddr::V4(ip)) = endpoint.address.ip().map(|at| at.ip()) else {
                panic!("only IPv4 is answered");
            };
            let is_wanted = wanted.contains(&ip.octets()[3]);
            let is_leaving = endpoint.health().has(Health::PENDING_DYNAMIC_REMOVAL);
            assert_eq!(is_leaving, !is_wanted, "who was dropped is about to leave");
            assert!(
                !is_leaving || endpoint.passes_checks(),
                "and stays for its health alone"
            );
            let mut names = self.answers.iter().zip(&self.targets);
            let first = names.find(|(found, _)| found.contains(&ip.octets()[3]));
            if let Some((_, target)) = first {
                assert_eq!(
                    endpoint.level(),
                    target.traits.level,
                    "the first name counts"
                );
                assert_eq!(endpoint.weight(), target.traits.weight);
            }
        }
        assert!(
            wanted.len() <= endpoints.len(),
            "all that was answered is there"
        );
        self.counts(&endpoints);
        self.choices(&endpoints);
    }

    fn counts(&self, endpoints: &[Arc<Endpoint>]) {
        let count = |is: &dyn Fn(&Endpoint) -> bool| {
            i64::try_from(endpoints.iter().filter(|e| is(e)).count()).unwrap_or(-1)
        };
        let stats = self.cluster.control_stats();
        assert_eq!(stats.membership_total.get(), count(&|_| true));
        let healthy = count(&|endpoint| endpoint.state() == State::Healthy);
        assert_eq!(stats.membership_healthy.get(), healthy);
        let ejected = count(&|endpoint| endpoint.health().has(Health::FAILED_OUTLIER_CHECK));
        let outliers = self
            .cluster
            .outlier_stats()
            .map(|stats| stats.ejections_active.get());
        assert_eq!(outliers, Some(ejected));
        let used = self
            .cluster
            .breaker(Priority::Default)
            .used(Resource::Requests);
        assert_eq!(used, u64::from(self.requests));
    }

    fn choices(&mut self, endpoints: &[Arc<Endpoint>]) {
        let hosts = Chosen {
            endpoints,
            slow_start: self.cluster.spec().balancing.slow_start,
            now: self.now,
            panicked: Cell::new(false),
        };
        let wish = Wish::default();
        let chosen = self.balancer.pick(&mut self.random, &wish, &hosts);
        let chosen = chosen.and_then(|index| endpoints.get(index as usize));
        let usable = endpoints.iter().any(|e| e.state() == State::Healthy);
        // As in Envoy consistent hashing places nobody who is degraded, but counts on them.
        let misses =
            self.cluster.wants_hash() && endpoints.iter().any(|e| e.state() == State::Degraded);
        assert!(
            chosen.is_some() || !usable || misses,
            "somebody is chosen where somebody is well: {:?}",
            self.cluster.spec().balancing
        );
        if let Some(chosen) = chosen
            && !hosts.panicked.get()
        {
            assert_ne!(
                chosen.state(),
                State::Unhealthy,
                "only a panic chooses the unwell"
            );
        }
    }

    /// What was bad is over: all endpoints come back.
    fn recover(&mut self) {
        for _ in 0..4 {
            for patient in self.patients.values().map(Rc::clone).collect::<Vec<_>>() {
                patient.take(0, Verdict::Passed);
            }
            self.membership.drop_failed();
            self.publish();
        }
        // As long as the longest ejection, and one interval more.
        self.let_time_pass(Duration::from_secs(310));
        self.hold();
        for endpoint in self.membership.endpoints() {
            assert_eq!(endpoint.state(), State::Healthy, "{}", endpoint.now_at());
        }
    }
}

struct Chosen<'a> {
    endpoints: &'a [Arc<Endpoint>],
    slow_start: Option<SlowStart>,
    now: Instant,
    panicked: Cell<bool>,
}

impl Busy for Chosen<'_> {
    fn active(&self, _: u32) -> u64 {
        0
    }

    fn total_active(&self) -> u64 {
        0
    }
}

impl Hosts for Chosen<'_> {
    fn weight(&self, index: u32) -> f64 {
        let Some(endpoint) = self.endpoints.get(index as usize) else {
            return 1.0;
        };
        let age = endpoint.healthy_for(self.now);
        let factor = self.slow_start.map_or(1.0, |slow| slow.factor(age));
        f64::from(endpoint.weight()) * factor
    }

    fn is_unwanted(&self, _: u32) -> bool {
        false
    }

    fn note(&self, note: Note) {
        if note == Note::Panic {
            self.panicked.set(true);
        }
    }
}

fn live(seed: u64) {
    let _told = Seed(seed);
    let mut life = Life::new(seed);
    life.publish();
    for _ in 0..STEPS {
        life.step();
        life.hold();
    }
    life.recover();
}

/// That many lives, or the one that was asked for.
fn lives(count: u64, live: fn(u64)) {
    if let Ok(seed) = std::env::var("NUNCIO_SIM_SEED") {
        live(seed.parse().expect("a number"));
        return;
    }
    for seed in 0..count {
        live(seed);
    }
}

#[test]
fn whatever_happens_a_cluster_keeps_its_promises() {
    lives(LIVES, live);
}
