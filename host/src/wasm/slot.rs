//! One filter of a configuration, ready to be called.
//!
//! Owns what all instances of the filter share on all workers: its code, its configuration, what it
//! is granted, its limits, its statistics, and what it opened under a name. Built once on the control
//! thread, where the filter is configured for the first time, so that its complaints come while the
//! configuration is being read. A chain holds slots; `instances` runs them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bindings;
use super::component::Component;
use super::engine::Engine;
use super::error::Error;
use super::instance::{Instance, NotStarted};
use super::lines::{Level, Lines, Rate};
use super::places::Places;
use crate::bucket::TokenBucket;
use crate::headers::Extent;
use crate::limits;
use crate::observe::access_log::{Sink, Sinks, Target};
use crate::observe::format::Format;
use crate::observe::registry::{Registry, Scope};
use crate::observe::stats::{Sharded, SharedCounter, SharedGauge, stats};
use crate::pattern::{self, Pattern, Substitution, Template};
use crate::values::Values;
use crate::variant::Variant;
use crate::vitals::Vitals;

/// The index of the control thread's statistics: behind those of all workers.
const CONTROL: usize = usize::MAX;
/// Numbers of slots, unique in the process.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

stats! {
    /// What a filter costs and how it fails, under `wasm.<filter>.`.
    pub struct WasmStats {
        counter calls,
        counter traps,
        counter out_of_time,
        counter out_of_memory,
        counter invalid_answers,
        counter reported_failures,
        counter state_lost,
        counter start_failures,
        counter created,
        gauge active,
    }
}

/// The hooks that a filter wants. A set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    /// `on-request-headers`.
    pub const REQUEST_HEADERS: Self = Self(1);
    /// `on-request-body`.
    pub const REQUEST_BODY: Self = Self(1 << 1);
    /// `on-request-trailers`.
    pub const REQUEST_TRAILERS: Self = Self(1 << 2);
    /// `on-response-headers`.
    pub const RESPONSE_HEADERS: Self = Self(1 << 3);
    /// `on-response-body`.
    pub const RESPONSE_BODY: Self = Self(1 << 4);
    /// `on-response-trailers`.
    pub const RESPONSE_TRAILERS: Self = Self(1 << 5);
    /// `on-log`.
    pub const LOG: Self = Self(1 << 6);

    /// Whether all of `other` are wanted.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without `phase`, unless `before` has it.
    const fn only_as(self, before: Self, phase: Self) -> Self {
        Self(self.0 & (!phase.0 | before.0))
    }
}

impl From<bindings::types::Phases> for Phases {
    fn from(phases: bindings::types::Phases) -> Self {
        use bindings::types::Phases as Wit;
        let pairs = [
            (Wit::REQUEST_HEADERS, Self::REQUEST_HEADERS),
            (Wit::REQUEST_BODY, Self::REQUEST_BODY),
            (Wit::REQUEST_TRAILERS, Self::REQUEST_TRAILERS),
            (Wit::RESPONSE_HEADERS, Self::RESPONSE_HEADERS),
            (Wit::RESPONSE_BODY, Self::RESPONSE_BODY),
            (Wit::RESPONSE_TRAILERS, Self::RESPONSE_TRAILERS),
            (Wit::LOG, Self::LOG),
        ];
        let wanted = pairs.into_iter().filter(|(wit, _)| phases.contains(*wit));
        Self(wanted.fold(0, |set, (_, phase)| set | phase.0))
    }
}

/// How a body reaches a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyMode {
    /// Chunk by chunk.
    #[default]
    Streamed,
    /// Once, whole; the head is held back until then.
    Buffered,
}

impl From<bindings::types::BodyMode> for BodyMode {
    fn from(mode: bindings::types::BodyMode) -> Self {
        match mode {
            bindings::types::BodyMode::Streamed => Self::Streamed,
            bindings::types::BodyMode::Buffered => Self::Buffered,
        }
    }
}

/// What a configured filter wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The hooks that are called.
    pub wants: Phases,
    /// How the request's body comes.
    pub request_body: BodyMode,
    /// How the response's body comes.
    pub response_body: BodyMode,
    /// Bytes of a request's buffered body, in place of the connection's limit; at most
    /// [`limits::WASM_HELD_BODY_BYTES`] where the filter looks at it.
    pub request_body_limit: Option<u32>,
}

impl Interest {
    /// The same as far as it can still be had by a filter that wanted `before`, once it is settled how
    /// the body of the request comes, or that of the response too.
    #[must_use]
    pub(super) const fn settled(mut self, before: Self, request: bool, response: bool) -> Self {
        if request {
            self.wants = self.wants.only_as(before.wants, Phases::REQUEST_BODY);
            self.request_body = before.request_body;
        }
        if response {
            self.wants = self.wants.only_as(before.wants, Phases::RESPONSE_BODY);
            self.response_body = before.response_body;
        }
        self
    }
}

impl From<bindings::Interest> for Interest {
    fn from(interest: bindings::Interest) -> Self {
        let wants = Phases::from(interest.wants);
        let looks = wants.contains(Phases::REQUEST_BODY);
        Self {
            wants,
            request_body: interest.request_body.into(),
            response_body: interest.response_body.into(),
            request_body_limit: interest.request_body_limit.map(|limit| {
                if looks {
                    limit.min(limits::WASM_HELD_BODY_BYTES)
                } else {
                    limit
                }
            }),
        }
    }
}

/// `failure_policy`: what a failure of the filter does to the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The stream fails.
    #[default]
    FailClosed,
    /// The filter is left out for the rest of the stream.
    FailOpen,
}

/// `isolation`: which streams share an instance of the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All of a worker: a trap loses the state of all of them.
    #[default]
    Shared,
    /// One at a time; the next stream gets the same instance.
    Exclusive,
    /// One; each stream gets a new instance.
    Fresh,
}

/// `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of each of the guest's memories: 64 KiB to [`limits::WASM_MEMORY_BYTES_MAX`].
    pub memory: usize,
    /// Processor time of one call, above 0 and at most [`limits::WASM_CPU_CONFIGURE`]. A call is
    /// interrupted within about two milliseconds of it.
    pub cpu_per_call: Duration,
    /// What may be added to a block of fields, and be in a reply.
    pub(super) block: Extent,
    /// Bytes of a stream's metadata.
    pub(super) metadata: usize,
    /// Bytes that the host copies out of the guest for one call.
    pub(super) lifted: usize,
    /// Whether the time that the host takes to match long texts is the call's.
    pub(super) counts_matches: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: limits::WASM_MEMORY_BYTES,
            cpu_per_call: limits::WASM_CPU_PER_CALL,
            block: Extent {
                fields: limits::WASM_BLOCK_FIELDS,
                bytes: limits::WASM_BLOCK_BYTES,
            },
            metadata: limits::WASM_METADATA_BYTES,
            lifted: limits::WASM_LIFT_BYTES,
            counts_matches: true,
        }
    }
}

impl Limits {
    /// Those of built-in filters, which do what is configured whatever a head has that is let in.
    pub const BUILT_IN: Self = Self {
        memory: limits::WASM_BUILT_IN_MEMORY_BYTES,
        cpu_per_call: limits::WASM_CPU_CONFIGURE,
        block: Extent {
            fields: limits::WASM_BUILT_IN_BLOCK_FIELDS,
            bytes: limits::WASM_BUILT_IN_BLOCK_BYTES,
        },
        metadata: limits::WASM_BUILT_IN_METADATA_BYTES,
        lifted: limits::WASM_BUILT_IN_LIFT_BYTES,
        counts_matches: false,
    };
}

/// `capabilities`: what the filter may use beyond its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Outputs that it may open.
    pub log_sinks: Vec<Target>,
}

/// What a filter is to be built from.
#[derive(Clone, Debug)]
pub struct SlotSpec {
    /// The name in the configuration.
    pub name: String,
    /// The filter's own configuration: JSON text.
    pub configuration: String,
    /// `failure_policy`.
    pub failure_policy: FailurePolicy,
    /// `isolation`.
    pub isolation: Isolation,
    /// `limits`.
    pub limits: Limits,
    /// `capabilities`.
    pub grants: Grants,
    /// What the statistics of its chain begin with: `http.<stat_prefix>.`
    pub stat_prefix: String,
}

impl SlotSpec {
    /// A filter with the defaults for everything but its name and configuration.
    #[must_use]
    pub fn new(name: impl Into<String>, configuration: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            configuration: configuration.into(),
            failure_policy: FailurePolicy::default(),
            isolation: Isolation::default(),
            limits: Limits::default(),
            grants: Grants::default(),
            stat_prefix: String::new(),
        }
    }
}

/// Parts of the proxy that filters use.
#[derive(Clone, Debug)]
pub struct Services {
    /// Where counters of filters live.
    pub registry: Arc<Registry>,
    /// Where access logs go.
    pub sinks: Arc<Sinks>,
    /// How the proxy is.
    pub vitals: Arc<Vitals>,
    /// Numbers that change while it runs.
    pub values: Arc<Values>,
}

/// A filter of a chain. A clone is the same one.
#[derive(Clone)]
pub struct FilterSlot(Arc<Slot>);

/// See [`FilterSlot`]. A worker's instances hold it weakly, to know when it is gone.
pub(super) struct Slot {
    pub(super) id: u64,
    /// What the filter wants, by the index of its configuration: the chain's, then those of routes.
    pub(super) interests: Box<[Interest]>,
    /// What is written for routes: that of configuration `n + 1` at `n`.
    pub(super) routes: Box<[Vec<RouteConfig>]>,
    pub(super) shared: Arc<Shared>,
}

/// What is written for some routes at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Unique among all places where the filter is configured.
    pub id: u32,
    /// JSON text.
    pub document: Arc<str>,
}

/// A filter that was configured for its chain and may still be for routes.
pub struct SlotBuilder {
    shared: Arc<Shared>,
    /// The first instance; none after a failure.
    instance: Option<Instance>,
    interests: Vec<Interest>,
    routes: Vec<Vec<RouteConfig>>,
}

impl FilterSlot {
    /// What it may use.
    pub(super) fn limits(&self) -> &Limits {
        &self.0.shared.limits
    }

    /// Starts the filter once on this thread and configures it, for its chain alone.
    ///
    /// # Errors
    /// As [`FilterSlot::start`].
    pub fn build(
        engine: &Arc<Engine>,
        component: &Component,
        spec: SlotSpec,
        services: &Services,
    ) -> Result<Self, Error> {
        Self::start(engine, component, spec, services).map(SlotBuilder::finish)
    }

    /// Starts the filter once on this thread and configures it for its chain.
    ///
    /// # Errors
    /// When a limit is out of range, the filter refuses its configuration, or fails meanwhile.
    pub fn start(
        engine: &Arc<Engine>,
        component: &Component,
        spec: SlotSpec,
        services: &Services,
    ) -> Result<SlotBuilder, Error> {
        check_limits(&spec)?;
        let stats = services.registry.sharded(Scope::wasm(&spec.name));
        let shared = Arc::new(Shared {
            engine: Arc::clone(engine),
            component: component.clone(),
            name: spec.name.into(),
            configuration: spec.configuration,
            failure_policy: spec.failure_policy,
            isolation: spec.isolation,
            limits: spec.limits,
            grants: spec.grants,
            services: services.clone(),
            stats,
            stat_prefix: spec.stat_prefix,
            named: Mutex::default(),
            differed: AtomicBool::new(false),
            places: Arc::default(),
        });
        let first = Instance::start(&shared, CONTROL, Rate::default());
        let (first, interest) = first.map_err(|why| shared.error(why))?;
        Ok(SlotBuilder {
            shared,
            instance: Some(first),
            interests: vec![interest],
            routes: Vec::new(),
        })
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.shared.name
    }

    /// What the filter wants as `variant` configures it: nothing where it is left out.
    #[must_use]
    #[inline]
    pub fn interest(&self, variant: Variant) -> Interest {
        let interest = self.0.interests.get(variant.index());
        interest.copied().unwrap_or_default()
    }

    /// Its statistics, under `wasm.<name>.`; filters of one name share them.
    #[must_use]
    pub fn stats(&self) -> &Arc<Sharded<WasmStats>> {
        &self.0.shared.stats
    }

    pub(super) const fn slot(&self) -> &Arc<Slot> {
        &self.0
    }
}

impl SlotBuilder {
    /// Configures the filter for routes that have `levels` on their way, the most specific last.
    ///
    /// # Errors
    /// When the filter refuses it, or fails meanwhile.
    pub fn for_route(&mut self, levels: Vec<RouteConfig>) -> Result<Variant, Error> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let started = Instance::start(&self.shared, CONTROL, Rate::default());
                started.map_err(|why| self.shared.error(why))?.0
            }
        };
        let configured = instance.configure_route(&levels);
        if !matches!(configured, Err(NotStarted::Failed(_))) {
            self.instance = Some(instance);
        }
        let (_, interest) = configured.map_err(|why| self.shared.error(why))?;
        let variant = u32::try_from(self.interests.len()).unwrap_or(u32::MAX);
        self.interests.push(interest);
        self.routes.push(levels);
        Ok(Variant::new(variant))
    }

    #[cfg(test)]
    pub(super) fn stats(&self) -> &Arc<Sharded<WasmStats>> {
        &self.shared.stats
    }

    /// The filter, with all its configurations.
    #[must_use]
    pub fn finish(self) -> FilterSlot {
        FilterSlot(Arc::new(Slot {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            interests: self.interests.into(),
            routes: self.routes.into(),
            shared: self.shared,
        }))
    }
}

impl std::fmt::Debug for FilterSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterSlot")
            .field("name", &self.name())
            .field("interests", &self.0.interests)
            .finish_non_exhaustive()
    }
}

fn check_limits(spec: &SlotSpec) -> Result<(), Error> {
    let Limits {
        memory,
        cpu_per_call,
        ..
    } = spec.limits;
    let outside = |limit, least, most| {
        Err(Error::Limit {
            filter: spec.name.clone(),
            limit,
            least,
            most,
        })
    };
    if !(64 * 1024..=limits::WASM_MEMORY_BYTES_MAX).contains(&memory) {
        return outside("limits.memory", "64KiB", "256MiB");
    }
    if cpu_per_call.is_zero() || cpu_per_call > limits::WASM_CPU_CONFIGURE {
        return outside("limits.cpu_per_call", "1ms", "1s");
    }
    Ok(())
}

/// What all instances of a filter share.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    pub(super) component: Component,
    pub(super) name: Arc<str>,
    pub(super) configuration: String,
    pub(super) failure_policy: FailurePolicy,
    pub(super) isolation: Isolation,
    pub(super) limits: Limits,
    pub(super) stats: Arc<Sharded<WasmStats>>,
    pub(super) stat_prefix: String,
    grants: Grants,
    services: Services,
    named: Mutex<Named>,
    differed: AtomicBool,
    pub(super) places: Arc<Places>,
}

/// The text of a format, which is its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum FormatText {
    Text(String),
    Json { document: String, omit_empty: bool },
}

/// What a filter opened under a name, once for all of its instances. Locked while an instance is
/// configured, and when a hook counts under a name that is new to its instance.
#[derive(Default)]
struct Named {
    formats: HashMap<FormatText, Arc<Format>>,
    buckets: HashMap<String, Arc<TokenBucket>>,
    patterns: HashMap<String, Pattern>,
    /// By the expression and what takes its place.
    substitutions: HashMap<(String, String), Arc<Substitution>>,
    /// Counters that are opened in `configure`.
    opened: HashMap<String, SharedCounter>,
    gauges: HashMap<String, SharedGauge>,
    /// Counters of names that came up while streams are served.
    counted: HashMap<String, SharedCounter>,
}

impl Shared {
    /// How the proxy is.
    pub(super) fn vitals(&self) -> &Vitals {
        &self.services.vitals
    }

    /// Numbers that change while the proxy runs.
    pub(super) fn values(&self) -> &Values {
        &self.services.values
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        // Whoever panicked left whole entries behind: each is inserted by one call.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The compiled format.
    pub(super) fn format(&self, text: FormatText) -> Result<Arc<Format>, String> {
        let mut named = self.named();
        if let Some(format) = named.formats.get(&text) {
            return Ok(Arc::clone(format));
        }
        let format = match &text {
            FormatText::Text(text) => {
                Format::text(text, false).map_err(|error| error.to_string())?
            }
            FormatText::Json {
                document,
                omit_empty,
            } => {
                let document: serde_json::Value =
                    serde_json::from_str(document).map_err(|error| error.to_string())?;
                Format::json(&document, *omit_empty).map_err(|error| error.to_string())?
            }
        };
        let format = Arc::new(format);
        room(named.formats.len())?;
        named.formats.insert(text, Arc::clone(&format));
        Ok(format)
    }

    /// The compiled regular expression.
    pub(super) fn pattern(&self, expression: String) -> Result<Pattern, String> {
        let mut named = self.named();
        if let Some(pattern) = named.patterns.get(&expression) {
            return Ok(pattern.clone());
        }
        let pattern = Pattern::new(&expression).map_err(|error| error.to_string())?;
        room(named.patterns.len())?;
        named.patterns.insert(expression, pattern.clone());
        Ok(pattern)
    }

    /// The substitution of what matches by `with`.
    pub(super) fn substitution(
        &self,
        expression: String,
        with: String,
    ) -> Result<Arc<Substitution>, String> {
        let mut named = self.named();
        let key = (expression, with);
        if let Some(substitution) = named.substitutions.get(&key) {
            return Ok(Arc::clone(substitution));
        }
        let regex = pattern::searching(&key.0).map_err(|error| error.to_string())?;
        let template = Template::parse(key.1.as_bytes(), regex.captures_len() - 1);
        let template = template.map_err(|error| error.to_string())?;
        let substitution = Arc::new(Substitution::new(regex, template));
        room(named.substitutions.len())?;
        named.substitutions.insert(key, Arc::clone(&substitution));
        Ok(substitution)
    }

    /// The bucket of that key.
    pub(super) fn bucket(
        &self,
        key: String,
        max_tokens: u32,
        tokens_per_fill: u32,
        interval: Duration,
    ) -> Result<Arc<TokenBucket>, String> {
        let mut named = self.named();
        if let Some(bucket) = named.buckets.get(&key) {
            if !bucket.has(max_tokens, tokens_per_fill, interval) {
                return Err(format!("bucket \"{key}\" is open with other settings"));
            }
            return Ok(Arc::clone(bucket));
        }
        room(named.buckets.len())?;
        let now = crate::clock::now();
        let bucket = Arc::new(TokenBucket::new(max_tokens, tokens_per_fill, interval, now));
        named.buckets.insert(key, Arc::clone(&bucket));
        Ok(bucket)
    }

    /// The sink for that target, where the filter may open it.
    pub(super) fn sink(&self, target: Target) -> Result<Arc<Sink>, String> {
        if !self.grants.log_sinks.contains(&target) {
            return Err(format!(
                "{target:?} is not among the log_sinks of its capabilities"
            ));
        }
        self.services
            .sinks
            .open(target)
            .map_err(|error| error.to_string())
    }

    /// The counter of that name. All instances together have no more than one may have, whatever
    /// names each of them thinks of.
    pub(super) fn counter(&self, name: &str) -> Result<SharedCounter, String> {
        let mut named = self.named();
        if let Some(counter) = named.opened.get(name) {
            return Ok(counter.clone());
        }
        room(named.opened.len())?;
        let counter = self.services.registry.counter(name);
        named.opened.insert(name.to_owned(), counter.clone());
        Ok(counter)
    }

    /// The gauge of that name.
    pub(super) fn gauge(&self, name: &str) -> Result<SharedGauge, String> {
        let mut named = self.named();
        if let Some(gauge) = named.gauges.get(name) {
            return Ok(gauge.clone());
        }
        room(named.gauges.len())?;
        let gauge = self.services.registry.gauge(name);
        named.gauges.insert(name.to_owned(), gauge.clone());
        Ok(gauge)
    }

    /// The counter of a name that came up while streams are served. Where there are too many, all
    /// that there are: no other will come.
    pub(super) fn counted(
        &self,
        name: &str,
    ) -> Result<SharedCounter, HashMap<String, SharedCounter>> {
        let mut named = self.named();
        if let Some(counter) = named.counted.get(name) {
            return Ok(counter.clone());
        }
        if named.counted.len() >= limits::WASM_COUNTED_NAMES {
            return Err(named.counted.clone());
        }
        let counter = self.services.registry.counter(name);
        named.counted.insert(name.to_owned(), counter.clone());
        Ok(counter)
    }

    fn error(&self, why: NotStarted) -> Error {
        let filter = self.name.to_string();
        match why {
            NotStarted::Refused(message) => Error::Refused { filter, message },
            NotStarted::Failed(failure) => Error::Start { filter, failure },
        }
    }

    /// Says once that an instance wants something else than the first one did.
    pub(super) fn report_difference(&self, lines: &Lines) {
        if !self.differed.swap(true, Ordering::Relaxed) {
            lines.write(
                Level::Warn,
                "configure answered differently in a later instance; what the first one wants counts",
            );
        }
    }
}

fn room(taken: usize) -> Result<(), String> {
    if taken < limits::WASM_INTERNED {
        return Ok(());
    }
    Err(format!("more than {} of them", limits::WASM_INTERNED))
}
