//! One endpoint of a cluster, as all threads share it.
//!
//! Owns [`Endpoint`]: what is known about it, its health flags and what it has done. The control
//! thread writes the flags, the pools count. Does not own: what the flags follow from (`health`,
//! `outlier`).

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::balance::layout::{Member, State};
use super::breaker::HostGates;
use super::connect::Tlv;
use super::metadata::{CANARY, Metadata, Value};
use super::outlier::Monitor;
use super::spec::{ClusterSpec, Locality, StatedHealth, Traits};
use crate::address::Address;
use crate::clock;
use crate::limits;
use crate::metadata::StaticMetadata;

/// Distinguishes endpoints in the workers' tables.
static NEXT_ENDPOINT: AtomicU64 = AtomicU64::new(0);

/// An address of a cluster. It stays the same object for as long as discovery keeps finding it.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is; where it was first, if it moves.
    pub address: Address,
    /// `endpoint.hostname`, or the DNS name that it was found by.
    pub hostname: Option<Arc<str>>,
    /// What it has done.
    pub counters: EndpointCounters,
    /// Unique in the life of the process.
    pub(super) id: u64,
    /// Its connections, where the cluster limits those of an endpoint.
    pub(super) gates: Option<Box<HostGates>>,
    /// What passive checks go by, where the cluster has outlier detection.
    pub(super) outlier: Option<Box<Monitor>>,
    /// Where it is now, if the same endpoint is now here, now there.
    moving: Option<ArcSwap<Address>>,
    traits: Arc<Traits>,
    weight: AtomicU32,
    health: Health,
    /// It asked in an answer to be left out, and nobody has looked yet.
    asked_out: AtomicBool,
    /// A request has named it since somebody looked (`destination`).
    chosen: AtomicBool,
    /// Somebody was told that connections to it fail, and none has succeeded since.
    unreachable: AtomicBool,
    /// When somebody was told last, in milliseconds since [`epoch`]; 0 for never.
    told_at: AtomicU64,
    /// Since when it counts as healthy, in milliseconds since [`epoch`].
    healthy_since: AtomicU64,
}

/// How endpoints of a cluster are checked and limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// By health checks.
    pub active: bool,
    /// By outlier detection.
    pub passive: bool,
    /// Whether its connections are limited (`per_host_thresholds`).
    pub limited: bool,
}

impl Checks {
    /// As a cluster with these settings does.
    #[must_use]
    pub fn of(spec: &ClusterSpec) -> Self {
        Self {
            active: !spec.health_checks.is_empty(),
            passive: spec.outlier_detection.is_some(),
            limited: spec.limits_hosts(),
        }
    }
}

impl Endpoint {
    /// An endpoint that is checked in these ways.
    pub(super) fn new(address: impl Into<Address>, traits: Arc<Traits>, checks: Checks) -> Self {
        let is_checked = checks.active && !traits.health_check.is_disabled;
        Self {
            address: address.into(),
            moving: None,
            hostname: traits.hostname.clone(),
            counters: EndpointCounters::default(),
            id: NEXT_ENDPOINT.fetch_add(1, Ordering::Relaxed),
            outlier: checks.passive.then(Box::default),
            gates: checks.limited.then(Box::default),
            weight: AtomicU32::new(traits.weight.max(1)),
            health: Health::initial(is_checked, traits.stated),
            asked_out: AtomicBool::new(false),
            chosen: AtomicBool::new(true),
            unreachable: AtomicBool::new(false),
            told_at: AtomicU64::new(0),
            healthy_since: AtomicU64::new(millis_since_epoch(clock::now())),
            traits,
        }
    }

    /// An endpoint that can be told to be elsewhere: connections to where it was stay its own.
    pub(super) fn moving(address: Address, traits: Arc<Traits>, checks: Checks) -> Self {
        Self {
            moving: Some(ArcSwap::from_pointee(address.clone())),
            ..Self::new(address, traits, checks)
        }
    }

    /// Where it is now.
    #[must_use]
    pub fn now_at(&self) -> Address {
        match &self.moving {
            None => self.address.clone(),
            Some(address) => Address::clone(&address.load()),
        }
    }

    /// Says where it is from now on, if it is one that moves.
    pub(super) fn move_to(&self, address: Address) {
        if let Some(moving) = &self.moving {
            moving.store(Arc::new(address));
        }
    }

    /// The same endpoint with other `traits`, which cannot change while it is in use. It is as
    /// healthy as it was.
    pub(super) fn successor(&self, traits: Arc<Traits>, checks: Checks) -> Self {
        let successor = Self::new(self.now_at(), traits, checks);
        if checks.active && !successor.traits.health_check.is_disabled {
            successor.health.clear(Health::OF_CHECKS);
            successor.health.set(self.health.of(Health::OF_CHECKS));
        }
        let since = self.healthy_since.load(Ordering::Relaxed);
        successor.healthy_since.store(since, Ordering::Relaxed);
        successor
    }

    /// Takes over what can change while the endpoint is in use: its weight, and what is said of its
    /// health. Whether that is anything; `None` where `traits` differ in something else.
    pub(super) fn adopt(&self, traits: &Arc<Traits>) -> Option<bool> {
        let is_same = Arc::ptr_eq(&self.traits, traits) || self.traits.is_like(traits);
        if !is_same {
            return None;
        }
        let weight = traits.weight.max(1);
        let is_heavier = self.weight.swap(weight, Ordering::Relaxed) != weight;
        let (stated, before) = (traits.stated.flags(), self.health.of(Health::STATED));
        self.health.clear(Health::STATED & !stated);
        self.health.set(stated);
        Some(is_heavier || stated != before)
    }

    /// `health_status`.
    #[must_use]
    pub fn stated(&self) -> StatedHealth {
        match self.health.of(Health::STATED) {
            0 => StatedHealth::Healthy,
            Health::DEGRADED_EDS_HEALTH => StatedHealth::Degraded,
            Health::EDS_STATUS_DRAINING => StatedHealth::Draining,
            _ => StatedHealth::Unhealthy,
        }
    }

    /// `load_balancing_weight`, at least 1.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// `priority`: which level it is in, 0 the first.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.traits.level
    }

    /// `locality`.
    #[must_use]
    pub fn locality(&self) -> &Locality {
        &self.traits.locality
    }

    /// `metadata`, its `envoy.lb` part.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.traits.metadata
    }

    /// All of its `metadata`, for logs and the changes of heads.
    #[must_use]
    pub fn described(&self) -> Option<&Arc<StaticMetadata>> {
        self.traits.described.as_ref()
    }

    /// Whether its metadata says that it runs a version which is being tried.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        self.traits.metadata.get(CANARY) == Some(&Value::Bool(true))
    }

    /// Where it is as well (`additional_addresses`).
    pub(super) fn other_addresses(&self) -> &[Address] {
        &self.traits.other_addresses
    }

    /// What its metadata says about how to connect to it.
    pub(super) fn transport_match(&self) -> &Metadata {
        &self.traits.transport_match
    }

    /// What it adds to a header of the PROXY protocol.
    pub(super) fn proxy_tlvs(&self) -> &[Tlv] {
        &self.traits.proxy_tlvs
    }

    pub(super) fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Why it may not be used; empty where it may.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Whether it may be used, and how gladly.
    #[must_use]
    pub fn state(&self) -> State {
        if self.health.has(Health::UNHEALTHY) {
            State::Unhealthy
        } else if self.health.has(Health::DEGRADED) {
            State::Degraded
        } else {
            State::Healthy
        }
    }

    /// Whether its active health checks pass, or nobody checks it.
    #[must_use]
    pub fn passes_checks(&self) -> bool {
        !self.health.has(Health::FAILED_ACTIVE_HC)
    }

    /// Whether it is checked and no check has ended yet.
    pub(super) fn is_awaiting_check(&self) -> bool {
        self.health.has(Health::PENDING_ACTIVE_HC)
    }

    /// Notes that it asked to be left out; whether that is news.
    pub(super) fn ask_out(&self) -> bool {
        !self.asked_out.swap(true, Ordering::AcqRel)
    }

    /// Whether it asked that since the last call.
    pub(super) fn take_asked_out(&self) -> bool {
        self.asked_out.load(Ordering::Relaxed) && self.asked_out.swap(false, Ordering::AcqRel)
    }

    /// Notes that a request has named it.
    pub(super) fn note_chosen(&self) {
        if !self.chosen.load(Ordering::Relaxed) {
            self.chosen.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a request has named it since the last call, or since it was made.
    pub(super) fn take_chosen(&self) -> bool {
        self.chosen.swap(false, Ordering::Relaxed)
    }

    /// Notes that a connection to it failed; whether to tell of it, which is when others had succeeded and
    /// not too often.
    pub(super) fn note_failed(&self, now: Instant) -> bool {
        if self.unreachable.load(Ordering::Relaxed) {
            return false;
        }
        let (now, last) = (
            millis_since_epoch(now),
            self.told_at.load(Ordering::Relaxed),
        );
        let often = u64::try_from(limits::TOLD_AGAIN_AFTER.as_millis()).unwrap_or(u64::MAX);
        if last != 0 && now.saturating_sub(last) < often {
            return false;
        }
        self.told_at.store(now.max(1), Ordering::Relaxed);
        !self.unreachable.swap(true, Ordering::Relaxed)
    }

    /// Notes that a connection to it succeeded; whether somebody was told that they fail.
    pub(super) fn note_connected(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed) && self.unreachable.swap(false, Ordering::Relaxed)
    }

    /// Starts its slow start: it is healthy from `now` on.
    pub(super) fn became_healthy(&self, now: Instant) {
        self.healthy_since
            .store(millis_since_epoch(now), Ordering::Relaxed);
    }

    /// For how long it has been healthy.
    pub(super) fn healthy_for(&self, now: Instant) -> Duration {
        let since = self.healthy_since.load(Ordering::Relaxed);
        Duration::from_millis(millis_since_epoch(now).saturating_sub(since))
    }

    /// As a layout sees it.
    pub(super) fn member(&self, index: u32, ignores_unchecked: bool) -> Member<'_> {
        let unchecked = if ignores_unchecked {
            Health::PENDING_ACTIVE_HC
        } else {
            0
        };
        Member {
            index,
            address: &self.address,
            traits: &self.traits,
            weight: self.weight(),
            state: self.state(),
            is_excluded: self.health.has(Health::EXCLUDED | unchecked),
        }
    }

    /// Where a health check goes that has a port of its own, or has none.
    #[must_use]
    pub fn health_check_address(&self, port: Option<u16>) -> Address {
        let target = &self.traits.health_check;
        let stated = target.address.clone();
        let mut address = stated.unwrap_or_else(|| self.now_at());
        if let (Some(port), Address::Ip(address)) = (target.port.or(port), &mut address) {
            address.set_port(port);
        }
        address
    }
}

/// When the first endpoint was made; a moment that others can be told from by a number.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(clock::now)
}

fn millis_since_epoch(moment: Instant) -> u64 {
    let since = moment.saturating_duration_since(epoch());
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The health flags of an endpoint. The control thread writes them.
#[derive(Debug, Default)]
pub struct Health(AtomicU16);

impl Health {
    /// `/failed_active_hc`.
    pub const FAILED_ACTIVE_HC: u16 = 1;
    /// `/failed_outlier_check`: ejected for what it answered.
    pub const FAILED_OUTLIER_CHECK: u16 = 1 << 1;
    /// `/failed_eds_health`: the configuration says that it is not well.
    pub const FAILED_EDS_HEALTH: u16 = 1 << 2;
    /// `/degraded_active_hc`: its answers to health checks say so.
    pub const DEGRADED_ACTIVE_HC: u16 = 1 << 3;
    /// `/degraded_eds_health`: the configuration says so.
    pub const DEGRADED_EDS_HEALTH: u16 = 1 << 4;
    /// `/pending_dynamic_removal`: discovery dropped it, but its health checks still pass.
    pub const PENDING_DYNAMIC_REMOVAL: u16 = 1 << 5;
    /// `/pending_active_hc`: no health check has ended yet.
    pub const PENDING_ACTIVE_HC: u16 = 1 << 6;
    /// `/excluded_via_immediate_hc_fail`: it asked in an answer not to be used.
    pub const EXCLUDED_VIA_IMMEDIATE_HC_FAIL: u16 = 1 << 7;
    /// `/active_hc_timeout`: the last health check timed out.
    pub const ACTIVE_HC_TIMEOUT: u16 = 1 << 8;
    /// `/eds_status_draining`: the configuration says that it is about to go.
    pub const EDS_STATUS_DRAINING: u16 = 1 << 9;

    /// Those with which it is not used.
    const UNHEALTHY: u16 = Self::FAILED_ACTIVE_HC
        | Self::FAILED_OUTLIER_CHECK
        | Self::FAILED_EDS_HEALTH
        | Self::EDS_STATUS_DRAINING;
    /// Those with which it does not count for the health of its level.
    const EXCLUDED: u16 = Self::EXCLUDED_VIA_IMMEDIATE_HC_FAIL | Self::EDS_STATUS_DRAINING;
    /// Those with which it is used where healthy ones do not suffice.
    const DEGRADED: u16 = Self::DEGRADED_ACTIVE_HC | Self::DEGRADED_EDS_HEALTH;

    /// Those that follow from what the configuration says.
    const STATED: u16 =
        Self::FAILED_EDS_HEALTH | Self::DEGRADED_EDS_HEALTH | Self::EDS_STATUS_DRAINING;
    /// Those that follow from health checks.
    const OF_CHECKS: u16 = Self::FAILED_ACTIVE_HC
        | Self::DEGRADED_ACTIVE_HC
        | Self::PENDING_ACTIVE_HC
        | Self::EXCLUDED_VIA_IMMEDIATE_HC_FAIL
        | Self::ACTIVE_HC_TIMEOUT;

    /// All flags with the names that `/clusters` shows, in Envoy's order.
    pub const NAMES: [(u16, &'static str); 10] = [
        (Self::FAILED_ACTIVE_HC, "/failed_active_hc"),
        (Self::FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
        (Self::FAILED_EDS_HEALTH, "/failed_eds_health"),
        (Self::DEGRADED_ACTIVE_HC, "/degraded_active_hc"),
        (Self::DEGRADED_EDS_HEALTH, "/degraded_eds_health"),
        (Self::PENDING_DYNAMIC_REMOVAL, "/pending_dynamic_removal"),
        (Self::PENDING_ACTIVE_HC, "/pending_active_hc"),
        (
            Self::EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
            "/excluded_via_immediate_hc_fail",
        ),
        (Self::ACTIVE_HC_TIMEOUT, "/active_hc_timeout"),
        (Self::EDS_STATUS_DRAINING, "/eds_status_draining"),
    ];

    /// Flags of an endpoint that nobody has looked at yet.
    fn initial(is_checked: bool, stated: StatedHealth) -> Self {
        let checks = if is_checked {
            Self::FAILED_ACTIVE_HC | Self::PENDING_ACTIVE_HC
        } else {
            0
        };
        Self(AtomicU16::new(checks | stated.flags()))
    }

    /// Those of `flags` that are set.
    fn of(&self, flags: u16) -> u16 {
        self.0.load(Ordering::Relaxed) & flags
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub fn has(&self, flags: u16) -> bool {
        self.0.load(Ordering::Relaxed) & flags != 0
    }

    /// Sets `flags`; whether any of them was not set before.
    pub(super) fn set(&self, flags: u16) -> bool {
        self.0.fetch_or(flags, Ordering::Relaxed) & flags != flags
    }

    /// Clears `flags`; whether any of them was set before.
    pub(super) fn clear(&self, flags: u16) -> bool {
        self.0.fetch_and(!flags, Ordering::Relaxed) & flags != 0
    }
}

impl StatedHealth {
    /// The flag that says so.
    const fn flags(self) -> u16 {
        match self {
            Self::Healthy => 0,
            Self::Degraded => Health::DEGRADED_EDS_HEALTH,
            Self::Unhealthy => Health::FAILED_EDS_HEALTH,
            Self::Draining => Health::EDS_STATUS_DRAINING,
        }
    }
}

/// Counts up and down, written by several threads.
#[derive(Debug, Default)]
pub struct SharedCount(AtomicU64);

impl SharedCount {
    /// Adds one.
    #[inline]
    pub(super) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one off.
    #[inline]
    pub(super) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What an endpoint has done, over all workers. They lie together because a request that touches
/// one has the line of all of them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointCounters {
    /// Requests that have a connection now; least-request balancing goes by it.
    pub rq_active: SharedCount,
    /// Requests that were given a connection.
    pub rq_total: SharedCount,
    /// Answers below 500.
    pub rq_success: SharedCount,
    /// Answers from 500 on, and resets.
    pub rq_error: SharedCount,
    /// Requests that timed out.
    pub rq_timeout: SharedCount,
    /// Requests that wait for a connection now.
    pub rq_pending_active: SharedCount,
    /// Connections that are open or being opened.
    pub cx_active: SharedCount,
    /// Connections that were ever started.
    pub cx_total: SharedCount,
    /// Connections that failed to open.
    pub cx_connect_fail: SharedCount,
}

impl EndpointCounters {
    /// Whether requests have a connection to it or wait for one, or one is kept.
    pub(super) fn is_in_use(&self) -> bool {
        [&self.cx_active, &self.rq_active, &self.rq_pending_active]
            .iter()
            .any(|count| count.get() > 0)
    }
}
